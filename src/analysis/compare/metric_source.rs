//! What a side of a comparison may be: runs of this program, or a result of another tool.

use std::time::Duration;

use super::metric_sample::MetricSample;
use super::server_starts::{self, ClaimScope};
use super::{ComparisonSide, SideInfo};
use crate::model::metric_id::MetricId;
use crate::model::run::Run;
use crate::model::stated::StatedResult;

/// A side of a comparison that has metrics.
pub(crate) trait MetricSource {
    /// The side's name and size.
    fn info(&self) -> SideInfo;
    /// The side's sample of a metric; `None` if it does not have the metric.
    fn sample(&self, figure: MetricId) -> Option<MetricSample>;
    /// The runs of this program; empty for a result of another tool.
    fn runs(&self) -> &[Run];
    /// The settings and sizes that results of all tools have.
    fn stated(&self) -> Option<StatedResult>;
}

impl MetricSource for ComparisonSide {
    fn info(&self) -> SideInfo {
        SideInfo::from_side(self)
    }

    fn sample(&self, figure: MetricId) -> Option<MetricSample> {
        MetricSample::from_runs(&self.runs, figure)
    }

    fn runs(&self) -> &[Run] {
        &self.runs
    }

    fn stated(&self) -> Option<StatedResult> {
        self.runs.first().map(Run::to_stated)
    }
}

/// A side that is a result of another tool.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StatedSide {
    /// The side's name in reports.
    pub name: String,
    /// The result.
    pub result: StatedResult,
}

impl MetricSource for StatedSide {
    fn info(&self) -> SideInfo {
        let requests = self.result.request_count().unwrap_or_default();
        let seconds = self.result.duration_s.unwrap_or_default();
        let duration = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        SideInfo { name: self.name.clone(), predicted: false, runs: 1, starts: None, requests, duration }
    }

    fn sample(&self, figure: MetricId) -> Option<MetricSample> {
        MetricSample::from_stated(&self.result, figure)
    }

    fn runs(&self) -> &[Run] {
        &[]
    }

    fn stated(&self) -> Option<StatedResult> {
        Some(self.result.clone())
    }
}

/// What verdicts about these sides are about. Another tool does not report the server's start, so that its result counts
/// as one start.
pub(crate) fn claim_scope(base: &dyn MetricSource, candidate: &dyn MetricSource) -> ClaimScope {
    match (base.runs(), candidate.runs()) {
        ([], _) | (_, []) => {
            let [base, candidate] = [base, candidate].map(start_count);
            ClaimScope::of_counts(base, candidate)
        }
        (base, candidate) => ClaimScope::of(base, candidate),
    }
}

/// The number of server starts of a side, at least one.
pub(crate) fn start_count(side: &dyn MetricSource) -> usize {
    server_starts::group_by_start(side.runs()).len().max(1)
}

/// How the loads and models of two sides differ, as far as both state them.
pub(crate) fn stated_differences(base: &StatedResult, candidate: &StatedResult) -> Vec<String> {
    let mut differences = Vec::new();
    if let Some((base, candidate)) = base.model.as_ref().zip(candidate.model.as_ref())
        && base != candidate
    {
        differences.push(format!("model is {base} in the baseline, {candidate} in the candidate"));
    }
    let concurrency = base.load.max_concurrency.zip(candidate.load.max_concurrency);
    if let Some((base, candidate)) = concurrency.filter(|(base, candidate)| base != candidate) {
        differences.push(format!("concurrency is {base} in the baseline, {candidate} in the candidate"));
    }
    let rate = base.load.request_rate.zip(candidate.load.request_rate);
    let numbers = [
        ("request rate", rate.map(|(base, candidate)| [base.get(), candidate.get()])),
        ("mean prompt, in tokens,", mean_tokens(base, candidate, |result| result.input_tokens.total)),
        ("mean answer, in tokens,", mean_tokens(base, candidate, |result| result.output_tokens.total)),
    ];
    for (name, values) in numbers {
        let Some([base, candidate]) = values.filter(|values| is_another(*values)) else { continue };
        differences.push(format!("{name} is {base:.2} in the baseline, {candidate:.2} in the candidate"));
    }
    differences
}

fn mean_tokens(
    base: &StatedResult,
    candidate: &StatedResult,
    total: fn(&StatedResult) -> Option<u64>,
) -> Option<[f64; 2]> {
    let mean = |result: &StatedResult| {
        let completed = result.completed.filter(|completed| *completed > 0)?;
        Some(total(result)? as f64 / completed as f64)
    };
    Some([mean(base)?, mean(candidate)?])
}

/// Whether two settings differ by more than measuring them explains.
fn is_another([base, candidate]: [f64; 2]) -> bool {
    base != candidate && ((candidate - base).abs() > 0.05 * base || !(base + candidate).is_finite())
}
