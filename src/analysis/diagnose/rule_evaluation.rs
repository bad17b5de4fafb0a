//! The result of checking a rule, and the facts that it rests on.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::model::server::Severity;
use crate::model::validity::Quantity;
use crate::seconds;
use crate::server::log::LogTime;

/// The source of a piece of evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EvidenceSource {
    /// A saved run: what the client measured, and what the server reported during the run.
    Result,
    /// The server's log.
    Log,
    /// The live server's metrics.
    Live,
}

/// An observation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ObservedFact {
    /// The source of the observation.
    pub origin: EvidenceSource,
    /// What was observed.
    pub what: String,
    /// The measured value; `None` for a fact without a value.
    pub figure: Option<Quantity>,
    /// The bound that the value is compared with.
    pub bound: Option<FactBound>,
    /// When the fact was observed, and for how long.
    pub when: Option<TimeRange>,
}

/// The bound beyond which a value indicates a problem.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FactBound {
    /// A value above this bound indicates a problem.
    Above(Quantity),
    /// A value below this bound indicates a problem.
    Below(Quantity),
}

/// A range of time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct TimeRange {
    /// The start of the range.
    #[serde(flatten)]
    pub start: FactTime,
    /// The length of the range; zero for an instant.
    #[serde(rename = "lasted_s", with = "seconds")]
    pub lasted: Duration,
}

/// A point in time, on the clock of its source.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub enum FactTime {
    /// Time since the first request of a run was due, or since the first sample of a live server.
    #[serde(rename = "at_s", with = "seconds")]
    Offset(Duration),
    /// A time stamp of the log.
    #[serde(rename = "at")]
    Moment(LogTime),
}

impl ObservedFact {
    pub(super) fn new(origin: EvidenceSource, what: impl Into<String>) -> Self {
        Self { origin, what: what.into(), figure: None, bound: None, when: None }
    }

    pub(super) fn with_quantity(self, figure: Quantity) -> Self {
        Self { figure: Some(figure), ..self }
    }

    pub(super) fn above(self, bound: Quantity) -> Self {
        Self { bound: Some(FactBound::Above(bound)), ..self }
    }

    pub(super) fn below(self, bound: Quantity) -> Self {
        Self { bound: Some(FactBound::Below(bound)), ..self }
    }

    pub(super) fn with_time(self, when: Option<TimeRange>) -> Self {
        Self { when, ..self }
    }
}

impl fmt::Display for FactTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offset(offset) => write!(f, "{:.2} s", offset.as_secs_f64()),
            Self::Moment(moment) => moment.fmt(f),
        }
    }
}

/// The result of checking a rule.
#[derive(Debug, Clone, PartialEq)]
pub enum RuleJudgment {
    /// The problem is present.
    Found {
        /// How severe the problem is.
        level: Severity,
        /// The observations that show the problem.
        facts: Vec<ObservedFact>,
    },
    /// The rule was checked, and the problem is absent.
    Fine,
    /// No evidence is available.
    Unknown,
}

/// The state of a rule while it is checked.
#[derive(Debug, Default)]
pub(super) struct RuleEvaluation {
    is_checked: bool,
    level: Option<Severity>,
    facts: Vec<ObservedFact>,
}

impl RuleEvaluation {
    /// Records that evidence is available: without a finding, the problem is then absent.
    pub(super) fn mark_checked(&mut self) {
        self.is_checked = true;
    }

    /// Records that the problem is present, with a fact that shows it.
    pub(super) fn add_finding(&mut self, level: Severity, fact: ObservedFact) {
        self.level = self.level.max(Some(level));
        self.facts.push(fact);
    }

    /// Adds a fact that is worth reporting with a finding but does not show the problem.
    pub(super) fn add_note(&mut self, fact: ObservedFact) {
        self.facts.push(fact);
    }

    /// Lowers the severity of the finding to at most this level.
    pub(super) fn cap_severity(&mut self, level: Severity) {
        self.level = self.level.map(|found| found.min(level));
    }

    /// Whether a fact shows the problem.
    pub(super) fn is_found(&self) -> bool {
        self.level.is_some()
    }

    /// Returns the result.
    pub(super) fn into_judgment(self) -> RuleJudgment {
        match self.level {
            Some(level) => RuleJudgment::Found { level, facts: self.facts },
            None if self.is_checked => RuleJudgment::Fine,
            None => RuleJudgment::Unknown,
        }
    }
}
