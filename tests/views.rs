//! Every way to look and to write shows the same: snapshots, the facade, batches, tickets.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that fails says so

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::{NO_TAGS, World, run};
use runstone::{
    Error, KVStore, Level, Namespace, RunId, RunOptions, RunStatus, Snapshot, Timestamp, TypeTag,
    Value, ValueKind, WriteBatch, WriteOptions,
};

fn ms(n: u64) -> Option<Duration> {
    Some(Duration::from_millis(n))
}

#[test]
fn a_snapshot_answers_every_read_as_the_database_did_at_its_moment() {
    let world = World::memory();
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    db.put(run(1), "kept", 1).unwrap();
    db.put_with_ttl(run(1), "expires", 2, ms(10)).unwrap();
    let ask = |snapshot: &Snapshot| {
        let mut answers = Vec::new();
        for key in ["kept", "expires", "later"] {
            let value = snapshot.get(run(1), key).unwrap();
            let versioned = snapshot.get_versioned(run(1), key).unwrap();
            assert_eq!(value, versioned.as_ref().map(|found| found.value.clone()));
            assert_eq!(value.is_some(), snapshot.exists(run(1), key).unwrap());
            answers.push(versioned);
        }
        (answers, snapshot.list(run(1), "").unwrap())
    };
    let then = db.snapshot().unwrap();
    let before = ask(&then);
    assert_eq!(before.0[0], db.get_versioned(run(1), "kept").unwrap());
    assert_eq!(before.0[1], db.get_versioned(run(1), "expires").unwrap());
    let time = then.time();
    assert_eq!((then.version(), time), (db.storage().version(), db.storage().now()));

    world.clock.advance(10);
    db.begin_run(run(2), NO_TAGS).unwrap();
    db.delete(run(1), "kept").unwrap();
    db.put(run(1), "later", 3).unwrap();
    db.maintain().unwrap();
    assert_eq!(ask(&then), before, "what was then, expiry included");
    assert_eq!(then.time(), time);
    assert_eq!(ask(&db.snapshot().unwrap()).1, [(b"later".to_vec(), Value::Int(3))]);
    // A run that began later is not there, and a key is never empty.
    assert!(matches!(then.get(run(2), "k"), Err(Error::RunNotFound { .. })));
    assert!(matches!(then.exists(run(2), "k"), Err(Error::RunNotFound { .. })));
    assert!(matches!(then.get_versioned(run(1), ""), Err(Error::InvalidArgument { .. })));
}

/// The newest version is freed before the older one under it: the older one must neither come
/// back nor go while it is still seen.
#[test]
fn an_expired_version_goes_and_the_older_one_is_seen_by_its_snapshot_alone() {
    let world = World::memory();
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    let empty = db.storage().memory_bytes();
    db.put(run(1), "k", "old").unwrap();
    let then = db.snapshot().unwrap();
    db.put_with_ttl(run(1), "k", "new", ms(5)).unwrap();
    let both = db.storage().memory_bytes();
    world.clock.advance(5);
    assert_eq!(db.maintain().unwrap().freed, 1);
    assert!(db.storage().memory_bytes() < both);
    assert_eq!(db.get(run(1), "k").unwrap(), None);
    assert_eq!(then.get(run(1), "k").unwrap(), Some(Value::from("old")));
    drop(then);
    assert_eq!(db.maintain().unwrap().freed, 1);
    assert_eq!(db.get(run(1), "k").unwrap(), None);
    assert_eq!((db.storage().memory_bytes(), db.storage().key_count()), (empty, 0));
}

#[test]
fn a_batch_of_the_facade_keeps_its_times_to_live_and_its_durability() {
    let world = World::memory();
    let kv = KVStore::new(world.open());
    kv.database().begin_run(run(1), NO_TAGS).unwrap();
    let batch = kv.batch(run(1)).put("a", "1").put_with_ttl("b", "2", ms(5)).delete("c");
    let version = batch.commit_with(WriteOptions { durability: Some(Level::Async) }).unwrap();
    assert_eq!(version, kv.database().storage().version());
    assert_eq!(kv.list(run(1), "").unwrap().len(), 2);
    world.clock.advance(5);
    assert_eq!(kv.list(run(1), "").unwrap(), [(b"a".to_vec(), b"1".to_vec())]);
    let zero = kv.batch(run(1)).put_with_ttl("b", "2", Some(Duration::ZERO));
    assert!(matches!(zero.commit(), Err(Error::InvalidArgument { .. })));
}

/// From either end: a walk that met an error is over, and so is the other end of it.
#[test]
fn a_wrong_type_says_what_was_found_for_every_kind_and_ends_a_walk_from_both_ends() {
    let kv = KVStore::new(World::memory().open());
    let db = kv.database();
    db.begin_run(run(1), NO_TAGS).unwrap();
    let record = db.get_run(run(1)).unwrap().unwrap();
    let at = Timestamp::from_millis(1);
    let values = [
        (Value::Null, "null"),
        (Value::Bool(true), "a bool"),
        (Value::Int(1), "an int"),
        (Value::Float(0.5), "a float"),
        (Value::from("text"), "a string"),
        (
            Value::EventEntry(Box::new(runstone::EventEntry {
                sequence: 1,
                event_type: "e".into(),
                payload: vec![],
                timestamp: at,
            })),
            "an event entry",
        ),
        (
            Value::StateMachineEntry(Box::new(runstone::StateMachineEntry {
                state: "s".into(),
                version: 1,
                updated_at: at,
            })),
            "a state-machine entry",
        ),
        (
            Value::TraceEntry(Box::new(runstone::TraceEntry {
                trace_id: "t".into(),
                parent_id: None,
                trace_type: "t".into(),
                content: vec![],
                timestamp: at,
            })),
            "a trace entry",
        ),
        (Value::RunMetadata(Box::new(record)), "run metadata"),
    ];
    assert_eq!(values.len() + 1, ValueKind::ALL.len(), "every kind but bytes");
    for (value, name) in values {
        assert_eq!((value.as_bytes(), value.as_str().is_some()), (None, name == "a string"));
        db.put(run(1), "k", value).unwrap();
        match kv.get(run(1), "k").unwrap_err() {
            Error::WrongType { expected: "bytes", found } => assert_eq!(found, name),
            other => panic!("{other}"),
        }
    }
    kv.put(run(1), "j", "bytes").unwrap();
    assert_eq!(db.get(run(1), "j").unwrap().unwrap().as_bytes(), Some(&b"bytes"[..]));
    let mut walk = kv.scan::<&str, _>(run(1), ..).unwrap();
    assert!(matches!(walk.next_back(), Some(Err(Error::WrongType { .. }))));
    assert!(walk.next_back().is_none() && walk.next().is_none());
    let mut walk = kv.scan::<&str, _>(run(1), ..).unwrap();
    assert!(walk.next().unwrap().is_ok() && walk.next().unwrap().is_err());
    assert!(walk.next().is_none() && walk.next_back().is_none());
}

#[test]
fn the_first_mistake_of_a_batch_is_told_and_nothing_of_the_batch_is_done() {
    let db = World::memory().open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    let version = db.storage().version();
    let mistakes: [fn(&mut WriteBatch); 4] = [
        |batch| {
            batch.end_run(run(1), RunStatus::Running);
        },
        |batch| {
            let other = Namespace::default_for(run(3));
            batch.begin_run_with(run(2), RunOptions::default().namespace(other));
        },
        |batch| {
            batch.put_tagged(run(1), TypeTag::RunMetadata, "k", 1, None);
        },
        |batch| {
            batch.put_with_ttl(run(1), "k", 1, Some(Duration::ZERO));
        },
    ];
    let told = ["cannot end as running", "the namespace is that of", "run-metadata", "zero"];
    for (first, told) in told.into_iter().enumerate() {
        let mut batch = WriteBatch::new();
        assert!(batch.is_empty());
        batch.put(run(1), "good", 1);
        for mistake in mistakes.iter().cycle().skip(first).take(mistakes.len()) {
            mistake(&mut batch);
        }
        assert!(!batch.is_empty());
        match db.write(batch).unwrap_err() {
            Error::InvalidArgument { what } => assert!(what.contains(told), "{what}"),
            other => panic!("{other}"),
        }
    }
    assert_eq!(db.storage().version(), version);
    assert!(!db.exists(run(1), "good").unwrap());
}

#[test]
fn a_scan_takes_every_kind_of_bound_at_either_end_as_an_ordered_map_does() {
    use std::ops::Bound::{self, Excluded, Included, Unbounded};
    let db = World::memory().open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    // Neighbours in the byte order, with nothing between them.
    let keys: [&[u8]; 6] = [b"\0", b"a", b"a\0", b"a\xff", b"b", b"\xff\xff"];
    let mut map = BTreeMap::new();
    for key in keys {
        db.put(run(1), key, key).unwrap();
        map.insert(key, ());
    }
    let of = |key: &'static [u8]| [Included(key), Excluded(key)];
    let bounds = || keys.into_iter().flat_map(of).chain([Unbounded]);
    for from in bounds() {
        for to in bounds() {
            let expected: Vec<_> = match (from, to) {
                // A map panics at a range that ends before it begins; a scan of one is empty.
                (Included(a) | Excluded(a), Included(b) | Excluded(b)) if a > b => vec![],
                (Excluded(a), Excluded(b)) if a == b => vec![],
                range => map.range::<[u8], _>(range).map(|(key, ())| key.to_vec()).collect(),
            };
            let range: (Bound<&[u8]>, Bound<&[u8]>) = (from, to);
            let scan = db.scan::<&[u8], _>(run(1), range).unwrap();
            let found: Vec<_> = scan.map(|item| item.unwrap().0).collect();
            assert_eq!(found, expected, "{from:?} {to:?}");
        }
    }
}

#[test]
fn a_ticket_tells_its_outcome_once() {
    let db = World::memory().open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    let submit = || {
        let mut batch = WriteBatch::new();
        batch.put(run(1), "k", 1);
        db.submit(batch, WriteOptions::default()).unwrap()
    };
    let ticket = submit();
    assert!(ticket.poll().is_none(), "nobody has committed it");
    assert_eq!(db.step().unwrap(), 1);
    assert_eq!(ticket.poll().unwrap().unwrap().version, 2);
    assert!(ticket.poll().is_none());
    assert!(matches!(ticket.wait(), Err(Error::InvalidArgument { .. })));
    assert_eq!(submit().wait().unwrap().version, 3);
}

#[test]
fn a_run_id_is_the_same_as_uuid_bytes_and_text() {
    let id = RunId::new();
    let uuid = id.as_uuid();
    assert_eq!(RunId::from(uuid), id);
    assert_eq!(RunId::from_bytes(*id.as_bytes()), id);
    assert_eq!(id.to_string(), uuid.to_string());
    assert_eq!(id.to_string().parse::<RunId>().unwrap(), id);
    assert!(format!("{id:?}").contains(&id.to_string()));
}
