//! Scans: the keys of a prefix, and everything.

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Result, ensure};

use super::{Context, rate, touch};
use crate::data::{Keys, Order};
use crate::engine::{Direction, Range, Scan};
use crate::machine;
use crate::measure::{Timer, Timing};
use crate::outcome::Figures;

/// How often everything is scanned; the median counts.
const TIMES: usize = 3;

/// Scans of the keys with one prefix, a random one each time.
pub fn prefix(context: &Context) -> Result<Option<Figures>> {
    let keys = Keys::new(context.sizes.keys, context.sizes.per_run, Order::Random);
    let engine = context.loaded(&keys, 1)?;
    machine::come_to_rest()?;
    let mut session = engine.session()?;
    let all = Scan { range: Range::All, direction: Direction::Forward, limit: usize::MAX };
    session.scan(all, &mut |key, value| {
        black_box(touch(key) ^ touch(value));
    })?;
    let mut timer = Timer::new(1)?;
    timer.chunk(0..context.sizes.prefix_scans, |turn| {
        let (run, prefix, size) = keys.group(turn);
        let range = Range::Prefix(run, &prefix);
        let scan = Scan { range, direction: Direction::Forward, limit: usize::MAX };
        let seen = session.scan(scan, &mut |key, value| {
            black_box(touch(key) ^ touch(value));
        })?;
        ensure!(seen as u64 == size, "wrong data: {seen} keys with a prefix, not {size}");
        Ok(())
    })?;
    drop(session);
    engine.close()?;
    Ok(Some(rate(Timing::merge(&[timer])?, "scans/s")))
}

/// A scan of everything, from either end. The first time is told apart: it may have to sort.
pub fn full(context: &Context, direction: Direction, order: Order) -> Result<Option<Figures>> {
    let keys = Keys::new(context.sizes.keys, context.sizes.per_run, order);
    let engine = context.loaded(&keys, 1)?;
    machine::come_to_rest()?;
    let mut session = engine.session()?;
    let mut rates = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        let start = Instant::now();
        let scan = Scan { range: Range::All, direction, limit: usize::MAX };
        let seen = session.scan(scan, &mut |key, value| {
            black_box(touch(key) ^ touch(value));
        })?;
        rates.push(seen as f64 / start.elapsed().as_secs_f64());
        ensure!(seen as u64 == keys.count(), "wrong data: {seen} keys, not {}", keys.count());
    }
    drop(session);
    engine.close()?;
    let first = rates[0];
    rates.sort_by(f64::total_cmp);
    Ok(Some(Figures::rate(rates[TIMES / 2], "keys/s").also("first scan keys/s", first)))
}
