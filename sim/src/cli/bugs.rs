//! `bugs`: how soon each planted bug is caught, by this harness and by weaker ones.
#![allow(clippy::disallowed_methods)] // the shell of the simulator: threads and a clock

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Args;
use runstone::planted::Bug;
use runstone_sim::bugs::{Found, Plan, find, report};

use super::{CommandResult, numbers, plant, write};

/// What stands before and behind the tables in a page.
const BEGIN: &str = "<!-- begin: runstone-sim bugs -->\n";
const END: &str = "<!-- end: runstone-sim bugs -->";

#[derive(Debug, Args)]
pub(crate) struct BugsArgs {
    /// Independent searches for each bug
    #[arg(long, value_name = "N", value_parser = numbers::searches(1))]
    searches: Option<u64>,
    /// Searches of each weaker harness
    #[arg(long, value_name = "N", value_parser = numbers::searches(0))]
    weak_searches: Option<u64>,
    /// Few searches, no weaker harness, nothing shrunk
    #[arg(long)]
    quick: bool,
    /// Only these bugs, by id or name; all by default
    #[arg(long = "bug", value_name = "BUG", value_parser = plant::bug)]
    bugs: Vec<Bug>,
    /// How many threads search
    #[arg(long, value_name = "N", value_parser = numbers::threads())]
    threads: Option<usize>,
    /// Puts the tables into this page, between their marks
    #[arg(long, value_name = "FILE")]
    page: Option<PathBuf>,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

/// What stands in a page before the tables, and behind them.
fn around_tables(page: &Path) -> Result<(String, String), String> {
    // A page of the person at the screen, no file of a store.
    let text = std::fs::read_to_string(page)
        .map_err(|e| format!("reading {} failed: {e}", page.display()))?;
    match (text.split_once(BEGIN), text.split_once(END)) {
        (Some((before, _)), Some((_, after))) => Ok((before.to_owned(), after.to_owned())),
        _ => Err(format!("{} has no marks {BEGIN}and {END}", page.display())),
    }
}

pub(crate) fn run(args: &BugsArgs) -> CommandResult {
    // Tried before the work, which takes hours.
    args.page.as_deref().map(around_tables).transpose()?;
    let mut plan = if args.quick { Plan::QUICK } else { Plan::FULL };
    plan.searches = args.searches.unwrap_or(plan.searches);
    plan.weak_searches = args.weak_searches.unwrap_or(plan.weak_searches);
    let bugs = if args.bugs.is_empty() { Bug::ALL.to_vec() } else { args.bugs.clone() };
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::<Found>::new()));
    let work = || {
        while let Some(bug) = bugs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let found = find(*bug, &plan, &thread_time);
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            done.push(found);
            eprintln!("{} of {}: {}", done.len(), bugs.len(), bug.id());
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..super::long::threads(args.threads) {
            scope.spawn(work);
        }
    });
    let mut found = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort_by_key(|found| found.bug);
    let tables = report::markdown(&found, &plan);
    if let Some(page) = &args.page {
        let (before, after) = around_tables(page)?;
        write(page, &format!("{before}{BEGIN}{tables}{END}{after}"))?;
    }
    match args.json {
        true => out!("{}", report::json(&found, &plan)),
        false => out!("{}", tables.trim_end()),
    }
    let all = found.iter().all(Found::is_caught);
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The processor time of this thread, where the system tells it; else the time that passed. For
/// the table only: no search depends on it.
fn thread_time() -> Duration {
    thread_local! {
        static START: Instant = Instant::now();
    }
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = told.and_then(|line| line.split(' ').next()?.parse().ok());
    nanos.map_or_else(|| START.with(Instant::elapsed), Duration::from_nanos)
}
