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

mod places;

use std::time::Instant;

use places::{RUNS, measure_in_each_place, run};
use runstone::Database;

fn key(nth: u64) -> [u8; 16] {
    let mut key = *b"key-0000........";
    key[8..].copy_from_slice(&nth.to_be_bytes());
    key
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
    println!("{:>24} {:>8} {:>8} {:>8}   ns a key", "", "forward", "backward", "of 1000");
    let key = |nth| (run(nth % RUNS), key(nth / RUNS));
    measure_in_each_place(&dir, count, key, |db, what| measure(db, what, count));
}
