//! Limits and permissions of the real operating system, met by a store on a real file system:
//! what the simulator's faults stand for is what the system says.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that fails says so
#![allow(clippy::disallowed_methods)] // a thread that gives up what root may do ends with it

mod common;

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use common::child::{alone, in_child};
use common::{NO_TAGS, run};
use runstone::{Builder, Database, Error, Options};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

/// Segments of 8 KiB, and no threads.
fn builder() -> Builder {
    Database::builder().options(Options {
        segment_bytes: 8192,
        background_threads: 0,
        ..Options::default()
    })
}

fn limit(resource: Resource, soft: Option<u64>) {
    let maximum = rustix::process::getrlimit(resource).maximum;
    setrlimit(resource, Rlimit { current: soft.or(maximum), maximum }).unwrap();
}

/// As a user that may not pass by permissions, which root may; the process keeps its rights.
fn as_anybody(test: impl FnOnce() + Send) {
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            set_capabilities(None, sets).unwrap();
            test();
        });
        thread.join().unwrap();
    });
}

fn permit(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// More keys than the first segment has room for.
const KEYS: usize = 20;

/// Puts keys of run 1, a kilobyte each.
fn put(db: &Database, keys: Range<usize>) {
    for n in keys {
        db.put(run(1), format!("{n}"), vec![7; 1000]).unwrap();
    }
}

/// The same from the first key on, until the next segment cannot be made: how many are there, and
/// why there are no more.
fn put_until_refused(db: &Database) -> (usize, Error) {
    let refused = |n| Some((n, db.put(run(1), format!("{n}"), vec![7; 1000]).err()?));
    (0..KEYS).find_map(refused).expect("the first segment ends before the last key")
}

/// The keys `0..n` of run 1 are there, and no more.
fn holds(dir: &Path, n: usize) {
    let db = builder().open(dir).unwrap();
    assert_eq!(db.list(run(1), "").unwrap().len(), n);
    db.close().unwrap();
}

#[test]
fn c06_a_process_that_may_write_short_files_only_goes_on_and_is_not_ended_by_a_signal() {
    let (store, _alone) = (tempfile::tempdir().unwrap(), alone());
    let told = in_child(|| {
        limit(Resource::Fsize, Some(20_000));
        let options = Options { background_threads: 0, ..Options::default() };
        let db = Database::builder().options(options).open(store.path()).unwrap();
        db.begin_run(run(1), NO_TAGS).unwrap();
        let large = db.put(run(1), "large", vec![7; 20_000]).unwrap_err();
        put(&db, 0..100);
        db.close().unwrap();
        large.to_string()
    });
    assert!(told.contains("may write only 20000 bytes (ulimit -f)"), "{told}");
    let longest = fs::read_dir(store.path()).unwrap().map(|entry| {
        let entry = entry.unwrap();
        entry.metadata().unwrap().len()
    });
    assert!(longest.max().unwrap() <= 20_000);
    holds(store.path(), 100);
}

#[test]
fn c06_without_a_free_descriptor_a_commit_fails_and_with_one_again_the_store_goes_on() {
    let (store, _alone) = (tempfile::tempdir().unwrap(), alone());
    let told = in_child(|| {
        let db = builder().open(store.path()).unwrap();
        db.begin_run(run(1), NO_TAGS).unwrap();
        // Those that are open stay open.
        limit(Resource::Nofile, Some(0));
        let (written, error) = put_until_refused(&db);
        assert!(error.is_retryable(), "{error}");
        limit(Resource::Nofile, None);
        put(&db, written..KEYS);
        db.close().unwrap();
        error.to_string()
    });
    assert!(told.contains("raise the limit (ulimit -n)"), "{told}");
    holds(store.path(), KEYS);
}

/// A store of many small tables, of each of which all is read from its file each time.
fn of_many_tables(open_files_max: usize) -> Builder {
    Database::builder().options(Options {
        flush_bytes: 1,
        table_bytes_max: 6000,
        cache_bytes_max: 0,
        open_files_max,
        background_threads: 0,
        ..Options::default()
    })
}

/// Puts as many keys as make some hundred tables, and merges them.
fn fill_tables(db: &Database) {
    put(db, 0..500);
    while db.maintain().unwrap().more {}
    put(db, 250..750);
    while db.maintain().unwrap().more {}
}

fn tables_in(dir: &Path) -> usize {
    let is_table =
        |name: &std::ffi::OsStr| Path::new(name).extension().is_some_and(|e| e == "table");
    fs::read_dir(dir)
        .unwrap()
        .filter(|entry| is_table(&entry.as_ref().unwrap().file_name()))
        .count()
}

#[test]
fn a_store_has_more_tables_than_the_process_may_have_files() {
    let (store, _alone) = (tempfile::tempdir().unwrap(), alone());
    let told = in_child(|| {
        // Three are those of every process, and some are the test's.
        limit(Resource::Nofile, Some(32));
        let db = of_many_tables(8).open(store.path()).unwrap();
        db.begin_run(run(1), NO_TAGS).unwrap();
        fill_tables(&db);
        let before = db.snapshot().unwrap();
        put(&db, 0..100);
        while db.maintain().unwrap().more {}
        assert_eq!(db.list(run(1), "").unwrap().len(), 750);
        assert_eq!(before.scan::<&str, _>(run(1), ..).unwrap().rev().count(), 750);
        drop(before);
        db.close().unwrap();
        let db = of_many_tables(1).open(store.path()).unwrap();
        db.verify(|violation| panic!("{violation}")).unwrap();
        assert_eq!(db.get(run(1), "749").unwrap().map(|_| ()), Some(()));
        db.close().unwrap();
        tables_in(store.path()).to_string()
    });
    assert!(told.parse::<usize>().unwrap() > 64, "{told} tables");
}

#[test]
fn c06_a_table_for_which_there_is_no_descriptor_fails_the_read_and_the_merge_and_nothing_else() {
    let (store, _alone) = (tempfile::tempdir().unwrap(), alone());
    in_child(|| {
        let db = of_many_tables(4).open(store.path()).unwrap();
        db.begin_run(run(1), NO_TAGS).unwrap();
        fill_tables(&db);
        put(&db, 0..1);
        limit(Resource::Nofile, Some(0));
        let reads = (0..750).map(|n| db.get(run(1), format!("{n}")));
        let failed: Vec<_> = reads.filter_map(Result::err).collect();
        assert!(!failed.is_empty() && failed.iter().all(Error::is_retryable), "{failed:?}");
        assert!(failed[0].to_string().contains("raise the limit (ulimit -n)"), "{}", failed[0]);
        let scanned = db.scan::<&str, _>(run(1), ..).unwrap().find_map(Result::err);
        assert!(scanned.is_some_and(|error| error.is_retryable()));
        assert!(db.maintain().is_err_and(|error| error.is_retryable()));
        limit(Resource::Nofile, None);
        put(&db, 1..50);
        while db.maintain().unwrap().more {}
        assert_eq!(db.list(run(1), "").unwrap().len(), 750);
        db.close().unwrap();
        String::new()
    });
    holds(store.path(), 750);
}

/// Its directory could not be synced, so that what is made there may be gone after a power cut.
#[test]
fn no_directory_is_made_in_one_that_may_be_written_and_not_read_and_one_that_is_there_is_used() {
    let (above, _alone) = (tempfile::tempdir().unwrap(), alone());
    let store = above.path().join("store");
    permit(above.path(), 0o333);
    as_anybody(|| {
        let error = builder().open(&store).unwrap_err();
        assert!(!error.is_retryable(), "{error}");
        let Error::Io { path, source, .. } = error else { panic!("{error}") };
        assert_eq!((&*path, source.kind()), (above.path(), ErrorKind::PermissionDenied));
        fs::create_dir(&store).unwrap();
        assert_eq!(fs::read_dir(&store).unwrap().count(), 0, "this is the first of the name");
        let db = builder().open(&store).unwrap();
        db.begin_run(run(1), NO_TAGS).unwrap();
        db.close().unwrap();
    });
    permit(above.path(), 0o755);
    holds(&store, 0);
}

#[test]
fn c06_a_directory_that_may_only_be_read_fails_what_makes_a_file_until_it_may_be_written() {
    let (store, _alone) = (tempfile::tempdir().unwrap(), alone());
    let db = builder().open(store.path()).unwrap();
    db.begin_run(run(1), NO_TAGS).unwrap();
    as_anybody(|| {
        permit(store.path(), 0o555);
        let (written, error) = put_until_refused(&db);
        assert!(matches!(&error, Error::Io { source, .. }
            if source.kind() == ErrorKind::PermissionDenied));
        assert!(written > 0 && !error.is_retryable(), "{error}");
        permit(store.path(), 0o755);
        put(&db, written..KEYS);
        db.close().unwrap();
        permit(store.path(), 0o555);
        let reader = builder().open_read_only(store.path()).unwrap();
        assert_eq!(reader.list(run(1), "").unwrap().len(), KEYS);
        permit(store.path(), 0o755);
    });
    holds(store.path(), KEYS);
}
