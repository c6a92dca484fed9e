//! What the threads in the background have met.
//!
//! Invariant: a part whose last step went well has no trouble.

use crate::error::{Error, Result};
use crate::sync::Mutex;

/// A part of what is done in the background.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    /// Commits that wait, syncs and watermarks.
    Log,
    /// Flushes, and what maintenance does beside them.
    Tables,
    Merges,
}

/// The error of the last step of each part, if it failed.
#[derive(Debug, Default)]
pub(crate) struct Troubles([Mutex<Option<Error>>; 3]);

impl Troubles {
    /// How a step has ended.
    pub(crate) fn note<T>(&self, part: Part, outcome: &Result<T>) {
        let [log, tables, merges] = &self.0;
        let slot = match part {
            Part::Log => log,
            Part::Tables => tables,
            Part::Merges => merges,
        };
        *slot.lock() = outcome.as_ref().err().cloned();
    }

    /// The first, in the order of the parts.
    pub(crate) fn first(&self) -> Option<Error> {
        self.0.iter().find_map(|slot| slot.lock().clone())
    }
}
