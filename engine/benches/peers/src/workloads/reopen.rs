//! Opening again: after a kill, and after a close.
//!
//! A process of its own loads the store, syncs, says so and waits; it is killed there. So all
//! that the store held in memory is gone, and what it had handed to the operating system is not.

use std::io::{BufRead, BufReader, Read, stdin};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Signal, set_parent_process_death_signal};

use super::{Context, Workload, check, load};
use crate::data::{Keys, Order, value};
use crate::engine::{Engine, Level};
use crate::machine::status_bytes;
use crate::outcome::{Ending, Figures, Line};

/// The rows.
pub const ROWS: &[&str] = &["reopen-kill", "reopen-clean"];

fn keys(context: &Context) -> Keys {
    Keys::new(context.sizes.reopen_keys, context.sizes.per_run, Order::Random)
}

/// Measures both openings.
pub fn reopen(context: &Context, workload: &Workload) -> Result<()> {
    // An engine that keeps nothing says so at once.
    context.open_at(&context.dir.join("probe"), Level::Sync, 1, false)?.close()?;
    let mut loader = spawn(context, workload)?;
    let is_ready = wait_until_ready(context, &mut loader);
    loader.kill().context("killing the process that loaded")?;
    loader.wait()?;
    is_ready?;

    let (engine, after_kill) = open(context)?;
    context.row(ROWS[0], Ok(figures(after_kill)?))?;
    let keys = keys(context);
    check(&mut *engine.session()?, &keys, keys.count(), 0)?;
    engine.close()?;

    let (engine, after_close) = open(context)?;
    context.row(ROWS[1], Ok(figures(after_close)?))?;
    engine.close()
}

fn figures(time: Duration) -> Result<Figures> {
    let peak = status_bytes("VmHWM:")? as f64;
    Ok(Figures::cost(time.as_secs_f64(), "s").also("peak resident bytes", peak))
}

/// Opens, up to the first get that finds the right value.
fn open(context: &Context) -> Result<(Box<dyn Engine>, Duration)> {
    let keys = keys(context);
    // The last that was put: whatever is replayed must be replayed up to there.
    let key = keys.at(keys.count() - 1);
    let start = Instant::now();
    let engine = context.open(Level::Sync, 1)?;
    let mut is_right = false;
    let is_there = engine.session()?.get(&key, &mut |found| is_right = found == value(&key, 0))?;
    let time = start.elapsed();
    ensure!(is_there && is_right, "wrong data: the key that was put last");
    Ok((engine, time))
}

fn spawn(context: &Context, workload: &Workload) -> Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["loader", "--engine", context.spec.name, "--workload", workload.name]);
    command.arg("--dir").arg(Path::new(&context.dir));
    command.arg("--sizes").arg(serde_json::to_string(&context.sizes)?);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    Ok(command.spawn()?)
}

fn wait_until_ready(context: &Context, loader: &mut Child) -> Result<()> {
    let stdout = loader.stdout.take().context("no output")?;
    for line in BufReader::new(stdout).lines() {
        match serde_json::from_str(&line?) {
            Ok(Line::Done) => return Ok(()),
            Ok(settings @ Line::Settings(_)) => context.tell(&settings)?,
            Ok(Line::Row { ending: Ending::Failed(how), .. }) => bail!("loading: {how}"),
            _ => {}
        }
    }
    bail!("the process that loads ended early")
}

/// What the process does that is killed.
pub fn loader(context: &Context) -> Result<()> {
    // A loader whose parent was ended for its time is ended too.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let loaded = context.open(Level::Memory, 1).and_then(|engine| {
        load(&*engine, &keys(context))?;
        engine.sync()?;
        Ok(engine)
    });
    let _engine = match loaded {
        Ok(engine) => engine,
        Err(error) => return context.row("loader", Err(error)),
    };
    context.tell(&Line::Done)?;
    // It is killed here.
    stdin().read_to_end(&mut Vec::new())?;
    bail!("the process that kills is gone")
}
