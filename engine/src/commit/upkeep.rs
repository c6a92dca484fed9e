//! The steps that are not commits: syncs that are due, flush, close, expiry, freeing.
//!
//! Each is bounded and explicit. A thread calls them in a program (`shell.rs`), the seed in a
//! simulation. None holds the writer's lock during a background sync, so commits go on.

use std::time::Duration;

use super::compact::Progress;
use super::frozen::InFlight;
use super::gate::SyncPoint;
use super::lead::Lead;
use super::pipeline::Pipeline;
use super::writer::Writer;
use crate::error::{Error, Result};
use crate::failure::WriteFailure;
use crate::log::record::{RECORD_BYTES_MIN, RecordKind};
use crate::options::Level;
use crate::sync::{Arc, MutexGuard, Ordering};

/// What is left after a step of maintenance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MaintainReport {
    /// Versions that were freed: expired and removed ones, and superseded ones that no snapshot
    /// sees.
    pub freed: usize,
    /// Files that were removed.
    pub files_removed: usize,
    /// Runs that [`Options::retention`](crate::Options::retention) no longer keeps, and that were
    /// dropped.
    pub runs_dropped: usize,
    /// What is left: expired versions, keys with superseded ones, removals of which the memtable
    /// holds keys, and unreferenced files. What a snapshot or an iterator still sees is among it,
    /// and is freed when that has ended.
    pub left: usize,
    /// There is more to flush or to merge: the next step goes on with it, at once if wanted. Such
    /// work counts as one in `left`.
    pub more: bool,
}

impl Pipeline {
    /// Does what is due: commits that wait, a sync, a watermark record. Returns when it wants
    /// to be called again, on the monotonic clock.
    ///
    /// Errors: a full disk (it is tried again when next due), or that which poisoned.
    pub(crate) fn tick(&self) -> Result<Option<Duration>> {
        phase!(Tick);
        self.commit_waiting();
        self.health.check()?;
        // Who asks for a sync says so first, and then that none is due: the other way round here.
        let idle = Duration::from_millis(self.options.idle_watermark_ms);
        let now = self.store.clock().monotonic();
        let was_due = self.schedule.next(idle).is_some_and(|next| next <= now);
        // 1. A full batch has been written, and its sync disturbs no commit.
        let asked = self.gate.take_asked();
        if let Some(point) = asked.filter(|point| point.batched > self.gate.synced_batched()) {
            sometimes!("upkeep/full-batch-synced");
            self.sync_now(&point)?;
            if !planted!(BatchSyncUnattested) {
                self.schedule.note_synced(self.store.clock().monotonic());
            }
        }
        // 2. The rest wants the writer, and waits until something is due.
        let next = self.schedule.next(idle);
        if !was_due && next.is_none_or(|next| next > now) {
            sometimes!("upkeep/nothing-due");
            return Ok(next);
        }
        let mut writer = self.writer.lock_for_upkeep();
        self.health.check()?;
        // What was asked for since the first step is due at once, and no longer on the schedule.
        let asked = self.gate.take_asked();
        let asked = !planted!(AskUnseen)
            && asked.is_some_and(|point| point.batched > self.gate.synced_batched());
        if asked || self.schedule.sync_due().is_some_and(|due| due <= now) {
            writer = self.sync_in_background(writer, now)?;
        }
        self.watermark_if_idle(&mut writer)?;
        self.note_leftovers(&writer);
        let next = self.schedule.next(idle);
        // Until a full disk has room again, there is no use in a watermark.
        Ok(next.filter(|_| !writer.disk_full || self.schedule.sync_due().is_some()))
    }

    /// Commits what waits without a leader. Where threads commit without a pause there is one,
    /// and this thread has other duties.
    fn commit_waiting(&self) {
        let Some(mut left) = self.queue.lead_idle() else { return };
        let _lead = Lead(&self.queue);
        sometimes!("upkeep/commits-what-nobody-leads");
        while left > 0 {
            match self.step() {
                0 => {
                    sometimes!("upkeep/others-were-first");
                    return;
                }
                _ if planted!(TickCommitsOneGroup) => return,
                answered => left = left.saturating_sub(answered),
            }
        }
    }

    /// Writes what is buffered and syncs it, while commits go on.
    pub(super) fn sync_in_background<'a>(
        &'a self,
        mut writer: MutexGuard<'a, Writer>,
        now: Duration,
    ) -> Result<MutexGuard<'a, Writer>> {
        // 1. Hand everything to the operating system.
        if let Err(error) = self.write_log(&mut writer) {
            sometimes!("upkeep/background-write-failed");
            if !self.health.is_poisoned() {
                sometimes!("upkeep/background-write-tried-again-later");
                writer.disk_full = true;
                self.note_leftovers(&writer);
                self.schedule.clear_sync();
                self.schedule
                    .want_sync(Level::Async, || now.saturating_add(self.policy.async_interval));
                planted!(RetryUnscheduled => self.schedule.clear_sync());
            }
            return Err(error);
        }
        writer.disk_full = false;
        // 2. Sync it. What is committed meanwhile waits for the next one.
        let point = writer.journal.sync_point(writer.batched);
        self.schedule.clear_sync();
        drop(writer);
        self.sync_now(&point).inspect_err(|_| sometimes!("upkeep/background-sync-failed"))?;
        self.schedule.note_synced(self.store.clock().monotonic());
        Ok(self.writer.lock_for_upkeep())
    }

    /// Syncs what is published; where nobody can tell whose the directory is, once more after the
    /// interval.
    fn sync_now(&self, point: &SyncPoint) -> Result<()> {
        let synced = self.gate.sync(point, &self.health);
        if synced.is_err() && !self.health.is_poisoned() {
            sometimes!("upkeep/sync-tried-again-later");
            let now = self.store.clock().monotonic();
            let due = || now.saturating_add(self.policy.async_interval);
            if self.schedule.want_sync(Level::Async, due) {
                self.bell.ring();
            }
        }
        synced
    }

    /// After a sync and a while without commits: a record that attests the sync, so that the
    /// doubt about the last group is short.
    fn watermark_if_idle(&self, writer: &mut Writer) -> Result<()> {
        let now = self.store.clock().monotonic();
        let idle = Duration::from_millis(self.options.idle_watermark_ms);
        if writer.disk_full || !self.schedule.take_watermark(now, idle) {
            return Ok(());
        }
        if !self.has_room_for_note(writer) {
            sometimes!("upkeep/no-room-for-a-watermark");
            return Ok(());
        }
        sometimes!("upkeep/watermark");
        self.append_note(writer, RecordKind::Watermark)
    }

    /// Whether the segment takes another record without payload. If not, the next commit
    /// begins a new segment, whose manifest attests this one.
    fn has_room_for_note(&self, writer: &Writer) -> bool {
        writer.journal.session_begun()
            && !writer.journal.needs_rotation(RECORD_BYTES_MIN, &self.options)
    }

    /// Appends and writes a record that is no commit. On a full disk it leaves nothing.
    fn append_note(&self, writer: &mut Writer, kind: RecordKind) -> Result<()> {
        let mark = writer.journal.log().mark();
        let head = writer.head(kind, self.gate.synced());
        writer.journal.writer().append(head, |_| {});
        let head = writer.head(kind, self.gate.synced());
        if !planted!(NoteNotPadded) {
            writer.journal.writer().pad(head);
        }
        let written = self.write_log(writer);
        if written.is_err() && !self.health.is_poisoned() {
            sometimes!("upkeep/note-taken-back");
            writer.journal.writer().truncate_to(mark);
            writer.disk_full = mark > 0;
        }
        written
    }

    /// Whether a reader was told that something has expired, and the log would not know it (C11).
    fn owes_floor(&self, writer: &Writer) -> bool {
        self.store.shown_ms() > writer.logged_ms && !planted!(FloorNotLoggedWhenShown)
    }

    /// Whether what outlives a close may tell a reader that something has expired, likewise.
    fn pins_may_show(&self, writer: &Writer) -> bool {
        !planted!(ShownAfterCloseForgotten) && self.store.pins_may_show(writer.logged_ms)
    }

    /// Logs the engine's time, so that what has expired by now stays gone.
    fn append_clock_floor(&self, writer: &mut Writer) -> Result<()> {
        self.read_time(writer);
        if writer.journal.needs_rotation(RECORD_BYTES_MIN, &self.options) {
            sometimes!("upkeep/clock-floor-in-a-new-segment");
            self.rotate(writer)?;
        }
        self.append_note(writer, RecordKind::ClockFloor)?;
        writer.record_ms = writer.last_time_ms;
        writer.note_logged();
        // Until a sync has covered it: whoever asked for it may fail before.
        writer.dirty = true;
        Ok(())
    }

    /// Makes everything acknowledged so far durable, and what was shown as expired stay gone: for
    /// the latter alone a session begins, if that is what it takes. The time is logged beyond that,
    /// if there is room.
    pub(crate) fn flush(&self) -> Result<()> {
        phase!(Flush);
        let mut writer = self.writer.lock_for_upkeep();
        self.health.check()?;
        let owes_floor = self.owes_floor(&writer);
        if !writer.dirty && !owes_floor {
            sometimes!("upkeep/nothing-to-flush");
            return Ok(());
        }
        sometimes!("upkeep/flush-for-a-floor-alone", !writer.dirty);
        self.prepare(&mut writer)?;
        let mut lacks_floor = false;
        match self.append_clock_floor(&mut writer) {
            Err(Error::DiskFull { .. }) if self.needs_no_floor(&writer, owes_floor) => {
                sometimes!("upkeep/flush-without-a-floor");
                lacks_floor = true;
            }
            logged => logged?,
        }
        self.sync_all(&mut writer)?;
        // The next flush tries again.
        writer.dirty = lacks_floor;
        Ok(())
    }

    /// Whether a flush that met a full disk has promised all the same what it must: no commit waits
    /// in memory, and nothing was shown as expired that the log does not know.
    fn needs_no_floor(&self, writer: &Writer, owes_floor: bool) -> bool {
        planted!(FullFlushPassedOver => return !self.health.is_poisoned());
        !owes_floor && writer.journal.log().buffered() == 0 && !self.health.is_poisoned()
    }

    /// Ends the session: everything is written and synced, and the manifest says so.
    ///
    /// The queue takes nothing more by then; what it took is committed first. A leader that
    /// still has its own request in hand is told that the store is closed. On a full disk
    /// everything is as before.
    pub(crate) fn close(&self) -> Result<()> {
        phase!(Close);
        // A step that writes files has ended by then, and none begins.
        let _compactor = self.end_compaction();
        let mut frozen = self.frozen.lock();
        let begun = frozen.as_mut().map(InFlight::start_over).unwrap_or_default();
        let mut writer = loop {
            while self.queue.len() > 0 && self.step() > 0 {}
            let writer = self.writer.lock_for_upkeep();
            // A leader may have put back what did not fit its group.
            if self.queue.len() == 0 || self.health.is_poisoned() || planted!(ClosedInHaste) {
                break writer;
            }
        };
        if !begun.is_empty() {
            sometimes!("upkeep/flush-ended-by-a-close");
            writer.journal.put_orphans(begun);
        }
        self.health.check()?;
        let is_read_only = !writer.journal.session_begun();
        // Snapshots outlive the session.
        let owes_floor = (self.owes_floor(&writer) || self.pins_may_show(&writer))
            && !(is_read_only && planted!(ReadOnlySessionLogsNoFloor));
        if is_read_only && !owes_floor {
            sometimes!("upkeep/nothing-to-close");
            writer.closed = true;
            return Ok(());
        }
        sometimes!("upkeep/session-begun-to-log-a-floor", is_read_only);
        self.prepare(&mut writer)?;
        // In the middle of a rotation that met a full disk, the floor ends it.
        sometimes!("upkeep/closed-in-the-middle-of-a-rotation", writer.journal.is_ended());
        // Whose directory it is, before the first write.
        self.guard(writer.journal.check())?;
        if writer.dirty || owes_floor {
            self.append_clock_floor(&mut writer)?;
        }
        let batched = writer.batched;
        let closed = writer.journal.close(&self.gate, &self.health, batched);
        self.guard(closed).inspect_err(|_| sometimes!("upkeep/close-failed"))?;
        writer.dirty = false;
        writer.closed = true;
        self.schedule.clear();
        Ok(())
    }

    /// One bounded step of maintenance: frees what expired and what no snapshot sees, and
    /// removes files that nothing names.
    pub(crate) fn maintain(&self) -> Result<MaintainReport> {
        self.maintain_with(|| self.compact())
    }

    /// The same, where another thread merges.
    pub(crate) fn maintain_without_merges(&self) -> Result<MaintainReport> {
        let report = self.maintain_with(|| Ok(Progress::default()))?;
        if self.wants_compaction() {
            self.merge_bell.ring_if_idle();
        }
        Ok(report)
    }

    /// A step of merging alone. Returns whether there is more to do at once.
    pub(crate) fn merge(&self) -> Result<bool> {
        phase!(Maintenance);
        let began = self.store.clock().monotonic();
        let stepped = self.compact();
        self.pace.note_busy(self.store.clock().monotonic().saturating_sub(began));
        stepped.map(|progress| progress.more)
    }

    fn maintain_with(&self, compact: impl Fn() -> Result<Progress>) -> Result<MaintainReport> {
        phase!(Maintenance);
        let mut report = MaintainReport::default();
        let began = self.store.clock().monotonic();
        let flushed = self.flush_memtable();
        // What is freed below may be the room that these want.
        if let Err(error) = &flushed
            && !error.is_retryable()
        {
            return flushed.map(|()| report);
        }
        let compacted = compact();
        self.pace.note_busy(self.store.clock().monotonic().saturating_sub(began));
        let keys_max = self.options.steps.maintain_keys_max;
        let now_ms = self.store.clock().now_ms();
        if self.store.next_expiry_ms().is_some_and(|expiry| expiry <= now_ms) {
            let mut writer = self.writer.lock_for_upkeep();
            self.health.check()?;
            // The floor is in the log before anything that expired leaves memory.
            planted!(RefusedTimeLogged => writer.logged_ms = writer.last_time_ms);
            planted!(FloorOnlyIfDirty => if !writer.dirty { writer.logged_ms = now_ms });
            if writer.logged_ms < now_ms {
                sometimes!("upkeep/clock-floor-before-expiry");
                self.prepare(&mut writer)?;
                self.append_clock_floor(&mut writer)?;
                self.note_unsynced(&mut writer);
            }
            let floor = writer.logged_ms;
            drop(writer);
            let (freed, left) = self.store.expire(floor, keys_max);
            sometimes!("upkeep/expired-kept-for-a-pin", left > 0);
            report.freed += if planted!(ExpiredNotReported) { 0 } else { freed };
            report.left += left;
        }
        let (freed, left) = self.apply_removals()?;
        report.freed += freed;
        report.left += left;
        let (freed, left) = self.store.collect_garbage(keys_max);
        report.freed += freed;
        planted!(LeftReplaced => report.left = 0);
        report.left += left + self.store.collect_records(keys_max);
        let superseded = left;
        let (removed, left) = self.remove_orphans()?;
        report.files_removed = removed;
        flushed?;
        let Progress { more, retired } = compacted?;
        {
            // No group is under way that needs them.
            let _writer = self.writer.lock_for_upkeep();
            self.runs.forget_some(0);
        }
        // Behind what may make room for it.
        let (dropped, more_runs) = self.retain()?;
        report.runs_dropped = dropped;
        if dropped > 0 {
            // Their drop has committed what was in the queue beside it.
            let now = self.store.superseded_key_count();
            report.left += now.saturating_sub(superseded);
        }
        report.more = more || more_runs || self.flushes_next();
        let wants_more = report.more || self.wants_flush() || self.wants_compaction();
        report.left += left + retired + usize::from(wants_more);
        Ok(report)
    }

    /// Whether there is, or will be, something for maintenance to do.
    pub(crate) fn wants_maintenance(&self) -> bool {
        self.store.wants_maintenance()
            || self.leftovers.load(Ordering::Relaxed)
            || self.wants_flush()
            || self.wants_compaction()
            || self.wants_retention()
    }

    /// A record without a commit waits for a sync, as an asynchronous commit does.
    fn note_unsynced(&self, writer: &mut Writer) {
        writer.dirty = true;
        let due = || self.store.clock().monotonic().saturating_add(self.policy.async_interval);
        if self.schedule.want_sync(Level::Async, due) {
            self.bell.ring();
        }
    }

    /// Removes files of this store that a failed step has left. Returns how many, and how many
    /// could not be removed.
    fn remove_orphans(&self) -> Result<(usize, usize)> {
        // A close waits until they are gone.
        let _step = self.compactor.lock();
        let mut writer = self.writer.lock_for_upkeep();
        self.health.check()?;
        planted!(FenceCollected => writer.journal.remove_fence());
        if !writer.journal.has_orphans() || planted!(OrphansKept) {
            return Ok((0, 0));
        }
        // Not before this opening has replaced the manifest (decision 0009).
        planted!(OrphansForgotten => self.forget_orphans(&mut writer)?);
        self.prepare(&mut writer)?;
        let orphans = writer.journal.take_orphans();
        let place = Arc::clone(writer.journal.place());
        // Another owner may use the same names.
        let owned = place.check_owner().map_err(WriteFailure::of_a_look);
        self.guard(owned).inspect_err(|_| writer.journal.put_orphans(orphans.clone()))?;
        drop(writer);
        let (mut removed, mut left) = (0, Vec::new());
        for orphan in orphans {
            match place.remove_left(orphan) {
                Ok(true) => removed += 1,
                Ok(false) => sometimes!("upkeep/orphan-already-gone"),
                Err(_) => left.push(orphan),
            }
        }
        let count = left.len();
        sometimes!("upkeep/orphan-removed", removed > 0);
        if count > 0 {
            sometimes!("upkeep/orphan-not-removed");
            self.writer.lock_for_upkeep().journal.put_orphans(left);
        }
        Ok((removed, count))
    }
}
