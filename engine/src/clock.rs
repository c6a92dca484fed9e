//! Time and entropy, as the world gives them to the engine.
//!
//! Invariants of the engine's time ([`EngineClock`]): it never goes backwards and never
//! freezes, whatever the wall clock does: now = max(wall, last now + monotonic elapsed).
//! Intervals and timers use the monotonic part only. After recovery it is at least the
//! greatest engine time in any recovered record.

use std::fmt::Debug;
use std::io;
use std::time::Duration;

use crate::sync::{Arc, AtomicI64, Ordering};

/// The source of time.
///
/// The real one is the system's; a simulator passes its own.
pub trait Clock: Send + Sync + Debug {
    /// Milliseconds since the Unix epoch, as the wall clock has it. May jump either way.
    fn wall_ms(&self) -> u64;

    /// Time since some fixed moment; never goes backwards.
    fn monotonic(&self) -> Duration;

    /// Both at once. Worth implementing where that is cheaper than one after the other.
    fn wall_ms_and_monotonic(&self) -> (u64, Duration) {
        (self.wall_ms(), self.monotonic())
    }
}

/// The source of store ids and salts. Ids that repeat would let the files of two stores be
/// taken for one another.
pub trait Entropy: Send + Sync + Debug {
    /// Sixteen unpredictable bytes.
    ///
    /// Error: the operating system's.
    fn bytes16(&self) -> io::Result<[u8; 16]>;
}

/// The largest engine time, far beyond any date, so that sums cannot overflow.
const TIME_MS_MAX: u64 = 1 << 62;

/// The engine's own time.
///
/// Kept as one number, the greatest difference (wall - monotonic) seen so far: now is
/// monotonic plus that, which cannot fall, and grows with the monotonic clock.
#[derive(Debug)]
pub(crate) struct EngineClock {
    clock: Arc<dyn Clock>,
    offset_ms: AtomicI64,
}

impl EngineClock {
    /// A clock whose time is at least `floor_ms`.
    pub(crate) fn new(clock: Arc<dyn Clock>, floor_ms: u64) -> Self {
        let engine = EngineClock { clock, offset_ms: AtomicI64::new(i64::MIN) };
        engine.raise_to(floor_ms);
        engine
    }

    /// Time from here on is at least `floor_ms`.
    pub(crate) fn raise_to(&self, floor_ms: u64) {
        let offset = signed(floor_ms) - self.monotonic_ms();
        self.offset_ms.fetch_max(offset, Ordering::AcqRel);
    }

    /// Now, in milliseconds since the Unix epoch.
    pub(crate) fn now_ms(&self) -> u64 {
        let (wall_ms, monotonic) = self.clock.wall_ms_and_monotonic();
        let monotonic = monotonic_ms(monotonic);
        let wall = signed(wall_ms) - monotonic;
        planted!(TimeGoesBackwards => return wall_ms);
        // Most calls raise nothing, and then write nothing.
        let mut offset = self.offset_ms.load(Ordering::Acquire);
        if wall > offset {
            offset = self.offset_ms.fetch_max(wall, Ordering::AcqRel).max(wall);
        }
        u64::try_from(monotonic.saturating_add(offset)).unwrap_or(0)
    }

    /// The monotonic clock, for intervals.
    pub(crate) fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    /// The wall clock, unfiltered, for the report of a jump.
    pub(crate) fn wall_ms(&self) -> u64 {
        self.clock.wall_ms()
    }

    fn monotonic_ms(&self) -> i64 {
        monotonic_ms(self.clock.monotonic())
    }
}

fn monotonic_ms(monotonic: Duration) -> i64 {
    let whole = monotonic.as_secs().saturating_mul(1000);
    signed(whole.saturating_add(u64::from(monotonic.subsec_millis())))
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms.min(TIME_MS_MAX)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::AtomicU64;

    #[derive(Debug, Default)]
    struct Hands {
        wall: AtomicU64,
        monotonic: AtomicU64,
    }

    impl Clock for Hands {
        fn wall_ms(&self) -> u64 {
            self.wall.load(Ordering::Relaxed)
        }
        fn monotonic(&self) -> Duration {
            Duration::from_millis(self.monotonic.load(Ordering::Relaxed))
        }
    }

    fn at(hands: &Hands, wall: u64, monotonic: u64) {
        hands.wall.store(wall, Ordering::Relaxed);
        hands.monotonic.store(monotonic, Ordering::Relaxed);
    }

    #[test]
    fn t14_time_neither_falls_nor_freezes_when_the_wall_clock_steps_back() {
        let hands = Arc::new(Hands::default());
        at(&hands, 10_000, 0);
        let engine = EngineClock::new(hands.clone(), 0);
        assert_eq!(engine.now_ms(), 10_000);
        at(&hands, 3_000, 5);
        assert_eq!(engine.now_ms(), 10_005);
        at(&hands, 3_100, 105);
        assert_eq!(engine.now_ms(), 10_105);
    }

    #[test]
    fn time_follows_the_wall_clock_forward_and_stays_there() {
        let hands = Arc::new(Hands::default());
        at(&hands, 1_000, 0);
        let engine = EngineClock::new(hands.clone(), 0);
        at(&hands, 500_000, 10);
        assert_eq!(engine.now_ms(), 500_000);
        at(&hands, 1_020, 20);
        assert_eq!(engine.now_ms(), 500_010);
    }

    #[test]
    fn c11_time_starts_at_the_recovered_floor_and_goes_on_from_it() {
        let hands = Arc::new(Hands::default());
        at(&hands, 5, 1_000);
        let engine = EngineClock::new(hands.clone(), 70_000);
        assert_eq!(engine.now_ms(), 70_000);
        at(&hands, 5, 1_250);
        assert_eq!(engine.now_ms(), 70_250);
    }

    #[test]
    fn the_ends_of_time_do_not_overflow() {
        let hands = Arc::new(Hands::default());
        at(&hands, u64::MAX, u64::MAX);
        let engine = EngineClock::new(hands.clone(), u64::MAX);
        let first = engine.now_ms();
        assert!(engine.now_ms() >= first && first >= TIME_MS_MAX);
    }
}
