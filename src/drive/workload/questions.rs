//! `spec_bench` and `speed_bench`: the first turns of questions that are sorted into categories.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::sampler::{Collection, Contents, sample};
use super::source::{Source, is_rereadable};
use super::{Fault, Format, Job, OnProgress, Request, Workload, WorkloadError, hf, parquet, records};
use crate::core::digest::Digest;
use crate::core::rng::Dice;
use crate::core::spec::{SpecBench, SpeedBench};
use crate::drive::tokenizer::Tokenizer;

const SPEC_BENCH: &Format = &Format {
    name: "Spec-Bench file",
    shape: r#"{"turns": ["…", …], "category": "…"} in each line"#,
    flag: "--dataset-path",
};

const SPEED_BENCH: &Format = &Format {
    name: "SPEED-Bench file",
    shape: r#"{"messages": [{"content": "…"}, …], "category": "…"} in each line, or an array of {"turns": ["…"]}"#,
    flag: "--dataset-path",
};

/// What stands in the public SPEED-Bench files for texts that must be fetched elsewhere.
const MASK: &str = "FULL BENCHMARK DATA SHOULD BE FETCHED";

/// Samples Spec-Bench or a file like it, such as MT-bench's questions.
pub(super) fn spec_bench(
    spec: &SpecBench,
    job: &Job<'_>,
    dice: &mut Dice,
) -> Result<Workload, WorkloadError> {
    let questions = Questions::<Question> {
        name: "spec_bench",
        format: SPEC_BENCH,
        path: &spec.path,
        files: vec![spec.path.clone()],
        category: spec.category.as_deref(),
        output_len: spec.output_len,
        max_input_len: None,
        record: std::marker::PhantomData,
    };
    sample(&questions, job, dice)
}

/// Samples SPEED-Bench.
pub(super) fn speed_bench(
    spec: &SpeedBench,
    job: &Job<'_>,
    dice: &mut Dice,
) -> Result<Workload, WorkloadError> {
    let questions = Questions::<Prompt> {
        name: "speed_bench",
        format: SPEED_BENCH,
        path: &spec.path,
        files: subset(&spec.path, &spec.subset)?,
        category: spec.category.as_deref(),
        output_len: spec.output_len,
        max_input_len: spec.max_input_len,
        record: std::marker::PhantomData,
    };
    sample(&questions, job, dice)
}

/// The files of a subset in a folder: the one that SPEED-Bench's script writes, or those of the hub, which stand in a folder
/// of the subset's name. A file is itself.
fn subset(path: &Path, subset: &str) -> Result<Vec<PathBuf>, WorkloadError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let written = ["jsonl", "json", "jsonl.gz"].map(|kind| path.join(format!("{subset}.{kind}")));
    if let Some(file) = written.into_iter().find(|file| file.exists()) {
        return Ok(vec![file]);
    }
    let mut files =
        hf::walk(path).map_err(|error| WorkloadError::unreadable(&path.display().to_string(), error))?;
    files.retain(|file| hf::is_parquet(file) && file.iter().any(|part| part == subset));
    match files.is_empty() {
        false => Ok(files),
        true => Err(WorkloadError::NoneInFolder {
            path: path.display().to_string(),
            wanted: format!("{subset}.jsonl"),
            cure: "--speed-bench-dataset-subset names another one",
        }),
    }
}

/// A record in one of the two shapes.
trait Record: DeserializeOwned + Sync {
    /// Its first turn and its category.
    fn parts(self) -> Result<(String, Option<String>), Fault>;
}

/// Spec-Bench's shape.
#[derive(Deserialize)]
#[serde(expecting = "an entry: an object with `turns`")]
struct Question {
    turns: Vec<String>,
    category: Option<String>,
}

impl Record for Question {
    fn parts(self) -> Result<(String, Option<String>), Fault> {
        let first = self.turns.into_iter().next();
        Ok((first.ok_or_else(|| Fault::Shape("`turns` is empty".into()))?, self.category))
    }
}

/// SPEED-Bench's shapes: the one that its script writes, and the one that the hub shows.
#[derive(Deserialize)]
#[serde(expecting = "an entry: an object with `messages` or `turns`")]
struct Prompt {
    messages: Option<Vec<Message>>,
    turns: Option<Vec<String>>,
    category: Option<String>,
}

#[derive(Deserialize)]
#[serde(expecting = "a message: an object with `content`")]
struct Message {
    content: String,
}

impl Record for Prompt {
    fn parts(self) -> Result<(String, Option<String>), Fault> {
        let message =
            self.messages.and_then(|messages| messages.into_iter().next()).map(|first| first.content);
        let first = message.or_else(|| self.turns.and_then(|turns| turns.into_iter().next()));
        Ok((
            first.ok_or_else(|| Fault::Shape("neither `messages` nor `turns` with a text".into()))?,
            self.category,
        ))
    }
}

/// A file of questions.
struct Questions<'a, R> {
    name: &'static str,
    format: &'static Format,
    /// What the user named.
    path: &'a Path,
    files: Vec<PathBuf>,
    category: Option<&'a str>,
    output_len: u32,
    max_input_len: Option<u32>,
    record: std::marker::PhantomData<R>,
}

impl<R: Record> Collection for Questions<'_, R> {
    type Item = Arc<str>;

    fn name(&self) -> &'static str {
        self.name
    }

    fn path(&self) -> String {
        self.path.display().to_string()
    }

    fn format(&self) -> &'static Format {
        self.format
    }

    fn is_rereadable(&self) -> bool {
        self.files.iter().all(|file| is_rereadable(file))
    }

    fn read(
        &self,
        _: usize,
        progress: &OnProgress<'_>,
        sink: &mut dyn FnMut(Arc<str>),
    ) -> Result<Contents, WorkloadError> {
        let (mut categories, mut found, mut textless) = (BTreeSet::new(), false, 0);
        let mut take = |record: R| {
            let (text, category) = record.parts()?;
            let category = category.unwrap_or_default();
            if self.category.is_some_and(|wanted| wanted != category) {
                categories.insert(category);
                return Ok(());
            }
            found = true;
            match text.is_empty() || text.starts_with(MASK) {
                true => textless += 1,
                false => sink(text.into()),
            }
            Ok(())
        };
        let digests = self.files.iter().map(|file| self.read_file(file, progress, &mut take));
        let digest = hf::together(digests.collect::<Result<_, _>>()?);
        match self.category {
            Some(wanted) if !found && !categories.is_empty() => {
                let known = categories.into_iter().take(SHOWN).collect::<Vec<_>>().join(", ");
                Err(WorkloadError::NoSuchCategory { path: self.path(), wanted: wanted.to_owned(), known })
            }
            _ => Ok(Contents { digest, textless, whole: true }),
        }
    }

    fn request(&self, item: Arc<str>, job: &Job<'_>) -> Result<Request, WorkloadError> {
        let text = match self.max_input_len {
            Some(most) => cut(item, most, job.tokenizer)?,
            None => item,
        };
        let text = job.put(text)?;
        let tokens = job.tokenizer.count(&text)?;
        Ok(Request::text(text, tokens, self.output_len))
    }
}

impl<R: Record> Questions<'_, R> {
    fn read_file(
        &self,
        file: &Path,
        progress: &OnProgress<'_>,
        take: &mut dyn FnMut(R) -> Result<(), Fault>,
    ) -> Result<Digest, WorkloadError> {
        if !hf::is_parquet(file) {
            return records::read::<R>(Source::open(file, self.format, progress)?, take);
        }
        let refused = |cause: String| WorkloadError::Parquet { path: file.display().to_string(), cause };
        let all = |names: &[&str]| Ok(names.iter().map(|name| (*name).to_owned()).collect());
        parquet::read(file, &all, &mut |row| {
            let record =
                serde_json::from_value(Value::Object(row)).map_err(|error| refused(error.to_string()))?;
            take(record).map_err(|fault| refused(fault.to_string()))
        })?;
        parquet::digest(file, progress)
    }
}

/// How many categories an error names.
const SHOWN: usize = 30;

/// The first `most` tokens of a text.
fn cut(text: Arc<str>, most: u32, tokenizer: &Tokenizer) -> Result<Arc<str>, WorkloadError> {
    let Tokenizer::Local(local) = tokenizer else {
        return Err(WorkloadError::Unmakeable {
            dataset: "speed_bench",
            cause: "--speed-bench-max-input-len cuts texts, and needs a tokenizer here: --tokenizer PATH"
                .into(),
        });
    };
    let ids = local.encode(&text)?;
    match ids.get(..most as usize) {
        Some(first) if first.len() < ids.len() => Ok(local.decode(first)?.into()),
        _ => Ok(text),
    }
}
