//! The explorer: one seed is one schedule, with everything that is drawn on the way.
//!
//! Invariants: what a seed does depends on the seed, the scenario and the code only, not on the
//! seeds before it, so a failure is replayed by its seed; every choice goes into the digest.
//! Even seeds walk at random, odd ones follow PCT (Burckhardt et al., 2010: random priorities,
//! lowered at few random moments), with the parameters of each drawn from the seed.

#[cfg(feature = "planted")]
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
#[cfg(feature = "planted")]
use std::sync::Once;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use runstone_sim::digest::Digest;
use runstone_sim::rng::{Rng, Streams};
use shuttle::scheduler::{Schedule, Scheduler, Task, TaskId};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};

/// More steps than any schedule takes that ends: beyond them it is a livelock.
const STEPS_MAX: usize = 60_000;

/// What the executions of an exploration leave behind.
#[derive(Debug, Default)]
struct Sheet {
    seed: u64,
    schedules: u64,
    steps: u64,
    digest: Digest,
    failure: Option<String>,
}

/// How an exploration ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Explored {
    /// How many schedules were run, the failing one included.
    pub(crate) schedules: u64,
    /// How many times a thread was chosen.
    pub(crate) steps: u64,
    /// Of all choices and draws.
    pub(crate) digest: u64,
    /// The seed of the schedule that failed, and how.
    pub(crate) failure: Option<(u64, String)>,
}

/// A shared sheet; its lock is never held over a step.
#[derive(Clone, Debug, Default)]
struct Shared(Arc<Mutex<Sheet>>);

impl Shared {
    fn sheet(&self) -> MutexGuard<'_, Sheet> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who runs next.
#[derive(Debug)]
enum Strategy {
    /// The current thread goes on, but in one of so many steps somebody is drawn.
    Walk { one_in: u64 },
    /// The thread with the greatest priority runs; at the moments, the current one becomes
    /// the least of all.
    Priorities { of: Vec<u64>, moments: Vec<u64>, least: u64 },
}

impl Strategy {
    fn draw(rng: &mut Rng, seed: u64) -> Strategy {
        if seed.is_multiple_of(2) {
            return Strategy::Walk { one_in: *rng.pick(&[1, 2, 4, 16]).unwrap_or(&1) };
        }
        // How many choices a schedule has is not known before: each magnitude is as likely.
        let horizon = 1 << rng.range(4..=10);
        let depth = rng.range(1..=5);
        let moments = (1..depth).map(|_| rng.range(1..=horizon)).collect();
        Strategy::Priorities { of: Vec::new(), moments, least: u64::MAX / 2 }
    }
}

/// Draws schedules from seeds, one after the other.
#[derive(Debug)]
struct Seeded {
    seeds: std::ops::Range<u64>,
    shared: Shared,
    strategy: Strategy,
    choices: u64,
    choose: Rng,
    data: Rng,
}

impl Scheduler for Seeded {
    fn new_execution(&mut self) -> Option<Schedule> {
        let mut sheet = self.shared.sheet();
        if sheet.failure.is_some() {
            return None;
        }
        let seed = self.seeds.next()?;
        let streams = Streams::new(seed);
        self.choose = streams.named("schedule");
        self.data = streams.named("schedule data");
        self.strategy = Strategy::draw(&mut self.choose, seed);
        self.choices = 0;
        sheet.seed = seed;
        sheet.schedules += 1;
        Some(Schedule::new(seed))
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        is_yielding: bool,
    ) -> Option<TaskId> {
        let id = |task: &&Task| usize::from(task.id());
        let current = current.map(usize::from);
        let chosen = if let [only] = runnable {
            id(only)
        } else {
            self.choices += 1;
            let rng = &mut self.choose;
            match &mut self.strategy {
                Strategy::Walk { one_in } => {
                    let stays = !is_yielding && rng.below(*one_in) != 0;
                    let current = current.filter(|current| {
                        stays && runnable.iter().any(|task| id(task) == *current)
                    });
                    current.or_else(|| rng.pick(runnable).map(id))?
                }
                Strategy::Priorities { of, moments, least } => {
                    let last = runnable.iter().map(id).max()?;
                    while of.len() <= last {
                        of.push(u64::MAX / 2 + rng.below(u64::MAX / 2));
                    }
                    if (is_yielding || moments.contains(&self.choices))
                        && let Some(priority) = current.and_then(|current| of.get_mut(current))
                    {
                        *least -= 1;
                        *priority = *least;
                    }
                    runnable.iter().map(id).max_by_key(|id| of.get(*id).copied())?
                }
            }
        };
        let mut sheet = self.shared.sheet();
        sheet.steps += 1;
        sheet.digest.u64((runnable.len() as u64) << 32 | chosen as u64);
        Some(TaskId::from(chosen))
    }

    fn next_u64(&mut self) -> u64 {
        let drawn = self.data.next_u64();
        self.shared.sheet().digest.u64(drawn);
        drawn
    }
}

#[cfg(feature = "planted")]
thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// For searches that are meant to fail: this thread's panics print nothing meanwhile.
#[cfg(feature = "planted")]
pub(crate) fn quietly<T>(search: impl FnOnce() -> T) -> T {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        // The explorer puts in its own hook when it first runs; this one comes before it.
        explore(0..1, |_| Ok(()));
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                hook(info);
            }
        }));
    });
    QUIET.set(true);
    let found = search();
    QUIET.set(false);
    found
}

/// Runs one schedule for each seed, until one fails: by an error of `scenario`, a deadlock, a
/// livelock, or a panic.
pub(crate) fn explore(
    seeds: std::ops::Range<u64>,
    scenario: impl Fn(&mut Rng) -> Result<(), String> + Send + Sync + 'static,
) -> Explored {
    let shared = Shared::default();
    let nothing = Rng::from_seed(0);
    let scheduler = Seeded {
        seeds,
        shared: shared.clone(),
        strategy: Strategy::Walk { one_in: 1 },
        choices: 0,
        choose: nothing.clone(),
        data: nothing,
    };
    let mut config = Config::new();
    config.stack_size = 0x4_0000;
    config.failure_persistence = FailurePersistence::None;
    config.max_steps = MaxSteps::FailAfter(STEPS_MAX);
    config.silence_warnings = true;
    let sheet = shared.clone();
    let run = move || {
        use shuttle::rand::RngCore;
        let mut tape = Rng::from_seed(shuttle::rand::thread_rng().next_u64());
        if let Err(what) = scenario(&mut tape) {
            sheet.sheet().failure.get_or_insert(what);
        }
    };
    let ended = catch_unwind(AssertUnwindSafe(|| Runner::new(scheduler, config).run(run)));
    let mut sheet = shared.sheet();
    if let Err(panic) = ended {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
        sheet.failure.get_or_insert(text.to_owned());
    }
    Explored {
        schedules: sheet.schedules,
        steps: sheet.steps,
        digest: sheet.digest.value(),
        failure: sheet.failure.take().map(|what| (sheet.seed, what)),
    }
}
