//! The report: made of the lines of a results file, and of nothing else.

mod markdown;
mod plot;
mod rows;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::outcome::{Head, Record};
use crate::parent::RESULTS;

/// Reads the results in a directory, and writes the table and the plot beside them.
pub fn write(dir: &Path) -> Result<()> {
    let path = dir.join(RESULTS);
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let mut lines = text.lines();
    let head: Head = serde_json::from_str(lines.next().context("no results")?)?;
    let records: Vec<Record> = lines
        .map(|line| serde_json::from_str(line).with_context(|| format!("reading {line}")))
        .collect::<Result<_>>()?;
    let table = rows::Table::new(&records);
    let report = markdown::report(&head, &records, &table);
    fs::write(dir.join("report.md"), &report)?;
    plot::draw(&table, &dir.join("rows.svg"))?;
    println!("{}", markdown::summary(&table));
    println!("The report: {}", dir.join("report.md").display());
    Ok(())
}
