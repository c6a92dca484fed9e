//! What each operation does, and what must be seen at once.

use std::sync::{Arc, Mutex, PoisonError};

use runstone::{Level, RunOptions, WriteBatch, WriteOptions};

use super::case::{
    CALLS_BEHIND, ChangeSpec, ECHO, LevelSpec, Op, RARE_CALLS, key_bytes, namespace, range, run_id,
    status, ttl, type_tag,
};
use super::model::Model;
use super::runner::{Pending, Runner};
use super::verdict::{Checked, Stop};
use super::world::DIR;
use super::{model, oracle};
use crate::disk::{CallKind, CrashKind, CrashPoint, Fault, Injected, When};

impl Runner<'_> {
    pub(super) fn perform(&mut self, op: &Op) -> Checked {
        self.take_echoes(op);
        if !op.only_reads() {
            return self.carry_out(op);
        }
        let shown_ms = self.shown_ms;
        match self.carry_out(op) {
            Err(Stop::Failed(failure)) if self.table_was_unreadable(&failure.message) => {
                // Nobody was told of what was not read.
                self.shown_ms = shown_ms;
                Ok(())
            }
            outcome => outcome,
        }
    }

    /// Whether a message tells of a table that could not be read for a reason that the disk gave in
    /// this operation, or ahead of it. That is an error of a call: no call that fails changes a
    /// byte.
    pub(super) fn table_was_unreadable(&self, message: &str) -> bool {
        // A scan that is open reads ahead, and tells of an error when it has come so far.
        let was_ahead = message.starts_with("scan of run");
        let hits = self.disk.injected_since(if was_ahead { 0 } else { self.faults_before_op });
        // A table whose file was closed is opened for a read, and looked at.
        let reads = [CallKind::Read, CallKind::Open, CallKind::Len];
        let is_read = |hit: &Injected| reads.contains(&hit.kind);
        // What a close could not open for a snapshot may be gone when it is read (decision 0022).
        let is_of_snapshot = message.starts_with("snapshot of run") && !message.contains(".table");
        if is_of_snapshot && message.contains("the database is closed") {
            let all = self.disk.injected_since(0);
            return all.iter().any(|hit| hit.kind == CallKind::Open);
        }
        let tells = message.contains(".table") && !message.contains("orruption");
        tells && (self.disk.is_crashed() || hits.iter().any(is_read) || self.disk.has_bad_sectors())
    }

    fn carry_out(&mut self, op: &Op) -> Checked {
        match op {
            Op::Write { change, level } => self.write(*change, *level),
            Op::Remove { run, key } => {
                let change = ChangeSpec::Delete { run: *run, key: *key };
                let outcome =
                    self.db()?.remove(run_id(*run), key_bytes(*key)).map(|version| (version, None));
                self.settle()?;
                self.none_was_overtaken(outcome.is_ok())?;
                self.judge(&[change], self.default_level(), false, outcome)
            }
            Op::Batch { changes, level } => {
                let outcome = self
                    .db()?
                    .write_with(batch(&self.model, changes), write_options(*level))
                    .map(|version| (version, None));
                self.settle()?;
                self.none_was_overtaken(outcome.is_ok())?;
                self.judge(changes, self.level(*level), false, outcome)
            }
            Op::Submit { changes, level } => {
                match self.db()?.submit(batch(&self.model, changes), write_options(*level)) {
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
            Op::LateStep { changes, level, passes_ms } => {
                self.late_step(changes, *level, u64::from(*passes_ms))
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
            Op::Maintain => self.maintain(),
            Op::Flush => {
                let outcome = self.db()?.flush();
                if outcome.is_ok() {
                    self.nothing_waits("flush")?;
                    self.is_durable("flush")?;
                    self.log_ends_with_a_sector()?;
                    self.floor_is_logged(self.disk.full_refusals() > self.refusals_before_op);
                    self.all_durable();
                    self.look_at("a flush")?;
                }
                self.upkeep("flush", outcome)
            }
            Op::Get { run, key } => {
                let (run, key, now) = (*run, *key, self.now_ms());
                // In every way, or only whether it is there, or only what.
                let compare = match self.turn % 3 {
                    0 => oracle::compare_exists,
                    1 => oracle::compare_value_of,
                    _ => oracle::compare_get,
                };
                let outcome = compare(self.db()?, &self.model, run, key, now);
                let (bytes, version) = (key_bytes(key), self.model.version());
                self.note_shown(self.model.expired_ms(run, |key| *key == bytes, version, now));
                self.require("read", outcome)
            }
            Op::List { run, key, len, ends } => self.list(*run, *key, *len, *ends),
            Op::Range { run, from, to, bounds, ends } => {
                self.range(*run, *from, *to, *bounds, *ends)
            }
            Op::OpenScan { run, key, len } => self.open_scan(*run, *key, *len),
            Op::Advance { slot, steps, ends } => self.advance(*slot, *steps, *ends),
            Op::Kv { change } => self.kv(*change),
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
                if self.snapshots.len() < 4 && self.has_pins_left() {
                    self.snapshots.push((snapshot, version, now, self.openings));
                    return Ok(());
                }
                self.pins_are_limited(snapshot)
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
            Op::Options { set } => {
                self.next_set = *set;
                Ok(())
            }
            Op::Reopen => self.reopen(),
            Op::DropReopen => self.drop_reopen(),
            Op::OpenTwice => self.open_twice(),
            Op::Around { event, twist, end } => self.around(*event, *twist, *end),
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
                self.arm_fault(*after_calls, *fault);
                Ok(())
            }
            Op::Turn { .. } => Ok(()),
        }
    }

    /// C11: a step, and a batch that is put into the queue when the step has read the clock: it may
    /// join the group, and does not bear the time of those before it.
    fn late_step(&mut self, changes: &[ChangeSpec], level: LevelSpec, passes_ms: u64) -> Checked {
        let came = Arc::new(Mutex::new(None));
        let (db, batch, outcome) =
            (self.db()?.clone(), batch(&self.model, changes), Arc::clone(&came));
        let before_ms = self.now_ms();
        self.clock.at_next_reading(move |clock| {
            clock.pass(passes_ms, 0);
            let submitted = db.submit(batch, write_options(level));
            *outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(submitted);
        });
        let answered = self.db()?.step();
        let was_read = self.clock.was_read();
        self.digest.u64(answered.map_or(u64::MAX, |n| n as u64));
        if !was_read {
            return self.settle();
        }
        self.commit_ms = Some(before_ms);
        let settled = self.settle();
        self.commit_ms = None;
        settled?;
        self.observe_clock()?;
        let level = self.level(level);
        match came.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(Ok(ticket)) => {
                self.pending.push_back(Pending { changes: changes.to_vec(), level, ticket });
                self.settle()
            }
            Some(Err(error)) => self.judge(changes, level, false, Err(error)),
            None => self.fail("harness", "a clock that was read has had no visit"),
        }
    }

    /// Settles what values of the store's own files hold.
    fn take_echoes(&mut self, op: &Op) {
        let changes = match op {
            Op::Write { change, .. } | Op::Kv { change } => std::slice::from_ref(change),
            Op::Batch { changes, .. }
            | Op::Submit { changes, .. }
            | Op::LateStep { changes, .. } => changes,
            _ => return,
        };
        for change in changes {
            let (ChangeSpec::Put { value, .. } | ChangeSpec::Tagged { value: Some(value), .. }) =
                *change
            else {
                continue;
            };
            if value.kind == ECHO {
                let disk = &self.disk;
                self.model.echo(value, || {
                    let image = disk.live_image();
                    let files: Vec<_> =
                        image.iter().filter(|(path, _)| path.starts_with(DIR)).collect();
                    let salt = usize::try_from(value.salt).unwrap_or(0);
                    let nth = salt % files.len().max(1);
                    let content = files.get(nth).map_or(&[][..], |(_, content)| content);
                    // From a header, a record's border, or in the middle of one.
                    let from = (salt / 64) % content.len().max(1);
                    let from = [0, 72, 512, from & !7].get(salt / 16 % 4).copied().unwrap_or(0);
                    let size = usize::try_from(value.size).unwrap_or(0);
                    content.iter().skip(from).take(size).copied().collect()
                });
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

    /// Arms a fault after so many calls, or behind so many rare ones.
    fn arm_fault(&self, after_calls: u32, fault: Fault) {
        match after_calls.checked_sub(RARE_CALLS).map(u64::from) {
            Some(calls) => {
                let each = u64::from(CALLS_BEHIND);
                let (nth, behind) = (calls / each, calls % each);
                self.disk.fail_behind_rare(nth, behind, fault);
            }
            None => self.disk.fail_call(self.disk.calls() + u64::from(after_calls), fault),
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
        if self.disk.has_passed_a_size() {
            return self.fail("C6", "a call beyond the largest size of a file ends the process");
        }
        self.failed_syncs.after_op(&self.disk);
        self.is_within_its_memory()?;
        self.memory_is_counted()?;
        self.files_are_few()?;
        self.figures_are_true()?;
        self.look_ahead()?;
        if self.options().diligent {
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
        self.options().durability().level()
    }

    pub(super) fn level(&self, spec: LevelSpec) -> Level {
        spec.level().unwrap_or(self.default_level())
    }

    pub(super) fn write(&mut self, change: ChangeSpec, level: LevelSpec) -> Checked {
        let before = (self.pending.is_empty(), self.memory_bytes());
        let db = self.db()?;
        let outcome = match change {
            ChangeSpec::Put { run, key, value, ttl_ms } => {
                let ttl = ttl_ms.map(ttl);
                let (run, key) = (run_id(run), key_bytes(key));
                db.put_with(run, key, self.model.value(value), ttl, write_options(level))
                    .map(|version| (version, None))
            }
            ChangeSpec::Delete { run, key } => {
                // The version is not returned; the published one is it, or above it.
                db.delete(run_id(run), key_bytes(key))
                    .map(|previous| (db.storage().version(), previous))
            }
            ChangeSpec::Tagged { .. } => db
                .write_with(batch(&self.model, &[change]), write_options(level))
                .map(|version| (version, None)),
            ChangeSpec::Begin { run, parent, tags } => {
                let options = begin(&self.model, run, parent, tags);
                db.begin_run_with(run_id(run), options).map(|version| (version, None))
            }
            ChangeSpec::End { run, status: n } => {
                db.end_run_with(run_id(run), status(n)).map(|version| (version, None))
            }
            ChangeSpec::RemoveRange { run, from, to, bounds } => {
                let removed = db.remove_range(run_id(run), range(from, to, bounds));
                removed.map(|version| (version, None))
            }
            ChangeSpec::Drop { run } => db.drop_run(run_id(run)).map(|version| (version, None)),
        };
        let takes_level = matches!(change, ChangeSpec::Put { .. } | ChangeSpec::Tagged { .. });
        let level = if takes_level { self.level(level) } else { self.default_level() };
        if let Err(error) = &outcome {
            self.a_refusal_takes_no_memory(before, error)?;
        }
        self.settle()?;
        self.none_was_overtaken(outcome.is_ok())?;
        self.judge(&[change], level, matches!(change, ChangeSpec::Delete { .. }), outcome)
    }
}

fn write_options(level: LevelSpec) -> WriteOptions {
    WriteOptions { durability: level.level() }
}

/// How a run begins.
fn begin(model: &Model, run: u8, parent: Option<u8>, tags: u8) -> RunOptions {
    let options = RunOptions::default().namespace(namespace(run, tags)).tags(model::tags(tags));
    let options = options.count_keys(model.counts_keys(run));
    match parent {
        Some(parent) => options.parent(run_id(parent)),
        None => options,
    }
}

fn batch(model: &Model, changes: &[ChangeSpec]) -> WriteBatch {
    let mut batch = WriteBatch::new();
    for change in changes {
        match *change {
            ChangeSpec::Put { run, key, value, ttl_ms } => {
                let ttl = ttl_ms.map(ttl);
                batch.put_with_ttl(run_id(run), key_bytes(key), model.value(value), ttl);
            }
            ChangeSpec::Delete { run, key } => {
                batch.delete(run_id(run), key_bytes(key));
            }
            ChangeSpec::Tagged { run, tag, key, value: Some(value) } => {
                let (run, tag, key) = (run_id(run), type_tag(tag), key_bytes(key));
                batch.put_tagged(run, tag, key, model.value(value), None);
            }
            ChangeSpec::Tagged { run, tag, key, value: None } => {
                batch.delete_tagged(run_id(run), type_tag(tag), key_bytes(key));
            }
            ChangeSpec::Begin { run, parent, tags } => {
                batch.begin_run_with(run_id(run), begin(model, run, parent, tags));
            }
            ChangeSpec::End { run, status: n } => {
                batch.end_run(run_id(run), status(n));
            }
            ChangeSpec::RemoveRange { run, from, to, bounds } => {
                batch.remove_range(run_id(run), range(from, to, bounds));
            }
            ChangeSpec::Drop { run } => {
                batch.drop_run(run_id(run));
            }
        }
    }
    batch
}
