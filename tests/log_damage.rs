//! A small log and its manifest, cut at every byte and with every single bit flipped.
//!
//! What is recovered is a prefix of the history, not shorter than what the test itself saw
//! synced (it watches the disk, it does not ask the decoder), or an error that names the file
//! and an offset. Never a wrong value, never a panic. After a clean close everything had been
//! synced, so any damage to what was written is an error.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that fails says so

mod common;

use std::path::Path;
use std::time::Duration;

use common::{
    DIR, Image, NO_TAGS, State, World, image, long_name, memory_of, run, segments, state,
};
use runstone::{Database, DurabilityMode, Error, RunStatus};
use runstone_sim::disk::{DiskConfig, SimVfs};

/// Six commits of several kinds, with what was shown after each (and before the first), and
/// where the record of each ends (and the header).
struct History {
    world: World,
    states: Vec<State>,
    log_bytes: Vec<u64>,
    /// How many commits a sync that returned Ok had covered.
    synced: usize,
    /// How many bytes of the log are durable.
    durable: u64,
    files: Image,
    log: String,
}

fn log_of(files: &Image) -> String {
    let names = segments(files);
    assert_eq!(names.len(), 1);
    names[0].clone()
}

/// Makes the history. The disk is a simulated one, whose durable image tells what was synced.
/// Under `Strict` each commit is written at once, so its length tells where each record ends;
/// the other modes write the same records, later.
fn history(mode: DurabilityMode, close: bool) -> History {
    let mut history = make(mode, close);
    history.log_bytes = make(DurabilityMode::Strict, false).log_bytes;
    let ends = &history.log_bytes;
    // A commit is synced if all of its bytes are; the log only grows.
    history.synced = ends.iter().filter(|end| **end <= history.durable).count() - 1;
    history
}

fn make(mode: DurabilityMode, close: bool) -> History {
    let disk = SimVfs::with_config(1, DiskConfig::plain());
    let world = World::new(disk.clone()).mode(mode);
    let db = world.open();
    let mut states = vec![state(&db)];
    let mut log_bytes = vec![];
    let durable_log = || {
        let files = disk.durable_image();
        let log = files.iter().find(|(path, _)| path.extension().is_some_and(|e| e == "log"));
        log.map_or(0, |(_, bytes)| bytes.len() as u64)
    };
    let live_log = || {
        let files = image(&disk, DIR);
        files[&log_of(&files)].len() as u64
    };
    log_bytes.push(live_log());
    let commits: [&Commit; 6] = [
        &|db| db.begin_run(run(1), [("t", "v")]).map(|_| ()),
        &|db| db.put(run(1), "a", 1).map(|_| ()),
        &|db| db.put_with_ttl(run(1), "b", "text", Some(Duration::from_secs(9))).map(|_| ()),
        &|db| db.delete(run(1), "a").map(|_| ()),
        &|db| db.put(run(1), "c", b"bytes").map(|_| ()),
        &|db| db.end_run_with(run(1), RunStatus::Failed).map(|_| ()),
    ];
    for (n, commit) in (1..).zip(commits) {
        world.clock.advance(1);
        commit(&db).unwrap();
        states.push(state(&db));
        log_bytes.push(live_log());
        if n == 3 {
            db.flush().unwrap();
        }
    }
    if close {
        db.close().unwrap();
    }
    let durable = durable_log();
    let files = image(&disk, DIR);
    let log = log_of(&files);
    History { world, states, log_bytes, durable, synced: 0, files, log }
}

/// One commit of the history.
type Commit = dyn Fn(&Database) -> runstone::Result<()>;

enum Answer {
    Prefix(usize),
    Refused(Error),
}

impl History {
    /// Opens these files; whatever is shown is a state of the history, whole, and goes on
    /// working; and a second opening shows it again.
    fn answer(&self, files: &Image) -> Answer {
        let disk = memory_of(files);
        let world = self.world.on_disk(disk.clone());
        let db = match world.try_open() {
            Ok(db) => db,
            Err(error) => {
                let again = world.try_open().map(|_| ()).unwrap_err();
                assert_eq!(again.to_string(), error.to_string());
                assert_eq!(&image(&disk, DIR), files, "a refusal changes nothing");
                return Answer::Refused(error);
            }
        };
        let shown = state(&db);
        let prefix = self.states.iter().position(|state| *state == shown);
        let prefix = prefix.unwrap_or_else(|| panic!("a state that never was: {shown:?}"));
        let version = db.begin_run(run(9), NO_TAGS).unwrap();
        assert_eq!(version, prefix as u64 + 1);
        let expected = state(&db);
        drop(db);
        assert_eq!(state(&world.open()), expected, "the second opening agrees");
        Answer::Prefix(prefix)
    }

    fn refused_with_offset(&self, error: &Error, file: &str) {
        match error {
            Error::Corruption { file: named, offset, .. } => {
                assert_eq!(named, &Path::new(DIR).join(long_name(file, &self.files)));
                assert!(*offset <= self.files[file].len() as u64);
            }
            Error::UnsupportedFormat { file: named, .. } => {
                assert_eq!(named, &Path::new(DIR).join(long_name(file, &self.files)));
            }
            other => panic!("neither corruption nor format: {other}"),
        }
    }
}

const MODES: [DurabilityMode; 3] = common::MODES;

#[test]
fn t03_a_log_cut_at_every_byte_is_a_prefix_that_holds_all_that_was_synced_or_an_error() {
    for mode in MODES {
        let history = history(mode, false);
        let whole = history.files[&history.log].clone();
        assert_eq!(history.synced, if mode == DurabilityMode::Strict { 6 } else { 3 });
        for cut in 0..=whole.len() {
            let mut files = history.files.clone();
            files.insert(history.log.clone(), whole[..cut].to_vec());
            let held = history.log_bytes.iter().filter(|bytes| **bytes <= cut as u64).count();
            match history.answer(&files) {
                Answer::Prefix(prefix) => {
                    assert_eq!(prefix + 1, held, "{mode:?}, cut at {cut}: all that is whole");
                    // Only the missing bytes themselves could have said that they were synced.
                    assert!(cut as u64 <= history.durable || prefix >= history.synced);
                }
                Answer::Refused(error) => {
                    history.refused_with_offset(&error, &history.log);
                    assert_eq!(held, 0, "{mode:?}, cut at {cut}: only the header is attested");
                }
            }
        }
    }
}

#[test]
fn every_flipped_bit_of_a_log_after_an_unclean_stop_is_a_long_enough_prefix_or_an_error() {
    for mode in MODES {
        let history = history(mode, false);
        let whole = &history.files[&history.log];
        for bit in 0..whole.len() * 8 {
            let mut files = history.files.clone();
            files.get_mut(&history.log).unwrap()[bit / 8] ^= 1 << (bit % 8);
            // Everything in front of the damage is there; behind it only if nothing is lost.
            let intact = history.log_bytes.iter().filter(|b| **b <= bit as u64 / 8).count();
            match history.answer(&files) {
                Answer::Prefix(prefix) => {
                    assert!(prefix + 1 >= intact, "{mode:?}, bit {bit}: shorter than intact");
                    assert!(intact > 0, "a header that is not intact holds no log");
                    // What a record behind it, or the manifest, attests is never cut off.
                    let attested = attested_behind(&history, bit as u64 / 8, mode);
                    assert!(!attested, "{mode:?}, bit {bit}: a synced commit was cut off");
                }
                Answer::Refused(error) => history.refused_with_offset(&error, &history.log),
            }
        }
    }
}

/// Whether a whole commit behind the damaged byte was written after that byte had been synced:
/// it then carries the proof, and the damage must be reported.
fn attested_behind(history: &History, at: u64, mode: DurabilityMode) -> bool {
    let damaged = history.log_bytes.iter().filter(|bytes| **bytes <= at).count();
    match mode {
        // Each commit was synced before the next was written.
        DurabilityMode::Strict => damaged + 1 < history.log_bytes.len(),
        // One flush, behind the third, before the fourth. Asynchronous commits behind it were
        // never handed over.
        DurabilityMode::Batched { .. } => damaged <= 3,
        DurabilityMode::Async { .. } => false,
    }
}

#[test]
fn after_a_clean_close_every_cut_and_every_flipped_bit_of_the_log_is_an_error() {
    for mode in MODES {
        let history = history(mode, true);
        assert_eq!(history.synced, 6);
        let whole = history.files[&history.log].clone();
        for cut in 0..whole.len() {
            let mut files = history.files.clone();
            files.insert(history.log.clone(), whole[..cut].to_vec());
            match history.answer(&files) {
                Answer::Prefix(prefix) => panic!("{mode:?}, cut at {cut}: {prefix} commits"),
                Answer::Refused(error) => history.refused_with_offset(&error, &history.log),
            }
        }
        for bit in 0..whole.len() * 8 {
            let mut files = history.files.clone();
            files.get_mut(&history.log).unwrap()[bit / 8] ^= 1 << (bit % 8);
            match history.answer(&files) {
                Answer::Prefix(prefix) => panic!("{mode:?}, bit {bit}: {prefix} commits"),
                Answer::Refused(error) => history.refused_with_offset(&error, &history.log),
            }
        }
    }
}

#[test]
fn c05_an_idle_log_attests_its_last_group_so_damage_to_it_is_an_error() {
    let mut history = history(MODES[0], false);
    let disk = memory_of(&history.files);
    let world = history.world.on_disk(disk.clone());
    let db = world.open();
    let version = db.begin_run(run(2), NO_TAGS).unwrap();
    db.tick().unwrap();
    world.clock.advance(world.options.idle_watermark_ms);
    db.tick().unwrap();
    history.files = image(&disk, DIR);
    history.log = segments(&history.files).pop().unwrap();
    history.states.push(state(&db));
    assert_eq!(history.states.len() as u64, version + 1);
    let whole = history.files[&history.log].clone();
    // The watermark record is the last; the commit stands before it.
    let commit = whole.len() - 40;
    for bit in 0..whole.len() * 8 {
        let mut files = history.files.clone();
        files.get_mut(&history.log).unwrap()[bit / 8] ^= 1 << (bit % 8);
        match history.answer(&files) {
            Answer::Prefix(prefix) => {
                assert_eq!(prefix as u64, version, "bit {bit}");
                assert!(bit / 8 >= commit, "bit {bit}: only the watermark itself may be torn");
            }
            Answer::Refused(error) => {
                assert!(bit / 8 < commit, "bit {bit}: {error}");
                history.refused_with_offset(&error, &history.log);
            }
        }
    }
}

#[test]
fn what_stands_behind_a_cleanly_closed_log_is_not_read() {
    let history = history(MODES[0], true);
    for extra in [&b"garbage"[..], &[0; 4096], &history.files[&history.log].clone()[72..]] {
        let mut files = history.files.clone();
        files.get_mut(&history.log).unwrap().extend_from_slice(extra);
        let Answer::Prefix(6) = history.answer(&files) else { panic!("all six commits") };
    }
}

#[test]
fn t12_a_torn_tail_of_zeros_or_garbage_of_any_length_is_cut_off() {
    let history = history(MODES[0], false);
    for len in [1, 7, 8, 33, 40, 511, 512, 4096, 300_000] {
        for filler in [0u8, 1, 0x5a, 0xff] {
            let mut files = history.files.clone();
            files.get_mut(&history.log).unwrap().extend(std::iter::repeat_n(filler, len));
            let Answer::Prefix(6) = history.answer(&files) else { panic!("all six commits") };
        }
    }
}

#[test]
fn a_manifest_with_any_cut_or_flipped_bit_is_an_error() {
    for close in [false, true] {
        let history = history(MODES[0], close);
        // Of one that was not closed, behind the snapshot are edits, of which the last may be torn.
        let whole = history.files["MANIFEST"].clone();
        let length = u32::from_le_bytes(whole[12..16].try_into().unwrap());
        let snapshot = 24 + usize::try_from(length).unwrap();
        assert!(!close || snapshot == whole.len(), "a closed store has no room for edits");
        for cut in 0..snapshot {
            let mut files = history.files.clone();
            files.insert("MANIFEST".to_owned(), whole[..cut].to_vec());
            let Answer::Refused(error) = history.answer(&files) else { panic!("cut at {cut}") };
            history.refused_with_offset(&error, "MANIFEST");
        }
        for bit in 0..snapshot * 8 {
            let mut files = history.files.clone();
            files.get_mut("MANIFEST").unwrap()[bit / 8] ^= 1 << (bit % 8);
            let Answer::Refused(error) = history.answer(&files) else { panic!("bit {bit}") };
            history.refused_with_offset(&error, "MANIFEST");
        }
    }
}
