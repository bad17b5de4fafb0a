//! Whether to believe the report: its first line when not, and its last section.

use std::io::{self, Write};

use super::section;
use crate::core::validity::{Check, Outcome, Verdict};

/// The first line of an INVALID report; nothing for a VALID one.
pub fn headline(verdict: &Verdict, to: &mut impl Write) -> io::Result<()> {
    match verdict.reason() {
        Some(reason) => writeln!(to, "{}: {reason}; see the last section", invalid(verdict)),
        None => Ok(()),
    }
}

/// The last section: the verdict, then every objection with what to do.
pub fn render(verdict: &Verdict, to: &mut impl Write) -> io::Result<()> {
    let count = |outcome| verdict.with(outcome).count();
    section("Validity", to)?;
    let word = if verdict.valid { "VALID".to_owned() } else { invalid(verdict) };
    write!(to, "{word}: {} of {} checks passed", count(Outcome::Passed), verdict.checks.len())?;
    match count(Outcome::NotJudged) {
        0 => writeln!(to)?,
        unknown => writeln!(to, ", {unknown} not judged")?,
    }
    for check in verdict.with(Outcome::NotJudged) {
        writeln!(to, "Not judged: {}: {}", check.name.subject(), check.advice)?;
    }
    verdict.with(Outcome::Invalid).try_for_each(|check| objection("INVALID", check, to))?;
    verdict.with(Outcome::Warning).try_for_each(|check| objection("Warning", check, to))
}

/// What is INVALID: all of the run, or some of its metrics.
fn invalid(verdict: &Verdict) -> String {
    match verdict.invalid_metrics() {
        None => "INVALID".to_owned(),
        Some(metrics) => format!("INVALID {metrics}"),
    }
}

fn objection(word: &str, check: &Check, to: &mut impl Write) -> io::Result<()> {
    writeln!(to, "{word}: {}", check.finding())?;
    writeln!(to, "  {}", check.advice)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::core::validity::{CheckName, Figure, Scope};

    fn check(name: CheckName, outcome: Outcome) -> Check {
        let time = |ms| Some(Figure::Time(Duration::from_millis(ms)));
        Check {
            name,
            outcome,
            scope: Scope::Run,
            figure: time(80),
            bound: time(50),
            advice: "do this".into(),
        }
    }

    fn text(checks: Vec<Check>) -> (String, String) {
        let verdict = Verdict { valid: checks.iter().all(|check| check.outcome != Outcome::Invalid), checks };
        let (mut first, mut last) = (Vec::new(), Vec::new());
        headline(&verdict, &mut first).unwrap();
        render(&verdict, &mut last).unwrap();
        (String::from_utf8(first).unwrap(), String::from_utf8(last).unwrap())
    }

    #[test]
    fn an_invalid_report_begins_with_why_and_ends_with_what_to_do() {
        let (first, last) = text(vec![
            check(CheckName::ScheduleLag, Outcome::Invalid),
            check(CheckName::WallClock, Outcome::Passed),
            check(CheckName::ReadDelay, Outcome::Warning),
        ]);
        let finding = "P99 schedule lag: 80 ms, at most 50 ms would do";
        assert_eq!(first, format!("INVALID: {finding}; see the last section\n"));
        let lines: Vec<_> = last.lines().skip(1).collect();
        assert_eq!(lines[0], "INVALID: 1 of 3 checks passed");
        assert_eq!(lines[1..3], [format!("INVALID: {finding}"), "  do this".to_owned()]);
        assert!(lines[3].starts_with("Warning: P99 read delay: "), "{last}");
    }

    #[test]
    fn a_valid_report_has_no_headline() {
        let unknown = check(CheckName::PrefixCache, Outcome::NotJudged);
        let (first, last) = text(vec![check(CheckName::WallClock, Outcome::Passed), unknown]);
        assert_eq!(first, "");
        let lines = "\nVALID: 1 of 2 checks passed, 1 not judged\nNot judged: prefix cache: do this\n";
        assert!(last.ends_with(lines), "{last}");
    }
}
