//! The steps of redb's own published benchmark, in its order, with our keys and values.
//!
//! The original is `crates/redb-bench` of redb's repository, with keys of 24 bytes and values of
//! 150. Its steps `retain`, `extract_if`, `pop` and `sorted inserts` need calls that most engines
//! here do not have, and are left out; so the sizes at the end are those after the removals.

use std::hint::black_box;
use std::ops::Range as Span;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::{Context, put_of, touch};
use crate::data::{Key, Keys, Order, Value, mix, value};
use crate::engine::{Change, Direction, Engine, Level, Range, Reader, Scan};
use crate::machine::room;
use crate::measure::{Timer, share, workers};
use crate::outcome::Figures;

/// The rows.
pub const ROWS: &[&str] = &[
    "redb/bulk-load",
    "redb/individual-writes",
    "redb/batch-writes",
    "redb/nosync-writes",
    "redb/len",
    "redb/random-reads",
    "redb/random-range-reads",
    "redb/random-reads-4",
    "redb/random-reads-8",
    "redb/random-reads-16",
    "redb/random-reads-32",
    "redb/removals",
    "redb/size",
    "redb/compaction",
    "redb/size-compacted",
];

/// How often the reads of one thread are repeated; the median counts, as there.
const REPEATS: usize = 3;
const BATCH: u64 = 1000;
const SCAN_LEN: usize = 10;

/// A key and its value.
type Prepared = (Key, Value);

struct Steps<'a> {
    context: &'a Context,
    keys: Keys,
    individual: u64,
    batches: u64,
    reads: u64,
    scans: u64,
    /// How many keys were put.
    put: u64,
}

/// All steps, with one store; what it lacks is told, and the next step goes on.
pub fn steps(context: &Context) -> Result<()> {
    let scaled = |full: f64, least: u64| ((full * context.sizes.redb_scale) as u64).max(least);
    let bulk = scaled(5e6, 10_000);
    let (individual, batches) = (scaled(1000.0, 100), scaled(100.0, 4));
    let nosync = scaled(50_000.0, 1000);
    let count = bulk + individual + batches * BATCH + nosync;
    let mut steps = Steps {
        context,
        keys: Keys::new(count, context.sizes.per_run, Order::Random),
        individual,
        batches,
        reads: scaled(1e6, 2000),
        scans: scaled(500_000.0, 1000),
        put: 0,
    };
    let engine = context.open(Level::Sync, 1)?;
    engine.begin_runs(&steps.keys.runs())?;
    steps.synced_writes(&*engine, bulk)?;
    engine.close()?;

    let engine = context.open(Level::Memory, 1)?;
    steps.nosync_writes(&*engine)?;
    engine.close()?;

    let engine = context.open(Level::Sync, 1)?;
    steps.reads(&*engine)?;
    engine.close()?;

    let most = 32;
    let engine = context.open(Level::Sync, most)?;
    for threads in [4, 8, 16, most] {
        steps.concurrent_reads(&*engine, threads)?;
    }
    engine.close()?;

    let mut engine = context.open(Level::Sync, 1)?;
    steps.removals(&*engine)?;
    steps.compaction(&mut *engine)?;
    engine.close()
}

/// A rate of so many in such a time.
fn rate(count: u64, time: Duration, unit: &str) -> Figures {
    Figures::rate(count as f64 / time.as_secs_f64(), unit)
}

impl Steps<'_> {
    /// The turns of the next keys to be put.
    fn next(&mut self, count: u64) -> Span<u64> {
        let turns = self.put..self.put + count;
        self.put += count;
        turns
    }

    /// The next puts, made before the clock runs.
    fn prepared(&mut self, count: u64) -> Vec<Prepared> {
        let keys = self.next(count).map(|turn| self.keys.at(turn));
        keys.map(|key| (key, value(&key, 0))).collect()
    }

    fn synced_writes(&mut self, engine: &dyn Engine, bulk: u64) -> Result<()> {
        let mut session = engine.session()?;
        let turns = self.next(bulk);
        let start = Instant::now();
        let mut changes = turns.map(|turn| put_of(&self.keys, turn, 0)).peekable();
        while changes.peek().is_some() {
            session.write(&mut changes.by_ref().take(engine.batch_max()))?;
        }
        let row = rate(bulk, start.elapsed(), "keys/s");
        self.context.row("redb/bulk-load", Ok(row))?;

        let mut timer = Timer::new(1)?;
        let puts: Vec<Prepared> = self.prepared(self.individual);
        timer.chunk(&puts, |(key, value)| session.put(key, value))?;
        let row = Figures::rate(timer.rate(), "commits/s").with_latency(timer.latency());
        self.context.row("redb/individual-writes", Ok(row))?;

        let start = Instant::now();
        for _ in 0..self.batches {
            let turns = self.next(BATCH);
            session.write(&mut turns.map(|turn| put_of(&self.keys, turn, 0)))?;
        }
        let row = rate(self.batches * BATCH, start.elapsed(), "keys/s");
        self.context.row("redb/batch-writes", Ok(row))
    }

    fn nosync_writes(&mut self, engine: &dyn Engine) -> Result<()> {
        let mut session = engine.session()?;
        let puts: Vec<Prepared> = self.prepared(self.keys.count() - self.put);
        let mut timer = Timer::new(16)?;
        timer.chunk(&puts, |(key, value)| session.put(key, value))?;
        let row = Figures::rate(timer.rate(), "commits/s").with_latency(timer.latency());
        self.context.row("redb/nosync-writes", Ok(row))?;
        engine.sync()
    }

    fn reads(&self, engine: &dyn Engine) -> Result<()> {
        engine.at_one_moment(&mut |reader| {
            let start = Instant::now();
            let count = reader.count()?;
            let row = Figures::cost(start.elapsed().as_secs_f64(), "s");
            ensure!(count == self.keys.count(), "wrong data: {count} keys");
            self.context.row("redb/len", Ok(row))?;

            let gets = self.gets(0..self.reads);
            let row = median(|| get_all(reader, &gets).map(|timer| timer.rate()))?;
            self.context.row("redb/random-reads", Ok(Figures::rate(row, "keys/s")))?;

            let row = median(|| self.scan_all(reader))?;
            self.context.row("redb/random-range-reads", Ok(Figures::rate(row, "scans/s")))
        })
    }

    /// Random keys that are there.
    fn gets(&self, turns: Span<u64>) -> Vec<Key> {
        turns.map(|turn| self.keys.at(mix(turn) % self.keys.count())).collect()
    }

    fn scan_all(&self, reader: &mut dyn Reader) -> Result<f64> {
        let mut timer = Timer::new(16)?;
        timer.chunk(&self.gets(0..self.scans), |key| {
            let direction = Direction::Forward;
            let scan = Scan { range: Range::From(key), direction, limit: SCAN_LEN };
            let seen = reader.scan(scan, &mut |_, value| {
                black_box(touch(value));
            })?;
            ensure!(seen > 0, "wrong data: a key is not there");
            Ok(())
        })?;
        Ok(timer.rate())
    }

    fn concurrent_reads(&self, engine: &dyn Engine, threads: usize) -> Result<()> {
        let timing = workers(
            threads,
            |index| Ok(self.gets(share(self.reads, threads, index))),
            |gets| {
                let mut timer = None;
                engine.at_one_moment(&mut |reader| {
                    timer = Some(get_all(reader, &gets)?);
                    Ok(())
                })?;
                timer.context("the work was not done")
            },
        )?;
        let row = Figures::rate(timing.rate, "keys/s").with_latency(timing.latency);
        self.context.row(&format!("redb/random-reads-{threads}"), Ok(row))
    }

    fn removals(&self, engine: &dyn Engine) -> Result<()> {
        let mut session = engine.session()?;
        let count = self.keys.count() / 2;
        let mut changes =
            (0..count).map(|turn| Change { key: self.keys.at(turn), value: None }).peekable();
        let start = Instant::now();
        while changes.peek().is_some() {
            session.write(&mut changes.by_ref().take(engine.batch_max()))?;
        }
        let row = rate(count, start.elapsed(), "keys/s");
        let left = session.count()?;
        ensure!(left == self.keys.count() - count, "wrong data: {left} keys are left");
        self.context.row("redb/removals", Ok(row))
    }

    fn compaction(&self, engine: &mut dyn Engine) -> Result<()> {
        let size = || -> Result<Figures> {
            let room = room(&self.context.store())?;
            Ok(Figures::cost(room.blocks as f64, "bytes")
                .also("lengths of files bytes", room.length as f64))
        };
        self.context.row("redb/size", size())?;
        let start = Instant::now();
        engine.compact()?;
        let row = Figures::cost(start.elapsed().as_secs_f64(), "s");
        self.context.row("redb/compaction", Ok(row))?;
        self.context.row("redb/size-compacted", size())
    }
}

fn get_all(reader: &mut dyn Reader, gets: &[Key]) -> Result<Timer> {
    let mut timer = Timer::new(16)?;
    timer.chunk(gets, |key| {
        let found = reader.get(key, &mut |value| {
            black_box(touch(value));
        })?;
        ensure!(found, "wrong data: a key is not there");
        Ok(())
    })?;
    Ok(timer)
}

/// The median of some repetitions.
fn median(mut measure: impl FnMut() -> Result<f64>) -> Result<f64> {
    let mut values = [0.0; REPEATS];
    for value in &mut values {
        *value = measure()?;
    }
    values.sort_by(f64::total_cmp);
    Ok(values[REPEATS / 2])
}
