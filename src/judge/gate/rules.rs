//! Where rules come from: a file that is checked in, or what a gate asks if nobody says otherwise.

use serde::Deserialize;

use super::{GateRule, Severity};
use crate::core::rule::Rule;
use crate::core::run::Run;

/// What is asked if nobody says otherwise: no worse than the baseline by more than 5 % *and* more than an amount below
/// which nobody cares. Tails are asked about too, and only warned of: a run of usual length seldom settles them.
const DEFAULTS: [(&str, Severity); 7] = [
    ("ttft.mean <= baseline * 1.05 or <= baseline + 5ms", Severity::Fail),
    ("tpot.mean <= baseline * 1.05 or <= baseline + 0.5ms", Severity::Fail),
    ("e2el.mean <= baseline * 1.05 or <= baseline + 50ms", Severity::Fail),
    ("output_throughput >= baseline * 0.95", Severity::Fail),
    ("failure_rate <= baseline + 1%", Severity::Fail),
    ("goodput_ratio >= baseline - 1%", Severity::Fail),
    ("ttft.p95 <= baseline * 1.1 or <= baseline + 10ms", Severity::Warn),
];

/// The default rules whose figures the baseline has. A throughput is asked about where the server decides it; under a
/// load that is sent at its own times it is what was sent.
pub fn defaults(baseline: &[Run]) -> Vec<GateRule> {
    let asked = |rule: &Rule| {
        let has = |run: &Run| rule.figure.value(run).is_some();
        let decided_by_server =
            |run: &Run| run.spec.load.is_closed_loop() || !run.spec.load.request_rate.is_finite();
        let is_rate = rule.figure.to_string() == "output_throughput";
        baseline.iter().any(|run| has(run) && (!is_rate || decided_by_server(run)))
    };
    let rules = DEFAULTS.into_iter().map(|(text, severity)| GateRule {
        rule: text.parse().expect("the default rules are rules"),
        severity,
    });
    rules.filter(|rule| asked(&rule.rule)).collect()
}

/// Why a file of rules cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RulesError {
    /// It cannot be read.
    #[error(
        "line {line}: {why}; write a rule as `[[rule]]`, `rule = \"ttft.p95 < 500ms\"`, `severity = \"warn\"` (or \"fail\")"
    )]
    Format {
        /// Where, from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// There is nothing in it.
    #[error("it has no rule; write one as `[[rule]]` and, below it, `rule = \"ttft.p95 < 500ms\"`")]
    Empty,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    rule: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    rule: Rule,
    #[serde(default)]
    severity: Severity,
}

/// Reads the rules of a TOML file.
pub fn read(text: &str) -> Result<Vec<GateRule>, RulesError> {
    let file: File = toml::from_str(text).map_err(|error: toml::de::Error| {
        let at = error.span().map_or(0, |span| span.start);
        let line = 1 + text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count();
        RulesError::Format { line, why: error.message().split_whitespace().collect::<Vec<_>>().join(" ") }
    })?;
    let rules = file.rule.into_iter().map(|Entry { rule, severity }| GateRule { rule, severity });
    let rules: Vec<_> = rules.collect();
    if rules.is_empty() { Err(RulesError::Empty) } else { Ok(rules) }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;
    use crate::core::run::sample;
    use crate::core::units::Rate;

    #[test]
    fn a_file_of_rules_has_severities() {
        let rules = read(
            "[[rule]]\nrule = \"p99_ttft_ms < 500\"\n\n[[rule]]\nrule = \"tpot.mean <= baseline * 1.05\"\nseverity = \"warn\"\n",
        )
        .unwrap();
        let texts: Vec<String> = rules.iter().map(|rule| rule.rule.to_string()).collect();
        assert_eq!(texts, ["ttft.p99 < 500ms", "tpot.mean <= baseline * 1.05"]);
        assert_eq!([rules[0].severity, rules[1].severity], [Severity::Fail, Severity::Warn]);
    }

    #[test]
    fn what_is_no_file_of_rules_is_refused_with_its_line() {
        for (text, expected) in [
            ("[[rule]]\nrule = \"ttft.p95\"\n", "line 2: "),
            ("[[rule]]\nrule = \"ttft.p95 < 1s\"\nseverity = \"deadly\"\n", "line 3: "),
            ("[[rule]]\nrules = \"ttft.p95 < 1s\"\n", "line 2: "),
            ("[[rules]]\n", "line 1: "),
            ("rule = 5", "line 1: "),
            ("[[rule]", "line 1: "),
            ("", "it has no rule"),
            ("rule = []", "it has no rule"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.starts_with(expected) && error.contains("[[rule]]"), "{text}: {error}");
        }
    }

    #[test]
    fn the_defaults_ask_about_what_the_baseline_has() {
        let figures = |run: Run| {
            let rules = defaults(&[run]);
            rules.iter().map(|rule| rule.rule.figure.to_string()).collect::<Vec<_>>()
        };
        let open = figures(sample::run(false));
        assert!(open.contains(&"ttft.mean".to_owned()) && !open.contains(&"goodput_ratio".to_owned()));
        assert!(!open.contains(&"output_throughput".to_owned()), "the client decides it");
        let mut closed = sample::run(false);
        closed.spec.load.request_rate = Rate::INFINITE;
        closed.spec.load.max_concurrency = NonZeroUsize::new(8);
        assert!(figures(closed).contains(&"output_throughput".to_owned()));
    }
}
