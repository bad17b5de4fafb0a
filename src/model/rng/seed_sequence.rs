//! numpy's `SeedSequence` (numpy/random/bit_generator.pyx), after O'Neill's `seed_seq_fe`: expands a seed into a state.

const POOL_WORDS: usize = 4;
const XSHIFT: u32 = 16;

/// A hash whose constant changes from word to word.
struct SeedHash {
    constant: u32,
    multiplier: u32,
}

impl SeedHash {
    /// The constants for filling the pool.
    const MIXING: Self = Self { constant: 0x43b0_d7e5, multiplier: 0x931e_8875 };
    /// The constants for reading the pool.
    const READING: Self = Self { constant: 0x8b51_f9dd, multiplier: 0x58f3_8ded };

    fn next(&mut self, word: u32) -> u32 {
        let word = word ^ self.constant;
        self.constant = self.constant.wrapping_mul(self.multiplier);
        let word = word.wrapping_mul(self.constant);
        word ^ word >> XSHIFT
    }
}

fn mix_words(into: u32, word: u32) -> u32 {
    let mixed = into.wrapping_mul(0xca01_f9dd).wrapping_sub(word.wrapping_mul(0x4973_f715));
    mixed ^ mixed >> XSHIFT
}

/// `SeedSequence(seed).generate_state(4, np.uint64)`.
pub(super) fn generate_state(seed: u64) -> [u64; 4] {
    let mut reading = SeedHash::READING;
    let mut pool = seed_pool(seed).into_iter().cycle();
    let mut word = || u64::from(reading.next(pool.next().unwrap_or_default()));
    std::array::from_fn(|_| {
        let low = word();
        word() << 32 | low
    })
}

/// Mixes each of the seed's words into all others. Missing words are zero.
fn seed_pool(seed: u64) -> [u32; POOL_WORDS] {
    let mut mixing = SeedHash::MIXING;
    let mut words = super::seed_words(seed);
    let mut pool: [u32; POOL_WORDS] = std::array::from_fn(|_| mixing.next(words.next().unwrap_or_default()));
    for from in 0..POOL_WORDS {
        for into in (0..POOL_WORDS).filter(|into| *into != from) {
            pool[into] = mix_words(pool[into], mixing.next(pool[from]));
        }
    }
    pool
}
