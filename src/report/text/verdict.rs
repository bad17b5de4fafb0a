//! Whether to believe the report: its first line when not, and its last section.

use std::io::{self, Write};

use super::section;
use crate::core::validity::{Check, Outcome, Verdict};

/// The first line of an INVALID report; nothing for a VALID one.
pub fn headline(verdict: &Verdict, to: &mut impl Write) -> io::Result<()> {
    match verdict.reason() {
        Some(reason) => writeln!(to, "INVALID: {reason}; see the last section"),
        None => Ok(()),
    }
}

/// The last section: the verdict, then every objection with what to do.
pub fn render(verdict: &Verdict, to: &mut impl Write) -> io::Result<()> {
    let count = |outcome| verdict.with(outcome).count();
    section("Validity", to)?;
    let word = if verdict.valid { "VALID" } else { "INVALID" };
    write!(to, "{word}: {} of {} checks passed", count(Outcome::Passed), verdict.checks.len())?;
    match count(Outcome::NotJudged) {
        0 => writeln!(to)?,
        unknown => writeln!(to, ", {unknown} not judged")?,
    }
    verdict.with(Outcome::Invalid).try_for_each(|check| objection("INVALID", check, to))?;
    verdict.with(Outcome::Warning).try_for_each(|check| objection("Warning", check, to))
}

fn objection(word: &str, check: &Check, to: &mut impl Write) -> io::Result<()> {
    writeln!(to, "{word}: {}", check.finding())?;
    writeln!(to, "  {}", check.advice)
}
