//! The shell around the core: the system's clock, the system's entropy, the background thread.
//!
//! The only file of the engine that starts a thread (by `sync`), reads the system's clock, or
//! draws a random number. Everything that the thread does is a step of the core (`tick`,
//! `maintain`), which a simulator calls itself.
#![allow(clippy::disallowed_methods)] // this is the substitute that clippy.toml points to

use std::io;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::clock::{Clock, Entropy};
use crate::commit::pipeline::Pipeline;
use crate::sync::{Arc, AtomicU64, JoinHandle, Ordering, spawn};
use crate::types::RunId;

impl RunId {
    /// A new id; ids of one machine order by the time at which they were made.
    #[must_use]
    #[allow(clippy::new_without_default)] // a default that differs each time would surprise
    pub fn new() -> Self {
        RunId::from_uuid(uuid::Uuid::now_v7())
    }
}

/// The system's clock.
///
/// For both times at once it asks for the wall clock's only once in each millisecond of the
/// monotonic clock: a reading costs as much as all that a commit does with it. For the rest of that
/// millisecond it adds what the monotonic clock, which was read first, has gone on by: so it is
/// never behind a wall clock that goes on as time does. One that jumps it follows a millisecond
/// later at most.
#[derive(Debug)]
pub(crate) struct SystemClock {
    start: Instant,
    /// The millisecond of the last reading, counted from 1, and how far the wall clock was
    /// ahead then, in nanoseconds. The latter is stored first.
    read_in: AtomicU64,
    ahead_ns: AtomicU64,
}

const NS_PER_MS: u64 = 1_000_000;

impl SystemClock {
    pub(crate) fn new() -> Self {
        let (read_in, ahead_ns) = (AtomicU64::new(0), AtomicU64::new(0));
        SystemClock { start: Instant::now(), read_in, ahead_ns }
    }

    fn since_epoch() -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }
}

impl Clock for SystemClock {
    fn wall_ms(&self) -> u64 {
        u64::try_from(Self::since_epoch().as_millis()).unwrap_or(u64::MAX)
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    fn wall_ms_and_monotonic(&self) -> (u64, Duration) {
        let monotonic = self.start.elapsed();
        let ns = nanos(monotonic);
        let this_ms = ns / NS_PER_MS + 1;
        if self.read_in.load(Ordering::Acquire) == this_ms {
            let wall_ns = self.ahead_ns.load(Ordering::Relaxed).wrapping_add(ns);
            return (wall_ns / NS_PER_MS, monotonic);
        }
        let wall_ns = nanos(Self::since_epoch());
        self.ahead_ns.store(wall_ns.wrapping_sub(ns), Ordering::Relaxed);
        self.read_in.store(this_ms, Ordering::Release);
        (wall_ns / NS_PER_MS, monotonic)
    }
}

/// Some five hundred years of them fit.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The system's entropy.
#[derive(Debug)]
pub(crate) struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn bytes16(&self) -> io::Result<[u8; 16]> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        Ok(bytes)
    }
}

/// The background thread of a database; dropping it stops the thread and waits for it.
#[derive(Debug)]
pub(crate) struct Shell {
    pipeline: Arc<Pipeline>,
    thread: Option<JoinHandle<()>>,
}

impl Shell {
    /// Starts the thread.
    ///
    /// Error: the operating system's.
    pub(crate) fn start(pipeline: Arc<Pipeline>) -> io::Result<Self> {
        pipeline.bell.attend();
        let inner = Arc::clone(&pipeline);
        let thread = spawn("runstone", move || attend(&inner))?;
        Ok(Shell { pipeline, thread: Some(thread) })
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // A forked child has no such thread, and any lock may be held for ever.
        if self.pipeline.place.check_process().is_err() {
            std::mem::forget(self.thread.take());
            return;
        }
        self.pipeline.bell.stop();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has poisoned the database; there is no more to say.
            let _joined = thread.join();
        }
    }
}

/// Calls the steps when they are due.
fn attend(pipeline: &Pipeline) {
    let period = Duration::from_millis(pipeline.options.maintenance_interval_ms);
    let clock = pipeline.store.clock();
    let mut maintain_at = clock.monotonic().saturating_add(period);
    loop {
        // A full disk is tried again after the period; a poisoned database needs no upkeep.
        let due = pipeline.tick().unwrap_or(None);
        if pipeline.health.is_poisoned() {
            return;
        }
        if clock.monotonic() >= maintain_at || pipeline.take_flush_asked() {
            let report = pipeline.maintain().unwrap_or_default();
            let more = report.more || report.freed > 0 && report.left > 0;
            let rest = if more { Duration::ZERO } else { period };
            maintain_at = clock.monotonic().saturating_add(rest);
        }
        let to_tick = due.map(|due| due.saturating_sub(clock.monotonic()));
        let to_maintain =
            pipeline.wants_maintenance().then(|| maintain_at.saturating_sub(clock.monotonic()));
        if !pipeline.bell.wait([to_tick, to_maintain].into_iter().flatten().min()) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Within one millisecond of the monotonic clock the wall clock gets to its next one.
    #[test]
    fn both_times_at_once_are_not_behind_a_wall_clock_that_was_read_before() {
        let clock = SystemClock::new();
        let start = clock.monotonic();
        let mut turns = 0;
        let mut last = 0;
        while clock.monotonic() - start < Duration::from_millis(50) {
            let wall_ms = clock.wall_ms();
            let (both_ms, _) = clock.wall_ms_and_monotonic();
            assert!(both_ms >= wall_ms, "{both_ms} after {wall_ms}");
            turns += u64::from(wall_ms > last);
            last = wall_ms;
        }
        assert!(turns > 10, "the wall clock goes on: {turns}");
    }
}
