//! A simulated disk: everything that a real one may do to a program, on demand, from a seed.
//!
//! [`SimVfs`] implements [`Vfs`](runstone_vfs::Vfs) in memory. Without faults it behaves as
//! POSIX says. At a power cut it keeps what was synced and chooses, from its own random
//! stream, what becomes of the rest; the choice is at least as adversarial as every real
//! file system.
//!
//! # Example: what was not synced may be lost
//! ```
//! use std::path::Path;
//! use runstone_sim::disk::{CrashKind, CrashModel, DiskConfig, SimVfs, is_simulated_crash};
//! use runstone_vfs::Vfs;
//!
//! # fn main() -> std::io::Result<()> {
//! let disk = SimVfs::with_config(7, DiskConfig::default().only(CrashModel::DropAll));
//! let path = Path::new("/log");
//! let file = disk.create(path)?;
//! file.write_at(b"synced", 0)?;
//! file.sync()?;
//! disk.sync_dir(Path::new("/"))?;
//! file.write_at(b", and not synced", 6)?;
//!
//! disk.crash_now(CrashKind::Power);
//! let dead = file.sync().expect_err("a handle does not survive a crash");
//! assert!(is_simulated_crash(&dead));
//!
//! disk.restart();
//! assert_eq!(disk.live_image()[path], b"synced");
//! assert!(disk.crash_report().is_some_and(|report| report.lost_anything()));
//! # Ok(())
//! # }
//! ```
//!
//! # The fault model, rule by rule
//! | Rule | What happens | Knob |
//! |---|---|---|
//! | D1 | a write is visible at once, durable by a later successful sync of its file | none: a promise |
//! | D2 | each 512-byte sector keeps any of its versions since the durable one | [`DiskConfig::models`] |
//! | D3 | torn writes by sectors or bytes; early writeback; drop, keep, zero and garbage fill | `models`, [`DiskConfig::early_writeback`], [`DiskConfig::early_flush`] |
//! | D4 | a sector of an unsynced write is garbage, durable neighbours too (off) | [`DiskConfig::garbage_sector`] |
//! | D5 | what a finished sync covers never changes | none: a promise |
//! | S1 | the size is any of its versions, independent of data | [`DiskConfig::size_independent`] |
//! | S2 | lost sectors without an older version, and preallocated ones, read zeros or garbage | [`DiskConfig::lost_data_garbage`], [`DiskConfig::prealloc_garbage`] |
//! | S3 | size changes persist as a prefix of their order | none: a limit |
//! | S4 | one sync, for data and size | none |
//! | N1 | names are durable by a sync of their directory, both for a rename across two | none |
//! | N2 | any subset of unsynced name changes, or a prefix in program order | [`DiskConfig::name_models`] |
//! | N3 | a directory sync saves only names of synced files and directories | [`DiskConfig::names_need_synced_files`], [`DiskConfig::names_need_synced_dirs`] |
//! | N4 | a rename is atomic; perhaps both names are there | [`DiskConfig::rename_keeps_both`] |
//! | N5 | a removed file may come back, perhaps with a later file's content | `name_models`, [`DiskConfig::inode_reuse`] |
//! | N6 | parents are directories like any other | as N1, N3 |
//! | F1 | a failed sync dooms what it would have covered | [`FaultPlan::flavours`], [`DiskConfig::evict_doomed`] |
//! | F2 | errors reported once, late, or not to new handles; other flavours | [`FaultKind::SyncLate`], [`FaultKind::BackgroundFails`], [`DiskConfig::error_unseen_by_new_handles`], [`DiskConfig::reported_error_dooms`], [`DiskConfig::doom_next_write`] |
//! | F3 | short, interrupted, full, quota, device errors, with or without effect; no descriptor, no permission; bad sectors; read-only | [`FaultPlan::odds`], [`FaultPlan::read_only_after_error`], [`SimVfs::set_capacity`], [`DiskConfig::cut_needs_room`] |
//! | F4 | a sync lies (off) | [`FaultPlan::lying`] |
//! | P | a killed process leaves everything visible, and still not durable | [`CrashKind::Process`] |
//! | R | flipped bits, zeroed, swapped, old and misdirected sectors (on demand) | [`SimVfs::flip_bit`] and its neighbours, [`DiskConfig::sector_history`] |
//! | V | listings in any order, with strays | [`DiskConfig::list_shuffled`], [`DiskConfig::stray_files`] |
//! | H | handles and locks of before a crash are dead | none: a promise |
//! | K | crash before, inside or after any call | [`SimVfs::arm_crash`], [`SimVfs::crash_with`] |
//!
//! # What is not modelled
//! - Time: no call is slow, none blocks, none overlaps another. A write "issued while a sync
//!   fails" is the first one after it ([`DiskConfig::doom_next_write`]).
//! - Timestamps, permissions, symbolic links, extended attributes, memory maps; names that
//!   are not UTF-8. Case is significant.
//! - Holes: a file occupies its size, at most [`DiskConfig::file_bytes_max`]. Only written or
//!   allocated growth counts against the capacity when it is made.
//! - After a failed sync the *size* that reads see falls back only in the flavour
//!   [`SyncFlavour::Reverted`].
//!
//! # Invariants
//! Same seed, same calls: same results, same digest, on every platform. No hash map, no
//! clock, no thread, no address takes part.

mod around;
mod call;
mod choice;
mod config;
mod crash;
mod dir;
mod doom;
mod enumerate;
mod faults;
mod files;
mod handle;
mod inode;
mod kind;
mod ledger;
mod lock;
mod moments;
mod names;
mod observe;
mod outside;
mod plan;
mod report;
mod rot;
mod scripted;
mod state;
mod trace;
mod undecided;
mod undisturbed;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use call::CallKind;
pub use config::{CrashModel, DiskConfig, NameModel, Odds};
pub use enumerate::{Odometer, PowerCuts};
pub use faults::{FailedSync, Fault, FaultMode, FaultPlan, Injected, Reach, Stats, SyncFlavour};
pub use kind::FaultKind;
pub use ledger::{Happened, Hazard, NTH_MAX, Site, Sites, Watch};
pub use moments::{ImageChange, Moment, MomentAt};
pub use observe::NodeName;
pub use outside::NameEvent;
pub use report::{CrashKind, CrashPoint, CrashReport, FileLoss, LostWrite, When};
pub use rot::Rot;
pub use state::{Hang, is_simulated_crash};
pub(crate) use trace::SeenCall;

use dir::{Body, DirNode, Node, ROOT, Tree};
use inode::FileNode;
use state::Disk;

use crate::rng::{Stream, Streams};

/// A simulated disk; clones share it.
#[derive(Clone)]
pub struct SimVfs {
    shared: Arc<Mutex<Disk>>,
}

impl fmt::Debug for SimVfs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let disk = self.disk();
        f.debug_struct("SimVfs")
            .field("calls", &disk.calls)
            .field("crashed", &disk.crashed)
            .finish_non_exhaustive()
    }
}

/// Making disks.
impl SimVfs {
    /// An empty disk with the default configuration and no faults.
    pub fn new(seed: u64) -> SimVfs {
        SimVfs::with_config(seed, DiskConfig::default())
    }

    /// An empty disk without faults.
    pub fn with_config(seed: u64, config: DiskConfig) -> SimVfs {
        SimVfs::with_streams(&Streams::new(seed), config, FaultPlan::none())
    }

    /// An empty disk that draws from the streams [`Stream::Disk`] and [`Stream::Faults`].
    pub fn with_streams(streams: &Streams, config: DiskConfig, plan: FaultPlan) -> SimVfs {
        let (rng, fault_rng) = (streams.stream(Stream::Disk), streams.stream(Stream::Faults));
        SimVfs::from_disk(Disk::new(config, plan, rng, fault_rng))
    }

    /// A disk that durably holds these files, and the directories above them.
    ///
    /// Errors: `InvalidInput` if a path names both a file and a directory, or no name.
    pub fn from_image(
        seed: u64,
        config: DiskConfig,
        image: &BTreeMap<PathBuf, Vec<u8>>,
    ) -> io::Result<SimVfs> {
        let vfs = SimVfs::with_config(seed, config);
        for (path, content) in image {
            plant(&mut vfs.disk().tree, path, content)?;
        }
        Ok(vfs)
    }

    /// A deep copy with its own random streams: what happens to one does not touch the
    /// other. Handles and locks stay with the original; unsynced changes are copied.
    #[must_use]
    pub fn fork(&self, seed: u64) -> SimVfs {
        let mut disk = self.disk().without_ledger();
        let streams = Streams::new(seed);
        disk.rng = streams.stream(Stream::Disk);
        disk.faults.reseed(streams.stream(Stream::Faults));
        disk.generation += 1;
        disk.recorder = None;
        disk.seen = None;
        disk.locks.clear();
        for node in disk.tree.nodes.values_mut() {
            node.opens = 0;
        }
        disk.tree.sweep();
        SimVfs::from_disk(disk)
    }

    fn from_disk(disk: Disk) -> SimVfs {
        SimVfs { shared: Arc::new(Mutex::new(disk)) }
    }

    /// The disk. A panic of a test with the lock held leaves it usable.
    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Crashes.
impl SimVfs {
    /// Crashes the disk at a call to come. Replaces an earlier plan; a call that is past
    /// never comes.
    pub fn arm_crash(&self, point: CrashPoint, kind: CrashKind) {
        let mut disk = self.disk();
        disk.armed_at_rare = None;
        disk.armed = Some((point, kind));
    }

    /// Crashes at the `nth` rare call from now on (from 0): one that changes names, sizes or
    /// directories.
    pub fn arm_crash_at_rare(&self, nth: u64, when: When, kind: CrashKind) {
        let mut disk = self.disk();
        disk.armed = None;
        disk.armed_at_rare = Some((nth, when, kind));
    }

    /// Takes the plan back; says whether there was one that had not yet struck.
    pub fn disarm_crash(&self) -> bool {
        let mut disk = self.disk();
        let at_rare = disk.armed_at_rare.take().is_some();
        disk.armed.take().is_some() || at_rare
    }

    /// Crashes now, between two calls. Does nothing if the disk is crashed already.
    pub fn crash_now(&self, kind: CrashKind) {
        let mut disk = self.disk();
        if !disk.crashed {
            disk.crash(kind, None, None);
        }
    }

    /// Cuts the power now, with a model of the caller's choice. `nth` says which pending
    /// operation (from 0, in program order) `AloneLost` and `AloneKept` speak of, and how
    /// many `PrefixTornLast` keeps whole; without it, it is drawn.
    pub fn crash_with(&self, model: CrashModel, nth: Option<u64>) {
        let mut disk = self.disk();
        if !disk.crashed {
            disk.crash(CrashKind::Power, None, Some(plan::Forced::Model(model, nth)));
        }
    }

    /// Cuts the power now, and loses exactly these pending operations (from 0, in program
    /// order); every other is kept. A sector whose newer bytes are kept holds the older ones
    /// too, and a size that is kept implies the sizes before it.
    pub fn crash_losing(&self, lost: &BTreeSet<u64>) {
        let mut disk = self.disk();
        if !disk.crashed {
            disk.crash(CrashKind::Power, None, Some(plan::Forced::Losing(lost.clone())));
        }
    }

    /// How many operations are not durable: what `nth` of [`SimVfs::crash_with`] may be.
    pub fn pending_operations(&self) -> u64 {
        crash::pending(&self.disk()).len() as u64
    }

    /// Starts again after a crash: calls work, on what the crash has left.
    pub fn restart(&self) {
        let mut disk = self.disk();
        if disk.crashed {
            disk.crashed = false;
            disk.trace.event(0xC2, || "restart".to_owned());
            disk.note(MomentAt::Restart);
        }
    }

    /// Whether the disk has crashed and not been restarted.
    pub fn is_crashed(&self) -> bool {
        self.disk().crashed
    }

    /// How many calls were served; the number of the next one.
    pub fn calls(&self) -> u64 {
        self.disk().calls
    }

    /// What the latest crash did.
    pub fn crash_report(&self) -> Option<CrashReport> {
        self.disk().report.clone()
    }
}

/// Faults and knobs.
impl SimVfs {
    /// The knobs.
    pub fn config(&self) -> DiskConfig {
        self.disk().config.clone()
    }

    /// Changes the knobs from now on.
    pub fn set_config(&self, config: DiskConfig) {
        self.disk().config = config;
    }

    /// Changes where faults come from.
    pub fn set_faults(&self, mode: FaultMode) {
        self.disk().faults.mode = mode;
    }

    /// Stops (or resumes) faults. Listed ones still strike: they repeat what was drawn.
    pub fn enable_faults(&self, enabled: bool) {
        self.disk().faults.enabled = enabled;
    }

    /// Fills the disk up to, or frees it from, a capacity in bytes.
    pub fn set_capacity(&self, capacity: Option<u64>) {
        self.disk().config.capacity = capacity;
    }

    /// How many calls a full disk has refused, without allocations and writes of zeros only.
    pub fn full_refusals(&self) -> u64 {
        self.disk().full_refusals
    }

    /// Whether a full disk refused the last change of a file's size, and no crash came since.
    pub fn cut_is_owed(&self) -> bool {
        self.disk().cut_is_owed
    }

    /// The bytes in use, to set a capacity by.
    pub fn used_bytes(&self) -> u64 {
        self.disk().used_bytes()
    }

    /// Whether there is a sector that no read gets past.
    pub fn has_bad_sectors(&self) -> bool {
        !self.disk().bad_sectors.is_empty()
    }

    /// Makes the device refuse every change, or take them again.
    pub fn set_read_only(&self, read_only: bool) {
        self.disk().read_only = read_only;
    }

    /// Ends all faults: none is drawn, no capacity, no bad sector, not read-only. What was
    /// doomed stays doomed, and an unreported error is still reported.
    pub fn heal(&self) {
        let mut disk = self.disk();
        disk.faults.enabled = false;
        disk.config.capacity = None;
        disk.bad_sectors.clear();
        disk.read_only = false;
    }

    /// Keeps a ledger from now on of where faults and crashes strike.
    pub fn watch(&self, watch: Watch) {
        self.disk().ledger.watch = Some(watch);
    }

    /// Ends that: what follows is the harness's own business.
    pub fn unwatch(&self) {
        self.disk().ledger.watch = None;
    }

    /// The ledger so far; empty unless somebody [watches](SimVfs::watch).
    pub fn sites(&self) -> Sites {
        self.disk().ledger.sites()
    }

    /// Serves at most this many calls, ever. The one beyond, and all that follow, are answered
    /// as after a crash, so that a program that calls without end comes to one; from a program
    /// that goes on calling all the same, the disk takes the thread back by unwinding it, with
    /// a [`Hang`].
    pub fn limit_calls(&self, calls_max: u64) {
        self.disk().calls_max = calls_max;
    }

    /// The same, of calls from now on.
    pub fn allow_calls(&self, calls_max: u64) {
        let mut disk = self.disk();
        disk.calls_max = (disk.calls - disk.calls_undisturbed).saturating_add(calls_max);
    }

    /// Whether the program made more calls than it may.
    pub fn is_exhausted(&self) -> bool {
        self.disk().refused.is_some()
    }

    /// Whether a call went beyond the largest size of a file, which ends most processes.
    pub(crate) fn has_passed_a_size(&self) -> bool {
        self.disk().stats.events.contains_key("ended_by_a_signal")
    }

    /// What happened so far.
    pub fn stats(&self) -> Stats {
        self.disk().stats.clone()
    }

    /// The digest of every call, argument and result so far.
    pub fn digest(&self) -> u64 {
        self.disk().trace.digest.value()
    }

    /// Records from now on what each call and each crash changes in the images.
    pub fn record_moments(&self) {
        self.disk().recorder = Some(moments::Recorder::default());
    }

    /// What was recorded, and ends the recording.
    pub fn take_moments(&self) -> Vec<Moment> {
        self.disk().recorder.take().map(|recorder| recorder.moments).unwrap_or_default()
    }

    /// Keeps the text of the last `lines_max` calls; 0 (the default) keeps none.
    pub fn keep_trace(&self, lines_max: usize) {
        self.disk().trace.keep(lines_max);
    }

    /// The text of the last calls, oldest first.
    pub fn trace(&self) -> Vec<String> {
        self.disk().trace.lines()
    }
}

/// Puts a durable file into the tree, and the directories above it.
fn plant(tree: &mut Tree, path: &Path, content: &[u8]) -> io::Result<()> {
    let mut dir = ROOT;
    let mut names = path.iter().filter(|name| *name != "/" && *name != ".").peekable();
    while let Some(name) = names.next() {
        let name = name.to_str().filter(|name| *name != "..").ok_or(io::ErrorKind::InvalidInput)?;
        let last = names.peek().is_none();
        let id = match tree.dir(dir)?.live.get(name) {
            Some(_) if last => return Err(io::ErrorKind::InvalidInput.into()),
            Some(&id) => id,
            None => {
                let body = if last {
                    Body::File(FileNode::durable(content.to_vec()))
                } else {
                    Body::Dir(DirNode { synced: true, ..DirNode::default() })
                };
                let id = tree.add(body);
                if let Some(Node { links, .. }) = tree.nodes.get_mut(&id) {
                    *links = 1;
                }
                let parent = tree.dir_mut(dir)?;
                parent.live.insert(name.to_owned(), id);
                parent.durable.insert(name.to_owned(), id);
                id
            }
        };
        dir = id;
    }
    if dir == ROOT { Err(io::ErrorKind::InvalidInput.into()) } else { Ok(()) }
}
