//! The changes of one commit, as the payload of its log record.
//!
//! ```text
//! payload  one or more changes, back to back
//! change   op, [run id 16, unless op bit 0x80 says "as in the change before"], then by op:
//!   1 put           type tag 1, key, value kind 1, value
//!   2 put expiring  as 1, then the absolute expiry in ms, a varint
//!   3 delete        type tag 1, key
//!   4 begin run     a body (codec/body.rs)
//!   5 end run       status 1
//!   6 drop run
//!   7 remove range  type tag 1, the least key, the least key behind it; an empty key stands for
//!                   the end of the run's keys of this tag
//!   8 key count     how many plain keys the run holds from this commit on: a varint, one more than
//!                   that; 0 if they are no longer counted
//! key, value, body  a varint length and the bytes
//! ```
//!
//! Invariant: what [`encode`] writes, [`decode`] reads back, and nothing else passes.

use super::body::{RunBegin, decode_run_begin, encode_run_begin};
use super::value::Stored;
use super::{Malformed, Reader, put_bytes, put_varint};
use crate::types::{PhysicalKey, RunId, RunStatus, TypeTag};

/// The expiry of a version that never expires.
pub(crate) const NEVER: u64 = u64::MAX;

const OP_PUT: u8 = 1;
const OP_PUT_EXPIRING: u8 = 2;
const OP_DELETE: u8 = 3;
const OP_BEGIN_RUN: u8 = 4;
const OP_END_RUN: u8 = 5;
const OP_DROP_RUN: u8 = 6;
const OP_REMOVE_RANGE: u8 = 7;
const OP_KEY_COUNT: u8 = 8;
const SAME_RUN: u8 = 0x80;

/// One change of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Sets a key. `expiry_ms` is a time to live until the commit makes it absolute.
    Put { key: PhysicalKey, value: Stored, expiry_ms: u64 },
    /// Deletes a key.
    Delete { key: PhysicalKey },
    /// Begins a run.
    BeginRun { run: RunId, begin: Box<RunBegin> },
    /// Ends a run.
    EndRun { run: RunId, status: RunStatus },
    /// Drops a run that has ended.
    DropRun { run: RunId },
    /// Removes all keys from one to another, which is not among them; both are of one run and tag.
    RemoveRange { from: PhysicalKey, to: PhysicalKey },
    /// So many keys the run holds from this commit on; `None` if they are no longer counted. The
    /// engine's own: it stands behind what it counts.
    KeyCount { run: RunId, keys: Option<u64> },
}

impl Change {
    pub(crate) fn run(&self) -> RunId {
        match self {
            Change::Put { key, .. } | Change::Delete { key } => key.run(),
            Change::RemoveRange { from, .. } => from.run(),
            Change::BeginRun { run, .. }
            | Change::EndRun { run, .. }
            | Change::DropRun { run }
            | Change::KeyCount { run, .. } => *run,
        }
    }
}

/// Appends the payload of a commit with these changes.
pub(crate) fn encode(out: &mut Vec<u8>, changes: &[Change]) {
    let mut before = None;
    for change in changes {
        let run = change.run();
        let same = if before == Some(run) { SAME_RUN } else { 0 };
        before = Some(run);
        let head = |out: &mut Vec<u8>, op: u8| {
            out.push(op | same);
            if same == 0 {
                out.extend_from_slice(run.as_bytes());
            }
        };
        match change {
            Change::Put { key, value, expiry_ms } => {
                head(out, if *expiry_ms == NEVER { OP_PUT } else { OP_PUT_EXPIRING });
                out.push(key.tag_byte());
                put_bytes(out, key.user_key());
                out.push(value.kind().to_byte());
                put_bytes(out, value.bytes());
                if *expiry_ms != NEVER {
                    put_varint(out, *expiry_ms);
                }
            }
            Change::Delete { key } => {
                head(out, OP_DELETE);
                out.push(key.tag_byte());
                put_bytes(out, key.user_key());
            }
            Change::BeginRun { begin, .. } => {
                head(out, OP_BEGIN_RUN);
                let mut body = Vec::new();
                encode_run_begin(&mut body, begin);
                put_bytes(out, &body);
            }
            Change::EndRun { status, .. } => {
                head(out, OP_END_RUN);
                out.push(status.to_byte());
            }
            Change::DropRun { .. } => head(out, OP_DROP_RUN),
            Change::KeyCount { keys, .. } => {
                head(out, OP_KEY_COUNT);
                put_varint(out, encode_keys(*keys));
            }
            Change::RemoveRange { from, to } => {
                head(out, OP_REMOVE_RANGE);
                out.push(from.tag_byte());
                put_bytes(out, from.user_key());
                let is_end = to.tag_byte() != from.tag_byte();
                put_bytes(out, if is_end { &[] } else { to.user_key() });
            }
        }
    }
}

/// A number of keys that may not be counted, as a varint.
pub(crate) fn encode_keys(keys: Option<u64>) -> u64 {
    keys.map_or(0, |keys| keys.saturating_add(1))
}

/// What [`encode_keys`] has written.
pub(crate) fn decode_keys(encoded: u64) -> Option<u64> {
    encoded.checked_sub(1)
}

fn tag(reader: &mut Reader<'_>) -> Result<TypeTag, Malformed> {
    let tag = reader.u8("a type tag")?;
    TypeTag::from_byte(tag)
        .ok_or_else(|| Malformed::new("a kind of key", format!("the unknown kind {tag}")))
}

fn range(reader: &mut Reader<'_>, run: RunId) -> Result<Change, Malformed> {
    let tag = tag(reader)?;
    let from = PhysicalKey::new(run, tag, reader.bytes("the least key of a range")?);
    let to = match reader.bytes("the end of a range")? {
        [] => PhysicalKey::end_of(run, tag),
        user => PhysicalKey::new(run, tag, user),
    };
    if from < to {
        return Ok(Change::RemoveRange { from, to });
    }
    Err(Malformed::new("a range of keys that ascends", "one that does not"))
}

fn key(reader: &mut Reader<'_>, run: RunId) -> Result<PhysicalKey, Malformed> {
    let tag = tag(reader)?;
    match reader.bytes("a key")? {
        [] => Err(Malformed::new("a key of at least one byte", "an empty key")),
        user => Ok(PhysicalKey::new(run, tag, user)),
    }
}

/// Reads the payload of a commit.
pub(crate) fn decode(payload: &[u8]) -> Result<Vec<Change>, Malformed> {
    let mut reader = Reader::new(payload);
    let mut changes: Vec<Change> = Vec::new();
    while !reader.is_empty() {
        let op = reader.u8("an operation")?;
        let run = match (op & SAME_RUN != 0, changes.last()) {
            (false, _) => RunId::from_bytes(reader.array("a run id")?),
            (true, Some(before)) => before.run(),
            (true, None) => {
                return Err(Malformed::new(
                    "a run id",
                    "\"the run of the change before\", and no change before",
                ));
            }
        };
        changes.push(match op & !SAME_RUN {
            op @ (OP_PUT | OP_PUT_EXPIRING) => {
                let key = key(&mut reader, run)?;
                let kind = reader.u8("a value kind")?;
                let value = Stored::from_disk(kind, reader.bytes("a value")?)?;
                let expiry_ms = match op {
                    OP_PUT => NEVER,
                    _ => reader.varint("an expiry")?,
                };
                Change::Put { key, value, expiry_ms }
            }
            OP_DELETE => Change::Delete { key: key(&mut reader, run)? },
            OP_BEGIN_RUN => {
                let begin = decode_run_begin(run, reader.bytes("a run's begin record")?)?;
                Change::BeginRun { run, begin: Box::new(begin) }
            }
            OP_END_RUN => {
                let byte = reader.u8("a run status")?;
                match RunStatus::from_byte(byte) {
                    Some(status) if status.is_end() => Change::EndRun { run, status },
                    _ => {
                        return Err(Malformed::new(
                            "the status of an ended run",
                            format!("status {byte}"),
                        ));
                    }
                }
            }
            OP_DROP_RUN => Change::DropRun { run },
            OP_REMOVE_RANGE => range(&mut reader, run)?,
            OP_KEY_COUNT => {
                let keys = decode_keys(reader.varint("a number of keys")?);
                Change::KeyCount { run, keys }
            }
            other => {
                return Err(Malformed::new(
                    "a kind of change",
                    format!("the unknown kind {other}"),
                ));
            }
        });
    }
    if changes.is_empty() {
        return Err(Malformed::new("at least one change", "none"));
    }
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{
        EventEntry, Namespace, Retention, RunMetadataEntry, StateMachineEntry, Timestamp,
        TraceEntry, Value,
    };
    use proptest::prelude::*;

    fn run(n: u8) -> RunId {
        RunId::from_bytes([n; 16])
    }

    fn put(n: u8, user: &[u8], value: impl Into<Value>, expiry_ms: u64) -> Change {
        let key = PhysicalKey::new(run(n), TypeTag::KV, user);
        Change::Put { key, value: Stored::from(value.into()), expiry_ms }
    }

    fn sample() -> Vec<Change> {
        let at = Timestamp::from_millis(1_700_000_000_000);
        let begin = RunBegin {
            namespace: Namespace::new("tenant", "app", "agent", run(2)),
            parent: Some(run(1)),
            forked_from: None,
            retention: Retention::Latest,
            tags: [("a".to_owned(), "b".to_owned()), ("c".to_owned(), String::new())].into(),
        };
        let metadata = RunMetadataEntry {
            run_id: run(2),
            namespace: begin.namespace.clone(),
            parent_run_id: Some(run(1)),
            forked_from: None,
            status: RunStatus::Failed,
            created_at: at,
            completed_at: Some(at),
            dropped_at: None,
            first_version: 3,
            last_version: 9,
            tags: begin.tags.clone(),
            retention: Retention::Latest,
        };
        vec![
            Change::BeginRun { run: run(2), begin: Box::new(begin) },
            put(2, b"null", (), NEVER),
            put(2, b"bool", true, 77),
            put(2, b"int", i64::MIN, NEVER),
            put(1, b"float", -0.0, NEVER),
            put(1, b"text", "grün", NEVER - 1),
            put(1, &[0xff; 300], vec![0u8; 1000], 0),
            put(
                1,
                b"event",
                EventEntry {
                    sequence: u64::MAX,
                    event_type: "t".into(),
                    payload: vec![1, 2],
                    timestamp: at,
                },
                NEVER,
            ),
            put(
                1,
                b"state",
                StateMachineEntry { state: "on".into(), version: 4, updated_at: at },
                NEVER,
            ),
            put(
                1,
                b"trace",
                TraceEntry {
                    trace_id: "x".into(),
                    parent_id: None,
                    trace_type: "y".into(),
                    content: vec![],
                    timestamp: at,
                },
                NEVER,
            ),
            put(1, b"record", metadata, NEVER),
            Change::Delete { key: PhysicalKey::new(run(1), TypeTag::Event, b"gone") },
            Change::RemoveRange {
                from: PhysicalKey::new(run(1), TypeTag::KV, b"a"),
                to: PhysicalKey::new(run(1), TypeTag::KV, b"b"),
            },
            Change::RemoveRange {
                from: PhysicalKey::new(run(2), TypeTag::KV, b""),
                to: PhysicalKey::end_of(run(2), TypeTag::KV),
            },
            Change::KeyCount { run: run(2), keys: Some(300) },
            Change::EndRun { run: run(2), status: RunStatus::Cancelled },
            Change::KeyCount { run: run(1), keys: None },
            Change::DropRun { run: run(2) },
        ]
    }

    #[test]
    fn t13_every_kind_of_change_and_value_reads_back_with_its_expiry() {
        let mut out = Vec::new();
        encode(&mut out, &sample());
        assert_eq!(decode(&out), Ok(sample()));
    }

    #[test]
    fn a_payload_cut_anywhere_is_malformed_or_a_shorter_list_and_never_panics() {
        let mut out = Vec::new();
        encode(&mut out, &sample());
        for cut in 0..out.len() {
            if let Ok(changes) = decode(&out[..cut]) {
                assert_eq!(changes, sample()[..changes.len()], "cut at {cut}");
            }
        }
    }

    #[test]
    fn t32_an_empty_key_or_an_empty_commit_is_malformed() {
        assert!(decode(&[]).is_err());
        let mut out = vec![OP_DELETE];
        out.extend([1; 16]);
        out.extend([TypeTag::KV.to_byte(), 0]);
        assert!(decode(&out).is_err());
    }

    #[test]
    fn a_run_ends_with_any_status_but_active_and_dropped() {
        for status in RunStatus::ALL {
            let mut out = vec![OP_END_RUN];
            out.extend([1; 16]);
            out.push(status.to_byte());
            assert_eq!(decode(&out).is_ok(), status.is_end(), "{status:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _outcome = decode(&bytes);
        }

        #[test]
        fn a_flipped_byte_is_malformed_or_other_changes_and_never_panics(
            at in 0usize..1700, byte in any::<u8>(),
        ) {
            let mut out = Vec::new();
            encode(&mut out, &sample());
            let at = at % out.len();
            out[at] = byte;
            let _outcome = decode(&out);
        }
    }
}
