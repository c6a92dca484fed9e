//! Sometimes marks: which branches of recovery and of error handling were ever taken.
//!
//! Compiled only with the feature `marks`, which the simulator switches on and production builds
//! do not have: without it this module is absent, and `sometimes!` and `phase!` are nothing. A
//! mark stands where something happens sometimes; a test harness that never gets there has not
//! tested it. The phases tell a simulated disk what the engine was about when it made a call.
//!
//! Invariants: every name is listed once in [`NAMES`] (one that is not does not compile) and
//! stands at one place of the engine; counts are of the current thread, so that simulations on
//! other threads are not disturbed; neither marks nor phases change what the engine does, but
//! for a loop without end, which a limit of steps ends.

mod phase;

use std::cell::Cell;

pub use phase::{Moment, Phase};

/// Every mark, in order: module, and what happened there.
pub const NAMES: &[&str] = &[
    "admission/batch-run-ended",
    "admission/batch-run-not-found",
    "admission/memory-full",
    "admission/parent-not-found",
    "admission/recalled-for-nothing",
    "admission/reserve-used",
    "admission/run-ended",
    "admission/run-exists",
    "admission/run-looked-up",
    "admission/run-not-found",
    "admission/run-recalled",
    "admission/runs-change-within-the-group",
    "admission/too-long-for-this-process",
    "builder/clean-segment-is-longer",
    "builder/clean-segment-is-unpadded",
    "builder/clock-jumped",
    "builder/created",
    "builder/goes-on-after-a-clean-close",
    "builder/log-is-ahead-of-the-clock",
    "builder/nothing-to-lock",
    "builder/nothing-to-read",
    "builder/orphan-already-gone",
    "builder/orphan-left-to-maintenance",
    "builder/orphan-not-removed",
    "builder/orphan-removed",
    "builder/runs-interrupted",
    "builder/segments-end-at-the-largest-size",
    "builder/unfinished-creation-removed",
    "cache/given-up",
    "cache/hit",
    "cache/index-aside",
    "cache/index-given-up",
    "cache/no-room",
    "compact/ended-by-a-close",
    "compact/flushed-meanwhile",
    "compact/goes-on-in-another-step",
    "compact/merge-begun",
    "compact/merge-failed",
    "compact/merged",
    "compact/removals-that-a-crash-takes-back",
    "compact/table-still-read",
    "compaction/bound-raised",
    "compaction/cleaning-chosen",
    "compaction/expired-becomes-a-tombstone",
    "compaction/idle-sweep-chosen",
    "compaction/join-chosen",
    "compaction/old-census-dropped",
    "compaction/part-of-a-table-counts",
    "compaction/removed-chosen",
    "compaction/removed-dropped",
    "compaction/removed-table-dropped",
    "compaction/superseded-dropped",
    "compaction/superseded-kept-for-a-pin",
    "compaction/sweep-chosen",
    "compaction/tables-moved",
    "compaction/target-table-reached-into",
    "compaction/tier-chosen",
    "compaction/tombstone-dropped",
    "compaction/unit-ended-early",
    "compaction/versions-out-of-order",
    "counting/counted",
    "counting/given-up",
    "creation/large-tail",
    "creation/not-created",
    "creation/number-passed-over",
    "creation/padded",
    "creation/write-failed",
    "database/count-kept",
    "database/count-of-an-ended-run-kept",
    "database/run-listed-as-of-before-its-last-change",
    "database/run-passed-over-in-a-listing",
    "entrance/directory-missing",
    "entrance/lock-file-missing",
    "entrance/locked-by-another",
    "entrance/missing-and-not-made",
    "entrance/no-store-and-none-made",
    "entrance/not-a-store",
    "entrance/parent-not-ours",
    "entrance/parent-synced",
    "failure/attested-later-for-a-full-disk",
    "failure/outcome-unknown",
    "failure/undone-by-full-disk",
    "flush/for-removals",
    "flush/for-the-log",
    "flush/goes-on-in-another-step",
    "flush/log-synced-first",
    "flush/memtable-frozen",
    "flush/removed-left-out",
    "flush/superseded-left-out",
    "flush/table-installed",
    "flush/table-missing",
    "flush/table-not-written",
    "flush/tried-again-later",
    "forget/removal-forgotten",
    "freeing/expired-freed",
    "freeing/garbage-still-pinned",
    "freeing/put-in-order-for-a-removal",
    "freeing/removal-goes-on",
    "freeing/removal-waits-for-a-pin",
    "freeing/removed-key-freed",
    "freeing/removed-under-a-later-put",
    "gate/asked-point-replaced",
    "gate/not-the-owner",
    "gate/owner-not-seen",
    "gate/point-in-an-older-segment",
    "gate/poisoned",
    "gate/poisoned-again",
    "gate/refused-as-poisoned",
    "gate/sync-after-a-failed-one",
    "gate/sync-failed",
    "handles/closed",
    "handles/gone-with-the-store",
    "handles/not-held",
    "handles/not-opened",
    "handles/opened-again",
    "iter/chunk-without-entries",
    "iter/ends-meet",
    "iter/read-failed",
    "iter/second-chunk",
    "journal/close-cut-failed",
    "journal/close-manifest-failed",
    "journal/closed",
    "journal/cut-back-sync-failed",
    "journal/edit-failed",
    "journal/edit-refused",
    "journal/full-disk",
    "journal/full-disk-cut-back",
    "journal/install-failed",
    "journal/leftover-removed",
    "journal/manifest-failed",
    "journal/manifest-full-disk",
    "journal/orphans-kept-for-later",
    "journal/rotated",
    "journal/rotation-manifest-failed",
    "journal/rotation-manifest-full-disk",
    "journal/rotation-resumed",
    "journal/rotation-segment-failed",
    "journal/rotation-segment-full-disk",
    "journal/session-begun",
    "journal/session-failed",
    "judge/delete-of-its-groups-put",
    "judge/delete-of-what-its-group-removed",
    "judge/memory-collected-for-room",
    "lead/full-queue-worked-off",
    "lead/needs-no-lead",
    "lead/nothing-to-do",
    "lead/panicked",
    "lead/steps-for-others-first",
    "levels/table-skipped",
    "levels/table-skipped-back",
    "listing/name-taken",
    "manifest/another-file-in-it",
    "manifest/bad-checksum",
    "manifest/bad-length",
    "manifest/bad-magic",
    "manifest/bytes-behind-the-snapshot",
    "manifest/changed-by-another",
    "manifest/cut-short",
    "manifest/damaged-edit",
    "manifest/edit-appended",
    "manifest/edit-not-synced",
    "manifest/edit-not-taken-back",
    "manifest/edit-not-written",
    "manifest/edit-of-another-past",
    "manifest/edit-read",
    "manifest/edit-taken-back",
    "manifest/folded",
    "manifest/later-format",
    "manifest/link-failed",
    "manifest/no-old-one",
    "manifest/no-room-by-a-limit",
    "manifest/no-room-for-an-edit",
    "manifest/no-room-on-the-disk",
    "manifest/not-created",
    "manifest/rename-failed",
    "manifest/search-given-up",
    "manifest/second-name-stays",
    "manifest/too-long",
    "manifest/torn-edit",
    "manifest/write-failed",
    "memtable/delete-of-nothing",
    "memtable/fresh-changes-settled",
    "memtable/key-comes-back",
    "memtable/many-keys-gone",
    "memtable/old-version-kept-for-a-pin",
    "memtable/read-of-a-fresh-change",
    "order/key-gone-before-it-was-sorted",
    "order/run-purged",
    "order/runs-merged",
    "pipeline/batch-full",
    "pipeline/buffer-overfull",
    "pipeline/buffer-written-at-last",
    "pipeline/closed",
    "pipeline/group-all-refused",
    "pipeline/group-cut",
    "pipeline/group-ends-its-segment",
    "pipeline/group-not-prepared",
    "pipeline/group-of-several",
    "pipeline/leader-syncs-itself",
    "pipeline/lone-commit-failed",
    "pipeline/rotation-failed",
    "pipeline/rotation-left-commits-buffered",
    "pipeline/twice-the-batch-unsynced",
    "place/displaced",
    "place/forked",
    "place/removed-in-the-middle-of-a-step",
    "queue/behind-others",
    "queue/closed-when-submitted",
    "queue/closed-while-waiting",
    "queue/dropped-unanswered",
    "queue/follows-a-leader",
    "queue/lead-handed-over",
    "queue/lead-taken-under-the-lock",
    "queue/leads-for-earlier-ones",
    "queue/nobody-to-lead",
    "queue/promoted",
    "queue/rest-put-back",
    "queue/waits-for-its-outcome",
    "recovery/active-run-in-a-census",
    "recovery/attested-records-are-others",
    "recovery/batch-replayed",
    "recovery/clean-segment-read",
    "recovery/clock-floor-replayed",
    "recovery/closed-segment-read",
    "recovery/damage-below-attested",
    "recovery/damage-proven-by-later-record",
    "recovery/expired-freed",
    "recovery/lost-edit-refused",
    "recovery/lost-manifest-refused",
    "recovery/manifest-failed",
    "recovery/manifest-met-full-disk",
    "recovery/of-another-store",
    "recovery/orphan-segment",
    "recovery/orphan-table",
    "recovery/orphan-temporary",
    "recovery/over-tables",
    "recovery/padding-replayed",
    "recovery/removal-in-a-table",
    "recovery/removals-spent",
    "recovery/repair-drops-empty-segment",
    "recovery/repair-with-tail",
    "recovery/repair-without-tail",
    "recovery/run-recalled",
    "recovery/segment-behind-the-last",
    "recovery/segment-missing",
    "recovery/segment-of-other-number",
    "recovery/segment-of-other-store",
    "recovery/segment-too-short",
    "recovery/segment-without-manifest",
    "recovery/sync-met-full-disk",
    "recovery/table-without-manifest",
    "recovery/tail-kept",
    "recovery/tail-proven-by-later-record",
    "recovery/time-of-a-note-kept",
    "recovery/torn-tail-cut",
    "recovery/unclean-segment-read",
    "recovery/unfinished-creation-without-header",
    "recovery/version-out-of-order",
    "recovery/watermark-replayed",
    "recovery/zeros-behind-the-log",
    "removals/over-another",
    "retain/runs-dropped",
    "runs/another-run-is-hot",
    "runs/dropped",
    "runs/ended",
    "runs/not-found",
    "runs/now-dropped",
    "runs/record-forgotten",
    "scan/buffer-refilled",
    "scan/bytes-behind-the-log",
    "scan/end-as-attested",
    "scan/file-shrank-while-counted",
    "scan/file-shrank-while-read",
    "scan/head-not-intact",
    "scan/later-record-intact",
    "scan/later-record-looked-at",
    "scan/later-record-not-intact",
    "scan/proof-searched",
    "scan/record-not-intact",
    "scan/record-of-another-past",
    "scan/record-without-manifest",
    "scan/search-given-up",
    "scan/shorter-than-attested",
    "schedule/sooner-than-known",
    "schedule/watermark-due",
    "segment/bad-checksum",
    "segment/bad-magic",
    "segment/header-cut-short",
    "segment/later-format",
    "series/another-table",
    "series/key-begins-a-table",
    "series/name-taken",
    "series/removed-entry-kept-for-a-pin",
    "series/reserved-space-cut",
    "store/chunk-read-on",
    "store/count-goes-on",
    "store/files-held",
    "store/newer-found-in-a-block",
    "store/older-passed-in-a-block",
    "store/read-at-a-pin",
    "store/read-of-a-frozen-memtable",
    "store/read-of-a-table",
    "store/reader-settles",
    "store/removed-in-a-scan",
    "store/removed-in-a-table",
    "store/removed-in-memory",
    "store/removed-skipped-backward",
    "store/removed-skipped-in-a-walk",
    "store/shown-as-expired",
    "table/block-compressed",
    "upkeep/background-sync-failed",
    "upkeep/background-write-failed",
    "upkeep/background-write-tried-again-later",
    "upkeep/clock-floor-before-expiry",
    "upkeep/clock-floor-in-a-new-segment",
    "upkeep/close-failed",
    "upkeep/closed-in-the-middle-of-a-rotation",
    "upkeep/commits-what-nobody-leads",
    "upkeep/expired-kept-for-a-pin",
    "upkeep/flush-ended-by-a-close",
    "upkeep/flush-for-a-floor-alone",
    "upkeep/flush-without-a-floor",
    "upkeep/full-batch-synced",
    "upkeep/no-room-for-a-watermark",
    "upkeep/note-taken-back",
    "upkeep/nothing-due",
    "upkeep/nothing-to-close",
    "upkeep/nothing-to-flush",
    "upkeep/orphan-already-gone",
    "upkeep/orphan-not-removed",
    "upkeep/orphan-removed",
    "upkeep/others-were-first",
    "upkeep/session-begun-to-log-a-floor",
    "upkeep/sync-tried-again-later",
    "upkeep/watermark",
    "writer/allocated-ahead",
    "writer/cut-at-last",
    "writer/cut-to-length",
    "writer/ends-at-a-sector",
    "writer/full-disk",
    "writer/no-preallocation",
    "writer/no-room-ahead",
    "writer/no-room-for-a-cut",
    "writer/not-cut",
    "writer/nothing-to-cut",
    "writer/nothing-to-write",
    "writer/padding-of-a-sector-more",
    "writer/part-left-for-later",
    "writer/room-ahead-not-given-back",
    "writer/write-failed",
    "writer/zeros-written-ahead",
];

thread_local! {
    static COUNTS: [Cell<u64>; NAMES.len()] = const { [const { Cell::new(0) }; NAMES.len()] };
    static STEPS_LEFT: Cell<u64> = const { Cell::new(u64::MAX) };
    static MOMENT: Cell<Moment> =
        const { Cell::new(Moment { operation: 0, phase: Phase::Outside }) };
}

/// How often each mark was reached in the current thread since the last call, in the order of
/// [`NAMES`].
#[must_use]
pub fn take() -> Vec<u64> {
    COUNTS.with(|counts| counts.iter().map(Cell::take).collect())
}

/// What the engine is about in the current thread.
#[must_use]
pub fn moment() -> Moment {
    MOMENT.get()
}

/// Why the current thread is unwound: the engine made more steps than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endless;

/// Lets the engine make at most this many steps in the current thread: marks, and phases begun.
/// The one beyond unwinds the thread, with an [`Endless`], so that a loop without end is seen.
pub fn limit_steps(steps_max: Option<u64>) {
    STEPS_LEFT.set(steps_max.unwrap_or(u64::MAX));
}

fn step() {
    let left = STEPS_LEFT.get();
    if left == 0 && !std::thread::panicking() {
        std::panic::resume_unwind(Box::new(Endless));
    }
    STEPS_LEFT.set(left.saturating_sub(1));
}

/// The place of a name in [`NAMES`]; does not compile for one that is not listed.
#[allow(clippy::panic, clippy::indexing_slicing, reason = "evaluated by the compiler only")]
pub(crate) const fn index(name: &str) -> usize {
    let mut at = 0;
    while at < NAMES.len() {
        if is_same(name.as_bytes(), NAMES[at].as_bytes()) {
            return at;
        }
        at += 1;
    }
    panic!("a mark is to be listed in NAMES");
}

#[allow(clippy::indexing_slicing, reason = "evaluated by the compiler only")]
const fn is_same(a: &[u8], b: &[u8]) -> bool {
    let mut at = 0;
    while at < a.len() && at < b.len() && a[at] == b[at] {
        at += 1;
    }
    at == a.len() && at == b.len()
}

/// Counts a mark.
pub(crate) fn hit(index: usize) {
    step();
    COUNTS.with(|counts| counts.get(index).map(|count| count.set(count.get() + 1)));
}

/// Begins a phase, which ends when what is returned is dropped.
pub(crate) fn enter(phase: Phase) -> InPhase {
    step();
    let before = MOMENT.get();
    let outermost = before.phase == Phase::Outside;
    MOMENT.set(Moment { operation: before.operation + u64::from(outermost), phase });
    InPhase { before: before.phase }
}

/// A phase that lasts.
#[derive(Debug)]
pub(crate) struct InPhase {
    before: Phase,
}

impl Drop for InPhase {
    fn drop(&mut self) {
        MOMENT.set(Moment { phase: self.before, ..MOMENT.get() });
    }
}

#[cfg(test)]
mod tests;
