//! `GOLDEN=write cargo test --lib report::compare` rewrites the golden files.

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::analysis::compare::{CompareConfig, ComparisonSide};
use crate::model::metric_id::MetricId;
use crate::model::run::Run;
use crate::testing;
use crate::testing::queue::Queue;
use crate::testing::sample_run;

/// Six hundred requests through a queue; `failing` sets how often one fails.
fn run(seed: u64, service: u64, failing: usize, detailed: bool) -> Run {
    let queue = Queue { seed, service: Duration::from_millis(service), ..Queue::default() };
    let mut records = queue.open(600, 8.0);
    let [_, failed] = sample_run::records().try_into().unwrap();
    for record in records.iter_mut().skip(1).step_by(failing) {
        record.outcome = failed.outcome.clone();
    }
    sample_run::of_records(sample_run::spec(), records, vec![50.0, 99.0], detailed)
}

fn side(name: &str, run: Run) -> ComparisonSide {
    ComparisonSide { name: name.into(), runs: vec![run] }
}

fn comparison() -> Comparison {
    let figures = ["ttft.mean", "e2el.mean", "e2el.p50", "e2el.p99", "output_throughput", "failure_rate"];
    let figures: Vec<MetricId> = figures.iter().map(|name| name.parse().unwrap()).collect();
    let base = side("base.json", run(1, 450, 1000, true));
    let candidates =
        [side("slower.json", run(2, 600, 20, true)), side("equal.json", run(3, 450, 1000, false))];
    let mut comparison = Comparison::from_metrics(&base, &candidates, &figures, CompareConfig::default());
    comparison.caveats = vec!["load.request_rate is 8 in the baseline, 9 in slower.json".into()];
    comparison
}

fn golden(name: &str, render: impl Fn(&Comparison, &mut Vec<u8>) -> io::Result<()>) {
    let mut text = Vec::new();
    render(&comparison(), &mut text).unwrap();
    let text = testing::printed(&String::from_utf8(text).unwrap());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("GOLDEN").is_some_and(|wish| wish == "write") {
        std::fs::write(&path, &text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "it is not {}", path.display());
}

#[test]
fn the_text_is_the_golden_one() {
    golden("compare.txt", text);
}

#[test]
fn the_markdown_is_the_golden_one() {
    golden("compare.md", markdown);
}

#[test]
fn the_csv_is_the_golden_one() {
    golden("compare.csv", csv);
}

#[test]
fn the_json_has_the_golden_keys() {
    let mut places = Vec::new();
    walk("", &serde_json::to_value(comparison()).unwrap(), &mut places);
    golden("compare.keys", |_, to| places.iter().try_for_each(|place| writeln!(to, "{place}")));
}

/// Lists the path of every field of a value. For an array, only its first element counts.
fn walk(place: &str, value: &serde_json::Value, places: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            fields.iter().for_each(|(key, value)| walk(&format!("{place}.{key}"), value, places));
        }
        serde_json::Value::Array(values) if !values.is_empty() => {
            walk(&format!("{place}[]"), &values[0], places);
        }
        _ => places.push(place.to_owned()),
    }
}
