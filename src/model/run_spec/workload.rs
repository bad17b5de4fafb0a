//! The workload: the requests to send.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    Backend, CustomMedia, HfDataset, LengthBounds, PromptFormat, RandomBatch, RandomLengths, RandomMedia,
    RandomRerank, Slo, SonnetDataset, SpecBench, SpeedBench, Trace, TraceKind, UniquePrefix,
};

/// The requests to send.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkloadSpec {
    /// The source of the prompts.
    pub dataset: Dataset,
    /// The requested tokenizer: a file, a directory or a hub ID; `None` selects the model's.
    pub tokenizer: Option<String>,
    /// The number of requests to measure (a maximum for a trace); [`WorkloadSpec::ALL`] selects all of a file.
    pub num_prompts: usize,
    /// The number of additional requests to prepare for a warm-up.
    #[serde(skip)]
    pub spare: usize,
    /// How requests are sampled from a file.
    #[serde(default)]
    pub draw: DatasetSampling,
    /// The LoRA adapters that requests use instead of the model; `None` without adapters.
    #[serde(default)]
    pub lora: Option<LoraAdapters>,
    /// The format in which a text is sent to the endpoint.
    #[serde(default)]
    pub form: PromptFormat,
    /// The bounds of the lengths that are sent.
    #[serde(default)]
    pub bounds: LengthBounds,
    /// Whether the first malformed row of a file is an error; otherwise malformed rows are skipped.
    #[serde(default, skip_serializing_if = "is_lenient")]
    pub strict: bool,
    /// The unique prefix of this run's prompts; `None` sends them unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unique: Option<UniquePrefix>,
}

impl WorkloadSpec {
    /// The prompt formats: the run's, and those of a mix's classes.
    pub fn prompt_formats_mut(&mut self) -> impl Iterator<Item = &mut PromptFormat> {
        let classes = match &mut self.dataset {
            Dataset::Mix { classes, .. } => classes.as_mut_slice(),
            _ => &mut [],
        };
        std::iter::once(&mut self.form).chain(classes.iter_mut().map(|class| &mut class.form))
    }

    /// The value of `num_prompts` that selects all requests. It exceeds any file and leaves room for addition.
    pub const ALL: usize = usize::MAX / 2;

    /// Creates a workload of this number of requests of a dataset, with default options.
    pub fn new(dataset: Dataset, num_prompts: usize) -> Self {
        Self {
            dataset,
            tokenizer: None,
            num_prompts,
            spare: 0,
            draw: DatasetSampling::default(),
            lora: None,
            form: PromptFormat::default(),
            bounds: LengthBounds::default(),
            strict: false,
            unique: None,
        }
    }
}

fn is_lenient(strict: &bool) -> bool {
    !strict
}

/// How requests are sampled from a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetSampling {
    /// Use a random order instead of the file's order.
    pub shuffle: bool,
    /// Repeat requests if there are too few; otherwise the run is shorter.
    pub oversample: bool,
}

impl Default for DatasetSampling {
    fn default() -> Self {
        Self { shuffle: true, oversample: true }
    }
}

/// The LoRA adapters of a run and their assignment to requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoraAdapters {
    /// The adapters' names on the server.
    pub modules: Vec<String>,
    /// How adapters are assigned to requests.
    pub assignment: LoraAssignment,
}

/// How adapters are assigned to requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoraAssignment {
    /// Each adapter has the same probability.
    Random,
    /// The adapters take turns.
    RoundRobin,
    /// The probability is proportional to 1 / position in the list: a few popular adapters and many rare ones.
    Zipf,
}

/// The source of the prompts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Dataset {
    /// The first two turns of ShareGPT conversations.
    Sharegpt {
        /// The path of the file; `None` selects the bundled one.
        path: Option<PathBuf>,
        /// Request this number of output tokens instead of the answer's length.
        output_len: Option<u32>,
    },
    /// One prompt per line of a JSONL file.
    Custom {
        /// The path of the file.
        path: PathBuf,
        /// Request this number of output tokens; `None` uses each line's number.
        output_len: Option<u32>,
    },
    /// Random tokens of given lengths.
    Random(RandomLengths),
    /// The requests of a recorded trace.
    Trace(Trace),
    /// A mix of several datasets.
    Mix {
        /// The file that describes the mix.
        path: PathBuf,
        /// The classes of the mix.
        classes: Vec<WorkloadClass>,
    },
    /// Random tokens after a few prefixes that many prompts share.
    #[serde(rename = "prefix_repetition")]
    PrefixRepetition(PrefixRepetition),
    /// Several random texts per request.
    #[serde(rename = "random_batch")]
    RandomBatch(RandomBatch),
    /// Random tokens and random images.
    #[serde(rename = "random-mm")]
    RandomMm(RandomMedia),
    /// Random queries with random documents.
    #[serde(rename = "random-rerank")]
    RandomRerank(RandomRerank),
    /// Lines of a poem.
    Sonnet(SonnetDataset),
    /// Questions in categories.
    #[serde(rename = "spec_bench")]
    SpecBench(SpecBench),
    /// SPEED-Bench.
    #[serde(rename = "speed_bench")]
    SpeedBench(SpeedBench),
    /// A dataset of the Hugging Face hub, or files like those.
    Hf(HfDataset),
    /// Custom prompts with images.
    #[serde(rename = "custom_image")]
    CustomImage(CustomMedia),
    /// Custom prompts with recordings.
    #[serde(rename = "custom_audio")]
    CustomAudio(CustomMedia),
    /// All turns of ShareGPT conversations.
    #[serde(rename = "sharegpt_turns")]
    SharegptTurns {
        /// The path of the file; `None` selects the bundled one.
        path: Option<PathBuf>,
        /// Request this number of output tokens instead of each answer's length.
        output_len: Option<u32>,
        /// The number of turns of each conversation to use at most.
        turns: Option<TurnCount>,
    },
    /// Sessions of random tokens.
    #[serde(rename = "random_turns")]
    RandomTurns(RandomTurns),
    /// Conversations in the format of vLLM's multi-turn script: a list of them, or a description to generate them from.
    #[serde(rename = "conversations")]
    Conversations {
        /// The path of the file.
        path: PathBuf,
        /// Use every session of the file, regardless of `num_prompts`.
        all: bool,
    },
}

impl Dataset {
    /// The bundled ShareGPT conversations.
    pub fn sharegpt_bundled() -> Self {
        Self::Sharegpt { path: None, output_len: None }
    }

    /// The default format of the dataset's prompts for this protocol.
    pub(crate) fn usual_form(&self, backend: Backend) -> PromptFormat {
        match () {
            () if backend.supports_chat() => PromptFormat::Chat,
            () if self.uses_chat_template() => PromptFormat::Rendered { kwargs: Map::new() },
            () => PromptFormat::Text,
        }
    }

    /// A dataset of random tokens with these prompt and output lengths.
    pub fn random(input_len: u32, output_len: u32) -> Self {
        Self::Random(RandomLengths {
            input_len,
            output_len,
            prefix_len: 0,
            input_range_ratio: 0.0,
            output_range_ratio: 0.0,
            token_ids: false,
        })
    }

    /// The number of requests for this number of prompts: vLLM counts texts where a request has several.
    pub(crate) fn requests_for(&self, num_prompts: usize) -> usize {
        match self {
            Self::RandomBatch(batch) => batch.request_count(num_prompts),
            Self::RandomRerank(rerank) => rerank.request_count(num_prompts),
            _ => num_prompts,
        }
    }

    /// vLLM's name for the dataset.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Sharegpt { .. } => "sharegpt",
            Self::Custom { .. } => "custom",
            Self::Random(_) | Self::RandomBatch(_) => "random",
            Self::Trace(trace) => trace.kind.name(),
            Self::Mix { .. } => "mix",
            Self::PrefixRepetition(_) => "prefix_repetition",
            Self::RandomMm(_) => "random-mm",
            Self::RandomRerank(_) => "random-rerank",
            Self::Sonnet(_) => "sonnet",
            Self::SpecBench(_) => "spec_bench",
            Self::SpeedBench(_) => "speed_bench",
            Self::Hf(_) => "hf",
            Self::CustomImage(_) => "custom_image",
            Self::CustomAudio(_) => "custom_audio",
            Self::SharegptTurns { .. } => "sharegpt_turns",
            Self::RandomTurns(_) => "random_turns",
            Self::Conversations { .. } => "conversations",
        }
    }

    /// Returns whether the dataset's texts are synthetic, so that the natural end of an answer has no meaning.
    pub(crate) fn is_random(&self) -> bool {
        matches!(self, Self::Random(_) | Self::RandomMm(_) | Self::Trace(_))
    }

    /// Returns whether vLLM applies a chat template to the dataset's texts before it sends them to an endpoint without
    /// one.
    pub(crate) fn uses_chat_template(&self) -> bool {
        matches!(
            self,
            Self::Custom { .. } | Self::Sonnet(_) | Self::SpecBench(_) | Self::SpeedBench(_) | Self::Hf(_)
        )
    }

    /// The number of leading tokens that all prompts are meant to share, for a dataset whose prompts are made to differ
    /// after them; `None` where a file, a trace or another rule determines it.
    pub(crate) fn shared_prefix(&self) -> Option<u32> {
        match self {
            Self::Random(lengths) => Some(lengths.prefix_len),
            Self::RandomBatch(batch) => Some(batch.text.prefix_len),
            Self::RandomTurns(turns) if !turns.has_common_prefixes() => Some(turns.first.prefix_len),
            _ => None,
        }
    }

    /// Returns whether the dataset's prompts are designed to share beginnings, so that they use the server's prefix
    /// cache.
    pub(crate) fn has_shared_prefixes(&self) -> bool {
        match self {
            Self::Random(lengths) => lengths.prefix_len > 0,
            Self::RandomBatch(batch) => batch.text.prefix_len > 0,
            Self::RandomMm(media) => media.text.prefix_len > 0,
            Self::RandomTurns(turns) => turns.has_common_prefixes() || turns.first.prefix_len > 0,
            Self::Sonnet(poem) => poem.prefix_len > 0,
            Self::PrefixRepetition(_) => true,
            Self::Trace(trace) => trace.kind == TraceKind::TimedTrace,
            Self::Mix { classes, .. } => classes.iter().any(|class| class.dataset.has_shared_prefixes()),
            _ => false,
        }
    }

    /// Returns whether the dataset is a file with a limited number of requests. Other datasets generate any number.
    pub(crate) fn is_finite(&self) -> bool {
        match self {
            Self::Random(_)
            | Self::RandomBatch(_)
            | Self::RandomMm(_)
            | Self::RandomRerank(_)
            | Self::RandomTurns(_)
            | Self::PrefixRepetition(_)
            | Self::Sonnet(_)
            | Self::Mix { .. } => false,
            Self::Sharegpt { .. }
            | Self::SharegptTurns { .. }
            | Self::Custom { .. }
            | Self::CustomImage(_)
            | Self::CustomAudio(_)
            | Self::Conversations { .. }
            | Self::SpecBench(_)
            | Self::SpeedBench(_)
            | Self::Hf(_)
            | Self::Trace(_) => true,
        }
    }

    /// Returns whether the dataset consists of sessions: `num_prompts` then counts sessions.
    pub(crate) fn has_sessions(&self) -> bool {
        match self {
            Self::SharegptTurns { .. } | Self::RandomTurns(_) | Self::Conversations { .. } => true,
            Self::Trace(trace) => trace.has_sessions(),
            _ => false,
        }
    }
}

/// A class of a mixed workload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkloadClass {
    /// The name of the class in reports.
    pub name: String,
    /// The relative frequency of the class.
    pub weight: f64,
    /// The source of the class's prompts.
    pub dataset: Dataset,
    /// The fields of the class's request bodies, which override the run's.
    pub body: Map<String, Value>,
    /// The LoRA adapter of the class.
    pub adapter: Option<String>,
    /// The service level objective of the class; `None` uses the run's.
    pub slo: Option<Slo>,
    /// The format in which the class's texts are sent to the endpoint.
    #[serde(default)]
    pub form: PromptFormat,
    /// The bounds of the lengths that are sent.
    #[serde(default)]
    pub bounds: LengthBounds,
}

/// The parameters of the `prefix_repetition` dataset; lengths in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefixRepetition {
    /// The length of each prefix.
    pub prefix_len: u32,
    /// The length of the suffix, which differs in each prompt.
    pub suffix_len: u32,
    /// The number of prefixes.
    pub num_prefixes: usize,
    /// The output length.
    pub output_len: u32,
}

/// The number of turns of a session: uniform between two bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnCount {
    /// The minimum.
    pub min: u32,
    /// The maximum.
    pub max: u32,
}

/// The parameters of random sessions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RandomTurns {
    /// The lengths of the first turn.
    pub first: RandomLengths,
    /// The length that each later turn adds, in tokens.
    pub input_len: u32,
    /// The number of turns.
    pub turns: TurnCount,
    /// The share of each prompt that all sessions have in common, 0 to 1.
    pub global_ratio: f64,
    /// The share of each prompt that the turns of a session have in common, 0 to 1.
    pub session_ratio: f64,
}

impl RandomTurns {
    /// Returns whether turns share beginnings instead of a history.
    pub fn has_common_prefixes(&self) -> bool {
        self.global_ratio > 0.0 || self.session_ratio > 0.0
    }
}
