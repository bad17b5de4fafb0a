//! What all findings come to.

use serde::{Deserialize, Serialize};

use super::{Answer, Finding, Severity};
use crate::judge::compare::{Party, Scope};

/// What happens when a rule has no answer in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnUnsettled {
    /// Nothing.
    Pass,
    /// The gate passes and says so.
    #[default]
    Warn,
    /// The gate fails.
    Fail,
}

/// The end of a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Every rule is kept, as far as it matters.
    Pass,
    /// The same, with something to look at.
    Warn,
    /// A rule is broken.
    Fail,
    /// The candidate's numbers are not to be believed: it never passes.
    Invalid,
}

/// What a finding does to the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// Nothing.
    Fine,
    /// It is to be looked at.
    Warning,
    /// The gate fails.
    Failure,
}

/// A gate that was held.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ruling {
    /// What it comes to.
    pub outcome: Outcome,
    /// Why the candidate is INVALID, if it is.
    pub invalid: Option<String>,
    /// The baseline, if a rule needs one.
    pub baseline: Option<Party>,
    /// The candidate.
    pub candidate: Party,
    /// What the rules against the baseline are about; `None` if there are none.
    pub scope: Option<Scope>,
    /// The rules, in the order given.
    pub findings: Vec<Finding>,
    /// The chance of a false alarm.
    pub alpha: f64,
    /// What becomes of rules without an answer.
    pub on_unsettled: OnUnsettled,
    /// How many looks were taken, and how many were planned.
    pub looks: [usize; 2],
}

impl Ruling {
    /// Draws the conclusion.
    #[must_use]
    pub fn concluded(mut self) -> Self {
        let worst = self.findings.iter().map(|finding| self.standing(finding)).max();
        self.outcome = match (&self.invalid, worst) {
            (Some(_), _) => Outcome::Invalid,
            (None, Some(Standing::Failure)) => Outcome::Fail,
            (None, Some(Standing::Warning)) => Outcome::Warn,
            (None, Some(Standing::Fine) | None) => Outcome::Pass,
        };
        self
    }

    /// What a finding does. A rule that only warns never fails the gate, whatever is to become of unsettled ones.
    pub fn standing(&self, finding: &Finding) -> Standing {
        let at_most = match finding.rule.severity {
            Severity::Fail => Standing::Failure,
            Severity::Warn => Standing::Warning,
        };
        let standing = match (finding.answer, self.on_unsettled) {
            (Answer::Pass, _) | (Answer::CannotTell { .. }, OnUnsettled::Pass) => Standing::Fine,
            (Answer::CannotTell { .. }, OnUnsettled::Warn) => Standing::Warning,
            (Answer::Fail, _) | (Answer::CannotTell { .. }, OnUnsettled::Fail) => Standing::Failure,
        };
        standing.min(at_most)
    }

    /// How many rules were kept, broken, and without an answer.
    pub fn counts(&self) -> [usize; 3] {
        let count =
            |is: fn(Answer) -> bool| self.findings.iter().filter(|finding| is(finding.answer)).count();
        [
            count(|answer| answer == Answer::Pass),
            count(|answer| answer == Answer::Fail),
            count(|answer| !answer.is_settled()),
        ]
    }
}
