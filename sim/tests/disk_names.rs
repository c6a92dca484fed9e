//! Names at a power cut (rules N1 to N6, V): what can happen does for some seed, and what
//! was promised holds for all.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use runstone_sim::disk::{CrashKind, CrashModel, DiskConfig, NameModel, Odds, SimVfs};
use runstone_vfs::{Access, FileKind, Vfs};

const SEEDS: u64 = 500;

/// Names only: files that are not synced keep their content, so that it tells them apart.
fn config() -> DiskConfig {
    DiskConfig {
        models: [(CrashModel::Sectors, 1)].into(),
        lost_data_garbage: Odds::NEVER,
        early_writeback: Odds::NEVER,
        rename_keeps_both: Odds::NEVER,
        inode_reuse: Odds::NEVER,
        stray_files: Odds::NEVER,
        ..DiskConfig::default()
    }
}

fn path(text: &str) -> &Path {
    Path::new(text)
}

/// A file whose content is durable; its name is not.
fn synced(disk: &SimVfs, name: &str, content: &[u8]) {
    let file = disk.create(path(name)).unwrap();
    file.write_at(content, 0).unwrap();
    file.sync().unwrap();
}

/// The states after a power cut, over many seeds: each is the list of (path, first byte).
fn states(config: &DiskConfig, script: impl Fn(&SimVfs)) -> BTreeSet<Vec<(String, u8)>> {
    let mut states = BTreeSet::new();
    for seed in 0..SEEDS {
        let disk = SimVfs::with_config(seed, config.clone());
        script(&disk);
        disk.crash_now(CrashKind::Power);
        let image = disk.live_image().into_iter();
        let text = |p: PathBuf| p.display().to_string();
        states.insert(image.map(|(p, c)| (text(p), c.first().copied().unwrap_or(0))).collect());
    }
    states
}

fn state(files: &[(&str, u8)]) -> Vec<(String, u8)> {
    files.iter().map(|(name, byte)| ((*name).to_owned(), *byte)).collect()
}

fn set(states: &[&[(&str, u8)]]) -> BTreeSet<Vec<(String, u8)>> {
    states.iter().map(|files| state(files)).collect()
}

#[test]
fn n1_a_name_is_durable_by_a_sync_of_its_directory_only() {
    let lost = states(&config(), |disk| synced(disk, "/a", &[1]));
    assert_eq!(lost, set(&[&[], &[("/a", 1)]]));
    let kept = states(&config(), |disk| {
        synced(disk, "/a", &[1]);
        disk.sync_dir(path("/")).unwrap();
        assert!(disk.is_durable(path("/a")));
    });
    assert_eq!(kept, set(&[&[("/a", 1)]]));
}

#[test]
fn n1_a_rename_across_directories_needs_both_synced() {
    for (sync_from, sync_to) in [(false, false), (true, false), (false, true), (true, true)] {
        let seen = states(&config(), |disk| {
            for dir in ["/x", "/y"] {
                disk.create_dir(path(dir)).unwrap();
                disk.sync_dir(path(dir)).unwrap();
            }
            disk.sync_dir(path("/")).unwrap();
            synced(disk, "/x/a", &[1]);
            disk.sync_dir(path("/x")).unwrap();
            disk.rename(path("/x/a"), path("/y/a")).unwrap();
            if sync_from {
                disk.sync_dir(path("/x")).unwrap();
            }
            if sync_to {
                disk.sync_dir(path("/y")).unwrap();
            }
        });
        let both = set(&[&[("/x/a", 1)], &[("/y/a", 1)]]);
        let new = set(&[&[("/y/a", 1)]]);
        assert_eq!(seen, if sync_from && sync_to { new } else { both });
    }
}

#[test]
fn n2_any_subset_of_unsynced_changes_persists_in_one_mode_and_prefixes_in_the_other() {
    let script = |disk: &SimVfs| {
        synced(disk, "/a", &[1]);
        disk.sync_dir(path("/")).unwrap();
        synced(disk, "/b", &[2]);
        synced(disk, "/c", &[3]);
        disk.remove(path("/a")).unwrap();
    };
    let subsets = states(&config().only_names(NameModel::Subset), script);
    assert_eq!(subsets.len(), 8);
    let prefixes = states(&config().only_names(NameModel::Prefix), script);
    let expected = set(&[
        &[("/a", 1)],
        &[("/a", 1), ("/b", 2)],
        &[("/a", 1), ("/b", 2), ("/c", 3)],
        &[("/b", 2), ("/c", 3)],
    ]);
    assert_eq!(prefixes, expected);
}

#[test]
fn n2_the_removal_of_the_old_may_persist_before_the_rename_of_the_new() {
    let seen = states(&config(), |disk| {
        synced(disk, "/old", &[1]);
        synced(disk, "/new.tmp", &[2]);
        disk.sync_dir(path("/")).unwrap();
        disk.rename(path("/new.tmp"), path("/new")).unwrap();
        disk.remove(path("/old")).unwrap();
    });
    assert!(seen.contains(&state(&[("/new.tmp", 2)])), "{seen:?}");
    assert_eq!(seen.len(), 4);
}

#[test]
fn n3_a_directory_sync_saves_only_names_of_files_that_had_been_synced() {
    let script = |disk: &SimVfs| {
        disk.create(path("/a")).unwrap().write_at(&[1], 0).unwrap();
        disk.sync_dir(path("/")).unwrap();
    };
    assert!(states(&config(), script).contains(&state(&[])));
    let kinder = DiskConfig { names_need_synced_files: false, ..config() };
    assert!(!states(&kinder, script).contains(&state(&[])));
    // The recipe's order, and a second directory sync, both save it.
    for again in [false, true] {
        let seen = states(&config(), |disk| {
            let file = disk.create(path("/a")).unwrap();
            if again {
                disk.sync_dir(path("/")).unwrap();
            }
            file.write_at(&[1], 0).unwrap();
            file.sync().unwrap();
            disk.sync_dir(path("/")).unwrap();
        });
        assert_eq!(seen, set(&[&[("/a", 1)]]));
    }
}

#[test]
fn n3_a_rename_of_an_unsynced_file_keeps_the_old_target() {
    let seen = states(&config(), |disk| {
        synced(disk, "/m", &[1]);
        disk.sync_dir(path("/")).unwrap();
        disk.create(path("/t")).unwrap().write_at(&[2], 0).unwrap();
        disk.rename(path("/t"), path("/m")).unwrap();
        disk.sync_dir(path("/")).unwrap();
    });
    assert!(seen.contains(&state(&[("/m", 1)])), "{seen:?}");
    // N4: the new name may come without its content.
    assert!(seen.contains(&state(&[("/m", 0)])), "{seen:?}");
}

#[test]
fn n4_a_rename_is_atomic_under_every_model() {
    for model in CrashModel::ALL {
        let seen = states(&config().only(model), |disk| {
            synced(disk, "/m", &[1]);
            synced(disk, "/t", &[2]);
            disk.sync_dir(path("/")).unwrap();
            disk.rename(path("/t"), path("/m")).unwrap();
        });
        let legal = set(&[&[("/m", 1), ("/t", 2)], &[("/m", 2)]]);
        assert!(seen.is_subset(&legal), "{model:?}: {seen:?}");
    }
}

#[test]
fn n4_the_knob_leaves_both_names_and_the_target_is_never_absent() {
    let seen = states(&DiskConfig { rename_keeps_both: Odds::one_in(2), ..config() }, |disk| {
        synced(disk, "/t", &[2]);
        disk.sync_dir(path("/")).unwrap();
        disk.rename(path("/t"), path("/m")).unwrap();
    });
    assert_eq!(seen, set(&[&[("/t", 2)], &[("/m", 2)], &[("/m", 2), ("/t", 2)]]));
}

#[test]
fn n5_a_removed_file_comes_back_perhaps_with_the_content_of_a_later_one() {
    let script = |disk: &SimVfs| {
        synced(disk, "/a", &[1]);
        disk.sync_dir(path("/")).unwrap();
        disk.remove(path("/a")).unwrap();
        synced(disk, "/b", &[2]);
    };
    let seen = states(&config(), script);
    assert!(seen.contains(&state(&[("/a", 1)])));
    assert!(!seen.contains(&state(&[("/a", 2)])));
    let seen = states(&DiskConfig { inode_reuse: Odds::one_in(2), ..config() }, script);
    assert!(seen.contains(&state(&[("/a", 2)])));
    assert!(seen.contains(&state(&[("/a", 2), ("/b", 2)])));
    let seen = states(&DiskConfig { inode_reuse: Odds::ALWAYS, ..config() }, |disk| {
        script(disk);
        disk.sync_dir(path("/")).unwrap();
    });
    assert_eq!(seen, set(&[&[("/b", 2)]]), "a synced removal is for ever");
}

#[test]
fn n6_the_stores_own_directory_needs_its_own_and_its_parents_sync() {
    let seen = |own: bool, parent: bool| {
        states(&config(), |disk| {
            disk.create_dir(path("/db")).unwrap();
            synced(disk, "/db/m", &[1]);
            if own {
                disk.sync_dir(path("/db")).unwrap();
            }
            if parent {
                disk.sync_dir(path("/")).unwrap();
            }
        })
    };
    for (own, parent) in [(false, false), (true, false), (false, true)] {
        assert_eq!(seen(own, parent).len(), 2, "own {own}, parent {parent}: may be lost");
    }
    assert_eq!(seen(true, true), set(&[&[("/db/m", 1)]]));
}

#[test]
fn a_later_durable_change_of_a_name_voids_the_older_ones() {
    // The first file is never synced, so its creation stays pending behind the second.
    let seen = states(&config(), |disk| {
        disk.create(path("/a")).unwrap().write_at(&[1], 0).unwrap();
        disk.remove(path("/a")).unwrap();
        synced(disk, "/a", &[2]);
        disk.sync_dir(path("/")).unwrap();
    });
    assert_eq!(seen, set(&[&[("/a", 2)]]));
}

#[test]
fn v_a_listing_comes_in_any_order_and_a_crash_may_leave_strays() {
    let mut orders = BTreeSet::new();
    let mut strays = 0;
    for seed in 0..SEEDS {
        let config = DiskConfig { stray_files: Odds::one_in(2), ..config() };
        let disk = SimVfs::with_config(seed, config);
        for name in ["/a", "/b", "/c"] {
            synced(&disk, name, &[1]);
        }
        disk.sync_dir(path("/")).unwrap();
        let list = disk.list(path("/")).unwrap();
        assert!(list.iter().all(|entry| entry.kind == FileKind::File));
        orders.insert(list);
        disk.crash_now(CrashKind::Power);
        disk.restart();
        strays += disk.list(path("/")).unwrap().len() - 3;
    }
    assert_eq!(orders.len(), 6);
    assert!((200..300).contains(&strays), "{strays}");
}

#[test]
fn hard_links_are_names_of_their_own() {
    let seen = states(&config(), |disk| {
        synced(disk, "/a", &[1]);
        disk.sync_dir(path("/")).unwrap();
        disk.link(path("/a"), path("/b")).unwrap();
        disk.remove(path("/a")).unwrap();
        let file = disk.open(path("/b"), Access::Read).unwrap();
        assert_eq!(file.len().unwrap(), 1);
    });
    let expected = set(&[&[], &[("/a", 1)], &[("/b", 1)], &[("/a", 1), ("/b", 1)]]);
    assert_eq!(seen, expected);
}
