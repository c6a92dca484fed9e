//! A thread of a schedule: does its acts, and writes into the history what came of them.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use runstone::{Committed, Database, Error, Level, RunId, Ticket, Value, WriteBatch, WriteOptions};
use runstone_sim::disk::SimVfs;

use super::history::{Barrier, Fate, KEYS, Look, Record, State};
use super::program::{Act, Mishap};
use super::stage::StageClock;

/// The run of all programs.
pub(crate) fn run() -> RunId {
    RunId::from_bytes([7; 16])
}

/// What the threads of a schedule share.
#[derive(Clone)]
pub(crate) struct Scene {
    pub(crate) disk: SimVfs,
    pub(crate) clock: Arc<StageClock>,
    pub(crate) record: Record,
    pub(crate) mishap: Mishap,
    pub(crate) closer: bool,
}

/// One thread.
pub(crate) struct Actor {
    pub(crate) scene: Scene,
    pub(crate) db: Database,
    pub(crate) tickets: VecDeque<(usize, Ticket)>,
}

type Acted = Result<(), Error>;

impl Actor {
    /// Does all acts; stops at a crash, and at a panic.
    pub(crate) fn perform(mut self, acts: Vec<Act>) {
        for act in acts {
            let outcome = catch_unwind(AssertUnwindSafe(|| self.act(act)));
            if self.scene.disk.is_crashed() {
                break;
            }
            match outcome {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    if !self.is_expected(&error) {
                        let fault = format!("{act:?} failed without a reason: {error}");
                        self.scene.record.lock().faults.push(fault);
                    }
                }
                Err(_) if self.scene.mishap == Mishap::Panic => break,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    }

    fn is_expected(&self, error: &Error) -> bool {
        match error {
            Error::Closed => self.scene.closer,
            Error::DiskFull { .. } => self.scene.mishap == Mishap::Full,
            Error::Poisoned { .. } | Error::OutcomeUnknown { .. } => {
                matches!(self.scene.mishap, Mishap::Failure | Mishap::Panic)
            }
            _ => false,
        }
    }

    fn act(&mut self, act: Act) -> Acted {
        let strict = |level| WriteOptions { durability: Some(level) };
        match act {
            Act::Put { key, level } => self.write(vec![(key, true)], level, |db, n| {
                db.put_with(run(), KEYS[key], n, None, strict(level)).map(Some)
            }),
            Act::Expiring { ms } => self.write(vec![], Level::Batched, |db, n| {
                let ttl = Some(Duration::from_millis(ms));
                db.put_with(run(), "expiring", n, ttl, strict(Level::Batched)).map(Some)
            }),
            Act::Batch { keys, level } => {
                self.write(keys.map(|key| (key, true)).to_vec(), level, |db, n| {
                    let mut batch = WriteBatch::new();
                    for key in keys {
                        batch.put(run(), KEYS[key], n);
                    }
                    db.write_with(batch, strict(level)).map(Some)
                })
            }
            Act::Delete { key } => self.delete(key),
            Act::Submit { key, level } => {
                let number = self.scene.record.lock().invoke(vec![(key, true)], level, true);
                let mut batch = WriteBatch::new();
                batch.put(run(), KEYS[key], value(number));
                match self.db.submit(batch, strict(level)) {
                    Ok(ticket) => {
                        let mut history = self.scene.record.lock();
                        history.writes[number].placed = Some(history.stamp());
                        drop(history);
                        self.tickets.push_back((number, ticket));
                        Ok(())
                    }
                    Err(error) => self.answer(number, Err(error)),
                }
            }
            Act::Wait => match self.tickets.pop_front() {
                Some((number, ticket)) => {
                    let outcome = ticket.wait();
                    self.answer(number, outcome)
                }
                None => Ok(()),
            },
            Act::Poll => match self.tickets.pop_front() {
                Some((number, ticket)) => match ticket.poll() {
                    Some(outcome) => self.answer(number, outcome),
                    None => {
                        self.tickets.push_front((number, ticket));
                        Ok(())
                    }
                },
                None => Ok(()),
            },
            Act::Await => {
                let Some((number, ticket)) = self.tickets.pop_front() else { return Ok(()) };
                loop {
                    if let Some(outcome) = ticket.poll() {
                        return self.answer(number, outcome);
                    }
                    if self.scene.disk.is_crashed() {
                        return Ok(());
                    }
                    shuttle::thread::yield_now();
                }
            }
            Act::Step => self.db.step().map(drop),
            Act::Get { key } => {
                let invoked = self.scene.record.lock().stamp();
                let seen = self.db.get_versioned(run(), KEYS[key])?;
                let seen = seen.map(|seen| (number(&seen.value), seen.version));
                self.look(Look { invoked, version: None, seen: BTreeMap::from([(key, seen)]) });
                Ok(())
            }
            Act::Snapshot => self.snapshot(),
            Act::Scan => self.scan(),
            Act::Flush => {
                let invoked = self.scene.record.lock().stamp();
                self.db.flush()?;
                self.barrier(Barrier::Flush { invoked });
                Ok(())
            }
            Act::Tick { ms } => {
                self.scene.clock.pass(ms);
                let (invoked, ms) = (self.scene.record.lock().stamp(), self.scene.clock.ms());
                self.db.tick()?;
                self.barrier(Barrier::Tick { invoked, ms });
                Ok(())
            }
            Act::Maintain => self.db.maintain().map(drop),
            Act::Close => {
                let invoked = self.scene.record.lock().stamp();
                self.db.close()?;
                self.barrier(Barrier::Close { invoked });
                Ok(())
            }
        }
    }

    fn write(
        &mut self,
        changes: Vec<(usize, bool)>,
        level: Level,
        commit: impl FnOnce(&Database, i64) -> runstone::Result<Option<u64>>,
    ) -> Acted {
        let number = self.scene.record.lock().invoke(changes, level, false);
        let version = commit(&self.db, value(number));
        let mut history = self.scene.record.lock();
        let write = &mut history.writes[number];
        match version {
            Ok(Some(version)) if !self.scene.disk.is_crashed() => {
                write.fate = Fate::Version(version);
                let stamp = history.stamp();
                history.writes[number].placed = Some(stamp);
                history.writes[number].answered = Some((stamp, self.scene.clock.ms()));
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(error) => {
                if !matches!(error, Error::OutcomeUnknown { .. }) && !self.scene.disk.is_crashed() {
                    write.fate = Fate::Refused;
                }
                Err(error)
            }
        }
    }

    /// A delete tells what was there, and no version; a snapshot of the history will tell.
    fn delete(&mut self, key: usize) -> Acted {
        let level = self.db.durability_mode().level();
        let record = self.scene.record.clone();
        let number = record.lock().writes.len();
        self.write(vec![(key, false)], level, |db, _| {
            let previous = db.delete(run(), KEYS[key])?;
            let previous = previous.as_ref().map(self::number);
            record.lock().writes[number].previous = Some(previous);
            Ok(None)
        })?;
        if !self.scene.disk.is_crashed() {
            let mut history = record.lock();
            let stamp = history.stamp();
            history.writes[number].placed = Some(stamp);
            history.writes[number].answered = Some((stamp, self.scene.clock.ms()));
        }
        Ok(())
    }

    fn answer(&mut self, number: usize, outcome: runstone::Result<Committed>) -> Acted {
        if self.scene.disk.is_crashed() {
            return Ok(());
        }
        let mut history = self.scene.record.lock();
        let stamp = history.stamp();
        let write = &mut history.writes[number];
        match outcome {
            Ok(committed) => {
                write.fate = Fate::Version(committed.version);
                write.placed.get_or_insert(stamp);
                write.answered = Some((stamp, self.scene.clock.ms()));
                Ok(())
            }
            Err(error) => {
                if !matches!(error, Error::OutcomeUnknown { .. }) {
                    write.fate = Fate::Refused;
                }
                Err(error)
            }
        }
    }

    fn look(&self, look: Look) {
        if !self.scene.disk.is_crashed() {
            self.scene.record.lock().looks.push(look);
        }
    }

    fn barrier(&self, barrier: Barrier) {
        if !self.scene.disk.is_crashed() {
            self.scene.record.lock().barriers.push(barrier);
        }
    }

    fn snapshot(&mut self) -> Acted {
        let invoked = self.scene.record.lock().stamp();
        let snapshot = self.db.snapshot()?;
        let mut passes = vec![];
        for _ in 0..2 {
            let mut seen = BTreeMap::new();
            for (key, name) in KEYS.iter().enumerate() {
                let there = snapshot.get_versioned(run(), name)?;
                seen.insert(key, there.map(|there| (number(&there.value), there.version)));
            }
            passes.push(seen);
        }
        if passes.first() != passes.last() {
            let fault = format!("C3: a snapshot changed: {passes:?}");
            self.scene.record.lock().faults.push(fault);
        }
        let seen = passes.pop().unwrap_or_default();
        self.look(Look { invoked, version: Some(snapshot.version()), seen });
        Ok(())
    }

    /// A walk sees one moment, whose version it does not tell: it is compared with a snapshot
    /// that was there before it, and one that comes after.
    fn scan(&mut self) -> Acted {
        let before = self.db.snapshot()?.version();
        let mut seen = State::new();
        for item in self.db.scan_prefix(run(), "")? {
            let (name, there) = item?;
            if let Some(key) = KEYS.iter().position(|key| key.as_bytes() == name) {
                seen.insert(key, (number(&there.value), there.version));
            }
        }
        let after = self.db.snapshot()?.version();
        let late = seen.values().any(|(_, version)| *version > after);
        if late || before > after {
            let fault = format!("a walk between versions {before} and {after} saw {seen:?}");
            self.scene.record.lock().faults.push(fault);
        }
        Ok(())
    }
}

/// What a write sets its keys to.
fn value(number: usize) -> i64 {
    i64::try_from(number).unwrap()
}

/// Whose value this is.
pub(crate) fn number(value: &Value) -> usize {
    match value {
        Value::Int(number) => usize::try_from(*number).unwrap(),
        other => panic!("a stranger: {other:?}"),
    }
}

/// What is there now, and its version.
pub(crate) fn state(db: &Database) -> Result<(u64, State), Error> {
    let mut state = State::new();
    for (key, name) in KEYS.iter().enumerate() {
        if let Some(there) = db.get_versioned(run(), name)? {
            state.insert(key, (number(&there.value), there.version));
        }
    }
    Ok((db.storage().version(), state))
}
