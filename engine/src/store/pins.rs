//! Read points, and the register of those that are pinned by snapshots and iterators.
//!
//! Invariant: a pin is registered under the store's read lock and looked up under its write
//! lock, so no version that a pin sees is freed between the two. Where there are no pins, a look
//! costs one load.

use std::collections::BTreeMap;

use crate::home::Home;
use crate::sync::{Arc, AtomicUsize, Mutex, Ordering};

/// What a reader sees: everything up to a version, at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReadPoint {
    pub(crate) version: u64,
    pub(crate) now_ms: u64,
}

/// The pinned read points.
#[derive(Debug, Default)]
pub(crate) struct Pins {
    home: Option<Arc<dyn Home>>,
    len: AtomicUsize,
    points: Mutex<Points>,
}

#[derive(Debug, Default)]
struct Points {
    /// The times of the points, by version and number.
    times: BTreeMap<(u64, u64), u64>,
    next_id: u64,
}

impl Pins {
    pub(crate) fn of(home: Arc<dyn Home>) -> Self {
        Pins { home: Some(home), ..Pins::default() }
    }

    /// Whether this is a copy in a forked child; see [`Home`].
    pub(crate) fn is_inherited(&self) -> bool {
        self.home.as_ref().is_some_and(|home| home.is_inherited())
    }

    /// Registers a point, unless there are `max`; the number gives it back to
    /// [`Pins::remove`].
    ///
    /// Error: how many there are.
    pub(crate) fn add(&self, point: ReadPoint, max: usize) -> Result<u64, usize> {
        let mut points = self.points.lock();
        let max = max + usize::from(planted!(SnapshotsMaxOffByOne));
        if points.times.len() >= max {
            return Err(points.times.len());
        }
        points.next_id += 1;
        let id = points.next_id;
        points.times.insert((point.version, id), point.now_ms);
        self.len.store(points.times.len(), Ordering::Release);
        Ok(id)
    }

    pub(crate) fn remove(&self, point: ReadPoint, id: u64) {
        if self.is_inherited() {
            return;
        }
        let mut points = self.points.lock();
        points.times.remove(&(point.version, id));
        self.len.store(points.times.len(), Ordering::Release);
    }

    fn is_empty(&self) -> bool {
        self.len.load(Ordering::Acquire) == 0
    }

    /// The latest time of a pin.
    pub(crate) fn latest_ms(&self) -> Option<u64> {
        if self.is_empty() { None } else { self.points.lock().times.values().max().copied() }
    }

    /// The least version of a pin, and the least time of one.
    pub(crate) fn oldest(&self) -> Option<ReadPoint> {
        if self.is_empty() {
            return None;
        }
        let points = self.points.lock();
        let (version, _) = *points.times.keys().next()?;
        let now_ms = points.times.values().min().copied()?;
        Some(ReadPoint { version, now_ms })
    }

    /// Whether a pin sees the version `old` that `new` supersedes.
    pub(crate) fn see(&self, old: u64, new: u64) -> bool {
        old < new
            && !planted!(SupersededFreedEarly)
            && !self.is_empty()
            && self.points.lock().times.range((old, 0)..(new, 0)).next().is_some()
    }

    /// Whether a pin at or above `version` has a time before `expiry_ms`.
    pub(crate) fn see_before(&self, version: u64, expiry_ms: u64) -> bool {
        !self.is_empty()
            && self.points.lock().times.range((version, 0)..).any(|(_, now_ms)| *now_ms < expiry_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_sees_the_version_it_stands_on_until_a_newer_one_at_or_below_it() {
        let pins = Pins::default();
        let point = ReadPoint { version: 5, now_ms: 100 };
        let id = pins.add(point, 1).unwrap();
        assert_eq!(pins.add(point, 1), Err(1));
        assert!(pins.see(5, 6) && pins.see(1, 6));
        assert!(!pins.see(1, 5) && !pins.see(6, 9));
        assert!(pins.see_before(5, 101) && !pins.see_before(5, 100) && !pins.see_before(6, 101));
        pins.remove(point, id);
        assert!(!pins.see(5, 6));
    }
}
