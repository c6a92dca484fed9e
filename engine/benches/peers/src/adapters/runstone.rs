//! Runstone, through its public API: real run ids, begun before the first write.

use std::ops::Bound;

use anyhow::{Result, bail};
use runstone::{
    Database, DurabilityMode, Error, NO_TAGS, Options, RunFilter, RunId, Snapshot, WriteBatch,
};

use crate::data::{Key, RunBytes, VALUE_BYTES};
use crate::engine::{
    Change, Direction, Each, Engine, Found, Level, Range, Reader, Reads, Scan, Session, Setting,
    Setup,
};

/// Below the 12 MiB that a batch may have, at 64 bytes beside each key and value.
const BATCH_MAX: usize = 50_000;

struct Runstone {
    db: Database,
    settings: Vec<Setting>,
}

pub fn open(setup: &Setup) -> Result<Box<dyn Engine>> {
    // No sync by itself within the life of a benchmark, where none is asked for.
    let (durability, level) = match setup.level {
        Level::Sync => (DurabilityMode::Strict, "Strict"),
        Level::Os => (
            DurabilityMode::Batched { interval_ms: u64::MAX, batch_size: u64::MAX },
            "Batched, without a limit: a write for each commit, no sync",
        ),
        Level::Memory => {
            (DurabilityMode::Async { interval_ms: u64::MAX }, "Async, without a limit")
        }
    };
    let options = Options {
        durability,
        // Of the number, a memtable is an eighth and the cache a half.
        memory_bytes_max: (setup.buffer_bytes * 8).max(setup.cache_bytes * 2).max(64 << 20),
        flush_bytes: setup.buffer_bytes,
        cache_bytes_max: setup.cache_bytes,
        ..Options::default()
    };
    let settings = vec![
        ("durability", level.to_owned()),
        ("flush_bytes", setup.buffer_bytes.to_string()),
        ("memory_bytes_max", options.memory_bytes_max.to_string()),
        ("cache_bytes_max", options.cache_bytes_max.to_string()),
        ("bulk load", format!("commits of {BATCH_MAX}: a batch may have 12 MiB")),
    ];
    let db = Database::builder().options(options).open(setup.dir.join("store"))?;
    Ok(Box::new(Runstone { db, settings }))
}

/// Does it again as long as the memtable is full, after a step of maintenance.
fn admitted(db: &Database, mut write: impl FnMut() -> runstone::Result<u64>) -> Result<()> {
    for _ in 0..1000 {
        match write() {
            Ok(_version) => return Ok(()),
            Err(Error::MemtableFull { .. }) => db.maintain().map(drop)?,
            Err(error) => return Err(error.into()),
        }
    }
    bail!("the memtable stays full")
}

impl Engine for Runstone {
    fn settings(&self) -> Vec<Setting> {
        self.settings.clone()
    }

    fn begin_runs(&self, runs: &[RunBytes]) -> Result<()> {
        for run in runs {
            self.db.begin_run(RunId::from_bytes(*run), NO_TAGS)?;
        }
        Ok(())
    }

    fn session(&self) -> Result<Box<dyn Session + '_>> {
        Ok(Box::new(Latest { db: &self.db, runs: runs(&self.db)? }))
    }

    fn at_one_moment(&self, work: Reads<'_>) -> Result<()> {
        work(&mut Moment { snapshot: self.db.snapshot()?, runs: runs(&self.db)? })
    }

    fn batch_max(&self) -> usize {
        BATCH_MAX
    }

    fn sync(&self) -> Result<()> {
        Ok(self.db.flush()?)
    }

    fn compact(&mut self) -> Result<()> {
        while self.db.maintain()?.left > 0 {}
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.db.close()?)
    }
}

/// All runs, in byte order.
fn runs(db: &Database) -> Result<Vec<RunId>> {
    let runs = db.runs(RunFilter::default())?.map(|run| Ok(run?.run_id));
    let mut runs = runs.collect::<Result<Vec<RunId>>>()?;
    runs.sort_by_key(|run| *run.as_bytes());
    Ok(runs)
}

/// Walks the runs that a scan touches, in its order; `begin` makes the scan of one.
fn walk(
    runs: &[RunId],
    scan: Scan<'_>,
    each: Each<'_>,
    begin: impl Fn(RunId, Part<'_>) -> runstone::Result<runstone::Scan>,
) -> Result<usize> {
    let mut parts: Vec<(RunId, Part<'_>)> = match scan.range {
        Range::Prefix(run, prefix) => vec![(RunId::from_bytes(run), Part::Prefix(prefix))],
        Range::All => runs.iter().map(|run| (*run, Part::All)).collect(),
        Range::From(key) => {
            let first = runs.partition_point(|run| *run.as_bytes() < key.run());
            let part = |run: &RunId| match *run.as_bytes() == key.run() {
                true => Part::From(key.user()),
                false => Part::All,
            };
            runs[first..].iter().map(|run| (*run, part(run))).collect()
        }
    };
    if scan.direction == Direction::Backward {
        parts.reverse();
    }
    let mut seen = 0;
    for (run, part) in parts {
        if seen == scan.limit {
            break;
        }
        let mut items = begin(run, part)?;
        while seen < scan.limit {
            let item = match scan.direction {
                Direction::Forward => items.next_ref(),
                Direction::Backward => items.next_back_ref(),
            };
            let Some(item) = item.transpose()? else { break };
            let value = item.value().as_bytes();
            each(item.key(), value.ok_or_else(|| anyhow::anyhow!("a value that is no bytes"))?);
            seen += 1;
        }
    }
    Ok(seen)
}

/// Which keys of a run.
#[derive(Clone, Copy)]
enum Part<'a> {
    All,
    From(&'a [u8]),
    Prefix(&'a [u8]),
}

impl Part<'_> {
    fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        let start =
            if let Part::From(key) = self { Bound::Included(*key) } else { Bound::Unbounded };
        (start, Bound::Unbounded)
    }
}

/// Whether something was found; an error if it was no bytes.
fn is_found(shown: Option<Option<()>>) -> Result<bool> {
    let Some(shown) = shown else { return Ok(false) };
    shown.ok_or_else(|| anyhow::anyhow!("a value that is no bytes"))?;
    Ok(true)
}

struct Latest<'a> {
    db: &'a Database,
    runs: Vec<RunId>,
}

impl Reader for Latest<'_> {
    fn get(&mut self, key: &Key, found: Found<'_>) -> Result<bool> {
        let run = RunId::from_bytes(key.run());
        is_found(self.db.get_with(run, key.user(), |entry| entry.value().as_bytes().map(found))?)
    }

    fn scan(&mut self, scan: Scan<'_>, each: Each<'_>) -> Result<usize> {
        walk(&self.runs, scan, each, |run, part| match part {
            Part::Prefix(prefix) => self.db.scan_prefix(run, prefix),
            part => self.db.scan::<&[u8], _>(run, part.bounds()),
        })
    }
}

impl Session for Latest<'_> {
    fn put(&mut self, key: &Key, value: &[u8; VALUE_BYTES]) -> Result<()> {
        let run = RunId::from_bytes(key.run());
        admitted(self.db, || self.db.put(run, key.user(), value.as_slice()))
    }

    fn write(&mut self, changes: &mut dyn Iterator<Item = Change>) -> Result<()> {
        let mut batch = WriteBatch::new();
        for Change { key, value } in changes {
            let run = RunId::from_bytes(key.run());
            match value {
                Some(value) => batch.put(run, key.user(), value.as_slice()),
                None => batch.delete(run, key.user()),
            };
        }
        admitted(self.db, || self.db.write(batch.clone()))
    }
}

struct Moment {
    snapshot: Snapshot,
    runs: Vec<RunId>,
}

impl Reader for Moment {
    fn get(&mut self, key: &Key, found: Found<'_>) -> Result<bool> {
        let run = RunId::from_bytes(key.run());
        is_found(
            self.snapshot.get_with(run, key.user(), |entry| entry.value().as_bytes().map(found))?,
        )
    }

    fn scan(&mut self, scan: Scan<'_>, each: Each<'_>) -> Result<usize> {
        walk(&self.runs, scan, each, |run, part| match part {
            Part::Prefix(prefix) => self.snapshot.scan_prefix(run, prefix),
            part => self.snapshot.scan::<&[u8], _>(run, part.bounds()),
        })
    }
}
