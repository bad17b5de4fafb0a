//! Requests: their phases, their tokens, their prompts, and the statistics that are said to be theirs.

use super::totals::level;
use super::{AuditCheck, AuditFinding, AuditLevel, AuditMeasure, CheckResult, deviation};
use crate::model::metrics::Latency;
use crate::model::stated::{StatedRequest, StatedResult};

/// Rounding and short steps after the last token, as a share and in milliseconds.
const PHASE_TOLERANCE: (f64, f64) = (0.05, 5.0);

/// The share of requests that may miss it.
const EXCEPTIONS: f64 = 0.05;

/// The factor by which means may miss it where answers have different lengths, whose TPOTs weigh differently.
const MEANS_FACTOR: f64 = 3.0;

/// The deviation of a stated mean from that of the requests.
const MEAN_TOLERANCE: f64 = 0.02;

/// The shares of successes without tokens that are doubtful, and unbelievable.
const EMPTY: [f64; 2] = [0.0, 0.01];

/// The shares of repeated prompts that are doubtful, and unbelievable.
const REPEATED: [f64; 2] = [0.05, 0.5];

fn answered(result: &StatedResult) -> impl Iterator<Item = &StatedRequest> {
    result.requests.iter().flatten().filter(|request| !request.failed)
}

/// No request has its first token after its end, so no statistic of TTFT is above that of E2E.
pub(super) fn ttft_within_e2e(result: &StatedResult) -> CheckResult {
    let impossible = |figure: String, value, bound, reason: &str| AuditFinding {
        check: AuditCheck::TtftWithinE2e,
        level: AuditLevel::Impossible,
        figure,
        measure: Some(AuditMeasure::at_most(value, bound, "ms")),
        reason: reason.to_owned(),
    };
    let is_above = |ttft: f64, e2e: f64| ttft > e2e * 1.001 + 0.01;
    let pairs: Vec<_> = answered(result).filter_map(|request| request.ttft_ms.zip(request.e2e_ms)).collect();
    let single = pairs.iter().find(|(ttft, e2e)| is_above(*ttft, *e2e));
    let mut findings: Vec<AuditFinding> = Vec::new();
    findings.extend(single.map(|(ttft, e2e)| {
        impossible("TTFT of a request".to_owned(), *ttft, *e2e, "its first token comes after its end")
    }));
    let stated = result.latencies.get(&Latency::Ttft).zip(result.latencies.get(&Latency::E2e));
    let Some((ttft, e2e)) = stated else {
        return if pairs.is_empty() { Err("TTFT and E2E") } else { Ok(findings) };
    };
    let percentiles = ttft.percentiles.iter();
    let percentiles =
        percentiles.map(|at| (format!("TTFT P{}", at.p), Some(at.value_ms), e2e.percentile(at.p)));
    let others = [
        ("TTFT mean".to_owned(), ttft.mean_ms, e2e.mean_ms),
        ("TTFT max".to_owned(), ttft.max_ms, e2e.max_ms),
    ];
    for (name, ttft, e2e) in others.into_iter().chain(percentiles) {
        let Some((ttft, e2e)) = ttft.zip(e2e).filter(|(ttft, e2e)| is_above(*ttft, *e2e)) else { continue };
        findings.push(impossible(name, ttft, e2e, "TTFT is a part of E2E"));
    }
    Ok(findings)
}

/// TTFT and the gaps after it add up to E2E: for each request where the file has them, else for the means.
pub(super) fn decode_time(result: &StatedResult) -> CheckResult {
    let pairs: Vec<(f64, f64)> =
        answered(result).filter_map(|request| Some((phases(request)?, request.e2e_ms?))).collect();
    if pairs.is_empty() {
        return decode_time_of_means(result);
    }
    let (share, floor) = PHASE_TOLERANCE;
    let misses = |(sum, e2e): &&(f64, f64)| (sum - e2e).abs() > share * e2e.abs() + floor;
    let count = pairs.iter().filter(misses).count();
    let first = pairs.iter().find(misses).filter(|_| count as f64 > EXCEPTIONS * pairs.len() as f64);
    let finding = first.map(|(sum, e2e)| AuditFinding {
        check: AuditCheck::DecodeTime,
        level: AuditLevel::Impossible,
        figure: "E2E of a request".to_owned(),
        measure: Some(AuditMeasure::about(*e2e, *sum, "ms")),
        reason: format!(
            "TTFT and the time per token do not add up to E2E in {count} of {} requests",
            pairs.len()
        ),
    });
    Ok(finding.into_iter().collect())
}

/// TTFT and the gaps, or TTFT and TPOT for all tokens but the first.
fn phases(request: &StatedRequest) -> Option<f64> {
    let ttft = request.ttft_ms?;
    if !request.itl_ms.is_empty() {
        return Some(ttft + request.itl_ms.iter().sum::<f64>());
    }
    let after_first = request.output_tokens.filter(|tokens| *tokens > 1)? - 1;
    Some(ttft + request.tpot_ms? * after_first as f64)
}

fn decode_time_of_means(result: &StatedResult) -> CheckResult {
    let mean = |latency| result.latencies.get(&latency).and_then(|stated| stated.mean_ms);
    let (Some(ttft), Some(tpot), Some(e2e)) = (mean(Latency::Ttft), mean(Latency::Tpot), mean(Latency::E2e))
    else {
        return Err("TTFT, TPOT and E2E");
    };
    let tokens = result.output_tokens.total.zip(result.completed).filter(|(_, completed)| *completed > 0);
    let (total, completed) = tokens.ok_or("output tokens")?;
    let tokens = total as f64 / completed as f64;
    if tokens < 2.0 {
        return Err("answers of several tokens");
    }
    let sum = ttft + tpot * (tokens - 1.0);
    let lengths = result.output_tokens.lengths;
    let is_equal = lengths.min.is_some() && lengths.min == lengths.max;
    let (level, most) = match is_equal {
        true => (AuditLevel::Impossible, 1.0 + 2.0 * PHASE_TOLERANCE.0),
        false => (AuditLevel::Unbelievable, MEANS_FACTOR),
    };
    let ratio = (sum / e2e).max(e2e / sum);
    let finding = (ratio.is_nan() || ratio > most).then(|| AuditFinding {
        check: AuditCheck::DecodeTime,
        level,
        figure: "E2E mean".to_owned(),
        measure: Some(AuditMeasure::about(e2e, sum, "ms")),
        reason: format!("TTFT mean + TPOT mean × {:.1} tokens after the first is another time", tokens - 1.0),
    });
    Ok(finding.into_iter().collect())
}

/// The stated number of answers and means are those of the requests in the file.
pub(super) fn against_stated(result: &StatedResult) -> CheckResult {
    if result.requests.is_none() {
        return Err("the requests");
    }
    if result.latencies.is_empty() {
        return Err("statistics of latencies");
    }
    let count = answered(result).count() as u64;
    let finding = |figure: String, measure, reason: &str| AuditFinding {
        check: AuditCheck::StatedAgainstRequests,
        level: AuditLevel::Impossible,
        figure,
        measure: Some(measure),
        reason: reason.to_owned(),
    };
    let mut findings = Vec::new();
    // A tool may save only some of the requests, but not more than there are.
    if let Some(completed) = result.completed.filter(|completed| count > *completed) {
        let measure = AuditMeasure::at_least(completed as f64, count as f64, "requests");
        findings.push(finding(
            "answered requests".to_owned(),
            measure,
            "the file has more answers than it counts",
        ));
    }
    for (latency, stated) in &result.latencies {
        let values = result.samples(*latency);
        // A weighted mean, or one of other requests, is another mean.
        let n = stated.n.map_or(result.completed == Some(count), |n| n == values.len() as u64);
        let Some(mean) = stated.mean_ms.filter(|_| n && !values.is_empty()) else { continue };
        let own = values.iter().map(|value| value.as_secs_f64() * 1e3).sum::<f64>() / values.len() as f64;
        if deviation(mean, own) > MEAN_TOLERANCE {
            let measure = AuditMeasure::about(mean, own, "ms");
            let reason = "the requests in the file have another mean";
            findings.push(finding(format!("{} mean", latency.symbol()), measure, reason));
        }
    }
    Ok(findings)
}

/// An answer without a token is no answer, and its zeros are in the means.
pub(super) fn zero_tokens(result: &StatedResult) -> CheckResult {
    let known: Vec<u64> = answered(result).filter_map(|request| request.output_tokens).collect();
    let empty = known.iter().filter(|tokens| **tokens == 0).count();
    let finding = |level, measure, reason: String| AuditFinding {
        check: AuditCheck::ZeroTokens,
        level,
        figure: "successes without output tokens".to_owned(),
        measure: Some(measure),
        reason,
    };
    if !known.is_empty() {
        let level = level(empty as f64 / known.len() as f64, EMPTY);
        let reason =
            format!("of {} successes; an answer without a token counts as fast, not as failed", known.len());
        let measure = AuditMeasure::at_most(empty as f64, 0.0, "requests");
        return Ok(level.map(|level| finding(level, measure, reason)).into_iter().collect());
    }
    let shortest = result.output_tokens.lengths.min.ok_or("output tokens of single requests")?;
    let is_empty = shortest < 1.0;
    let reason = "the shortest answer has no token; an answer without a token counts as fast, not as failed";
    let measure = AuditMeasure::at_least(shortest, 1.0, "tokens");
    Ok(is_empty.then(|| finding(AuditLevel::Doubtful, measure, reason.to_owned())).into_iter().collect())
}

/// A repeated prompt is answered from the prefix cache.
pub(super) fn repeated_prompts(result: &StatedResult) -> CheckResult {
    let distinct = result.distinct_prompts.ok_or("the prompts")? as f64;
    let listed = result.requests.as_ref().map(|requests| requests.len() as u64);
    let count = listed.or(result.request_count()).ok_or("the number of requests")? as f64;
    let finding = level(1.0 - distinct / count.max(1.0), REPEATED).map(|level| AuditFinding {
        check: AuditCheck::RepeatedPrompts,
        level,
        figure: "different prompts".to_owned(),
        measure: Some(AuditMeasure::at_least(distinct, ((1.0 - REPEATED[0]) * count).floor(), "prompts")),
        reason: format!("{count} requests repeat prompts, which a prefix cache answers without a prefill"),
    });
    Ok(finding.into_iter().collect())
}
