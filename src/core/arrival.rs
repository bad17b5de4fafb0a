//! When requests are due: offsets from t0, made from a seed before the clock starts.
//!
//! The laws are vLLM's (`vllm/benchmarks/serve.py`, `get_request`): gaps are Gamma(shape = burstiness,
//! scale = 1 / (rate · burstiness)), which is the exponential law at burstiness 1 and has a coefficient of variation
//! of 1/√burstiness. The first request is due after the first gap.
//!
//! A rate that changes over time keeps the law: arrivals of rate 1 are laid along its integral (see [`Intensity`]).

use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand_distr::{Distribution, Exp, Gamma};

use super::rng::{Dice, RandomState};
use super::spec::{Load, Pace, RampBy};
use super::units::Rate;
pub use intensity::Intensity;
pub use ramp::rate_changes;

mod intensity;
mod ramp;

/// The law of the gaps between arrivals.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Law {
    /// Everything at t0.
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

impl Law {
    /// The law that a [`Load`] describes.
    pub fn of(load: &Load) -> Self {
        Self::at(load.request_rate.get(), load.burstiness)
    }

    /// The law of a rate and a gamma shape.
    fn at(rate: f64, burstiness: f64) -> Self {
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

    /// The offsets of `n` arrivals in seconds, ascending. The same dice give the same offsets.
    fn offsets(self, n: usize, dice: &mut Dice) -> Vec<f64> {
        let mut at = 0.0;
        let sum = |gap| {
            at += gap;
            at
        };
        self.gaps(n, dice).into_iter().map(sum).collect()
    }

    /// The first `n` gaps in seconds.
    fn gaps(self, n: usize, dice: &mut Dice) -> Vec<f64> {
        let seed = dice.seed();
        match dice.python() {
            None => self.native_gaps(seed).take(n).collect(),
            Some(globals) => self.python_gaps(&mut globals.numpy).take(n).collect(),
        }
    }

    /// The gaps in seconds, without end, from a stream of their own.
    fn native_gaps(self, seed: u64) -> Gaps<'static> {
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

    /// The gaps in seconds as the Python client draws them, without end.
    fn python_gaps(self, numpy: &mut RandomState) -> Gaps<'_> {
        let (rate, burstiness) = match self {
            Self::AllAtOnce | Self::Constant { .. } => return self.native_gaps(0),
            Self::Poisson { rate } => (rate, 1.0),
            Self::Gamma { rate, burstiness } => (rate, burstiness),
        };
        Box::new(std::iter::repeat_with(move || numpy.gamma(burstiness, 1.0 / (rate * burstiness))))
    }
}

/// Gaps between arrivals in seconds.
type Gaps<'a> = Box<dyn Iterator<Item = f64> + 'a>;

/// Keeps the arrivals independent of whatever else is drawn from the same seed.
const ARRIVAL_STREAM: u64 = 0x0A22_17A1_5EED_0001;

/// When requests are due.
#[derive(Debug, Clone, PartialEq)]
pub enum Schedule {
    /// Open loop: at these offsets, whatever the server does.
    Open(Vec<Duration>),
    /// Closed loop: whenever there is a free slot under the cap. A request is then due when its slot is free.
    Closed,
    /// Open loop without end: one after the other at this rate.
    Every(Rate),
}

impl Schedule {
    /// When a request is due; `None` if only a free slot says.
    pub fn due(&self, ordinal: usize) -> Option<Duration> {
        match self {
            Self::Open(offsets) => offsets.get(ordinal).copied(),
            Self::Closed => None,
            Self::Every(rate) => Some(due(ordinal as f64 / rate.get())),
        }
    }
}

/// The schedule of `n` requests under a [`Load`]: closed loop if there is a cap and no pace, else open. The schedule of
/// a trace is not made here but comes with it.
///
/// With `normalize_arrivals` all offsets are scaled so that the last is n / rate: the total time is then the same for
/// every seed, which takes 1 to 2 % of noise out of throughput (vLLM's reason), at the price of a process that is no
/// longer exactly Poisson. The arithmetic is in Python's order, so that Python's dice give Python's offsets. A rate that
/// changes has its arrivals scaled before they are laid along it, so that the last is where the rate says that the n-th
/// is expected; vLLM's ramp by index is not scaled.
pub fn schedule(load: &Load, n: usize, dice: &mut Dice) -> Schedule {
    if load.is_closed_loop() {
        return Schedule::Closed;
    }
    let unit = Law::at(1.0, load.burstiness);
    let mut laid = |along: &Intensity| {
        let mut counts = unit.offsets(n, dice);
        if load.normalize_arrivals {
            normalize(&mut counts, 1.0);
        }
        counts.into_iter().map(|count| along.when(count)).collect()
    };
    let offsets = match &load.pace {
        Pace::Ramp(ramp) if ramp.by == RampBy::Time => laid(&Intensity::of_ramp(*ramp, n, load.duration)),
        Pace::Stages { stages } => laid(&Intensity::of_stages(stages)),
        Pace::Ramp(ramp) => ramp::by_index(ramp, unit.gaps(n, dice)).map(due).collect(),
        Pace::Steady | Pace::Trace => {
            let mut offsets = Law::of(load).offsets(n, dice);
            if load.normalize_arrivals {
                normalize(&mut offsets, load.request_rate.get());
            }
            offsets.into_iter().map(due).collect()
        }
    };
    Schedule::Open(offsets)
}

/// No clock reaches what is beyond the longest duration.
fn due(at: f64) -> Duration {
    Duration::try_from_secs_f64(at).unwrap_or(Duration::MAX)
}

fn normalize(offsets: &mut [f64], rate: f64) {
    let Some(last) = offsets.last().copied().filter(|last| *last > 0.0) else { return };
    let factor = offsets.len() as f64 / rate / last;
    offsets.iter_mut().for_each(|offset| *offset *= factor);
}

#[cfg(test)]
mod tests;
