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

mod judge;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use judge::{judge_stop, open_segment};
use runstone_vfs::{Access, FileKind, Vfs};

use crate::codec::change::{self, Change, NEVER};
use crate::effect::effect;
use crate::error::{Error, Result};
use crate::log::creation::{
    EMPTY_SEGMENT_BYTES_MAX, NewSegment, Place, SegmentPlan, create_segment,
};
use crate::log::record::{RecordHead, RecordKind};
use crate::log::scan::{Next, Record, SegmentScan};
use crate::log::writer::WriteFailure;
use crate::manifest::{self, Manifest, ReplaceError, SegmentEntry};
use crate::names::OwnName;
use crate::options::{Options, Steps};
use crate::runs::{HotRun, RunTracker};
use crate::store::memtable::Memtable;
use crate::store::pins::Pins;

/// A record behind the watermark, to be written again.
#[derive(Debug)]
pub(crate) struct TailRecord {
    offset: u64,
    head: RecordHead,
    payload: Vec<u8>,
}

/// What stood in the files.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    pub(crate) memtable: Memtable,
    pub(crate) runs: RunTracker,
    hot: HotRun,
    pub(crate) last_version: u64,
    pub(crate) last_time_ms: u64,
    /// The greatest time of what is kept, or written again: commits and clock floors.
    content_time_ms: u64,
    pub(crate) commits: u64,
    pub(crate) bytes: u64,
    pub(crate) segments: u64,
    /// Where the last intact record of the last segment ends.
    #[cfg(feature = "planted")]
    pub(crate) end: u64,
    /// How far the open segment counts without its tail.
    pub(crate) watermark: u64,
    /// The records between watermark and end.
    pub(crate) tail: VecDeque<TailRecord>,
    /// How many commits and clock floors of the last segment lie below the watermark.
    pub(crate) proven_in_last: u64,
    /// Bytes behind the last intact record that are not zero: from there to the last of them.
    pub(crate) torn_bytes: u64,
}

impl Replay {
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

    fn apply(&mut self, record: &Record<'_>, path: &Path) -> Result<()> {
        let RecordHead { kind, version, time_ms, .. } = record.head;
        let is_commit = kind == RecordKind::Commit;
        let expected = self.last_version + u64::from(is_commit);
        let in_order = version == expected && time_ms >= self.last_time_ms;
        if !in_order && !planted!(MisdirectedRecordAccepted) {
            sometimes!("recovery/version-out-of-order");
            return Err(Error::corruption(
                path,
                record.offset,
                format_args!("record version {expected} at {} ms or later", self.last_time_ms),
                format_args!("record version {version} at {time_ms} ms"),
            ));
        }
        self.last_version = version;
        self.last_time_ms = time_ms;
        if is_content(kind) {
            self.content_time_ms = time_ms;
        }
        self.bytes += record.bytes.len() as u64;
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
        let changes = change::decode(record.payload)
            .map_err(|m| Error::corruption(path, record.offset, m.expected, m.found))?;
        let no_pins = Pins::default();
        sometimes!("recovery/batch-replayed", changes.len() > 1);
        let whole = changes.len();
        let count = if planted!(HalfBatchApplied) { whole.saturating_sub(1).max(1) } else { whole };
        for mut change in changes.into_iter().take(count) {
            if let (true, Change::Put { expiry_ms, .. }) =
                (planted!(ExpiryNotReplayed), &mut change)
            {
                *expiry_ms = NEVER;
            }
            match effect(change, version, time_ms) {
                Ok(applied) => {
                    self.runs.touch(applied.key.run(), version, &mut self.hot);
                    self.memtable.apply(applied.key, applied.version, &no_pins);
                }
                Err(run_change) => self.runs.apply(run_change, &mut self.hot),
            }
        }
        Ok(())
    }
}

/// Whether a record says something that must not be lost, beside what was synced.
fn is_content(kind: RecordKind) -> bool {
    if planted!(FloorNotWrittenAgain) {
        return kind == RecordKind::Commit;
    }
    matches!(kind, RecordKind::Commit | RecordKind::ClockFloor)
}

/// Reads everything that the manifest names, a step at a time.
///
/// Errors: [`Error::Corruption`] for a missing, foreign or damaged segment;
/// [`Error::UnsupportedFormat`]; [`Error::Io`].
pub(crate) fn replay(
    vfs: &dyn Vfs,
    dir: &Path,
    manifest: &Manifest,
    steps: &Steps,
) -> Result<Replay> {
    phase!(Replay);
    let memtable = Memtable::new(&manifest.store_id, steps);
    let mut replay = Replay { memtable, ..Replay::default() };
    for entry in &manifest.segments {
        let path = dir.join(OwnName::Segment(entry.number).file_name());
        let mut scan = open_segment(vfs, &path, manifest, entry, steps.read_bytes)?;
        replay.segments += 1;
        replay.proven_in_last = 0;
        loop {
            let next = match scan.next() {
                Err(_) if planted!(ReadErrorEndsLog) => Next::End,
                next => next?,
            };
            match next {
                Next::Record(record) => {
                    replay.apply(&record, &path)?;
                    replay.proven_in_last += u64::from(is_content(record.head.kind));
                    replay.keep_tail(&record, entry.attested);
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
        let end = scan.position();
        sometimes!("recovery/unclean-segment-read", entry.open && !manifest.clean);
        sometimes!("recovery/clean-segment-read", entry.open && manifest.clean);
        sometimes!("recovery/closed-segment-read", !entry.open);
        #[cfg(feature = "planted")]
        {
            replay.end = end;
        }
        replay.watermark = replay.tail.front().map_or(end, |record| record.offset);
        let tail = replay.tail.iter().filter(|record| is_content(record.head.kind)).count();
        replay.proven_in_last -= tail as u64;
    }
    replay.memtable.settle(&Pins::default());
    replay.free_expired();
    // The keys that are gone.
    replay.memtable.collect_garbage(0, &Pins::default());
    Ok(replay)
}

impl Replay {
    /// Keeps a record of the open segment until a later one attests it. Of others there is none
    /// to keep: they are read only as far as the manifest attests them.
    fn keep_tail(&mut self, record: &Record<'_>, attested: u64) {
        let proven = attested.max(record.head.synced);
        while self.tail.front().is_some_and(|kept| kept.offset < proven) {
            sometimes!("recovery/tail-proven-by-later-record");
            self.tail.pop_front();
        }
        if record.offset >= attested {
            sometimes!("recovery/tail-kept");
            self.tail.push_back(TailRecord {
                offset: record.offset,
                head: record.head,
                payload: record.payload.to_vec(),
            });
        }
    }
}

/// What an unclean stop leaves to be made durable: the tail in a new segment, and a manifest
/// that supersedes the old tail. Nothing has changed until the manifest is in force.
///
/// Returns them, and the file that could not be removed, if there is one.
///
/// Errors: [`Error::DiskFull`] or [`Error::Io`]; opening may be tried again.
pub(crate) fn repair(
    place: &Place,
    found: &Manifest,
    replay: &Replay,
    number: u64,
    options: &Options,
) -> Result<(Manifest, NewSegment, Option<OwnName>)> {
    phase!(Repair);
    sometimes!("recovery/repair-with-tail", !replay.tail.is_empty());
    sometimes!("recovery/repair-without-tail", replay.tail.is_empty());
    // 1. The tail, from the bytes that were judged, under a number never used before.
    let plan = SegmentPlan {
        store_id: found.store_id,
        number,
        epoch: found.epoch + 1,
        last: (replay.last_version, replay.last_time_ms),
        padded: options.pad_to_sector,
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
    let segment = create_segment(place, plan, records).map_err(into_error)?;

    // 2. The manifest: the old segment up to its watermark, then the new one.
    let mut next = found.clone();
    next.epoch += 1;
    next.clean = false;
    next.next_file = number + 1 + manifest::NUMBERS_TAKEN;
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
    next.segments.push(SegmentEntry {
        number,
        salt: segment.header.salt,
        attested: segment.length,
        open: true,
    });
    let left = replace(place, &next, number + 1, &segment)?;
    Ok((next, segment, left))
}

/// A new store: a first segment, durable with its name; then the manifest, which makes it
/// valid.
///
/// Errors: [`Error::DiskFull`] or [`Error::Io`]; opening may be tried again.
pub(crate) fn create(
    place: &Place,
    number: u64,
    options: &Options,
) -> Result<(Manifest, NewSegment, Option<OwnName>)> {
    phase!(Creation);
    let store_id =
        place.entropy.bytes16().map_err(|e| Error::io("drawing an id for", &place.dir, e))?;
    let plan = SegmentPlan {
        store_id,
        number,
        epoch: 1,
        last: (0, 0),
        padded: options.pad_to_sector,
        step_bytes: options.steps.rewrite_bytes,
    };
    let segment = create_segment(place, plan, std::iter::empty()).map_err(into_error)?;
    let manifest = Manifest {
        store_id,
        epoch: 1,
        next_file: number + 1 + manifest::NUMBERS_TAKEN,
        clean: false,
        segments: vec![SegmentEntry {
            number,
            salt: segment.header.salt,
            attested: segment.length,
            open: true,
        }],
    };
    let left = replace(place, &manifest, number + 1, &segment)?;
    Ok((manifest, segment, left))
}

/// Puts the manifest in force that names a new segment. If the disk is full, that segment is
/// removed again: a next try makes another, and must not find less space than this one.
fn replace(
    place: &Place,
    manifest: &Manifest,
    number: u64,
    segment: &NewSegment,
) -> Result<Option<OwnName>> {
    let replaced = manifest::replace(&*place.vfs, &place.dir, manifest, number, &place.parents);
    replaced.map_err(|error| match error {
        ReplaceError::Failed(e) => {
            sometimes!("recovery/manifest-failed");
            e
        }
        ReplaceError::Full(e) => {
            sometimes!("recovery/manifest-met-full-disk");
            // What cannot be removed now is removed by the opening that succeeds.
            let _removed = place.vfs.remove(&segment.path);
            e
        }
    })
}

fn into_error(failure: WriteFailure) -> Error {
    match failure {
        WriteFailure::Full(error) | WriteFailure::Failed(error) => error,
    }
}

/// What stands in a store's directory.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Segments and temporary files, in order.
    pub(crate) own: Vec<OwnName>,
    /// How many files are not the store's.
    pub(crate) foreign: usize,
}

impl Listing {
    /// Error: [`Error::Io`].
    pub(crate) fn read(vfs: &dyn Vfs, dir: &Path) -> Result<Self> {
        let entries = vfs.list(dir).map_err(|e| Error::io("listing", dir, e))?;
        let mut listing = Listing::default();
        for entry in entries {
            match OwnName::parse(&entry.name).filter(|_| entry.kind == FileKind::File) {
                Some(own @ (OwnName::Segment(_) | OwnName::Temporary(_))) => listing.own.push(own),
                Some(OwnName::Manifest | OwnName::Lock) => {}
                None => listing.foreign += 1,
            }
        }
        listing.own.sort_unstable();
        Ok(listing)
    }

    /// A number that no file bears, and none has borne as far as the manifest knows.
    pub(crate) fn next_number(&self, manifest: Option<&Manifest>) -> u64 {
        if let (true, Some(manifest)) = (planted!(RepairNotReentrant), manifest) {
            return manifest.next_file;
        }
        let borne = self.own.iter().filter_map(|own| own.number()).max().unwrap_or(0);
        manifest.map_or(1, |manifest| manifest.next_file).max(borne + 1)
    }

    /// Refuses a directory without a manifest in which a log holds records, or may hold them:
    /// the manifest was lost, and a new store would hide them.
    ///
    /// Errors: [`Error::Corruption`], [`Error::UnsupportedFormat`], [`Error::Io`].
    pub(crate) fn refuse_lost_manifest(
        &self,
        vfs: &dyn Vfs,
        dir: &Path,
        step_bytes: u64,
    ) -> Result<()> {
        for own in &self.own {
            let OwnName::Segment(_) = own else { continue };
            sometimes!("recovery/segment-without-manifest");
            let path = dir.join(own.file_name());
            let file = vfs.open(&path, Access::Read).map_err(|e| Error::io("opening", &path, e))?;
            let reason = match SegmentScan::open(Arc::clone(&file), &path, None, step_bytes) {
                Ok(mut scan) => {
                    let holds = scan.has_any_record()?;
                    sometimes!("recovery/lost-manifest-refused", holds);
                    holds.then_some("holds records")
                }
                // Without a header no record can be judged. But a creation that was cut short
                // has left no more than a header: what is longer was a log.
                Err(Error::Corruption { .. }) => {
                    let length = file.len();
                    let length =
                        length.map_err(|e| Error::io("reading the length of", &path, e))?;
                    sometimes!("recovery/unfinished-creation-without-header");
                    (length > EMPTY_SEGMENT_BYTES_MAX)
                        .then_some("is longer than a new log, and its header is damaged")
                }
                Err(error) => return Err(error),
            };
            if let Some(reason) = reason {
                return Err(Error::corruption(
                    dir.join(OwnName::Manifest.file_name()),
                    0,
                    format_args!("a manifest, since {} {reason}", own.file_name()),
                    "no such file",
                ));
            }
        }
        Ok(())
    }

    /// The files that the manifest does not name and that are this store's: they bear its id,
    /// or no valid header at all. Those of other stores are left alone.
    ///
    /// Error: [`Error::Io`].
    pub(crate) fn orphans(
        &self,
        vfs: &dyn Vfs,
        dir: &Path,
        manifest: &Manifest,
    ) -> Result<Vec<OwnName>> {
        let mut orphans = Vec::new();
        for own in &self.own {
            let path = dir.join(own.file_name());
            let named = |number: u64| manifest.segments.iter().any(|s| s.number == number);
            sometimes!("recovery/orphan-judged", !matches!(own, OwnName::Segment(n) if named(*n)));
            let other_store = match own {
                OwnName::Segment(number) if named(*number) => {
                    let read = || vfs.open(&path, Access::Read).and_then(|file| file.len());
                    if planted!(ReadErrorForgetsReference) && read().is_err() {
                        false
                    } else {
                        continue;
                    }
                }
                OwnName::Segment(_) => match vfs.open(&path, Access::Read) {
                    // Of what follows the header nothing is read.
                    Ok(file) => match SegmentScan::open(file, &path, None, 1) {
                        Ok(scan) => scan.header().store_id != manifest.store_id,
                        Err(Error::Corruption { .. }) => {
                            sometimes!("recovery/orphan-without-header");
                            false
                        }
                        // It may be this store's from a later version, or unreadable for now.
                        Err(_) => true,
                    },
                    Err(_) => true,
                },
                OwnName::Temporary(_) => match Manifest::read_file(vfs, &path) {
                    Ok(Some(other)) => other.store_id != manifest.store_id,
                    Ok(None) | Err(Error::Corruption { .. }) => false,
                    Err(_) => true,
                },
                OwnName::Manifest | OwnName::Lock => continue,
            };
            sometimes!("recovery/orphan-unreadable", other_store);
            if !other_store {
                sometimes!("recovery/orphan-temporary", matches!(own, OwnName::Temporary(_)));
                sometimes!("recovery/orphan-segment", matches!(own, OwnName::Segment(_)));
                orphans.push(*own);
            }
        }
        Ok(orphans)
    }
}

#[cfg(test)]
mod tests;
