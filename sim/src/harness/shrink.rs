//! Shrinking: the fewest operations and faults that still break the same clause.
//!
//! Delta debugging over the list of operations, then over the faults (which become an explicit
//! list), then over the crashes within recoveries and the knobs. Bounded by a number of runs.

use super::case::{Case, Op};
use super::runner::{Failure, Outcome, run, with_listed_faults};
use crate::disk::{DiskConfig, FaultMode, FaultPlan};

/// A case that fails, and how.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The smallest case found.
    pub case: Case,
    /// What it breaks.
    pub failure: Failure,
    /// How many runs it took.
    pub runs: u32,
}

struct Shrinker {
    best: Case,
    failure: Failure,
    runs: u32,
    runs_max: u32,
}

impl Shrinker {
    /// Takes a smaller case if it breaks the same clause.
    fn try_case(&mut self, case: Case) -> bool {
        if self.runs >= self.runs_max {
            return false;
        }
        self.runs += 1;
        match run(&case, false).failure {
            Some(failure) if failure.clause == self.failure.clause => {
                self.best = case;
                self.failure = failure;
                true
            }
            _ => false,
        }
    }

    /// Deletes operations, in ever smaller pieces, until none can go.
    fn shrink_ops(&mut self) {
        let mut piece = (self.best.ops.len() / 2).max(1);
        loop {
            let mut at = 0;
            let mut shrunk = false;
            while at < self.best.ops.len() {
                let mut case = self.best.clone();
                let end = (at + piece).min(case.ops.len());
                case.ops.drain(at..end);
                if self.try_case(case) {
                    shrunk = true;
                } else {
                    at += piece;
                }
            }
            if piece == 1 && !shrunk || self.runs >= self.runs_max {
                return;
            }
            piece = (piece / 2).max(1);
        }
    }

    fn shrink_faults(&mut self, outcome: &Outcome) {
        let without = Case { faults: FaultMode::Drawn(FaultPlan::none()), ..self.best.clone() };
        if self.try_case(without) {
            return;
        }
        if !self.try_case(with_listed_faults(&self.best, outcome)) {
            return;
        }
        let mut at = 0;
        while let FaultMode::Listed(list) = &self.best.faults {
            if at >= list.len() {
                return;
            }
            let mut fewer = list.clone();
            fewer.remove(at);
            let case = Case { faults: FaultMode::Listed(fewer), ..self.best.clone() };
            if !self.try_case(case) {
                at += 1;
            }
        }
    }

    fn shrink_crashes(&mut self) {
        while !self.best.creation.is_empty() {
            let mut case = self.best.clone();
            case.creation.pop();
            if !self.try_case(case) {
                break;
            }
        }
        for at in 0..self.best.ops.len() {
            while let Some(Op::Crash { nested, .. }) = self.best.ops.get(at) {
                if nested.is_empty() {
                    break;
                }
                let mut case = self.best.clone();
                if let Some(Op::Crash { nested, .. }) = case.ops.get_mut(at) {
                    nested.pop();
                }
                if !self.try_case(case) {
                    break;
                }
            }
        }
    }

    /// Plainer knobs and options, where they do as well.
    fn simplify(&mut self) {
        let simpler: [fn(&mut Case); 8] = [
            |case| {
                case.disk = DiskConfig { models: case.disk.models.clone(), ..DiskConfig::plain() }
            },
            |case| case.options.diligent = false,
            |case| case.options.preallocate_bytes = 0,
            |case| case.options.segment_bytes = 65_536,
            |case| case.options.pad_to_sector = false,
            |case| case.options.group_commits_max = 64,
            |case| case.options.mode = 0,
            |case| case.faults_in_recovery = false,
        ];
        for simplify in simpler {
            let mut case = self.best.clone();
            simplify(&mut case);
            if case != self.best {
                self.try_case(case);
            }
        }
    }
}

/// Shrinks a failing case; `None` if it does not fail.
pub fn shrink(case: &Case, runs_max: u32) -> Option<Shrunk> {
    let outcome = run(case, false);
    let failure = outcome.failure.clone()?;
    let mut shrinker = Shrinker { best: case.clone(), failure, runs: 1, runs_max };
    shrinker.shrink_ops();
    let outcome = run(&shrinker.best, false);
    shrinker.shrink_faults(&outcome);
    shrinker.shrink_crashes();
    shrinker.simplify();
    shrinker.shrink_ops();
    Some(Shrunk { case: shrinker.best, failure: shrinker.failure, runs: shrinker.runs })
}
