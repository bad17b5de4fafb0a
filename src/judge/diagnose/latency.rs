//! The first token, and those after it.

use std::time::Duration;

use super::case::{Case, Fact, Judgement, Origin, Start, When};
use super::evidence::{Evidence, alerted, course};
use crate::core::metrics::Latency;
use crate::core::run::Run;
use crate::core::server::{Level, Signal};
use crate::core::validity::{CheckName, Figure, Outcome};
use crate::judge::log::Trouble;

/// From so many requests on a batch is large, where nobody knows how many it may have.
const MANY: f64 = 32.0;

/// This close to `--max-num-seqs` a batch is full.
const FULL: f64 = 0.8;

/// A part this large of a whole makes it.
const HALF: f64 = 0.5;

/// What lies between server and client is a matter from here on ...
const SMALL: Duration = Duration::from_millis(50);

/// ... if it is this part of the client's TTFT.
const NOTABLE: f64 = 0.3;

/// Requests wait for a place in the batch, and so do their first tokens.
pub(super) fn queue(evidence: &Evidence<'_>) -> Judgement {
    let mut case = waiting(evidence);
    match slow_first_token(evidence) {
        // Where the queue is short, or not there at all, TTFT is another rule's.
        Some((true, fact)) if case.is_found() => case.found(Level::Alert, fact),
        Some((false, fact)) if case.is_found() => {
            case.at_most(Level::Hint);
            case.tell(fact);
        }
        _ => {}
    }
    if let Some(fact) = all_at_once(evidence) {
        case.at_most(Level::Warn);
        case.tell(fact);
    }
    case.judgement()
}

/// What speaks for a queue.
fn waiting(evidence: &Evidence<'_>) -> Case {
    let mut case = Case::default();
    let bound = Signal::Waiting.facts().limit.map_or(0.0, |limit| limit.bound);
    for (origin, side) in evidence.sides() {
        let Some(course) = course(side, Signal::Waiting, bound) else { continue };
        case.looked();
        if course.peak > bound {
            let fact =
                Fact::new(origin, "requests waiting, at most").figure(Figure::Count(course.peak as u64));
            case.found(Level::Warn, fact.above(Figure::Count(bound as u64)).when(course.longest));
            if let Some(time) = side.times(Signal::QueueTime).and_then(|times| times.mean_time()) {
                case.tell(Fact::new(origin, "mean time in the queue").figure(Figure::Time(time)));
            }
        }
    }
    if evidence.log.is_some() {
        case.looked();
    }
    for alert in evidence.alerts(Trouble::Waiting) {
        let fact =
            Fact::new(Origin::Log, "requests waiting, at most").figure(Figure::Count(alert.worst as u64));
        case.found(Level::Warn, fact.above(Figure::Count(alert.bound as u64)).when(alerted(alert)));
    }
    if evidence.alerts(Trouble::Waiting).next().is_none() {
        momentary(evidence, &mut case, bound);
    }
    let checks = evidence.run.into_iter().filter(|run| run.spec.load.is_paced());
    let checks = checks.flat_map(|run| &run.validity.checks);
    for check in checks.filter(|check| check.name == CheckName::Stationarity) {
        match (check.outcome, check.figure, check.bound) {
            (Outcome::Passed, ..) => case.looked(),
            (Outcome::Invalid, Some(figure), Some(bound)) => {
                let fact = Fact::new(Origin::Result, "share of the arrivals that piled up").figure(figure);
                case.found(Level::Warn, fact.above(bound));
            }
            _ => {}
        }
    }
    case
}

/// A queue in so few lines of the log that it is no alert there.
fn momentary(evidence: &Evidence<'_>, case: &mut Case, bound: f64) {
    let peaks = evidence.engines().filter_map(|levels| levels.waiting.figures());
    if let Some(peak) = peaks.filter(|figures| figures.max > bound).max_by(|a, b| a.max.total_cmp(&b.max)) {
        let fact = Fact::new(Origin::Log, "requests waiting for a moment, at most");
        let fact = fact.figure(Figure::Count(peak.max as u64)).above(Figure::Count(bound as u64));
        let when = peak.at.map(|at| When { start: Start::Moment(at), lasted: Duration::ZERO });
        case.found(Level::Hint, fact.when(when));
    }
}

/// A load without a schedule and without a cap is one long queue.
fn all_at_once(evidence: &Evidence<'_>) -> Option<Fact> {
    let load = &evidence.run?.spec.load;
    let unlimited = !load.is_paced() && load.slots().is_none();
    unlimited.then(|| Fact::new(Origin::Result, "all requests were due at once: the queue is the load's own"))
}

/// Whether TTFT is above its limit, and the figure; `None` if nobody tells.
fn slow_first_token(evidence: &Evidence<'_>) -> Option<(bool, Fact)> {
    let (origin, p95) = evidence.ttft_p95()?;
    let bound = Duration::try_from_secs_f64(Signal::Ttft.facts().limit?.bound).ok()?;
    let fact = Fact::new(origin, "TTFT P95").figure(Figure::Time(p95));
    Some(if p95 > bound { (true, fact.above(Figure::Time(bound))) } else { (false, fact) })
}

/// Prompts take long to be computed, without a queue before them.
pub(super) fn prefill(evidence: &Evidence<'_>) -> Judgement {
    let mut case = Case::default();
    let Some((slow, first)) = slow_first_token(evidence) else { return case.judgement() };
    let by_client = evidence.run.and_then(|run| Some(run.metrics.latencies.get(&Latency::Ttft)?.mean));
    for (origin, side) in evidence.sides() {
        let mean = |signal| side.times(signal)?.mean_time();
        let (Some(prefill), Some(ttft)) = (mean(Signal::PrefillTime), mean(Signal::Ttft)) else { continue };
        case.looked();
        let queue = mean(Signal::QueueTime).unwrap_or_default();
        // What passes on the way to the client is not the prompts' doing.
        let whole = ttft.max(by_client.filter(|_| origin == Origin::Result).unwrap_or_default());
        if slow && prefill > queue && prefill >= whole.mul_f64(HALF) {
            case.found(Level::Warn, Fact::new(origin, "mean time of prefill").figure(Figure::Time(prefill)));
            case.tell(Fact::new(origin, "mean TTFT by the server").figure(Figure::Time(ttft)));
        }
    }
    case.tell(first);
    case.judgement()
}

/// The client waits for first tokens that the server has sent long since.
pub(super) fn between(evidence: &Evidence<'_>) -> Judgement {
    let mut case = Case::default();
    let sides = evidence.run.and_then(|run| {
        let ours = run.metrics.latencies.get(&Latency::Ttft)?.mean;
        Some((ours, run.server.as_ref()?.times(Signal::Ttft)?.mean_time()?))
    });
    if let Some((ours, theirs)) = sides {
        case.looked();
        let between = ours.saturating_sub(theirs);
        let bound = SMALL.max(ours.mul_f64(NOTABLE));
        if between > bound {
            let fact = Fact::new(Origin::Result, "mean TTFT by the client beyond the server's own");
            case.found(Level::Warn, fact.figure(Figure::Time(between)).above(Figure::Time(bound)));
            case.tell(Fact::new(Origin::Result, "mean TTFT by the client").figure(Figure::Time(ours)));
            case.tell(Fact::new(Origin::Result, "mean TTFT by the server").figure(Figure::Time(theirs)));
        }
    }
    case.judgement()
}

/// Tokens come slowly because many requests share each step.
pub(super) fn many_running(evidence: &Evidence<'_>) -> Judgement {
    let Some((slow, tokens)) = slow_tokens(evidence) else { return Judgement::Unknown };
    let mut case = Case::default();
    if let Some((many, running)) = batch(evidence) {
        case.looked();
        if slow && many {
            case.found(Level::Warn, tokens);
            case.tell(running);
        }
    }
    case.judgement()
}

/// Tokens come slowly although few requests run.
pub(super) fn slow_steps(evidence: &Evidence<'_>) -> Judgement {
    let Some((slow, tokens)) = slow_tokens(evidence) else { return Judgement::Unknown };
    let mut case = Case::default();
    if let Some((many, running)) = batch(evidence) {
        case.looked();
        if slow && !many {
            case.found(Level::Hint, tokens);
            case.tell(running);
        }
    }
    case.judgement()
}

/// Whether TPOT is above its limit, and the figure; `None` if nobody tells.
fn slow_tokens(evidence: &Evidence<'_>) -> Option<(bool, Fact)> {
    let (origin, mean) = evidence.mean_tpot()?;
    let bound = Duration::try_from_secs_f64(Signal::Tpot.facts().limit?.bound).ok()?;
    let fact = Fact::new(origin, "mean TPOT").figure(Figure::Time(mean));
    Some(if mean > bound { (true, fact.above(Figure::Time(bound))) } else { (false, fact) })
}

/// Whether the batch is large, and how large it is; `None` if nobody tells.
fn batch(evidence: &Evidence<'_>) -> Option<(bool, Fact)> {
    let bound = evidence.number("max_num_seqs").map_or(MANY, |most| FULL * most);
    let by_server = evidence.sides().find_map(|(origin, side)| {
        let gauged = side.gauged(Signal::Running)?;
        Some((gauged.peak, Fact::new(origin, "requests running, at most")))
    });
    let by_client = || {
        let peak = evidence.run?.metrics.peak_in_flight;
        Some((peak as f64, Fact::new(Origin::Result, "requests in flight, at most")))
    };
    let (level, fact) = by_server.or_else(by_client)?;
    let fact = fact.figure(Figure::Count(level as u64));
    Some(if level >= bound { (true, fact.above(Figure::Count(bound as u64))) } else { (false, fact) })
}

/// The GPUs of a tensor-parallel server wait for each other.
pub(super) fn tensor_parallel(evidence: &Evidence<'_>) -> Judgement {
    let mut case = Case::default();
    let (Some(log), Some(gpus)) = (evidence.log, evidence.number("tensor_parallel_size")) else {
        return match evidence.setting("tensor_parallel_size") {
            // One GPU is the default.
            super::evidence::Setting::Default => Judgement::Fine,
            _ => Judgement::Unknown,
        };
    };
    case.looked();
    let slow = slow_tokens(evidence).filter(|(slow, _)| *slow);
    let few = batch(evidence).is_some_and(|(many, _)| !many);
    if gpus > 1.0 && log.slow_links > 0 {
        let level = if slow.is_some() { Level::Alert } else { Level::Warn };
        let fact = Fact::new(Origin::Log, "lines that say that the GPUs have no fast way to each other");
        case.found(level, fact.figure(Figure::Count(log.slow_links)));
    } else if let (true, true, Some((_, tokens))) = (gpus > 1.0, few, &slow) {
        case.found(Level::Hint, tokens.clone());
    }
    case.tell(Fact::new(Origin::Log, "GPUs that share each layer").figure(Figure::Count(gpus as u64)));
    case.judgement()
}

/// Conversations are computed again from their beginning.
pub(super) fn prefix_cache(evidence: &Evidence<'_>) -> Judgement {
    let mut case = Case::default();
    let Some(run) = evidence.run else { return case.judgement() };
    if !repeats_history(run) {
        return Judgement::Fine;
    }
    let Some(rate) = hit_rate(evidence, run) else { return case.judgement() };
    case.looked();
    let usual = Signal::PrefixHitRate.facts().limit.map_or(0.0, |limit| limit.bound);
    if rate < usual {
        let slow = slow_first_token(evidence);
        let level = if slow.as_ref().is_some_and(|(slow, _)| *slow) { Level::Warn } else { Level::Hint };
        let fact =
            Fact::new(Origin::Result, "prefix cache hit rate of conversations").figure(Figure::Share(rate));
        case.found(level, fact.below(Figure::Share(usual)));
        if let Some((_, fact)) = slow {
            case.tell(fact);
        }
        turns(run).into_iter().for_each(|fact| case.tell(fact));
    }
    case.judgement()
}

/// Whether users come back with what was said before.
fn repeats_history(run: &Run) -> bool {
    let turns = run.metrics.sessions.as_ref().map_or(0.0, |sessions| sessions.mean_turns);
    turns > 1.0 && run.spec.sessions.history != crate::core::spec::History::None
}

fn hit_rate(evidence: &Evidence<'_>, run: &Run) -> Option<f64> {
    let by_server = || run.server.as_ref()?.prefix_hit_rate();
    // A server whose cache is off counts nothing.
    let off = || (evidence.setting("enable_prefix_caching").is_on() == Some(false)).then_some(0.0);
    by_answers(run).or_else(by_server).or_else(off)
}

/// By the cached tokens in each answer's usage.
fn by_answers(run: &Run) -> Option<f64> {
    let rows = run.metrics.rows.get(&crate::core::metrics::Facet::Turn)?;
    let (mut cached, mut all) = (0.0, 0.0);
    for row in rows {
        let tokens = row.input_tokens as f64;
        (cached, all) = (cached + row.cached_share? * tokens, all + tokens);
    }
    (all > 0.0).then(|| cached / all)
}

/// TTFT of the first turn and of the last.
fn turns(run: &Run) -> Vec<Fact> {
    let Some([first, .., last]) = run.metrics.rows.get(&crate::core::metrics::Facet::Turn).map(Vec::as_slice)
    else {
        return Vec::new();
    };
    let fact = |row: &crate::core::metrics::Row| {
        let what = format!("median TTFT of turn {}", row.name);
        Some(Fact::new(Origin::Result, what).figure(Figure::Time(row.ttft?.median)))
    };
    [first, last].into_iter().filter_map(fact).collect()
}

/// As many requests run, and tokens come slower.
pub(super) fn throughput(evidence: &Evidence<'_>) -> Judgement {
    let mut case = Case::default();
    if evidence.engines().next().is_some() {
        case.looked();
    }
    for alert in evidence.alerts(Trouble::Throughput) {
        let fact = Fact::new(Origin::Log, "generation throughput, of its best pace before");
        let fact = fact.figure(Figure::Share(alert.worst / 100.0)).below(Figure::Share(alert.bound / 100.0));
        case.found(Level::Warn, fact.when(alerted(alert)));
    }
    case.judgement()
}
