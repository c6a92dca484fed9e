//! What a commit is judged by before it is part of the history: its sizes, and the runs it names.

use std::collections::{BTreeMap, BTreeSet};

use runstone::{Error, TypeTag, Value};

use super::{Life, Model, ModelRun};
use crate::harness::case::{ChangeSpec, LimitSpec, NAMED, Op, key_bytes, namespace, type_tag};

/// Why a commit is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Invalid,
    Limit,
    RunNotFound,
    RunExists,
    RunEnded,
    RunActive,
    RunDropped,
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
                | (Refusal::RunActive, Error::RunActive { .. })
                | (Refusal::RunDropped, Error::RunDropped { .. })
        )
    }
}

/// The tags that a number stands for.
pub(crate) fn tags(n: u8) -> Vec<(String, String)> {
    let n = n.checked_sub(NAMED).unwrap_or(n);
    (0..n % 5).map(|i| (format!("tag{i}"), "v".repeat(usize::from(n) + usize::from(i)))).collect()
}

/// The bytes that count against the limit, by the documented formats.
pub(super) fn encoded_bytes(value: &Value) -> usize {
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

/// The least key of a range, and the least behind it, if there is one.
pub(super) fn range_of(from: u16, to: u16, bounds: u8) -> (Vec<u8>, Option<Vec<u8>>) {
    let above = |key: u16| [&key_bytes(key)[..], &[0]].concat();
    let from = match bounds % 3 {
        0 => Vec::new(),
        1 => key_bytes(from),
        _ => above(from),
    };
    let to = match bounds / 3 % 3 {
        0 => None,
        1 => Some(above(to)),
        _ => Some(key_bytes(to)),
    };
    (from, to)
}

pub(super) fn is_inside(key: &[u8], (from, to): &(Vec<u8>, Option<Vec<u8>>)) -> bool {
    key >= &from[..] && to.as_ref().is_none_or(|to| key < &to[..])
}

fn is_empty((from, to): &(Vec<u8>, Option<Vec<u8>>)) -> bool {
    to.as_ref().is_some_and(|to| from >= to)
}

/// Of several writes to a key in a batch the last counts, at its place; what is removed behind them
/// is none.
pub(crate) fn final_changes(changes: &[ChangeSpec]) -> Vec<ChangeSpec> {
    let written = |change: &ChangeSpec| match change {
        ChangeSpec::Put { run, key, .. } | ChangeSpec::Delete { run, key } => {
            Some((*run, TypeTag::KV, key_bytes(*key)))
        }
        ChangeSpec::Tagged { run, tag, key, .. } => Some((*run, type_tag(*tag), key_bytes(*key))),
        _ => None,
    };
    let (mut seen, mut removed, mut dropped) = (BTreeSet::new(), Vec::new(), BTreeSet::new());
    let mut last: Vec<_> = changes
        .iter()
        .rev()
        .filter(|change| {
            match **change {
                ChangeSpec::RemoveRange { run, from, to, bounds } => {
                    removed.push((run, range_of(from, to, bounds)));
                }
                ChangeSpec::Drop { run } => {
                    dropped.insert(run);
                }
                _ => {}
            }
            written(change).is_none_or(|key| {
                let (run, tag, bytes) = &key;
                let is_removed = *tag == TypeTag::KV
                    && removed.iter().any(|(of, range)| of == run && is_inside(bytes, range));
                !is_removed && !dropped.contains(run) && seen.insert(key)
            })
        })
        .copied()
        .collect();
    last.reverse();
    last
}

impl Model {
    /// What was refused at the door, whatever the state: sizes and arguments.
    pub(crate) fn check_door(
        &self,
        changes: &[ChangeSpec],
        limits: LimitSpec,
    ) -> Result<(), Refusal> {
        // A zero TTL is a mistake even in a put that a later one supersedes.
        let is_mistake = |change: &ChangeSpec| match *change {
            ChangeSpec::Put { ttl_ms: Some(0), .. } => true,
            ChangeSpec::RemoveRange { from, to, bounds, .. } => {
                is_empty(&range_of(from, to, bounds))
            }
            _ => false,
        };
        if changes.iter().any(is_mistake) {
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
                ChangeSpec::RemoveRange { from, to, bounds, .. } => {
                    let (from, to) = range_of(from, to, bounds);
                    let (from, to) = (from.len(), to.map_or(0, |to| to.len()));
                    if from.max(to) > limits.key_bytes + 1 {
                        return Err(Refusal::Limit);
                    }
                    bytes += from + to;
                }
                ChangeSpec::End { .. } | ChangeSpec::Drop { .. } => {}
            }
        }
        if changes.is_empty() {
            return Err(Refusal::Invalid);
        }
        if bytes > limits.batch_bytes { Err(Refusal::Limit) } else { Ok(()) }
    }

    /// The most bytes that the changes of an operation take in the log, or more.
    pub(crate) fn record_bytes_max(&self, op: &Op, limits: LimitSpec) -> u64 {
        let bytes = |change: &ChangeSpec| match *change {
            ChangeSpec::Put { key, value, .. }
            | ChangeSpec::Tagged { key, value: Some(value), .. } => {
                64 + key_bytes(key).len() + encoded_bytes(&self.value(value))
            }
            // Names and tags have 24 bytes each, and there are few of them.
            ChangeSpec::Begin { .. } => 512,
            _ => 64 + 2 * limits.key_bytes,
        };
        op.changes().iter().map(|change| bytes(change) as u64).sum()
    }

    /// Judges the changes of a commit, in order.
    pub(crate) fn check(&self, changes: &[ChangeSpec]) -> Result<(), Refusal> {
        let mut own: BTreeMap<u8, Life> = BTreeMap::new();
        let life = |own: &BTreeMap<u8, Life>, run: u8| {
            own.get(&run).copied().or_else(|| self.runs.get(&run).map(ModelRun::life))
        };
        for change in final_changes(changes) {
            match change {
                ChangeSpec::Begin { run, parent, .. } => {
                    if life(&own, run).is_some() {
                        return Err(Refusal::RunExists);
                    }
                    if parent.is_some_and(|parent| life(&own, parent).is_none()) {
                        return Err(Refusal::RunNotFound);
                    }
                    own.insert(run, Life::Active);
                }
                ChangeSpec::Drop { run } => {
                    match life(&own, run) {
                        None => return Err(Refusal::RunNotFound),
                        Some(Life::Active) => return Err(Refusal::RunActive),
                        Some(Life::Dropped) => return Err(Refusal::RunDropped),
                        Some(Life::Ended) => own.insert(run, Life::Dropped),
                    };
                }
                ChangeSpec::Put { run, .. }
                | ChangeSpec::Delete { run, .. }
                | ChangeSpec::Tagged { run, .. }
                | ChangeSpec::RemoveRange { run, .. }
                | ChangeSpec::End { run, .. } => {
                    match life(&own, run) {
                        None => return Err(Refusal::RunNotFound),
                        Some(Life::Ended) => return Err(Refusal::RunEnded),
                        Some(Life::Dropped) => return Err(Refusal::RunDropped),
                        Some(Life::Active) => {}
                    }
                    if let ChangeSpec::End { .. } = change {
                        own.insert(run, Life::Ended);
                    }
                }
            }
        }
        Ok(())
    }
}
