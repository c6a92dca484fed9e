//! The decoders of a table's parts, for fuzzing: see `crate::fuzzing`.
//!
//! The parts stand in frames with checksums, which are checked before: here a part is given by
//! itself, so that forged bytes get that far.

use std::path::Path;
use std::sync::Arc;

use runstone_vfs::{FileId, MemVfs, Vfs, VfsFile, read_full_at, write_all_at};

use super::block::{Block, Content, Stamp};
use super::block_builder::BlockBuilder;
use super::cursor::Cursor;
use super::frame;
use super::hash::KeyHasher;
use super::index::{Index, IndexBuilder};
use super::properties::{FOOTER_BYTES, HEADER_BYTES, Properties, TableHeader};
use super::reader::Table;
use super::writer::{Shape, TableWriter};
use crate::cache::Cache;
use crate::codec::change::NEVER;
use crate::codec::value::Stored;
use crate::handles::{Handles, TableFile};
use crate::options::Compression;
use crate::types::{PhysicalKey, RunId, TypeTag, Value};

const FILE: &str = "/table";
/// Of no lock: nothing is looked for.
const LOCK: FileId = FileId { device: 0, inode: 0 };
const HEADER: TableHeader = TableHeader { store_id: [7; 16], salt: [9; 16], number: 3, epoch: 2 };
const SMALL: Shape = Shape {
    block_bytes: 150,
    extent_bytes_min: 80,
    step_bytes: 100,
    compression: Compression::Lz4,
};

pub(crate) fn header(bytes: &[u8]) -> Option<Vec<u8>> {
    let header = TableHeader::decode(bytes).ok()?;
    let mut out = Vec::new();
    header.encode(&mut out);
    Some(out)
}

pub(crate) fn properties(bytes: &[u8]) -> Option<Vec<u8>> {
    let properties = Properties::decode(bytes).ok()?;
    let mut out = Vec::new();
    properties.encode(&mut out);
    Some(out)
}

/// Whatever the bytes, every question is asked; what is in order is written again.
pub(crate) fn index(bytes: &[u8]) -> Option<Vec<u8>> {
    let index = Index::new(bytes).ok()?;
    for key in keys() {
        let below = index.below(&key);
        let _ = (index.place(below), index.begins_with(below, &key));
    }
    index.check().ok()?;
    let mut builder = IndexBuilder::default();
    for block in 0..index.len() {
        let place = index.place(block)?;
        let offset = u32::try_from(place.offset).ok()?;
        builder.add(
            &index.first_key(block).ok()?,
            offset,
            place.length,
            u32::try_from(place.raw).ok()?,
        );
    }
    let mut out = Vec::new();
    builder.finish(&mut out);
    Some(out)
}

/// Likewise.
pub(crate) fn block(bytes: &[u8]) -> Option<Vec<u8>> {
    let (block, hasher) = (Block::new(bytes).ok()?, KeyHasher::new(&HEADER.store_id));
    for key in keys() {
        drop((block.lower_bound(&key), block.find(&key, hasher.hash(&key), 3)));
    }
    block.check(hasher).ok()?;
    let mut builder = BlockBuilder::new(hasher);
    for index in 0..block.len() {
        let entry = block.entry(index).ok()?;
        let (version, time_ms, expiry_ms) = (entry.version, entry.time_ms, entry.expiry_ms);
        builder.add(&entry.key(), Stamp { version, time_ms, expiry_ms }, entry.content);
    }
    let mut out = Vec::new();
    builder.finish(&mut out);
    Some(out)
}

/// A compressed block, behind how long it says that it was before, in four bytes.
pub(crate) fn compressed(bytes: &[u8]) -> Option<Vec<u8>> {
    let (raw, part) = bytes.split_first_chunk::<4>()?;
    let raw = u32::from_le_bytes(*raw);
    let mut framed = part.to_vec();
    frame::close(&mut framed, 0, HEADER.seal(), 0, raw.max(1));
    let decoded = frame::open(framed, HEADER.seal(), 0, usize::try_from(raw).ok()?).ok()?;
    drop(block(&decoded));
    compress(decoded)
}

/// Nothing if that saves too little.
fn compress(mut part: Vec<u8>) -> Option<Vec<u8>> {
    let raw = frame::compress(&mut part, 0, &mut Vec::new());
    (raw > 0).then(|| [&raw.to_le_bytes()[..], &part].concat())
}

/// A file that calls itself the sample's table.
pub(crate) fn whole(bytes: &[u8]) -> Option<Vec<u8>> {
    let vfs = MemVfs::new();
    let file = vfs.create(Path::new(FILE)).ok()?;
    write_all_at(&*file, bytes, 0).ok()?;
    let length = bytes.len() as u64;
    // Whatever checksum its footer bears is the one that is asked for.
    let stored = bytes.get(bytes.len().checked_sub(FOOTER_BYTES)? + 48..)?.first_chunk()?;
    let told = (length, u32::from_le_bytes(*stored));
    let handles = Arc::new(Handles::new(Arc::new(vfs), LOCK, 1));
    let file = TableFile::new(&handles, FILE.to_owned(), file);
    let table = Table::open(file, Path::new(FILE), &HEADER, told, &Arc::new(Cache::new(500, 0)));
    let table = Arc::new(table.ok()?);
    for key in keys() {
        drop(table.get(&key, 3));
    }
    let mut cursor = Cursor::new(&table, true);
    while cursor.next().ok()?.is_some() {}
    while cursor.prev().ok()?.is_some() {}
    Some(bytes.to_vec())
}

fn keys() -> Vec<PhysicalKey> {
    let users = [&b""[..], b"some key 0", b"some key 3", b"some kez", b"some key 5\0"];
    let key = |run, user: &[u8]| PhysicalKey::new(RunId::from_bytes([run; 16]), TypeTag::KV, user);
    let mut keys: Vec<_> = (0..4).flat_map(|run| users.map(|user| key(run, user))).collect();
    keys.sort_unstable();
    keys
}

/// What the decoders accept.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    pub(crate) header: Vec<Vec<u8>>,
    pub(crate) properties: Vec<Vec<u8>>,
    pub(crate) index: Vec<Vec<u8>>,
    pub(crate) block: Vec<Vec<u8>>,
    pub(crate) compressed: Vec<Vec<u8>>,
    pub(crate) whole: Vec<Vec<u8>>,
}

/// Those of a small table with several runs, versions, blocks, a tombstone and an extent.
pub(crate) fn samples() -> Samples {
    write_sample().unwrap_or_default()
}

fn write_sample() -> Option<Samples> {
    let file: Arc<dyn VfsFile> = MemVfs::new().create(Path::new(FILE)).ok()?;
    let mut writer = TableWriter::new(Arc::clone(&file), &HEADER, SMALL);
    let mut block = BlockBuilder::new(KeyHasher::new(&HEADER.store_id));
    for key in keys().into_iter().filter(|key| !key.user_key().is_empty()) {
        let run = u64::from(key.run().as_bytes()[0]);
        let length = key.user_key().len() * 9;
        let values = [(9 + run, Some(Value::from(vec![1; length]))), (3, None)];
        for (version, value) in values {
            let expiry_ms = if version == 3 { 70_000 } else { NEVER };
            let stamp = Stamp { version, time_ms: 500 * version, expiry_ms };
            let stored = value.map(Stored::from);
            let value = stored.as_ref().map(|stored| (stored.kind().to_byte(), stored.bytes()));
            writer.add(&key, stamp, value).ok()?;
            let content = match value {
                None => Content::Tombstone,
                Some((kind, bytes)) if run < 3 => Content::Value { kind, bytes },
                Some((kind, _)) => Content::Extent { kind, offset: 72, length: 90 },
            };
            block.add(&key, stamp, content);
        }
    }
    let written = writer.finish().ok()??;
    let mut whole = vec![0; usize::try_from(written.file_bytes).ok()?];
    read_full_at(&*file, &mut whole, 0).ok()?;
    let footer_at = whole.len() - FOOTER_BYTES;
    let footer = super::properties::Footer::decode(
        whole.get(footer_at..)?,
        HEADER.seal(),
        written.file_bytes,
    );
    let (footer, _) = footer.ok()?;
    let part = |part: super::properties::Part| {
        let from = usize::try_from(part.offset).ok()?;
        whole.get(from..from + part.length as usize).map(<[u8]>::to_vec)
    };
    let mut bytes = Vec::new();
    block.finish(&mut bytes);
    Some(Samples {
        header: vec![whole.get(..HEADER_BYTES)?.to_vec()],
        properties: vec![part(footer.properties)?],
        index: vec![part(footer.index)?],
        compressed: vec![compress(bytes.clone())?, compress(vec![5; 60_000])?],
        block: vec![bytes],
        whole: vec![whole],
    })
}
