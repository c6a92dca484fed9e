//! Planted bugs of an opening; compiled with the feature `planted` only.
//!
//! Each does what some engine did after an unclean stop: it goes on in the segment that was
//! not closed, or cleans up what it must not. None of it is ever part of a production build.

use std::path::Path;

use std::sync::Arc;

use runstone_vfs::{Access, FileKind, Vfs, VfsFile, VfsLock};

use super::resume::resume as resume_clean;
use crate::error::{Error, Result};
use crate::log::writer::LogWriter;
use crate::manifest::Manifest;
use crate::manifest::in_force::{InForce, NUMBERS_TAKEN, replace};
use crate::names::{LOCK, OwnName};
use crate::options::Options;
use crate::place::Place;
use crate::recovery::Replay;
use crate::recovery::listing::Listing;

/// Whether the opening goes on in a segment that was not closed.
pub(super) fn resumes() -> bool {
    planted!(TailTrusted | AppendAfterTornTail | StaleRecordsBehindTail)
}

/// Goes on in the segment that was not closed.
pub(super) fn resume(
    place: &Place,
    (mut found, mut in_force): (Manifest, InForce),
    listing: &Listing,
    replay: &Replay,
    options: &Options,
) -> Result<((Manifest, InForce), LogWriter)> {
    found.clean = true;
    found.epoch += 1;
    let id = found.store_id;
    if let Some(last) = found.segments.last_mut() {
        let name = OwnName::Segment(id, last.number);
        let failed = |action, e| Error::io(action, place.path(name), e);
        let file = place.open(name, Access::ReadWrite).map_err(|e| failed("opening", e))?;
        let length = file.len().map_err(|e| failed("reading the length of", e))?;
        let torn = planted!(AppendAfterTornTail) && replay.torn_bytes > 0;
        last.attested = replay.end;
        if torn {
            last.attested.at = length.next_multiple_of(8);
        }
        if planted!(StaleRecordsBehindTail) {
            file.sync().map_err(|e| failed("syncing", e))?;
        }
    }
    if planted!(StaleRecordsBehindTail) {
        // All is as it should be, but for what stands behind the end.
        found.clean = false;
        let number = listing.next_number(Some(&found));
        found.next_file = number + NUMBERS_TAKEN;
        (in_force, _) = replace(place, Some(&in_force), &found, number, None)?;
    }
    let (manifest, writer) = resume_clean(place, found, listing, replay, options)?;
    Ok(((manifest, in_force), writer))
}

/// What an opening does when it has removed what nothing names.
pub(super) fn clean_up(place: &Place, manifest: &Manifest) -> Result<()> {
    let failed = |e| Error::io("syncing", place.dir_path(), e);
    if planted!(UnlinkBeforeRenameDurable) && !manifest.clean {
        place.sync_names().map_err(failed)?;
    }
    if planted!(ForeignFileRemoved) {
        for entry in place.dir.list(Path::new(".")).map_err(failed)? {
            if OwnName::parse(&entry.name).is_none() && entry.kind == FileKind::File {
                let _removed = place.dir.remove(Path::new(&entry.name));
            }
        }
    }
    Ok(())
}

/// A lock that holds nobody off; a missing lock file is made as ever.
pub(super) fn no_lock(dir: &dyn Vfs, path: &Path) -> Result<Option<Box<dyn VfsLock>>> {
    match dir.open(Path::new(LOCK), Access::ReadWrite) {
        Ok(file) => Ok(Some(Box::new(NoLock(file)))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io("locking", path.join(LOCK), e)),
    }
}

#[derive(Debug)]
struct NoLock(Arc<dyn VfsFile>);

impl VfsLock for NoLock {
    fn file(&self) -> &dyn VfsFile {
        &*self.0
    }
}
