//! What an opening says of a path at which there is no store.
//!
//! Invariants: nothing here changes the disk; a store that is damaged, or that lost a file, is
//! never told to be none.

use std::io;
use std::path::Path;

use runstone_vfs::Vfs;

use crate::error::{Error, Result};
use crate::manifest::Manifest;
use crate::recovery::Listing;

/// The directory, which must have a name: an empty one would be the current directory for some
/// calls and nothing for others.
///
/// Error: [`Error::InvalidArgument`].
pub(super) fn named(dir: &Path) -> Result<&Path> {
    if dir.as_os_str().is_empty() {
        return Err(Error::invalid(
            "an empty path; name the directory of the store, as in \"store\" or \".\"",
        ));
    }
    Ok(dir)
}

/// Refuses a directory without a store, where none may be made.
///
/// Errors: [`Error::NoStore`]; [`Error::Corruption`] for a log without a manifest, and other
/// damage; [`Error::UnsupportedFormat`]; [`Error::Io`].
pub(super) fn refuse_none(vfs: &dyn Vfs, dir: &Path, step_bytes: u64) -> Result<()> {
    if Manifest::read(vfs, dir)?.is_some() {
        return Ok(());
    }
    sometimes!("absent/no-store-and-none-made");
    Listing::read(vfs, dir)?.refuse_lost_manifest(vfs, dir, step_bytes)?;
    Err(Error::NoStore { path: dir.to_owned() })
}

/// What a reader is told where there is no lock file: that there is no store; or, if there is one
/// without it, as an incomplete copy is, what the lock met.
pub(super) fn instead_of_lock(vfs: &dyn Vfs, dir: &Path, step_bytes: u64, met: Error) -> Error {
    match refuse_none(vfs, dir, step_bytes) {
        Ok(()) => met,
        Err(missing) if is_not_found(&missing) => Error::NoStore { path: dir.to_owned() },
        Err(other) => other,
    }
}

pub(super) fn is_not_found(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
}
