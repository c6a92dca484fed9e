//! Recovery: from the files of a store to its state.
//!
//! [`replay`] only reads, and returns a value; [`repair`] writes what an unclean stop calls
//! for; `Database` applies both. In the order in which the disk is judged:
//!
//! 1. The manifest says which segments count and how far each is *attested* (synced, with Ok,
//!    before the manifest was written). Below that, everything must be intact.
//! 2. After a clean close that is all there is.
//! 3. Otherwise the last segment is open: it is read to the first record that is not intact,
//!    at E. The *proven watermark* W is the greatest of the attested length and the synced
//!    offsets of its intact records. If an intact record behind E says that E had been synced,
//!    that is damage, and refused. Otherwise what stands at E is a torn tail.
//! 4. What lies between W and E may be page cache that no sync can save. It was read once, and
//!    the bytes that were judged are written into a *new* segment, synced, with the directory;
//!    then one manifest says "the old segment up to W, then the new one". Until that is in
//!    force nothing has changed; after it the tail is superseded, and nothing torn can ever
//!    become valid later.
//!
//! Invariants: a segment that was not closed cleanly is never written again; a read error is
//! an error, never the end of the log; nothing is skipped.

pub(crate) mod judge;
pub(crate) mod listing;
mod tables;

use std::collections::VecDeque;
use std::path::Path;

use judge::{check_attested, judge_stop, open_segment};

use crate::codec::change::{self, Change, NEVER};
use crate::effect::{Effect, effect};
use crate::error::{Error, Result};
use crate::failure::WriteFailure;
use crate::levels::Levels;
use crate::log::creation::{NewSegment, SegmentPlan, create_segment};
use crate::log::record::{End, RecordHead, RecordKind};
use crate::log::scan::{Next, Record};
use crate::manifest::in_force::{InForce, NUMBERS_TAKEN, replace};
use crate::manifest::{Flushed, Manifest, SegmentEntry};
use crate::names::{OwnName, StoreId};
use crate::options::{Options, Steps};
use crate::place::Place;
use crate::removals::{Removal, Removals};
use crate::runs::{HotRun, RunChange, RunTracker, Touch};
use crate::store::Applied;
use crate::store::layers::Frozen;
use crate::store::memtable::Memtable;
use crate::store::pins::Pins;

/// A record behind the watermark, to be written again.
#[derive(Debug)]
pub(crate) struct TailRecord {
    before: End,
    head: RecordHead,
    payload: Vec<u8>,
}

/// What stood in the files.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    pub(crate) levels: Levels,
    pub(crate) memtable: Memtable,
    /// What is in memory of the reserved space.
    pub(crate) records: Memtable,
    pub(crate) runs: RunTracker,
    pub(crate) removals: Removals,
    hot: HotRun,
    /// So many ended runs are remembered.
    remembered_runs_max: usize,
    pub(crate) last_version: u64,
    pub(crate) last_time_ms: u64,
    /// The greatest time of what is kept, or written again: commits and clock floors.
    content_time_ms: u64,
    pub(crate) commits: u64,
    pub(crate) bytes: u64,
    pub(crate) segments: u64,
    /// Where the last intact record of the last segment ends.
    pub(crate) end: End,
    /// How far the open segment counts without its tail.
    pub(crate) watermark: End,
    /// The records between watermark and end.
    pub(crate) tail: VecDeque<TailRecord>,
    /// How many commits and clock floors of the last segment lie below the watermark.
    pub(crate) proven_in_last: u64,
    /// Bytes behind the last intact record that are not zero: from there to the last of them.
    pub(crate) torn_bytes: u64,
}

impl Replay {
    /// The memtables, which go over to the store.
    pub(crate) fn take_memtables(&mut self) -> Frozen {
        let (memtable, records) = (&mut self.memtable, &mut self.records);
        Frozen { memtable: std::mem::take(memtable), records: std::mem::take(records) }
    }

    /// How many commits lie behind the watermark.
    pub(crate) fn tail_commits(&self) -> u64 {
        let counts = |kind| kind == RecordKind::Commit || planted!(NotesCountAsUnproven);
        self.tail.iter().filter(|record| counts(record.head.kind)).count() as u64
    }

    fn free_expired(&mut self) {
        if self.memtable.holds_expired(self.last_time_ms) {
            sometimes!("recovery/expired-freed");
            self.memtable.expire(self.last_time_ms, usize::MAX, &Pins::default());
        }
    }

    /// What is removed is not held until maintenance comes: a long log may fill a run and drop it,
    /// over and over.
    fn remove(&mut self, removal: Removal) {
        planted!(RemovalNotReplayed => return);
        let no_pins = Pins::default();
        self.memtable.note_removal(&removal);
        while self.memtable.removals_len() > 0 {
            self.memtable.purge_removed(usize::MAX, &no_pins);
        }
        self.removals.insert(removal, |_, _| false);
    }

    fn apply_to_runs(&mut self, change: RunChange) {
        let no_pins = Pins::default();
        for Applied { key, version } in self.runs.apply(change, &mut self.hot) {
            self.records.apply(key, version, &no_pins);
        }
    }

    fn apply(&mut self, record: &Record<'_>, path: &Path) -> Result<()> {
        let RecordHead { kind, version, time_ms, .. } = record.head;
        let is_commit = kind == RecordKind::Commit;
        let expected = self.last_version + u64::from(is_commit);
        let in_order = version == expected && time_ms >= self.last_time_ms;
        if !in_order && !planted!(MisdirectedRecordAccepted) {
            sometimes!("recovery/version-out-of-order");
            return Err(Error::corruption(
                path,
                record.before.at,
                format_args!("record version {expected} at {} ms or later", self.last_time_ms),
                format_args!("record version {version} at {time_ms} ms"),
            ));
        }
        self.last_version = version;
        self.last_time_ms = time_ms;
        if is_content(kind) {
            self.content_time_ms = time_ms;
        }
        let counted = if planted!(ReplayedBytesOfPayload) { record.payload } else { record.bytes };
        self.bytes += counted.len() as u64;
        // What the log itself knows to have expired is not held until maintenance comes: a long
        // log may have far more of it than there is memory.
        self.free_expired();
        if !is_commit {
            sometimes!("recovery/padding-replayed", kind == RecordKind::Padding);
            sometimes!("recovery/watermark-replayed", kind == RecordKind::Watermark);
            sometimes!("recovery/clock-floor-replayed", kind == RecordKind::ClockFloor);
            return Ok(());
        }
        self.commits += 1;
        // A long log may end more runs than are to be remembered, and drop none of them.
        if self.hot.id().is_none() {
            self.runs.forget_some(self.remembered_runs_max);
        }
        let changes = change::decode(record.payload)
            .map_err(|m| Error::corruption(path, record.before.at, m.expected, m.found))?;
        let no_pins = Pins::default();
        sometimes!("recovery/batch-replayed", changes.len() > 1);
        let whole = changes.len();
        let count = if planted!(HalfBatchApplied) { whole.saturating_sub(1).max(1) } else { whole };
        for (nth, mut change) in (0..).zip(changes.into_iter().take(count)) {
            if let (true, Change::Put { expiry_ms, .. }) =
                (planted!(ExpiryNotReplayed), &mut change)
            {
                *expiry_ms = NEVER;
            }
            match effect(change, nth, version, time_ms) {
                Effect::Key(applied) => {
                    self.runs.touch_key(&applied, &mut self.hot);
                    self.memtable.apply(applied.key, applied.version, &no_pins);
                }
                Effect::Run(run_change) => self.apply_to_runs(run_change),
                Effect::Remove(removal) => {
                    let (run, at) = (removal.from.run(), (version, time_ms));
                    self.runs.touch(run, at, Touch::Other, &mut self.hot);
                    self.remove(removal);
                }
                Effect::Count(run, keys) => self.runs.set_keys(run, keys, &mut self.hot),
                Effect::Drop(run_change, removal) => {
                    self.recall(removal.from.run(), path, record.before.at)?;
                    self.apply_to_runs(run_change);
                    self.remove(removal);
                }
            }
        }
        Ok(())
    }
}

/// Whether a record says something that must not be lost, beside what was synced.
fn is_content(kind: RecordKind) -> bool {
    planted!(FloorNotWrittenAgain => return kind == RecordKind::Commit);
    matches!(kind, RecordKind::Commit | RecordKind::ClockFloor)
}

/// Reads everything that the manifest names, a step at a time.
///
/// Errors: [`Error::Corruption`] for a missing, foreign or damaged segment;
/// [`Error::UnsupportedFormat`]; [`Error::Io`].
pub(crate) fn replay(place: &Place, manifest: &Manifest, steps: &Steps) -> Result<Replay> {
    phase!(Replay);
    let new = || Memtable::new(&manifest.store_id, steps);
    let mut replay = Replay {
        memtable: new(),
        records: new(),
        remembered_runs_max: steps.remembered_runs_max,
        ..Replay::default()
    };
    replay.take_up_tables(place, manifest)?;
    for entry in &manifest.segments {
        let path = place.path(OwnName::Segment(manifest.store_id, entry.number));
        let end = (!entry.open || manifest.clean).then_some(entry.attested.at);
        let mut scan = open_segment(place, manifest, entry, end, steps.read_bytes)?;
        replay.segments += 1;
        replay.proven_in_last = 0;
        let mut before = scan.read();
        check_attested(before, before, entry, &path)?;
        loop {
            let next = match scan.next() {
                Err(_) if planted!(ReadErrorEndsLog) => Next::End,
                next => next?,
            };
            match next {
                Next::Record(record) => {
                    replay.apply(&record, &path)?;
                    replay.proven_in_last += u64::from(is_content(record.head.kind));
                    replay.keep_tail(&record, entry.attested.at);
                    let read = scan.read();
                    check_attested(before, read, entry, &path)?;
                    before = read;
                }
                Next::End => break,
                Next::Stop(stop) => {
                    judge_stop(&mut scan, &path, entry, stop, replay.last_version)?;
                    replay.torn_bytes = scan.bytes_behind()?;
                    sometimes!("recovery/zeros-behind-the-log", replay.torn_bytes == 0);
                    sometimes!("recovery/torn-tail-cut", replay.torn_bytes > 0);
                    break;
                }
            }
        }
        let end = scan.read();
        sometimes!("recovery/unclean-segment-read", entry.open && !manifest.clean);
        sometimes!("recovery/clean-segment-read", entry.open && manifest.clean);
        sometimes!("recovery/closed-segment-read", !entry.open);
        replay.end = end;
        replay.watermark = replay.tail.front().map_or(end, |record| record.before);
        let tail = replay.tail.iter().filter(|record| is_content(record.head.kind)).count();
        replay.proven_in_last -= tail as u64;
    }
    replay.memtable.settle(&Pins::default());
    replay.records.settle(&Pins::default());
    replay.free_expired();
    if replay.levels.is_empty() {
        // What they hid in memory has gone, and there is nothing below.
        sometimes!("recovery/removals-spent", !replay.removals.is_empty());
        replay.removals = Removals::default();
    }
    // The keys that are gone.
    replay.memtable.collect_garbage(0, &Pins::default());
    Ok(replay)
}

impl Replay {
    /// Keeps a record of the open segment until a later one attests it. Of others there is none
    /// to keep: they are read only as far as the manifest attests them.
    fn keep_tail(&mut self, record: &Record<'_>, attested: u64) {
        let proven = attested.max(record.head.synced);
        while self.tail.front().is_some_and(|kept| kept.before.at < proven) {
            sometimes!("recovery/tail-proven-by-later-record");
            self.tail.pop_front();
        }
        if record.before.at >= attested {
            sometimes!("recovery/tail-kept");
            self.tail.push_back(TailRecord {
                before: record.before,
                head: record.head,
                payload: record.payload.to_vec(),
            });
        }
    }
}

/// What an opening has made: the manifest in force, the segment that is written, and the file that
/// could not be removed, if there is one.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) manifest: (Manifest, InForce),
    pub(crate) segment: NewSegment,
    pub(crate) left: Option<OwnName>,
}

/// What an unclean stop leaves to be made durable: the tail in a new segment, and a manifest
/// that supersedes the old tail. Nothing has changed until the manifest is in force.
///
/// Errors: [`Error::DiskFull`], [`Error::Io`] or [`Error::Displaced`]; opening may be tried again.
pub(crate) fn repair(
    place: &Place,
    (found, in_force): (&Manifest, &InForce),
    replay: &Replay,
    number: u64,
    options: &Options,
) -> Result<Started> {
    phase!(Repair);
    sometimes!("recovery/repair-with-tail", !replay.tail.is_empty());
    sometimes!("recovery/repair-without-tail", replay.tail.is_empty());
    // 1. The tail, from the bytes that were judged, under a number never used before.
    let plan = SegmentPlan {
        store_id: found.store_id,
        number,
        epoch: found.epoch + 1,
        last: (replay.last_version, replay.last_time_ms),
        padded: options.pad_to_sector && !planted!(RepairUnpadded),
        step_bytes: options.steps.rewrite_bytes,
    };
    let proven = usize::from(planted!(ReplayBoundaryTooLate));
    let tail = replay.tail.iter().filter(|record| is_content(record.head.kind)).skip(proven);
    let records = tail.map(|record| (record.head, record.payload.as_slice()));
    // What is not written again may have been the last to bear the time that this opening shows.
    let (version, time_ms) = (replay.last_version, replay.last_time_ms);
    let floor = RecordHead { kind: RecordKind::ClockFloor, version, time_ms, synced: 0 };
    let is_lost =
        replay.content_time_ms < time_ms && !planted!(FloorNotWrittenAgain | TimeOfNoteLost);
    sometimes!("recovery/time-of-a-note-kept", is_lost);
    let records = records.chain(is_lost.then_some((floor, &[][..])));
    let segment = make_segment(place, plan, records)?;

    // 2. The manifest: the old segment up to its watermark, then the new one.
    let mut next = found.clone();
    next.epoch += 1;
    next.clean = false;
    if let Some(last) = next.segments.last_mut() {
        last.attested = replay.watermark;
        last.open = false;
        let droppable = u64::from(planted!(SegmentDroppedTooEarly));
        if replay.proven_in_last <= droppable {
            sometimes!("recovery/repair-drops-empty-segment");
            // It holds nothing: it need not be kept.
            next.segments.pop();
        }
    }
    start(place, Some(in_force), next, segment, options)
}

/// A new store: a first segment, durable with its name; then the manifest, which makes it
/// valid. The directory and all above it are durable by then.
///
/// Errors: [`Error::DiskFull`], [`Error::Io`] or [`Error::Displaced`]; opening may be tried again.
pub(crate) fn create(
    place: &Place,
    store_id: StoreId,
    number: u64,
    options: &Options,
) -> Result<Started> {
    phase!(Creation);
    let plan = SegmentPlan {
        store_id,
        number,
        epoch: 1,
        last: (0, 0),
        padded: options.pad_to_sector,
        step_bytes: options.steps.rewrite_bytes,
    };
    let segment = make_segment(place, plan, std::iter::empty())?;
    let manifest = Manifest {
        store_id,
        epoch: 1,
        next_file: 0,
        clean: false,
        segments: Vec::new(),
        flushed: Flushed::default(),
        levels: Vec::new(),
    };
    start(place, None, manifest, segment, options)
}

/// Makes the segment of an opening. What a failure leaves is removed at once, or by the opening
/// that succeeds.
fn make_segment<'a>(
    place: &Place,
    plan: SegmentPlan,
    records: impl Iterator<Item = (RecordHead, &'a [u8])>,
) -> Result<NewSegment> {
    let mut left = Vec::new();
    create_segment(place, plan, records, &mut left).map_err(|failure| {
        if let WriteFailure::Refused(_) = failure {
            for name in left {
                let _removed = place.remove(name);
            }
        }
        full_or(failure)
    })
}

/// Puts the manifest in force that names a new segment behind others. If nothing has changed, that
/// segment is removed again: a next try makes another, and must not find less space than this
/// one.
fn start(
    place: &Place,
    old: Option<&InForce>,
    mut manifest: Manifest,
    segment: NewSegment,
    options: &Options,
) -> Result<Started> {
    let number = segment.header.number;
    manifest.segments.push(SegmentEntry {
        number,
        salt: segment.header.salt,
        attested: segment.end,
        open: true,
    });
    manifest.next_file = number + 1 + NUMBERS_TAKEN;
    match replace(place, old, &manifest, number + 1, Some(options.manifest_edit_bytes)) {
        Ok((in_force, left)) => Ok(Started { manifest: (manifest, in_force), segment, left }),
        Err(failure) => {
            sometimes!("recovery/manifest-failed", matches!(failure, WriteFailure::Failed(_)));
            if let WriteFailure::Refused(_) = failure {
                sometimes!("recovery/manifest-met-full-disk");
                // What cannot be removed now is removed by the opening that succeeds.
                let _removed = place.remove(OwnName::Segment(manifest.store_id, number));
            }
            Err(full_or(failure))
        }
    }
}

/// An opening poisons nothing: whatever said that the disk is full, also a sync, the next one tries
/// anew.
fn full_or(failure: WriteFailure) -> Error {
    match Error::from(failure) {
        Error::Io { action, path, source } if runstone_vfs::is_disk_full(&source) => {
            sometimes!("recovery/sync-met-full-disk");
            Error::io_or_full(action, path, std::io::Error::new(source.kind(), source))
        }
        error => error,
    }
}

#[cfg(test)]
mod tests;
