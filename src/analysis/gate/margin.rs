//! The margin of a metric to the bounds of its rule: positive within the bound, negative beyond.

use super::{LimitMargin, Undecided};
use crate::analysis::compare::{MetricDifference, MetricSample, RequiredSample, SampleUnit};
use crate::model::metric_id::{MetricId, Statistic};
use crate::model::rule::{BoundSide, MetricRule, RuleBound, RuleLimit};
use crate::stats::{RateInterval, min_sample_size};

/// The largest growth of a sample that is worth suggesting.
const MAX_SAMPLE_FACTOR: f64 = 1e9;

/// The margin to every bound that can be evaluated.
pub(super) struct BoundMargins {
    figure: MetricId,
    margins: Vec<BoundMargin>,
    /// Whether a bound cannot be evaluated. It might be met, so the rule is not certainly violated.
    open: bool,
}

/// The margin to one bound.
struct BoundMargin {
    /// The measured margin.
    value: f64,
    /// The confidence that the margin is positive: the p-value of the hypothesis that the bound is met.
    kept: f64,
    /// The p-value of the hypothesis that the bound is violated.
    broken: f64,
    known: LimitTest,
    side: BoundSide,
}

/// The quantity that is compared with the limit.
enum LimitTest {
    /// The metric minus this offset.
    Figure(MetricSample, f64),
    /// The metric's difference from a multiple of the baseline, minus this offset.
    Difference(Box<MetricDifference>, f64),
}

impl BoundMargins {
    /// Computes the margins to the bounds of a rule that can be evaluated. `baseline` is the baseline's sample, or the
    /// reason why none can be used. If no bound can be evaluated, returns the reason of the first.
    pub(super) fn compute(
        rule: &MetricRule,
        candidate: &MetricSample,
        baseline: Result<&MetricSample, Undecided>,
    ) -> Result<Self, Undecided> {
        let margin = |bound: &RuleBound| {
            let known = limit_test(bound, candidate, baseline)?;
            BoundMargin::new(bound.side, known).ok_or(Undecided::NoInterval)
        };
        let (margins, doubts): (Vec<_>, Vec<_>) = rule.bounds.iter().map(margin).partition(Result::is_ok);
        let margins: Vec<BoundMargin> = margins.into_iter().flatten().collect();
        match doubts.into_iter().find_map(Result::err) {
            Some(why) if margins.is_empty() => Err(why),
            doubt => Ok(Self { figure: rule.figure, margins, open: doubt.is_some() }),
        }
    }

    /// The p-value of the hypothesis that the rule is met. Every bound must be violated for the rule to be violated, so
    /// the weakest evidence counts (an intersection-union test, Berger 1982).
    pub(super) fn p_of_kept(&self) -> f64 {
        let open = if self.open { 1.0 } else { 0.0 };
        self.margins.iter().map(|margin| margin.kept).fold(open, f64::max)
    }

    /// The p-value of the hypothesis that the rule is violated. One bound is enough to meet the rule, so each bound is
    /// a further chance of error.
    pub(super) fn p_of_broken(&self) -> f64 {
        let least = self.margins.iter().map(|margin| margin.broken).fold(1.0, f64::min);
        (least * self.margins.len() as f64).min(1.0)
    }

    /// Whether the ranks of repeats contradict the violation of a bound.
    pub(super) fn is_contradicted_by_ranks(&self, level: f64) -> bool {
        self.margins.iter().any(|margin| match &margin.known {
            LimitTest::Difference(difference, _) => difference.is_contradicted_by_ranks(level),
            LimitTest::Figure(..) => false,
        })
    }

    /// The margin to the bound that is met with the highest confidence; the one-sided level is that of all bounds
    /// together.
    pub(super) fn pass_margin(&self, level: f64) -> Option<LimitMargin> {
        let surest = self.margins.iter().min_by(|a, b| a.broken.total_cmp(&b.broken))?;
        surest.margin(level / self.margins.len() as f64)
    }

    /// The margin to the bound that is violated with the lowest confidence, at a one-sided level.
    pub(super) fn failure_margin(&self, level: f64) -> Option<LimitMargin> {
        let weakest = self.margins.iter().max_by(|a, b| a.kept.total_cmp(&b.kept))?;
        weakest.margin(level)
    }

    /// The margin of an undecided rule: the one-sided level is the lower of a failure's and a pass's.
    pub(super) fn undecided_margin(&self, fail: f64, pass: f64) -> Option<LimitMargin> {
        self.failure_margin(fail.min(pass / self.margins.len() as f64))
    }

    /// The sample size that would decide the rule if the true values equal the measured ones: the uncertainty shrinks
    /// with the square root of the sample. The levels are those of a pass and of a failure.
    pub(super) fn required_sample(
        &self,
        candidate: &MetricSample,
        baseline: Option<&MetricSample>,
        [pass, fail]: [f64; 2],
    ) -> Option<RequiredSample> {
        let sides = || [Some(candidate), baseline].into_iter().flatten();
        let kept = self.margins.iter().filter(|margin| margin.value > 0.0);
        let pass = pass / self.margins.len() as f64;
        let times = kept.map(|margin| margin.sample_factor(pass)).reduce(f64::min);
        let times = match times {
            Some(times) => times,
            None => self.margins.iter().map(|margin| margin.sample_factor(fail)).fold(0.0, f64::max),
        };
        let times = if times.is_finite() { times } else { self.size_factor(sides())? };
        let of = SampleUnit::from_samples(sides());
        let now = sides().map(|side| of.count(side)).min()?;
        let count = (now as f64 * times).ceil();
        // The present sample is too small, or there would be an answer.
        (count < MAX_SAMPLE_FACTOR).then(|| RequiredSample { count: (count as u64).max(now + 1), of })
    }

    /// The factor by which samples must grow before they bound a percentile at all.
    fn size_factor<'a>(&self, sides: impl Iterator<Item = &'a MetricSample>) -> Option<f64> {
        let MetricId::Latency(_, Statistic::Percentile(p)) = self.figure else { return None };
        let worth = sides.filter_map(|side| side.effective_n).min()?;
        Some((min_sample_size(p)? as f64 / worth.max(1) as f64).max(1.0))
    }
}

fn limit_test(
    bound: &RuleBound,
    candidate: &MetricSample,
    baseline: Result<&MetricSample, Undecided>,
) -> Result<LimitTest, Undecided> {
    match bound.limit {
        RuleLimit::Fixed(limit) => Ok(LimitTest::Figure(candidate.clone(), limit)),
        RuleLimit::Baseline { factor, offset } => {
            let difference = MetricDifference::from_multiple(baseline?, candidate, factor);
            Ok(LimitTest::Difference(Box::new(difference), offset))
        }
    }
}

impl BoundMargin {
    fn new(side: BoundSide, known: LimitTest) -> Option<Self> {
        let (value, below, above) = match &known {
            LimitTest::Figure(sample, limit) => {
                (sample.value - limit, sample.at_most(*limit)?, sample.at_least(*limit)?)
            }
            LimitTest::Difference(difference, offset) => {
                (difference.absolute - offset, difference.at_most(*offset)?, difference.at_least(*offset)?)
            }
        };
        Some(match side {
            BoundSide::Below => Self { value: -value, kept: below, broken: above, known, side },
            BoundSide::Above => Self { value, kept: above, broken: below, known, side },
        })
    }

    /// The measured value minus the limit, with an interval that has this one-sided level on each side.
    fn margin(&self, level: f64) -> Option<LimitMargin> {
        let (limit, value, interval) = match &self.known {
            LimitTest::Figure(sample, limit) => (*limit, sample.value, sample.interval_at(2.0 * level)?),
            LimitTest::Difference(difference, offset) => {
                (*offset, difference.absolute, difference.interval_at(2.0 * level)?)
            }
        };
        let interval = RateInterval { low: interval.low - limit, high: interval.high - limit };
        Some(LimitMargin { value: value - limit, interval })
    }

    /// The factor by which a sample must grow for its bound at this one-sided level to reach the limit.
    fn sample_factor(&self, level: f64) -> f64 {
        let interval = match &self.known {
            LimitTest::Figure(sample, _) => sample.interval_at(2.0 * level),
            LimitTest::Difference(difference, _) => difference.interval_at(2.0 * level),
        };
        let measured = match &self.known {
            LimitTest::Figure(sample, _) => sample.value,
            LimitTest::Difference(difference, _) => difference.absolute,
        };
        let Some(interval) = interval else { return f64::INFINITY };
        // The end of the interval that faces the limit.
        let towards_high = (self.side == BoundSide::Below) == (self.value > 0.0);
        let half = if towards_high { interval.high - measured } else { measured - interval.low };
        if half > 0.0 { (half / self.value).powi(2) } else { 1.0 }
    }
}
