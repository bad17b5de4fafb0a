//! `sonnet`: lines of a poem, drawn anew for each prompt behind lines that all prompts share.
//!
//! The rules are those of vLLM's former `SonnetDataset`: from the mean length of a line follows how many lines make the
//! asked lengths; lines are drawn with repetition; a prompt that comes out too long is drawn again. The numbers come from
//! our own generator.

use std::io::Read as _;
use std::path::Path;

use rand::seq::IndexedRandom as _;
use rayon::prelude::*;

use super::source::Source;
use super::stream::Stream;
use super::{Format, Job, Progress, Request, Workload, WorkloadError};
use crate::core::dataset::Provenance;
use crate::core::digest::Digest;
use crate::core::spec::Sonnet;

/// Shakespeare's sonnets: see `datasets/README.md`.
const BUNDLED: &str = include_str!("../../../datasets/sonnet.txt");
/// How reports call them.
const BUNDLED_NAME: &str = "bundled sonnets";
/// What every prompt begins with.
const OPENING: &str = "Pick as many lines as you can from these poem lines:\n";

const FORMAT: &Format =
    &Format { name: "poem", shape: "a text of a few hundred lines", flag: "--dataset-path" };

/// The longest text: it is held in memory.
const LONGEST: u64 = 64 << 20;
/// How many prompts are drawn at a time, in parallel.
const BLOCK: usize = 256;
/// Prompts drawn for one that is short enough, at most. Lengths scatter around the asked one, so that about two are needed.
const TRIES: usize = 20;

/// Draws prompts until there are enough that are short enough.
pub(super) fn prepare(sonnet: &Sonnet, job: &Job<'_>) -> Result<Workload, WorkloadError> {
    let (name, text, digest) = match &sonnet.path {
        Some(path) => read(path, job)?,
        None => (BUNDLED_NAME.into(), BUNDLED.into(), Digest::of(BUNDLED.as_bytes())),
    };
    // Line ends stay: joined lines are the text again.
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let recipe = Recipe::of(&lines, sonnet, job)?;
    let most = job.num_prompts.saturating_mul(TRIES).saturating_add(4 * BLOCK);
    let (mut requests, mut drawn) = (Vec::new(), 0);
    while requests.len() < job.num_prompts {
        if drawn >= most {
            return Err(unmakeable(format!(
                "of {drawn} prompts only {} have at most {} tokens; ask for a larger --sonnet-input-len",
                requests.len(),
                sonnet.input_len
            )));
        }
        let block: Vec<Request> = (drawn..drawn + BLOCK)
            .into_par_iter()
            .map(|index| recipe.write(index, job))
            .collect::<Result<_, _>>()?;
        drawn += BLOCK;
        let short_enough = block.into_iter().filter(|request| request.prompt_tokens <= sonnet.input_len);
        let missing = job.num_prompts - requests.len();
        requests.extend(short_enough.take(missing));
        (job.progress)(Progress::Tokenizing { done: requests.len(), of: job.num_prompts });
    }
    let provenance = Provenance { path: Some(name), sha256: Some(digest), ..Provenance::generated("sonnet") };
    Ok(Workload { requests, arrivals: None, provenance })
}

fn read(path: &Path, job: &Job<'_>) -> Result<(String, String, Digest), WorkloadError> {
    let source = Source::open(path, FORMAT, job.progress)?;
    let name = source.name.clone();
    let (text, seal) = source.into_text();
    let mut bytes = Vec::new();
    text.take(LONGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| WorkloadError::unreadable(&name, error))?;
    if bytes.len() as u64 > LONGEST {
        return Err(unmakeable(format!("{name} is larger than {} MiB: is it a poem?", LONGEST >> 20)));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok((name, text, seal.digest())),
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let line = error.as_bytes()[..valid].iter().filter(|byte| **byte == b'\n').count() + 1;
            Err(unmakeable(format!("{name}: line {line}: not UTF-8; convert the file to UTF-8")))
        }
    }
}

/// How a prompt is put together.
struct Recipe<'a> {
    lines: &'a [&'a str],
    /// The opening and the lines that all prompts share.
    beginning: String,
    /// How many lines follow.
    drawn: usize,
    output_len: u32,
}

impl<'a> Recipe<'a> {
    fn of(lines: &'a [&'a str], sonnet: &Sonnet, job: &Job<'_>) -> Result<Self, WorkloadError> {
        let total: u64 = job.tokenizer.count_batch(lines)?.into_iter().map(u64::from).sum();
        let mean = total as f64 / lines.len().max(1) as f64;
        if mean == 0.0 {
            return Err(unmakeable("the text has no tokens; give --dataset-path a file of lines".into()));
        }
        let opening = job.tokenizer.count(&job.put(OPENING.into())?)?;
        if sonnet.input_len <= opening {
            return Err(unmakeable(format!(
                "--sonnet-input-len {} leaves no room behind the opening of {opening} tokens",
                sonnet.input_len
            )));
        }
        let fit = |len: u32| (f64::from(len.saturating_sub(opening)) / mean).round() as usize;
        let shared = fit(sonnet.prefix_len).min(lines.len());
        let beginning = [&[OPENING], &lines[..shared]].concat().concat();
        Ok(Self {
            lines,
            beginning,
            drawn: fit(sonnet.input_len).saturating_sub(shared),
            output_len: sonnet.output_len,
        })
    }

    /// Draws the `index`-th prompt.
    fn write(&self, index: usize, job: &Job<'_>) -> Result<Request, WorkloadError> {
        let mut rng = Stream::Lines.rng_of(job.seed, index);
        let mut prompt = self.beginning.clone();
        (0..self.drawn).filter_map(|_| self.lines.choose(&mut rng)).for_each(|line| prompt.push_str(line));
        let prompt = job.put(prompt.into())?;
        let tokens = job.tokenizer.count(&prompt)?;
        Ok(Request::text(prompt, tokens, self.output_len))
    }
}

fn unmakeable(cause: String) -> WorkloadError {
    WorkloadError::Unmakeable { dataset: "sonnet", cause }
}
