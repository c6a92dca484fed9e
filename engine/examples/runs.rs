//! What many runs cost: begins runs, writes a key in each and ends them; then the time of an
//! opening, of a record, of a listing, and the peak of resident memory. Linux only.
//!
//! `cargo run --release -p runstone --example runs -- 1000000 64 /some/directory`
//!
//! Arguments: the number of runs, the memory in MiB, a directory that does not exist yet. A run has
//! one tag; its commits are asynchronous.
#![allow(clippy::disallowed_methods)] // it measures time
#![allow(clippy::cast_precision_loss)]

use std::path::Path;
use std::time::Instant;

use runstone::{Database, DurabilityMode, Options, RunFilter, RunId, RunStatus};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// So many records are read, at random.
const READS: u64 = 100_000;

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [runs, mib, dir] = arguments.as_slice() else {
        return Err("runs, MiB, directory".into());
    };
    let (runs, mib): (u64, u64) = (runs.parse()?, mib.parse()?);
    let db = open(Path::new(dir), mib)?;
    let began = Instant::now();
    for n in 0..runs {
        let run = nth(n);
        db.begin_run(run, [("kind", if n % 1000 == 0 { "rare" } else { "common" })])?;
        db.put(run, "key", n as i64)?;
        db.end_run(run)?;
    }
    told("begin, put and end", began, runs);
    let began = Instant::now();
    for n in 0..READS {
        db.get_run(nth(mix(n) % runs))?.ok_or("a run is lost")?;
    }
    told("get_run", began, READS);
    let began = Instant::now();
    while db.maintain()?.more {}
    told("drain", began, 1);
    db.close()?;
    drop(db);

    let began = Instant::now();
    let db = open(Path::new(dir), mib)?;
    told("an opening", began, 1);
    let began = Instant::now();
    for n in 0..READS {
        db.get_run(nth(mix(n) % runs))?.ok_or("a run is lost")?;
    }
    told("get_run, reopened", began, READS);
    let began = Instant::now();
    let rare = Some(("kind".to_owned(), "rare".to_owned()));
    let found = db.runs(RunFilter { tag: rare, ..RunFilter::default() })?.count();
    told("a listing by a tag of one run in 1,000", began, found as u64);
    let began = Instant::now();
    let running = RunFilter { status: Some(RunStatus::Running), ..RunFilter::default() };
    let found = db.runs(running)?.count();
    told("a listing of no running run", began, found as u64 + 1);
    db.close()?;
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    println!("{peak}");
    Ok(())
}

fn open(dir: &Path, mib: u64) -> Outcome<Database> {
    let durability = DurabilityMode::Async { interval_ms: 100 };
    let options = Options { durability, memory_bytes_max: mib << 20, ..Options::default() };
    Ok(Database::builder().options(options).open(dir)?)
}

/// Time-ordered, as ids are.
fn nth(n: u64) -> RunId {
    let mut bytes = [0x42; 16];
    for (to, from) in bytes.iter_mut().zip(n.to_be_bytes()) {
        *to = from;
    }
    RunId::from_bytes(bytes)
}

/// Spreads a number over all bits (Steele, Lea and Flood, 2014).
fn mix(n: u64) -> u64 {
    let n = (n ^ n >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ n >> 31
}

fn told(what: &str, began: Instant, times: u64) {
    let us = began.elapsed().as_secs_f64() * 1e6;
    println!("{what}: {:.2} us each, {:.1} ms in all", us / times.max(1) as f64, us / 1e3);
}
