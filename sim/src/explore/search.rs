//! The search: every crash point in the order of the calls, and every choice at each.
//!
//! A choice that leads to a disk that was judged before, at the same point and so with the same
//! promises, is not judged again: the invariant would say the same.

use std::collections::BTreeSet;

use super::shrink;
use super::state::{Broken, CrashState, RecoveryCrash, Stopped, Subject, Survives, survivor};
use super::{Explored, Options, Violation};
use crate::disk::{CallKind, CrashKind, CrashPoint, SimVfs, When};

/// Up to how many pending operations each is also lost alone, and kept alone.
const ALONE_MAX: u64 = 64;
/// How often a call is interrupted at a place of its own.
const PARTS: u64 = 3;

pub(super) struct Search<'a, S> {
    options: &'a Options,
    subject: &'a Subject<'a, S>,
    explored: Explored,
}

impl<'a, S: Default> Search<'a, S> {
    pub(super) fn new(options: &'a Options, subject: &'a Subject<'a, S>) -> Self {
        Search { options, subject, explored: Explored::default() }
    }

    pub(super) fn run(mut self) -> Result<Explored, Box<Violation>> {
        let calls = match self.subject.count_calls() {
            Ok(calls) if calls > self.options.calls_max => {
                let message = format!("the program makes {calls} calls: more than calls_max");
                return Err(self.violation(message, None));
            }
            Ok(calls) => calls,
            Err(message) => return Err(self.violation(message, None)),
        };
        self.explored.calls = calls;
        for call in 0..calls {
            for when in [When::Before, When::Inside, When::After] {
                self.explored.points += 1;
                self.at(CrashPoint { call, when })?;
            }
        }
        // After its end, when everything has been promised.
        self.explored.points += 1;
        self.at(CrashPoint { call: calls, when: When::Before })?;
        Ok(self.explored)
    }

    /// All crashes at one point.
    fn at(&mut self, point: CrashPoint) -> Result<(), Box<Violation>> {
        let parts = if point.when == When::Inside { PARTS } else { 1 };
        let mut seen = BTreeSet::new();
        for part in 0..parts {
            let part = self.options.seed.wrapping_add(part);
            let stopped = self.subject.stop_at(point, part);
            if let Err((state, message)) = self.states_of(&stopped, point, part, &mut seen) {
                let broken = shrink::shrink(self.subject, state, message);
                return Err(self.violation(broken.1, Some(broken.0)));
            }
        }
        Ok(())
    }

    fn states_of(
        &mut self,
        stopped: &Stopped<S>,
        point: CrashPoint,
        part: u64,
        seen: &mut BTreeSet<u64>,
    ) -> Result<(), Broken> {
        let mut recoveries = self.options.recoveries;
        for survives in self.choices(&stopped.disk, point) {
            let disk = survivor(&stopped.disk, &survives);
            if !seen.insert(disk.state_digest()) {
                self.explored.repeated += 1;
                continue;
            }
            self.explored.states += 1;
            let state = CrashState { point, part, survives, recovery: None };
            let before = changing_calls(&disk);
            let first = disk.calls();
            if let Err(message) = self.subject.ask(&disk, &stopped.promised) {
                return Err((state, message));
            }
            if changing_calls(&disk) > before && recoveries > 0 {
                recoveries -= 1;
                self.recoveries_of(stopped, &state, disk.calls() - first)?;
            }
        }
        Ok(())
    }

    /// Crashes what the invariant does after one crash, at each of its calls.
    fn recoveries_of(
        &mut self,
        stopped: &Stopped<S>,
        state: &CrashState,
        calls: u64,
    ) -> Result<(), Broken> {
        for after_calls in 0..calls {
            for when in [When::Inside, When::After] {
                self.explored.recoveries += 1;
                let seed = self.options.seed.wrapping_add(after_calls);
                let recovery = Some(RecoveryCrash { after_calls, when, seed });
                let state = CrashState { recovery, ..state.clone() };
                let judged = self.subject.judge(stopped, &state).0;
                judged.map_err(|message| (state, message))?;
            }
        }
        Ok(())
    }

    /// What may survive: the choices that need no draw first, the plainest of all first.
    fn choices(&self, disk: &SimVfs, point: CrashPoint) -> Vec<Survives> {
        let mut choices = Vec::new();
        if self.options.kinds.contains(&CrashKind::Process) {
            choices.push(Survives::Everything);
        }
        if !self.options.kinds.contains(&CrashKind::Power) {
            return choices;
        }
        let pending = disk.pending_operations();
        let all: Vec<u64> = (0..pending).collect();
        choices.push(Survives::AllBut(Vec::new()));
        choices.push(Survives::AllBut(all.clone()));
        for n in 0..pending.min(ALONE_MAX) {
            choices.push(Survives::AllBut(vec![n]));
            choices.push(Survives::AllBut(all.iter().copied().filter(|&m| m != n).collect()));
            choices.push(Survives::AllBut((n..pending).collect()));
        }
        for &model in &self.options.models {
            for choice in 0..u64::from(self.options.choices) {
                let at = point.call * 3 + point.when as u64;
                let seed = at.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(choice);
                let seed = self.options.seed.wrapping_add(seed);
                choices.push(Survives::Drawn { model, seed });
            }
        }
        choices
    }

    fn violation(&self, message: String, state: Option<CrashState>) -> Box<Violation> {
        let trace = state.as_ref().map(|state| {
            let stopped = self.subject.stop_at(state.point, state.part);
            let trace = self.subject.judge(&stopped, state).1.trace();
            without_the_stop(trace, state.kind())
        });
        Box::new(Violation {
            message,
            state,
            trace: trace.unwrap_or_default(),
            explored: self.explored,
            names: self.options.names.clone(),
        })
    }
}

/// For a power cut the program is first stopped like a killed process; that is how it is done,
/// and nothing that happened.
fn without_the_stop(mut trace: Vec<String>, kind: CrashKind) -> Vec<String> {
    let stop = trace.iter().position(|line| line.starts_with("process killed"));
    if let Some(stop) = stop.filter(|_| kind == CrashKind::Power) {
        trace.remove(stop);
        let restart = trace.iter().skip(stop).position(|line| line == "restart");
        if let Some(restart) = restart {
            trace.remove(stop + restart);
        }
    }
    trace
}

fn changing_calls(disk: &SimVfs) -> u64 {
    let calls = disk.stats().calls;
    calls.iter().filter(|(kind, _)| CallKind::changes(**kind)).map(|(_, count)| count).sum()
}
