//! Opening a database: the options, and the steps in the order that the disk sees them.

use std::io;
use std::path::Path;

use runstone_vfs::{FileSystem, LockKind, OsVfs, Vfs, VfsLock};

use super::entrance::{self, Permits};
#[cfg(feature = "planted")]
use super::planted::clean_up;
use super::resume::resume;
use super::{Core, Database, RecoveryReport};
use crate::cache::Cache;
use crate::clock::{Clock, EngineClock, Entropy};
use crate::commit::bell::Bell;
use crate::commit::gate::{Health, SyncGate};
use crate::commit::journal::Journal;
use crate::commit::pace::Pace;
use crate::commit::pipeline::Pipeline;
use crate::commit::queue::Queue;
use crate::commit::schedule::Schedule;
use crate::commit::troubles::Troubles;
use crate::commit::writer::{Writer, WriterLock};
use crate::error::{Error, Result};
use crate::home::Home;
use crate::lock_file;
use crate::log::creation::NewSegment;
use crate::log::writer::{LogWriter, PADDING_BYTES_MAX};
use crate::manifest::Manifest;
use crate::manifest::in_force::InForce;
use crate::memory::Shares;
use crate::names::{LOCK, OwnName, StoreId};
use crate::options::{DurabilityMode, Options, SEGMENT_BYTES_MIN};
use crate::place::Place;
use crate::preallocation::Preallocation;
use crate::recovery::listing::Listing;
use crate::recovery::{self, Replay, Started};
use crate::shell::{Shell, SystemClock, SystemEntropy};
use crate::store::UnifiedStore;
use crate::store::layers::Frozen;
use crate::store::memtable::Memtable;
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex};
use crate::verify::view::Found;

/// How a database is opened.
///
/// ```
/// use runstone::{Database, DurabilityMode};
/// let dir = tempfile::tempdir()?;
/// let db = Database::builder()
///     .durability(DurabilityMode::Batched { interval_ms: 10, batch_size: 500 })
///     .memory_bytes_max(512 << 20)
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

    /// The memory that the database may use, in bytes: [`Options::memory_bytes_max`].
    pub fn memory_bytes_max(mut self, bytes: u64) -> Self {
        self.options.memory_bytes_max = bytes;
        self
    }

    /// The size at which a log segment is ended, in bytes.
    pub fn segment_bytes(mut self, bytes: u64) -> Self {
        self.options.segment_bytes = bytes;
        self
    }

    /// How many threads do what is due; see [`Options::background_threads`].
    pub fn background_threads(mut self, threads: usize) -> Self {
        self.options.background_threads = threads;
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
    pub fn open(mut self, path: impl AsRef<Path>) -> Result<Database> {
        phase!(Opening);
        self.options.validate()?;
        let path = path.as_ref();
        let start = self.clock.monotonic();
        self.keep_below_the_largest_size()?;
        let given = self.options.clone();
        let steps = &given.steps;

        // 1. The directory and the lock, before anything is read.
        let permits = Permits {
            create: self.options.create_if_missing,
            among_others: self.options.create_among_others,
        };
        let dir = entrance::enter(&*self.vfs, path, permits)?;
        let file_system = dir.file_system();
        self.options.preallocation = match self.options.preallocate_bytes {
            0 => Preallocation::Off,
            _ if planted!(FileSystemNotAsked) => self.options.preallocation.on(FileSystem::Ext),
            _ => self.options.preallocation.on(file_system),
        };
        let held = entrance::lock_for_writing(&*dir, path, permits, steps.read_bytes)?;
        let lock = held.lock;
        let place = Arc::new(self.place(dir, path, &*lock)?);
        entrance::check_lock(&place)?;

        // 2. What is there. Reading changes nothing.
        let listing = Listing::read(&*place.dir, path)?;
        let found = InForce::read(&place)?;
        let number = listing.next_number(found.as_ref().map(|(manifest, _)| manifest));
        let mut report = RecoveryReport {
            clean: found.as_ref().is_none_or(|(manifest, _)| manifest.clean),
            created: found.is_none(),
            file_system,
            preallocation: self.options.preallocation,
            ..RecoveryReport::default()
        };
        let mut replay = match &found {
            Some((manifest, in_force)) => {
                listing.refuse_lost_edit(&place, (manifest, in_force), steps.read_bytes)?;
                recovery::replay(&place, manifest, steps)?
            }
            None => {
                listing.refuse_lost_manifest(&*place.dir, path, steps.read_bytes)?;
                Replay::default()
            }
        };

        // 3. What an unclean stop, or a creation, calls for. Durable before anything is shown.
        let mut orphans = Vec::new();
        let (manifest, writer) = match found {
            Some((manifest, in_force)) if manifest.clean => {
                sometimes!("builder/goes-on-after-a-clean-close");
                if held.is_new {
                    self.write_lock_file(&place, &*lock, &manifest)?;
                }
                let (manifest, writer) =
                    resume(&place, manifest, &listing, &replay, &self.options)?;
                ((manifest, in_force), writer)
            }
            #[cfg(feature = "planted")]
            Some(found) if super::planted::resumes() => {
                super::planted::resume(&place, found, &listing, &replay, &self.options)?
            }
            Some((manifest, in_force)) => {
                if held.is_new {
                    self.write_lock_file(&place, &*lock, &manifest)?;
                }
                let found = (&manifest, &in_force);
                let started = recovery::repair(&place, found, &replay, number, &self.options)?;
                self.started(started, &mut orphans)
            }
            None => {
                entrance::refuse_among_others(&place, &*lock, &listing, permits)?;
                let id = entrance::prepare_creation(&place, &*lock)?;
                self.remove_unfinished(&place, &listing, &id)?;
                sometimes!("builder/created");
                let started = recovery::create(&place, id, number, &self.options)?;
                self.started(started, &mut orphans)
            }
        };

        // 4. What nothing names any more goes last, and only when this opening has replaced the
        // manifest: the one that was found may not be durable, and what it does not name may be
        // what keeps the inode of the one before it. Maintenance removes the rest.
        let counts = |number| manifest.0.names(number);
        let (found, foreign) = listing.judge(&place, &manifest.0.store_id, counts);
        report.foreign_files = foreign;
        for orphan in if report.created { Vec::new() } else { found } {
            if manifest.0.clean || planted!(OrphansKept) {
                sometimes!("builder/orphan-left-to-maintenance");
                orphans.push(orphan);
                continue;
            }
            match place.remove(orphan) {
                Ok(()) => report.files_removed += u64::from(!planted!(RemovedNotReported)),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    sometimes!("builder/orphan-already-gone");
                }
                Err(_) => {
                    sometimes!("builder/orphan-not-removed");
                    orphans.push(orphan);
                }
            }
        }

        planted!(UnlinkBeforeRenameDurable | ForeignFileRemoved => clean_up(&place, &manifest.0)?);

        // 5. The state in memory.
        let floor_ms = if planted!(ClockNotFloored) { 0 } else { replay.last_time_ms };
        let clock = EngineClock::new(Arc::clone(&self.clock), floor_ms);
        self.report_replay(&mut report, &manifest.0, &replay, &clock);
        report.elapsed = self.clock.monotonic().saturating_sub(start);
        planted!(VersionResetOnOpen => replay.last_version = 0);
        let session_begun = !manifest.0.clean;
        let gate = SyncGate::default();
        gate.switch_to(writer.number(), writer.written().at);
        let memtables = match report.created {
            true => {
                let new = || Memtable::new(&manifest.0.store_id, &self.options.steps);
                Frozen { memtable: new(), records: new() }
            }
            false => replay.take_memtables(),
        };
        let removals = std::mem::take(&mut replay.removals);
        let levels = (memtables, std::mem::take(&mut replay.levels), removals);
        let home = (place.clone() as Arc<dyn Home>, Arc::clone(&place.cache));
        let store = UnifiedStore::new(levels, replay.last_version, clock, home, &self.options);
        let runs = replay.runs.at_home(place.clone());
        let has_orphans = !orphans.is_empty();
        // A close cuts the segment to its length. One that is longer holds what a disk lost and
        // found again: it is not appended to, or old records would follow new ones.
        let is_longer = writer.has_room_behind();
        // One that another session did not pad is not appended to by one that pads.
        let is_unpadded = writer.ends_inside_a_sector() && !planted!(ResumedUnpadded);
        let resumes = planted!(TailTrusted | AppendAfterTornTail | StaleRecordsBehindTail);
        let ended = (is_longer || is_unpadded) && !session_begun && !resumes;
        sometimes!("builder/clean-segment-is-longer", is_longer && ended);
        sometimes!("builder/clean-segment-is-unpadded", is_unpadded && ended);
        sometimes!("builder/orphan-removed", report.files_removed > 0);
        let edit_bytes = self.options.manifest_edit_bytes;
        let home = Arc::clone(&place);
        let journal =
            Journal::new(home, manifest, writer, session_begun, ended, orphans, edit_bytes);
        let pace = Pace::default();
        pace.note_log(journal.ended());
        let pipeline = Arc::new(Pipeline {
            place: Arc::clone(&place),
            policy: self.options.policy(),
            shares: self.options.shares(),
            options: self.options,
            queue: Queue::default(),
            writer: WriterLock::new(Writer::new(journal, replay.last_version, replay.last_time_ms)),
            gate,
            health: Health::default(),
            store: store.clone(),
            runs: runs.clone(),
            bell: Bell::default(),
            flush_bell: Bell::default(),
            merge_bell: Bell::default(),
            troubles: Troubles::default(),
            seen_version: AtomicU64::new(0),
            flush_seen_version: AtomicU64::new(0),
            leftovers: AtomicBool::new(has_orphans),
            schedule: Schedule::default(),
            memory_at_opening: store.memory_bytes_max() + runs.memory_bytes(),
            frozen: Mutex::default(),
            compactor: Mutex::default(),
            removals_in_tables: Mutex::default(),
            retained: Mutex::default(),
            pace,
            compacting: AtomicBool::new(false),
        });
        let shell = match given.background_threads {
            0 => None,
            threads => Some(
                Shell::start(&pipeline, threads)
                    .map_err(|e| Error::io("starting a thread for", path, e))?,
            ),
        };
        #[cfg(feature = "tracing")]
        tracing::info!(?report, dir = %path.display(), "opened");
        Ok(Database {
            core: Arc::new(Core {
                options: given,
                place,
                store,
                runs,
                pipeline: Some(pipeline),
                found: None,
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
        let path = path.as_ref();
        let start = self.clock.monotonic();
        let none = Permits { create: false, among_others: false };
        let dir = entrance::enter(&*self.vfs, path, none)?;
        let file_system = dir.file_system();
        let steps = &self.options.steps;
        let alone = planted!(SecondReaderRefused);
        let kind = if alone { LockKind::Exclusive } else { LockKind::Shared };
        let Some(lock) = entrance::lock(&*dir, path, kind)? else {
            sometimes!("builder/nothing-to-lock");
            return Err(self.no_lock(&*dir, path));
        };
        let place = Arc::new(self.place(dir, path, &*lock)?);
        let listing = Listing::read(&*place.dir, path)?;
        let Some((manifest, in_force)) = InForce::read(&place)? else {
            sometimes!("builder/nothing-to-read");
            listing.refuse_lost_manifest(&*place.dir, path, steps.read_bytes)?;
            return Err(listing.no_store(path));
        };
        listing.refuse_lost_edit(&place, (&manifest, &in_force), steps.read_bytes)?;
        let mut replay = recovery::replay(&place, &manifest, steps)?;
        let counts = |number| manifest.names(number);
        let (_, foreign) = listing.judge(&place, &manifest.store_id, counts);
        let mut report = RecoveryReport {
            foreign_files: foreign,
            clean: manifest.clean,
            file_system,
            preallocation: Preallocation::Off,
            ..RecoveryReport::default()
        };
        let clock = EngineClock::new(Arc::clone(&self.clock), replay.last_time_ms);
        self.report_replay(&mut report, &manifest, &replay, &clock);
        report.elapsed = self.clock.monotonic().saturating_sub(start);
        let found = Found { manifest, in_force, end: replay.end };
        let memtables = replay.take_memtables();
        let removals = std::mem::take(&mut replay.removals);
        let levels = (memtables, std::mem::take(&mut replay.levels), removals);
        let home = (place.clone() as Arc<dyn Home>, Arc::clone(&place.cache));
        let store = UnifiedStore::new(levels, replay.last_version, clock, home, &self.options);
        let runs = replay.runs.at_home(place.clone());
        Ok(Database {
            core: Arc::new(Core {
                options: self.options,
                place,
                store,
                runs,
                pipeline: None,
                found: Some(found),
                report,
                closed: AtomicBool::new(false),
                lock: Mutex::new(Some(lock)),
                shell: Mutex::new(None),
            }),
        })
    }

    /// A segment ends before the largest size of a file that this process may write (`ulimit -f`):
    /// beyond it a write, and what is reserved ahead, would end the process.
    ///
    /// Error: [`Error::InvalidArgument`] if that is too little for any.
    fn keep_below_the_largest_size(&mut self) -> Result<()> {
        let max = self.vfs.file_bytes_max();
        let room = max.saturating_sub(PADDING_BYTES_MAX);
        if room < SEGMENT_BYTES_MIN {
            return Err(Error::invalid(format!(
                "this process may write only {max} bytes of a file (ulimit -f), too few for a log: raise the limit and open the database again, or open it read-only"
            )));
        }
        sometimes!("builder/segments-end-at-the-largest-size", room < self.options.segment_bytes);
        if !planted!(FileSizeNotChecked) {
            self.options.segment_bytes = self.options.segment_bytes.min(room);
        }
        Ok(())
    }

    fn place(&self, dir: Arc<dyn Vfs>, path: &Path, lock: &dyn VfsLock) -> Result<Place> {
        let id = lock.file().id().map_err(|e| Error::io("looking at", path.join(LOCK), e))?;
        let Shares { cache, reserve, .. } = self.options.shares();
        let (cache, files_max) = (Cache::new(cache, reserve), self.options.open_files_max);
        Ok(Place::new(dir, path, id, Arc::clone(&self.entropy), cache, files_max))
    }

    /// Why a directory without a lock file cannot be opened for reading.
    fn no_lock(&self, dir: &dyn Vfs, path: &Path) -> Error {
        match Listing::read(dir, path) {
            Ok(listing) if listing.has_manifest => Error::io("locking", path.join(LOCK), {
                let what = "the store has lost it: open it once for writing, which makes it";
                io::Error::new(io::ErrorKind::NotFound, what)
            }),
            Ok(listing) => {
                let lost = listing.refuse_lost_manifest(dir, path, self.options.steps.read_bytes);
                lost.err().unwrap_or_else(|| listing.no_store(path))
            }
            Err(error) => error,
        }
    }

    /// A lock file that was made for a store that has a manifest. Its name becomes durable with the
    /// directory, which needs the file to be: without it nobody could open for reading.
    fn write_lock_file(
        &self,
        place: &Place,
        lock: &dyn VfsLock,
        manifest: &Manifest,
    ) -> Result<()> {
        let written = lock_file::write(lock.file(), &manifest.store_id);
        written.map_err(|e| Error::io_or_full("writing", place.path(OwnName::Lock), e))
    }

    /// What an opening has made, as the journal takes it.
    fn started(
        &self,
        Started { manifest, segment, left }: Started,
        orphans: &mut Vec<OwnName>,
    ) -> ((Manifest, InForce), LogWriter) {
        orphans.extend(left);
        let NewSegment { file, path, header, end } = segment;
        (manifest, LogWriter::new(file, &path, &header, end, end.at, &self.options))
    }

    /// Removes what an unfinished creation left; no record was ever in it.
    fn remove_unfinished(&self, place: &Place, listing: &Listing, id: &StoreId) -> Result<()> {
        let (unfinished, _) = listing.judge(place, id, |_| false);
        for own in unfinished {
            match place.remove(own) {
                Ok(()) => sometimes!("builder/unfinished-creation-removed"),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(Error::io("removing", place.path(own), e)),
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
        report.clock_jump_ms = (jumped && !planted!(JumpNotReported)).then_some(ahead);
        let behind = replay.last_time_ms.saturating_sub(clock.wall_ms());
        sometimes!("builder/log-is-ahead-of-the-clock", behind > 0);
        report.clock_ahead_ms = (behind > 0 && !planted!(ClockAheadUnreported)).then_some(behind);
    }
}
