//! A one-sentence summary of a comparison.

use crate::analysis::compare::{CandidateComparison, ClaimScope, DifferenceVerdict, MetricComparison};
use crate::model::metric_id::MetricUnit;
use crate::model::plain_text::one_line;
use crate::report::compare::row_cells::difference_text;

/// Rows that the sentence names. The table has all of them.
const MAX_NAMED_ROWS: usize = 3;

/// Names what is better or worse in a candidate, largest change first. Without a difference, says so and how strong
/// that evidence is.
pub(crate) fn summary(candidate: &CandidateComparison) -> String {
    let name = one_line(&candidate.party.name);
    let scope = match candidate.scope {
        _ if candidate.party.predicted => " (a prediction)",
        ClaimScope::Servers => "",
        ClaimScope::OneStart => " (for this server start only)",
        ClaimScope::TheseStarts => " (for these server starts only)",
    };
    let with =
        |call: DifferenceVerdict| candidate.rows.iter().filter(|row| row.call == call).collect::<Vec<_>>();
    let (worse, better, same) = (
        with(DifferenceVerdict::Worse),
        with(DifferenceVerdict::Better),
        with(DifferenceVerdict::Same).len(),
    );
    let unjudged = with(DifferenceVerdict::NotJudged).len();
    let found = match (worse.is_empty(), better.is_empty()) {
        (true, true) if unjudged == candidate.rows.len() => {
            return format!(
                "{name} and the baseline are not judged: the files state their figures without intervals"
            );
        }
        (false, true) => format!("{name} is {}: {}", speed_word(&worse, "slower", "worse"), list(worse)),
        (true, false) => format!("{name} is {}: {}", speed_word(&better, "faster", "better"), list(better)),
        (false, false) => format!("{name} is worse in {}; better in {}", list(worse), list(better)),
        (true, true) if same == candidate.rows.len() => {
            format!("{name} is the same as the baseline, within the margin, in all {same} rows")
        }
        (true, true) => {
            let left_out = if unjudged > 0 { format!(", {unjudged} are not judged") } else { String::new() };
            format!(
                "No difference found between {name} and the baseline: {same} of {} rows are the same, for {} the samples are too small{left_out}",
                candidate.rows.len(),
                candidate.rows.len() - same - unjudged
            )
        }
    };
    found + scope
}

/// Picks the word: "fast" and "slow" fit times and rates only.
fn speed_word(rows: &[&MetricComparison], of_speed: &'static str, otherwise: &'static str) -> &'static str {
    let is_speed = |row: &&MetricComparison| !matches!(row.figure.unit(), MetricUnit::Share);
    if rows.iter().all(is_speed) { of_speed } else { otherwise }
}

fn list(mut rows: Vec<&MetricComparison>) -> String {
    let size = |row: &MetricComparison| row.difference.relative.map_or(f64::INFINITY, f64::abs);
    rows.sort_by(|a, b| size(b).total_cmp(&size(a)));
    let named: Vec<String> = rows
        .iter()
        .take(MAX_NAMED_ROWS)
        .map(|row| format!("{} {}", row.figure.label(), difference_text(row)))
        .collect();
    let others = rows.len().saturating_sub(MAX_NAMED_ROWS);
    let more = if others > 0 { format!(", and {others} more") } else { String::new() };
    named.join(", ") + &more
}
