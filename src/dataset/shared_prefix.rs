//! How many prompt tokens of a workload a prefix cache can save.

use crate::model::request::Request;

/// The number of prompt tokens that a perfect, initially empty prefix cache would find. For each prompt, this is the
/// beginning that it shares with the most similar other prompt, or the whole prompt if the same one was sent before.
///
/// Tokens are estimated: a share of a text's bytes counts as the same share of its tokens.
pub(crate) fn shared_tokens(requests: &[Request]) -> u64 {
    CommonPrefixes::compute(requests).tokens(0).sum()
}

/// The block size of vLLM's prefix cache, in tokens. With larger blocks, fewer prompts share one; with smaller blocks,
/// hardly more do.
const CACHE_BLOCK_TOKENS: u64 = 16;

/// The number of requests that share a cache block with an earlier request. If all requests are meant to share a
/// prefix, only a shared block after the prefix counts.
///
/// Tokens are estimated: a share of a text's bytes counts as the same share of its tokens.
pub(crate) fn sharing_blocks(requests: &[Request], have_prefix: bool) -> usize {
    let beginnings = CommonPrefixes::compute(requests);
    let prefix = beginnings.common.iter().min().copied().filter(|_| have_prefix);
    beginnings.tokens(prefix.unwrap_or(0)).filter(|common| *common >= CACHE_BLOCK_TOKENS).count()
}

/// The beginnings that requests of a workload have in common.
struct CommonPrefixes {
    /// The bytes and tokens of each request, sorted by content.
    lengths: Vec<(usize, u32)>,
    /// For each request but the first in sorted order, the number of leading bytes that it shares with its predecessor,
    /// which is the most similar one.
    common: Vec<usize>,
}

impl CommonPrefixes {
    fn compute(requests: &[Request]) -> Self {
        let mut sorted: Vec<_> =
            requests.iter().map(|request| (request.content.bytes(), request.prompt_tokens)).collect();
        sorted.sort_unstable();
        Self {
            common: sorted.windows(2).map(|pair| common_prefix(&pair[0].0, &pair[1].0)).collect(),
            lengths: sorted.iter().map(|(bytes, tokens)| (bytes.len(), *tokens)).collect(),
        }
    }

    /// The common beginnings in tokens, without the first `without` bytes.
    fn tokens(&self, without: usize) -> impl Iterator<Item = u64> {
        self.common.iter().zip(self.lengths.iter().skip(1)).map(move |(common, (bytes, tokens))| {
            u64::from(*tokens) * common.saturating_sub(without) as u64 / (*bytes).max(1) as u64
        })
    }
}

/// The number of leading bytes that two contents have in common.
fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(prompt: &str, prompt_tokens: u32) -> Request {
        Request::text(prompt, prompt_tokens, 1)
    }

    #[test]
    fn common_beginnings_and_repeats_are_shared() {
        assert_eq!(shared_tokens(&[request("abcd", 4), request("wxyz", 4)]), 0);
        assert_eq!(shared_tokens(&[request("abcd", 4), request("wxyz", 4), request("abzz", 4)]), 2);
        assert_eq!(shared_tokens(&[request("abcd", 40), request("abcd", 40), request("abcd", 40)]), 80);
        assert_eq!(shared_tokens(&[request("", 0), request("", 0)]), 0);
    }

    #[test]
    fn prompts_share_a_block_when_sixteen_tokens_behind_the_prefix_are_the_same() {
        let prompt = |prefix: &str, common: &str, own: &str| {
            request(&format!("{prefix:_<24}{common:_<24}{own:.<24}"), 72)
        };
        let prompts =
            [prompt("a", "a", "x"), prompt("a", "a", "y"), prompt("a", "a", "z"), prompt("a", "b", "x")];
        assert_eq!(sharing_blocks(&prompts, false), 3, "at least the 24 tokens of the prefix");
        assert_eq!(sharing_blocks(&prompts, true), 2, "24 tokens behind the prefix");
        assert_eq!(sharing_blocks(&prompts[2..], true), 0);
        assert_eq!(sharing_blocks(&[], true), 0);
    }
}
