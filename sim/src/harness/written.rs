//! C13: how far the log in the files reaches, read from outside the engine.
//!
//! A killed process leaves all that it has written. So the next opening must recover every commit
//! whose record stands whole in the files, whatever its level: an asynchronous commit is not
//! promised when it is acknowledged, but it is from when it has been written.
//!
//! Invariant: reads the manifest and the segments by their documented layout, never by the
//! engine's decoder, which is what is under test.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crc32fast::Hasher;

/// Where the first record of a segment stands.
const FIRST_RECORD: usize = 72;
/// The fields of a record before its payload.
const RECORD_HEAD: usize = 33;

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let field = bytes.get(at..at + N)?;
    Some(field.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// The version of the last commit that stands whole in the segment that is written; `None` if
/// there is no manifest or no segment to tell.
pub(crate) fn last_written(image: &BTreeMap<PathBuf, Vec<u8>>, dir: &Path) -> Option<u64> {
    let manifest = image.get(&dir.join("MANIFEST"))?;
    let entry = manifest.get(64..)?.chunks_exact(40).next_back()?;
    let name = format!("{:06}.log", number::<8>(entry, 0)?);
    let segment = image.get(&dir.join(name))?;
    let mut seal = Hasher::new();
    seal.update(segment.get(16..32)?);
    seal.update(segment.get(32..48)?);
    let seal = seal.finalize();
    let (mut at, mut last) = (FIRST_RECORD, None);
    while let Some((length, version)) = whole_record(segment, at, seal) {
        at += length;
        last = Some(version);
    }
    last
}

/// The length and the version of the record at an offset, if its checksum matches.
fn whole_record(segment: &[u8], at: usize, seal: u32) -> Option<(usize, u64)> {
    let rest = segment.get(at..)?;
    let payload = usize::try_from(number::<4>(rest, 4)?).ok()?;
    let length = RECORD_HEAD.checked_add(payload)?.checked_next_multiple_of(8)?;
    let covered = rest.get(4..length)?;
    let mut hasher = Hasher::new_with_initial(seal);
    hasher.update(&(at as u64).to_le_bytes());
    hasher.update(covered);
    let matches = u64::from(hasher.finalize()) == number::<4>(rest, 0)?;
    matches.then_some((length, number::<8>(rest, 8)?))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use runstone::{Database, DurabilityMode, Options, RunId};

    use super::*;
    use crate::disk::SimVfs;

    #[test]
    fn what_was_acknowledged_but_not_handed_over_is_not_counted_and_what_was_is() {
        let disk = SimVfs::new(1);
        let options = Options {
            durability: DurabilityMode::Async { interval_ms: 1_000 },
            background: false,
            ..Options::default()
        };
        let db = Database::builder().options(options).vfs(Arc::new(disk.clone()));
        let db = db.open("/db").unwrap();
        let run = RunId::from_bytes([1; 16]);
        db.begin_run(run, runstone::NO_TAGS).unwrap();
        let written = || last_written(&disk.live_image(), Path::new("/db"));
        assert_eq!(written(), None, "the begin waits in the buffer");
        db.flush().unwrap();
        assert_eq!(written(), Some(1));
        db.put(run, "k", 1).unwrap();
        assert_eq!(written(), Some(1));
        db.close().unwrap();
        assert_eq!(written(), Some(2));
    }
}
