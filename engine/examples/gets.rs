//! What a get costs, by where the keys are and by how the value is read.
//!
//! ```sh
//! cargo run --release -p runstone --example gets -- 1000000 DIR
//! ```
//!
//! So many keys of 16 bytes with values of 100 are put in random order into ten runs, and read at
//! random: from memory; from one level of tables, all of it in the cache; and from a memtable and
//! the levels as a load has left them, in the cache as well.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "an example that measures"
)]

use std::time::Instant;

use runstone::{Database, DurabilityMode, NO_TAGS, Options, RunId, WriteBatch};

const RUNS: u64 = 10;
const GETS: u64 = 500_000;

fn run(nth: u64) -> RunId {
    let mut bytes = [7; 16];
    bytes[15] = u8::try_from(nth).unwrap();
    RunId::from_bytes(bytes)
}

/// The key of a number, and its run: as programs name them, a word and a number; or noise.
fn key(nth: u64, is_noise: bool) -> (RunId, [u8; 16]) {
    let mut key = *b"key-0000........";
    key[8..].copy_from_slice(&(nth / RUNS).to_be_bytes());
    if is_noise {
        key[..8].copy_from_slice(&(nth | 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    }
    (run(nth % RUNS), key)
}

/// A permutation of `0..count`, step by step.
fn shuffled(count: u64) -> impl Iterator<Item = u64> {
    let step = (0..).map(|n| 982_451_653 + 2 * n).find(|step| gcd(*step, count) == 1).unwrap();
    (0..count).map(move |nth| (nth.wrapping_mul(step) + 12345) % count)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn put(db: &Database, count: u64, is_noise: bool) {
    for nth in 0..RUNS {
        db.begin_run(run(nth), NO_TAGS).unwrap();
    }
    let mut batch = WriteBatch::new();
    for nth in shuffled(count) {
        let mut value = [0xab; 100];
        value[..8].copy_from_slice(&nth.to_le_bytes());
        let (run, key) = key(nth, is_noise);
        batch.put(run, key, value.as_slice());
        if batch.len() == 1000 {
            db.write(std::mem::take(&mut batch)).unwrap();
        }
    }
    if !batch.is_empty() {
        db.write(batch).unwrap();
    }
}

/// Nanoseconds a get, of the best of five turns.
fn time(mut read: impl FnMut(u64)) -> f64 {
    let turns = (0..5).map(|turn| {
        let begin = Instant::now();
        for nth in 0..GETS {
            read((nth + turn * GETS).wrapping_mul(0xd134_2543_de82_ef95) >> 16);
        }
        begin.elapsed().as_secs_f64() * 1e9 / GETS as f64
    });
    turns.fold(f64::INFINITY, f64::min)
}

fn measure(db: &Database, what: &str, count: u64, is_noise: bool) {
    // So that nothing is read from files below.
    for nth in 0..RUNS {
        assert!(db.scan::<&[u8], _>(run(nth), ..).unwrap().all(|item| item.is_ok()));
    }
    for nth in 0..count {
        let (run, key) = key(nth, is_noise);
        assert!(db.exists(run, key).unwrap());
    }
    let owned = time(|nth| {
        let (run, key) = key(nth % count, is_noise);
        let value = db.get(run, key).unwrap().unwrap();
        assert_eq!(value.as_bytes().unwrap()[..8], (nth % count).to_le_bytes());
    });
    let lent = time(|nth| {
        let (run, key) = key(nth % count, is_noise);
        let begins = |entry: runstone::EntryRef<'_>| {
            entry.value().as_bytes().unwrap()[..8] == (nth % count).to_le_bytes()
        };
        assert_eq!(db.get_with(run, key, begins).unwrap(), Some(true));
    });
    let exists = time(|nth| {
        let (run, key) = key(nth % count, is_noise);
        assert!(db.exists(run, key).unwrap());
    });
    let missing = time(|nth| {
        let (run, mut key) = key(nth % count, is_noise);
        key[15] ^= 0x80;
        key[14] ^= 0x80;
        key[0] ^= 1;
        assert!(!db.exists(run, key).unwrap());
    });
    println!("{what:>24} {owned:>8.0} {lent:>8.0} {exists:>8.0} {missing:>8.0}");
}

fn main() {
    let mut args = std::env::args().skip(1);
    let count: u64 = args.next().and_then(|arg| arg.parse().ok()).unwrap_or(1_000_000);
    let dir = args.next().expect("a directory for the store");
    let dir = std::path::Path::new(&dir).join(format!("gets-{}", std::process::id()));
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
    let heads = ["", "get", "get_with", "exists", "missing"];
    println!(
        "{:>24} {:>8} {:>8} {:>8} {:>8}   ns a key",
        heads[0], heads[1], heads[2], heads[3], heads[4]
    );
    for (is_noise, of) in [(false, "a word and a number"), (true, "noise")] {
        println!("{of}:");
        let db = open(1 << 30);
        put(&db, count, is_noise);
        measure(&db, "in memory", count, is_noise);
        db.close().unwrap();
        let db = open(1);
        while db.maintain().unwrap().left > 0 {}
        measure(&db, "in one level of tables", count, is_noise);
        db.close().unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
        let db = open(32 << 20);
        put(&db, count, is_noise);
        measure(&db, "in several levels", count, is_noise);
        db.close().unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
