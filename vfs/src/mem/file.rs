//! The content of a file in memory, and the handles and locks on it.
//!
//! A file is a length and a sparse map of pages. Invariants:
//! - a page that is missing, and every byte at or beyond the length, is zero;
//! - each page is paid for with [`PAGE_BYTES`] of the file system's [`Space`], until it is
//!   cut off or the file is gone (its last name removed and its last handle dropped).

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::space::Space;
use crate::{Access, FileId, LockKind, VfsFile, VfsLock, check_range};

/// The unit of memory: small enough for small files, large enough that the map is cheap.
const PAGE_LEN: usize = 4096;
const PAGE_BYTES: u64 = PAGE_LEN as u64;

/// A file, whatever its names are; handles and names share it.
#[derive(Debug)]
pub(super) struct Inode {
    number: u64,
    space: Arc<Space>,
    content: RwLock<Content>,
    holders: Mutex<Holders>,
}

#[derive(Debug, Default)]
struct Content {
    len: u64,
    pages: BTreeMap<u64, Box<[u8; PAGE_LEN]>>,
}

/// Who holds the lock of a file. Invariant: not both an exclusive and a shared one.
#[derive(Debug, Default)]
struct Holders {
    exclusive: bool,
    shared: u64,
}

impl Inode {
    /// An empty file that pays from `space`.
    pub(super) fn new(space: Arc<Space>, number: u64) -> Self {
        Inode { number, space, content: RwLock::default(), holders: Mutex::default() }
    }

    /// Which file it is; never given again.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    fn holders(&self) -> MutexGuard<'_, Holders> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inode {
    fn drop(&mut self) {
        let content = self.content.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.space.give(content.pages.len() as u64 * PAGE_BYTES);
    }
}

impl Content {
    fn read(&self, buf: &mut [u8], pos: u64) -> usize {
        let left = usize::try_from(self.len.saturating_sub(pos)).unwrap_or(usize::MAX);
        let len = left.min(buf.len());
        let mut done = 0;
        while let Some(rest) = buf.get_mut(done..len).filter(|rest| !rest.is_empty()) {
            let (index, start) = split(pos + done as u64);
            let n = rest.len().min(PAGE_LEN - start);
            match self.pages.get(&index) {
                Some(page) => rest[..n].copy_from_slice(&page[start..start + n]),
                None => rest[..n].fill(0),
            }
            done += n;
        }
        len
    }

    /// Writes as much as there is space for; an error only if that is nothing at all.
    fn write(&mut self, space: &Space, buf: &[u8], pos: u64) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = buf.get(done..).filter(|rest| !rest.is_empty()) {
            let (index, start) = split(pos + done as u64);
            let n = rest.len().min(PAGE_LEN - start);
            match self.page(space, index) {
                Ok(page) => page[start..start + n].copy_from_slice(&rest[..n]),
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
            done += n;
            self.len = self.len.max(pos + done as u64);
        }
        Ok(done)
    }

    /// The page, made and paid for if it is missing.
    fn page(&mut self, space: &Space, index: u64) -> io::Result<&mut [u8; PAGE_LEN]> {
        use std::collections::btree_map::Entry;
        match self.pages.entry(index) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => {
                space.take(PAGE_BYTES)?;
                Ok(entry.insert(Box::new([0; PAGE_LEN])))
            }
        }
    }

    fn set_len(&mut self, space: &Space, len: u64) {
        if len < self.len {
            let cut = self.pages.split_off(&len.div_ceil(PAGE_BYTES));
            space.give(cut.len() as u64 * PAGE_BYTES);
            let (index, start) = split(len);
            if let Some(page) = self.pages.get_mut(&index) {
                page[start..].fill(0);
            }
        }
        self.len = len;
    }

    /// Reserves `len` bytes from `pos`, all or none: what was reserved can be written whatever
    /// else fills the file system. Without a limit there is nothing to reserve.
    fn allocate(&mut self, space: &Space, pos: u64, len: u64) -> io::Result<()> {
        if len == 0 {
            return Ok(());
        }
        let end = pos + len;
        if space.is_limited() {
            let range = pos / PAGE_BYTES..end.div_ceil(PAGE_BYTES);
            let present = self.pages.range(range.clone()).count() as u64;
            // Paid for at once, so that a lack of space is seen before memory is used.
            space.take((range.end - range.start - present) * PAGE_BYTES)?;
            for index in range {
                self.pages.entry(index).or_insert_with(|| Box::new([0; PAGE_LEN]));
            }
        }
        self.len = self.len.max(end);
        Ok(())
    }
}

/// The page of a position, and the place in it. The remainder fits, being less than PAGE_LEN.
fn split(pos: u64) -> (u64, usize) {
    (pos / PAGE_BYTES, (pos % PAGE_BYTES) as usize)
}

/// An open file in memory.
#[derive(Debug)]
pub(super) struct MemFile {
    pub(super) inode: Arc<Inode>,
    pub(super) access: Access,
}

impl MemFile {
    fn change<T>(&self, change: impl FnOnce(&mut Content, &Space) -> T) -> T {
        let mut content = self.inode.content.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut content, &self.inode.space)
    }

    fn view<T>(&self, view: impl FnOnce(&Content) -> T) -> T {
        view(&self.inode.content.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl VfsFile for MemFile {
    fn read_at(&self, buf: &mut [u8], pos: u64) -> io::Result<usize> {
        check_range(pos, buf.len() as u64)?;
        Ok(self.view(|content| content.read(buf, pos)))
    }

    fn write_at(&self, buf: &[u8], pos: u64) -> io::Result<usize> {
        self.access.check_write()?;
        check_range(pos, buf.len() as u64)?;
        self.change(|content, space| content.write(space, buf, pos))
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.access.check_write()?;
        check_range(0, len)?;
        self.change(|content, space| content.set_len(space, len));
        Ok(())
    }

    fn allocate(&self, pos: u64, len: u64) -> io::Result<()> {
        self.access.check_write()?;
        check_range(pos, len)?;
        self.change(|content, space| content.allocate(space, pos, len))
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.view(|content| content.len))
    }

    fn id(&self) -> io::Result<FileId> {
        Ok(FileId { device: 0, inode: self.inode.number })
    }
}

/// A held lock; dropping it releases it.
#[derive(Debug)]
pub(super) struct MemLock {
    file: MemFile,
    kind: LockKind,
}

impl MemLock {
    /// Takes the lock without waiting. Errors: `WouldBlock`.
    pub(super) fn take(inode: Arc<Inode>, kind: LockKind) -> io::Result<Self> {
        let mut holders = inode.holders();
        let free = !holders.exclusive && (kind == LockKind::Shared || holders.shared == 0);
        if !free {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let access = match kind {
            LockKind::Shared => {
                holders.shared += 1;
                Access::Read
            }
            LockKind::Exclusive => {
                holders.exclusive = true;
                Access::ReadWrite
            }
        };
        drop(holders);
        Ok(MemLock { file: MemFile { inode, access }, kind })
    }
}

impl VfsLock for MemLock {
    fn file(&self) -> &dyn VfsFile {
        &self.file
    }
}

impl Drop for MemLock {
    fn drop(&mut self) {
        let mut holders = self.file.inode.holders();
        match self.kind {
            LockKind::Shared => holders.shared -= 1,
            LockKind::Exclusive => holders.exclusive = false,
        }
    }
}
