//! Independent random streams from the run's one seed.

use rand::SeedableRng;
use rand::rngs::StdRng;

/// What is drawn. Each has a stream of its own, so that drawing more of one changes nothing in another.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stream {
    Shuffle = 1,
    Repeat,
    InputLength,
    OutputLength,
    Offset,
    Prefix,
    Padding,
    Suffix,
    Lora,
    Block,
    Session,
    Tail,
    Class,
    Media,
    Pixels,
    Lines,
    Turns,
    Passage,
    Think,
    Patience,
}

impl Stream {
    /// The stream's generator.
    pub fn rng(self, seed: u64) -> StdRng {
        self.rng_of(seed, 0)
    }

    /// The generator of the stream's `index`-th item, for items that are made in parallel.
    pub fn rng_of(self, seed: u64, index: usize) -> StdRng {
        // Odd constants spread the small numbers over all bits, so that neighbouring seeds share no stream.
        let stream = (self as u64).wrapping_mul(0xD1B5_4A32_D192_ED03);
        let item = (index as u64).wrapping_mul(0x8CB9_2BA7_2F3D_8DD7);
        StdRng::seed_from_u64(seed ^ stream.wrapping_add(item))
    }
}
