//! `sweep`: many seeds, on all cores.
//!
//! The verdict of each seed depends on the seed alone; only which fresh seeds are taken, and
//! how far a sweep gets, depend on the clock.
#![allow(clippy::disallowed_methods)] // the shell of the simulator: threads, a clock, a bar

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Args;
use indicatif::ProgressBar;
use runstone_sim::disk::Stats;
use runstone_sim::harness::{self, Failure, World, generate};

use super::long::{Ending, bar, threads};
use super::plant::Plant;
use super::seen::{Seen, SeenArgs};
use super::watchdog::Watchdog;
use super::{CommandResult, numbers, verdict};

/// One in so many seeds is run twice, and the digests compared.
const TWICE_ONE_IN: u64 = 16;

#[derive(Debug, Args)]
pub(crate) struct SweepArgs {
    /// The seeds, as FIRST..END; fresh ones by default
    #[arg(long, value_name = "A..B", value_parser = range)]
    seeds: Option<(u64, u64)>,
    /// For how many seconds fresh seeds are taken
    #[arg(long, default_value_t = 30, conflicts_with = "seeds", value_parser = numbers::seconds())]
    seconds: u64,
    /// Only this world: strict, lying, garbage-sector, or rot
    #[arg(long, value_parser = super::world)]
    world: Option<World>,
    /// How many threads; all cores by default
    #[arg(long, value_parser = numbers::threads())]
    threads: Option<usize>,
    /// Stops after so many failing seeds
    #[arg(long, default_value_t = 5, value_parser = numbers::at_least_one())]
    failures: usize,
    /// Prints JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    seen: SeenArgs,
    #[command(flatten)]
    plant: Plant,
}

impl SweepArgs {
    /// The sweep that a report shows.
    pub(super) fn for_report(
        seeds: Option<(u64, u64)>,
        seconds: u64,
        world: Option<World>,
        plant: Plant,
    ) -> SweepArgs {
        let seen = SeenArgs::default();
        SweepArgs { seeds, seconds, world, threads: None, failures: 20, json: false, seen, plant }
    }

    /// The command that does something with a seed of this sweep.
    pub(super) fn command(&self, command: &str, seed: u64) -> String {
        self.plant.command(command, seed, self.world.map(World::name))
    }

    /// The planted bug, if any.
    pub(super) fn planted(&self) -> Option<String> {
        self.plant.name()
    }
}

pub(super) fn range(text: &str) -> Result<(u64, u64), String> {
    let (first, end) = text.split_once("..").ok_or("give FIRST..END, as in 0..10000")?;
    let number = |text: &str| {
        text.parse::<u64>().map_err(|e| format!("{text:?}: {e}; give FIRST..END, as in 0..10000"))
    };
    let (first, end) = (number(first)?, number(end)?);
    match first < end {
        true => Ok((first, end)),
        false => Err(format!("{first}..{end} has no seed; END is the first that is not run")),
    }
}

/// What all threads add to.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) seeds: u64,
    pub(super) twice: u64,
    pub(super) ops: u64,
    pub(super) openings: u64,
    pub(super) refusals: u64,
    pub(super) worlds: BTreeMap<&'static str, u64>,
    pub(super) crashes: BTreeMap<String, u64>,
    pub(super) faults: BTreeMap<String, (u64, u64)>,
    pub(super) events: BTreeMap<String, u64>,
    pub(super) seen: Seen,
    failed_syncs: BTreeMap<String, u64>,
    images: u64,
    pub(super) failures: BTreeMap<u64, Failure>,
    /// When each seed was finished, in milliseconds, and whether it failed.
    pub(super) finished_ms: Vec<(u32, bool)>,
    /// The seed that took longest, and its milliseconds.
    pub(super) slowest: (u64, u32),
    /// In the order of the seeds this would be a digest of the sweep; exclusive or needs none.
    pub(super) digest: u64,
}

impl Tally {
    fn add(&mut self, seed: u64, world: World, outcome: harness::Outcome) {
        self.seen.add(&outcome);
        self.seeds += 1;
        self.ops += outcome.ops;
        self.openings += outcome.openings;
        self.refusals += outcome.refusals;
        self.digest ^= outcome.digest.wrapping_mul(seed | 1);
        *self.worlds.entry(world.name()).or_default() += 1;
        for (name, count) in outcome.crashes {
            *self.crashes.entry(name).or_default() += count;
        }
        for (cell, count) in outcome.failed_syncs {
            *self.failed_syncs.entry(cell).or_default() += count;
        }
        self.images += outcome.images;
        let Stats { faults, events, .. } = outcome.stats;
        for (kind, reach) in faults {
            let entry = self.faults.entry(format!("{kind:?}")).or_default();
            entry.0 += reach.reached;
            entry.1 += reach.injected;
        }
        for (name, count) in events {
            *self.events.entry(name).or_default() += count;
        }
        if let Some(failure) = outcome.failure {
            self.failures.insert(seed, failure);
        }
    }
}

struct Sweep<'a> {
    args: &'a SweepArgs,
    start: Instant,
    next: AtomicU64,
    end: u64,
    deadline: Option<Instant>,
    ending: Ending,
    tally: Mutex<Tally>,
    bar: ProgressBar,
    working: AtomicUsize,
    watchdog: Watchdog,
}

/// A thread that runs seeds, until it is dropped.
struct Working<'a>(&'a AtomicUsize);

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Sweep<'_> {
    /// The next seed, if one is left; never one beyond the greatest.
    fn take_seed(&self) -> Option<u64> {
        let next = |seed: u64| (seed < self.end).then(|| seed + 1);
        self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).ok()
    }

    fn work(&self) {
        self.args.plant.plant();
        while !self.ending.is_stopped() {
            // How many seeds run, and how long: no seed sees the clock.
            if self.deadline.is_some_and(|at| Instant::now() >= at) {
                return;
            }
            let Some(seed) = self.take_seed() else { return };
            let begun = self.start.elapsed();
            let case = generate::generate_in(seed, self.args.world);
            self.watchdog.begin(seed);
            let mut outcome = harness::run(&case, false);
            let twice = seed.is_multiple_of(TWICE_ONE_IN);
            if twice && harness::run(&case, false).digest != outcome.digest {
                outcome.failure.get_or_insert(Failure {
                    clause: "determinism",
                    op: 0,
                    message: "two runs of the seed differ".to_owned(),
                });
            }
            self.watchdog.end(seed);
            let failed = outcome.failure.is_some();
            let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
            tally.twice += u64::from(twice);
            let finished = self.start.elapsed();
            let ms = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
            tally.finished_ms.push((ms(finished), failed));
            if ms(finished - begun) > tally.slowest.1 {
                tally.slowest = (seed, ms(finished - begun));
            }
            tally.add(seed, case.world, outcome);
            if failed && tally.failures.len() >= self.args.failures {
                self.ending.stop();
            }
            drop(tally);
            self.bar.inc(1);
        }
    }
}

/// What a sweep came to.
pub(super) struct Swept {
    pub(super) tally: Tally,
    pub(super) first: u64,
    pub(super) seconds: f64,
    pub(super) interrupted: bool,
}

pub(crate) fn run(args: &SweepArgs) -> CommandResult {
    let ledger = args.seen.claim()?;
    let Swept { tally, first, seconds, interrupted } = sweep(args)?;
    match args.json {
        true => print_json(args, &tally, first, seconds, interrupted),
        false => print_text(args, &tally, first, seconds, interrupted),
    }
    tally.seen.write(ledger)?;
    let missing = tally.seen.missing(&args.seen);
    for line in &missing {
        eprintln!("missing: {line}");
    }
    // What an interrupted sweep has not reached is no finding.
    let is_broken = !tally.failures.is_empty() || !missing.is_empty() && !interrupted;
    Ok(verdict(is_broken, interrupted))
}

/// Sweeps.
pub(super) fn sweep(args: &SweepArgs) -> Result<Swept, String> {
    let ending = Ending::by_ctrl_c()?;
    let start = Instant::now();
    // Which seeds are fresh; they are printed, and each repeats by its number.
    let (first, end) = args.seeds.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        (u64::try_from(now.as_millis()).unwrap_or(0) << 16, u64::MAX)
    });
    if !args.json {
        eprintln!("seeds from {first}; Ctrl-C ends the sweep with a summary");
    }
    let deadline = args.seeds.is_none().then(|| start + Duration::from_secs(args.seconds));
    let sweep = Sweep {
        args,
        start,
        next: AtomicU64::new(first),
        end,
        deadline,
        ending,
        tally: Mutex::new(Tally::default()),
        bar: match args.seeds {
            Some(_) => {
                let template = "{wide_bar} {pos}/{len} seeds, {per_sec}, {eta} left";
                bar(Some(end - first), template, args.json)
            }
            None => bar(None, "{spinner} {pos} seeds, {per_sec}, {elapsed}", args.json),
        },
        working: AtomicUsize::new(0),
        watchdog: Watchdog::default(),
    };
    let threads = threads(args.threads);
    sweep.working.store(threads, Ordering::Relaxed);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let _working = Working(&sweep.working);
                sweep.work();
            });
        }
        let done = || sweep.working.load(Ordering::Relaxed) == 0;
        sweep.watchdog.look(done, |seed| replay(args, seed));
    });
    sweep.bar.finish_and_clear();
    let seconds = start.elapsed().as_secs_f64();
    let interrupted = sweep.ending.was_asked_for();
    let tally = sweep.tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Swept { tally, first, seconds, interrupted })
}

fn print_text(args: &SweepArgs, tally: &Tally, first: u64, seconds: f64, interrupted: bool) {
    if interrupted {
        out!("interrupted; what was done so far:");
    }
    let seeds = tally.seeds;
    out!(
        "{seeds} seeds from {first} in {seconds:.1} s ({:.0} a second), {} run twice",
        rate(seeds, seconds),
        tally.twice
    );
    out!(
        "{} operations, {} openings, {} refused openings where that is right",
        tally.ops,
        tally.openings,
        tally.refusals
    );
    out!("digest {:016x}", tally.digest);
    table("worlds", &tally.worlds);
    table("crashes", &tally.crashes);
    let faults: BTreeMap<_, _> = tally
        .faults
        .iter()
        .map(|(name, (reached, injected))| (name, format!("{injected} of {reached} reached")))
        .collect();
    table("faults", &faults);
    table("what the disk did", &tally.events);
    tally.seen.print();
    table("failed syncs: whose, as what, and then", &tally.failed_syncs);
    out!("{} images of the disk checked against the statement of the legal", tally.images);
    if tally.failures.is_empty() {
        out!("no breach of the contract{}", if interrupted { " so far" } else { "" });
        return;
    }
    out!("\n{} failing seeds:", tally.failures.len());
    for (seed, failure) in &tally.failures {
        out!("  seed {seed}: BREACH of {failure}");
        out!("    {}", replay(args, *seed));
    }
}

fn table<K: std::fmt::Display, V: std::fmt::Display>(title: &str, rows: &BTreeMap<K, V>) {
    out!("{title}:");
    for (name, count) in rows {
        out!("  {name:<24} {count}");
    }
}

/// The command that repeats a seed of this sweep.
fn replay(args: &SweepArgs, seed: u64) -> String {
    args.command("replay", seed)
}

fn print_json(args: &SweepArgs, tally: &Tally, first: u64, seconds: f64, interrupted: bool) {
    let failures: Vec<_> = tally
        .failures
        .iter()
        .map(|(seed, failure)| {
            serde_json::json!({
                "seed": seed,
                "clause": failure.clause,
                "op": failure.op,
                "message": failure.message,
                "replay": replay(args, *seed),
            })
        })
        .collect();
    out!(
        "{}",
        serde_json::json!({
            "first": first,
            "interrupted": interrupted,
            "seeds": tally.seeds,
            "run_twice": tally.twice,
            "seconds": seconds,
            "seeds_per_second": rate(tally.seeds, seconds),
            "operations": tally.ops,
            "openings": tally.openings,
            "refusals": tally.refusals,
            "digest": format!("{:016x}", tally.digest),
            "worlds": tally.worlds,
            "crashes": tally.crashes,
            "faults": tally.faults,
            "events": tally.events,
            "seen": tally.seen.json(),
            "failed_syncs": tally.failed_syncs,
            "images_judged": tally.images,
            "failures": failures,
        })
    );
}

#[allow(clippy::cast_precision_loss)] // a rate for a person to read
fn rate(seeds: u64, seconds: f64) -> f64 {
    seeds as f64 / seconds.max(1e-9)
}
