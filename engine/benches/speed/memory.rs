//! Reading.

use std::hint::black_box;
use std::sync::RwLock;

use runstone::{Database, DurabilityMode};

use super::harness::{Data, Report, Series, Settings, Target, Tried, open, split_mix, timed};
use super::unsynced::plain_map;

/// Lookups of existing keys in random order, one thread, against a map behind a read lock, the
/// value copied.
pub(crate) fn get(settings: &Settings) -> Tried<Report> {
    let data = Data::new(settings.count(1_000_000));
    let lookups = settings.count(1_000_000).min(200_000);
    let dir = settings.fresh_dir()?;
    let db = open(Database::builder(), &dir, DurabilityMode::Async { interval_ms: 100 })?;
    for (key, value) in data.iter() {
        db.put(data.run, key, value)?;
    }
    db.flush()?;
    let map = RwLock::new(if settings.runs_baseline() { plain_map(&data) } else { [].into() });

    let mut ratio = Series::new("time / time of a lookup in a BTreeMap", Some(Target::AtMost(1.3)));
    let mut rate = Series::new("gets per second", None);
    let mut state = 1;
    for _ in 0..settings.pairs(21) {
        let keys: Vec<_> = (0..lookups)
            .filter_map(|_| {
                let at = split_mix(&mut state) % data.keys.len() as u64;
                data.keys.get(usize::try_from(at).ok()?).copied()
            })
            .collect();
        let (mut engine, mut baseline) = (f64::NAN, f64::NAN);
        if settings.runs_engine() {
            engine = timed(|| {
                for key in &keys {
                    black_box(db.get(data.run, key)?.ok_or("a key is missing")?);
                }
                Ok(())
            })?
            .0
            .as_secs_f64();
        }
        if settings.runs_baseline() {
            baseline = timed(|| {
                for key in &keys {
                    let map = map.read().map_err(|_poisoned| "poisoned")?;
                    let found = map.get(data.flat_key(key).as_slice());
                    black_box(found.ok_or("a key is missing")?.clone());
                }
                Ok(())
            })?
            .0
            .as_secs_f64();
        }
        ratio.push(engine / baseline);
        rate.push(lookups as f64 / engine);
    }
    Ok(Report::new([ratio, rate]))
}
