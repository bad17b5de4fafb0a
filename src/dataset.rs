//! Prepares the prompts of a run from a file or from a seed, before the clock starts.

mod batch;
pub mod bundled;
pub(crate) mod chat_template;
mod columns;
mod conversations;
mod custom;
mod custom_media;
pub(crate) mod dataset_stats;
pub(crate) mod detect;
mod error;
pub(crate) mod fingerprint;
mod hf;
pub(crate) mod hub;
mod json_array;
mod json_entry;
mod json_records;
mod jsonl;
mod length_bounds;
mod length_fitter;
mod lora;
mod message;
mod mix;
mod parquet;
mod prefix_repetition;
mod random;
mod random_mm;
mod read_options;
mod repeat;
pub(crate) mod requests;
mod retokenizer;
mod rng_stream;
mod row_limit;
pub(crate) mod salt;
mod sampler;
pub(crate) mod sessions;
pub(crate) mod shapes;
pub(crate) mod shared_prefix;
mod sharegpt;
mod shuffle_prefix;
mod single_token_words;
mod sonnet;
mod source;
mod spec_bench;
mod text_limit;
mod trace;

use std::sync::Arc;

use crate::dataset::chat_template::ChatTemplate;
use crate::dataset::read_options::ReadOptions;
use crate::dataset::requests::{RequestSink, Requests};
use crate::dataset::text_limit::TextLimit;
use crate::model::arrival::{OffsetSink, Offsets};
use crate::model::dataset::Provenance;
use crate::model::rng::RunRng;
use crate::model::run_spec::{self, Dataset, DatasetSampling, LengthBounds, PromptFormat};
use crate::model::spool::KEPT_IN_MEMORY;
use crate::tokenizer::Tokenizer;

pub(crate) use error::{DatasetError, DatasetFault, DatasetFormat, FilePosition};
pub(crate) use trace::{is_plain_trace, trace_shapes};

/// The requests of a run in send order, and their provenance.
#[derive(Debug, Clone, PartialEq)]
pub struct PreparedWorkload {
    /// The requests. Their number is the number that the caller asked for.
    pub requests: Requests,
    /// When each request is due, counted from the first request. `None` unless the dataset is a trace with timestamps.
    pub arrivals: Option<Offsets>,
    /// The dataset that the requests come from.
    pub provenance: Provenance,
}

/// The progress of the preparation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrepareProgress {
    /// The preparation is reading a file. It may read the file more than once.
    Reading {
        /// Bytes read.
        bytes: u64,
        /// The size of the input in bytes; `None` if it is unknown.
        total: Option<u64>,
    },
    /// The preparation is counting the tokens of prompts or writing prompts.
    Tokenizing {
        /// The number of requests that are ready.
        done: usize,
        /// The number of requests to prepare.
        of: usize,
    },
}

/// Receives the progress of the preparation. The preparation calls it often and from any thread.
pub(crate) type ProgressFn<'a> = dyn Fn(PrepareProgress) + Sync + 'a;

/// Prepares the requests of a run: the measured requests, followed by the spare requests. The same arguments give the
/// same requests. With the native RNG, asking for more requests leaves the first ones unchanged. With the
/// Python-compatible RNG, only asking for more spare requests does. The RNG is left in the state in which the measured
/// requests leave it.
///
/// The preparation keeps all cores busy for seconds to minutes. Do not call it on a thread that must stay responsive.
///
/// # Errors
/// `DatasetError` when the file, the lengths, or the tokenizer cannot be used.
pub fn prepare(
    spec: &run_spec::WorkloadSpec,
    dice: &mut RunRng,
    tokenizer: &Tokenizer,
    progress: &ProgressFn<'_>,
) -> Result<PreparedWorkload, DatasetError> {
    prepare_keeping(KEPT_IN_MEMORY, spec, dice, tokenizer, progress)
}

/// Like [`prepare`], with at most `kept` requests in memory. The others are in a temporary file.
pub(crate) fn prepare_keeping(
    kept: usize,
    spec: &run_spec::WorkloadSpec,
    dice: &mut RunRng,
    tokenizer: &Tokenizer,
    progress: &ProgressFn<'_>,
) -> Result<PreparedWorkload, DatasetError> {
    let template = template_for(&spec.form, &spec.dataset, tokenizer)?;
    let job = PrepareContext {
        num_prompts: spec.num_prompts.saturating_add(spec.spare),
        measured: spec.num_prompts,
        draw: spec.draw,
        bounds: spec.bounds,
        strict: spec.strict,
        form: &spec.form,
        template: template.as_ref(),
        seed: dice.seed(),
        tokenizer,
        progress,
        lengths: None,
        kept,
    };
    let mut workload = length_bounds::within_bounds(&spec.dataset, &job, dice)?;
    if let Some(lora) = spec.lora.as_ref().filter(|lora| !lora.modules.is_empty()) {
        let mut adapters = lora::assign(lora, dice);
        let mut adapter = None;
        workload.requests.update(|request| {
            // All turns of a session use the same adapter.
            if !request.is_later_turn() {
                adapter = adapters.next();
            }
            *request = request.clone().with(|own| own.model = adapter.map(ToOwned::to_owned));
            Ok::<(), DatasetError>(())
        })?;
    }
    Ok(workload)
}

/// Prepares the requests of one dataset, before length limits are applied.
fn prepare_dataset(
    dataset: &Dataset,
    job: &PrepareContext<'_>,
    dice: &mut RunRng,
) -> Result<PreparedWorkload, DatasetError> {
    match dataset {
        Dataset::Sharegpt { path, output_len } => sharegpt::prepare(path.as_deref(), *output_len, job, dice),
        Dataset::Custom { path, output_len } => custom::prepare(path, *output_len, job, dice),
        Dataset::Random(lengths) => random::prepare(lengths, job, dice),
        Dataset::PrefixRepetition(shape) => prefix_repetition::prepare(shape, job, dice),
        Dataset::Trace(trace) => trace::prepare(trace, job, dice),
        Dataset::Mix { path, classes } => mix::prepare(path, classes, job),
        Dataset::RandomBatch(batch) => batch::prepare(batch, job, dice),
        Dataset::RandomRerank(rerank) => batch::prepare_rerank(rerank, job, dice),
        Dataset::RandomMm(media) => random_mm::prepare(media, job, dice),
        Dataset::Sonnet(poem) => sonnet::prepare(poem, job, dice),
        Dataset::SpecBench(bench) => spec_bench::spec_bench(bench, job, dice),
        Dataset::SpeedBench(bench) => spec_bench::speed_bench(bench, job, dice),
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

/// The chat template that the client applies to prompts; `None` if the client applies none.
fn template_for(
    form: &PromptFormat,
    dataset: &Dataset,
    tokenizer: &Tokenizer,
) -> Result<Option<ChatTemplate>, DatasetError> {
    match form {
        PromptFormat::Rendered { kwargs } if dataset.uses_chat_template() => {
            let chat = tokenizer.chat_config()?.ok_or_else(|| DatasetError::Template {
                origin: tokenizer.describe().origin,
                cause: "there is none beside the tokenizer".into(),
            })?;
            ChatTemplate::new(&chat, kwargs).map(Some)
        }
        PromptFormat::Rendered { .. } | PromptFormat::Text | PromptFormat::Chat => Ok(None),
    }
}

/// What every dataset needs to prepare its requests.
#[derive(Clone, Copy)]
struct PrepareContext<'a> {
    /// The number of requests to prepare, spare ones included.
    num_prompts: usize,
    /// The number of measured requests. They come first.
    measured: usize,
    draw: DatasetSampling,
    bounds: LengthBounds,
    /// If true, the first bad row of a file is an error.
    strict: bool,
    form: &'a PromptFormat,
    /// The template that the client applies to prompts, where the prompt format asks for it.
    template: Option<&'a ChatTemplate>,
    seed: u64,
    tokenizer: &'a Tokenizer,
    progress: &'a ProgressFn<'a>,
    /// Receives the lengths of each request of a file, in tokens, in place of the request: no request is kept.
    lengths: Option<&'a LengthFn<'a>>,
    /// The number of requests that may stay in memory.
    kept: usize,
}

/// Receives the length of a prompt and of its requested output, in tokens.
type LengthFn<'a> = dyn Fn(u32, u32) + Sync + 'a;

impl<'a> PrepareContext<'a> {
    /// A context with default settings.
    #[cfg(test)]
    fn plain(num_prompts: usize, tokenizer: &'a Tokenizer) -> Self {
        Self {
            num_prompts,
            measured: num_prompts,
            draw: DatasetSampling::default(),
            bounds: LengthBounds::default(),
            strict: false,
            form: &PromptFormat::Text,
            template: None,
            seed: 0,
            tokenizer,
            progress: &|_| {},
            lengths: None,
            kept: KEPT_IN_MEMORY,
        }
    }

    fn read_options(&self) -> ReadOptions<'a> {
        ReadOptions {
            progress: self.progress,
            strict: self.strict,
            text_limit: TextLimit::from_bounds(&self.bounds),
        }
    }

    /// Collects the requests that are prepared.
    fn request_sink(&self) -> RequestSink {
        RequestSink::new(self.kept)
    }

    /// Collects the due times of a trace.
    fn offset_sink(&self) -> OffsetSink {
        OffsetSink::new(self.kept)
    }

    /// The number of requests that are not measured.
    fn spare_count(&self) -> usize {
        self.num_prompts - self.measured
    }

    /// The number of requests to prepare from a file with `distinct` usable entries. Entries repeat to make up the
    /// measured requests, unless oversampling is off or the whole file is wanted. Entries always repeat to make up the
    /// spare requests.
    fn required_count(&self, distinct: usize) -> usize {
        let again = self.draw.oversample && self.measured < run_spec::WorkloadSpec::ALL;
        let measured = if again { self.measured } else { self.measured.min(distinct) };
        measured + self.spare_count()
    }

    /// Applies the chat template to a user's prompt, where vLLM does. Without a template, the prompt stays as it is.
    fn apply_chat_template(&self, prompt: Arc<str>) -> Result<Arc<str>, DatasetError> {
        match self.template {
            Some(template) => Ok(template.render_user(&prompt)?.into()),
            None => Ok(prompt),
        }
    }
}

#[cfg(test)]
mod tests;
