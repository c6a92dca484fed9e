//! The way into a store's directory: found or made, locked, and made durable.
//!
//! Invariants: the path is resolved once, and what is missing of it is made in directories that
//! are open; nothing is made in a directory where no store may be; no file of a store but its lock
//! is made before the directories above are durable, so that a manifest is proof of them.

use std::io;
use std::path::{Component, Path};
use std::sync::Arc;

use runstone_vfs::{FileKind, LockKind, Vfs, VfsLock};

use crate::error::{Error, Result};
use crate::lock_file;
use crate::names::{LOCK, OwnName, StoreId};
use crate::place::Place;
use crate::recovery::listing::Listing;

/// Which directory a store may be made in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Permits {
    /// Whether a store may be made at all.
    pub(super) create: bool,
    /// Whether it may be made among files that are not a store's.
    pub(super) among_others: bool,
}

/// Opens the directory; makes it, and those above it, where they are missing and may be made.
///
/// Errors: [`Error::NoStore`], [`Error::InvalidArgument`] for an empty path, [`Error::DiskFull`],
/// [`Error::Io`].
pub(super) fn enter(vfs: &dyn Vfs, path: &Path, permits: Permits) -> Result<Arc<dyn Vfs>> {
    if path.as_os_str().is_empty() {
        return Err(Error::invalid(
            "an empty path; name the directory of the store, as in \"store\" or \".\"",
        ));
    }
    let mut missing = Vec::new();
    let mut parts = path.components();
    // The nearest directory that is there.
    let mut dir = loop {
        let here = match parts.as_path() {
            here if here.as_os_str().is_empty() => Path::new("."),
            here => here,
        };
        match vfs.open_dir(here) {
            Ok(dir) => break dir,
            Err(e) if e.kind() == io::ErrorKind::NotFound => match parts.next_back() {
                Some(part) => missing.push(part),
                None => return Err(Error::io("opening", path, e)),
            },
            Err(e) => return Err(Error::io("opening", here, e)),
        }
    };
    if !missing.is_empty() && !permits.create {
        sometimes!("entrance/missing-and-not-made");
        return Err(Error::NoStore { path: path.to_owned() });
    }
    sometimes!("entrance/directory-missing", !missing.is_empty());
    for part in missing.into_iter().rev() {
        let name = Path::new(part.as_os_str());
        if let Component::Normal(_) = part {
            match dir.create_dir(name) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(Error::io_or_full("creating", path, e)),
            }
        }
        dir = dir.open_dir(name).map_err(|e| Error::io("opening", path, e))?;
    }
    Ok(dir)
}

/// A lock that is held, and whether its file was made for it.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) lock: Box<dyn VfsLock>,
    pub(super) is_new: bool,
}

/// Takes the lock of a writer; makes its file if it is missing.
///
/// Errors: [`Error::Locked`]; [`Error::NoStore`] and [`Error::NotAStore`] where no store may be
/// made; [`Error::Corruption`] if a store has lost its manifest; [`Error::DiskFull`],
/// [`Error::Io`].
pub(super) fn lock_for_writing(
    dir: &dyn Vfs,
    path: &Path,
    permits: Permits,
    step_bytes: u64,
) -> Result<Held> {
    // As a rule it is there, and taking it writes nothing.
    if let Some(lock) = lock(dir, path, LockKind::Exclusive)? {
        if !permits.create {
            refuse_to_make(dir, path, permits, step_bytes)?;
        }
        return Ok(Held { lock, is_new: false });
    }
    sometimes!("entrance/lock-file-missing");
    refuse_to_make(dir, path, permits, step_bytes)?;
    match dir.create(Path::new(LOCK)) {
        Ok(_file) => {}
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(Error::io_or_full("creating", path.join(LOCK), e)),
    }
    match lock(dir, path, LockKind::Exclusive)? {
        Some(lock) => Ok(Held { lock, is_new: true }),
        None => Err(Error::io("locking", path.join(LOCK), io::ErrorKind::NotFound.into())),
    }
}

/// Takes a lock; `None` if there is no such file.
///
/// Errors: [`Error::Locked`], [`Error::Io`].
pub(super) fn lock(dir: &dyn Vfs, path: &Path, kind: LockKind) -> Result<Option<Box<dyn VfsLock>>> {
    planted!(LockNotTaken => return super::planted::no_lock(dir, path));
    match dir.lock(Path::new(LOCK), kind) {
        Ok(lock) => Ok(Some(lock)),
        Err(e) => match e.kind() {
            io::ErrorKind::NotFound => Ok(None),
            io::ErrorKind::WouldBlock => {
                sometimes!("entrance/locked-by-another");
                let owner = dir.lock_owner(Path::new(LOCK));
                Err(Error::Locked { path: path.join(LOCK), owner })
            }
            _ => Err(Error::io("locking", path.join(LOCK), e)),
        },
    }
}

/// A directory in which no store is, and none may be made, is left as it is.
fn refuse_to_make(dir: &dyn Vfs, path: &Path, permits: Permits, step_bytes: u64) -> Result<()> {
    let listing = Listing::read(dir, path)?;
    if listing.has_manifest {
        return Ok(());
    }
    listing.refuse_lost_manifest(dir, path, step_bytes)?;
    if !permits.create {
        sometimes!("entrance/no-store-and-none-made");
        return Err(listing.no_store(path));
    }
    match listing.stranger() {
        Some(found) if !permits.among_others && !planted!(MadeAmongOthers) => {
            sometimes!("entrance/not-a-store");
            Err(Error::NotAStore { path: path.to_owned(), found: found.to_owned() })
        }
        _ => Ok(()),
    }
}

/// The lock file that was opened is the file of that name, and no link to one elsewhere.
///
/// Errors: [`Error::NotAStore`] for what is no file; [`Error::Displaced`] for a file that was
/// removed between its opening and the lock on it.
pub(super) fn check_lock(place: &Place) -> Result<()> {
    match place.stat(OwnName::Lock) {
        Ok(found) if found.kind != FileKind::File => {
            let found = format!("{LOCK}, which is a link or a special file");
            Err(Error::NotAStore { path: place.dir_path().to_owned(), found })
        }
        _ => place.check_owner(),
    }
}

/// A store is made where no files of others are, unless that was asked for; and never over a lock
/// file that is not one.
///
/// Errors: [`Error::NotAStore`], [`Error::Io`].
pub(super) fn refuse_among_others(
    place: &Place,
    lock: &dyn VfsLock,
    listing: &Listing,
    permits: Permits,
) -> Result<()> {
    let is_foreign = lock_file::is_foreign(lock.file());
    let is_foreign = is_foreign.map_err(|e| Error::io("reading", place.path(OwnName::Lock), e))?;
    let found = match listing.stranger() {
        _ if is_foreign => format!("{LOCK}, which is another program's file"),
        Some(found) if !permits.among_others && !planted!(MadeAmongOthers) => found.to_owned(),
        _ => return Ok(()),
    };
    Err(Error::NotAStore { path: place.dir_path().to_owned(), found })
}

/// Makes the directory durable for a store that is made in it, with its lock and all directories
/// above. Returns the id of the store: that of an earlier creation that was cut short, or a new
/// one.
///
/// Every directory above may have been made by a process that was killed before it could sync
/// it, so all are synced. One that this user may not open or sync is not one that was made for
/// the store.
///
/// Errors: [`Error::DiskFull`], [`Error::Io`]; the opening may be tried again.
pub(super) fn prepare_creation(place: &Place, lock: &dyn VfsLock) -> Result<StoreId> {
    let failed = |action, e| Error::io_or_full(action, place.path(OwnName::Lock), e);
    let known = lock_file::read(lock.file()).map_err(|e| failed("reading", e))?;
    let id = match known {
        Some(id) => id,
        None => place.draw("drawing an id for")?,
    };
    // What is read may be a cache that failed to reach the disk: it is written again.
    lock_file::write(lock.file(), &id).map_err(|e| failed("writing", e))?;
    place.sync_names().map_err(|e| Error::io_or_full("syncing", place.dir_path(), e))?;
    sync_above(place)?;
    Ok(id)
}

fn sync_above(place: &Place) -> Result<()> {
    let above = |dir: &dyn Vfs| dir.open_dir(Path::new(".."));
    let identity = |dir: &dyn Vfs| dir.stat(Path::new(".")).map(|found| found.id);
    let failed = |e| Error::io_or_full("syncing a directory above", place.dir_path(), e);
    planted!(ParentsNotSynced => return Ok(()));
    let mut dir = Arc::clone(&place.dir);
    let mut id = identity(&*dir).map_err(failed)?;
    loop {
        let next = match above(&*dir) {
            Ok(next) => next,
            Err(e) if is_not_ours(&e) => return Ok(()),
            Err(e) => return Err(failed(e)),
        };
        let next_id = identity(&*next).map_err(failed)?;
        // The root is above itself.
        if next_id == id {
            return Ok(());
        }
        match next.sync_dir(Path::new(".")) {
            Ok(()) => sometimes!("entrance/parent-synced"),
            Err(e) if is_not_ours(&e) => sometimes!("entrance/parent-not-ours"),
            Err(e) => return Err(failed(e)),
        }
        (dir, id) = (next, next_id);
    }
}

/// Whether an error says that a directory cannot have been made by this user, or knows no sync.
fn is_not_ours(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::PermissionDenied | Kind::ReadOnlyFilesystem | Kind::Unsupported | Kind::InvalidInput
    )
}
