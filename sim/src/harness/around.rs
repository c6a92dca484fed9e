//! The world around a store: what other programs, users and processes do to its directory while
//! it is open.
//!
//! Each is an excursion: it happens on a copy of the disk, to a handle of its own, and leaves the
//! run that it branches from as it was. Invariants: whatever happens, nothing that is another's is
//! changed by a byte; a handle that has lost its directory says so at the next sync at the latest;
//! and the rightful owner shows everything that was acknowledged and durable, and nothing else.

mod busy;
pub mod event;
mod manifest;
mod others;
mod trip;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use runstone::{Builder, Database, Error, Level, Limits, Options, RetentionPolicy, WriteOptions};
use runstone_vfs::{Vfs, write_all_at};

use self::busy::Busy;
use self::event::Event;
use self::trip::{Shown, Trip, lock, must, same, same_files, shown};
use super::case::run_id;
use super::runner::Runner;
use super::verdict::Checked;
use super::world::{DIR, SimClock, SimEntropy};
use crate::disk::{CrashKind, NameEvent, SimVfs};
use crate::rng::Rng;

impl Runner<'_> {
    /// Goes on an excursion, unless something has failed: what a failed sync has left of before
    /// may be told to any handle.
    pub(super) fn around(&mut self, event: Event, twist: u8, end: Option<CrashKind>) -> Checked {
        let is_undisturbed = self.disk.injected().is_empty() && !self.may_be_full();
        if !self.is_strict() || !is_undisturbed || self.disk.is_crashed() {
            return Ok(());
        }
        let seed = self.case.seed ^ (u64::from(twist) << 32) ^ 0xa7;
        let disk = self.disk.fork(seed);
        disk.heal();
        disk.disarm_crash();
        let mut rng = Rng::from_seed(seed);
        let excursion = Excursion {
            vfs: Arc::new(disk.clone()),
            disk,
            options: Options {
                limits: Limits::default(),
                memory_bytes_max: Options::default().memory_bytes_max,
                segment_bytes: self.case.options.segment_bytes.min(match event {
                    // Each rotation writes an edit, where that is to meet another manifest; where
                    // a sync is to, few do.
                    Event::ManifestReplaced if twist >> 4 & 7 == 3 => 512,
                    _ => 2048,
                }),
                // Half of them have tables, where the case has any.
                flush_bytes: match twist >> 3 & 1 {
                    0 => u64::MAX,
                    _ => self.case.options.flush_bytes,
                },
                snapshots_max: Options::default().snapshots_max,
                // All that an excursion expects is durable; what a policy drops is not at once.
                retention: RetentionPolicy::default(),
                ..self.case.options.engine()
            },
            clock: Arc::new(SimClock::new(self.now_ms())),
            entropy: Arc::new(SimEntropy::new(Rng::from_seed(rng.next_u64()))),
            late: (twist >> 4 & 3 == 3).then(|| rng.below(CALLS_LATE)),
            twist,
            end,
        };
        let outcome = excursion.go(event);
        self.digest.u64(excursion.disk.digest());
        outcome.or_else(|(clause, message)| self.fail(clause, format!("{event:?}: {message}")))
    }
}

struct Excursion {
    disk: SimVfs,
    vfs: Arc<dyn Vfs>,
    options: Options,
    clock: Arc<SimClock>,
    entropy: Arc<SimEntropy>,
    /// Among how many more calls of a busy owner the event happens; `None` for one at rest.
    late: Option<u64>,
    twist: u8,
    end: Option<CrashKind>,
}

/// An event comes at the latest behind so many calls of a busy owner.
const CALLS_LATE: u64 = 90;

/// The run that excursions write to; no case names it.
const RUN: u8 = 250;

impl Excursion {
    fn go(&self, event: Event) -> Trip {
        match event {
            Event::Moved => self.moved("/data/store", "/data/moved", "/data/moved"),
            Event::ParentMoved => self.moved("/data", "/moved", "/moved/store"),
            Event::Removed => self.removed(),
            Event::LockRemoved => self.lock_removed(),
            Event::LockMoved => self.lock_moved(),
            Event::ManifestReplaced => self.manifest_replaced(),
            Event::NamesTaken => self.names_taken(),
            Event::AmongOthers => self.among_others(),
            Event::Forked => self.forked(),
            Event::Readers => self.readers(),
        }
    }

    fn twist(&self, bit: u8) -> bool {
        self.twist >> bit & 1 == 1
    }

    fn builder(&self) -> Builder {
        Database::builder()
            .options(self.options.clone())
            .vfs(self.vfs.clone())
            .clock(self.clock.clone())
            .entropy(self.entropy.clone())
    }

    fn open(&self, dir: &str) -> Trip<Database> {
        let opened = self.builder().open(dir);
        opened.map_err(|error| ("owner", format!("opening {dir} failed: {error}")))
    }

    /// Opens, and writes: the session has begun, and everything is durable.
    fn owner(&self, dir: &str) -> Trip<Database> {
        let db = self.open(dir)?;
        if must("get_run", db.get_run(run_id(RUN)))?.is_none() {
            must("begin_run", db.begin_run(run_id(RUN), [("of", "an excursion")]))?;
        }
        self.work(&db, 0)?;
        Ok(db)
    }

    /// Some commits, as a rule with a rotation, and all of them durable.
    fn work(&self, db: &Database, from: u8) -> Trip {
        for n in from..from + 12 {
            must("put", db.put(run_id(RUN), [n], vec![n; 100 + usize::from(self.twist)]))?;
        }
        must("flush", db.flush())?;
        // A flush in the middle would leave a file of which a power cut takes the name.
        while must("maintain", db.maintain())?.more {}
        Ok(())
    }

    /// Lets it happen: to an owner at rest, or between two calls of one that is busy.
    fn strike(&self, db: &Database, event: NameEvent) -> Trip<Busy> {
        let mut busy = Busy::promised(db.storage().version());
        match self.late {
            None => self.outside(|disk| disk.happen(&event))?,
            Some(calls) => {
                self.disk.happen_after(calls, event);
                busy.work(db, self.twist);
                if let Some(event) = self.disk.has_not_happened() {
                    self.outside(|disk| disk.happen(&event))?;
                }
            }
        }
        Ok(busy)
    }

    /// If it is to be: some of what it was told waits in memory, or for a sync.
    fn be_busy(&self, db: &Database) -> Trip {
        let mut busy = Busy::default();
        if self.late.is_some() {
            busy.work(db, self.twist);
        }
        busy.is_whole()
    }

    /// What stands in a directory and below.
    fn below(&self, dir: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut image = self.disk.live_image();
        image.retain(|path, _| path.starts_with(dir));
        image
    }

    /// The disk as other programs use it: nothing of it may fail.
    fn outside<T>(&self, done: impl FnOnce(&SimVfs) -> io::Result<T>) -> Trip<T> {
        done(&self.disk).map_err(|error| ("harness", format!("beside the store: {error}")))
    }

    fn put_file(&self, path: &Path, content: &[u8]) -> Trip {
        self.outside(|disk| {
            let file = disk.create(path)?;
            write_all_at(&*file, content, 0)?;
            file.sync()?;
            disk.sync_dir(path.parent().unwrap_or(Path::new("/")))
        })
    }

    /// Ends a handle as the case says: it is closed, or the process dies, or the power fails.
    fn end(&self, db: Database) -> Trip {
        match self.end {
            None => must("close", db.close())?,
            Some(kind) => {
                self.disk.crash_now(kind);
                drop(db);
                self.disk.restart();
            }
        }
        Ok(())
    }

    fn shows(&self, dir: &str, expected: &Shown) -> Trip {
        let db = self.open(dir)?;
        same(&format!("what {dir} shows"), &shown(&db)?, expected)?;
        must("close", db.close())
    }

    /// The handle has lost its directory: it says so, and goes on saying so.
    fn is_displaced(&self, db: &Database) -> Trip {
        let strict = WriteOptions { durability: Some(Level::Strict) };
        let put = |level| db.put_with(run_id(RUN), "lost", 1, None, level).map(drop);
        // Nothing promises that this one notices.
        let _unsynced = put(WriteOptions { durability: Some(Level::Async) });
        let first = match self.twist % 3 {
            0 => ("a strict put", put(strict)),
            1 => ("flush", db.flush()),
            _ => ("close", db.close()),
        };
        let closes = self.twist % 3 != 2;
        let later = [
            ("a later strict put", put(strict)),
            ("a later flush", db.flush()),
            ("a later close", db.close()),
        ];
        for (call, outcome) in [first].into_iter().chain(later.into_iter().filter(|_| closes)) {
            if !matches!(outcome, Err(Error::Displaced { .. })) {
                return Err(("owner", format!("{call} answered {outcome:?}, not Displaced")));
            }
        }
        Ok(())
    }

    fn moved(&self, from: &str, to: &str, store: &str) -> Trip {
        let db = self.owner(DIR)?;
        let moved = NameEvent::Move { from: from.into(), to: to.into() };
        // Whatever the owner was doing goes on where it was.
        self.strike(&db, moved)?.is_whole()?;
        match self.twist % 3 {
            0 => {
                self.open(DIR).and_then(|db| self.work_and_close(&db))?;
                // What a close removes last may come back by a power cut.
                self.outside(|disk| disk.sync_dir(Path::new(DIR)))?;
            }
            1 => self.outside(|disk| disk.create_dir(Path::new(from)))?,
            _ => {}
        }
        let others = self.below(from);
        self.work(&db, 20)?;
        let expected = shown(&db)?;
        self.outside(|disk| disk.sync_dir(Path::new("/")))?;
        if from != "/data" {
            self.outside(|disk| disk.sync_dir(Path::new("/data")))?;
        }
        self.end(db)?;
        same_files(&self.below(from), &others)?;
        self.shows(store, &expected)
    }

    /// Another store, used and closed.
    fn work_and_close(&self, db: &Database) -> Trip {
        must("begin_run", db.begin_run(run_id(RUN), [("of", "another")]))?;
        self.work(db, 100)?;
        must("close", db.close())
    }

    fn removed(&self) -> Trip {
        let db = self.owner(DIR)?;
        self.strike(&db, NameEvent::Remove(DIR.into()))?.is_whole_or_displaced()?;
        if self.twist(6) {
            self.outside(|disk| disk.create_dir(Path::new(DIR)))?;
        }
        if self.twist(6) && self.twist(7) {
            self.open(DIR).and_then(|db| self.work_and_close(&db))?;
        }
        let others = self.below("/");
        self.is_displaced(&db)?;
        drop(db);
        same_files(&self.below("/"), &others)
    }

    fn lock_removed(&self) -> Trip {
        let db = self.owner(DIR)?;
        let durable = shown(&db)?;
        let busy = self.strike(&db, NameEvent::Remove(lock()))?;
        busy.is_whole_or_displaced()?;
        let second = self.open(DIR)?;
        match self.late {
            None => same("what the second owner shows", &shown(&second)?, &durable)?,
            Some(_) => busy.is_prefix(&shown(&second)?)?,
        }
        if self.twist(6) {
            self.work(&second, 30)?;
        }
        self.is_displaced(&db)?;
        self.work(&second, 60)?;
        let expected = shown(&second)?;
        if self.twist(7) {
            drop(db);
            // The lock of the second owner is its own.
            let third = self.builder().open(DIR);
            if !matches!(third, Err(Error::Locked { .. })) {
                return Err(("C9", format!("a third opening gave {third:?}")));
            }
        }
        self.end(second)?;
        self.shows(DIR, &expected)
    }

    fn lock_moved(&self) -> Trip {
        let db = self.owner(DIR)?;
        let durable = shown(&db)?;
        let moved = NameEvent::Move { from: lock(), to: "/lock".into() };
        self.strike(&db, moved)?.is_whole_or_displaced()?;
        // Another file of its name, which nobody has locked yet, is as bad as none.
        if self.twist(6) {
            self.put_file(&lock(), &[])?;
        }
        let strict = WriteOptions { durability: Some(Level::Strict) };
        let lost = db.put_with(run_id(RUN), "lost", 1, None, strict);
        if !matches!(lost, Err(Error::Displaced { .. })) {
            return Err(("owner", format!("without its lock a put answered {lost:?}")));
        }
        if self.twist(6) {
            self.outside(|disk| disk.remove(&lock()))?;
        }
        self.outside(|disk| disk.move_dir(Path::new("/lock"), &lock()))?;
        self.is_displaced(&db)?;
        drop(db);
        // What it was told is lost may be there all the same.
        let db = self.open(DIR)?;
        let found = shown(&db)?.version;
        if found < durable.version {
            return Err(("C1", format!("version {found} is left of {}", durable.version)));
        }
        must("close", db.close())
    }

    fn names_taken(&self) -> Trip {
        let db = self.owner(DIR)?;
        let own = |path: PathBuf| {
            let (name, kind) = path.file_name()?.to_str()?.rsplit_once('.')?;
            if !matches!(kind, "log" | "table") {
                return None;
            }
            let (stem, number) = name.rsplit_once('-')?;
            Some((number.parse::<u64>().ok()?, stem.to_owned()))
        };
        self.be_busy(&db)?;
        let newest = self.below(DIR).into_keys().filter_map(own).max();
        let (number, stem) = newest.ok_or(("harness", "a store without a log".to_owned()))?;
        let mut taken = Vec::new();
        for n in 1..4 + self.twist % 4 {
            let kind = match self.twist(n % 8) {
                true => "log",
                false if self.options.flush_bytes < u64::MAX && n % 2 == 0 => "table",
                false => "tmp",
            };
            taken.push(Path::new(DIR).join(format!("{stem}-{:06}.{kind}", number + u64::from(n))));
        }
        // A flush makes its tables behind a segment and a manifest.
        let far = if self.options.flush_bytes < u64::MAX { 4..16 } else { 0..0 };
        let table = |n: u64| format!("{stem}-{:06}.table", number + n);
        taken.extend(far.map(|n| Path::new(DIR).join(table(n))));
        taken.sort_unstable();
        taken.dedup();
        for dir in &taken {
            self.outside(|disk| disk.create_dir(dir))?;
        }
        let content = vec![self.twist; 40];
        let others = [
            "000123.log",
            "20260101.tmp",
            "CURRENT",
            "runstone-000102030405060708090a0b0c0d0e0f-000007.log",
            "runstone-000102030405060708090a0b0c0d0e0f-000008.tmp",
        ];
        let others = others.map(|name| Path::new(DIR).join(name));
        let made = self.below(DIR);
        for path in others.iter().filter(|path| !made.contains_key(*path)) {
            self.put_file(path, &content)?;
        }
        let foreign: BTreeMap<_, _> =
            self.below(DIR).into_iter().filter(|(path, _)| others.contains(path)).collect();
        self.work(&db, 20)?;
        let expected = shown(&db)?;
        self.end(db)?;
        let db = self.open(DIR)?;
        same("what the next opening shows", &shown(&db)?, &expected)?;
        self.work(&db, 40)?;
        must("close", db.close())?;
        let mut left = self.below(DIR);
        left.retain(|path, _| foreign.contains_key(path));
        if left != foreign {
            return Err(("C12", "a file that is not the store's was touched".to_owned()));
        }
        let is_there = |dir: &PathBuf| self.vfs.list(dir).is_ok();
        match self.end == Some(CrashKind::Power) || taken.iter().all(is_there) {
            true => Ok(()),
            false => Err(("C12", "a directory of an own name was removed".to_owned())),
        }
    }

    fn among_others(&self) -> Trip {
        self.outside(|disk| disk.create_dir(Path::new("/other")))?;
        let names = ["CURRENT", "000006.log", "20260101.tmp", "LOCK", "MANIFEST", "notes"];
        for name in &names[usize::from(self.twist) % names.len()..] {
            self.put_file(&Path::new("/other").join(name), &[self.twist; 40])?;
        }
        let others = self.below("/other");
        let unasked = Options { create_among_others: false, ..self.options.clone() };
        let refused = self.builder().options(unasked).open("/other");
        if !matches!(refused, Err(Error::NotAStore { .. })) {
            return Err(("C12", format!("an opening among files of others gave {refused:?}")));
        }
        same("what stood there", &self.below("/other"), &others)?;
        let options = Options { create_among_others: true, ..self.options.clone() };
        let db = must("opening", self.builder().options(options).open("/other"))?;
        self.work_and_close(&db)?;
        let db = self.owner("/other")?;
        let expected = shown(&db)?;
        self.end(db)?;
        self.shows("/other", &expected)?;
        let mut left = self.below("/other");
        left.retain(|path, _| others.contains_key(path));
        same("what stood there", &left, &others)
    }
}
