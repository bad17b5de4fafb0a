//! Counts and totals: rates, duration, failures, tokens.

use super::{AuditCheck, AuditFinding, AuditLevel, AuditMeasure, CheckResult, deviation};
use crate::model::metrics::Latency;
use crate::model::stated::{StatedResult, StatedTokens, Tool};

/// The deviation of a total from rate times duration that rounding and the ends of a run explain.
const TOTAL_TOLERANCE: f64 = 0.05;

/// The shares of failures from which latencies are doubtful, and unbelievable.
const FAILURES: [f64; 2] = [0.01, 0.1];

/// The deviations of two counts of tokens that are doubtful, and unbelievable.
const RECOUNT: [f64; 2] = [0.02, 0.1];

/// Rates times duration are the totals, and the rate of all tokens is that of both kinds.
pub(super) fn totals(result: &StatedResult) -> CheckResult {
    let duration = result.duration_s.ok_or("the duration")?;
    if result.rates.is_empty() {
        return Err("rates");
    }
    let rate = |key: &str| result.rates.get(key).copied();
    let known = [
        ("request_throughput", "answered requests", result.completed, "requests"),
        ("input_throughput", "input tokens", result.input_tokens.total, "tokens"),
        ("output_throughput", "output tokens", result.output_tokens.total, "tokens"),
    ];
    let mut findings = Vec::new();
    for (key, name, total, unit) in known {
        let Some((rate, total)) = rate(key).zip(total.map(|total| total as f64)) else { continue };
        let expected = rate * duration;
        if deviation(expected, total) > TOTAL_TOLERANCE && (expected - total).abs() > 1.0 {
            let reason =
                format!("{rate:.4} a second for {duration:.2} s are not the {name} that the file states");
            findings.push(impossible(format!("{name} by rate × duration"), expected, total, unit, reason));
        }
    }
    if let (Some(input), Some(output), Some(all)) =
        (rate("input_throughput"), rate("output_throughput"), rate("total_token_throughput"))
        && deviation(all, input + output) > TOTAL_TOLERANCE
    {
        let reason = "all tokens are input and output tokens".to_owned();
        findings.push(impossible("total token throughput".to_owned(), all, input + output, "tok/s", reason));
    }
    Ok(findings)
}

fn impossible(figure: String, value: f64, expected: f64, unit: &'static str, reason: String) -> AuditFinding {
    let (check, level) = (AuditCheck::Totals, AuditLevel::Impossible);
    AuditFinding { check, level, figure, measure: Some(AuditMeasure::about(value, expected, unit)), reason }
}

/// A run lasts at least as long as each of its requests.
pub(super) fn longest_request(result: &StatedResult) -> CheckResult {
    let duration = result.duration_s.ok_or("the duration")?;
    let stated = result.latencies.get(&Latency::E2e);
    let stated = stated.and_then(|e2e| e2e.max_ms.or(e2e.percentiles.last().map(|at| at.value_ms)));
    let measured = result.samples(Latency::E2e).into_iter().max().map(|longest| longest.as_secs_f64() * 1e3);
    let longest = stated.into_iter().chain(measured).reduce(f64::max).ok_or("E2E")? / 1e3;
    let is_too_short = duration < longest * 0.99;
    let finding = is_too_short.then(|| AuditFinding {
        check: AuditCheck::LongestRequest,
        level: AuditLevel::Impossible,
        figure: "duration".to_owned(),
        measure: Some(AuditMeasure::at_least(duration, longest, "s")),
        reason: "the longest request alone takes longer".to_owned(),
    });
    Ok(finding.into_iter().collect())
}

/// Latencies describe the answered requests only.
pub(super) fn failures(result: &StatedResult) -> CheckResult {
    let share = result.failure_rate().ok_or("the numbers of answered and failed requests")?;
    let level = level(share, FAILURES);
    let finding = level.map(|level| AuditFinding {
        check: AuditCheck::Failures,
        level,
        figure: "failure rate".to_owned(),
        measure: Some(AuditMeasure::at_most(share * 100.0, FAILURES[0] * 100.0, "%")),
        reason: format!(
            "latencies and rates leave {} of {} requests out",
            result.failed.unwrap_or_default(),
            result.request_count().unwrap_or_default()
        ),
    });
    Ok(finding.into_iter().collect())
}

/// The tool's count of tokens against another one: the server's usage, or the tool's tokenizer.
pub(super) fn token_counts(result: &StatedResult) -> CheckResult {
    let pair = |tokens: &StatedTokens| tokens.total.zip(tokens.recount).filter(|(_, recount)| *recount > 0);
    let (input, output) = (pair(&result.input_tokens), pair(&result.output_tokens));
    if input.is_none() && output.is_none() {
        return Err("a second count of the tokens, such as the server's usage");
    }
    let second = result.tool.recount_name();
    let finding = |name: &str, (total, recount): (u64, u64), at_most: AuditLevel, cause: &str| {
        let level = level(deviation(total as f64, recount as f64), RECOUNT)?;
        Some(AuditFinding {
            check: AuditCheck::TokenCounts,
            level: level.min(at_most),
            figure: format!("{name} tokens"),
            measure: Some(AuditMeasure::about(total as f64, recount as f64, "tokens")),
            reason: format!("{second} has another number: {cause}"),
        })
    };
    // Texts that are tokenized again need not give the same tokens.
    let worst =
        if result.tool == Tool::SglangBench { AuditLevel::Doubtful } else { AuditLevel::Unbelievable };
    let input = input.and_then(|pair| {
        let cause = "a chat template is not counted, or another tokenizer counts";
        finding("input", pair, AuditLevel::Doubtful, cause)
    });
    let output = output.and_then(|pair| {
        let cause = "throughput and TPOT are of one of the two counts";
        finding("output", pair, worst, cause)
    });
    Ok(input.into_iter().chain(output).collect())
}

/// The level of a share; `None` up to the first limit.
pub(super) fn level(share: f64, [doubtful, unbelievable]: [f64; 2]) -> Option<AuditLevel> {
    match share {
        share if share > unbelievable => Some(AuditLevel::Unbelievable),
        share if share > doubtful => Some(AuditLevel::Doubtful),
        _ => None,
    }
}
