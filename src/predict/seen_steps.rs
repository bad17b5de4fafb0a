//! What the calibration has seen of steps, and how much simulated time is beyond it.

use serde::{Deserialize, Serialize};

use super::observer::StepSpan;
use super::ticks::Ticks;
use crate::model::prediction::Extrapolation;
use crate::sim::scheduler::StepWork;

/// The largest amounts of work in a step that the calibration saw.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SeenSteps {
    /// Decoding sequences.
    pub decode_seqs: u64,
    /// Tokens in the context of decoding sequences.
    pub kv_tokens: u64,
    /// Prompt tokens.
    pub prefill_tokens: u64,
    /// Pairs of a query and a key in the attention of the prefill.
    pub attention: u64,
}

impl SeenSteps {
    /// Adds a step.
    pub(crate) fn add(&mut self, work: &StepWork) {
        let [decode_seqs, kv_tokens, prefill_tokens, attention] = amounts(work);
        self.merge(&Self { decode_seqs, kv_tokens, prefill_tokens, attention });
    }

    /// Adds the steps of others.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.decode_seqs = self.decode_seqs.max(other.decode_seqs);
        self.kv_tokens = self.kv_tokens.max(other.kv_tokens);
        self.prefill_tokens = self.prefill_tokens.max(other.prefill_tokens);
        self.attention = self.attention.max(other.attention);
    }
}

/// The amounts of work, in the order of [`amounts`].
const AMOUNTS: [&str; 4] = [
    "decoding sequences",
    "tokens of context in a step",
    "prompt tokens in a step",
    "pairs of prefill attention in a step",
];

/// Simulated step time beyond what was seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct BeyondSeen {
    total: Ticks,
    /// By the amount of work.
    beyond: [Ticks; AMOUNTS.len()],
    /// The most that a step needed, by the amount of work.
    needed: [u64; AMOUNTS.len()],
}

fn most(seen: &SeenSteps) -> [u64; AMOUNTS.len()] {
    [seen.decode_seqs, seen.kv_tokens, seen.prefill_tokens, seen.attention]
}

fn amounts(work: &StepWork) -> [u64; AMOUNTS.len()] {
    [work.decode_seqs as u64, work.kv_tokens, work.prefill_tokens as u64, work.attention]
}

impl BeyondSeen {
    /// Adds the steps of a span. Of several, only the context grows.
    pub(crate) fn add(&mut self, seen: &SeenSteps, span: &StepSpan<'_>) {
        let (first, last) = (amounts(&span.first), amounts(&span.first.after_steady(span.steps - 1)));
        let total = span.total();
        self.total += total;
        for (at, most) in most(seen).into_iter().enumerate() {
            self.needed[at] = self.needed[at].max(last[at]);
            if last[at] <= most {
                continue;
            }
            // The share of the span's steps that are beyond, by which its time is divided.
            let inside = match last[at] > first[at] {
                true if first[at] <= most => (most - first[at]) as f64 / (last[at] - first[at]) as f64,
                _ => 0.0,
            };
            self.beyond[at] += Ticks((total.0 as f64 * (1.0 - inside)) as u64);
        }
    }

    /// The amounts of work that were beyond what was seen, for longer than a thousandth of the time.
    pub(crate) fn extrapolations(&self, seen: &SeenSteps) -> Vec<Extrapolation> {
        let share = |at: usize| self.beyond[at].as_seconds() / self.total.as_seconds().max(f64::MIN_POSITIVE);
        let beyond = (0..AMOUNTS.len()).filter(|&at| share(at) > LEAST_SHARE);
        let extrapolation = |at: usize| Extrapolation {
            share: share(at),
            what: AMOUNTS[at].to_owned(),
            seen: most(seen)[at] as f64,
            needed: self.needed[at] as f64,
        };
        beyond.map(extrapolation).collect()
    }
}

/// The share of time below which steps beyond what was seen do not matter.
const LEAST_SHARE: f64 = 1e-3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predict::observer::SpanDurations;
    use crate::predict::step_time::SteadyDurations;
    use crate::sim::scheduler::SchedulerLoad;

    fn span(decode_seqs: usize, kv_tokens: u64, steps: u64) -> StepSpan<'static> {
        let durations = SteadyDurations { first: Ticks::from_seconds(0.01), growth: Ticks::ZERO };
        StepSpan {
            replica: 0,
            ordinal: 0,
            start: Ticks::ZERO,
            steps,
            first: StepWork { decode_seqs, kv_tokens, ..StepWork::default() },
            durations: SpanDurations::Steady(durations),
            load: SchedulerLoad::default(),
        }
    }

    const SEEN: SeenSteps =
        SeenSteps { decode_seqs: 64, kv_tokens: 100_000, prefill_tokens: 2048, attention: 1 << 24 };

    #[test]
    fn time_beyond_what_was_seen_is_a_share_of_all() {
        let mut beyond = BeyondSeen::default();
        beyond.add(&SEEN, &span(64, 6400, 62));
        beyond.add(&SEEN, &span(120, 12_000, 38));
        let found = beyond.extrapolations(&SEEN);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!((found[0].share - 0.38).abs() < 1e-6 && found[0].needed == 120.0, "{found:?}");
        assert!(
            found[0].to_string().starts_with("38 % of step time beyond 64 decoding sequences"),
            "{}",
            found[0]
        );
    }

    #[test]
    fn a_stretch_leaves_what_was_seen_within_it() {
        let mut beyond = BeyondSeen::default();
        // The context grows from 99,000 by 10 a step: after 100 of 201 steps it is beyond.
        beyond.add(&SEEN, &span(10, 99_000, 201));
        let found = beyond.extrapolations(&SEEN);
        assert!((found[0].share - 0.5).abs() < 0.01, "{found:?}");
    }

    #[test]
    fn nothing_beyond_is_nothing_to_say() {
        let mut beyond = BeyondSeen::default();
        assert_eq!(beyond.extrapolations(&SEEN), []);
        beyond.add(&SEEN, &span(64, 1000, 5));
        assert_eq!(beyond.extrapolations(&SEEN), []);
    }
}
