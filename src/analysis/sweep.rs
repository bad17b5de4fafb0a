//! The results of a sweep: which set leads at each load, which points are on the Pareto front, and which set is best
//! within an SLO.

use serde::Serialize;

use super::compare::{
    ClaimScope, CompareConfig, Comparison, ComparisonSide, MetricDifference, MetricSample, holm,
};
use crate::model::metric_id::MetricId;
use crate::model::metrics::Direction;
use crate::model::rule::MetricRule;
use crate::model::run::Run;

pub(crate) mod capacity;
mod pareto;
mod slo_winner;
#[cfg(test)]
mod tests;

pub(crate) use super::compare::DifferenceVerdict;
pub(crate) use crate::analysis::sweep::pareto::PointEfficiency;
pub(crate) use crate::analysis::sweep::slo_winner::{SloCompliance, SloWinner};

/// The metrics that sets are compared by, where both have them.
const COMPARED_METRICS: [&str; 7] = [
    "output_throughput",
    "request_throughput",
    "ttft.mean",
    "ttft.p95",
    "tpot.mean",
    "e2el.mean",
    "e2el.p95",
];

/// A set under a load.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SweepPoint {
    /// The set's name.
    pub set: String,
    /// The load's name.
    pub load: String,
    /// The number of GPUs that the set's throughput is divided by.
    pub gpus: f64,
    /// The valid Runs.
    pub runs: Vec<Run>,
}

/// The results of a sweep.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct SweepRanking {
    /// The metrics of each point, in the order of the loads.
    pub standings: Vec<PointMetrics>,
    /// The leading set for each load and metric.
    pub leads: Vec<LeaderComparison>,
    /// Throughput per GPU against speed per user; empty where the server generated no text.
    pub efficiencies: Vec<PointEfficiency>,
    /// The best set for each rule of the SLO and, if there are several rules, for all of them together.
    pub best: Vec<SloWinner>,
}

/// The metrics of a point.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct PointMetrics {
    /// The set's name.
    pub set: String,
    /// The load's name.
    pub load: String,
    /// The number of Runs.
    pub runs: usize,
    /// The metrics, in the order of the table.
    pub figures: Vec<MetricEstimate>,
}

/// A metric and its sample.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct MetricEstimate {
    /// The metric.
    pub figure: MetricId,
    /// The metric's sample.
    #[serde(flatten)]
    pub sample: MetricSample,
}

/// The set that leads in one metric under a load.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct LeaderComparison {
    /// The load's name.
    pub load: String,
    /// The metric.
    pub figure: MetricId,
    /// The set with the best value.
    pub set: String,
    /// The other sets, each compared with the leader: `Worse` means behind the leader.
    pub rivals: Vec<Contender>,
    /// The p-value of the rival that is hardest to distinguish from the leader: a winner must beat all rivals.
    pub p: Option<f64>,
    /// The p-value, adjusted for all leads of the sweep (Holm): the probability that any lead among equal sets is
    /// reported as won is below 5 %.
    pub adjusted_p: Option<f64>,
    /// What the lead is about: the narrowest scope of several rivals, or `None` without rivals.
    pub scope: Option<ClaimScope>,
}

/// A set that does not lead.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Contender {
    /// The set's name.
    pub set: String,
    /// The verdict of the comparison with the leader alone.
    #[serde(flatten)]
    pub call: DifferenceVerdict,
}

impl LeaderComparison {
    /// Whether the leader wins: there are rivals, and the leader is certainly better than each of them.
    pub(crate) fn is_clear_winner(&self) -> bool {
        let certain = self.adjusted_p.is_some_and(|p| p <= CompareConfig::default().alpha);
        certain && !self.rivals.is_empty() && self.tied_contenders().next().is_none()
    }

    /// The rivals that may be equally good.
    pub(crate) fn tied_contenders(&self) -> impl Iterator<Item = &Contender> {
        self.rivals.iter().filter(|rival| rival.call != DifferenceVerdict::Worse)
    }
}

impl SweepRanking {
    /// Ranks the points. Points of one load are adjacent, in the order of the loads. Points without Runs are ignored.
    pub(crate) fn rank(points: &[SweepPoint], slo: &[MetricRule]) -> Self {
        let points: Vec<&SweepPoint> = points.iter().filter(|point| !point.runs.is_empty()).collect();
        let by_load: Vec<&[&SweepPoint]> = points.chunk_by(|a, b| a.load == b.load).collect();
        let leads = |points: &&[&SweepPoint]| {
            let lead = |figure| find_leader(points, figure);
            metrics_of_points(points).filter_map(lead).collect::<Vec<_>>()
        };
        let mut leads: Vec<LeaderComparison> = by_load.iter().flat_map(leads).collect();
        let adjusted = holm(&leads.iter().map(|lead| lead.p).collect::<Vec<_>>());
        leads.iter_mut().zip(adjusted).for_each(|(lead, p)| lead.adjusted_p = p);
        Self {
            standings: points.iter().map(|point| PointMetrics::from_point(point)).collect(),
            leads,
            efficiencies: pareto::pareto_front(&points),
            best: slo_winner::slo_winners(&points, slo),
        }
    }
}

impl PointMetrics {
    fn from_point(point: &SweepPoint) -> Self {
        let known =
            |figure| Some(MetricEstimate { figure, sample: MetricSample::from_runs(&point.runs, figure)? });
        Self {
            set: point.set.clone(),
            load: point.load.clone(),
            runs: point.runs.len(),
            figures: compared_metrics().filter_map(known).collect(),
        }
    }
}

fn compared_metrics() -> impl Iterator<Item = MetricId> {
    COMPARED_METRICS
        .into_iter()
        .map(|name| name.parse().expect("only figures that there are stand in the list"))
}

/// The metrics that at least one point has. Where text is generated, requests per second add nothing to tokens per
/// second.
fn metrics_of_points(points: &[&SweepPoint]) -> impl Iterator<Item = MetricId> {
    let has = |figure: MetricId| {
        points.iter().any(|point| point.runs.iter().any(|run| figure.value(run).is_some()))
    };
    let throughput = throughput_metric(points);
    let scalar = |figure: &MetricId| matches!(figure, MetricId::Scalar(_));
    compared_metrics().filter(move |figure| has(*figure) && (!scalar(figure) || *figure == throughput))
}

/// Output tokens per second, or requests per second where nothing is generated.
fn throughput_metric(points: &[&SweepPoint]) -> MetricId {
    let [tokens, requests] = ["output_throughput", "request_throughput"]
        .map(|key| MetricId::scalar(key).expect("both are in the table of metrics"));
    let generates = points.iter().any(|point| point.runs.iter().any(|run| tokens.value(run).is_some()));
    if generates { tokens } else { requests }
}

/// Finds the set that leads in a metric, and compares the others with it.
fn find_leader(points: &[&SweepPoint], figure: MetricId) -> Option<LeaderComparison> {
    let mean = |point: &SweepPoint| MetricSample::from_runs(&point.runs, figure).map(|sample| sample.value);
    let having: Vec<(&SweepPoint, f64)> =
        points.iter().filter_map(|point| Some((*point, mean(point)?))).collect();
    let better = |a: &f64, b: &f64| match figure.direction() {
        Direction::Lower => a.total_cmp(b),
        Direction::Higher => b.total_cmp(a),
    };
    let (leader, _) = having.iter().min_by(|a, b| better(&a.1, &b.1))?;
    let side = |point: &SweepPoint| ComparisonSide { name: point.set.clone(), runs: point.runs.clone() };
    let others: Vec<ComparisonSide> =
        having.iter().filter(|(point, _)| point.set != leader.set).map(|(point, _)| side(point)).collect();
    let compared = Comparison::from_metrics(&side(leader), &others, &[figure], CompareConfig::default());
    let p = compared.rows().map(|row| row.difference.p).try_fold(0.0_f64, |most, p| Some(most.max(p?)));
    let scope = compared.candidates.iter().map(|candidate| candidate.scope).max();
    let rivals = compared.candidates.into_iter().filter_map(|candidate| {
        Some(Contender { set: candidate.party.name, call: candidate.rows.first()?.call })
    });
    Some(LeaderComparison {
        load: leader.load.clone(),
        figure,
        set: leader.set.clone(),
        rivals: rivals.collect(),
        p: p.filter(|_| !others.is_empty()),
        adjusted_p: None,
        scope,
    })
}

/// Whether a sample certainly exceeds a multiple of another: two-sided, at this level.
fn is_surely_above(candidate: &MetricSample, base: &MetricSample, factor: f64, alpha: f64) -> bool {
    let difference = MetricDifference::from_multiple(base, candidate, factor);
    difference.absolute > 0.0
        && difference.p.is_some_and(|p| p <= alpha)
        && !difference.is_contradicted_by_ranks(alpha)
}
