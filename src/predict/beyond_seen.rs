//! How much of a simulation is beyond what the calibration saw.

use super::observer::StepSpan;
use super::seen_steps::{SeenSteps, SeenWork};
use super::ticks::Ticks;
use crate::model::prediction::{Extrapolation, SeenBound, ShareOf};
use crate::sim::scheduler::StepWork;

/// The amounts of work, in the order of [`amounts`].
const AMOUNTS: [&str; 4] = [
    "decoding sequences",
    "tokens of context in a step",
    "prompt tokens in a step",
    "pairs of prefill attention in a step",
];

/// The share of time below which steps beyond the most that was seen do not matter.
const LEAST_SHARE_ABOVE: f64 = 1e-3;

/// The share of time below which steps with fewer sequences than were seen do not matter: the beginning and the end of
/// any load have few.
const LEAST_SHARE_BELOW: f64 = 0.05;

/// The share of prompts below which their lengths do not matter.
const LEAST_SHARE_PROMPTS: f64 = 0.01;

/// How far a prompt's length may be from those seen, as a factor.
const NEARLY_SEEN: f64 = 1.1;

/// Simulated work beyond what was seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct BeyondSeen {
    total: Ticks,
    /// By the amount of work.
    beyond: [Ticks; AMOUNTS.len()],
    /// The most that a step needed, by the amount of work.
    needed: [u64; AMOUNTS.len()],
    /// The time of steps with fewer decoding sequences than were seen.
    below: Ticks,
    /// The fewest decoding sequences of such a step.
    fewest: Option<u64>,
    prompts: PromptCounts,
}

/// Prompts by their length.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct PromptCounts {
    all: u64,
    shorter: u64,
    longer: u64,
    /// Tokens of the shortest and of the longest.
    range: Option<[u32; 2]>,
}

fn most(seen: &SeenSteps) -> [u64; AMOUNTS.len()] {
    [seen.decode_seqs, seen.kv_tokens, seen.prefill_tokens, seen.attention]
}

fn amounts(work: &StepWork) -> [u64; AMOUNTS.len()] {
    [work.decode_seqs as u64, work.kv_tokens, work.prefill_tokens as u64, work.attention]
}

impl BeyondSeen {
    /// Adds the steps of a span. Of several, only the context grows.
    pub(crate) fn add_steps(&mut self, seen: &SeenSteps, span: &StepSpan<'_>) {
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
        let seqs = first[0];
        if seqs > 0 && seen.least_decode_seqs.is_some_and(|least| seqs < least) {
            self.below += total;
            self.fewest = Some(self.fewest.map_or(seqs, |fewest| fewest.min(seqs)));
        }
    }

    /// Adds a prompt of this number of tokens.
    pub(crate) fn add_prompt(&mut self, seen: &SeenWork, tokens: u32) {
        let [shortest, longest] = seen.prompts.map(f64::from);
        let counts = &mut self.prompts;
        counts.all += 1;
        counts.shorter += u64::from(f64::from(tokens) * NEARLY_SEEN < shortest);
        counts.longer += u64::from(f64::from(tokens) > longest * NEARLY_SEEN);
        let [least, most] = counts.range.unwrap_or([tokens; 2]);
        counts.range = Some([least.min(tokens), most.max(tokens)]);
    }

    /// What was beyond, for more than a negligible share: of step time first, then of prompts.
    pub(crate) fn extrapolations(&self, seen: &SeenWork) -> Vec<Extrapolation> {
        let mut all = self.of_steps(&seen.steps);
        all.extend(self.of_prompts(seen));
        all
    }

    /// The steps that were beyond.
    pub(crate) fn of_steps(&self, seen: &SeenSteps) -> Vec<Extrapolation> {
        let share = |time: Ticks| time.as_seconds() / self.total.as_seconds().max(f64::MIN_POSITIVE);
        let above = |at: usize| Extrapolation {
            share: share(self.beyond[at]),
            of: ShareOf::StepTime,
            what: AMOUNTS[at].to_owned(),
            bound: SeenBound::Most,
            seen: most(seen)[at] as f64,
            needed: self.needed[at] as f64,
        };
        let below = self.fewest.zip(seen.least_decode_seqs).map(|(fewest, least)| Extrapolation {
            share: share(self.below),
            bound: SeenBound::Least,
            seen: least as f64,
            needed: fewest as f64,
            ..above(0)
        });
        let below = below.filter(|beyond| beyond.share > LEAST_SHARE_BELOW);
        let above = (0..AMOUNTS.len()).map(above).filter(|beyond| beyond.share > LEAST_SHARE_ABOVE);
        above.chain(below).collect()
    }

    fn of_prompts(&self, seen: &SeenWork) -> Vec<Extrapolation> {
        let PromptCounts { all, shorter, longer, range } = self.prompts;
        let Some([least, most]) = range else { return Vec::new() };
        let extrapolation = |count: u64, bound, seen: u32, needed: u32| Extrapolation {
            share: count as f64 / all as f64,
            of: ShareOf::Prompts,
            what: "tokens".to_owned(),
            bound,
            seen: f64::from(seen),
            needed: f64::from(needed),
        };
        let both = [
            extrapolation(longer, SeenBound::Most, seen.prompts[1], most),
            extrapolation(shorter, SeenBound::Least, seen.prompts[0], least),
        ];
        both.into_iter().filter(|beyond| beyond.share > LEAST_SHARE_PROMPTS).collect()
    }
}

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
            first_tokens: 0,
            durations: SpanDurations::Steady(durations),
            load: SchedulerLoad::default(),
        }
    }

    const SEEN: SeenWork = SeenWork {
        steps: SeenSteps {
            decode_seqs: 64,
            kv_tokens: 100_000,
            prefill_tokens: 2048,
            attention: 1 << 24,
            least_decode_seqs: Some(8),
        },
        prompts: [100, 2000],
    };

    fn after(spans: &[StepSpan<'_>]) -> Vec<Extrapolation> {
        let mut beyond = BeyondSeen::default();
        spans.iter().for_each(|span| beyond.add_steps(&SEEN.steps, span));
        beyond.extrapolations(&SEEN)
    }

    #[test]
    fn time_beyond_what_was_seen_is_a_share_of_all() {
        let found = after(&[span(64, 6400, 62), span(120, 12_000, 38)]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!((found[0].share - 0.38).abs() < 1e-6 && found[0].needed == 120.0, "{found:?}");
        let text = found[0].to_string();
        assert!(text.starts_with("38 % of step time beyond 64 decoding sequences"), "{text}");
    }

    #[test]
    fn a_stretch_leaves_what_was_seen_within_it() {
        // The context grows from 99,000 by 10 a step: after 100 of 201 steps it is beyond.
        let found = after(&[span(10, 99_000, 201)]);
        assert!((found[0].share - 0.5).abs() < 0.01, "{found:?}");
    }

    #[test]
    fn nothing_beyond_is_nothing_to_say() {
        assert_eq!(after(&[]), []);
        assert_eq!(after(&[span(64, 1000, 5)]), []);
    }

    #[test]
    fn fewer_sequences_than_were_seen_are_said_unless_they_are_an_end_of_the_load() {
        let found = after(&[span(64, 6400, 90), span(3, 300, 10)]);
        let text = "10 % of step time below 8 decoding sequences, the least seen (down to 3)";
        assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), [text]);
        assert_eq!(after(&[span(64, 6400, 96), span(3, 300, 4)]), []);
    }

    #[test]
    fn prompts_of_other_lengths_are_said() {
        let mut beyond = BeyondSeen::default();
        for tokens in [20, 95, 1000, 2100, 4000, 5000, 300, 300, 300, 300] {
            beyond.add_prompt(&SEEN, tokens);
        }
        let found: Vec<String> = beyond.extrapolations(&SEEN).iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "20 % of prompts beyond 2000 tokens, the most seen (up to 5000)",
                "10 % of prompts below 100 tokens, the least seen (down to 20)"
            ]
        );
    }
}
