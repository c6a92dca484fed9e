//! What the integration tests share: time, entropy, images of directories, a file system that
//! is watched, and the whole visible state of a database.
#![allow(dead_code, unreachable_pub)] // each test binary uses its own share
#![allow(clippy::unwrap_used, clippy::expect_used)] // a helper that fails fails its test

#[cfg(unix)]
pub mod child;
pub mod full;
pub mod real_disk;
pub mod refusing;
pub mod spy;
pub mod stores;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use runstone::vfs::{Access, FileKind, MemVfs, Vfs, read_full_at, write_all_at};
use runstone::{
    Builder, Clock, Database, DurabilityMode, Entropy, Error, Options, RunFilter, RunId,
    RunMetadataEntry, VersionedValue,
};

/// No tags, for `begin_run`.
pub const NO_TAGS: [(&str, &str); 0] = [];

/// The directory of stores that are not on the real disk.
pub const DIR: &str = "/db";

/// Where the test's clock starts: a date of 2033.
pub const START_MS: u64 = 2_000_000_000_000;

/// The three modes, with timers too slow to play a part.
pub const MODES: [DurabilityMode; 3] = [
    DurabilityMode::Strict,
    DurabilityMode::Batched { interval_ms: 3_600_000, batch_size: 1_000_000 },
    DurabilityMode::Async { interval_ms: 3_600_000 },
];

/// A run id of sixteen equal bytes.
pub fn run(n: u8) -> RunId {
    RunId::from_bytes([n; 16])
}

/// A clock that stands until it is moved.
#[derive(Debug)]
pub struct TestClock {
    wall_ms: AtomicU64,
    monotonic_ms: AtomicU64,
}

impl TestClock {
    pub fn new() -> Arc<Self> {
        Arc::new(TestClock { wall_ms: AtomicU64::new(START_MS), monotonic_ms: AtomicU64::new(0) })
    }

    /// Time passes.
    pub fn advance(&self, ms: u64) {
        self.wall_ms.fetch_add(ms, Ordering::SeqCst);
        self.monotonic_ms.fetch_add(ms, Ordering::SeqCst);
    }

    /// Somebody sets the wall clock.
    pub fn set_wall(&self, ms: u64) {
        self.wall_ms.store(ms, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn wall_ms(&self) -> u64 {
        self.wall_ms.load(Ordering::SeqCst)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.monotonic_ms.load(Ordering::SeqCst))
    }
}

/// Ids and salts that are the same in every run of a test, and never repeat in one.
#[derive(Debug)]
pub struct TestEntropy {
    next: AtomicU64,
}

impl TestEntropy {
    pub fn new(seed: u64) -> Arc<Self> {
        Arc::new(TestEntropy { next: AtomicU64::new(seed << 32) })
    }
}

impl Entropy for TestEntropy {
    fn bytes16(&self) -> std::io::Result<[u8; 16]> {
        let n = self.next.fetch_add(1, Ordering::SeqCst);
        // Two odd factors spread the count over all the bytes.
        let (low, high) =
            (n.wrapping_mul(0x9e37_79b9_7f4a_7c15), n.wrapping_mul(0xd6e8_feb8_6659_fd93));
        Ok((u128::from(low) << 64 | u128::from(high)).to_le_bytes())
    }
}

/// An opening that the test decides wholly: no thread, its own clock and ids.
#[derive(Clone, Debug)]
pub struct World {
    pub vfs: Arc<dyn Vfs>,
    pub clock: Arc<TestClock>,
    pub entropy: Arc<TestEntropy>,
    pub options: Options,
}

impl World {
    pub fn new(vfs: impl Vfs + 'static) -> Self {
        World::on(Arc::new(vfs))
    }

    pub fn on(vfs: Arc<dyn Vfs>) -> Self {
        let options = Options {
            background_threads: 0,
            preallocate_bytes: 0,
            limits: small_limits(),
            memory_bytes_max: 256 << 20,
            ..Options::default()
        };
        World { vfs, clock: TestClock::new(), entropy: TestEntropy::new(1), options }
    }

    pub fn memory() -> Self {
        World::new(MemVfs::new())
    }

    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(&mut self.options);
        self
    }

    #[must_use]
    pub fn mode(self, mode: DurabilityMode) -> Self {
        self.with(|options| options.durability = mode)
    }

    /// The same world on another disk.
    #[must_use]
    pub fn on_disk(&self, vfs: impl Vfs + 'static) -> Self {
        World { vfs: Arc::new(vfs), ..self.clone() }
    }

    pub fn builder(&self) -> Builder {
        Database::builder()
            .options(self.options.clone())
            .vfs(Arc::clone(&self.vfs))
            .clock(Arc::<TestClock>::clone(&self.clock))
            .entropy(Arc::<TestEntropy>::clone(&self.entropy))
    }

    pub fn try_open(&self) -> runstone::Result<Database> {
        self.builder().open(DIR)
    }

    pub fn open(&self) -> Database {
        self.try_open().expect("opens")
    }

    pub fn try_read_only(&self) -> runstone::Result<Database> {
        self.builder().open_read_only(DIR)
    }
}

/// Limits that let a memtable be small.
pub fn small_limits() -> runstone::Limits {
    runstone::Limits {
        key_bytes_max: 1 << 10,
        value_bytes_max: 64 << 10,
        batch_bytes_max: 128 << 10,
        tags_max: 8,
        name_bytes_max: 256,
    }
}

/// The keys of a run with what they hold, in order.
pub type Pairs = Vec<(Vec<u8>, VersionedValue)>;

/// Everything that a database shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    pub version: u64,
    pub runs: BTreeMap<RunId, (RunMetadataEntry, Pairs)>,
}

/// Reads all of it through the public calls.
pub fn state(db: &Database) -> State {
    let runs = db.runs(RunFilter::default()).expect("lists the runs");
    State {
        version: db.storage().version(),
        runs: runs
            .map(|entry| {
                let entry = entry.expect("reads a run");
                let keys: Result<Vec<_>, Error> =
                    db.scan_prefix(entry.run_id, "").expect("scans").collect();
                (entry.run_id, (entry, keys.expect("scans")))
            })
            .collect(),
    }
}

/// The files of a directory. Those of the store have short names: `LOCK`, `MANIFEST`, and
/// `000001.log` for `runstone-ID-000001.log`, so that tests can call them by number.
pub type Image = BTreeMap<String, Vec<u8>>;

/// The id of the store whose files these are, by its manifest or its lock file.
fn store_id(image: &Image) -> Option<String> {
    let of = |name: &str, from: usize| image.get(name)?.get(from..from + 16);
    let id = of("MANIFEST", 24).or_else(|| of("LOCK", 16))?;
    Some(id.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The short name of a file of the store of this id.
pub fn short_name(name: &str, id: Option<&str>) -> String {
    match name {
        "runstone.lock" => "LOCK".to_owned(),
        "runstone.manifest" => "MANIFEST".to_owned(),
        _ => {
            let numbered = id.and_then(|id| name.strip_prefix(&format!("runstone-{id}-")));
            numbered.unwrap_or(name).to_owned()
        }
    }
}

/// The name of a file on disk that has this short name.
pub fn long_name(name: &str, image: &Image) -> String {
    let is_numbered = name.split_once('.').is_some_and(|(digits, kind)| {
        digits.len() >= 6
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && matches!(kind, "log" | "tmp")
    });
    match (name, store_id(image)) {
        ("LOCK", _) => "runstone.lock".to_owned(),
        ("MANIFEST", _) => "runstone.manifest".to_owned(),
        (_, Some(id)) if is_numbered => format!("runstone-{id}-{name}"),
        _ => name.to_owned(),
    }
}

/// Every file of a directory with its bytes.
pub fn image(vfs: &dyn Vfs, dir: impl AsRef<Path>) -> Image {
    let mut image = Image::new();
    for entry in vfs.list(dir.as_ref()).expect("lists") {
        if entry.kind != FileKind::File {
            continue;
        }
        let path = dir.as_ref().join(&entry.name);
        let name = short_name(entry.name.to_str().expect("a plain name"), None);
        image.insert(name, read(vfs, &path));
    }
    let id = store_id(&image);
    image.into_iter().map(|(name, bytes)| (short_name(&name, id.as_deref()), bytes)).collect()
}

/// The path of the store's file of this short name in [`DIR`].
pub fn own_path(vfs: &dyn Vfs, name: &str) -> std::path::PathBuf {
    Path::new(DIR).join(long_name(name, &image(vfs, DIR)))
}

/// The bytes of a file.
pub fn read(vfs: &dyn Vfs, path: impl AsRef<Path>) -> Vec<u8> {
    let file = vfs.open(path.as_ref(), Access::Read).expect("opens");
    let mut bytes = vec![0; usize::try_from(file.len().expect("has a length")).expect("fits")];
    let read = read_full_at(&*file, &mut bytes, 0).expect("reads");
    assert_eq!(read, bytes.len());
    bytes
}

/// A disk in memory with these files in [`DIR`].
pub fn memory_of(image: &Image) -> MemVfs {
    let vfs = MemVfs::new();
    vfs.create_dir(Path::new(DIR)).expect("a new directory");
    for (name, bytes) in image {
        put_file(&vfs, &Path::new(DIR).join(long_name(name, image)), bytes);
    }
    vfs
}

/// Writes a whole file, in place of an older one.
pub fn put_file(vfs: &dyn Vfs, path: &Path, bytes: &[u8]) {
    match vfs.remove(path) {
        Ok(()) => {}
        Err(e) => assert_eq!(e.kind(), std::io::ErrorKind::NotFound),
    }
    let file = vfs.create(path).expect("creates");
    write_all_at(&*file, bytes, 0).expect("writes");
    file.sync().expect("syncs");
}

/// The names of the log segments, in order.
pub fn segments(image: &Image) -> Vec<String> {
    image
        .keys()
        .filter(|name| Path::new(name).extension().is_some_and(|kind| kind == "log"))
        .cloned()
        .collect()
}
