//! The page of one seed: what is put into it.
//!
//! The trace is a list of lines; here each gets its kind, and each moment of the disk the line
//! that it belongs to. The images travel as changes, in hexadecimal.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use runstone_sim::disk::{Moment, MomentAt};
use runstone_sim::harness::World;
use runstone_sim::harness::recorded::{Recorded, run_recorded};
use serde_json::{Value, json};

use crate::cli::{CaseArgs, Loaded};

/// The page, and whether the case fails. `asked` is how the caller named it.
pub(super) fn page(asked: &CaseArgs, loaded: &Loaded) -> Result<(String, bool), String> {
    let Loaded { case, plant } = loaded;
    let command = |command| plant.command(command, asked.name(), asked.world.map(World::name));
    plant.plant();
    let Recorded { outcome, moments } = run_recorded(case);
    let events = events(&outcome.trace);
    let (files, steps) = steps(&events, &moments);
    let failure = outcome.failure.as_ref().map(
        |failure| json!({ "clause": failure.clause, "op": failure.op, "message": failure.message }),
    );
    let faults: Vec<_> = outcome.injected.iter().map(|hit| (hit.call, &hit.fault)).collect();
    let mut knobs = serde_json::to_value(case).map_err(|e| e.to_string())?;
    if let Some(fields) = knobs.as_object_mut() {
        fields.remove("ops");
    }
    let data = json!({
        "seed": case.seed,
        "world": case.world.name(),
        "planted": plant.name(),
        "digest": format!("{:016x}", outcome.digest),
        "replay": command("replay"),
        "shrink": command("shrink"),
        "failure": failure,
        "openings": outcome.openings,
        "refusals": outcome.refusals,
        "faults": faults,
        "case": knobs,
        "events": events,
        "files": files,
        "steps": steps,
    });
    let title = match &outcome.failure {
        Some(failure) => format!("Seed {}: breach of {}", case.seed, failure.clause),
        None => format!("Seed {}: no breach", case.seed),
    };
    let page = super::page(&title, include_str!("seed.html"), include_str!("seed.js"), &data);
    Ok((page, outcome.failure.is_some()))
}

/// One line of the trace: its kind, its number (of an operation or a call), and its text.
type Event = (&'static str, Option<u64>, String);

fn events(trace: &[String]) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::with_capacity(trace.len());
    for line in trace {
        if let Some((number, text)) = line.strip_prefix('[').and_then(|rest| rest.split_once("] "))
        {
            events.push(("op", number.parse().ok(), text.to_owned()));
            continue;
        }
        let text = line.trim_start();
        if let Some((number, text)) = text.strip_prefix('#').and_then(|rest| rest.split_once(' ')) {
            let call = ("call", number.parse().ok(), text.to_owned());
            // The call that a crash interrupted is traced after it; it began before.
            match events.iter().rposition(|event| event.0 == "strike") {
                Some(at) if text.ends_with("error: simulated crash") => events.insert(at, call),
                _ => events.push(call),
            }
        } else if text.starts_with("power cut") || text.starts_with("process killed") {
            let head = text.lines().next().unwrap_or_default();
            events.push(("strike", None, head.to_owned()));
            events.push(("crash", None, text.to_owned()));
        } else {
            let kind = match text {
                "restart" => "restart",
                _ if text.starts_with("= ") => "result",
                _ if text.starts_with("opened: ") => "opened",
                _ => "note",
            };
            events.push((kind, None, text.to_owned()));
        }
    }
    events
}

/// The names of the files, and for each moment the event that it belongs to and the changes:
/// file, 1 for the durable image, new size or null, and the new bytes by offset.
fn steps(events: &[Event], moments: &[Moment]) -> (Vec<PathBuf>, Vec<Value>) {
    let calls: BTreeMap<u64, usize> = events
        .iter()
        .enumerate()
        .filter(|(_, event)| event.0 == "call")
        .filter_map(|(at, event)| event.1.map(|number| (number, at)))
        .collect();
    let mut files: BTreeMap<&Path, usize> = BTreeMap::new();
    let mut steps = Vec::with_capacity(moments.len());
    let mut here = 0;
    for moment in moments {
        let next = |kind: &str| {
            let later = events.iter().skip(here + 1).position(|event| event.0 == kind);
            later.map_or(here, |ahead| here + 1 + ahead)
        };
        here = match moment.at {
            MomentAt::Call(number) => calls.get(&number).copied().unwrap_or(here).max(here),
            MomentAt::CrashBegins => next("strike"),
            MomentAt::CrashEnds => next("crash"),
            MomentAt::Restart => next("restart"),
        };
        let changes: Vec<Value> = moment
            .changes
            .iter()
            .map(|change| {
                let known = files.len();
                let file = *files.entry(&change.path).or_insert(known);
                let patches: Vec<_> =
                    change.patches.iter().map(|(pos, bytes)| (pos, hex(bytes))).collect();
                json!([file, u8::from(change.durable), change.len, patches])
            })
            .collect();
        steps.push(json!([here, changes]));
    }
    let mut names = vec![PathBuf::new(); files.len()];
    for (path, at) in files {
        if let Some(name) = names.get_mut(at) {
            *name = path.to_owned();
        }
    }
    (names, steps)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
