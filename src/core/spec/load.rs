//! When requests are sent.

use std::num::NonZeroUsize;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::units::{Rate, number_or_inf, seconds};

/// When requests are sent, and how many.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Arrivals per second: of requests, or of sessions where there are any.
    pub request_rate: Rate,
    /// Shape of the gamma law of the gaps: 1 is Poisson, below 1 is burstier, above is more even, infinite is constant.
    #[serde(with = "number_or_inf")]
    pub burstiness: f64,
    /// Scale the arrivals so that the last falls on n / rate, as vLLM does.
    pub normalize_arrivals: bool,
    /// At most this many requests in flight.
    pub max_concurrency: Option<NonZeroUsize>,
    /// At most this many sessions active, from the first turn's sending to the last turn's end.
    #[serde(default)]
    pub max_active_sessions: Option<NonZeroUsize>,
    /// Send nothing that is due after this.
    #[serde(rename = "duration_s", with = "seconds::option")]
    pub duration: Option<Duration>,
    /// Start over when the prompts are used up, until `duration` ends the run.
    pub cycle: bool,
    /// Unmeasured requests before the run.
    pub num_warmups: usize,
    /// Unmeasured traffic for this long before the run.
    #[serde(rename = "warmup_s", with = "seconds::option")]
    pub warmup: Option<Duration>,
    /// Connections opened before the run.
    pub preconnect: usize,
    /// How many threads send.
    pub workers: NonZeroUsize,
}

impl Load {
    /// Whether a request is due when another has ended (a cap and no pace) rather than at a time of its own.
    pub fn is_closed_loop(&self) -> bool {
        self.slots().is_some() && !self.request_rate.is_finite()
    }

    /// How many users a closed loop has: sessions, or requests where each is a session of its own.
    pub fn slots(&self) -> Option<NonZeroUsize> {
        self.max_active_sessions.or(self.max_concurrency)
    }

    /// Enough requests for this time at the rate; `None` without a finite rate.
    ///
    /// Arrivals as drawn vary by the root of their number: five deviations more than the mean is always enough, and what
    /// is due after the end is not sent.
    pub fn due_within(&self, time: Duration) -> Option<usize> {
        let mean = time.as_secs_f64() * self.request_rate.get();
        let enough = if self.normalize_arrivals { mean } else { mean + 5.0 * mean.sqrt() };
        self.request_rate.is_finite().then_some((enough.ceil() as usize).max(1))
    }

    /// How many prompts the warm-up needs: a closed loop goes round in twice as many as it has slots.
    pub fn warmup_prompts(&self) -> usize {
        match self.warmup {
            Some(time) => {
                let slots = self.slots().map_or(1, usize::from);
                self.due_within(time).unwrap_or(2 * slots)
            }
            None => self.num_warmups,
        }
    }
}
