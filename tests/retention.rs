//! Retention: which ended runs are dropped by policy, in which order, and how many at once.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that fails says so

mod common;

use common::{World, run};
use runstone::{Database, NO_TAGS, RetentionPolicy, RunFilter, RunId, RunStatus};

fn world(retention: RetentionPolicy) -> World {
    World::memory().with(|options| options.retention = retention)
}

fn keeps(ended_runs_max: u64) -> RetentionPolicy {
    RetentionPolicy { ended_runs_max, ..RetentionPolicy::default() }
}

fn kept(db: &Database) -> Vec<RunId> {
    let listed = db.runs(RunFilter::default()).unwrap().map(Result::unwrap);
    listed.filter(|entry| entry.status.is_end()).map(|entry| entry.run_id).collect()
}

fn settle(db: &Database) -> usize {
    let mut dropped = 0;
    loop {
        let report = db.maintain().unwrap();
        dropped += report.runs_dropped;
        if !report.more {
            return dropped;
        }
    }
}

/// Found by seed 604: a step went on behind the last run that was dropped, and another had ended in
/// the same millisecond, with a smaller id.
#[test]
fn runs_that_end_within_one_moment_are_all_dropped_whatever_their_ids() {
    let world = world(keeps(0));
    let db = world.open();
    for n in [9, 5, 7, 1, 3] {
        db.begin_run(run(n), NO_TAGS).unwrap();
        db.end_run(run(n)).unwrap();
        assert_eq!(settle(&db), 1, "run {n}");
    }
    assert_eq!(kept(&db), []);
}

#[test]
fn of_more_runs_than_may_be_kept_those_go_that_ended_first() {
    let world = world(keeps(2));
    let db = world.open();
    for n in 1..=5 {
        db.begin_run(run(n), NO_TAGS).unwrap();
    }
    for n in [4, 2, 5, 1] {
        world.clock.advance(1);
        db.end_run_with(run(n), RunStatus::Failed).unwrap();
    }
    assert_eq!(settle(&db), 2);
    assert_eq!(kept(&db), [run(1), run(5)], "in the order of their begins");
    assert_eq!(db.get_run(run(4)).unwrap().unwrap().status, RunStatus::Dropped);
    assert_eq!(db.list_active_runs().unwrap(), [run(3)], "an active run is never dropped");
    // What somebody drops is not counted.
    db.drop_run(run(5)).unwrap();
    db.end_run(run(3)).unwrap();
    assert_eq!(settle(&db), 0);
}

#[test]
fn a_run_is_dropped_when_its_end_is_as_old_as_it_may_be_and_not_before() {
    let policy = RetentionPolicy { ended_ms_max: 100, ..RetentionPolicy::default() };
    let world = world(policy);
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    world.clock.advance(1000);
    db.end_run(run(1)).unwrap();
    world.clock.advance(99);
    assert_eq!((settle(&db), kept(&db).len()), (0, 1));
    world.clock.advance(1);
    let snapshot = db.snapshot().unwrap();
    assert_eq!((settle(&db), kept(&db).len()), (1, 0));
    assert_eq!(snapshot.get_run(run(1)).unwrap().unwrap().status, RunStatus::Completed);
    assert!(snapshot.get(run(1), "k").is_ok(), "a snapshot of before reads it");
}

#[test]
fn a_step_drops_a_bounded_number_and_a_reopened_store_goes_on() {
    let mut world = world(keeps(u64::MAX)).with(|options| options.flush_bytes = 1);
    let db = world.open();
    for n in 0..50 {
        db.begin_run(run(n), NO_TAGS).unwrap();
        db.end_run(run(n)).unwrap();
    }
    assert_eq!(settle(&db), 0);
    db.close().unwrap();
    world = world.with(|options| {
        options.retention = keeps(5);
        options.steps.maintain_keys_max = 7;
    });
    let db = world.open();
    let steps: Vec<_> = (0..8).map(|_| db.maintain().unwrap().runs_dropped).collect();
    assert_eq!(steps, [7, 7, 7, 7, 7, 7, 3, 0]);
    assert_eq!(kept(&db), [45, 46, 47, 48, 49].map(run));
    db.close().unwrap();
    let db = world.open();
    assert_eq!((settle(&db), kept(&db).len()), (0, 5));
}
