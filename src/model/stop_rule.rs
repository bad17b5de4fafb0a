//! Rules that end a series of runs: `ttft.p95 > 2s`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::rule::{MetricRule, RuleError, parse_rule};
use crate::model::metric_id::MetricId;
use crate::model::run::Run;

/// A condition on a metric of a run, with the notation of a [`MetricRule`]. Each side of the limit is allowed: a series
/// may end because a metric is bad, or because it is good.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct StopRule(MetricRule);

/// Why a text is not a stop rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StopRuleError {
    /// The text is not a rule.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// The rule compares with a baseline.
    #[error("`{0}` has a baseline, and there is none here: write a number, such as ttft.p95>2s")]
    Baseline(String),
}

impl StopRule {
    /// The metric of the condition.
    pub(crate) fn metric(&self) -> MetricId {
        self.0.figure
    }

    /// Whether the condition is true for a run; `None` if the run does not have the metric.
    pub(crate) fn is_true(&self, run: &Run) -> Option<bool> {
        self.0.is_rule_met(self.0.figure.value(run)?, None)
    }
}

impl FromStr for StopRule {
    type Err = StopRuleError;

    fn from_str(text: &str) -> Result<Self, StopRuleError> {
        let rule = parse_rule(text, |_, _| true)?;
        if rule.needs_baseline() { Err(StopRuleError::Baseline(rule.to_string())) } else { Ok(Self(rule)) }
    }
}

impl fmt::Display for StopRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<String> for StopRule {
    type Error = StopRuleError;

    fn try_from(text: String) -> Result<Self, StopRuleError> {
        text.parse()
    }
}

impl From<StopRule> for String {
    fn from(rule: StopRule) -> Self {
        rule.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::sample_run;

    fn rule(text: &str) -> StopRule {
        text.parse().unwrap()
    }

    #[test]
    fn a_series_may_end_because_a_metric_is_bad_or_good() {
        let run = sample_run::run(false);
        assert_eq!(rule("ttft.mean>99ms").is_true(&run), Some(true));
        assert_eq!(rule("ttft.mean > 2s").is_true(&run), Some(false));
        assert_eq!(rule("ttft.mean<2s").is_true(&run), Some(true));
        assert_eq!(rule("failure_rate>=50%").is_true(&run), Some(true));
        assert_eq!(rule("goodput_ratio<90%").is_true(&run), None, "the run has no limits of good requests");
        assert_eq!(rule("ttft.p95>2s").to_string(), "ttft.p95 > 2000ms");
    }

    #[test]
    fn what_is_not_a_condition_says_how_to_write_one() {
        for text in ["", "ttft.p95", "ttft.p95>soon", "speed>1", "ttft.p95>baseline * 2"] {
            let error = text.parse::<StopRule>().unwrap_err().to_string();
            assert!(error.contains("ttft.p95") || error.contains("500ms"), "{text}: {error}");
        }
    }
}
