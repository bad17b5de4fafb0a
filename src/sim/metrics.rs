//! The engine's metrics.

use std::{
    collections::VecDeque,
    time::{Duration, SystemTime},
};

use super::{
    histogram::{
        ANSWER_COUNT_BOUNDS, CumulativeHistogram, ITL_BOUNDS, PREEMPTION_BOUNDS, REQUEST_TIME_BOUNDS,
        STEP_TOKEN_BOUNDS, TTFT_BOUNDS,
    },
    scheduler::SchedulerLoad,
};
use crate::sim::output_plan::SimFinishReason;

mod adapters;
mod exposition;
pub(super) use crate::sim::metrics::exposition::PageSettings;
use adapters::AdapterLoad;

/// The number of requests over which the prefix cache's hit rate is computed, as in vLLM.
const HIT_RATE_WINDOW: usize = 1000;

/// The statistics of a finished request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FinishedRequest {
    pub prompt_tokens: usize,
    pub cached: usize,
    pub output_tokens: usize,
    pub max_tokens: usize,
    pub preemptions: u32,
    /// The time from the request's arrival to its last token.
    pub e2e: Duration,
    /// The time from the scheduler's queue to the first step.
    pub queue: Duration,
    /// The time from the first step to the first token.
    pub prefill: Duration,
    /// The time from the first token to the last.
    pub decode: Duration,
}

impl FinishedRequest {
    /// Creates the statistics of a request that has just arrived.
    pub(super) fn new(prompt_tokens: usize, max_tokens: usize) -> Self {
        Self { prompt_tokens, max_tokens, ..Self::default() }
    }
}

/// Finished requests by finish reason.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FinishCounts {
    pub stop: u64,
    pub length: u64,
    pub abort: u64,
}

/// Token rates of the last statistics interval, in tokens per second.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Throughput {
    pub prompt: f64,
    pub generation: f64,
}

/// All metrics of the engine.
pub(super) struct EngineMetrics {
    pub load: SchedulerLoad,
    pub preemptions: u64,
    pub prompt_tokens: u64,
    pub cached_tokens: u64,
    pub generation_tokens: u64,
    pub prefix_queries: u64,
    pub prefix_hits: u64,
    pub finished: FinishCounts,
    /// The writer of the statistics line sets this.
    pub throughput: Throughput,
    pub adapters: AdapterLoad,
    recent_lookups: VecDeque<(usize, usize)>,
    created: SystemTime,
    ttft: CumulativeHistogram,
    itl: CumulativeHistogram,
    tpot: CumulativeHistogram,
    e2e: CumulativeHistogram,
    queue: CumulativeHistogram,
    inference: CumulativeHistogram,
    prefill: CumulativeHistogram,
    decode: CumulativeHistogram,
    request_prompt: CumulativeHistogram,
    request_generation: CumulativeHistogram,
    request_max_tokens: CumulativeHistogram,
    request_computed: CumulativeHistogram,
    request_preemptions: CumulativeHistogram,
    answers: CumulativeHistogram,
    step_tokens: CumulativeHistogram,
}

impl EngineMetrics {
    /// Creates metrics without counts; `max_model_len` bounds the token histograms.
    pub(super) fn new(max_model_len: usize) -> Self {
        let tokens = || CumulativeHistogram::for_token_counts(max_model_len);
        let request = || CumulativeHistogram::new(REQUEST_TIME_BOUNDS);
        Self {
            load: SchedulerLoad::default(),
            preemptions: 0,
            prompt_tokens: 0,
            cached_tokens: 0,
            generation_tokens: 0,
            prefix_queries: 0,
            prefix_hits: 0,
            finished: FinishCounts::default(),
            throughput: Throughput::default(),
            adapters: AdapterLoad::default(),
            recent_lookups: VecDeque::new(),
            created: SystemTime::now(),
            ttft: CumulativeHistogram::new(TTFT_BOUNDS),
            itl: CumulativeHistogram::new(ITL_BOUNDS),
            tpot: CumulativeHistogram::new(ITL_BOUNDS),
            e2e: request(),
            queue: request(),
            inference: request(),
            prefill: request(),
            decode: request(),
            request_prompt: tokens(),
            request_generation: tokens(),
            request_max_tokens: tokens(),
            request_computed: tokens(),
            request_preemptions: CumulativeHistogram::new(PREEMPTION_BOUNDS),
            answers: CumulativeHistogram::new(ANSWER_COUNT_BOUNDS),
            step_tokens: CumulativeHistogram::new(STEP_TOKEN_BOUNDS),
        }
    }

    /// Records that a request runs for the first time; `cached` of its prompt tokens need no computation.
    pub(super) fn record_admission(&mut self, prompt_tokens: usize, cached: usize) {
        self.prefix_queries += prompt_tokens as u64;
        self.prefix_hits += cached as u64;
        self.recent_lookups.push_back((prompt_tokens, cached));
        if self.recent_lookups.len() > HIT_RATE_WINDOW {
            self.recent_lookups.pop_front();
        }
    }

    /// Records a completed step.
    pub(super) fn record_step(&mut self, computed: usize) {
        self.step_tokens.observe(computed as f64);
    }

    /// Records a completed prompt.
    pub(super) fn record_prompt(&mut self, request: &FinishedRequest) {
        self.prompt_tokens += request.prompt_tokens as u64;
        self.cached_tokens += request.cached as u64;
    }

    /// Records a request's first token.
    pub(super) fn record_first_token(&mut self, since_arrival: Duration) {
        self.ttft.observe(since_arrival.as_secs_f64());
    }

    /// Records a request's further token.
    pub(super) fn record_next_token(&mut self, since_last: Duration) {
        self.itl.observe(since_last.as_secs_f64());
    }

    /// Records a request that was dropped before its end.
    pub(super) fn record_abort(&mut self) {
        self.finished.abort += 1;
    }

    /// Records a request that has all its tokens.
    pub(super) fn record_finished(&mut self, story: &FinishedRequest, finish: SimFinishReason) {
        match finish {
            SimFinishReason::Stop => self.finished.stop += 1,
            SimFinishReason::Length => self.finished.length += 1,
        }
        self.e2e.observe(story.e2e.as_secs_f64());
        self.queue.observe(story.queue.as_secs_f64());
        self.inference.observe((story.prefill + story.decode).as_secs_f64());
        self.prefill.observe(story.prefill.as_secs_f64());
        self.decode.observe(story.decode.as_secs_f64());
        if story.output_tokens > 1 {
            self.tpot.observe(story.decode.as_secs_f64() / (story.output_tokens - 1) as f64);
        }
        self.request_prompt.observe(story.prompt_tokens as f64);
        self.request_generation.observe(story.output_tokens as f64);
        self.request_max_tokens.observe(story.max_tokens as f64);
        self.request_computed.observe((story.prompt_tokens - story.cached) as f64);
        self.request_preemptions.observe(f64::from(story.preemptions));
        self.answers.observe(1.0);
    }

    /// Returns the prefix cache's hits over its queries in the last thousand requests; `None` before the first.
    pub(super) fn hit_rate(&self) -> Option<f64> {
        let (queries, hits) =
            self.recent_lookups.iter().fold((0, 0), |(all, hit), (query, found)| (all + query, hit + found));
        (queries > 0).then(|| hits as f64 / queries as f64)
    }
}
