//! `Strict`: every put is synced before it is acknowledged.

use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use runstone::{Database, DurabilityMode};

use super::committer::{GroupCommitter, RawLog};
use super::counting::CountingVfs;
use super::harness::{Data, RECORD_BYTES, Report, Series, Settings, Target, Tried, open, timed};

/// How many puts a side has before it is the other's turn.
const TURN: usize = 50;

/// One thread, against a write and a data sync of a record's bytes.
pub(crate) fn one_thread(settings: &Settings) -> Tried<Report> {
    let count = settings.count(4_000);
    let data = Data::new(count);
    let record = [0xa5; RECORD_BYTES];
    let mut ratio = Series::new("rate / rate of write + data sync", Some(Target::AtLeast(0.9)));
    let mut rate = Series::new("puts per second", None);
    for _ in 0..settings.pairs(15) {
        let dir = settings.fresh_dir()?;
        let db = open(Database::builder(), &dir, DurabilityMode::Strict)?;
        let mut raw = RawLog::create(&dir.path().join("raw"))?;
        let (mut engine, mut baseline) = (Duration::ZERO, Duration::ZERO);
        let puts: Vec<_> = data.iter().collect();
        for turn in puts.chunks(TURN) {
            if settings.runs_engine() {
                engine += timed(|| {
                    for (key, value) in turn {
                        db.put(data.run, key, *value)?;
                    }
                    Ok(())
                })?
                .0;
            }
            if settings.runs_baseline() {
                baseline += timed(|| {
                    for _ in turn {
                        raw.append(&record)?;
                        raw.sync()?;
                    }
                    Ok(())
                })?
                .0;
            }
        }
        ratio.push(baseline.as_secs_f64() / engine.as_secs_f64());
        rate.push(count as f64 / engine.as_secs_f64());
    }
    Ok(Report::new([ratio, rate]))
}

/// Eight threads, against a bare group committer.
pub(crate) fn eight_threads(settings: &Settings) -> Tried<Report> {
    many_threads(settings, 8, 3.0)
}

/// Sixty-four threads, against a bare group committer.
pub(crate) fn sixty_four_threads(settings: &Settings) -> Tried<Report> {
    many_threads(settings, 64, 8.0)
}

/// What a turn of some threads came to.
#[derive(Clone, Copy, Debug)]
struct Turn {
    rate: f64,
    group: f64,
}

fn many_threads(settings: &Settings, threads: usize, gain_least: f64) -> Tried<Report> {
    let count = settings.count(8_000).next_multiple_of(threads);
    let data = Data::new(count);
    let mut ratio =
        Series::new("rate / rate of a bare group committer", Some(Target::AtLeast(0.9)));
    let mut gain = Series::new("rate / rate of one thread", None);
    let mut bare_gain = Series::new("the same of the group committer", None);
    let mut group = Series::new("puts for each sync", None);
    let mut bare_group = Series::new("the same of the group committer", None);
    for _ in 0..settings.pairs(15) {
        if !settings.runs_baseline() {
            engine_turn(settings, &data, threads, count)?;
            continue;
        }
        if !settings.runs_engine() {
            bare_turn(settings, threads, count)?;
            continue;
        }
        let engine = engine_turn(settings, &data, threads, count)?;
        let bare = bare_turn(settings, threads, count)?;
        let alone = engine_turn(settings, &data, 1, count / 8)?;
        let bare_alone = bare_turn(settings, 1, count / 8)?;
        ratio.push(engine.rate / bare.rate);
        gain.push(engine.rate / alone.rate);
        bare_gain.push(bare.rate / bare_alone.rate);
        group.push(engine.group);
        bare_group.push(bare.group);
    }
    // The gain is also good if it is what the committer reaches, as near as the ratio must be.
    gain.set_target(Target::AtLeast(gain_least.min(0.9 * bare_gain.median())));
    Ok(Report::new([ratio, gain, bare_gain, group, bare_group]))
}

fn engine_turn(settings: &Settings, data: &Data, threads: usize, count: usize) -> Tried<Turn> {
    let dir = settings.fresh_dir()?;
    let vfs = CountingVfs::default();
    let builder = Database::builder().vfs(Arc::new(vfs.clone()));
    let db = open(builder, &dir, DurabilityMode::Strict)?;
    let puts: Vec<_> = data.iter().take(count).collect();
    let syncs = vfs.syncs();
    let took = in_threads(&puts, threads, |(key, value)| {
        db.put(data.run, key, *value)?;
        Ok(())
    })?;
    let group = count as f64 / (vfs.syncs() - syncs) as f64;
    Ok(Turn { rate: count as f64 / took.as_secs_f64(), group })
}

fn bare_turn(settings: &Settings, threads: usize, count: usize) -> Tried<Turn> {
    let dir = settings.fresh_dir()?;
    let committer = GroupCommitter::new(RawLog::create(&dir.path().join("raw"))?);
    let records = vec![[0xa5; RECORD_BYTES]; count];
    let took = in_threads(&records, threads, |record| committer.commit(record))?;
    let group = count as f64 / committer.groups() as f64;
    Ok(Turn { rate: count as f64 / took.as_secs_f64(), group })
}

/// Shares the items among threads that begin at once; how long until the last is done.
fn in_threads<T: Sync>(
    items: &[T],
    threads: usize,
    work: impl Fn(&T) -> Tried<()> + Sync,
) -> Tried<Duration> {
    let start = Barrier::new(threads + 1);
    std::thread::scope(|scope| {
        let workers: Vec<_> = items
            .chunks(items.len().div_ceil(threads).max(1))
            .map(|share| {
                scope.spawn(|| {
                    start.wait();
                    share.iter().try_for_each(&work)
                })
            })
            .collect();
        start.wait();
        let begin = Instant::now();
        for worker in workers {
            worker.join().map_err(|_panic| "a thread panicked")??;
        }
        Ok(begin.elapsed())
    })
}
