//! The validity of the run: the report's second line, and the section of warnings with advice.

use std::io::{self, Write};

use super::section;
use crate::model::plain_text::one_line;
use crate::model::run::Run;
use crate::model::validity::{Check, CheckOutcome, Verdict};
use crate::report::prediction::at_place;

/// Writes the verdict on a run; for a predicted one, which model predicted it and how far it extrapolates.
pub(crate) fn run_banner(run: &Run, to: &mut impl Write) -> io::Result<()> {
    let Some(prediction) = &run.prediction else { return banner(&run.validity, to) };
    writeln!(to, "PREDICTED, not measured: {}", one_line(&prediction.origin()))?;
    prediction.all_extrapolations().try_for_each(|(place, beyond)| {
        writeln!(to, "EXTRAPOLATES{}: {}", at_place(place), one_line(&beyond.to_string()))
    })
}

/// Writes the verdict in one line: the checks that make the run INVALID, or how many checks a VALID run passed.
pub(crate) fn banner(verdict: &Verdict, to: &mut impl Write) -> io::Result<()> {
    let count = |outcome| verdict.checks_with(outcome).count();
    if let Some(reason) = verdict.reason() {
        return writeln!(to, "{}: {reason}", invalid(verdict));
    }
    write!(to, "VALID: {} of {} checks passed", count(CheckOutcome::Passed), verdict.checks.len())?;
    match count(CheckOutcome::Warning) {
        0 => {}
        1 => write!(to, ", 1 warning")?,
        warnings => write!(to, ", {warnings} warnings")?,
    }
    match count(CheckOutcome::NotJudged) {
        0 => writeln!(to),
        unknown => writeln!(to, ", {unknown} not judged"),
    }
}

/// Writes the section: every failed check with advice, then the checks that were not judged and why. Writes nothing
/// if all checks passed.
pub(crate) fn warnings(verdict: &Verdict, to: &mut impl Write) -> io::Result<()> {
    if verdict.checks.iter().all(|check| check.outcome == CheckOutcome::Passed) {
        return Ok(());
    }
    section("Warnings", to)?;
    verdict.checks_with(CheckOutcome::Invalid).try_for_each(|check| failed_check("INVALID", check, to))?;
    verdict.checks_with(CheckOutcome::Warning).try_for_each(|check| failed_check("Warning", check, to))?;
    let mut unknown = verdict.checks_with(CheckOutcome::NotJudged);
    unknown.try_for_each(|check| writeln!(to, "Not judged: {}: {}", check.name.subject(), check.advice))
}

/// States whether the whole run is INVALID, or only some of its metrics.
fn invalid(verdict: &Verdict) -> String {
    match verdict.invalid_metrics() {
        None => "INVALID".to_owned(),
        Some(metrics) => format!("INVALID {metrics}"),
    }
}

fn failed_check(word: &str, check: &Check, to: &mut impl Write) -> io::Result<()> {
    writeln!(to, "{word}: {}", check.finding())?;
    writeln!(to, "  {}", check.advice)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::validity::{CheckName, CheckScope, Quantity};

    fn check(name: CheckName, outcome: CheckOutcome) -> Check {
        let time = |ms| Some(Quantity::Time(Duration::from_millis(ms)));
        Check {
            name,
            outcome,
            scope: CheckScope::Run,
            figure: time(80),
            bound: time(50),
            advice: "do this".into(),
        }
    }

    fn text(checks: Vec<Check>) -> (String, String) {
        let verdict =
            Verdict { valid: checks.iter().all(|check| check.outcome != CheckOutcome::Invalid), checks };
        let (mut first, mut section) = (Vec::new(), Vec::new());
        banner(&verdict, &mut first).unwrap();
        warnings(&verdict, &mut section).unwrap();
        (String::from_utf8(first).unwrap(), String::from_utf8(section).unwrap())
    }

    #[test]
    fn an_invalid_run_says_why_and_what_to_do() {
        let (first, section) = text(vec![
            check(CheckName::ReadDelay, CheckOutcome::Warning),
            check(CheckName::WallClock, CheckOutcome::Passed),
            check(CheckName::ScheduleLag, CheckOutcome::Invalid),
            check(CheckName::PrefixCache, CheckOutcome::NotJudged),
        ]);
        let finding = "P99 schedule lag: 80 ms (limit 50 ms)";
        assert_eq!(first, format!("INVALID: {finding}\n"));
        let lines: Vec<_> = section.lines().skip(1).collect();
        assert_eq!(lines[..2], [format!("INVALID: {finding}"), "  do this".to_owned()]);
        assert!(lines[2].starts_with("Warning: P99 read delay: "), "{section}");
        assert_eq!(lines[4..], ["Not judged: prefix cache: do this"]);
    }

    #[test]
    fn a_valid_run_says_how_many_checks_it_passed() {
        let unknown = check(CheckName::PrefixCache, CheckOutcome::NotJudged);
        let late = check(CheckName::ReadDelay, CheckOutcome::Warning);
        let (first, _) = text(vec![check(CheckName::WallClock, CheckOutcome::Passed), unknown, late]);
        assert_eq!(first, "VALID: 1 of 3 checks passed, 1 warning, 1 not judged\n");
        let all_passed = text(vec![check(CheckName::WallClock, CheckOutcome::Passed)]);
        assert_eq!(all_passed, ("VALID: 1 of 1 checks passed\n".to_owned(), String::new()));
    }
}
