//! Appending to a segment.
//!
//! Invariants: `written` is where the last record that the operating system has taken whole
//! ends; the buffer holds whole records that follow it, in order; a failed write leaves both
//! as they were. After a full disk the file is cut back to `written`, so that nothing of a
//! refused record stays; the caller syncs that before it tells anybody, or poisons. Where the
//! cut itself needs room that is not there, a part of a record may stay, never a whole one that
//! was refused: it counts as torn, and nothing is written before the cut has been made and synced.
//! What is reserved ahead is worth no refusal: if it does not fit, the record is written alone.

use std::path::Path;
use std::sync::Arc;

use runstone_vfs::{VfsFile, is_disk_full, read_full_at, write_all_at};

use super::record::{End, RECORD_BYTES_MIN, RECORD_HEAD_BYTES, RecordHead, RecordKind, parse_head};
use super::segment::{SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::error::Error;
use crate::failure::WriteFailure;
use crate::options::Options;
use crate::preallocation::Preallocation;
use crate::seal::Seal;

/// Sectors are this long.
pub(super) const SECTOR_BYTES: u64 = 512;
/// The most that [`pad`] adds to a group.
pub(crate) const PADDING_BYTES_MAX: u64 = 2 * SECTOR_BYTES;
/// How much is zeroed by one call.
static ZERO_CHUNK: [u8; 64 << 10] = [0; 64 << 10];

/// Appends to `out`, which ends at `end` of the file, a padding record up to a sector's end.
/// Returns where it ends.
pub(crate) fn pad(seal: Seal, out: &mut Vec<u8>, end: End, head: RecordHead) -> End {
    let over = end.at % SECTOR_BYTES;
    if over == 0 {
        sometimes!("writer/ends-at-a-sector");
        return end;
    }
    let mut gap = SECTOR_BYTES - over;
    if gap < RECORD_BYTES_MIN {
        sometimes!("writer/padding-of-a-sector-more");
        gap += SECTOR_BYTES;
    }
    let payload = usize::try_from(gap).unwrap_or(0).saturating_sub(RECORD_HEAD_BYTES);
    let head = RecordHead { kind: RecordKind::Padding, ..head };
    let end = seal.append(out, end, head, |out| out.resize(out.len() + payload, 0));
    debug_assert!(end.at.is_multiple_of(SECTOR_BYTES));
    end
}

/// The segment that is appended to.
#[derive(Debug)]
pub(crate) struct LogWriter {
    pub(super) file: Arc<dyn VfsFile>,
    pub(super) path: Arc<Path>,
    number: u64,
    seal: Seal,
    pub(super) written: End,
    buffer: Vec<u8>,
    /// Where the records in the buffer end.
    pub(super) end: End,
    /// The file reaches at least this far, or less if a cut has failed.
    pub(super) allocated: u64,
    pub(super) behind: Behind,
    /// Where the first record of a new segment stands.
    header_end: u64,
    preallocate: Preallocate,
}

/// What a full disk has left behind the last record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behind {
    /// Nothing, or zeros.
    Clean,
    /// It was cut off, and that is not synced.
    Cut,
    /// A part of a record, which could not be cut off yet.
    Part,
}

#[derive(Clone, Copy, Debug)]
struct Preallocate {
    bytes: u64,
    segment_bytes: u64,
    with: Preallocation,
    /// Not before the log reaches this far, since there was no room for it.
    not_before: u64,
    padded: bool,
}

impl LogWriter {
    /// Goes on at `written` in a file that is `allocated` bytes long.
    pub(crate) fn new(
        file: Arc<dyn VfsFile>,
        path: &Path,
        header: &SegmentHeader,
        written: End,
        allocated: u64,
        options: &Options,
    ) -> Self {
        LogWriter {
            file,
            path: path.into(),
            number: header.number,
            seal: header.seal(),
            written,
            buffer: Vec::new(),
            end: written,
            allocated: allocated.max(written.at),
            behind: Behind::Clean,
            header_end: if options.pad_to_sector { SECTOR_BYTES } else { SEGMENT_HEADER_BYTES },
            preallocate: Preallocate {
                bytes: options.preallocate_bytes,
                segment_bytes: options.segment_bytes,
                with: options.preallocation,
                not_before: 0,
                padded: options.pad_to_sector,
            },
        }
    }

    pub(crate) fn file(&self) -> &Arc<dyn VfsFile> {
        &self.file
    }

    pub(crate) fn path(&self) -> &Arc<Path> {
        &self.path
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// How far the operating system has the log.
    pub(crate) fn written(&self) -> End {
        self.written
    }

    /// Where the next record will stand.
    pub(crate) fn end(&self) -> u64 {
        self.end.at
    }

    /// The bytes that wait in memory.
    pub(crate) fn buffered(&self) -> u64 {
        self.buffer.len() as u64
    }

    /// Whether the file is longer than its records.
    pub(crate) fn has_room_behind(&self) -> bool {
        self.allocated > self.end()
    }

    /// Whether an append would touch a sector that holds records, though the options forbid it.
    pub(crate) fn ends_inside_a_sector(&self) -> bool {
        self.preallocate.padded && !self.end().is_multiple_of(SECTOR_BYTES)
    }

    /// Whether the segment has no records yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.end() <= self.header_end
    }

    /// The segment holds records of another session. Its length does not tell: the first record of
    /// one that was not padded may end where the header of a padded one does.
    pub(crate) fn holds_records(&mut self) {
        self.header_end = SEGMENT_HEADER_BYTES;
    }

    /// A mark for [`LogWriter::truncate_to`].
    pub(crate) fn mark(&self) -> usize {
        self.buffer.len()
    }

    /// Forgets the buffered records behind a mark.
    pub(crate) fn truncate_to(&mut self, mark: usize) {
        self.buffer.truncate(mark);
        self.end = self.written;
        // What stays is looked through for the last of its records: only a full disk comes here.
        let mut rest = self.buffer.as_slice();
        while let Ok(raw) = parse_head(rest, self.end.at, u64::MAX) {
            self.end = End { at: self.end.at + raw.total_bytes, link: raw.checksum };
            let length = usize::try_from(raw.total_bytes).unwrap_or(usize::MAX);
            rest = rest.get(length..).unwrap_or_default();
        }
        debug_assert_eq!(self.end.at, self.written.at + self.buffer.len() as u64);
    }

    /// Appends a record to the buffer.
    pub(crate) fn append(&mut self, head: RecordHead, payload: impl FnOnce(&mut Vec<u8>)) {
        self.end = self.seal.append(&mut self.buffer, self.end, head, payload);
    }

    /// Ends the buffered records at a sector, if the options ask for it.
    pub(crate) fn pad(&mut self, head: RecordHead) {
        if self.preallocate.padded {
            self.end = pad(self.seal, &mut self.buffer, self.end, head);
        }
    }

    /// Hands the buffer to the operating system. One write, beside preallocation. What begins at
    /// the mark `refusable` is not published, and is refused if the disk is full.
    ///
    /// The caller has seen to it that [`LogWriter::needs_cut`] is `false`. On a full disk the file
    /// is cut back and the buffer kept; see the module's head.
    pub(crate) fn write_buffer(&mut self, refusable: usize) -> Result<(), WriteFailure> {
        if self.buffer.is_empty() {
            sometimes!("writer/nothing-to-write");
            return Ok(());
        }
        let outcome = self
            .preallocate_to(self.end())
            .and_then(|()| write_all_at(&*self.file, &self.buffer, self.written.at));
        planted!(WriteErrorSwallowed => return self.swallow(outcome));
        planted!(AppendAfterFailedWrite => return self.go_on_behind(outcome));
        planted!(FailedWriteForgotten => return self.forget(outcome));
        self.conclude(outcome, refusable)
    }

    /// What a write of the buffer came to.
    pub(super) fn conclude(
        &mut self,
        outcome: std::io::Result<()>,
        refusable: usize,
    ) -> Result<(), WriteFailure> {
        match outcome {
            Ok(()) => {
                self.written = self.end;
                self.allocated = self.allocated.max(self.written.at);
                self.buffer.clear();
                Ok(())
            }
            Err(e) if is_disk_full(&e) => {
                sometimes!("writer/full-disk");
                self.cut_back(refusable)?;
                planted!(BufferDroppedOnFullDisk => self.buffer.clear());
                Err(WriteFailure::Refused(Error::io_or_full("writing", &*self.path, e)))
            }
            Err(e) => {
                sometimes!("writer/write-failed");
                Err(WriteFailure::Failed(Error::io("writing", &*self.path, e)))
            }
        }
    }

    /// Whether something must be cut off, or the cut synced, before the next write.
    pub(crate) fn needs_cut(&self) -> bool {
        self.behind != Behind::Clean
    }

    /// Whether something was cut off, and that is not synced.
    pub(crate) fn is_cut(&self) -> bool {
        self.behind == Behind::Cut
    }

    /// What was cut off has been synced.
    pub(crate) fn note_cut_synced(&mut self) {
        if self.behind == Behind::Cut {
            self.behind = Behind::Clean;
        }
    }

    /// Cuts off what lies behind the last record. Durable with the next sync.
    ///
    /// Errors: [`WriteFailure::Refused`] if there is no room for that: it may be tried again.
    pub(crate) fn trim(&mut self) -> Result<(), WriteFailure> {
        if self.allocated == self.written.at && self.behind != Behind::Part {
            return Ok(());
        }
        self.file.set_len(self.written.at).map_err(|e| {
            sometimes!("writer/no-room-for-a-cut", is_disk_full(&e));
            WriteFailure::of_a_write("truncating", self.path.to_path_buf(), e)
        })?;
        self.allocated = self.written.at;
        if self.behind == Behind::Part {
            sometimes!("writer/cut-at-last");
            self.behind = Behind::Cut;
        }
        sometimes!("writer/cut-to-length");
        Ok(())
    }

    /// After a full disk: removes what was written in part, however far that reached.
    fn cut_back(&mut self, refusable: usize) -> Result<(), WriteFailure> {
        let unknown = if planted!(UnmeasuredUncut) { self.written.at } else { u64::MAX };
        let length = self.file.len().unwrap_or(unknown);
        if length == self.written.at {
            sometimes!("writer/nothing-to-cut");
            self.allocated = length;
            return Ok(());
        }
        // Looked at before the cut, which may show its effect, and still not last.
        let holds_refused = self.holds_refused(refusable, length);
        self.behind = Behind::Part;
        match self.trim() {
            Ok(()) => Ok(()),
            Err(WriteFailure::Refused(_)) if !holds_refused => {
                sometimes!("writer/part-left-for-later");
                planted!(CutForgotten => self.behind = Behind::Clean);
                Ok(())
            }
            Err(WriteFailure::Refused(error) | WriteFailure::Failed(error)) => {
                sometimes!("writer/not-cut");
                Err(WriteFailure::Failed(error))
            }
        }
    }

    /// Whether a file of this length may hold, whole, the first record that is refused. After a
    /// crash that would count, though its caller was told that nothing of it stays.
    fn holds_refused(&self, refusable: usize, file_length: u64) -> bool {
        planted!(WholeRecordLeft => return false);
        let refused = self.buffer.get(refusable..).unwrap_or_default();
        let at = self.written.at.saturating_add(refusable as u64);
        let Ok(head) = parse_head(refused, at, u64::MAX) else { return !refused.is_empty() };
        let length = usize::try_from(head.total_bytes).unwrap_or(usize::MAX);
        let Some(record) = refused.get(..length) else { return true };
        if file_length < at.saturating_add(head.total_bytes) {
            return false;
        }
        // Where it was reserved ahead the length says nothing.
        let mut found = vec![0; length];
        match read_full_at(&*self.file, &mut found, at) {
            Ok(read) => read == length && found == record,
            Err(_) => true,
        }
    }

    /// Makes the file reach `end`, and some way further, if there is room for that.
    fn preallocate_to(&mut self, end: u64) -> std::io::Result<()> {
        let plan = self.preallocate;
        if end <= self.allocated || plan.bytes == 0 || end < plan.not_before {
            return Ok(());
        }
        let target = end.saturating_add(plan.bytes).min(plan.segment_bytes).max(end);
        let reserves = plan.with == Preallocation::Reserved;
        let reserved = match plan.with {
            Preallocation::Zeros => self.write_zeros(end, target),
            Preallocation::Reserved => self.file.allocate(self.allocated, target - self.allocated),
            _ if planted!(ZerosThoughOff) => self.write_zeros(end, target),
            Preallocation::Auto | Preallocation::Off => return Ok(()),
        };
        match reserved {
            Ok(()) => {
                sometimes!("writer/zeros-written-ahead", !reserves);
                sometimes!("writer/allocated-ahead", reserves);
                self.allocated = target;
                Ok(())
            }
            Err(e) if e.kind() == std::io::ErrorKind::Unsupported && reserves => {
                sometimes!("writer/no-preallocation");
                self.preallocate.with = Preallocation::Off;
                Ok(())
            }
            Err(e) if is_disk_full(&e) && !planted!(PreallocationRefuses) => {
                self.give_room_back(end, target)
            }
            Err(e) => Err(e),
        }
    }

    /// Zeros from `end` to `target`. What is buffered goes before them.
    fn write_zeros(&self, end: u64, target: u64) -> std::io::Result<()> {
        let mut at = end.max(self.allocated);
        while at < target {
            let len = (target - at).min(ZERO_CHUNK.len() as u64);
            let zeros = ZERO_CHUNK.get(..usize::try_from(len).unwrap_or(0)).unwrap_or_default();
            write_all_at(&*self.file, zeros, at)?;
            at += len;
        }
        Ok(())
    }

    /// There was no room to reserve up to `target`: what was reserved of it is given back, so that
    /// the record finds room, and nothing more is reserved for a while.
    fn give_room_back(&mut self, end: u64, target: u64) -> std::io::Result<()> {
        sometimes!("writer/no-room-ahead");
        self.preallocate.not_before = end.saturating_add(self.preallocate.bytes);
        planted!(ZerosLeftBehind => return Ok(()));
        match self.file.set_len(self.allocated) {
            Ok(()) => Ok(()),
            Err(e) if is_disk_full(&e) => {
                sometimes!("writer/room-ahead-not-given-back");
                // They do no harm where they are, and are cut off with the next cut.
                self.allocated = target;
                Ok(())
            }
            Err(e) => Err(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use runstone_vfs::{MemVfs, Vfs};

    use super::*;
    use crate::log::record::parse_head;

    /// A padding record up to a sector's end, behind a record of another kind.
    fn padded(end: u64) -> Option<(RecordHead, u64)> {
        let head = RecordHead { kind: RecordKind::Watermark, version: 3, time_ms: 4, synced: 5 };
        let (seal, mut out) = (Seal::new(&[1; 16], &[2; 16]), Vec::new());
        pad(seal, &mut out, End { at: end, link: 5 }, head);
        if out.is_empty() {
            return None;
        }
        let raw = parse_head(&out, end, end + out.len() as u64).unwrap();
        assert_eq!(raw.total_bytes, out.len() as u64, "one record, and nothing else");
        let payload = seal.open(&raw, &out, end).unwrap();
        assert!(payload.iter().all(|byte| *byte == 0));
        Some((raw.head, raw.total_bytes))
    }

    #[test]
    fn what_fills_a_sector_is_padding_whatever_it_follows_and_ends_with_a_sector() {
        let head = RecordHead { kind: RecordKind::Padding, version: 3, time_ms: 4, synced: 5 };
        assert_eq!(padded(1024), None);
        for end in (1032..1536).step_by(8) {
            let gap = 1536 - end;
            let length = if gap < RECORD_BYTES_MIN { gap + SECTOR_BYTES } else { gap };
            assert_eq!(padded(end), Some((head, length)), "from {end}");
        }
    }

    #[test]
    fn a_file_reaches_ahead_of_its_records_but_not_beyond_the_segment_for_it() {
        let header = SegmentHeader { store_id: [1; 16], salt: [2; 16], number: 1, epoch: 1 };
        let head = RecordHead { kind: RecordKind::Commit, version: 1, time_ms: 1, synced: 0 };
        for preallocation in [Preallocation::Zeros, Preallocation::Reserved] {
            let path = Path::new("/000001.log");
            let file = MemVfs::new().create(path).unwrap();
            let (preallocate_bytes, segment_bytes) = (200_000, 400_000);
            let options =
                Options { preallocate_bytes, segment_bytes, preallocation, ..Options::default() };
            let at = SEGMENT_HEADER_BYTES;
            let mut writer =
                LogWriter::new(Arc::clone(&file), path, &header, header.end(), at, &options);
            for (bytes, expected) in [
                (40, at + 40 + 200_000),
                (100_000, at + 40 + 200_000), // as far as it reaches already
                (150_000, 400_000),
                (200_000, at + 450_040), // a record larger than what is left
            ] {
                writer.append(head, |out| out.resize(out.len() + bytes - RECORD_HEAD_BYTES, 7));
                writer.write_buffer(0).map_err(|_| "a failed write").unwrap();
                assert_eq!(file.len().unwrap(), expected, "{preallocation:?}");
            }
        }
    }
}
