//! Every image that the simulated disk leaves after a crash is one that the statement of the
//! legal states permits: random calls, every crash model, every kind of crash, faults included.
//!
//! The statement (`sim/src/legal`) shares no code with the disk, so that a mistake must be made
//! twice, in two different forms, to pass.
#![allow(clippy::unwrap_used, reason = "a test may panic, also in its helpers")]
#![allow(clippy::cast_possible_truncation, reason = "small numbers by construction")]
#![allow(clippy::disallowed_methods, reason = "a longer run is asked for by the environment")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use runstone_sim::disk::{
    CallKind, CrashKind, CrashModel, CrashPoint, DiskConfig, FaultKind, FaultMode, FaultPlan, Odds,
    SimVfs, SyncFlavour, When, is_simulated_crash,
};
use runstone_sim::legal::{Allow, Event, History};
use runstone_sim::record::{Log, Recorder, image};
use runstone_sim::rng::Rng;
use runstone_vfs::{Access, Vfs, VfsFile};

/// Scripts of the test: more where they are cheap.
const SCRIPTS: u64 = if cfg!(debug_assertions) { 700 } else { 6_000 };
/// Calls of a script.
const CALLS: usize = 40;
const DIRS: [&str; 3] = ["/", "/a", "/b"];
const NAMES: [&str; 4] = ["w", "x", "y", "z"];

fn any_path(rng: &mut Rng) -> PathBuf {
    PathBuf::from(*rng.pick(&DIRS).unwrap()).join(rng.pick(&NAMES).unwrap())
}

fn any_pos(rng: &mut Rng) -> u64 {
    match rng.below(3) {
        0 => rng.below(5) * 512,
        1 => rng.below(600),
        _ => rng.below(2200),
    }
}

/// One random call; an error is an answer like any other.
fn call(vfs: &Recorder, handles: &mut Vec<Arc<dyn VfsFile>>, rng: &mut Rng) -> bool {
    let handle = rng.pick(handles).cloned();
    let result = match (rng.below(26), handle) {
        (0..3, _) => vfs.create(&any_path(rng)).map(|file| handles.push(file)),
        (3, _) => vfs.open(&any_path(rng), Access::ReadWrite).map(|file| handles.push(file)),
        (4, _) => vfs.create_dir(&PathBuf::from(*rng.pick(&DIRS[1..]).unwrap())),
        (5..7, _) => vfs.rename(&any_path(rng), &any_path(rng)),
        (7, _) => vfs.link(&any_path(rng), &any_path(rng)),
        (8, _) => vfs.remove(&any_path(rng)),
        (9, _) => vfs.remove_dir(&PathBuf::from(*rng.pick(&DIRS[1..]).unwrap())),
        (10..12, _) => vfs.sync_dir(&PathBuf::from(*rng.pick(&DIRS).unwrap())),
        (12..18, Some(file)) => {
            let len = 1 + rng.index(900);
            file.write_at(&vec![1 + (rng.below(200) as u8); len], any_pos(rng)).map(drop)
        }
        (18..20, Some(file)) => file.set_len(any_pos(rng)),
        (20, Some(file)) => file.allocate(any_pos(rng), 1 + rng.below(1500)),
        (21, Some(file)) => file.read_at(&mut [0; 1000], any_pos(rng)).map(drop),
        (22..26, Some(file)) => file.sync(),
        _ => Ok(()),
    };
    !result.is_err_and(|error| is_simulated_crash(&error))
}

fn plan(rng: &mut Rng) -> FaultPlan {
    let odds = Odds::one_in([4, 12, 40][rng.index(3)]);
    let flavour = [SyncFlavour::Doomed, SyncFlavour::Reverted, SyncFlavour::SizeKept][rng.index(3)];
    let plan = match rng.below(8) {
        0..4 => FaultPlan::none(),
        4 => FaultPlan::all(odds),
        5 => FaultPlan::none().lying(odds),
        6 => FaultPlan::none().late(odds),
        _ => FaultPlan::none()
            .with(CallKind::Sync, FaultKind::Io, odds)
            .with(CallKind::SyncDir, FaultKind::Io, odds)
            .with(CallKind::Write, FaultKind::BackgroundFails, odds),
    };
    plan.flavour(flavour)
}

/// What has been judged.
#[derive(Debug, Default)]
struct Tally {
    images: u64,
    by_kind: BTreeMap<String, u64>,
}

impl Tally {
    fn count(&mut self, kind: String) {
        self.images += 1;
        *self.by_kind.entry(kind).or_default() += 1;
    }
}

/// Runs one script: calls, a crash, calls on what is left, and so on.
fn script(seed: u64, tally: &mut Tally) -> Result<(), String> {
    let mut rng = Rng::from_seed(seed);
    let garbage_sector = rng.chance(1, 10);
    let mut config = DiskConfig {
        early_writeback: Odds::one_in([0, 4, 16][rng.index(3)]),
        early_flush: Odds::one_in([0, 8, 256][rng.index(3)]),
        evict_doomed: Odds::one_in([0, 2, 8][rng.index(3)]),
        ..DiskConfig::default()
    };
    if garbage_sector {
        config.garbage_sector = Odds::ALWAYS;
    }
    let disk = SimVfs::with_config(seed, config);
    disk.set_faults(FaultMode::Drawn(plan(&mut rng)));
    disk.keep_trace(1000);
    let (vfs, log) = Recorder::of(&disk);
    let mut history = History::of(&image(&disk));
    let mut all: Vec<Event> = vec![];
    let allow = Allow { garbage_sector, ..Allow::default() };
    for _life in 0..3 {
        let kind = if rng.chance(1, 3) { CrashKind::Process } else { CrashKind::Power };
        let when = [When::Before, When::Inside, When::After][rng.index(3)];
        let crash = disk.calls() + rng.below(CALLS as u64);
        disk.arm_crash(CrashPoint { call: crash, when }, kind);
        let mut handles = vec![];
        let crashed = (0..CALLS).any(|_| !call(&vfs, &mut handles, &mut rng));
        if !crashed {
            disk.disarm_crash();
            fan_out(seed, &disk, &log, &mut history, &mut all, allow, tally)?;
            disk.crash_now(kind);
        }
        let (events, under_way) = log.take();
        events.iter().for_each(|event| history.observe(event));
        all.extend(events);
        let left = image(&disk);
        let judged = match kind {
            CrashKind::Power => {
                let judged = history.judge_power_cut(&left, under_way.as_ref(), allow);
                history = History::of(&left);
                judged
            }
            CrashKind::Process => history.judge_kill(&left, under_way.as_ref()),
        };
        tally.count(format!("{kind:?} {when:?}"));
        judged.map_err(|illegal| explain(seed, &illegal.to_string(), &disk, &all))?;
        disk.restart();
    }
    Ok(())
}

/// Many power cuts of copies of one disk, between two calls: every model, several seeds each.
fn fan_out(
    seed: u64,
    disk: &SimVfs,
    log: &Log,
    history: &mut History,
    all: &mut Vec<Event>,
    allow: Allow,
    tally: &mut Tally,
) -> Result<(), String> {
    // The log goes on in a new life: handles are dropped after this.
    let (events, _) = log.take();
    events.iter().for_each(|event| history.observe(event));
    all.extend(events);
    for (number, model) in (0..).zip(CrashModel::ALL) {
        for round in 0..2 {
            let fork = disk.fork(seed.wrapping_mul(100) + number * 2 + round);
            fork.crash_with(model, None);
            tally.count(format!("power {model:?}"));
            let judged = history.judge_power_cut(&image(&fork), None, allow);
            judged.map_err(|illegal| explain(seed, &illegal.to_string(), &fork, all))?;
        }
    }
    Ok(())
}

fn explain(seed: u64, illegal: &str, disk: &SimVfs, all: &[Event]) -> String {
    let events = all.iter().map(|event| match event {
        Event::Write { ino, pos, bytes, sure } => {
            format!(
                "write {ino} pos={pos} len={} of {} sure={sure}",
                bytes.len(),
                bytes.first().unwrap_or(&0)
            )
        }
        event => format!("{event:?}"),
    });
    let events: Vec<String> = events.collect();
    format!("seed {seed}: {illegal}\n{}\n{}", disk.trace().join("\n"), events.join("\n"))
}

#[test]
fn every_image_that_the_simulated_disk_leaves_is_legal() {
    let mut tally = Tally::default();
    let mut illegal = vec![];
    let scripts = std::env::var("LEGAL_SCRIPTS").map_or(SCRIPTS, |n| n.parse().unwrap());
    let first = std::env::var("LEGAL_FIRST").map_or(0, |n| n.parse().unwrap());
    for seed in first..first + scripts {
        if let Err(message) = script(seed, &mut tally) {
            illegal.push(message);
        }
    }
    println!("{} images: {:#?}", tally.images, tally.by_kind);
    illegal.sort_by_key(String::len);
    for message in &illegal {
        println!("{message}\n-----");
    }
    assert!(illegal.is_empty(), "{} scripts; the first:\n{}", illegal.len(), illegal[0]);
    assert!(tally.images >= if cfg!(debug_assertions) { 10_000 } else { 100_000 });
}
