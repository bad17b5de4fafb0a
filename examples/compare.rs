//! Compares two saved runs and applies a gate: `cargo run --example compare -- before.json after.json`
#![allow(clippy::print_stdout, reason = "an example talks to its user")]

use std::error::Error;
use std::path::Path;

use servegauge::{GateReport, GateRule, MetricRule, Run, compare, gate};

/// Prints which metrics are better, worse or the same in `after`, or cannot be told apart from those in `before`. Then
/// checks the rules of a gate.
pub fn compare_files(before: &Path, after: &Path) -> Result<GateReport, Box<dyn Error>> {
    let (before, after) = (Run::load(before)?, Run::load(after)?);
    for row in compare(&before, &after)?.rows() {
        println!("{}: {} to {}: {:?}", row.figure, row.base.value, row.candidate.value, row.call);
    }
    let rule: MetricRule = "ttft.p95 <= baseline * 1.1 or <= baseline + 10ms".parse()?;
    let report = gate(&[GateRule::from(rule)], &[before], &[after])?;
    for finding in &report.findings {
        println!("{}: {:?}", finding.rule.rule, finding.answer);
    }
    Ok(report)
}

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [before, after] = &words[..] else { return Err("give the files of two runs".into()) };
    println!("{:?}", compare_files(before.as_ref(), after.as_ref())?.outcome);
    Ok(())
}
