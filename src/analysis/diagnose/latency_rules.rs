//! Rules about the time to the first token and between tokens.

use std::time::Duration;

use super::evidence::{DiagnosisEvidence, alert_range, level_history};
use crate::analysis::diagnose::rule_evaluation::{
    EvidenceSource, FactTime, ObservedFact, RuleEvaluation, RuleJudgment, TimeRange,
};
use crate::model::metrics::Latency;
use crate::model::metrics::waterfall::{Phase, Waterfall};
use crate::model::run::Run;
use crate::model::server::{ServerSignal, Severity};
use crate::model::validity::Quantity;
use crate::server::log_summary::LogIssue;

/// The number of requests from which a batch is large, if the limit of the batch is unknown.
pub(super) const LARGE_BATCH: f64 = 32.0;

/// The share of `--max-num-seqs` from which a batch is full.
const FULL_BATCH_SHARE: f64 = 0.8;

/// The share from which a part is the main cause of the whole.
const MAJOR_SHARE: f64 = 0.5;

/// The smallest gap between the server's and the client's TTFT that the rule reports ...
const MIN_GAP: Duration = Duration::from_millis(50);

/// ... if the gap is at least this share of the client's TTFT.
const MIN_GAP_SHARE: f64 = 0.3;

/// Requests wait for a place in the batch, which delays their first tokens.
pub(super) fn request_queue(evidence: &DiagnosisEvidence<'_>) -> RuleJudgment {
    let mut case = queue_evaluation(evidence);
    match slow_first_token(evidence) {
        // With a short queue or none, another rule explains the TTFT.
        Some((true, fact)) if case.is_found() => case.add_finding(Severity::Alert, fact),
        Some((false, fact)) if case.is_found() => {
            case.cap_severity(Severity::Hint);
            case.add_note(fact);
        }
        _ => {}
    }
    if let Some(fact) = all_at_once(evidence) {
        case.cap_severity(Severity::Warn);
        case.add_note(fact);
    }
    case.into_judgment()
}

/// Collects the evidence for a queue.
fn queue_evaluation(evidence: &DiagnosisEvidence<'_>) -> RuleEvaluation {
    let mut case = RuleEvaluation::default();
    let bound = ServerSignal::Waiting.info().limit.map_or(0.0, |limit| limit.bound);
    for (origin, side) in evidence.server_metrics() {
        let Some(course) = level_history(side, ServerSignal::Waiting, bound) else { continue };
        case.mark_checked();
        if course.peak > bound {
            let fact = ObservedFact::new(origin, "peak requests waiting")
                .with_quantity(Quantity::Count(course.peak as u64));
            case.add_finding(
                Severity::Warn,
                fact.above(Quantity::Count(bound as u64)).with_time(course.longest),
            );
            if let Some(time) =
                side.histogram_total(ServerSignal::QueueTime).and_then(|times| times.mean_time())
            {
                case.add_note(
                    ObservedFact::new(origin, "mean time in the queue").with_quantity(Quantity::Time(time)),
                );
            }
        }
    }
    if evidence.log_reports(|levels| &levels.waiting) {
        case.mark_checked();
    }
    for alert in evidence.alerts(LogIssue::Waiting) {
        let fact = ObservedFact::new(EvidenceSource::Log, "peak requests waiting")
            .with_quantity(Quantity::Count(alert.worst as u64));
        case.add_finding(
            Severity::Warn,
            fact.above(Quantity::Count(alert.bound as u64)).with_time(alert_range(alert)),
        );
    }
    if evidence.alerts(LogIssue::Waiting).next().is_none() {
        brief_queue(evidence, &mut case, bound);
    }
    queue_of_slowest(evidence, &mut case);
    case
}

/// Where the time of the run's requests went, if the answers have the server's own times.
fn waterfall<'a>(evidence: &DiagnosisEvidence<'a>) -> Option<&'a Waterfall> {
    evidence.run?.metrics.waterfall.as_ref()
}

/// Adds that the slowest requests spent most of their TTFT in the server's queue.
fn queue_of_slowest(evidence: &DiagnosisEvidence<'_>, case: &mut RuleEvaluation) {
    let share = waterfall(evidence).and_then(|waterfall| waterfall.phase(Phase::Queue)?.slowest_share);
    let Some(share) = share.map(|share| share.value) else { return };
    case.mark_checked();
    if share >= MAJOR_SHARE {
        let what = "share of the server's queue in the TTFT of the slowest 1 %";
        let fact = ObservedFact::new(EvidenceSource::Result, what).with_quantity(Quantity::Share(share));
        case.add_finding(Severity::Warn, fact.above(Quantity::Share(MAJOR_SHARE)));
    }
}

/// Adds a queue that appears in too few lines of the log to be an alert there.
fn brief_queue(evidence: &DiagnosisEvidence<'_>, case: &mut RuleEvaluation, bound: f64) {
    let peaks = evidence.engine_levels().filter_map(|levels| levels.waiting.summarize());
    if let Some(peak) = peaks.filter(|figures| figures.max > bound).max_by(|a, b| a.max.total_cmp(&b.max)) {
        let fact = ObservedFact::new(EvidenceSource::Log, "brief peak of requests waiting");
        let fact = fact.with_quantity(Quantity::Count(peak.max as u64)).above(Quantity::Count(bound as u64));
        let when = peak.at.map(|at| TimeRange { start: FactTime::Moment(at), lasted: Duration::ZERO });
        case.add_finding(Severity::Hint, fact.with_time(when));
    }
}

/// A load without a schedule and without a concurrency cap forms one long queue.
fn all_at_once(evidence: &DiagnosisEvidence<'_>) -> Option<ObservedFact> {
    let load = &evidence.run?.spec.load;
    let unlimited = !load.is_paced() && load.closed_loop_size().is_none();
    unlimited.then(|| {
        ObservedFact::new(
            EvidenceSource::Result,
            "all requests were due at once, so the load itself causes the queue",
        )
    })
}

/// Whether TTFT is above its limit, with its value; `None` if no source reports it.
pub(super) fn slow_first_token(evidence: &DiagnosisEvidence<'_>) -> Option<(bool, ObservedFact)> {
    let (origin, p95, is_lower_bound) = evidence.ttft_p95()?;
    let bound = Duration::try_from_secs_f64(ServerSignal::Ttft.info().limit?.bound).ok()?;
    let what =
        if is_lower_bound { "TTFT P95, above the server's last bucket, more than" } else { "TTFT P95" };
    let fact = ObservedFact::new(origin, what).with_quantity(Quantity::Time(p95));
    Some(if p95 > bound || is_lower_bound {
        (true, fact.above(Quantity::Time(bound)))
    } else {
        (false, fact)
    })
}

/// Prompts take long to compute, and no queue precedes them.
pub(super) fn slow_prefill(evidence: &DiagnosisEvidence<'_>) -> RuleJudgment {
    let mut case = RuleEvaluation::default();
    let Some((slow, first)) = slow_first_token(evidence) else { return case.into_judgment() };
    let by_client = evidence.run.and_then(|run| Some(run.metrics.latencies.get(&Latency::Ttft)?.mean));
    for (origin, side) in evidence.server_metrics() {
        let mean = |signal| side.histogram_total(signal)?.mean_time();
        let (Some(prefill), Some(ttft)) = (mean(ServerSignal::PrefillTime), mean(ServerSignal::Ttft)) else {
            continue;
        };
        case.mark_checked();
        let queue = mean(ServerSignal::QueueTime).unwrap_or_default();
        // Time on the way to the client does not come from computing prompts.
        let whole = ttft.max(by_client.filter(|_| origin == EvidenceSource::Result).unwrap_or_default());
        if slow && prefill > queue && prefill >= whole.mul_f64(MAJOR_SHARE) {
            case.add_finding(
                Severity::Warn,
                ObservedFact::new(origin, "mean prefill time").with_quantity(Quantity::Time(prefill)),
            );
            case.add_note(
                ObservedFact::new(origin, "mean TTFT at the server").with_quantity(Quantity::Time(ttft)),
            );
        }
    }
    if let Some(prefill) = waterfall(evidence).and_then(|waterfall| waterfall.phase(Phase::Prefill)) {
        case.mark_checked();
        let share = prefill.share.map_or(0.0, |share| share.value);
        if slow && share >= MAJOR_SHARE {
            let what = "share of prefill in TTFT, by the server's times";
            let fact = ObservedFact::new(EvidenceSource::Result, what).with_quantity(Quantity::Share(share));
            case.add_finding(Severity::Warn, fact.above(Quantity::Share(MAJOR_SHARE)));
        }
    }
    case.add_note(first);
    case.into_judgment()
}

/// The client receives first tokens long after the server has sent them.
pub(super) fn client_server_gap(evidence: &DiagnosisEvidence<'_>) -> RuleJudgment {
    let mut case = RuleEvaluation::default();
    let sides = evidence.run.and_then(|run| {
        let ours = run.metrics.latencies.get(&Latency::Ttft)?.mean;
        let by_histogram = || run.server.as_ref()?.histogram_total(ServerSignal::Ttft)?.mean_time();
        Some((ours, by_histogram().or_else(|| server_ttft(run.metrics.waterfall.as_ref()?))?))
    });
    if let Some((ours, theirs)) = sides {
        case.mark_checked();
        let between = ours.saturating_sub(theirs);
        let bound = MIN_GAP.max(ours.mul_f64(MIN_GAP_SHARE));
        if between > bound {
            let fact =
                ObservedFact::new(EvidenceSource::Result, "mean TTFT at the client minus that at the server");
            case.add_finding(
                Severity::Warn,
                fact.with_quantity(Quantity::Time(between)).above(Quantity::Time(bound)),
            );
            case.add_note(
                ObservedFact::new(EvidenceSource::Result, "mean TTFT at the client")
                    .with_quantity(Quantity::Time(ours)),
            );
            case.add_note(
                ObservedFact::new(EvidenceSource::Result, "mean TTFT at the server")
                    .with_quantity(Quantity::Time(theirs)),
            );
        }
    }
    case.into_judgment()
}

/// The mean time of a request in the server until its first token; `None` if its queue is not known.
fn server_ttft(waterfall: &Waterfall) -> Option<Duration> {
    Some(waterfall.phase(Phase::Queue)?.mean + waterfall.phase(Phase::Prefill)?.mean)
}

/// Tokens are slow because many requests share each step.
pub(super) fn large_batch(evidence: &DiagnosisEvidence<'_>) -> RuleJudgment {
    let Some((slow, tokens)) = slow_tokens(evidence) else { return RuleJudgment::Unknown };
    let mut case = RuleEvaluation::default();
    if let Some((many, running)) = batch_size(evidence) {
        case.mark_checked();
        if slow && many {
            case.add_finding(Severity::Warn, tokens);
            case.add_note(running);
        }
    }
    case.into_judgment()
}

/// Tokens are slow although few requests run.
pub(super) fn slow_steps(evidence: &DiagnosisEvidence<'_>) -> RuleJudgment {
    let Some((slow, tokens)) = slow_tokens(evidence) else { return RuleJudgment::Unknown };
    let mut case = RuleEvaluation::default();
    if let Some((many, running)) = batch_size(evidence) {
        case.mark_checked();
        if slow && !many {
            case.add_finding(Severity::Hint, tokens);
            case.add_note(running);
        }
    }
    case.into_judgment()
}

/// Whether TPOT is above its limit, with its value; `None` if no source reports it.
fn slow_tokens(evidence: &DiagnosisEvidence<'_>) -> Option<(bool, ObservedFact)> {
    let (origin, mean) = evidence.mean_tpot()?;
    let bound = Duration::try_from_secs_f64(ServerSignal::Tpot.info().limit?.bound).ok()?;
    let fact = ObservedFact::new(origin, "mean TPOT").with_quantity(Quantity::Time(mean));
    Some(if mean > bound { (true, fact.above(Quantity::Time(bound))) } else { (false, fact) })
}

/// Whether the batch is large, with its size; `None` if no source reports it.
fn batch_size(evidence: &DiagnosisEvidence<'_>) -> Option<(bool, ObservedFact)> {
    let bound = evidence.numeric_setting("max_num_seqs").map_or(LARGE_BATCH, |most| FULL_BATCH_SHARE * most);
    let by_server = evidence.server_metrics().find_map(|(origin, side)| {
        let gauged = side.gauge_summary(ServerSignal::Running)?;
        Some((gauged.peak, ObservedFact::new(origin, "peak requests running")))
    });
    let by_client = || {
        let peak = evidence.run?.metrics.peak_in_flight;
        Some((peak as f64, ObservedFact::new(EvidenceSource::Result, "peak requests in flight")))
    };
    let (level, fact) = by_server.or_else(by_client)?;
    let fact = fact.with_quantity(Quantity::Count(level as u64));
    Some(if level >= bound { (true, fact.above(Quantity::Count(bound as u64))) } else { (false, fact) })
}

/// The GPUs of a tensor-parallel server wait for each other.
pub(super) fn tensor_parallel(evidence: &DiagnosisEvidence<'_>) -> RuleJudgment {
    let mut case = RuleEvaluation::default();
    let (Some(log), Some(gpus)) = (evidence.log, evidence.numeric_setting("tensor_parallel_size")) else {
        return match evidence.setting("tensor_parallel_size") {
            // The default is one GPU.
            super::evidence::ServerSetting::Default => RuleJudgment::Fine,
            _ => RuleJudgment::Unknown,
        };
    };
    case.mark_checked();
    let slow = slow_tokens(evidence).filter(|(slow, _)| *slow);
    let few = batch_size(evidence).is_some_and(|(many, _)| !many);
    if gpus > 1.0 && log.slow_links > 0 {
        let level = if slow.is_some() { Severity::Alert } else { Severity::Warn };
        let fact =
            ObservedFact::new(EvidenceSource::Log, "lines that report no fast connection between the GPUs");
        case.add_finding(level, fact.with_quantity(Quantity::Count(log.slow_links)));
    } else if let (true, true, Some((_, tokens))) = (gpus > 1.0, few, &slow) {
        case.add_finding(Severity::Hint, tokens.clone());
    }
    case.add_note(
        ObservedFact::new(EvidenceSource::Log, "tensor-parallel GPUs")
            .with_quantity(Quantity::Count(gpus as u64)),
    );
    case.into_judgment()
}

/// The server computes conversations again from their beginning.
pub(super) fn prefix_cache(evidence: &DiagnosisEvidence<'_>) -> RuleJudgment {
    let mut case = RuleEvaluation::default();
    let Some(run) = evidence.run else { return case.into_judgment() };
    if !repeats_history(run) {
        return RuleJudgment::Fine;
    }
    let Some(rate) = hit_rate(evidence, run) else { return case.into_judgment() };
    case.mark_checked();
    let usual = ServerSignal::PrefixHitRate.info().limit.map_or(0.0, |limit| limit.bound);
    if rate < usual {
        let slow = slow_first_token(evidence);
        let level =
            if slow.as_ref().is_some_and(|(slow, _)| *slow) { Severity::Warn } else { Severity::Hint };
        let fact = ObservedFact::new(EvidenceSource::Result, "prefix cache hit rate of conversations")
            .with_quantity(Quantity::Share(rate));
        case.add_finding(level, fact.below(Quantity::Share(usual)));
        if let Some((_, fact)) = slow {
            case.add_note(fact);
        }
        turn_facts(run).into_iter().for_each(|fact| case.add_note(fact));
    }
    case.into_judgment()
}

/// Whether later requests of a user repeat the earlier conversation.
fn repeats_history(run: &Run) -> bool {
    let turns = run.metrics.sessions.as_ref().map_or(0.0, |sessions| sessions.mean_turns);
    turns > 1.0 && run.spec.sessions.history != crate::model::run_spec::HistoryMode::None
}

fn hit_rate(evidence: &DiagnosisEvidence<'_>, run: &Run) -> Option<f64> {
    let by_server = || run.server.as_ref()?.prefix_hit_rate();
    // A server with its prefix cache off reports no counts.
    let off = || (evidence.setting("enable_prefix_caching").is_enabled() == Some(false)).then_some(0.0);
    hit_rate_from_usage(run).or_else(by_server).or_else(off)
}

/// The hit rate from the cached tokens in each answer's usage.
fn hit_rate_from_usage(run: &Run) -> Option<f64> {
    let rows = run.metrics.rows.get(&crate::model::metrics::GroupBy::Turn)?;
    let (mut cached, mut all) = (0.0, 0.0);
    for row in rows {
        let tokens = row.input_tokens as f64;
        (cached, all) = (cached + row.cached_share? * tokens, all + tokens);
    }
    (all > 0.0).then(|| cached / all)
}

/// The TTFT of the first turn and of the last.
fn turn_facts(run: &Run) -> Vec<ObservedFact> {
    let Some([first, .., last]) =
        run.metrics.rows.get(&crate::model::metrics::GroupBy::Turn).map(Vec::as_slice)
    else {
        return Vec::new();
    };
    let fact = |row: &crate::model::metrics::GroupMetrics| {
        let what = format!("median TTFT of turn {}", row.name);
        Some(ObservedFact::new(EvidenceSource::Result, what).with_quantity(Quantity::Time(row.ttft?.median)))
    };
    [first, last].into_iter().filter_map(fact).collect()
}

/// Tokens become slower although the number of running requests does not change.
pub(super) fn throughput(evidence: &DiagnosisEvidence<'_>) -> RuleJudgment {
    let mut case = RuleEvaluation::default();
    if evidence.log_reports(|levels| &levels.generation_throughput) {
        case.mark_checked();
    }
    for alert in evidence.alerts(LogIssue::Throughput) {
        let fact =
            ObservedFact::new(EvidenceSource::Log, "generation throughput as a share of its earlier best");
        let fact = fact
            .with_quantity(Quantity::Share(alert.worst / 100.0))
            .below(Quantity::Share(alert.bound / 100.0));
        case.add_finding(Severity::Warn, fact.with_time(alert_range(alert)));
    }
    case.into_judgment()
}
