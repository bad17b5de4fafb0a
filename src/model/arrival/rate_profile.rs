//! An arrival rate that changes over time, and its integral.
//!
//! Arrivals of such a process follow from the time-rescaling theorem (Papangelou 1972; Brown, Barbieri, Ventura, Kass
//! and Frank, The Time-Rescaling Theorem and Its Application to Neural Spike Train Data Analysis, Neural Computation
//! 14, 2002): if c₁ < c₂ < … are the arrivals of a Poisson process of rate 1 and Λ(t) is the integral of a rate from 0
//! to t, then Λ⁻¹(c₁), Λ⁻¹(c₂), … are the arrivals of a Poisson process with that rate. Other distributions of unit
//! gaps are mapped through the integral in the same way, which keeps their burstiness at every rate.

use std::time::Duration;

use crate::model::run_spec::{Ramp, RampStrategy, RateStep};

/// A rate over time.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RateProfile {
    pieces: Vec<RateSegment>,
    /// The rate after the last piece, in arrivals per second.
    after: f64,
}

/// A segment with one formula; times in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
struct RateSegment {
    length: f64,
    start: f64,
    end: f64,
    curve: RampStrategy,
}

impl RateProfile {
    /// A ramp that takes `n` arrivals, or `duration` if it is set; then the rate stays at the ramp's end.
    pub(crate) fn from_ramp(ramp: Ramp, n: usize, duration: Option<Duration>) -> Self {
        let Ramp { strategy: curve, start, end, .. } = ramp;
        let unit = RateSegment { length: 1.0, start, end, curve };
        let length = duration.map_or(n as f64 / unit.expected(1.0), |duration| duration.as_secs_f64());
        Self { pieces: vec![RateSegment { length, ..unit }], after: end }
    }

    /// A ramp that takes `duration`.
    pub(crate) fn from_timed_ramp(ramp: Ramp, duration: Duration) -> Self {
        Self::from_ramp(ramp, 0, Some(duration))
    }

    /// One rate after the other; no arrivals after the last.
    pub(crate) fn from_steps(stages: &[RateStep]) -> Self {
        let piece = |stage: &RateStep| RateSegment {
            length: stage.length.as_secs_f64(),
            start: stage.rate,
            end: stage.rate,
            curve: RampStrategy::Linear,
        };
        Self { pieces: stages.iter().map(piece).collect(), after: 0.0 }
    }

    /// The expected number of arrivals until `time`: the integral of the rate.
    pub(crate) fn expected_count(&self, time: Duration) -> f64 {
        let mut left = time.as_secs_f64();
        let mut expected = 0.0;
        for piece in &self.pieces {
            expected += piece.expected(left.min(piece.length));
            left = (left - piece.length).max(0.0);
        }
        expected + left * self.after
    }

    /// The time by which `count` arrivals are expected: the inverse of the integral. A count that is never reached is
    /// due just after the end.
    pub(crate) fn time_of_count(&self, count: f64) -> Duration {
        let (mut left, mut at) = (count, 0.0);
        for piece in &self.pieces {
            let all = piece.expected(piece.length);
            // Rounding must not push the last arrival of a scaled run beyond the end.
            if all > 0.0 && left <= all * (1.0 + 1e-9) {
                return super::saturating_offset(at + piece.time_at_count(left).clamp(0.0, piece.length));
            }
            left = (left - all).max(0.0);
            at += piece.length;
        }
        match self.after > 0.0 {
            true => super::saturating_offset(at + left / self.after),
            false => super::saturating_offset(at).saturating_add(Duration::from_nanos(1)),
        }
    }

    /// The time at which the rate reaches a value within the first segment; `None` if it does not.
    pub(super) fn time_of_rate(&self, rate: f64) -> Option<Duration> {
        let piece = self.pieces.first()?;
        let share = match piece.curve {
            RampStrategy::Linear => (rate - piece.start) / (piece.end - piece.start),
            RampStrategy::Exponential => (rate / piece.start).ln() / (piece.end / piece.start).ln(),
        };
        (0.0..=1.0).contains(&share).then(|| super::saturating_offset(share * piece.length))
    }
}

impl RateSegment {
    /// The integral of the rate over the first `time` seconds.
    fn expected(&self, time: f64) -> f64 {
        match self.ramp_shape() {
            RampShape::Line(slope) => time * (self.start + slope * time / 2.0),
            RampShape::Curve(power) => self.start * (power * time).exp_m1() / power,
        }
    }

    /// The inverse of [`RateSegment::expected`]. For a line it is the root of a quadratic, in the form without
    /// cancellation.
    fn time_at_count(&self, count: f64) -> f64 {
        if count <= 0.0 {
            return 0.0;
        }
        match self.ramp_shape() {
            RampShape::Line(slope) => {
                2.0 * count / (self.start + (self.start * self.start + 2.0 * slope * count).max(0.0).sqrt())
            }
            RampShape::Curve(power) => (count * power / self.start).ln_1p() / power,
        }
    }

    fn ramp_shape(&self) -> RampShape {
        match self.curve {
            RampStrategy::Exponential if self.start != self.end => {
                RampShape::Curve((self.end / self.start).ln() / self.length)
            }
            _ => RampShape::Line((self.end - self.start) / self.length),
        }
    }
}

/// The shape of a ramp.
enum RampShape {
    /// The rate grows by this amount each second.
    Line(f64),
    /// The rate grows by the factor e to this power each second.
    Curve(f64),
}

#[cfg(test)]
mod tests;
