//! What two measurements let one believe of the difference of their true values.

use super::belief::{Belief, CUT_OFF, Point};
use super::interval::RateInterval;

/// Steps of a bisection: the ends of intervals are exact to a billionth of their range.
const STEPS: usize = 32;

/// The confidence distribution of one value less another: every place of the one against every place of the other.
///
/// For means of normal values with unknown spreads this is Fisher's solution of the Behrens–Fisher problem. Its intervals
/// hold the truth at least as often as they say wherever that was computed (Robinson, *Properties of Student's t and of the
/// Behrens–Fisher solution*, 1976). For other laws (skewed, bounded, percentiles) nobody has shown it: the studies of
/// comparisons and gates count how often it holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Contrast {
    plus: Belief,
    minus: Belief,
}

impl Contrast {
    pub(super) fn new(plus: Belief, minus: Belief) -> Self {
        Self { plus, minus }
    }

    /// The confidence that the difference is at most this. Where neither value is bounded nothing speaks against it.
    pub fn at_most(&self, limit: f64) -> f64 {
        beaten(self.plus.low().iter().copied(), self.minus.high().iter().copied(), limit)
    }

    /// The confidence that the difference is at least this.
    pub fn at_least(&self, limit: f64) -> f64 {
        beaten(mirrored(self.plus.high()), mirrored(self.minus.low()), -limit)
    }

    /// The two-sided p-value of no difference. Laws are cut off, so that none is zero unless both values are certain.
    pub fn p(&self) -> f64 {
        let p = 2.0 * self.at_most(0.0).min(self.at_least(0.0));
        let is_certain = |belief: &Belief| belief.low().len() == 1 && belief.high().len() == 1;
        let least = if is_certain(&self.plus) && is_certain(&self.minus) { 0.0 } else { 2.0 * CUT_OFF };
        p.clamp(least, 1.0)
    }

    /// The interval that misses the true difference with chance `alpha`, split evenly between its sides; a side that nothing
    /// bounds is infinite.
    pub fn interval(&self, alpha: f64) -> RateInterval {
        let tail = alpha / 2.0;
        let Some((lowest, highest)) = self.range() else {
            return RateInterval { low: f64::NEG_INFINITY, high: f64::INFINITY };
        };
        let step = |belief: &dyn Fn(f64) -> bool| bisect(lowest, highest, belief);
        let low = match self.unbounded(f64::NEG_INFINITY) > tail {
            true => f64::NEG_INFINITY,
            false => step(&|limit| self.at_most(limit) > tail),
        };
        let high = match self.unbounded(f64::INFINITY) > tail {
            true => f64::INFINITY,
            false => step(&|limit| self.at_least(limit.next_up()) <= tail),
        };
        RateInterval { low, high }
    }

    /// The confidence that nothing bounds the difference on this side.
    fn unbounded(&self, side: f64) -> f64 {
        let weight = |points: &[Point], end: f64| {
            points.iter().filter(|point| point.value == end).map(|point| point.weight).sum::<f64>()
        };
        let (plus, minus) = match side < 0.0 {
            true => (self.plus.low(), self.minus.high()),
            false => (self.plus.high(), self.minus.low()),
        };
        1.0 - (1.0 - weight(plus, side)) * (1.0 - weight(minus, -side))
    }

    /// The least and the greatest difference of bounded values.
    fn range(&self) -> Option<(f64, f64)> {
        let ends = |belief: &Belief| {
            let is_finite = |value: &f64| value.is_finite();
            let first = belief.low().iter().map(|point| point.value).find(is_finite)?;
            let last = belief.high().iter().rev().map(|point| point.value).find(is_finite)?;
            Some((first, last.max(first)))
        };
        let ((plus_low, plus_high), (minus_low, minus_high)) = (ends(&self.plus)?, ends(&self.minus)?);
        Some((plus_low - minus_high, plus_high - minus_low))
    }
}

/// Of the negative value, ascending.
fn mirrored(points: &[Point]) -> impl Iterator<Item = Point> {
    points.iter().rev().map(|point| Point { value: -point.value, ..*point })
}

/// The weight of the pairs in which the first is at most the second plus a limit; both ascend.
fn beaten(plus: impl Iterator<Item = Point>, minus: impl Iterator<Item = Point>, limit: f64) -> f64 {
    let mut plus = plus.peekable();
    let (mut below, mut total) = (0.0, 0.0);
    for Point { value, weight } in minus {
        while let Some(point) = plus.next_if(|point| point.value <= value + limit) {
            below += point.weight;
        }
        total += below * weight;
    }
    total
}

/// The least place between two at which something begins to hold; the upper if it never does.
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

    fn normal(mean: f64, error: f64) -> Belief {
        Belief::student(mean, error, 1e6)
    }

    #[test]
    fn normal_laws_subtract_as_they_should() {
        let contrast = normal(13.0, 3.0).minus(&normal(10.0, 4.0));
        let RateInterval { low, high } = contrast.interval(0.05);
        // 3 ± 1.96 · 5
        assert!((low + 6.8).abs() < 0.15 && (high - 12.8).abs() < 0.15, "{low} {high}");
        // Two-sided, 0.6 standard errors.
        assert!((contrast.p() - 0.5485).abs() < 0.01, "{}", contrast.p());
        assert!((contrast.at_least(12.8) - 0.025).abs() < 0.003, "{}", contrast.at_least(12.8));
    }

    #[test]
    fn small_levels_have_wide_intervals_and_sure_things_small_p() {
        let contrast = normal(1.0, 0.1).minus(&normal(0.0, 0.1));
        let width = |alpha: f64| contrast.interval(alpha).high - contrast.interval(alpha).low;
        assert!((width(0.001) / width(0.05) - 3.29 / 1.96).abs() < 0.05, "{} {}", width(0.001), width(0.05));
        assert!(contrast.p() <= 2.0 * CUT_OFF, "{}", contrast.p());
    }

    #[test]
    fn what_is_certain_differs_or_does_not() {
        let contrast = Belief::certain(3.0).minus(&Belief::certain(1.0));
        assert_eq!((contrast.p(), contrast.interval(0.05)), (0.0, RateInterval { low: 2.0, high: 2.0 }));
        let none = Belief::certain(3.0).minus(&Belief::certain(3.0));
        assert_eq!((none.p(), none.interval(0.05)), (1.0, RateInterval { low: 0.0, high: 0.0 }));
    }

    #[test]
    fn a_side_that_nothing_bounds_is_infinite_and_the_other_still_speaks() {
        let values: Vec<_> = (1..=100).map(std::time::Duration::from_millis).collect();
        let p99 = Belief::of_percentile(values.chunks(1), 99.0).unwrap().0;
        let much_lower = p99.minus(&Belief::certain(0.01));
        let interval = much_lower.interval(0.05);
        assert!(interval.low > 0.08 && interval.high.is_infinite(), "{interval:?}");
        assert!(much_lower.p() < 0.001);
        let itself = p99.minus(&p99);
        assert_eq!(itself.interval(0.05), RateInterval { low: f64::NEG_INFINITY, high: f64::INFINITY });
        assert!(itself.p() > 0.5);
    }
}
