//! The run over time: one time axis for the load, the server, the latencies and the tokens.

use super::axis::Axis;
use super::chart::{Chart, Layer, LegendKey};
use super::page::Section;
use super::run_marks::RunMarks;
use super::server_over_time;
use super::table::{optional_number, short_number};
use super::time_chart::{TimeColumn, chart, draw_columns};
use super::time_points::TimePoints;
use crate::model::run::Run;
use crate::model::series::BucketQuantiles;
use crate::model::server::ServerSignal;

/// The section of what happened when.
pub(super) fn section(run: &Run) -> Section {
    let mut section = Section::new("time", "Over time");
    if run.series.arrivals.is_empty() {
        section.notes.push("The file has no time series.".into());
        return section;
    }
    let points = TimePoints::from_run(run);
    let marks = RunMarks::from_run(run, points.end);
    section.notes.push(points.note());
    section.tables.extend(marks.table(run, &points));
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
        Some(server) => section.charts.extend(server_over_time::charts(run, server, &points)),
        None => section.notes.push("The server's own metrics were not recorded.".into()),
    }
    for (at, chart) in section.charts.iter_mut().enumerate() {
        marks.draw(chart, &points, at == 0);
        mark_failures(chart, run, &points);
    }
    section
}

/// Marks points with failures.
fn mark_failures(chart: &mut Chart, run: &Run, points: &TimePoints) {
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
    let mut columns: Vec<TimeColumn> = vec![
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

/// The P50 to P95 band of a latency; `None` where it has no value.
fn quantiles(name: &str, latency: &BucketQuantiles, run: &Run, points: &TimePoints) -> Option<Chart> {
    let scaled = |values: &[Option<f64>]| {
        let values = points.highest_of(values).into_iter();
        values.map(|value| value.map(|seconds| seconds * 1e3)).collect::<Vec<_>>()
    };
    let columns = [("P50", &latency.p50_s), ("P95", &latency.p95_s), ("P99", &latency.p99_s)];
    // Results from before P95 was kept have P99 alone.
    let columns = columns.map(|(p, values)| (p, scaled(values)));
    let columns: Vec<_> = columns.into_iter().filter(|(_, values)| !values.is_empty()).collect();
    let [(_, p50), (high_name, high), ..] = &columns[..] else { return None };
    let most = high.iter().chain(p50).flatten().copied().fold(0.0, f64::max);
    let mut chart = chart(&format!("{name} over time"), Axis::from_zero("ms", most), run, points);
    let band = (0..points.len()).map(|at| Some((points.middle(at), p50[at]?, high[at]?)));
    chart.layers.push(Layer::Band { color: 0, points: band.collect() });
    for (color, (p, values)) in [("P50", p50), (*high_name, high)].into_iter().enumerate() {
        chart.layers.push(Layer::Line { color, points: points.line(values) });
        chart.legend.push((LegendKey::Line(color), p.into()));
    }
    chart.note = Some(match points.per_point {
        1 => format!(
            "Of the values that ended in each interval; with few of them {high_name} is close to their maximum."
        ),
        n => format!("The highest of the {n} intervals that each point covers."),
    });
    chart.table.head.extend(columns.iter().map(|(p, _)| format!("{name} {p}, ms")));
    for at in 0..points.len() {
        let values = columns.iter().map(|(_, values)| optional_number(values[at]));
        let cells = std::iter::once(points.start_text(at)).chain(values).collect();
        chart.table.push_at(points.middle(at), cells);
    }
    (most > 0.0).then_some(chart)
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

fn short_count(count: f64) -> String {
    format!("{count:.0}")
}
