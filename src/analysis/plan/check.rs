//! Compares a plan with the results of a run.

use serde::Serialize;

use super::demand::ServiceTime;
use super::{CapacityPlan, speed};
use crate::model::metrics::{Latency, Metrics};
use crate::model::run::Run;

mod server;
#[cfg(test)]
mod tests;

/// One quantity, as planned and as measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct PlanComparison {
    /// The quantity's name.
    pub what: &'static str,
    /// The quantity's unit; empty for counts.
    pub unit: &'static str,
    /// The planned value; `None` if the plan does not state it.
    pub planned: Option<f64>,
    /// The measured value; `None` if the run does not report it.
    pub shown: Option<f64>,
}

impl PlanComparison {
    /// The measured value as a share of the planned one; `None` if one of them is unknown or nothing was planned.
    pub(crate) fn ratio(&self) -> Option<f64> {
        let (planned, shown) = self.planned.zip(self.shown).filter(|(planned, _)| *planned > 0.0)?;
        Some(shown / planned)
    }
}

/// The comparison of a run with a plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct PlanCheck {
    /// The rows, one for each quantity.
    pub rows: Vec<PlanComparison>,
    /// The conclusions, in sentences.
    pub findings: Vec<String>,
}

/// The difference from which a sentence reports it.
const NOTABLE_DIFFERENCE: f64 = 0.15;

fn comparison_row(
    what: &'static str,
    unit: &'static str,
    planned: Option<f64>,
    shown: Option<f64>,
) -> PlanComparison {
    PlanComparison { what, unit, planned, shown }
}

/// Compares a run with a plan.
pub(crate) fn check_plan(plan: &CapacityPlan, run: &Run) -> PlanCheck {
    let metrics = &run.metrics;
    let in_flight = speed::mean_in_flight(metrics);
    // At the run's own concurrency: the rate that the plan's times would have served (Little's law).
    let at_runs =
        plan.service.zip(in_flight).map(|(service, level)| (service.speed.at_concurrency(level), level));
    let planned_rate = at_runs.map(|(pace, level)| level / mean_request_time(plan, pace));
    let mut rows = vec![
        comparison_row(
            "tokens per request",
            "tok",
            Some(plan.requests.total_tokens.mean),
            tokens_per_request(metrics),
        ),
        comparison_row(
            "time per output token",
            "ms",
            at_runs.map(|(pace, _)| ms(pace.tpot)),
            mean_ms(metrics, Latency::Tpot),
        ),
        comparison_row("mean in flight (plan: suggestion)", "", Some(plan.suggestion as f64), in_flight),
        comparison_row(
            "peak in flight (plan: limit)",
            "",
            Some(plan.limit as f64),
            Some(metrics.peak_in_flight as f64),
        ),
        comparison_row(
            "requests per second at the run's concurrency",
            "req/s",
            planned_rate,
            speed::completion_rate(metrics),
        ),
    ];
    let mut findings = findings(plan, &rows, metrics.peak_in_flight as u64);
    if let Some(seen) = run.server.as_ref().and_then(server::ObservedServer::from_metrics) {
        let expected = server::PredictedServer::predict(plan, &seen);
        rows.extend(server::rows(&expected, &seen));
        findings.extend(server::findings(&expected, &seen));
    }
    PlanCheck { rows, findings }
}

fn findings(plan: &CapacityPlan, rows: &[PlanComparison], peak: u64) -> Vec<String> {
    let mut findings = Vec::new();
    for row in [&rows[0], &rows[1], &rows[4]] {
        let Some(ratio) = row.ratio() else { continue };
        let off = ratio - 1.0;
        if off.abs() > NOTABLE_DIFFERENCE {
            let side = if off > 0.0 { "above" } else { "below" };
            findings.push(format!("{}: the run is {:.0} % {side} the plan", row.what, 100.0 * off.abs()));
        }
    }
    let limits = [plan.limit, plan.at_all_stages.limit];
    let (low, high) = (limits[0].min(limits[1]), limits[0].max(limits[1]));
    findings.push(match peak {
        peak if peak > high => {
            format!("{peak} in flight do not fit the pool: requests queued, or the server preempted")
        }
        peak if peak > low => {
            format!("{peak} in flight may or may not fit the pool, depending on the stages of the requests")
        }
        peak if peak > plan.suggestion => {
            format!("{peak} in flight fit the pool, and use some of the headroom")
        }
        peak => format!("{peak} in flight stay within the suggestion"),
    });
    findings
}

/// The mean duration of the plan's requests at a speed, in seconds.
fn mean_request_time(plan: &CapacityPlan, pace: ServiceTime) -> f64 {
    let gaps = (plan.requests.output_tokens.mean - 1.0).max(0.0);
    pace.ttft.as_secs_f64() + gaps * pace.tpot.as_secs_f64()
}

fn tokens_per_request(metrics: &Metrics) -> Option<f64> {
    let total = metrics.input_tokens.total + metrics.output_tokens.total;
    (metrics.completed > 0).then(|| total as f64 / metrics.completed as f64)
}

fn mean_ms(metrics: &Metrics, latency: Latency) -> Option<f64> {
    metrics.latencies.get(&latency).map(|distribution| ms(distribution.mean))
}

fn ms(value: std::time::Duration) -> f64 {
    value.as_secs_f64() * 1e3
}
