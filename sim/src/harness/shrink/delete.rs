//! Deleting operations, and making one of two.

use super::turns::{cut, move_time, next_real, tidy};
use super::{Case, Op, Shrinker, changes_of};

/// Up to how many operations every pair is tried.
const PAIRS_OPS_MAX: usize = 32;
/// How many random deletions in a row may fail.
const RANDOM_MISSES_MAX: u32 = 1500;

impl Shrinker<'_> {
    /// Deletes operations, in ever smaller pieces, until none can go.
    pub(super) fn delete(&mut self) {
        let mut piece = (self.best.ops.len() / 2).max(1);
        let reseeds = self.reseeds;
        loop {
            // A large piece is a guess; other seeds are for what should work.
            self.reseeds = if piece <= 4 { reseeds } else { reseeds / 4 };
            let mut at = 0;
            let mut shrunk = false;
            while at < self.best.ops.len() && !self.is_spent() {
                let before = self.size();
                let end = (at + piece).min(self.best.ops.len());
                if self.attempt_without(at..end) && self.size() < before {
                    shrunk = true;
                    // What stands there now may be the note that something went.
                    at = next_real(&self.best.ops, at).unwrap_or(usize::MAX);
                } else {
                    at = at.saturating_add(piece);
                }
            }
            if piece == 1 && !shrunk || self.is_spent() {
                self.reseeds = reseeds;
                return;
            }
            piece = (piece / 2).max(1);
        }
    }

    /// Deletes two operations that need each other: a fault and what it struck, a filled disk
    /// and a freed one, what is submitted and its step.
    pub(super) fn delete_pairs(&mut self) {
        if self.best.ops.len() > PAIRS_OPS_MAX {
            return;
        }
        let reseeds = self.reseeds;
        self.reseeds = reseeds.min(1);
        let mut first = 0;
        while first < self.best.ops.len() {
            let mut second = first + 1;
            while second < self.best.ops.len() && !self.is_spent() {
                let mut case = self.best.clone();
                for at in [second, first] {
                    cut(&mut case.ops, at..at + 1);
                }
                tidy(&mut case.ops);
                if super::Size::of(&case) >= self.size() || !self.attempt(case) {
                    second += 1;
                }
            }
            first += 1;
        }
        self.reseeds = reseeds;
    }

    /// Deletes several operations at random, each time with another seed of the disk.
    pub(super) fn delete_at_random(&mut self) {
        let mut misses = 0;
        while misses < RANDOM_MISSES_MAX && !self.is_spent() && !self.size().is_wanted() {
            let len = self.best.ops.len();
            let going = 1 + self.rng.index(len.div_ceil(2));
            let mut case = self.best.clone();
            for _ in 0..going.min(len.saturating_sub(1)) {
                let at = self.rng.index(case.ops.len());
                case.ops.remove(at);
            }
            case.seed = self.rng.below(1 << 20);
            if self.try_case(case) {
                misses = 0;
                self.descend();
            } else {
                misses += 1;
            }
        }
    }

    /// Two commits that follow each other become one batch, as long as there are many.
    pub(super) fn merge_commits(&mut self) {
        let mut at = 0;
        while at + 1 < self.best.ops.len() && !self.size().is_wanted() && !self.is_spent() {
            let merged = self.merged(at);
            at += usize::from(!merged.is_some_and(|case| self.attempt(case)));
        }
    }

    fn merged(&self, at: usize) -> Option<Case> {
        let mut case = self.best.clone();
        let next = next_real(&case.ops, at + 1)?;
        let mut second = case.ops.get(next)?.clone();
        cut(&mut case.ops, next..next + 1);
        let first = case.ops.get_mut(at)?;
        let level = match first {
            Op::Write { level, .. } | Op::Batch { level, .. } => *level,
            _ => return None,
        };
        if !matches!(second, Op::Write { .. } | Op::Batch { .. }) {
            return None;
        }
        let changes = [changes_of(first), changes_of(&mut second)].concat();
        *first = Op::Batch { changes, level };
        tidy(&mut case.ops);
        Some(case)
    }

    /// What passes in one operation passes in the next that moves the clocks, or in the last.
    pub(super) fn merge_clocks(&mut self) {
        let mut at = 0;
        while at < self.best.ops.len() && !self.is_spent() {
            let is_clock = |nth: &usize| matches!(self.best.ops.get(*nth), Some(Op::Clock { .. }));
            let next = Some(at)
                .filter(is_clock)
                .and_then(|at| (at + 1..self.best.ops.len()).find(is_clock));
            let merged = next.is_some_and(|next| {
                self.attempt_change(|case| move_time(case, at, next))
                    || self.attempt_change(|case| move_time(case, next, at))
            });
            at += usize::from(!merged);
        }
    }

    /// A batch of one change is a write; each change of a larger one may go.
    pub(super) fn split_batches(&mut self) {
        for at in 0..self.best.ops.len() {
            let mut nth = 0;
            while let Some(Op::Batch { changes, .. } | Op::Submit { changes, .. }) =
                self.best.ops.get(at)
            {
                if nth >= changes.len() || self.is_spent() {
                    break;
                }
                let gone = self.attempt_change(|case| {
                    if let Some(Op::Batch { changes, .. } | Op::Submit { changes, .. }) =
                        case.ops.get_mut(at)
                    {
                        changes.remove(nth);
                    }
                });
                nth += usize::from(!gone);
            }
            self.attempt_change(|case| {
                let Some(op) = case.ops.get_mut(at) else { return };
                match op {
                    Op::Submit { changes, level } => {
                        *op = Op::Batch { changes: std::mem::take(changes), level: *level };
                    }
                    Op::Batch { changes, level } => {
                        if let [change] = changes.as_slice() {
                            *op = Op::Write { change: *change, level: *level };
                        }
                    }
                    _ => {}
                }
            });
        }
    }
}
