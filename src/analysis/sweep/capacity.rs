//! The results of searches: the highest good load of each set, and whether one set's load certainly exceeds all
//! others'.

use serde::Serialize;

use crate::analysis::search::{LoadAxis, SearchAnswer};

/// The searches of a set.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct SetCapacity {
    /// The set's name.
    pub set: String,
    /// The result of each search, in the order of the repeats.
    pub answers: Vec<SearchAnswer>,
}

/// The searches of all sets under one load.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct LoadCapacities {
    /// The load's name.
    pub load: String,
    /// The unit of the load.
    pub over: LoadAxis,
    /// The sets, in their order.
    pub sets: Vec<SetCapacity>,
    /// The set with the highest certain load, each set taken by its worst search.
    pub ahead: String,
    /// The other sets that may reach the same load: one of their intervals overlaps one of the leader's.
    pub as_good: Vec<String>,
}

impl SetCapacity {
    /// The range from the lowest end of all intervals to the highest; `None` means open to that side.
    fn interval_hull(&self) -> (Option<f64>, Option<f64>) {
        let intervals = self.answers.iter().map(|answer| answer.finding.interval());
        let widest = |a: (Option<f64>, Option<f64>), b: (Option<f64>, Option<f64>)| {
            (a.0.zip(b.0).map(|(a, b)| a.min(b)), a.1.zip(b.1).map(|(a, b)| a.max(b)))
        };
        intervals.reduce(widest).unwrap_or((None, None))
    }

    fn certain_load(&self) -> f64 {
        self.interval_hull().0.unwrap_or(0.0)
    }

    fn max_load(&self) -> f64 {
        self.interval_hull().1.unwrap_or(f64::INFINITY)
    }
}

impl LoadCapacities {
    /// Ranks the sets under a load; `None` if no search has ended.
    pub(crate) fn rank(load: String, sets: Vec<SetCapacity>) -> Option<Self> {
        let sets: Vec<SetCapacity> = sets.into_iter().filter(|set| !set.answers.is_empty()).collect();
        let over = sets.first()?.answers.first()?.over;
        // The first of equal sets leads.
        let ahead = sets.iter().rev().max_by(|a, b| a.certain_load().total_cmp(&b.certain_load()))?;
        let rivals = sets.iter().filter(|set| set.set != ahead.set);
        let as_good = rivals.filter(|set| set.max_load() >= ahead.certain_load()).map(|set| set.set.clone());
        Some(Self { load, over, ahead: ahead.set.clone(), as_good: as_good.collect(), sets })
    }

    /// Whether the leading set wins: there are other sets, and none of their intervals overlaps one of the leader's.
    /// Non-overlapping 95 % intervals are further apart than a test at 5 % requires. With several repeats, no pair of
    /// intervals may overlap.
    pub(crate) fn is_clear_winner(&self) -> bool {
        self.sets.len() > 1 && self.as_good.is_empty()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::analysis::search::boundary::Boundary;
    use crate::analysis::search::{LoadLimit, SearchEnd, SearchFinding};

    /// A search that ended with this finding.
    pub(crate) fn answer(finding: SearchFinding) -> SearchAnswer {
        SearchAnswer {
            over: LoadAxis::Rate,
            finding,
            binding: None,
            suggestion: None,
            headroom: 0.3,
            knee: None,
            end: SearchEnd::Precise,
            spent: Duration::from_secs(60),
            agreement: None,
            doubtful: 0,
            caveats: Vec::new(),
        }
    }

    /// A set whose searches found these boundaries.
    pub(crate) fn set(name: &str, boundaries: &[(f64, f64)]) -> SetCapacity {
        let found = |&(low, high): &(f64, f64)| {
            let estimate = f64::midpoint(low, high);
            answer(SearchFinding::Boundary(Boundary { estimate, low: Some(low), high: Some(high) }))
        };
        SetCapacity { set: name.into(), answers: boundaries.iter().map(found).collect() }
    }

    fn of(sets: &[SetCapacity]) -> LoadCapacities {
        LoadCapacities::rank("load".into(), sets.to_vec()).unwrap()
    }

    #[test]
    fn a_set_wins_where_no_interval_of_another_reaches_one_of_its_own() {
        let small = set("small", &[(9.0, 11.0), (9.5, 12.0)]);
        let won = of(&[small.clone(), set("big", &[(18.0, 20.0), (12.5, 15.0)])]);
        assert!(won.is_clear_winner() && won.ahead == "big", "{won:?}");
        let open = of(&[small, set("big", &[(18.0, 20.0), (11.5, 13.0)])]);
        assert!(!open.is_clear_winner() && open.as_good == ["small"], "one repeat of two overlaps: {open:?}");
    }

    #[test]
    fn bounds_are_intervals_that_are_open_to_one_side() {
        let one = |set: &str, finding| SetCapacity { set: set.into(), answers: vec![answer(finding)] };
        let never_good = one("bad", SearchFinding::NeverGood { least: LoadLimit { load: 1.0, value: None } });
        let never_full = one("good", SearchFinding::NeverSaturated { highest: 64.0 });
        assert!(of(&[never_good.clone(), set("small", &[(9.0, 11.0)])]).is_clear_winner());
        assert!(of(&[set("small", &[(9.0, 11.0)]), never_full.clone()]).is_clear_winner());
        let equal = of(&[never_full, one("too", SearchFinding::NeverSaturated { highest: 64.0 })]);
        assert!(!equal.is_clear_winner() && equal.as_good == ["too"], "{equal:?}");
        let unknown = of(&[set("small", &[(9.0, 11.0)]), one("none", SearchFinding::Nothing)]);
        assert!(!unknown.is_clear_winner(), "{unknown:?}");
    }

    #[test]
    fn a_set_alone_wins_nothing_and_sets_without_a_search_are_left_out() {
        let alone = of(&[set("only", &[(9.0, 11.0)]), set("broken", &[])]);
        assert!(!alone.is_clear_winner() && alone.sets.len() == 1);
        assert_eq!(LoadCapacities::rank("load".into(), vec![set("broken", &[])]), None);
    }

    #[test]
    fn an_answer_is_read_back_as_it_was_written() {
        let limit = LoadLimit { load: 4.0, value: Some(0.5) };
        let boundary = Boundary { estimate: 4.5, low: Some(4.0), high: None };
        for finding in [
            SearchFinding::Boundary(boundary),
            SearchFinding::Cliff { boundary, held: limit, missed: limit },
            SearchFinding::NeverGood { least: LoadLimit { load: 1.0, value: None } },
            SearchFinding::NeverSaturated { highest: 64.0 },
            SearchFinding::Open(boundary),
            SearchFinding::Nothing,
        ] {
            let rule: crate::model::rule::MetricRule = "ttft.p95 < 500ms".parse().unwrap();
            let binding = Some(crate::analysis::search::evidence::Criterion::from_rule(rule).unwrap());
            let written = SearchAnswer { binding, ..answer(finding) };
            let json = serde_json::to_string(&written).unwrap();
            assert_eq!(serde_json::from_str::<SearchAnswer>(&json).unwrap(), written, "{json}");
        }
    }
}
