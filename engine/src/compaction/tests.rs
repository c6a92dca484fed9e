//! Whatever levels there are, and in whatever pieces they are merged: at each read point that is
//! pinned, or comes later, every key reads as before, and merging ends.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use runstone_vfs::{MemVfs, Vfs};

use super::choice::{Job, Rules, choose};
use super::edit;
use super::merge::{Around, Floor, Merge};
use super::removed::{Removed, is_spent};
use super::unit::{self, Unit};
use crate::cache::Cache;
use crate::clock::Entropy;
use crate::codec::change::NEVER;
use crate::levels::{Level, Levels, LiveTable};
use crate::options::Compression;
use crate::place::Place;
use crate::removals::{Removal, RemovalId, Removals};
use crate::series::{Series, TablePlan};
use crate::store::pins::{Pins, ReadPoint};
use crate::sync::Arc;
use crate::table::block::Stamp;
use crate::table::writer::Shape;
use crate::types::{PhysicalKey, RunId, TypeTag};

#[derive(Debug)]
struct Counting(AtomicU64);

impl Entropy for Counting {
    fn bytes16(&self) -> std::io::Result<[u8; 16]> {
        Ok(u128::from(self.0.fetch_add(1, Ordering::Relaxed)).to_le_bytes())
    }
}

fn place() -> Place {
    let dir = MemVfs::new().open_dir(Path::new("/")).unwrap();
    let lock = dir.create(Path::new("lock")).unwrap().id().unwrap();
    let entropy = Arc::new(Counting(AtomicU64::new(1)));
    Place::new(dir, Path::new("/db"), lock, entropy, Cache::new(2000, 0), 1)
}

const PLAN: TablePlan = TablePlan {
    store_id: [5; 16],
    epoch: 1,
    shape: Shape {
        block_bytes: 100,
        extent_bytes_min: 60,
        step_bytes: 100,
        compression: Compression::Lz4,
    },
    table_bytes_max: 700,
};

fn key(n: u8) -> PhysicalKey {
    PhysicalKey::new(RunId::from_bytes([n % 3; 16]), TypeTag::KV, &[n / 3, n])
}

/// A change of a key: when it expires, and how long its value is, if it has one. Or, from
/// [`REMOVAL`] on, a removal of the keys behind one: as many as the time to live says.
type Change = (u8, Option<u64>, Option<usize>);

const REMOVAL: u8 = 100;

/// What a reader sees of a key: nothing, or a version.
fn read(levels: &Levels, removals: &Removals, n: u8, point: ReadPoint) -> Option<u64> {
    let removed = removals.newest(&key(n), point.version);
    let row = levels.get(&key(n), point.version, removed).unwrap()?;
    if row.stamp.version < removed {
        return None;
    }
    (row.value.is_some() && point.now_ms < row.stamp.expiry_ms).then_some(row.stamp.version)
}

/// The time at which a version was written.
const STEP_MS: u64 = 10;

/// Levels of these changes, the first at the bottom; each change has the next version. What is
/// removed is left out by nobody.
fn build(place: &Place, flushes: &[Vec<Change>], number: &AtomicU64) -> (Levels, Removals, u64) {
    let (mut levels, mut removals) = (Levels::default(), Removals::default());
    let mut version = 0;
    for flush in flushes {
        let mut entries = BTreeMap::new();
        for (n, ttl_ms, length) in flush {
            version += 1;
            if let Some(n) = n.checked_sub(REMOVAL) {
                let last = n.saturating_add(u8::try_from(ttl_ms.unwrap_or(0) / 20).unwrap());
                let mut keys: Vec<_> = (n..=last).map(key).collect();
                keys.sort();
                let (from, to) = (keys.remove(0), keys.pop().unwrap_or_else(|| key(n).successor()));
                let id = RemovalId { version, nth: 0 };
                removals.insert(Removal { id, time_ms: version, from, to }, |_, _| true);
                continue;
            }
            let time_ms = version * STEP_MS;
            let expiry_ms = ttl_ms.map_or(NEVER, |ttl_ms| time_ms + ttl_ms);
            let expiry_ms = if length.is_some() { expiry_ms } else { NEVER };
            let order = (key(*n), u64::MAX - version);
            entries.insert(order, (Stamp { version, time_ms, expiry_ms }, length));
        }
        if entries.is_empty() {
            continue;
        }
        let mut series = Series::new(PLAN, 0);
        let numbers = || number.fetch_add(1, Ordering::Relaxed);
        for ((key, _), (stamp, length)) in entries {
            let value = length.map(|length| vec![7; length]);
            let value = value.as_deref().map(|bytes| (6, bytes));
            series.add(place, &numbers, &key, stamp, value).unwrap();
        }
        let made = series.finish(place).unwrap();
        levels = levels.with_flushed(made.into_iter().map(LiveTable::whole).collect());
        levels.check().unwrap();
    }
    (levels, removals, version)
}

fn entries(levels: &Levels) -> usize {
    levels.tables().map(|live| usize::try_from(live.table.properties().entries).unwrap()).sum()
}

/// Merges until nothing is left to do; `looks` is called behind each edit.
fn settle(
    place: &Place,
    mut levels: Levels,
    (rules, floor, pins): (Rules, &Floor, &Pins),
    number: &AtomicU64,
    step_bytes: usize,
    mut looks: impl FnMut(&Levels),
) -> Levels {
    let numbers = || number.fetch_add(1, Ordering::Relaxed);
    for _ in 0..1000 {
        let removed = Removed::look(&levels, &floor.removals, floor.version, pins).unwrap();
        let rules = Rules { removed, ..rules.clone() };
        let Some(job) = choose(&levels, &rules) else { return levels };
        let plan = TablePlan { table_bytes_max: rules.table_bytes_max, ..PLAN };
        let next = match unit::plan(&levels, &job, &rules) {
            Unit::Nothing => panic!("a job without work: {job:?} {levels:?}"),
            Unit::Move { level, tables } => edit::moved(&levels, &job, level, tables),
            Unit::Drop { numbers } => edit::dropped(&levels, &job, &numbers),
            Unit::Merge { from, is_one } => {
                let mut merge =
                    Merge::new(&levels, job, from.clone(), floor.clone(), plan).unwrap();
                merge = merge.into_one(is_one);
                let around = Around { place, numbers: &numbers, pins };
                while !merge.step(step_bytes, around).unwrap() {}
                let (made, upto) = merge.finish(place).unwrap();
                let made = made.into_iter().map(LiveTable::whole).collect();
                edit::merged(&levels, &job, &from, upto.as_ref(), made)
            }
        };
        levels.check_successor(&next).unwrap();
        looks(&next);
        levels = next;
    }
    panic!("merging does not end: {levels:?}");
}

fn change() -> impl Strategy<Value = Change> {
    let ttl = prop::option::weighted(0.2, 1..200u64);
    let key = prop_oneof![9 => 0..24u8, 1 => REMOVAL..REMOVAL + 24];
    (key, ttl, prop::option::weighted(0.7, prop::sample::select(vec![1usize, 20, 90])))
}

/// A level of the tables that these groups of keys make, the least first.
fn level(place: &Place, number: &AtomicU64, tables: &[&[u8]]) -> Vec<LiveTable> {
    let table = |keys: &&[u8]| {
        let mut changes: Vec<Change> = keys.iter().map(|n| (*n, None, Some(90))).collect();
        changes.sort_by_key(|(n, ..)| key(*n));
        let (levels, ..) = build(place, &[changes], number);
        levels.tables().cloned().collect::<Vec<_>>()
    };
    tables.iter().flat_map(table).collect()
}

fn stacked(levels: Vec<(u32, bool, Vec<LiveTable>)>) -> Levels {
    let level = |(tier, joins, tables)| Arc::new(Level { tier, joins, tables });
    Levels(levels.into_iter().map(level).collect())
}

/// Found by a seed: two tables moved at once, and one of the target stood between them.
#[test]
fn tables_that_move_stand_on_either_side_of_one_of_the_target() {
    let (place, number) = (place(), AtomicU64::new(1));
    // Keys of one run, far apart.
    let above = level(&place, &number, &[&[0], &[18]]);
    let below = level(&place, &number, &[&[9]]);
    let levels = stacked(vec![(0, true, above), (1, false, below)]);
    levels.check().unwrap();
    let next = edit::moved(&levels, &Job { highest: 0, target: 1, tier: 1 }, 0, 2);
    levels.check_successor(&next).unwrap();
    assert_eq!((next.0.len(), next.tables().count()), (1, 3));
}

/// Found by a seed: a tier became one of the next above levels of its own that were being merged,
/// and tiers no longer ascended.
#[test]
fn a_full_tier_waits_while_levels_of_the_same_tier_join_below_it() {
    let (place, number) = (place(), AtomicU64::new(1));
    let one = |tier, joins| (tier, joins, level(&place, &number, &[&[3]]));
    let levels = stacked(vec![one(0, false), one(0, false), one(0, true), one(1, false)]);
    levels.check().unwrap();
    let rules = Rules {
        levels_per_tier: 2,
        is_idle: false,
        floor_ms: 0,
        oldest_pins: None,
        removed: Removed::default(),
        table_bytes_max: PLAN.table_bytes_max,
    };
    assert_eq!(choose(&levels, &rules), Some(Job { highest: 2, target: 3, tier: 1 }));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn merging_changes_no_answer_at_a_pin_or_later_and_ends(
        flushes in prop::collection::vec(prop::collection::vec(change(), 1..30), 1..12),
        pinned in prop::collection::vec((0..300u64, 0..50u64), 0..3),
        levels_per_tier in 2..5usize,
        floor in 0..40u64,
        is_idle: bool,
        table_bytes_max in prop::sample::select(vec![PLAN.table_bytes_max, 3000, 1 << 20]),
        step_bytes in prop::sample::select(vec![1usize, 100, 1 << 20]),
    ) {
        let (place, number) = (place(), AtomicU64::new(1));
        let (levels, removals, version) = build(&place, &flushes, &number);
        let last_ms = version * STEP_MS;
        // Times have not fallen since, and the present is behind the floor.
        let point = |version: u64, later: u64| {
            ReadPoint { version, now_ms: version * STEP_MS + later }
        };
        let pins = Pins::default();
        let points: Vec<_> =
            pinned.iter().map(|(at, later)| point(at % (version + 1), *later)).collect();
        for point in &points {
            pins.add(*point, 9).unwrap();
        }
        let floor_ms = (last_ms + 100).saturating_sub(floor * 10);
        let (oldest_pins, removed) = (pins.oldest(), Removed::default());
        let rules =
            Rules { levels_per_tier, is_idle, floor_ms, oldest_pins, removed, table_bytes_max };
        // What is removed behind the floor a crash may take back.
        let floor_version = version.saturating_sub(floor);
        let sees = |old: u64, new: u64| pins.see(old, new);
        let mut known = Removals::default();
        removals.iter().for_each(|removal| known.insert(removal.clone(), sees));
        let durable = Arc::new(known).upto(floor_version, sees);
        let floor = Floor { version: floor_version, time_ms: floor_ms, removals: durable };
        let later = |n: u64| ReadPoint { version, now_ms: floor_ms.max(last_ms) + n * 30 };
        let now = (0..4).map(later);
        let points: Vec<_> = points.into_iter().chain(now).collect();
        let answers = |levels: &Levels| -> Vec<_> {
            let keys = (0..24).flat_map(|n| points.iter().map(move |point| (n, *point)));
            keys.map(|(n, point)| read(levels, &removals, n, point)).collect()
        };
        let before = answers(&levels);
        // What a crash leaves of removals, and what is read behind it.
        let mut crashed = Removals::default();
        let durable = removals.iter().filter(|r| r.id.version <= floor_version);
        durable.for_each(|removal| crashed.insert(removal.clone(), |_, _| true));
        let behind = |levels: &Levels, removals: &Removals| -> Vec<_> {
            let keys = (0..24).flat_map(|n| (0..4).map(move |nth| (n, later(nth))));
            keys.map(|(n, point)| read(levels, removals, n, point)).collect()
        };
        let behind_a_crash = behind(&levels, &crashed);
        let rules = (rules, &floor, &pins);
        let settled = settle(&place, levels, rules, &number, step_bytes, |levels| {
            assert_eq!(answers(levels), before);
            // What is spent may be forgotten, and changes no answer either.
            let mut left = removals.clone();
            let spent = crashed.iter().filter(|r| is_spent(r, levels)).map(|r| r.id);
            let spent: Vec<_> = spent.collect();
            left.forget(&spent, |_, _| true);
            let keys = (0..24).flat_map(|n| points.iter().map(move |point| (n, *point)));
            let after: Vec<_> = keys.map(|(n, point)| read(levels, &left, n, point)).collect();
            assert_eq!(after, before, "without {spent:?}");
            let mut left = crashed.clone();
            left.forget(&spent, |_, _| true);
            assert_eq!(behind(levels, &left), behind_a_crash, "a crash, without {spent:?}");
        });
        for live in settled.tables() {
            live.table.verify(|violation| panic!("{violation}")).unwrap();
        }
        let tiers: BTreeMap<_, usize> = settled.0.iter().fold(BTreeMap::new(), |mut tiers, level| {
            *tiers.entry(level.tier).or_default() += 1;
            tiers
        });
        prop_assert!(tiers.values().all(|levels| *levels < levels_per_tier));
        if is_idle && pinned.is_empty() {
            // What nobody can see is gone, but for less than each table is cleaned for.
            let is_key = |n: &u8| *n < REMOVAL;
            let keys: BTreeSet<_> =
                flushes.iter().flatten().map(|(n, ..)| *n).filter(is_key).collect();
            prop_assert!(entries(&settled) <= 2 * keys.len(), "{settled:?}");
        }
    }
}
