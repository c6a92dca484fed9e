//! The command line: what it takes, and where each command goes.
//!
//! Exit codes: 0 for no breach, 1 for a breach of the contract, 2 for a mistake in the call or
//! a file that cannot be read or written, 130 for a search that was interrupted before it found
//! a breach.

/// Prints a line, as `println!`; but a reader who has seen enough (`| head`) is no mistake.
macro_rules! out {
    ($($arg:tt)*) => {
        $crate::cli::print_line(format_args!($($arg)*))
    };
}

mod artefact;
#[cfg(feature = "planted")]
mod bugs;
mod exhaust;
mod long;
mod numbers;
mod plant;
mod replay;
mod report;
mod seen;
mod shrink;
mod sweep;
mod watchdog;

use std::fmt::Arguments;
use std::io::{ErrorKind, Write, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use runstone_sim::harness::{Case, World, generate};

use plant::Plant;

/// A line on the standard output. If nobody reads it any more, the program ends there.
fn print_line(line: Arguments<'_>) {
    match writeln!(stdout(), "{line}") {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            eprintln!("the standard output cannot be written: {error}");
            std::process::exit(2);
        }
    }
}

const EXIT_STATUS: &str = "\
Exit status: 0 for no breach, 1 for a breach of the contract, 2 for a mistake in the call,
130 for a search that Ctrl-C or SIGTERM ended before it found a breach.";

/// What a search ends with.
fn verdict(is_broken: bool, interrupted: bool) -> ExitCode {
    match (is_broken, interrupted) {
        (true, _) => ExitCode::FAILURE,
        // As a shell reports a program that Ctrl-C ended.
        (false, true) => ExitCode::from(130),
        (false, false) => ExitCode::SUCCESS,
    }
}

/// Runs the real engine on a simulated disk, crashes it anywhere, and compares what is
/// recovered with a reference model.
#[derive(Debug, Parser)]
#[command(name = "runstone-sim", version, about, arg_required_else_help = true, after_help = EXIT_STATUS)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs many seeds on all cores; fresh ones unless told otherwise
    Sweep(sweep::SweepArgs),
    /// Runs one seed, or a saved case, and prints a readable trace up to the first difference
    Replay(replay::ReplayArgs),
    /// Looks for the fewest operations and faults with which a seed still fails
    Shrink(shrink::ShrinkArgs),
    /// Explores every legal crash state of every small workload, all rot of a small store, or every
    /// fault at every call
    Exhaust(exhaust::ExhaustArgs),
    /// Writes one HTML page that shows a seed, or with --sweep a sweep
    Report(report::ReportArgs),
    /// Prints the digest of every call, argument and result of a seed
    Digest(DigestArgs),
    /// Searches for every planted bug, and says how soon each is caught
    #[cfg(feature = "planted")]
    #[command(hide = true)] // so that the help is that of every build
    Bugs(bugs::BugsArgs),
}

/// The field of a saved case that names the planted bug it needs.
const PLANTED: &str = "planted";

/// Which case: a seed, or a file that `shrink` wrote.
#[derive(Debug, Args)]
pub(crate) struct CaseArgs {
    /// A seed (a number), or the file of a saved case
    #[arg(value_name = "SEED|FILE")]
    case: String,
    /// The world of the seed, if the sweep was told one
    #[arg(long, value_parser = world)]
    world: Option<World>,
    #[command(flatten)]
    plant: Plant,
}

/// A case, and the bug that it needs in calibration builds.
pub(crate) struct Loaded {
    pub(crate) case: Case,
    pub(crate) plant: Plant,
}

#[derive(Debug, Args)]
struct DigestArgs {
    #[command(flatten)]
    case: CaseArgs,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

impl Cli {
    /// Does what was asked for.
    pub(crate) fn run(self) -> ExitCode {
        let outcome = match self.command {
            Command::Sweep(args) => sweep::run(&args),
            Command::Replay(args) => replay::run(&args),
            Command::Shrink(args) => shrink::run(&args),
            Command::Exhaust(args) => exhaust::run(&args),
            Command::Report(args) => report::run(&args),
            Command::Digest(args) => digest(&args),
            #[cfg(feature = "planted")]
            Command::Bugs(args) => bugs::run(&args),
        };
        outcome.unwrap_or_else(|message| {
            eprintln!("runstone-sim: {message}");
            ExitCode::from(2)
        })
    }
}

/// What a command comes to; a mistake is a message.
pub(crate) type CommandResult = Result<ExitCode, String>;

fn digest(args: &DigestArgs) -> CommandResult {
    let Loaded { case, plant } = args.case.load()?;
    plant.plant();
    let outcome = runstone_sim::harness::run(&case, false);
    if args.json {
        let digest = format!("{:016x}", outcome.digest);
        out!("{}", serde_json::json!({ "seed": case.seed, "digest": digest }));
    } else {
        out!("{:016x}", outcome.digest);
    }
    Ok(ExitCode::SUCCESS)
}

impl CaseArgs {
    /// The case, generated or read.
    pub(crate) fn load(&self) -> Result<Loaded, String> {
        if let Ok(seed) = self.case.parse() {
            let case = generate::generate_in(seed, self.world);
            return Ok(Loaded { case, plant: self.plant });
        }
        if self.world.is_some() {
            return Err("--world goes with a seed; a saved case has its world".to_owned());
        }
        let path = PathBuf::from(&self.case);
        // A saved case of the person at the screen, no file of a store; so is what `write` writes.
        let text = std::fs::read_to_string(&path).map_err(|e| {
            format!(
                "{} is no seed, and reading it as a file failed: {e}; \
                 give a number, or a file that shrink wrote",
                path.display()
            )
        })?;
        let parsed = serde_json::from_str::<serde_json::Value>(&text).and_then(|value| {
            let bug = value.get(PLANTED).and_then(|name| name.as_str()).map(str::to_owned);
            Ok((bug, serde_json::from_value(value)?))
        });
        let (bug, case) = parsed.map_err(|e| {
            format!("{} is not a saved case: {e}; shrink writes them", path.display())
        })?;
        Ok(Loaded { case, plant: self.plant.or_named(bug.as_deref())? })
    }

    /// How the caller named it.
    pub(crate) fn name(&self) -> &str {
        &self.case
    }
}

/// The name of a world, from the command line.
pub(crate) fn world(name: &str) -> Result<World, String> {
    World::ALL.into_iter().find(|world| world.name() == name).ok_or_else(|| {
        let names: Vec<_> = World::ALL.into_iter().map(World::name).collect();
        format!("no world is named {name:?}; there are {}", names.join(", "))
    })
}

// The artefacts of the command line are files of the real disk, not of a store.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|e| format!("writing {} failed: {e}", path.display()))
}
