//! The reference model: runs and keys as a history of commits.
//!
//! Deliberately simple: each key has the list of its versions, each run its record, and a
//! crash cuts every list at a version. It knows nothing of logs, segments or files.

mod counts;
mod door;
mod space;

use std::collections::BTreeMap;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use runstone::{Error, Namespace, RunMetadataEntry, RunStatus, Timestamp, TypeTag, Value};

use super::case::{
    ChangeSpec, ECHO, RUNS, ValueSpec, key_bytes, namespace, run_id, status, type_tag,
};
use super::found::Held;
pub(crate) use door::{Refusal, final_changes, tags};
use door::{encoded_bytes, is_inside, range_of};
pub(crate) use space::Shape;

/// One version of a key; `None` deletes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Revision {
    pub(crate) version: u64,
    pub(crate) time_ms: u64,
    pub(crate) expiry_ms: Option<u64>,
    pub(crate) value: Option<Value>,
    /// It deletes without having been named.
    by_range: bool,
}

impl Revision {
    fn is_visible(&self, now_ms: u64) -> bool {
        self.value.is_some() && self.expiry_ms.is_none_or(|expiry| now_ms < expiry)
    }
}

/// A change of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Touched {
    version: u64,
    time_ms: u64,
    what: Touch,
}

/// What a change is counted as.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Touch {
    /// The bytes of key and value.
    Put(u64),
    Delete,
    Other,
}

/// A run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ModelRun {
    parent: Option<u8>,
    namespace: Namespace,
    tags: BTreeMap<String, String>,
    created_ms: u64,
    first_version: u64,
    /// Its changes, oldest first.
    touched: Vec<Touched>,
    end: Option<(RunStatus, u64, u64)>,
    /// When it was dropped, and by which version.
    dropped: Option<(u64, u64)>,
    /// By which version it was no longer counted how many keys it holds.
    uncounted: Option<u64>,
}

impl ModelRun {
    fn life(&self) -> Life {
        self.life_at(u64::MAX)
    }

    /// Where it stood at a version.
    fn life_at(&self, version: u64) -> Life {
        match (self.end, self.dropped) {
            (_, Some((_, at))) if at <= version => Life::Dropped,
            (Some((_, _, at)), _) if at <= version => Life::Ended,
            _ => Life::Active,
        }
    }

    fn touch(&mut self, version: u64, time_ms: u64, what: Touch) {
        self.touched.push(Touched { version, time_ms, what });
    }
}

/// What may be done with a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Active,
    Ended,
    Dropped,
}

/// Whether the keys of a run can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readable {
    NotBegun,
    Dropped,
    Yes,
}

impl Readable {
    /// Whether a read is refused rightly by this error.
    pub(crate) fn refuses(self, error: &Error) -> bool {
        matches!(
            (self, error),
            (Readable::NotBegun, Error::RunNotFound { .. })
                | (Readable::Dropped, Error::RunDropped { .. })
        )
    }
}

/// The history.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Model {
    /// The times of all commits; the first has version 1.
    times: Vec<u64>,
    keys: BTreeMap<(u8, TypeTag, Vec<u8>), Vec<Revision>>,
    runs: BTreeMap<u8, ModelRun>,
    /// Something was removed that was not named key by key.
    has_removals: bool,
    /// The keys of each so-manieth run are counted; 0 for none.
    counts: u8,
    /// What values of the store's own files hold, by size and salt.
    echoes: Arc<BTreeMap<(u32, u32), Vec<u8>>>,
}

impl Model {
    pub(crate) fn version(&self) -> u64 {
        self.times.len() as u64
    }

    /// The greatest time of a commit.
    pub(crate) fn time_ms(&self) -> u64 {
        self.times.last().copied().unwrap_or(0)
    }

    pub(crate) fn knows_run(&self, run: u8) -> bool {
        self.runs.contains_key(&run)
    }

    /// Whether the keys of a run can be read at a version.
    pub(crate) fn readable_at(&self, run: u8, version: u64) -> Readable {
        match self.runs.get(&run) {
            Some(found) if found.first_version <= version => match found.dropped {
                Some((_, dropped)) if dropped <= version => Readable::Dropped,
                _ => Readable::Yes,
            },
            _ => Readable::NotBegun,
        }
    }

    /// Whether the keys of a run can be read now.
    pub(crate) fn readable(&self, run: u8) -> Readable {
        self.readable_at(run, self.version())
    }

    /// Whether something was removed that was not named key by key.
    pub(crate) fn has_removals(&self) -> bool {
        self.has_removals
    }

    /// The bytes of a value of the store's own files are these.
    pub(crate) fn echo(&mut self, spec: ValueSpec, bytes: impl FnOnce() -> Vec<u8>) {
        let place = (spec.size, spec.salt);
        if !self.echoes.contains_key(&place) {
            Arc::make_mut(&mut self.echoes).insert(place, bytes());
        }
    }

    /// Of another history of the same store.
    pub(crate) fn share_echoes(&mut self, other: &Model) {
        self.echoes = Arc::clone(&other.echoes);
    }

    /// The value of a recipe.
    pub(crate) fn value(&self, spec: ValueSpec) -> Value {
        let echo = || self.echoes.get(&(spec.size, spec.salt)).cloned();
        match (spec.kind == ECHO).then(echo).flatten() {
            Some(bytes) => Value::Bytes(bytes),
            None => spec.value(),
        }
    }

    /// Commits changes that were checked; returns the version.
    pub(crate) fn commit(&mut self, changes: &[ChangeSpec], time_ms: u64) -> u64 {
        let version = self.version() + 1;
        self.times.push(time_ms);
        for change in final_changes(changes) {
            match change {
                ChangeSpec::Begin { run, parent, tags: n } => {
                    self.runs.insert(
                        run,
                        ModelRun {
                            parent,
                            namespace: namespace(run, n),
                            tags: tags(n).into_iter().collect(),
                            created_ms: time_ms,
                            first_version: version,
                            touched: vec![Touched { version, time_ms, what: Touch::Other }],
                            end: None,
                            dropped: None,
                            uncounted: None,
                        },
                    );
                }
                ChangeSpec::Drop { run } => {
                    if let Some(found) = self.runs.get_mut(&run) {
                        found.dropped = Some((time_ms, version));
                        found.touch(version, time_ms, Touch::Other);
                    }
                    self.remove(run, |_, _| true, version, time_ms);
                }
                ChangeSpec::RemoveRange { run, from, to, bounds } => {
                    if let Some(found) = self.runs.get_mut(&run) {
                        found.touch(version, time_ms, Touch::Other);
                    }
                    self.note_uncounted(run, version);
                    let range = range_of(from, to, bounds);
                    let is_removed = |tag, key: &[u8]| tag == TypeTag::KV && is_inside(key, &range);
                    self.remove(run, is_removed, version, time_ms);
                }
                ChangeSpec::End { run, status: n } => {
                    if let Some(found) = self.runs.get_mut(&run) {
                        found.end = Some((status(n), time_ms, version));
                        found.touch(version, time_ms, Touch::Other);
                    }
                }
                ChangeSpec::Put { run, key, value, ttl_ms } => {
                    if ttl_ms.is_some_and(|ttl| ttl < u64::MAX) {
                        self.note_uncounted(run, version);
                    }
                    // Behind the end of time is never.
                    let expiry_ms = ttl_ms.and_then(|ttl| time_ms.checked_add(ttl));
                    let expiry_ms = expiry_ms.filter(|expiry| *expiry < u64::MAX);
                    let value = Some(self.value(value));
                    let revision = Revision { version, time_ms, expiry_ms, value, by_range: false };
                    self.revise(run, TypeTag::KV, key, revision);
                }
                ChangeSpec::Delete { run, key } => {
                    let revision = Revision {
                        version,
                        time_ms,
                        expiry_ms: None,
                        value: None,
                        by_range: false,
                    };
                    self.revise(run, TypeTag::KV, key, revision);
                }
                ChangeSpec::Tagged { run, tag, key, value } => {
                    let value = value.map(|value| self.value(value));
                    let revision =
                        Revision { version, time_ms, expiry_ms: None, value, by_range: false };
                    self.revise(run, type_tag(tag), key, revision);
                }
            }
        }
        version
    }

    /// Each key that is removed has a version that deletes it; what its own batch has written
    /// stands.
    fn remove(
        &mut self,
        run: u8,
        is_removed: impl Fn(TypeTag, &[u8]) -> bool,
        version: u64,
        time_ms: u64,
    ) {
        self.has_removals = true;
        for ((owner, tag, key), revisions) in &mut self.keys {
            let is_older = revisions.last().is_some_and(|last| last.version < version);
            if *owner == run && is_older && is_removed(*tag, key) {
                let (expiry_ms, value) = (None, None);
                revisions.push(Revision { version, time_ms, expiry_ms, value, by_range: true });
            }
        }
    }

    fn revise(&mut self, run: u8, tag: TypeTag, key: u16, revision: Revision) {
        let key = key_bytes(key);
        let what = match &revision.value {
            Some(value) => Touch::Put((key.len() + encoded_bytes(value)) as u64),
            None => Touch::Delete,
        };
        if let Some(found) = self.runs.get_mut(&run) {
            found.touch(revision.version, revision.time_ms, what);
        }
        self.keys.entry((run, tag, key)).or_default().push(revision);
    }

    /// Forgets every commit above a version.
    pub(crate) fn cut(&mut self, version: u64) {
        self.times.truncate(usize::try_from(version).unwrap_or(usize::MAX));
        for revisions in self.keys.values_mut() {
            while revisions.last().is_some_and(|last| last.version > version) {
                revisions.pop();
            }
        }
        self.keys.retain(|_, revisions| !revisions.is_empty());
        self.runs.retain(|_, run| run.first_version <= version);
        for run in self.runs.values_mut() {
            run.touched.retain(|touched| touched.version <= version);
            run.end = run.end.filter(|(_, _, at)| *at <= version);
            run.dropped = run.dropped.filter(|(_, at)| *at <= version);
            run.uncounted = run.uncounted.filter(|at| *at <= version);
        }
    }

    /// How much must be held, and may be.
    pub(crate) fn held(&self, now_ms: u64) -> Held {
        let mut held = Held::default();
        for ((_, _, key), revisions) in &self.keys {
            let Some(newest) = revisions.last() else { continue };
            held.ever += usize::from(revisions.iter().any(|revision| revision.value.is_some()));
            held.newest += usize::from(newest.value.is_some());
            held.revised += usize::from(revisions.len() > 1);
            if let Some(value) = newest.value.as_ref().filter(|_| newest.is_visible(now_ms)) {
                held.visible += 1;
                held.key_bytes += key.len() as u64;
                held.value_bytes += encoded_bytes(value) as u64;
            }
        }
        held
    }

    /// The bytes of all values that a key ever had, of the key that had most.
    pub(crate) fn longest_key_bytes(&self) -> u64 {
        let bytes = |revisions: &Vec<Revision>| {
            let values = revisions.iter().filter_map(|revision| revision.value.as_ref());
            values.map(|value| encoded_bytes(value) as u64).sum()
        };
        self.keys.values().map(bytes).max().unwrap_or(0)
    }

    /// Of how many keys a reader at a version and a time sees what was superseded since, by a write
    /// of that key.
    pub(crate) fn superseded_at(&self, version: u64, now_ms: u64) -> usize {
        let is_superseded = |revisions: &&Vec<Revision>| {
            visible(revisions, version, now_ms).is_some_and(|seen| {
                let is_write = |later: &Revision| later.version > seen.version && !later.by_range;
                revisions.iter().any(is_write)
            })
        };
        self.keys.values().filter(is_superseded).count()
    }

    /// What a reader at a version and a time sees of a key.
    pub(crate) fn get(&self, run: u8, key: &[u8], version: u64, now_ms: u64) -> Option<&Revision> {
        self.get_tagged(run, TypeTag::KV, key, version, now_ms)
    }

    /// As [`Model::get`], for a key of any kind.
    pub(crate) fn get_tagged(
        &self,
        run: u8,
        tag: TypeTag,
        key: &[u8],
        version: u64,
        now_ms: u64,
    ) -> Option<&Revision> {
        let revisions = self.keys.get(&(run, tag, key.to_vec()))?;
        visible(revisions, version, now_ms)
    }

    /// The greatest expiry of what a reader at a version and a time is told has expired, of those
    /// keys of a run that it reads; 0 if there is none.
    pub(crate) fn expired_ms(
        &self,
        run: u8,
        is_read: impl Fn(&[u8]) -> bool,
        version: u64,
        now_ms: u64,
    ) -> u64 {
        let of_run = self.keys.range((run, TypeTag::KV, Vec::new())..);
        let of_run = of_run.take_while(|((owner, tag, _), _)| (*owner, *tag) == (run, TypeTag::KV));
        let read = of_run.filter(|((_, _, key), _)| is_read(key));
        let seen = read.filter_map(|(_, revisions)| newest(revisions, version));
        let expired = seen.filter(|revision| revision.value.is_some());
        let expired = expired.filter_map(|revision| revision.expiry_ms);
        expired.filter(|expiry| *expiry <= now_ms).max().unwrap_or(0)
    }

    /// The greatest moment, not behind this one, at which a key of now has expired; 0 if none has.
    pub(crate) fn last_expiry_ms(&self, now_ms: u64) -> u64 {
        let newest = self.keys.values().filter_map(|revisions| revisions.last());
        let expiries =
            newest.filter_map(|newest| newest.expiry_ms.filter(|_| newest.value.is_some()));
        expiries.filter(|expiry| *expiry <= now_ms).max().unwrap_or(0)
    }

    /// What a reader sees of a run's keys between two bounds, in byte order.
    pub(crate) fn range(
        &self,
        run: u8,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
        version: u64,
        now_ms: u64,
    ) -> Vec<(&[u8], &Revision)> {
        let mut all = self.list(run, b"", version, now_ms);
        all.retain(|(key, _)| bounds.contains(key));
        all
    }

    /// What a reader sees of a run's keys, in byte order.
    pub(crate) fn list(
        &self,
        run: u8,
        prefix: &[u8],
        version: u64,
        now_ms: u64,
    ) -> Vec<(&[u8], &Revision)> {
        self.keys
            .range((run, TypeTag::KV, prefix.to_vec())..)
            .take_while(|((owner, tag, key), _)| {
                *owner == run && *tag == TypeTag::KV && key.starts_with(prefix)
            })
            .filter_map(|((_, _, key), revisions)| {
                visible(revisions, version, now_ms).map(|revision| (key.as_slice(), revision))
            })
            .collect()
    }

    /// The run's record, as the engine must show it.
    pub(crate) fn run_entry(&self, run: u8) -> Option<RunMetadataEntry> {
        self.run_entry_at(run, self.version())
    }

    /// The same, as a snapshot of a version must.
    pub(crate) fn run_entry_at(&self, run: u8, version: u64) -> Option<RunMetadataEntry> {
        let found = self.runs.get(&run).filter(|found| found.first_version <= version)?;
        let id = run_id(run);
        let life = found.life_at(version);
        let last = found.touched.last().map_or(found.first_version, |touched| touched.version);
        let end = found.end.filter(|_| life != Life::Active);
        let dropped = found.dropped.filter(|_| life == Life::Dropped);
        let last_version = match (dropped, end) {
            (Some((_, at)), _) | (None, Some((_, _, at))) => at,
            // What it did up to the version is not kept.
            (None, None) => last.min(version),
        };
        // The record has public fields and no other constructor than its literal.
        Some(RunMetadataEntry {
            run_id: id,
            namespace: found.namespace.clone(),
            parent_run_id: found.parent.map(run_id),
            forked_from: None,
            status: match life {
                Life::Dropped => RunStatus::Dropped,
                _ => end.map_or(RunStatus::Running, |(status, _, _)| status),
            },
            created_at: Timestamp::from_millis(found.created_ms),
            completed_at: end.map(|(_, at, _)| Timestamp::from_millis(at)),
            dropped_at: dropped.map(|(at, _)| Timestamp::from_millis(at)),
            first_version: found.first_version,
            last_version,
            tags: found.tags.clone(),
            retention: runstone::Retention::Latest,
        })
    }

    /// The runs that there are.
    pub(crate) fn runs(&self) -> impl Iterator<Item = u8> {
        self.runs.keys().copied()
    }

    /// The active ones.
    pub(crate) fn active_runs(&self) -> Vec<u8> {
        self.runs.iter().filter(|(_, run)| run.end.is_none()).map(|(id, _)| *id).collect()
    }
}

fn newest(revisions: &[Revision], version: u64) -> Option<&Revision> {
    revisions.iter().rev().find(|revision| revision.version <= version)
}

fn visible(revisions: &[Revision], version: u64, now_ms: u64) -> Option<&Revision> {
    newest(revisions, version).filter(|revision| revision.is_visible(now_ms))
}

/// The runs that a case names as a rule, and all others that there are.
pub(crate) fn named_runs(model: &Model) -> Vec<u8> {
    let mut named: Vec<u8> = (0..RUNS).collect();
    named.extend(model.runs().filter(|run| *run >= RUNS));
    named
}
