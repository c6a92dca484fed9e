//! The baselines that write a log without an engine: a raw file, and a bare group committer.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use runstone::vfs::{OsVfs, Vfs, VfsFile, write_all_at};
use runstone::{Options, Preallocation};

use super::harness::{RECORD_BYTES, Tried};

/// How much the engine zeroes by one call.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// A file that is appended to, preallocated as the engine's default has it.
#[derive(Debug)]
pub(crate) struct RawLog {
    file: Arc<dyn VfsFile>,
    position: u64,
    allocated: u64,
    step: u64,
    ahead: Preallocation,
}

impl RawLog {
    /// A log that has had its first record and preallocation, as a database with a run has.
    pub(crate) fn create(path: &Path) -> Tried<Self> {
        let options = Options::default();
        let vfs = OsVfs::new().open_dir(path.parent().unwrap_or(Path::new(".")))?;
        let mut log = RawLog {
            file: vfs.create(Path::new(path.file_name().ok_or("a path without a name")?))?,
            position: 0,
            allocated: 0,
            step: options.preallocate_bytes,
            ahead: options.preallocation.on(vfs.file_system()),
        };
        log.append(&[0xa5; RECORD_BYTES])?;
        log.sync()?;
        Ok(log)
    }

    pub(crate) fn file(&self) -> Arc<dyn VfsFile> {
        Arc::clone(&self.file)
    }

    /// One write, and a preallocation now and then.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Tried<()> {
        let end = self.position + bytes.len() as u64;
        if end > self.allocated && self.step > 0 && self.ahead != Preallocation::Off {
            let target = end + self.step;
            if self.ahead == Preallocation::Zeros {
                for at in (end..target).step_by(ZEROS.len()) {
                    let len = usize::try_from(target - at)?.min(ZEROS.len());
                    write_all_at(&*self.file, ZEROS.get(..len).unwrap_or_default(), at)?;
                }
            } else {
                self.file.allocate(self.allocated, target - self.allocated)?;
            }
            self.allocated = target;
        }
        write_all_at(&*self.file, bytes, self.position)?;
        self.position = end;
        Ok(())
    }

    pub(crate) fn sync(&self) -> Tried<()> {
        Ok(self.file.sync()?)
    }
}

#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
    waiting: Vec<Arc<Place>>,
    leading: bool,
}

/// Where a thread waits.
#[derive(Debug, Default)]
struct Place {
    told: Mutex<Option<Told>>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug)]
enum Told {
    Durable,
    Failed,
    Lead,
}

impl Place {
    fn tell(&self, told: Told) {
        *locked(&self.told) = Some(told);
        self.changed.notify_one();
    }

    fn wait(&self) -> Told {
        let mut told = locked(&self.told);
        loop {
            match told.take() {
                Some(told) => return told,
                None => told = self.changed.wait(told).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

/// Threads queue records; one of them leads: it writes and syncs once for all that wait, wakes
/// them, and hands over to the first that has come meanwhile.
#[derive(Debug)]
pub(crate) struct GroupCommitter {
    queue: Mutex<Queue>,
    log: Mutex<(RawLog, Vec<u8>)>,
    groups: AtomicU64,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl GroupCommitter {
    pub(crate) fn new(log: RawLog) -> Self {
        GroupCommitter {
            queue: Mutex::default(),
            log: Mutex::new((log, Vec::new())),
            groups: AtomicU64::new(0),
        }
    }

    /// How many syncs there were.
    pub(crate) fn groups(&self) -> u64 {
        self.groups.load(Ordering::Relaxed)
    }

    /// Returns when the record is durable.
    pub(crate) fn commit(&self, record: &[u8]) -> Tried<()> {
        let mut queue = locked(&self.queue);
        queue.bytes.extend_from_slice(record);
        if queue.leading {
            let place = Arc::new(Place::default());
            queue.waiting.push(Arc::clone(&place));
            drop(queue);
            return match place.wait() {
                Told::Durable => Ok(()),
                Told::Failed => Err("another thread could not write or sync".into()),
                Told::Lead => self.lead(&place),
            };
        }
        queue.leading = true;
        drop(queue);
        self.lead(&Arc::default())
    }

    fn lead(&self, own: &Arc<Place>) -> Tried<()> {
        // 1. One write and one sync for all that wait.
        let mut log = locked(&self.log);
        let (raw, group) = &mut *log;
        group.clear();
        let mut queue = locked(&self.queue);
        std::mem::swap(group, &mut queue.bytes);
        let members = std::mem::take(&mut queue.waiting);
        drop(queue);
        let written = raw.append(group).and_then(|()| raw.sync());
        drop(log);
        self.groups.fetch_add(1, Ordering::Relaxed);
        // 2. Wake them.
        let told = if written.is_ok() { Told::Durable } else { Told::Failed };
        members.iter().filter(|member| !Arc::ptr_eq(member, own)).for_each(|m| m.tell(told));
        // 3. Hand over.
        let mut queue = locked(&self.queue);
        match queue.waiting.first() {
            Some(next) => next.tell(Told::Lead),
            None => queue.leading = false,
        }
        written
    }
}
