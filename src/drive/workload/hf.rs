//! `hf`: any dataset of the Hugging Face hub as files here: Parquet, JSONL or JSON.
//!
//! The prompt is looked for in the columns that datasets of prompts and chats usually have; the answer's length is the
//! output length where there is an answer.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::columns::Columns;
use super::sampler::{Collection, Contents, sample};
use super::source::{Source, is_rereadable};
use super::{Fault, Format, Job, OnProgress, Request, Workload, WorkloadError, parquet, records};
use crate::core::digest::{Digest, Hasher};
use crate::core::rng::Dice;
use crate::core::spec::{Bounds, Hf};

const FORMAT: &Format = &Format {
    name: "hub dataset",
    shape: "a Parquet, JSONL or JSON file with a column of prompts or of conversations",
    flag: "--dataset-path",
};

/// The output length of records without an answer.
const OUTPUT: u32 = 128;
/// A prompt of fewer tokens is not used.
const SHORTEST: u32 = 4;
/// How deep folders are looked through.
const DEPTH: usize = 6;
/// The splits that are taken where none is asked for.
const SPLITS: [&str; 3] = ["train", "test", "validation"];
/// Files about a dataset, not of it.
const ABOUT: [&str; 4] = ["dataset_infos.json", "dataset_info.json", "state.json", "dataset_dict.json"];
/// Datasets for which vLLM asks for a fixed output length.
const KNOWN: [(&str, u32); 3] =
    [("philschmid/mt-bench", 256), ("openai/openai_humaneval", 256), ("openai/gsm8k", 256)];

/// Samples the dataset's files.
pub(super) fn prepare(hf: &Hf, job: &Job<'_>, dice: &mut Dice) -> Result<Workload, WorkloadError> {
    let name = hf.name.as_deref().or(hf.path.to_str()).unwrap_or_default();
    let known = KNOWN.iter().find(|(known, _)| *known == name).map(|(_, len)| *len);
    let table = Table {
        path: &hf.path,
        files: files(hf)?,
        columns: Columns { text: hf.text_column.as_deref() },
        output_len: hf.output_len.or(known),
    };
    sample(&table, job, dice)
}

/// The files in their order: one, or those in a folder that belong to the subset and the split.
fn files(hf: &Hf) -> Result<Vec<PathBuf>, WorkloadError> {
    if !hf.path.is_dir() {
        return Ok(vec![hf.path.clone()]);
    }
    let all =
        walk(&hf.path).map_err(|error| WorkloadError::unreadable(&hf.path.display().to_string(), error))?;
    let within = |file: &Path| file.strip_prefix(&hf.path).unwrap_or(file).to_string_lossy().into_owned();
    let names: Vec<String> = all.iter().map(|file| within(file)).collect();
    let chosen = choose(&names, hf.subset.as_deref(), hf.split.as_deref());
    if chosen.is_empty() {
        let mut wanted = "Parquet, JSONL or JSON file".to_owned();
        let asked = [("subset", &hf.subset), ("split", &hf.split)];
        for (what, name) in asked.into_iter().filter_map(|(what, name)| Some((what, name.as_ref()?))) {
            wanted = format!("{wanted} of {what} `{name}`");
        }
        let cure = "check --dataset-path, --hf-subset and --hf-split";
        return Err(WorkloadError::NoneInFolder { path: hf.path.display().to_string(), wanted, cure });
    }
    Ok(chosen.into_iter().map(|name| hf.path.join(name)).collect())
}

/// All files in a folder and in those in it, in order.
pub(super) fn walk(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    descend(folder, DEPTH, &mut all)?;
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

/// Of the files of a dataset, by their names, those of a subset and a split. A dataset often has its files in several
/// formats: Parquet is taken before the others.
pub(super) fn choose<'a>(names: &'a [String], subset: Option<&str>, split: Option<&str>) -> Vec<&'a str> {
    let is_data = |name: &&str| {
        let file = name.rsplit('/').next().unwrap_or(name);
        !file.starts_with('.') && !ABOUT.contains(&file) && kind(name).is_some()
    };
    let mut chosen: Vec<&str> = names.iter().map(String::as_str).filter(is_data).collect();
    if chosen.iter().any(|name| kind(name) == Some("parquet")) {
        chosen.retain(|name| kind(name) == Some("parquet"));
    }
    if let Some(subset) = subset {
        chosen.retain(|name| name.contains(subset));
    }
    let of =
        |split: &str| -> Vec<&'a str> { chosen.iter().copied().filter(|name| is_of(name, split)).collect() };
    match split {
        Some(split) => of(split),
        None => SPLITS.into_iter().map(of).find(|some| !some.is_empty()).unwrap_or(chosen),
    }
}

fn kind(name: &str) -> Option<&str> {
    let name = name.strip_suffix(".gz").unwrap_or(name);
    let kind = name.rsplit_once('.')?.1;
    ["parquet", "jsonl", "json"].contains(&kind).then_some(kind)
}

/// Whether a file's name says that it is of a split: `train-00000-of-00002.parquet`, `default/train/0.parquet`.
fn is_of(name: &str, split: &str) -> bool {
    name.split(['/', '-', '.']).any(|part| part == split)
        || name.rsplit('/').next().is_some_and(|file| file.starts_with(split))
}

/// The files of a dataset as one table.
struct Table<'a> {
    path: &'a Path,
    files: Vec<PathBuf>,
    columns: Columns<'a>,
    output_len: Option<u32>,
}

/// A prompt, and the answer to it if there is one.
pub(super) struct Exchange {
    pub prompt: Arc<str>,
    pub answer: Option<Box<str>>,
}

impl Collection for Table<'_> {
    type Item = Exchange;

    fn name(&self) -> &'static str {
        "hf"
    }

    fn path(&self) -> String {
        self.path.display().to_string()
    }

    fn format(&self) -> &'static Format {
        FORMAT
    }

    fn is_rereadable(&self) -> bool {
        self.files.iter().all(|file| is_rereadable(file))
    }

    /// It may be far larger than what is read of it.
    fn is_shuffled_whole(&self) -> bool {
        false
    }

    fn bounds(&self) -> Bounds {
        Bounds { min_prompt_len: Some(SHORTEST), ..Bounds::default() }
    }

    fn read(
        &self,
        enough: usize,
        progress: &OnProgress<'_>,
        sink: &mut dyn FnMut(Exchange),
    ) -> Result<Contents, WorkloadError> {
        let (mut digests, mut found, mut textless, mut whole) = (Vec::new(), 0, 0, true);
        for file in &self.files {
            if found >= enough {
                whole = false;
                break;
            }
            digests.push(self.read_file(file, progress, &mut |exchange| match exchange {
                Some(exchange) => {
                    found += 1;
                    sink(exchange);
                }
                None => textless += 1,
            })?);
        }
        Ok(Contents { digest: together(digests), textless, whole })
    }

    fn request(&self, item: Exchange, job: &Job<'_>) -> Result<Request, WorkloadError> {
        let prompt = job.put(item.prompt)?;
        let tokens = job.tokenizer.count(&prompt)?;
        let answered = || item.answer.map_or(Ok(OUTPUT), |answer| job.tokenizer.count(&answer));
        let output = self.output_len.map_or_else(answered, Ok)?.max(1);
        Ok(Request::text(prompt, tokens, output))
    }
}

impl Table<'_> {
    fn read_file(
        &self,
        file: &Path,
        progress: &OnProgress<'_>,
        sink: &mut dyn FnMut(Option<Exchange>),
    ) -> Result<Digest, WorkloadError> {
        if !is_parquet(file) {
            let source = Source::open(file, FORMAT, progress)?;
            return records::read::<Map<String, Value>>(source, &mut |row| {
                sink(self.columns.exchange(row).map_err(|missing| Fault::Shape(missing.to_string()))?);
                Ok(())
            });
        }
        let path = file.display().to_string();
        let wanted = |names: &[&str]| {
            let refused = |missing| WorkloadError::Columns { path: path.clone(), missing };
            self.columns.among(names).map_err(refused)
        };
        parquet::read(file, &wanted, &mut |row| {
            sink(self.columns.exchange(row).unwrap_or_default());
            Ok(())
        })?;
        parquet::digest(file, progress)
    }
}

/// By its first bytes, whatever it is called; what cannot be opened is told by whoever reads it.
pub(super) fn is_parquet(file: &Path) -> bool {
    use std::io::Read as _;
    let mut head = [0; parquet::MAGIC.len()];
    file.is_file()
        && fs::File::open(file).and_then(|mut file| file.read_exact(&mut head)).is_ok()
        && head == parquet::MAGIC
}

/// The digest of a file, or of the digests of several.
pub(super) fn together(mut digests: Vec<Digest>) -> Digest {
    if digests.len() == 1 {
        return digests.remove(0);
    }
    let mut hasher = Hasher::default();
    digests.iter().for_each(|digest| hasher.update(digest.to_string().as_bytes()));
    hasher.finish()
}

#[cfg(test)]
pub(super) mod tests;
