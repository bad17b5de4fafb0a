//! Saved runs as the sides of a comparison, and whether they may be compared.

use std::fs;
use std::path::{Path, PathBuf};

use super::exit::{Halt, say};
use crate::core::run::{Run, RunError};
use crate::core::validity::Verdict;
use crate::judge::compare::{Side, Unlike};

/// Reads a side: a result file, or a folder of them.
pub fn read(path: &Path) -> Result<Side, Halt> {
    let runs = if path.is_dir() { folder(path)? } else { vec![Run::load(path).map_err(Halt::usage)?] };
    Ok(Side { name: path.display().to_string(), runs })
}

/// Every result in a folder, by name. Other JSON files may lie there too.
fn folder(path: &Path) -> Result<Vec<Run>, Halt> {
    let unreadable = |source| Halt::usage(RunError::Read { path: path.to_owned(), source });
    let entries = fs::read_dir(path).map_err(unreadable)?;
    let entries: Result<Vec<_>, _> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut files: Vec<PathBuf> = entries.map_err(unreadable)?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort_unstable();
    let mut runs = Vec::new();
    for file in files {
        match Run::load(&file) {
            Ok(run) => runs.push(run),
            Err(error @ RunError::Format { .. }) => say(format_args!("left out: {error}")),
            Err(error) => return Err(Halt::usage(error)),
        }
    }
    if runs.is_empty() {
        let path = path.display();
        return Err(Halt::usage(format!(
            "{path} holds no servebench result; save runs there with --result-dir"
        )));
    }
    Ok(runs)
}

/// What speaks against comparing these. Unless it is to be done `anyway`, that is an error, or takes the metrics out that
/// are INVALID in runs of which others hold.
pub fn caveats(base: &mut Side, candidates: &mut [Side], anyway: bool) -> Result<Vec<String>, Halt> {
    let mut caveats = unlike(base, candidates);
    if !caveats.is_empty() && !anyway {
        let list = caveats.iter().map(|caveat| format!("\n  {caveat}")).collect::<String>();
        return Err(Halt::usage(format!("these runs asked different things; --anyway compares them:{list}")));
    }
    if anyway {
        caveats.extend(
            [&*base].into_iter().chain(&*candidates).filter_map(|side| invalid(side, Verdict::reason)),
        );
    } else {
        let whole = |side: &Side| invalid(side, Verdict::reason_for_all);
        if let Some(first) = [&*base].into_iter().chain(&*candidates).find_map(whole) {
            return Err(Halt::invalid(format!("{first}; --anyway compares it all the same")));
        }
        for side in [&mut *base].into_iter().chain(&mut *candidates) {
            caveats.extend(left_out(side));
        }
    }
    let same = candidates.iter().filter(|side| is_same_run(base, side));
    caveats.extend(same.map(|side| {
        format!("{} is the very run that it is compared with: there is nothing to find", side.name)
    }));
    let all = || [&*base].into_iter().chain(&*candidates);
    let cut = |side: &&Side| side.runs.iter().any(|run| run.interrupted);
    caveats
        .extend(all().filter(cut).map(|side| format!("{}: a run was interrupted before its end", side.name)));
    Ok(caveats)
}

/// Whether a run is on both sides, under whatever name.
fn is_same_run(base: &Side, candidate: &Side) -> bool {
    let same = |a: &Run, b: &Run| a.started == b.started && a.command == b.command && a.metrics == b.metrics;
    base.runs.iter().any(|run| candidate.runs.iter().any(|other| same(run, other)))
}

/// How the sides' specs differ from that of the baseline's first run.
pub fn unlike(base: &Side, candidates: &[Side]) -> Vec<String> {
    let Some(first) = base.runs.first() else { return Vec::new() };
    let sides = [base].into_iter().chain(candidates);
    let mut found = Vec::new();
    for side in sides {
        // Repeats are alike, or all of them differ in the same way: each difference is told once.
        for unlike in side.runs.iter().flat_map(|run| Unlike::between(first, run)) {
            let Unlike { field, base, candidate } = unlike;
            let told = format!("{field} is {base} in the baseline, {candidate} in {}", side.name);
            if !found.contains(&told) {
                found.push(told);
            }
        }
    }
    found
}

/// Takes the metrics out that are INVALID in a run of this side, and says so.
fn left_out(side: &mut Side) -> Option<String> {
    let reasons: Vec<String> = side.runs.iter_mut().filter_map(Run::leave_out_invalid_metrics).collect();
    Some(format!("{}: {}; left out", side.name, reasons.first()?))
}

fn invalid(side: &Side, reason: fn(&Verdict) -> Option<String>) -> Option<String> {
    let reasons: Vec<String> = side.runs.iter().filter_map(|run| reason(&run.validity)).collect();
    let first = reasons.first()?;
    Some(match side.runs.len() {
        1 => format!("{} is INVALID: {first}", side.name),
        all => format!("{}: {} of {all} runs are INVALID: {first}", side.name, reasons.len()),
    })
}
