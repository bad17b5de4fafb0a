//! How many prompt tokens of a workload a prefix cache can save.

use std::borrow::Cow;

use super::requests::RequestRange;
use crate::model::request::Request;
use crate::model::spool::{KEPT_IN_MEMORY, RecordSorter, SortedRecords, SpoolError};

/// The block size of vLLM's prefix cache, in tokens. With larger blocks, fewer prompts share one; with smaller blocks,
/// hardly more do.
const CACHE_BLOCK_TOKENS: u64 = 16;

/// The beginnings that requests of a workload have in common: of each request with the most similar one.
///
/// Tokens are estimated: a share of a text's bytes counts as the same share of its tokens.
pub(crate) struct CommonPrefixes<'a>(PrefixSource<'a>);

enum PrefixSource<'a> {
    Kept(Vec<CommonPrefix>),
    /// Requests that do not fit into memory: the distinct contents in order, each with its tokens.
    Spooled {
        sorted: SortedRecords,
        requests: RequestRange<'a>,
    },
}

/// The beginning that a request has in common with the one before it in the order of contents.
#[derive(Debug, Clone, Copy)]
struct CommonPrefix {
    /// The number of common bytes.
    common: usize,
    /// The number of bytes of the request.
    bytes: usize,
    /// The number of tokens of the request.
    tokens: u32,
}

impl<'a> CommonPrefixes<'a> {
    /// Compares the contents of the requests.
    ///
    /// # Errors
    /// When the contents fit neither into memory nor into a temporary file.
    pub(crate) fn compute(requests: RequestRange<'a>) -> Result<Self, SpoolError> {
        Ok(Self(match requests.as_kept() {
            Some(kept) => PrefixSource::Kept(compare_kept(kept)),
            None => {
                let mut sorter = RecordSorter::new(KEPT_IN_MEMORY);
                for request in requests.originals() {
                    sorter.push(&request.content.bytes(), &request.prompt_tokens.to_be_bytes())?;
                }
                PrefixSource::Spooled { sorted: sorter.finish()?, requests }
            }
        }))
    }

    /// The number of prompt tokens that a perfect, initially empty prefix cache would find. For each prompt, this is
    /// the beginning that it shares with the most similar other prompt, or the whole prompt if the same one was sent
    /// before.
    pub(crate) fn shared_tokens(&self) -> u64 {
        self.iter().map(|prefix| prefix.tokens_after(0)).sum()
    }

    /// The number of requests that share a cache block with an earlier request. If all requests are meant to share a
    /// prefix, only a shared block after the prefix counts.
    pub(crate) fn sharing_blocks(&self, have_prefix: bool) -> usize {
        let prefix = if have_prefix { self.iter().map(|prefix| prefix.common).min() } else { None };
        let shared = self.iter().map(|request| request.tokens_after(prefix.unwrap_or(0)));
        shared.filter(|tokens| *tokens >= CACHE_BLOCK_TOKENS).count()
    }

    fn iter(&self) -> Box<dyn Iterator<Item = CommonPrefix> + '_> {
        match &self.0 {
            PrefixSource::Kept(prefixes) => Box::new(prefixes.iter().copied()),
            PrefixSource::Spooled { sorted, requests } => {
                // A copy of a request follows it in the order of contents.
                let copies = requests.copies().map(|(outline, bytes)| CommonPrefix {
                    common: bytes,
                    bytes,
                    tokens: outline.prompt_tokens,
                });
                let mut before: Option<Box<[u8]>> = None;
                let compared = sorted.iter().filter_map(move |(content, tokens)| {
                    let (bytes, tokens) = (content.len(), u32::from_be_bytes(tokens[..].try_into().ok()?));
                    let common = before.as_ref().map(|before| common_prefix(before, &content));
                    before = Some(content);
                    Some(CommonPrefix { common: common?, bytes, tokens })
                });
                Box::new(compared.chain(copies))
            }
        }
    }
}

impl CommonPrefix {
    /// The common beginning in tokens, without the first `without` bytes.
    fn tokens_after(self, without: usize) -> u64 {
        u64::from(self.tokens) * self.common.saturating_sub(without) as u64 / self.bytes.max(1) as u64
    }
}

/// Compares the contents of requests in memory.
fn compare_kept(requests: &[Request]) -> Vec<CommonPrefix> {
    let mut sorted: Vec<_> =
        requests.iter().map(|request| (request.content.bytes(), request.prompt_tokens)).collect();
    sorted.sort_unstable();
    let compare = |pair: &[(Cow<'_, [u8]>, u32)]| CommonPrefix {
        common: common_prefix(&pair[0].0, &pair[1].0),
        bytes: pair[1].0.len(),
        tokens: pair[1].1,
    };
    sorted.windows(2).map(compare).collect()
}

/// The number of leading bytes that two contents have in common.
fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::requests::RequestSink;

    fn request(prompt: &str, prompt_tokens: u32) -> Request {
        Request::text(prompt, prompt_tokens, 1)
    }

    /// Of requests in memory and in a file, which must be the same.
    fn compare<T: PartialEq + std::fmt::Debug>(
        requests: &[Request],
        of: impl Fn(&CommonPrefixes<'_>) -> T,
    ) -> T {
        let kept = of(&CommonPrefixes::compute(requests.into()).unwrap());
        let mut sink = RequestSink::new(0);
        for (index, request) in requests.iter().enumerate() {
            match requests[..index].iter().position(|earlier| earlier == request) {
                Some(earlier) => sink.push_copy(earlier).unwrap(),
                None => sink.push(request.clone()).unwrap(),
            }
        }
        let spooled = sink.finish().unwrap();
        assert_eq!(of(&CommonPrefixes::compute(spooled.all()).unwrap()), kept);
        kept
    }

    fn shared_tokens(requests: Vec<Request>) -> u64 {
        compare(&requests, |prefixes| prefixes.shared_tokens())
    }

    fn sharing_blocks(requests: &[Request], have_prefix: bool) -> usize {
        compare(requests, |prefixes| prefixes.sharing_blocks(have_prefix))
    }

    #[test]
    fn common_beginnings_and_repeats_are_shared() {
        assert_eq!(shared_tokens(vec![request("abcd", 4), request("wxyz", 4)]), 0);
        assert_eq!(shared_tokens(vec![request("abcd", 4), request("wxyz", 4), request("abzz", 4)]), 2);
        assert_eq!(shared_tokens(vec![request("abcd", 40), request("abcd", 40), request("abcd", 40)]), 80);
        assert_eq!(shared_tokens(vec![request("", 0), request("", 0)]), 0);
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
