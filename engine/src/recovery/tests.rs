//! What recovery must refuse although every checksum matches: a bug of a writer, or of a copy.

use std::io;
use std::path::Path;
use std::sync::Arc;

use runstone_vfs::{MemVfs, Vfs};

use super::*;
use crate::cache::Cache;
use crate::clock::Entropy;
use crate::codec::value::Stored;
use crate::log::segment::{SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::names::LOCK;
use crate::types::{PhysicalKey, RunId, TypeTag, Value};

#[derive(Debug)]
struct Sevens;

impl Entropy for Sevens {
    fn bytes16(&self) -> io::Result<[u8; 16]> {
        Ok([7; 16])
    }
}

const DIR: &str = "/db";

fn place() -> Place {
    let dir = MemVfs::new().open_dir(Path::new("/")).unwrap();
    let lock = dir.create(Path::new(LOCK)).unwrap().id().unwrap();
    Place::new(dir, Path::new(DIR), lock, Arc::new(Sevens), Cache::new(0, 0), 1)
}

fn delete() -> Vec<u8> {
    let key = PhysicalKey::new(RunId::from_bytes([1; 16]), TypeTag::KV, b"k");
    let mut payload = Vec::new();
    change::encode(&mut payload, &[Change::Delete { key }]);
    payload
}

fn put(bytes: usize) -> Vec<u8> {
    let key = PhysicalKey::new(RunId::from_bytes([1; 16]), TypeTag::KV, b"k");
    let value = Stored::from(Value::Bytes(vec![5; bytes]));
    let mut payload = Vec::new();
    change::encode(&mut payload, &[Change::Put { key, value, expiry_ms: NEVER }]);
    payload
}

fn record(kind: RecordKind, version: u64, time_ms: u64, payload: &[u8]) -> (RecordHead, Vec<u8>) {
    (RecordHead { kind, version, time_ms, synced: 0 }, payload.to_vec())
}

/// A manifest without segments and tables.
fn empty() -> Manifest {
    Manifest {
        store_id: [3; 16],
        epoch: 1,
        next_file: 0,
        clean: false,
        segments: Vec::new(),
        flushed: Flushed::default(),
        levels: Vec::new(),
    }
}

/// A segment with these records, and a manifest that names it and attests it whole.
fn store(place: &Place, records: &[(RecordHead, Vec<u8>)]) -> Manifest {
    let plan = SegmentPlan {
        store_id: [3; 16],
        number: 1,
        epoch: 1,
        last: (0, 0),
        padded: false,
        step_bytes: 1 << 20,
    };
    let records = records.iter().map(|(head, payload)| (*head, payload.as_slice()));
    let segment =
        create_segment(place, plan, records, &mut Vec::new()).map_err(Error::from).unwrap();
    let entry = SegmentEntry { number: 1, salt: [7; 16], attested: segment.end, open: true };
    Manifest {
        store_id: [3; 16],
        epoch: 1,
        next_file: 4,
        clean: true,
        segments: vec![entry],
        ..empty()
    }
}

/// The header of the only segment of [`store`].
fn header(manifest: &Manifest) -> SegmentHeader {
    SegmentHeader { store_id: manifest.store_id, salt: [7; 16], number: 1, epoch: 1 }
}

/// Where the corruption is, what was expected and what was found.
fn refused(place: &Place, manifest: &Manifest) -> (u64, String, String) {
    match replay(place, manifest, &Steps::default()) {
        Err(Error::Corruption { offset, expected, found, .. }) => (offset, expected, found),
        Err(other) => panic!("{other}"),
        Ok(replay) => panic!("recovered {} commits", replay.commits),
    }
}

#[test]
fn intact_records_whose_versions_or_times_do_not_follow_each_other_are_corruption() {
    use RecordKind::{ClockFloor, Commit, Padding, Watermark};
    let next = [(Commit, 2, 10), (Commit, 2, 11), (Watermark, 1, 10), (ClockFloor, 1, 99)];
    for (kind, version, time_ms) in next {
        let place = place();
        let payload = if kind == Commit { delete() } else { Vec::new() };
        let records = [record(Commit, 1, 10, &delete()), record(kind, version, time_ms, &payload)];
        let manifest = store(&place, &records);
        assert!(replay(&place, &manifest, &Steps::default()).is_ok(), "{kind:?} {version}");
    }
    for (kind, version, time_ms) in [
        (Commit, 1, 10),
        (Commit, 3, 10),
        (Commit, 2, 9),
        (Watermark, 2, 10),
        (Padding, 0, 10),
        (ClockFloor, 1, 9),
    ] {
        let place = place();
        let first = record(Commit, 1, 10, &delete());
        let second_at = store(&place, std::slice::from_ref(&first)).segments[0].attested.at;
        place.remove(OwnName::Segment([3; 16], 1)).unwrap();
        let payload = if kind == Commit { delete() } else { Vec::new() };
        let manifest = store(&place, &[first, record(kind, version, time_ms, &payload)]);
        let (offset, expected, found) = refused(&place, &manifest);
        assert_eq!(offset, second_at, "{kind:?} {version}");
        assert!(expected.ends_with("at 10 ms or later"), "{expected}");
        assert_eq!(found, format!("record version {version} at {time_ms} ms"));
    }
}

#[test]
fn an_intact_commit_whose_changes_cannot_be_read_is_corruption_at_its_offset() {
    let place = place();
    let manifest = store(&place, &[record(RecordKind::Commit, 1, 1, &[0xff; 9])]);
    assert_eq!(refused(&place, &manifest).0, SEGMENT_HEADER_BYTES);
}

#[test]
fn a_whole_segment_under_the_number_or_salt_of_another_is_corruption() {
    let breakers: [fn(&mut Manifest); 3] = [
        |manifest| manifest.segments[0].salt = [8; 16],
        |manifest| manifest.segments[0].number = 2,
        |manifest| manifest.store_id = [4; 16],
    ];
    for (i, break_it) in breakers.into_iter().enumerate() {
        let place = place();
        let mut manifest = store(&place, &[record(RecordKind::Commit, 1, 1, &delete())]);
        assert!(replay(&place, &manifest, &Steps::default()).is_ok());
        break_it(&mut manifest);
        let to = OwnName::Segment(manifest.store_id, manifest.segments[0].number);
        if i != 0 {
            place.rename(OwnName::Segment([3; 16], 1), to).unwrap();
        }
        let (offset, expected, found) = refused(&place, &manifest);
        assert_eq!(offset, [32, 32, 16][i], "{expected}, {found}");
        assert_ne!(expected, found);
    }
}

#[test]
fn a_segment_shorter_than_the_manifest_attests_is_corruption_where_it_ends() {
    for clean in [true, false] {
        let place = place();
        let mut manifest = store(&place, &[record(RecordKind::Commit, 1, 1, &delete())]);
        let end = manifest.segments[0].attested.at;
        manifest.segments[0].attested.at += 8;
        manifest.clean = clean;
        let (offset, expected, _) = refused(&place, &manifest);
        assert_eq!(offset, end);
        assert!(expected.contains("that the manifest vouches for"), "{expected}");
    }
}

/// Otherwise whoever chooses the keys of a store that is opened again can make them collide.
#[test]
fn what_is_recovered_is_hashed_by_the_id_of_its_store() {
    let place = place();
    let manifest = store(&place, &[record(RecordKind::Commit, 1, 1, &delete())]);
    let steps = Steps::default();
    let recovered = replay(&place, &manifest, &steps).unwrap().memtable;
    let (own, none) = (Memtable::new(&manifest.store_id, &steps), Memtable::new(&[0; 16], &steps));
    let keys = (0..100u8).map(|n| PhysicalKey::new(RunId::from_bytes([1; 16]), TypeTag::KV, &[n]));
    let hashes = |of: &Memtable| keys.clone().map(|key| of.hash(&key)).collect::<Vec<_>>();
    assert_eq!(hashes(&recovered), hashes(&own));
    assert_ne!(hashes(&recovered), hashes(&none));
}

/// What a repair puts in force instead of this manifest, in a segment of number 5.
fn repaired(
    place: &Place,
    found: &Manifest,
    tail: &Replay,
    options: &Options,
) -> (Manifest, NewSegment) {
    let (in_force, _) = replace(place, None, found, found.next_file - NUMBERS_TAKEN, None).unwrap();
    let started = repair(place, (found, &in_force), tail, 5, options).unwrap();
    (started.manifest.0, started.segment)
}

#[test]
fn a_repair_makes_the_tail_durable_in_a_segment_of_the_next_epoch_and_then_names_it() {
    let place = place();
    let records = [record(RecordKind::Commit, 1, 10, &delete())];
    let mut found = store(&place, &records);
    let whole = found.segments[0].attested.at;
    found.clean = false;
    found.segments[0].attested = header(&found).end();
    let tail = replay(&place, &found, &Steps::default()).unwrap();
    assert_eq!((tail.watermark, tail.tail_commits()), (header(&found).end(), 1));
    let (next, segment) = repaired(&place, &found, &tail, &Options::default());
    assert_eq!((segment.header.number, segment.header.epoch, segment.end.at), (5, 2, whole));
    let entry = SegmentEntry { number: 5, salt: [7; 16], attested: segment.end, open: true };
    let next_file = 6 + NUMBERS_TAKEN;
    let store_id = found.store_id;
    let expected =
        Manifest { store_id, epoch: 2, next_file, clean: false, segments: vec![entry], ..empty() };
    assert_eq!(next, expected, "the old segment held nothing below its watermark");
}

/// A tail is written a step at a time; it is not held in memory twice.
#[test]
fn a_tail_of_several_steps_is_written_again_as_it_was() {
    let mut written = Vec::new();
    for (step_bytes, records) in [(1 << 20, 40), (1, 3), (64, 3), (300_000, 3), (1 << 30, 3)] {
        for padded in [false, true] {
            let place = place();
            let records: Vec<_> =
                (1..=records).map(|n| record(RecordKind::Commit, n, n, &put(100_000))).collect();
            let mut found = store(&place, &records);
            let whole = found.segments[0].attested.at;
            found.clean = false;
            found.segments[0].attested = header(&found).end();
            let tail = replay(&place, &found, &Steps::default()).unwrap();
            let mut options = Options { pad_to_sector: padded, ..Options::default() };
            options.steps.rewrite_bytes = step_bytes;
            let (next, segment) = repaired(&place, &found, &tail, &options);
            let end = if padded { whole.next_multiple_of(512) } else { whole };
            assert_eq!(segment.end.at, end);
            let again = replay(&place, &next, &Steps::default()).unwrap();
            let count = records.len() as u64;
            assert_eq!(
                (again.commits, again.last_version, again.last_time_ms),
                (count, count, count)
            );
            assert_eq!((again.watermark, again.tail_commits()), (segment.end, 0));
            let mut bytes = vec![0; usize::try_from(end).unwrap()];
            let read = runstone_vfs::read_full_at(&*segment.file, &mut bytes, 0).unwrap();
            assert_eq!((read as u64, segment.file.len().unwrap()), (end, end));
            written.push((count, padded, bytes));
        }
    }
    for padded in [false, true] {
        let mut same =
            written.iter().filter(|(count, as_padded, _)| (*count, *as_padded) == (3, padded));
        let first = same.next().unwrap();
        assert!(same.all(|other| other == first), "the steps leave no trace in the segment");
    }
}

/// The manifest tells by the checksum of the last record which ones it was written behind, so that
/// others of the same lengths, versions and times do not pass for them.
#[test]
fn records_that_are_not_those_which_the_manifest_attests_are_corruption() {
    let records = |byte| {
        let payload = |n: u8| {
            let key = PhysicalKey::new(RunId::from_bytes([byte; 16]), TypeTag::KV, &[n]);
            let mut payload = Vec::new();
            change::encode(&mut payload, &[Change::Delete { key }]);
            payload
        };
        (1..4).map(|n| record(RecordKind::Commit, n.into(), 1, &payload(n))).collect::<Vec<_>>()
    };
    for is_clean in [true, false] {
        for count in 1..=3 {
            let (own, other) = (place(), place());
            let mut manifest = store(&own, &records(1)[..count]);
            manifest.clean = is_clean;
            assert!(replay(&own, &manifest, &Steps::default()).is_ok());
            store(&other, &records(2)[..count]);
            let (_, expected, found) = refused(&other, &manifest);
            assert!(expected.contains("that the manifest vouches for"), "{expected}");
            assert!(found.starts_with("other records, of which the last has"), "{found}");
        }
        // No record ends where the manifest says that one does.
        let own = place();
        let mut manifest = store(&own, &records(1));
        manifest.clean = is_clean;
        manifest.segments[0].open = false;
        manifest.segments[0].attested.at -= 8;
        assert!(replay(&own, &manifest, &Steps::default()).is_err());
        manifest.segments[0].open = true;
        assert!(replay(&own, &manifest, &Steps::default()).is_err());
    }
}
