//! How far the log in the files reaches and is attested, read from outside the engine.
//!
//! A killed process leaves all that it has written. So the next opening must recover every commit
//! whose record stands whole in the files, whatever its level: an asynchronous commit is not
//! promised when it is acknowledged, but it is from when it has been written.
//!
//! Invariant: reads the manifest and the segments by their documented layout, never by the
//! engine's decoder, which is what is under test.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crc32fast::Hasher;

/// Where the first record of a segment stands.
const FIRST_RECORD: usize = 72;
/// The fields of a record before its payload.
const RECORD_HEAD: usize = 33;

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let field = bytes.get(at..at + N)?;
    Some(field.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// The most bytes of a record without payload, with what pads its sector.
pub(crate) const NOTE_BYTES_MAX: u64 = 40 + 512 + 512;

/// A segment as the manifest names it, and what stands in it.
struct Segment {
    attested: u64,
    open: bool,
    /// Where its last whole record ends.
    end: u64,
    /// Its whole records: offset, version, whether it is a commit; in order.
    records: Vec<(u64, u64, bool)>,
    /// The greatest synced offset that one of them attests.
    synced: u64,
}

/// Reads one segment that the manifest names.
fn segment(image: &BTreeMap<PathBuf, Vec<u8>>, dir: &Path, entry: &[u8]) -> Option<Segment> {
    let bytes = image.get(&dir.join(file_name(entry)?))?;
    let mut seal = Hasher::new();
    seal.update(bytes.get(16..32)?);
    seal.update(bytes.get(32..48)?);
    let seal = seal.finalize();
    let attested = number::<8>(entry, 24)?;
    let open = number::<4>(entry, 32)? == 1;
    // A closed one counts as far as it is attested.
    let bytes = if open { bytes } else { bytes.get(..usize::try_from(attested).ok()?)? };
    let (mut at, mut records, mut synced) = (FIRST_RECORD, Vec::new(), 0);
    while let Some(record) = whole_record(bytes, at, seal) {
        records.push((at as u64, record.version, record.is_commit));
        synced = record.synced.max(synced);
        at += record.length;
    }
    Some(Segment { attested, open, end: at as u64, records, synced })
}

fn file_name(entry: &[u8]) -> Option<String> {
    Some(format!("{:06}.log", number::<8>(entry, 0)?))
}

/// The manifest's entries.
fn entries<'a>(image: &'a BTreeMap<PathBuf, Vec<u8>>, dir: &Path) -> Option<&'a [u8]> {
    image.get(&dir.join("MANIFEST"))?.get(64..)
}

/// The version of the last commit that stands whole in the segments; `None` if there is no
/// manifest, or no commit.
pub(crate) fn last_written(image: &BTreeMap<PathBuf, Vec<u8>>, dir: &Path) -> Option<u64> {
    let entries = entries(image, dir)?.chunks_exact(40).rev();
    entries.map(|entry| segment(image, dir, entry)).find_map(|found| {
        let commits = found?.records.into_iter().filter(|(_, _, is_commit)| *is_commit);
        commits.map(|(_, version, _)| version).next_back()
    })
}

/// How many commits stand in the segment that is written, and are attested neither by the
/// manifest nor by a later record. `None` if there is none, or after a clean close.
pub(crate) fn unproven(image: &BTreeMap<PathBuf, Vec<u8>>, dir: &Path) -> Option<u64> {
    let last = segment(image, dir, entries(image, dir)?.chunks_exact(40).next_back()?)?;
    let is_clean = number::<4>(image.get(&dir.join("MANIFEST"))?, 56)? == 1;
    let proven = last.attested.max(last.synced);
    let tail = last.records.iter().filter(|(at, _, is_commit)| *is_commit && *at >= proven);
    (last.open && !is_clean).then(|| tail.count() as u64)
}

/// How many bytes the file of the last segment has behind what the manifest attests.
pub(crate) fn behind_attested(image: &BTreeMap<PathBuf, Vec<u8>>, dir: &Path) -> Option<u64> {
    let entry = entries(image, dir)?.chunks_exact(40).next_back()?;
    let length = image.get(&dir.join(file_name(entry)?))?.len() as u64;
    length.checked_sub(number::<8>(entry, 24)?)
}

/// How many bytes a segment of this size has behind its last record.
pub(crate) fn room(image: &BTreeMap<PathBuf, Vec<u8>>, dir: &Path, size: u64) -> Option<u64> {
    let last = segment(image, dir, entries(image, dir)?.chunks_exact(40).next_back()?)?;
    size.checked_sub(last.end)
}

struct Whole {
    length: usize,
    version: u64,
    synced: u64,
    is_commit: bool,
}

/// The record at an offset, if its checksum matches.
fn whole_record(segment: &[u8], at: usize, seal: u32) -> Option<Whole> {
    let rest = segment.get(at..)?;
    let payload = usize::try_from(number::<4>(rest, 4)?).ok()?;
    let length = RECORD_HEAD.checked_add(payload)?.checked_next_multiple_of(8)?;
    let covered = rest.get(4..length)?;
    let mut hasher = Hasher::new_with_initial(seal);
    hasher.update(&(at as u64).to_le_bytes());
    hasher.update(covered);
    let matches = u64::from(hasher.finalize()) == number::<4>(rest, 0)?;
    let (version, synced) = (number::<8>(rest, 8)?, number::<8>(rest, 24)?);
    let is_commit = number::<1>(rest, 32)? == 1;
    matches.then_some(Whole { length, version, synced, is_commit })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use runstone::{Database, DurabilityMode, Options, RunId};

    use super::*;
    use crate::disk::SimVfs;

    #[test]
    fn what_was_acknowledged_but_not_handed_over_is_not_counted_and_what_was_is() {
        let disk = SimVfs::new(1);
        let options = Options {
            durability: DurabilityMode::Async { interval_ms: 1_000 },
            background: false,
            ..Options::default()
        };
        let db = Database::builder().options(options).vfs(Arc::new(disk.clone()));
        let db = db.open("/db").unwrap();
        let run = RunId::from_bytes([1; 16]);
        db.begin_run(run, runstone::NO_TAGS).unwrap();
        let written = || last_written(&disk.live_image(), Path::new("/db"));
        assert_eq!(written(), None, "the begin waits in the buffer");
        db.flush().unwrap();
        assert_eq!(written(), Some(1));
        db.put(run, "k", 1).unwrap();
        assert_eq!(written(), Some(1));
        db.close().unwrap();
        assert_eq!(written(), Some(2));
    }
}
