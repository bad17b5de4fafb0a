//! Splits of a fleet into prefill and decode servers, under the same arrivals and deviations: paired differences with as
//! many servers that answer whole requests.

use super::load_rates::OfferedAndSustained;
use super::metric_values::MetricValues;
use super::prediction::intervals;
use super::router_comparison::paired;
use super::stages::SplitRates;
use super::what_if::{PredictionError, SplitSetup, WhatIf};
use crate::model::prediction::{SplitComparison, SplitDifferences, WholeFleet};

/// Compares splits of the question's fleet, each with this number of prefill servers, with the fleet without a split.
///
/// # Errors
/// A request is too large for the servers, or virtual time runs out.
pub(crate) fn compare_splits(
    question: &WhatIf<'_>,
    splits: &[SplitSetup],
) -> Result<SplitComparison, PredictionError> {
    let mut whole = question.clone();
    whole.fleet.split = None;
    let (base_central, base_members) = whole.all_values()?;
    let rates = OfferedAndSustained::measure(&whole)?;
    let mut compared = Vec::with_capacity(splits.len());
    for setup in splits {
        let mut split = question.clone();
        split.fleet.split = Some(*setup);
        let simulation = split.simulate(split.central(), 1.0)?;
        let central = split.values(&simulation);
        let members = split.each_member(|member| Ok(split.values(&split.simulate(member, 1.0)?)))?;
        let rates = SplitRates::measure(&split)?;
        let pairs: Vec<(&MetricValues, &MetricValues)> = members.iter().zip(&base_members).collect();
        compared.push(SplitDifferences {
            prefill: setup.prefill,
            decode: question.fleet.replicas - setup.prefill,
            stages: rates.map(|rates| rates.used(&simulation, &central, &members)).unwrap_or_default(),
            slo_met: met(question, &members),
            differences: paired((&central, &base_central), &pairs),
        });
    }
    Ok(SplitComparison {
        servers: question.fleet.replicas,
        slo: question.levels.iter().map(ToString::to_string).collect(),
        whole: WholeFleet {
            utilization: rates.as_ref().and_then(OfferedAndSustained::utilization),
            slo_met: met(question, &base_members),
            metrics: intervals(&base_central, &base_members),
        },
        splits: compared,
    })
}

/// The share of the members that meets all service levels; `None` without levels.
fn met(question: &WhatIf<'_>, members: &[MetricValues]) -> Option<f64> {
    let met = members.iter().filter(|values| question.values_meet_levels(values)).count();
    (!question.levels.is_empty()).then(|| met as f64 / members.len().max(1) as f64)
}
