//! A comparison, for people and for spreadsheets.

use std::io::{self, Write};

use super::text::section;
use crate::judge::compare::{Call, Candidate, Comparison, Counted, Method, Party, Row, Scope};
use cells::{COLUMNS, cells};
pub(super) use summary::summary;

pub(super) mod cells;
mod csv;
mod summary;
#[cfg(test)]
mod tests;

pub use self::csv::csv;
pub(super) use cells::{bare, in_unit, needed};

/// Writes it as text.
pub fn text(comparison: &Comparison, to: &mut impl Write) -> io::Result<()> {
    comparison.candidates.iter().try_for_each(|candidate| writeln!(to, "{}", summary(candidate)))?;
    for caveat in &comparison.caveats {
        writeln!(to, "CAVEAT: {caveat}")?;
    }
    writeln!(to, "Baseline: {}", party(&comparison.base))?;
    for candidate in &comparison.candidates {
        writeln!(to, "Candidate: {}", party(&candidate.party))?;
    }
    for candidate in &comparison.candidates {
        section(&candidate.party.name, to)?;
        table(COLUMNS, &candidate.rows, to)?;
        writeln!(to, "{}", tally(candidate))?;
        writeln!(to, "{}", about(comparison, candidate))?;
    }
    section("How to read it", to)?;
    notes(comparison).into_iter().try_for_each(|note| writeln!(to, "{note}"))
}

/// The rows below their columns' names.
pub(super) fn table(columns: [&str; 5], rows: &[Row], to: &mut impl Write) -> io::Result<()> {
    let rows: Vec<[String; 5]> = rows.iter().map(cells).collect();
    let head = columns.map(ToOwned::to_owned);
    let width = |column: usize| {
        let all = rows.iter().chain([&head]);
        all.map(|row| row[column].chars().count()).max().unwrap_or_default()
    };
    let widths: [usize; 5] = std::array::from_fn(width);
    for row in [&head].into_iter().chain(&rows) {
        let line: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        writeln!(to, "{}", line.join("  ").trim_end())?;
    }
    Ok(())
}

/// Writes it as Markdown, for a ticket or a pull request.
pub fn markdown(comparison: &Comparison, to: &mut impl Write) -> io::Result<()> {
    comparison.candidates.iter().try_for_each(|candidate| writeln!(to, "**{}**\n", summary(candidate)))?;
    for caveat in &comparison.caveats {
        writeln!(to, "> **Caveat:** {caveat}\n")?;
    }
    writeln!(to, "Baseline: {}", party(&comparison.base))?;
    for candidate in &comparison.candidates {
        writeln!(to, "\n### {}\n", party(&candidate.party))?;
        markdown_table(COLUMNS, &candidate.rows, to)?;
        writeln!(to, "\n{}", tally(candidate))?;
        writeln!(to, "\n{}", about(comparison, candidate))?;
    }
    writeln!(to)?;
    notes(comparison).into_iter().try_for_each(|note| writeln!(to, "- {note}"))
}

/// The same in Markdown.
pub(super) fn markdown_table(columns: [&str; 5], rows: &[Row], to: &mut impl Write) -> io::Result<()> {
    writeln!(to, "| {} |", columns.join(" | "))?;
    writeln!(to, "|{}", "---|".repeat(columns.len()))?;
    for row in rows {
        let [figure, base, value, difference, verdict] = cells(row);
        let verdict = match row.call {
            Call::Worse | Call::Better => format!("**{verdict}**"),
            Call::Same | Call::CannotTell { .. } => verdict,
        };
        writeln!(to, "| {figure} | {base} | {value} | {difference} | {verdict} |")?;
    }
    Ok(())
}

fn party(party: &Party) -> String {
    let runs = if party.runs == 1 { String::new() } else { format!("{} runs, ", party.runs) };
    let starts = party.starts.filter(|_| party.runs > 1).map(|starts| {
        let plural = if starts == 1 { "" } else { "s" };
        format!("{starts} start{plural} of the server, ")
    });
    format!("{} ({runs}{}{} requests)", party.name, starts.unwrap_or_default(), party.requests)
}

/// How many rows have which verdict.
pub(super) fn tally(candidate: &Candidate) -> String {
    let count = |wanted: fn(Call) -> bool| candidate.rows.iter().filter(|row| wanted(row.call)).count();
    format!(
        "Verdicts: {} worse, {} better, {} the same, {} cannot tell",
        count(|call| call == Call::Worse),
        count(|call| call == Call::Better),
        count(|call| call == Call::Same),
        count(|call| matches!(call, Call::CannotTell { .. }))
    )
}

/// What the verdicts are about.
pub(super) fn about(comparison: &Comparison, candidate: &Candidate) -> &'static str {
    match candidate.scope {
        Scope::Servers if knows_starts(comparison) => {
            "These verdicts are about the servers: the spread from start to start is in the intervals."
        }
        Scope::Servers => {
            "These verdicts are about the servers if every run is from a start of its own, which the runs do not tell: runs that \
             share a start differ less than starts do."
        }
        Scope::OneStart => "These verdicts are about the one start of the server that both sides are from.",
        Scope::TheseStarts => {
            "These verdicts are about the starts of the servers that were measured: the next start may differ from these, by how \
             much is in no interval. For verdicts about the servers measure 3 starts of one side, or 2 of each."
        }
    }
}

fn knows_starts(comparison: &Comparison) -> bool {
    let mut candidates = comparison.candidates.iter().map(|candidate| &candidate.party);
    comparison.base.starts.is_some() && candidates.all(|party| party.starts.is_some())
}

/// What the verdicts mean here, and what they rest on.
fn notes(comparison: &Comparison) -> Vec<String> {
    [meanings(comparison), methods(comparison)].concat()
}

/// What the verdicts mean.
pub(super) fn meanings(comparison: &Comparison) -> Vec<String> {
    let settings = &comparison.settings;
    let percent = |share: f64| 100.0 * share;
    let mut notes = vec![
        format!(
            "Better, worse: the interval of the difference leaves out zero. It is adjusted for the {} rows of the table \
             (Holm){}.",
            comparison.family,
            chance(comparison)
        ),
        format!(
            "The same: the {} % interval of the difference lies within {} % of the baseline (or {} ms, if that is more; for \
             shares within {} % of the whole). The intervals of the two sides are at 95 %.",
            percent(1.0 - settings.alpha),
            percent(settings.margin),
            settings.floor.as_secs_f64() * 1e3,
            percent(settings.points)
        ),
    ];
    if comparison.rows().any(|row| matches!(row.call, Call::CannotTell { .. })) {
        notes.push(
            "Cannot tell: neither. The number of requests or runs a side would settle it if the difference is as large as it \
             looks now."
                .into(),
        );
    }
    notes
}

/// How often equal sides are called different, where that is known.
fn chance(comparison: &Comparison) -> String {
    let scopes: Vec<Scope> = comparison.candidates.iter().map(|candidate| candidate.scope).collect();
    let equal = match scopes.iter().all(|scope| *scope == Scope::Servers) {
        true if knows_starts(comparison) => "servers",
        true => return String::new(),
        false => "starts",
    };
    let percent = 100.0 * comparison.settings.alpha;
    format!(": of tables of equal {equal} at most {percent} % call any row better or worse")
}

fn methods(comparison: &Comparison) -> Vec<String> {
    let by = |method: Method| comparison.rows().any(|row| row.difference.method == Some(method));
    let single = comparison.rows().any(is_single_pair);
    let notes = [
        (
            by(Method::Starts),
            "Differences between starts of the servers: each start counts once, by the mean of its runs (Welch's t, or a \
             prediction interval for a single start, and Mann and Whitney's ranks must not object).",
        ),
        (
            by(Method::Repeats),
            "Differences between repeats: from one run to the next (Welch's t, and Mann and Whitney's ranks must not object).",
        ),
        (
            single && by(Method::Records),
            "Differences within a pair of runs: block bootstrap and order statistics over their requests.",
        ),
        (
            by(Method::Stated),
            "Some runs were saved without their requests: their stated intervals and histograms are used; --save-detailed \
             tells more.",
        ),
    ];
    notes.into_iter().filter(|(applies, _)| *applies).map(|(_, note)| note.to_owned()).collect()
}

fn is_single_pair(row: &Row) -> bool {
    row.base.runs.len() == 1 && row.candidate.runs.len() == 1
}

impl Counted {
    /// The word for so many.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Runs => "runs",
            Self::Starts => "starts of the server",
        }
    }
}
