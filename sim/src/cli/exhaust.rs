//! `exhaust`: every small workload, every crash point, every legal disk state, on all cores; or all
//! rot of a small store; or every fault at every call.
//!
//! Which workloads there are, and what each comes to, depends on the bounds alone; threads only
//! share the workloads out. A breach stops the search, with the first one by order of workload.
#![allow(clippy::disallowed_methods)] // the shell of the simulator: threads, a clock, a bar

mod faults;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use clap::Args;
use runstone_sim::exhaust::rot::{Answer, Kind, Rest, RotStore};
use runstone_sim::exhaust::{
    Bounds, Breach, Letter, Report, Setting, Workload, explore, workloads,
};

use super::long::{Ending, bar, threads};
use super::plant::Plant;
use super::{CommandResult, numbers, verdict};

#[derive(Debug, Args)]
pub(crate) struct ExhaustArgs {
    /// The longest workloads, in operations; 3 in the setting batched and 2 in the others by
    /// default
    #[arg(long, value_name = "N", value_parser = numbers::exhaust_ops())]
    ops: Option<usize>,
    /// Only these settings of the engine: batched, async, strict, padded, rotating, preallocated,
    /// flushing
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = setting)]
    settings: Vec<Setting>,
    /// How many crashes follow one another, each inside the recovery from the one before
    #[arg(long, default_value_t = 2, value_parser = numbers::exhaust_depth())]
    depth: usize,
    /// Workloads of fewer operations than this are explored one crash deeper
    #[arg(long, value_name = "N", default_value_t = 1)]
    deeper: usize,
    /// The most states of one crash point; what is beyond is counted as cut off
    #[arg(long, value_name = "N", default_value_t = 1 << 20)]
    #[arg(value_parser = numbers::at_least_one())]
    states: usize,
    /// The slice for every CI run: workloads of one operation less, and none deeper
    #[arg(long, conflicts_with_all = ["ops", "deeper"])]
    quick: bool,
    /// Prunes nothing: for comparison, on the smallest workloads
    #[arg(long)]
    brute_force: bool,
    /// All damage to a small store at rest, instead of crashes
    #[arg(long, conflicts_with_all = ["ops", "settings", "quick", "brute_force"])]
    rot: bool,
    /// Every single fault at every call of small workloads, instead of crashes
    #[arg(long, conflicts_with_all = ["ops", "settings", "deeper", "brute_force", "rot"])]
    faults: bool,
    /// With --faults, where the case of a breach is written; fault-breach.json by default. A file
    /// that is no saved case is not replaced
    #[arg(long, value_name = "FILE", requires = "faults")]
    out: Option<PathBuf>,
    /// How many threads; all cores by default
    #[arg(long, value_parser = numbers::threads())]
    threads: Option<usize>,
    /// Prints JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    plant: Plant,
}

fn setting(name: &str) -> Result<Setting, String> {
    Setting::ALL.into_iter().find(|setting| setting.name() == name).ok_or_else(|| {
        let names: Vec<_> = Setting::ALL.into_iter().map(Setting::name).collect();
        format!("no setting is named {name:?}; there are {}", names.join(", "))
    })
}

impl ExhaustArgs {
    fn bounds(&self) -> Bounds {
        Bounds {
            depth: self.depth,
            deeper_below: if self.quick { 0 } else { self.deeper },
            states_max: self.states,
            brute_force: self.brute_force,
        }
    }

    /// The settings, and the longest workloads of each.
    fn plan(&self) -> Vec<(Setting, usize)> {
        let all = Setting::ALL.into_iter();
        let asked = |setting: &Setting| self.settings.is_empty() || self.settings.contains(setting);
        let ops = |setting| {
            let most = if setting == Setting::Batched { 3 } else { 2 };
            self.ops.unwrap_or(if self.quick { most - 1 } else { most })
        };
        all.filter(asked).map(|setting| (setting, ops(setting))).collect()
    }
}

/// Shares work out among threads, in order; `true` of the work stops all of them. Says
/// whether Ctrl-C did.
fn share(
    args: &ExhaustArgs,
    count: usize,
    unit: &str,
    work: impl Fn(usize) -> bool + Sync,
) -> Result<bool, String> {
    let ending = Ending::by_ctrl_c()?;
    let template = format!("{{wide_bar}} {{pos}}/{{len}} {unit}, {{eta}} left");
    let bar = bar(Some(count as u64), &template, args.json);
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads(args.threads) {
            scope.spawn(|| {
                args.plant.plant();
                while !ending.is_stopped() {
                    let nth = next.fetch_add(1, Ordering::Relaxed);
                    if nth >= count {
                        return;
                    }
                    if work(nth) {
                        ending.stop();
                    }
                    bar.inc(1);
                }
            });
        }
    });
    bar.finish_and_clear();
    Ok(ending.was_asked_for())
}

pub(crate) fn run(args: &ExhaustArgs) -> CommandResult {
    match (args.rot, args.faults) {
        (true, _) => rot(args),
        (false, true) => faults::run(args),
        (false, false) => crashes(args),
    }
}

fn crashes(args: &ExhaustArgs) -> CommandResult {
    // For the line that says how long it took.
    let start = Instant::now();
    let bounds = args.bounds();
    let plan = args.plan();
    let all: Vec<Workload> =
        plan.iter().flat_map(|(setting, ops)| workloads(*setting, *ops)).collect();
    if !args.json {
        print_bounds(&plan, &bounds);
    }
    let total = Mutex::new((Report::default(), BTreeMap::<usize, Breach>::new()));
    let interrupted = share(args, all.len(), "workloads", |nth| {
        let Some(workload) = all.get(nth) else { return true };
        let mut report = explore(workload, &bounds);
        report.distinct();
        let breach = report.breach.take();
        let broken = breach.is_some();
        let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
        total.0.add(report);
        total.1.extend(breach.map(|breach| (nth, breach)));
        broken
    })?;
    let (mut report, breaches) = total.into_inner().unwrap_or_else(PoisonError::into_inner);
    let distinct = report.distinct();
    let seconds = start.elapsed().as_secs_f64();
    let first = breaches.into_values().next();
    if args.json {
        print_json(&report, distinct, seconds, first.as_ref(), interrupted);
    } else {
        print_text(&report, distinct, seconds, first.as_ref(), interrupted);
    }
    Ok(verdict(first.is_some(), interrupted))
}

fn print_bounds(plan: &[(Setting, usize)], bounds: &Bounds) {
    let plan: Vec<String> =
        plan.iter().map(|(setting, ops)| format!("{} {ops}", setting.name())).collect();
    out!("alphabet: {:?}", Letter::ALL);
    out!("operations, at most: {}", plan.join(", "));
    out!(
        "crashes after one another: {}, and {} for workloads of fewer than {} operations",
        bounds.depth,
        bounds.depth + 1,
        bounds.deeper_below
    );
    out!("states of one crash point, at most: {}", bounds.states_max);
}

fn print_text(
    report: &Report,
    distinct: (u64, u64),
    seconds: f64,
    breach: Option<&Breach>,
    interrupted: bool,
) {
    if interrupted {
        out!("interrupted; what was done so far:");
    }
    out!("{} workloads in {seconds:.1} s", report.workloads);
    for (level, tally) in (1..).zip(&report.levels) {
        out!("crash {level}:");
        out!("  crash points             {}", tally.points);
        out!("  of them known            {}", tally.known);
        out!("  choices                  {}", tally.choices);
        out!("  different disk states    {}", tally.states);
        out!("  recoveries checked       {}", tally.recoveries);
        out!("  calls in recoveries      {}", tally.calls);
        out!("  points cut off           {}", tally.cut_off);
    }
    let recoveries: u64 = report.levels.iter().map(|tally| tally.recoveries).sum();
    let (states, seen) = distinct;
    out!("{recoveries} crash states of crash points, each recovered and checked");
    out!("{states} different disk states, of which recoveries saw {seen} different pictures");
    match breach {
        None if interrupted => out!("no breach of the contract so far"),
        None => out!("no breach of the contract"),
        Some(breach) => out!("\n{breach}"),
    }
}

fn print_json(
    report: &Report,
    distinct: (u64, u64),
    seconds: f64,
    breach: Option<&Breach>,
    interrupted: bool,
) {
    let level = |tally: &runstone_sim::exhaust::Tally| {
        serde_json::json!({
            "points": tally.points,
            "known": tally.known,
            // Numbers of JSON have no 128 bits.
            "choices": tally.choices.to_string(),
            "states": tally.states.to_string(),
            "recoveries": tally.recoveries,
            "calls": tally.calls,
            "cut_off": tally.cut_off,
        })
    };
    out!(
        "{}",
        serde_json::json!({
            "interrupted": interrupted,
            "seconds": seconds,
            "workloads": report.workloads,
            "levels": report.levels.iter().map(level).collect::<Vec<_>>(),
            "distinct_states": distinct.0,
            "distinct_seen": distinct.1,
            "breach": breach.map(|breach| serde_json::json!({
                "clause": breach.clause,
                "workload": breach.workload,
                "message": breach.message,
                "path": breach.path,
            })),
        })
    );
}

fn rot(args: &ExhaustArgs) -> CommandResult {
    // For the line that says how long it took.
    let start = Instant::now();
    let mut counts: BTreeMap<(String, &'static str), BTreeMap<Answer, u64>> = BTreeMap::new();
    let mut stores = vec![];
    let mut all = vec![];
    for (kind, rest) in Kind::ALL.into_iter().flat_map(|kind| Rest::ALL.map(|rest| (kind, rest))) {
        let store = RotStore::new(rest, kind).map_err(|breach| breach.to_string())?;
        all.extend(store.damages().into_iter().map(|damage| (stores.len(), damage)));
        stores.push((format!("{kind:?} {rest:?}"), store));
    }
    let total = Mutex::new((&mut counts, BTreeMap::<usize, Breach>::new()));
    let interrupted = share(args, all.len(), "damages", |nth| {
        let Some((at, damage)) = all.get(nth) else { return true };
        let Some((name, store)) = stores.get(*at) else { return true };
        let judged = store.judge(damage);
        let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
        match judged {
            Ok(answer) => {
                let key = (name.clone(), damage.kind());
                *total.0.entry(key).or_default().entry(answer).or_default() += 1;
                false
            }
            Err(breach) => {
                total.1.insert(nth, breach);
                true
            }
        }
    })?;
    let (_, breaches) = total.into_inner().unwrap_or_else(PoisonError::into_inner);
    let first = breaches.into_values().next();
    let seconds = start.elapsed().as_secs_f64();
    if args.json {
        let rows: Vec<_> = counts
            .iter()
            .map(|((rest, kind), answers)| {
                let answers: BTreeMap<String, u64> =
                    answers.iter().map(|(answer, n)| (format!("{answer:?}"), *n)).collect();
                serde_json::json!({ "store": rest, "damage": kind, "answers": answers })
            })
            .collect();
        let breach = first.as_ref().map(ToString::to_string);
        out!(
            "{}",
            serde_json::json!({
                "interrupted": interrupted, "seconds": seconds, "rot": rows, "breach": breach,
            })
        );
    } else {
        print_rot(&stores, &counts, seconds, interrupted);
        match &first {
            None if interrupted => out!("no breach of the contract so far"),
            None => out!("no breach of the contract"),
            Some(breach) => out!("\n{breach}"),
        }
    }
    Ok(verdict(first.is_some(), interrupted))
}

fn print_rot(
    stores: &[(String, RotStore)],
    counts: &BTreeMap<(String, &'static str), BTreeMap<Answer, u64>>,
    seconds: f64,
    interrupted: bool,
) {
    if interrupted {
        out!("interrupted; what was done so far:");
    }
    let damages: u64 = counts.values().flat_map(BTreeMap::values).sum();
    out!("{damages} damages in {seconds:.1} s");
    for (name, store) in stores {
        let files: Vec<String> =
            store.files().iter().map(|(name, bytes)| format!("{name} {bytes}")).collect();
        out!("{name}: {}", files.join(", "));
        for ((_, kind), answers) in counts.iter().filter(|((of, _), _)| of == name) {
            let answers: Vec<String> =
                answers.iter().map(|(answer, n)| format!("{n} {answer:?}")).collect();
            out!("  {kind:<24} {}", answers.join(", "));
        }
    }
}
