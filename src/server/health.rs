//! How a server is at a moment.

use std::time::Duration;

use super::signals::{Reading, Value};
use crate::core::server::{Aspect, Condition, Histogram, Kind, Signal};

/// A reading of a server, and one before it.
#[derive(Debug, Clone, Copy)]
pub struct Span<'a> {
    /// The later one.
    pub now: &'a Reading,
    /// The earlier one, and how much earlier: without, only levels are known.
    pub before: Option<(&'a Reading, Duration)>,
}

/// The conditions of all signals that two readings, so far apart, tell of. Nothing is known of what was before them, so
/// that what must last is a warning at most.
///
/// Times and hit rates are of what was counted in between. Where that is nothing, they are since the server's start, and say
/// nothing of now.
pub fn conditions(before: &Reading, now: &Reading, apart: Duration) -> Vec<Condition> {
    let span = Span { now, before: Some((before, apart)) };
    let of_now =
        |(aspect, figure): (Aspect, f64), signal| Condition::of(signal, aspect, figure, Duration::ZERO);
    let condition = |signal: Signal| {
        let finite = |(_, figure): &(Aspect, f64)| figure.is_finite();
        let condition = span.figure(signal).filter(finite).map(|found| of_now(found, signal));
        condition.or_else(|| {
            let (aspect, figure) = since_start(signal, now).filter(finite)?;
            Some(Condition::since_start(signal, aspect, figure))
        })
    };
    Signal::all().filter_map(condition).collect()
}

/// A time or a hit rate over all the time since the server's start.
fn since_start(signal: Signal, now: &Reading) -> Option<(Aspect, f64)> {
    let facts = signal.facts();
    let aspect = facts.limit.map(|limit| limit.of);
    match facts.kind {
        Kind::Time => of_times(aspect, now.histogram(signal)?),
        Kind::Gauge if signal == Signal::PrefixHitRate => {
            let queries = now.number(Signal::PrefixQueries).filter(|queries| *queries > 0.0)?;
            Some((aspect.unwrap_or(Aspect::Value), now.number(Signal::PrefixHits)? / queries))
        }
        _ => None,
    }
}

/// What is looked at of times.
fn of_times(aspect: Option<Aspect>, times: &Histogram) -> Option<(Aspect, f64)> {
    Some(match aspect {
        Some(Aspect::P95) => (Aspect::P95, times.quantile(0.95)?),
        _ => (Aspect::Mean, times.mean()?),
    })
}

impl Span<'_> {
    /// What it tells: each signal with the aspect of it that counts, and the figure, in the order of signals.
    pub fn figures(&self) -> impl Iterator<Item = (Signal, Aspect, f64)> {
        Signal::all().filter_map(|signal| {
            let (aspect, figure) = self.figure(signal)?;
            figure.is_finite().then_some((signal, aspect, figure))
        })
    }

    fn figure(&self, signal: Signal) -> Option<(Aspect, f64)> {
        let facts = signal.facts();
        let aspect = facts.limit.map(|limit| limit.of);
        Some(match facts.kind {
            Kind::Info => return None,
            Kind::Gauge if signal == Signal::ProcessStart => return None,
            Kind::Gauge => (aspect.unwrap_or(Aspect::Value), self.level(signal)?),
            Kind::Counter => (Aspect::Growth, self.growth(signal)? / self.before?.1.as_secs_f64()),
            Kind::Time => of_times(aspect, &self.times(signal)?)?,
        })
    }

    /// Where a hit rate is not told, it is that of what was looked up in between.
    fn level(&self, signal: Signal) -> Option<f64> {
        let now = self.now;
        if signal != Signal::PrefixHitRate {
            return now.number(signal);
        }
        let some = |queries: &f64| *queries > 0.0;
        let recent = || {
            let queries = self.growth(Signal::PrefixQueries).filter(some)?;
            Some(self.growth(Signal::PrefixHits)? / queries)
        };
        now.number(signal).or_else(recent)
    }

    /// `None` where the server began anew in between.
    fn growth(&self, signal: Signal) -> Option<f64> {
        let growth = self.now.number(signal)? - self.before?.0.number(signal).unwrap_or_default();
        (growth >= 0.0).then_some(growth)
    }

    fn times(&self, signal: Signal) -> Option<Histogram> {
        let all = self.now.histogram(signal)?;
        let between = match self.before?.0.get(signal) {
            Some(Value::Histogram(before)) => all.since(before),
            // It was not told before, so that all of it was counted since.
            _ => Some(all.clone()),
        };
        between.filter(|times| times.count > 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::server::{Period, State};
    use crate::server::page::Page;

    fn found(before: &str, now: &str) -> Vec<Condition> {
        let reading = |page| Reading::of(&Page::parse(page));
        conditions(&reading(before), &reading(now), Duration::from_secs(2))
    }

    fn of(conditions: &[Condition], signal: Signal) -> (f64, State) {
        let found = conditions.iter().find(|condition| condition.signal == signal).unwrap();
        (found.figure, found.state)
    }

    #[test]
    fn levels_growth_and_times_are_of_now() {
        let page = |count: u32| {
            format!(
                "vllm:num_requests_waiting 11\nvllm:num_preemptions_total {count}\n\
                 vllm:prefix_cache_queries_total {count}0\nvllm:prefix_cache_hits_total {count}\n\
                 vllm:inter_token_latency_seconds_sum {count}\nvllm:inter_token_latency_seconds_count {count}00\n"
            )
        };
        let conditions = found(&page(4), &page(8));
        assert_eq!(of(&conditions, Signal::Waiting), (11.0, State::Alert));
        assert_eq!(of(&conditions, Signal::Preemptions), (2.0, State::Warn));
        assert_eq!(of(&conditions, Signal::PrefixHitRate), (0.1, State::Hint));
        assert_eq!(of(&conditions, Signal::Itl), (0.01, State::Ok));
    }

    /// R12 and F8: after a busy hour and an idle minute, P95 TTFT of the hour is no warning.
    #[test]
    fn an_idle_servers_times_are_marked_as_those_since_its_start() {
        let page = "vllm:time_to_first_token_seconds_bucket{le=\"1\"} 100\n\
                    vllm:time_to_first_token_seconds_bucket{le=\"0.5\"} 0\n\
                    vllm:time_to_first_token_seconds_sum 80\nvllm:time_to_first_token_seconds_count 100\n";
        let [ttft] = found(page, page)[..] else { panic!("one signal") };
        assert!((ttft.figure - 0.975).abs() < 1e-9, "{ttft:?}");
        assert_eq!((ttft.state, ttft.period), (State::Ok, Period::SinceStart));
    }

    #[test]
    fn a_hit_rate_is_of_what_was_looked_up_in_between() {
        let page = |queries: u32, hits: u32| {
            format!("vllm:prefix_cache_queries_total {queries}\nvllm:prefix_cache_hits_total {hits}\n")
        };
        let rate = |before: &str, now: &str| {
            let conditions = found(before, now);
            *conditions.iter().find(|condition| condition.signal == Signal::PrefixHitRate).unwrap()
        };
        let busy = rate(&page(100, 10), &page(200, 100));
        assert_eq!((busy.figure, busy.period), (0.9, Period::Now));
        let idle = rate(&page(100, 10), &page(100, 10));
        assert_eq!((idle.figure, idle.period, idle.state), (0.1, Period::SinceStart, State::Ok));
    }

    #[test]
    fn a_server_that_began_anew_has_no_growth() {
        let conditions = found("vllm:num_preemptions_total 4", "vllm:num_preemptions_total 1");
        assert_eq!(conditions, []);
    }
}
