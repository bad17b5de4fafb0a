//! How long a step takes.

use std::time::Duration;

use super::named::named;

/// The step-time model: `base + per_prefill_token * n + per_decode_seq * m`, times `1 + jitter * u`
/// with `u` uniform in [-1, 1].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepTime {
    /// What a step costs however small it is: reading the weights, launching kernels.
    pub base: Duration,
    /// What each prompt token computed in the step adds.
    pub per_prefill_token: Duration,
    /// What each decoding sequence in the step adds.
    pub per_decode_seq: Duration,
    /// Largest relative deviation, 0 for none; below 1.
    pub jitter: f64,
}

impl StepTime {
    /// The time of a step of `prefill_tokens` and `decode_seqs`; `noise` in [-1, 1] scales the jitter.
    pub fn of(&self, prefill_tokens: usize, decode_seqs: usize, noise: f64) -> Duration {
        let work = self.base
            + self.per_prefill_token * count(prefill_tokens)
            + self.per_decode_seq * count(decode_seqs);
        work.mul_f64((1.0 + self.jitter * noise).max(0.0))
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

named! {
    /// Presets of [`StepTime`], named after what they are roughly like.
    ///
    /// The card presets follow the usual roofline estimate: a decoding step reads all weights once
    /// (bytes / memory bandwidth), a prompt token costs two floating point operations per parameter
    /// at about half of the card's peak. They are for plausible shapes, not for predictions.
    Speed {
        /// A small model on a fast card, about 4 ms a step: many tokens at low client cost.
        Fast = "fast",
        /// 8 B parameters in 16 bits on one L4 (0.3 TB/s): about 55 ms a step.
        L4Llama8b = "l4-8b",
        /// 8 B parameters in 16 bits on one A100 80 GB (2 TB/s): about 10 ms a step.
        A100Llama8b = "a100-8b",
        /// 70 B parameters in 16 bits on four H100 (3.35 TB/s each): about 18 ms a step.
        H100Llama70b = "h100-70b",
        /// No delays at all, to find the client's own cost.
        Instant = "instant",
    }
}

impl Speed {
    /// The numbers behind the name.
    pub const fn step_time(self) -> StepTime {
        let (base, prefill, decode, jitter) = match self {
            Self::Fast => (4_000, 5_000, 4_000, 0.05),
            Self::L4Llama8b => (55_000, 230_000, 150_000, 0.03),
            Self::A100Llama8b => (10_000, 95_000, 30_000, 0.03),
            Self::H100Llama70b => (18_000, 70_000, 40_000, 0.03),
            Self::Instant => (0, 0, 0, 0.0),
        };
        StepTime {
            base: Duration::from_micros(base),
            per_prefill_token: Duration::from_nanos(prefill),
            per_decode_seq: Duration::from_nanos(decode),
            jitter,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_costs_its_base_its_prompt_tokens_and_its_decoding_sequences() {
        let timing = StepTime {
            base: Duration::from_millis(4),
            per_prefill_token: Duration::from_micros(10),
            per_decode_seq: Duration::from_micros(100),
            jitter: 0.5,
        };
        assert_eq!(timing.of(100, 10, 0.0), Duration::from_millis(6));
        assert_eq!(timing.of(100, 10, 1.0), Duration::from_millis(9));
        assert_eq!(timing.of(100, 10, -1.0), Duration::from_millis(3));
    }

    #[test]
    fn every_preset_is_found_by_its_name() {
        for speed in Speed::ALL {
            assert_eq!(speed.name().parse(), Ok(*speed));
        }
        let error = "warp".parse::<Speed>().unwrap_err();
        assert!(error.to_string().contains("fast, l4-8b"), "{error}");
    }
}
