//! The manifest that counts: reading it, appending to it, and putting another in its place.
//!
//! Invariants: nothing is written unless the store still owns its directory and the manifest in it
//! is the one that was last read or written; the old or the new manifest has the name at any
//! moment; nothing that the old one needs is removed before the new one is durable. Edits are
//! appended only to a file that this opening has written whole, one behind the other, each when the
//! sync of the one before has returned Ok; never behind one whose write failed.

use std::io;
use std::path::Path;
use std::sync::Arc;

use runstone_vfs::{Access, VfsFile, is_disk_full, read_full_at, write_all_at};

use super::edit::Edit;
use super::file;
use super::frame::{self, EDIT_ALIGN, Position};
use super::{Manifest, Snapshot};
use crate::error::{Error, Result};
use crate::failure::WriteFailure;
use crate::names::{OwnName, StoreId};
use crate::place::Place;

/// The largest manifest that is believed: a million segments, and edits of twice that.
const MANIFEST_BYTES_MAX: u64 = 128 << 20;
/// How much is zeroed by one call.
static ZERO_CHUNK: [u8; 64 << 10] = [0; 64 << 10];

/// The file numbers that one replacement takes.
pub(crate) const NUMBERS_TAKEN: u64 = 2;

/// The manifest in force, as this opening has read or written it.
#[derive(Clone, Debug)]
pub(crate) struct InForce {
    /// It stays open, so that no other file can take its identity.
    file: Arc<dyn VfsFile>,
    store_id: StoreId,
    epoch: u64,
    length: u64,
    /// Bytes by which it is told from any other, and where they stand: all that was read; or of
    /// what was written the first sector, and that of the last edit.
    known: Vec<(u64, Arc<[u8]>)>,
    /// It was written by this opening, and its sync has returned Ok.
    is_synced: bool,
    /// Where the next edit goes; `None` if none may.
    next: Option<Position>,
    /// Where the beginning of another file stands in the place of an edit.
    exchanged: Option<Position>,
}

impl InForce {
    /// Reads the manifest of a store; `None` if there is no such file.
    ///
    /// Errors: [`Error::Io`], and those of [`file::read`].
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
        let bytes = read_whole(&*file, length).map_err(|e| Error::io("reading", &path, e))?;
        let (manifest, exchanged) = file::read(&bytes, &path)?;
        place.know_manifest(file.id().map_err(|e| Error::io("looking at", &path, e))?);
        let in_force = InForce {
            file,
            store_id: manifest.store_id,
            epoch: manifest.epoch,
            length: bytes.len() as u64,
            known: vec![(0, bytes.into())],
            is_synced: false,
            next: None,
            exchanged,
        };
        Ok(Some((manifest, in_force)))
    }

    /// One that this opening has written whole, of this length.
    fn written(file: Arc<dyn VfsFile>, manifest: &Manifest, bytes: &[u8], length: u64) -> Self {
        let next = Snapshot::followed_by(bytes);
        InForce {
            file,
            store_id: manifest.store_id,
            epoch: manifest.epoch,
            length,
            known: vec![(0, first_sector(bytes))],
            is_synced: true,
            next: next.filter(|next| next.at < length),
            exchanged: None,
        }
    }

    /// Reads the file again, as it stands now.
    ///
    /// Errors: [`Error::Io`]; [`Error::Corruption`] if it has another length than the one that was
    /// read or written last.
    pub(crate) fn read_again(&self, path: &Path) -> Result<Vec<u8>> {
        let io = |e| Error::io("reading", path, e);
        let length = self.file.len().map_err(io)?;
        let bytes = read_whole(&*self.file, length.min(self.length)).map_err(io)?;
        if length != self.length || bytes.len() as u64 != self.length {
            let expected = format!("the {} bytes of a manifest that were written", self.length);
            let found = format!("{} bytes", length.min(bytes.len() as u64));
            return Err(Error::corruption(path, length.min(self.length), expected, found));
        }
        Ok(bytes)
    }

    /// Whether another is the same file, with the same edits in it.
    pub(crate) fn is_same(&self, other: &InForce) -> bool {
        Arc::ptr_eq(&self.file, &other.file)
            && (self.next, self.length) == (other.next, other.length)
    }

    /// Where its edits end, if more may follow: what is behind was written as zeros, and synced.
    pub(crate) fn edits_end(&self) -> Option<u64> {
        self.next.map(|next| next.at)
    }

    /// All that was read of it, if an opening has found it and not written it.
    pub(crate) fn found_bytes(&self) -> Option<&[u8]> {
        let found = self.known.first().filter(|_| !self.is_synced);
        found.map(|(_, bytes)| &**bytes)
    }

    /// Whether the edit that is due where these edits end stands at the beginning of another file,
    /// and the beginning of one stands there: two sectors were exchanged.
    pub(crate) fn was_exchanged_with(&self, beginning: &[u8]) -> bool {
        self.exchanged.is_some_and(|at| frame::is_due(beginning, &at))
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
        match self.is_as_known() {
            Ok(false) if self.is_synced || self.is_anothers(&path()) => {
                sometimes!("manifest/changed-by-another");
                Err(place.displaced("its manifest was changed by somebody else"))
            }
            // What cannot be read any more is replaced all the better.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn is_as_known(&self) -> io::Result<bool> {
        if self.file.len()? != self.length {
            return Ok(false);
        }
        for (at, known) in &self.known {
            let mut found = vec![0; known.len()];
            let read = read_full_at(&*self.file, &mut found, *at)?;
            if found.get(..read) != Some(&**known) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether other content than the known one is somebody else's. What this opening has found may
    /// be a cache that never reached the disk, and fall back to the manifest before it, or to
    /// anything; what it has written and synced stays.
    fn is_anothers(&self, path: &Path) -> bool {
        let length = self.file.len().unwrap_or(0).min(MANIFEST_BYTES_MAX);
        let bytes = read_whole(&*self.file, length).unwrap_or_default();
        file::read(&bytes, path)
            .is_ok_and(|(found, _)| found.store_id != self.store_id || found.epoch > self.epoch)
    }

    /// Appends the edit that makes `new` of `old`, and makes it durable. `false` if there is no
    /// room for it: nothing was written, and the manifest is to be replaced.
    ///
    /// Errors: [`WriteFailure::Refused`]: the old manifest is in force, and it may be tried again,
    /// by a replacement; [`WriteFailure::Failed`]: the old or the new one may be in force, or
    /// ([`Error::Displaced`]) the directory is another's.
    pub(crate) fn append(
        &mut self,
        place: &Place,
        old: &Manifest,
        new: &Manifest,
    ) -> std::result::Result<bool, WriteFailure> {
        let Some(next) = self.next else { return Ok(false) };
        let path = || place.path(OwnName::Manifest);
        let edit = Edit::between(old, new);
        let applied = edit.apply(old);
        if applied.as_ref() != Ok(new) {
            let expected = applied.map_or_else(|m| m.expected, |_| "the manifest that was meant");
            let error = Error::corruption(path(), next.at, expected, "an edit to another");
            return Err(WriteFailure::Failed(error));
        }
        let (record, behind) = frame::encode(&new.store_id, &next, &edit.encode());
        if behind.at > self.length && !planted!(EditsNeverFolded) {
            sometimes!("manifest/no-room-for-an-edit");
            return Ok(false);
        }

        // 1. Whose directory it is. Nothing was written yet.
        if !planted!(EditIntoAnyManifest) {
            check(place, Some(self))?;
        }

        // 2. One write, into zeros. Whatever fails from here on, nothing is appended behind it.
        self.next = None;
        if let Err(e) = write_all_at(&*self.file, &record, next.at) {
            sometimes!("manifest/edit-not-written");
            planted!(EditBehindPart => self.next = Some(Position { at: behind.at, ..next }));
            return Err(self.take_back(place, next.at, e));
        }

        // 3. Durable.
        if !planted!(EditNotSynced)
            && let Err(e) = self.file.sync()
        {
            sometimes!("manifest/edit-not-synced");
            let error = Error::io("syncing", path(), e);
            planted!(FailedEditBelievedLost => return Err(WriteFailure::Refused(error)));
            return Err(WriteFailure::Failed(error));
        }
        sometimes!("manifest/edit-appended");
        self.known.truncate(1);
        self.known.push((next.at, first_sector(&record)));
        self.length = self.length.max(behind.at);
        self.next = Some(behind);
        Ok(true)
    }

    /// After a write of an edit that failed: if the disk is full, what was written of it is cut
    /// off, durably, so that the edit is not in force.
    fn take_back(&mut self, place: &Place, at: u64, error: io::Error) -> WriteFailure {
        let path = place.path(OwnName::Manifest);
        let failure = WriteFailure::of_a_write("writing", path.clone(), error);
        if matches!(failure, WriteFailure::Failed(_)) || planted!(EditBehindPart) {
            return failure;
        }
        planted!(RefusedEditLeft => return failure);
        match self.file.set_len(at).and_then(|()| self.file.sync()) {
            Ok(()) => {
                sometimes!("manifest/edit-taken-back");
                self.length = at;
                failure
            }
            Err(e) => {
                sometimes!("manifest/edit-not-taken-back");
                WriteFailure::Failed(Error::io("taking an edit back from", path, e))
            }
        }
    }
}

fn first_sector(bytes: &[u8]) -> Arc<[u8]> {
    let sector = usize::try_from(EDIT_ALIGN).unwrap_or(usize::MAX);
    bytes.get(..sector).unwrap_or(bytes).into()
}

/// As much as there is of so many bytes.
fn read_whole(file: &dyn VfsFile, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    let read = read_full_at(file, &mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// The new manifest, and the second name of the old one if it could not be removed.
pub(crate) type Replaced = (InForce, Option<OwnName>);

/// Replaces the manifest, and makes that durable. It takes `number` and the one behind it. Behind
/// the snapshot there is room for edits, zeroed: `room` bytes, or twice the snapshot if that is
/// more; none if none is wanted, or if the disk has none.
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
    room: Option<u64>,
) -> std::result::Result<Replaced, WriteFailure> {
    debug_assert!(manifest.check().is_ok() && number + NUMBERS_TAKEN <= manifest.next_file);
    let temporary = OwnName::Temporary(manifest.store_id, number);
    let failed = |action, name, e| WriteFailure::Failed(Error::io(action, place.path(name), e));
    planted!(ManifestOverwritten => return overwrite(place, manifest));

    // 1. Whose directory it is. Nothing was written yet.
    check(place, old)?;

    // 2. Write the new manifest under a name of its own. A full disk here has changed nothing.
    let salt = place.draw("drawing a salt for").map_err(WriteFailure::Refused)?;
    let bytes = manifest.encode(&salt);
    place
        .check_length(bytes.len() as u64)
        .map_err(|e| WriteFailure::of_a_write("writing", place.path(temporary), e))?;
    let file = place.create(temporary).map_err(|e| {
        sometimes!("manifest/not-created");
        WriteFailure::Refused(Error::io_or_full("creating", place.path(temporary), e))
    })?;
    let written = write_all_at(&*file, &bytes, 0)
        .and_then(|()| make_room(place, &*file, bytes.len() as u64, room));
    let length = match written {
        Ok(length) => length,
        Err(e) => {
            sometimes!("manifest/write-failed");
            drop(file);
            // The space is wanted back; what cannot be removed now is removed by maintenance.
            let _removed = place.remove(temporary);
            return Err(WriteFailure::of_a_write("writing", place.path(temporary), e));
        }
    };

    // 3. Make its content durable before it gets the name that counts.
    if !planted!(ManifestNotSynced) {
        file.sync().map_err(|e| {
            planted!(FailedManifestTakesTheOldOne => drop(place.remove(OwnName::Manifest)));
            failed("syncing", temporary, e)
        })?;
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
    sometimes!("manifest/folded", old.is_some_and(|old| old.is_synced));
    Ok((InForce::written(file, manifest, &bytes, length), stays.then_some(kept)))
}

/// Zeros behind a snapshot, for the edits to come. Returns the length of the file. Room is worth no
/// refusal: where the disk has none, or the process may write no longer file, there is none.
fn make_room(place: &Place, file: &dyn VfsFile, bytes: u64, room: Option<u64>) -> io::Result<u64> {
    let Some(edit_bytes) = room else { return Ok(bytes) };
    let begins = bytes.next_multiple_of(EDIT_ALIGN);
    let wanted = edit_bytes.max(bytes.saturating_mul(2)).next_multiple_of(EDIT_ALIGN);
    let most = place.file_bytes_max - place.file_bytes_max % EDIT_ALIGN;
    let end = begins.saturating_add(wanted).min(most);
    if end <= begins {
        sometimes!("manifest/no-room-by-a-limit");
        return Ok(bytes);
    }
    let mut at = bytes;
    while at < end {
        let len = (end - at).min(ZERO_CHUNK.len() as u64);
        let zeros = ZERO_CHUNK.get(..usize::try_from(len).unwrap_or(0)).unwrap_or_default();
        match write_all_at(file, zeros, at) {
            Ok(()) => at += len,
            Err(e) if is_disk_full(&e) => {
                sometimes!("manifest/no-room-on-the-disk");
                return match file.set_len(bytes) {
                    Ok(()) => Ok(bytes),
                    // Zeros do no harm where they are.
                    Err(e) if is_disk_full(&e) => file.len(),
                    Err(e) => Err(e),
                };
            }
            Err(e) => return Err(e),
        }
    }
    Ok(end)
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
fn overwrite(place: &Place, manifest: &Manifest) -> std::result::Result<Replaced, WriteFailure> {
    let overwritten = || -> io::Result<InForce> {
        let bytes = manifest.encode(&[7; 16]);
        let file = place
            .open(OwnName::Manifest, Access::ReadWrite)
            .or_else(|_| place.create(OwnName::Manifest))?;
        write_all_at(&*file, &bytes, 0)?;
        file.set_len(bytes.len() as u64)?;
        file.sync()?;
        place.sync_names()?;
        Ok(InForce::written(file, manifest, &bytes, bytes.len() as u64))
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
