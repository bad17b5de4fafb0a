//! The server's caches, preemptions and speculation over time.

use super::axis::Axis;
use super::chart::Chart;
use super::time_chart::{TimeColumn, chart, draw_columns};
use super::time_points::TimePoints;
use crate::model::run::Run;
use crate::model::server::{ServerMetrics, ServerSignal, share_of};

/// The charts of what the server reports.
pub(super) fn charts(run: &Run, server: &ServerMetrics, points: &TimePoints) -> Vec<Chart> {
    let shares = |title: &str, columns: Vec<TimeColumn>| shares(title, columns, run, points);
    let caches = vec![
        ("KV cache usage", gauge(server, ServerSignal::KvUsage, points)),
        ("prefix cache hit rate", hit_rate(server, points)),
    ];
    let accepted = ratio(server, [ServerSignal::SpecAcceptedTokens, ServerSignal::SpecDraftTokens], points);
    [
        shares("The server's caches", caches),
        preemptions(run, server, points),
        shares("Speculative decoding", vec![("accepted of the drafted tokens", accepted)]),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Shares in percent; `None` if the server reports none of them.
fn shares(title: &str, columns: Vec<TimeColumn>, run: &Run, points: &TimePoints) -> Option<Chart> {
    let known = columns.into_iter().filter(|(_, shares)| shares.iter().any(Option::is_some));
    let percent = |share: Option<f64>| share.map(|share| 100.0 * share);
    let columns: Vec<TimeColumn> =
        known.map(|(name, shares)| (name, shares.into_iter().map(percent).collect())).collect();
    let most = columns.iter().flat_map(|(_, values)| values).flatten().copied().fold(1.0, f64::max);
    let mut chart = chart(title, Axis::from_zero("%", most), run, points);
    draw_columns(&mut chart, &columns, points);
    (!columns.is_empty()).then_some(chart)
}

/// The preemptions at each point; `None` if there were none.
fn preemptions(run: &Run, server: &ServerMetrics, points: &TimePoints) -> Option<Chart> {
    let counts = points.sampled_sums(&server.at_s, &server.counter_series(ServerSignal::Preemptions));
    let most = counts.iter().flatten().copied().fold(0.0, f64::max);
    let mut chart = chart("Preemptions", Axis::from_zero("preempted requests", most), run, points);
    draw_columns(&mut chart, &[("preempted requests", counts)], points);
    let total = server.counter_total(ServerSignal::Preemptions);
    chart.note = total.map(|count| format!("During the run: {count}."));
    (most > 0.0).then_some(chart)
}

fn gauge(server: &ServerMetrics, signal: ServerSignal, points: &TimePoints) -> Vec<Option<f64>> {
    points.sampled(&server.at_s, &server.gauge_series(signal))
}

/// The share of looked-up prompt tokens that the prefix cache had, from counts if the server has them.
fn hit_rate(server: &ServerMetrics, points: &TimePoints) -> Vec<Option<f64>> {
    let counted = ratio(server, [ServerSignal::PrefixHits, ServerSignal::PrefixQueries], points);
    if counted.iter().any(Option::is_some) {
        return counted;
    }
    gauge(server, ServerSignal::PrefixHitRate, points)
}

/// A count as a share of another at each point.
fn ratio(server: &ServerMetrics, counts: [ServerSignal; 2], points: &TimePoints) -> Vec<Option<f64>> {
    let [part, whole] =
        counts.map(|signal| points.sampled_sums(&server.at_s, &server.counter_series(signal)));
    part.into_iter().zip(whole).map(|(part, whole)| share_of(part?, whole?)).collect()
}
