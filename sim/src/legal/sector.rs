//! One sector of a file: which bytes it may hold (rules D1, D2, D3, S2, S3, F1).

use std::collections::BTreeSet;

use super::file::{Act, File, SECTOR, at};

/// The most contents of one sector that are told apart. A sector with more is not judged.
const CONTENTS_MAX: usize = 4096;

/// A whole sector; what lies beyond the size is zero.
type Bytes = Vec<u8>;

/// What memory held after an operation that made a version of the sector.
struct Version {
    /// The operation; 0 for what is durable.
    op: usize,
    /// Every possible content: more than one only after failures.
    contents: BTreeSet<Bytes>,
    /// For a write: what came before it, and the part of it that lies in the sector.
    torn: Option<(BTreeSet<Bytes>, usize, Bytes)>,
}

/// How a sector of an image is explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Explained {
    /// By which version.
    pub(super) op: usize,
    /// By a leading part of it only.
    pub(super) torn: bool,
}

/// The versions of one sector since the one that is durable for certain.
pub(super) struct Sector<'a> {
    file: &'a File,
    number: u64,
    /// The last write that a sync covered; 0 if there is none.
    floor: usize,
    versions: Vec<Version>,
    /// What memory holds at the end.
    now: BTreeSet<Bytes>,
    too_many: bool,
}

impl<'a> Sector<'a> {
    pub(super) fn new(file: &'a File, number: u64) -> Sector<'a> {
        let mut sector = Sector {
            file,
            number,
            floor: 0,
            versions: Vec::new(),
            now: BTreeSet::new(),
            too_many: false,
        };
        let mut base = file.base.get(at(number * SECTOR)..).unwrap_or_default().to_vec();
        base.resize(at(SECTOR), 0);
        let mut now = BTreeSet::from([base]);
        sector.push(0, &now, None);
        let sizes = file.sizes();
        for (op, act) in (1..).zip(&file.ops) {
            let Some(after) = sector.after(&act.act, &now) else { continue };
            let before = std::mem::replace(&mut now, after);
            if act.may_be_gone {
                now.extend(before.iter().cloned());
                // What falls back to the disk falls back as far as the size reaches.
                for size in sizes.get(op).into_iter().flatten() {
                    let end = at(size.saturating_sub(number * SECTOR).min(SECTOR));
                    now.extend(before.iter().map(|bytes| cut(bytes, end)));
                }
            }
            if now.len() > CONTENTS_MAX {
                sector.too_many = true;
                break;
            }
            match &act.act {
                Act::Write { .. } => {
                    if act.covered {
                        sector.floor = op;
                        sector.versions.clear();
                    }
                    let torn = sector.piece(&act.act).filter(|_| !act.covered);
                    let torn = torn.map(|(from, bytes)| (before, from, bytes));
                    sector.push(op, &now, torn);
                }
                // A cut through a sector zeroes its tail in memory: a version too. An extension
                // ends in a sector as well, and changes no byte of it.
                Act::SetLen(len) if len / SECTOR == number && len % SECTOR != 0 => {
                    let longest = sizes.get(op - 1).and_then(|sizes| sizes.last());
                    if longest.is_some_and(|longest| len < longest) {
                        sector.push(op, &now, None);
                    }
                }
                Act::SetLen(_) | Act::Allocate(_) => {}
            }
        }
        sector.now = now;
        sector
    }

    fn push(
        &mut self,
        op: usize,
        contents: &BTreeSet<Bytes>,
        torn: Option<(BTreeSet<Bytes>, usize, Bytes)>,
    ) {
        self.versions.push(Version { op, contents: contents.clone(), torn });
    }

    /// The part of a write that lies in this sector, and where in it.
    fn piece(&self, act: &Act) -> Option<(usize, Bytes)> {
        let Act::Write { pos, bytes } = act else { return None };
        let (start, end) = (self.number * SECTOR, (self.number + 1) * SECTOR);
        let from = start.max(*pos);
        let to = end.min(pos + bytes.len() as u64);
        let piece = (from < to).then(|| bytes.get(at(from - pos)..at(to - pos)))??;
        Some((at(from - start), piece.to_vec()))
    }

    /// Memory after an operation, for each of its states before; `None` if it does not touch
    /// the sector.
    fn after(&self, act: &Act, now: &BTreeSet<Bytes>) -> Option<BTreeSet<Bytes>> {
        match act {
            Act::Write { .. } => {
                let (from, piece) = self.piece(act)?;
                Some(now.iter().map(|bytes| overlaid(bytes, from, &piece)).collect())
            }
            Act::SetLen(len) if *len < (self.number + 1) * SECTOR => {
                let keep = at(len.saturating_sub(self.number * SECTOR));
                Some(now.iter().map(|bytes| cut(bytes, keep)).collect())
            }
            Act::SetLen(_) | Act::Allocate(_) => None,
        }
    }

    /// Whether a read may see this.
    pub(super) fn may_read(&self, found: &[u8]) -> bool {
        self.too_many || self.now.iter().any(|bytes| starts_with(bytes, found))
    }

    /// Every explanation of what a power cut has left in the sector, under version `size` of
    /// the size: untorn ones first. `garbage` says whether a hollow sector may hold this.
    pub(super) fn explain(&self, size: usize, found: &[u8], garbage: bool) -> Vec<Explained> {
        let mut explained = Vec::new();
        if self.too_many {
            return vec![Explained { op: usize::MAX, torn: false }];
        }
        for version in self.versions.iter().rev() {
            let op = version.op;
            let ends = self.cuts(op, size);
            let fits = |bytes: &Bytes| ends.iter().any(|&end| starts_with(&cut(bytes, end), found));
            if version.contents.iter().any(fits) {
                explained.push(Explained { op, torn: false });
            } else if let Some((before, from, piece)) = &version.torn {
                let torn = before
                    .iter()
                    .any(|bytes| ends.iter().any(|&end| is_torn(bytes, *from, piece, end, found)));
                if torn {
                    explained.push(Explained { op, torn: true });
                }
            }
        }
        if garbage && self.is_hollow(size) && !explained.iter().any(|e| e.op == 0) {
            explained.push(Explained { op: 0, torn: false });
        }
        explained
    }

    /// Where truncations after version `op`, up to version `size`, end the sector: the least
    /// of those that are certain, and those that may be gone (rule S3).
    fn cuts(&self, op: usize, size: usize) -> BTreeSet<usize> {
        let mut ends = BTreeSet::new();
        let mut certain = at(SECTOR);
        for act in self.file.ops.get(op..size.max(op)).unwrap_or_default() {
            if let Act::SetLen(len) = act.act {
                let end = at(len.saturating_sub(self.number * SECTOR).min(SECTOR));
                if act.may_be_gone {
                    ends.insert(end);
                } else {
                    certain = certain.min(end);
                }
            }
        }
        ends.retain(|&end| end < certain);
        ends.insert(certain);
        ends
    }

    /// Rule S2: nothing was ever kept here, and a write that was lost, or an allocation, leaves
    /// whatever the device held.
    fn is_hollow(&self, size: usize) -> bool {
        let start = self.number * SECTOR;
        let cut_after = |op: usize, certainly: bool| {
            let acts = self.file.ops.get(op..size.max(op)).unwrap_or_default();
            let mut acts = acts.iter().filter(|act| !(certainly && act.may_be_gone));
            acts.any(|act| matches!(act.act, Act::SetLen(len) if len <= start))
        };
        let never_held = self.floor == 0 && self.file.base.len() as u64 <= start;
        let lost = self.file.ops.iter().skip(self.floor).any(|act| self.piece(&act.act).is_some());
        if lost && (never_held || cut_after(self.floor, false)) {
            return true;
        }
        let allocated = |range: &super::file::Unwritten| {
            (range.first..range.end).contains(&self.number)
                && range.op <= size
                && self.floor <= range.op
                && !cut_after(range.op, true)
        };
        self.file.unwritten.iter().any(allocated)
    }
}

fn overlaid(bytes: &[u8], from: usize, piece: &[u8]) -> Bytes {
    let mut bytes = bytes.to_vec();
    if let Some(place) = bytes.get_mut(from..from + piece.len()) {
        place.copy_from_slice(piece);
    }
    bytes
}

fn cut(bytes: &[u8], keep: usize) -> Bytes {
    let mut bytes = bytes.to_vec();
    if let Some(beyond) = bytes.get_mut(keep..) {
        beyond.fill(0);
    }
    bytes
}

/// Whether the sector holds these bytes as far as the file reaches.
fn starts_with(bytes: &[u8], found: &[u8]) -> bool {
    bytes.get(..found.len()) == Some(found)
}

/// Whether `found` is what came before, with some leading bytes of a write over it.
fn is_torn(before: &[u8], from: usize, piece: &[u8], end: usize, found: &[u8]) -> bool {
    let seen = found.get(from..).unwrap_or_default();
    // The longest part that agrees: if a shorter one explains it, this one does as well. Without
    // a byte of the write it is no version of it.
    let agrees = piece.iter().zip(seen).take_while(|(a, b)| a == b).count();
    agrees > 0
        && starts_with(
            &cut(&overlaid(before, from, piece.get(..agrees).unwrap_or_default()), end),
            found,
        )
}
