//! Errors: few kinds, by what the caller does next.
//!
//! | the caller should | kinds |
//! |---|---|
//! | fix the call | `InvalidArgument`, `LimitExceeded`, `WrongType`, `RunNotFound`, `RunExists`, `RunEnded`, `ReadOnly`, `Closed` |
//! | retry later | `DiskFull`, `MemtableFull`, `Locked`, `Io` while opening or reading |
//! | reopen | `Poisoned`, `OutcomeUnknown` |
//! | restore from a copy | `Corruption` |
//! | upgrade | `UnsupportedFormat` |
//!
//! Invariant: a message says what was expected, what was found and what to do; a corruption
//! names file and offset.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::types::{RunId, RunStatus, TypeTag};

/// The engine's result.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong; see the table in the module's head for what to do about each kind.
///
/// Cloning is cheap. One failed group commit answers every waiter with the same error.
///
/// ```
/// use runstone::{Database, Error, RunId};
///
/// let db = Database::in_memory()?;
/// let run = RunId::new();
/// let error = db.put(run, "key", "value").unwrap_err();
/// assert!(matches!(error, Error::RunNotFound { .. }));
/// assert!(!error.is_retryable() && !error.is_corruption());
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument can never be right (an empty key, a zero TTL, an empty batch, …).
    #[error("invalid argument: {what}")]
    InvalidArgument {
        /// What is wrong with it, and what would be right.
        what: String,
    },
    /// An argument is larger than the options allow. Checked once, before the log, the same
    /// in every durability mode.
    #[error(
        "{what}: {actual} is beyond the limit of {limit}; use less, or raise the limit in the options"
    )]
    LimitExceeded {
        /// Which limit, and its unit, as in "key bytes".
        what: &'static str,
        /// The limit.
        limit: u64,
        /// What was given.
        actual: u64,
    },
    /// The value is not of the kind that the call reads.
    #[error("the value is {found}, but {expected} was asked for; read it with the matching call")]
    WrongType {
        /// What the call reads.
        expected: &'static str,
        /// What is stored.
        found: &'static str,
    },
    /// The run was never begun here (or only after the snapshot that reads it).
    #[error("run {run} was never begun in this database; begin it first")]
    RunNotFound {
        /// The run.
        run: RunId,
    },
    /// A run with this id exists already, whatever its status.
    #[error("run {run} exists already (status {status}); choose a new id")]
    RunExists {
        /// The run.
        run: RunId,
        /// Its status.
        status: RunStatus,
    },
    /// The run has ended: it can be read for ever, but not written.
    #[error("run {run} has ended (status {status}) and can only be read; begin a new run")]
    RunEnded {
        /// The run.
        run: RunId,
        /// Its status.
        status: RunStatus,
    },
    /// The database was opened for reading only.
    #[error("the database was opened read-only; open it for writing")]
    ReadOnly,
    /// The database was closed, by this handle or a clone of it.
    #[error("the database is closed; open it again")]
    Closed,
    /// The memtable's byte budget is used up. Nothing was logged.
    #[error(
        "the memtable holds {used} of {budget} bytes and has no room for {wanted} more; delete data, end snapshots, or raise memtable_bytes_max"
    )]
    MemtableFull {
        /// Bytes accounted now.
        used: u64,
        /// The budget, in bytes.
        budget: u64,
        /// What the commit needs, in bytes.
        wanted: u64,
    },
    /// The disk is full. Nothing of this call was committed; what was acknowledged stays.
    #[error("the disk is full ({what}); free space and try again")]
    DiskFull {
        /// What could not be written.
        what: String,
    },
    /// Another handle, in this process or another, has the database open.
    #[error("{} is locked by another open database; close that one first", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// There is no store, and the call may not make one. Nothing was changed.
    #[error(
        "no store in {}: look whether the path is right, or open it for writing with create_if_missing, which makes one",
        path.display()
    )]
    NoStore {
        /// The directory, as it was given.
        path: PathBuf,
    },
    /// The directory holds files of other programs, and no store. Nothing was changed.
    #[error(
        "{} is not a Runstone directory: it holds {found}, and no store; give the store a directory of its own",
        path.display()
    )]
    NotAStore {
        /// The directory, as it was given.
        path: PathBuf,
        /// What stands there, as in "the file CURRENT".
        found: String,
    },
    /// The directory, its lock or its manifest is not the one any more that this handle opened.
    /// Nothing more is written, neither there nor in what stands in its place.
    #[error(
        "this store was moved, replaced or removed while it was open in {} ({what}); nothing more is written: close this handle, see what became of the directory, and open the database where it is now",
        dir.display()
    )]
    Displaced {
        /// The directory, as it was opened.
        dir: PathBuf,
        /// What was noticed, as in "its LOCK is another file".
        what: String,
    },
    /// The handle was made by another process, from which this one was forked. It does nothing
    /// here, neither to the disk nor to the lock.
    #[error(
        "this handle was opened by another process, before a fork, and works only there; open the database again in this one, once the other has closed it"
    )]
    Forked,
    /// The log failed in a way after which nothing more may be written.
    #[error(
        "an earlier write failed ({reason}), so nothing more is written; what was read stays readable: close the database and open it again, which recovers"
    )]
    Poisoned {
        /// The first failure.
        reason: Arc<str>,
    },
    /// The commit was in a group whose write or sync failed: it may or may not survive.
    #[error(
        "the outcome of this commit is unknown ({reason}): close the database, open it again, and look"
    )]
    OutcomeUnknown {
        /// The failure.
        reason: Arc<str>,
    },
    /// Stored bytes are not what was written. Nothing was changed.
    #[error("corruption in {} at offset {offset}: expected {expected}, found {found}; restore the directory from a copy", file.display())]
    Corruption {
        /// The file.
        file: PathBuf,
        /// Byte offset in the file.
        offset: u64,
        /// What should stand there.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// A file has a format that this version does not know. Nothing was changed.
    #[error("{} has format {found}, but this version of runstone reads up to format {supported}; use a newer version", file.display())]
    UnsupportedFormat {
        /// The file.
        file: PathBuf,
        /// Its format.
        found: u32,
        /// The newest that this version knows.
        supported: u32,
    },
    /// The operating system reported an error.
    #[error("{action} {} failed: {source}", path.display())]
    Io {
        /// What was tried, as in "reading".
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// The cause.
        source: Arc<io::Error>,
    },
}

impl Error {
    /// Whether the same call may succeed later without a change of its arguments: the disk or
    /// the memtable was full, the database was locked, or a read or an open met an I/O error.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Error::DiskFull { .. }
                | Error::MemtableFull { .. }
                | Error::Locked { .. }
                | Error::Io { .. }
        )
    }

    /// Whether stored bytes were damaged or are missing.
    #[must_use]
    pub fn is_corruption(&self) -> bool {
        matches!(self, Error::Corruption { .. })
    }

    pub(crate) fn invalid(what: impl Into<String>) -> Self {
        Error::InvalidArgument { what: what.into() }
    }

    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Error::Io { action, path: path.into(), source: Arc::new(source) }
    }

    /// As [`Error::io`], but a full disk is [`Error::DiskFull`].
    pub(crate) fn io_or_full(
        action: &'static str,
        path: impl Into<PathBuf>,
        source: io::Error,
    ) -> Self {
        let path = path.into();
        if runstone_vfs::is_disk_full(&source) {
            return Error::DiskFull { what: format!("{action} {}: {source}", path.display()) };
        }
        Error::io(action, path, source)
    }

    pub(crate) fn corruption(
        file: impl Into<PathBuf>,
        offset: u64,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) -> Self {
        Error::Corruption {
            file: file.into(),
            offset,
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }

    pub(crate) fn wrong_type(expected: &'static str, found: &'static str) -> Self {
        Error::WrongType { expected, found }
    }

    pub(crate) fn wrong_tag(tag: TypeTag) -> Self {
        Error::invalid(format!(
            "keys of kind {} are written by the engine only; use begin_run and end_run",
            tag.as_str()
        ))
    }
}
