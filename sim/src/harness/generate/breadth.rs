//! What a share of the seeds has beside the swarm: other options at later openings, large values,
//! many keys and runs, keys about the end of a prefix, long times to live, values that look like
//! the store's own files.
//!
//! Invariants: it draws from a stream of its own, so that a seed without any of it is the case that
//! it always was; each feature is drawn whether or not another one is.

use super::super::case::RUNS;
use super::super::case::{
    CaseOptions, ChangeSpec, ECHO, LevelSpec, LimitSpec, Op, VALUE_BYTES_MAX, ValueSpec,
};
use super::super::workload::{byte, pick};
use crate::rng::Rng;

/// Beyond the longest step in which an opening reads.
const LARGE_VALUE_BYTES: usize = 300_000;
/// How many bytes of a batch a put of a number takes at most, and a begin without tags.
const PUT_BYTES: usize = 96;
const BEGIN_BYTES: usize = 256;
/// The first key of a flood: no other operation names those behind it.
const FLOOD: u16 = 1000;
/// Milliseconds: what 32 bits hold, and a month.
const TWO_TO_32: u64 = 1 << 32;
const MONTH_MS: u64 = 30 * 24 * 3_600_000;

/// Changes a case; returns the options of later openings. `another` draws some.
pub(super) fn broaden(
    options: &mut CaseOptions,
    ops: &mut Vec<Op>,
    rng: &mut Rng,
    another: impl Fn(&mut Rng) -> CaseOptions,
) -> Vec<CaseOptions> {
    let has_later = rng.chance(1, 4);
    let has_edges = rng.chance(1, 4);
    let lives_long = rng.chance(1, 4);
    let echoes = rng.chance(1, 6);
    let has_few_pins = rng.chance(1, 6);
    let is_large = rng.chance(1, 32) && !options.may_be_full();
    let floods = rng.chance(1, 40) && !options.may_be_full();
    let has_many_runs = rng.chance(1, 40) && !options.may_be_full();
    if has_edges {
        // Keys that are like one another make room for those.
        each_change_and_read(ops, |key| {
            if (14..20).contains(key) {
                *key += 10;
            }
        });
    }
    if lives_long {
        each_put(ops, |_, ttl_ms| {
            if ttl_ms.is_some_and(|ms| ms > 0) && rng.coin() || rng.chance(1, 8) {
                *ttl_ms = Some(long_ttl(rng));
            }
        });
    }
    if echoes {
        each_put(ops, |value, _| {
            if rng.chance(1, 4) {
                let size = u32::try_from(rng.range(40..=700)).unwrap_or(0);
                *value = ValueSpec { kind: ECHO, size, salt: value.salt };
            }
        });
    }
    if has_few_pins {
        options.snapshots_max = CaseOptions::OWN_PINS + pick(rng, &[1, 2, 4]);
    }
    if is_large {
        enlarge(options, ops, rng);
    }
    if floods {
        for _ in 0..rng.range(1..=2) {
            flood(options, ops, rng);
        }
    }
    if has_many_runs {
        begin_many(options, ops, rng);
    }
    if !has_later {
        return Vec::new();
    }
    let opens = |op: &Op| matches!(op, Op::Reopen | Op::DropReopen | Op::Crash { .. });
    let places: Vec<usize> =
        ops.iter().enumerate().rev().filter(|(_, op)| opens(op)).map(|(at, _)| at).collect();
    for at in places {
        if rng.coin() {
            ops.insert(at, Op::Options { set: byte(rng, 3) });
        }
    }
    (0..2)
        .map(|_| CaseOptions {
            // No less than what may be held already.
            memtable_bytes_max: options.memtable_bytes_max,
            flush_bytes: options.flush_bytes,
            table_bytes_max: options.table_bytes_max,
            limits: pick(rng, &[options.limits, options.limits, tight_limits()]),
            snapshots_max: pick(rng, &[options.snapshots_max, 4096]),
            ..another(rng)
        })
        .collect()
}

/// Less than many values, keys and batches of an ordinary session have.
fn tight_limits() -> LimitSpec {
    LimitSpec { key_bytes: 22, value_bytes: 600, batch_bytes: 1200 }
}

/// Months, what passes 32 bits of milliseconds by little, and beyond the end of time.
fn long_ttl(rng: &mut Rng) -> u64 {
    let little = rng.below(100);
    pick(
        rng,
        &[
            MONTH_MS,
            3 * MONTH_MS,
            TWO_TO_32 + little,
            5 * TWO_TO_32 + little,
            25 * MONTH_MS,
            u64::MAX / 1_000_000,
            u64::MAX - little,
            u64::MAX,
        ],
    )
}

/// Values and batches of more than 64 KiB, and than one step of reading.
fn enlarge(options: &mut CaseOptions, ops: &mut [Op], rng: &mut Rng) {
    let value_bytes = pick(rng, &[66_000, 66_000, 100_000, LARGE_VALUE_BYTES]);
    options.limits =
        LimitSpec { value_bytes, batch_bytes: value_bytes * 2, ..LimitSpec::default() };
    let limit = u64::try_from(value_bytes).unwrap_or(0);
    let mut left = 4;
    each_put(ops, |value, _| {
        if left == 0 || !rng.chance(1, 8) {
            return;
        }
        left -= 1;
        let near = rng.below(100);
        let size = pick(rng, &[65_500 + near, 65_536, limit - near, limit, limit, limit + 1, 3000]);
        *value = ValueSpec { kind: 8, size: u32::try_from(size).unwrap_or(0), salt: value.salt };
    });
    // What was just too large is not any more; that stays at its limit and beyond.
    let old = u32::try_from(VALUE_BYTES_MAX).unwrap_or(0);
    each_put(ops, |value, _| {
        if value.size == old + 1 && value.kind >= 8 {
            value.size = u32::try_from(limit + 1).unwrap_or(0);
        }
    });
}

/// More keys than any step, chunk or block has, in batches that come at once; some are deleted
/// later.
fn flood(options: &CaseOptions, ops: &mut Vec<Op>, rng: &mut Rng) {
    let count = u16::try_from(rng.range(300..=1500)).unwrap_or(0);
    let each = options.limits.batch_bytes / PUT_BYTES;
    let salt = u32::try_from(rng.below(1 << 20)).unwrap_or(0);
    let expires = rng.chance(1, 4);
    let keys: Vec<u16> = (FLOOD..FLOOD + count).collect();
    let batches = |change: &dyn Fn(u16) -> ChangeSpec| -> Vec<Op> {
        let level = LevelSpec::Default;
        let batch = |keys: &[u16]| keys.iter().map(|key| change(*key)).collect();
        keys.chunks(each).map(|keys| Op::Batch { changes: batch(keys), level }).collect()
    };
    let puts = batches(&|key| ChangeSpec::Put {
        run: 0,
        key,
        value: ValueSpec { kind: 2, size: 0, salt: salt + u32::from(key) },
        ttl_ms: expires.then_some(2000 + u64::from(key)),
    });
    let at = 1 + rng.index(ops.len());
    let behind = at + puts.len();
    ops.splice(at..at, puts);
    if rng.chance(2, 3) {
        let kept = pick(rng, &[2, 3, 1000]);
        let mut deletes = batches(&|key| ChangeSpec::Delete { run: 0, key });
        for op in &mut deletes {
            if let Op::Batch { changes, .. } = op {
                changes.retain(|change| match change {
                    ChangeSpec::Delete { key, .. } => !key.is_multiple_of(kept),
                    _ => true,
                });
            }
        }
        let at = behind + rng.index(ops.len() + 1 - behind);
        ops.splice(at..at, deletes);
    }
}

/// More runs than a listing passes at once; few of them end.
fn begin_many(options: &CaseOptions, ops: &mut Vec<Op>, rng: &mut Rng) {
    let last = u8::try_from(rng.range(20..=200)).unwrap_or(0);
    let runs: Vec<u8> = (RUNS..last).collect();
    let level = LevelSpec::Default;
    let mut added: Vec<Op> = runs
        .chunks(options.limits.batch_bytes / BEGIN_BYTES)
        .map(|runs| {
            let begin = |run: &u8| ChangeSpec::Begin { run: *run, parent: None, tags: *run % 3 };
            Op::Batch { changes: runs.iter().map(begin).collect(), level }
        })
        .collect();
    for _ in 0..10 {
        let run = RUNS + byte(rng, u64::from(last - RUNS));
        let value = ValueSpec { kind: 2, size: 0, salt: u32::from(run) };
        let change = match rng.below(3) {
            0 => ChangeSpec::End { run, status: byte(rng, 3) },
            _ => ChangeSpec::Put { run, key: 1, value, ttl_ms: None },
        };
        added.push(Op::Write { change, level });
    }
    let at = 1 + rng.index(ops.len());
    ops.splice(at..at, added);
}

fn changes_of(op: &mut Op) -> &mut [ChangeSpec] {
    match op {
        Op::Write { change, .. } | Op::Kv { change } => std::slice::from_mut(change),
        Op::Batch { changes, .. } | Op::Submit { changes, .. } | Op::LateStep { changes, .. } => {
            changes
        }
        _ => &mut [],
    }
}

fn each_put(ops: &mut [Op], mut change: impl FnMut(&mut ValueSpec, &mut Option<u64>)) {
    for spec in ops.iter_mut().flat_map(changes_of) {
        if let ChangeSpec::Put { value, ttl_ms, .. } = spec {
            change(value, ttl_ms);
        }
    }
}

fn each_change_and_read(ops: &mut [Op], change: impl Fn(&mut u16)) {
    for op in ops {
        match op {
            Op::Remove { key, .. }
            | Op::Get { key, .. }
            | Op::List { key, .. }
            | Op::OpenScan { key, .. } => change(key),
            Op::Range { from, to, .. } => {
                change(from);
                change(to);
            }
            _ => {}
        }
        for spec in changes_of(op) {
            match spec {
                ChangeSpec::Put { key, .. }
                | ChangeSpec::Delete { key, .. }
                | ChangeSpec::Tagged { key, .. } => change(key),
                ChangeSpec::RemoveRange { from, to, .. } => {
                    change(from);
                    change(to);
                }
                ChangeSpec::Begin { .. } | ChangeSpec::End { .. } | ChangeSpec::Drop { .. } => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::generate;
    use super::*;
    use crate::harness::case::Case;

    /// Its name, whether a case has it, and in how many cases at least it must be.
    type Feature<'a> = (&'a str, &'a dyn Fn(&Case) -> bool, usize);

    #[test]
    fn each_feature_is_drawn_by_a_share_of_the_seeds_and_none_by_half_of_all_others() {
        let long = |ms: u64| ms > u64::from(u32::MAX);
        let any_put = |case: &Case, is: &dyn Fn(ValueSpec, Option<u64>, u16) -> bool| {
            let mut ops = case.ops.clone();
            ops.iter_mut().flat_map(changes_of).any(|change| match *change {
                ChangeSpec::Put { value, ttl_ms, key, .. } => is(value, ttl_ms, key),
                _ => false,
            })
        };
        let begins_many = |case: &Case| {
            let mut ops = case.ops.clone();
            let mut changes = ops.iter_mut().flat_map(changes_of);
            changes.any(|change| match change {
                ChangeSpec::Begin { run, .. } => *run > RUNS + 5,
                _ => false,
            })
        };
        let features: [Feature<'_>; 9] = [
            ("other options", &|case| !case.later.is_empty(), 40),
            (
                "tight limits",
                &|case| case.later.iter().any(|set| set.limits.value_bytes < 1500),
                10,
            ),
            ("edges of prefixes", &|case| any_put(case, &|_, _, key| (24..30).contains(&key)), 40),
            ("long lives", &|case| any_put(case, &|_, ttl, _| ttl.is_some_and(long)), 40),
            ("echoes", &|case| any_put(case, &|value, _, _| value.kind == ECHO), 25),
            ("few snapshots", &|case| case.options.snapshots_max < 10, 25),
            ("large values", &|case| any_put(case, &|value, _, _| value.size > 1 << 16), 3),
            ("many keys", &|case| any_put(case, &|_, _, key| key > FLOOD + 256), 2),
            ("many runs", &begins_many, 2),
        ];
        let cases: Vec<_> = (0..400).map(generate).collect();
        for (what, has, least) in features {
            let found = cases.iter().filter(|case| has(case)).count();
            assert!((least..200).contains(&found), "{what}: {found} of 400 seeds");
        }
    }

    #[test]
    fn a_time_to_live_of_months_keeps_a_key_that_32_bits_would_lose() {
        let mut rng = Rng::from_seed(7);
        let lives: Vec<u64> = (0..100).map(|_| long_ttl(&mut rng)).collect();
        assert!(lives.iter().all(|ms| *ms >= MONTH_MS));
        assert!(lives.iter().any(|ms| (1..100).contains(&(ms % TWO_TO_32)) && *ms < 1 << 40));
        assert!(lives.contains(&u64::MAX));
    }
}
