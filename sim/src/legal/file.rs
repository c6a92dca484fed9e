//! One file: its operations, what syncs have covered, and which contents a crash may leave.

use std::collections::BTreeSet;

use super::event::{Ino, Synced};
use super::sector::{Explained, Sector};
use super::{Allow, Illegal, Rule};

/// The unit of atomicity.
pub(super) const SECTOR: u64 = 512;

pub(super) fn at(pos: u64) -> usize {
    usize::try_from(pos).unwrap_or(usize::MAX)
}

/// What an operation does.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// Writes, and extends the file at least to the end of what is written.
    Write { pos: u64, bytes: Vec<u8> },
    /// Sets the size, and removes what lies beyond it.
    SetLen(u64),
    /// Extends the file at least to an end.
    Allocate(u64),
}

/// An operation since the durable state.
#[derive(Clone, Debug)]
pub(super) struct Op {
    pub(super) act: Act,
    /// F1: doomed, or never certain.
    pub(super) may_be_gone: bool,
    /// A successful sync covers it.
    pub(super) covered: bool,
    /// How much of it took place is not known: it failed, or was under way at a crash.
    unsure: bool,
}

/// Sectors that were preallocated, and not written since by anything that is durable.
#[derive(Clone, Debug)]
pub(super) struct Unwritten {
    pub(super) first: u64,
    pub(super) end: u64,
    /// The allocation; 0 if it is durable.
    pub(super) op: usize,
}

/// A file.
#[derive(Clone, Debug, Default)]
pub(super) struct File {
    /// What is durable for certain, before all operations.
    pub(super) base: Vec<u8>,
    pub(super) ops: Vec<Op>,
    pub(super) unwritten: Vec<Unwritten>,
    /// Whether a sync ever succeeded (rule N3).
    pub(super) synced: bool,
    /// The next write may have been issued while a sync failed (rule F2).
    doom_next: bool,
    /// How many names lead to it now.
    pub(super) links: usize,
    /// When it was made, and when its last name went, among all events.
    pub(super) born: u64,
    pub(super) gone: u64,
}

impl File {
    /// An empty file, made at this event.
    pub(super) fn new(born: u64) -> File {
        File { born, ..File::default() }
    }

    /// A file as a crash has left it.
    pub(super) fn durable(content: Vec<u8>) -> File {
        File { base: content, synced: true, ..File::default() }
    }

    /// The size after each operation: every possible one, from the durable size on.
    pub(super) fn sizes(&self) -> Vec<BTreeSet<u64>> {
        let mut sizes = vec![BTreeSet::from([self.base.len() as u64])];
        for op in &self.ops {
            let before = sizes.last().cloned().unwrap_or_default();
            let after = |size: &u64| match &op.act {
                Act::Write { pos, bytes } => (*size).max(pos + bytes.len() as u64),
                Act::Allocate(end) => (*size).max(*end),
                Act::SetLen(len) => *len,
            };
            let mut now: BTreeSet<u64> = before.iter().map(after).collect();
            if op.may_be_gone {
                now.extend(before);
            }
            sizes.push(now);
        }
        sizes
    }

    pub(super) fn act(&mut self, act: Act, sure: bool) {
        let sizes = self.sizes().pop().unwrap_or_default();
        let least = sizes.first().copied().unwrap_or(0);
        let most = sizes.last().copied().unwrap_or(0);
        let may_be_gone = !sure
            || match &act {
                Act::Write { .. } => std::mem::take(&mut self.doom_next),
                // In doubt it has changed nothing, so that a sync has nothing to cover.
                Act::SetLen(len) => least < most && sizes.contains(len),
                Act::Allocate(end) => *end <= most,
            };
        if let Act::Allocate(end) = &act {
            let (first, end) = (least.div_ceil(SECTOR), end.div_ceil(SECTOR));
            if first < end {
                self.unwritten.push(Unwritten { first, end, op: self.ops.len() + 1 });
            }
        }
        if !matches!(act, Act::Allocate(end) if end <= least) {
            self.ops.push(Op { act, may_be_gone, covered: false, unsure: !sure });
        }
    }

    /// D1: a sync that has done its work covers what is not doomed.
    pub(super) fn sync(&mut self, outcome: Synced) {
        match outcome {
            Synced::Nothing => {}
            Synced::Failed => {
                self.doom();
                self.doom_next = true;
            }
            Synced::Done => {
                self.synced = true;
                self.ops.iter_mut().for_each(|op| op.covered = !op.may_be_gone);
                self.fold();
            }
        }
    }

    /// F1: what is not durable now no later sync makes durable.
    pub(super) fn doom(&mut self) {
        self.ops.iter_mut().filter(|op| !op.covered).for_each(|op| op.may_be_gone = true);
    }

    /// Moves the operations that are durable for certain, and followed by no doubt, into the
    /// base. Changes no answer.
    fn fold(&mut self) {
        let certain = self.ops.iter().take_while(|op| op.covered).count();
        for (number, op) in (1..).zip(self.ops.drain(..certain)) {
            match op.act {
                Act::Write { pos, bytes } => {
                    let end = at(pos) + bytes.len();
                    self.base.resize(self.base.len().max(end), 0);
                    if let Some(place) = self.base.get_mut(at(pos)..end) {
                        place.copy_from_slice(&bytes);
                    }
                    let written = pos / SECTOR..(pos + bytes.len() as u64).div_ceil(SECTOR);
                    let ranges = std::mem::take(&mut self.unwritten);
                    for range in ranges {
                        if range.op > number {
                            self.unwritten.push(range);
                            continue;
                        }
                        let before = Unwritten { end: range.end.min(written.start), ..range };
                        let after = Unwritten { first: range.first.max(written.end), ..range };
                        self.unwritten.extend([before, after]);
                    }
                }
                Act::SetLen(len) => {
                    self.base.resize(at(len), 0);
                    for range in self.unwritten.iter_mut().filter(|range| range.op < number) {
                        range.end = range.end.min(len.div_ceil(SECTOR));
                    }
                }
                Act::Allocate(end) => self.base.resize(self.base.len().max(at(end)), 0),
            }
            self.unwritten.retain(|range| range.first < range.end);
        }
        for range in &mut self.unwritten {
            range.op = range.op.saturating_sub(certain);
        }
    }

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
