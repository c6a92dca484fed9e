//! From a frozen memtable to tables, and from tables to what an opening knows.
//!
//! The records of runs go into the same tables, under keys of the reserved space
//! (`docs/decisions/0015`). Invariants: what is written here counts only when the manifest names
//! it; the file is synced, and so is its name, before this returns.

use std::io;
use std::path::{Path, PathBuf};

use runstone_vfs::VfsFile;

use crate::codec::change::NEVER;
use crate::codec::value::Stored;
use crate::codec::{Malformed, Reader, body, put_varint};
use crate::error::{Error, Result};
use crate::failure::WriteFailure;
use crate::manifest::{Manifest, TableEntry};
use crate::names::{OwnName, StoreId, TAKEN_MAX};
use crate::place::Place;
use crate::runs::SavedRun;
use crate::store::memtable::Memtable;
use crate::store::version::Version;
use crate::sync::Arc;
use crate::table::block::Stamp;
use crate::table::cursor::Cursor;
use crate::table::properties::TableHeader;
use crate::table::reader::Table;
use crate::table::writer::{Shape, TableWriter};
use crate::types::{PhysicalKey, Value, ValueKind};

/// The tag of a run's record in the reserved space.
const RUN_TAG: u8 = 128;

/// What tables are made of.
#[derive(Debug)]
pub(crate) struct FlushPlan {
    pub(crate) store_id: StoreId,
    pub(crate) epoch: u64,
    pub(crate) shape: Shape,
    /// A table is ended before it is longer than this, unless one key alone makes it so.
    pub(crate) table_bytes_max: u64,
}

/// A table that was written and synced, and is open.
pub(crate) type NewTable = (TableEntry, Arc<Table>);

/// Writes tables, synced with their names, in the order of their keys; none if there is nothing to
/// write. `number` gives each its number.
///
/// Errors: [`WriteFailure::Refused`] if the disk is full or a file cannot be made, and
/// [`WriteFailure::Failed`]; the files that were made are in `left`.
pub(crate) fn write_tables(
    place: &Place,
    plan: &FlushPlan,
    frozen: &Memtable,
    runs: &[SavedRun],
    number: impl FnMut() -> u64,
    left: &mut Vec<OwnName>,
) -> std::result::Result<Vec<NewTable>, WriteFailure> {
    let mut flusher = Flusher { place, plan, number, left, current: None, tables: Vec::new() };
    flusher.fill(frozen, runs)?;
    flusher.end_table()?;
    let Flusher { left, tables, .. } = flusher;
    if !tables.is_empty() && !planted!(TableNamesNotSynced) {
        let synced = place.sync_names();
        synced.map_err(|e| WriteFailure::Failed(Error::io("syncing", place.dir_path(), e)))?;
    }
    left.clear();
    Ok(tables)
}

/// Writes one table after the other.
struct Flusher<'a, N> {
    place: &'a Place,
    plan: &'a FlushPlan,
    number: N,
    left: &'a mut Vec<OwnName>,
    current: Option<Current>,
    tables: Vec<NewTable>,
}

/// The table that is being written.
struct Current {
    header: TableHeader,
    path: PathBuf,
    file: Arc<dyn VfsFile>,
    writer: TableWriter,
}

impl<N: FnMut() -> u64> Flusher<'_, N> {
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
            outcome = self.add(key, stamp, value);
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
        self.add(key, stamp, Some((stored.kind().to_byte(), stored.bytes())))
    }

    fn add(
        &mut self,
        key: &PhysicalKey,
        stamp: Stamp,
        value: Option<(u8, &[u8])>,
    ) -> std::result::Result<(), WriteFailure> {
        let more = value.map_or(0, |(_, bytes)| bytes.len());
        let is_full = self.current.as_ref().is_some_and(|current| {
            let bytes = current.writer.file_bytes_max(key, more);
            bytes > self.plan.table_bytes_max && !current.writer.ends_with(key)
        });
        if is_full {
            sometimes!("flush/another-table");
            self.end_table()?;
        }
        if self.current.is_none() {
            self.current = Some(self.begin_table()?);
        }
        let Some(Current { writer, path, .. }) = &mut self.current else { return Ok(()) };
        let bytes = writer.file_bytes_max(key, more);
        let added = self.place.check_length(bytes).and_then(|()| writer.add(key, stamp, value));
        added.map_err(|e| WriteFailure::of_a_write("writing", path.clone(), e))
    }

    fn begin_table(&mut self) -> std::result::Result<Current, WriteFailure> {
        let salt = self.place.draw("drawing a salt for").map_err(WriteFailure::Refused)?;
        let FlushPlan { store_id, epoch, shape, .. } = *self.plan;
        let (number, file) = self.create_file()?;
        let name = OwnName::Table(store_id, number);
        let path = self.place.path(name);
        self.left.push(name);
        let header = TableHeader { store_id, salt, number, epoch };
        let writer = TableWriter::new(Arc::clone(&file), &header, shape);
        Ok(Current { header, path, file, writer })
    }

    /// Makes an empty file under a number whose name is not taken, be it by a directory.
    fn create_file(&mut self) -> std::result::Result<(u64, Arc<dyn VfsFile>), WriteFailure> {
        let mut tries = 0;
        loop {
            let number = (self.number)();
            let name = OwnName::Table(self.plan.store_id, number);
            match self.place.create(name) {
                Ok(file) => return Ok((number, file)),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists && tries < TAKEN_MAX => {
                    sometimes!("flush/name-taken");
                    tries += 1;
                }
                Err(e) => {
                    // A call that fails may have made it all the same.
                    self.left.push(name);
                    let error = Error::io_or_full("creating", self.place.path(name), e);
                    return Err(WriteFailure::Refused(error));
                }
            }
        }
    }

    fn end_table(&mut self) -> std::result::Result<(), WriteFailure> {
        let Some(Current { header, path, file, writer }) = self.current.take() else {
            return Ok(());
        };
        let written = writer.finish();
        let written = written.map_err(|e| WriteFailure::of_a_write("writing", path.clone(), e))?;
        let Some(written) = written else { return Ok(()) };
        let synced = if planted!(TableNotSynced) { Ok(()) } else { file.sync() };
        synced.map_err(|e| WriteFailure::Failed(Error::io("syncing", &path, e)))?;
        // What cannot be read back is written again.
        let table = Table::open(file, &path, &header, written.told());
        let table = table.map_err(WriteFailure::Refused)?;
        let TableHeader { salt, number, epoch, .. } = header;
        let (file_bytes, checksum) = written.told();
        let entry = TableEntry { number, salt, epoch, file_bytes, checksum };
        self.tables.push((entry, Arc::new(table)));
        Ok(())
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

/// Opens the tables that a manifest names, the newest first.
///
/// Errors: [`Error::Corruption`] for one that is missing, foreign or damaged;
/// [`Error::UnsupportedFormat`], [`Error::Io`].
pub(crate) fn open_tables(place: &Place, manifest: &Manifest) -> Result<Vec<Arc<Table>>> {
    let open = |entry| open_table(place, manifest.store_id, entry);
    planted!(TablesInWrongOrder => return manifest.tables.iter().rev().map(open).collect());
    manifest.tables.iter().map(open).collect()
}

fn open_table(place: &Place, store_id: StoreId, entry: &TableEntry) -> Result<Arc<Table>> {
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
    let TableEntry { number, salt, epoch, file_bytes, checksum } = *entry;
    let header = TableHeader { store_id, salt, number, epoch };
    Table::open(file, &path, &header, (file_bytes, checksum)).map(Arc::new)
}

/// The runs that a table holds.
///
/// Errors: [`Error::Corruption`], [`Error::Io`].
pub(crate) fn runs_of(table: &Table, path: &Path) -> Result<Vec<SavedRun>> {
    let mut runs = Vec::new();
    let mut cursor = Cursor::new(table);
    cursor.seek(&PhysicalKey::reserved(RUN_TAG, &[]))?;
    while let Some(entry) = cursor.next()? {
        if (entry.run, entry.tag) != (0, RUN_TAG) {
            break;
        }
        let row = table.row(&entry, 0)?;
        if let Some(value) = row.value {
            let run = decode_run(&value);
            runs.push(run.map_err(|m| Error::corruption(path, 0, m.expected, m.found))?);
        }
    }
    Ok(runs)
}
