//! `sharegpt`: the first two turns of conversations, sampled as vLLM does.
//!
//! Rules (`vllm/benchmarks/datasets`, `ShareGPTDataset` and `is_valid_sequence`): entries with at least two turns are
//! shuffled; from the front, those whose lengths are within bounds are taken until there are enough; if there are not
//! enough, taken ones are drawn again.

use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;

use super::conversations::{self, Conversation, Media};
use super::front::{Front, Order};
use super::repeat::repeat;
use super::sampler::admit;
use super::source::is_rereadable;
use super::{Job, Progress, Request, Workload, WorkloadError, message};
use crate::core::dataset::{Drops, Provenance};
use crate::core::digest::Digest;
use crate::core::rng::Dice;
use crate::core::spec::{Bounds, Form};
use crate::drive::tokenizer::{TokenizeError, Tokenizer};

/// A prompt or an output of fewer tokens is not used, with vLLM's bounds.
const SHORTEST: u32 = 4;
/// vLLM's bounds, where the user gives none.
pub(super) const BOUNDS: Bounds = Bounds {
    min_prompt_len: Some(SHORTEST),
    max_prompt_len: Some(1024),
    max_total_len: Some(2048),
    max_model_len: None,
};

/// How many conversations are counted at a time: enough to keep the cores busy, few enough not to count in vain.
pub(super) const BLOCK: usize = 256;

/// Samples requests from a file; without a path, from the bundled conversations.
pub(super) fn prepare(
    path: Option<&Path>,
    output_len: Option<u32>,
    job: &Job<'_>,
    dice: &mut Dice,
) -> Result<Workload, WorkloadError> {
    let count = || Ok(read(path, job, &mut |_| ())?.pairs());
    let rereadable = path.is_none_or(is_rereadable);
    let order = Order::of(job, dice, rereadable.then_some(count))?;
    // About two in three real conversations are within bounds, so the front of the shuffled file is enough almost
    // always, and the rest need not be kept. Where it is not enough, the file is read again and more of it is kept.
    let few = job.num_prompts.saturating_mul(3).saturating_add(BLOCK);
    let mut keep = if rereadable { few } else { usize::MAX };
    loop {
        let mut front = Front::new(&order, keep);
        let file = read(path, job, &mut |conversation| front.offer(|| Pair::from(conversation)))?;
        let whole = front.is_whole();
        let (mut requests, mut dropped) = pick(&front.into_items(dice), output_len, job)?;
        if requests.len() < job.num_prompts && !whole {
            keep = keep.saturating_mul(8);
            continue;
        }
        dropped.few_turns = file.few_turns;
        if requests.is_empty() && job.num_prompts > 0 {
            let bounds = job.bounds.or(BOUNDS).in_words().unwrap_or_default();
            let rule = format!("two turns or more, an output of at least {SHORTEST} tokens, {bounds}");
            return Err(WorkloadError::Unusable { path: file.name, candidates: file.entries, dropped, rule });
        }
        let repeated = repeat(&mut requests, job, dice);
        let provenance = Provenance {
            dataset: "sharegpt".into(),
            path: Some(file.name),
            sha256: Some(file.digest),
            candidates: file.entries,
            dropped,
            repeated,
            inexact: 0,
        };
        return Ok(Workload { requests, arrivals: None, provenance });
    }
}

/// A conversation of two turns or more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pair {
    pub prompt: Arc<str>,
    pub answer: Box<str>,
    /// What is shown with the prompt.
    pub media: Option<Media>,
}

impl From<Conversation> for Pair {
    fn from(Conversation { prompt, answer, media, .. }: Conversation) -> Self {
        Self { prompt: prompt.into(), answer: answer.into(), media }
    }
}

/// What was in a file.
struct Contents {
    name: String,
    digest: Digest,
    entries: usize,
    few_turns: usize,
}

impl Contents {
    /// Conversations of two turns or more.
    fn pairs(&self) -> usize {
        self.entries - self.few_turns
    }
}

/// Reads the whole file and hands its pairs on.
fn read(
    path: Option<&Path>,
    job: &Job<'_>,
    sink: &mut dyn FnMut(Conversation),
) -> Result<Contents, WorkloadError> {
    let source = conversations::open(path, job.progress)?;
    let (name, mut entries, mut few_turns) = (source.name.clone(), 0, 0);
    let digest = conversations::read(source, &mut |conversation| {
        entries += 1;
        match conversation.turns < 2 {
            true => few_turns += 1,
            false => sink(conversation),
        }
        Ok(())
    })?;
    Ok(Contents { name, digest, entries, few_turns })
}

/// Takes valid pairs from the front until there are enough. Pairs are counted in parallel blocks; what is beyond the
/// last one taken is not looked at, so the result is that of going one by one.
fn pick(
    pairs: &[Pair],
    output_len: Option<u32>,
    job: &Job<'_>,
) -> Result<(Vec<Request>, Drops), WorkloadError> {
    let (mut requests, mut dropped) = (Vec::new(), Drops::default());
    for block in pairs.chunks(BLOCK) {
        if requests.len() >= job.num_prompts {
            break;
        }
        let lengths: Vec<Lengths> = block
            .par_iter()
            .map(|pair| Lengths::of(pair, output_len, job.tokenizer))
            .collect::<Result<_, _>>()?;
        for (pair, lengths) in block.iter().zip(lengths) {
            if requests.len() >= job.num_prompts {
                break;
            }
            if lengths.accept(output_len.is_some(), job.bounds.or(BOUNDS), &mut dropped) {
                requests.push(lengths.request(pair, job.form));
            }
        }
        (job.progress)(Progress::Tokenizing { done: requests.len(), of: job.num_prompts.min(pairs.len()) });
    }
    Ok((requests, dropped))
}

/// A pair's lengths in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lengths {
    pub prompt: u32,
    pub output: u32,
}

impl Lengths {
    /// Counts both turns, special tokens included, as vLLM does. A forced output length is not counted.
    pub fn of(pair: &Pair, output_len: Option<u32>, tokenizer: &Tokenizer) -> Result<Self, TokenizeError> {
        Ok(Self {
            prompt: tokenizer.count(&pair.prompt)?,
            output: output_len.map_or_else(|| tokenizer.count(&pair.answer), Ok)?,
        })
    }

    /// Whether the bounds let the pair in; if not, the first reason is counted. A forced output may be short.
    pub fn accept(self, forced_output: bool, bounds: Bounds, dropped: &mut Drops) -> bool {
        if self.output < SHORTEST
            && !forced_output
            && bounds.min_prompt_len.is_none_or(|least| self.prompt >= least)
        {
            dropped.short_output += 1;
            return false;
        }
        admit(bounds, self.prompt, self.output, dropped)
    }

    /// Only a chat shows what is with the prompt; as in vLLM, other endpoints get the text alone.
    fn request(self, pair: &Pair, form: &Form) -> Request {
        let shown = match (&pair.media, form) {
            (Some(Media::Image(name)), Form::Chat) => message::image(message::reference(name)),
            (Some(Media::Video(name)), Form::Chat) => message::video(message::reference(name)),
            _ => return Request::text(pair.prompt.clone(), self.prompt, self.output),
        };
        let content = message::user(vec![message::text(&pair.prompt), shown]);
        Request::of(content, self.prompt, self.output)
    }
}
