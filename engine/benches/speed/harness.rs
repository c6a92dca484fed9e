//! Pairs, their ratios and how they are judged; the data; the arguments.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use runstone::{Builder, Database, DurabilityMode, RunId};
use tempfile::TempDir;

/// A result with any error.
pub(crate) type Tried<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// The baselines' map: run id and key, value.
pub(crate) type PlainMap = BTreeMap<Vec<u8>, Vec<u8>>;

pub(crate) const KEY_BYTES: usize = 16;
pub(crate) const VALUE_BYTES: usize = 100;
/// The length of a log record of such a put; `log-bytes` measures it.
pub(crate) const RECORD_BYTES: usize = 176;

/// Which sides of a pair run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sides {
    Both,
    Engine,
    Baseline,
}

/// How to measure.
#[derive(Debug)]
pub(crate) struct Settings {
    sides: Sides,
    pairs: Option<usize>,
    count: Option<usize>,
    dir: PathBuf,
    pub(crate) json: bool,
    /// Not run by `cargo bench`: only shows that everything runs.
    pub(crate) smoke: bool,
}

impl Settings {
    /// Takes the options out of the arguments; what stays are names.
    pub(crate) fn parse(arguments: &mut Vec<String>) -> Tried<Self> {
        let mut settings = Settings {
            sides: Sides::Both,
            pairs: None,
            count: None,
            dir: PathBuf::from(env!("CARGO_TARGET_TMPDIR")),
            json: false,
            smoke: true,
        };
        let mut names = Vec::new();
        let mut rest = std::mem::take(arguments).into_iter();
        while let Some(argument) = rest.next() {
            let mut value = || rest.next().ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                "--bench" => settings.smoke = false,
                "--json" => settings.json = true,
                "--pairs" => settings.pairs = Some(value()?.parse()?),
                "--count" => settings.count = Some(value()?.parse()?),
                "--dir" => settings.dir = value()?.into(),
                "--side" => {
                    settings.sides = match value()?.as_str() {
                        "engine" => Sides::Engine,
                        "baseline" => Sides::Baseline,
                        other => return Err(format!("no side is called {other}").into()),
                    }
                }
                other if other.starts_with("--") => {
                    return Err(format!("unknown option {other}").into());
                }
                _ => names.push(argument),
            }
        }
        *arguments = names;
        Ok(settings)
    }

    pub(crate) fn both_sides(&self) -> bool {
        self.sides == Sides::Both
    }

    pub(crate) fn runs_engine(&self) -> bool {
        self.sides != Sides::Baseline
    }

    pub(crate) fn runs_baseline(&self) -> bool {
        self.sides != Sides::Engine
    }

    /// How many operations a turn has.
    pub(crate) fn count(&self, usual: usize) -> usize {
        self.count.unwrap_or(if self.smoke { (usual / 1000).max(8) } else { usual })
    }

    /// How many pairs are measured.
    pub(crate) fn pairs(&self, usual: usize) -> usize {
        self.pairs.unwrap_or(if self.smoke || !self.both_sides() { 1 } else { usual }).max(1)
    }

    /// A fresh directory on the disk that is measured.
    pub(crate) fn fresh_dir(&self) -> Tried<TempDir> {
        Ok(tempfile::tempdir_in(&self.dir)?)
    }
}

/// What a ratio has to reach.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
}

impl Target {
    fn is_met_by(self, value: f64) -> bool {
        match self {
            Target::AtLeast(least) => value >= least,
            Target::AtMost(most) => value <= most,
        }
    }

    fn sign_and_value(self) -> (&'static str, f64) {
        match self {
            Target::AtLeast(least) => (">=", least),
            Target::AtMost(most) => ("<=", most),
        }
    }
}

/// A series of measured values, one for each pair, and what they have to reach.
#[derive(Debug)]
pub(crate) struct Series {
    what: &'static str,
    target: Option<Target>,
    values: Vec<f64>,
}

impl Series {
    pub(crate) fn new(what: &'static str, target: Option<Target>) -> Self {
        Series { what, target, values: Vec::new() }
    }

    pub(crate) fn set_target(&mut self, target: Target) {
        self.target = Some(target);
    }

    pub(crate) fn push(&mut self, value: f64) {
        self.values.push(value);
    }

    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        match (sorted.get(middle.wrapping_sub(1)), sorted.get(middle)) {
            (Some(below), Some(above)) if sorted.len().is_multiple_of(2) => (below + above) / 2.0,
            (_, Some(middle)) => *middle,
            _ => f64::NAN,
        }
    }

    fn min(&self) -> f64 {
        self.values.iter().copied().fold(f64::INFINITY, f64::min)
    }

    fn max(&self) -> f64 {
        self.values.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }

    fn is_met(&self) -> bool {
        self.target.is_none_or(|target| target.is_met_by(self.median()))
    }
}

/// What a requirement's measurement found.
#[derive(Debug, Default)]
pub(crate) struct Report {
    series: Vec<Series>,
}

impl Report {
    pub(crate) fn new(series: impl IntoIterator<Item = Series>) -> Self {
        Report { series: series.into_iter().collect() }
    }

    pub(crate) fn is_met(&self) -> bool {
        self.series.iter().all(Series::is_met)
    }

    /// One line for each series.
    pub(crate) fn text(&self, name: &str) -> String {
        let mut out = String::new();
        for series in &self.series {
            let verdict = match series.target {
                None => String::new(),
                Some(target) => {
                    let (sign, value) = target.sign_and_value();
                    let verdict = if series.is_met() { "pass" } else { "FAIL" };
                    format!("{sign} {value:.2}  {verdict}")
                }
            };
            let line = format!(
                "{name:<14} {:<52} {:>9.3}  ({:.3} .. {:.3}, n = {})  {verdict}",
                series.what,
                series.median(),
                series.min(),
                series.max(),
                series.values.len(),
            );
            // Writing to a string cannot fail.
            let _written = writeln!(out, "{}", line.trim_end());
        }
        out.truncate(out.trim_end().len());
        out
    }

    /// One JSON object for each series, a line each.
    pub(crate) fn json(&self, name: &str) -> String {
        let line = |series: &Series| {
            let target = series.target.map_or("null".to_owned(), |target| {
                let (sign, value) = target.sign_and_value();
                format!(r#"{{"{sign}":{value}}}"#)
            });
            format!(
                r#"{{"name":"{name}","what":"{}","median":{:.4},"min":{:.4},"max":{:.4},"pairs":{},"target":{target},"pass":{}}}"#,
                series.what,
                series.median(),
                series.min(),
                series.max(),
                series.values.len(),
                series.is_met(),
            )
        };
        self.series.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// How long it takes.
pub(crate) fn timed<T>(work: impl FnOnce() -> Tried<T>) -> Tried<(Duration, T)> {
    let start = Instant::now();
    let result = work()?;
    Ok((start.elapsed(), result))
}

/// Random keys and values of one run, the same for every side.
#[derive(Debug)]
pub(crate) struct Data {
    pub(crate) run: RunId,
    pub(crate) keys: Vec<[u8; KEY_BYTES]>,
    values: Vec<u8>,
}

impl Data {
    pub(crate) fn new(count: usize) -> Self {
        let mut state = 0x5eed;
        let keys = (0..count)
            .map(|_| {
                let mut key = [0; KEY_BYTES];
                let (low, high) = key.split_at_mut(8);
                low.copy_from_slice(&split_mix(&mut state).to_le_bytes());
                high.copy_from_slice(&split_mix(&mut state).to_le_bytes());
                key
            })
            .collect();
        let bytes = count * VALUE_BYTES;
        let mut values = Vec::with_capacity(bytes + 8);
        while values.len() < bytes {
            values.extend_from_slice(&split_mix(&mut state).to_le_bytes());
        }
        values.truncate(bytes);
        Data { run: RunId::from_bytes([7; 16]), keys, values }
    }

    /// Keys and values, in their random order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8; KEY_BYTES], &[u8])> {
        self.keys.iter().zip(self.values.chunks_exact(VALUE_BYTES))
    }

    /// A key as a plain map has it: run id, then key.
    pub(crate) fn flat_key(&self, key: &[u8; KEY_BYTES]) -> [u8; 16 + KEY_BYTES] {
        let mut flat = [0; 16 + KEY_BYTES];
        let (run, user) = flat.split_at_mut(16);
        run.copy_from_slice(self.run.as_bytes());
        user.copy_from_slice(key);
        flat
    }
}

/// The next of a sequence of well-mixed numbers.
pub(crate) fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A new database with one run begun.
pub(crate) fn open(builder: Builder, dir: &TempDir, mode: DurabilityMode) -> Tried<Database> {
    let db = builder.durability(mode).open(dir.path().join("store"))?;
    db.begin_run(RunId::from_bytes([7; 16]), [("", ""); 0])?;
    Ok(db)
}
