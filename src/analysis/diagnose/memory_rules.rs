//! Rules about the GPU's memory, and the KV pool in it.

use std::time::Duration;

use super::evidence::{DiagnosisEvidence, alert_range, counter_growth, level_history, sampled_duration};
use crate::analysis::diagnose::rule_evaluation::{
    EvidenceSource, ObservedFact, RuleEvaluation, RuleJudgment,
};
use crate::analysis::diagnose::setting_rules;
use crate::model::server::{ServerSignal, Severity, SignalLimit};
use crate::model::validity::Quantity;
use crate::server::log_summary::LogIssue;

/// A level that exceeds its bound in this share of the samples is not just a peak.
const MOST_OF_THE_TIME: f64 = 0.5;

/// The server ran out of memory.
pub(super) fn out_of_memory(evidence: &DiagnosisEvidence<'_>) -> RuleJudgment {
    let mut case = RuleEvaluation::default();
    if evidence.log.is_some() {
        case.mark_checked();
    }
    for alert in evidence.alerts(LogIssue::OutOfMemory) {
        let fact = ObservedFact::new(EvidenceSource::Log, "lines that report out of memory")
            .with_quantity(Quantity::Count(alert.worst as u64));
        case.add_finding(Severity::Alert, fact.with_time(alert_range(alert)));
    }
    let failures = evidence.run.into_iter().flat_map(|run| &run.metrics.failures);
    for failure in failures.filter(|failure| says_out_of_memory(&failure.example)) {
        let what = format!("failures ({}), the first reports out of memory", failure.class);
        case.add_finding(
            Severity::Alert,
            ObservedFact::new(EvidenceSource::Result, what)
                .with_quantity(Quantity::Count(failure.count as u64)),
        );
    }
    case.into_judgment()
}

fn says_out_of_memory(text: &str) -> bool {
    let text = text.to_lowercase();
    text.contains("out of memory") || text.contains("outofmemory")
}

/// Requests were preempted: they lost their blocks in the KV pool.
pub(super) fn preemptions(evidence: &DiagnosisEvidence<'_>) -> RuleJudgment {
    let mut case = RuleEvaluation::default();
    let fast = limit(ServerSignal::Preemptions).map_or(0.0, |limit| limit.bound);
    for (origin, side) in evidence.server_metrics() {
        let Some(count) = side.counter_total(ServerSignal::Preemptions) else { continue };
        case.mark_checked();
        if count > 0.0 {
            let per_second = count / sampled_duration(side).unwrap_or_default().as_secs_f64().max(1.0);
            let level = if per_second > fast { Severity::Alert } else { Severity::Warn };
            let fact = ObservedFact::new(origin, "preemptions").with_quantity(Quantity::Count(count as u64));
            case.add_finding(level, fact.with_time(counter_growth(side, ServerSignal::Preemptions)));
        }
    }
    if let Some(log) = evidence.log {
        if log.lines.statistics > 0 {
            case.mark_checked();
        }
        if log.preemptions > 0 {
            let when = evidence.alerts(LogIssue::Preemptions).next().and_then(alert_range);
            let fact = ObservedFact::new(EvidenceSource::Log, "preemptions")
                .with_quantity(Quantity::Count(log.preemptions));
            case.add_finding(Severity::Warn, fact.with_time(when));
        }
    }
    add_pool_note(evidence, &mut case);
    case.into_judgment()
}

/// Requests are swapped out to CPU memory.
pub(super) fn swapping(evidence: &DiagnosisEvidence<'_>) -> RuleJudgment {
    let mut case = RuleEvaluation::default();
    for (origin, side) in evidence.server_metrics() {
        for (signal, what) in [
            (ServerSignal::Swapped, "requests swapped out"),
            (ServerSignal::CpuKvUsage, "CPU KV cache usage"),
        ] {
            let Some(course) = level_history(side, signal, 0.0) else { continue };
            case.mark_checked();
            if course.peak > 0.0 {
                let figure = match signal {
                    ServerSignal::Swapped => Quantity::Count(course.peak as u64),
                    _ => Quantity::Share(course.peak),
                };
                let fact = ObservedFact::new(origin, format!("peak {what}")).with_quantity(figure);
                case.add_finding(
                    swap_severity(course.longest.map(|when| when.lasted)),
                    fact.with_time(course.longest),
                );
            }
        }
    }
    if setting_rules::is_v1(evidence) {
        // The V1 engine does not swap.
        case.mark_checked();
    }
    if evidence.log_reports(|levels| &levels.swapped) {
        case.mark_checked();
    }
    for levels in evidence.engine_levels() {
        if let Some(figures) = levels.swapped.summarize().filter(|figures| figures.max > 0.0) {
            let alert = evidence.alerts(LogIssue::Swapped).next();
            let figure = Quantity::Count(figures.max as u64);
            let fact =
                ObservedFact::new(EvidenceSource::Log, "peak requests swapped out").with_quantity(figure);
            case.add_finding(
                swap_severity(alert.map(|alert| alert.duration)),
                fact.with_time(alert.and_then(alert_range)),
            );
        }
    }
    case.into_judgment()
}

fn swap_severity(lasted: Option<Duration>) -> Severity {
    let enough = limit(ServerSignal::Swapped).map(|limit| limit.lasting);
    if lasted >= enough { Severity::Alert } else { Severity::Warn }
}

/// The KV pool is nearly full most of the time.
pub(super) fn kv_full(evidence: &DiagnosisEvidence<'_>) -> RuleJudgment {
    let mut case = RuleEvaluation::default();
    let Some(limit) = limit(ServerSignal::KvUsage) else { return case.into_judgment() };
    for (origin, side) in evidence.server_metrics() {
        let Some(course) = level_history(side, ServerSignal::KvUsage, limit.bound) else { continue };
        case.mark_checked();
        let lasted = course.longest.is_some_and(|when| when.lasted >= limit.lasting);
        if lasted || course.share >= MOST_OF_THE_TIME {
            let fact =
                ObservedFact::new(origin, "peak KV cache usage").with_quantity(Quantity::Share(course.peak));
            let level = if lasted { Severity::Alert } else { Severity::Warn };
            case.add_finding(level, fact.above(Quantity::Share(limit.bound)).with_time(course.longest));
        }
    }
    if evidence.log_reports(|levels| &levels.kv_cache_usage) {
        case.mark_checked();
    }
    for alert in evidence.alerts(LogIssue::KvCache) {
        let fact = ObservedFact::new(EvidenceSource::Log, "peak KV cache usage")
            .with_quantity(Quantity::Share(alert.worst / 100.0));
        case.add_finding(
            Severity::Alert,
            fact.above(Quantity::Share(alert.bound / 100.0)).with_time(alert_range(alert)),
        );
    }
    add_pool_note(evidence, &mut case);
    case.into_judgment()
}

/// Adds the size of the pool, if the log contains the start.
fn add_pool_note(evidence: &DiagnosisEvidence<'_>, case: &mut RuleEvaluation) {
    let Some(start) = evidence.log.map(|log| &log.start_up) else { return };
    if let Some(tokens) = start.kv_tokens {
        case.add_note(
            ObservedFact::new(EvidenceSource::Log, "KV pool size in tokens")
                .with_quantity(Quantity::Count(tokens)),
        );
    }
}

fn limit(signal: ServerSignal) -> Option<SignalLimit> {
    signal.info().limit
}
