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

mod places;

use std::time::Instant;

use places::{RUNS, measure_in_each_place, run};
use runstone::{Database, RunId};

const GETS: u64 = 500_000;

/// The key of a number, and its run: as programs name them, a word and a number; or noise.
fn key(nth: u64, is_noise: bool) -> (RunId, [u8; 16]) {
    let mut key = *b"key-0000........";
    key[8..].copy_from_slice(&(nth / RUNS).to_be_bytes());
    if is_noise {
        key[..8].copy_from_slice(&(nth | 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    }
    (run(nth % RUNS), key)
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
    println!(
        "{:>24} {:>8} {:>8} {:>8} {:>8}   ns a key",
        "", "get", "get_with", "exists", "missing"
    );
    for (is_noise, of) in [(false, "a word and a number"), (true, "noise")] {
        println!("{of}:");
        let key = |nth| key(nth, is_noise);
        measure_in_each_place(&dir, count, key, |db, what| measure(db, what, count, is_noise));
    }
}
