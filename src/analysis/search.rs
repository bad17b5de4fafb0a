//! Searches for the highest load at which all service levels are met: which load to try next, for how long, and what
//! the trials show.
//!
//! From a start load, or from the [`LoadGuess`] of a model, the search doubles the load until a level is violated (or
//! quarters it until all are met). Between these two loads it bisects the range that the trials leave open. The next
//! load is the median of the possible boundaries ([`boundary::BoundaryDraws`]). After an unclear trial it is halfway
//! from that trial to the further end, since a trial at the boundary itself is a coin toss. This is probabilistic bisection (Horstein 1963; Waeber, Frazier
//! and Henderson 2013), with a confidence distribution from isotonic fits in place of error probabilities, which are
//! unknown. The search ends when the interval is as narrow as requested, or when the time is up.
//!
//! This module is pure: the caller has the clock and the server. The caller alternates [`Search::next_step`] and
//! [`Search::add_trial`] until the end, then calls [`Search::answer`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::metric_id::MetricId;
use crate::model::rule::MetricRule;
use boundary::{Boundary, BoundaryDraws};
use evidence::{Criterion, CriterionError, CriterionEvidence, CriterionOutcome};
use load_guess::LoadGuess;
use trial::{Trial, TrialEnd, TrialPlan};

pub(crate) use crate::analysis::search::knee::knee_of_curve;
pub use crate::analysis::search::runs::{SearchError, search};
pub(crate) use crate::analysis::search::search_answer::{KvPoolCheck, LoadLimit};
pub use crate::analysis::search::search_answer::{SearchAnswer, SearchFinding};

pub(crate) mod boundary;
pub(crate) mod early_stop;
pub(crate) mod evidence;
mod isotonic;
mod knee;
pub(crate) mod load_guess;
mod runs;
mod search_answer;
#[cfg(test)]
mod tests;
pub(crate) mod trial;

/// The unit of the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LoadAxis {
    /// Requests per second (open loop).
    Rate,
    /// Concurrent requests: each is sent when another has ended (closed loop).
    Concurrency,
}

impl LoadAxis {
    /// The unit of a load.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Rate => "req/s",
            Self::Concurrency => "in flight",
        }
    }
}

/// The settings of a search.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SearchConfig {
    /// The criteria that a good load meets; not empty.
    pub(crate) criteria: Vec<Criterion>,
    /// The unit of the load.
    pub over: LoadAxis,
    /// The first load.
    pub start: f64,
    /// The highest load.
    pub max: f64,
    /// The time for all trials together, including warm-ups and pauses.
    #[serde(rename = "time_s", with = "crate::seconds")]
    pub time: Duration,
    /// The time of each trial.
    #[serde(rename = "trial_s", with = "crate::seconds")]
    pub trial: Duration,
    /// The precision at which the search ends: half the interval's width, as a share of the boundary.
    pub precision: f64,
    /// The share of the boundary that the suggested load leaves free.
    pub headroom: f64,
    /// The seed of the trials.
    pub seed: u64,
}

/// The next step of a search.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum SearchStep {
    /// Run this trial.
    Trial(TrialPlan),
    /// The search has ended.
    End(SearchEnd),
}

/// Why a search ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SearchEnd {
    /// The interval is as narrow as requested.
    Precise,
    /// Another trial would exceed the time.
    OutOfTime,
    /// Even the lowest load violates a criterion.
    NeverGood,
    /// Even the highest load meets all criteria.
    NeverSaturated,
    /// The user interrupted the search.
    Interrupted,
}

/// The default share of a capacity that stays free: room for hours that are busier than the average, and for one server
/// of a few that is down.
pub(crate) const DEFAULT_HEADROOM: f64 = 0.3;

impl SearchConfig {
    /// Settings of a search for the highest load that meets all of these rules: from 1 to 200 requests per second or
    /// in flight, in trials of 30 s, within 20 minutes, until the boundary is known to 5 %. A load is also too high if
    /// more than 1 % of the requests fail, unless a rule limits failures.
    ///
    /// # Errors
    ///
    /// `CriterionError` for a rule that does not limit the load.
    pub fn new(over: LoadAxis, rules: impl IntoIterator<Item = MetricRule>) -> Result<Self, CriterionError> {
        let mut config = Self {
            criteria: Criterion::from_rules(rules, over)?,
            over,
            start: 1.0,
            max: 200.0,
            time: Duration::from_secs(20 * 60),
            trial: Duration::from_secs(30),
            precision: 0.05,
            headroom: DEFAULT_HEADROOM,
            seed: 0,
        };
        config.criteria.extend(config.failure_guard(MAX_FAILURE_RATE));
        Ok(config)
    }

    /// The criterion for failures if no rule limits them. A failed response is fast, so without this guard a server
    /// that rejects everything would win.
    pub(crate) fn failure_guard(&self, max_failure_rate: f64) -> Option<Criterion> {
        let failures = MetricId::scalar("failure_rate");
        let is_limited = self.criteria.iter().any(|criterion| criterion.figure() == failures);
        (!is_limited).then_some(Criterion::FewFailures(max_failure_rate))
    }
}

/// The default share of failed requests above which a load is too high.
const MAX_FAILURE_RATE: f64 = 0.01;

/// The factor of each step up.
const STEP_UP: f64 = 2.0;

/// The factor of each step down, from a start load that is too high.
const STEP_DOWN: f64 = 0.25;

/// The lowest rate as a share of the start: three steps down, or fewer where a lower rate has too few requests.
const LEAST_RATE_SHARE: f64 = 1.0 / 64.0;

/// A share of twice the allowed share is 3.7 standard errors above it if the number of requests is this factor over the
/// allowed share.
const CLEAR_FAILURE_FACTOR: f64 = 24.0;

/// The confidence required that some load is too high, and that some load is good, before the search bisects between
/// them. A higher load yields more data in the same time, and there is no range to bisect until some load is good.
const BRACKET_CONFIDENCE: f64 = 0.8;

/// The maximum length of a trial that repeats the lowest load, in lengths of other trials: a low load yields little
/// data per unit of time.
const MAX_TRIAL_FACTOR: u32 = 4;

/// The minimum number of requests of a trial. At a low rate a trial takes longer, up to twice its usual length.
const MIN_TRIAL_REQUESTS: f64 = 20.0;

/// The warm-up's share of a trial, where answers are short.
const WARMUP_SHARE: f64 = 0.2;

/// The confidence required of an end that no interval bounds.
const OPEN_END_CONFIDENCE: f64 = 0.975;

/// The largest factor by which rounding to three digits raises a value.
const ROUNDING_ERROR: f64 = 1.01;

/// Two loads closer than this share of the precision count as one.
const SAME_LOAD_SHARE: f64 = 0.5;

/// A later trial contradicts a slack if it is this many joint errors away. The bound exceeds the distance between a
/// server that keeps up and one that does not, which is a matter of chance near its capacity.
const CONTRADICTION_ERRORS: f64 = 4.0;

/// The number of later contradicting trials that make a trial an outlier.
const MIN_CONTRADICTIONS: usize = 2;

/// The number of later contradicting trials after which an outlier is discarded for good. A server that behaves this
/// way in a quarter of all trials shows it again within this many trials with a probability of 96 % (1 − 0.75¹¹).
const MIN_CONTRADICTIONS_TO_DROP: usize = 11;

/// A trial waits for its last answers for at most 1 / `PATIENCE_SHARE` of the remaining time.
const PATIENCE_SHARE: u32 = 4;

/// After this many trials that waited for their last answers and still ended undecided, no trial waits.
const MAX_WASTED_WAITS: usize = 2;

/// The maximum number of trials at one load to confirm a violation.
const MAX_REPEATS: usize = 3;

/// A limit that no useful search reaches.
const MAX_TRIALS: usize = 500;

/// A search in progress.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Search {
    question: SearchConfig,
    /// Where to begin, in place of the start load.
    guess: Option<LoadGuess>,
    trials: Vec<Trial>,
    end: Option<SearchEnd>,
}

impl Search {
    /// Starts a search without trials.
    pub(crate) fn new(question: SearchConfig) -> Self {
        Self { question, guess: None, trials: Vec::new(), end: None }
    }

    /// Begins around a guess. It changes which loads are tried first, and nothing else.
    pub(crate) fn with_guess(self, guess: Option<LoadGuess>) -> Self {
        Self { guess, ..self }
    }

    /// The guess that the search began with.
    pub(crate) fn guess(&self) -> Option<&LoadGuess> {
        self.guess.as_ref()
    }

    /// The settings of the search.
    pub(crate) fn config(&self) -> &SearchConfig {
        &self.question
    }

    /// The trials so far.
    pub(crate) fn trials(&self) -> &[Trial] {
        &self.trials
    }

    /// Adds a completed trial.
    pub(crate) fn add_trial(&mut self, trial: Trial) {
        self.trials.push(trial);
    }

    /// Ends the search early.
    pub(crate) fn interrupt(&mut self) {
        self.end = Some(SearchEnd::Interrupted);
    }

    /// Returns the next step.
    pub(crate) fn next_step(&mut self) -> SearchStep {
        let step = match self.end {
            Some(end) => SearchStep::End(end),
            None => self.decide(),
        };
        if let SearchStep::End(end) = step {
            self.end = Some(end);
        }
        step
    }

    /// The boundary as the trials so far determine it.
    pub(crate) fn boundary_draws(&self) -> BoundaryDraws {
        self.draws_without(MIN_CONTRADICTIONS_TO_DROP)
    }

    /// The draws that choose the next load. They leave out an outlier sooner, so that the search can move past it.
    fn working_draws(&self) -> BoundaryDraws {
        self.draws_without(MIN_CONTRADICTIONS)
    }

    fn draws_without(&self, contradicted: usize) -> BoundaryDraws {
        let aside = self.find_outlier(contradicted);
        let is_believed = |trial: &&Trial| aside.is_none_or(|(odd, _)| odd.number != trial.number);
        let believed: Vec<&Trial> = self.trials.iter().filter(is_believed).collect();
        BoundaryDraws::draw_from_trials(&believed, self.question.seed)
    }

    /// Returns the trial that at least `contradicted` later trials contradict, with their number, if it is the only
    /// such trial. A single such trial was disturbed from outside. Two of them show how the server behaves, so all
    /// trials count.
    pub(crate) fn find_outlier(&self, contradicted: usize) -> Option<(&Trial, usize)> {
        let against = |odd| self.trials.iter().filter(|other| contradicts(other, odd)).count();
        let odd = self.trials.iter().map(|trial| (trial, against(trial)));
        let mut odd = odd.filter(|&(_, against)| against >= MIN_CONTRADICTIONS);
        let only = odd.next().filter(|_| odd.next().is_none())?;
        (only.1 >= contradicted).then_some(only)
    }

    /// The lowest violated load, while that verdict rests on one trial alone, or on one trial against another. A
    /// disturbance from outside must not send the search to a range from which it does not return.
    fn load_to_repeat(&self) -> Option<f64> {
        let aside = self.find_outlier(MIN_CONTRADICTIONS).map(|(odd, _)| odd.number);
        let missed = self.trials.iter().filter(|trial| trial.outcome() == CriterionOutcome::Missed);
        let standing = missed.filter(|trial| aside != Some(trial.number));
        let lowest = standing.min_by(|a, b| a.load.total_cmp(&b.load))?;
        let near = |trial: &&Trial| (trial.load / lowest.load).ln().abs() <= boundary::SAME_NOISE_DISTANCE;
        let again = self.trials.iter().filter(|trial| trial.load == lowest.load).count();
        let alone = self.trials.iter().filter(near).count() == 1;
        let against = self.trials.iter().filter(|other| contradicts(other, lowest)).count();
        (alone || against == 1 && again < MAX_REPEATS).then_some(lowest.load)
    }

    /// Summarizes the search so far.
    pub(crate) fn answer(&self) -> SearchAnswer {
        SearchAnswer::from_search(self, self.end.unwrap_or(SearchEnd::OutOfTime))
    }

    fn decide(&self) -> SearchStep {
        let (Some(lowest), Some(highest)) = (self.extreme(f64::min), self.extreme(f64::max)) else {
            return SearchStep::Trial(self.trial_at(self.first_load(), true));
        };
        let belief = self.working_draws();
        let next = if let Some(load) = self.load_to_repeat() {
            self.trial_at(load, true)
        } else if belief.share_with_missed_load() < BRACKET_CONFIDENCE {
            match highest >= self.question.max {
                true if self.boundary_draws().share_with_possibly_missed_load()
                    <= 1.0 - OPEN_END_CONFIDENCE =>
                {
                    return SearchStep::End(SearchEnd::NeverSaturated);
                }
                true => self.trial_at(highest, false),
                false => self.trial_at(self.load_above(highest), true),
            }
        } else if belief.share_with_met_load() < BRACKET_CONFIDENCE {
            match self.is_least(lowest) {
                true if self.boundary_draws().share_with_possibly_met_load() <= 1.0 - OPEN_END_CONFIDENCE => {
                    return SearchStep::End(SearchEnd::NeverGood);
                }
                true => self.long_trial_at(lowest),
                false => self.trial_at((lowest * STEP_DOWN).max(self.least_load()), true),
            }
        } else if self.is_precise(&self.boundary_draws()) {
            return SearchStep::End(SearchEnd::Precise);
        } else {
            self.trial_at(self.load_between(&belief), false)
        };
        if self.trials.len() >= MAX_TRIALS || self.spent() + self.cost(&next) > self.question.time {
            return SearchStep::End(SearchEnd::OutOfTime);
        }
        SearchStep::Trial(next)
    }

    fn extreme(&self, of: fn(f64, f64) -> f64) -> Option<f64> {
        self.trials.iter().map(|trial| trial.load).reduce(of)
    }

    fn first_load(&self) -> f64 {
        let guessed = |guess: &LoadGuess| {
            let most = self.question.max;
            guess.bracket().0.clamp(self.least_load().min(most), most)
        };
        self.guess.as_ref().map_or(self.question.start, guessed)
    }

    /// The next step up: after the lower end of a guess its upper end, and from a guess that was far too low at least
    /// the start load.
    fn load_above(&self, highest: f64) -> f64 {
        let guessed = self.guess.as_ref().map(|guess| guess.bracket().1);
        let next = match guessed {
            Some(high) if high > ROUNDING_ERROR * highest => high.max(self.least_step_above(highest)),
            Some(_) => (highest * STEP_UP).max(self.question.start),
            None => highest * STEP_UP,
        };
        next.min(self.question.max)
    }

    /// The nearest load above that differs.
    fn least_step_above(&self, load: f64) -> f64 {
        match self.question.over {
            LoadAxis::Rate => load,
            LoadAxis::Concurrency => load + 1.0,
        }
    }

    fn least_load(&self) -> f64 {
        match self.question.over {
            LoadAxis::Rate => (self.question.start * LEAST_RATE_SHARE)
                .max(self.least_informative_load())
                .min(self.question.start),
            LoadAxis::Concurrency => 1.0,
        }
    }

    /// The rate at which half of the time has enough requests to distinguish the allowed share beyond a limit from
    /// twice that share.
    fn least_informative_load(&self) -> f64 {
        let levels =
            self.question.criteria.iter().filter(|criterion| matches!(criterion, Criterion::Rule(_)));
        let shares = levels.filter_map(Criterion::allowed).filter(|share| *share > 0.0);
        let strictest = shares.fold(1.0, f64::min);
        CLEAR_FAILURE_FACTOR / strictest / (self.question.time / 2).as_secs_f64()
    }

    /// Whether a lower load would make no difference.
    fn is_least(&self, lowest: f64) -> bool {
        let at = self.trials.iter().filter(|trial| trial.load == lowest);
        lowest <= ROUNDING_ERROR * self.least_load() || at.clone().all(Trial::is_unloaded)
    }

    fn is_precise(&self, belief: &BoundaryDraws) -> bool {
        let boundary = belief.boundary();
        let next_to = self.question.over == LoadAxis::Concurrency
            && boundary.low.zip(boundary.high).is_some_and(|(low, high)| high - low <= 1.0);
        next_to || boundary.precision() <= self.question.precision
    }

    /// Returns a load in the open range: its middle, or after an unclear trial the point halfway to the further end.
    fn load_between(&self, belief: &BoundaryDraws) -> f64 {
        let boundary = belief.boundary();
        let Boundary { estimate, low, high } = boundary;
        let unclear = self.trials.last().is_some_and(|trial| trial.outcome() == CriterionOutcome::Unclear);
        let load = match (unclear, low.unwrap_or(estimate / STEP_UP), high.unwrap_or(estimate * STEP_UP)) {
            (false, ..) => estimate,
            (true, low, high) if estimate / low > high / estimate => (estimate * low).sqrt(),
            (true, _, high) => (estimate * high).sqrt(),
        };
        // A trial at a nearby load is worth as much at the load of the earlier trial, where both can be averaged. The
        // more of the range is open, the larger the distance that counts as near.
        let near_enough = SAME_LOAD_SHARE * self.question.precision.max(boundary.precision().min(1.0) / 4.0);
        let near = |tried: &f64| (tried / load - 1.0).abs() < near_enough;
        self.trials.iter().map(|trial| trial.load).find(near).unwrap_or(load)
    }

    fn trial_at(&self, load: f64, bracketing: bool) -> TrialPlan {
        let SearchConfig { over, max, trial, seed, .. } = self.question;
        let load = match over {
            LoadAxis::Rate => three_digits(load).min(max),
            LoadAxis::Concurrency => load.round().clamp(1.0, max),
        };
        let wanted = match over {
            LoadAxis::Rate => Duration::try_from_secs_f64(MIN_TRIAL_REQUESTS / load).unwrap_or(Duration::MAX),
            LoadAxis::Concurrency => Duration::ZERO,
        };
        let number = self.trials.len() + 1;
        let (length, warmup) = (trial.max(wanted.min(2 * trial)), self.warmup());
        TrialPlan {
            number,
            load,
            length,
            warmup,
            patience: self.patience(length + warmup),
            seed: seed.wrapping_add(number as u64),
            bracketing,
        }
    }

    /// Plans a longer trial, within the remaining time.
    fn long_trial_at(&self, load: f64) -> TrialPlan {
        let next = self.trial_at(load, false);
        let left = self.question.time.saturating_sub(self.spent() + next.warmup);
        let length = next.length.max(left.min(MAX_TRIAL_FACTOR * self.question.trial));
        TrialPlan { length, patience: self.patience(length + next.warmup), ..next }
    }

    /// The warm-up lasts as long as answers take, so that the server reaches its steady level, but at most as long as a
    /// trial.
    fn warmup(&self) -> Duration {
        let answers = self.trials.last().and_then(|trial| trial.service.in_flight_p99_ms);
        let answers = answers.and_then(|ms| Duration::try_from_secs_f64(ms / 1e3).ok()).unwrap_or_default();
        self.question.trial.mul_f64(WARMUP_SHARE).max(answers).min(self.question.trial)
    }

    /// How long a trial of this cost waits for its last answers.
    fn patience(&self, cost: Duration) -> Duration {
        let in_vain = |trial: &&Trial| {
            trial.ending == TrialEnd::CutShort
                && trial.evidence.iter().flatten().any(CriterionEvidence::depends_on_censored)
        };
        match self.trials.iter().filter(in_vain).count() < MAX_WASTED_WAITS {
            true => self.question.time.saturating_sub(self.spent() + cost) / PATIENCE_SHARE,
            false => Duration::ZERO,
        }
    }

    fn spent(&self) -> Duration {
        self.trials.iter().map(|trial| trial.spent).sum()
    }

    fn cost(&self, next: &TrialPlan) -> Duration {
        if self.trials.is_empty() { Duration::ZERO } else { next.length + next.warmup }
    }
}

/// Whether a later trial is far better at a load at least as high, or far worse at a load at most as high.
fn contradicts(other: &Trial, odd: &Trial) -> bool {
    let both = other.evidence.iter().zip(&odd.evidence).filter_map(|(other, odd)| other.zip(*odd));
    let is_far = |(other, odd): (CriterionEvidence, CriterionEvidence)| {
        let far = CONTRADICTION_ERRORS * other.error.hypot(odd.error);
        let (better, worse) = (odd.slack - other.worst_slack > far, other.slack - odd.worst_slack > far);
        (better, worse)
    };
    let (better, worse) = both.map(is_far).fold((false, false), |a, b| (a.0 || b.0, a.1 || b.1));
    other.number > odd.number && (better && other.load >= odd.load || worse && other.load <= odd.load)
}

/// Rounds to three significant digits.
fn three_digits(value: f64) -> f64 {
    let digits = format!("{value:.2e}");
    digits.parse().unwrap_or(value)
}
