//! World R: damage to data that was durable, done while nothing is open.
//!
//! Each function damages what reads see and what is durable alike. None of it is ever mixed
//! with a check of durability: rule D5 holds outside this world only.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::SimVfs;
use super::dir::At;
use super::inode::{FileNode, SECTOR, at};

/// What a random rot did.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Rot {
    /// A bit was flipped.
    Flipped {
        /// The file.
        path: PathBuf,
        /// The bit, from the start of the file, the lowest of each byte first.
        bit: u64,
    },
    /// A sector was zeroed.
    Zeroed {
        /// The file.
        path: PathBuf,
        /// The sector.
        sector: u64,
    },
    /// Two sectors of a file changed places.
    Swapped {
        /// The file.
        path: PathBuf,
        /// The sectors.
        sectors: (u64, u64),
    },
    /// A sector holds its older version: a lost write.
    Restored {
        /// The file.
        path: PathBuf,
        /// The sector.
        sector: u64,
    },
    /// A sector was also written to another place: a misdirected write.
    Misdirected {
        /// Where the bytes belong.
        from: (PathBuf, u64),
        /// Where they went too.
        to: (PathBuf, u64),
    },
}

fn no_such_place<T>() -> io::Result<T> {
    Err(io::ErrorKind::InvalidInput.into())
}

/// The bytes of a sector, as far as the file reaches.
fn sector_of(content: &mut [u8], sector: u64) -> &mut [u8] {
    let start = at(sector.saturating_mul(SECTOR)).min(content.len());
    let end = content.len().min(start + at(SECTOR));
    &mut content[start..end]
}

/// Damage on demand. Positions are sectors of 512 bytes.
impl SimVfs {
    fn damage<T>(
        &self,
        path: &Path,
        mut how: impl FnMut(&mut FileNode) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut disk = self.disk();
        let id = disk.tree.find(At::root(path))?;
        let result = how(disk.tree.file_mut(id)?)?;
        disk.count("rot", 1);
        Ok(result)
    }

    /// Damages both images of a file in the same way.
    fn damage_bytes(
        &self,
        path: &Path,
        mut how: impl FnMut(&mut [u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        self.damage(path, |file| {
            let live = how(&mut file.live);
            if !file.is_clean() {
                // What the durable image does not reach cannot rot there.
                drop(how(&mut file.durable));
                return live;
            }
            live.and_then(|()| how(&mut file.durable))
        })
    }

    /// Flips one bit, counted from the start of the file, the lowest of each byte first.
    ///
    /// Errors: `NotFound`, or `InvalidInput` beyond the end; so do the others.
    pub fn flip_bit(&self, path: &Path, bit: u64) -> io::Result<()> {
        self.damage_bytes(path, |content| match content.get_mut(at(bit / 8)) {
            Some(byte) => {
                *byte ^= 1 << (bit % 8);
                Ok(())
            }
            None => no_such_place(),
        })
    }

    /// Fills a sector with zeros.
    pub fn zero_sector(&self, path: &Path, sector: u64) -> io::Result<()> {
        self.damage_bytes(path, |content| match sector_of(content, sector) {
            [] => no_such_place(),
            bytes => {
                bytes.fill(0);
                Ok(())
            }
        })
    }

    /// Exchanges two sectors of a file, as far as both reach.
    pub fn swap_sectors(&self, path: &Path, a: u64, b: u64) -> io::Result<()> {
        self.damage_bytes(path, |content| {
            let first = sector_of(content, a).to_vec();
            let second = sector_of(content, b).to_vec();
            let n = first.len().min(second.len());
            if n == 0 || a == b {
                return no_such_place();
            }
            sector_of(content, a)[..n].copy_from_slice(&second[..n]);
            sector_of(content, b)[..n].copy_from_slice(&first[..n]);
            Ok(())
        })
    }

    /// Gives a sector the version that it had before its latest durable one. Needs
    /// [`DiskConfig::sector_history`](super::DiskConfig::sector_history); says whether there
    /// was one that differs.
    pub fn restore_older_sector(&self, path: &Path, sector: u64) -> io::Result<bool> {
        self.damage(path, |file| {
            let Some(old) = file.history.get_mut(&sector).and_then(|v| v.pop_back()) else {
                return Ok(false);
            };
            let mut differs = false;
            for content in [&mut file.live, &mut file.durable] {
                let now = sector_of(content, sector);
                let n = now.len().min(old.len());
                differs |= now[..n] != old[..n];
                now[..n].copy_from_slice(&old[..n]);
            }
            Ok(differs)
        })
    }

    /// Copies a sector over another one, of the same or another file: a misdirected write.
    pub fn misdirect(&self, from: (&Path, u64), to: (&Path, u64)) -> io::Result<()> {
        let mut bytes = vec![];
        self.damage(from.0, |file| {
            bytes = sector_of(&mut file.durable, from.1).to_vec();
            if bytes.is_empty() { no_such_place() } else { Ok(()) }
        })?;
        self.damage_bytes(to.0, |content| match sector_of(content, to.1) {
            [] => no_such_place(),
            target => {
                let n = target.len().min(bytes.len());
                target[..n].copy_from_slice(&bytes[..n]);
                Ok(())
            }
        })
    }

    /// Makes the sectors of a file unreadable until they are written again, or
    /// [`SimVfs::heal`].
    pub fn break_sector(&self, path: &Path, sector: u64) -> io::Result<()> {
        let mut disk = self.disk();
        let id = disk.tree.find(At::root(path))?;
        disk.tree.file(id)?;
        disk.bad_sectors.insert((id, sector));
        Ok(())
    }

    /// Damages `n` random places of random files; says what it did. Fewer only if the disk
    /// gives nothing to damage: a damage that changes no byte is drawn again, 32 times.
    pub fn rot(&self, n: u64) -> Vec<Rot> {
        const TRIES: usize = 32;
        let mut done = vec![];
        for _ in 0..n {
            // A name that is not durable leads to another file, or to none.
            let (before, seen) = (self.durable_image(), self.live_image());
            let changed = |rot: &Rot| {
                self.apply_rot(rot).is_ok()
                    && (self.durable_image() != before || self.live_image() != seen)
            };
            done.extend((0..TRIES).map_while(|_| self.draw_rot(&before)).find(changed));
        }
        done
    }

    fn draw_rot(&self, image: &BTreeMap<PathBuf, Vec<u8>>) -> Option<Rot> {
        let files: Vec<(&PathBuf, u64)> = image
            .iter()
            .filter(|(_, content)| !content.is_empty())
            .map(|(path, content)| (path, content.len() as u64))
            .collect();
        let rng = &mut self.disk().rng;
        // Damage strikes a place of the disk, so large files more often; or any file.
        let mut place = rng.below(files.iter().map(|(_, len)| *len).sum());
        let holder = files.iter().find(|(_, len)| {
            let holds = place < *len;
            place = place.saturating_sub(*len);
            holds
        });
        let by_size = rng.coin();
        let &(path, len) = holder.filter(|_| by_size).or(rng.pick(&files))?;
        let &(other, other_len) = rng.pick(&files)?;
        let bit = rng.below(len * 8);
        let sector = bit / 8 / SECTOR;
        let path = path.clone();
        Some(match rng.below(5) {
            0 => Rot::Flipped { path, bit },
            1 => Rot::Zeroed { path, sector },
            2 => Rot::Swapped { path, sectors: (sector, rng.below(len) / SECTOR) },
            3 => Rot::Restored { path, sector },
            _ => Rot::Misdirected {
                from: (path, sector),
                to: (other.clone(), rng.below(other_len) / SECTOR),
            },
        })
    }

    /// Repeats one damage (a replay, a shrinker).
    pub fn apply_rot(&self, rot: &Rot) -> io::Result<()> {
        match rot {
            Rot::Flipped { path, bit } => self.flip_bit(path, *bit),
            Rot::Zeroed { path, sector } => self.zero_sector(path, *sector),
            Rot::Swapped { path, sectors } => self.swap_sectors(path, sectors.0, sectors.1),
            Rot::Restored { path, sector } => self.restore_older_sector(path, *sector).map(drop),
            Rot::Misdirected { from, to } => self.misdirect((&from.0, from.1), (&to.0, to.1)),
        }
    }
}
