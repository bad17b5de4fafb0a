use proptest::prelude::*;

use super::*;

fn rule(text: &str) -> MetricRule {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn the_rules_of_the_documentation_are_read() {
    let cases = [
        ("p99_ttft_ms < 500", "ttft.p99 < 500ms"),
        ("ttft.p95 < 500ms", "ttft.p95 < 500ms"),
        ("ttft.p95<0.5s", "ttft.p95 < 500ms"),
        ("tpot.mean <= baseline * 1.05", "tpot.mean <= baseline * 1.05"),
        (
            "tpot.mean <= baseline*1.05 or <= baseline+5ms",
            "tpot.mean <= baseline * 1.05 or <= baseline + 5ms",
        ),
        (
            "output_throughput >= baseline * 0.97 or >= 2800",
            "output_throughput >= baseline * 0.97 or >= 2800",
        ),
        ("failure_rate < 1%", "failure_rate < 1%"),
        ("goodput_ratio >= 0.99", "goodput_ratio >= 99%"),
        ("tpot.p99 <= baseline * 1.1 + 2ms", "tpot.p99 <= baseline * 1.1 + 2ms"),
        ("tpot.p99 <= baseline * 1e-3 - 2ms", "tpot.p99 <= baseline * 0.001 - 2ms"),
        ("tpot.p99 <= baseline*1.5e+2+2ms", "tpot.p99 <= baseline * 150 + 2ms"),
        ("request_throughput >= 20 req/s", "request_throughput >= 20"),
    ];
    for (text, written) in cases {
        assert_eq!(rule(text).to_string(), written);
        assert_eq!(rule(written), rule(text));
    }
}

#[test]
fn one_bound_that_holds_is_enough() {
    let rule = rule("ttft.p95 <= baseline * 1.05 or <= baseline + 5ms");
    assert_eq!(rule.is_rule_met(104.0, Some(100.0)), Some(true));
    assert_eq!(rule.is_rule_met(106.0, Some(100.0)), Some(false));
    assert_eq!(rule.is_rule_met(14.0, Some(10.0)), Some(true), "5 ms are nothing, whatever share they are");
    assert_eq!(rule.is_rule_met(14.0, None), None);
    assert!(rule.needs_baseline());
}

#[test]
fn a_fixed_bound_decides_without_a_baseline() {
    let rule = rule("output_throughput >= baseline * 0.97 or >= 2800");
    assert_eq!(rule.is_rule_met(2900.0, None), Some(true));
    assert_eq!(rule.is_rule_met(2700.0, None), None);
}

#[test]
fn what_is_no_rule_is_refused_with_a_cure() {
    for (text, expected) in [
        ("ttft.p95", "has no comparison"),
        ("ttft.p95 < fast", "write `500ms`"),
        ("ttft.p95 < -5", "is not a limit"),
        ("failure_rate < 1s", "write `1%`"),
        ("speed < 1", "is not a metric"),
        ("ttft.p95 > 500ms", "reverse the comparison"),
        ("output_throughput < 5", "reverse the comparison"),
        ("tpot.mean <= baseline * ", "is not a limit"),
        ("tpot.mean <= baseline / 2", "is not a limit"),
        ("tpot.mean < 5 or 7", "has no comparison"),
        ("tpot.mean < NaN", "is not a limit"),
    ] {
        let error = text.parse::<MetricRule>().unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,40}", figure in "(ttft.p9|tpot.mean|failure_rate|output_throughput) ?[<>]=?", tail in "[ a-z0-9*+%.<>=-]{0,30}") {
        let _ = text.parse::<MetricRule>();
        let _ = format!("{figure}{tail}").parse::<MetricRule>();
        let _ = format!("{figure} baseline{tail}").parse::<MetricRule>();
    }
}
