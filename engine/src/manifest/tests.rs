//! What holds of snapshots.

use super::*;
use crate::types::PhysicalKey;

const SALT: [u8; 16] = [9; 16];

fn sample() -> Manifest {
    let attested = |at, link| End { at, link };
    Manifest {
        store_id: [7; 16],
        epoch: 5,
        next_file: 9,
        clean: true,
        segments: vec![
            SegmentEntry { number: 2, salt: [1; 16], attested: attested(400, 3), open: false },
            SegmentEntry { number: 8, salt: [2; 16], attested: attested(72, u32::MAX), open: true },
        ],
        flushed: Flushed { version: 77, time_ms: 5_000 },
        levels: vec![
            LevelEntry { tier: 0, joins: true, tables: vec![table(7, Some(key(b"m")))] },
            LevelEntry { tier: 1, joins: false, tables: vec![table(3, None), table(6, None)] },
        ],
    }
}

fn key(user: &[u8]) -> PhysicalKey {
    PhysicalKey::from_parts(9, 1, &[], user)
}

fn table(number: u64, from: Option<PhysicalKey>) -> TableEntry {
    TableEntry { number, salt: [4; 16], epoch: 3, file_bytes: 900, checksum: 12, from }
}

fn read(bytes: &[u8]) -> Result<Manifest> {
    file::read(bytes, Path::new("runstone.manifest")).map(|(found, _)| found)
}

#[test]
fn a_manifest_reads_back() {
    assert_eq!(read(&sample().encode(&SALT)).unwrap(), sample());
}

#[test]
fn any_flipped_bit_or_cut_of_a_manifest_is_an_error() {
    let bytes = sample().encode(&SALT);
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(read(&flipped).is_err(), "bit {bit}");
    }
    for cut in 0..bytes.len() {
        assert!(read(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    let mut longer = bytes;
    longer.push(0);
    assert_eq!(read(&longer).unwrap(), sample(), "zeros follow");
    longer.push(1);
    assert!(read(&longer).is_err(), "between the snapshot and the first edit");
}

#[test]
fn a_manifest_that_breaks_an_invariant_is_an_error_though_its_checksum_matches() {
    let breakers: [fn(&mut Manifest); 13] = [
        |m| m.segments.clear(),
        |m| m.segments.reverse(),
        |m| m.next_file = 8,
        |m| m.segments[0].open = true,
        |m| m.segments[1].attested.at = 71,
        |m| m.levels.reverse(),
        |m| m.levels[0].tables[0].number = 9,
        |m| m.levels[0].tables[0].number = 6,
        |m| m.levels[0].tables[0].number = 8,
        |m| m.levels[1].joins = true,
        |m| m.levels[0].tier = 2,
        |m| m.levels[1].tables.clear(),
        |m| m.flushed = Flushed::default(),
    ];
    for (i, break_it) in breakers.iter().enumerate() {
        let mut manifest = sample();
        break_it(&mut manifest);
        assert!(read(&manifest.encode(&SALT)).is_err(), "breaker {i}");
    }
}

/// The sample's bytes, edited, under a checksum that matches.
fn sealed(edit: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = sample().encode(&SALT);
    edit(&mut bytes);
    let length = u32::try_from(bytes.len() - FRAME_BYTES).unwrap();
    bytes[12..16].copy_from_slice(&length.to_le_bytes());
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..16]);
    hasher.update(&bytes[FRAME_BYTES..]);
    bytes[16..20].copy_from_slice(&hasher.finalize().to_le_bytes());
    bytes
}

#[test]
fn an_intact_manifest_of_a_later_format_is_unsupported_not_corrupt() {
    let bytes = sealed(|bytes| bytes[8] = 9);
    assert!(matches!(read(&bytes), Err(Error::UnsupportedFormat { found: 9, .. })));
}

#[test]
fn a_field_that_no_manifest_has_is_an_error_though_its_checksum_matches() {
    const ENTRY: usize = FRAME_BYTES + BODY_HEAD_BYTES;
    const LEVEL: usize = ENTRY + 2 * SEGMENT_ENTRY_BYTES;
    type Edit = fn(&mut Vec<u8>);
    let edits: [(&str, Edit); 11] = [
        ("a manifest of format 1", |bytes| bytes[8] = 0),
        ("a flag of 0 or 1", |bytes| bytes[FRAME_BYTES + 32] = 2),
        ("a flag of 0 or 1", |bytes| bytes[ENTRY + 32] = 7),
        ("as many log files listed as there is room for", |bytes| {
            bytes[FRAME_BYTES + 36] = 30;
        }),
        ("as many levels as there is room for", |bytes| bytes[FRAME_BYTES + 56] = 30),
        ("a flag of 0 or 1", |bytes| bytes[LEVEL + 4] = 2),
        ("as many tables listed as there is room for", |bytes| bytes[LEVEL + 8] = 30),
        ("a bound of at least 17 bytes, or none", |bytes| bytes[LEVEL + 16 + 44] = 16),
        ("a bound", |bytes| bytes[LEVEL + 16 + 46] = 1),
        ("the end of the manifest", |bytes| bytes.push(0)),
        ("a number of segments", |bytes| bytes.truncate(FRAME_BYTES + 36)),
    ];
    for (what, edit) in edits {
        match read(&sealed(edit)) {
            Err(Error::Corruption { expected, .. }) => assert_eq!(expected, what),
            other => panic!("{what}: {other:?}"),
        }
    }
    assert!(read(&sealed(|_| {})).is_ok());
}

/// Manifests of one session: a rotation, a flush, a part of a merge, a move, and a rotation again.
fn session() -> Vec<Manifest> {
    let mut at = Manifest { clean: false, ..sample() };
    let mut all = vec![at.clone()];
    let mut then = |change: &dyn Fn(&mut Manifest)| {
        change(&mut at);
        all.push(at.clone());
    };
    let open = |number| {
        let attested = End { at: 72, link: 5 };
        SegmentEntry { number, salt: [3; 16], attested, open: true }
    };
    then(&|m| {
        let last = m.segments.last_mut().unwrap();
        (last.attested, last.open) = (End { at: 900, link: 8 }, false);
        m.segments.push(open(9));
        m.next_file = 10;
    });
    then(&|m| {
        m.segments.drain(..2);
        m.flushed = Flushed { version: 90, time_ms: 6_000 };
        let tables = vec![table(10, None), table(11, None)];
        m.levels.insert(0, LevelEntry { tier: 0, joins: false, tables });
        m.next_file = 12;
    });
    then(&|m| {
        m.levels[1].tables[0].from = Some(key(b"n"));
        m.levels[2].tables = vec![table(12, None), table(6, None)];
        m.next_file = 13;
    });
    then(&|m| {
        let LevelEntry { tables, .. } = m.levels.remove(1);
        m.levels[1].tables.extend(tables);
    });
    then(&|m| {
        (m.segments[0].attested, m.segments[0].open) = (End { at: 5000, link: 9 }, false);
        m.segments.push(open(13));
        m.next_file = 14;
    });
    all
}

/// A file with these manifests, one behind the other; and where each edit begins.
fn file_of(all: &[Manifest], salt: &[u8; 16], room: usize) -> (Vec<u8>, Vec<usize>) {
    let mut bytes = all[0].encode(salt);
    let mut next = Snapshot::followed_by(&bytes).unwrap();
    let mut begins = Vec::new();
    for pair in all.windows(2) {
        let edit = edit::Edit::between(&pair[0], &pair[1]);
        assert_eq!(edit::Edit::decode(&edit.encode()).as_ref(), Ok(&edit));
        assert_eq!(edit.apply(&pair[0]).as_ref(), Ok(&pair[1]));
        let at = usize::try_from(next.at).unwrap();
        begins.push(at);
        let (record, behind) = frame::encode(&pair[0].store_id, &next, &edit.encode());
        bytes.resize(at, 0);
        bytes.extend_from_slice(&record);
        next = behind;
    }
    bytes.resize(bytes.len() + room, 0);
    (bytes, begins)
}

fn is_corrupt_at(bytes: &[u8], at: usize) -> bool {
    matches!(read(bytes), Err(Error::Corruption { offset, .. }) if offset == at as u64)
}

#[test]
fn a_snapshot_and_edits_read_as_the_last_manifest_whatever_room_is_behind() {
    let all = session();
    for room in [0, 512, 4096] {
        for count in 1..=all.len() {
            let (bytes, _) = file_of(&all[..count], &SALT, room);
            assert_eq!(read(&bytes).unwrap(), all[count - 1]);
        }
    }
}

#[test]
fn a_torn_last_edit_is_not_there_and_a_damaged_one_before_it_is_an_error_that_tells_where() {
    let all = session();
    let (bytes, begins) = file_of(&all, &SALT, 1024);
    let last = begins.len() - 1;
    for (nth, at) in begins.iter().enumerate() {
        for bit in 0..512 * 8 {
            let mut flipped = bytes.clone();
            flipped[at + bit / 8] ^= 1 << (bit % 8);
            match nth == last {
                true => assert_eq!(read(&flipped).unwrap(), all[last], "bit {bit}"),
                false => assert!(is_corrupt_at(&flipped, *at), "edit {nth}, bit {bit}"),
            }
        }
        // What a file begins with in the place of the last one is told, for the opening to look
        // where that edit is.
        let mut exchanged = bytes.clone();
        exchanged[*at..at + 8].copy_from_slice(b"RUNSTLOG");
        match file::read(&exchanged, Path::new("runstone.manifest")) {
            Ok((found, exchanged)) if nth == last => {
                assert_eq!(found, all[last]);
                let due = exchanged.unwrap();
                for edit in 0..begins.len() {
                    assert_eq!(frame::is_due(&bytes[begins[edit]..], &due), edit == last);
                }
                assert!(!frame::is_due(&bytes, &due) && !frame::is_due(&[], &due));
            }
            found => {
                assert!(nth != last && found.is_err(), "in the place of edit {nth}: {found:?}")
            }
        }
        assert_eq!(file::read(&bytes, Path::new("runstone.manifest")).unwrap().1, None);
        let mut zeroed = bytes.clone();
        zeroed[*at..at + 512].fill(0);
        assert_eq!(is_corrupt_at(&zeroed, *at), nth != last);
        // As a crash in its write leaves it.
        for cut in 0..512 {
            let mut cut_short = bytes.clone();
            cut_short[at + cut..].fill(0);
            let found = read(&cut_short).unwrap();
            let is_whole = bytes[at + cut..at + 512].iter().all(|byte| *byte == 0);
            assert_eq!(found, all[nth + usize::from(is_whole)], "edit {nth}, cut at {cut}");
            cut_short.truncate(at + cut);
            assert_eq!(read(&cut_short).unwrap(), all[nth]);
        }
    }
}

#[test]
fn an_edit_elsewhere_twice_or_of_another_life_is_an_error() {
    let all = session();
    let (bytes, begins) = file_of(&all, &SALT, 1024);
    let (other, _) = file_of(&all, &[8; 16], 1024);
    for (nth, at) in begins.iter().enumerate() {
        let mut mixed = bytes.clone();
        mixed[*at..].copy_from_slice(&other[*at..]);
        assert!(is_corrupt_at(&mixed, *at), "edits of another life from {nth} on");
        let mut older = other.clone();
        older[*at..].copy_from_slice(&bytes[*at..]);
        assert!(is_corrupt_at(&older, *at));
        // Moved to where another stands: no checksum is right there.
        let mut moved = bytes.clone();
        moved.copy_within(begins[0]..begins[0] + 512, *at);
        assert_eq!(read(&moved).is_ok(), nth == 0 || nth == begins.len() - 1);
    }
    // Two exchanged, the last among them, or one exchanged with zeros behind it.
    for (nth, at) in begins.iter().enumerate() {
        for other in begins[nth + 1..].iter().copied().chain([bytes.len() - 512]) {
            let mut exchanged = bytes.clone();
            exchanged[*at..at + 512].copy_from_slice(&bytes[other..other + 512]);
            exchanged[other..other + 512].copy_from_slice(&bytes[*at..at + 512]);
            assert!(is_corrupt_at(&exchanged, *at), "{at} and {other}");
        }
    }
    // One that is sealed for the place, and follows something else.
    let again = edit::Edit::between(&all[0], &all[1]).encode();
    let mut next = Snapshot::followed_by(&bytes).unwrap();
    next.at = begins[1] as u64;
    for (sequence, link) in [(1, next.link), (2, next.link), (3, 77)] {
        let position = Position { sequence, link, ..next };
        let (record, _) = frame::encode(&all[0].store_id, &position, &again);
        let mut forged = bytes[..begins[1]].to_vec();
        forged.extend_from_slice(&record);
        assert!(is_corrupt_at(&forged, begins[1]), "sequence {sequence}, link {link}");
    }
}

#[test]
fn bytes_that_look_like_long_edits_without_end_are_refused_before_they_take_long() {
    let all = session();
    let (mut bytes, begins) = file_of(&all[..2], &SALT, 0);
    bytes[begins[0] + 100] ^= 1;
    let sectors = 400;
    for nth in (0..sectors).rev() {
        // Each says that it reaches to the end of the file.
        let mut head = [7; 512];
        let rest = u32::try_from(512 * (nth + 1) - 40).unwrap();
        head[4..8].copy_from_slice(&rest.to_le_bytes());
        head[36..40].copy_from_slice(&1u32.to_le_bytes());
        bytes.extend_from_slice(&head);
    }
    assert!(is_corrupt_at(&bytes, begins[0]));
    // A few are looked at, and none is an edit.
    bytes.truncate(bytes.len() - 512 * (sectors - 8));
    assert_eq!(read(&bytes).unwrap(), all[0]);
}

#[test]
fn an_edit_that_does_not_fit_the_manifest_before_it_is_refused() {
    let all = session();
    let edits: Vec<_> =
        all.windows(2).map(|pair| edit::Edit::between(&pair[0], &pair[1])).collect();
    for (nth, edit) in edits.iter().enumerate() {
        for (before, old) in all.iter().enumerate() {
            // A move does not tell which manifest it is of, nor a rotation by what is to come.
            if before != nth && (nth < 3 || before < 2 && nth == 3) {
                assert!(edit.apply(old).is_err(), "edit {nth} applied to manifest {before}");
            }
            let closed = Manifest { clean: true, ..old.clone() };
            assert!(edit.apply(&closed).is_err(), "edit {nth} behind a close");
        }
    }
    type Break = fn(&mut Manifest);
    let breakers: [Break; 13] = [
        |m| m.clean = true,
        |m| m.next_file -= 1,
        |m| m.flushed.version -= 1,
        |m| m.flushed.time_ms -= 1,
        |m| m.segments[0].attested.at -= 1,
        |m| m.segments[0].attested.link += 1,
        |m| m.segments[0].open = false,
        |m| m.segments.clear(),
        |m| m.levels[1].tables[0].from = None,
        |m| m.levels[1].tables[0].from = Some(key(b"l")),
        |m| m.levels[2].tables[0].salt = [0; 16],
        |m| m.levels[2].tables[0].number = 13,
        |m| m.epoch += 1,
    ];
    for (nth, break_it) in breakers.iter().enumerate() {
        let old = &all[3];
        let mut new = old.clone();
        break_it(&mut new);
        assert_ne!(edit::Edit::between(old, &new).apply(old).as_ref(), Ok(&new), "breaker {nth}");
    }
}

proptest::proptest! {
    /// Levels that share any tables, in any order, some with a raised bound.
    #[test]
    fn between_any_levels_there_is_an_edit_that_reads_back(
        old in proptest::collection::vec(proptest::collection::vec(0u64..12, 1..5), 0..4),
        new in proptest::collection::vec(proptest::collection::vec(0u64..24, 1..5), 0..4),
        raised in 0u64..24,
    ) {
        let manifest = |levels: &[Vec<u64>], raised: Option<u64>| {
            let mut known = std::collections::BTreeSet::new();
            let mut entries = Vec::new();
            for numbers in levels {
                let new = numbers.iter().filter(|number| known.insert(**number));
                let tables: Vec<_> = new
                    .map(|number| table(100 + number, (raised == Some(*number)).then(|| key(b"b"))))
                    .collect();
                if !tables.is_empty() {
                    entries.push(LevelEntry { tier: 3, joins: false, tables });
                }
            }
            Manifest { clean: false, next_file: 200, levels: entries, ..sample() }
        };
        let (old, new) = (manifest(&old, None), manifest(&new, Some(raised)));
        let edit = edit::Edit::between(&old, &new);
        proptest::prop_assert_eq!(edit.apply(&old), Ok(new));
        proptest::prop_assert_eq!(edit::Edit::decode(&edit.encode()), Ok(edit));
    }
}
