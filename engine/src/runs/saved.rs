//! Runs as they are stored: records, what a flush knows of active ones, and what each step of a
//! run's life changes of all that.
//!
//! Invariants: a record and its indexes change in one commit; a record is decoded only if it is
//! that of the run under whose key it stands.

use super::keys::{indexes, is_of_ended, moving, record};
use crate::codec::change::{NEVER, decode_keys, encode_keys};
use crate::codec::value::Stored;
use crate::codec::{Malformed, Reader, body, put_varint};
use crate::error::{Error, Result};
use crate::store::pins::ReadPoint;
use crate::store::version::Version;
use crate::store::{Applied, UnifiedStore};
use crate::types::{PhysicalKey, RunId, RunMetadataEntry, RunStatus, Value, ValueKind};

type Decoded<T> = std::result::Result<T, Malformed>;

/// The record of a run, and what it has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SavedRun {
    pub(crate) entry: RunMetadataEntry,
    pub(crate) tally: Tally,
}

/// What a run has done, as it is counted with each change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// All changes, its begin and end included.
    pub(crate) changes: u64,
    pub(crate) puts: u64,
    pub(crate) deletes: u64,
    /// The bytes of keys and values that were put.
    pub(crate) bytes: u64,
    /// The engine's time of the last change.
    pub(crate) last_ms: u64,
    /// How many plain keys it holds, if they are counted.
    pub(crate) keys: Option<u64>,
}

impl Tally {
    /// Whether fewer changes were counted than its puts and deletes, and so many others.
    pub(crate) fn is_short(&self, others: u64) -> bool {
        let least = self.puts.saturating_add(self.deletes).saturating_add(others);
        self.changes < least
    }

    fn encode(self, out: &mut Vec<u8>) {
        let Tally { changes, puts, deletes, bytes, last_ms, keys } = self;
        let keys = encode_keys(keys);
        [changes, puts, deletes, bytes, last_ms, keys].iter().for_each(|n| put_varint(out, *n));
    }

    fn decode(reader: &mut Reader<'_>) -> Decoded<Self> {
        Ok(Tally {
            changes: reader.varint("a number of changes")?,
            puts: reader.varint("a number of puts")?,
            deletes: reader.varint("a number of deletes")?,
            bytes: reader.varint("a number of bytes")?,
            last_ms: reader.varint("the time of a run's last change")?,
            keys: decode_keys(reader.varint("a number of keys")?),
        })
    }
}

/// How many runs there are of each status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts([u64; RunStatus::ALL.len()]);

impl Counts {
    fn place(&mut self, status: RunStatus) -> Option<&mut u64> {
        let nth = RunStatus::ALL.iter().position(|known| *known == status)?;
        self.0.get_mut(nth)
    }

    pub(crate) fn of(mut self, status: RunStatus) -> u64 {
        self.place(status).map_or(0, |count| *count)
    }

    pub(crate) fn all(self) -> u64 {
        self.0.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// A run begins, or goes from one status to another.
    pub(crate) fn note(&mut self, before: Option<RunStatus>, after: RunStatus) {
        if let Some(count) = before.and_then(|before| self.place(before)) {
            *count = count.saturating_sub(1);
        }
        if let Some(count) = self.place(after) {
            *count = count.saturating_add(1);
        }
    }

    pub(crate) fn encode(self) -> Stored {
        let mut bytes = Vec::new();
        self.0.iter().for_each(|count| put_varint(&mut bytes, *count));
        Stored::from(Value::Bytes(bytes))
    }

    pub(crate) fn decode(stored: &Stored) -> Decoded<Self> {
        let mut reader = reader(stored, "how many runs there are")?;
        let mut counts = Counts::default();
        for count in &mut counts.0 {
            *count = reader.varint("a number of runs")?;
        }
        reader.finish("the end of the numbers of runs")?;
        Ok(counts)
    }
}

/// What moves while a run is active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Activity {
    pub(crate) last_version: u64,
    pub(crate) tally: Tally,
}

impl Activity {
    pub(crate) fn encode(self) -> Stored {
        let mut bytes = Vec::new();
        put_varint(&mut bytes, self.last_version);
        self.tally.encode(&mut bytes);
        Stored::from(Value::Bytes(bytes))
    }

    pub(crate) fn decode(stored: &Stored) -> Decoded<Self> {
        let mut reader = reader(stored, "what an active run has done")?;
        let last_version = reader.varint("the version of a run's last change")?;
        let tally = Tally::decode(&mut reader)?;
        reader.finish("the end of what an active run has done")?;
        Ok(Activity { last_version, tally })
    }
}

/// What a flush knows of the runs: enough to go on from there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Census {
    pub(crate) counts: Counts,
    /// In the order of their ids.
    pub(crate) active: Vec<(RunId, Activity)>,
}

impl SavedRun {
    pub(crate) fn encode(&self) -> Stored {
        let mut bytes = Vec::new();
        self.tally.encode(&mut bytes);
        body::encode_run_metadata(&mut bytes, &self.entry);
        Stored::from(Value::Bytes(bytes))
    }

    /// Of a run that is known by its key.
    pub(crate) fn decode(run: RunId, stored: &Stored) -> Decoded<Self> {
        let mut reader = reader(stored, "the record of a run")?;
        let tally = Tally::decode(&mut reader)?;
        let entry = body::decode_run_metadata(reader.rest())?;
        if entry.run_id != run {
            return Err(Malformed::new("the record of a run under its id", entry.run_id));
        }
        Ok(SavedRun { entry, tally })
    }
}

/// The record of a run in storage, if it has one: the newest, or that at a point.
///
/// Of an active run it is what its begin has written: [`super::RunTracker`] knows more.
///
/// Errors: those of a read from tables; [`Error::Corruption`].
pub(crate) fn read(
    store: &UnifiedStore,
    run: RunId,
    point: Option<ReadPoint>,
) -> Result<Option<SavedRun>> {
    let key = record(run);
    let Some(found) = store.read_value(&key, point)? else { return Ok(None) };
    let saved = SavedRun::decode(run, &Stored::from(found));
    let damaged = |m: Malformed| {
        Error::corruption(format!("the record of run {run}"), 0, m.expected, m.found)
    };
    saved.map(Some).map_err(damaged)
}

fn reader<'a>(stored: &'a Stored, what: &'static str) -> Decoded<Reader<'a>> {
    match stored.kind() {
        ValueKind::Bytes => Ok(Reader::new(stored.bytes())),
        _ => Err(Malformed::new(what, "another kind of value")),
    }
}

/// What changes in storage when a run begins, or its record becomes another: of its keys in
/// indexes then only those that [move](moving), and these are the old ones.
pub(crate) fn transition(
    old: Option<Vec<PhysicalKey>>,
    after: &SavedRun,
    version: u64,
    time_ms: u64,
) -> Vec<Applied> {
    let of = |value| Version { version, time_ms, expiry_ms: NEVER, value };
    let (old, new) = match old {
        Some(old) => (old, moving(&after.entry)),
        None => (Vec::new(), indexes(&after.entry)),
    };
    let record = Applied { key: record(after.entry.run_id), version: of(Some(after.encode())) };
    let gone = old.into_iter().filter(|_| !planted!(OldIndexKept));
    let gone = gone.filter(|key| !planted!(DroppedStaysEnded) || !is_of_ended(key));
    let gone = gone.map(|key| Applied { key, version: of(None) });
    let added =
        new.into_iter().map(|key| Applied { key, version: of(Some(Stored::from(Value::Null))) });
    std::iter::once(record).chain(gone).chain(added).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Namespace, Retention, Timestamp};
    use std::collections::{BTreeMap, BTreeSet};

    fn tally() -> Tally {
        Tally { changes: 3, puts: 2, deletes: 1, bytes: 300, last_ms: 9, keys: Some(1) }
    }

    fn saved(run: RunId) -> SavedRun {
        let entry = RunMetadataEntry {
            run_id: run,
            namespace: Namespace::default_for(run),
            parent_run_id: None,
            forked_from: None,
            status: RunStatus::Failed,
            created_at: Timestamp::from_millis(5),
            completed_at: Some(Timestamp::from_millis(9)),
            dropped_at: None,
            first_version: 1,
            last_version: 4,
            tags: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
            retention: Retention::Latest,
        };
        SavedRun { entry, tally: tally() }
    }

    #[test]
    fn t36_what_a_census_says_is_pinned_by_golden_vectors() {
        let activity = Activity { last_version: 4, tally: tally() };
        let stored = activity.encode();
        assert_eq!(stored.bytes(), [4, 3, 2, 1, 0xac, 2, 9, 2]);
        assert_eq!(Activity::decode(&stored), Ok(activity));
        let mut counts = Counts::default();
        counts.note(None, RunStatus::Running);
        counts.note(None, RunStatus::Running);
        counts.note(Some(RunStatus::Running), RunStatus::Cancelled);
        let stored = counts.encode();
        assert_eq!(stored.bytes(), [1, 0, 0, 1, 0]);
        assert_eq!((Counts::decode(&stored), counts.all()), (Ok(counts), 2));
    }

    #[test]
    fn t36_a_record_begins_with_what_its_run_has_done_and_is_that_of_its_key() {
        let run = RunId::from_bytes([1; 16]);
        let record = saved(run);
        let stored = record.encode();
        assert_eq!(stored.bytes()[..7], [3, 2, 1, 0xac, 2, 9, 2]);
        let mut rest = Vec::new();
        body::encode_run_metadata(&mut rest, &record.entry);
        assert_eq!(stored.bytes()[7..], rest);
        assert_eq!(SavedRun::decode(run, &stored), Ok(record));
        assert!(SavedRun::decode(RunId::from_bytes([2; 16]), &stored).is_err());
    }

    #[test]
    fn no_bytes_of_the_reserved_space_are_taken_for_more_than_they_are() {
        let run = RunId::from_bytes([1; 16]);
        let whole = saved(run).encode();
        let cut = |bytes: &[u8], end: usize| Stored::from(Value::Bytes(bytes[..end].to_vec()));
        for end in 0..whole.bytes().len() {
            assert!(SavedRun::decode(run, &cut(whole.bytes(), end)).is_err(), "{end}");
        }
        let activity = Activity { last_version: 4, tally: tally() }.encode();
        for end in 0..activity.bytes().len() {
            assert!(Activity::decode(&cut(activity.bytes(), end)).is_err());
        }
        let longer = Stored::from(Value::Bytes([activity.bytes(), &[0]].concat()));
        assert!(Activity::decode(&longer).is_err());
        assert!(Counts::decode(&longer).is_err());
        assert!(Counts::decode(&Stored::from(Value::Int(7))).is_err());
    }

    #[test]
    fn a_transition_deletes_what_no_longer_holds_and_adds_what_does() {
        let run = RunId::from_bytes([1; 16]);
        let after = saved(run);
        let mut before = after.clone();
        before.entry.status = RunStatus::Running;
        before.entry.completed_at = None;
        let changes = transition(Some(moving(&before.entry)), &after, 4, 9);
        let keys = |gone: bool| {
            let of = changes.iter().filter(|change| change.version.value.is_none() == gone);
            of.map(|change| change.key.tag_byte()).collect::<Vec<_>>()
        };
        // The status "running"; the record, the status "failed", the time of the end.
        assert_eq!((keys(true), keys(false)), (vec![141], vec![128, 143, 134]));
        let all = |saved: &SavedRun| BTreeSet::from_iter(indexes(&saved.entry));
        let gone: Vec<_> = all(&before).difference(&all(&after)).cloned().collect();
        let deleted = changes.iter().filter(|change| change.version.value.is_none());
        assert_eq!(deleted.map(|change| change.key.clone()).collect::<Vec<_>>(), gone);
        assert!(changes.iter().all(|c| c.version.version == 4 && c.version.time_ms == 9));
        assert_eq!(transition(None, &before, 1, 5).len(), 4);
    }
}
