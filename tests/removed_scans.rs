//! Scans past what removals hide, against a plain map: over memtable and levels, in both
//! directions, for the present and for snapshots, whatever is skipped.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that fails says so

mod common;

use std::collections::BTreeMap;

use common::{NO_TAGS, World, run};
use proptest::prelude::*;
use runstone::vfs::MemVfs;
use runstone::{Database, Scan, Snapshot, Value};

const KEYS: u8 = 40;

type Model = BTreeMap<Vec<u8>, i64>;

#[derive(Clone, Debug)]
enum Step {
    Put(u8),
    Delete(u8),
    Remove(u8, u8),
    /// A step of maintenance: most often a flush.
    Maintain,
    Drain,
    Snapshot,
    DropSnapshot,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let key = || 0..KEYS;
    prop_oneof![
        8 => key().prop_map(Step::Put),
        2 => key().prop_map(Step::Delete),
        3 => (key(), 0..=KEYS).prop_map(|(from, to)| Step::Remove(from, to)),
        4 => Just(Step::Maintain),
        1 => Just(Step::Drain),
        1 => Just(Step::Snapshot),
        1 => Just(Step::DropSnapshot),
        1 => Just(Step::Reopen),
    ]
}

/// A key of 24 bytes does not lie in line.
fn key(n: u8) -> Vec<u8> {
    let mut key = format!("{n:03}").into_bytes();
    key.resize(if n.is_multiple_of(5) { 24 } else { 4 }, b'.');
    key
}

fn items(scan: impl Iterator<Item = <Scan as Iterator>::Item>) -> Vec<(Vec<u8>, i64)> {
    let number = |value: Value| match value {
        Value::Int(n) => n,
        other => panic!("{other:?}"),
    };
    scan.map(|item| item.unwrap()).map(|(key, found)| (key, number(found.value))).collect()
}

/// Each range from each key, in each direction, and from both ends at once.
fn check(open: impl Fn(std::ops::Range<Vec<u8>>) -> Scan, model: &Model) {
    for (from, to) in [(0, KEYS), (3, 30), (11, 12), (20, KEYS), (7, 9)] {
        let range = key(from)..key(to);
        let expected: Vec<_> =
            model.range(range.clone()).map(|(key, n)| (key.clone(), *n)).collect();
        assert_eq!(items(open(range.clone())), expected, "{from}..{to}");
        let mut backward = items(open(range.clone()).rev());
        backward.reverse();
        assert_eq!(backward, expected, "{from}..{to} backwards");
        let (mut scan, mut front, mut back) = (open(range), Vec::new(), Vec::new());
        while let Some(item) = scan.next() {
            front.push(item);
            back.extend(scan.next_back());
        }
        front.extend(back.into_iter().rev());
        assert_eq!(items(front.into_iter()), expected, "{from}..{to} from both ends");
    }
}

fn check_all(db: &Database, now: &Model, snapshots: &[(Snapshot, Model)]) {
    check(|range| db.scan(run(1), range).unwrap(), now);
    for (snapshot, model) in snapshots {
        check(|range| snapshot.scan(run(1), range).unwrap(), model);
    }
}

/// So many kilobytes of values in blocks and tables of a few keys.
fn world(removed_max: usize, entries: usize, levels: usize, block_bytes: usize) -> World {
    World::new(MemVfs::new()).with(|options| {
        options.flush_bytes = 1;
        options.levels_per_tier = levels;
        options.block_bytes = block_bytes;
        options.table_bytes_max = 700;
        options.open_files_max = 2;
        options.steps.scan_removed_max = removed_max;
        options.steps.scan_entries_first = entries;
        options.steps.scan_entries_max = entries;
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn a_scan_shows_what_no_removal_hides_in_either_direction_at_any_moment(
        steps in prop::collection::vec(step(), 1..120),
        filled in 0..3u8,
        (removed_max, entries) in (1..5usize, 1..4usize),
        (levels, block_bytes) in (2..5usize, prop_oneof![Just(1), Just(120)]),
    ) {
        let world = world(removed_max, entries, levels, block_bytes);
        let mut db = world.open();
        db.begin_run(run(1), NO_TAGS).unwrap();
        let (mut model, mut snapshots) = (Model::new(), Vec::new());
        let put = |db: &Database, model: &mut Model, n: u8, value: i64| {
            db.put(run(1), key(n), value).unwrap();
            model.insert(key(n), value);
        };
        // Levels that hold all keys, so that removals have something to hide.
        for _ in 0..filled {
            (0..KEYS).for_each(|n| put(&db, &mut model, n, -1));
            db.maintain().unwrap();
        }
        for (nth, step) in (0..).zip(steps) {
            match step {
                Step::Put(n) => put(&db, &mut model, n, nth),
                Step::Delete(n) => {
                    db.delete(run(1), key(n)).unwrap();
                    model.remove(&key(n));
                }
                Step::Remove(from, to) => {
                    if from < to {
                        db.remove_range(run(1), key(from)..key(to)).unwrap();
                        model.retain(|k, _| *k < key(from) || *k >= key(to));
                    }
                }
                Step::Maintain => drop(db.maintain().unwrap()),
                Step::Drain => while db.maintain().unwrap().more {},
                Step::Snapshot => snapshots.push((db.snapshot().unwrap(), model.clone())),
                Step::DropSnapshot => drop(snapshots.pop()),
                Step::Reopen => {
                    db.close().unwrap();
                    check_all(&world.open(), &model, &snapshots);
                    db = world.open();
                    // They go on beside another session.
                    snapshots.truncate(1);
                }
            }
            if nth % 16 == 0 {
                check_all(&db, &model, &snapshots);
            }
        }
        check_all(&db, &model, &snapshots);
    }
}
