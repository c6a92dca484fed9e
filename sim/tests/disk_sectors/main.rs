//! The sector model against an oracle that is written down independently of it.
//!
//! For short scripts of writes and sizes on one file, the oracle enumerates every legal state
//! after a power cut by brute force over bytes. No crash may produce a state outside of it,
//! and every state in it must be produced by some seed: a model that never shows a legal
//! adverse state would hide bugs.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod oracle;

use std::collections::BTreeSet;
use std::path::Path;

use runstone_sim::disk::{
    CallKind, CrashKind, CrashModel, DiskConfig, Fault, FaultKind, NameModel, Odds, SimVfs,
};
use runstone_sim::rng::Rng;
use runstone_vfs::{Access, Vfs, VfsFile};

use oracle::Step::{FailedSync, SetLen, Sync, Write};
use oracle::{Oracle, SECTOR, Step};

fn config() -> DiskConfig {
    DiskConfig {
        lost_data_garbage: Odds::NEVER,
        prealloc_garbage: Odds::NEVER,
        doom_next_write: Odds::NEVER,
        stray_files: Odds::NEVER,
        ..DiskConfig::default()
    }
    .only(CrashModel::Sectors)
    .only_names(NameModel::All)
}

fn run(disk: &SimVfs, script: &[Step]) {
    let file = disk.create(Path::new("/f")).unwrap();
    file.sync().unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    for step in script {
        match *step {
            Write(pos, len, byte) => {
                assert_eq!(file.write_at(&vec![byte; len], pos as u64).unwrap(), len);
            }
            SetLen(len) => file.set_len(len as u64).unwrap(),
            Sync => file.sync().unwrap(),
            FailedSync => {
                disk.fail_nth(CallKind::Sync, 0, Fault::new(FaultKind::Io));
                file.sync().unwrap_err();
            }
        }
    }
}

fn crashed(seed: u64, config: DiskConfig, script: &[Step]) -> Vec<u8> {
    let disk = SimVfs::with_config(seed, config);
    run(&disk, script);
    disk.crash_now(CrashKind::Power);
    disk.restart();
    disk.live_image().remove(Path::new("/f")).unwrap()
}

/// A content for a message: each run of bytes as (value, length).
fn runs(content: &[u8]) -> Vec<(u8, usize)> {
    content.chunk_by(|a, b| a == b).map(|run| (run[0], run.len())).collect()
}

const SCRIPTS: &[&[Step]] = &[
    &[Write(0, 1024, 1)],
    &[Write(0, 512, 1), Write(0, 512, 2), Write(0, 512, 3)],
    &[Write(0, 1024, 1), Sync, Write(256, 512, 2)],
    &[Write(0, 700, 1), Sync, Write(700, 500, 2), Write(1200, 100, 3)],
    // A cut in the middle of a sector, and newer data over it.
    &[Write(0, 1024, 1), Sync, SetLen(100), Write(300, 100, 2)],
    // A cut at a boundary, and growth again: old data never returns below a persisted cut.
    &[Write(0, 1536, 1), Sync, SetLen(512), SetLen(1536)],
    &[Write(0, 1536, 1), Sync, SetLen(512), Write(1024, 512, 2)],
    &[Write(0, 1536, 1), Sync, Write(512, 512, 2), SetLen(700), SetLen(1300), Write(600, 10, 3)],
    &[Write(0, 512, 1), SetLen(0), Write(0, 256, 2), SetLen(128), Write(100, 500, 3)],
    &[SetLen(1000), Write(900, 200, 1), Sync, SetLen(10), SetLen(0), Write(1, 1, 2)],
    // Doomed: by itself, carried along, cut, grown.
    &[Write(0, 1024, 1), Sync, Write(0, 1024, 2), FailedSync, Sync, Write(100, 9, 3), Sync],
    &[Write(0, 600, 1), Sync, SetLen(2000), FailedSync, Sync, Write(1500, 9, 3), Sync],
    &[Write(0, 1200, 1), Sync, SetLen(300), FailedSync, Sync, SetLen(700), Sync],
    &[Write(0, 1024, 1), Sync, Write(0, 600, 2), FailedSync, SetLen(200), Sync, SetLen(900)],
    // A gap, and sizes that shrink and grow without data.
    &[Write(1024, 10, 1), SetLen(2000), SetLen(5), SetLen(600)],
];

#[test]
fn d2_s1_s3_every_crash_state_is_legal_and_every_legal_state_is_reached() {
    for script in SCRIPTS {
        let legal = Oracle::of(script).legal();
        let mut seen = BTreeSet::new();
        for seed in 0..(legal.len() as u64 * 200).max(500) {
            let content = crashed(seed, config(), script);
            let state = runs(&content);
            assert!(legal.contains(&content), "seed {seed}, {script:?}: not legal: {state:?}");
            seen.insert(content);
        }
        let never: Vec<_> = legal.difference(&seen).map(|content| runs(content)).collect();
        assert!(never.is_empty(), "{script:?}: never reached: {never:?}");
    }
}

fn random_script(rng: &mut Rng) -> Vec<Step> {
    let pos = |rng: &mut Rng| match rng.below(3) {
        0 => rng.index(5) * SECTOR,
        _ => rng.index(2200),
    };
    let step = |byte| match rng.below(12) {
        0..6 => Write(pos(rng), 1 + rng.index(900), byte),
        6..9 => SetLen(pos(rng)),
        9..11 => Sync,
        _ => FailedSync,
    };
    (1..=10).map(step).collect()
}

#[test]
fn d2_s1_s3_f1_random_scripts_never_leave_the_legal_set() {
    let mut rng = Rng::from_seed(5);
    // A flush before a failing sync saves a size that the oracle takes for doomed.
    let config = DiskConfig { early_flush: Odds::NEVER, ..config() };
    for _ in 0..400 {
        let script = random_script(&mut rng);
        let legal = Oracle::of(&script).legal();
        for seed in 0..20 {
            let content = crashed(seed, config.clone(), &script);
            assert!(legal.contains(&content), "seed {seed}, {script:?}: {:?}", runs(&content));
        }
    }
}

#[test]
fn d2_every_model_without_torn_bytes_stays_inside_the_sector_model() {
    let models = [
        CrashModel::DropAll,
        CrashModel::KeepAll,
        CrashModel::ZeroFill,
        CrashModel::AloneLost,
        CrashModel::AloneKept,
        CrashModel::NamesOnly,
        CrashModel::SizesOnly,
    ];
    for script in SCRIPTS {
        let legal = Oracle::of(script).legal();
        for model in models {
            for seed in 0..60 {
                let content = crashed(seed, config().only(model), script);
                assert!(legal.contains(&content), "{model:?} {script:?} {:?}", runs(&content));
            }
        }
    }
}

#[test]
fn d3_byte_prefix_models_show_every_leading_part_and_nothing_else() {
    for model in [CrashModel::BytePrefix, CrashModel::PrefixTornLast] {
        let mut lengths = BTreeSet::new();
        for seed in 0..3000 {
            let script = [Write(0, 10, 1), Sync, Write(10, 20, 2)];
            let content = crashed(seed, config().only(model), &script);
            assert_eq!(content[..10], [1; 10], "D5");
            let tail = &content[10..];
            let kept = tail.iter().take_while(|&&byte| byte == 2).count();
            assert!(tail[kept..].iter().all(|&byte| byte == 0), "{model:?}: {tail:?}");
            lengths.insert(kept);
        }
        assert_eq!(lengths.len(), 21, "{model:?}: {lengths:?}");
    }
}

#[test]
fn d1_d5_what_a_sync_covered_survives_every_model_and_seed() {
    for model in CrashModel::ALL {
        for seed in 0..200 {
            let config = DiskConfig::default().only(model);
            let script = [Write(0, 1300, 1), Sync, Write(1300, 1000, 2), SetLen(4000)];
            let content = crashed(seed, config, &script);
            assert!(content.len() >= 1300, "{model:?} {seed}");
            assert_eq!(content[..1300], [1; 1300], "{model:?} {seed}");
        }
    }
}

#[test]
fn d1_a_write_is_visible_at_once_and_lost_without_a_sync() {
    let lost = (0..500).filter(|&seed| crashed(seed, config(), &[Write(0, 512, 1)]) != [1; 512]);
    assert!(lost.count() > 0);
    let disk = SimVfs::new(1);
    run(&disk, &[Write(0, 512, 1)]);
    assert_eq!(disk.live_image()[Path::new("/f")], [1; 512]);
    assert!(!disk.is_durable(Path::new("/f")));
}

#[test]
fn d3_early_writeback_saves_a_write_that_nobody_synced() {
    let script = [Write(0, 1024, 1)];
    let config = DiskConfig { early_writeback: Odds::ALWAYS, ..config() }.only(CrashModel::DropAll);
    let outcomes: BTreeSet<_> =
        (0..500).map(|seed| crashed(seed, config.clone(), &script)).collect();
    assert_eq!(outcomes, Oracle::of(&script).legal());
    let flush = Odds::ALWAYS;
    let config = DiskConfig { early_flush: flush, early_writeback: Odds::NEVER, ..config };
    assert_eq!(crashed(1, config, &script), [1; 1024]);
}

#[test]
fn d4_a_garbage_sector_takes_durable_neighbours_and_only_when_switched_on() {
    let script = [Write(0, 600, 1), Sync, Write(600, 10, 2)];
    let world = DiskConfig { garbage_sector: Odds::ALWAYS, ..config() };
    let mut struck = 0;
    for seed in 0..500 {
        let content = crashed(seed, world.clone(), &script);
        assert_eq!(content[..512], [1; 512], "only the sector that was touched");
        struck += u32::from(content[512..600] != [1; 88]);
        let content = crashed(seed, config(), &script);
        assert_eq!(content[..600], [1; 600]);
    }
    // One garbage in sixteen is the block's own bytes.
    assert!(struck > 300, "{struck}");
}

#[test]
fn s1_the_size_comes_without_its_data_and_data_without_its_size() {
    let script = [Write(0, 512, 1), Sync, Write(0, 1024, 2)];
    let outcomes: BTreeSet<_> = (0..500).map(|seed| crashed(seed, config(), &script)).collect();
    assert!(outcomes.contains(&[[1; 512], [0; 512]].concat()));
    assert!(outcomes.contains(&vec![2; 512]));
}

#[test]
fn s2_lost_data_reads_zeros_or_garbage_where_there_was_no_older_version() {
    let world = DiskConfig { lost_data_garbage: Odds::one_in(2), ..config() };
    let world = world.only(CrashModel::SizesOnly);
    let world = DiskConfig { early_writeback: Odds::NEVER, early_flush: Odds::NEVER, ..world };
    let script = [Write(0, 700, 1), Sync, Write(700, 1000, 2)];
    let mut garbage = 0;
    for seed in 0..500 {
        let content = crashed(seed, world.clone(), &script);
        assert_eq!(content.len(), 1700);
        assert_eq!(content[..700], [1; 700]);
        // The sector that was durable in part keeps its zero tail.
        assert_eq!(content[700..1024], [0; 324]);
        garbage += u32::from(content[1024..].iter().any(|&byte| byte != 0));
    }
    assert!((200..490).contains(&garbage), "{garbage}");
}

#[test]
fn s2_a_preallocated_range_may_read_garbage_even_after_a_sync_but_never_where_written() {
    let world = DiskConfig { prealloc_garbage: Odds::one_in(2), ..config() };
    let mut garbage = 0;
    for seed in 0..500 {
        let disk = SimVfs::with_config(seed, world.clone());
        let file = disk.create(Path::new("/f")).unwrap();
        file.write_at(&[1; 100], 0).unwrap();
        file.allocate(0, 4096).unwrap();
        file.write_at(&[2; 512], 1024).unwrap();
        file.sync().unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        assert_eq!(disk.live_image()[Path::new("/f")][1536..], [0; 2560], "zeros until a crash");
        disk.crash_now(CrashKind::Power);
        disk.restart();
        let content = disk.live_image().remove(Path::new("/f")).unwrap();
        assert_eq!(content.len(), 4096);
        assert_eq!(content[..100], [1; 100]);
        assert_eq!(content[100..512], [0; 412]);
        assert_eq!(content[1024..1536], [2; 512]);
        garbage += u32::from(content[1536..].iter().any(|&byte| byte != 0));
        // Stable from here on: a second cut finds the same.
        disk.crash_now(CrashKind::Power);
        assert_eq!(disk.live_image()[Path::new("/f")], content);
    }
    assert!((150..350).contains(&garbage), "{garbage}");
}

#[test]
fn s2_a_truncation_returns_a_preallocated_range_to_zeros() {
    let world = DiskConfig { prealloc_garbage: Odds::ALWAYS, ..config() };
    for seed in 0..100 {
        for syncs in 0..4 {
            let disk = SimVfs::with_config(seed, world.clone());
            let file = disk.create(Path::new("/f")).unwrap();
            file.allocate(0, 2048).unwrap();
            if syncs & 1 == 1 {
                file.sync().unwrap();
            }
            file.set_len(512).unwrap();
            if syncs & 2 == 2 {
                file.sync().unwrap();
            }
            file.set_len(2048).unwrap();
            file.sync().unwrap();
            disk.sync_dir(Path::new("/")).unwrap();
            disk.crash_now(CrashKind::Power);
            assert_eq!(disk.live_image()[Path::new("/f")][512..], [0; 1536], "{syncs}");
        }
    }
}

#[test]
fn s2_an_allocation_that_was_lost_or_cut_gives_no_garbage() {
    let world = DiskConfig { prealloc_garbage: Odds::ALWAYS, ..config() };
    let after = |model, script: &dyn Fn(&dyn VfsFile)| {
        let disk = SimVfs::with_config(1, world.clone().only(model));
        run(&disk, &[Write(0, 2048, 1), Sync]);
        script(&*disk.open(Path::new("/f"), Access::ReadWrite).unwrap());
        disk.crash_now(CrashKind::Power);
        disk.live_image().remove(Path::new("/f")).unwrap()
    };
    // The allocation is lost with the cut before it: the old data is durable (D5).
    let lost = after(CrashModel::DropAll, &|file| {
        file.set_len(0).unwrap();
        file.allocate(0, 2048).unwrap();
    });
    assert_eq!(lost, [1; 2048]);
    // The allocation is synced, and cut away again by what persists.
    let cut = after(CrashModel::KeepAll, &|file| {
        file.allocate(0, 4096).unwrap();
        file.sync().unwrap();
        file.set_len(2048).unwrap();
        file.set_len(4096).unwrap();
    });
    assert_eq!(cut[2048..], [0; 2048]);
}

#[test]
fn d3_the_report_says_where_a_write_was_torn() {
    for seed in 0..200 {
        let disk = SimVfs::with_config(seed, config().only(CrashModel::BytePrefix));
        run(&disk, &[SetLen(100), Sync, Write(10, 20, 2)]);
        disk.crash_now(CrashKind::Power);
        let content = disk.live_image().remove(Path::new("/f")).unwrap();
        let kept = content.iter().filter(|&&byte| byte == 2).count() as u64;
        let report = disk.crash_report().unwrap();
        let lost = report.files.iter().flat_map(|file| &file.lost).next();
        match lost {
            None => assert_eq!(kept, 20),
            Some(write) if write.torn_at.is_none() => assert_eq!(kept, 0),
            Some(write) => assert_eq!(write.torn_at, Some(10 + kept)),
        }
    }
}

#[test]
fn v_after_a_crash_the_state_is_stable() {
    for seed in 0..300 {
        let disk = SimVfs::new(seed);
        run(&disk, &[Write(0, 3000, 1), Sync, Write(100, 4000, 2), SetLen(50), Write(90, 9, 3)]);
        disk.crash_now(CrashKind::Power);
        let first = disk.live_image();
        assert_eq!(first, disk.durable_image());
        for _ in 0..3 {
            disk.restart();
            let file = disk.open(Path::new("/f"), Access::Read).unwrap();
            let mut bytes = vec![0; first[Path::new("/f")].len()];
            file.read_at(&mut bytes, 0).unwrap();
            assert_eq!(bytes, first[Path::new("/f")]);
            disk.crash_now(CrashKind::Power);
            let after = disk.live_image();
            assert!(first.iter().all(|(path, content)| after.get(path) == Some(content)));
        }
    }
}
