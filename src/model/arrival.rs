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
pub use crate::model::arrival::offsets::Offsets;
pub(crate) use crate::model::arrival::offsets::{OffsetReader, OffsetSink};
pub(crate) use crate::model::arrival::rate_profile::RateProfile;
use crate::model::run_spec::{Load, RampBy, RateSchedule};
use crate::model::spool::SpoolError;
pub(crate) use ramp::rate_changes;

mod offsets;
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

    /// The offsets of arrivals in seconds, ascending and endless. The same RNG state gives the same offsets.
    fn offsets(self, dice: &mut RunRng) -> impl Iterator<Item = f64> {
        let mut at = 0.0;
        self.gaps(dice).map(move |gap| {
            at += gap;
            at
        })
    }

    /// An endless sequence of gaps in seconds. Each is drawn when it is taken.
    fn gaps(self, dice: &mut RunRng) -> InterarrivalGaps<'_> {
        let seed = dice.seed();
        match dice.python_mut() {
            None => self.native_gaps(seed),
            Some(globals) => self.python_gaps(&mut globals.numpy),
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
    Open(Offsets),
    /// Closed loop: a request is due whenever there is a free slot under the concurrency cap.
    Closed,
    /// Open loop without end: equally spaced requests at this rate.
    Every(Rate),
}

impl Schedule {
    /// Creates a reader of the due times.
    pub(crate) fn reader(&self) -> ScheduleReader<'_> {
        match self {
            Self::Open(offsets) => ScheduleReader::Open(offsets.reader()),
            Self::Closed => ScheduleReader::Closed,
            Self::Every(rate) => ScheduleReader::Every(*rate),
        }
    }
}

/// Reads the due times of a schedule, and fast in about ascending order.
#[derive(Debug)]
pub(crate) enum ScheduleReader<'a> {
    /// The offsets of an open loop.
    Open(OffsetReader<'a>),
    /// A closed loop has no due times.
    Closed,
    /// The rate of equally spaced requests.
    Every(Rate),
}

impl ScheduleReader<'_> {
    /// When a request is due; `None` in a closed loop, where a request waits for a free slot.
    pub(crate) fn due(&mut self, ordinal: usize) -> Option<Duration> {
        match self {
            Self::Open(offsets) => offsets.get(ordinal),
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
///
/// # Errors
/// When the due times fit neither into memory nor into a temporary file.
pub(crate) fn schedule(load: &Load, n: usize, dice: &mut RunRng) -> Result<Schedule, SpoolError> {
    schedule_into(OffsetSink::default(), load, n, dice)
}

/// Like [`schedule`], into this sink.
pub(crate) fn schedule_into(
    sink: OffsetSink,
    load: &Load,
    n: usize,
    dice: &mut RunRng,
) -> Result<Schedule, SpoolError> {
    if load.is_closed_loop() {
        return Ok(Schedule::Closed);
    }
    let unit = ArrivalProcess::from_rate(1.0, load.burstiness);
    let along = match &load.pace {
        RateSchedule::Ramp(ramp) if ramp.by == RampBy::Index => {
            let offsets = ramp::gaps_by_index(ramp, n, unit.gaps(dice));
            return Ok(Schedule::Open(sink.collect(offsets.map(saturating_offset))?));
        }
        RateSchedule::Ramp(ramp) => Some(RateProfile::from_ramp(*ramp, n, load.duration)),
        RateSchedule::Stages { stages } => Some(RateProfile::from_steps(stages)),
        RateSchedule::Steady | RateSchedule::Trace => None,
    };
    let (process, rate) = match along {
        Some(_) => (unit, 1.0),
        None => (ArrivalProcess::from_load(load), load.request_rate.get()),
    };
    let factor = load.normalize_arrivals.then(|| normalization(process, n, rate, dice)).flatten();
    let offsets = process.offsets(dice).take(n).map(|at| factor.map_or(at, |factor| at * factor));
    let offsets = offsets.map(|at| match &along {
        Some(profile) => profile.time_of_count(at),
        None => saturating_offset(at),
    });
    Ok(Schedule::Open(sink.collect(offsets)?))
}

/// An offset beyond the longest duration is never reached by a clock.
fn saturating_offset(at: f64) -> Duration {
    Duration::try_from_secs_f64(at).unwrap_or(Duration::MAX)
}

/// The factor that moves the last of `n` arrivals to n / rate; `None` if there is no last one after the start. It draws
/// from a copy of the RNG, so that no offset has to be kept.
fn normalization(process: ArrivalProcess, n: usize, rate: f64, dice: &RunRng) -> Option<f64> {
    let last = process.offsets(&mut dice.clone()).take(n).last().filter(|last| *last > 0.0)?;
    Some(n as f64 / rate / last)
}

#[cfg(test)]
mod tests;
