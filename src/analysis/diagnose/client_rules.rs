//! Rules about problems that the client saw: in itself, in its requests, or on the way to the server.

use std::time::Duration;

use super::evidence::{DiagnosisEvidence, alert_range};
use crate::analysis::diagnose::latency_rules::slow_first_token;
use crate::analysis::diagnose::rule_evaluation::{
    EvidenceSource, FactTime, ObservedFact, RuleEvaluation, RuleJudgment, TimeRange,
};
use crate::model::metrics::FailureCount;
use crate::model::record::{FailureClass, TimeoutPhase};
use crate::model::run::Run;
use crate::model::server::{ServerSignal, Severity};
use crate::model::validity::{Check, CheckName, CheckOutcome, Quantity};
use crate::server::log_summary::LogIssue;
use crate::stats::percentile;

/// The checks of a run's verdict that concern the client.
const CLIENT_CHECKS: [CheckName; 6] = [
    CheckName::ScheduleLag,
    CheckName::ReadDelay,
    CheckName::MergedReads,
    CheckName::ClientCpu,
    CheckName::WallClock,
    CheckName::Descriptors,
];

/// The number of characters shown of a failure's example.
const MAX_EXAMPLE_CHARS: usize = 120;

/// The client was the bottleneck.
pub(super) fn client_bottleneck(evidence: &DiagnosisEvidence<'_>) -> RuleJudgment {
    let mut case = RuleEvaluation::default();
    let checks = evidence.run.into_iter().flat_map(|run| &run.validity.checks);
    for check in checks.filter(|check| CLIENT_CHECKS.contains(&check.name)) {
        let level = match check.outcome {
            CheckOutcome::NotJudged => continue,
            CheckOutcome::Passed => {
                case.mark_checked();
                continue;
            }
            CheckOutcome::Warning => Severity::Hint,
            CheckOutcome::Invalid => Severity::Alert,
        };
        let mut fact = ObservedFact::new(EvidenceSource::Result, check.name.label());
        (fact.figure, fact.bound) = (check.figure, check.bound.map(super::FactBound::Above));
        case.add_finding(level, fact);
    }
    case.into_judgment()
}

/// Requests failed.
pub(super) fn failures(evidence: &DiagnosisEvidence<'_>) -> RuleJudgment {
    let mut case = RuleEvaluation::default();
    let Some(run) = evidence.run else { return case.into_judgment() };
    case.mark_checked();
    let servers: Vec<_> =
        run.metrics.failures.iter().filter(|failure| is_server_side(failure.class)).collect();
    let failed: usize = servers.iter().map(|failure| failure.count).sum();
    let share = failed as f64 / run.metrics.request_count().max(1) as f64;
    let level = if share > run.spec.max_failure_rate { Severity::Alert } else { Severity::Warn };
    for failure in servers {
        case.add_finding(level, failure_class_fact(failure));
    }
    let most = Quantity::Share(run.spec.max_failure_rate);
    case.add_note(
        ObservedFact::new(EvidenceSource::Result, "share of requests that failed")
            .with_quantity(Quantity::Share(share))
            .above(most),
    );
    case.into_judgment()
}

fn failure_class_fact(failure: &FailureCount) -> ObservedFact {
    let example: String = failure.example.chars().take(MAX_EXAMPLE_CHARS).collect();
    let example =
        if example.trim().is_empty() { String::new() } else { format!(", such as `{}`", example.trim()) };
    let what = format!("{} ({}){example}", failure.class, class_meaning(failure.class));
    ObservedFact::new(EvidenceSource::Result, what).with_quantity(Quantity::Count(failure.count as u64))
}

/// Neither the client nor the user's settings cause failures of this class.
fn is_server_side(class: FailureClass) -> bool {
    !matches!(
        class,
        FailureClass::Descriptors | FailureClass::Ports | FailureClass::Cancelled | FailureClass::Abandoned
    )
}

/// What a class of failures usually means for the server.
fn class_meaning(class: FailureClass) -> &'static str {
    match class {
        FailureClass::Connect | FailureClass::Refused => {
            "no server listens there, or its connection backlog is full"
        }
        FailureClass::Tls => "certificate or proxy",
        FailureClass::Timeout(TimeoutPhase::Connect) => {
            "the network, or a server that accepts no more connections"
        }
        FailureClass::Timeout(TimeoutPhase::Headers | TimeoutPhase::FirstToken) => {
            "a long queue, or an engine that hangs"
        }
        FailureClass::Timeout(TimeoutPhase::Stream) => {
            "an answer longer than `target.timeout`, or an engine that stopped"
        }
        FailureClass::Status(429 | 503) => "the server or a proxy in front of it rejects load",
        FailureClass::Status(500..) => "the server failed; see its log",
        FailureClass::Status(_) => {
            "the server rejects the request; check its model name, length and parameters"
        }
        FailureClass::BrokenStream => "the engine died, or a proxy cut the connection",
        FailureClass::ErrorEvent => "the server reported an error during the response",
        FailureClass::Aborted => {
            "the server aborted the request: an engine that was stopped, scaled down or out of memory"
        }
        FailureClass::ServerTimeout => "the server's own time limit for a request",
        FailureClass::ServerOverloaded => "the server had no resources left for the request",
        FailureClass::UnknownFinishReason => "a finish reason that is not known to be a success",
        FailureClass::OverLimit => "the server ignores the token limit in the request",
        FailureClass::EmptyStream => "an answer without a token",
        FailureClass::Descriptors | FailureClass::Ports => "the client's own limit",
        FailureClass::Cancelled | FailureClass::Abandoned => "the client closed the connection",
    }
}

/// The server restarted during the measurement.
pub(super) fn server_restart(evidence: &DiagnosisEvidence<'_>) -> RuleJudgment {
    let mut case = RuleEvaluation::default();
    for (origin, side) in evidence.server_metrics() {
        case.mark_checked();
        for at in side.restarts() {
            let start = Duration::try_from_secs_f64(at).ok().map(FactTime::Offset);
            let when = start.map(|start| TimeRange { start, lasted: Duration::ZERO });
            case.add_finding(
                Severity::Alert,
                ObservedFact::new(origin, "the server's counters were reset").with_time(when),
            );
        }
    }
    case.into_judgment()
}

/// A check of the run's verdict.
fn find_check(run: &Run, name: CheckName) -> Option<&Check> {
    run.validity.checks.iter().find(|check| check.name == name)
}

/// A component between client and server buffers the streams.
pub(super) fn buffering(evidence: &DiagnosisEvidence<'_>) -> RuleJudgment {
    let mut case = RuleEvaluation::default();
    let bursts = evidence.run.and_then(|run| find_check(run, CheckName::Bursts));
    let Some(bursts) = bursts.filter(|check| check.outcome != CheckOutcome::NotJudged) else {
        return case.into_judgment();
    };
    case.mark_checked();
    if bursts.outcome != CheckOutcome::Passed {
        let mut fact = ObservedFact::new(
            EvidenceSource::Result,
            "share of the answers that begin with several events at once",
        );
        (fact.figure, fact.bound) = (bursts.figure, bursts.bound.map(super::FactBound::Above));
        case.add_finding(Severity::Alert, fact);
        for (origin, side) in evidence.server_metrics() {
            let server = side.histogram_total(ServerSignal::Ttft).and_then(|times| times.mean_time());
            if let Some(ttft) = server {
                case.add_note(
                    ObservedFact::new(origin, "mean TTFT at the server").with_quantity(Quantity::Time(ttft)),
                );
            }
        }
    }
    case.into_judgment()
}

/// Requests pile up if the median TTFT at the end of a run is at least this multiple of that at its beginning ...
const TTFT_GROWTH_FACTOR: u32 = 2;

/// ... and longer by at least this much.
const MIN_TTFT_GROWTH: Duration = Duration::from_millis(500);

/// The number of seconds with first tokens that a trend needs.
const MIN_SECONDS: usize = 6;

/// Requests arrive faster than the server answers them.
pub(super) fn pile_up(evidence: &DiagnosisEvidence<'_>) -> RuleJudgment {
    let mut case = RuleEvaluation::default();
    let Some(run) = evidence.run else { return case.into_judgment() };
    if !run.spec.load.is_paced() {
        // Without an arrival rate, requests cannot pile up.
        return RuleJudgment::Fine;
    }
    let verdict = find_check(run, CheckName::Stationarity);
    match verdict.map(|check| (check.outcome, check.figure, check.bound)) {
        Some((CheckOutcome::Passed | CheckOutcome::Warning, ..)) => case.mark_checked(),
        Some((CheckOutcome::Invalid, Some(figure), Some(bound))) => {
            let fact = ObservedFact::new(EvidenceSource::Result, "share of the arrivals that piled up")
                .with_quantity(figure);
            case.add_finding(Severity::Warn, fact.above(bound));
        }
        // There are too few requests for the verdict, but their first tokens may show a trend.
        _ => ttft_growth(run, &mut case),
    }
    if !case.is_found() {
        return case.into_judgment();
    }
    if let Some((true, slow)) = slow_first_token(evidence) {
        case.add_finding(Severity::Alert, slow);
    }
    let in_flight = Quantity::Count(run.metrics.peak_in_flight as u64);
    case.add_note(
        ObservedFact::new(EvidenceSource::Result, "peak requests in flight").with_quantity(in_flight),
    );
    if let Some(waiting) = run.server.as_ref().and_then(|side| side.gauge_summary(ServerSignal::Waiting)) {
        let what = "peak requests waiting at the server itself";
        case.add_note(
            ObservedFact::new(EvidenceSource::Result, what)
                .with_quantity(Quantity::Count(waiting.peak as u64)),
        );
    }
    case.into_judgment()
}

/// Checks whether first tokens take longer and longer.
fn ttft_growth(run: &Run, case: &mut RuleEvaluation) {
    let seconds = run.series.ttft.p50_s.iter().flatten();
    let medians: Vec<_> = seconds.filter_map(|ttft| Duration::try_from_secs_f64(*ttft).ok()).collect();
    if medians.len() < MIN_SECONDS {
        return;
    }
    case.mark_checked();
    let median = |part: &[Duration]| {
        let mut part = part.to_vec();
        part.sort_unstable();
        percentile(&part, 50.0)
    };
    let third = medians.len() / 3;
    let (first, last) = (median(&medians[..third]), median(&medians[medians.len() - third..]));
    if let (Some(first), Some(last)) = (first, last)
        && last > first * TTFT_GROWTH_FACTOR
        && last - first > MIN_TTFT_GROWTH
    {
        let fact = ObservedFact::new(EvidenceSource::Result, "median TTFT in the last third of the run");
        case.add_finding(
            Severity::Warn,
            fact.with_quantity(Quantity::Time(last)).above(Quantity::Time(first * TTFT_GROWTH_FACTOR)),
        );
        case.add_note(
            ObservedFact::new(EvidenceSource::Result, "median TTFT in the first third")
                .with_quantity(Quantity::Time(first)),
        );
    }
}

/// The server's log contains errors.
pub(super) fn log_errors(evidence: &DiagnosisEvidence<'_>) -> RuleJudgment {
    let mut case = RuleEvaluation::default();
    if evidence.log.is_some() {
        case.mark_checked();
    }
    let troubles = [
        (LogIssue::Errors, Severity::Warn, "lines of level ERROR or of a traceback"),
        (LogIssue::ServerErrors, Severity::Alert, "requests answered with 5xx"),
        (LogIssue::Refusals, Severity::Warn, "requests rejected with 4xx"),
        (LogIssue::Clock, Severity::Hint, "seconds by which timestamps go backwards"),
    ];
    for (trouble, level, what) in troubles {
        for alert in evidence.alerts(trouble) {
            let fact = ObservedFact::new(EvidenceSource::Log, what)
                .with_quantity(Quantity::Count(alert.worst as u64));
            case.add_finding(level, fact.with_time(alert_range(alert)));
        }
    }
    case.into_judgment()
}
