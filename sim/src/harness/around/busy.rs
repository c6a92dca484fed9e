//! An owner in the middle of its work, when something happens around its store.
//!
//! Invariant: what it was told is written down, so that it can be compared with what the next
//! owner finds.

use std::collections::BTreeMap;

use runstone::{Database, Error, Level, WriteOptions};

use super::RUN;
use super::trip::{Shown, Trip, same, shown};
use crate::harness::case::run_id;

/// What an owner did, and what it was told.
#[derive(Debug, Default)]
pub(super) struct Busy {
    /// The greatest version of which it was told that it is durable.
    promised: u64,
    /// What it showed at each version.
    history: BTreeMap<u64, Shown>,
    /// How its work ended, if not well: the call, and the error.
    ended: Option<(&'static str, Error)>,
}

impl Busy {
    /// Of an owner to whom everything up to a version is durable.
    pub(super) fn promised(version: u64) -> Self {
        Busy { promised: version, ..Busy::default() }
    }

    /// Writes at each level, flushes, and lets the engine tidy up, until a call fails. What comes
    /// last waits in memory, or for a sync.
    pub(super) fn work(&mut self, db: &Database, twist: u8) {
        if let Err(error) = self.try_to_work(db, twist) {
            self.ended = Some(error);
        }
    }

    fn try_to_work(&mut self, db: &Database, twist: u8) -> Result<(), (&'static str, Error)> {
        let told = |call, outcome: Result<(), Error>| outcome.map_err(|error| (call, error));
        self.keep(db);
        for n in 0..14u8 {
            let level = match n.wrapping_add(twist) % 4 {
                0 => Level::Strict,
                1 => Level::Batched,
                _ => Level::Async,
            };
            let options = WriteOptions { durability: Some(level) };
            let value = vec![n; 60 + usize::from(twist)];
            let version = db.put_with(run_id(RUN), [150, n], value, None, options);
            let version = version.map_err(|error| ("put", error))?;
            self.keep(db);
            match n.wrapping_add(twist) % 8 {
                0 | 4 => self.promised = version,
                2 => {
                    told("flush", db.flush())?;
                    self.promised = version;
                }
                5 => told("tick", db.tick().map(drop))?,
                6 => told("maintain", db.maintain().map(drop))?,
                _ => {}
            }
        }
        Ok(())
    }

    fn keep(&mut self, db: &Database) {
        if let Ok(shown) = shown(db) {
            self.history.insert(shown.version, shown);
        }
    }

    /// Nothing that happened was its concern.
    pub(super) fn is_whole(&self) -> Trip {
        match &self.ended {
            None => Ok(()),
            Some((call, error)) => {
                Err(("owner", format!("{call} of the rightful owner failed: {error}")))
            }
        }
    }

    /// It noticed nothing, or what it lost.
    pub(super) fn is_whole_or_displaced(&self) -> Trip {
        match &self.ended {
            Some((_, Error::Displaced { .. })) => Ok(()),
            _ => self.is_whole(),
        }
    }

    /// The next owner shows what this one showed once, and all that was promised. A call that
    /// failed may have left its commit.
    pub(super) fn is_prefix(&self, found: &Shown) -> Trip {
        let last = self.history.keys().next_back().copied().unwrap_or(0);
        let most = last + u64::from(self.ended.is_some());
        if found.version < self.promised || found.version > most {
            let (version, promised) = (found.version, self.promised);
            let message = format!("the next owner shows {version}, not {promised} to {most}");
            return Err(("C1", message));
        }
        match self.history.get(&found.version) {
            Some(shown) => same("what the next owner shows", found, shown),
            None => Ok(()),
        }
    }
}
