//! A file of rules that a baseline can decide, with the reason of each margin.

use std::io::{self, Write};

use crate::analysis::gate::{RuleSeverity, SuggestedRule};

/// Where rules come from.
pub(crate) struct RulesOrigin<'a> {
    /// The folder of the baseline.
    pub folder: &'a str,
    /// The number of runs.
    pub runs: usize,
    /// The day on which the file is written.
    pub date: &'a str,
}

/// Writes the file.
pub(crate) fn render(
    rules: &[SuggestedRule],
    origin: &RulesOrigin<'_>,
    to: &mut impl Write,
) -> io::Result<()> {
    let RulesOrigin { folder, runs, date } = origin;
    writeln!(to, "# Rules for `servegauge gate`, written on {date} from {runs} runs in {folder}.")?;
    writeln!(
        to,
        "# A margin is at least twice the difference by which another run of the same server may differ"
    )?;
    writeln!(
        to,
        "# from the baseline (95 %), so that a server that has not changed passes. Edit them as you like."
    )?;
    rules.iter().try_for_each(|suggested| rule(suggested, to))
}

fn rule(suggested: &SuggestedRule, to: &mut impl Write) -> io::Result<()> {
    writeln!(to)?;
    if let Some(noise) = suggested.noise {
        writeln!(to, "# Another run may differ by ±{:.1} %.", noise * 100.0)?;
    }
    if suggested.is_too_noisy {
        writeln!(
            to,
            "# That is too much for this rule to fail a gate: measure longer runs, or more of them."
        )?;
    }
    writeln!(to, "[[rule]]\nrule = \"{}\"", suggested.rule.rule)?;
    match suggested.rule.severity {
        RuleSeverity::Fail => Ok(()),
        _ => writeln!(to, "severity = \"warn\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::gate::{parse_rules, suggest_rules};
    use crate::testing::sample_run;

    #[test]
    fn the_file_is_one_that_the_gate_takes() {
        let rules = suggest_rules(&[sample_run::run(false), sample_run::run(false)]);
        let origin = RulesOrigin { folder: "baseline", runs: 2, date: "2026-12-01" };
        let mut text = Vec::new();
        render(&rules, &origin, &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let parsed = parse_rules(&text).unwrap();
        let suggested: Vec<_> = rules.into_iter().map(|suggested| suggested.rule).collect();
        assert_eq!(parsed, suggested);
        assert!(
            text.starts_with("# Rules for `servegauge gate`, written on 2026-12-01 from 2 runs in baseline.")
        );
        assert!(
            text.contains("# Another run may differ by ±0.0 %.\n[[rule]]\nrule = \"ttft.mean <= "),
            "{text}"
        );
    }
}
