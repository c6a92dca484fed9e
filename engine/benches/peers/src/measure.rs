//! Time taken by operations: threads, chunks, histograms.
//!
//! Operations are prepared before the clock runs: what making keys and values costs is in no
//! figure. The rate of one worker is its operations over the sum of its timed chunks. That of
//! several, which prepare everything before they begin, is the operations of all over the time
//! from the first beginning to the last end.

use std::sync::{Barrier, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// How many operations are prepared at once, where it would take too much memory to prepare all.
pub const CHUNK: u64 = 256;

/// Percentiles of the time of one operation, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// The median.
    pub p50: f64,
    /// One in a hundred takes longer.
    pub p99: f64,
    /// One in a thousand takes longer.
    pub p999: f64,
    /// The longest.
    pub max: f64,
    /// How many operations were timed one by one.
    pub samples: u64,
}

/// How one worker's time went.
#[derive(Debug)]
pub struct Timer {
    histogram: Histogram<u64>,
    busy: Duration,
    /// The first beginning and the last end.
    span: Option<(Instant, Instant)>,
    operations: u64,
    /// Every so many operations one is timed by itself.
    every: u64,
}

impl Timer {
    /// A timer that times one operation of `every` by itself: two readings of the clock are more
    /// than a tenth of an operation that only touches memory.
    pub fn new(every: u64) -> Result<Self> {
        Ok(Timer {
            histogram: histogram()?,
            busy: Duration::ZERO,
            span: None,
            operations: 0,
            every: every.max(1),
        })
    }

    /// Runs the operations of a chunk under the clock.
    pub fn chunk<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        mut operation: impl FnMut(T) -> Result<()>,
    ) -> Result<()> {
        let start = Instant::now();
        for item in items {
            if self.operations.is_multiple_of(self.every) {
                let one = Instant::now();
                operation(item)?;
                self.histogram.saturating_record(nanos(one.elapsed()));
            } else {
                operation(item)?;
            }
            self.operations += 1;
        }
        let end = Instant::now();
        self.busy += end - start;
        self.span = Some((self.span.map_or(start, |(first, _)| first), end));
        Ok(())
    }

    /// Operations per second of this worker.
    pub fn rate(&self) -> f64 {
        self.operations as f64 / self.busy.as_secs_f64().max(1e-9)
    }

    /// The percentiles, if anything was timed.
    pub fn latency(&self) -> Option<Latency> {
        latency(&self.histogram)
    }
}

/// Up to ten minutes, to three digits; what takes longer counts as that.
fn histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 600_000_000_000, 3)?)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn latency(histogram: &Histogram<u64>) -> Option<Latency> {
    (!histogram.is_empty()).then(|| Latency {
        p50: histogram.value_at_quantile(0.5) as f64,
        p99: histogram.value_at_quantile(0.99) as f64,
        p999: histogram.value_at_quantile(0.999) as f64,
        max: histogram.max() as f64,
        samples: histogram.len(),
    })
}

/// What all workers together did.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Operations per second.
    pub rate: f64,
    /// The percentiles over all workers.
    pub latency: Option<Latency>,
}

impl Timing {
    /// Puts the workers together.
    pub fn merge(timers: &[Timer]) -> Result<Self> {
        let mut histogram = histogram()?;
        for timer in timers {
            histogram.add(&timer.histogram)?;
        }
        let rate = match timers {
            [one] => one.rate(),
            _ => {
                let spans = || timers.iter().filter_map(|timer| timer.span);
                let first = spans().map(|(start, _)| start).min();
                let last = spans().map(|(_, end)| end).max();
                let time = first.zip(last).map_or(Duration::ZERO, |(first, last)| last - first);
                let operations: u64 = timers.iter().map(|timer| timer.operations).sum();
                operations as f64 / time.as_secs_f64().max(1e-9)
            }
        };
        Ok(Timing { rate, latency: latency(&histogram) })
    }
}

/// The part of `count` operations that is worker `index`'s, of `workers`.
pub fn share(count: u64, workers: usize, index: usize) -> std::ops::Range<u64> {
    let (workers, index) = (workers as u64, index as u64);
    count * index / workers..count * (index + 1) / workers
}

/// Runs workers, which all begin at the same moment. `prepare` makes what a worker needs, before
/// that moment; `work` is the rest.
pub fn workers<S>(
    count: usize,
    prepare: impl Fn(usize) -> Result<S> + Sync,
    work: impl Fn(S) -> Result<Timer> + Sync,
) -> Result<Timing> {
    let barrier = Barrier::new(count);
    let one = |index| {
        let prepared = prepare(index);
        // Whoever failed waits too, or the others would wait for ever.
        barrier.wait();
        work(prepared?)
    };
    let timers = std::thread::scope(|scope| {
        let one = &one;
        let threads: Vec<_> = (0..count).map(|index| scope.spawn(move || one(index))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().map_err(|panic| anyhow!("a worker {}", told(&*panic)))?)
            .collect::<Result<Vec<Timer>>>()
    })?;
    Timing::merge(&timers)
}

/// What a panic said.
fn told(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("panicked: {}", text.unwrap_or_default())
}

/// The guard of a lock, whether or not a thread panicked that held it.
pub fn unpoisoned<T>(locked: std::result::Result<T, PoisonError<T>>) -> T {
    locked.unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_recorded_times() {
        let mut timer = Timer::new(1).unwrap();
        for time in 1..=1000 {
            timer.histogram.saturating_record(time * 1000);
        }
        let latency = timer.latency().unwrap();
        let near = |value: f64, expected: f64| (value / expected - 1.0).abs() < 0.002;
        assert!(near(latency.p50, 500e3), "{latency:?}");
        assert!(near(latency.p99, 990e3), "{latency:?}");
        assert!(near(latency.p999, 999e3), "{latency:?}");
        assert!(near(latency.max, 1000e3), "{latency:?}");
        assert_eq!(latency.samples, 1000);
    }

    #[test]
    fn one_of_every_so_many_operations_is_timed_and_all_are_counted() {
        let mut timer = Timer::new(16).unwrap();
        let mut ran = 0;
        for _ in 0..2 {
            let mut count = |_| {
                ran += 1;
                Ok(())
            };
            timer.chunk(0..100, &mut count).unwrap();
        }
        assert_eq!((ran, timer.operations), (200, 200));
        assert_eq!(timer.latency().unwrap().samples, 13);
    }

    #[test]
    fn several_workers_are_timed_from_the_first_beginning_to_the_last_end() {
        let zero = Instant::now();
        let at = |seconds| zero + Duration::from_secs(seconds);
        let timer = |operations, start, end| {
            let mut timer = Timer::new(1).unwrap();
            timer.histogram.saturating_record(1000);
            let (busy, span) = (at(end) - at(start), Some((at(start), at(end))));
            Timer { operations, busy, span, ..timer }
        };
        // One after the other, as on a machine with one core: no faster than one alone.
        let timing = Timing::merge(&[timer(100, 0, 1), timer(100, 1, 2)]).unwrap();
        assert!((timing.rate - 100.0).abs() < 1e-9);
        assert_eq!(timing.latency.unwrap().samples, 2);
        let alone = Timing::merge(&[timer(100, 1, 2)]).unwrap();
        assert!((alone.rate - 100.0).abs() < 1e-9);
    }

    #[test]
    fn shares_cover_everything_once() {
        let shares: Vec<_> = (0..7).map(|index| share(100, 7, index)).collect();
        assert_eq!(shares[0].start, 0);
        assert_eq!(shares[6].end, 100);
        assert!(shares.windows(2).all(|pair| pair[0].end == pair[1].start));
    }

    #[test]
    fn an_error_or_a_panic_of_one_worker_is_the_error_of_all() {
        let prepare = |index| if index == 1 { Err(anyhow!("no room")) } else { Ok(index) };
        let error = workers(3, prepare, |_| Timer::new(1)).unwrap_err();
        assert_eq!(error.to_string(), "no room");
        let work = |index| if index == 2 { panic!("bad page") } else { Timer::new(1) };
        let error = workers(3, Ok, work).unwrap_err();
        assert_eq!(error.to_string(), "a worker panicked: bad page");
    }
}
