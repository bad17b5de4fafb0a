//! The server's token counts, under every name and in every place that servers use. `docs/answers.md` lists them.

use super::object::{LenientCount, LenientNumber, object};
use super::server_times::millis;
use crate::model::record::ServerTimes;

/// The token counts that the server reports. A zero counts as absent: some servers send zeros until the last event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TokenUsage {
    /// The number of prompt tokens, including those of the chat template.
    pub prompt_tokens: Option<u32>,
    /// The number of tokens generated so far.
    pub completion_tokens: Option<u32>,
    /// The number of prompt tokens that came from the prefix cache; may be zero.
    pub cached_tokens: Option<u32>,
    /// The number of generated tokens that are reasoning, streamed or not.
    pub reasoning_tokens: Option<u32>,
}

impl TokenUsage {
    /// Creates a usage; `None` if both counts are absent.
    pub fn new(prompt_tokens: Option<u32>, completion_tokens: Option<u32>) -> Option<Self> {
        let [prompt_tokens, completion_tokens] =
            [prompt_tokens, completion_tokens].map(|count| count.filter(|&count| count > 0));
        let is_told = prompt_tokens.is_some() || completion_tokens.is_some();
        is_told.then_some(Self { prompt_tokens, completion_tokens, ..Self::default() })
    }

    /// Sets the number of prompt tokens that came from the prefix cache.
    pub fn with_cached(self, cached_tokens: Option<u32>) -> Self {
        Self { cached_tokens, ..self }
    }

    /// Sets the number of generated tokens that are reasoning.
    pub fn with_reasoning(self, reasoning_tokens: Option<u32>) -> Self {
        Self { reasoning_tokens, ..self }
    }

    /// This usage, with absent counts taken from another usage.
    pub fn merged_with(self, other: Option<Self>) -> Self {
        let other = other.unwrap_or_default();
        Self {
            prompt_tokens: self.prompt_tokens.or(other.prompt_tokens),
            completion_tokens: self.completion_tokens.or(other.completion_tokens),
            cached_tokens: self.cached_tokens.or(other.cached_tokens),
            reasoning_tokens: self.reasoning_tokens.or(other.reasoning_tokens),
        }
    }

    /// The first usage that is present, with absent counts taken from the later ones.
    pub fn merge_all(counts: impl IntoIterator<Item = Option<Self>>) -> Option<Self> {
        counts.into_iter().flatten().reduce(|first, other| first.merged_with(Some(other)))
    }
}

object! {
    /// A `usage` object.
    pub(crate) struct UsageObject<'a> {
        prompt_tokens: LenientCount = "prompt_tokens",
        /// The name in OpenAI's responses API, mlx-vlm, and Anthropic's messages API.
        input_tokens: LenientCount = "input_tokens",
        completion_tokens: LenientCount = "completion_tokens",
        output_tokens: LenientCount = "output_tokens",
        pub(super) total_tokens: LenientCount = "total_tokens",
        prompt_details: PromptDetails<'a> = "prompt_tokens_details",
        input_details: PromptDetails<'a> = "input_tokens_details",
        completion_details: OutputDetails<'a> = "completion_tokens_details",
        output_details: OutputDetails<'a> = "output_tokens_details",
        /// Moonshot's field.
        cached_tokens: LenientCount = "cached_tokens",
        /// DeepSeek's field.
        cache_hits: LenientCount = "prompt_cache_hit_tokens",
        /// The field of Anthropic and Bedrock.
        cache_reads: LenientCount = "cache_read_input_tokens",
        /// SGLang's field, next to the counts.
        reasoning_tokens: LenientCount = "reasoning_tokens",
    }
}

object! {
    struct PromptDetails<'a> {
        cached_tokens: LenientCount = "cached_tokens",
    }
}

object! {
    struct OutputDetails<'a> {
        reasoning_tokens: LenientCount = "reasoning_tokens",
    }
}

object! {
    /// The work that llama.cpp's server reports. Without `stream_options`, this is its only usage.
    pub(crate) struct LlamaCppTimings<'a> {
        /// The number of prompt tokens without cached ones.
        prompt_n: LenientCount = "prompt_n",
        cache_n: LenientCount = "cache_n",
        predicted_n: LenientCount = "predicted_n",
        prompt_ms: LenientNumber = "prompt_ms",
        predicted_ms: LenientNumber = "predicted_ms",
    }
}

impl UsageObject<'_> {
    /// The token counts; `None` if the object has none.
    pub(crate) fn usage(&self) -> Option<TokenUsage> {
        let is_count = |count: &LenientCount| count.0.is_some_and(|count| count > 0);
        let first = |names: &[LenientCount]| names.iter().copied().find(is_count).and_then(|count| count.0);
        let told = |names: &[LenientCount]| names.iter().find_map(|count| count.0);
        let cached = told(&[
            self.prompt_details.cached_tokens,
            self.input_details.cached_tokens,
            self.cached_tokens,
            self.cache_hits,
            self.cache_reads,
        ]);
        let reasoning = told(&[
            self.completion_details.reasoning_tokens,
            self.output_details.reasoning_tokens,
            self.reasoning_tokens,
        ]);
        let prompt = first(&[self.prompt_tokens, self.input_tokens]);
        let output = first(&[self.completion_tokens, self.output_tokens]);
        TokenUsage::new(prompt, output).map(|usage| usage.with_cached(cached).with_reasoning(reasoning))
    }
}

impl LlamaCppTimings<'_> {
    /// The token counts; `None` if the object has none.
    pub(crate) fn usage(&self) -> Option<TokenUsage> {
        let prompt = self.prompt_n.0.map(|count| count.saturating_add(self.cache_n.0.unwrap_or_default()));
        TokenUsage::new(prompt, self.predicted_n.0).map(|usage| usage.with_cached(self.cache_n.0))
    }

    /// The times of the two phases; the server does not report how long the request waited for a slot.
    pub(super) fn server_times(&self) -> ServerTimes {
        ServerTimes::new(None, millis(self.prompt_ms), millis(self.predicted_ms))
    }
}
