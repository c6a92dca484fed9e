//! What is written ahead of the log: as the options say, or as the file system does.
//!
//! What stays true: it is reported, the same in every mode, and it changes nothing but how far the
//! file of the log reaches.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that fails says so

mod common;

use common::{DIR, NO_TAGS, State, World, image, run, state};
use runstone::vfs::{FileSystem, OsVfs, Vfs};
use runstone::{Database, DurabilityMode, Preallocation};
use runstone_sim::disk::{DiskConfig, SimVfs};

const MODES: [DurabilityMode; 3] = [
    DurabilityMode::Strict,
    DurabilityMode::Batched { interval_ms: 10, batch_size: 8 },
    DurabilityMode::Async { interval_ms: 10 },
];
const CHOICES: [Preallocation; 4] =
    [Preallocation::Auto, Preallocation::Zeros, Preallocation::Reserved, Preallocation::Off];
/// Where files are overwritten in place.
const IN_PLACE: [FileSystem; 3] = [FileSystem::Ext, FileSystem::Xfs, FileSystem::Overlay];

/// What a session reports, how long its log's file is, and what it shows.
fn session(
    file_system: FileSystem,
    mode: DurabilityMode,
    preallocation: Preallocation,
    bytes: u64,
) -> (Preallocation, usize, State) {
    let disk = SimVfs::with_config(1, DiskConfig { file_system, ..DiskConfig::plain() });
    let world = World::new(disk.clone()).mode(mode).with(|options| {
        options.preallocation = preallocation;
        options.preallocate_bytes = bytes;
    });
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    db.put(run(1), "k", vec![7; 100]).unwrap();
    db.flush().unwrap();
    let report = db.recovery_report();
    assert_eq!(report.file_system, file_system);
    assert_eq!(db.options().preallocation, preallocation, "the options stay as they were given");
    let told = (report.preallocation, image(&disk, DIR)["000001.log"].len(), state(&db));
    db.close().unwrap();
    drop(db);
    let reader = world.try_read_only().unwrap();
    assert_eq!(reader.recovery_report().preallocation, Preallocation::Off, "it writes nothing");
    assert_eq!(reader.recovery_report().file_system, file_system);
    told
}

#[test]
fn what_is_written_ahead_is_what_was_chosen_or_what_helps_there_in_every_mode() {
    for mode in MODES {
        let (_, bare, shown) = session(FileSystem::Unknown, mode, Preallocation::Off, 4096);
        for file_system in FileSystem::ALL {
            for choice in CHOICES {
                let expected = match (choice, IN_PLACE.contains(&file_system)) {
                    (Preallocation::Auto, true) => Preallocation::Zeros,
                    (Preallocation::Auto, false) => Preallocation::Off,
                    (chosen, _) => chosen,
                };
                let what = format!("{choice:?} on {file_system} in {mode:?}");
                let (told, length, found) = session(file_system, mode, choice, 4096);
                assert_eq!(told, expected, "{what}");
                let ahead = length - bare;
                match expected {
                    Preallocation::Off => assert_eq!(ahead, 0, "{what}"),
                    _ => assert!((1..=4096).contains(&ahead), "{what}: {ahead}"),
                }
                assert!(found == shown, "{what}");
                let (told, length, _) = session(file_system, mode, choice, 0);
                assert_eq!((told, length), (Preallocation::Off, bare), "{what}, of no bytes");
            }
        }
    }
}

#[test]
fn on_a_real_disk_the_report_names_the_file_system_of_the_directory_that_was_opened() {
    let dir = tempfile::tempdir().unwrap();
    let expected = OsVfs::new().open_dir(dir.path()).unwrap().file_system();
    let db = Database::open(dir.path().join("store")).unwrap();
    let report = db.recovery_report();
    assert_eq!(report.file_system, expected);
    assert_eq!(report.preallocation, Preallocation::Auto.on(expected));
}

#[test]
fn a_database_in_memory_takes_no_more_room_than_its_records() {
    let db = Database::in_memory().unwrap();
    let report = db.recovery_report();
    assert_eq!(report.file_system, FileSystem::Memory);
    assert_eq!(report.preallocation, Preallocation::Off);
}
