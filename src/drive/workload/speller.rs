//! Decoding tokens and encoding the text again, without doing again what was done before.
//!
//! Random prompts are walks through one vocabulary, so the same neighbours meet again and again. A word that stands
//! between a letter and a blank with a letter is encoded by itself in every usual tokenizer: byte-level ones split there
//! before they merge, and the others have no token with a blank inside. So the walk is cut at such places, each part is
//! spelled once, and a prompt is put together from parts. Whether the tokenizer is a usual one is tried out; with another
//! everything is decoded and encoded as a whole.

use std::collections::HashMap;

use rayon::prelude::*;

use crate::drive::tokenizer::{Local, TokenizeError};

/// What stands before a part while it is spelled: the beginning of a text is special in many tokenizers.
const CONTEXT: &str = "the";

/// Remembering pays for walks that are in all so many times as long as the vocabulary.
const WORTH_IT: usize = 4;

/// So many stretches of the walk, of so many tokens, are spelled both ways to see whether it is the same.
const TRIALS: usize = 8;
const TRIAL: usize = 400;

/// Decodes tokens and encodes the text again.
pub(super) struct Speller<'a> {
    local: &'a Local,
    memory: Option<Memory>,
}

/// A text and its tokens.
pub(super) type Spelled = (String, Vec<u32>);

impl<'a> Speller<'a> {
    /// One that remembers nothing.
    pub fn plain(local: &'a Local) -> Self {
        Self { local, memory: None }
    }

    /// One for walks through these tokens that are `tokens` long in all.
    pub fn for_walks(local: &'a Local, walk: &[u32], tokens: usize) -> Result<Self, TokenizeError> {
        let mut speller = Self::plain(local);
        if tokens / WORTH_IT >= walk.len() {
            speller.memory = Memory::of(local, walk)?;
            if !speller.holds(walk)? {
                speller.memory = None;
            }
        }
        Ok(speller)
    }

    /// The text of tokens, and the tokens of that text.
    pub fn respell(&self, ids: &[u32]) -> Result<Spelled, TokenizeError> {
        match &self.memory {
            Some(memory) => match memory.respell(self.local, ids)? {
                Some(spelled) => Ok(spelled),
                None => self.spell(ids),
            },
            None => self.spell(ids),
        }
    }

    /// The same as a whole.
    fn spell(&self, ids: &[u32]) -> Result<Spelled, TokenizeError> {
        let text = self.local.decode(ids)?;
        let ids = self.local.encode(&text)?;
        Ok((text, ids))
    }

    /// Whether remembering gives what doing it gives.
    fn holds(&self, walk: &[u32]) -> Result<bool, TokenizeError> {
        let step = (walk.len() / TRIALS).max(1);
        let stretches = walk.par_chunks(step).map(|part| &part[..part.len().min(TRIAL)]);
        let same = stretches.map(|ids| {
            let once = self.spell(ids)?;
            Ok(self.respell(ids)? == once && self.respell(&once.1)? == self.spell(&once.1)?)
        });
        Ok(same.collect::<Result<Vec<bool>, TokenizeError>>()?.into_iter().all(|same| same))
    }
}

/// The parts of a walk.
struct Memory {
    context: Vec<u32>,
    /// By token: how it stands beside others.
    edges: HashMap<u32, Edges>,
    /// By the tokens as they are in the walk, and as they are encoded.
    parts: HashMap<Box<[u32]>, Part>,
}

/// Whether a token begins with a blank and a letter, and ends with a letter.
#[derive(Debug, Clone, Copy)]
struct Edges {
    begins: bool,
    ends: bool,
}

struct Part {
    text: Box<str>,
    ids: Box<[u32]>,
}

impl Memory {
    /// Spells the parts of a walk; `None` where the context does not stay what it is.
    fn of(local: &Local, walk: &[u32]) -> Result<Option<Self>, TokenizeError> {
        let context = local.encode(CONTEXT)?;
        let mut memory = Self { context, edges: HashMap::new(), parts: HashMap::new() };
        if local.decode(&memory.context)? != CONTEXT {
            return Ok(None);
        }
        let edges = |id: &u32| {
            let text = memory.decode(local, &[*id])?.unwrap_or_default();
            let bytes = text.as_bytes();
            let begins = matches!(bytes, [b' ', letter, ..] if letter.is_ascii_alphabetic());
            Ok((*id, Edges { begins, ends: bytes.last().is_some_and(u8::is_ascii_alphabetic) }))
        };
        memory.edges = walk.par_iter().map(edges).collect::<Result<_, TokenizeError>>()?;
        let cuts: Vec<&[u32]> = memory.cut(walk).collect();
        let spelled = cuts.par_iter().map(|ids| Ok((*ids, memory.spell(local, ids)?)));
        let spelled = spelled.collect::<Result<Vec<_>, TokenizeError>>()?;
        for (ids, part) in spelled {
            let Some((text, encoded)) = part else { continue };
            // What is encoded is decoded and encoded again when its end is cut off or filled up.
            for key in [ids.into(), encoded.clone().into_boxed_slice()] {
                let part = Part { text: text.as_str().into(), ids: encoded.as_slice().into() };
                memory.parts.insert(key, part);
            }
        }
        Ok(Some(memory))
    }

    /// Cuts tokens where a word ends and another begins. The first part is the beginning of the text.
    fn cut<'i>(&self, ids: &'i [u32]) -> impl Iterator<Item = &'i [u32]> {
        let edges = |id: &u32| self.edges.get(id).copied().unwrap_or(Edges { begins: false, ends: false });
        ids.chunk_by(move |before, after| !(edges(before).ends && edges(after).begins))
    }

    fn respell(&self, local: &Local, ids: &[u32]) -> Result<Option<Spelled>, TokenizeError> {
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
                let Some((text, ids)) = self.spell(local, ids)? else { return Ok(None) };
                all.0.push_str(&text);
                all.1.extend(ids);
            }
        }
        Ok(Some(all))
    }

    /// Behind the context; `None` if that does not stay what it is.
    fn spell(&self, local: &Local, ids: &[u32]) -> Result<Option<Spelled>, TokenizeError> {
        let Some(text) = self.decode(local, ids)? else { return Ok(None) };
        let encoded = local.encode(&format!("{CONTEXT}{text}"))?;
        Ok(encoded.strip_prefix(self.context.as_slice()).map(|ids| (text, ids.to_vec())))
    }

    fn decode(&self, local: &Local, ids: &[u32]) -> Result<Option<String>, TokenizeError> {
        let text = local.decode(&[&self.context, ids].concat())?;
        Ok(text.strip_prefix(CONTEXT).map(ToOwned::to_owned))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::tokenizer::Tokenizer;
    use crate::drive::workload::bundled;

    #[test]
    fn what_is_remembered_is_what_would_be_done() {
        let Tokenizer::Local(local) = bundled::tokenizer() else { unreachable!() };
        let walk = local.ordinary_ids();
        let speller = Speller::for_walks(&local, &walk, usize::MAX).unwrap();
        assert!(speller.memory.as_ref().is_some_and(|memory| memory.parts.len() > 100));
        for start in (0..walk.len()).step_by(397) {
            let ids: Vec<u32> = walk.iter().cycle().skip(start).take(300).copied().collect();
            let (text, encoded) = speller.spell(&ids).unwrap();
            assert_eq!(speller.respell(&ids).unwrap(), (text, encoded.clone()));
            // Cut, then filled up with tokens from elsewhere, as prompts are on the way to their length.
            let filled = [&encoded[..encoded.len() - 7], &walk[start / 2..start / 2 + 5]].concat();
            assert_eq!(speller.respell(&filled).unwrap(), speller.spell(&filled).unwrap());
        }
    }

    #[test]
    fn a_few_short_prompts_are_not_worth_remembering() {
        let Tokenizer::Local(local) = bundled::tokenizer() else { unreachable!() };
        let walk = local.ordinary_ids();
        assert!(Speller::for_walks(&local, &walk, walk.len()).unwrap().memory.is_none());
    }
}
