//! The `sonnet` dataset: lines of a poem, drawn for each prompt, after lines that all prompts share.
//!
//! The rules are those of vLLM's former `SonnetDataset`. The mean length of a line determines how many lines give the
//! requested lengths. Lines are drawn with replacement. A prompt that is too long is drawn again. The Python-compatible
//! RNG draws lines as `random.choices` did in vLLM, one prompt after the other. The native RNG gives each prompt its
//! own stream.

use std::io::Read as _;
use std::path::Path;

use rand::seq::IndexedRandom as _;
use rayon::prelude::*;
use serde_json::Map;

use super::source::DatasetSource;
use super::{DatasetError, DatasetFormat, PrepareContext, PrepareProgress, PreparedWorkload};
use crate::dataset::chat_template::ChatTemplate;
use crate::dataset::requests::RequestSink;
use crate::dataset::rng_stream::RngStream;
use crate::model::dataset::Provenance;
use crate::model::digest::Digest;
use crate::model::request::Request;
use crate::model::rng::{PythonRandom, PythonRng, RunRng};
use crate::model::run_spec::{PromptFormat, SonnetDataset};

/// Shakespeare's sonnets; see `datasets/README.md`.
const BUNDLED: &str = include_str!("../../datasets/sonnet.txt");
/// The name of the bundled sonnets in reports.
const BUNDLED_NAME: &str = "bundled sonnets";
/// The text that begins every prompt.
const OPENING: &str = "Pick as many lines as you can from these poem lines:\n";

const FORMAT: &DatasetFormat =
    &DatasetFormat { name: "poem", shape: "a text of a few hundred lines", named_by: "`dataset.path`" };

/// Maximum size of a poem, in bytes. The poem is held in memory.
const MAX_TEXT_BYTES: u64 = 64 << 20;
/// Number of prompts that are drawn at a time, in parallel.
const PROMPTS_PER_BLOCK: usize = 256;
/// Maximum number of draws for one prompt that is short enough. Lengths scatter around the requested one, so about two
/// draws are needed.
const MAX_DRAWS: usize = 20;

/// Draws prompts until enough of them are short enough.
pub(super) fn prepare(
    sonnet: &SonnetDataset,
    job: &PrepareContext<'_>,
    dice: &mut RunRng,
) -> Result<PreparedWorkload, DatasetError> {
    let (name, mut text, digest) = text(sonnet, job)?;
    if dice.is_python_compatible() {
        // Python treats every type of line end as `\n`.
        text = text.replace("\r\n", "\n").replace('\r', "\n");
    }
    // Lines keep their line ends, so that joined lines give the original text.
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let recipe = SonnetLayout::new(&lines, sonnet, job)?;
    let most = job.num_prompts.saturating_mul(MAX_DRAWS).saturating_add(4 * PROMPTS_PER_BLOCK);
    let mut requests = match dice.python_mut() {
        Some(globals) => recipe.write_as_python(sonnet, job, globals, most)?,
        None => job.request_sink(),
    };
    let mut drawn = 0;
    while requests.len() < job.num_prompts {
        if drawn >= most {
            return Err(too_long(drawn, requests.len(), sonnet.input_len));
        }
        let block: Vec<Request> = (drawn..drawn + PROMPTS_PER_BLOCK)
            .into_par_iter()
            .map(|index| recipe.write(index, job))
            .collect::<Result<_, _>>()?;
        drawn += PROMPTS_PER_BLOCK;
        let short_enough = block.into_iter().filter(|request| request.prompt_tokens <= sonnet.input_len);
        let missing = job.num_prompts - requests.len();
        requests.extend(short_enough.take(missing))?;
        (job.progress)(PrepareProgress::Tokenizing { done: requests.len(), of: job.num_prompts });
    }
    let provenance =
        Provenance { path: Some(name), sha256: Some(digest), ..Provenance::from_generator("sonnet") };
    Ok(PreparedWorkload { requests: requests.finish()?, arrivals: None, provenance })
}

/// Loads the poem. Returns its name, its text and the file's digest.
pub(super) fn text(
    sonnet: &SonnetDataset,
    job: &PrepareContext<'_>,
) -> Result<(String, String, Digest), DatasetError> {
    match &sonnet.path {
        Some(path) => read(path, job),
        None => Ok((BUNDLED_NAME.into(), BUNDLED.into(), Digest::from_bytes(BUNDLED.as_bytes()))),
    }
}

fn read(path: &Path, job: &PrepareContext<'_>) -> Result<(String, String, Digest), DatasetError> {
    let source = DatasetSource::open(path, FORMAT, job.read_options())?;
    let (name, limit) = (source.name.clone(), source.text_limit);
    let (text, seal) = source.into_text();
    let mut bytes = Vec::new();
    text.take(MAX_TEXT_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| DatasetError::unreadable(&name, error))?;
    if bytes.len() as u64 > MAX_TEXT_BYTES {
        return Err(unmakeable(format!(
            "{name} is larger than {} MiB, the maximum for a poem",
            MAX_TEXT_BYTES >> 20
        )));
    }
    match String::from_utf8(bytes) {
        Ok(text) => {
            match text.lines().map(|line| limit.check(line)).enumerate().find(|(_, checked)| checked.is_err())
            {
                Some((line, Err(fault))) => Err(unmakeable(format!("{name}: line {}: {fault}", line + 1))),
                _ => Ok((name, text, seal.digest())),
            }
        }
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let line = error.as_bytes()[..valid].iter().filter(|byte| **byte == b'\n').count() + 1;
            Err(unmakeable(format!("{name}: line {line}: not UTF-8; convert the file to UTF-8")))
        }
    }
}

/// The layout of a prompt.
struct SonnetLayout<'a> {
    lines: &'a [&'a str],
    /// The opening, followed by the lines that all prompts share.
    beginning: String,
    /// The number of drawn lines.
    drawn: usize,
    output_len: u32,
    /// The template for counting the tokens of a chat. The server applies the template to the chat.
    counting: Option<ChatTemplate>,
}

impl<'a> SonnetLayout<'a> {
    fn new(
        lines: &'a [&'a str],
        sonnet: &SonnetDataset,
        job: &PrepareContext<'_>,
    ) -> Result<Self, DatasetError> {
        let total: u64 = job.tokenizer.count_batch(lines)?.into_iter().map(u64::from).sum();
        let mean = total as f64 / lines.len().max(1) as f64;
        if mean == 0.0 {
            return Err(unmakeable("the text has no tokens; set `dataset.path` to a file of lines".into()));
        }
        let counting = match (job.form, job.template) {
            // The client does not apply the template to a chat, but vLLM counts the chat's tokens as if it did.
            (PromptFormat::Chat, None) => match job.tokenizer.chat_config()? {
                Some(chat) => Some(ChatTemplate::new(&chat, &Map::new())?),
                None => None,
            },
            _ => None,
        };
        let opening = match &counting {
            Some(template) => job.tokenizer.count(&template.render_user(OPENING)?)?,
            None => job.tokenizer.count(&job.apply_chat_template(OPENING.into())?)?,
        };
        if sonnet.input_len <= opening {
            return Err(unmakeable(format!(
                "`sonnet.input_len` is {}, and the opening that every prompt has is {opening} tokens already",
                sonnet.input_len
            )));
        }
        // Python rounds halves to the even number.
        let fit = |len: u32| (f64::from(len.saturating_sub(opening)) / mean).round_ties_even() as usize;
        let shared = fit(sonnet.prefix_len);
        let beginning = [&[OPENING], &lines[..shared.min(lines.len())]].concat().concat();
        Ok(Self {
            lines,
            beginning,
            drawn: fit(sonnet.input_len).saturating_sub(shared),
            output_len: sonnet.output_len,
            counting,
        })
    }

    /// Writes the prompt at `index`.
    fn write(&self, index: usize, job: &PrepareContext<'_>) -> Result<Request, DatasetError> {
        let mut rng = RngStream::Lines.rng_for_index(job.seed, index);
        let lines = (0..self.drawn).filter_map(|_| self.lines.choose(&mut rng).copied());
        self.request(lines, job)
    }

    /// Writes the measured prompts as vLLM's client did.
    fn write_as_python(
        &self,
        sonnet: &SonnetDataset,
        job: &PrepareContext<'_>,
        globals: &mut PythonRng,
        most: usize,
    ) -> Result<RequestSink, DatasetError> {
        globals.random = PythonRandom::new(job.seed);
        let (mut requests, count) = (job.request_sink(), self.lines.len());
        for drawn in 0.. {
            if requests.len() >= job.measured {
                break;
            }
            if drawn >= most {
                return Err(too_long(drawn, requests.len(), sonnet.input_len));
            }
            let mut choose = || (globals.random.double() * count as f64) as usize;
            let lines: Vec<&str> = (0..self.drawn).map(|_| self.lines[choose().min(count - 1)]).collect();
            let request = self.request(lines.into_iter(), job)?;
            if request.prompt_tokens <= sonnet.input_len {
                requests.push(request)?;
            }
        }
        Ok(requests)
    }

    fn request<'l>(
        &self,
        lines: impl Iterator<Item = &'l str>,
        job: &PrepareContext<'_>,
    ) -> Result<Request, DatasetError> {
        let mut prompt = self.beginning.clone();
        lines.for_each(|line| prompt.push_str(line));
        let prompt = job.apply_chat_template(prompt.into())?;
        let tokens = match &self.counting {
            Some(template) => job.tokenizer.count(&template.render_user(&prompt)?)?,
            None => job.tokenizer.count(&prompt)?,
        };
        Ok(Request::text(prompt, tokens, self.output_len))
    }
}

fn too_long(drawn: usize, found: usize, input_len: u32) -> DatasetError {
    unmakeable(format!(
        "only {found} of {drawn} prompts have at most {input_len} tokens; choose a larger `sonnet.input_len`"
    ))
}

fn unmakeable(cause: String) -> DatasetError {
    DatasetError::Unmakeable { dataset: "sonnet", cause }
}
