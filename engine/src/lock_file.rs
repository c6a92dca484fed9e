//! The lock file: held while the store is open, and the first file of a store.
//!
//! ```text
//! offset  bytes  field
//!      0      8  magic "RUNSTLCK"
//!      8      4  format, 1
//!     12      4  zeros
//!     16     16  store id
//!     32      4  CRC-32 over everything above
//!     36      4  zeros
//! ```
//! Integers are little-endian.
//!
//! It tells the id of a store whose creation was cut short, before there is a manifest: what that
//! has left bears the id, and is removed by the next one. A store with a manifest needs none of it.
//! It is written through the handle that holds the lock, and never replaced.

use runstone_vfs::{VfsFile, read_full_at, write_all_at};

use crate::names::StoreId;

/// The first bytes of every lock file.
pub(crate) const LOCK_MAGIC: &[u8; 8] = b"RUNSTLCK";
/// The newest format.
pub(crate) const LOCK_FORMAT: u32 = 1;
const LOCK_BYTES: usize = 40;
const CHECKSUM_AT: usize = 32;

/// The bytes of the lock file of a store.
pub(crate) fn encode(id: &StoreId) -> Vec<u8> {
    let mut out = Vec::with_capacity(LOCK_BYTES);
    out.extend_from_slice(LOCK_MAGIC);
    out.extend_from_slice(&LOCK_FORMAT.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(id);
    out.extend_from_slice(&crc32fast::hash(&out).to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    debug_assert_eq!(out.len(), LOCK_BYTES);
    out
}

/// The id that a lock file tells; `None` if it tells none.
pub(crate) fn decode(bytes: &[u8]) -> Option<StoreId> {
    let id: StoreId = bytes.get(16..CHECKSUM_AT)?.try_into().ok()?;
    (bytes == encode(&id)).then_some(id)
}

/// Reads the id through the handle that holds the lock.
///
/// Errors: the device's.
pub(crate) fn read(file: &dyn VfsFile) -> std::io::Result<Option<StoreId>> {
    let mut bytes = [0; LOCK_BYTES];
    let read = read_full_at(file, &mut bytes, 0)?;
    Ok(decode(bytes.get(..read).unwrap_or_default()))
}

/// Whether the file is not a lock file, nor what a crash leaves of one that is made: another
/// program has a file of this name, or somebody has written into it.
///
/// Errors: the device's.
pub(crate) fn is_foreign(file: &dyn VfsFile) -> std::io::Result<bool> {
    let mut bytes = [0; LOCK_BYTES + 1];
    let read = read_full_at(file, &mut bytes, 0)?;
    let found = bytes.get(..read).unwrap_or_default();
    let is_text = |byte: &u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
    let is_begun = found.starts_with(LOCK_MAGIC) || LOCK_MAGIC.starts_with(found);
    Ok(!is_begun && (found.len() > LOCK_BYTES || found.iter().all(is_text)))
}

/// Writes the id through the handle that holds the lock, durably as soon as its name is.
///
/// Errors: the device's; a full disk.
pub(crate) fn write(file: &dyn VfsFile, id: &StoreId) -> std::io::Result<()> {
    write_all_at(file, &encode(id), 0)?;
    planted!(LockFileNotSynced => return Ok(()));
    file.sync()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use runstone_vfs::{MemVfs, Vfs};

    use super::*;

    #[test]
    fn text_and_long_files_are_foreign_and_what_a_crash_leaves_is_not() {
        let foreign = |content: &[u8]| {
            let file = MemVfs::new().create(Path::new("f")).unwrap();
            write_all_at(&*file, content, 0).unwrap();
            is_foreign(&*file).unwrap()
        };
        let whole = encode(&[7; 16]);
        for cut in 0..=whole.len() {
            assert!(!foreign(&whole[..cut]), "cut at {cut}");
        }
        assert!(!foreign(&[0; 40]) && !foreign(&[0xA7; 40]));
        assert!(foreign(b"4711\n") && foreign(b"{\"pid\": 4711}"));
        assert!(foreign(&[0xA7; 41]) && foreign(&[0; 41]));
    }

    #[test]
    fn a_lock_file_tells_its_id_and_any_flipped_bit_or_cut_of_it_none() {
        let id = [7; 16];
        let bytes = encode(&id);
        assert_eq!(decode(&bytes), Some(id));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&flipped), None, "bit {bit}");
        }
        for cut in 0..bytes.len() {
            assert_eq!(decode(&bytes[..cut]), None, "cut at {cut}");
        }
    }
}
