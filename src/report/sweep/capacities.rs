//! The searches of a sweep: the highest load of each set.

use std::io::{self, Write};

use crate::judge::search::boundary::Boundary;
use crate::judge::search::evidence::Criterion;
use crate::judge::search::{Answer, Finding};
use crate::judge::sweep::capacity::{Capacities, Capacity};
use crate::report::figures::NOT_AVAILABLE;
use crate::report::search::number;
use crate::report::text::{aligned, section};

/// The columns that `sweep.csv` has for searches.
pub const COLUMNS: [&str; 5] = ["over", "finding", "boundary", "boundary_low", "boundary_high"];

/// A line for each set: what each of its searches found; a star where it wins.
pub fn render(searched: &Capacities, to: &mut impl Write) -> io::Result<()> {
    section(&format!("Load {}", searched.load), to)?;
    let unit = searched.over.unit();
    let head = ["Set", "Searches", &format!("Boundary ({unit})"), "Missed first"].map(ToOwned::to_owned);
    let row = |set: &Capacity| {
        let wins = if searched.is_won() && set.set == searched.ahead { " *" } else { "" };
        let found: Vec<String> = set.answers.iter().map(found).collect();
        vec![set.set.clone(), set.answers.len().to_string(), found.join(", ") + wins, missed_first(set)]
    };
    let rows: Vec<_> = std::iter::once(head.to_vec()).chain(searched.sets.iter().map(row)).collect();
    aligned(&rows, to)?;
    ahead(searched, to)
}

fn ahead(searched: &Capacities, to: &mut impl Write) -> io::Result<()> {
    let ahead = &searched.ahead;
    match (searched.is_won(), searched.as_good.as_slice()) {
        (true, _) => writeln!(to, "Boundary: {ahead} wins"),
        (false, []) => Ok(()),
        (false, others) => {
            writeln!(to, "Boundary: no winner; the intervals of {ahead} and {} overlap", others.join(", "))
        }
    }
}

/// One search in a line, while a sweep runs.
pub fn line(answer: &Answer) -> String {
    let doubt = if answer.doubtful == 0 { "" } else { " (INVALID)" };
    format!("boundary ({}): {}{doubt}", answer.over.unit(), found(answer))
}

/// `12 [11.4, 12.6]`, or the bound that there is.
fn found(answer: &Answer) -> String {
    let told = |Boundary { estimate, low, high }: Boundary| {
        let end = |end: Option<f64>| end.map_or(NOT_AVAILABLE.to_owned(), number);
        format!("{} [{}, {}]", number(estimate), end(low), end(high))
    };
    match answer.finding {
        Finding::Boundary(boundary) => told(boundary),
        Finding::Cliff { boundary, .. } => format!("{} (a cliff)", told(boundary)),
        Finding::NeverGood { least } => format!("never good, not even at {}", number(least.load)),
        Finding::NeverSaturated { highest } => format!("never saturated, not even at {}", number(highest)),
        Finding::Open(Boundary { low: Some(low), .. }) => format!("not known, {} holds", number(low)),
        Finding::Open(Boundary { high: Some(high), .. }) => {
            format!("not known, {} is too much", number(high))
        }
        Finding::Open(_) | Finding::Nothing => "not known".to_owned(),
    }
}

/// Each level once.
fn missed_first(set: &Capacity) -> String {
    let bounded =
        set.answers.iter().filter(|answer| !matches!(answer.finding, Finding::NeverSaturated { .. }));
    let mut levels: Vec<String> =
        bounded.filter_map(|answer| answer.binding.as_ref()).map(Criterion::label).collect();
    levels.sort();
    levels.dedup();
    if levels.is_empty() { NOT_AVAILABLE.to_owned() } else { levels.join(", ") }
}

/// What stands in them. The ends are those that a winner is found by: empty is open.
pub fn columns(answer: Option<&Answer>) -> [String; 5] {
    let Some(answer) = answer else { return Default::default() };
    let (low, high) = answer.finding.interval();
    let text = |load: Option<f64>| load.map_or(String::new(), |load| load.to_string());
    let estimate = answer.boundary().map(|boundary| boundary.estimate);
    let kind = match answer.finding {
        Finding::Boundary(_) => "boundary",
        Finding::Cliff { .. } => "cliff",
        Finding::NeverGood { .. } => "never_good",
        Finding::NeverSaturated { .. } => "never_saturated",
        Finding::Open(_) => "open",
        Finding::Nothing => "nothing",
    };
    [answer.over.unit().to_owned(), kind.to_owned(), text(estimate), text(low), text(high)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::search::Limit;
    use crate::judge::sweep::capacity::tests::{answer, set};

    fn text(sets: &[Capacity]) -> String {
        let mut text = Vec::new();
        render(&Capacities::of("knee".into(), sets.to_vec()).unwrap(), &mut text).unwrap();
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
        let bad = answer(Finding::NeverGood { least: Limit { load: 1.0, value: None } });
        assert_eq!(line(&bad), "boundary (req/s): never good, not even at 1");
        assert_eq!(columns(Some(&bad)), ["req/s", "never_good", "", "", "1"]);
        assert_eq!(columns(None), [""; 5]);
    }
}
