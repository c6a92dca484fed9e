//! One schedule from its beginning to the verdict: a store is made, threads work on it, it
//! closes or crashes, and what is recovered is judged.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use runstone::{Builder, Database, DurabilityMode, Error, NO_TAGS, Options, Preallocation};
use runstone_sim::disk::{
    CallKind, CrashKind, CrashPoint, DiskConfig, Fault, FaultKind, SimVfs, SyncFlavour, When,
};
use runstone_sim::rng::Rng;

use super::history::{Barrier, Record};
use super::judge::{Bounds, End, judge};
use super::perform::{Actor, Scene, run, state};
use super::program::{Mishap, Scenario};
use super::stage::{Fuse, Spark, StageClock, StageEntropy, StageVfs};

const DIR: &str = "/store";

/// Everything that an opening needs.
struct Stage {
    vfs: StageVfs,
    options: Options,
    clock: Arc<StageClock>,
    entropy: Arc<StageEntropy>,
}

impl Stage {
    fn draw(scenario: &Scenario, tape: &mut Rng) -> Stage {
        let pick = |tape: &mut Rng, of: &[u64]| *tape.pick(of).unwrap_or(&1);
        let small = |tape: &mut Rng| usize::try_from(pick(tape, &[1, 2, 3, 64])).unwrap();
        let mut options = Options {
            durability: match tape.below(3) {
                0 => DurabilityMode::Strict,
                1 => DurabilityMode::Batched { interval_ms: 10, batch_size: tape.range(1..=3) },
                _ => DurabilityMode::Async { interval_ms: 30 },
            },
            segment_bytes: pick(tape, &[512, 1024, 1 << 20]),
            preallocate_bytes: pick(tape, &[0, 4096]),
            preallocation: Preallocation::Zeros,
            pad_to_sector: tape.chance(1, 4),
            log_buffer_bytes_max: pick(tape, &[0, 1 << 16]),
            group_commits_max: small(tape),
            queue_commits_max: small(tape),
            batched_interval_ms: 10,
            batched_size: tape.range(1..=3),
            async_interval_ms: 30,
            idle_watermark_ms: 20,
            maintenance_interval_ms: 15,
            background_threads: 0,
            ..Options::default()
        };
        if scenario.background {
            // The threads flush what a commit has just put, and merge that, or have less to do.
            options.background_threads = small(tape).min(3);
            options.flush_bytes = pick(tape, &[1, 64 << 20]);
            options.levels_per_tier = 2;
        }
        let disk = SimVfs::with_config(tape.next_u64(), DiskConfig::default());
        Stage {
            vfs: StageVfs::new(disk, Arc::new(Fuse::default())),
            options,
            clock: Arc::new(StageClock::new(1, u64::from(scenario.background))),
            entropy: Arc::new(StageEntropy(Mutex::new(Rng::from_seed(tape.next_u64())))),
        }
    }

    fn open(&self, background: bool) -> Result<Database, String> {
        let background_threads = if background { self.options.background_threads } else { 0 };
        let options = Options { background_threads, ..self.options.clone() };
        Builder::default()
            .options(options)
            .vfs(Arc::new(self.vfs.clone()))
            .clock(self.clock.clone())
            .entropy(self.entropy.clone())
            .open(DIR)
            .map_err(|error| format!("the store does not open: {error}"))
    }

    /// Prepares what will befall the threads.
    fn arm(&self, mishap: Mishap, tape: &mut Rng) {
        let disk = &self.vfs.disk;
        let soon = tape.below(24);
        match mishap {
            Mishap::None => {}
            Mishap::Crash => {
                let when = *tape.pick(&[When::Before, When::Inside, When::After]).unwrap();
                let kind = if tape.chance(1, 3) { CrashKind::Process } else { CrashKind::Power };
                disk.arm_crash(CrashPoint { call: disk.calls() + soon, when }, kind);
            }
            Mishap::Failure => {
                let call = *tape.pick(&[CallKind::Sync, CallKind::Sync, CallKind::Write]).unwrap();
                let flavours = [SyncFlavour::Doomed, SyncFlavour::Reverted, SyncFlavour::SizeKept];
                let fault = Fault::new(FaultKind::Io).flavour(*tape.pick(&flavours).unwrap());
                let fault = if tape.coin() { fault.without_effect() } else { fault };
                self.vfs.fuse.light(Some((soon / 2, Spark::Fail(call, fault))));
            }
            Mishap::Full => {
                let fault = Fault::new(FaultKind::NoSpace);
                self.vfs.fuse.light(Some((soon / 2, Spark::Fail(CallKind::Write, fault))));
            }
            Mishap::Panic => self.vfs.fuse.light(Some((soon / 2, Spark::Panic))),
        }
    }
}

/// Plays a schedule of the scenario; the error says which clause was broken.
pub(crate) fn play(scenario: &Scenario, tape: &mut Rng, loud: bool) -> Result<(), String> {
    let stage = Stage::draw(scenario, tape);
    let mishap = *tape.pick(scenario.mishaps).unwrap_or(&Mishap::None);
    let programs = scenario.programs(tape);
    let disk = stage.vfs.disk.clone();
    if loud {
        println!("{mishap:?}, {:?}\n{programs:#?}", stage.options);
        disk.keep_trace(1000);
    }
    let db = stage.open(scenario.background)?;
    db.begin_run(run(), NO_TAGS).map_err(|error| format!("the run does not begin: {error}"))?;
    db.flush().map_err(|error| error.to_string())?;
    stage.arm(mishap, tape);

    // 1. The threads, and what they do to each other.
    let scene = Scene {
        disk: disk.clone(),
        clock: Arc::clone(&stage.clock),
        record: Record::default(),
        mishap,
        closer: scenario.closer,
    };
    let threads: Vec<_> = programs
        .into_iter()
        .map(|acts| {
            let actor = Actor { scene: scene.clone(), db: db.clone(), tickets: VecDeque::new() };
            shuttle::thread::spawn(move || actor.perform(acts))
        })
        .collect();
    for thread in threads {
        thread.join().map_err(|_| "a thread panicked")?;
    }

    // 2. The end: a crash, or a close.
    stage.vfs.fuse.light(None);
    let end = finish(&stage, &scene, db, mishap, tape)?;
    if loud {
        println!("{end:?}\n{:#?}\n{}", scene.record.lock(), disk.trace().join("\n"));
        println!("{:?}", disk.crash_report());
    }

    // 3. What is recovered.
    disk.restart();
    disk.heal();
    let db = stage.open(false)?;
    let (version, seen) = state(&db).map_err(|error| error.to_string())?;
    let calm = matches!(mishap, Mishap::None | Mishap::Crash);
    let bounds = Bounds {
        batch_size: match stage.options.durability {
            DurabilityMode::Batched { batch_size, .. } => batch_size,
            _ => stage.options.batched_size,
        },
        batched_ms: stage.options.batched_interval_ms,
        async_ms: stage.options.async_interval_ms,
        calm,
        timely: scenario.ticker && calm,
    };
    judge(&scene.record.lock(), end, bounds, version, &seen)?;

    // 4. It goes on, and nothing changes by itself.
    if tape.chance(1, 4) {
        let next = db.put(run(), "more", 1).map_err(|error| format!("C10: {error}"))?;
        if next != version + 1 {
            return Err(format!("C4: version {next} after {version}"));
        }
        db.close().map_err(|error| format!("C10: {error}"))?;
        drop(db);
        let db = stage.open(false)?;
        let again = state(&db).map_err(|error| error.to_string())?;
        if again != (version + 1, seen) {
            return Err(format!("C8: another state at the next opening: {again:?}"));
        }
    }
    Ok(())
}

/// Ends the session. Says how.
fn finish(
    stage: &Stage,
    scene: &Scene,
    db: Database,
    mishap: Mishap,
    tape: &mut Rng,
) -> Result<End, String> {
    let disk = &stage.vfs.disk;
    disk.disarm_crash();
    // What a killed process had written survives, unless its writeback had failed before.
    let killed = |disk: &SimVfs| match disk.crash_report().map(|report| report.kind) {
        Some(CrashKind::Process) if mishap != Mishap::Failure => End::Killed,
        _ => End::Cut,
    };
    if disk.is_crashed() {
        return Ok(killed(disk));
    }
    let cuts = match mishap {
        Mishap::None | Mishap::Full => tape.chance(1, 4),
        _ => tape.chance(3, 4),
    };
    if !cuts {
        disk.heal();
        let invoked = scene.record.lock().stamp();
        match db.close() {
            Ok(()) => scene.record.lock().barriers.push(Barrier::Close { invoked }),
            Err(Error::Closed) if scene.record.lock().is_closed() => {}
            Err(Error::Closed | Error::Poisoned { .. })
                if matches!(mishap, Mishap::Failure | Mishap::Panic) =>
            {
                return Ok(if mishap == Mishap::Panic { End::Killed } else { End::Cut });
            }
            Err(error) => return Err(format!("the close failed: {error}")),
        }
        drop(db);
        if tape.coin() {
            return Ok(End::Alive);
        }
        disk.crash_now(CrashKind::Power);
        return Ok(End::Cut);
    }
    let kind = if tape.chance(1, 3) { CrashKind::Process } else { CrashKind::Power };
    disk.crash_now(kind);
    drop(db);
    Ok(killed(disk))
}
