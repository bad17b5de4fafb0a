//! `custom`: one prompt a line of a JSONL file (vLLM's `CustomDataset`).
//!
//! Every line is good enough, whatever its length. The lines are shuffled, and from the front as many are taken as are
//! asked for; if there are too few, taken ones are drawn again.

use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::front::{Front, Order};
use super::repeat::repeat;
use super::source::{Source, is_rereadable};
use super::{Fault, Format, Job, Progress, Request, Workload, WorkloadError, lines};
use crate::core::dataset::{Drops, Provenance};
use crate::core::digest::Digest;
use crate::core::rng::Dice;
use crate::drive::tokenizer::TokenizeError;

/// The file of prompts.
const CUSTOM: &Format = &Format {
    name: "custom dataset",
    shape: r#"{"prompt": "…", "output_tokens": 128} in each line, where output_tokens may be left out"#,
    flag: "--dataset-path",
};

/// How many prompts are counted before the progress is told.
const BLOCK: usize = 256;

/// Takes prompts from a file. Without an output length, the file's are asked for.
pub(super) fn prepare(
    path: &Path,
    output_len: Option<u32>,
    job: &Job<'_>,
    dice: &mut Dice,
) -> Result<Workload, WorkloadError> {
    let count = || {
        let mut count = 0;
        read(path, output_len, job, &mut |_| count += 1)?;
        Ok(count)
    };
    let order = Order::of(job, dice, is_rereadable(path).then_some(count))?;
    let mut front = Front::new(&order, job.num_prompts);
    let digest = read(path, output_len, job, &mut |ask| front.offer(|| ask))?;
    let candidates = front.seen;
    if candidates == 0 {
        return Err(WorkloadError::Empty { path: path.display().to_string(), format: CUSTOM });
    }
    let mut requests = requests(&front.into_items(dice), job)?;
    let repeated = repeat(&mut requests, job, dice);
    let provenance = Provenance {
        dataset: "custom".into(),
        path: Some(path.display().to_string()),
        sha256: Some(digest),
        candidates,
        dropped: Drops::default(),
        repeated,
        inexact: 0,
    };
    Ok(Workload { requests, arrivals: None, provenance })
}

/// A line of the file.
#[derive(Deserialize)]
#[serde(expecting = "an object with `prompt`")]
struct Record {
    prompt: String,
    output_tokens: Option<Value>,
    /// Whatever else there is; without it, an array would do for an object.
    #[serde(flatten)]
    _others: IgnoredAny,
}

/// What a line asks for.
struct Ask {
    prompt: Arc<str>,
    max_tokens: u32,
}

/// Reads the whole file, and gives its digest.
fn read(
    path: &Path,
    output_len: Option<u32>,
    job: &Job<'_>,
    sink: &mut dyn FnMut(Ask),
) -> Result<Digest, WorkloadError> {
    let source = Source::open(path, CUSTOM, job.progress)?;
    lines::read::<Record>(source, &mut |line| {
        let Record { prompt, output_tokens, .. } = line.record;
        let max_tokens = output_len.map_or_else(|| asked_tokens(output_tokens.as_ref()), Ok)?;
        sink(Ask { prompt: prompt.into(), max_tokens });
        Ok(())
    })
}

/// The output length that a line asks for; like Python's `int`, a fraction is cut off.
fn asked_tokens(output_tokens: Option<&Value>) -> Result<u32, Fault> {
    let Some(value) = output_tokens else {
        let cure = "no `output_tokens`, which is to be the output length; set one with --custom-output-len";
        return Err(Fault::Shape(cure.into()));
    };
    let number = value.as_f64().filter(|number| (0.0..=f64::from(u32::MAX)).contains(number));
    let fault = || Fault::Shape("`output_tokens` must be a number of tokens, not below zero".into());
    number.map(|number| number as u32).ok_or_else(fault)
}

/// Counts the prompts, in parallel.
fn requests(asks: &[Ask], job: &Job<'_>) -> Result<Vec<Request>, TokenizeError> {
    let mut requests = Vec::with_capacity(asks.len());
    for block in asks.chunks(BLOCK) {
        let counted = block.par_iter().map(|ask| request(ask, job));
        requests.extend(counted.collect::<Result<Vec<_>, _>>()?);
        (job.progress)(Progress::Tokenizing { done: requests.len(), of: job.num_prompts });
    }
    Ok(requests)
}

/// One request. What turns the prompt into the text that is sent, such as a chat template, belongs here: the length is
/// that of the text, special tokens included.
fn request(ask: &Ask, job: &Job<'_>) -> Result<Request, TokenizeError> {
    let tokens = job.tokenizer.count(&ask.prompt)?;
    Ok(Request::text(ask.prompt.clone(), tokens, ask.max_tokens))
}

#[cfg(test)]
mod tests;
