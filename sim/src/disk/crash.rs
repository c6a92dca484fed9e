//! Choosing a legal state after a power cut (rules D, S, N).
//!
//! Every choice is made from the disk's own stream, at the crash, and is stable afterwards.
//! The choice for one file is a pure function of its pending operations, the model and the
//! stream; [`FileNode::build`] turns it into bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::call::CallKind;
use super::choice::{choose, clamp, lost_writes};
use super::config::{CrashModel, DiskConfig, NameModel, Odds};
use super::dir::{Body, DirNode, NameChange, NameOp, Node, ROOT, apply};
use super::inode::{Choice, FileNode, SECTOR, at};
use super::moments::MomentAt;
use super::plan::{Forced, Plan};
use super::report::{CrashKind, CrashReport, FileLoss, When};
use super::state::Disk;
use crate::rng::Rng;

impl Disk {
    /// Crashes now. The state after it is chosen here, and stable from here on.
    pub(super) fn crash(
        &mut self,
        kind: CrashKind,
        at: Option<(CallKind, When)>,
        forced: Option<Forced>,
    ) {
        let mut report = CrashReport::new(kind, self.calls, at);
        self.note(MomentAt::CrashBegins);
        self.crashed = true;
        self.generation += 1;
        self.armed = None;
        self.armed_at_rare = None;
        self.cut_is_owed = false;
        self.locks.clear();
        match kind {
            CrashKind::Power => {
                self.tree.sweep();
                power_cut(self, forced, &mut report);
                self.read_only = false;
                self.count("power_cut", 1);
            }
            CrashKind::Process => {
                for node in self.tree.nodes.values_mut() {
                    node.opens = 0;
                }
                self.tree.sweep();
                self.count("process_crash", 1);
            }
        }
        self.feed_state();
        let code = if kind == CrashKind::Power { 0xC0 } else { 0xC1 };
        self.trace.event(code, || report.to_string().trim_end().to_owned());
        self.report = Some(report);
        self.note(MomentAt::CrashEnds);
    }
}

/// The numbers of all pending operations, in order.
pub(super) fn pending(disk: &Disk) -> Vec<u64> {
    let data = disk.tree.files().flat_map(|(_, file)| file.ops.iter().map(|op| op.seq));
    let names = disk.tree.ops.iter().map(|op| op.seq);
    data.chain(names).collect::<BTreeSet<u64>>().into_iter().collect()
}

/// Cuts the power: afterwards the disk holds one legal state, all of it durable.
pub(super) fn power_cut(disk: &mut Disk, forced: Option<Forced>, report: &mut CrashReport) {
    let plan = draw_plan(disk, forced);
    report.model = Some(plan.model);
    report.names = Some(plan.names);
    let paths = paths_before(disk);
    let mut contents = choose_contents(disk, &plan, &paths, report);
    garbage_sector(disk, &mut contents, &paths, report);
    let entries = choose_names(disk, &plan, &paths, report);
    reuse_inodes(disk, &entries, &mut contents, report);
    settle(disk, entries, contents);
    leave_stray(disk, report);
}

fn draw_plan(disk: &mut Disk, forced: Option<Forced>) -> Plan {
    let seqs = pending(disk);
    let Disk { config, rng, .. } = disk;
    let drawn = draw_weighted(&config.models, rng).unwrap_or(CrashModel::DropAll);
    let names = draw_weighted(&config.name_models, rng).unwrap_or(NameModel::None);
    let (model, asked, lost) = match forced {
        None => (drawn, None, None),
        Some(Forced::Model(model, nth)) => (model, nth, None),
        Some(Forced::Losing(places)) => {
            let lost = places.into_iter().filter_map(|nth| seqs.get(at(nth)).copied()).collect();
            (CrashModel::AloneLost, None, Some(lost))
        }
    };
    let nth = rng.below(seqs.len() as u64 + 1);
    let nth = asked.unwrap_or(nth);
    let pivot = seqs.get(at(nth)).copied().unwrap_or(disk.seq + 1);
    let names = match model {
        CrashModel::DropAll => NameModel::None,
        CrashModel::KeepAll | CrashModel::NamesOnly => NameModel::All,
        CrashModel::PrefixTornLast => NameModel::Prefix,
        _ => names,
    };
    Plan { model, names, pivot, part: rng.below(1 << 16), lost }
}

fn draw_weighted<T: Copy>(weights: &BTreeMap<T, u32>, rng: &mut Rng) -> Option<T> {
    let parts: Vec<u32> = weights.values().copied().collect();
    rng.weighted(&parts).and_then(|i| weights.keys().nth(i).copied())
}

/// A path for every node, live ones first.
fn paths_before(disk: &Disk) -> BTreeMap<u64, PathBuf> {
    let mut paths = BTreeMap::from([(ROOT, PathBuf::from("/"))]);
    for durable in [false, true] {
        for (path, id) in disk.tree.paths(durable) {
            paths.entry(id).or_insert(path);
        }
    }
    paths
}

fn path_of(paths: &BTreeMap<u64, PathBuf>, id: u64) -> PathBuf {
    paths.get(&id).cloned().unwrap_or_else(|| PathBuf::from(format!("(inode {id})")))
}

/// The content of every file.
fn choose_contents(
    disk: &mut Disk,
    plan: &Plan,
    paths: &BTreeMap<u64, PathBuf>,
    report: &mut CrashReport,
) -> BTreeMap<u64, Vec<u8>> {
    let Disk { config, rng, tree, .. } = disk;
    let mut contents = BTreeMap::new();
    let mut lost_sectors = 0;
    let mut garbage_sectors = 0;
    let stale: Vec<&FileNode> = tree.files().map(|(_, file)| file).collect();
    for (id, file) in tree.files() {
        let model = if plan.model == CrashModel::Mix {
            let mut weights = config.models.clone();
            weights.remove(&CrashModel::Mix);
            draw_weighted(&weights, rng).unwrap_or(CrashModel::Sectors)
        } else {
            plan.model
        };
        let choice = clamp(file, choose(file, model, plan, config, rng));
        let mut content = file.build(&choice);
        let garbage = hollow_garbage(file, &choice, model, config, rng);
        let mut extent = None;
        for &sector in &garbage {
            fill_garbage(&mut content, sector, (&stale, &mut extent), rng);
        }
        if !file.is_clean() || !garbage.is_empty() {
            let lost = lost_writes(file, &choice);
            lost_sectors += lost.iter().map(|write| write.lost_sectors.len() as u64).sum::<u64>();
            garbage_sectors += garbage.len() as u64;
            let sizes = (file.durable.len() as u64, file.len(), content.len() as u64);
            report.files.push(FileLoss { path: path_of(paths, id), model, sizes, lost, garbage });
        }
        contents.insert(id, content);
    }
    disk.count("sector_lost", lost_sectors);
    disk.count("sector_garbage", garbage_sectors);
    contents
}

/// Which hollow sectors read garbage (rule S2).
fn hollow_garbage(
    file: &FileNode,
    choice: &Choice,
    model: CrashModel,
    config: &DiskConfig,
    rng: &mut Rng,
) -> Vec<u64> {
    let prealloc = config.prealloc_garbage.hit(rng);
    let (lost, unwritten) = file.hollow_sectors(choice);
    let odds = match model {
        CrashModel::GarbageFill => Odds::ALWAYS,
        CrashModel::ZeroFill => Odds::NEVER,
        _ => config.lost_data_garbage,
    };
    let mut garbage: Vec<u64> = lost.into_iter().filter(|_| odds.hit(rng)).collect();
    if prealloc && model != CrashModel::ZeroFill {
        // All of a range, or some sectors of it.
        let all = rng.coin();
        garbage.extend(unwritten.into_iter().filter(|_| all || rng.coin()));
    }
    garbage.sort_unstable();
    garbage.dedup();
    garbage
}

/// Blocks of another file that were recycled together: its content, and where in it the place
/// stands that is sector 0 of the new file.
type Extent<'a> = (&'a [u8], i64);

/// Fills a sector with random bytes, with ones, or with what some other block held: by itself,
/// or with the blocks around it, so that what is longer than a sector stands there whole.
fn fill_garbage<'a>(
    content: &mut [u8],
    sector: u64,
    (stale, extent): (&[&'a FileNode], &mut Option<Extent<'a>>),
    rng: &mut Rng,
) {
    let start = at(sector * SECTOR).min(content.len());
    let end = content.len().min(start + at(SECTOR));
    let target = &mut content[start..end];
    let before = target.to_vec();
    match rng.below(6) {
        0 => target.fill(0xFF),
        arm @ 1..=4 => {
            // Of a recycled block the same place of another file is the worst.
            let others: Vec<_> = stale.iter().map(|file| file.live.as_slice()).collect();
            let is_other = |live: &&[u8]| live.get(start..).is_some_and(|own| !own.is_empty());
            let reaching: Vec<_> = others.iter().copied().filter(is_other).collect();
            let same_place = rng.pick(&reaching).filter(|_| rng.coin());
            let (other, from) = match same_place {
                Some(other) => (*other, start),
                None => any_block(&others, rng),
            };
            let drawn: Extent<'a> = (other, from as i64 - start as i64);
            let (other, shift) = if arm <= 2 { drawn } else { *extent.get_or_insert(drawn) };
            let from = usize::try_from(start as i64 + shift).unwrap_or(usize::MAX);
            let block = other.get(from..).unwrap_or_default();
            let n = block.len().min(target.len());
            target[..n].copy_from_slice(&block[..n]);
        }
        _ => rng.fill(target),
    }
    // A block that happens to be the sector's own is no garbage.
    if *target == *before {
        rng.fill(target);
    }
}

/// A block of any file, each as likely as any other.
fn any_block<'a>(files: &[&'a [u8]], rng: &mut Rng) -> (&'a [u8], usize) {
    let blocks = |file: &[u8]| file.len().div_ceil(at(SECTOR)) as u64;
    let mut nth = rng.below(files.iter().map(|file| blocks(file)).sum::<u64>().max(1));
    for file in files {
        match nth.checked_sub(blocks(file)) {
            None => return (file, at(nth * SECTOR)),
            Some(rest) => nth = rest,
        }
    }
    (&[], 0)
}

/// Rule D4: one sector of an unsynced write is garbage, with its durable neighbours.
fn garbage_sector(
    disk: &mut Disk,
    contents: &mut BTreeMap<u64, Vec<u8>>,
    paths: &BTreeMap<u64, PathBuf>,
    report: &mut CrashReport,
) {
    if !disk.config.garbage_sector.hit(&mut disk.rng) {
        return;
    }
    let mut touched = vec![];
    for (id, file) in disk.tree.files() {
        let size = contents.get(&id).map_or(0, |content| content.len() as u64);
        let inside = |sector: &u64| sector * SECTOR < size;
        touched.extend(file.versions().into_keys().filter(inside).map(|sector| (id, sector)));
    }
    if let Some(&(id, sector)) = disk.rng.pick(&touched) {
        if let Some(content) = contents.get_mut(&id) {
            let stale: Vec<&FileNode> = disk.tree.files().map(|(_, file)| file).collect();
            fill_garbage(content, sector, (&stale, &mut None), &mut disk.rng);
        }
        let path = path_of(paths, id);
        report.notes.push(format!("garbage sector {sector} of {}", path.display()));
        disk.count("garbage_sector_world", 1);
    }
}

/// Whether each pending change of names is kept (rule N2).
fn kept_names(disk: &mut Disk, plan: &Plan) -> Vec<bool> {
    let ops = &disk.tree.ops;
    let stop = disk.rng.below(ops.len() as u64 + 1);
    let stop = ops.get(at(stop)).map_or(u64::MAX, |op| op.seq);
    let stop = if plan.model == CrashModel::PrefixTornLast { plan.pivot } else { stop };
    let rng = &mut disk.rng;
    let keep = |op: &NameOp| match (plan.model, plan.names) {
        (CrashModel::AloneLost, _) => !plan.loses(op.seq),
        (CrashModel::AloneKept, _) => op.seq == plan.pivot,
        (_, NameModel::None) => false,
        (_, NameModel::All) => true,
        (_, NameModel::Prefix) => op.seq < stop,
        (_, NameModel::Subset) => rng.coin(),
    };
    ops.iter().map(keep).collect()
}

/// The entries of every directory.
fn choose_names(
    disk: &mut Disk,
    plan: &Plan,
    paths: &BTreeMap<u64, PathBuf>,
    report: &mut CrashReport,
) -> BTreeMap<u64, BTreeMap<String, u64>> {
    let mut entries = BTreeMap::new();
    for (&id, node) in &disk.tree.nodes {
        if let Body::Dir(dir) = &node.body {
            entries.insert(id, dir.durable.clone());
        }
    }
    let kept = kept_names(disk, plan);
    let both_odds = disk.config.rename_keeps_both;
    let (mut lost, mut both_names) = (0, 0);
    for (op, kept) in disk.tree.ops.iter().zip(kept) {
        let is_file = |id: u64| disk.tree.nodes.get(&id).is_some_and(|node| !node.is_dir());
        let of_file = op.effects.iter().filter_map(|e| e.value).all(is_file);
        let is_rename = op.change == NameChange::Rename && op.effects.len() == 2;
        let both = is_rename && both_odds.hit(&mut disk.rng) && of_file && kept;
        let text = || name_text(op, paths);
        if !kept {
            lost += 1;
            report.names_lost.push(text());
            continue;
        }
        both_names += u64::from(both);
        report.names_kept.push(if both { format!("{}, both names", text()) } else { text() });
        for effect in op.effects.iter().filter(|e| !both || e.value.is_some()) {
            if let Some(names) = entries.get_mut(&effect.dir) {
                apply(names, &effect.name, effect.value);
            }
        }
    }
    disk.count("name_lost", lost);
    disk.count("both_names", both_names);
    entries
}

fn name_text(op: &NameOp, paths: &BTreeMap<u64, PathBuf>) -> String {
    let names: Vec<String> = op
        .effects
        .iter()
        .map(|effect| path_of(paths, effect.dir).join(&effect.name).display().to_string())
        .collect();
    let doomed = if op.doomed { " (doomed)" } else { "" };
    format!("{:?} {} [{}]{doomed}", op.change, names.join(" -> "), op.seq)
}

/// Rule N5: a removed file that comes back may show the bytes of a later one.
fn reuse_inodes(
    disk: &mut Disk,
    entries: &BTreeMap<u64, BTreeMap<String, u64>>,
    contents: &mut BTreeMap<u64, Vec<u8>>,
    report: &mut CrashReport,
) {
    let mut back = BTreeSet::new();
    for (name, &id) in entries.values().flatten() {
        let removed = disk.tree.nodes.get(&id).is_some_and(|node| node.links == 0);
        if removed && contents.contains_key(&id) && back.insert(id) {
            let hit = disk.config.inode_reuse.hit(&mut disk.rng);
            // A file that was made while this one still had its name cannot have its inode.
            let from = disk.tree.nodes.get(&id).map_or(u64::MAX, |node| node.reusable_by);
            let later: Vec<u64> = contents.range(from..).map(|(&later, _)| later).collect();
            let later = disk.rng.pick(&later).and_then(|later| contents.get(later)).cloned();
            if let Some(content) = later.filter(|_| hit) {
                contents.insert(id, content);
                report.notes.push(format!("{name} came back with the content of a later file"));
                disk.count("inode_reused", 1);
            }
        }
    }
    disk.count("name_came_back", back.len() as u64);
}

/// Makes the chosen state the durable and the live one.
fn settle(
    disk: &mut Disk,
    mut entries: BTreeMap<u64, BTreeMap<String, u64>>,
    mut contents: BTreeMap<u64, Vec<u8>>,
) {
    for (id, node) in &mut disk.tree.nodes {
        match &mut node.body {
            Body::Dir(dir) => dir.durable = entries.remove(id).unwrap_or_default(),
            Body::File(file) => file.settle(contents.remove(id).unwrap_or_default()),
        }
    }
    disk.tree.settle();
    let nodes = &disk.tree.nodes;
    disk.bad_sectors.retain(|(id, _)| nodes.contains_key(id));
}

/// Rule V: something unknown lies about.
fn leave_stray(disk: &mut Disk, report: &mut CrashReport) {
    const NAMES: [&str; 6] =
        ["lost+found", ".fuse_hidden0001", "core.4711", "000042.log~", "MANIFEST.orig", "old"];
    if !disk.config.stray_files.hit(&mut disk.rng) {
        return;
    }
    let dirs: Vec<u64> =
        disk.tree.nodes.iter().filter(|(_, n)| n.is_dir()).map(|(&id, _)| id).collect();
    let dir = disk.rng.pick(&dirs).copied().unwrap_or(ROOT);
    let name = disk.rng.pick(&NAMES).copied().unwrap_or("old");
    if disk.tree.dir(dir).is_ok_and(|entries| entries.live.contains_key(name)) {
        return;
    }
    let body = if name == "lost+found" || name == "old" {
        Body::Dir(DirNode { synced: true, ..DirNode::default() })
    } else {
        let len = disk.rng.index(1024);
        Body::File(FileNode::durable(disk.rng.bytes(len)))
    };
    let id = disk.tree.add(body);
    if let Some(Node { links, .. }) = disk.tree.nodes.get_mut(&id) {
        *links = 1;
    }
    if let Ok(dir) = disk.tree.dir_mut(dir) {
        dir.live.insert(name.to_owned(), id);
        dir.durable.insert(name.to_owned(), id);
    }
    report.notes.push(format!("stray {name}"));
    disk.count("stray_file", 1);
}
