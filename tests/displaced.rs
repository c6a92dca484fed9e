//! A store on the real disk whose directory, lock or manifest is moved, replaced or removed while
//! it is open.
//!
//! What stays true: a handle writes into the directory that it opened and into no other, it owns
//! up to a loss at the next sync point at the latest, and two histories are never merged.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that fails says so
#![allow(clippy::disallowed_methods)] // tests start child processes and wait for them

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use common::real_disk::{builder, entries, make, shown, use_it};
use common::{NO_TAGS, run, state};
use runstone::{Builder, Database, DurabilityMode, Error};

const CHILD_DIR: &str = "RUNSTONE_TEST_DISPLACED_DIR";
const LOCK: &str = "runstone.lock";
const MANIFEST: &str = "runstone.manifest";

fn batched() -> Builder {
    builder().durability(DurabilityMode::Batched { interval_ms: 0, batch_size: 1_000_000 })
}

fn is_displaced<T>(outcome: runstone::Result<T>) -> bool {
    matches!(outcome, Err(Error::Displaced { .. }))
}

/// Every call that writes answers so, the close at last, and no later one writes.
fn assert_displaced(db: &Database) {
    assert!(is_displaced(db.put(run(1), "displaced", 1)), "put");
    assert!(is_displaced(db.flush()), "flush");
    assert!(is_displaced(db.maintain()), "maintain");
    assert!(is_displaced(db.tick()), "tick");
    let Err(Error::Displaced { dir, what }) = db.close() else { panic!("close") };
    assert!(!dir.as_os_str().is_empty() && !what.is_empty());
    assert!(db.is_closed());
}

/// Not a test of its own: what the process of the next test does.
#[test]
fn child_that_changes_its_working_directory() {
    let Ok(base) = std::env::var(CHILD_DIR) else { return };
    let base = PathBuf::from(base);
    std::env::set_current_dir(base.join("a")).unwrap();
    let db = builder().open("store").unwrap();
    use_it(&db, "before");
    std::env::set_current_dir(base.join("b")).unwrap();
    use_it(&db, "behind");
    db.close().unwrap();
    println!("outcome: closed");
}

#[test]
fn another_working_directory_leads_no_write_into_a_store_of_the_same_relative_path() {
    let base = tempfile::tempdir().unwrap();
    let (a, b) = (base.path().join("a"), base.path().join("b"));
    fs::create_dir(&a).unwrap();
    fs::create_dir(&b).unwrap();
    let other = make(&b.join("store"), 2);
    let before = entries(&b.join("store"));
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_changes_its_working_directory", "--nocapture"])
        .env(CHILD_DIR, base.path())
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("outcome: closed"), "{output:?}");
    assert_eq!(entries(&b.join("store")), before);
    assert_eq!(shown(&b.join("store")), other);
    assert_eq!(shown(&a.join("store")).runs[&run(1)].1.len(), 40);
}

#[test]
fn a_renamed_directory_is_followed_and_the_one_in_its_place_is_untouched() {
    let base = tempfile::tempdir().unwrap();
    for is_parent in [false, true] {
        let above = base.path().join(format!("above {is_parent}"));
        let (store, moved) = (above.join("store"), base.path().join(format!("at {is_parent}")));
        let db = builder().open(&store).unwrap();
        use_it(&db, "before");
        let moved = match is_parent {
            true => fs::rename(&above, &moved).map(|()| moved.join("store")),
            false => fs::rename(&store, &moved).map(|()| moved),
        };
        let other = make(&store, 2);
        let before = entries(&store);
        use_it(&db, "behind");
        let expected = state(&db);
        db.close().unwrap();
        assert_eq!(entries(&store), before, "the one that took its place");
        assert_eq!(shown(&store), other);
        assert_eq!(shown(&moved.unwrap()), expected);
    }
}

#[test]
fn a_link_that_is_pointed_elsewhere_leads_no_write_there() {
    let base = tempfile::tempdir().unwrap();
    let (a, b, link) = (base.path().join("a"), base.path().join("b"), base.path().join("link"));
    fs::create_dir(&a).unwrap();
    for below in ["store", "."] {
        symlink(&a, &link).unwrap();
        let db = builder().open(link.join(below)).unwrap();
        use_it(&db, "before");
        fs::remove_file(&link).unwrap();
        symlink(&b, &link).unwrap();
        let other = make(&b.join(below), 2);
        let before = entries(&b.join(below));
        use_it(&db, "behind");
        let expected = state(&db);
        db.close().unwrap();
        assert_eq!(entries(&b.join(below)), before);
        assert_eq!(shown(&b.join(below)), other);
        assert_eq!(shown(&a.join(below)), expected);
        for dir in [&a, &b] {
            fs::remove_dir_all(dir).unwrap();
            fs::create_dir(dir).unwrap();
        }
        fs::remove_file(&link).unwrap();
    }
}

#[test]
fn a_removed_directory_is_told_and_nothing_is_made_where_it_was() {
    let base = tempfile::tempdir().unwrap();
    let store = base.path().join("store");
    for made_again in [false, true] {
        let db = builder().open(&store).unwrap();
        use_it(&db, "before");
        fs::remove_dir_all(&store).unwrap();
        if made_again {
            fs::create_dir(&store).unwrap();
        }
        assert_displaced(&db);
        drop(db);
        assert_eq!(store.exists(), made_again);
        assert!(!made_again || entries(&store).is_empty());
    }
}

#[test]
fn each_first_call_behind_the_removal_of_the_directory_tells_of_it() {
    type Call = fn(&Database) -> bool;
    let calls: [(&str, Call); 3] = [
        ("put", |db| is_displaced(db.put(run(1), "k", 1))),
        ("end_run", |db| is_displaced(db.end_run(run(1)))),
        ("close", |db| is_displaced(db.close())),
    ];
    let base = tempfile::tempdir().unwrap();
    for (name, call) in calls {
        let store = base.path().join(name);
        let db = builder().open(&store).unwrap();
        use_it(&db, "before");
        fs::remove_dir_all(&store).unwrap();
        assert!(call(&db), "{name}");
        assert!(!store.exists());
    }
    for (name, call) in [
        ("flush", (|db| is_displaced(db.flush())) as Call),
        ("tick", |db| is_displaced(db.tick())),
        ("close", |db| is_displaced(db.close())),
    ] {
        let store = base.path().join(format!("batched {name}"));
        let db = batched().open(&store).unwrap();
        use_it(&db, "before");
        db.put(run(1), "not synced", 1).unwrap();
        fs::remove_dir_all(&store).unwrap();
        assert!(call(&db), "batched: {name}");
        assert!(!store.exists());
    }
}

#[test]
fn an_owner_whose_lock_was_removed_stops_before_it_harms_the_second_owner() {
    let store = tempfile::tempdir().unwrap();
    let (first, dir) = (builder().open(store.path()).unwrap(), store.path());
    use_it(&first, "first");
    fs::remove_file(dir.join(LOCK)).unwrap();

    let second = builder().open(dir).unwrap();
    assert_eq!(state(&second), state(&first), "nothing acknowledged is missing");
    use_it(&second, "second");
    let expected = state(&second);

    assert_displaced(&first);
    drop(first);
    let again = builder().open(dir).map(|_| ()).unwrap_err();
    assert!(matches!(again, Error::Locked { .. }), "the second holds its lock: {again}");
    second.close().unwrap();
    assert_eq!(shown(dir), expected);
}

#[test]
fn under_batched_the_tick_finds_that_the_lock_was_removed() {
    let store = tempfile::tempdir().unwrap();
    let (first, dir) = (batched().open(store.path()).unwrap(), store.path());
    use_it(&first, "first");
    let synced = state(&first);
    fs::remove_file(dir.join(LOCK)).unwrap();
    let second = builder().open(dir).unwrap();
    assert_eq!(state(&second), synced);
    first.put(run(1), "into the log of before", 1).unwrap();
    assert!(is_displaced(first.tick()), "the sync is due at once");
    assert_displaced(&first);
    use_it(&second, "second");
    let expected = state(&second);
    second.close().unwrap();
    assert_eq!(shown(dir), expected);
}

#[test]
fn a_lock_that_was_removed_is_missed_also_if_nobody_else_has_opened() {
    for is_put_back in [false, true] {
        let store = tempfile::tempdir().unwrap();
        let dir = store.path();
        let db = builder().open(dir).unwrap();
        use_it(&db, "before");
        let expected = state(&db);
        let bytes = fs::read(dir.join(LOCK)).unwrap();
        fs::remove_file(dir.join(LOCK)).unwrap();
        if is_put_back {
            fs::write(dir.join(LOCK), bytes).unwrap();
        }
        let manifest = fs::read(dir.join(MANIFEST)).unwrap();
        assert_displaced(&db);
        drop(db);
        assert_eq!(fs::read(dir.join(MANIFEST)).unwrap(), manifest);
        // What was told as lost may be there; what was acknowledged is.
        let found = shown(dir);
        for (key, value) in &expected.runs[&run(1)].1 {
            assert!(found.runs[&run(1)].1.contains(&(key.clone(), value.clone())), "{key:?}");
        }
    }
}

#[test]
fn a_manifest_that_somebody_else_put_there_is_never_replaced() {
    let other = tempfile::tempdir().unwrap();
    make(other.path(), 2);
    let foreign = fs::read(other.path().join(MANIFEST)).unwrap();
    for (is_written_into, content) in
        [(false, &foreign[..]), (true, &foreign[..]), (false, b"no manifest"), (true, b"")]
    {
        for rotates in [false, true] {
            let store = tempfile::tempdir().unwrap();
            let (db, path) = (builder().open(store.path()).unwrap(), store.path().join(MANIFEST));
            db.begin_run(run(1), NO_TAGS).unwrap();
            if !is_written_into {
                fs::remove_file(&path).unwrap();
            }
            fs::write(&path, content).unwrap();
            let put = |n: i64| db.put(run(1), format!("{n:02}"), n);
            let rotated = !rotates || (0..20).any(|n| is_displaced(put(n)));
            assert!(rotated, "a rotation answers so");
            assert!(is_displaced(db.close()), "{content:?}");
            drop(db);
            assert_eq!(fs::read(&path).unwrap(), content, "written into: {is_written_into}");
        }
    }
}

#[test]
fn a_store_is_used_on_while_its_own_files_have_more_links() {
    // A backup by hard links changes no name and no content.
    let store = tempfile::tempdir().unwrap();
    let backup = tempfile::tempdir().unwrap();
    let db = builder().open(store.path()).unwrap();
    use_it(&db, "before");
    for name in entries(store.path()).into_keys() {
        fs::hard_link(store.path().join(&name), backup.path().join(&name)).unwrap();
    }
    use_it(&db, "behind");
    let expected = state(&db);
    db.close().unwrap();
    assert_eq!(shown(store.path()), expected);
}

#[test]
fn a_second_process_that_waits_for_the_lock_finds_it_only_when_it_is_free() {
    let store = tempfile::tempdir().unwrap();
    let dir = store.path();
    let first = builder().open(dir).unwrap();
    use_it(&first, "first");
    let started = std::time::Instant::now();
    for _ in 0..3 {
        assert!(matches!(builder().open(dir), Err(Error::Locked { .. })));
        assert!(matches!(builder().open_read_only(dir), Err(Error::Locked { .. })));
    }
    assert!(started.elapsed() < Duration::from_secs(30), "refused, not waited for");
    // Whoever was refused has done no harm.
    use_it(&first, "behind");
    let expected = state(&first);
    first.close().unwrap();
    assert_eq!(shown(dir), expected);
}
