//! C6, gently: what was refused before it changed anything poisons nothing, whatever refused it and
//! wherever; the store goes on once the cause is gone.
#![cfg(target_os = "linux")] // by the codes of that system
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that fails says so

mod common;

use std::collections::BTreeSet;
use std::io;

use common::refusing::{Rules, refusing};
use common::{DIR, MODES, NO_TAGS, State, World, image, memory_of, run, segments, state};
use runstone::vfs::MemVfs;
use runstone::{Database, DurabilityMode, Error, Preallocation};

/// The codes, and whether they pass by themselves.
const CODES: [(&str, i32, bool); 7] = [
    ("EMFILE", 24, true),
    ("ENFILE", 23, true),
    ("EACCES", 13, false),
    ("EROFS", 30, false),
    ("ENOSPC", 28, true),
    ("EDQUOT", 122, true),
    ("EIO", 5, true),
];

/// Calls that change nothing if they fail so, of which files.
const CALLS: [(&str, &str); 5] = [
    ("create", ".tmp"),
    ("create", ".log"),
    ("link", ".tmp"),
    ("stat", ".lock"),
    ("stat", ".manifest"),
];

/// A failed rename has changed nothing if it was refused for one of these.
const RENAMES: [&str; 4] = ["EACCES", "EROFS", "ENOSPC", "EDQUOT"];

/// A step that writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    SessionBegin,
    Rotation,
    Flush,
    Close,
}

const STEPS: [Step; 4] = [Step::SessionBegin, Step::Rotation, Step::Flush, Step::Close];

impl Step {
    /// A store in which this step comes next, and nothing but it.
    fn prepared(self, mode: DurabilityMode) -> (World, std::sync::Arc<Rules>, Database) {
        let (world, rules) = refusing(MemVfs::new());
        let world = world.mode(mode).with(|options| options.segment_bytes = 600);
        let db = world.open();
        db.begin_run(run(1), NO_TAGS).unwrap();
        db.put(run(1), "kept", vec![1; 300]).unwrap();
        if self != Step::SessionBegin {
            return (world, rules, db);
        }
        db.close().unwrap();
        (world.clone(), rules, world.open())
    }

    fn run(self, db: &Database) -> runstone::Result<()> {
        match self {
            Step::SessionBegin => db.put(run(1), "k", 2).map(|_| ()),
            // It has no room in the segment.
            Step::Rotation => db.put(run(1), "k", vec![2; 300]).map(|_| ()),
            Step::Flush => db.flush(),
            Step::Close => db.close(),
        }
    }
}

/// What a killed process leaves, opened again.
fn after_kill(world: &World) -> State {
    let disk = memory_of(&image(&*world.vfs, DIR));
    state(&world.on_disk(disk).open())
}

#[test]
fn c06_what_is_refused_before_it_changed_anything_poisons_nothing_and_is_done_when_it_may_be() {
    let mut met = BTreeSet::new();
    for mode in MODES {
        for step in STEPS {
            for (name, code, passes) in CODES {
                let renames = RENAMES.contains(&name).then_some(("rename", ".tmp"));
                for (call, file) in CALLS.into_iter().chain(renames) {
                    let (world, rules, db) = step.prepared(mode);
                    let before = state(&db);
                    rules.refuse_code(call, file, code);
                    let what = format!("{step:?} in {mode:?}: {call} of {file} met {name}");
                    for _ in 0..2 {
                        let Err(error) = step.run(&db) else { break };
                        let is_gentle = matches!(error, Error::Io { .. } | Error::DiskFull { .. });
                        assert!(is_gentle, "{what}: {error}");
                        assert_eq!(error.is_retryable(), passes, "{what}: {error}");
                        assert!(state(&db) == before, "{what}: {error}");
                        met.insert((step, call, file, name));
                    }
                    rules.relent();
                    if db.is_closed() {
                        assert!(after_kill(&world) == before, "{what}");
                        continue;
                    }
                    db.put(run(1), "then", 1).unwrap_or_else(|e| panic!("{what}, then: {e}"));
                    let shown = state(&db);
                    step.run(&db).unwrap_or_else(|e| panic!("{what}, then: {e}"));
                    let shown = if db.is_closed() { shown } else { state(&db) };
                    if !db.is_closed() {
                        db.flush().unwrap();
                    }
                    assert!(after_kill(&world) == shown, "{what}");
                }
            }
        }
    }
    for step in [Step::SessionBegin, Step::Rotation, Step::Close] {
        for (call, file) in CALLS.into_iter().chain([("rename", ".tmp")]) {
            // Only a rotation makes a segment, and it makes no manifest: it appends an edit.
            if (file == ".log") != (step == Step::Rotation) {
                continue;
            }
            let is_met = met.iter().any(|(met, by, of, _)| (*met, *by, *of) == (step, call, file));
            assert!(is_met, "{step:?} never met a refused {call} of {file}");
        }
    }
}

/// Neither the names of what was tried nor the files pile up.
#[test]
fn what_a_hundred_refused_tries_leave_is_gone_when_one_succeeds() {
    for (call, file) in
        [("create", ".tmp"), ("create", ".log"), ("link", ".tmp"), ("rename", ".tmp")]
    {
        let step = if file == ".log" { Step::Rotation } else { Step::SessionBegin };
        let (world, rules, db) = step.prepared(MODES[0]);
        rules.refuse_code(call, file, 28);
        for _ in 0..100 {
            step.run(&db).unwrap_err();
        }
        assert!(rules.relent() >= 100, "{call}");
        Step::Rotation.run(&db).unwrap();
        while db.maintain().unwrap().left > 0 {}
        let files = image(&*world.vfs, DIR);
        assert_eq!(files.len(), segments(&files).len() + 2, "{call}: {:?}", files.keys());
    }
}

/// Some file systems find out that they are full, or over their quota, only at a sync.
#[test]
fn c06_an_opening_whose_sync_meets_a_full_disk_says_so_and_the_next_one_opens() {
    for code in [28, 122] {
        for (call, file) in [("sync", ".log"), ("sync", ".tmp"), ("sync_dir", "")] {
            let (world, _, db) = Step::Rotation.prepared(MODES[0]);
            let shown = state(&db);
            let (world, rules) = refusing(memory_of(&image(&*world.vfs, DIR)));
            rules.refuse_code(call, file, code);
            let error = world.try_open().unwrap_err();
            assert!(rules.relent() > 0, "{call} of {file}");
            assert!(matches!(error, Error::DiskFull { .. }), "{call} of {file}: {error}");
            assert!(error.is_retryable() && error.to_string().contains("syncing"), "{error}");
            let advice = if code == 28 { "free space" } else { "quota" };
            assert!(error.to_string().contains(advice), "{error}");
            assert_eq!(state(&world.open()), shown);
        }
    }
}

#[test]
fn c06_a_sync_that_a_full_disk_fails_poisons_and_the_message_says_that_it_was_full() {
    let (world, rules, db) = Step::Rotation.prepared(MODES[0]);
    let shown = state(&db);
    rules.refuse("sync", ".log", io::ErrorKind::StorageFull);
    let error = db.put(run(1), "k", 1).unwrap_err();
    assert!(matches!(error, Error::OutcomeUnknown { .. }), "{error}");
    assert!(error.to_string().contains("disk was full"), "{error}");
    rules.relent();
    let error = db.put(run(1), "k", 1).unwrap_err();
    assert!(matches!(error, Error::Poisoned { .. }) && !error.is_retryable(), "{error}");
    assert!(error.to_string().contains("disk was full"), "{error}");
    assert_eq!(state(&db), shown);
    drop(db);
    assert_eq!(world.open().get(run(1), "kept").unwrap(), Some(vec![1; 300].into()));
}

const FEW_FILES: &str = "RUNSTONE_TEST_HAS_FEW_FILES";

/// In a process of its own, whose limit is low.
#[test]
#[allow(clippy::disallowed_types)] // descriptors, as another part of the program takes them
fn c06_a_real_lack_of_descriptors_is_told_as_such_and_passes() {
    if std::env::var_os(FEW_FILES).is_none() {
        let name = "c06_a_real_lack_of_descriptors_is_told_as_such_and_passes";
        let child = std::process::Command::new("sh")
            .args(["-c", "ulimit -n 64 && exec \"$0\" \"$@\""])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", name, "--test-threads=1"])
            .env(FEW_FILES, "1")
            .status();
        assert!(child.unwrap().success());
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let open = || {
        let builder = Database::builder().background_threads(0).segment_bytes(600);
        builder.open(dir.path().join("store")).unwrap()
    };
    open().close().unwrap();
    for step in [Step::SessionBegin, Step::Rotation, Step::Close] {
        let db = open();
        let owner = run(step as u8 + 1);
        if step != Step::SessionBegin {
            db.begin_run(owner, NO_TAGS).unwrap();
            db.put(owner, "kept", vec![1; 300]).unwrap();
        }
        let tried = || match step {
            Step::SessionBegin => db.begin_run(owner, NO_TAGS).map(|_| ()),
            Step::Rotation => db.put(owner, "k", vec![2; 300]).map(|_| ()),
            Step::Flush | Step::Close => db.close(),
        };
        let before = state(&db);
        let taken: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
        for _ in 0..3 {
            let error = tried().expect_err(&format!("{step:?} with {} files", taken.len()));
            assert!(matches!(error, Error::Io { .. }) && error.is_retryable(), "{step:?}: {error}");
            assert!(error.to_string().contains("ulimit -n"), "{step:?}: {error}");
            assert_eq!(state(&db), before);
        }
        drop(taken);
        tried().unwrap();
        let shown = if db.is_closed() { before } else { state(&db) };
        drop(db);
        assert_eq!(state(&open()), shown, "{step:?}");
    }
}

/// A disk that needs room to make a file shorter: whichever step needs the cut, it waits.
#[test]
fn c06_a_rotation_and_a_close_whose_cut_finds_no_room_are_tried_again() {
    for step in [Step::Rotation, Step::Close] {
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
            let (world, rules) = refusing(MemVfs::new());
            let world = world.with(|options| {
                options.segment_bytes = 600;
                options.preallocate_bytes = 512;
                options.preallocation = Preallocation::Zeros;
            });
            let db = world.open();
            db.begin_run(run(1), NO_TAGS).unwrap();
            db.put(run(1), "kept", vec![1; 300]).unwrap();
            let before = state(&db);
            rules.refuse("set_len", ".log", kind);
            for _ in 0..2 {
                let error = step.run(&db).unwrap_err();
                assert!(matches!(error, Error::DiskFull { .. }), "{step:?}: {error}");
                assert_eq!(state(&db), before);
            }
            assert_eq!(rules.relent(), 2);
            step.run(&db).unwrap();
            let shown = if db.is_closed() { before } else { state(&db) };
            assert_eq!(after_kill(&world), shown);
        }
    }
}
