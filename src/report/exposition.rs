//! The client's own figures while it measures, as Prometheus reads them.
//!
//! What has ended is counted, by the one thread that collects Records; the page can be had on any thread, at any time.

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
};

use crate::core::metrics::Latency;
use crate::core::record::Record;

pub use prometheus::TEXT_FORMAT;

/// Requests that were sent.
pub const SENT: &str = "servebench_requests_sent_total";
/// Requests that got their answer.
pub const COMPLETED: &str = "servebench_requests_completed_total";
/// Requests that did not, by the `class` of the failure.
pub const FAILED: &str = "servebench_requests_failed_total";
/// Requests whose user left, as some were to.
pub const ABANDONED: &str = "servebench_requests_abandoned_total";
/// Requests that were sent and have not ended.
pub const IN_FLIGHT: &str = "servebench_requests_in_flight";
/// Prompt tokens of requests that got their answer.
pub const PROMPT_TOKENS: &str = "servebench_prompt_tokens_total";
/// Output tokens of requests that got their answer.
pub const OUTPUT_TOKENS: &str = "servebench_output_tokens_total";
/// TTFT, a histogram as those below.
pub const TTFT: &str = "servebench_ttft_seconds";
/// TPOT.
pub const TPOT: &str = "servebench_tpot_seconds";
/// Gaps between output events.
pub const ITL: &str = "servebench_itl_seconds";
/// E2E.
pub const E2E: &str = "servebench_e2e_seconds";
/// sent − due.
pub const LAG: &str = "servebench_lag_seconds";

/// The figures of a run so far; warm-ups are not in them.
pub struct Exposition {
    registry: Registry,
    /// However they ended; on no page, which has its parts.
    ended: IntCounter,
    sent: IntCounter,
    completed: IntCounter,
    failed: IntCounterVec,
    abandoned: IntCounter,
    in_flight: IntGauge,
    prompt_tokens: IntCounter,
    output_tokens: IntCounter,
    ttft: Histogram,
    tpot: Histogram,
    itl: Histogram,
    e2e: Histogram,
    lag: Histogram,
}

impl Default for Exposition {
    fn default() -> Self {
        let registry = Registry::new();
        let counter = |name, help| listed(&registry, IntCounter::new(name, help));
        let histogram = |name, help| {
            listed(&registry, Histogram::with_opts(HistogramOpts::new(name, help).buckets(bounds())))
        };
        let failed = IntCounterVec::new(Opts::new(FAILED, "Requests that failed, by class."), &["class"]);
        Self {
            ended: IntCounter::new("ended", "-").expect("a constant name"),
            sent: counter(SENT, "Requests that were sent."),
            completed: counter(COMPLETED, "Requests that got their answer."),
            failed: listed(&registry, failed),
            abandoned: counter(ABANDONED, "Requests whose user left, as some were to."),
            in_flight: listed(
                &registry,
                IntGauge::new(IN_FLIGHT, "Requests that were sent and have not ended."),
            ),
            prompt_tokens: counter(PROMPT_TOKENS, "Prompt tokens of completed requests."),
            output_tokens: counter(OUTPUT_TOKENS, "Output tokens of completed requests."),
            ttft: histogram(TTFT, "From sent to the first output event."),
            tpot: histogram(TPOT, "Time per output token after the first output event, of each request."),
            itl: histogram(ITL, "Gaps between output events, counted when their request ends."),
            e2e: histogram(E2E, "From sent to the last output event."),
            lag: histogram(LAG, "From due to sent."),
            registry,
        }
    }
}

impl Exposition {
    /// So many requests were sent so far.
    pub fn sent(&self, sent: u64) {
        self.sent.inc_by(sent.saturating_sub(self.sent.get()));
        self.weigh();
    }

    /// A request ended.
    pub fn ended(&self, record: &Record) {
        self.ended.inc();
        match record.failure() {
            None => {
                self.completed.inc();
                self.prompt_tokens.inc_by(record.prompt_tokens.count.into());
                self.output_tokens.inc_by(record.output_tokens.count.into());
            }
            Some(_) if record.was_abandoned() => self.abandoned.inc(),
            Some(failure) => self.failed.with_label_values(&[&failure.class.key()]).inc(),
        }
        let times = [
            (&self.ttft, Latency::Ttft),
            (&self.tpot, Latency::Tpot),
            (&self.e2e, Latency::E2e),
            (&self.lag, Latency::Lag),
        ];
        for (histogram, latency) in times {
            let time = latency.counted(record);
            time.into_iter().for_each(|time| histogram.observe(time.as_secs_f64()));
        }
        let gaps = record.events.gaps.iter().flatten().filter(|_| Latency::Itl.counts(record));
        gaps.for_each(|gap| self.itl.observe(gap.as_secs_f64()));
        self.weigh();
    }

    /// Counts of sent requests come now and then, ends at once: what has ended was sent.
    fn weigh(&self) {
        let ended = self.ended.get();
        self.sent.inc_by(ended.saturating_sub(self.sent.get()));
        self.in_flight.set(self.sent.get().saturating_sub(ended) as i64);
    }

    /// The page, in Prometheus' text format.
    pub fn page(&self) -> String {
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .expect("every family has a metric and a name")
    }
}

fn listed<M: Collector + Clone + 'static>(registry: &Registry, metric: prometheus::Result<M>) -> M {
    let metric = metric.expect("names and bounds are constant");
    registry.register(Box::new(metric.clone())).expect("each name is there once");
    metric
}

/// Six bounds a decade from 0.1 ms to 1000 s, alike for all, so that panels may compare them.
fn bounds() -> Vec<f64> {
    let of_decade = |exponent: i32| {
        // Written and read, as a product would have digits that mean nothing.
        ["1", "1.5", "2", "3", "5", "7.5"].map(|digits| format!("{digits}e{exponent}"))
    };
    let texts = (-4..3).flat_map(of_decade).chain(["1e3".to_owned()]);
    texts.map(|text| text.parse().expect("it is written as a number")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::record::{Failure, FailureClass};
    use crate::core::run::sample;

    fn good() -> Record {
        sample::records().swap_remove(0)
    }

    #[test]
    fn the_page_has_what_ended_and_what_is_in_flight() {
        let exposition = Exposition::default();
        exposition.sent(3);
        let record = good();
        exposition.ended(&record);
        let failure = Err(Failure::new(FailureClass::Status(503), "busy"));
        exposition.ended(&Record { outcome: failure, ..record });
        let page = exposition.page();
        for line in [
            "servebench_requests_sent_total 3",
            "servebench_requests_completed_total 1",
            "servebench_requests_failed_total{class=\"status_503\"} 1",
            "servebench_requests_in_flight 1",
            "servebench_ttft_seconds_count 1",
            "servebench_e2e_seconds_count 1",
            "# TYPE servebench_itl_seconds histogram",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in:\n{page}");
        }
    }

    #[test]
    fn what_has_ended_was_sent() {
        let exposition = Exposition::default();
        exposition.ended(&good());
        exposition.sent(0);
        let page = exposition.page();
        assert!(page.contains("\nservebench_requests_sent_total 1\n"), "{page}");
        assert!(page.contains("\nservebench_requests_in_flight 0\n"), "{page}");
    }

    #[test]
    fn bounds_ascend_and_are_short_numbers() {
        let bounds = bounds();
        assert!(bounds.is_sorted() && bounds.len() == 43);
        assert_eq!((bounds[0], bounds[1], bounds[42]), (0.0001, 0.00015, 1000.0));
    }
}
