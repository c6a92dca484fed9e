//! redb: one file, a copy-on-write tree.

use anyhow::Result;
use redb::{
    Builder, Database, Durability, ReadOnlyTable, ReadableDatabase, ReadableTableMetadata,
    TableDefinition,
};

use crate::data::{Key, VALUE_BYTES};
use crate::engine::{
    Change, Direction, Each, Engine, Found, Level, Reader, Reads, Scan, Session, Setting, Setup,
    not_there,
};

const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("kv");

struct Redb {
    db: Database,
    durability: Durability,
    settings: Vec<Setting>,
}

pub fn open(setup: &Setup) -> Result<Box<dyn Engine>> {
    let (durability, level) = match setup.level {
        Level::Sync => (Durability::Immediate, "Immediate"),
        Level::Os => {
            return not_there(
                "Durability::None keeps a commit in memory, Immediate syncs; nothing is between",
            );
        }
        Level::Memory => (Durability::None, "None"),
    };
    let cache_bytes = usize::try_from(setup.cache_bytes)?;
    let db = Builder::new().set_cache_size(cache_bytes).create(setup.dir.join("redb"))?;
    let write = db.begin_write()?;
    write.open_table(TABLE)?;
    write.commit()?;
    let settings =
        vec![("durability", level.to_owned()), ("cache_size", setup.cache_bytes.to_string())];
    Ok(Box::new(Redb { db, durability, settings }))
}

impl Engine for Redb {
    fn settings(&self) -> Vec<Setting> {
        self.settings.clone()
    }

    fn session(&self) -> Result<Box<dyn Session + '_>> {
        Ok(Box::new(Latest(self)))
    }

    fn at_one_moment(&self, work: Reads<'_>) -> Result<()> {
        work(&mut Moment(self.table()?))
    }

    fn sync(&self) -> Result<()> {
        // A commit that is durable makes those before it durable.
        Ok(self.db.begin_write()?.commit()?)
    }

    fn compact(&mut self) -> Result<()> {
        self.db.compact()?;
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.db.close()?)
    }
}

type Table = ReadOnlyTable<&'static [u8], &'static [u8]>;

impl Redb {
    fn table(&self) -> Result<Table> {
        Ok(self.db.begin_read()?.open_table(TABLE)?)
    }
}

struct Latest<'a>(&'a Redb);

impl Reader for Latest<'_> {
    fn get(&mut self, key: &Key, found: Found<'_>) -> Result<bool> {
        Moment(self.0.table()?).get(key, found)
    }

    fn scan(&mut self, scan: Scan<'_>, each: Each<'_>) -> Result<usize> {
        Moment(self.0.table()?).scan(scan, each)
    }

    fn count(&mut self) -> Result<u64> {
        Moment(self.0.table()?).count()
    }
}

impl Session for Latest<'_> {
    fn put(&mut self, key: &Key, value: &[u8; VALUE_BYTES]) -> Result<()> {
        self.write(&mut std::iter::once(Change { key: *key, value: Some(*value) }))
    }

    fn write(&mut self, changes: &mut dyn Iterator<Item = Change>) -> Result<()> {
        let mut write = self.0.db.begin_write()?;
        write.set_durability(self.0.durability)?;
        let mut table = write.open_table(TABLE)?;
        for Change { key, value } in changes {
            match value {
                Some(value) => table.insert(key.bytes().as_slice(), value.as_slice())?,
                None => table.remove(key.bytes().as_slice())?,
            };
        }
        drop(table);
        Ok(write.commit()?)
    }
}

struct Moment(Table);

impl Reader for Moment {
    fn get(&mut self, key: &Key, found: Found<'_>) -> Result<bool> {
        let value = self.0.get(key.bytes().as_slice())?;
        if let Some(value) = &value {
            found(value.value());
        }
        Ok(value.is_some())
    }

    fn scan(&mut self, scan: Scan<'_>, each: Each<'_>) -> Result<usize> {
        let (start, end) = scan.range.flat();
        let mut items = match &end {
            Some(end) => self.0.range::<&[u8]>(start.as_slice()..end.as_slice())?,
            None => self.0.range::<&[u8]>(start.as_slice()..)?,
        };
        let mut seen = 0;
        while seen < scan.limit {
            let item = match scan.direction {
                Direction::Forward => items.next(),
                Direction::Backward => items.next_back(),
            };
            let Some(item) = item else { break };
            let (key, value) = item?;
            each(key.value(), value.value());
            seen += 1;
        }
        Ok(seen)
    }

    fn count(&mut self) -> Result<u64> {
        Ok(self.0.len()?)
    }
}
