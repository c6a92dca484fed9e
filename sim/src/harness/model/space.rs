//! How many bytes the tables of a history need, by their documented format.
//!
//! Invariants: every term is the most that the format takes for what is counted, so that no sound
//! store needs more; what nobody can see is not counted, but for what has expired and stands beside
//! what has not for as long as the compaction's rule lets it.

use std::collections::BTreeSet;

use runstone::{RunMetadataEntry, RunStatus};

use super::{Model, Touch, encoded_bytes, newest};

/// Of a table: its header, footer and properties, the frames of its index, filter and properties,
/// the counts of its index, and a line of its filter.
const TABLE_BYTES: u64 = 72 + 64 + (104 + 8 + 2 * 19) + 3 * 5 + 8 + 64;
/// Of a block: its head and frame, and its head and place in the index.
const BLOCK_BYTES: u64 = 20 + 5 + 8 + 16;
/// Of the entries of one run and type tag in a block.
const SECTION_BYTES: u64 = 22;
/// Of a run in an index.
const INDEX_RUN_BYTES: u64 = 20;
/// Of an entry: its mark, offset, flags and kind.
const ENTRY_BYTES: u64 = 1 + 2 + 1 + 1;
/// Of a value that lies in an extent: its offset and length, and the frame.
const EXTENT_BYTES: u64 = 5 + 5 + 5;
/// The longest varint of a difference of times.
const EXPIRY_BYTES: u64 = 10;
/// What the compaction takes an entry and the rest of a table for, when it looks whether all fit
/// into one.
const ENTRY_BYTES_MAX: u64 = 192;
const PARTS_BYTES_MAX: u64 = 4096;
/// The keys of the reserved space: a removal's with its value, and of indexes.
const REMOVAL_BYTES: (u64, u64) = (12, 16 + 2 * 43);
const ID_BYTES: u64 = 16;
const SHORT_BYTES: u64 = 22;
const TAGGED_BYTES: u64 = 8 + SHORT_BYTES;
const CHILD_BYTES: u64 = 16 + SHORT_BYTES;

/// How tables are written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) block_bytes: u64,
    pub(crate) extent_bytes_min: u64,
    pub(crate) table_bytes_max: u64,
}

/// What tables need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Needed {
    pub(crate) bytes: u64,
    /// How many there are at most when nothing is done: one if that is enough.
    pub(crate) tables: u64,
}

/// What is counted of entries.
#[derive(Debug, Default)]
struct Sums {
    entries: u64,
    /// Everything of entries; and keys and inline values, with what a block counts for them.
    bytes: u64,
    block_bytes: u64,
    key_bytes_max: u64,
    /// What one table would have to have room for.
    whole_bytes: u64,
    sections: BTreeSet<(u8, u8)>,
}

impl Sums {
    fn add(&mut self, section: (u8, u8), (key, value): (u64, u64), fixed: u64, shape: Shape) {
        let in_extent = value >= shape.extent_bytes_min;
        self.entries += 1;
        self.whole_bytes += 3 * key + value + ENTRY_BYTES_MAX;
        self.bytes += ENTRY_BYTES + varint(key) + fixed + key + value;
        self.bytes += if in_extent { EXTENT_BYTES } else { 0 };
        self.block_bytes += 37 + key + if in_extent { 0 } else { value };
        self.key_bytes_max = self.key_bytes_max.max(key);
        self.sections.insert(section);
    }
}

/// What a number takes as a varint.
fn varint(n: u64) -> u64 {
    u64::from((64 - n.leading_zeros()).div_ceil(7).max(1))
}

impl Model {
    /// The most that the tables of what counts at a version need, if what expired at or before a
    /// time stays gone, and beside it as many entries that do not count, be they the largest.
    /// Without a time only the records of runs count.
    pub(crate) fn tables_at(
        &self,
        version: u64,
        floor_ms: Option<u64>,
        useless: usize,
        shape: Shape,
    ) -> Needed {
        let mut sums = Sums::default();
        let stamp = self.stamp_bytes(version);
        let revisions = self.keys.values().flatten();
        let known = revisions.filter(|revision| revision.version <= version);
        let latest = known.filter_map(|revision| revision.expiry_ms).max().unwrap_or(0);
        // No table that holds it waits longer: see the compaction's rule.
        let is_gone = |expiry: Option<u64>| match (expiry, floor_ms) {
            (_, None) => true,
            (None, _) => false,
            (Some(expiry), Some(floor_ms)) => {
                expiry + latest.saturating_sub(expiry) / 2 <= floor_ms
            }
        };
        let mut others = Vec::new();
        for ((run, tag, key), revisions) in &self.keys {
            let last = newest(revisions, version).map(|revision| revision.version);
            for revision in revisions.iter().filter(|revision| revision.version <= version) {
                let Some(value) = &revision.value else { continue };
                let entry = (key.len() as u64, encoded_bytes(value) as u64);
                let is_last = last == Some(revision.version);
                if is_last && !is_gone(revision.expiry_ms) {
                    let expiry = if revision.expiry_ms.is_some() { EXPIRY_BYTES } else { 0 };
                    sums.add((*run, tag.to_byte()), entry, stamp + expiry, shape);
                } else {
                    others.push((entry.0 + entry.1, (*run, tag.to_byte()), entry));
                }
            }
        }
        let records = self.add_records(&mut sums, version, stamp, shape);
        // Each may have been written twice before.
        let old = |bytes| [(bytes, (u8::MAX, 128), (ID_BYTES, bytes)); 2];
        others.extend(records.into_iter().flat_map(old));
        others.sort_unstable_by(|a, b| b.cmp(a));
        for (_, section, entry) in others.into_iter().take(useless) {
            sums.add(section, entry, stamp + EXPIRY_BYTES, shape);
        }
        sums.total(shape)
    }

    /// What version and time of an entry take.
    fn stamp_bytes(&self, version: u64) -> u64 {
        let times = usize::try_from(version).ok().and_then(|upto| self.times.get(..upto));
        let times = times.unwrap_or(&self.times);
        let span = times.last().zip(times.first()).map_or(0, |(last, first)| last - first);
        varint(version) + varint(span)
    }

    /// The records of runs and what leads to them, removals and the census. Returns the bytes of
    /// each record.
    fn add_records(&self, sums: &mut Sums, version: u64, stamp: u64, shape: Shape) -> Vec<u64> {
        let mut records = Vec::new();
        let reserved = |kind| (u8::MAX, kind);
        let mut add = |kind, key, value| {
            sums.add(reserved(kind), (key, value), stamp, shape);
        };
        for (run, found) in &self.runs {
            let Some(entry) = self.run_entry_at(*run, version) else { continue };
            let done = self.statistics(*run).unwrap_or_default();
            let [changes, puts, deletes, bytes, last_version, last_ms] = done.map(varint);
            let tally = changes + puts + deletes + bytes + last_ms;
            let record = tally + record_bytes(&entry);
            records.push(record);
            add(128, ID_BYTES, record);
            add(130, ID_BYTES, tally + last_version);
            add(131, SHORT_BYTES, 0);
            add(140, SHORT_BYTES, 0);
            entry.tags.iter().for_each(|_| add(132, TAGGED_BYTES, 0));
            if entry.parent_run_id.is_some() {
                add(133, CHILD_BYTES, 0);
            }
            if !matches!(entry.status, RunStatus::Running | RunStatus::Dropped) {
                add(134, SHORT_BYTES, 0);
            }
            let removals = found.touched.iter().filter(|touched| {
                let is_life = touched.version == found.first_version
                    || found.end.is_some_and(|(_, _, at)| at == touched.version);
                touched.what == Touch::Other && touched.version <= version && !is_life
            });
            removals.for_each(|_| add(129, REMOVAL_BYTES.0, REMOVAL_BYTES.1));
        }
        if version > 0 {
            add(130, 0, 5 * varint(version));
        }
        records
    }
}

impl Sums {
    fn total(&self, shape: Shape) -> Needed {
        if self.entries == 0 {
            return Needed { bytes: 0, tables: 0 };
        }
        // With what may be left beside it.
        let whole = self.whole_bytes + self.whole_bytes / 4 + PARTS_BYTES_MAX;
        let tables = if whole <= shape.table_bytes_max { 1 } else { self.entries };
        let full = self.block_bytes / shape.block_bytes.saturating_sub(20).max(1);
        let blocks = full.min(self.entries) + tables;
        let sections = self.sections.len() as u64 + blocks;
        let bytes = self.bytes
            + tables * (TABLE_BYTES + 2 * self.key_bytes_max)
            + blocks * (BLOCK_BYTES + self.key_bytes_max)
            + sections * (SECTION_BYTES + INDEX_RUN_BYTES)
            // Twelve bits of the filter for each key.
            + self.entries * 12 / 8;
        Needed { bytes, tables }
    }
}

/// A record of a run by its layout: see `docs/formats.md`.
fn record_bytes(entry: &RunMetadataEntry) -> u64 {
    let space = &entry.namespace;
    let names = space.tenant().len() + space.app().len() + space.agent().len();
    let tags: usize = entry.tags.iter().map(|(name, value)| 16 + name.len() + value.len()).sum();
    let begin = 1 + 17 + 17 + 1 + 24 + names + 16 + tags;
    let fixed = 1 + 16 + 1 + 8 + 9 + 8 + 8 + 8 + 9;
    (fixed + begin) as u64
}
