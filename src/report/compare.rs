//! Text and Markdown of a comparison of runs.

use std::io::{self, Write};
use std::iter;

use super::table::{self, Table};
use super::text::section;
use crate::analysis::compare::{
    CandidateComparison, ClaimScope, Comparison, DifferenceVerdict, MetricComparison, SampleUnit, SideInfo,
    SpreadMethod,
};
use crate::model::plain_text;
use crate::report::compare::row_cells::{COLUMNS, row_cells};
pub(super) use summary::summary;

mod csv;
pub(super) mod row_cells;
mod summary;
#[cfg(test)]
mod tests;

pub(crate) use self::csv::csv;
pub(super) use crate::report::compare::row_cells::{required_sample, with_unit, without_unit};

/// Writes a comparison as text.
pub(crate) fn text(comparison: &Comparison, to: &mut impl Write) -> io::Result<()> {
    comparison.candidates.iter().try_for_each(|candidate| writeln!(to, "{}", summary(candidate)))?;
    for caveat in &comparison.caveats {
        writeln!(to, "CAVEAT: {}", plain_text::one_line(caveat))?;
    }
    writeln!(to, "Baseline: {}", side_name(&comparison.base))?;
    for candidate in &comparison.candidates {
        writeln!(to, "Candidate: {}", side_name(&candidate.party))?;
    }
    for candidate in &comparison.candidates {
        section(&candidate.party.name, to)?;
        table(COLUMNS, &candidate.rows, to)?;
        writeln!(to, "{}", verdict_counts(candidate))?;
        writeln!(to, "{}", scope_text(comparison, candidate))?;
    }
    section("How to read it", to)?;
    notes(comparison).into_iter().try_for_each(|note| writeln!(to, "{note}"))
}

/// Writes the rows below the names of their columns.
pub(super) fn table(columns: [&str; 5], rows: &[MetricComparison], to: &mut impl Write) -> io::Result<()> {
    let rows = rows.iter().map(|row| row_cells(row).to_vec());
    Table::left(iter::once(table::row(columns)).chain(rows).collect()).write(to)
}

/// Writes a comparison as Markdown, for a ticket or a pull request.
pub(crate) fn markdown(comparison: &Comparison, to: &mut impl Write) -> io::Result<()> {
    comparison
        .candidates
        .iter()
        .try_for_each(|candidate| writeln!(to, "**{}**\n", plain_text::markdown(&summary(candidate))))?;
    for caveat in &comparison.caveats {
        writeln!(to, "> **Caveat:** {}\n", plain_text::markdown(caveat))?;
    }
    writeln!(to, "Baseline: {}", plain_text::markdown(&side_name(&comparison.base)))?;
    for candidate in &comparison.candidates {
        writeln!(to, "\n### {}\n", plain_text::markdown(&side_name(&candidate.party)))?;
        markdown_table(COLUMNS, &candidate.rows, to)?;
        writeln!(to, "\n{}", verdict_counts(candidate))?;
        writeln!(to, "\n{}", scope_text(comparison, candidate))?;
    }
    writeln!(to)?;
    notes(comparison).into_iter().try_for_each(|note| writeln!(to, "- {note}"))
}

/// Writes the rows as a Markdown table.
pub(super) fn markdown_table(
    columns: [&str; 5],
    rows: &[MetricComparison],
    to: &mut impl Write,
) -> io::Result<()> {
    let row = |row: &MetricComparison| {
        let mut cells = row_cells(row).map(|cell| plain_text::markdown(&cell));
        if matches!(row.call, DifferenceVerdict::Worse | DifferenceVerdict::Better) {
            cells[4] = format!("**{}**", cells[4]);
        }
        cells.to_vec()
    };
    let rows = rows.iter().map(row);
    Table::left(iter::once(table::row(columns)).chain(rows).collect()).write_markdown(to)
}

/// States which population a verdict on a predicted side applies to.
const PREDICTED_SIDE: &str = "A side is predicted, not measured: its intervals are those of the prediction, and these verdicts hold \
                              only if the model does. They do not include the variation between server starts.";

fn side_name(party: &SideInfo) -> String {
    let runs = if party.runs == 1 { String::new() } else { format!("{} runs, ", party.runs) };
    let starts = party.starts.filter(|_| party.runs > 1).map(|starts| {
        let plural = if starts == 1 { "" } else { "s" };
        format!("{starts} server start{plural}, ")
    });
    format!(
        "{} ({runs}{}{} requests)",
        plain_text::one_line(&party.name),
        starts.unwrap_or_default(),
        party.requests
    )
}

/// Counts the rows by verdict.
pub(super) fn verdict_counts(candidate: &CandidateComparison) -> String {
    let count =
        |wanted: fn(DifferenceVerdict) -> bool| candidate.rows.iter().filter(|row| wanted(row.call)).count();
    let unjudged = count(|call| call == DifferenceVerdict::NotJudged);
    let unjudged = if unjudged > 0 { format!(", {unjudged} not judged") } else { String::new() };
    format!(
        "Verdicts: {} worse, {} better, {} the same, {} cannot tell{unjudged}",
        count(|call| call == DifferenceVerdict::Worse),
        count(|call| call == DifferenceVerdict::Better),
        count(|call| call == DifferenceVerdict::Same),
        count(|call| matches!(call, DifferenceVerdict::CannotTell { .. }))
    )
}

/// States which population the verdicts apply to.
pub(super) fn scope_text(comparison: &Comparison, candidate: &CandidateComparison) -> &'static str {
    if comparison.base.predicted || candidate.party.predicted {
        return PREDICTED_SIDE;
    }
    match candidate.scope {
        ClaimScope::Servers if knows_starts(comparison) => {
            "These verdicts apply to the servers: the intervals include the variation between starts."
        }
        ClaimScope::Servers => {
            "These verdicts apply to the servers if every run used a separate server start. The runs do not record this; runs \
             that share a start vary less than starts do."
        }
        ClaimScope::OneStart => "These verdicts apply only to the one server start that both sides share.",
        ClaimScope::TheseStarts => {
            "These verdicts apply only to the measured server starts: the intervals do not include the variation between starts. \
             For verdicts about the servers, measure at least 3 starts of one side, or 2 of each."
        }
    }
}

fn knows_starts(comparison: &Comparison) -> bool {
    let mut candidates = comparison.candidates.iter().map(|candidate| &candidate.party);
    comparison.base.starts.is_some() && candidates.all(|party| party.starts.is_some())
}

/// Explains the verdicts of this comparison and the evidence they rest on.
fn notes(comparison: &Comparison) -> Vec<String> {
    [verdict_meanings(comparison), spread_methods(comparison)].concat()
}

/// Explains the verdicts.
pub(super) fn verdict_meanings(comparison: &Comparison) -> Vec<String> {
    let settings = &comparison.settings;
    let percent = |share: f64| 100.0 * share;
    let mut notes = vec![
        format!(
            "Better, worse: the interval of the difference excludes zero. It is adjusted for the {} rows of the table \
             (Holm){}.",
            comparison.family,
            false_alarm_text(comparison)
        ),
        format!(
            "The same: the {} % interval of the difference lies within {} % of the baseline (or {} ms, if that is more; for \
             shares, within {} percentage point{}). The intervals of the two sides are 95 % intervals.",
            percent(1.0 - settings.alpha),
            percent(settings.margin),
            settings.floor.as_secs_f64() * 1e3,
            percent(settings.points),
            if percent(settings.points) == 1.0 { "" } else { "s" }
        ),
    ];
    if comparison.rows().any(|row| matches!(row.call, DifferenceVerdict::CannotTell { .. })) {
        notes.push(
            "Cannot tell: neither. The sample that a row needs is per side, and assumes that the true difference equals the \
             measured one."
                .into(),
        );
    }
    if comparison.rows().any(|row| row.call == DifferenceVerdict::NotJudged) {
        notes.push(
            "Not judged: another tool states the figure without an interval, and its file lacks what one could be computed from."
                .into(),
        );
    }
    notes
}

/// States how often equal sides get the verdict "different", where that is known.
fn false_alarm_text(comparison: &Comparison) -> String {
    let scopes: Vec<ClaimScope> = comparison.candidates.iter().map(|candidate| candidate.scope).collect();
    let equal = match scopes.iter().all(|scope| *scope == ClaimScope::Servers) {
        true if knows_starts(comparison) => "servers",
        true => return String::new(),
        false => "server starts",
    };
    let percent = 100.0 * comparison.settings.alpha;
    format!(": if the {equal} are equal, at most {percent} % of such tables call any row better or worse")
}

fn spread_methods(comparison: &Comparison) -> Vec<String> {
    let by = |method: SpreadMethod| comparison.rows().any(|row| row.difference.method == Some(method));
    let single = comparison.rows().any(is_single_pair);
    let notes = [
        (
            by(SpreadMethod::Starts),
            "Differences between server starts: each start counts once, by the mean of its runs (Welch's t test, or a \
             prediction interval for a single start, unless the Mann–Whitney test contradicts it).",
        ),
        (
            by(SpreadMethod::Repeats),
            "Differences between repeats: by the variation between runs (Welch's t test, unless the Mann–Whitney test \
             contradicts it).",
        ),
        (
            single && by(SpreadMethod::Records),
            "Differences within a pair of runs: block bootstrap and order statistics over their requests.",
        ),
        (
            by(SpreadMethod::Predicted),
            "Differences with a predicted side: by the interval of the prediction, over the coefficients of its model and the \
             noise of its steps.",
        ),
        (
            by(SpreadMethod::Stated),
            "Some runs were saved without their requests, so their saved intervals and histograms are used; save runs with \
             `options.detail` for more accurate intervals.",
        ),
    ];
    notes.into_iter().filter(|(applies, _)| *applies).map(|(_, note)| note.to_owned()).collect()
}

fn is_single_pair(row: &MetricComparison) -> bool {
    row.base.runs.len() == 1 && row.candidate.runs.len() == 1
}

impl SampleUnit {
    pub(super) fn unit_word(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Runs => "runs",
            Self::Starts => "server starts",
        }
    }
}
