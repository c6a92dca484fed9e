//! The manifest: which segments count, and how far.
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
//!                 then for each segment, in the log's order:
//!                  8  number
//!                 16  salt
//!                  8  attested length: synced, with Ok, before this manifest was written
//!                  4  1 if records may follow behind the attested length, else 0
//!                  4  zeros
//! ```
//! Integers are little-endian.
//!
//! Invariants: a segment counts if and only if the manifest names it, and the manifest names
//! only files whose content and name had been synced, each with Ok, before. Numbers ascend.
//! Only the last segment may be open. The file is replaced whole: a temporary file is written
//! and synced, renamed over it, and the directory synced.

use std::path::{Path, PathBuf};

use runstone_vfs::{Access, Vfs, read_full_at, write_all_at};

use crate::codec::{Malformed, Reader};
use crate::error::{Error, Result};
use crate::log::record::checksums;
use crate::log::segment::{SEGMENT_HEADER_BYTES, hex};
use crate::names::OwnName;

/// The first bytes of every manifest.
pub(crate) const MANIFEST_MAGIC: &[u8; 8] = b"RUNSTMAN";
/// The newest manifest format.
pub(crate) const MANIFEST_FORMAT: u32 = 1;
const FRAME_BYTES: usize = 24;
const BODY_HEAD_BYTES: usize = 40;
const SEGMENT_ENTRY_BYTES: usize = 40;
/// The largest manifest that is believed: a million segments.
const MANIFEST_BYTES_MAX: u64 = 40 << 20;

/// One segment, as the manifest names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentEntry {
    pub(crate) number: u64,
    pub(crate) salt: [u8; 16],
    pub(crate) attested: u64,
    pub(crate) open: bool,
}

/// What the manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) store_id: [u8; 16],
    pub(crate) epoch: u64,
    pub(crate) next_file: u64,
    pub(crate) clean: bool,
    pub(crate) segments: Vec<SegmentEntry>,
}

impl Manifest {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        body.extend_from_slice(&self.store_id);
        body.extend_from_slice(&self.epoch.to_le_bytes());
        body.extend_from_slice(&self.next_file.to_le_bytes());
        body.extend_from_slice(&u32::from(self.clean).to_le_bytes());
        let count = u32::try_from(self.segments.len()).unwrap_or(u32::MAX);
        body.extend_from_slice(&count.to_le_bytes());
        for segment in &self.segments {
            body.extend_from_slice(&segment.number.to_le_bytes());
            body.extend_from_slice(&segment.salt);
            body.extend_from_slice(&segment.attested.to_le_bytes());
            body.extend_from_slice(&u32::from(segment.open).to_le_bytes());
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
        if stored != computed {
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
        let room = body.len().saturating_sub(BODY_HEAD_BYTES) / SEGMENT_ENTRY_BYTES;
        if count != room {
            return Err(Malformed::new(
                "as many log files listed as there is room for",
                format!("{count} of them"),
            ));
        }
        let mut segments = Vec::with_capacity(count);
        for _ in 0..count {
            let number = reader.u64("a segment number")?;
            let salt = reader.array("a salt")?;
            let attested = reader.u64("an attested length")?;
            let open = flag(reader.u32("an open flag")?)?;
            if reader.u32("zeros")? != 0 {
                return Err(Malformed::new(
                    "zeros behind each log file in a manifest",
                    "other bytes",
                ));
            }
            segments.push(SegmentEntry { number, salt, attested, open });
        }
        reader.finish("the end of the manifest")?;
        Ok(Manifest { store_id, epoch, next_file, clean, segments })
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
        if self.segments.iter().any(|segment| segment.attested < SEGMENT_HEADER_BYTES) {
            return Err(Malformed::new(
                "a manifest that vouches for at least the header of each log file",
                "a shorter length",
            ));
        }
        Ok(())
    }

    /// Reads the manifest of a directory; `None` if there is no such file.
    ///
    /// Errors: [`Error::Io`], and those of [`Manifest::decode`].
    pub(crate) fn read(vfs: &dyn Vfs, dir: &Path) -> Result<Option<Self>> {
        Self::read_file(vfs, &dir.join(OwnName::Manifest.file_name()))
    }

    /// As [`Manifest::read`], from any file.
    pub(crate) fn read_file(vfs: &dyn Vfs, path: &Path) -> Result<Option<Self>> {
        let file = match vfs.open(path, Access::Read) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io("opening", path, e)),
        };
        let length = file.len().map_err(|e| Error::io("reading the length of", path, e))?;
        if length > MANIFEST_BYTES_MAX {
            sometimes!("manifest/too-long");
            return Err(Error::corruption(
                path,
                0,
                format_args!("a manifest of at most {MANIFEST_BYTES_MAX} bytes"),
                format_args!("{length} bytes"),
            ));
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        let read =
            read_full_at(&*file, &mut bytes, 0).map_err(|e| Error::io("reading", path, e))?;
        bytes.truncate(read);
        Self::decode(&bytes, path).map(Some)
    }
}

fn flag(n: u32) -> std::result::Result<bool, Malformed> {
    match n {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(Malformed::new("a flag of 0 or 1", other)),
    }
}

/// How a replacement of the manifest failed.
#[derive(Debug)]
pub(crate) enum ReplaceError {
    /// The disk was full before anything changed: nothing of the old manifest is touched, and
    /// it may be tried again under another number.
    Full(Error),
    /// Anything else: the old or the new manifest may be in force.
    Failed(Error),
}

/// The file numbers that one replacement takes.
pub(crate) const NUMBERS_TAKEN: u64 = 2;

/// Replaces the manifest, and makes that durable. It takes `number` and the one behind it.
///
/// The old manifest keeps a second name until the new one is durable. Without it, its inode
/// would be free from the rename on; if the sync of the directory then failed, and a later
/// opening made files before its own sync succeeded, a power cut could bring the old name
/// back, on an inode that holds another file.
///
/// `parents` are synced after the directory (at a creation, and at an opening's first
/// replacement: the directory itself may not be durable yet).
///
/// Returns that second name if it could not be removed.
pub(crate) fn replace(
    vfs: &dyn Vfs,
    dir: &Path,
    manifest: &Manifest,
    number: u64,
    parents: &[PathBuf],
) -> std::result::Result<Option<OwnName>, ReplaceError> {
    debug_assert!(manifest.check().is_ok() && number + NUMBERS_TAKEN <= manifest.next_file);
    let temporary = dir.join(OwnName::Temporary(number).file_name());
    let target = dir.join(OwnName::Manifest.file_name());
    let full_or_failed = |e: Error| match e {
        Error::DiskFull { .. } => ReplaceError::Full(e),
        _ => ReplaceError::Failed(e),
    };
    #[cfg(feature = "planted")]
    if planted!(ManifestOverwritten) {
        let overwritten = overwrite(vfs, dir, &target, &manifest.encode());
        let failed = |e| ReplaceError::Failed(Error::io("writing", &target, e));
        return overwritten.map(|()| None).map_err(failed);
    }

    // 1. Write the new manifest under a name of its own. A full disk here has changed nothing.
    let file = vfs
        .create(&temporary)
        .map_err(|e| full_or_failed(Error::io_or_full("creating", &temporary, e)))?;
    if let Err(e) = write_all_at(&*file, &manifest.encode(), 0) {
        sometimes!("manifest/write-failed");
        let error = Error::io_or_full("writing", &temporary, e);
        drop(file);
        // The space is wanted back; what cannot be removed now is removed by maintenance.
        let _removed = vfs.remove(&temporary);
        return Err(full_or_failed(error));
    }
    let failed = |e: Error| ReplaceError::Failed(e);

    // 2. Make its content durable before it gets the name that counts.
    if !planted!(ManifestNotSynced) {
        file.sync().map_err(|e| failed(Error::io("syncing", &temporary, e)))?;
    }
    drop(file);

    // 3. Give the old one a second name, so that its inode is not given to another file.
    let second_name = OwnName::Temporary(number + 1);
    let kept = dir.join(second_name.file_name());
    let is_kept = match vfs.link(&target, &kept) {
        Ok(()) => true,
        Err(e) if has_no_links(&e) => {
            sometimes!("manifest/no-old-one");
            false
        }
        Err(e) => {
            sometimes!("manifest/link-failed");
            let error = Error::io_or_full("linking", &kept, e);
            let _removed = vfs.remove(&temporary);
            return Err(full_or_failed(error));
        }
    };

    // 4. Give the new one the name, atomically.
    if planted!(ManifestUnlinkedBeforeRename) {
        let _removed = vfs.remove(&target);
    }
    if let Err(e) = vfs.rename(&temporary, &target) {
        let error = Error::io("renaming", &temporary, e);
        return Err(match planted!(RenameErrorBelieved) {
            true => ReplaceError::Full(error),
            false => failed(error),
        });
    }

    // 5. Make the name durable, and that of the directory.
    let unlinks_early = !parents.is_empty() && planted!(UnlinkBeforeRenameDurable);
    let skips_all = unlinks_early || planted!(NoDirectorySync);
    if !planted!(ManifestDirectoryNotSynced) && !skips_all {
        vfs.sync_dir(dir).map_err(|e| failed(Error::io("syncing", dir, e)))?;
    }
    for parent in parents.iter().filter(|_| !planted!(ParentsNotSynced) && !skips_all) {
        match vfs.sync_dir(parent) {
            Ok(()) => sometimes!("manifest/parent-synced"),
            // A directory that may not be opened is not one that this user made anything in.
            Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {}
            Err(e) => return Err(failed(Error::io("syncing", parent, e))),
        }
    }

    // 6. Nothing can bring the old one back any more.
    let stays = is_kept && vfs.remove(&kept).is_err();
    sometimes!("manifest/second-name-stays", stays);
    Ok(stays.then_some(second_name))
}

/// The planted bug that writes a new manifest over the one in force.
#[cfg(feature = "planted")]
fn overwrite(vfs: &dyn Vfs, dir: &Path, target: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let file = vfs.open(target, Access::ReadWrite).or_else(|_| vfs.create(target))?;
    write_all_at(&*file, bytes, 0)?;
    file.set_len(bytes.len() as u64)?;
    file.sync()?;
    vfs.sync_dir(dir)
}

/// Whether there is no old manifest, or the file system has no second names.
fn has_no_links(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::NotFound
            | std::io::ErrorKind::Unsupported
            | std::io::ErrorKind::PermissionDenied
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Manifest {
        Manifest {
            store_id: [7; 16],
            epoch: 5,
            next_file: 9,
            clean: true,
            segments: vec![
                SegmentEntry { number: 2, salt: [1; 16], attested: 400, open: false },
                SegmentEntry { number: 8, salt: [2; 16], attested: 72, open: true },
            ],
        }
    }

    fn read(bytes: &[u8]) -> Result<Manifest> {
        Manifest::decode(bytes, Path::new("MANIFEST"))
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
        let breakers: [fn(&mut Manifest); 5] = [
            |m| m.segments.clear(),
            |m| m.segments.reverse(),
            |m| m.next_file = 8,
            |m| m.segments[0].open = true,
            |m| m.segments[1].attested = 71,
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
        let edits: [(&str, Edit); 7] = [
            ("a manifest of format 1", |bytes| bytes[8] = 0),
            ("a flag of 0 or 1", |bytes| bytes[FRAME_BYTES + 32] = 2),
            ("a flag of 0 or 1", |bytes| bytes[ENTRY + 32] = 7),
            ("zeros behind each log file in a manifest", |bytes| bytes[ENTRY + 36] = 1),
            ("as many log files listed as there is room for", |bytes| bytes[FRAME_BYTES + 36] = 3),
            ("the end of the manifest", |bytes| bytes.push(0)),
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
