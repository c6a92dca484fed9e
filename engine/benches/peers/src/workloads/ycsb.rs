//! YCSB's workloads A and B: gets and updates of a whole record, whose popularity is Zipf's.

use std::hint::black_box;

use anyhow::{Result, ensure};

use super::{Context, rate, touch};
use crate::data::{Key, Keys, Order, Value, next, value};
use crate::measure::{Timer, share, workers};
use crate::outcome::Figures;
use crate::zipf::{THETA, Zipf, unit};

/// As many as the smallest machine has cores.
const THREADS: usize = 2;

/// Gets for a part of the operations, updates for the others, at the weakest level.
pub fn ycsb(context: &Context, gets: f64) -> Result<Option<Figures>> {
    let keys = Keys::new(context.sizes.keys, context.sizes.per_run, Order::Random);
    let engine = context.loaded(&keys, THREADS)?;
    let timing = workers(
        THREADS,
        |index| {
            let mut zipf = Zipf::new(keys.count(), THETA, index as u64);
            let mut state = 0x7963_7362 ^ index as u64;
            let operations = share(context.sizes.ycsb, THREADS, index).map(|_turn| {
                let key = keys.at(zipf.draw());
                let is_get = unit(&mut state) < gets;
                (key, (!is_get).then(|| value(&key, next(&mut state))))
            });
            Ok(operations.collect::<Vec<(Key, Option<Value>)>>())
        },
        |operations| {
            let mut session = engine.session()?;
            let mut timer = Timer::new(16)?;
            timer.chunk(&operations, |(key, update)| match update {
                Some(value) => session.put(key, value),
                None => {
                    let found = session.get(key, &mut |value| {
                        black_box(touch(value));
                    })?;
                    ensure!(found, "wrong data: a key is not there");
                    Ok(())
                }
            })?;
            Ok(timer)
        },
    )?;
    engine.close()?;
    Ok(Some(rate(timing, "operations/s")))
}
