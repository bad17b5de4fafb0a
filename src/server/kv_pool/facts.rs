//! A server's statements about its model and memory, from its start-up log or its page.

use std::collections::BTreeMap;
use std::io::{self, BufRead};

use super::log::{block_size_in_line, number};
use crate::model::server::ServerSignal;
use crate::server::log::{LogEvent, StartupInfo, parse_line};
use crate::server::signals::{MetricsSnapshot, SignalValue};

/// The facts that one source states about a server. If several engines state a fact, the last one counts. Sizes are
/// those of each GPU.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ServerFacts {
    /// Bytes of the weights on each GPU.
    pub weights: Option<u64>,
    /// Bytes of the KV pool on each GPU.
    pub pool_bytes: Option<u64>,
    /// Tokens that the pool of an engine holds.
    pub pool_tokens: Option<u64>,
    /// Tokens in a block.
    pub block_size: Option<u64>,
    /// Tokens of the longest request.
    pub max_model_len: Option<u64>,
    /// The type that the model computes in, such as `bfloat16`.
    pub dtype: Option<String>,
    /// The type of keys and values if it differs from `dtype`; `None` for `auto`.
    pub kv_dtype: Option<String>,
    /// The number of GPUs that share the model by tensor parallelism.
    pub tp: Option<u64>,
    /// The share of the GPU memory that the server takes.
    pub utilization: Option<f64>,
    /// The most requests that the server computes at once.
    pub max_num_seqs: Option<u64>,
    /// The most tokens in a step.
    pub max_num_batched_tokens: Option<u64>,
    /// Whether the server runs without CUDA graphs.
    pub enforce_eager: Option<bool>,
    /// vLLM's version.
    pub version: Option<String>,
}

const GIB: f64 = 1024.0 * 1024.0 * 1024.0;

/// The text before the weights in GiB: vLLM's V1 and V0, and SGLang's (whose GB are GiB).
const WEIGHTS: [&str; 3] = ["Model loading took ", "Loading model weights took ", "mem usage="];

/// The text before the pool's size in GiB.
const POOL: &str = "Available KV cache memory: ";

/// The text before the longest request in SGLang's line about the pool.
const CONTEXT: &str = "context_len=";

impl ServerFacts {
    /// Reads the facts of the last start in a log. The log may be of any size.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(crate) fn from_log(mut log: impl BufRead) -> io::Result<Self> {
        let (mut facts, mut start, mut line) = (Self::default(), StartupInfo::default(), Vec::new());
        while log.read_until(b'\n', &mut line)? > 0 {
            let text = String::from_utf8_lossy(&line);
            if text.contains("API server version") {
                // A new start replaces the facts of the previous one.
                (facts, start) = (Self::default(), StartupInfo::default());
            }
            if let LogEvent::StartUp(info) = parse_line(line.trim_ascii_end()).entry {
                start.absorb(*info);
            }
            facts.block_size = block_size_in_line(&text).or(facts.block_size);
            facts.take_memory(&text);
            line.clear();
        }
        facts.take_start(&start);
        Ok(facts)
    }

    /// Reads the facts from a page in Prometheus' text format: the labels of vLLM's `cache_config_info`.
    pub(crate) fn from_page(text: &str) -> Self {
        let reading = MetricsSnapshot::parse(text);
        let Some(SignalValue::Facts(engines)) = reading.get(ServerSignal::CacheConfig) else {
            return Self::default();
        };
        let mut facts = Self::default();
        let Some(labels) = engines.last() else { return facts };
        let said = Settings(labels, labels);
        facts.block_size = said.count(&["block_size"]);
        let blocks = said.count(&["num_gpu_blocks"]).zip(facts.block_size);
        facts.pool_tokens = said
            .count(&["kv_cache_size_tokens"])
            .or_else(|| blocks.and_then(|(blocks, size)| blocks.checked_mul(size)));
        facts.kv_dtype = said.kind(&["cache_dtype"]);
        facts.utilization = said.share("gpu_memory_utilization");
        facts
    }

    /// Returns these facts, with missing ones taken from `other`.
    pub(crate) fn or(self, other: &Self) -> Self {
        Self {
            weights: self.weights.or(other.weights),
            pool_bytes: self.pool_bytes.or(other.pool_bytes),
            pool_tokens: self.pool_tokens.or(other.pool_tokens),
            block_size: self.block_size.or(other.block_size),
            max_model_len: self.max_model_len.or(other.max_model_len),
            dtype: self.dtype.or_else(|| other.dtype.clone()),
            kv_dtype: self.kv_dtype.or_else(|| other.kv_dtype.clone()),
            tp: self.tp.or(other.tp),
            utilization: self.utilization.or(other.utilization),
            max_num_seqs: self.max_num_seqs.or(other.max_num_seqs),
            max_num_batched_tokens: self.max_num_batched_tokens.or(other.max_num_batched_tokens),
            enforce_eager: self.enforce_eager.or(other.enforce_eager),
            version: self.version.or_else(|| other.version.clone()),
        }
    }

    /// Returns the bytes of a token's keys and values on each GPU.
    pub(crate) fn token_bytes(&self) -> Option<f64> {
        let (bytes, tokens) = self.pool_bytes.zip(self.pool_tokens.filter(|tokens| *tokens > 0))?;
        Some(bytes as f64 / tokens as f64)
    }

    fn take_memory(&mut self, line: &str) {
        let gib = |mark: &str| {
            let (_, rest) = line.split_once(mark)?;
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            let is_gib = rest[end..].trim_start().starts_with('G');
            let size: f64 = rest[..end].parse().ok().filter(|_| is_gib)?;
            Some((size * GIB) as u64)
        };
        self.weights = WEIGHTS.into_iter().find_map(gib).or(self.weights);
        self.pool_bytes = gib(POOL).or(self.pool_bytes);
        let after = |mark: &str| number(line.split_once(mark)?.1).filter(|&count| count > 0);
        if let Some(tokens) = after("max_total_num_tokens=") {
            self.pool_tokens = Some(tokens);
            self.max_model_len = after(CONTEXT).or(self.max_model_len);
        }
    }

    fn take_start(&mut self, start: &StartupInfo) {
        let said = Settings(&start.settings, &start.arguments);
        self.pool_tokens = start.kv_tokens.or(self.pool_tokens);
        let longest = start.concurrency.map(|concurrency| concurrency.tokens_per_request);
        self.max_model_len =
            longest.or_else(|| said.count(&["max_seq_len", "max_model_len"])).or(self.max_model_len);
        self.dtype = said.kind(&["dtype"]);
        self.kv_dtype = said.kind(&["kv_cache_dtype"]);
        self.tp = said.count(&["tensor_parallel_size"]);
        self.utilization = said.share("gpu_memory_utilization");
        self.max_num_seqs = said.count(&["max_num_seqs"]);
        self.max_num_batched_tokens = said.count(&["max_num_batched_tokens"]);
        self.enforce_eager = said.get("enforce_eager").map(|value| value == "True");
        self.version.clone_from(&start.version);
    }
}

/// The engine's resolved settings, and the operator's arguments.
struct Settings<'s>(&'s BTreeMap<String, String>, &'s BTreeMap<String, String>);

impl Settings<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).or_else(|| self.1.get(key)).map(String::as_str)
    }

    fn count(&self, keys: &[&str]) -> Option<u64> {
        keys.iter().find_map(|key| self.get(key)?.trim().parse().ok()).filter(|count| *count > 0)
    }

    fn share(&self, key: &str) -> Option<f64> {
        self.get(key)?.trim().parse().ok().filter(|share| *share > 0.0 && *share <= 1.0)
    }

    /// A type without Python's prefix. `auto` counts as missing.
    fn kind(&self, keys: &[&str]) -> Option<String> {
        let kind = keys.iter().find_map(|key| self.get(key))?.trim();
        let kind = kind.strip_prefix("torch.").unwrap_or(kind);
        (kind != "auto" && kind != "None").then(|| kind.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines from logs of vLLM v0.10 and v0.6, and of SGLang.
    #[test]
    fn a_log_says_what_its_server_has() {
        let new = "INFO vLLM API server version 0.10.2\n\
            INFO non-default args: {'model': 'm', 'gpu_memory_utilization': 0.95, 'max_num_seqs': 64}\n\
            INFO Initializing a V1 LLM engine (v0.10.2) with config: model='m', dtype=torch.bfloat16, max_seq_len=32768, tensor_parallel_size=2, enforce_eager=True, kv_cache_dtype=fp8\n\
            INFO [gpu_model_runner.py:2392] Model loading took 7.4988 GiB and 3.2 seconds\n\
            INFO [gpu_worker.py:298] Available KV cache memory: 56.21 GiB\n\
            INFO [kv_cache_utils.py:864] GPU KV cache size: 460,496 tokens\n\
            INFO [kv_cache_utils.py:868] Maximum concurrency for 32,768 tokens per request: 14.05x\n";
        let facts = ServerFacts::from_log(new.as_bytes()).unwrap();
        let gib = |size: f64| Some((size * GIB) as u64);
        assert_eq!((facts.weights, facts.pool_bytes), (gib(7.4988), gib(56.21)));
        assert_eq!((facts.pool_tokens, facts.max_model_len), (Some(460_496), Some(32_768)));
        assert_eq!((facts.dtype.as_deref(), facts.kv_dtype.as_deref()), (Some("bfloat16"), Some("fp8")));
        assert_eq!((facts.tp, facts.utilization, facts.max_num_seqs), (Some(2), Some(0.95), Some(64)));
        assert_eq!((facts.enforce_eager, facts.version.as_deref()), (Some(true), Some("0.10.2")));
        assert_eq!(facts.token_bytes().map(f64::round), Some(131_065.0));

        let old = "INFO model_runner.py:1067] Loading model weights took 14.9888 GB\n";
        assert_eq!(ServerFacts::from_log(old.as_bytes()).unwrap().weights, gib(14.9888));
        let sglang = "[2025-09-01 10:00:00 TP0] Load weight end. type=LlamaForCausalLM, dtype=torch.bfloat16, avail mem=63.5 GB, mem usage=15.02 GB.\n\
            [2025-09-01 10:00:00 TP0] max_total_num_tokens=424000, chunked_prefill_size=8192, context_len=131072, available_gpu_mem=8.1 GB\n";
        let facts = ServerFacts::from_log(sglang.as_bytes()).unwrap();
        assert_eq!((facts.weights, facts.pool_tokens), (gib(15.02), Some(424_000)));
        assert_eq!(facts.max_model_len, Some(131_072));

        let again = format!("{new}INFO vLLM API server version 0.10.2\n");
        assert_eq!(ServerFacts::from_log(again.as_bytes()).unwrap().pool_tokens, None);
        let noise = &b"\xff\xfe Model loading took ages\nAvailable KV cache memory: 5 MiB\n"[..];
        assert_eq!(ServerFacts::from_log(noise).unwrap(), ServerFacts::default());
    }

    #[test]
    fn a_page_says_what_its_labels_say() {
        let page = "vllm:cache_config_info{block_size=\"16\",cache_dtype=\"fp8_e4m3\",gpu_memory_utilization=\"0.9\",num_gpu_blocks=\"2300\"} 1.0\n";
        let facts = ServerFacts::from_page(page);
        assert_eq!((facts.block_size, facts.pool_tokens), (Some(16), Some(36_800)));
        assert_eq!((facts.kv_dtype.as_deref(), facts.utilization), (Some("fp8_e4m3"), Some(0.9)));
        assert_eq!(ServerFacts::from_page("vllm:num_requests_running 1\n"), ServerFacts::default());
    }
}
