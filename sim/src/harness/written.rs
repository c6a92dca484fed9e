//! How far the log in the files reaches and is attested, read from outside the engine.
//!
//! A killed process leaves all that it has written. So the next opening must recover every commit
//! whose record stands whole in the files, whatever its level: an asynchronous commit is not
//! promised when it is acknowledged, but it is from when it has been written.
//!
//! Invariant: reads the manifest and the segments by their documented layout, never by the
//! engine's decoder, which is what is under test.

use std::path::Path;

use crc32fast::Hasher;

use super::manifest::{Read, number};
use crate::disk::SimVfs;

/// Where the first record of a segment stands.
const FIRST_RECORD: usize = 72;
/// Where the checksum of its header stands.
const HEADER_CHECKSUM: usize = 64;
/// The kinds of records that are asked for.
const COMMIT: u64 = 1;
const CLOCK_FLOOR: u64 = 3;
/// The fields of a record before its payload.
const RECORD_HEAD: usize = 33;

/// The most bytes of a record without payload, with what pads its sector.
pub(crate) const NOTE_BYTES_MAX: u64 = 40 + 512 + 512;

/// A segment as the manifest names it, and what stands in it.
struct Segment {
    attested: u64,
    open: bool,
    /// Where its last whole record ends.
    end: u64,
    /// Its whole records, in order, and where each begins.
    records: Vec<(u64, Whole)>,
    /// The greatest synced offset that one of them attests.
    synced: u64,
    /// How many bytes follow them, up to the last that is not zero.
    torn: u64,
}

impl Segment {
    fn read(bytes: &[u8], entry: &[u8]) -> Option<Self> {
        let mut seal = Hasher::new();
        seal.update(bytes.get(16..48)?);
        let seal = seal.finalize();
        let attested = number::<8>(entry, 24)?;
        let open = number::<4>(entry, 32)? == 1;
        // A closed one counts as far as it is attested.
        let counts = if open { bytes.len() } else { usize::try_from(attested).ok()? };
        let bytes = bytes.get(..counts)?;
        let (mut at, mut records, mut synced) = (FIRST_RECORD, Vec::with_capacity(32), 0);
        let mut link = number::<4>(bytes, HEADER_CHECKSUM)?;
        while let Some(record) = whole_record(bytes, at, seal).filter(|next| next.link == link) {
            link = record.checksum;
            synced = record.synced.max(synced);
            let offset = at as u64;
            at += record.length;
            records.push((offset, record));
        }
        // Zeros are looked through eight at a time: most of what is behind was written ahead.
        let mut behind = bytes.get(at..).unwrap_or_default();
        while let Some((rest, [0, 0, 0, 0, 0, 0, 0, 0])) = behind.split_last_chunk::<8>() {
            behind = rest;
        }
        let torn = behind.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1);
        Some(Segment { attested, open, end: at as u64, records, synced, torn })
    }
}

/// A whole record, and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    pub(crate) file: String,
    /// Of the segment that is written, or was the last.
    pub(crate) open: bool,
    pub(crate) at: u64,
    pub(crate) length: u64,
    pub(crate) version: u64,
    pub(crate) time_ms: u64,
    pub(crate) synced: u64,
    /// Whether the manifest attests it.
    pub(crate) is_attested: bool,
}

/// What an opening reads.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Replayed {
    pub(crate) commits: u64,
    pub(crate) bytes: u64,
    pub(crate) segments: u64,
    /// Behind the last record of a log that was not closed.
    pub(crate) torn_bytes: u64,
    /// The greatest engine time of a record, in milliseconds.
    pub(crate) last_time_ms: u64,
}

/// What the manifest says of a segment, and the id of the store.
#[derive(Clone, Copy)]
struct Entry {
    id: [u8; 16],
    fields: [u8; 40],
}

/// What of the promises stands in the files.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept {
    /// A file of which the manifest attests more than stands there whole.
    pub(crate) attested_in_vain: Option<String>,
    /// The version of the last commit that stands whole; 0 if there is none.
    pub(crate) last_commit: u64,
    /// The engine time, in milliseconds, of the last record that is not behind the version that
    /// was asked for; 0 if there is none.
    pub(crate) time_ms: u64,
}

/// A store on a disk, by its documented layout.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written<'a> {
    disk: &'a SimVfs,
    dir: &'a Path,
    /// Whether it is what no crash can take, or else what reads see.
    durable: bool,
}

impl<'a> Written<'a> {
    /// As reads see it.
    pub(crate) fn live(disk: &'a SimVfs, dir: &'a Path) -> Self {
        Written { disk, dir, durable: false }
    }

    /// What no crash can take.
    pub(crate) fn durable(disk: &'a SimVfs, dir: &'a Path) -> Self {
        Written { disk, dir, durable: true }
    }

    fn read(&self, name: &str) -> Option<Vec<u8>> {
        self.read_as(name, <[u8]>::to_vec)
    }

    fn read_as<T>(&self, name: &str, look: impl FnOnce(&[u8]) -> T) -> Option<T> {
        self.disk.with_file(&self.dir.join(name), self.durable, look)
    }

    /// The name of the file of an entry.
    fn file_name(&self, Entry { id, fields }: &Entry) -> Option<String> {
        Some(numbered(id, number::<8>(fields, 0)?, "log"))
    }

    /// Reads one segment that the manifest names.
    fn segment(&self, entry: &Entry) -> Option<Segment> {
        self.read_as(&self.file_name(entry)?, |bytes| Segment::read(bytes, &entry.fields))?
    }

    /// What the manifest says, if there is one.
    pub(crate) fn manifest(&self) -> Option<Read> {
        self.read_as(MANIFEST, Read::of).flatten()
    }

    /// The length of the manifest's file.
    pub(crate) fn manifest_bytes(&self) -> u64 {
        self.read_as(MANIFEST, <[u8]>::len).unwrap_or(0) as u64
    }

    /// What a look at each of the tables that the manifest names tells, level by level.
    pub(crate) fn tables<T>(&self, look: impl Fn(&[u8]) -> Option<T>) -> Vec<Vec<T>> {
        let Some(manifest) = self.manifest() else { return Vec::new() };
        let name = |number: &u64| numbered(&manifest.id, *number, "table");
        let look = |number| self.read_as(&name(number), &look).flatten();
        manifest.levels.iter().map(|level| level.iter().filter_map(look).collect()).collect()
    }

    /// The bytes of the segments' files behind their last whole records, and a commit in them that
    /// is in the tables, if there is one.
    pub(crate) fn log(&self) -> (u64, Option<u64>) {
        let (flushed, mut behind, mut twice) = (self.flushed().0, 0, None);
        for (entry, segment) in self.entries().iter().filter_map(|e| Some((e, self.segment(e)?))) {
            let name = self.file_name(entry);
            let length = name.and_then(|name| self.read_as(&name, <[u8]>::len)).unwrap_or(0);
            behind += (length as u64).saturating_sub(segment.end);
            let commits = segment.records.iter().filter(|(_, record)| record.is_commit);
            let mut versions = commits.map(|(_, record)| record.version);
            twice = twice.or_else(|| versions.find(|version| *version <= flushed));
        }
        (behind, twice)
    }

    /// The manifest's segments, in order; none if there is no manifest.
    fn entries(&self) -> Vec<Entry> {
        let Some(Read { id, segments, .. }) = self.manifest() else { return Vec::new() };
        segments.into_iter().map(|fields| Entry { id, fields }).collect()
    }

    /// The last commit that is in a table, and the engine time, in milliseconds, that the log had
    /// reached by then; zeros if there is none.
    pub(crate) fn flushed(&self) -> (u64, u64) {
        self.manifest().map_or((0, 0), |manifest| manifest.flushed)
    }

    /// Whether the manifest names a segment of this name.
    pub(crate) fn names(&self, segment: &str) -> bool {
        self.entries().iter().any(|entry| self.file_name(entry).as_deref() == Some(segment))
    }

    fn last_entry(&self) -> Option<Entry> {
        self.entries().pop()
    }

    /// The last of the records that are asked for.
    fn last(&self, is_asked: impl Fn(&Whole) -> bool) -> Option<Whole> {
        self.entries().iter().rev().find_map(|entry| {
            let records = self.segment(entry)?.records.into_iter().rev();
            records.map(|(_, record)| record).find(&is_asked)
        })
    }

    /// The version of the last commit that stands whole in the segments; 0 if there is no
    /// manifest, or no commit.
    pub(crate) fn last_commit(&self) -> u64 {
        let last = self.last(|record| record.is_commit);
        last.map_or(self.flushed().0, |record| record.version)
    }

    /// The greatest engine time, in milliseconds, that the segments know without the commits
    /// behind this version; 0 if they know none.
    pub(crate) fn time_ms(&self, version: u64) -> u64 {
        let last = self.last(|record| record.version <= version);
        last.map_or_else(|| self.flushed().1, |record| record.time_ms)
    }

    /// What of the promises stands in the files, each segment read once: see [`Kept`].
    pub(crate) fn kept(&self, version: u64) -> Kept {
        let mut kept =
            Kept { last_commit: self.flushed().0, time_ms: self.flushed().1, ..Kept::default() };
        for entry in self.entries() {
            let Some(segment) = self.segment(&entry) else {
                kept.attested_in_vain = kept.attested_in_vain.or_else(|| self.file_name(&entry));
                continue;
            };
            if segment.end < segment.attested && kept.attested_in_vain.is_none() {
                kept.attested_in_vain = self.file_name(&entry);
            }
            for (_, record) in &segment.records {
                if record.is_commit {
                    kept.last_commit = record.version;
                }
                if record.version <= version {
                    kept.time_ms = record.time_ms;
                }
            }
        }
        kept
    }

    /// A commit behind others in a segment of this size that ends beyond it. What a recovery has
    /// written again attests nothing, and may.
    pub(crate) fn beyond(&self, size: u64) -> Option<String> {
        self.entries().iter().find_map(|entry| {
            let records = self.segment(entry)?.records.into_iter();
            let of_session = |(_, record): &(u64, Whole)| record.is_commit && record.synced > 0;
            let mut commits = records.filter(of_session).skip(1);
            let is_beyond = |(at, record): &(u64, Whole)| at + record.length as u64 > size;
            let (at, record) = commits.find(is_beyond)?;
            Some(format!("commit {} at {at} of {}", record.version, self.file_name(entry)?))
        })
    }

    /// The engine time of the last clock floor, in milliseconds; 0 if there is none.
    pub(crate) fn floor_ms(&self) -> u64 {
        self.last(|record| record.is_floor).map_or(0, |record| record.time_ms)
    }

    /// How many commits stand in the segment that is written, and are attested neither by the
    /// manifest nor by a later record. `None` if there is none, or after a clean close.
    pub(crate) fn unproven(&self) -> Option<u64> {
        let last = self.segment(&self.last_entry()?)?;
        let is_clean = self.is_clean();
        let proven = last.attested.max(last.synced);
        let tail = last.records.iter().filter(|(at, record)| record.is_commit && *at >= proven);
        (last.open && !is_clean).then(|| tail.count() as u64)
    }

    /// Whether the manifest says that the last session was closed: then nothing counts that it does
    /// not attest.
    fn is_clean(&self) -> bool {
        self.manifest().is_some_and(|manifest| manifest.is_clean)
    }

    /// Every whole record that counts, in order.
    pub(crate) fn records(&self) -> Vec<Placed> {
        let (mut all, is_clean) = (Vec::new(), self.is_clean());
        for entry in self.entries() {
            let Some((segment, file)) = self.segment(&entry).zip(self.file_name(&entry)) else {
                continue;
            };
            let Segment { open, attested, records, .. } = segment;
            let counts = |at: u64| !is_clean || at < attested;
            let records = records.into_iter().filter(|(at, _)| counts(*at));
            all.extend(records.map(|(at, record)| Placed {
                file: file.clone(),
                open,
                at,
                length: record.length as u64,
                version: record.version,
                time_ms: record.time_ms,
                synced: record.synced,
                is_attested: !open || at + record.length as u64 <= attested,
            }));
        }
        all
    }

    /// What an opening reads of the segments.
    pub(crate) fn replayed(&self) -> Replayed {
        let is_clean = self.is_clean();
        let mut replayed = Replayed { last_time_ms: self.flushed().1, ..Replayed::default() };
        for segment in self.entries().iter().filter_map(|entry| self.segment(entry)) {
            replayed.segments += 1;
            replayed.torn_bytes = if segment.open && !is_clean { segment.torn } else { 0 };
            let counts = |at: u64| !is_clean || at < segment.attested;
            for (_, record) in segment.records.iter().filter(|(at, _)| counts(*at)) {
                replayed.commits += u64::from(record.is_commit);
                replayed.bytes += record.length as u64;
                replayed.last_time_ms = replayed.last_time_ms.max(record.time_ms);
            }
        }
        replayed
    }

    /// How many segments have ended and count still, and for how many bytes.
    pub(crate) fn ended(&self) -> (usize, u64) {
        let lengths = self.entries().into_iter().filter_map(|entry| {
            let is_open = number::<4>(&entry.fields, 32)? == 1;
            if is_open { None } else { number::<8>(&entry.fields, 24) }
        });
        lengths.fold((0, 0), |(count, bytes), length| (count + 1, bytes + length))
    }

    /// What the names of all files of the store begin with that have a number.
    pub(crate) fn prefix(&self) -> Option<String> {
        Some(prefix(&self.manifest()?.id))
    }

    /// How many bytes the file of the last segment has behind what the manifest attests.
    pub(crate) fn behind_attested(&self) -> Option<u64> {
        let entry = self.last_entry()?;
        let length = self.read(&self.file_name(&entry)?)?.len() as u64;
        length.checked_sub(number::<8>(&entry.fields, 24)?)
    }

    /// How many bytes the file of the last segment has behind its last whole record.
    pub(crate) fn behind_records(&self) -> Option<u64> {
        let entry = self.last_entry()?;
        let length = self.read(&self.file_name(&entry)?)?.len() as u64;
        length.checked_sub(self.segment(&entry)?.end)
    }

    /// Where the last whole record of the last segment ends, and the name of its file.
    pub(crate) fn end(&self) -> Option<(u64, String)> {
        let entry = self.last_entry()?;
        Some((self.segment(&entry)?.end, self.file_name(&entry)?))
    }

    /// How many bytes a segment of this size has behind its last record.
    pub(crate) fn room(&self, size: u64) -> Option<u64> {
        size.checked_sub(self.segment(&self.last_entry()?)?.end)
    }
}

/// The name of the manifest's file.
pub(crate) const MANIFEST: &str = "runstone.manifest";
/// The least digits of a number in a name.
const NUMBER_DIGITS: usize = 6;
/// That of the lock file.
pub(crate) const LOCK: &str = "runstone.lock";

/// The name of a numbered file of the store of this id.
pub(crate) fn numbered(id: &[u8], number: u64, kind: &str) -> String {
    let mut name = prefix(id);
    // Asked for at every step: no formatting.
    let number = number.to_string();
    name.extend(std::iter::repeat_n('0', NUMBER_DIGITS.saturating_sub(number.len())));
    name.push_str(&number);
    name.push('.');
    name.push_str(kind);
    name
}

/// What the names of all numbered files of the store of this id begin with.
fn prefix(id: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(half.into(), 16).unwrap_or_default();
    // Asked for at every step: one allocation, no formatting.
    let mut prefix = String::with_capacity(64);
    prefix.push_str("runstone-");
    prefix.extend(id.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
    prefix.push('-');
    prefix
}

struct Whole {
    length: usize,
    version: u64,
    time_ms: u64,
    synced: u64,
    /// Its checksum, and that of the record which it follows.
    checksum: u64,
    link: u64,
    is_commit: bool,
    is_floor: bool,
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
    let checksum = number::<4>(rest, 0)?;
    let matches = u64::from(hasher.finalize()) == checksum;
    let (version, time_ms) = (number::<8>(rest, 8)?, number::<8>(rest, 16)?);
    let (synced, link) = (number::<4>(rest, 24)?, number::<4>(rest, 28)?);
    let kind = number::<1>(rest, 32)?;
    let (is_commit, is_floor) = (kind == COMMIT, kind == CLOCK_FLOOR);
    matches.then_some(Whole {
        length,
        version,
        time_ms,
        synced,
        checksum,
        link,
        is_commit,
        is_floor,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use runstone::{Database, DurabilityMode, Options, RunId};

    use super::*;

    #[test]
    fn what_was_acknowledged_but_not_handed_over_is_not_counted_and_what_was_is() {
        let disk = SimVfs::new(1);
        let options = Options {
            durability: DurabilityMode::Async { interval_ms: 1_000 },
            background_threads: 0,
            ..Options::default()
        };
        let db = Database::builder().options(options).vfs(Arc::new(disk.clone()));
        let db = db.open("/db").unwrap();
        let run = RunId::from_bytes([1; 16]);
        db.begin_run(run, runstone::NO_TAGS).unwrap();
        let written = || Written::live(&disk, Path::new("/db")).last_commit();
        assert_eq!(written(), 0, "the begin waits in the buffer");
        db.flush().unwrap();
        assert_eq!(written(), 1);
        db.put(run, "k", 1).unwrap();
        assert_eq!(written(), 1);
        db.close().unwrap();
        assert_eq!(written(), 2);
    }
}
