//! What a result states as lines of the CSV of runs.

use super::{NOT_JUDGED, latencies, rates};
use crate::model::metric_id::MetricUnit;
use crate::model::plain_text::spreadsheet_cell;
use crate::model::stated::{StatedLatency, StatedResult};

/// One line for each stated figure, with the columns of a run's CSV. None has an interval.
pub(crate) fn csv_lines(name: &str, result: &StatedResult) -> Vec<[String; 8]> {
    let verdict = format!("{NOT_JUDGED}: result of {}", result.origin());
    let line = |metric: String, unit: &str, value: f64, n: Option<u64>| {
        let n = n.map(|n| n.to_string()).unwrap_or_default();
        let none = String::new;
        let verdict = spreadsheet_cell(&verdict);
        [spreadsheet_cell(name), metric, unit.to_owned(), value.to_string(), none(), none(), n, verdict]
    };
    let mut lines = Vec::new();
    for (latency, stated) in latencies(result) {
        for (statistic, value) in statistics(stated) {
            lines.push(line(format!("{}.{statistic}", latency.key()), "ms", value, stated.n));
        }
    }
    for (id, value) in rates(result) {
        let MetricUnit::Plain(unit) = id.unit() else { continue };
        lines.push(line(id.to_string(), unit, value, None));
    }
    lines.extend(
        result
            .failure_rate()
            .map(|share| line("failure_rate".to_owned(), "share", share, result.request_count())),
    );
    lines
}

fn statistics(stated: &StatedLatency) -> Vec<(String, f64)> {
    let single =
        [("mean", stated.mean_ms), ("std", stated.std_ms), ("min", stated.min_ms), ("max", stated.max_ms)];
    let single = single.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let percentiles = stated.percentiles.iter().map(|stated| (format!("p{}", stated.p), stated.value_ms));
    single.chain(percentiles).collect()
}
