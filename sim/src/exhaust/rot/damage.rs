//! Every damage to a small store.
//!
//! - every bit of every file is flipped; of stores that are not plain, those where a decoder
//!   decides and a share of the others;
//! - every sector is zeroed;
//! - every sector is exchanged with every other, of the same or another file;
//! - every sector is replaced with every older version that it ever had: a lost write;
//! - of every log the last sectors, from each on, are as they were at every earlier moment, with
//!   the length of now and with that of then: lost writes;
//! - a file is gone, and beside a manifest that is gone a log has lost its header, or one without
//!   a header was left.

use std::path::{Path, PathBuf};

use super::{DIR, Event, Image, Kind, RotStore, SECTOR};
use crate::harness::written::numbered;

/// The fields of a record before its payload.
const RECORD_HEAD: usize = 33;

/// One damage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    /// A bit, the lowest of each byte first.
    Flip(PathBuf, usize),
    /// A sector reads zeros.
    Zero(PathBuf, usize),
    /// Two sectors have changed places, as far as both reach.
    Swap((PathBuf, usize), (PathBuf, usize)),
    /// A sector has an older version, the given one of those it had.
    Older(PathBuf, usize, usize),
    /// From a sector on, a file is as it was at a moment; also its length, if it is cut.
    LostTail {
        /// The file.
        path: PathBuf,
        /// The first sector.
        from: usize,
        /// Which moment, of those after a commit or a close.
        moment: usize,
        /// Whether the file is as short as it was.
        is_cut: bool,
    },
    /// A file is gone.
    Gone(PathBuf),
    /// The manifest is gone, and this file reads zeros in its first sector; if it is not there, it
    /// is now, and holds nothing else.
    GoneBeside(PathBuf),
}

impl Damage {
    /// The name of its kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Damage::Flip(..) => "flipped bits",
            Damage::Zero(..) => "zeroed sectors",
            Damage::Swap(..) => "swapped sectors",
            Damage::Older(..) => "older sectors",
            Damage::LostTail { .. } => "lost tails of logs",
            Damage::Gone(..) | Damage::GoneBeside(..) => "lost files",
        }
    }
}

impl RotStore {
    /// Every damage, in order.
    pub fn damages(&self) -> Vec<Damage> {
        let mut all = vec![];
        let mut sectors = vec![];
        for (path, content) in &self.image {
            let bits = (0..content.len() * 8).filter(|bit| self.flips(path, *bit));
            all.extend(bits.map(|bit| Damage::Flip(path.clone(), bit)));
            for sector in 0..content.len().div_ceil(SECTOR) {
                all.push(Damage::Zero(path.clone(), sector));
                let versions = self.older.get(&(path.clone(), sector)).map_or(0, Vec::len);
                all.extend((0..versions).map(|nth| Damage::Older(path.clone(), sector, nth)));
                sectors.push((path.clone(), sector));
            }
        }
        all.extend(self.lost_tails());
        all.extend(self.lost_files());
        for (i, one) in sectors.iter().enumerate() {
            let others = sectors.iter().skip(i + 1);
            all.extend(others.map(|other| Damage::Swap(one.clone(), other.clone())));
        }
        all
    }

    /// Of a plain store every bit is flipped. Of the others every bit of each record's head and
    /// about each border of a sector, and one bit of every fourth byte elsewhere. (A test of the
    /// engine flips every bit of a table.)
    fn flips(&self, path: &Path, bit: usize) -> bool {
        let byte = bit / 8;
        let is_near = |border: usize, span: usize| byte >= border && byte < border + span;
        let is_written = |event: &Event| match event {
            Event::Write { path: of, pos, len, .. } => {
                of == path && (is_near(*pos, RECORD_HEAD) || is_near(pos + len - 1, 1))
            }
            Event::Synced { .. } => false,
        };
        self.kind == Kind::Plain
            || !(is_log(path) || is_table(path))
            || (byte.is_multiple_of(4) && bit % 8 == byte / 4 % 8)
            || byte.is_multiple_of(SECTOR)
            || byte % SECTOR == SECTOR - 1
            || (bit.is_multiple_of(2) && self.events.iter().any(is_written))
    }

    /// The lock file is no data: without it nobody is kept out, and nothing is lost.
    fn lost_files(&self) -> Vec<Damage> {
        let manifest = Path::new(DIR).join("runstone.manifest");
        let logs = || self.image.keys().filter(|path| is_log(path)).cloned();
        // One that a creation or a rotation has left.
        let stray = Path::new(DIR).join(numbered(&[0; 16], 0, "log"));
        let beside = logs().chain([stray]).map(Damage::GoneBeside);
        let tables = self.image.keys().filter(|path| is_table(path)).cloned();
        let gone = [manifest].into_iter().chain(logs()).chain(tables);
        gone.map(Damage::Gone).chain(beside).collect()
    }

    fn lost_tails(&self) -> Vec<Damage> {
        let mut all = vec![];
        let logs = self.image.iter().filter(|(path, _)| is_log(path));
        for (path, content) in logs {
            let before = |moment: &Image| moment.get(path).is_some_and(|then| then != content);
            let moments = self.moments.iter().enumerate().filter(|(_, image)| before(image));
            for (moment, _) in moments {
                for from in 0..content.len().div_ceil(SECTOR) {
                    let tail =
                        |is_cut| Damage::LostTail { path: path.clone(), from, moment, is_cut };
                    all.extend([tail(false), tail(true)]);
                }
            }
        }
        all
    }

    /// The damaged files.
    pub(super) fn damaged(&self, damage: &Damage) -> Image {
        let mut image = self.image.clone();
        match damage {
            Damage::Flip(path, bit) => {
                if let Some(byte) = image.get_mut(path).and_then(|bytes| bytes.get_mut(bit / 8)) {
                    *byte ^= 1 << (bit % 8);
                }
            }
            Damage::Zero(path, sector) => overwrite(&mut image, path, *sector, &[0; SECTOR]),
            Damage::Swap(one, other) => {
                let (first, second) = (sector_of(&image, one), sector_of(&image, other));
                overwrite(&mut image, &one.0, one.1, &second);
                overwrite(&mut image, &other.0, other.1, &first);
            }
            Damage::Older(path, sector, nth) => {
                let versions = self.older.get(&(path.clone(), *sector));
                if let Some(old) = versions.and_then(|versions| versions.get(*nth)) {
                    overwrite(&mut image, path, *sector, old);
                }
            }
            Damage::Gone(path) => {
                image.remove(path);
            }
            Damage::GoneBeside(path) => {
                image.remove(&Path::new(DIR).join("runstone.manifest"));
                image.entry(path.clone()).or_default();
                overwrite(&mut image, path, 0, &[0; SECTOR]);
            }
            Damage::LostTail { path, from, moment, is_cut } => {
                let then = self.moments.get(*moment).and_then(|image| image.get(path));
                let then = then.map(Vec::as_slice).unwrap_or_default();
                if let Some(now) = image.get_mut(path) {
                    let from = (from * SECTOR).min(now.len());
                    for (at, byte) in now.iter_mut().enumerate().skip(from) {
                        *byte = then.get(at).copied().unwrap_or(0);
                    }
                    if *is_cut {
                        now.truncate(then.len().max(from));
                    }
                }
            }
        }
        image
    }
}

fn is_table(path: &Path) -> bool {
    path.extension().is_some_and(|kind| kind == "table")
}

pub(super) fn is_log(path: &Path) -> bool {
    path.extension().is_some_and(|kind| kind == "log")
}

fn sector_of(image: &Image, (path, sector): &(PathBuf, usize)) -> Vec<u8> {
    let content = image.get(path).and_then(|content| content.chunks(SECTOR).nth(*sector));
    content.unwrap_or_default().to_vec()
}

/// Puts bytes over a sector, as far as it reaches; zeros, where they do not.
fn overwrite(image: &mut Image, path: &Path, sector: usize, bytes: &[u8]) {
    let content = image.get_mut(path).and_then(|content| content.chunks_mut(SECTOR).nth(sector));
    let bytes = bytes.iter().chain(std::iter::repeat(&0));
    for (to, from) in content.into_iter().flatten().zip(bytes) {
        *to = *from;
    }
}
