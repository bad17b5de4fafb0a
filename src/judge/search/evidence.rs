//! What one trial says about each criterion: how far from its limit, and how surely.

use std::slice;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::figure::{Figure, Statistic};
use crate::core::metrics::{Latency, meets, samples};
use crate::core::record::{FailureClass, Record};
use crate::core::rule::{Limit, Rule};
use crate::core::spec::Slo;
use crate::core::stats::{Distribution, Percent, RateInterval, Share};

/// Standard errors beyond which a side of the limit is plain.
const PLAIN: f64 = 2.0;

/// For a criterion that is met or missed without degrees: its slack is 1 to either side, with this error.
const STEP_ERROR: f64 = 0.4;

/// Half the width of a 95 % interval in standard errors.
const Z: f64 = 1.959_964;

/// The relative error of a figure that states none.
const UNSTATED: f64 = 0.3;

/// No trial tells a latency better than this: a server is not the same twice.
const SMALLEST_ERROR: f64 = 0.01;

/// What must hold at a load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Criterion {
    /// A service level.
    Rule(Rule),
    /// Requests do not pile up: the server answers as many as arrive.
    KeepsUp,
}

/// Why a rule cannot be searched by.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CriterionError {
    /// There is no baseline.
    #[error("`{0}` needs a baseline, and a search has none: give a number, such as ttft.p95<500ms")]
    Baseline(Rule),
    /// It gets better with more load.
    #[error(
        "`{0}` gets better the more is sent, so it is no limit of the load: limit a latency, failure_rate or goodput_ratio"
    )]
    Grows(Rule),
}

/// Which side of its limit a criterion is on, by one trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Within, and not by chance.
    Met,
    /// Beyond, and not by chance.
    Missed,
    /// So near to the limit, or of so few requests, that it may be either.
    Unclear,
}

/// What one trial says about one criterion.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Evidence {
    /// How far beyond the limit; negative within. Of a share, or of a percentile as the share of requests beyond its limit:
    /// the difference of shares; of a mean: the logarithm of its ratio to the limit.
    pub slack: f64,
    /// The standard error of the slack, which knows that neighbours in time are alike.
    pub error: f64,
    /// The figure's own value, in its unit.
    pub value: Option<f64>,
    /// Requests that it is from.
    pub n: usize,
    /// How many of them were beyond the limit, where they are counted.
    pub beyond: Option<usize>,
}

impl Evidence {
    /// Which side of the limit.
    pub fn outcome(&self) -> Outcome {
        match self.slack / self.error {
            z if z < -PLAIN => Outcome::Met,
            z if z > PLAIN => Outcome::Missed,
            _ => Outcome::Unclear,
        }
    }

    /// Of something that is so or not so.
    pub fn step(missed: bool, value: Option<f64>, n: usize) -> Self {
        Self { slack: if missed { 1.0 } else { -1.0 }, error: STEP_ERROR, value, n, beyond: None }
    }

    /// Of a share of requests beyond a limit, of which `allowed` may be.
    ///
    /// The error is the larger of the one at the limit (the score test's) and the one at the share as it was seen
    /// (Agresti and Coull 1998): the first is right where none was beyond, the second where many were.
    fn of_share(beyond: &[bool], allowed: f64, value: Option<f64>, spread: f64) -> Option<Self> {
        let share = Share::of(beyond)?;
        let n = share.n;
        if allowed <= 0.0 {
            return Some(Self { beyond: Some(share.count), ..Self::step(share.count > 0, value, n) });
        }
        let seen = (share.count as f64 + 1.0) / (n as f64 + 2.0);
        let variance = (allowed * (1.0 - allowed)).max(seen * (1.0 - seen));
        let error = (variance * share.inflation.max(spread) / n as f64).sqrt();
        Some(Self { slack: share.value() - allowed, error, value, n, beyond: Some(share.count) })
    }

    /// With not one request beyond, met as something is that is so or not so. A server that works does not fail now and then:
    /// thirty requests need not be four hundred before they may be taken for less than 1 % of failures.
    fn with_none_met(self) -> Self {
        let error =
            if self.beyond == Some(0) { self.error.min(STEP_ERROR * self.slack.abs()) } else { self.error };
        Self { error, ..self }
    }

    /// Of a figure by its ratio to the limit: the half of its interval that is on the limit's side tells its error.
    fn of_ratio(value: f64, interval: Option<RateInterval>, limit: f64, n: usize) -> Self {
        let log = |value: f64| value.max(f64::MIN_POSITIVE).ln();
        let slack = log(value) - log(limit);
        let error = interval.map_or(UNSTATED, |RateInterval { low, high }| {
            let half = if slack < 0.0 { log(high) - log(value) } else { log(value) - log(low) };
            half / Z
        });
        Self { slack, error: error.max(SMALLEST_ERROR), value: Some(value), n, beyond: None }
    }
}

/// What a figure's run states of it, for a figure that Records do not tell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stated {
    /// In the figure's unit.
    pub value: f64,
    /// Its 95 % interval.
    pub interval: Option<RateInterval>,
}

impl Criterion {
    /// From a rule.
    ///
    /// # Errors
    /// [`CriterionError`] for one that does not limit the load.
    pub fn of(rule: Rule) -> Result<Self, CriterionError> {
        if rule.needs_baseline() {
            return Err(CriterionError::Baseline(rule));
        }
        match rule.figure {
            Figure::Latency(..) => Ok(Self::Rule(rule)),
            figure if is(figure, "failure_rate") || is(figure, "goodput_ratio") => Ok(Self::Rule(rule)),
            _ => Err(CriterionError::Grows(rule)),
        }
    }

    /// For people.
    pub fn label(&self) -> String {
        match self {
            Self::Rule(rule) => rule.to_string(),
            Self::KeepsUp => "the server keeps up".into(),
        }
    }

    /// The figure that is limited.
    pub fn figure(&self) -> Option<Figure> {
        match self {
            Self::Rule(rule) => Some(rule.figure),
            Self::KeepsUp => None,
        }
    }

    /// Whether only a whole run tells it, not its Records.
    pub fn is_stated(&self) -> bool {
        matches!(self.figure(), Some(Figure::Latency(Latency::Itl, _)))
    }

    /// The limit in the figure's unit: of several bounds the one that allows most.
    pub fn limit(&self) -> Option<f64> {
        let Self::Rule(rule) = self else { return None };
        let fixed = rule.bounds.iter().filter_map(|bound| match bound.limit {
            Limit::Fixed(limit) => Some(limit),
            Limit::Baseline { .. } => None,
        });
        if is(rule.figure, "goodput_ratio") { fixed.reduce(f64::min) } else { fixed.reduce(f64::max) }
    }

    /// What Records in the order of time, and where they cannot tell it what the run states, say about it.
    ///
    /// `None` if nothing is known: no request has such a figure. `ease` is a factor on the limit: at 0.5 a latency must keep
    /// to half of it.
    pub fn evidence(
        &self,
        records: &[Record],
        slo: &Slo,
        stated: Option<Stated>,
        ease: f64,
    ) -> Option<Evidence> {
        let limit = self.limit()?;
        match self.figure()? {
            Figure::Latency(Latency::Itl, _) => {
                let Stated { value, interval } = stated?;
                Some(Evidence::of_ratio(value, interval, ease * limit, records.len()))
            }
            Figure::Latency(latency, Statistic::Percentile(p)) => {
                of_percentile(records, latency, p, ease * limit)
            }
            Figure::Latency(latency, Statistic::Mean) => of_mean(records, latency, ease * limit),
            figure if is(figure, "failure_rate") => {
                let failed: Vec<bool> = ended(records).map(|record| !record.succeeded()).collect();
                let share = Share::of(&failed)?.value();
                Some(Evidence::of_share(&failed, limit, Some(share), 1.0)?.with_none_met())
            }
            _ => {
                let bad: Vec<bool> = ended(records).map(|record| !meets(record, slo)).collect();
                let good = 1.0 - Share::of(&bad)?.value();
                Evidence::of_share(&bad, 1.0 - limit, Some(good), 1.0)
            }
        }
    }
}

fn is(figure: Figure, key: &str) -> bool {
    Figure::scalar(key) == Some(figure)
}

/// Those that got an answer or a failure: users who left, and what we gave up on ourselves, are neither.
fn ended(records: &[Record]) -> impl Iterator<Item = &Record> {
    let given_up =
        |record: &Record| record.failure().is_some_and(|failure| failure.class == FailureClass::Cancelled);
    records.iter().filter(move |record| !record.was_abandoned() && !given_up(record))
}

/// A percentile by the share of requests beyond the limit: shares of several trials average to the share of all of them, as
/// percentiles do not. How sure it is tells the percentile's own interval too, which may be far from the limit although no
/// share is below zero.
fn of_percentile(records: &[Record], latency: Latency, p: Percent, limit_ms: f64) -> Option<Evidence> {
    let limit = Duration::try_from_secs_f64(limit_ms / 1e3).unwrap_or(Duration::MAX);
    let values: Vec<Duration> = records.iter().filter_map(|record| known(record, latency, limit)).collect();
    let beyond: Vec<bool> = values.iter().map(|&value| value > limit).collect();
    let n = values.len();
    let distribution = Distribution::of(values, &[p, 100.0])?;
    let [percentile, most] = distribution.percentiles[..] else { return None };
    let ms = |value: Duration| value.as_secs_f64() * 1e3;
    let spread = n as f64 / percentile.effective_n.max(1) as f64;
    let evidence = Evidence::of_share(&beyond, 1.0 - p / 100.0, Some(ms(percentile.value)), spread)?;
    let interval = percentile
        .interval
        .map(|interval| RateInterval { low: ms(interval.low), high: ms(interval.high) })
        // Too few: as far off as the largest is from the middle.
        .unwrap_or(RateInterval { low: 0.0, high: ms(percentile.value.max(most.value)) * (1.0 + UNSTATED) });
    let ratio = Evidence::of_ratio(ms(percentile.value), Some(interval), limit_ms, n);
    let sure = (ratio.slack / ratio.error).abs();
    let error = if sure > PLAIN { evidence.error.min(evidence.slack.abs() / sure) } else { evidence.error };
    Some(Evidence { error, ..evidence })
}

/// The latency of a request; `None` if it does not tell. One that failed without an answer counts against the failures,
/// not here.
fn known(record: &Record, latency: Latency, limit: Duration) -> Option<Duration> {
    if let Some(value) = samples(slice::from_ref(record), latency).next() {
        return Some(value);
    }
    let waits = match latency {
        Latency::Ttft | Latency::TtftFromDue => record.times.first_token.is_none(),
        Latency::E2e | Latency::E2eFromDue => true,
        Latency::Tpot | Latency::Itl | Latency::Lag => false,
    };
    let given_up = record.failure().is_some_and(|failure| failure.class == FailureClass::Cancelled);
    let waited = record.times.done?.saturating_sub(record.times.sent?);
    (given_up && waits && waited > limit).then_some(waited)
}

fn of_mean(records: &[Record], latency: Latency, limit_ms: f64) -> Option<Evidence> {
    let values: Vec<Duration> = samples(records, latency).collect();
    let n = values.len();
    let distribution = Distribution::of(values, &[])?;
    let ms = |value: Duration| value.as_secs_f64() * 1e3;
    let interval = distribution
        .mean_interval
        .map(|interval| RateInterval { low: ms(interval.low), high: ms(interval.high) });
    Some(Evidence::of_ratio(ms(distribution.mean), interval, limit_ms, n))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::record::Failure;
    use crate::core::simulated::record;

    fn criterion(rule: &str) -> Criterion {
        Criterion::of(rule.parse().unwrap()).unwrap()
    }

    fn answered(ttfts_ms: impl IntoIterator<Item = u64>) -> Vec<Record> {
        let at = |i: usize| Duration::from_millis(100 * i as u64);
        let answer =
            |(i, ttft)| record(i, at(i), at(i) + Duration::from_millis(ttft), at(i) + Duration::from_secs(2));
        ttfts_ms.into_iter().enumerate().map(answer).collect()
    }

    fn of(rule: &str, records: &[Record]) -> Option<Evidence> {
        criterion(rule).evidence(records, &Slo::default(), None, 1.0)
    }

    #[test]
    fn enough_requests_within_the_limit_meet_it_and_few_are_unclear() {
        let outcome =
            |n: u64| of("ttft.p95<500ms", &answered((0..n).map(|i| 100 + i * 7919 % 390))).unwrap().outcome();
        assert_eq!((outcome(10), outcome(400)), (Outcome::Unclear, Outcome::Met));
    }

    #[test]
    fn many_requests_beyond_the_limit_miss_it() {
        let found =
            of("ttft.p95<500ms", &answered((0..200).map(|i| if i % 3 == 0 { 900 } else { 100 }))).unwrap();
        assert_eq!((found.outcome(), found.beyond), (Outcome::Missed, Some(67)));
        assert!((found.slack - (67.0 / 200.0 - 0.05)).abs() < 1e-9, "{found:?}");
    }

    #[test]
    fn requests_that_were_given_up_on_count_if_they_had_waited_too_long() {
        let mut records = answered([100; 20]);
        for (i, record) in records.iter_mut().enumerate().skip(10) {
            record.outcome = Err(Failure::new(FailureClass::Cancelled, ""));
            (record.times.first_token, record.times.last_token) = (None, None);
            record.times.done =
                record.times.sent.map(|sent| sent + Duration::from_millis(200 * i as u64 - 1800));
        }
        // They had waited 200 ms, 400 ms, …: eight of them longer than 500 ms, of the others nobody knows.
        let found = of("ttft.p95<500ms", &records).unwrap();
        assert_eq!((found.n, found.beyond), (18, Some(8)));
        assert!((found.slack - (8.0 / 18.0 - 0.05)).abs() < 1e-9, "{found:?}");
        assert_eq!(of("failure_rate<1%", &records).unwrap().value, Some(0.0));
    }

    #[test]
    fn a_mean_is_held_by_its_interval() {
        let found = of("tpot.mean<30ms", &answered((0..200).map(|i| 100 + i % 50))).unwrap();
        assert_eq!(found.outcome(), Outcome::Met);
        assert!((found.value.unwrap() - 9.9).abs() < 0.3, "{found:?}");
    }

    #[test]
    fn a_limit_of_zero_is_missed_by_one() {
        let mut records = answered([100; 50]);
        assert_eq!(of("failure_rate<=0%", &records).unwrap().outcome(), Outcome::Met);
        records[7].outcome = Err(Failure::new(FailureClass::Status(500), ""));
        assert_eq!(of("failure_rate<=0%", &records).unwrap().outcome(), Outcome::Missed);
    }

    #[test]
    fn a_few_requests_without_a_failure_meet_a_limit_of_failures() {
        let mut records = answered([100; 30]);
        assert_eq!(of("failure_rate<1%", &records).unwrap().outcome(), Outcome::Met);
        records[7].outcome = Err(Failure::new(FailureClass::Status(500), ""));
        assert_eq!(of("failure_rate<1%", &records).unwrap().outcome(), Outcome::Unclear);
    }

    #[test]
    fn nothing_known_is_no_evidence() {
        assert_eq!(of("ttft.p95<500ms", &[]), None);
        assert_eq!(of("itl.p95<50ms", &answered([100; 50])), None);
    }

    #[test]
    fn rules_that_do_not_limit_the_load_are_refused_with_what_to_do() {
        for (rule, says) in
            [("output_throughput > 100", "gets better"), ("ttft.p95 < baseline * 1.1", "baseline")]
        {
            let error = Criterion::of(rule.parse().unwrap()).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
