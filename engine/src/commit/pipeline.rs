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

use std::collections::VecDeque;
use std::time::Duration;

use super::admission::{Budget, Overlay};
use super::gate::{Health, SyncGate};
use super::journal::Journal;
use super::queue::{Changes, Committed, Queue, Reply, Request, TicketState, Woken};
use crate::codec::change::{self, Change, NEVER};
use crate::error::{Error, Result};
use crate::log::record::{RecordHead, RecordKind, record_bytes};
use crate::log::writer::WriteFailure;
use crate::options::{Level, Options, SyncPolicy};
use crate::runs::{RunChange, RunTracker};
use crate::shell::Bell;
use crate::store::memtable::Version;
use crate::store::pins::ReadPoint;
use crate::store::{Applied, UnifiedStore};
use crate::sync::{Arc, Mutex};
use crate::types::{PhysicalKey, RunId, Timestamp, VersionedValue};

/// What only the leader and the upkeep steps touch, under one lock.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) journal: Journal,
    /// The version of the last record.
    pub(crate) last_version: u64,
    /// The engine time of the last record; times in the log never fall.
    pub(crate) last_time_ms: u64,
    /// How many commits that count towards a batch were made, ever.
    pub(crate) batched: u64,
    /// When the oldest unsynced commit must be synced, on the monotonic clock.
    pub(crate) sync_due: Option<Duration>,
    /// Since when the log has been synced without a record that attests it.
    pub(crate) unattested_since: Option<Duration>,
    /// Published commits wait in the buffer since the disk was full.
    pub(crate) disk_full: bool,
    /// Something was logged since the last flush.
    pub(crate) dirty: bool,
    /// Reused from group to group.
    touched: Vec<(RunId, u64)>,
}

impl Writer {
    pub(crate) fn new(journal: Journal, last_version: u64, last_time_ms: u64) -> Self {
        Writer {
            journal,
            last_version,
            last_time_ms,
            batched: 0,
            sync_due: None,
            unattested_since: None,
            disk_full: false,
            dirty: false,
            touched: Vec::new(),
        }
    }

    /// The head of the next record.
    pub(crate) fn head(&self, kind: RecordKind, synced: u64) -> RecordHead {
        RecordHead { kind, version: self.last_version, time_ms: self.last_time_ms, synced }
    }
}

/// An accepted commit.
#[derive(Debug)]
struct Accepted {
    version: u64,
    changes: Changes,
    previous: Option<Box<VersionedValue>>,
    reply: Reply,
}

/// The commits that share a write, a sync and an outcome.
#[derive(Debug, Default)]
struct Group {
    accepted: Vec<Accepted>,
    /// Refusals are answered only when the group has its outcome.
    refused: Vec<(Reply, Error)>,
    overlay: Overlay,
    level: Option<Level>,
    batched: u64,
}

/// Requests with their outcomes.
type Answers = Vec<(Reply, Result<Committed>)>;

/// Everything of an open database that writes.
#[derive(Debug)]
pub(crate) struct Pipeline {
    pub(crate) options: Options,
    pub(crate) policy: SyncPolicy,
    pub(crate) queue: Queue,
    pub(crate) writer: Mutex<Writer>,
    pub(crate) gate: SyncGate,
    pub(crate) health: Health,
    pub(crate) store: UnifiedStore,
    pub(crate) runs: RunTracker,
    pub(crate) bell: Bell,
}

/// Poisons if the thread panics, so that a bug in a step cannot be followed by a write.
struct PanicGuard<'a>(&'a Health);

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.poison(&Error::invalid("a thread panicked while it committed"));
        }
    }
}

/// Hands the lead over, also if the leader panics.
struct Lead<'a>(&'a Queue);

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        self.0.hand_over();
    }
}

impl Pipeline {
    /// Commits and waits for the outcome.
    pub(crate) fn commit(&self, ticket: &Arc<TicketState>, request: Request) -> Result<Committed> {
        let lead = self.queue.push(request, true)?;
        self.finish(ticket, lead)
    }

    /// Adds a commit to the queue without waiting; works off a full queue first.
    pub(crate) fn enqueue(&self, request: Request) -> Result<()> {
        while self.queue.len() >= self.options.queue_commits_max {
            self.step();
        }
        self.queue.push(request, false)?;
        self.bell.ring();
        Ok(())
    }

    /// Waits for a ticket that was enqueued before.
    pub(crate) fn wait(&self, ticket: &TicketState) -> Result<Committed> {
        if !ticket.is_answered() {
            let lead = self.queue.join(ticket);
            return self.finish(ticket, lead);
        }
        take(ticket)
    }

    fn finish(&self, ticket: &TicketState, mut lead: bool) -> Result<Committed> {
        loop {
            if lead {
                let _lead = Lead(&self.queue);
                while !ticket.is_answered() {
                    self.step();
                }
            } else if let Woken::Promoted = ticket.wait() {
                lead = true;
                continue;
            }
            return take(ticket);
        }
    }

    /// Commits one group of what waits; returns how many requests were answered.
    pub(crate) fn step(&self) -> usize {
        let mut writer = self.writer.lock();
        let pending = self.queue.take();
        if pending.is_empty() {
            return 0;
        }
        let guard = PanicGuard(&self.health);
        let (rest, answers) = self.commit_group(&mut writer, pending);
        self.queue.put_back(rest);
        drop(guard);
        drop(writer);
        let answered = answers.len();
        for (reply, outcome) in answers {
            reply.answer(outcome);
        }
        answered
    }

    fn commit_group(
        &self,
        writer: &mut Writer,
        mut pending: VecDeque<Request>,
    ) -> (VecDeque<Request>, Answers) {
        // 1. What must be in order before anything is admitted.
        if let Err(error) = self.prepare(writer) {
            return (VecDeque::new(), answer_all(Group::default(), pending, &error));
        }
        // 2. Judge and encode, in commit order, as many as fit.
        // The version of a commit that fails is given again; its time need not be, and must
        // not: a new segment may bear it already.
        let before = writer.last_version;
        writer.last_time_ms = writer.last_time_ms.max(self.store.clock().now_ms());
        let mut group = Group::default();
        let mark = match self.fill(writer, &mut group, &mut pending) {
            Ok(mark) => mark,
            Err(error) => {
                writer.last_version = before;
                return (VecDeque::new(), answer_all(group, pending, &error));
            }
        };
        // 3. Write, and sync if any asks for it.
        if let Err(failure) = self.make_durable(writer, &group) {
            let error = match failure {
                WriteFailure::Full(error) => {
                    // Neither record nor version stays; what was published before does.
                    writer.journal.writer().truncate_to(mark);
                    if !planted!(VersionKeptAfterFullDisk) {
                        writer.last_version = before;
                    }
                    writer.disk_full = writer.journal.log().buffered() > 0;
                    error
                }
                WriteFailure::Failed(error) => {
                    Error::OutcomeUnknown { reason: self.health.poison(&error) }
                }
            };
            return (pending, answer_all(group, VecDeque::new(), &error));
        }
        // 4. Apply and publish.
        self.publish(writer, &mut group);
        let mut answers: Answers = Vec::with_capacity(group.accepted.len() + group.refused.len());
        for Accepted { version, previous, reply, .. } in group.accepted {
            answers.push((reply, Ok(Committed { version, previous })));
        }
        answers.extend(group.refused.into_iter().map(|(reply, error)| (reply, Err(error))));
        (pending, answers)
    }

    /// Brings the log into a state in which records may be appended.
    pub(crate) fn prepare(&self, writer: &mut Writer) -> Result<()> {
        self.health.check()?;
        // Published commits that a full disk kept in the buffer come first.
        if writer.disk_full {
            self.write_log(writer)?;
            writer.disk_full = false;
        }
        // The epoch is durable before its first commit.
        if !writer.journal.session_begun() {
            self.guard(writer.journal.begin_session())?;
        }
        // No more than twice the batch size is ever unsynced.
        if self.unsynced_batched(writer) >= 2 * self.policy.batch_size {
            self.gate.wait_for_running();
            self.health.check()?;
            if self.unsynced_batched(writer) >= 2 * self.policy.batch_size {
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
        self.guard(writer.journal.write_buffer(gate, health, writer.batched))
    }

    /// Writes the buffer and syncs, under the writer's lock.
    pub(crate) fn sync_all(&self, writer: &mut Writer) -> Result<()> {
        self.write_log(writer)?;
        self.gate.sync(&writer.journal.sync_point(writer.batched), &self.health)?;
        writer.sync_due = None;
        self.note_synced(writer);
        Ok(())
    }

    /// The log was synced just now: after a while it wants a record that attests it.
    pub(crate) fn note_synced(&self, writer: &mut Writer) {
        if writer.unattested_since.is_none() {
            self.bell.ring();
        }
        writer.unattested_since = Some(self.store.clock().monotonic());
    }

    /// A full disk is an error to report; any other failure poisons.
    pub(crate) fn guard(&self, outcome: std::result::Result<(), WriteFailure>) -> Result<()> {
        match outcome {
            Ok(()) => Ok(()),
            Err(WriteFailure::Full(error)) => Err(error),
            Err(WriteFailure::Failed(error)) => {
                self.health.poison(&error);
                self.health.check()
            }
        }
    }

    /// Admits and encodes requests until the group, the batch or the segment is full. What
    /// does not fit stays in `pending`. Returns the mark before the group's first record.
    fn fill(
        &self,
        writer: &mut Writer,
        group: &mut Group,
        pending: &mut VecDeque<Request>,
    ) -> Result<usize> {
        let mut budget = self.budget();
        let mut collected = false;
        let mut mark = writer.journal.log().mark();
        let room = (2 * self.policy.batch_size).saturating_sub(self.unsynced_batched(writer));
        while let Some(request) = pending.pop_front() {
            let bytes = record_bytes(request.payload_bytes_max);
            let encoded = (writer.journal.log().mark() - mark) as u64;
            let is_full = group.accepted.len() >= self.options.group_commits_max
                || (encoded > 0 && encoded + bytes > self.options.group_bytes_max)
                || (request.level == Level::Batched && group.batched >= room.max(1));
            let must_rotate = writer.journal.needs_rotation(bytes, &self.options);
            if is_full || (must_rotate && !group.accepted.is_empty()) {
                pending.push_front(request);
                break;
            }
            let mut verdict = group.overlay.admit(&request, &self.runs, budget);
            if matches!(verdict, Err(Error::MemtableFull { .. })) && !collected {
                collected = true;
                self.store.collect_garbage(self.options.group_commits_max);
                budget = self.budget();
                verdict = group.overlay.admit(&request, &self.runs, budget);
            }
            if let Err(error) = verdict {
                group.refused.push((request.reply, error));
                continue;
            }
            if must_rotate {
                if let Err(error) = self.rotate(writer) {
                    pending.push_front(request);
                    return Err(error);
                }
                mark = writer.journal.log().mark();
            }
            self.encode(writer, group, request);
        }
        if !group.accepted.is_empty() {
            let head = writer.head(RecordKind::Padding, self.gate.synced());
            writer.journal.writer().pad(head);
        }
        Ok(mark)
    }

    /// Ends the segment, with everything in it synced, and goes on in a new one.
    pub(crate) fn rotate(&self, writer: &mut Writer) -> Result<()> {
        let last = (writer.last_version, writer.last_time_ms);
        let (gate, health) = (&self.gate, &self.health);
        let rotated = writer.journal.rotate(gate, health, writer.batched, last, &self.options);
        // Published commits may wait in the buffer: until they are written, none follows.
        writer.disk_full = rotated.is_err() && writer.journal.log().buffered() > 0;
        self.guard(rotated)?;
        writer.sync_due = None;
        self.note_synced(writer);
        Ok(())
    }

    fn budget(&self) -> Budget {
        Budget {
            used: self.store.memory_bytes() + self.runs.memory_bytes(),
            max: self.options.memtable_bytes_max,
        }
    }

    /// Gives an admitted request its version and its record.
    fn encode(&self, writer: &mut Writer, group: &mut Group, request: Request) {
        let Request { mut changes, level, want_previous, reply, .. } = request;
        let now_ms = writer.last_time_ms;
        for change in changes.as_mut_slice() {
            if let Change::Put { expiry_ms, .. } = change {
                *expiry_ms = absolute_expiry(now_ms, *expiry_ms);
            }
        }
        let previous = match changes.as_slice() {
            [Change::Delete { key }] if want_previous => {
                match self.visible_before(group, key, now_ms) {
                    Ok(previous) => previous.map(Box::new),
                    Err(error) => return group.refused.push((reply, error)),
                }
            }
            _ => None,
        };
        writer.last_version += 1;
        let head = writer.head(RecordKind::Commit, self.gate.synced());
        writer.journal.writer().append(head, |out| change::encode(out, changes.as_slice()));
        group.batched += u64::from(level == Level::Batched);
        group.level = group.level.max(Some(level));
        group.accepted.push(Accepted { version: head.version, changes, previous, reply });
    }

    /// What is visible of a key just before the next commit of the group.
    fn visible_before(
        &self,
        group: &Group,
        key: &PhysicalKey,
        now_ms: u64,
    ) -> Result<Option<VersionedValue>> {
        for accepted in group.accepted.iter().rev() {
            for change in accepted.changes.as_slice().iter().rev() {
                match change {
                    Change::Put { key: put, value, expiry_ms } if put == key => {
                        if *expiry_ms <= now_ms {
                            return Ok(None);
                        }
                        let value = value.to_value().map_err(|m| {
                            Error::corruption("a commit in memory", 0, m.expected, m.found)
                        })?;
                        return Ok(Some(VersionedValue {
                            value,
                            version: accepted.version,
                            timestamp: Timestamp::from_millis(now_ms),
                            expires_at: (*expiry_ms != NEVER)
                                .then(|| Timestamp::from_millis(*expiry_ms)),
                        }));
                    }
                    Change::Delete { key: deleted } if deleted == key => return Ok(None),
                    _ => {}
                }
            }
        }
        self.store.read(key, Some(ReadPoint { version: u64::MAX, now_ms }))
    }

    /// Hands the group to the operating system and syncs it, as far as its level asks.
    fn make_durable(
        &self,
        writer: &mut Writer,
        group: &Group,
    ) -> std::result::Result<(), WriteFailure> {
        let Some(level) = group.level else { return Ok(()) };
        let overfull = writer.journal.log().buffered() > self.options.log_buffer_bytes_max;
        if level > Level::Async || overfull {
            let (gate, health) = (&self.gate, &self.health);
            writer.journal.write_buffer(gate, health, writer.batched)?;
        }
        writer.batched += group.batched;
        writer.dirty = true;
        if level == Level::Strict && !planted!(AcknowledgedBeforeDurable) {
            let point = writer.journal.sync_point(writer.batched);
            self.gate.sync(&point, &self.health).map_err(WriteFailure::Failed)?;
            writer.sync_due = None;
            self.note_synced(writer);
            return Ok(());
        }
        let interval = match level {
            Level::Batched => self.policy.batched_interval.min(self.policy.async_interval),
            _ => self.policy.async_interval,
        };
        if writer.sync_due.is_none() {
            writer.sync_due = Some(self.store.clock().monotonic() + interval);
            self.bell.ring();
        } else if level == Level::Batched && writer.sync_due.is_some() {
            let due = self.store.clock().monotonic() + interval;
            writer.sync_due = writer.sync_due.map(|old| old.min(due));
        }
        if group.batched > 0 && self.unsynced_batched(writer) >= self.policy.batch_size {
            self.bell.ring();
        }
        Ok(())
    }

    /// Applies the group to memory and makes it visible, all at once.
    fn publish(&self, writer: &mut Writer, group: &mut Group) {
        if group.accepted.is_empty() {
            return;
        }
        let time_ms = writer.last_time_ms;
        let mut run_changes = Vec::new();
        let mut touched = std::mem::take(&mut writer.touched);
        touched.clear();
        let changes = group.accepted.iter_mut().flat_map(|accepted| {
            let changes = std::mem::replace(&mut accepted.changes, Changes::Many(Vec::new()));
            let version = accepted.version;
            changes.into_iter().map(move |change| (version, change))
        });
        let runs = &self.runs;
        let mut ordered = Vec::new();
        let keys = changes.filter_map(|(version, change)| {
            match apply(change, version, time_ms) {
                Ok(applied) => {
                    touched.push((applied.key.run(), version));
                    return Some(applied);
                }
                Err(run_change) => run_changes.push((touched.len(), run_change)),
            }
            None
        });
        ordered.extend(keys);
        self.store.publish(writer.last_version, ordered.into_iter(), || {
            // In the order of the log: a run is touched only while it is active.
            let mut from = 0;
            for (at, change) in run_changes {
                runs.touch(touched.get(from..at).unwrap_or_default().iter().copied());
                runs.apply(change);
                from = at;
            }
            runs.touch(touched.get(from..).unwrap_or_default().iter().copied());
        });
        writer.touched = touched;
    }
}

/// One logged change, as the store or the runs take it.
pub(crate) fn apply(
    change: Change,
    version: u64,
    time_ms: u64,
) -> std::result::Result<Applied, RunChange> {
    match change {
        Change::Put { key, value, expiry_ms } => Ok(Applied {
            key,
            version: Version { version, time_ms, expiry_ms, value: Some(value) },
        }),
        Change::Delete { key } => Ok(Applied {
            key,
            version: Version { version, time_ms, expiry_ms: NEVER, value: None },
        }),
        Change::BeginRun { run, begin } => Err(RunChange::Begin { run, begin, version, time_ms }),
        Change::EndRun { run, status } => Err(RunChange::End { run, status, version, time_ms }),
    }
}

/// The moment that is `ttl_ms` from now; a time to live beyond the end of time means never.
fn absolute_expiry(now_ms: u64, ttl_ms: u64) -> u64 {
    now_ms.checked_add(ttl_ms).unwrap_or(NEVER)
}

fn take(ticket: &TicketState) -> Result<Committed> {
    ticket
        .take()
        .unwrap_or_else(|| Err(Error::invalid("the outcome of this ticket was taken before")))
}

/// The same error for everybody: the group, the refused, and those who wait.
fn answer_all(group: Group, pending: VecDeque<Request>, error: &Error) -> Answers {
    let accepted = group.accepted.into_iter().map(|accepted| accepted.reply);
    let refused = group.refused.into_iter().map(|(reply, _)| reply);
    let waiting = pending.into_iter().map(|request| request.reply);
    accepted.chain(refused).chain(waiting).map(|reply| (reply, Err(error.clone()))).collect()
}
