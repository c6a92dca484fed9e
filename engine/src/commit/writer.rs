//! What only the leader and the upkeep steps touch, and the lock around it.

use std::collections::VecDeque;

use super::group::Accepted;
use super::journal::Journal;
use super::queue::Pending;
use crate::log::record::{RecordHead, RecordKind};
use crate::runs::HotRun;
use crate::sync::{AtomicBool, Mutex, MutexGuard, Ordering};

/// What only the leader and the upkeep steps touch, under one lock.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) journal: Journal,
    /// The version of the last record.
    pub(crate) last_version: u64,
    /// The engine time that the next record is at least of; times in the log never fall. Ahead of
    /// the log where a commit was refused.
    pub(crate) last_time_ms: u64,
    /// The engine time of the last commit or clock floor that was appended.
    pub(crate) record_ms: u64,
    /// The engine time that what was handed to the operating system is known to bear.
    pub(crate) logged_ms: u64,
    /// How many commits that count towards a batch were made, ever.
    pub(crate) batched: u64,
    /// How many of them the last sync that the leader asked for covers.
    pub(crate) asked: u64,
    /// Published commits wait in the buffer since the disk was full.
    pub(crate) disk_full: bool,
    /// Something was logged since the last flush.
    pub(crate) dirty: bool,
    /// The store was closed: a leader that comes late finds that out here.
    pub(crate) closed: bool,
    /// How many commits the last group had.
    pub(crate) last_group: usize,
    /// The run that the last commits went to.
    pub(crate) hot: HotRun,
    /// Their room is used again from group to group.
    pub(crate) accepted: Vec<Accepted>,
    pub(crate) pending: VecDeque<Pending>,
}

impl Writer {
    pub(crate) fn new(journal: Journal, last_version: u64, last_time_ms: u64) -> Self {
        Writer {
            journal,
            last_version,
            last_time_ms,
            record_ms: last_time_ms,
            logged_ms: last_time_ms,
            batched: 0,
            asked: 0,
            disk_full: false,
            dirty: false,
            closed: false,
            last_group: 0,
            hot: HotRun::default(),
            accepted: Vec::new(),
            pending: VecDeque::new(),
        }
    }

    /// Records were appended: their time is logged if none of them waits in the buffer.
    pub(crate) fn note_logged(&mut self) {
        if self.journal.log().mark() == 0 {
            self.logged_ms =
                if planted!(LateTimeLogged) { self.last_time_ms } else { self.record_ms };
        }
    }

    /// The head of the next record.
    pub(crate) fn head(&self, kind: RecordKind, synced: u64) -> RecordHead {
        let synced =
            if planted!(UnsyncedAttested) { self.journal.log().written().at } else { synced };
        let falls = planted!(AttestationFalls) && kind == RecordKind::Commit;
        let synced = if falls && self.last_version.is_multiple_of(3) { 0 } else { synced };
        RecordHead { kind, version: self.last_version, time_ms: self.last_time_ms, synced }
    }
}

/// The writer's lock: leaders take turns with the upkeep steps.
///
/// A lock is free only for moments while a thread commits without a pause, and a thread that
/// sleeps on it would always come too late. So a leader that sees an upkeep step wait lets it
/// pass. It costs a leader one load.
#[derive(Debug)]
pub(crate) struct WriterLock {
    writer: Mutex<Writer>,
    upkeep_waits: AtomicBool,
    /// Held by an upkeep step until it has the writer.
    turn: Mutex<()>,
}

impl WriterLock {
    pub(crate) fn new(writer: Writer) -> Self {
        let (upkeep_waits, turn) = (AtomicBool::new(false), Mutex::default());
        WriterLock { writer: Mutex::new(writer), upkeep_waits, turn }
    }

    /// The writer, if nobody has it or waits for it.
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, Writer>> {
        if self.upkeep_waits.load(Ordering::Relaxed) { None } else { self.writer.try_lock() }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Writer> {
        if self.upkeep_waits.load(Ordering::Relaxed) {
            drop(self.turn.lock());
        }
        self.writer.lock()
    }

    pub(crate) fn lock_for_upkeep(&self) -> MutexGuard<'_, Writer> {
        let _turn = self.turn.lock();
        self.upkeep_waits.store(true, Ordering::Relaxed);
        let writer = self.writer.lock();
        self.upkeep_waits.store(false, Ordering::Relaxed);
        writer
    }
}
