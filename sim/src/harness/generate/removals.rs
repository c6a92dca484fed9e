//! What is removed without being named key by key: ranges, and runs as a whole.
//!
//! A removal is one record, and all that follows comes later: reads that pass over what it hides,
//! memory that is freed, flushes and merges that leave it out, tables that go whole, and the
//! removal itself, which is forgotten. Each of that meets snapshots, writes behind the removal and
//! crashes.
//!
//! Invariant: it draws from the stream that it is given.

use super::super::case::RUNS;
use super::super::case::{Case, ChangeSpec, LevelSpec, Op, RARE_CALLS, ValueSpec};
use super::super::options::CaseOptions;
use super::super::workload::{byte, pick};
use crate::disk::{CrashKind, CrashModel, When};
use crate::rng::Rng;

/// The bytes of a value of which few make a memtable.
const LARGE: u32 = 400;
/// What makes a memtable be flushed here, in bytes.
const FLUSHED: u32 = 1000;
/// A run that no other operation names.
const OWN_RUN: u8 = 180;
/// Keys of which a few are removed.
const KEYS: u64 = 12;

fn write(change: ChangeSpec) -> Op {
    Op::Write { change, level: LevelSpec::Default }
}

fn key(rng: &mut Rng) -> u16 {
    u16::try_from(rng.below(KEYS)).unwrap_or(0)
}

fn put(rng: &mut Rng, run: u8, options: &CaseOptions) -> ChangeSpec {
    let size = match options.flush_bytes {
        1 => pick(rng, &[1, 60, LARGE]),
        _ => LARGE,
    };
    let value = ValueSpec { kind: 8, size, salt: u32::try_from(rng.below(1000)).unwrap_or(0) };
    let ttl_ms = rng.chance(1, 8).then(|| pick(rng, &[1, 50, 1000]));
    ChangeSpec::Put { run, key: key(rng), value, ttl_ms }
}

fn range(rng: &mut Rng, run: u8) -> ChangeSpec {
    let (mut from, mut to) = (key(rng), key(rng));
    // Most keys of these numbers ascend, and an empty range is refused.
    if rng.chance(3, 4) && from > to {
        std::mem::swap(&mut from, &mut to);
    }
    ChangeSpec::RemoveRange { run, from, to, bounds: pick(rng, &[0, 1, 2, 3, 4, 4, 6, 8]) }
}

/// Steps of maintenance, perhaps.
fn steps(rng: &mut Rng) -> Vec<Op> {
    vec![Op::Maintain; pick(rng, &[0, 1, 2, 4, 9])]
}

/// Something that comes between a removal and its end.
fn event(rng: &mut Rng, run: u8) -> Vec<Op> {
    match rng.below(8) {
        0 => vec![Op::DropSnapshot { slot: 0 }],
        1 => vec![Op::Reopen],
        2 => vec![Op::ReadSnapshot { slot: 0 }, Op::DropSnapshot { slot: 0 }],
        3 => vec![Op::Clock { wall_ms: 0, passes_ms: pick(rng, &[60, 2000]) }],
        4 => vec![Op::Get { run, key: key(rng) }, Op::Advance { slot: 0, steps: 3, ends: 0 }],
        5 => vec![Op::FillDisk { free: pick(rng, &[0, 200, 1000]) }, Op::Maintain, Op::FreeDisk],
        _ => {
            let nth = u32::try_from(rng.range(0..=20)).unwrap_or(0);
            let when = pick(rng, &[When::Before, When::Inside, When::After]);
            let after_calls = pick(rng, &[nth, RARE_CALLS + nth]);
            let kind = if rng.chance(1, 4) { CrashKind::Process } else { CrashKind::Power };
            vec![Op::Crash { after_calls, when, kind, model: None, nested: vec![], rot: 0 }]
        }
    }
}

/// A removal over another one, which a crash takes back when that one is in tables and is being
/// applied; perhaps.
pub(super) fn over(case: &mut Case, rng: &mut Rng) {
    // With less, all that is written is soon in tables.
    if case.options.flush_bytes == 1 || !case.options.flushes() || !rng.chance(1, 3) {
        return;
    }
    // What is written late stays in the segment that is written, and in memory.
    for options in case.later.iter_mut().chain([&mut case.options]) {
        options.segment_bytes = options.segment_bytes.max(65_536);
        options.interval_ms = 1000;
        options.other_intervals_ms = (1000, 1000);
    }
    // A flush and a merge take some steps.
    case.options.flush_bytes = FLUSHED.into();
    case.options.levels_per_tier = 2;
    case.options.steps.merge_bytes = pick(rng, &[400, 1000]);
    case.options.table_bytes_max = pick(rng, &[1500, 1 << 20]);
    let (run, busy) = (OWN_RUN, OWN_RUN + 1);
    let begin = |run| write(ChangeSpec::Begin { run, parent: None, tags: 1 });
    let mut ops = vec![Op::FreeDisk, begin(run), begin(busy)];
    let options = case.options.clone();
    let filled = |ops: &mut Vec<Op>, rng: &mut Rng| {
        ops.extend((0..FLUSHED / LARGE + 1).map(|_| write(put(rng, run, &options))));
    };
    filled(&mut ops, rng);
    ops.extend(vec![Op::Maintain; 5]);
    let all = ChangeSpec::RemoveRange { run, from: 0, to: 0, bounds: 0 };
    ops.push(write(if rng.coin() { all } else { range(rng, run) }));
    filled(&mut ops, rng);
    // It is on its way to tables, and what it hides is not yet left out of all.
    ops.extend(vec![Op::Maintain; pick(rng, &[1, 2, 3])]);
    let late = |change| Op::Batch { changes: vec![change], level: LevelSpec::Async };
    let drops = [ChangeSpec::End { run, status: 0 }, ChangeSpec::Drop { run }];
    ops.extend(if rng.chance(1, 4) { drops.map(late).to_vec() } else { vec![late(all)] });
    // The store is not idle: it merges, and flushes nothing.
    for salt in 0..pick(rng, &[12, 20]) {
        let value = ValueSpec { kind: 8, size: 1, salt };
        ops.push(late(ChangeSpec::Put { run: busy, key: 0, value, ttl_ms: None }));
        ops.push(Op::Maintain);
    }
    let (kind, when, model) = (CrashKind::Power, When::Before, Some(CrashModel::DropAll));
    ops.push(Op::Crash { after_calls: 0, when, kind, model, nested: vec![], rot: 0 });
    ops.extend(steps(rng));
    ops.push(Op::List { run, key: 0, len: 0, ends: 0 });
    let at = rng.index(case.ops.len() + 1);
    case.ops.splice(at..at, ops);
}

/// A run that is filled, of which something is removed, or all; and what comes of it.
pub(super) fn burst(rng: &mut Rng, options: &CaseOptions) -> Vec<Op> {
    let run = byte(rng, u64::from(RUNS));
    let mut ops = vec![write(ChangeSpec::Begin { run, parent: None, tags: 1 })];
    for _ in 0..pick(rng, &[1, 2, 3, 5]) {
        let puts = pick(rng, &[1, 3, 6]);
        ops.extend((0..puts).map(|_| write(put(rng, run, options))));
        if rng.chance(2, 3) {
            ops.push(Op::Maintain);
        }
    }
    if rng.chance(1, 3) {
        ops.extend(steps(rng));
    }
    if rng.chance(1, 3) {
        ops.push(Op::Snapshot);
    }
    if rng.chance(1, 6) {
        ops.push(Op::OpenScan { run, key: 0, len: 0 });
    }
    let drops = rng.chance(2, 5);
    match drops {
        true => {
            ops.push(write(ChangeSpec::End { run, status: byte(rng, 3) }));
            ops.push(write(ChangeSpec::Drop { run }));
        }
        false => {
            for _ in 0..pick(rng, &[1, 1, 2, 3]) {
                ops.push(write(range(rng, run)));
                if rng.chance(1, 3) {
                    ops.push(Op::Snapshot);
                }
                let puts = pick(rng, &[0, 1, 2]);
                ops.extend((0..puts).map(|_| write(put(rng, run, options))));
            }
            // Before anything of it is freed, in both directions.
            ops.extend([0, u32::MAX].map(|ends| Op::List { run, key: 0, len: 0, ends }));
            if rng.chance(1, 4) {
                // Both in one commit: what is put stands.
                let changes = vec![put(rng, run, options), range(rng, run), put(rng, run, options)];
                ops.push(Op::Batch { changes, level: LevelSpec::Default });
            }
        }
    }
    ops.extend(steps(rng));
    ops.extend(event(rng, run));
    ops.extend(steps(rng));
    if rng.chance(1, 3) {
        // Something is written, so that the store is idle no more.
        ops.push(write(ChangeSpec::Begin {
            run: byte(rng, u64::from(RUNS)),
            parent: None,
            tags: 0,
        }));
        ops.extend(steps(rng));
    }
    for _ in 0..3 {
        ops.push(Op::Get { run, key: key(rng) });
    }
    let ends = u32::try_from(rng.below(1 << 32)).unwrap_or(0);
    ops.push(Op::List { run, key: 0, len: 0, ends });
    ops.push(Op::ReadSnapshot { slot: 0 });
    if rng.chance(1, 3) {
        ops.extend(event(rng, run));
        ops.extend(steps(rng));
    }
    ops
}
