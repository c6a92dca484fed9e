//! `Batched` and `Async`: puts that are acknowledged before they are synced.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use runstone::{Database, DurabilityMode};

use super::committer::RawLog;
use super::harness::{
    Data, PlainMap, RECORD_BYTES, Report, Series, Settings, Target, Tried, open, timed,
};

const INTERVAL_MS: u64 = 100;
const BATCH: u64 = 1000;

/// One thread, against bare writes of a record's bytes, with a data sync on another thread at
/// the same points: after every batch, or at the latest after the interval; and, as the engine,
/// never more than two batches unsynced.
pub(crate) fn batched(settings: &Settings) -> Tried<Report> {
    let data = Data::new(settings.count(200_000));
    let mode = DurabilityMode::Batched { interval_ms: INTERVAL_MS, batch_size: BATCH };
    let mut ratio = Series::new(
        "rate / rate of writes with syncs at the same points",
        Some(Target::AtLeast(0.6)),
    );
    let mut unbounded = Series::new("the same, the baseline without a bound", None);
    let mut rate = Series::new("puts per second", None);
    let mut bare = Series::new("writes per second", None);
    for _ in 0..settings.pairs(11) {
        let (mut engine, mut bounded, mut free) = (f64::NAN, f64::NAN, f64::NAN);
        if settings.runs_engine() {
            let dir = settings.fresh_dir()?;
            let db = open(Database::builder(), &dir, mode)?;
            engine = timed(|| put_all(&db, &data))?.0.as_secs_f64();
        }
        if settings.runs_baseline() {
            bounded = write_all(settings, data.keys.len(), true)?.as_secs_f64();
            free = write_all(settings, data.keys.len(), false)?.as_secs_f64();
        }
        ratio.push(bounded / engine);
        unbounded.push(free / engine);
        rate.push(data.keys.len() as f64 / engine);
        bare.push(data.keys.len() as f64 / bounded);
    }
    Ok(Report::new([ratio, unbounded, rate, bare]))
}

fn put_all(db: &Database, data: &Data) -> Tried<()> {
    for (key, value) in data.iter() {
        db.put(data.run, key, value)?;
    }
    Ok(())
}

/// Writes records; another thread syncs.
fn write_all(settings: &Settings, count: usize, bounded: bool) -> Tried<Duration> {
    let dir = settings.fresh_dir()?;
    let mut log = RawLog::create(&dir.path().join("raw"))?;
    let record = [0xa5; RECORD_BYTES];
    let synced = AtomicU64::new(0);
    let file = log.file();
    let (asked, asks) = mpsc::channel::<u64>();
    let (done, dones) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let synced = &synced;
        let syncer = scope.spawn(move || -> Tried<()> {
            while let Ok(mut upto) = asks.recv() {
                // What was asked for meanwhile is covered by the same sync.
                while let Ok(later) = asks.try_recv() {
                    upto = later;
                }
                file.sync()?;
                synced.store(upto, Ordering::Release);
                if done.send(()).is_err() {
                    break;
                }
            }
            Ok(())
        });
        let begin = Instant::now();
        let mut asked_at = (0, begin);
        for written in 1..=count as u64 {
            while bounded && written - synced.load(Ordering::Acquire) > 2 * BATCH {
                dones.recv()?;
            }
            log.append(&record)?;
            let interval = Duration::from_millis(INTERVAL_MS);
            let is_due = written - asked_at.0 >= BATCH
                || (written.is_multiple_of(64) && asked_at.1.elapsed() >= interval);
            if is_due {
                asked.send(written)?;
                asked_at = (written, Instant::now());
            }
        }
        let took = begin.elapsed();
        drop(asked);
        syncer.join().map_err(|_panic| "the syncing thread panicked")??;
        Ok(took)
    })
}

/// One thread, against inserting the same random keys and values, copied, into a map.
pub(crate) fn asynchronous(settings: &Settings) -> Tried<Report> {
    let data = Data::new(settings.count(1_000_000));
    let mode = DurabilityMode::Async { interval_ms: INTERVAL_MS };
    let mut ratio =
        Series::new("rate / rate of inserting into a BTreeMap", Some(Target::AtLeast(0.5)));
    let mut rate = Series::new("puts per second", None);
    for _ in 0..settings.pairs(7) {
        let (mut engine, mut baseline) = (f64::NAN, f64::NAN);
        if settings.runs_engine() {
            let dir = settings.fresh_dir()?;
            let db = open(Database::builder(), &dir, mode)?;
            engine = timed(|| put_all(&db, &data))?.0.as_secs_f64();
        }
        if settings.runs_baseline() {
            let (took, map) = timed(|| Ok(plain_map(&data)))?;
            baseline = took.as_secs_f64();
            drop(map);
        }
        ratio.push(baseline / engine);
        rate.push(data.keys.len() as f64 / engine);
    }
    Ok(Report::new([ratio, rate]))
}

/// The same keys and values in a plain map.
pub(crate) fn plain_map(data: &Data) -> PlainMap {
    let mut map = PlainMap::new();
    for (key, value) in data.iter() {
        map.insert(data.flat_key(key).to_vec(), value.to_vec());
    }
    map
}
