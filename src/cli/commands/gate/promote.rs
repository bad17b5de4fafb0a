//! `--update-baseline`: replaces the baseline by the candidate for later gates.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Zoned;
use serde::Serialize;

use crate::analysis::gate::{GateReport, GateVerdict, RuleFinding};
use crate::cli::exit::{CliError, print_stderr};
use crate::cli::kept_runs;
use crate::model::bounded_file::{self, FileLimit};
use crate::model::digest::Digest;
use crate::model::run::{BaselinePromotion, JudgedRule, ReplacedBaseline, Run, file};

/// Checks that the baseline is a single file or folder, and that it can be written.
pub(super) fn check(baseline: &[PathBuf]) -> Result<(), CliError> {
    let [place] = baseline else {
        return Err(CliError::usage(
            "--update-baseline needs one --baseline: a file, or a folder of repeats",
        ));
    };
    if kept_runs::is_name(place) {
        return Err(CliError::usage(format!(
            "--update-baseline does not replace the kept run `{}`: give a file as --baseline",
            place.display()
        )));
    }
    let path = if place.is_dir() { place.join("baseline.json") } else { place.clone() };
    file::check_writable(&path).map_err(CliError::usage)
}

/// Replaces the baseline by the candidate's runs if the gate passed or `force` is set. INVALID runs never become a
/// baseline.
pub(super) fn promote(
    baseline: &[PathBuf],
    runs: Vec<Run>,
    ruling: &GateReport,
    force: bool,
) -> Result<(), CliError> {
    let forced = match ruling.outcome {
        GateVerdict::Pass | GateVerdict::Warn => false,
        GateVerdict::Fail if force => true,
        GateVerdict::Fail | GateVerdict::Invalid => {
            print_stderr("the baseline is unchanged: the candidate did not pass");
            return Ok(());
        }
    };
    if runs.iter().any(Run::is_predicted) {
        print_stderr("the baseline is unchanged: the candidate is predicted, and a baseline is measured");
        return Ok(());
    }
    let Some(place) = baseline.first() else { return Ok(()) };
    let old =
        results(place).map_err(|error| CliError::io(format!("cannot read {}: {error}", place.display())))?;
    let promotion = BaselinePromotion {
        at: Zoned::now(),
        replaced: old.iter().map(|old| old.replaced.clone()).collect(),
        outcome: word(&ruling.outcome),
        forced,
        rules: ruling.findings.iter().map(judged).collect(),
    };
    let count = runs.len();
    let runs = runs.into_iter().map(|run| Run { promotion: Some(promotion.clone()), ..run });
    if place.is_dir() {
        return folder(place, runs, &old);
    }
    for run in runs.take(1) {
        run.save(place).map_err(CliError::io)?;
    }
    print_stderr(format_args!("{} is the candidate now", place.display()));
    if count > 1 {
        print_stderr(format_args!(
            "note: it is the first of {count} runs; a folder as --baseline would keep all"
        ));
    }
    Ok(())
}

/// An existing result of the baseline.
struct Old {
    path: PathBuf,
    replaced: ReplacedBaseline,
}

/// Lists the results in a file or a folder.
fn results(place: &Path) -> io::Result<Vec<Old>> {
    let mut paths = vec![place.to_owned()];
    if place.is_dir() {
        let entries = fs::read_dir(place)?.map(|entry| entry.map(|entry| entry.path()));
        paths = entries.collect::<io::Result<_>>()?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        paths.sort_unstable();
    }
    let mut found = Vec::new();
    for path in paths {
        // A file that is not a result is not replaced.
        let Ok(run) = Run::load(&path) else { continue };
        let replaced = ReplacedBaseline {
            started: run.started,
            server_version: run.environment.server_version,
            sha256: Digest::from_bytes(&bounded_file::read(&path, FileLimit::RESULT)?),
        };
        found.push(Old { path, replaced });
    }
    Ok(found)
}

/// Writes the new results before it removes the old ones.
fn folder(place: &Path, runs: impl Iterator<Item = Run>, old: &[Old]) -> Result<(), CliError> {
    let mut new = Vec::new();
    for (number, run) in runs.enumerate() {
        let name = run.file_name();
        let name = name.strip_suffix(".json").unwrap_or(&name);
        let path = place.join(format!("{name}-{}.json", number + 1));
        run.save(&path).map_err(CliError::io)?;
        new.push(path);
    }
    for old in old.iter().filter(|old| !new.contains(&old.path)) {
        fs::remove_file(&old.path)
            .map_err(|error| CliError::io(format!("cannot remove {}: {error}", old.path.display())))?;
    }
    print_stderr(format_args!("the candidate is now the baseline: {}", place.display()));
    Ok(())
}

fn judged(finding: &RuleFinding) -> JudgedRule {
    let answer = serde_json::to_value(finding.answer).ok();
    let answer = answer.as_ref().and_then(|answer| answer["answer"].as_str()).unwrap_or_default();
    JudgedRule { rule: finding.rule.rule.to_string(), answer: answer.to_owned() }
}

/// Returns an enum's name in JSON.
fn word(value: &impl Serialize) -> String {
    serde_json::to_value(value)
        .ok()
        .and_then(|value| value.as_str().map(ToOwned::to_owned))
        .unwrap_or_default()
}
