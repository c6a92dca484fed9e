//! Completeness: every state that the statement of the legal states permits is left by some seed
//! of the simulated disk. A disk that never shows a legal adverse state would hide bugs.
//!
//! For short traces over a small alphabet, candidates are made by brute force (any subset of the
//! operations, for each sector and each size; any file behind each name), those that the
//! statement permits are kept, and copies of the simulated disk are crashed until all of them
//! have been seen; one that is not seen within a limit fails the test. Garbage is one class,
//! whatever its bytes; a write is there or not (that it may be torn at any byte is shown in
//! `disk_sectors`).
#![allow(clippy::disallowed_methods, reason = "the environment says how dense the sample is")]
#![allow(clippy::unwrap_used, reason = "a test may panic, also in its helpers")]
#![allow(clippy::cast_possible_truncation, reason = "small numbers by construction")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use runstone_sim::disk::{
    CallKind, CrashKind, CrashModel, DiskConfig, Fault, FaultKind, NameModel, Odds, SimVfs,
};
use runstone_sim::legal::{Allow, Event, History, Image, Ino};
use runstone_sim::record::{Recorder, image};
use runstone_vfs::{Vfs, VfsFile};

/// The longest traces.
const CALLS: usize = 6;
/// Of the traces longer than this, one in so many is taken; all of the shorter ones.
const ALL_UP_TO: usize = 3;
const ONE_IN: usize = 499;
/// Sets [`ONE_IN`], for a denser sample.
const ONE_IN_VARIABLE: &str = "COMPLETE_ONE_IN";
/// The most crashes of one trace.
const CRASHES_MAX: u64 = 100_000;

const SECTOR: usize = 512;
/// Stands for garbage: no write writes it.
const GARBAGE: u8 = 0xEE;

/// A call on the one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Data {
    Write(usize, usize),
    SetLen(usize),
    Allocate(usize),
    Sync,
}

const DATA: [Data; 7] = [
    Data::Write(0, 512),
    Data::Write(300, 700),
    Data::Write(1000, 200),
    Data::SetLen(400),
    Data::SetLen(1200),
    Data::Allocate(1400),
    Data::Sync,
];

/// A call on names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Names {
    Create,
    SyncFile,
    Rename,
    Link,
    Remove,
    Mkdir,
    RenameInto,
    SyncTop,
    SyncDir,
    FailedSyncTop,
}

const NAMES: [Names; 10] = [
    Names::Create,
    Names::SyncFile,
    Names::Rename,
    Names::Link,
    Names::Remove,
    Names::Mkdir,
    Names::RenameInto,
    Names::SyncTop,
    Names::SyncDir,
    Names::FailedSyncTop,
];

/// All short traces over an alphabet, and one in so many of the longer ones.
fn traces<T: Copy>(alphabet: &[T]) -> Vec<Vec<T>> {
    let one_in = std::env::var(ONE_IN_VARIABLE).map_or(ONE_IN, |text| text.parse().unwrap());
    let mut found = vec![];
    for len in 1..=CALLS {
        let step = if len <= ALL_UP_TO { 1 } else { one_in };
        for mut number in (0..alphabet.len().pow(len as u32)).step_by(step) {
            let mut trace = vec![];
            for _ in 0..len {
                trace.push(alphabet[number % alphabet.len()]);
                number /= alphabet.len();
            }
            found.push(trace);
        }
    }
    found
}

fn config(round: u64) -> DiskConfig {
    let config = DiskConfig {
        stray_files: Odds::NEVER,
        size_independent: Odds::one_in(1 + (round % 2) as u32),
        lost_data_garbage: Odds::one_in(2),
        prealloc_garbage: Odds::one_in(2),
        evict_doomed: Odds::one_in(2),
        early_writeback: Odds::one_in(4),
        rename_keeps_both: Odds::one_in(3),
        ..DiskConfig::default()
    };
    match round % 8 {
        0 => config,
        _ => config.only(CrashModel::Sectors).only_names(NameModel::Subset),
    }
}

/// What is durable at the beginning: one file of 600 bytes.
fn begin(seed: u64) -> (SimVfs, BTreeMap<PathBuf, Vec<u8>>) {
    let content = BTreeMap::from([(PathBuf::from("/a"), vec![9u8; 600])]);
    (SimVfs::from_image(seed, config(seed), &content).unwrap(), content)
}

fn run_data(trace: &[Data], seed: u64) -> (SimVfs, Vec<Event>) {
    let (disk, _) = begin(seed);
    let (vfs, log) = Recorder::of(&disk);
    let file = vfs.open(Path::new("/a"), runstone_vfs::Access::ReadWrite).unwrap();
    for (byte, call) in (1..).zip(trace) {
        match *call {
            Data::Write(pos, len) => drop(file.write_at(&vec![byte; len], pos as u64).unwrap()),
            Data::SetLen(len) => file.set_len(len as u64).unwrap(),
            Data::Allocate(end) => file.allocate(0, end as u64).unwrap(),
            Data::Sync => file.sync().unwrap(),
        }
    }
    let (events, _) = log.take();
    (disk, events)
}

/// Every content that a subset of the trace's calls gives, and garbage in each sector.
fn data_candidates(trace: &[Data], base: &[u8]) -> BTreeSet<Vec<u8>> {
    let mut contents: BTreeMap<usize, BTreeSet<Vec<u8>>> = BTreeMap::new();
    let mut sizes = BTreeSet::new();
    for subset in 0..1u32 << trace.len() {
        let mut bytes = base.to_vec();
        for (number, call) in trace.iter().enumerate() {
            if subset >> number & 1 == 0 {
                continue;
            }
            match *call {
                Data::Write(pos, len) => {
                    bytes.resize(bytes.len().max(pos + len), 0);
                    bytes[pos..pos + len].fill(number as u8 + 1);
                }
                Data::SetLen(len) => bytes.resize(len, 0),
                Data::Allocate(end) => bytes.resize(bytes.len().max(end), 0),
                Data::Sync => {}
            }
        }
        sizes.insert(bytes.len());
        bytes.resize(3 * SECTOR, 0);
        for (number, sector) in bytes.chunks(SECTOR).enumerate() {
            contents.entry(number).or_default().insert(sector.to_vec());
        }
    }
    let mut candidates = BTreeSet::new();
    for &size in &sizes {
        let mut images: BTreeSet<Vec<u8>> = BTreeSet::from([vec![]]);
        for number in 0..size.div_ceil(SECTOR) {
            let len = SECTOR.min(size - number * SECTOR);
            let mut ways: BTreeSet<Vec<u8>> = contents[&number].iter().cloned().collect();
            ways.insert(vec![GARBAGE; SECTOR]);
            let ways: BTreeSet<&[u8]> = ways.iter().map(|way| &way[..len]).collect();
            let longer = images
                .iter()
                .flat_map(|image| ways.iter().map(move |way| [image.as_slice(), way].concat()));
            images = longer.collect();
        }
        candidates.extend(images);
    }
    candidates
}

/// What was found, with garbage as one class: a sector that no candidate has.
fn classified(content: &[u8], known: &[BTreeSet<Vec<u8>>]) -> Vec<u8> {
    let mut classified = vec![];
    for (number, sector) in content.chunks(SECTOR).enumerate() {
        let is_known = known[number].iter().any(|way| way.starts_with(sector));
        classified.extend(if is_known { sector.to_vec() } else { vec![GARBAGE; sector.len()] });
    }
    classified
}

#[derive(Default)]
struct Tally {
    traces: u64,
    states: u64,
    crashes: u64,
    never: Vec<String>,
}

impl Tally {
    /// No state may be missing.
    fn check(&self, what: &str) {
        println!(
            "{what}: {} traces, {} legal states, {} crashes, {} states never left",
            self.traces,
            self.states,
            self.crashes,
            self.never.len()
        );
        for never in self.never.iter().take(40) {
            println!("  {never}");
        }
        assert!(self.never.is_empty(), "{} legal states were never left", self.never.len());
        assert!(self.states > self.traces, "there were states to find");
    }
}

fn runs(content: &[u8]) -> Vec<(u8, usize)> {
    content.chunk_by(|a, b| a == b).map(|run| (run[0], run.len())).collect()
}

#[test]
fn every_legal_content_of_a_file_is_left_by_some_seed() {
    let mut tally = Tally::default();
    for trace in traces(&DATA) {
        let (disk, _) = begin(0);
        let start = image(&disk);
        let ino = start.find(["a"]).unwrap();
        let (_, events) = run_data(&trace, 1);
        let mut history = History::of(&start);
        events.iter().for_each(|event| history.observe(event));
        let candidates = data_candidates(&trace, &start.files[&ino]);
        let mut known = vec![BTreeSet::new(); 3];
        for candidate in &candidates {
            for (number, sector) in candidate.chunks(SECTOR).enumerate() {
                if sector.iter().any(|&byte| byte != GARBAGE) {
                    known[number].insert(sector.to_vec());
                }
            }
        }
        let mut left = start.clone();
        // Old bytes where anything may be are garbage that happens to look so: counted once, and
        // no state of its own.
        let mut is_legal = |content: &Vec<u8>| {
            left.files.insert(ino, content.clone());
            let allow = Allow { garbage: Some(GARBAGE), untorn: true, ..Allow::default() };
            history.judge_power_cut(&left, None, allow).is_ok()
        };
        let mut wanted: BTreeSet<Vec<u8>> = candidates.into_iter().filter(&mut is_legal).collect();
        tally.traces += 1;
        tally.states += wanted.len() as u64;
        for round in 0..CRASHES_MAX / 100 {
            let (disk, _) = run_data(&trace, round);
            for fork in 0..100 {
                let fork = disk.fork(round * 100 + fork);
                fork.set_config(config(tally.crashes));
                fork.crash_now(CrashKind::Power);
                tally.crashes += 1;
                let content = fork.content(ino).unwrap();
                wanted.remove(&classified(&content, &known));
            }
            if wanted.is_empty() {
                break;
            }
        }
        tally.never.extend(wanted.iter().map(|content| format!("{trace:?}: {:?}", runs(content))));
    }
    tally.check("contents");
}

/// Runs a trace of names; a call that is refused is none.
fn run_names(trace: &[Names], seed: u64) -> (SimVfs, Vec<Event>, Vec<Ino>) {
    let (disk, _) = begin(seed);
    let (vfs, log) = Recorder::of(&disk);
    let mut made: Vec<std::sync::Arc<dyn VfsFile>> = vec![];
    let [a, b, c, d, x] = ["/a", "/b", "/c", "/d", "/d/x"].map(Path::new);
    for call in trace {
        let _answer = match call {
            Names::Create => vfs.create(b).map(|file| made.push(file)),
            Names::SyncFile => made.last().map_or(Ok(()), |file| file.sync()),
            Names::Rename => vfs.rename(b, a),
            Names::Link => vfs.link(a, c),
            Names::Remove => vfs.remove(a),
            Names::Mkdir => vfs.create_dir(d),
            Names::RenameInto => vfs.rename(a, x),
            Names::SyncTop => vfs.sync_dir(Path::new("/")),
            Names::SyncDir => vfs.sync_dir(d),
            Names::FailedSyncTop => {
                disk.fail_nth(CallKind::SyncDir, 0, Fault::new(FaultKind::Io));
                vfs.sync_dir(Path::new("/"))
            }
        };
    }
    let (events, _) = log.take();
    let mut inos = vec![];
    for event in &events {
        if let Event::Create { ino, .. } | Event::Mkdir { ino, .. } = event {
            inos.push(*ino);
        }
    }
    (disk, events, inos)
}

/// Only what can be seen: names, and what each leads to.
fn seen(image: &Image) -> BTreeMap<(Ino, String), Ino> {
    let entries = image
        .dirs
        .iter()
        .flat_map(|(dir, names)| names.iter().map(move |(name, ino)| ((*dir, name.clone()), *ino)));
    entries.collect()
}

#[test]
fn every_legal_set_of_names_is_left_by_some_seed() {
    let mut tally = Tally::default();
    for trace in traces(&NAMES) {
        let (disk, _) = begin(0);
        let start = image(&disk);
        let (root, a) = (start.root, start.find(["a"]).unwrap());
        let (_, events, _) = run_names(&trace, 1);
        let mut history = History::of(&start);
        let (mut files, mut dirs) = (vec![a], vec![]);
        for event in &events {
            history.observe(event);
            match event {
                Event::Create { ino, .. } => files.push(*ino),
                Event::Mkdir { ino, .. } => dirs.push(*ino),
                _ => {}
            }
        }
        let mut wanted = BTreeSet::new();
        // Each name leads to any file, or nowhere.
        let ways = files.len() + 1;
        for dir in std::iter::once(None).chain(dirs.iter().copied().map(Some)) {
            let names = if dir.is_some() { 4 } else { 3 };
            for mut number in 0..ways.pow(names) {
                let mut left = Image::empty(root);
                if let Some(dir) = dir {
                    left.dirs.get_mut(&root).unwrap().insert("d".to_owned(), dir);
                    left.dirs.entry(dir).or_default();
                }
                for name in ["a", "b", "c", "x"].into_iter().take(names as usize) {
                    if let Some(&ino) = (number % ways).checked_sub(1).and_then(|i| files.get(i)) {
                        let within = if name == "x" { dir.unwrap() } else { root };
                        left.dirs.get_mut(&within).unwrap().insert(name.to_owned(), ino);
                        let content = if ino == a { vec![9; 600] } else { vec![] };
                        left.files.insert(ino, content);
                    }
                    number /= ways;
                }
                if history.judge_power_cut(&left, None, Allow::default()).is_ok() {
                    wanted.insert(seen(&left));
                }
            }
        }
        tally.traces += 1;
        tally.states += wanted.len() as u64;
        for round in 0..CRASHES_MAX / 100 {
            let (disk, ..) = run_names(&trace, round);
            for fork in 0..100 {
                let fork = disk.fork(round * 100 + fork);
                fork.set_config(config(tally.crashes));
                fork.crash_now(CrashKind::Power);
                tally.crashes += 1;
                wanted.remove(&seen(&image(&fork)));
            }
            if wanted.is_empty() {
                break;
            }
        }
        tally.never.extend(wanted.iter().map(|names| format!("{trace:?}: {names:?}")));
    }
    tally.check("names");
}
