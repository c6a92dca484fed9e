//! The manifest that counts: reading it, and putting another in its place.
//!
//! Invariants: nothing of a replacement is written unless the store still owns its directory and
//! the manifest in it is the one that was last read or written; the old or the new manifest has
//! the name at any moment; nothing that the old one needs is removed before the new one is
//! durable.

use std::io;
use std::path::Path;
use std::sync::Arc;

use runstone_vfs::{Access, VfsFile, is_disk_full, read_full_at, write_all_at};

use super::Manifest;
use crate::error::{Error, Result};
use crate::failure::WriteFailure;
use crate::names::OwnName;
use crate::place::Place;

/// The largest manifest that is believed: a million segments.
const MANIFEST_BYTES_MAX: u64 = 40 << 20;

/// The file numbers that one replacement takes.
pub(crate) const NUMBERS_TAKEN: u64 = 2;

/// The manifest in force, as this opening has read or written it.
#[derive(Clone, Debug)]
pub(crate) struct InForce {
    /// It stays open, so that no other file can take its identity.
    file: Arc<dyn VfsFile>,
    bytes: Arc<[u8]>,
    /// It was written by this opening, and its sync has returned Ok.
    is_synced: bool,
}

impl InForce {
    /// Reads the manifest of a store; `None` if there is no such file.
    ///
    /// Errors: [`Error::Io`], and those of [`Manifest::decode`].
    pub(crate) fn read(place: &Place) -> Result<Option<(Manifest, InForce)>> {
        let path = place.path(OwnName::Manifest);
        let file = match place.open(OwnName::Manifest, Access::Read) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io("opening", path, e)),
        };
        let length = file.len().map_err(|e| Error::io("reading the length of", &path, e))?;
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
            read_full_at(&*file, &mut bytes, 0).map_err(|e| Error::io("reading", &path, e))?;
        bytes.truncate(read);
        let manifest = Manifest::decode(&bytes, &path)?;
        place.know_manifest(file.id().map_err(|e| Error::io("looking at", &path, e))?);
        Ok(Some((manifest, InForce { file, bytes: bytes.into(), is_synced: false })))
    }

    /// Whether the file of the manifest's name is this one, and nobody else has written into it, as
    /// a copy over it does.
    ///
    /// Errors: [`Error::Displaced`], or [`Error::Io`] if it cannot be told.
    fn check(&self, place: &Place) -> Result<()> {
        let path = || place.path(OwnName::Manifest);
        let id = self.file.id().map_err(|e| Error::io("looking at", path(), e))?;
        place.check_file(OwnName::Manifest, id)?;
        planted!(ManifestOnlyLookedAt => return Ok(()));
        let mut found = vec![0; self.bytes.len() + 1];
        match read_full_at(&*self.file, &mut found, 0) {
            Ok(read) if found.get(..read).is_some_and(|found| self.is_changed(found, &path())) => {
                sometimes!("manifest/changed-by-another");
                Err(place.displaced("its manifest was changed by somebody else"))
            }
            // What cannot be read any more is replaced all the better.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Whether other content than the known one is somebody else's. What this opening has found may
    /// be a cache that never reached the disk, and fall back to the manifest before it, or to
    /// anything; what it has written and synced stays.
    fn is_changed(&self, found: &[u8], path: &Path) -> bool {
        if found == &*self.bytes {
            return false;
        }
        let decoded = (Manifest::decode(&self.bytes, path), Manifest::decode(found, path));
        let is_other = match decoded {
            (Ok(known), Ok(found)) => found.store_id != known.store_id || found.epoch > known.epoch,
            _ => false,
        };
        self.is_synced || is_other
    }
}

/// The new manifest, and the second name of the old one if it could not be removed.
pub(crate) type Replaced = (InForce, Option<OwnName>);

/// Replaces the manifest, and makes that durable. It takes `number` and the one behind it.
///
/// The old manifest keeps a second name until the new one is durable. Without it, its inode
/// would be free from the rename on; if the sync of the directory then failed, and a later
/// opening made files before its own sync succeeded, a power cut could bring the old name
/// back, on an inode that holds another file.
///
/// Errors: [`WriteFailure::Refused`]: nothing of the old manifest is touched, and it may be tried
/// again under another number; [`WriteFailure::Failed`]: the old or the new one may be in force, or
/// ([`Error::Displaced`]) the directory is another's.
pub(crate) fn replace(
    place: &Place,
    old: Option<&InForce>,
    manifest: &Manifest,
    number: u64,
) -> std::result::Result<Replaced, WriteFailure> {
    debug_assert!(manifest.check().is_ok() && number + NUMBERS_TAKEN <= manifest.next_file);
    let temporary = OwnName::Temporary(manifest.store_id, number);
    let failed = |action, name, e| WriteFailure::Failed(Error::io(action, place.path(name), e));
    planted!(ManifestOverwritten => return overwrite(place, &manifest.encode()));

    // 1. Whose directory it is. Nothing was written yet.
    check(place, old)?;

    // 2. Write the new manifest under a name of its own. A full disk here has changed nothing.
    let bytes: Arc<[u8]> = manifest.encode().into();
    place
        .check_length(bytes.len() as u64)
        .map_err(|e| WriteFailure::of_a_write("writing", place.path(temporary), e))?;
    let file = place.create(temporary).map_err(|e| {
        sometimes!("manifest/not-created");
        WriteFailure::Refused(Error::io_or_full("creating", place.path(temporary), e))
    })?;
    if let Err(e) = write_all_at(&*file, &bytes, 0) {
        sometimes!("manifest/write-failed");
        drop(file);
        // The space is wanted back; what cannot be removed now is removed by maintenance.
        let _removed = place.remove(temporary);
        return Err(WriteFailure::of_a_write("writing", place.path(temporary), e));
    }

    // 3. Make its content durable before it gets the name that counts.
    if !planted!(ManifestNotSynced) {
        file.sync().map_err(|e| failed("syncing", temporary, e))?;
    }

    // 4. Give the old one a second name, so that its inode is not given to another file.
    let kept = OwnName::Temporary(manifest.store_id, number + 1);
    let is_kept = match place.link(OwnName::Manifest, kept) {
        Ok(()) => true,
        Err(e) if has_no_links(&e) => {
            sometimes!("manifest/no-old-one");
            false
        }
        Err(e) => {
            sometimes!("manifest/link-failed");
            let _removed = place.remove(temporary);
            return Err(WriteFailure::Refused(Error::io_or_full("linking", place.path(kept), e)));
        }
    };

    // 5. Give the new one the name, atomically.
    planted!(ManifestUnlinkedBeforeRename => drop(place.remove(OwnName::Manifest)));
    let id = file.id().map_err(|e| {
        let _removed = place.remove(temporary);
        WriteFailure::Refused(Error::io("looking at", place.path(temporary), e))
    })?;
    if let Err(e) = place.rename_manifest(temporary, id, is_refused) {
        sometimes!("manifest/rename-failed");
        let has_changed_nothing = is_refused(&e) || planted!(RenameErrorBelieved);
        let error = Error::io_or_full("renaming", place.path(temporary), e);
        return Err(match has_changed_nothing {
            true => WriteFailure::Refused(error),
            false => WriteFailure::Failed(error),
        });
    }

    // 6. Make the name durable.
    let is_found = old.is_none_or(|old| !old.is_synced);
    let too_late = planted!(UnlinkBeforeRenameDurable) && is_found;
    if !planted!(ManifestDirectoryNotSynced | NoDirectorySync) && !too_late {
        let synced = place.sync_names();
        synced.map_err(|e| WriteFailure::Failed(Error::io("syncing", place.dir_path(), e)))?;
    }

    // 7. Nothing can bring the old one back any more.
    let stays = is_kept && place.remove(kept).is_err();
    sometimes!("manifest/second-name-stays", stays);
    Ok((InForce { file, bytes, is_synced: true }, stays.then_some(kept)))
}

/// Whether the directory is still the store's, and its manifest the one in force, to the byte.
///
/// Errors: [`WriteFailure::Failed`] with [`Error::Displaced`]; [`WriteFailure::Refused`] if that
/// cannot be told.
pub(crate) fn check(place: &Place, old: Option<&InForce>) -> std::result::Result<(), WriteFailure> {
    let checked = place.check_owner().and_then(|()| match old {
        Some(old) if !planted!(ForeignManifestReplaced) => old.check(place),
        _ => Ok(()),
    });
    checked.map_err(WriteFailure::of_a_look)
}

/// Whether a rename was refused before it could change anything.
fn is_refused(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    is_disk_full(error)
        || matches!(
            error.kind(),
            Kind::PermissionDenied | Kind::ReadOnlyFilesystem | Kind::NotFound
        )
}

/// The planted bug that writes a new manifest over the one in force.
#[cfg(feature = "planted")]
fn overwrite(place: &Place, bytes: &[u8]) -> std::result::Result<Replaced, WriteFailure> {
    let overwritten = || -> io::Result<InForce> {
        let file = place
            .open(OwnName::Manifest, Access::ReadWrite)
            .or_else(|_| place.create(OwnName::Manifest))?;
        write_all_at(&*file, bytes, 0)?;
        file.set_len(bytes.len() as u64)?;
        file.sync()?;
        place.sync_names()?;
        Ok(InForce { file, bytes: bytes.into(), is_synced: true })
    };
    let path = place.path(OwnName::Manifest);
    let failed = |e| WriteFailure::Failed(Error::io("writing", path, e));
    overwritten().map(|new| (new, None)).map_err(failed)
}

/// Whether there is no old manifest, or the file system has no second names.
fn has_no_links(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied
    )
}
