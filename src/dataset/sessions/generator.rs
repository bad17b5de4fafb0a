//! Generates conversations from a description, as vLLM's `generate_conversations` does.
//!
//! The first prompt consists of the text that all conversations share, the text of this conversation, and the turn's
//! text. Later prompts consist of the turn's text. Texts are passages of the named files, or of random text if the
//! description names none. As in vLLM, `num_turns` counts the messages of both sides and is rounded up to whole turns.

use std::path::{Path, PathBuf};

use rand::RngExt as _;
use rayon::prelude::*;
use serde::Deserialize;

use super::distribution::{LengthDistribution, LengthSampler};
use super::passages::PassageSource;
use super::{CONVERSATIONS, PreparedTurn, session_requests};
use crate::dataset::rng_stream::RngStream;
use crate::dataset::source::DatasetSource;
use crate::dataset::{DatasetError, DatasetFault, FilePosition, PrepareContext, PreparedWorkload, random};
use crate::model::bounded_file::{self, FileLimit};
use crate::model::dataset::Provenance;
use crate::model::request::Content;
use crate::model::rng::RunRng;
use crate::model::run_spec::RandomLengths;
use crate::tokenizer::{TokenizeError, Tokenizer};

/// The task before a passage. It gives the model something to answer.
const TASK_TEXT: &str = "Rewrite the passage below in other words, then go on with it. ";

/// Length of the random text that passages are cut from, in tokens.
const RANDOM_TEXT: u32 = 16 << 10;

/// Number of conversations that are written at a time, in parallel.
const SESSIONS_PER_BLOCK: usize = 1024;

/// The description of the conversations.
#[derive(Deserialize)]
struct GeneratorConfig {
    filetype: String,
    num_conversations: usize,
    #[serde(default)]
    text_files: Vec<PathBuf>,
    prompt_input: InputConfig,
    prompt_output: OutputConfig,
}

#[derive(Deserialize)]
struct InputConfig {
    num_turns: LengthDistribution,
    common_prefix_num_tokens: Option<LengthDistribution>,
    prefix_num_tokens: Option<LengthDistribution>,
    num_tokens: LengthDistribution,
}

#[derive(Deserialize)]
struct OutputConfig {
    num_tokens: LengthDistribution,
}

/// The distributions of the description.
struct GeneratorSamplers {
    turns: LengthSampler,
    prefix: Option<LengthSampler>,
    input: LengthSampler,
    output: LengthSampler,
}

/// Generates the requested number of conversations, or with `all`, the number in the file.
pub(super) fn prepare(
    source: DatasetSource<'_>,
    path: &Path,
    all: bool,
    job: &PrepareContext<'_>,
) -> Result<PreparedWorkload, DatasetError> {
    let name = source.name.clone();
    let malformed =
        |place, fault| DatasetError::Malformed { path: name.clone(), place, fault, format: CONVERSATIONS };
    let nowhere = FilePosition { entry: None, line: 1, column: 0 };
    let (text, seal) = source.into_text();
    let json = FileLimit::CONFIG.read_all(text).map_err(|error| DatasetError::unreadable(&name, error))?;
    let wanted: GeneratorConfig = serde_json::from_slice(&json).map_err(|error| {
        malformed(
            FilePosition { entry: None, line: error.line(), column: error.column() },
            DatasetFault::from_json(&error),
        )
    })?;
    if wanted.filetype != "generate_conversations" {
        let fault = DatasetFault::Shape(format!("`filetype` is `{}`", wanted.filetype));
        return Err(malformed(nowhere, fault));
    }
    let samplers = GeneratorSamplers::from_config(&wanted)
        .map_err(|fault| malformed(nowhere, DatasetFault::Shape(fault)))?;
    let sessions = if all { wanted.num_conversations } else { job.num_prompts };
    let text = match wanted.text_files.is_empty() {
        true => random_text(job)?,
        false => read_texts(&wanted.text_files, path)?,
    };
    let no_words = || malformed(nowhere, DatasetFault::Shape("`text_files` hold no words".into()));
    let passages = PassageSource::new(&text, job.tokenizer).ok_or_else(no_words)?;
    let common = common_prefix(&wanted, &passages, job)?;
    let mut requests = job.request_sink();
    for begin in (0..sessions).step_by(SESSIONS_PER_BLOCK) {
        let written: Vec<Vec<PreparedTurn>> = (begin..sessions.min(begin + SESSIONS_PER_BLOCK))
            .into_par_iter()
            .map(|index| write_conversation(index, &samplers, &common, &passages, job))
            .collect::<Result<_, TokenizeError>>()?;
        requests.extend(written.into_iter().flat_map(session_requests))?;
    }
    let provenance = Provenance {
        path: Some(name),
        sha256: Some(seal.digest()),
        ..Provenance::from_generator("conversations")
    };
    Ok(PreparedWorkload { requests: requests.finish()?, arrivals: None, provenance })
}

impl GeneratorSamplers {
    fn from_config(wanted: &GeneratorConfig) -> Result<Self, String> {
        let sampler = |name: &str, law: &LengthDistribution| {
            law.sampler().map_err(|error| format!("`{name}`: {error}"))
        };
        let input = &wanted.prompt_input;
        let prefix = input.prefix_num_tokens.as_ref().map(|law| sampler("prefix_num_tokens", law));
        // This distribution is sampled only once, and later. Its parameters are validated here.
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

/// Draws the text that begins all conversations.
fn common_prefix(
    wanted: &GeneratorConfig,
    passages: &PassageSource<'_>,
    job: &PrepareContext<'_>,
) -> Result<String, TokenizeError> {
    let law = wanted.prompt_input.common_prefix_num_tokens;
    let Some(sampler) = law.and_then(|law| law.sampler().ok()) else { return Ok(String::new()) };
    let tokens = sampler.draw(0, &mut RngStream::Prefix.rng(job.seed));
    Ok(passages.write("", 0, tokens)?.text)
}

/// Writes one conversation.
fn write_conversation(
    index: usize,
    samplers: &GeneratorSamplers,
    common: &str,
    passages: &PassageSource<'_>,
    job: &PrepareContext<'_>,
) -> Result<Vec<PreparedTurn>, TokenizeError> {
    let mut rng = RngStream::Passage.rng_for_index(job.seed, index);
    let turns = samplers.turns.draw(2, &mut rng).div_ceil(2);
    let prefix = samplers.prefix.map_or(0, |sampler| sampler.draw(0, &mut rng));
    let mut place = || rng.random_range(0..passages.len());
    let (own, mut places) = (place(), Vec::new());
    places.extend((0..turns).map(|_| place()));
    let tokenizer = job.tokenizer;
    let mut written = Vec::new();
    for (turn, place) in places.into_iter().enumerate() {
        let (input, output) = (samplers.input.draw(1, &mut rng), samplers.output.draw(1, &mut rng));
        // The number makes a conversation's prompts differ from those of other conversations.
        let mut passage = passages.write(&format!("Number {index}. {TASK_TEXT}"), place, input)?;
        if turn == 0 {
            let prefix = if prefix > 0 {
                passages.write(&format!("Story {index}. "), own, prefix)?.text
            } else {
                String::new()
            };
            passage.text = join(&[common, &prefix, &passage.text]);
        }
        let tokens = tokens(&passage.text, turn, tokenizer)?;
        written.push(PreparedTurn {
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

/// Reads the text files. Each is searched in the current directory, then beside the description.
fn read_texts(files: &[PathBuf], description: &Path) -> Result<String, DatasetError> {
    let folder = description.parent().unwrap_or(Path::new(""));
    let read = |file: &PathBuf| {
        let path = if file.exists() { file.clone() } else { folder.join(file) };
        bounded_file::read_text(&path, FileLimit::TOKENIZER)
            .map_err(|error| DatasetError::cannot_open(&path.display().to_string(), error, "`text_files`"))
    };
    files.iter().map(read).collect::<Result<Vec<_>, _>>().map(|texts| texts.join("\n"))
}

fn random_text(job: &PrepareContext<'_>) -> Result<String, DatasetError> {
    let lengths = RandomLengths {
        input_len: RANDOM_TEXT,
        output_len: 1,
        prefix_len: 0,
        input_range_ratio: 0.0,
        output_range_ratio: 0.0,
        token_ids: false,
    };
    let written =
        random::prepare(&lengths, &PrepareContext { num_prompts: 1, ..*job }, &RunRng::native(job.seed))?;
    let first = written.requests.iter().next();
    Ok(first.and_then(|request| request.content.as_text().map(ToOwned::to_owned)).unwrap_or_default())
}
