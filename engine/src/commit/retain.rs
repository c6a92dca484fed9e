//! Retention: runs that ended long ago, or behind many others, are dropped by policy.
//!
//! They stand in storage in the order of their ends. Times in the log never fall, so nothing is
//! ever added before the time of the last that was dropped: a step goes on at that time, and does
//! not pass the tombstones of all that were dropped before.
//!
//! Invariants: only what the policy does not keep is dropped, the first that ended first; one step
//! drops a bounded number, by one commit: whole, or not at all.

use super::pipeline::Pipeline;
use super::queue::{Changes, Request};
use crate::codec::change::Change;
use crate::error::{Error, Result};
use crate::options::{CHANGE_OVERHEAD_BYTES, Level};
use crate::runs::charge;
use crate::runs::keys::{Index, run_of, time_in};
use crate::types::{PhysicalKey, RunStatus, Timestamp};

impl Pipeline {
    /// How many runs have ended and are not dropped.
    fn ended_runs(&self) -> u64 {
        let ended = RunStatus::ALL.into_iter().filter(|status| status.is_end());
        ended.map(|status| self.runs.count_of(status)).fold(0, u64::saturating_add)
    }

    /// Whether the policy may have something to drop, now or later.
    pub(super) fn wants_retention(&self) -> bool {
        let policy = self.options.retention;
        let ended = self.ended_runs();
        ended > policy.ended_runs_max || policy.ended_ms_max < u64::MAX && ended > 0
    }

    /// Drops what the policy no longer keeps, some runs at a time, and fewer where memory has no
    /// room for as many: none is not an error, since a flush, or whatever frees memory, makes
    /// room. Returns how many, and whether there may be more.
    ///
    /// Errors: those of a commit, and of a read from tables.
    pub(super) fn retain(&self) -> Result<(usize, bool)> {
        if !self.wants_retention() {
            return Ok((0, false));
        }
        let mut from = self.retained.lock();
        let of_batch = self.options.limits.batch_bytes_max / CHANGE_OVERHEAD_BYTES;
        let max = self.options.steps.maintain_keys_max.min(of_batch).max(1);
        let mut due = self.due_runs(*from, max)?;
        while let Some(last) = due.last() {
            match self.commit_now(drops_of(&due)) {
                Ok(_) => {
                    sometimes!("retain/runs-dropped");
                    let behind = u64::from(planted!(RetentionPassesAMoment));
                    *from = Some(Timestamp::from_millis(time_in(last).as_millis() + behind));
                    return Ok((due.len(), true));
                }
                // Somebody else was faster: the next step sees it.
                Err(Error::RunDropped { .. }) => return Ok((0, true)),
                Err(Error::MemtableFull { .. }) => due.truncate(due.len() / 2),
                Err(error) => return Err(error),
            }
        }
        Ok((0, false))
    }

    /// The keys of those that are to go, of those that ended at a time or later.
    fn due_runs(&self, from: Option<Timestamp>, max: usize) -> Result<Vec<PhysicalKey>> {
        let policy = self.options.retention;
        let excess = self.ended_runs().saturating_sub(policy.ended_runs_max);
        let excess = usize::try_from(excess).unwrap_or(usize::MAX);
        let now_ms = self.store.clock().now_ms();
        let all = Index::Ended;
        let first =
            self.store.first_records(&all.from(from.unwrap_or_default()), &all.end(), max)?;
        let is_due = |(nth, key): &(usize, PhysicalKey)| {
            let ended_ms = time_in(key).as_millis();
            let is_old = ended_ms.saturating_add(policy.ended_ms_max) <= now_ms;
            *nth < excess + usize::from(planted!(OneRunTooMany))
                || is_old && policy.ended_ms_max < u64::MAX
        };
        let due = first.into_iter().enumerate().take_while(is_due);
        Ok(due.map(|(_, key)| key).collect())
    }
}

/// The drop of the runs that keys of the index of ended runs lead to.
fn drops_of(due: &[PhysicalKey]) -> Request {
    let runs: Vec<_> = due.iter().filter_map(run_of).collect();
    let count = u64::try_from(runs.len()).unwrap_or(u64::MAX);
    Request {
        payload_bytes_max: count.saturating_mul(CHANGE_OVERHEAD_BYTES as u64),
        memory_bytes_max: runs.iter().map(|run| charge::drop_bytes_max(*run)).sum(),
        tombstone_bytes_max: 0,
        may_use_reserve: true,
        changes: Changes::Many(runs.into_iter().map(|run| Change::DropRun { run }).collect()),
        level: Level::Async,
        want_previous: false,
        counts_keys: false,
    }
}
