//! When requests are sent.

use std::num::NonZeroUsize;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::pace::Pace;
use crate::core::arrival::Intensity;
use crate::core::units::{Rate, number_or_inf, seconds};

/// When requests are sent, and how many.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Arrivals per second, of requests or of sessions where there are any; where the pace is steady.
    pub request_rate: Rate,
    /// How the rate goes through the run.
    #[serde(default)]
    pub pace: Pace,
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
    /// One-token requests a second beside the load, under no cap.
    #[serde(default)]
    pub probes: Option<Rate>,
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
    /// Whether requests are due at times of their own, rather than all at once or when another has ended.
    pub fn is_paced(&self) -> bool {
        self.pace != Pace::Steady || self.request_rate.is_finite()
    }

    /// How many users a closed loop has: sessions, or requests where each is a session of its own.
    pub fn slots(&self) -> Option<NonZeroUsize> {
        self.max_active_sessions.or(self.max_concurrency)
    }

    /// Whether the rate is meant to change, so that no state of the run is steady.
    pub fn rate_changes(&self) -> bool {
        matches!(self.pace, Pace::Ramp(_) | Pace::Stages { .. })
    }

    /// Whether a request is due when another has ended (a cap and no pace) rather than at a time of its own.
    pub fn is_closed_loop(&self) -> bool {
        self.slots().is_some() && !self.is_paced()
    }

    /// Enough requests for this time; `None` where no rate says how many that are.
    ///
    /// Arrivals as drawn vary: five deviations more than the mean are enough, and what is due after the end is not sent. The
    /// number of arrivals with gamma gaps of shape b has a variance of mean / b (Cox, Renewal Theory, 1962, 3.3), and for small b
    /// comes in clusters of 1 / b, of which there may be a few more.
    pub fn due_within(&self, time: Duration) -> Option<usize> {
        let mean = match &self.pace {
            Pace::Steady => time.as_secs_f64() * self.request_rate.get(),
            Pace::Trace => return None,
            Pace::Ramp(ramp) => Intensity::over(*ramp, time).expected_by(time),
            Pace::Stages { stages } => Intensity::of_stages(stages).expected_by(time),
        };
        let cluster = (1.0 / self.burstiness).max(1.0);
        let enough = match self.normalize_arrivals {
            true => mean,
            false => mean + 5.0 * (mean * cluster).sqrt() + 5.0 * (cluster - 1.0),
        };
        mean.is_finite().then_some((enough.ceil() as usize).max(1))
    }

    /// The load before the run: its first rate that is one, held. A trace has none, so its warm-up comes at once.
    pub fn before_the_run(&self) -> Self {
        let first = match &self.pace {
            Pace::Steady => return self.clone(),
            Pace::Trace => None,
            Pace::Ramp(ramp) => [ramp.start, ramp.end].into_iter().find_map(Rate::per_second),
            Pace::Stages { stages } => stages.iter().find_map(|stage| Rate::per_second(stage.rate)),
        };
        Self { pace: Pace::Steady, request_rate: first.unwrap_or(Rate::INFINITE), ..self.clone() }
    }

    /// How many prompts the warm-up needs: a closed loop goes round in twice as many as it has slots.
    pub fn warmup_prompts(&self) -> usize {
        match self.warmup {
            Some(time) => {
                let slots = self.slots().map_or(1, usize::from);
                self.before_the_run().due_within(time).unwrap_or(2 * slots)
            }
            None => self.num_warmups,
        }
    }
}
