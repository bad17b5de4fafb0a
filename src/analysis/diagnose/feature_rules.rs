//! Features of a server that cost more than they give: speculative decoding, and LoRA adapters.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::evidence::DiagnosisEvidence;
use crate::analysis::diagnose::latency_rules::LARGE_BATCH;
use crate::analysis::diagnose::rule_evaluation::{
    EvidenceSource, ObservedFact, RuleEvaluation, RuleJudgment,
};
use crate::model::metrics::GroupBy;
use crate::model::server::{ServerMetrics, ServerSignal, Severity, SpecDecodeStats};
use crate::model::validity::Quantity;

/// Below this acceptance rate, most of the drafted tokens are wasted.
const MIN_ACCEPTANCE_RATE: f64 = 0.4;

/// Below this number of tokens per step, drafting and verifying cost more than they save.
const MIN_TOKENS_PER_STEP: f64 = 1.3;

/// The queue time from which users notice the queue.
const MIN_QUEUE_TIME: Duration = Duration::from_millis(50);

/// The counts of speculative decoding.
#[derive(Default)]
struct DraftEvidence {
    accepted: Option<f64>,
    a_step: Option<f64>,
    a_draft: Option<f64>,
}

/// Speculative decoding costs more than it gives.
pub(super) fn speculative_decoding(evidence: &DiagnosisEvidence<'_>) -> RuleJudgment {
    let mut case = RuleEvaluation::default();
    for (origin, side) in evidence.server_metrics() {
        case.mark_checked();
        judge_drafts(origin, &drafts_from_server(side), &mut case);
    }
    if let Some(log) = evidence.log {
        if log.drafting.is_some() || log.lines.statistics > 0 {
            case.mark_checked();
        }
        let drafts = log.drafting.as_ref().map(|drafting| DraftEvidence {
            accepted: drafting.acceptance_rate,
            a_step: drafting.mean_length.summarize().map(|figures| figures.mean),
            a_draft: None,
        });
        judge_drafts(EvidenceSource::Log, &drafts.unwrap_or_default(), &mut case);
    }
    case.into_judgment()
}

fn drafts_from_server(side: &ServerMetrics) -> DraftEvidence {
    let last = |signal| side.gauge_series(signal).into_iter().flatten().next_back();
    match SpecDecodeStats::from_server(side) {
        Some(counted) => DraftEvidence {
            accepted: Some(counted.acceptance_rate()),
            a_step: counted.acceptance_length(),
            a_draft: counted.drafts.map(|drafts| counted.draft_tokens / drafts),
        },
        // SGLang reports both as gauges, which are zero before the first draft.
        None => DraftEvidence {
            accepted: last(ServerSignal::SpecAcceptanceRate).filter(|rate| *rate > 0.0),
            a_step: last(ServerSignal::SpecAcceptanceLength).filter(|length| *length > 0.0),
            a_draft: None,
        },
    }
}

fn judge_drafts(origin: EvidenceSource, drafts: &DraftEvidence, case: &mut RuleEvaluation) {
    let mut is_bad = false;
    if let Some(rate) = drafts.accepted.filter(|rate| *rate < MIN_ACCEPTANCE_RATE) {
        let fact = ObservedFact::new(origin, "share of the draft tokens that were accepted")
            .with_quantity(Quantity::Share(rate));
        case.add_finding(Severity::Hint, fact.below(Quantity::Share(MIN_ACCEPTANCE_RATE)));
        is_bad = true;
    }
    if let Some(length) = drafts.a_step.filter(|length| *length < MIN_TOKENS_PER_STEP) {
        case.add_finding(
            Severity::Warn,
            ObservedFact::new(
                origin,
                format!("a step yields {length:.2} tokens, minimum {MIN_TOKENS_PER_STEP}"),
            ),
        );
    } else if let Some(length) = drafts.a_step.filter(|_| is_bad) {
        case.add_note(ObservedFact::new(origin, format!("a step yields {length:.2} tokens")));
    }
    if let Some(tokens) = drafts.a_draft.filter(|_| case.is_found()) {
        case.add_note(ObservedFact::new(origin, format!("a draft has {tokens:.1} tokens")));
    }
}

/// Requests wait because the LoRA adapters of other requests fill the batch.
pub(super) fn lora_adapters(evidence: &DiagnosisEvidence<'_>) -> RuleJudgment {
    let mut case = RuleEvaluation::default();
    let sent = evidence.run.and_then(|run| run.metrics.rows.get(&GroupBy::Adapter)).map_or(0, Vec::len);
    for (origin, side) in evidence.server_metrics() {
        case.mark_checked();
        let usage = AdapterUsage::from_server(side);
        let used = usage.names.len().max(if origin == EvidenceSource::Result { sent } else { 0 });
        let fit = usage.fit.unwrap_or(usize::MAX);
        let queue = side
            .histogram_total(ServerSignal::QueueTime)
            .and_then(|times| times.mean_time())
            .filter(|time| *time > MIN_QUEUE_TIME);
        let few_run =
            side.gauge_summary(ServerSignal::Running).is_some_and(|running| running.mean < LARGE_BATCH);
        if used < 2 || used <= fit && usage.fit.is_some() || !few_run || !(usage.waited || queue.is_some()) {
            continue;
        }
        // If the number of adapters that fit is unknown, requests may wait for other reasons.
        let level = if usage.fit.is_some() { Severity::Warn } else { Severity::Hint };
        let fact = ObservedFact::new(origin, "adapters in use").with_quantity(Quantity::Count(used as u64));
        case.add_finding(
            level,
            usage.fit.map_or(fact.clone(), |fit| fact.above(Quantity::Count(fit as u64))),
        );
        if let Some(queue) = queue {
            case.add_note(
                ObservedFact::new(origin, "mean time in the queue").with_quantity(Quantity::Time(queue)),
            );
        }
        if let Some(running) = side.gauge_summary(ServerSignal::Running) {
            let what = format!("requests running: {:.1} on average", running.mean);
            case.add_note(ObservedFact::new(origin, what));
        }
    }
    if evidence.run.is_some() && sent < 2 {
        case.mark_checked();
    }
    case.into_judgment()
}

/// A server's use of adapters: vLLM has a series for each combination that ran or waited.
#[derive(Default)]
struct AdapterUsage {
    names: BTreeSet<String>,
    /// The number of adapters that fit into a batch.
    fit: Option<usize>,
    /// Whether any adapter waited.
    waited: bool,
}

impl AdapterUsage {
    fn from_server(side: &ServerMetrics) -> Self {
        let mut adapters = Self::default();
        let series =
            side.replicas.iter().filter_map(|replica| replica.facts.get(&ServerSignal::Lora)).flatten();
        for labels in series {
            adapters.add(labels);
        }
        adapters
    }

    fn add(&mut self, labels: &BTreeMap<String, String>) {
        let names = |label: &str| {
            let names = labels.get(label).into_iter().flat_map(|names| names.split(','));
            names.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect::<Vec<_>>()
        };
        let waiting = names("waiting_lora_adapters");
        self.waited |= !waiting.is_empty();
        self.names.extend(waiting.into_iter().chain(names("running_lora_adapters")));
        self.fit = labels.get("max_lora").and_then(|fit| fit.parse().ok()).or(self.fit);
    }
}
