//! When requests are due: offsets from t0, computed from a seed before the clock starts.
//!
//! The arrival processes are vLLM's (`vllm/benchmarks/serve.py`, `get_request`): gaps are Gamma(shape = burstiness,
//! scale = 1 / (rate · burstiness)), which is the exponential distribution at burstiness 1 and has a coefficient of
//! variation of 1/√burstiness. The first request is due after the first gap.
//!
//! A rate that changes over time keeps the distribution: arrivals of rate 1 are mapped through its integral (see
//! [`RateProfile`]).

use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand_distr::{Distribution, Exp, Gamma};

use super::rng::{NumpyRandomState, RunRng};
use super::units::Rate;
pub(crate) use crate::model::arrival::rate_profile::RateProfile;
use crate::model::run_spec::{Load, RampBy, RateSchedule};
pub(crate) use ramp::rate_changes;

mod ramp;
mod rate_profile;

/// The distribution of the gaps between arrivals.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum ArrivalProcess {
    /// All requests are due at t0.
    AllAtOnce,
    /// Equal gaps.
    Constant {
        /// Arrivals per second.
        rate: f64,
    },
    /// Exponential gaps.
    Poisson {
        /// Arrivals per second.
        rate: f64,
    },
    /// Gamma gaps.
    Gamma {
        /// Arrivals per second.
        rate: f64,
        /// The gamma shape.
        burstiness: f64,
    },
}

impl ArrivalProcess {
    /// The arrival process that a [`Load`] describes.
    pub(crate) fn from_load(load: &Load) -> Self {
        Self::from_rate(load.request_rate.get(), load.burstiness)
    }

    /// The arrival process of a rate and a gamma shape.
    fn from_rate(rate: f64, burstiness: f64) -> Self {
        if rate.is_infinite() {
            Self::AllAtOnce
        } else if burstiness.is_infinite() {
            Self::Constant { rate }
        } else if burstiness == 1.0 {
            Self::Poisson { rate }
        } else {
            Self::Gamma { rate, burstiness }
        }
    }

    /// The offsets of `n` arrivals in seconds, ascending. The same RNG state gives the same offsets.
    fn offsets(self, n: usize, dice: &mut RunRng) -> Vec<f64> {
        let mut at = 0.0;
        let sum = |gap| {
            at += gap;
            at
        };
        self.gaps(n, dice).into_iter().map(sum).collect()
    }

    /// The first `n` gaps in seconds.
    fn gaps(self, n: usize, dice: &mut RunRng) -> Vec<f64> {
        let seed = dice.seed();
        match dice.python_mut() {
            None => self.native_gaps(seed).take(n).collect(),
            Some(globals) => self.python_gaps(&mut globals.numpy).take(n).collect(),
        }
    }

    /// An endless sequence of gaps in seconds, from a separate RNG stream.
    fn native_gaps(self, seed: u64) -> InterarrivalGaps<'static> {
        let rng = StdRng::seed_from_u64(seed ^ ARRIVAL_STREAM);
        match self {
            Self::AllAtOnce => Box::new(std::iter::repeat(0.0)),
            Self::Constant { rate } => Box::new(std::iter::repeat(1.0 / rate)),
            Self::Poisson { rate } => {
                Box::new(Exp::new(rate).expect("a Rate is above zero").sample_iter(rng))
            }
            Self::Gamma { rate, burstiness } => Box::new(
                Gamma::new(burstiness, 1.0 / (rate * burstiness))
                    .expect("a Rate and a burstiness are above zero")
                    .sample_iter(rng),
            ),
        }
    }

    /// An endless sequence of gaps in seconds, drawn as vLLM's Python client draws them.
    fn python_gaps(self, numpy: &mut NumpyRandomState) -> InterarrivalGaps<'_> {
        let (rate, burstiness) = match self {
            Self::AllAtOnce | Self::Constant { .. } => return self.native_gaps(0),
            Self::Poisson { rate } => (rate, 1.0),
            Self::Gamma { rate, burstiness } => (rate, burstiness),
        };
        Box::new(std::iter::repeat_with(move || numpy.gamma(burstiness, 1.0 / (rate * burstiness))))
    }
}

/// Gaps between arrivals in seconds.
type InterarrivalGaps<'a> = Box<dyn Iterator<Item = f64> + 'a>;

/// A separate RNG stream keeps the arrivals independent of everything else drawn from the same seed.
const ARRIVAL_STREAM: u64 = 0x0A22_17A1_5EED_0001;

/// When requests are due.
#[derive(Debug, Clone, PartialEq)]
pub enum Schedule {
    /// Open loop: requests are due at these offsets, whatever the server does.
    Open(Vec<Duration>),
    /// Closed loop: a request is due whenever there is a free slot under the concurrency cap.
    Closed,
    /// Open loop without end: equally spaced requests at this rate.
    Every(Rate),
}

impl Schedule {
    /// When a request is due; `None` in a closed loop, where a request waits for a free slot.
    pub fn due(&self, ordinal: usize) -> Option<Duration> {
        match self {
            Self::Open(offsets) => offsets.get(ordinal).copied(),
            Self::Closed => None,
            Self::Every(rate) => Some(saturating_offset(ordinal as f64 / rate.get())),
        }
    }
}

/// The schedule of `n` requests under a [`Load`]: closed loop if there is a cap and no rate, else open. The schedule of
/// a trace comes with the trace and is not computed here.
///
/// With `normalize_arrivals` all offsets are scaled so that the last is n / rate. The total time is then the same for
/// every seed, which removes 1 to 2 % of noise from throughput (vLLM's reason); the process is then no longer exactly
/// Poisson. The arithmetic follows Python's order of operations, so that Python's random numbers give Python's offsets.
/// With a changing rate, the arrivals are scaled before they are mapped through its integral, so that the last one is
/// due when the rate predicts the n-th arrival; vLLM's ramp by index is not scaled.
pub(crate) fn schedule(load: &Load, n: usize, dice: &mut RunRng) -> Schedule {
    if load.is_closed_loop() {
        return Schedule::Closed;
    }
    let unit = ArrivalProcess::from_rate(1.0, load.burstiness);
    let mut laid = |along: &RateProfile| {
        let mut counts = unit.offsets(n, dice);
        if load.normalize_arrivals {
            normalize(&mut counts, 1.0);
        }
        counts.into_iter().map(|count| along.time_of_count(count)).collect()
    };
    let offsets = match &load.pace {
        RateSchedule::Ramp(ramp) if ramp.by == RampBy::Time => {
            laid(&RateProfile::from_ramp(*ramp, n, load.duration))
        }
        RateSchedule::Stages { stages } => laid(&RateProfile::from_steps(stages)),
        RateSchedule::Ramp(ramp) => {
            ramp::gaps_by_index(ramp, unit.gaps(n, dice)).map(saturating_offset).collect()
        }
        RateSchedule::Steady | RateSchedule::Trace => {
            let mut offsets = ArrivalProcess::from_load(load).offsets(n, dice);
            if load.normalize_arrivals {
                normalize(&mut offsets, load.request_rate.get());
            }
            offsets.into_iter().map(saturating_offset).collect()
        }
    };
    Schedule::Open(offsets)
}

/// An offset beyond the longest duration is never reached by a clock.
fn saturating_offset(at: f64) -> Duration {
    Duration::try_from_secs_f64(at).unwrap_or(Duration::MAX)
}

fn normalize(offsets: &mut [f64], rate: f64) {
    let Some(last) = offsets.last().copied().filter(|last| *last > 0.0) else { return };
    let factor = offsets.len() as f64 / rate / last;
    offsets.iter_mut().for_each(|offset| *offset *= factor);
}

#[cfg(test)]
mod tests;
