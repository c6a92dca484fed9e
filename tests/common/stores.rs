//! A store with something in it, closed or killed, as an image of its files; and openings of
//! such images that are refused.

use std::path::Path;
use std::time::Duration;

use runstone::{Database, Error, RunStatus};

use super::{DIR, Image, NO_TAGS, State, World, image, memory_of, run, short_name, state};

/// The length of a segment's header, in bytes.
pub const HEADER_BYTES: usize = 72;

/// A store with two runs, deletes and expiries in several segments.
pub fn fill(db: &Database) {
    db.begin_run(run(1), [("a", "b")]).unwrap();
    db.begin_run(run(2), NO_TAGS).unwrap();
    for n in 0..12i64 {
        db.put(run(1), format!("key {n:02}"), n).unwrap();
    }
    db.put_with_ttl(run(2), "expires", 1, Some(Duration::from_secs(60))).unwrap();
    db.delete(run(1), "key 03").unwrap();
    db.end_run_with(run(2), RunStatus::Failed).unwrap();
}

pub fn small_segments(world: World) -> World {
    world.with(|options| options.segment_bytes = 600)
}

/// A world whose store is closed; and what it showed.
pub fn closed() -> (World, State, Image) {
    let world = small_segments(World::memory());
    let db = world.open();
    fill(&db);
    let expected = state(&db);
    db.close().unwrap();
    let image = image(&*world.vfs, DIR);
    (world, expected, image)
}

/// The same, with the process killed instead.
pub fn killed() -> (World, State, Image) {
    killed_in(small_segments(World::memory()))
}

/// The same, in one segment.
pub fn killed_in_one_segment() -> (World, State, Image) {
    killed_in(World::memory())
}

pub fn killed_in(world: World) -> (World, State, Image) {
    let db = world.open();
    fill(&db);
    let expected = state(&db);
    let image = image(&*world.vfs, DIR);
    (world, expected, image)
}

pub fn path(name: &str) -> std::path::PathBuf {
    Path::new(DIR).join(name)
}

/// The file and offset of a corruption, which must say what it expected and what it found.
pub fn corruption(error: &Error) -> (String, u64) {
    assert!(error.is_corruption() && !error.is_retryable(), "{error}");
    let Error::Corruption { file, offset, expected, found } = error else {
        panic!("not a corruption: {error}")
    };
    assert!(!expected.is_empty() && !found.is_empty() && expected != found, "{error}");
    assert!(error.to_string().contains(&format!("offset {offset}")), "{error}");
    let name = file.file_name().unwrap().to_str().unwrap();
    let id = name.strip_prefix("runstone-").and_then(|rest| rest.split('-').next());
    (short_name(name, id), *offset)
}

/// Opening fails and leaves every file as it was.
pub fn refused(world: &World, image_before: &Image) -> Error {
    let disk = memory_of(image_before);
    let world = world.on_disk(disk.clone());
    let error = world.try_open().map(|_| ()).unwrap_err();
    let again = world.try_open().map(|_| ()).unwrap_err();
    assert_eq!(error.to_string(), again.to_string(), "refused in the same way each time");
    let read_only = world.try_read_only().map(|_| ()).unwrap_err();
    assert_eq!(error.to_string(), read_only.to_string());
    let mut after = image(&disk, DIR);
    if !image_before.contains_key("LOCK") {
        after.remove("LOCK");
    }
    assert_eq!(&after, image_before, "a refusal changes nothing");
    error
}
