//! Weaker harnesses, to see what each idea of this one buys.
//!
//! Each is a pure transformation of a generated [`Case`]: the same operations, options and
//! faults, with less of one idea; and none of them looks into the files before a crash, which is
//! an idea of its own. Invariant: what a weaker harness reports is a breach in this
//! one, too: it never makes a promise of the disk weaker. The crash right after a failed sync is
//! of the harness's own kind.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::case::{Case, NestedCrash, Op, World};
use crate::disk::{CrashKind, CrashModel, DiskConfig, NameModel, Odds};

/// A weaker harness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weak {
    /// A power cut drops everything that was not synced, and strikes between operations only.
    DropUnsynced,
    /// Only the process is killed, at any call.
    ProcessKill,
    /// No crash: where there was one, the store is closed and opened again.
    CleanClose,
    /// A power cut keeps a prefix of the ordered writes of the whole disk.
    OrderedPrefix,
    /// A power cut tears each write at a byte, keeps every name, and nothing else.
    OneTear,
    /// Everything, but that a broken promise shows in what a crash leaves, and not before.
    CrashOnly,
}

impl Weak {
    /// All weaker harnesses.
    pub const ALL: [Weak; 6] = [
        Weak::DropUnsynced,
        Weak::ProcessKill,
        Weak::CleanClose,
        Weak::OrderedPrefix,
        Weak::OneTear,
        Weak::CrashOnly,
    ];

    /// The name, as tables write it.
    pub fn name(self) -> &'static str {
        match self {
            Weak::DropUnsynced => "drop unsynced, between operations",
            Weak::ProcessKill => "process kill only",
            Weak::CleanClose => "clean close only",
            Weak::OrderedPrefix => "prefix of ordered writes",
            Weak::OneTear => "byte tears, names kept",
            Weak::CrashOnly => "no looks into the files",
        }
    }

    /// The case as this harness would run it.
    #[must_use]
    pub fn weaken(self, mut case: Case) -> Case {
        case.looks = false;
        if self == Weak::CrashOnly {
            return case;
        }
        // Damage is an idea of its own; none of the weaker ones has it.
        if matches!(case.world, World::GarbageSector | World::Rot) {
            case.world = World::Strict;
        }
        case.disk = self.disk(case.disk);
        case.ops = case.ops.into_iter().map(|op| self.weaken_op(op)).collect();
        case.creation = self.weaken_nested(case.creation);
        case.poisoned_nested = self.weaken_nested(case.poisoned_nested);
        case.poisoned_crash = match self {
            Weak::CleanClose => None,
            Weak::ProcessKill => case.poisoned_crash.map(|_| CrashKind::Process),
            _ => case.poisoned_crash,
        };
        case
    }

    /// Crashes within an opening.
    fn weaken_nested(self, nested: Vec<NestedCrash>) -> Vec<NestedCrash> {
        match self {
            Weak::CleanClose | Weak::DropUnsynced => Vec::new(),
            Weak::ProcessKill => {
                let kill = |crash| NestedCrash { kind: CrashKind::Process, ..crash };
                nested.into_iter().map(kill).collect()
            }
            Weak::OrderedPrefix | Weak::OneTear | Weak::CrashOnly => nested,
        }
    }

    fn disk(self, disk: DiskConfig) -> DiskConfig {
        let plain = DiskConfig { capacity: disk.capacity, ..DiskConfig::plain() };
        match self {
            Weak::DropUnsynced | Weak::ProcessKill | Weak::CleanClose => plain,
            Weak::OrderedPrefix => {
                plain.only(CrashModel::PrefixTornLast).only_names(NameModel::Prefix)
            }
            Weak::OneTear => DiskConfig {
                models: BTreeMap::from([(CrashModel::BytePrefix, 1)]),
                size_independent: Odds::NEVER,
                ..plain.only_names(NameModel::All)
            },
            Weak::CrashOnly => disk,
        }
    }

    fn weaken_op(self, op: Op) -> Op {
        let kill = |kind| if self == Weak::ProcessKill { CrashKind::Process } else { kind };
        if let Op::Around { event, twist, end } = op {
            let end = end.filter(|_| self != Weak::CleanClose).map(kill);
            return Op::Around { event, twist, end };
        }
        let Op::Crash { after_calls, when, kind, nested, .. } = op else { return op };
        match self {
            Weak::CleanClose => Op::Reopen,
            Weak::DropUnsynced => {
                let (model, nested) = (None, Vec::new());
                Op::Crash { after_calls: 0, when, kind: CrashKind::Power, model, nested, rot: 0 }
            }
            Weak::ProcessKill | Weak::OrderedPrefix | Weak::OneTear | Weak::CrashOnly => {
                let (kind, nested) = (kill(kind), self.weaken_nested(nested));
                Op::Crash { after_calls, when, kind, model: None, nested, rot: 0 }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::{generate, run};

    /// The crashes of a few seeds under a weaker harness, as it is or with a power cut after a
    /// failed sync.
    fn crashes(weak: Weak, and_power: bool) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for seed in 0..60 {
            let mut case = weak.weaken(generate::generate(seed));
            if and_power {
                case.poisoned_crash = Some(CrashKind::Power);
            }
            for (name, count) in run(&case, false).crashes {
                *all.entry(name).or_default() += count;
            }
        }
        all
    }

    #[test]
    fn a_harness_without_power_cuts_cuts_no_power_after_a_failed_sync_either() {
        let is_power = |name: &String| name.starts_with("power");
        for weak in [Weak::ProcessKill, Weak::CleanClose] {
            assert!(crashes(weak, true).keys().any(is_power), "no seed of these poisons");
            let crashes = crashes(weak, false);
            assert!(!crashes.keys().any(is_power), "{weak:?}: {crashes:?}");
            assert_eq!(crashes.is_empty(), weak == Weak::CleanClose, "{weak:?}: {crashes:?}");
        }
    }
}
