//! How a segment is made.
//!
//! Invariant: a segment that [`create_segment`] returns is durable, in content and in name;
//! until the manifest names it, it counts for nothing.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use runstone_vfs::{VfsFile, write_all_at};

use super::record::{End, RecordHead, RecordKind};
use super::segment::SegmentHeader;
use super::writer::{SECTOR_BYTES, pad};
use crate::error::Error;
use crate::failure::WriteFailure;
use crate::names::{OwnName, StoreId, TAKEN_MAX};
use crate::place::Place;

/// A segment that exists, synced with its name, and that no manifest names yet.
#[derive(Debug)]
pub(crate) struct NewSegment {
    pub(crate) file: Arc<dyn VfsFile>,
    pub(crate) path: PathBuf,
    pub(crate) header: SegmentHeader,
    /// Where its records end.
    pub(crate) end: End,
}

/// What a new segment is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SegmentPlan {
    pub(crate) store_id: StoreId,
    /// The number, or the first of those from which it takes one whose names are free.
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
/// `left` gets the names that a failure may leave, and is as it was after a success.
///
/// Errors: [`WriteFailure::Refused`] if the disk is full or the file cannot be made; or
/// [`WriteFailure::Failed`].
pub(crate) fn create_segment<'a>(
    place: &Place,
    plan: SegmentPlan,
    records: impl Iterator<Item = (RecordHead, &'a [u8])>,
    left: &mut Vec<OwnName>,
) -> std::result::Result<NewSegment, WriteFailure> {
    let SegmentPlan { store_id, epoch, last: (version, time_ms), padded, step_bytes, .. } = plan;
    let salt = place.draw("drawing a salt for").map_err(WriteFailure::Refused)?;

    // 1. A file under a number that nothing bears.
    let (number, file) = create_file(place, store_id, plan.number, left)?;
    let name = OwnName::Segment(store_id, number);
    let header = SegmentHeader { store_id, salt, number, epoch };
    left.push(name);
    let path = place.path(name);
    let failed = |path: &Path, e| WriteFailure::Failed(Error::io("syncing", path, e));

    // 2. Its content.
    let (mut bytes, mut end, mut written) = (header.encode(), header.end(), 0);
    let mut content = Ok(());
    for (head, payload) in records {
        if bytes.len() >= step_bytes && content.is_ok() {
            sometimes!("creation/large-tail");
            content = write_at(place, &*file, &bytes, written);
            written += bytes.len() as u64;
            bytes.clear();
        }
        let head = RecordHead { synced: 0, ..head };
        end = header.seal().append(&mut bytes, end, head, |out| out.extend_from_slice(payload));
    }
    if padded {
        sometimes!("creation/padded");
        let head = RecordHead { kind: RecordKind::Padding, version, time_ms, synced: 0 };
        end = pad(header.seal(), &mut bytes, end, head);
    }
    planted!(SegmentSyncedInPart => file.sync().map_err(|e| failed(&path, e))?);
    if let Err(e) = content.and_then(|()| write_at(place, &*file, &bytes, written)) {
        sometimes!("creation/write-failed");
        return Err(WriteFailure::of_a_write("writing", path, e));
    }

    // 3. The content durable, then the name.
    if !planted!(SegmentNotSynced | SegmentSyncedInPart) {
        file.sync().map_err(|e| failed(&path, e))?;
    }
    if !planted!(NoDirectorySync | SegmentNameNotSynced) {
        place.sync_names().map_err(|e| failed(place.dir_path(), e))?;
    }
    left.pop();
    debug_assert_eq!(end.at, written + bytes.len() as u64);
    Ok(NewSegment { file, path, header, end })
}

/// Writes what this process may write.
fn write_at(place: &Place, file: &dyn VfsFile, bytes: &[u8], at: u64) -> io::Result<()> {
    place.check_length(at + bytes.len() as u64)?;
    write_all_at(file, bytes, at)
}

/// Makes an empty file of the first number, from this one on, whose name is not taken, be it by a
/// directory.
fn create_file(
    place: &Place,
    store_id: StoreId,
    first: u64,
    left: &mut Vec<OwnName>,
) -> std::result::Result<(u64, Arc<dyn VfsFile>), WriteFailure> {
    let mut number = first;
    let end = if planted!(TakenNumberRefused) { first } else { first + TAKEN_MAX };
    loop {
        let name = OwnName::Segment(store_id, number);
        match place.create(name) {
            Ok(file) => return Ok((number, file)),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && number < end => {
                sometimes!("creation/number-passed-over");
                number += 1;
            }
            Err(e) => {
                sometimes!("creation/not-created");
                // A device's error may come behind the deed.
                left.push(name);
                planted!(RefusedFilePoisons => return super::planted::poisons(place, name, e));
                return Err(WriteFailure::Refused(Error::io_or_full(
                    "creating",
                    place.path(name),
                    e,
                )));
            }
        }
    }
}
