//! A gate that was held, as JUnit's XML: a suite with a test for each rule and one for validity.

use std::io::Write;

use quick_junit::{NonSuccessKind, Report, SerializeError, TestCase, TestCaseStatus, TestSuite};

use super::{conclusion, measured, policy, severity, word};
use crate::judge::gate::{Finding, Ruling, Standing};

/// Why the XML could not be written.
#[derive(Debug, thiserror::Error)]
pub enum JunitError {
    /// It could not be made.
    #[error("cannot write JUnit: {0}")]
    Serialize(#[from] SerializeError),
    /// It has nowhere to go.
    #[error("cannot write JUnit: {0}")]
    Write(#[from] std::io::Error),
}

const NAME: &str = "servebench gate";

/// Writes it. A rule without an answer is skipped unless that fails the gate; a broken one that only warns is a success
/// with a word on its output, since JUnit knows no warnings.
pub fn render(ruling: &Ruling, mut to: impl Write) -> Result<(), JunitError> {
    let mut suite = TestSuite::new(NAME);
    suite.add_property(("alpha", ruling.alpha.to_string().as_str()));
    suite.add_property(("on-unsettled", policy(ruling.on_unsettled)));
    suite.add_property(("candidate", ruling.candidate.name.as_str()));
    if let Some(baseline) = &ruling.baseline {
        suite.add_property(("baseline", baseline.name.as_str()));
    }
    suite.add_test_case(validity(ruling));
    suite.add_test_cases(ruling.findings.iter().map(|finding| case(ruling, finding)));
    suite.set_system_out(conclusion(ruling));
    let mut report = Report::new(NAME);
    report.add_test_suite(suite);
    to.write_all(strict(&report.to_string()?, &report).as_bytes())?;
    Ok(())
}

/// The schema that Jenkins checks against knows `skipped` of a suite, not of all suites.
fn strict(xml: &str, report: &Report) -> String {
    xml.replacen(&format!(" skipped=\"{}\"", report.skipped), "", 1)
}

/// An INVALID run is an error: the test itself did not work.
fn validity(ruling: &Ruling) -> TestCase {
    let status = match &ruling.invalid {
        None => TestCaseStatus::success(),
        Some(why) => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
            status.set_message(why.as_str()).set_type("invalid");
            status
        }
    };
    of(status, "the run is VALID")
}

fn case(ruling: &Ruling, finding: &Finding) -> TestCase {
    let told = measured(finding);
    let settled = finding.answer.is_settled();
    let status = match ruling.standing(finding) {
        Standing::Failure => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_message(told.as_str()).set_type(word(finding.answer).to_lowercase());
            status.set_description(format!("{} [{}]\n{told}", finding.rule.rule, severity(finding)));
            status
        }
        Standing::Fine | Standing::Warning if !settled => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(told.as_str());
            status
        }
        Standing::Fine | Standing::Warning => TestCaseStatus::success(),
    };
    let mut case = of(status, &finding.rule.rule.to_string());
    let warning = ruling.standing(finding) == Standing::Warning;
    case.set_system_out(if warning { format!("WARNING: {told}") } else { told });
    case
}

fn of(status: TestCaseStatus, name: &str) -> TestCase {
    let mut case = TestCase::new(name, status);
    case.set_classname("servebench.gate");
    case
}
