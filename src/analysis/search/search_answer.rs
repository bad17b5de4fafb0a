//! The result of a search.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::boundary::Boundary;
use super::evidence::{Criterion, CriterionOutcome};
use super::knee;
use super::trial::Trial;
use super::{LoadAxis, MIN_CONTRADICTIONS, MIN_CONTRADICTIONS_TO_DROP, Search, SearchConfig, SearchEnd};
use crate::seconds;

/// Loads whose ratio is at most this are neighbors: a large change between neighbors is abrupt.
const NEIGHBOR_RATIO: f64 = 1.3;

/// A metric that grows by this factor between neighboring loads is a cliff.
const CLIFF_FACTOR: f64 = 4.0;

/// The share of requests that must fail beyond a cliff of failures.
const CLIFF_FAILURE_SHARE: f64 = 0.05;

/// Answers that last longer than this share of a trial are too long for the trial to measure.
const LONG_ANSWER_SHARE: f64 = 0.5;

/// The result of a search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[must_use = "it contains the load that the server sustains"]
pub struct SearchAnswer {
    /// The unit of the load.
    pub over: LoadAxis,
    /// How the server behaves under load.
    pub finding: SearchFinding,
    /// The criterion that is violated first above the boundary.
    pub(crate) binding: Option<Criterion>,
    /// The load to run at: the boundary minus the headroom, and at most the load that is certainly good.
    pub suggestion: Option<f64>,
    /// The share of the boundary that the suggested load leaves free.
    pub headroom: f64,
    /// The load at the knee of the throughput-latency curve.
    pub knee: Option<f64>,
    /// Why the search ended.
    pub(crate) end: SearchEnd,
    /// How long the search took.
    #[serde(rename = "spent_s", with = "seconds")]
    pub spent: Duration,
    /// The comparison with a plan of the KV pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) agreement: Option<KvPoolCheck>,
    /// The number of doubtful trials.
    pub doubtful: usize,
    /// Reasons to doubt the result.
    pub caveats: Vec<String>,
}

/// How a server behaves under load.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum SearchFinding {
    /// The server is good up to a load, and not beyond.
    Boundary(Boundary),
    /// The server is good up to a load, and fails abruptly just beyond.
    Cliff {
        /// The location of the boundary.
        #[serde(flatten)]
        boundary: Boundary,
        /// The limiting metric at the highest good load.
        held: LoadLimit,
        /// The limiting metric at the lowest load that is too high.
        missed: LoadLimit,
    },
    /// No load is good.
    NeverGood {
        /// The lowest load tried.
        least: LoadLimit,
    },
    /// Every load up to the configured maximum is good.
    NeverSaturated {
        /// The configured maximum.
        highest: f64,
    },
    /// Unknown: the search found no good load, or no load that is too high.
    Open(Boundary),
    /// No trial was made.
    Nothing,
}

/// A load, with the value of the limiting metric there.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LoadLimit {
    /// The load.
    pub load: f64,
    /// The metric's value in its unit; `None` where no request was answered.
    pub value: Option<f64>,
}

/// The boundary, compared with the capacity of the KV pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KvPoolCheck {
    /// The tokens in the pool.
    pub pool: u64,
    /// The number of concurrent requests that fit at their full length, according to the plan.
    pub limit: u64,
    /// The peak number of requests in flight at the highest good load.
    pub in_flight: u64,
}

impl SearchFinding {
    /// Returns the range of the boundary: a 95 % interval where trials bound it, or the limit of the tried loads.
    /// `None` means open to that side.
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

impl SearchAnswer {
    pub(super) fn from_search(search: &Search, end: SearchEnd) -> Self {
        let belief = search.boundary_draws();
        let question = search.config();
        let criterion = if search.trials().is_empty() { None } else { belief.binding() };
        let finding = find_boundary(search, end, criterion);
        let suggestion = match finding {
            SearchFinding::Boundary(boundary) | SearchFinding::Cliff { boundary, .. } => {
                boundary.low.map(|low| (boundary.estimate * (1.0 - question.headroom)).min(low))
            }
            _ => None,
        };
        let suggestion = suggestion
            .map(|load| if question.over == LoadAxis::Concurrency { load.floor().max(1.0) } else { load });
        Self {
            over: question.over,
            finding,
            binding: criterion.map(|criterion| question.criteria[criterion].clone()),
            suggestion,
            headroom: question.headroom,
            knee: knee::find_knee(search.trials()),
            end,
            spent: search.trials().iter().map(|trial| trial.spent).sum(),
            agreement: None,
            doubtful: search.trials().iter().filter(|trial| trial.doubt.is_some()).count(),
            caveats: caveats(search),
        }
    }

    /// Returns the boundary, if there is one.
    pub fn boundary(&self) -> Option<Boundary> {
        match self.finding {
            SearchFinding::Boundary(boundary) | SearchFinding::Cliff { boundary, .. } => Some(boundary),
            _ => None,
        }
    }
}

fn find_boundary(search: &Search, end: SearchEnd, criterion: Option<usize>) -> SearchFinding {
    let trials = search.trials();
    let by_load = |a: &&Trial, b: &&Trial| a.load.total_cmp(&b.load);
    let (Some(least), Some(highest)) = (trials.iter().min_by(by_load), trials.iter().max_by(by_load)) else {
        return SearchFinding::Nothing;
    };
    let boundary = search.boundary_draws().boundary();
    match (end, boundary.low, boundary.high) {
        (SearchEnd::NeverGood, ..) => {
            let at_least = trials.iter().filter(|trial| trial.load == least.load);
            let longest = at_least.max_by_key(|trial| trial.service.requests).unwrap_or(least);
            SearchFinding::NeverGood { least: limit_at(longest, criterion) }
        }
        (SearchEnd::NeverSaturated, ..) => SearchFinding::NeverSaturated { highest: highest.load },
        (_, Some(_), Some(_)) => {
            find_cliff(trials, boundary, criterion, search).unwrap_or(SearchFinding::Boundary(boundary))
        }
        _ => SearchFinding::Open(boundary),
    }
}

fn limit_at(trial: &Trial, criterion: Option<usize>) -> LoadLimit {
    let found = criterion.and_then(|criterion| trial.evidence.get(criterion).copied().flatten());
    LoadLimit { load: trial.load, value: found.and_then(|found| found.value) }
}

/// Finds a cliff: between neighboring loads the limiting metric grows by a large factor, and not because requests pile
/// up. While requests pile up, every latency grows for as long as the trial lasts, even if the server degrades
/// gradually.
fn find_cliff(
    trials: &[Trial],
    boundary: Boundary,
    criterion: Option<usize>,
    search: &Search,
) -> Option<SearchFinding> {
    let (low, high) = (boundary.low?, boundary.high?);
    let keeps_up = |trial: &&Trial| {
        let judged = search.config().criteria.iter().zip(&trial.evidence);
        !judged.into_iter().any(|(criterion, found)| {
            *criterion == Criterion::KeepsUp
                && found.is_some_and(|found| found.outcome() == CriterionOutcome::Missed)
        })
    };
    let held = trials.iter().filter(|trial| trial.load <= low).max_by(|a, b| a.load.total_cmp(&b.load))?;
    let missed = trials.iter().filter(|trial| trial.load >= high).min_by(|a, b| a.load.total_cmp(&b.load))?;
    let (held_at, missed_at) = (limit_at(held, criterion), limit_at(missed, criterion));
    let (before, after) = held_at.value.zip(missed_at.value)?;
    let limit = search.config().criteria.get(criterion?)?.limit()?;
    let leaps = match limit < 1.0 && missed.service.failed > 0 {
        true => after - before > CLIFF_FAILURE_SHARE,
        false => after > CLIFF_FACTOR * before,
    };
    // A load of one more request in flight is a neighbor, however low the load.
    let next_to = missed.load / held.load <= NEIGHBOR_RATIO || missed.load - held.load <= 1.0;
    let abrupt = next_to && leaps && keeps_up(&missed);
    abrupt.then_some(SearchFinding::Cliff { boundary, held: held_at, missed: missed_at })
}

fn caveats(search: &Search) -> Vec<String> {
    let trials = search.trials();
    let mut caveats = Vec::new();
    let doubtful: Vec<&Trial> = trials.iter().filter(|trial| trial.doubt.is_some()).collect();
    if let Some(doubt) = doubtful.first().and_then(|trial| trial.doubt.as_ref()) {
        let (count, of, number) = (doubtful.len(), trials.len(), doubtful[0].number);
        caveats.push(format!("{count} of {of} trials are unreliable, first trial {number}: {doubt}"));
    }
    caveats.extend(outlier_caveat(search));
    caveats.extend(cut_off_caveat(search));
    let longest = trials.iter().filter(|trial| trial.outcome() != CriterionOutcome::Missed);
    let longest = longest.filter_map(|trial| trial.service.in_flight_p99_ms).fold(0.0, f64::max) / 1e3;
    let length = search.config().trial.as_secs_f64();
    if longest > LONG_ANSWER_SHARE * length {
        caveats.push(format!(
            "answers take up to {longest:.1} s and trials {length:.0} s, so the server may not have reached its full load within \
             a trial; increase `search.trial`"
        ));
    }
    caveats
}

/// Describes a trial that later trials contradict.
fn outlier_caveat(search: &Search) -> Option<String> {
    let (trial, against) = search.find_outlier(MIN_CONTRADICTIONS)?;
    let (number, load, unit) = (trial.number, trial.load, search.config().over.unit());
    Some(match against >= MIN_CONTRADICTIONS_TO_DROP {
        true => format!(
            "trial {number} at {load} {unit} is discarded, because {against} later trials contradict it; if the server caused its \
             result, and not an outside disturbance, the result of the search is wrong"
        ),
        false => format!(
            "trial {number} at {load} {unit} contradicts {against} later trials ({MIN_CONTRADICTIONS_TO_DROP} would discard it): the \
             interval includes both possibilities; increase `search.time`"
        ),
    })
}

/// Describes what the trials leave open because requests were cut off.
fn cut_off_caveat(search: &Search) -> Option<String> {
    let SearchConfig { criteria, over, .. } = search.config();
    let open: Vec<(&Trial, usize, f64)> = search
        .trials()
        .iter()
        .filter(|trial| trial.outcome() != CriterionOutcome::Missed)
        .filter_map(|trial| trial.most_censored(criteria).map(|(criterion, share)| (trial, criterion, share)))
        .collect();
    let (trial, criterion, share) = open.iter().max_by(|a, b| a.2.total_cmp(&b.2))?;
    let (count, of, load, unit) = (open.len(), search.trials().len(), trial.load, over.unit());
    let (label, percent) = (criteria[*criterion].label(), 100.0 * share);
    Some(format!(
        "{count} of {of} trials cannot show that {label} is met: too many of their requests had not ended when the trial did \
         ({percent:.1} % at {load} {unit}). Increase `search.trial` and `search.time`, or shorten `target.timeout` of `run`, \
         which turns unanswered requests into failures"
    ))
}
