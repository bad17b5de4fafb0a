//! The server's prefix cache, by its counters on `/metrics`.

use super::page::Page;
use super::signals::Reading;
use crate::core::server::Signal;

/// Prompt tokens since the server's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    /// Looked up.
    pub queries: u64,
    /// Found.
    pub hits: u64,
}

/// Reads the counters from a page in Prometheus' text format, summed over engines; `None` if it has none: older versions
/// know only a rate, which cannot be taken apart into a before and an after.
pub fn read(text: &str) -> Option<Counters> {
    let reading = Reading::of(&Page::parse(text));
    let count = |signal| reading.number(signal).map(|count| count as u64);
    Some(Counters { queries: count(Signal::PrefixQueries)?, hits: count(Signal::PrefixHits)? })
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
