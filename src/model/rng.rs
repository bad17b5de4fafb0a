//! Python's random generators, so that the same seed gives the same workload as vLLM's Python client.
//!
//! The client uses three: CPython's `random` (shuffles and choices), numpy's legacy `np.random` (arrivals, repeated
//! prefixes) and numpy's `default_rng` (random prompts). Each is reproduced bit by bit, for the calls that the client
//! makes. Floating point uses the system's `log` and `pow`, as numpy does: another C library may differ in the last bit
//! of a gap, which is far below a nanosecond.

mod numpy_generator;
mod numpy_random_state;
mod python_random;
mod seed_sequence;

pub(crate) use crate::model::rng::numpy_generator::NumpyGenerator;
pub(crate) use crate::model::rng::numpy_random_state::NumpyRandomState;
pub(crate) use crate::model::rng::python_random::PythonRandom;

use crate::model::run_spec::RngKind;

/// The random generator of a run, in the state after the preparation so far.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRng {
    seed: u64,
    python: Option<Box<PythonRng>>,
}

/// The global generators of a Python process.
#[derive(Debug, Clone, PartialEq)]
pub struct PythonRng {
    /// `random`.
    pub random: PythonRandom,
    /// `np.random`.
    pub numpy: NumpyRandomState,
}

impl PythonRng {
    /// `random.seed(seed)` and `np.random.seed(seed)`.
    pub fn new(seed: u64) -> Self {
        Self { random: PythonRandom::new(seed), numpy: NumpyRandomState::new(seed) }
    }
}

impl RunRng {
    /// Creates the generator of this kind from a seed.
    pub fn new(rng: RngKind, seed: u64) -> Self {
        let python = (rng == RngKind::Python).then(|| Box::new(PythonRng::new(seed)));
        Self { seed, python }
    }

    /// Creates a native generator: every use has a separate stream from the seed.
    pub fn native(seed: u64) -> Self {
        Self::new(RngKind::Native, seed)
    }

    /// The run's seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Returns whether the random numbers are Python's.
    pub fn is_python_compatible(&self) -> bool {
        self.python.is_some()
    }

    /// Python's generators, which all uses share in turn; `None` for the native generator.
    pub fn python_mut(&mut self) -> Option<&mut PythonRng> {
        self.python.as_deref_mut()
    }
}

/// A number in [0, 1) with 53 random bits from two words of a Mersenne Twister, as CPython and numpy compute it
/// (`genrand_res53` of Matsumoto and Nishimura's mt19937ar.c).
fn double(twister: &mut rand_mt::Mt) -> f64 {
    let high = f64::from(twister.next_u32() >> 5);
    let low = f64::from(twister.next_u32() >> 6);
    (high * 67_108_864.0 + low) / 9_007_199_254_740_992.0
}

/// The 32-bit words of a number, lowest first, without leading zeros, but at least one.
fn seed_words(seed: u64) -> impl Iterator<Item = u32> + Clone {
    let (low, high) = (seed as u32, (seed >> 32) as u32);
    [low, high].into_iter().take(if high == 0 { 1 } else { 2 })
}

#[cfg(test)]
mod tests;
