//! How fast a server answers, by how many requests are in flight: a time per token is that of a concurrency, and grows with it.

use std::time::Duration;

use serde::Serialize;

use super::demand::Pace;
use crate::core::metrics::{Latency, Metrics};
use crate::core::run::Run;

/// Results whose concurrencies differ by less than this factor are repeats at one concurrency: no line goes through them.
const APART: f64 = 1.25;

/// A pace that was measured at a concurrency is taken to hold up to this factor away from it.
const NEAR: f64 = 1.1;

/// Enough steps for [`Speed::settled`] to come to rest.
const STEPS: usize = 200;

/// What a run showed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// Requests in flight on average, by Little's law.
    pub in_flight: f64,
    /// How fast they were answered.
    pub pace: Pace,
}

/// How fast a server answers, and from where that is known.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(tag = "from", rename_all = "snake_case")]
pub enum Speed {
    /// The user says so, for whatever concurrency there will be.
    Given {
        /// How fast.
        #[serde(flatten)]
        pace: Pace,
    },
    /// Results at one concurrency.
    Measured {
        /// How fast on average.
        #[serde(flatten)]
        pace: Pace,
        /// Requests in flight on average.
        in_flight: f64,
        /// How many results.
        results: usize,
    },
    /// Results at several concurrencies.
    Fitted(Fit),
}

/// TTFT and TPOT as straight lines over the requests in flight, by least squares.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Fit {
    /// The time to the first token.
    pub ttft: Line,
    /// The time per output token.
    pub tpot: Line,
    /// The lowest concurrency that was measured.
    pub lowest: f64,
    /// The highest concurrency that was measured.
    pub highest: f64,
    /// How many results.
    pub results: usize,
    /// The largest distance of a measured TPOT from the line, as a share of it.
    pub worst_error: f64,
}

/// A time that grows with the requests in flight. A line that would fall is the mean.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Line {
    /// With none in flight, in seconds.
    pub base_s: f64,
    /// For each request in flight, in seconds.
    pub per_request_s: f64,
}

/// Where a concurrency lies, seen from those that were measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// Among them, or near.
    Within,
    /// Above them: the server will be slower than it was.
    Above,
    /// Below them: the server will be faster than it was.
    Below,
}

impl Measured {
    /// Of a run; `None` if it has no answers, or none with two tokens.
    pub fn of(run: &Run) -> Option<Self> {
        let mean = |latency| run.metrics.latencies.get(&latency).map(|distribution| distribution.mean);
        let pace = Pace { ttft: mean(Latency::Ttft)?, tpot: mean(Latency::Tpot)? };
        Some(Self { in_flight: in_flight(&run.metrics)?, pace })
    }
}

/// Requests in flight on average, by Little's law: completions per second times their mean E2E.
pub(super) fn in_flight(metrics: &Metrics) -> Option<f64> {
    Some(completion_rate(metrics)? * metrics.latencies.get(&Latency::E2e)?.mean.as_secs_f64())
}

/// Completions per second.
pub(super) fn completion_rate(metrics: &Metrics) -> Option<f64> {
    let seconds = metrics.duration.as_secs_f64();
    (seconds > 0.0 && metrics.completed > 0).then(|| metrics.completed as f64 / seconds)
}

impl Speed {
    /// Of results: a line where their concurrencies differ, else their mean. `None` without any.
    pub fn measured(results: &[Measured]) -> Option<Self> {
        let levels = || results.iter().map(|measured| measured.in_flight);
        let lowest = levels().reduce(f64::min)?;
        let highest = levels().fold(lowest, f64::max);
        let ttft = Line::through(results, |pace| pace.ttft);
        let tpot = Line::through(results, |pace| pace.tpot);
        if highest < APART * lowest {
            let in_flight = levels().sum::<f64>() / results.len() as f64;
            let pace = Pace { ttft: ttft.at(in_flight), tpot: tpot.at(in_flight) };
            return Some(Self::Measured { pace, in_flight, results: results.len() });
        }
        let error = |measured: &Measured| {
            let line = tpot.at(measured.in_flight).as_secs_f64();
            (measured.pace.tpot.as_secs_f64() - line).abs() / line.max(f64::MIN_POSITIVE)
        };
        let worst_error = results.iter().map(error).fold(0.0, f64::max);
        Some(Self::Fitted(Fit { ttft, tpot, lowest, highest, results: results.len(), worst_error }))
    }

    /// With another time to the first token, at any concurrency.
    pub fn with_ttft(self, ttft: Duration) -> Self {
        match self {
            Self::Given { pace } => Self::Given { pace: Pace { ttft, ..pace } },
            Self::Measured { pace, in_flight, results } => {
                Self::Measured { pace: Pace { ttft, ..pace }, in_flight, results }
            }
            Self::Fitted(fit) => {
                let ttft = Line { base_s: ttft.as_secs_f64(), per_request_s: 0.0 };
                Self::Fitted(Fit { ttft, ..fit })
            }
        }
    }

    /// With so many in flight. Below what was measured it is that of the lowest concurrency; above, the line goes on.
    pub fn at(&self, in_flight: f64) -> Pace {
        match self {
            Self::Given { pace } | Self::Measured { pace, .. } => *pace,
            Self::Fitted(fit) => {
                let in_flight = in_flight.max(fit.lowest);
                Pace { ttft: fit.ttft.at(in_flight), tpot: fit.tpot.at(in_flight) }
            }
        }
    }

    /// Where a concurrency lies, seen from those that were measured; `None` if nothing was.
    pub fn reach(&self, in_flight: f64) -> Option<Reach> {
        let (lowest, highest) = match self {
            Self::Given { .. } => return None,
            Self::Measured { in_flight, .. } => (*in_flight, *in_flight),
            Self::Fitted(fit) => (fit.lowest, fit.highest),
        };
        Some(match in_flight {
            level if level > NEAR * highest => Reach::Above,
            level if level < lowest / NEAR => Reach::Below,
            _ => Reach::Within,
        })
    }

    /// How many are in flight at a rate (per second), at most `most`: as many as arrive in the time that one takes with so
    /// many in flight. `time` is the mean time of a request in seconds at a pace.
    pub fn settled(&self, rate: f64, most: f64, time: impl Fn(Pace) -> f64) -> f64 {
        let mut level = 0.0;
        for _ in 0..STEPS {
            level = (rate * time(self.at(level))).min(most);
        }
        level
    }
}

impl Line {
    /// The line of least squares through a time of results, or its mean if it would fall.
    fn through(results: &[Measured], time: impl Fn(&Pace) -> Duration) -> Self {
        let n = results.len() as f64;
        let mean = |value: &dyn Fn(&Measured) -> f64| results.iter().map(value).sum::<f64>() / n;
        let y = |measured: &Measured| time(&measured.pace).as_secs_f64();
        let (mean_x, mean_y) = (mean(&|measured| measured.in_flight), mean(&y));
        let apart = |measured: &Measured| measured.in_flight - mean_x;
        let spread = mean(&|measured| apart(measured).powi(2));
        let slope = mean(&|measured| apart(measured) * (y(measured) - mean_y)) / spread;
        let per_request_s = if slope.is_finite() { slope.max(0.0) } else { 0.0 };
        Self { base_s: mean_y - per_request_s * mean_x, per_request_s }
    }

    /// With so many in flight.
    pub fn at(self, in_flight: f64) -> Duration {
        let time = self.base_s + self.per_request_s * in_flight;
        Duration::try_from_secs_f64(time.max(0.0)).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(in_flight: f64, ttft_ms: f64, tpot_ms: f64) -> Measured {
        let ms = |value: f64| Duration::from_secs_f64(value / 1e3);
        Measured { in_flight, pace: Pace { ttft: ms(ttft_ms), tpot: ms(tpot_ms) } }
    }

    fn tpot_ms(speed: &Speed, in_flight: f64) -> f64 {
        1e3 * speed.at(in_flight).tpot.as_secs_f64()
    }

    #[test]
    fn a_ladder_gives_the_line_through_it() {
        let ladder = [1.0, 2.0, 4.0, 8.0].map(|level| measured(level, 20.0 + level, 4.0 + 0.5 * level));
        let speed = Speed::measured(&ladder).unwrap();
        for level in [1.0, 3.0, 8.0, 57.0] {
            assert!((tpot_ms(&speed, level) - (4.0 + 0.5 * level)).abs() < 1e-3, "{level}");
        }
        let reach = [0.5, 1.0, 8.5, 57.0].map(|level| speed.reach(level).unwrap());
        assert_eq!(reach, [Reach::Below, Reach::Within, Reach::Within, Reach::Above]);
        assert!((tpot_ms(&speed, 0.1) - 4.5).abs() < 1e-3, "no faster than it was ever seen");
    }

    #[test]
    fn a_line_tells_how_far_it_is_off() {
        let speed =
            Speed::measured(&[measured(1.0, 1.0, 5.0), measured(2.0, 1.0, 7.0), measured(3.0, 1.0, 5.0)]);
        let Some(Speed::Fitted(fit)) = speed else { panic!("{speed:?}") };
        assert!((fit.worst_error - (7.0 - 17.0 / 3.0) / (17.0 / 3.0)).abs() < 1e-6, "{fit:?}");
    }

    #[test]
    fn repeats_at_one_concurrency_are_its_mean_and_no_line() {
        let speed = Speed::measured(&[measured(2.0, 20.0, 5.0), measured(2.1, 22.0, 7.0)]).unwrap();
        assert!(matches!(speed, Speed::Measured { results: 2, .. }), "{speed:?}");
        assert!((tpot_ms(&speed, 57.0) - 6.0).abs() < 1e-6);
        assert_eq!((speed.reach(2.0), speed.reach(57.0)), (Some(Reach::Within), Some(Reach::Above)));
        assert_eq!(Speed::measured(&[]), None);
    }

    #[test]
    fn a_time_that_falls_with_the_load_is_not_carried_on() {
        let speed = Speed::measured(&[measured(1.0, 20.0, 6.0), measured(10.0, 20.0, 5.0)]).unwrap();
        assert!((tpot_ms(&speed, 100.0) - 5.5).abs() < 1e-6);
    }

    #[test]
    fn a_load_settles_where_arrivals_meet_their_own_time() {
        let ladder = [1.0, 11.0].map(|level| measured(level, 0.0, 5.0 + 0.5 * level));
        let speed = Speed::measured(&ladder).unwrap();
        // A hundred tokens at 10 a second: c = 10 · 100 · (5 + c/2) ms = 5 + c/2.
        let level = speed.settled(10.0, 1e3, |pace| 100.0 * pace.tpot.as_secs_f64());
        assert!((level - 10.0).abs() < 1e-3, "{level}");
        assert!((speed.settled(1e6, 40.0, |pace| pace.tpot.as_secs_f64() * 100.0) - 40.0).abs() < 1e-9);
    }
}
