//! One file: its operations, and what syncs have covered.

use std::collections::BTreeSet;

use super::event::Synced;

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
    pub(super) unsure: bool,
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
}
