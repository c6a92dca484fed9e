//! Memtables that are flushed to tables: in half of the seeds of most worlds, at sizes that a few
//! operations reach.
//!
//! A flush that fails leaves a memtable that is neither written to nor in a table; what is done
//! before it is tried again shows in one seed of some thousand unless somebody sees to it.
//!
//! Invariant: it draws from a stream of its own.

use super::super::case::RUNS;
use super::super::case::{
    CALLS_BEHIND, Case, ChangeSpec, LevelSpec, Op, RARE_CALLS, ValueSpec, World,
};
use super::super::options::CaseOptions;
use super::super::workload::{byte, pick};
use super::removals;
use crate::disk::{CrashKind, Fault, FaultKind, When};
use crate::rng::Rng;

/// In a case of more operations than this no memtable of one key is flushed: nothing merges tables,
/// and every read looks at each.
const OPS_FEW: usize = 150;
/// A file that is long enough for the tables and the manifest of a case.
const LONG_FILE: u64 = 100_000;
/// The bytes of a value of which few make a memtable.
const LARGE: u32 = 400;
/// Keys in the order of their bytes.
const IN_ORDER: [u16; 12] = [5, 0, 3, 1, 2, 11, 4, 9, 10, 8, 6, 7];
/// A batch of more changes than this is a flood.
const FLOOD: usize = 30;

/// Lets memtables be flushed, perhaps.
pub(super) fn add(case: &mut Case, rng: &mut Rng) {
    if !rng.coin() {
        return;
    }
    case.options.flush_bytes = pick(rng, &[1, 1, 1000, 4000]);
    case.options.table_bytes_max = pick(rng, &[600, 1500, 1 << 20]);
    case.options.block_bytes = (pick(rng, &[1, 200, 4096]), pick(rng, &[1, 40, 300, 4096]));
    case.options.levels_per_tier = pick(rng, &[2, 2, 3, 4]);
    let overwrites = rng.chance(1, 4) && case.ops.len() <= 2 * OPS_FEW;
    if overwrites {
        // A few segments, that a few overwrites fill.
        case.options.flush_bytes = 12_000;
        case.options.flush_log_bytes = pick(rng, &[1500, 5000]);
        case.options.segment_bytes = pick(rng, &[512, 1024]);
    }
    case.options.block_cache = pick(rng, &[0, 200, 500, 1000, 3000, 1 << 20]);
    case.options.steps.merge_bytes = pick(rng, &[1, 300, 4 << 20, 4 << 20]);
    if case.ops.len() > OPS_FEW {
        case.options.flush_bytes = case.options.flush_bytes.max(1000);
    }
    let is_wide = rng.chance(1, 3);
    if is_wide {
        // Tables of several keys, merged into more of them than an edit has.
        case.options.flush_bytes = 1;
        case.options.levels_per_tier = pick(rng, &[4, 5]);
        case.options.table_bytes_max = 1500;
        case.options.steps.merge_bytes = 4 << 20;
        case.options.block_bytes = (pick(rng, &[200, 4096]), 4096);
    }
    let is_flood = |op: &Op| matches!(op, Op::Batch { changes, .. } if changes.len() > FLOOD);
    if case.ops.iter().any(is_flood) {
        case.options.table_bytes_max = 1 << 20;
        case.options.steps.merge_bytes = 4 << 20;
    }
    // All versions of a key are in one table; and the manifest, which names each table, is a file,
    // too.
    if case.disk.file_bytes_max <= LONG_FILE {
        case.disk.file_bytes_max = LONG_FILE;
        case.options.flush_bytes = case.options.flush_bytes.max(4000);
        case.options.table_bytes_max = 1 << 20;
    }
    if overwrites && case.world != World::Rot {
        let at = rng.index(case.ops.len() + 1);
        case.ops.splice(at..at, overwritten(rng));
    }
    for _ in 0..if is_wide { 2 } else { pick(rng, &[0, 1, 2, 3]) } {
        let flush_bytes = case.options.flush_bytes;
        let late = match case.world {
            World::Rot => whole(rng, flush_bytes),
            _ if rng.chance(1, 3) => removals::burst(rng, &case.options),
            _ if is_wide && rng.coin() => bounded(rng, &case.options),
            _ if is_wide => deep(rng, &case.options),
            _ if rng.chance(2, 5) => merged(rng, &case.options),
            _ => late(rng, flush_bytes),
        };
        let at = rng.index(case.ops.len() + 1);
        case.ops.splice(at..at, late);
    }
}

/// In half of the seeds that have tables, fewer of their files are open than there are, in each
/// session as many as it likes.
pub(super) fn with_few_files(case: &mut Case, rng: &mut Rng) {
    if rng.coin() && case.options.flushes() {
        for options in case.later.iter_mut().chain([&mut case.options]) {
            options.open_files_max = pick(rng, &[1, 1, 2, 3, 6]);
        }
    }
}

/// Each session compresses blocks or does not, whatever the one before did.
pub(super) fn with_compression(case: &mut Case, rng: &mut Rng) {
    for options in case.later.iter_mut().chain([&mut case.options]) {
        options.compresses = rng.coin();
    }
}

/// One key, over and over, and then maintenance: the memtable stays small, and the log does not.
fn overwritten(rng: &mut Rng) -> Vec<Op> {
    let run = byte(rng, u64::from(RUNS));
    let begin = ChangeSpec::Begin { run, parent: None, tags: 1 };
    let mut ops = vec![Op::Write { change: begin, level: LevelSpec::Default }];
    let puts = pick(rng, &[6, 14]);
    ops.extend((0..puts).map(|salt| {
        let value = ValueSpec { kind: 8, size: LARGE, salt };
        let change = ChangeSpec::Put { run, key: 0, value, ttl_ms: None };
        Op::Write { change, level: LevelSpec::Default }
    }));
    ops.extend(settled());
    ops
}

/// Something of what may come between a memtable and its tables.
fn late(rng: &mut Rng, flush_bytes: u64) -> Vec<Op> {
    let run = byte(rng, u64::from(RUNS));
    let ops = fill(rng, run, flush_bytes);
    if rng.chance(1, 3) { cut(rng, run, ops) } else { full(rng, run, ops) }
}

/// Commits that make a memtable large enough to be flushed.
fn fill(rng: &mut Rng, run: u8, flush_bytes: u64) -> Vec<Op> {
    let begin = ChangeSpec::Begin { run, parent: None, tags: 1 };
    let begin = Op::Write { change: begin, level: LevelSpec::Default };
    let count = match flush_bytes {
        1 => pick(rng, &[1, 3]),
        bytes => bytes / u64::from(LARGE) + 1,
    };
    let size = if flush_bytes == 1 { pick(rng, &[1, 60, LARGE]) } else { LARGE };
    let puts = (0..count).map(|key| {
        let value = ValueSpec { kind: 8, size, salt: u32::try_from(rng.below(1000)).unwrap_or(0) };
        let key = u16::try_from(key).unwrap_or(0);
        let change = ChangeSpec::Put { run, key, value, ttl_ms: None };
        Op::Write { change, level: LevelSpec::Default }
    });
    std::iter::once(begin).chain(puts).collect()
}

/// Levels one above the other, with what a merge must and must not leave out of them; the merge,
/// and perhaps something that comes in the middle of it.
fn merged(rng: &mut Rng, options: &CaseOptions) -> Vec<Op> {
    let run = byte(rng, u64::from(RUNS));
    let begin = ChangeSpec::Begin { run, parent: None, tags: 1 };
    let mut ops = vec![Op::Write { change: begin, level: LevelSpec::Default }];
    let levels = options.levels_per_tier * pick(rng, &[1, 1, 2]) + 1;
    // Something at each end stays.
    let keys = pick(rng, &[2, 3, 8]);
    let pinned = rng.index(levels + 1);
    for level in 0..levels {
        if pinned == level && rng.coin() {
            ops.push(Op::Snapshot);
        }
        let count = match options.flush_bytes {
            1 => pick(rng, &[1, 2, 4]),
            bytes => bytes / u64::from(LARGE) + 1,
        };
        let large = options.flush_bytes > 1 || rng.chance(1, 4);
        ops.extend((0..count).map(|_| change_for_a_merge(rng, run, keys, large)));
        ops.push(Op::Maintain);
    }
    let merges = |rng: &mut Rng| (0..pick(rng, &[0, 1, 3, 8])).map(|_| Op::Maintain);
    let more = merges(rng);
    ops.extend(more);
    match rng.below(8) {
        0 => ops.push(Op::DropSnapshot { slot: 0 }),
        1 => ops.push(Op::FillDisk { free: pick(rng, &[0, 200, 1000]) }),
        2 => ops.push(Op::Reopen),
        3 => {
            let passes_ms = pick(rng, &[60, 2000]);
            ops.push(Op::Clock { wall_ms: 0, passes_ms });
            ops.push(put(rng, run));
            ops.push(Op::Maintain);
        }
        4 => ops.push(Op::ReadSnapshot { slot: 0 }),
        _ => {
            let nth = u32::try_from(rng.range(0..=20)).unwrap_or(0);
            let when = pick(rng, &[When::Before, When::Inside, When::After]);
            let after_calls = pick(rng, &[nth, RARE_CALLS + nth]);
            let kind = if rng.chance(1, 4) { CrashKind::Process } else { CrashKind::Power };
            ops.push(Op::Crash { after_calls, when, kind, model: None, nested: vec![], rot: 0 });
        }
    }
    let more = merges(rng);
    ops.extend(more);
    ops.push(Op::FreeDisk);
    if rng.coin() {
        ops.extend([Op::Get { run, key: 0 }, Op::ReadSnapshot { slot: 0 }]);
    }
    ops
}

/// Wide tables, one above the other, under a small one that deletes or overwrites the least keys of
/// them: what the first stretch of their merge leaves is read, in each way.
fn bounded(rng: &mut Rng, options: &CaseOptions) -> Vec<Op> {
    let run = byte(rng, u64::from(RUNS));
    let begin = ChangeSpec::Begin { run, parent: None, tags: 1 };
    let mut ops = settled();
    ops.push(Op::Write { change: begin, level: LevelSpec::Default });
    let wide = options.levels_per_tier - 1;
    let small = if options.flush_bytes == 1 { pick(rng, &[90, 110]) } else { LARGE };
    let write = |change| Op::Write { change, level: LevelSpec::Default };
    let value = |rng: &mut Rng, size| {
        let salt = u32::try_from(rng.below(1000)).unwrap_or(0);
        ValueSpec { kind: 8, size, salt }
    };
    for level in 0..wide {
        for nth in 0..4 {
            let key = IN_ORDER.into_iter().chain(13..24).nth(nth * wide + level).unwrap_or(0);
            let ttl_ms = rng.chance(1, 4).then(|| pick(rng, &[1, 50]));
            let value = value(rng, small);
            ops.push(write(ChangeSpec::Put { run, key, value, ttl_ms }));
        }
        ops.push(Op::Maintain);
    }
    let keys = IN_ORDER.into_iter().take(wide);
    if rng.chance(1, 3) {
        ops.push(Op::Snapshot);
    }
    for key in keys.clone() {
        ops.push(match rng.below(3) {
            0 => write(ChangeSpec::Put { run, key, value: value(rng, 1), ttl_ms: None }),
            _ => write(ChangeSpec::Delete { run, key }),
        });
    }
    if rng.chance(1, 4) {
        // Room for the flush, and perhaps not for the merge.
        ops.push(Op::FillDisk { free: pick(rng, &[900, 1500, 2500]) });
        ops.extend([Op::Maintain, Op::Maintain, Op::FreeDisk]);
    }
    ops.extend((0..pick(rng, &[1, 1, 2])).map(|_| Op::Maintain));
    if rng.chance(1, 3) {
        // Time passes that nothing makes durable.
        ops.push(Op::Clock { wall_ms: -100_000, passes_ms: 60 });
        ops.extend((0..pick(rng, &[1, 2])).map(|_| Op::Maintain));
    }
    match rng.below(4) {
        0 => ops.push(Op::Reopen),
        1 | 2 => {
            let (kind, when) = (CrashKind::Power, When::Before);
            let after_calls = u32::try_from(rng.below(6)).unwrap_or(0);
            ops.push(Op::Crash { after_calls, when, kind, model: None, nested: vec![], rot: 0 });
        }
        _ => {}
    }
    ops.extend(keys.map(|key| Op::Get { run, key }));
    let ends = u32::try_from(rng.below(1 << 32)).unwrap_or(0);
    ops.push(Op::List { run, key: 0, len: 0, ends });
    ops.push(Op::ReadSnapshot { slot: 0 });
    ops
}

/// Until there is one level, as a rule.
fn settled() -> Vec<Op> {
    vec![Op::Maintain; 5]
}

/// A large level at the bottom, and small ones above that are merged without it: tombstones and
/// what has expired hide what is in it, with and without a snapshot.
fn deep(rng: &mut Rng, options: &CaseOptions) -> Vec<Op> {
    let run = byte(rng, u64::from(RUNS));
    let begin = ChangeSpec::Begin { run, parent: None, tags: 1 };
    let write = |change| Op::Write { change, level: LevelSpec::Default };
    let mut ops = vec![write(begin)];
    for (nth, key) in IN_ORDER.into_iter().chain(13..24).enumerate() {
        let value = ValueSpec { kind: 8, size: LARGE, salt: u32::try_from(nth).unwrap_or(0) };
        ops.push(write(ChangeSpec::Put { run, key, value, ttl_ms: None }));
    }
    ops.extend(settled());
    let levels = options.levels_per_tier * pick(rng, &[1, 1, 2]);
    let pinned = rng.index(2 * levels);
    for level in 0..levels {
        if level == pinned {
            ops.push(Op::Snapshot);
        }
        for _ in 0..pick(rng, &[1, 2, 3]) {
            let key = IN_ORDER.get(rng.index(4)).copied().unwrap_or(0);
            let value = ValueSpec { kind: 8, size: 1, salt: level.try_into().unwrap_or(0) };
            let ttl_ms = (!rng.chance(1, 4)).then(|| pick(rng, &[1, 50]));
            ops.push(write(match rng.below(3) {
                0 => ChangeSpec::Delete { run, key },
                _ => ChangeSpec::Put { run, key, value, ttl_ms },
            }));
        }
        if rng.chance(1, 2) {
            ops.push(Op::Clock { wall_ms: 0, passes_ms: 60 });
        }
        ops.push(Op::Maintain);
    }
    ops.push(Op::Maintain);
    ops.extend((0..4).filter_map(|nth| Some(Op::Get { run, key: *IN_ORDER.get(nth)? })));
    ops.push(Op::List { run, key: 0, len: 0, ends: 0 });
    ops.push(Op::ReadSnapshot { slot: 0 });
    if rng.coin() {
        let (kind, when) = (CrashKind::Power, When::Before);
        let after_calls = u32::try_from(rng.below(12)).unwrap_or(0);
        ops.push(Op::Crash { after_calls, when, kind, model: None, nested: vec![], rot: 0 });
        ops.push(Op::Maintain);
    }
    ops
}

/// A put that may expire, or a delete, of one of a few keys.
fn change_for_a_merge(rng: &mut Rng, run: u8, keys: u64, large: bool) -> Op {
    let key = u16::try_from(rng.below(keys)).unwrap_or(0);
    let change = if !large && rng.chance(1, 3) {
        ChangeSpec::Delete { run, key }
    } else {
        let size = if large { LARGE } else { pick(rng, &[1, 60]) };
        let value = ValueSpec { kind: 8, size, salt: u32::try_from(rng.below(1000)).unwrap_or(0) };
        let ttl_ms = rng.chance(1, 5).then(|| pick(rng, &[1, 50, 1000]));
        ChangeSpec::Put { run, key, value, ttl_ms }
    };
    Op::Write { change, level: LevelSpec::Default }
}

/// A flush, and a store at rest of which all is in tables.
fn whole(rng: &mut Rng, flush_bytes: u64) -> Vec<Op> {
    let run = byte(rng, u64::from(RUNS));
    let mut ops = fill(rng, run, flush_bytes);
    ops.extend([Op::Maintain, Op::Maintain]);
    // A close adds a record to the log.
    let (kind, when) = (CrashKind::Process, When::Before);
    ops.push(Op::Crash { after_calls: 0, when, kind, model: None, nested: vec![], rot: 0 });
    ops
}

fn put(rng: &mut Rng, run: u8) -> Op {
    let value = ValueSpec {
        kind: 8,
        size: pick(rng, &[1, 60, 400, 400]),
        salt: u32::try_from(rng.below(1000)).unwrap_or(0),
    };
    let key = u16::try_from(rng.below(8)).unwrap_or(0);
    let change = ChangeSpec::Put { run, key, value, ttl_ms: None };
    Op::Write { change, level: LevelSpec::Default }
}

/// A flush in which the power goes, at one of the calls that make tables count, or soon behind it.
fn cut(rng: &mut Rng, run: u8, mut ops: Vec<Op>) -> Vec<Op> {
    let nth = u32::try_from(rng.range(4..=18)).unwrap_or(0);
    let when = pick(rng, &[When::Before, When::Inside, When::After]);
    ops.push(Op::Crash {
        after_calls: RARE_CALLS + nth,
        when,
        kind: CrashKind::Power,
        model: None,
        nested: vec![],
        rot: 0,
    });
    ops.push(Op::Maintain);
    ops.extend((0..pick(rng, &[0, 1, 2])).map(|_| put(rng, run)));
    ops
}

/// A flush that fails for want of room, commits that go on in other segments, and the flush again,
/// as a rule with a crash behind it.
fn full(rng: &mut Rng, run: u8, mut ops: Vec<Op>) -> Vec<Op> {
    // A segment fits, and no table beside it; or neither does.
    ops.push(Op::FillDisk { free: pick(rng, &[0, 150, 700, 700]) });
    // As often as it takes until nothing is left, when all that is there has a name.
    let mut settles = 0;
    if rng.chance(1, 2) {
        settles = 4;
        // What is left of the segment, or of the table, cannot be looked at: it is behind the call
        // that makes it, or the write that finds no room.
        let (nth, behind) = (pick(rng, &[0, 3, 3, 2]), pick(rng, &[1, 2, 3]));
        let after_calls = RARE_CALLS + nth * CALLS_BEHIND + behind;
        ops.push(Op::Fault { after_calls, fault: Fault::new(FaultKind::Io) });
    }
    ops.push(Op::Maintain);
    ops.push(if rng.coin() { Op::FreeDisk } else { Op::FillDisk { free: 5000 } });
    let count = pick(rng, &[0, 1, 2, 4]);
    ops.extend((0..count).map(|_| put(rng, run)));
    if rng.coin() {
        ops.push(Op::Get { run, key: 0 });
    }
    ops.extend([Op::FreeDisk, Op::Maintain]);
    ops.extend(std::iter::repeat_n(Op::Maintain, settles));
    if rng.chance(2, 3) {
        let kind = if rng.coin() { CrashKind::Process } else { CrashKind::Power };
        let (after_calls, when) = (pick(rng, &[0, 1, 4]), When::Before);
        ops.push(Op::Crash { after_calls, when, kind, model: None, nested: vec![], rot: 0 });
    }
    ops
}
