//! What the engine counts, and the page on which it tells.

use std::{
    collections::VecDeque,
    time::{Duration, SystemTime},
};

use super::{
    histogram::{ANSWERS, FIRST_TOKEN, Histogram, NEXT_TOKEN, PREEMPTIONS, REQUEST, STEP_TOKENS},
    plan::Finish,
    scheduler::Load,
};

mod adapters;
mod page;
use adapters::Adapters;
pub(super) use page::Facts;

/// Requests over which the hit rate of the prefix cache is taken, as in vLLM.
const HIT_RATE_WINDOW: usize = 1000;

/// The story of a finished request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Retired {
    pub prompt_tokens: usize,
    pub cached: usize,
    pub output_tokens: usize,
    pub max_tokens: usize,
    pub preemptions: u32,
    /// From the request's arrival to its last token.
    pub e2e: Duration,
    /// From the scheduler's queue to the first step.
    pub queue: Duration,
    /// From the first step to the first token.
    pub prefill: Duration,
    /// From the first token to the last.
    pub decode: Duration,
}

impl Retired {
    /// What is known when a request comes in.
    pub(super) fn of(prompt_tokens: usize, max_tokens: usize) -> Self {
        Self { prompt_tokens, max_tokens, ..Self::default() }
    }
}

/// Finished requests by reason.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Finished {
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

/// Everything the engine counts.
pub(super) struct Metrics {
    pub load: Load,
    pub preemptions: u64,
    pub prompt_tokens: u64,
    pub cached_tokens: u64,
    pub generation_tokens: u64,
    pub prefix_queries: u64,
    pub prefix_hits: u64,
    pub finished: Finished,
    /// Set by whoever writes the statistics line.
    pub throughput: Throughput,
    pub adapters: Adapters,
    recent_lookups: VecDeque<(usize, usize)>,
    created: SystemTime,
    ttft: Histogram,
    itl: Histogram,
    tpot: Histogram,
    e2e: Histogram,
    queue: Histogram,
    inference: Histogram,
    prefill: Histogram,
    decode: Histogram,
    request_prompt: Histogram,
    request_generation: Histogram,
    request_max_tokens: Histogram,
    request_computed: Histogram,
    request_preemptions: Histogram,
    answers: Histogram,
    step_tokens: Histogram,
}

impl Metrics {
    /// Nothing counted yet; `max_model_len` bounds the histograms of tokens.
    pub(super) fn new(max_model_len: usize) -> Self {
        let tokens = || Histogram::of_tokens(max_model_len);
        let request = || Histogram::new(REQUEST);
        Self {
            load: Load::default(),
            preemptions: 0,
            prompt_tokens: 0,
            cached_tokens: 0,
            generation_tokens: 0,
            prefix_queries: 0,
            prefix_hits: 0,
            finished: Finished::default(),
            throughput: Throughput::default(),
            adapters: Adapters::default(),
            recent_lookups: VecDeque::new(),
            created: SystemTime::now(),
            ttft: Histogram::new(FIRST_TOKEN),
            itl: Histogram::new(NEXT_TOKEN),
            tpot: Histogram::new(NEXT_TOKEN),
            e2e: request(),
            queue: request(),
            inference: request(),
            prefill: request(),
            decode: request(),
            request_prompt: tokens(),
            request_generation: tokens(),
            request_max_tokens: tokens(),
            request_computed: tokens(),
            request_preemptions: Histogram::new(PREEMPTIONS),
            answers: Histogram::new(ANSWERS),
            step_tokens: Histogram::new(STEP_TOKENS),
        }
    }

    /// A request runs for the first time; `cached` of its prompt's tokens need not be computed.
    pub(super) fn admit(&mut self, prompt_tokens: usize, cached: usize) {
        self.prefix_queries += prompt_tokens as u64;
        self.prefix_hits += cached as u64;
        self.recent_lookups.push_back((prompt_tokens, cached));
        if self.recent_lookups.len() > HIT_RATE_WINDOW {
            self.recent_lookups.pop_front();
        }
    }

    /// A step is over.
    pub(super) fn step(&mut self, computed: usize) {
        self.step_tokens.observe(computed as f64);
    }

    /// A request has its whole prompt computed.
    pub(super) fn prompt_done(&mut self, request: &Retired) {
        self.prompt_tokens += request.prompt_tokens as u64;
        self.cached_tokens += request.cached as u64;
    }

    /// A request has its first token.
    pub(super) fn first_token(&mut self, since_arrival: Duration) {
        self.ttft.observe(since_arrival.as_secs_f64());
    }

    /// A request has another token.
    pub(super) fn next_token(&mut self, since_last: Duration) {
        self.itl.observe(since_last.as_secs_f64());
    }

    /// A request was dropped before its end.
    pub(super) fn abort(&mut self) {
        self.finished.abort += 1;
    }

    /// A request has all its tokens.
    pub(super) fn retire(&mut self, story: &Retired, finish: Finish) {
        match finish {
            Finish::Stop => self.finished.stop += 1,
            Finish::Length => self.finished.length += 1,
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

    /// The prefix cache's hits over its queries in the last thousand requests; `None` before the first.
    pub(super) fn hit_rate(&self) -> Option<f64> {
        let (queries, hits) =
            self.recent_lookups.iter().fold((0, 0), |(all, hit), (query, found)| (all + query, hit + found));
        (queries > 0).then(|| hits as f64 / queries as f64)
    }
}
