//! Weaker harnesses, to see what each idea of this one buys.
//!
//! Each is a pure transformation of a generated [`Case`]: the same operations, options and
//! faults, with less of one idea. Invariant: what a weaker harness reports is a breach in this
//! one, too: it never makes a promise of the disk weaker. A power cut right after a failed sync
//! is the runner's own, and stays.

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
}

impl Weak {
    /// All weaker harnesses.
    pub const ALL: [Weak; 5] = [
        Weak::DropUnsynced,
        Weak::ProcessKill,
        Weak::CleanClose,
        Weak::OrderedPrefix,
        Weak::OneTear,
    ];

    /// The name, as tables write it.
    pub fn name(self) -> &'static str {
        match self {
            Weak::DropUnsynced => "drop unsynced, between operations",
            Weak::ProcessKill => "process kill only",
            Weak::CleanClose => "clean close only",
            Weak::OrderedPrefix => "prefix of ordered writes",
            Weak::OneTear => "byte tears, names kept",
        }
    }

    /// The case as this harness would run it.
    #[must_use]
    pub fn weaken(self, mut case: Case) -> Case {
        // Damage is an idea of its own; none of the weaker ones has it.
        if matches!(case.world, World::GarbageSector | World::Rot) {
            case.world = World::Strict;
        }
        case.disk = self.disk(case.disk);
        case.ops = case.ops.into_iter().map(|op| self.weaken_op(op)).collect();
        case.creation = self.weaken_nested(case.creation);
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
            Weak::OrderedPrefix | Weak::OneTear => nested,
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
        }
    }

    fn weaken_op(self, op: Op) -> Op {
        let Op::Crash { after_calls, when, kind, nested, .. } = op else { return op };
        let kill = |kind| if self == Weak::ProcessKill { CrashKind::Process } else { kind };
        match self {
            Weak::CleanClose => Op::Reopen,
            Weak::DropUnsynced => {
                let (model, nested) = (None, Vec::new());
                Op::Crash { after_calls: 0, when, kind: CrashKind::Power, model, nested, rot: 0 }
            }
            Weak::ProcessKill | Weak::OrderedPrefix | Weak::OneTear => {
                let (kind, nested) = (kill(kind), self.weaken_nested(nested));
                Op::Crash { after_calls, when, kind, model: None, nested, rot: 0 }
            }
        }
    }
}
