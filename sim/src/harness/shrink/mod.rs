//! Shrinking: the fewest operations and faults that still break the same clause.
//!
//! ```text
//! cut the end -> faults and crashes to the operations they struck -> delete, in ever smaller
//! pieces -> fewer faults -> simplify what is left; while it is large: short cases drawn from the
//! whole -> detours (a change of the options that lets more go) -> random deletions; plain values
//! ```
//! - `delete`: operations go, one by one, in pieces, in pairs, at random; commits are merged.
//! - `relocate`: a fault and a crash stand at the operation that they struck, so that deleting
//!   another does not move them.
//! - `turns`: what stays keeps its number, by which the runner makes a share of its checks.
//! - `luck`: with how many seeds of the disk a smaller case is tried.
//! - `simplify`: smaller operations, plainer options.
//! - `draw`: short cases, drawn from the operations of the whole one.
//! - `detour`: changes that are no gain by themselves.
//!
//! A deletion shifts what the disk draws afterwards. So a case that no longer fails is tried
//! with a few other seeds of the disk before it is given up: what is looked for is a small case
//! that breaks the clause, not the same coin tosses.
//!
//! Invariants: every accepted case was run and breaks the clause; the work is bounded by a
//! number of runs, of calls in all and of calls in each; the same case shrinks to the same case,
//! unless the caller ends it early, and then what was found so far is the outcome.

mod delete;
mod detour;
mod draw;
mod luck;
mod relocate;
mod simplify;
mod turns;

use super::case::{Case, ChangeSpec, Op};
use super::runner::{Outcome, run, run_within};
use super::verdict::Failure;
use crate::disk::{FaultMode, Injected};
use crate::rng::Rng;

/// How many calls to the disk a run may make on the average: long runs use the runs up sooner.
const CALLS_PER_RUN: u64 = 100;
/// How many times the calls of the failure a smaller case may make, and how many more: beyond
/// it is no smaller case, and may be a hang.
const CALLS_FACTOR: u64 = 4;
const CALLS_MORE: u64 = 1000;
/// Above so many operations the costlier passes are made.
const OPS_WANTED: usize = 8;
/// Above so many faults likewise.
const FAULTS_WANTED: usize = 2;

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

/// How large a case is, for comparison: operations first, then faults, then what is in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size {
    /// Operations, without those that only name a fault or a turn.
    pub ops: usize,
    /// Calls that fail; [`usize::MAX`] for faults that are drawn.
    pub faults: usize,
    /// Crashes within recoveries, changes in batches, and corrections of turns.
    pub parts: usize,
}

impl Size {
    /// The size of a case.
    pub fn of(case: &Case) -> Size {
        let named = case.ops.iter().filter(|op| matches!(op, Op::Fault { .. })).count();
        let others = match &case.faults {
            FaultMode::Listed(list) => list.len(),
            FaultMode::Drawn(plan) if plan.is_active() => usize::MAX - named,
            FaultMode::Drawn(_) => 0,
        };
        let parts = case.ops.iter().map(|op| match op {
            Op::Crash { nested, .. } => nested.len(),
            Op::Batch { changes, .. } | Op::Submit { changes, .. } => changes.len(),
            Op::Turn { .. } => 1,
            _ => 0,
        });
        let notes = case.ops.iter().filter(|op| op.is_mere_note()).count();
        Size { ops: case.ops.len() - notes, faults: named + others, parts: parts.sum() }
    }

    fn is_wanted(self) -> bool {
        self.ops <= OPS_WANTED && self.faults <= FAULTS_WANTED
    }
}

struct Shrinker<'a> {
    best: Case,
    failure: Failure,
    /// What the best case did.
    starts: Vec<u64>,
    strikes: Vec<(usize, u64)>,
    injected: Vec<Injected>,
    /// The failure once its faults were named: short cases are drawn from it.
    whole: Case,
    runs: u32,
    runs_max: u32,
    calls: u64,
    /// The most calls of one run.
    calls_each: u64,
    /// Whether the caller wants it to end.
    is_late: &'a dyn Fn() -> bool,
    /// With how many other seeds a case that no longer fails is tried.
    reseeds: u32,
    rng: Rng,
}

impl Shrinker<'_> {
    fn is_spent(&self) -> bool {
        self.runs >= self.runs_max || self.calls >= self.calls_max() || (self.is_late)()
    }

    fn calls_max(&self) -> u64 {
        u64::from(self.runs_max) * CALLS_PER_RUN
    }

    fn size(&self) -> Size {
        Size::of(&self.best)
    }

    /// Takes a case if it breaks the same clause.
    fn try_case(&mut self, case: Case) -> bool {
        if self.is_spent() {
            return false;
        }
        self.runs += 1;
        let outcome = run_within(&case, self.calls_each, self.is_late);
        self.calls += outcome.stats.calls.values().sum::<u64>();
        match &outcome.failure {
            Some(failure) if failure.clause == self.failure.clause => {
                self.failure = failure.clone();
                self.take(case, outcome);
                true
            }
            _ => false,
        }
    }

    fn take(&mut self, case: Case, outcome: Outcome) {
        self.best = case;
        self.starts = outcome.starts;
        self.strikes = outcome.strikes;
        self.injected = outcome.injected;
        // What stands behind the failure was never run, or did not matter.
        self.best.ops.truncate(self.failure.op.saturating_add(1));
    }

    /// Takes a case if it breaks the same clause with its seed or one of a few others.
    fn attempt(&mut self, mut case: Case) -> bool {
        if self.try_case(case.clone()) {
            return true;
        }
        for _ in 0..self.reseeds {
            case.seed = self.rng.below(1 << 20);
            if self.try_case(case.clone()) {
                return true;
            }
        }
        false
    }

    /// Tries a change of the best case; a change that changes nothing is no gain.
    fn attempt_change(&mut self, change: impl FnOnce(&mut Case)) -> bool {
        let mut case = self.best.clone();
        change(&mut case);
        case != self.best && self.attempt(case)
    }

    /// All passes that make a case smaller, until none does.
    fn descend(&mut self) {
        loop {
            let before = self.size();
            self.measure_luck();
            self.rename_faults();
            self.settle_crashes();
            self.simplify_crashes();
            self.delete();
            self.merge_clocks();
            self.fewer_turns();
            self.fewer_faults();
            self.merge_commits();
            self.split_batches();
            self.delete_pairs();
            if self.size() >= before || self.is_spent() {
                return;
            }
        }
    }
}

/// Shrinks a failing case in at most so many runs; `None` if it does not fail.
pub fn shrink(case: &Case, runs_max: u32) -> Option<Shrunk> {
    shrink_until(case, runs_max, &|| false)
}

/// As [`shrink`], until `is_late` says so: then the smallest case so far is the outcome. It is
/// asked between runs, and between the operations of a run; the first run, which shows that the
/// case fails, is always made.
///
/// ```
/// use runstone_sim::harness::{generate::generate, shrink::shrink_until};
///
/// assert!(shrink_until(&generate(3), 100, &|| true).is_none(), "it does not fail");
/// ```
pub fn shrink_until(case: &Case, runs_max: u32, is_late: &dyn Fn() -> bool) -> Option<Shrunk> {
    let outcome = run(case, false);
    let failure = outcome.failure.clone()?;
    let calls: u64 = outcome.stats.calls.values().sum();
    let calls_each = match failure.clause {
        "progress" => calls,
        _ => calls.saturating_mul(CALLS_FACTOR).saturating_add(CALLS_MORE),
    };
    let mut shrinker = Shrinker {
        best: case.clone(),
        failure,
        starts: Vec::new(),
        strikes: Vec::new(),
        injected: Vec::new(),
        whole: case.clone(),
        runs: 1,
        runs_max,
        calls: 0,
        calls_each,
        is_late,
        reseeds: 0,
        rng: Rng::from_seed(case.seed),
    };
    shrinker.take(case.clone(), outcome);
    shrinker.name_faults();
    shrinker.settle_crashes();
    shrinker.whole = shrinker.best.clone();
    shrinker.delete();
    shrinker.reseeds = 3;
    shrinker.knobs();
    shrinker.descend();
    while !shrinker.size().is_wanted() && !shrinker.is_spent() {
        shrinker.draw_short_cases();
        shrinker.detours();
        shrinker.delete_at_random();
    }
    shrinker.reseeds = 1;
    shrinker.simplify_ops();
    shrinker.knobs();
    shrinker.descend();
    Some(Shrunk { case: shrinker.best, failure: shrinker.failure, runs: shrinker.runs })
}

/// The changes of an operation that is a commit.
fn changes_of(op: &mut Op) -> &mut [ChangeSpec] {
    match op {
        Op::Write { change, .. } | Op::Kv { change } => std::slice::from_mut(change),
        Op::Batch { changes, .. } | Op::Submit { changes, .. } => changes,
        _ => &mut [],
    }
}
