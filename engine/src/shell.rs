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
/// monotonic clock: a reading costs as much as all that a commit does with it.
#[derive(Debug)]
pub(crate) struct SystemClock {
    start: Instant,
    /// The millisecond of the last reading, counted from 1, and how far the wall clock was
    /// ahead then. The latter is stored first.
    read_in: AtomicU64,
    ahead_ms: AtomicU64,
}

impl SystemClock {
    pub(crate) fn new() -> Self {
        let (read_in, ahead_ms) = (AtomicU64::new(0), AtomicU64::new(0));
        SystemClock { start: Instant::now(), read_in, ahead_ms }
    }
}

impl Clock for SystemClock {
    fn wall_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    fn wall_ms_and_monotonic(&self) -> (u64, Duration) {
        let monotonic = self.start.elapsed();
        let ms = monotonic.as_secs() * 1000 + u64::from(monotonic.subsec_millis());
        if self.read_in.load(Ordering::Acquire) == ms + 1 {
            return (self.ahead_ms.load(Ordering::Relaxed).wrapping_add(ms), monotonic);
        }
        let wall_ms = self.wall_ms();
        self.ahead_ms.store(wall_ms.wrapping_sub(ms), Ordering::Relaxed);
        self.read_in.store(ms + 1, Ordering::Release);
        (wall_ms, monotonic)
    }
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
        if clock.monotonic() >= maintain_at {
            let report = pipeline.maintain().unwrap_or_default();
            let more = report.freed > 0 && report.left > 0;
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
