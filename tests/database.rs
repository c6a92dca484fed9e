//! The database as a whole: making it, its storage, flushing, closing, opening again.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that fails says so
#![allow(clippy::disallowed_methods)] // tests start threads

mod common;

use std::thread;

use common::{MODES, NO_TAGS, image, put_file, run, state};
use runstone::vfs::OsVfs;
use runstone::{Database, DurabilityMode, Error, Key, Namespace, Value};

#[test]
fn a_new_directory_becomes_an_empty_database_that_can_be_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("not/yet/there");
    let db = Database::open(&path).unwrap();
    assert_eq!(db.data_dir(), path);
    assert_eq!(db.durability_mode(), DurabilityMode::Strict);
    assert!(db.recovery_report().created && db.recovery_report().clean);
    assert_eq!((db.storage().version(), db.active_run_count().unwrap()), (0, 0));
    assert!(path.join("runstone.manifest").is_file() && path.join("runstone.lock").is_file());
    db.close().unwrap();
    let db = Database::open(&path).unwrap();
    assert!(!db.recovery_report().created && db.recovery_report().clean);
}

#[test]
fn a_missing_directory_is_refused_if_it_may_not_be_made() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("missing");
    let options = runstone::Options { create_if_missing: false, ..Default::default() };
    let error = Database::builder().options(options).open(&path).unwrap_err();
    assert!(matches!(&error, Error::NoStore { path: named } if *named == path), "{error}");
    assert!(!error.is_retryable() && error.to_string().contains("create_if_missing"), "{error}");
    assert!(!path.exists());
}

#[test]
fn a_directory_without_a_store_is_left_as_it_is_if_none_may_be_made() {
    let dir = tempfile::tempdir().unwrap();
    let names = || image(&OsVfs::new(), dir.path()).into_keys().collect::<Vec<_>>();
    let options = runstone::Options { create_if_missing: false, ..Default::default() };
    let open = || Database::builder().options(options.clone()).open(dir.path());
    // Empty, or with the lock file of a creation that never got further.
    for files in [&[][..], &["LOCK"]] {
        let lock = dir.path().join("runstone.lock");
        files.iter().for_each(|_| put_file(&OsVfs::new(), &lock, b""));
        let error = open().unwrap_err();
        assert!(matches!(&error, Error::NoStore { path } if path == dir.path()), "{error}");
        let reading = Database::open_read_only(dir.path()).map(|_| ()).unwrap_err();
        assert!(matches!(&reading, Error::NoStore { path } if path == dir.path()), "{reading}");
        assert_eq!(names(), files);
    }
    Database::open(dir.path()).unwrap().close().unwrap();
    open().unwrap();
}

#[test]
fn the_storage_shows_what_was_put_with_its_version() {
    let dir = tempfile::tempdir().unwrap();
    let db = Database::open(dir.path()).unwrap();
    let begun = db.begin_run(run(1), NO_TAGS).unwrap();
    let put = db.put(run(1), "k", 7).unwrap();
    assert_eq!((begun, put), (1, 2));
    let found = db.storage().get(&Key::new_kv(Namespace::default_for(run(1)), "k")).unwrap();
    let found = found.unwrap();
    assert_eq!((found.value, found.version), (Value::Int(7), put));
    assert_eq!(db.storage().version(), put);
    assert_eq!(db.storage().key_count(), 1);
    assert!(db.storage().memory_bytes() > 0);
}

#[test]
fn what_was_flushed_is_there_although_nobody_closed_the_database() {
    let dir = tempfile::tempdir().unwrap();
    let live = dir.path().join("live");
    let db = Database::builder().durability(MODES[2]).background_threads(0).open(&live).unwrap();
    db.begin_run(run(1), NO_TAGS).unwrap();
    db.put(run(1), "k", "v").unwrap();
    db.flush().unwrap();
    db.flush().unwrap();
    let expected = state(&db);

    // The files as they are now, without the database that holds them open.
    let copy = dir.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    for entry in std::fs::read_dir(&live).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    let recovered = Database::open(&copy).unwrap();
    assert_eq!(state(&recovered), expected);
    assert!(!recovered.recovery_report().clean);
}

#[test]
fn handles_are_shared_by_threads_and_every_write_of_each_is_seen_by_all() {
    fn shared<T: Clone + Send + Sync + 'static>(_: &T) {}
    let dir = tempfile::tempdir().unwrap();
    let db = Database::open_with_mode(dir.path(), MODES[1]).unwrap();
    shared(&db);
    db.begin_run(run(1), NO_TAGS).unwrap();
    thread::scope(|scope| {
        for t in 0..8i64 {
            let db = db.clone();
            scope.spawn(move || {
                for n in 0..50i64 {
                    db.put(run(1), format!("{t}/{n:02}"), t * 100 + n).unwrap();
                }
            });
        }
    });
    for t in 0..8i64 {
        let listed = db.list(run(1), format!("{t}/")).unwrap();
        let values: Vec<_> = listed.into_iter().map(|(_, value)| value).collect();
        assert_eq!(values, (0..50).map(|n| Value::Int(t * 100 + n)).collect::<Vec<_>>());
    }
    assert_eq!(db.storage().version(), 401);
}

#[test]
fn dropping_the_last_handle_flushes_in_every_mode_and_the_next_opening_is_clean() {
    for mode in MODES {
        let dir = tempfile::tempdir().unwrap();
        let db = Database::open_with_mode(dir.path(), mode).unwrap();
        db.begin_run(run(1), NO_TAGS).unwrap();
        db.put(run(1), "k", "v").unwrap();
        let expected = state(&db);
        let clone = db.clone();
        drop(db);
        assert_eq!(clone.get(run(1), "k").unwrap(), Some("v".into()), "a clone keeps it open");
        drop(clone);
        let db = Database::open(dir.path()).unwrap();
        assert!(db.recovery_report().clean, "{mode:?}");
        assert_eq!(state(&db), expected, "{mode:?}");
    }
}

#[test]
fn every_mode_stores_the_same_data_and_reads_what_another_mode_wrote() {
    let dir = tempfile::tempdir().unwrap();
    for (n, mode) in (1u8..).zip(MODES) {
        let db = Database::open_with_mode(dir.path(), mode).unwrap();
        assert_eq!(db.durability_mode(), mode);
        db.begin_run(run(n), NO_TAGS).unwrap();
        db.put(run(n), "mode", i64::from(n)).unwrap();
        for earlier in 1..=n {
            assert_eq!(db.get(run(earlier), "mode").unwrap(), Some(i64::from(earlier).into()));
        }
        db.close().unwrap();
    }
    let db = Database::open(dir.path()).unwrap();
    assert_eq!(db.storage().version(), 6);
}

#[test]
fn the_same_path_opens_again_and_again_and_goes_on_where_it_ended() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = None;
    for n in 0..20i64 {
        let db = Database::open(dir.path()).unwrap();
        assert!(db.recovery_report().clean);
        if n == 0 {
            db.begin_run(run(1), NO_TAGS).unwrap();
        }
        let version = db.put(run(1), format!("{n:02}"), n).unwrap();
        assert_eq!(version, u64::try_from(n).unwrap() + 2);
        assert_eq!(db.list(run(1), "").unwrap().len() as i64, n + 1);
        db.close().unwrap();
        // No opening leaves a file behind.
        let now = std::fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(*files.get_or_insert(now), now);
    }
}

#[test]
fn a_closed_database_refuses_every_call_of_every_clone() {
    let dir = tempfile::tempdir().unwrap();
    let db = Database::open(dir.path()).unwrap();
    let clone = db.clone();
    db.begin_run(run(1), NO_TAGS).unwrap();
    db.put(run(1), "k", 1).unwrap();
    let snapshot = db.snapshot().unwrap();
    db.close().unwrap();
    assert!(clone.is_closed());
    assert!(matches!(clone.close(), Err(Error::Closed)));
    assert!(matches!(clone.put(run(1), "k", 2), Err(Error::Closed)));
    assert!(matches!(clone.get(run(1), "k"), Err(Error::Closed)));
    assert!(matches!(clone.list(run(1), ""), Err(Error::Closed)));
    assert!(matches!(clone.begin_run(run(2), NO_TAGS), Err(Error::Closed)));
    assert!(matches!(clone.get_run(run(1)), Err(Error::Closed)));
    assert!(matches!(clone.flush(), Err(Error::Closed)));
    assert!(matches!(clone.snapshot().map(|_| ()), Err(Error::Closed)));
    // A snapshot owns what it reads.
    assert_eq!(snapshot.get(run(1), "k").unwrap(), Some(1.into()));
    // The lock is free although handles live.
    Database::open(dir.path()).unwrap();
}
