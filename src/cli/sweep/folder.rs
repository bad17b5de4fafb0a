//! Where a sweep's results are, and which are there already.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::fresh::Fresh;
use super::plan::{Cell, Plan};
use crate::cli::exit::Halt;
use crate::core::run::{Run, file};
use crate::judge::search::Answer;
use crate::report::sweep::Yield;

/// The key of a Run's metadata, or of a search's JSON, that tells which cell it is.
const DIGEST: &str = "sweep_cell";

/// A folder with a Run or a search for each finished cell.
pub struct Folder {
    path: PathBuf,
    /// By the file's name.
    runs: BTreeMap<String, Run>,
    answers: BTreeMap<String, Answer>,
}

impl Folder {
    /// Reads what is there of a plan. Nothing is written.
    ///
    /// # Errors
    /// If a cell's file is that of something else: it is neither believed nor written over.
    pub fn open(path: PathBuf, plan: &Plan) -> Result<Self, Halt> {
        let mut folder = Self { path, runs: BTreeMap::new(), answers: BTreeMap::new() };
        for cell in plan.cells() {
            let file = folder.path.join(&cell.file);
            if !file.exists() {
                continue;
            }
            let same = match plan.loads[cell.load].search {
                None => folder.take_run(&file, &cell)?,
                Some(_) => folder.take_answer(&file, &cell)?,
            };
            if !same {
                return Err(Halt::usage(format!(
                    "{} is of a sweep with another command, other flags or another seed: give another --out, or remove it",
                    file.display()
                )));
            }
        }
        Ok(folder)
    }

    /// Whether the file is the cell's.
    fn take_run(&mut self, file: &Path, cell: &Cell) -> Result<bool, Halt> {
        let run = Run::load(file).map_err(Halt::usage)?;
        let same = run.notes.metadata.get(DIGEST) == Some(&cell.digest.to_string());
        self.runs.insert(cell.file.clone(), run);
        Ok(same)
    }

    /// The same of a search.
    fn take_answer(&mut self, file: &Path, cell: &Cell) -> Result<bool, Halt> {
        let wrong = |why: &dyn std::fmt::Display| Halt::usage(format!("{}: {why}", file.display()));
        let text = fs::read_to_string(file).map_err(|error| wrong(&error))?;
        let mut value: Value = serde_json::from_str(&text).map_err(|error| wrong(&error))?;
        if value.get(DIGEST).and_then(Value::as_str) != Some(&cell.digest.to_string()) {
            return Ok(false);
        }
        let answer = serde_json::from_value(value["answer"].take()).map_err(|error| wrong(&error))?;
        self.answers.insert(cell.file.clone(), answer);
        Ok(true)
    }

    /// Finds out whether results can be written, before anything is started.
    pub fn probe(&self) -> Result<(), Halt> {
        file::probe(&self.path.join("sweep.json")).map_err(|error| Halt::usage(told(&error)))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What a cell yielded that is finished.
    pub fn found(&self, cell: &Cell) -> Option<Yield<'_>> {
        let answer = || self.answers.get(&cell.file).map(Yield::Answer);
        self.runs.get(&cell.file).map(Yield::Run).or_else(answer)
    }

    /// Saves what a cell yielded, which then is finished.
    pub fn keep(&mut self, plan: &Plan, cell: &Cell, fresh: Fresh) -> Result<(), Halt> {
        let tags = [
            ("sweep_set", plan.sets[cell.set].name.clone()),
            ("sweep_load", plan.loads[cell.load].name.clone()),
            ("sweep_repeat", (cell.repeat + 1).to_string()),
            (DIGEST, cell.digest.to_string()),
        ];
        let tags = tags.map(|(key, value)| (key.to_owned(), value));
        match fresh {
            Fresh::Run(mut run) => {
                run.notes.metadata.extend(tags);
                run.save(&self.path.join(&cell.file)).map_err(|error| Halt::io(told(&error)))?;
                if plan.repeats > 1 {
                    // Repeats are compared by what runs add up to: their requests need not be in memory, cell after cell.
                    run.records = None;
                }
                self.runs.insert(cell.file.clone(), *run);
            }
            Fresh::Search { found, command } => {
                let mut value = found.report(&command).value();
                tags.into_iter().for_each(|(key, text)| value[key] = json!(text));
                self.write(&cell.file, format!("{value:#}\n").as_bytes())?;
                self.answers.insert(cell.file.clone(), found.answer);
            }
        }
        Ok(())
    }

    /// Writes a file into it.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<(), Halt> {
        file::write(&self.path.join(name), content).map_err(|error| Halt::io(told(&error)))
    }
}

/// A Run's errors name the flags of `run`.
fn told(error: &dyn std::fmt::Display) -> String {
    error.to_string().replace("--result-dir or --result-filename", "--out")
}
