//! Runs a case: the engine on the simulated disk, the model beside it, operation by operation.
//!
//! The oracle lives outside the simulated disk: it keeps the history of operations with their
//! acknowledgements, and after a crash accepts exactly what the contract permits.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use runstone::{Database, Level, Snapshot, Ticket};

use super::case::{Case, CaseOptions, ChangeSpec, NestedCrash, Op, World};
use super::failed_syncs::FailedSyncs;
use super::foreign;
use super::found::Found;
use super::generate;
use super::guard::{CALLS_MAX, Ended, bounded};
use super::ledger::WATCH;
use super::model::Model;
use super::open_scan::OpenScan;
use super::verdict::{Checked, Failure, Stop, Stopped};
use super::watch::Watch;
use super::world::{SimClock, SimEntropy};
use crate::digest::Digest;
use crate::disk::{CallKind, CrashKind, FaultKind, FaultPlan, SeenCall, SimVfs, Sites, Stats};
use crate::rng::{Stream, Streams};

/// The wall clock at the beginning, in milliseconds.
const WALL_MS: u64 = 1_700_000_000_000;

/// What a run came to.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The digest of every call, argument and result.
    pub digest: u64,
    /// The first breach, if there was one.
    pub failure: Option<Failure>,
    /// What the disk did.
    pub stats: Stats,
    /// Crashes, by kind and model.
    pub crashes: BTreeMap<String, u64>,
    /// The last of them.
    pub last_crash: Option<String>,
    /// Where faults and crashes struck, and where they could have.
    pub sites: Sites,
    /// How often each mark of the engine was reached, in the order of [`super::marks::NAMES`].
    pub marks: Vec<u64>,
    /// Crashes that were followed by a recovery that returned and was checked.
    pub recoveries: u64,
    /// Which cells of the failed-sync matrix were reached, and how often.
    pub failed_syncs: BTreeMap<String, u64>,
    /// Images of the disk that were checked against the statement of the legal states.
    pub images: u64,
    /// Errors that were told and had their reason: after which all was as before, and after which
    /// nothing more was written.
    pub told: (u64, u64),
    /// Every call, if they were kept.
    pub(crate) calls: Vec<SeenCall>,
    /// Operations that were done.
    pub ops: u64,
    /// Openings that returned.
    pub openings: u64,
    /// Openings that were refused with a typed error, in worlds where that is right.
    pub refusals: u64,
    /// The faults that struck, for a replay and for shrinking.
    pub injected: Vec<crate::disk::Injected>,
    /// The number of the first call of each operation.
    pub starts: Vec<u64>,
    /// The operation and the number of calls at which each crash struck, but for those within
    /// recoveries.
    pub strikes: Vec<(usize, u64)>,
    /// The readable trace, if it was asked for.
    pub trace: Vec<String>,
}

/// Generates the case of a seed and runs it.
pub fn run_seed(seed: u64) -> Outcome {
    run(&generate::generate(seed), false)
}

/// Runs a case; `trace` keeps a readable trace.
pub fn run(case: &Case, trace: bool) -> Outcome {
    Runner::new(case, trace).finish_run()
}

/// Runs a case, and keeps its calls.
pub(crate) fn run_keeping_calls(case: &Case) -> Outcome {
    let runner = Runner::new(case, false);
    runner.disk.keep_calls();
    runner.finish_run()
}

/// Runs a case with fewer calls to the disk than any may make, and gives up, with no failure,
/// when `is_late` says so; it is asked before each operation.
pub(super) fn run_within(case: &Case, calls_max: u64, is_late: &dyn Fn() -> bool) -> Outcome {
    let mut runner = Runner::new(case, false);
    runner.disk.limit_calls(calls_max);
    runner.is_late = Some(is_late);
    runner.finish_run()
}

/// A commit that waits in the queue.
pub(super) struct Pending {
    pub(super) changes: Vec<ChangeSpec>,
    pub(super) level: Level,
    pub(super) ticket: Ticket,
}

pub(super) struct Runner<'a> {
    pub(super) case: &'a Case,
    /// Which options are in force, and which from the next opening on.
    pub(super) set: u8,
    pub(super) next_set: u8,
    /// A session that did not pad was killed, and what it wrote beside its records may still be
    /// under way: a power cut ruins them.
    pub(super) may_be_ruined: bool,
    pub(super) disk: SimVfs,
    pub(super) watch: Option<Watch>,
    pub(super) failed_syncs: FailedSyncs,
    /// Something read behind the last operation, be it of a session before.
    pub(super) had_readers: bool,
    /// How often a database was poisoned.
    pub(super) poisonings: u32,
    pub(super) clock: Arc<SimClock>,
    pub(super) entropy: Arc<SimEntropy>,
    pub(super) db: Option<Database>,
    pub(super) model: Model,
    /// Histories that a later crash replaced: a lying disk may bring one back.
    pub(super) timelines: Vec<Model>,
    /// The history that came back showed what another shows that holds something else.
    pub(super) is_one_of_several: bool,
    /// The history with the commits that a full disk has just undone, and where it branches.
    pub(super) undone: Option<(u64, Model)>,
    pub(super) pending: VecDeque<Pending>,
    /// Commits that may or may not have happened, in order, and their time.
    pub(super) unknown: Vec<(Vec<ChangeSpec>, u64)>,
    /// The time of the commits that are judged, if it is not now.
    pub(super) commit_ms: Option<u64>,
    /// C1: every commit up to here survives anything.
    pub(super) durable: u64,
    /// C13: every commit up to here survives the process.
    pub(super) written: u64,
    /// C13, for every level: every commit up to here stood whole in the files when the process
    /// stopped.
    pub(super) in_files: u64,
    /// How many commits nothing proved to be durable when the last opening looked.
    pub(super) unproven: Option<u64>,
    /// What the last opening had to say of what it found.
    pub(super) found: Option<Found>,
    /// C14: acknowledged and not known to be durable: version, level, when.
    pub(super) acknowledged: VecDeque<(u64, Level, u64)>,
    /// C11: what the engine's time was at the last flush or close, and the version then.
    pub(super) time_floor: (u64, u64),
    /// C11: the greatest expiry of what this session has shown as expired.
    pub(super) shown_ms: u64,
    /// The greatest engine time ever seen.
    pub(super) time_max: u64,
    /// The engine's time less the monotonic clock.
    pub(super) offset: i128,
    pub(super) poisoned: bool,
    /// When, by the monotonic clock, the disk was last found full since everything was durable:
    /// intervals count from there (C14).
    pub(super) full_at: Option<u64>,
    /// C6: commits up to here wait in memory behind a full disk; nothing overtakes them.
    pub(super) stuck: Option<u64>,
    /// The disk was found full, and what a power cut leaves of that was not looked at.
    pub(super) full_unseen: bool,
    /// A rotation has ended the segment and met a full disk; the next commit goes on with it.
    pub(super) in_rotation: bool,
    /// How many files had been made before this operation.
    pub(super) creates_before: u64,
    /// How many faults had struck before this operation.
    pub(super) faults_before_op: usize,
    /// The calls that a full disk had refused before it.
    pub(super) refusals_before_op: u64,
    /// How many renames there were when somebody last looked.
    pub(super) renames_seen: u64,
    /// Where the edits of the manifest ended then.
    pub(super) edits_seen: u64,
    /// Whether an operation has acknowledged commits that may not use the reserve of memory, and
    /// such as may.
    pub(super) acknowledged_in_op: (bool, bool),
    /// The memory in use when the store was opened, in bytes.
    pub(super) memory_at_first: u64,
    /// The largest segment that any session so far was told to make, in bytes.
    pub(super) segment_bytes_max: u64,
    /// What the names of the store's files began with when it was opened: a disk that lies may
    /// lose the manifest that tells.
    pub(super) prefix_at_first: Option<String>,
    /// Where the log ended when the store was opened, and in which file.
    pub(super) end_at_first: Option<(u64, String)>,
    /// Whether the first manifest of this session was looked at.
    pub(super) has_looked: bool,
    /// C11: something was committed since the engine's time was last logged.
    pub(super) dirty: bool,
    /// How many calls the disk had served when the log was last seen to be attested.
    pub(super) attested_at: u64,
    /// How many faults had struck when the session began.
    pub(super) faults_before: usize,
    pub(super) epoch: u64,
    pub(super) epoch_max: u64,
    /// Snapshots, with their version and time, and the number of openings when they were taken.
    pub(super) snapshots: Vec<(Snapshot, u64, u64, u64)>,
    pub(super) scans: Vec<OpenScan>,
    pub(super) nested: VecDeque<NestedCrash>,
    pub(super) rot: u8,
    /// The faults have stopped for good.
    pub(super) healed: bool,
    /// What stands in a file of the store's directory that is not the store's; empty: none does.
    pub(super) foreign: Vec<u8>,
    /// That file has been made durable.
    pub(super) has_foreign: bool,
    pub(super) op: usize,
    /// The number of the operation, as [`Op::Turn`] corrects it: a share of all checks goes by it.
    pub(super) turn: usize,
    starts: Vec<u64>,
    pub(super) strikes: Vec<(usize, u64)>,
    pub(super) ops: u64,
    pub(super) openings: u64,
    /// Whether the disk crashed since the last opening that returned.
    pub(super) has_crashed: bool,
    pub(super) recoveries: u64,
    pub(super) refusals: u64,
    pub(super) told: (u64, u64),
    pub(super) crashes: BTreeMap<String, u64>,
    pub(super) last_crash: Option<String>,
    pub(super) digest: Digest,
    pub(super) trace: Option<Vec<String>>,
    /// Whether the run is to be given up.
    pub(super) is_late: Option<&'a dyn Fn() -> bool>,
}

impl<'a> Runner<'a> {
    pub(super) fn new(case: &'a Case, trace: bool) -> Self {
        let streams = Streams::new(case.seed);
        let disk = SimVfs::with_streams(&streams, case.disk.clone(), FaultPlan::none());
        disk.set_faults(case.faults.clone());
        disk.watch(WATCH);
        disk.limit_calls(CALLS_MAX);
        if trace {
            disk.keep_trace(4096);
        }
        Runner {
            case,
            set: 0,
            next_set: 0,
            may_be_ruined: false,
            watch: Watch::of(case, &disk),
            disk,
            failed_syncs: FailedSyncs::default(),
            had_readers: false,
            poisonings: 0,
            clock: Arc::new(SimClock::new(WALL_MS)),
            entropy: Arc::new(SimEntropy::new(streams.stream(Stream::Entropy))),
            db: None,
            model: Model::counting(case.counts),
            timelines: Vec::new(),
            is_one_of_several: false,
            undone: None,
            pending: VecDeque::new(),
            unknown: Vec::new(),
            commit_ms: None,
            durable: 0,
            written: 0,
            in_files: 0,
            unproven: None,
            found: None,
            acknowledged: VecDeque::new(),
            time_floor: (0, 0),
            shown_ms: 0,
            time_max: 0,
            offset: 0,
            poisoned: false,
            full_at: None,
            stuck: None,
            full_unseen: false,
            in_rotation: false,
            creates_before: 0,
            faults_before_op: 0,
            refusals_before_op: 0,
            renames_seen: 0,
            edits_seen: 0,
            has_looked: false,
            segment_bytes_max: 0,
            prefix_at_first: None,
            end_at_first: None,
            memory_at_first: 0,
            acknowledged_in_op: (false, false),
            dirty: false,
            attested_at: 0,
            faults_before: 0,
            epoch: 0,
            epoch_max: 0,
            snapshots: Vec::new(),
            scans: Vec::new(),
            nested: VecDeque::new(),
            rot: 0,
            healed: false,
            foreign: foreign::content(case, WALL_MS),
            has_foreign: false,
            op: 0,
            turn: 0,
            starts: Vec::new(),
            strikes: Vec::new(),
            ops: 0,
            openings: 0,
            has_crashed: false,
            recoveries: 0,
            refusals: 0,
            told: (0, 0),
            crashes: BTreeMap::new(),
            last_crash: None,
            digest: Digest::new(),
            trace: trace.then(Vec::new),
            is_late: None,
        }
    }

    /// Runs the case to its end.
    pub(super) fn finish_run(mut self) -> Outcome {
        let _before = super::marks::take();
        let result = self.run_bounded();
        let mut digest = self.digest;
        digest.u64(self.disk.digest());
        self.note_disk();
        let views = (std::mem::take(&mut self.snapshots), std::mem::take(&mut self.scans));
        let handles = (self.db.take(), views);
        let outcome = Outcome {
            digest: digest.value(),
            failure: match result {
                Ok(()) | Err(Stop::Refused | Stop::Late) => None,
                Err(Stop::Failed(failure)) => Some(failure),
            },
            stats: self.disk.stats(),
            sites: self.disk.sites(),
            marks: super::marks::take(),
            recoveries: self.recoveries,
            crashes: self.crashes,
            last_crash: self.last_crash,
            failed_syncs: self.failed_syncs.counts,
            images: self.watch.map_or(0, |watch| watch.images),
            told: self.told,
            calls: self.disk.take_calls(),
            ops: self.ops,
            openings: self.openings,
            refusals: self.refusals,
            injected: self.disk.injected(),
            starts: self.starts,
            strikes: self.strikes,
            trace: self.trace.unwrap_or_default(),
        };
        // A store that broke its contract is still open, and may panic, or never end, when its
        // last handle closes it. The verdict stands; the next run must not suffer for it.
        let _ended = bounded(|| drop(handles));
        outcome
    }

    /// Runs; a hang and a panic are failures, too.
    fn run_bounded(&mut self) -> Checked {
        let result = match bounded(|| self.run()) {
            Ok(_) if self.disk.is_exhausted() => self
                .fail("progress", format!("more than {CALLS_MAX} calls in one operation: a hang")),
            Ok(result) => return result,
            Err(Ended::Endless) => self.fail("progress", "a loop without end"),
            Err(Ended::Panicked(message)) => self.fail("panic", message),
        };
        // Nothing that is dropped from here on does any more.
        self.disk.crash_now(CrashKind::Process);
        result
    }

    fn run(&mut self) -> Checked {
        self.refuse_to_make()?;
        self.nested = self.case.creation.iter().copied().collect();
        // A crash that comes first may strike inside the creation of the store.
        let early = self.case.ops.iter().take_while(|op| is_crash_to_come(op)).count();
        for op in self.case.ops.iter().take(early) {
            self.ops += 1;
            self.perform(op)?;
        }
        self.open(Stopped::Clean)?;
        self.leave_foreign_file();
        if self.disk.is_crashed() {
            self.recover()?;
        }
        // All calls so far are of the first opening, and of no operation.
        self.starts = vec![self.disk.calls(); early];
        self.turn = early;
        for (i, op) in self.case.ops.iter().enumerate().skip(early) {
            if self.is_late.is_some_and(|is_late| is_late()) {
                return Err(Stop::Late);
            }
            self.allow_calls();
            self.op = i;
            self.ops += 1;
            self.starts.push(self.disk.calls());
            self.say(|| format!("[{i}] {op:?}"));
            self.creates_before = self.disk.calls_of(CallKind::Create);
            self.faults_before_op = self.disk.injected().len();
            self.refusals_before_op = self.disk.full_refusals();
            self.perform(op)?;
            // Behind a mere note nothing has happened yet.
            if !op.is_mere_note() && !op.is_elsewhere() {
                self.after_op()?;
            }
            self.turn = self.turn.wrapping_add_signed(op.turns() as isize);
        }
        self.op = self.case.ops.len();
        self.finish()
    }

    pub(super) fn say(&mut self, line: impl FnOnce() -> String) {
        self.note_disk();
        if let Some(trace) = &mut self.trace {
            trace.push(line());
        }
    }

    /// Moves what the disk has traced into the trace.
    pub(super) fn note_disk(&mut self) {
        if let Some(trace) = &mut self.trace {
            trace.extend(self.disk.trace().into_iter().map(|line| format!("      {line}")));
            self.disk.keep_trace(0);
            self.disk.keep_trace(4096);
        }
    }

    pub(super) fn fail<T>(&self, clause: &'static str, message: impl Into<String>) -> Checked<T> {
        let message = message.into();
        // Where a disk may damage or lose what it has taken, a table that it has damaged ends the
        // case as a refused opening does: nothing was served that is not so.
        let tells = message.contains("corruption in") || message.contains("Corruption {");
        let is_damaged = tells && message.contains(".table");
        if is_damaged && !self.is_strict() && self.case.options.flushes() {
            return Err(Stop::Refused);
        }
        Err(Stop::Failed(Failure { clause, op: self.op, message }))
    }

    pub(super) fn require(&self, clause: &'static str, outcome: Result<(), String>) -> Checked {
        outcome.or_else(|message| self.fail(clause, message))
    }

    pub(super) fn db(&self) -> Checked<&Database> {
        match &self.db {
            Some(db) => Ok(db),
            None => self.fail("harness", "no database is open"),
        }
    }

    /// The options of the session that is open, or was the last.
    pub(super) fn options(&self) -> &'a CaseOptions {
        self.case.set(self.set)
    }

    /// The options of the next opening.
    pub(super) fn next_options(&self) -> &'a CaseOptions {
        self.case.set(self.next_set)
    }

    /// Whether the whole contract holds in this world. Where a sector may be ruined that was
    /// written to, it does for sessions that keep away from those that hold records.
    pub(super) fn is_strict(&self) -> bool {
        match self.case.world {
            World::Strict => true,
            World::GarbageSector => self.options().pad_to_sector && !self.may_be_ruined,
            World::Lying | World::Rot => false,
        }
    }

    pub(super) fn faults_since_open(&self) -> bool {
        let injected = self.disk.injected();
        // A device that gave up in an earlier session refuses every change since.
        let gave_up = injected.iter().any(|hit| hit.fault.kind == FaultKind::ReadOnly);
        injected.len() > self.faults_before || gave_up || self.disk.config().capacity.is_some()
    }

    pub(super) fn now_ms(&self) -> u64 {
        u64::try_from(i128::from(self.clock.now().1) + self.offset).unwrap_or(0)
    }

    /// The engine has seen the clock: its time follows the rule.
    pub(super) fn observe_clock(&mut self) -> Checked {
        let (wall, monotonic) = self.clock.now();
        self.offset = self.offset.max(i128::from(wall) - i128::from(monotonic));
        let expected = self.now_ms();
        let found = self.db()?.storage().now().as_millis();
        if found != expected {
            return self.fail("time", format!("the engine's time is {found}, not {expected}"));
        }
        self.time_max = self.time_max.max(found);
        Ok(())
    }
}

/// Whether a crash is armed by this operation, and does not strike at once.
fn is_crash_to_come(op: &Op) -> bool {
    matches!(op, Op::Crash { after_calls, .. } if *after_calls > 0)
}
