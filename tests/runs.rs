//! Runs: beginning, ending, listing, and their records across a restart.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that fails says so

mod common;

use std::collections::BTreeMap;

use common::{NO_TAGS, START_MS, World, run};
use runstone::{Database, Error, Namespace, RunFilter, RunOptions, RunStatus, Timestamp};

#[test]
fn a_begun_run_is_active_and_its_record_says_so() {
    let world = World::memory();
    let db = world.open();
    let version = db.begin_run(run(1), [("task", "demo"), ("user", "ann")]).unwrap();
    assert!(db.is_run_active(run(1)).unwrap());
    let entry = db.get_run(run(1)).unwrap().unwrap();
    assert_eq!(entry.run_id, run(1));
    assert_eq!(entry.status, RunStatus::Running);
    assert_eq!(entry.created_at, Timestamp::from_millis(START_MS));
    assert_eq!(entry.completed_at, None);
    assert_eq!((entry.first_version, entry.last_version), (version, version));
    assert_eq!(entry.parent_run_id, None);
    assert_eq!(entry.namespace, Namespace::default_for(run(1)));
    let tags = [("task", "demo"), ("user", "ann")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(entry.tags, BTreeMap::from(tags));
    assert_eq!(db.run_tracker().get_active(&run(1)), Some(entry));
}

#[test]
fn a_run_id_is_begun_once_whatever_became_of_the_run() {
    let db = Database::in_memory().unwrap();
    db.begin_run(run(1), [("keep", "me")]).unwrap();
    let again = db.begin_run(run(1), NO_TAGS).unwrap_err();
    assert!(matches!(again, Error::RunExists { status: RunStatus::Running, .. }));
    db.end_run(run(1)).unwrap();
    let again = db.begin_run(run(1), NO_TAGS).unwrap_err();
    assert!(matches!(again, Error::RunExists { status: RunStatus::Completed, .. }));
    assert_eq!(db.get_run(run(1)).unwrap().unwrap().tags["keep"], "me");
    assert_eq!(db.storage().version(), 2, "a refusal takes no version");
}

#[test]
fn an_ended_run_is_read_for_ever_and_never_written_again() {
    let world = World::memory();
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    db.put(run(1), "k", 1).unwrap();
    world.clock.advance(250);
    let ended = db.end_run_with(run(1), RunStatus::Failed).unwrap();
    let entry = db.get_run(run(1)).unwrap().unwrap();
    assert_eq!(entry.status, RunStatus::Failed);
    assert_eq!(entry.status.as_str(), "failed");
    assert_eq!(entry.completed_at, Some(Timestamp::from_millis(START_MS + 250)));
    assert_eq!((entry.first_version, entry.last_version), (1, ended));
    assert!(!db.is_run_active(run(1)).unwrap());
    assert_eq!(db.get(run(1), "k").unwrap(), Some(1.into()));
    for refused in [
        db.put(run(1), "k", 2),
        db.remove(run(1), "k"),
        db.delete(run(1), "k").map(|_| 0),
        db.end_run(run(1)),
    ] {
        assert!(matches!(refused, Err(Error::RunEnded { status: RunStatus::Failed, .. })));
    }
    assert_eq!(db.get(run(1), "k").unwrap(), Some(1.into()));
    assert_eq!(db.storage().version(), ended);
}

#[test]
fn a_run_cannot_end_as_running_nor_before_it_began() {
    let db = Database::in_memory().unwrap();
    assert!(matches!(db.end_run(run(1)), Err(Error::RunNotFound { .. })));
    db.begin_run(run(1), NO_TAGS).unwrap();
    let running = db.end_run_with(run(1), RunStatus::Running);
    assert!(matches!(running, Err(Error::InvalidArgument { .. })));
    assert!(db.is_run_active(run(1)).unwrap());
}

#[test]
fn the_active_runs_are_listed_in_the_order_of_their_ids() {
    let db = Database::in_memory().unwrap();
    assert_eq!(db.list_active_runs().unwrap(), []);
    for n in [3, 1, 2] {
        db.begin_run(run(n), NO_TAGS).unwrap();
    }
    assert_eq!(db.list_active_runs().unwrap(), [run(1), run(2), run(3)]);
    db.end_run(run(2)).unwrap();
    assert_eq!(db.list_active_runs().unwrap(), [run(1), run(3)]);
    assert_eq!(db.active_run_count().unwrap(), 2);
    assert_eq!(db.run_tracker().list_active(), [run(1), run(3)]);
    assert_eq!(db.run_tracker().count(), 3);
}

#[test]
fn all_runs_are_listed_by_status_and_tag() {
    let db = Database::in_memory().unwrap();
    for n in 1..=6u8 {
        db.begin_run(run(n), [("kind", if n % 2 == 0 { "even" } else { "odd" })]).unwrap();
    }
    db.end_run(run(2)).unwrap();
    db.end_run_with(run(3), RunStatus::Cancelled).unwrap();
    let ids = |status: Option<RunStatus>, kind: Option<&str>| -> Vec<_> {
        let tag = kind.map(|kind| ("kind".to_owned(), kind.to_owned()));
        let filter = RunFilter { status, tag, ..RunFilter::default() };
        db.runs(filter).unwrap().map(|entry| entry.unwrap().run_id).collect()
    };
    assert_eq!(ids(None, None), [1, 2, 3, 4, 5, 6].map(run));
    assert_eq!(ids(Some(RunStatus::Running), None), [1, 4, 5, 6].map(run));
    assert_eq!(ids(None, Some("even")), [2, 4, 6].map(run));
    assert_eq!(ids(Some(RunStatus::Cancelled), Some("odd")), [run(3)]);
    assert_eq!(ids(Some(RunStatus::Failed), None), []);
    assert_eq!(ids(None, Some("neither")), []);
}

#[test]
fn a_run_lives_from_begin_over_get_and_end_to_get() {
    let db = Database::in_memory().unwrap();
    assert_eq!(db.get_run(run(1)).unwrap(), None);
    db.begin_run(run(1), [("a", "b")]).unwrap();
    let begun = db.get_run(run(1)).unwrap().unwrap();
    db.end_run(run(1)).unwrap();
    let ended = db.get_run(run(1)).unwrap().unwrap();
    assert_eq!((begun.status, ended.status), (RunStatus::Running, RunStatus::Completed));
    assert!(begun.completed_at.is_none() && ended.completed_at >= Some(begun.created_at));
    let same = runstone::RunMetadataEntry {
        status: begun.status,
        completed_at: begun.completed_at,
        last_version: begun.last_version,
        ..ended.clone()
    };
    assert_eq!(same, begun, "an end changes nothing else");
    assert!(ended.last_version > begun.last_version);
    assert_eq!(db.run_tracker().get_active(&run(1)), None);
}

#[test]
fn several_active_runs_hold_the_same_key_without_touching_each_other() {
    let db = Database::in_memory().unwrap();
    for n in 1..=5u8 {
        db.begin_run(run(n), NO_TAGS).unwrap();
    }
    for n in 1..=5u8 {
        db.put(run(n), "k", i64::from(n)).unwrap();
    }
    db.delete(run(2), "k").unwrap();
    db.end_run(run(3)).unwrap();
    for n in [1, 3, 4, 5u8] {
        assert_eq!(db.get(run(n), "k").unwrap(), Some(i64::from(n).into()));
        assert_eq!(db.list(run(n), "").unwrap().len(), 1);
    }
    assert_eq!(db.get(run(2), "k").unwrap(), None);
    assert_eq!(db.list_active_runs().unwrap(), [1, 2, 4, 5].map(run));
}

#[test]
fn a_run_that_was_never_begun_is_neither_read_nor_written() {
    let db = Database::in_memory().unwrap();
    assert!(matches!(db.get(run(1), "k"), Err(Error::RunNotFound { .. })));
    assert!(matches!(db.exists(run(1), "k"), Err(Error::RunNotFound { .. })));
    assert!(matches!(db.list(run(1), ""), Err(Error::RunNotFound { .. })));
    assert!(matches!(db.put(run(1), "k", 1), Err(Error::RunNotFound { .. })));
    assert!(matches!(db.delete(run(1), "k"), Err(Error::RunNotFound { .. })));
    assert_eq!(db.get_run(run(1)).unwrap(), None);
    assert!(!db.is_run_active(run(1)).unwrap());
}

#[test]
fn a_parent_must_exist_and_may_have_ended() {
    let db = Database::in_memory().unwrap();
    let child = || RunOptions::default().parent(run(1));
    let orphan = db.begin_run_with(run(2), child()).unwrap_err();
    assert!(matches!(orphan, Error::RunNotFound { run: missing } if missing == run(1)));
    db.begin_run(run(1), NO_TAGS).unwrap();
    db.end_run(run(1)).unwrap();
    db.begin_run_with(run(2), child()).unwrap();
    assert_eq!(db.get_run(run(2)).unwrap().unwrap().parent_run_id, Some(run(1)));
    let wrong = RunOptions::default().namespace(Namespace::default_for(run(9)));
    let wrong = db.begin_run_with(run(3), wrong).unwrap_err();
    assert!(matches!(wrong, Error::InvalidArgument { .. }));
}

#[test]
fn the_records_of_active_and_ended_runs_survive_a_restart_field_by_field() {
    let dir = tempfile::tempdir().unwrap();
    let db = Database::open(dir.path()).unwrap();
    db.begin_run(run(1), [("a", "1"), ("", "an empty name is a name")]).unwrap();
    let options = RunOptions::default()
        .namespace(Namespace::new("acme", "mailer", "writer", run(2)))
        .parent(run(1))
        .tags([("ü", "ö")]);
    db.begin_run_with(run(2), options).unwrap();
    db.put(run(1), "k", 1).unwrap();
    db.end_run_with(run(2), RunStatus::Cancelled).unwrap();
    let before: Vec<_> = db.runs(RunFilter::default()).unwrap().map(Result::unwrap).collect();
    assert_eq!(before.len(), 2);
    db.close().unwrap();

    let db = Database::open(dir.path()).unwrap();
    let after: Vec<_> = db.runs(RunFilter::default()).unwrap().map(Result::unwrap).collect();
    assert_eq!(after, before);
    assert_eq!(db.list_active_runs().unwrap(), [run(1)]);
    db.put(run(1), "k", 2).unwrap();
    db.end_run(run(1)).unwrap();
    drop(db);
    let db = Database::open(dir.path()).unwrap();
    let entry = db.get_run(run(1)).unwrap().unwrap();
    assert_eq!((entry.status, entry.last_version), (RunStatus::Completed, 6));
    assert_eq!(entry.tags.len(), 2);
}
