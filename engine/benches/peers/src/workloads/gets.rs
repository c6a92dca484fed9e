//! Random gets from a store that fits into memory.

use std::hint::black_box;

use anyhow::{Result, ensure};

use super::{Context, rate, touch};
use crate::data::{Key, Keys, Order, mix};
use crate::engine::Engine;
use crate::machine;
use crate::measure::{Timer, share, workers};
use crate::outcome::Figures;

/// Gets of keys that are there, or of keys that are not; each sees the latest state.
pub fn gets(context: &Context, hit: bool, threads: usize, order: Order) -> Result<Option<Figures>> {
    let keys = Keys::new(context.sizes.keys, context.sizes.per_run, order);
    let engine = context.loaded(&keys, threads)?;
    machine::come_to_rest()?;
    warm(&*engine, &keys)?;
    let timing = workers(
        threads,
        |index| {
            let gets = share(context.sizes.gets, threads, index).map(|turn| {
                let turn = mix(turn) % keys.count();
                if hit { keys.at(turn) } else { keys.missing(turn) }
            });
            Ok(gets.collect::<Vec<Key>>())
        },
        |gets| {
            let mut session = engine.session()?;
            let mut timer = Timer::new(16)?;
            timer.chunk(&gets, |key| {
                let found = session.get(key, &mut |value| {
                    black_box(touch(value));
                })?;
                ensure!(found == hit, "wrong data: found is {found}, not {hit}");
                Ok(())
            })?;
            Ok(timer)
        },
    )?;
    engine.close()?;
    Ok(Some(rate(timing, "gets/s")))
}

/// Gets every key once, so that what an engine keeps in memory is there.
fn warm(engine: &dyn Engine, keys: &Keys) -> Result<()> {
    let mut session = engine.session()?;
    for turn in 0..keys.count() {
        let found = session.get(&keys.at(turn), &mut |value| {
            black_box(touch(value));
        })?;
        ensure!(found, "wrong data: a key that was put is not there");
    }
    Ok(())
}
