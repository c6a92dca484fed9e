//! After the last operation: the store is usable, drains, and leaves nothing behind.

use std::path::Path;

use runstone::Error;

use super::case::{ChangeSpec, LevelSpec, Op};
use super::guard::CALLS_MAX;
use super::oracle;
use super::runner::Runner;
use super::steps::StepSpec;
use super::verdict::{Checked, Stop};
use super::world::DIR;

/// The record of a run, its keys in indexes, and what its end and its being dropped delete.
const KEYS_OF_A_RUN: usize = 12;

impl Runner<'_> {
    /// C10: maintenance drains in a bounded number of steps.
    pub(super) fn drain(&mut self) -> Checked {
        // One step may free one key, flush one, or merge one: twice as many as there ever were,
        // those of the records of runs among them, and some for files and faults.
        let keys = self.model.held(self.now_ms()).ever + self.records_of_runs();
        for _ in 0..1024 + 2 * keys {
            let Some(outcome) = self.maintain_once()? else {
                if self.poisoned {
                    self.leave_poisoned()?;
                }
                self.disk.heal();
                continue;
            };
            match outcome {
                Ok(report) if report.left == 0 => return Ok(()),
                Ok(_) => {}
                // What no reader sees may be damaged as well: a merge comes upon it.
                Err(error @ Error::Corruption { .. }) if !self.is_strict() => {
                    self.upkeep("maintain", Err(error))?;
                    self.refusals += 1;
                    return Err(Stop::Refused);
                }
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

    /// The most keys that the records of all runs ever had.
    fn records_of_runs(&self) -> usize {
        KEYS_OF_A_RUN * self.model.runs().count()
    }

    /// In a share of the seeds: the memory that is in use when maintenance has also released the
    /// keys that are gone, some at a time.
    fn held_at_least(&mut self) -> Checked<Option<u64>> {
        // As many steps as there are runs of keys: with small steps no run is merged, and a step
        // looks through one or a few of them. A flood of keys that are deleted takes hundreds.
        let is_small = self.options().steps != StepSpec::default();
        let is_skipped = is_small && !self.case.seed.is_multiple_of(4);
        if is_skipped || !self.is_strict() || self.disk.is_crashed() {
            return Ok(None);
        }
        let keys = self.model.held(self.now_ms()).ever + self.records_of_runs();
        for _ in 0..if is_small { 300 + 4 * keys } else { 2 } {
            if let Some(outcome) = self.maintain_once()? {
                self.upkeep("maintain", outcome.map(|_| ()))?;
            }
        }
        Ok(Some(self.memory_bytes()).filter(|_| !self.poisoned))
    }

    /// Every byte of every file is as a writer makes it, and what the files say fits.
    fn store_is_sound(&self) -> Checked {
        self.allow_calls();
        let mut first = None;
        let walked = self.db()?.verify(|error| {
            first.get_or_insert(error);
        });
        match first.or(walked.err()) {
            Some(error) => self.fail("C5", format!("a violation: {error}")),
            None => Ok(()),
        }
    }

    /// What comes next may make as many calls as any operation, unless the whole run is bounded.
    pub(super) fn allow_calls(&self) {
        self.allow_calls_of(1);
    }

    /// The same, as one operation for each run: everything is read in every way, perhaps without a
    /// cache and in small steps.
    pub(super) fn allow_calls_to_read_all(&self) {
        self.allow_calls_of(1 + self.model.runs().count());
    }

    fn allow_calls_of(&self, operations: usize) {
        if self.is_late.is_none() {
            self.disk.allow_calls(CALLS_MAX.saturating_mul(operations as u64));
        }
    }

    /// C9, C10, C12: after the last operation the store is usable and leaves nothing behind.
    pub(super) fn finish(&mut self) -> Checked {
        self.allow_calls();
        self.disk.disarm_crash();
        self.nested.clear();
        self.healed = true;
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
        self.allow_calls_to_read_all();
        let undisturbed = self.disk.undisturbed();
        let outcome = oracle::compare(self.db()?, &self.model, self.now_ms()).and_then(|()| {
            oracle::compare_all_gets(self.db.as_ref().ok_or("")?, &self.model, self.now_ms())
        });
        drop(undisturbed);
        self.require("read", outcome)?;
        self.allow_calls();
        self.snapshots.clear();
        self.scans.clear();
        self.drain()?;
        let (version, held) = (self.model.version(), self.held_at_least()?);
        if self.is_strict() && !self.disk.is_crashed() {
            // While a session goes on. What was written and not synced may be gone where the disk
            // keeps an error back: the flush tells.
            self.perform(&Op::Flush)?;
            if !self.poisoned {
                self.store_is_sound()?;
            }
        }
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
        self.only_what_is_visible_is_held()?;
        if self.is_strict() {
            self.space_is_bounded()?;
            // What a session has written, freed and forgotten leaves no trace in memory.
            let needed = self.memory_bytes();
            // Where memtables are flushed, less is in memory at one time than at another.
            let is_same = self.model.version() == version;
            if is_same && held.is_some_and(|held| held > needed) && !self.case.options.flushes() {
                let message = format!("{held:?} bytes were held of what takes {needed}");
                return self.fail("memory", message);
            }
            self.store_is_sound()?;
            let image = self.disk.live_image();
            self.require("C12", oracle::leaks(&image, Path::new(DIR)))?;
            self.foreign_file_is_left()?;
        }
        self.a_write_is_accepted()?;
        self.all_runs_are_dropped()
    }

    /// C10: after the faults have stopped.
    fn a_write_is_accepted(&mut self) -> Checked {
        let run = (0..super::case::RUNS).find(|run| !self.model.knows_run(*run));
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
        let accepted = self.durable == self.model.version() || self.options().mode != 0;
        if self.poisoned || !accepted && !self.options().may_be_full() {
            return self.fail("C10", "a write was refused after the faults had stopped");
        }
        Ok(())
    }
}
