//! Whether a candidate may pass: rules, each of which it keeps, breaks, or cannot be held to with what was measured.
//!
//! Three answers, because two would lie: a rule **passes** when the confidence bound of the measured value keeps the limit,
//! it **fails** when the other bound breaks it, and otherwise nobody can tell yet. Where the limit depends on a baseline,
//! it is the difference `candidate − (factor · baseline + offset)` that is bounded, with the doubt about both. Of several
//! bounds joined by `or`, one that surely holds is enough, and all must surely be broken for a failure.
//!
//! A limit that depends on a baseline asks about servers, and servers differ from start to start: it is decided only where
//! the runs show by how much ([`Scope`]), or for the one start that both sides share.
//!
//! # Errors
//!
//! The chance that a candidate which keeps every rule is failed is at most `alpha`, however many rules there are and
//! however often they are looked at:
//!
//! - over the rules it is shared out by Holm's method (1979), which holds however the figures depend on each other. The
//!   warnings are a family of their own and share another `alpha`;
//! - over the looks of a gate that is extended it is spent as [`Looks`] says.
//!
//! The chance that one given rule passes although it is broken is at most `alpha` too, over all looks. That need not be
//! shared among the rules: one that is known to be broken is enough to fail.

use serde::Serialize;

use crate::core::figure::Figure;
use crate::core::rule::{Rule, Side};
use crate::core::run::Run;
use crate::core::stats::RateInterval;
use crate::judge::compare::{Needs, Sample, Scope, holm, starts};

mod blocks;
mod looks;
mod room;
mod rules;
mod ruling;
#[cfg(test)]
mod study;
#[cfg(test)]
mod tests;

pub use blocks::joined;
pub use looks::Looks;
pub use rules::{RulesError, defaults, read};
pub use ruling::{OnUnsettled, Outcome, Ruling, Standing};

use room::Rooms;

/// The chance of a false alarm that a gate has if nobody says otherwise.
pub const ALPHA: f64 = 0.05;

/// A rule, and what happens when it is broken.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GateRule {
    /// What is asked.
    pub rule: Rule,
    /// What it costs to break it.
    pub severity: Severity,
}

/// What a broken rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The gate fails.
    #[default]
    Fail,
    /// The gate passes and says so.
    Warn,
}

/// What came of a rule.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// The rule.
    #[serde(flatten)]
    pub rule: GateRule,
    /// What is known of its figure; `None` if the candidate does not have it.
    pub candidate: Option<Sample>,
    /// The same of the baseline; `None` also where no bound asks for it.
    pub baseline: Option<Sample>,
    /// The loosest of the bounds, at the baseline's measured value; `None` without the baseline that it needs.
    pub limit: Option<f64>,
    /// The candidate less the bound that decides, with the interval that the answer rests on.
    pub margin: Option<Margin>,
    /// The p-value of the rule being kept, adjusted for the other rules (Holm).
    pub adjusted_p: Option<f64>,
    /// The answer.
    #[serde(flatten)]
    pub answer: Answer,
    /// At which look it was given, from 1.
    pub look: usize,
}

/// The candidate less a limit, in the figure's unit. The limit may be one that depends on the baseline, and the interval then
/// has the doubt about both sides.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Margin {
    /// As measured.
    pub value: f64,
    /// At the level at which the rule is decided: it leaves out zero where the rule is kept or broken.
    pub interval: RateInterval,
}

/// The answer to a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// The rule is kept.
    Pass,
    /// The rule is broken.
    Fail,
    /// Neither is sure.
    CannotTell {
        /// Why not.
        #[serde(flatten)]
        why: Doubt,
    },
}

/// Why a rule has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "doubt", rename_all = "snake_case")]
pub enum Doubt {
    /// The samples are too small.
    TooFew {
        /// What would settle it, if the truth is what was measured; `None` if that is not known.
        needs: Option<Needs>,
    },
    /// The sides are from too few starts of the server: a difference between servers cannot be told from one between starts.
    TooFewStarts {
        /// From how many the baseline's runs are.
        baseline: usize,
        /// From how many the candidate's are.
        candidate: usize,
    },
    /// A side was saved without its requests, and states no interval of this figure.
    NoInterval,
    /// A side does not have the figure.
    Absent,
}

impl Answer {
    /// Whether the rule is kept or broken for sure.
    pub fn is_settled(self) -> bool {
        matches!(self, Self::Pass | Self::Fail)
    }
}

/// The runs of both sides.
#[derive(Debug, Clone, Copy)]
pub struct Sides<'a> {
    /// What the candidate is held against; empty where every limit is fixed.
    pub baseline: &'a [Run],
    /// What is judged.
    pub candidate: &'a [Run],
    /// Whether all runs are known to be from one start of the server, although they may not tell.
    pub same_start: bool,
}

impl Sides<'_> {
    /// What a limit that depends on the baseline asks about.
    pub fn scope(&self) -> Scope {
        if self.same_start { Scope::OneStart } else { Scope::of(self.baseline, self.candidate) }
    }

    /// Why limits that depend on the baseline cannot be decided, if they cannot.
    fn objection(&self) -> Option<Doubt> {
        (self.scope() == Scope::TheseStarts).then(|| Doubt::TooFewStarts {
            baseline: starts::groups(self.baseline).len(),
            candidate: starts::groups(self.candidate).len(),
        })
    }
}

/// One look at all rules.
///
/// `level` is what of `alpha` this look may spend. Of several runs the spread is theirs, see
/// [`compare`](super::compare); [`joined`] makes one run of consecutive blocks.
pub fn look(rules: &[GateRule], sides: &Sides<'_>, level: f64) -> Vec<Finding> {
    let held: Vec<Held> = rules.iter().map(|rule| Held::of(rule, sides)).collect();
    let adjusted = adjusted(rules, &held);
    let share = |severity| rules.iter().filter(|rule| rule.severity == severity).count().max(1) as f64;
    let findings = rules.iter().zip(held).zip(adjusted).map(|((rule, held), adjusted_p)| {
        let answer = held.answer(adjusted_p, level, level / share(rule.severity));
        Finding {
            limit: limit(&rule.rule, held.baseline.as_ref()),
            margin: held.margin(answer, adjusted_p, level),
            rule: rule.clone(),
            candidate: held.candidate,
            baseline: held.baseline,
            adjusted_p,
            answer,
            look: 1,
        }
    });
    findings.collect()
}

/// What is known after one more look: an answer that was given stands.
pub fn settle(before: Vec<Finding>, now: Vec<Finding>, look: usize) -> Vec<Finding> {
    let now = now.into_iter().map(|finding| Finding { look, ..finding });
    if before.is_empty() {
        return now.collect();
    }
    before.into_iter().zip(now).map(|(old, new)| if old.answer.is_settled() { old } else { new }).collect()
}

/// The rules whose figure a side does not have although it has answers.
pub fn absent<'a>(rules: &'a [GateRule], runs: &'a [Run]) -> impl Iterator<Item = &'a Rule> {
    let answered = runs.iter().any(|run| run.metrics.completed > 0);
    let has = |figure: Figure| runs.iter().any(|run| figure.value(run).is_some());
    rules.iter().map(|rule| &rule.rule).filter(move |rule| answered && !has(rule.figure))
}

/// A rule with what is known of its figure.
struct Held {
    candidate: Option<Sample>,
    baseline: Option<Sample>,
    rooms: Result<Rooms, Doubt>,
}

impl Held {
    fn of(rule: &GateRule, sides: &Sides<'_>) -> Self {
        let rule = &rule.rule;
        let candidate = Sample::of(sides.candidate, rule.figure);
        let baseline = rule.needs_baseline().then(|| Sample::of(sides.baseline, rule.figure)).flatten();
        let rooms = match (&candidate, &baseline) {
            (None, _) => Err(Doubt::Absent),
            (Some(candidate), None) => Rooms::of(rule, candidate, Err(Doubt::Absent)),
            (Some(candidate), Some(baseline)) => {
                Rooms::of(rule, candidate, sides.objection().map_or(Ok(baseline), Err))
            }
        };
        Self { candidate, baseline, rooms }
    }

    /// `level` is one rule's own, `share` what is left of it for the needs when all share it.
    fn answer(&self, adjusted_p: Option<f64>, level: f64, share: f64) -> Answer {
        let rooms = match &self.rooms {
            Ok(rooms) => rooms,
            Err(why) => return Answer::CannotTell { why: *why },
        };
        let broken = adjusted_p.is_some_and(|p| p <= level) && !rooms.ranks_object(level);
        match (broken, rooms.broken() <= level) {
            (true, _) => Answer::Fail,
            (false, true) => Answer::Pass,
            (false, false) => {
                let needs = self
                    .candidate
                    .as_ref()
                    .and_then(|candidate| rooms.needs(candidate, self.baseline.as_ref(), [level, share]));
                Answer::CannotTell { why: Doubt::TooFew { needs } }
            }
        }
    }

    /// At the level of the step at which Holm's method comes to the rule, unless it is kept.
    fn margin(&self, answer: Answer, adjusted_p: Option<f64>, level: f64) -> Option<Margin> {
        let rooms = self.rooms.as_ref().ok()?;
        let step = match (rooms.kept(), adjusted_p) {
            (p, Some(adjusted)) if p > 0.0 && adjusted > 0.0 => level * p / adjusted,
            _ => level,
        };
        match answer {
            Answer::Pass => rooms.margin_of_pass(level),
            Answer::Fail => rooms.margin_of_failure(step),
            Answer::CannotTell { .. } => rooms.margin_of_doubt(step, level),
        }
    }
}

/// Each family by itself; a rule without a p-value is in none.
fn adjusted(rules: &[GateRule], held: &[Held]) -> Vec<Option<f64>> {
    let of = |severity| {
        let p = rules.iter().zip(held).map(|(rule, held)| {
            let rooms = held.rooms.as_ref().ok().filter(|_| rule.severity == severity)?;
            Some(rooms.kept())
        });
        holm::adjusted(&p.collect::<Vec<_>>())
    };
    of(Severity::Fail).into_iter().zip(of(Severity::Warn)).map(|(fail, warn)| fail.or(warn)).collect()
}

/// The loosest bound, as a number.
fn limit(rule: &Rule, baseline: Option<&Sample>) -> Option<f64> {
    let limits = rule.bounds.iter().filter_map(|bound| bound.limit.resolve(baseline.map(|base| base.value)));
    limits.reduce(|a, b| match rule.bounds[0].side {
        Side::Below => a.max(b),
        Side::Above => a.min(b),
    })
}
