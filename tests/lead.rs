//! The lead: it is never lost, whoever commits what waits.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that fails says so
#![allow(clippy::disallowed_methods)] // tests start threads and wait for them

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use common::{NO_TAGS, World, run};
use runstone::{WriteBatch, WriteOptions};

/// A step may answer a commit whose thread was just told to lead.
#[test]
fn threads_that_commit_are_not_left_waiting_when_steps_commit_for_them() {
    let db = World::memory().open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    let done = AtomicBool::new(false);
    let (told, told_all) = mpsc::channel();
    for t in 0..3u8 {
        let (db, told) = (db.clone(), told.clone());
        thread::spawn(move || {
            for n in 0..20_000i64 {
                db.put(run(1), [t], n).unwrap();
            }
            told.send(()).unwrap();
        });
    }
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                db.step().unwrap();
            }
        });
        for _ in 0..3 {
            let outcome = told_all.recv_timeout(Duration::from_secs(60));
            if outcome.is_err() {
                done.store(true, Ordering::Relaxed);
            }
            outcome.expect("a thread waits for ever");
        }
        done.store(true, Ordering::Relaxed);
    });
}

/// The same by `submit`, which commits itself when the queue is full.
#[test]
fn threads_that_commit_are_not_left_waiting_when_others_work_off_a_full_queue() {
    let db = World::memory().with(|options| options.queue_commits_max = 2).open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    let (told, told_all) = mpsc::channel();
    for t in 0..4u8 {
        let (db, told) = (db.clone(), told.clone());
        thread::spawn(move || {
            for n in 0..20_000i64 {
                if t < 2 {
                    db.put(run(1), [t], n).unwrap();
                } else {
                    let mut batch = WriteBatch::new();
                    batch.put(run(1), [t], n);
                    let ticket = db.submit(batch, WriteOptions::default()).unwrap();
                    drop(ticket);
                }
            }
            told.send(()).unwrap();
        });
    }
    for _ in 0..4 {
        told_all.recv_timeout(Duration::from_secs(60)).expect("a thread waits for ever");
    }
}
