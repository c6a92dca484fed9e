//! Whole stories on the real disk, across restarts.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that fails says so

mod common;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::{MODES, NO_TAGS, START_MS, TestClock, run, state};
use runstone::{
    Database, DurabilityMode, Error, KVStore, Namespace, RunFilter, RunOptions, RunStatus,
    Timestamp, Value, WriteBatch,
};

fn open(dir: &Path, clock: &Arc<TestClock>) -> Database {
    Database::builder().clock(Arc::<TestClock>::clone(clock)).open(dir).unwrap()
}

#[test]
fn what_one_process_life_wrote_the_next_one_reads_in_every_mode() {
    for mode in MODES {
        let dir = tempfile::tempdir().unwrap();
        let db = Database::open_with_mode(dir.path(), mode).unwrap();
        db.begin_run(run(1), [("story", "end to end")]).unwrap();
        for n in 0..100i64 {
            db.put(run(1), format!("key {n:03}"), n).unwrap();
        }
        db.end_run(run(1)).unwrap();
        let before = state(&db);
        drop(db);
        let db = Database::open_with_mode(dir.path(), mode).unwrap();
        assert_eq!(state(&db), before);
        assert_eq!(db.recovery_report().replayed_commits, 102);
        assert_eq!(db.get(run(1), "key 042").unwrap(), Some(42.into()));
        assert!(matches!(db.put(run(1), "k", 1), Err(Error::RunEnded { .. })));
    }
}

#[test]
fn runs_stay_apart_across_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let db = Database::open_with_mode(dir.path(), MODES[1]).unwrap();
    for n in 1..=10u8 {
        db.begin_run(run(n), [("n", n.to_string())]).unwrap();
    }
    // Interleaved on purpose: the log holds them all in one order.
    for key in 0..20 {
        for n in 1..=10u8 {
            db.put(run(n), format!("{key:02}"), i64::from(n) * 100 + key).unwrap();
        }
    }
    db.delete(run(4), "07").unwrap();
    db.end_run(run(5)).unwrap();
    drop(db);
    let db = Database::open(dir.path()).unwrap();
    for n in 1..=10u8 {
        for key in 0..20 {
            let expected = (n != 4 || key != 7).then(|| Value::Int(i64::from(n) * 100 + key));
            assert_eq!(db.get(run(n), format!("{key:02}")).unwrap(), expected);
        }
        assert_eq!(db.get_run(run(n)).unwrap().unwrap().tags["n"], n.to_string());
        assert_eq!(db.is_run_active(run(n)).unwrap(), n != 5);
    }
}

fn a_dataset_survives(keys: u32, mode: DurabilityMode, batch: u32) {
    let dir = tempfile::tempdir().unwrap();
    let value = |n: u32| format!("value of {n}, {}", "x".repeat((n % 50) as usize)).into_bytes();
    let db = Database::builder().durability(mode).segment_bytes(1 << 20).open(dir.path()).unwrap();
    let kv = KVStore::new(db);
    kv.database().begin_run(run(1), NO_TAGS).unwrap();
    for first in (0..keys).step_by(batch as usize) {
        let mut pairs = kv.batch(run(1));
        for n in first..(first + batch).min(keys) {
            pairs = pairs.put(n.to_be_bytes(), value(n));
        }
        pairs.commit().unwrap();
    }
    let version = kv.database().storage().version();
    drop(kv);

    let db = Database::open(dir.path()).unwrap();
    assert!(keys < 10_000 || db.recovery_report().segments > 1, "it takes several segments");
    assert_eq!(db.storage().version(), version);
    assert_eq!(db.storage().key_count(), keys as usize);
    let mut expected = 0;
    for item in db.scan_prefix(run(1), "").unwrap() {
        let (key, found) = item.unwrap();
        assert_eq!(key, u32::to_be_bytes(expected));
        assert_eq!(found.value, Value::Bytes(value(expected)));
        expected += 1;
    }
    assert_eq!(expected, keys);
}

#[test]
fn a_thousand_keys_survive_a_restart_one_commit_each() {
    a_dataset_survives(1_000, MODES[1], 1);
}

#[test]
fn a_hundred_thousand_keys_survive_a_restart() {
    a_dataset_survives(100_000, MODES[2], 10);
}

#[test]
fn expiry_goes_on_across_a_restart_and_what_was_gone_stays_gone() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let db = open(dir.path(), &clock);
    db.begin_run(run(1), NO_TAGS).unwrap();
    db.put(run(1), "for ever", 0).unwrap();
    for (key, seconds) in [("gone before", 5), ("gone while closed", 60), ("still there", 600)] {
        db.put_with_ttl(run(1), key, 1, Some(Duration::from_secs(seconds))).unwrap();
    }
    clock.advance(5_000);
    assert_eq!(db.list(run(1), "").unwrap().len(), 3);
    db.close().unwrap();

    clock.advance(55_000);
    let db = open(dir.path(), &clock);
    assert_eq!(db.get(run(1), "gone before").unwrap(), None);
    assert_eq!(db.get(run(1), "gone while closed").unwrap(), None);
    let left = db.get_versioned(run(1), "still there").unwrap().unwrap();
    assert_eq!(left.expires_at, Some(Timestamp::from_millis(START_MS + 600_000)));
    assert_eq!(db.list(run(1), "").unwrap().len(), 2);
    db.flush().unwrap();
    db.put(run(1), "something to write", 1).unwrap();
    db.close().unwrap();

    // The wall clock is set back to before everything: nothing rises again.
    clock.set_wall(1_000);
    let db = open(dir.path(), &clock);
    assert_eq!(db.get(run(1), "gone before").unwrap(), None);
    assert_eq!(db.get(run(1), "gone while closed").unwrap(), None);
    assert_eq!(db.get(run(1), "still there").unwrap(), Some(1.into()));
    clock.advance(540_000);
    assert_eq!(db.get(run(1), "still there").unwrap(), None);
    assert_eq!(db.get(run(1), "for ever").unwrap(), Some(0.into()));
}

#[test]
fn every_field_of_a_runs_record_is_complete_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let db = open(dir.path(), &clock);
    db.begin_run(run(1), NO_TAGS).unwrap();
    clock.advance(10);
    let options = RunOptions::default()
        .namespace(Namespace::new("tenant", "app", "agent", run(2)))
        .parent(run(1))
        .tags([("a", "1"), ("b", "2")]);
    let first = db.begin_run_with(run(2), options).unwrap();
    db.put(run(2), "k", 1).unwrap();
    db.put(run(1), "of another run", 1).unwrap();
    clock.advance(10);
    let last = db.end_run_with(run(2), RunStatus::Failed).unwrap();
    db.put(run(1), "of another run", 2).unwrap();
    drop(db);

    let db = open(dir.path(), &clock);
    let entry = db.get_run(run(2)).unwrap().unwrap();
    assert_eq!(entry.run_id, run(2));
    assert_eq!(entry.namespace, Namespace::new("tenant", "app", "agent", run(2)));
    assert_eq!(entry.parent_run_id, Some(run(1)));
    assert_eq!(entry.forked_from, None);
    assert_eq!(entry.status, RunStatus::Failed);
    assert_eq!(entry.created_at, Timestamp::from_millis(START_MS + 10));
    assert_eq!(entry.completed_at, Some(Timestamp::from_millis(START_MS + 20)));
    assert_eq!((entry.first_version, entry.last_version), (first, last));
    assert_eq!(
        entry.tags.into_iter().collect::<Vec<_>>(),
        [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned()),]
    );
    assert_eq!(entry.retention, runstone::Retention::Latest);
    assert_eq!(db.run_statistics(run(2)).unwrap().map(|found| found.changes), Some(3));
    let failed = RunFilter { status: Some(RunStatus::Failed), ..RunFilter::default() };
    assert_eq!(db.runs(failed).unwrap().count(), 1);
}

#[test]
fn listings_scans_and_their_order_are_the_same_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let db = Database::open_with_mode(dir.path(), MODES[1]).unwrap();
    db.begin_run(run(1), NO_TAGS).unwrap();
    for n in 0..300i64 {
        db.put(run(1), format!("{}/{:03}", n % 3, (n * 7) % 300), n).unwrap();
    }
    for n in (0..300).step_by(5) {
        db.remove(run(1), format!("{}/{n:03}", n % 3)).unwrap();
    }
    let look = |db: &Database| {
        let backward: Vec<_> =
            db.scan(run(1), "0/100".."2/100").unwrap().rev().map(Result::unwrap).collect();
        let prefixes =
            ["", "0/", "1/0", "2/299", "3"].map(|prefix| db.list(run(1), prefix).unwrap());
        (backward, prefixes)
    };
    let before = look(&db);
    assert!(before.0.len() > 50 && before.1[0].len() > 100);
    drop(db);
    assert_eq!(look(&Database::open(dir.path()).unwrap()), before);
}

/// The whole first milestone, told as a user would: begin, put, list, end, drop, reopen, check,
/// a second run, reopen, check all.
#[test]
fn the_first_milestone_works_as_one_workflow() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();

    // A run with tags, three pairs, one of them with a time to live.
    let kv = KVStore::new(open(dir.path(), &clock));
    let db = kv.database().clone();
    let begun = db.begin_run(run(1), [("agent", "planner"), ("attempt", "1")]).unwrap();
    kv.put(run(1), "plan/goal", "write").unwrap();
    kv.put(run(1), "plan/step", "one").unwrap();
    kv.put_with_ttl(run(1), "plan/lease", "held", Some(Duration::from_secs(30))).unwrap();
    let keys = |kv: &KVStore, owner| -> Vec<String> {
        let pairs = kv.list(owner, "plan/").unwrap();
        pairs.into_iter().map(|(key, _)| String::from_utf8(key).unwrap()).collect()
    };
    assert_eq!(keys(&kv, run(1)), ["plan/goal", "plan/lease", "plan/step"]);
    clock.advance(1_000);
    let ended = db.end_run(run(1)).unwrap();
    let entry = db.get_run(run(1)).unwrap().unwrap();
    drop((kv, db));

    // Reopened: values, list, expiry, and every field of the record.
    let kv = KVStore::new(open(dir.path(), &clock));
    let db = kv.database().clone();
    assert!(db.recovery_report().clean && db.recovery_report().interrupted_runs.is_empty());
    assert_eq!(kv.get(run(1), "plan/goal").unwrap().unwrap(), b"write");
    assert_eq!(kv.get(run(1), "plan/step").unwrap().unwrap(), b"one");
    assert_eq!(kv.get(run(1), "plan/lease").unwrap().unwrap(), b"held");
    assert_eq!(keys(&kv, run(1)).len(), 3);
    clock.advance(29_000);
    assert_eq!(kv.get(run(1), "plan/lease").unwrap(), None);
    assert_eq!(keys(&kv, run(1)), ["plan/goal", "plan/step"]);
    assert_eq!(db.get_run(run(1)).unwrap().unwrap(), entry);
    assert_eq!(entry.status, RunStatus::Completed);
    assert_eq!(entry.created_at, Timestamp::from_millis(START_MS));
    assert_eq!(entry.completed_at, Some(Timestamp::from_millis(START_MS + 1_000)));
    assert_eq!((entry.first_version, entry.last_version), (begun, ended));
    assert_eq!((entry.tags["agent"].as_str(), entry.tags["attempt"].as_str()), ("planner", "1"));
    assert_eq!(entry.namespace, Namespace::default_for(run(1)));

    // A second run sees nothing of the first.
    let begun = db.begin_run(run(2), [("attempt", "2")]).unwrap();
    assert_eq!(begun, ended + 1, "versions go on");
    assert_eq!(keys(&kv, run(2)), Vec::<String>::new());
    kv.put(run(2), "plan/goal", "read").unwrap();
    let mut batch = WriteBatch::new();
    batch.put(run(2), "plan/step", Value::Bytes(b"two".to_vec()));
    db.write(batch).unwrap();
    assert!(matches!(kv.put(run(1), "plan/goal", "x"), Err(Error::RunEnded { .. })));
    assert_eq!(kv.get(run(1), "plan/goal").unwrap().unwrap(), b"write");
    let before = state(&db);
    drop((kv, db));

    // Reopened again: all of it.
    let db = open(dir.path(), &clock);
    assert_eq!(state(&db), before);
    assert_eq!(db.get_run(run(1)).unwrap().unwrap(), entry);
    assert_eq!(db.list_active_runs().unwrap(), [run(2)]);
    let kv = KVStore::new(db);
    assert_eq!(kv.get(run(2), "plan/goal").unwrap().unwrap(), b"read");
    assert_eq!(kv.get(run(1), "plan/goal").unwrap().unwrap(), b"write");
    assert_eq!(kv.get(run(1), "plan/lease").unwrap(), None);
}
