//! Read points, and the register of those that are pinned by snapshots and iterators.
//!
//! Invariant: a pin is registered under the store's read lock and looked up under its write
//! lock, so no version that a pin sees is freed between the two.

use std::collections::BTreeMap;

/// What a reader sees: everything up to a version, at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReadPoint {
    pub(crate) version: u64,
    pub(crate) now_ms: u64,
}

/// The pinned read points.
#[derive(Debug, Default)]
pub(crate) struct Pins {
    points: BTreeMap<(u64, u64), u64>,
    next_id: u64,
}

impl Pins {
    pub(crate) fn len(&self) -> usize {
        self.points.len()
    }

    /// Registers a point; the number gives it back to [`Pins::remove`].
    pub(crate) fn add(&mut self, point: ReadPoint) -> u64 {
        self.next_id += 1;
        self.points.insert((point.version, self.next_id), point.now_ms);
        self.next_id
    }

    pub(crate) fn remove(&mut self, point: ReadPoint, id: u64) {
        self.points.remove(&(point.version, id));
    }

    /// Whether a pin sees the version `old` that `new` supersedes.
    pub(crate) fn see(&self, old: u64, new: u64) -> bool {
        old < new && self.points.range((old, 0)..(new, 0)).next().is_some()
    }

    /// Whether a pin at or above `version` has a time before `expiry_ms`.
    pub(crate) fn see_before(&self, version: u64, expiry_ms: u64) -> bool {
        self.points.range((version, 0)..).any(|(_, now_ms)| *now_ms < expiry_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_sees_the_version_it_stands_on_until_a_newer_one_at_or_below_it() {
        let mut pins = Pins::default();
        let point = ReadPoint { version: 5, now_ms: 100 };
        let id = pins.add(point);
        assert!(pins.see(5, 6) && pins.see(1, 6));
        assert!(!pins.see(1, 5) && !pins.see(6, 9));
        assert!(pins.see_before(5, 101) && !pins.see_before(5, 100) && !pins.see_before(6, 101));
        pins.remove(point, id);
        assert!(!pins.see(5, 6));
    }
}
