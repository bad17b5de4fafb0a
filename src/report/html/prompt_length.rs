//! TTFT against the length of the prompt.

use std::time::Duration;

use super::axis::Axis;
use super::chart::{Chart, DotLabel, Layer, LegendKey};
use super::heat_map::level;
use super::page::Section;
use super::table::{optional_number, short_number};
use crate::model::metrics::Latency;
use crate::model::record::Record;
use crate::model::run::Run;
use crate::stats::percentile;

/// The most requests that are points; more of them are counted in cells.
const MAX_POINTS: usize = 400;

/// The cells of a chart with many requests.
const COLUMNS: usize = 64;
const ROWS: usize = 28;

/// The groups of the table: an equal number of requests each.
const GROUPS: usize = 12;

/// Adds TTFT against the length of the prompt to a section, or the reason why there is none.
pub(super) fn add_to(section: &mut Section, run: &Run) {
    let value = |record: &Record| Some((record.prompt_tokens.count, Latency::Ttft.counted_value(record)?));
    let mut values: Vec<(u32, Duration)> = run.records.iter().flatten().filter_map(value).collect();
    values.sort_unstable();
    match (values.first(), values.last()) {
        (Some((shortest, _)), Some((longest, _))) if shortest == longest => {
            section.notes.push(format!("TTFT against prompt length: all prompts have {shortest} tokens."));
        }
        (Some(_), Some(_)) => section.charts.push(chart(&values)),
        _ if run.records.is_none() => {
            section.notes.push("TTFT against prompt length: the file has no record of each request.".into());
        }
        _ => section.notes.push("TTFT against prompt length: no request has a TTFT.".into()),
    }
}

fn milliseconds(value: Duration) -> f64 {
    value.as_secs_f64() * 1e3
}

/// Draws values that are sorted by the length of the prompt.
fn chart(values: &[(u32, Duration)]) -> Chart {
    let lengths = || values.iter().map(|(tokens, _)| f64::from(*tokens));
    let x = Axis::log("prompt tokens", lengths());
    let y = Axis::log("TTFT, ms", values.iter().map(|(_, ttft)| milliseconds(*ttft)));
    let mut chart = Chart::new("TTFT against prompt length", x, y);
    if values.len() <= MAX_POINTS {
        let dots = values.iter().map(|(tokens, ttft)| Layer::Dot {
            color: 0,
            x: f64::from(*tokens),
            y: milliseconds(*ttft),
            radius: 2.2,
            label: DotLabel::None,
        });
        chart.layers.extend(dots);
    } else {
        draw_cells(&mut chart, values);
    }
    chart.table.head = ["prompt tokens", "longest", "requests", "TTFT P50, ms", "TTFT P95, ms"]
        .map(ToOwned::to_owned)
        .to_vec();
    let mut medians = Vec::new();
    for group in values.chunks(values.len().div_ceil(GROUPS)) {
        let mut times: Vec<Duration> = group.iter().map(|(_, ttft)| *ttft).collect();
        times.sort_unstable();
        let at = |p| percentile(&times, p).map(milliseconds);
        let (first, last) = (group[0].0, group[group.len() - 1].0);
        let middle = f64::from(group[group.len() / 2].0);
        medians.push(at(50.0).map(|median| (middle, median)));
        let cells = vec![
            first.to_string(),
            last.to_string(),
            group.len().to_string(),
            optional_number(at(50.0)),
            optional_number(at(95.0)),
        ];
        chart.table.push_at(middle, cells);
    }
    chart.layers.push(Layer::Line { color: 1, points: medians });
    chart.legend.push((LegendKey::Line(1), "median of each twelfth of the requests".into()));
    let count = values.len();
    chart.note =
        Some(format!("{count} answered requests, {} to {} tokens.", values[0].0, values[count - 1].0));
    chart
}

fn draw_cells(chart: &mut Chart, values: &[(u32, Duration)]) {
    let mut counts = vec![[0_u32; ROWS]; COLUMNS];
    let cell = |share: f64, count: usize| ((share * count as f64) as usize).min(count - 1);
    for (tokens, ttft) in values {
        let column = cell(chart.x.position(f64::from(*tokens)), COLUMNS);
        counts[column][cell(chart.y.position(milliseconds(*ttft)), ROWS)] += 1;
    }
    let most = counts.iter().flatten().copied().max().unwrap_or(1).max(1);
    let edges = |axis: &Axis, at: usize, count: usize| {
        let edge = |at: usize| axis.low * (axis.high / axis.low).powf(at as f64 / count as f64);
        (edge(at), edge(at + 1))
    };
    for (column, rows) in counts.iter().enumerate() {
        for (row, count) in rows.iter().enumerate().filter(|(_, count)| **count > 0) {
            let (x, y) = (edges(&chart.x, column, COLUMNS), edges(&chart.y, row, ROWS));
            let class = level(f64::from(*count) / f64::from(most));
            chart.layers.push(Layer::Block { class, x, y });
        }
    }
    chart.legend.push((LegendKey::Class("heat h1"), "one request or few".into()));
    chart.legend.push((LegendKey::Class("heat h6"), format!("up to {}", short_number(f64::from(most)))));
}
