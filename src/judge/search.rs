//! The highest load at which the service levels hold: which load to try next, for how long, and what the trials say.
//!
//! From a start the load is doubled until a level is missed (or quartered until all are met). Between the two the search
//! bisects what the trials together leave open: the next load is the median of where the boundary may be
//! ([`boundary::Belief`]), and after a trial that came out unclear, half way from there to the further end, since a trial at the
//! boundary itself is a coin toss. That is probabilistic bisection (Horstein 1963; Waeber, Frazier and Henderson 2013) on a belief
//! that comes from isotonic fits instead of from error probabilities that nobody knows. It ends when the interval is as
//! narrow as was asked for, or time is up.
//!
//! Pure: the clock and the server are the caller's. `step` and `note` in turns until the end, then `answer`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use boundary::{Belief, Boundary};
use evidence::{Criterion, Evidence, Outcome};
use trial::{Ending, Next, Trial};

pub use answer::{Agreement, Answer, Finding, Limit};

mod answer;
pub mod boundary;
pub mod evidence;
mod isotonic;
mod knee;
#[cfg(test)]
mod laws;
#[cfg(test)]
mod study;
#[cfg(test)]
mod tests;
pub mod trial;
pub mod watch;

/// What the load is a number of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Over {
    /// Requests per second, at times of their own.
    Rate,
    /// Requests in flight, each sent when another has ended.
    Concurrency,
}

impl Over {
    /// The unit of a load.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Rate => "req/s",
            Self::Concurrency => "in flight",
        }
    }
}

/// What is searched for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Question {
    /// What must hold; not empty.
    pub criteria: Vec<Criterion>,
    /// Of what load.
    pub over: Over,
    /// The first load.
    pub start: f64,
    /// The highest load.
    pub max: f64,
    /// For all trials together, warm-ups and pauses too.
    #[serde(rename = "time_s", with = "crate::core::units::seconds")]
    pub time: Duration,
    /// For each trial.
    #[serde(rename = "trial_s", with = "crate::core::units::seconds")]
    pub trial: Duration,
    /// Half of the interval's width, as a share of the boundary, that is narrow enough.
    pub precision: f64,
    /// The share of the boundary that the suggestion leaves free.
    pub headroom: f64,
    /// Seeds the trials.
    pub seed: u64,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step {
    /// A trial.
    Trial(Next),
    /// Nothing more.
    End(End),
}

/// Why a search ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The interval is as narrow as was asked for.
    Precise,
    /// Another trial would take more than the time.
    OutOfTime,
    /// Not even the least load is good.
    NeverGood,
    /// The highest load is good.
    NeverSaturated,
    /// The user ended it.
    Interrupted,
}

/// Each step up.
const UP: f64 = 2.0;

/// Each step down, from a start that is too much already.
const DOWN: f64 = 0.25;

/// The least rate, as a share of the start: three steps down, or fewer where that would be too few requests to tell anything.
const LEAST: f64 = 1.0 / 64.0;

/// A share of twice what is allowed is 3.7 standard errors above it in this many requests by the share that is allowed.
const ENOUGH: f64 = 24.0;

/// How sure it must be that some load is too much, and that some load holds, before the search looks between them. More load tells
/// more in the same time; and as long as nothing holds there is nothing to look between.
const BRACKETED: f64 = 0.8;

/// The length of a trial that tries the least load again, in those of others: little load tells little in a time.
const LONGEST: u32 = 4;

/// Requests that a trial should have at least: a slow rate's takes longer for it, up to twice as long.
const REQUESTS: f64 = 20.0;

/// The share of the warm-up in a trial, where answers are short.
const WARM_UP: f64 = 0.2;

/// How sure an end must be that no interval ends.
const SURE: f64 = 0.975;

/// What rounding to three digits adds at most.
const ROUNDED: f64 = 1.01;

/// Two loads nearer than this share of the precision are one.
const SAME: f64 = 0.5;

/// A slack that a later trial contradicts is this many joint errors from where it should be: more than lie between a server that
/// keeps up and one that does not, which near its capacity is chance.
const FAR: f64 = 4.0;

/// Later trials that make a trial an odd one.
const CONTRADICTED: usize = 2;

/// Later trials after which the odd one is set aside for good. A server that is as odd in a quarter of all trials shows it again
/// within as many with a chance of 96 % (1 − 0.75¹¹).
const CONTRADICTED_FOR_GOOD: usize = 11;

/// The share of the time left for which a trial's last answers are waited for at most.
const PATIENCE: u32 = 4;

/// Trials whose patience was in vain, after which no other has any.
const IN_VAIN: usize = 2;

/// How often a load is tried to settle whether it is missed.
const MOST_AGAIN: usize = 3;

/// More trials than anybody waits for.
const MOST_TRIALS: usize = 500;

/// A search under way.
#[derive(Debug, Clone, PartialEq)]
pub struct Search {
    question: Question,
    trials: Vec<Trial>,
    end: Option<End>,
}

impl Search {
    /// That has tried nothing yet.
    pub fn new(question: Question) -> Self {
        Self { question, trials: Vec::new(), end: None }
    }

    /// What is searched for.
    pub fn question(&self) -> &Question {
        &self.question
    }

    /// What was tried.
    pub fn trials(&self) -> &[Trial] {
        &self.trials
    }

    /// Takes a trial in.
    pub fn note(&mut self, trial: Trial) {
        self.trials.push(trial);
    }

    /// Ends it before its end.
    pub fn interrupt(&mut self) {
        self.end = Some(End::Interrupted);
    }

    /// What comes next.
    pub fn step(&mut self) -> Step {
        let step = match self.end {
            Some(end) => Step::End(end),
            None => self.decide(),
        };
        if let Step::End(end) = step {
            self.end = Some(end);
        }
        step
    }

    /// What is known so far.
    pub fn belief(&self) -> Belief {
        self.belief_without(CONTRADICTED_FOR_GOOD)
    }

    /// What decides which load is next: the odd one out is set aside sooner, so that the search gets past it.
    fn working_belief(&self) -> Belief {
        self.belief_without(CONTRADICTED)
    }

    fn belief_without(&self, contradicted: usize) -> Belief {
        let aside = self.odd_one_out(contradicted);
        let is_believed = |trial: &&Trial| aside.is_none_or(|(odd, _)| odd.number != trial.number);
        let believed: Vec<&Trial> = self.trials.iter().filter(is_believed).collect();
        Belief::of(&believed, self.question.seed)
    }

    /// The trial that at least this many later ones contradict, with their number, if it is the only one of its kind: then it was
    /// disturbed from outside. Two of them are how the server is, and all trials count.
    pub fn odd_one_out(&self, contradicted: usize) -> Option<(&Trial, usize)> {
        let against = |odd| self.trials.iter().filter(|other| contradicts(other, odd)).count();
        let odd = self.trials.iter().map(|trial| (trial, against(trial)));
        let mut odd = odd.filter(|&(_, against)| against >= CONTRADICTED);
        let only = odd.next().filter(|_| odd.next().is_none())?;
        (only.1 >= contradicted).then_some(only)
    }

    /// The lowest load that was missed, while that hangs on one trial alone, or on one against another: a disturbance from
    /// outside must not send the search where it never comes back from.
    fn to_settle(&self) -> Option<f64> {
        let aside = self.odd_one_out(CONTRADICTED).map(|(odd, _)| odd.number);
        let missed = self.trials.iter().filter(|trial| trial.outcome() == Outcome::Missed);
        let standing = missed.filter(|trial| aside != Some(trial.number));
        let lowest = standing.min_by(|a, b| a.load.total_cmp(&b.load))?;
        let near = |trial: &&Trial| (trial.load / lowest.load).ln().abs() <= boundary::NEAR;
        let again = self.trials.iter().filter(|trial| trial.load == lowest.load).count();
        let alone = self.trials.iter().filter(near).count() == 1;
        let against = self.trials.iter().filter(|other| contradicts(other, lowest)).count();
        (alone || against == 1 && again < MOST_AGAIN).then_some(lowest.load)
    }

    /// What is known so far, for people.
    pub fn answer(&self) -> Answer {
        Answer::of(self, self.end.unwrap_or(End::OutOfTime))
    }

    fn decide(&self) -> Step {
        let (Some(lowest), Some(highest)) = (self.extreme(f64::min), self.extreme(f64::max)) else {
            return Step::Trial(self.trial_at(self.question.start, true));
        };
        let belief = self.working_belief();
        let next = if let Some(load) = self.to_settle() {
            self.trial_at(load, true)
        } else if belief.some_load_is_too_much() < BRACKETED {
            match highest >= self.question.max {
                true if self.belief().some_load_may_be_too_much() <= 1.0 - SURE => {
                    return Step::End(End::NeverSaturated);
                }
                true => self.trial_at(highest, false),
                false => self.trial_at((highest * UP).min(self.question.max), true),
            }
        } else if belief.some_load_holds() < BRACKETED {
            match self.is_least(lowest) {
                true if self.belief().some_load_may_hold() <= 1.0 - SURE => return Step::End(End::NeverGood),
                true => self.long_trial_at(lowest),
                false => self.trial_at((lowest * DOWN).max(self.least()), true),
            }
        } else if self.is_precise(&self.belief()) {
            return Step::End(End::Precise);
        } else {
            self.trial_at(self.between(&belief), false)
        };
        if self.trials.len() >= MOST_TRIALS || self.spent() + self.cost(&next) > self.question.time {
            return Step::End(End::OutOfTime);
        }
        Step::Trial(next)
    }

    fn extreme(&self, of: fn(f64, f64) -> f64) -> Option<f64> {
        self.trials.iter().map(|trial| trial.load).reduce(of)
    }

    fn least(&self) -> f64 {
        match self.question.over {
            Over::Rate => (self.question.start * LEAST).max(self.least_telling()).min(self.question.start),
            Over::Concurrency => 1.0,
        }
    }

    /// The rate at which half of the time brings enough requests to tell twice the share that may be beyond a limit from it.
    fn least_telling(&self) -> f64 {
        let levels =
            self.question.criteria.iter().filter(|criterion| matches!(criterion, Criterion::Rule(_)));
        let shares = levels.filter_map(Criterion::allowed).filter(|share| *share > 0.0);
        let strictest = shares.fold(1.0, f64::min);
        ENOUGH / strictest / (self.question.time / 2).as_secs_f64()
    }

    /// Whether less load would change nothing.
    fn is_least(&self, lowest: f64) -> bool {
        let at = self.trials.iter().filter(|trial| trial.load == lowest);
        lowest <= ROUNDED * self.least() || at.clone().all(Trial::was_alone)
    }

    fn is_precise(&self, belief: &Belief) -> bool {
        let boundary = belief.boundary();
        let next_to = self.question.over == Over::Concurrency
            && boundary.low.zip(boundary.high).is_some_and(|(low, high)| high - low <= 1.0);
        next_to || boundary.precision() <= self.question.precision
    }

    /// A load in what is still open: its middle, or after an unclear trial half way to the further end.
    fn between(&self, belief: &Belief) -> f64 {
        let boundary = belief.boundary();
        let Boundary { estimate, low, high } = boundary;
        let unclear = self.trials.last().is_some_and(|trial| trial.outcome() == Outcome::Unclear);
        let load = match (unclear, low.unwrap_or(estimate / UP), high.unwrap_or(estimate * UP)) {
            (false, ..) => estimate,
            (true, low, high) if estimate / low > high / estimate => (estimate * low).sqrt(),
            (true, _, high) => (estimate * high).sqrt(),
        };
        // A trial beside another is worth the same at the other's place, where both can be averaged; the more is open, the wider
        // that is.
        let near_enough = SAME * self.question.precision.max(boundary.precision().min(1.0) / 4.0);
        let near = |tried: &f64| (tried / load - 1.0).abs() < near_enough;
        self.trials.iter().map(|trial| trial.load).find(near).unwrap_or(load)
    }

    fn trial_at(&self, load: f64, bracketing: bool) -> Next {
        let Question { over, max, trial, seed, .. } = self.question;
        let load = match over {
            Over::Rate => three_digits(load).min(max),
            Over::Concurrency => load.round().clamp(1.0, max),
        };
        let wanted = match over {
            Over::Rate => Duration::try_from_secs_f64(REQUESTS / load).unwrap_or(Duration::MAX),
            Over::Concurrency => Duration::ZERO,
        };
        let number = self.trials.len() + 1;
        let (length, warmup) = (trial.max(wanted.min(2 * trial)), self.warmup());
        Next {
            number,
            load,
            length,
            warmup,
            patience: self.patience(length + warmup),
            seed: seed.wrapping_add(number as u64),
            bracketing,
        }
    }

    /// A trial that takes more of the time, as much as is left.
    fn long_trial_at(&self, load: f64) -> Next {
        let next = self.trial_at(load, false);
        let left = self.question.time.saturating_sub(self.spent() + next.warmup);
        let length = next.length.max(left.min(LONGEST * self.question.trial));
        Next { length, patience: self.patience(length + next.warmup), ..next }
    }

    /// As long as answers take, so that the server is as full as it gets; at most as long as a trial.
    fn warmup(&self) -> Duration {
        let answers = self.trials.last().and_then(|trial| trial.service.in_flight_p99_ms);
        let answers = answers.and_then(|ms| Duration::try_from_secs_f64(ms / 1e3).ok()).unwrap_or_default();
        self.question.trial.mul_f64(WARM_UP).max(answers).min(self.question.trial)
    }

    /// How long a trial that itself costs this much waits for its last answers.
    fn patience(&self, cost: Duration) -> Duration {
        let in_vain = |trial: &&Trial| {
            trial.ending == Ending::CutShort
                && trial.evidence.iter().flatten().any(Evidence::hangs_on_censored)
        };
        match self.trials.iter().filter(in_vain).count() < IN_VAIN {
            true => self.question.time.saturating_sub(self.spent() + cost) / PATIENCE,
            false => Duration::ZERO,
        }
    }

    fn spent(&self) -> Duration {
        self.trials.iter().map(|trial| trial.spent).sum()
    }

    fn cost(&self, next: &Next) -> Duration {
        if self.trials.is_empty() { Duration::ZERO } else { next.length + next.warmup }
    }
}

/// Whether a later trial is far better under no less load, or far worse under no more.
fn contradicts(other: &Trial, odd: &Trial) -> bool {
    let both = other.evidence.iter().zip(&odd.evidence).filter_map(|(other, odd)| other.zip(*odd));
    let is_far = |(other, odd): (Evidence, Evidence)| {
        let far = FAR * other.error.hypot(odd.error);
        let (better, worse) = (odd.slack - other.worst_slack > far, other.slack - odd.worst_slack > far);
        (better, worse)
    };
    let (better, worse) = both.map(is_far).fold((false, false), |a, b| (a.0 || b.0, a.1 || b.1));
    other.number > odd.number && (better && other.load >= odd.load || worse && other.load <= odd.load)
}

/// Three significant digits: what a person would type.
fn three_digits(value: f64) -> f64 {
    let digits = format!("{value:.2e}");
    digits.parse().unwrap_or(value)
}
