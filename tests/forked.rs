//! A process that has a store open forks: the child has a copy of every handle, and no right to
//! the store.
//!
//! Every call in the child answers so and none of them waits; what it does, drops of handles among
//! it, changes neither the files nor the lock; and the parent goes on as if there were no child.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that fails says so
#![allow(clippy::disallowed_methods)] // tests fork, and wait for what they forked

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::child::{CHILD_TIME, alone, in_child};
use common::{NO_TAGS, run, state};
use runstone::{
    Database, DurabilityMode, Error, Key, Namespace, RunFilter, RunStatus, WriteBatch, WriteOptions,
};

const DIR_VAR: &str = "RUNSTONE_TEST_FORKED_DIR";

/// Every file with its bytes.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let read = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.unwrap();
        (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
    };
    fs::read_dir(dir).unwrap().map(read).collect()
}

/// Whether no file came, went or lost a byte, and what came stands where there were zeros.
fn is_continued(before: &BTreeMap<String, Vec<u8>>, after: &BTreeMap<String, Vec<u8>>) -> bool {
    let ends = |bytes: &[u8]| bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    before.keys().eq(after.keys())
        && before.iter().all(|(name, bytes)| {
            let (end, now) = (ends(bytes), &after[name]);
            now.len() >= bytes.len() && now[..end] == bytes[..end]
        })
}

fn is_locked(dir: &Path) -> bool {
    matches!(Database::open(dir), Err(Error::Locked { .. }))
}

fn told<T: std::fmt::Debug>(call: &str, outcome: Result<T, Error>) -> String {
    match outcome {
        Err(Error::Forked) => String::new(),
        other => format!("{call} answers {other:?}\n"),
    }
}

fn batch() -> WriteBatch {
    let mut batch = WriteBatch::new();
    batch.put(run(1), "of a batch", 1);
    batch
}

/// What has no error to answer with answers as an empty store does.
fn figures(db: &Database) -> String {
    let (store, runs) = (db.storage(), db.run_tracker());
    let counts = [store.key_count(), store.superseded_key_count()];
    let found = (runs.get_active(&run(1)), runs.count(), runs.count_of(RunStatus::Running));
    let active = (runs.is_active(&run(1)), runs.active_count(), runs.list_active().len());
    let is_empty = counts == [0; 2]
        && store.memory_bytes() == 0
        && found == (None, 0, 0)
        && active == (false, 0, 0)
        && store.version() > 0;
    if is_empty { String::new() } else { format!("figures: {counts:?} {found:?} {active:?}\n") }
}

/// Whatever does not answer that it was forked.
fn use_as_a_child(db: &Database) -> String {
    let key = Key::new_kv(Namespace::default_for(run(1)), "1");
    let (scan, snapshot) = (db.scan_prefix(run(1), "").map(|_| ()), db.snapshot().map(|_| ()));
    [
        told("put", db.put(run(1), "k", 1)),
        told("delete", db.delete(run(1), "k")),
        told("write", db.write(batch())),
        told("begin_run", db.begin_run(run(9), NO_TAGS)),
        told("end_run", db.end_run(run(1))),
        told("submit", db.submit(batch(), WriteOptions::default())),
        told("get", db.get(run(1), "k")),
        told("list", db.list(run(1), "")),
        told("get_run", db.get_run(run(1))),
        told("storage.get", db.storage().get(&key)),
        figures(db),
        told("scan_prefix", scan),
        told("snapshot", snapshot),
        told("tick", db.tick()),
        told("maintain", db.maintain()),
        told("flush", db.flush()),
        told("close", db.close()),
    ]
    .concat()
}

#[test]
fn every_call_in_a_child_answers_so_and_its_drops_change_neither_the_files_nor_the_lock() {
    let _alone = alone();
    for (name, mode) in [
        ("strict", DurabilityMode::Strict),
        ("batched", DurabilityMode::Batched { interval_ms: 3_600_000, batch_size: 1000 }),
    ] {
        for background in [0, 1, 2, 3] {
            let store = tempfile::tempdir().unwrap();
            let dir = store.path();
            let open =
                || Database::builder().durability(mode).background_threads(background).open(dir);
            let db = open().unwrap();
            db.begin_run(run(1), NO_TAGS).unwrap();
            for n in 0..10i64 {
                db.put(run(1), format!("{n}"), n).unwrap();
            }
            db.flush().unwrap();
            db.put(run(1), "behind the flush", 1).unwrap();
            let ticket = db.submit(batch(), WriteOptions::default()).unwrap();
            let (snapshot, scan) = (db.snapshot().unwrap(), db.scan_prefix(run(1), "").unwrap());
            let mut listing = db.runs(RunFilter::default()).unwrap();
            let (store, tracker) = (db.storage().clone(), db.run_tracker().clone());
            // The background thread may commit what was submitted; then it is quiet.
            let committed = db.flush();
            let before = files(dir);
            let mut handles = Some((db.clone(), ticket, snapshot, scan));
            let said = in_child(|| {
                let (db, ticket, snapshot, mut scan) = handles.take().unwrap();
                let mut said = use_as_a_child(&db);
                said += &told("poll", ticket.poll().unwrap_or(Err(Error::Closed)));
                said += &told("wait", ticket.wait());
                said += &told("a snapshot's get", snapshot.get(run(1), "1"));
                said += &told("a scan", scan.next().unwrap_or(Err(Error::Closed)));
                said += &told("a listing", listing.next().unwrap_or(Err(Error::Closed)));
                let (keys, runs) = (store.key_count(), tracker.count());
                said += if keys > 0 || runs > 0 { "clones of before show something\n" } else { "" };
                drop((scan, snapshot));
                drop(db);
                said + "done"
            });
            assert_eq!(said, "done", "{name}, background {background}");
            committed.unwrap();
            let after = files(dir);
            // The parent's own thread may meanwhile append what attests an idle log.
            let is_same =
                if background > 0 { is_continued(&before, &after) } else { after == before };
            assert!(is_same, "a file was changed");
            assert!(is_locked(dir), "the parent's lock was given up");

            let (_, ticket, snapshot, scan) = handles.unwrap();
            ticket.wait().unwrap();
            assert_eq!(snapshot.get(run(1), "1").unwrap(), Some(1.into()));
            assert!(scan.count() >= 11, "what was submitted may be there");
            drop(snapshot);
            db.put(run(1), "behind the child", 1).unwrap();
            let expected = state(&db);
            db.close().unwrap();
            assert_eq!(state(&open().unwrap()), expected);
        }
    }
}

/// The last handle of the child: what a real one drops.
#[test]
fn a_child_that_drops_its_last_handle_neither_closes_the_store_nor_waits_for_a_thread() {
    let _alone = alone();
    let store = tempfile::tempdir().unwrap();
    let db = Database::open(store.path()).unwrap();
    db.begin_run(run(1), NO_TAGS).unwrap();
    let before = files(store.path());
    let mut db = Some(db);
    let said = in_child(|| {
        drop(db.take());
        "done".to_owned()
    });
    assert_eq!(said, "done");
    assert!(files(store.path()) == before, "a file was changed");
    assert!(is_locked(store.path()));
    db.take().unwrap().close().unwrap();
    Database::open(store.path()).unwrap();
}

/// At the fork any lock in memory may be held by a thread that the child does not have.
#[test]
fn a_child_that_was_forked_amid_the_work_of_other_threads_does_not_wait_for_them() {
    let _alone = alone();
    let store = tempfile::tempdir().unwrap();
    let mode = DurabilityMode::Batched { interval_ms: 1, batch_size: 20 };
    let db = Database::builder().durability(mode).segment_bytes(4096).open(store.path()).unwrap();
    db.begin_run(run(1), NO_TAGS).unwrap();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..2u32 {
            let (db, is_over) = (&db, &is_over);
            scope.spawn(move || {
                let mut n = 0i64;
                while !is_over.load(Ordering::Relaxed) {
                    db.put(run(1), format!("{thread} {}", n % 50), n).unwrap();
                    let snapshot = db.snapshot().unwrap();
                    assert!(snapshot.get(run(1), format!("{thread} 0")).unwrap().is_some());
                    n += 1;
                }
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    drop(db.snapshot().unwrap());
                }
            });
        }
        let forked = catch_unwind(AssertUnwindSafe(|| {
            for round in 0..100 {
                let handles = (db.clone(), db.snapshot().unwrap());
                let mut handles = Some((handles, db.scan_prefix(run(1), "").unwrap()));
                let said = in_child(|| {
                    let said = use_as_a_child(&db);
                    drop(handles.take());
                    said + "done"
                });
                assert_eq!(said, "done", "round {round}");
            }
        }));
        is_over.store(true, Ordering::Relaxed);
        forked.unwrap();
    });
    let expected = state(&db);
    db.close().unwrap();
    assert_eq!(state(&Database::open(store.path()).unwrap()), expected);
}

/// Not a test of its own: the process of the next test.
#[test]
fn parent_that_forks_and_puts_until_it_is_killed() {
    let Ok(dir) = std::env::var(DIR_VAR) else { return };
    let db = Database::builder().segment_bytes(4096).open(dir).unwrap();
    db.begin_run(run(1), NO_TAGS).unwrap();
    let mut out = std::io::stdout().lock();
    let mut db = Some(db);
    for n in 1..i64::MAX {
        if n % 20 == 5 {
            let said = in_child(|| {
                drop(db.take());
                "done".to_owned()
            });
            assert_eq!(said, "done");
        }
        db.as_ref().unwrap().put(run(1), format!("{n:08}"), n).unwrap();
        writeln!(out, "\nacknowledged {n}").unwrap();
        out.flush().unwrap();
    }
}

#[test]
fn what_a_parent_puts_behind_its_children_survives_its_kill() {
    let _alone = alone();
    let store = tempfile::tempdir().unwrap();
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "parent_that_forks_and_puts_until_it_is_killed", "--nocapture"])
        .env(DIR_VAR, store.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(parent.stdout.take().unwrap());
    let mut last = 0;
    let mut note = |line: &str| {
        let n = line.trim().strip_prefix("acknowledged ").and_then(|n| n.parse::<usize>().ok());
        last = n.unwrap_or(last);
        last
    };
    let mut line = String::new();
    loop {
        line.clear();
        assert!(out.read_line(&mut line).unwrap() > 0, "the parent goes on");
        if note(&line) >= 90 {
            break;
        }
    }
    assert!(is_locked(store.path()), "the parent lives");
    parent.kill().unwrap();
    parent.wait().unwrap();
    for line in out.lines().map_while(Result::ok) {
        note(&line);
    }
    let last = note("");
    // A child of the parent's may live a moment longer, and holds the lock until it ends.
    let until = Instant::now() + CHILD_TIME;
    while is_locked(store.path()) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(10));
    }
    let db = Database::open(store.path()).unwrap();
    let found = db.list(run(1), "").unwrap();
    assert!(found.len() >= last, "{last} were acknowledged, {} are left", found.len());
    for (n, (key, value)) in (1i64..).zip(found) {
        assert_eq!((key, value), (format!("{n:08}").into_bytes(), n.into()));
    }
}
