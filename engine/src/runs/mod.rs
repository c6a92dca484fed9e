//! The runs: which are active, and what of all others is kept in memory.
//!
//! A run that is active is in memory, whole. One that has ended is a record in storage, under keys
//! of the reserved space ([`keys`], [`saved`]); of these the last few are remembered, since most
//! runs are read and dropped soon after their end.
//!
//! Invariants: a run is active here if and only if its begin is published and its end is not; a run
//! id is never used twice; an ended run never becomes active again, a dropped one never anything
//! else; `last_version` is that of the run's own last change; what is remembered is the newest
//! record. Only the commit path and recovery change anything here, after the log.

pub(crate) mod charge;
mod counters;
pub(crate) mod filter;
pub(crate) mod keys;
pub(crate) mod saved;

use std::collections::{BTreeMap, VecDeque};

use charge::{active_bytes, remembered_bytes};
use counters::Counters;
pub(crate) use counters::Touch;
pub use filter::{RunCursor, RunFilter};
use keys::moving;
use saved::{Activity, Census, Counts, SavedRun, Tally, transition};

use crate::codec::body::RunBegin;
use crate::error::{Error, Result};
use crate::home::Home;
use crate::store::pins::ReadPoint;
use crate::store::{Applied, UnifiedStore};
use crate::sync::{Arc, AtomicBool, AtomicU64, Ordering, RwLock};
use crate::types::{RunId, RunMetadataEntry, RunStatus, Timestamp};

/// One active run; its counters move, the rest is fixed by its begin.
#[derive(Debug)]
struct Run {
    begin: RunBegin,
    created_at_ms: u64,
    first_version: u64,
    counters: Arc<Counters>,
}

/// The active run that was changed last: most commits go to one run, and need not look it up.
/// Whoever applies a begin or an end forgets it.
#[derive(Debug, Default)]
pub(crate) struct HotRun(Option<(RunId, Arc<Counters>)>);

impl HotRun {
    /// The run, which is active.
    pub(crate) fn id(&self) -> Option<RunId> {
        self.0.as_ref().map(|(run, _)| *run)
    }
}

impl Run {
    fn saved(&self, run_id: RunId) -> SavedRun {
        let Activity { last_version, tally } = self.counters.activity();
        let entry = RunMetadataEntry {
            run_id,
            namespace: self.begin.namespace.clone(),
            parent_run_id: self.begin.parent,
            forked_from: self.begin.forked_from,
            status: RunStatus::Running,
            created_at: Timestamp::from_millis(self.created_at_ms),
            completed_at: None,
            dropped_at: None,
            first_version: self.first_version,
            last_version,
            tags: self.begin.tags.clone(),
            retention: self.begin.retention,
        };
        SavedRun { entry, tally }
    }
}

#[derive(Debug, Default)]
struct Runs {
    active: BTreeMap<RunId, Run>,
    /// Records of runs that have ended, the newest of each.
    remembered: BTreeMap<RunId, SavedRun>,
    /// In the order in which they came.
    order: VecDeque<RunId>,
    counts: Counts,
}

impl Runs {
    fn remember(&mut self, saved: SavedRun) {
        let run = saved.entry.run_id;
        if self.remembered.insert(run, saved).is_none() {
            self.order.push_back(run);
        }
    }

    /// Returns the one that is forgotten, if there are more than so many.
    fn forget(&mut self, max: usize) -> Option<SavedRun> {
        let too_many = self.order.len() > max;
        let oldest = if too_many { self.order.pop_front() } else { None };
        self.remembered.remove(&oldest?)
    }
}

#[derive(Debug, Default)]
struct Inner {
    runs: RwLock<Runs>,
    bytes: AtomicU64,
    /// How many runs were dropped since the opening.
    drops: AtomicU64,
    /// The keys of a run were counted since the opening.
    counts: AtomicBool,
}

/// The active runs of a database. Clones share them.
///
/// Public to read; runs begin and end through the log, by
/// [`Database::begin_run`](crate::Database::begin_run) and
/// [`Database::end_run`](crate::Database::end_run). What has ended is in storage:
/// [`Database::get_run`](crate::Database::get_run) and
/// [`Database::runs`](crate::Database::runs) read it.
///
/// In a forked child of the process that opened the database it shows no runs, as if there were
/// none: its lock may be held for ever by a thread that the child does not have.
/// [`Database::get_run`](crate::Database::get_run) says that the child is one.
///
/// ```
/// use runstone::{Database, RunId, RunStatus};
/// let db = Database::in_memory()?;
/// let run = RunId::new();
/// db.begin_run(run, [("kind", "demo")])?;
/// assert!(db.run_tracker().is_active(&run));
/// assert_eq!(db.run_tracker().list_active(), [run]);
/// db.end_run(run)?;
/// assert_eq!(db.run_tracker().count_of(RunStatus::Completed), 1);
/// # Ok::<(), runstone::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct RunTracker {
    inner: Arc<Inner>,
    /// `None` until the database is open.
    home: Option<Arc<dyn Home>>,
}

/// A change of the runs, ready to be applied.
#[derive(Debug)]
pub(crate) enum RunChange {
    Begin { run: RunId, begin: Box<RunBegin>, version: u64, time_ms: u64 },
    End { run: RunId, status: RunStatus, version: u64, time_ms: u64 },
    Drop { run: RunId, version: u64, time_ms: u64 },
}

impl RunTracker {
    /// A tracker without runs.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same runs, of the process whose memory that is.
    pub(crate) fn at_home(&self, home: Arc<dyn Home>) -> Self {
        RunTracker { home: Some(home), ..self.clone() }
    }

    /// Reads the runs that are shown; in a forked child there are none.
    fn show<T>(&self, read: impl FnOnce(&Runs) -> T) -> Option<T> {
        match self.home.as_ref().is_some_and(|home| home.is_inherited()) {
            true => None,
            false => Some(read(&self.inner.runs.read())),
        }
    }

    /// The record of a run, if it is active.
    #[must_use]
    pub fn get_active(&self, run: &RunId) -> Option<RunMetadataEntry> {
        self.active(run).map(|saved| saved.entry)
    }

    /// The active runs, in the order of their ids.
    #[must_use]
    pub fn list_active(&self) -> Vec<RunId> {
        self.show(|runs| runs.active.keys().copied().collect()).unwrap_or_default()
    }

    /// Whether the run is active.
    #[must_use]
    pub fn is_active(&self, run: &RunId) -> bool {
        self.show(|runs| runs.active.contains_key(run)).unwrap_or_default()
    }

    /// How many runs are active.
    #[must_use]
    pub fn active_count(&self) -> usize {
        self.show(|runs| runs.active.len()).unwrap_or_default()
    }

    /// How many runs there are, whatever their status; kept, not counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.show(|runs| runs.counts.all()).unwrap_or_default()
    }

    /// How many runs there are of a status; kept, not counted.
    #[must_use]
    pub fn count_of(&self, status: RunStatus) -> u64 {
        self.show(|runs| runs.counts.of(status)).unwrap_or_default()
    }

    /// The memory that active runs and what is remembered take, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.inner.bytes.load(Ordering::Acquire)
    }

    /// Counts a key's change.
    pub(crate) fn touch_key(&self, applied: &Applied, hot: &mut HotRun) {
        let Applied { key, version } = applied;
        let touch = match &version.value {
            Some(value) => Touch::Put((key.user_key().len() + value.bytes().len()) as u64),
            None => Touch::Delete,
        };
        self.touch(key.run(), (version.version, version.time_ms), touch, hot);
    }

    /// How many runs were dropped since the opening.
    pub(crate) fn drops(&self) -> u64 {
        self.inner.drops.load(Ordering::Acquire)
    }

    /// The record of an active run as it stands.
    pub(crate) fn active(&self, run: &RunId) -> Option<SavedRun> {
        self.show(|runs| runs.active.get(run).map(|found| found.saved(*run)))?
    }

    /// The status of a run, if memory tells.
    pub(crate) fn status(&self, run: &RunId) -> Option<RunStatus> {
        self.status_at(run, u64::MAX)
    }

    /// The same as of a version: of a run that has ended memory tells the newest only.
    fn status_at(&self, run: &RunId, version: u64) -> Option<RunStatus> {
        let runs = self.inner.runs.read();
        match runs.active.get(run) {
            Some(found) => (found.first_version <= version).then_some(RunStatus::Running),
            None if version < u64::MAX => None,
            None => runs.remembered.get(run).map(|saved| saved.entry.status),
        }
    }

    /// The memory that the names and tags of a run take in its record, in bytes, if memory tells.
    pub(crate) fn record_text_bytes(&self, run: &RunId) -> Option<u64> {
        let runs = self.inner.runs.read();
        let active = runs.active.get(run).map(|run| (&run.begin.namespace, &run.begin.tags));
        let ended = || runs.remembered.get(run).map(|s| (&s.entry.namespace, &s.entry.tags));
        active.or_else(ended).map(|(names, tags)| charge::record_text_bytes(names, tags))
    }

    /// Remembers the newest record of a run that has ended.
    pub(crate) fn recall(&self, saved: SavedRun) {
        let mut runs = self.inner.runs.write();
        if !runs.remembered.contains_key(&saved.entry.run_id) {
            self.inner.bytes.fetch_add(remembered_bytes(&saved), Ordering::AcqRel);
            runs.remember(saved);
        }
    }

    /// Keeps so many of what is remembered. Between two groups only: a group may need all that it
    /// has recalled.
    pub(crate) fn forget_some(&self, max: usize) {
        let mut runs = self.inner.runs.write();
        while let Some(forgotten) = runs.forget(max) {
            sometimes!("runs/record-forgotten");
            self.inner.bytes.fetch_sub(remembered_bytes(&forgotten), Ordering::AcqRel);
        }
    }

    /// Forgets what was recalled last, until all takes so many bytes again.
    pub(crate) fn forget_newest(&self, bytes: u64) {
        let mut runs = self.inner.runs.write();
        while self.memory_bytes() > bytes
            && let Some(run) = runs.order.pop_back()
            && let Some(forgotten) = runs.remembered.remove(&run)
        {
            self.inner.bytes.fetch_sub(remembered_bytes(&forgotten), Ordering::AcqRel);
        }
    }

    /// Applies a change that the commit path has found legal. Returns what it changes in storage.
    ///
    /// A run that is dropped must be remembered.
    pub(crate) fn apply(&self, change: RunChange, hot: &mut HotRun) -> Vec<Applied> {
        *hot = HotRun::default();
        let bytes = &self.inner.bytes;
        let mut runs = self.inner.runs.write();
        let (from, old, after, version, time_ms) = match change {
            RunChange::Begin { run, begin, version, time_ms } => {
                bytes.fetch_add(active_bytes(&begin), Ordering::AcqRel);
                let tally = Tally { changes: 1, last_ms: time_ms, ..Tally::default() };
                let activity = Activity { last_version: version, tally };
                let record = Run {
                    begin: *begin,
                    created_at_ms: time_ms,
                    first_version: version,
                    counters: Counters::new(activity),
                };
                let mut saved = record.saved(run);
                saved.tally.changes -= u64::from(planted!(BeginNotCounted));
                let before = runs.active.insert(run, record);
                debug_assert!(before.is_none(), "a run id is never used twice");
                (None, None, saved, version, time_ms)
            }
            RunChange::End { run, status, version, time_ms } => {
                sometimes!("runs/ended");
                let Some(found) = runs.active.remove(&run) else {
                    debug_assert!(false, "an active run ends");
                    return Vec::new();
                };
                bytes.fetch_sub(active_bytes(&found.begin), Ordering::AcqRel);
                found.counters.touch(version, time_ms, Touch::Other);
                let mut after = found.saved(run);
                let old = moving(&after.entry);
                after.entry.status = status;
                after.entry.completed_at = Some(Timestamp::from_millis(time_ms));
                after.tally.changes -= u64::from(planted!(EndNotCounted));
                (Some(RunStatus::Running), Some(old), after, version, time_ms)
            }
            RunChange::Drop { run, version, time_ms } => {
                let Some(mut after) = runs.remembered.get(&run).cloned() else {
                    debug_assert!(false, "a run that is dropped is remembered");
                    return Vec::new();
                };
                sometimes!("runs/now-dropped");
                self.inner.drops.fetch_add(1, Ordering::AcqRel);
                let (from, old) = (after.entry.status, moving(&after.entry));
                after.entry.status = RunStatus::Dropped;
                after.entry.dropped_at = Some(Timestamp::from_millis(time_ms));
                after.entry.last_version = version;
                after.tally.changes += 1;
                after.tally.last_ms = time_ms;
                (Some(from), Some(old), after, version, time_ms)
            }
        };
        runs.counts.note(from, after.entry.status);
        let applied = transition(old, &after, version, time_ms);
        if !after.entry.status.is_active() {
            if !from.is_some_and(|from| from.is_end()) {
                bytes.fetch_add(remembered_bytes(&after), Ordering::AcqRel);
            }
            runs.remember(after);
        }
        applied
    }

    /// Notes that a commit changed keys of this run.
    pub(crate) fn touch(
        &self,
        run: RunId,
        (version, time_ms): (u64, u64),
        touch: Touch,
        hot: &mut HotRun,
    ) {
        if let Some((_, counters)) = hot.0.as_ref().filter(|(id, _)| *id == run) {
            return counters.touch(version, time_ms, touch);
        }
        let counters =
            self.inner.runs.read().active.get(&run).map(|found| Arc::clone(&found.counters));
        if let Some(counters) = counters {
            sometimes!("runs/another-run-is-hot");
            counters.touch(version, time_ms, touch);
            hot.0 = Some((run, counters));
        }
    }

    /// What a flush writes of the runs.
    pub(crate) fn census(&self) -> Census {
        let runs = self.inner.runs.read();
        let active = runs.active.iter().map(|(run, found)| (*run, found.counters.activity()));
        Census { counts: runs.counts, active: active.collect() }
    }

    /// Takes up how many runs there are, as of a flush.
    pub(crate) fn restore_counts(&self, counts: Counts) {
        self.inner.runs.write().counts = counts;
    }

    /// Takes up an active run, as of a flush.
    pub(crate) fn restore(&self, saved: SavedRun, activity: Activity) {
        let entry = saved.entry;
        let tally = if planted!(ActivityForgotten) { saved.tally } else { activity.tally };
        let activity = Activity { tally, ..activity };
        self.note_counts(tally.keys);
        let begin = RunBegin {
            namespace: entry.namespace,
            parent: entry.parent_run_id,
            forked_from: entry.forked_from,
            retention: entry.retention,
            tags: entry.tags,
        };
        self.inner.bytes.fetch_add(active_bytes(&begin), Ordering::AcqRel);
        let record = Run {
            begin,
            created_at_ms: entry.created_at.as_millis(),
            first_version: entry.first_version,
            counters: Counters::new(activity),
        };
        self.inner.runs.write().active.insert(entry.run_id, record);
    }
}

/// Whether the keys of a run can be read, now or at a point.
///
/// Errors: [`Error::RunNotFound`] if it had not begun then, [`Error::RunDropped`]; those of a read
/// from tables, where the records of ended runs are.
pub(crate) fn require(
    runs: &RunTracker,
    store: &UnifiedStore,
    run: RunId,
    point: Option<ReadPoint>,
) -> Result<()> {
    let version = point.map_or(u64::MAX, |point| point.version);
    let point = point.filter(|_| !planted!(SnapshotAsksNewestRecord));
    let status = match runs.status_at(&run, version) {
        Some(status) => Some(status),
        None => saved::read(store, run, point)?.map(|saved| saved.entry.status),
    };
    match status {
        Some(RunStatus::Dropped) => {
            sometimes!("runs/dropped");
            Err(Error::RunDropped { run })
        }
        Some(_) => Ok(()),
        None => {
            sometimes!("runs/not-found");
            Err(Error::RunNotFound { run })
        }
    }
}

#[cfg(test)]
mod tests;
