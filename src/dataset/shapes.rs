//! Requests without texts, for a simulation of the server: lengths, times, and which blocks of the prompts are equal.
//!
//! A block of a prompt is as many tokens as a block of the server's KV cache. Blocks are equal where their tokens and all
//! tokens before them are. The identities come from the tokens of a prompt, the block hashes of a trace, or the session
//! whose text a turn continues. Where none of these is known, a prompt has no identities and shares nothing.

use std::sync::Arc;
use std::time::Duration;

use super::DatasetError;
use super::requests::RequestRange;
use crate::model::dataset::Provenance;
use crate::model::request::{Content, Request};
use crate::model::run_spec::HistoryMode;
use crate::tokenizer::Tokenizer;

/// The lengths and block contents of a request, without its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestShape {
    /// The prompt's length in tokens, with the history of its session.
    pub prompt: u32,
    /// The number of output tokens.
    pub output: u32,
    /// The identities of the leading blocks of the prompt, and in a session of the answer after it.
    pub contents: Arc<[u64]>,
    /// The request's place in a session of several turns.
    pub turn: Option<TurnShape>,
}

/// A place in a session. The turns of a session are consecutive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TurnShape {
    /// The number of the session.
    pub session: u64,
    /// The index of the turn, from 0.
    pub index: u32,
    /// The time between the previous answer and this turn.
    pub think: Duration,
}

/// The shapes of a workload.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ShapedWorkload {
    /// The requests in the order of sending.
    pub requests: Vec<RequestShape>,
    /// When each request, or the first turn of each session, is due; `None` without the times of a trace.
    pub arrivals: Option<Vec<Duration>>,
    /// The dataset.
    pub provenance: Provenance,
}

impl ShapedWorkload {
    /// Whether it is known what prompts have in common.
    pub(crate) fn knows_contents(&self) -> bool {
        self.requests.iter().any(|request| !request.contents.is_empty())
    }
}

/// The shapes of prepared requests. Prompts have identities where the tokenizer is in this process.
///
/// # Errors
/// If the tokenizer cannot encode a prompt.
pub(crate) fn from_requests(
    requests: RequestRange<'_>,
    tokenizer: &Tokenizer,
    (history, is_salted): (HistoryMode, bool),
    block_tokens: u32,
) -> Result<Vec<RequestShape>, DatasetError> {
    let (mut shapes, mut sessions) = (Vec::with_capacity(requests.len()), 0_u64);
    // The tokens that the next turn of the session repeats.
    let mut said = 0;
    for request in requests.iter() {
        let turn = request.turn().filter(|turn| turn.of > 1);
        if !request.is_later_turn() {
            sessions += 1;
            said = 0;
        }
        let prompt = request.prompt_tokens.saturating_add(said);
        let contents = match turn.filter(|_| history != HistoryMode::None) {
            Some(_) => session_contents(sessions, prompt.saturating_add(request.max_tokens), block_tokens),
            None if is_salted => Arc::default(),
            None => prompt_contents(&request, tokenizer, block_tokens)?,
        };
        if history != HistoryMode::None {
            said = prompt.saturating_add(request.max_tokens);
        }
        shapes.push(RequestShape {
            prompt,
            output: request.max_tokens,
            contents,
            turn: turn.map(|turn| TurnShape { session: sessions, index: turn.index, think: turn.think }),
        });
    }
    Ok(shapes)
}

fn prompt_contents(
    request: &Request,
    tokenizer: &Tokenizer,
    block_tokens: u32,
) -> Result<Arc<[u64]>, DatasetError> {
    let encoded;
    let tokens: &[u32] = match (&request.content, tokenizer) {
        (Content::TokenIds(ids), _) => ids,
        (Content::Text(text), Tokenizer::Local(local)) => {
            encoded = local.encode(text)?;
            &encoded
        }
        _ => return Ok(Arc::default()),
    };
    let adapter = request.own.as_deref().and_then(|own| own.model.as_deref()).unwrap_or_default();
    let mut chain = adapter.bytes().fold(0, |chain, byte| chained(chain, u64::from(byte)));
    let blocks = tokens.chunks_exact(block_tokens.max(1) as usize).map(|block| {
        chain = block.iter().fold(chain, |chain, token| chained(chain, u64::from(*token)));
        chain
    });
    Ok(blocks.collect())
}

/// The identities of the first `tokens` tokens of a text that only the holder of this number continues.
pub(crate) fn session_contents(text: u64, tokens: u32, block_tokens: u32) -> Arc<[u64]> {
    let text = chained(SESSION_TEXT, text);
    (0..u64::from(tokens / block_tokens.max(1))).map(|block| chained(text, block)).collect()
}

/// The identities of blocks of a prompt whose hashes stand for `hash_tokens` tokens each.
pub(super) fn hashed_contents(
    hashes: &[u64],
    hash_tokens: u32,
    prompt: u32,
    block_tokens: u32,
) -> Arc<[u64]> {
    let (hash_tokens, block_tokens) = (u64::from(hash_tokens.max(1)), u64::from(block_tokens.max(1)));
    let known = (hashes.len() as u64 * hash_tokens).min(u64::from(prompt));
    let mut chain = 0;
    let blocks = (0..known / block_tokens).map(|block| {
        // A block may overlap several hashes: it is equal where all of them are.
        let overlapped =
            (block * block_tokens / hash_tokens)..=(((block + 1) * block_tokens - 1) / hash_tokens);
        chain = overlapped.fold(chain, |chain, at| chained(chain, hashes[at as usize]));
        chain = chained(chain, block);
        chain
    });
    blocks.collect()
}

/// Distinguishes the texts of sessions from other prompts.
const SESSION_TEXT: u64 = 0x5E55_1012_7E87_0001;

/// Mixes a value into a hash, with the finalizer of SplitMix64: the same on every machine.
fn chained(hash: u64, value: u64) -> u64 {
    let mixed = hash.rotate_left(23) ^ value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::bundled;
    use crate::dataset::sessions::{PreparedTurn, session_requests};

    fn shapes(requests: &[Request]) -> Vec<RequestShape> {
        from_requests(requests.into(), &bundled::tokenizer(), (HistoryMode::Real, false), 16).unwrap()
    }

    fn common(a: &RequestShape, b: &RequestShape) -> usize {
        a.contents.iter().zip(b.contents.iter()).take_while(|(a, b)| a == b).count()
    }

    #[test]
    fn prompts_share_the_blocks_whose_tokens_are_equal_from_the_beginning() {
        let ids = |prefix: u32, rest: u32| {
            let ids: Vec<u32> = (0..40).map(|at| if at < 36 { prefix + at } else { rest }).collect();
            Request::of(Content::TokenIds(ids.into()), 40, 8)
        };
        let shapes = shapes(&[ids(0, 7), ids(0, 9), ids(1, 7)]);
        assert_eq!(shapes[0].contents.len(), 2, "40 tokens fill two blocks of 16");
        assert_eq!((common(&shapes[0], &shapes[1]), common(&shapes[0], &shapes[2])), (2, 0));
    }

    #[test]
    fn texts_are_encoded_and_adapters_share_nothing() {
        let text = "word ".repeat(80);
        let plain = Request::text(&*text, 80, 8);
        let lora = plain.clone().with(|own| own.model = Some("sql".into()));
        let shapes = shapes(&[plain.clone(), plain, lora]);
        assert!(shapes[0].contents.len() >= 4 && shapes[0].contents == shapes[1].contents);
        assert_eq!(common(&shapes[0], &shapes[2]), 0);
    }

    #[test]
    fn a_turn_repeats_what_was_said_and_shares_its_blocks() {
        let turn = |tokens| PreparedTurn {
            content: Content::Text("hello".into()),
            tokens,
            output: 30,
            answer: "".into(),
        };
        let session: Vec<Request> = session_requests(vec![turn(50), turn(20)]).collect();
        let shapes = shapes(&[session.clone(), session].concat());
        let lengths: Vec<(u32, u32)> = shapes.iter().map(|shape| (shape.prompt, shape.output)).collect();
        assert_eq!(lengths, [(50, 30), (100, 30), (50, 30), (100, 30)]);
        assert_eq!(common(&shapes[0], &shapes[1]), 5, "80 tokens were said before the second turn");
        assert_eq!(common(&shapes[0], &shapes[2]), 0, "sessions differ");
        let places: Vec<(u64, u32)> =
            shapes.iter().map(|shape| shape.turn.unwrap()).map(|turn| (turn.session, turn.index)).collect();
        assert_eq!(places, [(1, 0), (1, 1), (2, 0), (2, 1)]);
    }

    #[test]
    fn a_hash_of_512_tokens_is_32_blocks_of_16() {
        let blocks = |hashes: &[u64], prompt| hashed_contents(hashes, 512, prompt, 16);
        let (one, other) = (blocks(&[1, 2, 3], 1500), blocks(&[1, 2, 4], 1400));
        assert_eq!((one.len(), other.len()), (93, 87));
        assert_eq!((one[..64] == other[..64], one[64] == other[64]), (true, false));
        assert_eq!(blocks(&[1], 2000).len(), 32, "what the hashes do not cover is unknown");
        assert_eq!(hashed_contents(&[1, 2, 3, 4], 8, 32, 16).len(), 2, "a block may overlap several hashes");
    }
}
