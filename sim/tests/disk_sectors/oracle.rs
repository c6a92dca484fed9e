//! Every legal state of one file after a power cut, by brute force over bytes, from the rules.

use std::collections::{BTreeMap, BTreeSet};

pub(crate) const SECTOR: usize = 512;

/// One step of a script. Positions and lengths are bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// Writes at a position so many bytes of this value.
    Write(usize, usize, u8),
    SetLen(usize),
    Sync,
    /// A sync that fails and dooms what it would have covered (rule F1).
    FailedSync,
}

use Step::{FailedSync, SetLen, Sync, Write};

/// Everything about a file that the rules speak of, in the plainest form. Operations are
/// numbered from 1; number 0 is what is durable.
pub(crate) struct Oracle {
    /// The versions of each sector, filled up with zeros.
    sectors: BTreeMap<usize, Vec<(usize, Vec<u8>)>>,
    /// The sizes, the durable one first.
    sizes: Vec<(usize, usize)>,
    /// The truncations among them.
    cuts: Vec<(usize, usize)>,
    live: Vec<u8>,
    /// The last write to each sector.
    written: BTreeMap<usize, usize>,
    /// Operations up to this one are doomed.
    doomed: usize,
}

impl Oracle {
    pub(crate) fn of(script: &[Step]) -> Oracle {
        let (sectors, sizes, cuts, live) = (BTreeMap::new(), vec![(0, 0)], vec![], vec![]);
        let written = BTreeMap::new();
        let mut oracle = Oracle { sectors, sizes, cuts, live, written, doomed: 0 };
        let mut reach = (0, 0);
        for (op, step) in (1..).zip(script) {
            match *step {
                Write(pos, len, byte) => {
                    if pos + len > oracle.live.len() {
                        oracle.live.resize(pos + len, 0);
                        oracle.sizes.push((op, pos + len));
                    }
                    oracle.live[pos..pos + len].fill(byte);
                    reach = (op, reach.1.max(pos + len));
                    for sector in pos / SECTOR..(pos + len).div_ceil(SECTOR) {
                        oracle.push(op, sector);
                        oracle.written.insert(sector, op);
                    }
                }
                SetLen(len) if len == oracle.live.len() => {}
                SetLen(len) => {
                    let cuts = len < oracle.live.len();
                    oracle.live.resize(len, 0);
                    oracle.sizes.push((op, len));
                    if cuts {
                        oracle.cuts.push((op, len));
                        if len % SECTOR != 0 {
                            oracle.push(op, len / SECTOR);
                        }
                    }
                }
                FailedSync => {
                    oracle.doomed = op;
                    reach = (0, 0);
                }
                Sync => {
                    oracle.sync(reach);
                    reach = (0, 0);
                }
            }
        }
        oracle
    }

    /// Covers what is not doomed. `reach` is the last operation that wrote since the last
    /// sync, and the end of what was written.
    fn sync(&mut self, reach: (usize, usize)) {
        // The size: the last one that is not doomed, or the one that shows what was written.
        let mut durable = self.sizes.iter().rposition(|(op, _)| *op > self.doomed).unwrap_or(0);
        let shown = reach.1.min(self.live.len());
        if self.sizes[durable..].iter().any(|(op, size)| *op <= reach.0 && *size < shown) {
            let shows = self.sizes.iter().rposition(|(op, _)| *op <= reach.0).unwrap_or(0);
            durable = durable.max(shows);
        }
        let (size_op, _) = self.sizes[durable];
        self.sizes.drain(..durable);
        // Cuts that are durable now have removed what is older than they are.
        for (cut, len) in std::mem::take(&mut self.cuts) {
            if cut > size_op {
                self.cuts.push((cut, len));
                continue;
            }
            for (sector, versions) in &mut self.sectors {
                for (_, bytes) in versions.iter_mut().filter(|(op, _)| *op < cut) {
                    bytes[len.saturating_sub(sector * SECTOR).min(SECTOR)..].fill(0);
                }
            }
        }
        // Sectors with a write that is not doomed are saved whole; a cut through a sector is
        // no write.
        for (sector, versions) in &mut self.sectors {
            if self.written.get(sector).is_some_and(|op| *op > self.doomed) {
                // A doomed tail beyond the durable size may be there or not.
                let whole = versions.pop().map(|(_, bytes)| bytes).unwrap_or_default();
                let mut part = whole.clone();
                part[self.sizes[0].1.saturating_sub(sector * SECTOR).min(SECTOR)..].fill(0);
                *versions = vec![(0, whole), (0, part)];
            }
        }
    }

    /// The sector as memory holds it now is a new version.
    fn push(&mut self, op: usize, sector: usize) {
        let mut bytes = self.live[(sector * SECTOR).min(self.live.len())..].to_vec();
        bytes.resize(SECTOR, 0);
        let versions = self.sectors.entry(sector).or_insert_with(|| vec![(0, vec![0; SECTOR])]);
        versions.push((op, bytes));
    }

    /// Every legal content, by D2, S1 and S3, with lost data reading zeros.
    pub(crate) fn legal(&self) -> BTreeSet<Vec<u8>> {
        let mut all = BTreeSet::new();
        let none = vec![(0, vec![0; SECTOR])];
        for (size_op, size) in &self.sizes {
            let mut images: Vec<Vec<u8>> = vec![vec![]];
            for sector in 0..size.div_ceil(SECTOR) {
                let mut next = vec![];
                for (op, bytes) in self.sectors.get(&sector).unwrap_or(&none) {
                    let mut bytes = bytes.clone();
                    // A truncation that persisted removes what was older, beyond it.
                    for (_, len) in self.cuts.iter().filter(|(cut, _)| cut > op && cut <= size_op) {
                        let from = len.saturating_sub(sector * SECTOR).min(SECTOR);
                        bytes[from..].fill(0);
                    }
                    next.extend(images.iter().map(|image| [&image[..], &bytes[..]].concat()));
                }
                images = next;
            }
            for mut image in images {
                image.resize(*size, 0);
                all.insert(image);
            }
        }
        all
    }
}
