//! Which starts of the server the runs of a side are from, and what a difference between two sides is therefore about.
//!
//! Two starts of one server differ: clocks, memory layout, captured graphs, autotuning. Runs on one start share all of that, so
//! their spread does not show it, however many there are. The start is the unit of every claim about a server: runs are
//! averaged by start, and only means of starts are independent of each other.

use serde::Serialize;

use crate::core::run::{Run, ServerStart};

/// So many starts on one side tell how much starts differ: enough to judge a single start on the other side.
pub const ENOUGH: usize = 3;

/// What a difference between two sides is about, the widest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The servers: the difference is held against how much starts of a server differ.
    Servers,
    /// These starts of the servers only: how much one start differs from the next is in no interval.
    TheseStarts,
    /// The one start of a server that both sides share.
    OneStart,
}

impl Scope {
    /// Of two sides by their runs.
    pub fn of(base: &[Run], candidate: &[Run]) -> Self {
        let first = base.first().and_then(Run::server_start);
        let is_first = |run: &Run| run.server_start() == first;
        if first.is_some() && base.iter().chain(candidate).all(is_first) {
            return Self::OneStart;
        }
        Self::of_counts(groups(base).len(), groups(candidate).len())
    }

    /// Of sides with different starts, by how many each has.
    pub(super) fn of_counts(base: usize, candidate: usize) -> Self {
        match (base.min(candidate), base.max(candidate)) {
            (2.., _) | (1, ENOUGH..) => Self::Servers,
            _ => Self::TheseStarts,
        }
    }
}

/// How many starts of the server a side's runs are from; `None` if a run does not tell.
pub fn known(runs: &[Run]) -> Option<usize> {
    runs.iter().all(|run| run.server_start().is_some()).then(|| groups(runs).len())
}

/// Places of the runs by the start they are from. A run that does not tell counts as a start of its own.
pub fn groups<'a>(runs: impl IntoIterator<Item = &'a Run>) -> Vec<Vec<usize>> {
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
pub(in crate::judge) mod tests {
    use super::*;
    use crate::core::run::sample;

    /// The run as if it was measured on the start of this number.
    pub(in crate::judge) fn on_start(run: Run, start: u64) -> Run {
        let mut run = run;
        run.environment.server_launched =
            Some(jiff::Timestamp::from_second(1_700_000_000 + start as i64).unwrap());
        run
    }

    fn runs(starts: &[u64]) -> Vec<Run> {
        starts.iter().map(|&start| on_start(sample::run(false), start)).collect()
    }

    #[test]
    fn runs_are_grouped_by_start_and_unknown_ones_stand_alone() {
        assert_eq!(groups(&runs(&[1, 2, 1, 3, 2])), [vec![0, 2], vec![1, 4], vec![3]]);
        let unknown = [sample::run(false), sample::run(false)];
        assert_eq!((groups(&unknown).len(), known(&unknown)), (2, None));
        assert_eq!(known(&runs(&[1, 2, 1])), Some(2));
    }

    #[test]
    fn single_starts_are_about_themselves_and_several_about_the_servers() {
        let scope = |base: &[u64], candidate: &[u64]| Scope::of(&runs(base), &runs(candidate));
        assert_eq!(scope(&[1], &[2]), Scope::TheseStarts);
        assert_eq!(scope(&[1, 1, 1, 1], &[2, 2, 2, 2]), Scope::TheseStarts, "more runs are no more starts");
        assert_eq!(scope(&[1, 1], &[1]), Scope::OneStart);
        assert_eq!(scope(&[1, 2], &[3]), Scope::TheseStarts);
        assert_eq!(scope(&[1, 2, 3], &[4]), Scope::Servers);
        assert_eq!(scope(&[1, 2], &[3, 4]), Scope::Servers);
        let unknown = [sample::run(false)];
        assert_eq!(Scope::of(&unknown, &unknown), Scope::TheseStarts);
    }
}
