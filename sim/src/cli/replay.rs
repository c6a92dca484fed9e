//! `replay`: one case, with its trace.

use std::process::ExitCode;

use clap::Args;
use runstone_sim::harness::{self, World};

use super::{CaseArgs, CommandResult, Loaded};

#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    #[command(flatten)]
    case: CaseArgs,
    /// Prints JSON
    #[arg(long)]
    json: bool,
    /// Leaves the calls into the file system out
    #[arg(long)]
    brief: bool,
}

pub(crate) fn run(args: &ReplayArgs) -> CommandResult {
    let Loaded { case, plant } = args.case.load()?;
    plant.plant();
    let outcome = harness::run(&case, true);
    let lines = outcome.trace.iter().filter(|line| !args.brief || !line.starts_with("      #"));
    if args.json {
        let report = serde_json::json!({
            "seed": case.seed,
            "world": case.world,
            "digest": format!("{:016x}", outcome.digest),
            "failure": outcome.failure.as_ref().map(|failure| serde_json::json!({
                "clause": failure.clause, "op": failure.op, "message": failure.message,
            })),
            "trace": lines.collect::<Vec<_>>(),
        });
        out!("{report}");
    } else {
        out!("seed {} in the world {}: {:?}", case.seed, case.world.name(), case.options);
        for line in lines {
            out!("{}", line.replace('\n', "\n      "));
        }
        out!("");
        match &outcome.failure {
            None => out!(
                "no breach in {} operations and {} openings; digest {:016x}",
                outcome.ops,
                outcome.openings,
                outcome.digest
            ),
            Some(failure) => {
                out!("BREACH of {failure}");
                if let Ok(seed) = args.case.name().parse::<u64>() {
                    let world = args.case.world.map(World::name);
                    out!("shrink it: {}", plant.command("shrink", seed, world));
                }
            }
        }
    }
    Ok(if outcome.failure.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
