//! Every legal state after a power cut, one after the other: exhaustive, never sampled.
//!
//! [`SimVfs::power_cuts`] takes a disk with pending operations and gives one disk for each
//! different outcome of the pending changes of names (any subset; a rename also with both
//! names). In each, the contents are *undecided*: a size and a version of each sector are
//! chosen when somebody asks for them ([`SimVfs::decide_bytes`]), or all at once
//! ([`SimVfs::decide_everything`]). The choices are counted through by an [`Odometer`], whose
//! radices may depend on the digits before.
//!
//! What nobody asks for stays open, also over further crashes: two states that differ only
//! there are one. That is sound because a choice that was not looked at cannot have changed
//! anything, and its alternatives are all still there when it is looked at.
//!
//! # Invariants
//! - Whoever reads, measures or changes a file decides first what it touches; the first change
//!   of a file decides all of it. So a file has pending operations or is undecided, never both.
//! - Only the rules D2, S1, S2, S3, N2, N4 and P are enumerated: no torn bytes inside a
//!   sector, no reuse of inodes (N5), no strays, no doomed operations.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::SimVfs;
use super::dir::At;
use super::dir::{Body, NameChange, NameOp, ROOT, apply};
use super::inode::Change;
use super::state::Disk;
use super::undecided::{FileStates, Undecided, choose_content};
use crate::digest::Digest;

/// A counter of mixed radix whose digits appear as they are asked for.
///
/// ```
/// use runstone_sim::disk::Odometer;
///
/// let mut odometer = Odometer::default();
/// let mut seen = vec![];
/// loop {
///     let first = odometer.choose(2);
///     // The second digit is asked for after a 1 only.
///     let second = if first == 1 { odometer.choose(3) } else { 0 };
///     seen.push((first, second));
///     if !odometer.advance() {
///         break;
///     }
/// }
/// assert_eq!(seen, [(0, 0), (1, 0), (1, 1), (1, 2)]);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Odometer {
    /// Each digit and its radix.
    digits: Vec<(usize, usize)>,
    at: usize,
    fresh_from: usize,
}

impl Odometer {
    /// The next digit; always 0 if there is one choice only, which is no digit.
    pub fn choose(&mut self, radix: usize) -> usize {
        if radix <= 1 {
            return 0;
        }
        let digit = match self.digits.get(self.at) {
            Some((digit, _)) => *digit,
            None => {
                self.digits.push((0, radix));
                0
            }
        };
        self.at += 1;
        digit
    }

    /// Goes on to the next count; `false` after the last one.
    pub fn advance(&mut self) -> bool {
        self.at = 0;
        while let Some((digit, radix)) = self.digits.pop() {
            if digit + 1 < radix {
                self.digits.push((digit + 1, radix));
                self.fresh_from = self.digits.len();
                return true;
            }
        }
        false
    }

    /// Counts the same digits again.
    pub fn rewind(&mut self) {
        self.at = 0;
    }

    /// Whether the digits that were asked for so far were not counted before.
    pub fn is_fresh(&self) -> bool {
        self.at >= self.fresh_from
    }

    /// How many digits were asked for so far.
    pub fn position(&self) -> usize {
        self.at
    }

    /// How many digits there are.
    pub fn len(&self) -> usize {
        self.digits.len()
    }

    /// Whether nothing has been chosen.
    pub fn is_empty(&self) -> bool {
        self.digits.is_empty()
    }

    /// The digits so far asked for.
    pub fn prefix(&self) -> Vec<usize> {
        self.digits.iter().take(self.at).map(|(digit, _)| *digit).collect()
    }
}

/// The disks that a power cut may leave: names decided, contents open.
#[derive(Clone, Debug)]
pub struct PowerCuts {
    /// One disk for each different outcome of the pending names.
    pub names: Vec<SimVfs>,
    /// How many different legal states they stand for, at most `u128::MAX`.
    pub states: u128,
    /// How many choices lead to them: [`SimVfs::power_cut_by`] counts them through.
    pub choices: u128,
}

type Entries = BTreeMap<u64, BTreeMap<String, u64>>;

/// Exhaustive power cuts.
impl SimVfs {
    /// Cuts the power, in copies: this disk goes on. The copies are restarted.
    #[must_use]
    pub fn power_cuts(&self) -> PowerCuts {
        let disk = self.disk();
        let mut files = BTreeMap::new();
        for (id, file) in disk.tree.files() {
            if !file.is_clean() || !file.unwritten.is_empty() {
                debug_assert!(!disk.undecided.contains_key(&id), "a change decides the file");
                files.insert(id, Arc::new(FileStates::of(file)));
            }
        }
        let radices = disk.tree.ops.iter().map(|op| if is_file_rename(&disk, op) { 3 } else { 2 });
        let contents = files.values().map(|states| states.choices);
        let choices = radices.chain(contents).fold(possible(&disk), u128::saturating_mul);
        let mut cuts = PowerCuts { names: vec![], states: 0, choices };
        for entries in name_states(&disk) {
            let cut = cut(&disk, entries, &files);
            cuts.states = cuts.states.saturating_add(possible(&cut));
            cuts.names.push(SimVfs::from_disk(cut));
        }
        cuts
    }

    /// Cuts the power in a copy, by brute force: every pending change of a name, every size
    /// and every sector is chosen, in this order, by the next digit; nothing stays open.
    #[must_use]
    pub fn power_cut_by(&self, odometer: &mut Odometer) -> SimVfs {
        let decided = self.fork(0);
        decided.decide_everything(odometer);
        let disk = decided.disk();
        let mut entries = durable_entries(&disk);
        for op in &disk.tree.ops {
            let fate = odometer.choose(if is_file_rename(&disk, op) { 3 } else { 2 });
            if fate > 0 {
                keep(&mut entries, op, fate == 2);
            }
        }
        let mut cut = cut(&disk, entries, &BTreeMap::new());
        for (id, file) in disk.tree.files() {
            if !file.is_clean() || !file.unwritten.is_empty() {
                let content = choose_content(file, &mut |radix| odometer.choose(radix));
                if let Ok(file) = cut.tree.file_mut(id) {
                    file.settle(content);
                }
            }
        }
        SimVfs::from_disk(cut)
    }

    /// How many different states this disk may be in.
    pub fn possible_states(&self) -> u128 {
        possible(&self.disk())
    }

    /// Decides the size of a file, and its sectors in `pos..pos + len`, if they are open.
    /// A path that is no file decides nothing.
    pub fn decide_bytes(&self, path: &Path, pos: u64, len: u64, odometer: &mut Odometer) {
        if let Some(node) = self.node_of(path) {
            self.decide_node(node, (pos, len), odometer, &mut |_| {});
        }
    }

    /// As [`SimVfs::decide_bytes`], for a node; tells each decision.
    pub(crate) fn decide_node(
        &self,
        node: u64,
        range: (u64, u64),
        odometer: &mut Odometer,
        note: &mut dyn FnMut(String),
    ) {
        let mut disk = self.disk();
        if !disk.undecided.is_empty() {
            decide(&mut disk, node, range, odometer, note);
        }
    }

    /// The number of the node that a path names.
    pub(crate) fn node_of(&self, path: &Path) -> Option<u64> {
        self.disk().tree.find(At::root(path)).ok()
    }

    /// Decides everything, in the order of the files.
    pub fn decide_everything(&self, odometer: &mut Odometer) {
        let mut disk = self.disk();
        let ids: Vec<u64> = disk.undecided.keys().copied().collect();
        for id in ids {
            decide(&mut disk, id, (0, u64::MAX), odometer, &mut |_| {});
        }
    }

    /// A digest of the whole state, pending operations and open choices included, without
    /// the numbers of nodes and changes. Handles, locks, and the history do not count.
    pub fn fingerprint(&self) -> u64 {
        fingerprint(&self.disk())
    }
}

fn possible(disk: &Disk) -> u128 {
    disk.undecided.values().map(Undecided::count).fold(1, u128::saturating_mul)
}

fn decide(
    disk: &mut Disk,
    id: u64,
    range: (u64, u64),
    odometer: &mut Odometer,
    note: &mut dyn FnMut(String),
) {
    let Disk { tree, undecided, .. } = disk;
    let (Some(open), Ok(file)) = (undecided.get_mut(&id), tree.file_mut(id)) else { return };
    open.decide(file, range, &mut |radix| odometer.choose(radix), note);
    if open.is_decided() {
        undecided.remove(&id);
    }
}

/// Whether it is the rename of a file, of which both names may be there afterwards.
fn is_file_rename(disk: &Disk, op: &NameOp) -> bool {
    let is_file = |id: u64| disk.tree.nodes.get(&id).is_some_and(|node| !node.is_dir());
    let of_file = op.effects.iter().filter_map(|effect| effect.value).all(is_file);
    op.change == NameChange::Rename && op.effects.len() == 2 && of_file
}

/// Keeps a change of names; of a rename perhaps with both names.
fn keep(entries: &mut Entries, op: &NameOp, both: bool) {
    for effect in op.effects.iter().filter(|effect| !both || effect.value.is_some()) {
        if let Some(names) = entries.get_mut(&effect.dir) {
            apply(names, &effect.name, effect.value);
        }
    }
}

fn durable_entries(disk: &Disk) -> Entries {
    let dirs = disk.tree.nodes.iter().filter_map(|(&id, node)| match &node.body {
        Body::Dir(dir) => Some((id, dir.durable.clone())),
        Body::File(_) => None,
    });
    dirs.collect()
}

/// Every different outcome of the pending changes of names, as far as it can be reached.
fn name_states(disk: &Disk) -> Vec<Entries> {
    let mut states = vec![durable_entries(disk)];
    // Change by change, so that outcomes that have become equal are followed once. What a
    // later change makes reachable must be kept until then.
    for op in &disk.tree.ops {
        let mut next = states.clone();
        for both in [false, true] {
            if both && !is_file_rename(disk, op) {
                continue;
            }
            for entries in &states {
                let mut changed = entries.clone();
                keep(&mut changed, op, both);
                next.push(changed);
            }
        }
        dedup(&mut next);
        states = next;
    }
    states.iter_mut().for_each(keep_reachable);
    dedup(&mut states);
    states
}

/// Keeps the first of equal ones, in order.
fn dedup(states: &mut Vec<Entries>) {
    let mut seen = BTreeSet::new();
    states.retain(|entries| seen.insert(entries.clone()));
}

/// Forgets the entries of directories that no path leads to.
fn keep_reachable(entries: &mut Entries) {
    let mut reached = BTreeSet::from([ROOT]);
    let mut open = vec![ROOT];
    while let Some(id) = open.pop() {
        for &child in entries.get(&id).into_iter().flat_map(BTreeMap::values) {
            if entries.contains_key(&child) && reached.insert(child) {
                open.push(child);
            }
        }
    }
    entries.retain(|id, _| reached.contains(id));
}

/// The disk after a power cut with these names.
fn cut(disk: &Disk, mut entries: Entries, files: &BTreeMap<u64, Arc<FileStates>>) -> Disk {
    let mut cut = disk.clone();
    cut.generation += 1;
    cut.locks.clear();
    cut.armed = None;
    for (id, node) in &mut cut.tree.nodes {
        match &mut node.body {
            Body::Dir(dir) => dir.durable = entries.remove(id).unwrap_or_default(),
            Body::File(file) => {
                if let Some(states) = files.get(id) {
                    file.settle(states.first().to_vec());
                    if states.count() > 1 {
                        cut.undecided.insert(*id, Undecided::new(Arc::clone(states)));
                    }
                }
            }
        }
    }
    cut.tree.settle();
    let nodes = &cut.tree.nodes;
    cut.undecided.retain(|id, _| nodes.contains_key(id));
    cut
}

fn fingerprint(disk: &Disk) -> u64 {
    let mut digest = Digest::new();
    let rank: BTreeMap<u64, u64> = disk.tree.nodes.keys().copied().zip(0..).collect();
    let rank_of = |id: &u64| rank.get(id).copied().unwrap_or(u64::MAX);
    let mut seqs: BTreeSet<u64> = disk.tree.ops.iter().map(|op| op.seq).collect();
    for (_, file) in disk.tree.files() {
        seqs.extend(file.ops.iter().map(|op| op.seq));
        seqs.extend(file.unwritten.iter().map(|range| range.seq));
    }
    let seqs: BTreeMap<u64, u64> = seqs.into_iter().zip(1..).collect();
    let seq_of = |seq: u64| seqs.get(&seq).copied().unwrap_or(0);
    for node in disk.tree.nodes.values() {
        match &node.body {
            Body::Dir(dir) => {
                digest.u64(0xD0 + u64::from(dir.synced));
                for (entries, mark) in [(&dir.live, 1), (&dir.durable, 2)] {
                    digest.u64(mark);
                    for (name, id) in entries {
                        digest.bytes(name.as_bytes());
                        digest.u64(rank_of(id));
                    }
                }
            }
            Body::File(file) => {
                digest.u64(0xF0 + u64::from(file.synced));
                digest.bytes(&file.live);
                digest.bytes(&file.durable);
                for op in &file.ops {
                    digest.u64(seq_of(op.seq));
                    match &op.change {
                        Change::Write { pos, bytes } => {
                            digest.u64(*pos);
                            digest.bytes(bytes);
                        }
                        Change::Resize { from, to } => {
                            digest.u64(u64::MAX);
                            digest.u64(*from);
                            digest.u64(*to);
                        }
                    }
                }
                for range in &file.unwritten {
                    digest.u64(range.first);
                    digest.u64(range.end);
                    digest.u64(if range.seq == 0 { 0 } else { seq_of(range.seq) });
                }
            }
        }
    }
    for op in &disk.tree.ops {
        digest.u64(seq_of(op.seq));
        digest.u8(u8::from(op.change == NameChange::Rename));
        for effect in &op.effects {
            digest.u64(rank_of(&effect.dir));
            digest.bytes(effect.name.as_bytes());
            digest.u64(effect.value.as_ref().map_or(u64::MAX, rank_of));
            digest.u8(u8::from(effect.covered));
        }
    }
    for (id, open) in &disk.undecided {
        digest.u64(rank_of(id));
        open.feed(&mut digest);
    }
    digest.value()
}
