//! More data than memory, or than what the caller's cgroup leaves of it.

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Result, ensure};

use super::{Context, load, rate, touch};
use crate::data::{Key, Keys, Order, mix};
use crate::engine::Level;
use crate::machine::{Io, drop_cached, room, status_bytes};
use crate::measure::{CHUNK, Timer, Timing};
use crate::outcome::Figures;

/// The rows.
pub const ROWS: &[&str] = &["large-load", "large-get"];

/// Loads; then forgets what the kernel caches of the files, opens again, and gets.
pub fn large(context: &Context) -> Result<()> {
    let keys = Keys::new(context.sizes.large_keys, context.sizes.per_run, Order::Random);
    let engine = context.open_at(&context.store(), Level::Memory, 1, true)?;
    let before = Io::now()?;
    let start = Instant::now();
    load(&*engine, &keys)?;
    engine.sync()?;
    let per_second = keys.count() as f64 / start.elapsed().as_secs_f64();
    engine.close()?;
    let loaded = Figures::rate(per_second, "puts/s")
        .also("device bytes", Io::now()?.since(before).written as f64)
        .also("disk bytes", room(&context.store())?.blocks as f64)
        .also("peak resident bytes", status_bytes("VmHWM:")? as f64);
    context.row(ROWS[0], Ok(loaded))?;

    drop_cached(&context.store())?;
    let before = Io::now()?;
    let engine = context.open_at(&context.store(), Level::Sync, 1, true)?;
    let opened = Io::now()?;
    let mut session = engine.session()?;
    let mut timer = Timer::new(1)?;
    let mut turns = 0..context.sizes.large_gets;
    let mut chunk: Vec<Key> = Vec::with_capacity(CHUNK as usize);
    while !turns.is_empty() {
        chunk.clear();
        let turns = turns.by_ref().take(CHUNK as usize);
        chunk.extend(turns.map(|turn| keys.at(mix(turn) % keys.count())));
        timer.chunk(&chunk, |key| {
            let found = session.get(key, &mut |value| {
                black_box(touch(value));
            })?;
            ensure!(found, "wrong data: a key is not there");
            Ok(())
        })?;
    }
    drop(session);
    let read = Io::now()?.since(opened).read as f64;
    let got = rate(Timing::merge(&[timer])?, "gets/s")
        .also("from the device for each get bytes", read / context.sizes.large_gets as f64)
        .also("from the device by the opening bytes", opened.since(before).read as f64)
        .also("peak resident bytes", status_bytes("VmHWM:")? as f64);
    engine.close()?;
    context.row(ROWS[1], Ok(got))
}
