//! Puts, one by one and in batches.

use anyhow::Result;

use super::{Context, check_if_readable, put_of, rate};
use crate::data::{Key, Keys, Order, Value, value};
use crate::engine::{Change, Level};
use crate::measure::{Timer, Timing, share, workers};
use crate::outcome::Figures;

/// The changes of a batch.
const BATCH: u64 = 1000;

/// Single puts, each a commit of its own.
pub fn puts(
    context: &Context,
    level: Level,
    threads: usize,
    order: Order,
) -> Result<Option<Figures>> {
    let sizes = &context.sizes;
    // Many threads share their syncs, and need more puts to take as long.
    let (count, every) = match level {
        Level::Sync => (sizes.sync_puts * (threads as u64).isqrt(), 1),
        Level::Os | Level::Memory => (sizes.buffered_puts, 16),
    };
    let keys = Keys::new(count, sizes.per_run, order);
    let engine = context.open(level, threads)?;
    engine.begin_runs(&keys.runs())?;
    let timing = workers(
        threads,
        |index| {
            let keys = share(count, threads, index).map(|turn| keys.at(turn));
            Ok(keys.map(|key| (key, value(&key, 0))).collect::<Vec<(Key, Value)>>())
        },
        |puts| {
            let mut session = engine.session()?;
            let mut timer = Timer::new(every)?;
            timer.chunk(&puts, |(key, value)| session.put(key, value))?;
            Ok(timer)
        },
    )?;
    check_if_readable(&*engine, &keys, count, 0)?;
    engine.close()?;
    Ok(Some(rate(timing, "puts/s")))
}

/// Durable batches of [`BATCH`] puts.
pub fn batches(context: &Context, order: Order) -> Result<Option<Figures>> {
    let count = context.sizes.batches * BATCH;
    let keys = Keys::new(count, context.sizes.per_run, order);
    let engine = context.open(Level::Sync, 1)?;
    engine.begin_runs(&keys.runs())?;
    let mut session = engine.session()?;
    let mut timer = Timer::new(1)?;
    let mut chunk: Vec<Change> = Vec::with_capacity(BATCH as usize);
    for batch in 0..context.sizes.batches {
        chunk.clear();
        chunk.extend((batch * BATCH..(batch + 1) * BATCH).map(|turn| put_of(&keys, turn, 0)));
        timer.chunk([&chunk], |changes| session.write(&mut changes.iter().copied()))?;
    }
    drop(session);
    let timing = Timing::merge(&[timer])?;
    check_if_readable(&*engine, &keys, count, 0)?;
    engine.close()?;
    // The time of one operation is that of a batch.
    Ok(Some(Figures::rate(timing.rate * BATCH as f64, "puts/s").with_latency(timing.latency)))
}
