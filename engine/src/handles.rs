//! The open files of tables, of which there are no more than so many at once.
//!
//! A table is opened by its name when it is read, and the one that was not read for longest is
//! closed for it: by second chance, which is CLOCK in the order of opening (Corbató, "A paging
//! experiment with the Multics system", 1968). So a store may have more tables than its process may
//! have files.
//!
//! A name can be opened again because a file of a table keeps it as long as anybody may read it:
//! maintenance removes it when nobody holds the table any more. What outlives a close cannot count
//! on that, since another session removes what it likes: its files are *held*, open for good.
//!
//! Invariants: before another file is opened, one is closed; a file that is read at this moment is
//! closed when the read ends, so that there are more than so many only by those that are read by
//! other threads, and by those that are held; what is closed depends on nothing but the calls.

#[cfg(feature = "planted")]
mod planted;

use std::collections::VecDeque;
use std::io;
use std::path::Path;

use runstone_vfs::{Access, FileId, Vfs, VfsFile};

use crate::error::{Error, Result};
use crate::names::LOCK;
use crate::sync::{Arc, AtomicBool, Mutex, Ordering, RwLock};

type File = Arc<dyn VfsFile>;

/// The open files of the tables of one directory.
#[derive(Debug)]
pub(crate) struct Handles {
    dir: Arc<dyn Vfs>,
    /// The lock that its owner holds.
    lock: FileId,
    open_max: usize,
    ring: Mutex<Ring>,
    /// The files are another session's as well, if there is one.
    is_left: AtomicBool,
}

/// What is open, in the order of opening.
#[derive(Debug, Default)]
struct Ring {
    open: VecDeque<Arc<Slot>>,
    /// How many are being opened.
    coming: usize,
}

/// The place of an open file.
#[derive(Debug, Default)]
struct Slot {
    file: RwLock<Option<File>>,
    was_read: AtomicBool,
}

/// The file of a table, open or not.
#[derive(Debug)]
pub(crate) struct TableFile {
    handles: Arc<Handles>,
    name: String,
    slot: Arc<Slot>,
}

impl Handles {
    /// Of a directory, whose owner holds this lock; at most so many are open at once, but one at
    /// least.
    pub(crate) fn new(dir: Arc<dyn Vfs>, lock: FileId, open_max: usize) -> Self {
        Handles {
            dir,
            lock,
            open_max: open_max.max(1),
            ring: Mutex::default(),
            is_left: AtomicBool::new(false),
        }
    }

    /// The session ends: from now on somebody else may remove files.
    pub(crate) fn leave(&self) {
        self.is_left.store(true, Ordering::Release);
    }

    /// Closes what has to be closed before another is opened.
    fn make_room(&self) -> Room<'_> {
        let mut closed = Vec::new();
        let mut ring = self.ring.lock();
        // Behind the first turn nothing counts as read, but for reads meanwhile.
        let mut steps_left = 2 * ring.open.len();
        while ring.open.len() + ring.coming >= self.open_max && !planted!(HandlesNotClosed) {
            let Some(left) = steps_left.checked_sub(1) else { break };
            let Some(slot) = ring.open.pop_front() else { break };
            steps_left = left;
            if slot.was_read.swap(false, Ordering::AcqRel) {
                ring.open.push_back(slot);
            } else {
                sometimes!("handles/closed");
                closed.push(slot.file.write().take());
            }
        }
        ring.coming += 1;
        drop(ring);
        // It is the system that closes them, which may take its time.
        drop(closed);
        Room { handles: self }
    }

    /// Why a name could not be opened.
    fn unopened(&self, path: &Path, error: io::Error) -> Error {
        if error.kind() != io::ErrorKind::NotFound {
            return Error::io("opening", path, error);
        }
        if self.is_left.load(Ordering::Acquire) {
            return Error::Closed;
        }
        let lock = match self.dir.stat(Path::new(LOCK)) {
            Ok(found) if found.id == self.lock => None,
            Ok(_) => Some("another file"),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Some("gone"),
            Err(e) => return Error::io("looking for", path.with_file_name(LOCK), e),
        };
        if let Some(lock) = lock {
            sometimes!("handles/gone-with-the-store");
            let dir = path.parent().unwrap_or(path).to_owned();
            return Error::Displaced { dir, what: format!("its {LOCK} is {lock}") };
        }
        let expected = "a table, which was there when the store was opened";
        Error::corruption(path, 0, expected, "no such file")
    }
}

/// Room for a file that is being opened.
struct Room<'a> {
    handles: &'a Handles,
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.handles.ring.lock().coming -= 1;
    }
}

impl Slot {
    fn get(&self) -> Option<File> {
        let file = self.file.read().clone()?;
        if !self.was_read.load(Ordering::Relaxed) {
            self.was_read.store(true, Ordering::Release);
        }
        Some(file)
    }
}

impl TableFile {
    /// A file of this name that is open.
    pub(crate) fn new(handles: &Arc<Handles>, name: String, file: File) -> Self {
        let own = TableFile { handles: Arc::clone(handles), name, slot: Arc::default() };
        drop(own.put(handles.make_room(), file));
        own
    }

    fn put(&self, room: Room<'_>, file: File) -> File {
        let mut ring = self.handles.ring.lock();
        let mut slot = self.slot.file.write();
        // Another thread may have been sooner.
        let first = slot.get_or_insert_with(|| {
            ring.open.push_back(Arc::clone(&self.slot));
            Arc::clone(&file)
        });
        let first = Arc::clone(first);
        drop(slot);
        drop(ring);
        drop(room);
        first
    }

    /// The file, which is opened if it is not open. `path` stands in errors; `check` tells whether
    /// it is still the same.
    ///
    /// Errors: [`Error::Io`] if it cannot be opened now; [`Error::Corruption`] if it is gone,
    /// [`Error::Displaced`] if the store is, and [`Error::Closed`] if the session has ended; those
    /// of `check`.
    pub(crate) fn get(
        &self,
        path: &Path,
        check: impl FnOnce(&dyn VfsFile) -> Result<()>,
    ) -> Result<File> {
        if let Some(file) = self.slot.get() {
            return Ok(file);
        }
        let room = self.handles.make_room();
        let opened = self.handles.dir.open(Path::new(&self.name), Access::Read);
        sometimes!("handles/not-opened", opened.is_err());
        let file = opened.map_err(|e| self.handles.unopened(path, e))?;
        check(&*file)?;
        sometimes!("handles/opened-again");
        planted!(HandleOfAnotherTable => return Ok(self.put_amiss(room, file)));
        Ok(self.put(room, file))
    }

    /// Keeps the file open for good, if it can be opened. It is not looked at: the name is still
    /// the session's own, and each part bears a checksum that no other file's passes.
    pub(crate) fn hold(&self, path: &Path) {
        let Ok(file) = self.get(path, |_| Ok(())) else {
            sometimes!("handles/not-held");
            return;
        };
        let mut ring = self.handles.ring.lock();
        ring.open.retain(|slot| !Arc::ptr_eq(slot, &self.slot));
        *self.slot.file.write() = Some(file);
    }
}

impl Drop for TableFile {
    fn drop(&mut self) {
        planted!(HandleOutlivesTable => return);
        let file = self.slot.file.write().take();
        // In a forked child nobody gives the lock back. What is left is passed over later.
        if file.is_some()
            && let Some(mut ring) = self.handles.ring.try_lock()
            && let Some(nth) = ring.open.iter().position(|slot| Arc::ptr_eq(slot, &self.slot))
        {
            ring.open.remove(nth);
        }
    }
}

#[cfg(test)]
mod tests;
