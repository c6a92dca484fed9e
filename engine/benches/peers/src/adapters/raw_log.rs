//! A limit of the disk: records appended to one file, with a data sync where the level asks for
//! it. Threads that wait for a sync share the next one. Nothing can be read.

use std::fs::{File, OpenOptions};
use std::mem::take;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, MutexGuard};
use std::thread::{self, Thread};

use anyhow::{Result, bail};

use crate::data::{Key, VALUE_BYTES};
use crate::engine::{
    Change, Each, Engine, Found, Level, Reader, Reads, Scan, Session, Setting, Setup, not_there,
};
use crate::measure::unpoisoned;

const NOTHING: &str = "a log without an index: nothing can be read";
/// Zeros are written ahead in such steps: a sync of overwritten blocks has no metadata to write.
const AHEAD_BYTES: u64 = 1 << 20;
/// At the weakest level so much is collected before it is written.
const BUFFER_BYTES: usize = 1 << 20;
/// Length and checksum, which any log needs.
const HEADER: [u8; 12] = [0xa5; 12];

struct RawLog {
    file: File,
    level: Level,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Records that nobody has written yet.
    pending: Vec<u8>,
    /// How many commits there were, and how many of them are as durable as the level says.
    commits: u64,
    done: u64,
    /// Who waits, and for which commit.
    waiting: Vec<(u64, Thread)>,
    is_led: bool,
    is_failed: bool,
    end: u64,
    zeros_end: u64,
}

pub fn open(setup: &Setup) -> Result<Box<dyn Engine>> {
    let path = setup.dir.join("raw");
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    let mut state = State::default();
    if setup.level == Level::Sync {
        // Before the clock runs, as an engine makes its first segment when it opens.
        file.write_all_at(&vec![0; AHEAD_BYTES as usize], 0)?;
        file.sync_all()?;
        state.zeros_end = AHEAD_BYTES;
    }
    Ok(Box::new(RawLog { file, level: setup.level, state: Mutex::new(state) }))
}

impl RawLog {
    /// Appends one commit, and returns when it is as durable as the level says.
    fn commit(&self, fill: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        let mut state = unpoisoned(self.state.lock());
        fill(&mut state.pending);
        state.commits += 1;
        let own = state.commits;
        match self.level {
            Level::Memory if state.pending.len() < BUFFER_BYTES => return Ok(()),
            Level::Memory | Level::Os => return self.write_pending(&mut state),
            Level::Sync => {}
        }
        loop {
            if state.is_failed {
                bail!("a write or a sync of the log failed");
            }
            if state.done >= own {
                return Ok(());
            }
            if state.is_led {
                state.waiting.push((own, thread::current()));
                drop(state);
                thread::park();
                state = unpoisoned(self.state.lock());
            } else {
                state = self.lead(state)?;
            }
        }
    }

    /// Writes and syncs what has come by now, while others add; wakes those that waited for it one
    /// by one, and one more to lead next. (All on one condition variable halves the groups.)
    fn lead<'a>(&'a self, mut state: MutexGuard<'a, State>) -> Result<MutexGuard<'a, State>> {
        state.is_led = true;
        // Threads that the last group woke may not have run yet.
        loop {
            let before = state.commits;
            drop(state);
            thread::yield_now();
            state = unpoisoned(self.state.lock());
            if state.commits == before {
                break;
            }
        }
        let upto = state.commits;
        let outcome = self.write_pending(&mut state);
        drop(state);
        let outcome = outcome.and_then(|()| Ok(self.file.sync_data()?));
        state = unpoisoned(self.state.lock());
        state.is_led = false;
        state.is_failed |= outcome.is_err();
        state.done = upto;
        let waiting = take(&mut state.waiting);
        let (done, mut rest): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|(commit, _)| *commit <= upto);
        // After a failure nobody leads any more: all have to hear of it.
        let next: Vec<_> =
            if outcome.is_ok() { rest.pop().into_iter().collect() } else { take(&mut rest) };
        state.waiting = rest;
        done.into_iter().chain(next).for_each(|(_, waiter)| waiter.unpark());
        outcome?;
        Ok(state)
    }

    fn write_pending(&self, state: &mut State) -> Result<()> {
        let needed = state.end + state.pending.len() as u64;
        while self.level == Level::Sync && state.zeros_end < needed {
            self.file.write_all_at(&vec![0; AHEAD_BYTES as usize], state.zeros_end)?;
            state.zeros_end += AHEAD_BYTES;
        }
        self.file.write_all_at(&state.pending, state.end)?;
        state.end = needed;
        state.pending.clear();
        Ok(())
    }
}

impl Engine for RawLog {
    fn settings(&self) -> Vec<Setting> {
        vec![
            ("record", "144 bytes: a header of 12, key, value".to_owned()),
            ("ahead", format!("where it is synced: zeros, {AHEAD_BYTES} bytes at a time")),
            ("sync", "fdatasync, shared by the threads that wait".to_owned()),
        ]
    }

    fn session(&self) -> Result<Box<dyn Session + '_>> {
        Ok(Box::new(Latest(self)))
    }

    fn at_one_moment(&self, _: Reads<'_>) -> Result<()> {
        not_there(NOTHING)
    }

    fn sync(&self) -> Result<()> {
        let mut state = unpoisoned(self.state.lock());
        self.write_pending(&mut state)?;
        Ok(self.file.sync_data()?)
    }

    fn compact(&mut self) -> Result<()> {
        not_there(NOTHING)
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.sync()
    }
}

struct Latest<'a>(&'a RawLog);

impl Reader for Latest<'_> {
    fn get(&mut self, _: &Key, _: Found<'_>) -> Result<bool> {
        not_there(NOTHING)
    }

    fn scan(&mut self, _: Scan<'_>, _: Each<'_>) -> Result<usize> {
        not_there(NOTHING)
    }
}

impl Session for Latest<'_> {
    fn put(&mut self, key: &Key, value: &[u8; VALUE_BYTES]) -> Result<()> {
        self.write(&mut std::iter::once(Change { key: *key, value: Some(*value) }))
    }

    fn write(&mut self, changes: &mut dyn Iterator<Item = Change>) -> Result<()> {
        self.0.commit(|log| {
            for Change { key, value } in changes {
                log.extend_from_slice(&HEADER);
                log.extend_from_slice(key.bytes());
                log.extend_from_slice(value.as_ref().map_or(&[], |value| &value[..]));
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Keys, Order, value};
    use crate::measure::{Timer, share, workers};

    #[test]
    fn what_many_threads_put_is_all_there_and_none_waits_for_ever() {
        const COUNT: u64 = 2000;
        let dir = tempfile::tempdir().unwrap();
        let log = RawLog {
            file: File::create(dir.path().join("raw")).unwrap(),
            level: Level::Sync,
            state: Mutex::new(State::default()),
        };
        let keys = Keys::new(COUNT, COUNT, Order::Random);
        let work = |index| {
            let mut session = log.session()?;
            let mut timer = Timer::new(1)?;
            timer.chunk(share(COUNT, 16, index), |turn| {
                let key = keys.at(turn);
                session.put(&key, &value(&key, 0))
            })?;
            Ok(timer)
        };
        workers(16, Ok, work).unwrap();
        let state = unpoisoned(log.state.lock());
        assert_eq!((state.commits, state.done, state.end), (COUNT, COUNT, COUNT * 144));
        assert!(state.pending.is_empty());
    }
}
