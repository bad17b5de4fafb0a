//! A comparison in one sentence.

use super::cells::difference;
use crate::core::figure::Unit;
use crate::judge::compare::{Call, Candidate, Row, Scope};

/// Rows that the sentence names; the table has the others.
const NAMED: usize = 3;

/// What is better or worse of a candidate, largest first; or that no difference was found, and what that is worth.
pub fn summary(candidate: &Candidate) -> String {
    let name = &candidate.party.name;
    let on = match candidate.scope {
        Scope::Servers => "",
        Scope::OneStart => " on this start of the server",
        Scope::TheseStarts => " on these starts of the servers",
    };
    let with = |call: Call| candidate.rows.iter().filter(|row| row.call == call).collect::<Vec<_>>();
    let (worse, better, same) = (with(Call::Worse), with(Call::Better), with(Call::Same).len());
    match (worse.is_empty(), better.is_empty()) {
        (false, true) => format!("{name} is {}{on}: {}", word(&worse, "slower", "worse"), list(worse)),
        (true, false) => format!("{name} is {}{on}: {}", word(&better, "faster", "better"), list(better)),
        (false, false) => format!("{name} is{on} worse in {}; better in {}", list(worse), list(better)),
        (true, true) if same == candidate.rows.len() => {
            format!("{name} is the same as the baseline{on}, within the margin, in all {same} rows")
        }
        (true, true) => format!(
            "No difference found between {name} and the baseline{on}: {same} of {} rows are the same, for {} the samples are too small",
            candidate.rows.len(),
            candidate.rows.len() - same
        ),
    }
}

/// Only times and rates are fast or slow.
fn word(rows: &[&Row], of_speed: &'static str, otherwise: &'static str) -> &'static str {
    let is_speed = |row: &&Row| !matches!(row.figure.unit(), Unit::Share);
    if rows.iter().all(is_speed) { of_speed } else { otherwise }
}

fn list(mut rows: Vec<&Row>) -> String {
    let size = |row: &Row| row.difference.relative.map_or(f64::INFINITY, f64::abs);
    rows.sort_by(|a, b| size(b).total_cmp(&size(a)));
    let named: Vec<String> =
        rows.iter().take(NAMED).map(|row| format!("{} {}", row.figure.label(), difference(row))).collect();
    let others = rows.len().saturating_sub(NAMED);
    let more = if others > 0 { format!(", and {others} more") } else { String::new() };
    named.join(", ") + &more
}
