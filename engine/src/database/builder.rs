//! Opening a database: the options, and the steps in the order that the disk sees them.

use std::io;
use std::path::{Path, PathBuf};

use runstone_vfs::{Access, LockKind, OsVfs, Vfs, VfsLock};

use super::{Core, Database, RecoveryReport};
use crate::clock::{Clock, EngineClock, Entropy};
use crate::commit::bell::Bell;
use crate::commit::gate::{Health, SyncGate};
use crate::commit::journal::Journal;
use crate::commit::pipeline::Pipeline;
use crate::commit::queue::Queue;
use crate::commit::schedule::Schedule;
use crate::commit::writer::{Writer, WriterLock};
use crate::error::{Error, Result};
use crate::log::creation::{NewSegment, Place};
use crate::log::segment::SegmentHeader;
use crate::log::writer::LogWriter;
use crate::manifest::Manifest;
use crate::names::OwnName;
use crate::options::{DurabilityMode, Options};
use crate::recovery::{self, Listing, Replay};
use crate::shell::{Shell, SystemClock, SystemEntropy};
use crate::store::UnifiedStore;
use crate::store::memtable::Memtable;
use crate::sync::{Arc, AtomicBool, Mutex};

/// How a database is opened.
///
/// ```
/// use runstone::{Database, DurabilityMode};
/// let dir = tempfile::tempdir()?;
/// let db = Database::builder()
///     .durability(DurabilityMode::Batched { interval_ms: 10, batch_size: 500 })
///     .memtable_bytes_max(256 << 20)
///     .open(dir.path())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    options: Options,
    vfs: Arc<dyn Vfs>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Default for Builder {
    fn default() -> Self {
        Builder {
            options: Options::default(),
            vfs: Arc::new(OsVfs::new()),
            clock: Arc::new(SystemClock::new()),
            entropy: Arc::new(SystemEntropy),
        }
    }
}

impl Builder {
    /// All options at once.
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// When commits are acknowledged; the default is [`DurabilityMode::Strict`].
    pub fn durability(mut self, mode: DurabilityMode) -> Self {
        self.options.durability = mode;
        self
    }

    /// The budget of the memtable, in bytes.
    pub fn memtable_bytes_max(mut self, bytes: u64) -> Self {
        self.options.memtable_bytes_max = bytes;
        self
    }

    /// The size at which a log segment is ended, in bytes.
    pub fn segment_bytes(mut self, bytes: u64) -> Self {
        self.options.segment_bytes = bytes;
        self
    }

    /// Whether a thread does what is due; see [`Options::background`].
    pub fn background(mut self, background: bool) -> Self {
        self.options.background = background;
        self
    }

    /// The file system; the default is the real one.
    pub fn vfs(mut self, vfs: Arc<dyn Vfs>) -> Self {
        self.vfs = vfs;
        self
    }

    /// The clock; the default is the system's.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The source of store ids and salts; the default is the system's.
    pub fn entropy(mut self, entropy: Arc<dyn Entropy>) -> Self {
        self.entropy = entropy;
        self
    }

    /// Opens the database in this directory.
    ///
    /// Errors: those of [`Database::open`], and [`Error::InvalidArgument`] for options that
    /// contradict each other.
    pub fn open(self, path: impl AsRef<Path>) -> Result<Database> {
        phase!(Opening);
        self.options.validate()?;
        let dir = path.as_ref();
        let start = self.clock.monotonic();
        let place = self.place(dir);

        // 1. The directory and the lock, before anything is read.
        self.make_dir(dir)?;
        self.refuse_to_make(dir)?;
        let (lock, lock_is_new) = self.lock_for_writing(dir)?;

        // 2. What is there. Reading changes nothing.
        let listing = Listing::read(&*self.vfs, dir)?;
        let found = Manifest::read(&*self.vfs, dir)?;
        if (lock_is_new || found.is_none()) && !planted!(LockFileNotSynced) {
            self.sync_lock_file(dir)?;
        }
        let number = listing.next_number(found.as_ref());
        let mut report = RecoveryReport {
            foreign_files: listing.foreign as u64,
            clean: found.as_ref().is_none_or(|manifest| manifest.clean),
            created: found.is_none(),
            ..RecoveryReport::default()
        };
        let steps = &self.options.steps;
        let mut replay = match &found {
            Some(manifest) => recovery::replay(&*self.vfs, dir, manifest, steps)?,
            None => {
                listing.refuse_lost_manifest(&*self.vfs, dir, steps.read_bytes)?;
                Replay::default()
            }
        };

        // 3. What an unclean stop, or a creation, calls for. Durable before anything is shown.
        let mut orphans = Vec::new();
        let (manifest, writer) = match found {
            Some(manifest) if manifest.clean => {
                sometimes!("builder/goes-on-after-a-clean-close");
                self.resume(dir, manifest, &listing)?
            }
            #[cfg(feature = "planted")]
            Some(manifest) if super::misopening::resumes() => {
                super::misopening::resume(&self, &place, manifest, &listing, &replay)?
            }
            Some(manifest) => {
                let (manifest, segment, left) =
                    recovery::repair(&place, &manifest, &replay, number, &self.options)?;
                orphans.extend(left);
                self.started(manifest, segment)
            }
            None => {
                self.remove_unfinished(dir, &listing)?;
                sometimes!("builder/created");
                let (manifest, segment, left) = recovery::create(&place, number, &self.options)?;
                orphans.extend(left);
                self.started(manifest, segment)
            }
        };

        // 4. What nothing names any more goes last, and only when this opening has replaced the
        // manifest: the one that was found may not be durable, and what it does not name may be
        // what keeps the inode of the one before it. Maintenance removes the rest.
        if !report.created {
            for orphan in listing.orphans(&*self.vfs, dir, &manifest)? {
                if manifest.clean || planted!(OrphansKept) {
                    sometimes!("builder/orphan-left-to-maintenance");
                    orphans.push(orphan);
                    continue;
                }
                match self.vfs.remove(&place.path(orphan)) {
                    Ok(()) => report.files_removed += 1,
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {
                        sometimes!("builder/orphan-already-gone");
                    }
                    Err(_) => {
                        sometimes!("builder/orphan-not-removed");
                        orphans.push(orphan);
                    }
                }
            }
        }

        #[cfg(feature = "planted")]
        super::misopening::after_cleanup(&place, &manifest)?;

        // 5. The state in memory.
        let floor_ms = if planted!(ClockNotFloored) { 0 } else { replay.last_time_ms };
        let clock = EngineClock::new(Arc::clone(&self.clock), floor_ms);
        self.report_replay(&mut report, &manifest, &replay, &clock);
        report.elapsed = self.clock.monotonic().saturating_sub(start);
        if planted!(VersionResetOnOpen) {
            replay.last_version = 0;
        }
        let session_begun = !manifest.clean;
        let gate = SyncGate::default();
        gate.switch_to(writer.number(), writer.written());
        let memtable = match report.created {
            true => Memtable::new(&manifest.store_id, &self.options.steps),
            false => std::mem::take(&mut replay.memtable),
        };
        let store = UnifiedStore::new(memtable, replay.last_version, clock, &self.options);
        let has_orphans = !orphans.is_empty();
        // A close cuts the segment to its length. One that is longer holds what a disk lost and
        // found again: it is not appended to, or old records would follow new ones.
        let ended = writer.has_room_behind() && !session_begun;
        #[cfg(feature = "planted")]
        let ended = ended && !super::misopening::resumes();
        sometimes!("builder/clean-segment-is-longer", ended);
        sometimes!("builder/orphan-removed", report.files_removed > 0);
        let journal = Journal::new(place, manifest, writer, session_begun, ended, orphans);
        let pipeline = Arc::new(Pipeline {
            policy: self.options.policy(),
            options: self.options.clone(),
            queue: Queue::default(),
            writer: WriterLock::new(Writer::new(journal, replay.last_version, replay.last_time_ms)),
            gate,
            health: Health::default(),
            store: store.clone(),
            runs: replay.runs.clone(),
            bell: Bell::default(),
            leftovers: AtomicBool::new(has_orphans),
            schedule: Schedule::default(),
        });
        let shell = match self.options.background {
            false => None,
            true => Some(
                Shell::start(Arc::clone(&pipeline))
                    .map_err(|e| Error::io("starting a thread for", dir, e))?,
            ),
        };
        #[cfg(feature = "tracing")]
        tracing::info!(?report, dir = %dir.display(), "opened");
        Ok(Database {
            core: Arc::new(Core {
                options: self.options,
                dir: dir.to_owned(),
                store,
                runs: replay.runs,
                pipeline: Some(pipeline),
                report,
                closed: AtomicBool::new(false),
                lock: Mutex::new(Some(lock)),
                shell: Mutex::new(shell),
            }),
        })
    }

    /// Opens an existing database for reading only.
    ///
    /// Errors: those of [`Database::open_read_only`].
    pub fn open_read_only(self, path: impl AsRef<Path>) -> Result<Database> {
        phase!(Reading);
        self.options.validate()?;
        let dir = path.as_ref();
        let start = self.clock.monotonic();
        let lock = self.lock(dir, LockKind::Shared)?;
        let listing = Listing::read(&*self.vfs, dir)?;
        let steps = &self.options.steps;
        let Some(manifest) = Manifest::read(&*self.vfs, dir)? else {
            sometimes!("builder/nothing-to-read");
            listing.refuse_lost_manifest(&*self.vfs, dir, steps.read_bytes)?;
            let path = dir.join(OwnName::Manifest.file_name());
            return Err(Error::io("opening", path, io::ErrorKind::NotFound.into()));
        };
        let mut replay = recovery::replay(&*self.vfs, dir, &manifest, steps)?;
        let mut report = RecoveryReport {
            foreign_files: listing.foreign as u64,
            clean: manifest.clean,
            ..RecoveryReport::default()
        };
        let clock = EngineClock::new(Arc::clone(&self.clock), replay.last_time_ms);
        self.report_replay(&mut report, &manifest, &replay, &clock);
        report.elapsed = self.clock.monotonic().saturating_sub(start);
        let memtable = std::mem::take(&mut replay.memtable);
        let store = UnifiedStore::new(memtable, replay.last_version, clock, &self.options);
        Ok(Database {
            core: Arc::new(Core {
                options: self.options,
                dir: dir.to_owned(),
                store,
                runs: replay.runs,
                pipeline: None,
                report,
                closed: AtomicBool::new(false),
                lock: Mutex::new(Some(lock)),
                shell: Mutex::new(None),
            }),
        })
    }

    fn place(&self, dir: &Path) -> Place {
        // Every directory above may have been made by a process that was killed before it
        // could make it durable.
        let parents =
            dir.ancestors()
                .skip(1)
                .map(|parent| {
                    if parent.as_os_str().is_empty() {
                        PathBuf::from(".")
                    } else {
                        parent.to_owned()
                    }
                })
                .collect();
        Place {
            vfs: Arc::clone(&self.vfs),
            dir: dir.to_owned(),
            parents,
            entropy: Arc::clone(&self.entropy),
        }
    }

    /// Makes the directory, and those above it, where they are missing. They become durable
    /// with the first replacement of the manifest.
    fn make_dir(&self, dir: &Path) -> Result<()> {
        let mut missing = Vec::new();
        for path in dir.ancestors().filter(|path| !path.as_os_str().is_empty()) {
            match self.vfs.list(path) {
                Ok(_) => break,
                Err(e) if e.kind() == io::ErrorKind::NotFound => missing.push(path),
                // It is there, and need not be readable.
                Err(e) if path != dir && e.kind() == io::ErrorKind::PermissionDenied => break,
                Err(e) => return Err(Error::io("listing", path, e)),
            }
        }
        if !missing.is_empty() && !self.options.create_if_missing {
            sometimes!("builder/missing-and-not-made");
            return Err(Error::io("opening", dir, io::ErrorKind::NotFound.into()));
        }
        sometimes!("builder/directory-missing", !missing.is_empty());
        for path in missing.into_iter().rev() {
            match self.vfs.create_dir(path) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(Error::io_or_full("creating", path, e)),
            }
        }
        Ok(())
    }

    /// Without [`Options::create_if_missing`]: a directory without a store is left as it is.
    fn refuse_to_make(&self, dir: &Path) -> Result<()> {
        if self.options.create_if_missing || Manifest::read(&*self.vfs, dir)?.is_some() {
            return Ok(());
        }
        sometimes!("builder/no-store-and-none-made");
        let listing = Listing::read(&*self.vfs, dir)?;
        listing.refuse_lost_manifest(&*self.vfs, dir, self.options.steps.read_bytes)?;
        let path = dir.join(OwnName::Manifest.file_name());
        Err(Error::io("opening", path, io::ErrorKind::NotFound.into()))
    }

    /// The lock, and whether its file was made for it.
    fn lock_for_writing(&self, dir: &Path) -> Result<(Box<dyn VfsLock>, bool)> {
        // As a rule it is there, and taking it writes nothing.
        match self.lock(dir, LockKind::Exclusive) {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            outcome => return outcome.map(|lock| (lock, false)),
        }
        sometimes!("builder/lock-file-missing");
        let path = dir.join(OwnName::Lock.file_name());
        match self.vfs.create(&path) {
            Ok(_file) => {}
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(Error::io_or_full("creating", &path, e)),
        }
        self.lock(dir, LockKind::Exclusive).map(|lock| (lock, true))
    }

    /// The name of the lock file becomes durable with the directory, which needs the file to be.
    /// Without it nobody could open for reading. It may have been made by a process that was
    /// killed before it could sync it, so a creation always does it.
    fn sync_lock_file(&self, dir: &Path) -> Result<()> {
        let path = dir.join(OwnName::Lock.file_name());
        let file = self.vfs.open(&path, Access::ReadWrite);
        let file = file.map_err(|e| Error::io("opening", &path, e))?;
        file.sync().map_err(|e| Error::io("syncing", &path, e))
    }

    fn lock(&self, dir: &Path, kind: LockKind) -> Result<Box<dyn VfsLock>> {
        let path = dir.join(OwnName::Lock.file_name());
        #[cfg(feature = "planted")]
        if planted!(LockNotTaken) {
            return super::misopening::no_lock(&*self.vfs, &path);
        }
        self.vfs.lock(&path, kind).map_err(|e| match e.kind() {
            io::ErrorKind::WouldBlock => {
                sometimes!("builder/locked-by-another");
                Error::Locked { path: path.clone() }
            }
            _ => Error::io("locking", &path, e),
        })
    }

    /// After a clean close: goes on where it ended. Nothing is written before the first commit.
    pub(super) fn resume(
        &self,
        dir: &Path,
        mut manifest: Manifest,
        listing: &Listing,
    ) -> Result<(Manifest, LogWriter)> {
        manifest.next_file = listing.next_number(Some(&manifest));
        let Some(last) = manifest.segments.last() else {
            return Err(Error::corruption(dir, 0, "a manifest with a segment", "one without"));
        };
        let path = dir.join(OwnName::Segment(last.number).file_name());
        let file =
            self.vfs.open(&path, Access::ReadWrite).map_err(|e| Error::io("opening", &path, e))?;
        let length = file.len().map_err(|e| Error::io("reading the length of", &path, e))?;
        let header = SegmentHeader {
            store_id: manifest.store_id,
            salt: last.salt,
            number: last.number,
            epoch: manifest.epoch,
        };
        let writer = LogWriter::new(file, &path, &header, last.attested, length, &self.options);
        Ok((manifest, writer))
    }

    fn started(&self, manifest: Manifest, segment: NewSegment) -> (Manifest, LogWriter) {
        let length = segment.length;
        let writer = LogWriter::new(
            segment.file,
            &segment.path,
            &segment.header,
            length,
            length,
            &self.options,
        );
        (manifest, writer)
    }

    /// Removes what an unfinished creation left; no record was ever in it.
    fn remove_unfinished(&self, dir: &Path, listing: &Listing) -> Result<()> {
        for own in &listing.own {
            let path = dir.join(own.file_name());
            match self.vfs.remove(&path) {
                Ok(()) => sometimes!("builder/unfinished-creation-removed"),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(Error::io("removing", &path, e)),
            }
        }
        Ok(())
    }

    fn report_replay(
        &self,
        report: &mut RecoveryReport,
        manifest: &Manifest,
        replay: &Replay,
        clock: &EngineClock,
    ) {
        report.epoch = manifest.epoch;
        report.replayed_commits = replay.commits;
        report.replayed_bytes = replay.bytes;
        report.segments = replay.segments;
        report.torn_bytes = replay.torn_bytes;
        report.unproven_commits = replay.tail_commits();
        if !report.clean {
            sometimes!("builder/runs-interrupted", replay.runs.active_count() > 0);
            report.interrupted_runs = replay.runs.list_active();
        }
        let ahead = clock.wall_ms().saturating_sub(replay.last_time_ms);
        let jumped = replay.last_time_ms > 0 && ahead > self.options.clock_jump_report_ms;
        sometimes!("builder/clock-jumped", jumped);
        report.clock_jump_ms = jumped.then_some(ahead);
        let behind = replay.last_time_ms.saturating_sub(clock.wall_ms());
        sometimes!("builder/log-is-ahead-of-the-clock", behind > 0);
        report.clock_ahead_ms = (behind > 0 && !planted!(ClockAheadUnreported)).then_some(behind);
    }
}
