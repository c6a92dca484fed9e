//! What compressed blocks cost and save: the same keys loaded, read and scanned with and without,
//! in turns.
//!
//! `cargo run --release -p runstone --example compression -- 300000 /some/directory`
//!
//! Arguments: the number of keys, a directory that does not exist yet. A key has 16 bytes, a value
//! 100: once all of it random, once half of it zeros. Prints the medians of the ratios of each
//! round, LZ4 to none.
#![allow(clippy::disallowed_methods)] // it measures time
#![allow(clippy::cast_precision_loss)]

use std::path::Path;
use std::time::Instant;

use runstone::{Compression, Database, DurabilityMode, Options, RunId, Value, WriteBatch};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

const RUN: RunId = RunId::from_bytes([0x42; 16]);
const BATCH: u64 = 500;
const ROUNDS: usize = 5;
const GETS: u64 = 100_000;

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [keys, dir] = arguments.as_slice() else { return Err("keys, directory".into()) };
    let keys: u64 = keys.parse()?;
    for (what, is_random) in [("random values", true), ("values half of zeros", false)] {
        let mut rounds = Vec::new();
        for round in 0..ROUNDS {
            let at = |name: &str| Path::new(dir).join(format!("{name}-{is_random}-{round}"));
            let without = measure(&at("none"), keys, is_random, Compression::None)?;
            let with = measure(&at("lz4"), keys, is_random, Compression::Lz4)?;
            rounds.push((without, with));
        }
        println!("{what}");
        for (nth, name) in NAMES.iter().enumerate() {
            let mut ratios: Vec<(f64, f64, f64)> = rounds
                .iter()
                .map(|(without, with)| (with[nth] / without[nth], without[nth], with[nth]))
                .collect();
            ratios.sort_by(|a, b| a.0.total_cmp(&b.0));
            let (ratio, without, with) = ratios[ROUNDS / 2];
            println!("  {name:<24} {without:>12.1} {with:>12.1} {ratio:>8.3}");
        }
    }
    Ok(())
}

const NAMES: [&str; 6] = [
    "load and drain, ms",
    "bytes of tables, MB",
    "gets, cached, ms",
    "scan, cached, ms",
    "gets, not cached, ms",
    "scan, not cached, ms",
];

fn open(dir: &Path, compression: Compression, cache_bytes_max: u64) -> Outcome<Database> {
    let options = Options {
        durability: DurabilityMode::Async { interval_ms: 1000 },
        flush_bytes: 8 << 20,
        compression,
        cache_bytes_max,
        background_threads: 0,
        ..Options::default()
    };
    Ok(Database::builder().options(options).open(dir)?)
}

/// Spreads a number over all bits (Steele, Lea and Flood, 2014).
fn mix(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

fn key(n: u64) -> String {
    format!("{:016x}", mix(n))
}

fn value(n: u64, is_random: bool) -> Value {
    let words = (0..13).map(|nth| if is_random || nth < 7 { mix(n * 13 + nth + 1) } else { 0 });
    let mut bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
    bytes.truncate(100);
    Value::Bytes(bytes)
}

fn measure(dir: &Path, keys: u64, is_random: bool, compression: Compression) -> Outcome<[f64; 6]> {
    std::fs::create_dir_all(dir.parent().ok_or("a directory")?)?;
    let db = open(dir, compression, u64::MAX)?;
    db.begin_run(RUN, runstone::NO_TAGS)?;
    let load = time(|| {
        for first in (0..keys).step_by(usize::try_from(BATCH)?) {
            let mut batch = WriteBatch::new();
            for n in first..(first + BATCH).min(keys) {
                batch.put(RUN, key(n), value(n, is_random));
            }
            db.write(batch)?;
            db.maintain()?;
        }
        while db.maintain()?.more {}
        Ok(())
    })?;
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let is_table = entry.path().extension().is_some_and(|extension| extension == "table");
        bytes += if is_table { entry.metadata()?.len() } else { 0 };
    }
    let reads = |db: &Database| -> Outcome<[f64; 2]> {
        let scan = || -> Outcome {
            std::hint::black_box(db.scan::<&str, _>(RUN, ..)?.count());
            Ok(())
        };
        let gets = || -> Outcome {
            for n in 0..GETS {
                std::hint::black_box(db.get(RUN, key(mix(n) % keys))?);
            }
            Ok(())
        };
        scan()?;
        Ok([time(gets)?, time(scan)?])
    };
    let cached = reads(&db)?;
    db.close()?;
    let db = open(dir, compression, 2 << 20)?;
    let not_cached = reads(&db)?;
    db.close()?;
    std::fs::remove_dir_all(dir)?;
    Ok([load, bytes as f64 / 1e6, cached[0], cached[1], not_cached[0], not_cached[1]])
}

fn time(work: impl FnOnce() -> Outcome) -> Outcome<f64> {
    let began = Instant::now();
    work()?;
    Ok(began.elapsed().as_secs_f64() * 1e3)
}
