//! The record of one edit.
//!
//! ```text
//! offset  bytes  field
//!      0      4  checksum: CRC-32 over everything below, padding included, seeded with the
//!                store's id, the salt below, and the record's own file offset
//!      4      4  length n of the edit
//!      8     16  salt, that of the snapshot which it follows
//!     24      8  sequence: 1 for the first behind a snapshot, then one more for each
//!     32      4  link: the checksum of the record before; of the snapshot, in the first
//!     36      4  kind: 1, an edit
//!     40      n  the edit (edit.rs)
//!   40+n         zeros, up to a multiple of 512
//! ```
//! Integers are little-endian. Records begin on multiples of 512, one behind the other: a write of
//! one touches no sector of another, nor of the snapshot.
//!
//! A record is **intact** if its kind is known, it ends inside the file, its padding is zero, and
//! its checksum matches. It **follows** if salt, sequence and link are those that are due. The salt
//! stands in the record, so that one of another life of the file is told from bytes that mean
//! nothing.

use crate::codec::{Malformed, Reader};
use crate::log::record::NotIntact;
use crate::names::StoreId;
use crate::seal::{Seal, checksums};

/// Records begin on multiples of this.
pub(crate) const EDIT_ALIGN: u64 = ALIGN as u64;
const ALIGN: usize = 512;
/// Bytes before the edit.
const HEAD_BYTES: usize = 40;
const KIND_EDIT: u32 = 1;
/// What all files of a store begin with.
const MAGICS_BEGIN: &[u8] = b"RUNST";

/// Where the next edit stands, and what it follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// The file offset.
    pub(crate) at: u64,
    /// Of the snapshot of this file.
    pub(crate) salt: [u8; 16],
    pub(crate) sequence: u64,
    /// The checksum of what stands before.
    pub(crate) link: u32,
}

impl Position {
    /// Behind a snapshot of so many bytes.
    pub(super) fn behind(bytes: u64, checksum: u32, salt: [u8; 16]) -> Self {
        Position { at: bytes.next_multiple_of(EDIT_ALIGN), salt, sequence: 1, link: checksum }
    }
}

/// A record that is intact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Intact<'a> {
    pub(super) salt: [u8; 16],
    pub(super) sequence: u64,
    pub(super) link: u32,
    pub(super) checksum: u32,
    pub(super) edit: &'a [u8],
    /// With its padding.
    pub(super) total_bytes: u64,
}

/// The record of an edit that will stand at a position, and where the next one will.
pub(super) fn encode(store_id: &StoreId, at: &Position, edit: &[u8]) -> (Vec<u8>, Position) {
    let mut out = Vec::with_capacity((HEAD_BYTES + edit.len()).next_multiple_of(ALIGN));
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&u32::try_from(edit.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(&at.salt);
    out.extend_from_slice(&at.sequence.to_le_bytes());
    out.extend_from_slice(&at.link.to_le_bytes());
    out.extend_from_slice(&KIND_EDIT.to_le_bytes());
    out.extend_from_slice(edit);
    out.resize(out.len().next_multiple_of(ALIGN), 0);
    let seal = Seal::new(store_id, &at.salt);
    let checksum = seal.checksum(at.at, out.get(4..).unwrap_or_default());
    if let Some(field) = out.first_chunk_mut() {
        *field = checksum.to_le_bytes();
    }
    let next =
        Position { at: at.at + out.len() as u64, sequence: at.sequence + 1, link: checksum, ..*at };
    (out, next)
}

/// How long the record at an offset says that it is; `None` if none can stand there.
pub(super) fn told_bytes(bytes: &[u8], at: usize) -> Option<usize> {
    let head = bytes.get(at..)?.first_chunk::<HEAD_BYTES>()?;
    let [.., k0, k1, k2, k3] = *head;
    let [_, _, _, _, l0, l1, l2, l3, ..] = *head;
    let length = HEAD_BYTES.checked_add(u32::from_le_bytes([l0, l1, l2, l3]) as usize)?;
    let total = length.checked_next_multiple_of(ALIGN)?;
    let is_edit = u32::from_le_bytes([k0, k1, k2, k3]) == KIND_EDIT;
    (is_edit && total <= bytes.len() - at).then_some(total)
}

/// Whether what stands at an offset is the beginning of a file of a store: no write of an edit
/// leaves that, cut short or not.
pub(super) fn begins_a_file(bytes: &[u8], at: usize) -> bool {
    bytes.get(at..).is_some_and(|rest| rest.starts_with(MAGICS_BEGIN))
}

/// Whether bytes begin as the edit does that is due at a position.
pub(super) fn is_due(bytes: &[u8], at: &Position) -> bool {
    let (due, _) = encode(&StoreId::default(), at, &[]);
    // Whatever its checksum and its length are.
    bytes.get(8..HEAD_BYTES).is_some_and(|found| due.get(8..HEAD_BYTES) == Some(found))
}

/// Whether the record at an offset is one of this salt that was written at another.
pub(super) fn was_written_at(
    store_id: &StoreId,
    salt: &[u8; 16],
    bytes: &[u8],
    at: usize,
    place: usize,
) -> bool {
    let record = told_bytes(bytes, at).and_then(|total| bytes.get(at..at + total));
    let Some((stored, covered)) = record.and_then(|record| record.split_first_chunk()) else {
        return false;
    };
    let is_of_this = covered.get(4..20) == Some(salt);
    is_of_this
        && u32::from_le_bytes(*stored) == Seal::new(store_id, salt).checksum(place as u64, covered)
}

/// Judges the record at an offset of a whole file.
///
/// Error: what stands there instead.
pub(super) fn decode<'a>(
    store_id: &StoreId,
    bytes: &'a [u8],
    at: usize,
) -> Result<Intact<'a>, NotIntact> {
    let Some(total) = told_bytes(bytes, at) else {
        let behind = bytes.get(at..).unwrap_or_default();
        return Err(NotIntact::new(match behind.iter().take(HEAD_BYTES).all(|byte| *byte == 0) {
            true => "zeros, or the end of the file",
            false => "bytes that are no edit",
        }));
    };
    let record = bytes.get(at..at + total).unwrap_or_default();
    let mut reader = Reader::new(record);
    let malformed = |m: Malformed| NotIntact::new(m.found);
    let stored = reader.u32("a checksum").map_err(malformed)?;
    let length = reader.u32("a length").map_err(malformed)? as usize;
    let salt: [u8; 16] = reader.array("a salt").map_err(malformed)?;
    let sequence = reader.u64("a sequence").map_err(malformed)?;
    let link = reader.u32("a link").map_err(malformed)?;
    let _kind = reader.u32("a kind").map_err(malformed)?;
    let edit = reader.take(length, "an edit").map_err(malformed)?;
    let covered = record.get(4..).unwrap_or_default();
    let computed = Seal::new(store_id, &salt).checksum(at as u64, covered);
    if stored != computed {
        return Err(NotIntact::new(format!(
            "an edit whose bytes changed after they were written ({})",
            checksums(stored, computed)
        )));
    }
    if reader.rest().iter().any(|byte| *byte != 0) {
        return Err(NotIntact::new("an edit with other bytes than zeros behind its content"));
    }
    let total_bytes = total as u64;
    Ok(Intact { salt, sequence, link, checksum: stored, edit, total_bytes })
}
