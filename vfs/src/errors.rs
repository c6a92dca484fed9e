//! What an error of the operating system means to who met it: the disk is full, or it can pass.
//!
//! Invariant: what is not known is neither.

use std::fmt;
use std::io;

/// Whether an error says that the disk is full, whatever of it is used up; see [`disk_full_cause`].
/// Of a write or an allocation this may be answered by trying again later; of a sync it is a
/// failed sync.
pub fn is_disk_full(error: &io::Error) -> bool {
    disk_full_cause(error).is_some()
}

/// What of the disk an error says to be used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DiskFull {
    /// `ENOSPC`: the file system has no space left; or no inode for another file, where it does
    /// not tell.
    Space,
    /// `ENOSPC` of a call that makes a name, on a file system that has no inode left.
    Inodes,
    /// `EDQUOT`: the quota of a user, a group or a project, of space or of files.
    Quota,
    /// `EFBIG`: the largest size of one file, of this process (`ulimit -f`) or of the file system.
    /// A process that does not ignore `SIGXFSZ` is ended by the former before it sees an error.
    FileSize,
}

/// What of the disk an error says to be used up; `None` for any other error.
///
/// ```
/// use runstone_vfs::{DiskFull, disk_full_cause};
/// let error = std::io::ErrorKind::QuotaExceeded.into();
/// assert_eq!(disk_full_cause(&error), Some(DiskFull::Quota));
/// ```
pub fn disk_full_cause(error: &io::Error) -> Option<DiskFull> {
    match error.kind() {
        io::ErrorKind::StorageFull if is_lack_of_inodes(error) => Some(DiskFull::Inodes),
        io::ErrorKind::StorageFull => Some(DiskFull::Space),
        io::ErrorKind::QuotaExceeded => Some(DiskFull::Quota),
        io::ErrorKind::FileTooLarge => Some(DiskFull::FileSize),
        _ => None,
    }
}

/// For implementations: a full disk that has space left, but no inode for another file.
///
/// ```
/// use runstone_vfs::{DiskFull, disk_full_cause, lack_of_inodes};
/// assert_eq!(disk_full_cause(&lack_of_inodes()), Some(DiskFull::Inodes));
/// ```
pub fn lack_of_inodes() -> io::Error {
    io::Error::new(io::ErrorKind::StorageFull, LackOfInodes)
}

/// What [`lack_of_inodes`] holds.
#[derive(Clone, Copy, Debug)]
struct LackOfInodes;

impl fmt::Display for LackOfInodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no inode left on device")
    }
}

impl std::error::Error for LackOfInodes {}

/// Also where the error was given another context.
fn is_lack_of_inodes(error: &io::Error) -> bool {
    let Some(inner) = error.get_ref() else { return false };
    inner.is::<LackOfInodes>() || inner.downcast_ref::<io::Error>().is_some_and(is_lack_of_inodes)
}

/// Whether an error can pass by itself, so that the same call may succeed later although nobody
/// has done anything about it. What is not known to be of this kind is not.
///
/// Known are a full disk; what was interrupted, busy, locked or too slow; a lack of memory, of
/// descriptors or of locks; a network that is away; a handle that has gone stale, which a new
/// opening replaces; and an input/output error, as a cable gives once and rot for ever.
///
/// ```
/// use std::io::ErrorKind;
/// assert!(runstone_vfs::may_pass(&ErrorKind::ResourceBusy.into()));
/// assert!(!runstone_vfs::may_pass(&ErrorKind::PermissionDenied.into()));
/// ```
pub fn may_pass(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::Interrupted
        | Kind::WouldBlock
        | Kind::TimedOut
        | Kind::ResourceBusy
        | Kind::ExecutableFileBusy
        | Kind::Deadlock
        | Kind::OutOfMemory
        | Kind::StaleNetworkFileHandle
        | Kind::NetworkDown
        | Kind::NetworkUnreachable
        | Kind::HostUnreachable
        | Kind::NotConnected
        | Kind::ConnectionRefused
        | Kind::ConnectionReset
        | Kind::ConnectionAborted
        | Kind::BrokenPipe => true,
        // What a file system that is not the operating system's says of itself.
        Kind::Other if error.raw_os_error().is_none() => true,
        _ => {
            is_disk_full(error) || error.raw_os_error().is_some_and(|code| PASSING.contains(&code))
        }
    }
}

/// Codes of errors that can pass, and for which the standard library has no kind.
#[cfg(unix)]
const PASSING: [i32; 6] = {
    use rustix::io::Errno;
    [
        Errno::IO.raw_os_error(),
        Errno::MFILE.raw_os_error(),
        Errno::NFILE.raw_os_error(),
        Errno::NOBUFS.raw_os_error(),
        Errno::NOLCK.raw_os_error(),
        Errno::HOSTDOWN.raw_os_error(),
    ]
};

/// `ERROR_TOO_MANY_OPEN_FILES`, `ERROR_NOT_READY`, `ERROR_CRC`, `ERROR_SHARING_VIOLATION`,
/// `ERROR_LOCK_VIOLATION` and `ERROR_IO_DEVICE`.
#[cfg(windows)]
const PASSING: [i32; 6] = [4, 21, 23, 32, 33, 1117];

#[cfg(not(any(unix, windows)))]
const PASSING: [i32; 0] = [];

/// Whether an error says that the symbolic links of a path lead in a circle.
pub fn is_link_circle(error: &io::Error) -> bool {
    #[cfg(unix)]
    let code = Some(rustix::io::Errno::LOOP.raw_os_error());
    #[cfg(not(unix))]
    let code = None;
    code.is_some() && error.raw_os_error() == code
}

/// Whether an error says that there are too many open files, in this process or on this system.
pub fn is_out_of_files(error: &io::Error) -> bool {
    #[cfg(unix)]
    let codes = [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE].map(|e| e.raw_os_error());
    #[cfg(windows)]
    let codes = [4];
    #[cfg(not(any(unix, windows)))]
    let codes: [i32; 0] = [];
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}

#[cfg(test)]
mod tests {
    use io::ErrorKind::{Interrupted, Other, StorageFull};

    use super::*;

    #[test]
    fn a_full_disk_is_a_lack_of_space_of_quota_or_of_room_in_a_file_and_says_which() {
        use io::ErrorKind::{FileTooLarge, OutOfMemory, QuotaExceeded, WriteZero};
        for (kind, cause) in [
            (StorageFull, DiskFull::Space),
            (QuotaExceeded, DiskFull::Quota),
            (FileTooLarge, DiskFull::FileSize),
        ] {
            assert_eq!(disk_full_cause(&kind.into()), Some(cause), "{kind:?}");
            assert!(is_disk_full(&kind.into()) && may_pass(&kind.into()), "{kind:?}");
        }
        for kind in [OutOfMemory, WriteZero, Other, Interrupted] {
            assert!(!is_disk_full(&kind.into()), "{kind:?}");
        }
        #[cfg(unix)]
        for (errno, cause) in [
            (rustix::io::Errno::NOSPC, DiskFull::Space),
            (rustix::io::Errno::DQUOT, DiskFull::Quota),
            (rustix::io::Errno::FBIG, DiskFull::FileSize),
        ] {
            assert_eq!(disk_full_cause(&errno.into()), Some(cause), "{errno}");
        }
    }

    /// By the codes that a system gives, since the standard library has kinds for only some.
    #[cfg(unix)]
    #[test]
    fn only_what_can_pass_by_itself_may_be_tried_again() {
        use rustix::io::Errno as E;
        for errno in [
            E::IO,
            E::MFILE,
            E::NFILE,
            E::INTR,
            E::AGAIN,
            E::NOMEM,
            E::BUSY,
            E::TXTBSY,
            E::STALE,
            E::NOSPC,
            E::DQUOT,
            E::FBIG,
            E::NOLCK,
            E::NOBUFS,
            E::TIMEDOUT,
            E::DEADLK,
            E::NETDOWN,
            E::HOSTUNREACH,
            E::HOSTDOWN,
            E::CONNRESET,
        ] {
            assert!(may_pass(&errno.into()), "{errno}");
        }
        for errno in [
            E::NOENT,
            E::NOTDIR,
            E::ISDIR,
            E::ACCESS,
            E::PERM,
            E::ROFS,
            E::INVAL,
            E::NOSYS,
            E::OPNOTSUPP,
            E::EXIST,
            E::NOTEMPTY,
            E::LOOP,
            E::NAMETOOLONG,
            E::XDEV,
            E::MLINK,
            E::NODEV,
            E::NXIO,
            E::BADF,
            E::SPIPE,
            E::RANGE,
            E::FAULT,
        ] {
            assert!(!may_pass(&errno.into()), "{errno}");
        }
        for errno in [E::MFILE, E::NFILE] {
            assert!(is_out_of_files(&errno.into()), "{errno}");
        }
        assert!(!is_out_of_files(&E::IO.into()) && !is_out_of_files(&Other.into()));
        assert!(is_link_circle(&E::LOOP.into()));
        assert!(!is_link_circle(&E::NOENT.into()) && !is_link_circle(&Other.into()));
        assert!(may_pass(&io::Error::other("of another file system")));
    }
}
