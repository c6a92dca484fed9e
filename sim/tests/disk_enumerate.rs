//! Exhaustive power cuts: what is enumerated is what the simulated disk may draw, no more and
//! no less, and deciding lazily reaches the same states as deciding at once.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use runstone_sim::disk::{CrashModel, DiskConfig, NameModel, Odds, Odometer, SimVfs};
use runstone_vfs::{Access, Vfs};

type Image = BTreeMap<PathBuf, Vec<u8>>;

/// No garbage and no strays, but every choice of sectors, sizes and names.
fn config() -> DiskConfig {
    DiskConfig {
        size_independent: Odds::ALWAYS,
        rename_keeps_both: Odds::one_in(2),
        names_need_synced_files: true,
        names_need_synced_dirs: true,
        ..DiskConfig::plain().only(CrashModel::Sectors).only_names(NameModel::Subset)
    }
}

/// A synced file that is overwritten, extended and cut, and another that replaces a name.
fn pending(seed: u64) -> io::Result<SimVfs> {
    let disk = SimVfs::with_config(seed, config());
    let a = disk.create(Path::new("/a"))?;
    a.write_at(&[1; 600], 0)?;
    a.sync()?;
    disk.sync_dir(Path::new("/"))?;
    a.write_at(&[2; 400], 300)?;
    a.set_len(400)?;
    let b = disk.create(Path::new("/b"))?;
    b.write_at(&[3; 700], 0)?;
    disk.rename(Path::new("/b"), Path::new("/c"))?;
    Ok(disk)
}

fn images(next: impl Fn(&mut Odometer) -> SimVfs) -> (BTreeSet<Image>, u128) {
    let (mut images, mut count) = (BTreeSet::new(), 0);
    let mut odometer = Odometer::default();
    loop {
        images.insert(next(&mut odometer).live_image());
        count += 1;
        if !odometer.advance() {
            return (images, count);
        }
    }
}

#[test]
fn brute_force_counts_every_choice_and_deciding_lazily_reaches_the_same_states_once() {
    let disk = pending(1).unwrap();
    let cuts = disk.power_cuts();
    let (brute, choices) = images(|odometer| disk.power_cut_by(odometer));
    let (lazy, states) = images(|odometer| {
        let cut = cuts.names[odometer.choose(cuts.names.len())].fork(0);
        cut.decide_everything(odometer);
        cut
    });
    assert_eq!(choices, cuts.choices);
    assert_eq!(states, cuts.states);
    assert_eq!(lazy, brute);
    assert_eq!(states, lazy.len() as u128, "every state is another");
    assert!(choices > states);
}

#[test]
fn what_is_enumerated_is_what_the_disk_draws() {
    let disk = pending(1).unwrap();
    let (all, _) = images(|odometer| disk.power_cut_by(odometer));
    // The written bytes are at most 3; the filler is not.
    let is_filled = |image: &&Image| image.values().flatten().any(|byte| *byte > 3);
    let unfilled: BTreeSet<Image> = all.iter().filter(|i| !is_filled(i)).cloned().collect();
    assert!(unfilled.len() < all.len());
    let mut drawn = BTreeSet::new();
    for seed in 0..20_000 {
        let disk = pending(seed).unwrap();
        disk.crash_with(CrashModel::Sectors, None);
        disk.restart();
        drawn.insert(disk.live_image());
    }
    assert_eq!(drawn.difference(&unfilled).count(), 0, "drawn, and not enumerated");
    assert_eq!(unfilled.difference(&drawn).count(), 0, "enumerated, and never drawn");
}

#[test]
fn what_nobody_looks_at_stays_open_and_what_is_looked_at_stays_as_it_is() {
    let disk = pending(1).unwrap();
    let cuts = disk.power_cuts();
    let cut = cuts.names.iter().find(|cut| cut.live_image().contains_key(Path::new("/c"))).unwrap();
    let open = cut.possible_states();
    let mut odometer = Odometer::default();
    cut.decide_bytes(Path::new("/a"), 0, 1, &mut odometer);
    assert!(cut.possible_states() < open);
    let read = |disk: &SimVfs| {
        let mut byte = [0];
        disk.open(Path::new("/a"), Access::Read).unwrap().read_at(&mut byte, 0).unwrap();
        byte
    };
    let (seen, digits) = (read(cut), odometer.position());
    cut.decide_bytes(Path::new("/a"), 0, 1, &mut odometer);
    assert_eq!((read(cut), odometer.position()), (seen, digits), "nothing is decided twice");
    // Another crash leaves it so, and the other file as open as it was.
    let left = cut.possible_states();
    let again = cut.power_cuts();
    assert_eq!((again.names.len(), again.states), (1, left));
    assert_eq!(read(&again.names[0]), seen);
}
