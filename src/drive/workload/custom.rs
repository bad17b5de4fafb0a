//! `custom`: one prompt a line of a JSONL file (vLLM's `CustomDataset`).
//!
//! Every line is good enough, whatever its length. The lines are shuffled, and from the front as many are taken as are
//! asked for; if there are too few, taken ones are drawn again.

use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::sampler::{Collection, Contents, sample};
use super::source::{Source, is_rereadable};
use super::{Fault, Format, Job, OnProgress, Request, Workload, WorkloadError, lines};
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
    sample(&Custom { path, output_len }, job, dice)
}

struct Custom<'a> {
    path: &'a Path,
    output_len: Option<u32>,
}

/// A line of the file.
#[derive(Deserialize)]
#[serde(expecting = "an object with `prompt`")]
struct Record {
    prompt: String,
    output_tokens: Option<Value>,
    /// Whatever else there is; without it, an array would do for an object.
    #[serde(flatten)]
    _others: IgnoredAny,
}

/// What a line asks for.
struct Ask {
    prompt: Arc<str>,
    max_tokens: u32,
}

impl Collection for Custom<'_> {
    type Item = Ask;

    fn name(&self) -> &'static str {
        "custom"
    }

    fn path(&self) -> String {
        self.path.display().to_string()
    }

    fn format(&self) -> &'static Format {
        CUSTOM
    }

    fn is_rereadable(&self) -> bool {
        is_rereadable(self.path)
    }

    fn read(
        &self,
        _: usize,
        progress: &OnProgress<'_>,
        sink: &mut dyn FnMut(Ask),
    ) -> Result<Contents, WorkloadError> {
        let source = Source::open(self.path, CUSTOM, progress)?;
        let digest = lines::read::<Record>(source, &mut |line| {
            let Record { prompt, output_tokens, .. } = line.record;
            let max_tokens = self.output_len.map_or_else(|| asked_tokens(output_tokens.as_ref()), Ok)?;
            sink(Ask { prompt: prompt.into(), max_tokens });
            Ok(())
        })?;
        Ok(Contents { digest, textless: 0, whole: true })
    }

    fn request(&self, item: Ask, job: &Job<'_>) -> Result<Request, WorkloadError> {
        let prompt = job.put(item.prompt)?;
        let tokens = job.tokenizer.count(&prompt)?;
        Ok(Request::text(prompt, tokens, item.max_tokens))
    }
}

/// The output length that a line asks for; like Python's `int`, a fraction is cut off.
pub(super) fn asked_tokens(output_tokens: Option<&Value>) -> Result<u32, Fault> {
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
