//! What one trial says about each criterion: how far from its limit, and how surely.
//!
//! A trial ends while requests are in flight, and those are the slow ones: leaving them out would flatter the server. A request
//! that was cut off before it passed the limit is *censored*: it may have met the limit or missed it. Every [`Evidence`] therefore
//! has two slacks, one with all censored requests within the limit and one with all of them beyond it. A criterion is missed only
//! where the first says so, and met only where the second does.

use serde::{Deserialize, Serialize};

use crate::core::figure::{Figure, Statistic};
use crate::core::metrics::Latency;
use crate::core::record::Record;
use crate::core::rule::{Limit, Rule};
use crate::core::spec::Slo;
use crate::core::stats::{RateInterval, Share};
use reading::Reading;
pub use reading::waited;

mod reading;

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

/// A mean has no worst case. Censored requests are taken to last this many times the limit.
const ENDLESS: f64 = 1000.0;

/// What must hold at a load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Criterion {
    /// A service level.
    Rule(Rule),
    /// Requests do not pile up: the server answers as many as arrive.
    KeepsUp,
    /// A guard where no rule limits failures: a load at which more than this share of the requests fails is too much. It can
    /// rule a load out, but claims nothing about the share of failures of a load that holds.
    FewFailures(f64),
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
    /// How far beyond the limit if every censored request was within it; negative within. Of a share, or of a percentile as the
    /// share of requests beyond its limit: the difference of shares; of a mean: the logarithm of its ratio to the limit.
    pub slack: f64,
    /// The same if every censored request was beyond the limit.
    pub worst_slack: f64,
    /// The standard error of either slack, which knows that neighbours in time are alike.
    pub error: f64,
    /// The figure's own value, in its unit, of the requests that are known.
    pub value: Option<f64>,
    /// Requests that it is from, censored ones too.
    pub n: usize,
    /// Requests that were cut off before they met or missed the limit.
    pub censored: usize,
    /// How many are known to be beyond the limit, where they are counted.
    pub beyond: Option<usize>,
}

impl Evidence {
    /// Which side of the limit, whatever the censored requests would have done.
    pub fn outcome(&self) -> Outcome {
        if self.worst_slack < -PLAIN * self.error {
            Outcome::Met
        } else if self.slack > PLAIN * self.error {
            Outcome::Missed
        } else {
            Outcome::Unclear
        }
    }

    /// The share of the requests that were cut off before they met or missed the limit.
    pub fn censored_share(&self) -> f64 {
        self.censored as f64 / self.n.max(1) as f64
    }

    /// Whether to know what became of the censored requests could tell more than chance already blurs.
    pub fn hangs_on_censored(&self) -> bool {
        self.outcome() == Outcome::Unclear && self.worst_slack - self.slack > self.error
    }

    /// Of something that is so or not so.
    pub fn step(missed: bool, value: Option<f64>, n: usize) -> Self {
        let slack = if missed { 1.0 } else { -1.0 };
        Self { slack, worst_slack: slack, error: STEP_ERROR, value, n, censored: 0, beyond: None }
    }

    /// Of a share of requests beyond a limit, of which `allowed` may be; `spread` is the least by which their dependence
    /// inflates the variance.
    ///
    /// The variance is the larger of the one at the limit, by which the score test goes (Wilson 1927), and the one at the share
    /// with two successes and two failures added (Agresti and Coull 1998): the first is right where none was beyond, the second
    /// where many were.
    fn of_share(told: &[Reading], allowed: f64, value: Option<f64>, spread: f64) -> Option<Self> {
        let taking = |censored: bool| -> Vec<bool> {
            let is_beyond = |told: &Reading| match told {
                Reading::Within => false,
                Reading::Beyond => true,
                Reading::Censored => censored,
            };
            told.iter().map(is_beyond).collect()
        };
        let best = Share::of(&taking(false))?;
        let (n, beyond) = (best.n, best.count);
        let censored = told.iter().filter(|told| **told == Reading::Censored).count();
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
        let worst = if censored == 0 { best } else { Share::of(&taking(true))? };
        let agresti_coull = |share: &Share| (share.count as f64 + 2.0) / (n as f64 + 4.0);
        let variance = |share: f64| share * (1.0 - share);
        let variance = [allowed, agresti_coull(&best), agresti_coull(&worst)].map(variance);
        let variance = variance.into_iter().fold(0.0, f64::max);
        let inflation = best.inflation.max(worst.inflation).max(spread);
        let error = (variance * inflation / n as f64).sqrt();
        Some(of(best.value() - allowed, worst.value() - allowed, error))
    }

    /// Of the guard against failures: it speaks up only where the failures are more than allowed.
    fn of_guard(told: &[Reading], allowed: f64) -> Option<Self> {
        let share = |beyond: usize| beyond as f64 / told.len().max(1) as f64;
        let failed = told.iter().filter(|told| **told == Reading::Beyond).count();
        let found = Self::of_share(told, allowed, Some(share(failed)), 1.0)?;
        let (slack, worst_slack) = match found.outcome() {
            Outcome::Missed => (1.0, 1.0),
            _ if found.slack > 0.0 => (0.0, 0.0),
            _ if found.worst_slack > 0.0 => (-1.0, 1.0),
            _ => (-1.0, -1.0),
        };
        Some(Self { slack, worst_slack, error: STEP_ERROR, ..found })
    }

    /// Of a figure by its ratio to the limit: the half of its interval that is on the limit's side tells its error.
    fn of_ratio(value: f64, interval: Option<RateInterval>, limit: f64, n: usize) -> Self {
        let log = |value: f64| value.max(f64::MIN_POSITIVE).ln();
        let slack = log(value) - log(limit);
        let error = interval.map_or(UNSTATED, |RateInterval { low, high }| {
            let half = if slack < 0.0 { log(high) - log(value) } else { log(value) - log(low) };
            half / Z
        });
        let error = error.max(SMALLEST_ERROR);
        Self { slack, worst_slack: slack, error, value: Some(value), n, censored: 0, beyond: None }
    }
}

/// The requests that a criterion is judged by.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'a> {
    /// In the order of time.
    pub records: &'a [Record],
    /// What a good request is.
    pub slo: &'a Slo,
    /// Requests in flight, which are not among the records: nothing is known of them.
    pub in_flight: usize,
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
            Self::FewFailures(share) => format!("failure_rate <= {}%", 100.0 * share),
        }
    }

    /// The figure that is limited.
    pub fn figure(&self) -> Option<Figure> {
        match self {
            Self::Rule(rule) => Some(rule.figure),
            Self::KeepsUp => None,
            Self::FewFailures(_) => Figure::scalar("failure_rate"),
        }
    }

    /// The limit in the figure's unit: of several bounds the one that allows most.
    pub fn limit(&self) -> Option<f64> {
        let rule = match self {
            Self::Rule(rule) => rule,
            Self::KeepsUp => return None,
            Self::FewFailures(share) => return Some(*share),
        };
        let fixed = rule.bounds.iter().filter_map(|bound| match bound.limit {
            Limit::Fixed(limit) => Some(limit),
            Limit::Baseline { .. } => None,
        });
        if is(rule.figure, "goodput_ratio") { fixed.reduce(f64::min) } else { fixed.reduce(f64::max) }
    }

    /// The share of the requests that may be beyond the limit; `None` where it is no matter of shares.
    pub fn allowed(&self) -> Option<f64> {
        match self.figure()? {
            Figure::Latency(_, Statistic::Percentile(p)) => Some(1.0 - p / 100.0),
            Figure::Latency(_, Statistic::Mean) => Some(0.0),
            figure if is(figure, "failure_rate") => self.limit(),
            _ => Some(1.0 - self.limit()?),
        }
    }

    /// What the requests, and where their Records cannot tell it what the run states, say about it.
    ///
    /// `None` if nothing is known: no request has such a figure. `ease` is a factor on the limit: at 0.5 a latency must keep
    /// to half of it.
    pub fn evidence(&self, sample: Sample<'_>, stated: Option<Stated>, ease: f64) -> Option<Evidence> {
        let limit = self.limit()?;
        match self.figure()? {
            Figure::Latency(Latency::Itl, _) => self.of_stated(sample, stated?, ease * limit),
            Figure::Latency(latency, Statistic::Percentile(p)) => {
                let (told, value, spread) = reading::percentile(sample, latency, p, ease * limit);
                Evidence::of_share(&told, 1.0 - p / 100.0, value, spread)
            }
            Figure::Latency(latency, Statistic::Mean) => of_mean(sample, latency, ease * limit),
            figure if is(figure, "failure_rate") => {
                let told = reading::failures(sample);
                match self {
                    Self::FewFailures(share) => Evidence::of_guard(&told, *share),
                    _ => Evidence::of_share(&told, limit, reading::share(&told), 1.0),
                }
            }
            _ => {
                let told = reading::misses(sample);
                let good = reading::share(&told).map(|bad| 1.0 - bad);
                Evidence::of_share(&told, 1.0 - limit, good, 1.0)
            }
        }
    }

    /// A run states the gaps of the requests that ended. Once the share of those that did not exceeds what may be beyond, the
    /// gaps of all of them may be anything.
    fn of_stated(&self, sample: Sample<'_>, stated: Stated, limit: f64) -> Option<Evidence> {
        let told = reading::failures(sample);
        let censored = told.iter().filter(|told| **told == Reading::Censored).count();
        let found = Evidence::of_ratio(stated.value, stated.interval, limit, told.len());
        let is_open = censored as f64 > self.allowed()? * told.len() as f64;
        let worst_slack = if is_open { found.slack + ENDLESS.ln() } else { found.slack };
        Some(Evidence { censored, worst_slack, ..found })
    }
}

fn is(figure: Figure, key: &str) -> bool {
    Figure::scalar(key) == Some(figure)
}

/// A censored request lasts at least as long as it was waited for, and at most without end.
fn of_mean(sample: Sample<'_>, latency: Latency, limit_ms: f64) -> Option<Evidence> {
    let reading::Waits { ended, censored } = reading::waits(sample, latency);
    let n = ended.len() + censored.len();
    let sum = |values: &[f64]| values.iter().sum::<f64>();
    if ended.is_empty() {
        let slack = ((sum(&censored) / n as f64).max(f64::MIN_POSITIVE) / limit_ms).ln();
        let found = Evidence::step(false, None, n);
        let (slack, worst_slack) = (slack.min(0.0), ENDLESS.ln());
        return (n > 0).then_some(Evidence { slack, worst_slack, censored: n, ..found });
    }
    let (mean, interval) = reading::mean(&ended)?;
    let found = Evidence::of_ratio(mean, interval, limit_ms, n);
    if censored.is_empty() {
        return Some(found);
    }
    // The ratio of the mean of all to the mean of those that ended moves the slack.
    let least = (sum(&ended) + sum(&censored)) / n as f64;
    let most = (sum(&ended) + censored.len() as f64 * ENDLESS * limit_ms) / n as f64;
    let slack = (least / limit_ms).ln().min(found.slack);
    let worst_slack = (most / limit_ms).ln().max(found.slack);
    Some(Evidence { slack, worst_slack, censored: censored.len(), ..found })
}

#[cfg(test)]
mod tests;
