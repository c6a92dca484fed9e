//! The outcome of a commit, or of a step of upkeep: what it may be, and what it promises.

use runstone::{Error, Level};
use runstone_vfs::Vfs;

use super::case::{ChangeSpec, LimitSpec, key_bytes};
use super::model;
use super::runner::{Pending, Runner};
use super::verdict::Checked;

/// What of a file that holds one record is not counted for its batch: at most this much.
const AROUND_A_RECORD: usize = 2048;
/// What a table takes beside the values of one key: at most this much, in what is generated.
const AROUND_A_KEY: u64 = 8192;

impl Runner<'_> {
    /// Judges the tickets that have their outcome, in the order of submission.
    pub(super) fn settle(&mut self) -> Checked {
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
    pub(super) fn judge(
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
        let door = self.model.check_door(changes, self.options().limits);
        let predicted = door.and_then(|()| self.model.check(changes));
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
                self.unknown.push((changes.to_vec(), self.commit_ms()));
                self.epoch_max = self.epoch_max.max(self.epoch);
                self.poisoned = true;
                self.expect_fault("C6", &error, crashed)
            }
            Error::Poisoned { .. } => {
                self.poisoned = true;
                self.expect_fault("C6", &error, crashed)
            }
            // A manifest that a lying disk has lost is another one.
            Error::Displaced { .. } if !self.is_strict() => {
                self.unknown.push((changes.to_vec(), self.commit_ms()));
                self.poisoned = true;
                self.expect_fault("C6", &error, crashed)
            }
            Error::DiskFull { .. } if self.may_be_full() => {
                self.was_told(&error)?;
                self.needed_the_room(&error)?;
                self.commit_met_full_disk();
                self.remember_undone(changes);
                Ok(())
            }
            // What a delete was to return, or the record of a run, could not be read.
            Error::Io { .. }
                if self.reads_a_table(changes) && self.table_was_unreadable(&error.to_string()) =>
            {
                Ok(())
            }
            // It met the crash before it had written anything, or when a full disk had undone that.
            Error::Io { .. } if crashed => {
                if self.disk.full_refusals() > self.refusals_before_op {
                    self.remember_undone(changes);
                }
                Ok(())
            }
            Error::Io { .. } if self.met_a_refusal() => {
                self.was_told(&error)?;
                self.commit_was_refused();
                self.remember_undone(changes);
                Ok(())
            }
            Error::MemtableFull { .. } if self.options().may_be_full() => {
                self.has_no_reserve(changes)
            }
            Error::InvalidArgument { .. } if self.fits_no_file(changes) => Ok(()),
            _ => match predicted {
                Err(refusal) if refusal.matches(&error) => Ok(()),
                Err(refusal) => self.fail("precondition", format!("{error}, not {refusal:?}")),
                Ok(()) => self.fail("C6", format!("a commit failed without a reason: {error}")),
            },
        }
    }

    /// Whether a commit may read tables before it is taken: for what a delete returns, for runs
    /// that are not active, and to count keys.
    fn reads_a_table(&self, changes: &[ChangeSpec]) -> bool {
        let active = self.model.active_runs();
        changes.iter().any(|change| {
            let (run, is_delete) = (change.run(), matches!(change, ChangeSpec::Delete { .. }));
            is_delete || !active.contains(&run) || self.model.counts_keys(run)
        })
    }

    /// Whether the record of a commit, with what may be around it, may be too long for a file that
    /// the process may write.
    pub(super) fn fits_no_file(&self, changes: &[ChangeSpec]) -> bool {
        let max = usize::try_from(self.disk.file_bytes_max()).unwrap_or(usize::MAX);
        let limits =
            LimitSpec { batch_bytes: max.saturating_sub(AROUND_A_RECORD), ..self.options().limits };
        self.model.check_door(changes, limits).is_err()
    }

    /// The time of the commits that are judged.
    fn commit_ms(&self) -> u64 {
        self.commit_ms.unwrap_or_else(|| self.now_ms())
    }

    /// C7: a commit that a full disk undid comes back if the sync of that lied.
    pub(super) fn remember_undone(&mut self, changes: &[ChangeSpec]) {
        if self.is_strict() {
            return;
        }
        let version = self.model.version();
        let undone = self.undone.take().filter(|(at, _)| *at == version);
        // It was of the same group as the one before, or of a later one at the same place.
        let base = self.extended(0);
        let mut branch = undone.map_or_else(|| base.clone(), |(_, branch)| branch);
        branch.share_echoes(&base);
        let limits = self.options().limits;
        for history in [&mut branch, &mut base.clone()] {
            if history.check_door(changes, limits).is_ok() && history.check(changes).is_ok() {
                history.commit(changes, self.commit_ms());
                self.timelines.push(history.clone());
            }
        }
        self.undone = Some((version, branch));
    }

    pub(super) fn acknowledge(
        &mut self,
        changes: &[ChangeSpec],
        level: Level,
        version: u64,
        has_previous: bool,
        previous: Option<runstone::Value>,
    ) -> Checked {
        let now = self.commit_ms();
        if has_previous && let [ChangeSpec::Delete { run, key }] = changes {
            let key = key_bytes(*key);
            let before = self.model.get(*run, &key, self.model.version(), now);
            let before = before.and_then(|revision| revision.value.clone());
            if before != previous {
                return self.fail("delete", format!("it returned {previous:?}, not {before:?}"));
            }
        }
        self.nothing_waits("a commit")?;
        self.in_rotation = false;
        let expected = self.model.commit(changes, now);
        if version != expected {
            return self.fail("C4", format!("version {version} was returned, not {expected}"));
        }
        self.epoch_max = self.epoch_max.max(self.epoch);
        let may_use_reserve = |change: &ChangeSpec| {
            matches!(
                change,
                ChangeSpec::Delete { .. }
                    | ChangeSpec::End { .. }
                    | ChangeSpec::RemoveRange { .. }
                    | ChangeSpec::Drop { .. }
                    | ChangeSpec::Tagged { value: None, .. }
            )
        };
        match model::final_changes(changes).iter().all(may_use_reserve) {
            true => self.acknowledged_in_op.1 = true,
            false => self.acknowledged_in_op.0 = true,
        }
        self.dirty = true;
        match level {
            Level::Strict => {
                self.is_durable_at_once("a strict commit")?;
                self.all_durable();
            }
            Level::Batched => {
                self.written = version;
                self.acknowledged.push_back((version, level, self.clock.now().1));
                self.two_batches_wait()?;
            }
            Level::Async => {
                self.acknowledged.push_back((version, level, self.clock.now().1));
                self.buffer_is_within_its_limit()?;
            }
        }
        Ok(())
    }

    /// Whether a table may be longer than a file that the process may write: all versions of a key
    /// are in one table, and pins keep long ones.
    fn versions_fit_no_file(&self, error: &Error) -> bool {
        let bytes = self.model.longest_key_bytes().saturating_add(AROUND_A_KEY);
        let is_long = bytes > self.disk.file_bytes_max();
        self.pins() > 0 && is_long && error.to_string().contains("met the largest size of a file")
    }

    /// Judges a step that is no commit.
    pub(super) fn upkeep(&mut self, what: &str, outcome: Result<(), Error>) -> Checked {
        self.digest.u8(u8::from(outcome.is_ok()));
        if let Err(error) = &outcome {
            self.say(|| format!("      {what}: {error}"));
        }
        self.settle()?;
        match outcome {
            Ok(()) => Ok(()),
            Err(error @ Error::DiskFull { .. }) if self.may_be_full() => {
                self.was_told(&error)?;
                self.needed_the_room(&error)?;
                self.upkeep_met_full_disk(&error);
                Ok(())
            }
            Err(error @ Error::DiskFull { .. }) if self.versions_fit_no_file(&error) => Ok(()),
            Err(Error::Io { .. }) if self.disk.is_crashed() => Ok(()),
            // A table is read back when it has been written.
            Err(Error::Corruption { .. }) if !self.is_strict() && self.case.options.flushes() => {
                Ok(())
            }
            // A merge reads what may have become unreadable long before.
            Err(error @ Error::Io { .. })
                if self.met_a_refusal()
                    || self.disk.has_bad_sectors() && self.case.options.flushes() =>
            {
                self.was_told(&error)?;
                self.upkeep_was_refused(&error);
                Ok(())
            }
            Err(error @ Error::Poisoned { .. }) => {
                self.poisoned = true;
                self.expect_fault("C6", &error, self.disk.is_crashed())
            }
            Err(error @ Error::Displaced { .. }) if !self.is_strict() => {
                self.poisoned = true;
                self.expect_fault("C6", &error, self.disk.is_crashed())
            }
            Err(error) => self.fail("C6", format!("{what} failed without a reason: {error}")),
        }
    }
}
