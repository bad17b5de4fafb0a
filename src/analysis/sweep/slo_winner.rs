//! The best set within an SLO: the highest throughput per GPU among the points that meet it.

use serde::Serialize;

use super::{SweepPoint, is_surely_above, throughput_metric};
use crate::analysis::compare::{CompareConfig, MetricSample};
use crate::model::metric_id::MetricId;
use crate::model::rule::MetricRule;
use crate::model::run::Run;

/// The set with the highest throughput per GPU within rules.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct SloWinner {
    /// The rules; a point must meet all of them.
    pub rules: Vec<MetricRule>,
    /// The throughput metric: tokens, or requests where nothing is generated.
    pub throughput: MetricId,
    /// How each point meets the rules.
    pub kept: Vec<SloCompliance>,
    /// The index in `kept` of the point with the highest throughput per GPU, among those that meet the rules in every
    /// Run; `None` if no point does.
    pub best: Option<usize>,
    /// Other sets that meet the rules and whose throughput may be equal.
    pub as_good: Vec<String>,
}

/// How a point meets the rules.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct SloCompliance {
    /// The set's name.
    pub set: String,
    /// The load's name.
    pub load: String,
    /// The number of Runs that meet all rules.
    pub runs: usize,
    /// The number of all Runs.
    pub of: usize,
    /// [`SloWinner::throughput`] divided by the set's GPUs.
    pub per_gpu: Option<f64>,
}

impl SloCompliance {
    /// Whether every Run meets the rules.
    pub(crate) fn is_always_met(&self) -> bool {
        self.runs == self.of
    }
}

/// Finds the best set for each rule and, if there are several rules, for all of them together.
pub(super) fn slo_winners(points: &[&SweepPoint], slo: &[MetricRule]) -> Vec<SloWinner> {
    let each = slo.iter().map(|rule| vec![rule.clone()]);
    let all = (slo.len() > 1).then(|| slo.to_vec());
    each.chain(all).map(|rules| winner_within(points, rules)).collect()
}

fn winner_within(points: &[&SweepPoint], rules: Vec<MetricRule>) -> SloWinner {
    let figure = throughput_metric(points);
    let sample = |point: &SweepPoint| MetricSample::from_runs(&point.runs, figure);
    let kept: Vec<SloCompliance> = points
        .iter()
        .map(|point| SloCompliance {
            set: point.set.clone(),
            load: point.load.clone(),
            runs: point.runs.iter().filter(|run| meets_rules(run, &rules)).count(),
            of: point.runs.len(),
            per_gpu: sample(point).map(|sample| sample.value / point.gpus),
        })
        .collect();
    let able: Vec<usize> =
        (0..kept.len()).filter(|&at| kept[at].is_always_met() && kept[at].per_gpu.is_some()).collect();
    let best = able
        .iter()
        .copied()
        .max_by(|&a, &b| kept[a].per_gpu.unwrap_or_default().total_cmp(&kept[b].per_gpu.unwrap_or_default()));
    let rivals: Vec<usize> =
        able.iter().copied().filter(|&at| best.is_some_and(|best| kept[at].set != kept[best].set)).collect();
    let alpha = CompareConfig::default().alpha / rivals.len().max(1) as f64;
    let may_be_as_good = |at: &usize| {
        let Some((ahead, behind)) = best.map(|best| points[best]).zip(points.get(*at)) else { return false };
        let Some((more, less)) = sample(ahead).zip(sample(behind)) else { return true };
        !is_surely_above(&more, &less, ahead.gpus / behind.gpus, alpha)
    };
    let mut as_good: Vec<String> =
        rivals.iter().filter(|at| may_be_as_good(at)).map(|&at| kept[at].set.clone()).collect();
    as_good.dedup();
    SloWinner { rules, throughput: figure, kept, best, as_good }
}

/// A run without a rule's metric does not meet the rule.
fn meets_rules(run: &Run, rules: &[MetricRule]) -> bool {
    rules
        .iter()
        .all(|rule| rule.figure.value(run).and_then(|value| rule.is_rule_met(value, None)) == Some(true))
}
