//! What a scan reads from the file, and how far it searches.

use std::io;
use std::sync::Mutex;

use runstone_vfs::{MemVfs, Vfs};

use super::*;

const HEADER: SegmentHeader =
    SegmentHeader { store_id: [1; 16], salt: [2; 16], number: 1, epoch: 1 };

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
}

/// A scan over a segment with this behind its header.
fn scan(behind: &[u8]) -> (SegmentScan, Arc<Watched>) {
    let path = Path::new("/000001.log");
    let file = MemVfs::new().create(path).unwrap();
    let bytes = [HEADER.encode().as_slice(), behind].concat();
    runstone_vfs::write_all_at(&*file, &bytes, 0).unwrap();
    let watched = Arc::new(Watched { file, reads: Mutex::default() });
    let scan = SegmentScan::open(Arc::clone(&watched) as Arc<dyn VfsFile>, path, None).unwrap();
    watched.reads.lock().unwrap().clear();
    (scan, watched)
}

/// Records with payloads of these lengths, back to back behind the header.
fn records(lengths: &[usize]) -> Vec<u8> {
    let mut out = Vec::new();
    for (version, length) in (1..).zip(lengths) {
        let head = RecordHead { kind: RecordKind::Commit, version, time_ms: 1, synced: 0 };
        let offset = SEGMENT_HEADER_BYTES + out.len() as u64;
        HEADER.seal().append(&mut out, offset, head, |out| out.resize(out.len() + length, 0xa5));
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
fn small_records_are_read_a_chunk_at_once() {
    let chunk = usize::try_from(CHUNK_BYTES).unwrap();
    let records = records(&vec![8; 3 * chunk / 48]);
    let (mut scan, watched) = scan(&records);
    read_all(&mut scan);
    let reads = watched.reads.lock().unwrap();
    assert_eq!(reads.first(), Some(&(SEGMENT_HEADER_BYTES, chunk)));
    // A record that lies over the edge is kept in part, and so much less is read.
    assert!(reads.len() <= records.len() / chunk + 2, "{} reads", reads.len());
}

/// The buffer is bounded by a chunk, so a long segment does not cost its length in memory.
#[test]
fn the_buffer_holds_a_chunk_or_a_record_whichever_is_larger() {
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
        tail[at + 24..at + 32].copy_from_slice(&(SEGMENT_HEADER_BYTES + 8).to_le_bytes());
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
    let mut tail = vec![0; usize::try_from(CHUNK_BYTES * 5 / 2).unwrap()];
    tail[3] = 1;
    let (mut scan, _watched) = scan(&tail);
    assert!(matches!(scan.next().unwrap(), Next::Stop(_)));
    assert_eq!(scan.find_proof_behind(0).unwrap(), None);
    assert_eq!(scan.bytes_behind().unwrap(), 4);
}
