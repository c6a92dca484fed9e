//! Writes a table, from the front to the end.
//!
//! Invariants: the file is written in pieces of `step_bytes`, and nothing in it is read; what is in
//! memory is a block, a piece, and of each key eight bytes and of each block some forty. Nothing is
//! durable before the caller has synced the file.

use std::io;
use std::sync::Arc;

use runstone_vfs::{VfsFile, write_all_at};

use super::block::{Content, Stamp};
use super::block_builder::BlockBuilder;
use super::filter;
use super::frame;
use super::hash::KeyHasher;
use super::index::IndexBuilder;
use super::properties::{FOOTER_BYTES, Footer, Part, Properties, TableHeader};
use crate::options::{Compression, Options};
use crate::seal::Seal;
use crate::types::PhysicalKey;

/// How a table is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// A block is ended when it has so many bytes.
    pub(crate) block_bytes: usize,
    /// A value of so many bytes gets an extent.
    pub(crate) extent_bytes_min: usize,
    /// How much is written at once.
    pub(crate) step_bytes: usize,
    pub(crate) compression: Compression,
}

impl Shape {
    /// As the options say.
    pub(crate) fn of(options: &Options) -> Self {
        Shape {
            block_bytes: options.block_bytes,
            extent_bytes_min: options.extent_bytes_min,
            step_bytes: options.steps.rewrite_bytes,
            compression: options.compression,
        }
    }
}

impl WrittenTable {
    /// What the manifest says of it.
    pub(crate) fn told(&self) -> (u64, u32) {
        (self.file_bytes, self.checksum)
    }
}

/// More than an entry takes beside key and value, in a block or the index, with its section.
const ENTRY_MAX: usize = 128;
/// More than properties, footer and frames take beside keys.
const PARTS_MAX: usize = 512;

/// A table that is being written.
#[derive(Debug)]
pub(crate) struct TableWriter {
    file: Arc<dyn VfsFile>,
    seal: Seal,
    shape: Shape,
    /// Where `out` will stand in the file.
    at: u64,
    out: Vec<u8>,
    block: BlockBuilder,
    /// Where a block is compressed.
    room: Vec<u8>,
    block_first: Option<PhysicalKey>,
    index: IndexBuilder,
    hashes: Vec<u64>,
    properties: Option<Properties>,
    /// The version of the last entry, for the order of those of one key.
    last_version: u64,
    /// Up to which version removals were applied.
    applied: u64,
    /// Entries are taken in any order: a test of what reads them.
    #[cfg(test)]
    believes: bool,
}

/// A table that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WrittenTable {
    pub(crate) properties: Properties,
    pub(crate) file_bytes: u64,
    /// Of the footer, by which the manifest knows it.
    pub(crate) checksum: u32,
}

impl TableWriter {
    /// Of an empty file.
    pub(crate) fn new(file: Arc<dyn VfsFile>, header: &TableHeader, shape: Shape) -> Self {
        let mut out = Vec::new();
        header.encode(&mut out);
        TableWriter {
            file,
            seal: header.seal(),
            shape,
            at: 0,
            out,
            block: BlockBuilder::new(KeyHasher::new(&header.store_id)),
            room: Vec::new(),
            block_first: None,
            index: IndexBuilder::default(),
            hashes: Vec::new(),
            properties: None,
            last_version: 0,
            applied: 0,
            #[cfg(test)]
            believes: false,
        }
    }

    /// No entry is hidden by a removal up to this version.
    pub(crate) fn set_applied(&mut self, version: u64) {
        self.applied = version;
    }

    /// Takes entries in any order.
    #[cfg(test)]
    pub(super) fn believe(&mut self) {
        self.believes = true;
    }

    /// Whether an entry may follow the last one.
    fn follows(&self, key: &PhysicalKey, version: u64) -> bool {
        #[cfg(test)]
        if self.believes {
            return true;
        }
        self.properties.as_ref().is_none_or(|properties| {
            properties.last < *key || properties.last == *key && version < self.last_version
        })
    }

    /// How many bytes it has in memory.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let hashes = self.hashes.capacity() * size_of::<u64>();
        (self.out.capacity()
            + self.room.capacity()
            + self.block.size()
            + self.index.bytes()
            + hashes) as u64
    }

    fn offset(&self) -> u64 {
        self.at + self.out.len() as u64
    }

    /// The most that the file would be long if it ended behind one more entry, of this key and a
    /// value of so many bytes.
    pub(crate) fn file_bytes_max(&self, key: &PhysicalKey, value_len: usize) -> u64 {
        let user = key.user_key().len();
        let entry = self.block.bytes_max() + user + value_len + ENTRY_MAX;
        let index = self.index.bytes() + user + ENTRY_MAX;
        let filter = filter::bytes(self.hashes.len() + 1);
        let ends = self.properties.as_ref().map_or(user, |p| p.first.user_key().len()) + user;
        let more = entry + index + filter + ends + PARTS_MAX;
        self.offset() + more as u64
    }

    /// The same, behind several entries of this key, with values of these lengths.
    pub(crate) fn file_bytes_max_of(
        &self,
        key: &PhysicalKey,
        value_lens: impl Iterator<Item = usize>,
    ) -> u64 {
        // Each may begin a block, and stands in the index then.
        let around = 2 * (key.user_key().len() + ENTRY_MAX);
        let bytes = value_lens.fold(0, |bytes: usize, len| bytes.saturating_add(len + around));
        self.file_bytes_max(key, bytes)
    }

    /// Whether the last entry is of this key.
    pub(crate) fn ends_with(&self, key: &PhysicalKey) -> bool {
        self.properties.as_ref().is_some_and(|properties| properties.last == *key)
    }

    /// Adds an entry behind all others; `value` is its kind and bytes, `None` a tombstone.
    ///
    /// Errors: those of a write.
    pub(crate) fn add(
        &mut self,
        key: &PhysicalKey,
        stamp: Stamp,
        value: Option<(u8, &[u8])>,
    ) -> io::Result<()> {
        let is_new = self.note(key, stamp, value);
        // Before the extent: those of a block's entries stand directly before it.
        if self.block.size() >= self.shape.block_bytes && !self.block.is_empty() {
            self.end_block()?;
        }
        let content = match value {
            None => Content::Tombstone,
            Some((kind, bytes)) if bytes.len() < self.shape.extent_bytes_min => {
                Content::Value { kind, bytes }
            }
            Some((kind, bytes)) => {
                let offset = self.offset();
                self.put_part(|out| out.extend_from_slice(bytes));
                self.write(self.shape.step_bytes)?;
                Content::Extent { kind, offset, length: bytes.len() as u64 }
            }
        };
        if self.block.is_empty() {
            self.block_first = Some(key.clone());
        }
        let hash = self.block.add(key, stamp, content);
        if is_new {
            self.hashes.push(hash);
        }
        Ok(())
    }

    /// Counts an entry. Returns whether its key is new.
    fn note(&mut self, key: &PhysicalKey, stamp: Stamp, value: Option<(u8, &[u8])>) -> bool {
        let Stamp { version, .. } = stamp;
        debug_assert!(self.follows(key, version), "entries ascend, the newest of a key first");
        let is_new = self.properties.as_ref().is_none_or(|properties| properties.last != *key);
        let length = value.map(|(_, bytes)| bytes.len());
        let in_extent = length.is_some_and(|length| length >= self.shape.extent_bytes_min);
        let properties = self.properties.get_or_insert_with(|| Properties::none(key));
        properties.count(key, is_new, stamp, length.map(|length| length as u64), in_extent);
        self.last_version = version;
        is_new
    }

    /// Appends a part in its frame. Returns where it stands.
    fn put_part(&mut self, put: impl FnOnce(&mut Vec<u8>)) -> Part {
        let (offset, start) = (self.offset(), self.out.len());
        put(&mut self.out);
        let length = u32::try_from(self.out.len() - start).unwrap_or(u32::MAX);
        frame::close(&mut self.out, start, self.seal, offset, 0);
        Part { offset, length }
    }

    fn end_block(&mut self) -> io::Result<()> {
        let (offset, start) = (self.offset(), self.out.len());
        self.block.finish(&mut self.out);
        let raw = match self.shape.compression {
            Compression::None => 0,
            Compression::Lz4 => frame::compress(&mut self.out, start, &mut self.room),
        };
        sometimes!("table/block-compressed", raw > 0);
        let length = self.out.len() - start;
        frame::close(&mut self.out, start, self.seal, offset, raw);
        if let Some(first) = self.block_first.take() {
            // No table reaches 4 GiB.
            let offset = u32::try_from(offset).unwrap_or(u32::MAX);
            self.index.add(&first, offset, length, raw);
        }
        self.write(self.shape.step_bytes)
    }

    /// Writes what has come together, if it is so much.
    fn write(&mut self, least: usize) -> io::Result<()> {
        if self.out.len() >= least && !self.out.is_empty() {
            write_all_at(&*self.file, &self.out, self.at)?;
            self.at += self.out.len() as u64;
            self.out.clear();
        }
        Ok(())
    }

    /// Ends the table; `None` if nothing was added, and then the file is no table.
    ///
    /// Errors: those of a write.
    pub(crate) fn finish(mut self) -> io::Result<Option<WrittenTable>> {
        let Some(mut properties) = self.properties.take() else { return Ok(None) };
        properties.applied = self.applied;
        self.end_block()?;
        let index = std::mem::take(&mut self.index);
        let index = self.put_part(|out| index.finish(out));
        planted!(FilterMissesLastKey => self.hashes.pop());
        let filter = filter::build(&std::mem::take(&mut self.hashes));
        let filter = self.put_part(|out| out.extend_from_slice(&filter));
        let part = self.put_part(|out| properties.encode(out));
        let file_bytes = self.offset() + FOOTER_BYTES as u64;
        let footer = Footer { index, filter, properties: part, file_bytes };
        let checksum = footer.encode(&mut self.out, self.seal);
        self.write(0)?;
        Ok(Some(WrittenTable { properties, file_bytes, checksum }))
    }
}
