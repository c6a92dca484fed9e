//! A limit of the disk: records appended to one file, with a data sync where the level asks for
//! it. Threads that wait for a sync share the next one. Nothing can be read.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::sync::{Condvar, Mutex};

use anyhow::{Result, bail};

use crate::data::{Key, VALUE_BYTES};
use crate::engine::{
    Change, Each, Engine, Found, Level, Reader, Scan, Session, Setting, Setup, Work, not_there,
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
    synced: Condvar,
}

#[derive(Default)]
struct State {
    /// Records that nobody has written yet.
    pending: Vec<u8>,
    /// How many commits there were, and how many of them are as durable as the level says.
    commits: u64,
    done: u64,
    is_led: bool,
    is_failed: bool,
    end: u64,
    zeros_end: u64,
}

pub fn open(setup: &Setup) -> Result<Box<dyn Engine>> {
    let path = setup.dir.join("raw");
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    let state = Mutex::new(State::default());
    Ok(Box::new(RawLog { file, level: setup.level, state, synced: Condvar::new() }))
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
                state = unpoisoned(self.synced.wait(state));
                continue;
            }
            // This thread leads: it writes and syncs what has come by now, while others add.
            state.is_led = true;
            let upto = state.commits;
            let outcome = self.write_pending(&mut state);
            drop(state);
            let outcome = outcome.and_then(|()| Ok(self.file.sync_data()?));
            state = unpoisoned(self.state.lock());
            state.is_led = false;
            state.is_failed |= outcome.is_err();
            state.done = upto;
            self.synced.notify_all();
            outcome?;
        }
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

    fn at_one_moment(&self, _: Work<'_>) -> Result<()> {
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
