//! What an opening shows, against what the contract permits: clause by clause.

use runstone::{Database, Level};

use super::blame::lasts;
use super::case::run_id;
use super::model::{Model, named_runs};
use super::oracle;
use super::runner::Runner;
use super::verdict::{Checked, Stop, Stopped};
use crate::disk::{CallKind, Injected};

impl Runner<'_> {
    /// Checks what an opening shows, and makes it the truth.
    pub(super) fn verify(
        &mut self,
        db: &Database,
        stopped: Stopped,
        expected: Option<u64>,
    ) -> Checked {
        let _undisturbed = self.disk.undisturbed();
        self.is_readable(db)?;
        let version = db.storage().version();
        let now = db.storage().now().as_millis();
        self.digest.u64(version);
        self.digest.u64(now);
        self.say(|| format!("      opened: version {version}, {:?}", db.recovery_report()));
        let matched = self.matching_history(db, version, now)?;
        if stopped != Stopped::Clean || !self.is_strict() {
            self.snapshots.clear();
            self.scans.clear();
        }
        if self.is_strict() {
            self.verify_floor(version, stopped)?;
            if let Some(expected) = expected
                && version != expected
            {
                return self.fail(
                    "C8",
                    format!("crashes in recovery led to version {version}, without to {expected}"),
                );
            }
            self.verify_time(now, &matched)?;
            self.verify_report(db, &matched, stopped)?;
        }
        if !self.is_strict() {
            self.is_one_of_several |= self.another_matches(db, now, &matched);
            // Its unknown commits may be on the disk as well.
            self.timelines.push(self.extended(0));
            // A session in which more is promised may follow.
            self.time_floor = (0, 0);
        }
        // The comparison has read everything.
        self.shown_ms = matched.last_expiry_ms(now);
        self.model = matched;
        self.unknown.clear();
        self.offset = i128::from(now) - i128::from(self.clock.now().1);
        self.time_max = self.time_max.max(now);
        self.all_durable();
        Ok(())
    }

    /// Where a disk may lose or damage what it has taken, a table that cannot be read refuses the
    /// store as an opening may.
    fn is_readable(&mut self, db: &Database) -> Checked {
        if self.is_strict() || !self.case.options.flushes() {
            return Ok(());
        }
        let Some(error) = oracle::corruption(db) else { return Ok(()) };
        self.say(|| format!("      read: {error}"));
        self.refusals += 1;
        Err(Stop::Refused)
    }

    /// C2, C3: the history that the database shows: a prefix of the commit order.
    pub(super) fn matching_history(&self, db: &Database, version: u64, now: u64) -> Checked<Model> {
        let mut first = None;
        for mut candidate in self.candidates() {
            if candidate.version() < version {
                let message = format!(
                    "version {version} is shown, but there were only {} commits",
                    candidate.version()
                );
                first.get_or_insert(message);
                continue;
            }
            candidate.cut(version);
            match oracle::compare(db, &candidate, now) {
                Ok(()) => return Ok(candidate),
                Err(difference) => {
                    first.get_or_insert(difference);
                }
            }
        }
        self.fail("C2", first.unwrap_or_default())
    }

    /// Whether the database shows another history as well, which holds something else.
    fn another_matches(&self, db: &Database, now: u64, matched: &Model) -> bool {
        let version = matched.version();
        let holds = |model: &Model| {
            let changes = named_runs(model).into_iter().map(|run| model.statistics(run));
            (model.held(now), changes.collect::<Vec<_>>())
        };
        let held = holds(matched);
        self.candidates().filter(|other| other.version() >= version).any(|mut other| {
            other.cut(version);
            holds(&other) != held && oracle::compare(db, &other, now).is_ok()
        })
    }

    /// The history with the unknown commits, but for those whose bit is set.
    pub(super) fn extended(&self, skip: u32) -> Model {
        let mut model = self.model.clone();
        for (i, (changes, time_ms)) in self.unknown.iter().enumerate() {
            if skip >> i & 1 == 0 && model.check(changes).is_ok() {
                model.commit(changes, *time_ms);
            }
        }
        model
    }

    /// The histories that may be shown, up to where they are cut.
    fn candidates(&self) -> impl Iterator<Item = Model> {
        // Any of the unknown ones may have been refused for want of memory, and those that fit into
        // no file for that: whoever is refused is told what becomes of the group.
        let (unknown, may_be_full) = (self.unknown.iter().take(14), self.options().may_be_full());
        let refused = unknown.enumerate().filter_map(|(nth, (changes, _))| {
            (may_be_full || self.fits_no_file(changes)).then_some(1u32 << nth)
        });
        let refused = refused.sum::<u32>();
        let timelines = if self.is_strict() { &[][..] } else { &self.timelines };
        let skips = (0..=refused).filter(move |skip| skip & !refused == 0);
        skips.map(|skip| self.extended(skip)).chain(timelines.iter().cloned())
    }

    /// C1, C13, C14: no shorter than was promised.
    pub(super) fn verify_floor(&self, version: u64, stopped: Stopped) -> Checked {
        let mut floor = self.durable;
        let mut clause = "C1";
        let no_write_was_lost = !self.poisoned && !self.lost_writes_possible();
        let written = self.written.max(self.in_files);
        if stopped != Stopped::Power && no_write_was_lost && written > floor {
            (floor, clause) = (written, "C13");
        }
        if version < floor {
            return self.fail(
                clause,
                format!("version {version} is recovered, but {floor} was promised ({stopped:?})"),
            );
        }
        let lost = self
            .acknowledged
            .iter()
            .filter(|(lost, level, _)| *lost > version && *level == Level::Batched)
            .count() as u64;
        let policy = self.options().policy_batch_size();
        if lost > 2 * policy && !self.faults_since_open() {
            return self
                .fail("C14", format!("{lost} batched commits are lost of {policy} a batch"));
        }
        Ok(())
    }

    /// Whether the operating system may have dropped what it had taken.
    pub(super) fn lost_writes_possible(&self) -> bool {
        let is_sync = |hit: &Injected| matches!(hit.kind, CallKind::Sync | CallKind::SyncDir);
        self.disk.injected().iter().any(|hit| lasts(hit) || is_sync(hit))
    }

    /// C11: time is at least that of every recovered commit, and of the last flush.
    pub(super) fn verify_time(&self, now: u64, matched: &Model) -> Checked {
        let wall = self.clock.now().0;
        let floor = matched.time_ms().max(self.time_floor.0).max(wall);
        if now < floor || now > self.time_max.max(wall) {
            return self.fail(
                "C11",
                format!("time is {now}, not from {floor} to {}", self.time_max.max(wall)),
            );
        }
        Ok(())
    }

    /// C4 for epochs, and what the report says of the stop.
    pub(super) fn verify_report(
        &mut self,
        db: &Database,
        matched: &Model,
        stopped: Stopped,
    ) -> Checked {
        self.require("report", Self::ahead_is_reported(db, self.clock.now().0))?;
        let report = db.recovery_report();
        self.ahead_is_told(report, self.ahead_of(self.next_options()))?;
        if let Some(found) = self.found.take() {
            self.report_is_true(report, &found)?;
        }
        self.epoch = report.epoch + u64::from(report.clean && !report.created);
        if self.epoch <= self.epoch_max {
            return self.fail(
                "C4",
                format!("epoch {} is given again, after {}", self.epoch, self.epoch_max),
            );
        }
        if report.created && self.durable > 0 {
            return self.fail("C1", "the store was made anew");
        }
        let mut interrupted: Vec<_> = matched.active_runs().into_iter().map(run_id).collect();
        interrupted.sort_unstable();
        if report.clean {
            interrupted.clear();
        }
        if report.interrupted_runs != interrupted {
            return self.fail("report", format!("interrupted runs {:?}", report.interrupted_runs));
        }
        if stopped == Stopped::Clean && !report.clean && self.openings > 1 {
            return self.fail("close", "a closed store is not clean");
        }
        let settled = report.clean || report.created;
        let unproven = if settled { Some(0) } else { self.unproven };
        if let Some(unproven) = unproven.filter(|unproven| *unproven != report.unproven_commits) {
            let message = format!("{} commits unproven, not {unproven}", report.unproven_commits);
            return self.fail("report", message);
        }
        Ok(())
    }
}
