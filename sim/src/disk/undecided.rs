//! What a power cut may have left of one file: every legal content, and which of them is
//! still open.
//!
//! A content is a size and, for each sector inside it, one of the sector's versions; a sector
//! that lost everything and has no older version reads zeros or one garbage filler (rules D2,
//! S1, S2, S3). [`FileStates`] lists the choices, without those that give equal bytes;
//! [`Undecided`] says which have been made.
//!
//! # Invariants
//! - The size is decided before any sector.
//! - As long as a sector is open, the node holds its first version there, and nobody has
//!   looked at it or written to it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use super::inode::{Choice, Cut, FileNode, SECTOR, at, sectors};
use crate::digest::Digest;

/// The contents that a file may have at one size.
#[derive(Clone, Debug, PartialEq, Eq)]
struct AtSize {
    /// The content if every open sector has its first version.
    content: Vec<u8>,
    /// The sectors with more than one version, and their bytes.
    sectors: BTreeMap<u64, Vec<Vec<u8>>>,
}

/// Every content that a power cut may leave of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileStates {
    sizes: Vec<AtSize>,
    /// How many choices there are, those that give equal bytes included.
    pub(super) choices: u128,
}

/// The sizes that may be chosen, by the last resize that is in.
fn size_choices(file: &FileNode) -> Vec<u64> {
    let mut sizes: Vec<u64> = std::iter::once(0).chain(file.resizes()).collect();
    sizes.dedup();
    sizes
}

/// The sectors inside a chosen size of which a version may be chosen: whether a lost one may
/// hold the filler, and the versions beside the durable one.
fn sector_choices(file: &FileNode, size_seq: u64) -> BTreeMap<u64, (bool, Vec<u64>)> {
    let dropped = Choice { size_seq, ..Choice::default() };
    let (lost, unwritten) = file.hollow_sectors(&dropped);
    let hollow: BTreeSet<u64> = lost.into_iter().chain(unwritten).collect();
    let end = file.size_of(&dropped).div_ceil(SECTOR);
    let versions = file.versions();
    let touched: BTreeSet<u64> = versions.keys().chain(&hollow).copied().collect();
    let choices = touched.into_iter().filter(|sector| *sector < end).map(|sector| {
        let versions = versions.get(&sector).cloned().unwrap_or_default();
        (sector, (hollow.contains(&sector), versions))
    });
    choices.collect()
}

/// One content, by a digit for the size and one for each sector: the brute force that
/// [`FileStates`] is compared with. It knows nothing of equal bytes.
pub(super) fn choose_content(file: &FileNode, choose: &mut dyn FnMut(usize) -> usize) -> Vec<u8> {
    let sizes = size_choices(file);
    let size_seq = sizes.get(choose(sizes.len())).copied().unwrap_or(0);
    let mut choice = Choice { size_seq, ..Choice::default() };
    let mut filled = vec![];
    for (sector, (is_hollow, versions)) in sector_choices(file, size_seq) {
        let fillers = usize::from(is_hollow);
        match choose(1 + fillers + versions.len()) {
            0 => {}
            1 if is_hollow => filled.push(sector),
            nth => {
                let seq = versions.get(nth - 1 - fillers).copied().unwrap_or(0);
                choice.cuts.insert(sector, Cut { seq, torn: None });
            }
        }
    }
    let mut content = file.build(&choice);
    for sector in filled {
        let range = sector_range(sector, content.len());
        let bytes = filler(sector, range.len());
        content[range].copy_from_slice(&bytes);
    }
    content
}

/// The one garbage filler: no zeros, no valid record, and different in each sector.
fn filler(sector: u64, len: usize) -> Vec<u8> {
    let mut state = sector.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = |_| {
        state = state.rotate_left(9).wrapping_mul(0x2545_f491_4f6c_dd1d);
        (state >> 56).to_le_bytes()[0] | 1
    };
    (0..len).map(next).collect()
}

/// The bytes of a sector, as far as the content reaches.
fn sector_range(sector: u64, len: usize) -> Range<usize> {
    let start = at(sector * SECTOR).min(len);
    start..len.min(start + at(SECTOR))
}

impl FileStates {
    /// The states of a file with these pending operations.
    pub(super) fn of(file: &FileNode) -> FileStates {
        let mut sizes: Vec<AtSize> = vec![];
        let mut choices: u128 = 0;
        for size_seq in size_choices(file) {
            let mut content = file.build(&Choice { size_seq, ..Choice::default() });
            let mut open = BTreeMap::new();
            let mut here: u128 = 1;
            for (sector, (is_hollow, versions)) in sector_choices(file, size_seq) {
                let range = sector_range(sector, content.len());
                here = here.saturating_mul(1 + u128::from(is_hollow) + versions.len() as u128);
                let mut found = vec![content[range.clone()].to_vec()];
                if is_hollow {
                    found.push(filler(sector, range.len()));
                }
                for seq in versions {
                    let cuts = BTreeMap::from([(sector, Cut { seq, torn: None })]);
                    let image = file.build(&Choice { cuts, size_seq, size_cap: None });
                    let bytes = image[range.clone()].to_vec();
                    if !found.contains(&bytes) {
                        found.push(bytes);
                    }
                }
                if let ([_, _, ..], Some(first)) = (&found[..], found.first()) {
                    content[range].copy_from_slice(first);
                    open.insert(sector, found);
                }
            }
            choices = choices.saturating_add(here);
            let state = AtSize { content, sectors: open };
            if !sizes.contains(&state) {
                sizes.push(state);
            }
        }
        FileStates { sizes, choices }
    }

    /// The content of which every choice is the first.
    pub(super) fn first(&self) -> &[u8] {
        self.sizes.first().map_or(&[], |state| &state.content)
    }

    /// How many different contents there are.
    pub(super) fn count(&self) -> u128 {
        let at_size = |state: &AtSize| {
            let versions = state.sectors.values().map(|versions| versions.len() as u128);
            versions.fold(1, u128::saturating_mul)
        };
        self.sizes.iter().map(at_size).fold(0, u128::saturating_add)
    }
}

/// What is still open of one file.
#[derive(Clone, Debug)]
pub(super) struct Undecided {
    states: Arc<FileStates>,
    /// The chosen size.
    size: Option<usize>,
    /// The sectors that are open at the chosen size.
    open: BTreeSet<u64>,
}

impl Undecided {
    /// Everything is open.
    pub(super) fn new(states: Arc<FileStates>) -> Undecided {
        Undecided { states, size: None, open: BTreeSet::new() }
    }

    /// How many contents are still possible.
    pub(super) fn count(&self) -> u128 {
        let Some(state) = self.size.and_then(|size| self.states.sizes.get(size)) else {
            return self.states.count();
        };
        let versions = self.open.iter().filter_map(|sector| state.sectors.get(sector));
        versions.map(|versions| versions.len() as u128).fold(1, u128::saturating_mul)
    }

    /// Whether nothing is open any more.
    pub(super) fn is_decided(&self) -> bool {
        self.size.is_some() && self.open.is_empty()
    }

    /// Chooses the size, if it is open, and then a version of each open sector of a range of
    /// bytes; the node gets them. `choose` is given how many there are; decisions are noted.
    pub(super) fn decide(
        &mut self,
        file: &mut FileNode,
        (pos, len): (u64, u64),
        choose: &mut dyn FnMut(usize) -> usize,
        note: &mut dyn FnMut(String),
    ) {
        let size = match self.size {
            Some(size) => size,
            None => {
                let size = choose(self.states.sizes.len());
                if let Some(state) = self.states.sizes.get(size) {
                    file.live.clone_from(&state.content);
                    file.durable.clone_from(&state.content);
                    self.open = state.sectors.keys().copied().collect();
                    note(format!("size {}", state.content.len()));
                }
                self.size = Some(size);
                size
            }
        };
        let Some(state) = self.states.sizes.get(size) else { return };
        let range = sectors(pos, len.min(file.len().saturating_sub(pos)));
        let touched: Vec<u64> = self.open.range(range).copied().collect();
        for sector in touched {
            self.open.remove(&sector);
            let Some(versions) = state.sectors.get(&sector) else { continue };
            let chosen = choose(versions.len());
            let Some(bytes) = versions.get(chosen) else { continue };
            let range = sector_range(sector, file.live.len());
            file.live[range.clone()].copy_from_slice(bytes);
            file.durable[range].copy_from_slice(bytes);
            note(format!("sector {sector} version {chosen} of {}", versions.len()));
        }
    }

    /// Feeds what is open.
    pub(super) fn feed(&self, digest: &mut Digest) {
        digest.u64(self.size.map_or(0, |size| size as u64 + 1));
        for sector in &self.open {
            digest.u64(*sector);
        }
        for state in &self.states.sizes {
            digest.bytes(&state.content);
            for (sector, versions) in &state.sectors {
                digest.u64(*sector);
                versions.iter().for_each(|bytes| digest.bytes(bytes));
            }
        }
    }
}
