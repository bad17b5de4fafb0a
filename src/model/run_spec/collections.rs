//! The parameters of datasets that are read from files or generated from a text.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The parameters of the sonnet dataset: lines of a poem after an opening that all prompts share; lengths in tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SonnetDataset {
    /// The text; `None` selects the bundled one.
    pub path: Option<PathBuf>,
    /// The maximum prompt length; most prompts are slightly shorter.
    pub input_len: u32,
    /// The output length.
    pub output_len: u32,
    /// The approximate length of the shared prefix.
    pub prefix_len: u32,
}

/// The parameters of datasets with questions in categories (Spec-Bench, MT-bench); only first turns are used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpecBench {
    /// The path of the file.
    pub path: PathBuf,
    /// The output length in tokens.
    pub output_len: u32,
    /// Use only questions of this category.
    pub category: Option<String>,
}

/// The parameters of SPEED-Bench; only first turns are used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpeedBench {
    /// The folder with `{subset}.jsonl` or the hub's files, or one file; [`SpeedBench::HUB_ID`] is downloaded if it is
    /// not a path.
    pub path: PathBuf,
    /// The subset: `qualitative`, `throughput_1k` and so on.
    pub subset: String,
    /// The output length in tokens.
    pub output_len: u32,
    /// Use only prompts of this category.
    pub category: Option<String>,
    /// Truncate prompts to this number of tokens.
    pub max_input_len: Option<u32>,
}

impl SpeedBench {
    /// The dataset's ID on the Hugging Face hub.
    pub const HUB_ID: &str = "nvidia/SPEED-Bench";
}

/// The parameters of any dataset of the Hugging Face hub, or of similar files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HfDataset {
    /// A file, a folder, or a hub ID.
    pub path: PathBuf,
    /// The dataset's subset; `None` selects `default`, or the first.
    pub subset: Option<String>,
    /// The split; `None` selects the first of train, test, validation.
    pub split: Option<String>,
    /// Request this number of output tokens instead of the length of the record's answer.
    pub output_len: Option<u32>,
    /// The dataset's name, where `path` does not contain it.
    pub name: Option<String>,
    /// The column with the prompts; `None` searches for one.
    pub text_column: Option<String>,
}

/// The parameters of custom prompts with images or recordings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustomMedia {
    /// The path of the JSONL file.
    pub path: PathBuf,
    /// Request this number of output tokens; `None` uses each line's number.
    pub output_len: Option<u32>,
    /// Send the content of files instead of their names.
    pub inline: bool,
}
