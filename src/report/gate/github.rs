//! A gate's result as GitHub annotations: workflow commands on standard output that GitHub shows beside the log.

use std::io::{self, Write};

use super::{conclusion_line, measured_text};
use crate::analysis::gate::{GateReport, GateVerdict, RuleStatus};

/// Writes an annotation for each finding that is not a pass, and one for an INVALID candidate.
pub(crate) fn annotations(ruling: &GateReport, to: &mut impl Write) -> io::Result<()> {
    if ruling.outcome == GateVerdict::Invalid {
        annotate("error", "servegauge gate", &conclusion_line(ruling), to)?;
    }
    for finding in &ruling.findings {
        let command = match ruling.rule_status(finding) {
            RuleStatus::Fine => continue,
            RuleStatus::Warning => "warning",
            RuleStatus::Failure => "error",
        };
        annotate(command, &format!("servegauge gate: {}", finding.rule.rule), &measured_text(finding), to)?;
    }
    Ok(())
}

/// Writes an annotation for a gate that has no result.
pub(crate) fn annotate_error(why: &str, to: &mut impl Write) -> io::Result<()> {
    annotate("error", "servegauge gate", why, to)
}

/// Writes `::error title=…::…` with the escapes that GitHub's runner decodes.
fn annotate(command: &str, title: &str, message: &str, to: &mut impl Write) -> io::Result<()> {
    let data = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| data(text).replace(':', "%3A").replace(',', "%2C");
    writeln!(to, "::{command} title={}::{}", property(title), data(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_runner_would_take_for_syntax_is_escaped() {
        let mut text = Vec::new();
        annotate("error", "a: b, 5%", "50 %\n:: , fine", &mut text).unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), "::error title=a%3A b%2C 5%25::50 %25%0A:: , fine\n");
    }
}
