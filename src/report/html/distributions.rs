//! The cumulative distributions of the latencies, with their 95 % bands.

use super::axis::Axis;
use super::chart::{Chart, DotLabel, Layer, LegendKey};
use super::latency_values::{LatencyValues, curve_percents, milliseconds};
use super::page::Section;
use super::table::{optional_number, short_number};
use crate::model::metrics::{Latency, samples};
use crate::model::run::Run;
use crate::report::run_metrics;
use crate::stats::{Bucket, Distribution, DurationHistogram, Percent};

/// The rows of a chart's table.
const TABLE: [Percent; 17] =
    [0.0, 1.0, 5.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 95.0, 99.0, 99.5, 99.9, 100.0];

/// The percentiles that are marked.
const MARKED: [Percent; 3] = [50.0, 95.0, 99.0];

/// The section of the distributions.
pub(super) fn section(run: &Run) -> Section {
    let mut section = Section::new("distributions", "Distributions");
    for latency in Latency::SELECTABLE {
        let Some(found) = run.metrics.latencies.get(&latency) else {
            if run.metrics.completed > 0 {
                section.notes.push(format!("{}: the run has no value of it.", latency.symbol()));
            }
            continue;
        };
        let Some(values) = LatencyValues::from_run(run, latency) else {
            section.notes.push(format!("{}: the file has no histogram of it.", latency.symbol()));
            continue;
        };
        match found.n {
            0 | 1 => section.notes.push(format!(
                "{}: one value, {} ms; a distribution needs two.",
                latency.symbol(),
                short_number(milliseconds(found.mean))
            )),
            _ => section.charts.push(chart(run, latency, found, &values)),
        }
    }
    if section.charts.is_empty() && section.notes.is_empty() {
        section.notes.push("No request was answered, so there is no distribution.".into());
    }
    section
}

fn chart(run: &Run, latency: Latency, found: &Distribution, values: &LatencyValues) -> Chart {
    let curve = values.curve();
    let due = from_due(run, latency);
    let band: Vec<Option<(Percent, (f64, f64))>> = curve_percents(found.n)
        .filter(|p| *p > 0.0 && *p < 100.0)
        .map(|p| values.interval(p).map(|interval| (p, interval)))
        .collect();
    let ends = band.iter().flatten().flat_map(|(_, (low, high))| [*low, *high]);
    let all = curve.iter().chain(due.iter().flatten()).flatten().map(|(x, _)| *x);
    let x = Axis::log(format!("{}, ms", latency.symbol()), all.chain(ends));
    let y = Axis::exact("share of values at or below, %", (0.0, 100.0), 20.0);
    let mut chart = Chart::new(format!("{} ({})", latency.title(), latency.symbol()), x, y);
    let supported = values.highest_supported();
    let from = supported.unwrap_or(0.0);
    if from < 99.99 {
        chart.layers.push(Layer::Zone { class: "few", from, to: 100.0 });
        chart.legend.push((LegendKey::Class("few"), "too few independent values".into()));
    }
    if band.iter().any(Option::is_some) {
        chart.layers.push(outline(&band));
        chart.legend.push((LegendKey::Band(0), "95 % band".into()));
    }
    chart.layers.push(Layer::Line { color: 0, points: curve });
    chart.legend.push((LegendKey::Line(0), latency.symbol().into()));
    if let Some(points) = due {
        chart.layers.push(Layer::Line { color: 1, points });
        chart.legend.push((LegendKey::Line(1), "from due (waiting in the client included)".into()));
    }
    for p in MARKED {
        let value = values.percentile(p);
        if let Some((from, to)) = values.interval(p) {
            chart.layers.push(Layer::Interval { color: 0, y: p, from, to });
        }
        let label = if p == 99.0 {
            DotLabel::None
        } else {
            DotLabel::Below(format!("P{p} {} ms", short_number(value)))
        };
        chart.layers.push(Layer::Dot { color: 0, x: value, y: p, radius: 3.5, label });
    }
    chart.note = Some(note(latency, found, supported));
    fill_table(&mut chart, run, latency, values);
    chart
}

/// The outline between the ends of the intervals: up along the low ends, down along the high ends.
fn outline(band: &[Option<(Percent, (f64, f64))>]) -> Layer {
    let parts = band.split(Option::is_none).filter(|part| part.len() > 1);
    let parts = parts.map(|part| {
        let low = part.iter().flatten().map(|(p, (low, _))| (*low, *p));
        let high = part.iter().rev().flatten().map(|(p, (_, high))| (*high, *p));
        low.chain(high).collect()
    });
    Layer::Outline { color: 0, parts: parts.collect() }
}

/// The distribution from due, where the run has every request and waiting in the client changed it.
fn from_due(run: &Run, latency: Latency) -> Option<Vec<Option<(f64, f64)>>> {
    let late = match latency {
        Latency::Ttft => Latency::TtftFromDue,
        Latency::E2e => Latency::E2eFromDue,
        _ => return None,
    };
    let (sent, due) = (run.metrics.latencies.get(&latency)?, run.metrics.latencies.get(&late)?);
    if due.mean < sent.mean.mul_f64(1.02) {
        return None;
    }
    let mut histogram = DurationHistogram::default();
    samples(run.records.as_deref()?, late).for_each(|value| histogram.add(Bucket::from_duration(value), 1));
    let values = LatencyValues::new(due, histogram);
    (due.n > 1).then(|| values.curve())
}

fn note(latency: Latency, found: &Distribution, supported: Option<Percent>) -> String {
    let kind = if latency == Latency::Itl { "gaps between output events" } else { "requests" };
    let worth = found.percentiles.iter().map(|listed| listed.effective_n).min();
    let worth = worth.filter(|worth| *worth < found.n);
    let worth = worth.map(|n| format!(", worth {n} independent ones or more")).unwrap_or_default();
    let end = match supported {
        Some(p) => format!("up to P{p} they are enough"),
        None => "too few even for the median".to_owned(),
    };
    format!("{} {kind}{worth}: {end}. Curves are within 0.1 %.", found.n)
}

fn fill_table(chart: &mut Chart, run: &Run, latency: Latency, values: &LatencyValues) {
    let mut percents = [&TABLE[..], &run_metrics::table_percents(run)].concat();
    percents.sort_unstable_by(f64::total_cmp);
    percents.dedup();
    let symbol = latency.symbol();
    chart.table.head =
        ["percentile".to_owned(), format!("{symbol}, ms"), "low".into(), "high".into()].to_vec();
    for p in percents {
        let interval = values.interval(p);
        let value = values.percentile(p);
        let cells = vec![
            format!("P{p}"),
            short_number(value),
            optional_number(interval.map(|interval| interval.0)),
            optional_number(interval.map(|interval| interval.1)),
        ];
        chart.table.push_at(value, cells);
    }
}
