//! The keys of the reserved space: under which the records of runs stand, and by what else they
//! are found.
//!
//! A run has one record, and a key without a value in each index that it belongs to: by the time
//! of its begin, by its status, by each tag, by its parent, and, while it has ended and is not
//! dropped, by the time of its end. All of them end with a time and the run's id, so that every
//! listing has one order: that of [`RunCursor`](super::RunCursor). The bytes stand on disk:
//! `docs/formats.md`.
//!
//! Invariants: the indexes of a record are a function of the record alone; a time takes six bytes,
//! and what is beyond stands at the end of time; of a tag the hash stands in the key, so whoever
//! reads it compares the record.

use crate::table::hash::KeyHasher;
use crate::types::{PhysicalKey, RunId, RunMetadataEntry, RunStatus, Timestamp};

/// The record of a run; its id.
const RECORD: u8 = 128;
/// A removal.
pub(crate) const REMOVAL: u8 = 129;
/// What a flush knows of active runs; the run's id, or nothing for the sums.
pub(crate) const CENSUS: u8 = 130;
const CREATED: u8 = 131;
const TAGGED: u8 = 132;
const CHILD: u8 = 133;
const ENDED: u8 = 134;
/// Behind it, a tag for each status.
const STATUS: u8 = 140;

/// The bytes of a run id.
pub(super) const ID_BYTES: usize = 16;
/// The bytes of the shortest keys of indexes, a time and a run id; and of the longest.
pub(super) const SHORT_BYTES: usize = 6 + ID_BYTES;
pub(super) const LONG_BYTES_MAX: usize = ID_BYTES + SHORT_BYTES;
/// The greatest time that stands in a key, in milliseconds.
pub(super) const TIME_MAX: u64 = (1 << 48) - 1;

/// By what runs are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Index<'a> {
    /// All of them.
    Created,
    Status(RunStatus),
    /// A tag's name and value.
    Tag(&'a str, &'a str),
    Child(RunId),
    /// Those that have ended and are not dropped, by the time of their end.
    Ended,
}

impl Index<'_> {
    /// The tag of its keys, and what stands in front of the time.
    fn front(self) -> (u8, Vec<u8>) {
        match self {
            Index::Created => (CREATED, Vec::new()),
            Index::Status(status) => (STATUS + status.to_byte(), Vec::new()),
            Index::Tag(name, value) => (TAGGED, tag_hash(name, value).to_be_bytes().to_vec()),
            Index::Child(parent) => (CHILD, parent.as_bytes().to_vec()),
            Index::Ended => (ENDED, Vec::new()),
        }
    }

    /// The key of a run in it.
    pub(crate) fn key(self, at: Timestamp, run: RunId) -> PhysicalKey {
        let (tag, mut user) = self.front();
        user.extend_from_slice(&time_bytes(at));
        user.extend_from_slice(run.as_bytes());
        PhysicalKey::reserved(tag, &user)
    }

    /// The lower bound of all its keys of this time and later.
    pub(crate) fn from(self, at: Timestamp) -> PhysicalKey {
        let (tag, mut user) = self.front();
        user.extend_from_slice(&time_bytes(at));
        PhysicalKey::reserved(tag, &user)
    }

    /// The lower bound of what is behind all its keys.
    pub(crate) fn end(self) -> PhysicalKey {
        let (tag, mut user) = self.front();
        user.extend_from_slice(&[0xff; SHORT_BYTES + 1]);
        PhysicalKey::reserved(tag, &user)
    }
}

/// Six bytes, big-endian.
fn time_bytes(at: Timestamp) -> [u8; 6] {
    let [_, _, bytes @ ..] = at.as_millis().min(TIME_MAX).to_be_bytes();
    bytes
}

/// Of two tags with one hash, the records tell which is meant.
fn tag_hash(name: &str, value: &str) -> u64 {
    let mut whole = (name.len() as u64).to_be_bytes().to_vec();
    whole.extend_from_slice(name.as_bytes());
    whole.extend_from_slice(value.as_bytes());
    KeyHasher::new(&[0; 16]).hash(&PhysicalKey::reserved(TAGGED, &whole))
}

/// The key of a run's record.
pub(crate) fn record(run: RunId) -> PhysicalKey {
    PhysicalKey::reserved(RECORD, run.as_bytes())
}

/// The key of what a census says of a run.
pub(crate) fn census(run: RunId) -> PhysicalKey {
    PhysicalKey::reserved(CENSUS, run.as_bytes())
}

/// The key of a census itself.
pub(crate) fn census_head() -> PhysicalKey {
    PhysicalKey::reserved(CENSUS, &[])
}

/// Whether a key is one of a census.
pub(crate) fn is_census(key: &PhysicalKey) -> bool {
    key.is_reserved() && key.tag_byte() == CENSUS
}

/// The first keys of the reserved space, of removals, of indexes: what is between, in this order,
/// is records, then removals and the census.
pub(crate) fn borders() -> [PhysicalKey; 3] {
    [RECORD, REMOVAL, CREATED].map(|tag| PhysicalKey::reserved(tag, &[]))
}

/// Whether a key is one of the index of runs that have ended.
pub(super) fn is_of_ended(key: &PhysicalKey) -> bool {
    key.is_reserved() && key.tag_byte() == ENDED
}

/// The run whose id ends a key, if it has one.
pub(crate) fn run_of(key: &PhysicalKey) -> Option<RunId> {
    key.user_key().last_chunk::<ID_BYTES>().map(|id| RunId::from_bytes(*id))
}

/// The time that stands in a key of an index, behind nothing else.
pub(crate) fn time_in(key: &PhysicalKey) -> Timestamp {
    let time = key.user_key().first_chunk::<6>().copied().unwrap_or_default();
    Timestamp::from_millis(time.iter().fold(0, |ms, byte| ms << 8 | u64::from(*byte)))
}

/// The keys under which a record is found.
pub(crate) fn indexes(entry: &RunMetadataEntry) -> Vec<PhysicalKey> {
    let (run, created) = (entry.run_id, entry.created_at);
    let tags = entry.tags.iter().map(|(name, value)| Index::Tag(name, value));
    let fixed = std::iter::once(Index::Created)
        .chain(tags)
        .chain(entry.parent_run_id.map(Index::Child))
        .map(|index| index.key(created, run));
    fixed.chain(moving(entry)).collect()
}

/// Those of them that do not stay what they are for the whole life of a run.
pub(crate) fn moving(entry: &RunMetadataEntry) -> Vec<PhysicalKey> {
    let mut keys = vec![Index::Status(entry.status).key(entry.created_at, entry.run_id)];
    if let Some(at) = entry.completed_at.filter(|_| entry.status.is_end()) {
        keys.push(Index::Ended.key(at, entry.run_id));
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes of keys stand on disk.
    #[test]
    fn t36_the_keys_of_the_indexes_are_pinned_by_golden_vectors() {
        let run = RunId::from_bytes([7; 16]);
        let at = Timestamp::from_millis(0x0102_0304_0506);
        let tail = [[1, 2, 3, 4, 5, 6].as_slice(), &[7; 16]].concat();
        let parts = |index: Index<'_>| {
            let key = index.key(at, run);
            (key.tag_byte(), key.user_key().to_vec())
        };
        assert_eq!(parts(Index::Created), (131, tail.clone()));
        assert_eq!(parts(Index::Status(RunStatus::Failed)), (143, tail.clone()));
        assert_eq!(parts(Index::Ended), (134, tail.clone()));
        let child = [[9; 16].as_slice(), &tail].concat();
        assert_eq!(parts(Index::Child(RunId::from_bytes([9; 16]))), (133, child));
        let hash = tag_hash("kind", "nightly");
        assert_eq!(hash, 0xfac2_e3a6_5b96_ca71, "pinned");
        assert_eq!(
            parts(Index::Tag("kind", "nightly")).1,
            [&hash.to_be_bytes()[..], &tail].concat()
        );
        assert_ne!(hash, tag_hash("kindn", "ightly"));
    }

    #[test]
    fn every_key_of_an_index_lies_within_its_bounds_whatever_its_time() {
        let runs = [[0; 16], [0xff; 16]].map(RunId::from_bytes);
        let times = [0, 1, TIME_MAX - 1, TIME_MAX, TIME_MAX + 1, u64::MAX];
        let parent = RunId::from_bytes([0xff; 16]);
        let statuses = RunStatus::ALL.map(Index::Status);
        let others = [Index::Created, Index::Ended, Index::Tag("", ""), Index::Child(parent)];
        for index in statuses.into_iter().chain(others) {
            for (run, ms) in runs.iter().flat_map(|run| times.map(|ms| (*run, ms))) {
                let at = Timestamp::from_millis(ms);
                let key = index.key(at, run);
                assert!(index.from(at) <= key && key < index.end(), "{index:?} {ms}");
                assert!(index.from(Timestamp::from_millis(0)) <= index.from(at));
                assert_eq!(run_of(&key), Some(run));
                assert!(key.is_reserved() && !is_census(&key));
            }
        }
    }

    #[test]
    fn the_keys_of_one_index_never_stand_among_those_of_another() {
        let [records, removals, indexes] = borders();
        let run = RunId::from_bytes([0xff; 16]);
        assert!(records <= record(run) && record(run) < removals);
        assert!(removals < census_head() && census_head() < census(run) && census(run) < indexes);
        let statuses = RunStatus::ALL.map(Index::Status);
        let zero = Timestamp::from_millis(0);
        let mut bounds: Vec<_> = [Index::Created, Index::Ended]
            .into_iter()
            .chain(statuses)
            .map(|index| (index.from(zero), index.end()))
            .collect();
        bounds.sort();
        assert!(bounds.windows(2).all(|pair| pair[0].1 <= pair[1].0));
        assert!(indexes <= bounds[0].0);
    }
}
