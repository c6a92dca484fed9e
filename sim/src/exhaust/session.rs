//! The live run of a workload: the engine, the model beside it, and a copy of the disk at each
//! crash point of the last operation, with what had been promised there.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use runstone::{Builder, Database, Error, Level, WriteBatch, WriteOptions};

use super::lazy::{LazyVfs, Watch, lock};
use super::workload::{Letter, Start, Step, Workload};
use super::{Breach, Checked};
use crate::disk::{DiskConfig, SimVfs};
use crate::harness::case::{
    CaseOptions, ChangeSpec, LevelSpec, LimitSpec, ValueSpec, key_bytes, range, run_id, status,
};
use crate::harness::model::{self, Model};
use crate::harness::world::{SimClock, SimEntropy};
use crate::rng::Streams;

/// Where the store lives: two levels deep, so that parents matter.
pub(super) const DIR: &str = "/data/store";
/// The wall clock of the live run. Recoveries find it set back by an hour.
pub(super) const WALL_MS: u64 = 1_700_000_000_000;
/// The wall clock of recoveries.
pub(super) const WALL_BACK_MS: u64 = WALL_MS - 3_600_000;
/// The seed of the entropy: store ids and salts.
const SEED: u64 = 0x6578_6861_7573_7469;

/// What holds at a crash point.
#[derive(Clone, Debug, Default)]
pub(super) struct Promise {
    /// The history if every commit that was begun had happened, cut at each version.
    pub(super) histories: Arc<Vec<Model>>,
    /// The greatest version that may be shown.
    pub(super) longest: usize,
    /// C1: every commit up to here survives anything.
    pub(super) durable: u64,
    /// C13: every commit up to here survives the process.
    pub(super) written: u64,
    /// C11: the engine's time at the last flush or close that returned Ok.
    pub(super) time_floor: u64,
    /// The greatest time that the engine has had.
    pub(super) time_max: u64,
    /// C4: the greatest epoch in which a commit was acknowledged.
    pub(super) epoch_max: u64,
}

impl Promise {
    /// The history that a store of this version must show, if it may be shown.
    pub(super) fn history(&self, version: u64) -> Option<&Model> {
        let at = usize::try_from(version).ok().filter(|at| *at <= self.longest)?;
        self.histories.get(at)
    }
}

/// A crash point of a workload.
#[derive(Clone, Debug)]
pub(super) struct Point {
    pub(super) disk: SimVfs,
    pub(super) promise: Arc<Promise>,
    /// Where it is.
    pub(super) at: String,
}

/// The kind of disk: every rule that is enumerated, and nothing drawn.
pub(super) fn disk_config() -> DiskConfig {
    DiskConfig {
        names_need_synced_files: true,
        names_need_synced_dirs: true,
        ..DiskConfig::plain()
    }
}

/// The engine on a disk.
pub(super) fn builder(
    vfs: &LazyVfs,
    options: &CaseOptions,
    clock: Arc<SimClock>,
    life: u64,
) -> Builder {
    let entropy = SimEntropy::new(Streams::new(SEED ^ life).named("exhaust"));
    Database::builder()
        .options(options.engine())
        .vfs(Arc::new(vfs.clone()))
        .clock(clock)
        .entropy(Arc::new(entropy))
}

/// The keys of each so-manieth run are counted: of the two that the store begins with, one's.
pub(super) const COUNTS: u8 = 2;

/// A batch of these changes.
pub(super) fn batch(changes: &[ChangeSpec]) -> WriteBatch {
    let mut batch = WriteBatch::new();
    for change in changes {
        match *change {
            ChangeSpec::Put { run, key, value, ttl_ms } => {
                let ttl = ttl_ms.map(Duration::from_millis);
                batch.put_with_ttl(run_id(run), key_bytes(key), value.value(), ttl);
            }
            ChangeSpec::Delete { run, key } => {
                batch.delete(run_id(run), key_bytes(key));
            }
            ChangeSpec::Begin { run, parent, tags } => {
                let mut options = runstone::RunOptions::default().tags(model::tags(tags));
                options = options.count_keys(Model::counting(COUNTS).counts_keys(run));
                if let Some(parent) = parent {
                    options = options.parent(run_id(parent));
                }
                batch.begin_run_with(run_id(run), options);
            }
            ChangeSpec::End { run, status: n } => {
                batch.end_run(run_id(run), status(n));
            }
            ChangeSpec::RemoveRange { run, from, to, bounds } => {
                batch.remove_range(run_id(run), range(from, to, bounds));
            }
            ChangeSpec::Drop { run } => {
                batch.drop_run(run_id(run));
            }
            // Not in the alphabet.
            ChangeSpec::Tagged { .. } => {}
        }
    }
    batch
}

/// What makes the store: two runs and a key.
fn founding() -> Vec<Step> {
    let begin = |run| Step::Commit {
        changes: vec![ChangeSpec::Begin { run, parent: None, tags: 0 }],
        level: LevelSpec::Strict,
    };
    let value = ValueSpec { kind: 8, size: 16, salt: 1 };
    let put = ChangeSpec::Put { run: 1, key: 0, value, ttl_ms: None };
    let put = Step::Commit { changes: vec![put], level: LevelSpec::Strict };
    vec![Step::Open, begin(1), begin(2), put]
}

/// A live run.
struct Session {
    options: CaseOptions,
    vfs: LazyVfs,
    watch: Arc<Mutex<Watch>>,
    clock: Arc<SimClock>,
    db: Option<Database>,
    model: Model,
    durable: u64,
    written: u64,
    time_floor: u64,
    epoch: u64,
    epoch_max: u64,
    lives: u64,
    points: Vec<Point>,
}

/// Runs a workload, and gives the crash points of its last operation.
///
/// Errors: a breach without any crash.
pub(super) fn crash_points(workload: &Workload) -> Checked<Vec<Point>> {
    let watch = Arc::new(Mutex::new(Watch::default()));
    let disk = SimVfs::with_config(SEED, disk_config());
    let mut session = Session {
        options: workload.setting.options(),
        vfs: LazyVfs::new(disk, &watch),
        watch,
        clock: Arc::new(SimClock::new(WALL_MS)),
        db: None,
        model: Model::counting(COUNTS),
        durable: 0,
        written: 0,
        time_floor: 0,
        epoch: 0,
        epoch_max: 0,
        lives: 0,
        points: Vec::new(),
    };
    let result = session.run(workload);
    session.vfs.kill();
    result.map(|()| session.points)
}

impl Session {
    fn run(&mut self, workload: &Workload) -> Checked {
        let explores_start = workload.start == Start::Nothing;
        self.steps(&founding(), explores_start)?;
        if workload.start == Start::Reopened {
            self.steps(&[Step::Close, Step::Open], false)?;
        }
        let last = workload.letters.len().saturating_sub(1);
        for (nth, letter) in workload.letters.iter().enumerate() {
            self.letter(*letter, nth, nth == last)?;
        }
        Ok(())
    }

    fn letter(&mut self, letter: Letter, nth: usize, explores: bool) -> Checked {
        let nth = u8::try_from(nth).unwrap_or(u8::MAX);
        self.steps(&letter.steps(nth), explores)
    }

    fn steps(&mut self, steps: &[Step], explores: bool) -> Checked {
        for step in steps {
            if explores {
                let mut watch = lock(&self.watch);
                watch.keeps = true;
                watch.changed = false;
            }
            let before = self.promise(step);
            self.step(step)?;
            if explores {
                self.vfs.keep("(the return)", None);
                let mut watch = lock(&self.watch);
                watch.keeps = false;
                let copies = std::mem::take(&mut watch.copies);
                drop(watch);
                let after = Arc::new(self.promise(&Step::Clock { passes_ms: 0 }));
                let before = Arc::new(before);
                let count = copies.len();
                for (i, copy) in copies.into_iter().enumerate() {
                    let promise = Arc::clone(if i + 1 == count { &after } else { &before });
                    let at = format!("{step:?}, before {}", copy.before);
                    self.points.push(Point { disk: copy.disk, promise, at });
                }
            }
        }
        Ok(())
    }

    /// What holds from now on until the step returns.
    fn promise(&self, step: &Step) -> Promise {
        let mut whole = self.model.clone();
        if let Step::Commit { changes, .. } = step
            && self.model.check_door(changes, LimitSpec::default()).is_ok()
            && whole.check(changes).is_ok()
        {
            // It is published after its last call, so no crash point finds it published.
            whole.commit(changes, self.now_ms());
        }
        let histories = (0..=whole.version()).map(|version| {
            let mut history = whole.clone();
            history.cut(version);
            history
        });
        Promise {
            histories: Arc::new(histories.collect()),
            longest: usize::try_from(whole.version()).unwrap_or(usize::MAX),
            durable: self.durable,
            written: self.written,
            time_floor: self.time_floor,
            time_max: self.now_ms(),
            epoch_max: self.epoch_max,
        }
    }

    /// The live clock only goes forward, so the engine's time is the wall clock's.
    fn now_ms(&self) -> u64 {
        self.clock.now().0
    }

    fn db(&self) -> Checked<&Database> {
        self.db.as_ref().ok_or_else(|| Breach::new("harness", "no database is open"))
    }

    fn step(&mut self, step: &Step) -> Checked {
        match step {
            Step::Open => {
                self.lives += 1;
                let opened =
                    builder(&self.vfs, &self.options, self.clock.clone(), self.lives).open(DIR);
                let db = opened.map_err(|e| Breach::new("C5", format!("an opening: {e}")))?;
                let report = db.recovery_report();
                self.epoch = report.epoch + u64::from(report.clean && !report.created);
                self.db = Some(db);
                Ok(())
            }
            Step::Close => {
                self.db()?.close().map_err(|e| Breach::new("close", e))?;
                self.db = None;
                self.all_durable();
                self.time_floor = self.time_floor.max(self.model.time_ms());
                Ok(())
            }
            Step::Flush => {
                self.db()?.flush().map_err(|e| Breach::new("flush", e))?;
                self.all_durable();
                self.time_floor = self.time_floor.max(self.model.time_ms());
                Ok(())
            }
            Step::Maintain => {
                self.db()?.maintain().map_err(|e| Breach::new("maintain", e))?;
                // What is in a table is durable.
                if self.options.flushes() {
                    self.all_durable();
                    self.time_floor = self.time_floor.max(self.model.time_ms());
                }
                Ok(())
            }
            Step::Clock { passes_ms } => {
                self.clock.pass(*passes_ms, 0);
                Ok(())
            }
            Step::Commit { changes, level } => self.commit(changes, *level),
        }
    }

    fn commit(&mut self, changes: &[ChangeSpec], level: LevelSpec) -> Checked {
        let expected = self
            .model
            .check_door(changes, LimitSpec::default())
            .and_then(|()| self.model.check(changes));
        let options = WriteOptions { durability: level.level() };
        let outcome: Result<u64, Error> = self.db()?.write_with(batch(changes), options);
        let version = match (outcome, expected) {
            (Ok(version), Ok(())) => version,
            (Err(error), Err(refusal)) if refusal.matches(&error) => return Ok(()),
            (outcome, expected) => {
                return Err(Breach::new("precondition", format!("{outcome:?}, not {expected:?}")));
            }
        };
        let due = self.model.commit(changes, self.now_ms());
        if version != due {
            return Err(Breach::new("C4", format!("version {version}, not {due}")));
        }
        self.epoch_max = self.epoch;
        let default = match self.options.mode {
            0 => Level::Strict,
            1 => Level::Batched,
            _ => Level::Async,
        };
        match level.level().unwrap_or(default) {
            Level::Strict => self.all_durable(),
            Level::Batched => self.written = version,
            Level::Async => {}
        }
        Ok(())
    }

    fn all_durable(&mut self) {
        self.durable = self.model.version();
        self.written = self.durable;
    }
}
