//! Where a sweep's results are, and which are there already.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::plan::{Cell, Plan};
use crate::cli::exit::Halt;
use crate::core::run::{Run, file};

/// The key of a Run's metadata that tells which cell it is.
const DIGEST: &str = "sweep_cell";

/// A folder with a Run for each finished cell.
pub struct Folder {
    path: PathBuf,
    /// By the file's name.
    runs: BTreeMap<String, Run>,
}

impl Folder {
    /// Reads what is there of a plan. Nothing is written.
    ///
    /// # Errors
    /// If a cell's file is that of something else: it is neither believed nor written over.
    pub fn open(path: PathBuf, plan: &Plan) -> Result<Self, Halt> {
        let mut runs = BTreeMap::new();
        for cell in plan.cells() {
            let file = path.join(&cell.file);
            if !file.exists() {
                continue;
            }
            let run = Run::load(&file).map_err(Halt::usage)?;
            if run.notes.metadata.get(DIGEST) != Some(&cell.digest.to_string()) {
                return Err(Halt::usage(format!(
                    "{} is of a sweep with another command, other flags or another seed: give another --out, or remove it",
                    file.display()
                )));
            }
            runs.insert(cell.file, run);
        }
        Ok(Self { path, runs })
    }

    /// Finds out whether results can be written, before anything is started.
    pub fn probe(&self) -> Result<(), Halt> {
        file::probe(&self.path.join("sweep.json")).map_err(|error| Halt::usage(told(&error)))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The Run of a cell that is finished.
    pub fn run(&self, cell: &Cell) -> Option<&Run> {
        self.runs.get(&cell.file)
    }

    /// Saves the Run of a cell, which then is finished.
    pub fn keep(&mut self, plan: &Plan, cell: &Cell, mut run: Run) -> Result<&Run, Halt> {
        let tags = [
            ("sweep_set", plan.sets[cell.set].name.clone()),
            ("sweep_load", plan.loads[cell.load].name.clone()),
            ("sweep_repeat", (cell.repeat + 1).to_string()),
            (DIGEST, cell.digest.to_string()),
        ];
        run.notes.metadata.extend(tags.map(|(key, value)| (key.to_owned(), value)));
        run.save(&self.path.join(&cell.file)).map_err(|error| Halt::failed(told(&error)))?;
        if plan.repeats > 1 {
            // Repeats are compared by what runs add up to: their requests need not be in memory, cell after cell.
            run.records = None;
        }
        self.runs.insert(cell.file.clone(), run);
        Ok(&self.runs[&cell.file])
    }

    /// Writes a file beside the Runs.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<(), Halt> {
        file::write(&self.path.join(name), content).map_err(|error| Halt::failed(told(&error)))
    }
}

/// A Run's errors name the flags of `run`.
fn told(error: &dyn std::fmt::Display) -> String {
    error.to_string().replace("--result-dir or --result-filename", "--out")
}
