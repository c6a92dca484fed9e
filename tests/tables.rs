//! A store that flushes shows just what one shows that does not: at each moment, through snapshots
//! and scans from both ends, behind a crash, and behind another opening.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that fails says so

mod common;

use std::path::Path;
use std::time::Duration;

use common::{DIR, NO_TAGS, World, run, state};
use runstone::{Database, DurabilityMode, Error, Snapshot, WriteBatch};
use runstone_sim::disk::{CallKind, CrashKind, DiskConfig, Fault, FaultKind, SimVfs};
use runstone_sim::rng::Rng;
use runstone_vfs::Vfs;

/// Two worlds with the same clock: in one everything is flushed, in the other nothing.
struct Twins {
    flushing: World,
    other: World,
    disk: SimVfs,
}

fn disk() -> SimVfs {
    SimVfs::with_config(5, DiskConfig::plain())
}

impl Twins {
    fn new(mode: DurabilityMode) -> Self {
        let (disk, other) = (disk(), World::new(disk()).mode(mode));
        let other = other.with(|options| options.flush_bytes = u64::MAX);
        let mut flushing = World::new(disk.clone()).mode(mode).with(|options| {
            options.flush_bytes = 1;
            options.steps.scan_entries_max = 16;
            options.table_bytes_max =
                [1, 3000, 1 << 20][usize::from(mode != DurabilityMode::Strict)];
        });
        flushing.clock = other.clock.clone();
        Twins { flushing, other, disk }
    }

    fn open(&self) -> (Database, Database) {
        (self.flushing.open(), self.other.open())
    }
}

fn key(rng: &mut Rng) -> String {
    let n = rng.below(40);
    format!("{}{n}", ["", "some longer prefix ", "z"][rng.index(3)])
}

/// Does one thing to both.
fn change(rng: &mut Rng, (a, b): (&Database, &Database), runs: &mut u8) {
    let of = run(1 + u8::try_from(rng.below(u64::from(*runs))).unwrap());
    match rng.below(12) {
        0 if *runs < 5 => {
            *runs += 1;
            for db in [a, b] {
                db.begin_run(run(*runs), [("n", runs.to_string())]).unwrap();
            }
        }
        0..=5 => {
            let (key, value) = (key(rng), vec![7u8; rng.index(200)]);
            for db in [a, b] {
                drop(db.put(of, &key, value.clone()));
            }
        }
        6 => {
            let (key, ttl) = (key(rng), Duration::from_millis(1 + rng.below(300)));
            for db in [a, b] {
                drop(db.put_with_ttl(of, &key, 5, Some(ttl)));
            }
        }
        7 | 8 => {
            let key = key(rng);
            let gone = [a, b].map(|db| db.delete(of, &key).ok());
            assert_eq!(gone[0], gone[1], "what a delete of {key} returns");
        }
        9 => {
            let keys: Vec<String> = (0..rng.index(6) + 1).map(|_| key(rng)).collect();
            for db in [a, b] {
                let mut batch = WriteBatch::new();
                for (n, key) in keys.iter().enumerate() {
                    match n % 2 {
                        0 => batch.put(of, key, vec![n.to_le_bytes()[0]; 9000 * (n / 4)]),
                        _ => batch.delete(of, key),
                    };
                }
                drop(db.write(batch));
            }
        }
        10 if rng.below(12) == 0 => {
            for db in [a, b] {
                drop(db.end_run(of));
            }
        }
        _ => {}
    }
}

fn assert_same(a: &Database, b: &Database, what: &str) {
    let (left, right) = (state(a), state(b));
    assert_eq!(left, right, "{what}");
    for (&id, (_, pairs)) in &right.runs {
        for (key, value) in pairs {
            assert_eq!(a.get_versioned(id, key).unwrap().as_ref(), Some(value), "{what}");
            assert!(a.exists(id, key).unwrap());
        }
        let back = |db: &Database| db.scan_prefix(id, "").unwrap().rev().map(Result::unwrap);
        assert!(back(a).eq(back(b)), "{what}, backwards");
        let both = |db: &Database| {
            let mut scan = db.scan_prefix(id, "z").unwrap();
            let (mut front, mut ends) = (true, Vec::new());
            while let Some(item) = if front { scan.next() } else { scan.next_back() } {
                ends.push(item.unwrap());
                front = !front;
            }
            ends
        };
        assert_eq!(both(a), both(b), "{what}, from both ends");
        assert_eq!(a.run_statistics(id).unwrap(), b.run_statistics(id).unwrap());
    }
}

fn shown(snapshot: &Snapshot) -> Vec<(Vec<u8>, runstone::VersionedValue)> {
    snapshot.scan_prefix(run(1), "").unwrap().map(Result::unwrap).collect()
}

#[test]
fn a_store_that_flushes_shows_what_one_shows_that_does_not() {
    for seed in 0..60 {
        let mut rng = Rng::from_seed(seed);
        let strict = DurabilityMode::Strict;
        let twins = Twins::new(strict);
        let (mut a, mut b) = twins.open();
        for db in [&a, &b] {
            db.begin_run(run(1), NO_TAGS).unwrap();
        }
        let mut runs = 1;
        let mut snapshots: Vec<(Snapshot, Snapshot)> = Vec::new();
        for step in 0..150 {
            let what = format!("seed {seed}, step {step}");
            match rng.below(16) {
                0 => drop(a.maintain().unwrap()),
                1 => {
                    a.maintain().unwrap();
                    b.maintain().unwrap();
                }
                2 => twins.flushing.clock.advance(rng.below(120)),
                3 if snapshots.len() < 4 => {
                    snapshots.push((a.snapshot().unwrap(), b.snapshot().unwrap()));
                }
                4 if !snapshots.is_empty() => {
                    let (one, other) = snapshots.swap_remove(rng.index(snapshots.len()));
                    assert_eq!(shown(&one), shown(&other), "{what}, at a snapshot");
                }
                5 if rng.below(3) == 0 => {
                    assert_same(&a, &b, &what);
                    for (one, other) in snapshots.drain(..) {
                        assert_eq!(shown(&one), shown(&other), "{what}, at a snapshot");
                    }
                    if rng.coin() {
                        a.close().unwrap();
                    } else {
                        twins.disk.crash_now(CrashKind::Power);
                        drop(a);
                        twins.disk.restart();
                    }
                    b.close().unwrap();
                    (a, b) = twins.open();
                    assert_same(&a, &b, &format!("{what}, opened again"));
                }
                _ => change(&mut rng, (&a, &b), &mut runs),
            }
            if step % 10 == 0 {
                assert_same(&a, &b, &what);
            }
        }
        a.close().unwrap();
        let reader = twins.flushing.try_read_only().unwrap();
        assert_same(&reader, &b, &format!("seed {seed}, read only"));
    }
}

/// What a flush has put into a table is not in the log any more, and is not read from there.
#[test]
fn behind_a_flush_an_opening_reads_only_what_came_after_it() {
    let world = World::memory().with(|options| options.flush_bytes = 1);
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    for n in 0..100i64 {
        db.put(run(1), format!("{n}"), n).unwrap();
    }
    db.maintain().unwrap();
    db.put(run(1), "behind", 1).unwrap();
    let live = state(&db);
    db.close().unwrap();
    let db = world.open();
    assert_eq!(state(&db), live);
    assert_eq!((db.recovery_report().replayed_commits, db.recovery_report().segments), (1, 1));
}

fn tables(disk: &SimVfs) -> Vec<String> {
    let mut names = disk.names_in(Path::new(DIR));
    names.retain(|name| name.ends_with(".table"));
    names
}

/// Found by a seed: the call that made the file of a table failed, and had made it.
#[test]
fn a_table_that_a_failed_call_has_made_all_the_same_is_removed() {
    let disk = disk();
    let world = World::new(disk.clone()).with(|options| options.flush_bytes = 1);
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    db.put(run(1), "k", 0).unwrap();
    // Behind the new segment.
    disk.fail_nth(CallKind::Create, 1, Fault::new(FaultKind::Io));
    let refused = db.maintain().unwrap_err();
    assert!(refused.to_string().contains(".table"), "{refused}");
    assert_eq!(tables(&disk), [] as [&str; 0], "what the call had made is gone");
    db.put(run(1), "k", 1).unwrap();
    db.maintain().unwrap();
    assert_eq!(tables(&disk).len(), 1, "the memtable was flushed by the next step");
    assert!(db.exists(run(1), "k").unwrap());
}

/// Found by the exploration of rot: what has lost its manifest was taken for a directory in which
/// there is no store, and a new one would have hidden the tables.
#[test]
fn tables_without_a_manifest_are_no_empty_directory() {
    let disk = disk();
    let world = World::new(disk.clone()).with(|options| options.flush_bytes = 1);
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    db.put(run(1), "k", 1).unwrap();
    db.maintain().unwrap();
    // No record is left in the log: a close would add one.
    disk.crash_now(CrashKind::Process);
    drop(db);
    disk.restart();
    let named = tables(&disk);
    disk.remove(&Path::new(DIR).join("runstone.manifest")).unwrap();
    let is_refused = |outcome: Result<Database, Error>| match outcome {
        Err(error) => assert!(error.is_corruption(), "{error}"),
        Ok(_) => panic!("a store was made over tables"),
    };
    is_refused(world.try_open());
    is_refused(world.try_read_only());
    let logs = disk.names_in(Path::new(DIR)).into_iter().filter(|name| name.ends_with(".log"));
    for log in logs {
        disk.remove(&Path::new(DIR).join(log)).unwrap();
    }
    is_refused(world.try_open());
    assert_eq!(tables(&disk), named, "nothing is lost");
}
