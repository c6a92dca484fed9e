//! The clock and the entropy of a simulation, and where its store lives.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use runstone::{Clock, Entropy};

use crate::rng::Rng;

/// Where the store lives: two levels deep, so that parents matter.
pub(super) const DIR: &str = "/data/store";

/// What happens when somebody has just read the clock.
type Visit = Box<dyn FnOnce(&SimClock) + Send>;

/// A clock that moves only when it is told to.
pub(crate) struct SimClock {
    wall_ms: AtomicU64,
    monotonic_ms: AtomicU64,
    /// Comes at the next reading of both times.
    visit: Mutex<Option<Visit>>,
}

impl std::fmt::Debug for SimClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SimClock").field(&self.now()).finish()
    }
}

impl SimClock {
    pub(crate) fn new(wall_ms: u64) -> Self {
        SimClock {
            wall_ms: AtomicU64::new(wall_ms),
            monotonic_ms: AtomicU64::new(1),
            visit: Mutex::new(None),
        }
    }

    /// Once somebody has read both times, and has not yet been told them, this happens.
    pub(crate) fn at_next_reading(&self, visit: impl FnOnce(&SimClock) + Send + 'static) {
        *self.visit.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(visit));
    }

    /// What has not happened so far will not; says whether it has.
    pub(crate) fn was_read(&self) -> bool {
        self.take_visit().is_none()
    }

    fn take_visit(&self) -> Option<Visit> {
        self.visit.lock().unwrap_or_else(PoisonError::into_inner).take()
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

    fn wall_ms_and_monotonic(&self) -> (u64, Duration) {
        let reading = (self.wall_ms(), self.monotonic());
        if let Some(visit) = self.take_visit() {
            visit(self);
        }
        reading
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
