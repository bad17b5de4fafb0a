//! `report --export`: a result in the format of another project.

use std::path::Path;

use clap::ValueEnum;

use crate::cli::exit::CliError;
use crate::cli::saved_results::SavedResult;
use crate::model::run::file;
use crate::report::llmd;

/// A format of another project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ExportFormat {
    /// The llm-d Benchmark Report 0.2, JSON or YAML by the file's name
    Llmd,
}

/// Writes the only result.
pub(super) fn write(
    format: ExportFormat,
    path: &Path,
    results: &[(String, SavedResult)],
) -> Result<(), CliError> {
    let [(_, result)] = results else {
        return Err(CliError::usage(format!("--export takes one result, not {}", results.len())));
    };
    let ExportFormat::Llmd = format;
    let (stated, verdict) = match result {
        SavedResult::Run(run) if run.is_predicted() => {
            return Err(CliError::usage(
                "the run is predicted: --export takes measured runs, because the format cannot say that one is not",
            ));
        }
        SavedResult::Run(run) if run.validity.valid => (run.to_stated(), "VALID"),
        SavedResult::Run(run) => (run.to_stated(), "INVALID"),
        SavedResult::Stated(result) => ((**result).clone(), "not judged"),
    };
    let mut content = Vec::new();
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("json") => llmd::json(&stated, verdict, &mut content),
        Some("yaml" | "yml") => llmd::yaml(&stated, verdict, &mut content),
        _ => return Err(CliError::usage("--out: the name of the export ends in .json, .yaml or .yml")),
    }
    .map_err(|error| CliError::io(format_args!("cannot write {}: {error}", path.display())))?;
    file::write(path, &content).map_err(CliError::io)
}
