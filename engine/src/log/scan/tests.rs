//! What a scan reads from the file, and how far it searches.

use std::io;
use std::sync::Mutex;

use runstone_vfs::{MemVfs, Vfs};

use super::*;
use crate::log::segment::SEGMENT_HEADER_BYTES;

const HEADER: SegmentHeader =
    SegmentHeader { store_id: [1; 16], salt: [2; 16], number: 1, epoch: 1 };

const STEP_BYTES: u64 = 256 << 10;

/// A file that notes which ranges are read.
#[derive(Debug)]
struct Watched {
    file: Arc<dyn VfsFile>,
    reads: Mutex<Vec<(u64, usize)>>,
}

impl VfsFile for Watched {
    fn read_at(&self, buf: &mut [u8], pos: u64) -> io::Result<usize> {
        let read = self.file.read_at(buf, pos)?;
        self.reads.lock().unwrap().push((pos, read));
        Ok(read)
    }

    fn write_at(&self, buf: &[u8], pos: u64) -> io::Result<usize> {
        self.file.write_at(buf, pos)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn allocate(&self, pos: u64, len: u64) -> io::Result<()> {
        self.file.allocate(pos, len)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn id(&self) -> io::Result<runstone_vfs::FileId> {
        unreachable!("never called here")
    }
}

/// A scan over a segment with this behind its header, in the default steps.
fn scan(behind: &[u8]) -> (SegmentScan, Arc<Watched>) {
    scan_in_steps(behind, STEP_BYTES)
}

fn scan_in_steps(behind: &[u8], step_bytes: u64) -> (SegmentScan, Arc<Watched>) {
    let path = Path::new("/000001.log");
    let file = MemVfs::new().create(path).unwrap();
    let bytes = [HEADER.encode().as_slice(), behind].concat();
    runstone_vfs::write_all_at(&*file, &bytes, 0).unwrap();
    let watched = Arc::new(Watched { file, reads: Mutex::default() });
    let read = Arc::clone(&watched) as Arc<dyn VfsFile>;
    let scan = SegmentScan::open(read, path, None, step_bytes).unwrap();
    watched.reads.lock().unwrap().clear();
    (scan, watched)
}

/// Records with payloads of these lengths, back to back behind the header.
fn records(lengths: &[usize]) -> Vec<u8> {
    behind(&mut HEADER.end(), 0xa5, lengths)
}

/// As [`records`], behind others, of payloads of this byte.
fn behind(end: &mut End, byte: u8, lengths: &[usize]) -> Vec<u8> {
    let mut out = Vec::new();
    for (version, length) in (1..).zip(lengths) {
        let head = RecordHead { kind: RecordKind::Commit, version, time_ms: 1, synced: 0 };
        *end = HEADER.seal().append(&mut out, *end, head, |out| {
            out.resize(out.len() + length, byte);
        });
    }
    out
}

fn read_all(scan: &mut SegmentScan) -> usize {
    let mut count = 0;
    while let Next::Record(record) = scan.next().unwrap() {
        assert!(record.payload.iter().all(|byte| *byte == 0xa5));
        count += 1;
    }
    count
}

/// Each read begins where the one before ended: an opening costs the log's length once, however
/// its records lie over the edges of the buffer.
#[test]
fn every_byte_behind_the_header_is_read_once_and_in_order() {
    let lengths = [100_000, 100_000, 100_000, 1, 700_000, 7, 261_000, 0, 262_144, 30];
    let bytes = records(&lengths);
    let (mut scan, watched) = scan(&bytes);
    assert_eq!(read_all(&mut scan), lengths.len());
    let mut at = SEGMENT_HEADER_BYTES;
    for (pos, read) in watched.reads.lock().unwrap().iter() {
        assert_eq!(*pos, at);
        at += *read as u64;
    }
    assert_eq!(at, scan.file_end());
}

/// Small records cost no call each.
#[test]
fn small_records_are_read_a_step_at_once() {
    let step = usize::try_from(STEP_BYTES).unwrap();
    let records = records(&vec![8; 3 * step / 48]);
    let (mut scan, watched) = scan(&records);
    read_all(&mut scan);
    let reads = watched.reads.lock().unwrap();
    assert_eq!(reads.first(), Some(&(SEGMENT_HEADER_BYTES, step)));
    // A record that lies over the edge is kept in part, and so much less is read.
    assert!(reads.len() <= records.len() / step + 2, "{} reads", reads.len());
}

/// The buffer is bounded by a step, so a long segment does not cost its length in memory.
#[test]
fn the_buffer_holds_a_step_or_a_record_whichever_is_larger() {
    let (mut scan, _watched) = scan(&records(&[100_000, 100_000, 100_000, 500_000, 100_000, 1]));
    let mut most = 0;
    while let Next::Record(_) = scan.next().unwrap() {
        most = most.max(scan.buffer.len() as u64);
    }
    assert_eq!(most, super::super::record::record_bytes(500_000));
}

/// A tail of `total` bytes whose heads say that they prove what stands at its front, and are so
/// long together.
fn tail(total: usize, work: u64) -> Vec<u8> {
    let mut tail = vec![0; total];
    let mut rest = work;
    for at in (8..).step_by(40) {
        let length = rest.min((total - at) as u64 & !7);
        if length < RECORD_BYTES_MIN {
            assert_eq!(rest, 0, "the work is spread over the heads");
            break;
        }
        // What is left for the last head is a record's length too.
        let length = if (1..RECORD_BYTES_MIN).contains(&(rest - length)) {
            length - RECORD_BYTES_MIN
        } else {
            length
        };
        let payload = u32::try_from(length - 33).unwrap();
        tail[at + 4..at + 8].copy_from_slice(&payload.to_le_bytes());
        let synced = u32::try_from(SEGMENT_HEADER_BYTES + 8).unwrap();
        tail[at + 24..at + 28].copy_from_slice(&synced.to_le_bytes());
        tail[at + 32] = RecordKind::Commit.to_byte();
        rest -= length;
    }
    tail
}

/// Sixteen times what is left of the segment, and a MiB: so that an opening ends in reasonable
/// time, and a short tail is never given up.
#[test]
fn a_search_for_a_proof_ends_at_its_limit_and_not_before() {
    let total = 200_000;
    let limit = 16 * total as u64 + (1 << 20);
    let (mut at_limit, _watched) = scan(&tail(total, limit));
    assert_eq!(at_limit.find_proof_behind(0).unwrap(), None);
    let (mut beyond, _watched) = scan(&tail(total, limit + 8));
    let error = beyond.find_proof_behind(0).unwrap_err();
    assert!(error.to_string().contains("more bytes that look like records"), "{error}");
}

/// The search leaves the buffer far ahead; what is counted afterwards stands behind it.
#[test]
fn what_is_counted_after_a_search_is_what_stands_at_the_position() {
    let mut tail = vec![0; usize::try_from(STEP_BYTES * 5 / 2).unwrap()];
    tail[3] = 1;
    let (mut scan, _watched) = scan(&tail);
    assert!(matches!(scan.next().unwrap(), Next::Stop(_)));
    assert_eq!(scan.find_proof_behind(0).unwrap(), None);
    assert_eq!(scan.bytes_behind().unwrap(), 4);
}

/// Where the steps end, nothing of the answer hangs: not between the bytes of a record's head, not
/// within a record larger than a step, not in the search behind what is not intact.
#[test]
fn the_length_of_a_step_changes_no_answer() {
    let whole = records(&[0, 1, 700, 8, 300, 41, 0, 90]);
    let judge = |behind: &[u8], step_bytes: u64| {
        let (mut scan, _watched) = scan_in_steps(behind, step_bytes);
        let mut found = Vec::new();
        let stop = loop {
            match scan.next().unwrap() {
                Next::Record(record) => found.push((record.before.at, record.bytes.to_vec())),
                Next::End => break None,
                Next::Stop(stop) => break Some(stop.found),
            }
        };
        let (position, proof) = (scan.position(), scan.find_proof_behind(0).unwrap());
        (found, stop, position, proof, scan.bytes_behind().unwrap())
    };
    let mut attested = whole.clone();
    let mut end = HEADER.end();
    behind(&mut end, 0xa5, &[0, 1, 700, 8, 300, 41, 0, 90]);
    let head = RecordHead { kind: RecordKind::Watermark, version: 9, time_ms: 1, synced: 1200 };
    HEADER.seal().append(&mut attested, end, head, |_| {});
    let mut images = vec![whole.clone(), attested.clone()];
    for at in [5, 40, 100, 500, 800, 1_100, 1_190] {
        images.push(whole[..at].to_vec());
        for original in [&whole, &attested] {
            let mut damaged = original.clone();
            damaged[at] ^= 1;
            damaged.resize(damaged.len() + 300, 0);
            images.push(damaged);
        }
    }
    let mut proofs = 0;
    for (i, image) in images.iter().enumerate() {
        let expected = judge(image, STEP_BYTES);
        proofs += usize::from(expected.3.is_some());
        for step_bytes in [1, 2, 7, 33, 40, 64, 200, 701, 1 << 30] {
            assert_eq!(judge(image, step_bytes), expected, "image {i}, steps of {step_bytes}");
        }
    }
    assert!(proofs >= 3, "{proofs} images prove that what is damaged had been synced");
}

/// What a disk shows that kept nothing of a second life of a file although it said Ok: a record of
/// the first in place of any of the second, of the same length and version.
#[test]
fn no_record_of_one_life_is_read_between_those_of_another() {
    let lengths = [30, 7, 0, 300, 30];
    let (first, second) =
        (behind(&mut HEADER.end(), 1, &lengths), behind(&mut HEADER.end(), 2, &lengths));
    let ends: Vec<usize> = lengths
        .iter()
        .scan(0, |end, length| {
            *end += usize::try_from(super::super::record::record_bytes(*length as u64)).unwrap();
            Some(*end)
        })
        .collect();
    let begins = |i: usize| if i == 0 { 0 } else { ends[i - 1] };
    for from in 0..lengths.len() {
        for (to, end) in ends.iter().enumerate().skip(from) {
            let mut mixed = second.clone();
            let range = begins(from)..*end;
            mixed[range.clone()].copy_from_slice(&first[range]);
            let (mut scan, _watched) = scan(&mixed);
            let mut read = Vec::new();
            while let Next::Record(record) = scan.next().unwrap() {
                read.extend_from_slice(record.bytes);
            }
            let is_of_one = first.starts_with(&read) || second.starts_with(&read);
            assert!(is_of_one, "records {from} to {to} are of the first life");
            let whole = from == 0 && to + 1 == lengths.len();
            assert_eq!(read.len() == mixed.len(), whole, "records {from} to {to}");
        }
    }
}
