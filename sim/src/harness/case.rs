//! A case: everything that a run of the simulation depends on, as data.
//!
//! Invariant: the same case gives the same run, call for call. A case is generated from a
//! seed, saved as text, replayed, and shrunk by deleting parts of it.

use runstone::Level;
use serde::{Deserialize, Serialize};

use super::around::event::Event;
pub use super::options::{CaseOptions, LimitSpec};
pub use super::values::{
    BATCH_BYTES_MAX, ECHO, KEY_BYTES_MAX, KEYS, NAMED, TAGGED_KEYS, TAGS, VALUE_BYTES_MAX,
    ValueSpec, key_bytes, namespace, run_id, status, ttl, type_tag,
};
pub(crate) use super::values::{bound, range};
use crate::disk::{CrashKind, CrashModel, DiskConfig, Fault, FaultMode, When};

/// Which promises the disk keeps, and so which oracle judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum World {
    /// The disk keeps its word; calls may fail, and say so. Every clause of the contract.
    Strict,
    /// Syncs say Ok and do nothing, or report their error one sync late: C2, C3, C9, C10,
    /// C12, or a typed refusal.
    Lying,
    /// One sector that an unsynced write touched is garbage: C2, C3, or a typed error.
    GarbageSector,
    /// Durable bytes rot: never a wrong value; a typed error is right.
    Rot,
}

impl World {
    /// All worlds.
    pub const ALL: [World; 4] = [World::Strict, World::Lying, World::GarbageSector, World::Rot];

    /// The name, as reports write it.
    pub fn name(self) -> &'static str {
        match self {
            World::Strict => "strict",
            World::Lying => "lying",
            World::GarbageSector => "garbage-sector",
            World::Rot => "rot",
        }
    }
}

/// The durability of one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LevelSpec {
    /// As the database.
    Default,
    /// [`Level::Async`].
    Async,
    /// [`Level::Batched`].
    Batched,
    /// [`Level::Strict`].
    Strict,
}

impl LevelSpec {
    /// As the engine's option.
    pub fn level(self) -> Option<Level> {
        match self {
            LevelSpec::Default => None,
            LevelSpec::Async => Some(Level::Async),
            LevelSpec::Batched => Some(Level::Batched),
            LevelSpec::Strict => Some(Level::Strict),
        }
    }
}

/// A change within a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeSpec {
    /// Sets a key, with a time to live in milliseconds.
    Put {
        /// The run.
        run: u8,
        /// The key.
        key: u16,
        /// The value.
        value: ValueSpec,
        /// The time to live; 0 is refused.
        ttl_ms: Option<u64>,
    },
    /// Deletes a key.
    Delete {
        /// The run.
        run: u8,
        /// The key.
        key: u16,
    },
    /// Sets, or without a value deletes, a key of another kind than a plain one.
    Tagged {
        /// The run.
        run: u8,
        /// Which kind, modulo those that callers write.
        tag: u8,
        /// The key.
        key: u16,
        /// The value; `None` deletes.
        value: Option<ValueSpec>,
    },
    /// Begins a run.
    Begin {
        /// The run.
        run: u8,
        /// Its parent.
        parent: Option<u8>,
        /// Its tags, and from [`NAMED`] on a namespace of its own.
        tags: u8,
    },
    /// Ends a run.
    End {
        /// The run.
        run: u8,
        /// 0 completed, 1 failed, 2 cancelled.
        status: u8,
    },
    /// Removes a range of plain keys.
    RemoveRange {
        /// The run.
        run: u8,
        /// The first key.
        from: u16,
        /// The last key.
        to: u16,
        /// What the bounds are: 0 none, 1 inclusive, 2 exclusive; the last one times three.
        bounds: u8,
    },
    /// Drops a run.
    Drop {
        /// The run.
        run: u8,
    },
}

/// How many runs a case names as a rule.
pub(crate) const RUNS: u8 = 10;

impl ChangeSpec {
    /// The run that it changes.
    pub(crate) fn run(self) -> u8 {
        match self {
            ChangeSpec::Put { run, .. }
            | ChangeSpec::Delete { run, .. }
            | ChangeSpec::Tagged { run, .. }
            | ChangeSpec::Begin { run, .. }
            | ChangeSpec::End { run, .. }
            | ChangeSpec::Drop { run }
            | ChangeSpec::RemoveRange { run, .. } => run,
        }
    }
}

/// From here on, a number of calls after which a crash strikes counts only calls that are rare:
/// those that change names, sizes or directories. `RARE_CALLS + 2` strikes at the third of them.
pub const RARE_CALLS: u32 = 1 << 16;

/// Of a fault's number of calls: how many may lie behind a rare one; see [`Op::Fault`].
pub const CALLS_BEHIND: u32 = 16;

/// A crash within a recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NestedCrash {
    /// How many calls of the opening are served before; see [`RARE_CALLS`].
    pub after_calls: u32,
    /// Where in the call.
    pub when: When,
    /// What survives.
    pub kind: CrashKind,
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// One change, by the method of its own, waited for.
    Write {
        /// The change.
        change: ChangeSpec,
        /// Its durability.
        level: LevelSpec,
    },
    /// A delete without the read.
    Remove {
        /// The run.
        run: u8,
        /// The key.
        key: u16,
    },
    /// A batch, waited for.
    Batch {
        /// Its changes.
        changes: Vec<ChangeSpec>,
        /// Its durability.
        level: LevelSpec,
    },
    /// A batch that is put into the queue.
    Submit {
        /// Its changes.
        changes: Vec<ChangeSpec>,
        /// Its durability.
        level: LevelSpec,
    },
    /// Commits one group of what waits.
    Step,
    /// As `Step`; but when the step has just read the clock, time passes, and a batch is put into
    /// the queue, whose call has begun after the time that was read.
    LateStep {
        /// The batch's changes.
        changes: Vec<ChangeSpec>,
        /// Its durability.
        level: LevelSpec,
        /// How much time passes.
        passes_ms: u32,
    },
    /// Waits for the first ticket, and commits what that takes.
    Wait,
    /// Does what is due.
    Tick,
    /// A step of maintenance.
    Maintain,
    /// Makes everything acknowledged durable.
    Flush,
    /// Reads a key in every way.
    Get {
        /// The run.
        run: u8,
        /// The key.
        key: u16,
    },
    /// Lists a prefix, forward and from both ends.
    List {
        /// The run.
        run: u8,
        /// The first bytes of this key are the prefix.
        key: u16,
        /// How many of them.
        len: u8,
        /// Which end each step takes, bit by bit.
        ends: u32,
    },
    /// Scans a range, from either end.
    Range {
        /// The run.
        run: u8,
        /// The first key.
        from: u16,
        /// The last key.
        to: u16,
        /// What the bounds are: 0 none, 1 inclusive, 2 exclusive; the last one times three.
        bounds: u8,
        /// Which end each step takes, bit by bit.
        ends: u32,
    },
    /// Begins a scan that stays open while the store changes.
    OpenScan {
        /// The run.
        run: u8,
        /// The first bytes of this key are the prefix.
        key: u16,
        /// How many of them.
        len: u8,
    },
    /// Goes on with an open scan.
    Advance {
        /// Which, modulo their number.
        slot: u8,
        /// By how many keys.
        steps: u8,
        /// Which end each step takes, bit by bit.
        ends: u32,
    },
    /// One change through the key-value facade.
    Kv {
        /// A put of bytes, or a delete.
        change: ChangeSpec,
    },
    /// Takes a snapshot.
    Snapshot,
    /// Reads everything through a snapshot.
    ReadSnapshot {
        /// Which, modulo their number.
        slot: u8,
    },
    /// Drops a snapshot.
    DropSnapshot {
        /// Which, modulo their number.
        slot: u8,
    },
    /// Moves the clocks.
    Clock {
        /// By how much the wall clock jumps, beside what passes.
        wall_ms: i64,
        /// How much time passes.
        passes_ms: u32,
    },
    /// Leaves this many bytes free on the disk.
    FillDisk {
        /// Bytes.
        free: u32,
    },
    /// Frees the disk.
    FreeDisk,
    /// From the next opening on, whatever calls for it, these options of the case are in force.
    Options {
        /// Which: [`Case::options`] for 0, or one of [`Case::later`], modulo their number.
        set: u8,
    },
    /// Closes and opens again.
    Reopen,
    /// Drops the handle and opens again.
    DropReopen,
    /// Tries a second opening.
    OpenTwice,
    /// Something happens around the store, on a copy of the disk: what follows is as without it.
    Around {
        /// What.
        event: Event,
        /// How, in particular.
        twist: u8,
        /// How the handle ends that goes on; it is closed if `None`.
        end: Option<CrashKind>,
    },
    /// Crashes at a call to come.
    Crash {
        /// How many calls are served before; see [`RARE_CALLS`].
        after_calls: u32,
        /// Where in the call.
        when: When,
        /// What survives.
        kind: CrashKind,
        /// How the kept part is chosen; drawn if `None`.
        model: Option<CrashModel>,
        /// Crashes within the recovery that follows.
        nested: Vec<NestedCrash>,
        /// How many bits, sectors or files rot before the recovery (world `rot` only).
        rot: u8,
    },
    /// Fails a call to come. A shrinker writes these, so that a fault stays with the operation
    /// that it struck, whatever else is deleted.
    Fault {
        /// How many calls are served before. From [`RARE_CALLS`] on: `RARE_CALLS + CALLS_BEHIND *
        /// n + k` waits for `n` rare calls, then for one more, and `k` calls later strikes the
        /// first that the fault suits.
        after_calls: u32,
        /// What happens to it.
        fault: Fault,
    },
    /// Does nothing, and moves on the number that says what is looked at besides (every fourth
    /// operation reads a copy of the disk, …). A shrinker writes these where it deletes or puts
    /// in, so that all that follows keeps its number.
    Turn {
        /// By how many operations.
        by: i32,
    },
}

impl Op {
    /// The changes that it commits together; none if it commits nothing.
    pub fn changes(&self) -> &[ChangeSpec] {
        match self {
            Op::Write { change, .. } | Op::Kv { change } => std::slice::from_ref(change),
            Op::Batch { changes, .. }
            | Op::Submit { changes, .. }
            | Op::LateStep { changes, .. } => changes,
            _ => &[],
        }
    }

    /// By how many operations it moves on what is looked at besides.
    pub fn turns(&self) -> i32 {
        match self {
            Op::Turn { by } => *by,
            Op::Around { .. } => 0,
            _ => 1,
        }
    }

    /// Whether the store of the case is not touched.
    pub fn is_elsewhere(&self) -> bool {
        matches!(self, Op::Around { .. })
    }

    /// Whether it only reads keys.
    pub(super) fn only_reads(&self) -> bool {
        matches!(
            self,
            Op::Get { .. }
                | Op::List { .. }
                | Op::Range { .. }
                | Op::OpenScan { .. }
                | Op::Advance { .. }
                | Op::ReadSnapshot { .. }
        )
    }

    /// Whether it only prepares what the next operation meets.
    pub fn is_mere_note(&self) -> bool {
        matches!(self, Op::Fault { .. } | Op::Turn { .. })
    }
}

/// Everything that a run depends on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// The seed of the disk's, the faults' and the entropy's streams.
    pub seed: u64,
    /// Which promises the disk keeps.
    pub world: World,
    /// The engine's options.
    pub options: CaseOptions,
    /// Other options, for openings behind an [`Op::Options`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub later: Vec<CaseOptions>,
    /// The disk's knobs.
    pub disk: DiskConfig,
    /// What fails, and when.
    pub faults: FaultMode,
    /// Crashes in the first opening, which makes the store, and in those that follow them.
    #[serde(default)]
    pub creation: Vec<NestedCrash>,
    /// Whether faults strike from the first operation on, or only in recoveries.
    pub faults_in_recovery: bool,
    /// The crash that follows every other poisoning; `None` if the store is only opened again.
    #[serde(default = "power", skip_serializing_if = "is_power")]
    pub poisoned_crash: Option<CrashKind>,
    /// Crashes in the openings that follow the first poisonings, one each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub poisoned_nested: Vec<NestedCrash>,
    /// Whether the files are looked at when something has been promised, or it is left to a crash
    /// to show that the promise was not kept.
    #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
    pub looks: bool,
    /// The keys of each so-manieth run are counted; 0 for none.
    #[serde(default, skip_serializing_if = "is_none")]
    pub counts: u8,
    /// What is done.
    pub ops: Vec<Op>,
}

fn is_none(counts: &u8) -> bool {
    *counts == 0
}

impl Case {
    /// The options of a number.
    pub fn set(&self, set: u8) -> &CaseOptions {
        let nth = usize::from(set) % (self.later.len() + 1);
        nth.checked_sub(1).and_then(|nth| self.later.get(nth)).unwrap_or(&self.options)
    }
}

/// What every case does but those of a weaker harness.
fn yes() -> bool {
    true
}

/// What every case does but those of a weaker harness.
#[allow(clippy::unnecessary_wraps, reason = "the type of the field")]
fn power() -> Option<CrashKind> {
    Some(CrashKind::Power)
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_power(kind: &Option<CrashKind>) -> bool {
    *kind == power()
}
