//! Runstone beside its peers: the same work, fresh processes, one invocation.
//!
//! `cargo run --release --manifest-path engine/benches/peers/Cargo.toml -- all --quick`
//!
//! The parent plans and spawns ([`parent`]), a child does one workload with one engine
//! ([`workloads`], [`adapters`]) and tells what it found ([`outcome`]); the report is made of
//! the lines that were kept ([`report`]). README.md says what is measured, and what is not.

mod adapters;
mod data;
mod engine;
mod machine;
mod measure;
mod outcome;
mod parent;
mod report;
mod sizes;
mod workloads;
mod zipf;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Parser, Subcommand};

use crate::sizes::Sizes;
use crate::workloads::Workload;

#[derive(Parser)]
#[command(name = "peers", about = "Measures Runstone beside its peers")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs everything, or what the options choose, and writes the report.
    All(AllArgs),
    /// Writes the report again, from the results of an earlier run.
    Report {
        /// The directory of that run: it holds results.jsonl.
        dir: PathBuf,
    },
    /// Lists engines, workloads and sizes.
    List,
    /// One workload with one engine; what the parent runs.
    #[command(hide = true)]
    Child(ChildArgs),
    /// Loads a store and waits to be killed; what the workload `reopen` runs.
    #[command(hide = true)]
    Loader(ChildArgs),
}

#[derive(Args)]
struct AllArgs {
    /// Small sizes: shows that every row works.
    #[arg(long)]
    quick: bool,
    /// Changes a size; `list` names them. May be given again.
    #[arg(long = "set", value_name = "SIZE=NUMBER")]
    sizes: Vec<String>,
    /// How often everything is measured; the median counts.
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// Only these engines, and Runstone.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    engines: Vec<String>,
    /// Only workloads whose name contains one of these words.
    #[arg(long, value_delimiter = ',', value_name = "WORDS")]
    workloads: Vec<String>,
    /// Where the stores are made: on the disk that is to be measured.
    #[arg(long, default_value = "target/peers/stores")]
    dir: PathBuf,
    /// Where the report goes.
    #[arg(long, default_value = "target/peers")]
    out: PathBuf,
    /// The time that one child may take, in seconds; then its rows have failed.
    #[arg(long, default_value_t = 600)]
    limit: u64,
    /// A cgroup of the caller's, with its own memory limit, that the children of the workload
    /// large join.
    #[arg(long, value_name = "DIR")]
    cgroup: Option<PathBuf>,
}

#[derive(Args)]
struct ChildArgs {
    #[arg(long)]
    engine: String,
    #[arg(long)]
    workload: String,
    #[arg(long)]
    dir: PathBuf,
    #[arg(long)]
    sizes: String,
    #[arg(long)]
    cgroup: Option<PathBuf>,
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::All(args) => all(args),
        Command::Report { dir } => report::write(&dir),
        Command::List => list(),
        Command::Child(args) => child(&args),
        Command::Loader(args) => workloads::loader(&context(&args)?),
    }
}

fn all(args: AllArgs) -> Result<()> {
    let mut sizes = if args.quick { Sizes::quick() } else { Sizes::default() };
    for setting in &args.sizes {
        sizes.set(setting)?;
    }
    for name in &args.engines {
        adapters::find(name).with_context(|| format!("no engine is called {name}"))?;
    }
    let is_asked = |name: &str| args.engines.is_empty() || args.engines.iter().any(|e| e == name);
    let engines = adapters::ALL.iter().copied();
    let engines = engines.filter(|spec| spec.name == adapters::SUBJECT || is_asked(spec.name));
    let has_word = |workload: &&Workload| {
        args.workloads.is_empty() || args.workloads.iter().any(|word| workload.name.contains(word))
    };
    let workloads: Vec<Workload> = workloads::ALL.iter().filter(has_word).copied().collect();
    if workloads.is_empty() {
        bail!("no workload has one of the words {:?}", args.workloads);
    }
    parent::run(&parent::Plan {
        engines: engines.collect(),
        workloads,
        rounds: args.rounds.max(1),
        sizes,
        dir: args.dir,
        out: args.out.clone(),
        limit: Duration::from_secs(args.limit),
        cgroup: args.cgroup,
    })?;
    report::write(&args.out)
}

fn list() -> Result<()> {
    for spec in adapters::ALL {
        println!("engine    {:<18} {}", spec.name, spec.versions());
    }
    for workload in workloads::ALL {
        println!("workload  {:<18} {}", workload.name, workload.about);
    }
    println!("sizes     {}", serde_json::to_string(&Sizes::default())?);
    println!("--quick   {}", serde_json::to_string(&Sizes::quick())?);
    Ok(())
}

fn child(args: &ChildArgs) -> Result<()> {
    if let Some(cgroup) = &args.cgroup {
        machine::join_cgroup(cgroup)?;
    }
    let workload = workloads::find(&args.workload).context("no such workload")?;
    workloads::run(&context(args)?, &workload)
}

fn context(args: &ChildArgs) -> Result<workloads::Context> {
    Ok(workloads::Context {
        spec: adapters::find(&args.engine).context("no such engine")?,
        dir: args.dir.clone(),
        sizes: serde_json::from_str(&args.sizes)?,
    })
}
