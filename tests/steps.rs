//! How much is done at once changes what it costs, and no answer: each of `Steps`, at its
//! smallest, beside the defaults.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests

mod common;

use std::time::Duration;

use common::{DIR, Image, MODES, NO_TAGS, Pairs, World, image, memory_of, run, state};
use runstone::vfs::MemVfs;
use runstone::{Database, MaintainReport, RunFilter, RunId, RunStatus, Scan, Steps};

/// Settings that end a step at every turn, and some that never do.
fn all_steps() -> Vec<Steps> {
    let whole = Steps::default();
    let scan = |entries: usize, bytes: usize, visits: usize| Steps {
        scan_entries_first: entries.div_ceil(2),
        scan_entries_max: entries,
        scan_bytes_max: bytes,
        scan_visits_max: visits,
        ..whole
    };
    let all = usize::MAX;
    vec![
        scan(1, all, all),
        scan(2, all, all),
        scan(5, all, all),
        scan(all, 1, all),
        scan(all, 100, all),
        scan(all, all, 1),
        scan(all, all, 2),
        scan(all, all, 7),
        scan(3, 10, 5),
        scan(all, all, all),
        Steps { sort_keys_max: 1, merge_keys_max: 1, ..whole },
        Steps { sort_keys_max: 7, merge_keys_max: 20, ..whole },
        Steps { sort_keys_max: all, merge_keys_max: all, ..whole },
        Steps { remembered_runs_max: 0, ..whole },
        Steps { remembered_runs_max: 1, ..whole },
        Steps { remembered_runs_max: 1024, ..whole },
        Steps { maintain_keys_max: 1, ..whole },
        Steps { read_bytes: 1, ..whole },
        Steps { read_bytes: 64, rewrite_bytes: 1, ..whole },
        Steps { read_bytes: 200, rewrite_bytes: 300, ..whole },
        Steps { read_bytes: 1 << 30, rewrite_bytes: 1 << 30, ..whole },
    ]
}

fn key(n: u16) -> Vec<u8> {
    n.to_be_bytes().to_vec()
}

/// Runs with and without keys; in one of them long stretches of keys that cannot be seen: deleted,
/// expired, or written after the snapshot that reads them.
fn fill(world: &World, db: &Database) -> runstone::Snapshot {
    for n in 1..=9 {
        db.begin_run(run(n), [("odd", if n % 2 == 1 { "yes" } else { "no" })]).unwrap();
    }
    for n in 0..300 {
        let ttl = (100..180).contains(&n).then(|| Duration::from_millis(5));
        db.put_with_ttl(run(1), key(n), vec![7; usize::from(n % 50)], ttl).unwrap();
    }
    db.put(run(2), "alone", 1).unwrap();
    world.clock.advance(5);
    let then = db.snapshot().unwrap();
    for n in (20..90).chain(200..299) {
        db.delete(run(1), key(n)).unwrap();
    }
    for n in 300..400 {
        db.put(run(1), key(n), i64::from(n)).unwrap();
    }
    db.put(run(1), key(90), "newer").unwrap();
    db.begin_run(run(10), NO_TAGS).unwrap();
    for n in [1, 4, 7, 8] {
        db.end_run_with(run(n), RunStatus::Failed).unwrap();
    }
    then
}

/// What a scan gives in its order, in the other, and from both ends by these bits.
fn walks(mut scan: impl FnMut() -> Scan) -> Vec<Pairs> {
    let forward: Pairs = scan().map(Result::unwrap).collect();
    let mut backward: Pairs = scan().rev().map(Result::unwrap).collect();
    backward.reverse();
    assert_eq!(forward, backward);
    for bits in [0x5555_5555_u32, 0x00ff_f0f1, 0xfffe_0000, 1] {
        let (mut both, mut front, mut back, mut turn) = (scan(), Pairs::new(), Pairs::new(), 0);
        loop {
            let is_back = bits >> (turn % 32) & 1 == 1;
            turn += 1;
            match if is_back { both.next_back() } else { both.next() } {
                None => break,
                Some(item) if is_back => back.push(item.unwrap()),
                Some(item) => front.push(item.unwrap()),
            }
        }
        assert!(both.next().is_none() && both.next_back().is_none(), "the ends have met");
        front.extend(back.into_iter().rev());
        assert_eq!(front, forward);
    }
    vec![forward]
}

/// Every listing of the present and of the snapshot.
fn listings(db: &Database, then: &runstone::Snapshot) -> Vec<Pairs> {
    let mut all = Vec::new();
    let bounds = [(0, 400), (20, 90), (19, 90), (20, 91), (89, 181), (150, 150), (298, 300)];
    for (from, to) in bounds {
        let range = key(from)..key(to);
        all.extend(walks(|| db.scan(run(1), range.clone()).unwrap()));
        all.extend(walks(|| then.scan(run(1), range.clone()).unwrap()));
    }
    for n in 1..=3 {
        all.extend(walks(|| db.scan_prefix(run(n), "").unwrap()));
        all.extend(walks(|| then.scan_prefix(run(n), [1]).unwrap()));
    }
    all
}

#[test]
fn a_listing_in_either_direction_does_not_depend_on_its_steps_whatever_is_invisible_between() {
    let listed = |steps: Steps| {
        let world = World::memory().with(|options| options.steps = steps);
        let db = world.open();
        let then = fill(&world, &db);
        (listings(&db, &then), state(&db))
    };
    let expected = listed(Steps::default());
    assert_eq!(expected.0[0].len(), 300 - 80 - 70 - 99 + 100);
    for steps in all_steps() {
        assert!(listed(steps) == expected, "{steps:?}");
    }
}

#[test]
fn runs_are_listed_and_filtered_as_by_one_step() {
    let filters = || {
        let statuses = [None, Some(RunStatus::Failed), Some(RunStatus::Cancelled)];
        let tags = [None, Some(("odd".to_owned(), "yes".to_owned()))];
        statuses.into_iter().flat_map(move |status| {
            tags.clone().map(|tag| RunFilter { status, tag, ..RunFilter::default() })
        })
    };
    let listed = |steps: Steps| -> Vec<Vec<RunId>> {
        let world = World::memory().with(|options| options.steps = steps);
        let db = world.open();
        let _then = fill(&world, &db);
        filters()
            .map(|f| db.runs(f).unwrap().map(|entry| entry.unwrap().run_id).collect())
            .collect()
    };
    let expected = listed(Steps::default());
    assert_eq!(expected.iter().map(Vec::len).collect::<Vec<_>>(), [10, 5, 4, 2, 0, 0]);
    for steps in all_steps() {
        assert_eq!(listed(steps), expected, "{steps:?}");
    }
}

/// The files that an opening leaves when the process is killed at once, and what it showed.
fn opened(files: &Image, steps: Steps, mode: runstone::DurabilityMode) -> (String, Image) {
    let world = World::new(memory_of(files)).mode(mode).with(|options| options.steps = steps);
    let db = world.open();
    let shown = format!("{:?}\n{:?}", db.recovery_report(), state(&db));
    (shown, image(&*world.vfs, DIR))
}

/// Records larger than what is read at once, and a tail larger than what is written at once; and
/// the same log torn at several places.
#[test]
fn a_recovery_shows_and_writes_the_same_whatever_it_reads_and_writes_at_once() {
    for mode in MODES {
        let world = World::new(MemVfs::new()).mode(mode).with(|options| {
            options.segment_bytes = 40_000;
            options.log_buffer_bytes_max = 0;
        });
        let db = world.open();
        let then = fill(&world, &db);
        for n in 0..4 {
            db.put(run(2), key(n), vec![n.to_be_bytes()[1]; 9_000]).unwrap();
        }
        let whole = image(&*world.vfs, DIR);
        drop(then);
        let (last, bytes) = whole.iter().rfind(|(name, _)| name.ends_with(".log")).unwrap();
        let mut images = vec![whole.clone()];
        for torn in [1, 40, 3_000, 8_000] {
            let mut image = whole.clone();
            image.insert(last.clone(), bytes[..bytes.len() - torn].to_vec());
            images.push(image.clone());
            image.get_mut(last).unwrap().resize(bytes.len() + 700, 0);
            images.push(image);
        }
        let mut tails = 0;
        for (i, files) in images.iter().enumerate() {
            let expected = opened(files, Steps::default(), mode);
            tails += usize::from(!expected.0.contains("unproven_commits: 0"));
            for steps in all_steps() {
                assert!(opened(files, steps, mode) == expected, "image {i}, {mode:?}, {steps:?}");
            }
        }
        assert!(tails > 0, "{mode:?}: no tail was written again");
    }
}

/// Steps of maintenance until nothing is left, and what they freed.
fn drain(db: &Database, steps_max: usize) -> usize {
    let mut freed = 0;
    for _ in 0..steps_max {
        let report = db.maintain().unwrap();
        freed += report.freed;
        if report.left == 0 {
            assert_eq!(db.maintain().unwrap(), MaintainReport::default(), "nothing is left");
            return freed;
        }
    }
    panic!("{steps_max} steps of maintenance leave something: {:?}", db.maintain());
}

#[test]
fn maintenance_drains_in_as_many_steps_as_there_are_keys_to_a_step() {
    const KEYS: u16 = 60;
    for keys_max in [1, 3, 59, 60, 1024] {
        let steps = Steps { maintain_keys_max: keys_max, ..Steps::default() };
        let world = World::memory().with(|options| options.steps = steps);
        let db = world.open();
        db.begin_run(run(1), NO_TAGS).unwrap();
        // Some are superseded, some have expired.
        for n in 0..2 * KEYS {
            db.put(run(1), key(n), n.to_string()).unwrap();
        }
        let then = db.snapshot().unwrap();
        for n in 0..2 * KEYS {
            let ttl = (n >= KEYS).then(|| Duration::from_millis(5));
            db.put_with_ttl(run(1), key(n), "newer", ttl).unwrap();
        }
        assert_eq!(db.storage().superseded_key_count(), usize::from(2 * KEYS));
        drop(then);
        world.clock.advance(5);
        let shown = state(&db);
        let each = usize::from(KEYS);
        assert_eq!(drain(&db, (2 * each).div_ceil(keys_max)), 3 * each, "{keys_max}");
        assert_eq!(db.storage().superseded_key_count(), 0);
        assert_eq!(db.storage().key_count(), each);
        assert_eq!(state(&db), shown);
    }
}

/// What a snapshot holds is passed over, and counts as left; what stands behind it is freed all
/// the same, however small the steps are.
#[test]
fn what_a_snapshot_holds_does_not_keep_maintenance_from_what_nobody_sees() {
    for keys_max in [1, 2, 1024] {
        let steps = Steps { maintain_keys_max: keys_max, ..Steps::default() };
        let world = World::memory().with(|options| options.steps = steps);
        let db = world.open();
        db.begin_run(run(1), NO_TAGS).unwrap();
        let put = |n: u16, value: &str, ttl_ms: Option<u64>| {
            db.put_with_ttl(run(1), key(n), value, ttl_ms.map(Duration::from_millis)).unwrap();
        };
        for n in 0..20 {
            put(n, "first", (n >= 10).then_some(5));
        }
        let held = db.snapshot().unwrap();
        for n in 0..5 {
            put(n, "second", None);
        }
        for n in 20..40 {
            put(n, "first", (n >= 30).then_some(6));
        }
        let dropped = db.snapshot().unwrap();
        for n in 20..30 {
            put(n, "second", None);
        }
        let seen = held.list(run(1), "").unwrap();
        drop(dropped);
        world.clock.advance(6);
        // Ten superseded keys behind five that are held, ten expired behind ten that are held.
        let (mut freed, mut left) = (0, usize::MAX);
        for _ in 0..(15 + 10) {
            let report = db.maintain().unwrap();
            freed += report.freed;
            left = report.left;
        }
        assert_eq!((freed, left), (20, 15), "{keys_max}");
        assert_eq!(held.list(run(1), "").unwrap(), seen);
        drop(held);
        assert_eq!(drain(&db, 15), 15);
        assert_eq!(db.storage().key_count(), 20);
    }
}
