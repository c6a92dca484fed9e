//! A world that is the same every time: a clock that stands still, counted entropy, a plain
//! simulated disk.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use runstone::{
    Builder, Clock, Database, DurabilityMode, Entropy, Limits, Options, RecoveryReport, RunId,
};
use runstone_sim::disk::{DiskConfig, SimVfs};
use runstone_vfs::Vfs;

/// The wall clock's first millisecond: 2024-01-01.
pub(crate) const START_MS: u64 = 1_704_067_200_000;

/// The store's directory.
pub(crate) const DIR: &str = "/db";

/// A clock that moves when it is told to.
#[derive(Debug, Default)]
pub(crate) struct StillClock(AtomicU64);

impl StillClock {
    pub(crate) fn advance(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Clock for StillClock {
    fn wall_ms(&self) -> u64 {
        START_MS + self.0.load(Ordering::Relaxed)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// Entropy that counts: the first sixteen bytes are all 0xe1 (the store's id, at a creation),
/// the next all 0xe2, and so on.
#[derive(Debug, Default)]
pub(crate) struct CountedEntropy(AtomicU64);

impl Entropy for CountedEntropy {
    fn bytes16(&self) -> io::Result<[u8; 16]> {
        let drawn = self.0.fetch_add(1, Ordering::Relaxed);
        Ok([0xe1 + u8::try_from(drawn).expect("few draws"); 16])
    }
}

/// The seams of one scenario; openings of one store share them.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) disk: SimVfs,
    pub(crate) clock: Arc<StillClock>,
    entropy: Arc<CountedEntropy>,
}

impl World {
    pub(crate) fn new() -> Self {
        World {
            disk: SimVfs::with_config(1, DiskConfig::plain()),
            clock: Arc::default(),
            entropy: Arc::default(),
        }
    }

    /// A builder on the bare disk.
    pub(crate) fn builder(&self, options: Options) -> Builder {
        self.builder_on(Arc::new(self.disk.clone()), options)
    }

    /// A builder on a file system that decorates the disk.
    pub(crate) fn builder_on(&self, vfs: Arc<dyn Vfs>, options: Options) -> Builder {
        Database::builder()
            .options(options)
            .vfs(vfs)
            .clock(self.clock.clone())
            .entropy(self.entropy.clone())
    }

    pub(crate) fn open(&self, options: Options) -> Database {
        self.builder(options).open(DIR).expect("opens")
    }

    /// The short names of the store's numbered files, in order.
    pub(crate) fn names(&self) -> Vec<String> {
        let image = self.disk.live_image();
        let names = image.keys().filter_map(|path| path.file_name()?.to_str());
        names.filter_map(|name| name.strip_prefix(OWN_PREFIX)).map(str::to_owned).collect()
    }

    /// What stands in a file of the store.
    pub(crate) fn file(&self, name: &str) -> Vec<u8> {
        self.disk.live_image().remove(&own_path(name)).expect("the file is there")
    }
}

/// What the names of the store's numbered files begin with: its id is the first that was drawn.
pub(crate) const OWN_PREFIX: &str = "runstone-e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1-";

/// The path of a file of the store by its short name: `000001.log` for a numbered one.
pub(crate) fn own_path(name: &str) -> std::path::PathBuf {
    let is_numbered = name.starts_with(|first: char| first.is_ascii_digit());
    let prefix = if is_numbered { OWN_PREFIX } else { "" };
    Path::new(DIR).join(format!("{prefix}{name}"))
}

/// Options for small files: no thread, no preallocation, segments of 4 KiB.
pub(crate) fn options(durability: DurabilityMode) -> Options {
    Options {
        durability,
        background_threads: 0,
        preallocate_bytes: 0,
        segment_bytes: 4096,
        limits: Limits {
            key_bytes_max: 64,
            value_bytes_max: 8192,
            batch_bytes_max: 16_384,
            tags_max: 4,
            name_bytes_max: 64,
        },
        memory_bytes_max: 8 << 20,
        ..Options::default()
    }
}

/// Run `n`: all its bytes are `n`, so that it stands out in a dump.
pub(crate) fn run(n: u8) -> RunId {
    RunId::from_bytes([n; 16])
}

/// A report, one field a line.
pub(crate) fn report_text(report: &RecoveryReport) -> String {
    format!("{report:#?}\n")
}
