//! Where prompts come from: every request is made before the clock starts, from a file or from a seed.

mod batch;
pub mod bundled;
mod columns;
mod conversations;
mod custom;
mod custom_media;
mod draft;
mod entries;
mod error;
pub mod fingerprint;
mod front;
mod hf;
pub mod hub;
mod lexicon;
mod lines;
mod lora;
mod message;
mod mix;
mod parquet;
mod prefix_repetition;
mod questions;
mod random;
mod random_mm;
mod records;
mod repeat;
mod request;
pub mod salt;
mod sampler;
pub mod sessions;
mod sharegpt;
pub mod sharing;
mod sonnet;
mod source;
mod speller;
pub mod stats;
mod stream;
pub mod template;
mod trace;
pub mod wav;

use std::sync::Arc;
use std::time::Duration;

use crate::core::dataset::Provenance;
use crate::core::rng::Dice;
use crate::core::spec::{self, Bounds, Dataset, Draw, Form};
use crate::drive::tokenizer::Tokenizer;
use template::Template;

pub use error::{Fault, Format, Place, WorkloadError};
pub use request::{Content, Own, Request, Turn};

/// The requests of a run, in the order in which they are sent, and where they came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Workload {
    /// As many as were asked for.
    pub requests: Vec<Request>,
    /// When each is due, from the first: only where the dataset is a trace that tells.
    pub arrivals: Option<Vec<Duration>>,
    /// Where they came from.
    pub provenance: Provenance,
}

/// How far the preparation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// A file is being read; it may be read more than once.
    Reading {
        /// Bytes read.
        bytes: u64,
        /// Of this many, where that is known.
        total: Option<u64>,
    },
    /// Prompts are being counted or written.
    Tokenizing {
        /// Requests that are ready.
        done: usize,
        /// Requests that are wanted.
        of: usize,
    },
}

/// Is told how far the preparation is, often and from any thread.
pub type OnProgress<'a> = dyn Fn(Progress) + Sync + 'a;

/// Makes the requests of a run, the measured ones and behind them the spare ones. The same arguments give the same
/// requests. With dice of our own, asking for more keeps the first ones; with Python's, asking for more spare ones does.
/// The dice are left as the measured requests leave them.
///
/// This is work for seconds to minutes on all cores: do not call it on a thread that must answer.
///
/// # Errors
/// When the file, the lengths, or the tokenizer will not do; see [`WorkloadError`].
pub fn prepare(
    spec: &spec::Workload,
    dice: &mut Dice,
    tokenizer: &Tokenizer,
    progress: &OnProgress<'_>,
) -> Result<Workload, WorkloadError> {
    let template = template_for(&spec.form, &spec.dataset, tokenizer)?;
    let job = Job {
        num_prompts: spec.num_prompts.saturating_add(spec.spare),
        measured: spec.num_prompts,
        draw: spec.draw,
        bounds: spec.bounds,
        form: &spec.form,
        template: template.as_ref(),
        seed: dice.seed(),
        tokenizer,
        progress,
    };
    let mut workload = requests(&spec.dataset, &job, dice)?;
    if let Some(lora) = spec.lora.as_ref().filter(|lora| !lora.modules.is_empty()) {
        let adapters = lora::assign(sessions::count(&workload.requests), lora, dice);
        // A session stays with its adapter.
        let parties = workload.requests.chunk_by(|_, next| sessions::is_later(next)).zip(adapters);
        let sent_to = |(requests, adapter): (&[Request], &str)| -> Vec<Request> {
            let requests = requests.iter().cloned();
            requests.map(|request| request.with(|own| own.model = Some(adapter.into()))).collect()
        };
        workload.requests = parties.flat_map(sent_to).collect();
    }
    Ok(workload)
}

/// The requests of one dataset.
fn requests(dataset: &Dataset, job: &Job<'_>, dice: &mut Dice) -> Result<Workload, WorkloadError> {
    match dataset {
        Dataset::Sharegpt { path, output_len } => sharegpt::prepare(path.as_deref(), *output_len, job, dice),
        Dataset::Custom { path, output_len } => custom::prepare(path, *output_len, job, dice),
        Dataset::Random(lengths) => random::prepare(lengths, job, dice),
        Dataset::PrefixRepetition(shape) => prefix_repetition::prepare(shape, job, dice),
        Dataset::Trace(trace) => trace::prepare(trace, job),
        Dataset::Mix { path, classes } => mix::prepare(path, classes, job),
        Dataset::RandomBatch(batch) => batch::prepare(batch, job, dice),
        Dataset::RandomRerank(rerank) => batch::prepare_rerank(rerank, job, dice),
        Dataset::RandomMm(media) => random_mm::prepare(media, job, dice),
        Dataset::Sonnet(poem) => sonnet::prepare(poem, job),
        Dataset::SpecBench(bench) => questions::spec_bench(bench, job, dice),
        Dataset::SpeedBench(bench) => questions::speed_bench(bench, job, dice),
        Dataset::Hf(hf) => hf::prepare(hf, job, dice),
        Dataset::CustomImage(media) => custom_media::images(media, job, dice),
        Dataset::CustomAudio(media) => custom_media::recordings(media, job, dice),
        Dataset::SharegptTurns { path, output_len, turns } => {
            sessions::sharegpt(path.as_deref(), *output_len, *turns, job)
        }
        Dataset::RandomTurns(wanted) => sessions::random(wanted, job),
        Dataset::Conversations { path, all } => sessions::conversations(path, *all, job),
    }
}

/// The template that prompts are put through on our side, if they are.
fn template_for(
    form: &Form,
    dataset: &Dataset,
    tokenizer: &Tokenizer,
) -> Result<Option<Template>, WorkloadError> {
    match form {
        Form::Rendered { kwargs } if dataset.is_rendered() => {
            let chat = tokenizer.chat()?.ok_or_else(|| WorkloadError::Template {
                origin: tokenizer.describe().origin,
                cause: "there is none beside the tokenizer".into(),
            })?;
            Template::new(&chat, kwargs).map(Some)
        }
        Form::Rendered { .. } | Form::Text | Form::Chat => Ok(None),
    }
}

/// What every dataset needs to know.
#[derive(Clone, Copy)]
struct Job<'a> {
    /// How many requests are wanted.
    num_prompts: usize,
    /// How many of them, from the first, are measured.
    measured: usize,
    draw: Draw,
    bounds: Bounds,
    form: &'a Form,
    /// What prompts are put through, where the form asks for it.
    template: Option<&'a Template>,
    seed: u64,
    tokenizer: &'a Tokenizer,
    progress: &'a OnProgress<'a>,
}

impl<'a> Job<'a> {
    /// Nothing special.
    #[cfg(test)]
    fn plain(num_prompts: usize, tokenizer: &'a Tokenizer) -> Self {
        Self {
            num_prompts,
            measured: num_prompts,
            draw: Draw::default(),
            bounds: Bounds::default(),
            form: &Form::Text,
            template: None,
            seed: 0,
            tokenizer,
            progress: &|_| {},
        }
    }

    /// How many requests are not measured.
    fn spare(&self) -> usize {
        self.num_prompts - self.measured
    }

    /// How many requests there are to be where a file has so many: some of them again if they are too few, but not where
    /// all are wanted, and where that is not asked for only for the warm-up.
    fn enough(&self, distinct: usize) -> usize {
        let again = self.draw.oversample && self.measured < spec::Workload::ALL;
        let measured = if again { self.measured } else { self.measured.min(distinct) };
        measured + self.spare()
    }

    /// The text that is sent for a user's prompt, where vLLM puts it through a chat template.
    fn put(&self, prompt: Arc<str>) -> Result<Arc<str>, WorkloadError> {
        match self.template {
            Some(template) => Ok(template.render_user(&prompt)?.into()),
            None => Ok(prompt),
        }
    }
}

#[cfg(test)]
mod tests;
