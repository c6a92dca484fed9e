//! The header of a log segment.
//!
//! ```text
//! offset  bytes  field
//!      0      8  magic "RUNSTLOG"
//!      8      4  format, 1
//!     12      4  reserved, 0
//!     16     16  store id
//!     32     16  salt, random, new for each segment
//!     48      8  number, as in the file's name
//!     56      8  epoch in which the segment was made
//!     64      4  CRC-32 over everything above
//!     68      4  zeros
//!     72         the first record
//! ```
//! Integers are little-endian. Records follow back to back; what follows the last is filler
//! (zeros or, after a crash, anything), which no record's checksum accepts.

use std::path::Path;

use super::record::{End, RECORD_ALIGN};
use crate::codec::Reader;
use crate::error::{Error, Result};
use crate::seal::{Seal, checksums};

/// The first bytes of every segment.
pub(crate) const SEGMENT_MAGIC: &[u8; 8] = b"RUNSTLOG";
/// The newest segment format.
pub(crate) const SEGMENT_FORMAT: u32 = 1;
/// The length of the header, and the offset of the first record.
pub(crate) const SEGMENT_HEADER_BYTES: u64 = HEADER_LEN as u64;
/// The same, as the length of a slice.
pub(crate) const HEADER_LEN: usize = 72;
const CHECKSUM_AT: usize = 64;
const TAIL_AT: usize = 68;

const _: () = assert!(SEGMENT_HEADER_BYTES.is_multiple_of(RECORD_ALIGN));

/// What a segment says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) store_id: [u8; 16],
    pub(crate) salt: [u8; 16],
    pub(crate) number: u64,
    pub(crate) epoch: u64,
}

impl SegmentHeader {
    pub(crate) fn seal(&self) -> Seal {
        Seal::new(&self.store_id, &self.salt)
    }

    /// Where its records begin, and what the first of them follows.
    pub(crate) fn end(&self) -> End {
        let bytes = self.encode();
        let checksum = bytes.get(CHECKSUM_AT..).and_then(|rest| rest.first_chunk());
        let link = u32::from_le_bytes(checksum.copied().unwrap_or_default());
        End { at: SEGMENT_HEADER_BYTES, link }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(SEGMENT_MAGIC);
        out.extend_from_slice(&SEGMENT_FORMAT.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.store_id);
        out.extend_from_slice(&self.salt);
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.epoch.to_le_bytes());
        out.extend_from_slice(&crc32fast::hash(&out).to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        debug_assert_eq!(out.len() as u64, SEGMENT_HEADER_BYTES);
        out
    }

    /// Reads the header at the beginning of `bytes`.
    ///
    /// Errors: [`Error::Corruption`], or [`Error::UnsupportedFormat`] for an intact header of
    /// a later format.
    pub(crate) fn decode(bytes: &[u8], file: &Path) -> Result<Self> {
        let bad = |offset: u64, expected: &str, found: String| {
            Error::corruption(file, offset, expected, found)
        };
        let Some(bytes) = bytes.get(..HEADER_LEN) else {
            sometimes!("segment/header-cut-short");
            let found = format!("a file of {} bytes", bytes.len());
            return Err(bad(0, "a log file, which begins with a header of 72 bytes", found));
        };
        let (covered, rest) = bytes.split_at(CHECKSUM_AT);
        let mut reader = Reader::new(covered);
        let malformed = |m: crate::codec::Malformed| bad(0, m.expected, m.found);
        let magic: [u8; 8] = reader.array("a magic number").map_err(malformed)?;
        if &magic != SEGMENT_MAGIC {
            sometimes!("segment/bad-magic");
            let found = format!("a file that begins with the bytes {}", hex(&magic));
            return Err(bad(0, "a log file, which begins with \"RUNSTLOG\"", found));
        }
        let computed = crc32fast::hash(covered);
        let mut rest = Reader::new(rest);
        let stored = rest.u32("a checksum").map_err(malformed)?;
        let tail = rest.u32("zeros").map_err(malformed)?;
        if stored != computed {
            sometimes!("segment/bad-checksum");
            return Err(bad(
                CHECKSUM_AT as u64,
                "the header of a log file as it was written",
                format!("changed bytes before this offset ({})", checksums(stored, computed)),
            ));
        }
        let format = reader.u32("a format").map_err(malformed)?;
        if format > SEGMENT_FORMAT {
            sometimes!("segment/later-format");
            return Err(Error::UnsupportedFormat {
                file: file.to_owned(),
                found: format,
                supported: SEGMENT_FORMAT,
            });
        }
        let reserved = reader.u32("zeros").map_err(malformed)?;
        if format != SEGMENT_FORMAT {
            return Err(bad(8, "a log file of format 1", format!("format {format}")));
        }
        if reserved != 0 {
            return Err(bad(12, "zeros in the header of a log file", "other bytes".to_owned()));
        }
        if tail != 0 {
            let found = "other bytes".to_owned();
            return Err(bad(TAIL_AT as u64, "zeros at the end of a log file's header", found));
        }
        Ok(SegmentHeader {
            store_id: reader.array("a store id").map_err(malformed)?,
            salt: reader.array("a salt").map_err(malformed)?,
            number: reader.u64("a number").map_err(malformed)?,
            epoch: reader.u64("an epoch").map_err(malformed)?,
        })
    }
}

/// Bytes as an error message shows them.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        SegmentHeader { store_id: [1; 16], salt: [2; 16], number: 3, epoch: 4 }
    }

    #[test]
    fn a_segment_header_reads_back() {
        let read = SegmentHeader::decode(&header().encode(), Path::new("f")).unwrap();
        assert_eq!(read, header());
    }

    #[test]
    fn any_flipped_bit_of_a_segment_header_is_an_error() {
        let bytes = header().encode();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::decode(&flipped, Path::new("f")).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_segment_header_cut_anywhere_is_an_error() {
        let bytes = header().encode();
        for cut in 0..bytes.len() {
            assert!(SegmentHeader::decode(&bytes[..cut], Path::new("f")).is_err());
        }
    }

    #[test]
    fn an_intact_header_of_a_later_format_is_unsupported_not_corrupt() {
        let mut bytes = header().encode();
        bytes[8] = 2;
        let checksum = crc32fast::hash(&bytes[..64]).to_le_bytes();
        bytes[64..68].copy_from_slice(&checksum);
        assert!(matches!(
            SegmentHeader::decode(&bytes, Path::new("f")),
            Err(Error::UnsupportedFormat { found: 2, supported: 1, .. })
        ));
    }
}
