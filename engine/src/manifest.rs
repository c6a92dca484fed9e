//! The manifest: which segments count and how far, and which tables.
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
//!                  4  number of tables
//!                  4  zeros
//!                 then for each segment, in the log's order:
//!                  8  number
//!                 16  salt
//!                  8  attested length: synced, with Ok, before this manifest was written
//!                  4  1 if records may follow behind the attested length, else 0
//!                  4  link: the checksum of the last record below the attested length; where
//!                     there is none, that of the segment's header
//!                 then for each table, the newest first:
//!                  8  number
//!                 16  salt
//!                  8  epoch
//!                  8  length of the file
//!                  4  checksum of its footer
//!                  4  zeros
//! ```
//! Integers are little-endian.
//!
//! Invariants: a segment or a table counts if and only if the manifest names it, and the manifest
//! names only files whose content and name had been synced, each with Ok, before. Numbers ascend.
//! Only the last segment may be open. The commits up to the flushed version are in the tables, and
//! no segment is named that holds one of them. The file is replaced whole ([`in_force`]).

pub(crate) mod in_force;

use std::path::Path;

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
const BODY_HEAD_BYTES: usize = 64;
const SEGMENT_ENTRY_BYTES: usize = 40;
const TABLE_ENTRY_BYTES: usize = 48;

/// One segment, as the manifest names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentEntry {
    pub(crate) number: u64,
    pub(crate) salt: [u8; 16],
    /// How far it was synced, with Ok, and by the link which records those are.
    pub(crate) attested: End,
    pub(crate) open: bool,
}

/// One table, as the manifest names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TableEntry {
    pub(crate) number: u64,
    pub(crate) salt: [u8; 16],
    pub(crate) epoch: u64,
    pub(crate) file_bytes: u64,
    /// Of its footer, by which it is told from any other of the same name.
    pub(crate) checksum: u32,
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
    /// The newest first.
    pub(crate) tables: Vec<TableEntry>,
}

impl Manifest {
    /// Whether it names the file of this number.
    pub(crate) fn names(&self, number: u64) -> bool {
        self.segments.iter().any(|segment| segment.number == number)
            || self.tables.iter().any(|table| table.number == number)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        body.extend_from_slice(&self.store_id);
        body.extend_from_slice(&self.epoch.to_le_bytes());
        body.extend_from_slice(&self.next_file.to_le_bytes());
        body.extend_from_slice(&u32::from(self.clean).to_le_bytes());
        let count = u32::try_from(self.segments.len()).unwrap_or(u32::MAX);
        body.extend_from_slice(&count.to_le_bytes());
        body.extend_from_slice(&self.flushed.version.to_le_bytes());
        body.extend_from_slice(&self.flushed.time_ms.to_le_bytes());
        let count = u32::try_from(self.tables.len()).unwrap_or(u32::MAX);
        body.extend_from_slice(&count.to_le_bytes());
        body.extend_from_slice(&[0; 4]);
        for segment in &self.segments {
            body.extend_from_slice(&segment.number.to_le_bytes());
            body.extend_from_slice(&segment.salt);
            body.extend_from_slice(&segment.attested.at.to_le_bytes());
            body.extend_from_slice(&u32::from(segment.open).to_le_bytes());
            body.extend_from_slice(&segment.attested.link.to_le_bytes());
        }
        for table in &self.tables {
            body.extend_from_slice(&table.number.to_le_bytes());
            body.extend_from_slice(&table.salt);
            body.extend_from_slice(&table.epoch.to_le_bytes());
            body.extend_from_slice(&table.file_bytes.to_le_bytes());
            body.extend_from_slice(&table.checksum.to_le_bytes());
            body.extend_from_slice(&[0; 4]);
        }
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

    /// Reads a whole manifest.
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
        let body = bytes.get(FRAME_BYTES..).unwrap_or_default();
        if body.len() != length {
            sometimes!("manifest/bad-length");
            return Err(bad(
                12,
                "a manifest of the length that it states",
                format!("{length} bytes stated, and {} there", body.len()),
            ));
        }
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
        let manifest =
            Self::decode_body(body).map_err(|m| bad(FRAME_BYTES, m.expected, m.found))?;
        manifest.check().map_err(|m| bad(FRAME_BYTES, m.expected, m.found))?;
        Ok(manifest)
    }

    fn decode_body(body: &[u8]) -> std::result::Result<Self, Malformed> {
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
        let table_count = reader.u32("a number of tables")? as usize;
        zeros(reader.u32("zeros")?)?;
        let room = body.len().saturating_sub(BODY_HEAD_BYTES);
        let wanted = count
            .checked_mul(SEGMENT_ENTRY_BYTES)
            .zip(table_count.checked_mul(TABLE_ENTRY_BYTES))
            .and_then(|(segments, tables)| segments.checked_add(tables));
        if wanted != Some(room) {
            return Err(Malformed::new(
                "as many log files and tables listed as there is room for",
                format!("{count} and {table_count} of them"),
            ));
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
        let mut tables = Vec::with_capacity(table_count);
        for _ in 0..table_count {
            let number = reader.u64("a table number")?;
            let salt = reader.array("a salt")?;
            let (epoch, file_bytes) = (reader.u64("an epoch")?, reader.u64("a length")?);
            let checksum = reader.u32("a checksum")?;
            zeros(reader.u32("zeros")?)?;
            tables.push(TableEntry { number, salt, epoch, file_bytes, checksum });
        }
        reader.finish("the end of the manifest")?;
        Ok(Manifest { store_id, epoch, next_file, clean, segments, flushed, tables })
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
        let newest_first = self.tables.windows(2).all(|pair| match pair {
            [a, b] => a.number > b.number,
            _ => true,
        });
        let first = self.tables.first();
        let is_below = first.is_none_or(|first| first.number < self.next_file);
        let is_told = (self.flushed == Flushed::default()) == self.tables.is_empty();
        if !newest_first || !is_below || !is_told {
            return Err(Malformed::new(
                "a manifest whose tables are numbered downwards, and hold a version",
                "other tables",
            ));
        }
        Ok(())
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
mod tests {
    use super::*;

    fn sample() -> Manifest {
        let attested = |at, link| End { at, link };
        Manifest {
            store_id: [7; 16],
            epoch: 5,
            next_file: 9,
            clean: true,
            segments: vec![
                SegmentEntry { number: 2, salt: [1; 16], attested: attested(400, 3), open: false },
                SegmentEntry {
                    number: 8,
                    salt: [2; 16],
                    attested: attested(72, u32::MAX),
                    open: true,
                },
            ],
            flushed: Flushed { version: 77, time_ms: 5_000 },
            tables: [7, 5].map(table).into(),
        }
    }

    fn table(number: u64) -> TableEntry {
        TableEntry { number, salt: [4; 16], epoch: 3, file_bytes: 900, checksum: 12 }
    }

    fn read(bytes: &[u8]) -> Result<Manifest> {
        Manifest::decode(bytes, Path::new("runstone.manifest"))
    }

    #[test]
    fn a_manifest_reads_back() {
        assert_eq!(read(&sample().encode()).unwrap(), sample());
    }

    #[test]
    fn any_flipped_bit_or_cut_of_a_manifest_is_an_error() {
        let bytes = sample().encode();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&flipped).is_err(), "bit {bit}");
        }
        for cut in 0..bytes.len() {
            assert!(read(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        let mut longer = bytes;
        longer.push(0);
        assert!(read(&longer).is_err());
    }

    #[test]
    fn a_manifest_that_breaks_an_invariant_is_an_error_though_its_checksum_matches() {
        let breakers: [fn(&mut Manifest); 9] = [
            |m| m.segments.clear(),
            |m| m.segments.reverse(),
            |m| m.next_file = 8,
            |m| m.segments[0].open = true,
            |m| m.segments[1].attested.at = 71,
            |m| m.tables.reverse(),
            |m| m.tables[0].number = 9,
            |m| m.tables.clear(),
            |m| m.flushed = Flushed::default(),
        ];
        for (i, break_it) in breakers.iter().enumerate() {
            let mut manifest = sample();
            break_it(&mut manifest);
            assert!(read(&manifest.encode()).is_err(), "breaker {i}");
        }
    }

    /// The sample's bytes, edited, under a checksum that matches.
    fn sealed(edit: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut bytes = sample().encode();
        edit(&mut bytes);
        let length = u32::try_from(bytes.len() - FRAME_BYTES).unwrap();
        bytes[12..16].copy_from_slice(&length.to_le_bytes());
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&bytes[..16]);
        hasher.update(&bytes[FRAME_BYTES..]);
        bytes[16..20].copy_from_slice(&hasher.finalize().to_le_bytes());
        bytes
    }

    #[test]
    fn an_intact_manifest_of_a_later_format_is_unsupported_not_corrupt() {
        let bytes = sealed(|bytes| bytes[8] = 9);
        assert!(matches!(read(&bytes), Err(Error::UnsupportedFormat { found: 9, .. })));
    }

    #[test]
    fn a_field_that_no_manifest_has_is_an_error_though_its_checksum_matches() {
        const ENTRY: usize = FRAME_BYTES + BODY_HEAD_BYTES;
        type Edit = fn(&mut Vec<u8>);
        let edits: [(&str, Edit); 6] = [
            ("a manifest of format 1", |bytes| bytes[8] = 0),
            ("a flag of 0 or 1", |bytes| bytes[FRAME_BYTES + 32] = 2),
            ("a flag of 0 or 1", |bytes| bytes[ENTRY + 32] = 7),
            ("as many log files and tables listed as there is room for", |bytes| {
                bytes[FRAME_BYTES + 36] = 3;
            }),
            ("as many log files and tables listed as there is room for", |bytes| bytes.push(0)),
            ("a number of segments", |bytes| bytes.truncate(FRAME_BYTES + 36)),
        ];
        for (what, edit) in edits {
            match read(&sealed(edit)) {
                Err(Error::Corruption { expected, .. }) => assert_eq!(expected, what),
                other => panic!("{what}: {other:?}"),
            }
        }
        assert!(read(&sealed(|_| {})).is_ok());
    }
}
