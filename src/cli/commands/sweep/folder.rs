//! The folder of a sweep's results, and which of them already exist.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::fresh::Fresh;
use super::plan::{Cell, Plan};
use crate::analysis::search::SearchAnswer;
use crate::cli::exit::CliError;
use crate::model::bounded_file::{self, FileLimit};
use crate::model::run::{Run, file};
use crate::report::sweep::CellOutput;

/// The key in a Run's metadata, or in a search's JSON, that identifies the cell.
const DIGEST: &str = "sweep_cell";

/// A folder with a Run or a search for each finished cell.
pub(super) struct Folder {
    path: PathBuf,
    /// The saved Runs, by file name.
    runs: BTreeMap<String, Run>,
    answers: BTreeMap<String, SearchAnswer>,
}

impl Folder {
    /// Reads the existing results of a plan. It writes nothing.
    ///
    /// # Errors
    /// A cell's file belongs to something else: it is neither used nor overwritten.
    pub(super) fn open(path: PathBuf, plan: &Plan) -> Result<Self, CliError> {
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
                return Err(CliError::usage(format!(
                    "{} is from a sweep with another command, other flags or another seed: give another --out, or remove it",
                    file.display()
                )));
            }
        }
        Ok(folder)
    }

    /// Loads a cell's file; `false` if its digest is not the cell's.
    fn take_run(&mut self, file: &Path, cell: &Cell) -> Result<bool, CliError> {
        let run = Run::load(file).map_err(CliError::usage)?;
        let same = run.notes.metadata.get(DIGEST) == Some(&cell.digest.to_string());
        self.runs.insert(cell.file.clone(), run);
        Ok(same)
    }

    /// Loads a cell's file that is a search; `false` if its digest is not the cell's.
    fn take_answer(&mut self, file: &Path, cell: &Cell) -> Result<bool, CliError> {
        let wrong = |why: &dyn std::fmt::Display| CliError::usage(format!("{}: {why}", file.display()));
        let text = bounded_file::read_text(file, FileLimit::RESULT).map_err(|error| wrong(&error))?;
        let mut value: Value = serde_json::from_str(&text).map_err(|error| wrong(&error))?;
        if value.get(DIGEST).and_then(Value::as_str) != Some(&cell.digest.to_string()) {
            return Ok(false);
        }
        let answer = serde_json::from_value(value["answer"].take()).map_err(|error| wrong(&error))?;
        self.answers.insert(cell.file.clone(), answer);
        Ok(true)
    }

    /// Checks that results can be written, before anything is started.
    pub(super) fn probe(&self) -> Result<(), CliError> {
        file::check_writable(&self.path.join("sweep.json")).map_err(unwritable)
    }

    /// Returns the folder's path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the result of a finished cell.
    pub(super) fn found(&self, cell: &Cell) -> Option<CellOutput<'_>> {
        let answer = || self.answers.get(&cell.file).map(CellOutput::Answer);
        self.runs.get(&cell.file).map(CellOutput::Run).or_else(answer)
    }

    /// Saves the result of a cell, which is finished then.
    pub(super) fn keep(&mut self, plan: &Plan, cell: &Cell, fresh: Fresh) -> Result<(), CliError> {
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
                run.save(&self.path.join(&cell.file)).map_err(unwritable)?;
                if plan.repeats > 1 {
                    // Repeats are compared by their totals, so the requests of each cell need not stay in memory.
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

    /// Writes a file into the folder.
    pub(super) fn write(&self, name: &str, content: &[u8]) -> Result<(), CliError> {
        file::write(&self.path.join(name), content).map_err(unwritable)
    }
}

/// Returns the error of a file that cannot be written, with the flag that names another place.
fn unwritable(error: impl std::fmt::Display) -> CliError {
    CliError::io(format_args!("{error}; give another --out"))
}
