//! The GPU's memory, and the KV pool in it.

use std::time::Duration;

use super::case::{Case, Fact, Judgement, Origin};
use super::evidence::{Evidence, alerted, course, growth, length};
use super::settings;
use crate::core::server::{Level, Limit, Signal};
use crate::core::validity::Figure;
use crate::judge::log::Trouble;

/// A level this often above its bound is no peak.
const MOSTLY: f64 = 0.5;

/// There was not enough memory.
pub(super) fn out_of_memory(evidence: &Evidence<'_>) -> Judgement {
    let mut case = Case::default();
    if evidence.log.is_some() {
        case.looked();
    }
    for alert in evidence.alerts(Trouble::OutOfMemory) {
        let fact =
            Fact::new(Origin::Log, "lines that say out of memory").figure(Figure::Count(alert.worst as u64));
        case.found(Level::Alert, fact.when(alerted(alert)));
    }
    let failures = evidence.run.into_iter().flat_map(|run| &run.metrics.failures);
    for failure in failures.filter(|failure| says_out_of_memory(&failure.example)) {
        let what = format!("failures ({}) whose first says out of memory", failure.class);
        case.found(Level::Alert, Fact::new(Origin::Result, what).figure(Figure::Count(failure.count as u64)));
    }
    case.judgement()
}

fn says_out_of_memory(text: &str) -> bool {
    let text = text.to_lowercase();
    text.contains("out of memory") || text.contains("outofmemory")
}

/// Requests lost their place in the KV pool.
pub(super) fn preemptions(evidence: &Evidence<'_>) -> Judgement {
    let mut case = Case::default();
    let fast = limit(Signal::Preemptions).map_or(0.0, |limit| limit.bound);
    for (origin, side) in evidence.sides() {
        let Some(count) = side.counted(Signal::Preemptions) else { continue };
        case.looked();
        if count > 0.0 {
            let per_second = count / length(side).unwrap_or_default().as_secs_f64().max(1.0);
            let level = if per_second > fast { Level::Alert } else { Level::Warn };
            let fact = Fact::new(origin, "preemptions").figure(Figure::Count(count as u64));
            case.found(level, fact.when(growth(side, Signal::Preemptions)));
        }
    }
    if let Some(log) = evidence.log {
        case.looked();
        if log.preemptions > 0 {
            let when = evidence.alerts(Trouble::Preemptions).next().and_then(alerted);
            let fact = Fact::new(Origin::Log, "preemptions").figure(Figure::Count(log.preemptions));
            case.found(Level::Warn, fact.when(when));
        }
    }
    tell_pool(evidence, &mut case);
    case.judgement()
}

/// Requests lie in the CPU's memory.
pub(super) fn swapping(evidence: &Evidence<'_>) -> Judgement {
    let mut case = Case::default();
    for (origin, side) in evidence.sides() {
        for (signal, what) in
            [(Signal::Swapped, "requests swapped out"), (Signal::CpuKvUsage, "CPU KV cache usage")]
        {
            let Some(course) = course(side, signal, 0.0) else { continue };
            case.looked();
            if course.peak > 0.0 {
                let figure = match signal {
                    Signal::Swapped => Figure::Count(course.peak as u64),
                    _ => Figure::Share(course.peak),
                };
                let fact = Fact::new(origin, format!("{what}, at most")).figure(figure);
                case.found(swapped_for(course.longest.map(|when| when.lasted)), fact.when(course.longest));
            }
        }
    }
    if settings::is_v1(evidence) {
        // It has nothing to swap to.
        case.looked();
    }
    for levels in evidence.engines() {
        case.looked();
        if let Some(figures) = levels.swapped.figures().filter(|figures| figures.max > 0.0) {
            let alert = evidence.alerts(Trouble::Swapped).next();
            let figure = Figure::Count(figures.max as u64);
            let fact = Fact::new(Origin::Log, "requests swapped out, at most").figure(figure);
            case.found(swapped_for(alert.map(|alert| alert.duration)), fact.when(alert.and_then(alerted)));
        }
    }
    case.judgement()
}

fn swapped_for(lasted: Option<Duration>) -> Level {
    let enough = limit(Signal::Swapped).map(|limit| limit.lasting);
    if lasted >= enough { Level::Alert } else { Level::Warn }
}

/// The KV pool is nearly full all the time.
pub(super) fn kv_full(evidence: &Evidence<'_>) -> Judgement {
    let mut case = Case::default();
    let Some(limit) = limit(Signal::KvUsage) else { return case.judgement() };
    for (origin, side) in evidence.sides() {
        let Some(course) = course(side, Signal::KvUsage, limit.bound) else { continue };
        case.looked();
        let lasted = course.longest.is_some_and(|when| when.lasted >= limit.lasting);
        if lasted || course.share >= MOSTLY {
            let fact = Fact::new(origin, "KV cache usage, at most").figure(Figure::Share(course.peak));
            let level = if lasted { Level::Alert } else { Level::Warn };
            case.found(level, fact.above(Figure::Share(limit.bound)).when(course.longest));
        }
    }
    if evidence.log.is_some() {
        case.looked();
    }
    for alert in evidence.alerts(Trouble::KvCache) {
        let fact =
            Fact::new(Origin::Log, "KV cache usage, at most").figure(Figure::Share(alert.worst / 100.0));
        case.found(Level::Alert, fact.above(Figure::Share(alert.bound / 100.0)).when(alerted(alert)));
    }
    tell_pool(evidence, &mut case);
    case.judgement()
}

/// How large the pool is, if the start is in the log.
fn tell_pool(evidence: &Evidence<'_>, case: &mut Case) {
    let Some(start) = evidence.log.map(|log| &log.start_up) else { return };
    if let Some(tokens) = start.kv_tokens {
        case.tell(Fact::new(Origin::Log, "tokens that the KV pool holds").figure(Figure::Count(tokens)));
    }
}

fn limit(signal: Signal) -> Option<Limit> {
    signal.facts().limit
}
