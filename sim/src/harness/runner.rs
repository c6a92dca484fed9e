//! Runs a case: the engine on the simulated disk, the model beside it, operation by operation.
//!
//! The oracle lives outside the simulated disk: it keeps the history of operations with their
//! acknowledgements, and after a crash accepts exactly what the contract permits.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use runstone::{
    Builder, Database, Error, Level, RunOptions, Snapshot, Ticket, WriteBatch, WriteOptions,
};

use super::case::{Case, ChangeSpec, LevelSpec, NestedCrash, Op, World, key_bytes, run_id, status};
use super::generate;
use super::model::{self, Model};
use super::oracle;
use super::world::{SimClock, SimEntropy};
use crate::digest::Digest;
use crate::disk::{CrashKind, CrashPoint, FaultKind, FaultMode, FaultPlan, SimVfs, Stats};
use crate::rng::{Stream, Streams};

/// Where the store lives: two levels deep, so that parents matter.
const DIR: &str = "/data/store";
/// The wall clock at the beginning, in milliseconds.
const WALL_MS: u64 = 1_700_000_000_000;
/// The most calls that a case may make: more is a hang.
const CALLS_MAX: u64 = 2_000_000;

/// A breach of the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The clause of the contract, or what else was broken.
    pub clause: &'static str,
    /// The operation at which it showed.
    pub op: usize,
    /// The first difference.
    pub message: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at operation {}: {}", self.clause, self.op, self.message)
    }
}

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
    /// Operations that were done.
    pub ops: u64,
    /// Openings that returned.
    pub openings: u64,
    /// Openings that were refused with a typed error, in worlds where that is right.
    pub refusals: u64,
    /// The faults that struck, for a replay and for shrinking.
    pub injected: Vec<crate::disk::Injected>,
    /// The readable trace, if it was asked for.
    pub trace: Vec<String>,
}

/// Generates the case of a seed and runs it.
pub fn run_seed(seed: u64) -> Outcome {
    run(&generate::generate(seed), false)
}

/// Runs a case; `trace` keeps a readable trace.
pub fn run(case: &Case, trace: bool) -> Outcome {
    let mut runner = Runner::new(case, trace);
    let result = runner.run();
    let mut digest = runner.digest;
    digest.u64(runner.disk.digest());
    runner.note_disk();
    Outcome {
        digest: digest.value(),
        failure: match result {
            Ok(()) | Err(Stop::Refused) => None,
            Err(Stop::Failed(failure)) => Some(failure),
        },
        stats: runner.disk.stats(),
        crashes: runner.crashes,
        ops: runner.ops,
        openings: runner.openings,
        refusals: runner.refusals,
        injected: runner.disk.injected(),
        trace: runner.trace.unwrap_or_default(),
    }
}

/// Why a run ends before its last operation.
enum Stop {
    /// The store refused to open, in a world where that is right.
    Refused,
    /// The contract was broken.
    Failed(Failure),
}

type Checked<T = ()> = Result<T, Stop>;

/// A commit that waits in the queue.
struct Pending {
    changes: Vec<ChangeSpec>,
    level: Level,
    ticket: Ticket,
}

/// What the last stop of the store guarantees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopped {
    /// `close` returned Ok.
    Clean,
    /// The process ended, one way or another; no power cut.
    Process,
    /// The power was cut.
    Power,
}

struct Runner<'a> {
    case: &'a Case,
    disk: SimVfs,
    clock: Arc<SimClock>,
    entropy: Arc<SimEntropy>,
    db: Option<Database>,
    model: Model,
    /// Histories that a later crash replaced: a lying disk may bring one back.
    timelines: Vec<Model>,
    /// The history with the commits that a full disk has just undone, and where it branches.
    undone: Option<(u64, Model)>,
    pending: VecDeque<Pending>,
    /// Commits that may or may not have happened, in order.
    unknown: Vec<Vec<ChangeSpec>>,
    /// C1: every commit up to here survives anything.
    durable: u64,
    /// C13: every commit up to here survives the process.
    written: u64,
    /// C14: acknowledged and not known to be durable: version, level, when.
    acknowledged: VecDeque<(u64, Level, u64)>,
    /// C11: what the engine's time was at the last flush or close.
    time_floor: u64,
    /// The greatest engine time ever seen.
    time_max: u64,
    /// The engine's time less the monotonic clock.
    offset: i128,
    poisoned: bool,
    /// The disk was full since everything was durable: intervals promise nothing (C14).
    was_full: bool,
    /// How many faults had struck when the session began.
    faults_before: usize,
    epoch: u64,
    epoch_max: u64,
    snapshots: Vec<(Snapshot, u64, u64)>,
    nested: VecDeque<NestedCrash>,
    rot: u8,
    op: usize,
    ops: u64,
    openings: u64,
    refusals: u64,
    crashes: BTreeMap<String, u64>,
    digest: Digest,
    trace: Option<Vec<String>>,
}

impl<'a> Runner<'a> {
    fn new(case: &'a Case, trace: bool) -> Self {
        let streams = Streams::new(case.seed);
        let disk = SimVfs::with_streams(&streams, case.disk.clone(), FaultPlan::none());
        disk.set_faults(case.faults.clone());
        if trace {
            disk.keep_trace(4096);
        }
        Runner {
            case,
            disk,
            clock: Arc::new(SimClock::new(WALL_MS)),
            entropy: Arc::new(SimEntropy::new(streams.stream(Stream::Entropy))),
            db: None,
            model: Model::default(),
            timelines: Vec::new(),
            undone: None,
            pending: VecDeque::new(),
            unknown: Vec::new(),
            durable: 0,
            written: 0,
            acknowledged: VecDeque::new(),
            time_floor: 0,
            time_max: 0,
            offset: 0,
            poisoned: false,
            was_full: false,
            faults_before: 0,
            epoch: 0,
            epoch_max: 0,
            snapshots: Vec::new(),
            nested: VecDeque::new(),
            rot: 0,
            op: 0,
            ops: 0,
            openings: 0,
            refusals: 0,
            crashes: BTreeMap::new(),
            digest: Digest::new(),
            trace: trace.then(Vec::new),
        }
    }

    fn run(&mut self) -> Checked {
        self.open(Stopped::Clean)?;
        for (i, op) in self.case.ops.iter().enumerate() {
            self.op = i;
            self.ops += 1;
            self.say(|| format!("[{i}] {op:?}"));
            self.perform(op)?;
            self.after_op()?;
            if self.disk.calls() > CALLS_MAX {
                return self.fail("progress", "the case makes more calls than it may: a hang");
            }
        }
        self.op = self.case.ops.len();
        self.finish()
    }

    // ----- the trace -----

    fn say(&mut self, line: impl FnOnce() -> String) {
        self.note_disk();
        if let Some(trace) = &mut self.trace {
            trace.push(line());
        }
    }

    /// Moves what the disk has traced into the trace.
    fn note_disk(&mut self) {
        if let Some(trace) = &mut self.trace {
            trace.extend(self.disk.trace().into_iter().map(|line| format!("      {line}")));
            self.disk.keep_trace(0);
            self.disk.keep_trace(4096);
        }
    }

    fn fail<T>(&self, clause: &'static str, message: impl Into<String>) -> Checked<T> {
        Err(Stop::Failed(Failure { clause, op: self.op, message: message.into() }))
    }

    fn require(&self, clause: &'static str, outcome: Result<(), String>) -> Checked {
        outcome.or_else(|message| self.fail(clause, message))
    }

    // ----- what may happen -----

    fn db(&self) -> Checked<&Database> {
        match &self.db {
            Some(db) => Ok(db),
            None => self.fail("harness", "no database is open"),
        }
    }

    /// Whether the whole contract holds in this world.
    fn is_strict(&self) -> bool {
        match self.case.world {
            World::Strict => true,
            World::GarbageSector => self.case.options.pad_to_sector,
            World::Lying | World::Rot => false,
        }
    }

    fn faults_since_open(&self) -> bool {
        self.disk.injected().len() > self.faults_before || self.disk.config().capacity.is_some()
    }

    fn may_be_full(&self) -> bool {
        self.disk.config().capacity.is_some()
            || self
                .disk
                .injected()
                .iter()
                .any(|hit| matches!(hit.fault.kind, FaultKind::NoSpace | FaultKind::Quota))
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(i128::from(self.clock.now().1) + self.offset).unwrap_or(0)
    }

    /// The engine has seen the clock: its time follows the rule.
    fn observe_clock(&mut self) -> Checked {
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

    // ----- operations -----

    fn perform(&mut self, op: &Op) -> Checked {
        match op {
            Op::Write { change, level } => self.write(*change, *level),
            Op::Remove { run, key } => {
                let change = ChangeSpec::Delete { run: *run, key: *key };
                let outcome =
                    self.db()?.remove(run_id(*run), key_bytes(*key)).map(|version| (version, None));
                self.settle()?;
                self.judge(&[change], self.default_level(), false, outcome)
            }
            Op::Batch { changes, level } => {
                let outcome = self
                    .db()?
                    .write_with(batch(changes), write_options(*level))
                    .map(|version| (version, None));
                self.settle()?;
                self.judge(changes, self.level(*level), false, outcome)
            }
            Op::Submit { changes, level } => {
                match self.db()?.submit(batch(changes), write_options(*level)) {
                    Ok(ticket) => {
                        let (changes, level) = (changes.clone(), self.level(*level));
                        self.pending.push_back(Pending { changes, level, ticket });
                        self.settle()
                    }
                    Err(error) => {
                        self.settle()?;
                        self.judge(changes, self.level(*level), false, Err(error))
                    }
                }
            }
            Op::Step => {
                let answered = self.db()?.step();
                self.digest.u64(answered.map_or(u64::MAX, |n| n as u64));
                self.settle()
            }
            Op::Tick => self.tick(),
            Op::Maintain => {
                let outcome = self.db()?.maintain().map(|_| ());
                self.upkeep("maintain", outcome)
            }
            Op::Flush => {
                let outcome = self.db()?.flush();
                if outcome.is_ok() {
                    self.all_durable();
                    self.time_floor = self.time_floor.max(self.model.time_ms());
                }
                self.upkeep("flush", outcome)
            }
            Op::Get { run, key } => {
                let (run, key, now) = (*run, *key, self.now_ms());
                let outcome = oracle::compare_get(self.db()?, &self.model, run, key, now);
                self.require("read", outcome)
            }
            Op::List { run, key, len, ends } => self.list(*run, *key, *len, *ends),
            Op::Snapshot => {
                let snapshot = self.db()?.snapshot();
                let Ok(snapshot) = snapshot else {
                    return self.fail("snapshot", "no snapshot could be taken");
                };
                let (version, now) = (self.model.version(), self.now_ms());
                if snapshot.version() != version || snapshot.time().as_millis() != now {
                    return self.fail(
                        "snapshot",
                        format!("it is of {} at {}", snapshot.version(), snapshot.time()),
                    );
                }
                if self.snapshots.len() < 4 {
                    self.snapshots.push((snapshot, version, now));
                }
                Ok(())
            }
            Op::ReadSnapshot { slot } => self.read_snapshot(*slot),
            Op::DropSnapshot { slot } => {
                if !self.snapshots.is_empty() {
                    let at = usize::from(*slot) % self.snapshots.len();
                    self.snapshots.swap_remove(at);
                }
                Ok(())
            }
            Op::Clock { wall_ms, passes_ms } => {
                self.clock.pass(u64::from(*passes_ms), *wall_ms);
                self.observe_clock()
            }
            Op::FillDisk { free } => {
                self.disk.set_capacity(Some(self.disk.used_bytes() + u64::from(*free)));
                Ok(())
            }
            Op::FreeDisk => {
                self.disk.set_capacity(None);
                Ok(())
            }
            Op::Reopen => self.reopen(),
            Op::DropReopen => self.drop_reopen(),
            Op::OpenTwice => self.open_twice(),
            Op::Crash { after_calls, when, kind, model, nested, rot } => {
                let mut config = self.case.disk.clone();
                config.capacity = self.disk.config().capacity;
                if let Some(model) = model {
                    config = config.only(*model);
                }
                self.disk.set_config(config);
                self.nested = nested.iter().copied().collect();
                self.rot = *rot;
                let call = self.disk.calls() + u64::from(*after_calls);
                if *after_calls == 0 {
                    self.disk.crash_now(*kind);
                } else {
                    self.disk.arm_crash(CrashPoint { call, when: *when }, *kind);
                }
                Ok(())
            }
        }
    }

    /// What follows every operation: a crash that struck, a poisoned handle, due steps.
    fn after_op(&mut self) -> Checked {
        if self.disk.is_crashed() {
            return self.recover();
        }
        if self.poisoned {
            return self.leave_poisoned();
        }
        if self.case.options.diligent {
            self.tick()?;
            if self.disk.is_crashed() {
                return self.recover();
            }
            if self.poisoned {
                return self.leave_poisoned();
            }
        }
        Ok(())
    }

    fn default_level(&self) -> Level {
        self.case.options.durability().level()
    }

    fn level(&self, spec: LevelSpec) -> Level {
        spec.level().unwrap_or(self.default_level())
    }

    fn write(&mut self, change: ChangeSpec, level: LevelSpec) -> Checked {
        let db = self.db()?;
        let outcome = match change {
            ChangeSpec::Put { run, key, value, ttl_ms } => {
                let ttl = ttl_ms.map(|ms| Duration::from_millis(u64::from(ms)));
                let (run, key) = (run_id(run), key_bytes(key));
                db.put_with(run, key, value.value(), ttl, write_options(level))
                    .map(|version| (version, None))
            }
            ChangeSpec::Delete { run, key } => {
                // The version is not returned; the published one is it, or above it.
                db.delete(run_id(run), key_bytes(key))
                    .map(|previous| (db.storage().version(), previous))
            }
            ChangeSpec::Begin { run, parent, tags } => {
                let mut options = RunOptions::default().tags(model::tags(tags));
                if let Some(parent) = parent {
                    options = options.parent(run_id(parent));
                }
                db.begin_run_with(run_id(run), options).map(|version| (version, None))
            }
            ChangeSpec::End { run, status: n } => {
                db.end_run_with(run_id(run), status(n)).map(|version| (version, None))
            }
        };
        let is_put = matches!(change, ChangeSpec::Put { .. });
        let level = if is_put { self.level(level) } else { self.default_level() };
        self.settle()?;
        self.judge(&[change], level, matches!(change, ChangeSpec::Delete { .. }), outcome)
    }

    /// Judges the tickets that have their outcome, in the order of submission.
    fn settle(&mut self) -> Checked {
        while let Some(first) = self.pending.front() {
            let Some(outcome) = first.ticket.poll() else {
                if self.disk.is_crashed() {
                    // It was never taken from the queue: it cannot be in the log.
                    self.pending.pop_front();
                    continue;
                }
                break;
            };
            let Some(Pending { changes, level, .. }) = self.pending.pop_front() else { break };
            let outcome = outcome.map(|committed| (committed.version, None));
            self.judge(&changes, level, false, outcome)?;
        }
        Ok(())
    }

    /// Judges the outcome of one commit, and moves the model on.
    fn judge(
        &mut self,
        changes: &[ChangeSpec],
        level: Level,
        has_previous: bool,
        outcome: Result<(u64, Option<runstone::Value>), Error>,
    ) -> Checked {
        self.digest.u64(outcome.as_ref().map_or(u64::MAX, |(version, _)| *version));
        self.say(|| match &outcome {
            Ok((version, _)) => format!("      = version {version}"),
            Err(error) => format!("      = {error}"),
        });
        let predicted = model::check_door(changes).and_then(|()| self.model.check(changes));
        let error = match outcome {
            Ok((version, previous)) => {
                if let Err(refusal) = predicted {
                    return self.fail("precondition", format!("accepted in spite of {refusal:?}"));
                }
                return self.acknowledge(changes, level, version, has_previous, previous);
            }
            Err(error) => error,
        };
        let crashed = self.disk.is_crashed();
        match &error {
            Error::OutcomeUnknown { .. } => {
                // Whether it is legal depends on the unknown ones before it.
                self.unknown.push(changes.to_vec());
                self.epoch_max = self.epoch_max.max(self.epoch);
                self.poisoned = true;
                self.expect_fault("C6", &error, crashed)
            }
            Error::Poisoned { .. } => {
                self.poisoned = true;
                self.expect_fault("C6", &error, crashed)
            }
            Error::DiskFull { .. } if self.may_be_full() => {
                self.was_full = true;
                self.remember_undone(changes);
                Ok(())
            }
            Error::MemtableFull { .. } if self.case.options.may_be_full() => Ok(()),
            _ => match predicted {
                Err(refusal) if refusal.matches(&error) => Ok(()),
                Err(refusal) => self.fail("precondition", format!("{error}, not {refusal:?}")),
                Ok(()) => self.fail("C6", format!("a commit failed without a reason: {error}")),
            },
        }
    }

    /// C7: a commit that a full disk undid comes back if the sync of that lied.
    fn remember_undone(&mut self, changes: &[ChangeSpec]) {
        if self.is_strict() {
            return;
        }
        let version = self.model.version();
        let undone = self.undone.take().filter(|(at, _)| *at == version);
        // It was of the same group as the one before, or of a later one at the same place.
        let base = self.extended(0);
        let mut branch = undone.map_or_else(|| base.clone(), |(_, branch)| branch);
        for history in [&mut branch, &mut base.clone()] {
            if model::check_door(changes).is_ok() && history.check(changes).is_ok() {
                history.commit(changes, self.now_ms());
                self.timelines.push(history.clone());
            }
        }
        self.undone = Some((version, branch));
    }

    fn expect_fault(&self, clause: &'static str, error: &Error, crashed: bool) -> Checked {
        // A failure of an earlier session may be reported only now.
        if crashed || self.faults_since_open() || !self.disk.injected().is_empty() {
            return Ok(());
        }
        self.fail(clause, format!("nothing had failed, but: {error}"))
    }

    fn acknowledge(
        &mut self,
        changes: &[ChangeSpec],
        level: Level,
        version: u64,
        has_previous: bool,
        previous: Option<runstone::Value>,
    ) -> Checked {
        let now = self.now_ms();
        if has_previous && let [ChangeSpec::Delete { run, key }] = changes {
            let key = key_bytes(*key);
            let before = self.model.get(*run, &key, self.model.version(), now);
            let before = before.and_then(|revision| revision.value.clone());
            if before != previous {
                return self.fail("delete", format!("it returned {previous:?}, not {before:?}"));
            }
        }
        let expected = self.model.commit(changes, now);
        if version != expected {
            return self.fail("C4", format!("version {version} was returned, not {expected}"));
        }
        self.epoch_max = self.epoch_max.max(self.epoch);
        match level {
            Level::Strict => self.all_durable(),
            Level::Batched => {
                self.written = version;
                self.acknowledged.push_back((version, level, self.clock.now().1));
            }
            Level::Async => {
                self.acknowledged.push_back((version, level, self.clock.now().1));
            }
        }
        Ok(())
    }

    /// Everything published is durable (C1).
    fn all_durable(&mut self) {
        self.durable = self.model.version();
        self.written = self.durable;
        self.acknowledged.clear();
        self.was_full = false;
    }

    fn tick(&mut self) -> Checked {
        let outcome = self.db()?.tick();
        let now = self.clock.now().1;
        if outcome.is_ok() && !self.faults_since_open() && !self.was_full {
            // C14: nothing acknowledged longer ago than its interval is left.
            let due = |level: &Level, at: u64| {
                let interval = self.case.options.interval(*level).as_millis();
                u128::from(at) + interval <= u128::from(now)
            };
            let overdue =
                self.acknowledged.iter().rev().find(|(_, level, at)| due(level, *at)).copied();
            if let Some((version, ..)) = overdue {
                self.durable = self.durable.max(version);
                self.written = self.written.max(version);
                self.acknowledged.retain(|(acknowledged, ..)| *acknowledged > version);
            }
        }
        self.upkeep("tick", outcome.map(|_| ()))
    }

    /// Judges a step that is no commit.
    fn upkeep(&mut self, what: &str, outcome: Result<(), Error>) -> Checked {
        self.digest.u8(u8::from(outcome.is_ok()));
        if let Err(error) = &outcome {
            self.say(|| format!("      {what}: {error}"));
        }
        self.settle()?;
        match outcome {
            Ok(()) => Ok(()),
            Err(Error::DiskFull { .. }) if self.may_be_full() => {
                self.was_full = true;
                Ok(())
            }
            Err(error @ Error::Poisoned { .. }) => {
                self.poisoned = true;
                self.expect_fault("C6", &error, self.disk.is_crashed())
            }
            Err(error) => self.fail("C6", format!("{what} failed without a reason: {error}")),
        }
    }

    fn list(&mut self, run: u8, key: u8, len: u8, ends: u32) -> Checked {
        let bytes = key_bytes(key);
        let prefix = bytes.get(..usize::from(len)).unwrap_or(&bytes);
        let db = self.db()?;
        let scan = match db.scan_prefix(run_id(run), prefix) {
            Ok(scan) if self.model.knows_run(run) => scan,
            Err(Error::RunNotFound { .. }) if !self.model.knows_run(run) => return Ok(()),
            Ok(_) => return self.fail("read", "an unknown run was listed"),
            Err(error) => return self.fail("read", format!("a listing failed: {error}")),
        };
        let expected = self.model.list(run, prefix, self.model.version(), self.now_ms());
        let what = format!("list of run {run}, prefix {}", prefix.escape_ascii());
        let outcome = walk(scan, &expected, ends, &what);
        self.require("read", outcome)
    }

    fn read_snapshot(&mut self, slot: u8) -> Checked {
        if self.snapshots.is_empty() {
            return Ok(());
        }
        let at = usize::from(slot) % self.snapshots.len();
        let Some((snapshot, version, now)) = self.snapshots.get(at) else { return Ok(()) };
        let mut outcome = Ok(());
        for run in 0..oracle::RUNS {
            let scan = snapshot.scan_prefix(run_id(run), "");
            outcome = outcome.and_then(|()| match scan {
                Ok(scan) if self.model.run_existed_at(run, *version) => {
                    let expected = self.model.list(run, b"", *version, *now);
                    walk(scan, &expected, u32::MAX << slot, &format!("snapshot of run {run}"))
                }
                Err(Error::RunNotFound { .. }) if !self.model.run_existed_at(run, *version) => {
                    Ok(())
                }
                Ok(_) => Err(format!("a snapshot shows run {run}, which began later")),
                Err(error) => Err(format!("a snapshot of run {run}: {error}")),
            });
        }
        self.require("snapshot", outcome)
    }

    // ----- stopping and opening -----

    fn reopen(&mut self) -> Checked {
        let outcome = self.db()?.close();
        self.settle()?;
        self.digest.u8(u8::from(outcome.is_ok()));
        match outcome {
            Ok(()) => {
                if !matches!(self.db()?.put(run_id(0), "k", 1), Err(Error::Closed)) {
                    return self.fail("close", "a closed database took a write");
                }
                self.db = None;
                self.all_durable();
                self.time_floor = self.time_floor.max(self.model.time_ms());
                if self.op.is_multiple_of(4) {
                    self.read_only()?;
                }
                self.open(Stopped::Clean)
            }
            Err(_) if self.disk.is_crashed() => Ok(()),
            // Nothing was closed; the disk is freed, and it goes on.
            Err(Error::DiskFull { .. }) if self.may_be_full() => {
                self.was_full = true;
                Ok(())
            }
            Err(error @ Error::Poisoned { .. }) => {
                self.expect_fault("C6", &error, false)?;
                self.poisoned = true;
                self.db = None;
                self.open(Stopped::Process)
            }
            Err(error) => self.fail("C6", format!("close failed without a reason: {error}")),
        }
    }

    /// A read-only opening of a closed store shows the same and writes nothing.
    fn read_only(&mut self) -> Checked {
        self.disk.enable_faults(false);
        let before = self.changing_calls();
        let opened = self.builder().open_read_only(DIR);
        let outcome = match opened {
            Ok(db) => {
                let now = db.storage().now().as_millis();
                let same = oracle::compare(&db, &self.model, now);
                let refuses = matches!(db.put(run_id(0), "k", 1), Err(Error::ReadOnly));
                drop(db);
                if refuses { same } else { Err("a read-only database took a write".to_owned()) }
            }
            Err(_) if self.disk.is_crashed() || !self.is_strict() => Ok(()),
            Err(error) => Err(format!("a read-only opening failed: {error}")),
        };
        let outcome = match self.changing_calls() == before {
            true => outcome,
            false => Err("a read-only opening changed the disk".to_owned()),
        };
        self.disk.enable_faults(true);
        if self.is_strict() { self.require("C8", outcome) } else { Ok(()) }
    }

    /// How many calls have changed the disk, or could have.
    fn changing_calls(&self) -> u64 {
        let calls = self.disk.stats().calls;
        calls.iter().filter(|(kind, _)| kind.changes()).map(|(_, count)| count).sum()
    }

    fn drop_reopen(&mut self) -> Checked {
        let faulty = self.faults_since_open();
        self.db = None;
        self.settle()?;
        if self.disk.is_crashed() {
            return Ok(());
        }
        if faulty || self.faults_since_open() {
            return self.open(Stopped::Process);
        }
        self.all_durable();
        self.open(Stopped::Clean)
    }

    /// A poisoned handle stays poisoned and readable; then it is opened again.
    fn leave_poisoned(&mut self) -> Checked {
        let db = self.db()?;
        if db.is_closed() {
            return self.fail("harness", "a poisoned database is closed");
        }
        let refused = db.put(run_id(0), "a", 1);
        if self.model.check(&[ChangeSpec::Delete { run: 0, key: 0 }]).is_ok()
            && !matches!(refused, Err(Error::Poisoned { .. }))
        {
            return self.fail("C6", format!("a poisoned database answered {refused:?}"));
        }
        let outcome = oracle::compare(self.db()?, &self.model, self.now_ms());
        self.require("C6", outcome)?;
        let closed = self.db()?.close();
        if !matches!(closed, Err(Error::Poisoned { .. })) {
            return self.fail("C6", format!("closing a poisoned database gave {closed:?}"));
        }
        self.settle()?;
        self.db = None;
        self.open(Stopped::Process)
    }

    fn open_twice(&mut self) -> Checked {
        let second = self.builder().open(DIR);
        match second {
            Err(Error::Locked { .. }) => Ok(()),
            Err(Error::Io { .. } | Error::DiskFull { .. })
                if self.disk.is_crashed() || self.faults_since_open() =>
            {
                Ok(())
            }
            other => self.fail("C9", format!("a second opening gave {other:?}")),
        }
    }

    fn builder(&self) -> Builder {
        Database::builder()
            .options(self.case.options.engine())
            .vfs(Arc::new(self.disk.clone()))
            .clock(self.clock.clone())
            .entropy(self.entropy.clone())
    }

    /// After a crash: drops what is dead, and opens again.
    fn recover(&mut self) -> Checked {
        self.db = None;
        self.settle()?;
        self.snapshots.clear();
        let kind = self.count_crash();
        if self.case.world == World::Rot && self.rot > 0 {
            let rot = self.disk.rot(u64::from(self.rot));
            self.say(|| format!("      rot: {rot:?}"));
            self.rot = 0;
        }
        self.disk.restart();
        self.open(if kind == CrashKind::Power { Stopped::Power } else { Stopped::Process })
    }

    fn count_crash(&mut self) -> CrashKind {
        let Some(report) = self.disk.crash_report() else { return CrashKind::Power };
        let name = match (report.kind, report.model) {
            (CrashKind::Power, Some(model)) => format!("power {model:?}"),
            (kind, _) => format!("{kind:?}").to_lowercase(),
        };
        *self.crashes.entry(name).or_default() += 1;
        self.say(|| format!("      {report}"));
        report.kind
    }

    /// Opens the store, through crashes and faults, and checks what it shows.
    fn open(&mut self, mut stopped: Stopped) -> Checked {
        let expected = self.expected_convergence(stopped);
        self.faults_before_recovery();
        let mut tries = 0;
        let db = loop {
            if let Some(nested) = self.nested.pop_front() {
                let call = self.disk.calls() + u64::from(nested.after_calls);
                self.disk.arm_crash(CrashPoint { call, when: nested.when }, nested.kind);
            }
            let opened = self.builder().open(DIR);
            if self.disk.is_crashed() {
                drop(opened);
                let kind = self.count_crash();
                if kind == CrashKind::Power {
                    stopped = Stopped::Power;
                } else if stopped == Stopped::Clean {
                    stopped = Stopped::Process;
                }
                self.disk.restart();
                continue;
            }
            let error = match opened {
                Ok(db) => break db,
                Err(error) => error,
            };
            self.say(|| format!("      open: {error}"));
            // A failure of before may be reported only now.
            let had_fault =
                !self.disk.injected().is_empty() || self.disk.config().capacity.is_some();
            match error {
                Error::Corruption { .. } | Error::UnsupportedFormat { .. } if !self.is_strict() => {
                    self.refusals += 1;
                    return Err(Stop::Refused);
                }
                Error::Io { .. } | Error::DiskFull { .. } if had_fault && tries < 16 => {
                    // A failed opening may have made writes that a later sync cannot save.
                    if stopped == Stopped::Clean {
                        stopped = Stopped::Process;
                    }
                    tries += 1;
                    if tries >= 3 {
                        self.disk.heal();
                    }
                }
                error => {
                    return self.fail("C5", format!("an opening was refused: {error}"));
                }
            }
        };
        self.disk.enable_faults(true);
        self.openings += 1;
        self.verify(&db, stopped, expected)?;
        self.db = Some(db);
        self.poisoned = false;
        self.faults_before = self.disk.injected().len();
        self.observe_clock()
    }

    fn faults_before_recovery(&mut self) {
        if !self.case.faults_in_recovery {
            self.disk.enable_faults(false);
            self.disk.set_capacity(None);
        }
    }

    /// C8: what a recovery without further crashes would show, for one with them to reach.
    fn expected_convergence(&mut self, stopped: Stopped) -> Option<u64> {
        if self.nested.is_empty() || stopped != Stopped::Power || !self.is_strict() {
            return None;
        }
        let fork = self.disk.fork(self.case.seed ^ 0xc0);
        fork.heal();
        let opened = Database::builder()
            .options(self.case.options.engine())
            .vfs(Arc::new(fork))
            .clock(self.clock.clone())
            .entropy(Arc::new(SimEntropy::new(Streams::new(self.case.seed).named("fork"))))
            .open(DIR);
        opened.ok().map(|db| db.storage().version())
    }

    /// Checks what an opening shows, and makes it the truth.
    fn verify(&mut self, db: &Database, stopped: Stopped, expected: Option<u64>) -> Checked {
        let version = db.storage().version();
        let now = db.storage().now().as_millis();
        self.digest.u64(version);
        self.digest.u64(now);
        self.say(|| format!("      opened: version {version}, {:?}", db.recovery_report()));
        let matched = self.matching_history(db, version, now)?;
        if stopped != Stopped::Clean || !self.is_strict() {
            self.snapshots.clear();
        }
        if self.is_strict() {
            self.verify_floor(version, stopped)?;
            if let Some(expected) = expected
                && version != expected
            {
                return self.fail(
                    "C8",
                    format!("crashes in recovery led to version {version}, without to {expected}"),
                );
            }
            self.verify_time(now, &matched)?;
            self.verify_report(db, &matched, stopped)?;
        }
        if !self.is_strict() {
            // Its unknown commits may be on the disk as well.
            self.timelines.push(self.extended(0));
        }
        self.model = matched;
        self.unknown.clear();
        self.offset = i128::from(now) - i128::from(self.clock.now().1);
        self.time_max = self.time_max.max(now);
        self.all_durable();
        Ok(())
    }

    /// C2, C3: the history that the database shows: a prefix of the commit order.
    fn matching_history(&self, db: &Database, version: u64, now: u64) -> Checked<Model> {
        let mut first = None;
        for mut candidate in self.candidates() {
            if candidate.version() < version {
                let message = format!(
                    "version {version} is shown, but there were only {} commits",
                    candidate.version()
                );
                first.get_or_insert(message);
                continue;
            }
            candidate.cut(version);
            match oracle::compare(db, &candidate, now) {
                Ok(()) => return Ok(candidate),
                Err(difference) => {
                    first.get_or_insert(difference);
                }
            }
        }
        self.fail("C2", first.unwrap_or_default())
    }

    /// The history with the unknown commits, but for those whose bit is set.
    fn extended(&self, skip: u32) -> Model {
        let mut model = self.model.clone();
        for (i, changes) in self.unknown.iter().enumerate() {
            if skip >> i & 1 == 0 && model.check(changes).is_ok() {
                model.commit(changes, self.now_ms());
            }
        }
        model
    }

    /// The histories that may be shown, up to where they are cut.
    fn candidates(&self) -> Vec<Model> {
        let mut candidates = vec![self.extended(0)];
        if self.case.options.may_be_full() {
            // Any of the unknown ones may have been refused for want of memory.
            let count = u32::try_from(self.unknown.len()).unwrap_or(0).min(8);
            candidates.extend((1..1 << count).map(|skip| self.extended(skip)));
        }
        if !self.is_strict() {
            candidates.extend(self.timelines.iter().cloned());
        }
        candidates
    }

    /// C1, C13, C14: no shorter than was promised.
    fn verify_floor(&self, version: u64, stopped: Stopped) -> Checked {
        let mut floor = self.durable;
        let mut clause = "C1";
        let no_write_was_lost = !self.poisoned && !self.lost_writes_possible();
        if stopped != Stopped::Power && no_write_was_lost && self.written > floor {
            (floor, clause) = (self.written, "C13");
        }
        if version < floor {
            return self.fail(
                clause,
                format!("version {version} is recovered, but {floor} was promised ({stopped:?})"),
            );
        }
        let lost = self
            .acknowledged
            .iter()
            .filter(|(lost, level, _)| *lost > version && *level == Level::Batched)
            .count() as u64;
        let policy = match self.case.options.mode {
            1 => self.case.options.batch_size,
            _ => 1024,
        };
        if lost > 2 * policy && !self.faults_since_open() {
            return self
                .fail("C14", format!("{lost} batched commits are lost of {policy} a batch"));
        }
        Ok(())
    }

    /// Whether the operating system may have dropped what it had taken.
    fn lost_writes_possible(&self) -> bool {
        self.disk.injected().iter().any(|hit| {
            matches!(
                hit.fault.kind,
                FaultKind::BackgroundFails
                    | FaultKind::SyncLate
                    | FaultKind::SyncLies
                    | FaultKind::ReadOnly
            ) || matches!(hit.kind, crate::disk::CallKind::Sync | crate::disk::CallKind::SyncDir)
        })
    }

    /// C11: time is at least that of every recovered commit, and of the last flush.
    fn verify_time(&self, now: u64, matched: &Model) -> Checked {
        let wall = self.clock.now().0;
        let floor = matched.time_ms().max(self.time_floor).max(wall);
        if now < floor || now > self.time_max.max(wall) {
            return self.fail(
                "C11",
                format!("time is {now}, not from {floor} to {}", self.time_max.max(wall)),
            );
        }
        Ok(())
    }

    /// C4 for epochs, and what the report says of the stop.
    fn verify_report(&mut self, db: &Database, matched: &Model, stopped: Stopped) -> Checked {
        let report = db.recovery_report();
        self.epoch = report.epoch + u64::from(report.clean && !report.created);
        if self.epoch <= self.epoch_max {
            return self.fail(
                "C4",
                format!("epoch {} is given again, after {}", self.epoch, self.epoch_max),
            );
        }
        if report.created && self.durable > 0 {
            return self.fail("C1", "the store was made anew");
        }
        let mut interrupted: Vec<_> = matched.active_runs().into_iter().map(run_id).collect();
        interrupted.sort_unstable();
        if report.clean {
            interrupted.clear();
        }
        if report.interrupted_runs != interrupted {
            return self.fail("report", format!("interrupted runs {:?}", report.interrupted_runs));
        }
        if stopped == Stopped::Clean && !report.clean && self.openings > 1 {
            return self.fail("close", "a closed store is not clean");
        }
        Ok(())
    }

    // ----- the end -----

    /// C10: maintenance drains in a bounded number of steps.
    fn drain(&mut self) -> Checked {
        for _ in 0..64 {
            match self.db()?.maintain() {
                Ok(report) if report.left == 0 => return Ok(()),
                Ok(_) => {}
                outcome => {
                    // An error that was kept back is reported now.
                    self.upkeep("maintain", outcome.map(|_| ()))?;
                    self.leave_poisoned()?;
                    self.disk.heal();
                }
            }
        }
        self.fail("C10", "maintenance does not drain")
    }

    /// C9, C10, C12: after the last operation the store is usable and leaves nothing behind.
    fn finish(&mut self) -> Checked {
        self.disk.disarm_crash();
        self.nested.clear();
        self.disk.heal();
        if self.poisoned {
            self.leave_poisoned()?;
        }
        self.disk.heal();
        while !self.pending.is_empty() {
            let before = self.pending.len();
            self.perform(&Op::Step)?;
            if self.poisoned {
                break;
            }
            if self.pending.len() >= before {
                return self.fail("C10", "the queue does not drain");
            }
        }
        if self.poisoned {
            // An error of before the healing was reported only now.
            self.leave_poisoned()?;
            self.disk.heal();
        }
        let outcome = oracle::compare(self.db()?, &self.model, self.now_ms()).and_then(|()| {
            oracle::compare_all_gets(self.db.as_ref().ok_or("")?, &self.model, self.now_ms())
        });
        self.require("read", outcome)?;
        // Errors that were kept back may be reported by up to one more sync for each file.
        for _ in 0..4 {
            self.perform(&Op::Reopen)?;
            self.disk.heal();
            if !self.poisoned {
                break;
            }
        }
        self.open_twice()?;
        self.drain()?;
        if self.is_strict() {
            let leaks = oracle::leaks(&self.disk.live_image(), Path::new(DIR));
            self.require("C12", leaks)?;
        }
        let run = (0..oracle::RUNS).find(|run| !self.model.knows_run(*run));
        let probe = match (run, self.model.active_runs().first()) {
            (_, Some(run)) => ChangeSpec::Delete { run: *run, key: 0 },
            (Some(run), None) => ChangeSpec::Begin { run, parent: None, tags: 0 },
            (None, None) => return Ok(()),
        };
        // An error that a failing disk kept back may still be reported, once for each file.
        for _ in 0..6 {
            self.write(probe, LevelSpec::Strict)?;
            if !self.poisoned {
                break;
            }
            self.leave_poisoned()?;
            self.disk.heal();
            if self.model.check(&[probe]).is_err() {
                return Ok(());
            }
        }
        let accepted = self.durable == self.model.version() || self.case.options.mode != 0;
        if self.poisoned || !accepted && !self.case.options.may_be_full() {
            return self.fail("C10", "a write was refused after the faults had stopped");
        }
        Ok(())
    }
}

fn write_options(level: LevelSpec) -> WriteOptions {
    WriteOptions { durability: level.level() }
}

fn batch(changes: &[ChangeSpec]) -> WriteBatch {
    let mut batch = WriteBatch::new();
    for change in changes {
        match *change {
            ChangeSpec::Put { run, key, value, ttl_ms } => {
                let ttl = ttl_ms.map(|ms| Duration::from_millis(u64::from(ms)));
                batch.put_with_ttl(run_id(run), key_bytes(key), value.value(), ttl);
            }
            ChangeSpec::Delete { run, key } => {
                batch.delete(run_id(run), key_bytes(key));
            }
            ChangeSpec::Begin { run, parent, tags } => {
                let mut options = RunOptions::default().tags(model::tags(tags));
                if let Some(parent) = parent {
                    options = options.parent(run_id(parent));
                }
                batch.begin_run_with(run_id(run), options);
            }
            ChangeSpec::End { run, status: n } => {
                batch.end_run(run_id(run), status(n));
            }
        }
    }
    batch
}

/// Walks a scan from both ends, as the bits say, and compares.
fn walk(
    mut scan: runstone::Scan,
    expected: &[(&[u8], &model::Revision)],
    ends: u32,
    what: &str,
) -> Result<(), String> {
    let (mut front, mut back) = (Vec::new(), Vec::new());
    let mut bits = ends;
    loop {
        let item = if bits & 1 == 0 { scan.next() } else { scan.next_back() };
        let Some(item) = item else { break };
        let item = item.map_err(|e| format!("{what}: {e}"))?;
        if bits & 1 == 0 {
            front.push(item)
        } else {
            back.push(item)
        }
        bits = bits.rotate_right(1);
    }
    back.reverse();
    front.append(&mut back);
    oracle::compare_lists(what, expected, &front)
}

/// Kept for the shrinker: the same case with its faults as an explicit list.
pub(crate) fn with_listed_faults(case: &Case, outcome: &Outcome) -> Case {
    Case { faults: FaultMode::Listed(outcome.injected.clone()), ..case.clone() }
}
