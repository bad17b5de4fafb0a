//! What the calibration has seen: the work of its steps, and its prompts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ticks::Ticks;
use crate::sim::scheduler::StepWork;

/// The amounts of work in the steps that the calibration saw.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SeenSteps {
    /// The most decoding sequences.
    pub decode_seqs: u64,
    /// The most tokens in the context of decoding sequences.
    pub kv_tokens: u64,
    /// The most prompt tokens.
    pub prefill_tokens: u64,
    /// The most pairs of a query and a key in the attention of the prefill.
    pub attention: u64,
    /// The fewest decoding sequences that a run had, but for the least loaded hundredth of its time; `None` in a model
    /// that was written before this was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least_decode_seqs: Option<u64>,
}

/// What the calibration has seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SeenWork {
    pub steps: SeenSteps,
    /// The tokens of the shortest and of the longest prompt.
    pub prompts: [u32; 2],
}

impl SeenSteps {
    /// Adds a step to the most that was seen.
    pub(crate) fn add(&mut self, work: &StepWork) {
        self.merge(&Self {
            decode_seqs: work.decode_seqs as u64,
            kv_tokens: work.kv_tokens,
            prefill_tokens: work.prefill_tokens as u64,
            attention: work.attention,
            least_decode_seqs: None,
        });
    }

    /// Adds the steps of others.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.decode_seqs = self.decode_seqs.max(other.decode_seqs);
        self.kv_tokens = self.kv_tokens.max(other.kv_tokens);
        self.prefill_tokens = self.prefill_tokens.max(other.prefill_tokens);
        self.attention = self.attention.max(other.attention);
        self.least_decode_seqs = match (self.least_decode_seqs, other.least_decode_seqs) {
            (Some(least), Some(other)) => Some(least.min(other)),
            (one, other) => one.or(other),
        };
    }
}

/// The time of a run's steps by their decoding sequences.
#[derive(Debug, Clone, Default)]
pub(crate) struct DecodeTime {
    by_seqs: BTreeMap<usize, Ticks>,
}

/// The part of a run's decoding time that is left out of the least that it saw: every run begins and ends with few
/// sequences, whatever its load.
const LEFT_OUT: f64 = 0.01;

impl DecodeTime {
    /// Adds a step.
    pub(crate) fn add(&mut self, work: &StepWork, duration: Ticks) {
        if work.decode_seqs > 0 {
            *self.by_seqs.entry(work.decode_seqs).or_default() += duration;
        }
    }

    /// The fewest decoding sequences, but for the least loaded hundredth of the time; `None` if no step decoded.
    pub(crate) fn least_seqs(&self) -> Option<u64> {
        let total: f64 = self.by_seqs.values().map(|time| time.as_seconds()).sum();
        let mut sum = 0.0;
        let beyond = |(seqs, time): (&usize, &Ticks)| {
            sum += time.as_seconds();
            (sum > LEFT_OUT * total).then_some(*seqs as u64)
        };
        self.by_seqs.iter().find_map(beyond)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_that_was_seen_is_not_that_of_a_runs_last_moment() {
        let mut time = DecodeTime::default();
        assert_eq!(time.least_seqs(), None);
        let mut add = |decode_seqs, seconds| {
            time.add(&StepWork { decode_seqs, ..StepWork::default() }, Ticks::from_seconds(seconds));
        };
        add(0, 50.0);
        add(1, 0.3);
        add(20, 0.4);
        add(60, 40.0);
        add(64, 59.3);
        assert_eq!(time.least_seqs(), Some(60));
    }

    #[test]
    fn of_several_runs_the_least_and_the_most_count() {
        let run =
            |decode_seqs, least| SeenSteps { decode_seqs, least_decode_seqs: least, ..SeenSteps::default() };
        let mut seen = SeenSteps::default();
        for other in [run(8, Some(4)), run(64, Some(60)), run(3, None)] {
            seen.merge(&other);
        }
        assert_eq!(seen, run(64, Some(4)));
    }
}
