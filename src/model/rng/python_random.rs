//! CPython's `random.Random` (Modules/_randommodule.c, Lib/random.py).

use rand_mt::Mt;

/// A Mersenne Twister with CPython's seeding and drawing.
#[derive(Debug, Clone, PartialEq)]
pub struct PythonRandom(Mt);

impl PythonRandom {
    /// `random.seed(seed)`: the seed's 32-bit words are the key.
    pub fn new(seed: u64) -> Self {
        Self(Mt::new_with_key(super::seed_words(seed)))
    }

    /// `random.random()`: a number in [0, 1).
    pub fn double(&mut self) -> f64 {
        super::double(&mut self.0)
    }

    /// `random.shuffle(items)`: Fisher and Yates's shuffle from the end.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let chosen = self.below(last + 1);
            items.swap(last, chosen);
        }
    }

    /// `random.randrange(bound)` for a bound above zero: draws as many bits as the bound has, until they are below it.
    ///
    /// # Panics
    ///
    /// If the bound is zero.
    pub fn below(&mut self, bound: usize) -> usize {
        assert!(bound > 0, "nothing is below zero");
        let bits = usize::BITS - bound.leading_zeros();
        loop {
            let drawn = self.bits(bits) as usize;
            if drawn < bound {
                return drawn;
            }
        }
    }

    /// `getrandbits(count)` for 1 to 64 bits: the high bits of a word; above 32, a whole word gives the low half first.
    pub(super) fn bits(&mut self, count: u32) -> u64 {
        if count <= 32 {
            return u64::from(self.0.next_u32() >> (32 - count));
        }
        let low = u64::from(self.0.next_u32());
        let high = u64::from(self.0.next_u32() >> (64 - count));
        high << 32 | low
    }
}
