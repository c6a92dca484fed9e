//! A seed that does not end: a loop that makes neither a call nor a step of the engine.
//!
//! Everything else that does not end is a failure of its case; this is the last resort. The
//! thread cannot be taken back, so the process ends, with the seed on its lips.
#![allow(clippy::disallowed_methods)] // the shell of the simulator: threads and a clock

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a seed may take. An ordinary one takes a thousandth of a second.
const SEED_MAX: Duration = Duration::from_secs(120);
/// How often it is looked.
const PERIOD: Duration = Duration::from_millis(20);

/// The seeds that run now, and since when.
#[derive(Debug, Default)]
pub(crate) struct Watchdog {
    running: Mutex<BTreeMap<u64, Instant>>,
}

impl Watchdog {
    /// By the clock, which only tells that a seed is late: no seed sees it.
    pub(crate) fn begin(&self, seed: u64) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(seed, Instant::now());
    }

    pub(crate) fn end(&self, seed: u64) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&seed);
    }

    /// The seed that has run for longer than this, if there is one.
    fn late(&self, longer_than: Duration) -> Option<u64> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.iter().find(|(_, since)| since.elapsed() > longer_than).map(|(seed, _)| *seed)
    }

    /// Looks until `done` says so; ends the process if a seed does not end.
    pub(crate) fn look(&self, done: impl Fn() -> bool, repeat: impl Fn(u64) -> String) {
        while !done() {
            if let Some(seed) = self.late(SEED_MAX) {
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
    fn a_seed_that_has_begun_and_not_ended_is_late_after_a_while() {
        let dog = Watchdog::default();
        dog.begin(7);
        assert_eq!(dog.late(Duration::from_secs(600)), None);
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(dog.late(Duration::from_millis(1)), Some(7));
        dog.end(7);
        assert_eq!(dog.late(Duration::ZERO), None);
    }
}
