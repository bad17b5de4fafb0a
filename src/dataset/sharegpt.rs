//! The `sharegpt` dataset: the first two turns of conversations, sampled as vLLM does.
//!
//! The rules are those of `ShareGPTDataset` and `is_valid_sequence` in `vllm/benchmarks/datasets`. Entries with at
//! least two turns are shuffled, and the first ones with lengths within bounds are taken. If there are too few, taken
//! entries are drawn again.

use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;

use super::conversations::{self, Conversation, MediaRef};
use super::repeat::repeat;
use super::sampler::is_admitted;
use super::source::is_rereadable;
use super::{DatasetError, PrepareContext, PrepareProgress, PreparedWorkload, message};
use crate::dataset::read_options::{FileSummary, describe_rule};
use crate::dataset::requests::RequestSink;
use crate::dataset::shuffle_prefix::{ReadOrder, ShufflePrefix};
use crate::model::dataset::{BadRows, DropCounts, Provenance};
use crate::model::digest::Digest;
use crate::model::request::Request;
use crate::model::rng::RunRng;
use crate::model::run_spec::{LengthBounds, PromptFormat};
use crate::tokenizer::{TokenizeError, Tokenizer};

/// With vLLM's bounds, prompts and outputs with fewer tokens are not used.
const MIN_TOKENS: u32 = 4;
/// vLLM's bounds. They apply if the user gives none.
pub(super) const BOUNDS: LengthBounds = LengthBounds {
    min_prompt_len: Some(MIN_TOKENS),
    max_prompt_len: Some(1024),
    max_total_len: Some(2048),
    max_model_len: None,
};

/// Number of conversations that are counted at a time: large enough to keep all cores busy, small enough to count few
/// in excess.
pub(super) const BLOCK: usize = 256;

/// Samples requests from a file; without a path, from the bundled conversations.
pub(super) fn prepare(
    path: Option<&Path>,
    output_len: Option<u32>,
    job: &PrepareContext<'_>,
    dice: &mut RunRng,
) -> Result<PreparedWorkload, DatasetError> {
    let count = || Ok(read(path, job, &mut |_| ())?.pair_count());
    let rereadable = path.is_none_or(is_rereadable);
    let order = ReadOrder::decide(job, dice, rereadable.then_some(count))?;
    // About two in three real conversations are within bounds, so the front of the shuffled file is almost always
    // enough, and the rest is not kept. If it is not enough, the file is read again and more of it is kept.
    let few = job.num_prompts.saturating_mul(3).saturating_add(BLOCK);
    let mut keep = if rereadable { few } else { usize::MAX };
    loop {
        let mut front = ShufflePrefix::new(&order, keep);
        let file = read(path, job, &mut |conversation| front.offer(|| SharegptPair::from(conversation)))?;
        let whole = front.is_complete();
        let (mut requests, mut dropped) = pick(&front.into_items(dice), output_len, job)?;
        if requests.len() < job.num_prompts && !whole {
            keep = keep.saturating_mul(8);
            continue;
        }
        dropped.few_turns = file.few_turns;
        dropped.malformed = file.bad;
        if requests.len() == 0 && job.num_prompts > 0 {
            let bounds = job.bounds.or_default(BOUNDS).describe().unwrap_or_default();
            let rule = format!("two turns or more, an output of at least {MIN_TOKENS} tokens, {bounds}");
            let rule = describe_rule(rule, &dropped, conversations::SHAREGPT);
            return Err(DatasetError::Unusable {
                path: file.name,
                candidates: file.entries,
                dropped: dropped.into(),
                rule,
            });
        }
        let repeated = repeat(&mut requests, job, dice)?;
        let provenance = Provenance {
            path: Some(file.name),
            sha256: Some(file.digest),
            candidates: file.entries,
            dropped,
            repeated,
            system_prompts: file.system_prompts,
            ..Provenance::from_generator("sharegpt")
        };
        return Ok(PreparedWorkload { requests: requests.finish()?, arrivals: None, provenance });
    }
}

/// A conversation with at least two turns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SharegptPair {
    pub prompt: Arc<str>,
    pub answer: Box<str>,
    /// The image or video of the prompt.
    pub media: Option<MediaRef>,
}

impl From<Conversation> for SharegptPair {
    fn from(Conversation { prompt, answer, media, .. }: Conversation) -> Self {
        Self { prompt: prompt.into(), answer: answer.into(), media }
    }
}

/// The result of reading a file.
struct SharegptSummary {
    name: String,
    digest: Digest,
    entries: usize,
    few_turns: usize,
    bad: BadRows,
    system_prompts: usize,
}

impl SharegptSummary {
    /// The number of conversations with at least two turns.
    fn pair_count(&self) -> usize {
        self.entries - self.few_turns - self.bad.total()
    }
}

/// Reads the whole file and passes its pairs to the caller.
fn read(
    path: Option<&Path>,
    job: &PrepareContext<'_>,
    sink: &mut dyn FnMut(Conversation),
) -> Result<SharegptSummary, DatasetError> {
    let source = conversations::open(path, job.read_options())?;
    let name = source.name.clone();
    let (mut entries, mut few_turns, mut system_prompts) = (0, 0, 0);
    let FileSummary { digest, bad } = conversations::read(source, &mut |conversation| {
        entries += 1;
        system_prompts += usize::from(conversation.system_prompt && conversation.turns >= 2);
        match conversation.turns < 2 {
            true => few_turns += 1,
            false => sink(conversation),
        }
        Ok(())
    })?;
    entries += bad.total();
    Ok(SharegptSummary { name, digest, entries, few_turns, bad, system_prompts })
}

/// Takes valid pairs from the front until there are enough. Pairs are counted in parallel blocks. Pairs after the last
/// one taken have no effect, so the result equals that of a sequential pass.
fn pick(
    pairs: &[SharegptPair],
    output_len: Option<u32>,
    job: &PrepareContext<'_>,
) -> Result<(RequestSink, DropCounts), DatasetError> {
    let (mut requests, mut dropped) = (job.request_sink(), DropCounts::default());
    for block in pairs.chunks(BLOCK) {
        if requests.len() >= job.num_prompts {
            break;
        }
        let lengths: Vec<PairLengths> = block
            .par_iter()
            .map(|pair| PairLengths::count_pair(pair, output_len, job.tokenizer))
            .collect::<Result<_, _>>()?;
        for (pair, lengths) in block.iter().zip(lengths) {
            if requests.len() >= job.num_prompts {
                break;
            }
            if lengths.is_accepted(output_len.is_some(), job.bounds.or_default(BOUNDS), &mut dropped) {
                requests.push(lengths.request(pair, job.form))?;
            }
        }
        (job.progress)(PrepareProgress::Tokenizing {
            done: requests.len(),
            of: job.num_prompts.min(pairs.len()),
        });
    }
    Ok((requests, dropped))
}

/// A pair's lengths in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PairLengths {
    pub prompt: u32,
    pub output: u32,
}

impl PairLengths {
    /// Counts the tokens of both turns, special tokens included, as vLLM does. The second turn is not counted if the
    /// output length is forced.
    pub(super) fn count_pair(
        pair: &SharegptPair,
        output_len: Option<u32>,
        tokenizer: &Tokenizer,
    ) -> Result<Self, TokenizeError> {
        Ok(Self {
            prompt: tokenizer.count(&pair.prompt)?,
            output: output_len.map_or_else(|| tokenizer.count(&pair.answer), Ok)?,
        })
    }

    /// Whether the pair is within bounds. If it is not, the first reason is counted. A forced output may be short.
    pub(super) fn is_accepted(
        self,
        forced_output: bool,
        bounds: LengthBounds,
        dropped: &mut DropCounts,
    ) -> bool {
        if self.output < MIN_TOKENS
            && !forced_output
            && bounds.min_prompt_len.is_none_or(|least| self.prompt >= least)
        {
            dropped.short_output += 1;
            return false;
        }
        is_admitted(bounds, self.prompt, self.output, dropped)
    }

    /// Builds the request. Only a chat includes the image or video; as in vLLM, other endpoints receive only the text.
    fn request(self, pair: &SharegptPair, form: &PromptFormat) -> Request {
        let shown = match (&pair.media, form) {
            (Some(MediaRef::Image(name)), PromptFormat::Chat) => message::image(message::reference(name)),
            (Some(MediaRef::Video(name)), PromptFormat::Chat) => message::video(message::reference(name)),
            _ => return Request::text(pair.prompt.clone(), self.prompt, self.output),
        };
        let content = message::user(vec![message::text(&pair.prompt), shown]);
        Request::of(content, self.prompt, self.output)
    }
}
