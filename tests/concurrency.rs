//! Threads: order, atomicity, groups, and who waits for whom.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that fails says so
#![allow(clippy::disallowed_methods)] // tests start threads and wait for them

mod common;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::spy::{Spy, SpyVfs};
use common::{DIR, MODES, NO_TAGS, World, image, memory_of, run, state};
use runstone::vfs::MemVfs;
use runstone::{Database, DurabilityMode, Error, Level, WriteBatch, WriteOptions};

fn watched(mode: DurabilityMode) -> (World, std::sync::Arc<Spy>) {
    let (vfs, spy) = SpyVfs::new(MemVfs::new());
    (World::new(vfs).mode(mode), spy)
}

/// Eight threads over four runs, keys that collide, deletes, batches and ended runs.
fn hammer(db: &Database, per_thread: i64) -> BTreeSet<u64> {
    for n in 0..4 {
        db.begin_run(run(n), NO_TAGS).unwrap();
    }
    let versions = thread::scope(|scope| {
        let threads: Vec<_> = (0..8i64)
            .map(|t| {
                let db = db.clone();
                scope.spawn(move || {
                    let mut versions = vec![];
                    for n in 0..per_thread {
                        let owner = run(u8::try_from((t + n) % 4).unwrap());
                        let key = format!("{}", n % 13);
                        versions.push(match n % 5 {
                            0 => db.remove(owner, &key).unwrap(),
                            1 => {
                                let mut batch = WriteBatch::new();
                                for n in 0..4 {
                                    batch.put(run(n), &key, t);
                                }
                                db.write(batch).unwrap()
                            }
                            2 => {
                                let mut batch = WriteBatch::new();
                                batch.put(owner, &key, n);
                                let level = Some([Level::Strict, Level::Async][(n % 2) as usize]);
                                db.submit(batch, WriteOptions { durability: level })
                                    .unwrap()
                                    .wait()
                                    .unwrap()
                                    .version
                            }
                            _ => db.put(owner, &key, t * 1000 + n).unwrap(),
                        });
                    }
                    assert!(versions.is_sorted(), "one thread's commits are in its order");
                    versions
                })
            })
            .collect();
        threads.into_iter().flat_map(|t| t.join().unwrap()).collect::<Vec<_>>()
    });
    let unique: BTreeSet<_> = versions.iter().copied().collect();
    assert_eq!(unique.len(), versions.len(), "no version twice");
    unique
}

#[test]
fn t02_what_is_recovered_equals_what_was_live_whatever_the_threads_did() {
    for mode in MODES {
        for _ in 0..3 {
            let world = World::memory().mode(mode).with(|options| options.segment_bytes = 4 << 10);
            let db = world.open();
            let versions = hammer(&db, 60);
            assert_eq!(versions, (5..=484).collect(), "dense");
            db.flush().unwrap();
            let live = state(&db);
            // Killed after the flush, and closed.
            let killed = world.on_disk(memory_of(&image(&*world.vfs, DIR)));
            assert_eq!(state(&killed.open()), live, "{mode:?}");
            db.close().unwrap();
            assert_eq!(state(&world.open()), live, "{mode:?}");
        }
    }
}

#[test]
fn t33_readers_never_see_half_a_batch() {
    let db = Database::in_memory().unwrap();
    db.begin_run(run(1), NO_TAGS).unwrap();
    db.begin_run(run(2), NO_TAGS).unwrap();
    let write = |n: i64| {
        let mut batch = WriteBatch::new();
        for key in ["a", "m", "z"] {
            batch.put(run(1), key, n).put(run(2), key, n);
        }
        db.write(batch).unwrap();
    };
    write(0);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let snapshot = db.snapshot().unwrap();
                    let mut both = snapshot.list(run(1), "").unwrap();
                    both.extend(snapshot.list(run(2), "").unwrap());
                    assert_eq!(both.len(), 6);
                    assert!(both.iter().all(|(_, value)| *value == both[0].1), "{both:?}");
                    let scanned = db.list(run(1), "").unwrap();
                    assert!(scanned.iter().all(|(_, value)| *value == scanned[0].1));
                }
            });
        }
        for n in 1..2_000 {
            write(n);
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn readers_do_not_wait_for_a_sync_and_do_not_see_what_it_has_not_covered() {
    let (world, spy) = watched(DurabilityMode::Strict);
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    db.put(run(1), "k", 1).unwrap();
    spy.hold();
    thread::scope(|scope| {
        let put = scope.spawn(|| db.put(run(1), "k", 2));
        spy.wait_until_held();
        assert_eq!(db.get(run(1), "k").unwrap(), Some(1.into()));
        assert_eq!(db.list(run(1), "").unwrap().len(), 1);
        assert_eq!(db.snapshot().unwrap().get(run(1), "k").unwrap(), Some(1.into()));
        assert_eq!(db.storage().version(), 2);
        assert_eq!(db.active_run_count().unwrap(), 1);
        assert!(!put.is_finished(), "it is acknowledged after the sync only");
        spy.release();
        assert_eq!(put.join().unwrap().unwrap(), 3);
    });
    assert_eq!(db.get(run(1), "k").unwrap(), Some(2.into()));
}

#[test]
fn commits_go_on_while_a_background_sync_runs() {
    let mode = DurabilityMode::Batched { interval_ms: 10, batch_size: 1_000 };
    let (world, spy) = watched(mode);
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    world.clock.advance(10);
    spy.hold();
    thread::scope(|scope| {
        let ticker = scope.spawn(|| db.tick());
        spy.wait_until_held();
        for n in 0..100i64 {
            db.put(run(1), "k", n).unwrap();
        }
        assert!(!ticker.is_finished());
        spy.release();
        ticker.join().unwrap().unwrap();
    });
    assert_eq!(db.get(run(1), "k").unwrap(), Some(99.into()));
}

#[test]
fn close_waits_for_running_commits_and_later_calls_are_refused() {
    let (world, spy) = watched(DurabilityMode::Strict);
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    spy.hold();
    thread::scope(|scope| {
        let put = scope.spawn(|| db.put(run(1), "k", 1));
        spy.wait_until_held();
        let closer = scope.spawn(|| db.close());
        thread::sleep(Duration::from_millis(20));
        assert!(!closer.is_finished() && !put.is_finished());
        spy.release();
        assert_eq!(put.join().unwrap().unwrap(), 2);
        closer.join().unwrap().unwrap();
    });
    assert!(matches!(db.put(run(1), "k", 2), Err(Error::Closed)));
    let db = world.open();
    assert!(db.recovery_report().clean);
    assert_eq!(db.get(run(1), "k").unwrap(), Some(1.into()));
}

#[test]
fn closing_under_fire_loses_nothing_that_was_acknowledged() {
    for round in 0..20 {
        let world = World::memory().mode(MODES[round % 3]);
        let db = world.open();
        db.begin_run(run(1), NO_TAGS).unwrap();
        let acknowledged: Vec<String> = thread::scope(|scope| {
            let writers: Vec<_> = (0..4)
                .map(|t| {
                    let db = db.clone();
                    scope.spawn(move || {
                        let mut mine = vec![];
                        for n in 0.. {
                            let key = format!("{t}/{n}");
                            match db.put(run(1), &key, n) {
                                Ok(_) => mine.push(key),
                                Err(Error::Closed) => break,
                                Err(other) => panic!("{other}"),
                            }
                        }
                        mine
                    })
                })
                .collect();
            thread::sleep(Duration::from_millis(1));
            db.close().unwrap();
            writers.into_iter().flat_map(|w| w.join().unwrap()).collect()
        });
        let db = world.open();
        assert!(db.recovery_report().clean);
        assert_eq!(db.list(run(1), "").unwrap().len(), acknowledged.len());
        assert!(acknowledged.iter().all(|key| db.exists(run(1), key).unwrap()));
    }
}

/// A leader with its own request in hand, or with one that did not fit its group, may come to
/// the writer's lock after a close: nothing may be written then, the lock may be another's.
#[test]
fn nothing_is_written_after_a_close_however_late_a_leader_comes() {
    for round in 0..40 {
        let (world, spy) = watched(MODES[round % 3]);
        let world = world.with(|options| options.group_commits_max = 1);
        let db = world.open();
        db.begin_run(run(1), NO_TAGS).unwrap();
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            for t in 0..6 {
                let (db, stop) = (db.clone(), &stop);
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        match db.put(run(1), format!("{t}"), t) {
                            Ok(_) | Err(Error::Closed) => {}
                            Err(other) => panic!("{other}"),
                        }
                    }
                });
            }
            thread::sleep(Duration::from_micros(300));
            db.close().unwrap();
            let writes = spy.log_writes();
            thread::sleep(Duration::from_micros(300));
            assert_eq!(spy.log_writes(), writes, "round {round}");
            stop.store(true, Ordering::Relaxed);
        });
        assert!(world.open().recovery_report().clean, "round {round}");
    }
}

#[test]
fn t11_a_strict_put_of_one_thread_is_one_write_and_one_sync() {
    let (world, spy) = watched(DurabilityMode::Strict);
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    let (writes, syncs) = (spy.log_writes(), spy.log_syncs());
    for n in 0..100i64 {
        db.put(run(1), "k", n).unwrap();
    }
    assert_eq!((spy.log_writes() - writes, spy.log_syncs() - syncs), (100, 100));
}

#[test]
fn a_group_of_submitted_commits_shares_one_write_and_one_sync() {
    let (world, spy) = watched(DurabilityMode::Strict);
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    let (writes, syncs) = (spy.log_writes(), spy.log_syncs());
    let tickets: Vec<_> = (0..50i64)
        .map(|n| {
            let mut batch = WriteBatch::new();
            batch.put(run(1), format!("{n}"), n);
            db.submit(batch, WriteOptions::default()).unwrap()
        })
        .collect();
    assert!(tickets[0].poll().is_none(), "nothing happens before a step");
    assert_eq!(db.step().unwrap(), 50);
    for (n, ticket) in (2..).zip(tickets) {
        assert_eq!(ticket.wait().unwrap().version, n);
    }
    assert_eq!((spy.log_writes() - writes, spy.log_syncs() - syncs), (1, 1));
    assert_eq!(db.step().unwrap(), 0);
}

#[test]
fn threads_that_wait_for_a_sync_are_committed_as_one_group_by_the_next() {
    let (world, spy) = watched(DurabilityMode::Strict);
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    let before = spy.log_syncs();
    for round in 0..10 {
        spy.hold();
        thread::scope(|scope| {
            let leader = scope.spawn(|| db.put(run(1), "leader", round).unwrap());
            spy.wait_until_held();
            let followers: Vec<_> = (0..7)
                .map(|t| {
                    let db = &db;
                    scope.spawn(move || db.put(run(1), format!("{t}"), round).unwrap())
                })
                .collect();
            thread::sleep(Duration::from_millis(10));
            spy.release();
            let first = leader.join().unwrap();
            assert!(followers.into_iter().all(|f| f.join().unwrap() > first));
        });
    }
    let (commits, syncs) = (80, spy.log_syncs() - before);
    assert!(syncs * 2 <= commits, "{syncs} syncs for {commits} commits");
}

#[test]
fn eight_threads_need_far_fewer_syncs_than_commits_on_the_real_disk() {
    let dir = tempfile::tempdir().unwrap();
    let (vfs, spy) = SpyVfs::new(runstone::vfs::OsVfs::new());
    let db = Database::builder().vfs(std::sync::Arc::new(vfs)).open(dir.path()).unwrap();
    db.begin_run(run(1), NO_TAGS).unwrap();
    spy.slow_down(Duration::from_millis(1));
    let before = spy.log_syncs();
    thread::scope(|scope| {
        for t in 0..8 {
            let db = &db;
            scope.spawn(move || {
                for n in 0..40i64 {
                    db.put(run(1), format!("{t}/{n}"), n).unwrap();
                }
            });
        }
    });
    let syncs = spy.log_syncs() - before;
    assert!(syncs < 320 * 2 / 3, "{syncs} syncs for 320 commits");
}

#[test]
fn t25_batched_syncs_by_the_batch_and_never_leaves_more_than_two_batches_unsynced() {
    let mode = DurabilityMode::Batched { interval_ms: 3_600_000, batch_size: 100 };
    let (world, spy) = watched(mode);
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    let before = spy.log_syncs();
    for n in 0..1_000i64 {
        db.put(run(1), "k", n).unwrap();
    }
    let alone = spy.log_syncs() - before;
    assert!((4..=5).contains(&alone), "{alone} syncs without a tick");
    let before = spy.log_syncs();
    for n in 0..1_000i64 {
        db.put(run(1), "k", n).unwrap();
        db.tick().unwrap();
    }
    let ticked = spy.log_syncs() - before;
    assert!((9..=11).contains(&ticked), "{ticked} syncs with a tick");
    // A group is cut to fit, too.
    let tickets: Vec<_> = (0..1_000i64)
        .map(|n| {
            let mut batch = WriteBatch::new();
            batch.put(run(1), "k", n);
            db.submit(batch, WriteOptions::default()).unwrap()
        })
        .collect();
    assert!(db.step().unwrap() <= 200);
    for ticket in tickets {
        ticket.wait().unwrap();
    }
}

#[test]
fn t04_a_batched_database_left_alone_syncs_by_its_timer() {
    for mode in [
        DurabilityMode::Batched { interval_ms: 20, batch_size: 1_000_000 },
        DurabilityMode::Async { interval_ms: 20 },
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (vfs, spy) = SpyVfs::new(runstone::vfs::OsVfs::new());
        let vfs = std::sync::Arc::new(vfs);
        let db = Database::builder().durability(mode).vfs(vfs).open(dir.path()).unwrap();
        db.begin_run(run(1), NO_TAGS).unwrap();
        for n in 0..20i64 {
            db.put(run(1), format!("{n}"), n).unwrap();
        }
        let before = spy.log_syncs();
        let start = Instant::now();
        while spy.log_syncs() == before {
            assert!(start.elapsed() < Duration::from_secs(20), "{mode:?}: no sync came");
            thread::sleep(Duration::from_millis(2));
        }
        // What the disk has now is all of it.
        let copy = memory_of(&image(&runstone::vfs::OsVfs::new(), dir.path()));
        let recovered = World::new(copy).open();
        assert_eq!(recovered.list(run(1), "").unwrap().len(), 20, "{mode:?}");
    }
}

#[test]
fn t18_every_kind_of_call_at_once_ends() {
    let world = World::memory().mode(MODES[1]);
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let (db, done) = (&db, &done);
        let until_done = |work: &dyn Fn()| {
            while !done.load(Ordering::Relaxed) {
                work();
            }
        };
        scope.spawn(move || until_done(&|| assert!(db.list(run(1), "").unwrap().len() <= 10)));
        scope.spawn(move || {
            until_done(&|| {
                let snapshot = db.snapshot().unwrap();
                for item in snapshot.scan::<&str, _>(run(1), ..).unwrap().rev() {
                    item.unwrap();
                }
            });
        });
        scope.spawn(move || {
            until_done(&|| {
                db.maintain().unwrap();
                db.tick().unwrap();
                db.flush().unwrap();
            });
        });
        scope.spawn(move || until_done(&|| assert!(db.list_active_runs().unwrap().len() < 300)));
        let writers: Vec<_> = (0..3u8)
            .map(|t| {
                scope.spawn(move || {
                    for n in 0..80u8 {
                        let mut id = [t; 16];
                        id[15] = n;
                        id[0] = 0xee;
                        let own = runstone::RunId::from_bytes(id);
                        db.begin_run(own, NO_TAGS).unwrap();
                        for k in 0..10 {
                            let ttl = Some(Duration::from_millis(5));
                            db.put_with_ttl(run(1), format!("{k}"), i64::from(n), ttl).unwrap();
                        }
                        db.delete(run(1), "5").unwrap();
                        db.end_run(own).unwrap();
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(db.storage().version(), 1 + 3 * 80 * 13);
}
