//! What a scan costs a key, by where the keys are and by how they are read.
//!
//! ```sh
//! cargo run --release -p runstone --example scans -- 1000000 DIR
//! ```
//!
//! So many keys of 16 bytes with values of 100 are put in random order into ten runs. They are read
//! by scans of everything from both ends, and by scans of a thousand keys: from memory; from one
//! level of tables; and from a memtable and the levels as a load has left them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "an example that measures"
)]

use std::time::Instant;

use runstone::{Database, DurabilityMode, NO_TAGS, Options, RunId, WriteBatch};

const RUNS: u64 = 10;

fn run(nth: u64) -> RunId {
    let mut bytes = [7; 16];
    bytes[15] = u8::try_from(nth).unwrap();
    RunId::from_bytes(bytes)
}

fn key(nth: u64) -> [u8; 16] {
    let mut key = *b"key-0000........";
    key[8..].copy_from_slice(&nth.to_be_bytes());
    key
}

/// A permutation of `0..count`, step by step.
fn shuffled(count: u64) -> impl Iterator<Item = u64> {
    let step = (0..).map(|n| 982_451_653 + 2 * n).find(|step| gcd(*step, count) == 1).unwrap();
    (0..count).map(move |nth| (nth.wrapping_mul(step) + 12345) % count)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn put(db: &Database, keys: impl Iterator<Item = u64>) {
    let mut batch = WriteBatch::new();
    for nth in keys {
        let mut value = [0xab; 100];
        value[..8].copy_from_slice(&nth.to_le_bytes());
        batch.put(run(nth % RUNS), key(nth / RUNS), value.as_slice());
        if batch.len() == 1000 {
            db.write(std::mem::take(&mut batch)).unwrap();
        }
    }
    if !batch.is_empty() {
        db.write(batch).unwrap();
    }
}

/// Nanoseconds a key, of the best of three turns.
fn time(count: u64, mut read: impl FnMut() -> u64) -> f64 {
    let turns = (0..3).map(|_| {
        let begin = Instant::now();
        assert_eq!(read(), count);
        begin.elapsed().as_secs_f64() * 1e9 / count as f64
    });
    turns.fold(f64::INFINITY, f64::min)
}

fn measure(db: &Database, what: &str, count: u64) {
    let all = |backward: bool| {
        let mut seen = 0;
        for nth in 0..RUNS {
            let mut scan = db.scan::<&[u8], _>(run(nth), ..).unwrap();
            let mut next = || if backward { scan.next_back() } else { scan.next() };
            while let Some(item) = next() {
                let (key, found) = item.unwrap();
                assert!(!key.is_empty() && found.version > 0);
                seen += 1;
            }
        }
        seen
    };
    let forward = time(count, || all(false));
    let backward = time(count, || all(true));
    let part = time(200_000, || {
        let mut seen = 0;
        for nth in 0..200 {
            let from = nth * (count / RUNS / 210);
            let scan = db.scan(run(nth % RUNS), key(from)..key(from + 1000)).unwrap();
            seen += scan.map(|item| item.unwrap().0.len() as u64 / 16).sum::<u64>();
        }
        seen
    });
    println!("{what:>24} {forward:>8.0} {backward:>8.0} {part:>8.0}");
}

fn main() {
    let mut args = std::env::args().skip(1);
    let count: u64 = args.next().and_then(|arg| arg.parse().ok()).unwrap_or(1_000_000);
    let dir = args.next().expect("a directory for the store");
    let dir = std::path::Path::new(&dir).join(format!("scans-{}", std::process::id()));
    let open = |flush_bytes| {
        let options = Options {
            durability: DurabilityMode::Async { interval_ms: u64::MAX },
            memory_bytes_max: 3 << 30,
            flush_bytes,
            flush_log_bytes: u64::MAX,
            ..Options::default()
        };
        Database::builder().options(options).open(&dir).unwrap()
    };
    let flush = |db: Database| {
        db.close().unwrap();
        let db = open(1);
        while db.maintain().unwrap().left > 0 {}
        db.close().unwrap();
        open(1 << 30)
    };
    let db = open(1 << 30);
    for nth in 0..RUNS {
        db.begin_run(run(nth), NO_TAGS).unwrap();
    }
    println!("{:>24} {:>8} {:>8} {:>8}   ns a key", "", "forward", "backward", "of 1000");
    put(&db, shuffled(count));
    measure(&db, "in memory", count);
    let db = flush(db);
    measure(&db, "in tables", count);
    db.close().unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
    let db = open(32 << 20);
    for nth in 0..RUNS {
        db.begin_run(run(nth), NO_TAGS).unwrap();
    }
    put(&db, shuffled(count));
    measure(&db, "in several levels", count);
    db.close().unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
}
