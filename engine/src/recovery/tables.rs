//! What tables tell an opening: what is removed, and which runs are active.
//!
//! Invariant: what an opening reads of them does not grow with the number of ended runs: the
//! censuses and the removals, and the records of active runs.

use std::collections::BTreeMap;
use std::path::Path;

use super::Replay;
use crate::codec::Malformed;
use crate::error::{Error, Result};
use crate::flush::{self, Saved};
use crate::manifest::Manifest;
use crate::names::OwnName;
use crate::place::Place;
use crate::runs::keys;
use crate::runs::saved::{Activity, Counts, SavedRun};
use crate::store::version::Version;
use crate::types::{RunId, RunStatus};

impl Replay {
    /// Goes on where the tables end.
    pub(super) fn take_up_tables(&mut self, place: &Place, manifest: &Manifest) -> Result<()> {
        if !manifest.levels.is_empty() {
            sometimes!("recovery/over-tables");
            self.memtable = std::mem::take(&mut self.memtable).over_tables();
            self.records = std::mem::take(&mut self.records).over_tables();
        }
        self.levels = flush::open_levels(place, manifest)?;
        // The newest first: those count.
        let mut removals = BTreeMap::new();
        let (mut counts, mut active) = (None, Vec::new());
        let flushed = manifest.flushed.version;
        for level in &self.levels.0 {
            for saved in flush::saved_in(level, place.dir_path())? {
                match saved {
                    // Those of other flushes were superseded.
                    Saved::Counts(version, found) => {
                        counts = counts.or((version == flushed).then_some(found));
                    }
                    Saved::Active(version, run, activity) => {
                        let is_last = version == flushed || planted!(OldCensusRead);
                        active.extend(is_last.then_some((run, activity)));
                    }
                    Saved::Removal(removal) => {
                        removals.entry(removal.key()).or_insert(Some(removal));
                    }
                    Saved::Erased(key) => {
                        removals.entry(key).or_insert(None);
                    }
                }
            }
        }
        // In the order of their versions, as their keys are.
        for removal in removals.into_values().flatten() {
            sometimes!("recovery/removal-in-a-table");
            self.removals.insert(removal, |_, _| false);
        }
        if flushed > 0 {
            self.take_up_runs(place, flushed, counts, active)?;
        }
        self.last_version = flushed;
        self.last_time_ms =
            if planted!(FlushedTimeForgotten) { 0 } else { manifest.flushed.time_ms };
        self.content_time_ms = manifest.flushed.time_ms;
        Ok(())
    }

    /// The runs that were active when the last memtable was flushed.
    fn take_up_runs(
        &mut self,
        place: &Place,
        flushed: u64,
        counts: Option<Counts>,
        active: Vec<(RunId, Activity)>,
    ) -> Result<()> {
        let wrong = |expected: &'static str, found: String| {
            Err(Error::corruption(place.path(OwnName::Manifest), 0, expected, found))
        };
        let Some(counts) = counts else {
            let found = format!("none of version {flushed}");
            return wrong("a census of runs in the tables", found);
        };
        if counts.of(RunStatus::Running) != active.len() as u64 {
            let found = format!("{} of {}", active.len(), counts.of(RunStatus::Running));
            return wrong("every active run in the census", found);
        }
        let counts = if planted!(CountsForgotten) { Counts::default() } else { counts };
        self.runs.restore_counts(counts);
        for (run, activity) in active {
            sometimes!("recovery/active-run-in-a-census");
            match self.saved_run(run)?.filter(|saved| saved.entry.status.is_active()) {
                Some(saved) => self.runs.restore(saved, activity),
                None => return wrong("the record of an active run", run.to_string()),
            }
        }
        Ok(())
    }

    /// The record of a run that is about to be dropped is remembered.
    pub(super) fn recall(&mut self, run: RunId, path: &Path, at: u64) -> Result<()> {
        if self.runs.status(&run).is_some_and(RunStatus::is_end) {
            return Ok(());
        }
        sometimes!("recovery/run-recalled");
        let saved = self.saved_run(run)?.filter(|saved| saved.entry.status.is_end());
        let saved = saved.ok_or_else(|| {
            let expected = "a run that has ended, to be dropped";
            Error::corruption(path, at, expected, format_args!("the drop of run {run}"))
        })?;
        self.runs.recall(saved);
        Ok(())
    }

    /// The newest record of a run.
    fn saved_run(&self, run: RunId) -> Result<Option<SavedRun>> {
        let key = keys::record(run);
        let in_memory = self.records.newest_at(&key, u64::MAX).cloned();
        let found = match in_memory {
            Some(found) => Some(found),
            None => self.levels.get(&key, u64::MAX, 0)?.map(Version::from),
        };
        let Some(stored) = found.and_then(|found| found.value) else { return Ok(None) };
        let saved = SavedRun::decode(run, &stored);
        let damaged = |m: Malformed| {
            Error::corruption(format!("the record of run {run}"), 0, m.expected, m.found)
        };
        saved.map(Some).map_err(damaged)
    }
}
