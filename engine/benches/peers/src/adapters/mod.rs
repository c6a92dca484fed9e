//! The engines: one file each, and the list of them.

mod btree_map;
mod canopydb;
#[cfg(test)]
mod conformance;
mod fjall;
mod heed;
mod memory_copy;
mod raw_log;
mod redb;
#[cfg(feature = "rocksdb")]
mod rocksdb;
mod runstone;
mod sled;
mod sqlite;
mod surrealkv;

use anyhow::Result;

use crate::engine::{Engine, Setup};

/// The engine that the others are compared with.
pub const SUBJECT: &str = "runstone";

/// What an entry of the list is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Runstone.
    Subject,
    /// An engine to compare with.
    Peer,
    /// What the machine does without an engine; never the best peer.
    Limit,
}

/// An entry of the list.
#[derive(Clone, Copy)]
pub struct Spec {
    /// As the report calls it.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// The packages whose versions the report names.
    packages: &'static [&'static str],
    /// Opens a store in a directory that exists.
    pub open: fn(&Setup) -> Result<Box<dyn Engine>>,
}

const fn entry(
    name: &'static str,
    kind: Kind,
    packages: &'static [&'static str],
    open: fn(&Setup) -> Result<Box<dyn Engine>>,
) -> Spec {
    Spec { name, kind, packages, open }
}

/// All of them, in the order of the report.
pub const ALL: &[Spec] = &[
    entry(SUBJECT, Kind::Subject, &["runstone"], runstone::open),
    entry("redb", Kind::Peer, &["redb"], redb::open),
    entry("fjall", Kind::Peer, &["fjall", "lsm-tree"], fjall::open),
    entry("heed", Kind::Peer, &["heed", "lmdb-master-sys"], heed::open),
    entry("canopydb", Kind::Peer, &["canopydb"], canopydb::open),
    entry("sled", Kind::Peer, &["sled"], sled::open),
    entry("surrealkv", Kind::Peer, &["surrealkv"], surrealkv::open),
    entry("sqlite", Kind::Peer, &["rusqlite", "libsqlite3-sys"], sqlite::open),
    entry("rocksdb", Kind::Peer, &["rocksdb", "librocksdb-sys"], rocksdb_open),
    entry("raw log", Kind::Limit, &[], raw_log::open),
    entry("BTreeMap", Kind::Limit, &[], btree_map::open),
    entry("memcpy", Kind::Limit, &[], memory_copy::open),
];

#[cfg(feature = "rocksdb")]
use rocksdb::open as rocksdb_open;

#[cfg(not(feature = "rocksdb"))]
fn rocksdb_open(_: &Setup) -> Result<Box<dyn Engine>> {
    crate::engine::not_there("built without the feature rocksdb")
}

impl Spec {
    /// What was built, from the lock file, and what the library says of itself.
    pub fn versions(&self) -> String {
        let locked = self.packages.iter().filter_map(|package| {
            let version = locked_version(package)?;
            Some(format!("{package} {version}"))
        });
        let mut versions: Vec<String> = locked.collect();
        match self.name {
            "heed" => versions.push(::heed::lmdb_version().string.to_owned()),
            "sqlite" => versions.push(format!("SQLite {}", rusqlite::version())),
            "rocksdb" if option_env!("ROCKSDB_LIB_DIR").is_some() => {
                versions.push("linked from the system, whose version may be another".to_owned());
            }
            _ => {}
        }
        versions.join(", ")
    }
}

/// The entry with a name.
pub fn find(name: &str) -> Option<Spec> {
    ALL.iter().copied().find(|spec| spec.name == name)
}

/// What an entry is; what is not in this build counts as a peer.
pub fn kind(name: &str) -> Kind {
    find(name).map_or(Kind::Peer, |spec| spec.kind)
}

/// The version of a package in the lock file that this was built with.
fn locked_version(package: &str) -> Option<&'static str> {
    let lock = include_str!("../../Cargo.lock");
    let entry = lock
        .split("[[package]]")
        .find(|entry| entry.lines().any(|line| line == format!("name = \"{package}\"")))?;
    let line = entry.lines().find_map(|line| line.strip_prefix("version = \""))?;
    Some(line.trim_end_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_that_is_named_is_in_the_lock_file() {
        for spec in ALL {
            for package in spec.packages {
                assert!(locked_version(package).is_some(), "{package}");
            }
        }
    }

    #[test]
    fn there_is_one_subject_and_no_name_twice() {
        assert_eq!(ALL.iter().filter(|spec| spec.kind == Kind::Subject).count(), 1);
        for spec in ALL {
            assert_eq!(ALL.iter().filter(|other| other.name == spec.name).count(), 1);
        }
    }
}
