//! The pace of writers, where a thread flushes and merges.
//!
//! A memtable that is full asks for its flush. While that goes on, commits fill the next one; from
//! half of it on each commit waits a little, for a share of the time that the background needs for
//! as many bytes. The share grows with what is in the memtable, up to more than all of that time:
//! so writers come to the background's own pace before there is no room. Levels that wait to be
//! merged count likewise. At twice a memtable's size, or when the memtables' share of the memory
//! has no room for a commit, writers stop until a flush has ended. They never stop for a merge.
//!
//! Invariants: nobody waits under a lock, nor where nobody flushes (without a thread; behind a
//! close; when poisoned), nor for a flush that has failed; a commit that need not wait pays one
//! load.

use std::time::Duration;

use crate::sync::{AtomicBool, AtomicU64, Condvar, Mutex, Ordering};

/// The shortest wait that is worth a call.
pub(super) const WAIT_MIN: Duration = Duration::from_millis(1);
/// Who waits looks again at the latest then.
pub(super) const WAIT_MAX: Duration = Duration::from_millis(10);
/// What counts as one in shares.
pub(super) const WHOLE: u64 = 1000;

/// How far tables are behind.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// A flush was asked for, and has not begun.
    pub(super) asked: AtomicBool,
    /// How many segments have ended and are needed still, and their bytes.
    pub(super) log_segments: AtomicU64,
    pub(super) log_bytes: AtomicU64,
    /// Bytes of the memtable that is to be flushed; 0 if there is none.
    pub(super) frozen_bytes: AtomicU64,
    /// Its flush has failed, and is tried again after a period of maintenance.
    pub(super) failed: AtomicBool,
    /// How much of the background's time a commit waits for, for what is to be merged.
    pub(super) merge_share: AtomicU64,
    /// How long flush and merges took for what was flushed last, in nanoseconds for each KiB.
    pub(super) kib_ns: AtomicU64,
    /// How long they have taken since.
    pub(super) busy_ns: AtomicU64,
    /// What commits were to wait and have not yet, in nanoseconds.
    pub(super) owed_ns: AtomicU64,
    pub(super) turn: Mutex<()>,
    pub(super) changed: Condvar,
}

impl Pace {
    /// So many segments have ended and are needed still, of so many bytes.
    pub(crate) fn note_log(&self, (segments, bytes): (u64, u64)) {
        self.log_segments.store(segments, Ordering::Release);
        self.log_bytes.store(bytes, Ordering::Release);
    }

    /// Whether there are at least so many of them, or so many bytes.
    pub(super) fn has_log(&self, segments: u64, bytes: u64) -> bool {
        self.log_bytes.load(Ordering::Acquire) >= bytes
            || self.log_segments.load(Ordering::Acquire) >= segments
    }

    /// The background has worked for so long.
    pub(crate) fn note_busy(&self, took: Duration) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.busy_ns.fetch_add(took, Ordering::Relaxed);
    }

    /// A memtable of so many bytes is being flushed.
    pub(super) fn note_frozen(&self, bytes: u64) {
        self.failed.store(false, Ordering::Release);
        self.frozen_bytes.store(bytes.max(1), Ordering::Release);
        self.asked.store(false, Ordering::Release);
    }

    /// The flush has ended, well or not.
    pub(super) fn note_flushed(&self, well: bool) {
        if !well {
            self.failed.store(true, Ordering::Release);
            self.changed.notify_one();
            return;
        }
        let bytes = self.frozen_bytes.swap(0, Ordering::AcqRel);
        let busy_ns = self.busy_ns.swap(0, Ordering::Relaxed);
        if let Some(kib_ns) = busy_ns.checked_div(bytes / 1024) {
            self.kib_ns.store(kib_ns, Ordering::Relaxed);
        }
        self.changed.notify_one();
    }

    /// So many levels were flushed and not merged, of which `usual` are as it should be.
    pub(super) fn note_levels(&self, levels: usize, usual: usize) {
        let over = levels.saturating_sub(usual.saturating_mul(2)) as u64;
        let share = over.saturating_mul(WHOLE).checked_div(usual as u64).unwrap_or(0);
        self.merge_share.store(share, Ordering::Relaxed);
    }

    pub(super) fn is_free(&self) -> bool {
        self.frozen_bytes.load(Ordering::Acquire) == 0
            && self.merge_share.load(Ordering::Relaxed) == 0
    }

    pub(super) fn rest(&self, time: Duration) {
        let turn = self.turn.lock();
        drop(self.changed.wait_timeout(&self.turn, turn, time));
        // One wakes the next.
        self.changed.notify_one();
    }
}
