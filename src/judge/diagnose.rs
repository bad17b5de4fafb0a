//! Why a server is slow, and what to change.
//!
//! Whatever is known is [`Evidence`]; each of the [`RULES`] is held against it; what is so becomes a [`Finding`] with its
//! facts, its cause, and what to change, of which the [`LEVERS`] say in which versions it exists. What cannot be judged is
//! told with what would be needed.

mod case;
mod client;
mod evidence;
mod latency;
mod levers;
mod memory;
mod rules;
mod settings;
mod spikes;
#[cfg(test)]
mod tests;
mod version;

use std::cmp::Reverse;

use serde::Serialize;

use crate::core::server::Level;
pub use case::{Bound, Fact, Judgement, Origin, Start, When};
pub use evidence::Evidence;
use evidence::Setting;
pub use levers::{Availability, LEVERS, Lever, LeverFacts, Range, Since};
pub use rules::{RULES, Rule, Step};
pub use version::{NoVersion, Version};

/// What came of the rules.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diagnosis {
    /// Whose server it is, by the names of its metrics; the flags are vLLM's in any case.
    pub engine: Option<String>,
    /// The server's version of vLLM, if anybody told.
    pub version: Option<Version>,
    /// What is wrong, the worst first.
    pub findings: Vec<Finding>,
    /// Rules that were judged, and found nothing.
    pub fine: Vec<&'static str>,
    /// Rules for which evidence is missing.
    pub not_judged: Vec<NotJudged>,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// The rule's name.
    pub rule: &'static str,
    /// What is so.
    pub title: &'static str,
    /// How bad that is.
    pub level: Level,
    /// What was seen.
    pub facts: Vec<Fact>,
    /// Why it is so.
    pub cause: &'static str,
    /// What to change, in this order; what cannot be changed on this server, or is so already, comes last.
    pub changes: Vec<Change>,
    /// Where the rule is from.
    pub source: &'static str,
}

/// Something to change.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// What to do.
    pub what: &'static str,
    /// With what.
    pub lever: Option<Handle>,
}

/// A lever, as it is on this server.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Handle {
    /// As it is written.
    pub name: &'static str,
    /// In which versions it exists.
    pub versions: Range,
    /// Whether the server's version has it; `None` if nobody told the version.
    pub here: Option<Availability>,
    /// What it is set to now, if anybody told.
    pub now: Option<String>,
    /// Whether there is nothing left to change, if anybody told.
    pub done: Option<Done>,
    /// What else is to be known; may be empty.
    pub note: &'static str,
}

/// Why there is nothing left to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Done {
    /// It is set so.
    Set,
    /// It is so unless somebody says otherwise.
    ByDefault,
}

/// A rule for which evidence is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct NotJudged {
    /// The rule's name.
    pub rule: &'static str,
    /// What would be needed.
    pub needs: &'static str,
}

/// Holds every rule against what is known.
pub fn diagnose(evidence: &Evidence<'_>) -> Diagnosis {
    let mut diagnosis = Diagnosis {
        engine: evidence.engine().map(str::to_owned),
        version: evidence.version(),
        findings: Vec::new(),
        fine: Vec::new(),
        not_judged: Vec::new(),
    };
    for rule in &RULES {
        match (rule.judge)(evidence) {
            Judgement::Found { level, facts } => {
                diagnosis.findings.push(Finding::of(rule, level, facts, evidence));
            }
            Judgement::Fine => diagnosis.fine.push(rule.name),
            Judgement::Unknown => {
                diagnosis.not_judged.push(NotJudged { rule: rule.name, needs: rule.needs });
            }
        }
    }
    // Stable: what is equally bad stays in the order of the table.
    diagnosis.findings.sort_by_key(|finding| Reverse(finding.level));
    diagnosis
}

impl Finding {
    fn of(rule: &Rule, level: Level, facts: Vec<Fact>, evidence: &Evidence<'_>) -> Self {
        let change = |step: &Step| Change {
            what: step.what,
            lever: step.lever.map(|lever| Handle::of(lever.facts(), evidence)),
        };
        let mut changes: Vec<_> = rule.steps.iter().map(change).collect();
        changes.sort_by_key(|change| change.lever.as_ref().is_some_and(Handle::is_moot));
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

impl Handle {
    fn of(lever: &LeverFacts, evidence: &Evidence<'_>) -> Self {
        let setting = lever.setting.map_or(Setting::Unknown, |key| evidence.setting(key));
        let by_default = || (lever.in_v1 && settings::is_v1(evidence)).then_some(Done::ByDefault);
        let (now, done) = match setting {
            Setting::Is(_, value) => {
                let done = lever.done.filter(|done| value.starts_with(done)).map(|_| Done::Set);
                (Some(value), done)
            }
            Setting::Default | Setting::Unknown => (None, by_default()),
        };
        let version = evidence.version().filter(|_| lever.range.since.is_some());
        let here = version.map(|version| lever.range.at(version));
        Self { name: lever.name, versions: lever.range, here, now, done, note: lever.note }
    }

    /// Whether nothing can be done with it on this server.
    fn is_moot(&self) -> bool {
        self.done.is_some() || matches!(self.here, Some(Availability::Gone | Availability::NotYet))
    }
}
