//! Conversations made from a description: vLLM's `generate_conversations`.
//!
//! The first prompt is what all conversations share, then what is the conversation's own, then the turn's text; later
//! prompts are the turn's text. Texts are passages of the named files, or of random text where none are named. As in
//! vLLM, `num_turns` counts both sides and is rounded up to whole turns.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use rand::RngExt as _;
use rayon::prelude::*;
use serde::Deserialize;

use super::conversations::CONVERSATIONS;
use super::distribution::{Law, Sampler};
use super::passages::Passages;
use super::{Exchange, session};
use crate::core::dataset::{Drops, Provenance};
use crate::core::rng::Dice;
use crate::core::spec::RandomLengths;
use crate::drive::tokenizer::{TokenizeError, Tokenizer};
use crate::drive::workload::source::Source;
use crate::drive::workload::stream::Stream;
use crate::drive::workload::{Content, Fault, Job, Place, Workload, WorkloadError, random};

/// Says what to do with a passage, so that a model has something to answer.
const TASK: &str = "Rewrite the passage below in other words, then go on with it. ";

/// How long the random text is that passages are cut from, in tokens.
const RANDOM_TEXT: u32 = 16 << 10;

/// The description.
#[derive(Deserialize)]
struct Description {
    filetype: String,
    num_conversations: usize,
    #[serde(default)]
    text_files: Vec<PathBuf>,
    prompt_input: Input,
    prompt_output: Output,
}

#[derive(Deserialize)]
struct Input {
    num_turns: Law,
    common_prefix_num_tokens: Option<Law>,
    prefix_num_tokens: Option<Law>,
    num_tokens: Law,
}

#[derive(Deserialize)]
struct Output {
    num_tokens: Law,
}

/// The description, ready to be drawn from.
struct Samplers {
    turns: Sampler,
    prefix: Option<Sampler>,
    input: Sampler,
    output: Sampler,
}

/// Makes as many as asked; with `all`, as many as the file says.
pub fn prepare(source: Source<'_>, path: &Path, all: bool, job: &Job<'_>) -> Result<Workload, WorkloadError> {
    let name = source.name.clone();
    let malformed =
        |place, fault| WorkloadError::Malformed { path: name.clone(), place, fault, format: CONVERSATIONS };
    let nowhere = Place { entry: None, line: 1, column: 0 };
    let (mut text, seal) = source.into_text();
    let mut json = Vec::new();
    text.read_to_end(&mut json).map_err(|error| WorkloadError::unreadable(&name, error))?;
    let wanted: Description = serde_json::from_slice(&json).map_err(|error| {
        malformed(Place { entry: None, line: error.line(), column: error.column() }, Fault::of_json(&error))
    })?;
    if wanted.filetype != "generate_conversations" {
        let fault = Fault::Shape(format!("`filetype` is `{}`", wanted.filetype));
        return Err(malformed(nowhere, fault));
    }
    let samplers = Samplers::of(&wanted).map_err(|fault| malformed(nowhere, Fault::Shape(fault)))?;
    let sessions = if all { wanted.num_conversations } else { job.num_prompts };
    let text = match wanted.text_files.is_empty() {
        true => random_text(job)?,
        false => read_texts(&wanted.text_files, path)?,
    };
    let no_words = || malformed(nowhere, Fault::Shape("`text_files` hold no words".into()));
    let passages = Passages::of(&text, job.tokenizer).ok_or_else(no_words)?;
    let common = common(&wanted, &passages, job)?;
    let written: Vec<Vec<Exchange>> = (0..sessions)
        .into_par_iter()
        .map(|index| write(index, &samplers, &common, &passages, job))
        .collect::<Result<_, TokenizeError>>()?;
    let provenance = Provenance {
        dataset: "conversations".into(),
        path: Some(name),
        sha256: Some(seal.digest()),
        candidates: 0,
        dropped: Drops::default(),
        repeated: 0,
        inexact: 0,
    };
    Ok(Workload { requests: written.into_iter().flat_map(session).collect(), arrivals: None, provenance })
}

impl Samplers {
    fn of(wanted: &Description) -> Result<Self, String> {
        let sampler = |name: &str, law: &Law| law.sampler().map_err(|error| format!("`{name}`: {error}"));
        let input = &wanted.prompt_input;
        let prefix = input.prefix_num_tokens.as_ref().map(|law| sampler("prefix_num_tokens", law));
        // Drawn once for all, but found out now.
        let common = input.common_prefix_num_tokens.as_ref();
        common.map(|law| sampler("common_prefix_num_tokens", law)).transpose()?;
        Ok(Self {
            turns: sampler("num_turns", &input.num_turns)?,
            prefix: prefix.transpose()?,
            input: sampler("num_tokens", &input.num_tokens)?,
            output: sampler("prompt_output.num_tokens", &wanted.prompt_output.num_tokens)?,
        })
    }
}

/// What all conversations begin with.
fn common(wanted: &Description, passages: &Passages<'_>, job: &Job<'_>) -> Result<String, TokenizeError> {
    let law = wanted.prompt_input.common_prefix_num_tokens;
    let Some(sampler) = law.and_then(|law| law.sampler().ok()) else { return Ok(String::new()) };
    let tokens = sampler.draw(0, &mut Stream::Prefix.rng(job.seed));
    Ok(passages.write("", 0, tokens)?.text)
}

/// One conversation.
fn write(
    index: usize,
    samplers: &Samplers,
    common: &str,
    passages: &Passages<'_>,
    job: &Job<'_>,
) -> Result<Vec<Exchange>, TokenizeError> {
    let mut rng = Stream::Passage.rng_of(job.seed, index);
    let turns = samplers.turns.draw(2, &mut rng).div_ceil(2);
    let prefix = samplers.prefix.map_or(0, |sampler| sampler.draw(0, &mut rng));
    let mut place = || rng.random_range(0..passages.len());
    let (own, mut places) = (place(), Vec::new());
    places.extend((0..turns).map(|_| place()));
    let tokenizer = job.tokenizer;
    let mut written = Vec::new();
    for (turn, place) in places.into_iter().enumerate() {
        let (input, output) = (samplers.input.draw(1, &mut rng), samplers.output.draw(1, &mut rng));
        // The number keeps a conversation's prompts apart from the others'.
        let mut passage = passages.write(&format!("Number {index}. {TASK}"), place, input)?;
        if turn == 0 {
            let prefix = if prefix > 0 {
                passages.write(&format!("Story {index}. "), own, prefix)?.text
            } else {
                String::new()
            };
            passage.text = join(&[common, &prefix, &passage.text]);
        }
        let tokens = tokens(&passage.text, turn, tokenizer)?;
        written.push(Exchange {
            content: Content::Text(passage.text.into()),
            tokens,
            output,
            answer: "".into(),
        });
    }
    Ok(written)
}

fn tokens(text: &str, turn: usize, tokenizer: &Tokenizer) -> Result<u32, TokenizeError> {
    if turn == 0 { tokenizer.count(text) } else { tokenizer.count_plain(text) }
}

fn join(parts: &[&str]) -> String {
    parts.iter().copied().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
}

/// Files are looked for where the user is, then beside the description.
fn read_texts(files: &[PathBuf], description: &Path) -> Result<String, WorkloadError> {
    let folder = description.parent().unwrap_or(Path::new(""));
    let read = |file: &PathBuf| {
        let path = if file.exists() { file.clone() } else { folder.join(file) };
        fs::read_to_string(&path)
            .map_err(|error| WorkloadError::unopened(&path.display().to_string(), error, "`text_files`"))
    };
    files.iter().map(read).collect::<Result<Vec<_>, _>>().map(|texts| texts.join("\n"))
}

fn random_text(job: &Job<'_>) -> Result<String, WorkloadError> {
    let lengths = RandomLengths {
        input_len: RANDOM_TEXT,
        output_len: 1,
        prefix_len: 0,
        input_range_ratio: 0.0,
        output_range_ratio: 0.0,
        token_ids: false,
    };
    let written = random::prepare(&lengths, &Job { num_prompts: 1, ..*job }, &Dice::native(job.seed))?;
    let text = written.requests.first().and_then(|request| request.content.as_text());
    Ok(text.unwrap_or_default().to_owned())
}
