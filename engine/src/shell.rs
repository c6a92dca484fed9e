//! The shell around the core: the system's clock, the system's entropy, the background threads.
//!
//! The only file of the engine that starts threads (by `sync`), reads the system's clock, or
//! draws a random number. Everything that the threads do is a step of the core (`tick`,
//! `maintain`), which a simulator calls itself.
#![allow(clippy::disallowed_methods)] // this is the substitute that clippy.toml points to

use std::io;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::clock::{Clock, Entropy};
use crate::commit::bell::Bell;
use crate::commit::pipeline::Pipeline;
use crate::commit::troubles::Part;
use crate::commit::upkeep::MaintainReport;
use crate::error::Result;
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

/// The background threads of a database; dropping it stops the threads and waits for them.
#[derive(Debug)]
pub(crate) struct Shell {
    pipeline: Arc<Pipeline>,
    threads: Vec<JoinHandle<()>>,
}

/// What a thread does.
type Duty = fn(&Pipeline);

/// Who does what, by how many there are: the bell of the first rings for all that has none.
const DUTIES: [&[(&str, Duty)]; 3] = [
    &[("runstone", attend)],
    &[("runstone", attend_log), ("runstone-tables", attend_tables)],
    &[
        ("runstone", attend_log),
        ("runstone-flush", attend_flushes),
        ("runstone-merge", attend_merges),
    ],
];

impl Shell {
    /// Starts so many threads, or as many as have something to do.
    ///
    /// Error: the operating system's; those that were started are stopped.
    pub(crate) fn start(pipeline: &Arc<Pipeline>, threads: usize) -> io::Result<Self> {
        let duties = DUTIES.get(threads.saturating_sub(1)).or(DUTIES.last()).copied();
        let duties = duties.unwrap_or_default();
        for bell in bells(pipeline).into_iter().take(duties.len()) {
            bell.attend();
        }
        let mut shell = Shell { pipeline: Arc::clone(pipeline), threads: Vec::new() };
        for (name, duty) in duties {
            let inner = Arc::clone(pipeline);
            shell.threads.push(spawn(name, move || duty(&inner))?);
        }
        Ok(shell)
    }
}

fn bells(pipeline: &Pipeline) -> [&Bell; 3] {
    [&pipeline.bell, &pipeline.flush_bell, &pipeline.merge_bell]
}

impl Drop for Shell {
    fn drop(&mut self) {
        // A forked child has no such thread, and any lock may be held for ever.
        if self.pipeline.place.check_process().is_err() {
            std::mem::forget(std::mem::take(&mut self.threads));
            return;
        }
        bells(&self.pipeline).into_iter().for_each(Bell::stop);
        for thread in self.threads.drain(..) {
            // A panic of the thread has poisoned the database; there is no more to say.
            let _joined = thread.join();
        }
    }
}

/// How long until a moment.
fn until(pipeline: &Pipeline, moment: Duration) -> Duration {
    moment.saturating_sub(pipeline.store.clock().monotonic())
}

/// Calls the steps when they are due.
fn attend(pipeline: &Pipeline) {
    let mut turn = Turn::new(pipeline);
    loop {
        // A full disk is tried again after the period; a poisoned database needs no upkeep.
        let ticked = pipeline.tick();
        pipeline.troubles.note(Part::Log, &ticked);
        let due = ticked.unwrap_or(None);
        if pipeline.health.is_poisoned() {
            return;
        }
        let to_tick = due.map(|due| until(pipeline, due));
        let to_maintain = turn.take(pipeline, Pipeline::maintain);
        if !pipeline.bell.wait([to_tick, to_maintain].into_iter().flatten().min()) {
            return;
        }
    }
}

/// Calls the steps of the log when they are due; who does the others is woken to look, too.
fn attend_log(pipeline: &Pipeline) {
    let period = Duration::from_millis(pipeline.options.maintenance_interval_ms);
    loop {
        let ticked = pipeline.tick();
        pipeline.troubles.note(Part::Log, &ticked);
        if pipeline.health.is_poisoned() {
            return;
        }
        // Whether there is something to maintain it does not ask: that may wait for a flush.
        pipeline.flush_bell.ring_if_idle();
        // What met a full disk is tried again after the period.
        let has_failed = ticked.is_err() || pipeline.leftovers.load(Ordering::Relaxed);
        let to_tick = ticked.ok().flatten().map(|due| until(pipeline, due));
        let to_try = has_failed.then_some(period);
        if !pipeline.bell.wait([to_tick, to_try].into_iter().flatten().min()) {
            return;
        }
    }
}

/// Calls the steps of maintenance when they are due.
fn attend_tables(pipeline: &Pipeline) {
    attend_maintenance(pipeline, Pipeline::maintain);
}

/// The same, but for merges.
fn attend_flushes(pipeline: &Pipeline) {
    attend_maintenance(pipeline, Pipeline::maintain_without_merges);
}

fn attend_maintenance(pipeline: &Pipeline, step: Step) {
    let mut turn = Turn::new(pipeline);
    while !pipeline.health.is_poisoned() {
        let wait = turn.take(pipeline, step);
        if !pipeline.flush_bell.wait(wait) {
            return;
        }
    }
}

/// Merges as long as there is something to merge, and looks again after each period.
fn attend_merges(pipeline: &Pipeline) {
    let period = Duration::from_millis(pipeline.options.maintenance_interval_ms);
    while !pipeline.health.is_poisoned() {
        let merged = pipeline.merge();
        pipeline.troubles.note(Part::Merges, &merged);
        let more = merged.unwrap_or(false);
        let wait = match more {
            true => Some(Duration::ZERO),
            false => pipeline.wants_compaction().then_some(period),
        };
        if !pipeline.merge_bell.wait(wait) {
            return;
        }
    }
}

type Step = fn(&Pipeline) -> Result<MaintainReport>;

/// When maintenance is due.
struct Turn {
    at: Duration,
    period: Duration,
}

impl Turn {
    fn new(pipeline: &Pipeline) -> Self {
        let period = Duration::from_millis(pipeline.options.maintenance_interval_ms);
        Turn { at: pipeline.store.clock().monotonic().saturating_add(period), period }
    }

    /// Makes a step if it is due or asked for. Returns how long until the next one, if one is
    /// wanted.
    fn take(&mut self, pipeline: &Pipeline, step: Step) -> Option<Duration> {
        let clock = pipeline.store.clock();
        if clock.monotonic() >= self.at || pipeline.take_flush_asked() {
            let stepped = step(pipeline);
            pipeline.troubles.note(Part::Tables, &stepped);
            let report = stepped.unwrap_or_default();
            let more = report.more || report.freed > 0 && report.left > 0;
            let rest = if more { Duration::ZERO } else { self.period };
            self.at = clock.monotonic().saturating_add(rest);
        }
        pipeline.wants_maintenance().then(|| until(pipeline, self.at))
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
