//! Steps of maintenance, and the runs that they drop by policy.
//!
//! Invariant: which runs go, and in which order, follows from the model and the policy alone: the
//! first that ended first, no more in a step than it may, and none that is to stay.

use runstone::{Error, Level, MaintainReport};

use super::case::{ChangeSpec, run_id};
use super::model::Model;
use super::runner::Runner;
use super::verdict::Checked;

/// The greatest time by which runs are told apart in the order of their ends.
const TIME_MAX: u64 = (1 << 48) - 1;

impl Runner<'_> {
    /// One step of maintenance; `None` if what it was to drop met a fault that has been judged.
    pub(super) fn maintain_once(&mut self) -> Checked<Option<Result<MaintainReport, Error>>> {
        let due = self.due_runs();
        let outcome = self.db()?.maintain();
        if due.is_empty() {
            let dropped = outcome.as_ref().map_or(0, |report| report.runs_dropped);
            self.require(
                "retention",
                match dropped {
                    0 => Ok(()),
                    dropped => Err(format!("{dropped} runs were dropped that are to stay")),
                },
            )?;
            return Ok(Some(outcome));
        }
        // What was in the queue was committed before.
        self.settle()?;
        let drops: Vec<_> = due.iter().map(|run| ChangeSpec::Drop { run: *run }).collect();
        match outcome {
            Ok(report) if report.runs_dropped == 0 => {
                let lost = due
                    .iter()
                    .any(|run| self.model.check(&[ChangeSpec::Drop { run: *run }]).is_err());
                self.require(
                    "retention",
                    match lost || self.disk.is_crashed() || !self.has_room_for_drops(1) {
                        true => Ok(()),
                        false => Err(format!("runs {due:?} are to be dropped, and were not")),
                    },
                )?;
                Ok(Some(Ok(report)))
            }
            Ok(report) => {
                let (dropped, wanted) = (report.runs_dropped, due.len());
                let is_full = dropped < wanted && !self.has_room_for_drops(wanted);
                if dropped != wanted && !is_full || !report.more {
                    let message = format!("{report:?}, where {wanted} runs are to go");
                    return self.fail("retention", message).map(|()| None);
                }
                let version = self.model.version() + 1;
                let drops = drops.get(..dropped).unwrap_or_default();
                self.judge(drops, Level::Async, false, Ok((version, None)))?;
                Ok(Some(Ok(report)))
            }
            Err(error @ (Error::OutcomeUnknown { .. } | Error::MemtableFull { .. })) => {
                self.judge(&drops, Level::Async, false, Err(error))?;
                Ok(None)
            }
            Err(error) => Ok(Some(Err(error))),
        }
    }

    /// What the next step drops, the first that ended first.
    fn due_runs(&self) -> Vec<u8> {
        let options = self.options();
        let limit = options.steps.maintain_keys.min(options.limits.batch_bytes / 64).max(1);
        due(&self.model, options.retention, self.now_ms(), limit)
    }
}

fn due(model: &Model, (age_ms, runs_max): (u64, u64), now_ms: u64, limit: usize) -> Vec<u8> {
    let mut ended: Vec<_> = model
        .runs()
        .filter_map(|run| {
            let entry = model.run_entry(run).filter(|entry| entry.status.is_end())?;
            Some((entry.completed_at?.as_millis().min(TIME_MAX), run_id(run), run))
        })
        .collect();
    ended.sort_unstable();
    let excess = (ended.len() as u64).saturating_sub(runs_max);
    let is_due = |(nth, (at, ..)): &(u64, (u64, _, u8))| {
        *nth < excess || age_ms < u64::MAX && at.saturating_add(age_ms) <= now_ms
    };
    let due = (0..).zip(ended).take_while(is_due).take(limit);
    due.map(|(_, (_, _, run))| run).collect()
}
