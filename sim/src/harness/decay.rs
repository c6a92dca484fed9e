//! Copies of a disk at rest, each with one damage, and what an opening of them says.
//!
//! The case goes on with its own disk, so that a seed sees many damages, and not only the first
//! that is noticed. A third of them strike anywhere; the others where a decoder has to decide: in
//! heads of records, in the last record, in headers and the manifest, at the borders of sectors.
//!
//! Invariants: nothing here touches the disk of the case, or draws from its streams. What a store
//! must show at least is known from the files before they rot, by their documented layout.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use runstone::{Database, Error, RunFilter};
use runstone_vfs::Vfs;

use super::case::World;
use super::oracle;
use super::runner::Runner;
use super::verdict::Checked;
use super::world::{DIR, SimClock, SimEntropy};
use super::written::{MANIFEST, Placed, Written};
use crate::disk::{CrashKind, Rot, SimVfs};
use crate::rng::{Rng, Streams};

/// Copies that rot at each rest.
const COPIES: u64 = 3;
/// The bytes of a record's fields, of a segment's header and of the least manifest.
const RECORD_HEAD: u64 = 33;
const SEGMENT_HEADER: u64 = 72;
const MANIFEST_BYTES: u64 = 120;
/// The fields of an edit that every edit has.
const EDIT_HEAD: u64 = 92;
const SECTOR: u64 = 512;
/// The bytes at the end of a table that tell where its parts stand.
const FOOTER: usize = 64;

fn path_of(file: &str) -> PathBuf {
    Path::new(DIR).join(file)
}

impl Runner<'_> {
    /// The store is at rest: closed, or stopped and not yet opened again.
    pub(super) fn decays(&mut self) -> Checked {
        if self.case.world != World::Rot || self.healed || self.disk.is_crashed() {
            return Ok(());
        }
        let sound = self.files().records();
        for nth in 0..COPIES {
            let seed = self.case.seed ^ self.disk.calls() << 8 ^ nth;
            let mut rng = Streams::new(seed).named("decay");
            let copy = self.disk.fork(seed);
            copy.disarm_crash();
            copy.set_capacity(None);
            let Some(rot) = damage(&copy, &sound, &mut rng) else { continue };
            self.say(|| format!("      a copy rots: {rot:?}"));
            self.copy_is_judged(&copy, &sound, &rot, rng)?;
        }
        self.copies_with_an_edit_that_rots(&sound)?;
        self.copy_with_a_filter_that_rots(&sound)?;
        self.copy_without_manifest()
    }

    /// An edit was appended to the manifest: what if it were damaged, and the process were killed?
    pub(super) fn new_edit_rots(&mut self) -> Checked {
        if self.healed || self.disk.is_crashed() {
            return Ok(());
        }
        let sound = self.files().records();
        self.copies_with_an_edit_that_rots(&sound)
    }

    /// The last edit of the manifest, and one before it: each is damaged in a copy of its own.
    fn copies_with_an_edit_that_rots(&mut self, sound: &[Placed]) -> Checked {
        let edits = self.files().manifest().map(|found| found.edits).unwrap_or_default();
        let Some((last, before)) = edits.split_last() else { return Ok(()) };
        let seed = self.case.seed ^ self.disk.calls() << 8 ^ (COPIES + 2);
        let mut rng = Streams::new(seed).named("edits");
        let before = rng.pick(before).copied();
        for (at, is_last) in [(Some(*last), true), (before, false)] {
            let Some(at) = at else { continue };
            let copy = self.disk.fork(rng.next_u64());
            copy.disarm_crash();
            copy.set_capacity(None);
            copy.crash_now(CrashKind::Process);
            copy.restart();
            let path = path_of(MANIFEST);
            let rot = match rng.coin() {
                true => Rot::Flipped { path, bit: (at + rng.below(EDIT_HEAD)) * 8 + rng.below(8) },
                false => Rot::Zeroed { path, sector: at / SECTOR },
            };
            if copy.apply_rot(&rot).is_err() {
                continue;
            }
            self.say(|| format!("      an edit of a copy rots: {rot:?}"));
            let rng = Rng::from_seed(rng.next_u64());
            match is_last {
                true => self.copy_is_judged(&copy, sound, &rot, rng)?,
                false => self.copy_is_refused_at(&copy, at, &rot, rng)?,
            }
        }
        Ok(())
    }

    /// C5: an edit before others that is not intact is damage, and an opening tells where.
    fn copy_is_refused_at(&self, copy: &SimVfs, at: u64, rot: &Rot, rng: Rng) -> Checked {
        match self.open_copy(copy, rng) {
            Err(Error::Corruption { file, offset, .. })
                if file == path_of(MANIFEST) && offset == at =>
            {
                Ok(())
            }
            Err(error) => self.fail("C5", format!("{rot:?}: it is at {at}, and not {error}")),
            Ok(_) => self.fail("C5", format!("{rot:?}: a manifest without an edit was believed")),
        }
    }

    /// One bit less in the filter of a table: a key that is there would not be found.
    fn copy_with_a_filter_that_rots(&self, sound: &[Placed]) -> Checked {
        let seed = self.case.seed ^ self.disk.calls() << 8 ^ (COPIES + 1);
        let mut rng = Streams::new(seed).named("a filter");
        let copy = self.disk.fork(seed);
        copy.disarm_crash();
        copy.set_capacity(None);
        let is_table = |path: &PathBuf| path.extension().is_some_and(|end| end == "table");
        let tables: Vec<_> = copy.live_image().into_iter().filter(|(p, _)| is_table(p)).collect();
        let Some((path, bytes)) = rng.pick(&tables) else { return Ok(()) };
        let set: Vec<u64> = bits_of_the_filter(bytes).unwrap_or_default();
        let Some(bit) = rng.pick(&set) else { return Ok(()) };
        let rot = Rot::Flipped { path: path.clone(), bit: *bit };
        match copy.apply_rot(&rot) {
            Ok(()) => self.copy_is_judged(&copy, sound, &rot, rng),
            Err(_) => Ok(()),
        }
    }

    /// C5: a store that has lost its manifest is refused, if a commit is in its files; in a share
    /// of the rests.
    fn copy_without_manifest(&self) -> Checked {
        let seed = self.case.seed ^ self.disk.calls() << 8 ^ COPIES;
        let rng = Streams::new(seed).named("a lost manifest");
        let last_commit = self.files().last_commit();
        if last_commit == 0 {
            return Ok(());
        }
        let copy = self.disk.fork(seed);
        copy.heal();
        copy.disarm_crash();
        if copy.remove(&path_of(MANIFEST)).is_err() {
            return Ok(());
        }
        match self.open_copy(&copy, rng) {
            Err(Error::Corruption { .. } | Error::UnsupportedFormat { .. }) => Ok(()),
            Err(error) => {
                self.fail("C5", format!("a lost manifest: no typed refusal, but {error}"))
            }
            Ok(db) => {
                let version = db.storage().version();
                let message = format!("a lost manifest: opened at {version}, not {last_commit}");
                self.fail("C5", message)
            }
        }
    }

    fn open_copy(&self, copy: &SimVfs, rng: Rng) -> Result<Database, Error> {
        Database::builder()
            .options(self.next_options().engine())
            .vfs(Arc::new(copy.clone()))
            .clock(Arc::new(SimClock::new(self.clock.now().0)))
            .entropy(Arc::new(SimEntropy::new(rng)))
            .open(DIR)
    }

    /// C5: an opening of a damaged copy shows a history, no shorter than what is proven, or refuses
    /// with a typed error.
    fn copy_is_judged(&self, copy: &SimVfs, sound: &[Placed], rot: &Rot, rng: Rng) -> Checked {
        // Before the opening, which may repair what it finds. A last edit that is damaged is a torn
        // one for whoever reads it: it need not be seen, but nothing may be missing for it.
        let manifest = path_of(MANIFEST);
        let counts =
            self.files().manifest().map(|found| found.edits.last().copied().unwrap_or(found.end));
        let counts = usize::try_from(counts.unwrap_or(0)).unwrap_or(0);
        let counted = |content: Option<Vec<u8>>| {
            content.map(|bytes| bytes.get(..counts).unwrap_or(&bytes).to_vec())
        };
        let is_as_it_was =
            counted(self.content(MANIFEST)) == counted(copy.read_whole(&manifest, false));
        let (proven, time_ms) = self.proven(sound, copy);
        let named = Written::live(copy, Path::new(DIR));
        let appended = |record: &&Placed| record.synced > 0 && !named.names(&record.file);
        let appended = sound.iter().find(appended).map(|record| record.file.clone());
        let db = match self.open_copy(copy, rng) {
            Ok(db) => db,
            Err(Error::Corruption { .. } | Error::UnsupportedFormat { .. }) => return Ok(()),
            Err(error) => {
                return self.fail("C5", format!("{rot:?}: no typed refusal, but {error}"));
            }
        };
        if self.case.options.flushes() && oracle::corruption(&db).is_some() {
            return Ok(());
        }
        let (version, now) = (db.storage().version(), db.storage().now().as_millis());
        self.require("C5", gets_find_what_scans_show(&db).map_err(|m| format!("{rot:?}: {m}")))?;
        self.matching_history(&db, version, now)?;
        if !is_as_it_was {
            // One of before that is left under another name is whole, and cannot be told from it.
            return match rot {
                Rot::Misdirected { .. } => Ok(()),
                _ => self.fail("C5", format!("{rot:?}: a damaged manifest was believed")),
            };
        }
        if let Some(file) = appended {
            // A session appends to a log when the manifest that names it is durable.
            let message = format!("{rot:?}: {file} has records, and its edit was not missed");
            return self.fail("C5", message);
        }
        if version < proven {
            let message = format!("{rot:?}: version {version} is shown, but {proven} is proven");
            return self.fail("C5", message);
        }
        if now < time_ms {
            return self.fail("C11", format!("{rot:?}: it is {now}, but {time_ms} is proven"));
        }
        Ok(())
    }

    fn content(&self, file: &str) -> Option<Vec<u8>> {
        self.disk.read_whole(&path_of(file), false)
    }

    /// The version and the time that the manifest, or an undamaged record, prove to be durable.
    fn proven(&self, sound: &[Placed], copy: &SimVfs) -> (u64, u64) {
        let synced = self.still_synced(sound, copy);
        let proven = |record: &&Placed| {
            record.is_attested || record.open && record.at + record.length <= synced
        };
        let left = Written::live(copy, Path::new(DIR));
        // A segment that only a lost edit has named takes along the time in what it was made with,
        // which is no commit and no clock floor. What was appended to it attests something.
        let keeps_time = |record: &&Placed| record.synced > 0 || left.names(&record.file);
        let proven = || sound.iter().filter(proven);
        let version = proven().map(|record| record.version).max();
        let time_ms = proven().filter(keeps_time).map(|record| record.time_ms).max();
        (
            version.unwrap_or(0).max(self.files().flushed().0),
            time_ms.unwrap_or(0).max(left.flushed().1),
        )
    }

    /// How far undamaged records of the open segment say that it was synced.
    fn still_synced(&self, sound: &[Placed], copy: &SimVfs) -> u64 {
        let Some(open) = sound.iter().find(|record| record.open).map(|record| &record.file) else {
            return 0;
        };
        let (before, after) = (self.content(open), copy.read_whole(&path_of(open), false));
        let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
        let is_whole = |record: &&Placed| {
            let bytes = |content: &[u8]| {
                let from = usize::try_from(record.at).ok()?;
                let len = usize::try_from(record.length).ok()?;
                content.get(from..from + len).map(<[u8]>::to_vec)
            };
            bytes(&before) == bytes(&after)
        };
        let whole = sound.iter().filter(|record| record.open).filter(is_whole);
        whole.map(|record| record.synced).max().unwrap_or(0)
    }
}

/// A get goes through filters, a scan does not.
fn gets_find_what_scans_show(db: &Database) -> Result<(), String> {
    let runs = db.runs(RunFilter::default()).map_err(|e| e.to_string())?;
    for run in runs.flatten().map(|entry| entry.run_id) {
        for (key, shown) in db.scan_prefix(run, "").into_iter().flatten().flatten() {
            let found = db.get_versioned(run, &key).map_err(|e| e.to_string())?;
            if found.as_ref() != Some(&shown) {
                let key = key.escape_ascii();
                return Err(format!("a scan shows key {key}, and a get finds {found:?}"));
            }
        }
    }
    Ok(())
}

/// The bits that are set in the filter of a table, as its footer tells where that stands.
fn bits_of_the_filter(table: &[u8]) -> Option<Vec<u64>> {
    let footer = table.last_chunk::<FOOTER>()?;
    let offset = u64::from_le_bytes(*footer.get(12..)?.first_chunk()?);
    let length = u32::from_le_bytes(*footer.get(20..)?.first_chunk()?);
    let bits = offset.checked_mul(8)?..(offset + u64::from(length)).checked_mul(8)?;
    let is_set = |bit: &u64| {
        let byte = usize::try_from(bit / 8).ok().and_then(|at| table.get(at));
        byte.is_some_and(|byte| byte >> (bit % 8) & 1 == 1)
    };
    (bits.end <= table.len() as u64 * 8).then(|| bits.filter(is_set).collect())
}

/// Damages a copy; says how, if it changed anything.
fn damage(copy: &SimVfs, sound: &[Placed], rng: &mut Rng) -> Option<Rot> {
    let last = sound.last()?;
    let record = if rng.coin() { last } else { rng.pick(sound)? };
    let other = rng.pick(sound)?;
    let flip = |file: &str, from: u64, len: u64, rng: &mut Rng| Rot::Flipped {
        path: path_of(file),
        bit: (from + rng.below(len)) * 8 + rng.below(8),
    };
    let (path, sector) = (path_of(&record.file), record.at / SECTOR);
    let rot = match rng.below(12) {
        0..=3 => return copy.rot(1).pop(),
        4 | 5 => flip(&record.file, record.at, RECORD_HEAD, rng),
        6 => flip(&record.file, record.at, record.length, rng),
        7 => flip(MANIFEST, 0, MANIFEST_BYTES, rng),
        8 => flip(&record.file, 0, SEGMENT_HEADER, rng),
        9 => Rot::Zeroed { path, sector },
        10 if other.file == record.file => {
            Rot::Swapped { path, sectors: (sector, other.at / SECTOR) }
        }
        _ => {
            Rot::Misdirected { from: (path_of(&other.file), other.at / SECTOR), to: (path, sector) }
        }
    };
    copy.apply_rot(&rot).ok().map(|()| rot)
}
