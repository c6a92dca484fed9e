//! What holds from now on: what an acknowledgement, a flush, a close, a due step or a full disk
//! promises, until it is superseded or the store is opened again.
//!
//! Invariant: what is known of the files is read from them by their documented layout, never
//! asked of the engine.

use std::path::Path;
use std::time::Duration;

use runstone::{Database, Level};
use runstone_vfs::Vfs;

use super::case::ChangeSpec;
use super::oracle;
use super::runner::Runner;
use super::verdict::{Checked, Stopped};
use super::world::DIR;
use super::written::{MANIFEST, NOTE_BYTES_MAX, Written};
use crate::disk::{CallKind, FaultKind, Injected};

/// The least that a commit takes in the log's buffer.
const RECORD_BYTES_MIN: u64 = 40;
/// The most memory that a change without a value takes, with room to spare.
const CHANGE_BYTES_MAX: u64 = 512;
/// The most that a range takes which is removed, whose bounds stand in it and in its pieces.
const RANGE_BYTES_MAX: u64 = 1024;
/// The most that a drop takes: the record that it leaves and the one that is looked up, with the
/// names and tags of the run, and a removal.
const DROP_BYTES_MAX: u64 = 6144;

impl Runner<'_> {
    /// Whether the files may be looked at now, and hold what the contract says.
    pub(super) fn looks(&self) -> bool {
        self.case.looks && self.is_strict() && !self.disk.is_crashed()
    }

    /// Where a segment ends: before the largest size of a file, with what may pad it.
    fn segment_bytes(&self) -> u64 {
        self.options().segment_bytes.min(self.disk.file_bytes_max().saturating_sub(1024))
    }

    /// Everything published is durable (C1).
    pub(super) fn all_durable(&mut self) {
        self.durable = self.model.version();
        self.written = self.durable;
        self.acknowledged.clear();
        self.full_at = None;
    }

    /// C11: a flush, or a close with anything to write, has logged the engine's time, but for a
    /// flush that had no room for it; and in any case one at which all has expired that was shown
    /// as expired before.
    pub(super) fn floor_is_logged(&mut self, met_full_disk: bool) {
        let version = self.model.version();
        let known = match self.dirty {
            true if met_full_disk => self.model.time_ms(),
            true => self.now_ms(),
            // What maintenance has logged is durable by now; what is to be cut off was not logged.
            false if self.looks() && !self.disk.cut_is_owed() => {
                self.files().floor_ms().max(self.model.time_ms())
            }
            false => self.model.time_ms(),
        };
        let logged = known.max(self.shown_ms);
        self.time_floor = self.time_floor.max((logged, version));
        // Whether a later flush logs the time is then left to it.
        self.dirty = false;
    }

    /// C11: a reader was told that what expired then has expired.
    pub(super) fn note_shown(&mut self, expired_ms: u64) {
        self.shown_ms = self.shown_ms.max(expired_ms);
    }

    /// What an opening that saw this wall clock says of how far the log is ahead of it.
    pub(super) fn ahead_is_reported(db: &Database, wall_ms: u64) -> Result<(), String> {
        let ahead = db.storage().now().as_millis().checked_sub(wall_ms).filter(|ahead| *ahead > 0);
        match db.recovery_report().clock_ahead_ms {
            found if found == ahead => Ok(()),
            found => Err(format!("the log is {found:?} ms ahead of the clock, not {ahead:?}")),
        }
    }

    /// C11: what was logged is the least that any opening knows, whatever the wall clock says.
    pub(super) fn time_stands(&self, now_ms: u64) -> Result<(), String> {
        match self.time_floor.0 {
            floor if now_ms >= floor => Ok(()),
            floor => Err(format!("time is {now_ms}, but {floor} was logged")),
        }
    }

    /// A store was opened: what the one before waited for is past.
    pub(super) fn begin_session(&mut self) {
        self.dirty = false;
        self.stuck = None;
        self.full_at = None;
        self.full_unseen = false;
        self.in_rotation = false;
        self.renames_seen = self.disk.calls_of(CallKind::Rename);
        self.has_looked = false;
        self.segment_bytes_max = self.segment_bytes_max.max(self.options().segment_bytes);
        self.prefix_at_first = self.files().prefix();
        self.end_at_first = if self.pads() { self.files().end() } else { None };
        self.memory_at_first = self.memory_bytes();
        self.attested_at = 0;
    }

    /// Whether the log is padded, and can be looked at.
    fn pads(&self) -> bool {
        self.options().pad_to_sector && self.looks()
    }

    /// `pad_to_sector`: what follows touches no sector that holds a record. Where a full disk lets
    /// nothing be cut off, nothing follows before that was done.
    pub(super) fn log_ends_with_a_sector(&self) -> Checked {
        if !self.pads() || self.disk.cut_is_owed() {
            return Ok(());
        }
        // A write that the device broke off may have left a record without what pads it. That ends
        // all writing: nothing follows it. What is short, or interrupted, is continued.
        let injected = self.disk.injected();
        let here = injected.get(self.faults_before..).unwrap_or_default();
        let is_broken_off =
            |hit: &Injected| hit.kind == CallKind::Write && hit.fault.kind == FaultKind::Io;
        if here.iter().any(is_broken_off) {
            return Ok(());
        }
        let first = self.end_at_first.as_ref().filter(|(end, _)| !end.is_multiple_of(512));
        match self.files().end() {
            // Another session has ended it, under other options.
            end if end == self.end_at_first => Ok(()),
            Some((end, name)) if first.is_some_and(|(_, ended)| *ended == name) => {
                let message = format!("{name} was ended inside a sector, and goes on to {end}");
                self.fail("padding", message)
            }
            Some((end, name)) if !end.is_multiple_of(512) => {
                self.fail("padding", format!("{name} ends at {end}, inside a sector"))
            }
            _ => Ok(()),
        }
    }

    /// Whether a failure since the store was opened may have taken out of the files what had been
    /// written to them: then nobody can tell from outside whether it had been.
    fn lost_since_opened(&self) -> bool {
        self.disk.injected_since(self.faults_before).iter().any(|hit| {
            hit.fault.kind == FaultKind::BackgroundFails
                || matches!(hit.kind, CallKind::Sync | CallKind::SyncDir)
        })
    }

    /// C6: what a full disk keeps in memory is written before anything else is taken.
    pub(super) fn nothing_waits(&mut self, what: &str) -> Checked {
        let Some(stuck) = self.stuck.take() else { return Ok(()) };
        if self.lost_since_opened() {
            return Ok(());
        }
        let written = self.last_in_files();
        if self.disk.is_crashed() || written >= stuck {
            return Ok(());
        }
        let first = written + 1;
        let message = format!(
            "{what} was acknowledged while commits {first} to {stuck} wait for a full disk"
        );
        self.fail("C6", message)
    }

    /// The store as reads see it.
    pub(super) fn files(&self) -> Written<'_> {
        Written::live(&self.disk, Path::new(DIR))
    }

    /// The version of the last commit that stands whole in the files.
    pub(super) fn last_in_files(&self) -> u64 {
        self.files().last_commit()
    }

    /// The version of the last commit that no crash can take.
    fn last_durable(&self) -> u64 {
        Written::durable(&self.disk, Path::new(DIR)).last_commit()
    }

    /// How many commits in the files nothing proves to be durable; `None` where that cannot be
    /// told from outside: a cache that failed to reach the disk may drop what it shows.
    pub(super) fn unproven_in_files(&self, stopped: Stopped) -> Option<u64> {
        let stays = stopped == Stopped::Power || !self.lost_writes_possible();
        (stays && self.is_strict()).then(|| self.files().unproven()).flatten()
    }

    /// Whether the disk has answered since the store was opened: nothing failed but what a full
    /// disk, a short or an interrupted call is, or the removal of what is left over.
    fn disk_answers(&self) -> bool {
        let harmless = |kind: FaultKind| {
            matches!(kind, FaultKind::Interrupted | FaultKind::Short) || kind.is_full_disk()
        };
        let injected = self.disk.injected();
        let gave_up = injected.iter().any(|hit| hit.fault.kind == FaultKind::ReadOnly);
        let hits = injected.get(self.faults_before..).unwrap_or_default();
        let failed = hits.iter().any(|hit| match hit.kind {
            CallKind::Remove => false,
            CallKind::Sync | CallKind::SyncDir => true,
            _ => !harmless(hit.fault.kind),
        });
        !gave_up && !failed && self.disk.config().capacity.is_none()
    }

    /// C5, C14: does what is due, after which nothing is overdue, and an idle log is attested.
    pub(super) fn tick(&mut self) -> Checked {
        let outcome = self.db()?.tick();
        let now = self.clock.now().1;
        if let Ok(next) = outcome
            && self.disk_answers()
        {
            self.nothing_is_overdue(now)?;
            self.what_waits_is_due(next)?;
            self.no_full_batch_waits()?;
            if next.is_none() && self.pending.is_empty() {
                self.log_is_attested()?;
            }
        }
        let is_done = outcome.is_ok();
        self.upkeep("tick", outcome.map(|_| ()))?;
        match is_done && !self.pending.is_empty() && !self.disk.is_crashed() {
            true => self.fail("order", "a tick left commits in the queue that nobody waits for"),
            false => Ok(()),
        }
    }

    /// C14: nothing acknowledged longer ago than its interval is left. A full disk is tried
    /// again after the interval of asynchronous commits.
    fn nothing_is_overdue(&mut self, now: u64) -> Checked {
        let overdue = self.acknowledged.iter().rev().find(|waits| self.due_at(waits) <= now);
        let Some((version, level, at)) = overdue.copied() else { return Ok(()) };
        if self.looks() && self.last_durable() < version {
            let message =
                format!("{level:?} commit {version} of {at} ms is not durable at {now} ms");
            return self.fail("C14", message);
        }
        self.durable = self.durable.max(version);
        self.written = self.written.max(version);
        self.acknowledged.retain(|(acknowledged, ..)| *acknowledged > version);
        Ok(())
    }

    /// When a commit that was acknowledged must be durable.
    fn due_at(&self, (_, level, at): &(u64, Level, u64)) -> u64 {
        let interval = self.options().interval_ms(*level);
        let retry = self.options().interval_ms(Level::Async);
        self.full_at.map_or(*at + interval, |full| (*at).max(full) + interval.max(retry))
    }

    /// C14: a tick asks to be called again in time for what waits.
    fn what_waits_is_due(&mut self, next: Option<Duration>) -> Checked {
        let next = next.map_or(u128::MAX, |next| next.as_millis());
        let late = |runner: &Self| {
            let due = runner.acknowledged.iter().map(|waits| (runner.due_at(waits), waits.0)).min();
            due.filter(|(due, _)| u128::from(*due) < next)
        };
        if !self.looks() || late(self).is_none() {
            return Ok(());
        }
        self.forget_durable();
        let Some((due, version)) = late(self) else { return Ok(()) };
        let message =
            format!("commit {version} is due at {due} ms, and the next tick is at {next}");
        self.fail("C14", message)
    }

    /// C14: no more than two batches wait for a sync.
    pub(super) fn two_batches_wait(&mut self) -> Checked {
        self.at_most_wait(2 * self.options().policy_batch_size())
    }

    /// Behind a tick less than a batch waits, unless a full disk has held it up.
    fn no_full_batch_waits(&mut self) -> Checked {
        match self.full_at {
            Some(_) => Ok(()),
            None => self.at_most_wait(self.options().policy_batch_size().saturating_sub(1)),
        }
    }

    fn at_most_wait(&mut self, limit: u64) -> Checked {
        let waits = |runner: &Self| {
            let levels = runner.acknowledged.iter().map(|(_, level, _)| *level);
            levels.filter(|level| *level == Level::Batched).count() as u64
        };
        if !self.looks() || waits(self) <= limit {
            return Ok(());
        }
        self.forget_durable();
        match waits(self) {
            waits if waits <= limit => Ok(()),
            waits => self.fail("C14", format!("{waits} batched commits wait, not {limit}")),
        }
    }

    /// What asynchronous commits leave in memory is within the limit of the log's buffer: looked
    /// at in a share of the operations.
    pub(super) fn buffer_is_within_its_limit(&self) -> Checked {
        let told = self.looks() && !self.lost_writes_possible();
        if !told || !self.turn.is_multiple_of(4) || !self.pending.is_empty() {
            return Ok(());
        }
        let limit = self.options().log_buffer_bytes_max;
        let waiting = self.model.version().saturating_sub(self.last_in_files());
        match waiting * RECORD_BYTES_MIN {
            bytes if bytes <= limit => Ok(()),
            bytes => {
                let message = format!(
                    "{waiting} commits, {bytes} bytes at least, are in no file, not {limit}"
                );
                self.fail("memory", message)
            }
        }
    }

    /// What waited and is durable by now waits no more.
    fn forget_durable(&mut self) {
        let durable = self.last_durable();
        self.acknowledged.retain(|(version, ..)| *version > durable);
    }

    /// C1, without waiting for a crash to show it: in a share of the operations.
    pub(super) fn is_durable_at_once(&self, what: &str) -> Checked {
        if !self.turn.is_multiple_of(8) {
            return Ok(());
        }
        self.log_ends_with_a_sector()?;
        self.is_durable(what)
    }

    /// As [`Runner::is_durable_at_once`], whatever the operation.
    pub(super) fn is_durable(&self, what: &str) -> Checked {
        if !self.looks() || self.last_durable() >= self.model.version() {
            return Ok(());
        }
        let message = format!("{what} returned, and {} is not durable", self.model.version());
        self.fail("C1", message)
    }

    /// A delete may use a reserve beyond the memory that puts may use, or beyond what the opening
    /// needed; the end of a run takes none, and is never refused for it.
    pub(super) fn has_no_reserve(&self, changes: &[ChangeSpec]) -> Checked {
        let (used, limit) = (self.memory_bytes(), self.memory_with_reserve());
        let is_refused_rightly = match changes {
            [ChangeSpec::End { .. }] => false,
            [ChangeSpec::Drop { .. }] => !self.pending.is_empty() || !self.has_room_for_drops(1),
            // Others of its group have taken room that is not in use yet.
            [ChangeSpec::Delete { .. }] => {
                !self.pending.is_empty() || used + CHANGE_BYTES_MAX > limit
            }
            [ChangeSpec::RemoveRange { .. }] => {
                !self.pending.is_empty() || used + RANGE_BYTES_MAX > limit
            }
            _ => true,
        };
        match is_refused_rightly {
            true => Ok(()),
            false => self.fail("memory", format!("{used} of {limit} bytes, and no way out")),
        }
    }

    /// How much memory there may be after deletes and ends of runs.
    pub(super) fn memory_with_reserve(&self) -> u64 {
        let budget = self.options().memtable_bytes_max;
        budget.max(self.memory_at_first) + (budget / 16).max(4096)
    }

    /// Whether memory has room for as many drops, wherever their runs' records are.
    pub(super) fn has_room_for_drops(&self, count: usize) -> bool {
        let wanted = DROP_BYTES_MAX.saturating_mul(count as u64);
        let has_room = self.memory_bytes().saturating_add(wanted) <= self.memory_with_reserve();
        has_room || !self.options().may_be_full()
    }

    /// A blocking commit overtakes none that the same thread has submitted.
    pub(super) fn none_was_overtaken(&self, committed: bool) -> Checked {
        if !committed || self.pending.is_empty() || self.disk.is_crashed() {
            return Ok(());
        }
        self.fail("order", "a commit overtook what had been submitted before")
    }

    /// C5: when nothing is due any more, a record attests the last sync, if there is room.
    fn log_is_attested(&mut self) -> Checked {
        let calls = self.disk.calls();
        let told = self.looks() && !self.lost_writes_possible();
        // A segment that a rotation has ended is attested by the manifest that names the next.
        if !told || self.attested_at == calls || self.in_rotation {
            return Ok(());
        }
        self.attested_at = calls;
        self.log_ends_with_a_sector()?;
        let files = self.files();
        let unproven = files.unproven().unwrap_or(0);
        let room = files.room(self.segment_bytes());
        if unproven > 0 && room.is_some_and(|room| room >= NOTE_BYTES_MAX) {
            let message = format!("nothing is due, and {unproven} commits are not attested");
            return self.fail("C5", message);
        }
        Ok(())
    }

    /// C12: a closed log ends where the manifest says, so that the next session goes on in it.
    pub(super) fn log_is_cut(&mut self) -> Checked {
        if !self.looks() {
            return Ok(());
        }
        match self.files().behind_attested() {
            None | Some(0) => Ok(()),
            Some(behind) => self.fail("C12", format!("{behind} bytes behind a closed log")),
        }
    }

    /// Maintenance says that nothing is left: it would find nothing to do, no file is left (C12),
    /// and the time at which keys expired is in the files (C11).
    pub(super) fn nothing_is_left(&mut self) -> Checked {
        let again = self.db()?.maintain();
        if let Ok(report) = &again
            && (report.freed, report.files_removed) != (0, 0)
        {
            return self.fail("C10", format!("nothing was left, and then {report:?}"));
        }
        self.upkeep("maintain", again.map(|_| ()))?;
        if self.disk.is_crashed() || self.poisoned {
            return Ok(());
        }
        self.no_removed_file_is_open()?;
        let (now_ms, version) = (self.now_ms(), self.model.version());
        let (logged, expired) = (self.files().time_ms(version), self.model.last_expiry_ms(now_ms));
        if self.looks() && logged < expired && !self.case.options.flushes() {
            let message = format!("a key of {expired} ms was freed; the files know {logged} ms");
            return self.fail("C11", message);
        }
        // What cannot be read when the store is opened may be another store's.
        let is_read = |kind: CallKind| !kind.changes() && kind != CallKind::Stat;
        let unread = self.disk.injected().iter().any(|hit| is_read(hit.kind));
        if !self.is_strict() || unread {
            return Ok(());
        }
        let outcome = oracle::leaks(&self.disk.live_image(), Path::new(DIR));
        self.require("C12", outcome)?;
        self.log_is_short()
    }

    /// When nothing is left, the log is no longer than the options say, in segments as in bytes.
    fn log_is_short(&self) -> Checked {
        let options = self.options();
        let most = options.flush_log_bytes;
        if options.flush_bytes == u64::MAX || most == u64::MAX {
            return Ok(());
        }
        let (count, bytes) = self.files().ended();
        let segments = (most / options.segment_bytes).max(4);
        if bytes < most && (count as u64) < segments {
            return Ok(());
        }
        let message = format!("{count} segments of {bytes} bytes have ended; {most} are flushed");
        self.fail("space", message)
    }

    /// Whether a read-only opening may find nothing: no store as yet, a sector that cannot be
    /// read, or names that a failed sync has lost.
    pub(super) fn may_be_unreadable(&self) -> bool {
        let lost = |kind: CallKind| matches!(kind, CallKind::Read | CallKind::SyncDir);
        self.openings == 0
            || !self.disk.live_image().contains_key(&Path::new(DIR).join(MANIFEST))
            || self.disk.injected().iter().any(|hit| lost(hit.kind))
            || !self.is_strict()
    }
}
