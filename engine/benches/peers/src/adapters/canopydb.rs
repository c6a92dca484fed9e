//! canopydb: a write-ahead log, and a copy-on-write tree that checkpoints bring to its file.

use anyhow::{Context, Result};
use canopydb::{Database, DbOptions, EnvOptions, Error, ReadTransaction, Tree, WriteTransaction};

use crate::data::{Key, VALUE_BYTES};
use crate::engine::{
    Change, Direction, Each, Engine, Found, Level, Reader, Reads, Scan, Session, Setting, Setup,
};

const TREE: &[u8] = b"kv";

struct Canopydb {
    db: Database,
    is_synced: bool,
    is_concurrent: bool,
    settings: Vec<Setting>,
}

pub fn open(setup: &Setup) -> Result<Box<dyn Engine>> {
    let dir = setup.dir.join("canopydb");
    // It makes its files, but not the directory.
    std::fs::create_dir_all(&dir)?;
    let mut env = EnvOptions::new(dir);
    env.page_cache_size = usize::try_from(setup.cache_bytes)?;
    // The size that all engines collect before they write it to its place; it is the default too.
    let mut options = DbOptions::new();
    options.checkpoint_target_size = usize::try_from(setup.buffer_bytes)?;
    let is_synced = setup.level == Level::Sync;
    let is_concurrent = setup.threads > 1;
    let db = Database::with_options(env, options)?;
    let write = db.begin_write()?;
    write.get_or_create_tree(TREE)?;
    write.commit()?;
    let level = if is_synced { "sync" } else { "the log is written, not synced" };
    let transactions =
        if is_concurrent { "concurrent, begun again after a conflict" } else { "exclusive" };
    let settings = vec![
        ("commit", level.to_owned()),
        ("write transactions", transactions.to_owned()),
        ("page_cache_size", setup.cache_bytes.to_string()),
        ("checkpoint_target_size", setup.buffer_bytes.to_string()),
        ("weakest level", "a commit is handed to the operating system".to_owned()),
    ];
    Ok(Box::new(Canopydb { db, is_synced, is_concurrent, settings }))
}

impl Engine for Canopydb {
    fn settings(&self) -> Vec<Setting> {
        self.settings.clone()
    }

    fn session(&self) -> Result<Box<dyn Session + '_>> {
        Ok(Box::new(Latest(self)))
    }

    fn at_one_moment(&self, work: Reads<'_>) -> Result<()> {
        let read = self.db.begin_read()?;
        work(&mut Moment(tree(&read)?))
    }

    fn sync(&self) -> Result<()> {
        Ok(self.db.sync()?)
    }

    fn compact(&mut self) -> Result<()> {
        // What is in the log only is not in the file that is compacted.
        self.db.checkpoint()?;
        Ok(self.db.compact()?)
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.sync()
    }
}

fn tree(read: &ReadTransaction) -> Result<Tree<'_>> {
    read.get_tree(TREE)?.context("the tree is gone")
}

struct Latest<'a>(&'a Canopydb);

impl Latest<'_> {
    /// Commits; None if another transaction was in the way.
    fn commit(&self, write: WriteTransaction) -> Result<Option<()>> {
        match write.commit_with(self.0.is_synced) {
            Ok(_id) => Ok(Some(())),
            Err(Error::WriteConflict) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl Reader for Latest<'_> {
    fn get(&mut self, key: &Key, found: Found<'_>) -> Result<bool> {
        let read = self.0.db.begin_read()?;
        Moment(tree(&read)?).get(key, found)
    }

    fn scan(&mut self, scan: Scan<'_>, each: Each<'_>) -> Result<usize> {
        let read = self.0.db.begin_read()?;
        Moment(tree(&read)?).scan(scan, each)
    }

    fn count(&mut self) -> Result<u64> {
        Ok(tree(&self.0.db.begin_read()?)?.len())
    }
}

impl Session for Latest<'_> {
    fn put(&mut self, key: &Key, value: &[u8; VALUE_BYTES]) -> Result<()> {
        loop {
            let write = self.0.db.begin_write_with(self.0.is_concurrent)?;
            write.get_or_create_tree(TREE)?.insert(key.bytes(), value)?;
            if self.commit(write)?.is_some() {
                return Ok(());
            }
        }
    }

    fn write(&mut self, changes: &mut dyn Iterator<Item = Change>) -> Result<()> {
        // One thread writes batches; an exclusive transaction never conflicts.
        let write = self.0.db.begin_write()?;
        let mut tree = write.get_or_create_tree(TREE)?;
        for Change { key, value } in changes {
            match value {
                Some(value) => tree.insert(key.bytes(), &value)?,
                None => tree.delete(key.bytes()).map(drop)?,
            }
        }
        drop(tree);
        self.commit(write)?.context("a conflict of an exclusive transaction")
    }
}

struct Moment<'a>(Tree<'a>);

impl Reader for Moment<'_> {
    fn get(&mut self, key: &Key, found: Found<'_>) -> Result<bool> {
        let value = self.0.get(key.bytes())?;
        Ok(value.inspect(|value| found(value)).is_some())
    }

    fn scan(&mut self, scan: Scan<'_>, each: Each<'_>) -> Result<usize> {
        let (start, end) = scan.range.flat();
        let mut items = match end {
            Some(end) => self.0.range(start..end)?,
            None => self.0.range(start..)?,
        };
        let mut seen = 0;
        while seen < scan.limit {
            let item = match scan.direction {
                Direction::Forward => items.next(),
                Direction::Backward => items.next_back(),
            };
            let Some(item) = item else { break };
            let (key, value) = item?;
            each(&key, &value);
            seen += 1;
        }
        Ok(seen)
    }

    fn count(&mut self) -> Result<u64> {
        Ok(self.0.len())
    }
}
