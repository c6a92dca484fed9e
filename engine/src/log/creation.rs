//! Where a store lives, and how a segment is made there.
//!
//! Invariant: a segment that [`create_segment`] returns is durable, in content and in name;
//! until the manifest names it, it counts for nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use runstone_vfs::{Vfs, VfsFile, write_all_at};

use super::record::{RecordHead, RecordKind};
use super::segment::SegmentHeader;
use super::writer::{SECTOR_BYTES, WriteFailure, pad};
use crate::clock::Entropy;
use crate::error::{Error, Result};
use crate::names::OwnName;

/// Where a store lives, and what it draws from the world.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) vfs: Arc<dyn Vfs>,
    pub(crate) dir: PathBuf,
    /// The directories above that may not be durable yet, innermost first.
    pub(crate) parents: Vec<PathBuf>,
    pub(crate) entropy: Arc<dyn Entropy>,
}

impl Place {
    pub(crate) fn path(&self, name: OwnName) -> PathBuf {
        self.dir.join(name.file_name())
    }

    fn salt(&self) -> Result<[u8; 16]> {
        self.entropy.bytes16().map_err(|e| Error::io("drawing a salt for", &self.dir, e))
    }
}

/// A segment that exists, synced with its name, and that no manifest names yet.
#[derive(Debug)]
pub(crate) struct NewSegment {
    pub(crate) file: Arc<dyn VfsFile>,
    pub(crate) path: PathBuf,
    pub(crate) header: SegmentHeader,
    /// Its length: header and records.
    pub(crate) length: u64,
}

/// What a new segment is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SegmentPlan {
    pub(crate) store_id: [u8; 16],
    pub(crate) number: u64,
    pub(crate) epoch: u64,
    /// The version and time of the last commit before its end.
    pub(crate) last: (u64, u64),
    /// Whether appends must not touch the sectors of what is in it at first.
    pub(crate) padded: bool,
    /// How much of it is held in memory before it is written.
    pub(crate) step_bytes: usize,
}

/// The length of a segment without commits: a header, and what pads its sector.
pub(crate) const EMPTY_SEGMENT_BYTES_MAX: u64 = SECTOR_BYTES;

/// Makes a segment with these records, durable in content and name. Holds one step of it in
/// memory, and a record.
///
/// Errors: a full disk ([`WriteFailure::Full`]; nothing is left, if it could be removed), or
/// any other.
pub(crate) fn create_segment<'a>(
    place: &Place,
    plan: SegmentPlan,
    records: impl Iterator<Item = (RecordHead, &'a [u8])>,
) -> std::result::Result<NewSegment, WriteFailure> {
    let SegmentPlan { store_id, number, epoch, last: (version, time_ms), padded, step_bytes } =
        plan;
    let salt = place.salt().map_err(WriteFailure::Failed)?;
    let header = SegmentHeader { store_id, salt, number, epoch };
    let path = place.path(OwnName::Segment(number));
    let classify = |e: Error| match e {
        Error::DiskFull { .. } => WriteFailure::Full(e),
        _ => WriteFailure::Failed(e),
    };
    let failed =
        |action: &'static str, path: &Path, e| WriteFailure::Failed(Error::io(action, path, e));

    // 1. Its content, under a name never used before.
    let file =
        place.vfs.create(&path).map_err(|e| classify(Error::io_or_full("creating", &path, e)))?;
    let (mut bytes, mut written) = (header.encode(), 0);
    let mut content = Ok(());
    for (head, payload) in records {
        if bytes.len() >= step_bytes && content.is_ok() {
            sometimes!("creation/large-tail");
            content = write_all_at(&*file, &bytes, written);
            written += bytes.len() as u64;
            bytes.clear();
        }
        let (offset, head) = (written + bytes.len() as u64, RecordHead { synced: 0, ..head });
        header.seal().append(&mut bytes, offset, head, |out| out.extend_from_slice(payload));
    }
    if padded {
        sometimes!("creation/padded");
        let end = written + bytes.len() as u64;
        let head = RecordHead { kind: RecordKind::Padding, version, time_ms, synced: 0 };
        pad(header.seal(), &mut bytes, end, head);
    }
    planted!(SegmentSyncedInPart => file.sync().map_err(|e| failed("syncing", &path, e))?);
    if let Err(e) = content.and_then(|()| write_all_at(&*file, &bytes, written)) {
        sometimes!("creation/write-failed");
        let error = Error::io_or_full("writing", &path, e);
        // The space is wanted back; what cannot be removed now is removed by maintenance.
        let _removed =
            place.vfs.remove(&path).inspect_err(|_| sometimes!("creation/leftover-stays"));
        return Err(classify(error));
    }

    // 2. The content durable, then the name.
    if !planted!(SegmentNotSynced | SegmentSyncedInPart) {
        file.sync().map_err(|e| failed("syncing", &path, e))?;
    }
    if !planted!(NoDirectorySync | SegmentNameNotSynced) {
        place.vfs.sync_dir(&place.dir).map_err(|e| failed("syncing", &place.dir, e))?;
    }
    Ok(NewSegment { file, path, header, length: written + bytes.len() as u64 })
}
