//! The `custom` dataset: a JSONL file with one prompt a line (vLLM's `CustomDataset`).
//!
//! Prompts of any length are used. The lines are shuffled, and the first ones are taken. If the file has too few lines,
//! taken lines are drawn again.

use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::sampler::{CollectionSummary, RecordCollection, sample};
use super::source::{DatasetSource, is_rereadable};
use super::{DatasetError, DatasetFault, DatasetFormat, FilePosition, PrepareContext, PreparedWorkload};
use crate::dataset::json_records;
use crate::dataset::read_options::{FileSummary, ReadOptions};
use crate::model::request::{Content, Request};
use crate::model::rng::RunRng;

/// The expected format of a file of prompts.
const CUSTOM: &DatasetFormat = &DatasetFormat {
    name: "custom dataset",
    shape: r#"{"prompt": "…", "output_tokens": 128} in each line, where output_tokens may be left out"#,
    named_by: "`dataset.path`",
};

/// Samples prompts from a file. Without an output length, each line's own output length is used.
pub(super) fn prepare(
    path: &Path,
    output_len: Option<u32>,
    job: &PrepareContext<'_>,
    dice: &mut RunRng,
) -> Result<PreparedWorkload, DatasetError> {
    sample(&PromptFile::<CustomRecord>::new(path, output_len, false), job, dice)
}

/// A line of a user's own file: a prompt, and possibly an output length.
pub(super) trait PromptRecord: DeserializeOwned {
    /// vLLM's name of the dataset.
    const NAME: &'static str;
    /// The expected format of the file.
    const FORMAT: &'static DatasetFormat;
    /// A parsed prompt, before it becomes part of a request.
    type PromptContent: Send + Sync;

    /// The output length of the line, if it has one.
    fn output_tokens(&self) -> Option<&Value>;

    /// The length of the prompt's text, in bytes.
    fn text_bytes(said: &Self::PromptContent) -> usize;

    /// Extracts the prompt.
    fn into_prompt(self) -> Result<Self::PromptContent, DatasetFault>;

    /// Builds the content of the request and counts its tokens. If `inline` is true, the content holds the files
    /// themselves and not their names.
    fn content(
        said: Self::PromptContent,
        inline: bool,
        job: &PrepareContext<'_>,
    ) -> Result<(Content, u32), DatasetError>;
}

/// A user's own file, read line by line.
pub(super) struct PromptFile<'a, L> {
    path: &'a Path,
    output_len: Option<u32>,
    inline: bool,
    line: PhantomData<fn() -> L>,
}

impl<'a, L> PromptFile<'a, L> {
    pub(super) fn new(path: &'a Path, output_len: Option<u32>, inline: bool) -> Self {
        Self { path, output_len, inline, line: PhantomData }
    }
}

/// The prompt and output length of one line.
pub(super) struct PromptItem<S> {
    place: FilePosition,
    said: S,
    max_tokens: u32,
}

impl<L: PromptRecord> RecordCollection for PromptFile<'_, L> {
    type Item = PromptItem<L::PromptContent>;

    fn name(&self) -> &'static str {
        L::NAME
    }

    fn path(&self) -> String {
        self.path.display().to_string()
    }

    fn format(&self) -> &'static DatasetFormat {
        L::FORMAT
    }

    fn is_rereadable(&self) -> bool {
        is_rereadable(self.path)
    }

    fn read(
        &self,
        _: usize,
        reading: ReadOptions<'_>,
        sink: &mut dyn FnMut(Self::Item),
    ) -> Result<CollectionSummary, DatasetError> {
        let source = DatasetSource::open(self.path, L::FORMAT, reading)?;
        let FileSummary { digest, bad } = json_records::read_placed::<L>(source, &mut |place, record| {
            let asked = record.output_tokens().cloned();
            let said = record.into_prompt()?;
            let max_tokens = self.output_len.map_or_else(|| requested_tokens(asked.as_ref()), Ok)?;
            reading.text_limit.check_length(L::text_bytes(&said))?;
            sink(PromptItem { place, said, max_tokens });
            Ok(())
        })?;
        Ok(CollectionSummary { digest, textless: 0, bad, whole: true })
    }

    fn request(&self, item: Self::Item, job: &PrepareContext<'_>) -> Result<Request, DatasetError> {
        let content = L::content(item.said, self.inline, job);
        let (content, tokens) = content.map_err(|error| error.with_place(&self.path(), item.place))?;
        Ok(Request::of(content, tokens, item.max_tokens))
    }
}

#[derive(Deserialize)]
#[serde(expecting = "an object with `prompt`")]
struct CustomRecord {
    #[serde(default, deserialize_with = "some_text")]
    prompt: Option<String>,
    /// Turns of a chat, which belong to another dataset.
    #[serde(alias = "conversations", alias = "conversation")]
    messages: Option<IgnoredAny>,
    output_tokens: Option<Value>,
    /// Collects all other members. Without this field, serde would also accept an array in place of an object.
    #[serde(flatten)]
    _others: IgnoredAny,
}

/// Reads a text that is there, where null is a fault.
fn some_text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    String::deserialize(from).map(Some)
}

impl PromptRecord for CustomRecord {
    const NAME: &'static str = "custom";
    const FORMAT: &'static DatasetFormat = CUSTOM;
    type PromptContent = Arc<str>;

    fn output_tokens(&self) -> Option<&Value> {
        self.output_tokens.as_ref()
    }

    fn text_bytes(said: &Arc<str>) -> usize {
        said.len()
    }

    fn into_prompt(self) -> Result<Arc<str>, DatasetFault> {
        match (self.prompt, self.messages) {
            (Some(prompt), _) => Ok(prompt.into()),
            (None, Some(_)) => Err(DatasetFault::Shape(
                "no `prompt`, but the turns of a chat, which `dataset.name` sharegpt reads".into(),
            )),
            (None, None) => Err(DatasetFault::Shape("missing field `prompt`".into())),
        }
    }

    fn content(prompt: Arc<str>, _: bool, job: &PrepareContext<'_>) -> Result<(Content, u32), DatasetError> {
        let prompt = job.apply_chat_template(prompt)?;
        let tokens = job.tokenizer.count(&prompt)?;
        Ok((Content::Text(prompt), tokens))
    }
}

/// The output length that a line asks for. A fraction is truncated, as by Python's `int`.
fn requested_tokens(output_tokens: Option<&Value>) -> Result<u32, DatasetFault> {
    let Some(value) = output_tokens else {
        let cure = "no `output_tokens`, which would be the output length; set one with `custom.output_len`";
        return Err(DatasetFault::Shape(cure.into()));
    };
    let number = value.as_f64().filter(|number| (0.0..=f64::from(u32::MAX)).contains(number));
    let fault = || DatasetFault::Shape("`output_tokens` must be a number of tokens, not below zero".into());
    number.map(|number| number as u32).ok_or_else(fault)
}

#[cfg(test)]
mod tests;
