//! How every part of a table is framed: by a byte that says how it was compressed, and a checksum.
//!
//! ```text
//! offset  bytes  field
//!      0      n  the part, as it is or compressed
//!      n      1  compression: 0 none, 1 LZ4 (its block format, without a frame of its own)
//!    n+1      4  CRC-32 over all before, seeded with the table's seal (store id, salt) and the
//!                part's own file offset
//! ```
//! The length n is known from whatever names the part, and so is the length of a compressed part
//! before that (*raw*; 0 if it is not compressed): blocks only, by the index.
//!
//! Invariants: nothing is decompressed before the checksum has matched, nor into more than
//! [`RAW_BYTES_MAX`]; what does not fill its raw length, and no more, is refused.

use lz4_flex::block::{compress_into, decompress_into, get_maximum_output_size};

use crate::codec::Malformed;
use crate::seal::{Seal, checksums};

/// What a part is longer by on disk.
pub(super) const FRAME_BYTES: usize = 5;
/// No longer part is compressed.
pub(super) const RAW_BYTES_MAX: usize = 64 << 10;
const UNCOMPRESSED: u8 = 0;
const LZ4: u8 = 1;

/// Compresses what stands in `out` from `start` on, if that saves an eighth of it. Returns how long
/// it was, or 0 if it stands as it was. `room` is a place to work.
pub(super) fn compress(out: &mut Vec<u8>, start: usize, room: &mut Vec<u8>) -> u32 {
    let part = out.get(start..).unwrap_or_default();
    let raw = part.len();
    if raw > RAW_BYTES_MAX {
        return 0;
    }
    room.resize(get_maximum_output_size(raw), 0);
    let length = compress_into(part, room).unwrap_or(usize::MAX);
    match room.get(..length) {
        Some(compressed) if length <= raw - raw.div_ceil(8) => {
            out.truncate(start);
            out.extend_from_slice(compressed);
            u32::try_from(raw).unwrap_or(0)
        }
        _ => 0,
    }
}

/// Frames what stands in `out` from `start` on, which will stand at `offset` of the file.
pub(super) fn close(out: &mut Vec<u8>, start: usize, seal: Seal, offset: u64, raw: u32) {
    out.push(if raw == 0 { UNCOMPRESSED } else { LZ4 });
    let checksum = seal.checksum(offset, out.get(start..).unwrap_or_default());
    out.extend_from_slice(&checksum.to_le_bytes());
}

/// The part in its frame, as it was before it was compressed.
pub(super) fn open(
    mut framed: Vec<u8>,
    seal: Seal,
    offset: u64,
    raw: usize,
) -> Result<Vec<u8>, Malformed> {
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
        Some((&UNCOMPRESSED, part)) if raw == 0 => {
            let length = part.len();
            framed.truncate(length);
            Ok(framed)
        }
        Some((&LZ4, part)) if raw > 0 => decompress(part, raw),
        Some((other, _)) => {
            let found = format!("{other}, for {raw} bytes");
            Err(Malformed::new("a compression that is known, as the index says", found))
        }
        None => Err(Malformed::new("a part of a table", "nothing")),
    }
}

fn decompress(part: &[u8], raw: usize) -> Result<Vec<u8>, Malformed> {
    let bad = |found: String| Malformed::new("a block, compressed", format!("{found}, not {raw}"));
    if raw > RAW_BYTES_MAX {
        return Err(bad(format!("at most {RAW_BYTES_MAX} bytes")));
    }
    let mut bytes = vec![0; raw];
    match decompress_into(part, &mut bytes) {
        Ok(length) if length == raw => Ok(bytes),
        Ok(length) => Err(bad(format!("{length} bytes"))),
        Err(error) => Err(bad(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SEAL: ([u8; 16], [u8; 16]) = ([7; 16], [9; 16]);

    fn seal() -> Seal {
        Seal::new(&SEAL.0, &SEAL.1)
    }

    proptest! {
        #[test]
        fn what_is_compressed_is_the_same_again_and_an_eighth_shorter(
            words in prop::collection::vec(0..40u8, 0..400),
            spread in 1..40u8,
            before in prop::collection::vec(any::<u8>(), 0..10),
        ) {
            let part: Vec<u8> = words.iter().flat_map(|word| [word % spread; 7]).collect();
            let (mut out, mut room) = (before.clone(), vec![1; 3]);
            out.extend_from_slice(&part);
            let raw = compress(&mut out, before.len(), &mut room);
            if raw > 0 {
                prop_assert!((out.len() - before.len()) * 8 <= part.len() * 7);
            }
            close(&mut out, before.len(), seal(), 77, raw);
            let framed = out.split_off(before.len());
            prop_assert_eq!(&out, &before);
            prop_assert_eq!(open(framed.clone(), seal(), 77, raw as usize).unwrap(), part);
            for other in [0, 1, raw as usize + 1, RAW_BYTES_MAX, usize::MAX] {
                let opened = open(framed.clone(), seal(), 77, other);
                prop_assert!(other == raw as usize || opened.is_err());
            }
        }

        /// With a checksum that is right: so far nothing else gets.
        #[test]
        fn no_bytes_harm_what_decompresses_them(
            mut part in prop::collection::vec(any::<u8>(), 0..300),
            raw in prop_oneof![
                0..2000usize,
                Just(RAW_BYTES_MAX),
                Just(RAW_BYTES_MAX + 1),
                any::<usize>(),
            ],
            compression in 0..4u8,
        ) {
            part.push(compression);
            let checksum = seal().checksum(5, &part);
            part.extend_from_slice(&checksum.to_le_bytes());
            if let Ok(bytes) = open(part, seal(), 5, raw) {
                prop_assert!(raw == 0 || bytes.len() == raw);
            }
        }
    }

    /// Bytes put together by hand from the description of LZ4's block format: four literals, a
    /// match of sixty bytes four back, and five literals.
    #[test]
    fn the_format_is_the_one_that_is_described() {
        let mut part = b"\x4fabcd\x04\x00\x29\x50abcde".to_vec();
        let expected = [&b"abcd".repeat(16)[..], b"abcde"].concat();
        part.push(LZ4);
        let checksum = seal().checksum(0, &part);
        part.extend_from_slice(&checksum.to_le_bytes());
        assert_eq!(open(part, seal(), 0, expected.len()).unwrap(), expected);
    }
}
