//! What a search found.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::boundary::Boundary;
use super::evidence::{Criterion, Outcome};
use super::knee;
use super::trial::Trial;
use super::{CONTRADICTED, CONTRADICTED_FOR_GOOD, End, Over, Question, Search};
use crate::core::units::seconds;

/// Loads so near to each other are neighbours: what changes much between them changes abruptly.
const NEIGHBOURS: f64 = 1.3;

/// A figure that grows by this factor between neighbours falls off a cliff.
const CLIFF: f64 = 4.0;

/// The share of requests that must fail beyond a cliff of failures.
const MANY_FAILURES: f64 = 0.05;

/// Answers that last longer than this share of a trial's length are longer than the trial can tell of.
const LONG_ANSWERS: f64 = 0.5;

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Of what load.
    pub over: Over,
    /// What kind of server it is.
    pub finding: Finding,
    /// What is missed first above the boundary.
    pub binding: Option<Criterion>,
    /// The load to run at: the boundary less the headroom, and never more than what surely holds.
    pub suggestion: Option<f64>,
    /// The share of the boundary that the suggestion leaves free.
    pub headroom: f64,
    /// The load at the knee of the throughput-latency curve.
    pub knee: Option<f64>,
    /// Why the search ended.
    pub end: End,
    /// How long it took.
    #[serde(rename = "spent_s", with = "seconds")]
    pub spent: Duration,
    /// What the boundary looks like from a plan of the KV pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreement: Option<Agreement>,
    /// How many of its trials are not to be believed.
    pub doubtful: usize,
    /// What to know before believing it.
    pub caveats: Vec<String>,
}

/// What kind of server it is under load.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Finding {
    /// Good up to a load, and not beyond.
    Boundary(Boundary),
    /// The same, and just beyond it all is bad.
    Cliff {
        /// Where.
        #[serde(flatten)]
        boundary: Boundary,
        /// The binding figure at the highest load that holds.
        held: Limit,
        /// And at the lowest load that does not.
        missed: Limit,
    },
    /// Not good at any load.
    NeverGood {
        /// The least load that was tried.
        least: Limit,
    },
    /// Good at every load up to the highest that was to be tried.
    NeverSaturated {
        /// That load.
        highest: f64,
    },
    /// Not known: no load was found that holds, or none that does not.
    Open(Boundary),
    /// Nothing was tried.
    Nothing,
}

/// A load, and the binding figure there.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// The load.
    pub load: f64,
    /// The figure's value in its unit; `None` where nothing was answered.
    pub value: Option<f64>,
}

/// The boundary beside what fits into the KV pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreement {
    /// Tokens in the pool.
    pub pool: u64,
    /// Concurrent requests that fit at their full length, by the plan.
    pub limit: u64,
    /// Most requests in flight at the highest load that holds.
    pub in_flight: u64,
}

impl Finding {
    /// Between which loads the boundary lies: 95 % where trials tell, a bound where nothing lower or higher was to be tried.
    /// `None`: open to that side.
    pub fn interval(self) -> (Option<f64>, Option<f64>) {
        match self {
            Self::Boundary(boundary) | Self::Cliff { boundary, .. } | Self::Open(boundary) => {
                (boundary.low, boundary.high)
            }
            Self::NeverGood { least } => (None, Some(least.load)),
            Self::NeverSaturated { highest } => (Some(highest), None),
            Self::Nothing => (None, None),
        }
    }
}

impl Answer {
    pub(super) fn of(search: &Search, end: End) -> Self {
        let belief = search.belief();
        let question = search.question();
        let criterion = if search.trials().is_empty() { None } else { belief.binding() };
        let finding = find(search, end, criterion);
        let suggestion = match finding {
            Finding::Boundary(boundary) | Finding::Cliff { boundary, .. } => {
                boundary.low.map(|low| (boundary.estimate * (1.0 - question.headroom)).min(low))
            }
            _ => None,
        };
        let suggestion = suggestion
            .map(|load| if question.over == Over::Concurrency { load.floor().max(1.0) } else { load });
        Self {
            over: question.over,
            finding,
            binding: criterion.map(|criterion| question.criteria[criterion].clone()),
            suggestion,
            headroom: question.headroom,
            knee: knee::knee(search.trials()),
            end,
            spent: search.trials().iter().map(|trial| trial.spent).sum(),
            agreement: None,
            doubtful: search.trials().iter().filter(|trial| trial.doubt.is_some()).count(),
            caveats: caveats(search),
        }
    }

    /// Where the boundary is, if there is one.
    pub fn boundary(&self) -> Option<Boundary> {
        match self.finding {
            Finding::Boundary(boundary) | Finding::Cliff { boundary, .. } => Some(boundary),
            _ => None,
        }
    }

    /// The highest load that was tried and held by itself, of those below the boundary.
    pub fn highest_held(search: &Search) -> Option<&Trial> {
        let held = search.trials().iter().filter(|trial| trial.outcome() == Outcome::Met);
        held.max_by(|a, b| a.load.total_cmp(&b.load))
    }
}

fn find(search: &Search, end: End, criterion: Option<usize>) -> Finding {
    let trials = search.trials();
    let by_load = |a: &&Trial, b: &&Trial| a.load.total_cmp(&b.load);
    let (Some(least), Some(highest)) = (trials.iter().min_by(by_load), trials.iter().max_by(by_load)) else {
        return Finding::Nothing;
    };
    let boundary = search.belief().boundary();
    match (end, boundary.low, boundary.high) {
        (End::NeverGood, ..) => Finding::NeverGood { least: at(least, criterion) },
        (End::NeverSaturated, ..) => Finding::NeverSaturated { highest: highest.load },
        (_, Some(_), Some(_)) => {
            cliff(trials, boundary, criterion, search).unwrap_or(Finding::Boundary(boundary))
        }
        _ => Finding::Open(boundary),
    }
}

fn at(trial: &Trial, criterion: Option<usize>) -> Limit {
    let found = criterion.and_then(|criterion| trial.evidence.get(criterion).copied().flatten());
    Limit { load: trial.load, value: found.and_then(|found| found.value) }
}

/// Between neighbours the binding figure grows many times over, and not because work piles up: there every latency grows
/// as long as the trial lasts, however gently the server itself gives way.
fn cliff(trials: &[Trial], boundary: Boundary, criterion: Option<usize>, search: &Search) -> Option<Finding> {
    let (low, high) = (boundary.low?, boundary.high?);
    let keeps_up = |trial: &&Trial| {
        let judged = search.question().criteria.iter().zip(&trial.evidence);
        !judged.into_iter().any(|(criterion, found)| {
            *criterion == Criterion::KeepsUp && found.is_some_and(|found| found.outcome() == Outcome::Missed)
        })
    };
    let held = trials.iter().filter(|trial| trial.load <= low).max_by(|a, b| a.load.total_cmp(&b.load))?;
    let missed = trials.iter().filter(|trial| trial.load >= high).min_by(|a, b| a.load.total_cmp(&b.load))?;
    let (held_at, missed_at) = (at(held, criterion), at(missed, criterion));
    let (before, after) = held_at.value.zip(missed_at.value)?;
    let limit = search.question().criteria.get(criterion?)?.limit()?;
    let leaps = match limit < 1.0 && missed.service.failed > 0 {
        true => after - before > MANY_FAILURES,
        false => after > CLIFF * before,
    };
    // One more in flight is a neighbour, however few there are.
    let next_to = missed.load / held.load <= NEIGHBOURS || missed.load - held.load <= 1.0;
    let abrupt = next_to && leaps && keeps_up(&missed);
    abrupt.then_some(Finding::Cliff { boundary, held: held_at, missed: missed_at })
}

fn caveats(search: &Search) -> Vec<String> {
    let trials = search.trials();
    let mut caveats = Vec::new();
    let doubtful: Vec<&Trial> = trials.iter().filter(|trial| trial.doubt.is_some()).collect();
    if let Some(doubt) = doubtful.first().and_then(|trial| trial.doubt.as_ref()) {
        let (count, of, number) = (doubtful.len(), trials.len(), doubtful[0].number);
        caveats.push(format!(
            "{count} of {of} trials are not to be believed, the first of them {number}: {doubt}"
        ));
    }
    caveats.extend(odd_one_out(search));
    caveats.extend(cut_off(search));
    let longest = trials.iter().filter(|trial| trial.outcome() != Outcome::Missed);
    let longest = longest.filter_map(|trial| trial.service.in_flight_p99_ms).fold(0.0, f64::max) / 1e3;
    let length = search.question().trial.as_secs_f64();
    if longest > LONG_ANSWERS * length {
        caveats.push(format!(
            "answers take up to {longest:.1} s and trials {length:.0} s: the server may not have been as full as it gets; give a \
             longer --trial"
        ));
    }
    caveats
}

/// What one trial did that later ones did not.
fn odd_one_out(search: &Search) -> Option<String> {
    let (trial, against) = search.odd_one_out(CONTRADICTED)?;
    let (number, load, unit) = (trial.number, trial.load, search.question().over.unit());
    Some(match against >= CONTRADICTED_FOR_GOOD {
        true => format!(
            "trial {number}, of {load} {unit}, is set aside: {against} later ones say otherwise. If that was the server and no disturbance \
             from outside, the answer does not hold"
        ),
        false => format!(
            "trial {number}, of {load} {unit}, stands alone against {against} later ones, and {CONTRADICTED_FOR_GOOD} would set it aside: the \
             answer allows for it; give more --time"
        ),
    })
}

/// What the trials leave open because requests were cut off.
fn cut_off(search: &Search) -> Option<String> {
    let Question { criteria, over, .. } = search.question();
    let open: Vec<(&Trial, usize, f64)> = search
        .trials()
        .iter()
        .filter(|trial| trial.outcome() != Outcome::Missed)
        .filter_map(|trial| trial.most_censored(criteria).map(|(criterion, share)| (trial, criterion, share)))
        .collect();
    let (trial, criterion, share) = open.iter().max_by(|a, b| a.2.total_cmp(&b.2))?;
    let (count, of, load, unit) = (open.len(), search.trials().len(), trial.load, over.unit());
    let (label, percent) = (criteria[*criterion].label(), 100.0 * share);
    Some(format!(
        "in {count} of {of} trials more requests were cut off than may miss {label}, at {load} {unit} {percent:.1} % of them: such a trial \
         cannot show that it holds. Give a longer --trial and more --time, or let a shorter --timeout of run's make failures of answers \
         that never come"
    ))
}
