//! The manifest and the segment that is written, as one.
//!
//! Invariants: a segment counts if and only if the manifest names it, and the manifest names
//! only files whose content and name had been synced, each with Ok, before. Nothing is
//! appended before the session's epoch is durable. A file number is never used twice. Once a
//! rotation has begun, the old segment is never appended to again.

use std::sync::Arc;

use super::gate::{Health, SyncGate, SyncPoint};
use crate::failure::WriteFailure;
use crate::log::creation::{SegmentPlan, create_segment};
use crate::log::writer::LogWriter;
use crate::manifest::in_force::{InForce, NUMBERS_TAKEN, check, replace};
use crate::manifest::{Flushed, LevelEntry, Manifest, SegmentEntry};
use crate::names::{OwnName, StoreId, TAKEN_MAX};
use crate::options::Options;
use crate::place::Place;

/// A mark behind which nothing waits: all that is in the buffer is published, or is no commit.
pub(crate) const ALL_PUBLISHED: usize = usize::MAX;

/// What a flush makes superfluous in the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trim {
    pub(crate) flushed: Flushed,
    /// The first segment that holds nothing of it.
    pub(crate) keep_from: u64,
}

/// The manifest in force and the segment that is written.
#[derive(Debug)]
pub(crate) struct Journal {
    place: Arc<Place>,
    pub(super) manifest: Manifest,
    in_force: InForce,
    /// Whether this opening's epoch is durable.
    pub(super) session_begun: bool,
    /// Whether the segment has been ended, and a new one must be made before the next record.
    ended: bool,
    writer: LogWriter,
    /// Files of this store that nothing names and that could not be removed at once.
    orphans: Vec<OwnName>,
    /// How many bytes of edits the manifest may gather, at least.
    edit_bytes: u64,
}

impl Journal {
    /// A journal whose manifest names `writer`'s segment last.
    pub(crate) fn new(
        place: Arc<Place>,
        (manifest, in_force): (Manifest, InForce),
        writer: LogWriter,
        session_begun: bool,
        ended: bool,
        orphans: Vec<OwnName>,
        edit_bytes: u64,
    ) -> Self {
        debug_assert_eq!(
            manifest.segments.last().map(|segment| segment.number),
            Some(writer.number())
        );
        Journal { place, manifest, in_force, session_begun, ended, writer, orphans, edit_bytes }
    }

    pub(crate) fn writer(&mut self) -> &mut LogWriter {
        &mut self.writer
    }

    pub(crate) fn log(&self) -> &LogWriter {
        &self.writer
    }

    pub(crate) fn place(&self) -> &Arc<Place> {
        &self.place
    }

    /// The manifest in force, and its file.
    pub(crate) fn in_force(&self) -> (&Manifest, &InForce) {
        (&self.manifest, &self.in_force)
    }

    pub(crate) fn session_begun(&self) -> bool {
        self.session_begun
    }

    /// Hands the buffer to the operating system; what begins at the mark `refusable` is not
    /// published yet. After a full disk the file has been cut back, and that is durable before
    /// anybody is told; the buffer is kept. Where there is no room for a cut either, it is made
    /// and synced before the next write.
    pub(crate) fn write_buffer(
        &mut self,
        gate: &SyncGate,
        health: &Health,
        batched: u64,
        refusable: usize,
    ) -> std::result::Result<(), WriteFailure> {
        if self.writer.needs_cut() && self.writer.buffered() > 0 {
            self.writer.trim()?;
            self.sync_cut(gate, health, batched)?;
        }
        let written = self.writer.write_buffer(refusable);
        if let Err(WriteFailure::Refused(_)) = &written {
            sometimes!("journal/full-disk");
            self.sync_cut(gate, health, batched)?;
        }
        written
    }

    /// Makes it durable that something was cut off, if it was.
    fn sync_cut(
        &mut self,
        gate: &SyncGate,
        health: &Health,
        batched: u64,
    ) -> std::result::Result<(), WriteFailure> {
        if !self.writer.is_cut() {
            return Ok(());
        }
        sometimes!("journal/full-disk-cut-back");
        gate.sync(&self.sync_point(batched), health)
            .inspect_err(|_| sometimes!("journal/cut-back-sync-failed"))
            .map_err(WriteFailure::of_a_sync)?;
        self.writer.note_cut_synced();
        Ok(())
    }

    /// The point up to which the log has been written, for a sync.
    pub(crate) fn sync_point(&self, batched: u64) -> SyncPoint {
        SyncPoint {
            place: Arc::clone(&self.place),
            file: Arc::clone(self.writer.file()),
            path: Arc::clone(self.writer.path()),
            segment: self.writer.number(),
            written: self.writer.written().at,
            batched,
        }
    }

    /// Takes a number that no file has had.
    pub(crate) fn take_number(&mut self) -> u64 {
        let number = self.manifest.next_file;
        self.manifest.next_file += 1;
        number
    }

    /// Puts a changed manifest in force, by an edit if there is room for one in the file that this
    /// session has written. If it fails, the one in memory stays as it was.
    fn change(&mut self, mut next: Manifest) -> std::result::Result<(), WriteFailure> {
        next.next_file = self.manifest.next_file;
        let appended = self.in_force.append(&self.place, &self.manifest, &next);
        sometimes!("journal/edit-failed", matches!(appended, Err(WriteFailure::Failed(_))));
        sometimes!("journal/edit-refused", matches!(appended, Err(WriteFailure::Refused(_))));
        match appended? {
            true => self.manifest = next,
            false => self.replace(next, Some(self.edit_bytes))?,
        }
        Ok(())
    }

    /// Puts a changed manifest in force that is written whole. If it fails, the one in memory stays
    /// as it was, but for the number that was used. `room`: for edits, in bytes.
    fn replace(
        &mut self,
        mut next: Manifest,
        room: Option<u64>,
    ) -> std::result::Result<(), WriteFailure> {
        let mut passed_over = 0;
        let (in_force, left) = loop {
            let number = self.take_number();
            self.manifest.next_file = number + NUMBERS_TAKEN;
            next.next_file = self.manifest.next_file;
            let old = Some(&self.in_force);
            let failure = match replace(&self.place, old, &next, number, room) {
                Ok(replaced) => break replaced,
                Err(failure) => failure,
            };
            sometimes!("journal/manifest-failed", matches!(failure, WriteFailure::Failed(_)));
            sometimes!("journal/manifest-full-disk", matches!(failure, WriteFailure::Refused(_)));
            let id = next.store_id;
            let names = [number, number + 1].map(|number| OwnName::Temporary(id, number));
            self.discard(matches!(failure, WriteFailure::Refused(_)), &names);
            if !failure.is_of_a_taken_name() || passed_over == TAKEN_MAX {
                return Err(failure);
            }
            passed_over += 1;
        };
        self.in_force = in_force;
        // What could not be removed is left to maintenance.
        self.orphans.extend(left);
        self.manifest = next;
        Ok(())
    }

    /// Files that a failed step may have left. After a full disk they are removed at once: the
    /// space is wanted back, and a step that is tried again and again must not fill memory with
    /// their names. After anything else the disk is left alone.
    pub(crate) fn discard(&mut self, at_once: bool, names: &[OwnName]) {
        for name in names {
            let removed = at_once.then(|| self.place.remove_left(*name));
            match removed {
                Some(Ok(true)) => sometimes!("journal/leftover-removed"),
                Some(Ok(false)) => {}
                Some(Err(_)) | None => self.orphans.push(*name),
            }
        }
    }

    /// Before the first record of an opening: makes its epoch durable. What was found may end with
    /// an edit that no sync can save, so nothing is appended to it: the manifest is written whole.
    pub(crate) fn begin_session(&mut self) -> std::result::Result<(), WriteFailure> {
        phase!(Session);
        if self.session_begun {
            return Ok(());
        }
        let mut next = self.manifest.clone();
        next.epoch += 1;
        next.clean = false;
        planted!(EpochNotDurable => return self.begin_in_memory(next));
        let room = Some(self.edit_bytes);
        self.replace(next, room).inspect_err(|_| sometimes!("journal/session-failed"))?;
        self.session_begun = true;
        sometimes!("journal/session-begun");
        Ok(())
    }

    /// Ends the segment and goes on in a new one.
    pub(crate) fn rotate(
        &mut self,
        gate: &SyncGate,
        health: &Health,
        batched: u64,
        last: (u64, u64),
        options: &Options,
    ) -> std::result::Result<(), WriteFailure> {
        phase!(Rotation);
        sometimes!("journal/rotation-resumed", self.ended);
        // 1. Whose directory it is; then the old segment: all its records written, its length
        // exact, synced.
        self.check()?;
        if !self.ended {
            self.write_buffer(gate, health, batched, ALL_PUBLISHED)?;
            self.writer.trim()?;
            if !planted!(RotationWithoutSync) {
                gate.sync(&self.sync_point(batched), health).map_err(WriteFailure::of_a_sync)?;
            }
            self.ended = true;
        }
        // 2. The new segment, durable with its name.
        let (number, mut left) = (self.take_number(), Vec::new());
        let segment = create_segment(
            &self.place,
            SegmentPlan {
                store_id: self.manifest.store_id,
                number,
                epoch: self.manifest.epoch,
                last,
                padded: options.pad_to_sector,
                step_bytes: options.steps.rewrite_bytes,
            },
            std::iter::empty(),
            &mut left,
        );
        sometimes!(
            "journal/rotation-segment-full-disk",
            matches!(&segment, Err(WriteFailure::Refused(_)))
        );
        sometimes!(
            "journal/rotation-segment-failed",
            matches!(&segment, Err(WriteFailure::Failed(_)))
        );
        let segment = segment.inspect_err(|failure| {
            self.discard(matches!(failure, WriteFailure::Refused(_)), &left);
        })?;
        // Those before it may be taken by what is not the store's.
        let number = segment.header.number;
        self.manifest.next_file = self.manifest.next_file.max(number + 1);
        let name = OwnName::Segment(self.manifest.store_id, number);
        planted!(NewSegmentReclaimed => self.orphans.push(name));
        // 3. The manifest: the old one ends at its length, the new one is open.
        let mut next = self.manifest.clone();
        if let Some(last) = next.segments.last_mut() {
            last.attested = self.writer.written();
            last.open = false;
        }
        next.segments.push(SegmentEntry {
            number,
            salt: segment.header.salt,
            attested: segment.end,
            open: true,
        });
        if let Err(failure) = self.change(next) {
            if matches!(failure, WriteFailure::Refused(_)) {
                sometimes!("journal/rotation-manifest-full-disk");
                // No manifest that could come into force names it.
                self.discard(true, &[name]);
            }
            sometimes!(
                "journal/rotation-manifest-failed",
                matches!(failure, WriteFailure::Failed(_))
            );
            return Err(failure);
        }
        // 4. Only now is the new one appended to.
        self.writer = LogWriter::new(
            segment.file,
            &segment.path,
            &segment.header,
            segment.end,
            segment.end.at,
            options,
        );
        gate.switch_to(number, segment.end.at);
        sometimes!("journal/rotated");
        self.ended = false;
        Ok(())
    }

    /// Whose files these are.
    pub(crate) fn store_id(&self) -> StoreId {
        self.manifest.store_id
    }

    /// That of this opening.
    pub(crate) fn epoch(&self) -> u64 {
        self.manifest.epoch
    }

    /// How far the tables reach.
    pub(crate) fn flushed(&self) -> Flushed {
        self.manifest.flushed
    }

    /// The segments that have ended and are needed still: how many there are, and their bytes.
    pub(crate) fn ended(&self) -> (u64, u64) {
        let ended = self.manifest.segments.iter().filter(|segment| !segment.open);
        ended.fold((0, 0), |(count, bytes), segment| (count + 1, bytes + segment.attested.at))
    }

    /// Names levels whose tables were written and synced, and, behind a flush, no longer the
    /// segments whose commits are in them. Those are removed by maintenance. If it fails without
    /// poisoning, the tables that were `made` are removed: no manifest that could come into force
    /// names them.
    pub(crate) fn install(
        &mut self,
        levels: Vec<LevelEntry>,
        made: &[u64],
        trim: Option<Trim>,
    ) -> std::result::Result<(), WriteFailure> {
        let id = self.manifest.store_id;
        let mut next = self.manifest.clone();
        next.levels = levels;
        let mut gone = Vec::new();
        if let Some(Trim { flushed, keep_from }) = trim {
            next.flushed = flushed;
            (gone, next.segments) =
                next.segments.iter().partition(|segment| segment.number < keep_from);
        }
        if let Err(failure) = self.change(next) {
            sometimes!("journal/install-failed");
            let names: Vec<_> = made.iter().map(|number| OwnName::Table(id, *number)).collect();
            let at_once = matches!(failure, WriteFailure::Refused(_));
            self.discard(at_once || planted!(TablesOfFailedEditDeleted), &names);
            return Err(failure);
        }
        planted!(SegmentsNotTrimmed => return Ok(()));
        self.orphans.extend(gone.iter().map(|segment| OwnName::Segment(id, segment.number)));
        Ok(())
    }

    /// Whether a record of at most `bytes` must go into a new segment.
    pub(crate) fn needs_rotation(&self, bytes: u64, options: &Options) -> bool {
        let ignores_buffer = planted!(RotationIgnoresBuffer);
        let end = if ignores_buffer { self.writer.written().at } else { self.writer.end() };
        self.ended || (!self.writer.is_empty() && end + bytes > options.segment_bytes)
    }

    /// Whether the segment takes no more records.
    #[cfg(feature = "marks")]
    pub(crate) fn is_ended(&self) -> bool {
        self.ended
    }

    /// Whether the directory is still the store's, before a step writes anything.
    ///
    /// Errors: [`WriteFailure::Failed`] if it is not; [`WriteFailure::Refused`] if that cannot be
    /// told.
    pub(crate) fn check(&self) -> std::result::Result<(), WriteFailure> {
        check(&self.place, Some(&self.in_force))
    }

    /// The last step of a clean close: the log is written and synced; the manifest says so. The
    /// caller has [looked](Journal::check) whose directory it is.
    pub(crate) fn close(
        &mut self,
        gate: &SyncGate,
        health: &Health,
        batched: u64,
    ) -> std::result::Result<(), WriteFailure> {
        // 1. The log: written, cut to its length, synced.
        self.write_buffer(gate, health, batched, ALL_PUBLISHED)?;
        self.writer.trim().inspect_err(|_| sometimes!("journal/close-cut-failed"))?;
        let syncs_late = planted!(AttestedBeforeSynced);
        planted!(CloseIgnoresFailedSync => drop(self.writer.file().sync()));
        if !planted!(CloseWithoutSync | CloseIgnoresFailedSync) && !syncs_late {
            gate.sync(&self.sync_point(batched), health).map_err(WriteFailure::of_a_sync)?;
        }
        // 2. The manifest: clean, with that length. It is written whole: an edit whose sync failed
        // may be seen by an opening, which believes it and writes nothing, and no longer by the
        // next.
        let mut next = self.manifest.clone();
        next.clean = true;
        if let Some(last) = next.segments.last_mut() {
            last.attested = self.writer.written();
        }
        self.replace(next, None).inspect_err(|_| sometimes!("journal/close-manifest-failed"))?;
        if syncs_late {
            gate.sync(&self.sync_point(batched), health).map_err(WriteFailure::of_a_sync)?;
        }
        self.session_begun = false;
        sometimes!("journal/closed");
        Ok(())
    }

    /// The files that wait to be removed.
    pub(crate) fn take_orphans(&mut self) -> Vec<OwnName> {
        std::mem::take(&mut self.orphans)
    }

    /// Whether files wait to be removed.
    pub(crate) fn has_orphans(&self) -> bool {
        !self.orphans.is_empty()
    }

    /// Gives back those that could not be.
    pub(crate) fn put_orphans(&mut self, mut left: Vec<OwnName>) {
        sometimes!("journal/orphans-kept-for-later");
        self.orphans.append(&mut left);
    }
}
