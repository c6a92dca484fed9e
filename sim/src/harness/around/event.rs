//! What may happen around a store.
//!
//! Invariant: the names stand in saved cases, and stay.

use serde::{Deserialize, Serialize};

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The directory is renamed, and perhaps another stands in its place.
    Moved,
    /// The same with the directory above.
    ParentMoved,
    /// The directory is removed with all that it holds, and perhaps made again.
    Removed,
    /// The lock file is removed, and a second owner comes.
    LockRemoved,
    /// The lock file is moved away, and comes back when the owner has noticed.
    LockMoved,
    /// Somebody puts another manifest there.
    ManifestReplaced,
    /// Files of others, and directories under names that the store would take next.
    NamesTaken,
    /// A store is to be made where files of others are.
    AmongOthers,
    /// The process forks, and the child uses and drops its copy.
    Forked,
    /// Several read, and one wants to write; and faults strike who reads.
    Readers,
}

/// All of them.
pub(in crate::harness) const EVENTS: [Event; 10] = [
    Event::Moved,
    Event::ParentMoved,
    Event::Removed,
    Event::LockRemoved,
    Event::LockMoved,
    Event::ManifestReplaced,
    Event::NamesTaken,
    Event::AmongOthers,
    Event::Forked,
    Event::Readers,
];
