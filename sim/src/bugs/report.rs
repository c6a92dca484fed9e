//! The figures of the searches, as Markdown and as JSON.
//!
//! Invariant: the same searches give the same text.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::register::{ROWS, Row, Standing};
use super::{Found, Plan, Search};
use crate::harness::weak::Weak;

/// The value below or at which `percent` of them lie (nearest rank); 0 of none.
fn percentile<T: Copy + PartialOrd + Default>(values: &[T], percent: usize) -> T {
    let mut sorted = values.to_vec();
    sorted.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

fn seeds(searches: &[Search]) -> Vec<u64> {
    searches.iter().map(|search| search.seeds).collect()
}

fn caught(searches: &[Search]) -> usize {
    searches.iter().filter(|search| search.caught.is_some()).count()
}

/// The most frequent ones first, each with how often; at most three, then how many more.
fn frequent(names: impl Iterator<Item = String>) -> String {
    let mut counts = BTreeMap::<String, u64>::new();
    names.for_each(|name| *counts.entry(name).or_default() += 1);
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let rest: u64 = counts.iter().skip(3).map(|(_, times)| times).sum();
    let mut parts: Vec<_> =
        counts.iter().take(3).map(|(name, times)| format!("{name} {times}")).collect();
    if rest > 0 {
        parts.push(format!("others {rest}"));
    }
    parts.join(", ")
}

fn origin(found: &Found) -> String {
    let rows: Vec<_> = ROWS.iter().filter(|row| row.standing.bug() == found.bug).collect();
    match rows.as_slice() {
        [] => "own".to_owned(),
        rows => rows.iter().map(|row| row.source).collect::<Vec<_>>().join("; "),
    }
}

/// One line for each bug: caught or not; what a snapshot holds.
pub fn verdicts(found: &[Found]) -> String {
    let mut out = String::new();
    for found in found {
        let verdict = if found.is_caught() { "caught" } else { "NOT CAUGHT" };
        let _infallible = writeln!(out, "{} {:?}: {verdict}", found.bug.id(), found.bug);
    }
    for row in ROWS {
        let line = match row.standing {
            Standing::Planted(_) => continue,
            Standing::Waiting(what, bug) => {
                format!("{} waits for {what}; {bug:?} stands in", row.id)
            }
            Standing::Impossible(why, bug) => {
                format!("{} cannot exist: {why}; {bug:?} stands in", row.id)
            }
        };
        let _infallible = writeln!(out, "{line}");
    }
    out
}

/// The tables, as they stand in the docs.
pub fn markdown(found: &[Found], plan: &Plan) -> String {
    let mut out = String::new();
    let total = found.len();
    let all = found.iter().filter(|found| found.is_caught()).count();
    let cpu: f64 = found.iter().flat_map(|found| &found.searches).map(|s| s.cpu_seconds).sum();
    let _infallible = write!(
        out,
        "{all} of {total} bugs are caught by each of {} searches of at most {} seeds; \
         the searches took {cpu:.0} s of processor time.\n\n",
        plan.searches, plan.seeds_max
    );
    out.push_str(
        "| Id | Bug | Caught | Seeds: median | 95 % | CPU s: median | 95 % | First broken | \
         After which crash | Shrunk: operations, faults |\n\
         |---|---|---:|---:|---:|---:|---:|---|---|---:|\n",
    );
    for one in found {
        let searches = &one.searches;
        let seconds: Vec<f64> = searches.iter().map(|search| search.cpu_seconds).collect();
        let how = || searches.iter().filter_map(|search| search.caught.as_ref());
        let least = one
            .least
            .as_ref()
            .map_or("-".to_owned(), |least| format!("{}, {}", least.ops, least.faults));
        let _infallible = writeln!(
            out,
            "| {} | `{:?}` | {} of {} | {} | {} | {:.3} | {:.3} | {} | {} | {least} |",
            one.bug.id(),
            one.bug,
            caught(searches),
            searches.len(),
            percentile(&seeds(searches), 50),
            percentile(&seeds(searches), 95),
            percentile(&seconds, 50),
            percentile(&seconds, 95),
            frequent(how().map(|caught| caught.clause.to_owned())),
            frequent(how().map(|caught| caught.crash.clone())),
        );
    }
    weaker(&mut out, found, plan);
    what(&mut out, found);
    standings(&mut out);
    out
}

fn weaker(out: &mut String, found: &[Found], plan: &Plan) {
    if plan.weak_searches == 0 {
        return;
    }
    let _infallible = write!(
        out,
        "\n### Weaker harnesses\n\nMedian seeds of {} searches of at most {} seeds each, and \
         how many of them caught it. `never`: none did.\n\n| Id | Bug | this one |",
        plan.weak_searches, plan.weak_seeds_max
    );
    for weak in Weak::ALL {
        let _infallible = write!(out, " {} |", weak.name());
    }
    let _infallible = writeln!(out, "\n|---|---|---:|{}", "---:|".repeat(Weak::ALL.len()));
    let mut never = [0_usize; Weak::ALL.len()];
    for one in found {
        let ours = percentile(&seeds(&one.searches), 50);
        let _infallible = write!(out, "| {} | `{:?}` | {ours} |", one.bug.id(), one.bug);
        for ((_, searches), never) in one.weak.iter().zip(&mut never) {
            let times = caught(searches);
            *never += usize::from(times == 0);
            let cell = match times {
                0 => "never".to_owned(),
                _ if times == searches.len() => percentile(&seeds(searches), 50).to_string(),
                _ => {
                    format!("{} ({times} of {})", percentile(&seeds(searches), 50), searches.len())
                }
            };
            let _infallible = write!(out, " {cell} |");
        }
        out.push('\n');
    }
    let ours = found.iter().filter(|one| caught(&one.searches) == 0).count();
    let _infallible = write!(out, "| | never caught | {ours} |");
    for never in never {
        let _infallible = write!(out, " {never} |");
    }
    out.push('\n');
}

fn what(out: &mut String, found: &[Found]) {
    out.push_str("\n### What each does\n\n| Id | Bug | What the engine does wrong | Had by |\n");
    out.push_str("|---|---|---|---|\n");
    for one in found {
        let (id, what) = (one.bug.id(), one.bug.what());
        let _infallible = writeln!(out, "| {id} | `{:?}` | {what} | {} |", one.bug, origin(one));
    }
}

fn standings(out: &mut String) {
    out.push_str("\n### Real bugs that are not planted as they were\n\n");
    out.push_str("| Id | Real bug | Had by | Why | Stands in |\n|---|---|---|---|---|\n");
    for Row { id, title, source, standing } in ROWS {
        let (why, bug) = match standing {
            Standing::Planted(_) => continue,
            Standing::Waiting(what, bug) => (format!("waits for {what}"), bug),
            Standing::Impossible(why, bug) => (format!("cannot exist: {why}"), bug),
        };
        let (by, name) = (bug.id(), bug);
        let _infallible = writeln!(out, "| {id} | {title} | {source} | {why} | {by} `{name:?}` |");
    }
}

/// Everything, for machines.
pub fn json(found: &[Found], plan: &Plan) -> Value {
    let one = |found: &Found| {
        let weak: BTreeMap<_, _> =
            found.weak.iter().map(|(weak, searches)| (weak.name(), json!(searches))).collect();
        json!({
            "id": found.bug.id(),
            "bug": format!("{:?}", found.bug),
            "caught": found.is_caught(),
            "searches": found.searches,
            "weaker": weak,
            "least": found.least,
        })
    };
    json!({
        "seeds_max": plan.seeds_max,
        "weak_seeds_max": plan.weak_seeds_max,
        "bugs": found.iter().map(one).collect::<Vec<_>>(),
    })
}
