//! Crashes themselves (rules P, H, K) and determinism.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use runstone_sim::disk::{
    CallKind, CrashKind, CrashModel, CrashPoint, DiskConfig, Fault, FaultKind, FaultPlan, Odds,
    SimVfs, When, is_simulated_crash,
};
use runstone_sim::rng::Streams;
use runstone_vfs::{Access, LockKind, Vfs};

fn path(text: &str) -> &Path {
    Path::new(text)
}

fn quiet() -> DiskConfig {
    DiskConfig {
        lost_data_garbage: Odds::NEVER,
        stray_files: Odds::NEVER,
        evict_doomed: Odds::NEVER,
        ..DiskConfig::default()
    }
}

/// Writes and syncs with care; stops at the first error.
fn careful(disk: &SimVfs) -> io::Result<()> {
    disk.create_dir(path("/db"))?;
    let lock = disk.create(path("/db/LOCK"))?;
    lock.sync()?;
    let _held = disk.lock(path("/db/LOCK"), LockKind::Exclusive)?;
    let file = disk.create(path("/db/m.tmp"))?;
    file.allocate(0, 2048)?;
    file.write_at(&[1; 1500], 0)?;
    file.set_len(1500)?;
    file.sync()?;
    disk.rename(path("/db/m.tmp"), path("/db/m"))?;
    disk.sync_dir(path("/db"))?;
    disk.sync_dir(path("/"))?;
    disk.link(path("/db/m"), path("/db/l"))?;
    disk.remove(path("/db/l"))?;
    let mut buf = [0; 1500];
    disk.open(path("/db/m"), Access::Read)?.read_at(&mut buf, 0)?;
    disk.list(path("/db"))?;
    disk.open_dir(path("/db"))?.stat(path("m"))?;
    file.write_at(&[2; 1000], 1200)?;
    file.len()?;
    file.sync()?;
    disk.create_dir(path("/db/x"))?;
    disk.remove_dir(path("/db/x"))
}

/// How many calls a whole run of `careful` makes.
fn dry_run() -> u64 {
    let disk = SimVfs::with_config(0, quiet());
    careful(&disk).unwrap();
    disk.calls()
}

#[test]
fn k_every_call_is_a_crash_point_before_inside_and_after_under_every_model() {
    let calls = dry_run();
    let kinds = SimVfs::with_config(0, quiet());
    careful(&kinds).unwrap();
    assert_eq!(kinds.stats().calls.len(), CallKind::ALL.len(), "the run makes every kind of call");
    for call in 0..calls {
        for when in [When::Before, When::Inside, When::After] {
            for kind in [CrashKind::Power, CrashKind::Process] {
                for model in CrashModel::ALL {
                    let disk = SimVfs::with_config(call, quiet().only(model));
                    disk.arm_crash(CrashPoint { call, when }, kind);
                    let error = careful(&disk).unwrap_err();
                    assert!(is_simulated_crash(&error));
                    assert!(disk.is_crashed());
                    assert_eq!(disk.calls(), call + 1);
                    let report = disk.crash_report().unwrap();
                    assert_eq!((report.kind, report.at.unwrap().1), (kind, when));
                    disk.restart();
                    check_promises(&disk, call, when);
                }
            }
        }
    }
}

/// What `careful` may rely on, by the number of the call that it did not survive.
fn check_promises(disk: &SimVfs, call: u64, when: When) {
    // The call numbers of the parent's sync and of the last sync of the file.
    let (names, data) = (11, 21);
    let passed = |sync: u64| call > sync || (call == sync && when == When::After);
    let image = disk.live_image();
    if passed(names) {
        assert_eq!(image[path("/db/m")][..1200], [1; 1200]);
        assert!(image.contains_key(path("/db/LOCK")));
    }
    if passed(data) {
        assert_eq!(image[path("/db/m")].len(), 2200);
        assert_eq!(image[path("/db/m")][1200..], [2; 1000]);
    }
}

#[test]
fn h_dead_handles_have_no_effect_and_locks_are_released() {
    for kind in [CrashKind::Power, CrashKind::Process] {
        let disk = SimVfs::with_config(3, quiet().only(CrashModel::KeepAll));
        let file = disk.create(path("/f")).unwrap();
        file.write_at(&[1; 600], 0).unwrap();
        let held = disk.lock(path("/f"), LockKind::Exclusive).unwrap();
        disk.crash_now(kind);
        let error = disk.open(path("/f"), Access::Read).unwrap_err();
        assert!(is_simulated_crash(&error), "the disk is down");
        disk.restart();
        let (image, digest, calls) = (disk.live_image(), disk.digest(), disk.calls());
        let all_dead: Vec<io::Result<()>> = vec![
            file.write_at(&[9; 600], 0).map(drop),
            file.write_vectored_at(&[io::IoSlice::new(&[9])], 0).map(drop),
            file.read_at(&mut [0; 9], 0).map(drop),
            file.sync(),
            file.set_len(0),
            file.allocate(0, 9999),
            file.len().map(drop),
        ];
        for result in all_dead {
            assert!(is_simulated_crash(&result.unwrap_err()));
        }
        assert_eq!((disk.live_image(), disk.digest(), disk.calls()), (image, digest, calls));
        let again = disk.lock(path("/f"), LockKind::Exclusive).unwrap();
        drop(held);
        let error = disk.lock(path("/f"), LockKind::Shared).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "the dead one released nothing");
        drop(again);
        // Nor does a dead handle count against the file when it goes at last.
        let dead = file.clone();
        let alive = disk.open(path("/f"), Access::Read).unwrap();
        disk.remove(path("/f")).unwrap();
        disk.sync_dir(path("/")).unwrap();
        drop((dead, file));
        assert_eq!(alive.len().unwrap(), 600);
        let file = alive;
        disk.crash_now(kind);
        disk.restart();
        let error = file.sync().unwrap_err();
        assert!(is_simulated_crash(&error), "dead for ever");
    }
}

#[test]
fn p_a_killed_process_leaves_all_visible_and_a_power_cut_may_still_take_it() {
    let mut kept = BTreeSet::new();
    for seed in 0..500 {
        let disk = SimVfs::with_config(seed, quiet());
        let file = disk.create(path("/f")).unwrap();
        file.sync().unwrap();
        disk.sync_dir(path("/")).unwrap();
        file.write_at(&[1; 512], 0).unwrap();
        disk.crash_now(CrashKind::Process);
        disk.restart();
        // Recovery reads it, and that changes nothing.
        let again = disk.open(path("/f"), Access::Read).unwrap();
        let mut buf = [0; 512];
        assert_eq!(again.read_at(&mut buf, 0).unwrap(), 512);
        assert_eq!(buf, [1; 512]);
        disk.crash_now(CrashKind::Power);
        kept.insert(disk.live_image()[path("/f")] == [1; 512]);
    }
    assert_eq!(kept, [false, true].into());
}

#[test]
fn p_after_a_kill_a_sync_saves_what_is_sound_and_never_what_is_doomed() {
    let mut doomed_kept = BTreeSet::new();
    for seed in 0..500 {
        let disk = SimVfs::with_config(seed, quiet());
        let file = disk.create(path("/f")).unwrap();
        file.write_at(&[1; 1024], 0).unwrap();
        file.sync().unwrap();
        disk.sync_dir(path("/")).unwrap();
        file.write_at(&[2; 512], 0).unwrap();
        disk.fail_nth(CallKind::Sync, 0, Fault::new(FaultKind::Io));
        file.sync().unwrap_err();
        let open = DiskConfig { doom_next_write: Odds::NEVER, ..quiet() };
        disk.set_config(open);
        disk.crash_now(CrashKind::Process);
        disk.restart();
        let file = disk.open(path("/f"), Access::ReadWrite).unwrap();
        let mut buf = [0; 512];
        file.read_at(&mut buf, 0).unwrap();
        assert_eq!(buf, [2; 512], "doomed, and visible");
        file.sync().unwrap();
        disk.crash_now(CrashKind::Power);
        doomed_kept.insert(disk.live_image()[path("/f")][0]);
    }
    assert_eq!(doomed_kept, [1, 2].into());
}

#[test]
fn k_a_kill_inside_a_write_leaves_some_leading_bytes() {
    let mut lengths = BTreeSet::new();
    for seed in 0..2000 {
        let disk = SimVfs::with_config(seed, quiet());
        let file = disk.create(path("/f")).unwrap();
        disk.arm_crash(CrashPoint { call: disk.calls(), when: When::Inside }, CrashKind::Process);
        file.write_at(&[7; 20], 0).unwrap_err();
        let content = disk.live_image().remove(path("/f")).unwrap();
        assert!(content.iter().all(|&byte| byte == 7));
        lengths.insert(content.len());
    }
    assert_eq!(lengths, (1..=20).collect());
}

#[test]
fn k_a_sync_that_never_returned_has_promised_nothing() {
    let mut kept = BTreeSet::new();
    for seed in 0..500 {
        let disk = SimVfs::with_config(seed, quiet());
        let file = disk.create(path("/f")).unwrap();
        file.write_at(&[1; 512], 0).unwrap();
        file.sync().unwrap();
        disk.sync_dir(path("/")).unwrap();
        file.write_at(&[2; 512], 0).unwrap();
        disk.arm_crash(CrashPoint { call: disk.calls(), when: When::Inside }, CrashKind::Power);
        file.sync().unwrap_err();
        kept.insert(disk.live_image()[path("/f")][0]);
    }
    assert_eq!(kept, [1, 2].into());
}

#[test]
fn k_crashes_nest_in_recovery_and_nothing_durable_is_ever_lost() {
    for seed in 0..200 {
        let disk = SimVfs::with_config(seed, quiet());
        let mut acknowledged = 0u64;
        for life in 0..12 {
            let kind = if (seed + life) % 3 == 0 { CrashKind::Process } else { CrashKind::Power };
            let when =
                [When::Before, When::Inside, When::After][usize::try_from(life % 3).unwrap()];
            disk.arm_crash(CrashPoint { call: disk.calls() + seed % 13 + life, when }, kind);
            let error = count_up(&disk, &mut acknowledged).unwrap_err();
            assert!(is_simulated_crash(&error), "{error}");
            disk.restart();
        }
        disk.disarm_crash();
        let found = last_count(&disk).unwrap();
        assert!(found >= acknowledged, "seed {seed}: {found} < {acknowledged}");
    }
}

/// A program with recovery: keeps a counter by atomic replacement, until it dies.
fn count_up(disk: &SimVfs, acknowledged: &mut u64) -> io::Result<()> {
    let mut count = last_count(disk)?;
    assert!(count >= *acknowledged, "{count} < {acknowledged}");
    loop {
        count += 1;
        let (tmp, name) = (path("/count.tmp"), path("/count"));
        match disk.remove(tmp) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = disk.create(tmp)?;
        runstone_vfs::write_all_at(&*file, &count.to_le_bytes(), 0)?;
        file.sync()?;
        disk.rename(tmp, name)?;
        disk.sync_dir(path("/"))?;
        *acknowledged = count;
    }
}

fn last_count(disk: &SimVfs) -> io::Result<u64> {
    let file = match disk.open(path("/count"), Access::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        file => file?,
    };
    let mut bytes = [0; 8];
    file.read_at(&mut bytes, 0)?;
    Ok(u64::from_le_bytes(bytes))
}

#[test]
fn k_each_pending_operation_can_be_lost_or_kept_alone() {
    let fill = |disk: &SimVfs| {
        let file = disk.create(path("/f")).unwrap();
        file.write_at(&[0; 2048], 0).unwrap();
        file.sync().unwrap();
        disk.sync_dir(path("/")).unwrap();
        for sector in 0..4 {
            file.write_at(&[7; 512], sector * 512).unwrap();
        }
    };
    let disk = SimVfs::with_config(1, DiskConfig { early_writeback: Odds::NEVER, ..quiet() });
    disk.set_config(DiskConfig { early_flush: Odds::NEVER, ..disk.config() });
    fill(&disk);
    assert_eq!(disk.pending_operations(), 4);
    for nth in 0..4u8 {
        let at = usize::from(nth) * 512;
        let lost = disk.fork(1);
        lost.crash_with(CrashModel::AloneLost, Some(nth.into()));
        let mut expected = vec![7; 2048];
        expected[at..at + 512].fill(0);
        assert_eq!(lost.live_image()[path("/f")], expected);
        let kept = disk.fork(1);
        kept.crash_with(CrashModel::AloneKept, Some(nth.into()));
        let mut expected = vec![0; 2048];
        expected[at..at + 512].fill(7);
        assert_eq!(kept.live_image()[path("/f")], expected);
        let report = kept.crash_report().unwrap();
        assert_eq!(report.files[0].lost.len(), 3);
        assert!(report.to_string().contains("/f: size 2048"), "{report}");
    }
}

#[test]
fn a_fork_shares_nothing_and_keeps_what_is_unsynced() {
    let disk = SimVfs::with_config(1, quiet());
    let file = disk.create(path("/f")).unwrap();
    file.write_at(&[1; 10], 0).unwrap();
    let _held = disk.lock(path("/f"), LockKind::Exclusive).unwrap();
    let fork = disk.fork(2);
    file.write_at(&[2; 10], 0).unwrap();
    assert_eq!(fork.live_image()[path("/f")], [1; 10]);
    assert!(fork.pending_operations() > 0);
    drop(fork.lock(path("/f"), LockKind::Exclusive).unwrap());
    fork.crash_with(CrashModel::DropAll, None);
    assert!(fork.live_image().is_empty());
    assert!(!disk.is_crashed());
}

#[test]
fn an_image_goes_in_and_out() {
    let disk = SimVfs::new(1);
    careful(&disk).unwrap();
    let image = disk.live_image();
    let copy = SimVfs::from_image(9, DiskConfig::default(), &image).unwrap();
    assert_eq!(copy.live_image(), image);
    assert_eq!(copy.durable_image(), image);
    assert!(copy.is_durable(path("/db/m")) && copy.is_durable(path("/db")));
    let bad = [("/a".into(), vec![]), ("/a/b".into(), vec![])].into();
    SimVfs::from_image(9, DiskConfig::default(), &bad).unwrap_err();
}

/// Many calls with faults, crashes and restarts; returns the digest and the trace.
fn eventful(seed: u64, lines_max: usize) -> (u64, Vec<String>) {
    let streams = Streams::new(seed);
    let disk =
        SimVfs::with_streams(&streams, DiskConfig::default(), FaultPlan::all(Odds::one_in(60)));
    disk.keep_trace(lines_max);
    for life in 0..6 {
        let kind = if life % 2 == 0 { CrashKind::Power } else { CrashKind::Process };
        disk.arm_crash(CrashPoint { call: disk.calls() + 60, when: When::Inside }, kind);
        drop(careful(&disk));
        for round in 0..20u64 {
            if let Ok(file) = disk.open(path("/db/m"), Access::ReadWrite) {
                drop(file.write_at(&[1; 300], round * 77));
                drop(file.read_at(&mut [0; 3000], 0));
                drop(file.sync());
            }
        }
        disk.crash_now(kind);
        disk.restart();
    }
    (disk.digest(), disk.trace())
}

#[test]
fn the_same_seed_gives_the_same_digest_and_trace_and_another_seed_another() {
    let mut digests = BTreeSet::new();
    for seed in 0..50 {
        let (digest, trace) = eventful(seed, 10_000);
        assert_eq!((digest, trace), eventful(seed, 10_000));
        assert_eq!(digest, eventful(seed, 0).0, "the text does not take part");
        digests.insert(digest);
    }
    assert_eq!(digests.len(), 50);
}

#[test]
fn the_digest_is_the_same_on_every_machine_and_build() {
    // Changed only by a change of the model; then it is accepted like a snapshot.
    assert_eq!(format!("{:016x}", eventful(1, 0).0), "542d1bacff6b7ddf");
}

#[test]
fn the_trace_is_bounded_and_readable() {
    let disk = SimVfs::with_config(1, quiet());
    disk.keep_trace(3);
    let file = disk.create(path("/f")).unwrap();
    file.write_at(b"abc", 5).unwrap();
    file.sync().unwrap();
    disk.open(path("/g"), Access::Read).unwrap_err();
    let lines = disk.trace();
    assert_eq!(
        lines,
        [
            "#1 write /f pos=5 len=3 -> 3",
            "#2 sync /f -> 0",
            "#3 open /g read -> error: entity not found"
        ]
    );
}
