//! Short cases, drawn from the operations of the failure.
//!
//! Deleting goes downhill and ends in a valley. A case of a few operations costs a hundredth of
//! the whole one, so thousands can be drawn at large: some operations of the failure, in their
//! order, now and then with a detour, each with another seed of the disk.

use super::detour::DETOURS;
use super::{Case, ChangeSpec, FAULTS_WANTED, OPS_WANTED, Op, Shrinker, changes_of};
use crate::disk::{CrashModel, FaultMode};

/// How many short cases are drawn in a row, unless one fails.
const DRAWN: u32 = 4000;
/// How many operations a short case has at least.
const OPS_MIN: usize = 2;

impl Shrinker<'_> {
    /// Draws short cases until one breaks the clause and can be shrunk as far as is wanted.
    pub(super) fn draw_short_cases(&mut self) {
        for _ in 0..DRAWN {
            if self.is_spent() || self.size().is_wanted() {
                return;
            }
            let case = self.short_case();
            if super::Size::of(&case) < self.size() && self.try_case(case) {
                self.descend();
            }
        }
    }

    fn short_case(&mut self) -> Case {
        let from = if self.rng.coin() { &self.whole } else { &self.best };
        let wanted = OPS_MIN + self.rng.index(OPS_WANTED - OPS_MIN + 1);
        // Most of what matters stands close together, and most often at the end.
        let len = from.ops.len();
        let end = if self.rng.chance(3, 4) { len } else { 1 + self.rng.index(len.max(1)) };
        let reach = wanted << self.rng.below(6);
        let begin = end.min(len).saturating_sub(reach);
        let mut chosen: Vec<usize> = (begin..end.min(len)).collect();
        chosen.retain(|at| from.ops.get(*at).is_some_and(|op| !op.is_mere_note()));
        let last = chosen.pop();
        self.rng.shuffle(&mut chosen);
        chosen.truncate(wanted - 1);
        chosen.extend(last);
        let with_faults = self.rng.coin();
        let mut case = from.clone();
        if (!with_faults || self.rng.coin())
            && let FaultMode::Listed(list) = &mut case.faults
        {
            list.clear();
        }
        let chosen = with_runs(&from.ops, chosen);
        case.ops = gather(&from.ops, &chosen, if with_faults { FAULTS_WANTED } else { 0 });
        for _ in 0..self.rng.below(3) {
            if let Some(change) = self.rng.pick(DETOURS) {
                change(&mut case);
            }
        }
        if self.rng.coin() {
            let model = self.rng.pick(&CrashModel::ALL).copied();
            for op in &mut case.ops {
                if let Op::Crash { model: chosen, .. } = op {
                    *chosen = model;
                }
            }
        }
        case.seed = self.rng.below(1 << 20);
        case
    }
}

/// The same operations, and for each run that they write to the one that began it.
fn with_runs(ops: &[Op], mut chosen: Vec<usize>) -> Vec<usize> {
    let written: Vec<(usize, u8)> = chosen
        .iter()
        .flat_map(|at| {
            let mut op = ops.get(*at).cloned();
            let changes = op.as_mut().map(changes_of).unwrap_or_default().to_vec();
            changes.into_iter().filter_map(run_of).map(move |run| (*at, run))
        })
        .collect();
    for (at, run) in written {
        let begins = |op: &Op| {
            let mut op = op.clone();
            changes_of(&mut op).iter().any(
                |change| matches!(change, ChangeSpec::Begin { run: begun, .. } if *begun == run),
            )
        };
        chosen.extend(ops.iter().take(at).rposition(begins));
    }
    chosen.sort_unstable();
    chosen.dedup();
    chosen
}

/// The run that a change writes to.
fn run_of(change: ChangeSpec) -> Option<u8> {
    match change {
        ChangeSpec::Put { run, .. }
        | ChangeSpec::Delete { run, .. }
        | ChangeSpec::Tagged { run, .. }
        | ChangeSpec::RemoveRange { run, .. }
        | ChangeSpec::Drop { run }
        | ChangeSpec::End { run, .. } => Some(run),
        ChangeSpec::Begin { .. } => None,
    }
}

/// The chosen operations, each after the faults that stand before it.
fn gather(ops: &[Op], chosen: &[usize], mut faults: usize) -> Vec<Op> {
    let mut gathered = Vec::new();
    let mut pending: Vec<Op> = Vec::new();
    for (at, op) in ops.iter().enumerate() {
        if matches!(op, Op::Fault { .. }) {
            pending.push(op.clone());
            continue;
        }
        if matches!(op, Op::Turn { .. }) {
            continue;
        }
        if chosen.contains(&at) {
            let taken = pending.len().min(faults);
            gathered.extend(pending.drain(..taken));
            faults -= taken;
            gathered.push(op.clone());
        }
        pending.clear();
    }
    gathered
}
