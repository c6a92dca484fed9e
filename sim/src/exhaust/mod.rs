//! Exhaustive exploration: every small workload, every crash point, every legal disk state,
//! and again inside the recovery that follows.
//!
//! ```text
//! workload -> session -> crash points -> power cuts (names) -> recovery -> contract
//!             (live run)  copy of disk,   contents open,         |
//!                         promise         decided when read      +-> its crash points, deeper
//! ```
//! - [`Workload`], [`workloads`]: the alphabet and its sequences.
//! - `session`: the live run, and what had been promised at each crash point.
//! - `lazy`: decides, when something is read, what the crash has left there.
//! - `explore`: the search; `check`: the clauses of the contract, with the harness's model and
//!   oracle.
//! - [`rot`]: all damage to a small store.
//! - [`faults`]: every single fault at every call, judged by the whole harness.
//!
//! What is enumerated, why the pruning is sound, and the figures: `docs/exhaustive.md`.
//!
//! # Invariants
//! Nothing is drawn: the same workload and bounds give the same report. What a bound cuts off
//! is counted.

mod check;
mod explore;
pub mod faults;
mod lazy;
pub mod rot;
mod session;
mod workload;

use std::fmt;

pub use explore::explore;
pub use workload::{Letter, Setting, Start, Workload, workloads};

/// How far the search goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// How many crashes follow one another: 1 crashes the workload, 2 also the recovery.
    pub depth: usize,
    /// Workloads of fewer operations than this are explored one deeper.
    pub deeper_below: usize,
    /// The most states of one crash point; what is beyond is counted as cut off.
    pub states_max: usize,
    /// Nothing is pruned: every choice is made, whether anybody looks or not. For comparison.
    pub brute_force: bool,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { depth: 2, deeper_below: 0, states_max: 1 << 20, brute_force: false }
    }
}

impl Bounds {
    fn depth_of(&self, workload: &Workload) -> usize {
        let deeper = workload.letters.len() < self.deeper_below;
        (self.depth + usize::from(deeper)).max(1)
    }
}

/// What was done at one level: 1 for crashes of the workload, 2 for those of its recovery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Crash points: before each call that changes the disk, and after the last.
    pub points: u64,
    /// Those of them that were explored before: the same disk, promise and depth.
    pub known: u64,
    /// How many choices the crash had: what to keep of each change of a name, of each size,
    /// of each sector.
    pub choices: u128,
    /// How many different disk states they lead to.
    pub states: u128,
    /// How many recoveries were run and checked: the states that are left after pruning.
    pub recoveries: u64,
    /// The calls of these recoveries.
    pub calls: u64,
    /// Crash points whose states were more than the bound.
    pub cut_off: u64,
}

/// What a search came to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How many workloads.
    pub workloads: u64,
    /// Level by level, the first first.
    pub levels: Vec<Tally>,
    /// A digest of all that each recovery saw of its disk: equal ones saw the same state.
    pub seen: Vec<u64>,
    /// A digest of the disk that each recovery found: what it decided, and what it left open.
    pub states: Vec<u64>,
    /// The first breach.
    pub breach: Option<Breach>,
}

impl Report {
    fn level(&mut self, level: usize) -> &mut Tally {
        if self.levels.len() < level {
            self.levels.resize(level, Tally::default());
        }
        let at = level.saturating_sub(1);
        &mut self.levels[at]
    }

    /// Adds another report; keeps the first breach.
    pub fn add(&mut self, other: Report) {
        self.workloads += other.workloads;
        for (level, from) in (1..).zip(&other.levels) {
            let to = self.level(level);
            to.points += from.points;
            to.known += from.known;
            to.choices = to.choices.saturating_add(from.choices);
            to.states = to.states.saturating_add(from.states);
            to.recoveries += from.recoveries;
            to.calls += from.calls;
            to.cut_off += from.cut_off;
        }
        self.seen.extend(other.seen);
        self.states.extend(other.states);
        if self.breach.is_none() {
            self.breach = other.breach;
        }
    }

    /// How many different disk states were found, and how many recoveries differ in what they
    /// saw of them. Sorts both.
    pub fn distinct(&mut self) -> (u64, u64) {
        for digests in [&mut self.states, &mut self.seen] {
            digests.sort_unstable();
            digests.dedup();
        }
        (self.states.len() as u64, self.seen.len() as u64)
    }
}

/// A breach of the contract, and the path to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Breach {
    /// The workload.
    pub workload: String,
    /// The clause of the contract, or what else was broken.
    pub clause: &'static str,
    /// The first difference.
    pub message: String,
    /// Crashes and decisions, from the workload to the recovery that broke it.
    pub path: Vec<String>,
}

impl Breach {
    fn new(clause: &'static str, message: impl ToString) -> Breach {
        Breach { clause, message: message.to_string(), ..Breach::default() }
    }

    /// The same, reached by one more step.
    fn under(mut self, step: &str) -> Breach {
        self.path.insert(0, step.to_owned());
        self
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "BREACH of {} in {}: {}", self.clause, self.workload, self.message)?;
        self.path.iter().try_for_each(|step| writeln!(f, "  {step}"))
    }
}

type Checked<T = ()> = Result<T, Breach>;
