//! A signal held against its limit.

use std::time::Duration;

use serde::Serialize;

use super::{Aspect, Level, Limit, Signal};

/// How a server is, by one signal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Condition {
    /// Which.
    pub signal: Signal,
    /// What of it is looked at: what its limit is for, else the value itself, or of times the mean.
    pub aspect: Aspect,
    /// That, in the signal's unit, or of growth per second.
    pub figure: f64,
    /// What that means; nothing for what is not of now.
    pub state: State,
    /// For how long it has been beyond its limit, as far as anybody looked; zero within it.
    pub lasted: Duration,
    /// Of what time the figure is.
    pub period: Period,
}

/// Of what time a figure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    /// Of now: of this moment, or of the time between two readings.
    Now,
    /// Of all the time since the server's start: nothing was counted between two readings.
    SinceStart,
}

/// How good that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Within its limit, or without one.
    Ok,
    /// Beyond a limit that depends on what the server is for.
    Hint,
    /// Beyond a limit that users notice, or that must last longer than was looked.
    Warn,
    /// Beyond a limit, for as long as it takes.
    Alert,
}

impl Condition {
    /// Of a figure that has been beyond its limit, if it is, for so long.
    pub fn of(signal: Signal, aspect: Aspect, figure: f64, lasted: Duration) -> Self {
        let limit = crossed(signal, aspect, figure);
        let state = limit.map_or(State::Ok, |limit| match limit.level {
            Level::Alert if lasted >= limit.lasting => State::Alert,
            Level::Alert | Level::Warn => State::Warn,
            Level::Hint => State::Hint,
        });
        let lasted = if limit.is_some() { lasted } else { Duration::ZERO };
        Self { signal, aspect, figure, state, lasted, period: Period::Now }
    }

    /// Of a figure of all the time since the server's start, which says nothing of now.
    pub fn since_start(signal: Signal, aspect: Aspect, figure: f64) -> Self {
        let (state, lasted) = (State::Ok, Duration::ZERO);
        Self { signal, aspect, figure, state, lasted, period: Period::SinceStart }
    }

    /// Whether a figure is beyond the signal's limit, if it has one.
    pub fn is_beyond(signal: Signal, aspect: Aspect, figure: f64) -> bool {
        crossed(signal, aspect, figure).is_some()
    }
}

fn crossed(signal: Signal, aspect: Aspect, figure: f64) -> Option<Limit> {
    signal.facts().limit.filter(|limit| limit.of == aspect && limit.is_beyond(figure))
}

impl Limit {
    /// Whether a figure is on the bad side.
    pub fn is_beyond(&self, figure: f64) -> bool {
        match self.of {
            Aspect::Shortfall => figure < self.bound,
            Aspect::Value | Aspect::Growth | Aspect::Mean | Aspect::P95 => figure > self.bound,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(signal: Signal, aspect: Aspect, figure: f64, seconds: u64) -> State {
        Condition::of(signal, aspect, figure, Duration::from_secs(seconds)).state
    }

    #[test]
    fn a_limit_is_crossed_and_not_touched() {
        assert_eq!(state(Signal::Waiting, Aspect::Value, 10.0, 0), State::Ok);
        assert_eq!(state(Signal::Waiting, Aspect::Value, 11.0, 0), State::Alert);
        assert_eq!(state(Signal::PrefixHitRate, Aspect::Shortfall, 0.39, 0), State::Hint);
        assert_eq!(state(Signal::Ttft, Aspect::P95, 0.6, 0), State::Warn);
        assert_eq!(state(Signal::Running, Aspect::Value, 1e9, 0), State::Ok);
    }

    #[test]
    fn what_must_last_is_a_warning_until_it_has() {
        assert_eq!(state(Signal::Swapped, Aspect::Value, 1.0, 299), State::Warn);
        assert_eq!(state(Signal::Swapped, Aspect::Value, 1.0, 300), State::Alert);
        let lasted =
            |figure| Condition::of(Signal::Swapped, Aspect::Value, figure, Duration::from_secs(9)).lasted;
        assert_eq!((lasted(1.0).as_secs(), lasted(0.0).as_secs()), (9, 0));
    }
}
