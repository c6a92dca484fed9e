//! What examples that measure reads share: keys of ten runs, put in random order, and read from
//! each place where they may stand.

use std::path::Path;

use runstone::{Database, DurabilityMode, NO_TAGS, Options, RunId, WriteBatch};

pub(crate) const RUNS: u64 = 10;

pub(crate) fn run(nth: u64) -> RunId {
    let mut bytes = [7; 16];
    bytes[15] = u8::try_from(nth).unwrap();
    RunId::from_bytes(bytes)
}

/// A permutation of `0..count`, step by step.
fn shuffled(count: u64) -> impl Iterator<Item = u64> {
    let step = (0..).map(|n| 982_451_653 + 2 * n).find(|step| gcd(*step, count) == 1).unwrap();
    (0..count).map(move |nth| (nth.wrapping_mul(step) + 12345) % count)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Begins the runs, and puts so many keys, each with a value of 100 bytes that begins with its
/// number.
fn load(db: &Database, count: u64, key: impl Fn(u64) -> (RunId, [u8; 16])) {
    for nth in 0..RUNS {
        db.begin_run(run(nth), NO_TAGS).unwrap();
    }
    let mut batch = WriteBatch::new();
    for nth in shuffled(count) {
        let mut value = [0xab; 100];
        value[..8].copy_from_slice(&nth.to_le_bytes());
        let (run, key) = key(nth);
        batch.put(run, key, value.as_slice());
        if batch.len() == 1000 {
            db.write(std::mem::take(&mut batch)).unwrap();
        }
    }
    if !batch.is_empty() {
        db.write(batch).unwrap();
    }
}

/// Measures what is in memory; in one level of tables; and in a memtable and the levels as a load
/// has left them. The directory is made and removed each time.
pub(crate) fn measure_in_each_place(
    dir: &Path,
    count: u64,
    key: impl Fn(u64) -> (RunId, [u8; 16]),
    measure: impl Fn(&Database, &str),
) {
    let open = |flush_bytes| {
        let options = Options {
            durability: DurabilityMode::Async { interval_ms: u64::MAX },
            memory_bytes_max: 3 << 30,
            flush_bytes,
            flush_log_bytes: u64::MAX,
            ..Options::default()
        };
        Database::builder().options(options).open(dir).unwrap()
    };
    let db = open(1 << 30);
    load(&db, count, &key);
    measure(&db, "in memory");
    db.close().unwrap();
    let db = open(1);
    while db.maintain().unwrap().left > 0 {}
    db.close().unwrap();
    let db = open(1 << 30);
    measure(&db, "in one level of tables");
    db.close().unwrap();
    std::fs::remove_dir_all(dir).unwrap();
    let db = open(32 << 20);
    load(&db, count, &key);
    measure(&db, "in several levels");
    db.close().unwrap();
    std::fs::remove_dir_all(dir).unwrap();
}
