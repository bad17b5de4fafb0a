//! Loads result files of any tool: Runs of this program, and what others state.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::exit::{CliError, print_stderr};
use super::setting_flags::FLAGS;
use super::{kept_runs, load_runs};
use crate::analysis::compare::{ComparisonSide, MetricSource, StatedSide};
use crate::model::bounded_file::{self, FileLimit};
use crate::model::digest::Digest;
use crate::model::record_log;
use crate::model::run::{Run, RunError};
use crate::model::run_records::MANY_REQUESTS;
use crate::model::stated::{self, StatedError, StatedResult};
use crate::runner::{self, Recovered};

/// A result in a file.
pub(super) enum SavedResult {
    /// This program measured it.
    Run(Box<Run>),
    /// Another tool measured it.
    Stated(Box<StatedResult>),
}

/// Loads the results in a file, or a kept run by its name. Of several runs of this program in one file, the last counts;
/// files of other tools have all their results.
pub(super) fn load(path: &Path) -> Result<Vec<SavedResult>, CliError> {
    let path = kept_runs::locate(path)?;
    if record_log::is_record_log(&path) {
        return Ok(vec![SavedResult::Run(Box::new(from_log(path)?))]);
    }
    let error = match Run::load(&path) {
        Ok(run) => return Ok(vec![SavedResult::Run(Box::new(run))]),
        Err(error @ (RunError::Format { .. } | RunError::OtherTool { .. })) => error,
        Err(error) => return Err(CliError::usage(error)),
    };
    match stated::read(&path) {
        Ok(results) => Ok(results.into_iter().map(|result| SavedResult::Stated(Box::new(result))).collect()),
        Err(StatedError::Own { .. }) => Err(CliError::usage(error)),
        Err(error) => Err(CliError::usage(error)),
    }
}

/// Reads the run of a record log, with its Records if they fit in memory.
fn from_log(path: PathBuf) -> Result<Run, CliError> {
    let name = path.display().to_string();
    let Recovered { mut run, records, lost } =
        runner::recover(&[path], Some(MANY_REQUESTS)).map_err(CliError::usage)?;
    lost.iter().for_each(|lost| print_stderr(format_args!("warning: {name}: {lost}")));
    run.validity.name_settings(FLAGS);
    if let Some(sampled) = &mut run.sampled {
        sampled.log = Some(name);
    }
    run.records = records.into_whole();
    Ok(run)
}

/// The SHA-256 of a file of results, or of a kept run by its name.
pub(super) fn digest(path: &Path) -> Result<Digest, CliError> {
    let path = kept_runs::locate(path)?;
    let unreadable = |error| CliError::usage(format!("cannot read {}: {error}", path.display()));
    Digest::from_reader(File::open(&path).map_err(unreadable)?).map_err(unreadable)
}

/// Loads the results in a file with their names. Of several, each has its part of the file in its name.
pub(super) fn load_named(path: &Path) -> Result<Vec<(String, SavedResult)>, CliError> {
    let named = load(path)?.into_iter().map(|result| {
        let part = match &result {
            SavedResult::Stated(result) => result.part.as_ref().map(|part| format!(" ({part})")),
            SavedResult::Run(_) => None,
        };
        (format!("{}{}", path.display(), part.unwrap_or_default()), result)
    });
    Ok(named.collect())
}

/// Whether a file is a result of another tool. A file that cannot be read is not.
pub(super) fn is_of_other_tool(path: &Path) -> bool {
    let located = kept_runs::locate(path).ok().filter(|path| path.is_file());
    let text = located.and_then(|path| bounded_file::read_json(&path, FileLimit::RESULT).ok());
    text.is_some_and(|text| stated::recognize(&text).is_some())
}

/// A side of a comparison that was loaded.
pub(super) enum LoadedSide {
    /// Runs of this program.
    Runs(ComparisonSide),
    /// A result of another tool.
    Stated(Box<StatedSide>),
}

impl LoadedSide {
    /// The runs of this program; `None` for a result of another tool.
    pub(super) fn runs(&self) -> Option<&ComparisonSide> {
        match self {
            Self::Runs(side) => Some(side),
            Self::Stated(_) => None,
        }
    }

    /// The side's metrics.
    pub(super) fn source(&self) -> &dyn MetricSource {
        match self {
            Self::Runs(side) => side,
            Self::Stated(side) => &**side,
        }
    }
}

/// Loads a side: a result file of any tool, a folder of runs, or a kept run by its name.
pub(super) fn load_side(path: &Path) -> Result<LoadedSide, CliError> {
    if path.is_dir() {
        return load_runs::load_side(path).map(LoadedSide::Runs);
    }
    Ok(match load_last(path)? {
        SavedResult::Run(run) => LoadedSide::Runs(load_runs::side_of_run(path, *run)),
        SavedResult::Stated(result) => {
            let name = format!("{} [{}]", path.display(), result.origin());
            LoadedSide::Stated(Box::new(StatedSide { name, result: *result }))
        }
    })
}

/// Loads the last result in a file, and says so if there are several.
fn load_last(path: &Path) -> Result<SavedResult, CliError> {
    let mut results = load(path)?;
    let count = results.len();
    let last = results.pop();
    if let Some(SavedResult::Stated(result)) = last.as_ref().filter(|_| count > 1) {
        print_stderr(format_args!(
            "note: {} has {count} results; the last counts: {}",
            path.display(),
            result.origin()
        ));
    }
    last.ok_or_else(|| CliError::usage(format!("{} has no result", path.display())))
}
