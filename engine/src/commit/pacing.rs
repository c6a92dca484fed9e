//! How commits keep the [pace](super::pace).

use std::time::Duration;

use super::pace::{WAIT_MAX, WAIT_MIN, WHOLE};
use super::pipeline::Pipeline;
use super::queue::Request;
use crate::sync::Ordering;

/// So many segments are no reason for a flush.
const SEGMENTS_MIN: u64 = 4;
/// A commit that waits leaves a sixteenth of the memtables' share to those that do not.
const SPARE_SHARE: u64 = 16;

impl Pipeline {
    /// Whether a flush was asked for since this was asked last.
    pub(crate) fn take_flush_asked(&self) -> bool {
        self.pace.asked.swap(false, Ordering::AcqRel)
    }

    fn ring_for_flush(&self) {
        let bell = if self.flush_bell.is_attended() { &self.flush_bell } else { &self.bell };
        bell.ring();
    }

    /// Asks for a flush, if the memtable is full and none is under way.
    pub(super) fn ask_for_flush(&self) {
        if self.store.flushable_bytes_max() < self.shares.flush && !self.log_is_long() {
            return;
        }
        let is_under_way = self.pace.frozen_bytes.load(Ordering::Acquire) > 0;
        if !is_under_way && !self.pace.asked.swap(true, Ordering::AcqRel) {
            self.ring_for_flush();
        }
    }

    /// Whether so much of the log is needed that the memtable is flushed for it. A session that
    /// ended without a close leaves a segment, however little is in it.
    pub(super) fn log_is_long(&self) -> bool {
        let bytes = self.options.flush_log_bytes;
        let segments = (bytes / self.options.segment_bytes).max(SEGMENTS_MIN);
        let is_long = bytes < u64::MAX && self.pace.has_log(segments, bytes);
        is_long && self.options.flush_bytes < u64::MAX && !planted!(LongLogNotFlushed)
    }

    /// Waits as long as a commit should, before it is handed over.
    pub(super) fn keep_pace(&self, request: &Request) {
        let wanted = request.memory_bytes_max.saturating_add(request.tombstone_bytes_max);
        if (!self.pace.is_free() || self.lacks_room(wanted)) && self.bell.is_attended() {
            self.wait_for_tables(request.payload_bytes_max, wanted);
        }
    }

    /// Whether there is no room for so many bytes beside what others have in hand, and a flush
    /// makes some.
    fn lacks_room(&self, wanted: u64) -> bool {
        let (held, max) = (self.store.memory_bytes_max(), self.shares.memtables);
        let used = held + self.runs.memory_bytes() + max / SPARE_SHARE;
        let is_flushed = self.store.flushable_bytes_max() >= self.shares.flush;
        wanted > 0 && is_flushed && used.saturating_add(wanted) > max
    }

    fn wait_for_tables(&self, bytes: u64, wanted: u64) {
        let full = self.shares.flush.max(1);
        loop {
            let frozen = self.pace.frozen_bytes.load(Ordering::Acquire);
            let active = self.store.flushable_bytes_max().saturating_sub(frozen);
            let filled = active.saturating_mul(WHOLE) / full;
            let is_under_way = frozen > 0 && !self.pace.failed.load(Ordering::Acquire);
            let has_failed = self.pace.failed.load(Ordering::Acquire);
            let has_no_room =
                is_under_way && filled >= 2 * WHOLE || !has_failed && self.lacks_room(wanted);
            if has_no_room && self.bell.is_attended() && !self.health.is_poisoned() {
                self.ask_for_flush();
                self.pace.rest(WAIT_MAX);
                continue;
            }
            let of_flush = if is_under_way { filled.saturating_sub(WHOLE / 2) * 2 } else { 0 };
            let share = of_flush + self.pace.merge_share.load(Ordering::Relaxed);
            let kib_ns = self.pace.kib_ns.load(Ordering::Relaxed);
            let ns = u128::from(bytes) * u128::from(kib_ns) * u128::from(share);
            let ns = u64::try_from(ns / 1024 / u128::from(WHOLE)).unwrap_or(u64::MAX);
            let owed = self.pace.owed_ns.fetch_add(ns, Ordering::Relaxed).saturating_add(ns);
            if Duration::from_nanos(owed) >= WAIT_MIN {
                let owed = self.pace.owed_ns.swap(0, Ordering::Relaxed);
                self.pace.rest(Duration::from_nanos(owed).min(WAIT_MAX));
            }
            return;
        }
    }
}
