//! What vLLM says of itself when it starts.

use std::collections::BTreeMap;

use serde::Serialize;

use super::fields::{count, quantity};
use crate::core::units::Secret;

/// What a start told. Each line tells a part; [`StartUp::absorb`] puts them together.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct StartUp {
    /// vLLM's version.
    pub version: Option<String>,
    /// Whether an engine says here that it starts: there is one such line a start (and engine).
    #[serde(skip)]
    pub begins: bool,
    /// Tokens that the KV cache holds.
    pub kv_tokens: Option<u64>,
    /// Blocks of the KV cache, where the log counts blocks.
    pub gpu_blocks: Option<u64>,
    /// How many requests fit.
    pub concurrency: Option<Concurrency>,
    /// What the operator set, as Python writes it; secrets are masked.
    pub arguments: BTreeMap<String, String>,
    /// What the engine made of it: the settings that matter for speed and memory.
    pub settings: BTreeMap<String, String>,
}

/// How many requests of the longest kind the KV cache holds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Concurrency {
    /// Tokens of such a request: the longest that the model allows.
    pub tokens_per_request: u64,
    /// How many.
    pub requests: f64,
}

impl StartUp {
    /// Adds what another line told; what is said twice is as said last.
    pub fn absorb(&mut self, other: Self) {
        fn newer<T>(old: &mut Option<T>, new: Option<T>) {
            if new.is_some() {
                *old = new;
            }
        }
        newer(&mut self.version, other.version);
        newer(&mut self.kv_tokens, other.kv_tokens);
        newer(&mut self.gpu_blocks, other.gpu_blocks);
        newer(&mut self.concurrency, other.concurrency);
        merge(&mut self.arguments, other.arguments);
        merge(&mut self.settings, other.settings);
    }

    /// Whether nothing was told.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Settings that are kept of one start.
const MOST_SETTINGS: usize = 100;

/// Characters of a setting that are kept.
const LONGEST_SETTING: usize = 200;

/// Adds, as long as there is room.
fn merge(into: &mut BTreeMap<String, String>, from: BTreeMap<String, String>) {
    for (key, value) in from {
        if into.len() < MOST_SETTINGS || into.contains_key(&key) {
            into.insert(key, value);
        }
    }
}

/// Settings of an engine that matter for speed and memory, as its configuration calls them.
const TELLING: [&str; 22] = [
    "model",
    "dtype",
    "quantization",
    "max_seq_len",
    "max_model_len",
    "max_num_seqs",
    "max_num_batched_tokens",
    "gpu_memory_utilization",
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "data_parallel_size",
    "kv_cache_dtype",
    "block_size",
    "swap_space",
    "cpu_offload_gb",
    "enforce_eager",
    "enable_prefix_caching",
    "enable_chunked_prefill",
    "num_scheduler_steps",
    "scheduler_delay_factor",
    "preemption_mode",
    "speculative_config",
];

/// Arguments that are never repeated.
const SECRETS: [&str; 4] = ["api_key", "hf_token", "ssl_keyfile_password", "watermark_config"];

/// Reads what follows `KV cache size: `; since v0.21, the concurrency follows in the same line.
pub(super) fn kv_cache(text: &str) -> Option<StartUp> {
    let kv_tokens = Some(count(text, " tokens")?);
    let mark = "Maximum concurrency for ";
    let merged = text.find(mark).map(|at| concurrency(&text[at + mark.len()..]));
    Some(StartUp { kv_tokens, ..merged.unwrap_or_else(|| Some(StartUp::default()))? })
}

/// Reads what follows `# GPU blocks: `.
pub(super) fn blocks(text: &str) -> Option<StartUp> {
    Some(StartUp { gpu_blocks: Some(plain_count(text)?), ..StartUp::default() })
}

fn plain_count(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

/// Reads what follows `Maximum concurrency for `.
pub(super) fn concurrency(text: &str) -> Option<StartUp> {
    let (tokens, rest) = text.split_once(" tokens per request: ")?;
    let found = Concurrency { tokens_per_request: count(tokens, "")?, requests: quantity(rest, "x")? };
    Some(StartUp { concurrency: Some(found), ..StartUp::default() })
}

/// Reads what follows `non-default args: `: a dictionary.
pub(super) fn arguments(text: &str) -> Option<StartUp> {
    let inside = text.trim().strip_prefix('{')?;
    let arguments = pieces(inside, '}').filter_map(|piece| setting(piece, ':')).collect();
    Some(StartUp { arguments, ..StartUp::default() })
}

/// Reads what follows `args: Namespace(`: all arguments, set or not, of which those that matter are kept (before v0.8.5).
pub(super) fn namespace(text: &str) -> Option<StartUp> {
    Some(StartUp { arguments: telling(text, ')'), ..StartUp::default() })
}

/// Reads what follows `Chunked prefill is enabled with `.
pub(super) fn chunked_prefill(text: &str) -> Option<StartUp> {
    let (key, value) = text.trim_end().trim_end_matches('.').split_once('=')?;
    Some(StartUp { settings: BTreeMap::from([(shortened(key), shortened(value))]), ..StartUp::default() })
}

/// Reads what follows ` LLM engine (v`: the version, and the configuration.
pub(super) fn engine(text: &str) -> Option<StartUp> {
    let (version, rest) = text.split_once(')')?;
    let (_, settings) = rest.split_once("config: ")?;
    Some(StartUp { version: Some(shortened(version)), ..configuration(settings)? })
}

/// Reads what follows ` LLM engine with config: `, as it was before v0.3.1.
pub(super) fn configuration(text: &str) -> Option<StartUp> {
    Some(StartUp { begins: true, settings: telling(text, ')'), ..StartUp::default() })
}

/// The settings among `key=value` pieces that matter and are set.
fn telling(text: &str, end: char) -> BTreeMap<String, String> {
    let all = pieces(text, end).filter_map(|piece| setting(piece, '='));
    all.filter(|(key, value)| TELLING.contains(&key.as_str()) && value != "None").collect()
}

/// Reads what follows `LLM API server version `.
pub(super) fn server(text: &str) -> Option<StartUp> {
    let version = text.split_whitespace().next()?;
    Some(StartUp { version: Some(shortened(version)), ..StartUp::default() })
}

/// A key and its value, without the quotes around them.
fn setting(piece: &str, between: char) -> Option<(String, String)> {
    let (key, value) = piece.split_once(between)?;
    let key = unquoted(key);
    let value = if SECRETS.contains(&key) { Secret::MASK } else { unquoted(value) };
    Some((shortened(key), shortened(value)))
}

fn unquoted(text: &str) -> &str {
    text.trim().trim_matches(['\'', '"'])
}

fn shortened(text: &str) -> String {
    text.chars().take(LONGEST_SETTING).collect()
}

/// The pieces between commas that stand in no quotes and no brackets, up to `end`.
fn pieces(text: &str, end: char) -> impl Iterator<Item = &str> {
    let (mut depth, mut quote, mut done) = (0u32, None, false);
    text.split(move |c: char| {
        match (quote, c) {
            _ if done => return false,
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, c) if c == end && depth == 0 => {
                done = true;
                return true;
            }
            (None, '(' | '[' | '{') => depth += 1,
            (None, ')' | ']' | '}') => depth = depth.saturating_sub(1),
            (None, c) => return c == ',' && depth == 0,
        }
        false
    })
    .filter(|piece| !piece.trim().is_empty())
}
