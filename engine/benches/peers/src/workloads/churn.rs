//! Overwriting: everything is put five times, and what that costs.

use anyhow::Result;

use super::{Context, check, put_of};
use crate::data::{Keys, Order, Shuffle, VALUE_BYTES};
use crate::engine::{Change, Level};
use crate::machine::{Io, device_written, room, status_bytes};
use crate::measure::{Timer, Timing};
use crate::outcome::Figures;

/// The rows.
pub const ROWS: &[&str] = &["churn-rate", "churn-disk", "churn-device", "churn-memory"];

const TIMES: u64 = 5;
const BATCH: u64 = 1000;
/// What a user has put: a key of 32 bytes and a value.
const ENTRY_BYTES: u64 = 32 + VALUE_BYTES as u64;

/// Durable batches, each time in another random order.
pub fn churn(context: &Context) -> Result<()> {
    let keys = Keys::new(context.sizes.churn_keys, context.sizes.per_run, Order::Random);
    let before = Io::now()?;
    let device_before = device_written(&context.dir);
    let engine = context.open(Level::Sync, 1)?;
    engine.begin_runs(&keys.runs())?;
    let mut session = engine.session()?;
    let mut timer = Timer::new(1)?;
    let mut chunk: Vec<Change> = Vec::with_capacity(BATCH as usize);
    for version in 0..TIMES {
        let order = Shuffle::new(keys.count(), version);
        let mut turn = 0;
        while turn < keys.count() {
            let end = (turn + BATCH).min(keys.count());
            chunk.clear();
            chunk.extend((turn..end).map(|turn| put_of(&keys, order.at(turn), version)));
            timer.chunk([&chunk], |changes| session.write(&mut changes.iter().copied()))?;
            turn = end;
        }
    }
    check(&mut *session, &keys, keys.count(), TIMES - 1)?;
    drop(session);
    let open = room(&context.store())?;
    let anonymous = status_bytes("RssAnon:")? as f64;
    engine.close()?;

    let put_bytes = (TIMES * keys.count() * ENTRY_BYTES) as f64;
    let live_bytes = (keys.count() * ENTRY_BYTES) as f64;
    let batches = (TIMES * keys.count().div_ceil(BATCH)) as f64;
    let timing = Timing::merge(&[timer])?;
    let rate = timing.rate * (TIMES * keys.count()) as f64 / batches;
    context.row(ROWS[0], Ok(Figures::rate(rate, "puts/s").with_latency(timing.latency)))?;

    let closed = room(&context.store())?;
    let disk = Figures::cost(closed.blocks as f64, "bytes")
        .also("times what is live", closed.blocks as f64 / live_bytes)
        .also("before the close bytes", open.blocks as f64)
        .also("lengths of files bytes", closed.length as f64);
    context.row(ROWS[1], Ok(disk))?;

    let written = Io::now()?.since(before).written as f64;
    let mut device =
        Figures::cost(written, "bytes").also("times what was put", written / put_bytes);
    if let Some((before, after)) = device_before.zip(device_written(&context.dir)) {
        let all = after.saturating_sub(before) as f64;
        device = device.also("the whole device, all processes bytes", all);
    }
    context.row(ROWS[2], Ok(device))?;

    let memory = Figures::cost(status_bytes("VmHWM:")? as f64, "bytes")
        .also("anonymous before the close bytes", anonymous);
    context.row(ROWS[3], Ok(memory))
}
