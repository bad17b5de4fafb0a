//! The curves of several runs: latency and throughput against load.

use std::collections::{BTreeMap, BTreeSet};

use super::axis::Axis;
use super::chart::{COLORS, Chart, DotLabel, Layer, LegendKey};
use super::foreign_text::{NAME, foreign_text};
use super::page::Section;
use super::table::short_number;
use crate::analysis::search::knee_of_curve;
use crate::model::metric_id::{MetricId, MetricUnit, Statistic};
use crate::model::metrics::Latency;
use crate::model::run::Run;
use crate::report::format::unit_symbol;
use crate::report::run_metrics::MetricRow;

const TITLE: &str = "Load curve";

/// A run on the curves.
struct CurvePoint<'a> {
    name: &'a str,
    run: &'a Run,
    load: f64,
}

/// The runs of each curve, sorted by load.
type Curves<'a> = BTreeMap<String, Vec<CurvePoint<'a>>>;

/// The section of the curves of runs against load: a curve for each server.
pub(super) fn section(runs: &[(&str, &Run)]) -> Section {
    // Where each run has an address of its own, as simulators and launched servers do, the address tells nothing.
    let addresses: BTreeSet<String> = runs.iter().map(|(_, run)| run.spec.target.display_url()).collect();
    let are_addresses_names = addresses.len() < runs.len();
    let of_server = |run: &Run| {
        let target = &run.spec.target;
        let server = run.environment.server_version.as_deref().unwrap_or_default();
        let address = if are_addresses_names { target.display_url() } else { String::new() };
        foreign_text(format!("{} {server} {address}", target.model).trim_end(), NAME)
    };
    let named: Vec<_> = runs.iter().map(|(name, run)| (of_server(run), *name, *run)).collect();
    let (label, curves) = match curves(&named) {
        Ok(found) => found,
        Err(why) => return Section::absent("curve", TITLE, why),
    };
    let mut section = Section::new("curve", TITLE);
    section.charts = against_loads(label, &curves);
    section.charts.extend(pareto(&curves));
    section
}

/// Metrics against the load, for runs that each have the name of their curve and their own; or why there are none.
pub(super) fn of_named_curves(runs: &[(String, &str, &Run)]) -> Result<Vec<Chart>, String> {
    curves(runs).map(|(label, curves)| against_loads(label, &curves))
}

/// Groups the runs by curve, and names the load.
fn curves<'a>(runs: &[(String, &'a str, &'a Run)]) -> Result<(&'static str, Curves<'a>), String> {
    let is_closed = runs.iter().all(|(_, _, run)| run.spec.load.closed_loop_size().is_some());
    let load_of = |run: &Run| match is_closed {
        true => run.spec.load.closed_loop_size().map(|cap| cap.get() as f64),
        false => MetricId::scalar("request_throughput")?.value(run),
    };
    let mut curves: Curves<'a> = BTreeMap::new();
    for (curve, name, run) in runs.iter().filter(|(_, _, run)| run.metrics.completed > 0) {
        let Some(load) = load_of(run) else { continue };
        curves.entry(curve.clone()).or_default().push(CurvePoint { name, run, load });
    }
    curves.values_mut().for_each(|points| points.sort_by(|a, b| a.load.total_cmp(&b.load)));
    if curves.len() > COLORS {
        return Err(format!("These runs are of {} servers, more than a chart can show.", curves.len()));
    }
    let loads: Vec<f64> = curves.values().flatten().map(|point| point.load).collect();
    if loads.iter().all(|load| Some(load) == loads.first()) {
        return Err("These runs do not differ in their load.".into());
    }
    let label = if is_closed { "requests in flight (cap)" } else { "answered requests per second" };
    Ok((label, curves))
}

/// The charts of the metrics that the runs have.
fn against_loads(label: &str, curves: &Curves<'_>) -> Vec<Chart> {
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
    ids.into_iter().flatten().filter_map(|id| against_load(id, label, curves)).collect()
}

/// A line through points that are sorted by load; repeats of a load are one point at their mean.
fn mean_line(points: &[(f64, f64)]) -> Vec<Option<(f64, f64)>> {
    let repeats = points.chunk_by(|a, b| a.0 == b.0);
    let mean = |repeats: &[(f64, f64)]| {
        Some((repeats[0].0, repeats.iter().map(|point| point.1).sum::<f64>() / repeats.len() as f64))
    };
    repeats.map(mean).collect()
}

/// A metric against the load; `None` where no run has it.
fn against_load(id: MetricId, label: &str, curves: &Curves<'_>) -> Option<Chart> {
    let all = || curves.values().flatten();
    let unit = unit_symbol(id.unit());
    let factor = if id.unit() == MetricUnit::Share { 100.0 } else { 1.0 };
    let most = all().filter_map(|point| id.value(point.run)).fold(0.0, f64::max) * factor;
    if most <= 0.0 {
        return None;
    }
    let x = Axis::from_zero(label, all().map(|point| point.load).fold(0.0, f64::max));
    let mut chart = Chart::new(format!("{} against load", id.label()), x, Axis::from_zero(unit, most));
    chart.table.head = vec![label.to_owned(), "run".into(), id.label(), "interval".into(), "verdict".into()];
    for (color, (name, points)) in curves.iter().enumerate() {
        let at = |point: &CurvePoint<'_>| Some((point.load, id.value(point.run)? * factor));
        let line: Vec<(f64, f64)> = points.iter().filter_map(at).collect();
        chart.layers.push(Layer::Line { color, points: mean_line(&line) });
        if curves.len() > 1 {
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
    mark_limit(&mut chart, id, curves);
    mark_knees(&mut chart, id, curves);
    Some(chart)
}

/// Marks the limit of the SLO on the latency that it is about, where all runs have the same one.
fn mark_limit(chart: &mut Chart, id: MetricId, curves: &Curves<'_>) {
    let limit = |point: &CurvePoint<'_>| match id {
        MetricId::Latency(Latency::Ttft, _) => point.run.spec.slo.ttft,
        MetricId::Latency(Latency::Tpot, _) => point.run.spec.slo.tpot,
        MetricId::Latency(Latency::E2e, _) => point.run.spec.slo.e2e,
        _ => None,
    };
    let limits: BTreeSet<_> = curves.values().flatten().map(limit).collect();
    let (Some(Some(limit)), 1) = (limits.first(), limits.len()) else { return };
    let y = 1e3 * limit.as_secs_f64();
    // A limit far above the values is not in the picture.
    if y <= chart.y.high {
        let label = format!("limit of the SLO, {} ms", short_number(y));
        chart.layers.push(Layer::Level { class: "limit", y, label });
    }
}

/// Marks where the latency of the first output turns from flat to steep.
fn mark_knees(chart: &mut Chart, id: MetricId, curves: &Curves<'_>) {
    if !matches!(id, MetricId::Latency(Latency::Ttft, _)) {
        return;
    }
    let at =
        |point: &CurvePoint<'_>| Some((point.load, id.value(point.run)?, point.run.metrics.request_count()));
    let knee = |points: &[CurvePoint<'_>]| knee_of_curve(points.iter().filter_map(at).collect());
    let knees: Vec<(&String, f64)> =
        curves.iter().filter_map(|(name, points)| Some((name, knee(points)?))).collect();
    match &knees[..] {
        [] => {}
        [(_, knee)] if curves.len() == 1 => {
            chart.layers.push(Layer::Rule { class: "marker", x: *knee, label: "knee".into() });
        }
        several => {
            let knees: Vec<String> =
                several.iter().map(|(name, knee)| format!("{name} at {}", short_number(*knee))).collect();
            chart.note = Some(format!("Knees: {}.", knees.join(", ")));
        }
    }
}

/// Throughput against the speed that one user sees; `None` where a run has neither.
fn pareto(curves: &Curves<'_>) -> Option<Chart> {
    let tpot = MetricId::Latency(Latency::Tpot, Statistic::Mean);
    let throughput = MetricId::scalar("output_throughput")?;
    let at = |point: &CurvePoint<'_>| {
        let speed = 1e3 / tpot.value(point.run).filter(|tpot| *tpot > 0.0)?;
        Some((speed, throughput.value(point.run)?))
    };
    let places: Vec<(f64, f64)> = curves.values().flatten().filter_map(at).collect();
    if places.len() < 2 {
        return None;
    }
    let highest = |of: fn(&(f64, f64)) -> f64| places.iter().map(of).fold(0.0, f64::max);
    let x = Axis::from_zero("tokens per second of one user (1 / mean TPOT)", highest(|place| place.0));
    let y = Axis::from_zero("output tokens per second of all", highest(|place| place.1));
    let mut chart = Chart::new("Throughput against speed per user", x, y);
    chart.table.head = ["tok/s per user", "run", "output tok/s", "load"].map(ToOwned::to_owned).to_vec();
    for (color, (name, points)) in curves.iter().enumerate() {
        chart.layers.push(Layer::Line { color, points: points.iter().map(at).collect() });
        if curves.len() > 1 {
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
