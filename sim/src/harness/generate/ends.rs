//! Many short runs, and what becomes of their records.
//!
//! A record is written with its run's begin and twice again, and stands meanwhile in a memtable,
//! in one that is frozen, or in tables; an index leads to it from several sides; a policy drops it
//! in the order of its end. So runs begin and end here in every order, many within one moment, with
//! maintenance, snapshots, reopenings and crashes between.
//!
//! Invariant: it draws from the stream that it is given.

use super::super::case::{ChangeSpec, LevelSpec, Op, RARE_CALLS};
use super::super::workload::{byte, pick};
use crate::disk::{CrashKind, When};
use crate::rng::Rng;

/// The first of the runs that are named here, behind those of other operations.
const FIRST: u8 = 200;
/// So many are named.
const RUNS: u64 = 40;

fn write(change: ChangeSpec) -> Op {
    Op::Write { change, level: LevelSpec::Default }
}

/// What comes between two changes of runs.
fn between(rng: &mut Rng) -> Vec<Op> {
    match rng.below(12) {
        0..=4 => vec![Op::Maintain],
        5 => vec![Op::Maintain, Op::Maintain, Op::Maintain],
        6 => vec![Op::Clock { wall_ms: 0, passes_ms: pick(rng, &[1, 60]) }],
        7 => vec![Op::Snapshot],
        8 => vec![Op::ReadSnapshot { slot: byte(rng, 2) }],
        9 => vec![Op::Reopen],
        _ => Vec::new(),
    }
}

fn crash(rng: &mut Rng) -> Op {
    let nth = u32::try_from(rng.range(0..=20)).unwrap_or(0);
    let when = pick(rng, &[When::Before, When::Inside, When::After]);
    let after_calls = pick(rng, &[nth, RARE_CALLS + nth]);
    let kind = if rng.chance(1, 3) { CrashKind::Process } else { CrashKind::Power };
    Op::Crash { after_calls, when, kind, model: None, nested: vec![], rot: 0 }
}

/// Runs that begin, and end in another order; of some that ended long ago each is read again.
pub(super) fn burst(rng: &mut Rng) -> Vec<Op> {
    let mut runs: Vec<u8> = Vec::new();
    for _ in 0..pick(rng, &[2, 4, 8]) {
        let run = FIRST + byte(rng, RUNS);
        if !runs.contains(&run) {
            runs.push(run);
        }
    }
    let mut ops = Vec::new();
    for (nth, run) in runs.iter().enumerate() {
        let parent = runs.get(nth / 2).copied().filter(|parent| parent != run);
        let parent = parent.filter(|_| rng.coin());
        ops.push(write(ChangeSpec::Begin { run: *run, parent, tags: byte(rng, 3) }));
        if rng.chance(1, 3) {
            ops.extend(between(rng));
        }
    }
    if rng.chance(1, 3) {
        ops.push(Op::Snapshot);
    }
    rng.shuffle(&mut runs);
    for run in &runs {
        ops.push(write(ChangeSpec::End { run: *run, status: byte(rng, 3) }));
        ops.extend(between(rng));
        if rng.chance(1, 4) {
            let run = pick(rng, &[*run, runs.first().copied().unwrap_or(*run)]);
            ops.push(write(ChangeSpec::Drop { run }));
            ops.extend(between(rng));
        }
    }
    if rng.chance(1, 2) {
        ops.push(crash(rng));
        ops.push(Op::Maintain);
    }
    ops.push(Op::ReadSnapshot { slot: 0 });
    for run in &runs {
        ops.push(Op::Get { run: *run, key: 1 });
    }
    ops.extend(between(rng));
    ops
}
