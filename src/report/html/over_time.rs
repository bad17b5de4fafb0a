//! The run over time: one time axis for the load, the server, the latencies and the tokens.

use super::axis::Axis;
use super::chart::{Chart, Layer, LegendKey};
use super::page::Section;
use super::table::{optional_number, short_number};
use super::time_points::{TimePoints, TimeUnit};
use crate::model::run::Run;
use crate::model::series::BucketQuantiles;
use crate::model::server::{ServerMetrics, ServerSignal};

/// The charts over time share their cursor.
const GROUP: &str = "time";

/// The most marks of failures.
const MAX_MARKS: usize = 200;

/// The section of what happened when.
pub(super) fn section(run: &Run) -> Section {
    let mut section = Section::new("time", "Over time");
    if run.series.arrivals.is_empty() {
        section.notes.push("The file has no time series.".into());
        return section;
    }
    let points = TimePoints::from_run(run);
    section.notes.push(points.note());
    section.charts.push(rates(run, &points));
    section.charts.push(in_flight(run, &points));
    section.charts.extend(quantiles("TTFT", &run.series.ttft, run, &points));
    match &run.series.itl {
        Some(itl) => section.charts.extend(quantiles("ITL", itl, run, &points)),
        None => section.notes.push("ITL over time: no request had two output events.".into()),
    }
    if run.series.output_tokens.iter().any(|tokens| *tokens > 0.0) {
        section.charts.push(tokens(run, &points));
    }
    match &run.server {
        Some(server) => section.charts.extend(kv_cache(run, server, &points)),
        None => section.notes.push("The server's own metrics were not recorded.".into()),
    }
    section
}

/// A chart on the time axis, with the steady window in the background.
fn chart(title: &str, y: Axis, run: &Run, points: &TimePoints) -> Chart {
    let TimeUnit { name, seconds } = points.unit;
    let x = Axis::until(format!("time since the start, {name}"), points.end / seconds);
    let mut chart = Chart { group: GROUP, ..Chart::new(title, x, y) };
    if let Ok(steady) = &run.steady {
        let [from, to] = [steady.window.start, steady.window.end].map(|at| at.as_secs_f64() / seconds);
        chart.layers.push(Layer::Span { class: "steady", from, to });
        chart.legend.push((LegendKey::Class("steady"), "steady state".into()));
    }
    chart.table.head = vec![format!("time, {name}")];
    chart
}

/// Marks restarts of the server, and points with failures, on a chart.
fn mark_incidents(chart: &mut Chart, run: &Run, points: &TimePoints) {
    for at in run.server.iter().flat_map(ServerMetrics::restarts).take(MAX_MARKS) {
        chart.layers.push(Layer::Rule {
            class: "restart",
            x: at / points.unit.seconds,
            label: "restart".into(),
        });
    }
    let failures = points.sums(&run.series.failures);
    let mut failed = (0..points.len()).filter(|at| failures[*at] > 0.0).peekable();
    if failed.peek().is_some() {
        chart.legend.push((LegendKey::Class("failure"), "failures".into()));
    }
    for at in failed {
        chart.layers.push(Layer::Tick { x: points.middle(at) });
    }
}

fn rates(run: &Run, points: &TimePoints) -> Chart {
    let series = &run.series;
    let columns = [
        ("offered (due)", points.sums(&series.arrivals)),
        ("sent", points.sums(&series.sent)),
        ("answered", points.sums(&series.completions)),
        ("failed", points.sums(&series.failures)),
    ];
    let most = columns.iter().flat_map(|(_, counts)| points.rates(counts)).flatten().fold(0.0, f64::max);
    let mut chart = chart("Request rate", Axis::from_zero("requests per second", most), run, points);
    // The offered rate is an area, since the line of the sent requests usually hides it.
    let offered = points.steps(&points.rates(&columns[0].1)).into_iter();
    let offered = offered.map(|point| point.map(|(x, rate)| (x, 0.0, rate))).collect();
    chart.layers.push(Layer::Band { color: 0, points: offered });
    chart.legend.push((LegendKey::Band(0), columns[0].0.into()));
    for (color, (name, counts)) in columns.iter().enumerate().skip(1).take(2) {
        chart.layers.push(Layer::Line { color, points: points.steps(&points.rates(counts)) });
        chart.legend.push((LegendKey::Line(color), (*name).into()));
    }
    mark_incidents(&mut chart, run, points);
    chart.table.head.extend(columns.iter().map(|(name, _)| format!("{name}, requests")));
    for at in 0..points.len() {
        let counts = columns.iter().map(|(_, counts)| short_count(counts[at]));
        chart
            .table
            .push_at(points.middle(at), std::iter::once(points.start_text(at)).chain(counts).collect());
    }
    chart
}

fn in_flight(run: &Run, points: &TimePoints) -> Chart {
    let series = &run.series;
    let mut columns = vec![
        ("in flight, mean", points.means(&series.in_flight_mean)),
        ("in flight, highest", points.highest(&series.in_flight_max)),
    ];
    if let Some(server) = &run.server {
        for (name, signal) in
            [("server: running", ServerSignal::Running), ("server: waiting", ServerSignal::Waiting)]
        {
            let gauge = points.sampled(&server.at_s, &server.gauge_series(signal));
            if gauge.iter().any(Option::is_some) {
                columns.push((name, gauge));
            }
        }
    }
    let most = columns.iter().flat_map(|(_, values)| values).flatten().copied().fold(0.0, f64::max);
    let mut chart = chart("Requests in flight", Axis::from_zero("requests", most), run, points);
    draw_columns(&mut chart, &columns, points);
    chart
}

/// The P50 to P99 band of a latency; `None` where it has no value.
fn quantiles(name: &str, latency: &BucketQuantiles, run: &Run, points: &TimePoints) -> Option<Chart> {
    let scaled = |values: &[Option<f64>]| {
        let values = points.highest_of(values).into_iter();
        values.map(|value| value.map(|seconds| seconds * 1e3)).collect::<Vec<_>>()
    };
    let (p50, p99) = (scaled(&latency.p50_s), scaled(&latency.p99_s));
    let most = p99.iter().chain(&p50).flatten().copied().fold(0.0, f64::max);
    (most > 0.0).then(|| {
        let mut chart = chart(&format!("{name} over time"), Axis::from_zero("ms", most), run, points);
        let band = (0..points.len()).map(|at| Some((points.middle(at), p50[at]?, p99[at]?)));
        chart.layers.push(Layer::Band { color: 0, points: band.collect() });
        chart.layers.push(Layer::Line { color: 0, points: points.line(&p50) });
        chart.layers.push(Layer::Line { color: 1, points: points.line(&p99) });
        chart.legend.push((LegendKey::Line(0), "P50".into()));
        chart.legend.push((LegendKey::Line(1), "P99".into()));
        mark_incidents(&mut chart, run, points);
        chart.note = Some(match points.per_point {
            1 => "Of the values that ended in each interval; with fewer than 100 of them P99 is close to their maximum."
                .to_owned(),
            n => format!("The highest of the {n} intervals that each point covers."),
        });
        chart.table.head.extend([format!("{name} P50, ms"), format!("{name} P99, ms")]);
        for at in 0..points.len() {
            let cells = vec![points.start_text(at), optional_number(p50[at]), optional_number(p99[at])];
            chart.table.push_at(points.middle(at), cells);
        }
        chart
    })
}

fn tokens(run: &Run, points: &TimePoints) -> Chart {
    let tokens = points.sums(&run.series.output_tokens);
    let rates = points.rates(&tokens);
    let most = rates.iter().flatten().copied().fold(0.0, f64::max);
    let mut chart = chart("Output tokens", Axis::from_zero("tokens per second", most), run, points);
    chart.layers.push(Layer::Line { color: 2, points: points.steps(&rates) });
    chart.legend.push((LegendKey::Line(2), "output tokens of answered requests".into()));
    chart.table.head.extend(["output tokens".into(), "tokens per second".into()]);
    for (at, rate) in rates.iter().enumerate() {
        let cells = vec![points.start_text(at), short_number(tokens[at]), optional_number(*rate)];
        chart.table.push_at(points.middle(at), cells);
    }
    chart
}

/// The KV cache and preemptions of the server; `None` if it reports neither.
fn kv_cache(run: &Run, server: &ServerMetrics, points: &TimePoints) -> Option<Chart> {
    let share = server.gauge_series(ServerSignal::KvUsage);
    let usage: Vec<Option<f64>> = points
        .sampled(&server.at_s, &share)
        .into_iter()
        .map(|value| value.map(|share| 100.0 * share))
        .collect();
    let hits = server.gauge_series(ServerSignal::PrefixHitRate);
    let hits: Vec<Option<f64>> = points
        .sampled(&server.at_s, &hits)
        .into_iter()
        .map(|value| value.map(|share| 100.0 * share))
        .collect();
    let columns: Vec<(&str, Vec<Option<f64>>)> = [("KV cache usage", usage), ("prefix cache hit rate", hits)]
        .into_iter()
        .filter(|(_, values)| values.iter().any(Option::is_some))
        .collect();
    if columns.is_empty() {
        return None;
    }
    let most = columns.iter().flat_map(|(_, values)| values).flatten().copied().fold(1.0, f64::max);
    let mut chart = chart("The server's caches", Axis::from_zero("%", most), run, points);
    draw_columns(&mut chart, &columns, points);
    let preemptions = server.counter_total(ServerSignal::Preemptions);
    chart.note = preemptions.map(|count| format!("Preemptions during the run: {count}."));
    Some(chart)
}

/// Draws columns as lines, and writes them into the table.
fn draw_columns(chart: &mut Chart, columns: &[(&str, Vec<Option<f64>>)], points: &TimePoints) {
    for (color, (name, values)) in columns.iter().enumerate() {
        chart.layers.push(Layer::Line { color, points: points.line(values) });
        chart.legend.push((LegendKey::Line(color), (*name).into()));
        chart.table.head.push((*name).into());
    }
    for at in 0..points.len() {
        let values = columns.iter().map(|(_, values)| optional_number(values[at]));
        chart
            .table
            .push_at(points.middle(at), std::iter::once(points.start_text(at)).chain(values).collect());
    }
}

fn short_count(count: f64) -> String {
    format!("{count:.0}")
}
