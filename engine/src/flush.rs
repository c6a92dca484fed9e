//! From a frozen memtable to tables, and from tables to what an opening knows.
//!
//! The records of runs go into the same tables, under keys of the reserved space
//! (`docs/decisions/0015`). Invariants: what is written here counts only when the manifest names
//! it; the file is synced, and so is its name, before this returns.

use std::io;
use std::ops::Bound;
use std::path::Path;

use crate::codec::change::NEVER;
use crate::codec::value::Stored;
use crate::codec::{Malformed, Reader, put_bytes};
use crate::error::{Error, Result};
use crate::failure::WriteFailure;
use crate::handles::TableFile;
use crate::levels::cursor::LevelCursor;
use crate::levels::{Level, Levels, LiveTable};
use crate::manifest::{Flushed, LevelEntry, Manifest, TableEntry};
use crate::names::{OwnName, StoreId};
use crate::place::Place;
use crate::removals::{Cover, Removal, RemovalId, Removals};
use crate::runs::keys;
use crate::runs::saved::{Activity, Census, Counts};
use crate::series::{Numbers, Series, TablePlan};
use crate::store::layers::Frozen;
use crate::store::memtable::Memtable;
use crate::store::pins::Pins;
use crate::store::version::{Chain, Version};
use crate::sync::Arc;
use crate::table::block::Stamp;
use crate::table::properties::TableHeader;
use crate::table::reader::{Row, Table};
use crate::types::{PhysicalKey, RunId, Value, ValueKind};

/// What a flush writes.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) frozen: Arc<Frozen>,
    /// What there is of runs, as of the same moment.
    pub(crate) census: Census,
    /// What is removed, and hides something of what is written.
    pub(crate) removals: Arc<Removals>,
    /// Everything up to this version is in tables before.
    pub(crate) since: u64,
    /// Everything up to this version is in these tables, or in those before.
    pub(crate) upto: Flushed,
}

impl Content {
    /// What is forgotten, still stands in tables, and is older than what is written now: of two
    /// records of one version nobody could tell which is newer.
    pub(crate) fn erased(&self) -> Vec<RemovalId> {
        let is_older = |id: &RemovalId| id.version < self.upto.version;
        let saved = self.removals.forgotten().filter(|id| id.version <= self.since);
        saved.filter(is_older).collect()
    }
}

/// The parts of what a flush writes, in the order of their keys.
const PARTS: usize = 5;

/// A flush between two steps: the entries of a memtable, and the records of runs and removals where
/// they stand among them. What removals hide from everybody is left out.
#[derive(Debug)]
pub(crate) struct Flushing {
    series: Series,
    /// Which part is written.
    part: usize,
    /// The key behind which it goes on.
    last: Option<PhysicalKey>,
    /// How many of the engine's own records are written.
    own_records: usize,
}

impl Flushing {
    pub(crate) fn new(plan: TablePlan, content: &Content) -> Self {
        let series = Series::new(plan, content.upto.version).of_bytes(content.frozen.bytes());
        Flushing { series, part: 0, last: None, own_records: 0 }
    }

    /// Writes about so many bytes of keys and values. Returns the tables, when all are written.
    ///
    /// Errors: [`WriteFailure::Refused`] if the disk is full or a file cannot be made, and
    /// [`WriteFailure::Failed`]; the flush is of no use then.
    pub(crate) fn step(
        &mut self,
        place: &Place,
        content: &Content,
        pins: &Pins,
        numbers: Numbers<'_>,
        bytes: usize,
    ) -> std::result::Result<Option<Vec<Arc<Table>>>, WriteFailure> {
        let bytes_left = i64::try_from(bytes).unwrap_or(i64::MAX);
        let Flushing { series, part, last, own_records } = self;
        let mut flusher = Flusher { place, series, numbers, bytes_left };
        while *part < PARTS {
            let is_done = match *part {
                2 => flusher.add_own_records(content, own_records)?,
                part => flusher.add_keys(content, part, last, pins)?,
            };
            if !is_done {
                sometimes!("flush/goes-on-in-another-step");
                return Ok(None);
            }
            (*part, *last) = (*part + 1, None);
        }
        self.series.finish(place).map(Some)
    }

    /// The files that were made, if they are of no use.
    pub(crate) fn take_left(&mut self) -> Vec<OwnName> {
        self.series.take_left()
    }
}

/// Writes one entry after the other, in one step.
struct Flusher<'a> {
    place: &'a Place,
    series: &'a mut Series,
    numbers: Numbers<'a>,
    /// The step ends behind the key at which nothing is left of this.
    bytes_left: i64,
}

/// An entry of the reserved space; a tombstone if it has no value.
type Record = (PhysicalKey, Stamp, Option<Stored>);

/// The memtable of a part, and between which keys it lies.
fn part_of(content: &Content, part: usize) -> (&Memtable, Bound<PhysicalKey>, Bound<PhysicalKey>) {
    let [records, removals, indexes] = keys::borders();
    let Frozen { memtable, records: reserved } = &*content.frozen;
    match part {
        0 => (memtable, Bound::Unbounded, Bound::Excluded(records)),
        1 => (reserved, Bound::Unbounded, Bound::Excluded(removals)),
        3 => (reserved, Bound::Included(indexes), Bound::Unbounded),
        _ => (memtable, Bound::Included(records), Bound::Unbounded),
    }
}

impl Flusher<'_> {
    /// An entry was written.
    fn spend(&mut self, key: &PhysicalKey, value_len: usize) {
        let bytes = key.user_key().len() + value_len + size_of::<Stamp>();
        self.bytes_left = self.bytes_left.saturating_sub(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// The entries of a part, from behind a key on. Returns whether all are written.
    fn add_keys(
        &mut self,
        content: &Content,
        part: usize,
        behind: &mut Option<PhysicalKey>,
        pins: &Pins,
    ) -> std::result::Result<bool, WriteFailure> {
        let (memtable, from, to) = part_of(content, part);
        let from = behind.take().map_or(from, Bound::Excluded);
        let mut cover: Option<(RunId, Option<&Cover>)> = None;
        let mut outcome = Ok(true);
        memtable.chains((from.as_ref(), to.as_ref()), |key, chain| {
            planted!(RunsNotFlushed => if key.is_reserved() { return true });
            if behind.is_some() {
                outcome = Ok(false);
                planted!(FlushStepLosesAKey => *behind = Some(key.clone()));
                return false;
            }
            if cover.is_none_or(|(run, _)| run != key.run()) {
                let of_run = content.removals.cover(key.run());
                cover = Some((key.run(), of_run.map(|cover| &**cover)));
            }
            let of_run = cover.and_then(|(_, cover)| cover);
            outcome = self.add_key(key, chain, of_run, pins).map(|()| true);
            if self.bytes_left <= 0 {
                *behind = Some(key.clone());
            }
            outcome.is_ok()
        });
        outcome
    }

    /// What of a key's versions somebody may see: all go into one table.
    fn add_key(
        &mut self,
        key: &PhysicalKey,
        chain: &Chain,
        cover: Option<&Cover>,
        pins: &Pins,
    ) -> std::result::Result<(), WriteFailure> {
        let needed = needed(key, chain, cover, pins);
        if chain.is_several() {
            let lengths = needed.clone().map(|(version, _)| version.value_len());
            self.series.begin_key(self.place, key, lengths)?;
        }
        self.spend(key, 0);
        for (version, removal) in needed {
            let Version { version, time_ms, expiry_ms, ref value } = *version;
            let time_ms = if planted!(TimeLostAtFlush) { version } else { time_ms };
            let expiry_ms = if planted!(ExpiryLostAtFlush) { NEVER } else { expiry_ms };
            let stamp = Stamp { version, time_ms, expiry_ms };
            let value = value.as_ref().map(|value| (value.kind().to_byte(), value.bytes()));
            self.series.add(self.place, self.numbers, key, stamp, value)?;
            removal.into_iter().for_each(|removal| self.series.note_kept(removal));
            self.spend(key, value.map_or(0, |(_, bytes)| bytes.len()));
            planted!(FlushStepSplitsAKey => if self.bytes_left <= 0 { break });
        }
        Ok(())
    }

    /// The engine's own records behind those that are written. Returns whether all are.
    fn add_own_records(
        &mut self,
        content: &Content,
        written: &mut usize,
    ) -> std::result::Result<bool, WriteFailure> {
        for record in own_records(content).skip(*written) {
            if self.bytes_left <= 0 {
                return Ok(false);
            }
            self.add_record(&record)?;
            self.spend(&record.0, record.2.as_ref().map_or(0, |stored| stored.bytes().len()));
            *written += 1;
        }
        Ok(true)
    }

    fn add_record(
        &mut self,
        (key, stamp, stored): &Record,
    ) -> std::result::Result<(), WriteFailure> {
        let value = stored.as_ref().map(|stored| (stored.kind().to_byte(), stored.bytes()));
        self.series.add(self.place, self.numbers, key, *stamp, value)
    }
}

/// The versions of a key that are newest for somebody, each with the removal that hides it from
/// others. A frozen memtable holds what was seen when it was frozen, and pins may be gone since.
fn needed<'a>(
    key: &'a PhysicalKey,
    chain: &'a Chain,
    cover: Option<&'a Cover>,
    pins: &'a Pins,
) -> impl Iterator<Item = (&'a Version, Option<u64>)> + Clone {
    let newer = chain.versions().map(|version| Some(version.version));
    let with_newer = chain.versions().zip(std::iter::once(None).chain(newer));
    with_newer.filter_map(move |(version, newer)| {
        let removal = cover.and_then(|cover| cover.oldest_behind(key, version.version));
        let hider = newer.into_iter().chain(removal).min();
        let is_seen = hider.is_none_or(|hider| pins.see(version.version, hider));
        planted!(OnlyNewestFlushed => if newer.is_some() { return None });
        sometimes!("flush/removed-left-out", removal.is_some() && !is_seen);
        sometimes!("flush/superseded-left-out", newer.is_some() && !is_seen);
        is_seen.then_some((version, removal))
    })
}

/// The removals and the census, in the order of their keys.
fn own_records(content: &Content) -> impl Iterator<Item = Record> {
    let Flushed { version, time_ms } = content.upto;
    let erased = content
        .erased()
        .into_iter()
        .map(move |id| (removal_key(id), Stamp { version, time_ms, expiry_ms: NEVER }, None));
    let removals = content.removals.since(content.since).filter(|_| !planted!(RemovalNotFlushed));
    let removals = removals.map(|removal| {
        let Removal { id, time_ms, .. } = *removal;
        let stamp = Stamp { version: id.version, time_ms, expiry_ms: NEVER };
        (removal_key(id), stamp, Some(encode_removal(removal)))
    });
    let stamp = Stamp { version, time_ms, expiry_ms: NEVER };
    let Census { counts, active } = &content.census;
    let active = active.iter().map(|(run, activity)| (keys::census(*run), activity.encode()));
    let census = std::iter::once((keys::census_head(), counts.encode())).chain(active);
    // The same stands in a table already, if nothing was committed since.
    let census = census.filter(move |_| version > content.since);
    let census = census.map(move |(key, value)| (key, stamp, Some(value)));
    // What is erased was there before what is new.
    erased.chain(removals).chain(census)
}

fn removal_key(RemovalId { version, nth }: RemovalId) -> PhysicalKey {
    let mut user = [0; 12];
    let (front, back) = user.split_at_mut(8);
    front.copy_from_slice(&version.to_be_bytes());
    back.copy_from_slice(&nth.to_be_bytes());
    PhysicalKey::reserved(keys::REMOVAL, &user)
}

/// Both keys, the run once.
fn encode_removal(removal: &Removal) -> Stored {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(removal.from.run().as_bytes());
    for key in [&removal.from, &removal.to] {
        bytes.push(key.tag_byte());
        put_bytes(&mut bytes, key.user_key());
    }
    Stored::from(Value::Bytes(bytes))
}

fn decode_removal(
    key: &PhysicalKey,
    time_ms: u64,
    stored: &Stored,
) -> std::result::Result<Removal, Malformed> {
    let mut reader = Reader::new(key.user_key());
    let version = u64::from_be_bytes(reader.array("the version of a removal")?);
    let nth = u32::from_be_bytes(reader.array("the number of a removal")?);
    reader.finish("the end of a removal's key")?;
    let mut reader = Reader::new(stored.bytes());
    let run = u128::from_be_bytes(reader.array("a run id")?);
    let mut key = || {
        let tag = reader.u8("a type tag")?;
        Ok(PhysicalKey::from_parts(run, tag, &[], reader.bytes("a key")?))
    };
    let (from, to) = (key()?, key()?);
    reader.finish("the end of a removal")?;
    if from >= to || stored.kind() != ValueKind::Bytes {
        return Err(Malformed::new("a removal of keys that ascend", "another"));
    }
    Ok(Removal { id: RemovalId { version, nth }, time_ms, from, to })
}

/// Opens the levels that a manifest names.
///
/// Errors: [`Error::Corruption`] for a table that is missing, foreign or damaged, and for levels
/// that no store has; [`Error::UnsupportedFormat`], [`Error::Io`].
pub(crate) fn open_levels(place: &Place, manifest: &Manifest) -> Result<Levels> {
    let open = |entry: &LevelEntry| {
        let tables = entry.tables.iter().map(|entry| open_table(place, manifest.store_id, entry));
        let LevelEntry { tier, joins, .. } = *entry;
        let level = Level { tier, joins, tables: tables.collect::<Result<_>>()? };
        Ok::<_, Error>(Arc::new(level))
    };
    let levels = Levels(manifest.levels.iter().map(open).collect::<Result<_>>()?);
    planted!(TablesInWrongOrder => return Ok(Levels(levels.0.into_iter().rev().collect())));
    let path = || place.path(OwnName::Manifest);
    levels.check().map_err(|m| Error::corruption(path(), 0, m.expected, m.found))?;
    Ok(levels)
}

fn open_table(place: &Place, store_id: StoreId, entry: &TableEntry) -> Result<LiveTable> {
    let name = OwnName::Table(store_id, entry.number);
    let path = place.path(name);
    let file = match place.open(name, runstone_vfs::Access::Read) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            sometimes!("flush/table-missing");
            let expected = "a table, which the manifest names";
            return Err(Error::corruption(path, 0, expected, "no such file"));
        }
        Err(e) => return Err(Error::io("opening", path, e)),
    };
    let TableEntry { number, salt, epoch, file_bytes, checksum, ref from } = *entry;
    let header = TableHeader { store_id, salt, number, epoch };
    let file = TableFile::new(&place.handles, name.file_name(), file);
    let table = Table::open(file, &path, &header, (file_bytes, checksum), &place.cache)?;
    Ok(LiveTable { table: Arc::new(table), from: from.clone() })
}

/// A record of the reserved space, as a level holds it: what an opening takes up.
pub(crate) enum Saved {
    /// How many runs there were, as of the version of a flush.
    Counts(u64, Counts),
    /// A run that was active then, and what it had done.
    Active(u64, RunId, Activity),
    Removal(Removal),
    /// A removal that was forgotten.
    Erased(PhysicalKey),
}

/// What a level holds of removals and of censuses, in the order of the keys, the newest first.
///
/// Errors: [`Error::Corruption`], [`Error::Io`].
pub(crate) fn saved_in(level: &Arc<Level>, path: &Path) -> Result<Vec<Saved>> {
    let mut saved = Vec::new();
    let [_, from, to] = keys::borders();
    if !level.overlaps(Bound::Included(&from), Bound::Excluded(&to)) {
        return Ok(saved);
    }
    let mut cursor = LevelCursor::aside(level);
    cursor.seek(&from)?;
    while cursor.advance()? {
        let Some((entry, _)) = cursor.before()? else { break };
        let key = entry.key();
        if key >= to {
            break;
        }
        let Some(row) = cursor.row(&entry)? else { continue };
        let record = decode_saved(key, row);
        saved.push(record.map_err(|m| Error::corruption(path, 0, m.expected, m.found))?);
    }
    Ok(saved)
}

/// What a row of removals and censuses says.
///
/// Error: what none of them has.
pub(crate) fn decode_saved(key: PhysicalKey, row: Row) -> std::result::Result<Saved, Malformed> {
    match (key.tag_byte(), row.value) {
        (keys::CENSUS, Some(value)) => decode_census(&key, row.stamp.version, &value),
        (keys::REMOVAL, Some(value)) => {
            decode_removal(&key, row.stamp.time_ms, &value).map(Saved::Removal)
        }
        (keys::REMOVAL, None) => Ok(Saved::Erased(key)),
        (tag, _) => Err(Malformed::new("a record of the engine", format!("kind {tag}"))),
    }
}

fn decode_census(
    key: &PhysicalKey,
    version: u64,
    stored: &Stored,
) -> std::result::Result<Saved, Malformed> {
    match keys::run_of(key) {
        Some(run) => Ok(Saved::Active(version, run, Activity::decode(stored)?)),
        None => Ok(Saved::Counts(version, Counts::decode(stored)?)),
    }
}

impl Removal {
    /// Under which key it stands in tables.
    pub(crate) fn key(&self) -> PhysicalKey {
        removal_key(self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Found by seed 13289: a removal was flushed and forgotten, sessions without a commit made the
    /// log long, and the flush for that erased it under its own version.
    #[test]
    fn a_removal_is_erased_only_under_a_later_version_than_its_own() {
        let id = RemovalId { version: 5, nth: 0 };
        let run = RunId::from_bytes([1; 16]);
        let (from, to) = PhysicalKey::bounds_of(run);
        let mut removals = Removals::default();
        removals.insert(Removal { id, time_ms: 0, from, to }, |_, _| false);
        removals.forget(&[id], |_, _| false);
        let erased = |since, version| {
            let (frozen, removals) = (Arc::new(Frozen::default()), Arc::new(removals.clone()));
            let upto = Flushed { version, time_ms: 0 };
            Content { frozen, census: Census::default(), removals, since, upto }.erased()
        };
        assert_eq!(erased(5, 5), []);
        assert_eq!(erased(5, 6), [id]);
        assert_eq!(erased(4, 6), [], "no table tells of it yet");
    }
}
