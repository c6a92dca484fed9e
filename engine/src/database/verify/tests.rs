//! A moment that does not fit what the files say is told, each kind of misfit by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use runstone_vfs::MemVfs;

use super::*;
use crate::clock::Clock;
use crate::options::Options;
use crate::removals::Removals;
use crate::runs::saved::Census;
use crate::store::layers::Below;
use crate::types::{RunId, RunStatus};

fn run(n: u8) -> RunId {
    RunId::from_bytes([n; 16])
}

/// A store with two levels that share keys, runs of every status, a removal, and a log with more.
fn store() -> Database {
    let options = Options { background_threads: 0, flush_bytes: 1, ..Options::default() };
    let vfs = Arc::new(MemVfs::new());
    let db = Database::builder().options(options).vfs(vfs).open("/db").unwrap();
    for n in 1..=5 {
        db.begin_run(run(n), [("kind", "test")]).unwrap();
        db.put(run(n), "shared", 1).unwrap();
    }
    db.end_run(run(1)).unwrap();
    db.end_run_with(run(2), RunStatus::Failed).unwrap();
    db.end_run(run(3)).unwrap();
    db.remove_range(run(4), "a".."b").unwrap();
    db.maintain().unwrap();
    let snapshot = db.snapshot().unwrap();
    db.put(run(4), "shared", 2).unwrap();
    db.drop_run(run(3)).unwrap();
    db.maintain().unwrap();
    drop(snapshot);
    db.put(run(5), "in the log", 3).unwrap();
    db
}

/// What is told of the present, when it has been made to differ from what is there.
fn told(db: &Database, change: impl FnOnce(&mut View)) -> Vec<String> {
    let pipeline = db.core.pipeline.as_ref().unwrap();
    let mut view = db.view_of_writer(pipeline).unwrap();
    change(&mut view);
    let mut told = Vec::new();
    verify(&view, &db.core.place, &**pipeline, |error| told.push(error.to_string())).unwrap();
    told
}

fn is_told(db: &Database, of: &str, change: impl FnOnce(&mut View)) {
    let told = told(db, change);
    assert!(told.iter().any(|what| what.contains(of)), "{of}: {told:#?}");
}

#[test]
fn a_store_that_is_sound_has_nothing_told_of_it_at_any_moment() {
    let db = store();
    assert_eq!(told(&db, |_| {}), [""; 0]);
    assert!(db.core.store.below().levels.0.len() > 1, "one above the other");
    while db.maintain().unwrap().left > 0 {
        assert_eq!(told(&db, |_| {}), [""; 0]);
    }
    assert_eq!(told(&db, |_| {}), [""; 0]);
}

#[test]
fn a_manifest_that_says_something_else_than_is_in_force_is_told() {
    let db = store();
    is_told(&db, "epoch", |view| view.manifest.epoch += 1);
    is_told(&db, "clean close", |view| view.manifest.clean = true);
    is_told(&db, "next number", |view| view.manifest.next_file -= 1);
    is_told(&db, "flushed time", |view| view.manifest.flushed.time_ms += 1);
    is_told(&db, "log file", |view| view.manifest.segments[0].attested.at += 8);
    is_told(&db, "level 0", |view| view.manifest.levels[0].tier += 1);
    is_told(&db, "level 0", |view| view.manifest.levels[0].tables[0].checksum ^= 1);
}

#[test]
fn a_log_that_does_not_end_where_its_writer_has_written_is_told() {
    let db = store();
    let end = |change: fn(&mut LogEnd)| move |view: &mut View| view.log.iter_mut().for_each(change);
    is_told(&db, "of checksum", end(|end| end.at.link ^= 1));
    is_told(&db, "ends with version", end(|end| end.version = end.version.map(|v| v + 1)));
    is_told(&db, "intact record", end(|end| end.at.at -= 8));
    is_told(&db, "attests what was synced", end(|end| end.synced = Some(1)));
    is_told(&db, "a record of version", |view| view.manifest.flushed.version -= 1);
}

#[test]
fn a_segment_that_a_flush_has_made_superfluous_is_no_violation_if_it_is_gone() {
    let db = store();
    // The view keeps versions from being freed, so that something is left for ever.
    let flush = |_: &mut View| (0..100).for_each(|_| assert!(db.maintain().is_ok()));
    assert_eq!(told(&db, flush), [""; 0]);
}

#[test]
fn levels_in_another_order_and_versions_beyond_the_flushed_one_are_told() {
    let db = store();
    is_told(&db, "older than a higher level", |view| {
        let mut below = Below::clone(&view.below);
        below.levels.0.reverse();
        view.below = Arc::new(below);
    });
    is_told(&db, "as flushed", |view| view.manifest.flushed.version -= 1);
}

#[test]
fn counts_active_runs_and_removals_that_differ_from_the_records_are_told() {
    let db = store();
    is_told(&db, "runs of status failed in the memory", |view| {
        view.census.counts.note(Some(RunStatus::Failed), RunStatus::Completed);
    });
    is_told(&db, "among the active ones", |view| view.census.active.truncate(1));
    is_told(&db, "1 keys of 32 bytes", |view| {
        for (_, activity) in &mut view.census.active {
            activity.tally.puts -= 1;
        }
    });
    is_told(&db, "active runs in memory", |view| view.census = Census::default());
    is_told(&db, "removal", |view| view.removals = Arc::new(Removals::default()));
}

/// A clock that is set by hand.
#[derive(Debug, Default)]
struct Hand(AtomicU64);

impl Clock for Hand {
    fn wall_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.wall_ms())
    }
}

#[test]
fn a_walk_shows_nobody_that_a_key_has_expired() {
    let clock = Arc::new(Hand::default());
    let options = Options { background_threads: 0, ..Options::default() };
    let vfs = Arc::new(MemVfs::new());
    let builder = Database::builder().options(options).vfs(vfs).clock(Arc::<Hand>::clone(&clock));
    let db = builder.open("/db").unwrap();
    db.begin_run(run(1), [("kind", "test")]).unwrap();
    db.put_with_ttl(run(1), "brief", 1, Some(Duration::from_secs(1))).unwrap();
    clock.0.store(5000, Ordering::SeqCst);
    assert_eq!((told(&db, |_| {}), db.core.store.shown_ms()), (Vec::new(), 0));
    assert_eq!(db.get(run(1), "brief").unwrap(), None);
    assert!(db.core.store.shown_ms() > 0, "a reader was told");
}
