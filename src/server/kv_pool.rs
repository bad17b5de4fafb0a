//! The size of the server's KV pool, from `/metrics` or from the start-up log.

mod facts;
mod log;

pub(crate) use facts::ServerFacts;
pub(crate) use log::size_in_log;

use super::signals::{MetricsSnapshot, SignalValue};
use crate::model::server::ServerSignal;

/// Returns the pool's size over all engines from a page in Prometheus' text format, or `None` if the page lacks it
/// (vLLM's V1 engine before v0.9.0 has `num_gpu_blocks="None"`).
pub(crate) fn size_on_page(text: &str) -> Option<PoolSize> {
    let reading = MetricsSnapshot::parse(text);
    let Some(SignalValue::Facts(engines)) = reading.get(ServerSignal::CacheConfig) else { return None };
    let distinct: Vec<_> =
        engines.iter().enumerate().filter(|(at, labels)| !engines[..*at].contains(labels)).collect();
    let mut size = PoolSize::from_engines(distinct.iter().map(|(_, labels)| {
        let count = |label: &str| labels.get(label)?.trim().parse::<u64>().ok();
        let blocks = count("num_gpu_blocks").zip(count("block_size"));
        EnginePoolSize {
            stated: count("kv_cache_size_tokens"),
            tokens_from_blocks: blocks.and_then(|(blocks, size)| blocks.checked_mul(size)),
            concurrency: None,
        }
    }))?;
    let repeated = engines.len() - distinct.len();
    if repeated > 0 {
        size.notes.push(format!(
            "the page has {repeated} more cache_config_info with the very same labels, which count as one engine"
        ));
    }
    Some(size)
}

/// An engine's statements about its pool, which may contradict each other.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct EnginePoolSize {
    /// The pool's size in tokens, as the engine states it.
    stated: Option<u64>,
    /// The pool's size in tokens: the number of blocks × the block size.
    tokens_from_blocks: Option<u64>,
    /// Tokens of a request, and how many such requests fit.
    concurrency: Option<(u64, f64)>,
}

/// The size of a server's KV pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PoolSize {
    /// The size in tokens, over all engines.
    pub tokens: u64,
    /// Contradictions between the engines' statements.
    pub notes: Vec<String>,
}

/// Relative difference below which sizes agree: a concurrency is rounded to two decimals.
const ROUNDING_TOLERANCE: f64 = 0.02;

impl EnginePoolSize {
    fn absorb(&mut self, newer: Self) {
        self.stated = newer.stated.or(self.stated);
        self.tokens_from_blocks = newer.tokens_from_blocks.or(self.tokens_from_blocks);
        self.concurrency = newer.concurrency.or(self.concurrency);
    }

    fn concurrent_tokens(&self) -> Option<u64> {
        self.concurrency.map(|(length, requests)| (length as f64 * requests).round() as u64)
    }

    /// The size to plan with: the stated size, else that of the blocks, which is wrong for layers of several kinds.
    /// If the concurrency yields another size, the smaller one.
    fn tokens(&self) -> Option<u64> {
        let size = self.stated.or(self.tokens_from_blocks);
        [size, self.concurrent_tokens()].into_iter().flatten().filter(|tokens| *tokens > 0).min()
    }

    /// Describes a contradiction between the statements, if there is one.
    fn contradiction(&self) -> Option<String> {
        let stated = self.stated.map(|tokens| (tokens, format!("a size of {tokens} tokens")));
        let blocks = self.tokens_from_blocks.map(|tokens| (tokens, format!("blocks for {tokens} tokens")));
        let concurrent =
            self.concurrent_tokens().zip(self.concurrency).map(|(tokens, (length, requests))| {
                (tokens, format!("{requests} requests of {length} tokens, which are {tokens}"))
            });
        let sizes =
            || [&stated, &blocks, &concurrent].into_iter().flatten().filter(|(tokens, _)| *tokens > 0);
        let (least, some) = sizes().min_by_key(|(tokens, _)| *tokens)?;
        let (most, others) = sizes().max_by_key(|(tokens, _)| *tokens)?;
        let factor = *most as f64 / *least as f64;
        (factor > 1.0 + ROUNDING_TOLERANCE).then(|| {
            format!(
                "the server reports {some}, and {others}: they differ by a factor of {factor:.1}. With layers of several kinds, the \
                 size and the blocks count each kind differently, and the concurrency applies to requests of that length only: \
                 shorter ones need pages of states too"
            )
        })
    }
}

impl PoolSize {
    /// Adds up the engines; returns `None` if no engine states its size.
    fn from_engines(engines: impl Iterator<Item = EnginePoolSize>) -> Option<Self> {
        let mut size = Self { tokens: 0, notes: Vec::new() };
        for figures in engines {
            size.tokens = size.tokens.saturating_add(figures.tokens().unwrap_or_default());
            size.notes.extend(figures.contradiction().filter(|note| !size.notes.contains(note)));
        }
        (size.tokens > 0).then_some(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_tells_blocks_times_their_size_over_all_engines() {
        let page = "vllm:cache_config_info{block_size=\"16\",engine=\"0\",num_cpu_blocks=\"None\",num_gpu_blocks=\"2300\"} 1.0\n\
                    vllm:cache_config_info{block_size=\"16\",engine=\"1\",num_gpu_blocks=\"2300\",num_gpu_blocks_override=\"7\"} 1.0\n";
        assert_eq!(size_on_page(page).map(|size| size.tokens), Some(2 * 2300 * 16));
    }

    /// Spellings of one page that Prometheus' format allows (prometheus.io, exposition formats) and that exporters
    /// write.
    #[test]
    fn a_page_tells_the_same_however_its_labels_are_written() {
        let pages = [
            "vllm:cache_config_info{block_size=\"16\",num_gpu_blocks=\"2300\"} 1.0\n",
            // ../shared/reference/faults.md, B39: three spellings that the parser used to miss.
            "vllm:cache_config_info{block_size=\"16\", num_gpu_blocks=\"2300\"} 1.0\n",
            "vllm:cache_config_info {block_size=\"16\",num_gpu_blocks=\"2300\"} 1 1757900000000\n",
            "vllm:cache_config_info{cache_dtype=\"a,num_gpu_blocks=\",num_gpu_blocks=\"2300\",block_size=\"16\"} 1\n",
            "vllm:cache_config_info{a=\"say \\\"num_gpu_blocks=\\\"7\\\"\",block_size=\"16\",num_gpu_blocks=\"2300\"} 1\n",
            // A trailing comma, blanks around `=`, no `=` before the value, Ray's and OpenTelemetry's names, a second
            // engine.
            "vllm:cache_config_info{block_size=\"16\",num_gpu_blocks=\"2300\",} 1\n",
            "vllm:cache_config_info{ block_size = \"16\" , num_gpu_blocks = \"2300\" } 1\n",
            "ray_vllm_cache_config_info{block_size=\"16\",num_gpu_blocks=\"2300\",WorkerId=\"w\"} 1\n",
            "vllm_cache_config_info_ratio{block_size=\"16\",num_gpu_blocks=\"2300\"} 1\n",
            "vllm:cache_config_info{block_size=\"16\",engine=\"0\",num_gpu_blocks=\"1300\"} 1\n\
             vllm:cache_config_info{block_size=\"16\",engine=\"1\",num_gpu_blocks=\"1000\"} 1\n",
        ];
        for page in pages {
            assert_eq!(size_on_page(page).map(|size| size.tokens), Some(36_800), "{page}");
        }
    }

    #[test]
    fn the_same_line_twice_is_one_engine() {
        let line = "vllm:cache_config_info{block_size=\"16\",num_gpu_blocks=\"2300\"} 1\n";
        let size = size_on_page(&line.repeat(2)).unwrap();
        assert_eq!(size.tokens, 36_800);
        assert!(size.notes[0].starts_with("the page has 1 more cache_config_info"), "{:?}", size.notes);
    }

    #[test]
    fn a_page_that_does_not_tell_is_no_zero() {
        let unknown = "vllm:cache_config_info{block_size=\"16\",num_gpu_blocks=\"None\"} 1.0\n";
        for page in
            ["", unknown, "vllm:cache_config_info{num_gpu_blocks=\"0\",block_size=\"16\"} 1", "\u{0}{,\""]
        {
            assert_eq!(size_on_page(page), None);
        }
    }

    /// K6: a hybrid model, whose block count times block size is not its size in tokens. Published: 320 blocks of 8
    /// beside 463,459 tokens.
    #[test]
    fn a_size_that_a_page_states_has_precedence_over_its_blocks() {
        let page = |blocks: u64, size: u64, stated: u64| {
            format!(
                "vllm:cache_config_info{{block_size=\"{size}\",kv_cache_size_tokens=\"{stated}\",num_gpu_blocks=\"{blocks}\"}} 1.0\n"
            )
        };
        for (blocks, size, stated, factor) in [(2300, 16, 1_082_654, "29.4"), (320, 8, 463_459, "181.0")] {
            let pool = size_on_page(&page(blocks, size, stated)).unwrap();
            assert_eq!(pool.tokens, stated);
            let note = &pool.notes[0];
            assert!(note.contains(&format!("they differ by a factor of {factor}")), "{note}");
            assert!(
                note.contains(&(blocks * size).to_string()) && note.contains(&stated.to_string()),
                "{note}"
            );
        }
        let agreeing = size_on_page(&page(2300, 16, 36_800)).unwrap();
        assert_eq!((agreeing.tokens, agreeing.notes), (36_800, Vec::new()));
    }
}
