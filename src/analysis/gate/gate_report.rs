//! The verdict of a gate over all findings.

use serde::{Deserialize, Serialize};

use super::{RuleAnswer, RuleFinding, RuleSeverity};
use crate::analysis::compare::{ClaimScope, SideInfo};

/// The effect of a rule that remains undecided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnUndecided {
    /// An undecided rule has no effect.
    Pass,
    /// The gate passes with a warning.
    #[default]
    Warn,
    /// The gate fails.
    Fail,
}

/// The verdict of a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum GateVerdict {
    /// No finding fails the gate, and none warns.
    Pass,
    /// The gate passes with a warning.
    Warn,
    /// A rule is violated.
    Fail,
    /// The candidate's measurement is INVALID, so it never passes.
    Invalid,
}

/// The effect of a finding on the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RuleStatus {
    /// The finding has no effect.
    Fine,
    /// The finding is a warning.
    Warning,
    /// The finding fails the gate.
    Failure,
}

/// The result of a gate.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
#[must_use = "its verdict says whether the candidate passes"]
pub struct GateReport {
    /// The verdict.
    pub outcome: GateVerdict,
    /// Why the candidate is INVALID; `None` if it is valid.
    pub invalid: Option<String>,
    /// The baseline, if a rule needs one.
    pub(crate) baseline: Option<SideInfo>,
    /// The candidate.
    pub(crate) candidate: SideInfo,
    /// The scope of the rules that compare with the baseline; `None` if there are none.
    pub(crate) scope: Option<ClaimScope>,
    /// The findings, in the order of the rules.
    pub findings: Vec<RuleFinding>,
    /// What a reader must know about results of other tools.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) caveats: Vec<String>,
    /// The false-alarm probability.
    pub alpha: f64,
    /// The effect of undecided rules.
    pub(crate) on_unsettled: OnUndecided,
    /// The number of interim analyses done, and the number planned.
    pub(crate) looks: [usize; 2],
}

impl GateReport {
    /// Computes the verdict.
    pub(crate) fn conclude(mut self) -> Self {
        let worst = self.findings.iter().map(|finding| self.rule_status(finding)).max();
        self.outcome = match (&self.invalid, worst) {
            (Some(_), _) => GateVerdict::Invalid,
            (None, Some(RuleStatus::Failure)) => GateVerdict::Fail,
            (None, Some(RuleStatus::Warning)) => GateVerdict::Warn,
            (None, Some(RuleStatus::Fine) | None) => GateVerdict::Pass,
        };
        self
    }

    /// The effect of a finding on the gate. A rule that only warns never fails the gate, whatever the effect of
    /// undecided rules.
    pub(crate) fn rule_status(&self, finding: &RuleFinding) -> RuleStatus {
        let at_most = match finding.rule.severity {
            RuleSeverity::Fail => RuleStatus::Failure,
            RuleSeverity::Warn => RuleStatus::Warning,
        };
        let standing = match (finding.answer, self.on_unsettled) {
            (RuleAnswer::Pass, _) | (RuleAnswer::CannotTell { .. }, OnUndecided::Pass) => RuleStatus::Fine,
            (RuleAnswer::CannotTell { .. }, OnUndecided::Warn) => RuleStatus::Warning,
            (RuleAnswer::Fail, _) | (RuleAnswer::CannotTell { .. }, OnUndecided::Fail) => RuleStatus::Failure,
        };
        standing.min(at_most)
    }

    /// The numbers of rules that passed, that failed, and that are undecided.
    pub fn answer_counts(&self) -> [usize; 3] {
        let count =
            |is: fn(RuleAnswer) -> bool| self.findings.iter().filter(|finding| is(finding.answer)).count();
        [
            count(|answer| answer == RuleAnswer::Pass),
            count(|answer| answer == RuleAnswer::Fail),
            count(|answer| !answer.is_settled()),
        ]
    }
}
