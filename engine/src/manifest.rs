//! The manifest: which segments count and how far, and which tables.
//!
//! The file begins with a snapshot. Edits follow it, at the next multiple of 512 and from there on
//! ([`edit`], [`frame`]), and zeros up to the file's end. All but zeros between the snapshot and
//! the first edit is damage. A snapshot:
//!
//! ```text
//! offset  bytes  field
//!      0      8  magic "RUNSTMAN"
//!      8      4  format, 1
//!     12      4  length n of the body
//!     16      4  CRC-32 over the 16 bytes above and the body
//!     20      4  zeros
//!     24      n  body:
//!                 16  store id
//!                  8  epoch
//!                  8  next file number
//!                  4  clean: 1 after a clean close, else 0
//!                  4  number of segments
//!                  8  version of the last commit that is in the tables; 0 if none is
//!                  8  engine time, in milliseconds, that the log had reached by then
//!                  4  number of levels of tables
//!                  4  zeros
//!                 16  salt, random, new for each snapshot: of the edits in this file
//!                 then for each segment, in the log's order:
//!                  8  number
//!                 16  salt
//!                  8  attested length: synced, with Ok, before this manifest was written
//!                  4  1 if records may follow behind the attested length, else 0
//!                  4  link: the checksum of the last record below the attested length; where
//!                     there is none, that of the segment's header
//!                 then the levels (levels.rs)
//! ```
//! Integers are little-endian.
//!
//! Invariants: a segment or a table counts if and only if the manifest names it, and the manifest
//! names only files whose content and name had been synced, each with Ok, before. Numbers ascend.
//! Only the last segment may be open. The commits up to the flushed version are in the tables, and
//! no segment is named that holds one of them. The file is replaced whole by each session's first
//! change, and when there is no room for another edit ([`in_force`]); see
//! `docs/decisions/0018-manifest-is-a-log-of-edits.md`.

pub(crate) mod edit;
pub(crate) mod file;
mod frame;
pub(crate) mod in_force;
mod levels;

use std::path::Path;

use frame::Position;
pub(crate) use levels::{LevelEntry, TableEntry};

use crate::codec::{Malformed, Reader};
use crate::error::{Error, Result};
use crate::log::record::End;
use crate::log::segment::{SEGMENT_HEADER_BYTES, hex};
use crate::seal::checksums;

/// The first bytes of every manifest.
pub(crate) const MANIFEST_MAGIC: &[u8; 8] = b"RUNSTMAN";
/// The newest manifest format.
pub(crate) const MANIFEST_FORMAT: u32 = 1;
const FRAME_BYTES: usize = 24;
const CHECKSUM_AT: usize = 16;
const BODY_HEAD_BYTES: usize = 80;
const SEGMENT_ENTRY_BYTES: usize = 40;

/// One segment, as the manifest names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentEntry {
    pub(crate) number: u64,
    pub(crate) salt: [u8; 16],
    /// How far it was synced, with Ok, and by the link which records those are.
    pub(crate) attested: End,
    pub(crate) open: bool,
}

impl SegmentEntry {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.salt);
        out.extend_from_slice(&self.attested.at.to_le_bytes());
        out.extend_from_slice(&u32::from(self.open).to_le_bytes());
        out.extend_from_slice(&self.attested.link.to_le_bytes());
    }

    fn decode_all(
        reader: &mut Reader<'_>,
        count: usize,
    ) -> std::result::Result<Vec<Self>, Malformed> {
        if count > reader.left() / SEGMENT_ENTRY_BYTES {
            return Err(Malformed::new("as many log files listed as there is room for", count));
        }
        let mut segments = Vec::with_capacity(count);
        for _ in 0..count {
            let number = reader.u64("a segment number")?;
            let salt = reader.array("a salt")?;
            let at = reader.u64("an attested length")?;
            let open = flag(reader.u32("an open flag")?)?;
            let attested = End { at, link: reader.u32("a link")? };
            segments.push(SegmentEntry { number, salt, attested, open });
        }
        Ok(segments)
    }
}

/// How far the tables reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flushed {
    /// Of the last commit that is in them; 0 if none is.
    pub(crate) version: u64,
    /// The engine time that the log had reached by then.
    pub(crate) time_ms: u64,
}

/// What the manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) store_id: [u8; 16],
    pub(crate) epoch: u64,
    pub(crate) next_file: u64,
    pub(crate) clean: bool,
    pub(crate) segments: Vec<SegmentEntry>,
    pub(crate) flushed: Flushed,
    /// The highest first.
    pub(crate) levels: Vec<LevelEntry>,
}

impl Manifest {
    /// Whether it names the file of this number.
    pub(crate) fn names(&self, number: u64) -> bool {
        self.segments.iter().any(|segment| segment.number == number)
            || self.tables().any(|table| table.number == number)
    }

    /// All tables, from the highest level down.
    pub(crate) fn tables(&self) -> impl Iterator<Item = &TableEntry> {
        self.levels.iter().flat_map(|level| &level.tables)
    }

    /// As a snapshot, with the salt of the edits behind it.
    pub(crate) fn encode(&self, salt: &[u8; 16]) -> Vec<u8> {
        let mut body = Vec::new();
        body.extend_from_slice(&self.store_id);
        body.extend_from_slice(&self.epoch.to_le_bytes());
        body.extend_from_slice(&self.next_file.to_le_bytes());
        body.extend_from_slice(&u32::from(self.clean).to_le_bytes());
        let count = u32::try_from(self.segments.len()).unwrap_or(u32::MAX);
        body.extend_from_slice(&count.to_le_bytes());
        body.extend_from_slice(&self.flushed.version.to_le_bytes());
        body.extend_from_slice(&self.flushed.time_ms.to_le_bytes());
        let count = u32::try_from(self.levels.len()).unwrap_or(u32::MAX);
        body.extend_from_slice(&count.to_le_bytes());
        body.extend_from_slice(&[0; 4]);
        body.extend_from_slice(salt);
        for segment in &self.segments {
            segment.encode(&mut body);
        }
        levels::encode(&self.levels, &mut body);
        let mut out = Vec::new();
        out.extend_from_slice(MANIFEST_MAGIC);
        out.extend_from_slice(&MANIFEST_FORMAT.to_le_bytes());
        out.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&out);
        hasher.update(&body);
        out.extend_from_slice(&hasher.finalize().to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&body);
        out
    }

    fn decode_body(body: &[u8]) -> std::result::Result<(Self, [u8; 16]), Malformed> {
        let mut reader = Reader::new(body);
        let store_id = reader.array("a store id")?;
        let epoch = reader.u64("an epoch")?;
        let next_file = reader.u64("a file number")?;
        let clean = flag(reader.u32("a clean flag")?)?;
        let count = reader.u32("a number of segments")? as usize;
        let flushed = Flushed {
            version: reader.u64("a flushed version")?,
            time_ms: reader.u64("a flushed time")?,
        };
        let level_count = reader.u32("a number of levels")? as usize;
        zeros(reader.u32("zeros")?)?;
        let salt = reader.array("a salt")?;
        let segments = SegmentEntry::decode_all(&mut reader, count)?;
        let levels = levels::decode(&mut reader, level_count)?;
        reader.finish("the end of the manifest")?;
        Ok((Manifest { store_id, epoch, next_file, clean, segments, flushed, levels }, salt))
    }

    /// What holds of every manifest, when it is written and when it is read.
    pub(crate) fn check(&self) -> std::result::Result<(), Malformed> {
        let ascending = self.segments.windows(2).all(|pair| match pair {
            [a, b] => a.number < b.number,
            _ => true,
        });
        let last = self.segments.last();
        if !ascending || last.is_none_or(|last| last.number >= self.next_file) {
            return Err(Malformed::new(
                "a manifest whose log files are numbered upwards, below the next number",
                "another order",
            ));
        }
        let open_before_last = self.segments.iter().rev().skip(1).any(|segment| segment.open);
        if open_before_last || last.is_none_or(|last| !last.open) {
            return Err(Malformed::new(
                "a manifest whose last log file is open, and no other",
                "other files open",
            ));
        }
        if self.segments.iter().any(|segment| segment.attested.at < SEGMENT_HEADER_BYTES) {
            return Err(Malformed::new(
                "a manifest that vouches for at least the header of each log file",
                "a shorter length",
            ));
        }
        if !self.levels.is_empty() && self.flushed == Flushed::default() {
            return Err(Malformed::new("a manifest that says what its tables hold", "nothing"));
        }
        let segments = self.segments.iter().map(|segment| segment.number);
        levels::check(&self.levels, segments, self.next_file)
    }
}

/// What a file of a manifest begins with.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) manifest: Manifest,
    /// Of the edits in this file.
    pub(crate) salt: [u8; 16],
    /// What the first edit follows.
    pub(crate) checksum: u32,
    pub(crate) bytes: usize,
}

impl Snapshot {
    /// Where the first edit goes behind these bytes of one.
    fn followed_by(bytes: &[u8]) -> Option<Position> {
        let checksum = bytes.get(CHECKSUM_AT..)?.first_chunk().copied()?;
        let salt = bytes.get(FRAME_BYTES + BODY_HEAD_BYTES - 16..)?.first_chunk().copied()?;
        Some(Position::behind(bytes.len() as u64, u32::from_le_bytes(checksum), salt))
    }

    /// Reads the snapshot at the beginning of a file.
    ///
    /// Errors: [`Error::Corruption`], or [`Error::UnsupportedFormat`].
    pub(crate) fn decode(bytes: &[u8], file: &Path) -> Result<Self> {
        let bad = |at: usize, expected: &str, found: String| {
            Error::corruption(file, at as u64, expected, found)
        };
        let frame = bytes.get(..FRAME_BYTES).ok_or_else(|| {
            sometimes!("manifest/cut-short");
            bad(0, "a manifest of at least 24 bytes", format!("a file of {} bytes", bytes.len()))
        })?;
        let malformed = |m: Malformed| bad(0, m.expected, m.found);
        let mut reader = Reader::new(frame);
        let magic: [u8; 8] = reader.array("a magic number").map_err(malformed)?;
        if &magic != MANIFEST_MAGIC {
            sometimes!("manifest/bad-magic");
            let found = format!("a file that begins with the bytes {}", hex(&magic));
            return Err(bad(0, "a manifest, which begins with \"RUNSTMAN\"", found));
        }
        let format = reader.u32("a format").map_err(malformed)?;
        let length = reader.u32("a length").map_err(malformed)? as usize;
        let stored = reader.u32("a checksum").map_err(malformed)?;
        let zeros = reader.u32("zeros").map_err(malformed)?;
        let behind = bytes.get(FRAME_BYTES..).unwrap_or_default();
        let Some(body) = behind.get(..length) else {
            sometimes!("manifest/bad-length");
            return Err(bad(
                12,
                "a manifest of at least the length that it states",
                format!("{length} bytes stated, and {} there", behind.len()),
            ));
        };
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(frame.get(..16).unwrap_or_default());
        hasher.update(body);
        let computed = hasher.finalize();
        if stored != computed && !planted!(ManifestNotChecked) {
            sometimes!("manifest/bad-checksum");
            return Err(bad(
                16,
                "a manifest as it was written",
                format!("one whose bytes changed since ({})", checksums(stored, computed)),
            ));
        }
        if zeros != 0 {
            return Err(bad(20, "zeros behind a manifest's checksum", "other bytes".to_owned()));
        }
        if format > MANIFEST_FORMAT {
            sometimes!("manifest/later-format");
            return Err(Error::UnsupportedFormat {
                file: file.to_owned(),
                found: format,
                supported: MANIFEST_FORMAT,
            });
        }
        if format != MANIFEST_FORMAT {
            return Err(bad(8, "a manifest of format 1", format!("format {format}")));
        }
        let malformed = |m: Malformed| bad(FRAME_BYTES, m.expected, m.found);
        let (manifest, salt) = Manifest::decode_body(body).map_err(malformed)?;
        manifest.check().map_err(malformed)?;
        Ok(Snapshot { manifest, salt, checksum: stored, bytes: FRAME_BYTES + length })
    }
}

fn zeros(n: u32) -> std::result::Result<(), Malformed> {
    match n {
        0 => Ok(()),
        other => Err(Malformed::new("zeros", other)),
    }
}

fn flag(n: u32) -> std::result::Result<bool, Malformed> {
    match n {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(Malformed::new("a flag of 0 or 1", other)),
    }
}

#[cfg(test)]
mod tests;
