//! Stores on the real disk, and what stands beside them in their directories.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use runstone::{Builder, Database, Options};
use tempfile::TempDir;

use super::{NO_TAGS, State, run, state};

/// Small segments, so that a few puts rotate; and nothing happens but what the test does.
pub fn options() -> Options {
    Options {
        background_threads: 0,
        segment_bytes: 600,
        preallocate_bytes: 0,
        ..Options::default()
    }
}

pub fn builder() -> Builder {
    Database::builder().options(options())
}

/// Makes a closed store in which run `n` holds `n`.
pub fn make(dir: &Path, n: u8) -> State {
    let db = builder().open(dir).unwrap();
    db.begin_run(run(n), NO_TAGS).unwrap();
    db.put(run(n), "n", i64::from(n)).unwrap();
    let made = state(&db);
    db.close().unwrap();
    made
}

/// Puts enough for some rotations, and what it needs of maintenance.
pub fn use_it(db: &Database, prefix: &str) {
    if db.get_run(run(1)).unwrap().is_none() {
        db.begin_run(run(1), NO_TAGS).unwrap();
    }
    for n in 0..20i64 {
        db.put(run(1), format!("{prefix} {n:02}"), n).unwrap();
    }
    db.flush().unwrap();
    db.maintain().unwrap();
}

/// Everything that stands in a directory: files with their bytes, links with what they lead to.
pub fn entries(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entry = |found: std::io::Result<fs::DirEntry>| {
        let found = found.unwrap();
        let path = found.path();
        let bytes = match found.file_type().unwrap() {
            kind if kind.is_file() => fs::read(&path).unwrap(),
            kind if kind.is_symlink() => {
                fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
            }
            kind => format!("{kind:?}").into_bytes(),
        };
        (found.file_name().into_string().unwrap(), bytes)
    };
    fs::read_dir(dir).unwrap().map(entry).collect()
}

/// A crash, as far as the files show it: they are copied while the store is open.
pub fn crashed(dir: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for (name, bytes) in entries(dir) {
        if dir.join(&name).is_file() {
            fs::write(copy.path().join(name), bytes).unwrap();
        }
    }
    copy
}

pub fn shown(dir: &Path) -> State {
    let db = builder().open(dir).unwrap();
    let shown = state(&db);
    db.close().unwrap();
    shown
}
