//! What a removed range costs scans and gets, in the range and elsewhere, before any merge has
//! freed it.
//!
//! `cargo run --release -p runstone --example removals -- 400000 /some/directory`
//!
//! Arguments: the number of keys, a directory that does not exist yet. A key has 16 bytes, a value
//! 100. Each figure is the least of several rounds; `of` is the same without a removal.
#![allow(clippy::disallowed_methods)] // it measures time
#![allow(clippy::cast_precision_loss)]

use std::path::Path;
use std::time::Instant;

use runstone::{Database, DurabilityMode, Options, RunId, Value, WriteBatch};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

const RUN: RunId = RunId::from_bytes([0x42; 16]);
const OTHER: RunId = RunId::from_bytes([0x24; 16]);
const BATCH: u64 = 500;
const ROUNDS: usize = 7;
/// So many keys of the other run are read one by one.
const GETS: u64 = 20_000;
/// So many small removals, of so many keys each.
const SMALL: u64 = 1000;
const SMALL_KEYS: u64 = 5;

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [keys, dir] = arguments.as_slice() else { return Err("keys, directory".into()) };
    let store = Store { keys: keys.parse()?, db: open(Path::new(dir))? };
    for run in [OTHER, RUN] {
        store.db.begin_run(run, runstone::NO_TAGS)?;
        store.put(run, 0, 1)?;
    }
    while store.db.maintain()?.more {}
    let Store { keys, db } = &store;
    let before = store.all()?;
    // It keeps all from being merged away.
    let snapshot = db.snapshot()?;
    let (from, to) = (keys / 20, keys - keys / 20);
    db.remove_range(RUN, key(from)..key(to))?;
    println!("{} keys; a range of {} is removed", keys, to - from);
    let after = store.all()?;
    report("as it is", &before, &after);
    // Some of it is written again, and stands in tables of its own.
    store.put(RUN, from, 1000)?;
    while db.maintain()?.more {}
    report("1 of 1000 written again", &before, &store.all()?);
    drop(snapshot);
    // Many small ones, at the end of the run.
    for nth in 0..SMALL.min((keys - to) / SMALL_KEYS / 2) {
        let from = to + 2 * nth * SMALL_KEYS;
        db.remove_range(RUN, key(from)..key(from + SMALL_KEYS))?;
    }
    report("and a thousand of five keys each", &before, &store.all()?);
    Ok(())
}

fn report(what: &str, before: &[(&'static str, f64)], after: &[(&'static str, f64)]) {
    println!("\n{what}");
    for ((name, of), (_, now)) in before.iter().zip(after) {
        println!("  {name:<34} {now:>12.2} us, of {of:>12.2}: {:>8.3}", now / of);
    }
}

fn open(dir: &Path) -> Outcome<Database> {
    let options = Options {
        durability: DurabilityMode::Async { interval_ms: 1000 },
        flush_bytes: 8 << 20,
        table_bytes_max: 4 << 20,
        background_threads: 0,
        ..Options::default()
    };
    Ok(Database::builder().options(options).open(dir)?)
}

struct Store {
    keys: u64,
    db: Database,
}

fn key(n: u64) -> String {
    format!("k{n:015}")
}

impl Store {
    /// Each `step`th key from one on, tables beside.
    fn put(&self, run: RunId, from: u64, step: u64) -> Outcome {
        let keys: Vec<u64> = (from..self.keys).step_by(usize::try_from(step)?).collect();
        for batch in keys.chunks(usize::try_from(BATCH)?) {
            let mut writes = WriteBatch::new();
            for n in batch {
                let bytes = [n.to_le_bytes(); 13].concat();
                writes.put(run, key(*n), Value::Bytes(bytes));
            }
            self.db.write(writes)?;
            self.db.maintain()?;
        }
        Ok(())
    }

    /// The least time of several rounds of each, in microseconds.
    fn all(&self) -> Outcome<Vec<(&'static str, f64)>> {
        let middle = || key(self.keys / 2);
        let (before, behind) = (key(self.keys / 20 - 20), key(self.keys - self.keys / 20 + 20));
        let scan = |run| self.db.scan::<&str, _>(run, ..);
        Ok(vec![
            ("a scan of all", least(|| Ok(scan(RUN)?.count()))?),
            ("the same backwards", least(|| Ok(scan(RUN)?.rev().count()))?),
            ("40 keys across its beginning", {
                least(|| Ok(self.db.scan(RUN, before.clone()..)?.take(40).count()))?
            }),
            ("the same backwards, across its end", {
                least(|| Ok(self.db.scan(RUN, ..behind.clone())?.rev().take(40).count()))?
            }),
            ("the next key behind its middle", {
                least(|| Ok(self.db.scan(RUN, middle()..)?.take(1).count()))?
            }),
            ("a get in it", least(|| Ok(usize::from(self.db.get(RUN, middle())?.is_some())))?),
            ("gets before it", least(|| self.gets(RUN, self.keys / 20))?),
            ("gets behind it", {
                least(|| self.gets_from(RUN, self.keys - self.keys / 20, self.keys / 20))?
            }),
            ("gets in another run", least(|| self.gets(OTHER, self.keys))?),
            ("a scan of another run", least(|| Ok(scan(OTHER)?.count()))?),
        ])
    }

    fn gets(&self, run: RunId, keys: u64) -> Outcome<usize> {
        self.gets_from(run, 0, keys)
    }

    fn gets_from(&self, run: RunId, from: u64, keys: u64) -> Outcome<usize> {
        let mut found = 0;
        for n in 0..GETS {
            let n = from + n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % keys;
            found += usize::from(self.db.get(run, key(n))?.is_some());
        }
        Ok(found)
    }
}

fn least(work: impl Fn() -> Outcome<usize>) -> Outcome<f64> {
    let mut least = f64::MAX;
    for _ in 0..ROUNDS {
        let began = Instant::now();
        std::hint::black_box(work()?);
        least = least.min(began.elapsed().as_secs_f64() * 1e6);
    }
    Ok(least)
}
