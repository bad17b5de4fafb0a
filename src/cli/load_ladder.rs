//! Loads the steps of a ladder by its index.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::exit::CliError;
use crate::model::run::Run;
use crate::model::step_load::StepLoad;
use crate::report::ladder::{IndexedStep, LadderEnd, LadderIndex, LadderReport, StepReport};

/// The largest index of a ladder. Larger files are results.
const MAX_BYTES: u64 = 1 << 20;

/// A saved ladder.
pub(super) struct SavedLadder {
    end: LadderEnd,
    open: Vec<StepLoad>,
    steps: Vec<SavedStep>,
}

/// A step of a saved ladder.
struct SavedStep {
    load: StepLoad,
    outcome: Result<Run, String>,
    file: Option<String>,
}

/// Loads a ladder and its runs; `None` if the file is not the index of a ladder.
pub(super) fn load_ladder(path: &Path) -> Result<Option<SavedLadder>, CliError> {
    let Some(LadderIndex { end, open, steps, .. }) = read_index(path)? else { return Ok(None) };
    let folder = path.parent().unwrap_or(Path::new(""));
    let steps = steps.into_iter().map(|step| load_step(step, folder)).collect::<Result<_, _>>()?;
    Ok(Some(SavedLadder { end, open, steps }))
}

fn read_index(path: &Path) -> Result<Option<LadderIndex>, CliError> {
    let mut text = Vec::new();
    // Whatever is wrong with the file is reported when it is read as a result.
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut text));
    match read {
        Ok(_) => {
            LadderIndex::parse(&text).map_err(|why| CliError::usage(format!("{} {why}", path.display())))
        }
        Err(_) => Ok(None),
    }
}

fn load_step(step: IndexedStep, folder: &Path) -> Result<SavedStep, CliError> {
    let IndexedStep { load, file, reason, .. } = step;
    let outcome = match &file {
        // Only the name counts: an index from elsewhere names no file outside its folder.
        Some(name) => {
            let name = Path::new(name).file_name().unwrap_or_default();
            Ok(Run::load(&folder.join(name)).map_err(CliError::usage)?)
        }
        None => Err(reason.unwrap_or_else(|| "not saved".to_owned())),
    };
    Ok(SavedStep { load, outcome, file })
}

impl SavedLadder {
    /// The runs, each with the name of its load.
    pub(super) fn into_runs(self) -> Vec<(String, Run)> {
        let named = |step: SavedStep| Some((step.load.to_string(), step.outcome.ok()?));
        self.steps.into_iter().filter_map(named).collect()
    }

    /// The report of the ladder.
    pub(super) fn report(&self) -> LadderReport<'_> {
        let steps = self.steps.iter().map(|step| StepReport {
            load: step.load,
            outcome: step.outcome.as_ref().map_err(String::as_str),
            file: step.file.clone(),
        });
        LadderReport { steps: steps.collect(), open: self.open.clone(), end: self.end.clone(), percents: &[] }
    }
}
