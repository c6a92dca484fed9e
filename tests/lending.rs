//! What a read lends: values where they stand, in memtables, blocks and extents.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that fails says so

use std::sync::Arc;

use runstone::vfs::{MemVfs, Vfs};
use runstone::{Database, EntryRef, Error, KVStore, Options, RunId, Value};
use runstone_sim::disk::{DiskConfig, SimVfs};

/// A store whose memtables are flushed when maintenance is asked, with blocks of a few entries and
/// a cache of two.
fn store() -> (Database, RunId) {
    store_on(Arc::new(MemVfs::new()))
}

fn store_on(vfs: Arc<dyn Vfs>) -> (Database, RunId) {
    let options = Options {
        flush_bytes: 1,
        background_threads: 0,
        cache_bytes_max: 2 << 10,
        block_bytes: 512,
        extent_bytes_min: 1 << 10,
        ..Options::default()
    };
    let db = Database::builder().options(options).vfs(vfs).open("/store").unwrap();
    let run = RunId::from_bytes([1; 16]);
    db.begin_run(run, runstone::NO_TAGS).unwrap();
    (db, run)
}

fn drain(db: &Database) {
    while db.maintain().unwrap().left > 0 {}
}

fn own(entry: EntryRef<'_>) -> (Vec<u8>, u64, Value) {
    (entry.key().to_vec(), entry.version(), entry.value().to_value().unwrap())
}

#[test]
fn what_is_lent_is_what_get_versioned_gives_wherever_it_stands() {
    let (db, run) = store();
    let values = |round: u8| {
        [
            Value::Bytes(vec![round; 40]),
            Value::from("text"),
            Value::Int(i64::from(round)),
            // Beyond a block: in an extent of its own.
            Value::Bytes(vec![round; 5000]),
            Value::Bytes(Vec::new()),
            Value::Null,
        ]
    };
    let compare = |place: &str| {
        for key in 0..60u8 {
            let versioned = db.get_versioned(run, [key]).unwrap();
            let versioned = versioned.map(|found| (vec![key], found.version, found.value));
            assert_eq!(db.get_with(run, [key], own).unwrap(), versioned, "{place}: {key}");
            let then = db.snapshot().unwrap().get_with(run, [key], own).unwrap();
            assert_eq!(then, versioned, "{place}: {key}");
        }
    };
    for round in 0..3 {
        for key in (0..60u8).filter(|key| key % 4 != 3) {
            db.put(run, [key], values(round)[usize::from(key % 6)].clone()).unwrap();
        }
        db.remove(run, [20 + round]).unwrap();
        compare("in a memtable");
        drain(&db);
        compare("in tables");
    }
    db.remove_range(run, [30]..[40]).unwrap();
    compare("where a range was removed");
}

#[test]
fn who_reads_what_is_lent_may_write_flush_and_read_meanwhile() {
    let (db, run) = store();
    for key in 0..200u8 {
        db.put(run, [key], [key; 60].as_slice()).unwrap();
    }
    for place in ["in a memtable", "in tables"] {
        let seen = db.get_with(run, [7], |entry| {
            db.put(run, [7], "another").unwrap();
            drain(&db);
            // The block is given up by the cache, and its table removed.
            for key in 0..200u8 {
                assert!(db.exists(run, [key]).unwrap());
            }
            assert_eq!(db.get_with(run, [7], own).unwrap().unwrap().2, Value::from("another"));
            entry.value().as_bytes() == Some(&[7; 60])
        });
        assert_eq!(seen.unwrap(), Some(true), "{place}");
        db.put(run, [7], [7; 60].as_slice()).unwrap();
        drain(&db);
    }
}

#[test]
fn nothing_is_lent_of_what_get_does_not_show() {
    let (db, run) = store();
    let never = |entry: EntryRef<'_>| unreachable!("{entry:?}");
    db.put(run, "k", "v").unwrap();
    let before = db.snapshot().unwrap();
    db.delete(run, "k").unwrap();
    for place in ["in a memtable", "in tables"] {
        assert_eq!(db.get_with(run, "k", never).unwrap(), None::<()>, "{place}");
        let then = before.get_with(run, "k", |entry| entry.value().to_value().unwrap());
        assert_eq!(then.unwrap(), Some(Value::from("v")), "{place}");
        drain(&db);
    }
    assert!(matches!(
        db.get_with(RunId::from_bytes([9; 16]), "k", never),
        Err(Error::RunNotFound { .. })
    ));
    assert!(matches!(db.get_with(run, "", never), Err(Error::InvalidArgument { .. })));
    db.put(run, "n", 5).unwrap();
    let kv = KVStore::new(db.clone());
    assert!(matches!(kv.get_with(run, "n", <[u8]>::len), Err(Error::WrongType { .. })));
    kv.put(run, "b", "bytes").unwrap();
    assert_eq!(kv.get_with(run, "b", <[u8]>::len).unwrap(), Some(5));
    db.end_run(run).unwrap();
    db.drop_run(run).unwrap();
    assert!(matches!(db.get_with(run, "b", own), Err(Error::RunDropped { .. })));
    db.close().unwrap();
    assert!(matches!(db.get_with(run, "b", own), Err(Error::Closed)));
}

#[test]
fn who_asks_only_whether_a_key_is_there_reads_no_extent() {
    let disk = SimVfs::with_config(5, DiskConfig::plain());
    let (db, run) = store_on(Arc::new(disk.clone()));
    db.put(run, "k", vec![7; 5000]).unwrap();
    drain(&db);
    // Its index and its block are kept from now on; an extent never is.
    assert!(db.exists(run, "k").unwrap());
    let before = disk.calls();
    assert!(db.exists(run, "k").unwrap());
    assert_eq!(disk.calls(), before);
    assert_eq!(db.get(run, "k").unwrap(), Some(Value::from(vec![7; 5000])));
    assert!(disk.calls() > before);
}
