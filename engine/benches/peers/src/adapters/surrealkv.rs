//! SurrealKV: a write-ahead log, memtables, sorted tables; commits are futures.

use anyhow::Result;
use surrealkv::{
    CompactRangeOptions, Durability, Error, LSMIterator, Mode, ReadOptions, Transaction, Tree,
    TreeBuilder,
};
use tokio::runtime::Runtime;

use crate::data::{Key, VALUE_BYTES};
use crate::engine::{
    Change, Direction, Each, Engine, Found, Level, Reader, Reads, Scan, Session, Setting, Setup,
};

struct SurrealKv {
    tree: Tree,
    /// For what the tree does in the background, and to wait for commits.
    runtime: Runtime,
    durability: Durability,
    settings: Vec<Setting>,
}

pub fn open(setup: &Setup) -> Result<Box<dyn Engine>> {
    let (durability, level) = match setup.level {
        Level::Sync => (Durability::Immediate, "Immediate"),
        Level::Os | Level::Memory => (Durability::Eventual, "Eventual"),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let options = surrealkv::Options::new()
        .with_path(setup.dir.join("surrealkv"))
        .with_block_cache_capacity(setup.cache_bytes)
        .with_wal_preallocation(true);
    let tree = {
        let _inside = runtime.enter();
        TreeBuilder::with_options(options)
            .with_max_memtable_size(usize::try_from(setup.buffer_bytes)?)
            .build()?
    };
    let settings = vec![
        ("durability", level.to_owned()),
        ("block_cache_capacity", setup.cache_bytes.to_string()),
        ("max_memtable_size", setup.buffer_bytes.to_string()),
        ("wal_preallocation", "true, as advised for small commits on ext4 and XFS".to_owned()),
        ("commits", "waited for by Runtime::block_on of a tokio runtime".to_owned()),
        ("conflicts", "a put begins again after one".to_owned()),
        ("weakest level", "a commit is handed to the operating system".to_owned()),
    ];
    Ok(Box::new(SurrealKv { tree, runtime, durability, settings }))
}

impl Engine for SurrealKv {
    fn settings(&self) -> Vec<Setting> {
        self.settings.clone()
    }

    fn session(&self) -> Result<Box<dyn Session + '_>> {
        Ok(Box::new(Latest(self)))
    }

    fn at_one_moment(&self, work: Reads<'_>) -> Result<()> {
        work(&mut Moment(self.tree.begin_with_mode(Mode::ReadOnly)?))
    }

    fn sync(&self) -> Result<()> {
        Ok(self.tree.flush_wal(true)?)
    }

    fn compact(&mut self) -> Result<()> {
        let _inside = self.runtime.enter();
        Ok(self.tree.compact_range(None, None, &CompactRangeOptions::default())?)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.runtime.block_on(self.tree.close())?)
    }
}

struct Latest<'a>(&'a SurrealKv);

impl Latest<'_> {
    fn moment(&self) -> Result<Moment> {
        Ok(Moment(self.0.tree.begin_with_mode(Mode::ReadOnly)?))
    }

    fn begin(&self) -> Result<Transaction> {
        let mut write = self.0.tree.begin_with_mode(Mode::WriteOnly)?;
        write.set_durability(self.0.durability);
        Ok(write)
    }
}

impl Reader for Latest<'_> {
    fn get(&mut self, key: &Key, found: Found<'_>) -> Result<bool> {
        self.moment()?.get(key, found)
    }

    fn scan(&mut self, scan: Scan<'_>, each: Each<'_>) -> Result<usize> {
        self.moment()?.scan(scan, each)
    }
}

impl Session for Latest<'_> {
    fn put(&mut self, key: &Key, value: &[u8; VALUE_BYTES]) -> Result<()> {
        loop {
            let mut write = self.begin()?;
            write.set(key.bytes(), value)?;
            match self.0.runtime.block_on(write.commit()) {
                // Another thread put this key; a transaction that failed cannot be committed again.
                Err(Error::TransactionWriteConflict) => {}
                outcome => return Ok(outcome?),
            }
        }
    }

    fn write(&mut self, changes: &mut dyn Iterator<Item = Change>) -> Result<()> {
        let mut write = self.begin()?;
        for Change { key, value } in changes {
            match value {
                Some(value) => write.set(key.bytes(), &value)?,
                None => write.delete(key.bytes())?,
            }
        }
        Ok(self.0.runtime.block_on(write.commit())?)
    }
}

struct Moment(Transaction);

impl Reader for Moment {
    fn get(&mut self, key: &Key, found: Found<'_>) -> Result<bool> {
        let value = self.0.get(key.bytes())?;
        Ok(value.inspect(|value| found(value)).is_some())
    }

    fn scan(&mut self, scan: Scan<'_>, each: Each<'_>) -> Result<usize> {
        let (start, end) = scan.range.flat();
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound((!start.is_empty()).then_some(start));
        options.set_iterate_upper_bound(end);
        let mut items = self.0.range_with_options(&options)?;
        let mut is_there = match scan.direction {
            Direction::Forward => items.seek_first()?,
            Direction::Backward => items.seek_last()?,
        };
        let mut seen = 0;
        while is_there && seen < scan.limit {
            each(items.key().user_key(), &items.value_ref()?);
            seen += 1;
            is_there = match scan.direction {
                Direction::Forward => items.next()?,
                Direction::Backward => items.prev()?,
            };
        }
        Ok(seen)
    }
}
