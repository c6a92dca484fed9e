//! The preconditions of a commit: the run exists and is active, or does not exist yet; there
//! is room in memory, and in a file.
//!
//! Judged by the leader, in commit order, against published state plus every earlier commit
//! of the same group. A refused commit takes no version and disturbs no other.
//!
//! Invariant: a batch is judged as a whole; if one change is refused, none takes effect.

use std::collections::BTreeMap;

use super::queue::Request;
use crate::codec::change::Change;
use crate::error::{Error, Result};
use crate::log::creation::EMPTY_SEGMENT_BYTES_MAX;
use crate::log::record::record_bytes;
use crate::log::writer::PADDING_BYTES_MAX;
use crate::place::Place;
use crate::runs::{RunTracker, charge, saved};
use crate::store::UnifiedStore;
use crate::types::{RunId, RunStatus};

/// What the accepted commits of a group have changed, before it is published.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    /// Most groups begin and end none.
    pub(super) runs: Option<BTreeMap<RunId, RunStatus>>,
    memory_bytes: u64,
    /// What the records of runs take that were looked up since the budget was made, be it for a
    /// request that was refused.
    recalled_bytes: u64,
    /// What the names and tags take of runs that the group begins.
    texts: BTreeMap<RunId, u64>,
    /// The run that the last put went to: it was active, and nothing in the group ended it.
    active: Option<RunId>,
}

/// The memory that may be used.
///
/// Puts and begins of runs keep within `max`. Deletes, of ranges too, and ends of runs are the way
/// out of a full memtable, so they may go beyond it by a reserve, and that begins where the opening
/// left off if it found more than `max`: a smaller budget than the last session's must not lock a
/// program in. Memory stays bounded, by the larger of the two with the reserve.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    pub(crate) used: u64,
    pub(crate) max: u64,
    /// What was in use when the store was opened.
    pub(crate) at_opening: u64,
}

/// What is published of the runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known<'a> {
    pub(crate) runs: &'a RunTracker,
    pub(crate) store: &'a UnifiedStore,
}

impl Known<'_> {
    /// The status of a run; `None` if it was never begun.
    ///
    /// Errors: those of a read from tables.
    pub(crate) fn status(&self, run: RunId) -> Result<Option<RunStatus>> {
        if let Some(status) = self.runs.status(&run) {
            return Ok(Some(status));
        }
        sometimes!("admission/run-looked-up");
        planted!(EndedRunsNotLookedUp => return Ok(None));
        Ok(saved::read(self.store, run, None)?.map(|saved| saved.entry.status))
    }

    /// The record of a run that is about to be dropped is remembered, if it has one.
    fn recall(&self, run: RunId) -> Result<()> {
        if self.runs.status(&run).is_none()
            && let Some(saved) = saved::read(self.store, run, None)?
        {
            sometimes!("admission/run-recalled");
            self.runs.recall(saved);
        }
        Ok(())
    }
}

/// The least reserve: some dozens of deletes, however small the budget is.
const RESERVE_BYTES_MIN: u64 = 4 << 10;

impl Budget {
    /// Deletes and run ends may use the reserve too.
    fn max_for(self, request: &Request) -> u64 {
        if !request.may_use_reserve || planted!(ReserveForgotten) {
            return self.max;
        }
        let reserve = (self.max / 16).max(RESERVE_BYTES_MIN);
        self.max.max(self.at_opening).saturating_add(reserve)
    }
}

/// Whether a segment that this process may write can hold a commit.
///
/// Error: [`Error::InvalidArgument`]; nothing was written.
pub(crate) fn fits_a_file(request: &Request, place: &Place) -> Result<()> {
    let bytes = record_bytes(request.payload_bytes_max);
    let around = EMPTY_SEGMENT_BYTES_MAX + PADDING_BYTES_MAX;
    if place.check_length(bytes.saturating_add(around)).is_ok() {
        return Ok(());
    }
    sometimes!("admission/too-long-for-this-process");
    Err(Error::invalid(format!(
        "a commit of {bytes} bytes does not fit into a file, of which this process may write only {} bytes (ulimit -f): write less at once, or raise the limit and open the database again",
        place.file_bytes_max
    )))
}

/// What is said of a write to a run that is not active any more.
fn ended(run: RunId, status: RunStatus) -> Error {
    match status {
        RunStatus::Dropped => Error::RunDropped { run },
        status => Error::RunEnded { run, status },
    }
}

impl Overlay {
    /// An overlay over published state, in which a run is known to be active.
    pub(crate) fn new(active: Option<RunId>) -> Self {
        Overlay { active, ..Overlay::default() }
    }

    fn status(&self, known: Known<'_>, run: RunId) -> Result<Option<RunStatus>> {
        match self.runs.as_ref().and_then(|runs| runs.get(&run).copied()) {
            Some(here) => Ok(Some(here)),
            None => known.status(run),
        }
    }

    /// Judges a request; an accepted one is part of the overlay from then on.
    ///
    /// Errors: [`Error::RunNotFound`], [`Error::RunExists`], [`Error::RunEnded`],
    /// [`Error::RunActive`], [`Error::RunDropped`], [`Error::MemtableFull`]; those of a read from
    /// tables, where the records of runs are.
    pub(crate) fn admit(
        &mut self,
        request: &Request,
        known: Known<'_>,
        budget: Budget,
    ) -> Result<()> {
        let before = known.runs.memory_bytes();
        let recalled = self.recalled_bytes;
        let judged = self.judge(request, known, budget);
        if judged.is_err() && known.runs.memory_bytes() > before {
            sometimes!("admission/recalled-for-nothing");
            planted!(RefusedStaysRecalled => return judged);
            known.runs.forget_newest(before);
            self.recalled_bytes = recalled;
        }
        judged
    }

    /// The same; what was looked up for a request that is refused stays.
    fn judge(&mut self, request: &Request, known: Known<'_>, budget: Budget) -> Result<()> {
        let changes = request.changes.as_slice();
        let mut begun = BTreeMap::new();
        let tombstones = known.store.is_over_tables() && !planted!(TombstonesNotCharged);
        let tombstones = if tombstones { request.tombstone_bytes_max } else { 0 };
        let before = known.runs.memory_bytes();
        let texts = self.text_of_drops(changes, known, &mut begun);
        self.recalled_bytes += known.runs.memory_bytes().saturating_sub(before);
        let wanted = request.memory_bytes_max + tombstones + texts?;
        let used = budget.used + self.memory_bytes + self.recalled_bytes;
        // What takes nothing is let in, however much there is: the end of a run.
        if wanted > 0 && used + wanted > budget.max_for(request) {
            sometimes!("admission/memory-full");
            let reserve = request.may_use_reserve;
            let budget = budget.max_for(request);
            return Err(Error::MemtableFull { used, budget, wanted, reserve });
        }
        sometimes!("admission/reserve-used", used + wanted > budget.max);
        if let [Change::Put { key, .. } | Change::Delete { key }] = changes {
            self.require_active(known, key.run())?;
            planted!(GroupMemoryForgotten => return Ok(()));
        } else {
            self.admit_batch(changes, known)?;
        }
        self.memory_bytes += wanted;
        self.texts.append(&mut begun);
        Ok(())
    }

    /// The budget is made anew: what was looked up is part of it.
    pub(crate) fn note_new_budget(&mut self) {
        self.recalled_bytes = 0;
    }

    /// What the records of runs that are dropped take beside [`charge::drop_bytes_max`]; they are
    /// looked up for that. Runs that the same changes begin are added to `begun`.
    fn text_of_drops(
        &self,
        changes: &[Change],
        known: Known<'_>,
        begun: &mut BTreeMap<RunId, u64>,
    ) -> Result<u64> {
        let mut bytes = 0;
        for change in changes {
            match change {
                Change::BeginRun { run, begin } => {
                    let text = charge::record_text_bytes(&begin.namespace, &begin.tags);
                    begun.insert(*run, text);
                }
                Change::DropRun { run } => {
                    known.recall(*run)?;
                    let here = begun.get(run).or_else(|| self.texts.get(run)).copied();
                    bytes += here.or_else(|| known.runs.record_text_bytes(run)).unwrap_or(0);
                }
                _ => {}
            }
        }
        Ok(bytes)
    }

    fn require_active(&mut self, known: Known<'_>, run: RunId) -> Result<()> {
        if self.active == Some(run) {
            return Ok(());
        }
        match self.status(known, run)? {
            None => {
                sometimes!("admission/run-not-found");
                Err(Error::RunNotFound { run })
            }
            Some(status) if !status.is_active() => {
                sometimes!("admission/run-ended");
                Err(ended(run, status))
            }
            Some(_) => {
                self.active = Some(run);
                Ok(())
            }
        }
    }

    fn admit_batch(&mut self, changes: &[Change], known: Known<'_>) -> Result<()> {
        // What this batch changes itself, until it is accepted as a whole.
        let mut own: BTreeMap<RunId, RunStatus> = BTreeMap::new();
        let mut checked = None;
        for change in changes {
            let run = change.run();
            let status = |overlay: &Self, own: &BTreeMap<_, _>, run| match own.get(&run) {
                Some(status) => Ok(Some(*status)),
                None => overlay.status(known, run),
            };
            planted!(RefusedStaysInOverlay => self.keep_refused(&own));
            match change {
                Change::BeginRun { begin, .. } => {
                    if let Some(status) = status(self, &own, run)? {
                        sometimes!("admission/run-exists");
                        return Err(Error::RunExists { run, status });
                    }
                    if let Some(parent) = begin.parent
                        && status(self, &own, parent)?.is_none()
                    {
                        sometimes!("admission/parent-not-found");
                        return Err(Error::RunNotFound { run: parent });
                    }
                    own.insert(run, RunStatus::Running);
                }
                Change::DropRun { .. } => {
                    match status(self, &own, run)? {
                        None => return Err(Error::RunNotFound { run }),
                        Some(RunStatus::Dropped) if !planted!(DroppedTwice) => {
                            return Err(Error::RunDropped { run });
                        }
                        Some(status) if status.is_active() && !planted!(ActiveRunDropped) => {
                            return Err(Error::RunActive { run });
                        }
                        Some(_) => own.insert(run, RunStatus::Dropped),
                    };
                    checked = None;
                }
                _ if checked == Some(run) && !matches!(change, Change::EndRun { .. }) => {}
                _ => match status(self, &own, run)? {
                    None => {
                        sometimes!("admission/batch-run-not-found");
                        return Err(Error::RunNotFound { run });
                    }
                    Some(status) if !status.is_active() => {
                        sometimes!("admission/batch-run-ended");
                        return Err(ended(run, status));
                    }
                    Some(_) => {
                        checked = Some(run);
                        if let Change::EndRun { status, .. } = change {
                            own.insert(run, *status);
                            checked = None;
                        }
                    }
                },
            }
        }
        sometimes!("admission/runs-change-within-the-group", self.runs.is_some());
        if !own.is_empty() {
            if !planted!(ActiveOverItsEnd) {
                self.active = None;
            }
            self.runs.get_or_insert_default().append(&mut own);
        }
        Ok(())
    }
}
