//! What the statement looks at: what happened to a disk, and what it holds after a crash.
//!
//! Plain data, by inode, as `strace` and `stat` would tell it: no state of the simulated disk.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The number of a file or directory. A number may be given again to a later file.
pub type Ino = u64;

/// A name: the directory that holds it, and its text.
pub type Name = (Ino, String);

/// How a sync ended, and whether it did what it said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Synced {
    /// It returned Ok, and the device has kept its word.
    Done,
    /// It returned an error; or it failed, and the error is reported late (rule F2).
    Failed,
    /// It returned Ok and did nothing (rule F4).
    Nothing,
}

/// One thing that happened, in the order in which it did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A new, empty file.
    Create {
        /// Its name.
        name: Name,
        /// Its number.
        ino: Ino,
    },
    /// A new, empty directory.
    Mkdir {
        /// Its name.
        name: Name,
        /// Its number.
        ino: Ino,
    },
    /// A second name of a file.
    Link {
        /// The new name.
        name: Name,
        /// The file.
        ino: Ino,
    },
    /// A rename between two names that were not the same file.
    Rename {
        /// The name that goes.
        from: Name,
        /// The name that comes, or is replaced.
        to: Name,
        /// The file.
        ino: Ino,
    },
    /// A name of a file or of an empty directory is gone.
    Remove {
        /// The name.
        name: Name,
    },
    /// Bytes were written.
    Write {
        /// The file.
        ino: Ino,
        /// Where.
        pos: u64,
        /// Those that took effect.
        bytes: Vec<u8>,
        /// Whether they took effect for certain: no error, no crash under way.
        sure: bool,
    },
    /// The size was set.
    SetLen {
        /// The file.
        ino: Ino,
        /// To so many bytes.
        len: u64,
        /// As in a write.
        sure: bool,
    },
    /// Space was reserved, and the file extended.
    Allocate {
        /// The file.
        ino: Ino,
        /// To at least so many bytes.
        end: u64,
        /// As in a write.
        sure: bool,
    },
    /// A sync of a file.
    Sync {
        /// The file.
        ino: Ino,
        /// How it ended.
        outcome: Synced,
    },
    /// A sync of a directory.
    SyncDir {
        /// The directory.
        ino: Ino,
        /// How it ended.
        outcome: Synced,
    },
    /// Background writeback of a file failed, and nobody has been told (rule F2).
    WritebackFailed {
        /// The file.
        ino: Ino,
    },
}

/// What a disk holds: directories and files, by their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// The number of the directory at the top.
    pub root: Ino,
    /// The entries of every directory that can be reached.
    pub dirs: BTreeMap<Ino, BTreeMap<String, Ino>>,
    /// The content of every file that can be reached.
    pub files: BTreeMap<Ino, Vec<u8>>,
}

impl Image {
    /// An empty top directory.
    pub fn empty(root: Ino) -> Image {
        Image { root, dirs: BTreeMap::from([(root, BTreeMap::new())]), files: BTreeMap::new() }
    }

    /// The number behind a path of names below the top.
    pub fn find<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Option<Ino> {
        names.into_iter().try_fold(self.root, |dir, name| {
            self.dirs.get(&dir).and_then(|entries| entries.get(name)).copied()
        })
    }
}
