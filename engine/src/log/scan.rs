//! Reading a segment, record by record.
//!
//! Invariants: a read error is an error, never the end of the log; nothing is skipped: the
//! scan ends at the first record that is not intact, or does not follow the one before, and says
//! why; the buffer never holds more than one step of reading or one record, whichever is larger.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use runstone_vfs::{VfsFile, read_full_at};

use super::record::{
    End, NotIntact, RECORD_ALIGN, RECORD_BYTES_MIN, RecordHead, RecordKind, parse_head,
};
use super::segment::{HEADER_LEN, SegmentHeader};
use crate::error::{Error, Result};
use crate::seal::Seal;

/// How many times the segment's length the search for later records may checksum.
const SEARCH_WORK_FACTOR: u64 = 16;

/// An intact record.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    /// Where the record before it ends, and it begins.
    pub(crate) before: End,
    pub(crate) head: RecordHead,
    pub(crate) payload: &'a [u8],
    /// The whole record, as it stands on disk.
    pub(crate) bytes: &'a [u8],
}

/// What stands at the scan's position.
#[derive(Debug)]
pub(crate) enum Next<'a> {
    /// An intact record.
    Record(Record<'a>),
    /// The end, exactly where it was asked for.
    End,
    /// Something else: the log's end, or damage; the caller judges.
    Stop(NotIntact),
}

/// A segment that is being read.
#[derive(Debug)]
pub(crate) struct SegmentScan {
    file: Arc<dyn VfsFile>,
    path: PathBuf,
    header: SegmentHeader,
    seal: Seal,
    /// Where reading ends: the file's length, or the attested one.
    end: u64,
    /// How far it has been read.
    read: End,
    /// How much is read at once.
    step_bytes: u64,
    buffer: Vec<u8>,
    buffer_at: u64,
}

impl SegmentScan {
    /// Opens a segment up to `end`, or to the file's length, and reads its header; what
    /// follows is read `step_bytes` at a time.
    ///
    /// Errors: [`Error::Io`], and those of [`SegmentHeader::decode`].
    pub(crate) fn open(
        file: Arc<dyn VfsFile>,
        path: &Path,
        end: Option<u64>,
        step_bytes: u64,
    ) -> Result<Self> {
        let length = file.len().map_err(|e| Error::io("reading the length of", path, e))?;
        let end = end.unwrap_or(length);
        if length < end {
            sometimes!("scan/shorter-than-attested");
            return Err(Error::corruption(
                path,
                length,
                format_args!("at least the {end} bytes that the manifest vouches for"),
                format_args!("the end of the file after {length} bytes"),
            ));
        }
        let mut head = vec![0; HEADER_LEN];
        let read = read_full_at(&*file, &mut head, 0).map_err(|e| Error::io("reading", path, e))?;
        let header = SegmentHeader::decode(head.get(..read).unwrap_or_default(), path)?;
        Ok(SegmentScan {
            file,
            path: path.to_owned(),
            seal: header.seal(),
            read: header.end(),
            header,
            end,
            step_bytes,
            buffer: Vec::new(),
            buffer_at: 0,
        })
    }

    pub(crate) fn header(&self) -> &SegmentHeader {
        &self.header
    }

    pub(crate) fn position(&self) -> u64 {
        self.read.at
    }

    /// Where the last record that was passed ends.
    pub(crate) fn read(&self) -> End {
        self.read
    }

    pub(crate) fn file_end(&self) -> u64 {
        self.end
    }

    /// Judges the record at the position; passes it if it is intact and follows the one before.
    ///
    /// Error: [`Error::Io`].
    pub(crate) fn next(&mut self) -> Result<Next<'_>> {
        let before = self.read;
        let offset = before.at;
        if offset == self.end {
            sometimes!("scan/end-as-attested");
            return Ok(Next::End);
        }
        self.fill(offset, RECORD_BYTES_MIN)?;
        let raw = match parse_head(self.held(offset, RECORD_BYTES_MIN), offset, self.end) {
            Ok(raw) => raw,
            Err(stop) => {
                sometimes!("scan/head-not-intact");
                return Ok(Next::Stop(stop));
            }
        };
        planted!(LargeRecordEndsLog => if raw.total_bytes > 1 << 16 { return Ok(Next::End) });
        self.fill(offset, raw.total_bytes)?;
        let bytes = self.held(offset, raw.total_bytes);
        if (bytes.len() as u64) < raw.total_bytes {
            sometimes!("scan/file-shrank-while-read");
            return Ok(Next::Stop(NotIntact::new("a record that the file ends within")));
        }
        match self.seal.open(&raw, bytes, offset) {
            Err(stop) => {
                sometimes!("scan/record-not-intact");
                Ok(Next::Stop(stop))
            }
            Ok(_payload) if raw.link != before.link && !planted!(MisdirectedRecordAccepted) => {
                sometimes!("scan/record-of-another-past");
                Ok(Next::Stop(NotIntact::new(
                    "a record that was written behind another one than the one before it",
                )))
            }
            Ok(_payload) => {
                self.read = End { at: offset + raw.total_bytes, link: raw.checksum };
                let bytes = self.held(offset, raw.total_bytes);
                let payload_end = super::record::RECORD_HEAD_BYTES
                    + u32::from_le_bytes(array4(bytes, 4)) as usize;
                let payload =
                    bytes.get(super::record::RECORD_HEAD_BYTES..payload_end).unwrap_or_default();
                Ok(Next::Record(Record { before, head: raw.head, payload, bytes }))
            }
        }
    }

    /// Looks behind the position for an intact record whose synced offset proves that the
    /// position had been synced, and whose version is at least `version_min`: then what stands
    /// at the position is damage, not a torn tail. Returns the offset of the proof and what it
    /// attests.
    ///
    /// Errors: [`Error::Io`]; [`Error::Corruption`] if so many bytes look like records that
    /// the search would not end in reasonable time.
    pub(crate) fn find_proof_behind(&mut self, version_min: u64) -> Result<Option<(u64, u64)>> {
        let torn_at = self.read.at;
        self.find_behind(torn_at, |head| head.synced > torn_at && head.version >= version_min)
    }

    fn find_behind(
        &mut self,
        torn_at: u64,
        proves: impl Fn(&RecordHead) -> bool,
    ) -> Result<Option<(u64, u64)>> {
        sometimes!("scan/proof-searched");
        let mut work = SEARCH_WORK_FACTOR * (self.end - torn_at) + (1 << 20);
        let mut offset = torn_at + RECORD_ALIGN;
        while offset + RECORD_BYTES_MIN <= self.end {
            self.fill(offset, RECORD_BYTES_MIN)?;
            let at = offset;
            offset += RECORD_ALIGN;
            let Ok(raw) = parse_head(self.held(at, RECORD_BYTES_MIN), at, self.end) else {
                continue;
            };
            if !proves(&raw.head) {
                continue;
            }
            sometimes!("scan/later-record-looked-at");
            let Some(left) = work.checked_sub(raw.total_bytes) else {
                sometimes!("scan/search-given-up");
                return Err(Error::corruption(
                    &self.path,
                    torn_at,
                    "an intact record, or the end of the log",
                    "neither, and behind it more bytes that look like records than can be checked",
                ));
            };
            work = left;
            self.fill(at, raw.total_bytes)?;
            let bytes = self.held(at, raw.total_bytes);
            if bytes.len() as u64 == raw.total_bytes && self.seal.open(&raw, bytes, at).is_ok() {
                sometimes!("scan/later-record-intact");
                return Ok(Some((at, raw.head.synced)));
            }
            sometimes!("scan/later-record-not-intact");
        }
        Ok(None)
    }

    /// Goes on at the next intact record behind the position, whatever it follows, for who tells
    /// of all damage. Returns where it stands; `None` if there is none, and the end is reached.
    ///
    /// Errors: as [`SegmentScan::find_proof_behind`].
    pub(crate) fn go_behind_damage(&mut self) -> Result<Option<u64>> {
        let found = self.find_behind(self.read.at, |_| true)?.map(|(at, _)| at);
        let at = found.unwrap_or(self.end);
        self.fill(at, RECORD_BYTES_MIN)?;
        let raw = parse_head(self.held(at, RECORD_BYTES_MIN), at, self.end);
        self.read = End { at, link: raw.map_or(0, |raw| raw.link) };
        Ok(found)
    }

    /// Whether an intact record stands anywhere from the position on. Padding does not count:
    /// it is all that a new segment may hold.
    ///
    /// Errors: as [`SegmentScan::find_proof_behind`].
    pub(crate) fn has_any_record(&mut self) -> Result<bool> {
        self.has_record(|head| head.kind != RecordKind::Padding)
    }

    /// The same, of a record that was appended: it attests what had been synced before it. What a
    /// segment is made with attests nothing.
    ///
    /// Errors: as [`SegmentScan::find_proof_behind`].
    pub(crate) fn has_appended_record(&mut self) -> Result<bool> {
        self.has_record(|head| head.synced > 0)
    }

    fn has_record(&mut self, counts: impl Fn(&RecordHead) -> bool) -> Result<bool> {
        while let Next::Record(record) = self.next()? {
            if counts(&record.head) {
                sometimes!("scan/record-without-manifest");
                return Ok(true);
            }
        }
        Ok(self.find_behind(self.read.at, counts)?.is_some())
    }

    /// How many bytes from the position on there are, up to the last that is not zero.
    ///
    /// Error: [`Error::Io`].
    pub(crate) fn bytes_behind(&mut self) -> Result<u64> {
        let from = self.read.at;
        let (mut at, mut last) = (from, from);
        while at < self.end {
            let len = self.step_bytes.min(self.end - at);
            self.fill(at, len)?;
            let held = self.held(at, len);
            if held.is_empty() {
                sometimes!("scan/file-shrank-while-counted");
                break;
            }
            if let Some(index) = held.iter().rposition(|byte| *byte != 0) {
                sometimes!("scan/bytes-behind-the-log");
                last = at + index as u64 + 1;
            }
            at += held.len() as u64;
        }
        Ok(if planted!(TornBytesCountZeros) { self.end } else { last } - from)
    }

    /// Makes the buffer hold `len` bytes from `offset`, as far as the segment reaches.
    fn fill(&mut self, offset: u64, len: u64) -> Result<()> {
        let want_end = (offset + len).min(self.end);
        let held_end = self.buffer_at + self.buffer.len() as u64;
        if offset >= self.buffer_at && want_end <= held_end {
            return Ok(());
        }
        // Keep what is held from `offset` on, and read on behind it.
        let keep_from = offset.clamp(self.buffer_at, held_end);
        sometimes!("scan/buffer-refilled", held_end > self.buffer_at);
        let drop = usize::try_from(keep_from - self.buffer_at).unwrap_or(usize::MAX);
        if offset >= self.buffer_at && offset <= held_end {
            self.buffer.drain(..drop.min(self.buffer.len()));
        } else {
            self.buffer.clear();
        }
        self.buffer_at = offset;
        let held = self.buffer.len();
        let want_end = if planted!(RecordCutByReadStep) { 0 } else { want_end };
        let target = want_end.max((offset + self.step_bytes).min(self.end)) - offset;
        let target = usize::try_from(target).unwrap_or(usize::MAX);
        self.buffer.resize(target.max(held), 0);
        let rest = self.buffer.get_mut(held..).unwrap_or_default();
        let read = read_full_at(&*self.file, rest, offset + held as u64)
            .map_err(|e| Error::io("reading", &self.path, e))?;
        self.buffer.truncate(held + read);
        Ok(())
    }

    fn held(&self, offset: u64, len: u64) -> &[u8] {
        let from = usize::try_from(offset.saturating_sub(self.buffer_at)).unwrap_or(usize::MAX);
        let held = self.buffer.get(from..).unwrap_or_default();
        held.get(..usize::try_from(len).unwrap_or(usize::MAX).min(held.len())).unwrap_or_default()
    }
}

fn array4(bytes: &[u8], at: usize) -> [u8; 4] {
    let mut array = [0; 4];
    if let Some(from) = bytes.get(at..at + 4) {
        array.copy_from_slice(from);
    }
    array
}

#[cfg(test)]
mod tests;
