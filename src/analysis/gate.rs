//! Decides whether a candidate passes a gate, which is a set of rules. Each rule is met, violated, or undecided.
//!
//! A rule **passes** when the confidence bound of the measured value is within the limit. It **fails** when the other
//! bound is beyond the limit. Otherwise the measurement cannot decide it; two answers would claim more than was
//! measured. Where the limit depends on a baseline, the bounds are those of the difference `candidate − (factor ·
//! baseline + offset)`, with the uncertainty of both sides. Of several bounds joined by `or`, one that is certainly met
//! is enough to pass, and all must be certainly violated to fail.
//!
//! A limit that depends on a baseline is a question about servers, and servers differ from start to start. It is
//! decided only where the runs show the spread between starts ([`ClaimScope`]), or for the one start that both sides
//! share.
//!
//! # Error rates
//!
//! The probability that the gate fails a candidate that meets every rule is at most `alpha`, whatever the number of
//! rules and of interim analyses:
//!
//! - Holm's method (1979) divides it among the rules; the method holds for any dependence among the metrics. The
//!   warnings are a separate family with their own `alpha`.
//!
//! - [`AlphaSpending`] divides it among the interim analyses of a gate that is extended.
//!
//! The probability that a given rule passes although it is violated is also at most `alpha`, over all interim analyses.
//! It is not divided among the rules, because one violated rule is enough to fail the gate.

use serde::Serialize;

use crate::analysis::compare::{ClaimScope, MetricSample, RequiredSample, SpreadMethod, holm, server_starts};
use crate::model::metric_id::MetricId;
use crate::model::rule::{BoundSide, MetricRule};
use crate::model::run::Run;
use crate::stats::RateInterval;

mod alpha_spending;
mod block_concat;
mod gate_report;
mod margin;
mod rules;
#[cfg(feature = "cli")]
mod rules_file;
mod runs;
#[cfg(feature = "cli")]
mod sources;
mod suggested_rules;
#[cfg(test)]
mod tests;

pub(crate) use crate::analysis::gate::alpha_spending::AlphaSpending;
pub(crate) use crate::analysis::gate::block_concat::concatenate;
pub use crate::analysis::gate::gate_report::{GateReport, GateVerdict};
pub(crate) use crate::analysis::gate::gate_report::{OnUndecided, RuleStatus};
pub(crate) use rules::default_rules;
#[cfg(feature = "cli")]
use rules::named_default_rules;
#[cfg(feature = "cli")]
pub(crate) use rules_file::parse_rules;
pub use runs::{GateError, gate};
pub(crate) use runs::{invalid_reason, unanswered_reason, valid_defaults};
#[cfg(feature = "cli")]
pub(crate) use sources::{SourceSides, default_source_rules, evaluate_sources, untestable};
pub(crate) use suggested_rules::{SuggestedRule, suggest_rules};

use crate::analysis::gate::margin::BoundMargins;

/// The default false-alarm probability of a gate.
pub(crate) const ALPHA: f64 = 0.05;

/// A rule, and what happens when it is violated.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GateRule {
    /// The condition on the metric.
    pub rule: MetricRule,
    /// The effect of a violation.
    pub severity: RuleSeverity,
}

impl From<MetricRule> for GateRule {
    /// A rule that fails the gate if it is violated.
    fn from(rule: MetricRule) -> Self {
        Self { rule, severity: RuleSeverity::Fail }
    }
}

/// The effect of a violated rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum RuleSeverity {
    /// The gate fails.
    #[default]
    Fail,
    /// The gate passes with a warning.
    Warn,
}

/// The result of one rule.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RuleFinding {
    /// The rule that was evaluated.
    #[serde(flatten)]
    pub rule: GateRule,
    /// The candidate's sample of the metric; `None` if the candidate does not have the metric.
    pub candidate: Option<MetricSample>,
    /// The baseline's sample of the metric; `None` if the baseline does not have the metric, or no bound uses it.
    pub baseline: Option<MetricSample>,
    /// The loosest of the bounds, at the baseline's measured value; `None` if the required baseline is missing.
    pub limit: Option<f64>,
    /// The candidate minus the deciding bound, with the interval that the answer rests on.
    pub(crate) margin: Option<LimitMargin>,
    /// The p-value of the hypothesis that the rule is met, adjusted for the other rules (Holm).
    pub adjusted_p: Option<f64>,
    /// The answer to the rule.
    #[serde(flatten)]
    pub answer: RuleAnswer,
    /// The interim analysis that gave the answer, counted from 1.
    pub(crate) look: usize,
}

/// The candidate minus a limit, in the metric's unit. If the limit depends on the baseline, the interval includes the
/// uncertainty of both sides.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct LimitMargin {
    /// The measured difference.
    pub value: f64,
    /// The interval at the level at which the rule is decided. It excludes zero where the rule is met or violated.
    pub interval: RateInterval,
}

/// The answer to a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
#[non_exhaustive]
pub enum RuleAnswer {
    /// The rule is met.
    Pass,
    /// The rule is violated.
    Fail,
    /// The measurement does not decide the rule.
    CannotTell {
        /// The reason.
        #[serde(flatten)]
        why: Undecided,
    },
}

/// Why a rule has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "doubt", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Undecided {
    /// The samples are too small.
    TooFew {
        /// The sample that would decide the rule if the true value equals the measured one; `None` if its size cannot
        /// be estimated.
        needs: Option<RequiredSample>,
    },
    /// The sides have too few server starts to distinguish a difference between servers from one between starts.
    TooFewStarts {
        /// The number of starts of the baseline.
        baseline: usize,
        /// The number of starts of the candidate.
        candidate: usize,
    },
    /// A side was saved without its requests, and reports no interval of this metric.
    NoInterval,
    /// A side is predicted, and the limit is within the interval of the prediction.
    Predicted,
    /// A side does not have the metric.
    Absent,
}

impl RuleAnswer {
    /// Whether the rule passes or fails.
    pub fn is_settled(self) -> bool {
        matches!(self, Self::Pass | Self::Fail)
    }
}

/// The runs of both sides.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GateSides<'a> {
    /// The baseline; empty where every limit is fixed.
    pub baseline: &'a [Run],
    /// The candidate.
    pub candidate: &'a [Run],
    /// Whether the caller knows that all runs are on one server start, even if the runs do not report it.
    pub same_start: bool,
}

impl GateSides<'_> {
    /// What a limit that depends on the baseline is about.
    pub(crate) fn scope(&self) -> ClaimScope {
        if self.same_start { ClaimScope::OneStart } else { ClaimScope::of(self.baseline, self.candidate) }
    }

    /// Why limits that depend on the baseline cannot be decided, if they cannot.
    fn undecided_reason(&self) -> Option<Undecided> {
        (self.scope() == ClaimScope::TheseStarts).then(|| Undecided::TooFewStarts {
            baseline: server_starts::group_by_start(self.baseline).len(),
            candidate: server_starts::group_by_start(self.candidate).len(),
        })
    }
}

/// Evaluates all rules once.
///
/// `level` is the part of `alpha` that this interim analysis may spend. The spread of several runs is the spread
/// between them, see [`compare`](super::compare); [`concatenate`] makes one run of consecutive blocks.
pub(crate) fn evaluate_rules(rules: &[GateRule], sides: &GateSides<'_>, level: f64) -> Vec<RuleFinding> {
    findings(rules, rules.iter().map(|rule| EvaluatedRule::evaluate(rule, sides)).collect(), level)
}

/// The findings on evaluated rules.
fn findings(rules: &[GateRule], held: Vec<EvaluatedRule>, level: f64) -> Vec<RuleFinding> {
    let adjusted = adjusted_p_values(rules, &held);
    let share = |severity| rules.iter().filter(|rule| rule.severity == severity).count().max(1) as f64;
    let findings = rules.iter().zip(held).zip(adjusted).map(|((rule, held), adjusted_p)| {
        let answer = held.answer(adjusted_p, level, level / share(rule.severity));
        RuleFinding {
            limit: loosest_limit(&rule.rule, held.baseline.as_ref()),
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

/// Merges the findings of a further interim analysis: an earlier answer is final.
pub(crate) fn carry_over_answers(
    before: Vec<RuleFinding>,
    now: Vec<RuleFinding>,
    look: usize,
) -> Vec<RuleFinding> {
    let now = now.into_iter().map(|finding| RuleFinding { look, ..finding });
    if before.is_empty() {
        return now.collect();
    }
    before.into_iter().zip(now).map(|(old, new)| if old.answer.is_settled() { old } else { new }).collect()
}

/// Returns the rules whose metric a side lacks although it has answers.
pub(crate) fn missing_metrics<'a>(
    rules: &'a [GateRule],
    runs: &'a [Run],
) -> impl Iterator<Item = &'a MetricRule> {
    let answered = runs.iter().any(|run| run.metrics.completed > 0);
    let has = |figure: MetricId| runs.iter().any(|run| figure.value(run).is_some());
    rules.iter().map(|rule| &rule.rule).filter(move |rule| answered && !has(rule.figure))
}

/// A rule, with the samples of its metric.
struct EvaluatedRule {
    candidate: Option<MetricSample>,
    baseline: Option<MetricSample>,
    margins: Result<BoundMargins, Undecided>,
}

impl EvaluatedRule {
    fn evaluate(rule: &GateRule, sides: &GateSides<'_>) -> Self {
        let figure = rule.rule.figure;
        let candidate = MetricSample::from_runs(sides.candidate, figure);
        let needs_baseline = rule.rule.needs_baseline();
        let baseline = needs_baseline.then(|| MetricSample::from_runs(sides.baseline, figure)).flatten();
        Self::from_samples(rule, candidate, baseline, sides.undecided_reason())
    }

    /// Evaluates a rule on samples; `undecided` is why limits that depend on the baseline cannot be decided.
    fn from_samples(
        rule: &GateRule,
        candidate: Option<MetricSample>,
        baseline: Option<MetricSample>,
        undecided: Option<Undecided>,
    ) -> Self {
        let rule = &rule.rule;
        let margins = match (&candidate, &baseline) {
            (None, _) => Err(Undecided::Absent),
            (Some(candidate), None) => BoundMargins::compute(rule, candidate, Err(Undecided::Absent)),
            (Some(candidate), Some(baseline)) => {
                BoundMargins::compute(rule, candidate, undecided.map_or(Ok(baseline), Err))
            }
        };
        Self { candidate, baseline, margins }
    }

    /// `level` is the level of this rule; `share` is the level for the required sample when all rules share `alpha`.
    fn answer(&self, adjusted_p: Option<f64>, level: f64, share: f64) -> RuleAnswer {
        let margins = match &self.margins {
            Ok(margins) => margins,
            Err(why) => return RuleAnswer::CannotTell { why: *why },
        };
        let broken = adjusted_p.is_some_and(|p| p <= level) && !margins.is_contradicted_by_ranks(level);
        match (broken, margins.p_of_broken() <= level) {
            (true, _) => RuleAnswer::Fail,
            (false, true) => RuleAnswer::Pass,
            (false, false) if self.is_predicted() => RuleAnswer::CannotTell { why: Undecided::Predicted },
            (false, false) => {
                let needs = self.candidate.as_ref().and_then(|candidate| {
                    margins.required_sample(candidate, self.baseline.as_ref(), [level, share])
                });
                RuleAnswer::CannotTell { why: Undecided::TooFew { needs } }
            }
        }
    }

    /// Whether a side is a prediction, which no larger sample makes more certain.
    fn is_predicted(&self) -> bool {
        let samples = [&self.candidate, &self.baseline];
        samples.into_iter().flatten().any(|sample| sample.method == Some(SpreadMethod::Predicted))
    }

    /// The margin at the level of the Holm step that reaches the rule, unless the rule is met.
    fn margin(&self, answer: RuleAnswer, adjusted_p: Option<f64>, level: f64) -> Option<LimitMargin> {
        let margins = self.margins.as_ref().ok()?;
        let step = match (margins.p_of_kept(), adjusted_p) {
            (p, Some(adjusted)) if p > 0.0 && adjusted > 0.0 => level * p / adjusted,
            _ => level,
        };
        match answer {
            RuleAnswer::Pass => margins.pass_margin(level),
            RuleAnswer::Fail => margins.failure_margin(step),
            RuleAnswer::CannotTell { .. } => margins.undecided_margin(step, level),
        }
    }
}

/// Adjusts each family separately. A rule without a p-value belongs to no family.
fn adjusted_p_values(rules: &[GateRule], held: &[EvaluatedRule]) -> Vec<Option<f64>> {
    let of = |severity| {
        let p = rules.iter().zip(held).map(|(rule, held)| {
            let margins = held.margins.as_ref().ok().filter(|_| rule.severity == severity)?;
            Some(margins.p_of_kept())
        });
        holm::adjusted_p_values(&p.collect::<Vec<_>>())
    };
    of(RuleSeverity::Fail).into_iter().zip(of(RuleSeverity::Warn)).map(|(fail, warn)| fail.or(warn)).collect()
}

/// The loosest bound as a number.
fn loosest_limit(rule: &MetricRule, baseline: Option<&MetricSample>) -> Option<f64> {
    let limits = rule.bounds.iter().filter_map(|bound| bound.limit.resolve(baseline.map(|base| base.value)));
    limits.reduce(|a, b| match rule.bounds[0].side {
        BoundSide::Below => a.max(b),
        BoundSide::Above => a.min(b),
    })
}
