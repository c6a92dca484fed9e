//! Who may open a store at once: one who writes, or any number who read (C9); and that who reads
//! writes nothing (C8).
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that fails says so
#![allow(clippy::disallowed_methods)] // tests start child processes and wait for them

mod common;

use common::spy::SpyVfs;
use common::stores::{closed, killed};
use common::{DIR, NO_TAGS, image, memory_of, run, segments, state};
use runstone::{Database, Error};

const CHILD_DIR: &str = "RUNSTONE_TEST_OPENING_DIR";

#[test]
fn t05_a_second_opening_in_this_process_is_locked_out_until_the_first_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let first = Database::open(dir.path()).unwrap();
    first.begin_run(run(1), NO_TAGS).unwrap();
    for _ in 0..2 {
        let error = Database::open(dir.path()).map(|_| ()).unwrap_err();
        assert!(matches!(&error, Error::Locked { path, .. } if path.ends_with("runstone.lock")));
        assert!(error.is_retryable() && !error.is_corruption());
        let reading = Database::open_read_only(dir.path()).map(|_| ()).unwrap_err();
        assert!(matches!(reading, Error::Locked { .. }));
    }
    first.put(run(1), "undisturbed", 1).unwrap();
    first.close().unwrap();
    let second = Database::open(dir.path()).unwrap();
    assert_eq!(second.get(run(1), "undisturbed").unwrap(), Some(1.into()));
}

/// Not a test of its own: what the other process of the next test does.
#[test]
fn child_that_tries_to_open() {
    let Ok(dir) = std::env::var(CHILD_DIR) else { return };
    let outcome = match Database::open(&dir) {
        Ok(_) => "opened",
        Err(Error::Locked { .. }) => "locked",
        Err(_) => "failed",
    };
    println!("outcome: {outcome}");
}

#[test]
fn t05_another_process_is_locked_out_until_the_first_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let first = Database::open(dir.path()).unwrap();
    let try_there = || {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_tries_to_open", "--nocapture"])
            .env(CHILD_DIR, dir.path())
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(try_there().contains("outcome: locked"));
    first.close().unwrap();
    assert!(try_there().contains("outcome: opened"));
}

#[test]
fn two_may_read_at_once_but_nobody_writes_while_one_reads() {
    let (world, expected, files) = closed();
    let world = world.on_disk(memory_of(&files));
    let (one, two) = (world.try_read_only().unwrap(), world.try_read_only().unwrap());
    assert_eq!((state(&one), state(&two)), (expected.clone(), expected));
    assert!(matches!(world.try_open(), Err(Error::Locked { .. })));
    drop(one);
    assert!(matches!(world.try_open(), Err(Error::Locked { .. })));
    two.close().unwrap();
    world.open().put(run(1), "k", 1).unwrap();
}

#[test]
fn a_read_only_opening_writes_nothing_and_says_how_much_is_unproven() {
    for (clean, (world, expected, mut files)) in [(true, closed()), (false, killed())] {
        if !clean {
            // A torn tail, an orphan: nothing is repaired.
            let last = segments(&files).pop().unwrap();
            files.get_mut(&last).unwrap().extend([1, 2, 3]);
            files.insert("900000.tmp".to_owned(), b"left over".to_vec());
        }
        let disk = memory_of(&files);
        let (spied, spy) = SpyVfs::new(disk.clone());
        let db = world.on_disk(spied).try_read_only().unwrap();
        let report = db.recovery_report();
        assert_eq!(report.clean, clean);
        assert_eq!(report.unproven_commits, u64::from(!clean));
        assert_eq!(report.torn_bytes, if clean { 0 } else { 3 });
        assert_eq!(state(&db), expected);
        assert!(matches!(db.put(run(1), "k", 1), Err(Error::ReadOnly)));
        assert!(matches!(db.begin_run(run(9), NO_TAGS), Err(Error::ReadOnly)));
        assert!(matches!(db.maintain(), Err(Error::ReadOnly)));
        db.flush().unwrap();
        db.close().unwrap();
        assert!(matches!(db.get(run(1), "k"), Err(Error::Closed)));
        assert_eq!(spy.changes(), 0);
        assert_eq!(image(&disk, DIR), files);
    }
}

#[test]
fn a_read_only_opening_makes_nothing_where_nothing_is() {
    let dir = tempfile::tempdir().unwrap();
    for path in [dir.path().join("missing"), dir.path().to_owned()] {
        let error = Database::open_read_only(&path).map(|_| ()).unwrap_err();
        assert!(matches!(&error, Error::NoStore { path: named } if *named == path), "{error}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
