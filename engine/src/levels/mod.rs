//! Levels: tables that do not overlap, one level above the other.
//!
//! A flush puts a level on top. Compaction merges neighbouring levels into the lowest of them,
//! piece by piece in the order of keys: what it has passed stands in the lowest, and the tables
//! above count from there on ([`LiveTable::from`]). While that goes on, a level *joins* the one
//! below it.
//!
//! Invariants ([`Levels::check`]): of a key, what stands in a higher level is newer; the tables of
//! a level ascend, and none is empty; tiers ascend downwards; the lowest level joins none; no table
//! is in two places. What changes at once is judged by [`Levels::check_successor`].

pub(crate) mod cursor;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use crate::codec::Malformed;
use crate::error::Result;
use crate::manifest::{LevelEntry, TableEntry};
use crate::sync::Arc;
use crate::table::lookup::{Lent, Wanted};
use crate::table::properties::TableHeader;
use crate::table::reader::{Row, Table};
use crate::types::PhysicalKey;

/// A table, as far as it counts.
#[derive(Clone, Debug)]
pub(crate) struct LiveTable {
    pub(crate) table: Arc<Table>,
    /// Nothing below this key counts: it was merged into a lower level.
    pub(crate) from: Option<PhysicalKey>,
}

impl LiveTable {
    /// All of a table.
    pub(crate) fn whole(table: Arc<Table>) -> Self {
        LiveTable { table, from: None }
    }

    /// No key that counts is below this one.
    pub(crate) fn first(&self) -> &PhysicalKey {
        let first = &self.table.properties().first;
        self.from.as_ref().map_or(first, |from| from.max(first))
    }

    /// No key is above this one.
    pub(crate) fn last(&self) -> &PhysicalKey {
        &self.table.properties().last
    }

    /// The length of the file, also of what no longer counts.
    pub(crate) fn bytes(&self) -> u64 {
        self.table.told().0
    }

    pub(crate) fn number(&self) -> u64 {
        self.table.header().number
    }

    /// As the manifest names it.
    fn entry(&self) -> TableEntry {
        let TableHeader { salt, number, epoch, .. } = *self.table.header();
        let (file_bytes, checksum) = self.table.told();
        let from = self.from.clone().filter(|_| !planted!(BoundNotInManifest));
        TableEntry { number, salt, epoch, file_bytes, checksum, from }
    }

    /// The same, but what is below this key counts no longer.
    pub(crate) fn raised_to(&self, key: &PhysicalKey) -> Self {
        let from = Some(self.first().max(key).clone());
        LiveTable { table: Arc::clone(&self.table), from }
    }
}

/// Tables that do not overlap, in the order of their keys.
#[derive(Clone, Debug, Default)]
pub(crate) struct Level {
    /// How often what is in it was merged.
    pub(crate) tier: u32,
    /// It is being merged into the level below.
    pub(crate) joins: bool,
    pub(crate) tables: Vec<LiveTable>,
}

impl Level {
    /// A level on top.
    pub(crate) fn flushed(tables: Vec<LiveTable>) -> Self {
        Level { tier: 0, joins: false, tables }
    }

    /// The length of all its files.
    pub(crate) fn bytes(&self) -> u64 {
        self.tables.iter().map(LiveTable::bytes).sum()
    }

    /// How many tables have nothing at or behind this key.
    fn ending_before(&self, key: &PhysicalKey) -> usize {
        self.tables.partition_point(|table| table.last() < key)
    }

    /// As [`Levels::look`], in this level.
    fn look<T>(
        &self,
        wanted: Wanted<'_>,
        removed: u64,
        look: &impl Fn(Lent<'_>) -> std::result::Result<T, Malformed>,
    ) -> Result<Option<T>> {
        match self.tables.get(self.ending_before(wanted.key)) {
            // Nothing in it counts.
            Some(live) if live.table.properties().versions.1 < removed => Ok(None),
            Some(live) if wanted.key >= live.first() || planted!(BoundForgottenByGet) => {
                live.table.look(wanted, look)
            }
            _ => Ok(None),
        }
    }

    /// Whether it may hold a key between these bounds.
    pub(crate) fn overlaps(&self, from: Bound<&PhysicalKey>, to: Bound<&PhysicalKey>) -> bool {
        let nth = match from {
            Bound::Unbounded => 0,
            Bound::Included(from) | Bound::Excluded(from) => self.ending_before(from),
        };
        let Some(live) = self.tables.get(nth) else { return false };
        match to {
            Bound::Unbounded => true,
            Bound::Included(to) => to >= live.first(),
            Bound::Excluded(to) => to > live.first(),
        }
    }
}

/// All levels, the highest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Levels(pub(crate) Vec<Arc<Level>>);

impl Levels {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All tables, from the highest level down.
    pub(crate) fn tables(&self) -> impl Iterator<Item = &LiveTable> {
        self.0.iter().flat_map(|level| &level.tables)
    }

    /// The same, with a level on top.
    pub(crate) fn with_flushed(&self, tables: Vec<LiveTable>) -> Self {
        let flushed = (!tables.is_empty()).then(|| Arc::new(Level::flushed(tables)));
        Levels(flushed.into_iter().chain(self.0.iter().cloned()).collect())
    }

    /// As the manifest names them.
    pub(crate) fn entries(&self) -> Vec<LevelEntry> {
        let tables = |level: &Level| level.tables.iter().map(LiveTable::entry).collect();
        let entry = |level: &Arc<Level>| {
            let Level { tier, joins, .. } = **level;
            LevelEntry { tier, joins, tables: tables(level) }
        };
        self.0.iter().map(entry).collect()
    }

    /// Looks at the newest version of a key that is at most the one that is wanted. What is older
    /// than `removed` does not count, and is not looked for.
    ///
    /// Errors: those of [`Table::look`].
    pub(crate) fn look<T>(
        &self,
        wanted: Wanted<'_>,
        removed: u64,
        look: &impl Fn(Lent<'_>) -> std::result::Result<T, Malformed>,
    ) -> Result<Option<T>> {
        for level in &self.0 {
            let looked = level.look(wanted, removed, look)?;
            if looked.is_some() {
                return Ok(looked);
            }
        }
        Ok(None)
    }

    /// The same version, with bytes of its own.
    ///
    /// Errors: as [`Levels::look`].
    pub(crate) fn get(&self, key: &PhysicalKey, version: u64, removed: u64) -> Result<Option<Row>> {
        self.look(Wanted { key, version, value: true }, removed, &|lent| lent.into_row())
    }

    /// What holds of levels at any time.
    ///
    /// Error: the first that does not.
    pub(crate) fn check(&self) -> std::result::Result<(), Malformed> {
        let bad = |expected, found: String| Err(Malformed::new(expected, found));
        let mut numbers = BTreeSet::new();
        for (nth, level) in self.0.iter().enumerate() {
            if level.tables.is_empty() {
                return bad("levels that hold tables", format!("level {nth} holds none"));
            }
            let mut last: Option<&PhysicalKey> = None;
            for live in &level.tables {
                let number = live.number();
                if last.is_some_and(|last| last >= live.first()) || live.first() > live.last() {
                    return bad(
                        "tables of a level one behind the other",
                        format!("table {number}"),
                    );
                }
                if !numbers.insert(number) {
                    return bad("each table in one place", format!("table {number} in two"));
                }
                last = Some(live.last());
            }
        }
        let descends = self.0.windows(2).any(|pair| match pair {
            [a, b] => a.tier > b.tier,
            _ => false,
        });
        if descends {
            return bad("tiers that ascend downwards", "others".to_owned());
        }
        match self.0.last() {
            Some(lowest) if lowest.joins => {
                bad("a lowest level that joins none", "one that does".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// What holds of levels that follow others, beside [`Levels::check`]: what a table no longer
    /// counts for never comes back.
    ///
    /// Error: the first that does not.
    pub(crate) fn check_successor(&self, next: &Levels) -> std::result::Result<(), Malformed> {
        next.check()?;
        let known: BTreeMap<_, _> = self.tables().map(|live| (live.number(), live)).collect();
        let falls = |live: &&LiveTable| {
            known.get(&live.number()).is_some_and(|before| before.first() > live.first())
        };
        match next.tables().find(falls) {
            None => Ok(()),
            Some(live) => {
                let found = format!("another of table {}", live.number());
                Err(Malformed::new("bounds that only rise", found))
            }
        }
    }
}
