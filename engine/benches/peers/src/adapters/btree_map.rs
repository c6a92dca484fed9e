//! A limit of memory: the map of the standard library behind a lock. It keeps nothing on a disk.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::RwLock;

use anyhow::Result;

use crate::data::{Key, VALUE_BYTES, Value};
use crate::engine::{
    Change, Direction, Each, Engine, Found, Level, Reader, Reads, Scan, Session, Setting, Setup,
    not_there,
};
use crate::measure::unpoisoned;

#[derive(Default)]
struct Map(RwLock<BTreeMap<[u8; 32], Value>>);

pub fn open(setup: &Setup) -> Result<Box<dyn Engine>> {
    match setup.level {
        Level::Memory => Ok(Box::new(Map::default())),
        Level::Sync | Level::Os => not_there("it keeps nothing on a disk"),
    }
}

impl Engine for Map {
    fn settings(&self) -> Vec<Setting> {
        vec![("map", "RwLock<BTreeMap<[u8; 32], [u8; 100]>>".to_owned())]
    }

    fn session(&self) -> Result<Box<dyn Session + '_>> {
        Ok(Box::new(Latest(self)))
    }

    fn at_one_moment(&self, work: Reads<'_>) -> Result<()> {
        work(&mut Latest(self))
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }

    fn compact(&mut self) -> Result<()> {
        not_there("it keeps nothing on a disk")
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

struct Latest<'a>(&'a Map);

impl Reader for Latest<'_> {
    fn get(&mut self, key: &Key, found: Found<'_>) -> Result<bool> {
        let map = unpoisoned(self.0.0.read());
        let value = map.get(key.bytes());
        value.inspect(|value| found(&value[..]));
        Ok(value.is_some())
    }

    fn scan(&mut self, scan: Scan<'_>, each: Each<'_>) -> Result<usize> {
        let map = unpoisoned(self.0.0.read());
        let (start, end) = scan.range.flat();
        let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let items = map.range::<[u8], _>((Bound::Included(start.as_slice()), end));
        let mut seen = 0;
        let mut visit = |(key, value): (&[u8; 32], &Value)| {
            each(key, value);
            seen += 1;
        };
        match scan.direction {
            Direction::Forward => items.take(scan.limit).for_each(&mut visit),
            Direction::Backward => items.rev().take(scan.limit).for_each(&mut visit),
        }
        Ok(seen)
    }

    fn count(&mut self) -> Result<u64> {
        Ok(unpoisoned(self.0.0.read()).len() as u64)
    }
}

impl Session for Latest<'_> {
    fn put(&mut self, key: &Key, value: &[u8; VALUE_BYTES]) -> Result<()> {
        unpoisoned(self.0.0.write()).insert(*key.bytes(), *value);
        Ok(())
    }

    fn write(&mut self, changes: &mut dyn Iterator<Item = Change>) -> Result<()> {
        let mut map = unpoisoned(self.0.0.write());
        for Change { key, value } in changes {
            match value {
                Some(value) => map.insert(*key.bytes(), value),
                None => map.remove(key.bytes()),
            };
        }
        Ok(())
    }
}
