//! World R: damage on demand does what it says, and nothing else.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::mem::discriminant;
use std::path::Path;

use runstone_sim::disk::{CrashKind, DiskConfig, Rot, SimVfs};
use runstone_vfs::{Access, Vfs};

fn path(text: &str) -> &Path {
    Path::new(text)
}

/// Two durable files, each sector with its own byte; sector 1 of `/a` has an older version.
fn disk(seed: u64) -> SimVfs {
    let disk = SimVfs::with_config(seed, DiskConfig { sector_history: 2, ..DiskConfig::plain() });
    for (name, first) in [("/a", 1), ("/b", 11)] {
        let file = disk.create(path(name)).unwrap();
        for sector in 0..3u8 {
            file.write_at(&[first + sector; 512], u64::from(sector) * 512).unwrap();
        }
        file.sync().unwrap();
        if name == "/a" {
            file.write_at(&[99; 512], 512).unwrap();
            file.sync().unwrap();
        }
    }
    disk.sync_dir(path("/")).unwrap();
    disk
}

fn firsts(disk: &SimVfs, name: &str) -> [u8; 3] {
    let image = disk.live_image();
    assert_eq!(image, disk.durable_image());
    let content = &image[path(name)];
    [content[0], content[512], content[1024]]
}

#[test]
fn r_each_damage_does_what_it_says() {
    let disk = disk(1);
    disk.flip_bit(path("/b"), 8).unwrap();
    assert_eq!(disk.live_image()[path("/b")][..3], [11, 10, 11]);
    disk.zero_sector(path("/b"), 2).unwrap();
    assert_eq!(firsts(&disk, "/b"), [11, 12, 0]);
    disk.swap_sectors(path("/b"), 0, 1).unwrap();
    assert_eq!(firsts(&disk, "/b"), [12, 11, 0]);
    assert!(disk.restore_older_sector(path("/a"), 1).unwrap());
    assert_eq!(firsts(&disk, "/a"), [1, 2, 3]);
    assert!(!disk.restore_older_sector(path("/a"), 1).unwrap(), "there is no older one");
    disk.misdirect((path("/a"), 2), (path("/b"), 0)).unwrap();
    assert_eq!(firsts(&disk, "/b"), [3, 11, 0]);
    disk.break_sector(path("/a"), 1).unwrap();
    let file = disk.open(path("/a"), Access::Read).unwrap();
    file.read_at(&mut [0; 513], 0).unwrap_err();
    file.read_at(&mut [0; 512], 0).unwrap();
    disk.flip_bit(path("/a"), 3 * 512 * 8).unwrap_err();
    disk.zero_sector(path("/none"), 0).unwrap_err();
}

#[test]
fn r_damage_survives_a_power_cut() {
    let disk = disk(1);
    disk.zero_sector(path("/a"), 0).unwrap();
    disk.crash_now(CrashKind::Power);
    assert_eq!(firsts(&disk, "/a"), [0, 99, 3]);
}

#[test]
fn r_random_rot_reaches_every_kind_reports_it_and_repeats() {
    let mut kinds = BTreeSet::new();
    for seed in 0..100 {
        let (rotten, again) = (disk(seed), disk(seed));
        let done = rotten.rot(3);
        for rot in &done {
            kinds.insert(format!("{:?}", discriminant(rot)));
            again.apply_rot(rot).unwrap();
        }
        assert_eq!(again.live_image(), rotten.live_image());
        assert_ne!(done, Vec::<Rot>::new());
    }
    assert_eq!(kinds.len(), 5);
}
