//! The leader's steps: one group of commits, in the order that the disk sees them.
//!
//! Invariants:
//! 1. The log's order is the commit order: versions are assigned once, under the writer's
//!    lock, as records are encoded.
//! 2. Log, then memtable, then published: nothing is shown that is not in the log.
//! 3. A group has one outcome. If its write meets a full disk, it leaves neither record nor
//!    version; if its write or sync fails, the database is poisoned and nothing of the group
//!    is ever shown.
//! 4. Groups do not overlap: one is published or failed before the next begins.
//! 5. A commit's time is read after its request was taken, so it is never before its call began.

use std::collections::VecDeque;

use super::admission::Overlay;
use super::compactor::Compactor;
use super::counting::Counted;
use super::frozen::InFlight;
use super::gate::{Health, SyncGate};
use super::group::{Accepted, Answers, Group};
use super::journal::ALL_PUBLISHED;
use super::pace::Pace;
use super::queue::{Changes, Committed, Pending, Queue, Request};
use super::schedule::Schedule;
use super::writer::{Writer, WriterLock};
use crate::codec::change::{self, Change, NEVER};
use crate::commit::bell::Bell;
use crate::commit::troubles::Troubles;
use crate::effect::{Effect, effect};
use crate::error::{Error, Result};
use crate::failure::WriteFailure;
use crate::log::record::{RecordKind, record_bytes};
use crate::memory::Shares;
use crate::options::{Level, Options, SyncPolicy};
use crate::place::Place;
use crate::removals::Removals;
use crate::runs::{HotRun, RunChange, RunTracker, Touch};
use crate::store::{Applying, UnifiedStore};
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, Ordering, yield_now};
use crate::types::Timestamp;

/// Everything of an open database that writes.
#[derive(Debug)]
pub(crate) struct Pipeline {
    pub(crate) place: Arc<Place>,
    pub(crate) options: Options,
    pub(crate) policy: SyncPolicy,
    pub(crate) shares: Shares,
    pub(crate) queue: Queue,
    pub(crate) writer: WriterLock,
    pub(crate) gate: SyncGate,
    pub(crate) health: Health,
    pub(crate) store: UnifiedStore,
    pub(crate) runs: RunTracker,
    /// Of who calls `tick`, and all else that has no bell of its own.
    pub(crate) bell: Bell,
    /// Of who flushes, where another thread ticks; and of who merges, where another one flushes.
    pub(crate) flush_bell: Bell,
    pub(crate) merge_bell: Bell,
    pub(crate) troubles: Troubles,
    /// There is something that only maintenance can clear away.
    pub(crate) leftovers: AtomicBool,
    pub(crate) schedule: Schedule,
    /// The memory in use when the store was opened.
    pub(crate) memory_at_opening: u64,
    /// The memtable that is being flushed; held by whoever flushes.
    pub(crate) frozen: Mutex<Option<InFlight>>,
    /// Held by whoever merges.
    pub(crate) compactor: Mutex<Compactor>,
    pub(crate) pace: Pace,
    /// The removals that are in tables up to a version, while there are newer ones.
    pub(crate) removals_in_tables: Mutex<Option<(u64, Arc<Removals>)>>,
    /// Runs that ended before this were dropped by the retention; held by whoever is at it.
    pub(crate) retained: Mutex<Option<Timestamp>>,
    /// The version at the last step of compaction: if there is no later one, the store is idle.
    pub(crate) seen_version: AtomicU64,
    /// The same at the last step of flushes, which may be on another thread.
    pub(crate) flush_seen_version: AtomicU64,
    /// A merge goes on, or what it replaced is still read.
    pub(crate) compacting: AtomicBool,
}

impl Pipeline {
    /// Commits as many of `pending` as fit a group, the first at least.
    pub(super) fn commit_group(
        &self,
        writer: &mut Writer,
        pending: &mut VecDeque<Pending>,
    ) -> Answers {
        phase!(Commit);
        let accepted = std::mem::take(&mut writer.accepted);
        self.forget_runs(writer);
        let overlay = Overlay::new(writer.hot.id());
        let mut group = Group { accepted, overlay, ..Group::default() };
        // 1. What must be in order before anything is admitted.
        if let Err(error) = self.prepare(writer) {
            sometimes!("pipeline/group-not-prepared");
            return Answers::all(&mut group, pending, &error);
        }
        // 2. Judge and encode, in commit order, as many as fit.
        // The version of a commit that fails is given again; its time need not be, and must
        // not: a new segment may bear it already.
        let before = writer.last_version;
        self.read_time(writer);
        let mark = match self.fill(writer, &mut group, pending) {
            Ok(mark) => mark,
            Err(error) => {
                writer.last_version = before;
                return Answers::all(&mut group, pending, &error);
            }
        };
        let mut answers = Answers::default();
        planted!(PublishedBeforeLogged => self.publish_group(writer, &mut group, &mut answers));
        // 3. Write, and sync if any asks for it.
        let written = match group.level {
            Some(level) => self.make_durable(writer, level, group.batched, mark),
            None => Ok(()),
        };
        if let Err(failure) = written {
            let error = self.undo(writer, before, mark, failure);
            return Answers::all(&mut group, &mut VecDeque::new(), &error);
        }
        // 4. Apply and publish, all at once, in the order of the log.
        sometimes!("pipeline/group-of-several", group.accepted.len() > 1);
        sometimes!("pipeline/group-all-refused", group.accepted.is_empty());
        self.publish_group(writer, &mut group, &mut answers);
        for (reply, error) in group.refused {
            answers.add(reply, Err(error));
        }
        writer.accepted = group.accepted;
        answers
    }

    fn publish_group(&self, writer: &mut Writer, group: &mut Group, answers: &mut Answers) {
        if group.accepted.is_empty() {
            return;
        }
        let Writer { hot, last_version, last_time_ms, .. } = writer;
        self.store.publish(*last_version, |memory| {
            for accepted in group.accepted.drain(..) {
                let Accepted { version, time_ms, changes, previous, reply } = accepted;
                let time_ms =
                    if planted!(GroupShownAtItsLastTime) { *last_time_ms } else { time_ms };
                self.apply(memory, changes, version, time_ms, hot);
                answers.add(reply, Ok(Committed { version, previous }));
            }
        });
        self.ask_for_flush();
    }

    /// The same steps for a commit that meets no other: most do, and pay for no group.
    pub(super) fn commit_alone(&self, writer: &mut Writer, request: Request) -> Result<Committed> {
        phase!(Commit);
        // 1. What must be in order before it is admitted.
        self.prepare(writer)?;
        // 2. Judge and encode.
        let before = writer.last_version;
        self.read_time(writer);
        self.forget_runs(writer);
        let mut overlay = Overlay::new(writer.hot.id());
        let mut counted = Counted::default().behind(&request, self.known())?;
        self.admit(&mut overlay, &request, &mut self.budget(), &mut false)?;
        if writer.journal.needs_rotation(record_bytes(request.payload_bytes_max), &self.options) {
            self.rotate(writer)?;
        }
        let mark = writer.journal.log().mark();
        let Request { mut changes, level, want_previous, .. } = request;
        let previous = self.previous(&[], &changes, want_previous, writer.last_time_ms)?;
        counted.note_in(&mut changes);
        let version = self.encode(writer, &mut changes);
        self.pad(writer);
        // 3. Write, and sync if it asks for it.
        let batched = u64::from(level == Level::Batched);
        if let Err(failure) = self.make_durable(writer, level, batched, mark) {
            sometimes!("pipeline/lone-commit-failed");
            planted!(PublishedThoughFailed => self.show(writer, changes, version, &failure));
            return Err(self.undo(writer, before, mark, failure));
        }
        // 4. Apply and publish.
        let Writer { hot, last_time_ms, .. } = writer;
        self.store.publish(version, |memory| {
            self.apply(memory, changes, version, *last_time_ms, hot);
        });
        self.ask_for_flush();
        Ok(Committed { version, previous })
    }

    /// The engine's time now, for what was taken before: times in the log never fall.
    pub(crate) fn read_time(&self, writer: &mut Writer) {
        writer.last_time_ms = writer.last_time_ms.max(self.store.clock().now_ms());
    }

    /// Brings the log into a state in which records may be appended.
    pub(crate) fn prepare(&self, writer: &mut Writer) -> Result<()> {
        if writer.closed {
            sometimes!("pipeline/closed");
            return Err(Error::Closed);
        }
        self.health.check()?;
        // Published commits that a full disk kept in the buffer come first.
        if writer.disk_full {
            let _forgot = planted!(FullDiskForgotten) && std::mem::take(&mut writer.disk_full);
            self.write_log(writer)?;
            sometimes!("pipeline/buffer-written-at-last");
            writer.disk_full = false;
        }
        // The epoch is durable before its first commit.
        if !writer.journal.session_begun() {
            self.guard(writer.journal.begin_session())?;
        }
        // No more than twice the batch size is ever unsynced.
        if self.unsynced_batched(writer) >= self.policy.unsynced_max() {
            self.gate.wait_for_running();
            sometimes!("pipeline/twice-the-batch-unsynced");
            self.health.check()?;
            if self.unsynced_batched(writer) >= self.policy.unsynced_max() {
                sometimes!("pipeline/leader-syncs-itself");
                self.sync_all(writer)?;
            }
        }
        Ok(())
    }

    /// How many commits that count towards a batch are not synced.
    pub(crate) fn unsynced_batched(&self, writer: &Writer) -> u64 {
        writer.batched.saturating_sub(self.gate.synced_batched())
    }

    /// Hands the buffer to the operating system.
    pub(crate) fn write_log(&self, writer: &mut Writer) -> Result<()> {
        let (gate, health) = (&self.gate, &self.health);
        self.guard(writer.journal.write_buffer(gate, health, writer.batched, ALL_PUBLISHED))
    }

    /// Writes the buffer and syncs, under the writer's lock.
    pub(crate) fn sync_all(&self, writer: &mut Writer) -> Result<()> {
        self.write_log(writer)?;
        self.gate.sync(&writer.journal.sync_point(writer.batched), &self.health)?;
        self.note_synced();
        Ok(())
    }

    /// Everything written was synced just now: after a while the log wants a record that
    /// attests it.
    pub(crate) fn note_synced(&self) {
        let now = self.store.clock().monotonic();
        self.schedule.clear_sync();
        if self.schedule.note_synced(now) {
            self.bell.ring();
        }
    }

    /// Whether there is something for maintenance besides what the store knows.
    pub(crate) fn note_leftovers(&self, writer: &Writer) {
        let leftovers = writer.journal.has_orphans() || writer.disk_full;
        self.leftovers.store(leftovers, Ordering::Relaxed);
    }

    /// Admits and encodes requests until the group, the batch or the segment is full. What
    /// does not fit stays in `pending`. Returns the mark before the group's first record.
    fn fill(
        &self,
        writer: &mut Writer,
        group: &mut Group,
        pending: &mut VecDeque<Pending>,
    ) -> Result<usize> {
        let mut budget = self.budget();
        let mut collected = false;
        let mut mark = writer.journal.log().mark();
        let room = self.policy.unsynced_max().saturating_sub(self.unsynced_batched(writer));
        let (has_company, over) = (writer.last_group > 1, u64::from(planted!(BatchLimitOffByOne)));
        loop {
            let waits = has_company && group.level == Some(Level::Strict);
            let Some(next) = self.next(writer, pending, waits) else { break };
            let Pending { request, .. } = &next;
            let bytes = record_bytes(request.payload_bytes_max);
            let encoded = (writer.journal.log().mark() - mark) as u64;
            let is_full = group.accepted.len() >= self.options.group_commits_max
                || (encoded > 0 && encoded + bytes > self.options.group_bytes_max)
                || (request.level == Level::Batched && group.batched >= room.max(1) + over);
            let must_rotate = writer.journal.needs_rotation(bytes, &self.options);
            if is_full || (must_rotate && !group.accepted.is_empty()) {
                sometimes!("pipeline/group-cut", is_full);
                sometimes!("pipeline/group-ends-its-segment", !is_full);
                pending.push_front(next);
                break;
            }
            let verdict = group.counted.behind(request, self.known()).and_then(|counted| {
                self.admit(&mut group.overlay, request, &mut budget, &mut collected)?;
                Ok(counted)
            });
            let mut counted = match verdict {
                Ok(counted) => counted,
                Err(error) => {
                    writer.last_version += u64::from(planted!(RefusalTakesVersion));
                    group.refused.push((next.reply, error));
                    continue;
                }
            };
            if must_rotate {
                if let Err(error) = self.rotate(writer) {
                    sometimes!("pipeline/rotation-failed");
                    pending.push_front(next);
                    return Err(error);
                }
                mark = writer.journal.log().mark();
            }
            let Pending { request: Request { mut changes, level, want_previous, .. }, reply } =
                next;
            match self.previous(&group.accepted, &changes, want_previous, writer.last_time_ms) {
                Err(error) => group.refused.push((reply, error)),
                Ok(previous) => {
                    counted.note_in(&mut changes);
                    group.counted.accept(counted);
                    let version = self.encode(writer, &mut changes);
                    group.batched += u64::from(level == Level::Batched);
                    group.level = group.level.max(Some(level));
                    let time_ms = writer.last_time_ms;
                    group.accepted.push(Accepted { version, time_ms, changes, previous, reply });
                }
            }
        }
        if !group.accepted.is_empty() {
            self.pad(writer);
            writer.last_group = group.accepted.len();
        }
        Ok(mark)
    }

    /// Ends the group at a sector, if the options ask for it.
    fn pad(&self, writer: &mut Writer) {
        let head = writer.head(RecordKind::Padding, self.gate.synced());
        writer.journal.writer().pad(head);
    }

    /// Ends the segment, with everything in it synced, and goes on in a new one.
    pub(crate) fn rotate(&self, writer: &mut Writer) -> Result<()> {
        let last = (writer.last_version, writer.last_time_ms);
        let (gate, health) = (&self.gate, &self.health);
        let rotated = writer.journal.rotate(gate, health, writer.batched, last, &self.options);
        // Published commits may wait in the buffer: until they are written, none follows.
        writer.disk_full = rotated.is_err() && writer.journal.log().buffered() > 0;
        sometimes!("pipeline/rotation-left-commits-buffered", writer.disk_full);
        self.guard(rotated)?;
        self.pace.note_log(writer.journal.ended());
        self.note_synced();
        Ok(())
    }

    /// The next that waits. What came while the group was encoded still belongs to it, with a
    /// time of its own: its call may have begun after the group's was read.
    ///
    /// Before a sync, threads that the last group has woken and that did not yet run get the
    /// processor once, as long as more come by that: to wait is cheaper for them than another
    /// sync, and takes as long as they run.
    fn next(
        &self,
        writer: &mut Writer,
        pending: &mut VecDeque<Pending>,
        waits: bool,
    ) -> Option<Pending> {
        if pending.is_empty() {
            self.queue.take(pending);
            if pending.is_empty() && waits {
                yield_now();
                self.queue.take(pending);
            }
            if !pending.is_empty() && !planted!(LateComersBearGroupTime) {
                self.read_time(writer);
            }
        }
        pending.pop_front()
    }

    /// Gives admitted changes their version and their record.
    fn encode(&self, writer: &mut Writer, changes: &mut Changes) -> u64 {
        for change in changes.as_mut_slice() {
            if let Change::Put { expiry_ms, .. } = change {
                *expiry_ms = absolute_expiry(writer.last_time_ms, *expiry_ms);
            }
        }
        writer.last_version += 1;
        writer.record_ms = writer.last_time_ms;
        let head = writer.head(RecordKind::Commit, self.gate.synced());
        writer.journal.writer().append(head, |out| change::encode(out, changes.as_slice()));
        head.version
    }

    /// Hands a group to the operating system and syncs it, as far as its level asks.
    /// It begins at `mark`; `batched` of its commits count towards a batch.
    fn make_durable(
        &self,
        writer: &mut Writer,
        level: Level,
        batched: u64,
        mark: usize,
    ) -> std::result::Result<(), WriteFailure> {
        let overfull = writer.journal.log().buffered() > self.options.log_buffer_bytes_max;
        sometimes!("pipeline/buffer-overfull", overfull && level == Level::Async);
        if level > Level::Async || overfull {
            writer.journal.write_buffer(&self.gate, &self.health, writer.batched, mark)?;
        }
        writer.batched += batched;
        writer.note_logged();
        writer.dirty = !planted!(SyncCountsAsFlush) || level < Level::Strict;
        if level == Level::Strict && !planted!(AcknowledgedBeforeDurable) {
            let point = writer.journal.sync_point(writer.batched);
            // Here a look at the owner that fails poisons, too: the records are in the file, their
            // callers are told that nobody knows, and to cut them off would be to write to what may
            // be another's.
            self.gate.sync(&point, &self.health).map_err(WriteFailure::Failed)?;
            self.note_synced();
            return Ok(());
        }
        // A full batch is written: the next tick syncs it while commits go on.
        let covered = writer.asked.max(self.gate.synced_batched());
        if batched > 0 && writer.batched >= covered.saturating_add(self.policy.batch_size) {
            writer.asked = writer.batched;
            sometimes!("pipeline/batch-full");
            self.gate.ask(writer.journal.sync_point(writer.batched));
            self.schedule.clear_sync();
            self.bell.ring();
            return Ok(());
        }
        let interval = match level {
            Level::Batched => self.policy.batched_interval.min(self.policy.async_interval),
            _ => self.policy.async_interval,
        };
        let due = || self.store.clock().monotonic().saturating_add(interval);
        if self.schedule.want_sync(level, due) {
            self.bell.ring();
        }
        Ok(())
    }

    /// Applies the changes of one commit to memory.
    pub(super) fn apply(
        &self,
        memory: &mut Applying<'_>,
        changes: Changes,
        version: u64,
        time_ms: u64,
        hot: &mut HotRun,
    ) {
        let mut nth = 0;
        changes.for_each(|change| {
            match effect(change, nth, version, time_ms) {
                Effect::Key(applied) => {
                    self.runs.touch_key(&applied, hot);
                    memory.apply(applied);
                }
                Effect::Run(run_change) => self.apply_to_runs(memory, run_change, hot),
                Effect::Remove(removal) => {
                    let at = (version, time_ms);
                    self.runs.touch(removal.from.run(), at, Touch::Other, hot);
                    memory.remove(removal);
                }
                Effect::Count(run, keys) => self.runs.set_keys(run, keys, hot),
                Effect::Drop(run_change, removal) => {
                    self.apply_to_runs(memory, run_change, hot);
                    memory.remove(removal);
                }
            }
            nth += 1;
        });
    }

    /// Of the runs that ended, few are remembered: after a change of one, before the next group.
    fn forget_runs(&self, writer: &Writer) {
        if writer.hot.id().is_none() {
            self.runs.forget_some(self.options.steps.remembered_runs_max);
        }
    }

    fn apply_to_runs(&self, memory: &mut Applying<'_>, change: RunChange, hot: &mut HotRun) {
        let applied = self.runs.apply(change, hot);
        applied.into_iter().for_each(|applied| memory.apply_record(applied));
    }
}

/// The moment that is `ttl_ms` from now; a time to live beyond the end of time means never.
fn absolute_expiry(now_ms: u64, ttl_ms: u64) -> u64 {
    let ttl_ms =
        if planted!(TtlTruncated) && ttl_ms < NEVER { ttl_ms & 0xffff_ffff } else { ttl_ms };
    let beyond =
        if planted!(TtlWraps) && ttl_ms < NEVER { now_ms.wrapping_add(ttl_ms) } else { NEVER };
    now_ms.checked_add(ttl_ms).unwrap_or(beyond)
}
