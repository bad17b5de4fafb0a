//! The server's prefix cache, by its counters on `/metrics`.

use super::page;

/// The counters of vLLM V1: tokens looked up, and tokens found. Older versions know only a rate, which cannot be taken
/// apart into a before and an after.
const QUERIES: [&str; 2] = ["vllm:prefix_cache_queries_total", "vllm:gpu_prefix_cache_queries_total"];
const HITS: [&str; 2] = ["vllm:prefix_cache_hits_total", "vllm:gpu_prefix_cache_hits_total"];

/// Prompt tokens since the server's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    /// Looked up.
    pub queries: u64,
    /// Found.
    pub hits: u64,
}

/// Reads the counters from a page in Prometheus' text format, summed over engines; `None` if it has none.
pub fn read(text: &str) -> Option<Counters> {
    let sum = |names: [&str; 2]| names.into_iter().find_map(|name| page::sum(text, name));
    Some(Counters { queries: sum(QUERIES)?, hits: sum(HITS)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
# HELP vllm:prefix_cache_queries_total Prefix cache queries, in terms of number of queried tokens.
# TYPE vllm:prefix_cache_queries_total counter
vllm:prefix_cache_queries_total{engine=\"0\",model_name=\"a}b\"} 1.25e+03
vllm:prefix_cache_queries_total{engine=\"1\",model_name=\"a}b\"} 250.0
vllm:prefix_cache_queries_created{engine=\"0\"} 1.7e9
vllm:prefix_cache_hits_total{engine=\"0\",model_name=\"a}b\"} 64.0 1700000000000
";

    #[test]
    fn counters_are_summed_over_engines() {
        assert_eq!(read(PAGE), Some(Counters { queries: 1500, hits: 64 }));
    }

    #[test]
    fn a_page_without_the_counters_says_nothing() {
        for page in ["", "vllm:num_requests_running 3", "vllm:prefix_cache_queries_total{", "\u{0}}{"] {
            assert_eq!(read(page), None);
        }
    }
}
