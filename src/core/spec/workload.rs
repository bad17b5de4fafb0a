//! What is sent.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    Bounds, CustomMedia, Form, Hf, RandomBatch, RandomMedia, RandomRerank, Slo, Sonnet, SpecBench,
    SpeedBench, Trace, TraceKind, Unique,
};

/// What is sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Workload {
    /// Where prompts come from.
    pub dataset: Dataset,
    /// The tokenizer as asked for: a file, a directory or a hub id; `None` means the model's.
    pub tokenizer: Option<String>,
    /// How many requests to measure; of a trace at most; [`Workload::ALL`] is all of a file.
    pub num_prompts: usize,
    /// How many more to prepare behind those, for a warm-up.
    #[serde(skip)]
    pub spare: usize,
    /// How requests are drawn from a file.
    #[serde(default)]
    pub draw: Draw,
    /// The adapters that requests are sent to instead of the model; `None` without any.
    #[serde(default)]
    pub lora: Option<Lora>,
    /// How a text is put to the endpoint.
    #[serde(default)]
    pub form: Form,
    /// Which lengths are sent.
    #[serde(default)]
    pub bounds: Bounds,
    /// What makes the prompts this run's own; `None`: they are sent as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unique: Option<Unique>,
}

impl Workload {
    /// How texts are put to the endpoint: the run's form, and those of a mix's classes.
    pub fn forms_mut(&mut self) -> impl Iterator<Item = &mut Form> {
        let classes = match &mut self.dataset {
            Dataset::Mix { classes, .. } => classes.as_mut_slice(),
            _ => &mut [],
        };
        std::iter::once(&mut self.form).chain(classes.iter_mut().map(|class| &mut class.form))
    }

    /// As `num_prompts`: all that there are. More than any file has, and room to add.
    pub const ALL: usize = usize::MAX / 2;

    /// So many requests of a dataset, and nothing special about them.
    pub fn new(dataset: Dataset, num_prompts: usize) -> Self {
        Self {
            dataset,
            tokenizer: None,
            num_prompts,
            spare: 0,
            draw: Draw::default(),
            lora: None,
            form: Form::default(),
            bounds: Bounds::default(),
            unique: None,
        }
    }
}

/// How requests are drawn from a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draw {
    /// In random order instead of the file's.
    pub shuffle: bool,
    /// Some of them again if there are too few; otherwise the run is shorter.
    pub oversample: bool,
}

impl Default for Draw {
    fn default() -> Self {
        Self { shuffle: true, oversample: true }
    }
}

/// Which LoRA adapter a request is sent to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lora {
    /// The adapters' names as the server knows them.
    pub modules: Vec<String>,
    /// How requests choose among them.
    pub assignment: LoraAssignment,
}

/// How requests choose among adapters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoraAssignment {
    /// Each with the same probability.
    Random,
    /// In turn.
    RoundRobin,
    /// With a probability in proportion to 1 / place in the list: a few popular adapters and many rare ones.
    Zipf,
}

/// Where prompts come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase")]
pub enum Dataset {
    /// First two turns of ShareGPT conversations.
    Sharegpt {
        /// The file; `None` is the bundled one.
        path: Option<PathBuf>,
        /// Ask for this many output tokens instead of the answer's length.
        output_len: Option<u32>,
    },
    /// One prompt a line of a JSONL file.
    Custom {
        /// The file.
        path: PathBuf,
        /// Ask for this many output tokens; `None` asks for what the line says.
        output_len: Option<u32>,
    },
    /// Random tokens of given lengths.
    Random(RandomLengths),
    /// Requests as others once made them.
    Trace(Trace),
    /// Several datasets at once.
    Mix {
        /// The file that describes it.
        path: PathBuf,
        /// What is in it.
        classes: Vec<Class>,
    },
    /// Random tokens behind a few prefixes that many prompts share.
    #[serde(rename = "prefix_repetition")]
    PrefixRepetition(PrefixRepetition),
    /// Several random texts in a request.
    #[serde(rename = "random_batch")]
    RandomBatch(RandomBatch),
    /// Random tokens and random images.
    #[serde(rename = "random-mm")]
    RandomMm(RandomMedia),
    /// Random queries with random documents.
    #[serde(rename = "random-rerank")]
    RandomRerank(RandomRerank),
    /// Lines of a poem.
    Sonnet(Sonnet),
    /// Questions in categories.
    #[serde(rename = "spec_bench")]
    SpecBench(SpecBench),
    /// SPEED-Bench.
    #[serde(rename = "speed_bench")]
    SpeedBench(SpeedBench),
    /// A dataset of the Hugging Face hub, or files like those.
    Hf(Hf),
    /// Prompts of one's own with images.
    #[serde(rename = "custom_image")]
    CustomImage(CustomMedia),
    /// Prompts of one's own with recordings.
    #[serde(rename = "custom_audio")]
    CustomAudio(CustomMedia),
    /// All turns of ShareGPT conversations.
    #[serde(rename = "sharegpt_turns")]
    SharegptTurns {
        /// The file; `None` is the bundled one.
        path: Option<PathBuf>,
        /// Ask for this many output tokens instead of each answer's length.
        output_len: Option<u32>,
        /// Of each conversation at most the first so many turns.
        turns: Option<TurnCount>,
    },
    /// Sessions of random tokens.
    #[serde(rename = "random_turns")]
    RandomTurns(RandomTurns),
    /// Conversations in the format of vLLM's multi-turn script: a list of them, or a description to make them from.
    #[serde(rename = "conversations")]
    Conversations {
        /// The file.
        path: PathBuf,
        /// As many sessions as the file has, whatever `num_prompts` says.
        all: bool,
    },
}

impl Dataset {
    /// vLLM's name for it.
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

    /// Whether its texts are made up, so that an answer's natural end means nothing.
    pub fn is_random(&self) -> bool {
        matches!(self, Self::Random(_) | Self::RandomMm(_) | Self::Trace(_))
    }

    /// Whether vLLM puts its texts through a chat template before it sends them to an endpoint that has none.
    pub fn is_rendered(&self) -> bool {
        matches!(
            self,
            Self::Custom { .. } | Self::Sonnet(_) | Self::SpecBench(_) | Self::SpeedBench(_) | Self::Hf(_)
        )
    }

    /// How many tokens all its prompts are meant to begin with alike, if they are made to differ behind those; `None` where a
    /// file, a trace or another rule says what they share.
    pub fn shared_prefix(&self) -> Option<u32> {
        match self {
            Self::Random(lengths) => Some(lengths.prefix_len),
            Self::RandomBatch(batch) => Some(batch.text.prefix_len),
            Self::RandomTurns(turns) if !turns.shares_prefixes() => Some(turns.first.prefix_len),
            _ => None,
        }
    }

    /// Whether its prompts are made to share beginnings, so that the server's prefix cache has work to do.
    pub fn shares_by_design(&self) -> bool {
        match self {
            Self::Random(lengths) => lengths.prefix_len > 0,
            Self::RandomBatch(batch) => batch.text.prefix_len > 0,
            Self::RandomMm(media) => media.text.prefix_len > 0,
            Self::RandomTurns(turns) => turns.shares_prefixes() || turns.first.prefix_len > 0,
            Self::Sonnet(poem) => poem.prefix_len > 0,
            Self::PrefixRepetition(_) => true,
            Self::Trace(trace) => trace.kind == TraceKind::TimedTrace,
            Self::Mix { classes, .. } => classes.iter().any(|class| class.dataset.shares_by_design()),
            _ => false,
        }
    }

    /// Whether it is a file, which has only so many requests. Others are made, however many are wanted.
    pub fn has_an_end(&self) -> bool {
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

    /// Whether it consists of sessions: `num_prompts` then counts those.
    pub fn has_sessions(&self) -> bool {
        match self {
            Self::SharegptTurns { .. } | Self::RandomTurns(_) | Self::Conversations { .. } => true,
            Self::Trace(trace) => trace.has_sessions(),
            _ => false,
        }
    }
}

/// A class of a mixed workload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Class {
    /// How reports call it.
    pub name: String,
    /// How often it is drawn, relative to the others.
    pub weight: f64,
    /// Where its prompts come from.
    pub dataset: Dataset,
    /// What it has in the bodies of its requests, which wins over the run's.
    pub body: Map<String, Value>,
    /// The LoRA adapter that it asks for.
    pub adapter: Option<String>,
    /// What counts as good service for it; `None` is what does for the run.
    pub slo: Option<Slo>,
    /// How its texts are put to the endpoint.
    #[serde(default)]
    pub form: Form,
    /// Which lengths of it are sent.
    #[serde(default)]
    pub bounds: Bounds,
}

/// The parameters of the `random` dataset; lengths in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RandomLengths {
    /// Prompt length, without the prefix.
    pub input_len: u32,
    /// Output length.
    pub output_len: u32,
    /// Length of the prefix that all prompts share.
    pub prefix_len: u32,
    /// Input lengths are uniform in `len·(1−r) ..= len·(1+r)`.
    pub input_range_ratio: f64,
    /// The same for output lengths.
    pub output_range_ratio: f64,
    /// Send the ids of the tokens instead of their text.
    #[serde(default)]
    pub token_ids: bool,
}

/// The parameters of the `prefix_repetition` dataset; lengths in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefixRepetition {
    /// Length of each prefix.
    pub prefix_len: u32,
    /// Length of what follows it, different in each prompt.
    pub suffix_len: u32,
    /// How many prefixes there are.
    pub num_prefixes: usize,
    /// Output length.
    pub output_len: u32,
}

/// How many turns a session has: uniform between the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnCount {
    /// The fewest.
    pub min: u32,
    /// The most.
    pub max: u32,
}

/// The parameters of random sessions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RandomTurns {
    /// Of the first turn.
    pub first: RandomLengths,
    /// What each later turn adds, in tokens.
    pub input_len: u32,
    /// How many turns.
    pub turns: TurnCount,
    /// The share of each prompt that all sessions have in common.
    pub global_ratio: f64,
    /// The share of each prompt that the turns of a session have in common.
    pub session_ratio: f64,
}

impl RandomTurns {
    /// Whether turns share beginnings instead of a history.
    pub fn shares_prefixes(&self) -> bool {
        self.global_ratio > 0.0 || self.session_ratio > 0.0
    }
}
