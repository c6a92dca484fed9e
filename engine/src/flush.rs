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
use crate::codec::{Malformed, Reader, body, put_varint};
use crate::error::{Error, Result};
use crate::failure::WriteFailure;
use crate::levels::cursor::LevelCursor;
use crate::levels::{Level, Levels, LiveTable};
use crate::manifest::{LevelEntry, Manifest, TableEntry};
use crate::names::{OwnName, StoreId};
use crate::place::Place;
use crate::runs::SavedRun;
use crate::series::{Numbers, Series};
use crate::store::memtable::Memtable;
use crate::store::version::Version;
use crate::sync::Arc;
use crate::table::block::Stamp;
use crate::table::properties::TableHeader;
use crate::table::reader::Table;
use crate::types::{PhysicalKey, Value, ValueKind};

/// The tag of a run's record in the reserved space.
const RUN_TAG: u8 = 128;

/// Writes the entries of a memtable, and the records of runs where they stand among them.
///
/// Errors: [`WriteFailure::Refused`] if the disk is full or a file cannot be made, and
/// [`WriteFailure::Failed`]; the files that were made are the series' to tell.
pub(crate) fn write_tables(
    place: &Place,
    frozen: &Memtable,
    runs: &[SavedRun],
    series: &mut Series,
    numbers: Numbers<'_>,
) -> std::result::Result<(), WriteFailure> {
    let mut flusher = Flusher { place, series, numbers };
    flusher.fill(frozen, runs)
}

/// Writes one entry after the other.
struct Flusher<'a> {
    place: &'a Place,
    series: &'a mut Series,
    numbers: Numbers<'a>,
}

impl Flusher<'_> {
    /// The entries, and the records of runs where they stand among them.
    fn fill(
        &mut self,
        frozen: &Memtable,
        runs: &[SavedRun],
    ) -> std::result::Result<(), WriteFailure> {
        let mut runs = runs.iter().map(|run| (run_key(run), run)).peekable();
        let mut outcome = Ok(());
        frozen.versions(|key, version| {
            while let Some((run_key, run)) = runs.next_if(|(run_key, _)| run_key < key) {
                outcome = self.add_run(&run_key, run);
                if outcome.is_err() {
                    return false;
                }
            }
            let Version { version, time_ms, expiry_ms, ref value } = *version;
            let time_ms = if planted!(TimeLostAtFlush) { version } else { time_ms };
            let expiry_ms = if planted!(ExpiryLostAtFlush) { NEVER } else { expiry_ms };
            let stamp = Stamp { version, time_ms, expiry_ms };
            let value = value.as_ref().map(|value| (value.kind().to_byte(), value.bytes()));
            outcome = self.series.add(self.place, self.numbers, key, stamp, value);
            outcome.is_ok()
        });
        outcome?;
        runs.try_for_each(|(key, run)| self.add_run(&key, run))
    }

    fn add_run(
        &mut self,
        key: &PhysicalKey,
        run: &SavedRun,
    ) -> std::result::Result<(), WriteFailure> {
        let stored = encode_run(run);
        let time_ms = run.entry.created_at.as_millis();
        let stamp = Stamp { version: run.entry.last_version, time_ms, expiry_ms: NEVER };
        let value = Some((stored.kind().to_byte(), stored.bytes()));
        self.series.add(self.place, self.numbers, key, stamp, value)
    }
}

fn run_key(run: &SavedRun) -> PhysicalKey {
    PhysicalKey::reserved(RUN_TAG, run.entry.run_id.as_bytes())
}

fn encode_run(run: &SavedRun) -> Stored {
    let mut bytes = Vec::new();
    put_varint(&mut bytes, run.changes);
    body::encode_run_metadata(&mut bytes, run.entry.clone());
    Stored::from(Value::Bytes(bytes))
}

fn decode_run(stored: &Stored) -> std::result::Result<SavedRun, Malformed> {
    if stored.kind() != ValueKind::Bytes {
        return Err(Malformed::new("the record of a run", "another kind of value"));
    }
    let mut reader = Reader::new(stored.bytes());
    let changes = reader.varint("a number of changes")?;
    let entry = body::decode_run_metadata(reader.rest())?;
    Ok(SavedRun { entry, changes })
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
    let table = Table::open(file, &path, &header, (file_bytes, checksum), &place.cache)?;
    Ok(LiveTable { table: Arc::new(table), from: from.clone() })
}

/// The runs that a level holds.
///
/// Errors: [`Error::Corruption`], [`Error::Io`].
pub(crate) fn runs_of(level: &Arc<Level>, path: &Path) -> Result<Vec<SavedRun>> {
    let mut runs = Vec::new();
    let (from, to) = (PhysicalKey::reserved(RUN_TAG, &[]), PhysicalKey::reserved(RUN_TAG + 1, &[]));
    if !level.overlaps(Bound::Included(&from), Bound::Excluded(&to)) {
        return Ok(runs);
    }
    let mut cursor = LevelCursor::aside(level);
    cursor.seek(&from)?;
    while cursor.advance()? {
        let Some(entry) = cursor.before()?.filter(|entry| (entry.run, entry.tag) == (0, RUN_TAG))
        else {
            break;
        };
        let row = cursor.row(&entry)?;
        if let Some(value) = row.and_then(|row| row.value) {
            let run = decode_run(&value);
            runs.push(run.map_err(|m| Error::corruption(path, 0, m.expected, m.found))?);
        }
    }
    Ok(runs)
}
