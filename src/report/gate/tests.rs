use std::time::Duration;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::*;
use crate::analysis::compare::{MetricSample, SampleUnit};
use crate::analysis::gate::GateRule;
use crate::testing::{self, sample_run};

/// Every answer and every severity, with made-up numbers.
fn ruling() -> GateReport {
    let sample = |value: f64, half: f64| {
        let mut sample =
            MetricSample::from_runs(&[sample_run::run(false)], "ttft.mean".parse().unwrap()).unwrap();
        sample.value = value;
        sample.interval = Some(RateInterval { low: value - half, high: value + half });
        sample.method = Some(SpreadMethod::Records);
        sample
    };
    let finding =
        |rule: &str, severity, candidate: MetricSample, baseline: Option<MetricSample>, answer| RuleFinding {
            rule: GateRule { rule: rule.parse().unwrap(), severity },
            margin: candidate.interval.map(|RateInterval { low, high }| LimitMargin {
                value: candidate.value - 21.0,
                interval: RateInterval { low: low - 21.0, high: high - 21.0 },
            }),
            candidate: Some(candidate),
            baseline,
            limit: Some(21.0),
            adjusted_p: Some(0.5),
            answer,
            look: 1,
        };
    let needs = Some(RequiredSample { count: 5200, of: SampleUnit::Requests });
    let tpot = "tpot.mean <= baseline * 1.05 or <= baseline + 0.5ms";
    let cannot_tell = RuleAnswer::CannotTell { why: Undecided::TooFew { needs } };
    let findings = vec![
        finding(tpot, RuleSeverity::Fail, sample(20.125, 0.2), Some(sample(20.0, 0.25)), RuleAnswer::Pass),
        finding("e2el.mean < 21ms", RuleSeverity::Fail, sample(2345.0, 10.0), None, RuleAnswer::Fail),
        finding("itl.p99 < 21ms", RuleSeverity::Warn, sample(30.0, f64::INFINITY), None, RuleAnswer::Fail),
        finding("ttft.p95 < 21ms", RuleSeverity::Fail, sample(20.5, 4.0), None, cannot_tell),
        RuleFinding {
            limit: Some(0.99),
            margin: None,
            ..finding(
                "goodput_ratio >= 99%",
                RuleSeverity::Warn,
                sample(0.9912, 0.005),
                None,
                RuleAnswer::CannotTell { why: Undecided::NoInterval },
            )
        },
    ];
    let party = |name: &str, runs| SideInfo {
        name: name.into(),
        predicted: false,
        runs,
        starts: Some(runs),
        requests: 1200,
        duration: Duration::from_millis(61_250),
    };
    GateReport {
        outcome: GateVerdict::Pass,
        invalid: None,
        baseline: Some(party("base.json", 1)),
        candidate: party("cand.json", 2),
        scope: Some(ClaimScope::Servers),
        findings,
        caveats: Vec::new(),
        alpha: 0.05,
        on_unsettled: OnUndecided::Warn,
        looks: [1, 1],
    }
    .conclude()
}

fn written(render: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut text = Vec::new();
    render(&mut text);
    String::from_utf8(text).unwrap()
}

/// Compares what a user reads of a text with the golden file. With `GOLDEN=write`, writes the file first.
fn golden(name: &str, text: &str) {
    let text = testing::printed(text);
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("GOLDEN").is_some_and(|wish| wish == "write") {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&path).unwrap_or_default(), "it is not {}", path.display());
}

#[test]
fn the_table_shows_every_answer_and_ends_with_what_it_comes_to() {
    let text = written(|to| render(&ruling(), to).unwrap());
    golden("gate.txt", &text);
}

#[test]
fn the_summary_is_a_table_in_markdown() {
    let text = written(|to| markdown::render(&ruling(), to).unwrap());
    golden("gate.md", &text);
}

#[test]
fn annotations_tell_of_what_is_not_fine() {
    let text = written(|to| github::annotations(&ruling(), to).unwrap());
    golden("gate-annotations.txt", &text);
    let invalid = GateReport { invalid: Some("too late".into()), ..ruling() }.conclude();
    let text = written(|to| github::annotations(&invalid, to).unwrap());
    assert!(text.starts_with("::error title=servegauge gate::GATE INVALID: too late\n"), "{text}");
}

/// What the schema that CI systems read (`junit-10.xsd` of Jenkins' xUnit plugin) allows in an element.
struct Element {
    name: &'static str,
    required: &'static [&'static str],
    optional: &'static [&'static str],
    children: &'static [&'static str],
}

const fn element_of(
    name: &'static str,
    required: &'static [&'static str],
    optional: &'static [&'static str],
    children: &'static [&'static str],
) -> Element {
    Element { name, required, optional, children }
}

const SCHEMA: [Element; 10] = [
    element_of("testsuites", &[], &["name", "time", "tests", "failures", "errors"], &["testsuite"]),
    element_of(
        "testsuite",
        &["name", "tests", "failures", "errors"],
        &["time", "skipped", "timestamp", "hostname", "id", "package", "group", "file", "log", "url"],
        &["testsuite", "properties", "testcase", "system-out", "system-err"],
    ),
    element_of("properties", &[], &[], &["property"]),
    element_of("property", &["name", "value"], &[], &[]),
    element_of(
        "testcase",
        &["name"],
        &["time", "classname", "group"],
        &["skipped", "error", "failure", "system-out", "system-err"],
    ),
    element_of("failure", &[], &["message", "type"], &[]),
    element_of("error", &[], &["message", "type"], &[]),
    element_of("skipped", &[], &["message", "type"], &[]),
    element_of("system-out", &[], &[], &[]),
    element_of("system-err", &[], &[], &[]),
];

fn element(name: &str) -> &'static Element {
    SCHEMA
        .iter()
        .find(|element| element.name == name)
        .unwrap_or_else(|| panic!("<{name}> is not in the schema"))
}

fn name_of(start: &BytesStart<'_>) -> String {
    String::from_utf8(start.name().as_ref().to_vec()).unwrap()
}

fn check(start: &BytesStart<'_>, parent: Option<&str>) {
    let name = name_of(start);
    let element = element(&name);
    match parent {
        None => assert_eq!(name, "testsuites"),
        Some(parent) => {
            assert!(self::element(parent).children.contains(&name.as_str()), "<{name}> in <{parent}>");
        }
    }
    let attributes: Vec<String> = start
        .attributes()
        .map(|attribute| String::from_utf8(attribute.unwrap().key.as_ref().to_vec()).unwrap())
        .collect();
    for attribute in &attributes {
        let known = element.required.iter().chain(element.optional).any(|known| known == attribute);
        assert!(known, "{attribute} of <{name}>");
    }
    for required in element.required {
        assert!(attributes.iter().any(|attribute| attribute == required), "<{name}> without {required}");
    }
}

/// Checks the document against the schema, and counts its elements by name.
fn conforms(xml: &str) -> std::collections::BTreeMap<String, usize> {
    let mut reader = Reader::from_str(xml);
    let mut open: Vec<String> = Vec::new();
    let mut counts = std::collections::BTreeMap::new();
    loop {
        match reader.read_event().unwrap() {
            Event::Start(start) => {
                check(&start, open.last().map(String::as_str));
                open.push(name_of(&start));
                *counts.entry(name_of(&start)).or_default() += 1;
            }
            Event::Empty(start) => {
                check(&start, open.last().map(String::as_str));
                *counts.entry(name_of(&start)).or_default() += 1;
            }
            Event::End(_) => assert!(open.pop().is_some()),
            Event::Eof => break,
            _ => {}
        }
    }
    assert!(open.is_empty());
    counts
}

#[test]
fn junit_is_what_its_schema_says() {
    let xml = written(|to| junit::render(&ruling(), to).unwrap());
    let counts = conforms(&xml);
    assert_eq!((counts["testcase"], counts["failure"], counts["skipped"]), (6, 1, 2), "{xml}");
    assert!(
        xml.contains("tests=\"6\"") && xml.contains("failures=\"1\"") && xml.contains("errors=\"0\""),
        "{xml}"
    );
    assert!(xml.contains("e2el.mean &lt; 21ms"), "{xml}");
    assert!(xml.contains("WARNING: ITL P99"), "{xml}");
    golden("gate.xml", &xml);
}

#[test]
fn an_invalid_run_is_an_error_and_unsettled_rules_may_be_failures() {
    let ruling = GateReport {
        invalid: Some("P99 schedule lag: 80 ms".into()),
        on_unsettled: OnUndecided::Fail,
        ..ruling()
    };
    let xml = written(|to| junit::render(&ruling.conclude(), to).unwrap());
    let counts = conforms(&xml);
    assert_eq!((counts["error"], counts["failure"], counts["skipped"]), (1, 2, 1), "{xml}");
}

#[test]
fn the_json_has_answers_that_a_script_can_read() {
    let json = serde_json::to_value(ruling()).unwrap();
    assert_eq!(json["outcome"], "fail");
    let findings = &json["findings"];
    assert_eq!(findings[0]["rule"], "tpot.mean <= baseline * 1.05 or <= baseline + 0.5ms");
    assert_eq!((&findings[0]["answer"], &findings[0]["severity"]), (&"pass".into(), &"fail".into()));
    assert_eq!(
        (&findings[3]["answer"], &findings[3]["needs"]["count"]),
        (&"cannot_tell".into(), &5200.into())
    );
    assert_eq!(findings[2]["candidate"]["interval"]["high"], serde_json::Value::Null);
}
