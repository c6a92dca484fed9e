//! What the process takes beside what it was told: loads keys, reads, scans and overwrites them,
//! and prints the peak of its resident memory in each phase. Linux only.
//!
//! `cargo run --release -p runstone --example memory -- 3000000 64 /some/directory`
//!
//! Arguments: the number of keys, the memory in MiB, a directory that does not exist yet. A run id
//! has 16 bytes, a key 16, a value 100; the keys come in random order, and a thousand of them share
//! eight bytes.
#![allow(clippy::disallowed_methods)] // it measures time
#![allow(clippy::cast_precision_loss)]

use std::path::{Path, PathBuf};
use std::time::Instant;

use runstone::{Database, DurabilityMode, Options, RunId, Value, WriteBatch};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

const RUN: RunId = RunId::from_bytes([0x42; 16]);
const GROUP: u64 = 1000;
const BATCH: u64 = 500;

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [keys, mib, dir] = arguments.as_slice() else {
        return Err("keys, MiB, directory".into());
    };
    let (keys, mib): (u64, u64) = (keys.parse()?, mib.parse()?);
    let store = Store { keys, dir: PathBuf::from(dir), bytes_max: mib << 20 };
    let db = store.open()?;
    db.begin_run(RUN, runstone::NO_TAGS)?;
    store.phase(&db, "load", keys, |db| store.put_all(db, 1))?;
    store.phase(&db, "drain", 0, drain)?;
    let gets = keys.min(1_000_000);
    store.phase(&db, "gets", gets, |db| store.get(db, gets))?;
    store.phase(&db, "gets again", gets, |db| store.get(db, gets))?;
    store.phase(&db, "misses", gets, |db| misses(db, gets))?;
    store.phase(&db, "prefix scans", 1000 * GROUP, |db| store.scan_prefixes(db, 1000))?;
    store.phase(&db, "full scan", keys, |db| store.scan(db))?;
    store.phase(&db, "churn", keys, |db| store.put_all(db, 2))?;
    store.phase(&db, "drain", 0, drain)?;
    db.close()?;
    drop(db);
    let began = Instant::now();
    let db = store.open()?;
    let opened = began.elapsed();
    store.phase(&db, "gets, reopened", gets, |db| store.get(db, gets))?;
    println!("reopened in {:.1} ms", opened.as_secs_f64() * 1e3);
    db.close()?;
    Ok(())
}

struct Store {
    keys: u64,
    dir: PathBuf,
    bytes_max: u64,
}

/// Spreads a number over all bits (Steele, Lea and Flood, 2014).
fn mix(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

fn key(n: u64) -> [u8; 16] {
    let (group, own) = (mix(n / GROUP), mix(n ^ 0xabcd));
    (u128::from(group) << 64 | u128::from(own)).to_be_bytes()
}

fn value(n: u64, turn: u64) -> Vec<u8> {
    let mut bytes = vec![b'.'; 100];
    for (byte, at) in bytes.iter_mut().zip(0..50) {
        *byte = mix(n ^ turn << 40 ^ at).to_le_bytes()[0];
    }
    bytes
}

impl Store {
    fn open(&self) -> Outcome<Database> {
        let options = Options {
            memory_bytes_max: self.bytes_max,
            durability: DurabilityMode::Batched { interval_ms: 1000, batch_size: 1 << 20 },
            ..Options::default()
        };
        Ok(Database::builder().options(options).open(&self.dir)?)
    }

    /// The keys in random order, each once.
    fn shuffled(&self) -> impl Iterator<Item = u64> {
        let (keys, near) = (self.keys, self.keys / 2 + self.keys / 9);
        let step = (near..).find(|step| gcd(*step, keys) == 1).unwrap_or(1);
        let product = move |n| u128::from(n) * u128::from(step) % u128::from(keys);
        (0..keys).map(move |n| u64::try_from(product(n)).unwrap_or_default())
    }

    fn put_all(&self, db: &Database, turn: u64) -> Outcome {
        let mut batch = WriteBatch::new();
        for (count, n) in (1..).zip(self.shuffled()) {
            batch.put(RUN, key(n), value(n, turn));
            if count % BATCH == 0 || count == self.keys {
                db.write(std::mem::replace(&mut batch, WriteBatch::new()))?;
            }
        }
        Ok(())
    }

    fn get(&self, db: &Database, count: u64) -> Outcome {
        for n in 0..count {
            let key = key(mix(n) % self.keys);
            if !matches!(db.get(RUN, key)?, Some(Value::Bytes(value)) if value.len() == 100) {
                return Err("a key is not there".into());
            }
        }
        Ok(())
    }

    fn scan_prefixes(&self, db: &Database, count: u64) -> Outcome {
        let groups = self.keys / GROUP;
        for n in 0..count {
            let prefix = mix(mix(n) % groups).to_be_bytes();
            let found = db.scan_prefix(RUN, prefix)?.collect::<Result<Vec<_>, _>>()?;
            if found.len() as u64 != GROUP {
                return Err(format!("{} keys of a prefix", found.len()).into());
            }
        }
        Ok(())
    }

    fn scan(&self, db: &Database) -> Outcome {
        let mut found = 0;
        for entry in db.scan::<&[u8], _>(RUN, ..)? {
            entry?;
            found += 1;
        }
        if found == self.keys { Ok(()) } else { Err(format!("{found} keys").into()) }
    }

    fn phase(
        &self,
        db: &Database,
        what: &str,
        count: u64,
        work: impl FnOnce(&Database) -> Outcome,
    ) -> Outcome {
        // The kernel begins anew with the peak.
        std::fs::write(Path::new("/proc/self/clear_refs"), "5")?;
        let (began, before) = (Instant::now(), processor_ns()?);
        work(db)?;
        let (seconds, ns) = (began.elapsed().as_secs_f64(), processor_ns()? - before);
        let (peak, memory) = (peak_bytes()?, db.memory());
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        println!(
            "{what:>14}  {seconds:7.2} s  {:7.3} us of the processor each  peak {:6.1} MiB, {:.2} of the number  \
             (counted {:.1}: memtable {:.1}, frozen {:.1}, cache {:.1}, pinned {:.1})",
            if count == 0 { 0.0 } else { ns as f64 / 1e3 / count as f64 },
            mib(peak),
            peak as f64 / self.bytes_max as f64,
            mib(memory.total()),
            mib(memory.memtable),
            mib(memory.frozen),
            mib(memory.cache),
            mib(memory.pinned),
        );
        Ok(())
    }
}

fn misses(db: &Database, count: u64) -> Outcome {
    for n in 0..count {
        if db.get(RUN, mix(n).to_be_bytes())?.is_some() {
            return Err("a key that was never put".into());
        }
    }
    Ok(())
}

fn drain(db: &Database) -> Outcome {
    while db.maintain()?.left > 0 {}
    Ok(())
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// What this thread has had of a processor.
fn processor_ns() -> Outcome<u64> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(stat.split(' ').next().unwrap_or_default().parse()?)
}

fn peak_bytes() -> Outcome<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? << 10)
}
