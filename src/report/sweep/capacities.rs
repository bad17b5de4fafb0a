//! The searches of a sweep: the highest load that each set sustains.

use std::io::{self, Write};

use crate::analysis::search::boundary::Boundary;
use crate::analysis::search::evidence::Criterion;
use crate::analysis::search::{SearchAnswer, SearchFinding};
use crate::analysis::sweep::capacity::{LoadCapacities, SetCapacity};
use crate::report::format::NOT_AVAILABLE;
use crate::report::search::number;
use crate::report::table::Table;
use crate::report::text::section;

/// The columns of `sweep.csv` for searches.
pub(super) const COLUMNS: [&str; 5] = ["over", "finding", "boundary", "boundary_low", "boundary_high"];

/// Writes a line for each set: the result of each of its searches. A star marks a winner.
pub(super) fn render(searched: &LoadCapacities, to: &mut impl Write) -> io::Result<()> {
    section(&format!("Load {}", searched.load), to)?;
    let unit = searched.over.unit();
    let head = ["Set", "Searches", &format!("Boundary ({unit})"), "First violated"].map(ToOwned::to_owned);
    let row = |set: &SetCapacity| {
        let wins = if searched.is_clear_winner() && set.set == searched.ahead { " *" } else { "" };
        let found: Vec<String> = set.answers.iter().map(boundary_text).collect();
        vec![set.set.clone(), set.answers.len().to_string(), found.join(", ") + wins, missed_first(set)]
    };
    let rows: Vec<_> = std::iter::once(head.to_vec()).chain(searched.sets.iter().map(row)).collect();
    Table::left(rows).write(to)?;
    ahead(searched, to)
}

/// Writes which set sustains most, if the intervals show it.
pub(in crate::report) fn ahead(searched: &LoadCapacities, to: &mut impl Write) -> io::Result<()> {
    let ahead = &searched.ahead;
    match (searched.is_clear_winner(), searched.as_good.as_slice()) {
        (true, _) => writeln!(to, "Boundary: {ahead} wins"),
        (false, []) => Ok(()),
        (false, others) => {
            writeln!(to, "Boundary: no winner; the intervals of {ahead} and {} overlap", others.join(", "))
        }
    }
}

/// Formats the result of one search in a line, while a sweep runs.
pub(super) fn search_line(answer: &SearchAnswer) -> String {
    let doubt = if answer.doubtful == 0 { "" } else { " (INVALID)" };
    format!("boundary ({}): {}{doubt}", answer.over.unit(), boundary_text(answer))
}

/// Formats `12 [11.4, 12.6]`, or only the known bound.
pub(in crate::report) fn boundary_text(answer: &SearchAnswer) -> String {
    let interval_text = |Boundary { estimate, low, high }: Boundary| {
        let end = |end: Option<f64>| end.map_or(NOT_AVAILABLE.to_owned(), number);
        format!("{} [{}, {}]", number(estimate), end(low), end(high))
    };
    match answer.finding {
        SearchFinding::Boundary(boundary) => interval_text(boundary),
        SearchFinding::Cliff { boundary, .. } => format!("{} (a cliff)", interval_text(boundary)),
        SearchFinding::NeverGood { least } => format!("never met, violated even at {}", number(least.load)),
        SearchFinding::NeverSaturated { highest } => {
            format!("never saturated, met even at {}", number(highest))
        }
        SearchFinding::Open(Boundary { low: Some(low), .. }) => format!("not known, met at {}", number(low)),
        SearchFinding::Open(Boundary { high: Some(high), .. }) => {
            format!("not known, violated at {}", number(high))
        }
        SearchFinding::Open(_) | SearchFinding::Nothing => "not known".to_owned(),
    }
}

/// The criteria that bound the set's searches, each once.
pub(in crate::report) fn missed_first(set: &SetCapacity) -> String {
    let bounded =
        set.answers.iter().filter(|answer| !matches!(answer.finding, SearchFinding::NeverSaturated { .. }));
    let mut levels: Vec<String> =
        bounded.filter_map(|answer| answer.binding.as_ref()).map(Criterion::label).collect();
    levels.sort();
    levels.dedup();
    if levels.is_empty() { NOT_AVAILABLE.to_owned() } else { levels.join(", ") }
}

/// The values of [`COLUMNS`]. The ends are those that decide the winner; an empty field is an open end.
pub(super) fn search_columns(answer: Option<&SearchAnswer>) -> [String; 5] {
    let Some(answer) = answer else { return Default::default() };
    let (low, high) = answer.finding.interval();
    let text = |load: Option<f64>| load.map_or(String::new(), |load| load.to_string());
    let estimate = answer.boundary().map(|boundary| boundary.estimate);
    let kind = match answer.finding {
        SearchFinding::Boundary(_) => "boundary",
        SearchFinding::Cliff { .. } => "cliff",
        SearchFinding::NeverGood { .. } => "never_good",
        SearchFinding::NeverSaturated { .. } => "never_saturated",
        SearchFinding::Open(_) => "open",
        SearchFinding::Nothing => "nothing",
    };
    [answer.over.unit().to_owned(), kind.to_owned(), text(estimate), text(low), text(high)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::search::LoadLimit;
    use crate::analysis::sweep::capacity::tests::{answer, set};

    fn text(sets: &[SetCapacity]) -> String {
        let mut text = Vec::new();
        render(&LoadCapacities::rank("knee".into(), sets.to_vec()).unwrap(), &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn the_table_has_every_interval_and_a_star_only_where_none_overlap() {
        let small = set("small", &[(9.0, 11.0), (9.5, 12.0)]);
        let won = text(&[small.clone(), set("big", &[(18.0, 20.0), (17.0, 21.0)])]);
        assert!(won.contains("10 [9, 11], 10.8 [9.5, 12]  "), "{won}");
        assert!(won.contains("19 [18, 20], 19 [17, 21] *"), "{won}");
        assert!(won.contains("Boundary: big wins\n"), "{won}");
        let open = text(&[small, set("big", &[(11.0, 20.0)])]);
        assert!(!open.contains('*'), "{open}");
        assert!(open.contains("Boundary: no winner; the intervals of big and small overlap\n"), "{open}");
    }

    #[test]
    fn what_has_no_boundary_is_told_as_a_bound_and_never_as_a_number() {
        let bad = answer(SearchFinding::NeverGood { least: LoadLimit { load: 1.0, value: None } });
        assert_eq!(search_line(&bad), "boundary (req/s): never met, violated even at 1");
        assert_eq!(search_columns(Some(&bad)), ["req/s", "never_good", "", "", "1"]);
        assert_eq!(search_columns(None), [""; 5]);
    }
}
