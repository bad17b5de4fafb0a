//! How large the server's KV pool is, as it tells on `/metrics` or in its start-up log.

use std::io::{self, BufRead};

/// Tokens in a block where a log does not tell: vLLM's default on GPUs.
const USUAL_BLOCK: u64 = 16;

/// Tokens that fit, summed over engines, by a page in Prometheus' text format; `None` from a page that does not tell
/// (vLLM's V1 engine before v0.9.0 has `num_gpu_blocks="None"`).
pub fn on_page(text: &str) -> Option<u64> {
    let lines = text.lines().filter(|line| line.starts_with("vllm:cache_config_info{"));
    let tokens =
        lines.filter_map(|line| label(line, "num_gpu_blocks")?.checked_mul(label(line, "block_size")?));
    tokens
        .fold(None, |sum, tokens| Some(sum.unwrap_or(0_u64).saturating_add(tokens)))
        .filter(|&tokens| tokens > 0)
}

/// A label that is a number.
fn label(line: &str, name: &str) -> Option<u64> {
    let beginnings = [format!("{{{name}=\""), format!(",{name}=\"")];
    let rest = beginnings.iter().find_map(|beginning| line.split_once(beginning.as_str()))?.1;
    rest.split('"').next()?.parse().ok()
}

/// Tokens that fit one engine by the last start in a log; `None` if it has none. The log may be of any size.
///
/// # Errors
/// When it cannot be read.
pub fn in_log(mut log: impl BufRead) -> io::Result<Option<u64>> {
    let (mut last, mut line) = (None, Vec::new());
    while log.read_until(b'\n', &mut line)? > 0 {
        last = in_line(&String::from_utf8_lossy(&line)).or(last);
        line.clear();
    }
    Ok(last)
}

/// `GPU KV cache size: 110,000 tokens`, or the older `# GPU blocks: 6875, # CPU blocks: 512` (later `# cuda blocks`).
fn in_line(line: &str) -> Option<u64> {
    let after = |mark: &str| number(line.split_once(mark)?.1);
    let blocks = || after("# GPU blocks: ").or_else(|| after("# cuda blocks: "))?.checked_mul(USUAL_BLOCK);
    after("GPU KV cache size: ").or_else(blocks).filter(|&tokens| tokens > 0)
}

/// The number that a text begins with, with or without commas in it.
fn number(text: &str) -> Option<u64> {
    let grouped = |c: &char| c.is_ascii_digit() || *c == ',';
    let digits: String = text.chars().take_while(grouped).filter(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_tells_blocks_times_their_size_over_all_engines() {
        let page = "vllm:cache_config_info{block_size=\"16\",engine=\"0\",num_cpu_blocks=\"None\",num_gpu_blocks=\"2300\"} 1.0\n\
                    vllm:cache_config_info{block_size=\"16\",engine=\"1\",num_gpu_blocks=\"2300\",num_gpu_blocks_override=\"7\"} 1.0\n";
        assert_eq!(on_page(page), Some(2 * 2300 * 16));
    }

    #[test]
    fn a_page_that_does_not_tell_is_no_zero() {
        let unknown = "vllm:cache_config_info{block_size=\"16\",num_gpu_blocks=\"None\"} 1.0\n";
        for page in
            ["", unknown, "vllm:cache_config_info{num_gpu_blocks=\"0\",block_size=\"16\"} 1", "\u{0}{,\""]
        {
            assert_eq!(on_page(page), None);
        }
    }

    #[test]
    fn a_log_tells_in_its_old_and_its_new_way_and_the_last_start_counts() {
        let new = "INFO 05-01 [kv_cache_utils.py:634] GPU KV cache size: 110,000 tokens\n";
        let old = "INFO 01-01 executor.py: # GPU blocks: 6875, # CPU blocks: 512\n";
        let between = "INFO [executor_base.py] # cuda blocks: 2300, # CPU blocks: 512\n";
        for (log, tokens) in [(new, 110_000), (old, 110_000), (between, 36_800)] {
            assert_eq!(in_log(log.as_bytes()).unwrap(), Some(tokens));
        }
        assert_eq!(in_log(format!("{old}noise\n{between}").as_bytes()).unwrap(), Some(36_800));
        assert_eq!(in_log(&b"\xff\xfe nothing here\nGPU KV cache size: many tokens\n"[..]).unwrap(), None);
    }
}
