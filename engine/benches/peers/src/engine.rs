//! What every engine is asked to do, and what an adapter may not hide.
//!
//! A store is an [`Engine`]; each thread works through a [`Session`] of its own. Many reads at one
//! moment go through the [`Reader`] of [`Engine::at_one_moment`]. Whatever an engine cannot do is
//! a [`NotThere`] with the reason: the report shows it in the engine's place.

use std::fmt;
use std::path::PathBuf;

use anyhow::Result;

use crate::data::{Key, RunBytes, VALUE_BYTES};

/// What an acknowledged write survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// A power cut: synced before it is acknowledged.
    Sync,
    /// A kill of the process: handed to the operating system, not synced.
    Os,
    /// Nothing: the weakest level that the engine has. Where that is [`Level::Os`], it is that.
    Memory,
}

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The directory of the store; it exists, and is empty at first.
    pub dir: PathBuf,
    /// What an acknowledged write survives.
    pub level: Level,
    /// The budget of the cache, for engines that have one.
    pub cache_bytes: u64,
    /// The size at which a memtable is flushed, for engines that have one.
    pub buffer_bytes: u64,
    /// How many threads will have a session.
    pub threads: usize,
    /// Whether the data is meant to be larger than memory.
    pub is_large: bool,
}

/// A name and a value: a setting as it was used.
pub type Setting = (&'static str, String);

/// One change of a batch: a put, or a removal if there is no value.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// The key.
    pub key: Key,
    /// The value to put.
    pub value: Option<[u8; VALUE_BYTES]>,
}

/// Which keys a scan visits.
#[derive(Clone, Copy, Debug)]
pub enum Range<'a> {
    /// All of the store.
    All,
    /// The keys of one run that begin with these bytes.
    Prefix(RunBytes, &'a [u8]),
    /// This key, and all after it.
    From(&'a Key),
}

/// From which end a scan walks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// In byte order.
    Forward,
    /// Against byte order.
    Backward,
}

/// A scan: where, from which end, and how far.
#[derive(Clone, Copy, Debug)]
pub struct Scan<'a> {
    /// Which keys.
    pub range: Range<'a>,
    /// From which end.
    pub direction: Direction,
    /// The most entries to visit.
    pub limit: usize,
}

impl Range<'_> {
    /// The range as one of flat keys: the first, and the first beyond it.
    pub fn flat(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        match self {
            Range::All => (Vec::new(), None),
            Range::From(key) => (key.bytes().to_vec(), None),
            Range::Prefix(run, prefix) => {
                let start = [run.as_slice(), prefix].concat();
                let mut end = start.clone();
                while let Some(last) = end.pop() {
                    if last < u8::MAX {
                        end.push(last + 1);
                        return (start, Some(end));
                    }
                }
                (start, None)
            }
        }
    }
}

/// Hears of each value that was found. It reads every byte: an engine that hands out a pointer
/// into a mapped file has to bring the bytes in, as one that copies does.
pub type Found<'a> = &'a mut dyn FnMut(&[u8]);

/// Hears of each entry of a scan: the key as the engine has it, and the value.
pub type Each<'a> = &'a mut dyn FnMut(&[u8], &[u8]);

/// What is done with a reader.
pub type Reads<'a> = &'a mut dyn FnMut(&mut dyn Reader) -> Result<()>;

/// Reads of one thread.
pub trait Reader {
    /// Whether the key is there; `found` hears its value.
    fn get(&mut self, key: &Key, found: Found<'_>) -> Result<bool>;

    /// Visits entries in order; returns how many.
    fn scan(&mut self, scan: Scan<'_>, each: Each<'_>) -> Result<usize>;

    /// How many keys there are, in the cheapest way that the engine has.
    fn count(&mut self) -> Result<u64> {
        let scan = Scan { range: Range::All, direction: Direction::Forward, limit: usize::MAX };
        Ok(self.scan(scan, &mut |_, _| {})? as u64)
    }
}

/// Reads and writes of one thread. A read sees what was acknowledged before it.
pub trait Session: Reader {
    /// Puts one key, as a commit of its own, at the level of the opening.
    fn put(&mut self, key: &Key, value: &[u8; VALUE_BYTES]) -> Result<()>;

    /// Commits all changes as one, at the level of the opening. An engine that bounds its
    /// batches says so by [`Engine::batch_max`].
    fn write(&mut self, changes: &mut dyn Iterator<Item = Change>) -> Result<()>;
}

/// An open store.
pub trait Engine: Send + Sync {
    /// The settings in force, for the report.
    fn settings(&self) -> Vec<Setting>;

    /// Begins runs, where the engine knows runs.
    fn begin_runs(&self, _runs: &[RunBytes]) -> Result<()> {
        Ok(())
    }

    /// A session for the calling thread.
    fn session(&self) -> Result<Box<dyn Session + '_>>;

    /// Gives `work` a reader that sees this moment, whatever is written meanwhile: one read
    /// transaction, one snapshot. An engine without such a thing reads what is there, and says so
    /// in its settings.
    fn at_one_moment(&self, work: Reads<'_>) -> Result<()>;

    /// The most changes that one commit may have.
    fn batch_max(&self) -> usize {
        usize::MAX
    }

    /// Makes everything acknowledged durable.
    fn sync(&self) -> Result<()>;

    /// Gives back room, as far as the engine can be asked to.
    fn compact(&mut self) -> Result<()>;

    /// Closes, as a program should that means to open again.
    fn close(self: Box<Self>) -> Result<()>;
}

/// What an engine does not have; no failure.
#[derive(Debug)]
pub struct NotThere(pub &'static str);

impl fmt::Display for NotThere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for NotThere {}

/// The error for what an engine does not have.
pub fn not_there<T>(why: &'static str) -> Result<T> {
    Err(NotThere(why).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_of_a_prefix_ends_where_the_next_prefix_begins() {
        let run = [7; 16];
        let (start, end) = Range::Prefix(run, &[1, 2]).flat();
        assert_eq!(start, [run.as_slice(), &[1, 2]].concat());
        assert_eq!(end, Some([run.as_slice(), &[1, 3]].concat()));
    }

    #[test]
    fn a_prefix_of_all_ones_carries_into_the_run_and_then_has_no_end() {
        let mut run = [0xff; 16];
        run[0] = 1;
        assert_eq!(Range::Prefix(run, &[0xff]).flat().1, Some(vec![2]));
        assert_eq!(Range::Prefix([0xff; 16], &[0xff]).flat().1, None);
    }
}
