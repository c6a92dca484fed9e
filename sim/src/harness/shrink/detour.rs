//! Detours: changes that make a case no smaller by themselves, but let more operations go.
//!
//! A segment of 512 bytes is full after one write where one of 8,192 needs twenty; a disk with
//! one crash model does at the first crash what a mixture does at the tenth.

use super::simplify::each_value;
use super::{Case, Op, Shrinker};
use crate::disk::{CrashKind, CrashModel, DiskConfig, NameModel, Odds, When};

/// With how many seeds a detour is begun.
const SEEDS: u32 = 12;

/// What may let more operations go.
pub(super) const DETOURS: &[fn(&mut Case)] = &[
    |case| case.options.segment_bytes = 512,
    |case| case.options.segment_bytes = 1024,
    |case| case.options.segment_bytes = 65_536,
    |case| case.options.group_commits_max = 1,
    |case| case.options.mode = 0,
    |case| case.options.mode = 1,
    |case| case.options.mode = 2,
    |case| case.options.batch_size = 1,
    |case| case.options.batch_size = 40,
    |case| case.options.log_buffer_bytes_max = 0,
    |case| case.options.log_buffer_bytes_max = 65_536,
    |case| case.options.preallocate_bytes = 4096,
    |case| case.options.diligent = !case.options.diligent,
    |case| case.faults_in_recovery = !case.faults_in_recovery,
    |case| case.disk = DiskConfig::default(),
    |case| {
        let models = case.disk.models.clone();
        let early_writeback = Odds::one_in(2);
        case.disk = DiskConfig { models, early_writeback, ..DiskConfig::default() };
    },
    |case| case.ops.iter_mut().for_each(|op| each_value(op, |v| v.size = 600)),
    |case| {
        for op in &mut case.ops {
            each_value(op, |value| (value.kind, value.size) = (8, 1400));
        }
    },
    |case| one_crash(case, CrashKind::Power),
    |case| one_crash(case, CrashKind::Process),
];

impl Shrinker<'_> {
    /// Every detour that ends at a smaller case.
    pub(super) fn detours(&mut self) {
        for change in DETOURS {
            self.detour(change);
        }
        for model in CrashModel::ALL {
            self.detour(|case| {
                for op in &mut case.ops {
                    if let Op::Crash { model: chosen, .. } = op {
                        *chosen = Some(model);
                    }
                }
            });
        }
        for names in [NameModel::None, NameModel::All, NameModel::Subset] {
            self.detour(|case| case.disk = case.disk.clone().only_names(names));
        }
    }

    fn detour(&mut self, change: impl FnOnce(&mut Case)) {
        if self.is_spent() || self.size().is_wanted() {
            return;
        }
        let before = (self.best.clone(), self.failure.clone());
        let known = (self.starts.clone(), self.strikes.clone());
        let size = self.size();
        let reseeds = std::mem::replace(&mut self.reseeds, SEEDS);
        let begun = self.attempt_change(change);
        self.reseeds = reseeds;
        if begun {
            self.descend();
        }
        if self.size() >= size {
            (self.best, self.failure) = before;
            (self.starts, self.strikes) = known;
        }
    }
}

/// The last crash only, and at once.
fn one_crash(case: &mut Case, kind: CrashKind) {
    let Some(last) = case.ops.iter().rposition(|op| matches!(op, Op::Crash { .. })) else {
        return;
    };
    let crash =
        Op::Crash { after_calls: 0, when: When::After, kind, model: None, nested: vec![], rot: 0 };
    if let Some(op) = case.ops.get_mut(last) {
        *op = crash;
    }
    let mut at = 0;
    case.ops.retain(|op| {
        at += 1;
        at > last || !matches!(op, Op::Crash { .. })
    });
}
