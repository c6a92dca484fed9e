//! Reading and writing keys of a run.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that fails says so
#![allow(clippy::disallowed_methods)] // tests start threads

mod common;

use std::thread;
use std::time::Duration;

use common::{MODES, NO_TAGS, START_MS, World, run};
use runstone::{Database, Error, Timestamp, Value, WriteBatch};

fn open() -> Database {
    let db = Database::in_memory().unwrap();
    db.begin_run(run(1), NO_TAGS).unwrap();
    db
}

fn ms(n: u64) -> Option<Duration> {
    Some(Duration::from_millis(n))
}

#[test]
fn a_put_is_read_back_with_its_version_and_time() {
    let world = World::memory();
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    world.clock.advance(5);
    let version = db.put(run(1), "k", "v").unwrap();
    assert_eq!(db.get(run(1), "k").unwrap(), Some("v".into()));
    let found = db.get_versioned(run(1), "k").unwrap().unwrap();
    assert_eq!((found.version, found.expires_at), (version, None));
    assert_eq!(found.timestamp, Timestamp::from_millis(START_MS + 5));
    assert!(db.exists(run(1), "k").unwrap());
}

#[test]
fn keys_and_values_are_any_bytes_but_a_key_is_never_empty() {
    let db = open();
    let keys: [&[u8]; 6] = [b"\0", b"\0\0", b"\xff", b"\xff\xff", b"a\0b", &[0x7f; 300]];
    for (n, key) in (0i64..).zip(keys) {
        db.put(run(1), key, n).unwrap();
    }
    for (n, key) in (0i64..).zip(keys) {
        assert_eq!(db.get(run(1), key).unwrap(), Some(n.into()));
    }
    assert_eq!(db.list(run(1), "").unwrap().len(), keys.len());
    let before = db.storage().version();
    for refused in [
        db.put(run(1), "", 1).map(|_| ()),
        db.get(run(1), "").map(|_| ()),
        db.exists(run(1), "").map(|_| ()),
        db.delete(run(1), "").map(|_| ()),
        db.remove(run(1), "").map(|_| ()),
    ] {
        assert!(matches!(refused, Err(Error::InvalidArgument { .. })));
    }
    assert_eq!(db.storage().version(), before);
}

#[test]
fn a_key_that_was_never_put_is_none_and_not_an_error() {
    let db = open();
    assert_eq!(db.get(run(1), "missing").unwrap(), None);
    assert_eq!(db.get_versioned(run(1), "missing").unwrap(), None);
    assert!(!db.exists(run(1), "missing").unwrap());
    assert_eq!(db.list(run(1), "missing").unwrap(), []);
}

#[test]
fn a_delete_returns_what_was_visible_and_takes_a_version_even_if_nothing_was() {
    let db = open();
    db.put(run(1), "k", 1).unwrap();
    assert_eq!(db.delete(run(1), "k").unwrap(), Some(1.into()));
    assert_eq!(db.get(run(1), "k").unwrap(), None);
    assert!(!db.exists(run(1), "k").unwrap());
    let before = db.storage().version();
    assert_eq!(db.delete(run(1), "k").unwrap(), None);
    assert_eq!(db.delete(run(1), "never put").unwrap(), None);
    assert_eq!(db.remove(run(1), "never put").unwrap(), before + 3);
    db.put(run(1), "k", 2).unwrap();
    assert_eq!(db.get(run(1), "k").unwrap(), Some(2.into()));
}

#[test]
fn a_null_is_a_value_and_not_an_absence() {
    let db = open();
    db.put(run(1), "k", Value::Null).unwrap();
    assert_eq!(db.get(run(1), "k").unwrap(), Some(Value::Null));
    assert!(db.exists(run(1), "k").unwrap());
    assert_eq!(db.list(run(1), "").unwrap().len(), 1);
    assert_eq!(db.delete(run(1), "k").unwrap(), Some(Value::Null));
    assert_eq!(db.list(run(1), "").unwrap(), []);
}

#[test]
fn a_value_is_there_until_the_millisecond_of_its_expiry() {
    let world = World::memory();
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    db.put_with_ttl(run(1), "k", 1, ms(900)).unwrap();
    db.put_with_ttl(run(1), "for ever", 2, None).unwrap();
    db.put_with_ttl(run(1), "beyond the end of time", 3, Some(Duration::MAX)).unwrap();
    let found = db.get_versioned(run(1), "k").unwrap().unwrap();
    assert_eq!(found.expires_at, Some(Timestamp::from_millis(START_MS + 900)));
    world.clock.advance(899);
    assert_eq!(db.get(run(1), "k").unwrap(), Some(1.into()));
    assert_eq!(db.list(run(1), "").unwrap().len(), 3);
    world.clock.advance(1);
    assert_eq!(db.get(run(1), "k").unwrap(), None);
    assert_eq!(db.get_versioned(run(1), "k").unwrap(), None);
    assert!(!db.exists(run(1), "k").unwrap());
    assert_eq!(db.list(run(1), "").unwrap().len(), 2);
    assert_eq!(db.delete(run(1), "k").unwrap(), None, "expired counts as absent");
    world.clock.advance(1 << 50);
    assert_eq!(db.list(run(1), "").unwrap().len(), 2);
    assert_eq!(db.get_versioned(run(1), "for ever").unwrap().unwrap().expires_at, None);
    let zero = db.put_with_ttl(run(1), "k", 1, Some(Duration::ZERO));
    assert!(matches!(zero, Err(Error::InvalidArgument { .. })));
}

#[test]
fn a_put_without_a_ttl_clears_an_older_one() {
    let world = World::memory();
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    db.put_with_ttl(run(1), "k", 1, ms(10)).unwrap();
    db.put(run(1), "k", 2).unwrap();
    db.put_with_ttl(run(1), "other", 1, ms(10)).unwrap();
    db.put_with_ttl(run(1), "other", 2, ms(1000)).unwrap();
    world.clock.advance(10);
    db.maintain().unwrap();
    assert_eq!(db.get(run(1), "k").unwrap(), Some(2.into()));
    assert_eq!(db.get(run(1), "other").unwrap(), Some(2.into()));
}

#[test]
fn a_list_is_exactly_the_keys_of_a_prefix_in_byte_order() {
    let db = open();
    for key in ["b", "a/2", "a/10", "a", "a/", "ab", "a0", "c"] {
        db.put(run(1), key, key).unwrap();
    }
    db.put(run(1), b"a/\xff", 1).unwrap();
    let keys = |prefix: &str| -> Vec<_> {
        db.list(run(1), prefix).unwrap().into_iter().map(|(key, _)| key).collect()
    };
    assert_eq!(keys("a/"), [&b"a/"[..], b"a/10", b"a/2", b"a/\xff"]);
    assert_eq!(keys("a").len(), 7);
    assert_eq!(keys("").len(), 9);
    assert_eq!(keys("").first().unwrap(), b"a");
    assert_eq!(keys("zz"), Vec::<Vec<u8>>::new());
    assert_eq!(db.list(run(1), b"a/\xff").unwrap().len(), 1);
    let values = db.list(run(1), "b").unwrap();
    assert_eq!(values, [(b"b".to_vec(), Value::from("b"))]);
}

#[test]
fn a_scan_walks_from_both_ends_meets_in_the_middle_and_sees_its_own_moment() {
    let db = open();
    for n in 0..10i64 {
        db.put(run(1), format!("{n}"), n).unwrap();
    }
    let mut scan = db.scan(run(1), "2".."8").unwrap();
    db.put(run(1), "5", 55).unwrap();
    db.delete(run(1), "6").unwrap();
    db.put(run(1), "55", 1).unwrap();
    let mut seen = vec![];
    while let Some(item) = scan.next() {
        seen.push(item.unwrap().1.value);
        if let Some(item) = scan.next_back() {
            seen.push(item.unwrap().1.value);
        }
    }
    assert_eq!(seen, [2, 7, 3, 6, 4, 5].map(|n: i64| Value::Int(n)));
    assert!(scan.next().is_none() && scan.next_back().is_none());
    let inclusive = db.scan(run(1), "2"..="3").unwrap().count();
    let (open_end, all) =
        (db.scan(run(1), "8"..).unwrap(), db.scan::<&str, _>(run(1), ..).unwrap());
    assert_eq!((inclusive, open_end.count(), all.rev().count()), (2, 2, 10));
    let nothing = db.scan(run(1), "8".."2").unwrap().count();
    assert_eq!(nothing, 0);
}

#[test]
fn what_was_put_in_any_mode_is_there_after_closing_and_opening() {
    for mode in MODES {
        let dir = tempfile::tempdir().unwrap();
        let db = Database::open_with_mode(dir.path(), mode).unwrap();
        db.begin_run(run(1), NO_TAGS).unwrap();
        db.put(run(1), "kept", 1).unwrap();
        db.put(run(1), "deleted", 1).unwrap();
        db.delete(run(1), "deleted").unwrap();
        let version = db.put(run(1), "overwritten", 1).unwrap();
        db.put(run(1), "overwritten", 2).unwrap();
        db.close().unwrap();
        let db = Database::open_with_mode(dir.path(), mode).unwrap();
        assert_eq!(db.get(run(1), "kept").unwrap(), Some(1.into()));
        assert_eq!(db.get(run(1), "deleted").unwrap(), None);
        let found = db.get_versioned(run(1), "overwritten").unwrap().unwrap();
        assert_eq!((found.value, found.version), (2.into(), version + 1));
    }
}

#[test]
fn of_several_puts_of_one_key_the_last_wins_and_each_took_its_version() {
    let db = open();
    let versions: Vec<_> = (0..100i64).map(|n| db.put(run(1), "k", n).unwrap()).collect();
    assert_eq!(versions, (2..102).collect::<Vec<_>>());
    assert_eq!(db.get(run(1), "k").unwrap(), Some(99.into()));
    assert_eq!(db.list(run(1), "").unwrap().len(), 1);
    db.put(run(1), "k", "another kind").unwrap();
    assert_eq!(db.get(run(1), "k").unwrap(), Some("another kind".into()));
}

#[test]
fn concurrent_puts_deletes_and_reads_leave_what_the_last_version_says() {
    let db = open();
    let history = thread::scope(|scope| {
        let writers: Vec<_> = (0..6i64)
            .map(|t| {
                let db = db.clone();
                scope.spawn(move || {
                    let mut mine = vec![];
                    for n in 0..200i64 {
                        let key = format!("{}", (t + n) % 5);
                        if n % 7 == 3 {
                            mine.push((db.remove(run(1), &key).unwrap(), key, None));
                        } else {
                            let value = t * 1000 + n;
                            let version = db.put(run(1), &key, value).unwrap();
                            mine.push((version, key, Some(Value::Int(value))));
                        }
                    }
                    mine
                })
            })
            .collect();
        let reader = {
            let db = db.clone();
            scope.spawn(move || {
                let mut last = 0;
                for _ in 0..500 {
                    if let Some(found) = db.get_versioned(run(1), "0").unwrap() {
                        assert!(found.version >= last);
                        last = found.version;
                    }
                    assert!(db.list(run(1), "").unwrap().len() <= 5);
                    assert!(db.storage().version() >= last);
                }
            })
        };
        reader.join().unwrap();
        let mut all: Vec<_> = writers.into_iter().flat_map(|w| w.join().unwrap()).collect();
        all.sort_unstable_by_key(|(version, ..)| *version);
        all
    });
    let versions: Vec<_> = history.iter().map(|(version, ..)| *version).collect();
    assert_eq!(versions, (2..1202).collect::<Vec<_>>(), "unique and dense");
    for key in 0..5 {
        let key = key.to_string();
        let last = history.iter().rev().find(|(_, k, _)| *k == key).unwrap();
        assert_eq!(db.get(run(1), &key).unwrap(), last.2, "key {key}");
    }
}

#[test]
fn a_batch_takes_one_version_over_several_runs_or_leaves_no_trace() {
    let db = open();
    db.put(run(1), "old", 1).unwrap();
    let mut batch = WriteBatch::new();
    batch.begin_run(run(2), [("in", "a batch")]);
    batch.put(run(2), "a", 1).put(run(1), "b", 2).delete(run(1), "old").put(run(2), "a", 3);
    assert_eq!(batch.len(), 4, "of two writes to a key the last counts");
    let version = db.write(batch).unwrap();
    for (owner, key) in [(2, "a"), (1, "b")] {
        let found = db.get_versioned(run(owner), key).unwrap().unwrap();
        assert_eq!(found.version, version);
    }
    assert_eq!(db.get(run(2), "a").unwrap(), Some(3.into()));
    assert_eq!(db.get(run(1), "old").unwrap(), None);
    assert_eq!(db.get_run(run(2)).unwrap().unwrap().first_version, version);

    let mut refused = WriteBatch::new();
    refused.put(run(1), "b", 9).put(run(7), "never begun", 9);
    assert!(matches!(db.write(refused), Err(Error::RunNotFound { .. })));
    assert!(matches!(db.write(WriteBatch::new()), Err(Error::InvalidArgument { .. })));
    let mut mistaken = WriteBatch::new();
    mistaken.put(run(1), "b", 9).put_with_ttl(run(1), "c", 1, Some(Duration::ZERO));
    assert!(matches!(db.write(mistaken), Err(Error::InvalidArgument { .. })));
    assert_eq!(db.get(run(1), "b").unwrap(), Some(2.into()));
    assert_eq!(db.storage().version(), version);
}
