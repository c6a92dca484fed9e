//! Options at their ends: whatever a number is set to, it is refused by `validate`, or the store
//! works with it; never a panic, and never a sum that wraps.
//!
//! The list of what is tried is compared with the source of the options, so that a new one
//! without a line here fails.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that fails says so

mod common;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use common::{NO_TAGS, World, run};
use runstone::vfs::MemVfs;
use runstone::{DurabilityMode, Error, Level, Options, Preallocation, WriteBatch, WriteOptions};

type Set = fn(&mut Options, u64);

/// A number of the width of the machine: 2^32 and more is the largest where it has 32 bits.
fn narrow(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// Every number among the options, and how it is set.
const NUMBERS: [(&str, Set); 43] = [
    ("interval_ms", |o, n| {
        o.durability = DurabilityMode::Async { interval_ms: n };
    }),
    ("interval_ms", |o, n| {
        o.durability = DurabilityMode::Batched { interval_ms: n, batch_size: 2 };
    }),
    ("batch_size", |o, n| {
        o.durability = DurabilityMode::Batched { interval_ms: 3_600_000, batch_size: n };
    }),
    ("key_bytes_max", |o, n| o.limits.key_bytes_max = narrow(n)),
    ("value_bytes_max", |o, n| o.limits.value_bytes_max = narrow(n)),
    ("batch_bytes_max", |o, n| o.limits.batch_bytes_max = narrow(n)),
    ("tags_max", |o, n| o.limits.tags_max = narrow(n)),
    ("name_bytes_max", |o, n| o.limits.name_bytes_max = narrow(n)),
    ("read_bytes", |o, n| o.steps.read_bytes = n),
    ("rewrite_bytes", |o, n| o.steps.rewrite_bytes = narrow(n)),
    ("scan_entries_first", |o, n| {
        o.steps.scan_entries_first = narrow(n);
        o.steps.scan_entries_max = usize::MAX;
    }),
    ("scan_entries_max", |o, n| o.steps.scan_entries_max = narrow(n)),
    ("scan_bytes_max", |o, n| o.steps.scan_bytes_max = narrow(n)),
    ("scan_visits_max", |o, n| o.steps.scan_visits_max = narrow(n)),
    ("scan_removed_max", |o, n| o.steps.scan_removed_max = narrow(n)),
    ("sort_keys_max", |o, n| o.steps.sort_keys_max = narrow(n)),
    ("merge_keys_max", |o, n| o.steps.merge_keys_max = narrow(n)),
    ("remembered_runs_max", |o, n| o.steps.remembered_runs_max = narrow(n)),
    ("maintain_keys_max", |o, n| o.steps.maintain_keys_max = narrow(n)),
    ("merge_bytes", |o, n| {
        o.steps.merge_bytes = narrow(n);
        o.flush_bytes = 1;
    }),
    ("levels_per_tier", |o, n| {
        o.levels_per_tier = narrow(n);
        o.flush_bytes = 1;
    }),
    ("flush_bytes", |o, n| o.flush_bytes = n),
    ("flush_log_bytes", |o, n| o.flush_log_bytes = n),
    ("ended_ms_max", |o, n| o.retention.ended_ms_max = n),
    ("ended_runs_max", |o, n| o.retention.ended_runs_max = n),
    ("table_bytes_max", |o, n| {
        o.table_bytes_max = n;
        o.flush_bytes = 1;
    }),
    ("block_bytes", |o, n| {
        o.block_bytes = narrow(n);
        o.flush_bytes = 1;
    }),
    ("extent_bytes_min", |o, n| {
        o.extent_bytes_min = narrow(n);
        o.flush_bytes = 1;
    }),
    ("cache_bytes_max", |o, n| {
        o.cache_bytes_max = n;
        o.flush_bytes = 1;
    }),
    ("manifest_edit_bytes", |o, n| o.manifest_edit_bytes = n),
    ("open_files_max", |o, n| {
        o.open_files_max = narrow(n);
        o.flush_bytes = 1;
    }),
    ("segment_bytes", |o, n| o.segment_bytes = n),
    ("preallocate_bytes", |o, n| o.preallocate_bytes = n),
    ("memory_bytes_max", |o, n| {
        o.memory_bytes_max = n;
        o.flush_bytes = 1;
    }),
    ("log_buffer_bytes_max", |o, n| o.log_buffer_bytes_max = n),
    ("group_commits_max", |o, n| o.group_commits_max = narrow(n)),
    ("group_bytes_max", |o, n| o.group_bytes_max = n),
    ("queue_commits_max", |o, n| o.queue_commits_max = narrow(n)),
    ("snapshots_max", |o, n| o.snapshots_max = narrow(n)),
    ("batched_interval_ms", |o, n| o.batched_interval_ms = n),
    ("batched_size", |o, n| o.batched_size = n),
    ("async_interval_ms", |o, n| o.async_interval_ms = n),
    ("idle_watermark_ms", |o, n| o.idle_watermark_ms = n),
];

/// Those whose ends need a thread to be met.
const PERIODS: [(&str, Set); 3] = [
    ("background_threads", |o, n| o.background_threads = narrow(n)),
    ("maintenance_interval_ms", |o, n| o.maintenance_interval_ms = n),
    ("clock_jump_report_ms", |o, n| o.clock_jump_report_ms = n),
];

/// What is no number.
const OTHERS: [&str; 9] = [
    "retention",
    "durability",
    "limits",
    "steps",
    "preallocation",
    "compression",
    "pad_to_sector",
    "create_among_others",
    "create_if_missing",
];

const ENDS: [u64; 9] = [
    0,
    1,
    u32::MAX as u64,
    1 << 32,
    i64::MAX as u64,
    1 << 63,
    u64::MAX / 16 * 15,
    u64::MAX - 1,
    u64::MAX,
];

fn numbers() -> impl Iterator<Item = (&'static str, Set)> {
    NUMBERS.into_iter().chain(PERIODS)
}

#[test]
fn every_number_among_the_options_is_tried() {
    let read = |file: &str| {
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
    };
    let source = read("engine/src/options.rs");
    let field = |line: &str| {
        let line = line.trim_start();
        let line = line.strip_prefix("pub ").unwrap_or(line);
        let (name, kind) = line.strip_suffix(',')?.split_once(": ")?;
        let is_field = matches!(
            kind,
            "u64"
                | "usize"
                | "bool"
                | "DurabilityMode"
                | "Limits"
                | "RetentionPolicy"
                | "Steps"
                | "Preallocation"
                | "Compression"
        );
        (is_field && name.bytes().all(|b| b == b'_' || b.is_ascii_lowercase()))
            .then(|| name.to_owned())
    };
    let public = source.split("/// The bytes that one change adds").next().unwrap();
    let public =
        [&read("engine/src/durability.rs"), &read("engine/src/retention.rs"), public].concat();
    let found: BTreeSet<String> = public.lines().filter_map(field).collect();
    assert!(found.len() > 30, "the source is read: {found:?}");
    let mut tried: BTreeSet<String> = numbers().map(|(name, _)| name.to_owned()).collect();
    tried.extend(OTHERS.map(str::to_owned));
    assert_eq!(tried, found);
}

/// Options that are small, so that the ends of one meet the others soon.
fn small(background_threads: usize) -> Options {
    Options {
        memory_bytes_max: 16 << 20,
        segment_bytes: 4096,
        preallocate_bytes: 4096,
        preallocation: Preallocation::Zeros,
        background_threads,
        limits: common::small_limits(),
        ..Options::default()
    }
}

/// A session that meets every option: each level, a group, a rotation, a scan, a listing, a tick
/// behind each interval, maintenance with something to free, a close, and a recovery.
fn live_with(world: &World) -> Result<(), Error> {
    let db = world.try_open()?;
    let begun = match db.begin_run(run(1), [("t", "v")]) {
        Err(Error::LimitExceeded { .. }) => db.begin_run(run(1), NO_TAGS),
        other => other,
    };
    match begun {
        // Not even the names of a run's default namespace are admitted.
        Err(Error::LimitExceeded { what: "tenant bytes", .. }) => return db.close(),
        begun => begun?,
    };
    let fits = |outcome: Result<u64, Error>| match outcome {
        Err(Error::LimitExceeded { .. }) => Ok(0),
        other => other,
    };
    for level in [Level::Async, Level::Batched, Level::Strict] {
        let options = WriteOptions { durability: Some(level) };
        let mut tickets = Vec::new();
        for n in 0..8u8 {
            let mut batch = WriteBatch::new();
            batch.put(run(1), [n], vec![n; 300]);
            match db.submit(batch, options) {
                Ok(ticket) => tickets.push(ticket),
                Err(Error::LimitExceeded { .. }) => {}
                Err(other) => return Err(other),
            }
        }
        while db.step()? > 0 {}
        for ticket in tickets {
            ticket.wait()?;
        }
    }
    let ttl = Some(Duration::from_millis(5));
    fits(db.put_with_ttl(run(1), "soon gone", 1, ttl))?;
    let snapshot = db.snapshot()?;
    fits(db.put(run(1), "k", "v"))?;
    db.delete(run(1), [1])?;
    drop(snapshot);
    let _all = db.list(run(1), "")?;
    let _runs = db.runs(runstone::RunFilter::default())?.count();
    db.tick()?;
    world.clock.advance(1_000);
    db.tick()?;
    db.maintain()?;
    db.flush()?;
    fits(db.put(run(1), "k", "w"))?;
    db.close()?;
    // And what is there can be read again, cleanly closed or not.
    let db = world.try_open()?;
    fits(db.put(run(1), "k", "x"))?;
    drop(db);
    world.try_open()?.close()
}

/// Whether the options were taken; a panic or another error is the test's.
fn is_taken(what: &str, options: Options) -> bool {
    let is_valid = options.validate();
    let world = World::new(MemVfs::new()).with(|o| *o = options);
    match (is_valid, live_with(&world)) {
        (Ok(()), Ok(())) => true,
        (Err(Error::InvalidArgument { .. }), Err(Error::InvalidArgument { what: said })) => {
            let name = what.split(' ').next().unwrap_or_default();
            let named = said.contains(name) || said.contains(&name.replace('_', " "));
            assert!(named || name == "interval_ms", "{what}: {said}");
            false
        }
        (valid, lived) => panic!("{what}: {valid:?}, and then {lived:?}"),
    }
}

#[test]
fn a_number_at_either_end_is_refused_by_its_name_or_lived_with() {
    let mut taken = 0;
    for (name, set) in NUMBERS {
        for n in ENDS {
            let mut options = small(0);
            set(&mut options, n);
            taken += u32::from(is_taken(&format!("{name} of {n}"), options));
        }
    }
    assert!(taken > 150, "most ends are no harm: {taken}");
}

/// With the thread that does the upkeep, and the system's waits.
#[test]
fn a_period_at_either_end_is_refused_or_lived_with_by_the_thread_too() {
    for (name, set) in numbers().filter(|(name, _)| name.ends_with("_ms")) {
        for n in ENDS {
            let mut options = small(2);
            set(&mut options, n);
            is_taken(&format!("{name} of {n}"), options);
        }
    }
}

/// Where two sums could wrap together, or a product.
#[test]
fn no_two_numbers_at_their_ends_make_validation_wrap() {
    let (mut taken, mut refused) = (0, 0);
    for (_, first) in numbers() {
        for (_, second) in numbers() {
            for (n, m) in ENDS.into_iter().flat_map(|n| ENDS.map(|m| (n, m))) {
                let mut options = small(0);
                first(&mut options, n);
                second(&mut options, m);
                match options.validate() {
                    Ok(()) => taken += 1,
                    Err(_) => refused += 1,
                }
            }
        }
    }
    assert!(taken > 0 && refused > 0);
}

/// "No limit" on everything that may have none, at once.
#[test]
fn all_that_may_be_without_limit_may_be_so_together() {
    for end in [u64::MAX, u64::MAX - 1, 1 << 63] {
        let mut options = small(0);
        for (_, set) in numbers() {
            let mut wider = options.clone();
            set(&mut wider, end);
            if wider.validate().is_ok() {
                options = wider;
            }
        }
        assert!(options.preallocate_bytes == end && options.batched_size == end);
        assert!(is_taken("all", options));
    }
}
