//! How often a case fails with another seed of the disk, and so how many seeds a smaller one is
//! worth.
//!
//! A failure that needs one loss among twenty survives the deletion of an operation in one seed of
//! twenty: a smaller case that is tried with three seeds would most often be given up for nothing.

use super::{Shrinker, Size};

/// With how many seeds the best case is run, unless it has failed often enough before.
const SEEDS: u64 = 64;
const FAILURES: u64 = 4;
/// The fewest and the most other seeds that a smaller case is tried with.
const RESEEDS: (u64, u64) = (3, 48);

impl Shrinker<'_> {
    /// Sets with how many other seeds a case is tried: twice as many as one failure takes, but no
    /// more than half of what work is left allows for each operation.
    pub(super) fn measure_luck(&mut self) {
        let (mut seeds, mut failures) = (0, 0);
        let mut calls = 0;
        while seeds < SEEDS && failures < FAILURES && !self.is_spent() {
            let mut case = self.best.clone();
            case.seed = self.rng.below(1 << 20);
            let before = self.calls;
            failures += u64::from(self.try_case(case));
            calls += self.calls - before;
            seeds += 1;
        }
        let each = calls / seeds.max(1);
        let tries = 2 * (1 + Size::of(&self.best).ops as u64);
        let left = self.calls_max().saturating_sub(self.calls) / (2 * tries * each.max(1));
        let wanted = (2 * seeds).checked_div(failures).unwrap_or(2 * seeds);
        let (least, most) = RESEEDS;
        self.reseeds = u32::try_from(wanted.min(left).clamp(least, most)).unwrap_or(u32::MAX);
    }
}
