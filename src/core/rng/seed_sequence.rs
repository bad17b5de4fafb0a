//! numpy's `SeedSequence` (numpy/random/bit_generator.pyx), after O'Neill's `seed_seq_fe`: spreads a seed over a state.

const POOL: usize = 4;
const XSHIFT: u32 = 16;

/// A hash whose constant changes from word to word.
struct Hash {
    constant: u32,
    multiplier: u32,
}

impl Hash {
    /// While the pool is filled.
    const MIXING: Self = Self { constant: 0x43b0_d7e5, multiplier: 0x931e_8875 };
    /// While the pool is read.
    const READING: Self = Self { constant: 0x8b51_f9dd, multiplier: 0x58f3_8ded };

    fn next(&mut self, word: u32) -> u32 {
        let word = word ^ self.constant;
        self.constant = self.constant.wrapping_mul(self.multiplier);
        let word = word.wrapping_mul(self.constant);
        word ^ word >> XSHIFT
    }
}

fn mix(into: u32, word: u32) -> u32 {
    let mixed = into.wrapping_mul(0xca01_f9dd).wrapping_sub(word.wrapping_mul(0x4973_f715));
    mixed ^ mixed >> XSHIFT
}

/// `SeedSequence(seed).generate_state(4, np.uint64)`.
pub(super) fn state(seed: u64) -> [u64; 4] {
    let mut reading = Hash::READING;
    let mut pool = pool(seed).into_iter().cycle();
    let mut word = || u64::from(reading.next(pool.next().unwrap_or_default()));
    std::array::from_fn(|_| {
        let low = word();
        word() << 32 | low
    })
}

/// The seed's words, each mixed into all others. Words that the seed does not have are zero.
fn pool(seed: u64) -> [u32; POOL] {
    let mut mixing = Hash::MIXING;
    let mut words = super::words(seed);
    let mut pool: [u32; POOL] = std::array::from_fn(|_| mixing.next(words.next().unwrap_or_default()));
    for from in 0..POOL {
        for into in (0..POOL).filter(|into| *into != from) {
            pool[into] = mix(pool[into], mixing.next(pool[from]));
        }
    }
    pool
}
