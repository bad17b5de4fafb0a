//! The parameters of datasets that are read from files or written from a text.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Lines of a poem behind an opening that all prompts share; lengths in tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sonnet {
    /// The text; `None` is the bundled one.
    pub path: Option<PathBuf>,
    /// The longest prompt; most are little shorter.
    pub input_len: u32,
    /// Output length.
    pub output_len: u32,
    /// About how much of it all prompts share.
    pub prefix_len: u32,
}

/// The first turns of questions in categories: Spec-Bench, MT-bench.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpecBench {
    /// The file.
    pub path: PathBuf,
    /// Output length in tokens.
    pub output_len: u32,
    /// Only questions of this category.
    pub category: Option<String>,
}

/// The first turns of SPEED-Bench.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpeedBench {
    /// The folder with `{subset}.jsonl` or the hub's files, or one file; [`SpeedBench::HUB_ID`] is fetched where it is none.
    pub path: PathBuf,
    /// `qualitative`, `throughput_1k` and so on.
    pub subset: String,
    /// Output length in tokens.
    pub output_len: u32,
    /// Only prompts of this category.
    pub category: Option<String>,
    /// Cut prompts to this many tokens.
    pub max_input_len: Option<u32>,
}

impl SpeedBench {
    /// What the hub calls it.
    pub const HUB_ID: &str = "nvidia/SPEED-Bench";
}

/// Any dataset of the Hugging Face hub, or files like those.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hf {
    /// A file, a folder, or a hub id.
    pub path: PathBuf,
    /// The dataset's subset; `None` is `default`, or the first.
    pub subset: Option<String>,
    /// The split; `None` is the first of train, test, validation.
    pub split: Option<String>,
    /// Ask for this many output tokens instead of the length of the record's answer.
    pub output_len: Option<u32>,
    /// What the dataset is called, where `path` does not say it.
    pub name: Option<String>,
    /// The column with the prompts; `None` looks for one.
    pub text_column: Option<String>,
}

/// Prompts of one's own with images or recordings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustomMedia {
    /// The file: JSONL.
    pub path: PathBuf,
    /// Ask for this many output tokens; `None` asks for what the line says.
    pub output_len: Option<u32>,
    /// Send the content of files, not their names.
    pub inline: bool,
}
