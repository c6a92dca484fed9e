//! The reference model: runs and keys as a history of commits.
//!
//! Deliberately simple: each key has the list of its versions, each run its record, and a
//! crash cuts every list at a version. It knows nothing of logs, segments or files.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use runstone::{Error, Namespace, RunMetadataEntry, RunStatus, Timestamp, TypeTag, Value};

use super::case::{
    ChangeSpec, ECHO, LimitSpec, NAMED, ValueSpec, key_bytes, namespace, run_id, status, type_tag,
};
use super::found::Held;

/// One version of a key; `None` deletes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Revision {
    pub(crate) version: u64,
    pub(crate) time_ms: u64,
    pub(crate) expiry_ms: Option<u64>,
    pub(crate) value: Option<Value>,
}

impl Revision {
    fn is_visible(&self, now_ms: u64) -> bool {
        self.value.is_some() && self.expiry_ms.is_none_or(|expiry| now_ms < expiry)
    }
}

/// A run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ModelRun {
    parent: Option<u8>,
    namespace: Namespace,
    tags: BTreeMap<String, String>,
    created_ms: u64,
    first_version: u64,
    /// The versions of its changes, oldest first.
    touched: Vec<u64>,
    end: Option<(RunStatus, u64, u64)>,
}

/// Why a commit is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Invalid,
    Limit,
    RunNotFound,
    RunExists,
    RunEnded,
}

impl Refusal {
    /// Whether the engine's error is this refusal.
    pub(crate) fn matches(self, error: &Error) -> bool {
        matches!(
            (self, error),
            (Refusal::Invalid, Error::InvalidArgument { .. })
                | (Refusal::Limit, Error::LimitExceeded { .. })
                | (Refusal::RunNotFound, Error::RunNotFound { .. })
                | (Refusal::RunExists, Error::RunExists { .. })
                | (Refusal::RunEnded, Error::RunEnded { .. })
        )
    }
}

/// The tags that a number stands for.
pub(crate) fn tags(n: u8) -> Vec<(String, String)> {
    let n = n.checked_sub(NAMED).unwrap_or(n);
    (0..n % 5).map(|i| (format!("tag{i}"), "v".repeat(usize::from(n) + usize::from(i)))).collect()
}

/// The bytes that count against the limit, by the documented formats.
fn encoded_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Int(_) | Value::Float(_) => 8,
        // A version byte, fixed-width numbers, and strings behind their eight-byte lengths.
        Value::EventEntry(entry) => 1 + 16 + 16 + entry.event_type.len() + entry.payload.len(),
        Value::StateMachineEntry(entry) => 1 + 16 + 8 + entry.state.len(),
        Value::TraceEntry(entry) => {
            let parent = entry.parent_id.as_ref().map_or(0, String::len);
            let strings = entry.trace_id.len() + entry.trace_type.len() + entry.content.len();
            1 + 8 + 1 + 32 + parent + strings
        }
        _ => usize::MAX,
    }
}

/// Of several writes to a key in a batch the last counts, at its place.
pub(crate) fn final_changes(changes: &[ChangeSpec]) -> Vec<ChangeSpec> {
    let written = |change: &ChangeSpec| match change {
        ChangeSpec::Put { run, key, .. } | ChangeSpec::Delete { run, key } => {
            Some((*run, TypeTag::KV, key_bytes(*key)))
        }
        ChangeSpec::Tagged { run, tag, key, .. } => Some((*run, type_tag(*tag), key_bytes(*key))),
        _ => None,
    };
    let mut seen = BTreeSet::new();
    let mut last: Vec<_> = changes
        .iter()
        .rev()
        .filter(|change| written(change).is_none_or(|key| seen.insert(key)))
        .copied()
        .collect();
    last.reverse();
    last
}

/// The history.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Model {
    /// The times of all commits; the first has version 1.
    times: Vec<u64>,
    keys: BTreeMap<(u8, TypeTag, Vec<u8>), Vec<Revision>>,
    runs: BTreeMap<u8, ModelRun>,
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

    /// Whether the run had begun at a version.
    pub(crate) fn run_existed_at(&self, run: u8, version: u64) -> bool {
        self.runs.get(&run).is_some_and(|found| found.first_version <= version)
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

    /// What was refused at the door, whatever the state: sizes and arguments.
    pub(crate) fn check_door(
        &self,
        changes: &[ChangeSpec],
        limits: LimitSpec,
    ) -> Result<(), Refusal> {
        // A zero TTL is a mistake even in a put that a later one supersedes.
        let is_zero =
            |change: &ChangeSpec| matches!(change, ChangeSpec::Put { ttl_ms: Some(0), .. });
        if changes.iter().any(is_zero) {
            return Err(Refusal::Invalid);
        }
        let check_key = |len: usize| match len {
            0 => Err(Refusal::Invalid),
            len if len > limits.key_bytes => Err(Refusal::Limit),
            _ => Ok(()),
        };
        // A session with a larger limit may have put what is deleted.
        let check_deleted = |len: usize| if len == 0 { Err(Refusal::Invalid) } else { Ok(()) };
        let mut bytes = 0;
        for change in final_changes(changes) {
            bytes += 64;
            match change {
                ChangeSpec::Put { key, value, .. } => {
                    let key = key_bytes(key).len();
                    check_key(key)?;
                    let size = encoded_bytes(&self.value(value));
                    if size > limits.value_bytes {
                        return Err(Refusal::Limit);
                    }
                    bytes += key + size;
                }
                ChangeSpec::Delete { key, .. } | ChangeSpec::Tagged { key, value: None, .. } => {
                    check_deleted(key_bytes(key).len())?;
                    bytes += key_bytes(key).len();
                }
                ChangeSpec::Tagged { key, value: Some(value), .. } => {
                    check_key(key_bytes(key).len())?;
                    let size = encoded_bytes(&self.value(value));
                    if size > limits.value_bytes {
                        return Err(Refusal::Limit);
                    }
                    bytes += key_bytes(key).len() + size;
                }
                ChangeSpec::Begin { run, tags: n, .. } => {
                    let namespace = namespace(run, n);
                    let names = [namespace.tenant(), namespace.app(), namespace.agent()];
                    if names.iter().any(|name| name.len() > 24) {
                        return Err(Refusal::Limit);
                    }
                    bytes += 128 + names.concat().len();
                    if tags(n).len() > 3 {
                        return Err(Refusal::Limit);
                    }
                    for (name, value) in tags(n) {
                        if name.len() > 24 || value.len() > 24 {
                            return Err(Refusal::Limit);
                        }
                        bytes += name.len() + value.len() + 16;
                    }
                }
                ChangeSpec::End { .. } => {}
            }
        }
        if changes.is_empty() {
            return Err(Refusal::Invalid);
        }
        if bytes > limits.batch_bytes { Err(Refusal::Limit) } else { Ok(()) }
    }

    /// Judges the changes of a commit, in order.
    pub(crate) fn check(&self, changes: &[ChangeSpec]) -> Result<(), Refusal> {
        let mut own: BTreeMap<u8, bool> = BTreeMap::new();
        let active = |own: &BTreeMap<u8, bool>, run: u8| {
            own.get(&run).copied().or_else(|| self.runs.get(&run).map(|r| r.end.is_none()))
        };
        for change in final_changes(changes) {
            match change {
                ChangeSpec::Begin { run, parent, .. } => {
                    if active(&own, run).is_some() {
                        return Err(Refusal::RunExists);
                    }
                    if parent.is_some_and(|parent| active(&own, parent).is_none()) {
                        return Err(Refusal::RunNotFound);
                    }
                    own.insert(run, true);
                }
                ChangeSpec::Put { run, .. }
                | ChangeSpec::Delete { run, .. }
                | ChangeSpec::Tagged { run, .. }
                | ChangeSpec::End { run, .. } => {
                    match active(&own, run) {
                        None => return Err(Refusal::RunNotFound),
                        Some(false) => return Err(Refusal::RunEnded),
                        Some(true) => {}
                    }
                    if let ChangeSpec::End { .. } = change {
                        own.insert(run, false);
                    }
                }
            }
        }
        Ok(())
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
                            touched: vec![version],
                            end: None,
                        },
                    );
                }
                ChangeSpec::End { run, status: n } => {
                    if let Some(found) = self.runs.get_mut(&run) {
                        found.end = Some((status(n), time_ms, version));
                        found.touched.push(version);
                    }
                }
                ChangeSpec::Put { run, key, value, ttl_ms } => {
                    // Behind the end of time is never.
                    let expiry_ms = ttl_ms.and_then(|ttl| time_ms.checked_add(ttl));
                    let expiry_ms = expiry_ms.filter(|expiry| *expiry < u64::MAX);
                    let value = Some(self.value(value));
                    let revision = Revision { version, time_ms, expiry_ms, value };
                    self.revise(run, TypeTag::KV, key, revision);
                }
                ChangeSpec::Delete { run, key } => {
                    let revision = Revision { version, time_ms, expiry_ms: None, value: None };
                    self.revise(run, TypeTag::KV, key, revision);
                }
                ChangeSpec::Tagged { run, tag, key, value } => {
                    let value = value.map(|value| self.value(value));
                    let revision = Revision { version, time_ms, expiry_ms: None, value };
                    self.revise(run, type_tag(tag), key, revision);
                }
            }
        }
        version
    }

    fn revise(&mut self, run: u8, tag: TypeTag, key: u16, revision: Revision) {
        if let Some(found) = self.runs.get_mut(&run) {
            found.touched.push(revision.version);
        }
        self.keys.entry((run, tag, key_bytes(key))).or_default().push(revision);
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
            run.touched.retain(|touched| *touched <= version);
            run.end = run.end.filter(|(_, _, at)| *at <= version);
        }
    }

    /// How many changes a run has had, its begin and end included.
    pub(crate) fn change_count(&self, run: u8) -> Option<u64> {
        self.runs.get(&run).map(|found| found.touched.len() as u64)
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

    /// Of how many keys a reader at a version and a time sees what was superseded since.
    pub(crate) fn superseded_at(&self, version: u64, now_ms: u64) -> usize {
        let is_superseded = |revisions: &&Vec<Revision>| {
            visible(revisions, version, now_ms).is_some_and(|seen| {
                revisions.last().is_some_and(|last| last.version > seen.version)
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
        let found = self.runs.get(&run)?;
        let id = run_id(run);
        // The record has public fields and no other constructor than its literal.
        Some(RunMetadataEntry {
            run_id: id,
            namespace: found.namespace.clone(),
            parent_run_id: found.parent.map(run_id),
            forked_from: None,
            status: found.end.map_or(RunStatus::Running, |(status, _, _)| status),
            created_at: Timestamp::from_millis(found.created_ms),
            completed_at: found.end.map(|(_, at, _)| Timestamp::from_millis(at)),
            first_version: found.first_version,
            last_version: found.touched.last().copied().unwrap_or(found.first_version),
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
