//! How every part of a table is framed: by a byte that says how it was compressed, and a checksum.
//!
//! ```text
//! offset  bytes  field
//!      0      n  the part
//!      n      1  compression: 0 none
//!    n+1      4  CRC-32 over part and compression, seeded with the table's seal (store id, salt)
//!                and the part's own file offset
//! ```
//! The length n is known from whatever names the part.

use crate::codec::Malformed;
use crate::seal::{Seal, checksums};

/// What a part is longer by on disk.
pub(super) const FRAME_BYTES: usize = 5;
const UNCOMPRESSED: u8 = 0;

/// Frames what stands in `out` from `start` on, which will stand at `offset` of the file.
pub(super) fn close(out: &mut Vec<u8>, start: usize, seal: Seal, offset: u64) {
    out.push(UNCOMPRESSED);
    let checksum = seal.checksum(offset, out.get(start..).unwrap_or_default());
    out.extend_from_slice(&checksum.to_le_bytes());
}

/// The part in its frame.
pub(super) fn open(framed: &[u8], seal: Seal, offset: u64) -> Result<&[u8], Malformed> {
    let Some((covered, stored)) = framed.split_last_chunk::<4>() else {
        return Err(Malformed::new("a part of a table", "fewer bytes than its frame has"));
    };
    let (stored, computed) = (u32::from_le_bytes(*stored), seal.checksum(offset, covered));
    if stored != computed && !planted!(BlockNotChecked) {
        return Err(Malformed::new(
            "a part of a table as it was written",
            format!("one whose bytes changed since ({})", checksums(stored, computed)),
        ));
    }
    match covered.split_last() {
        Some((&UNCOMPRESSED, part)) => Ok(part),
        Some((other, _)) => Err(Malformed::new("a compression that is known", other)),
        None => Err(Malformed::new("a part of a table", "nothing")),
    }
}
