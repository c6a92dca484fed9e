//! Runs in storage: ended ones cost no memory, and every listing finds what it should, whatever
//! became of it since: in memory, frozen, in tables, merged, recovered.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that fails says so

mod common;

use common::{World, run};
use proptest::prelude::*;
use runstone::{
    Database, Error, NO_TAGS, Options, RunCursor, RunFilter, RunId, RunMetadataEntry, RunOptions,
    RunStatus, Snapshot, Timestamp,
};

/// A run of any number.
fn nth(n: u32) -> RunId {
    let mut bytes = [7; 16];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    RunId::from_bytes(bytes)
}

fn small() -> impl Fn(&mut Options) {
    |options| {
        options.memory_bytes_max = 1 << 20;
        options.flush_bytes = 64 << 10;
        options.table_bytes_max = 64 << 10;
        options.segment_bytes = 64 << 10;
        options.limits = common::small_limits();
    }
}

/// Flushes and merges what there is; snapshots may keep something left.
fn settle(db: &Database) {
    while db.maintain().expect("maintains").more {}
}

fn all(db: &Database, filter: RunFilter) -> Vec<RunMetadataEntry> {
    db.runs(filter).expect("lists").map(|entry| entry.expect("reads")).collect()
}

#[test]
fn ended_runs_cost_no_memory_and_an_opening_does_not_read_them() {
    let world = World::memory().with(small());
    let mut db = world.open();
    let live = nth(u32::MAX);
    db.begin_run(live, [("kind", "service")]).unwrap();
    let mut memory = Vec::new();
    for n in 0..8000 {
        db.begin_run(nth(n), [("kind", if n % 3 == 0 { "job" } else { "web" })]).unwrap();
        db.put(nth(n), "key", i64::from(n)).unwrap();
        db.end_run_with(nth(n), RunStatus::Failed).unwrap();
        if n % 100 == 99 {
            settle(&db);
        }
        if n % 2000 == 1999 {
            memory.push(db.run_tracker().memory_bytes());
            assert!(db.memory().runs < 128 << 10, "{:?}", db.memory());
        }
    }
    assert!(memory.windows(2).all(|pair| pair[0] == pair[1]), "{memory:?}");
    db.close().unwrap();
    drop(db);

    db = world.open();
    assert!(db.recovery_report().replayed_commits < 400);
    assert_eq!(db.run_tracker().count(), 8001);
    assert_eq!(db.run_tracker().count_of(RunStatus::Failed), 8000);
    assert_eq!(db.list_active_runs().unwrap(), [live]);
    assert!(db.memory().runs < 128 << 10);
    assert_eq!(db.get_run(nth(4711)).unwrap().unwrap().tags["kind"], "web");
    assert!(matches!(db.begin_run(nth(3), NO_TAGS), Err(Error::RunExists { .. })));
    assert!(matches!(db.put(nth(3), "k", 1), Err(Error::RunEnded { .. })));
    assert!(matches!(db.put(nth(9000), "k", 1), Err(Error::RunNotFound { .. })));
    let jobs = RunFilter { tag: Some(("kind".into(), "job".into())), ..RunFilter::default() };
    assert_eq!(all(&db, jobs).len(), 2667);
    db.drop_run(nth(4711)).unwrap();
    assert_eq!(db.get_run(nth(4711)).unwrap().unwrap().status, RunStatus::Dropped);
    assert!(matches!(db.get(nth(4711), "key"), Err(Error::RunDropped { .. })));
    assert_eq!(db.get(nth(4712), "key").unwrap(), Some(4712.into()));
}

/// A log that ends many runs and drops none is replayed within the memory that few of them take.
#[test]
fn an_opening_remembers_few_of_the_runs_that_its_log_has_ended() {
    let world = World::memory();
    let db = world.open();
    for n in 0..2000 {
        db.begin_run(nth(n), NO_TAGS).unwrap();
        db.end_run(nth(n)).unwrap();
    }
    db.close().unwrap();
    let db = world.open();
    assert_eq!(db.recovery_report().replayed_commits, 4000);
    let remembered = db.run_tracker().memory_bytes();
    assert!(remembered < 64 << 10, "{remembered} bytes");
    assert_eq!(db.get_run(nth(1999)).unwrap().unwrap().status, RunStatus::Completed);
}

#[test]
fn pages_of_a_listing_join_into_all_of_it_from_both_ends() {
    let world = World::memory().with(small());
    let db = world.open();
    for n in 0..100u32 {
        // Several begin at one time.
        world.clock.advance(u64::from(n % 3 == 0));
        db.begin_run(nth(n.reverse_bits()), NO_TAGS).unwrap();
    }
    settle(&db);
    let whole = all(&db, RunFilter::default());
    assert!(whole.windows(2).all(|pair| RunCursor::from(&pair[0]) < RunCursor::from(&pair[1])));
    assert_eq!(whole.len(), 100);
    let (mut forward, mut after) = (Vec::new(), None);
    loop {
        let filter = RunFilter { after, ..RunFilter::default() };
        let page: Vec<_> = db.runs(filter).unwrap().take(7).map(Result::unwrap).collect();
        let Some(last) = page.last() else { break };
        after = Some(RunCursor::from(last).to_string().parse().unwrap());
        forward.extend(page);
    }
    assert_eq!(forward, whole);
    let (mut backward, mut before) = (Vec::new(), None);
    loop {
        let filter = RunFilter { before, ..RunFilter::default() };
        let page: Vec<_> = db.runs(filter).unwrap().rev().take(7).map(Result::unwrap).collect();
        let Some(last) = page.last() else { break };
        before = Some(RunCursor::from(last));
        backward.extend(page);
    }
    backward.reverse();
    assert_eq!(backward, whole);
    let (one, other) = (RunCursor::from(&whole[60]), RunCursor::from(&whole[40]));
    let crossed = RunFilter { after: Some(one), before: Some(other), ..RunFilter::default() };
    assert_eq!(all(&db, crossed), []);
}

#[test]
fn a_snapshot_lists_the_runs_of_its_moment_whatever_becomes_of_them() {
    let world = World::memory().with(small());
    let db = world.open();
    let running = RunFilter { status: Some(RunStatus::Running), ..RunFilter::default() };
    db.begin_run(run(1), NO_TAGS).unwrap();
    db.begin_run_with(run(2), RunOptions::default().parent(run(1))).unwrap();
    db.end_run(run(1)).unwrap();
    let snapshot = db.snapshot().unwrap();
    let first: Vec<_> = snapshot.runs(running.clone()).unwrap().map(Result::unwrap).collect();
    let put = db.put(run(2), "k", 1).unwrap();
    db.end_run(run(2)).unwrap();
    db.drop_run(run(2)).unwrap();
    db.drop_run(run(1)).unwrap();
    db.begin_run(run(3), NO_TAGS).unwrap();
    for n in 0..2000 {
        db.put(run(3), format!("{n}"), vec![0; 100]).unwrap();
        settle(&db);
    }
    let shown = |snapshot: &Snapshot| {
        let listed = snapshot.runs(RunFilter::default()).unwrap().map(Result::unwrap);
        listed.map(|entry| (entry.run_id, entry.status)).collect::<Vec<_>>()
    };
    assert_eq!(shown(&snapshot), [(run(1), RunStatus::Completed), (run(2), RunStatus::Running)]);
    assert_eq!(snapshot.get_run(run(3)).unwrap(), None);
    let entry = snapshot.get_run(run(2)).unwrap().unwrap();
    assert!(entry.last_version == snapshot.version() && entry.last_version < put);
    assert_eq!((first.len(), &first[0].run_id), (1, &run(2)));
    let children = RunFilter { parent: Some(run(1)), ..RunFilter::default() };
    assert_eq!(all(&db, children)[0].status, RunStatus::Dropped);
    assert_eq!(all(&db, running)[0].run_id, run(3));
}

#[derive(Clone, Debug)]
enum Step {
    Begin { parent: Option<u8>, tag: u8 },
    End(u8),
    Drop(u8),
    Put(u8),
    Maintain,
    Reopen,
    Clock,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (prop::option::of(0..8u8), 0..3u8)
            .prop_map(|(parent, tag)| Step::Begin { parent, tag }),
        3 => (0..16u8).prop_map(Step::End),
        2 => (0..16u8).prop_map(Step::Drop),
        2 => (0..16u8).prop_map(Step::Put),
        2 => Just(Step::Maintain),
        1 => Just(Step::Reopen),
        1 => Just(Step::Clock),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The expected listing is every record that was ever returned, filtered by hand.
    #[test]
    fn every_listing_is_what_the_records_say(steps in prop::collection::vec(step(), 1..80)) {
        let world = World::memory().with(|options| {
            small()(options);
            options.flush_bytes = 1;
            options.steps.remembered_runs_max = 1;
        });
        let mut db = world.open();
        let mut begun = 0u8;
        for step in steps {
            match step {
                Step::Begin { parent, tag } => {
                    let mut options = RunOptions::default().tags([("tag", tag.to_string())]);
                    if let Some(parent) = parent.filter(|parent| *parent < begun) {
                        options = options.parent(run(parent));
                    }
                    db.begin_run_with(run(begun), options).unwrap();
                    begun += 1;
                }
                Step::End(n) => drop(db.end_run_with(run(n), RunStatus::Cancelled)),
                Step::Drop(n) => drop(db.drop_run(run(n))),
                Step::Put(n) => drop(db.put(run(n), "k", 1)),
                Step::Maintain => drop(db.maintain().unwrap()),
                Step::Clock => world.clock.advance(1),
                Step::Reopen => {
                    db.close().unwrap();
                    db = world.open();
                }
            }
        }
        let mut records: Vec<_> =
            (0..begun).map(|n| db.get_run(run(n)).unwrap().unwrap()).collect();
        records.sort_by_key(|entry| RunCursor::from(entry));
        let mut filters: Vec<_> = RunStatus::ALL
            .into_iter()
            .map(|status| RunFilter { status: Some(status), ..RunFilter::default() })
            .collect();
        for n in 0..8u8 {
            let tag = Some(("tag".to_owned(), n.to_string()));
            filters.push(RunFilter { tag, ..RunFilter::default() });
            filters.push(RunFilter { parent: Some(run(n)), ..RunFilter::default() });
            let created_from = records.get(usize::from(n)).map(|entry| entry.created_at);
            filters.push(RunFilter { created_from, ..RunFilter::default() });
        }
        for filter in filters {
            let passes = |entry: &&RunMetadataEntry| {
                filter.status.is_none_or(|status| entry.status == status)
                    && filter.tag.as_ref().is_none_or(|(name, v)| entry.tags.get(name) == Some(v))
                    && filter.parent.is_none_or(|parent| entry.parent_run_id == Some(parent))
                    && filter.created_from.is_none_or(|from: Timestamp| entry.created_at >= from)
            };
            let expected: Vec<_> = records.iter().filter(passes).cloned().collect();
            prop_assert_eq!(all(&db, filter.clone()), expected, "{:?}", filter);
        }
        for status in RunStatus::ALL {
            let count = records.iter().filter(|entry| entry.status == status).count() as u64;
            prop_assert_eq!(db.run_tracker().count_of(status), count);
        }
    }
}
