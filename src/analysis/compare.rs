//! Compares one or several runs with a baseline: each metric is better, worse, the same, or undecided.
//!
//! Every metric that both sides have makes a row. Its [`DifferenceVerdict`] follows from two questions:
//!
//! 1. Is the interval of the difference, taken alone, within the margin on both sides of zero? Then the metrics are the
//!    **same** up to the margin. There may be a real difference, but one that the user declared not to matter.
//!
//! 2. If not, is there a difference at all, given the whole table? Holm's adjustment (1979) of the rows' p-values keeps
//!    the probability that even one row of equal servers is reported as better or worse below `alpha`.
//!
//! Otherwise the row is **undecided** ([`DifferenceVerdict::CannotTell`]). It then states the sample size that would
//! answer one of the two questions if the true difference equals the measured one (widths shrink with the square root
//! of the sample size).
//!
//! A row shows the interval that its verdict rests on: at Holm's level for the row, or at `alpha` where the verdict is
//! `the same`.
//!
//! With one run per side the spread is that of the requests within a run. With several runs, only the spread between
//! runs counts. Neither includes the variation between server starts unless the runs come from several starts.
//! [`ClaimScope`] states whether the verdicts are about the servers, or only about the starts that were measured.

use std::time::Duration;

use serde::Serialize;

pub use crate::analysis::compare::comparability::SpecDifference;
pub use crate::analysis::compare::metric_sample::MetricSample;
pub(crate) use crate::analysis::compare::metric_sample::SpreadMethod;
pub(crate) use crate::analysis::compare::metric_source::{
    MetricSource, StatedSide, claim_scope, start_count, stated_differences,
};
pub(crate) use crate::analysis::compare::sample_size::{RequiredSample, SampleUnit};
pub(crate) use crate::analysis::compare::server_starts::ClaimScope;
use crate::model::metric_id::{MetricId, MetricUnit, Statistic};
use crate::model::metrics::{Direction, Latency, SCALARS};
use crate::model::run::Run;
use crate::seconds;
use crate::stats::RateInterval;
pub(crate) use difference::MetricDifference;
pub(in crate::analysis) use holm::adjusted_p_values as holm;
pub use runs::{NotComparable, compare};

mod comparability;
mod difference;
pub(in crate::analysis) mod holm;
mod metric_sample;
mod metric_source;
mod pairs;
mod runs;
mod sample_size;
pub(crate) mod server_starts;
#[cfg(test)]
mod tests;

/// The settings of a comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct CompareConfig {
    /// The share of the baseline's value below which a difference does not matter.
    pub margin: f64,
    /// The latency difference below which a difference never matters, for latencies so small that `margin` is
    /// negligible.
    #[serde(rename = "floor_s", with = "seconds")]
    pub floor: Duration,
    /// The difference of failure rate or goodput ratio that does not matter. Both are shares: 0.01 is one percentage
    /// point.
    pub points: f64,
    /// The probability that a comparison of equal servers reports any row as better or worse.
    pub alpha: f64,
}

impl Default for CompareConfig {
    /// Margin 5 %, floor 0.1 ms, one percentage point, alpha 5 %.
    fn default() -> Self {
        Self { margin: 0.05, floor: Duration::from_micros(100), points: 0.01, alpha: 0.05 }
    }
}

impl CompareConfig {
    /// The largest difference from `base` that does not matter, in the metric's unit.
    pub(crate) fn tolerance(&self, figure: MetricId, base: f64) -> f64 {
        let relative = self.margin * base.abs();
        match figure.unit() {
            MetricUnit::Share => self.points,
            MetricUnit::Milliseconds => relative.max(self.floor.as_secs_f64() * 1e3),
            MetricUnit::Plain(_) => relative,
        }
    }
}

/// The runs of one side of a comparison.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ComparisonSide {
    /// The side's name in reports.
    pub name: String,
    /// One run, or several repeats.
    pub runs: Vec<Run>,
}

/// Candidates against a baseline.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
#[must_use = "its verdicts say whether the candidates are better or worse"]
pub struct Comparison {
    /// The settings of the comparison.
    pub(crate) settings: CompareConfig,
    /// The baseline.
    pub(crate) base: SideInfo,
    /// The candidates, in the order given.
    pub(crate) candidates: Vec<CandidateComparison>,
    /// Reasons why the sides should not be compared, for comparisons that are made anyway.
    pub caveats: Vec<String>,
    /// The number of rows over which the p-values are adjusted: all rows of all candidates that have a p-value.
    pub(crate) family: usize,
}

/// A side's name and size, for reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct SideInfo {
    /// The side's name; that of a predicted side says so.
    pub name: String,
    /// Whether a model predicted the side, and nothing of it was measured.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub predicted: bool,
    /// The number of runs.
    pub runs: usize,
    /// The number of server starts; `None` if a run does not report its start.
    pub starts: Option<usize>,
    /// The number of requests in all runs.
    pub requests: u64,
    /// The time over which all runs together were measured.
    #[serde(rename = "duration_s", with = "seconds")]
    pub duration: Duration,
}

/// The rows of one candidate.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct CandidateComparison {
    /// The candidate.
    #[serde(flatten)]
    pub party: SideInfo,
    /// What the candidate's verdicts are about.
    pub scope: ClaimScope,
    /// One row for each metric that both the candidate and the baseline have, in the order of [`all_metrics`].
    pub rows: Vec<MetricComparison>,
}

/// One metric of a candidate and the baseline.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MetricComparison {
    /// The metric.
    pub figure: MetricId,
    /// The row's tolerance: see `CompareConfig::tolerance`.
    pub tolerance: f64,
    /// The baseline's sample.
    pub base: MetricSample,
    /// The candidate's sample.
    pub candidate: MetricSample,
    /// The candidate minus the baseline.
    pub(crate) difference: MetricDifference,
    /// The p-value, adjusted for the table (Holm).
    pub adjusted_p: Option<f64>,
    /// The interval of the difference that the verdict rests on: see [`MetricComparison::verdict_alpha`].
    pub verdict_interval: Option<RateInterval>,
    /// The probability that `verdict_interval` misses the true difference: Holm's share of the table's `alpha`, or all
    /// of `alpha` where the verdict is that the metrics are the same.
    pub verdict_alpha: f64,
    /// The verdict.
    #[serde(flatten)]
    pub call: DifferenceVerdict,
}

/// The verdict of a comparison on one metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "call", rename_all = "snake_case")]
#[non_exhaustive]
pub enum DifferenceVerdict {
    /// The candidate is better.
    Better,
    /// The candidate is worse.
    Worse,
    /// There is no difference that matters.
    Same,
    /// The samples are too small.
    CannotTell {
        /// The sample that would decide the row; `None` if its size cannot be estimated.
        needs: Option<RequiredSample>,
    },
    /// A result of another tool states the metric without an interval, and none can be computed from the file.
    NotJudged,
}

/// The default metrics of a table, among those that both sides have. They are few, because each further metric makes
/// all others harder to tell apart. Where both sides have an SLO, the goodput ratio replaces the failure rate, because
/// a failed request is never good. Where both sides have the server's own times, those say why TTFT differs.
pub(crate) fn headline_metrics(sides: &[&[Run]]) -> Vec<MetricId> {
    let good = MetricId::scalar("goodput_ratio").expect("it is in the table of metrics");
    let has_slo = sides.iter().all(|runs| runs.iter().any(|run| good.value(run).is_some()));
    let outcome = if has_slo { "goodput_ratio" } else { "failure_rate" };
    let names = ["ttft.mean", "ttft.p95", "tpot.mean", "tpot.p95", "e2el.mean", "output_throughput", outcome];
    let names = names.map(|name| name.parse().expect("only figures that there are stand in the list"));
    let by_server = [Latency::ServerQueue, Latency::ServerPrefill];
    let by_server = by_server.map(|latency| MetricId::Latency(latency, Statistic::Mean));
    let is_known =
        |figure: &MetricId| sides.iter().all(|runs| runs.iter().any(|run| figure.value(run).is_some()));
    names.into_iter().chain(by_server.into_iter().filter(is_known)).collect()
}

/// The default metrics of a table with results of other tools, which state few percentiles.
pub(crate) fn stated_metrics() -> Vec<MetricId> {
    let names = [
        "ttft.mean",
        "ttft.p50",
        "ttft.p99",
        "tpot.mean",
        "tpot.p99",
        "e2el.mean",
        "e2el.p99",
        "request_throughput",
        "output_throughput",
        "failure_rate",
    ];
    names.map(|name| name.parse().expect("only figures that there are stand in the list")).to_vec()
}

/// All metrics that a table may have: mean, median, P90, P95 and P99 of TTFT, TPOT, E2E, ITL and of the server's own
/// times, and the other metrics that a server is judged by. Input throughput is left out because the client decides it,
/// and request goodput because it follows from two other metrics.
pub(crate) fn all_metrics() -> Vec<MetricId> {
    const PERCENTS: [f64; 4] = [50.0, 90.0, 95.0, 99.0];
    let statistics = || [Statistic::Mean].into_iter().chain(PERCENTS.map(Statistic::Percentile));
    let latencies = Latency::SELECTABLE
        .into_iter()
        .chain(Latency::BY_SERVER)
        .flat_map(|latency| statistics().map(move |statistic| MetricId::Latency(latency, statistic)));
    let scalars = SCALARS.iter().filter(|row| !matches!(row.key, "input_throughput" | "request_goodput"));
    latencies.chain(scalars.filter_map(|row| MetricId::scalar(row.key))).collect()
}

impl Comparison {
    /// Compares those of these metrics that have enough data for a verdict, or all available metrics if none has
    /// enough.
    pub(crate) fn from_known_metrics(
        base: &ComparisonSide,
        candidates: &[ComparisonSide],
        figures: &[MetricId],
        settings: CompareConfig,
    ) -> Self {
        let mut comparison = Self::from_metrics(base, candidates, figures, settings);
        let is_known = |row: &MetricComparison| row.difference.p.is_some();
        if comparison.rows().any(is_known) {
            comparison.candidates.iter_mut().for_each(|candidate| candidate.rows.retain(is_known));
        }
        comparison
    }

    /// Compares these metrics, where both a candidate and the baseline have them.
    pub(crate) fn from_metrics(
        base: &ComparisonSide,
        candidates: &[ComparisonSide],
        figures: &[MetricId],
        settings: CompareConfig,
    ) -> Self {
        let candidates: Vec<&dyn MetricSource> = candidates.iter().map(|side| side as _).collect();
        Self::from_sources(base, &candidates, figures, settings)
    }

    /// Compares these metrics of runs and results of other tools. A row whose spread a tool does not state is not judged.
    pub(crate) fn from_sources(
        base: &dyn MetricSource,
        candidates: &[&dyn MetricSource],
        figures: &[MetricId],
        settings: CompareConfig,
    ) -> Self {
        let bases: Vec<_> = figures.iter().map(|&figure| (figure, base.sample(figure))).collect();
        let candidate = |side: &&dyn MetricSource| {
            let rows = bases.iter().filter_map(|(figure, base)| {
                Some(MetricComparison::compare(*figure, base.clone()?, side.sample(*figure)?, &settings))
            });
            let scope = metric_source::claim_scope(base, *side);
            CandidateComparison { party: side.info(), scope, rows: rows.collect() }
        };
        let mut compared: Vec<CandidateComparison> = candidates.iter().map(candidate).collect();
        let family =
            decide_all(compared.iter_mut().flat_map(|candidate| &mut candidate.rows), settings.alpha);
        for (candidate, side) in compared.iter_mut().zip(candidates) {
            let stated = [base.runs(), side.runs()].map(<[Run]>::is_empty);
            candidate.rows.iter_mut().for_each(|row| row.leave_unjudged(stated));
        }
        Self { base: base.info(), candidates: compared, caveats: Vec::new(), family, settings }
    }

    /// The rows of all candidates.
    pub fn rows(&self) -> impl Iterator<Item = &MetricComparison> {
        self.candidates.iter().flat_map(|candidate| &candidate.rows)
    }
}

impl SideInfo {
    /// Describes a side.
    pub(crate) fn from_side(side: &ComparisonSide) -> Self {
        Self::from_runs(&side.name, &side.runs)
    }

    /// Describes a side with this name.
    pub(crate) fn from_runs(name: &str, runs: &[Run]) -> Self {
        let requests = runs.iter().map(|run| run.metrics.request_count() as u64).sum();
        let duration = runs.iter().map(|run| run.metrics.duration).sum();
        let starts = server_starts::known_starts(runs);
        let predicted = runs.iter().any(Run::is_predicted);
        let name = format!("{name}{}", if predicted { " (predicted)" } else { "" });
        Self { name, predicted, runs: runs.len(), starts, requests, duration }
    }
}

impl MetricComparison {
    fn compare(
        figure: MetricId,
        base: MetricSample,
        candidate: MetricSample,
        settings: &CompareConfig,
    ) -> Self {
        let difference = MetricDifference::between(&base, &candidate);
        Self::undecided(figure, [base, candidate], difference, settings)
    }

    /// Makes a row without a verdict: the verdict depends on the whole table.
    fn undecided(
        figure: MetricId,
        [base, candidate]: [MetricSample; 2],
        difference: MetricDifference,
        settings: &CompareConfig,
    ) -> Self {
        Self {
            figure,
            tolerance: settings.tolerance(figure, base.value),
            base,
            candidate,
            adjusted_p: None,
            verdict_interval: difference.interval,
            verdict_alpha: 0.05,
            call: DifferenceVerdict::CannotTell { needs: None },
            difference,
        }
    }

    /// Withdraws the verdict where a result of another tool, as marked for both sides, has no spread.
    fn leave_unjudged(&mut self, stated: [bool; 2]) {
        let samples = [&self.base, &self.candidate];
        if stated.iter().zip(samples).any(|(stated, sample)| *stated && sample.method.is_none()) {
            self.call = DifferenceVerdict::NotJudged;
        }
    }

    /// Decides the row at its Holm level, and keeps the interval that the decision rests on.
    fn decide(&mut self, alpha: f64, level: f64) {
        self.call = self.verdict(alpha, level);
        self.verdict_alpha = if self.call == DifferenceVerdict::Same { alpha } else { level };
        self.verdict_interval = self.difference.interval_at(self.verdict_alpha);
    }

    fn verdict(&self, alpha: f64, level: f64) -> DifferenceVerdict {
        let within = self
            .difference
            .interval_at(alpha)
            .is_some_and(|interval| -self.tolerance <= interval.low && interval.high <= self.tolerance);
        let differs =
            self.difference.p.is_some_and(|p| p <= level) && !self.difference.is_contradicted_by_ranks(alpha);
        let lower = self.difference.absolute < 0.0;
        match (within, differs) {
            (true, _) => DifferenceVerdict::Same,
            (false, true) if lower == (self.figure.direction() == Direction::Lower) => {
                DifferenceVerdict::Better
            }
            (false, true) => DifferenceVerdict::Worse,
            // A prediction has no sample that could be larger.
            (false, false) if self.difference.method == Some(SpreadMethod::Predicted) => {
                DifferenceVerdict::CannotTell { needs: None }
            }
            (false, false) => {
                DifferenceVerdict::CannotTell { needs: RequiredSample::estimate(self, alpha, level) }
            }
        }
    }
}

/// Decides all rows of a table, and returns the number of rows that have a p-value.
fn decide_all<'a>(rows: impl Iterator<Item = &'a mut MetricComparison>, alpha: f64) -> usize {
    let mut rows: Vec<&mut MetricComparison> = rows.collect();
    let p: Vec<Option<f64>> = rows.iter().map(|row| row.difference.p).collect();
    let (adjusted, levels) = (holm::adjusted_p_values(&p), holm::rejection_levels(&p, alpha));
    let family = adjusted.iter().flatten().count();
    for ((row, p), level) in rows.iter_mut().zip(adjusted).zip(levels) {
        row.adjusted_p = p;
        row.decide(alpha, level.unwrap_or(alpha));
    }
    family
}
