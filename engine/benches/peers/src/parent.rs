//! The parent: who runs when, in a fresh process and a fresh directory, and for how long at most.
//!
//! Engines take turns within each workload, and who is first moves by one each round. A child
//! that crashes or takes too long costs its own rows only: they say what happened.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};

use crate::adapters::Spec;
use crate::machine;
use crate::outcome::{Ending, Head, Line, Record};
use crate::sizes::Sizes;
use crate::workloads::{Work, Workload};

/// The file of the results, in the directory of the report.
pub const RESULTS: &str = "results.jsonl";

/// What is to be run.
pub struct Plan {
    pub engines: Vec<Spec>,
    pub workloads: Vec<Workload>,
    pub rounds: usize,
    pub sizes: Sizes,
    pub dir: PathBuf,
    pub out: PathBuf,
    pub limit: Duration,
    pub cgroup: Option<PathBuf>,
}

/// Runs all of it; each row is in the results file as soon as it is known.
pub fn run(plan: &Plan) -> Result<()> {
    for dir in [&plan.dir, &plan.out] {
        std::fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
    }
    let path = plan.out.join(RESULTS);
    let mut results = File::create(&path).with_context(|| format!("making {}", path.display()))?;
    writeln!(results, "{}", serde_json::to_string(&head(plan))?)?;

    let children = plan.rounds * plan.workloads.len() * plan.engines.len();
    let bar = ProgressBar::new(children as u64);
    bar.set_style(ProgressStyle::with_template(
        "{bar:30} {pos}/{len} {elapsed} of ~{duration}  {msg}",
    )?);
    for round in 0..plan.rounds {
        for workload in &plan.workloads {
            for turn in 0..plan.engines.len() {
                let spec = &plan.engines[(turn + round) % plan.engines.len()];
                bar.set_message(format!("{}, {}", workload.name, spec.name));
                for mut record in one(plan, spec, workload)? {
                    record.round = round + 1;
                    writeln!(results, "{}", serde_json::to_string(&record)?)?;
                }
                bar.inc(1);
            }
        }
    }
    bar.finish_and_clear();
    Ok(())
}

fn head(plan: &Plan) -> Head {
    let cgroup = plan.cgroup.as_deref().map(|dir| {
        // The second is its name in version 1.
        let limits = ["memory.max", "memory.limit_in_bytes"].map(|name| dir.join(name));
        let limit = limits.iter().find_map(|path| std::fs::read_to_string(path).ok());
        limit.map_or_else(|| "no limit was found".to_owned(), |limit| limit.trim().to_owned())
    });
    let machine = machine::describe(&plan.dir);
    Head { machine, sizes: plan.sizes.clone(), rounds: plan.rounds, cgroup }
}

/// Runs one child; returns a record for each row of the workload.
fn one(plan: &Plan, spec: &Spec, workload: &Workload) -> Result<Vec<Record>> {
    let dir = tempfile::Builder::new().prefix("peers-").tempdir_in(&plan.dir)?;
    let told = spawn(plan, spec, workload, dir.path())
        .and_then(|child| listen(child, plan.limit))
        .with_context(|| format!("{} with {}", workload.name, spec.name))?;
    dir.close()?;
    let records = workload.rows().into_iter().map(|row| Record {
        engine: spec.name.to_owned(),
        versions: spec.versions(),
        workload: workload.name.to_owned(),
        row: row.to_owned(),
        round: 0,
        ending: told.rows.get(row).cloned().unwrap_or_else(|| Ending::Failed(told.end.clone())),
        settings: told.settings.clone(),
    });
    Ok(records.collect())
}

fn spawn(plan: &Plan, spec: &Spec, workload: &Workload, dir: &Path) -> Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["child", "--engine", spec.name, "--workload", workload.name]);
    command.arg("--dir").arg(dir);
    command.arg("--sizes").arg(serde_json::to_string(&plan.sizes)?);
    if let (Some(cgroup), Work::Large) = (&plan.cgroup, workload.work) {
        command.arg("--cgroup").arg(cgroup);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(command.spawn()?)
}

/// What a child told, and how it ended.
#[derive(Debug, Default)]
struct Told {
    rows: BTreeMap<String, Ending>,
    settings: BTreeMap<String, String>,
    end: String,
}

impl Told {
    /// A store may be opened several times; what differs is told in the order of the openings.
    fn add_settings(&mut self, settings: BTreeMap<String, String>) {
        for (name, value) in settings {
            let values = self.settings.entry(name).or_default();
            if values.is_empty() {
                *values = value;
            } else if !values.split("; then ").any(|known| known == value) {
                *values = format!("{values}; then {value}");
            }
        }
    }
}

/// Hears a child to its end, or to the end of its time.
fn listen(mut child: Child, limit: Duration) -> Result<Told> {
    let stdout = child.stdout.take().context("no output")?;
    let stderr = child.stderr.take().context("no errors")?;
    let errors = std::thread::spawn(move || tail(stderr));
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(std::io::Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let mut told = Told::default();
    let deadline = Instant::now() + limit;
    let mut is_in_time = hear(&lines, deadline, &mut told);
    // An engine may also hang when everything was told.
    while is_in_time && child.try_wait()?.is_none() {
        std::thread::sleep(Duration::from_millis(2));
        is_in_time = Instant::now() < deadline;
    }
    if !is_in_time {
        // It may have ended just now.
        drop(child.kill());
    }
    let status = child.wait()?;
    let errors = errors.join().unwrap_or_default();
    told.end = if is_in_time {
        format!("the process ended early, {status}: {}", errors.trim())
    } else {
        format!("no end within {} s", limit.as_secs())
    };
    Ok(told)
}

/// Hears lines until there are no more; returns whether that was in time.
fn hear(lines: &Receiver<String>, deadline: Instant, told: &mut Told) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let line = match lines.recv_timeout(left) {
            Ok(line) => line,
            Err(RecvTimeoutError::Disconnected) => return true,
            Err(RecvTimeoutError::Timeout) => return false,
        };
        match serde_json::from_str(&line) {
            Ok(Line::Settings(settings)) => told.add_settings(settings),
            // The first word counts: a workload that fails ends the rows that it did not reach.
            Ok(Line::Row { row, ending }) => {
                told.rows.entry(row).or_insert(ending);
            }
            Ok(Line::Done) => return true,
            // An engine that prints is none of ours.
            Err(_) => {}
        }
    }
}

/// The last of what is read.
fn tail(mut from: impl Read) -> String {
    const BYTES: usize = 600;
    let mut all = Vec::new();
    // What was read before an error is what there is.
    drop(from.read_to_end(&mut all));
    String::from_utf8_lossy(&all[all.len().saturating_sub(BYTES)..]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Figures;

    fn shell(script: &str) -> Child {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    fn row(name: &str, value: f64) -> String {
        let ending = Ending::Measured(Figures::rate(value, "x"));
        serde_json::to_string(&Line::Row { row: name.to_owned(), ending }).unwrap()
    }

    #[test]
    fn what_a_child_told_before_it_crashed_is_kept_and_its_end_is_told() {
        let script = format!("echo '{}'; echo noise; echo bad page >&2; exit 3", row("a", 1.0));
        let told = listen(shell(&script), Duration::from_secs(20)).unwrap();
        assert!(matches!(told.rows["a"], Ending::Measured(_)));
        assert!(told.end.contains("exit status: 3"), "{}", told.end);
        assert!(told.end.contains("bad page"), "{}", told.end);
    }

    #[test]
    fn a_child_that_hangs_is_ended() {
        let start = Instant::now();
        let told = listen(shell("exec sleep 60"), Duration::from_millis(200)).unwrap();
        assert!(start.elapsed() < Duration::from_secs(30));
        assert!(told.end.starts_with("no end within"), "{}", told.end);
    }

    #[test]
    fn a_child_that_hangs_after_its_last_word_is_ended_and_its_rows_are_kept() {
        let done = serde_json::to_string(&Line::Done).unwrap();
        let script = format!("echo '{}'; echo '{done}'; exec sleep 60", row("a", 1.0));
        let start = Instant::now();
        let told = listen(shell(&script), Duration::from_millis(300)).unwrap();
        assert!(start.elapsed() < Duration::from_secs(30));
        assert!(matches!(told.rows["a"], Ending::Measured(_)));
    }

    #[test]
    fn settings_of_several_openings_are_all_kept() {
        let mut told = Told::default();
        for value in ["None", "Immediate", "None"] {
            told.add_settings([("durability".to_owned(), value.to_owned())].into());
        }
        assert_eq!(told.settings["durability"], "None; then Immediate");
    }

    #[test]
    fn the_first_word_about_a_row_counts() {
        let script = format!("echo '{}'; echo '{}'", row("a", 1.0), row("a", 2.0));
        let told = listen(shell(&script), Duration::from_secs(20)).unwrap();
        let Ending::Measured(figures) = &told.rows["a"] else { panic!("{told:?}") };
        assert_eq!(figures.value, 1.0);
    }
}
