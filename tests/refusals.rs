//! What the world may refuse besides disk and sync: entropy, second names, preallocation, a
//! directory above, a removal, a file that cannot be asked for its length.
//!
//! For each: whether it is fatal, retryable or of no account, and that nothing is lost by it.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that fails says so

mod common;

use std::io;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::refusing::refusing;
use common::{DIR, NO_TAGS, World, image, long_name, memory_of, own_path, put_file, run, state};
use runstone::vfs::{Access, MemVfs};
use runstone::{Database, Entropy, Error, Preallocation, WriteBatch, WriteOptions};

/// Entropy that can run dry.
#[derive(Debug)]
struct Well {
    inner: Arc<common::TestEntropy>,
    dry: AtomicBool,
}

impl Entropy for Well {
    fn bytes16(&self) -> io::Result<[u8; 16]> {
        if self.dry.load(Ordering::SeqCst) {
            return Err(io::Error::other("no entropy"));
        }
        self.inner.bytes16()
    }
}

/// A store with a run and a key, left as a kill leaves it.
fn killed(world: &World) -> common::State {
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    db.put(run(1), "k", 1).unwrap();
    let shown = state(&db);
    let files = image(&*world.vfs, DIR);
    drop(db);
    // What the drop wrote is undone.
    let path = |name: &str| Path::new(DIR).join(long_name(name, &files));
    for name in image(&*world.vfs, DIR).into_keys().filter(|name| name != "LOCK") {
        world.vfs.remove(&path(&name)).unwrap();
    }
    for (name, bytes) in files.iter().filter(|(name, _)| *name != "LOCK") {
        put_file(&*world.vfs, &path(name), bytes);
    }
    shown
}

fn io_kind(outcome: runstone::Result<Database>) -> (&'static str, io::ErrorKind) {
    match outcome.unwrap_err() {
        Error::Io { action, source, .. } => (action, source.kind()),
        other => panic!("{other}"),
    }
}

/// Ids that could repeat would let the files of two stores pass for one another, so without
/// entropy nothing is made, and nothing is lost.
#[test]
fn without_entropy_no_store_and_no_segment_is_made_and_trying_again_with_it_works() {
    let world = World::memory();
    let well = Arc::new(Well { inner: world.entropy.clone(), dry: AtomicBool::new(true) });
    let open = || world.builder().entropy(Arc::<Well>::clone(&well)).open(DIR);
    let dry = |dry: bool| well.dry.store(dry, Ordering::SeqCst);

    // A creation.
    assert_eq!(io_kind(open()).0, "drawing an id for");
    assert_eq!(image(&*world.vfs, DIR).into_keys().collect::<Vec<_>>(), ["LOCK"]);
    // A recovery.
    dry(false);
    open().unwrap().close().unwrap();
    let shown = killed(&world);
    let before = image(&*world.vfs, DIR);
    dry(true);
    assert_eq!(io_kind(open()).0, "drawing a salt for");
    assert_eq!(image(&*world.vfs, DIR), before, "nothing was written");
    // A rotation: nothing has changed, and it goes on once there is some.
    dry(false);
    let db = world.clone().with(|options| options.segment_bytes = 512);
    let db = db.builder().entropy(Arc::<Well>::clone(&well)).open(DIR).unwrap();
    assert_eq!(state(&db), shown);
    db.put(run(1), "fills", vec![1; 400]).unwrap();
    let shown = state(&db);
    dry(true);
    let error = db.put(run(1), "rotates", vec![1; 400]).unwrap_err();
    assert!(error.to_string().contains("drawing a salt"), "{error}");
    assert!(matches!(error, Error::Io { .. }), "{error}");
    assert_eq!(state(&db), shown);
    dry(false);
    db.put(run(1), "rotates", vec![1; 400]).unwrap();
    let shown = state(&db);
    drop(db);
    assert_eq!(state(&open().unwrap()), shown);
}

#[test]
fn a_file_system_that_cannot_preallocate_is_asked_once_a_segment_and_written_all_the_same() {
    let (world, rules) = refusing(MemVfs::new());
    let world = world.with(|options| {
        options.preallocate_bytes = 4096;
        options.preallocation = Preallocation::Reserved;
        options.segment_bytes = 2048;
    });
    rules.refuse("allocate", "", io::ErrorKind::Unsupported);
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    for n in 0..20i64 {
        db.put(run(1), format!("{n}"), vec![7; 300]).unwrap();
    }
    let shown = state(&db);
    db.close().unwrap();
    let segments = common::segments(&image(&*world.vfs, DIR)).len() as u64;
    assert!(segments > 1);
    assert_eq!(rules.relent(), segments);
    assert_eq!(state(&world.open()), shown);
}

/// Only "not supported" is passed over: whatever else a preallocation meets, the disk has said
/// of itself, and it is what a failed write is.
#[test]
fn a_preallocation_that_fails_poisons_as_a_failed_write_does() {
    let (world, rules) = refusing(MemVfs::new());
    let world = world.with(|options| {
        options.preallocate_bytes = 4096;
        options.preallocation = Preallocation::Reserved;
    });
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    let shown = state(&db);
    rules.refuse("allocate", ".log", io::ErrorKind::Other);
    let error = db.put(run(1), "k", vec![7; 8192]).unwrap_err();
    assert!(matches!(error, Error::OutcomeUnknown { .. }), "{error}");
    assert_eq!(rules.relent(), 1);
    let error = db.put(run(1), "k", 1).unwrap_err();
    assert!(matches!(error, Error::Poisoned { .. }), "{error}");
    drop(db);
    assert_eq!(state(&world.open()), shown);
}

/// The second name of the old manifest is a precaution against a failed sync; where there are
/// no second names it is done without, and any other failure stops before the manifest changes.
#[test]
fn a_manifest_is_replaced_where_there_are_no_second_names_and_not_if_the_link_fails_otherwise() {
    for kind in [io::ErrorKind::Unsupported, io::ErrorKind::PermissionDenied] {
        let (world, rules) = refusing(MemVfs::new());
        rules.refuse("link", ".tmp", kind);
        let shown = killed(&world);
        let db = world.open();
        assert_eq!(state(&db), shown);
        db.put(run(1), "more", 1).unwrap();
        let shown = state(&db);
        db.close().unwrap();
        assert!(rules.relent() >= 2);
        assert!(image(&*world.vfs, DIR).keys().all(|name| !name.ends_with(".tmp")));
        assert_eq!(state(&world.open()), shown);
    }
    for kind in [io::ErrorKind::Other, io::ErrorKind::StorageFull] {
        let (world, rules) = refusing(MemVfs::new());
        let shown = killed(&world);
        let manifest = image(&*world.vfs, DIR)["MANIFEST"].clone();
        rules.refuse("link", ".tmp", kind);
        let error = world.try_open().unwrap_err();
        assert!(error.is_retryable() && error.to_string().contains("linking"), "{error}");
        assert_eq!(matches!(error, Error::DiskFull { .. }), kind == io::ErrorKind::StorageFull);
        assert_eq!(image(&*world.vfs, DIR)["MANIFEST"], manifest);
        rules.relent();
        let db = world.open();
        assert_eq!(state(&db), shown);
        drop(db);
        assert!(image(&*world.vfs, DIR).keys().all(|name| !name.ends_with(".tmp")));
    }
}

/// As under a home that only its owner may read: what stands above is not the store's.
#[test]
fn a_directory_above_that_may_not_be_read_keeps_no_store_from_being_made_opened_or_written() {
    let (world, rules) = refusing(MemVfs::new());
    let above = Path::new("/above");
    let dir = above.join("own");
    world.vfs.create_dir(above).unwrap();
    for call in ["list", "sync_dir"] {
        rules.refuse(call, "above", io::ErrorKind::PermissionDenied);
        let db = world.builder().open(&dir).unwrap();
        if !db.run_tracker().is_active(&run(1)) {
            db.begin_run(run(1), NO_TAGS).unwrap();
        }
        db.put(run(1), call, 1).unwrap();
        db.close().unwrap();
        rules.relent();
    }
    let db = world.builder().open(&dir).unwrap();
    assert_eq!(db.list(run(1), "").unwrap().len(), 2);
    drop(db);
    // The store's own directory must be readable, and any other error is told.
    rules.refuse("list", "own", io::ErrorKind::PermissionDenied);
    assert_eq!(io_kind(world.builder().open(&dir)), ("listing", io::ErrorKind::PermissionDenied));
    // Only a creation asks for those above.
    rules.refuse("sync_dir", "above", io::ErrorKind::Other);
    let db = world.builder().open(&dir).unwrap();
    db.put(run(1), "k", 1).unwrap();
    db.close().unwrap();
    let other = above.join("other");
    let refused = io_kind(world.builder().open(&other));
    assert_eq!(refused, ("syncing a directory above", io::ErrorKind::Other));
    rules.relent();
    world.builder().open(&other).unwrap();
}

/// Each step of making a directory and its lock file, refused: told as what it is, and no
/// obstacle to a next try.
#[test]
fn a_creation_that_is_refused_at_any_step_says_which_and_works_when_it_is_tried_again() {
    use io::ErrorKind::{Other, StorageFull};
    for (call, name_end, kind, told) in [
        ("create_dir", DIR, Other, "creating"),
        ("create_dir", DIR, StorageFull, "creating"),
        ("create", "runstone.lock", Other, "creating"),
        ("create", "runstone.lock", StorageFull, "creating"),
        ("sync", "runstone.lock", Other, "writing"),
        ("lock", "runstone.lock", Other, "locking"),
        ("create", ".log", StorageFull, "creating"),
        ("write", ".log", StorageFull, "writing"),
        ("write", ".log", Other, "writing"),
        ("sync", ".log", Other, "syncing"),
        ("create", ".tmp", StorageFull, "creating"),
        ("write", ".tmp", StorageFull, "writing"),
        ("sync", ".tmp", Other, "syncing"),
        ("rename", ".tmp", Other, "renaming"),
        ("sync_dir", DIR, Other, "syncing"),
    ] {
        let (world, rules) = refusing(MemVfs::new());
        rules.refuse(call, name_end, kind);
        let error = world.try_open().unwrap_err();
        assert!(rules.relent() > 0, "{call} {name_end}");
        assert!(error.is_retryable(), "{call} {name_end}: {error}");
        assert!(error.to_string().contains(told), "{call} {name_end}: {error}");
        assert_eq!(matches!(error, Error::DiskFull { .. }), kind == StorageFull, "{error}");
        let db = world.open();
        assert_eq!(db.storage().version(), 0);
        db.begin_run(run(1), NO_TAGS).unwrap();
        drop(db);
        let names: Vec<_> = image(&*world.vfs, DIR).into_keys().collect();
        assert_eq!(names.len(), 3, "{call} {name_end}: {names:?}");
    }
}

/// Each of them ends by what the user does, and none of them is a broken disk.
#[test]
fn a_quota_and_the_largest_size_of_a_file_are_full_disks_that_say_which_and_go_on_with_room() {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    for (kind, said) in
        [(FileTooLarge, "ulimit -f"), (QuotaExceeded, "quota"), (StorageFull, "free space")]
    {
        let (world, rules) = refusing(MemVfs::new());
        let db = world.open();
        db.begin_run(run(1), NO_TAGS).unwrap();
        let shown = state(&db);
        rules.refuse("write", ".log", kind);
        for _ in 0..2 {
            let error = db.put(run(1), "k", 1).unwrap_err();
            assert!(matches!(error, Error::DiskFull { .. }) && error.is_retryable(), "{error}");
            assert!(error.to_string().contains(said), "{error}");
            assert_eq!(state(&db), shown);
        }
        rules.relent();
        db.put(run(1), "k", 1).unwrap();
        let shown = state(&db);
        db.close().unwrap();
        assert_eq!(state(&world.open()), shown);
        // A file that cannot be made may want for an inode.
        let (world, rules) = refusing(MemVfs::new());
        rules.refuse("create", "runstone.lock", kind);
        let error = world.try_open().unwrap_err().to_string();
        assert_eq!(error.contains("inodes"), kind == StorageFull, "{error}");
        rules.relent();
    }
}

/// A program that retries what cannot pass never ends.
#[test]
fn an_opening_may_be_tried_again_only_after_what_can_pass_by_itself() {
    use io::ErrorKind as Kind;
    for (kind, passes) in [
        (Kind::PermissionDenied, false),
        (Kind::ReadOnlyFilesystem, false),
        (Kind::NotADirectory, false),
        (Kind::IsADirectory, false),
        (Kind::InvalidInput, false),
        (Kind::Unsupported, false),
        (Kind::InvalidFilename, false),
        (Kind::ResourceBusy, true),
        (Kind::TimedOut, true),
        (Kind::OutOfMemory, true),
        (Kind::StaleNetworkFileHandle, true),
        (Kind::Other, true),
    ] {
        for (call, name_end) in
            [("lock", "runstone.lock"), ("create", "runstone.lock"), ("list", DIR)]
        {
            let (world, rules) = refusing(MemVfs::new());
            world.vfs.create_dir(Path::new(DIR)).unwrap();
            rules.refuse(call, name_end, kind);
            let error = world.try_open().unwrap_err();
            assert!(matches!(error, Error::Io { .. }), "{call} {kind:?}: {error}");
            assert_eq!(error.is_retryable(), passes, "{call} {kind:?}: {error}");
            assert!(error.to_string().contains(DIR), "{error}");
            rules.relent();
            world.open();
        }
    }
}

/// To some calls an empty path is the current directory, and to others nothing.
#[test]
fn an_empty_path_is_refused_and_leaves_no_file() {
    let here = || [Path::new("runstone.lock").exists(), Path::new("runstone.manifest").exists()];
    let before = here();
    for opened in [Database::open(""), Database::open_read_only("")] {
        let error = opened.map(|_| ()).unwrap_err();
        assert!(matches!(error, Error::InvalidArgument { .. }), "{error}");
        assert!(error.to_string().contains("an empty path"), "{error}");
    }
    assert_eq!(here(), before);
}

/// A copy from which the lock file was left out is not "no store".
#[test]
fn a_store_without_its_lock_file_opens_for_writing_and_is_not_told_to_be_none() {
    let world = World::memory();
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    let shown = state(&db);
    db.close().unwrap();
    world.vfs.remove(&Path::new(DIR).join("runstone.lock")).unwrap();
    let error = world.try_read_only().map(|_| ()).unwrap_err();
    assert!(matches!(&error, Error::Io { path, .. } if path.ends_with("runstone.lock")), "{error}");
    assert_eq!(state(&world.open()), shown);
    world.try_read_only().unwrap();
    // Without a manifest, and with a log, it is a store that lost it.
    for name in ["runstone.lock", "runstone.manifest"] {
        world.vfs.remove(&Path::new(DIR).join(name)).unwrap();
    }
    let error = world.try_read_only().map(|_| ()).unwrap_err();
    assert!(error.is_corruption() && error.to_string().contains("runstone.manifest"), "{error}");
}

/// What cannot be removed now is counted, and removed by a later step.
#[test]
fn a_file_that_cannot_be_removed_is_left_to_maintenance_and_never_in_the_way() {
    let (world, rules) = refusing(MemVfs::new());
    let shown = killed(&world);
    for stray in ["000077.log", "000078.tmp"] {
        put_file(&*world.vfs, &own_path(&*world.vfs, stray), b"torn");
    }
    rules.refuse("remove", "", io::ErrorKind::Other);
    let db = world.open();
    assert_eq!(db.recovery_report().files_removed, 0);
    let left = db.maintain().unwrap();
    assert!(left.files_removed == 0 && left.left >= 2, "{left:?}");
    assert_eq!(state(&db), shown);
    rules.relent();
    let done = db.maintain().unwrap();
    assert_eq!((done.files_removed, done.left), (left.left, 0));
    assert!(!image(&*world.vfs, DIR).contains_key("000077.log"));
    // One that is gone by itself is nothing to tell of.
    rules.refuse("remove", ".log", io::ErrorKind::NotFound);
    assert_eq!(db.maintain().unwrap(), runstone::MaintainReport::default());
}

/// The leader's thread is one of the caller's, and its panic must not be the others' hang.
#[test]
fn a_panic_in_a_commit_poisons_answers_everybody_and_leaves_the_store_to_be_opened_again() {
    for (call, is_written) in [("write", false), ("sync", true)] {
        let (world, rules) = refusing(MemVfs::new());
        let db = world.open();
        db.begin_run(run(1), NO_TAGS).unwrap();
        let shown = state(&db);
        let mut batch = WriteBatch::new();
        batch.put(run(1), "submitted", 1);
        let ticket = db.submit(batch, WriteOptions::default()).unwrap();
        rules.refuse(call, ".log", None);
        let panicked = std::panic::catch_unwind(AssertUnwindSafe(|| db.put(run(1), "k", 1)));
        panicked.unwrap_err();
        rules.relent();
        let error = ticket.wait().unwrap_err();
        assert!(matches!(error, Error::OutcomeUnknown { .. }), "{error}");
        for refused in [db.put(run(1), "k", 1).map(|_| ()), db.flush(), db.close()] {
            let error = refused.unwrap_err();
            assert!(matches!(error, Error::Poisoned { .. }), "{error}");
            assert!(error.to_string().contains("panicked"), "{error}");
        }
        drop(db);
        let db = world.open();
        let found = state(&db);
        let grown = u64::from(is_written) * 2;
        assert_eq!(found.version, shown.version + grown, "{call}");
    }
}

/// A drop has nobody to tell; it must not keep the lock for that.
#[test]
fn a_handle_dropped_on_a_full_disk_lets_the_lock_go_and_keeps_what_was_durable() {
    let (world, rules) = refusing(MemVfs::new());
    let world = world.mode(common::MODES[2]);
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    db.put(run(1), "durable", 1).unwrap();
    db.flush().unwrap();
    let durable = state(&db);
    db.put(run(1), "not yet", 1).unwrap();
    rules.refuse("write", ".log", io::ErrorKind::StorageFull);
    assert!(matches!(db.close(), Err(Error::DiskFull { .. })) && !db.is_closed());
    drop(db);
    rules.relent();
    let db = world.open();
    assert!(!db.recovery_report().clean);
    assert_eq!(state(&db), durable);
}

/// Sixteen times the segment's length is checksummed at most, then the answer is a refusal: an
/// opening ends, whatever stands in the tail.
#[test]
fn a_tail_that_looks_like_records_without_end_is_refused_and_not_searched_for_ever() {
    let world = World::memory();
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    db.put(run(1), "k", 1).unwrap();
    let version = db.storage().version();
    let mut files = image(&*world.vfs, DIR);
    let log = common::segments(&files).pop().unwrap();
    let bytes = files.get_mut(&log).unwrap();
    let torn_at = bytes.len() as u64;
    bytes.extend([0; 40]);
    // Heads that say: half a MiB long, and all before was synced.
    let mut head = [0u8; 40];
    head[4..8].copy_from_slice(&(512u32 << 10).to_le_bytes());
    head[8..16].copy_from_slice(&(version + 1).to_le_bytes());
    head[24..28].copy_from_slice(&u32::try_from(torn_at + 8).unwrap().to_le_bytes());
    head[32] = 1;
    bytes.extend(head.repeat((1 << 20) / head.len()));
    let error = world.on_disk(memory_of(&files)).try_open().unwrap_err();
    let Error::Corruption { file, offset, found, .. } = &error else { panic!("{error}") };
    assert!(file.ends_with(long_name(&log, &files)) && *offset == torn_at, "{error}");
    assert!(found.contains("more bytes that look like records"), "{error}");
}

/// A manifest is read whole, so its length is judged before it is.
#[test]
fn a_manifest_of_absurd_length_is_refused_before_it_is_read_into_memory() {
    let world = World::memory();
    world.open().close().unwrap();
    let manifest = Path::new(DIR).join("runstone.manifest");
    let file = world.vfs.open(&manifest, Access::ReadWrite).unwrap();
    file.set_len(1 << 50).unwrap();
    let error = world.try_open().unwrap_err();
    assert!(error.is_corruption() && error.to_string().contains(&(1u64 << 50).to_string()));
}
