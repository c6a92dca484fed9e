//! `replay`: one case, with its trace.

use std::process::ExitCode;

use clap::Args;
use runstone_sim::harness;

use super::{CaseArgs, CommandResult};

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
    let case = args.case.load()?;
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
        println!("{report}");
    } else {
        println!("seed {} in the world {}: {:?}", case.seed, case.world.name(), case.options);
        for line in lines {
            println!("{line}");
        }
        println!();
        match &outcome.failure {
            None => println!(
                "no breach in {} operations and {} openings; digest {:016x}",
                outcome.ops, outcome.openings, outcome.digest
            ),
            Some(failure) => {
                println!("BREACH of {failure}");
                println!("shrink it: runstone-sim shrink {}", args.case.name());
            }
        }
    }
    Ok(if outcome.failure.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
