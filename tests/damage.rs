//! What stands in the directory of a store and should not, or does not and should: each its own
//! outcome of opening, and its own test.
//!
//! Damage below the watermark, a missing segment, a missing or damaged manifest, an unfinished
//! creation, orphan and foreign files, files of another store, a later format.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that fails says so

mod common;

use std::path::Path;

use common::stores::{
    HEADER_BYTES, closed, corruption, fill, killed, killed_in_one_segment, path, refused,
    small_segments,
};
use common::{
    DIR, Image, NO_TAGS, TestEntropy, World, image, long_name, memory_of, run, segments, state,
};
use runstone::Error;
use runstone::vfs::Vfs;
use runstone_sim::disk::{CallKind, CrashKind, Fault, FaultKind, SimVfs};

#[test]
fn damage_below_the_watermark_is_an_error_that_names_file_and_offset() {
    for (world, _, files) in [closed(), killed()] {
        let names = segments(&files);
        for name in &names[..names.len() - 1] {
            for at in [HEADER_BYTES, HEADER_BYTES + 1, files[name].len() - 1] {
                let mut files = files.clone();
                files.get_mut(name).unwrap()[at] ^= 0x10;
                let (file, offset) = corruption(&refused(&world, &files));
                assert_eq!(&file, name);
                assert!(offset <= at as u64 && offset >= HEADER_BYTES as u64);
            }
            let mut files = files.clone();
            files.get_mut(name).unwrap().pop();
            assert_eq!(&corruption(&refused(&world, &files)).0, name, "too short");
        }
    }
}

#[test]
fn damage_in_the_open_segment_that_a_later_record_attests_is_an_error() {
    let (world, _, mut one) = killed_in_one_segment();
    assert_eq!(segments(&one).len(), 1);
    let name = segments(&one).pop().unwrap();
    // The third record: everything before it, and it, was synced before the ones behind it.
    one.get_mut(&name).unwrap()[HEADER_BYTES + 200] ^= 1;
    let (file, offset) = corruption(&refused(&world, &one));
    assert_eq!(file, name);
    assert!((HEADER_BYTES as u64..HEADER_BYTES as u64 + 201).contains(&offset));
}

#[test]
fn a_missing_segment_is_an_error_that_names_it() {
    for (world, _, files) in [closed(), killed()] {
        for name in segments(&files) {
            let mut files = files.clone();
            files.remove(&name);
            assert_eq!(corruption(&refused(&world, &files)), (name, 0));
        }
    }
}

#[test]
fn t28_a_missing_manifest_beside_a_log_with_records_is_refused() {
    for (world, _, mut files) in [closed(), killed()] {
        files.remove("MANIFEST");
        assert_eq!(corruption(&refused(&world, &files)), ("MANIFEST".to_owned(), 0));
        // One record anywhere is enough, also behind damage.
        let name = segments(&files).pop().unwrap();
        files.retain(|file, _| file == "LOCK" || *file == name);
        assert_eq!(corruption(&refused(&world, &files)), ("MANIFEST".to_owned(), 0));
    }
}

/// A record is judged by the ids of its header, so nothing in such a log is known to be one.
#[test]
fn t28_a_missing_manifest_beside_a_log_with_a_damaged_header_is_refused() {
    let (world, _, mut files) = killed_in_one_segment();
    files.remove("MANIFEST");
    let name = segments(&files).pop().unwrap();
    for at in 0..HEADER_BYTES {
        let mut files = files.clone();
        files.get_mut(&name).unwrap()[at] ^= 1;
        assert_eq!(corruption(&refused(&world, &files)), ("MANIFEST".to_owned(), 0), "byte {at}");
    }
}

#[test]
fn a_missing_manifest_beside_empty_segments_is_an_unfinished_creation_and_made_anew() {
    let world = World::memory();
    drop(world.open());
    let mut files = image(&*world.vfs, DIR);
    files.remove("MANIFEST");
    assert_eq!(segments(&files).len(), 1, "a header and no record");
    files.insert("000007.tmp".to_owned(), b"half a mani".to_vec());
    files.insert("000003.log".to_owned(), b"RUNSTLOG, and then the power".to_vec());
    let disk = memory_of(&files);
    let db = world.on_disk(disk.clone()).open();
    assert!(db.recovery_report().created && db.recovery_report().clean);
    db.begin_run(run(1), NO_TAGS).unwrap();
    db.close().unwrap();
    let after = image(&disk, DIR);
    assert!(after.keys().all(|name| name.as_str() > "000007" || name == "LOCK"), "{after:?}");
    assert!(!after.contains_key("000007.tmp"));
    // Read-only there is nothing to read, and nothing is made.
    let nothing = world.on_disk(memory_of(&files)).try_read_only().map(|_| ()).unwrap_err();
    assert!(matches!(&nothing, Error::NoStore { path } if path == Path::new(DIR)), "{nothing}");
}

#[test]
fn a_damaged_manifest_is_an_error_and_the_log_is_not_read_past_it() {
    let (world, _, files) = closed();
    let length = files["MANIFEST"].len();
    for (what, damaged) in [
        ("empty", vec![]),
        ("half", files["MANIFEST"][..length / 2].to_vec()),
        ("garbage", vec![0xa5; length]),
        ("zeros", vec![0; length]),
        ("longer", [&files["MANIFEST"][..], b"!"].concat()),
    ] {
        let mut files = files.clone();
        files.insert("MANIFEST".to_owned(), damaged);
        assert_eq!(corruption(&refused(&world, &files)).0, "MANIFEST", "{what}");
    }
}

#[test]
fn orphans_of_this_store_are_removed_and_foreign_files_are_left_alone() {
    let (world, expected, files) = closed();
    let mut littered = files.clone();
    let own = files[&segments(&files)[0]].clone();
    for (name, bytes) in [
        ("900001.log", own[..HEADER_BYTES].to_vec()),
        ("900002.log", own),
        ("900003.log", b"no header".to_vec()),
        ("900004.log", vec![]),
        ("900005.tmp", files["MANIFEST"].clone()),
        ("900006.tmp", b"half".to_vec()),
    ] {
        littered.insert(name.to_owned(), bytes);
    }
    let foreign =
        ["notes.txt", "MANIFEST.bak", "1.log", "0000001.log", "000001.LOG", "x.log", ".log"];
    for name in foreign {
        littered.insert(name.to_owned(), b"somebody else's".to_vec());
    }
    let disk = memory_of(&littered);
    disk.create_dir(&path("000042.log")).unwrap();
    let world = world.on_disk(disk.clone());
    let db = world.open();
    assert_eq!(state(&db), expected);
    let report = db.recovery_report();
    // After a clean close the opening writes nothing; maintenance replaces the manifest first.
    assert_eq!(report.files_removed, 0);
    assert_eq!(db.maintain().unwrap().files_removed, 6);
    assert_eq!(report.foreign_files, foreign.len() as u64 + 1, "the directory is foreign too");
    // A number that a file bore is never used again.
    db.put(run(1), "one more", 1).unwrap();
    for _ in 0..10 {
        db.put(run(1), "and a new segment", vec![0; 100]).unwrap();
    }
    db.close().unwrap();
    let after = image(&disk, DIR);
    for name in foreign {
        assert_eq!(after[name], b"somebody else's");
    }
    let new: Vec<_> = segments(&after).into_iter().filter(|n| !files.contains_key(n)).collect();
    let new: Vec<_> = new.iter().filter(|n| !foreign.contains(&n.as_str())).collect();
    assert!(!new.is_empty() && new.iter().all(|name| name.as_str() > "900006"), "{new:?}");
    assert!(disk.list(&path("000042.log")).is_ok());
}

/// The old manifest keeps a second name until the new one is durable.
#[test]
fn c12_a_second_name_of_the_manifest_that_stays_is_removed_by_maintenance() {
    let temporary = |disk: &SimVfs| image(disk, DIR).keys().any(|name| name.ends_with(".tmp"));
    let disk = SimVfs::new(1);
    let world = small_segments(World::new(disk.clone()));
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    let failed = Fault::new(FaultKind::Io).without_effect();
    // In a rotation, and in the recovery of an opening.
    disk.fail_nth(CallKind::Remove, 0, failed);
    while !temporary(&disk) {
        db.put(run(1), "k", vec![0; 100]).unwrap();
    }
    assert_eq!(db.maintain().unwrap().files_removed, 1);
    assert!(!temporary(&disk));
    disk.crash_now(CrashKind::Process);
    drop(db);
    disk.restart();
    disk.fail_nth(CallKind::Remove, 0, failed);
    let db = world.open();
    assert!(temporary(&disk));
    let report = db.maintain().unwrap();
    assert_eq!((report.files_removed, report.left), (1, 0));
    assert!(!temporary(&disk));
}

/// Another store, whose ids and salts differ.
fn other_store() -> Image {
    let mut world = small_segments(World::memory());
    world.entropy = TestEntropy::new(2);
    let db = world.open();
    fill(&db);
    db.close().unwrap();
    image(&*world.vfs, DIR)
}

#[test]
fn files_of_another_store_are_left_alone_if_nothing_names_them() {
    let (world, expected, mut files) = closed();
    let other = other_store();
    let segment = other[&segments(&other)[0]].clone();
    files.insert("900001.log".to_owned(), segment.clone());
    files.insert("900002.tmp".to_owned(), other["MANIFEST"].clone());
    let disk = memory_of(&files);
    let db = world.on_disk(disk.clone()).open();
    assert_eq!(state(&db), expected);
    assert_eq!(db.recovery_report().files_removed, 0);
    db.close().unwrap();
    let after = image(&disk, DIR);
    assert_eq!(after["900001.log"], segment);
    assert_eq!(after["900002.tmp"], other["MANIFEST"]);
}

#[test]
fn a_segment_of_another_store_or_of_another_place_is_corruption() {
    for (world, _, files) in [closed(), killed()] {
        let other = other_store();
        let names = segments(&files);
        assert_eq!(names, segments(&other), "the stores differ in ids and salts only");
        for name in &names {
            let mut swapped = files.clone();
            swapped.insert(name.clone(), other[name].clone());
            assert_eq!(&corruption(&refused(&world, &swapped)).0, name);
        }
        for pair in names.windows(2) {
            let mut swapped = files.clone();
            swapped.insert(pair[0].clone(), files[&pair[1]].clone());
            swapped.insert(pair[1].clone(), files[&pair[0]].clone());
            assert_eq!(corruption(&refused(&world, &swapped)).0, pair[0]);
        }
        let mut swapped = files.clone();
        swapped.insert("MANIFEST".to_owned(), other["MANIFEST"].clone());
        assert!(refused(&world, &swapped).is_corruption());
    }
}

/// CRC-32 (IEEE), so that the test can make an intact file of a later version by itself.
fn crc32(parts: &[&[u8]]) -> u32 {
    let mut crc = !0u32;
    for byte in parts.concat() {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & 0u32.wrapping_sub(crc & 1));
        }
    }
    !crc
}

#[test]
fn a_manifest_of_a_later_format_is_refused_as_such_and_nothing_is_touched() {
    let (world, _, mut files) = closed();
    let manifest = files.get_mut("MANIFEST").unwrap();
    assert_eq!(manifest[16..20], crc32(&[&manifest[..16], &manifest[24..]]).to_le_bytes());
    manifest[8..12].copy_from_slice(&2u32.to_le_bytes());
    let crc = crc32(&[&manifest[..16], &manifest[24..]]);
    manifest[16..20].copy_from_slice(&crc.to_le_bytes());
    let error = refused(&world, &files);
    let Error::UnsupportedFormat { file, found: 2, supported: 1 } = &error else {
        panic!("{error}")
    };
    assert_eq!(file, &path("runstone.manifest"));
    assert!(!error.is_corruption() && !error.is_retryable());
}

#[test]
fn a_segment_of_a_later_format_is_refused_as_such_and_nothing_is_touched() {
    for (world, _, files) in [closed(), killed()] {
        for name in segments(&files) {
            let mut later = files.clone();
            let segment = later.get_mut(&name).unwrap();
            segment[8..12].copy_from_slice(&7u32.to_le_bytes());
            let crc = crc32(&[&segment[..64]]);
            segment[64..68].copy_from_slice(&crc.to_le_bytes());
            let error = refused(&world, &later);
            assert!(matches!(&error, Error::UnsupportedFormat { file, found: 7, supported: 1 }
                if *file == path(&long_name(&name, &files))));
        }
        // Named by nothing, it bears the store's id in its name, whatever its format.
        let mut later = files.clone();
        let mut stray = files[&segments(&files)[0]].clone();
        stray[8..12].copy_from_slice(&7u32.to_le_bytes());
        let crc = crc32(&[&stray[..64]]);
        stray[64..68].copy_from_slice(&crc.to_le_bytes());
        later.insert("900001.log".to_owned(), stray.clone());
        let disk = memory_of(&later);
        let db = world.on_disk(disk.clone()).open();
        while db.maintain().unwrap().left > 0 {}
        assert!(!image(&disk, DIR).contains_key("900001.log"));
    }
}
