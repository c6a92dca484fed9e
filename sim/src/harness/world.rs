//! The clock and the entropy of a simulation, and where its store lives.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use runstone::{Clock, Entropy};

use crate::rng::Rng;

/// Where the store lives: two levels deep, so that parents matter.
pub(super) const DIR: &str = "/data/store";

/// A clock that moves only when it is told to.
#[derive(Debug)]
pub(crate) struct SimClock {
    wall_ms: AtomicU64,
    monotonic_ms: AtomicU64,
}

impl SimClock {
    pub(crate) fn new(wall_ms: u64) -> Self {
        SimClock { wall_ms: AtomicU64::new(wall_ms), monotonic_ms: AtomicU64::new(1) }
    }

    pub(crate) fn pass(&self, passes_ms: u64, wall_jump_ms: i64) {
        self.monotonic_ms.fetch_add(passes_ms, Ordering::Relaxed);
        let wall = self.wall_ms.load(Ordering::Relaxed) + passes_ms;
        let wall = wall.checked_add_signed(wall_jump_ms).unwrap_or(1);
        self.wall_ms.store(wall, Ordering::Relaxed);
    }

    pub(crate) fn now(&self) -> (u64, u64) {
        (self.wall_ms.load(Ordering::Relaxed), self.monotonic_ms.load(Ordering::Relaxed))
    }
}

impl Clock for SimClock {
    fn wall_ms(&self) -> u64 {
        self.now().0
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.now().1)
    }
}

/// Entropy from a seeded stream.
#[derive(Debug)]
pub(crate) struct SimEntropy(Mutex<Rng>);

impl SimEntropy {
    pub(crate) fn new(rng: Rng) -> Self {
        SimEntropy(Mutex::new(rng))
    }
}

impl Entropy for SimEntropy {
    fn bytes16(&self) -> io::Result<[u8; 16]> {
        let mut bytes = [0; 16];
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill(&mut bytes);
        Ok(bytes)
    }
}
