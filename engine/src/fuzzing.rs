//! Every decoder of bytes from the disk, for fuzzing; hidden, and compiled only with the feature
//! `fuzzing`.
//!
//! Invariants that the callers check: no bytes make a decoder panic, abort, hang or allocate
//! without bound; and what a decoder accepts, written again, is accepted as the same.
//!
//! Checksums keep nearly all forged bytes out. So a decoder that stands behind one is also
//! called with bytes whose checksum has been made right.

use std::path::Path;
use std::sync::Arc;

use runstone_vfs::{MemVfs, Vfs, write_all_at};

use crate::codec::body;
use crate::codec::change::{self, Change};
use crate::codec::value::Stored;
use crate::log::record::{End, RecordHead, RecordKind, parse_head};
use crate::log::scan::{Next, SegmentScan};
use crate::log::segment::{SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::manifest::edit::Edit;
use crate::manifest::file;
use crate::manifest::{Flushed, LevelEntry, Manifest, SegmentEntry, Snapshot, TableEntry};
use crate::options::Options;
use crate::seal::Seal;
use crate::table::fuzzing as table;
use crate::types::{
    EventEntry, Namespace, PhysicalKey, RunId, RunMetadataEntry, RunStatus, StateMachineEntry,
    Timestamp, TraceEntry, TypeTag, Value,
};

/// Where the file of a segment stands while it is read.
const FILE: &str = "/000001.log";
const STORE_ID: [u8; 16] = [7; 16];
const SALT: [u8; 16] = [9; 16];

/// A decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Decoder {
    /// The header of a log segment, with its checksum.
    SegmentHeader,
    /// A whole segment, record by record, and the search behind what is not intact.
    Segment,
    /// One record's head and body, with its checksum.
    Record,
    /// The changes of one commit.
    Changes,
    /// A value: its kind byte and what follows.
    Value,
    /// The body of a begin record.
    RunBegin,
    /// The body of a run record.
    RunMetadata,
    /// A manifest, with its checksum.
    Manifest,
    /// A manifest whose checksum is made right first.
    ManifestBody,
    /// An edit of a manifest, without its record.
    ManifestEdit,
    /// The header of a table, with its checksum.
    TableHeader,
    /// The properties of a table.
    TableProperties,
    /// The index of a table.
    TableIndex,
    /// A data block of a table.
    TableBlock,
    /// A data block that was compressed, behind its length before that, in four bytes.
    TableCompressed,
    /// A whole table, read in order and by each of its keys.
    Table,
}

impl Decoder {
    /// All of them.
    pub const ALL: [Decoder; 16] = [
        Decoder::SegmentHeader,
        Decoder::Segment,
        Decoder::Record,
        Decoder::Changes,
        Decoder::Value,
        Decoder::RunBegin,
        Decoder::RunMetadata,
        Decoder::Manifest,
        Decoder::ManifestBody,
        Decoder::ManifestEdit,
        Decoder::TableHeader,
        Decoder::TableProperties,
        Decoder::TableIndex,
        Decoder::TableBlock,
        Decoder::TableCompressed,
        Decoder::Table,
    ];

    /// Decodes. What was accepted is returned as it would be written again.
    pub fn decode(self, bytes: &[u8]) -> Option<Vec<u8>> {
        let file = Path::new(FILE);
        match self {
            Decoder::SegmentHeader => {
                SegmentHeader::decode(bytes, file).ok().map(|header| header.encode())
            }
            Decoder::Segment => segment(bytes),
            Decoder::Record => record(bytes),
            Decoder::Changes => {
                let changes = change::decode(bytes).ok()?;
                let mut out = Vec::new();
                change::encode(&mut out, &changes);
                Some(out)
            }
            Decoder::Value => {
                let (kind, rest) = bytes.split_first()?;
                let stored = Stored::from_disk(*kind, rest).ok()?;
                let value = stored.to_value().ok()?;
                Some(value_bytes(value))
            }
            Decoder::RunBegin => {
                let begin = body::decode_run_begin(RunId::from_bytes([1; 16]), bytes).ok()?;
                let mut out = Vec::new();
                body::encode_run_begin(&mut out, &begin);
                Some(out)
            }
            Decoder::RunMetadata => {
                let entry = body::decode_run_metadata(bytes).ok()?;
                let mut out = Vec::new();
                body::encode_run_metadata(&mut out, &entry);
                Some(out)
            }
            Decoder::Manifest => manifest(bytes),
            Decoder::ManifestBody => {
                let mut right = bytes.to_vec();
                let mut hasher = crc32fast::Hasher::new();
                hasher.update(right.get(..16)?);
                let length = right.get(12..16)?.first_chunk().copied()?;
                let length = usize::try_from(u32::from_le_bytes(length)).ok()?;
                hasher.update(right.get(24..)?.get(..length)?);
                let checksum = hasher.finalize().to_le_bytes();
                right.get_mut(16..20)?.copy_from_slice(&checksum);
                manifest(&right)
            }
            Decoder::ManifestEdit => {
                let edit = Edit::decode(bytes).ok()?;
                // What it does to a manifest is an error, or a manifest.
                drop(edit.apply(&sample_manifest()));
                Some(edit.encode())
            }
            Decoder::TableHeader => table::header(bytes),
            Decoder::TableProperties => table::properties(bytes),
            Decoder::TableIndex => table::index(bytes),
            Decoder::TableBlock => table::block(bytes),
            Decoder::TableCompressed => table::compressed(bytes),
            Decoder::Table => table::whole(bytes),
        }
    }

    /// Bytes that the decoder accepts.
    pub fn samples(self) -> Vec<Vec<u8>> {
        match self {
            Decoder::SegmentHeader => vec![header().encode()],
            Decoder::Segment => vec![sample_segment()],
            Decoder::Record => {
                let whole = sample_segment();
                let start = usize::try_from(SEGMENT_HEADER_BYTES).unwrap_or(0);
                vec![whole.get(start..).unwrap_or_default().to_vec()]
            }
            Decoder::Changes => vec![sample_changes()],
            Decoder::Value => sample_values().into_iter().map(value_bytes).collect(),
            Decoder::RunBegin => vec![sample_begin()],
            Decoder::RunMetadata => vec![sample_metadata()],
            Decoder::Manifest | Decoder::ManifestBody => vec![sample_manifest().encode(&SALT)],
            Decoder::ManifestEdit => vec![sample_edit().encode()],
            Decoder::TableHeader => table::samples().header,
            Decoder::TableProperties => table::samples().properties,
            Decoder::TableIndex => table::samples().index,
            Decoder::TableBlock => table::samples().block,
            Decoder::TableCompressed => table::samples().compressed,
            Decoder::Table => table::samples().whole,
        }
    }
}

fn header() -> SegmentHeader {
    SegmentHeader { store_id: STORE_ID, salt: SALT, number: 1, epoch: 2 }
}

/// Reads a whole segment as recovery does; the intact records, back to back.
fn segment(bytes: &[u8]) -> Option<Vec<u8>> {
    let vfs = MemVfs::new();
    let file = vfs.create(Path::new(FILE)).ok()?;
    write_all_at(&*file, bytes, 0).ok()?;
    let step_bytes = Options::default().steps.read_bytes;
    let mut scan = SegmentScan::open(Arc::clone(&file), Path::new(FILE), None, step_bytes).ok()?;
    let mut out = scan.header().encode();
    while let Next::Record(record) = scan.next().ok()? {
        if record.head.kind == RecordKind::Commit {
            // Damage behind a checksum is an error of recovery, not of the record.
            drop(change::decode(record.payload));
        }
        out.extend_from_slice(record.bytes);
    }
    drop(scan.find_proof_behind(0));
    drop(scan.bytes_behind());
    drop(scan.has_any_record());
    Some(out)
}

/// Judges the record that stands behind a header.
fn record(bytes: &[u8]) -> Option<Vec<u8>> {
    let offset = SEGMENT_HEADER_BYTES;
    let end = offset + bytes.len() as u64;
    let raw = parse_head(bytes, offset, end).ok()?;
    let whole = bytes.get(..usize::try_from(raw.total_bytes).ok()?)?;
    let seal = Seal::new(&STORE_ID, &SALT);
    let payload = seal.open(&raw, whole, offset).ok()?;
    let mut out = Vec::new();
    seal.append(&mut out, End { at: offset, link: raw.link }, raw.head, |out| {
        out.extend_from_slice(payload)
    });
    Some(out)
}

/// A whole manifest, with its edits.
fn manifest(bytes: &[u8]) -> Option<Vec<u8>> {
    let (found, _) = file::read(bytes, Path::new(FILE)).ok()?;
    let salt = Snapshot::decode(bytes, Path::new(FILE)).ok()?.salt;
    Some(found.encode(&salt))
}

fn value_bytes(value: Value) -> Vec<u8> {
    let stored = Stored::from(value);
    let mut out = vec![stored.kind().to_byte()];
    out.extend_from_slice(stored.bytes());
    out
}

fn sample_values() -> Vec<Value> {
    let timestamp = Timestamp::from_millis(1234);
    vec![
        Value::Null,
        Value::Bool(true),
        Value::Int(-5),
        Value::Float(0.5),
        Value::String("text".to_owned()),
        Value::Bytes(vec![1, 2, 3]),
        EventEntry { sequence: 3, event_type: "tool".to_owned(), payload: vec![1, 2], timestamp }
            .into(),
        StateMachineEntry { state: "idle".to_owned(), version: 4, updated_at: timestamp }.into(),
        TraceEntry {
            trace_id: "a".to_owned(),
            parent_id: Some("b".to_owned()),
            trace_type: "call".to_owned(),
            content: vec![9; 20],
            timestamp,
        }
        .into(),
    ]
}

fn begin() -> body::RunBegin {
    body::RunBegin {
        namespace: Namespace::default_for(RunId::from_bytes([1; 16])),
        parent: Some(RunId::from_bytes([3; 16])),
        forked_from: None,
        retention: Default::default(),
        tags: [("name".to_owned(), "value".to_owned()), ("k".to_owned(), String::new())].into(),
    }
}

fn sample_begin() -> Vec<u8> {
    let mut out = Vec::new();
    body::encode_run_begin(&mut out, &begin());
    out
}

fn sample_metadata() -> Vec<u8> {
    let begin = begin();
    let entry = RunMetadataEntry {
        run_id: RunId::from_bytes([1; 16]),
        namespace: begin.namespace,
        parent_run_id: begin.parent,
        forked_from: begin.forked_from,
        status: RunStatus::Failed,
        created_at: Timestamp::from_millis(1),
        completed_at: Some(Timestamp::from_millis(2)),
        dropped_at: None,
        first_version: 3,
        last_version: 4,
        tags: begin.tags,
        retention: begin.retention,
    };
    let mut out = Vec::new();
    body::encode_run_metadata(&mut out, &entry);
    out
}

fn sample_changes() -> Vec<u8> {
    let run = RunId::from_bytes([1; 16]);
    let key = |user: &[u8]| PhysicalKey::new(run, TypeTag::KV, user);
    let mut changes = vec![Change::BeginRun { run, begin: Box::new(begin()) }];
    for (n, value) in (0..).zip(sample_values()) {
        let expiry_ms = if n % 2 == 0 { change::NEVER } else { 1_700_000_000_000 };
        changes.push(Change::Put { key: key(&[b'k', n]), value: value.into(), expiry_ms });
    }
    changes.push(Change::Delete { key: key(b"gone") });
    changes.push(Change::RemoveRange { from: key(b"a"), to: key(b"b") });
    changes.push(Change::EndRun { run, status: RunStatus::Completed });
    changes.push(Change::DropRun { run });
    let mut out = Vec::new();
    change::encode(&mut out, &changes);
    out
}

fn sample_segment() -> Vec<u8> {
    let mut out = header().encode();
    out.resize(usize::try_from(SEGMENT_HEADER_BYTES).unwrap_or(0), 0);
    let seal = header().seal();
    let kinds = [
        (RecordKind::Commit, sample_changes()),
        (RecordKind::Watermark, Vec::new()),
        (RecordKind::ClockFloor, Vec::new()),
        (RecordKind::Commit, sample_changes()),
        (RecordKind::Padding, vec![0; 100]),
    ];
    let (mut synced, mut end) = (0, header().end());
    for (version, (kind, payload)) in (1..).zip(kinds) {
        let head = RecordHead { kind, version, time_ms: 5, synced };
        synced = end.at;
        end = seal.append(&mut out, end, head, |out| out.extend_from_slice(&payload));
    }
    out
}

fn sample_manifest() -> Manifest {
    let attested = End { at: 4096, link: 5 };
    let table = |number, from| TableEntry {
        number,
        salt: SALT,
        epoch: 2,
        file_bytes: 999,
        checksum: 8,
        from,
    };
    let bound = PhysicalKey::from_parts(5, 1, &[], b"some key");
    let level = |tier, joins, tables| LevelEntry { tier, joins, tables };
    let entry = |number, open| SegmentEntry { number, salt: SALT, attested, open };
    Manifest {
        store_id: STORE_ID,
        epoch: 3,
        next_file: 9,
        clean: false,
        segments: vec![entry(1, false), entry(4, false), entry(7, true)],
        flushed: Flushed { version: 12, time_ms: 34 },
        levels: vec![
            level(0, true, vec![table(6, Some(bound))]),
            level(2, false, vec![table(3, None), table(2, None)]),
        ],
    }
}

/// A rotation, a flush and a part of a merge, all in one.
fn sample_edit() -> Edit {
    let old = sample_manifest();
    let mut new = old.clone();
    new.next_file = 12;
    new.flushed = Flushed { version: 15, time_ms: 40 };
    new.segments.drain(..2);
    let end = End { at: 5000, link: 6 };
    new.segments.iter_mut().for_each(|last| (last.attested, last.open) = (end, false));
    let attested = End { at: 72, link: 9 };
    new.segments.push(SegmentEntry { number: 10, salt: SALT, attested, open: true });
    let bound = PhysicalKey::from_parts(5, 1, &[], b"some later key");
    if let Some(table) = new.levels.first_mut().and_then(|level| level.tables.first_mut()) {
        table.from = Some(bound);
    }
    if let Some(table) = new.levels.last_mut().and_then(|level| level.tables.last_mut()) {
        table.number = 11;
    }
    Edit::between(&old, &new)
}
