//! Choosing a state of one file: a pure function of its pending operations, the crash model
//! and the random stream (rules D2, D3, S1, S3).

use std::collections::BTreeMap;

use super::config::{CrashModel, DiskConfig};
use super::inode::{Change, Choice, Cut, FileNode, SECTOR, sectors};
use super::plan::Plan;
use super::report::LostWrite;
use crate::rng::Rng;

/// Chooses a version of every sector, and of the size.
pub(super) fn choose(
    file: &FileNode,
    model: CrashModel,
    plan: &Plan,
    config: &DiskConfig,
    rng: &mut Rng,
) -> Choice {
    let mut choice = Choice::default();
    match model {
        CrashModel::DropAll | CrashModel::NamesOnly => {}
        CrashModel::SizesOnly | CrashModel::ZeroFill | CrashModel::GarbageFill => {
            choice.size_seq = u64::MAX;
        }
        CrashModel::KeepAll => {
            choice.cuts = latest(file, |_| true);
            choice.size_seq = u64::MAX;
        }
        CrashModel::AloneLost => {
            choice.cuts = latest(file, |seq| !plan.loses(seq));
            choice.size_seq = match file.resizes().next_back() {
                Some(last) if plan.loses(last) => {
                    file.resizes().rev().find(|seq| !plan.loses(*seq)).unwrap_or(0)
                }
                _ => u64::MAX,
            };
        }
        CrashModel::AloneKept => {
            choice.cuts = latest(file, |seq| seq <= plan.pivot);
            choice.cuts.retain(|_, cut| cut.seq == plan.pivot);
            if file.resizes().any(|seq| seq == plan.pivot) {
                choice.size_seq = plan.pivot;
            }
        }
        CrashModel::PrefixTornLast => prefix(file, plan, config, rng, &mut choice),
        CrashModel::BytePrefix => byte_prefix(file, config, rng, &mut choice),
        CrashModel::Sectors | CrashModel::Mix => {
            for (sector, versions) in file.versions() {
                let kept = rng.index(versions.len() + 1);
                if let Some(&seq) = kept.checked_sub(1).and_then(|i| versions.get(i)) {
                    choice.cuts.insert(sector, Cut { seq, torn: None });
                }
            }
            choose_size(file, config, rng, &mut choice);
        }
    }
    choice
}

/// The latest version of each sector among the operations that pass.
fn latest(file: &FileNode, passes: impl Fn(u64) -> bool) -> BTreeMap<u64, Cut> {
    let newest = |versions: Vec<u64>| versions.into_iter().rev().find(|&seq| passes(seq));
    let versions = file.versions().into_iter();
    versions
        .filter_map(|(sector, versions)| newest(versions).map(|seq| (sector, seq)))
        .map(|(sector, seq)| (sector, Cut { seq, torn: None }))
        .collect()
}

/// Rule S1: any version of the size, or the one that belongs to the newest data kept.
fn choose_size(file: &FileNode, config: &DiskConfig, rng: &mut Rng, choice: &mut Choice) {
    let resizes: Vec<u64> = file.resizes().collect();
    let drawn = rng.index(resizes.len() + 1);
    let newest = choice.cuts.values().map(|cut| cut.seq).max();
    choice.size_seq = match newest {
        Some(newest) if !config.size_independent.hit(rng) => newest,
        _ => drawn.checked_sub(1).and_then(|i| resizes.get(i)).copied().unwrap_or(0),
    };
}

/// Everything before the pivot, and some leading bytes of the pivot.
fn prefix(file: &FileNode, plan: &Plan, config: &DiskConfig, rng: &mut Rng, choice: &mut Choice) {
    choice.cuts = latest(file, |seq| seq < plan.pivot);
    choice.size_seq = plan.pivot - 1;
    let stop =
        whole(file, plan.pivot).map(|(start, end)| start + (((end - start) * plan.part) >> 16));
    for op in file.ops.iter().filter(|op| op.seq == plan.pivot) {
        if let (Change::Write { pos, bytes }, Some(stop)) = (&op.change, stop) {
            let kept = stop.saturating_sub(*pos).min(bytes.len() as u64);
            tear(choice, op.seq, *pos, kept);
            if file.resizes().any(|seq| seq == op.seq) && kept > 0 {
                choice.size_seq = op.seq;
                choice.size_cap = Some(pos + kept);
            }
        }
    }
    if config.size_independent.hit(rng) {
        choice.size_cap = None;
        choose_size(file, config, rng, choice);
    }
}

/// Where a write begins and ends: a doomed one lies in pieces, and is torn as a whole.
fn whole(file: &FileNode, seq: u64) -> Option<(u64, u64)> {
    let pieces = file.ops.iter().filter(|op| op.seq == seq);
    let pieces = pieces.filter_map(|op| match &op.change {
        Change::Write { pos, bytes } => Some((*pos, pos + bytes.len() as u64)),
        Change::Resize { .. } => None,
    });
    pieces.reduce(|whole, piece| (whole.0.min(piece.0), whole.1.max(piece.1)))
}

/// Every write keeps some number of its leading bytes.
fn byte_prefix(file: &FileNode, config: &DiskConfig, rng: &mut Rng, choice: &mut Choice) {
    let mut last_torn = None;
    let mut stop = (0, 0);
    for op in &file.ops {
        match &op.change {
            Change::Write { pos, bytes } => {
                if stop.0 != op.seq {
                    let (start, end) = whole(file, op.seq).unwrap_or((*pos, *pos));
                    let len = end - start;
                    let kept = match rng.below(3) {
                        0 => 0,
                        1 => len,
                        _ => rng.below(len + 1),
                    };
                    stop = (op.seq, start + kept);
                }
                let kept = stop.1.saturating_sub(*pos).min(bytes.len() as u64);
                tear(choice, op.seq, *pos, kept);
                last_torn = (kept > 0).then_some((op.seq, pos + kept)).or(last_torn);
            }
            Change::Resize { from, to } if to < from && to % SECTOR != 0 && rng.coin() => {
                choice.cuts.insert(to / SECTOR, Cut { seq: op.seq, torn: None });
            }
            Change::Resize { .. } => {}
        }
    }
    choose_size(file, config, rng, choice);
    let torn = last_torn.filter(|_| rng.coin());
    if let Some((seq, end)) = torn.filter(|(seq, _)| file.resizes().any(|resize| resize == *seq)) {
        choice.size_seq = seq;
        choice.size_cap = Some(end);
    }
}

/// Gives the sectors of the first `kept` bytes of a write the version of that write.
fn tear(choice: &mut Choice, seq: u64, pos: u64, kept: u64) {
    let end = pos + kept;
    for sector in sectors(pos, kept) {
        let torn = (end < (sector + 1) * SECTOR).then_some(end);
        choice.cuts.insert(sector, Cut { seq, torn });
    }
}

/// What background writeback has already put on disk stays (rule D3).
pub(super) fn clamp(file: &FileNode, mut choice: Choice) -> Choice {
    for (&sector, &seq) in &file.flushed {
        let cut = choice.cuts.entry(sector).or_insert(Cut { seq, torn: None });
        if cut.seq <= seq {
            *cut = Cut { seq, torn: None };
        }
    }
    if choice.size_seq <= file.size_flushed {
        choice.size_seq = file.size_flushed;
        choice.size_cap = None;
    }
    choice
}

/// Which pending writes the choice does not wholly contain.
pub(super) fn lost_writes(file: &FileNode, choice: &Choice) -> Vec<LostWrite> {
    let mut lost = vec![];
    for op in &file.ops {
        let Change::Write { pos, bytes } = &op.change else { continue };
        let len = bytes.len() as u64;
        let cut_of = |sector| choice.cuts.get(&sector).copied();
        let is_lost = |s: &u64| cut_of(*s).is_none_or(|cut| cut.seq < op.seq);
        let lost_sectors: Vec<u64> = sectors(*pos, len).filter(is_lost).collect();
        let torn = sectors(*pos, len).filter_map(cut_of).filter(|cut| cut.seq == op.seq);
        let torn_at = torn.filter_map(|cut| cut.torn).find(|&byte| byte < pos + len);
        if !lost_sectors.is_empty() || torn_at.is_some() {
            lost.push(LostWrite { seq: op.seq, pos: *pos, len, lost_sectors, torn_at });
        }
    }
    lost
}
