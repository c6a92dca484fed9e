//! Stopping and opening: closing, dropping, crashing, and every way back.

use std::path::Path;
use std::sync::Arc;

use runstone::{Builder, Database, Error, Options, Preallocation};
use runstone_vfs::Vfs;

use super::case::{ChangeSpec, World, run_id};
use super::ledger::WATCH;
use super::oracle;
use super::runner::Runner;
use super::verdict::{Checked, Stop, Stopped};
use super::world::DIR;
use super::world::{SimClock, SimEntropy};
use super::written::Written;
use crate::disk::CrashKind;
use crate::rng::Streams;

/// A clock that stands in a time before any store: what is not in the log is not known to it.
fn set_back() -> Arc<SimClock> {
    Arc::new(SimClock::new(SET_BACK_MS))
}

/// What its wall clock says.
const SET_BACK_MS: u64 = 1;

impl Runner<'_> {
    pub(super) fn reopen(&mut self) -> Checked {
        let outcome = self.db()?.close();
        self.settle()?;
        self.digest.u8(u8::from(outcome.is_ok()));
        match outcome {
            Ok(()) => {
                if !matches!(self.db()?.put(run_id(0), "k", 1), Err(Error::Closed)) {
                    return self.fail("close", "a closed database took a write");
                }
                self.db = None;
                self.nothing_waits("a close")?;
                self.log_is_cut()?;
                self.floor_is_logged(false);
                self.all_durable();
                self.look_at_closed()?;
                self.decays()?;
                if self.case.world == World::Rot && self.turn.is_multiple_of(2) && !self.healed {
                    let rot = self.disk.rot(1);
                    self.say(|| format!("      rot: {rot:?}"));
                }
                if self.turn.is_multiple_of(4) {
                    self.read_only()?;
                }
                self.open(Stopped::Clean)
            }
            Err(_) if self.disk.is_crashed() => Ok(()),
            // Nothing was closed; the disk is freed, and it goes on.
            Err(error @ Error::DiskFull { .. }) if self.may_be_full() => {
                self.was_told(&error)?;
                self.needed_the_room(&error)?;
                self.disk_was_full();
                Ok(())
            }
            Err(error @ Error::Io { .. }) if self.met_a_refusal() => {
                self.was_told(&error)?;
                self.was_refused();
                Ok(())
            }
            Err(error) if self.is_end_of_writing::<()>(&Err(error.clone())) => {
                self.expect_fault("C6", &error, false)?;
                self.poisoned = true;
                self.db = None;
                self.open(Stopped::Process)
            }
            Err(error) => self.fail("C6", format!("close failed without a reason: {error}")),
        }
    }

    /// A read-only opening of a closed store shows the same and writes nothing.
    pub(super) fn read_only(&mut self) -> Checked {
        self.disk.enable_faults(false);
        let before = self.changing_calls();
        let opened = self.builder().clock(set_back()).open_read_only(DIR);
        let found = self.found_in_files(Stopped::Clean);
        let outcome = match opened {
            Ok(db) => {
                self.ahead_is_told(db.recovery_report(), Preallocation::Off)?;
                if let Some(mut found) = found {
                    // It knows another clock.
                    found.clock_jump_ms = None;
                    self.report_is_true(db.recovery_report(), &found)?;
                }
                let now = db.storage().now().as_millis();
                let _undisturbed = self.disk.undisturbed();
                let same = oracle::compare(&db, &self.model, now);
                let same = same.and_then(|()| self.time_stands(now));
                let same = same.and_then(|()| Self::ahead_is_reported(&db, SET_BACK_MS));
                let same = same.and_then(|()| match db.recovery_report().clean {
                    true => Ok(()),
                    false => Err("a closed store is not clean".to_owned()),
                });
                let refuses = matches!(db.put(run_id(0), "k", 1), Err(Error::ReadOnly));
                drop(db);
                if refuses { same } else { Err("a read-only database took a write".to_owned()) }
            }
            Err(_) if self.disk.is_crashed() || !self.is_strict() => Ok(()),
            Err(Error::Io { .. }) if self.may_be_unreadable() => Ok(()),
            Err(error) => Err(format!("a read-only opening failed: {error}")),
        };
        let outcome = match self.changing_calls() == before {
            true => outcome,
            false => Err("a read-only opening changed the disk".to_owned()),
        };
        self.disk.enable_faults(!self.healed);
        if self.is_strict() { self.require("C8", outcome) } else { Ok(()) }
    }

    /// An opening that may not make a store makes none.
    pub(super) fn refuse_to_make(&mut self) -> Checked {
        if !self.case.seed.is_multiple_of(8) {
            return Ok(());
        }
        self.disk.enable_faults(false);
        // Where there is a directory already, or none.
        if self.case.seed.is_multiple_of(16) {
            self.disk.unwatch();
            let made = self.vfs().create_dir(Path::new("/data"));
            let made = made.and_then(|()| self.vfs().create_dir(Path::new(DIR)));
            self.disk.watch(WATCH);
            if made.is_err() {
                return self.fail("harness", "a directory could not be made");
            }
        }
        let before = self.changing_calls();
        let options = Options { create_if_missing: false, ..self.next_options().engine() };
        let refused = match self.builder().options(options).open(DIR) {
            Err(Error::NoStore { path }) => path == Path::new(DIR),
            _ => false,
        };
        self.disk.enable_faults(true);
        match refused && self.changing_calls() == before {
            true => Ok(()),
            false => self.fail("open", "a store was made where none may be"),
        }
    }

    /// C8: a read-only opening of what a crash left changes nothing, and shows the version that
    /// it returns, if it shows anything.
    fn look(&mut self, stopped: Stopped) -> Checked<Option<u64>> {
        self.disk.enable_faults(false);
        let before = self.changing_calls();
        let opened = self.builder().clock(set_back()).open_read_only(DIR);
        self.disk.enable_faults(true);
        if self.changing_calls() != before {
            return self.fail("C8", "a read-only opening changed the disk");
        }
        match opened {
            Ok(db) => {
                let found = db.recovery_report().unproven_commits;
                self.ahead_is_told(db.recovery_report(), Preallocation::Off)?;
                self.unproven = self.unproven_in_files(stopped);
                if self.unproven.is_some_and(|unproven| unproven != found) {
                    let message = format!("{found} commits unproven, not {:?}", self.unproven);
                    return self.fail("report", message);
                }
                if self.is_strict() {
                    self.require("C11", self.time_stands(db.storage().now().as_millis()))?;
                    self.require("report", Self::ahead_is_reported(&db, SET_BACK_MS))?;
                }
                Ok(Some(db.storage().version()))
            }
            Err(Error::Io { .. } | Error::NoStore { .. }) if self.may_be_unreadable() => Ok(None),
            // A creation among the files of others that was cut.
            Err(Error::NotAStore { .. }) if self.openings == 0 => Ok(None),
            Err(_) if !self.is_strict() => Ok(None),
            Err(error) => self.fail("C5", format!("a read-only opening was refused: {error}")),
        }
    }

    /// How many calls have changed the disk, or could have.
    pub(super) fn changing_calls(&self) -> u64 {
        let calls = self.disk.stats().calls;
        calls.iter().filter(|(kind, _)| kind.changes()).map(|(_, count)| count).sum()
    }

    pub(super) fn drop_reopen(&mut self) -> Checked {
        let faulty = self.faults_since_open();
        self.db = None;
        self.settle()?;
        if self.disk.is_crashed() {
            return Ok(());
        }
        if faulty || self.faults_since_open() {
            return self.open(Stopped::Process);
        }
        self.floor_is_logged(false);
        self.all_durable();
        self.open(Stopped::Clean)
    }

    /// As [`Runner::leave_poisoned`]; but every other poisoning is followed by the crash of the
    /// case, if it has one: a power cut, but in weaker harnesses.
    pub(super) fn leave_poisoned_or_crash(&mut self) -> Checked {
        self.poisonings += 1;
        let every_other = self.case.seed.rotate_right(self.poisonings) & 1 == 1;
        let Some(kind) = self.case.poisoned_crash.filter(|_| every_other) else {
            return self.leave_poisoned();
        };
        self.check_poisoned()?;
        self.disk.crash_now(kind);
        self.recover()
    }

    /// A poisoned handle stays poisoned and readable; then it is opened again.
    pub(super) fn leave_poisoned(&mut self) -> Checked {
        self.check_poisoned()?;
        self.settle()?;
        let nth = usize::try_from(self.poisonings).unwrap_or(0).checked_sub(1);
        if let Some(crash) = nth.and_then(|nth| self.case.poisoned_nested.get(nth))
            && !self.healed
        {
            self.nested.push_back(*crash);
        }
        // It is closed: a handle that still lives keeps nobody out.
        let _closed = self.db.take().filter(|_| self.turn.is_multiple_of(2));
        self.open(Stopped::Process)
    }

    /// Whether this is what a poisoned database answers. A manifest that a lying disk has lost is
    /// another's.
    fn is_end_of_writing<T>(&self, outcome: &Result<T, Error>) -> bool {
        match outcome {
            Err(Error::Poisoned { .. }) => true,
            Err(Error::Displaced { .. }) => !self.is_strict(),
            _ => false,
        }
    }

    /// C6: it refuses writes, shows what was published, and says so when it is closed.
    fn check_poisoned(&mut self) -> Checked {
        self.failed_syncs.after_op(&self.disk);
        let db = self.db()?;
        if db.is_closed() {
            return self.fail("harness", "a poisoned database is closed");
        }
        let refused = db.put(run_id(0), "a", 1);
        if self.model.check(&[ChangeSpec::Delete { run: 0, key: 0 }]).is_ok()
            && !self.is_end_of_writing(&refused)
        {
            return self.fail("C6", format!("a poisoned database answered {refused:?}"));
        }
        let undisturbed = self.disk.undisturbed();
        let outcome = oracle::compare(self.db()?, &self.model, self.now_ms());
        drop(undisturbed);
        self.require("C6", outcome)?;
        let closed = self.db()?.close();
        if !self.is_end_of_writing(&closed) {
            return self.fail("C6", format!("closing a poisoned database gave {closed:?}"));
        }
        // It was asked to go on, and did what it should.
        self.failed_syncs.after_op(&self.disk);
        Ok(())
    }

    pub(super) fn open_twice(&mut self) -> Checked {
        let second = self.builder().open(DIR);
        match second {
            Err(Error::Locked { .. }) => Ok(()),
            Err(Error::Io { .. } | Error::DiskFull { .. })
                if self.disk.is_crashed() || self.faults_since_open() =>
            {
                Ok(())
            }
            other => self.fail("C9", format!("a second opening gave {other:?}")),
        }
    }

    /// The disk, as everything that is not the harness's own business sees it.
    pub(super) fn vfs(&self) -> Arc<dyn Vfs> {
        match &self.watch {
            Some(watch) => watch.vfs(),
            None => Arc::new(self.disk.clone()),
        }
    }

    pub(super) fn builder(&self) -> Builder {
        Database::builder()
            .options(self.next_options().engine())
            .vfs(self.vfs())
            .clock(self.clock.clone())
            .entropy(self.entropy.clone())
    }

    /// After a crash: drops what is dead, and opens again.
    pub(super) fn recover(&mut self) -> Checked {
        self.db = None;
        self.settle()?;
        self.snapshots.clear();
        self.scans.clear();
        let kind = self.count_crash();
        self.strikes.push((self.op, self.disk.calls()));
        let rots = std::mem::take(&mut self.rot);
        if self.case.world == World::Rot && rots > 0 {
            let rot = self.disk.rot(u64::from(rots));
            self.say(|| format!("      rot: {rot:?}"));
        }
        self.disk.restart();
        if rots == 0 {
            self.decays()?;
        }
        let stopped = if kind == CrashKind::Power { Stopped::Power } else { Stopped::Process };
        let seen = if self.turn % 4 == 1 { self.look(stopped)? } else { None };
        // After a power cut nothing is left in any cache that could be read but once.
        let stays = kind == CrashKind::Power && self.nested.is_empty() && self.is_strict();
        let faults = self.disk.injected().len();
        self.open(stopped)?;
        if let Some(seen) = seen.filter(|_| stays && self.disk.injected().len() == faults) {
            let shown = self.db()?.storage().version();
            if seen != shown {
                let message = format!("version {seen} was shown for reading, {shown} for writing");
                return self.fail("C8", message);
            }
        }
        Ok(())
    }

    pub(super) fn count_crash(&mut self) -> CrashKind {
        let Some(report) = self.disk.crash_report() else { return CrashKind::Power };
        let name = match (report.kind, report.model) {
            (CrashKind::Power, Some(model)) => format!("power {model:?}"),
            (kind, _) => format!("{kind:?}").to_lowercase(),
        };
        *self.crashes.entry(name.clone()).or_default() += 1;
        self.last_crash = Some(name);
        self.has_crashed = true;
        if let Some(watch) = &mut self.watch {
            watch.crashed(&self.disk, report.kind);
        }
        // The disk has traced the report.
        self.note_disk();
        report.kind
    }

    /// Opens the store, through crashes and faults, and checks what it shows.
    pub(super) fn open(&mut self, mut stopped: Stopped) -> Checked {
        let expected = self.expected_convergence(stopped);
        self.in_files = match stopped {
            Stopped::Process if self.is_strict() => {
                Written::live(&self.disk, Path::new(DIR)).last_commit()
            }
            _ => 0,
        };
        self.faults_before_recovery();
        // C11: half of the openings know no time but what the log says.
        let (wall_ms, _) = self.clock.now();
        let behind = if self.turn.is_multiple_of(2) { 0 } else { wall_ms.saturating_sub(1) };
        let behind = i64::try_from(behind).unwrap_or(0);
        self.clock.pass(0, -behind);
        let mut tries = 0;
        let db = loop {
            self.failed_syncs.opens(&self.disk, stopped);
            self.unproven = self.unproven_in_files(stopped);
            self.found = self.found_in_files(stopped);
            if let Some(nested) = self.nested.pop_front() {
                self.arm_crash(nested.after_calls, nested.when, nested.kind);
            }
            let hits_before = self.disk.injected().len();
            let opened = self.builder().open(DIR);
            if self.disk.is_crashed() {
                drop(opened);
                let kind = self.count_crash();
                if kind == CrashKind::Power {
                    stopped = Stopped::Power;
                } else if stopped == Stopped::Clean {
                    stopped = Stopped::Process;
                }
                self.disk.restart();
                if self.openings == 0 {
                    // What a creation that was cut has left is no store, or a whole one.
                    self.look(stopped)?;
                    self.faults_before_recovery();
                }
                continue;
            }
            let error = match opened {
                Ok(db) => break db,
                Err(error) => error,
            };
            self.say(|| format!("      open: {error}"));
            let may_fail = self.may_refuse_to_open(&error, hits_before)?;
            match error {
                Error::Corruption { .. }
                | Error::UnsupportedFormat { .. }
                | Error::Displaced { .. }
                    if !self.is_strict() =>
                {
                    self.refusals += 1;
                    return Err(Stop::Refused);
                }
                Error::Io { .. } | Error::DiskFull { .. } if may_fail && tries < 16 => {
                    // A failed opening may have made writes that a later sync cannot save.
                    if stopped == Stopped::Clean {
                        stopped = Stopped::Process;
                    }
                    tries += 1;
                    if tries >= 3 {
                        self.disk.heal();
                    }
                }
                error => {
                    return self.fail("C5", format!("an opening was refused: {error}"));
                }
            }
        };
        self.disk.enable_faults(!self.healed);
        self.openings += 1;
        if let Some(illegal) = self.watch.as_mut().and_then(|watch| watch.illegal.take()) {
            return self.fail("disk", illegal);
        }
        self.verify(&db, stopped, expected)?;
        let now_ms = db.storage().now().as_millis();
        if now_ms > self.clock.now().0 {
            // C11: what the log alone knows, and readers have been shown.
            self.time_floor = self.time_floor.max((now_ms, self.model.version()));
            self.look_at("an opening")?;
        }
        self.clock.pass(0, behind);
        self.recoveries += u64::from(std::mem::take(&mut self.has_crashed));
        self.db = Some(db);
        self.may_be_ruined = match stopped {
            Stopped::Power => false,
            Stopped::Process => self.may_be_ruined || !self.options().pad_to_sector,
            Stopped::Clean => self.may_be_ruined,
        };
        self.set = self.next_set;
        self.poisoned = false;
        self.begin_session();
        self.faults_before = self.disk.injected().len();
        self.observe_clock()
    }

    pub(super) fn faults_before_recovery(&mut self) {
        if !self.case.faults_in_recovery {
            self.disk.enable_faults(false);
            self.disk.set_capacity(None);
        }
    }

    /// C8: what a recovery without further crashes would show, for one with them to reach.
    pub(super) fn expected_convergence(&mut self, stopped: Stopped) -> Option<u64> {
        if self.nested.is_empty() || stopped != Stopped::Power || !self.is_strict() {
            return None;
        }
        let fork = self.disk.fork(self.case.seed ^ 0xc0);
        fork.heal();
        let opened = Database::builder()
            .options(self.next_options().engine())
            .vfs(Arc::new(fork))
            .clock(self.clock.clone())
            .entropy(Arc::new(SimEntropy::new(Streams::new(self.case.seed).named("fork"))))
            .open(DIR);
        opened.ok().map(|db| db.storage().version())
    }
}
