//! Applies a gate to measured runs.

use thiserror::Error;

use super::{
    ALPHA, GateReport, GateRule, GateSides, GateVerdict, OnUndecided, default_rules, evaluate_rules,
    missing_metrics,
};
use crate::analysis::compare::{NotComparable, SideInfo, SpecDifference};
use crate::model::run::Run;

/// Why a gate cannot be applied.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum GateError {
    /// The candidate cannot be compared with the baseline.
    #[error(transparent)]
    NotComparable(#[from] NotComparable),
    /// There are no rules: none were given, and the baseline has none of the metrics of the default rules.
    #[error("the gate has no rule: give a rule with a fixed limit, or a baseline")]
    NoRules,
    /// A rule needs a baseline, and there is none.
    #[error("`{0}` needs a baseline")]
    NoBaseline(String),
    /// A side was measured without the metric of a rule.
    #[error("the {side} does not have the metric of `{rule}`")]
    NoMetric {
        /// The side: `baseline` or `candidate`.
        side: &'static str,
        /// The rule.
        rule: String,
    },
}

/// Decides whether a candidate meets every rule. Several runs of one side are repeats. Without `rules`, the default
/// rules apply: the candidate must not be worse than the baseline.
///
/// The probability that the gate fails a candidate that meets every rule is at most 5 %. A rule that the runs do not
/// decide is a warning: see [`GateVerdict`].
///
/// # Errors
///
/// If a side lacks what a rule needs, the baseline is INVALID, or the sides used different configurations. A candidate
/// that is INVALID is not an error but a verdict.
pub fn gate(rules: &[GateRule], baseline: &[Run], candidate: &[Run]) -> Result<GateReport, GateError> {
    let defaults = if rules.is_empty() { valid_defaults(baseline) } else { Vec::new() };
    let rules = if rules.is_empty() { &defaults } else { rules };
    check(rules, baseline, candidate)?;
    let sides = GateSides { baseline, candidate, same_start: false };
    let is_relative = rules.iter().any(|rule| rule.rule.needs_baseline());
    let report = GateReport {
        outcome: GateVerdict::Pass,
        invalid: invalid_reason(rules, candidate),
        baseline: is_relative.then(|| SideInfo::from_runs("baseline", baseline)),
        candidate: SideInfo::from_runs("candidate", candidate),
        scope: is_relative.then(|| sides.scope()),
        findings: evaluate_rules(rules, &sides, ALPHA),
        caveats: Vec::new(),
        alpha: ALPHA,
        on_unsettled: OnUndecided::default(),
        looks: [1, 1],
    };
    Ok(report.conclude())
}

/// The default rules, without those about metrics that are INVALID in the baseline while others are valid.
pub(crate) fn valid_defaults(baseline: &[Run]) -> Vec<GateRule> {
    let mut rules = default_rules(baseline);
    let is_partly_valid = |run: &&Run| run.validity.run_invalid_reason().is_none();
    let invalid = |rule: &GateRule, run: &Run| rule.rule.figure.invalid_reason(run).is_some();
    rules.retain(|rule| !baseline.iter().filter(is_partly_valid).any(|run| invalid(rule, run)));
    rules
}

/// Why the runs are INVALID for the metrics of the rules; `None` if they are valid.
pub(crate) fn invalid_reason(rules: &[GateRule], runs: &[Run]) -> Option<String> {
    let asked = |run: &Run| {
        let mut objections = rules.iter().map(|rule| (rule, rule.rule.figure.invalid_reason(run)));
        objections.find_map(|(rule, why)| Some(format!("{}: {}", rule.rule.figure.label(), why?)))
    };
    let invalid = |run: &Run| run.validity.run_invalid_reason().or_else(|| asked(run));
    unanswered_reason(runs).or_else(|| runs.iter().find_map(invalid))
}

/// Why runs without answers decide nothing, even where INVALID runs are allowed; `None` if a request was answered.
pub(crate) fn unanswered_reason(runs: &[Run]) -> Option<String> {
    runs.iter().all(|run| run.metrics.completed == 0).then(|| "no request was answered".into())
}

fn check(rules: &[GateRule], baseline: &[Run], candidate: &[Run]) -> Result<(), GateError> {
    if rules.is_empty() {
        return Err(GateError::NoRules);
    }
    let relative: Vec<GateRule> = rules.iter().filter(|rule| rule.rule.needs_baseline()).cloned().collect();
    let sides = [("baseline", &*relative, baseline), ("candidate", rules, candidate)];
    let missing = |(side, rules, runs): (&'static str, &[GateRule], &[Run])| {
        let rule = missing_metrics(rules, runs).next()?.to_string();
        Some(GateError::NoMetric { side, rule })
    };
    if let (Some(rule), []) = (relative.first(), baseline) {
        return Err(GateError::NoBaseline(rule.rule.to_string()));
    }
    if let Some(error) = sides.into_iter().find_map(missing) {
        return Err(error);
    }
    let Some(first) = baseline.first() else { return Ok(()) };
    if let Some(reason) = invalid_reason(rules, baseline) {
        return Err(NotComparable::Invalid { run: "baseline", reason }.into());
    }
    let different = candidate.iter().map(|run| SpecDifference::between(first, run));
    match different.into_iter().find(|different| !different.is_empty()) {
        Some(different) => Err(NotComparable::Different(different).into()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::gate::RuleSeverity;
    use crate::model::run_spec::Slo;
    use crate::model::validity::{Check, CheckName, CheckOutcome, CheckScope};
    use crate::testing::sample_run;

    fn rule(text: &str) -> GateRule {
        GateRule { rule: text.parse().unwrap(), severity: RuleSeverity::Fail }
    }

    fn valid() -> Run {
        let mut run = sample_run::run(false);
        run.validity.checks.retain(|check| check.outcome != CheckOutcome::Invalid);
        run.validity.valid = true;
        run
    }

    #[test]
    fn a_fixed_limit_needs_no_baseline_and_a_relative_one_does() {
        let run = [valid()];
        let report = gate(&[rule("ttft.mean < 60m")], &[], &run).unwrap();
        assert_eq!((report.findings.len(), report.baseline), (1, None));
        let error = gate(&[rule("ttft.mean <= baseline * 1.05")], &[], &run).unwrap_err();
        assert_eq!(error, GateError::NoBaseline("ttft.mean <= baseline * 1.05".into()));
        assert_eq!(gate(&[], &[], &run).unwrap_err(), GateError::NoRules);
    }

    #[test]
    fn a_metric_that_was_not_measured_is_named_with_its_rule() {
        let error = gate(&[rule("goodput_ratio > 90%")], &[], &[valid()]).unwrap_err();
        let rule = "goodput_ratio > 90%".into();
        assert_eq!(error, GateError::NoMetric { side: "candidate", rule });
    }

    #[test]
    fn other_configurations_are_not_compared() {
        let (base, mut candidate) = (valid(), valid());
        candidate.spec.slo = Slo { ttft: Some(std::time::Duration::from_secs(1)), ..Slo::default() };
        let error = gate(&[rule("ttft.mean <= baseline * 2")], &[base], &[candidate]).unwrap_err();
        assert!(matches!(error, GateError::NotComparable(NotComparable::Different(_))), "{error}");
    }

    #[test]
    fn an_invalid_candidate_is_a_verdict_and_an_invalid_baseline_an_error() {
        let mut invalid = valid();
        let check = Check {
            name: CheckName::ScheduleLag,
            outcome: CheckOutcome::Invalid,
            scope: CheckScope::Run,
            figure: None,
            bound: None,
            advice: "the client was late".into(),
        };
        invalid.validity.checks.push(check);
        let rules = [rule("ttft.mean <= baseline * 2")];
        let report = gate(&rules, &[valid()], std::slice::from_ref(&invalid)).unwrap();
        assert_eq!(report.outcome, GateVerdict::Invalid);
        assert_eq!(report.invalid.as_deref(), Some("the client was late"));
        let error = gate(&rules, &[invalid], &[valid()]).unwrap_err();
        assert!(error.to_string().contains("the client was late"), "{error}");
    }
}
