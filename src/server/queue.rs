//! The server's queue, by its gauges on `/metrics`.

use super::page;

/// How many requests the server is computing, summed over engines; `None` from a page that does not tell.
pub fn running(text: &str) -> Option<u64> {
    page::sum(text, "vllm:num_requests_running")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_requests_are_summed_over_engines() {
        let page =
            "vllm:num_requests_running{engine=\"0\"} 3.0\nvllm:num_requests_running{engine=\"1\"} 4.0\n";
        assert_eq!(running(page), Some(7));
        assert_eq!(running("vllm:num_requests_waiting 3.0"), None);
    }
}
