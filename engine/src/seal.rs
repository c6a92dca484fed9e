//! The seed of the checksums in a file: whose bytes they are, and where.
//!
//! A checksum over bytes alone says that they are what somebody wrote, not that they are what
//! belongs here. Seeded with the store's id, a salt that each file draws anew, and the offset, it
//! keeps bytes of another store, of an earlier life of the file and of another place from passing.

use crc32fast::Hasher;

/// The seed of a file's checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seal(u32);

impl Seal {
    pub(crate) fn new(store_id: &[u8; 16], salt: &[u8; 16]) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(store_id);
        hasher.update(salt);
        Seal(hasher.finalize())
    }

    /// The checksum of bytes that stand at `offset`.
    pub(crate) fn checksum(self, offset: u64, covered: &[u8]) -> u32 {
        let mut hasher = Hasher::new_with_initial(self.0);
        hasher.update(&offset.to_le_bytes());
        hasher.update(covered);
        hasher.finalize()
    }
}

/// How a message names two checksums that should be one.
pub(crate) fn checksums(stored: u32, computed: u32) -> String {
    format!("their checksum is {computed:08x}, and {stored:08x} was stored with them")
}
