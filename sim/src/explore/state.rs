//! One crash as data, and how it is made: the program runs up to it, the disk keeps what the
//! data says, and the invariant looks.
//!
//! Invariant: the same [`CrashState`], program and invariant give the same verdict.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use runstone_vfs::Vfs;

use crate::disk::{CrashKind, CrashModel, CrashPoint, DiskConfig, Odds, SimVfs, When};

/// How many lines of a trace are kept.
const TRACE_LINES: usize = 4096;

/// What survives a power cut of what was not synced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Survives {
    /// Everything, as after the end of a process.
    Everything,
    /// All but these pending operations, from 0 in program order: no garbage, nothing torn.
    AllBut(Vec<u64>),
    /// What a crash model draws from a seed, with every rule of the default [`DiskConfig`].
    Drawn {
        /// The model.
        model: CrashModel,
        /// The seed of the draw.
        seed: u64,
    },
}

/// A crash of what the invariant itself does to the disk, before it is asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecoveryCrash {
    /// How many of its calls are served before.
    pub after_calls: u64,
    /// Where in the call.
    pub when: When,
    /// The seed of what survives.
    pub seed: u64,
}

/// One crash: where, and what survives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrashState {
    /// The call of the program, from 0. A call that never comes is the program's end.
    pub point: CrashPoint,
    /// How much of the call itself takes place, if the crash is inside it: the seed of the draw.
    pub part: u64,
    /// What survives of what was not synced.
    pub survives: Survives,
    /// A crash in the recovery.
    pub recovery: Option<RecoveryCrash>,
}

/// A crash, and what the invariant said.
pub(super) type Broken = (CrashState, String);

impl CrashState {
    /// A power cut or the end of a process.
    pub fn kind(&self) -> CrashKind {
        match self.survives {
            Survives::Everything => CrashKind::Process,
            Survives::AllBut(_) | Survives::Drawn { .. } => CrashKind::Power,
        }
    }
}

impl fmt::Display for CrashState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let when = match self.point.when {
            When::Before => "before",
            When::Inside => "inside",
            When::After => "after",
        };
        let call = self.point.call;
        match &self.survives {
            Survives::Everything => write!(f, "process killed {when} call {call}"),
            Survives::AllBut(lost) if lost.is_empty() => {
                write!(f, "power cut {when} call {call}, nothing lost")
            }
            Survives::AllBut(lost) => {
                let plural = if lost.len() == 1 { "" } else { "s" };
                write!(f, "power cut {when} call {call}, {} operation{plural} lost", lost.len())
            }
            Survives::Drawn { model, seed } => {
                write!(f, "power cut {when} call {call}, {model:?} with seed {seed}")
            }
        }?;
        match self.recovery {
            Some(crash) => write!(f, ", and again after {} calls", crash.after_calls),
            None => Ok(()),
        }
    }
}

type Program<'a, S, E> = dyn Fn(Arc<dyn Vfs>, &mut S) -> Result<(), E> + 'a;
type Invariant<'a, S, F> = dyn Fn(Arc<dyn Vfs>, &S) -> Result<(), F> + 'a;

/// The program and the invariant, with their results as text.
pub(super) struct Subject<'a, S> {
    program: Box<Program<'a, S, String>>,
    invariant: Box<Invariant<'a, S, String>>,
}

/// The program, stopped at a crash point: the disk as a killed process leaves it, restarted, with
/// nothing that was not synced chosen yet; and what was promised.
pub(super) struct Stopped<S> {
    pub(super) disk: SimVfs,
    pub(super) promised: S,
}

/// The knobs while the program runs: nothing is drawn, so that it does the same each time, and
/// the rules that say what a sync promises are the strict ones.
fn running_config() -> DiskConfig {
    DiskConfig {
        early_writeback: Odds::NEVER,
        early_flush: Odds::NEVER,
        list_shuffled: false,
        ..DiskConfig::default()
    }
}

impl<'a, S: Default> Subject<'a, S> {
    pub(super) fn new<E: fmt::Display, F: fmt::Display>(
        program: &'a Program<'a, S, E>,
        invariant: &'a Invariant<'a, S, F>,
    ) -> Self {
        Subject {
            program: Box::new(|disk, promised| {
                program(disk, promised).map_err(|error| error.to_string())
            }),
            invariant: Box::new(|disk, promised| {
                invariant(disk, promised).map_err(|error| error.to_string())
            }),
        }
    }

    /// The whole program, without a crash: how many calls it makes, or why it failed. The
    /// invariant must hold at its end.
    pub(super) fn count_calls(&self) -> Result<u64, String> {
        let disk = SimVfs::with_config(0, running_config());
        let mut promised = S::default();
        (self.program)(Arc::new(disk.clone()), &mut promised)
            .map_err(|error| format!("the program failed: {error}"))?;
        let calls = disk.calls();
        self.ask(&disk, &promised)?;
        Ok(calls)
    }

    /// Runs the program up to a crash point.
    pub(super) fn stop_at(&self, point: CrashPoint, part: u64) -> Stopped<S> {
        let disk = SimVfs::with_config(part, running_config());
        disk.keep_trace(TRACE_LINES);
        disk.arm_crash(point, CrashKind::Process);
        let mut promised = S::default();
        // What it returns after a crash nobody lives to see.
        drop((self.program)(Arc::new(disk.clone()), &mut promised));
        disk.disarm_crash();
        disk.crash_now(CrashKind::Process);
        disk.restart();
        Stopped { disk, promised }
    }

    /// Asks the invariant.
    pub(super) fn ask(&self, disk: &SimVfs, promised: &S) -> Result<(), String> {
        (self.invariant)(Arc::new(disk.clone()), promised)
    }

    /// Whether the invariant holds after this crash; and the disk, for its trace.
    pub(super) fn judge(
        &self,
        stopped: &Stopped<S>,
        state: &CrashState,
    ) -> (Result<(), String>, SimVfs) {
        let disk = survivor(&stopped.disk, &state.survives);
        if let Some(crash) = state.recovery {
            let call = disk.calls() + crash.after_calls;
            disk.arm_crash(CrashPoint { call, when: crash.when }, CrashKind::Power);
            drop(self.ask(&disk, &stopped.promised));
            disk.disarm_crash();
            disk.crash_now(CrashKind::Power);
            disk.restart();
        }
        (self.ask(&disk, &stopped.promised), disk)
    }
}

/// The disk after the crash, restarted.
pub(super) fn survivor(stopped: &SimVfs, survives: &Survives) -> SimVfs {
    match survives {
        Survives::Everything => stopped.fork(0),
        Survives::AllBut(lost) => {
            let disk = stopped.fork(0);
            disk.set_config(DiskConfig::plain());
            disk.crash_losing(&lost.iter().copied().collect::<BTreeSet<u64>>());
            disk.restart();
            disk
        }
        Survives::Drawn { model, seed } => {
            let disk = stopped.fork(*seed);
            disk.set_config(DiskConfig::default());
            disk.crash_with(*model, None);
            disk.restart();
            disk
        }
    }
}

/// Makes one crash again: what a printed test calls. `Ok` if the invariant holds after it.
///
/// Errors: what the invariant says.
pub fn replay<S, E, F>(
    state: &CrashState,
    program: impl Fn(Arc<dyn Vfs>, &mut S) -> Result<(), E>,
    invariant: impl Fn(Arc<dyn Vfs>, &S) -> Result<(), F>,
) -> Result<(), String>
where
    S: Default,
    E: fmt::Display,
    F: fmt::Display,
{
    let subject = Subject::new(&program, &invariant);
    let stopped = subject.stop_at(state.point, state.part);
    subject.judge(&stopped, state).0
}
