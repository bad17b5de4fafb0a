//! What searches found: the highest load that each set bears, and whether one of them bears more than all others.

use serde::Serialize;

use crate::judge::search::{Answer, Over};

/// The searches of a set.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Capacity {
    /// The set's name.
    pub set: String,
    /// What each of them found, in the order of the repeats.
    pub answers: Vec<Answer>,
}

/// The searches of all sets under one load.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Capacities {
    /// The load's name.
    pub load: String,
    /// What was searched for.
    pub over: Over,
    /// The sets that were searched, in their order.
    pub sets: Vec<Capacity>,
    /// The set that surely bears the most by its worst search.
    pub ahead: String,
    /// The others of which it may bear no more: an interval of theirs reaches one of its own.
    pub as_good: Vec<String>,
}

impl Capacity {
    /// From the lowest end of all its intervals to their highest; `None`: open to that side.
    fn hull(&self) -> (Option<f64>, Option<f64>) {
        let intervals = self.answers.iter().map(|answer| answer.finding.interval());
        let widest = |a: (Option<f64>, Option<f64>), b: (Option<f64>, Option<f64>)| {
            (a.0.zip(b.0).map(|(a, b)| a.min(b)), a.1.zip(b.1).map(|(a, b)| a.max(b)))
        };
        intervals.reduce(widest).unwrap_or((None, None))
    }

    fn surely(&self) -> f64 {
        self.hull().0.unwrap_or(0.0)
    }

    fn at_most(&self) -> f64 {
        self.hull().1.unwrap_or(f64::INFINITY)
    }
}

impl Capacities {
    /// Of the sets under a load. `None` if no search of any has ended.
    pub fn of(load: String, sets: Vec<Capacity>) -> Option<Self> {
        let sets: Vec<Capacity> = sets.into_iter().filter(|set| !set.answers.is_empty()).collect();
        let over = sets.first()?.answers.first()?.over;
        // Of equals the first.
        let ahead = sets.iter().rev().max_by(|a, b| a.surely().total_cmp(&b.surely()))?;
        let rivals = sets.iter().filter(|set| set.set != ahead.set);
        let as_good = rivals.filter(|set| set.at_most() >= ahead.surely()).map(|set| set.set.clone());
        Some(Self { load, over, ahead: ahead.set.clone(), as_good: as_good.collect(), sets })
    }

    /// Whether the set that is ahead wins: there are others, and no interval of theirs reaches one of its own. Intervals of
    /// 95 % that do not overlap are further apart than a test at 5 % asks for; several repeats must all be so.
    pub fn is_won(&self) -> bool {
        self.sets.len() > 1 && self.as_good.is_empty()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::judge::search::boundary::Boundary;
    use crate::judge::search::{End, Finding, Limit};

    /// A search that ended like this.
    pub(crate) fn answer(finding: Finding) -> Answer {
        Answer {
            over: Over::Rate,
            finding,
            binding: None,
            suggestion: None,
            headroom: 0.3,
            knee: None,
            end: End::Precise,
            spent: Duration::from_secs(60),
            agreement: None,
            doubtful: 0,
            caveats: Vec::new(),
        }
    }

    /// A set of whose searches each has this boundary.
    pub(crate) fn set(name: &str, boundaries: &[(f64, f64)]) -> Capacity {
        let found = |&(low, high): &(f64, f64)| {
            let estimate = f64::midpoint(low, high);
            answer(Finding::Boundary(Boundary { estimate, low: Some(low), high: Some(high) }))
        };
        Capacity { set: name.into(), answers: boundaries.iter().map(found).collect() }
    }

    fn of(sets: &[Capacity]) -> Capacities {
        Capacities::of("load".into(), sets.to_vec()).unwrap()
    }

    #[test]
    fn a_set_wins_where_no_interval_of_another_reaches_one_of_its_own() {
        let small = set("small", &[(9.0, 11.0), (9.5, 12.0)]);
        let won = of(&[small.clone(), set("big", &[(18.0, 20.0), (12.5, 15.0)])]);
        assert!(won.is_won() && won.ahead == "big", "{won:?}");
        let open = of(&[small, set("big", &[(18.0, 20.0), (11.5, 13.0)])]);
        assert!(!open.is_won() && open.as_good == ["small"], "one repeat of two overlaps: {open:?}");
    }

    #[test]
    fn bounds_are_intervals_that_are_open_to_one_side() {
        let one = |set: &str, finding| Capacity { set: set.into(), answers: vec![answer(finding)] };
        let never_good = one("bad", Finding::NeverGood { least: Limit { load: 1.0, value: None } });
        let never_full = one("good", Finding::NeverSaturated { highest: 64.0 });
        assert!(of(&[never_good.clone(), set("small", &[(9.0, 11.0)])]).is_won());
        assert!(of(&[set("small", &[(9.0, 11.0)]), never_full.clone()]).is_won());
        let equal = of(&[never_full, one("too", Finding::NeverSaturated { highest: 64.0 })]);
        assert!(!equal.is_won() && equal.as_good == ["too"], "{equal:?}");
        let unknown = of(&[set("small", &[(9.0, 11.0)]), one("none", Finding::Nothing)]);
        assert!(!unknown.is_won(), "{unknown:?}");
    }

    #[test]
    fn a_set_alone_wins_nothing_and_sets_without_a_search_are_left_out() {
        let alone = of(&[set("only", &[(9.0, 11.0)]), set("broken", &[])]);
        assert!(!alone.is_won() && alone.sets.len() == 1);
        assert_eq!(Capacities::of("load".into(), vec![set("broken", &[])]), None);
    }

    #[test]
    fn an_answer_is_read_back_as_it_was_written() {
        let limit = Limit { load: 4.0, value: Some(0.5) };
        let boundary = Boundary { estimate: 4.5, low: Some(4.0), high: None };
        for finding in [
            Finding::Boundary(boundary),
            Finding::Cliff { boundary, held: limit, missed: limit },
            Finding::NeverGood { least: Limit { load: 1.0, value: None } },
            Finding::NeverSaturated { highest: 64.0 },
            Finding::Open(boundary),
            Finding::Nothing,
        ] {
            let rule: crate::core::rule::Rule = "ttft.p95 < 500ms".parse().unwrap();
            let binding = Some(crate::judge::search::evidence::Criterion::of(rule).unwrap());
            let written = Answer { binding, ..answer(finding) };
            let json = serde_json::to_string(&written).unwrap();
            assert_eq!(serde_json::from_str::<Answer>(&json).unwrap(), written, "{json}");
        }
    }
}
