//! How much of its prompts a workload itself lets a prefix cache save.

use super::Request;

/// The prompt tokens that a perfect prefix cache would find, if it were empty before: of each prompt, what the most
/// similar other one begins with, and all of a prompt that was sent before.
///
/// Shares of a text stand for shares of its tokens.
pub fn shared_tokens(requests: &[Request]) -> u64 {
    Beginnings::of(requests).tokens(0).sum()
}

/// The block of vLLM's prefix cache, in tokens. With larger blocks fewer prompts share one, with smaller ones hardly more.
const BLOCK: u64 = 16;

/// How many requests share a block with an earlier one; with a prefix that all are meant to share, a block behind that.
///
/// Shares of a text stand for shares of its tokens.
pub fn sharing_blocks(requests: &[Request], have_prefix: bool) -> usize {
    let beginnings = Beginnings::of(requests);
    let prefix = beginnings.common.iter().min().copied().filter(|_| have_prefix);
    beginnings.tokens(prefix.unwrap_or(0)).filter(|common| *common >= BLOCK).count()
}

/// How the requests of a workload begin alike.
struct Beginnings {
    /// Bytes and tokens of each request, in the order of their contents.
    lengths: Vec<(usize, u32)>,
    /// Of each but the first of that order: the bytes that it begins with like the one before, the most similar one.
    common: Vec<usize>,
}

impl Beginnings {
    fn of(requests: &[Request]) -> Self {
        let mut sorted: Vec<_> =
            requests.iter().map(|request| (request.content.bytes(), request.prompt_tokens)).collect();
        sorted.sort_unstable();
        Self {
            common: sorted.windows(2).map(|pair| common_prefix(&pair[0].0, &pair[1].0)).collect(),
            lengths: sorted.iter().map(|(bytes, tokens)| (bytes.len(), *tokens)).collect(),
        }
    }

    /// The common beginnings in tokens, without the first so many bytes.
    fn tokens(&self, without: usize) -> impl Iterator<Item = u64> {
        self.common.iter().zip(self.lengths.iter().skip(1)).map(move |(common, (bytes, tokens))| {
            u64::from(*tokens) * common.saturating_sub(without) as u64 / (*bytes).max(1) as u64
        })
    }
}

/// Bytes that two contents have in common at their beginning.
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
