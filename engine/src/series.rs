//! Writes one table after the other, in the order of their keys.
//!
//! Invariants: all of a key is in one table; each file is synced and can be read when its table
//! has ended, and so is its name when the series has. What was made counts only when the
//! manifest names it; until then the series knows the names of the files.

use std::io;
use std::path::PathBuf;

use runstone_vfs::VfsFile;

use crate::cache::Pinned;
use crate::error::Error;
use crate::failure::WriteFailure;
use crate::handles::TableFile;
use crate::names::{OwnName, StoreId, TAKEN_MAX};
use crate::place::Place;
use crate::sync::Arc;
use crate::table::block::Stamp;
use crate::table::properties::TableHeader;
use crate::table::reader::Table;
use crate::table::writer::{Shape, TableWriter};
use crate::types::PhysicalKey;

type Outcome<T> = std::result::Result<T, WriteFailure>;

/// Gives each file its number.
pub(crate) type Numbers<'a> = &'a dyn Fn() -> u64;

/// What tables are made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TablePlan {
    pub(crate) store_id: StoreId,
    pub(crate) epoch: u64,
    pub(crate) shape: Shape,
    /// A table is ended before it is longer than this, unless one key alone makes it so.
    pub(crate) table_bytes_max: u64,
}

/// Tables that are being written.
#[derive(Debug)]
pub(crate) struct Series {
    plan: TablePlan,
    /// The files that were made.
    left: Vec<OwnName>,
    current: Option<Current>,
    tables: Vec<Arc<Table>>,
    /// Up to which version removals are applied to what is added.
    applied: u64,
    /// What of a table is in memory until it is written.
    pinned: Option<Pinned>,
    /// Behind the reserved space another table begins.
    cuts: bool,
}

/// The table that is being written.
#[derive(Debug)]
struct Current {
    header: TableHeader,
    path: PathBuf,
    file: Arc<dyn VfsFile>,
    writer: TableWriter,
    /// Up to which version removals were applied to what is in it.
    applied: u64,
    /// Its last key is one of the reserved space.
    ends_reserved: bool,
}

impl Series {
    /// `applied`: up to which version removals are applied to what is added, but for what
    /// [`Series::note_kept`] hears of.
    pub(crate) fn new(plan: TablePlan, applied: u64) -> Self {
        let (left, tables) = (Vec::new(), Vec::new());
        Series { plan, left, current: None, tables, pinned: None, applied, cuts: false }
    }

    /// About so many bytes are written. If they are more than a table has, the reserved space has
    /// tables of its own: each flush writes of it, so that a table with keys of programs behind it
    /// would lie over all runs up to those, and none of them could stay as it is.
    pub(crate) fn of_bytes(self, bytes: u64) -> Self {
        let cuts = bytes > self.plan.table_bytes_max;
        Series { cuts, ..self }
    }

    /// All of it goes into one table, where it fits.
    pub(crate) fn in_one(self) -> Self {
        Series { cuts: false, ..self }
    }

    /// Whether a table of the reserved space ends before this key.
    pub(crate) fn is_cut_before(&self, key: &PhysicalKey) -> bool {
        let ends_reserved = self.current.as_ref().is_some_and(|current| current.ends_reserved);
        self.cuts && ends_reserved && !key.is_reserved()
    }

    /// The entry that was added last is hidden by a removal of this version, and kept for a pin.
    pub(crate) fn note_kept(&mut self, removal: u64) {
        if let Some(current) = &mut self.current
            && !planted!(KeptCountsAsApplied)
        {
            sometimes!("series/removed-entry-kept-for-a-pin");
            current.applied = current.applied.min(removal.saturating_sub(1));
        }
    }

    /// How many tables have ended.
    pub(crate) fn len(&self) -> usize {
        self.tables.len()
    }

    /// A table is ended before it is longer than this.
    pub(crate) fn table_bytes_max(&self) -> u64 {
        self.plan.table_bytes_max
    }

    /// The files that were made, if they are of no use.
    pub(crate) fn take_left(&mut self) -> Vec<OwnName> {
        std::mem::take(&mut self.left)
    }

    /// Whether an entry with a value of so many bytes begins another table.
    pub(crate) fn is_full_for(&self, key: &PhysicalKey, value_len: usize) -> bool {
        self.current.as_ref().is_some_and(|current| {
            let bytes = current.writer.file_bytes_max(key, value_len);
            bytes > self.plan.table_bytes_max
                && (!current.writer.ends_with(key) || planted!(KeyInTwoTables))
        })
    }

    /// Entries of one key follow, with values of these lengths. Another table begins if the one
    /// that is written is too full for all of them.
    ///
    /// Errors: as [`Series::add`].
    pub(crate) fn begin_key(
        &mut self,
        place: &Place,
        key: &PhysicalKey,
        value_lens: impl Iterator<Item = usize>,
    ) -> Outcome<()> {
        let is_full = self.current.as_ref().is_some_and(|current| {
            let bytes = current.writer.file_bytes_max_of(key, value_lens);
            bytes > self.plan.table_bytes_max && !planted!(KeyBeginsWhereItStands)
        });
        sometimes!("series/key-begins-a-table", is_full);
        if is_full { self.end_table(place) } else { Ok(()) }
    }

    /// Adds an entry behind all others.
    ///
    /// Errors: [`WriteFailure::Refused`] if the disk is full or a file cannot be made, and
    /// [`WriteFailure::Failed`].
    pub(crate) fn add(
        &mut self,
        place: &Place,
        numbers: Numbers<'_>,
        key: &PhysicalKey,
        stamp: Stamp,
        value: Option<(u8, &[u8])>,
    ) -> Outcome<()> {
        let more = value.map_or(0, |(_, bytes)| bytes.len());
        let is_cut = self.is_cut_before(key);
        sometimes!("series/reserved-space-cut", is_cut);
        if is_cut || self.is_full_for(key, more) {
            sometimes!("series/another-table");
            self.end_table(place)?;
        }
        if self.current.is_none() {
            self.current = Some(self.begin_table(place, numbers)?);
        }
        let Some(Current { writer, path, ends_reserved, .. }) = &mut self.current else {
            return Ok(());
        };
        *ends_reserved = key.is_reserved();
        let bytes = writer.file_bytes_max(key, more);
        let added = place.check_length(bytes).and_then(|()| writer.add(key, stamp, value));
        let pinned = self.pinned.get_or_insert_with(|| Pinned::new(&place.cache));
        pinned.set(writer.memory_bytes());
        added.map_err(|e| WriteFailure::of_a_write("writing", path.clone(), e))
    }

    fn begin_table(&mut self, place: &Place, numbers: Numbers<'_>) -> Outcome<Current> {
        let salt = place.draw("drawing a salt for").map_err(WriteFailure::Refused)?;
        let TablePlan { store_id, epoch, shape, .. } = self.plan;
        let (number, file) = self.create_file(place, numbers)?;
        let name = OwnName::Table(store_id, number);
        let path = place.path(name);
        self.left.push(name);
        let header = TableHeader { store_id, salt, number, epoch };
        let writer = TableWriter::new(Arc::clone(&file), &header, shape);
        let applied = self.applied;
        Ok(Current { header, path, file, writer, applied, ends_reserved: false })
    }

    /// Makes an empty file under a number whose name is not taken, be it by a directory.
    fn create_file(
        &mut self,
        place: &Place,
        numbers: Numbers<'_>,
    ) -> Outcome<(u64, Arc<dyn VfsFile>)> {
        let mut tries = 0;
        loop {
            let number = numbers();
            let name = OwnName::Table(self.plan.store_id, number);
            match place.create(name) {
                Ok(file) => return Ok((number, file)),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists && tries < TAKEN_MAX => {
                    sometimes!("series/name-taken");
                    tries += 1;
                }
                Err(e) => {
                    // A call that fails may have made it all the same.
                    self.left.push(name);
                    let error = Error::io_or_full("creating", place.path(name), e);
                    return Err(WriteFailure::Refused(error));
                }
            }
        }
    }

    fn end_table(&mut self, place: &Place) -> Outcome<()> {
        let Some(Current { header, path, file, mut writer, applied, .. }) = self.current.take()
        else {
            return Ok(());
        };
        writer.set_applied(applied);
        let written = writer.finish();
        let written = written.map_err(|e| WriteFailure::of_a_write("writing", path.clone(), e))?;
        let Some(written) = written else { return Ok(()) };
        let synced = if planted!(TableNotSynced) { Ok(()) } else { file.sync() };
        synced.map_err(|e| WriteFailure::Failed(Error::io("syncing", &path, e)))?;
        // What cannot be read back is written again.
        let name = OwnName::Table(header.store_id, header.number);
        let file = TableFile::new(&place.handles, name.file_name(), file);
        let table = Table::open(file, &path, &header, written.told(), &place.cache);
        let table = table.and_then(|table| table.warm().map(|()| table));
        self.tables.push(Arc::new(table.map_err(WriteFailure::Refused)?));
        Ok(())
    }

    /// Ends the last table and makes the names durable. Returns the tables, in the order of their
    /// keys; none if nothing was added.
    ///
    /// Errors: as [`Series::add`].
    pub(crate) fn finish(&mut self, place: &Place) -> Outcome<Vec<Arc<Table>>> {
        self.end_table(place)?;
        self.pinned = None;
        if !self.tables.is_empty() && !planted!(TableNamesNotSynced) {
            let synced = place.sync_names();
            synced.map_err(|e| WriteFailure::Failed(Error::io("syncing", place.dir_path(), e)))?;
        }
        Ok(std::mem::take(&mut self.tables))
    }
}
