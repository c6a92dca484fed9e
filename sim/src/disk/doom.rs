//! Failed syncs (rules F1, F2): operations that are visible, and that no sync can save.
//!
//! # Invariants
//! - A doomed write lies within one sector, so that it is saved or not as a whole: saved only
//!   if a later, undoomed write to its sector carries it along.
//! - What is doomed and not saved stays possible at every crash: on disk or not.

use std::collections::BTreeMap;

use super::inode::{Change, Choice, Cut, FileNode, Op, SECTOR, at, copy_sector, sectors};

impl FileNode {
    /// Sectors with an undoomed write become durable with all their writes; doomed writes to
    /// other sectors stay as they are, for ever (rule F1).
    pub(super) fn writeback_around_doomed(&mut self, history: u32) {
        let mut choice = Choice::default();
        let mut reach = 0;
        let mut last_write = 0;
        let mut last_writes = BTreeMap::new();
        for op in self.ops.iter().filter(|op| !op.doomed) {
            match &op.change {
                Change::Write { pos, bytes } => {
                    let len = bytes.len() as u64;
                    for sector in sectors(*pos, len) {
                        choice.cuts.insert(sector, Cut { seq: u64::MAX, torn: None });
                        last_writes.insert(sector, op.seq);
                    }
                    reach = reach.max(pos + len);
                    last_write = op.seq;
                }
                Change::Resize { .. } => choice.size_seq = op.seq,
            }
        }
        // Data that a sync promised needs every size that shows it: neither a smaller durable
        // one nor a doomed cut below it may stay possible.
        let pending = self.ops.iter().filter(|op| op.seq > choice.size_seq && op.seq <= last_write);
        let sizes = pending.filter_map(|op| match op.change {
            Change::Resize { to, .. } => Some(to),
            Change::Write { .. } => None,
        });
        if sizes.fold(self.size_of(&choice), u64::min) < reach.min(self.len()) {
            choice.size_seq = choice.size_seq.max(last_write);
        }
        for (&sector, &seq) in &last_writes {
            self.forget_unwritten(sector..sector + 1, seq);
            self.remember(sector, history);
        }
        self.durable = self.build(&choice);
        self.drop_covered(&choice);
    }

    /// Drops the operations that `choice`, now durable, contains or makes void.
    fn drop_covered(&mut self, choice: &Choice) {
        let cuts: Vec<(u64, u64)> = self
            .ops
            .iter()
            .filter(|op| op.seq <= choice.size_seq)
            .filter_map(|op| match op.change {
                Change::Resize { from, to } if to < from => Some((op.seq, to)),
                _ => None,
            })
            .collect();
        for (seq, to) in &cuts {
            self.clip_unwritten(*seq, *to);
        }
        let durable = self.durable.len() as u64;
        self.ops.retain_mut(|op| match &mut op.change {
            Change::Resize { .. } => op.seq > choice.size_seq,
            Change::Write { pos, bytes } => {
                for (_, to) in cuts.iter().filter(|(seq, _)| *seq > op.seq) {
                    bytes.truncate(at(to.saturating_sub(*pos)));
                }
                if choice.cuts.contains_key(&(*pos / SECTOR)) {
                    // A saved sector ends at the durable size; a doomed tail stays doomed.
                    let saved = durable.saturating_sub(*pos).min(bytes.len() as u64);
                    bytes.drain(..if op.doomed { at(saved) } else { bytes.len() });
                    *pos += saved;
                }
                !bytes.is_empty()
            }
        });
        for range in &mut self.unwritten {
            if range.seq <= choice.size_seq {
                range.seq = 0;
            }
        }
    }

    /// Dooms every operation from `seq` on, a sector at a time.
    pub(super) fn doom_from(&mut self, seq: u64) {
        let mut ops = Vec::with_capacity(self.ops.len());
        for op in self.ops.drain(..) {
            match op.change {
                Change::Write { pos, bytes } if !op.doomed && op.seq >= seq => {
                    let mut start = pos;
                    let mut rest = bytes.as_slice();
                    while !rest.is_empty() {
                        let len = at(SECTOR - start % SECTOR).min(rest.len());
                        let (piece, tail) = rest.split_at(len);
                        let change = Change::Write { pos: start, bytes: piece.to_vec() };
                        ops.push(Op { seq: op.seq, doomed: true, change });
                        start += len as u64;
                        rest = tail;
                    }
                }
                change => ops.push(Op { doomed: op.doomed || op.seq >= seq, change, ..op }),
            }
        }
        self.ops = ops;
    }

    /// A failed sync whose pages are thrown away: reads fall back at once.
    pub(super) fn revert(&mut self, keep_size: bool) {
        if keep_size {
            self.durable.resize(self.live.len(), 0);
        }
        self.ops.clear();
        self.flushed.clear();
        self.size_flushed = 0;
        self.unwritten.retain(|range| range.seq == 0);
        self.live.clone_from(&self.durable);
    }

    /// The sectors whose every pending write is doomed, in order.
    pub(super) fn doomed_sectors(&self) -> Vec<u64> {
        let mut state: BTreeMap<u64, bool> = BTreeMap::new();
        for op in &self.ops {
            if let Change::Write { pos, bytes } = &op.change {
                for sector in sectors(*pos, bytes.len() as u64) {
                    *state.entry(sector).or_insert(true) &= op.doomed;
                }
            }
        }
        state.into_iter().filter(|(_, doomed)| *doomed).map(|(sector, _)| sector).collect()
    }

    /// Drops a doomed sector from memory; the next read finds what is on disk: the durable
    /// version, or (`kept`, where the durable size reaches) the doomed one.
    pub(super) fn evict(&mut self, sector: u64, kept: bool) {
        let start = at(sector * SECTOR);
        let end = self.live.len().min(start + at(SECTOR));
        // Durable data must not be older than a cut that is still to come.
        let is_cut = self.ops.iter().any(
            |op| matches!(op.change, Change::Resize { from, to } if to < from && at(to) < end),
        );
        if kept && is_cut {
            return;
        }
        if kept && end <= self.durable.len() && start < end {
            copy_sector(&self.live, &mut self.durable, sector);
        } else if kept || start >= end {
            return;
        } else {
            let old = self.durable.get(start..).unwrap_or_default();
            // What a truncation that has not failed has removed does not come back by a read.
            let cuts = self.ops.iter().filter(|op| !op.doomed).filter_map(|op| match op.change {
                Change::Resize { from, to } if to < from => Some(at(to)),
                _ => None,
            });
            let reach = cuts.fold(usize::MAX, usize::min);
            let n = old.len().min(end - start).min(reach.saturating_sub(start));
            self.live[start..start + n].copy_from_slice(&old[..n]);
            self.live[start + n..end].fill(0);
        }
        self.ops.retain(|op| match &op.change {
            Change::Write { pos, .. } => pos / SECTOR != sector,
            Change::Resize { .. } => true,
        });
        self.flushed.remove(&sector);
    }
}
