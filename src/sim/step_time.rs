//! The duration of a step.

use std::time::Duration;

use crate::sim::{named_enum::named, scheduler::StepWork};

/// The step-time model: `base + per_prefill_token * p + per_decode_seq * n + per_kv_token * k`, times `1 + jitter * u`
/// with `u` uniform in [-1, 1].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepTime {
    /// The fixed time of a step: reading the weights, launching kernels.
    pub base: Duration,
    /// The additional time of each prompt token in the step.
    pub per_prefill_token: Duration,
    /// The additional time of each decoding sequence in the step.
    pub per_decode_seq: Duration,
    /// The additional time of each token in the context of a decoding sequence, whose keys and values the step reads.
    pub per_kv_token: Duration,
    /// The largest relative deviation, below 1; 0 for none.
    pub jitter: f64,
}

impl StepTime {
    /// Returns the duration of a step; `noise` in [-1, 1] scales the jitter.
    pub(super) fn step_duration(&self, work: &StepWork, noise: f64) -> Duration {
        let sum = self.base
            + times(self.per_prefill_token, work.prefill_tokens as u64)
            + times(self.per_decode_seq, work.decode_seqs as u64)
            + times(self.per_kv_token, work.kv_tokens);
        sum.mul_f64((1.0 + self.jitter * noise).max(0.0))
    }
}

/// A product that is exact in nanoseconds. The limits of the specification keep it far below the largest duration.
fn times(duration: Duration, count: u64) -> Duration {
    let nanos = duration.as_nanos().saturating_mul(u128::from(count));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

named! {
    /// Presets of [`StepTime`], named after the hardware and model that they approximate.
    ///
    /// The card presets follow the usual roofline estimate: a decoding step reads all weights once (bytes / memory
    /// bandwidth), and a prompt token costs two floating point operations per parameter at about half of the card's
    /// peak. They aim at plausible timing, not at predictions.
    Speed {
        /// A small model on a fast card, about 4 ms a step: many tokens at low client cost.
        Fast = "fast",
        /// 8 B parameters in 16 bits on one L4 (0.3 TB/s): about 55 ms a step.
        L4Llama8b = "l4-8b",
        /// 8 B parameters in 16 bits on one A100 80 GB (2 TB/s): about 10 ms a step.
        A100Llama8b = "a100-8b",
        /// 70 B parameters in 16 bits on four H100 (3.35 TB/s each): about 18 ms a step.
        H100Llama70b = "h100-70b",
        /// No delays, to measure the client's own cost.
        Instant = "instant",
    }
}

impl Speed {
    /// Returns the preset's values.
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
            per_kv_token: Duration::ZERO,
            jitter,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_costs_its_base_its_prompt_tokens_its_decoding_sequences_and_their_context() {
        let timing = StepTime {
            base: Duration::from_millis(4),
            per_prefill_token: Duration::from_micros(10),
            per_decode_seq: Duration::from_micros(100),
            per_kv_token: Duration::ZERO,
            jitter: 0.5,
        };
        let work = StepWork { prefill_tokens: 100, decode_seqs: 10, kv_tokens: 20_000, attention: 0 };
        assert_eq!(timing.step_duration(&work, 0.0), Duration::from_millis(6));
        assert_eq!(timing.step_duration(&work, 1.0), Duration::from_millis(9));
        assert_eq!(timing.step_duration(&work, -1.0), Duration::from_millis(3));
        let timing = StepTime { per_kv_token: Duration::from_nanos(80), jitter: 0.0, ..timing };
        assert_eq!(timing.step_duration(&work, 0.0), Duration::from_micros(7600));
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
