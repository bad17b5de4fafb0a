//! The server's queue, by its gauges on `/metrics`.

use super::page::Page;
use super::signals::Reading;
use crate::core::server::Signal;

/// How many requests the server is computing, summed over engines; `None` from a page that does not tell.
pub fn running(text: &str) -> Option<u64> {
    Reading::of(&Page::parse(text)).number(Signal::Running).map(|running| running as u64)
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
