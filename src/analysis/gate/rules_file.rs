//! A file of rules, for version control.

use serde::Deserialize;

use super::{GateRule, RuleSeverity};
use crate::model::rule::MetricRule;

/// Why a file of rules cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RulesError {
    /// The file cannot be parsed.
    #[error(
        "line {line}: {why}; write a rule as `[[rule]]`, `rule = \"ttft.p95 < 500ms\"`, `severity = \"warn\"` (or \"fail\")"
    )]
    Format {
        /// The line, counted from 1.
        line: usize,
        /// The reason.
        why: String,
    },
    /// The file contains no rules.
    #[error("it has no rule; write one as `[[rule]]` and, below it, `rule = \"ttft.p95 < 500ms\"`")]
    Empty,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RulesFile {
    #[serde(default)]
    rule: Vec<RuleEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleEntry {
    rule: MetricRule,
    #[serde(default)]
    severity: RuleSeverity,
}

/// Parses the rules of a TOML file.
pub(crate) fn parse_rules(text: &str) -> Result<Vec<GateRule>, RulesError> {
    let file: RulesFile = toml::from_str(text).map_err(|error: toml::de::Error| {
        let at = error.span().map_or(0, |span| span.start);
        let line = 1 + text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count();
        RulesError::Format { line, why: error.message().split_whitespace().collect::<Vec<_>>().join(" ") }
    })?;
    let rules = file.rule.into_iter().map(|RuleEntry { rule, severity }| GateRule { rule, severity });
    let rules: Vec<_> = rules.collect();
    if rules.is_empty() { Err(RulesError::Empty) } else { Ok(rules) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_rules_has_severities() {
        let rules = parse_rules(
            "[[rule]]\nrule = \"p99_ttft_ms < 500\"\n\n[[rule]]\nrule = \"tpot.mean <= baseline * 1.05\"\nseverity = \"warn\"\n",
        )
        .unwrap();
        let texts: Vec<String> = rules.iter().map(|rule| rule.rule.to_string()).collect();
        assert_eq!(texts, ["ttft.p99 < 500ms", "tpot.mean <= baseline * 1.05"]);
        assert_eq!([rules[0].severity, rules[1].severity], [RuleSeverity::Fail, RuleSeverity::Warn]);
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
            let error = parse_rules(text).unwrap_err().to_string();
            assert!(error.starts_with(expected) && error.contains("[[rule]]"), "{text}: {error}");
        }
    }
}
