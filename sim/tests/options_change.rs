//! A store that is opened with other options than before: the contract holds by those in force.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests

use std::sync::Arc;

use runstone::{Database, Options, RunId};
use runstone_sim::disk::{CrashKind, CrashPoint, DiskConfig, Odds, SimVfs, When};
use runstone_sim::harness::{Op, generate, run};

fn open(disk: &SimVfs, pad_to_sector: bool) -> runstone::Result<Database> {
    let options = Options {
        pad_to_sector,
        preallocate_bytes: 0,
        background_threads: 0,
        ..Options::default()
    };
    Database::builder().options(options).vfs(Arc::new(disk.clone())).open("/db")
}

/// A disk that ruins the sector that it was writing when the power went.
fn ruining_disk(seed: u64) -> SimVfs {
    SimVfs::with_config(seed, DiskConfig { garbage_sector: Odds::ALWAYS, ..DiskConfig::default() })
}

#[test]
fn a_store_that_is_padded_from_now_on_survives_a_ruined_sector_though_it_was_not_before() {
    let run = RunId::from_bytes([1; 16]);
    for seed in 0..200 {
        let disk = ruining_disk(seed);
        let db = open(&disk, false).unwrap();
        db.begin_run(run, runstone::NO_TAGS).unwrap();
        db.put(run, "before", 1).unwrap();
        db.close().unwrap();

        let db = open(&disk, true).unwrap();
        db.put(run, "padded", 2).unwrap();
        // Written, and not synced when the power goes.
        let point = CrashPoint { call: disk.calls() + 1, when: When::Before };
        disk.arm_crash(point, CrashKind::Power);
        assert!(db.put(run, "cut off", 3).is_err() && disk.is_crashed(), "seed {seed}");
        drop(db);
        disk.restart();

        let db = open(&disk, true).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(db.get(run, "before").unwrap(), Some(1.into()), "seed {seed}");
        assert_eq!(db.get(run, "padded").unwrap(), Some(2.into()), "seed {seed}");
    }
}

#[test]
fn what_a_session_wrote_stays_where_it_is_when_the_next_one_pads() {
    let run = RunId::from_bytes([1; 16]);
    let disk = SimVfs::new(1);
    let db = open(&disk, false).unwrap();
    db.begin_run(run, runstone::NO_TAGS).unwrap();
    db.close().unwrap();
    let logs = || -> Vec<_> {
        let image = disk.live_image();
        image.into_iter().filter(|(path, _)| path.extension().is_some_and(|e| e == "log")).collect()
    };
    let before = logs();
    let db = open(&disk, true).unwrap();
    assert_eq!(logs(), before, "an opening writes nothing");
    db.put(run, "k", 1).unwrap();
    let after = logs();
    assert_eq!(after.len(), 2, "the first commit begins a segment");
    assert_eq!(after[0], before[0]);
    assert_eq!(after[1].1.len() % 512, 0);
}

#[test]
fn a_share_of_the_seeds_opens_a_store_with_other_options_than_before() {
    let changes = |seed: &u64| {
        let case = generate::generate(*seed);
        let padded = |set: u8| case.set(set).pad_to_sector;
        let sets = case.ops.iter().filter_map(|op| match op {
            Op::Options { set } => Some(*set),
            _ => None,
        });
        let mut sets = sets;
        sets.any(|set| padded(set) != padded(0))
    };
    let seeds: Vec<u64> = (0..200).filter(changes).collect();
    assert!(seeds.len() >= 10, "only {seeds:?} of 200");
    for seed in seeds.into_iter().take(10) {
        assert_eq!(run(&generate::generate(seed), false).failure, None, "seed {seed}");
    }
}
