//! Rows and cells: the median over the rounds, who is best, and in which order rows are shown.

use crate::adapters::{self, Kind, SUBJECT};
use crate::measure::Latency;
use crate::outcome::{Better, Ending, Figures, Record};

/// What one engine did in one row.
#[derive(Clone, Debug)]
pub enum Cell {
    /// It was measured in every round.
    Measured(Measured),
    /// The engine has no such thing, and why.
    NotThere(String),
    /// It went wrong in at least one round, and how.
    Failed(String),
}

/// The rounds of one engine in one row.
#[derive(Clone, Debug)]
pub struct Measured {
    pub median: f64,
    pub min: f64,
    pub max: f64,
    pub unit: String,
    pub better: Better,
    /// The median of each percentile; the maximum is that of all rounds.
    pub latency: Option<Latency>,
    /// The median of each other count.
    pub also: Vec<(String, f64)>,
}

/// A row: all engines' cells.
#[derive(Clone, Debug)]
pub struct Row {
    pub workload: String,
    pub name: String,
    pub cells: Vec<(String, Cell)>,
}

/// How the subject stands in a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    /// Against the best peer; below 1 the subject loses.
    Ratio { ratio: f64, peer: String },
    /// The subject has no figure.
    NoSubject,
    /// No peer has one.
    NoPeer,
}

/// All rows, in the order of the workloads, and all engines.
pub struct Table {
    pub rows: Vec<Row>,
    pub engines: Vec<String>,
}

impl Table {
    /// Puts the records of all rounds together.
    pub fn new(records: &[Record]) -> Self {
        let mut engines: Vec<String> = Vec::new();
        let mut names: Vec<(&str, &str)> = Vec::new();
        for record in records {
            if !engines.contains(&record.engine) {
                engines.push(record.engine.clone());
            }
            if !names.contains(&(&record.workload, &record.row)) {
                names.push((&record.workload, &record.row));
            }
        }
        // As the list of engines has them, whoever ran first.
        engines.sort_by_key(|engine| {
            adapters::ALL.iter().position(|spec| spec.name == engine).unwrap_or(usize::MAX)
        });
        let rows = names.into_iter().map(|(workload, name)| {
            let of_row = |engine: &str| {
                let rounds = records.iter().filter(|record| {
                    record.row == name && record.workload == workload && record.engine == engine
                });
                cell(rounds.map(|record| &record.ending))
            };
            let cells = engines.iter().filter_map(|engine| Some((engine.clone(), of_row(engine)?)));
            Row { workload: workload.to_owned(), name: name.to_owned(), cells: cells.collect() }
        });
        Table { rows: rows.collect(), engines: engines.clone() }
    }

    /// The rows with their standing: lost ones first, the worst loss foremost; then those that
    /// the subject has no figure for, then the won ones, then those that no peer has.
    pub fn ranked(&self) -> Vec<(&Row, Standing)> {
        let mut rows: Vec<_> = self.rows.iter().map(|row| (row, row.standing())).collect();
        let place = |standing: &Standing| match standing {
            Standing::Ratio { ratio, .. } if *ratio < 1.0 => (0, *ratio),
            Standing::NoSubject => (1, 0.0),
            Standing::Ratio { ratio, .. } => (2, *ratio),
            Standing::NoPeer => (3, 0.0),
        };
        rows.sort_by(|(_, one), (_, other)| {
            let ((one, one_ratio), (other, other_ratio)) = (place(one), place(other));
            one.cmp(&other).then(one_ratio.total_cmp(&other_ratio))
        });
        rows
    }
}

impl Row {
    /// What an engine did.
    pub fn cell(&self, engine: &str) -> Option<&Cell> {
        self.cells.iter().find(|(name, _)| name == engine).map(|(_, cell)| cell)
    }

    /// What an engine measured.
    pub fn measured(&self, engine: &str) -> Option<&Measured> {
        match self.cell(engine)? {
            Cell::Measured(measured) => Some(measured),
            Cell::NotThere(_) | Cell::Failed(_) => None,
        }
    }

    /// The best among engines of a kind.
    pub fn best(&self, kind: Kind) -> Option<(&str, &Measured)> {
        let of_kind = self.cells.iter().filter(|(name, _)| adapters::kind(name) == kind);
        let measured = of_kind.filter_map(|(name, _)| Some((name.as_str(), self.measured(name)?)));
        measured.reduce(|best, other| if other.1.ratio(best.1) > 1.0 { other } else { best })
    }

    /// How the subject stands.
    pub fn standing(&self) -> Standing {
        let Some(subject) = self.measured(SUBJECT) else { return Standing::NoSubject };
        let Some((peer, best)) = self.best(Kind::Peer) else { return Standing::NoPeer };
        Standing::Ratio { ratio: subject.ratio(best), peer: peer.to_owned() }
    }
}

impl Measured {
    /// How much better this is than another; below 1 it is worse.
    pub fn ratio(&self, other: &Measured) -> f64 {
        match self.better {
            Better::Higher => self.median / other.median,
            Better::Lower => other.median / self.median,
        }
    }
}

/// The rounds of one engine in one row, put together; None if there was none.
fn cell<'a>(endings: impl Iterator<Item = &'a Ending>) -> Option<Cell> {
    let mut figures: Vec<&Figures> = Vec::new();
    let mut not_there = None;
    for ending in endings {
        match ending {
            Ending::Measured(measured) => figures.push(measured),
            Ending::NotThere(why) => not_there = Some(why.clone()),
            Ending::Failed(how) => return Some(Cell::Failed(how.clone())),
        }
    }
    if let Some(why) = not_there {
        return Some(Cell::NotThere(why));
    }
    let first = figures.first()?;
    let of =
        |value: &dyn Fn(&Figures) -> f64| figures.iter().map(|figures| value(figures)).collect();
    let values: Vec<f64> = of(&|figures| figures.value);
    let names = first.also.keys();
    let also = names.map(|name| {
        let of_rounds = figures.iter().filter_map(|figures| figures.also.get(name).copied());
        (name.clone(), median(&of_rounds.collect::<Vec<_>>()))
    });
    Some(Cell::Measured(Measured {
        median: median(&values),
        min: values.iter().copied().fold(f64::INFINITY, f64::min),
        max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        unit: first.unit.clone(),
        better: first.better,
        latency: latency(&figures),
        also: also.collect(),
    }))
}

fn latency(figures: &[&Figures]) -> Option<Latency> {
    let rounds: Vec<Latency> = figures.iter().filter_map(|figures| figures.latency).collect();
    let first = rounds.first()?;
    let middle = |of: fn(&Latency) -> f64| median(&rounds.iter().map(of).collect::<Vec<_>>());
    Some(Latency {
        p50: middle(|latency| latency.p50),
        p99: middle(|latency| latency.p99),
        p999: middle(|latency| latency.p999),
        max: rounds.iter().map(|latency| latency.max).fold(first.max, f64::max),
        samples: rounds.iter().map(|latency| latency.samples).sum(),
    })
}

/// The middle value; of an even number of values the mean of the middle two.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.get(middle) {
        None => f64::NAN,
        Some(upper) if sorted.len() % 2 == 1 => *upper,
        Some(upper) => (sorted[middle - 1] + upper) / 2.0,
    }
}

#[cfg(test)]
pub mod tests {
    use std::collections::BTreeMap;

    use super::*;

    pub fn record(row: &str, engine: &str, ending: Ending) -> Record {
        Record {
            engine: engine.to_owned(),
            versions: format!("{engine} 1"),
            workload: row.to_owned(),
            row: row.to_owned(),
            round: 1,
            ending,
            settings: BTreeMap::new(),
        }
    }

    pub fn rate(value: f64) -> Ending {
        Ending::Measured(Figures::rate(value, "x/s"))
    }

    fn cost(value: f64) -> Ending {
        Ending::Measured(Figures::cost(value, "s"))
    }

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_two() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn rounds_give_a_median_and_stand_beside_it() {
        let records = [5.0, 1.0, 3.0].map(|value| record("a", SUBJECT, rate(value)));
        let table = Table::new(&records);
        let measured = table.rows[0].measured(SUBJECT).unwrap();
        assert_eq!((measured.median, measured.min, measured.max), (3.0, 1.0, 5.0));
    }

    #[test]
    fn the_best_peer_is_the_fastest_or_the_cheapest_and_never_a_limit() {
        let table = Table::new(&[
            record("rate", SUBJECT, rate(10.0)),
            record("rate", "redb", rate(20.0)),
            record("rate", "heed", rate(5.0)),
            record("rate", "memcpy", rate(1000.0)),
            record("cost", SUBJECT, cost(10.0)),
            record("cost", "redb", cost(20.0)),
            record("cost", "heed", cost(5.0)),
        ]);
        let ratio = |ratio, peer: &str| Standing::Ratio { ratio, peer: peer.to_owned() };
        assert_eq!(table.rows[0].standing(), ratio(0.5, "redb"));
        assert_eq!(table.rows[1].standing(), ratio(0.5, "heed"));
        assert_eq!(table.rows[0].best(Kind::Limit).unwrap().0, "memcpy");
    }

    #[test]
    fn lost_rows_come_first_the_worst_foremost_and_none_is_left_out() {
        let missing = || Ending::NotThere("no call".to_owned());
        let table = Table::new(&[
            record("won", SUBJECT, rate(30.0)),
            record("won", "redb", rate(10.0)),
            record("lost", SUBJECT, rate(5.0)),
            record("lost", "redb", rate(10.0)),
            record("alone", SUBJECT, rate(5.0)),
            record("alone", "redb", missing()),
            record("even", SUBJECT, rate(10.0)),
            record("even", "redb", rate(10.0)),
            record("missing", SUBJECT, missing()),
            record("missing", "redb", rate(10.0)),
            record("worst", SUBJECT, rate(1.0)),
            record("worst", "redb", rate(10.0)),
        ]);
        let names: Vec<&str> = table.ranked().iter().map(|(row, _)| row.name.as_str()).collect();
        assert_eq!(names, ["worst", "lost", "missing", "even", "won", "alone"]);
    }

    #[test]
    fn one_failed_round_fails_the_cell_and_says_how() {
        let failed = Ending::Failed("bad page".to_owned());
        let table = Table::new(&[
            record("a", "redb", rate(1.0)),
            record("a", "redb", failed),
            record("a", "redb", rate(1.0)),
        ]);
        assert!(matches!(table.rows[0].cell("redb"), Some(Cell::Failed(how)) if how == "bad page"));
    }

    #[test]
    fn percentiles_are_medians_and_the_maximum_is_that_of_all_rounds() {
        let latency = |p50, max| Latency { p50, p99: p50, p999: p50, max, samples: 10 };
        let round = |p50, max| {
            let figures = Figures::rate(1.0, "x").with_latency(Some(latency(p50, max)));
            record("a", SUBJECT, Ending::Measured(figures))
        };
        let table = Table::new(&[round(1.0, 9.0), round(2.0, 7.0), round(9.0, 8.0)]);
        let merged = table.rows[0].measured(SUBJECT).unwrap().latency.unwrap();
        assert_eq!((merged.p50, merged.max, merged.samples), (2.0, 9.0, 30));
    }
}
