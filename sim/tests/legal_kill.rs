//! Against the real world: a process on a real disk is really killed, and the files that it
//! leaves are among those that the statement of the legal states, and the simulated disk, allow
//! for a process crash.
//!
//! The child runs the engine on `OsVfs` through a recorder that tells each call, before it
//! starts and after it has returned, over a pipe; it is killed with SIGKILL at a moment of the
//! parent's choice. The parent judges the directory with the recorded history, and replays the
//! history on `SimVfs`.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may panic, also in its helpers"
)]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "it starts processes, waits, and looks at a real disk"
)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use runstone::{Database, DurabilityMode, RunId};
use runstone_sim::disk::{CrashKind, SimVfs};
use runstone_sim::legal::{Event, History, Image, Ino, Name};
use runstone_sim::record::{Recorder, Secret, Sink, Witness, image};
use runstone_vfs::{Access, OsVfs, Vfs, VfsFile, write_all_at};

const DIR_VAR: &str = "RUNSTONE_TEST_LEGAL_KILL_DIR";
const ROUNDS: u64 = 24;

/// Looks at a real disk, whose calls do not fail here.
#[derive(Debug)]
struct Stat;

impl Witness for Stat {
    fn ino(&self, path: &Path) -> Option<Ino> {
        std::fs::symlink_metadata(path).ok().map(|metadata| metadata.ino())
    }

    fn content(&self, _ino: Ino) -> Option<Vec<u8>> {
        None
    }

    fn secret(&self) -> Option<Secret> {
        None
    }
}

/// Tells each call to the parent, a line each, in JSON.
#[derive(Debug)]
struct Pipe;

impl Pipe {
    fn tell(&self, what: &str, events: &[Event]) {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{what} {}", serde_json::to_string(events).unwrap()).unwrap();
        out.flush().unwrap();
    }
}

impl Sink for Pipe {
    fn starts(&self, call: &Event) {
        self.tell("starts", std::slice::from_ref(call));
    }

    fn ended(&self, effects: Vec<Event>) {
        self.tell("ended", &effects);
    }
}

/// Not a test of its own: what the killed process does, until it is killed.
#[test]
fn child_that_is_recorded_until_it_is_killed() {
    let Ok(dir) = std::env::var(DIR_VAR) else { return };
    let vfs = Recorder::new(Arc::new(OsVfs::new()), Arc::new(Stat), Arc::new(Pipe));
    let db = Database::builder()
        .vfs(Arc::new(vfs))
        .background_threads(0)
        .durability(DurabilityMode::Batched { interval_ms: 3_600_000, batch_size: 5 })
        .segment_bytes(4096)
        .open(Path::new(&dir).join("store"))
        .unwrap();
    let no_tags: [(&str, &str); 0] = [];
    let run = RunId::from_bytes([1; 16]);
    if db.get_run(run).unwrap().is_none() {
        db.begin_run(run, no_tags).unwrap();
    }
    for n in 0u64.. {
        db.put(run, format!("{}", n % 50), vec![(n % 251) as u8; 10 + (n * 37 % 900) as usize])
            .unwrap();
    }
}

/// What a directory of the real disk holds.
fn real_image(top: &Path) -> Image {
    let mut left = Image::empty(Stat.ino(top).unwrap());
    let mut open: Vec<PathBuf> = vec![top.to_owned()];
    while let Some(dir) = open.pop() {
        let entries = left.dirs.entry(Stat.ino(&dir).unwrap()).or_default();
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let ino = Stat.ino(&path).unwrap();
            entries.insert(path.file_name().unwrap().to_str().unwrap().to_owned(), ino);
            if path.is_dir() {
                open.push(path);
            } else {
                left.files.insert(ino, std::fs::read(&path).unwrap());
            }
        }
    }
    for dir in left.dirs.clone().into_keys() {
        left.dirs.entry(dir).or_default();
    }
    left
}

/// What a child has told so far.
#[derive(Default)]
struct Told {
    events: Vec<Event>,
    under_way: Option<Event>,
    calls: u64,
}

impl Told {
    fn hear(&mut self, line: &str) {
        // The test harness adds some lines, and parts of lines, of its own.
        let Some(at) = line.find("starts [").or_else(|| line.find("ended [")) else { return };
        let Some((what, json)) = line[at..].split_once(' ') else { return };
        // The last line may be torn: what it would have told has not been told.
        let Ok(told) = serde_json::from_str::<Vec<Event>>(json) else { return };
        if what == "starts" {
            self.under_way = told.into_iter().next();
        } else {
            self.events.extend(told);
            self.under_way = None;
            self.calls += 1;
        }
    }
}

/// Lets a child make some calls, and go on for a moment, kills it, and hears what it has told:
/// what happened, and the call that it was killed in.
fn killed_child(dir: &Path, calls: u64, pause: Duration) -> Told {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_is_recorded_until_it_is_killed", "--nocapture"])
        .env(DIR_VAR, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut told = Told::default();
    while told.calls < calls {
        told.hear(&lines.next().expect("the child lives").unwrap());
    }
    std::thread::sleep(pause);
    child.kill().unwrap();
    child.wait().unwrap();
    while let Some(Ok(line)) = lines.next() {
        told.hear(&line);
    }
    told
}

/// Replays a history on a simulated disk.
struct Replay {
    disk: SimVfs,
    paths: BTreeMap<Ino, PathBuf>,
    handles: BTreeMap<Ino, Arc<dyn VfsFile>>,
}

impl Replay {
    fn new(seed: u64, root: Ino) -> Replay {
        let paths = BTreeMap::from([(root, PathBuf::from("/"))]);
        Replay { disk: SimVfs::new(seed), paths, handles: BTreeMap::new() }
    }

    fn path(&self, name: &Name) -> PathBuf {
        self.paths[&name.0].join(&name.1)
    }

    fn call(&mut self, event: &Event) -> std::io::Result<()> {
        match event {
            Event::Create { name, ino } => {
                let file = self.disk.create(&self.path(name))?;
                self.handles.insert(*ino, file);
            }
            Event::Mkdir { name, ino } => {
                let path = self.path(name);
                self.disk.create_dir(&path)?;
                self.paths.insert(*ino, path);
            }
            Event::Link { name, ino } => {
                // From any name that the file has.
                let from = self.any_name(*ino);
                self.disk.link(&from, &self.path(name))?;
            }
            Event::Rename { from, to, .. } => {
                self.disk.rename(&self.path(from), &self.path(to))?;
            }
            Event::Remove { name } => self.disk.remove(&self.path(name))?,
            Event::Write { ino, pos, bytes, .. } => {
                write_all_at(&*self.handle(*ino), bytes, *pos)?;
            }
            Event::SetLen { ino, len, .. } => self.handle(*ino).set_len(*len)?,
            Event::Allocate { ino, end, .. } => self.handle(*ino).allocate(0, *end)?,
            Event::Sync { ino, .. } => self.handle(*ino).sync()?,
            // The directories above the top are synced too, and are not on the simulated disk.
            Event::SyncDir { ino, .. } => {
                if let Some(path) = self.paths.get(ino) {
                    self.disk.sync_dir(path)?;
                }
            }
            Event::WritebackFailed { .. } => {}
        }
        Ok(())
    }

    fn handle(&self, ino: Ino) -> Arc<dyn VfsFile> {
        Arc::clone(&self.handles[&ino])
    }

    fn any_name(&self, ino: Ino) -> PathBuf {
        let simulated = image(&self.disk);
        let size = self.handle(ino).len().unwrap();
        for (dir, entries) in &simulated.dirs {
            for name in entries.keys() {
                let path = self.dir_path(*dir).join(name);
                if let Ok(file) = self.disk.open(&path, Access::Read)
                    && file.len().unwrap() == size
                    && format!("{file:?}").contains(name.as_str())
                    && self.is_same(&path, ino)
                {
                    return path;
                }
            }
        }
        panic!("inode {ino} has no name to link from");
    }

    fn dir_path(&self, dir: u64) -> PathBuf {
        let found = self.paths.values().find(|path| self.disk.ino(path) == Some(dir));
        found.cloned().unwrap()
    }

    /// Whether a name leads to the file: it shows what is written through the handle.
    fn is_same(&self, path: &Path, ino: Ino) -> bool {
        let content = |file: &dyn VfsFile| {
            let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
            runstone_vfs::read_full_at(file, &mut bytes, 0).unwrap();
            bytes
        };
        let named = self.disk.open(path, Access::Read).unwrap();
        content(&*named) == content(&*self.handle(ino))
    }
}

/// Paths with contents: what can be compared between two disks.
fn by_path(image: &Image, dir: Ino, above: &Path, into: &mut BTreeMap<PathBuf, Option<Vec<u8>>>) {
    for (name, ino) in &image.dirs[&dir] {
        let path = above.join(name);
        into.insert(path.clone(), image.files.get(ino).cloned());
        if image.dirs.contains_key(ino) {
            by_path(image, *ino, &path, into);
        }
    }
}

fn paths(image: &Image) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    by_path(image, image.root, Path::new("/"), &mut found);
    found
}

#[test]
fn what_a_really_killed_process_leaves_is_legal_and_what_the_simulated_disk_would_leave() {
    let (mut calls, mut inside, mut same) = (0, 0, 0);
    for round in 0..ROUNDS {
        let dir = tempfile::tempdir().unwrap();
        let before = real_image(dir.path());
        let pause = Duration::from_micros(round * 373 % 4_000);
        let told = killed_child(dir.path(), round * 17 % 97, pause);
        let (events, under_way) = (told.events, told.under_way);
        let left = real_image(dir.path());

        // The statement.
        let mut history = History::of(&before);
        events.iter().for_each(|event| history.observe(event));
        if let Err(illegal) = history.judge_kill(&left, under_way.as_ref()) {
            let names: Vec<_> = left.dirs.values().collect();
            panic!(
                "round {round}, after {} calls, in {under_way:?}: {illegal}; names: {names:?}",
                events.len()
            );
        }

        // The simulated disk: killed before the call, or after it.
        let mut replay = Replay::new(round, left.root);
        events.iter().for_each(|event| replay.call(event).unwrap());
        let simulated = |replay: &Replay| {
            replay.disk.crash_now(CrashKind::Process);
            replay.disk.restart();
            paths(&image(&replay.disk))
        };
        let real = paths(&left);
        let mut is_same = simulated(&replay) == real;
        if let (false, Some(event)) = (is_same, &under_way) {
            let mut replay = Replay::new(round, left.root);
            events.iter().for_each(|event| replay.call(event).unwrap());
            replay.call(event).unwrap();
            is_same = simulated(&replay) == real;
        }
        assert!(is_same, "round {round}: killed in {under_way:?}, the disks differ");
        same += 1;
        calls += told.calls;
        inside += u64::from(under_way.is_some());
    }
    println!("{ROUNDS} kills after {calls} calls, {inside} inside a call, {same} the same");
    assert!(calls > 500, "the children had time to work: {calls} calls");
}

/// The statement is no rubber stamp here either.
#[test]
fn what_a_really_killed_process_did_not_leave_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let before = real_image(dir.path());
    let told = killed_child(dir.path(), 60, Duration::ZERO);
    let mut left = real_image(dir.path());
    let log = left.files.values_mut().max_by_key(|content| content.len()).unwrap();
    let last = log.iter().rposition(|byte| *byte != 0).unwrap();
    log[last / 2] ^= 1;
    let mut history = History::of(&before);
    told.events.iter().for_each(|event| history.observe(event));
    history.judge_kill(&left, told.under_way.as_ref()).expect_err("a flipped bit");
}
