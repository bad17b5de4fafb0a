//! The server's prefix cache, by its counters on `/metrics`.

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
pub fn read(page: &str) -> Option<Counters> {
    let sum = |names: [&str; 2]| names.into_iter().find_map(|name| sum(page, name));
    Some(Counters { queries: sum(QUERIES)?, hits: sum(HITS)? })
}

/// The sum of all series of a name; `None` if there is no series of it.
fn sum(page: &str, name: &str) -> Option<u64> {
    let values = page.lines().filter_map(|line| value(line, name));
    values.fold(None, |sum, value| Some(sum.unwrap_or(0) + value))
}

fn value(line: &str, name: &str) -> Option<u64> {
    let rest = line.strip_prefix(name)?;
    let after_labels = match rest.strip_prefix('{') {
        // Label values are quoted, and may hold a brace; the last one closes.
        Some(labels) => &labels[labels.rfind('}')? + 1..],
        None => rest.strip_prefix(' ')?,
    };
    let value: f64 = after_labels.split_whitespace().next()?.parse().ok()?;
    (value >= 0.0).then_some(value as u64)
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
