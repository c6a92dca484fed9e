//! What a merge leaves out of the versions of one key.
//!
//! The versions come newest first. One goes if a newer one of the merge, or a removal, hides it
//! from every pin.
//! What has expired, for good and for every pin, leaves no more than a tombstone. And where there
//! is nothing below, tombstones go from the oldest end: there is nothing left for them to hide.
//!
//! Invariant: at every read point that is pinned, or may be from now on, a key reads as before.

use crate::store::pins::Pins;
use crate::table::block::Stamp;

/// What is to be done with a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is left out.
    Drop,
    /// It is a tombstone now, and is needed only if something follows that is kept.
    Pend,
    /// It stays as it is.
    Keep,
}

/// Judges the versions of one key after the other.
#[derive(Debug)]
pub(super) struct Sieve {
    /// There is nothing below.
    is_lowest: bool,
    /// What expired at or before this stays gone, whatever happens.
    floor_ms: u64,
    /// The version that was judged last.
    newer: Option<u64>,
    pending: Vec<Stamp>,
}

impl Sieve {
    pub(super) fn new(is_lowest: bool, floor_ms: u64) -> Self {
        Sieve { is_lowest, floor_ms, newer: None, pending: Vec::new() }
    }

    /// The next version of the key, and the oldest removal that hides it, if there is one.
    pub(super) fn judge(
        &mut self,
        stamp: Stamp,
        is_tombstone: bool,
        removal: Option<u64>,
        pins: &Pins,
    ) -> Verdict {
        let Stamp { version, expiry_ms, .. } = stamp;
        let newer = self.newer.replace(version);
        // What is behind it hides it from all who come later.
        let hider = newer.into_iter().chain(removal).min();
        if hider.is_some_and(|hider| !pins.see(version, hider) || planted!(MergeIgnoresPins)) {
            sometimes!("compaction/superseded-dropped", newer.is_some());
            sometimes!("compaction/removed-dropped", removal.is_some());
            return Verdict::Drop;
        }
        sometimes!("compaction/superseded-kept-for-a-pin", newer.is_some());
        let has_expired = expiry_ms <= self.floor_ms && !pins.see_before(version, expiry_ms);
        if !is_tombstone && !has_expired {
            return Verdict::Keep;
        }
        planted!(ExpiredUncoversBelow => if !is_tombstone { return Verdict::Drop });
        sometimes!("compaction/expired-becomes-a-tombstone", !is_tombstone);
        self.pending.push(stamp);
        Verdict::Pend
    }

    /// The tombstones that are needed, since something older is kept.
    pub(super) fn needed(&mut self) -> impl Iterator<Item = Stamp> {
        self.pending.drain(..)
    }

    /// The key has ended. Returns the tombstones that are needed.
    pub(super) fn end_key(&mut self) -> impl Iterator<Item = Stamp> {
        self.newer = None;
        if self.is_lowest || planted!(TombstoneDroppedAbove) {
            sometimes!("compaction/tombstone-dropped", !self.pending.is_empty());
            self.pending.clear();
        }
        self.pending.drain(..)
    }
}
