//! Two lives of one segment: in a share of the lying seeds what a session has written is lost in
//! part, and another session writes records of the same lengths over it.
//!
//! A disk may say Ok to a sync and keep nothing. Where the manifest of a session was lost like that
//! and its commits were not, a close cuts them off; if that is lost, too, later sessions write over
//! them, and find the older records between their own, each of them intact. That takes seven steps
//! in a row, which random operations make in one seed of some hundred thousand.
//!
//! Invariant: it draws from a stream of its own.

use super::super::case::RUNS;
use super::super::case::{Case, ChangeSpec, LevelSpec, Op, RARE_CALLS, ValueSpec, World};
use super::super::workload::{byte, pick};
use crate::disk::{CrashKind, CrashModel, Fault, FaultKind, FaultMode, FaultPlan, When};
use crate::rng::Rng;

/// The first sync behind a rare call: that of a new manifest, behind its creation.
const NEXT_MANIFEST: u32 = RARE_CALLS;
/// A flush makes no more calls than this, and so does a close up to the sync of what it has cut.
const FLUSH_CALLS: u32 = 8;

/// Puts two lives into the operations, perhaps; says whether it did.
pub(super) fn add(case: &mut Case, rng: &mut Rng) -> bool {
    if case.world != World::Lying || !rng.chance(1, 2) {
        return false;
    }
    // The newer records are attested by a recovery, or else stand in sectors of their own.
    let is_attested = rng.chance(1, 3);
    // As a rule nothing else happens to both, and they are in one segment.
    if rng.chance(3, 4) {
        case.faults = FaultMode::Drawn(FaultPlan::none());
        case.later.clear();
        case.options.segment_bytes = 65_536;
        case.options.pad_to_sector |= !is_attested;
        // No full batch is synced meanwhile.
        (case.options.batch_size, case.options.other_batch_size) = (1024, 1024);
    }
    for _ in 0..rng.range(1..=3) {
        let block = block(rng, is_attested);
        let at = rng.index(case.ops.len() + 1);
        case.ops.splice(at..at, block);
    }
    true
}

/// The operations of two lives.
fn block(rng: &mut Rng, is_attested: bool) -> Vec<Op> {
    let (run, count) = (byte(rng, u64::from(RUNS)), pick(rng, &[1, 1, 2, 4]));
    let key = rng.below(8);
    let size = u32::try_from(rng.below(300)).unwrap_or(0);
    let mut salt = 0;
    let mut life = |level: LevelSpec, key: u64| {
        let put = |nth: u64| {
            salt += 1;
            let value = ValueSpec { kind: 8, size, salt: 7_000 + salt };
            let key = u16::try_from(key + nth).unwrap_or(0);
            Op::Write { change: ChangeSpec::Put { run, key, value, ttl_ms: None }, level }
        };
        (0..count).map(put).collect::<Vec<_>>()
    };
    let lies = |calls: std::ops::RangeInclusive<u32>| {
        calls.map(|after_calls| Op::Fault { after_calls, fault: Fault::new(FaultKind::SyncLies) })
    };
    let crash = |kind, model| Op::Crash {
        after_calls: 0,
        when: When::After,
        kind,
        model,
        nested: Vec::new(),
        rot: 0,
    };
    let mut block = vec![
        Op::Write {
            change: ChangeSpec::Begin { run, parent: None, tags: 0 },
            level: LevelSpec::Default,
        },
        Op::Reopen,
    ];
    // The first life: its manifest is lost, and what it wrote is not.
    block.extend(lies(NEXT_MANIFEST..=NEXT_MANIFEST));
    block.extend(life(LevelSpec::Async, key));
    block.extend([Op::Flush, crash(CrashKind::Power, Some(CrashModel::DropAll))]);
    // A session that only removes what is left over closes at the attested length; the cut is lost.
    block.push(Op::Maintain);
    block.extend(lies(0..=FLUSH_CALLS));
    block.push(Op::Reopen);
    // The second, at the same place.
    block.extend(life(LevelSpec::Async, key));
    block.extend(lies(0..=FLUSH_CALLS));
    block.push(Op::Flush);
    // What follows leaves visible what it stands behind.
    block.extend(life(LevelSpec::Batched, key + count));
    if is_attested {
        block.push(crash(CrashKind::Process, None));
        block.push(crash(CrashKind::Power, Some(CrashModel::DropAll)));
    } else {
        let model = pick(rng, &[CrashModel::AloneKept, CrashModel::Sectors, CrashModel::Sectors]);
        block.push(crash(CrashKind::Power, Some(model)));
    }
    block
}
