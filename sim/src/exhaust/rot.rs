//! Rot, all of it: every damage of six kinds (`rot/damage.rs`) to a small store, and what each
//! opening says.
//!
//! A store that was closed shows the same as before, or an opening is refused with a typed
//! error. One that had crashed may also show a prefix, if it is no shorter than the *proven
//! watermark*: the greatest length whose sync had returned Ok before the write of the last
//! undamaged record began. The oracle has it from the trace of the calls, never from the
//! engine's decoder; so it also knows which bytes belong to which commit.

mod damage;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

pub use damage::Damage;
use damage::is_log;
use runstone::Database;

use super::lazy::{Event, LazyVfs, Watch, is_hang, lock};
use super::session::{COUNTS, DIR, WALL_BACK_MS, WALL_MS, batch, builder, disk_config};
use super::{Breach, Checked};
use crate::disk::SimVfs;
use crate::harness::case::{CaseOptions, ChangeSpec, LevelSpec, ValueSpec};
use crate::harness::model::Model;
use crate::harness::oracle;
use crate::harness::world::SimClock;

const SECTOR: usize = 512;

/// How the store came to rest before it rots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rest {
    /// It was closed.
    Closed,
    /// The power was cut; everything that was written is there.
    Crashed,
    /// The same, in the first session: no segment was ended.
    CrashedYoung,
    /// The same, after a flush and a while without commits: the log ends with a clock floor and
    /// a watermark that attests it.
    CrashedIdle,
}

impl Rest {
    /// All of them.
    pub const ALL: [Rest; 4] = [Rest::Closed, Rest::Crashed, Rest::CrashedYoung, Rest::CrashedIdle];
}

/// What kind of store it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Records stand one behind the other; every bit is flipped.
    Plain,
    /// Commits end at borders of sectors.
    Padded,
    /// Zeros follow the records.
    Preallocated,
    /// Keys expire, some before the store comes to rest.
    Expiring,
    /// Most of it is in tables; some commits stand in the log behind them.
    Tables,
    /// The same, with values that compress, in fewer tables, of which the blocks are compressed.
    Compressed,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 6] = [
        Kind::Plain,
        Kind::Padded,
        Kind::Preallocated,
        Kind::Expiring,
        Kind::Tables,
        Kind::Compressed,
    ];

    fn has_tables(self) -> bool {
        matches!(self, Kind::Tables | Kind::Compressed)
    }

    fn options(self) -> CaseOptions {
        let mut options = super::Setting::Batched.options();
        options.segment_bytes = if self == Kind::Padded { 3072 } else { 1536 };
        options.pad_to_sector = self == Kind::Padded;
        options.preallocate_bytes = if self == Kind::Preallocated { 700 } else { 0 };
        options.zero_fill = true;
        if self.has_tables() {
            options.flush_bytes = 1;
            options.table_bytes_max = if self == Kind::Tables { 800 } else { 1 << 20 };
            options.compresses = self == Kind::Compressed;
        }
        options
    }
}

/// What an opening of a damaged store came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answer {
    /// The damage changed no byte.
    Unchanged,
    /// The same as before.
    Same,
    /// A shorter history, no shorter than what is proven.
    Prefix,
    /// A typed error.
    Refused,
}

type Image = BTreeMap<PathBuf, Vec<u8>>;

/// A small store at rest.
#[derive(Debug)]
pub struct RotStore {
    rest: Rest,
    kind: Kind,
    image: Image,
    /// Every version that a sector had, oldest first, by path.
    older: BTreeMap<(PathBuf, usize), Vec<Vec<u8>>>,
    /// The files after each commit and each close.
    moments: Vec<Image>,
    histories: Vec<Model>,
    events: Vec<Event>,
    /// Which of them wrote records, and not zeros ahead of them.
    records: Vec<bool>,
    /// The engine's time that the clock floor says, if there is one, in milliseconds.
    floor_ms: u64,
}

impl RotStore {
    /// Makes a store: manifest, lock, several segments, records of one sector and of two.
    ///
    /// Errors: a breach without any damage.
    pub fn new(rest: Rest, kind: Kind) -> Checked<RotStore> {
        let watch = Arc::new(Mutex::new(Watch { records: true, ..Watch::default() }));
        let disk = SimVfs::with_config(1, disk_config());
        let vfs = LazyVfs::new(disk.clone(), &watch);
        let clock = Arc::new(SimClock::new(WALL_MS));
        let mut store = RotStore {
            rest,
            kind,
            image: Image::new(),
            older: BTreeMap::new(),
            moments: vec![],
            histories: vec![],
            events: vec![],
            records: vec![],
            floor_ms: 0,
        };
        let mut model = Model::counting(COUNTS);
        let sessions = if rest == Rest::CrashedYoung { 1 } else { 3 };
        let mut last = None;
        for session in 0..sessions {
            let opened = builder(&vfs, &kind.options(), clock.clone(), 1 + session).open(DIR);
            let db = opened.map_err(|e| Breach::new("C5", e))?;
            for (nth, (changes, level)) in script(session, kind).into_iter().enumerate() {
                if nth == 4 && kind.has_tables() {
                    db.maintain().map_err(|e| Breach::new("maintain", e))?;
                    lock(&watch).records_upkeep(model.version());
                    store.remember(&disk.live_image());
                }
                let options = runstone::WriteOptions { durability: level.level() };
                db.write_with(batch(&changes), options).map_err(|e| Breach::new("write", e))?;
                let version = model.commit(&changes, clock.now().0);
                lock(&watch).records_commit(version);
                store.remember(&disk.live_image());
                clock.pass(5, 0);
            }
            let closes = session + 1 < sessions || rest == Rest::Closed;
            if closes {
                db.close().map_err(|e| Breach::new("close", e))?;
                lock(&watch).records_upkeep(model.version());
                store.remember(&disk.live_image());
            }
            if rest == Rest::CrashedIdle && session + 1 == sessions {
                db.flush().map_err(|e| Breach::new("flush", e))?;
                lock(&watch).records_upkeep(model.version());
                store.floor_ms = clock.now().0;
                store.remember(&disk.live_image());
                clock.pass(1000, 0);
                db.tick().map_err(|e| Breach::new("tick", e))?;
                lock(&watch).records_upkeep(model.version());
                store.remember(&disk.live_image());
            }
            last = Some(db);
        }
        // Dead before it is dropped: it must not close itself.
        vfs.kill();
        drop(last);
        store.image = disk.live_image();
        store.events = std::mem::take(&mut lock(&watch).events);
        store.records = (0..store.events.len()).map(|nth| store.is_record(nth)).collect();
        store.histories = (0..=model.version())
            .map(|version| {
                let mut history = model.clone();
                history.cut(version);
                history
            })
            .collect();
        Ok(store)
    }

    /// Whether a call wrote records: nothing writes over those, and they are not zeros.
    fn is_record(&self, nth: usize) -> bool {
        let Some(Event::Write { path, pos, len, .. }) = self.events.get(nth) else { return false };
        let is_over = |event: &Event| match event {
            Event::Write { path: of, pos: at, .. } => of == path && (*pos..pos + len).contains(at),
            Event::Synced { .. } => false,
        };
        let bytes = self.image.get(path).and_then(|content| content.get(*pos..pos + len));
        is_log(path)
            && !self.events.iter().skip(nth + 1).any(is_over)
            && bytes.is_some_and(|bytes| bytes.iter().any(|byte| *byte != 0))
    }

    fn remember(&mut self, image: &Image) {
        self.moments.push(image.clone());
        for (path, content) in image {
            for (sector, bytes) in content.chunks(SECTOR).enumerate() {
                let versions = self.older.entry((path.clone(), sector)).or_default();
                if versions.last().is_none_or(|last| last != bytes) {
                    versions.push(bytes.to_vec());
                }
            }
        }
    }

    /// The files and their sizes.
    pub fn files(&self) -> Vec<(String, usize)> {
        let name =
            |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.image.iter().map(|(path, content)| (name(path), content.len())).collect()
    }

    /// The version and the engine's time that must be shown at least, if anything is: from the
    /// trace.
    fn proven(&self, damaged: &Image) -> (u64, u64) {
        if self.rest == Rest::Closed {
            return (self.histories.len() as u64 - 1, 0);
        }
        // The last record that holds a commit, and is as it was written.
        let is_whole = |path: &Path, pos: usize, len: usize| {
            let bytes = |image: &Image| image.get(path)?.get(pos..pos + len).map(<[u8]>::to_vec);
            bytes(damaged) == bytes(&self.image) && bytes(damaged).is_some()
        };
        let is_undamaged_record = |(event, is_record): (&Event, &bool)| match event {
            Event::Write { path, pos, len, .. } => *is_record && is_whole(path, *pos, *len),
            Event::Synced { .. } => false,
        };
        let mut events = self.events.iter().zip(&self.records);
        let Some(last) = events.rposition(is_undamaged_record) else {
            return (0, 0);
        };
        // The watermark is written last, after the sync of the clock floor.
        let is_watermark = Some(last) == self.records.iter().rposition(|is_record| *is_record);
        let floor_ms = if is_watermark { self.floor_ms } else { 0 };
        // Before its write began: what was synced, with Ok.
        let (mut written, mut proven): (BTreeMap<&Path, u64>, u64) = (BTreeMap::new(), 0);
        for event in self.events.iter().take(last) {
            match event {
                Event::Write { path, version, .. } if is_log(path) => {
                    let version = written.get(path.as_path()).map_or(*version, |v| *v.max(version));
                    written.insert(path, version);
                }
                Event::Write { .. } => {}
                Event::Synced { path } => {
                    proven = proven.max(written.get(path.as_path()).copied().unwrap_or(0));
                }
            }
        }
        (proven, floor_ms)
    }

    /// Opens the damaged store, for reading and for writing, and judges what it says.
    ///
    /// Errors: a breach: a wrong answer, a history that is too short, an untyped error, a
    /// panic or a hang.
    pub fn judge(&self, damage: &Damage) -> Checked<Answer> {
        let image = self.damaged(damage);
        if image == self.image {
            return Ok(Answer::Unchanged);
        }
        let proven = self.proven(&image);
        let reading = self.open(&image, proven, true);
        let answer = reading.and_then(|_| self.open(&image, proven, false));
        answer.map_err(|breach| Breach {
            workload: format!("a store that was {:?} and {:?}", self.rest, self.kind),
            ..breach.under(&format!("{damage:?}"))
        })
    }

    fn open(&self, image: &Image, proven: (u64, u64), read_only: bool) -> Checked<Answer> {
        let disk =
            SimVfs::from_image(1, disk_config(), image).map_err(|e| Breach::new("harness", e))?;
        let watch = Arc::new(Mutex::new(Watch::default()));
        let vfs = LazyVfs::new(disk, &watch);
        let clock = Arc::new(SimClock::new(WALL_BACK_MS));
        let builder = builder(&vfs, &self.kind.options(), clock, 77);
        let run = || {
            let opened = if read_only { builder.open_read_only(DIR) } else { builder.open(DIR) };
            let outcome = match opened {
                Ok(db) => self.compare(&db, proven),
                Err(error) if error.is_corruption() => Ok(Answer::Refused),
                Err(runstone::Error::UnsupportedFormat { .. }) => Ok(Answer::Refused),
                Err(error) => Err(Breach::new("C5", format!("no typed refusal: {error:?}"))),
            };
            vfs.kill();
            outcome
        };
        let outcome = catch_unwind(AssertUnwindSafe(run));
        if is_hang(&watch) {
            return Err(Breach::new(
                "progress",
                "the opening makes more calls than it may: a hang",
            ));
        }
        outcome.unwrap_or_else(|_| Err(Breach::new("panic", "the opening panicked")))
    }

    fn compare(&self, db: &Database, (proven, floor_ms): (u64, u64)) -> Checked<Answer> {
        let version = db.storage().version();
        let now = db.storage().now().as_millis();
        let history = usize::try_from(version).ok().and_then(|at| self.histories.get(at));
        let Some(history) = history else {
            return Err(Breach::new("C5", format!("version {version} never was")));
        };
        // A table is read when it is asked for something.
        if self.kind.has_tables() && oracle::corruption(db).is_some() {
            return Ok(Answer::Refused);
        }
        oracle::compare(db, history, now).map_err(|message| Breach::new("C5", message))?;
        if version < proven {
            let message = format!("version {version} is shown, but {proven} is proven");
            return Err(Breach::new("C5", message));
        }
        if now < floor_ms {
            return Err(Breach::new("C11", format!("it is {now}, but {floor_ms} is proven")));
        }
        let whole = version + 1 == self.histories.len() as u64;
        Ok(if whole { Answer::Same } else { Answer::Prefix })
    }
}

/// What a session commits.
fn script(session: u64, kind: Kind) -> Vec<(Vec<ChangeSpec>, LevelSpec)> {
    let put = |key, size, salt: u32| ChangeSpec::Put {
        run: 1,
        key,
        value: ValueSpec { kind: if kind == Kind::Compressed { 4 } else { 8 }, size, salt },
        // Each commit takes five milliseconds.
        ttl_ms: (kind == Kind::Expiring).then_some(if salt.is_multiple_of(2) { 12 } else { 9000 }),
    };
    let salt = 10 * u32::try_from(session).unwrap_or(0);
    let begin = |run| ChangeSpec::Begin { run, parent: None, tags: 2 };
    let run = 1 + u8::try_from(session).unwrap_or(0);
    vec![
        (vec![begin(run)], LevelSpec::Strict),
        (vec![put(0, 24, salt)], LevelSpec::Strict),
        (vec![put(1, 480, salt + 1)], LevelSpec::Strict),
        (vec![put(2, 90, salt + 2), ChangeSpec::Delete { run: 1, key: 0 }], LevelSpec::Strict),
        (vec![put(0, 40, salt + 3)], LevelSpec::Batched),
        (vec![ChangeSpec::End { run, status: 1 }], LevelSpec::Batched),
    ]
    .into_iter()
    // Run 1 stays active: all sessions write to it.
    .filter(|(changes, _)| !matches!(changes.as_slice(), [ChangeSpec::End { run: 1, .. }]))
    .collect()
}
