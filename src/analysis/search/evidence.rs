//! What one trial shows about each criterion: the distance from its limit, and the uncertainty.
//!
//! A trial ends while requests are in flight, and those are the slow ones. Leaving them out would flatter the server. A
//! request that was cut off before it passed the limit is *censored*: it may have met or violated the limit. Every
//! [`CriterionEvidence`] therefore has two slacks, one with all censored requests within the limit and one with all of
//! them beyond it. A criterion is violated only if the first slack shows it, and met only if the second slack shows it.

mod observations;

use serde::{Deserialize, Serialize};

use super::LoadAxis;
use crate::analysis::search::evidence::observations::LimitObservation;
pub(crate) use crate::analysis::search::evidence::observations::waited_time;
use crate::model::metric_id::{MetricId, Statistic};
use crate::model::metrics::Latency;
use crate::model::record::Record;
use crate::model::rule::{MetricRule, RuleLimit};
use crate::model::run_spec::Slo;
use crate::stats::{Proportion, RateInterval};

/// The number of standard errors from the limit at which the outcome is clear.
const CLEAR_ERRORS: f64 = 2.0;

/// The error of a criterion that is either met or violated, without degrees: its slack is 1 to either side.
const STEP_ERROR: f64 = 0.4;

/// Half the width of a 95 % interval in standard errors.
const Z: f64 = 1.959_964;

/// The relative error of a metric that reports none.
const DEFAULT_RELATIVE_ERROR: f64 = 0.3;

/// The smallest relative error of a latency in one trial: a server never behaves exactly the same twice.
const SMALLEST_ERROR: f64 = 0.01;

/// The worst case of a mean is unbounded. Censored requests are assumed to last this multiple of the limit.
const MAX_CENSORED_TIME: f64 = 1000.0;

/// A criterion that a good load meets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Criterion {
    /// A service level.
    Rule(MetricRule),
    /// Requests do not pile up: the server answers requests at the rate at which they arrive.
    KeepsUp,
    /// A guard for searches in which no rule limits failures: a load at which more than this share of the requests
    /// fails is too high. The guard can rule a load out, but makes no claim about the failure rate at a good load.
    FewFailures(f64),
}

/// Why a rule cannot be used as a criterion.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CriterionError {
    /// The rule needs a baseline, and a search has none.
    #[error("`{0}` needs a baseline, and a search has none: give a number, such as ttft.p95<500ms")]
    Baseline(MetricRule),
    /// The metric improves with more load.
    #[error(
        "`{0}` improves as the load grows, so it cannot bound the load: use a latency, failure_rate or goodput_ratio"
    )]
    Grows(MetricRule),
}

/// On which side of its limit a criterion is, according to one trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CriterionOutcome {
    /// The criterion is clearly met.
    Met,
    /// The criterion is clearly violated.
    Missed,
    /// The trial is too close to the limit, or has too few requests, to decide.
    Unclear,
}

/// What one trial shows about one criterion.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct CriterionEvidence {
    /// The distance beyond the limit if every censored request was within it; negative within the limit. For a share,
    /// or for a percentile as the share of requests beyond its limit, the slack is the difference of shares. For a
    /// mean, it is the logarithm of the mean's ratio to the limit.
    pub slack: f64,
    /// The slack if every censored request was beyond the limit.
    pub worst_slack: f64,
    /// The standard error of either slack, which accounts for the similarity of successive requests.
    pub error: f64,
    /// The metric's value in its unit, over the requests with a known value.
    pub value: Option<f64>,
    /// The number of requests, including censored ones.
    pub n: usize,
    /// The number of requests that were cut off before they met or violated the limit.
    pub censored: usize,
    /// The number of requests known to be beyond the limit, where they are counted.
    pub beyond: Option<usize>,
}

impl CriterionEvidence {
    /// Returns the outcome that holds whatever the outcome of the censored requests.
    pub(crate) fn outcome(&self) -> CriterionOutcome {
        if self.worst_slack < -CLEAR_ERRORS * self.error {
            CriterionOutcome::Met
        } else if self.slack > CLEAR_ERRORS * self.error {
            CriterionOutcome::Missed
        } else {
            CriterionOutcome::Unclear
        }
    }

    /// The share of the requests that were cut off before they met or violated the limit.
    pub(crate) fn censored_share(&self) -> f64 {
        self.censored as f64 / self.n.max(1) as f64
    }

    /// Whether the outcome of the censored requests could change the result by more than chance does.
    pub(crate) fn depends_on_censored(&self) -> bool {
        self.outcome() == CriterionOutcome::Unclear && self.worst_slack - self.slack > self.error
    }

    /// Makes the evidence for a yes/no criterion.
    pub(crate) fn from_step(missed: bool, value: Option<f64>, n: usize) -> Self {
        let slack = if missed { 1.0 } else { -1.0 };
        Self { slack, worst_slack: slack, error: STEP_ERROR, value, n, censored: 0, beyond: None }
    }

    /// Makes the evidence for a share of requests beyond a limit, which may be at most `allowed`; `spread` is a lower
    /// bound of the factor by which dependence inflates the variance.
    ///
    /// The variance is the larger of two: that at the limit, as in the score test (Wilson 1927), and that at the share
    /// with two successes and two failures added (Agresti and Coull 1998). The first is right where no request was
    /// beyond the limit, the second where many were.
    fn from_share(
        outcomes: &[LimitObservation],
        allowed: f64,
        value: Option<f64>,
        spread: f64,
    ) -> Option<Self> {
        let taking = |censored: bool| -> Vec<bool> {
            let is_beyond = |outcome: &LimitObservation| match outcome {
                LimitObservation::Within => false,
                LimitObservation::Beyond => true,
                LimitObservation::Censored => censored,
            };
            outcomes.iter().map(is_beyond).collect()
        };
        let best = Proportion::from_events(&taking(false))?;
        let (n, beyond) = (best.n, best.count);
        let censored = outcomes.iter().filter(|outcome| **outcome == LimitObservation::Censored).count();
        let of = |slack, worst_slack, error| Self {
            slack,
            worst_slack,
            error,
            value,
            n,
            censored,
            beyond: Some(beyond),
        };
        if allowed <= 0.0 {
            let step = |missed| if missed { 1.0 } else { -1.0 };
            return Some(of(step(beyond > 0), step(beyond + censored > 0), STEP_ERROR));
        }
        let worst = if censored == 0 { best } else { Proportion::from_events(&taking(true))? };
        let agresti_coull = |share: &Proportion| (share.count as f64 + 2.0) / (n as f64 + 4.0);
        let variance = |share: f64| share * (1.0 - share);
        let variance = [allowed, agresti_coull(&best), agresti_coull(&worst)].map(variance);
        let variance = variance.into_iter().fold(0.0, f64::max);
        let inflation = best.inflation.max(worst.inflation).max(spread);
        let error = (variance * inflation / n as f64).sqrt();
        Some(of(best.value() - allowed, worst.value() - allowed, error))
    }

    /// Makes the evidence of the guard against failures, which counts only where failures exceed `allowed`.
    fn from_failures(outcomes: &[LimitObservation], allowed: f64) -> Option<Self> {
        let share = |beyond: usize| beyond as f64 / outcomes.len().max(1) as f64;
        let failed = outcomes.iter().filter(|outcome| **outcome == LimitObservation::Beyond).count();
        let found = Self::from_share(outcomes, allowed, Some(share(failed)), 1.0)?;
        let (slack, worst_slack) = match found.outcome() {
            CriterionOutcome::Missed => (1.0, 1.0),
            _ if found.slack > 0.0 => (0.0, 0.0),
            _ if found.worst_slack > 0.0 => (-1.0, 1.0),
            _ => (-1.0, -1.0),
        };
        Some(Self { slack, worst_slack, error: STEP_ERROR, ..found })
    }

    /// Makes the evidence for a metric from its ratio to the limit. The half of its interval on the limit's side gives
    /// its error.
    fn from_ratio(value: f64, interval: Option<RateInterval>, limit: f64, n: usize) -> Self {
        let log = |value: f64| value.max(f64::MIN_POSITIVE).ln();
        let slack = log(value) - log(limit);
        let error = interval.map_or(DEFAULT_RELATIVE_ERROR, |RateInterval { low, high }| {
            let half = if slack < 0.0 { log(high) - log(value) } else { log(value) - log(low) };
            half / Z
        });
        let error = error.max(SMALLEST_ERROR);
        Self { slack, worst_slack: slack, error, value: Some(value), n, censored: 0, beyond: None }
    }
}

/// The requests that a criterion is evaluated on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TrialSample<'a> {
    /// The records in order of time.
    pub records: &'a [Record],
    /// The SLO of a good request.
    pub slo: &'a Slo,
    /// The number of requests in flight. They have no records, so nothing is known of them.
    pub in_flight: usize,
}

/// The value that a run reports for a metric that Records cannot give.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ReportedValue {
    /// The value in the metric's unit.
    pub value: f64,
    /// The value's 95 % interval.
    pub interval: Option<RateInterval>,
}

impl Criterion {
    /// Makes a criterion from a rule.
    ///
    /// # Errors
    ///
    /// [`CriterionError`] for a rule that does not limit the load.
    pub(crate) fn from_rule(rule: MetricRule) -> Result<Self, CriterionError> {
        if rule.needs_baseline() {
            return Err(CriterionError::Baseline(rule));
        }
        match rule.figure {
            MetricId::Latency(..) => Ok(Self::Rule(rule)),
            figure if is_scalar(figure, "failure_rate") || is_scalar(figure, "goodput_ratio") => {
                Ok(Self::Rule(rule))
            }
            _ => Err(CriterionError::Grows(rule)),
        }
    }

    /// Makes criteria from rules. A search over the rate also requires that the server keeps up.
    ///
    /// # Errors
    ///
    /// [`CriterionError`] for a rule that does not limit the load.
    pub(crate) fn from_rules(
        rules: impl IntoIterator<Item = MetricRule>,
        over: LoadAxis,
    ) -> Result<Vec<Self>, CriterionError> {
        let keeps_up = (over == LoadAxis::Rate).then_some(Ok(Self::KeepsUp));
        rules.into_iter().map(Self::from_rule).chain(keeps_up).collect()
    }

    /// The criterion in words, for reports.
    pub(crate) fn label(&self) -> String {
        match self {
            Self::Rule(rule) => rule.to_string(),
            Self::KeepsUp => "the server keeps up".into(),
            Self::FewFailures(share) => format!("failure_rate <= {}%", 100.0 * share),
        }
    }

    /// The limited metric.
    pub(crate) fn figure(&self) -> Option<MetricId> {
        match self {
            Self::Rule(rule) => Some(rule.figure),
            Self::KeepsUp => None,
            Self::FewFailures(_) => MetricId::scalar("failure_rate"),
        }
    }

    /// The limit in the metric's unit: the loosest of several bounds.
    pub(crate) fn limit(&self) -> Option<f64> {
        let rule = match self {
            Self::Rule(rule) => rule,
            Self::KeepsUp => return None,
            Self::FewFailures(share) => return Some(*share),
        };
        let fixed = rule.bounds.iter().filter_map(|bound| match bound.limit {
            RuleLimit::Fixed(limit) => Some(limit),
            RuleLimit::Baseline { .. } => None,
        });
        if is_scalar(rule.figure, "goodput_ratio") { fixed.reduce(f64::min) } else { fixed.reduce(f64::max) }
    }

    /// The share of the requests that may be beyond the limit; `None` where the criterion is not about shares.
    pub(crate) fn allowed(&self) -> Option<f64> {
        match self.figure()? {
            MetricId::Latency(_, Statistic::Percentile(p)) => Some(1.0 - p / 100.0),
            MetricId::Latency(_, Statistic::Mean) => Some(0.0),
            figure if is_scalar(figure, "failure_rate") => self.limit(),
            _ => Some(1.0 - self.limit()?),
        }
    }

    /// Evaluates the criterion on the requests, or on the value that the run reports where Records cannot give it.
    ///
    /// `None` if no request has the metric. `ease` is a factor on the limit: at 0.5 a latency must stay within half of
    /// it.
    pub(crate) fn evidence(
        &self,
        sample: TrialSample<'_>,
        stated: Option<ReportedValue>,
        ease: f64,
    ) -> Option<CriterionEvidence> {
        let limit = self.limit()?;
        match self.figure()? {
            MetricId::Latency(Latency::Itl, _) => self.reported_evidence(sample, stated?, ease * limit),
            MetricId::Latency(latency, Statistic::Percentile(p)) => {
                let (outcomes, value, spread) = observations::percentile(sample, latency, p, ease * limit);
                CriterionEvidence::from_share(&outcomes, 1.0 - p / 100.0, value, spread)
            }
            MetricId::Latency(latency, Statistic::Mean) => mean_evidence(sample, latency, ease * limit),
            figure if is_scalar(figure, "failure_rate") => {
                let outcomes = observations::failures(sample);
                match self {
                    Self::FewFailures(share) => CriterionEvidence::from_failures(&outcomes, *share),
                    _ => CriterionEvidence::from_share(
                        &outcomes,
                        limit,
                        observations::share_beyond(&outcomes),
                        1.0,
                    ),
                }
            }
            _ => {
                let outcomes = observations::slo_misses(sample);
                let good = observations::share_beyond(&outcomes).map(|bad| 1.0 - bad);
                CriterionEvidence::from_share(&outcomes, 1.0 - limit, good, 1.0)
            }
        }
    }

    /// A run reports the gaps of the requests that ended. Once the share of requests that did not end exceeds the share
    /// that may be beyond the limit, the gaps of all requests are unbounded.
    fn reported_evidence(
        &self,
        sample: TrialSample<'_>,
        stated: ReportedValue,
        limit: f64,
    ) -> Option<CriterionEvidence> {
        let outcomes = observations::failures(sample);
        let censored = outcomes.iter().filter(|outcome| **outcome == LimitObservation::Censored).count();
        let found = CriterionEvidence::from_ratio(stated.value, stated.interval, limit, outcomes.len());
        let is_open = censored as f64 > self.allowed()? * outcomes.len() as f64;
        let worst_slack = if is_open { found.slack + MAX_CENSORED_TIME.ln() } else { found.slack };
        Some(CriterionEvidence { censored, worst_slack, ..found })
    }
}

fn is_scalar(figure: MetricId, key: &str) -> bool {
    MetricId::scalar(key) == Some(figure)
}

/// A censored request lasts at least as long as the client waited for it, without an upper bound.
fn mean_evidence(sample: TrialSample<'_>, latency: Latency, limit_ms: f64) -> Option<CriterionEvidence> {
    let observations::RequestTimes { ended, censored } = observations::request_times(sample, latency);
    let n = ended.len() + censored.len();
    let sum = |values: &[f64]| values.iter().sum::<f64>();
    if ended.is_empty() {
        let slack = ((sum(&censored) / n as f64).max(f64::MIN_POSITIVE) / limit_ms).ln();
        let found = CriterionEvidence::from_step(false, None, n);
        let (slack, worst_slack) = (slack.min(0.0), MAX_CENSORED_TIME.ln());
        return (n > 0).then_some(CriterionEvidence { slack, worst_slack, censored: n, ..found });
    }
    let (mean, interval) = observations::mean_with_interval(&ended)?;
    let found = CriterionEvidence::from_ratio(mean, interval, limit_ms, n);
    if censored.is_empty() {
        return Some(found);
    }
    // The slack shifts by the ratio of the mean of all requests to the mean of those that ended.
    let least = (sum(&ended) + sum(&censored)) / n as f64;
    let most = (sum(&ended) + censored.len() as f64 * MAX_CENSORED_TIME * limit_ms) / n as f64;
    let slack = (least / limit_ms).ln().min(found.slack);
    let worst_slack = (most / limit_ms).ln().max(found.slack);
    Some(CriterionEvidence { slack, worst_slack, censored: censored.len(), ..found })
}

#[cfg(test)]
mod tests;
