//! The crash points of somebody's own program: all of them, and what may survive at each.
//!
//! [`crash_points`] takes a program, which does its I/O through a [`Vfs`], and an invariant,
//! which looks at the disk after a restart. It runs the program once to count its calls. Then it
//! kills the process and cuts the power before, inside and after every call, and after the last
//! one, with every crash model and several choices of each, and asks the invariant each time;
//! then it crashes what the invariant itself writes (a recovery), and asks again. The first
//! violation is reduced to the fewest lost operations, and becomes a test.
//!
//! What the program has *promised* is a value of the caller's own type: the program changes it
//! when it has told its user that something is kept, and the invariant is given what was promised
//! before the crash.
//!
//! # Example: a file that is replaced without a sync
//! ```
//! use std::io;
//! use std::path::Path;
//! use std::sync::Arc;
//!
//! use runstone_sim::explore::crash_points;
//! use runstone_vfs::{Access, Vfs, read_full_at, write_all_at};
//!
//! fn store(disk: Arc<dyn Vfs>, promised: &mut u8) -> io::Result<()> {
//!     for value in 1..=2 {
//!         let file = disk.create(Path::new("/new"))?;
//!         write_all_at(&*file, &[value], 0)?; // no sync: nothing of it need survive
//!         disk.rename(Path::new("/new"), Path::new("/value"))?;
//!         disk.sync_dir(Path::new("/"))?;
//!         *promised = value;
//!     }
//!     Ok(())
//! }
//!
//! fn check(disk: Arc<dyn Vfs>, promised: &u8) -> Result<(), String> {
//!     let mut found = [0];
//!     if let Ok(file) = disk.open(Path::new("/value"), Access::Read) {
//!         read_full_at(&*file, &mut found, 0).map_err(|error| error.to_string())?;
//!     }
//!     let [found] = found;
//!     match found == *promised || found == promised + 1 {
//!         true => Ok(()),
//!         false => Err(format!("{promised} was promised, {found} is there")),
//!     }
//! }
//!
//! let violation = crash_points(store, check).expect_err("a sync is missing");
//! assert!(violation.message.contains("was promised"));
//! assert!(violation.test().contains("#[test]"));
//! ```
//!
//! The example `crash_points` (`cargo run -p runstone-sim --example crash_points`) does it for a
//! program in three versions, of which one is right.
//!
//! # What a program must keep to
//! - All its I/O goes through the `Vfs` that it is given, and it does the same each time: no
//!   clock, no thread, no randomness but a seeded one.
//! - An error of the disk is returned, not unwrapped: after a crash every call fails.
//! - A promise is made after the call that keeps it has returned, never before.

mod print;
mod search;
mod shrink;
mod state;

use std::fmt;
use std::sync::Arc;

use runstone_vfs::Vfs;

pub use state::{CrashState, RecoveryCrash, Survives, replay};

use crate::disk::{CrashKind, CrashModel};
use search::Search;

/// How far an exploration goes.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which crashes are made.
    pub kinds: Vec<CrashKind>,
    /// How often each crash model draws, at each crash point. The choices that need no draw
    /// (nothing survives, everything, all but one operation, one, each prefix) are made
    /// beside these, once.
    pub choices: u32,
    /// For how many distinct states of the disk at each crash point what the invariant writes is
    /// crashed too; 0 for none.
    pub recoveries: u32,
    /// The greatest number of calls that the program may make: more is an error.
    pub calls_max: u64,
    /// The crash models that draw; all by default. Every other rule of the disk is on.
    pub models: Vec<CrashModel>,
    /// The seed of every draw.
    pub seed: u64,
    /// How the printed test names the program and the invariant.
    pub names: (String, String),
}

impl Default for Options {
    fn default() -> Options {
        Options {
            kinds: vec![CrashKind::Process, CrashKind::Power],
            choices: 4,
            recoveries: 4,
            calls_max: 10_000,
            models: CrashModel::ALL.to_vec(),
            seed: 0,
            names: ("program".to_owned(), "invariant".to_owned()),
        }
    }
}

/// An exploration that found nothing, in figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Explored {
    /// The calls of the program.
    pub calls: u64,
    /// The crash points: before, inside and after each call, and after the last.
    pub points: u64,
    /// How often the invariant was asked, without the crashes of its own.
    pub states: u64,
    /// How many of the choices led to a state that had been asked about at the same point.
    pub repeated: u64,
    /// How often it was asked after a crash of its own writes.
    pub recoveries: u64,
}

impl fmt::Display for Explored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} calls, {} crash points, {} states of the disk judged ({} choices repeated one), \
             {} crashes in recovery: the invariant holds",
            self.calls, self.points, self.states, self.repeated, self.recoveries
        )
    }
}

/// A crash after which the invariant does not hold.
#[derive(Clone, Debug)]
pub struct Violation {
    /// What the invariant said.
    pub message: String,
    /// The crash; `None` if the program failed, or broke the invariant, without any.
    pub state: Option<CrashState>,
    /// The calls of the program up to the crash, what the crash took, and the calls after it.
    pub trace: Vec<String>,
    /// What had been done until it was found.
    pub explored: Explored,
    /// How the printed test names the program and the invariant.
    names: (String, String),
}

impl Violation {
    /// A test that makes this crash and no other, as source. It names the program and the
    /// invariant as [`Options::names`] says.
    pub fn test(&self) -> String {
        print::test(self)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.state {
            Some(state) => writeln!(f, "{state}: {}", self.message)?,
            None => writeln!(f, "without a crash: {}", self.message)?,
        }
        for line in &self.trace {
            writeln!(f, "  {line}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Violation {}

/// Crashes a program at every point, and checks the invariant after each, with the default
/// [`Options`]. See the head of the [module](self).
///
/// Errors: the first violation, reduced; also if the program fails without a crash.
pub fn crash_points<S, E, F>(
    program: impl Fn(Arc<dyn Vfs>, &mut S) -> Result<(), E>,
    invariant: impl Fn(Arc<dyn Vfs>, &S) -> Result<(), F>,
) -> Result<Explored, Box<Violation>>
where
    S: Default,
    E: fmt::Display,
    F: fmt::Display,
{
    crash_points_with(&Options::default(), program, invariant)
}

/// [`crash_points`] with options.
///
/// Errors: as there.
pub fn crash_points_with<S, E, F>(
    options: &Options,
    program: impl Fn(Arc<dyn Vfs>, &mut S) -> Result<(), E>,
    invariant: impl Fn(Arc<dyn Vfs>, &S) -> Result<(), F>,
) -> Result<Explored, Box<Violation>>
where
    S: Default,
    E: fmt::Display,
    F: fmt::Display,
{
    Search::new(options, &state::Subject::new(&program, &invariant)).run()
}
