//! What other programs do to the names of a disk, and to what stands under one.
//!
//! Invariant: it is no call of the store, and counts as none.

use std::path::PathBuf;

/// What another program does to a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameEvent {
    /// Renames a directory or a file.
    Move {
        /// Its name.
        from: PathBuf,
        /// Its new name.
        to: PathBuf,
    },
    /// Removes a file, or a directory with all that it holds.
    Remove(PathBuf),
    /// Copies over a file, durably: it is the same file, of another content.
    Overwrite {
        /// Its name.
        path: PathBuf,
        /// All that it holds from then on.
        content: Vec<u8>,
    },
}
