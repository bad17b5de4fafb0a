//! The confidence distribution of the difference between two measured values.

use super::interval::RateInterval;
use crate::stats::confidence::{ConfidenceAtom, ConfidenceDistribution, TAIL_PROBABILITY};

/// The number of steps of a bisection: the ends of intervals are exact to a billionth of their range.
const STEPS: usize = 32;

/// The confidence distribution of one value minus another: every point of the one against every point of the other.
///
/// For means of normal values with unknown variances this is Fisher's solution of the Behrens–Fisher problem. Its
/// intervals contain the truth at least as often as they claim wherever that was computed (Robinson, *Properties of
/// Student's t and of the Behrens–Fisher solution*, 1976). No proof exists for other distributions (skewed, bounded,
/// percentiles): the studies of comparisons and gates measure the coverage.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DifferenceDistribution {
    plus: ConfidenceDistribution,
    minus: ConfidenceDistribution,
}

impl ConfidenceDistribution {
    /// The interval that misses the true value with probability `alpha`, split evenly between its sides.
    pub(crate) fn interval(&self, alpha: f64) -> RateInterval {
        DifferenceDistribution::new(self.clone(), Self::exact(0.0)).interval(alpha)
    }

    /// The confidence distribution of this value minus another, which was measured independently.
    pub(crate) fn minus(&self, other: &Self) -> DifferenceDistribution {
        DifferenceDistribution::new(self.clone(), other.clone())
    }
}

impl DifferenceDistribution {
    fn new(plus: ConfidenceDistribution, minus: ConfidenceDistribution) -> Self {
        Self { plus, minus }
    }

    /// The confidence that the difference is at most `limit`. It is 1 where neither value is bounded.
    pub(crate) fn at_most(&self, limit: f64) -> f64 {
        probability_below(
            self.plus.low_points().iter().copied(),
            self.minus.high_points().iter().copied(),
            limit,
        )
    }

    /// The confidence that the difference is at least `limit`.
    pub(crate) fn at_least(&self, limit: f64) -> f64 {
        probability_below(negated(self.plus.high_points()), negated(self.minus.low_points()), -limit)
    }

    /// The two-sided p-value of no difference. Laws are truncated, so that no p-value is zero unless both values are
    /// certain.
    pub(crate) fn p_value(&self) -> f64 {
        let p = 2.0 * self.at_most(0.0).min(self.at_least(0.0));
        let is_certain = |belief: &ConfidenceDistribution| {
            belief.low_points().len() == 1 && belief.high_points().len() == 1
        };
        let least =
            if is_certain(&self.plus) && is_certain(&self.minus) { 0.0 } else { 2.0 * TAIL_PROBABILITY };
        p.clamp(least, 1.0)
    }

    /// The interval that misses the true difference with probability `alpha`, split evenly between its sides; an
    /// unbounded side is infinite.
    pub(crate) fn interval(&self, alpha: f64) -> RateInterval {
        let tail = alpha / 2.0;
        let Some((lowest, highest)) = self.range() else {
            return RateInterval { low: f64::NEG_INFINITY, high: f64::INFINITY };
        };
        let step = |belief: &dyn Fn(f64) -> bool| bisect(lowest, highest, belief);
        let low = match self.unbounded_mass(f64::NEG_INFINITY) > tail {
            true => f64::NEG_INFINITY,
            false => step(&|limit| self.at_most(limit) > tail),
        };
        let high = match self.unbounded_mass(f64::INFINITY) > tail {
            true => f64::INFINITY,
            false => step(&|limit| self.at_least(limit.next_up()) <= tail),
        };
        RateInterval { low, high }
    }

    /// The confidence that nothing bounds the difference on this side.
    fn unbounded_mass(&self, side: f64) -> f64 {
        let weight = |points: &[ConfidenceAtom], end: f64| {
            points.iter().filter(|point| point.value == end).map(|point| point.weight).sum::<f64>()
        };
        let (plus, minus) = match side < 0.0 {
            true => (self.plus.low_points(), self.minus.high_points()),
            false => (self.plus.high_points(), self.minus.low_points()),
        };
        1.0 - (1.0 - weight(plus, side)) * (1.0 - weight(minus, -side))
    }

    /// The least and the greatest difference of the bounded values.
    fn range(&self) -> Option<(f64, f64)> {
        let ends = |belief: &ConfidenceDistribution| {
            let is_finite = |value: &f64| value.is_finite();
            let first = belief.low_points().iter().map(|point| point.value).find(is_finite)?;
            let last = belief.high_points().iter().rev().map(|point| point.value).find(is_finite)?;
            Some((first, last.max(first)))
        };
        let ((plus_low, plus_high), (minus_low, minus_high)) = (ends(&self.plus)?, ends(&self.minus)?);
        Some((plus_low - minus_high, plus_high - minus_low))
    }
}

/// The distribution of the negated value, ascending.
fn negated(points: &[ConfidenceAtom]) -> impl Iterator<Item = ConfidenceAtom> {
    points.iter().rev().map(|point| ConfidenceAtom { value: -point.value, ..*point })
}

/// The weight of the pairs whose first value is at most the second plus `limit`; both inputs ascend.
fn probability_below(
    plus: impl Iterator<Item = ConfidenceAtom>,
    minus: impl Iterator<Item = ConfidenceAtom>,
    limit: f64,
) -> f64 {
    let mut plus = plus.peekable();
    let (mut below, mut total) = (0.0, 0.0);
    for ConfidenceAtom { value, weight } in minus {
        while let Some(point) = plus.next_if(|point| point.value <= value + limit) {
            below += point.weight;
        }
        total += below * weight;
    }
    total
}

/// The least position between `low` and `high` from which `holds` is true; `high` if there is none.
fn bisect(mut low: f64, mut high: f64, holds: &dyn Fn(f64) -> bool) -> f64 {
    if holds(low) {
        return low;
    }
    for _ in 0..STEPS {
        let middle = low.midpoint(high);
        if holds(middle) { high = middle } else { low = middle }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(mean: f64, error: f64) -> ConfidenceDistribution {
        ConfidenceDistribution::from_student(mean, error, 1e6)
    }

    #[test]
    fn normal_laws_subtract_as_they_should() {
        let contrast = normal(13.0, 3.0).minus(&normal(10.0, 4.0));
        let RateInterval { low, high } = contrast.interval(0.05);
        // 3 ± 1.96 · 5
        assert!((low + 6.8).abs() < 0.15 && (high - 12.8).abs() < 0.15, "{low} {high}");
        // Two-sided, 0.6 standard errors.
        assert!((contrast.p_value() - 0.5485).abs() < 0.01, "{}", contrast.p_value());
        assert!((contrast.at_least(12.8) - 0.025).abs() < 0.003, "{}", contrast.at_least(12.8));
    }

    #[test]
    fn small_levels_have_wide_intervals_and_sure_things_small_p() {
        let contrast = normal(1.0, 0.1).minus(&normal(0.0, 0.1));
        let width = |alpha: f64| contrast.interval(alpha).high - contrast.interval(alpha).low;
        assert!((width(0.001) / width(0.05) - 3.29 / 1.96).abs() < 0.05, "{} {}", width(0.001), width(0.05));
        assert!(contrast.p_value() <= 2.0 * TAIL_PROBABILITY, "{}", contrast.p_value());
    }

    #[test]
    fn what_is_certain_differs_or_does_not() {
        let contrast = ConfidenceDistribution::exact(3.0).minus(&ConfidenceDistribution::exact(1.0));
        assert_eq!(
            (contrast.p_value(), contrast.interval(0.05)),
            (0.0, RateInterval { low: 2.0, high: 2.0 })
        );
        let none = ConfidenceDistribution::exact(3.0).minus(&ConfidenceDistribution::exact(3.0));
        assert_eq!((none.p_value(), none.interval(0.05)), (1.0, RateInterval { low: 0.0, high: 0.0 }));
    }

    #[test]
    fn a_side_that_nothing_bounds_is_infinite_and_the_other_still_speaks() {
        let values: Vec<_> = (1..=100).map(std::time::Duration::from_millis).collect();
        let p99 = ConfidenceDistribution::from_percentile(values.chunks(1), 99.0).unwrap().0;
        let much_lower = p99.minus(&ConfidenceDistribution::exact(0.01));
        let interval = much_lower.interval(0.05);
        assert!(interval.low > 0.08 && interval.high.is_infinite(), "{interval:?}");
        assert!(much_lower.p_value() < 0.001);
        let itself = p99.minus(&p99);
        assert_eq!(itself.interval(0.05), RateInterval { low: f64::NEG_INFINITY, high: f64::INFINITY });
        assert!(itself.p_value() > 0.5);
    }
}
