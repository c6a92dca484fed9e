//! Reads a table: a key at a version, or its entries in order.
//!
//! Invariants: nothing is believed before its checksum has matched, and nothing is allocated that
//! the file does not hold; what cannot be read is [`Error::Corruption`], with file and offset.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use runstone_vfs::{VfsFile, read_full_at};

use super::block::{Block, Content, Entry, Found, Stamp};
use super::hash::KeyHasher;
use super::index::{BlockPlace, Index};
use super::properties::{
    FOOTER_BYTES, Footer, HEADER_BYTES, Part, Properties, TABLE_FORMAT, TableHeader, Unreadable,
};
use super::{filter, frame};
use crate::cache::{BlockCache, Slots};
use crate::codec::Malformed;
use crate::codec::value::Stored;
use crate::error::{Error, Result};
use crate::seal::Seal;
use crate::types::PhysicalKey;

/// A table that is open.
#[derive(Debug)]
pub(crate) struct Table {
    file: Arc<dyn VfsFile>,
    path: PathBuf,
    header: TableHeader,
    /// Its length, and the checksum of its footer.
    told: (u64, u32),
    seal: Seal,
    hasher: KeyHasher,
    properties: Properties,
    index: Box<[u8]>,
    filter: Box<[u8]>,
    /// Where the parts begin: blocks and extents end before.
    data_end: u64,
    /// Blocks that are in memory.
    slots: Option<Arc<Slots>>,
}

/// A version of a key, as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) stamp: Stamp,
    /// `None` for a tombstone.
    pub(crate) value: Option<Stored>,
}

/// Reads `length` bytes at `offset`.
fn read(file: &dyn VfsFile, path: &Path, offset: u64, length: usize) -> Result<Vec<u8>> {
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
    /// manifest says.
    ///
    /// Errors: [`Error::Corruption`] if it is another, or damaged; [`Error::UnsupportedFormat`];
    /// [`Error::Io`].
    pub(crate) fn open(
        file: Arc<dyn VfsFile>,
        path: &Path,
        header: &TableHeader,
        (file_bytes, checksum): (u64, u32),
        cache: &Arc<BlockCache>,
    ) -> Result<Self> {
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
        let bytes = read(&*file, path, 0, HEADER_BYTES)?;
        let stands = TableHeader::decode(&bytes).map_err(unreadable(path, 0))?;
        if stands != *header {
            return Err(Error::corruption(
                path,
                0,
                format_args!("the header of table {}, as the manifest knows it", header.number),
                format_args!("that of table {} of epoch {}", stands.number, stands.epoch),
            ));
        }
        let seal = header.seal();
        let footer_at = file_bytes - FOOTER_BYTES as u64;
        let bytes = read(&*file, path, footer_at, FOOTER_BYTES)?;
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
        let part = |Part { offset, length }: Part| {
            let framed = read_framed(&*file, path, seal, (offset, length as usize), footer_at)?;
            Ok::<_, Error>(framed)
        };
        let (index, filter) = (part(footer.index)?, part(footer.filter)?);
        let properties = part(footer.properties)?;
        let at = footer.properties.offset;
        let properties = Properties::decode(&properties).map_err(malformed(path, at))?;
        let blocks = Index::new(&index).map_err(malformed(path, footer.index.offset))?.len();
        Ok(Table {
            file,
            path: path.to_owned(),
            header: *header,
            told: (file_bytes, checksum),
            seal,
            hasher: KeyHasher::new(&header.store_id),
            properties,
            index: index.into(),
            filter: filter.into(),
            data_end: footer.index.offset,
            slots: Slots::new(cache, blocks),
        })
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

    pub(super) fn filter(&self) -> &[u8] {
        &self.filter
    }

    /// Where blocks and extents end.
    pub(super) fn data_end(&self) -> u64 {
        self.data_end
    }

    pub(super) fn index(&self) -> Result<Index<'_>> {
        Index::new(&self.index).map_err(malformed(&self.path, self.data_end))
    }

    /// A block and where it stands, from memory if it is there, and kept there if it is not.
    pub(super) fn kept_block(&self, index: &Index<'_>, nth: usize) -> Result<(u64, Arc<[u8]>)> {
        if let Some(bytes) = self.slots.as_ref().and_then(|slots| slots.get(nth)) {
            return Ok((index.place(nth).map_or(0, |place| place.offset), bytes));
        }
        let (BlockPlace { offset, .. }, bytes) = self.block(index, nth)?;
        let bytes = Arc::from(bytes);
        if let Some(slots) = &self.slots {
            slots.put(nth, &bytes);
        }
        Ok((offset, bytes))
    }

    /// A block as it stands in the file, and where.
    pub(super) fn block(&self, index: &Index<'_>, nth: usize) -> Result<(BlockPlace, Vec<u8>)> {
        let place = index.place(nth).ok_or_else(|| {
            let (expected, found) = ("a block that is in the index", format!("number {nth}"));
            Error::corruption(&self.path, self.data_end, expected, found)
        })?;
        let part = (place.offset, place.length);
        let bytes = read_framed(&*self.file, &self.path, self.seal, part, self.data_end)?;
        Ok((place, bytes))
    }

    /// About how many entries stand between two keys, by the index: a block that either of them
    /// lies in counts for a quarter.
    ///
    /// Errors: those of a read of the index.
    pub(crate) fn entries_within(&self, from: &PhysicalKey, to: &PhysicalKey) -> Result<u64> {
        let index = self.index()?;
        let begun = index.below(to).saturating_sub(index.below(from)) as u64;
        let (blocks, entries) = (index.len().max(1) as u64, self.properties.entries);
        Ok(entries.saturating_mul(2 * begun + 1).div_ceil(2 * blocks).min(entries))
    }

    /// The newest version of a key that is at most this one.
    ///
    /// Errors: [`Error::Corruption`], [`Error::Io`].
    pub(crate) fn get(&self, key: &PhysicalKey, version: u64) -> Result<Option<Row>> {
        let Properties { first, last, .. } = &self.properties;
        if key < first || key > last || planted!(LastKeyNotRead) && key == last {
            return Ok(None);
        }
        let hash = self.hasher.hash(key);
        if !filter::may_hold(&self.filter, hash) {
            return Ok(None);
        }
        let index = self.index()?;
        let below = index.below(key);
        // The key may stand in the last block that begins below it, and goes on in those that
        // begin with it.
        let first = below.saturating_sub(1);
        for nth in first..index.len() {
            if nth >= below && !index.begins_with(nth, key) {
                break;
            }
            let (offset, bytes) = self.kept_block(&index, nth)?;
            let block = Block::new(&bytes).map_err(malformed(&self.path, offset))?;
            match block.find(key, hash, version).map_err(malformed(&self.path, offset))? {
                Found::Entry(entry) => return self.row(&entry, offset).map(Some),
                Found::InTheNext => {}
                Found::Nothing if nth < below => {}
                Found::Nothing => break,
            }
        }
        Ok(None)
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
                *room = read_framed(&*self.file, &self.path, self.seal, part, self.data_end)?;
                Some((kind, room))
            }
        })
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

/// Reads a part in its frame, which ends at or before `end`.
fn read_framed(
    file: &dyn VfsFile,
    path: &Path,
    seal: Seal,
    (offset, length): (u64, usize),
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
    let mut bytes = read(file, path, offset, length + frame::FRAME_BYTES)?;
    frame::open(&bytes, seal, offset).map_err(malformed(path, offset))?;
    bytes.truncate(length);
    Ok(bytes)
}
