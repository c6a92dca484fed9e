//! Large versions of a key where no file may be long: all of them go into one table, and another
//! one begins before them if they do not fit behind what is there.
//!
//! Invariant: it draws from the stream that it is given.

use super::super::case::{Case, ChangeSpec, LevelSpec, Op, RUNS, ValueSpec, World};
use super::super::options::CaseOptions;
use super::super::workload::{byte, pick};
use crate::rng::Rng;

/// Two versions of this length fit into a file of [`SHORT_FILE`], and no three.
const LARGE: u64 = 40_000;
const SHORT_FILE: u64 = 100_000;

/// A key with several large versions behind another large one, some pinned, in a memtable or in
/// tables; perhaps.
pub(super) fn add(case: &mut Case, rng: &mut Rng) {
    let is_short = case.disk.file_bytes_max == SHORT_FILE && case.world == World::Strict;
    if !is_short || !case.options.flushes() || !rng.chance(2, 3) {
        return;
    }
    if case.later.iter().chain([&case.options]).any(CaseOptions::may_be_full) {
        return;
    }
    for options in case.later.iter_mut().chain([&mut case.options]) {
        let bytes = usize::try_from(LARGE).unwrap_or(0);
        options.limits.value_bytes = options.limits.value_bytes.max(bytes);
        options.limits.batch_bytes = options.limits.batch_bytes.max(2 * bytes);
    }
    let run = byte(rng, u64::from(RUNS));
    let write = |change| Op::Write { change, level: LevelSpec::Default };
    let put = |rng: &mut Rng, key: u16| {
        let size = u32::try_from(LARGE - rng.below(8000)).unwrap_or(0);
        let value = ValueSpec { kind: 8, size, salt: u32::try_from(rng.below(1000)).unwrap_or(0) };
        write(ChangeSpec::Put { run, key, value, ttl_ms: None })
    };
    let mut ops = vec![write(ChangeSpec::Begin { run, parent: None, tags: 1 })];
    for key in [0, 8] {
        let put = put(rng, key);
        ops.push(put);
    }
    if rng.coin() {
        ops.push(Op::Maintain);
    }
    ops.push(Op::Snapshot);
    match rng.below(3) {
        0 => ops.push(write(ChangeSpec::Delete { run, key: 8 })),
        _ => {
            let put = put(rng, 8);
            ops.push(put);
        }
    }
    if rng.chance(1, 3) {
        ops.push(Op::DropSnapshot { slot: 0 });
    }
    ops.extend(vec![Op::Maintain; pick(rng, &[1, 2, 6])]);
    ops.extend([Op::ReadSnapshot { slot: 0 }, Op::Get { run, key: 8 }]);
    let at = rng.index(case.ops.len() + 1);
    case.ops.splice(at..at, ops);
}
