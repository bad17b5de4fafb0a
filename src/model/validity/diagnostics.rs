//! Diagnostics of a run that only the load generator has.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::seconds;

/// Diagnostics of the client, its machine and the server during a run. [`RunDiagnostics::default`] has none.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct RunDiagnostics {
    /// The source of the receive timestamps; `None` if unknown.
    pub timestamp_source: Option<TimestampSource>,
    /// The 99th percentile of the client's read time − the timestamp; `None` if it was not measured.
    pub read_delay: Option<Duration>,
    /// The share of output events whose read held another output event before them; `None` without events.
    pub merged_reads: Option<f64>,
    /// The share of answers with several output events whose first event arrived in one read with the next; `None`
    /// without such answers.
    pub burst_starts: Option<f64>,
    /// The effect of the server's profiler on the run; `None` if it was not on.
    pub profiler_effect: Option<ProfilerEffect>,
    /// The server's own times, if it reports them for our requests alone.
    pub server_times: Option<ServerMeanLatencies>,
    /// The server's means of its own times, if it reports them for our requests alone.
    pub server_parts: Option<ServerPartMeans>,
    /// Each worker's CPU time over the run's time: 1 is a core kept busy throughout.
    pub worker_cpu: Vec<f64>,
    /// The largest step of the wall clock relative to the monotonic one; `None` if it was not measured.
    pub clock_step: Option<Duration>,
    /// Requests that failed because the client's machine had no file descriptor or port left.
    pub starved: usize,
    /// The limit of file descriptors of this process.
    pub descriptor_limit: Option<u64>,
    /// The increase of the server's prefix-cache counters; `None` if it has none.
    pub prefix_cache: Option<PrefixCacheCounts>,
    /// Requests whose prompt was sent before in this run; of generated prompts, those that share their first block with
    /// an earlier one.
    pub repeated_prompts: usize,
    /// Errors in the client itself that ended the run early.
    pub client_errors: Vec<String>,
    /// |usage − tokenizer| / usage over all output tokens that both counted; `None` if they did not both count.
    pub token_disagreement: Option<f64>,
    /// The tokens that the server's chat template adds; `None` without a template, or where they are not known.
    pub template_tokens: Option<TemplateTokens>,
    /// The actual lengths of estimated prompts; `None` if a tokenizer counted them, or the server did not.
    pub estimated_prompts: Option<EstimatedPrompts>,
    /// The answers' lengths compared to the requests; `None` if they were not compared.
    pub lengths: Option<OutputLengths>,
    /// The server's counts of output tokens compared with the texts.
    pub text_claims: TextClaims,
    /// Answers that the next turn of their session repeats, and the number of empty ones.
    pub repeated_answers: EmptyAnswers,
    /// The clients of a run that several clients sent; empty for a run of one client.
    pub shards: Vec<ShardDiagnostics>,
}

/// One of several clients that sent a run together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShardDiagnostics {
    /// The index of its shard.
    pub index: usize,
    /// How much later than the earliest client it began, by its wall clock; `None` without a common schedule.
    #[serde(rename = "start_s", with = "seconds::option")]
    pub start: Option<Duration>,
    /// The largest error of the relation between its clock and the first client's; `None` if it is not known.
    #[serde(rename = "clock_doubt_s", with = "seconds::option")]
    pub clock_doubt: Option<Duration>,
    /// The 99th percentile of its schedule lag; `None` if it sent nothing.
    #[serde(rename = "lag_s", with = "seconds::option")]
    pub lag: Option<Duration>,
}

/// Answers by the comparison of their tokens to the request and to the received events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OutputLengths {
    /// The number of answers with a token count.
    pub answers: usize,
    /// Answers with more tokens than the request's limit.
    pub longer: LengthComparison,
    /// The number of answers with a minimum length: `ignore_eos`, `min_tokens`.
    pub bound: usize,
    /// Answers with fewer tokens than their minimum.
    pub shorter: LengthComparison,
    /// The number of answers whose tokens the server counted.
    pub by_usage: usize,
    /// Answers whose usage is above the limit, although they have no more events than it.
    pub usage_above: LengthComparison,
    /// Answers of the same kind that did not end at a limit. Their texts show whether they are too long, or counted
    /// wrong.
    pub usage_above_at_stop: LengthComparison,
    /// Answers whose usage is below the number of their events with output.
    pub usage_below: LengthComparison,
}

impl OutputLengths {
    /// Adds the comparison of other answers.
    pub(crate) fn merge(&mut self, other: Self) {
        self.answers += other.answers;
        self.longer.merge(other.longer);
        self.bound += other.bound;
        self.shorter.merge(other.shorter);
        self.by_usage += other.by_usage;
        self.usage_above.merge(other.usage_above);
        self.usage_above_at_stop.merge(other.usage_above_at_stop);
        self.usage_below.merge(other.usage_below);
    }

    /// Decides the answers whose usage is above their limit although they stopped: they are too long if the texts are
    /// as long as claimed, and counted wrong otherwise.
    pub(crate) fn resolve_by_text(mut self, claims: &TextClaims) -> Self {
        let doubtful = std::mem::take(&mut self.usage_above_at_stop);
        match claims.are_supported() {
            true => self.longer.merge(doubtful),
            false => self.usage_above.merge(doubtful),
        }
        self
    }
}

/// The server's counts of output tokens compared with the texts, over the answers whose count is above the number of
/// their events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TextClaims {
    /// All of these answers: the claimed tokens, and the bytes of text plus the silent events.
    pub by_bytes: LengthComparison,
    /// Answers that claim more tokens than that, plus the slack.
    pub beyond: LengthComparison,
    /// Answers of the same kind that ended at their token limit: their tokens were generated and have no text.
    pub at_limit: LengthComparison,
    /// The answers whose text was tokenized: the claimed tokens, and those of the text plus the silent events.
    pub by_tokenizer: LengthComparison,
    /// Answers that claim more than twice as many tokens, plus the slack.
    pub beyond_tokenizer: LengthComparison,
}

impl TextClaims {
    /// The number of tokens without text that an answer may have besides those of silent events: the marks of reasoning
    /// and tool calls, and a stop string.
    pub(crate) const SLACK: u32 = 64;

    /// Adds the comparison of other answers.
    pub(crate) fn merge(&mut self, other: Self) {
        self.by_bytes.merge(other.by_bytes);
        self.beyond.merge(other.beyond);
        self.at_limit.merge(other.at_limit);
        self.by_tokenizer.merge(other.by_tokenizer);
        self.beyond_tokenizer.merge(other.beyond_tokenizer);
    }

    /// Whether the texts are about as long as claimed: a token of usual text has two bytes or more.
    pub(crate) fn are_supported(&self) -> bool {
        let (compared, factor) = match self.by_tokenizer.answers {
            0 => (self.by_bytes, 0.5),
            _ => (self.by_tokenizer, 1.25),
        };
        compared.tokens as f64 <= compared.other as f64 * factor
    }
}

/// The sums of two contradictory numbers over a group of answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LengthComparison {
    /// The number of answers.
    pub answers: usize,
    /// The sum of the answers' tokens.
    pub tokens: u64,
    /// The sum of the numbers that the tokens are compared to: the requested tokens, or the events.
    pub other: u64,
}

impl LengthComparison {
    /// Adds one answer.
    pub(crate) fn add(&mut self, tokens: u32, other: u32) {
        self.answers += 1;
        self.tokens += u64::from(tokens);
        self.other += u64::from(other);
    }

    /// Adds a group of answers.
    pub(crate) fn merge(&mut self, more: Self) {
        self.answers += more.answers;
        self.tokens += more.tokens;
        self.other += more.other;
    }

    /// The means per answer.
    pub(crate) fn means(&self) -> (f64, f64) {
        let count = self.answers.max(1) as f64;
        (self.tokens as f64 / count, self.other as f64 / count)
    }
}

/// Answers that the next turn of their session repeats.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EmptyAnswers {
    /// The number of repeated answers.
    pub all: u64,
    /// The number of answers without text for the user.
    pub silent: u64,
}

/// Prompts whose lengths were estimated because there was no tokenizer, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EstimatedPrompts {
    /// The sum of the lengths by the estimate that the workload was generated with.
    pub estimated: u64,
    /// The sum of the lengths by the server's usage.
    pub counted: u64,
}

/// The effect of a profiler on a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProfilerEffect {
    /// How long the profiler was on, or its profile was written, during the run.
    pub on: Duration,
    /// The number of whole seconds without output from the server while it wrote the profile, as a duration.
    pub standstill: Duration,
}

/// Mean latencies that the server measured itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ServerMeanLatencies {
    /// The server's mean TTFT.
    pub ttft: Duration,
    /// The server's mean TPOT.
    pub tpot: Duration,
}

/// The means of a server's own times, by its histograms; `None` for one that it does not have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ServerPartMeans {
    /// The mean time in the queue.
    pub queue: Option<Duration>,
    /// The mean time from the first step to the first token.
    pub prefill: Option<Duration>,
    /// The mean time from the first token to the last.
    pub decode: Option<Duration>,
}

/// The source of receive timestamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimestampSource {
    /// The kernel, when the segment arrived.
    Kernel,
    /// The client's reader, when its read returned: late by the reader's own delay.
    Reader,
}

/// Prefix-cache counters of the server, in prompt tokens, over the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PrefixCacheCounts {
    /// The number of looked-up tokens.
    pub queries: u64,
    /// The number of tokens found.
    pub hits: u64,
    /// The number of tokens that the workload's prompts share, which explains as many hits.
    pub explained: u64,
}

/// Mean tokens of a prompt, by our count, and of what the server's count has beyond it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TemplateTokens {
    /// The tokens of the messages.
    pub prompt: u64,
    /// The tokens that the server counts in addition.
    pub added: u64,
}
