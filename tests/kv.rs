//! The facade in bytes.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that fails says so

mod common;

use std::time::Duration;

use common::{NO_TAGS, World, run};
use runstone::{Database, Error, KVStore, Value};

fn open() -> KVStore {
    let db = Database::in_memory().unwrap();
    db.begin_run(run(1), NO_TAGS).unwrap();
    KVStore::new(db)
}

#[test]
fn bytes_that_were_put_are_read_back_and_are_bytes_in_the_database() {
    let kv = open();
    let version = kv.put(run(1), "k", b"v\0\xff").unwrap();
    assert_eq!(kv.get(run(1), "k").unwrap().unwrap(), b"v\0\xff");
    let found = kv.database().get_versioned(run(1), "k").unwrap().unwrap();
    assert_eq!((found.value, found.version), (Value::Bytes(b"v\0\xff".to_vec()), version));
    kv.put(run(1), "empty", "").unwrap();
    assert_eq!(kv.get(run(1), "empty").unwrap().unwrap(), b"");
}

#[test]
fn a_missing_key_is_none() {
    let kv = open();
    assert_eq!(kv.get(run(1), "missing").unwrap(), None);
    assert!(matches!(kv.get(run(2), "missing"), Err(Error::RunNotFound { .. })));
}

#[test]
fn a_delete_says_whether_there_was_something() {
    let kv = open();
    kv.put(run(1), "k", "v").unwrap();
    assert!(kv.delete(run(1), "k").unwrap());
    assert!(!kv.delete(run(1), "k").unwrap());
    assert_eq!(kv.get(run(1), "k").unwrap(), None);
    kv.database().put(run(1), "of another kind", 1).unwrap();
    assert!(kv.delete(run(1), "of another kind").unwrap());
}

#[test]
fn a_pair_with_a_ttl_is_gone_when_its_time_is_over() {
    let world = World::memory();
    let kv = KVStore::new(world.open());
    kv.database().begin_run(run(1), NO_TAGS).unwrap();
    kv.put_with_ttl(run(1), "k", "v", Some(Duration::from_millis(20))).unwrap();
    kv.put_with_ttl(run(1), "stays", "v", None).unwrap();
    assert!(kv.exists(run(1), "k").unwrap());
    world.clock.advance(20);
    assert!(!kv.exists(run(1), "k").unwrap());
    assert_eq!(kv.get(run(1), "k").unwrap(), None);
    assert_eq!(kv.list(run(1), "").unwrap().len(), 1);
}

#[test]
fn a_list_is_sorted_and_keeps_to_its_prefix() {
    let kv = open();
    kv.batch(run(1)).put("a/1", "1").put("b", "3").put("a/2", "2").commit().unwrap();
    let pairs = kv.list(run(1), "a/").unwrap();
    assert_eq!(pairs, [(b"a/1".to_vec(), b"1".to_vec()), (b"a/2".to_vec(), b"2".to_vec())]);
    assert_eq!(kv.list(run(1), "").unwrap().len(), 3);
    let back: Vec<_> = kv.scan(run(1), "a/2"..).unwrap().rev().map(|p| p.unwrap().0).collect();
    assert_eq!(back, [b"b".to_vec(), b"a/2".to_vec()]);
}

#[test]
fn exists_tells_presence_of_any_kind_of_value() {
    let kv = open();
    assert!(!kv.exists(run(1), "k").unwrap());
    kv.database().put(run(1), "k", Value::Null).unwrap();
    assert!(kv.exists(run(1), "k").unwrap());
    kv.delete(run(1), "k").unwrap();
    assert!(!kv.exists(run(1), "k").unwrap());
}

#[test]
fn an_update_replaces_the_value_and_takes_a_later_version() {
    let kv = open();
    let first = kv.put(run(1), "k", "one").unwrap();
    let second = kv.put(run(1), "k", "two").unwrap();
    assert!(second > first);
    assert_eq!(kv.get(run(1), "k").unwrap().unwrap(), b"two");
    assert_eq!(kv.list(run(1), "").unwrap().len(), 1);
}

#[test]
fn the_facade_holds_nothing_so_two_of_one_database_are_the_same() {
    let one = open();
    let other = KVStore::new(one.database().clone());
    one.put(run(1), "k", "v").unwrap();
    assert_eq!(other.get(run(1), "k").unwrap().unwrap(), b"v");
    assert_eq!(size_of::<KVStore>(), size_of::<usize>(), "a handle and nothing else");
    drop(one);
    other.put(run(1), "k", "w").unwrap();
    assert_eq!(other.get(run(1), "k").unwrap().unwrap(), b"w");
}

#[test]
fn a_clone_is_the_same_store_and_keeps_it_open() {
    let kv = open();
    let clone = kv.clone();
    clone.put(run(1), "k", "v").unwrap();
    assert_eq!(kv.get(run(1), "k").unwrap().unwrap(), b"v");
    drop(kv);
    assert_eq!(clone.get(run(1), "k").unwrap().unwrap(), b"v");
    clone.database().close().unwrap();
    assert!(matches!(clone.get(run(1), "k"), Err(Error::Closed)));
}

#[test]
fn the_same_key_in_different_runs_is_a_different_pair() {
    let kv = open();
    kv.database().begin_run(run(2), NO_TAGS).unwrap();
    kv.put(run(1), "k", "one").unwrap();
    kv.put(run(2), "k", "two").unwrap();
    assert_eq!(kv.get(run(1), "k").unwrap().unwrap(), b"one");
    assert_eq!(kv.get(run(2), "k").unwrap().unwrap(), b"two");
    kv.delete(run(1), "k").unwrap();
    assert!(kv.exists(run(2), "k").unwrap());
    assert_eq!(kv.list(run(1), "").unwrap(), []);
}

#[test]
fn a_value_that_is_not_bytes_is_a_wrong_type_and_ends_a_walk_for_good() {
    let kv = open();
    kv.put(run(1), "a", "bytes").unwrap();
    kv.database().put(run(1), "b", 1).unwrap();
    kv.put(run(1), "c", "bytes").unwrap();
    assert!(matches!(kv.get(run(1), "b"), Err(Error::WrongType { .. })));
    assert!(matches!(kv.list(run(1), ""), Err(Error::WrongType { .. })));
    let mut scan = kv.scan::<&str, _>(run(1), ..).unwrap();
    assert!(scan.next().unwrap().is_ok());
    assert!(matches!(scan.next(), Some(Err(Error::WrongType { .. }))));
    assert!(scan.next().is_none() && scan.next_back().is_none());
}
