//! How users behave: what they repeat, how long they think, whether they wait for the end.

use std::fmt;
use std::time::Duration;

use rand::{Rng, RngExt as _};
use rand_distr::{Distribution as _, Exp1};
use serde::{Deserialize, Serialize};

use crate::core::units::seconds;

/// How users of several turns behave.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Sessions {
    /// What a turn repeats of the turns before it.
    pub history: History,
    /// The time between the end of an answer and the next turn; `None`: as the dataset has it, else none.
    pub think: Option<Wait>,
}

/// What a turn repeats of the turns before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum History {
    /// What the user said and what the server really answered.
    #[default]
    Real,
    /// What the user said and what the dataset answers: the prompts are the same in every run.
    Fixed,
    /// Nothing: each turn is a prompt by itself.
    None,
}

/// Users who leave before the answer is over: their connections are dropped, as a browser does.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Cancel {
    /// The share of the requests, 0 to 1.
    pub share: f64,
    /// How long after sending.
    pub after: Wait,
}

/// A time to wait, drawn anew each time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wait {
    /// Always the same.
    #[serde(rename = "constant_s", with = "seconds")]
    Constant(Duration),
    /// Uniform between two times.
    Uniform {
        /// The shortest.
        #[serde(rename = "from_s", with = "seconds")]
        from: Duration,
        /// The longest.
        #[serde(rename = "to_s", with = "seconds")]
        to: Duration,
    },
    /// Exponential: mostly short, sometimes long.
    Exponential {
        /// Its mean.
        #[serde(rename = "mean_s", with = "seconds")]
        mean: Duration,
    },
}

impl Wait {
    /// Draws one.
    pub fn draw(&self, rng: &mut impl Rng) -> Duration {
        match *self {
            Self::Constant(time) => time,
            Self::Uniform { from, to } => from + to.saturating_sub(from).mul_f64(rng.random::<f64>()),
            Self::Exponential { mean } => mean.mul_f64(Exp1.sample(rng)),
        }
    }

    /// Its mean.
    pub fn mean(&self) -> Duration {
        match *self {
            Self::Constant(time) => time,
            Self::Uniform { from, to } => (from + to) / 2,
            Self::Exponential { mean } => mean,
        }
    }
}

impl fmt::Display for Wait {
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

    fn drawn(wait: Wait) -> Vec<f64> {
        let mut rng = StdRng::seed_from_u64(1);
        (0..4000).map(|_| wait.draw(&mut rng).as_secs_f64()).collect()
    }

    #[test]
    fn waits_follow_their_law_and_have_its_mean() {
        assert!(drawn(Wait::Constant(SECOND)).iter().all(|time| *time == 1.0));
        let uniform = drawn(Wait::Uniform { from: SECOND, to: SECOND * 3 });
        assert!(uniform.iter().all(|time| (1.0..=3.0).contains(time)));
        for wait in [Wait::Uniform { from: SECOND, to: SECOND * 3 }, Wait::Exponential { mean: SECOND * 2 }] {
            let times = drawn(wait);
            let mean = times.iter().sum::<f64>() / times.len() as f64;
            assert!((mean - wait.mean().as_secs_f64()).abs() < 0.15, "{wait}: {mean}");
        }
        // Of an exponential law, a share of 1 − 1/e lies below the mean.
        let below = drawn(Wait::Exponential { mean: SECOND }).iter().filter(|time| **time < 1.0).count();
        assert!((2400..2650).contains(&below), "{below} of 4000");
    }

    #[test]
    fn waits_survive_json() {
        let all = [
            Wait::Constant(SECOND),
            Wait::Uniform { from: SECOND, to: SECOND * 2 },
            Wait::Exponential { mean: SECOND },
        ];
        for wait in all {
            let text = serde_json::to_string(&wait).unwrap();
            assert_eq!(serde_json::from_str::<Wait>(&text).unwrap(), wait, "{text}");
        }
    }
}
