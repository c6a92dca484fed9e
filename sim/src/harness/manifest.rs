//! What a manifest says: its snapshot and its edits, read from outside the engine.
//!
//! Invariant: reads by the documented layout, never by the engine's decoder, which is what is under
//! test; of what is damaged it says as much as there is.

use crc32fast::Hasher;

/// Edits begin on multiples of this.
const SECTOR: usize = 512;
/// The fields of a snapshot before its segments, of an edit's record before the edit, and of an
/// edit before its lists.
const SNAPSHOT_HEAD: usize = 104;
const RECORD_HEAD: usize = 40;
const EDIT_HEAD: usize = 52;
/// Of a table before its bound.
const TABLE_HEAD: usize = 48;

/// A little-endian number of `N` bytes.
pub(super) fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let field = bytes.get(at..at + N)?;
    Some(field.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// What a manifest says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Read {
    pub(crate) id: [u8; 16],
    pub(crate) is_clean: bool,
    /// The last commit that is in a table, and the engine time, in milliseconds, that the log had
    /// reached by then; zeros if there is none.
    pub(crate) flushed: (u64, u64),
    /// The fields of each segment, in the log's order.
    pub(crate) segments: Vec<[u8; 40]>,
    /// The numbers of the tables of each level.
    pub(crate) levels: Vec<Vec<u64>>,
    /// The length of the snapshot.
    pub(crate) snapshot_bytes: u64,
    /// Where each edit begins, and where the next would.
    pub(crate) edits: Vec<u64>,
    pub(crate) end: u64,
}

impl Read {
    /// Reads a file; `None` if it has no snapshot.
    pub(crate) fn of(file: &[u8]) -> Option<Self> {
        let length = 24 + place(file, 12)?;
        let snapshot = file.get(..length)?;
        let count = place(snapshot, 60)?;
        let (entries, _) = snapshot.get(SNAPSHOT_HEAD..)?.as_chunks();
        let segments = entries.get(..count).unwrap_or(entries).to_vec();
        let behind = snapshot.get(SNAPSHOT_HEAD + 40 * segments.len()..)?;
        let salt = snapshot.get(88..SNAPSHOT_HEAD)?;
        let mut read = Read {
            id: prefix(snapshot.get(24..40)?),
            is_clean: number::<4>(snapshot, 56)? == 1,
            flushed: (number::<8>(snapshot, 64)?, number::<8>(snapshot, 72)?),
            segments,
            levels: levels(behind).unwrap_or_default(),
            snapshot_bytes: length as u64,
            edits: Vec::new(),
            end: length.next_multiple_of(SECTOR) as u64,
        };
        let (mut at, mut link) = (length.next_multiple_of(SECTOR), number::<4>(snapshot, 16)?);
        for sequence in 1.. {
            let due = |(record, edit): &(&[u8], &[u8])| {
                record.get(8..24) == Some(salt)
                    && number::<8>(record, 24) == Some(sequence)
                    && number::<4>(record, 32) == Some(link)
                    && edit.len() >= EDIT_HEAD
            };
            let Some((record, edit)) = whole(file, at, &read.id).filter(due) else { break };
            if read.apply(edit).is_none() {
                break;
            }
            read.edits.push(at as u64);
            link = number::<4>(record, 0)?;
            at += record.len();
            read.end = at as u64;
        }
        Some(read)
    }

    fn apply(&mut self, edit: &[u8]) -> Option<()> {
        let (gone, new) = (place(edit, 40)?, place(edit, 44)?);
        let added = EDIT_HEAD + 8 * gone;
        let (entries, _) = edit.get(added..added + 40 * new)?.as_chunks();
        let has_levels = number::<4>(edit, 48)? == 1;
        let levels = match has_levels {
            true => self.levels_behind(edit.get(added + 40 * new..)?)?,
            false => self.levels.clone(),
        };
        if let Some(last) = self.segments.last_mut() {
            last.get_mut(24..32)?.copy_from_slice(edit.get(24..32)?);
            last.get_mut(32..36)?.copy_from_slice(edit.get(36..40)?);
            last.get_mut(36..40)?.copy_from_slice(edit.get(32..36)?);
        }
        self.segments.drain(..gone.min(self.segments.len()));
        self.segments.extend_from_slice(entries);
        self.levels = levels;
        self.flushed = (number::<8>(edit, 8)?, number::<8>(edit, 16)?);
        Some(())
    }

    fn levels_behind(&self, edit: &[u8]) -> Option<Vec<Vec<u64>>> {
        let (gone, count) = (place(edit, 0)?, place(edit, 4)?);
        let mut rest = edit.get(8 + 8 * gone..)?;
        let mut levels = Vec::new();
        for _ in 0..count {
            let (level, parts) = rest.split_at_checked(16)?;
            rest = parts;
            let mut tables = Vec::new();
            for _ in 0..number::<4>(level, 8)? {
                let (part, behind) = rest.split_at_checked(16)?;
                rest = behind;
                let (first, many) = (place(part, 8)?, place(part, 12)?);
                let kind = number::<4>(part, 0)?;
                if kind == 3 {
                    tables.push(number::<8>(rest, 0)?);
                    rest = rest.get(TABLE_HEAD + place(rest, TABLE_HEAD - 4)?..)?;
                    continue;
                }
                let known = self.levels.get(place(part, 4)?)?;
                tables.extend_from_slice(known.get(first..first + many)?);
                if kind == 2 {
                    rest = rest.get(4 + place(rest, 0)?..)?;
                }
            }
            levels.push(tables);
        }
        Some(levels)
    }

    /// The numbers of the files that it names.
    pub(crate) fn named(&self) -> Vec<u64> {
        let segments = self.segments.iter().filter_map(|fields| number::<8>(fields, 0));
        segments.chain(self.levels.iter().flatten().copied()).collect()
    }
}

/// The record at an offset of a file and the edit in it, if its checksum matches.
fn whole<'a>(file: &'a [u8], at: usize, id: &[u8; 16]) -> Option<(&'a [u8], &'a [u8])> {
    let rest = file.get(at..)?;
    let length = place(rest, 4)?;
    let record = rest.get(..RECORD_HEAD.checked_add(length)?.checked_next_multiple_of(SECTOR)?)?;
    let mut seal = Hasher::new();
    seal.update(id);
    seal.update(record.get(8..24)?);
    let mut hasher = Hasher::new_with_initial(seal.finalize());
    hasher.update(&(at as u64).to_le_bytes());
    hasher.update(record.get(4..)?);
    let matches = u64::from(hasher.finalize()) == number::<4>(record, 0)?;
    matches.then_some((record, record.get(RECORD_HEAD..RECORD_HEAD + length)?))
}

/// The numbers of the tables of each level in a snapshot, from behind its segments on.
fn levels(mut rest: &[u8]) -> Option<Vec<Vec<u64>>> {
    let mut levels = Vec::new();
    while let Some((level, tables)) = rest.split_at_checked(16) {
        rest = tables;
        let mut numbers = Vec::new();
        for _ in 0..number::<4>(level, 8)? {
            numbers.push(number::<8>(rest, 0)?);
            rest = rest.get(TABLE_HEAD + place(rest, TABLE_HEAD - 4)?..)?;
        }
        levels.push(numbers);
    }
    Some(levels)
}

/// A number of 32 bits, as a place or a count.
fn place(bytes: &[u8], at: usize) -> Option<usize> {
    number::<4>(bytes, at).and_then(|number| usize::try_from(number).ok())
}

fn prefix(bytes: &[u8]) -> [u8; 16] {
    bytes.first_chunk().copied().unwrap_or_default()
}
