//! The random generators of Python, so that the same seed gives the same work as vLLM's Python client.
//!
//! Three are in play there: CPython's `random` (shuffles and choices), numpy's legacy `np.random` (arrivals, repeated
//! prefixes) and numpy's `default_rng` (random prompts). Each is followed to the bit, for the calls that the client makes.
//! Floating point goes through the system's `log` and `pow`, as it does in numpy: another C library may differ in the last
//! bit of a gap, which is far below a nanosecond.

mod generator;
mod random;
mod random_state;
mod seed_sequence;

pub use generator::Generator;
pub use random::Random;
pub use random_state::RandomState;

use super::spec::Rng;

/// What a run rolls, in the state in which its preparation so far has left it.
#[derive(Debug, Clone)]
pub struct Dice {
    seed: u64,
    python: Option<Box<Globals>>,
}

/// The global generators of a Python process.
#[derive(Debug, Clone)]
pub struct Globals {
    /// `random`.
    pub random: Random,
    /// `np.random`.
    pub numpy: RandomState,
}

impl Globals {
    /// `random.seed(seed)` and `np.random.seed(seed)`.
    pub fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), numpy: RandomState::new(seed) }
    }
}

impl Dice {
    /// Fresh dice.
    pub fn new(rng: Rng, seed: u64) -> Self {
        let python = (rng == Rng::Python).then(|| Box::new(Globals::new(seed)));
        Self { seed, python }
    }

    /// Fresh dice of our own: every use has a stream of its own from the seed.
    pub fn native(seed: u64) -> Self {
        Self::new(Rng::Native, seed)
    }

    /// The run's seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Whether they are Python's.
    pub fn are_python(&self) -> bool {
        self.python.is_some()
    }

    /// Python's generators, on which all uses draw in turn; `None` if the dice are our own.
    pub fn python(&mut self) -> Option<&mut Globals> {
        self.python.as_deref_mut()
    }
}

/// A number of [0, 1) with 53 random bits from two words of a Mersenne Twister, as CPython and numpy make it
/// (`genrand_res53` of Matsumoto and Nishimura's mt19937ar.c).
fn double(twister: &mut rand_mt::Mt) -> f64 {
    let high = f64::from(twister.next_u32() >> 5);
    let low = f64::from(twister.next_u32() >> 6);
    (high * 67_108_864.0 + low) / 9_007_199_254_740_992.0
}

/// The 32-bit words of a number, lowest first, without leading zeros, but at least one.
fn words(seed: u64) -> impl Iterator<Item = u32> + Clone {
    let (low, high) = (seed as u32, (seed >> 32) as u32);
    [low, high].into_iter().take(if high == 0 { 1 } else { 2 })
}

#[cfg(test)]
mod tests;
