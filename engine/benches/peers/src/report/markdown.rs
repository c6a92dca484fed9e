//! The report as Markdown: first where the subject loses, then every figure of every engine, then
//! what they were measured with.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::rows::{Cell, Measured, Row, Standing, Table};
use crate::adapters::{Kind, SUBJECT};
use crate::outcome::{Head, Record};
use crate::workloads;

/// The whole report.
pub fn report(head: &Head, records: &[Record], table: &Table) -> String {
    let mut out = format!(
        "# Runstone beside its peers\n\n{} round(s); the median counts. A ratio compares Runstone \
         with the best peer of the row, and is below 1 where Runstone loses. Limits of the \
         machine are no peers.\n\n![ratios](rows.svg)\n\n",
        head.rounds
    );
    out += &summary(table);
    out += "\n## Every figure\n\n";
    for row in &table.rows {
        out += &details(row);
    }
    out += &setting(head, records, table);
    out
}

/// One line for each row: the lost ones first.
pub fn summary(table: &Table) -> String {
    let mut out = String::from(
        "## Runstone against the best peer\n\n| Row | Ratio | Runstone | Best peer | Limit of the \
         machine |\n|---|---:|---:|---:|---:|\n",
    );
    for (row, standing) in table.ranked() {
        let own = row.cell(SUBJECT).map_or("not run".to_owned(), short);
        let named = |kind| {
            let best = row.best(kind);
            best.map_or("none".to_owned(), |(name, best)| format!("{} {name}", figure(best)))
        };
        let ratio = match standing {
            Standing::Ratio { ratio, .. } if ratio < 1.0 => format!("**{ratio:.2}**"),
            Standing::Ratio { ratio, .. } => format!("{ratio:.2}"),
            Standing::NoSubject | Standing::NoPeer => "none".to_owned(),
        };
        let (peer, limit) = (named(Kind::Peer), named(Kind::Limit));
        line(&mut out, format_args!("| {} | {ratio} | {own} | {peer} | {limit} |", row.name));
    }
    out
}

/// All engines in one row.
fn details(row: &Row) -> String {
    let about = workloads::find(&row.workload).map_or("", |workload| workload.about);
    let mut out = format!(
        "### {}\n\n{about}\n\n| Engine | Median | Least | Most | p50 | p99 | p99.9 | Max | Beside \
         that |\n|---|---:|---:|---:|---:|---:|---:|---:|---|\n",
        row.name
    );
    for (engine, cell) in &row.cells {
        match cell {
            Cell::Measured(measured) => {
                let times = measured.latency.map_or(" | | | ".to_owned(), |latency| {
                    [latency.p50, latency.p99, latency.p999, latency.max].map(time).join(" | ")
                });
                let also = measured.also.iter();
                let also: Vec<_> = also.map(|(name, value)| other(name, *value)).collect();
                line(
                    &mut out,
                    format_args!(
                        "| {engine} | {} | {} | {} | {times} | {} |",
                        figure(measured),
                        amount(measured.min, &measured.unit),
                        amount(measured.max, &measured.unit),
                        also.join(", ")
                    ),
                );
            }
            cell => line(&mut out, format_args!("| {engine} | {} | | | | | | | |", short(cell))),
        }
    }
    out.push('\n');
    out
}

/// Versions, settings, sizes, machine.
fn setting(head: &Head, records: &[Record], table: &Table) -> String {
    let mut out = String::from("## Versions and settings\n\n");
    for engine in &table.engines {
        let of_engine = records.iter().filter(|record| &record.engine == engine);
        // Each value of each setting, with the workloads that had it.
        let mut settings: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
        let mut versions = "";
        for record in of_engine {
            versions = &record.versions;
            for (name, value) in &record.settings {
                let had = settings.entry((name, value)).or_default();
                if !had.contains(&record.workload.as_str()) {
                    had.push(&record.workload);
                }
            }
        }
        let versions = if versions.is_empty() { "no engine" } else { versions };
        line(&mut out, format_args!("### {engine}\n\n{versions}\n"));
        let count = |wanted: &str| settings.keys().filter(|(name, _)| *name == wanted).count();
        for ((name, value), workloads) in &settings {
            let which = match count(name) {
                1 => String::new(),
                _ => format!(" ({})", workloads.join(", ")),
            };
            line(&mut out, format_args!("- {name}: {value}{which}"));
        }
        out.push('\n');
    }
    out += "## Machine and sizes\n\n";
    for (name, value) in &head.machine {
        line(&mut out, format_args!("- {name}: {value}"));
    }
    let cgroup = head.cgroup.as_deref().unwrap_or("none: the page cache was not bounded");
    line(&mut out, format_args!("- memory limit of the workload large: {cgroup}"));
    let sizes = serde_json::to_string(&head.sizes).unwrap_or_default();
    line(&mut out, format_args!("- sizes: `{sizes}`"));
    out
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _written = writeln!(out, "{text}");
}

/// A cell in a few words.
fn short(cell: &Cell) -> String {
    // A bar would end the table's cell.
    let plain = |text: &str| text.replace('|', "/").replace('\n', " ");
    match cell {
        Cell::Measured(measured) => figure(measured),
        Cell::NotThere(why) => format!("not there: {}", plain(why)),
        Cell::Failed(how) => format!("FAILED: {}", plain(how)),
    }
}

fn figure(measured: &Measured) -> String {
    match measured.unit.as_str() {
        unit @ ("s" | "bytes") => amount(measured.median, unit),
        unit => format!("{} {unit}", amount(measured.median, unit)),
    }
}

/// A figure; a rate without its unit.
fn amount(value: f64, unit: &str) -> String {
    match unit {
        "s" => time(value * 1e9),
        "bytes" => bytes(value),
        _ => number(value),
    }
}

/// Another count: its name says whether it is bytes.
fn other(name: &str, value: f64) -> String {
    match name.strip_suffix(" bytes") {
        Some(name) => format!("{name} {}", bytes(value)),
        None => format!("{name} {}", number(value)),
    }
}

/// Three digits that count.
fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 1e6 => format!("{:.2} M", value / 1e6),
        large if large >= 1e4 => format!("{:.1} k", value / 1e3),
        large if large >= 100.0 => format!("{value:.0}"),
        _ => format!("{value:.3}"),
    }
}

fn bytes(value: f64) -> String {
    match value {
        large if large >= 1024.0 * 1024.0 => format!("{:.1} MiB", value / 1024.0 / 1024.0),
        large if large >= 1024.0 => format!("{:.1} KiB", value / 1024.0),
        _ => format!("{value:.0} B"),
    }
}

/// A time that is given in nanoseconds.
fn time(nanos: f64) -> String {
    match nanos {
        long if long >= 1e9 => format!("{:.2} s", nanos / 1e9),
        long if long >= 1e6 => format!("{:.2} ms", nanos / 1e6),
        long if long >= 1e3 => format!("{:.1} µs", nanos / 1e3),
        _ => format!("{nanos:.0} ns"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::tests::{rate, record};
    use super::*;
    use crate::outcome::Ending;

    #[test]
    fn the_summary_shows_lost_rows_first_and_rows_without_a_figure_with_the_reason() {
        let table = Table::new(&[
            record("won", SUBJECT, rate(30.0)),
            record("won", "redb", rate(10.0)),
            record("lost", SUBJECT, rate(5.0)),
            record("lost", "redb", rate(10.0)),
            record("missing", SUBJECT, Ending::NotThere("no call | yet".to_owned())),
            record("missing", "redb", rate(10.0)),
        ]);
        let summary = summary(&table);
        let lines: Vec<&str> = summary.lines().skip(4).collect();
        assert!(lines[0].starts_with("| lost | **0.50** | 5.000 x/s | 10.000 x/s redb"));
        assert!(lines[1].starts_with("| missing | none | not there: no call / yet |"));
        assert!(lines[2].starts_with("| won | 3.00 |"));
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn every_engine_of_a_row_is_in_its_details_also_one_that_failed() {
        let table = Table::new(&[
            record("a", SUBJECT, rate(1.0)),
            record("a", "redb", Ending::Failed("bad\npage".to_owned())),
        ]);
        let details = details(&table.rows[0]);
        assert!(details.contains("| runstone | 1.000 x/s |"));
        assert!(details.contains("| redb | FAILED: bad page |"));
    }

    #[test]
    fn numbers_are_short_and_right() {
        assert_eq!(number(1_234_567.0), "1.23 M");
        assert_eq!(number(12_345.0), "12.3 k");
        assert_eq!(number(123.4), "123");
        assert_eq!(bytes(1536.0), "1.5 KiB");
        assert_eq!(time(1500.0), "1.5 µs");
        assert_eq!(time(2.5e9), "2.50 s");
    }
}
