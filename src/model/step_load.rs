//! The load of one step of a ladder.

use std::fmt;
use std::num::NonZeroUsize;

use serde::{Deserialize, Serialize};

use super::run_spec::Load;
use super::units::Rate;

/// The load of one step of a ladder: the one setting in which its steps differ.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) enum StepLoad {
    /// The maximum number of requests in flight.
    #[serde(rename = "max_concurrency")]
    Concurrency(NonZeroUsize),
    /// Requests per second.
    #[serde(rename = "request_rate")]
    Rate(Rate),
}

/// The settings of a load that follow its cap, because the user has not set them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct CapFollowers {
    /// The maximum number of active sessions.
    pub sessions: bool,
    /// The number of connections opened before the run.
    pub connections: bool,
}

impl StepLoad {
    /// The load as a number, which is infinite for a rate without pauses.
    pub(crate) fn value(self) -> f64 {
        match self {
            Self::Concurrency(cap) => cap.get() as f64,
            Self::Rate(rate) => rate.get(),
        }
    }

    /// Returns this load with everything else as in `base`.
    pub(crate) fn apply(self, base: &Load, followers: CapFollowers) -> Load {
        match self {
            Self::Concurrency(cap) => base.with_cap(cap, followers),
            Self::Rate(request_rate) => Load { request_rate, ..base.clone() },
        }
    }
}

impl fmt::Display for StepLoad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Concurrency(cap) => write!(f, "concurrency {cap}"),
            Self::Rate(rate) => write!(f, "rate {rate} req/s"),
        }
    }
}

impl Load {
    /// Returns the load with this cap on requests in flight.
    pub(crate) fn with_cap(&self, cap: NonZeroUsize, followers: CapFollowers) -> Self {
        let mut load = Self { max_concurrency: Some(cap), ..self.clone() };
        if followers.sessions && load.max_active_sessions.is_some() {
            load.max_active_sessions = Some(cap);
        }
        if followers.connections {
            load.preconnect = cap.get();
        }
        load
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(number: usize) -> NonZeroUsize {
        NonZeroUsize::new(number).unwrap()
    }

    #[test]
    fn what_follows_the_cap_changes_with_it_and_the_rest_stays() {
        let base = Load { max_active_sessions: Some(slots(4)), preconnect: 4, ..Load::closed(4) };
        let all = CapFollowers { sessions: true, connections: true };
        let changed = StepLoad::Concurrency(slots(8)).apply(&base, all);
        let expected = Load { max_active_sessions: Some(slots(8)), preconnect: 8, ..Load::closed(8) };
        assert_eq!(changed, expected);
        let own = StepLoad::Concurrency(slots(8)).apply(&base, CapFollowers::default());
        assert_eq!(own, Load { max_concurrency: Some(slots(8)), ..base.clone() });
        let rate = StepLoad::Rate("2.5".parse().unwrap()).apply(&base, all);
        assert_eq!(rate, Load { request_rate: "2.5".parse().unwrap(), ..base });
    }

    #[test]
    fn a_load_is_named_in_the_words_of_the_field() {
        assert_eq!(StepLoad::Concurrency(slots(8)).to_string(), "concurrency 8");
        assert_eq!(StepLoad::Rate("2.5".parse().unwrap()).to_string(), "rate 2.5 req/s");
        assert_eq!(StepLoad::Rate(Rate::INFINITE).to_string(), "rate inf req/s");
    }
}
