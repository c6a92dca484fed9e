//! The workloads: what is done, under which names. One child process does one of them with one
//! engine, in a directory of its own.

mod churn;
mod gets;
mod large;
mod puts;
mod redb_steps;
mod reopen;
mod scans;
mod ycsb;

pub use reopen::loader;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::adapters::Spec;
use crate::data::{Keys, Order, value};
use crate::engine::{Change, Direction, Engine, Level, NotThere, Session, Setup};
use crate::measure::Timing;
use crate::outcome::{Ending, Figures, Line};
use crate::sizes::Sizes;

/// What is done.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    /// Single puts.
    Puts { level: Level, threads: usize, order: Order },
    /// Durable batches of 1,000.
    Batches { order: Order },
    /// Random gets.
    Gets { hit: bool, threads: usize, order: Order },
    /// Scans of the keys of one prefix.
    PrefixScans,
    /// A scan of everything.
    FullScan { direction: Direction, order: Order },
    /// Gets for this part of the operations, updates for the others.
    Ycsb { gets: f64 },
    /// Opening again.
    Reopen,
    /// Overwriting.
    Churn,
    /// More data than memory.
    Large,
    /// The benchmark of redb.
    RedbSteps,
}

/// A workload.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// As the report calls it.
    pub name: &'static str,
    /// What it does.
    pub work: Work,
    /// The rows that it reports; none means one row of its own name.
    rows: &'static [&'static str],
    /// What it is, in a line.
    pub about: &'static str,
}

const fn single(name: &'static str, work: Work, about: &'static str) -> Workload {
    Workload { name, work, rows: &[], about }
}

const fn several(
    name: &'static str,
    work: Work,
    rows: &'static [&'static str],
    about: &'static str,
) -> Workload {
    Workload { name, work, rows, about }
}

const fn puts(level: Level, threads: usize, order: Order) -> Work {
    Work::Puts { level, threads, order }
}

const fn gets(hit: bool, threads: usize, order: Order) -> Work {
    Work::Gets { hit, threads, order }
}

/// All of them, in the order of the report.
pub const ALL: &[Workload] = &[
    single("put-sync-1", puts(Level::Sync, 1, Order::Random), "durable puts, 1 thread"),
    single("put-sync-8", puts(Level::Sync, 8, Order::Random), "durable puts, 8 threads"),
    single("put-sync-64", puts(Level::Sync, 64, Order::Random), "durable puts, 64 threads"),
    single(
        "put-os",
        puts(Level::Os, 1, Order::Random),
        "puts that survive a kill, not a power cut: no sync",
    ),
    single(
        "put-memory",
        puts(Level::Memory, 1, Order::Random),
        "puts at the weakest level that the engine has",
    ),
    single(
        "put-memory-time",
        puts(Level::Memory, 1, Order::Time),
        "the same, in the order of time",
    ),
    single("batch-sync", Work::Batches { order: Order::Random }, "durable batches of 1,000"),
    single(
        "batch-sync-time",
        Work::Batches { order: Order::Time },
        "durable batches of 1,000, in the order of time",
    ),
    single("get-hit-1", gets(true, 1, Order::Random), "random gets of keys that are there"),
    single("get-hit-2", gets(true, 2, Order::Random), "the same, 2 threads"),
    single("get-miss-1", gets(false, 1, Order::Random), "random gets of keys that are not there"),
    single("get-miss-2", gets(false, 2, Order::Random), "the same, 2 threads"),
    single(
        "get-hit-1-time",
        gets(true, 1, Order::Time),
        "random gets from what was written in the order of time",
    ),
    single("scan-prefix", Work::PrefixScans, "scans of the 1,000 keys with one prefix"),
    single(
        "scan-forward",
        Work::FullScan { direction: Direction::Forward, order: Order::Random },
        "a scan of everything",
    ),
    single(
        "scan-backward",
        Work::FullScan { direction: Direction::Backward, order: Order::Random },
        "a scan of everything, from the end",
    ),
    single(
        "scan-forward-time",
        Work::FullScan { direction: Direction::Forward, order: Order::Time },
        "a scan of everything that was written in the order of time",
    ),
    single("ycsb-a", Work::Ycsb { gets: 0.5 }, "half gets, half updates, 2 threads"),
    single("ycsb-b", Work::Ycsb { gets: 0.95 }, "19 gets for each update, 2 threads"),
    several("reopen", Work::Reopen, reopen::ROWS, "from the opening to the first get"),
    several("churn", Work::Churn, churn::ROWS, "everything put five times, durable, by 1,000"),
    several("large", Work::Large, large::ROWS, "more data than memory, gets with a cold cache"),
    several("redb", Work::RedbSteps, redb_steps::ROWS, "the steps of redb's own benchmark"),
];

impl Workload {
    /// The rows that it reports.
    pub fn rows(&self) -> Vec<&'static str> {
        if self.rows.is_empty() { vec![self.name] } else { self.rows.to_vec() }
    }
}

/// The workload with a name.
pub fn find(name: &str) -> Option<Workload> {
    ALL.iter().copied().find(|workload| workload.name == name)
}

/// What a workload works with.
pub struct Context {
    /// The engine.
    pub spec: Spec,
    /// A directory of its own.
    pub dir: PathBuf,
    /// How much of everything.
    pub sizes: Sizes,
}

/// Does a workload, in this process; the lines go to the standard output as they come.
pub fn run(context: &Context, workload: &Workload) -> Result<()> {
    let done = match workload.work {
        Work::Puts { level, threads, order } => puts::puts(context, level, threads, order),
        Work::Batches { order } => puts::batches(context, order),
        Work::Gets { hit, threads, order } => gets::gets(context, hit, threads, order),
        Work::PrefixScans => scans::prefix(context),
        Work::FullScan { direction, order } => scans::full(context, direction, order),
        Work::Ycsb { gets } => ycsb::ycsb(context, gets),
        Work::Reopen => reopen::reopen(context, workload).map(|()| None),
        Work::Churn => churn::churn(context).map(|()| None),
        Work::Large => large::large(context).map(|()| None),
        Work::RedbSteps => redb_steps::steps(context).map(|()| None),
    };
    match done {
        Ok(Some(figures)) => context.row(workload.name, Ok(figures))?,
        Ok(None) => {}
        // Rows that were told keep what they were told; this ends the others.
        Err(error) => {
            for row in workload.rows() {
                context.tell(&Line::Row { row: row.to_owned(), ending: ending(&error) })?;
            }
        }
    }
    context.tell(&Line::Done)
}

fn ending(error: &anyhow::Error) -> Ending {
    match error.downcast_ref::<NotThere>() {
        Some(NotThere(why)) => Ending::NotThere((*why).to_owned()),
        None => Ending::Failed(format!("{error:#}")),
    }
}

impl Context {
    /// Opens the engine in a directory of this context, which is made.
    pub fn open(&self, level: Level, threads: usize) -> Result<Box<dyn Engine>> {
        self.open_at(&self.store(), level, threads, false)
    }

    /// The same, where the caller chooses the directory, and whether it is to be large.
    pub fn open_at(
        &self,
        dir: &Path,
        level: Level,
        threads: usize,
        is_large: bool,
    ) -> Result<Box<dyn Engine>> {
        std::fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
        let (cache_mib, buffer_mib) = if is_large {
            (self.sizes.large_cache_mib, self.sizes.large_buffer_mib)
        } else {
            (self.sizes.cache_mib, self.sizes.buffer_mib)
        };
        let engine = (self.spec.open)(&Setup {
            dir: dir.to_owned(),
            level,
            cache_bytes: cache_mib << 20,
            buffer_bytes: buffer_mib << 20,
            threads,
            is_large,
        })?;
        let settings = engine.settings().into_iter();
        let settings = settings.map(|(name, value)| (name.to_owned(), value)).collect();
        self.tell(&Line::Settings(settings))?;
        Ok(engine)
    }

    /// Where the store lies.
    pub fn store(&self) -> PathBuf {
        self.dir.join("store")
    }

    /// A store that holds all keys, durable, with nothing said about how long it took.
    pub fn loaded(&self, keys: &Keys, threads: usize) -> Result<Box<dyn Engine>> {
        let engine = self.open(Level::Memory, threads)?;
        load(&*engine, keys)?;
        engine.sync()?;
        Ok(engine)
    }

    /// Tells how a row ended.
    pub fn row(&self, row: &str, figures: Result<Figures>) -> Result<()> {
        let ending = figures.map_or_else(|error| ending(&error), Ending::Measured);
        self.tell(&Line::Row { row: row.to_owned(), ending })
    }

    /// Tells the parent.
    pub fn tell(&self, line: &Line) -> Result<()> {
        println!("{}", serde_json::to_string(line)?);
        Ok(())
    }
}

/// Begins the runs and puts all keys, a thousand to a commit.
fn load(engine: &dyn Engine, keys: &Keys) -> Result<()> {
    engine.begin_runs(&keys.runs())?;
    let mut session = engine.session()?;
    let mut turn = 0;
    while turn < keys.count() {
        let end = (turn + 1000).min(keys.count());
        session.write(&mut (turn..end).map(|turn| put_of(keys, turn, 0)))?;
        turn = end;
    }
    Ok(())
}

/// The put of the `turn`-th key.
fn put_of(keys: &Keys, turn: u64, version: u64) -> Change {
    let key = keys.at(turn);
    Change { key, value: Some(value(&key, version)) }
}

/// Checks that some keys have the values that were put: of a wrong answer nobody wants the speed.
fn check(session: &mut dyn Session, keys: &Keys, turns: u64, version: u64) -> Result<()> {
    let step = (turns / 100).max(1);
    for turn in (0..turns).step_by(usize::try_from(step)?) {
        let key = keys.at(turn);
        let expected = value(&key, version);
        let mut is_right = false;
        let is_there = session.get(&key, &mut |found| is_right = found == expected)?;
        ensure!(is_there, "wrong data: the key of turn {turn} is not there");
        ensure!(is_right, "wrong data: the key of turn {turn} has another value");
    }
    Ok(())
}

/// Checks, unless the engine cannot read at all.
fn check_if_readable(engine: &dyn Engine, keys: &Keys, turns: u64, version: u64) -> Result<()> {
    match check(&mut *engine.session()?, keys, turns, version) {
        Err(error) if error.is::<NotThere>() => Ok(()),
        checked => checked,
    }
}

/// Reads all bytes of a value: an engine that hands out a pointer has to bring them in.
fn touch(bytes: &[u8]) -> u64 {
    let words = bytes.chunks(8);
    words.fold(0, |sum, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        sum ^ u64::from_le_bytes(word)
    })
}

/// A row of a rate, with what single operations took.
fn rate(timing: Timing, unit: &str) -> Figures {
    Figures::rate(timing.rate, unit).with_latency(timing.latency)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_rows_have_one_name() {
        let rows: Vec<&str> = ALL.iter().flat_map(Workload::rows).collect();
        assert_eq!(rows.iter().collect::<BTreeSet<_>>().len(), rows.len());
    }

    #[test]
    fn touching_reads_every_byte() {
        let mut bytes = [0; 100];
        for at in 0..100 {
            bytes[at] = 1;
            assert_ne!(touch(&bytes), 0, "byte {at}");
            bytes[at] = 0;
        }
    }
}
