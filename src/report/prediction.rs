//! Predictions under several loads, against a measurement, of several routers, and of a fleet's size.

use std::io::{self, Write};

use super::format::unit_symbol;
use super::table::{Column, Table, row};
use super::text::section;
use crate::analysis::prediction_check::{CheckedMetric, PredictionCheck};
use crate::model::metric_id::{MetricId, MetricUnit};
use crate::model::plain_text::one_line;
use crate::model::prediction::{FleetSize, PredictedValue, Prediction, RouterComparison, RouterDifferences};

/// The metrics of the table of loads.
const LOAD_COLUMNS: [&str; 6] =
    ["ttft.mean", "ttft.p95", "tpot.mean", "e2el.mean", "request_throughput", "output_throughput"];

/// Writes a row for each load, with its utilization, its metrics and what it extrapolates. Intervals follow the values.
pub(crate) fn load_table(rows: &[(String, &Prediction)], to: &mut impl Write) -> io::Result<()> {
    let metrics: Vec<MetricId> = LOAD_COLUMNS.iter().filter_map(|name| name.parse().ok()).collect();
    let titles = metrics.iter().map(|metric| format!("{} {}", metric.label(), unit_symbol(metric.unit())));
    let head =
        ["load".to_owned(), "ρ %".to_owned()].into_iter().chain(titles).chain(["extrapolates".to_owned()]);
    let mut lines = vec![head.collect::<Vec<_>>()];
    for (load, prediction) in rows {
        let rho = prediction.utilization.map(|value| with_interval(value.times(100.0), ""));
        let cells = metrics.iter().map(|metric| {
            let value = prediction.metrics.get(&metric.to_string());
            value.map(|value| bare(*metric, *value)).unwrap_or_default()
        });
        let beyond = prediction.largest_extrapolation();
        let beyond = beyond
            .map(|beyond| format!("{:.0} % of {}", 100.0 * beyond.share, beyond.of))
            .unwrap_or_default();
        let row = [one_line(load), rho.unwrap_or_default()].into_iter().chain(cells).chain([beyond]);
        lines.push(row.map(|cell| cell.trim_end().to_owned()).collect());
    }
    section("Predicted, not measured", to)?;
    Table::left(lines).write(to)?;
    let coverage = rows.first().map_or(0.0, |(_, prediction)| 100.0 * prediction.coverage);
    writeln!(
        to,
        "Brackets: {coverage:.0} % prediction intervals. ρ: the load as a share of what the servers can sustain."
    )?;
    // The load's own are in the table. Several loads have the same servers, and so the same limits.
    let mut others: Vec<String> = Vec::new();
    for (place, beyond) in rows.iter().flat_map(|(_, prediction)| prediction.all_extrapolations()) {
        let line = format!("EXTRAPOLATES{}: {}", at_place(place), one_line(&beyond.to_string()));
        if !place.is_empty() && !others.contains(&line) {
            others.push(line);
        }
    }
    others.iter().try_for_each(|line| writeln!(to, "{line}"))
}

/// Writes a prediction beside what was measured.
pub(crate) fn check_table(check: &PredictionCheck, to: &mut impl Write) -> io::Result<()> {
    section(&format!("Check against {}", one_line(&check.measured)), to)?;
    const COLUMNS: [Column; 5] = [Column::LEFT, Column::RIGHT, Column::RIGHT, Column::LEFT, Column::RIGHT];
    let line = |found: &CheckedMetric| {
        vec![
            found.metric.label(),
            point_text(found.metric, found.measured),
            point_text(found.metric, found.predicted.point),
            interval_text(found.metric, found.predicted),
            found.error.map_or("n/a".to_owned(), |error| format!("{:+.1} %", 100.0 * error)),
            if found.is_inside { "inside" } else { "OUTSIDE" }.to_owned(),
        ]
    };
    let head = row(["", "measured", "predicted", "interval", "error", "interval has it"]);
    Table::new(&COLUMNS, std::iter::once(head).chain(check.rows.iter().map(line)).collect()).write(to)?;
    writeln!(
        to,
        "{} of {} measured values are inside their intervals",
        check.inside_count(),
        check.rows.len()
    )?;
    check.left_out.iter().try_for_each(|why| writeln!(to, "{why}"))
}

/// Writes the paired differences of routers.
pub(crate) fn router_table(comparison: &RouterComparison, to: &mut impl Write) -> io::Result<()> {
    for RouterDifferences { router, differences } in &comparison.others {
        section(&format!("{} against {}", one_line(router), one_line(&comparison.base)), to)?;
        let mut lines = vec![row(["", "base", "difference", "interval", ""])];
        for (name, paired) in differences {
            let Ok(metric) = name.parse::<MetricId>() else { continue };
            let verdict = match (paired.is_different(), paired.difference.point < 0.0) {
                (false, _) => "no difference found",
                (true, true) => "lower",
                (true, false) => "higher",
            };
            lines.push(vec![
                metric.label(),
                point_text(metric, paired.base),
                point_text(metric, paired.difference.point),
                interval_text(metric, paired.difference),
                verdict.to_owned(),
            ]);
        }
        Table::left(lines).write(to)?;
    }
    writeln!(
        to,
        "Routers see the same arrivals, lengths and noise. They differ where the interval of the paired difference excludes \
         zero; whether a small difference is real on real servers, only a measurement shows."
    )
}

/// Writes the least number of replicas.
pub(crate) fn fleet_size(fleet: &FleetSize, to: &mut impl Write) -> io::Result<()> {
    section("Fleet", to)?;
    let count = |replicas: Option<usize>| {
        replicas.map_or_else(|| format!("more than {}", fleet.most), |replicas| replicas.to_string())
    };
    let [low, middle, high] = fleet.replicas.map(count);
    let slo: Vec<String> = fleet.slo.iter().map(|rule| one_line(rule)).collect();
    writeln!(to, "Least replicas that meet {}: {middle} (5 %: {low}, 95 %: {high})", slo.join(" and "))?;
    let mut extrapolations = fleet.extrapolations.iter();
    extrapolations.try_for_each(|beyond| writeln!(to, "EXTRAPOLATES: {}", one_line(&beyond.to_string())))
}

/// The place of an extrapolation after a word; nothing for the load itself.
pub(crate) fn at_place(place: &str) -> String {
    if place.is_empty() { String::new() } else { format!(" {place}") }
}

/// `[115, 125]`, in the metric's unit.
pub(crate) fn interval_text(id: MetricId, value: PredictedValue) -> String {
    format!("[{}, {}]", without_unit(id, value.low), without_unit(id, value.high))
}

/// `120 [115, 125]`, in the metric's unit.
pub(super) fn bare(id: MetricId, value: PredictedValue) -> String {
    format!("{} {}", without_unit(id, value.point), interval_text(id, value))
}

/// The value with its unit: `13.4 ms`.
pub(crate) fn point_text(id: MetricId, value: f64) -> String {
    format!("{} {}", without_unit(id, value), unit_symbol(id.unit())).trim_end().to_owned()
}

fn without_unit(id: MetricId, value: f64) -> String {
    digits(if id.unit() == MetricUnit::Share { 100.0 * value } else { value })
}

/// Three significant digits, because the ends of an interval are often only a few percent apart; all digits of larger
/// numbers.
fn digits(value: f64) -> String {
    let decimals = match value.abs() {
        0.0 | 100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        _ => 3,
    };
    if value.is_finite() { format!("{value:.decimals$}") } else { "∞".to_owned() }
}

/// `12.4 [11.9, 12.8] req/s`.
pub(crate) fn with_interval(value: PredictedValue, unit: &str) -> String {
    let text = format!("{} [{}, {}] {unit}", digits(value.point), digits(value.low), digits(value.high));
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::prediction::PairedDifference;
    use crate::testing::predictions;

    fn text(write: impl Fn(&mut Vec<u8>) -> io::Result<()>) -> String {
        let mut text = Vec::new();
        write(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_row_for_each_load_has_its_intervals() {
        let prediction = predictions::run().prediction.unwrap();
        let text = text(|out| load_table(&[("x1".into(), &prediction), ("x2".into(), &prediction)], out));
        assert!(text.contains("Predicted, not measured"), "{text}");
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with('x')).collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].contains("99.5 [90.0") && lines[0].contains("38 % of step time"), "{text}");
    }

    #[test]
    fn routers_differ_where_the_interval_excludes_zero() {
        let paired = |low, point, high| PairedDifference {
            base: 100.0,
            difference: PredictedValue { low, point, high },
        };
        let differences = [
            ("ttft.mean".to_owned(), paired(-30.0, -20.0, -10.0)),
            ("tpot.mean".to_owned(), paired(-1.0, 0.5, 2.0)),
        ];
        let others =
            vec![RouterDifferences { router: "least-requests".into(), differences: differences.into() }];
        let comparison = RouterComparison { base: "random".into(), others };
        let text = text(|out| router_table(&comparison, out));
        let verdict = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
        assert!(verdict("TTFT mean").ends_with("lower"), "{text}");
        assert!(verdict("TPOT mean").ends_with("no difference found"), "{text}");
    }

    #[test]
    fn a_fleet_may_need_more_than_was_tried() {
        let fleet = FleetSize {
            slo: vec!["ttft.p95 < 500ms".into()],
            replicas: [Some(3), Some(4), None],
            most: 64,
            extrapolations: Vec::new(),
        };
        let text = text(|out| fleet_size(&fleet, out));
        assert!(text.contains("ttft.p95 < 500ms: 4 (5 %: 3, 95 %: more than 64)"), "{text}");
    }
}
