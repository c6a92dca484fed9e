//! What becomes due when, on the monotonic clock.
//!
//! Invariant: its lock is held for moments and never over a call to the disk, so that the
//! background thread can look without waiting for a commit, and a commit hardly for it.

use std::time::Duration;

use crate::options::Level;

/// The moments that a tick waits for.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    /// When the oldest unsynced commit must be synced, and the level that says so.
    sync: Option<(Duration, Level)>,
    /// Since when the log has been synced without a record that attests it.
    unattested_since: Option<Duration>,
}

impl Schedule {
    /// When a sync is due.
    pub(crate) fn sync_due(&self) -> Option<Duration> {
        self.sync.map(|(due, _)| due)
    }

    /// Everything is synced, or has been asked to be at once.
    pub(crate) fn clear_sync(&mut self) {
        self.sync = None;
    }

    /// A commit of this level must be synced by `due`, which is only asked for if it could be
    /// sooner than what is known. Says whether anything has become due that was not.
    pub(crate) fn want_sync(&mut self, level: Level, due: impl FnOnce() -> Duration) -> bool {
        match self.sync {
            Some((_, known)) if known >= level => false,
            Some((before, _)) => {
                self.sync = Some((before.min(due()), level));
                false
            }
            None => {
                self.sync = Some((due(), level));
                true
            }
        }
    }

    /// The log was synced just now: after a while it wants a record that attests it. Says
    /// whether that has become due anew.
    pub(crate) fn note_synced(&mut self, now: Duration) -> bool {
        self.unattested_since.replace(now).is_none()
    }

    /// The record that attests the sync has been seen to.
    pub(crate) fn clear_unattested(&mut self) {
        self.unattested_since = None;
    }

    /// When the log counts as idle, if nothing waits for a sync and its last sync is not
    /// attested.
    pub(crate) fn watermark_due(&self, idle: Duration) -> Option<Duration> {
        if self.sync.is_some() {
            return None;
        }
        self.unattested_since.map(|since| since + idle)
    }

    /// The next moment that a tick waits for.
    pub(crate) fn next(&self, idle: Duration) -> Option<Duration> {
        self.sync_due().or_else(|| self.watermark_due(idle))
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
        let mut schedule = Schedule::default();
        assert!(schedule.note_synced(at(0)) && !schedule.note_synced(at(1)));
        assert_eq!(schedule.next(IDLE), Some(at(21)));
        assert!(schedule.want_sync(Level::Async, || at(100)));
        assert_eq!((schedule.watermark_due(IDLE), schedule.next(IDLE)), (None, Some(at(100))));
        schedule.clear_sync();
        assert_eq!(schedule.next(IDLE), Some(at(21)));
        schedule.clear_unattested();
        assert_eq!(schedule.next(IDLE), None);
    }

    #[test]
    fn c14_the_sooner_of_two_levels_counts_and_a_later_commit_never_delays_it() {
        let mut schedule = Schedule::default();
        assert!(schedule.want_sync(Level::Async, || at(1000)));
        assert!(!schedule.want_sync(Level::Batched, || at(50)));
        assert!(!schedule.want_sync(Level::Async, || at(2000)));
        assert!(!schedule.want_sync(Level::Batched, || at(3000)));
        assert_eq!(schedule.sync_due(), Some(at(50)));
    }
}
