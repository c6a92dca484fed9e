//! C6 on a full disk: a retryable error, no version, nothing acknowledged is lost, and it goes
//! on when there is room again.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that fails says so

mod common;

use std::time::Duration;

use common::full::{after_power_cut, before_a_rotation, disk, fill_up, is_full};
use common::{DIR, MODES, NO_TAGS, START_MS, World, image, run, segments, state};
use runstone::{Database, DurabilityMode, Error, Level, Preallocation, WriteBatch, WriteOptions};
use runstone_sim::disk::{CallKind, CrashKind, Fault, FaultKind};

#[test]
fn a_put_on_a_full_disk_takes_no_version_leaves_nothing_and_works_again_later() {
    for mode in [MODES[0], MODES[1]] {
        let disk = disk();
        let world = World::new(disk.clone()).mode(mode);
        let db = world.open();
        db.begin_run(run(1), NO_TAGS).unwrap();
        db.put(run(1), "kept", 1).unwrap();
        let before = state(&db);
        // Whatever part of the record fits: nothing of it stays.
        for room in [0, 1, 40, 100, 300, 511] {
            fill_up(&disk, room);
            let length = image(&disk, DIR);
            is_full(db.put(run(1), "kept", vec![1; 1_000]));
            is_full(db.put_with_ttl(run(1), "new", vec![1; 900], Some(Duration::from_secs(1))));
            assert_eq!(image(&disk, DIR), length, "cut back");
            assert_eq!(state(&db), before);
        }
        disk.set_capacity(None);
        assert_eq!(db.put(run(1), "kept", 2).unwrap(), before.version + 1, "no version was taken");
        db.flush().unwrap();
        let live = state(&db);
        let db = after_power_cut(&world, &disk, db);
        assert_eq!(state(&db), live);
        assert_eq!(db.recovery_report().torn_bytes, 0);
    }
}

#[test]
fn a_quota_is_a_full_disk_too_and_a_small_write_may_still_fit() {
    let disk = disk();
    let world = World::new(disk.clone());
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    disk.fail_nth(CallKind::Write, 0, Fault { part: 20_000, ..Fault::new(FaultKind::Quota) });
    is_full(db.put(run(1), "k", 1));
    assert_eq!(db.put(run(1), "k", 2).unwrap(), 2);
    fill_up(&disk, 200);
    is_full(db.put(run(1), "large", vec![0; 500]));
    assert_eq!(db.put(run(1), "small", 1).unwrap(), 3);
}

#[test]
fn every_member_of_a_group_gets_the_same_retryable_error_and_the_refused_ones_too() {
    let disk = disk();
    let world = World::new(disk.clone());
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    let before = state(&db);
    fill_up(&disk, 100);
    let tickets: Vec<_> = [run(1), run(7), run(1)]
        .map(|owner| {
            let mut batch = WriteBatch::new();
            batch.put(owner, "k", vec![0; 200]);
            db.submit(batch, WriteOptions::default()).unwrap()
        })
        .into();
    db.step().unwrap();
    for ticket in tickets {
        is_full(ticket.wait().map(|committed| committed.version));
    }
    assert_eq!(state(&db), before);
    disk.set_capacity(None);
    assert_eq!(db.put(run(1), "k", 1).unwrap(), 2);
}

#[test]
fn preallocation_on_a_full_disk_is_retryable_too() {
    for preallocation in [Preallocation::Reserved, Preallocation::Zeros] {
        let disk = disk();
        let world = World::new(disk.clone()).with(|options| {
            options.preallocate_bytes = 16 << 10;
            options.preallocation = preallocation;
        });
        let db = world.open();
        db.begin_run(run(1), NO_TAGS).unwrap();
        db.put(run(1), "k", vec![1; 15 << 10]).unwrap();
        fill_up(&disk, 2_000);
        is_full(db.put(run(1), "k", vec![2; 5_000]));
        disk.set_capacity(None);
        assert_eq!(db.put(run(1), "k", vec![3; 5_000]).unwrap(), 3);
        let live = state(&db);
        assert_eq!(state(&after_power_cut(&world, &disk, db)), live);
    }
}

/// As many commits fit as without, and nothing else is refused for it either.
#[test]
fn c06_room_that_cannot_be_reserved_ahead_refuses_nothing_that_fits() {
    let puts = |preallocate_bytes, preallocation| {
        let disk = disk();
        let world = World::new(disk.clone()).with(|options| {
            options.preallocate_bytes = preallocate_bytes;
            options.preallocation = preallocation;
        });
        let db = world.open();
        fill_up(&disk, 3_000);
        db.begin_run(run(1), NO_TAGS).unwrap();
        let mut fit = 0;
        while db.put(run(1), format!("{fit}"), vec![7; 100]).is_ok() {
            fit += 1;
        }
        db.flush().unwrap();
        let live = state(&db);
        fill_up(&disk, 400);
        db.close().unwrap();
        disk.set_capacity(None);
        drop(db);
        let db = world.open();
        assert!(db.recovery_report().clean);
        assert_eq!(state(&db), live);
        fit
    };
    let expected = puts(0, Preallocation::Auto);
    assert!(expected > 10, "{expected}");
    for preallocation in [Preallocation::Reserved, Preallocation::Zeros] {
        assert_eq!(puts(16 << 10, preallocation), expected, "{preallocation:?}");
    }
}

#[test]
fn a_rotation_on_a_full_disk_is_retryable_wherever_it_meets_it() {
    let mut met = std::collections::BTreeSet::new();
    for room in (0..600).step_by(9) {
        let (disk, world, db) = before_a_rotation();
        let before = state(&db);
        fill_up(&disk, room);
        // It needs a new segment and a new manifest, and a record.
        let outcome = db.put(run(1), "k", vec![2; 300]);
        let fits = outcome.is_ok();
        met.insert(outcome.map_or_else(|error| error.to_string(), |_| "fits".to_owned()));
        if !fits {
            assert_eq!(state(&db), before);
            is_full(db.put(run(1), "k", vec![2; 300]));
        }
        disk.set_capacity(None);
        let version = db.put(run(1), "k", vec![4; 300]).unwrap();
        assert_eq!(version, before.version + 1 + u64::from(fits));
        // What the failed tries left is removed by maintenance, before the next crash or not.
        while db.maintain().unwrap().left > 0 {}
        let files = image(&disk, DIR);
        let live = state(&db);
        assert_eq!(files.len(), segments(&files).len() + 2, "{:?}", files.keys());
        let db = after_power_cut(&world, &disk, db);
        assert_eq!(state(&db), live);
        drop(db);
        let db = world.open();
        assert_eq!(db.recovery_report().files_removed, 0);
    }
    assert!(met.len() >= 3, "segment, manifest and record: {met:?}");
}

/// How many segments a manifest names, by its layout: the snapshot says how many, and each edit how
/// many more and fewer.
fn named_segments(manifest: &[u8]) -> usize {
    let number = |at: usize| {
        let bytes = manifest.get(at..at + 4).and_then(|bytes| bytes.first_chunk());
        usize::try_from(u32::from_le_bytes(bytes.copied().unwrap_or_default())).unwrap()
    };
    let (mut named, mut at) = (number(60), (24 + number(12)).next_multiple_of(512));
    while number(at + 36) == 1 {
        named = named + number(at + 40 + 44) - number(at + 40 + 40);
        at += (40 + number(at + 4)).next_multiple_of(512);
    }
    named
}

#[test]
fn what_tries_on_a_full_disk_leave_is_gone_at_once_and_maintenance_need_not_look_for_it() {
    let mut met = std::collections::BTreeSet::new();
    for room in (0..600).step_by(9) {
        let (disk, world, db) = before_a_rotation();
        // Half of the times it is a new segment that does not fit, else what begins a session.
        let begins = room % 2 == 0;
        if begins {
            db.close().unwrap();
        }
        let db = if begins { world.open() } else { db };
        while db.maintain().unwrap().left > 0 {}
        fill_up(&disk, room);
        let removals = || disk.stats().calls.get(&CallKind::Remove).copied().unwrap_or(0);
        for n in 0..40 {
            let Err(error) = db.put(run(1), "k", vec![2; 300]) else { break };
            met.insert(error.to_string().replace(char::is_numeric, ""));
            let files = image(&disk, DIR);
            let named = named_segments(&files["MANIFEST"]);
            assert_eq!(files.len(), named + 2, "try {n} with {room}: {error}");
        }
        disk.set_capacity(None);
        let asked = removals();
        while db.maintain().unwrap().left > 0 {}
        assert!(removals() <= asked + 1, "one for a second name of the manifest at most");
    }
    assert!(met.len() >= 3, "segment, manifest and record: {met:?}");
}

/// What a flush promises is true already: everything was synced, and nobody was told that anything
/// has expired.
#[test]
fn c06_a_flush_with_nothing_to_make_durable_succeeds_on_a_disk_without_a_free_byte() {
    for mode in MODES {
        let disk = disk();
        let world = World::new(disk.clone()).mode(mode);
        let db = world.open();
        db.begin_run(run(1), NO_TAGS).unwrap();
        db.flush().unwrap();
        db.put(run(1), "k", 1).unwrap();
        let strict = WriteOptions { durability: Some(Level::Strict) };
        db.put_with(run(1), "expires", 1, Some(Duration::from_millis(50)), strict).unwrap();
        fill_up(&disk, 0);
        db.flush().unwrap();
        // A floor that is owed is no choice: it must be logged.
        world.clock.advance(60);
        assert_eq!(db.get(run(1), "expires").unwrap(), None);
        assert!(matches!(db.flush(), Err(Error::DiskFull { .. })), "{mode:?}");
        disk.set_capacity(None);
        db.flush().unwrap();
        world.clock.set_wall(0);
        let db = after_power_cut(&world, &disk, db);
        assert_eq!(db.get(run(1), "k").unwrap(), Some(1.into()));
        assert_eq!(db.get(run(1), "expires").unwrap(), None, "{mode:?}");
    }
}

#[test]
fn async_commits_that_were_published_stay_in_order_and_are_written_when_there_is_room() {
    let disk = disk();
    let world = World::new(disk.clone()).mode(MODES[2]);
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    for n in 0..10i64 {
        db.put(run(1), format!("{n}"), n).unwrap();
    }
    let published = state(&db);
    fill_up(&disk, 50);
    let error = db.flush().unwrap_err();
    assert!(matches!(error, Error::DiskFull { .. }));
    // Until they are written, everything that wants to be behind them is refused.
    let strict = WriteOptions { durability: Some(Level::Strict) };
    is_full(db.put_with(run(1), "strict", 1, None, strict));
    is_full(db.put(run(1), "async", 1));
    is_full(db.end_run(run(1)));
    assert!(matches!(db.flush(), Err(Error::DiskFull { .. })));
    assert!(matches!(db.close(), Err(Error::DiskFull { .. })));
    assert!(!db.is_closed(), "nothing was closed");
    assert_eq!(state(&db), published);
    disk.set_capacity(None);
    assert_eq!(db.put(run(1), "async", 1).unwrap(), published.version + 1);
    db.flush().unwrap();
    let live = state(&db);
    assert_eq!(state(&after_power_cut(&world, &disk, db)), live);
}

#[test]
fn an_async_buffer_that_outgrows_its_limit_on_a_full_disk_refuses_and_keeps_what_it_has() {
    let disk = disk();
    let world = World::new(disk.clone()).mode(MODES[2]).with(|o| o.log_buffer_bytes_max = 2_000);
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    fill_up(&disk, 0);
    let mut accepted = 1;
    let error = loop {
        match db.put(run(1), "k", vec![0; 100]) {
            Ok(version) => accepted = version,
            Err(error) => break error,
        }
        assert!(accepted < 100, "the buffer is bounded");
    };
    assert!(matches!(error, Error::DiskFull { .. }), "{error}");
    assert!(accepted > 5);
    assert_eq!(db.storage().version(), accepted);
    disk.set_capacity(None);
    db.close().unwrap();
    assert_eq!(world.open().storage().version(), accepted);
}

#[test]
fn the_first_commit_of_a_session_and_a_close_on_a_full_disk_are_retryable() {
    let disk = disk();
    let world = World::new(disk.clone());
    world.open().close().unwrap();
    let db = world.open();
    db.close().unwrap();
    let db = world.open();
    fill_up(&disk, 0);
    is_full(db.begin_run(run(1), NO_TAGS));
    assert_eq!(state(&db), common::State::default());
    disk.set_capacity(None);
    assert_eq!(db.begin_run(run(1), NO_TAGS).unwrap(), 1);
    fill_up(&disk, 60);
    assert!(matches!(db.close(), Err(Error::DiskFull { .. })));
    assert!(matches!(db.close(), Err(Error::DiskFull { .. })));
    assert!(db.get(run(1), "k").unwrap().is_none());
    disk.set_capacity(None);
    db.put(run(1), "k", 1).unwrap();
    db.close().unwrap();
    let db = world.open();
    assert!(db.recovery_report().clean);
    assert_eq!(db.get(run(1), "k").unwrap(), Some(1.into()));
    let files = image(&disk, DIR);
    assert_eq!(files.len(), segments(&files).len() + 2, "{:?}", files.keys());
}

#[test]
fn deletes_that_make_room_in_memory_do_not_help_a_full_disk_and_say_so() {
    let disk = disk();
    let world = World::new(disk.clone());
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    db.put(run(1), "k", 1).unwrap();
    fill_up(&disk, 0);
    assert!(matches!(db.delete(run(1), "k"), Err(Error::DiskFull { .. })));
    assert_eq!(db.get(run(1), "k").unwrap(), Some(1.into()), "still there");
}

#[test]
fn a_watermark_record_that_does_not_fit_changes_nothing() {
    let mode = DurabilityMode::Strict;
    let disk = disk();
    let world = World::new(disk.clone()).mode(mode);
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    fill_up(&disk, 0);
    world.clock.advance(1_000);
    let ticked = db.tick();
    assert!(matches!(ticked, Ok(_) | Err(Error::DiskFull { .. })));
    disk.set_capacity(None);
    assert_eq!(db.put(run(1), "k", 1).unwrap(), 2);
    let live = state(&db);
    assert_eq!(state(&after_power_cut(&world, &disk, db)), live);
}

#[test]
fn async_commits_that_a_rotation_could_not_write_hold_back_every_later_commit() {
    let disk = disk();
    let world = World::new(disk.clone()).mode(MODES[2]).with(|o| o.segment_bytes = 1_000);
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    for n in 0..5i64 {
        db.put(run(1), "k", n).unwrap();
    }
    let published = state(&db);
    fill_up(&disk, 0);
    // The large one needs a new segment, for which the old one must be written first.
    is_full(db.put(run(1), "large", vec![1; 2_000]));
    is_full(db.put(run(1), "small", 1));
    assert!(matches!(db.flush(), Err(Error::DiskFull { .. })));
    assert_eq!(state(&db), published);
    disk.set_capacity(None);
    db.put(run(1), "small", 1).unwrap();
    db.flush().unwrap();
    let live = state(&db);
    assert_eq!(state(&after_power_cut(&world, &disk, db)), live);
}

#[test]
fn c05_a_watermark_that_met_a_full_disk_is_written_when_there_is_room_again() {
    let disk = disk();
    let world = World::new(disk.clone());
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    fill_up(&disk, 0);
    world.clock.advance(1_000);
    let full = db.tick().unwrap_err();
    assert!(matches!(full, Error::DiskFull { .. }), "{full}");
    disk.set_capacity(None);
    let next = db.tick().unwrap().expect("it will be tried again");
    let now = runstone::Clock::monotonic(&*world.clock);
    assert!(next > now && next <= now + Duration::from_secs(2), "{next:?} after {now:?}");
    world.clock.advance(2_000);
    assert_eq!(db.tick().unwrap(), None);
    disk.crash_now(CrashKind::Process);
    drop(db);
    disk.restart();
    let report = world.open().recovery_report().clone();
    assert_eq!((report.replayed_commits, report.unproven_commits), (1, 0));
}

/// The cut-back of the log, and a close before its manifest, sync what nobody had attested; each
/// way to a full disk by itself. The flush succeeds: it had only the time to log.
#[test]
fn c05_what_was_synced_on_the_way_to_a_full_disk_is_attested_when_there_is_room_again() {
    let flush: fn(&Database) -> runstone::Result<()> = Database::flush;
    let commit: fn(&Database) -> runstone::Result<()> = |db| db.put(run(1), "k", 1).map(|_| ());
    for (what, room, step) in
        [("flush", 0, flush), ("close", 60, Database::close), ("commit", 0, commit)]
    {
        let disk = disk();
        let mode = DurabilityMode::Batched { interval_ms: 50, batch_size: 1 };
        let world = World::new(disk.clone()).mode(mode);
        let db = world.open();
        // A full batch: its sync is due at once, and on no schedule.
        db.begin_run(run(1), NO_TAGS).unwrap();
        fill_up(&disk, room);
        let outcome = step(&db);
        let is_full = matches!(outcome, Err(Error::DiskFull { .. }));
        assert_eq!(is_full, what != "flush", "{what}: {outcome:?}");
        disk.set_capacity(None);
        let mut ticks = 0;
        while let Some(next) = db.tick().unwrap() {
            let now = runstone::Clock::monotonic(&*world.clock);
            let wait = next.saturating_sub(now).as_millis() + 1;
            world.clock.advance(u64::try_from(wait).unwrap());
            ticks += 1;
            assert!(ticks < 10, "ticks without an end");
        }
        disk.crash_now(CrashKind::Process);
        drop(db);
        disk.restart();
        let report = world.open().recovery_report().clone();
        assert_eq!((report.replayed_commits, report.unproven_commits), (1, 0), "{what}");
    }
}

/// The old segment is ended and takes nothing more, so the floor needs the new one.
#[test]
fn c11_a_close_in_the_middle_of_a_rotation_logs_the_time_or_meets_the_full_disk() {
    let disk = disk();
    let world = World::new(disk.clone()).with(|options| options.segment_bytes = 512);
    let db = world.open();
    db.begin_run(run(1), NO_TAGS).unwrap();
    db.put_with_ttl(run(1), "expires", vec![0; 200], Some(Duration::from_millis(50))).unwrap();
    fill_up(&disk, 0);
    is_full(db.put(run(1), "needs a new segment", vec![0; 200]));
    world.clock.advance(60);
    let full = db.close().unwrap_err();
    assert!(matches!(full, Error::DiskFull { .. }), "{full}");
    disk.set_capacity(None);
    db.close().unwrap();
    drop(db);
    world.clock.set_wall(START_MS);
    let db = world.open();
    assert_eq!(db.get(run(1), "expires").unwrap(), None, "what has expired stays gone");
}
