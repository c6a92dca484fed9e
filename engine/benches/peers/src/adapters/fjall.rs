//! fjall: a journal, memtables, sorted tables.

use anyhow::Result;
use fjall::{
    Database, Guard, Keyspace, KeyspaceCreateOptions, PersistMode, Readable, Slice, Snapshot,
};

use crate::data::{Key, VALUE_BYTES};
use crate::engine::{
    Change, Direction, Each, Engine, Found, Level, Reader, Reads, Scan, Session, Setting, Setup,
};

struct Fjall {
    db: Database,
    kv: Keyspace,
    level: Level,
    settings: Vec<Setting>,
}

pub fn open(setup: &Setup) -> Result<Box<dyn Engine>> {
    // "Set to `true` to handle persistence manually": every put is followed by its own persist,
    // or by none at all. Otherwise each put is handed to the operating system.
    let is_manual = setup.level != Level::Os;
    let db = Database::builder(setup.dir.join("fjall"))
        .cache_size(setup.cache_bytes)
        .manual_journal_persist(is_manual)
        .open()?;
    let kv = db.keyspace("kv", || {
        KeyspaceCreateOptions::default()
            .max_memtable_size(setup.buffer_bytes)
            .manual_journal_persist(is_manual)
    })?;
    let level = match setup.level {
        Level::Sync => "persist(SyncData) after each commit",
        Level::Os => "the default: each commit is flushed to the operating system",
        Level::Memory => "manual_journal_persist, and nothing persists",
    };
    let settings = vec![
        ("durability", level.to_owned()),
        ("cache_size", setup.cache_bytes.to_string()),
        ("max_memtable_size", setup.buffer_bytes.to_string()),
        ("compression", "LZ4 but for the newest levels, the default".to_owned()),
        ("compaction", "rotate_memtable_and_wait and major_compact, both undocumented".to_owned()),
    ];
    Ok(Box::new(Fjall { db, kv, level: setup.level, settings }))
}

impl Engine for Fjall {
    fn settings(&self) -> Vec<Setting> {
        self.settings.clone()
    }

    fn session(&self) -> Result<Box<dyn Session + '_>> {
        Ok(Box::new(Latest(self)))
    }

    fn at_one_moment(&self, work: Reads<'_>) -> Result<()> {
        work(&mut Moment { kv: &self.kv, snapshot: self.db.snapshot() })
    }

    fn sync(&self) -> Result<()> {
        Ok(self.db.persist(PersistMode::SyncAll)?)
    }

    fn compact(&mut self) -> Result<()> {
        self.kv.rotate_memtable_and_wait()?;
        Ok(self.kv.major_compact()?)
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.sync()
    }
}

struct Latest<'a>(&'a Fjall);

impl Latest<'_> {
    fn moment(&self) -> Moment<'_> {
        Moment { kv: &self.0.kv, snapshot: self.0.db.snapshot() }
    }
}

impl Reader for Latest<'_> {
    fn get(&mut self, key: &Key, found: Found<'_>) -> Result<bool> {
        Ok(hand_over(self.0.kv.get(key.bytes())?, found))
    }

    fn scan(&mut self, scan: Scan<'_>, each: Each<'_>) -> Result<usize> {
        self.moment().scan(scan, each)
    }

    fn count(&mut self) -> Result<u64> {
        self.moment().count()
    }
}

impl Session for Latest<'_> {
    fn put(&mut self, key: &Key, value: &[u8; VALUE_BYTES]) -> Result<()> {
        self.0.kv.insert(key.bytes().as_slice(), value.as_slice())?;
        if self.0.level == Level::Sync {
            self.0.db.persist(PersistMode::SyncData)?;
        }
        Ok(())
    }

    fn write(&mut self, changes: &mut dyn Iterator<Item = Change>) -> Result<()> {
        let mode = match self.0.level {
            Level::Sync => Some(PersistMode::SyncData),
            Level::Os => Some(PersistMode::Buffer),
            Level::Memory => None,
        };
        let mut batch = self.0.db.batch().durability(mode);
        for Change { key, value } in changes {
            match value {
                Some(value) => {
                    batch.insert(&self.0.kv, key.bytes().as_slice(), value.as_slice());
                }
                None => batch.remove(&self.0.kv, key.bytes().as_slice()),
            }
        }
        Ok(batch.commit()?)
    }
}

struct Moment<'a> {
    kv: &'a Keyspace,
    snapshot: Snapshot,
}

impl Reader for Moment<'_> {
    fn get(&mut self, key: &Key, found: Found<'_>) -> Result<bool> {
        Ok(hand_over(self.snapshot.get(self.kv, key.bytes())?, found))
    }

    fn scan(&mut self, scan: Scan<'_>, each: Each<'_>) -> Result<usize> {
        let (start, end) = scan.range.flat();
        let items = match end {
            Some(end) => self.snapshot.range(self.kv, start..end),
            None => self.snapshot.range(self.kv, start..),
        };
        let mut seen = 0;
        let mut visit = |item: Guard| -> Result<()> {
            let (key, value) = item.into_inner()?;
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
        Ok(self.snapshot.len(self.kv)? as u64)
    }
}

fn hand_over(value: Option<Slice>, found: Found<'_>) -> bool {
    value.inspect(|value| found(value)).is_some()
}
