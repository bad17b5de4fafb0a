//! Diagnoses why a server is slow, and suggests what to change.
//!
//! [`DiagnosisEvidence`] holds everything that is known. Each of the [`RULES`] is checked against it. A rule that
//! applies becomes a [`DiagnosisFinding`] with its facts, its cause, and the changes to make. The [`LEVERS`] state
//! which versions of vLLM have each change. For a rule that cannot be checked, the diagnosis states the evidence that
//! it needs.

mod client_rules;
mod evidence;
mod feature_rules;
mod latency_rules;
mod levers;
mod memory_rules;
mod rule_evaluation;
mod rules;
mod setting_rules;
mod spike_rules;
#[cfg(test)]
mod tests;
mod vllm_release;

use std::cmp::Reverse;

use serde::Serialize;

pub(crate) use crate::analysis::diagnose::rule_evaluation::{
    EvidenceSource, FactBound, FactTime, ObservedFact, RuleJudgment,
};
pub(crate) use crate::analysis::diagnose::vllm_release::VllmRelease;
use crate::model::server::Severity;
pub(crate) use evidence::DiagnosisEvidence;
use evidence::ServerSetting;
use levers::Lever;
pub(crate) use levers::{Availability, LEVERS, LeverInfo, VersionRange};
pub use rules::RULES;
pub(crate) use rules::{DiagnosisRule, RemedyStep};

/// The result of all rules.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Diagnosis {
    /// The server's engine, recognized by the names of its metrics. The flags are vLLM's for every engine.
    pub engine: Option<String>,
    /// The server's version of vLLM; `None` if no source reports it.
    pub version: Option<VllmRelease>,
    /// Metrics pages that the run found and could not parse.
    pub unread_metrics: Vec<String>,
    /// Shares that the server's counts make larger than 1. No rule uses them.
    pub impossible_shares: Vec<String>,
    /// The problems found, the most severe first.
    pub findings: Vec<DiagnosisFinding>,
    /// The rules that were checked and found nothing.
    pub fine: Vec<&'static str>,
    /// The rules that lack evidence.
    pub not_judged: Vec<UnjudgedRule>,
}

/// A problem that a rule found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct DiagnosisFinding {
    /// The rule's name.
    pub rule: &'static str,
    /// The problem, in a few words.
    pub title: &'static str,
    /// How severe the problem is.
    pub level: Severity,
    /// The observations that show the problem.
    pub facts: Vec<ObservedFact>,
    /// The cause of the problem.
    pub cause: &'static str,
    /// What to change, in this order. Changes that this server does not support, or that it already has, come last.
    pub changes: Vec<SuggestedChange>,
    /// The source of the rule.
    pub source: &'static str,
}

/// A change to make.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct SuggestedChange {
    /// The change, in words.
    pub what: &'static str,
    /// The flag or variable that makes the change; `None` if there is none.
    pub lever: Option<LeverStatus>,
}

/// The status of a lever on this server.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct LeverStatus {
    /// The lever as it is written on the command line or in the environment.
    pub name: &'static str,
    /// The versions of vLLM that have the lever.
    pub versions: VersionRange,
    /// Whether the server's version has the lever; `None` if the version is unknown.
    pub here: Option<Availability>,
    /// The current setting, if a source reports it.
    pub now: Option<String>,
    /// Why there is nothing left to change; `None` if there is, or if the setting is unknown.
    pub done: Option<NoChangeReason>,
    /// A further remark; may be empty.
    pub note: &'static str,
}

/// Why there is nothing left to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NoChangeReason {
    /// The server is already set this way.
    Set,
    /// This is already the default.
    ByDefault,
}

/// A rule that lacks evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct UnjudgedRule {
    /// The rule's name.
    pub rule: &'static str,
    /// The evidence that the rule needs.
    pub needs: &'static str,
}

/// Checks every rule against the evidence.
pub(crate) fn diagnose(evidence: &DiagnosisEvidence<'_>) -> Diagnosis {
    let mut diagnosis = Diagnosis {
        engine: evidence.engine().map(str::to_owned),
        version: evidence.version(),
        unread_metrics: evidence.run.map(|run| run.unread_metrics.clone()).unwrap_or_default(),
        impossible_shares: evidence
            .server_metrics()
            .flat_map(|(_, side)| side.impossible_shares())
            .map(|share| share.to_string())
            .collect(),
        findings: Vec::new(),
        fine: Vec::new(),
        not_judged: Vec::new(),
    };
    for rule in &RULES {
        match (rule.judge)(evidence) {
            RuleJudgment::Found { level, facts } => {
                diagnosis.findings.push(DiagnosisFinding::new(rule, level, facts, evidence));
            }
            RuleJudgment::Fine => diagnosis.fine.push(rule.name),
            RuleJudgment::Unknown => {
                diagnosis.not_judged.push(UnjudgedRule { rule: rule.name, needs: rule.needs });
            }
        }
    }
    // The sort is stable: findings of equal severity stay in the order of the table.
    diagnosis.findings.sort_by_key(|finding| Reverse(finding.level));
    diagnosis
}

impl DiagnosisFinding {
    fn new(
        rule: &DiagnosisRule,
        level: Severity,
        facts: Vec<ObservedFact>,
        evidence: &DiagnosisEvidence<'_>,
    ) -> Self {
        let change = |step: &RemedyStep| SuggestedChange {
            what: step.what,
            lever: step.lever.map(|lever| LeverStatus::from_evidence(lever.info(), evidence)),
        };
        let is_possible =
            |step: &&RemedyStep| !(step.lever == Some(Lever::EnforceEager) && evidence.is_on_cpu());
        let mut changes: Vec<_> = rule.steps.iter().filter(is_possible).map(change).collect();
        changes.sort_by_key(|change| change.lever.as_ref().is_some_and(LeverStatus::is_without_effect));
        Self {
            rule: rule.name,
            title: rule.title,
            level,
            facts,
            cause: rule.cause,
            changes,
            source: rule.source,
        }
    }
}

impl LeverStatus {
    fn from_evidence(lever: &LeverInfo, evidence: &DiagnosisEvidence<'_>) -> Self {
        let setting = lever.setting.map_or(ServerSetting::Unknown, |key| evidence.setting(key));
        let by_default =
            || (lever.in_v1 && setting_rules::is_v1(evidence)).then_some(NoChangeReason::ByDefault);
        let (now, done) = match setting {
            ServerSetting::Is(_, value) => {
                let done = lever.done.filter(|done| value.starts_with(done)).map(|_| NoChangeReason::Set);
                (Some(value), done)
            }
            ServerSetting::Default | ServerSetting::Unknown => (None, by_default()),
        };
        let version = evidence.version().filter(|_| lever.range.since.is_some());
        let here = version.map(|version| lever.range.availability(version));
        Self { name: lever.name, versions: lever.range, here, now, done, note: lever.note }
    }

    /// Whether the lever has no effect on this server.
    fn is_without_effect(&self) -> bool {
        self.done.is_some() || matches!(self.here, Some(Availability::Gone | Availability::NotYet))
    }
}
