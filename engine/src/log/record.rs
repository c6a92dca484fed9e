//! One record of the log.
//!
//! ```text
//! offset  bytes  field
//!      0      4  checksum: CRC-32 over everything below, padding included, seeded with the
//!                segment's seal (store id, salt) and the record's own file offset
//!      4      4  payload length n
//!      8      8  version: of this commit; of the last one before, in the other kinds
//!     16      8  engine time, ms
//!     24      4  synced offset: this file was synced up to here, with Ok, before this
//!                record was written
//!     28      4  link: the checksum of the record before this one in the segment, and in the
//!                first one that of the header
//!     32      1  kind: 1 commit, 2 watermark, 3 clock floor, 4 padding
//!     33      n  payload: changes (codec/change.rs) in a commit, zeros in padding, else none
//!   33+n   0..7  zeros, up to a multiple of 8
//! ```
//! Integers are little-endian. Records begin on multiples of 8.
//!
//! A record at offset `o` is **intact** if and only if (1) its kind is known, (2) it ends
//! inside the segment, (3) its synced offset is at most `o`, (4) its padding is zero, and
//! (5) the checksum matches. The checksum is not chained to the record before, so that a
//! record behind damage can be judged; offset and seal in it keep stale records, misdirected
//! writes, and log bytes stored as a value from passing.
//!
//! An intact record **follows** another if its link is the other's checksum. A disk that says Ok
//! to a sync and keeps nothing may show, where records were overwritten, the older ones, which are
//! intact; but what was written behind the newer ones does not follow them. So the log is what
//! follows from the header on, and the manifest names the link of what it attests; see
//! `docs/decisions/0013-records-are-linked.md`.
//!
//! No segment reaches 4 GiB: it ends with the record that passes `segment_bytes`, which is at most
//! 1 GiB, and no record is longer.

use crate::seal::{Seal, checksums};

/// Bytes before the payload.
pub(crate) const RECORD_HEAD_BYTES: usize = 33;
/// Records begin on multiples of this.
pub(crate) const RECORD_ALIGN: u64 = ALIGN as u64;
const ALIGN: usize = 8;
/// The length of a record without payload.
pub(crate) const RECORD_BYTES_MIN: u64 = record_bytes(0);

const _: () = assert!(RECORD_BYTES_MIN == 40);

/// The length on disk of a record with a payload of `n` bytes.
pub(crate) const fn record_bytes(payload: u64) -> u64 {
    (RECORD_HEAD_BYTES as u64 + payload).next_multiple_of(RECORD_ALIGN)
}

/// What a record is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordKind {
    /// The changes of one commit.
    Commit,
    /// Attests that everything before it was synced; written by an idle log.
    Watermark,
    /// Attests the engine's time, so that what has expired stays gone.
    ClockFloor,
    /// Fills a sector.
    Padding,
}

impl RecordKind {
    pub(crate) const fn to_byte(self) -> u8 {
        match self {
            RecordKind::Commit => 1,
            RecordKind::Watermark => 2,
            RecordKind::ClockFloor => 3,
            RecordKind::Padding => 4,
        }
    }

    pub(crate) const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(RecordKind::Commit),
            2 => Some(RecordKind::Watermark),
            3 => Some(RecordKind::ClockFloor),
            4 => Some(RecordKind::Padding),
            _ => None,
        }
    }
}

/// What a record says, beside its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHead {
    pub(crate) kind: RecordKind,
    pub(crate) version: u64,
    pub(crate) time_ms: u64,
    pub(crate) synced: u64,
}

/// Where records end, in a file or a buffer: the next one stands there, and follows the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct End {
    /// The file offset.
    pub(crate) at: u64,
    /// The checksum of the last record; where there is none yet, that of the segment's header.
    pub(crate) link: u32,
}

/// A record's fields as they stand on disk, believed only so far that its length is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawHead {
    pub(crate) checksum: u32,
    /// The checksum of the record that it follows.
    pub(crate) link: u32,
    pub(crate) head: RecordHead,
    pub(crate) total_bytes: u64,
}

/// Why bytes are not an intact record: what stands in its place, for an error's message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotIntact {
    pub(crate) found: String,
}

impl NotIntact {
    pub(crate) fn new(found: impl ToString) -> Self {
        NotIntact { found: found.to_string() }
    }
}

fn le_u32(bytes: &[u8], at: usize) -> u32 {
    let mut array = [0; 4];
    if let Some(from) = bytes.get(at..at + 4) {
        array.copy_from_slice(from);
    }
    u32::from_le_bytes(array)
}

fn le_u64(bytes: &[u8], at: usize) -> u64 {
    let mut array = [0; 8];
    if let Some(from) = bytes.get(at..at + 8) {
        array.copy_from_slice(from);
    }
    u64::from_le_bytes(array)
}

/// Reads the fields of the record at `offset` of a segment that ends at `segment_end`, as far
/// as they can be judged without the checksum. `bytes` holds at least the head.
pub(crate) fn parse_head(
    bytes: &[u8],
    offset: u64,
    segment_end: u64,
) -> Result<RawHead, NotIntact> {
    let room = segment_end.saturating_sub(offset);
    if room < RECORD_BYTES_MIN {
        return Err(NotIntact::new(format!("only {room} bytes, too few for one")));
    }
    // The last byte of the head: the fields before it are there if it is.
    let Some(&kind_byte) = bytes.get(RECORD_HEAD_BYTES - 1) else {
        return Err(NotIntact::new(format!("only {} bytes, too few for one", bytes.len())));
    };
    let Some(kind) = RecordKind::from_byte(kind_byte) else {
        let is_zero = bytes.iter().all(|byte| *byte == 0);
        return Err(NotIntact::new(match is_zero {
            true => "zeros, as where nothing was ever written".to_owned(),
            false => format!("a record of the unknown kind {kind_byte}"),
        }));
    };
    let total_bytes = record_bytes(u64::from(le_u32(bytes, 4)));
    if total_bytes > room {
        return Err(NotIntact::new(format!(
            "a record of {total_bytes} bytes where the file has only {room} left"
        )));
    }
    let synced = u64::from(le_u32(bytes, 24));
    if synced > offset {
        return Err(NotIntact::new(format!(
            "a damaged record: it claims that {synced} bytes were synced before it, and begins at {offset}"
        )));
    }
    let head = RecordHead { kind, version: le_u64(bytes, 8), time_ms: le_u64(bytes, 16), synced };
    let (checksum, link) = (le_u32(bytes, 0), le_u32(bytes, 28));
    Ok(RawHead { checksum, link, head, total_bytes })
}

impl Seal {
    /// Appends a record that will stand at `end`, and follows what ends there; `payload` appends
    /// the payload's bytes. Returns where the record ends.
    pub(crate) fn append(
        self,
        out: &mut Vec<u8>,
        end: End,
        head: RecordHead,
        payload: impl FnOnce(&mut Vec<u8>),
    ) -> End {
        debug_assert!(end.at.is_multiple_of(RECORD_ALIGN) && head.synced <= end.at);
        let start = out.len();
        let mut fixed = [0u8; RECORD_HEAD_BYTES];
        fixed[8..16].copy_from_slice(&head.version.to_le_bytes());
        fixed[16..24].copy_from_slice(&head.time_ms.to_le_bytes());
        // Of a longer segment less would be attested than could be, which is true as well.
        let synced = u32::try_from(head.synced).unwrap_or(u32::MAX);
        fixed[24..28].copy_from_slice(&synced.to_le_bytes());
        fixed[28..32].copy_from_slice(&end.link.to_le_bytes());
        fixed[32] = head.kind.to_byte();
        out.extend_from_slice(&fixed);
        payload(out);
        let payload_bytes = out.len() - start - RECORD_HEAD_BYTES;
        debug_assert!((payload_bytes as u64) < crate::options::RECORD_BYTES_MAX);
        out.resize(out.len().next_multiple_of_from(start), 0);
        // The limits keep a payload far below 4 GiB.
        let length = u32::try_from(payload_bytes).unwrap_or(u32::MAX).to_le_bytes();
        if let Some(field) = out.get_mut(start + 4..start + 8) {
            field.copy_from_slice(&length);
        }
        let checksum = self.checksum(end.at, out.get(start + 4..).unwrap_or_default());
        if let Some(field) = out.get_mut(start..start + 4) {
            field.copy_from_slice(&checksum.to_le_bytes());
        }
        End { at: end.at + (out.len() - start) as u64, link: checksum }
    }

    /// Judges a whole record (`raw.total_bytes` long) at `offset`; returns its payload.
    pub(crate) fn open<'a>(
        self,
        raw: &RawHead,
        bytes: &'a [u8],
        offset: u64,
    ) -> Result<&'a [u8], NotIntact> {
        debug_assert_eq!(bytes.len() as u64, raw.total_bytes);
        let covered = bytes.get(4..).unwrap_or_default();
        let checksum = self.checksum(offset, covered);
        planted!(MisdirectedRecordAccepted => if self.moved(bytes, offset) { return body(bytes) });
        if checksum != raw.checksum && !planted!(ChecksumNotChecked) {
            return Err(NotIntact::new(format!(
                "a record whose bytes changed after they were written ({})",
                checksums(raw.checksum, checksum)
            )));
        }
        body(bytes)
    }
}

/// The payload of a whole record, if zeros follow it.
fn body(bytes: &[u8]) -> Result<&[u8], NotIntact> {
    let payload_end = RECORD_HEAD_BYTES + le_u32(bytes, 4) as usize;
    let (whole, padding) = bytes.split_at_checked(payload_end).unwrap_or((bytes, &[]));
    if padding.iter().any(|byte| *byte != 0) {
        return Err(NotIntact::new("a record with other bytes than zeros behind its content"));
    }
    Ok(whole.get(RECORD_HEAD_BYTES..).unwrap_or_default())
}

trait NextMultipleFrom {
    fn next_multiple_of_from(self, start: Self) -> Self;
}

impl NextMultipleFrom for usize {
    /// The length at which the record that began at `start` ends, padded.
    fn next_multiple_of_from(self, start: usize) -> usize {
        start + (self - start).next_multiple_of(ALIGN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFSET: u64 = 4096;

    fn seal() -> Seal {
        Seal::new(&[1; 16], &[2; 16])
    }

    fn sample(payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let head =
            RecordHead { kind: RecordKind::Commit, version: 7, time_ms: 8, synced: OFFSET - 8 };
        let end = End { at: OFFSET, link: 9 };
        let end = seal().append(&mut out, end, head, |out| out.extend_from_slice(payload));
        assert_eq!(end.at, OFFSET + out.len() as u64);
        assert_eq!(end.link, le_u32(&out, 0));
        out
    }

    fn judge(bytes: &[u8], offset: u64, seal: Seal) -> Result<(RecordHead, Vec<u8>), NotIntact> {
        let raw = parse_head(bytes, offset, offset + bytes.len() as u64)?;
        let whole = &bytes[..usize::try_from(raw.total_bytes).unwrap()];
        seal.open(&raw, whole, offset).map(|payload| (raw.head, payload.to_vec()))
    }

    #[test]
    fn records_of_every_length_around_the_alignment_read_back() {
        for n in 0..40 {
            let payload = vec![0xa5; n];
            let bytes = sample(&payload);
            assert!(bytes.len().is_multiple_of(8));
            let (head, read) = judge(&bytes, OFFSET, seal()).unwrap();
            assert_eq!((head.version, head.time_ms, head.synced), (7, 8, OFFSET - 8));
            assert_eq!(read, payload);
        }
    }

    #[test]
    fn t19_any_single_flipped_bit_makes_a_record_not_intact() {
        for n in [0, 1, 7, 8, 30] {
            let bytes = sample(&vec![3; n]);
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(judge(&flipped, OFFSET, seal()).is_err(), "payload {n}, bit {bit}");
            }
        }
    }

    #[test]
    fn t19_a_record_cut_anywhere_is_not_intact() {
        let bytes = sample(b"some payload");
        for cut in 0..bytes.len() {
            assert!(judge(&bytes[..cut], OFFSET, seal()).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_head_is_judged_from_its_own_bytes_and_from_no_fewer() {
        let bytes = sample(b"some payload");
        let end = OFFSET + bytes.len() as u64;
        for n in 0..=RECORD_HEAD_BYTES {
            let outcome = parse_head(&bytes[..n], OFFSET, end);
            assert_eq!(outcome.is_ok(), n == RECORD_HEAD_BYTES, "{n} bytes");
        }
    }

    #[test]
    fn a_record_is_not_intact_at_another_offset_or_in_another_segment_or_store() {
        let bytes = sample(b"payload");
        assert!(judge(&bytes, OFFSET, seal()).is_ok());
        assert!(judge(&bytes, OFFSET + 8, seal()).is_err());
        assert!(judge(&bytes, OFFSET, Seal::new(&[1; 16], &[3; 16])).is_err());
        assert!(judge(&bytes, OFFSET, Seal::new(&[9; 16], &[2; 16])).is_err());
    }

    #[test]
    fn a_forged_length_is_never_believed() {
        for length in [0u32, 1, 1 << 20, u32::MAX] {
            let mut bytes = sample(b"payload");
            bytes[4..8].copy_from_slice(&length.to_le_bytes());
            assert!(judge(&bytes, OFFSET, seal()).is_err(), "length {length}");
        }
    }

    #[test]
    fn filler_of_zeros_or_ones_is_not_intact() {
        assert!(judge(&[0; 64], OFFSET, seal()).is_err());
        assert!(judge(&[0xff; 64], OFFSET, seal()).is_err());
    }

    #[test]
    fn padding_that_is_not_zero_is_not_intact_though_the_checksum_matches() {
        let mut bytes = sample(b"payload!");
        *bytes.last_mut().unwrap() = 1;
        let checksum = seal().checksum(OFFSET, &bytes[4..]);
        bytes[..4].copy_from_slice(&checksum.to_le_bytes());
        let found = judge(&bytes, OFFSET, seal()).unwrap_err().found;
        assert!(found.contains("other bytes than zeros"), "{found}");
    }
}
