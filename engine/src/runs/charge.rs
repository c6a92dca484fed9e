//! The memory that runs are charged for.
//!
//! Invariant: the end of a run takes no more than was charged when it began, so that it is never
//! refused for want of memory.

use std::collections::BTreeMap;

use super::keys;
use super::saved::SavedRun;
use crate::codec::body::RunBegin;
use crate::removals;
use crate::store::memtable::record_bytes_max;
use crate::types::{Namespace, PhysicalKey, RunId};

/// What a run costs in memory while it is active, beside its names and tags.
const RUN_BYTES: u64 = 512;
/// A tag costs this much more in memory than its name and value.
const TAG_BYTES: usize = 128;
/// What its record takes, beside the names and tags; and a tag, beside its name and value.
const RECORD_BYTES: usize = 256;
const RECORD_TAG_BYTES: usize = 16;
/// The index keys that an end adds, and the one that it deletes.
const KEYS_OF_AN_END: u64 = 3;
/// Those that a drop adds or deletes.
const KEYS_OF_A_DROP: u64 = 3;

/// The bytes of names and tags, of which each has so many more.
fn text_bytes(namespace: &Namespace, tags: &BTreeMap<String, String>, more: usize) -> usize {
    let names = namespace.tenant().len() + namespace.app().len() + namespace.agent().len();
    names + tags.iter().map(|(name, value)| name.len() + value.len() + more).sum::<usize>()
}

/// The memory that the names and tags of a run take in its record, in bytes.
pub(crate) fn record_text_bytes(namespace: &Namespace, tags: &BTreeMap<String, String>) -> u64 {
    text_bytes(namespace, tags, RECORD_TAG_BYTES) as u64
}

/// The most memory that the record of a run takes in storage.
fn saved_bytes(begin: &RunBegin) -> u64 {
    let text = text_bytes(&begin.namespace, &begin.tags, RECORD_TAG_BYTES);
    record_bytes_max(keys::ID_BYTES, RECORD_BYTES + text)
}

/// The memory that an active run takes, in bytes: the run itself, and what its end will take.
pub(super) fn active_bytes(begin: &RunBegin) -> u64 {
    let text = text_bytes(&begin.namespace, &begin.tags, TAG_BYTES) as u64;
    let of_end = saved_bytes(begin) + KEYS_OF_AN_END * record_bytes_max(keys::SHORT_BYTES, 0);
    RUN_BYTES + text + of_end
}

/// The most memory that a begin takes, in bytes: the run, its record, and its indexes.
pub(crate) fn begin_bytes_max(begin: &RunBegin) -> u64 {
    let long = begin.tags.len() as u64 + u64::from(begin.parent.is_some());
    let indexes = 2 * record_bytes_max(keys::SHORT_BYTES, 0)
        + long * record_bytes_max(keys::LONG_BYTES_MAX, 0);
    active_bytes(begin) + saved_bytes(begin) + indexes
}

/// What a drop takes in memory, in bytes, but for the names and tags in the record that becomes
/// another ([`record_text_bytes`]): whose they are is known only when it is looked up.
pub(crate) fn drop_bytes_max(run: RunId) -> u64 {
    let (from, to) = PhysicalKey::bounds_of(run);
    record_bytes_max(keys::ID_BYTES, RECORD_BYTES)
        + KEYS_OF_A_DROP * record_bytes_max(keys::SHORT_BYTES, 0)
        + removals::bytes_of(&from, &to)
}

/// The memory of a record that is remembered; a drop does not change it.
pub(super) fn remembered_bytes(SavedRun { entry, .. }: &SavedRun) -> u64 {
    RUN_BYTES + text_bytes(&entry.namespace, &entry.tags, TAG_BYTES) as u64
}
