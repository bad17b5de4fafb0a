//! What GitHub shows beside a workflow's log: commands on standard output.

use std::io::{self, Write};

use super::{conclusion, measured};
use crate::judge::gate::{Outcome, Ruling, Standing};

/// Writes an annotation for each finding that is not fine, and one for an INVALID candidate.
pub fn annotations(ruling: &Ruling, to: &mut impl Write) -> io::Result<()> {
    if ruling.outcome == Outcome::Invalid {
        annotate("error", "servebench gate", &conclusion(ruling), to)?;
    }
    for finding in &ruling.findings {
        let command = match ruling.standing(finding) {
            Standing::Fine => continue,
            Standing::Warning => "warning",
            Standing::Failure => "error",
        };
        annotate(command, &format!("servebench gate: {}", finding.rule.rule), &measured(finding), to)?;
    }
    Ok(())
}

/// `::error title=…::…`, with the escapes that the runner takes back.
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
