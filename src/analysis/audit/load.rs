//! The load: requests in flight and arrivals.

use super::totals::level;
use super::{AuditCheck, AuditFinding, AuditLevel, AuditMeasure, CheckResult, deviation};
use crate::model::metrics::Latency;
use crate::model::stated::StatedResult;
use crate::model::units::Rate;

/// How far the mean in flight may be above a cap, by rounding.
const CAP_TOLERANCE: f64 = 0.02;

/// How far two means in flight may differ.
const MEAN_TOLERANCE: f64 = 0.1;

/// The requests for each of a closed loop's slots from which start and end hardly count.
const ROUNDS: u64 = 5;

/// The missing shares of a closed loop's concurrency that are doubtful, and unbelievable.
const IDLE: [f64; 2] = [0.3, 0.5];

/// The difference of arrival rates that is doubtful besides chance, and the one that is unbelievable.
const RATE_DIFFERENCE: [f64; 2] = [0.05, 0.5];

/// The mean number of requests in flight by Little's law: rate times mean E2E.
fn mean_in_flight(result: &StatedResult) -> Result<f64, &'static str> {
    let counted = result.completed.zip(result.duration_s).filter(|(_, duration)| *duration > 0.0);
    let counted = counted.map(|(completed, duration)| completed as f64 / duration);
    let rate = result.rates.get("request_throughput").copied().or(counted);
    let rate = rate.ok_or("the rate of requests")?;
    Ok(rate * mean_e2e(result).ok_or("E2E")? / 1e3)
}

/// The mean E2E in milliseconds, as stated or over the requests in the file.
fn mean_e2e(result: &StatedResult) -> Option<f64> {
    let stated = result.latencies.get(&Latency::E2e).and_then(|stated| stated.mean_ms);
    stated.or_else(|| {
        let values = result.samples(Latency::E2e);
        let sum: f64 = values.iter().map(|value| value.as_secs_f64() * 1e3).sum();
        (!values.is_empty()).then(|| sum / values.len() as f64)
    })
}

/// The mean in flight is at most the cap, and equals the mean that the file states.
pub(super) fn littles_law(result: &StatedResult) -> CheckResult {
    let mean = mean_in_flight(result)?;
    let cap = result.load.max_concurrency.map(|cap| cap as f64);
    if cap.is_none() && result.mean_in_flight.is_none() {
        return Err("a cap on the requests in flight, or their mean");
    }
    let finding = |measure, level, reason: &str| AuditFinding {
        check: AuditCheck::LittlesLaw,
        level,
        figure: "mean in flight, rate × mean E2E".to_owned(),
        measure: Some(measure),
        reason: reason.to_owned(),
    };
    let above = cap.filter(|cap| mean > cap * (1.0 + CAP_TOLERANCE)).map(|cap| {
        let reason = "more requests were in flight than the load allows: the rate or E2E is wrong";
        finding(AuditMeasure::at_most(mean, cap, "requests"), AuditLevel::Impossible, reason)
    });
    let differs = result.mean_in_flight.filter(|stated| deviation(mean, *stated) > MEAN_TOLERANCE);
    let differs = differs.map(|stated| {
        let reason = "the file states another mean: rate, E2E and concurrency do not belong together";
        finding(AuditMeasure::about(mean, stated, "requests"), AuditLevel::Unbelievable, reason)
    });
    Ok(above.into_iter().chain(differs).collect())
}

/// A closed loop that does not keep its requests in flight waits for the client.
pub(super) fn concurrency_kept(result: &StatedResult) -> CheckResult {
    let is_paced = result.load.request_rate.is_some_and(Rate::is_finite);
    let cap = result.load.max_concurrency.filter(|_| !is_paced).ok_or("a closed loop")?;
    let count = result.completed.ok_or("the number of answered requests")?;
    if count < ROUNDS * cap {
        return Err("five requests for each that may be in flight");
    }
    let mean = mean_in_flight(result)?;
    let finding = level(1.0 - mean / cap as f64, IDLE).map(|level| AuditFinding {
        check: AuditCheck::ConcurrencyKept,
        level,
        figure: "mean in flight, rate × mean E2E".to_owned(),
        measure: Some(AuditMeasure::at_least(mean, (1.0 - IDLE[0]) * cap as f64, "requests")),
        reason: format!(
            "the client did not keep {cap} requests in flight, or long requests outlasted the others"
        ),
    });
    Ok(finding.into_iter().collect())
}

/// The achieved rate is the rate that was asked for, as far as chance allows.
pub(super) fn arrival_rate(result: &StatedResult) -> CheckResult {
    let offered = result.load.request_rate.filter(|rate| rate.is_finite()).ok_or("a finite rate")?.get();
    let count = result.request_count().ok_or("the number of requests")? as f64;
    let (name, achieved) = achieved_rate(result, count).ok_or("the starts of the requests")?;
    let variation = result.load.burstiness.map_or(1.0, |shape| 1.0 / shape.max(f64::MIN_POSITIVE).sqrt());
    let chance = 3.0 * variation / count.max(1.0).sqrt();
    let difference = deviation(achieved, offered);
    let finding = level(difference - chance, RATE_DIFFERENCE).map(|level| AuditFinding {
        check: AuditCheck::ArrivalRate,
        level,
        figure: name.to_owned(),
        measure: Some(AuditMeasure::about(achieved, offered, "req/s")),
        reason: "the server was measured under another load than the one asked for".to_owned(),
    });
    Ok(finding.into_iter().collect())
}

/// The rate of arrivals: as stated, from the starts of the requests, or from their number and the duration without the
/// last answers.
fn achieved_rate(result: &StatedResult, count: f64) -> Option<(&'static str, f64)> {
    if let Some(rate) = result.arrival_rate {
        return Some(("achieved arrival rate", rate));
    }
    if let Some(rate) = rate_of_starts(result) {
        return Some(("arrival rate, from the starts of the requests", rate));
    }
    let sending = result.duration_s? - mean_e2e(result)? / 1e3;
    (sending > 0.0)
        .then(|| ("arrival rate, requests over the duration without the mean E2E", count / sending))
}

fn rate_of_starts(result: &StatedResult) -> Option<f64> {
    let starts: Vec<f64> = result.requests.iter().flatten().filter_map(|request| request.start_s).collect();
    let first = starts.iter().copied().reduce(f64::min)?;
    let span = starts.iter().copied().reduce(f64::max)? - first;
    (starts.len() > 2 && span > 0.0).then(|| (starts.len() - 1) as f64 / span)
}
