//! What is best written ahead of the log's records on a file system: zeros, reserved room, nothing.
//!
//! ```text
//! cargo bench -p runstone --bench preallocation -- DIR...
//! cargo bench -p runstone --bench preallocation -- --fill DIR...   DIR lies on a small volume
//! ```
//!
//! For each directory, and for puts of 100 bytes and of 4 KiB: the three take turns, each with a
//! fresh store below the directory (`--rounds`, 9 by default), and each put of a turn (`--puts`,
//! 400) is timed. A turn counts as its median put; of each round the ratios to the turn without
//! anything ahead are taken, and the medians of the rounds are printed. `--mode batched` or
//! `async` measures whole turns instead, with the close that makes them durable, in microseconds a
//! put. `--fill` puts until the volume is full, and prints how many puts fit.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a benchmark measures with the real clock; it is no part of the engine"
)]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use runstone::{Database, DurabilityMode, NO_TAGS, Options, Preallocation, RunId};

type Tried<T> = Result<T, Box<dyn Error + Send + Sync>>;

const CHOICES: [Preallocation; 3] =
    [Preallocation::Off, Preallocation::Zeros, Preallocation::Reserved];
const VALUE_BYTES: [usize; 2] = [100, 4096];
/// More than a volume of this size is not filled.
const FILL_BYTES_MAX: u64 = 1 << 30;

#[derive(Debug)]
struct Settings {
    dirs: Vec<PathBuf>,
    rounds: usize,
    puts: usize,
    mode: DurabilityMode,
    fills: bool,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Tried<()> {
    let settings = parse()?;
    println!("dir, file system, Auto; bytes: nothing, zeros (ratio), reserved (ratio)");
    for dir in &settings.dirs {
        let (first, store) = open(dir, Preallocation::Auto, &settings, "look")?;
        let report = first.recovery_report();
        println!("{}, {}, {:?}", dir.display(), report.file_system, report.preallocation);
        drop(first);
        remove(&store)?;
        for bytes in VALUE_BYTES {
            let line = match settings.fills {
                true => filled(dir, bytes, &settings)?,
                false => timed(dir, bytes, &settings)?,
            };
            println!("  {bytes}: {line}");
        }
    }
    Ok(())
}

fn parse() -> Tried<Settings> {
    let mut settings = Settings {
        dirs: Vec::new(),
        rounds: 1,
        puts: 8,
        mode: DurabilityMode::Strict,
        fills: false,
    };
    let (mut rounds, mut puts) = (None, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            // Otherwise it is a test that everything runs.
            "--bench" => (settings.rounds, settings.puts) = (9, 400),
            "--rounds" => rounds = Some(value()?.parse()?),
            "--puts" => puts = Some(value()?.parse()?),
            "--fill" => settings.fills = true,
            "--mode" => {
                settings.mode = match value()?.as_str() {
                    "strict" => DurabilityMode::Strict,
                    "batched" => DurabilityMode::Batched { interval_ms: 100, batch_size: 1024 },
                    "async" => DurabilityMode::Async { interval_ms: 100 },
                    other => return Err(format!("no mode is called {other}").into()),
                }
            }
            other if other.starts_with("--") => {
                return Err(format!("unknown option {other}").into());
            }
            _ => settings.dirs.push(argument.into()),
        }
    }
    settings.rounds = rounds.unwrap_or(settings.rounds).max(1);
    settings.puts = puts.unwrap_or(settings.puts).max(1);
    if settings.dirs.is_empty() {
        settings.dirs.push(env!("CARGO_TARGET_TMPDIR").into());
    }
    Ok(settings)
}

/// A new store with one run, and its directory.
fn open(
    dir: &Path,
    preallocation: Preallocation,
    settings: &Settings,
    name: &str,
) -> Tried<(Database, PathBuf)> {
    let store = dir.join(format!("runstone-preallocation-{name}-{}", std::process::id()));
    let options = Options { durability: settings.mode, preallocation, ..Options::default() };
    let db = Database::builder().options(options).open(&store)?;
    db.begin_run(run_id(), NO_TAGS)?;
    Ok((db, store))
}

/// A file system in user space may hold a closed file for a moment longer.
fn remove(store: &Path) -> Tried<()> {
    for _ in 0..100 {
        if std::fs::remove_dir_all(store).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(std::fs::remove_dir_all(store)?)
}

fn run_id() -> RunId {
    RunId::from_bytes([7; 16])
}

/// A turn: microseconds a put.
fn turn(dir: &Path, choice: Preallocation, bytes: usize, settings: &Settings) -> Tried<f64> {
    let (db, store) = open(dir, choice, settings, "turn")?;
    let value = vec![0xa5_u8; bytes];
    let mut times = Vec::with_capacity(settings.puts);
    let start = Instant::now();
    for n in 0..settings.puts {
        let begin = Instant::now();
        db.put(run_id(), format!("{n:016}"), value.as_slice())?;
        times.push(begin.elapsed().as_secs_f64() * 1e6);
    }
    db.close()?;
    let whole = start.elapsed().as_secs_f64() * 1e6;
    remove(&store)?;
    Ok(match settings.mode {
        DurabilityMode::Strict => median(&mut times),
        _ => whole / settings.puts as f64,
    })
}

fn timed(dir: &Path, bytes: usize, settings: &Settings) -> Tried<String> {
    let (mut times, mut ratios) = (CHOICES.map(|_| Vec::new()), CHOICES.map(|_| Vec::new()));
    for round in 0..settings.rounds {
        let mut of_round = CHOICES.map(|_| f64::NAN);
        // Each of them is first, second and last in turn.
        for at in 0..CHOICES.len() {
            let at = (at + round) % CHOICES.len();
            if let (Some(choice), Some(time)) = (CHOICES.get(at), of_round.get_mut(at)) {
                *time = turn(dir, *choice, bytes, settings)?;
            }
        }
        for ((time, times), ratios) in of_round.iter().zip(&mut times).zip(&mut ratios) {
            times.push(*time);
            ratios.push(time / of_round[0]);
        }
    }
    let columns =
        times.iter_mut().zip(&mut ratios).enumerate().map(|(at, (times, ratios))| match at {
            0 => format!("{:.0} us", median(times)),
            _ => {
                let (ratio, least, most) = (median(ratios), ratios.first(), ratios.last());
                let (least, most) = (least.unwrap_or(&ratio), most.unwrap_or(&ratio));
                format!("{:.0} us ({ratio:.2}: {least:.2} .. {most:.2})", median(times))
            }
        });
    Ok(columns.collect::<Vec<_>>().join(", "))
}

/// How many puts fit, each store alone on the volume.
fn filled(dir: &Path, bytes: usize, settings: &Settings) -> Tried<String> {
    let mut columns = Vec::new();
    for choice in CHOICES {
        let (db, store) = open(dir, choice, settings, "fill")?;
        let value = vec![0xa5_u8; bytes];
        let mut fit = 0_u64;
        loop {
            match db.put(run_id(), format!("{fit:016}"), value.as_slice()) {
                Ok(_) => fit += 1,
                Err(runstone::Error::DiskFull { .. }) => break,
                Err(error) => return Err(error.into()),
            }
            if fit.saturating_mul(bytes as u64) > FILL_BYTES_MAX {
                return Err("the volume holds more than 1 GiB: name a small one".into());
            }
        }
        drop(db);
        remove(&store)?;
        columns.push(fit.to_string());
    }
    Ok(columns.join(", "))
}

/// Sorts them.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
