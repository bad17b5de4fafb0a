//! The curves of several runs: latency and throughput against load, and the distributions over each other.

use std::collections::{BTreeMap, BTreeSet};

use super::axis::Axis;
use super::chart::{COLORS, Chart, DotLabel, Layer, LegendKey};
use super::distributions::LatencyValues;
use super::foreign_text::{NAME, foreign_text};
use super::page::Section;
use super::table::{Cell, Row, short_number};
use crate::model::metric_id::{MetricId, MetricUnit, Statistic};
use crate::model::metrics::Latency;
use crate::model::run::Run;
use crate::report::format::unit_symbol;
use crate::report::run_metrics::MetricRow;

/// The most runs whose distributions are drawn over each other: more colors cannot be told apart.
const MAX_OVERLAID: usize = COLORS;

/// The percentiles of the tables of distributions.
const PERCENTS: [f64; 7] = [10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0];

const TITLE: &str = "Load curve";

/// A run on the curves.
struct CurvePoint<'a> {
    name: &'a str,
    run: &'a Run,
    load: f64,
}

/// The section of the curves against load.
pub(super) fn section(runs: &[(&str, &Run)]) -> Section {
    let (label, groups) = match groups(runs) {
        Ok(found) => found,
        Err(why) => return Section::absent("curve", TITLE, why),
    };
    let mut section = Section::new("curve", TITLE);
    let latency = |latency, statistic| MetricId::Latency(latency, statistic);
    let p95 = Statistic::Percentile(95.0);
    let ids = [
        Some(latency(Latency::Ttft, p95)),
        Some(latency(Latency::Tpot, Statistic::Mean)),
        Some(latency(Latency::E2e, p95)),
        MetricId::scalar("output_throughput"),
        MetricId::scalar("request_throughput").filter(|_| label.starts_with("requests in flight")),
        MetricId::scalar("goodput_ratio"),
    ];
    section.charts.extend(ids.into_iter().flatten().filter_map(|id| against_load(id, &label, &groups)));
    section.charts.extend(pareto(&groups));
    section
}

/// Groups the runs that measured the same server, each sorted by load, and names the load.
fn groups<'a>(
    runs: &[(&'a str, &'a Run)],
) -> Result<(String, BTreeMap<String, Vec<CurvePoint<'a>>>), String> {
    let is_closed = runs.iter().all(|(_, run)| run.spec.load.closed_loop_size().is_some());
    let load_of = |run: &Run| match is_closed {
        true => run.spec.load.closed_loop_size().map(|cap| cap.get() as f64),
        false => MetricId::scalar("request_throughput")?.value(run),
    };
    // Where each run has an address of its own, as simulators and launched servers do, the address tells nothing.
    let addresses: BTreeSet<String> = runs.iter().map(|(_, run)| run.spec.target.display_url()).collect();
    let are_addresses_names = addresses.len() < runs.len();
    let mut groups: BTreeMap<String, Vec<CurvePoint<'a>>> = BTreeMap::new();
    for (name, run) in runs.iter().filter(|(_, run)| run.metrics.completed > 0) {
        let Some(load) = load_of(run) else { continue };
        let target = &run.spec.target;
        let server = run.environment.server_version.as_deref().unwrap_or_default();
        let address = if are_addresses_names { target.display_url() } else { String::new() };
        let key = foreign_text(format!("{} {server} {address}", target.model).trim_end(), NAME);
        groups.entry(key).or_default().push(CurvePoint { name, run, load });
    }
    groups.values_mut().for_each(|points| points.sort_by(|a, b| a.load.total_cmp(&b.load)));
    let loads: Vec<f64> = groups.values().flatten().map(|point| point.load).collect();
    if groups.len() > COLORS {
        return Err(format!("These runs are of {} servers, more than a chart can show.", groups.len()));
    }
    if loads.iter().all(|load| Some(load) == loads.first()) {
        return Err("These runs do not differ in their load.".into());
    }
    let label = if is_closed { "requests in flight (cap)" } else { "answered requests per second" };
    Ok((label.to_owned(), groups))
}

/// A metric against the load; `None` where no run has it.
fn against_load(id: MetricId, label: &str, groups: &BTreeMap<String, Vec<CurvePoint<'_>>>) -> Option<Chart> {
    let all = || groups.values().flatten();
    let unit = unit_symbol(id.unit());
    let factor = if id.unit() == MetricUnit::Share { 100.0 } else { 1.0 };
    let most = all().filter_map(|point| id.value(point.run)).fold(0.0, f64::max) * factor;
    if most <= 0.0 {
        return None;
    }
    let x = Axis::from_zero(label, all().map(|point| point.load).fold(0.0, f64::max));
    let mut chart = Chart::new(format!("{} against load", id.label()), x, Axis::from_zero(unit, most));
    chart.table.head = vec![label.to_owned(), "run".into(), id.label(), "interval".into(), "verdict".into()];
    for (color, (name, points)) in groups.iter().enumerate() {
        let at = |point: &CurvePoint<'_>| Some((point.load, id.value(point.run)? * factor));
        chart.layers.push(Layer::Line { color, points: points.iter().map(at).collect() });
        if groups.len() > 1 {
            chart.legend.push((LegendKey::Line(color), name.clone()));
        }
        for point in points {
            let Some(row) = MetricRow::from_run(id, point.run) else { continue };
            let label = match row.invalid {
                Some(_) => DotLabel::Below("INVALID".into()),
                None => DotLabel::None,
            };
            let (x, y) = (point.load, row.value * factor);
            chart.layers.push(Layer::Dot { color, x, y, radius: 3.5, label });
            let cells = vec![
                short_number(point.load),
                foreign_text(point.name, NAME),
                row.value_text(),
                row.interval_text().unwrap_or_default(),
                if row.invalid.is_some() { "INVALID".into() } else { "valid".into() },
            ];
            chart.table.push_at(point.load, cells);
        }
    }
    Some(chart)
}

/// Throughput against the speed that one user sees; `None` where a run has neither.
fn pareto(groups: &BTreeMap<String, Vec<CurvePoint<'_>>>) -> Option<Chart> {
    let tpot = MetricId::Latency(Latency::Tpot, Statistic::Mean);
    let throughput = MetricId::scalar("output_throughput")?;
    let at = |point: &CurvePoint<'_>| {
        let speed = 1e3 / tpot.value(point.run).filter(|tpot| *tpot > 0.0)?;
        Some((speed, throughput.value(point.run)?))
    };
    let places: Vec<(f64, f64)> = groups.values().flatten().filter_map(at).collect();
    if places.len() < 2 {
        return None;
    }
    let highest = |of: fn(&(f64, f64)) -> f64| places.iter().map(of).fold(0.0, f64::max);
    let x = Axis::from_zero("tokens per second of one user (1 / mean TPOT)", highest(|place| place.0));
    let y = Axis::from_zero("output tokens per second of all", highest(|place| place.1));
    let mut chart = Chart::new("Throughput against speed per user", x, y);
    chart.table.head = ["tok/s per user", "run", "output tok/s", "load"].map(ToOwned::to_owned).to_vec();
    for (color, (name, points)) in groups.iter().enumerate() {
        chart.layers.push(Layer::Line { color, points: points.iter().map(at).collect() });
        if groups.len() > 1 {
            chart.legend.push((LegendKey::Line(color), name.clone()));
        }
        for (point, (x, y)) in points.iter().filter_map(|point| Some((point, at(point)?))) {
            let load = short_number(point.load);
            chart.layers.push(Layer::Dot { color, x, y, radius: 3.5, label: DotLabel::Above(load.clone()) });
            let cells = vec![short_number(x), foreign_text(point.name, NAME), short_number(y), load];
            chart.table.push_at(x, cells);
        }
    }
    Some(chart)
}

/// The section of the distributions of several runs over each other.
pub(super) fn distributions(runs: &[(&str, &Run)]) -> Section {
    const TITLE: &str = "Distributions";
    if runs.len() > MAX_OVERLAID {
        let why = format!("Distributions are drawn over each other for up to {MAX_OVERLAID} runs.");
        return Section::absent("distributions", TITLE, why);
    }
    let mut section = Section::new("distributions", TITLE);
    for latency in Latency::SELECTABLE {
        let values: Vec<(usize, &str, LatencyValues<'_>)> = runs
            .iter()
            .enumerate()
            .filter(|(_, (_, run))| run.metrics.latencies.get(&latency).is_some_and(|found| found.n > 1))
            .filter_map(|(color, (name, run))| Some((color, *name, LatencyValues::from_run(run, latency)?)))
            .collect();
        if !values.is_empty() {
            section.charts.push(overlaid(latency, &values));
        }
    }
    if section.charts.is_empty() {
        section.notes.push("No run has two answers, so there is no distribution.".into());
    }
    section
}

fn overlaid(latency: Latency, values: &[(usize, &str, LatencyValues<'_>)]) -> Chart {
    let curves: Vec<_> = values.iter().map(|(_, _, values)| values.curve()).collect();
    let all = curves.iter().flatten().flatten().map(|(x, _)| *x);
    let x = Axis::log(format!("{}, ms", latency.symbol()), all);
    let y = Axis::exact("share of values at or below, %", (0.0, 100.0), 20.0);
    let mut chart = Chart::new(format!("{} ({})", latency.title(), latency.symbol()), x, y);
    chart.table.head = vec!["percentile".into()];
    for ((color, name, _), points) in values.iter().zip(curves) {
        chart.layers.push(Layer::Line { color: *color, points });
        let name = foreign_text(name, NAME);
        chart.legend.push((LegendKey::Line(*color), name.clone()));
        chart.table.head.push(format!("{name}, ms"));
    }
    for p in PERCENTS {
        let found = values.iter().map(|(_, _, values)| short_number(values.percentile(p)));
        let cells = std::iter::once(format!("P{p}")).chain(found);
        let cells = cells.map(Cell::from).collect();
        chart.table.rows.push(Row { cells, ..Row::default() });
    }
    chart
}
