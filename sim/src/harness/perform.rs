//! What each operation does, and what must be seen at once.

use std::time::Duration;

use runstone::{Error, Level, RunOptions, WriteBatch, WriteOptions};

use super::case::{ChangeSpec, LevelSpec, Op, RARE_CALLS, key_bytes, run_id, status, type_tag};
use super::runner::{Checked, Pending, Runner};
use super::{model, oracle};
use crate::disk::{CrashKind, CrashPoint, When};

impl Runner<'_> {
    pub(super) fn perform(&mut self, op: &Op) -> Checked {
        match op {
            Op::Write { change, level } => self.write(*change, *level),
            Op::Remove { run, key } => {
                let change = ChangeSpec::Delete { run: *run, key: *key };
                let outcome =
                    self.db()?.remove(run_id(*run), key_bytes(*key)).map(|version| (version, None));
                self.settle()?;
                self.judge(&[change], self.default_level(), false, outcome)
            }
            Op::Batch { changes, level } => {
                let outcome = self
                    .db()?
                    .write_with(batch(changes), write_options(*level))
                    .map(|version| (version, None));
                self.settle()?;
                self.judge(changes, self.level(*level), false, outcome)
            }
            Op::Submit { changes, level } => {
                match self.db()?.submit(batch(changes), write_options(*level)) {
                    Ok(ticket) => {
                        let (changes, level) = (changes.clone(), self.level(*level));
                        self.pending.push_back(Pending { changes, level, ticket });
                        self.settle()
                    }
                    Err(error) => {
                        self.settle()?;
                        self.judge(changes, self.level(*level), false, Err(error))
                    }
                }
            }
            Op::Step => {
                let answered = self.db()?.step();
                self.digest.u64(answered.map_or(u64::MAX, |n| n as u64));
                self.settle()
            }
            Op::Wait => {
                let Some(Pending { changes, level, ticket }) = self.pending.pop_front() else {
                    return Ok(());
                };
                let outcome = ticket.wait().map(|committed| (committed.version, None));
                self.judge(&changes, level, false, outcome)?;
                self.settle()
            }
            Op::Tick => self.tick(),
            Op::Maintain => {
                let outcome = self.db()?.maintain().map(|_| ());
                self.upkeep("maintain", outcome)
            }
            Op::Flush => {
                let outcome = self.db()?.flush();
                if outcome.is_ok() {
                    self.all_durable();
                    self.time_floor = self.time_floor.max(self.model.time_ms());
                }
                self.upkeep("flush", outcome)
            }
            Op::Get { run, key } => {
                let (run, key, now) = (*run, *key, self.now_ms());
                let outcome = oracle::compare_get(self.db()?, &self.model, run, key, now);
                self.require("read", outcome)
            }
            Op::List { run, key, len, ends } => self.list(*run, *key, *len, *ends),
            Op::Snapshot => {
                let snapshot = self.db()?.snapshot();
                let Ok(snapshot) = snapshot else {
                    return self.fail("snapshot", "no snapshot could be taken");
                };
                let (version, now) = (self.model.version(), self.now_ms());
                if snapshot.version() != version || snapshot.time().as_millis() != now {
                    return self.fail(
                        "snapshot",
                        format!("it is of {} at {}", snapshot.version(), snapshot.time()),
                    );
                }
                if self.snapshots.len() < 4 {
                    self.snapshots.push((snapshot, version, now));
                }
                Ok(())
            }
            Op::ReadSnapshot { slot } => self.read_snapshot(*slot),
            Op::DropSnapshot { slot } => {
                if !self.snapshots.is_empty() {
                    let at = usize::from(*slot) % self.snapshots.len();
                    self.snapshots.swap_remove(at);
                }
                Ok(())
            }
            Op::Clock { wall_ms, passes_ms } => {
                self.clock.pass(u64::from(*passes_ms), *wall_ms);
                self.observe_clock()
            }
            Op::FillDisk { free } => {
                self.disk.set_capacity(Some(self.disk.used_bytes() + u64::from(*free)));
                Ok(())
            }
            Op::FreeDisk => {
                self.disk.set_capacity(None);
                Ok(())
            }
            Op::Reopen => self.reopen(),
            Op::DropReopen => self.drop_reopen(),
            Op::OpenTwice => self.open_twice(),
            Op::Crash { after_calls, when, kind, model, nested, rot } => {
                let mut config = self.case.disk.clone();
                config.capacity = self.disk.config().capacity;
                if let Some(model) = model {
                    config = config.only(*model);
                }
                self.disk.set_config(config);
                self.nested = nested.iter().copied().collect();
                self.rot = *rot;
                if *after_calls == 0 {
                    self.disk.crash_now(*kind);
                } else {
                    self.arm_crash(*after_calls, *when, *kind);
                }
                Ok(())
            }
            Op::Fault { after_calls, fault } => {
                self.disk.fail_call(self.disk.calls() + u64::from(*after_calls), *fault);
                Ok(())
            }
        }
    }

    /// Arms a crash after so many calls, or so many rare ones.
    pub(super) fn arm_crash(&self, after_calls: u32, when: When, kind: CrashKind) {
        match after_calls.checked_sub(RARE_CALLS) {
            Some(nth) => self.disk.arm_crash_at_rare(u64::from(nth), when, kind),
            None => {
                let call = self.disk.calls() + u64::from(after_calls);
                self.disk.arm_crash(CrashPoint { call, when }, kind);
            }
        }
    }

    /// What follows every operation: a crash that struck, a poisoned handle, due steps.
    pub(super) fn after_op(&mut self) -> Checked {
        if self.disk.is_crashed() {
            return self.recover();
        }
        if self.poisoned {
            return self.leave_poisoned_or_crash();
        }
        self.failed_syncs.after_op(&self.disk);
        if self.case.options.diligent {
            self.tick()?;
            if self.disk.is_crashed() {
                return self.recover();
            }
            if self.poisoned {
                return self.leave_poisoned_or_crash();
            }
        }
        Ok(())
    }

    pub(super) fn default_level(&self) -> Level {
        self.case.options.durability().level()
    }

    pub(super) fn level(&self, spec: LevelSpec) -> Level {
        spec.level().unwrap_or(self.default_level())
    }

    pub(super) fn write(&mut self, change: ChangeSpec, level: LevelSpec) -> Checked {
        let db = self.db()?;
        let outcome = match change {
            ChangeSpec::Put { run, key, value, ttl_ms } => {
                let ttl = ttl_ms.map(|ms| Duration::from_millis(u64::from(ms)));
                let (run, key) = (run_id(run), key_bytes(key));
                db.put_with(run, key, value.value(), ttl, write_options(level))
                    .map(|version| (version, None))
            }
            ChangeSpec::Delete { run, key } => {
                // The version is not returned; the published one is it, or above it.
                db.delete(run_id(run), key_bytes(key))
                    .map(|previous| (db.storage().version(), previous))
            }
            ChangeSpec::Tagged { .. } => {
                db.write_with(batch(&[change]), write_options(level)).map(|version| (version, None))
            }
            ChangeSpec::Begin { run, parent, tags } => {
                let mut options = RunOptions::default().tags(model::tags(tags));
                if let Some(parent) = parent {
                    options = options.parent(run_id(parent));
                }
                db.begin_run_with(run_id(run), options).map(|version| (version, None))
            }
            ChangeSpec::End { run, status: n } => {
                db.end_run_with(run_id(run), status(n)).map(|version| (version, None))
            }
        };
        let takes_level = matches!(change, ChangeSpec::Put { .. } | ChangeSpec::Tagged { .. });
        let level = if takes_level { self.level(level) } else { self.default_level() };
        self.settle()?;
        self.judge(&[change], level, matches!(change, ChangeSpec::Delete { .. }), outcome)
    }

    pub(super) fn list(&mut self, run: u8, key: u8, len: u8, ends: u32) -> Checked {
        let bytes = key_bytes(key);
        let prefix = bytes.get(..usize::from(len)).unwrap_or(&bytes);
        let db = self.db()?;
        let scan = match db.scan_prefix(run_id(run), prefix) {
            Ok(scan) if self.model.knows_run(run) => scan,
            Err(Error::RunNotFound { .. }) if !self.model.knows_run(run) => return Ok(()),
            Ok(_) => return self.fail("read", "an unknown run was listed"),
            Err(error) => return self.fail("read", format!("a listing failed: {error}")),
        };
        let expected = self.model.list(run, prefix, self.model.version(), self.now_ms());
        let what = format!("list of run {run}, prefix {}", prefix.escape_ascii());
        let outcome = walk(scan, &expected, ends, &what);
        self.require("read", outcome)
    }

    pub(super) fn read_snapshot(&mut self, slot: u8) -> Checked {
        if self.snapshots.is_empty() {
            return Ok(());
        }
        let at = usize::from(slot) % self.snapshots.len();
        let Some((snapshot, version, now)) = self.snapshots.get(at) else { return Ok(()) };
        let mut outcome = Ok(());
        for run in 0..oracle::RUNS {
            let scan = snapshot.scan_prefix(run_id(run), "");
            outcome = outcome.and_then(|()| match scan {
                Ok(scan) if self.model.run_existed_at(run, *version) => {
                    let expected = self.model.list(run, b"", *version, *now);
                    walk(scan, &expected, u32::MAX << slot, &format!("snapshot of run {run}"))
                }
                Err(Error::RunNotFound { .. }) if !self.model.run_existed_at(run, *version) => {
                    Ok(())
                }
                Ok(_) => Err(format!("a snapshot shows run {run}, which began later")),
                Err(error) => Err(format!("a snapshot of run {run}: {error}")),
            });
        }
        self.require("snapshot", outcome)
    }
}

fn write_options(level: LevelSpec) -> WriteOptions {
    WriteOptions { durability: level.level() }
}

fn batch(changes: &[ChangeSpec]) -> WriteBatch {
    let mut batch = WriteBatch::new();
    for change in changes {
        match *change {
            ChangeSpec::Put { run, key, value, ttl_ms } => {
                let ttl = ttl_ms.map(|ms| Duration::from_millis(u64::from(ms)));
                batch.put_with_ttl(run_id(run), key_bytes(key), value.value(), ttl);
            }
            ChangeSpec::Delete { run, key } => {
                batch.delete(run_id(run), key_bytes(key));
            }
            ChangeSpec::Tagged { run, tag, key, value: Some(value) } => {
                let (run, tag, key) = (run_id(run), type_tag(tag), key_bytes(key));
                batch.put_tagged(run, tag, key, value.value(), None);
            }
            ChangeSpec::Tagged { run, tag, key, value: None } => {
                batch.delete_tagged(run_id(run), type_tag(tag), key_bytes(key));
            }
            ChangeSpec::Begin { run, parent, tags } => {
                let mut options = RunOptions::default().tags(model::tags(tags));
                if let Some(parent) = parent {
                    options = options.parent(run_id(parent));
                }
                batch.begin_run_with(run_id(run), options);
            }
            ChangeSpec::End { run, status: n } => {
                batch.end_run(run_id(run), status(n));
            }
        }
    }
    batch
}

/// Walks a scan from both ends, as the bits say, and compares.
fn walk(
    mut scan: runstone::Scan,
    expected: &[(&[u8], &model::Revision)],
    ends: u32,
    what: &str,
) -> Result<(), String> {
    let (mut front, mut back) = (Vec::new(), Vec::new());
    let mut bits = ends;
    loop {
        let item = if bits & 1 == 0 { scan.next() } else { scan.next_back() };
        let Some(item) = item else { break };
        let item = item.map_err(|e| format!("{what}: {e}"))?;
        if bits & 1 == 0 {
            front.push(item)
        } else {
            back.push(item)
        }
        bits = bits.rotate_right(1);
    }
    back.reverse();
    front.append(&mut back);
    oracle::compare_lists(what, expected, &front)
}
