//! The counters of the server's prefix cache on `/metrics`.

use super::signals::MetricsSnapshot;
use crate::model::server::ServerSignal;

/// Counts of prompt tokens since the server's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PrefixCacheCounters {
    /// Tokens that were looked up in the cache.
    pub queries: u64,
    /// Tokens that were found in the cache.
    pub hits: u64,
}

/// Parses the counters from a page in Prometheus' text format, summed over engines. Returns `None` if the page has no
/// such counters: older versions report only a rate, which cannot be split into before and after.
pub(crate) fn parse_counters(text: &str) -> Option<PrefixCacheCounters> {
    let reading = MetricsSnapshot::parse(text);
    let count = |signal| reading.number(signal).map(|count| count as u64);
    Some(PrefixCacheCounters {
        queries: count(ServerSignal::PrefixQueries)?,
        hits: count(ServerSignal::PrefixHits)?,
    })
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
        assert_eq!(parse_counters(PAGE), Some(PrefixCacheCounters { queries: 1500, hits: 64 }));
    }

    #[test]
    fn a_page_without_the_counters_says_nothing() {
        for page in ["", "vllm:num_requests_running 3", "vllm:prefix_cache_queries_total{", "\u{0}}{"] {
            assert_eq!(parse_counters(page), None);
        }
    }
}
