//! `--update-baseline`: the candidate becomes the baseline of the next gates.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Zoned;
use serde::Serialize;

use crate::cli::exit::{Halt, say};
use crate::core::digest::Digest;
use crate::core::run::{JudgedRule, Promotion, Replaced, Run, file};
use crate::judge::gate::{Finding, Outcome, Ruling};

/// Whether it is clear which place is meant, and whether it can be written.
pub fn check(baseline: &[PathBuf]) -> Result<(), Halt> {
    let [place] = baseline else {
        return Err(Halt::usage("--update-baseline needs one --baseline: a file, or a folder of repeats"));
    };
    let path = if place.is_dir() { place.join("baseline.json") } else { place.clone() };
    file::probe(&path).map_err(Halt::usage)
}

/// Puts the candidate's runs in the baseline's place, if the gate passed or it is to be done by `force`. What is INVALID never
/// becomes a baseline.
pub fn promote(baseline: &[PathBuf], runs: Vec<Run>, ruling: &Ruling, force: bool) -> Result<(), Halt> {
    let forced = match ruling.outcome {
        Outcome::Pass | Outcome::Warn => false,
        Outcome::Fail if force => true,
        Outcome::Fail | Outcome::Invalid => {
            say("the baseline was left as it is: the candidate did not pass");
            return Ok(());
        }
    };
    let Some(place) = baseline.first() else { return Ok(()) };
    let old =
        results(place).map_err(|error| Halt::io(format!("cannot read {}: {error}", place.display())))?;
    let promotion = Promotion {
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
        run.save(place).map_err(Halt::io)?;
    }
    say(format_args!("{} is the candidate now", place.display()));
    if count > 1 {
        say(format_args!("note: of {count} runs it is the first; a folder as --baseline would keep all"));
    }
    Ok(())
}

/// A result in the baseline's place.
struct Old {
    path: PathBuf,
    replaced: Replaced,
}

/// The results in a file or a folder.
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
        // What is no result is not replaced.
        let Ok(run) = Run::load(&path) else { continue };
        let replaced = Replaced {
            started: run.started,
            server_version: run.environment.server_version,
            sha256: Digest::of(&fs::read(&path)?),
        };
        found.push(Old { path, replaced });
    }
    Ok(found)
}

/// The new ones are there before the old ones go.
fn folder(place: &Path, runs: impl Iterator<Item = Run>, old: &[Old]) -> Result<(), Halt> {
    let mut new = Vec::new();
    for (number, run) in runs.enumerate() {
        let name = run.file_name();
        let name = name.strip_suffix(".json").unwrap_or(&name);
        let path = place.join(format!("{name}-{}.json", number + 1));
        run.save(&path).map_err(Halt::io)?;
        new.push(path);
    }
    for old in old.iter().filter(|old| !new.contains(&old.path)) {
        fs::remove_file(&old.path)
            .map_err(|error| Halt::io(format!("cannot remove {}: {error}", old.path.display())))?;
    }
    say(format_args!("{} holds the candidate now", place.display()));
    Ok(())
}

fn judged(finding: &Finding) -> JudgedRule {
    let answer = serde_json::to_value(finding.answer).ok();
    let answer = answer.as_ref().and_then(|answer| answer["answer"].as_str()).unwrap_or_default();
    JudgedRule { rule: finding.rule.rule.to_string(), answer: answer.to_owned() }
}

/// An enum's name in JSON.
fn word(value: &impl Serialize) -> String {
    serde_json::to_value(value)
        .ok()
        .and_then(|value| value.as_str().map(ToOwned::to_owned))
        .unwrap_or_default()
}
