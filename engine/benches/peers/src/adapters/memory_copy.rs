//! A limit of memory: keys and values are copied to the end of a vector, and walked from there.
//! No engine can be faster, and none would be of use that did only this.

use std::sync::RwLock;

use anyhow::Result;

use crate::data::{Key, VALUE_BYTES, Value};
use crate::engine::{
    Change, Direction, Each, Engine, Found, Level, Range, Reader, Reads, Scan, Session, Setting,
    Setup, not_there,
};
use crate::measure::unpoisoned;

#[derive(Default)]
struct Copies(RwLock<Vec<([u8; 32], Value)>>);

pub fn open(setup: &Setup) -> Result<Box<dyn Engine>> {
    match setup.level {
        Level::Memory => Ok(Box::new(Copies::default())),
        Level::Sync | Level::Os => not_there("it keeps nothing on a disk"),
    }
}

impl Engine for Copies {
    fn settings(&self) -> Vec<Setting> {
        vec![("copies", "RwLock<Vec<([u8; 32], [u8; 100])>>, unordered".to_owned())]
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

struct Latest<'a>(&'a Copies);

impl Reader for Latest<'_> {
    fn get(&mut self, _: &Key, _: Found<'_>) -> Result<bool> {
        not_there("it finds nothing")
    }

    fn scan(&mut self, scan: Scan<'_>, each: Each<'_>) -> Result<usize> {
        let Range::All = scan.range else { return not_there("it finds nothing") };
        let copies = unpoisoned(self.0.0.read());
        let visit = |(key, value): &([u8; 32], Value)| each(key, value);
        match scan.direction {
            Direction::Forward => copies.iter().take(scan.limit).for_each(visit),
            Direction::Backward => copies.iter().rev().take(scan.limit).for_each(visit),
        }
        Ok(copies.len().min(scan.limit))
    }
}

impl Session for Latest<'_> {
    fn put(&mut self, key: &Key, value: &[u8; VALUE_BYTES]) -> Result<()> {
        unpoisoned(self.0.0.write()).push((*key.bytes(), *value));
        Ok(())
    }

    fn write(&mut self, changes: &mut dyn Iterator<Item = Change>) -> Result<()> {
        let mut copies = unpoisoned(self.0.0.write());
        for Change { key, value } in changes {
            let Some(value) = value else { return not_there("it finds nothing") };
            copies.push((*key.bytes(), value));
        }
        Ok(())
    }
}
