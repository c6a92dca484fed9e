//! Every error message, from real situations: what a user reads, and what a program may do.
//!
//! A test reads the names of the variants from the source of the engine, so that a new one
//! without a situation here fails.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use runstone::{
    Database, DurabilityMode, Error, KVStore, Namespace, Options, RunOptions, RunStatus, TypeTag,
    WriteBatch,
};
use runstone_sim::disk::{CallKind, CrashKind, DiskConfig, Fault, FaultKind};
use runstone_vfs::{Access, Vfs, write_all_at};

use crate::dump;
use crate::fixture::{DIR, World, options, own_path, run};
use crate::settings::check;

const STRICT: DurabilityMode = DurabilityMode::Strict;

/// A store with run 1 active and run 2 ended.
fn two_runs() -> (World, Database) {
    let world = World::new();
    let db = world.open(options(STRICT));
    for n in [1, 2] {
        db.begin_run(run(n), [("", ""); 0]).unwrap();
    }
    db.put(run(1), "text", "not bytes").unwrap();
    db.end_run_with(run(2), RunStatus::Failed).unwrap();
    (world, db)
}

/// The name of an error's variant.
fn variant(error: &Error) -> String {
    let debug = format!("{error:?}");
    debug.split([' ', '(', '{']).next().unwrap_or_default().to_owned()
}

#[derive(Default)]
struct Messages {
    text: String,
    seen: BTreeSet<String>,
}

impl Messages {
    fn add<T: std::fmt::Debug>(&mut self, situation: &str, outcome: Result<T, Error>) {
        let error = outcome.expect_err(situation);
        let variant = variant(&error);
        writeln!(self.text, "{situation}").unwrap();
        write!(self.text, "  {variant}").unwrap();
        if error.is_retryable() {
            self.text.push_str(", retryable");
        }
        if error.is_corruption() {
            self.text.push_str(", corruption");
        }
        writeln!(self.text, "\n  {error}\n").unwrap();
        self.seen.insert(variant);
    }
}

/// The variants of `Error`, as its source lists them.
fn variants() -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("engine/src/error.rs");
    let source = std::fs::read_to_string(path).unwrap();
    let body = source.split("pub enum Error {").nth(1).expect("the enum");
    body.lines()
        .take_while(|line| *line != "}")
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()))
        .map(|line| line.trim_end_matches([' ', '{', ',']).to_owned())
        .collect()
}

#[test]
fn every_message_says_what_was_found_and_what_to_do() {
    let mut messages = Messages::default();
    fix_the_call(&mut messages);
    choose_a_place(&mut messages);
    retry_later(&mut messages);
    make_room_in_memory(&mut messages);
    reopen(&mut messages);
    let errors = variants();
    assert!(errors.len() > 10, "the enum's source is read: {errors:?}");
    damage(&mut messages);
    assert_eq!(messages.seen, errors, "every variant has a situation");
    check!("errors", "Every error message, with what a program is told about it", &messages.text);
}

fn fix_the_call(messages: &mut Messages) {
    let (world, db) = two_runs();
    messages.add("put with an empty key", db.put(run(1), "", 1));
    messages.add("get with an empty key", db.get(run(1), ""));
    let zero = db.put_with_ttl(run(1), "k", 1, Some(Duration::ZERO));
    messages.add("put with a TTL of zero", zero);
    messages.add("write an empty batch", db.write(WriteBatch::new()));
    let mut batch = WriteBatch::new();
    batch.put_tagged(run(1), TypeTag::RunMetadata, "k", 1, None);
    messages.add("put a key that only the engine writes", db.write(batch));
    messages.add("end a run as running", db.end_run_with(run(1), RunStatus::Running));
    let other = RunOptions::default().namespace(Namespace::default_for(run(8)));
    messages.add("begin a run in another's namespace", db.begin_run_with(run(9), other));
    let wrong = Options { segment_bytes: 100, ..options(STRICT) };
    messages.add("open with segments that are too small", world.builder(wrong).open("/other"));
    messages.add("open with an empty path", world.builder(options(STRICT)).open(""));
    messages.add("put with a key of 65 bytes", db.put(run(1), [b'k'; 65], 1));
    messages.add("put with a value of 8193 bytes", db.put(run(1), "k", vec![0; 8193]));
    let tags = (0..5).map(|n| (n.to_string(), ""));
    messages.add("begin a run with five tags", db.begin_run(run(9), tags));
    let few = Options { snapshots_max: 1, ..options(STRICT) };
    let small = world.builder(few).open("/small").unwrap();
    let _held = small.snapshot().unwrap();
    messages.add("hold one snapshot too many", small.snapshot());
    messages.add("read text as bytes", KVStore::new(db.clone()).get(run(1), "text"));
    messages.add("put in a run that was never begun", db.put(run(9), "k", 1));
    messages.add("begin a run again", db.begin_run(run(2), [("", ""); 0]));
    messages.add("put in an ended run", db.put(run(2), "k", 1));
    messages.add("dropping a run that is active", db.drop_run(run(1)));
    db.begin_run(run(3), [("", ""); 0]).unwrap();
    db.end_run(run(3)).unwrap();
    db.drop_run(run(3)).unwrap();
    messages.add("get from a dropped run", db.get(run(3), "k"));
    messages.add("a range of keys that ends before it begins", db.remove_range(run(1), "b".."a"));
    messages.add("ending a run as dropped", db.end_run_with(run(1), RunStatus::Dropped));
    db.close().unwrap();
    messages.add("get from a closed database", db.get(run(1), "text"));
    let reader = world.builder(options(STRICT)).open_read_only(DIR).unwrap();
    messages.add("put in a read-only database", reader.put(run(1), "k", 1));
}

fn choose_a_place(messages: &mut Messages) {
    let world = World::new();
    let missing = Options { create_if_missing: false, ..options(STRICT) };
    messages.add(
        "open, without making one, where there is nothing",
        world.builder(missing.clone()).open("/nowhere"),
    );
    let reading = |dir: &str| world.builder(options(STRICT)).open_read_only(dir);
    messages.add("open read-only where there is nothing", reading("/nowhere"));
    world.disk.create_dir(Path::new("/empty")).unwrap();
    messages.add("open read-only what is an empty directory", reading("/empty"));
    world.disk.create(Path::new("/file")).unwrap();
    messages.add("open what is a file", world.builder(options(STRICT)).open("/file"));
    let open = |dir: &str| world.builder(options(STRICT)).open(dir);
    world.disk.create_dir(Path::new("/leveldb")).unwrap();
    world.disk.create(Path::new("/leveldb/CURRENT")).unwrap();
    messages.add("open a directory of another program", open("/leveldb"));
    world.disk.create_dir(Path::new("/lock")).unwrap();
    let lock = world.disk.create(Path::new("/lock/runstone.lock")).unwrap();
    write_all_at(&*lock, b"pid 17\n", 0).unwrap();
    messages.add("open a directory in which a text has the name of the lock", open("/lock"));
    world.disk.create_dir(Path::new("/dirs")).unwrap();
    world.disk.create_dir(Path::new("/dirs/runstone.lock")).unwrap();
    messages.add("open a directory in which a directory has the name of the lock", open("/dirs"));
    world.disk.fail_nth(CallKind::OpenDir, 0, Fault::new(FaultKind::Denied));
    messages.add("open a directory that this user may not open", open("/empty"));
    let limited = |bytes: u64| {
        let config = DiskConfig { file_bytes_max: bytes, ..world.disk.config() };
        world.disk.set_config(config);
    };
    limited(300);
    messages.add("open where the process may write no file of a useful size", open("/short"));
    limited(8000);
    let db = open("/short").unwrap();
    db.begin_run(run(1), [("", ""); 0]).unwrap();
    let large = db.put(run(1), "large", vec![0; 8000]);
    messages.add("put what fits no file that the process may write", large);
}

fn retry_later(messages: &mut Messages) {
    let (world, db) = two_runs();
    messages.add("open a database that is open", world.builder(options(STRICT)).open(DIR));
    messages.add(
        "open a database that is open, where the system tells by whom",
        Err::<(), _>(Error::Locked {
            path: Path::new(DIR).join("runstone.lock"),
            owner: Some(4711),
        }),
    );
    world.disk.fail_nth(CallKind::Write, 0, Fault::new(FaultKind::Quota));
    messages.add("put beyond a disk quota", db.put(run(1), "k", 1));
    world.disk.set_capacity(Some(world.disk.used_bytes()));
    messages.add("put on a full disk", db.put(run(1), "k", vec![0; 100]));
    let fresh = world.builder(options(STRICT)).open("/new");
    messages.add("create a store on a full disk", fresh);
    world.disk.set_capacity(None);
    world.disk.fail_nth(CallKind::Write, 0, Fault::new(FaultKind::FileSize));
    messages.add("put beyond the largest size of a file", db.put(run(1), "k", 1));
    world.disk.fail_nth(CallKind::Create, 0, Fault::new(FaultKind::OutOfFiles));
    let large = db.put(run(1), "large", vec![0; 8000]);
    messages.add("put, and the next segment needs a descriptor that is not there", large);
    world.disk.fail_nth(CallKind::Create, 0, Fault::new(FaultKind::Denied));
    let large = db.put(run(1), "large", vec![0; 8000]);
    messages.add("put, and the next segment may not be made", large);
    db.close().unwrap();

    world.disk.fail_nth(CallKind::Read, 1, Fault::new(FaultKind::Io));
    let open = world.builder(options(STRICT)).open(DIR);
    messages.add("open, with a log that cannot be read for now", open);
    world.disk.fail_nth(CallKind::CreateDir, 0, Fault::new(FaultKind::ReadOnly).without_effect());
    let open = world.builder(options(STRICT)).open("/another");
    messages.add("create a store where the file system can only be read", open);
}

fn make_room_in_memory(messages: &mut Messages) {
    let (world, db) = two_runs();
    db.close().unwrap();
    let tight = Options { memory_bytes_max: 88_000, ..options(STRICT) };
    let db = world.builder(tight.clone()).open(DIR).unwrap();
    for n in 0..3 {
        db.put(run(1), format!("big {n}"), vec![0; 8000]).unwrap();
    }
    messages.add("put into a full memtable", db.put(run(1), "one more", vec![0; 8000]));
    let _held = db.snapshot().unwrap();
    let mut many = WriteBatch::new();
    for n in 0..200 {
        many.delete(run(1), format!("key {n}"));
    }
    messages.add("delete more at once than the reserve of a full memtable", db.write(many));
    db.close().unwrap();
    let ample = world.builder(options(STRICT)).open(DIR).unwrap();
    for n in 3..6 {
        ample.put(run(1), format!("big {n}"), vec![0; 8000]).unwrap();
    }
    ample.close().unwrap();
    let db = world.builder(tight).open(DIR).unwrap();
    messages.add("put into what was opened with a smaller memtable", db.put(run(1), "k", 1));
}

fn reopen(messages: &mut Messages) {
    let (world, db) = two_runs();
    world.disk.fail_nth(CallKind::Sync, 0, Fault::new(FaultKind::Io));
    messages.add("put, and the sync fails", db.put(run(1), "k", 1));
    messages.add("put after a failed sync", db.put(run(1), "k", 2));
    let (world, db) = two_runs();
    world.disk.fail_nth(CallKind::Sync, 0, Fault::new(FaultKind::NoSpace));
    messages.add("put, and the sync says that the disk is full", db.put(run(1), "k", 1));
    let (world, db) = two_runs();
    db.close().unwrap();
    let db = world.builder(options(STRICT)).open(DIR).unwrap();
    world.disk.fail_nth(CallKind::Rename, 0, Fault::new(FaultKind::Io));
    messages.add("put, and the manifest cannot be replaced", db.put(run(1), "k", 1));
    let (world, db) = two_runs();
    world.disk.remove(&own_path("runstone.lock")).unwrap();
    messages.add("put, and the lock was removed", db.put(run(1), "large", vec![0; 8000]));
    messages.add("put again, after the lock was removed", db.put(run(1), "k", 1));
    // A child answers so, and no child can tell it here.
    messages.add("put in a child of the process that opened", Err::<(), _>(Error::Forked));
}

/// Overwrites bytes of a file.
fn overwrite(world: &World, name: &str, at: usize, bytes: &[u8]) {
    let file = world.disk.open(&own_path(name), Access::ReadWrite).unwrap();
    write_all_at(&*file, bytes, at as u64).unwrap();
}

/// What an opening says when the store is damaged in one way; `closed` says whether it had been
/// closed before.
fn damaged(messages: &mut Messages, situation: &str, closed: bool, damage: impl FnOnce(&World)) {
    let (world, db) = two_runs();
    if closed {
        db.close().unwrap();
    } else {
        world.disk.crash_now(CrashKind::Process);
        world.disk.restart();
    }
    drop(db);
    damage(&world);
    messages.add(situation, world.builder(options(STRICT)).open(DIR));
}

/// Where the last record of a segment begins that was closed.
fn last_record(log: &[u8]) -> usize {
    let length = |at: usize| {
        let payload = u32::from_le_bytes(log[at + 4..at + 8].try_into().unwrap()) as usize;
        (33 + payload).next_multiple_of(8)
    };
    let mut at = 72;
    while at + length(at) < log.len() {
        at += length(at);
    }
    at
}

fn damage(messages: &mut Messages) {
    let remove = |world: &World, name: &str| {
        world.disk.remove(&own_path(name)).unwrap();
    };
    damaged(messages, "open; a bit of the manifest is flipped", true, |world| {
        world.disk.flip_bit(&own_path("runstone.manifest"), 40 * 8).unwrap();
    });
    damaged(messages, "open; the zeros of the manifest's head are damaged", true, |world| {
        world.disk.flip_bit(&own_path("runstone.manifest"), 22 * 8).unwrap();
    });
    damaged(messages, "open; the manifest is a text", true, |world| {
        overwrite(world, "runstone.manifest", 0, b"MANIFEST-000003\n");
    });
    damaged(messages, "open; the manifest is empty", true, |world| {
        let file = world.disk.open(&own_path("runstone.manifest"), Access::ReadWrite);
        file.unwrap().set_len(0).unwrap();
    });
    damaged(messages, "open; the manifest is missing", true, |world| {
        remove(world, "runstone.manifest")
    });
    damaged(messages, "open; the manifest is of a later format", true, |world| {
        let mut bytes = world.file("runstone.manifest");
        bytes[8] = 2;
        let checksum = dump::crc32(dump::crc32(0, &bytes[..16]), &bytes[24..]);
        bytes[16..20].copy_from_slice(&checksum.to_le_bytes());
        overwrite(world, "runstone.manifest", 0, &bytes);
    });
    damaged(messages, "open; a segment is missing", true, |world| remove(world, "000001.log"));
    damaged(messages, "open; a bit of a segment's header is flipped", true, |world| {
        world.disk.flip_bit(&own_path("000001.log"), 20 * 8).unwrap();
    });
    damaged(messages, "open; the zeros of a segment's header are damaged", true, |world| {
        world.disk.flip_bit(&own_path("000001.log"), 70 * 8).unwrap();
    });
    damaged(messages, "open; a segment is cut", true, |world| {
        let file = world.disk.open(&own_path("000001.log"), Access::ReadWrite);
        file.unwrap().set_len(300).unwrap();
    });
    damaged(messages, "open; the segment is another store's", true, |world| {
        let other = World::new();
        let dir = Path::new("/other");
        // The other store's id is its entropy's second draw.
        let _first = other.open(options(STRICT));
        let db = other.builder(options(STRICT)).open(dir).unwrap();
        db.close().unwrap();
        let is_log =
            |path: &Path| path.starts_with(dir) && path.extension() == Some("log".as_ref());
        let log = other.disk.live_image().into_iter().find(|(path, _)| is_log(path));
        let (_, mut bytes) = log.unwrap();
        bytes.resize(world.file("000001.log").len(), 0);
        overwrite(world, "000001.log", 0, &bytes);
    });
    damaged(messages, "open; a bit of the log is flipped, after a clean close", true, |world| {
        world.disk.flip_bit(&own_path("000001.log"), 250 * 8).unwrap();
    });
    damaged(messages, "open; a bit of a record's content is flipped", true, |world| {
        world.disk.flip_bit(&own_path("000001.log"), 270 * 8).unwrap();
    });
    damaged(messages, "open; the log is zeros from the middle on", true, |world| {
        overwrite(world, "000001.log", 224, &vec![0; 544 - 224]);
    });
    // What a disk that lies about a sync can leave: the last record of another life.
    damaged(messages, "open; the last record is not the one that was attested", true, |world| {
        let mut log = world.file("000001.log");
        let at = last_record(&log);
        log[at + 16] ^= 1;
        let seal = dump::crc32(0, &log[16..48]);
        let checksum = dump::crc32(dump::crc32(seal, &(at as u64).to_le_bytes()), &log[at + 4..]);
        log[at..at + 4].copy_from_slice(&checksum.to_le_bytes());
        overwrite(world, "000001.log", 0, &log);
    });
    damaged(messages, "open; a bit of the log is flipped, after a kill", false, |world| {
        world.disk.flip_bit(&own_path("000001.log"), 250 * 8).unwrap();
    });
}
