//! vLLM's start-up lines.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::model::secrets::is_secret_key;
use crate::model::units::Secret;
use crate::server::log::key_values::{count, quantity};

/// Facts about a server's start. Each line states some of them; [`StartupInfo::absorb`] combines them.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct StartupInfo {
    /// vLLM's version.
    pub version: Option<String>,
    /// Whether an engine announces its start here. There is one such line for each start and engine.
    #[serde(skip)]
    pub begins: bool,
    /// Tokens that the KV cache holds.
    pub kv_tokens: Option<u64>,
    /// Blocks of the KV cache, if the log counts blocks.
    pub gpu_blocks: Option<u64>,
    /// How many requests of the maximum length fit in the KV cache.
    pub concurrency: Option<MaxConcurrency>,
    /// The operator's arguments, as Python prints them. Secrets are masked.
    pub arguments: BTreeMap<String, String>,
    /// The engine's resolved settings that matter for speed and memory.
    pub settings: BTreeMap<String, String>,
}

/// How many requests of the maximum length the KV cache holds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct MaxConcurrency {
    /// Tokens of such a request: the model's maximum length.
    pub tokens_per_request: u64,
    /// The number of such requests.
    pub requests: f64,
}

impl StartupInfo {
    /// Adds the facts of another line. The later statement of a fact counts.
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

    /// Whether no fact is known.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Settings of one start that are kept.
const MAX_SETTINGS: usize = 100;

/// Characters of a setting's value that are kept.
const MAX_SETTING_CHARS: usize = 200;

/// Adds settings up to [`MAX_SETTINGS`].
fn merge(into: &mut BTreeMap<String, String>, from: BTreeMap<String, String>) {
    for (key, value) in from {
        if into.len() < MAX_SETTINGS || into.contains_key(&key) {
            into.insert(key, value);
        }
    }
}

/// Engine settings that matter for speed and memory, under their names in the engine's configuration.
const RELEVANT_SETTINGS: [&str; 23] = [
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
    "device_config",
    "enable_prefix_caching",
    "enable_chunked_prefill",
    "num_scheduler_steps",
    "scheduler_delay_factor",
    "preemption_mode",
    "speculative_config",
];

/// Arguments that are dropped, since they are secret.
const SECRET_ARGUMENTS: [&str; 1] = ["watermark_config"];

/// Parses the text after `KV cache size: `. Since v0.21, the concurrency follows on the same line.
pub(super) fn kv_cache(text: &str) -> Option<StartupInfo> {
    let kv_tokens = Some(count(text, " tokens")?);
    let mark = "Maximum concurrency for ";
    let merged = text.find(mark).map(|at| concurrency(&text[at + mark.len()..]));
    Some(StartupInfo { kv_tokens, ..merged.unwrap_or_else(|| Some(StartupInfo::default()))? })
}

/// Parses the text after `# GPU blocks: `.
pub(super) fn blocks(text: &str) -> Option<StartupInfo> {
    Some(StartupInfo { gpu_blocks: Some(plain_count(text)?), ..StartupInfo::default() })
}

fn plain_count(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

/// Parses the text after `Maximum concurrency for `.
pub(super) fn concurrency(text: &str) -> Option<StartupInfo> {
    let (tokens, rest) = text.split_once(" tokens per request: ")?;
    let found = MaxConcurrency { tokens_per_request: count(tokens, "")?, requests: quantity(rest, "x")? };
    Some(StartupInfo { concurrency: Some(found), ..StartupInfo::default() })
}

/// Parses the text after `non-default args: `: a dictionary.
pub(super) fn arguments(text: &str) -> Option<StartupInfo> {
    let inside = text.trim().strip_prefix('{')?;
    let arguments = split_pieces(inside, '}').filter_map(|piece| parse_setting(piece, ':')).collect();
    Some(StartupInfo { arguments, ..StartupInfo::default() })
}

/// Parses the text after `args: Namespace(`: all arguments, set or not. Keeps those that matter (before v0.8.5).
pub(super) fn namespace(text: &str) -> Option<StartupInfo> {
    Some(StartupInfo { arguments: relevant_settings(text, ')'), ..StartupInfo::default() })
}

/// Parses the text after `Chunked prefill is enabled with `.
pub(super) fn chunked_prefill(text: &str) -> Option<StartupInfo> {
    let (key, value) = text.trim_end().trim_end_matches('.').split_once('=')?;
    Some(StartupInfo {
        settings: BTreeMap::from([(shortened(key), shortened(value))]),
        ..StartupInfo::default()
    })
}

/// Parses the text after ` LLM engine (v`: the version and the configuration.
pub(super) fn engine(text: &str) -> Option<StartupInfo> {
    let (version, rest) = text.split_once(')')?;
    let (_, settings) = rest.split_once("config: ")?;
    Some(StartupInfo { version: Some(shortened(version)), ..configuration(settings)? })
}

/// Parses the text after ` LLM engine with config: `, the format before v0.3.1.
pub(super) fn configuration(text: &str) -> Option<StartupInfo> {
    Some(StartupInfo { begins: true, settings: relevant_settings(text, ')'), ..StartupInfo::default() })
}

/// Returns the relevant settings that are set among `key=value` parts.
fn relevant_settings(text: &str, end: char) -> BTreeMap<String, String> {
    let all = split_pieces(text, end).filter_map(|piece| parse_setting(piece, '='));
    all.filter(|(key, value)| RELEVANT_SETTINGS.contains(&key.as_str()) && value != "None").collect()
}

/// Parses the text after `LLM API server version `.
pub(super) fn server(text: &str) -> Option<StartupInfo> {
    let version = text.split_whitespace().next()?;
    Some(StartupInfo { version: Some(shortened(version)), ..StartupInfo::default() })
}

/// Splits a part into key and value, without the quotes around them.
fn parse_setting(piece: &str, between: char) -> Option<(String, String)> {
    let (key, value) = piece.split_once(between)?;
    let key = unquoted(key);
    let value =
        if SECRET_ARGUMENTS.contains(&key) || is_secret_key(key) { Secret::MASK } else { unquoted(value) };
    Some((shortened(key), shortened(value)))
}

fn unquoted(text: &str) -> &str {
    text.trim().trim_matches(['\'', '"'])
}

fn shortened(text: &str) -> String {
    text.chars().take(MAX_SETTING_CHARS).collect()
}

/// Splits at commas outside quotes and brackets, up to `end`.
fn split_pieces(text: &str, end: char) -> impl Iterator<Item = &str> {
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
