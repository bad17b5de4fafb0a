//! A prediction: the central model for the point, the members of its ensemble for the intervals.

use std::collections::BTreeMap;

use super::knee;
use super::load_rates::OfferedAndSustained;
use super::metric_values::MetricValues;
use super::simulation::Simulation;
use super::stages::SplitRates;
use super::what_if::{PredictionError, WhatIf};
use crate::model::prediction::{Extrapolation, PredictedKnee, PredictedValue, UsedStage};
use crate::model::rule::MetricRule;

/// The answer to a question.
pub(crate) struct Predicted {
    /// The simulation of the central model.
    pub central: Simulation,
    /// The metrics with their intervals.
    pub metrics: BTreeMap<String, PredictedValue>,
    /// The load as a share of what the servers sustain; `None` in a closed loop.
    pub utilization: Option<PredictedValue>,
    /// The use of each kind of server of a split fleet.
    pub stages: Vec<UsedStage>,
    /// The highest load that the servers keep up with.
    pub knee: Option<PredictedKnee>,
    /// Where steps were beyond what the calibration saw.
    pub extrapolations: Vec<Extrapolation>,
    /// What is extrapolated by the simulation of saturated servers, whose answers per second are 100 % utilization.
    pub saturated_extrapolations: Vec<Extrapolation>,
    /// The number of times that a sequence lost its KV blocks to another.
    pub preemptions: u64,
}

/// Predicts the metrics, the utilization and the knee.
///
/// # Errors
/// A request is too large for the servers, or virtual time runs out.
pub(crate) fn predict(question: &WhatIf<'_>) -> Result<Predicted, PredictionError> {
    let central = question.simulate(question.central(), 1.0)?;
    let point = question.values(&central);
    let members = question.each_member(|member| Ok(question.values(&question.simulate(member, 1.0)?)))?;
    let split = SplitRates::measure(question)?;
    let rates = match &split {
        Some(split) => split.of_fleet(),
        None => OfferedAndSustained::measure(question)?,
    };
    let knee = knee::find(question, rates.as_ref())?;
    Ok(Predicted {
        metrics: intervals(&point, &members),
        utilization: rates.as_ref().and_then(OfferedAndSustained::utilization),
        stages: split.map(|split| split.used(&central, &point, &members)).unwrap_or_default(),
        knee,
        extrapolations: central.beyond.extrapolations(&question.servers.seen),
        saturated_extrapolations: rates.map(|rates| rates.extrapolations).unwrap_or_default(),
        preemptions: central.totals.replicas.iter().map(|replica| replica.preemptions).sum(),
        central,
    })
}

/// Predicts the knee alone. Service levels of metrics that no simulation has, such as failures, are left out.
///
/// # Errors
/// A request is too large for the servers, or virtual time runs out.
pub(crate) fn predict_knee(question: &WhatIf<'_>) -> Result<Option<PredictedKnee>, PredictionError> {
    let known = question.values(&question.simulate(question.central(), 1.0)?);
    let is_known = |rule: &&MetricRule| known.contains_key(&rule.figure.to_string());
    let levels: Vec<MetricRule> = question.levels.iter().filter(is_known).cloned().collect();
    let question = WhatIf { levels: &levels, ..question.clone() };
    knee::find(&question, OfferedAndSustained::measure(&question)?.as_ref())
}

/// Each metric of the central model with its interval over the members.
pub(super) fn intervals(point: &MetricValues, members: &[MetricValues]) -> BTreeMap<String, PredictedValue> {
    let value = |(name, value): (&String, &f64)| {
        let members: Vec<f64> = members.iter().filter_map(|values| values.get(name).copied()).collect();
        Some((name.clone(), PredictedValue::from_members(*value, &members)?))
    };
    point.iter().filter_map(value).collect()
}
