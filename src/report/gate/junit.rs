//! A gate's result as JUnit XML: one suite with a test case for each rule and one for validity.

use std::io::Write;
use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, SerializeError, TestCase, TestCaseStatus, TestSuite};

use super::{conclusion_line, measured_text, severity_word, undecided_policy};
use crate::analysis::gate::{GateReport, RuleAnswer, RuleFinding, RuleStatus};

/// Why the XML could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JunitError {
    /// The XML could not be serialized.
    #[error("cannot write JUnit: {0}")]
    Serialize(#[from] SerializeError),
    /// The XML could not be written to its destination.
    #[error("cannot write JUnit: {0}")]
    Write(#[from] std::io::Error),
}

const NAME: &str = "servegauge gate";

/// Writes a gate's result. An undecided rule is skipped unless it fails the gate. A failed rule that only warns is a
/// success with a note in its output, since JUnit has no warnings.
pub(crate) fn render(ruling: &GateReport, to: impl Write) -> Result<(), JunitError> {
    let mut suite = TestSuite::new(NAME);
    suite.add_property(("alpha", ruling.alpha.to_string().as_str()));
    suite.add_property(("on-unsettled", undecided_policy(ruling.on_unsettled)));
    suite.add_property(("candidate", ruling.candidate.name.as_str()));
    if let Some(baseline) = &ruling.baseline {
        suite.add_property(("baseline", baseline.name.as_str()));
    }
    suite.set_time(ruling.candidate.duration);
    suite.add_test_case(validity_case(ruling));
    suite.add_test_cases(ruling.findings.iter().map(|finding| rule_case(ruling, finding)));
    suite.set_system_out(conclusion_line(ruling));
    write_suite(suite, to)
}

/// Writes why a gate has no result: an error, since nothing was tested.
pub(crate) fn render_error(why: &str, to: impl Write) -> Result<(), JunitError> {
    let mut suite = TestSuite::new(NAME);
    suite.add_test_case(test_case(error_status(why, "error"), "the gate has a result"));
    write_suite(suite, to)
}

fn write_suite(suite: TestSuite, mut to: impl Write) -> Result<(), JunitError> {
    let mut report = Report::new(NAME);
    if let Some(time) = suite.time {
        report.set_time(time);
    }
    report.add_test_suite(suite);
    to.write_all(with_suite_skips(&report.to_string()?, &report).as_bytes())?;
    Ok(())
}

fn error_status(why: &str, kind: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
    status.set_message(why).set_type(kind);
    status
}

/// The schema that Jenkins checks against allows `skipped` on a suite only, not on the list of suites.
fn with_suite_skips(xml: &str, report: &Report) -> String {
    xml.replacen(&format!(" skipped=\"{}\"", report.skipped), "", 1)
}

/// The test case for validity, with the time of the measurement. An INVALID run is an error, since the test itself did
/// not work.
fn validity_case(ruling: &GateReport) -> TestCase {
    let status = match &ruling.invalid {
        None => TestCaseStatus::success(),
        Some(why) => error_status(why, "invalid"),
    };
    let name = if ruling.candidate.predicted { "the run is predicted" } else { "the run is VALID" };
    let mut case = test_case(status, name);
    case.set_time(ruling.candidate.duration);
    case
}

/// The `type` of a failure. CI systems store it, so it keeps its spelling.
fn failure_type(answer: RuleAnswer) -> &'static str {
    match answer {
        RuleAnswer::Pass => "pass",
        RuleAnswer::Fail => "fail",
        RuleAnswer::CannotTell { .. } => "cannot tell",
    }
}

fn rule_case(ruling: &GateReport, finding: &RuleFinding) -> TestCase {
    let measured = measured_text(finding);
    let settled = finding.answer.is_settled();
    let status = match ruling.rule_status(finding) {
        RuleStatus::Failure => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_message(measured.as_str()).set_type(failure_type(finding.answer));
            status.set_description(format!("{} [{}]\n{measured}", finding.rule.rule, severity_word(finding)));
            status
        }
        RuleStatus::Fine | RuleStatus::Warning if !settled => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(measured.as_str());
            status
        }
        RuleStatus::Fine | RuleStatus::Warning => TestCaseStatus::success(),
    };
    let mut case = test_case(status, &finding.rule.rule.to_string());
    // All rules read the same measurement: CI systems add the times of cases.
    case.set_time(Duration::ZERO);
    let warning = ruling.rule_status(finding) == RuleStatus::Warning;
    case.set_system_out(if warning { format!("WARNING: {measured}") } else { measured });
    case
}

fn test_case(status: TestCaseStatus, name: &str) -> TestCase {
    let mut case = TestCase::new(name, status);
    case.set_classname("servegauge.gate");
    case
}
