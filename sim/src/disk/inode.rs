//! One file: its live bytes, its durable bytes, and the ordered changes between the two.
//!
//! # Invariants
//! - `live` is `durable` with all of `ops` applied, but for evictions of doomed sectors.
//! - Operations are in the order of their sequence numbers. A write that extends the file is
//!   two operations of one number: the resize, then the write.
//! - A doomed write (rule F1) lies within one sector; no successful sync covers it, unless a
//!   later, undoomed write to its sector carries it along.
//! - `durable.len()` is the durable size: what lies beyond it has no durable version.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The unit of atomicity: a sector is wholly one of its versions (but in byte-prefix models).
pub(super) const SECTOR: u64 = 512;

/// A position or length as an index. Files are far smaller than any address space.
pub(super) fn at(pos: u64) -> usize {
    usize::try_from(pos).unwrap_or(usize::MAX)
}

/// What an operation did.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// Bytes written.
    Write { pos: u64, bytes: Vec<u8> },
    /// A new size, by truncation, extension, allocation or an extending write.
    Resize { from: u64, to: u64 },
}

/// One change since the durable state.
#[derive(Clone, Debug)]
pub(super) struct Op {
    /// Its place in the order of all changes of the disk; from 1.
    pub(super) seq: u64,
    /// Whether a failed sync covered it.
    pub(super) doomed: bool,
    /// The change itself.
    pub(super) change: Change,
}

/// Sectors that were preallocated and never written.
#[derive(Clone, Debug)]
pub(super) struct Unwritten {
    pub(super) first: u64,
    pub(super) end: u64,
    /// The allocation; 0 if it is durable.
    pub(super) seq: u64,
}

/// Which version of a sector is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    /// Every operation of the sector up to this number is in; 0 is the durable version.
    pub(super) seq: u64,
    /// Of the operation `seq` itself, only the bytes below this file offset are in.
    pub(super) torn: Option<u64>,
}

/// A choice among all legal states of a file: a version for each sector, and one of the size.
#[derive(Clone, Debug, Default)]
pub(super) struct Choice {
    /// Sectors that are not in the map have their durable version.
    pub(super) cuts: BTreeMap<u64, Cut>,
    /// Every resize up to this number is in.
    pub(super) size_seq: u64,
    /// The last of these resizes went only so far (a torn extending write).
    pub(super) size_cap: Option<u64>,
}

/// A file.
#[derive(Clone, Debug, Default)]
pub(super) struct FileNode {
    /// What reads see.
    pub(super) live: Vec<u8>,
    /// What survives any crash.
    pub(super) durable: Vec<u8>,
    /// The changes between the two.
    pub(super) ops: Vec<Op>,
    /// Whether any sync of the file ever succeeded (rule N3).
    pub(super) synced: bool,
    /// Sectors that background writeback has put on disk, up to this operation.
    pub(super) flushed: BTreeMap<u64, u64>,
    /// The same for the size.
    pub(super) size_flushed: u64,
    /// When background writeback failed without anybody having been told (rule F2).
    pub(super) unreported: Option<u64>,
    /// The sync before was a failure that reported success; the next one reports it.
    pub(super) late_error: bool,
    /// The next write is doomed at once.
    pub(super) doom_next: bool,
    /// Older durable versions of sectors, the latest last (world R).
    pub(super) history: BTreeMap<u64, VecDeque<Vec<u8>>>,
    /// Preallocated and never written.
    pub(super) unwritten: Vec<Unwritten>,
}

/// The sectors that `pos..pos + len` touches.
pub(super) fn sectors(pos: u64, len: u64) -> std::ops::Range<u64> {
    if len == 0 { 0..0 } else { pos / SECTOR..(pos + len).div_ceil(SECTOR) }
}

/// Puts `bytes` at `pos`, filling a gap with zeros.
fn overlay(image: &mut Vec<u8>, pos: u64, bytes: &[u8]) {
    let start = at(pos);
    let end = start + bytes.len();
    if image.len() < end {
        image.resize(end, 0);
    }
    image[start..end].copy_from_slice(bytes);
}

impl FileNode {
    /// A file whose content is durable.
    pub(super) fn durable(content: Vec<u8>) -> FileNode {
        FileNode { live: content.clone(), durable: content, synced: true, ..FileNode::default() }
    }

    /// The live size.
    pub(super) fn len(&self) -> u64 {
        self.live.len() as u64
    }

    /// Whether nothing but a crash of the medium can change what is durable.
    pub(super) fn is_clean(&self) -> bool {
        self.ops.is_empty()
    }

    /// Reads at `pos`; short only at the end.
    pub(super) fn read(&self, buf: &mut [u8], pos: u64) -> usize {
        let rest = self.live.get(at(pos)..).unwrap_or_default();
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        n
    }

    /// Writes, extending the file if need be.
    pub(super) fn write(&mut self, seq: u64, pos: u64, bytes: Vec<u8>) {
        let end = pos + bytes.len() as u64;
        if end > self.len() {
            self.resize(seq, end);
        }
        overlay(&mut self.live, pos, &bytes);
        self.ops.push(Op { seq, doomed: false, change: Change::Write { pos, bytes } });
        if std::mem::take(&mut self.doom_next) {
            self.doom_from(seq);
        }
    }

    /// Truncates or extends.
    pub(super) fn resize(&mut self, seq: u64, to: u64) {
        let from = self.len();
        if from != to {
            self.live.resize(at(to), 0);
            self.ops.push(Op { seq, doomed: false, change: Change::Resize { from, to } });
        }
    }

    /// Preallocates: extends, and remembers that the new sectors were never written.
    pub(super) fn allocate(&mut self, seq: u64, end: u64) {
        let first = self.len().div_ceil(SECTOR);
        if end > self.len() {
            self.resize(seq, end);
            self.unwritten.push(Unwritten { first, end: end.div_ceil(SECTOR), seq });
        }
    }

    /// A sync that succeeds: covers every operation that is not doomed.
    pub(super) fn sync(&mut self, history: u32) {
        self.writeback(history);
        self.synced = true;
    }

    /// Makes every operation durable that is not doomed; what background writeback does.
    pub(super) fn writeback(&mut self, history: u32) {
        if self.ops.iter().any(|op| op.doomed) {
            self.writeback_around_doomed(history);
        } else {
            if history > 0 {
                self.versions().into_keys().for_each(|sector| self.remember(sector, history));
            }
            for op in std::mem::take(&mut self.ops) {
                match op.change {
                    Change::Write { pos, bytes } => {
                        overlay(&mut self.durable, pos, &bytes);
                        self.forget_unwritten(sectors(pos, bytes.len() as u64), op.seq);
                    }
                    Change::Resize { from: _, to } => {
                        self.durable.resize(at(to), 0);
                        self.clip_unwritten(op.seq, to);
                    }
                }
            }
            for range in &mut self.unwritten {
                range.seq = 0;
            }
        }
        self.flushed.clear();
        self.size_flushed = 0;
    }

    /// A resize that is durable now ends the never-written ranges that are older than it.
    pub(super) fn clip_unwritten(&mut self, seq: u64, to: u64) {
        let end = to.div_ceil(SECTOR);
        for range in self.unwritten.iter_mut().filter(|range| range.seq < seq) {
            range.end = range.end.min(end);
        }
        self.unwritten.retain(|range| range.first < range.end);
    }

    /// Keeps the durable version of a sector that is about to be replaced.
    pub(super) fn remember(&mut self, sector: u64, history: u32) {
        let start = at(sector * SECTOR);
        let end = self.durable.len().min(start + at(SECTOR));
        let old = self.durable.get(start..end).filter(|old| !old.is_empty() && history > 0);
        if let Some(old) = old {
            let versions = self.history.entry(sector).or_default();
            versions.push_back(old.to_vec());
            while versions.len() as u64 > u64::from(history) {
                versions.pop_front();
            }
        }
    }

    /// Removes sectors that now hold data of the write `seq` from the never-written ranges that
    /// are older than it.
    pub(super) fn forget_unwritten(&mut self, written: std::ops::Range<u64>, seq: u64) {
        if self.unwritten.is_empty() {
            return;
        }
        let mut rest = Vec::with_capacity(self.unwritten.len() + 1);
        for range in self.unwritten.drain(..) {
            if range.seq > seq {
                rest.push(range);
                continue;
            }
            let before = Unwritten { end: range.end.min(written.start), ..range };
            let after = Unwritten { first: range.first.max(written.end), ..range };
            rest.extend([before, after].into_iter().filter(|part| part.first < part.end));
        }
        self.unwritten = rest;
    }

    /// The versions that each sector may have beside its durable one, in order.
    pub(super) fn versions(&self) -> BTreeMap<u64, Vec<u64>> {
        let mut versions: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for op in &self.ops {
            match &op.change {
                Change::Write { pos, bytes } => {
                    for sector in sectors(*pos, bytes.len() as u64) {
                        versions.entry(sector).or_default().push(op.seq);
                    }
                }
                // A truncation inside a sector zeroes its tail in memory: a version too.
                Change::Resize { from, to } if to < from && to % SECTOR != 0 => {
                    versions.entry(to / SECTOR).or_default().push(op.seq);
                }
                Change::Resize { .. } => {}
            }
        }
        versions
    }

    /// The sectors that a pending write touches, in order.
    fn written(&self) -> BTreeSet<u64> {
        let mut written = BTreeSet::new();
        for op in &self.ops {
            if let Change::Write { pos, bytes } = &op.change {
                written.extend(sectors(*pos, bytes.len() as u64));
            }
        }
        written
    }

    /// The resizes since the durable size, in order.
    pub(super) fn resizes(&self) -> impl DoubleEndedIterator<Item = u64> {
        self.ops.iter().filter(|op| matches!(op.change, Change::Resize { .. })).map(|op| op.seq)
    }

    /// The size in a chosen state.
    pub(super) fn size_of(&self, choice: &Choice) -> u64 {
        let mut size = self.durable.len() as u64;
        for op in self.ops.iter().filter(|op| op.seq <= choice.size_seq) {
            if let Change::Resize { from, to } = op.change {
                size = to;
                if let Some(cap) = choice.size_cap.filter(|_| op.seq == choice.size_seq) {
                    size = to.min(cap.max(from));
                }
            }
        }
        size
    }

    /// The content in a chosen state; lost data without an older version reads zeros.
    pub(super) fn build(&self, choice: &Choice) -> Vec<u8> {
        let mut image = self.durable.clone();
        for op in &self.ops {
            match &op.change {
                Change::Resize { from, to } if to < from => {
                    if op.seq <= choice.size_seq {
                        image.truncate(at(*to));
                    } else {
                        // A newer version of a sector was made after its tail was zeroed.
                        for (sector, cut) in choice.cuts.range(to / SECTOR..) {
                            if cut.seq >= op.seq {
                                let start = at((sector * SECTOR).max(*to)).min(image.len());
                                let end = at((sector + 1) * SECTOR).min(image.len());
                                image[start..end].fill(0);
                            }
                        }
                    }
                }
                Change::Resize { .. } => {}
                Change::Write { pos, bytes } => {
                    write_chosen(&mut image, op.seq, *pos, bytes, choice)
                }
            }
        }
        image.resize(at(self.size_of(choice)), 0);
        image
    }

    /// Sectors inside the chosen size that lost all they were ever given, and so have no
    /// older version; and preallocated ones that were never written (rule S2).
    pub(super) fn hollow_sectors(&self, choice: &Choice) -> (Vec<u64>, Vec<u64>) {
        let end = self.size_of(choice).div_ceil(SECTOR);
        let persisted_cut = self.ops.iter().filter(|op| op.seq <= choice.size_seq);
        let old_end = persisted_cut
            .filter_map(|op| match op.change {
                Change::Resize { from, to } if to < from => Some(to),
                _ => None,
            })
            .fold(self.durable.len() as u64, u64::min)
            .div_ceil(SECTOR);
        let is_lost = |sector: &u64| choice.cuts.get(sector).is_none_or(|cut| cut.seq == 0);
        // A cut makes a version too, but where nothing was written nothing can be lost.
        let lost = self.written().into_iter().filter(|&s| s >= old_end && s < end);
        let lost = lost.filter(is_lost).collect();
        let unwritten = self.unwritten.iter().filter(|range| range.seq <= choice.size_seq);
        let unwritten = unwritten.flat_map(|range| range.first..range.end.min(end));
        // A persisted truncation after the allocation leaves a hole, which reads zeros.
        let unwritten = unwritten.filter(|&s| is_lost(&s) && !self.was_cut(s, choice)).collect();
        (lost, unwritten)
    }

    fn was_cut(&self, sector: u64, choice: &Choice) -> bool {
        let allocated =
            |seq| self.unwritten.iter().any(|r| r.seq >= seq && (r.first..r.end).contains(&sector));
        self.ops.iter().filter(|op| op.seq <= choice.size_seq).any(|op| match op.change {
            Change::Resize { from, to } => to < from && to <= sector * SECTOR && !allocated(op.seq),
            Change::Write { .. } => false,
        })
    }

    /// Becomes the state after a power cut: all of it durable, nothing pending.
    pub(super) fn settle(&mut self, content: Vec<u8>) {
        let history = std::mem::take(&mut self.history);
        *self = FileNode { history, ..FileNode::durable(content) };
    }
}

/// Overlays the parts of a write whose sectors' chosen versions contain it.
fn write_chosen(image: &mut Vec<u8>, seq: u64, pos: u64, bytes: &[u8], choice: &Choice) {
    let end = pos + bytes.len() as u64;
    for (sector, cut) in choice.cuts.range(sectors(pos, bytes.len() as u64)) {
        if cut.seq < seq {
            continue;
        }
        let from = (sector * SECTOR).max(pos);
        let mut to = ((sector + 1) * SECTOR).min(end);
        if let Some(torn) = cut.torn.filter(|_| cut.seq == seq) {
            to = to.min(torn);
        }
        if from < to {
            overlay(image, from, &bytes[at(from - pos)..at(to - pos)]);
        }
    }
}

/// Copies one sector between images, as far as both reach.
pub(super) fn copy_sector(from: &[u8], to: &mut [u8], sector: u64) {
    let start = at(sector * SECTOR);
    let end = from.len().min(to.len()).min(start + at(SECTOR));
    if start < end {
        to[start..end].copy_from_slice(&from[start..end]);
    }
}
