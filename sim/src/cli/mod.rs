//! The command line: what it takes, and where each command goes.
//!
//! Exit codes: 0 for no breach, 1 for a breach of the contract, 2 for a mistake in the call or
//! a file that cannot be read or written.

mod replay;
mod shrink;
mod sweep;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use runstone_sim::harness::{Case, World, generate};

/// Runs the real engine on a simulated disk, crashes it anywhere, and compares what is
/// recovered with a reference model.
#[derive(Debug, Parser)]
#[command(name = "runstone-sim", version, about, arg_required_else_help = true)]
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
    /// Prints the digest of every call, argument and result of a seed
    Digest(DigestArgs),
}

/// Which case: a seed, or a file that `shrink` wrote.
#[derive(Debug, Args)]
pub(crate) struct CaseArgs {
    /// A seed (a number), or the file of a saved case
    #[arg(value_name = "SEED|FILE")]
    case: String,
    /// The world of the seed, if the sweep was told one
    #[arg(long, value_parser = world)]
    world: Option<World>,
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
            Command::Digest(args) => digest(&args),
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
    let case = args.case.load()?;
    let outcome = runstone_sim::harness::run(&case, false);
    if args.json {
        let digest = format!("{:016x}", outcome.digest);
        println!("{}", serde_json::json!({ "seed": case.seed, "digest": digest }));
    } else {
        println!("{:016x}", outcome.digest);
    }
    Ok(ExitCode::SUCCESS)
}

impl CaseArgs {
    /// The case, generated or read.
    pub(crate) fn load(&self) -> Result<Case, String> {
        if let Ok(seed) = self.case.parse() {
            return Ok(generate::generate_in(seed, self.world));
        }
        let path = PathBuf::from(&self.case);
        let text = read(&path)?;
        serde_json::from_str(&text)
            .map_err(|e| format!("{} is not a saved case: {e}; shrink writes them", path.display()))
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
fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|e| format!("reading {} failed: {e}", path.display()))
}

pub(crate) fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|e| format!("writing {} failed: {e}", path.display()))
}
