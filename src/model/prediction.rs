//! What a predicted Run has beside the metrics of its simulated requests: the model behind it, and how uncertain it is.
//!
//! The intervals here are of the prediction: they cover the coefficients of the model, the noise of its steps and what
//! is unknown of the arrivals. A predicted Run has no sampling intervals, because a longer simulation would narrow those
//! without making the prediction better.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use crate::model::units::number_or_inf;
use crate::stats::RateInterval;

/// The probability that an interval of a prediction is meant to contain what a measurement will show.
pub(crate) const COVERAGE: f64 = 0.9;

/// How a Run was predicted, and how far to trust it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Prediction {
    /// The model that predicted it.
    pub model: PredictionModel,
    /// The probability that each interval is meant to contain the measured value.
    pub coverage: f64,
    /// The number of simulations behind the intervals, each with its own coefficients, noise and arrivals.
    pub members: usize,
    /// The simulated servers.
    pub fleet: PredictedFleet,
    /// The predicted metrics, by the metric's name.
    pub metrics: BTreeMap<String, PredictedValue>,
    /// The offered load as a share of what the servers can sustain; `None` in a closed loop, which offers as much as the
    /// servers take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub utilization: Option<PredictedValue>,
    /// The use of each kind of server, in a fleet whose servers compute prompts or decode; empty in others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<UsedStage>,
    /// The highest load that the servers keep up with; `None` where no load was varied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub knee: Option<PredictedKnee>,
    /// Where simulated steps were beyond anything that the calibration saw; empty if none were.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extrapolations: Vec<Extrapolation>,
    /// What is extrapolated by the simulation of saturated servers, whose answers per second are 100 % utilization.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub saturated_extrapolations: Vec<Extrapolation>,
    /// What was assumed, and what the prediction leaves out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// The model of a prediction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PredictionModel {
    /// The model's file.
    pub path: String,
    /// SHA-256 of the file.
    pub sha256: Digest,
    /// The runs that the model was calibrated on.
    pub calibrated_on: Vec<String>,
}

/// The simulated servers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PredictedFleet {
    /// The number of replicas.
    pub replicas: usize,
    /// The router's policy, with its settings; `None` for a single replica.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router: Option<String>,
    /// Further properties, such as autoscaling.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub properties: Vec<String>,
}

/// The use of a kind of server, or of the links between them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct UsedStage {
    /// The kind: `prefill servers`.
    pub name: String,
    /// The number of servers; `None` for the links.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub servers: Option<usize>,
    /// The load as a share of what the stage alone can sustain.
    pub utilization: PredictedValue,
    /// The share of the time in which its servers are in a step, 0 to 1; `None` for the links.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub busy: Option<f64>,
}

/// A predicted number with its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct PredictedValue {
    /// The lower end.
    #[serde(with = "number_or_inf")]
    pub low: f64,
    /// The prediction of the central model.
    #[serde(with = "number_or_inf")]
    pub point: f64,
    /// The upper end.
    #[serde(with = "number_or_inf")]
    pub high: f64,
}

/// The highest load that the servers keep up with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PredictedKnee {
    /// What ends at the knee: `capacity`, or the violated service level.
    pub limit: String,
    /// The load, in the unit of `unit`.
    pub load: PredictedValue,
    /// The unit of the load: `req/s` or `in flight`.
    pub unit: String,
    /// Where steps at this load are beyond what the calibration saw.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extrapolations: Vec<Extrapolation>,
}

/// Simulated work beyond what the calibration saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Extrapolation {
    /// The share of the simulated work, 0 to 1.
    pub share: f64,
    /// The work that the share is of.
    #[serde(default)]
    pub of: ShareOf,
    /// What was beyond it: `decoding sequences`.
    pub what: String,
    /// Which end of what was seen it was beyond.
    #[serde(default)]
    pub bound: SeenBound,
    /// The most, or the least, that the calibration saw.
    pub seen: f64,
    /// The most, or the least, that the simulation needed.
    pub needed: f64,
}

/// The work that a share of an extrapolation is of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ShareOf {
    #[default]
    StepTime,
    Prompts,
}

/// An end of what the calibration saw.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SeenBound {
    #[default]
    Most,
    Least,
}

/// A router against the first one, on the same arrivals and the same noise.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct RouterComparison {
    /// The router that the others are compared with.
    pub base: String,
    /// The others, in the order given.
    pub others: Vec<RouterDifferences>,
}

/// The paired differences of a router.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct RouterDifferences {
    /// The router.
    pub router: String,
    /// The differences by metric, this router minus the base.
    pub differences: BTreeMap<String, PairedDifference>,
}

/// A paired difference of two predictions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct PairedDifference {
    /// The base's value.
    pub base: f64,
    /// The difference, with the interval over the members.
    pub difference: PredictedValue,
}

/// Splits of a fleet into prefill and decode servers, against as many servers that answer whole requests.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct SplitComparison {
    /// The number of servers of each fleet.
    pub servers: usize,
    /// The service levels.
    pub slo: Vec<String>,
    /// The fleet without a split.
    pub whole: WholeFleet,
    /// The splits, in the order given.
    pub splits: Vec<SplitDifferences>,
}

/// A fleet whose servers answer whole requests.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct WholeFleet {
    /// The load as a share of what the servers can sustain; `None` in a closed loop.
    pub utilization: Option<PredictedValue>,
    /// The share of the members that meets all service levels; `None` without levels.
    pub slo_met: Option<f64>,
    /// The predicted metrics, by name.
    pub metrics: BTreeMap<String, PredictedValue>,
}

/// A split fleet, compared with the one without a split.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct SplitDifferences {
    /// The number of prefill servers.
    pub prefill: usize,
    /// The number of decode servers.
    pub decode: usize,
    /// The use of each kind of server.
    pub stages: Vec<UsedStage>,
    /// The share of the members that meets all service levels; `None` without levels.
    pub slo_met: Option<f64>,
    /// The differences by metric, this split minus the fleet without one.
    pub differences: BTreeMap<String, PairedDifference>,
}

/// The least number of replicas that meets the service levels.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct FleetSize {
    /// The service levels.
    pub slo: Vec<String>,
    /// The number of replicas that suffices in 5, 50 and 95 % of the members; `None` where more than `most` are needed.
    pub replicas: [Option<usize>; 3],
    /// The most replicas that were tried.
    pub most: usize,
    /// Where steps of the number that suffices in half of the members are beyond what the calibration saw.
    pub extrapolations: Vec<Extrapolation>,
}

impl PairedDifference {
    /// Whether the routers differ: the interval of the difference excludes zero.
    pub(crate) fn is_different(self) -> bool {
        !self.difference.contains(0.0)
    }
}

impl UsedStage {
    /// The stage that ends the load first.
    pub(crate) fn bottleneck(stages: &[Self]) -> Option<&Self> {
        stages.iter().max_by(|a, b| a.utilization.point.total_cmp(&b.utilization.point))
    }
}

impl PredictedValue {
    /// Makes a value of the central prediction and those of the members. The ends are order statistics at the ranks
    /// `(n + 1) · p`, which a further member of the same population is within with the probability of [`COVERAGE`]; the
    /// point is always inside. `None` without a member.
    pub(crate) fn from_members(point: f64, members: &[f64]) -> Option<Self> {
        let mut sorted: Vec<f64> = members.iter().copied().filter(|value| !value.is_nan()).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let tail = (1.0 - COVERAGE) / 2.0;
        let [low, high] = [tail, 1.0 - tail].map(|p| order_statistic(&sorted, p));
        Some(Self { low: low?.min(point), point, high: high?.max(point) })
    }

    /// The value times a factor above zero.
    pub(crate) fn times(self, factor: f64) -> Self {
        Self { low: self.low * factor, point: self.point * factor, high: self.high * factor }
    }

    /// Whether a number is within the interval.
    pub(crate) fn contains(self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }

    /// The interval.
    pub(crate) fn interval(self) -> RateInterval {
        RateInterval { low: self.low, high: self.high }
    }
}

/// The value at the rank `(n + 1) · p` of sorted values, within the smallest and the largest.
fn order_statistic(sorted: &[f64], p: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let rank = ((sorted.len() + 1) as f64 * p - 1.0).clamp(0.0, last as f64);
    let (below, part) = (rank.floor() as usize, rank.fract());
    let (low, high) = (sorted[below], sorted[(below + 1).min(last)]);
    // Two infinite values have no difference.
    Some(if part == 0.0 || low == high { low } else { low + (high - low) * part })
}

impl Prediction {
    /// A sentence on which model predicted the Run: `predicted by model.json, calibrated on a.json`.
    pub(crate) fn origin(&self) -> String {
        let runs = match &self.model.calibrated_on[..] {
            [] => String::new(),
            [one] => format!(", calibrated on {one}"),
            [first, others @ ..] => format!(", calibrated on {first} and {} more", others.len()),
        };
        format!("predicted by {}{runs}", self.model.path)
    }

    /// What extrapolates: the load itself, its knee, and the saturated servers that ρ is a share of, each with its name.
    pub(crate) fn all_extrapolations(&self) -> impl Iterator<Item = (&'static str, &Extrapolation)> {
        let knee =
            self.knee.iter().flat_map(|knee| &knee.extrapolations).map(|beyond| ("at the knee", beyond));
        // Without service levels, the knee is where the servers are saturated.
        let is_knee =
            self.knee.as_ref().is_some_and(|knee| knee.extrapolations == self.saturated_extrapolations);
        let saturated = self.saturated_extrapolations.iter().filter(move |_| !is_knee);
        let saturated = saturated.map(|beyond| ("at ρ = 100 %", beyond));
        self.extrapolations.iter().map(|beyond| ("", beyond)).chain(knee).chain(saturated)
    }

    /// The extrapolation with the largest share.
    pub(crate) fn largest_extrapolation(&self) -> Option<&Extrapolation> {
        self.extrapolations.iter().max_by(|a, b| a.share.total_cmp(&b.share))
    }
}

impl fmt::Display for ShareOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StepTime => "step time",
            Self::Prompts => "prompts",
        })
    }
}

impl fmt::Display for Extrapolation {
    /// `38 % of step time beyond 64 decoding sequences, the most seen (up to 120)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = 100.0 * self.share;
        let share = if percent < 1.0 { "< 1 %".to_owned() } else { format!("{percent:.0} %") };
        let Self { of, what, seen, needed, .. } = self;
        let [beyond, end, to] = match self.bound {
            SeenBound::Most => ["beyond", "most", "up to"],
            SeenBound::Least => ["below", "least", "down to"],
        };
        write!(f, "{share} of {of} {beyond} {seen:.0} {what}, the {end} seen ({to} {needed:.0})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::predictions;

    #[test]
    fn the_interval_of_twenty_members_is_nearly_their_range() {
        let members: Vec<f64> = (1..=20).map(f64::from).collect();
        let value = PredictedValue::from_members(10.0, &members).unwrap();
        let is_near = |value: f64, expected: f64| (value - expected).abs() < 1e-9;
        assert!(is_near(value.low, 1.05) && value.point == 10.0 && is_near(value.high, 19.95), "{value:?}");
        let many: Vec<f64> = (1..=199).map(f64::from).collect();
        let value = PredictedValue::from_members(100.0, &many).unwrap();
        assert!(is_near(value.low, 10.0) && is_near(value.high, 190.0), "{value:?}");
    }

    #[test]
    fn the_point_is_inside_and_overload_is_infinite() {
        let value = PredictedValue::from_members(7.0, &[1.0, 2.0, 3.0]).unwrap();
        assert_eq!((value.low, value.high), (1.0, 7.0));
        assert!(value.contains(7.0) && !value.contains(7.1));
        let endless = PredictedValue::from_members(2.0, &[1.0, f64::INFINITY, f64::INFINITY]).unwrap();
        assert_eq!(endless.high, f64::INFINITY);
        assert_eq!(PredictedValue::from_members(1.0, &[]), None);
    }

    #[test]
    fn an_extrapolation_says_what_was_seen_and_what_was_needed() {
        let beyond = predictions::run().prediction.unwrap().extrapolations.remove(0);
        let text = "38 % of step time beyond 64 decoding sequences, the most seen (up to 120)";
        assert_eq!(beyond.to_string(), text);
    }
}
