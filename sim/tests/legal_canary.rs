//! Canaries: disks that break one rule each, and must be caught, with the rule named.
//!
//! A check that never fails proves nothing. Each test here hands the statement of the legal
//! states an image that no crash may leave; should one be accepted, the test fails, and with it
//! every CI run.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may panic, also in its helpers"
)]

use std::path::Path;
use std::sync::Arc;

use runstone_sim::disk::{
    CallKind, CrashKind, CrashModel, DiskConfig, Fault, FaultKind, NameModel, SimVfs,
};
use runstone_sim::legal::{Allow, Event, History, Illegal, Image, Ino, Rule};
use runstone_sim::record::{Log, Recorder, image};
use runstone_vfs::Vfs;

fn path(text: &str) -> &Path {
    Path::new(text)
}

/// A simulated disk, what is known of it, and what will be judged.
struct Canary {
    disk: SimVfs,
    vfs: Recorder,
    log: Arc<Log>,
    history: History,
}

impl Canary {
    fn new(model: CrashModel) -> Canary {
        let config = DiskConfig::plain().only(model).only_names(NameModel::All);
        let disk = SimVfs::with_config(1, config);
        let (vfs, log) = Recorder::of(&disk);
        let history = History::of(&image(&disk));
        Canary { disk, vfs, log, history }
    }

    /// `/d/log` with 1,000 durable bytes of ones.
    fn with_log(model: CrashModel) -> Canary {
        let canary = Canary::new(model);
        canary.vfs.create_dir(path("/d")).unwrap();
        let file = canary.vfs.create(path("/d/log")).unwrap();
        file.write_at(&[1; 1000], 0).unwrap();
        file.sync().unwrap();
        canary.vfs.sync_dir(path("/d")).unwrap();
        canary.vfs.sync_dir(path("/")).unwrap();
        canary
    }

    /// Crashes the disk and lets `tamper` change what is left.
    fn judge(mut self, kind: CrashKind, tamper: impl FnOnce(&mut Image)) -> Result<(), Illegal> {
        self.disk.crash_now(kind);
        let (events, under_way): (Vec<Event>, _) = self.log.take();
        events.iter().for_each(|event| self.history.observe(event));
        let mut left = image(&self.disk);
        tamper(&mut left);
        match kind {
            CrashKind::Power => {
                self.history.judge_power_cut(&left, under_way.as_ref(), Allow::default())
            }
            CrashKind::Process => self.history.judge_kill(&left, under_way.as_ref()),
        }
    }

    /// The tampered image must be refused for this rule, and the disk's own must not be.
    #[track_caller]
    fn is_caught(make: impl Fn() -> Canary, rule: Rule, tamper: impl Fn(&mut Image)) {
        make().judge(CrashKind::Power, |_| ()).expect("what the disk itself leaves is legal");
        let illegal = make().judge(CrashKind::Power, tamper);
        let illegal = illegal.expect_err("THE CANARY LIVES: an illegal image was accepted");
        assert_eq!(illegal.rule, rule, "{illegal}");
    }
}

fn ino(image: &Image, names: &[&str]) -> Ino {
    image.find(names.iter().copied()).unwrap()
}

fn content<'a>(image: &'a mut Image, names: &[&str]) -> &'a mut Vec<u8> {
    let ino = ino(image, names);
    image.files.get_mut(&ino).unwrap()
}

#[test]
fn canary_d1_a_disk_that_drops_a_synced_byte_is_caught() {
    Canary::is_caught(
        || Canary::with_log(CrashModel::DropAll),
        Rule::D1,
        |image| content(image, &["d", "log"])[700] = 0,
    );
}

#[test]
fn canary_d1_a_disk_that_drops_a_synced_size_is_caught() {
    let make = || {
        let canary = Canary::with_log(CrashModel::KeepAll);
        let file = canary.vfs.open(path("/d/log"), runstone_vfs::Access::ReadWrite).unwrap();
        file.write_at(&[2; 10], 1000).unwrap();
        canary
    };
    Canary::is_caught(make, Rule::S1, |image| content(image, &["d", "log"]).truncate(900));
}

/// An unsynced write of twos over everything, and further.
fn with_unsynced_write(model: CrashModel) -> Canary {
    let canary = Canary::with_log(model);
    let file = canary.vfs.open(path("/d/log"), runstone_vfs::Access::ReadWrite).unwrap();
    file.write_at(&[2; 2000], 0).unwrap();
    canary
}

#[test]
fn canary_d2_a_sector_that_mixes_its_versions_is_caught() {
    Canary::is_caught(
        || with_unsynced_write(CrashModel::KeepAll),
        Rule::D2,
        // Not a leading part: every other byte.
        |image| (0..400).step_by(2).for_each(|i| content(image, &["d", "log"])[i] = 1),
    );
}

#[test]
fn canary_d3_a_write_that_is_torn_in_two_places_is_caught() {
    Canary::is_caught(
        || with_unsynced_write(CrashModel::KeepAll),
        Rule::D3,
        // Both sectors hold a leading part only.
        |image| {
            content(image, &["d", "log"])[300..512].fill(1);
            content(image, &["d", "log"])[700..1000].fill(1);
            content(image, &["d", "log"])[1000..1024].fill(0);
        },
    );
}

#[test]
fn canary_s1_a_size_that_the_file_never_had_is_caught() {
    Canary::is_caught(
        || with_unsynced_write(CrashModel::KeepAll),
        Rule::S1,
        |image| content(image, &["d", "log"]).resize(2001, 0),
    );
}

#[test]
fn canary_s2_a_hole_that_does_not_read_zeros_is_caught() {
    let make = || {
        let canary = Canary::with_log(CrashModel::KeepAll);
        let file = canary.vfs.open(path("/d/log"), runstone_vfs::Access::ReadWrite).unwrap();
        file.set_len(4096).unwrap();
        canary
    };
    Canary::is_caught(make, Rule::S2, |image| content(image, &["d", "log"])[3000] = 7);
}

#[test]
fn canary_s3_data_that_is_back_behind_a_truncation_that_persisted_is_caught() {
    let make = || {
        let canary = Canary::with_log(CrashModel::KeepAll);
        let file = canary.vfs.open(path("/d/log"), runstone_vfs::Access::ReadWrite).unwrap();
        file.set_len(100).unwrap();
        file.set_len(1500).unwrap();
        canary
    };
    Canary::is_caught(make, Rule::S3, |image| content(image, &["d", "log"])[512..1000].fill(1));
}

/// An extension after a truncation ends in a sector, and changes no byte of it: without the
/// truncation there is no version of the sector that reads zeros.
#[test]
fn canary_d2_a_sector_that_only_an_extension_could_have_zeroed_is_caught() {
    let make = || {
        let canary = Canary::with_log(CrashModel::DropAll);
        let file = canary.vfs.open(path("/d/log"), runstone_vfs::Access::ReadWrite).unwrap();
        file.set_len(400).unwrap();
        file.set_len(900).unwrap();
        canary
    };
    Canary::is_caught(make, Rule::D2, |image| content(image, &["d", "log"])[512..].fill(0));
}

#[test]
fn canary_n1_a_disk_that_loses_a_durable_name_is_caught() {
    Canary::is_caught(
        || Canary::with_log(CrashModel::DropAll),
        Rule::N1,
        |image| {
            let dir = ino(image, &["d"]);
            image.dirs.get_mut(&dir).unwrap().clear();
            image.files.clear();
        },
    );
}

#[test]
fn canary_n1_a_disk_that_keeps_a_durably_removed_name_is_caught() {
    let make = || {
        let canary = Canary::with_log(CrashModel::DropAll);
        canary.vfs.remove(path("/d/log")).unwrap();
        canary.vfs.sync_dir(path("/d")).unwrap();
        canary
    };
    Canary::is_caught(make, Rule::N2, |image| {
        let dir = ino(image, &["d"]);
        // The number that the log has had.
        image.dirs.get_mut(&dir).unwrap().insert("log".to_owned(), 3);
        image.files.insert(3, vec![1; 1000]);
    });
}

#[test]
fn canary_n2_a_name_that_leads_to_a_file_it_never_named_is_caught() {
    Canary::is_caught(
        || Canary::with_log(CrashModel::DropAll),
        Rule::N2,
        |image| {
            let (dir, log) = (ino(image, &["d"]), ino(image, &["d", "log"]));
            image.dirs.get_mut(&dir).unwrap().insert("other".to_owned(), log);
        },
    );
}

#[test]
fn canary_n4_half_a_rename_is_caught() {
    let make = || {
        let canary = Canary::with_log(CrashModel::DropAll);
        canary.vfs.rename(path("/d/log"), path("/d/new")).unwrap();
        canary
    };
    Canary::is_caught(make, Rule::N4, |image| {
        let dir = ino(image, &["d"]);
        image.dirs.get_mut(&dir).unwrap().clear();
    });
}

#[test]
fn canary_f1_a_doomed_sector_that_holds_what_was_never_written_is_caught() {
    let make = || {
        let canary = with_unsynced_write(CrashModel::KeepAll);
        let file = canary.vfs.open(path("/d/log"), runstone_vfs::Access::ReadWrite).unwrap();
        canary.disk.fail_nth(CallKind::Sync, 0, Fault::new(FaultKind::Io));
        file.sync().unwrap_err();
        file.sync().unwrap();
        canary
    };
    Canary::is_caught(make, Rule::F1, |image| content(image, &["d", "log"])[5] = 9);
}

#[test]
fn canary_p_a_kill_that_loses_an_unsynced_write_is_caught() {
    let make = || with_unsynced_write(CrashModel::KeepAll);
    make().judge(CrashKind::Process, |_| ()).unwrap();
    let illegal = make().judge(CrashKind::Process, |image| content(image, &["d", "log"])[9] = 1);
    let illegal = illegal.expect_err("THE CANARY LIVES: an illegal image was accepted");
    assert_eq!(illegal.rule, Rule::P, "{illegal}");
}

/// A whole disk that is not what it says: its syncs do nothing, and nobody is told.
#[test]
fn canary_a_disk_whose_syncs_lie_is_caught_in_the_act() {
    let mut caught = 0;
    for seed in 0..100 {
        let disk = SimVfs::with_config(seed, DiskConfig::default());
        let (vfs, log) = Recorder::of(&disk);
        let mut history = History::of(&image(&disk));
        let file = vfs.create(path("/log")).unwrap();
        file.write_at(&[1; 1000], 0).unwrap();
        // The sync is noted, and made on a copy: this disk never sees it.
        disk.fail_nth(CallKind::Sync, 0, Fault::new(FaultKind::SyncLies));
        file.sync().unwrap();
        vfs.sync_dir(path("/")).unwrap();
        let (mut events, _) = log.take();
        for event in &mut events {
            // The program was told that it is done.
            if let Event::Sync { outcome, .. } = event {
                *outcome = runstone_sim::legal::Synced::Done;
            }
        }
        events.iter().for_each(|event| history.observe(event));
        disk.crash_now(CrashKind::Power);
        let judged = history.judge_power_cut(&image(&disk), None, Allow::default());
        caught += u64::from(judged.is_err());
    }
    assert!(caught > 30, "THE CANARY LIVES: a lying disk was caught {caught} times of 100");
}

/// Seen on a real disk: the process was killed inside a create, and the file system had given the
/// new file the number of one that was just removed. That is legal after a kill; a name that the
/// call in progress does not explain is not.
#[test]
fn a_killed_create_may_have_the_number_of_a_removed_file_and_no_other_name_may() {
    let name = |text: &str| (1, text.to_owned());
    let mut before = Image::empty(1);
    before.dirs.get_mut(&1).unwrap().insert("old".to_owned(), 7);
    before.files.insert(7, vec![]);
    let mut after = Image::empty(1);
    after.dirs.get_mut(&1).unwrap().insert("new".to_owned(), 7);
    after.files.insert(7, vec![]);
    let judge = |under_way: Event| {
        let mut history = History::of(&before);
        history.observe(&Event::Remove { name: name("old") });
        history.judge_kill(&after, Some(&under_way))
    };
    assert_eq!(
        judge(Event::Create { name: name("new"), ino: 0 }).map_err(|e| e.to_string()),
        Ok(())
    );
    assert!(judge(Event::Create { name: name("other"), ino: 0 }).is_err());
}
