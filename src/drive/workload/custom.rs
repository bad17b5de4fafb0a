//! `custom`: one prompt a line of a JSONL file (vLLM's `CustomDataset`).
//!
//! Every line is good enough, whatever its length. The lines are shuffled, and from the front as many are taken as are
//! asked for; if there are too few, taken ones are drawn again.

use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;

use super::sampler::{Collection, Contents, sample};
use super::source::{Source, is_rereadable};
use super::{Content, Fault, Format, Job, OnProgress, Request, Workload, WorkloadError, lines};
use crate::core::rng::Dice;

/// The file of prompts.
const CUSTOM: &Format = &Format {
    name: "custom dataset",
    shape: r#"{"prompt": "…", "output_tokens": 128} in each line, where output_tokens may be left out"#,
    flag: "--dataset-path",
};

/// Takes prompts from a file. Without an output length, the file's are asked for.
pub(super) fn prepare(
    path: &Path,
    output_len: Option<u32>,
    job: &Job<'_>,
    dice: &mut Dice,
) -> Result<Workload, WorkloadError> {
    sample(&Lines::<Record>::new(path, output_len, false), job, dice)
}

/// A line of a file of one's own: what is said, and perhaps how long the output is.
pub(super) trait Line: DeserializeOwned {
    /// vLLM's name of the dataset.
    const NAME: &'static str;
    /// What the file should be.
    const FORMAT: &'static Format;
    /// What is said, before it is put into a request.
    type Said: Send + Sync;

    /// The output length, if the line has one.
    fn output_tokens(&self) -> Option<&Value>;

    /// What is said.
    fn said(self) -> Result<Self::Said, Fault>;

    /// What is sent, and its length in tokens; `inline`: with the content of files, not their names.
    fn content(said: Self::Said, inline: bool, job: &Job<'_>) -> Result<(Content, u32), WorkloadError>;
}

/// A file of one's own, line by line.
pub(super) struct Lines<'a, L> {
    path: &'a Path,
    output_len: Option<u32>,
    inline: bool,
    line: PhantomData<fn() -> L>,
}

impl<'a, L> Lines<'a, L> {
    /// Of this file.
    pub fn new(path: &'a Path, output_len: Option<u32>, inline: bool) -> Self {
        Self { path, output_len, inline, line: PhantomData }
    }
}

/// What a line asks for.
pub(super) struct Ask<S> {
    said: S,
    max_tokens: u32,
}

impl<L: Line> Collection for Lines<'_, L> {
    type Item = Ask<L::Said>;

    fn name(&self) -> &'static str {
        L::NAME
    }

    fn path(&self) -> String {
        self.path.display().to_string()
    }

    fn format(&self) -> &'static Format {
        L::FORMAT
    }

    fn is_rereadable(&self) -> bool {
        is_rereadable(self.path)
    }

    fn read(
        &self,
        _: usize,
        progress: &OnProgress<'_>,
        sink: &mut dyn FnMut(Self::Item),
    ) -> Result<Contents, WorkloadError> {
        let source = Source::open(self.path, L::FORMAT, progress)?;
        let digest = lines::read::<L>(source, &mut |line| {
            let asked = || asked_tokens(line.record.output_tokens());
            let max_tokens = self.output_len.map_or_else(asked, Ok)?;
            sink(Ask { said: line.record.said()?, max_tokens });
            Ok(())
        })?;
        Ok(Contents { digest, textless: 0, whole: true })
    }

    fn request(&self, item: Self::Item, job: &Job<'_>) -> Result<Request, WorkloadError> {
        let (content, tokens) = L::content(item.said, self.inline, job)?;
        Ok(Request::of(content, tokens, item.max_tokens))
    }
}

/// A line of `custom`.
#[derive(Deserialize)]
#[serde(expecting = "an object with `prompt`")]
struct Record {
    prompt: String,
    output_tokens: Option<Value>,
    /// Whatever else there is; without it, an array would do for an object.
    #[serde(flatten)]
    _others: IgnoredAny,
}

impl Line for Record {
    const NAME: &'static str = "custom";
    const FORMAT: &'static Format = CUSTOM;
    type Said = Arc<str>;

    fn output_tokens(&self) -> Option<&Value> {
        self.output_tokens.as_ref()
    }

    fn said(self) -> Result<Arc<str>, Fault> {
        Ok(self.prompt.into())
    }

    fn content(prompt: Arc<str>, _: bool, job: &Job<'_>) -> Result<(Content, u32), WorkloadError> {
        let prompt = job.put(prompt)?;
        let tokens = job.tokenizer.count(&prompt)?;
        Ok((Content::Text(prompt), tokens))
    }
}

/// The output length that a line asks for; like Python's `int`, a fraction is cut off.
fn asked_tokens(output_tokens: Option<&Value>) -> Result<u32, Fault> {
    let Some(value) = output_tokens else {
        let cure = "no `output_tokens`, which is to be the output length; set one with --custom-output-len";
        return Err(Fault::Shape(cure.into()));
    };
    let number = value.as_f64().filter(|number| (0.0..=f64::from(u32::MAX)).contains(number));
    let fault = || Fault::Shape("`output_tokens` must be a number of tokens, not below zero".into());
    number.map(|number| number as u32).ok_or_else(fault)
}

#[cfg(test)]
mod tests;
