//! Rules about flags that are left on, or that no longer have an effect.

use super::evidence::{DiagnosisEvidence, ServerSetting};
use super::levers::{V1_BY_DEFAULT, V1_ONLY};
use crate::analysis::diagnose::rule_evaluation::{
    EvidenceSource, ObservedFact, RuleEvaluation, RuleJudgment,
};
use crate::model::server::{ReplicaMetrics, ServerSignal, Severity};

/// The default of `--swap-space`: versions before v0.8.5 log defaults too.
const DEFAULT_SWAP_SPACE: f64 = 4.0;

/// CUDA graphs and compilation are off. A CPU has no CUDA graphs.
pub(super) fn enforce_eager(evidence: &DiagnosisEvidence<'_>) -> RuleJudgment {
    let mut case = RuleEvaluation::default();
    let setting = evidence.setting("enforce_eager");
    match (setting.is_enabled(), &setting) {
        (Some(true), ServerSetting::Is(origin, value)) if !evidence.is_on_cpu() => {
            case.add_finding(Severity::Warn, ObservedFact::new(*origin, format!("enforce_eager is {value}")));
        }
        (Some(_), _) => case.mark_checked(),
        (None, _) => {}
    }
    case.into_judgment()
}

/// The server delays prompts on purpose (`--scheduler-delay-factor`).
pub(super) fn delay_factor(evidence: &DiagnosisEvidence<'_>) -> RuleJudgment {
    let mut case = RuleEvaluation::default();
    match evidence.setting("scheduler_delay_factor") {
        ServerSetting::Is(origin, value) if value.parse::<f64>().is_ok_and(|factor| factor > 0.0) => {
            case.add_finding(
                Severity::Hint,
                ObservedFact::new(origin, format!("scheduler_delay_factor is {value}")),
            );
        }
        ServerSetting::Is(..) | ServerSetting::Default => case.mark_checked(),
        ServerSetting::Unknown => {}
    }
    case.into_judgment()
}

/// The server reserves swap space that its engine does not use.
pub(super) fn swap_space(evidence: &DiagnosisEvidence<'_>) -> RuleJudgment {
    let mut case = RuleEvaluation::default();
    match (evidence.setting("swap_space"), engine(evidence)) {
        (ServerSetting::Is(origin, value), Some(VllmEngine::V1))
            if value.parse::<f64>().is_ok_and(|size| size > 0.0 && size != DEFAULT_SWAP_SPACE) =>
        {
            case.add_finding(
                Severity::Hint,
                ObservedFact::new(origin, format!("swap_space is {value}, and the engine is V1")),
            );
        }
        (ServerSetting::Unknown, _) | (ServerSetting::Is(..), None) => {}
        _ => case.mark_checked(),
    }
    case.into_judgment()
}

/// The server runs the old V0 engine.
pub(super) fn v0_engine(evidence: &DiagnosisEvidence<'_>) -> RuleJudgment {
    let mut case = RuleEvaluation::default();
    match engine(evidence) {
        Some(VllmEngine::V0(origin)) => {
            let version = evidence.version();
            let has_better = version.is_some_and(|version| version >= V1_BY_DEFAULT);
            let level = if has_better { Severity::Warn } else { Severity::Hint };
            case.add_finding(
                level,
                ObservedFact::new(origin, "the server reports swapped requests, as only the V0 engine does"),
            );
            if let Some(version) = version {
                case.add_note(ObservedFact::new(origin, format!("the version is {version}")));
            }
        }
        Some(VllmEngine::V1) => case.mark_checked(),
        None => {}
    }
    case.into_judgment()
}

/// Whether the evidence shows that the V1 engine runs.
pub(super) fn is_v1(evidence: &DiagnosisEvidence<'_>) -> bool {
    match engine(evidence) {
        Some(VllmEngine::V1) => true,
        Some(VllmEngine::V0(_)) => false,
        None => evidence.version().is_some_and(|version| version >= V1_BY_DEFAULT),
    }
}

/// The generation of vLLM's engine.
enum VllmEngine {
    V0(EvidenceSource),
    V1,
}

/// The engine that runs; `None` if no source reports it, or the server is not vLLM.
fn engine(evidence: &DiagnosisEvidence<'_>) -> Option<VllmEngine> {
    let is_vllm = |replica: &ReplicaMetrics| replica.engine.as_deref() == Some("vLLM");
    if evidence.version().is_some_and(|version| version >= V1_ONLY) {
        return Some(VllmEngine::V1);
    }
    let mut engines = evidence.engine_levels().peekable();
    if engines.peek().is_some() {
        let swaps = engines.any(|levels| levels.swapped.summarize().is_some());
        return Some(if swaps { VllmEngine::V0(EvidenceSource::Log) } else { VllmEngine::V1 });
    }
    evidence.server_metrics().find_map(|(origin, side)| {
        side.replicas.iter().find(|replica| is_vllm(replica))?;
        // V1 counts the queries of its prefix cache; V0 reports a rate.
        if side.counter_total(ServerSignal::PrefixQueries).is_some() {
            return Some(VllmEngine::V1);
        }
        let has_gauge = |signal| side.gauge_summary(signal).is_some();
        match (has_gauge(ServerSignal::Swapped), has_gauge(ServerSignal::Running)) {
            (true, _) => Some(VllmEngine::V0(origin)),
            (false, true) => Some(VllmEngine::V1),
            (false, false) => None,
        }
    })
}
