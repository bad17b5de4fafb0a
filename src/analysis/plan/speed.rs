//! The speed of a server as a function of the requests in flight. A time per token belongs to a concurrency, and grows
//! with it.

use std::time::Duration;

use serde::Serialize;

use super::demand::ServiceTime;
use crate::model::metrics::{Latency, Metrics};
use crate::model::run::Run;

/// Results whose concurrencies differ by less than this factor count as repeats at one concurrency, so no line is
/// fitted to them.
const DISTINCT_CONCURRENCY_FACTOR: f64 = 1.25;

/// A speed that was measured at a concurrency is assumed to hold up to this factor away from it.
const EXTRAPOLATION_FACTOR: f64 = 1.1;

/// The number of steps within which [`ServerSpeed::steady_concurrency`] converges.
const MAX_ITERATIONS: usize = 200;

/// The speed that a run measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct MeasuredSpeed {
    /// Requests in flight on average, by Little's law.
    pub in_flight: f64,
    /// The speed of the answers.
    pub pace: ServiceTime,
}

/// The speed of a server, with its source.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(tag = "from", rename_all = "snake_case")]
pub(crate) enum ServerSpeed {
    /// The user states the speed, for any concurrency.
    Given {
        /// The stated speed.
        #[serde(flatten)]
        pace: ServiceTime,
    },
    /// The speed is the mean of results at one concurrency.
    Measured {
        /// The mean speed.
        #[serde(flatten)]
        pace: ServiceTime,
        /// The mean number of requests in flight.
        in_flight: f64,
        /// The number of results.
        results: usize,
    },
    /// The speed is a line through results at several concurrencies.
    Fitted(SpeedFit),
}

/// TTFT and TPOT as straight lines over the requests in flight, by least squares.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct SpeedFit {
    /// The time to the first token.
    pub ttft: LatencyLine,
    /// The time per output token.
    pub tpot: LatencyLine,
    /// The lowest measured concurrency.
    pub lowest: f64,
    /// The highest measured concurrency.
    pub highest: f64,
    /// The number of results.
    pub results: usize,
    /// The largest distance of a measured TPOT from the line, as a share of the line's value.
    pub worst_error: f64,
}

/// A time that grows with the requests in flight. If the fitted line falls, the mean replaces it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct LatencyLine {
    /// The time with no request in flight, in seconds.
    pub base_s: f64,
    /// The increase per request in flight, in seconds.
    pub per_request_s: f64,
}

/// The position of a concurrency relative to the measured range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ConcurrencyReach {
    /// In the measured range, or near it.
    Within,
    /// Above the range: the server will be slower than measured.
    Above,
    /// Below the range: the server will be faster than measured.
    Below,
}

impl MeasuredSpeed {
    /// Computes the speed of a run; `None` if it has no answers, or none with two tokens.
    pub(crate) fn from_run(run: &Run) -> Option<Self> {
        let mean = |latency| run.metrics.latencies.get(&latency).map(|distribution| distribution.mean);
        let pace = ServiceTime { ttft: mean(Latency::Ttft)?, tpot: mean(Latency::Tpot)? };
        Some(Self { in_flight: mean_in_flight(&run.metrics)?, pace })
    }
}

/// Requests in flight on average, by Little's law: completions per second times their mean E2E.
pub(super) fn mean_in_flight(metrics: &Metrics) -> Option<f64> {
    Some(completion_rate(metrics)? * metrics.latencies.get(&Latency::E2e)?.mean.as_secs_f64())
}

/// Completions per second.
pub(super) fn completion_rate(metrics: &Metrics) -> Option<f64> {
    let seconds = metrics.duration.as_secs_f64();
    (seconds > 0.0 && metrics.completed > 0).then(|| metrics.completed as f64 / seconds)
}

impl ServerSpeed {
    /// Combines results: a line if their concurrencies differ, otherwise their mean. `None` without results.
    pub(crate) fn from_results(results: &[MeasuredSpeed]) -> Option<Self> {
        let levels = || results.iter().map(|measured| measured.in_flight);
        let lowest = levels().reduce(f64::min)?;
        let highest = levels().fold(lowest, f64::max);
        let ttft = LatencyLine::fit(results, |pace| pace.ttft);
        let tpot = LatencyLine::fit(results, |pace| pace.tpot);
        if highest < DISTINCT_CONCURRENCY_FACTOR * lowest {
            let in_flight = levels().sum::<f64>() / results.len() as f64;
            let pace = ServiceTime { ttft: ttft.value_at(in_flight), tpot: tpot.value_at(in_flight) };
            return Some(Self::Measured { pace, in_flight, results: results.len() });
        }
        let error = |measured: &MeasuredSpeed| {
            let line = tpot.value_at(measured.in_flight).as_secs_f64();
            (measured.pace.tpot.as_secs_f64() - line).abs() / line.max(f64::MIN_POSITIVE)
        };
        let worst_error = results.iter().map(error).fold(0.0, f64::max);
        Some(Self::Fitted(SpeedFit { ttft, tpot, lowest, highest, results: results.len(), worst_error }))
    }

    /// Replaces the time to the first token, at every concurrency.
    pub(crate) fn with_ttft(self, ttft: Duration) -> Self {
        match self {
            Self::Given { pace } => Self::Given { pace: ServiceTime { ttft, ..pace } },
            Self::Measured { pace, in_flight, results } => {
                Self::Measured { pace: ServiceTime { ttft, ..pace }, in_flight, results }
            }
            Self::Fitted(fit) => {
                let ttft = LatencyLine { base_s: ttft.as_secs_f64(), per_request_s: 0.0 };
                Self::Fitted(SpeedFit { ttft, ..fit })
            }
        }
    }

    /// Returns the speed with `in_flight` requests. Below the measured range it is the speed at the lowest concurrency;
    /// above the range the line continues.
    pub(crate) fn at_concurrency(&self, in_flight: f64) -> ServiceTime {
        match self {
            Self::Given { pace } | Self::Measured { pace, .. } => *pace,
            Self::Fitted(fit) => {
                let in_flight = in_flight.max(fit.lowest);
                ServiceTime { ttft: fit.ttft.value_at(in_flight), tpot: fit.tpot.value_at(in_flight) }
            }
        }
    }

    /// Returns the position of a concurrency relative to the measured range; `None` if nothing was measured.
    pub(crate) fn reach(&self, in_flight: f64) -> Option<ConcurrencyReach> {
        let (lowest, highest) = match self {
            Self::Given { .. } => return None,
            Self::Measured { in_flight, .. } => (*in_flight, *in_flight),
            Self::Fitted(fit) => (fit.lowest, fit.highest),
        };
        Some(match in_flight {
            level if level > EXTRAPOLATION_FACTOR * highest => ConcurrencyReach::Above,
            level if level < lowest / EXTRAPOLATION_FACTOR => ConcurrencyReach::Below,
            _ => ConcurrencyReach::Within,
        })
    }

    /// Returns the requests in flight at a rate (per second), at most `most`. It is the number at which the arrivals
    /// during one request equal the requests in flight. `time` returns the mean duration of a request in seconds at a
    /// speed.
    pub(crate) fn steady_concurrency(&self, rate: f64, most: f64, time: impl Fn(ServiceTime) -> f64) -> f64 {
        let mut level = 0.0;
        for _ in 0..MAX_ITERATIONS {
            level = (rate * time(self.at_concurrency(level))).min(most);
        }
        level
    }
}

impl LatencyLine {
    /// Fits a line by least squares to one of the times of the results, or uses its mean if the line would fall.
    fn fit(results: &[MeasuredSpeed], time: impl Fn(&ServiceTime) -> Duration) -> Self {
        let n = results.len() as f64;
        let mean = |value: &dyn Fn(&MeasuredSpeed) -> f64| results.iter().map(value).sum::<f64>() / n;
        let y = |measured: &MeasuredSpeed| time(&measured.pace).as_secs_f64();
        let (mean_x, mean_y) = (mean(&|measured| measured.in_flight), mean(&y));
        let apart = |measured: &MeasuredSpeed| measured.in_flight - mean_x;
        let spread = mean(&|measured| apart(measured).powi(2));
        let slope = mean(&|measured| apart(measured) * (y(measured) - mean_y)) / spread;
        let per_request_s = if slope.is_finite() { slope.max(0.0) } else { 0.0 };
        Self { base_s: mean_y - per_request_s * mean_x, per_request_s }
    }

    /// Returns the time with `in_flight` requests.
    pub(crate) fn value_at(self, in_flight: f64) -> Duration {
        let time = self.base_s + self.per_request_s * in_flight;
        Duration::try_from_secs_f64(time.max(0.0)).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(in_flight: f64, ttft_ms: f64, tpot_ms: f64) -> MeasuredSpeed {
        let ms = |value: f64| Duration::from_secs_f64(value / 1e3);
        MeasuredSpeed { in_flight, pace: ServiceTime { ttft: ms(ttft_ms), tpot: ms(tpot_ms) } }
    }

    fn tpot_ms(speed: &ServerSpeed, in_flight: f64) -> f64 {
        1e3 * speed.at_concurrency(in_flight).tpot.as_secs_f64()
    }

    #[test]
    fn a_ladder_gives_the_line_through_it() {
        let ladder = [1.0, 2.0, 4.0, 8.0].map(|level| measured(level, 20.0 + level, 4.0 + 0.5 * level));
        let speed = ServerSpeed::from_results(&ladder).unwrap();
        for level in [1.0, 3.0, 8.0, 57.0] {
            assert!((tpot_ms(&speed, level) - (4.0 + 0.5 * level)).abs() < 1e-3, "{level}");
        }
        let reach = [0.5, 1.0, 8.5, 57.0].map(|level| speed.reach(level).unwrap());
        assert_eq!(
            reach,
            [
                ConcurrencyReach::Below,
                ConcurrencyReach::Within,
                ConcurrencyReach::Within,
                ConcurrencyReach::Above
            ]
        );
        assert!((tpot_ms(&speed, 0.1) - 4.5).abs() < 1e-3, "no faster than it was ever seen");
    }

    #[test]
    fn a_line_tells_how_far_it_is_off() {
        let speed = ServerSpeed::from_results(&[
            measured(1.0, 1.0, 5.0),
            measured(2.0, 1.0, 7.0),
            measured(3.0, 1.0, 5.0),
        ]);
        let Some(ServerSpeed::Fitted(fit)) = speed else { panic!("{speed:?}") };
        assert!((fit.worst_error - (7.0 - 17.0 / 3.0) / (17.0 / 3.0)).abs() < 1e-6, "{fit:?}");
    }

    #[test]
    fn repeats_at_one_concurrency_are_its_mean_and_no_line() {
        let speed = ServerSpeed::from_results(&[measured(2.0, 20.0, 5.0), measured(2.1, 22.0, 7.0)]).unwrap();
        assert!(matches!(speed, ServerSpeed::Measured { results: 2, .. }), "{speed:?}");
        assert!((tpot_ms(&speed, 57.0) - 6.0).abs() < 1e-6);
        assert_eq!(
            (speed.reach(2.0), speed.reach(57.0)),
            (Some(ConcurrencyReach::Within), Some(ConcurrencyReach::Above))
        );
        assert_eq!(ServerSpeed::from_results(&[]), None);
    }

    #[test]
    fn a_time_that_falls_with_the_load_is_not_carried_on() {
        let speed =
            ServerSpeed::from_results(&[measured(1.0, 20.0, 6.0), measured(10.0, 20.0, 5.0)]).unwrap();
        assert!((tpot_ms(&speed, 100.0) - 5.5).abs() < 1e-6);
    }

    #[test]
    fn a_load_settles_where_arrivals_meet_their_own_time() {
        let ladder = [1.0, 11.0].map(|level| measured(level, 0.0, 5.0 + 0.5 * level));
        let speed = ServerSpeed::from_results(&ladder).unwrap();
        // A hundred tokens at 10 requests per second: c = 10 · 100 · (5 + c/2) ms = 5 + c/2.
        let level = speed.steady_concurrency(10.0, 1e3, |pace| 100.0 * pace.tpot.as_secs_f64());
        assert!((level - 10.0).abs() < 1e-3, "{level}");
        assert!(
            (speed.steady_concurrency(1e6, 40.0, |pace| pace.tpot.as_secs_f64() * 100.0) - 40.0).abs() < 1e-9
        );
    }
}
