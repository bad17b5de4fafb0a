//! The report of a predicted run: the knee, the metrics with the intervals of the prediction, and what was assumed.

use std::io::{self, Write};

use super::{header, section, validity, wrapped};
use crate::model::metric_id::MetricId;
use crate::model::plain_text::one_line;
use crate::model::prediction::{PredictedKnee, Prediction};
use crate::model::run::Run;
use crate::report::format::seconds;
use crate::report::prediction::{interval_text, point_text, with_interval};
use crate::report::run_metrics;
use crate::report::split;
use crate::report::table::{Column, Table, row};

const COLUMNS: [Column; 3] = [Column::LEFT, Column::RIGHT, Column::LEFT];

/// Writes the report.
pub(super) fn render(run: &Run, prediction: &Prediction, to: &mut impl Write) -> io::Result<()> {
    header::render(run, to)?;
    validity::run_banner(run, to)?;
    section("Knee", to)?;
    knee(prediction, to)?;
    split::stages(&prediction.stages, to)?;
    section("Predicted metrics", to)?;
    Table::new(&COLUMNS, rows(run, prediction)).write(to)?;
    section("Simulated", to)?;
    wrapped(&fleet(prediction), to)?;
    wrapped(&totals(run), to)?;
    prediction.notes.iter().try_for_each(|note| writeln!(to, "Note: {}", one_line(note)))
}

/// Writes the highest load that the servers keep up with, and how far this load is from it.
fn knee(prediction: &Prediction, to: &mut impl Write) -> io::Result<()> {
    match &prediction.knee {
        Some(PredictedKnee { limit, load, unit, .. }) => {
            writeln!(to, "Knee: {} (limit: {})", with_interval(*load, unit), one_line(limit))?;
        }
        None => writeln!(
            to,
            "Knee: none was looked for, because the load is a closed loop without a service level"
        )?,
    }
    let Some(utilization) = prediction.utilization else { return Ok(()) };
    writeln!(to, "Utilization ρ: {}", with_interval(utilization.times(100.0), "%"))?;
    if utilization.high >= 1.0 {
        writeln!(
            to,
            "Overload is {}: above 100 %, requests queue for as long as the load lasts, and latencies depend on its length",
            if utilization.low >= 1.0 { "certain" } else { "possible" }
        )?;
    }
    Ok(())
}

/// One row for each metric that the prediction has, below the names of the columns.
fn rows(run: &Run, prediction: &Prediction) -> Vec<Vec<String>> {
    let coverage = format!("{:.0} % interval", 100.0 * prediction.coverage);
    let statistics = run_metrics::statistics(run);
    let latencies = run_metrics::latencies(run)
        .flat_map(|latency| statistics.iter().map(move |statistic| MetricId::Latency(latency, *statistic)));
    let scalars = run_metrics::scalar_rows(run).map(|row| row.id);
    let known =
        latencies.chain(scalars).filter_map(|id| Some((id, prediction.metrics.get(&id.to_string())?)));
    let rows =
        known.map(|(id, value)| vec![id.label(), point_text(id, value.point), interval_text(id, *value)]);
    std::iter::once(row(["", "predicted", &coverage])).chain(rows).collect()
}

/// The size of the simulated load.
fn totals(run: &Run) -> Vec<String> {
    let metrics = &run.metrics;
    vec![
        format!("{} requests in {}", metrics.completed, seconds(metrics.duration)),
        format!("{} prompt tokens", metrics.input_tokens.total),
        format!("{} output tokens", metrics.output_tokens.total),
        format!("at most {} in flight", metrics.peak_in_flight),
    ]
}

fn fleet(prediction: &Prediction) -> Vec<String> {
    let fleet = &prediction.fleet;
    let plural = if fleet.replicas == 1 { "" } else { "s" };
    let mut parts = vec![format!("{} replica{plural}", fleet.replicas)];
    parts.extend(fleet.router.iter().map(|router| format!("router {}", one_line(router))));
    parts.extend(fleet.properties.iter().map(|property| one_line(property)));
    parts.push(format!("{} members", prediction.members));
    parts
}
