//! The `spec_bench` and `speed_bench` datasets: the first turns of questions in categories.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::sampler::{CollectionSummary, RecordCollection, sample};
use super::source::{DatasetSource, is_rereadable};
use super::{
    DatasetError, DatasetFault, DatasetFormat, FilePosition, PrepareContext, PreparedWorkload, hf, parquet,
};
use crate::dataset::json_records;
use crate::dataset::read_options::{BadRowFilter, FileSummary, ReadOptions, RowRejection};
use crate::model::dataset::BadRows;
use crate::model::request::Request;
use crate::model::rng::RunRng;
use crate::model::run_spec::{SpecBench, SpeedBench};
use crate::tokenizer::Tokenizer;

const SPEC_BENCH: &DatasetFormat = &DatasetFormat {
    name: "Spec-Bench file",
    shape: r#"{"turns": ["…", …], "category": "…"} in each line"#,
    named_by: "`dataset.path`",
};

const SPEED_BENCH: &DatasetFormat = &DatasetFormat {
    name: "SPEED-Bench file",
    shape: r#"{"messages": [{"content": "…"}, …], "category": "…"} in each line, or an array of {"turns": ["…"]}"#,
    named_by: "`dataset.path`",
};

/// The placeholder in the public SPEED-Bench files for texts that must be fetched elsewhere.
const MASKED_TEXT: &str = "FULL BENCHMARK DATA SHOULD BE FETCHED";

/// Samples Spec-Bench, or a file in the same format such as MT-bench's questions.
pub(super) fn spec_bench(
    spec: &SpecBench,
    job: &PrepareContext<'_>,
    dice: &mut RunRng,
) -> Result<PreparedWorkload, DatasetError> {
    let questions = QuestionFiles::<SpecBenchRecord> {
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
    job: &PrepareContext<'_>,
    dice: &mut RunRng,
) -> Result<PreparedWorkload, DatasetError> {
    let questions = QuestionFiles::<SpeedBenchRecord> {
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

/// Lists the files of a subset. In a folder, this is the file that SPEED-Bench's script writes, or the hub's files in a
/// folder with the subset's name. A path to a file gives that file.
fn subset(path: &Path, subset: &str) -> Result<Vec<PathBuf>, DatasetError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let written = ["jsonl", "json", "jsonl.gz"].map(|kind| path.join(format!("{subset}.{kind}")));
    if let Some(file) = written.into_iter().find(|file| file.exists()) {
        return Ok(vec![file]);
    }
    let mut files =
        hf::list_files(path).map_err(|error| DatasetError::unreadable(&path.display().to_string(), error))?;
    files.retain(|file| hf::is_parquet(file) && file.iter().any(|part| part == subset));
    match files.is_empty() {
        false => Ok(files),
        true => Err(DatasetError::NoneInFolder {
            path: path.display().to_string(),
            wanted: format!("{subset}.jsonl"),
            cure: "`speed_bench.subset` names another one",
        }),
    }
}

/// A record in one of the two formats.
trait QuestionRecord: DeserializeOwned + Sync {
    /// The first turn and the category.
    fn into_parts(self) -> Result<(String, Option<String>), DatasetFault>;
}

/// A record in Spec-Bench's format.
#[derive(Deserialize)]
#[serde(expecting = "an entry: an object with `turns`")]
struct SpecBenchRecord {
    turns: Vec<String>,
    category: Option<String>,
}

impl QuestionRecord for SpecBenchRecord {
    fn into_parts(self) -> Result<(String, Option<String>), DatasetFault> {
        let first = self.turns.into_iter().next();
        Ok((first.ok_or_else(|| DatasetFault::Shape("`turns` is empty".into()))?, self.category))
    }
}

/// A record in one of SPEED-Bench's formats: the one that its script writes, or the one on the hub.
#[derive(Deserialize)]
#[serde(expecting = "an entry: an object with `messages` or `turns`")]
struct SpeedBenchRecord {
    messages: Option<Vec<SpeedBenchMessage>>,
    turns: Option<Vec<String>>,
    category: Option<String>,
}

#[derive(Deserialize)]
#[serde(expecting = "a message: an object with `content`")]
struct SpeedBenchMessage {
    content: String,
}

impl QuestionRecord for SpeedBenchRecord {
    fn into_parts(self) -> Result<(String, Option<String>), DatasetFault> {
        let message =
            self.messages.and_then(|messages| messages.into_iter().next()).map(|first| first.content);
        let first = message.or_else(|| self.turns.and_then(|turns| turns.into_iter().next()));
        Ok((
            first.ok_or_else(|| DatasetFault::Shape("neither `messages` nor `turns` with a text".into()))?,
            self.category,
        ))
    }
}

/// The files of questions.
struct QuestionFiles<'a, R> {
    name: &'static str,
    format: &'static DatasetFormat,
    /// The path that the user named.
    path: &'a Path,
    files: Vec<PathBuf>,
    category: Option<&'a str>,
    output_len: u32,
    max_input_len: Option<u32>,
    record: std::marker::PhantomData<R>,
}

impl<R: QuestionRecord> RecordCollection for QuestionFiles<'_, R> {
    type Item = Arc<str>;

    fn name(&self) -> &'static str {
        self.name
    }

    fn path(&self) -> String {
        self.path.display().to_string()
    }

    fn format(&self) -> &'static DatasetFormat {
        self.format
    }

    fn is_rereadable(&self) -> bool {
        self.files.iter().all(|file| is_rereadable(file))
    }

    fn read(
        &self,
        _: usize,
        reading: ReadOptions<'_>,
        sink: &mut dyn FnMut(Arc<str>),
    ) -> Result<CollectionSummary, DatasetError> {
        let (mut categories, mut found, mut textless) = (BTreeSet::new(), false, 0);
        let mut take = |record: R| {
            let (text, category) = record.into_parts()?;
            let category = category.unwrap_or_default();
            if self.category.is_some_and(|wanted| wanted != category) {
                categories.insert(category);
                return Ok(());
            }
            found = true;
            reading.text_limit.check(&text)?;
            match text.is_empty() || text.starts_with(MASKED_TEXT) {
                true => textless += 1,
                false => sink(text.into()),
            }
            Ok(())
        };
        let (mut digests, mut bad) = (Vec::new(), BadRows::default());
        for file in &self.files {
            let read = self.read_file(file, reading, &mut take)?;
            digests.push(read.digest);
            bad.merge(read.bad);
        }
        match self.category {
            Some(wanted) if !found && !categories.is_empty() => {
                let known = categories.into_iter().take(MAX_NAMED_CATEGORIES).collect::<Vec<_>>().join(", ");
                Err(DatasetError::NoSuchCategory { path: self.path(), wanted: wanted.to_owned(), known })
            }
            _ => Ok(CollectionSummary { digest: hf::combined_digest(digests), textless, bad, whole: true }),
        }
    }

    fn request(&self, item: Arc<str>, job: &PrepareContext<'_>) -> Result<Request, DatasetError> {
        let text = match self.max_input_len {
            Some(most) => truncate_tokens(item, most, job.tokenizer)?,
            None => item,
        };
        let text = job.apply_chat_template(text)?;
        let tokens = job.tokenizer.count(&text)?;
        Ok(Request::text(text, tokens, self.output_len))
    }
}

impl<R: QuestionRecord> QuestionFiles<'_, R> {
    fn read_file(
        &self,
        file: &Path,
        reading: ReadOptions<'_>,
        take: &mut dyn FnMut(R) -> Result<(), RowRejection>,
    ) -> Result<FileSummary, DatasetError> {
        if !hf::is_parquet(file) {
            return json_records::read::<R>(DatasetSource::open(file, self.format, reading)?, take);
        }
        let mut screen = BadRowFilter::new(file.display().to_string(), self.format, reading.strict);
        let mut row_number = 0;
        let all = |names: &[&str]| Ok(names.iter().map(|name| (*name).to_owned()).collect());
        parquet::read(file, &all, &mut |row| {
            row_number += 1;
            let record = serde_json::from_value(Value::Object(row));
            let taken = record.map_err(|error| DatasetFault::from_json(&error).into()).and_then(&mut *take);
            screen.handle(FilePosition { entry: Some(row_number), line: 0, column: 0 }, taken)
        })?;
        Ok(FileSummary { digest: parquet::digest(file, reading.progress)?, bad: screen.bad })
    }
}

/// Maximum number of categories that an error names.
const MAX_NAMED_CATEGORIES: usize = 30;

/// Truncates a text to its first `most` tokens.
fn truncate_tokens(text: Arc<str>, most: u32, tokenizer: &Tokenizer) -> Result<Arc<str>, DatasetError> {
    let Tokenizer::Local(local) = tokenizer else {
        return Err(DatasetError::Unmakeable {
            dataset: "speed_bench",
            cause: "`speed_bench.max_input_len` cuts texts, and needs a local tokenizer: name one with `workload.tokenizer`"
                .into(),
        });
    };
    let ids = local.encode(&text)?;
    match ids.get(..most as usize) {
        Some(first) if first.len() < ids.len() => Ok(local.decode(first)?.into()),
        _ => Ok(text),
    }
}
