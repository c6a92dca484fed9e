//! The runs: which there are, and where each stands.
//!
//! Invariants: a run is here if and only if its begin record is published; a run id is never
//! used twice; an ended run never becomes active again, a dropped one never anything else;
//! `last_version` is that of the run's
//! own last change. Only the commit path changes anything here, after the log.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;

use crate::codec::body::RunBegin;
use crate::error::{Error, Result};
use crate::home::Home;
use crate::sync::{Arc, AtomicU64, Ordering, RwLock};
use crate::types::{RunId, RunMetadataEntry, RunStatus, Timestamp};

/// What a run costs in memory beside its names and tags: its record, and its removal when it is
/// dropped.
const RUN_BYTES: u64 = 512;

/// One run; its counters move while it is active, the rest is fixed by begin and end.
#[derive(Debug)]
pub(crate) struct Run {
    begin: RunBegin,
    created_at_ms: u64,
    first_version: u64,
    counters: Arc<Counters>,
    end: Option<(RunStatus, u64)>,
    /// The version that dropped it, and its time.
    dropped: Option<(u64, u64)>,
}

/// What each change of a run moves.
#[derive(Debug)]
struct Counters {
    last_version: AtomicU64,
    changes: AtomicU64,
}

impl Counters {
    /// Only one thread at a time does this, under the writer's lock.
    fn touch(&self, version: u64) {
        self.last_version.store(version, Ordering::Release);
        self.changes.store(self.changes.load(Ordering::Relaxed) + 1, Ordering::Release);
    }
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
    fn status(&self) -> RunStatus {
        match (self.dropped, self.end) {
            (Some(_), _) => RunStatus::Dropped,
            (None, Some((status, _))) => status,
            (None, None) => RunStatus::Running,
        }
    }

    fn entry(&self, run_id: RunId) -> RunMetadataEntry {
        RunMetadataEntry {
            run_id,
            namespace: self.begin.namespace.clone(),
            parent_run_id: self.begin.parent,
            forked_from: self.begin.forked_from,
            status: self.status(),
            created_at: Timestamp::from_millis(self.created_at_ms),
            completed_at: self.end.map(|(_, at)| Timestamp::from_millis(at)),
            dropped_at: self.dropped.map(|(_, at)| Timestamp::from_millis(at)),
            first_version: self.first_version,
            last_version: self.counters.last_version.load(Ordering::Acquire),
            tags: self.begin.tags.clone(),
            retention: self.begin.retention,
        }
    }
}

/// The memory that a run's record takes, in bytes.
pub(crate) fn run_bytes(begin: &RunBegin) -> u64 {
    let names = begin.namespace.tenant().len()
        + begin.namespace.app().len()
        + begin.namespace.agent().len();
    let tags: usize = begin.tags.iter().map(|(name, value)| name.len() + value.len() + 128).sum();
    RUN_BYTES + (names + tags) as u64
}

#[derive(Debug, Default)]
struct Runs {
    all: BTreeMap<RunId, Run>,
    active: BTreeSet<RunId>,
}

#[derive(Debug, Default)]
struct Inner {
    runs: RwLock<Runs>,
    bytes: AtomicU64,
    /// How many runs were dropped since the opening.
    drops: AtomicU64,
}

/// The runs of a database. Clones share them.
///
/// Public to read; runs begin and end through the log, by
/// [`Database::begin_run`](crate::Database::begin_run) and
/// [`Database::end_run`](crate::Database::end_run).
///
/// In a forked child of the process that opened the database it shows no runs, as if there were
/// none: its lock may be held for ever by a thread that the child does not have.
/// [`Database::get_run`](crate::Database::get_run) says that the child is one.
///
/// ```
/// use runstone::{Database, RunId};
/// let db = Database::in_memory()?;
/// let run = RunId::new();
/// db.begin_run(run, [("kind", "demo")])?;
/// assert!(db.run_tracker().is_active(&run));
/// assert_eq!(db.run_tracker().list_active(), [run]);
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
        self.get(run).filter(|entry| entry.status.is_active())
    }

    /// The record of a run, whatever its status.
    #[must_use]
    pub fn get(&self, run: &RunId) -> Option<RunMetadataEntry> {
        self.show(|runs| runs.all.get(run).map(|found| found.entry(*run)))?
    }

    /// The active runs, in the order of their ids.
    #[must_use]
    pub fn list_active(&self) -> Vec<RunId> {
        self.show(|runs| runs.active.iter().copied().collect()).unwrap_or_default()
    }

    /// Whether the run is active.
    #[must_use]
    pub fn is_active(&self, run: &RunId) -> bool {
        self.show(|runs| runs.active.contains(run)).unwrap_or_default()
    }

    /// How many runs are active.
    #[must_use]
    pub fn active_count(&self) -> usize {
        self.show(|runs| runs.active.len()).unwrap_or_default()
    }

    /// How many runs there are, whatever their status.
    #[must_use]
    pub fn count(&self) -> usize {
        self.show(|runs| runs.all.len()).unwrap_or_default()
    }

    /// How many changes the run has had, its begin and end included; kept, not counted.
    #[must_use]
    pub fn change_count(&self, run: &RunId) -> Option<u64> {
        let changes = |found: &Run| found.counters.changes.load(Ordering::Acquire);
        self.show(|runs| runs.all.get(run).map(changes))?
    }

    /// The memory that the records take, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.inner.bytes.load(Ordering::Acquire)
    }

    /// How many runs were dropped since the opening.
    pub(crate) fn drops(&self) -> u64 {
        self.inner.drops.load(Ordering::Acquire)
    }

    pub(crate) fn status(&self, run: &RunId) -> Option<RunStatus> {
        self.inner.runs.read().all.get(run).map(Run::status)
    }

    /// Whether the keys of a run can be read as of a version.
    ///
    /// Errors: [`Error::RunNotFound`] if it had not begun then, [`Error::RunDropped`].
    pub(crate) fn require(&self, run: RunId, version: u64) -> Result<()> {
        match self.inner.runs.read().all.get(&run) {
            Some(found) if found.first_version <= version => match found.dropped {
                Some((dropped, _)) if dropped <= version => {
                    sometimes!("runs/dropped");
                    Err(Error::RunDropped { run })
                }
                _ => Ok(()),
            },
            _ => {
                sometimes!("runs/not-found");
                Err(Error::RunNotFound { run })
            }
        }
    }

    /// Applies a begin or an end; the commit path has checked that it is legal.
    pub(crate) fn apply(&self, change: RunChange, hot: &mut HotRun) {
        *hot = HotRun::default();
        let mut runs = self.inner.runs.write();
        match change {
            RunChange::Begin { run, begin, version, time_ms } => {
                self.inner.bytes.fetch_add(run_bytes(&begin), Ordering::AcqRel);
                runs.active.insert(run);
                let record = Run {
                    begin: *begin,
                    created_at_ms: time_ms,
                    first_version: version,
                    counters: Arc::new(Counters {
                        last_version: AtomicU64::new(version),
                        changes: AtomicU64::new(1),
                    }),
                    end: None,
                    dropped: None,
                };
                let before = runs.all.insert(run, record);
                debug_assert!(before.is_none(), "a run id is never used twice");
            }
            RunChange::End { run, status, version, time_ms } => {
                sometimes!("runs/ended");
                runs.active.remove(&run);
                if let Some(found) = runs.all.get_mut(&run) {
                    debug_assert!(found.end.is_none(), "a run ends once");
                    found.end = Some((status, time_ms));
                    found.counters.touch(version);
                    found
                        .counters
                        .changes
                        .fetch_sub(u64::from(planted!(EndNotCounted)), Ordering::AcqRel);
                }
            }
            RunChange::Drop { run, version, time_ms } => {
                runs.active.remove(&run);
                if let Some(found) = runs.all.get_mut(&run) {
                    debug_assert!(found.dropped.is_none(), "a run is dropped once");
                    sometimes!("runs/now-dropped");
                    found.dropped = Some((version, time_ms));
                    self.inner.drops.fetch_add(1, Ordering::AcqRel);
                    found.counters.touch(version);
                }
            }
        }
    }

    /// Notes that a commit changed a key of this run.
    pub(crate) fn touch(&self, run: RunId, version: u64, hot: &mut HotRun) {
        if let Some((_, counters)) = hot.0.as_ref().filter(|(id, _)| *id == run) {
            return counters.touch(version);
        }
        let counters =
            self.inner.runs.read().all.get(&run).map(|found| Arc::clone(&found.counters));
        if let Some(counters) = counters {
            sometimes!("runs/another-run-is-hot");
            counters.touch(version);
            hot.0 = Some((run, counters));
        }
    }

    /// A lazy listing of the runs that pass a filter, in the order of their ids; at most
    /// `step_runs` are passed under one read lock.
    pub(crate) fn iter(&self, filter: RunFilter, step_runs: usize) -> RunIter {
        RunIter {
            tracker: self.clone(),
            filter,
            step_runs,
            from: Bound::Unbounded,
            buffer: VecDeque::new(),
            exhausted: false,
        }
    }
}

/// A run as a table holds it: its record, and how many changes it has had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SavedRun {
    pub(crate) entry: RunMetadataEntry,
    pub(crate) changes: u64,
}

impl RunTracker {
    /// The runs that were changed behind a version, in the order of their ids.
    pub(crate) fn save(&self, since: u64) -> Vec<SavedRun> {
        let saved = |(run, found): (&RunId, &Run)| SavedRun {
            entry: found.entry(*run),
            changes: found.counters.changes.load(Ordering::Acquire),
        };
        let all = &self.inner.runs.read().all;
        all.iter().map(saved).filter(|run| run.entry.last_version > since).collect()
    }

    /// Takes up a run that a table holds, unless a newer one does.
    pub(crate) fn restore(&self, SavedRun { entry, changes }: SavedRun) {
        let mut runs = self.inner.runs.write();
        if runs.all.contains_key(&entry.run_id) {
            return;
        }
        sometimes!("runs/restored-from-a-table");
        let (run, is_active) = (entry.run_id, entry.status.is_active());
        let begin = RunBegin {
            namespace: entry.namespace,
            parent: entry.parent_run_id,
            forked_from: entry.forked_from,
            retention: entry.retention,
            tags: entry.tags,
        };
        self.inner.bytes.fetch_add(run_bytes(&begin), Ordering::AcqRel);
        if is_active {
            runs.active.insert(run);
        }
        let ended = entry.completed_at.map(|at| (entry.status, at.as_millis()));
        let dropped = entry.dropped_at.map(|at| (entry.last_version, at.as_millis()));
        let record = Run {
            begin,
            created_at_ms: entry.created_at.as_millis(),
            first_version: entry.first_version,
            counters: Arc::new(Counters {
                last_version: AtomicU64::new(entry.last_version),
                changes: AtomicU64::new(changes),
            }),
            end: ended.filter(|_| !is_active),
            dropped,
        };
        runs.all.insert(run, record);
    }
}

/// Which runs a listing shows; each part that is set must hold.
///
/// ```
/// use runstone::{RunFilter, RunStatus};
/// let failed_nightlies = RunFilter {
///     status: Some(RunStatus::Failed),
///     tag: Some(("kind".into(), "nightly".into())),
/// };
/// assert_ne!(failed_nightlies, RunFilter::default());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// Only runs of this status.
    pub status: Option<RunStatus>,
    /// Only runs with this tag of this value.
    pub tag: Option<(String, String)>,
}

impl RunFilter {
    fn passes(&self, run: &Run) -> bool {
        self.status.is_none_or(|status| run.status() == status)
            && self.tag.as_ref().is_none_or(|(name, value)| run.begin.tags.get(name) == Some(value))
    }
}

/// A lazy listing of runs; see [`Database::runs`](crate::Database::runs).
///
/// Each run is shown as it stands when the listing reaches it. In a forked child it has ended.
#[derive(Debug)]
pub struct RunIter {
    tracker: RunTracker,
    filter: RunFilter,
    step_runs: usize,
    from: Bound<RunId>,
    buffer: VecDeque<RunMetadataEntry>,
    exhausted: bool,
}

impl Iterator for RunIter {
    type Item = RunMetadataEntry;

    fn next(&mut self) -> Option<Self::Item> {
        while self.buffer.is_empty() && !self.exhausted {
            sometimes!("runs/second-chunk", self.from != Bound::Unbounded);
            let RunIter { tracker, filter, from, buffer, step_runs, .. } = self;
            let visited = tracker.show(|runs| {
                let range = runs.all.range((*from, Bound::Unbounded));
                let mut visited = 0;
                for (id, run) in range.take(*step_runs) {
                    visited += 1;
                    *from = Bound::Excluded(*id);
                    if filter.passes(run) {
                        buffer.push_back(run.entry(*id));
                    }
                }
                visited
            })?;
            self.exhausted = visited < self.step_runs;
        }
        self.buffer.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Namespace, Retention};

    fn begin(tracker: &RunTracker, n: u16, tags: &[(&str, &str)]) -> RunId {
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&n.to_be_bytes());
        let run = RunId::from_bytes(bytes);
        let tags = tags.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let begin = RunBegin {
            namespace: Namespace::default_for(run),
            parent: None,
            forked_from: None,
            retention: Retention::Latest,
            tags,
        };
        let begin = Box::new(begin);
        let begin = RunChange::Begin { run, begin, version: u64::from(n), time_ms: 5 };
        tracker.apply(begin, &mut HotRun::default());
        run
    }

    #[test]
    fn a_listing_of_any_step_shows_runs_in_order_and_filters_by_status_and_tag() {
        let tracker = RunTracker::new();
        let all: Vec<_> = (1..=1000)
            .map(|n| begin(&tracker, n, &[("odd", if n % 2 == 1 { "yes" } else { "no" })]))
            .collect();
        for run in all.iter().take(500) {
            let end =
                RunChange::End { run: *run, status: RunStatus::Failed, version: 2000, time_ms: 9 };
            tracker.apply(end, &mut HotRun::default());
        }
        let listed: Vec<_> = tracker.iter(RunFilter::default(), 256).map(|e| e.run_id).collect();
        assert_eq!(listed, all);
        let filter =
            RunFilter { status: Some(RunStatus::Failed), tag: Some(("odd".into(), "yes".into())) };
        // As many as come out even, one less, one more, and steps without a run that passes.
        let whole: Vec<_> = tracker.iter(filter.clone(), 256).collect();
        assert_eq!(whole.len(), 250);
        for step_runs in [1, 2, 3, 999, 1000, 1001, usize::MAX] {
            assert!(
                tracker.iter(RunFilter::default(), step_runs).map(|e| e.run_id).eq(all.clone())
            );
            assert!(tracker.iter(filter.clone(), step_runs).eq(whole.clone()), "{step_runs}");
        }
        assert_eq!(tracker.active_count(), 500);
    }

    #[test]
    fn t20_last_version_is_that_of_the_runs_own_last_change() {
        let tracker = RunTracker::new();
        let (a, b) = (begin(&tracker, 1, &[]), begin(&tracker, 2, &[]));
        let mut hot = HotRun::default();
        for (run, version) in [(a, 3), (b, 4), (a, 5)] {
            tracker.touch(run, version, &mut hot);
            assert_eq!(hot.id(), Some(run));
        }
        assert_eq!(tracker.get(&a).map(|e| e.last_version), Some(5));
        assert_eq!(tracker.get(&b).map(|e| e.last_version), Some(4));
        assert_eq!(tracker.change_count(&a), Some(3));
    }
}
