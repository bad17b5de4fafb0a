//! A rate of arrivals that changes over time, and its integral.
//!
//! Arrivals of such a process are made by the time-rescaling theorem (Papangelou 1972; Brown, Barbieri, Ventura, Kass and
//! Frank, The Time-Rescaling Theorem and Its Application to Neural Spike Train Data Analysis, Neural Computation 14,
//! 2002): if c₁ < c₂ < … are the arrivals of a Poisson process of rate 1 and Λ(t) is the integral of a rate from 0 to t,
//! then Λ⁻¹(c₁), Λ⁻¹(c₂), … are the arrivals of a Poisson process with that rate. Other laws of unit gaps are laid along
//! the integral in the same way, which keeps their burstiness at every rate.

use std::time::Duration;

use crate::core::spec::{Ramp, RampStrategy, Stage};

/// A rate over time.
#[derive(Debug, Clone, PartialEq)]
pub struct Intensity {
    pieces: Vec<Piece>,
    /// The rate after the last piece, in arrivals per second.
    after: f64,
}

/// A stretch with one formula; times in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Piece {
    length: f64,
    start: f64,
    end: f64,
    curve: RampStrategy,
}

impl Intensity {
    /// A ramp that `n` arrivals take from its beginning to its end, or that takes this time; then it goes on at its end.
    pub fn of_ramp(ramp: Ramp, n: usize, duration: Option<Duration>) -> Self {
        let Ramp { strategy: curve, start, end, .. } = ramp;
        let unit = Piece { length: 1.0, start, end, curve };
        let length = duration.map_or(n as f64 / unit.expected(1.0), |duration| duration.as_secs_f64());
        Self { pieces: vec![Piece { length, ..unit }], after: end }
    }

    /// A ramp that takes this time.
    pub fn over(ramp: Ramp, duration: Duration) -> Self {
        Self::of_ramp(ramp, 0, Some(duration))
    }

    /// One rate after the other; then none.
    pub fn of_stages(stages: &[Stage]) -> Self {
        let piece = |stage: &Stage| Piece {
            length: stage.length.as_secs_f64(),
            start: stage.rate,
            end: stage.rate,
            curve: RampStrategy::Linear,
        };
        Self { pieces: stages.iter().map(piece).collect(), after: 0.0 }
    }

    /// How many arrivals are expected until then: the integral of the rate.
    pub fn expected_by(&self, time: Duration) -> f64 {
        let mut left = time.as_secs_f64();
        let mut expected = 0.0;
        for piece in &self.pieces {
            expected += piece.expected(left.min(piece.length));
            left = (left - piece.length).max(0.0);
        }
        expected + left * self.after
    }

    /// When so many are expected: the inverse of the integral. What never comes is due just after the end.
    pub fn when(&self, count: f64) -> Duration {
        let (mut left, mut at) = (count, 0.0);
        for piece in &self.pieces {
            let all = piece.expected(piece.length);
            // The last arrival of a run that is scaled to fit must not fall out of it by a rounding.
            if all > 0.0 && left <= all * (1.0 + 1e-9) {
                return super::due(at + piece.when(left).clamp(0.0, piece.length));
            }
            left = (left - all).max(0.0);
            at += piece.length;
        }
        match self.after > 0.0 {
            true => super::due(at + left / self.after),
            false => super::due(at).saturating_add(Duration::from_nanos(1)),
        }
    }

    /// When the rate reaches a value within its first piece; `None` if it does not.
    pub(super) fn reaches(&self, rate: f64) -> Option<Duration> {
        let piece = self.pieces.first()?;
        let share = match piece.curve {
            RampStrategy::Linear => (rate - piece.start) / (piece.end - piece.start),
            RampStrategy::Exponential => (rate / piece.start).ln() / (piece.end / piece.start).ln(),
        };
        (0.0..=1.0).contains(&share).then(|| super::due(share * piece.length))
    }
}

impl Piece {
    /// The integral of the rate over the first `time` seconds.
    fn expected(&self, time: f64) -> f64 {
        match self.growth() {
            Growth::Line(slope) => time * (self.start + slope * time / 2.0),
            Growth::Curve(power) => self.start * (power * time).exp_m1() / power,
        }
    }

    /// The inverse of [`Piece::expected`]. The line's is the root of a quadratic, in the form that loses no digits.
    fn when(&self, count: f64) -> f64 {
        if count <= 0.0 {
            return 0.0;
        }
        match self.growth() {
            Growth::Line(slope) => {
                2.0 * count / (self.start + (self.start * self.start + 2.0 * slope * count).max(0.0).sqrt())
            }
            Growth::Curve(power) => (count * power / self.start).ln_1p() / power,
        }
    }

    fn growth(&self) -> Growth {
        match self.curve {
            RampStrategy::Exponential if self.start != self.end => {
                Growth::Curve((self.end / self.start).ln() / self.length)
            }
            _ => Growth::Line((self.end - self.start) / self.length),
        }
    }
}

/// How a rate grows.
enum Growth {
    /// By this much a second.
    Line(f64),
    /// By e to this a second.
    Curve(f64),
}

#[cfg(test)]
mod tests;
