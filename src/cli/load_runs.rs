//! Loads saved runs as the sides of a comparison, and checks whether they are comparable.

use std::fs;
use std::path::{Path, PathBuf};

use super::exit::{CliError, print_stderr};
use super::kept_runs;
use crate::analysis::compare::{ComparisonSide, SpecDifference};
use crate::model::run::{Run, RunError};
use crate::model::validity::Verdict;

/// Loads a result file, or a kept run by its name.
pub(super) fn load_run(path: &Path) -> Result<Run, CliError> {
    Run::load(&kept_runs::locate(path)?).map_err(CliError::usage)
}

/// Loads a side: a result file, a folder of them, or a kept run by its name.
pub(super) fn load_side(path: &Path) -> Result<ComparisonSide, CliError> {
    let name = path.display();
    if path.is_dir() {
        return Ok(ComparisonSide { name: name.to_string(), runs: load_folder(path)? });
    }
    load_run(path).map(|run| side_of_run(path, run))
}

/// The side of a run that was loaded from this path.
pub(super) fn side_of_run(path: &Path, run: Run) -> ComparisonSide {
    let name = path.display();
    let name = match kept_runs::is_name(path) {
        // The same name is another run tomorrow.
        true => format!("{name} ({})", run.started.strftime("%Y-%m-%d %H:%M:%S")),
        false => name.to_string(),
    };
    ComparisonSide { name, runs: vec![run] }
}

/// Loads every result in a folder, sorted by name. Other JSON files are skipped with a message.
fn load_folder(path: &Path) -> Result<Vec<Run>, CliError> {
    let unreadable = |source| CliError::usage(RunError::Read { path: path.to_owned(), source });
    let entries = fs::read_dir(path).map_err(unreadable)?;
    let entries: Result<Vec<_>, _> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut files: Vec<PathBuf> = entries.map_err(unreadable)?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort_unstable();
    let mut runs = Vec::new();
    for file in files {
        match Run::load(&file) {
            Ok(run) if run.is_predicted() => print_stderr(format_args!(
                "left out: {} is predicted, and a folder is of repeated measurements",
                file.display()
            )),
            Ok(run) => runs.push(run),
            Err(error @ (RunError::Format { .. } | RunError::OtherTool { .. })) => {
                print_stderr(format_args!("left out: {error}"))
            }
            Err(error) => return Err(CliError::usage(error)),
        }
    }
    if runs.is_empty() {
        let path = path.display();
        return Err(CliError::usage(format!(
            "{path} holds no servegauge result; save runs there with --result-dir"
        )));
    }
    Ok(runs)
}

/// Checks whether the sides are comparable. Differences are an error unless `anyway` is set. Metrics that are INVALID
/// while others of the run are valid are removed.
pub(super) fn check_comparable(
    base: &mut ComparisonSide,
    candidates: &mut [ComparisonSide],
    anyway: bool,
) -> Result<Vec<String>, CliError> {
    let mut caveats = spec_differences(base, candidates);
    if !caveats.is_empty() && !anyway {
        let list = caveats.iter().map(|caveat| format!("\n  {caveat}")).collect::<String>();
        return Err(CliError::usage(format!(
            "these runs had different settings (--anyway compares them regardless):{list}"
        )));
    }
    if anyway {
        caveats.extend(
            [&*base]
                .into_iter()
                .chain(&*candidates)
                .filter_map(|side| invalid_reasons(side, Verdict::reason)),
        );
    } else {
        let whole = |side: &ComparisonSide| invalid_reasons(side, Verdict::run_invalid_reason);
        if let Some(first) = [&*base].into_iter().chain(&*candidates).find_map(whole) {
            return Err(CliError::invalid(format!("{first}; --anyway compares it regardless")));
        }
        for side in [&mut *base].into_iter().chain(&mut *candidates) {
            caveats.extend(remove_invalid(side));
        }
    }
    let same = candidates.iter().filter(|side| is_same_run(base, side));
    caveats.extend(same.map(|side| format!("{} and the baseline include the same run", side.name)));
    let all = || [&*base].into_iter().chain(&*candidates);
    let cut = |side: &&ComparisonSide| side.runs.iter().any(|run| run.interrupted);
    caveats
        .extend(all().filter(cut).map(|side| format!("{}: a run was interrupted before its end", side.name)));
    Ok(caveats)
}

/// Whether a run is on both sides, under any name.
fn is_same_run(base: &ComparisonSide, candidate: &ComparisonSide) -> bool {
    let same = |a: &Run, b: &Run| a.started == b.started && a.command == b.command && a.metrics == b.metrics;
    base.runs.iter().any(|run| candidate.runs.iter().any(|other| same(run, other)))
}

/// Lists how the sides' specs differ from that of the baseline's first run.
pub(super) fn spec_differences(base: &ComparisonSide, candidates: &[ComparisonSide]) -> Vec<String> {
    let Some(first) = base.runs.first() else { return Vec::new() };
    let sides = [base].into_iter().chain(candidates);
    let mut found = Vec::new();
    for side in sides {
        // Repeats have equal specs, or all differ in the same way: each difference is reported once.
        for unlike in side.runs.iter().flat_map(|run| SpecDifference::between(first, run)) {
            let SpecDifference { field, base, candidate } = unlike;
            let caveat = format!("{field} is {base} in the baseline, {candidate} in {}", side.name);
            if !found.contains(&caveat) {
                found.push(caveat);
            }
        }
    }
    found
}

/// Removes the metrics that are INVALID in a run of this side; returns a message that names them.
fn remove_invalid(side: &mut ComparisonSide) -> Option<String> {
    let reasons: Vec<String> = side.runs.iter_mut().filter_map(Run::remove_invalid_metrics).collect();
    Some(format!("{}: {}; left out", side.name, reasons.first()?))
}

fn invalid_reasons(side: &ComparisonSide, reason: fn(&Verdict) -> Option<String>) -> Option<String> {
    let reasons: Vec<String> = side.runs.iter().filter_map(|run| reason(&run.validity)).collect();
    let first = reasons.first()?;
    Some(match side.runs.len() {
        1 => format!("{} is INVALID: {first}", side.name),
        all => format!("{}: {} of {all} runs are INVALID: {first}", side.name, reasons.len()),
    })
}
