//! Which server starts the runs of a side come from, and therefore what a difference between two sides applies to.
//!
//! Two starts of one server differ in clocks, memory layout, captured graphs and autotuning. Runs on one start share
//! all of these, so even many runs on one start do not show the spread between starts. The start is the unit of every
//! claim about a server: runs are averaged by start, and only the means of starts are independent of each other.

use serde::Serialize;

use crate::model::run::{Run, ServerStart};

/// This number of starts on one side shows how much starts differ, which is enough to judge a single start on the other
/// side.
pub(crate) const MIN_STARTS: usize = 3;

/// What a difference between two sides is about, the widest scope first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ClaimScope {
    /// The servers: the difference is compared with the variation between server starts.
    Servers,
    /// Only these server starts: no interval includes the variation between starts.
    TheseStarts,
    /// The single server start that both sides share.
    OneStart,
}

impl ClaimScope {
    /// Determines the scope from the runs of both sides.
    pub(crate) fn of(base: &[Run], candidate: &[Run]) -> Self {
        let first = base.first().and_then(Run::server_start);
        let is_first = |run: &Run| run.server_start() == first;
        if first.is_some() && base.iter().chain(candidate).all(is_first) {
            return Self::OneStart;
        }
        Self::of_counts(group_by_start(base).len(), group_by_start(candidate).len())
    }

    /// Determines the scope of sides with different starts from the number of starts of each.
    pub(crate) fn of_counts(base: usize, candidate: usize) -> Self {
        match (base.min(candidate), base.max(candidate)) {
            (2.., _) | (1, MIN_STARTS..) => Self::Servers,
            _ => Self::TheseStarts,
        }
    }
}

/// The number of starts that a side's runs come from; `None` if a run does not report its start.
pub(crate) fn known_starts(runs: &[Run]) -> Option<usize> {
    runs.iter().all(|run| run.server_start().is_some()).then(|| group_by_start(runs).len())
}

/// Indices of the runs, grouped by start. A run that does not report its start forms a separate group.
pub(crate) fn group_by_start<'a>(runs: impl IntoIterator<Item = &'a Run>) -> Vec<Vec<usize>> {
    let mut groups: Vec<(Option<ServerStart>, Vec<usize>)> = Vec::new();
    for (at, run) in runs.into_iter().enumerate() {
        let start = run.server_start();
        match groups.iter_mut().find(|(known, _)| known.is_some() && *known == start) {
            Some((_, places)) => places.push(at),
            None => groups.push((start, vec![at])),
        }
    }
    groups.into_iter().map(|(_, places)| places).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::sample_run;

    fn runs(starts: &[u64]) -> Vec<Run> {
        starts.iter().map(|&start| sample_run::on_start(sample_run::run(false), start)).collect()
    }

    #[test]
    fn runs_are_grouped_by_start_and_unknown_ones_stand_alone() {
        assert_eq!(group_by_start(&runs(&[1, 2, 1, 3, 2])), [vec![0, 2], vec![1, 4], vec![3]]);
        let unknown = [sample_run::run(false), sample_run::run(false)];
        assert_eq!((group_by_start(&unknown).len(), known_starts(&unknown)), (2, None));
        assert_eq!(known_starts(&runs(&[1, 2, 1])), Some(2));
    }

    #[test]
    fn single_starts_are_about_themselves_and_several_about_the_servers() {
        let scope = |base: &[u64], candidate: &[u64]| ClaimScope::of(&runs(base), &runs(candidate));
        assert_eq!(scope(&[1], &[2]), ClaimScope::TheseStarts);
        assert_eq!(
            scope(&[1, 1, 1, 1], &[2, 2, 2, 2]),
            ClaimScope::TheseStarts,
            "more runs are no more starts"
        );
        assert_eq!(scope(&[1, 1], &[1]), ClaimScope::OneStart);
        assert_eq!(scope(&[1, 2], &[3]), ClaimScope::TheseStarts);
        assert_eq!(scope(&[1, 2, 3], &[4]), ClaimScope::Servers);
        assert_eq!(scope(&[1, 2], &[3, 4]), ClaimScope::Servers);
        let unknown = [sample_run::run(false)];
        assert_eq!(ClaimScope::of(&unknown, &unknown), ClaimScope::TheseStarts);
    }
}
