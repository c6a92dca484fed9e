//! What excursions compare, and how they say what is wrong.
//!
//! Invariant: nothing here changes a disk or a store.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use runstone::{Database, Error, RunFilter, RunMetadataEntry, VersionedValue};

use crate::disk::SimVfs;
use crate::harness::world::DIR;

/// A breach: the clause, and what was seen.
pub(super) type Trip<T = ()> = Result<T, (&'static str, String)>;

type Pairs = Vec<(Vec<u8>, VersionedValue)>;

/// Everything that a database shows.
#[derive(Debug, PartialEq)]
pub(super) struct Shown {
    pub(super) version: u64,
    runs: Vec<(RunMetadataEntry, Pairs)>,
}

pub(super) fn shown(db: &Database) -> Trip<Shown> {
    let read = || -> Result<Shown, Error> {
        let runs = db.runs(RunFilter::default())?.map(|entry| {
            // Of one that was dropped there is nothing to read.
            let scan = match db.scan_prefix(entry.run_id, "") {
                Err(Error::RunDropped { .. }) => None,
                scan => Some(scan?),
            };
            let keys: Result<Vec<_>, Error> = scan.into_iter().flatten().collect();
            Ok((entry, keys?))
        });
        Ok(Shown { version: db.storage().version(), runs: runs.collect::<Result<_, Error>>()? })
    };
    read().map_err(|error| ("read", format!("a read failed: {error}")))
}

pub(super) const MANIFEST: &str = "runstone.manifest";

pub(super) fn lock() -> PathBuf {
    Path::new(DIR).join("runstone.lock")
}

pub(super) fn must<T>(call: &str, outcome: Result<T, Error>) -> Trip<T> {
    outcome.map_err(|error| ("owner", format!("{call} of the rightful owner failed: {error}")))
}

/// Files of another are as they were. A power cut may leave files that no program has made.
pub(super) fn same_files(
    found: &BTreeMap<PathBuf, Vec<u8>>,
    expected: &BTreeMap<PathBuf, Vec<u8>>,
) -> Trip {
    let is_stray = |path: &Path| {
        let name = path.file_name().unwrap_or_default();
        !expected.contains_key(path) && !name.to_string_lossy().starts_with("runstone")
    };
    let all = found.keys().filter(|path| !is_stray(path)).chain(expected.keys());
    match all.into_iter().find(|path| found.get(*path) != expected.get(*path)) {
        None => Ok(()),
        Some(path) => {
            let bytes = |image: &BTreeMap<PathBuf, Vec<u8>>| image.get(path).map(Vec::len);
            let (found, expected) = (bytes(found), bytes(expected));
            let path = path.display();
            Err(("owner", format!("{path} of another has {found:?} bytes, not {expected:?}")))
        }
    }
}

pub(super) fn same<T: PartialEq>(what: &str, found: &T, expected: &T) -> Trip {
    match found == expected {
        true => Ok(()),
        false => Err(("owner", format!("{what} is not what it should be"))),
    }
}

pub(super) fn changing_calls(disk: &SimVfs) -> u64 {
    let calls = disk.stats().calls;
    calls.iter().filter(|(kind, _)| kind.changes()).map(|(_, count)| count).sum()
}
