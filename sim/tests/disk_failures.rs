//! Failing calls (rules F1 to F4): what a failed sync leaves behind, and every other error.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use runstone_sim::disk::{
    CallKind, CrashKind, CrashModel, DiskConfig, Fault, FaultKind, FaultMode, FaultPlan, Odds,
    SimVfs, SyncFlavour,
};
use runstone_sim::rng::Streams;
use runstone_vfs::{Access, Vfs, VfsFile};

const SEEDS: u64 = 500;

fn path(text: &str) -> &Path {
    Path::new(text)
}

fn config() -> DiskConfig {
    DiskConfig {
        lost_data_garbage: Odds::NEVER,
        early_writeback: Odds::NEVER,
        early_flush: Odds::NEVER,
        evict_doomed: Odds::NEVER,
        doom_next_write: Odds::NEVER,
        stray_files: Odds::NEVER,
        ..DiskConfig::default()
    }
}

/// A disk with a durable file of 1024 ones.
fn disk_with_file(seed: u64, config: DiskConfig) -> (SimVfs, Arc<dyn VfsFile>) {
    let disk = SimVfs::with_config(seed, config);
    let file = disk.create(path("/f")).unwrap();
    file.write_at(&[1; 1024], 0).unwrap();
    file.sync().unwrap();
    disk.sync_dir(path("/")).unwrap();
    (disk, file)
}

fn read(file: &dyn VfsFile) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    assert_eq!(file.read_at(&mut bytes, 0).unwrap(), bytes.len());
    bytes
}

fn after_power_cut(disk: &SimVfs) -> Vec<u8> {
    disk.crash_now(CrashKind::Power);
    disk.restart();
    disk.live_image().remove(path("/f")).unwrap_or_default()
}

fn io() -> Fault {
    Fault::new(FaultKind::Io)
}

#[test]
fn f1_what_a_failed_sync_covered_is_visible_and_no_later_sync_saves_it() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..SEEDS {
        let (disk, file) = disk_with_file(seed, config().only(CrashModel::Sectors));
        file.write_at(&[2; 512], 0).unwrap();
        disk.fail_nth(CallKind::Sync, 0, io());
        file.sync().unwrap_err();
        assert_eq!(read(&*file)[..512], [2; 512], "visible");
        file.sync().unwrap();
        file.write_at(&[3; 512], 512).unwrap();
        file.sync().unwrap();
        let content = after_power_cut(&disk);
        assert_eq!(content[512..], [3; 512], "later writes to other sectors are covered");
        outcomes.insert(content[0]);
    }
    assert_eq!(outcomes, [1, 2].into(), "on disk or not");
}

#[test]
fn f1_a_later_write_to_the_same_sector_carries_the_doomed_bytes_along() {
    for seed in 0..SEEDS {
        let (disk, file) = disk_with_file(seed, config());
        file.write_at(&[2; 100], 0).unwrap();
        disk.fail_nth(CallKind::Sync, 0, io());
        file.sync().unwrap_err();
        file.write_at(&[3; 100], 200).unwrap();
        file.sync().unwrap();
        let content = after_power_cut(&disk);
        assert_eq!(content[..100], [2; 100]);
        assert_eq!(content[100..200], [1; 100]);
        assert_eq!(content[200..300], [3; 100]);
    }
}

#[test]
fn f1_eviction_brings_back_old_data_or_zeros_at_the_extended_size() {
    let mut seen = BTreeSet::new();
    for seed in 0..SEEDS {
        let config = DiskConfig { evict_doomed: Odds::ALWAYS, ..config() };
        let (disk, file) = disk_with_file(seed, config);
        file.write_at(&[2; 1024], 512).unwrap();
        disk.fail_nth(CallKind::Sync, 0, io());
        file.sync().unwrap_err();
        let content = read(&*file);
        assert_eq!(content.len(), 1536);
        assert_eq!(content[..512], [1; 512]);
        seen.insert((content[512], content[1024]));
        // What was evicted is gone for good: reads agree from then on with the disk.
        if content[512] == 1 && content[1024] == 0 {
            let cut = after_power_cut(&disk);
            assert_eq!(cut[..1024], [1; 1024]);
        }
    }
    assert_eq!(seen, [(1, 0), (1, 2), (2, 0), (2, 2)].into());
}

#[test]
fn f1_doomed_sizes_are_not_saved_by_later_syncs_unless_later_data_needs_them() {
    let mut sizes = BTreeSet::new();
    for seed in 0..SEEDS {
        let (disk, file) = disk_with_file(seed, config());
        file.set_len(4096).unwrap();
        disk.fail_nth(CallKind::Sync, 0, io());
        file.sync().unwrap_err();
        file.sync().unwrap();
        let fork = disk.fork(seed);
        sizes.insert(after_power_cut(&fork).len());
        file.write_at(&[3; 10], 2000).unwrap();
        file.sync().unwrap();
        let content = after_power_cut(&disk);
        assert_eq!(content[2000..2010], [3; 10], "a sync saves what it covers");
    }
    assert_eq!(sizes, [1024, 4096].into());
}

#[test]
fn f1_a_doomed_truncation_never_hides_what_was_synced_after_it() {
    for seed in 0..SEEDS {
        let (disk, file) = disk_with_file(seed, config());
        file.set_len(100).unwrap();
        disk.fail_nth(CallKind::Sync, 0, io());
        file.sync().unwrap_err();
        file.write_at(&[3; 512], 512).unwrap();
        file.sync().unwrap();
        let content = after_power_cut(&disk);
        assert_eq!(content[..100], [1; 100]);
        assert_eq!(content[100..512], [0; 412], "the extension implies the cut before it");
        assert_eq!(content[512..], [3; 512]);
    }
}

#[test]
fn f1_doomed_names_are_not_saved_by_later_syncs_but_new_directories_are() {
    let mut names = BTreeSet::new();
    for seed in 0..SEEDS {
        let disk = SimVfs::with_config(seed, config());
        disk.create(path("/a")).unwrap().sync().unwrap();
        disk.create_dir(path("/d")).unwrap();
        disk.sync_dir(path("/d")).unwrap();
        disk.fail_nth(CallKind::SyncDir, 0, io());
        disk.sync_dir(path("/")).unwrap_err();
        disk.sync_dir(path("/")).unwrap();
        disk.create(path("/d/inside")).unwrap().sync().unwrap();
        disk.sync_dir(path("/d")).unwrap();
        disk.crash_now(CrashKind::Power);
        let image = disk.live_image();
        assert!(image.contains_key(path("/d/inside")), "mkdir is the exception");
        names.insert(image.contains_key(path("/a")));
    }
    assert_eq!(names, [false, true].into());
}

#[test]
fn f1_the_knob_harmless_is_the_kind_disk_that_rewards_a_retried_sync() {
    for seed in 0..100 {
        let (disk, file) = disk_with_file(seed, config());
        file.write_at(&[2; 512], 0).unwrap();
        disk.fail_nth(CallKind::Sync, 0, io().flavour(SyncFlavour::Harmless));
        file.sync().unwrap_err();
        file.sync().unwrap();
        assert_eq!(after_power_cut(&disk)[0], 2);
    }
}

#[test]
fn f2_the_error_is_reported_once() {
    let (disk, file) = disk_with_file(1, config());
    file.write_at(&[2; 512], 0).unwrap();
    disk.fail_nth(CallKind::Sync, 0, io());
    assert!(file.sync().is_err());
    assert!(file.sync().is_ok());
}

#[test]
fn f2_flavours_revert_at_once_or_keep_the_size_without_the_data() {
    for seed in 0..100 {
        let (disk, file) = disk_with_file(seed, config());
        file.write_at(&[2; 1024], 512).unwrap();
        disk.fail_nth(CallKind::Sync, 0, io().flavour(SyncFlavour::Reverted));
        file.sync().unwrap_err();
        assert_eq!(read(&*file), [1; 1024]);
        assert_eq!(after_power_cut(&disk), [1; 1024]);

        let (disk, file) = disk_with_file(seed, config());
        file.write_at(&[2; 1024], 512).unwrap();
        disk.fail_nth(CallKind::Sync, 0, io().flavour(SyncFlavour::SizeKept));
        file.sync().unwrap_err();
        let kept = [vec![1; 1024], vec![0; 512]].concat();
        assert_eq!(read(&*file), kept);
        assert_eq!(after_power_cut(&disk), kept);
    }
}

#[test]
fn f2_background_writeback_fails_and_the_error_comes_at_a_later_sync() {
    let mut later_is_durable = BTreeSet::new();
    for seed in 0..SEEDS {
        let (disk, file) = disk_with_file(seed, config());
        disk.fail_nth(CallKind::Write, 0, Fault::new(FaultKind::BackgroundFails));
        file.write_at(&[2; 512], 0).unwrap();
        file.write_at(&[3; 512], 512).unwrap();
        file.sync().unwrap_err();
        file.sync().unwrap();
        let content = after_power_cut(&disk);
        later_is_durable.insert((content[0], content[512]));
    }
    assert!(later_is_durable.contains(&(1, 3)) && later_is_durable.contains(&(1, 1)));
}

#[test]
fn f2_a_handle_opened_after_the_failure_may_never_see_it() {
    let mut told = BTreeSet::new();
    for seed in 0..SEEDS {
        let (disk, file) = disk_with_file(seed, config());
        disk.fail_nth(CallKind::Write, 0, Fault::new(FaultKind::BackgroundFails));
        file.write_at(&[2; 512], 0).unwrap();
        let other = disk.open(path("/f"), Access::ReadWrite).unwrap();
        told.insert(other.sync().is_err());
    }
    assert_eq!(told, [false, true].into());
}

#[test]
fn f2_writes_issued_while_a_sync_fails_may_be_doomed() {
    let mut kept = BTreeSet::new();
    for seed in 0..SEEDS {
        let config = DiskConfig { doom_next_write: Odds::one_in(2), ..config() };
        let (disk, file) = disk_with_file(seed, config);
        disk.fail_nth(CallKind::Sync, 0, io());
        file.sync().unwrap_err();
        file.write_at(&[2; 512], 0).unwrap();
        file.sync().unwrap();
        kept.insert(after_power_cut(&disk)[0]);
    }
    assert_eq!(kept, [1, 2].into());
}

#[test]
fn f2_an_error_comes_one_sync_late_in_its_world() {
    let mut kept = BTreeSet::new();
    for seed in 0..SEEDS {
        let (disk, file) = disk_with_file(seed, config());
        file.write_at(&[2; 512], 0).unwrap();
        disk.fail_nth(CallKind::Sync, 0, Fault::new(FaultKind::SyncLate));
        file.sync().unwrap();
        let fork = disk.fork(seed);
        kept.insert(after_power_cut(&fork)[0]);
        file.sync().unwrap_err();
        file.sync().unwrap();
    }
    assert_eq!(kept, [1, 2].into());
}

#[test]
fn f3_writes_are_short_interrupted_or_fail_on_a_full_disk() {
    let (disk, file) = disk_with_file(1, config());
    disk.fail_nth(CallKind::Write, 0, Fault::new(FaultKind::Short).without_effect());
    assert_eq!(file.write_at(&[2; 100], 0).unwrap(), 1);
    disk.fail_nth(CallKind::Write, 0, Fault::new(FaultKind::Interrupted));
    assert_eq!(file.write_at(&[3; 100], 0).unwrap_err().kind(), ErrorKind::Interrupted);
    assert_eq!(read(&*file)[..3], [2, 1, 1]);
    for (fault, kind) in
        [(FaultKind::NoSpace, ErrorKind::StorageFull), (FaultKind::Quota, ErrorKind::QuotaExceeded)]
    {
        disk.fail_nth(CallKind::Write, 0, Fault { part: 1 << 15, ..Fault::new(fault) });
        assert_eq!(file.write_at(&[4; 100], 0).unwrap_err().kind(), kind);
        assert_eq!(read(&*file)[49..51], [4, 1], "some bytes have been written");
    }
}

#[test]
fn f3_a_full_disk_takes_what_fits_and_frees_what_is_removed() {
    let (disk, file) = disk_with_file(1, config());
    disk.set_capacity(Some(disk.used_bytes() + 10));
    assert_eq!(file.write_at(&[2; 100], 1000).unwrap(), 34);
    assert_eq!(file.write_at(&[2; 100], 1034).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(file.write_at(&[2; 100], 0).unwrap(), 100, "overwriting needs no room");
    assert_eq!(disk.create(path("/g")).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(file.allocate(0, 5000).unwrap_err().kind(), ErrorKind::StorageFull);
    file.set_len(10).unwrap();
    disk.create(path("/g")).unwrap();
    disk.set_capacity(None);
    assert_eq!(file.write_at(&[2; 100], 1034).unwrap(), 100);
}

#[test]
fn f3_names_fail_with_and_without_effect() {
    for (effect, fault) in [(true, io()), (false, io().without_effect())] {
        let disk = SimVfs::with_config(1, config());
        disk.fail_nth(CallKind::Create, 0, fault);
        disk.create(path("/a")).unwrap_err();
        assert_eq!(disk.live_image().contains_key(path("/a")), effect);
        drop(disk.create(path("/b")).unwrap());
        disk.fail_nth(CallKind::Rename, 0, fault);
        disk.rename(path("/b"), path("/c")).unwrap_err();
        assert_eq!(disk.live_image().contains_key(path("/c")), effect);
        drop(disk.create(path("/d")).unwrap());
        disk.fail_nth(CallKind::Remove, 0, fault);
        disk.remove(path("/d")).unwrap_err();
        assert_eq!(disk.live_image().contains_key(path("/d")), !effect);
        let file = disk.create(path("/e")).unwrap();
        disk.fail_nth(CallKind::SetLen, 0, fault);
        file.set_len(7).unwrap_err();
        assert_eq!(file.len().unwrap(), if effect { 7 } else { 0 });
        disk.fail_nth(CallKind::CreateDir, 0, fault);
        disk.create_dir(path("/x")).unwrap_err();
        assert_eq!(disk.list(path("/x")).is_ok(), effect);
        disk.fail_nth(CallKind::Open, 0, fault);
        disk.open(path("/e"), Access::Read).unwrap_err();
    }
}

#[test]
fn f3_a_sector_is_unreadable_once_or_until_it_is_written() {
    let (disk, file) = disk_with_file(1, config());
    let mut buf = [0; 1024];
    disk.fail_nth(CallKind::Read, 0, Fault::new(FaultKind::BadSectorOnce));
    file.read_at(&mut buf, 0).unwrap_err();
    assert_eq!(file.read_at(&mut buf, 0).unwrap(), 1024);
    disk.fail_nth(CallKind::Read, 0, Fault::new(FaultKind::BadSectorForever));
    file.read_at(&mut buf, 0).unwrap_err();
    file.read_at(&mut buf, 0).unwrap_err();
    assert_eq!(file.read_at(&mut buf[..512], 0).unwrap(), 512, "the last sector is the bad one");
    file.write_at(&[5; 512], 512).unwrap();
    assert_eq!(file.read_at(&mut buf, 0).unwrap(), 1024);
}

#[test]
fn f3_after_a_device_error_everything_may_be_read_only() {
    let (disk, file) = disk_with_file(1, config());
    disk.fail_nth(CallKind::Write, 0, Fault::new(FaultKind::ReadOnly));
    let kind = |error: std::io::Error| error.kind();
    assert_eq!(file.write_at(&[2], 0).map_err(kind), Err(ErrorKind::ReadOnlyFilesystem));
    assert_eq!(file.sync().map_err(kind), Err(ErrorKind::ReadOnlyFilesystem));
    assert_eq!(disk.create(path("/g")).map(drop).map_err(kind), Err(ErrorKind::ReadOnlyFilesystem));
    assert_eq!(read(&*file), [1; 1024]);
    drop(disk.open(path("/f"), Access::Read).unwrap());
    disk.open(path("/f"), Access::ReadWrite).unwrap_err();
    disk.heal();
    assert_eq!(file.write_at(&[2], 0).unwrap(), 1);
}

#[test]
fn f4_a_lying_sync_says_ok_and_does_nothing() {
    let plan = FaultPlan::none().lying(Odds::ALWAYS);
    let mut kept = BTreeSet::new();
    for seed in 0..SEEDS {
        let (disk, file) = disk_with_file(seed, config());
        disk.set_faults(FaultMode::Drawn(plan.clone()));
        file.write_at(&[2; 512], 0).unwrap();
        file.sync().unwrap();
        let fork = disk.fork(seed);
        kept.insert(after_power_cut(&fork)[0]);
        disk.enable_faults(false);
        file.sync().unwrap();
        assert_eq!(after_power_cut(&disk)[0], 2, "an honest sync saves all");
    }
    assert_eq!(kept, [1, 2].into());
}

/// A workload that bears every error.
fn busy(disk: &SimVfs) {
    for round in 0..40u8 {
        let name = format!("/{}", round % 5);
        let name = Path::new(&name);
        drop(disk.create(name));
        let Ok(file) = disk.open(name, Access::ReadWrite) else { continue };
        drop(file.write_at(&[round; 700], u64::from(round) * 100));
        drop(file.read_at(&mut [0; 900], 0));
        drop(file.sync());
        drop(file.set_len(u64::from(round) * 50));
        drop(file.allocate(0, 2000));
        drop(disk.sync_dir(path("/")));
        if round % 7 == 0 {
            drop(disk.rename(name, path("/r")));
            drop(disk.link(path("/r"), path("/l")));
            drop(disk.remove(path("/l")));
        }
        drop(disk.list(path("/")));
    }
}

#[test]
fn injected_faults_replay_from_their_list_and_can_be_deleted_one_by_one() {
    let plan = FaultPlan::all(Odds::one_in(20)).lying(Odds::one_in(20)).late(Odds::one_in(20));
    let plan = plan.with(CallKind::Write, FaultKind::ReadOnly, Odds::one_in(300));
    for seed in 0..50 {
        let drawn = SimVfs::with_streams(&Streams::new(seed), config(), plan.clone());
        busy(&drawn);
        let listed = SimVfs::with_config(seed, config());
        listed.set_faults(FaultMode::Listed(drawn.injected()));
        busy(&listed);
        assert_eq!(listed.digest(), drawn.digest(), "seed {seed}");
        assert_eq!(listed.injected(), drawn.injected());
        let mut fewer = drawn.injected();
        if !fewer.is_empty() {
            fewer.remove(fewer.len() / 2);
            let pruned = SimVfs::with_config(seed, config());
            pruned.set_faults(FaultMode::Listed(fewer.clone()));
            busy(&pruned);
            assert!(pruned.injected().len() <= fewer.len());
        }
    }
}

#[test]
fn every_fault_is_reached_and_injected_and_counted() {
    let plan = FaultPlan::all(Odds::one_in(10)).lying(Odds::one_in(10)).late(Odds::one_in(10));
    let plan = plan.with(CallKind::Read, FaultKind::BadSectorForever, Odds::one_in(20)).with(
        CallKind::Write,
        FaultKind::ReadOnly,
        Odds::one_in(500),
    );
    let mut missing: BTreeSet<FaultKind> =
        plan.odds.values().flat_map(|o| o.keys()).copied().collect();
    assert_eq!(missing.len(), 11);
    for seed in 0..50 {
        let disk = SimVfs::with_streams(&Streams::new(seed), config(), plan.clone());
        busy(&disk);
        let stats = disk.stats();
        for (kind, reach) in &stats.faults {
            assert!(reach.injected <= disk.calls());
            if reach.injected > 0 {
                missing.remove(kind);
            }
        }
        let text = serde_json::to_string(&stats).unwrap();
        assert_eq!(serde_json::from_str::<runstone_sim::disk::Stats>(&text).unwrap(), stats);
    }
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn plans_configurations_and_lists_survive_as_text() {
    let plan = FaultPlan::all(Odds::one_in(3)).lying(Odds::ALWAYS);
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<FaultPlan>(&text).unwrap(), plan);
    let text = serde_json::to_string(&config()).unwrap();
    assert_eq!(serde_json::from_str::<DiskConfig>(&text).unwrap(), config());
    assert_eq!(serde_json::from_str::<DiskConfig>("{}").unwrap(), DiskConfig::default());
    let mode = FaultMode::Drawn(plan);
    let text = serde_json::to_string(&mode).unwrap();
    assert_eq!(serde_json::from_str::<FaultMode>(&text).unwrap(), mode);
}

#[test]
fn a_fault_behind_a_rare_call_strikes_the_first_call_there_that_it_suits_once() {
    let (disk, file) = disk_with_file(0, config());
    // Behind the second rare call, from the second call after it on.
    disk.fail_behind_rare(1, 2, Fault::new(FaultKind::NoSpace).without_effect());
    let full = |outcome: std::io::Result<usize>| {
        outcome.is_err_and(|error| error.kind() == ErrorKind::StorageFull)
    };
    disk.create(path("/first")).unwrap();
    file.write_at(&[2; 8], 0).unwrap();
    disk.rename(path("/first"), path("/second")).unwrap();
    file.write_at(&[2; 8], 0).unwrap();
    file.len().unwrap();
    assert!(full(file.write_at(&[2; 8], 0)), "the first that a full disk can refuse");
    file.write_at(&[2; 8], 0).unwrap();
    let hits: Vec<_> = disk.injected().iter().map(|hit| hit.kind).collect();
    assert_eq!(hits, [CallKind::Write]);
}
