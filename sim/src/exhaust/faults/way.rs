//! How it goes on behind a fault, as a case.

use std::collections::BTreeMap;

use super::Size;
use super::script::{Script, little_more, more};
use super::strike::Temper;
use crate::disk::{CrashKind, CrashModel, DiskConfig, FaultMode, NameModel, Odds, SeenCall, When};
use crate::harness::case::NestedCrash;
use crate::harness::{Case, Op, World};

/// A share of what the harness checks goes by the number of an operation, modulo this at most.
pub(super) const SHIFTS: usize = 8;
/// Power cuts with a draw, in the full size.
const DRAWN: u8 = 4;

/// What a power cut leaves of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cut {
    /// Nothing.
    Nothing,
    /// Everything.
    Everything,
    /// Any of it, by a draw.
    Drawn(u8),
}

/// How it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// The operation that was struck is tried again; the rest of the workload, and more.
    GoOn,
    /// It is closed at once, and opened again.
    Close,
    /// It is dropped at once, and opened again.
    Drop,
    /// The process is killed before the next call; some time later the power is cut.
    KillBehind,
    /// The power is cut before the next call.
    CutBehind,
    /// The power is cut when the operation has returned.
    CutAfter,
    /// The power is cut behind the rest of the workload.
    CutAtEnd,
}

impl Way {
    const ALL: [Way; 7] = [
        Way::GoOn,
        Way::Close,
        Way::Drop,
        Way::KillBehind,
        Way::CutBehind,
        Way::CutAfter,
        Way::CutAtEnd,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Way::GoOn => "tried again, and on",
            Way::Close => "closed and opened",
            Way::Drop => "dropped and opened",
            Way::KillBehind => "killed, then power cut",
            Way::CutBehind => "power cut behind the call",
            Way::CutAfter => "power cut behind the operation",
            Way::CutAtEnd => "power cut at the end",
        }
    }

    fn cuts(self) -> bool {
        matches!(self, Way::CutBehind | Way::CutAfter | Way::CutAtEnd)
    }
}

/// The power cuts that are tried.
pub(super) fn cuts(size: Size) -> Vec<Cut> {
    let mut cuts = vec![Cut::Nothing, Cut::Drawn(0)];
    if size == Size::Full {
        cuts.push(Cut::Everything);
        cuts.extend((1..DRAWN).map(Cut::Drawn));
    }
    cuts
}

/// The ways to go on that are tried with a power cut; those without any with the first.
pub(super) fn ways(cut: Cut) -> impl Iterator<Item = Way> {
    Way::ALL.into_iter().filter(move |way| way.cuts() || cut == Cut::Nothing)
}

fn disk(script: &Script, temper: Temper, cut: Cut) -> DiskConfig {
    let harsh = if temper == Temper::Harsh { Odds::ALWAYS } else { Odds::NEVER };
    let (models, names) = match cut {
        Cut::Nothing => (BTreeMap::from([(CrashModel::DropAll, 1)]), NameModel::None),
        Cut::Everything => (BTreeMap::from([(CrashModel::KeepAll, 1)]), NameModel::All),
        Cut::Drawn(_) => (DiskConfig::default().models, NameModel::Subset),
    };
    DiskConfig {
        models,
        name_models: BTreeMap::from([(names, 1)]),
        names_need_synced_files: true,
        names_need_synced_dirs: true,
        size_independent: Odds::one_in(2),
        lost_data_garbage: harsh,
        prealloc_garbage: harsh,
        inode_reuse: harsh,
        evict_doomed: harsh,
        doom_next_write: harsh,
        error_unseen_by_new_handles: harsh,
        reported_error_dooms: harsh,
        cut_needs_room: script.cut_needs_room,
        ..DiskConfig::plain()
    }
}

/// The script without a fault, its checks shifted by so many operations.
pub(super) fn base_case(
    script: &Script,
    shift: usize,
    temper: Temper,
    world: World,
    cut: Cut,
) -> Case {
    let draw = if let Cut::Drawn(draw) = cut { u64::from(draw) } else { 0 };
    let by = i32::try_from(shift).unwrap_or(0);
    let mut ops = vec![Op::Turn { by }];
    ops.extend(script.ops.iter().cloned());
    Case {
        // Odd: no foreign file, and nobody watches. The second bit: a poisoning is followed by the
        // crash of the case, if it has one.
        seed: 7 | draw << 8,
        world,
        options: script.options.clone(),
        later: script.later.clone(),
        disk: disk(script, temper, cut),
        faults: FaultMode::Listed(vec![]),
        creation: vec![],
        faults_in_recovery: true,
        poisoned_crash: None,
        poisoned_nested: vec![],
        looks: true,
        counts: 0,
        ops,
    }
}

fn crash(after_calls: u64, kind: CrashKind) -> Op {
    Op::Crash {
        after_calls: u32::try_from(after_calls).unwrap_or(u32::MAX),
        when: When::Before,
        kind,
        model: None,
        nested: vec![],
        rot: 0,
    }
}

/// The case that goes on in a way behind call `at` of a base run, whose operations began at
/// `starts`.
pub(super) fn continued(
    mut case: Case,
    starts: &[u64],
    calls: &[(u64, SeenCall)],
    at: u64,
    way: Way,
) -> Case {
    let op = starts.iter().rposition(|start| *start <= at);
    let behind = op.map_or(0, |op| op + 1);
    let ops = &mut case.ops;
    match way {
        Way::GoOn => {
            let again = op.and_then(|op| ops.get(op)).filter(|op| is_tried_again(op)).cloned();
            ops.splice(behind..behind, again);
            ops.extend(more());
        }
        Way::Close | Way::Drop => {
            ops.truncate(behind);
            ops.push(if way == Way::Close { Op::Reopen } else { Op::DropReopen });
            ops.extend(little_more());
        }
        Way::KillBehind | Way::CutBehind => {
            let is_kill = way == Way::KillBehind;
            let kind = if is_kill { CrashKind::Process } else { CrashKind::Power };
            stop_behind(&mut case, starts, calls, at, kind);
            if is_kill {
                case.ops.extend(little_more().into_iter().take(1));
                case.ops.push(crash(0, CrashKind::Power));
            }
            case.ops.extend(little_more());
        }
        Way::CutAfter => {
            ops.truncate(behind);
            ops.push(crash(0, CrashKind::Power));
            ops.extend(little_more());
            case.poisoned_crash = Some(CrashKind::Power);
        }
        Way::CutAtEnd => {
            ops.extend(little_more());
            ops.push(crash(0, CrashKind::Power));
            ops.extend(little_more());
        }
    }
    case
}

/// A crash before the call that follows.
fn stop_behind(
    case: &mut Case,
    starts: &[u64],
    calls: &[(u64, SeenCall)],
    at: u64,
    kind: CrashKind,
) {
    let nested = |first: u64| {
        let after_calls = u32::try_from(at + 1 - first).unwrap_or(u32::MAX);
        NestedCrash { after_calls, when: When::Before, kind }
    };
    let Some(op) = starts.iter().rposition(|start| *start <= at) else {
        case.creation.push(nested(0));
        return;
    };
    case.ops.truncate(op + 1);
    let start = starts.get(op).copied().unwrap_or(0);
    if let Some(Op::Crash { nested: of_recovery, .. }) = case.ops.get_mut(op) {
        // A crash disarms what was armed before; the one in its recovery counts from the opening.
        let first = calls.iter().map(|(at, _)| *at).find(|call| *call >= start).unwrap_or(at);
        of_recovery.push(nested(first));
        return;
    }
    // The operation keeps its number, and with it the calls that it makes.
    let armed = [Op::Turn { by: -1 }, crash(at + 1 - start, kind)];
    case.ops.splice(op..op, armed);
}

fn is_tried_again(op: &Op) -> bool {
    !matches!(
        op,
        Op::Crash { .. } | Op::Turn { .. } | Op::Clock { .. } | Op::FillDisk { .. } | Op::FreeDisk
    )
}
