//! The gaps between output events over time: how many of which length.

use std::time::Duration;

use super::axis::Axis;
use super::chart::{Chart, Layer, LegendKey};
use super::page::Section;
use super::table::short_number;
use super::time_chart::GROUP;
use super::time_points::{TimePoints, TimeUnit};
use crate::model::metrics::Latency;
use crate::model::record::{OutputGaps, Record};
use crate::model::run::Run;
use crate::stats::{Bucket, DurationHistogram};

/// The number of columns and rows of the map.
const COLUMNS: usize = 80;
const ROWS: usize = 26;

/// The steps of the color.
pub(super) const LEVELS: usize = 7;

const TITLE: &str = "Token gaps and prompt lengths";

/// The section of the heat map.
pub(super) fn section(run: &Run) -> Section {
    let mut gaps: Vec<(f64, Duration)> = Vec::new();
    for (first, of_request) in requests_with_gaps(run) {
        let mut at = first;
        for gap in &of_request {
            at += gap;
            gaps.push((at.as_secs_f64(), gap));
        }
    }
    if gaps.is_empty() {
        let why = match run.metrics.completed {
            0 => "Gaps: no request was answered.",
            _ => "Gaps: the file does not have the time of each output event.",
        };
        return Section::absent("gaps", TITLE, why);
    }
    let mut section = Section::new("gaps", TITLE);
    section.charts.push(chart(&gaps, run));
    section
}

/// The time of the first output event and the gaps of each answer, from the Records or from the log that has them.
fn requests_with_gaps(run: &Run) -> impl Iterator<Item = (Duration, OutputGaps)> {
    let mut reader = run.details.as_ref().map(|details| details.reader());
    let records = run.records.iter().flatten().filter(|record| Latency::Itl.applies_to(record));
    records.filter_map(move |record: &Record| {
        let first = record.times.first_token()?;
        let logged = || reader.as_mut()?.record(record.ordinal).ok()?.events.gaps;
        Some((first, record.events.gaps.clone().or_else(logged)?))
    })
}

fn chart(gaps: &[(f64, Duration)], run: &Run) -> Chart {
    let last = gaps.iter().map(|(at, _)| *at).fold(0.0, f64::max).max(0.001);
    // The time axis is that of the other charts over time.
    let points = (!run.series.arrivals.is_empty()).then(|| TimePoints::from_run(run));
    let end = points.as_ref().map_or(last, |points| points.end.max(last));
    let TimeUnit { name: unit, seconds } = points.map_or(TimeUnit::for_length(end), |points| points.unit);
    // A gap of zero is that of two events that were read together.
    let milliseconds = |gap: Duration| (gap.as_secs_f64() * 1e3).max(0.001);
    let y = Axis::log("gap, ms", gaps.iter().map(|(_, gap)| milliseconds(*gap)));
    let x = Axis::until(format!("time since the start, {unit}"), end / seconds);
    let mut chart = Chart { group: GROUP, ..Chart::new("Inter-token latency over time", x, y) };
    let mut counts = vec![[0_u32; ROWS]; COLUMNS];
    let mut columns = vec![DurationHistogram::default(); COLUMNS];
    let mut totals = [0_u64; COLUMNS];
    for (at, gap) in gaps {
        let column = ((at / end * COLUMNS as f64) as usize).min(COLUMNS - 1);
        let row = ((chart.y.position(milliseconds(*gap)) * ROWS as f64) as usize).min(ROWS - 1);
        counts[column][row] += 1;
        columns[column].add(Bucket::from_duration(*gap), 1);
        totals[column] += 1;
    }
    chart.table.head = [format!("time, {unit}"), "gaps".into(), "P50, ms".into(), "P99, ms".into()].to_vec();
    let (low, ratio) = (chart.y.low, chart.y.high / chart.y.low);
    let edge = |row: usize| low * ratio.powf(row as f64 / ROWS as f64);
    let width = end / seconds / COLUMNS as f64;
    for (column, rows) in counts.iter().enumerate() {
        let from = column as f64 * width;
        for (row, count) in rows.iter().enumerate().filter(|(_, count)| **count > 0) {
            let share = f64::from(*count) / totals[column] as f64;
            let class = level(share);
            let (x, y) = ((from, from + width), (edge(row), edge(row + 1)));
            chart.layers.push(Layer::Block { class, x, y });
        }
        let percentile = |p| columns[column].percentile(p).map(|gap| short_number(gap.as_secs_f64() * 1e3));
        if let (Some(p50), Some(p99)) = (percentile(50.0), percentile(99.0)) {
            let cells = vec![short_number(from), totals[column].to_string(), p50, p99];
            chart.table.push_at(from + width / 2.0, cells);
        }
    }
    chart.legend.push((LegendKey::Class("heat h1"), "few of the gaps at that time".into()));
    chart.legend.push((LegendKey::Class("heat h6"), "most of them".into()));
    chart.note = Some(format!(
        "{} gaps; those below 1 µs, of events that were read together, are at the foot. Percentiles are within 0.1 %.",
        gaps.len()
    ));
    chart
}

/// The class of a cell that holds this share.
pub(super) fn level(share: f64) -> String {
    format!("heat h{}", ((share.sqrt() * LEVELS as f64) as usize).min(LEVELS - 1))
}
