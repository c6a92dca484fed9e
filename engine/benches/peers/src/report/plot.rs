//! The plot: a line for each row, a dot for each engine, at its ratio to Runstone.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use super::rows::Table;
use crate::adapters::{self, Kind, SUBJECT};

/// Ratios beyond this are drawn at the border.
const RATIO_MAX: f64 = 300.0;

/// Draws the rows that Runstone has a figure in, in the order of the report.
pub fn draw(table: &Table, path: &Path) -> Result<()> {
    // The library's errors borrow from the drawing.
    inner(table, path).map_err(|error| anyhow!("drawing {}: {error}", path.display()))
}

fn inner(table: &Table, path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let rows: Vec<_> = table.ranked().into_iter().map(|(row, _)| row).collect();
    let rows: Vec<_> = rows.into_iter().filter(|row| row.measured(SUBJECT).is_some()).collect();
    if rows.is_empty() {
        return Ok(());
    }
    let height = u32::try_from(rows.len())? * 22 + 110;
    let root = SVGBackend::new(path, (1100, height)).into_drawing_area();
    root.fill(&WHITE)?;
    let last = rows.len() as f64 - 0.5;
    let mut chart = ChartBuilder::on(&root)
        .caption("Times as good as Runstone (right of 1: better)", ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(30)
        .y_label_area_size(190)
        .build_cartesian_2d((1.0 / RATIO_MAX..RATIO_MAX).log_scale(), last..-0.5)?;
    let name = |at: &f64| {
        let is_whole = (at - at.round()).abs() < 1e-9 && *at >= 0.0;
        let row = if is_whole { rows.get(at.round() as usize) } else { None };
        row.map_or(String::new(), |row| row.name.clone())
    };
    chart
        .configure_mesh()
        .y_labels(rows.len() * 2 + 2)
        .y_label_formatter(&name)
        .x_label_formatter(&|ratio| format!("{ratio}"))
        .light_line_style(TRANSPARENT)
        .draw()?;
    chart.draw_series(LineSeries::new([(1.0, -0.5), (1.0, last)], BLACK.stroke_width(2)))?;

    let mut has_legend_of_limits = false;
    for (index, engine) in table.engines.iter().enumerate() {
        let dots = rows.iter().enumerate().filter_map(|(at, row)| {
            let ratio = row.measured(engine)?.ratio(row.measured(SUBJECT)?);
            Some((ratio.clamp(1.0 / RATIO_MAX, RATIO_MAX), at as f64))
        });
        let dots: Vec<(f64, f64)> = dots.collect();
        if engine == SUBJECT || dots.is_empty() {
            continue;
        }
        // Limits of the machine are small and grey; which is which, the table says.
        let is_limit = adapters::kind(engine) == Kind::Limit;
        let (red, green, blue) = Palette99::COLORS[index % Palette99::COLORS.len()];
        let color = if is_limit { RGBColor(150, 150, 150) } else { RGBColor(red, green, blue) };
        let size = if is_limit { 3 } else { 5 };
        let circle = move |at| Circle::new(at, size, color.filled());
        let series = chart.draw_series(dots.into_iter().map(circle))?;
        if !is_limit || !std::mem::replace(&mut has_legend_of_limits, is_limit) {
            let label = if is_limit { "limits of the machine" } else { engine };
            series.label(label).legend(move |at| Circle::new(at, size, color.filled()));
        }
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK)
        .draw()?;
    root.present()?;
    Ok(())
}
