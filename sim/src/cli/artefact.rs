//! Files that a command writes: tried before the work, and none is replaced that is not its own.
//!
//! A path is claimed first: what stands there must be a file of the same kind, or empty, and must
//! take writing. So hours of work do not end at a path that cannot be written, and no file of
//! somebody else is lost to a slip of the hand. What was made for the claim and never written is
//! taken away again.
//!
//! These are files of the real disk, of the person at the screen, and of no store.
#![allow(clippy::disallowed_types, reason = "the artefacts of the command line are no store's")]

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// How much of a file is looked at to tell what it is.
const HEAD_BYTES_MAX: u64 = 1 << 20;

/// A kind of file that a command writes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    /// What it is, with an article.
    name: &'static str,
    /// Whether it begins so.
    is_ours: fn(&str) -> bool,
}

/// A page of `report`.
pub(crate) const PAGE: Kind = Kind { name: "a page of report", is_ours: |s| s.contains(PAGE_MARK) };
/// What stands in the head of every page.
pub(crate) const PAGE_MARK: &str = "<meta name=\"generator\" content=\"runstone-sim report\">";
/// A saved case of `shrink`.
pub(crate) const CASE: Kind = Kind {
    name: "a saved case",
    is_ours: |s| {
        s.starts_with('{') && s.contains("\"ops\"") && s.contains("\"faults_in_recovery\"")
    },
};
/// A test of `shrink`.
pub(crate) const TEST: Kind =
    Kind { name: "a test that shrink wrote", is_ours: |s| s.starts_with(TEST_MARK) };
/// How every test begins.
pub(crate) const TEST_MARK: &str = "/// Shrunk from seed ";
/// The ledger of a sweep.
pub(crate) const LEDGER: Kind = Kind {
    name: "a ledger",
    is_ours: |s| s.trim_end() == "[]" || s.starts_with('[') && s.contains("\"hazard\""),
};

/// A path that may be written.
#[derive(Debug)]
pub(crate) struct Artefact {
    path: PathBuf,
    kind: Kind,
    /// The claim made it, and it is empty.
    is_new: bool,
}

impl Artefact {
    /// Tries the path, and makes an empty file if there is none.
    pub(crate) fn claim(path: &Path, kind: Kind) -> Result<Artefact, String> {
        kind.check(path)?;
        let failed = |e| format!("{} cannot be written: {e}; give another path", path.display());
        let made = OpenOptions::new().write(true).create_new(true).open(path);
        let is_new = match made {
            Ok(_file) => true,
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {
                // Where a device or a pipe stands nothing is lost, and opening it may wait.
                if path.is_file() || !path.exists() {
                    OpenOptions::new().append(true).create(true).open(path).map_err(failed)?;
                }
                false
            }
            Err(e) => return Err(failed(e)),
        };
        Ok(Artefact { path: path.to_owned(), kind, is_new })
    }

    /// Writes it, whole; looks again first, since the work may have taken hours.
    pub(crate) fn write(mut self, text: &str) -> Result<(), String> {
        self.kind.check(&self.path)?;
        self.is_new = false;
        super::write(&self.path, text)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Artefact {
    fn drop(&mut self) {
        let is_empty = || std::fs::metadata(&self.path).is_ok_and(|found| found.len() == 0);
        if self.is_new && is_empty() {
            // An empty file that stays is no harm, and there is nobody to tell.
            let _removed = std::fs::remove_file(&self.path);
        }
    }
}

impl Kind {
    /// Whether nothing of somebody else stands there.
    fn check(self, path: &Path) -> Result<(), String> {
        let found = match std::fs::metadata(path) {
            Ok(found) => found,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(format!("looking at {} failed: {e}", path.display())),
        };
        if found.is_dir() {
            return Err(format!("{} is a directory; give the path of a file", path.display()));
        }
        if !found.is_file() {
            return Ok(());
        }
        let mut head = Vec::new();
        let read =
            File::open(path).and_then(|file| file.take(HEAD_BYTES_MAX).read_to_end(&mut head));
        read.map_err(|e| format!("reading {} failed: {e}", path.display()))?;
        let head = String::from_utf8_lossy(&head);
        if head.is_empty() || (self.is_ours)(&head) {
            return Ok(());
        }
        Err(format!(
            "{} exists and is not {}, so it is left as it is; \
             give another path, or remove it first",
            path.display(),
            self.name
        ))
    }
}
