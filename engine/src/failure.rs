//! How a step that writes fails: what leaves everything as it was, and what ends all writing.

use std::io;
use std::path::PathBuf;

use runstone_vfs::is_disk_full;

use crate::error::Error;

/// How a step that writes failed.
#[derive(Debug)]
pub(crate) enum WriteFailure {
    /// The disk is full, or a file could not be made, opened or looked at: everything is as
    /// before, and it may be tried again.
    Refused(Error),
    /// Anything else: what is on disk is unknown, or is not this store's any more. Nothing more may
    /// be written.
    Failed(Error),
}

impl WriteFailure {
    /// Whether a file could not be made only since its name is taken: another name may be free.
    pub(crate) fn is_of_a_taken_name(&self) -> bool {
        planted!(TakenTemporaryRefused => return false);
        match self {
            WriteFailure::Refused(Error::Io { source, .. }) => {
                source.kind() == io::ErrorKind::AlreadyExists
            }
            WriteFailure::Refused(_) | WriteFailure::Failed(_) => false,
        }
    }

    /// Of a look at the directory, before anything is written.
    pub(crate) fn of_a_look(error: Error) -> Self {
        match error {
            Error::Displaced { .. } => WriteFailure::Failed(error),
            _ if planted!(FailedLookPoisons) => WriteFailure::Failed(error),
            _ => WriteFailure::Refused(error),
        }
    }

    /// Of a sync of the log: one that failed has poisoned, and so has another owner. Where only the
    /// look at the owner failed, all is as before.
    pub(crate) fn of_a_sync(error: Error) -> Self {
        match error {
            Error::Io { .. } => WriteFailure::Refused(error),
            _ => WriteFailure::Failed(error),
        }
    }

    /// Of a write to a file: a full disk is one, and anything else may have left anything.
    pub(crate) fn of_a_write(action: &'static str, path: PathBuf, error: io::Error) -> Self {
        let is_full = is_disk_full(&error);
        let error = Error::io_or_full(action, path, error);
        if is_full { WriteFailure::Refused(error) } else { WriteFailure::Failed(error) }
    }
}

impl From<WriteFailure> for Error {
    fn from(failure: WriteFailure) -> Self {
        match failure {
            WriteFailure::Refused(error) | WriteFailure::Failed(error) => error,
        }
    }
}
