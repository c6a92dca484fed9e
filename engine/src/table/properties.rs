//! What a table says of itself: its header, its properties, and the footer that leads to its parts.
//!
//! The header is at the front, so that a file is known for what it is before it is whole:
//!
//! ```text
//! offset  bytes  field
//!      0      8  magic "RUNSTTAB"
//!      8      4  format, 1
//!     12      4  reserved, 0
//!     16     16  store id
//!     32     16  salt, random, new for each table
//!     48      8  number, as in the file's name
//!     56      8  epoch in which the table was made
//!     64      4  CRC-32 over everything above
//!     68      4  zeros
//!     72         the first block or extent
//! ```
//!
//! The properties are a part of their own ([`super::frame`]):
//!
//! ```text
//!              8  number of entries
//!              8  number of keys
//!              8  number of tombstones
//!              8  number of extents
//!              8  the least version of an entry
//!              8  the greatest
//!              8  the least engine time of one, in milliseconds
//!              8  the greatest
//!              8  the earliest expiry, in engine time; all ones if nothing expires
//!              8  the latest; 0 if nothing expires
//!              8  bytes of all user keys
//!              8  bytes of all values
//!              8  the version up to which removals were applied when the table was written
//!                 the first key, then the last: run id 16, type tag 1, user key with its length
//! ```
//!
//! The footer is the end of the file:
//!
//! ```text
//! offset  bytes  field
//!      0      8  offset of the index
//!      8      4  its length, without its frame
//!     12      8  offset of the filter
//!     20      4  its length, likewise
//!     24      8  offset of the properties
//!     32      4  their length, likewise
//!     36      4  format, 1
//!     40      8  length of the file
//!     48      4  CRC-32 over everything above, seeded as a frame's
//!     52      4  zeros
//!     56      8  magic "RUNSTEND"
//! ```
//! Integers are little-endian.

use super::block::Stamp;
use crate::codec::change::NEVER;
use crate::codec::{Malformed, Reader, put_bytes};
use crate::seal::{Seal, checksums};
use crate::types::PhysicalKey;

pub(crate) const TABLE_MAGIC: &[u8; 8] = b"RUNSTTAB";
const FOOTER_MAGIC: &[u8; 8] = b"RUNSTEND";
pub(crate) const TABLE_FORMAT: u32 = 1;
pub(crate) const HEADER_BYTES: usize = 72;
pub(crate) const FOOTER_BYTES: usize = 64;

/// Which table it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TableHeader {
    pub(crate) store_id: [u8; 16],
    pub(crate) salt: [u8; 16],
    pub(crate) number: u64,
    pub(crate) epoch: u64,
}

/// Why a header or a footer is not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    Malformed(Malformed),
    /// Intact, and of this later format.
    Later(u32),
}

impl From<Malformed> for Unreadable {
    fn from(malformed: Malformed) -> Self {
        Unreadable::Malformed(malformed)
    }
}

impl TableHeader {
    pub(crate) fn seal(&self) -> Seal {
        Seal::new(&self.store_id, &self.salt)
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(TABLE_MAGIC);
        out.extend_from_slice(&TABLE_FORMAT.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.store_id);
        out.extend_from_slice(&self.salt);
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.epoch.to_le_bytes());
        let checksum = crc32fast::hash(out.get(start..).unwrap_or_default());
        out.extend_from_slice(&checksum.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let mut reader = Reader::new(bytes);
        let covered = Reader::new(bytes).take(HEADER_BYTES - 8, "the header of a table")?;
        if &reader.array("a magic number")? != TABLE_MAGIC {
            let found = Malformed::new("a table, which begins with \"RUNSTTAB\"", "other bytes");
            return Err(found.into());
        }
        let format = reader.u32("a format")?;
        let reserved = reader.u32("zeros")?;
        let store_id = reader.array("a store id")?;
        let salt = reader.array("a salt")?;
        let (number, epoch) = (reader.u64("a number")?, reader.u64("an epoch")?);
        let (stored, zeros) = (reader.u32("a checksum")?, reader.u32("zeros")?);
        let computed = crc32fast::hash(covered);
        if stored != computed {
            let found = format!("changed bytes ({})", checksums(stored, computed));
            return Err(Malformed::new("the header of a table as it was written", found).into());
        }
        match format {
            TABLE_FORMAT if reserved == 0 && zeros == 0 => {
                Ok(TableHeader { store_id, salt, number, epoch })
            }
            TABLE_FORMAT => Err(Malformed::new("zeros in the header of a table", "others").into()),
            0 => Err(Malformed::new("a table of format 1", "format 0").into()),
            later => Err(Unreadable::Later(later)),
        }
    }
}

/// What a table holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Properties {
    pub(crate) entries: u64,
    pub(crate) keys: u64,
    pub(crate) tombstones: u64,
    pub(crate) extents: u64,
    pub(crate) versions: (u64, u64),
    pub(crate) times_ms: (u64, u64),
    /// The earliest and the latest; ([`NEVER`], 0) if nothing expires.
    pub(crate) expiries_ms: (u64, u64),
    pub(crate) key_bytes: u64,
    pub(crate) value_bytes: u64,
    /// No entry is hidden by a removal up to this version, unless a newer one hides it too.
    pub(crate) applied: u64,
    pub(crate) first: PhysicalKey,
    pub(crate) last: PhysicalKey,
}

impl Properties {
    /// Of no entries, and these keys.
    pub(super) fn none(key: &PhysicalKey) -> Self {
        Properties {
            entries: 0,
            keys: 0,
            tombstones: 0,
            extents: 0,
            versions: (u64::MAX, 0),
            times_ms: (u64::MAX, 0),
            expiries_ms: (NEVER, 0),
            key_bytes: 0,
            value_bytes: 0,
            applied: 0,
            first: key.clone(),
            last: key.clone(),
        }
    }

    /// One more entry: of a new key or not, of a value of this length or a tombstone, in an extent
    /// or not.
    pub(super) fn count(
        &mut self,
        key: &PhysicalKey,
        is_new: bool,
        Stamp { version, time_ms, expiry_ms }: Stamp,
        value_len: Option<u64>,
        in_extent: bool,
    ) {
        self.entries += 1;
        self.keys += u64::from(is_new);
        self.tombstones += u64::from(value_len.is_none());
        self.extents += u64::from(in_extent);
        self.versions = (self.versions.0.min(version), self.versions.1.max(version));
        self.times_ms = (self.times_ms.0.min(time_ms), self.times_ms.1.max(time_ms));
        if expiry_ms != NEVER {
            let (earliest, latest) = self.expiries_ms;
            self.expiries_ms = (earliest.min(expiry_ms), latest.max(expiry_ms));
        }
        self.key_bytes += key.user_key().len() as u64;
        self.value_bytes += value_len.unwrap_or(0);
        if is_new {
            self.last = key.clone();
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let (versions, times) = (self.versions, self.times_ms);
        for field in [
            self.entries,
            self.keys,
            self.tombstones,
            self.extents,
            versions.0,
            versions.1,
            times.0,
            times.1,
            self.expiries_ms.0,
            self.expiries_ms.1,
            self.key_bytes,
            self.value_bytes,
            self.applied,
        ] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        for key in [&self.first, &self.last] {
            out.extend_from_slice(&key.numbers().0.to_be_bytes());
            out.push(key.tag_byte());
            put_bytes(out, key.user_key());
        }
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let mut next = || reader.u64("a property of a table");
        let (entries, keys, tombstones, extents) = (next()?, next()?, next()?, next()?);
        let (versions, times_ms) = ((next()?, next()?), (next()?, next()?));
        let expiries_ms = (next()?, next()?);
        let (key_bytes, value_bytes, applied) = (next()?, next()?, next()?);
        let mut key = || {
            let run = u128::from_be_bytes(reader.array("a run id")?);
            let tag = reader.u8("a type tag")?;
            Ok(PhysicalKey::from_parts(run, tag, &[], reader.bytes("a user key")?))
        };
        let (first, last) = (key()?, key()?);
        reader.finish("the end of a table's properties")?;
        let is_one = keys <= entries && tombstones <= entries && extents <= entries;
        if keys == 0 || !is_one || first > last || versions.0 > versions.1 {
            return Err(Malformed::new("the properties of a table", "numbers that none has"));
        }
        Ok(Properties {
            entries,
            keys,
            tombstones,
            extents,
            versions,
            times_ms,
            expiries_ms,
            key_bytes,
            value_bytes,
            applied,
            first,
            last,
        })
    }
}

/// Where a part stands, and its length without its frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) offset: u64,
    pub(super) length: u32,
}

/// What leads to the parts of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) index: Part,
    pub(super) filter: Part,
    pub(super) properties: Part,
    /// Of the whole file.
    pub(super) file_bytes: u64,
}

impl Footer {
    /// Returns its checksum.
    pub(super) fn encode(&self, out: &mut Vec<u8>, seal: Seal) -> u32 {
        let start = out.len();
        for part in [self.index, self.filter, self.properties] {
            out.extend_from_slice(&part.offset.to_le_bytes());
            out.extend_from_slice(&part.length.to_le_bytes());
        }
        out.extend_from_slice(&TABLE_FORMAT.to_le_bytes());
        out.extend_from_slice(&self.file_bytes.to_le_bytes());
        let offset = self.file_bytes.saturating_sub(FOOTER_BYTES as u64);
        let checksum = seal.checksum(offset, out.get(start..).unwrap_or_default());
        out.extend_from_slice(&checksum.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(FOOTER_MAGIC);
        checksum
    }

    /// Reads the last bytes of a file of this length; returns their checksum as well.
    pub(super) fn decode(
        bytes: &[u8],
        seal: Seal,
        file_bytes: u64,
    ) -> Result<(Self, u32), Unreadable> {
        let mut reader = Reader::new(bytes);
        let covered = Reader::new(bytes).take(48, "the footer of a table")?;
        let mut part =
            |what: &'static str| Ok(Part { offset: reader.u64(what)?, length: reader.u32(what)? });
        let parts: Result<[Part; 3], Malformed> =
            part("an index").and_then(|a| Ok([a, part("a filter")?, part("properties")?]));
        let [index, filter, properties] = parts?;
        let (format, length) = (reader.u32("a format")?, reader.u64("the length of a file")?);
        let (stored, zeros) = (reader.u32("a checksum")?, reader.u32("zeros")?);
        let magic: [u8; 8] = reader.array("a magic number")?;
        reader.finish("the end of a table")?;
        let offset = file_bytes.saturating_sub(FOOTER_BYTES as u64);
        let computed = seal.checksum(offset, covered);
        if &magic != FOOTER_MAGIC || zeros != 0 || stored != computed {
            let found = match &magic == FOOTER_MAGIC {
                true => format!("changed bytes ({})", checksums(stored, computed)),
                false => "a file that does not end with \"RUNSTEND\"".to_owned(),
            };
            return Err(Malformed::new("the footer of a table as it was written", found).into());
        }
        if format > TABLE_FORMAT {
            return Err(Unreadable::Later(format));
        }
        if format != TABLE_FORMAT || length != file_bytes {
            return Err(Malformed::new("the footer of this table", "another's").into());
        }
        Ok((Footer { index, filter, properties, file_bytes }, stored))
    }
}
