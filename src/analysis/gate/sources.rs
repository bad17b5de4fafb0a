//! Gates on results of other tools, beside runs of this program.
//!
//! A rule with fixed limits is decided by the stated figure where the result has no requests: it is then met or violated
//! as the figure stands, without an error probability. A rule that depends on a baseline needs a test, hence the requests.

use super::{EvaluatedRule, GateRule, RuleAnswer, RuleFinding, Undecided, findings, named_default_rules};
use crate::analysis::compare::{ClaimScope, MetricSource, claim_scope, start_count};

/// The sides of a gate.
pub(crate) struct SourceSides<'a> {
    /// The baseline; `None` where every limit is fixed.
    pub baseline: Option<&'a dyn MetricSource>,
    /// The candidate.
    pub candidate: &'a dyn MetricSource,
    /// Whether both sides share one server start.
    pub same_start: bool,
}

impl SourceSides<'_> {
    /// What a limit that depends on the baseline is about.
    pub(crate) fn scope(&self) -> Option<ClaimScope> {
        let baseline = self.baseline?;
        Some(if self.same_start { ClaimScope::OneStart } else { claim_scope(baseline, self.candidate) })
    }

    fn undecided_reason(&self) -> Option<Undecided> {
        let baseline = self.baseline.filter(|_| self.scope() == Some(ClaimScope::TheseStarts))?;
        Some(Undecided::TooFewStarts {
            baseline: start_count(baseline),
            candidate: start_count(self.candidate),
        })
    }
}

/// Evaluates all rules once.
pub(crate) fn evaluate_sources(rules: &[GateRule], sides: &SourceSides<'_>, level: f64) -> Vec<RuleFinding> {
    let evaluate = |rule: &GateRule| {
        let figure = rule.rule.figure;
        let baseline = sides.baseline.filter(|_| rule.rule.needs_baseline());
        EvaluatedRule::from_samples(
            rule,
            sides.candidate.sample(figure),
            baseline.and_then(|side| side.sample(figure)),
            sides.undecided_reason(),
        )
    };
    let mut findings = findings(rules, rules.iter().map(evaluate).collect(), level);
    findings.iter_mut().for_each(decide_by_figure);
    findings
}

/// Decides a rule with fixed limits by the figure alone where its spread is unknown.
fn decide_by_figure(finding: &mut RuleFinding) {
    let rule = &finding.rule.rule;
    let is_without_spread = finding.answer == RuleAnswer::CannotTell { why: Undecided::NoInterval };
    if let Some(sample) = finding.candidate.as_ref().filter(|_| is_without_spread && !rule.needs_baseline()) {
        let is_met = rule.bounds.iter().any(|bound| bound.is_met(sample.value, None) == Some(true));
        finding.answer = if is_met { RuleAnswer::Pass } else { RuleAnswer::Fail };
    }
}

/// The rules that need a test and cannot be tested, because a side states the figure without the requests behind it.
pub(crate) fn untestable(findings: &[RuleFinding]) -> impl Iterator<Item = &RuleFinding> {
    let lacks_spread = |finding: &&RuleFinding| {
        let samples = [&finding.candidate, &finding.baseline];
        let is_unknown = samples.into_iter().flatten().any(|sample| sample.method.is_none());
        finding.rule.rule.needs_baseline() && is_unknown && !finding.answer.is_settled()
    };
    findings.iter().filter(lacks_spread)
}

/// The default rules for metrics that both sides have, without those on throughput: whether the client or the server
/// decides it depends on the load.
pub(crate) fn default_source_rules(sides: &SourceSides<'_>) -> Vec<GateRule> {
    let Some(baseline) = sides.baseline else { return Vec::new() };
    let mut rules = named_default_rules();
    rules.retain(|rule| {
        let figure = rule.rule.figure;
        let is_known = baseline.sample(figure).is_some() && sides.candidate.sample(figure).is_some();
        is_known && figure.to_string() != "output_throughput"
    });
    rules
}
