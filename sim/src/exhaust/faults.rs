//! Every single fault at every call of small workloads, and every way to go on.
//!
//! ```text
//! script -> base run: its calls -> for each call, each fault that it can meet,
//!                                  each way to go on: a case -> harness -> contract
//! ```
//! - `script`: the workloads. `strike`: what can strike a call. `way`: how it goes on.
//!
//! Every run is a [`Case`], judged by the harness's own model and oracle; a breach is a saved case.
//!
//! # Invariants
//! - The same script and size give the same runs and the same digest.
//! - The calls before a fault are those of the base run, so every fault strikes what it is meant
//!   for; that it did is checked.
//! - A share of what the harness checks goes by the number of the operation. The call's number
//!   shifts that, so that the calls of a script together meet every check.

pub mod script;
mod strike;
mod way;

use std::collections::BTreeMap;

use script::{Script, scripts, scripts_in_all_settings};
use strike::{Strike, Temper, strikes};
use way::{Cut, SHIFTS, base_case, continued, cuts, ways};

use super::{Breach, Checked};
use crate::digest::Digest;
use crate::disk::{FaultKind, FaultMode, Injected, SeenCall};
use crate::harness::runner::run_keeping_calls;
use crate::harness::{Case, Outcome, World, run};

/// How much is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Size {
    /// Each script under its own options, with two power cuts.
    Quick,
    /// All scripts under all settings, with more of them.
    Full,
}

/// The workloads of a size.
#[must_use]
pub fn fault_scripts(size: Size) -> Vec<Script> {
    match size {
        Size::Quick => scripts(),
        Size::Full => scripts_in_all_settings(),
    }
}

/// What runs with a fault came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultTally {
    /// Runs: calls, times faults, times ways to go on.
    pub runs: u64,
    /// Those in which the fault made a difference: an error was told, or other calls were made.
    pub effects: u64,
    /// Those in which somebody was told an error after which all was as before.
    pub refused: u64,
    /// Those in which somebody was told that nothing more is written.
    pub ended: u64,
}

impl FaultTally {
    fn add(&mut self, other: FaultTally) {
        self.runs += other.runs;
        self.effects += other.effects;
        self.refused += other.refused;
        self.ended += other.ended;
    }
}

/// What a search came to.
#[derive(Clone, Debug, Default)]
pub struct FaultReport {
    /// Calls that faults struck.
    pub calls: u64,
    /// Calls, times faults that can strike them.
    pub strikes: u64,
    /// By the kind of the fault.
    pub kinds: BTreeMap<FaultKind, FaultTally>,
    /// By the way to go on.
    pub ways: BTreeMap<&'static str, FaultTally>,
    /// Runs without a fault, which those with one are compared with.
    pub controls: u64,
    /// Of every run, in any order.
    pub digest: u64,
    /// The first breach, and the case that shows it.
    pub breach: Option<(Breach, Box<Case>)>,
}

impl FaultReport {
    /// Adds another report; keeps the first breach.
    pub fn add(&mut self, other: FaultReport) {
        self.calls += other.calls;
        self.strikes += other.strikes;
        self.controls += other.controls;
        self.digest = self.digest.wrapping_add(other.digest);
        for (kind, tally) in other.kinds {
            self.kinds.entry(kind).or_default().add(tally);
        }
        for (way, tally) in other.ways {
            self.ways.entry(way).or_default().add(tally);
        }
        if self.breach.is_none() {
            self.breach = other.breach;
        }
    }

    /// All runs with a fault.
    #[must_use]
    pub fn total(&self) -> FaultTally {
        let mut total = FaultTally::default();
        self.kinds.values().for_each(|tally| total.add(*tally));
        total
    }
}

/// A script, and which of its calls faults strike.
#[derive(Clone, Debug)]
pub struct FaultSearch {
    script: Script,
    size: Size,
    calls: usize,
}

/// A run without a fault: what its calls were.
struct Base {
    case: Case,
    /// The calls that may fail, and their numbers.
    calls: Vec<(u64, SeenCall)>,
    /// How many of them come before those that faults strike.
    before: usize,
    starts: Vec<u64>,
}

impl FaultSearch {
    /// Looks which calls the script makes.
    ///
    /// Errors: it breaks the contract without any fault.
    pub fn new(script: Script, size: Size) -> Result<FaultSearch, Breach> {
        let mut search = FaultSearch { script, size, calls: 0 };
        for cut in cuts(size) {
            for shift in 0..SHIFTS {
                let base = search.base(shift, (Temper::Mild, World::Strict), cut)?;
                search.calls = search.calls.max(base.calls.len() - base.before);
            }
        }
        Ok(search)
    }

    /// How many calls faults strike.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.calls
    }

    /// The name of the script.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.script.name
    }

    /// The run without a fault.
    fn base(&self, shift: usize, (temper, world): (Temper, World), cut: Cut) -> Checked<Base> {
        let mut case = base_case(&self.script, shift, temper, world, cut);
        let mut outcome = self.unharmed(&case)?;
        let mut first = match self.script.strikes_creation {
            true => 0,
            false => outcome.starts.get(Script::FOUNDING + 1).copied().unwrap_or(0),
        };
        if let Some((op, kind)) = self.script.fails_first {
            // Behind the operation that shifts.
            let (from, to) = (outcome.starts.get(op + 1), outcome.starts.get(op + 2));
            let (from, to) = (from.copied().unwrap_or(0), to.copied().unwrap_or(u64::MAX));
            let mut calls = (0..).zip(&outcome.calls);
            let own = calls
                .find(|(at, call)| (from..to).contains(at) && call.kind == kind && call.may_fail);
            let Some((call, _)) = own else {
                return Err(self.breach("harness", format!("no {kind:?} in operation {op}")));
            };
            let fault = crate::disk::Fault::new(FaultKind::Io).without_effect();
            case.faults = FaultMode::Listed(vec![Injected { call, kind, fault }]);
            outcome = self.unharmed(&case)?;
            // It is listed by its number: behind another fault it would be another call.
            first = call + 1;
        }
        let calls = (0..).zip(outcome.calls);
        let calls: Vec<(u64, SeenCall)> = calls.filter(|(_, call)| call.may_fail).collect();
        let before = calls.partition_point(|(at, _)| *at < first);
        Ok(Base { case, calls, before, starts: outcome.starts })
    }

    fn unharmed(&self, case: &Case) -> Checked<Outcome> {
        let outcome = run_keeping_calls(case);
        match &outcome.failure {
            None => Ok(outcome),
            Some(failure) => {
                Err(self.breach(failure.clause, format!("without a fault: {failure}")))
            }
        }
    }

    fn breach(&self, clause: &'static str, message: impl ToString) -> Breach {
        Breach { workload: self.script.name.clone(), ..Breach::new(clause, message) }
    }

    /// Strikes one call with everything that can strike it, and goes on in every way.
    ///
    /// The report ends with the first breach.
    #[must_use]
    pub fn explore(&self, nth: usize) -> FaultReport {
        let mut report = FaultReport { calls: 1, ..FaultReport::default() };
        if let Err(found) = self.explore_into(nth, &mut report) {
            report.breach = Some(*found);
        }
        report
    }

    fn explore_into(&self, nth: usize, report: &mut FaultReport) -> Result<(), Found> {
        for cut in cuts(self.size) {
            for world in [World::Strict, World::Lying] {
                for temper in [Temper::Mild, Temper::Harsh] {
                    self.explore_base(nth, (temper, world), cut, report)?;
                }
            }
        }
        Ok(())
    }

    /// What strikes a call of one base run: after a power cut with another outcome a script makes
    /// other calls.
    fn explore_base(
        &self,
        nth: usize,
        (temper, world): (Temper, World),
        cut: Cut,
        report: &mut FaultReport,
    ) -> Result<(), Found> {
        let shift = nth % SHIFTS;
        let base = self.base(shift, (temper, world), cut).map_err(|breach| {
            let case = base_case(&self.script, shift, temper, world, cut);
            Box::new((breach, Box::new(case)))
        })?;
        let Some((at, call)) = base.struck(nth) else { return Ok(()) };
        let of_base = |strike: &Strike| (strike.temper, strike.world) == (temper, world);
        let strikes: Vec<Strike> = strikes(call).into_iter().filter(of_base).collect();
        if cut == Cut::Nothing {
            report.strikes += strikes.len() as u64;
        }
        for way in ways(cut).filter(|_| !strikes.is_empty()) {
            let case = continued(base.case.clone(), &base.starts, &base.calls, *at, way);
            let found = |clause, message: String, more: Option<Strike>, case: &Case| {
                let (operation, fault) = (base.op_of(*at), more.map(|strike| strike.fault));
                let step = [
                    format!(
                        "call {at} of operation {operation}: {} {}",
                        call.kind.name(),
                        call.path
                    ),
                    format!("{fault:?}, {temper:?}, {world:?}"),
                    format!("{way:?}, {cut:?}"),
                ];
                let breach = self.breach(clause, message);
                Box::new((Breach { path: step.to_vec(), ..breach }, Box::new(case.clone())))
            };
            report.controls += 1;
            let control = run(&case, false);
            if let Some(failure) = &control.failure {
                let message = format!("without the fault: {failure}");
                return Err(found(failure.clause, message, None, &case));
            }
            for strike in &strikes {
                let fault = strike.fault;
                let mut case = case.clone();
                if let FaultMode::Listed(list) = &mut case.faults {
                    list.push(Injected { call: *at, kind: call.kind, fault });
                }
                let outcome = run(&case, false);
                if let Some(failure) = &outcome.failure {
                    return Err(found(failure.clause, failure.to_string(), Some(*strike), &case));
                }
                if !outcome.injected.iter().any(|hit| hit.call == *at) {
                    let message = "the fault has not struck".to_owned();
                    return Err(found("harness", message, Some(*strike), &case));
                }
                let tally = tally(&outcome, &control);
                report.kinds.entry(fault.kind).or_default().add(tally);
                report.ways.entry(way.name()).or_default().add(tally);
                let mut digest = Digest::new();
                digest.bytes(self.script.name.as_bytes());
                digest.u64(*at);
                digest.bytes(format!("{strike:?} {way:?} {cut:?}").as_bytes());
                digest.u64(outcome.digest);
                report.digest = report.digest.wrapping_add(digest.value());
            }
        }
        Ok(())
    }
}

/// A breach, and the case that shows it.
type Found = Box<(Breach, Box<Case>)>;

impl Base {
    /// The `nth` call that faults strike.
    fn struck(&self, nth: usize) -> Option<&(u64, SeenCall)> {
        self.calls.get(self.before + nth)
    }

    /// The operation of a call; -1 is the creation.
    fn op_of(&self, call: u64) -> i64 {
        let at = self.starts.iter().rposition(|start| *start <= call);
        at.and_then(|at| i64::try_from(at).ok()).unwrap_or(-1)
    }
}

/// One run, beside the same without the fault.
fn tally(outcome: &Outcome, control: &Outcome) -> FaultTally {
    let refused = outcome.told.0 > control.told.0;
    let ended = outcome.told.1 > control.told.1;
    let same_calls = outcome.stats.calls == control.stats.calls;
    FaultTally {
        runs: 1,
        effects: u64::from(refused || ended || !same_calls),
        refused: u64::from(refused),
        ended: u64::from(ended),
    }
}
