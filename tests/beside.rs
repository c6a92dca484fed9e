//! Files of other people in a store's directory: they stay byte for byte, and their names are
//! passed over.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that fails says so
#![allow(clippy::disallowed_methods)] // tests look at the real disk

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use common::real_disk::{builder, crashed, entries, make, options, shown, use_it};
use common::{NO_TAGS, run, state};
use runstone::{Database, Error, Options};

/// Files of other programs: by name, with their bytes.
fn strangers() -> [(&'static str, Vec<u8>); 12] {
    [
        ("CURRENT", b"MANIFEST-000004\n".to_vec()),
        ("LOCK", Vec::new()),
        ("LOG", b"2026/01/01-00:00:00 recovering log #3\n".to_vec()),
        ("MANIFEST-000004", vec![7; 50]),
        ("000006.log", vec![1; 512]),
        ("000123.log", Vec::new()),
        ("20260101.log", b"an application's own".to_vec()),
        ("20260101.tmp", b"an application's own".to_vec()),
        ("MANIFEST", b"another program's".to_vec()),
        ("runstone-000007.log", b"almost".to_vec()),
        ("runstone-000102030405060708090a0b0c0d0e0f-000007.log.bak", Vec::new()),
        ("runstone-000102030405060708090A0B0C0D0E0F-000007.tmp", Vec::new()),
    ]
}

#[test]
fn no_store_is_made_among_the_files_of_others_and_all_of_them_stay() {
    for (name, bytes) in strangers() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(name), &bytes).unwrap();
        let before = entries(dir.path());
        let error = builder().open(dir.path()).map(|_| ()).unwrap_err();
        assert!(matches!(&error, Error::NotAStore { .. }), "{name}: {error}");
        let text = error.to_string();
        assert!(text.contains(name) && text.contains(&*dir.path().to_string_lossy()), "{text}");
        assert_eq!(entries(dir.path()), before, "{name}");
    }
}

#[test]
fn asked_to_live_among_the_files_of_others_a_store_leaves_them_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    for (name, bytes) in strangers() {
        fs::write(dir.join(name), bytes).unwrap();
    }
    // The segment and the temporary file of another store.
    let other = tempfile::tempdir().unwrap();
    make(other.path(), 2);
    let named = |name: &String| name.starts_with("runstone-");
    for (name, bytes) in entries(other.path()).into_iter().filter(|(name, _)| named(name)) {
        fs::write(dir.join(name.replace(".log", ".tmp")), bytes).unwrap();
    }
    let foreign = entries(dir);
    assert_eq!(foreign.len(), strangers().len() + 1);
    let untouched = |dir: &Path, when: &str| {
        let now = entries(dir);
        for (name, bytes) in &foreign {
            assert_eq!(now.get(name), Some(bytes), "{when}: {name}");
        }
    };
    let among = || Database::builder().options(Options { create_among_others: true, ..options() });

    let db = among().open(dir).unwrap();
    untouched(dir, "made");
    use_it(&db, "before");
    let expected = state(&db);
    untouched(dir, "used");
    let copy = crashed(dir);
    db.close().unwrap();
    untouched(dir, "closed");

    // Once it is there, nobody need ask.
    let again = builder().open(copy.path()).unwrap();
    assert!(!again.recovery_report().clean);
    assert_eq!(again.recovery_report().foreign_files, foreign.len() as u64);
    assert_eq!(state(&again), expected);
    use_it(&again, "behind");
    again.close().unwrap();
    untouched(copy.path(), "recovered");
}

/// The store's own next names.
fn next_names(dir: &Path, kind: &str) -> Vec<PathBuf> {
    let own = |name: String| {
        let (stem, number) = name.strip_suffix(".log")?.rsplit_once('-')?;
        Some((stem.to_owned(), number.parse::<u64>().ok()?))
    };
    let last = entries(dir).into_keys().filter_map(own).max_by_key(|(_, number)| *number);
    let (stem, number) = last.expect("has a segment");
    (1..20).map(|n| dir.join(format!("{stem}-{:06}.{kind}", number + n))).collect()
}

#[test]
fn a_directory_a_socket_or_a_link_of_the_next_name_is_passed_over() {
    for kind in ["log", "tmp"] {
        let store = tempfile::tempdir().unwrap();
        let dir = store.path();
        let elsewhere = tempfile::tempdir().unwrap();
        let aim = elsewhere.path().join("aim");
        fs::write(&aim, b"somebody's").unwrap();
        let db = builder().open(dir).unwrap();
        db.begin_run(run(1), NO_TAGS).unwrap();

        let mut placed = Vec::new();
        let mut sockets = Vec::new();
        for (n, path) in next_names(dir, kind).into_iter().enumerate() {
            match n % 5 {
                0 => fs::create_dir(&path).unwrap(),
                1 => symlink(&aim, &path).unwrap(),
                2 => symlink(elsewhere.path().join("nothing"), &path).unwrap(),
                3 => sockets.push(std::os::unix::net::UnixListener::bind(&path).unwrap()),
                _ => continue,
            }
            placed.push(path.file_name().unwrap().to_str().unwrap().to_owned());
        }
        let before = entries(dir);
        use_it(&db, "before");
        let expected = state(&db);
        let copy = crashed(dir);
        db.close().unwrap();
        assert_eq!(shown(dir), expected);
        assert_eq!(shown(copy.path()), expected);

        let db = builder().open(dir).unwrap();
        assert_eq!(db.recovery_report().foreign_files, placed.len() as u64);
        use_it(&db, "behind");
        db.close().unwrap();
        let now = entries(dir);
        for name in &placed {
            assert_eq!(now.get(name), before.get(name), "{name}");
        }
        assert_eq!(fs::read(&aim).unwrap(), b"somebody's");
        assert!(!elsewhere.path().join("nothing").exists());
    }
}
