//! The whole disk behind its lock, and the gate that every call passes.
//!
//! # Invariants
//! - A call that meets a crashed disk, or comes from a handle of an earlier life, is not
//!   counted, not traced, and has no effect (rule H).
//! - Each call does, in this order: count, trace, crash point, fault, effect, result.
//! - Nothing here blocks, waits or looks at a clock; all randomness comes from two streams.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;

use runstone_vfs::is_disk_full;

use super::call::CallKind;
use super::config::DiskConfig;
use super::dir::Tree;
use super::faults::{FailedSync, Fault, FaultPlan, Faults, Stats, Verdict};
use super::kind::FaultKind;
use super::ledger::{Hazard, Ledger};
use super::lock::Locks;
use super::moments::{MomentAt, Recorder};
use super::outside::NameEvent;
use super::report::{CrashKind, CrashPoint, CrashReport, When};
use super::trace::{Call, SeenCall, Trace};
use super::undecided::Undecided;
use crate::rng::Rng;

/// The error that every call returns once the disk has crashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SimulatedCrash;

impl fmt::Display for SimulatedCrash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("simulated crash")
    }
}

impl std::error::Error for SimulatedCrash {}

/// Why the disk unwinds a thread: its program calls without end, whatever it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hang;

/// Of the calls that nothing disturbs a program may make so many times more.
const UNDISTURBED_SHARE: u64 = 16;
/// How many calls beyond its last a program may make to notice that the disk is gone.
const REFUSED_MAX: u64 = 10_000;

pub(super) fn simulated_crash() -> io::Error {
    io::Error::other(SimulatedCrash)
}

/// Whether an error says that the simulated disk has crashed, or that the handle is of an
/// earlier life: no fault of the program under test.
pub fn is_simulated_crash(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<SimulatedCrash>())
}

/// An error of a kind.
pub(super) fn fail<T>(kind: io::ErrorKind) -> io::Result<T> {
    Err(kind.into())
}

/// What a call's effect gives: the value, and a number for the digest.
pub(super) type Outcome<T> = io::Result<(T, u64)>;

/// A disk.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    pub(super) config: DiskConfig,
    pub(super) tree: Tree,
    pub(super) locks: Locks,
    pub(super) faults: Faults,
    pub(super) trace: Trace,
    pub(super) stats: Stats,
    pub(super) ledger: Ledger,
    /// The most calls that are served.
    pub(super) calls_max: u64,
    /// How many calls came after those; `None` as long as none did.
    pub(super) refused: Option<u64>,
    pub(super) rng: Rng,
    /// The number of the latest change.
    pub(super) seq: u64,
    /// How many calls were served.
    pub(super) calls: u64,
    /// How often the disk has crashed; handles of an earlier life are dead.
    pub(super) generation: u64,
    /// The process that makes the calls.
    pub(super) process: u64,
    pub(super) crashed: bool,
    pub(super) armed: Option<(CrashPoint, CrashKind)>,
    /// A crash at a rare call, and how many of those are served before.
    pub(super) armed_at_rare: Option<(u64, When, CrashKind)>,
    /// What another program does to a name before the call of this number.
    pub(super) happens: Option<(u64, NameEvent)>,
    pub(super) report: Option<CrashReport>,
    /// The device has given up (rule F3).
    pub(super) read_only: bool,
    /// Every sync that failed, in order.
    pub(super) failed_syncs: Vec<FailedSync>,
    /// Unreadable sectors, by node and sector.
    pub(super) bad_sectors: BTreeSet<(u64, u64)>,
    /// What a power cut has left open, by node (exhaustive exploration only).
    pub(super) undecided: BTreeMap<u64, Undecided>,
    /// Notes what changes in the images, if it was asked to.
    pub(super) recorder: Option<Recorder>,
    /// Calls are the harness's own: see [`super::undisturbed`].
    pub(super) is_undisturbed: bool,
    /// How many of them there were.
    pub(super) calls_undisturbed: u64,
    /// The call that is being served writes zeros ahead of what it is about.
    pub(super) writes_zeros: bool,
    /// The last write was of such zeros, to this offset of this file.
    pub(super) zeros_to: Option<(u64, u64)>,
    /// Calls that a full disk has refused, but for those that only reserve.
    pub(super) full_refusals: u64,
    /// The last change of a size was refused by a full disk.
    pub(super) cut_is_owed: bool,
    /// The call before this one was the sync of a file, or one of the looks at names behind it.
    pub(super) is_behind_sync: bool,
    /// The numbers of the calls that failed directly behind the sync of a file.
    pub(super) failed_behind_sync: Vec<u64>,
    /// The most files that were open at once of a directory that was opened.
    pub(super) files_most: u64,
    /// Every call, if it was asked for.
    pub(super) seen: Option<Vec<SeenCall>>,
}

impl Disk {
    pub(super) fn new(config: DiskConfig, plan: FaultPlan, rng: Rng, fault_rng: Rng) -> Disk {
        Disk {
            config,
            tree: Tree::new(),
            locks: Locks::default(),
            faults: Faults::new(plan, fault_rng),
            trace: Trace::default(),
            stats: Stats::default(),
            ledger: Ledger::default(),
            calls_max: u64::MAX,
            refused: None,
            rng,
            seq: 0,
            calls: 0,
            generation: 0,
            process: 0,
            crashed: false,
            armed: None,
            armed_at_rare: None,
            happens: None,
            report: None,
            read_only: false,
            failed_syncs: Vec::new(),
            bad_sectors: BTreeSet::new(),
            undecided: BTreeMap::new(),
            recorder: None,
            is_undisturbed: false,
            calls_undisturbed: 0,
            writes_zeros: false,
            zeros_to: None,
            full_refusals: 0,
            cut_is_owed: false,
            is_behind_sync: false,
            failed_behind_sync: Vec::new(),
            files_most: 0,
            seen: None,
        }
    }

    /// A copy whose ledger is empty: of all that a disk keeps, that is the costliest to copy.
    pub(super) fn without_ledger(&mut self) -> Disk {
        let ledger = std::mem::take(&mut self.ledger);
        let copy = self.clone();
        self.ledger = ledger;
        copy
    }

    /// The number of the next change.
    pub(super) fn next_seq(&mut self) -> u64 {
        self.seq += 1;
        self.seq
    }

    /// Counts an event for the statistics.
    pub(super) fn count(&mut self, event: &str, n: u64) {
        if n == 0 {
            return;
        }
        if let Some(count) = self.stats.events.get_mut(event) {
            *count += n;
        } else {
            self.stats.events.insert(event.to_owned(), n);
        }
    }

    /// A handle holds a node.
    pub(super) fn hold(&mut self, node: u64) {
        if let Some(node) = self.tree.nodes.get_mut(&node) {
            node.opens += 1;
        }
    }

    /// Whether a handle of this generation is alive.
    pub(super) fn is_alive(&self, generation: u64) -> bool {
        !self.crashed && self.generation == generation
    }

    /// Serves one call.
    pub(super) fn serve<T>(
        &mut self,
        generation: Option<u64>,
        call: Call<'_>,
        run: impl FnOnce(&mut Disk, Option<Fault>) -> Outcome<T>,
    ) -> io::Result<T> {
        if !self.is_alive(generation.unwrap_or(self.generation)) || self.is_exhausted() {
            return Err(simulated_crash());
        }
        let index = self.calls;
        self.happen_before(index, call.kind);
        self.calls += 1;
        *self.stats.calls.entry(call.kind).or_default() += 1;
        self.trace.call(&call);
        self.trace.is_quiet = self.is_undisturbed;
        if self.is_undisturbed {
            self.calls_undisturbed += 1;
        } else {
            self.ledger.begin(call.kind, call.path);
        }
        self.note_seen(&call);
        self.count_rare(index, call.kind);
        self.postpone(index);
        if let Some((point, kind)) = self.armed.filter(|(point, _)| point.call == index) {
            match (point.when, kind) {
                (When::Before, _) => {}
                (When::Inside, _) => self.run_partly(call.kind, kind, run),
                (When::After, _) => drop(self.perform(index, call.kind, run)),
            }
            self.ledger.note(Hazard::Crash(kind, point.when), true);
            self.crash(kind, Some((call.kind, point.when)), None);
            self.trace.result(index, &call, Err(&simulated_crash()));
            return Err(simulated_crash());
        }
        self.writes_zeros = false;
        let result = self.perform(index, call.kind, run);
        self.count_refusal(call.kind, result.as_ref().err());
        self.note_failed_sync(index, &call);
        let is_behind = self.is_behind_sync;
        self.is_behind_sync =
            call.kind == CallKind::Sync || is_behind && call.kind == CallKind::Stat;
        if is_behind && result.is_err() {
            self.failed_behind_sync.push(index);
        }
        let seen = result.as_ref().map(|(_, number)| *number);
        self.trace.result(index, &call, seen);
        self.note(MomentAt::Call(index));
        result.map(|(value, _)| value)
    }

    /// A crash that is due at a call that nothing disturbs strikes the next one.
    fn postpone(&mut self, index: u64) {
        if let Some((point, _)) = &mut self.armed
            && self.is_undisturbed
            && point.call == index
        {
            point.call += 1;
        }
    }

    /// Whether the program has made more calls than it may; counts this one then.
    fn is_exhausted(&mut self) -> bool {
        // What the harness itself looks at is a multiple of what the program does.
        let own = self.calls_undisturbed;
        if self.calls - own < self.calls_max && own / UNDISTURBED_SHARE < self.calls_max {
            return false;
        }
        let refused = self.refused.get_or_insert_default();
        *refused += 1;
        if *refused > REFUSED_MAX && !std::thread::panicking() {
            std::panic::resume_unwind(Box::new(Hang));
        }
        true
    }

    /// Tells the ledger what could have struck a call, and what did.
    fn note_faults(&mut self, call: CallKind, verdict: Verdict, read_only: bool) {
        let Disk { ledger, faults, .. } = self;
        if ledger.watch.is_none() || self.is_undisturbed {
            return;
        }
        for kind in faults.possible(call) {
            ledger.note(Hazard::Fault(kind), false);
        }
        if let Some(fault) = verdict.fault {
            ledger.note(Hazard::Fault(fault.kind), true);
        }
        if read_only || verdict.then_read_only && verdict.fault.is_none() {
            ledger.note(Hazard::Fault(FaultKind::ReadOnly), true);
        }
    }

    /// Counts what a full disk refuses, but for what a program only reserves.
    fn count_refusal(&mut self, call: CallKind, error: Option<&io::Error>) {
        let reserves = call == CallKind::Allocate || self.writes_zeros;
        let is_full = error.is_some_and(is_disk_full);
        if call == CallKind::SetLen {
            self.cut_is_owed = is_full;
        }
        if !reserves && is_full {
            self.full_refusals += 1;
        }
    }

    /// Tells the ledger that the capacity could have been used up, or was.
    fn note_full<T>(&mut self, call: CallKind, result: &Outcome<T>) {
        if self.config.capacity.is_some() && call.takes_room() {
            self.ledger.note(Hazard::DiskFull, false);
            let is_full = |error: &io::Error| error.kind() == io::ErrorKind::StorageFull;
            if result.as_ref().is_err_and(is_full) {
                self.ledger.note(Hazard::DiskFull, true);
            }
        }
    }

    /// Keeps a call, if it was asked for.
    fn note_seen(&mut self, call: &Call<'_>) {
        let is_watched = self.faults.enabled && self.ledger.watch.is_some();
        let may_fail = is_watched && !self.is_undisturbed;
        if let Some(seen) = &mut self.seen {
            seen.push(SeenCall { kind: call.kind, path: call.path.to_owned(), may_fail });
        }
    }

    /// Counts a rare call towards the crash that is armed at one, and the faults behind one.
    fn count_rare(&mut self, index: u64, call: CallKind) {
        if !call.is_rare() {
            return;
        }
        self.faults.count_rare(index);
        if let Some((left, when, kind)) = self.armed_at_rare {
            self.armed_at_rare = left.checked_sub(1).map(|left| (left, when, kind));
            if left == 0 {
                self.armed = Some((CrashPoint { call: index, when }, kind));
            }
        }
    }

    /// Notes a fault that has just made a sync fail.
    fn note_failed_sync(&mut self, index: u64, call: &Call<'_>) {
        let is_dir = call.kind == CallKind::SyncDir;
        if !is_dir && call.kind != CallKind::Sync {
            return;
        }
        let hits = self.faults.injected.iter().rev().take_while(|hit| hit.call == index);
        let Some(fault) = hits.map(|hit| hit.fault).last() else { return };
        if fault.kind != FaultKind::SyncLies {
            let late = fault.kind == FaultKind::SyncLate;
            let (path, flavour) = (call.path.to_owned(), fault.flavour);
            self.failed_syncs.push(FailedSync { call: index, path, is_dir, late, flavour });
        }
    }

    /// The effect of a call that a crash interrupts.
    ///
    /// At a power cut all that a call changes is unsynced, so the crash model chooses freely
    /// among its parts; and a sync that has not returned has promised nothing. A killed
    /// process leaves what the kernel had done: leading bytes of a write, and of another
    /// call everything or nothing.
    fn run_partly<T>(
        &mut self,
        call: CallKind,
        kind: CrashKind,
        run: impl FnOnce(&mut Disk, Option<Fault>) -> Outcome<T>,
    ) {
        let is_sync = matches!(call, CallKind::Sync | CallKind::SyncDir);
        let fault = match (kind, call) {
            (CrashKind::Power, _) if is_sync => return,
            (CrashKind::Process, CallKind::Write) => {
                let part = u16::try_from(self.rng.below(1 << 16)).unwrap_or(u16::MAX);
                Some(Fault { part, ..Fault::new(FaultKind::Short) })
            }
            (CrashKind::Process, _) if self.rng.coin() => return,
            _ => None,
        };
        // Nobody lives to see the result.
        drop(run(self, fault));
    }

    /// Runs a call, with the fault that is due.
    fn perform<T>(
        &mut self,
        index: u64,
        call: CallKind,
        run: impl FnOnce(&mut Disk, Option<Fault>) -> Outcome<T>,
    ) -> Outcome<T> {
        let is_sync = matches!(call, CallKind::Sync | CallKind::SyncDir);
        let read_only = self.read_only && call.changes();
        let verdict = match self.is_undisturbed {
            true => Verdict::default(),
            false => self.faults.decide(index, call, &mut self.stats),
        };
        self.note_faults(call, verdict, read_only);
        self.read_only |= verdict.then_read_only;
        let fault = match verdict {
            _ if read_only => Some(Fault::new(FaultKind::ReadOnly)),
            Verdict { fault: None, then_read_only: true } => Some(Fault::new(FaultKind::ReadOnly)),
            Verdict { fault, .. } => fault,
        };
        match fault {
            None => {
                let result = run(self, None);
                self.note_full(call, &result);
                result
            }
            Some(fault) if is_sync => run(self, Some(fault)),
            Some(fault) if fault.kind == FaultKind::ReadOnly => Err(fault.error()),
            Some(fault) if matches!(call, CallKind::Read | CallKind::Write) => {
                run(self, Some(fault))
            }
            Some(fault) => {
                let resizes = matches!(call, CallKind::SetLen | CallKind::Allocate);
                // A lock or a handle that could not be had is not held.
                let takes_place = call.changes() && fault.has_effect();
                if takes_place && (fault.kind == FaultKind::Io || resizes) {
                    run(self, None)?;
                }
                Err(fault.error())
            }
        }
    }

    /// Records what has changed since the last moment, if anybody wants to know.
    pub(super) fn note(&mut self, at: MomentAt) {
        if let Some(recorder) = &mut self.recorder {
            recorder.note(at, &self.tree);
        }
    }

    /// Feeds what the crash has left to the digest: two runs that differ here are told apart
    /// before anybody reads the difference.
    pub(super) fn feed_state(&mut self) {
        let Disk { tree, trace, .. } = self;
        for (path, id) in tree.paths(false) {
            for name in path.iter().skip(1) {
                trace.digest.bytes(name.as_encoded_bytes());
            }
            if let Ok(file) = tree.file(id) {
                trace.digest.bytes(&file.live);
            }
        }
    }
}
