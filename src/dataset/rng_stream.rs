//! Independent random streams from one seed.

use rand::SeedableRng;
use rand::rngs::StdRng;

/// The purpose of a stream. Each purpose has its own stream, so that drawing more numbers for one does not change
/// another.
#[derive(Debug, Clone, Copy)]
pub(super) enum RngStream {
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

impl RngStream {
    /// Creates the stream's generator.
    pub(super) fn rng(self, seed: u64) -> StdRng {
        self.rng_for_index(seed, 0)
    }

    /// Creates the generator for the stream's item at `index`. Items that are made in parallel each have a generator.
    pub(super) fn rng_for_index(self, seed: u64, index: usize) -> StdRng {
        // Odd constants spread small numbers over all bits, so that neighboring seeds do not share streams.
        let stream = (self as u64).wrapping_mul(0xD1B5_4A32_D192_ED03);
        let item = (index as u64).wrapping_mul(0x8CB9_2BA7_2F3D_8DD7);
        StdRng::seed_from_u64(seed ^ stream.wrapping_add(item))
    }
}
