//! Errors: few kinds, by what the caller does next.
//!
//! | the caller should | kinds |
//! |---|---|
//! | fix the call | `InvalidArgument`, `LimitExceeded`, `WrongType`, `RunNotFound`, `RunExists`, `RunActive`, `RunEnded`, `RunDropped`, `ReadOnly`, `Closed` |
//! | choose another directory, or create | `NoStore`, `NotAStore` |
//! | retry later | `DiskFull`, `MemtableFull`, `Locked`, `Io` that can pass |
//! | mend the place (permissions, file system), then try again | `Io` that stays |
//! | reopen | `Poisoned`, `OutcomeUnknown`, `Forked`; `Displaced`, when it is clear what became of the directory |
//! | restore from a copy | `Corruption` |
//! | upgrade | `UnsupportedFormat` |
//!
//! Which `Io` [can pass](Error::is_retryable), by the operating system's code. The functions are
//! [`runstone_vfs::may_pass`] and [`runstone_vfs::is_disk_full`].
//!
//! | code | passes | why |
//! |---|---|---|
//! | EINTR, EAGAIN, ETIMEDOUT, EDEADLK | yes | the call was disturbed, or came too late |
//! | EBUSY, ETXTBSY | yes | somebody else has the file, for now |
//! | EMFILE, ENFILE | yes | others close files |
//! | ENOMEM, ENOBUFS, ENOLCK | yes | others give memory and locks back |
//! | ENETDOWN, ENETUNREACH, EHOSTUNREACH, EHOSTDOWN, ECONNRESET and the like | yes | the server of a network file system comes back |
//! | ESTALE | yes | the next opening takes a new handle |
//! | EIO | yes | a cable or a controller gives it once, rot for ever, and nobody can tell; such an error is only ever told of a read or an opening, which changes nothing by being tried again. After a failed write or sync the answer is `OutcomeUnknown` or `Poisoned`. |
//! | ENOSPC, EDQUOT, EFBIG | yes | a full disk, as a rule told as `DiskFull` |
//! | ENOENT, ENOTDIR, EISDIR, ELOOP, ENAMETOOLONG, EEXIST | no | the path is wrong, or something stands in its place |
//! | EACCES, EPERM, EROFS | no | somebody must allow it first |
//! | EINVAL, ENOSYS, EOPNOTSUPP | no | this file system cannot do it |
//! | ENODEV, ENXIO, EBADF, EXDEV and all others | no | what is not known to pass is not tried again |
//!
//! An error without a code that a program's own file system or entropy gives as
//! [`io::ErrorKind::Other`] counts as EIO.
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
        "{what}: {actual} are more than the limit of {limit}; use fewer, or raise the limit in the options"
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
    #[error(
        "the value is {found}, and was to be read as {expected}; read it with the matching call"
    )]
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
    /// The run is still active, and only one that has ended can be dropped.
    #[error("run {run} is still active and cannot be dropped; end it first")]
    RunActive {
        /// The run.
        run: RunId,
    },
    /// The run was dropped: its keys are gone, and its id is never used again.
    #[error(
        "run {run} was dropped, and its keys are gone; only its record is left, and a snapshot from before reads it"
    )]
    RunDropped {
        /// The run.
        run: RunId,
    },
    /// The database was opened for reading only.
    #[error("the database was opened read-only; open it for writing")]
    ReadOnly,
    /// The database was closed, by this handle or a clone of it.
    #[error("the database is closed; open it again")]
    Closed,
    /// The memtables' share of the memory is used up. Nothing was logged.
    ///
    /// A delete and the end of a run are refused only if a snapshot or an iterator still reads
    /// what they would free, and the reserve for them is used up too; see
    /// [`Options::memory_bytes_max`](crate::Options::memory_bytes_max).
    #[error("{}", memtable_full(*used, *budget, *wanted, *reserve))]
    MemtableFull {
        /// Bytes accounted now.
        used: u64,
        /// The budget of this commit, in bytes.
        budget: u64,
        /// What the commit needs, in bytes; never 0.
        wanted: u64,
        /// Whether the commit only deletes and ends runs, and its budget is with the reserve.
        reserve: bool,
    },
    /// The disk is full, or a quota or the largest size of a file is reached: the message says
    /// which. Nothing of this call was committed; what was acknowledged stays.
    #[error("the disk is full: {what}")]
    DiskFull {
        /// What could not be written, what was used up, and what to do.
        what: String,
    },
    /// Another handle, in this process or another, has the database open.
    #[error("{} is locked by {}; close that one first", path.display(), owner_text(*owner))]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// The process that holds it, where the system can tell.
        owner: Option<u32>,
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
        /// What was noticed, as in "its runstone.lock is another file".
        what: String,
    },
    /// The handle was made by another process, from which this one was forked. It does nothing
    /// here, neither to the disk nor to the lock.
    #[error(
        "this handle was opened by another process, before a fork, and works only there; open the database again in this one, once the other has closed it"
    )]
    Forked,
    /// A write or a sync failed in a way after which nothing more may be written: in this call,
    /// of which then nothing was committed, or in an earlier one.
    #[error(
        "this database writes nothing more, since {reason}; what it has shown stays readable: close it and open it again, which recovers"
    )]
    Poisoned {
        /// The first failure.
        reason: Arc<str>,
    },
    /// The commit was in a group whose write or sync failed: it may or may not survive.
    #[error(
        "it is not known whether this commit survives, since {reason}: close the database, open it again, and look"
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
    #[error("{action} {} failed: {source}; {}", path.display(), advice(source))]
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
    /// Whether the same call may succeed later although nobody changes its arguments or mends
    /// the place: the disk or the memtable was full, the database was locked, or a read or an
    /// open met an I/O error that can pass by itself. The table in the head of `error.rs` lists
    /// which can: a lack of descriptors or memory and an input/output error do; a missing store, a
    /// lack of permission and what the file system cannot do at all do not.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::DiskFull { .. } | Error::MemtableFull { .. } | Error::Locked { .. } => true,
            Error::Io { source, .. } => runstone_vfs::may_pass(source) || planted!(DeniedMayPass),
            _ => false,
        }
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
        match runstone_vfs::disk_full_cause(&source) {
            None => Error::io(action, path, source),
            Some(cause) => {
                let (met, advice) = full_text(cause, action);
                let path = path.display();
                let what = format!("{action} {path} met {met} ({source}); {advice} and try again");
                Error::DiskFull { what }
            }
        }
    }

    /// What happened, without what to do: it becomes the reason of another error, which says
    /// what to do itself.
    pub(crate) fn reason(&self) -> String {
        match self {
            Error::InvalidArgument { what } => what.clone(),
            Error::Io { action, path, source } => {
                let (path, full) = (path.display(), runstone_vfs::disk_full_cause(source));
                let full = match full {
                    None => String::new(),
                    Some(runstone_vfs::DiskFull::FileSize) => {
                        "; a file met the largest size that the process may write".to_owned()
                    }
                    Some(cause) => {
                        format!("; the disk was full, it met {}", full_text(cause, action).0)
                    }
                };
                format!("{action} {path} failed ({source}{full})")
            }
            other => other.to_string(),
        }
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

/// What is used up, and what to do about it.
fn full_text(cause: runstone_vfs::DiskFull, action: &str) -> (&'static str, &'static str) {
    use runstone_vfs::DiskFull;
    let makes_a_name = matches!(action, "creating" | "linking" | "renaming");
    match cause {
        DiskFull::Inodes => ("a lack of inodes", "remove files, of which there are too many,"),
        DiskFull::Quota => {
            ("the limit of a disk quota", "free space or files of its owner, or raise the quota,")
        }
        DiskFull::FileSize => (
            "the largest size of a file",
            "raise that of the process (ulimit -f) or open the database with a smaller segment_bytes,",
        ),
        _ if makes_a_name => ("a lack of space or of inodes", "free space, or remove files,"),
        _ => ("a lack of space", "free space"),
    }
}

/// What to do about an error of the operating system.
fn advice(source: &io::Error) -> &'static str {
    use io::ErrorKind as Kind;
    if runstone_vfs::is_disk_full(source) {
        return "the disk was full: free space and try again";
    }
    if runstone_vfs::is_out_of_files(source) {
        return "too many files are open: close some or raise the limit (ulimit -n), and try again";
    }
    if runstone_vfs::is_link_circle(source) {
        return "symbolic links in the path lead in a circle: look where they lead";
    }
    match source.kind() {
        Kind::NotFound => "look whether the path is right, and who may have removed it",
        Kind::PermissionDenied => "look at the owner and the permissions, up to the root",
        Kind::ReadOnlyFilesystem => {
            "the file system can only be read: open the database read-only, or have it mounted for writing"
        }
        Kind::NotADirectory => "the path or a part of it is no directory: look whether it is right",
        Kind::InvalidFilename => "a name in the path is too long: choose a shorter one",
        Kind::IsADirectory => "a directory has the name of a file of the store: move it away",
        Kind::Unsupported | Kind::InvalidInput => {
            "this file system cannot do that: keep the database on another"
        }
        _ if runstone_vfs::may_pass(source) => {
            "try again, and if it stays so, look at the disk and the log of the system"
        }
        _ => "look at the disk and the log of the system",
    }
}

fn owner_text(owner: Option<u32>) -> String {
    match owner {
        None => "another open database".to_owned(),
        Some(id) if id == std::process::id() => {
            "another open database of this process, or a child that it forked".to_owned()
        }
        Some(id) => format!("process {id}"),
    }
}

fn memtable_full(used: u64, budget: u64, wanted: u64, reserve: bool) -> String {
    let holds = match used > budget {
        true => {
            format!("the memtable holds {used} bytes, which is more than its budget of {budget}")
        }
        false => {
            format!("the memtable holds {used} of {budget} bytes and has no room for {wanted} more")
        }
    };
    let advice = match reserve {
        true => {
            "end snapshots and iterators, delete in smaller batches, or open the database with a larger memory_bytes_max"
        }
        false => "delete data, end snapshots, or open the database with a larger memory_bytes_max",
    };
    format!("{holds}; {advice}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn io(kind: io::ErrorKind) -> Error {
        Error::io("creating", "/db/LOCK", kind.into())
    }

    /// By its code: the standard library has no kind for it.
    #[cfg(unix)]
    #[test]
    fn a_lack_of_descriptors_passes_and_says_what_to_raise() {
        let too_many = Error::io("creating", "/db/LOCK", io::Error::from_raw_os_error(24));
        assert!(too_many.is_retryable());
        assert!(too_many.to_string().contains("ulimit -n"), "{too_many}");
    }

    #[test]
    fn a_reason_of_another_error_says_what_happened_and_leaves_the_advice_to_that() {
        for kind in [io::ErrorKind::Other, io::ErrorKind::PermissionDenied] {
            let (error, reason) = (io(kind), io(kind).reason());
            assert!(error.to_string().contains("; "), "{error}");
            assert!(reason.starts_with("creating /db/LOCK failed (") && !reason.contains("; "));
        }
        assert!(io(io::ErrorKind::QuotaExceeded).reason().contains("disk quota"));
        assert_eq!(Error::invalid("a thread panicked").reason(), "a thread panicked");
    }

    #[test]
    fn only_what_passes_by_itself_is_retryable_of_the_errors_of_an_opening() {
        let path = PathBuf::from("/db");
        let dir = path.clone();
        let what = String::new();
        for (error, is_retryable) in [
            (Error::NoStore { path: path.clone() }, false),
            (Error::NotAStore { path: path.clone(), found: String::new() }, false),
            (Error::Displaced { dir, what: String::new() }, false),
            (Error::Forked, false),
            (Error::Locked { path, owner: Some(1) }, true),
            (Error::DiskFull { what }, true),
            (io(io::ErrorKind::NotFound), false),
            (io(io::ErrorKind::ResourceBusy), true),
        ] {
            assert_eq!(error.is_retryable(), is_retryable, "{error}");
            assert!(!error.is_corruption());
        }
    }
}
