//! The database: the only owner of state, and the public face of the engine.
//!
//! Invariants: every change goes through the commit path; a handle that was closed refuses
//! everything, a poisoned one every write; the lock is the last thing that is released.

mod builder;
mod entrance;
mod entry_ref;
mod ops;
#[cfg(feature = "planted")]
mod planted;
mod resume;
mod run_list;
mod run_ops;
mod scan;
mod snapshot;
mod verify;

use std::fmt;
use std::path::Path;
use std::time::Duration;

use runstone_vfs::{FileSystem, VfsLock};

pub use builder::Builder;
pub use entry_ref::{EntryRef, ValueRef};
pub use ops::Ticket;
pub use run_list::RunIter;
pub use scan::Scan;
pub use snapshot::Snapshot;

use crate::commit::pipeline::Pipeline;
pub use crate::commit::upkeep::MaintainReport;
use crate::error::{Error, Result};
use crate::memory::Memory;
use crate::options::{DurabilityMode, Options};
use crate::place::Place;
use crate::preallocation::Preallocation;
use crate::runs::RunTracker;
use crate::shell::Shell;
use crate::store::UnifiedStore;
use crate::sync::{Arc, AtomicBool, Mutex, Ordering};
use crate::types::RunId;
use crate::verify::view::Found;

/// What an opening found, and what it did about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// The epoch that the manifest names. (epoch, version) is never given twice.
    pub epoch: u64,
    /// The store was made by this opening.
    pub created: bool,
    /// The store had been closed, or was made by this opening.
    pub clean: bool,
    /// Commits read from the log.
    pub replayed_commits: u64,
    /// Bytes of records read from the log.
    pub replayed_bytes: u64,
    /// Log segments read.
    pub segments: u64,
    /// Bytes of a torn tail that were cut off: from the last intact record to the last byte
    /// that is not zero.
    pub torn_bytes: u64,
    /// Commits that nothing proved to be durable, and that were written again. A read-only
    /// opening shows them and leaves them as they are.
    pub unproven_commits: u64,
    /// Runs that were active at an unclean stop, for the application to resume or to end.
    pub interrupted_runs: Vec<RunId>,
    /// Files of this store that nothing named, and that were removed. After a clean close they
    /// are left to maintenance, since the opening itself writes nothing.
    pub files_removed: u64,
    /// Files in the directory that are not this store's; they are left alone.
    pub foreign_files: u64,
    /// How far the wall clock is ahead of the log, if that is beyond `clock_jump_report_ms`.
    pub clock_jump_ms: Option<u64>,
    /// How far the engine's time, which the log knows, is ahead of the wall clock; `None` if it is
    /// not. A session with a clock that was far ahead, or a clock that was set back since, leaves
    /// it so: what expires lives longer by as much. `docs/durability.md`, at C11, says what to do.
    pub clock_ahead_ms: Option<u64>,
    /// The file system of the directory, as far as the system tells.
    pub file_system: FileSystem,
    /// What the log is extended with ahead of its records, by the options and the file system;
    /// never [`Preallocation::Auto`], and [`Preallocation::Off`] if opened read-only.
    pub preallocation: Preallocation,
    /// How long the opening took.
    pub elapsed: Duration,
}

/// What all handles share.
#[derive(Debug)]
struct Core {
    options: Options,
    place: Arc<Place>,
    store: UnifiedStore,
    runs: RunTracker,
    /// `None` if opened read-only.
    pipeline: Option<Arc<Pipeline>>,
    /// What an opening for reading only has found.
    found: Option<Found>,
    report: RecoveryReport,
    closed: AtomicBool,
    /// Held while closing; the lock goes last.
    lock: Mutex<Option<Box<dyn VfsLock>>>,
    shell: Mutex<Option<Shell>>,
}

/// An open database.
///
/// A handle is cheap to clone, and all clones are the same database; it is closed by
/// [`Database::close`], or when the last clone is dropped. All methods may be called from
/// several threads at once; concurrent writes share one log write and one sync.
///
/// ```
/// use runstone::{Database, RunId, Value};
///
/// let dir = tempfile::tempdir()?;
/// let db = Database::open(dir.path().join("store"))?;
/// let run = RunId::new();
/// db.begin_run(run, [("task", "greet")])?;
/// db.put(run, "greeting", "hello")?;
/// db.end_run(run)?;
/// db.close()?;
///
/// let db = Database::open(dir.path().join("store"))?;
/// assert_eq!(db.get(run, "greeting")?, Some(Value::from("hello")));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Database {
    core: Arc<Core>,
}

/// Where it is, and how it was opened; nothing of what it holds.
impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("dir", &self.core.place.dir_path())
            .field("durability", &self.core.options.durability)
            .field("read_only", &self.core.pipeline.is_none())
            .field("version", &self.core.store.version())
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

impl Database {
    /// Opens the database in this directory, with the default options; makes it if it is
    /// missing. Every write is durable when it is acknowledged ([`DurabilityMode::Strict`]).
    ///
    /// Whatever is shown after it returned is durable. A crash during the opening changes no
    /// later answer.
    ///
    /// From then on it is the directory that was opened, whatever becomes of its name: a changed
    /// working directory or a renamed parent leads no write into another.
    ///
    /// A directory that is made for it is made in one that this user may read as well as write:
    /// a name lasts only once the directory that holds it was synced, which takes opening it.
    ///
    /// Errors: [`Error::Locked`] if it is open already; [`Error::NotAStore`] if it holds files of
    /// other programs and no store ([`Options::create_among_others`]); [`Error::Corruption`] if
    /// stored bytes were damaged; [`Error::UnsupportedFormat`]; [`Error::DiskFull`];
    /// [`Error::Displaced`] if the directory was taken away meanwhile; [`Error::Io`];
    /// [`Error::InvalidArgument`] for an empty path. Nothing is lost by trying again, and
    /// [`Error::is_retryable`] says whether it may help.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::builder().open(path)
    }

    /// As [`Database::open`], in another durability mode.
    pub fn open_with_mode(path: impl AsRef<Path>, mode: DurabilityMode) -> Result<Self> {
        Self::builder().durability(mode).open(path)
    }

    /// Opens an existing database for reading: takes a shared lock and writes nothing. What
    /// it shows may lie beyond what was proven durable; the report says how much.
    ///
    /// Errors: as [`Database::open`]; [`Error::NoStore`] if there is none.
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Self> {
        Self::builder().open_read_only(path)
    }

    /// A database in memory, for tests: the same engine, on files that are gone with it.
    ///
    /// Errors: none in practice.
    pub fn in_memory() -> Result<Self> {
        Self::builder().vfs(Arc::new(runstone_vfs::MemVfs::new())).open("/memory")
    }

    /// Options for an opening.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The published data of all runs.
    #[must_use]
    pub fn storage(&self) -> &UnifiedStore {
        &self.core.store
    }

    /// The runs.
    #[must_use]
    pub fn run_tracker(&self) -> &RunTracker {
        &self.core.runs
    }

    /// The directory.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        self.core.place.dir_path()
    }

    /// When commits are acknowledged.
    #[must_use]
    pub fn durability_mode(&self) -> DurabilityMode {
        self.core.options.durability
    }

    /// The options of this opening.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.core.options
    }

    /// What the opening found, and what it did about it.
    #[must_use]
    pub fn recovery_report(&self) -> &RecoveryReport {
        &self.core.report
    }

    /// Makes everything acknowledged so far durable, whatever its mode, and what was shown as
    /// expired stay gone; also what has expired by now, unless a full disk has no room to log the
    /// time. Writes nothing if since the last flush nothing was written, and nothing was shown as
    /// expired. Read-only, it has nothing to do, and makes nothing stay gone.
    ///
    /// Errors: [`Error::DiskFull`] (try again), [`Error::Poisoned`], [`Error::Closed`].
    pub fn flush(&self) -> Result<()> {
        match self.writing() {
            Ok(pipeline) => pipeline.flush(),
            Err(Error::ReadOnly) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Closes the database for all clones: waits for running commits, makes everything
    /// acknowledged durable, and releases the lock. Later calls return [`Error::Closed`].
    ///
    /// Errors: [`Error::DiskFull`]: nothing was closed, try again; [`Error::Poisoned`]: it is
    /// closed, and the next opening recovers; [`Error::Closed`].
    pub fn close(&self) -> Result<()> {
        self.core.close()
    }

    /// Whether the database was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.core.closed.load(Ordering::Acquire)
    }

    /// Does what is due: commits of tickets that nobody waits for, a sync, a watermark record.
    /// Returns when it wants to be called again, on the monotonic clock.
    ///
    /// The background thread calls it; call it yourself if the options switch that off.
    ///
    /// Errors: as [`Database::flush`].
    pub fn tick(&self) -> Result<Option<Duration>> {
        self.writing()?.tick()
    }

    /// One bounded step of maintenance: frees what expired and what no snapshot sees, merges some
    /// of the tables ([`Steps::merge_bytes`](crate::Steps::merge_bytes)), and removes files that
    /// nothing names any more. A memtable that has reached [`Options::flush_bytes`] is flushed
    /// first, in the same step: it takes as long as writing and syncing its tables, and a close
    /// waits for it. What cannot be flushed or merged for want of room or of a descriptor is tried
    /// again by a later step.
    ///
    /// To merge all that is worth it, call it until [`MaintainReport::left`] is 0: while nothing is
    /// written, the second step of several takes the store for idle, and merges what it would
    /// leave for later else. A crash at any moment loses the merge of two tables at most.
    ///
    /// ```
    /// use runstone::{Database, Options, RunId};
    /// let dir = tempfile::tempdir()?;
    /// let options = Options { flush_bytes: 1, background_threads: 0, ..Options::default() };
    /// let db = Database::builder().options(options).open(dir.path())?;
    /// let run = RunId::new();
    /// db.begin_run(run, runstone::NO_TAGS)?;
    /// for n in 0..10 {
    ///     db.put(run, "counter", n)?;
    ///     db.maintain()?;
    /// }
    /// while db.maintain()?.left > 0 {}
    /// assert_eq!(db.get(run, "counter")?, Some(runstone::Value::Int(9)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// The background thread calls it; call it yourself if the options switch that off.
    ///
    /// Errors: as [`Database::flush`].
    pub fn maintain(&self) -> Result<MaintainReport> {
        self.writing()?.maintain()
    }

    /// What the background threads have met: the error of the last step of one of them, if it
    /// failed; `None` again when that step has been tried again and went well.
    ///
    /// What met a full disk, or a file that cannot be made or read, is tried again after
    /// [`Options::maintenance_interval_ms`]; meanwhile nothing is lost, and memory and log grow up
    /// to their limits, where writes begin to wait and to be refused. What poisons
    /// ([`Error::Poisoned`]) stays. Without threads each call of [`Database::tick`] and
    /// [`Database::maintain`] returns its own errors, and here is none; nor is there in a forked
    /// child.
    ///
    /// ```
    /// let db = runstone::Database::in_memory()?;
    /// if let Some(error) = db.background_error() {
    ///     eprintln!("the store falls behind: {error}");
    /// }
    /// # Ok::<(), runstone::Error>(())
    /// ```
    #[must_use]
    pub fn background_error(&self) -> Option<Error> {
        self.core.place.check_process().ok()?;
        self.core.pipeline.as_ref()?.troubles.first()
    }

    /// What is in memory, by what it is for; all 0 in a forked child. Without iterators, and while
    /// nothing is merged or flushed, nothing is pinned.
    ///
    /// ```
    /// use runstone::{Database, RunId};
    /// let db = Database::in_memory()?;
    /// let run = RunId::new();
    /// db.begin_run(run, runstone::NO_TAGS)?;
    /// db.put(run, "k", 7)?;
    /// let memory = db.memory();
    /// assert!(memory.memtable > 0 && memory.runs > 0);
    /// assert!(memory.total() < runstone::Options::default().memory_bytes_max);
    /// # Ok::<(), runstone::Error>(())
    /// ```
    #[must_use]
    pub fn memory(&self) -> Memory {
        let memory = self.core.store.memory();
        if self.core.place.check_process().is_err() {
            return memory;
        }
        Memory { runs: memory.runs + self.core.runs.memory_bytes(), ..memory }
    }

    /// Errors: [`Error::Forked`], [`Error::Closed`].
    fn check_open(&self) -> Result<()> {
        self.core.place.check_process()?;
        if self.is_closed() { Err(Error::Closed) } else { Ok(()) }
    }

    /// The commit path. Errors: [`Error::Closed`], [`Error::ReadOnly`].
    fn writing(&self) -> Result<&Arc<Pipeline>> {
        self.check_open()?;
        self.core.pipeline.as_ref().ok_or(Error::ReadOnly)
    }
}

impl Core {
    fn close(&self) -> Result<()> {
        // In a forked child any lock may be held by a thread that is not there.
        self.place
            .check_process()
            .or_else(|e| if planted!(ChildCloses) { Ok(()) } else { Err(e) })?;
        let mut lock = self.lock.lock();
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        let outcome = match &self.pipeline {
            None => Ok(()),
            Some(pipeline) => {
                pipeline.queue.set_closed(true);
                let outcome = pipeline.close();
                let is_final = pipeline.health.is_poisoned() && !planted!(PoisonedKeepsLock);
                if outcome.is_err() && !is_final {
                    pipeline.queue.set_closed(false);
                    return outcome;
                }
                outcome
            }
        };
        self.release(&mut lock);
        outcome
    }

    /// Ends everything, with the lock last.
    fn release(&self, lock: &mut Option<Box<dyn VfsLock>>) {
        self.closed.store(true, Ordering::Release);
        // What reads on does so beside the sessions to come.
        self.store.hold_for_pins();
        self.place.handles.leave();
        drop(self.shell.lock().take());
        drop(lock.take());
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        // As close, as far as it can: there is nobody to tell of an error. `close` tells.
        match self.close() {
            Ok(()) | Err(Error::Closed | Error::Forked) => {}
            Err(_error) => {
                #[cfg(feature = "tracing")]
                tracing::warn!(error = %_error, "dropped with unwritten commits");
                let mut lock = self.lock.lock();
                if lock.is_some() {
                    self.release(&mut lock);
                }
            }
        }
    }
}
