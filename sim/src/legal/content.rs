//! Which contents of one file a read may see, a kill may leave, and a power cut may leave.

use std::collections::BTreeSet;

use super::event::Ino;
use super::file::{Act, File, Op, SECTOR, at};
use super::sector::{Explained, Sector};
use super::{Allow, Illegal, Rule};

impl File {
    /// P, V: what a read sees, and what a kill leaves.
    pub(super) fn may_read(&self, ino: Ino, found: &[u8]) -> Result<(), Illegal> {
        let sizes = self.sizes().pop().unwrap_or_default();
        if !sizes.contains(&(found.len() as u64)) {
            let what = format!("size {} is not what it was, {sizes:?}", found.len());
            return Err(Illegal::new(Rule::P, ino, what));
        }
        for (number, bytes) in (0..).zip(found.chunks(at(SECTOR))) {
            if !Sector::new(self, number).may_read(bytes) {
                let what = format!("sector {number} is not what was written last");
                return Err(Illegal::new(Rule::P, ino, what));
            }
        }
        Ok(())
    }

    /// D, S, F: what a power cut leaves.
    pub(super) fn may_be_left(&self, ino: Ino, found: &[u8], allow: Allow) -> Result<(), Illegal> {
        if self.ops.is_empty() && self.unwritten.is_empty() {
            return match self.base == found {
                true => Ok(()),
                false => Err(Illegal::new(Rule::D1, ino, self.first_difference(found))),
            };
        }
        let chunks: Vec<(Sector<'_>, &[u8])> = (0..)
            .zip(found.chunks(at(SECTOR)))
            .map(|(number, bytes)| (Sector::new(self, number), bytes))
            .collect();
        let sizes = self.sizes();
        let floor = self.ops.iter().rposition(|op| op.covered).map_or(0, |last| last + 1);
        let found_len = found.len() as u64;
        let mut first = None;
        for (version, possible) in sizes.iter().enumerate().skip(floor) {
            let torn = match possible.contains(&found_len) {
                true => None,
                false => match self.torn_at(version, found_len, &sizes) {
                    Some(torn) if !allow.untorn => Some(torn),
                    _ => continue,
                },
            };
            let spared = (0..chunks.len()).filter(|number| self.touches(*number as u64));
            let spared = spared.filter(|_| allow.garbage_sector).map(Some);
            for spared in std::iter::once(None).chain(spared) {
                match self.fits(ino, version, torn, &chunks, (spared, allow)) {
                    Ok(()) => return Ok(()),
                    Err(why) => drop(first.get_or_insert(why)),
                }
            }
        }
        Err(first.unwrap_or_else(|| {
            let lost = sizes.iter().take(floor).any(|sizes| sizes.contains(&found_len));
            let rule = if lost { Rule::D1 } else { Rule::S1 };
            let what = format!("size {found_len} is no version of it since the last sync");
            Illegal::new(rule, ino, what)
        }))
    }

    /// The extending write that a size ends in, and its first byte, if a version of the size is
    /// that of the write but for its torn end.
    fn torn_at(&self, version: usize, len: u64, sizes: &[BTreeSet<u64>]) -> Option<(usize, u64)> {
        for op in (1..=version).rev() {
            let Op { act, may_be_gone, covered, .. } = self.ops.get(op - 1)?;
            if let Act::Write { pos, bytes } = act {
                let end = pos + bytes.len() as u64;
                let shortest = sizes.get(op - 1).and_then(|sizes| sizes.first());
                let grows = shortest.is_some_and(|&size| len > size);
                if !covered && len > *pos && len < end && grows {
                    return Some((op, *pos));
                }
            }
            let leaves = match act {
                Act::Write { pos, bytes } => pos + bytes.len() as u64 <= len,
                Act::Allocate(end) => *end <= len,
                Act::SetLen(_) => false,
            };
            if !leaves && !may_be_gone {
                return None;
            }
        }
        None
    }

    /// Whether all sectors can be explained under one version of the size. `torn` is the write
    /// that the size ends in, and where it began; `spared` is the sector that may hold anything
    /// (D4).
    fn fits(
        &self,
        ino: Ino,
        size: usize,
        torn: Option<(usize, u64)>,
        chunks: &[(Sector<'_>, &[u8])],
        (spared, allow): (Option<usize>, Allow),
    ) -> Result<(), Illegal> {
        let mut explained: Vec<Vec<Explained>> = Vec::with_capacity(chunks.len());
        for (number, (sector, bytes)) in (0..).zip(chunks) {
            if spared == usize::try_from(number).ok() {
                explained.push(vec![Explained { op: usize::MAX, torn: false }]);
                continue;
            }
            let garbage = allow.garbage.is_none_or(|garbage| bytes.iter().all(|b| *b == garbage));
            let mut ways = sector.explain(size, bytes, garbage);
            ways.retain(|way| !(way.torn && allow.untorn));
            if !ways.is_empty() {
                explained.push(ways);
            } else if self.holds_part_of_doomed(number, size, bytes) {
                explained.push(vec![Explained { op: usize::MAX, torn: false }]);
            } else {
                return Err(self.why(ino, number, size, bytes));
            }
        }
        // D3: a torn write holds all that comes before the place where it was torn.
        let holds = |sectors: std::ops::Range<usize>, op: usize| {
            let whole = |e: &Explained| e.op > op || e.op == op && !e.torn;
            if op.checked_sub(1).and_then(|op| self.ops.get(op)).is_some_and(|op| op.unsure) {
                return true;
            }
            let mut parts = explained.get(sectors).unwrap_or_default().iter();
            parts.all(|ways| ways.iter().any(whole))
        };
        let begin = |op: usize| match op.checked_sub(1).and_then(|op| self.ops.get(op)) {
            Some(Op { act: Act::Write { pos, .. }, .. }) => at(pos / SECTOR),
            _ => 0,
        };
        for (number, ways) in explained.iter().enumerate() {
            let fits = |e: &Explained| !e.torn || holds(begin(e.op)..number, e.op);
            if !ways.iter().any(fits) {
                let what = format!("sector {number} holds a part of a write that is not before it");
                return Err(Illegal::new(Rule::D3, ino, what));
            }
        }
        match torn {
            Some((op, pos)) if !holds(at(pos / SECTOR)..explained.len(), op) => {
                let what = "the size ends inside a write that is not there".to_owned();
                Err(Illegal::new(Rule::S1, ino, what))
            }
            _ => Ok(()),
        }
    }

    /// F1, D3: of a doomed write any leading part may have been carried along: a device is given
    /// what lies below the size that it knows.
    fn holds_part_of_doomed(&self, number: u64, size: usize, found: &[u8]) -> bool {
        let mut part = self.clone();
        let doomed =
            (0..self.ops.len()).filter(|&op| self.ops.get(op).is_some_and(|op| op.may_be_gone));
        for op in doomed {
            let whole = match self.ops.get(op) {
                Some(Op { act: Act::Write { bytes, .. }, .. }) => bytes.clone(),
                _ => continue,
            };
            let cut = |part: &mut File, kept: usize| {
                if let Some(Op { act: Act::Write { bytes, .. }, .. }) = part.ops.get_mut(op) {
                    *bytes = whole.get(..kept).unwrap_or_default().to_vec();
                }
            };
            for kept in (1..whole.len()).rev() {
                cut(&mut part, kept);
                if !Sector::new(&part, number).explain(size, found, false).is_empty() {
                    return true;
                }
            }
            cut(&mut part, whole.len());
        }
        false
    }

    /// Whether a write that is not durable touches the sector.
    fn touches(&self, number: u64) -> bool {
        self.ops.iter().filter(|op| !op.covered).any(|op| match &op.act {
            Act::Write { pos, bytes } => {
                (pos / SECTOR..(pos + bytes.len() as u64).div_ceil(SECTOR)).contains(&number)
            }
            Act::SetLen(len) => len / SECTOR == number && len % SECTOR != 0,
            Act::Allocate(_) => false,
        })
    }

    /// Which rule a sector breaks that nothing explains: the one without which it would be
    /// explained.
    fn why(&self, ino: Ino, number: u64, size: usize, found: &[u8]) -> Illegal {
        let mut forgetful = self.clone();
        forgetful.ops.iter_mut().for_each(|op| op.covered = false);
        let any = Sector::new(&forgetful, number);
        let doubtful = self.ops.iter().any(|op| op.may_be_gone);
        let rule = if !any.explain(size, found, true).is_empty() {
            Rule::D1
        } else if !any.explain(0, found, true).is_empty() {
            Rule::S3
        } else if !self.touches(number) && self.base.len() as u64 > number * SECTOR {
            Rule::D1
        } else if !self.touches(number) {
            Rule::S2
        } else if doubtful {
            Rule::F1
        } else {
            Rule::D2
        };
        Illegal::new(rule, ino, format!("sector {number} holds no version that it may hold"))
    }

    fn first_difference(&self, found: &[u8]) -> String {
        let same = self.base.iter().zip(found).take_while(|(a, b)| a == b).count();
        let (kept, len) = (self.base.len(), found.len());
        format!("{kept} bytes were durable, {len} are there, and they differ from byte {same} on")
    }
}
