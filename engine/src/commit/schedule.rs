//! What becomes due when, on the monotonic clock.
//!
//! Invariants: its lock is held for moments and never over a call to the disk, so that the
//! background thread can look without waiting for a commit, and a commit hardly for it; a commit
//! that changes nothing does not take it. When a sync is due changes only under the writer's
//! lock.

use std::time::Duration;

use crate::options::Level;
use crate::sync::{AtomicU8, Mutex, Ordering};

#[derive(Debug, Default)]
struct Moments {
    /// When the oldest unsynced commit must be synced, and the level that says so.
    sync: Option<(Duration, Level)>,
    /// Since when the log has been synced without a record that attests it.
    unattested_since: Option<Duration>,
}

impl Moments {
    /// When the log counts as idle, if nothing waits for a sync and its last sync is not
    /// attested.
    fn watermark_due(&self, idle: Duration) -> Option<Duration> {
        if self.sync.is_some() {
            return None;
        }
        self.unattested_since.map(|since| since.saturating_add(idle))
    }
}

/// The moments that a tick waits for.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    moments: Mutex<Moments>,
    /// The level that says when a sync is due, as a number; 0 if none is.
    level: AtomicU8,
}

/// Levels in their order, from 1 on.
fn rank(level: Level) -> u8 {
    match level {
        Level::Async => 1,
        Level::Batched => 2,
        Level::Strict => 3,
    }
}

impl Schedule {
    /// When a sync is due.
    pub(crate) fn sync_due(&self) -> Option<Duration> {
        self.moments.lock().sync.map(|(due, _)| due)
    }

    /// Everything is synced, or has been asked to be at once.
    pub(crate) fn clear_sync(&self) {
        self.set_sync(&mut self.moments.lock(), None);
    }

    fn set_sync(&self, moments: &mut Moments, sync: Option<(Duration, Level)>) {
        moments.sync = sync;
        self.level.store(sync.map_or(0, |(_, level)| rank(level)), Ordering::Release);
    }

    /// A commit of this level must be synced by `due`, which is only asked for if it could be
    /// sooner than what is known. Says whether anything has become due that was not.
    pub(crate) fn want_sync(&self, level: Level, due: impl FnOnce() -> Duration) -> bool {
        if self.level.load(Ordering::Acquire) >= rank(level) {
            return false;
        }
        let due = due();
        let mut moments = self.moments.lock();
        let known = moments.sync;
        sometimes!("schedule/sooner-than-known", known.is_some_and(|(known, _)| due < known));
        let kept = known.filter(|_| !planted!(DueMomentReplaced));
        self.set_sync(&mut moments, Some((kept.map_or(due, |(known, _)| known.min(due)), level)));
        known.is_none()
    }

    /// The log was synced just now: after a while it wants a record that attests it. Says
    /// whether that has become due anew.
    pub(crate) fn note_synced(&self, now: Duration) -> bool {
        self.moments.lock().unattested_since.replace(now).is_none()
    }

    /// Whether the log is idle and wants its sync attested; if so, that counts as seen to.
    pub(crate) fn take_watermark(&self, now: Duration, idle: Duration) -> bool {
        let mut moments = self.moments.lock();
        let is_due = moments.watermark_due(idle).is_some_and(|due| due <= now);
        if is_due {
            sometimes!("schedule/watermark-due");
            moments.unattested_since = None;
        }
        is_due
    }

    /// The session has ended: nothing is due any more.
    pub(crate) fn clear(&self) {
        let mut moments = self.moments.lock();
        self.set_sync(&mut moments, None);
        moments.unattested_since = None;
    }

    /// The next moment that a tick waits for.
    pub(crate) fn next(&self, idle: Duration) -> Option<Duration> {
        let moments = self.moments.lock();
        moments.sync.map(|(due, _)| due).or_else(|| moments.watermark_due(idle))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_millis(20);

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_sync_that_waits_keeps_the_idle_log_from_being_due() {
        let schedule = Schedule::default();
        assert!(schedule.note_synced(at(0)) && !schedule.note_synced(at(1)));
        assert_eq!(schedule.next(IDLE), Some(at(21)));
        assert!(schedule.want_sync(Level::Async, || at(100)));
        assert_eq!(schedule.next(IDLE), Some(at(100)));
        assert!(!schedule.take_watermark(at(50), IDLE));
        schedule.clear_sync();
        assert_eq!(schedule.next(IDLE), Some(at(21)));
        assert!(!schedule.take_watermark(at(20), IDLE) && schedule.take_watermark(at(21), IDLE));
        assert_eq!(schedule.next(IDLE), None);
    }

    #[test]
    fn c14_the_sooner_of_two_levels_counts_and_a_later_commit_never_delays_it() {
        let schedule = Schedule::default();
        assert!(schedule.want_sync(Level::Async, || at(1000)));
        assert!(!schedule.want_sync(Level::Batched, || at(50)));
        assert!(!schedule.want_sync(Level::Async, || at(2000)));
        assert!(!schedule.want_sync(Level::Batched, || at(3000)));
        assert_eq!(schedule.sync_due(), Some(at(50)));
    }
}
