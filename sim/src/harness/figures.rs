//! Every public figure, against the model and the files.
//!
//! Invariants: what is known of the files is read from them by their documented layout; the model
//! says what must be held and what may be, never how.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use runstone::{Database, MaintainReport, RecoveryReport, RunStatus};

use super::found::Found;
use super::manifest::Read;
use super::oracle;
use super::runner::Runner;
use super::verdict::{Checked, Stopped};
use super::world::DIR;
use super::written::{LOCK, MANIFEST};
use crate::disk::CallKind;

/// A wall clock that is further ahead of the log than this is reported, in milliseconds.
const JUMP_MS: u64 = 366 * 24 * 3600 * 1000;
/// The most memory of a key beside its bytes and its value's, and of a run, with room to spare.
const KEY_BYTES: u64 = 512;
const RUN_BYTES: u64 = 4096;
/// In one operation of so many all of them are compared: some make the engine tidy up.
const ONE_IN: usize = 32;

/// A step of maintenance of so many bytes, or fewer, flushes or merges one or a few keys.
const SHORT_STEP: usize = 300;
/// So many of them end most flushes.
const SHORT_STEPS: usize = 12;

impl Runner<'_> {
    /// What the next opening will find; `None` where that cannot be told from outside.
    pub(super) fn found_in_files(&self, stopped: Stopped) -> Option<Found> {
        let stays = stopped == Stopped::Power || !self.lost_writes_possible();
        if !stays || !self.is_strict() {
            return None;
        }
        let replayed = self.files().replayed();
        let (own, foreign) = self.names(self.files().prefix());
        let ahead = self.clock.now().0.saturating_sub(replayed.last_time_ms);
        let jumped = replayed.last_time_ms > 0 && ahead > JUMP_MS;
        Some(Found {
            commits: replayed.commits,
            bytes: replayed.bytes,
            segments: replayed.segments,
            torn_bytes: replayed.torn_bytes,
            foreign_files: self.files().prefix().map(|_| foreign),
            clock_jump_ms: jumped.then_some(ahead),
            own,
            removals_failed: self.removals_failed(),
        })
    }

    /// The files beside manifest and lock whose names begin as the store's do, and how many others
    /// there are.
    fn names(&self, prefix: Option<String>) -> (BTreeSet<String>, u64) {
        let (mut own, mut foreign) = (BTreeSet::new(), 0);
        for name in self.disk.names_in(Path::new(DIR)) {
            match name.as_str() {
                LOCK | MANIFEST => {}
                name if prefix.as_ref().is_some_and(|prefix| name.starts_with(prefix)) => {
                    own.insert(name.to_owned());
                }
                _ => foreign += 1,
            }
        }
        (own, foreign)
    }

    fn removals_failed(&self) -> usize {
        self.disk.injected().iter().filter(|hit| hit.kind == CallKind::Remove).count()
    }

    /// Each figure of a report of an opening.
    pub(super) fn report_is_true(&self, report: &RecoveryReport, found: &Found) -> Checked {
        let shown = Found {
            commits: report.replayed_commits,
            bytes: report.replayed_bytes,
            segments: report.segments,
            torn_bytes: report.torn_bytes,
            foreign_files: found.foreign_files.map(|_| report.foreign_files),
            clock_jump_ms: report.clock_jump_ms,
            ..found.clone()
        };
        if shown != *found {
            return self.fail("report", format!("{report:?}, not {found:?}"));
        }
        if report.elapsed != Duration::ZERO {
            return self.fail("report", format!("no time passed, not {:?}", report.elapsed));
        }
        let (own, _) = self.names(self.files().prefix());
        let gone = found.own.difference(&own).count() as u64;
        let told = self.removals_failed() == found.removals_failed && !report.created;
        if told && report.files_removed != gone {
            let message = format!("{} files were removed, not {gone}", report.files_removed);
            return self.fail("report", message);
        }
        Ok(())
    }

    /// Runs and their changes, keys, superseded ones: in a share of the operations.
    pub(super) fn figures_are_true(&self) -> Checked {
        if self.turn % ONE_IN != 7 {
            return Ok(());
        }
        self.nothing_stands_ahead_in_vain()?;
        self.manifest_is_bounded()?;
        // Of several histories that showed the same nobody knows which one holds what.
        if self.is_one_of_several {
            return Ok(());
        }
        let db = self.db()?;
        let counted = self.runs_are_counted(db);
        let outcome = match self.case.options.flushes() {
            // What the tables hold is not counted.
            true => counted,
            false => counted.and_then(|()| self.keys_are_counted(db)),
        };
        self.require("figures", outcome)
    }

    /// The manifest has room for as many edits as its options say, and no more.
    pub(super) fn manifest_is_bounded(&self) -> Checked {
        let manifest = self.files().manifest().filter(|_| self.looks());
        let Some(Read { snapshot_bytes, .. }) = manifest else { return Ok(()) };
        let options = self.case.later.iter().chain([&self.case.options]);
        let edits = options.map(|options| options.manifest_edits).max().unwrap_or(0);
        let sectors = |bytes: u64| bytes.next_multiple_of(512);
        let most = sectors(snapshot_bytes) + sectors(edits.max(2 * snapshot_bytes));
        match self.files().manifest_bytes() {
            found if found <= most => Ok(()),
            found => self.fail("size", format!("a manifest of {found} bytes, not {most}")),
        }
    }

    fn runs_are_counted(&self, db: &Database) -> Result<(), String> {
        let tracker = db.run_tracker();
        let counts = (tracker.count(), tracker.active_count());
        let expected = (self.model.runs().count() as u64, self.model.active_runs().len());
        if counts != expected {
            return Err(format!("runs, and active ones: {counts:?}, not {expected:?}"));
        }
        // Those of other runs are in tables: a look by turns would add calls to the case's own.
        for run in self.model.active_runs() {
            oracle::compare_statistics(db, &self.model, run)?;
        }
        for status in RunStatus::ALL {
            let entries = self.model.runs().filter_map(|run| self.model.run_entry(run));
            let expected = entries.filter(|entry| entry.status == status).count() as u64;
            let count = tracker.count_of(status);
            if count != expected {
                return Err(format!("{count} runs are {status}, not {expected}"));
            }
        }
        Ok(())
    }

    fn keys_are_counted(&self, db: &Database) -> Result<(), String> {
        let held = self.model.held(self.now_ms());
        let pins = self.own_snapshots().map(|(_, version, now, _)| (*version, *now));
        let pinned = pins.map(|(version, now)| self.model.superseded_at(version, now)).max();
        let (keys, superseded) = (db.storage().key_count(), db.storage().superseded_key_count());
        let has_pins = self.pins() > 0;
        // What was removed is held until maintenance comes.
        let may_hold_more = has_pins || superseded > 0 || self.model.has_removals();
        let most = if may_hold_more { held.ever } else { held.newest };
        if keys < held.visible || keys > most {
            return Err(format!("{keys} keys, not from {} to {most}", held.visible));
        }
        let (least, most) = (pinned.unwrap_or(0), held.revised);
        if superseded < least || superseded > most {
            return Err(format!("{superseded} superseded keys, not from {least} to {most}"));
        }
        let bytes = db.storage().memory_bytes();
        if bytes < held.value_bytes {
            return Err(format!("{bytes} bytes hold values of {}", held.value_bytes));
        }
        Ok(())
    }

    /// When nothing but what is visible is held: exactly that is counted.
    pub(super) fn only_what_is_visible_is_held(&self) -> Checked {
        if !self.is_strict()
            || self.disk.is_crashed()
            || self.poisoned
            || self.case.options.flushes()
        {
            return Ok(());
        }
        let held = self.model.held(self.now_ms());
        let db = self.db()?;
        let (keys, superseded) = (db.storage().key_count(), db.storage().superseded_key_count());
        if (keys, superseded) != (held.visible, 0) {
            let message = format!("{keys} keys and {superseded} superseded, not {}", held.visible);
            return self.fail("figures", message);
        }
        let runs = self.model.runs().count() as u64;
        let most = held.value_bytes
            + held.key_bytes
            + KEY_BYTES * (held.ever as u64 + 1)
            + RUN_BYTES * (runs + 1);
        match self.memory_bytes() {
            bytes if bytes <= most => Ok(()),
            bytes => self.fail("figures", format!("{bytes} bytes in use, not {most}")),
        }
    }

    /// A step of maintenance. Where one flushes or merges no more than a key, every second time
    /// some of them, so that a flush ends while what was open at its beginning still is.
    pub(super) fn maintain(&mut self) -> Checked {
        let is_short = self.options().steps.merge_bytes <= SHORT_STEP;
        let steps = if is_short && self.op.is_multiple_of(2) { SHORT_STEPS } else { 1 };
        for _ in 0..steps {
            if !self.maintain_step()? {
                break;
            }
        }
        Ok(())
    }

    /// One step of maintenance, and each figure of its report. Returns whether there is more to do
    /// at once.
    fn maintain_step(&mut self) -> Checked<bool> {
        let counts = |runner: &Self| -> Checked<(usize, usize)> {
            let store = runner.db()?.storage();
            Ok((store.key_count(), store.superseded_key_count()))
        };
        let names = |runner: &Self| runner.names(runner.prefix_at_first.clone()).0;
        let (own, failed) = (names(self), self.removals_failed());
        let before = counts(self)?;
        let Some(outcome) = self.maintain_once()? else { return Ok(false) };
        let more = outcome.as_ref().is_ok_and(|report| report.more);
        if let Ok(report) = &outcome
            && !self.disk.is_crashed()
        {
            let after = counts(self)?;
            self.maintained_is_true(*report, before, after)?;
            let gone = own.difference(&names(self)).count();
            // A table may be made, merged into another and removed by the same step.
            let is_told = match self.case.options.flushes() {
                true => report.files_removed >= gone,
                false => report.files_removed == gone,
            };
            if failed == self.removals_failed() && !is_told {
                let message = format!("{} files were removed, not {gone}", report.files_removed);
                return self.fail("report", message);
            }
            if !report.more {
                self.nothing_is_pinned()?;
            }
            if report.left == 0 {
                self.nothing_is_left()?;
            }
        }
        self.upkeep("maintain", outcome.map(|_| ()))?;
        Ok(more && !self.poisoned && !self.disk.is_crashed())
    }

    fn maintained_is_true(
        &self,
        report: MaintainReport,
        before: (usize, usize),
        after: (usize, usize),
    ) -> Checked {
        let (expired, freed) = (before.0.saturating_sub(after.0), before.1.saturating_sub(after.1));
        // What drops runs commits what was in the queue before.
        let is_simple = self.pins() == 0 && before.1 == 0 && report.runs_dropped == 0;
        let told = if is_simple { report.freed == expired } else { report.freed >= freed };
        // What is in a table now is not in memory any more.
        if self.case.options.flushes() {
            return Ok(());
        }
        if !told || report.left < after.1 {
            let message =
                format!("{report:?}; keys and superseded ones were {before:?}, are {after:?}");
            return self.fail("report", message);
        }
        match report.left {
            0 => self.only_what_is_visible_is_held(),
            _ => Ok(()),
        }
    }
}
