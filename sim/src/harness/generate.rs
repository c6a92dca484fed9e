//! The swarm: what a seed does.
//!
//! Each seed switches features, faults, weights, sizes and crash models on or off, since no
//! single mixture sees everything. Invariant: the same seed gives the same case; a new
//! consumer of one stream shifts no other.

mod breadth;
mod ends;
mod lives;
mod removals;
mod tables;
mod versions;

use runstone_vfs::FileSystem;

use super::around::event::{EVENTS, Event};
use super::case::{CALLS_BEHIND, Case, CaseOptions, LimitSpec, NestedCrash, Op, RARE_CALLS, World};
use super::steps::StepSpec;
use super::workload::{Workload, byte, pick};
use crate::disk::{
    CallKind, CrashKind, CrashModel, DiskConfig, Fault, FaultKind, FaultMode, FaultPlan, NameModel,
    Odds, SyncFlavour, When,
};
use crate::rng::{Rng, Stream, Streams};

/// Operations of a case.
pub const OPS: usize = 200;
/// The bits of a twist by which something happens to an owner that is busy.
const LATE: u8 = 0x30;
/// Crashes of a case, on average.
pub const CRASHES: usize = 3;

/// What the disks say they are: as many that write in place as others.
const FILE_SYSTEMS: [FileSystem; 8] = [
    FileSystem::Ext,
    FileSystem::Ext,
    FileSystem::Xfs,
    FileSystem::Overlay,
    FileSystem::Btrfs,
    FileSystem::F2fs,
    FileSystem::Tmpfs,
    FileSystem::Unknown,
];

/// The case of a seed.
pub fn generate(seed: u64) -> Case {
    generate_in(seed, None)
}

/// The case of a seed, in a world of the caller's choice.
pub fn generate_in(seed: u64, world: Option<World>) -> Case {
    let streams = Streams::new(seed);
    let mut swarm = streams.stream(Stream::Swarm);
    let drawn = match swarm.below(20) {
        0..=13 => World::Strict,
        14 | 15 => World::Lying,
        16 | 17 => World::GarbageSector,
        _ => World::Rot,
    };
    let world = world.unwrap_or(drawn);
    let mut chosen = options(&mut swarm);
    let mut disk = disk(&mut swarm, world);
    let faults = faults(&mut swarm, world);
    // What only openings ask for cannot fail anywhere else.
    let asks = faults.odds.contains_key(&CallKind::List);
    let faults = FaultMode::Drawn(faults);
    let mut workload = streams.stream(Stream::Workload);
    let mut scheduling = streams.stream(Stream::Scheduling);
    let mut ops = Workload::new(&mut swarm, &chosen).ops(&mut workload, OPS);
    // Few crashes leave long sessions, in which much comes together in memory.
    let crashes = pick(&mut swarm, &[0, 1, 2, CRASHES, CRASHES, 4, 6]);
    add_crashes(&mut ops, &mut scheduling, world, crashes);
    if world == World::Strict && scheduling.chance(1, 4) {
        add_faults(&mut ops, &mut scheduling);
    }
    // A stream of its own: what it draws shifts nothing else.
    add_excursions(&mut ops, &mut streams.named("around"), world);
    let in_creation = pick(&mut scheduling, &[0, 0, 0, 1, 1, 2]);
    let creation = nested(&mut scheduling, in_creation);
    let faults_in_recovery = swarm.coin() || asks;
    let in_repairs = pick(&mut scheduling, &[0, 1, 3]);
    let mut wide = streams.named("breadth");
    let mut later = breadth::broaden(&mut chosen, &mut ops, &mut wide, options);
    // Half of the seeds leave it to the file system what is written ahead.
    let mut medium = streams.named("file system");
    disk.file_system = pick(&mut medium, &FILE_SYSTEMS);
    // A manifest that is soon written whole again, and one that never is.
    let mut edits = streams.named("manifest edits");
    for options in later.iter_mut().chain([&mut chosen]) {
        options.by_file_system = medium.coin();
        options.manifest_edits = pick(&mut edits, &[0, 0, 512, 2048, 32_768]);
    }
    let mut case = Case {
        seed,
        world,
        options: chosen,
        later,
        disk,
        faults,
        creation,
        faults_in_recovery,
        poisoned_crash: Some(CrashKind::Power),
        poisoned_nested: nested(&mut scheduling, in_repairs),
        looks: true,
        counts: 0,
        ops,
    };
    let has_lives = lives::add(&mut case, &mut streams.named("lives"));
    // Some processes may write short files only, and most values fit into them.
    let mut limits = streams.named("file size");
    if world == World::Strict && limits.chance(1, 12) {
        case.disk.file_bytes_max = pick(&mut limits, &[16_000, 16_000, 30_000, 100_000]);
    }
    let mut kept = streams.named("retention");
    if kept.chance(1, 6) {
        case.options.retention =
            (pick(&mut kept, &[0, 1, 50, u64::MAX]), pick(&mut kept, &[0, 1, 2, u64::MAX]));
    }
    let keeps_all = case.options.retention == (u64::MAX, u64::MAX);
    if !has_lives && world != World::Rot && (!keeps_all || kept.chance(1, 8)) {
        let at = kept.index(case.ops.len() + 1);
        case.ops.splice(at..at, ends::burst(&mut kept));
    }
    if !has_lives {
        tables::add(&mut case, &mut streams.named("tables"));
    }
    if !has_lives && world != World::Rot {
        removals::over(&mut case, &mut streams.named("removals over others"));
        versions::add(&mut case, &mut streams.named("versions"));
    }
    tables::with_few_files(&mut case, &mut streams.named("open files"));
    tables::with_compression(&mut case, &mut streams.named("compression"));
    let mut counts = streams.named("key counts");
    if counts.chance(1, 3) {
        case.counts = pick(&mut counts, &[1, 2, 2, 3]);
    }
    case
}

fn options(rng: &mut Rng) -> CaseOptions {
    let mode = pick(rng, &[0, 0, 1, 1, 2]);
    let small_memtable = rng.chance(1, 8);
    CaseOptions {
        mode,
        batch_size: pick(rng, &[1, 2, 3, 8, 40]),
        interval_ms: pick(rng, &[1, 10, 50, 1000]),
        other_batch_size: pick(rng, &[1, 3, 1024]),
        other_intervals_ms: (pick(rng, &[1, 20, 100, 1000]), pick(rng, &[1, 20, 100, 1000])),
        // A group ends with its segment: only a long one takes more than there is memory for.
        segment_bytes: match small_memtable {
            true => pick(rng, &[1024, 8192, 65_536, 65_536, 65_536, 65_536]),
            false => pick(rng, &[512, 1024, 2048, 4096, 8192, 65_536]),
        },
        preallocate_bytes: pick(rng, &[0, 512, 1000, 4096]),
        zero_fill: rng.coin(),
        by_file_system: false,
        pad_to_sector: rng.coin(),
        memtable_bytes_max: if small_memtable {
            pick(rng, &[9_000, 12_000, 20_000])
        } else {
            CaseOptions::AMPLE_MEMTABLE
        },
        flush_bytes: u64::MAX,
        flush_log_bytes: u64::MAX,
        retention: (u64::MAX, u64::MAX),
        table_bytes_max: 1 << 20,
        block_bytes: (4096, 4096),
        levels_per_tier: 4,
        block_cache: 0,
        manifest_edits: 0,
        open_files_max: 256,
        compresses: false,
        log_buffer_bytes_max: pick(rng, &[0, 300, 4096, 65_536]),
        group_commits_max: pick(
            rng,
            if small_memtable { &[2, 64, 64, 64] } else { &[1, 2, 5, 64] },
        ),
        queue_commits_max: pick(rng, if small_memtable { &[3, 64, 64] } else { &[1, 3, 64] }),
        diligent: rng.coin(),
        // Half of the seeds go as programs do; the others over the edges of every step.
        steps: if rng.coin() { steps(rng) } else { StepSpec::default() },
        limits: LimitSpec::default(),
        snapshots_max: 4096,
    }
}

fn steps(rng: &mut Rng) -> StepSpec {
    StepSpec {
        read_bytes: pick(rng, &[200, 300, 1000]),
        rewrite_bytes: pick(rng, &[64, 300, 2000]),
        scan_entries: pick(rng, &[1, 2, 5]),
        scan_bytes: pick(rng, &[1, 100, 10_000]),
        scan_visits: pick(rng, &[1, 3, 100]),
        sort_keys: pick(rng, &[1, 3, 10]),
        merge_keys: pick(rng, &[1, 4, 30]),
        ended_runs: pick(rng, &[0, 1]),
        maintain_keys: pick(rng, &[1, 3]),
        merge_bytes: StepSpec::default().merge_bytes,
    }
}

fn disk(rng: &mut Rng, world: World) -> DiskConfig {
    let mut config = DiskConfig::default();
    // Some seeds see one model only, most a mixture.
    if rng.chance(1, 3) {
        config = config.only(pick(rng, &CrashModel::ALL));
    }
    if rng.chance(1, 4) {
        config = config.only_names(pick(
            rng,
            &[NameModel::Subset, NameModel::Prefix, NameModel::None, NameModel::All],
        ));
    }
    if rng.coin() {
        config.early_writeback = pick(rng, &[Odds::NEVER, Odds::one_in(4), Odds::one_in(2)]);
    }
    if rng.coin() {
        config.prealloc_garbage = pick(rng, &[Odds::NEVER, Odds::ALWAYS]);
        config.lost_data_garbage = pick(rng, &[Odds::NEVER, Odds::ALWAYS]);
    }
    if rng.chance(1, 4) {
        config.evict_doomed = pick(rng, &[Odds::NEVER, Odds::ALWAYS]);
    }
    config.no_preallocation = rng.chance(1, 12);
    config.cut_needs_room = rng.chance(1, 4);
    match world {
        World::GarbageSector => config.garbage_sector = Odds::one_in(2),
        World::Rot => config.sector_history = 4,
        World::Strict | World::Lying => {}
    }
    config
}

fn faults(rng: &mut Rng, world: World) -> FaultPlan {
    let mut plan = FaultPlan::none();
    match world {
        World::Rot | World::GarbageSector => return plan,
        World::Lying => {
            let odds = pick(rng, &[Odds::one_in(2), Odds::one_in(5), Odds::one_in(20)]);
            plan = if rng.coin() { plan.lying(odds) } else { plan.late(odds) };
        }
        World::Strict => {}
    }
    match rng.below(11) {
        // A third of the seeds have a disk without errors, or nearly: what is left over may not let
        // itself be removed, so that sessions begin with something to tidy up.
        0..=2 => return plan,
        3 => {
            plan = plan.with(CallKind::Remove, FaultKind::Io, Odds::one_in(2));
        }
        4 => {
            let odds = [Odds::one_in(60), Odds::one_in(300), Odds::one_in(2000)];
            let all = FaultPlan::all(pick(rng, &odds));
            plan.odds.extend(all.odds.into_iter().filter(|(call, _)| {
                world == World::Strict || !matches!(call, CallKind::Sync | CallKind::SyncDir)
            }));
            plan.read_only_after_error = all.read_only_after_error;
        }
        // Failing syncs, and what they leave.
        5 | 6 if world == World::Strict => {
            let often = [Odds::one_in(4), Odds::one_in(8), Odds::one_in(20), Odds::one_in(100)];
            let odds = pick(rng, &often);
            // Names alone, or the few that get so far are of data.
            if rng.chance(2, 3) {
                plan = plan.with(CallKind::Sync, FaultKind::Io, odds).with(
                    CallKind::Write,
                    FaultKind::BackgroundFails,
                    Odds::one_in(200),
                );
            }
            plan = plan.with(CallKind::SyncDir, FaultKind::Io, odds);
        }
        // Full disks.
        7 => {
            let odds = pick(rng, &[Odds::one_in(10), Odds::one_in(60)]);
            for call in [CallKind::Write, CallKind::Allocate, CallKind::Create] {
                plan = plan
                    .with(call, FaultKind::NoSpace, odds)
                    .with(call, FaultKind::Quota, Odds::one_in(300))
                    .with(call, FaultKind::FileSize, Odds::one_in(300));
            }
            // What such a disk leaves behind may not let itself be removed at once.
            if rng.coin() {
                plan = plan.with(CallKind::Remove, FaultKind::Io, Odds::one_in(3));
            }
        }
        // What an opening asks for fails: reads are made by openings only, and are few.
        8 | 9 => {
            let odds = pick(rng, &[Odds::one_in(6), Odds::one_in(20), Odds::one_in(60)]);
            for call in [CallKind::Read, CallKind::Open, CallKind::Len, CallKind::List] {
                plan = plan.with(call, FaultKind::Io, odds);
            }
            plan = plan.with(CallKind::Read, FaultKind::BadSectorOnce, odds);
            // What needs a descriptor, and what may not be opened or made.
            for call in [CallKind::Open, CallKind::Create, CallKind::List, CallKind::Lock] {
                plan = plan.with(call, FaultKind::OutOfFiles, odds).with(
                    call,
                    FaultKind::Denied,
                    Odds::one_in(40),
                );
            }
            for call in [CallKind::Create, CallKind::Rename, CallKind::Remove] {
                plan = plan.with(call, FaultKind::Unwritable, Odds::one_in(40));
            }
        }
        // Short, interrupted and failing reads and writes.
        _ => {
            for call in [CallKind::Write, CallKind::Read] {
                plan = plan
                    .with(call, FaultKind::Short, Odds::one_in(8))
                    .with(call, FaultKind::Interrupted, Odds::one_in(8))
                    .with(call, FaultKind::Io, Odds::one_in(100));
            }
            plan = plan.with(CallKind::Read, FaultKind::BadSectorForever, Odds::one_in(600));
        }
    }
    plan.flavour(flavour(rng))
}

fn flavour(rng: &mut Rng) -> SyncFlavour {
    let doomed = SyncFlavour::Doomed;
    pick(rng, &[doomed, doomed, SyncFlavour::Reverted, SyncFlavour::SizeKept])
}

/// Calls that fail where the rare calls are: a close, a flush and an upkeep make few of thousands;
/// what follows a new segment or manifest, one or two; and an opening, some ten.
fn add_faults(ops: &mut Vec<Op>, rng: &mut Rng) {
    for _ in 0..rng.range(2..=6) {
        let behind = rng.coin();
        let rare = |op: &Op| behind || is_rare(op) || matches!(op, Op::Crash { .. });
        let rare: Vec<usize> = (0..ops.len()).filter(|at| rare(&ops[*at])).collect();
        let Some(at) = rng.pick(&rare).copied() else { return };
        let part = pick(rng, &[0, u16::MAX / 2, u16::MAX]);
        // A full disk at once behind a rare call, and whatever fails elsewhere.
        let kinds = [FaultKind::Io, if behind { FaultKind::NoSpace } else { FaultKind::Io }];
        let fault = Fault { kind: pick(rng, &kinds), part, flavour: flavour(rng) };
        let calls = match ops.get(at) {
            _ if behind => {
                u64::from(RARE_CALLS + CALLS_BEHIND * pick(rng, &[0, 0, 1, 3])) + rng.below(8)
            }
            Some(Op::Crash { .. }) => rng.below(50),
            _ => rng.below(10),
        };
        let after_calls = u32::try_from(calls).unwrap_or(0);
        ops.insert(at, Op::Fault { after_calls, fault });
    }
}

/// Whether an operation makes calls that are rare: manifests, renames, new files, cuts.
fn is_rare(op: &Op) -> bool {
    matches!(
        op,
        Op::Reopen | Op::DropReopen | Op::Flush | Op::Maintain | Op::FillDisk { .. } | Op::FreeDisk
    )
}

fn add_crashes(ops: &mut Vec<Op>, rng: &mut Rng, world: World, crashes: usize) {
    for _ in 0..crashes {
        // Where the rare calls are, and within the few that such an operation makes.
        let rare: Vec<usize> = (0..ops.len()).filter(|at| is_rare(&ops[*at])).collect();
        let rare = if rng.chance(1, 3) { rng.pick(&rare).copied() } else { None };
        let in_recovery = pick(rng, &[0, 0, 0, 1, 1, 2, 3]);
        // At once behind such an operation, when nothing has attested yet what it made durable.
        let at_once = rare.is_some() && rng.chance(1, 3);
        let crash = Op::Crash {
            after_calls: match rng.below(6) {
                _ if at_once => 0,
                _ if rare.is_some() => u32::try_from(rng.range(1..=14)).unwrap_or(1),
                0 => 0,
                4 | 5 => RARE_CALLS + u32::try_from(rng.below(24)).unwrap_or(0),
                1 => u32::try_from(rng.range(1..=4)).unwrap_or(1),
                _ => u32::try_from(rng.range(1..=60)).unwrap_or(1),
            },
            when: when(rng),
            kind: kind(rng),
            model: None,
            nested: nested(rng, in_recovery),
            rot: if world == World::Rot { byte(rng, 5) } else { 0 },
        };
        // Now and then the first: it strikes inside the creation of the store.
        let anywhere = if rng.chance(1, 24) { 0 } else { rng.index(ops.len() + 1) };
        ops.insert(rare.map_or(anywhere, |rare| rare + usize::from(at_once)), crash);
    }
}

/// Crashes in an opening, and in those that follow.
fn nested(rng: &mut Rng, count: usize) -> Vec<NestedCrash> {
    let crash = |_| NestedCrash {
        // A recovery of many segments makes some hundred calls; what it removes comes last.
        after_calls: match rng.below(6) {
            0 => u32::try_from(rng.below(250)).unwrap_or(0),
            1 | 2 => RARE_CALLS + u32::try_from(rng.below(8)).unwrap_or(0),
            _ => u32::try_from(rng.below(40)).unwrap_or(0),
        },
        when: when(rng),
        kind: kind(rng),
    };
    (0..count).map(crash).collect()
}

fn when(rng: &mut Rng) -> When {
    pick(rng, &[When::Before, When::Inside, When::Inside, When::After])
}

fn kind(rng: &mut Rng) -> CrashKind {
    pick(rng, &[CrashKind::Power, CrashKind::Power, CrashKind::Process])
}

/// Puts an excursion into a share of the seeds.
fn add_excursions(ops: &mut Vec<Op>, rng: &mut Rng, world: World) {
    if world != World::Strict || !rng.chance(1, 3) {
        return;
    }
    for _ in 0..rng.range(1..=2) {
        // Behind the crashes that strike inside the creation.
        let first = ops.iter().take_while(|op| matches!(op, Op::Crash { .. })).count();
        let at = first + rng.index(ops.len() + 1 - first);
        let twist = u8::try_from(rng.below(256)).unwrap_or(0);
        let end = pick(rng, &[None, Some(CrashKind::Process), Some(CrashKind::Power)]);
        ops.insert(at, Op::Around { event: pick(rng, &EVENTS), twist, end });
    }
    // Of what may happen this has the most moments at which it can.
    if rng.chance(1, 3) {
        let twist = u8::try_from(rng.below(256)).unwrap_or(0) | LATE;
        let end = pick(rng, &[None, Some(CrashKind::Process)]);
        ops.push(Op::Around { event: Event::Removed, twist, end });
    }
    // It must come between a rotation's first look and its edit.
    if rng.coin() {
        let twist = u8::try_from(rng.below(64)).unwrap_or(0) | LATE;
        ops.push(Op::Around { event: Event::ManifestReplaced, twist, end: None });
    }
}
