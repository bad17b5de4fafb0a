//! Whether a result is believable: whether its figures can be true together, and whether they mean what they say.
//!
//! Every check reads one [`StatedResult`] and nothing else, so that it applies to results of all tools alike. A check
//! whose figures are missing says which; a figure is never assumed.

use serde::Serialize;

use crate::model::run::Run;
use crate::model::stated::StatedResult;
use crate::model::validity::{Check, CheckOutcome};

mod distributions;
mod load;
mod requests;
#[cfg(test)]
mod tests;
mod totals;

/// What the checks of a result found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Audit {
    /// The objections, the worst first.
    pub findings: Vec<AuditFinding>,
    /// The checks that found nothing.
    pub passed: Vec<AuditCheck>,
    /// The checks whose figures the file lacks.
    pub not_checked: Vec<UncheckedItem>,
}

/// An objection to a figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct AuditFinding {
    /// The check.
    pub check: AuditCheck,
    /// How bad it is.
    pub level: AuditLevel,
    /// The name of the figure.
    pub figure: String,
    /// The figure and what it would have to be; `None` where the check compares no numbers.
    #[serde(flatten)]
    pub measure: Option<AuditMeasure>,
    /// Why the figure is in doubt.
    pub reason: String,
}

/// A figure and its bound.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct AuditMeasure {
    /// The figure.
    pub value: f64,
    /// How the figure would have to relate to the bound.
    pub relation: Relation,
    /// The bound.
    pub bound: f64,
    /// The unit of both.
    pub unit: &'static str,
}

/// The relation of a figure to its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Relation {
    /// At most the bound.
    AtMost,
    /// At least the bound.
    AtLeast,
    /// About the bound.
    About,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AuditLevel {
    /// The figure may be right but says less than it seems to.
    Doubtful,
    /// The figure does not describe what it claims to describe.
    Unbelievable,
    /// Figures of the file exclude each other.
    Impossible,
}

/// A check that could not be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct UncheckedItem {
    /// The check.
    pub check: AuditCheck,
    /// The figures that the file lacks.
    pub missing: &'static str,
}

/// The checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AuditCheck {
    /// Statistics of one latency fit each other.
    Statistics,
    /// Percentiles have enough requests.
    PercentileSamples,
    /// TTFT is within E2E.
    TtftWithinE2e,
    /// TTFT and the time per token add up to E2E.
    DecodeTime,
    /// The statistics are those of the requests in the file.
    StatedAgainstRequests,
    /// Successes have output tokens.
    ZeroTokens,
    /// Prompts differ.
    RepeatedPrompts,
    /// Rates times duration are the totals.
    Totals,
    /// The run is as long as its longest request.
    LongestRequest,
    /// Failures are few, because latencies leave them out.
    Failures,
    /// Tokens agree with a second count.
    TokenCounts,
    /// Little's law gives the stated concurrency.
    LittlesLaw,
    /// A closed loop keeps its concurrency.
    ConcurrencyKept,
    /// Requests arrive at the rate that was asked for.
    ArrivalRate,
    /// The verdict of this program on its own run.
    OwnVerdict,
}

/// The findings of a check, or the figures that it lacks.
type CheckResult = Result<Vec<AuditFinding>, &'static str>;

type CheckFn = fn(&StatedResult) -> CheckResult;

const CHECKS: [(AuditCheck, CheckFn); 14] = [
    (AuditCheck::Statistics, distributions::statistics),
    (AuditCheck::PercentileSamples, distributions::samples),
    (AuditCheck::TtftWithinE2e, requests::ttft_within_e2e),
    (AuditCheck::DecodeTime, requests::decode_time),
    (AuditCheck::StatedAgainstRequests, requests::against_stated),
    (AuditCheck::ZeroTokens, requests::zero_tokens),
    (AuditCheck::RepeatedPrompts, requests::repeated_prompts),
    (AuditCheck::Totals, totals::totals),
    (AuditCheck::LongestRequest, totals::longest_request),
    (AuditCheck::Failures, totals::failures),
    (AuditCheck::TokenCounts, totals::token_counts),
    (AuditCheck::LittlesLaw, load::littles_law),
    (AuditCheck::ConcurrencyKept, load::concurrency_kept),
    (AuditCheck::ArrivalRate, load::arrival_rate),
];

impl Audit {
    /// Checks a result of any tool.
    pub(crate) fn of_stated(result: &StatedResult) -> Self {
        let mut audit = Self { findings: Vec::new(), passed: Vec::new(), not_checked: Vec::new() };
        for (check, find) in CHECKS {
            match find(result) {
                Ok(findings) if findings.is_empty() => audit.passed.push(check),
                Ok(findings) => audit.findings.extend(findings),
                Err(missing) => audit.not_checked.push(UncheckedItem { check, missing }),
            }
        }
        audit.sorted()
    }

    /// Checks a run of this program, whose verdict counts too.
    pub(crate) fn of_run(run: &Run) -> Self {
        let mut audit = Self::of_stated(&run.to_stated());
        let objection = |check: &Check| AuditFinding {
            check: AuditCheck::OwnVerdict,
            level: AuditLevel::Unbelievable,
            figure: "verdict INVALID".to_owned(),
            measure: None,
            reason: check.reason(),
        };
        let objections: Vec<_> = run.validity.checks_with(CheckOutcome::Invalid).map(objection).collect();
        if objections.is_empty() {
            audit.passed.push(AuditCheck::OwnVerdict);
        }
        audit.findings.extend(objections);
        audit.sorted()
    }

    /// Whether no figure is impossible or unbelievable.
    pub(crate) fn is_believable(&self) -> bool {
        self.findings.iter().all(|finding| finding.level == AuditLevel::Doubtful)
    }

    fn sorted(mut self) -> Self {
        self.findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
        self
    }
}

impl AuditCheck {
    /// The check's name in reports.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Statistics => "statistics of a latency",
            Self::PercentileSamples => "requests per percentile",
            Self::TtftWithinE2e => "TTFT within E2E",
            Self::DecodeTime => "TTFT + TPOT × (tokens − 1) against E2E",
            Self::StatedAgainstRequests => "statistics against the file's requests",
            Self::ZeroTokens => "successes without tokens",
            Self::RepeatedPrompts => "repeated prompts",
            Self::Totals => "rates × duration against totals",
            Self::LongestRequest => "duration against the longest request",
            Self::Failures => "failures left out of latencies",
            Self::TokenCounts => "tokens against a second count",
            Self::LittlesLaw => "Little's law",
            Self::ConcurrencyKept => "concurrency kept",
            Self::ArrivalRate => "offered against achieved rate",
            Self::OwnVerdict => "verdict of the run",
        }
    }
}

impl AuditLevel {
    /// The level's name in reports.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Doubtful => "DOUBTFUL",
            Self::Unbelievable => "UNBELIEVABLE",
            Self::Impossible => "IMPOSSIBLE",
        }
    }
}

impl AuditMeasure {
    fn at_most(value: f64, bound: f64, unit: &'static str) -> Self {
        Self { value, relation: Relation::AtMost, bound, unit }
    }

    fn at_least(value: f64, bound: f64, unit: &'static str) -> Self {
        Self { value, relation: Relation::AtLeast, bound, unit }
    }

    fn about(value: f64, bound: f64, unit: &'static str) -> Self {
        Self { value, relation: Relation::About, bound, unit }
    }
}

/// The deviation of a value from the one that it would have to be, as a share of the latter.
fn deviation(value: f64, expected: f64) -> f64 {
    if value == expected { 0.0 } else { (value - expected).abs() / expected.abs() }
}
