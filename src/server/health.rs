//! A server's condition at one moment, from two snapshots of its metrics.

use std::time::Duration;

use super::signals::{MetricsSnapshot, SignalValue};
use crate::model::server::{
    ImpossibleShare, MeasuredValue, ScrapedHistogram, ServerSignal, SignalAspect, SignalCondition,
    SignalKind, share_of,
};

/// A snapshot of a server's metrics, with an earlier one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SnapshotPair<'a> {
    /// The later snapshot.
    pub now: &'a MetricsSnapshot,
    /// The earlier snapshot and the time between the two. Without it, only gauges have values.
    pub before: Option<(&'a MetricsSnapshot, Duration)>,
}

/// Returns the conditions of all signals in two snapshots, `apart` from each other. Nothing before the first snapshot
/// is known, so a limit that must be exceeded for some time yields a warning at most.
///
/// Latencies and hit rates cover what the server counted between the snapshots. If it counted nothing, they cover the
/// time since the server's start and describe no current state.
pub(crate) fn conditions(
    before: &MetricsSnapshot,
    now: &MetricsSnapshot,
    apart: Duration,
) -> Vec<SignalCondition> {
    let span = SnapshotPair { now, before: Some((before, apart)) };
    let of_now = |(aspect, figure): (SignalAspect, MeasuredValue), signal| {
        SignalCondition::new(signal, aspect, figure, Duration::ZERO)
    };
    let condition = |signal: ServerSignal| {
        let finite = |(_, figure): &(SignalAspect, MeasuredValue)| figure.value.is_finite();
        let condition = span.value(signal).filter(finite).map(|found| of_now(found, signal));
        condition.or_else(|| {
            let (aspect, figure) = since_start(signal, now).filter(finite)?;
            Some(SignalCondition::since_start(signal, aspect, figure))
        })
    };
    ServerSignal::all().filter_map(condition).collect()
}

/// A latency or a hit rate over the time since the server's start.
fn since_start(signal: ServerSignal, now: &MetricsSnapshot) -> Option<(SignalAspect, MeasuredValue)> {
    let facts = signal.info();
    let aspect = facts.limit.map(|limit| limit.of);
    match facts.kind {
        SignalKind::Time => from_histogram(aspect, now.histogram(signal)?),
        SignalKind::Gauge if signal == ServerSignal::PrefixHitRate => {
            let queries = now.number(ServerSignal::PrefixQueries)?;
            let rate = share_of(now.number(ServerSignal::PrefixHits)?, queries)?;
            Some((aspect.unwrap_or(SignalAspect::Value), rate.into()))
        }
        _ => None,
    }
}

/// Returns the statistic of a latency that the limit applies to.
fn from_histogram(
    aspect: Option<SignalAspect>,
    times: &ScrapedHistogram,
) -> Option<(SignalAspect, MeasuredValue)> {
    Some(match aspect {
        Some(SignalAspect::P95) => (SignalAspect::P95, times.quantile(0.95)?),
        _ => (SignalAspect::Mean, times.mean()?.into()),
    })
}

impl SnapshotPair<'_> {
    /// Returns the shares that the server's counts make larger than 1.
    pub(crate) fn impossible_shares(&self) -> Vec<ImpossibleShare> {
        let gauges = self.now.impossible().iter();
        let gauges = gauges.map(|(signal, level)| ImpossibleShare::of_gauge(*signal, *level));
        gauges.chain(ImpossibleShare::of_counters(|signal| self.counter_growth(signal))).collect()
    }

    /// Returns each known signal with the aspect that its limit applies to and the value, in the order of signals.
    pub(crate) fn values(&self) -> impl Iterator<Item = (ServerSignal, SignalAspect, MeasuredValue)> {
        ServerSignal::all().filter_map(|signal| {
            let (aspect, figure) = self.value(signal)?;
            figure.value.is_finite().then_some((signal, aspect, figure))
        })
    }

    fn value(&self, signal: ServerSignal) -> Option<(SignalAspect, MeasuredValue)> {
        let facts = signal.info();
        let aspect = facts.limit.map(|limit| limit.of);
        Some(match facts.kind {
            SignalKind::Info => return None,
            SignalKind::Gauge if signal == ServerSignal::ProcessStart => return None,
            SignalKind::Gauge => (aspect.unwrap_or(SignalAspect::Value), self.gauge_value(signal)?.into()),
            SignalKind::Counter => {
                (SignalAspect::Growth, (self.counter_growth(signal)? / self.before?.1.as_secs_f64()).into())
            }
            SignalKind::Time => from_histogram(aspect, &self.histogram_growth(signal)?)?,
        })
    }

    /// If the server reports no hit rate, computes it from the lookups between the snapshots.
    fn gauge_value(&self, signal: ServerSignal) -> Option<f64> {
        let now = self.now;
        if signal != ServerSignal::PrefixHitRate {
            return now.number(signal);
        }
        let recent = || {
            let queries = self.counter_growth(ServerSignal::PrefixQueries)?;
            share_of(self.counter_growth(ServerSignal::PrefixHits)?, queries)
        };
        now.number(signal).or_else(recent)
    }

    /// Returns `None` if the server restarted between the snapshots.
    fn counter_growth(&self, signal: ServerSignal) -> Option<f64> {
        let growth = self.now.number(signal)? - self.before?.0.number(signal).unwrap_or_default();
        (growth >= 0.0).then_some(growth)
    }

    fn histogram_growth(&self, signal: ServerSignal) -> Option<ScrapedHistogram> {
        let all = self.now.histogram(signal)?;
        let between = match self.before?.0.get(signal) {
            Some(SignalValue::Histogram(before)) => all.since(before),
            // The earlier snapshot lacks it, so all of it was counted since.
            _ => Some(all.clone()),
        };
        between.filter(|times| times.count > 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::server::{MeasurementPeriod, SignalStatus};
    use crate::server::metrics_text::MetricsText;

    fn found(before: &str, now: &str) -> Vec<SignalCondition> {
        let reading = |page| MetricsSnapshot::from_page(&MetricsText::parse(page));
        conditions(&reading(before), &reading(now), Duration::from_secs(2))
    }

    fn of(conditions: &[SignalCondition], signal: ServerSignal) -> (f64, SignalStatus) {
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
        assert_eq!(of(&conditions, ServerSignal::Waiting), (11.0, SignalStatus::Alert));
        assert_eq!(of(&conditions, ServerSignal::Preemptions), (2.0, SignalStatus::Warn));
        assert_eq!(of(&conditions, ServerSignal::PrefixHitRate), (0.1, SignalStatus::Hint));
        assert_eq!(of(&conditions, ServerSignal::Itl), (0.01, SignalStatus::Ok));
    }

    /// R12 and F8: after a busy hour and an idle minute, the hour's P95 TTFT is no warning.
    #[test]
    fn an_idle_servers_times_are_marked_as_those_since_its_start() {
        let page = "vllm:time_to_first_token_seconds_bucket{le=\"1\"} 100\n\
                    vllm:time_to_first_token_seconds_bucket{le=\"0.5\"} 0\n\
                    vllm:time_to_first_token_seconds_sum 80\nvllm:time_to_first_token_seconds_count 100\n";
        let [ttft] = found(page, page)[..] else { panic!("one signal") };
        assert!((ttft.figure - 0.975).abs() < 1e-9, "{ttft:?}");
        assert_eq!((ttft.state, ttft.period), (SignalStatus::Ok, MeasurementPeriod::SinceStart));
    }

    /// A latency above the histogram's last bound is the worst case, and used to be left out.
    #[test]
    fn times_above_the_last_bound_are_told_and_warned_of() {
        let page = |slow: u32| {
            let all = 100 + slow;
            format!(
                "vllm:time_to_first_token_seconds_bucket{{le=\"10\"}} 100\n\
                 vllm:time_to_first_token_seconds_bucket{{le=\"+Inf\"}} {all}\n\
                 vllm:time_to_first_token_seconds_sum {all}0\nvllm:time_to_first_token_seconds_count {all}\n"
            )
        };
        let [ttft] = found(&page(0), &page(40))[..] else { panic!("one signal") };
        assert_eq!((ttft.figure, ttft.is_lower_bound, ttft.state), (10.0, true, SignalStatus::Alert));
    }

    #[test]
    fn a_hit_rate_is_of_what_was_looked_up_in_between() {
        let page = |queries: u32, hits: u32| {
            format!("vllm:prefix_cache_queries_total {queries}\nvllm:prefix_cache_hits_total {hits}\n")
        };
        let rate = |before: &str, now: &str| {
            let conditions = found(before, now);
            *conditions.iter().find(|condition| condition.signal == ServerSignal::PrefixHitRate).unwrap()
        };
        let busy = rate(&page(100, 10), &page(200, 100));
        assert_eq!((busy.figure, busy.period), (0.9, MeasurementPeriod::Now));
        let idle = rate(&page(100, 10), &page(100, 10));
        assert_eq!(
            (idle.figure, idle.period, idle.state),
            (0.1, MeasurementPeriod::SinceStart, SignalStatus::Ok)
        );
    }

    #[test]
    fn a_server_that_began_anew_has_no_growth() {
        let conditions = found("vllm:num_preemptions_total 4", "vllm:num_preemptions_total 1");
        assert_eq!(conditions, []);
    }
}
