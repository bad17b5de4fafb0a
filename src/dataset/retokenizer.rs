//! Decodes tokens and encodes the text again, with a cache of text parts.
//!
//! Random prompts are walks, which are runs of consecutive ids of one vocabulary, so the same neighbors occur again and
//! again. A word is encoded independently of its context if it follows a letter and begins with a blank and a letter.
//! This holds for every usual tokenizer: byte-level ones split there before they merge, and the others have no token
//! with a blank inside.
//!
//! A walk is therefore cut at such places, each part is retokenized once, and prompts are assembled from the parts. A
//! trial checks whether this gives the exact result with the tokenizer. If it does not, every text is decoded and
//! encoded as a whole.

use std::collections::HashMap;

use rayon::prelude::*;

use crate::tokenizer::{LocalTokenizer, TokenizeError};

/// The text before a part while the part is retokenized. It is needed because many tokenizers treat the beginning of a
/// text specially.
const CONTEXT_TEXT: &str = "the";

/// The cache pays off if the walks have at least this many times the tokens of the vocabulary.
const MIN_CACHE_REUSE: usize = 4;

/// Number of stretches of the walk that are retokenized both with and without the cache to compare the results. Each
/// stretch has `CACHE_TRIAL_TOKENS` tokens.
const CACHE_TRIALS: usize = 8;
const CACHE_TRIAL_TOKENS: usize = 400;

/// Decodes tokens and encodes the text again.
pub(super) struct Retokenizer<'a> {
    local: &'a LocalTokenizer,
    cache: Option<WalkCache>,
}

/// A text and its tokens.
pub(super) type Retokenized = (String, Vec<u32>);

impl<'a> Retokenizer<'a> {
    /// Creates a retokenizer without a cache.
    pub(super) fn uncached(local: &'a LocalTokenizer) -> Self {
        Self { local, cache: None }
    }

    /// Creates a retokenizer with a cache for walks through these ids. `tokens` is the total length of the walks.
    pub(super) fn with_walk_cache(
        local: &'a LocalTokenizer,
        walk: &[u32],
        tokens: usize,
    ) -> Result<Self, TokenizeError> {
        let mut speller = Self::uncached(local);
        if tokens / MIN_CACHE_REUSE >= walk.len() {
            speller.cache = WalkCache::build(local, walk)?;
            if !speller.is_cache_exact(walk)? {
                speller.cache = None;
            }
        }
        Ok(speller)
    }

    /// Decodes tokens to text. Returns the text and its tokens.
    pub(super) fn retokenize(&self, ids: &[u32]) -> Result<Retokenized, TokenizeError> {
        match &self.cache {
            Some(memory) => match memory.retokenize_cached(self.local, ids)? {
                Some(spelled) => Ok(spelled),
                None => self.retokenize_all(ids),
            },
            None => self.retokenize_all(ids),
        }
    }

    /// Decodes and encodes the tokens as a whole, without the cache.
    fn retokenize_all(&self, ids: &[u32]) -> Result<Retokenized, TokenizeError> {
        let text = self.local.decode(ids)?;
        let ids = self.local.encode(&text)?;
        Ok((text, ids))
    }

    /// Whether the cache gives the same result as decoding and encoding.
    fn is_cache_exact(&self, walk: &[u32]) -> Result<bool, TokenizeError> {
        let step = (walk.len() / CACHE_TRIALS).max(1);
        let stretches = walk.par_chunks(step).map(|part| &part[..part.len().min(CACHE_TRIAL_TOKENS)]);
        let same = stretches.map(|ids| {
            let once = self.retokenize_all(ids)?;
            Ok(self.retokenize(ids)? == once && self.retokenize(&once.1)? == self.retokenize_all(&once.1)?)
        });
        Ok(same.collect::<Result<Vec<bool>, TokenizeError>>()?.into_iter().all(|same| same))
    }
}

/// The retokenized parts of a walk.
struct WalkCache {
    context: Vec<u32>,
    /// The boundary properties of each token.
    edges: HashMap<u32, WordEdges>,
    /// The parts by their tokens, both as in the walk and as encoded again.
    parts: HashMap<Box<[u32]>, CachedPart>,
}

/// Whether a token begins with a blank and a letter, and ends with a letter.
#[derive(Debug, Clone, Copy)]
struct WordEdges {
    begins: bool,
    ends: bool,
}

struct CachedPart {
    text: Box<str>,
    ids: Box<[u32]>,
}

impl WalkCache {
    /// Retokenizes the parts of a walk. Returns `None` if the context changes when it is encoded with a part.
    fn build(local: &LocalTokenizer, walk: &[u32]) -> Result<Option<Self>, TokenizeError> {
        let context = local.encode(CONTEXT_TEXT)?;
        let mut memory = Self { context, edges: HashMap::new(), parts: HashMap::new() };
        if local.decode(&memory.context)? != CONTEXT_TEXT {
            return Ok(None);
        }
        let edges = |id: &u32| {
            let text = memory.decode(local, &[*id])?.unwrap_or_default();
            let bytes = text.as_bytes();
            let begins = matches!(bytes, [b' ', letter, ..] if letter.is_ascii_alphabetic());
            Ok((*id, WordEdges { begins, ends: bytes.last().is_some_and(u8::is_ascii_alphabetic) }))
        };
        memory.edges = walk.par_iter().map(edges).collect::<Result<_, TokenizeError>>()?;
        let cuts: Vec<&[u32]> = memory.cut(walk).collect();
        let spelled = cuts.par_iter().map(|ids| Ok((*ids, memory.retokenize_part(local, ids)?)));
        let spelled = spelled.collect::<Result<Vec<_>, TokenizeError>>()?;
        for (ids, part) in spelled {
            let Some((text, encoded)) = part else { continue };
            // The encoded form of a part is retokenized too, when the end of a prompt is truncated or padded.
            for key in [ids.into(), encoded.clone().into_boxed_slice()] {
                let part = CachedPart { text: text.as_str().into(), ids: encoded.as_slice().into() };
                memory.parts.insert(key, part);
            }
        }
        Ok(Some(memory))
    }

    /// Cuts tokens where one word ends and the next begins. The first part is the beginning of the text.
    fn cut<'i>(&self, ids: &'i [u32]) -> impl Iterator<Item = &'i [u32]> {
        let edges =
            |id: &u32| self.edges.get(id).copied().unwrap_or(WordEdges { begins: false, ends: false });
        ids.chunk_by(move |before, after| !(edges(before).ends && edges(after).begins))
    }

    fn retokenize_cached(
        &self,
        local: &LocalTokenizer,
        ids: &[u32],
    ) -> Result<Option<Retokenized>, TokenizeError> {
        let mut cuts = self.cut(ids);
        let first = local.decode(cuts.next().unwrap_or_default())?;
        let mut all = (String::with_capacity(ids.len() * 6), Vec::with_capacity(ids.len() + 16));
        all.1.extend(local.encode(&first)?);
        all.0.push_str(&first);
        for ids in cuts {
            if let Some(part) = self.parts.get(ids) {
                all.0.push_str(&part.text);
                all.1.extend_from_slice(&part.ids);
            } else {
                let Some((text, ids)) = self.retokenize_part(local, ids)? else { return Ok(None) };
                all.0.push_str(&text);
                all.1.extend(ids);
            }
        }
        Ok(Some(all))
    }

    /// Retokenizes a part after the context. Returns `None` if the context does not stay unchanged.
    fn retokenize_part(
        &self,
        local: &LocalTokenizer,
        ids: &[u32],
    ) -> Result<Option<Retokenized>, TokenizeError> {
        let Some(text) = self.decode(local, ids)? else { return Ok(None) };
        let encoded = local.encode(&format!("{CONTEXT_TEXT}{text}"))?;
        Ok(encoded.strip_prefix(self.context.as_slice()).map(|ids| (text, ids.to_vec())))
    }

    fn decode(&self, local: &LocalTokenizer, ids: &[u32]) -> Result<Option<String>, TokenizeError> {
        let text = local.decode(&[&self.context, ids].concat())?;
        Ok(text.strip_prefix(CONTEXT_TEXT).map(ToOwned::to_owned))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::bundled;
    use crate::tokenizer::Tokenizer;

    #[test]
    fn what_is_remembered_is_what_would_be_done() {
        let Tokenizer::Local(local) = bundled::tokenizer() else { unreachable!() };
        let walk = local.ordinary_ids();
        let speller = Retokenizer::with_walk_cache(&local, &walk, usize::MAX).unwrap();
        assert!(speller.cache.as_ref().is_some_and(|memory| memory.parts.len() > 100));
        for start in (0..walk.len()).step_by(397) {
            let ids: Vec<u32> = walk.iter().cycle().skip(start).take(300).copied().collect();
            let (text, encoded) = speller.retokenize_all(&ids).unwrap();
            assert_eq!(speller.retokenize(&ids).unwrap(), (text, encoded.clone()));
            // The tokens are truncated, then padded with other tokens, as a prompt is while it is fitted to its length.
            let filled = [&encoded[..encoded.len() - 7], &walk[start / 2..start / 2 + 5]].concat();
            assert_eq!(speller.retokenize(&filled).unwrap(), speller.retokenize_all(&filled).unwrap());
        }
    }

    #[test]
    fn a_few_short_prompts_are_not_worth_remembering() {
        let Tokenizer::Local(local) = bundled::tokenizer() else { unreachable!() };
        let walk = local.ordinary_ids();
        assert!(Retokenizer::with_walk_cache(&local, &walk, walk.len()).unwrap().cache.is_none());
    }
}
