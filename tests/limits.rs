//! The limits at the door, and values of every kind and size within them.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that fails says so

mod common;

use std::time::Duration;

use common::{DIR, MODES, NO_TAGS, World, image, memory_of, run, small_limits, state};
use runstone::{
    Database, Error, EventEntry, Limits, Options, StateMachineEntry, Timestamp, TraceEntry, Value,
    ValueKind, WriteBatch, WriteOptions,
};

/// Every way in, and whether it let this put in.
fn ways_in(db: &Database, key: &[u8], value: &Value) -> Vec<bool> {
    let admitted = |outcome: runstone::Result<u64>| match outcome {
        Ok(_) => true,
        Err(Error::LimitExceeded { limit, actual, .. }) => {
            assert!(actual > limit);
            false
        }
        Err(other) => panic!("{other}"),
    };
    let mut batch = WriteBatch::new();
    batch.put(run(1), key, value.clone());
    let ttl = Some(Duration::from_secs(1));
    vec![
        admitted(db.put(run(1), key, value.clone())),
        admitted(db.put_with_ttl(run(1), key, value.clone(), ttl)),
        admitted(db.write(batch.clone())),
        admitted(
            db.submit(batch, WriteOptions::default())
                .and_then(|ticket| ticket.wait().map(|committed| committed.version)),
        ),
    ]
}

#[test]
fn t30_limits_hold_at_the_limit_and_one_beyond_in_every_mode_and_by_every_way_in() {
    let Limits { key_bytes_max, value_bytes_max, name_bytes_max, tags_max, .. } = small_limits();
    for mode in MODES {
        let world = World::memory().mode(mode);
        let db = world.open();
        db.begin_run(run(1), NO_TAGS).unwrap();
        for (key, value, admitted) in [
            (1, 0, true),
            (key_bytes_max, value_bytes_max, true),
            (key_bytes_max + 1, 0, false),
            (1, value_bytes_max + 1, false),
        ] {
            let version = db.storage().version();
            let (key, value) = (vec![b'k'; key], Value::Bytes(vec![1; value]));
            assert_eq!(ways_in(&db, &key, &value), vec![admitted; 4], "{mode:?}");
            assert_eq!(db.storage().version(), version + if admitted { 4 } else { 0 });
        }
        // A session with a larger limit may have put what is to be deleted.
        let delete = |len: usize| db.delete(run(1), vec![b'k'; len]).is_ok();
        assert!(delete(key_bytes_max) && delete(key_bytes_max + 1));
        let remove = |len: usize| db.remove(run(1), vec![b'k'; len]).is_ok();
        assert!(remove(key_bytes_max) && remove(key_bytes_max + 1) && !remove(0));
        // Reading with a key that is too long is no harm: it is not there.
        assert_eq!(db.get(run(1), vec![b'k'; key_bytes_max + 1]).unwrap(), None);

        let begin = |n: u8, name: usize, value: usize, count: usize| {
            let tags = (0..count).map(|t| {
                let name: String = format!("{t:0>width$}", width = name);
                (name, "v".repeat(value))
            });
            db.begin_run(run(n), tags)
        };
        begin(10, name_bytes_max, name_bytes_max, tags_max).unwrap();
        for (name, value, count) in
            [(name_bytes_max + 1, 1, 1), (1, name_bytes_max + 1, 1), (1, 1, tags_max + 1)]
        {
            let error = begin(11, name, value, count).unwrap_err();
            assert!(matches!(error, Error::LimitExceeded { .. }), "{error}");
        }
        assert!(db.get_run(run(11)).unwrap().is_none());
        let shown = state(&db);
        drop(db);
        assert_eq!(state(&world.open()), shown, "what was admitted can be stored and read");
    }
}

#[test]
fn t30_a_batch_holds_at_its_limit_and_one_beyond_in_every_mode() {
    let limits = small_limits();
    // Two puts of 64 bytes overhead and two-byte keys, whose values fill the rest.
    let rest = limits.batch_bytes_max - 2 * (64 + 2);
    for mode in MODES {
        let world = World::memory().mode(mode);
        let db = world.open();
        db.begin_run(run(1), NO_TAGS).unwrap();
        for (beyond, admitted) in [(0, true), (1, false)] {
            let first = rest / 2;
            let mut batch = WriteBatch::new();
            batch.put(run(1), "k1", vec![1; first]).put(
                run(1),
                "k2",
                vec![2; rest - first + beyond],
            );
            let submitted = db.submit(batch.clone(), WriteOptions::default());
            assert_eq!(submitted.is_ok(), admitted, "{mode:?}");
            if let Ok(ticket) = submitted {
                ticket.wait().unwrap();
            }
            match db.write(batch) {
                Ok(_) => assert!(admitted),
                Err(Error::LimitExceeded { what: "batch bytes", .. }) => assert!(!admitted),
                Err(other) => panic!("{other}"),
            }
        }
        let shown = state(&db);
        drop(db);
        assert_eq!(state(&world.open()), shown);
    }
}

#[test]
fn a_record_larger_than_a_segment_gets_a_segment_of_its_own() {
    let world = World::memory().with(|options| options.segment_bytes = 512);
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    for size in [10, 50_000, 10, 400, 64 << 10] {
        db.put(run(1), format!("{size}"), vec![3; size]).unwrap();
    }
    let shown = state(&db);
    let killed = memory_of(&image(&*world.vfs, DIR));
    assert_eq!(state(&world.on_disk(killed).open()), shown);
    drop(db);
    assert_eq!(state(&world.open()), shown);
}

#[test]
fn snapshots_and_iterators_are_bounded() {
    let world = World::memory().with(|options| options.snapshots_max = 3);
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    let mut held: Vec<_> = (0..3).map(|_| db.snapshot().unwrap()).collect();
    assert!(matches!(db.snapshot(), Err(Error::LimitExceeded { limit: 3, actual: 4, .. })));
    assert!(matches!(db.list(run(1), ""), Err(Error::LimitExceeded { .. })));
    held.pop();
    assert!(db.list(run(1), "").is_ok());
    held.clear();
    let scans: Vec<_> = (0..3).map(|_| db.scan_prefix(run(1), "").unwrap()).collect();
    assert!(matches!(db.scan_prefix(run(1), ""), Err(Error::LimitExceeded { .. })));
    drop(scans);
    assert!(db.scan_prefix(run(1), "").is_ok());
}

/// A value of every kind, with the ends of each range.
fn values(db: &Database) -> Vec<Value> {
    let entry = db.get_run(run(1)).unwrap().unwrap();
    let at = Timestamp::from_millis(u64::MAX);
    let floats = [0.0, -0.0, f64::NAN, -f64::NAN, f64::INFINITY, f64::MIN_POSITIVE, 1.5];
    let mut values = vec![
        Value::Null,
        Value::Bool(false),
        Value::Bool(true),
        Value::Int(i64::MIN),
        Value::Int(-1),
        Value::Int(i64::MAX),
        Value::String(String::new()),
        Value::String("ünï\0cödé 🪨".to_owned()),
        Value::Bytes(vec![]),
        Value::Bytes((0..=255).collect()),
        Value::from(EventEntry {
            sequence: u64::MAX,
            event_type: "e".to_owned(),
            payload: vec![0, 255],
            timestamp: at,
        }),
        Value::from(StateMachineEntry { state: "s".to_owned(), version: 7, updated_at: at }),
        Value::from(TraceEntry {
            trace_id: "t".to_owned(),
            parent_id: None,
            trace_type: String::new(),
            content: vec![1],
            timestamp: at,
        }),
        Value::from(TraceEntry {
            trace_id: String::new(),
            parent_id: Some("p".to_owned()),
            trace_type: "x".to_owned(),
            content: vec![],
            timestamp: Timestamp::from_millis(0),
        }),
        Value::from(entry),
    ];
    values.extend(floats.map(Value::Float));
    values
}

#[test]
fn t13_every_kind_of_value_reads_back_through_a_kill_and_a_restart_bit_by_bit() {
    for mode in MODES {
        let world = World::memory().mode(mode);
        let db = world.open();
        db.begin_run(run(1), [("a", "b")]).unwrap();
        let values = values(&db);
        assert!(ValueKind::ALL.iter().all(|kind| values.iter().any(|v| v.kind() == *kind)));
        for (n, value) in values.iter().enumerate() {
            db.put(run(1), n.to_string(), value.clone()).unwrap();
        }
        db.flush().unwrap();
        let killed = world.on_disk(memory_of(&image(&*world.vfs, DIR)));
        drop(db);
        for db in [killed.open(), world.open()] {
            for (n, value) in values.iter().enumerate() {
                assert_eq!(db.get(run(1), n.to_string()).unwrap().as_ref(), Some(value));
            }
        }
    }
}

#[test]
fn options_whose_limits_do_not_fit_the_next_stage_are_refused() {
    let changes: [fn(&mut Options); 5] = [
        |o| o.limits.value_bytes_max = o.limits.batch_bytes_max,
        |o| o.memory_bytes_max = o.limits.batch_bytes_max as u64 * 16 / 3 - 1,
        |o| o.limits.key_bytes_max = 0,
        |o| o.segment_bytes = 2 << 30,
        |o| o.queue_commits_max = 0,
    ];
    for change in changes {
        let refused = World::memory().with(change).try_open().map(|_| ());
        assert!(matches!(refused, Err(Error::InvalidArgument { .. })));
    }
}
