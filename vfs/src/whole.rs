//! Whole reads and writes over a [`VfsFile`], which may read and write less than it was asked.
//!
//! Invariants: a short or interrupted call is continued where it stopped; every other error is
//! returned at once, and nothing is ever tried twice.

use std::io::{self, IoSlice};

use crate::VfsFile;

/// Writes all of `buf` at `pos`, continuing short and interrupted writes.
///
/// Errors: those of [`VfsFile::write_at`]; `WriteZero` if the file takes no more bytes. Some
/// leading bytes may have been written. As for any write, nothing is durable before a sync.
///
/// ```
/// use std::path::Path;
/// use runstone_vfs::{MemVfs, Vfs, VfsFile, read_full_at, write_all_at};
///
/// # fn main() -> std::io::Result<()> {
/// let file = MemVfs::new().create(Path::new("log"))?;
/// write_all_at(&*file, b"record", 2)?;
///
/// let mut buf = [0xFF; 10];
/// assert_eq!(read_full_at(&*file, &mut buf, 0)?, 8);
/// assert_eq!(&buf, b"\0\0record\xFF\xFF");
/// # Ok(())
/// # }
/// ```
pub fn write_all_at(file: &dyn VfsFile, mut buf: &[u8], mut pos: u64) -> io::Result<()> {
    while !buf.is_empty() {
        match file.write_at(buf, pos) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                buf = buf.get(n..).unwrap_or_default();
                pos += n as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// As [`write_all_at`] for the concatenation of `bufs`, in as few calls as the file allows.
/// Uses up `bufs`.
///
/// ```
/// use std::{io::IoSlice, path::Path};
/// use runstone_vfs::{MemVfs, Vfs, VfsFile, write_all_vectored_at};
///
/// # fn main() -> std::io::Result<()> {
/// let file = MemVfs::new().create(Path::new("log"))?;
/// let mut bufs = [IoSlice::new(b"header"), IoSlice::new(b"payload")];
/// write_all_vectored_at(&*file, &mut bufs, 0)?;
/// assert_eq!(file.len()?, 13);
/// # Ok(())
/// # }
/// ```
pub fn write_all_vectored_at(
    file: &dyn VfsFile,
    mut bufs: &mut [IoSlice<'_>],
    mut pos: u64,
) -> io::Result<()> {
    // Empty slices at the front are dropped, so that 0 can only mean "no more bytes".
    IoSlice::advance_slices(&mut bufs, 0);
    while !bufs.is_empty() {
        match file.write_vectored_at(bufs, pos) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                IoSlice::advance_slices(&mut bufs, n);
                pos += n as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Fills `buf` from `pos` as far as the file reaches, continuing short and interrupted
/// reads; returns the number of bytes read, less than `buf.len()` only at the end.
///
/// Errors: those of [`VfsFile::read_at`].
pub fn read_full_at(file: &dyn VfsFile, buf: &mut [u8], pos: u64) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, pos + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use super::*;

    /// A file whose calls do what a script says, on bytes in memory: at most `Ok(n)` bytes, or
    /// the error. After the script's end every call does all it was asked.
    #[derive(Debug, Default)]
    struct Scripted {
        bytes: Mutex<Vec<u8>>,
        script: Mutex<VecDeque<Result<usize, io::ErrorKind>>>,
        calls: Mutex<Vec<(u64, usize)>>,
    }

    impl Scripted {
        fn new(bytes: &[u8], script: &[Result<usize, io::ErrorKind>]) -> Self {
            Scripted {
                bytes: Mutex::new(bytes.to_vec()),
                script: Mutex::new(script.iter().copied().collect()),
                calls: Mutex::default(),
            }
        }

        /// Records the call; how many of the `asked` bytes it handles.
        fn next(&self, pos: u64, asked: usize) -> io::Result<usize> {
            self.calls.lock().unwrap().push((pos, asked));
            Ok(self.script.lock().unwrap().pop_front().unwrap_or(Ok(asked))?.min(asked))
        }

        fn calls(&self) -> Vec<(u64, usize)> {
            self.calls.lock().unwrap().clone()
        }

        fn bytes(&self) -> Vec<u8> {
            self.bytes.lock().unwrap().clone()
        }
    }

    impl VfsFile for Scripted {
        fn read_at(&self, buf: &mut [u8], pos: u64) -> io::Result<usize> {
            let bytes = self.bytes.lock().unwrap();
            let rest = bytes.get(usize::try_from(pos).unwrap()..).unwrap_or_default();
            let n = self.next(pos, buf.len())?.min(rest.len());
            buf[..n].copy_from_slice(&rest[..n]);
            Ok(n)
        }

        fn write_at(&self, buf: &[u8], pos: u64) -> io::Result<usize> {
            let n = self.next(pos, buf.len())?;
            let pos = usize::try_from(pos).unwrap();
            let mut bytes = self.bytes.lock().unwrap();
            let end = bytes.len().max(pos + n);
            bytes.resize(end, 0);
            bytes[pos..pos + n].copy_from_slice(&buf[..n]);
            Ok(n)
        }

        fn write_vectored_at(&self, bufs: &[IoSlice<'_>], pos: u64) -> io::Result<usize> {
            let joined: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
            self.write_at(&joined, pos)
        }

        fn sync(&self) -> io::Result<()> {
            unreachable!("never called here")
        }

        fn set_len(&self, _: u64) -> io::Result<()> {
            unreachable!("never called here")
        }

        fn allocate(&self, _: u64, _: u64) -> io::Result<()> {
            unreachable!("never called here")
        }

        fn len(&self) -> io::Result<u64> {
            Ok(self.bytes().len() as u64)
        }

        fn id(&self) -> io::Result<crate::FileId> {
            unreachable!("never called here")
        }
    }

    use io::ErrorKind::{Interrupted, Other, StorageFull};

    #[test]
    fn short_and_interrupted_writes_are_continued_where_they_stopped() {
        let file = Scripted::new(b"", &[Ok(2), Err(Interrupted), Ok(1)]);
        write_all_at(&file, b"abcdef", 10).unwrap();
        assert_eq!(file.bytes()[10..], *b"abcdef");
        assert_eq!(file.calls(), [(10, 6), (12, 4), (12, 4), (13, 3)]);
    }

    #[test]
    fn a_write_that_takes_no_more_bytes_is_write_zero() {
        let file = Scripted::new(b"", &[Ok(2), Ok(0)]);
        let error = write_all_at(&file, b"abcd", 0).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WriteZero);
        assert_eq!(file.calls().len(), 2);
    }

    #[test]
    fn a_failed_write_is_returned_at_once_and_never_tried_again() {
        let file = Scripted::new(b"", &[Ok(1), Err(StorageFull)]);
        let error = write_all_at(&file, b"abcd", 0).unwrap_err();
        assert!(crate::is_disk_full(&error));
        assert_eq!(file.calls(), [(0, 4), (1, 3)]);
    }

    #[test]
    fn writing_nothing_makes_no_call() {
        let file = Scripted::new(b"", &[Err(Other)]);
        write_all_at(&file, b"", 0).unwrap();
        write_all_vectored_at(&file, &mut [], 0).unwrap();
        write_all_vectored_at(&file, &mut [IoSlice::new(b""), IoSlice::new(b"")], 0).unwrap();
        assert_eq!(file.calls(), []);
    }

    #[test]
    fn short_vectored_writes_are_continued_across_slices() {
        let slices = || [b"".as_slice(), b"abc", b"", b"de", b""].map(IoSlice::new);
        for first in 1..=5 {
            for second in 1..=5 {
                let file = Scripted::new(b"", &[Ok(first), Err(Interrupted), Ok(second)]);
                write_all_vectored_at(&file, &mut slices(), 3).unwrap();
                assert_eq!(file.bytes()[3..], *b"abcde", "cut at {first}, then {second}");
            }
        }
    }

    #[test]
    fn a_vectored_write_that_takes_no_more_bytes_is_write_zero() {
        let file = Scripted::new(b"", &[Ok(3), Ok(0)]);
        let mut bufs = [IoSlice::new(b"abc"), IoSlice::new(b"de")];
        let error = write_all_vectored_at(&file, &mut bufs, 0).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WriteZero);
        let mut bufs = [IoSlice::new(b"abc")];
        let file = Scripted::new(b"", &[Err(Other)]);
        assert_eq!(write_all_vectored_at(&file, &mut bufs, 0).unwrap_err().kind(), Other);
    }

    #[test]
    fn short_and_interrupted_reads_are_continued_up_to_the_end() {
        let file = Scripted::new(b"0123456789", &[Ok(1), Err(Interrupted), Ok(2)]);
        let mut buf = [0; 6];
        assert_eq!(read_full_at(&file, &mut buf, 2).unwrap(), 6);
        assert_eq!(&buf, b"234567");
        assert_eq!(file.calls(), [(2, 6), (3, 5), (3, 5), (5, 3)]);

        let mut buf = [b'#'; 6];
        assert_eq!(read_full_at(&file, &mut buf, 7).unwrap(), 3);
        assert_eq!(&buf, b"789###");
        assert_eq!(read_full_at(&file, &mut buf, 10).unwrap(), 0);
        assert_eq!(read_full_at(&file, &mut [], 0).unwrap(), 0);
    }

    #[test]
    fn a_failed_read_is_an_error_and_never_the_end() {
        let file = Scripted::new(b"0123456789", &[Ok(4), Err(Other)]);
        assert_eq!(read_full_at(&file, &mut [0; 6], 0).unwrap_err().kind(), Other);
        assert_eq!(file.calls().len(), 2);
    }
}
