//! The load: when requests are sent, and how many.

use std::num::NonZeroUsize;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::arrival::RateProfile;
use crate::model::run_spec::rate_schedule::RateSchedule;
use crate::model::units::{Rate, number_or_inf};
use crate::seconds;

/// When requests are sent, and how many.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Arrivals per second where the rate is steady: of sessions if the workload has any, else of requests.
    pub request_rate: Rate,
    /// How the rate changes over the run.
    #[serde(default)]
    pub(crate) pace: RateSchedule,
    /// The shape of the gaps' gamma distribution: 1 is Poisson, below 1 is burstier, above 1 is more even, infinite is
    /// constant.
    #[serde(with = "number_or_inf")]
    pub burstiness: f64,
    /// Scale the arrivals so that the last one is due at n / rate, as vLLM does.
    pub normalize_arrivals: bool,
    /// The maximum number of requests in flight.
    pub max_concurrency: Option<NonZeroUsize>,
    /// The maximum number of active sessions, from the sending of the first turn to the end of the last turn.
    #[serde(default)]
    pub max_active_sessions: Option<NonZeroUsize>,
    /// Send nothing that is due after this time.
    #[serde(rename = "duration_s", with = "seconds::option")]
    pub duration: Option<Duration>,
    /// Repeat the prompts once they are used up, until `duration` ends the run.
    pub cycle: bool,
    /// One-token probes per second beside the load, exempt from the cap.
    #[serde(default)]
    pub probes: Option<Rate>,
    /// The number of unmeasured requests before the run.
    pub num_warmups: usize,
    /// The duration of the unmeasured load before the run.
    #[serde(rename = "warmup_s", with = "seconds::option")]
    pub warmup: Option<Duration>,
    /// The number of connections opened before the run.
    pub preconnect: usize,
    /// The number of worker threads.
    pub workers: NonZeroUsize,
}

impl Default for Load {
    /// All requests are due at once.
    fn default() -> Self {
        Self {
            request_rate: Rate::INFINITE,
            pace: RateSchedule::Steady,
            burstiness: 1.0,
            normalize_arrivals: true,
            max_concurrency: None,
            max_active_sessions: None,
            duration: None,
            cycle: false,
            probes: None,
            num_warmups: 0,
            warmup: None,
            preconnect: 0,
            workers: NonZeroUsize::MIN,
        }
    }
}

impl Load {
    /// A Poisson process with this average number of requests per second.
    ///
    /// # Panics
    ///
    /// If the rate is not above 0.
    pub fn poisson(requests_per_second: f64) -> Self {
        let request_rate = Rate::per_second(requests_per_second).expect("a rate is above 0");
        Self { request_rate, ..Self::default() }
    }

    /// Equally spaced requests at this rate per second; see [`Load::poisson`].
    ///
    /// # Panics
    ///
    /// If the rate is not above 0.
    pub fn constant(requests_per_second: f64) -> Self {
        Self { burstiness: f64::INFINITY, ..Self::poisson(requests_per_second) }
    }

    /// A closed loop with this number of requests in flight: when one ends, the next is sent.
    ///
    /// # Panics
    ///
    /// If the number is 0.
    pub fn closed(in_flight: usize) -> Self {
        let max_concurrency = NonZeroUsize::new(in_flight).expect("a loop has a request in flight");
        Self { max_concurrency: Some(max_concurrency), ..Self::default() }
    }

    /// Limits the load to this duration; requests in flight at its end may finish.
    pub fn duration(self, duration: Duration) -> Self {
        Self { duration: Some(duration), ..self }
    }

    /// Adds a warm-up of this number of unmeasured requests.
    pub fn warmup(self, requests: usize) -> Self {
        Self { num_warmups: requests, ..self }
    }

    /// Returns whether requests are due at scheduled times, rather than all at once or when another request ends.
    pub(crate) fn is_paced(&self) -> bool {
        self.pace != RateSchedule::Steady || self.request_rate.is_finite()
    }

    /// The number of users of a closed loop: sessions, or requests where each is a separate session.
    pub(crate) fn closed_loop_size(&self) -> Option<NonZeroUsize> {
        self.max_active_sessions.or(self.max_concurrency)
    }

    /// Returns whether the rate is meant to change, so that the run has no steady state.
    pub(crate) fn has_changing_rate(&self) -> bool {
        matches!(self.pace, RateSchedule::Ramp(_) | RateSchedule::Stages { .. })
    }

    /// Returns whether a request is due when another one ends (a cap and no rate) rather than at a scheduled time.
    pub(crate) fn is_closed_loop(&self) -> bool {
        self.closed_loop_size().is_some() && !self.is_paced()
    }

    /// A sufficient number of requests for this duration; `None` without a rate that determines the number.
    ///
    /// The number of drawn arrivals varies: five standard deviations above the mean are enough, and requests due after
    /// the end are not sent. The number of arrivals with gamma gaps of shape b has a variance of mean / b (Cox, Renewal
    /// Theory, 1962, 3.3). For small b, arrivals come in clusters of 1 / b, and there may be a few more clusters.
    pub(crate) fn requests_within(&self, time: Duration) -> Option<usize> {
        let mean = match &self.pace {
            RateSchedule::Steady => time.as_secs_f64() * self.request_rate.get(),
            RateSchedule::Trace => return None,
            RateSchedule::Ramp(ramp) => RateProfile::from_timed_ramp(*ramp, time).expected_count(time),
            RateSchedule::Stages { stages } => RateProfile::from_steps(stages).expected_count(time),
        };
        let cluster = (1.0 / self.burstiness).max(1.0);
        let enough = match self.normalize_arrivals {
            true => mean,
            false => mean + 5.0 * (mean * cluster).sqrt() + 5.0 * (cluster - 1.0),
        };
        mean.is_finite().then_some((enough.ceil() as usize).max(1))
    }

    /// The load of the warm-up: constant at the first rate above zero. A trace has no rate, so its warm-up is sent at
    /// once.
    pub(crate) fn warmup_load(&self) -> Self {
        let first = match &self.pace {
            RateSchedule::Steady => return self.clone(),
            RateSchedule::Trace => None,
            RateSchedule::Ramp(ramp) => [ramp.start, ramp.end].into_iter().find_map(Rate::per_second),
            RateSchedule::Stages { stages } => stages.iter().find_map(|stage| Rate::per_second(stage.rate)),
        };
        Self { pace: RateSchedule::Steady, request_rate: first.unwrap_or(Rate::INFINITE), ..self.clone() }
    }

    /// The number of prompts that the warm-up needs: a closed loop cycles through twice as many prompts as it has
    /// slots.
    pub(crate) fn warmup_prompts(&self) -> usize {
        match self.warmup {
            Some(time) => {
                let slots = self.closed_loop_size().map_or(1, usize::from);
                self.warmup_load().requests_within(time).unwrap_or(2 * slots)
            }
            None => self.num_warmups,
        }
    }
}
