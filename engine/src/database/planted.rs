//! Planted bugs of an opening; compiled with the feature `planted` only.
//!
//! Each does what some engine did after an unclean stop: it goes on in the segment that was
//! not closed, or cleans up what it must not. None of it is ever part of a production build.

use std::path::Path;

use runstone_vfs::{Access, FileKind, Vfs, VfsLock};

use super::resume::resume as resume_clean;
use crate::error::{Error, Result};
use crate::log::creation::Place;
use crate::log::writer::LogWriter;
use crate::manifest::{self, Manifest, ReplaceError};
use crate::names::OwnName;
use crate::options::Options;
use crate::recovery::{Listing, Replay};

/// Whether the opening goes on in a segment that was not closed.
pub(super) fn resumes() -> bool {
    planted!(TailTrusted | AppendAfterTornTail | StaleRecordsBehindTail)
}

/// Goes on in the segment that was not closed.
pub(super) fn resume(
    place: &Place,
    mut found: Manifest,
    listing: &Listing,
    replay: &Replay,
    options: &Options,
) -> Result<(Manifest, LogWriter)> {
    let dir = &*place.dir;
    found.clean = true;
    found.epoch += 1;
    if let Some(last) = found.segments.last_mut() {
        let path = place.path(OwnName::Segment(last.number));
        let file =
            place.vfs.open(&path, Access::ReadWrite).map_err(|e| Error::io("opening", &path, e))?;
        let length = file.len().map_err(|e| Error::io("reading the length of", &path, e))?;
        let torn = planted!(AppendAfterTornTail) && replay.torn_bytes > 0;
        last.attested =
            if torn { length.next_multiple_of(8) } else { replay.end.max(last.attested) };
        if planted!(StaleRecordsBehindTail) {
            file.sync().map_err(|e| Error::io("syncing", &path, e))?;
        }
    }
    if planted!(StaleRecordsBehindTail) {
        // All is as it should be, but for what stands behind the end.
        found.clean = false;
        let number = listing.next_number(Some(&found));
        found.next_file = number + manifest::NUMBERS_TAKEN;
        let (vfs, parents) = (&*place.vfs, &place.parents);
        manifest::replace(vfs, dir, &found, number, parents).map_err(|error| match error {
            ReplaceError::Full(e) | ReplaceError::Failed(e) => e,
        })?;
    }
    resume_clean(place, found, listing, options)
}

/// What an opening does when it has removed what nothing names.
pub(super) fn clean_up(place: &Place, manifest: &Manifest) -> Result<()> {
    let failed = |e| Error::io("syncing", &place.dir, e);
    if planted!(UnlinkBeforeRenameDurable) && !manifest.clean {
        place.vfs.sync_dir(&place.dir).map_err(failed)?;
        for parent in &place.parents {
            place.vfs.sync_dir(parent).map_err(failed)?;
        }
    }
    if planted!(ForeignFileRemoved) {
        for entry in place.vfs.list(&place.dir).map_err(failed)? {
            if OwnName::parse(&entry.name).is_none() && entry.kind == FileKind::File {
                let _removed = place.vfs.remove(&place.dir.join(&entry.name));
            }
        }
    }
    Ok(())
}

/// A lock that holds nobody off; a missing lock file is made as ever.
pub(super) fn no_lock(vfs: &dyn Vfs, path: &Path) -> Result<Box<dyn VfsLock>> {
    vfs.open(path, Access::Read).map_err(|e| Error::io("locking", path, e))?;
    Ok(Box::new(NoLock))
}

#[derive(Debug)]
struct NoLock;

impl VfsLock for NoLock {}
