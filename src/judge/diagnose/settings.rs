//! Flags that are left on, or do nothing any more.

use super::case::{Case, Fact, Judgement, Origin};
use super::evidence::{Evidence, Setting};
use super::levers::{V1_BY_DEFAULT, V1_ONLY};
use crate::core::server::{Level, Replica, Signal};

/// What `--swap-space` is where nobody set it: versions before v0.8.5 log defaults too.
const USUAL_SWAP_SPACE: f64 = 4.0;

/// CUDA graphs and compilation are off.
pub(super) fn enforce_eager(evidence: &Evidence<'_>) -> Judgement {
    let mut case = Case::default();
    let setting = evidence.setting("enforce_eager");
    match (setting.is_on(), &setting) {
        (Some(true), Setting::Is(origin, value)) => {
            case.found(Level::Warn, Fact::new(*origin, format!("enforce_eager is {value}")));
        }
        (Some(_), _) => case.looked(),
        (None, _) => {}
    }
    case.judgement()
}

/// Prompts wait on purpose.
pub(super) fn delay_factor(evidence: &Evidence<'_>) -> Judgement {
    let mut case = Case::default();
    match evidence.setting("scheduler_delay_factor") {
        Setting::Is(origin, value) if value.parse::<f64>().is_ok_and(|factor| factor > 0.0) => {
            case.found(Level::Hint, Fact::new(origin, format!("scheduler_delay_factor is {value}")));
        }
        Setting::Is(..) | Setting::Default => case.looked(),
        Setting::Unknown => {}
    }
    case.judgement()
}

/// A swap space that the engine does not use.
pub(super) fn swap_space(evidence: &Evidence<'_>) -> Judgement {
    let mut case = Case::default();
    match (evidence.setting("swap_space"), engine(evidence)) {
        (Setting::Is(origin, value), Some(Engine::V1))
            if value.parse::<f64>().is_ok_and(|size| size > 0.0 && size != USUAL_SWAP_SPACE) =>
        {
            case.found(
                Level::Hint,
                Fact::new(origin, format!("swap_space is {value}, and the engine is V1")),
            );
        }
        (Setting::Unknown, _) | (Setting::Is(..), None) => {}
        _ => case.looked(),
    }
    case.judgement()
}

/// The old engine runs.
pub(super) fn v0_engine(evidence: &Evidence<'_>) -> Judgement {
    let mut case = Case::default();
    match engine(evidence) {
        Some(Engine::V0(origin)) => {
            let version = evidence.version();
            let has_better = version.is_some_and(|version| version >= V1_BY_DEFAULT);
            let level = if has_better { Level::Warn } else { Level::Hint };
            case.found(
                level,
                Fact::new(origin, "the server tells of swapped requests, as only the V0 engine does"),
            );
            if let Some(version) = version {
                case.tell(Fact::new(origin, format!("the version is {version}")));
            }
        }
        Some(Engine::V1) => case.looked(),
        None => {}
    }
    case.judgement()
}

/// Whether the V1 engine runs, as far as anybody can tell.
pub(super) fn is_v1(evidence: &Evidence<'_>) -> bool {
    match engine(evidence) {
        Some(Engine::V1) => true,
        Some(Engine::V0(_)) => false,
        None => evidence.version().is_some_and(|version| version >= V1_BY_DEFAULT),
    }
}

/// vLLM's engine.
enum Engine {
    V0(Origin),
    V1,
}

/// Which engine runs; `None` if nobody told, or the server is not vLLM.
fn engine(evidence: &Evidence<'_>) -> Option<Engine> {
    let is_vllm = |replica: &Replica| replica.engine.as_deref() == Some("vLLM");
    if evidence.version().is_some_and(|version| version >= V1_ONLY) {
        return Some(Engine::V1);
    }
    let mut engines = evidence.engines().peekable();
    if engines.peek().is_some() {
        let swaps = engines.any(|levels| levels.swapped.figures().is_some());
        return Some(if swaps { Engine::V0(Origin::Log) } else { Engine::V1 });
    }
    evidence.sides().find_map(|(origin, side)| {
        side.replicas.iter().find(|replica| is_vllm(replica))?;
        // V1 counts what it looks up in its prefix cache; V0 tells a rate.
        if side.counted(Signal::PrefixQueries).is_some() {
            return Some(Engine::V1);
        }
        let told = |signal| side.gauged(signal).is_some();
        match (told(Signal::Swapped), told(Signal::Running)) {
            (true, _) => Some(Engine::V0(origin)),
            (false, true) => Some(Engine::V1),
            (false, false) => None,
        }
    })
}
