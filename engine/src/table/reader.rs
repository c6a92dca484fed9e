//! Reads a table: a key at a version, or its entries in order.
//!
//! Invariants: nothing is believed before its checksum has matched, and nothing is allocated that
//! the file does not hold; what cannot be read is [`Error::Corruption`], with file and offset.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use runstone_vfs::{VfsFile, read_full_at};

use super::block::{Content, Entry, Stamp};
use super::hash::KeyHasher;
use super::index::{BlockPlace, Index};
use super::properties::{
    FOOTER_BYTES, Footer, HEADER_BYTES, Part, Properties, TABLE_FORMAT, TableHeader, Unreadable,
};
use super::{filter, frame};
use crate::cache::{Cache, Root, Slots};
use crate::codec::Malformed;
use crate::codec::value::Stored;
use crate::error::{Error, Result};
use crate::handles::TableFile;
use crate::seal::Seal;
use crate::types::{PhysicalKey, ValueKind};

/// A table that is open.
#[derive(Debug)]
pub(crate) struct Table {
    pub(super) file: TableFile,
    pub(super) path: PathBuf,
    header: TableHeader,
    /// Its length, and the checksum of its footer.
    told: (u64, u32),
    seal: Seal,
    hasher: KeyHasher,
    properties: Properties,
    /// Where index and filter stand, which are read when they are asked for. Blocks and extents end
    /// before the index.
    index: Part,
    filter: Part,
    /// What of it is in memory beside this.
    slots: Arc<Slots>,
}

/// A version of a key, as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) stamp: Stamp,
    /// `None` for a tombstone.
    pub(crate) value: Option<Stored>,
}

/// Reads `length` bytes at `offset`.
pub(super) fn read(file: &dyn VfsFile, path: &Path, offset: u64, length: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let got = read_full_at(file, &mut bytes, offset).map_err(|e| Error::io("reading", path, e))?;
    if got < length {
        return Err(Error::corruption(
            path,
            offset,
            format_args!("{length} bytes of a table"),
            format_args!("the end of the file after {got}"),
        ));
    }
    Ok(bytes)
}

pub(super) fn malformed(path: &Path, offset: u64) -> impl FnOnce(Malformed) -> Error {
    move |m| Error::corruption(path, offset, m.expected, m.found)
}

fn unreadable(path: &Path, offset: u64) -> impl FnOnce(Unreadable) -> Error {
    move |unreadable| match unreadable {
        Unreadable::Malformed(m) => malformed(path, offset)(m),
        Unreadable::Later(found) => {
            Error::UnsupportedFormat { file: path.to_owned(), found, supported: TABLE_FORMAT }
        }
    }
}

impl Table {
    /// Opens the table of this header, which is so long and has a footer of this checksum, as the
    /// manifest says. Header, footer and properties are read, and nothing else.
    ///
    /// Errors: [`Error::Corruption`] if it is another, or damaged; [`Error::UnsupportedFormat`];
    /// [`Error::Io`].
    pub(crate) fn open(
        file: TableFile,
        path: &Path,
        header: &TableHeader,
        (file_bytes, checksum): (u64, u32),
        cache: &Arc<Cache>,
    ) -> Result<Self> {
        let open = file.get(path, |_| Ok(()))?;
        let told = (file_bytes, checksum);
        let (footer, properties) = read_ends(&*open, path, header, told)?;
        Ok(Table {
            file,
            path: path.to_owned(),
            header: *header,
            told,
            seal: header.seal(),
            hasher: KeyHasher::new(&header.store_id),
            properties,
            index: footer.index,
            filter: footer.filter,
            slots: Slots::new(cache),
        })
    }

    /// Reads again what an opening reads of it; where that is not what it has read, the offset.
    ///
    /// Errors: as [`Table::open`].
    pub(super) fn ends_differ(&self) -> Result<Option<u64>> {
        let (footer, properties) = read_ends(&*self.file()?, &self.path, &self.header, self.told)?;
        let is_same = (footer.index, footer.filter) == (self.index, self.filter)
            && properties == self.properties;
        Ok((!is_same).then_some(footer.properties.offset))
    }

    pub(crate) fn properties(&self) -> &Properties {
        &self.properties
    }

    /// Which table it is.
    pub(crate) fn header(&self) -> &TableHeader {
        &self.header
    }

    /// Its length, and the checksum of its footer: by those the manifest knows it.
    pub(crate) fn told(&self) -> (u64, u32) {
        self.told
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn hasher(&self) -> KeyHasher {
        self.hasher
    }

    /// What it is counted with.
    pub(super) fn cache(&self) -> &Arc<Cache> {
        self.slots.cache()
    }

    /// Where blocks and extents end.
    pub(super) fn data_end(&self) -> u64 {
        self.index.offset
    }

    /// Its file, which is opened again if it was closed.
    ///
    /// Errors: those of [`TableFile::get`].
    pub(super) fn file(&self) -> Result<Arc<dyn VfsFile>> {
        let check = |file: &dyn VfsFile| check_same(file, &self.path, &self.header, self.told);
        self.file.get(&self.path, check)
    }

    /// Keeps its file open for as long as it is there.
    pub(crate) fn hold(&self) {
        self.file.hold(&self.path);
    }

    /// Reads index and filter, as they are asked for later.
    ///
    /// Errors: [`Error::Corruption`] if they are not what was written, [`Error::Io`].
    pub(crate) fn warm(&self) -> Result<()> {
        self.root(true)?;
        self.ask_filter(0).map(|_| ())
    }

    /// The index, from memory if it is there; kept there if it is not, or only held.
    ///
    /// Errors: [`Error::Corruption`], [`Error::Io`].
    pub(super) fn root(&self, keeps: bool) -> Result<Arc<Root>> {
        if let Some(root) = self.slots.index(keeps) {
            return Ok(root);
        }
        let length = self.index.length as usize;
        self.slots.read_index((length, Index::len_max(length)), keeps, || {
            let bytes = self.index_bytes()?;
            let blocks = self.index(&bytes)?.len();
            Ok((bytes, blocks))
        })
    }

    /// Reads the index from the file.
    pub(super) fn index_bytes(&self) -> Result<Vec<u8>> {
        self.part(self.index)
    }

    /// What an index says.
    pub(super) fn index<'i>(&self, bytes: &'i [u8]) -> Result<Index<'i>> {
        Index::new(bytes).map_err(malformed(&self.path, self.index.offset))
    }

    /// Reads the filter from the file.
    pub(super) fn filter_bytes(&self) -> Result<Vec<u8>> {
        planted!(FilterNotChecked => return self.unchecked(self.filter));
        self.part(self.filter)
    }

    /// Whether a key of this hash may be in it.
    pub(super) fn ask_filter(&self, hash: u64) -> Result<bool> {
        let ask = |filter: &[u8]| filter::may_hold(filter, hash);
        if let Some(answer) = self.slots.ask_filter(ask) {
            return Ok(answer);
        }
        let length = self.filter.length as usize;
        let filter = self.slots.read_filter(length, || self.filter_bytes())?;
        Ok(ask(&filter))
    }

    /// Reads a part in its frame, which ends at or before `end`.
    fn framed(&self, (offset, length): (u64, usize), end: u64) -> Result<Vec<u8>> {
        read_framed(&*self.file()?, &self.path, self.seal, (offset, length, 0), end)
    }

    fn part(&self, Part { offset, length }: Part) -> Result<Vec<u8>> {
        let part = (offset, length as usize);
        self.framed(part, self.told.0 - FOOTER_BYTES as u64)
    }

    /// A block and where it stands, from memory if it is there, and kept there if it is not.
    pub(super) fn kept_block(
        &self,
        root: &Arc<Root>,
        index: &Index<'_>,
        nth: usize,
    ) -> Result<(u64, Arc<[u8]>)> {
        let place = self.place(index, nth)?;
        if let Some(bytes) = root.get(nth) {
            return Ok((place.offset, bytes));
        }
        let bytes = root.read(nth, place.decoded(), || self.decoded(place))?;
        Ok((place.offset, bytes))
    }

    fn decoded(&self, place: BlockPlace) -> Result<Vec<u8>> {
        let part = (place.offset, place.length, place.raw);
        read_framed(&*self.file()?, &self.path, self.seal, part, self.data_end())
    }

    fn place(&self, index: &Index<'_>, nth: usize) -> Result<BlockPlace> {
        index.place(nth).ok_or_else(|| {
            let (expected, found) = ("a block that is in the index", format!("number {nth}"));
            Error::corruption(&self.path, self.data_end(), expected, found)
        })
    }

    /// A block as it stands in the file, and where.
    pub(super) fn block(&self, index: &Index<'_>, nth: usize) -> Result<(BlockPlace, Vec<u8>)> {
        let place = self.place(index, nth)?;
        Ok((place, self.decoded(place)?))
    }

    /// About how many entries stand between two keys, by the index: a block that either of them
    /// lies in counts for a quarter. And no fewer bytes than blocks and extents have there: those
    /// of each block that may hold such a key.
    ///
    /// Errors: those of a read of the index.
    pub(crate) fn within(&self, from: &PhysicalKey, to: &PhysicalKey) -> Result<(u64, u64)> {
        let root = self.root(true)?;
        let index = self.index(root.bytes())?;
        let (low, high) = (index.below(from), index.below(to));
        let begun = high.saturating_sub(low) as u64;
        let (blocks, entries) = (index.len().max(1) as u64, self.properties.entries);
        let entries = entries.saturating_mul(2 * begun + 1).div_ceil(2 * blocks).min(entries);
        // The extents of a block stand before it.
        let end = |blocks: usize| {
            let last = blocks.checked_sub(1).and_then(|last| index.place(last));
            last.map_or(HEADER_BYTES as u64, BlockPlace::end)
        };
        Ok((entries, end(high).saturating_sub(end(low.saturating_sub(1)))))
    }

    /// The bytes of all blocks and extents.
    pub(crate) fn data_bytes(&self) -> u64 {
        self.data_end().saturating_sub(HEADER_BYTES as u64)
    }

    /// Reads the value in an extent.
    pub(super) fn extent(&self, part: (u64, usize)) -> Result<Vec<u8>> {
        self.framed(part, self.data_end())
    }

    /// The value of an entry as it stands, by its kind and bytes; `None` for a tombstone. One that
    /// lies in an extent is read into `room`.
    ///
    /// Errors: [`Error::Corruption`], [`Error::Io`].
    pub(crate) fn value<'e>(
        &self,
        entry: &Entry<'e>,
        room: &'e mut Vec<u8>,
    ) -> Result<Option<(u8, &'e [u8])>> {
        Ok(match entry.content {
            Content::Tombstone => None,
            Content::Value { kind, bytes } => Some((kind, bytes)),
            Content::Extent { kind, offset, length } => {
                let part = (offset, usize::try_from(length).unwrap_or(usize::MAX));
                *room = self.extent(part)?;
                Some((kind, room))
            }
        })
    }

    /// The same, with its kind known.
    ///
    /// Errors: as [`Table::value`].
    pub(crate) fn kind_and_value<'e>(
        &self,
        entry: &Entry<'e>,
        room: &'e mut Vec<u8>,
    ) -> Result<Option<(ValueKind, &'e [u8])>> {
        let Some((kind, bytes)) = self.value(entry, room)? else { return Ok(None) };
        match ValueKind::from_byte(kind) {
            Some(kind) => Ok(Some((kind, bytes))),
            None => {
                let found = format!("the unknown kind {kind} at {:?}", entry.key());
                Err(Error::corruption(&self.path, 0, "a kind of value", found))
            }
        }
    }

    /// An entry with its value, which may lie in an extent.
    pub(crate) fn row(&self, entry: &Entry<'_>, offset: u64) -> Result<Row> {
        let Entry { version, time_ms, expiry_ms, .. } = *entry;
        let mut room = Vec::new();
        let at = match entry.content {
            Content::Extent { offset, .. } => offset,
            Content::Tombstone | Content::Value { .. } => offset,
        };
        let value = self.value(entry, &mut room)?;
        let value = value.map(|(kind, bytes)| Stored::from_disk(kind, bytes));
        let value = value.transpose().map_err(malformed(&self.path, at))?;
        Ok(Row { stamp: Stamp { version, time_ms, expiry_ms }, value })
    }
}

/// Reads header, footer and properties.
fn read_ends(
    file: &dyn VfsFile,
    path: &Path,
    header: &TableHeader,
    (file_bytes, checksum): (u64, u32),
) -> Result<(Footer, Properties)> {
    check_same(file, path, header, (file_bytes, checksum))?;
    let seal = header.seal();
    let footer_at = file_bytes - FOOTER_BYTES as u64;
    let bytes = read(file, path, footer_at, FOOTER_BYTES)?;
    let (footer, stored) =
        Footer::decode(&bytes, seal, file_bytes).map_err(unreadable(path, footer_at))?;
    if stored != checksum {
        return Err(Error::corruption(
            path,
            footer_at,
            format_args!("the footer that the manifest vouches for ({checksum:08x})"),
            format_args!("another one ({stored:08x})"),
        ));
    }
    let Part { offset, length } = footer.properties;
    let properties = read_framed(file, path, seal, (offset, length as usize, 0), footer_at)?;
    let properties = Properties::decode(&properties).map_err(malformed(path, offset))?;
    Ok((footer, properties))
}

/// Checks that a file is the table of this header, as far as its length and its header tell: each
/// part of it bears a checksum that no other table's passes.
///
/// Errors: [`Error::Corruption`], [`Error::UnsupportedFormat`], [`Error::Io`].
fn check_same(
    file: &dyn VfsFile,
    path: &Path,
    header: &TableHeader,
    (file_bytes, _): (u64, u32),
) -> Result<()> {
    let found = file.len().map_err(|e| Error::io("looking at", path, e))?;
    let least = (HEADER_BYTES + FOOTER_BYTES) as u64;
    if found != file_bytes || found < least {
        return Err(Error::corruption(
            path,
            found.min(file_bytes),
            format_args!("a table of {file_bytes} bytes, which the manifest vouches for"),
            format_args!("a file of {found} bytes"),
        ));
    }
    let bytes = read(file, path, 0, HEADER_BYTES)?;
    let stands = TableHeader::decode(&bytes).map_err(unreadable(path, 0))?;
    if stands != *header {
        return Err(Error::corruption(
            path,
            0,
            format_args!("the header of table {}, as the manifest knows it", header.number),
            format_args!("that of table {} of epoch {}", stands.number, stands.epoch),
        ));
    }
    Ok(())
}

/// Reads a part in its frame, which ends at or before `end`.
fn read_framed(
    file: &dyn VfsFile,
    path: &Path,
    seal: Seal,
    (offset, length, raw): (u64, usize, usize),
    end: u64,
) -> Result<Vec<u8>> {
    let framed = (length as u64).checked_add(frame::FRAME_BYTES as u64);
    let is_inside = framed
        .and_then(|framed| offset.checked_add(framed))
        .is_some_and(|part_end| offset >= HEADER_BYTES as u64 && part_end <= end);
    if !is_inside {
        return Err(Error::corruption(
            path,
            offset,
            format_args!("a part of a table that ends at or before {end}"),
            format_args!("one of {length} bytes"),
        ));
    }
    let framed = read(file, path, offset, length + frame::FRAME_BYTES)?;
    frame::open(framed, seal, offset, raw).map_err(malformed(path, offset))
}
