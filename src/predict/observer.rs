//! What a simulation reports: each answer, and each step.

use super::{step_time::SteadyDurations, ticks::Ticks};
use crate::sim::scheduler::{SchedulerLoad, StepWork};

/// A request that a simulated server has answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SimulatedAnswer {
    /// The request's number.
    pub index: u64,
    pub replica: u32,
    pub session: Option<u32>,
    pub prompt: u32,
    pub output: u32,
    /// When the request was to be sent.
    pub due: Ticks,
    /// When it was sent: later than `due` if a cap on concurrency held it back.
    pub sent: Ticks,
    /// When it entered the server's queue: after the server's own time for the request.
    pub queued: Ticks,
    /// The start of its first step.
    pub scheduled: Ticks,
    pub first_token: Ticks,
    pub last_token: Ticks,
    /// Prompt tokens from the prefix cache.
    pub cached: u32,
    pub preemptions: u32,
    /// The number, among the replica's steps from 0, of the step that generated the first token.
    pub first_step: u64,
    /// The number of the step that generated the last token.
    pub last_step: u64,
    /// The number of sequences that got a token in the step of the first one.
    pub first_batch: u32,
    /// The number of sequences that got a token in the step of the last one.
    pub last_batch: u32,
}

/// Steps of a replica, one after the other: one step of any work, or several that only decode.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StepSpan<'a> {
    pub replica: u32,
    /// The number of the first step among the replica's steps.
    #[allow(dead_code, reason = "tests check that no step is missing")]
    pub ordinal: u64,
    pub start: Ticks,
    /// The number of steps, at least 1.
    pub steps: u64,
    /// The work of the first step. Each further step reads `decode_seqs` more `kv_tokens`.
    pub first: StepWork,
    /// The number of its `decode_seqs` that get their first token, because another server computed their prompts.
    pub first_tokens: usize,
    pub durations: SpanDurations<'a>,
    /// The load at the start.
    pub load: SchedulerLoad,
}

/// The durations of a span's steps.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SpanDurations<'a> {
    Steady(SteadyDurations),
    /// The end of each step, counted from the span's start.
    Ends(&'a [Ticks]),
}

impl StepSpan<'_> {
    /// The duration of all steps.
    pub(crate) fn total(&self) -> Ticks {
        match self.durations {
            SpanDurations::Steady(steady) => steady.total(self.steps),
            SpanDurations::Ends(ends) => ends.last().copied().unwrap_or_default(),
        }
    }

    /// The duration of the step number `step` of the span, from 0.
    pub(crate) fn duration(&self, step: u64) -> Ticks {
        match self.durations {
            SpanDurations::Steady(steady) => steady.duration(step),
            SpanDurations::Ends(ends) => {
                let before = step.checked_sub(1).map_or(Ticks::ZERO, |before| ends[before as usize]);
                ends[step as usize] - before
            }
        }
    }
}

/// Receives what happens in a simulation. A closure that takes answers is one.
pub(crate) trait SimulationObserver {
    /// An answer is complete. Answers of all replicas come in the order of their ends.
    fn on_answer(&mut self, answer: &SimulatedAnswer);

    /// Steps have ended. The spans of a replica come in order; those of different replicas overlap.
    ///
    /// Each of a step's `decode_seqs` but the `first_tokens` got its next token at the step's end, and the token before at
    /// its start.
    fn on_steps(&mut self, _span: &StepSpan<'_>) {}

    /// A sequence that was preempted between two tokens got the second one. No span's `decode_seqs` counts it.
    fn on_interruption(&mut self, _gap: Ticks) {}
}

impl<F: FnMut(&SimulatedAnswer)> SimulationObserver for F {
    fn on_answer(&mut self, answer: &SimulatedAnswer) {
        self(answer);
    }
}
