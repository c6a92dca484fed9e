//! The failed sync as a matrix: four behaviours of a file system, three kinds of files, three
//! ways to go on. Each cell is a test of its own, named after it; its contract stands in
//! `docs/failed-sync.md`.
//!
//! In every cell a session with a rotation, a flush and a close is repeated with another of its
//! syncs failing each time, and each time that a sync of the cell's kind was hit, the cell's
//! contract is checked.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may panic, also in its helpers"
)]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use runstone::{Clock, Database, DurabilityMode, Entropy, Error, Options, Preallocation, RunId};
use runstone_sim::disk::{CallKind, CrashKind, Fault, FaultKind, SimVfs, SyncFlavour};

/// What the file system makes of a sync that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behaviour {
    /// The page is clean, with the new bytes in the cache; no later sync saves them.
    NewBytesInTheCache,
    /// The sync says Ok, and the next one reports the error.
    Late,
    /// Reads show the old content at once.
    Reverted,
    /// The size is durable, and the data is lost.
    SizeKept,
}

/// Whose sync fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Log,
    Manifest,
    Directory,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    GoOn,
    OpenAgain,
    PowerLoss,
}

#[derive(Debug)]
struct Still;

impl Clock for Still {
    fn wall_ms(&self) -> u64 {
        2_000_000_000_000
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(1)
    }
}

#[derive(Debug)]
struct Counted(AtomicU64);

impl Entropy for Counted {
    fn bytes16(&self) -> io::Result<[u8; 16]> {
        let n = self.0.fetch_add(1, Ordering::SeqCst);
        Ok(u128::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15_d6e8_feb8_6659_fd93).to_le_bytes())
    }
}

/// A disk, and how the store on it is opened.
struct World {
    disk: SimVfs,
    entropy: Arc<Counted>,
    options: Options,
}

impl World {
    fn new(seed: u64) -> World {
        let options = Options {
            background_threads: 0,
            segment_bytes: 512,
            preallocate_bytes: 128,
            preallocation: Preallocation::Zeros,
            ..Options::default()
        };
        World { disk: SimVfs::new(seed), entropy: Arc::new(Counted(AtomicU64::new(1))), options }
    }

    fn try_open(&self) -> runstone::Result<Database> {
        Database::builder()
            .options(self.options.clone())
            .vfs(Arc::new(self.disk.clone()))
            .clock(Arc::new(Still))
            .entropy(Arc::<Counted>::clone(&self.entropy))
            .open("/db")
    }

    /// Opens; an error that the disk has kept back may be reported once for each file.
    fn open(&self) -> runstone::Result<Database> {
        for _ in 0..6 {
            match self.try_open() {
                Err(Error::Io { .. } | Error::Poisoned { .. }) => {}
                outcome => return outcome,
            }
        }
        self.try_open()
    }

    fn cut_power(&self) {
        self.disk.crash_now(CrashKind::Power);
        self.disk.restart();
    }
}

fn run() -> RunId {
    RunId::from_bytes([1; 16])
}

/// The value of the commit that is given this version.
fn value(version: u64) -> Vec<u8> {
    vec![u8::try_from(version).unwrap(); 100]
}

/// Versions: 1 begins the run, 2 to 9 put a key each, 10 deletes that of version 5.
fn session(db: &Database, acknowledged: &mut u64) -> runstone::Result<()> {
    *acknowledged = db.begin_run(run(), [("a", "b")])?;
    for version in 2..10 {
        *acknowledged = db.put(run(), format!("{version}"), value(version))?;
    }
    db.flush()?;
    db.delete(run(), "5")?;
    *acknowledged = 10;
    db.close()
}

/// C2: what is shown is the effect of the commits up to a version, and of no others.
#[track_caller]
fn check_prefix(db: &Database, cell: &str) -> u64 {
    let version = db.storage().version();
    assert!(version <= 10, "{cell}: version {version} was never given");
    if version == 0 {
        assert!(db.get_run(run()).unwrap().is_none(), "{cell}");
        return 0;
    }
    let mut expected: Vec<_> = (2..=version.min(9))
        .map(|version| (format!("{version}").into_bytes(), runstone::Value::Bytes(value(version))))
        .collect();
    expected.retain(|(key, _)| version < 10 || key != b"5");
    assert!(db.list(run(), "").unwrap() == expected, "{cell}: not the commits up to {version}");
    version
}

/// Runs the session with the `nth` sync of a kind failing. `None` if that sync is of another
/// kind, or there are not so many.
fn fail_nth(
    world: &World,
    (behaviour, kind): (Behaviour, Kind),
    nth: u64,
) -> Option<(Database, u64, runstone::Result<()>)> {
    let (fault, flavour) = match behaviour {
        Behaviour::NewBytesInTheCache => (FaultKind::Io, SyncFlavour::Doomed),
        Behaviour::Late => (FaultKind::SyncLate, SyncFlavour::Doomed),
        Behaviour::Reverted => (FaultKind::Io, SyncFlavour::Reverted),
        Behaviour::SizeKept => (FaultKind::Io, SyncFlavour::SizeKept),
    };
    world.try_open().unwrap().close().unwrap();
    let db = world.try_open().unwrap();
    let before = world.disk.failed_syncs_since(0).len();
    let call = if kind == Kind::Directory { CallKind::SyncDir } else { CallKind::Sync };
    world.disk.fail_nth(call, nth, Fault::new(fault).flavour(flavour));
    let mut acknowledged = 0;
    let outcome = session(&db, &mut acknowledged);
    let hit = world.disk.failed_syncs_since(before).pop()?;
    let found = match () {
        () if hit.is_dir => Kind::Directory,
        () if hit.path.ends_with(".log") => Kind::Log,
        () => Kind::Manifest,
    };
    (found == kind).then_some((db, acknowledged, outcome))
}

/// C6: nothing is written any more, no sync is tried again, and all that was published is read.
#[track_caller]
fn check_poisoned(world: &World, db: &Database, acknowledged: u64, cell: &str) {
    let changes = |world: &World| {
        let calls = world.disk.stats().calls;
        calls.into_iter().filter(|(kind, _)| kind.changes()).map(|(_, count)| count).sum::<u64>()
    };
    let before = changes(world);
    if !db.is_closed() {
        assert_eq!(check_prefix(db, cell), acknowledged, "{cell}: what was published stays");
        let no_tags: [(&str, &str); 0] = [];
        for refused in [
            db.begin_run(RunId::from_bytes([2; 16]), no_tags).map(drop),
            db.flush(),
            db.tick().map(drop),
            db.close(),
        ] {
            let error = refused.expect_err(cell);
            assert!(matches!(error, Error::Poisoned { .. }), "{cell}: {error}");
        }
    }
    assert_eq!(changes(world), before, "{cell}: nothing is written, and no sync tried again");
}

#[track_caller]
fn check_cell(behaviour: Behaviour, kind: Kind, then: Then) {
    let mut activated = 0;
    for nth in 0..40 {
        for seed in 0..12 {
            let cell = format!("{behaviour:?} x {kind:?} x {then:?}, sync {nth}, seed {seed}");
            let world = World::new(seed);
            let Some((db, acknowledged, outcome)) = fail_nth(&world, (behaviour, kind), nth) else {
                continue;
            };
            activated += 1;
            match &outcome {
                Err(Error::OutcomeUnknown { .. } | Error::Poisoned { .. }) => {
                    check_poisoned(&world, &db, acknowledged, &cell);
                }
                // The error has not been reported yet: nobody can know.
                Ok(()) if behaviour == Behaviour::Late => {}
                // The manifest that the disk has lost is another than the one that was written.
                Err(Error::Displaced { .. }) if behaviour == Behaviour::Late => {}
                other => panic!("{cell}: the session came to {other:?}"),
            }
            if then == Then::GoOn {
                continue;
            }
            drop(db);
            if then == Then::PowerLoss {
                world.cut_power();
            }
            let db = match world.open() {
                Ok(db) => db,
                // C7: a typed refusal.
                Err(error) if behaviour == Behaviour::Late && error.is_corruption() => continue,
                Err(error) => panic!("{cell}: {error}"),
            };
            let shown = check_prefix(&db, &cell);
            if behaviour != Behaviour::Late {
                // C1, C6: all that was acknowledged, and perhaps the one of unknown outcome.
                assert!(shown == acknowledged || shown == acknowledged + 1, "{cell}: {shown}");
            }
            // C8: what an opening has shown is durable. The cache may have held more than the
            // disk: it was written again.
            drop(db);
            world.cut_power();
            let db = match world.open() {
                Ok(db) => db,
                // C7: what it believed to be synced, and only the cache held, is missed now.
                Err(error) if behaviour == Behaviour::Late && error.is_corruption() => continue,
                Err(error) => panic!("{cell}, opened once more: {error}"),
            };
            let again = check_prefix(&db, &cell);
            if behaviour != Behaviour::Late {
                assert_eq!(again, shown, "{cell}: shown once, and gone");
            }
            // C10: it takes writes again.
            if again == 0 {
                let no_tags: [(&str, &str); 0] = [];
                db.begin_run(run(), no_tags).expect(&cell);
            } else {
                db.put(run(), "more", 1).expect(&cell);
            }
        }
    }
    assert!(activated >= 12, "{behaviour:?} x {kind:?}: only {activated} failing syncs");
    println!("{behaviour:?} x {kind:?} x {then:?}: {activated} failing syncs");
}

macro_rules! cells {
    ($($name:ident: $behaviour:ident, $kind:ident, $then:ident;)*) => {$(
        #[test]
        fn $name() {
            check_cell(Behaviour::$behaviour, Kind::$kind, Then::$then);
        }
    )*};
}

cells! {
    cache_new_log_go_on: NewBytesInTheCache, Log, GoOn;
    cache_new_log_open_again: NewBytesInTheCache, Log, OpenAgain;
    cache_new_log_power_loss: NewBytesInTheCache, Log, PowerLoss;
    cache_new_manifest_go_on: NewBytesInTheCache, Manifest, GoOn;
    cache_new_manifest_open_again: NewBytesInTheCache, Manifest, OpenAgain;
    cache_new_manifest_power_loss: NewBytesInTheCache, Manifest, PowerLoss;
    cache_new_directory_go_on: NewBytesInTheCache, Directory, GoOn;
    cache_new_directory_open_again: NewBytesInTheCache, Directory, OpenAgain;
    cache_new_directory_power_loss: NewBytesInTheCache, Directory, PowerLoss;
    late_log_go_on: Late, Log, GoOn;
    late_log_open_again: Late, Log, OpenAgain;
    late_log_power_loss: Late, Log, PowerLoss;
    late_manifest_go_on: Late, Manifest, GoOn;
    late_manifest_open_again: Late, Manifest, OpenAgain;
    late_manifest_power_loss: Late, Manifest, PowerLoss;
    late_directory_go_on: Late, Directory, GoOn;
    late_directory_open_again: Late, Directory, OpenAgain;
    late_directory_power_loss: Late, Directory, PowerLoss;
    reverted_log_go_on: Reverted, Log, GoOn;
    reverted_log_open_again: Reverted, Log, OpenAgain;
    reverted_log_power_loss: Reverted, Log, PowerLoss;
    reverted_manifest_go_on: Reverted, Manifest, GoOn;
    reverted_manifest_open_again: Reverted, Manifest, OpenAgain;
    reverted_manifest_power_loss: Reverted, Manifest, PowerLoss;
    reverted_directory_go_on: Reverted, Directory, GoOn;
    reverted_directory_open_again: Reverted, Directory, OpenAgain;
    reverted_directory_power_loss: Reverted, Directory, PowerLoss;
    size_kept_log_go_on: SizeKept, Log, GoOn;
    size_kept_log_open_again: SizeKept, Log, OpenAgain;
    size_kept_log_power_loss: SizeKept, Log, PowerLoss;
    size_kept_manifest_go_on: SizeKept, Manifest, GoOn;
    size_kept_manifest_open_again: SizeKept, Manifest, OpenAgain;
    size_kept_manifest_power_loss: SizeKept, Manifest, PowerLoss;
    size_kept_directory_go_on: SizeKept, Directory, GoOn;
    size_kept_directory_open_again: SizeKept, Directory, OpenAgain;
    size_kept_directory_power_loss: SizeKept, Directory, PowerLoss;
}

/// The case that caught another engine: commits wait for a sync, the sync fails, the log is cut
/// back to what was published and used again; the cut's old bytes are doomed, a later sync says
/// Ok over them, and the commits after it vanish at the next power cut.
///
/// Ours writes to no log again after a failed sync: the commits after it go to a new segment.
#[test]
fn commits_after_a_failed_sync_do_not_vanish_with_the_log_that_it_failed_on() {
    for flavour in [SyncFlavour::Doomed, SyncFlavour::Reverted, SyncFlavour::SizeKept] {
        for seed in 0..60 {
            let mut world = World::new(seed);
            world.options.durability =
                DurabilityMode::Batched { interval_ms: 3_600_000, batch_size: 1_000_000 };
            world.options.segment_bytes = 64 << 10;
            let db = world.try_open().unwrap();
            let no_tags: [(&str, &str); 0] = [];
            db.begin_run(run(), no_tags).unwrap();
            db.flush().unwrap();
            // Published, not synced.
            db.put(run(), "2", value(2)).unwrap();
            db.put(run(), "3", value(3)).unwrap();
            world.disk.fail_nth(CallKind::Sync, 0, Fault::new(FaultKind::Io).flavour(flavour));
            db.flush().unwrap_err();
            drop(db);
            let written_to = log_files(&world);
            // The same running system: the cache holds what the disk does not.
            let db = world.open().unwrap();
            let first = check_prefix(&db, "opened again");
            // Each of these syncs says Ok.
            for version in first + 1..=first + 4 {
                db.put(run(), format!("{version}"), value(version)).unwrap();
                db.flush().unwrap();
            }
            let after = log_files(&world);
            for (name, before) in &written_to {
                let now = after.iter().find(|(other, _)| other == name);
                assert!(
                    now.is_none_or(|(_, len)| len <= before),
                    "{} was written again",
                    name.display()
                );
            }
            drop(db);
            world.cut_power();
            let db = world.try_open().unwrap();
            let found = check_prefix(&db, "after the power cut");
            assert_eq!(found, first + 4, "{flavour:?}, seed {seed}: synced commits vanished");
        }
    }
}

/// The same with a full disk: the cut back is right there, and its sync is what fails.
#[test]
fn commits_after_a_cut_back_whose_sync_failed_do_not_vanish() {
    let mut cut_back = 0;
    for flavour in [SyncFlavour::Doomed, SyncFlavour::Reverted, SyncFlavour::SizeKept] {
        for (seed, fails) in (0..60).flat_map(|seed| [(seed, false), (seed, true)]) {
            let mut world = World::new(seed);
            world.options.durability =
                DurabilityMode::Batched { interval_ms: 3_600_000, batch_size: 1_000_000 };
            world.options.segment_bytes = 64 << 10;
            // The first write is that of the record.
            world.options.preallocation = Preallocation::Reserved;
            let db = world.try_open().unwrap();
            let no_tags: [(&str, &str); 0] = [];
            db.begin_run(run(), no_tags).unwrap();
            db.flush().unwrap();
            db.put(run(), "2", value(2)).unwrap();
            world.disk.fail_nth(CallKind::Write, 0, Fault::new(FaultKind::NoSpace));
            if fails {
                world.disk.fail_nth(CallKind::Sync, 0, Fault::new(FaultKind::Io).flavour(flavour));
            }
            let refused = db.put(run(), "3", value(3)).unwrap_err();
            let db = if fails {
                assert!(matches!(refused, Error::OutcomeUnknown { .. }), "{refused}");
                drop(db);
                world.open().unwrap()
            } else {
                assert!(matches!(refused, Error::DiskFull { .. }), "{refused}");
                cut_back += 1;
                db
            };
            let first = check_prefix(&db, "after the full disk");
            for version in first + 1..=first + 4 {
                db.put(run(), format!("{version}"), value(version)).unwrap();
                db.flush().unwrap();
            }
            drop(db);
            world.cut_power();
            let db = world.try_open().unwrap();
            let found = check_prefix(&db, "after the power cut");
            assert_eq!(found, first + 4, "{flavour:?}, seed {seed}: synced commits vanished");
        }
    }
    assert!(cut_back > 0, "the log was cut back and used again");
}

/// The segments of the store, with their sizes.
fn log_files(world: &World) -> Vec<(std::path::PathBuf, usize)> {
    let image = world.disk.live_image();
    let is_log = |path: &std::path::Path| path.extension().is_some_and(|kind| kind == "log");
    image.into_iter().filter(|(path, _)| is_log(path)).map(|(path, b)| (path, b.len())).collect()
}
