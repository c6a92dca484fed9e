//! What a child tells its parent: one line of JSON for each thing it knows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::measure::Latency;

/// Whether more is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// A rate.
    Higher,
    /// A time, or a size.
    Lower,
}

/// What was measured for one row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// The figure that is compared.
    pub value: f64,
    /// Its unit.
    pub unit: String,
    /// Whether more of it is better.
    pub better: Better,
    /// The time of single operations.
    pub latency: Option<Latency>,
    /// What else was counted, in the unit that its name ends with.
    pub also: BTreeMap<String, f64>,
}

impl Figures {
    /// So many of something in a second.
    pub fn rate(value: f64, unit: &str) -> Self {
        Figures::new(value, unit, Better::Higher)
    }

    /// Seconds, bytes: the less, the better.
    pub fn cost(value: f64, unit: &str) -> Self {
        Figures::new(value, unit, Better::Lower)
    }

    fn new(value: f64, unit: &str, better: Better) -> Self {
        let unit = unit.to_owned();
        Figures { value, unit, better, latency: None, also: BTreeMap::new() }
    }

    /// With the time of single operations.
    pub fn with_latency(mut self, latency: Option<Latency>) -> Self {
        self.latency = latency;
        self
    }

    /// With another count.
    pub fn also(mut self, name: &str, value: f64) -> Self {
        self.also.insert(name.to_owned(), value);
        self
    }
}

/// How a row ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// It was measured.
    Measured(Figures),
    /// The engine has no such thing, and why.
    NotThere(String),
    /// It went wrong, and how.
    Failed(String),
}

/// A line from a child.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Line {
    /// The settings in force.
    Settings(BTreeMap<String, String>),
    /// A row.
    Row {
        /// Its name.
        row: String,
        /// How it ended.
        ending: Ending,
    },
    /// Nothing more comes.
    Done,
}

/// A row of one engine in one round, as the results file has it: a line of JSON each.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// As the list of engines calls it.
    pub engine: String,
    /// What was built.
    pub versions: String,
    /// The workload that the row belongs to.
    pub workload: String,
    /// The row.
    pub row: String,
    /// Which round it was, from 1.
    pub round: usize,
    /// How it ended.
    pub ending: Ending,
    /// The settings that the engine had.
    pub settings: BTreeMap<String, String>,
}

/// The first line of a results file: what all rows have in common.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Head {
    /// The machine.
    pub machine: Vec<(String, String)>,
    /// The sizes.
    pub sizes: crate::sizes::Sizes,
    /// How many rounds were asked for.
    pub rounds: usize,
    /// The cgroup's limit, if the children ran in one.
    pub cgroup: Option<String>,
}
