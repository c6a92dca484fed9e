//! sled: a lock-free tree over a log of pages.
//!
//! On Linux a flush of sled 0.34 ends in `sync_file_range`, which brings neither the file's
//! metadata nor the device's cache to safety. So where durability is asked for, the adapter calls
//! `fdatasync` after each flush: the figures would compare nothing without it.

use std::fs::File;

use anyhow::Result;
use sled::{Batch, Config, Db, IVec, Mode};

use crate::data::{Key, VALUE_BYTES};
use crate::engine::{
    Change, Direction, Each, Engine, Found, Level, Reader, Reads, Scan, Session, Setting, Setup,
    not_there,
};

struct Sled {
    db: Db,
    /// The one file that it writes.
    file: File,
    is_synced: bool,
    settings: Vec<Setting>,
}

pub fn open(setup: &Setup) -> Result<Box<dyn Engine>> {
    let (is_synced, level) = match setup.level {
        Level::Sync => (true, "flush after each commit, and fdatasync by the adapter"),
        Level::Os => {
            return not_there(
                "a commit stays in a buffer of the process until the next flush; no level writes \
                 each without a sync",
            );
        }
        Level::Memory => (false, "the default: a flush every 500 ms"),
    };
    let dir = setup.dir.join("sled");
    let db = Config::default()
        .path(&dir)
        .cache_capacity(setup.cache_bytes)
        .mode(Mode::HighThroughput)
        .open()?;
    let settings = vec![
        ("durability", level.to_owned()),
        ("cache_capacity", setup.cache_bytes.to_string()),
        ("mode", "HighThroughput".to_owned()),
        ("snapshot", "none: reads see what is there".to_owned()),
    ];
    let file = File::open(dir.join("db"))?;
    Ok(Box::new(Sled { db, file, is_synced, settings }))
}

impl Engine for Sled {
    fn settings(&self) -> Vec<Setting> {
        self.settings.clone()
    }

    fn session(&self) -> Result<Box<dyn Session + '_>> {
        Ok(Box::new(Latest(self)))
    }

    fn at_one_moment(&self, work: Reads<'_>) -> Result<()> {
        work(&mut Latest(self))
    }

    fn sync(&self) -> Result<()> {
        self.db.flush()?;
        Ok(self.file.sync_data()?)
    }

    fn compact(&mut self) -> Result<()> {
        not_there("sled has no call for it")
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.sync()
    }
}

struct Latest<'a>(&'a Sled);

impl Latest<'_> {
    fn synced(&self) -> Result<()> {
        if self.0.is_synced { self.0.sync() } else { Ok(()) }
    }
}

impl Reader for Latest<'_> {
    fn get(&mut self, key: &Key, found: Found<'_>) -> Result<bool> {
        let value = self.0.db.get(key.bytes())?;
        Ok(value.inspect(|value| found(value)).is_some())
    }

    fn scan(&mut self, scan: Scan<'_>, each: Each<'_>) -> Result<usize> {
        let (start, end) = scan.range.flat();
        let items = match end {
            Some(end) => self.0.db.range(start..end),
            None => self.0.db.range(start..),
        };
        let mut seen = 0;
        let mut visit = |item: sled::Result<(IVec, IVec)>| -> Result<()> {
            let (key, value) = item?;
            each(&key, &value);
            seen += 1;
            Ok(())
        };
        match scan.direction {
            Direction::Forward => items.take(scan.limit).try_for_each(&mut visit)?,
            Direction::Backward => items.rev().take(scan.limit).try_for_each(&mut visit)?,
        }
        Ok(seen)
    }

    fn count(&mut self) -> Result<u64> {
        Ok(self.0.db.len() as u64)
    }
}

impl Session for Latest<'_> {
    fn put(&mut self, key: &Key, value: &[u8; VALUE_BYTES]) -> Result<()> {
        self.0.db.insert(key.bytes(), value.as_slice())?;
        self.synced()
    }

    fn write(&mut self, changes: &mut dyn Iterator<Item = Change>) -> Result<()> {
        let mut batch = Batch::default();
        for Change { key, value } in changes {
            match value {
                Some(value) => batch.insert(key.bytes().as_slice(), value.as_slice()),
                None => batch.remove(key.bytes().as_slice()),
            }
        }
        self.0.db.apply_batch(batch)?;
        self.synced()
    }
}
