//! numpy's `np.random.default_rng` (numpy/random/_pcg64.pyx, src/distributions/distributions.c).

use std::ops::RangeInclusive;

use rand_pcg::Pcg64;
use rand_pcg::rand_core::Rng as _;

use super::seed_sequence;

/// O'Neill's PCG XSL-RR 128/64 with numpy's seeding and numpy's method of drawing integers.
#[derive(Debug, Clone)]
pub(crate) struct NumpyGenerator {
    pcg: Pcg64,
    /// The high half of the last 64 bits, if it is still unused.
    spare: Option<u32>,
}

impl NumpyGenerator {
    /// `np.random.default_rng(seed)`.
    pub(crate) fn new(seed: u64) -> Self {
        let [state_high, state_low, stream_high, stream_low] =
            seed_sequence::generate_state(seed).map(u128::from);
        let pcg = Pcg64::new(state_high << 64 | state_low, stream_high << 64 | stream_low);
        Self { pcg, spare: None }
    }

    /// Draws one number of `integers(start, end + 1, size)`: Lemire, Fast Random Integer Generation in an Interval
    /// (2019), on 32 bits. A range of one value draws nothing.
    pub(crate) fn integer(&mut self, range: &RangeInclusive<u32>) -> u32 {
        let width = range.end().saturating_sub(*range.start());
        match width {
            0 => *range.start(),
            u32::MAX => self.next_u32(),
            _ => range.start() + self.below(width + 1),
        }
    }

    fn below(&mut self, bound: u32) -> u32 {
        let threshold = bound.wrapping_neg() % bound;
        loop {
            let product = u64::from(self.next_u32()) * u64::from(bound);
            if product as u32 >= threshold {
                return (product >> 32) as u32;
            }
        }
    }

    /// Half of a 64-bit number, the low half first.
    fn next_u32(&mut self) -> u32 {
        self.spare.take().unwrap_or_else(|| {
            let both = self.pcg.next_u64();
            self.spare = Some((both >> 32) as u32);
            both as u32
        })
    }
}
