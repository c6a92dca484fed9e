//! Structured bodies: the only file that names bincode.
//!
//! Each body is a flat struct behind a body-version byte. bincode never sees an enum or a
//! map, always a slice whose checksum has passed, fixed-width integers, and a byte limit (its
//! 1.3.3 is pinned; `docs/decisions/0002-bincode.md` says why). A body's layout never changes
//! under its version byte: golden vectors in the tests pin it, and old decoders stay.

use std::collections::BTreeMap;

use bincode::Options as _;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Malformed;
use crate::types::{
    EventEntry, Namespace, Retention, RunId, RunMetadataEntry, RunStatus, StateMachineEntry,
    Timestamp, TraceEntry,
};

/// The version byte of the bodies that this file writes, but for those that have changed since.
const BODY_VERSION: u8 = 1;
/// That of the record of a run: since it tells of being dropped.
const RUN_METADATA_VERSION: u8 = 2;

#[derive(Serialize, Deserialize)]
struct EventBody {
    sequence: u64,
    timestamp_ms: u64,
    event_type: String,
    #[serde(with = "serde_bytes")]
    payload: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct StateMachineBody {
    version: u64,
    updated_at_ms: u64,
    state: String,
}

#[derive(Serialize, Deserialize)]
struct TraceBody {
    timestamp_ms: u64,
    has_parent: bool,
    parent_id: String,
    trace_id: String,
    trace_type: String,
    #[serde(with = "serde_bytes")]
    content: Vec<u8>,
}

/// Its texts are borrowed when it is written, and owned when it is read.
#[derive(Serialize, Deserialize)]
struct RunBeginBody<T> {
    has_parent: bool,
    parent: [u8; 16],
    has_fork: bool,
    forked_from: [u8; 16],
    retention: u8,
    tenant: T,
    app: T,
    agent: T,
    tag_names: Vec<T>,
    tag_values: Vec<T>,
}

#[derive(Serialize, Deserialize)]
struct RunMetadataBody {
    first: RunMetadataBody1,
    has_dropped: bool,
    dropped_at_ms: u64,
}

/// What stands behind version 1 alone.
#[derive(Serialize, Deserialize)]
struct RunMetadataBody1 {
    run: [u8; 16],
    status: u8,
    created_at_ms: u64,
    has_completed: bool,
    completed_at_ms: u64,
    first_version: u64,
    last_version: u64,
    #[serde(with = "serde_bytes")]
    begin: Vec<u8>,
}

/// What a begin record says of its run; version and time are the record's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunBegin {
    pub(crate) namespace: Namespace,
    pub(crate) parent: Option<RunId>,
    pub(crate) forked_from: Option<RunId>,
    pub(crate) retention: Retention,
    pub(crate) tags: std::collections::BTreeMap<String, String>,
}

fn encode<T: Serialize>(out: &mut Vec<u8>, body: &T) {
    encode_as(out, BODY_VERSION, body);
}

fn encode_as<T: Serialize>(out: &mut Vec<u8>, version: u8, body: &T) {
    out.push(version);
    // Writing numbers and strings into a vector cannot fail; the assertion says so.
    let written = bincode::DefaultOptions::new().with_fixint_encoding().serialize_into(out, body);
    debug_assert!(written.is_ok(), "a flat body always encodes");
}

fn decode<T: DeserializeOwned>(bytes: &[u8], what: &'static str) -> Result<T, Malformed> {
    match bytes.split_first() {
        None => Err(Malformed::new(what, "nothing")),
        Some((&BODY_VERSION, body)) => decode_as(body, what),
        Some((version, _)) => Err(unknown(*version, what)),
    }
}

fn unknown(version: u8, what: &'static str) -> Malformed {
    Malformed::new(what, format!("one of the unknown version {version}"))
}

fn decode_as<T: DeserializeOwned>(body: &[u8], what: &'static str) -> Result<T, Malformed> {
    bincode::DefaultOptions::new()
        .with_fixint_encoding()
        .with_limit(body.len() as u64)
        .deserialize(body)
        .map_err(|e| Malformed::new(what, e))
}

fn optional(present: bool, bytes: [u8; 16]) -> Option<RunId> {
    present.then(|| RunId::from_bytes(bytes))
}

fn id_bytes(id: Option<RunId>) -> [u8; 16] {
    id.map_or([0; 16], |id| *id.as_bytes())
}

pub(crate) fn encode_event(out: &mut Vec<u8>, entry: EventEntry) {
    let EventEntry { sequence, event_type, payload, timestamp } = entry;
    encode(out, &EventBody { sequence, timestamp_ms: timestamp.as_millis(), event_type, payload });
}

pub(crate) fn decode_event(bytes: &[u8]) -> Result<EventEntry, Malformed> {
    let body: EventBody = decode(bytes, "an event entry")?;
    Ok(EventEntry {
        sequence: body.sequence,
        event_type: body.event_type,
        payload: body.payload,
        timestamp: Timestamp::from_millis(body.timestamp_ms),
    })
}

pub(crate) fn encode_state_machine(out: &mut Vec<u8>, entry: StateMachineEntry) {
    let StateMachineEntry { state, version, updated_at } = entry;
    encode(out, &StateMachineBody { version, updated_at_ms: updated_at.as_millis(), state });
}

pub(crate) fn decode_state_machine(bytes: &[u8]) -> Result<StateMachineEntry, Malformed> {
    let body: StateMachineBody = decode(bytes, "a state-machine entry")?;
    Ok(StateMachineEntry {
        state: body.state,
        version: body.version,
        updated_at: Timestamp::from_millis(body.updated_at_ms),
    })
}

pub(crate) fn encode_trace(out: &mut Vec<u8>, entry: TraceEntry) {
    let TraceEntry { trace_id, parent_id, trace_type, content, timestamp } = entry;
    encode(
        out,
        &TraceBody {
            timestamp_ms: timestamp.as_millis(),
            has_parent: parent_id.is_some(),
            parent_id: parent_id.unwrap_or_default(),
            trace_id,
            trace_type,
            content,
        },
    );
}

pub(crate) fn decode_trace(bytes: &[u8]) -> Result<TraceEntry, Malformed> {
    let body: TraceBody = decode(bytes, "a trace entry")?;
    Ok(TraceEntry {
        trace_id: body.trace_id,
        parent_id: body.has_parent.then_some(body.parent_id),
        trace_type: body.trace_type,
        content: body.content,
        timestamp: Timestamp::from_millis(body.timestamp_ms),
    })
}

pub(crate) fn encode_run_begin(out: &mut Vec<u8>, begin: &RunBegin) {
    let RunBegin { namespace, parent, forked_from, retention, tags } = begin;
    encode_begin(out, namespace, (*parent, *forked_from), *retention, tags);
}

fn encode_begin(
    out: &mut Vec<u8>,
    namespace: &Namespace,
    (parent, forked_from): (Option<RunId>, Option<RunId>),
    retention: Retention,
    tags: &BTreeMap<String, String>,
) {
    let body = RunBeginBody {
        has_parent: parent.is_some(),
        parent: id_bytes(parent),
        has_fork: forked_from.is_some(),
        forked_from: id_bytes(forked_from),
        retention: retention.to_byte(),
        tenant: namespace.tenant(),
        app: namespace.app(),
        agent: namespace.agent(),
        tag_names: tags.keys().map(String::as_str).collect(),
        tag_values: tags.values().map(String::as_str).collect(),
    };
    encode(out, &body);
}

pub(crate) fn decode_run_begin(run: RunId, bytes: &[u8]) -> Result<RunBegin, Malformed> {
    const WHAT: &str = "a run's begin record";
    let body: RunBeginBody<String> = decode(bytes, WHAT)?;
    if body.tag_names.len() != body.tag_values.len() {
        return Err(Malformed::new(WHAT, "tag names and values of different number"));
    }
    let count = body.tag_names.len();
    let tags: BTreeMap<_, _> = body.tag_names.into_iter().zip(body.tag_values).collect();
    if tags.len() != count {
        return Err(Malformed::new(WHAT, "a tag that is named twice"));
    }
    let retention = Retention::from_byte(body.retention)
        .ok_or_else(|| Malformed::new(WHAT, format!("retention {}", body.retention)))?;
    Ok(RunBegin {
        namespace: Namespace::new(body.tenant, body.app, body.agent, run),
        parent: optional(body.has_parent, body.parent),
        forked_from: optional(body.has_fork, body.forked_from),
        retention,
        tags,
    })
}

pub(crate) fn encode_run_metadata(out: &mut Vec<u8>, entry: &RunMetadataEntry) {
    let mut begin = Vec::new();
    let from = (entry.parent_run_id, entry.forked_from);
    encode_begin(&mut begin, &entry.namespace, from, entry.retention, &entry.tags);
    let first = RunMetadataBody1 {
        run: *entry.run_id.as_bytes(),
        status: entry.status.to_byte(),
        created_at_ms: entry.created_at.as_millis(),
        has_completed: entry.completed_at.is_some(),
        completed_at_ms: entry.completed_at.unwrap_or_default().as_millis(),
        first_version: entry.first_version,
        last_version: entry.last_version,
        begin,
    };
    let (has_dropped, dropped_at_ms) =
        (entry.dropped_at.is_some(), entry.dropped_at.unwrap_or_default().as_millis());
    let body = RunMetadataBody { first, has_dropped, dropped_at_ms };
    encode_as(out, RUN_METADATA_VERSION, &body);
}

pub(crate) fn decode_run_metadata(bytes: &[u8]) -> Result<RunMetadataEntry, Malformed> {
    const WHAT: &str = "run metadata";
    let (body, dropped_at) = match bytes.split_first() {
        Some((&RUN_METADATA_VERSION, rest)) => {
            let body: RunMetadataBody = decode_as(rest, WHAT)?;
            let dropped_at = Timestamp::from_millis(body.dropped_at_ms);
            (body.first, body.has_dropped.then_some(dropped_at))
        }
        _ => (decode::<RunMetadataBody1>(bytes, WHAT)?, None),
    };
    let run_id = RunId::from_bytes(body.run);
    let begin = decode_run_begin(run_id, &body.begin)?;
    let status = RunStatus::from_byte(body.status)
        .ok_or_else(|| Malformed::new(WHAT, format!("status {}", body.status)))?;
    Ok(RunMetadataEntry {
        run_id,
        namespace: begin.namespace,
        parent_run_id: begin.parent,
        forked_from: begin.forked_from,
        status,
        created_at: Timestamp::from_millis(body.created_at_ms),
        completed_at: body.has_completed.then(|| Timestamp::from_millis(body.completed_at_ms)),
        dropped_at,
        first_version: body.first_version,
        last_version: body.last_version,
        tags: begin.tags,
        retention: begin.retention,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t36_the_body_of_an_event_is_pinned_by_a_golden_vector() {
        let entry = EventEntry {
            sequence: 3,
            event_type: "ab".into(),
            payload: vec![9, 8],
            timestamp: Timestamp::from_millis(5),
        };
        let mut out = Vec::new();
        encode_event(&mut out, entry.clone());
        let golden: &[u8] = &[
            1, // body version
            3, 0, 0, 0, 0, 0, 0, 0, // sequence
            5, 0, 0, 0, 0, 0, 0, 0, // timestamp
            2, 0, 0, 0, 0, 0, 0, 0, b'a', b'b', // event type
            2, 0, 0, 0, 0, 0, 0, 0, 9, 8, // payload
        ];
        assert_eq!(out, golden);
        assert_eq!(decode_event(golden), Ok(entry));
    }

    #[test]
    fn t36_the_body_of_a_state_machine_is_pinned_by_a_golden_vector() {
        let entry = StateMachineEntry {
            state: "on".into(),
            version: 2,
            updated_at: Timestamp::from_millis(4),
        };
        let mut out = Vec::new();
        encode_state_machine(&mut out, entry.clone());
        let golden: &[u8] = &[
            1, // body version
            2, 0, 0, 0, 0, 0, 0, 0, // version
            4, 0, 0, 0, 0, 0, 0, 0, // updated at
            2, 0, 0, 0, 0, 0, 0, 0, b'o', b'n', // state
        ];
        assert_eq!(out, golden);
        assert_eq!(decode_state_machine(golden), Ok(entry));
    }

    #[test]
    fn t36_the_body_of_a_trace_is_pinned_by_a_golden_vector() {
        let entry = TraceEntry {
            trace_id: "t".into(),
            parent_id: Some("p".into()),
            trace_type: "x".into(),
            content: vec![7],
            timestamp: Timestamp::from_millis(6),
        };
        let mut out = Vec::new();
        encode_trace(&mut out, entry.clone());
        let golden: &[u8] = &[
            1, // body version
            6, 0, 0, 0, 0, 0, 0, 0, // timestamp
            1, // has a parent
            1, 0, 0, 0, 0, 0, 0, 0, b'p', // parent id
            1, 0, 0, 0, 0, 0, 0, 0, b't', // trace id
            1, 0, 0, 0, 0, 0, 0, 0, b'x', // trace type
            1, 0, 0, 0, 0, 0, 0, 0, 7, // content
        ];
        assert_eq!(out, golden);
        assert_eq!(decode_trace(golden), Ok(entry));
    }

    #[test]
    fn t36_the_body_of_a_run_begin_is_pinned_by_a_golden_vector() {
        let run = RunId::from_bytes([1; 16]);
        let begin = RunBegin {
            namespace: Namespace::new("t", "a", "g", run),
            parent: Some(RunId::from_bytes([2; 16])),
            forked_from: None,
            retention: Retention::Latest,
            tags: [("k".to_owned(), "v".to_owned())].into(),
        };
        let mut out = Vec::new();
        encode_run_begin(&mut out, &begin);
        let mut golden = vec![1, 1];
        golden.extend([2; 16]); // parent
        golden.push(0); // no fork
        golden.extend([0; 16]);
        golden.push(1); // retention: latest
        for name in [b't', b'a', b'g'] {
            golden.extend([1, 0, 0, 0, 0, 0, 0, 0, name]);
        }
        for tag in [b'k', b'v'] {
            golden.extend([1, 0, 0, 0, 0, 0, 0, 0]); // one element
            golden.extend([1, 0, 0, 0, 0, 0, 0, 0, tag]);
        }
        assert_eq!(out, golden);
        assert_eq!(decode_run_begin(run, &golden), Ok(begin));
    }

    /// The second version is the first one with what it says of being dropped behind it.
    #[test]
    fn t36_the_body_of_a_run_is_pinned_by_a_golden_vector_and_that_of_version_1_still_reads() {
        let run_id = RunId::from_bytes([1; 16]);
        let entry = RunMetadataEntry {
            run_id,
            namespace: Namespace::new("t", "a", "g", run_id),
            parent_run_id: None,
            forked_from: None,
            status: RunStatus::Dropped,
            created_at: Timestamp::from_millis(5),
            completed_at: Some(Timestamp::from_millis(6)),
            dropped_at: Some(Timestamp::from_millis(7)),
            first_version: 8,
            last_version: 9,
            tags: std::collections::BTreeMap::new(),
            retention: Retention::Latest,
        };
        let mut begin = vec![1, 0];
        begin.extend([0; 16]); // no parent
        begin.push(0); // no fork
        begin.extend([0; 16]);
        begin.push(1); // retention: latest
        for name in [b't', b'a', b'g'] {
            begin.extend([1, 0, 0, 0, 0, 0, 0, 0, name]);
        }
        begin.extend([0; 16]); // no tags
        let mut golden = vec![2]; // body version
        golden.extend([1; 16]); // run
        golden.push(5); // dropped
        golden.extend(5u64.to_le_bytes()); // created at
        golden.push(1); // has ended
        golden.extend(6u64.to_le_bytes());
        golden.extend(8u64.to_le_bytes()); // first version
        golden.extend(9u64.to_le_bytes()); // last version
        golden.extend((begin.len() as u64).to_le_bytes());
        golden.extend(&begin);
        let first = [&[1], &golden[1..]].concat();
        golden.push(1); // was dropped
        golden.extend(7u64.to_le_bytes());
        let mut out = Vec::new();
        encode_run_metadata(&mut out, &entry);
        assert_eq!(out, golden);
        assert_eq!(decode_run_metadata(&golden), Ok(entry.clone()));
        let before = RunMetadataEntry { dropped_at: None, ..entry };
        assert_eq!(decode_run_metadata(&first), Ok(before));
    }

    #[test]
    fn a_body_cut_anywhere_or_of_a_later_version_is_malformed_and_never_panics() {
        let mut out = Vec::new();
        encode_event(
            &mut out,
            EventEntry {
                sequence: 1,
                event_type: "type".into(),
                payload: b"payload".to_vec(),
                timestamp: Timestamp::from_millis(1),
            },
        );
        for cut in 0..out.len() {
            assert!(decode_event(&out[..cut]).is_err(), "cut at {cut}");
        }
        let mut longer = out.clone();
        longer.push(0);
        assert!(decode_event(&longer).is_err());
        out[0] = 2;
        assert!(decode_event(&out).is_err());
    }

    #[test]
    fn a_forged_length_is_malformed_and_allocates_nothing() {
        let mut forged = vec![1; 17];
        forged.extend(u64::MAX.to_le_bytes());
        assert!(decode_event(&forged).is_err());
        let mut forged = vec![1; 17];
        forged.extend((u64::MAX >> 1).to_le_bytes());
        assert!(decode_event(&forged).is_err());
    }

    /// A record that was read would be written again otherwise than it was found.
    #[test]
    fn a_begin_record_that_no_writer_makes_is_malformed() {
        let run = RunId::from_bytes([1; 16]);
        let text = |text: &str| text.to_owned();
        let body = |names: &[&str], values: &[&str], retention| {
            let mut out = Vec::new();
            let body = RunBeginBody {
                has_parent: false,
                parent: [0; 16],
                has_fork: false,
                forked_from: [0; 16],
                retention,
                tenant: text("t"),
                app: text("a"),
                agent: text("g"),
                tag_names: names.iter().copied().map(text).collect(),
                tag_values: values.iter().copied().map(text).collect(),
            };
            encode(&mut out, &body);
            decode_run_begin(run, &out).map(|begin| begin.tags.len()).map_err(|m| m.found)
        };
        assert_eq!(body(&["a", "b"], &["1", "1"], 1), Ok(2));
        assert_eq!(body(&["a", "a"], &["1", "2"], 1), Err(text("a tag that is named twice")));
        let uneven = Err(text("tag names and values of different number"));
        assert_eq!(body(&["a", "b"], &["1"], 1), uneven);
        assert_eq!(body(&[], &[], 0), Err(text("retention 0")));
    }
}
