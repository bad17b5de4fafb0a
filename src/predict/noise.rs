//! Random deviations of a replica: of the time of its steps, and of the time before its queue.
//!
//! Each random number is a function of the replica's seed and of a count, not of the order of calls. Steps that are
//! foreseen, cut short and foreseen again therefore keep their deviations, and two policies of a fleet are compared
//! with the same ones.

use super::ticks::Ticks;

/// The bits of a factor's fraction.
const FACTOR_BITS: u32 = 20;

/// The largest deviation: a step of a thousand times its usual duration.
const MAX_FACTOR: f64 = 1000.0;

/// The kinds of steps whose durations deviate differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StepRegime {
    /// Only decoding.
    Decode,
    /// With prefill.
    Mixed,
}

/// Why deviations are none.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub(crate) enum InvalidNoise {
    #[error("a step's deviation is a factor of {0}; it must be between 0 and 1000")]
    Factor(f64),
}

/// The factors by which steps were slower than the model says, to draw from. Without factors, none deviates.
#[derive(Clone, Debug, Default)]
pub(crate) struct StepNoise {
    decode: Vec<u64>,
    mixed: Vec<u64>,
    intake: Vec<IntakeDelay>,
}

/// The time of a request before its queue, as it was measured with this many requests in flight at its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct IntakeDelay {
    pub in_flight: u32,
    pub delay: Ticks,
}

/// A delay is drawn from this many measured ones: those whose load was most similar.
const SIMILAR_LOADS: usize = 60;

impl StepNoise {
    /// Takes measured durations divided by the model's.
    ///
    /// # Errors
    ///
    /// A factor is negative, not a number or above a thousand.
    pub(crate) fn new(decode: &[f64], mixed: &[f64]) -> Result<Self, InvalidNoise> {
        let rounded = |factors: &[f64]| factors.iter().map(|factor| rounded(*factor)).collect();
        let (decode, mixed): (Result<_, _>, Result<_, _>) = (rounded(decode), rounded(mixed));
        Ok(Self { decode: decode?, mixed: mixed?, intake: Vec::new() })
    }

    /// With measured times before the queue, which replace the fixed one of the request's overhead.
    pub(crate) fn with_intake(mut self, mut measured: Vec<IntakeDelay>) -> Self {
        measured.sort_unstable();
        self.intake = measured;
        self
    }

    /// The time before the queue of the request number `count`, with this many in flight; `fixed` if none was measured.
    pub(super) fn intake(&self, fixed: Ticks, in_flight: u32, seed: u64, count: u64) -> Ticks {
        if self.intake.is_empty() {
            return fixed;
        }
        let similar = self.intake.partition_point(|measured| measured.in_flight < in_flight);
        let first = similar.saturating_sub(SIMILAR_LOADS / 2);
        let end = (first + SIMILAR_LOADS).min(self.intake.len());
        let among = &self.intake[end.saturating_sub(SIMILAR_LOADS)..end];
        among[below(random(mix(seed, 4), count), among.len() as u64) as usize].delay
    }

    /// Whether steps do not deviate.
    pub(crate) fn is_none(&self) -> bool {
        self.decode.is_empty() && self.mixed.is_empty()
    }

    /// The duration of the step number `count` of this regime.
    pub(super) fn deviate(&self, duration: Ticks, regime: StepRegime, seed: u64, count: u64) -> Ticks {
        let (factors, stream) = match regime {
            StepRegime::Decode => (&self.decode, 1),
            StepRegime::Mixed => (&self.mixed, 2),
        };
        if factors.is_empty() {
            return duration;
        }
        let factor = factors[below(random(mix(seed, stream), count), factors.len() as u64) as usize];
        Ticks::from_u128((u128::from(duration.0) * u128::from(factor)) >> FACTOR_BITS)
    }
}

fn rounded(factor: f64) -> Result<u64, InvalidNoise> {
    if !(0.0..=MAX_FACTOR).contains(&factor) {
        return Err(InvalidNoise::Factor(factor));
    }
    Ok((factor * f64::from(1u32 << FACTOR_BITS)).round() as u64)
}

/// Derives a seed from a seed and a number.
pub(super) fn mix(seed: u64, number: u64) -> u64 {
    random(random(0, seed), number)
}

/// The random number `count` of the generator SplitMix64 with this seed (Steele, Lea and Flood 2014).
fn random(seed: u64, count: u64) -> u64 {
    let mut bits = seed.wrapping_add(count.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Turns a random number into one below `end`.
fn below(random: u64, end: u64) -> u64 {
    ((u128::from(random) * u128::from(end)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_splitmix64() {
        // The first outputs for the seed 1234567 of the reference implementation by Vigna.
        let expected = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!([0, 1, 2].map(|count| random(1_234_567, count)), expected);
    }

    #[test]
    fn each_regime_deviates_by_its_own_factors() {
        let noise = StepNoise::new(&[0.5, 1.5], &[2.0]).unwrap();
        let deviate = |regime, count| noise.deviate(Ticks(1000), regime, 7, count).0;
        let drawn: Vec<u64> = (0..1000).map(|count| deviate(StepRegime::Decode, count)).collect();
        assert!(drawn.iter().all(|ticks| [500, 1500].contains(ticks)));
        let slow = drawn.iter().filter(|ticks| **ticks == 1500).count();
        assert!((400..600).contains(&slow), "{slow}");
        assert_eq!(deviate(StepRegime::Mixed, 0), 2000);
        let other =
            (0..1000).filter(|count| noise.deviate(Ticks(1000), StepRegime::Decode, 8, *count).0 == 1500);
        assert_ne!(other.count(), slow, "another seed, other deviations");
        assert_eq!(StepNoise::default().deviate(Ticks(1000), StepRegime::Decode, 7, 0), Ticks(1000));
    }

    #[test]
    fn impossible_deviations_are_refused() {
        assert_eq!(StepNoise::new(&[1.0], &[-0.5]).unwrap_err(), InvalidNoise::Factor(-0.5));
        assert!(StepNoise::new(&[f64::NAN], &[]).is_err());
    }
}
