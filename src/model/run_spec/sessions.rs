//! The behavior of users: the history they repeat, their think time, their patience.

use std::fmt;
use std::time::Duration;

use rand::{Rng, RngExt as _};
use rand_distr::{Distribution as _, Exp1};
use serde::{Deserialize, Serialize};

use crate::seconds;

/// The behavior of users in sessions of several turns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct SessionSpec {
    /// The part of the earlier turns that a turn repeats.
    pub history: HistoryMode,
    /// The time between the end of an answer and the next turn; `None` uses the dataset's times, else zero.
    pub think: Option<WaitTime>,
}

/// The part of the earlier turns that a turn repeats.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HistoryMode {
    /// The user's messages and the server's actual answers.
    #[default]
    Real,
    /// The user's messages and the dataset's answers: the prompts are the same in every run.
    Fixed,
    /// Nothing: each turn is an independent prompt.
    None,
}

/// Users who leave before the answer is complete: the client drops their connections, as a browser does.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct EarlyCancel {
    /// The share of the requests whose users leave, 0 to 1.
    pub share: f64,
    /// The time after sending at which they leave.
    pub after: WaitTime,
}

/// A waiting time that is drawn for each use.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WaitTime {
    /// A constant time.
    #[serde(rename = "constant_s", with = "seconds")]
    Constant(Duration),
    /// A uniform time between two bounds.
    Uniform {
        /// The minimum.
        #[serde(rename = "from_s", with = "seconds")]
        from: Duration,
        /// The maximum.
        #[serde(rename = "to_s", with = "seconds")]
        to: Duration,
    },
    /// An exponential time: mostly short, sometimes long.
    Exponential {
        /// The mean.
        #[serde(rename = "mean_s", with = "seconds")]
        mean: Duration,
    },
}

impl WaitTime {
    /// Draws a waiting time.
    pub(crate) fn draw(&self, rng: &mut impl Rng) -> Duration {
        match *self {
            Self::Constant(time) => time,
            Self::Uniform { from, to } => from + to.saturating_sub(from).mul_f64(rng.random::<f64>()),
            Self::Exponential { mean } => mean.mul_f64(Exp1.sample(rng)),
        }
    }

    /// The mean waiting time.
    pub(crate) fn mean(&self) -> Duration {
        match *self {
            Self::Constant(time) => time,
            Self::Uniform { from, to } => (from + to) / 2,
            Self::Exponential { mean } => mean,
        }
    }
}

impl fmt::Display for WaitTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant(time) => write!(f, "{time:?}"),
            Self::Uniform { from, to } => write!(f, "{from:?} to {to:?}"),
            Self::Exponential { mean } => write!(f, "exponential with mean {mean:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn drawn(wait: WaitTime) -> Vec<f64> {
        let mut rng = StdRng::seed_from_u64(1);
        (0..4000).map(|_| wait.draw(&mut rng).as_secs_f64()).collect()
    }

    #[test]
    fn waits_follow_their_law_and_have_its_mean() {
        assert!(drawn(WaitTime::Constant(SECOND)).iter().all(|time| *time == 1.0));
        let uniform = drawn(WaitTime::Uniform { from: SECOND, to: SECOND * 3 });
        assert!(uniform.iter().all(|time| (1.0..=3.0).contains(time)));
        for wait in
            [WaitTime::Uniform { from: SECOND, to: SECOND * 3 }, WaitTime::Exponential { mean: SECOND * 2 }]
        {
            let times = drawn(wait);
            let mean = times.iter().sum::<f64>() / times.len() as f64;
            assert!((mean - wait.mean().as_secs_f64()).abs() < 0.15, "{wait}: {mean}");
        }
        // Of an exponential distribution, a share of 1 − 1/e lies below the mean.
        let below = drawn(WaitTime::Exponential { mean: SECOND }).iter().filter(|time| **time < 1.0).count();
        assert!((2400..2650).contains(&below), "{below} of 4000");
    }

    #[test]
    fn waits_survive_json() {
        let all = [
            WaitTime::Constant(SECOND),
            WaitTime::Uniform { from: SECOND, to: SECOND * 2 },
            WaitTime::Exponential { mean: SECOND },
        ];
        for wait in all {
            let text = serde_json::to_string(&wait).unwrap();
            assert_eq!(serde_json::from_str::<WaitTime>(&text).unwrap(), wait, "{text}");
        }
    }
}
