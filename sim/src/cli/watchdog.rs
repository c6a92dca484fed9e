//! A seed that does not end: a loop that makes neither a call nor a step of the engine.
//!
//! Everything else that does not end is a failure of its case; this is the last resort. The
//! thread cannot be taken back, so the process ends, with the seed on its lips.
#![allow(clippy::disallowed_methods)] // the shell of the simulator: threads and a pause

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How many looks a seed may last: two minutes. An ordinary one takes some milliseconds.
const LOOKS_MAX: u64 = 6_000;
/// How often it is looked.
const PERIOD: Duration = Duration::from_millis(20);

/// The seeds that run now, and at which look they began.
///
/// Looks are counted, not the clock: a process that was stopped for an hour, by Ctrl-Z or with
/// its machine, makes one look in that time, and its seeds are no later than before.
#[derive(Debug, Default)]
pub(crate) struct Watchdog {
    running: Mutex<BTreeMap<u64, u64>>,
    looks: AtomicU64,
}

impl Watchdog {
    /// A seed begins.
    pub(crate) fn begin(&self, seed: u64) {
        let looks = self.looks.load(Ordering::Relaxed);
        self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(seed, looks);
    }

    pub(crate) fn end(&self, seed: u64) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&seed);
    }

    /// Looks once: the seed that has lasted more looks than this, if there is one.
    fn late(&self, looks_max: u64) -> Option<u64> {
        let looks = self.looks.fetch_add(1, Ordering::Relaxed) + 1;
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running
            .iter()
            .find(|(_, since)| looks.saturating_sub(**since) > looks_max)
            .map(|(seed, _)| *seed)
    }

    /// Looks until `done` says so; ends the process if a seed does not end.
    pub(crate) fn look(&self, done: impl Fn() -> bool, repeat: impl Fn(u64) -> String) {
        while !done() {
            if let Some(seed) = self.late(LOOKS_MAX) {
                out!("seed {seed}: BREACH of progress: it does not end");
                out!("    {}", repeat(seed));
                std::process::exit(1);
            }
            std::thread::sleep(PERIOD);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_that_has_begun_and_not_ended_is_late_after_so_many_looks() {
        let dog = Watchdog::default();
        dog.begin(7);
        assert_eq!([dog.late(2), dog.late(2), dog.late(2)], [None, None, Some(7)]);
        dog.end(7);
        assert_eq!(dog.late(0), None);
    }
}
