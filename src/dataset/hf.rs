//! The `hf` dataset: local files of any Hugging Face hub dataset, in Parquet, JSONL or JSON.
//!
//! The prompt comes from the columns that prompt and chat datasets usually use. If a record has an answer, the answer's
//! length is the output length.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::columns::{Exchange, PromptColumns};
use super::sampler::{CollectionSummary, RecordCollection, sample};
use super::source::{DatasetSource, is_rereadable};
use super::{
    DatasetError, DatasetFault, DatasetFormat, FilePosition, PrepareContext, PreparedWorkload, parquet,
};
use crate::dataset::json_records;
use crate::dataset::read_options::{BadRowFilter, FileSummary, ReadOptions};
use crate::dataset::text_limit::TextLimit;
use crate::model::dataset::BadRows;
use crate::model::digest::{Digest, DigestHasher};
use crate::model::request::Request;
use crate::model::rng::RunRng;
use crate::model::run_spec::{HfDataset, LengthBounds};

const FORMAT: &DatasetFormat = &DatasetFormat {
    name: "hub dataset",
    shape: "a Parquet, JSONL or JSON file with a column of prompts or of conversations",
    named_by: "`dataset.path`",
};

/// The output length, in tokens, of records without an answer.
const DEFAULT_OUTPUT_LEN: u32 = 128;
/// Prompts with fewer tokens are not used.
const MIN_PROMPT_TOKENS: u32 = 4;
/// Maximum depth of nested folders that are searched.
const MAX_FOLDER_DEPTH: usize = 6;
/// The splits to use if the user names none, in order of precedence.
const SPLITS: [&str; 3] = ["train", "test", "validation"];
/// Files that describe a dataset and hold none of its data.
const METADATA_FILES: [&str; 4] =
    ["dataset_infos.json", "dataset_info.json", "state.json", "dataset_dict.json"];
/// Datasets for which vLLM requests a fixed output length, in tokens.
const FIXED_OUTPUT_LENS: [(&str, u32); 3] =
    [("philschmid/mt-bench", 256), ("openai/openai_humaneval", 256), ("openai/gsm8k", 256)];

/// Samples requests from the files of the dataset.
pub(super) fn prepare(
    hf: &HfDataset,
    job: &PrepareContext<'_>,
    dice: &mut RunRng,
) -> Result<PreparedWorkload, DatasetError> {
    let name = hf.name.as_deref().or(hf.path.to_str()).unwrap_or_default();
    let known = FIXED_OUTPUT_LENS.iter().find(|(known, _)| *known == name).map(|(_, len)| *len);
    let table = HfTable {
        path: &hf.path,
        files: files(hf)?,
        columns: PromptColumns { text: hf.text_column.as_deref() },
        output_len: hf.output_len.or(known),
    };
    sample(&table, job, dice)
}

/// Lists the files in order: the file itself, or the files of a folder that belong to the subset and the split.
fn files(hf: &HfDataset) -> Result<Vec<PathBuf>, DatasetError> {
    if !hf.path.is_dir() {
        return Ok(vec![hf.path.clone()]);
    }
    let all = list_files(&hf.path)
        .map_err(|error| DatasetError::unreadable(&hf.path.display().to_string(), error))?;
    let within = |file: &Path| file.strip_prefix(&hf.path).unwrap_or(file).to_string_lossy().into_owned();
    let names: Vec<String> = all.iter().map(|file| within(file)).collect();
    let chosen = select_files(&names, hf.subset.as_deref(), hf.split.as_deref());
    if chosen.is_empty() {
        let mut wanted = "Parquet, JSONL or JSON file".to_owned();
        let asked = [("subset", &hf.subset), ("split", &hf.split)];
        for (what, name) in asked.into_iter().filter_map(|(what, name)| Some((what, name.as_ref()?))) {
            wanted = format!("{wanted} of {what} `{name}`");
        }
        let cure = "check `dataset.path`, `hf.subset` and `hf.split`";
        return Err(DatasetError::NoneInFolder { path: hf.path.display().to_string(), wanted, cure });
    }
    Ok(chosen.into_iter().map(|name| hf.path.join(name)).collect())
}

/// Lists all files in a folder and its subfolders, in order.
pub(super) fn list_files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    descend(folder, MAX_FOLDER_DEPTH, &mut all)?;
    all.sort();
    Ok(all)
}

fn descend(folder: &Path, depth: usize, into: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() && depth > 0 {
            descend(&path, depth - 1, into)?;
        } else if path.is_file() {
            into.push(path);
        }
    }
    Ok(())
}

/// Selects the files of a subset and a split by their names. If a dataset has its files in several formats, Parquet
/// takes precedence.
pub(super) fn select_files<'a>(
    names: &'a [String],
    subset: Option<&str>,
    split: Option<&str>,
) -> Vec<&'a str> {
    let is_data = |name: &&str| {
        let file = name.rsplit('/').next().unwrap_or(name);
        !file.starts_with('.') && !METADATA_FILES.contains(&file) && file_kind(name).is_some()
    };
    let mut chosen: Vec<&str> = names.iter().map(String::as_str).filter(is_data).collect();
    if chosen.iter().any(|name| file_kind(name) == Some("parquet")) {
        chosen.retain(|name| file_kind(name) == Some("parquet"));
    }
    if let Some(subset) = subset {
        chosen.retain(|name| name.contains(subset));
    }
    let of = |split: &str| -> Vec<&'a str> {
        chosen.iter().copied().filter(|name| is_split_file(name, split)).collect()
    };
    match split {
        Some(split) => of(split),
        None => SPLITS.into_iter().map(of).find(|some| !some.is_empty()).unwrap_or(chosen),
    }
}

fn file_kind(name: &str) -> Option<&str> {
    let name = name.strip_suffix(".gz").unwrap_or(name);
    let kind = name.rsplit_once('.')?.1;
    ["parquet", "jsonl", "json"].contains(&kind).then_some(kind)
}

/// Whether a file's name indicates a split, as in `train-00000-of-00002.parquet` or `default/train/0.parquet`.
fn is_split_file(name: &str, split: &str) -> bool {
    name.split(['/', '-', '.']).any(|part| part == split)
        || name.rsplit('/').next().is_some_and(|file| file.starts_with(split))
}

/// The files of a dataset, read as one table.
struct HfTable<'a> {
    path: &'a Path,
    files: Vec<PathBuf>,
    columns: PromptColumns<'a>,
    output_len: Option<u32>,
}

impl RecordCollection for HfTable<'_> {
    type Item = Exchange;

    fn name(&self) -> &'static str {
        "hf"
    }

    fn path(&self) -> String {
        self.path.display().to_string()
    }

    fn format(&self) -> &'static DatasetFormat {
        FORMAT
    }

    fn is_rereadable(&self) -> bool {
        self.files.iter().all(|file| is_rereadable(file))
    }

    /// The dataset may be far larger than the part that is read, so it is not read whole.
    fn is_shuffled_whole(&self) -> bool {
        false
    }

    fn bounds(&self) -> LengthBounds {
        LengthBounds { min_prompt_len: Some(MIN_PROMPT_TOKENS), ..LengthBounds::default() }
    }

    fn read(
        &self,
        enough: usize,
        reading: ReadOptions<'_>,
        sink: &mut dyn FnMut(Exchange),
    ) -> Result<CollectionSummary, DatasetError> {
        let (mut digests, mut bad) = (Vec::new(), BadRows::default());
        let (mut found, mut textless, mut whole) = (0, 0, true);
        for file in &self.files {
            if found >= enough {
                whole = false;
                break;
            }
            let read = self.read_file(file, reading, &mut |exchange| match exchange {
                Some(exchange) => {
                    found += 1;
                    sink(exchange);
                }
                None => textless += 1,
            })?;
            digests.push(read.digest);
            bad.merge(read.bad);
        }
        Ok(CollectionSummary { digest: combined_digest(digests), textless, bad, whole })
    }

    fn request(&self, item: Exchange, job: &PrepareContext<'_>) -> Result<Request, DatasetError> {
        let prompt = job.apply_chat_template(item.prompt)?;
        let tokens = job.tokenizer.count(&prompt)?;
        let answered = || item.answer.map_or(Ok(DEFAULT_OUTPUT_LEN), |answer| job.tokenizer.count(&answer));
        let output = self.output_len.map_or_else(answered, Ok)?.max(1);
        Ok(Request::text(prompt, tokens, output))
    }
}

impl HfTable<'_> {
    fn read_file(
        &self,
        file: &Path,
        reading: ReadOptions<'_>,
        sink: &mut dyn FnMut(Option<Exchange>),
    ) -> Result<FileSummary, DatasetError> {
        if !is_parquet(file) {
            let source = DatasetSource::open(file, FORMAT, reading)?;
            return json_records::read::<Map<String, Value>>(source, &mut |row| {
                let exchange = self.columns.prompt_answer(row);
                let exchange = exchange.map_err(|missing| DatasetFault::Shape(missing.to_string()))?;
                check_texts(reading.text_limit, exchange.as_ref())?;
                sink(exchange);
                Ok(())
            });
        }
        let path = file.display().to_string();
        let wanted = |names: &[&str]| {
            let refused = |missing| DatasetError::Columns { path: path.clone(), missing };
            self.columns.select(names).map_err(refused)
        };
        let mut screen = BadRowFilter::new(path.clone(), FORMAT, reading.strict);
        let mut row_number = 0;
        parquet::read(file, &wanted, &mut |row| {
            row_number += 1;
            let exchange = self.columns.prompt_answer(row).unwrap_or_default();
            let place = FilePosition { entry: Some(row_number), line: 0, column: 0 };
            match check_texts(reading.text_limit, exchange.as_ref()) {
                Ok(()) => sink(exchange),
                Err(fault) => screen.reject(place, fault)?,
            }
            Ok(())
        })?;
        Ok(FileSummary { digest: parquet::digest(file, reading.progress)?, bad: screen.bad })
    }
}

/// Checks the lengths of a row's texts.
fn check_texts(limit: TextLimit, exchange: Option<&Exchange>) -> Result<(), DatasetFault> {
    let Some(Exchange { prompt, answer }) = exchange else { return Ok(()) };
    limit.check(prompt)?;
    limit.check(answer.as_deref().unwrap_or_default())
}

/// Whether the file's first bytes are those of Parquet, whatever its name is. A file that cannot be opened gives false;
/// the reader reports the error.
pub(super) fn is_parquet(file: &Path) -> bool {
    use std::io::Read as _;
    let mut head = [0; parquet::MAGIC.len()];
    file.is_file()
        && fs::File::open(file).and_then(|mut file| file.read_exact(&mut head)).is_ok()
        && head == parquet::MAGIC
}

/// The digest of one file, or the digest of several files' digests.
pub(super) fn combined_digest(mut digests: Vec<Digest>) -> Digest {
    if digests.len() == 1 {
        return digests.remove(0);
    }
    let mut hasher = DigestHasher::default();
    digests.iter().for_each(|digest| hasher.update(digest.to_string().as_bytes()));
    hasher.finish()
}

#[cfg(test)]
pub(super) mod tests;
