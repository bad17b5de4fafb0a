//! The client's own metrics while it measures, in Prometheus' text format.
//!
//! The one thread that collects Records counts finished requests. Any thread can render the page at any time.

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
};

use crate::model::metrics::Latency;
use crate::model::record::Record;

pub(crate) use prometheus::TEXT_FORMAT;

/// Counter: requests sent.
pub(crate) const SENT: &str = "servegauge_requests_sent_total";
/// Counter: requests that completed.
pub(crate) const COMPLETED: &str = "servegauge_requests_completed_total";
/// Counter: requests that failed, by the `class` of the failure.
pub(crate) const FAILED: &str = "servegauge_requests_failed_total";
/// Counter: requests that the client cancelled on purpose, as the load specifies.
pub(crate) const ABANDONED: &str = "servegauge_requests_abandoned_total";
/// Gauge: requests that were sent and have not ended.
pub(crate) const IN_FLIGHT: &str = "servegauge_requests_in_flight";
/// Counter: prompt tokens of completed requests.
pub(crate) const PROMPT_TOKENS: &str = "servegauge_prompt_tokens_total";
/// Counter: output tokens of completed requests.
pub(crate) const OUTPUT_TOKENS: &str = "servegauge_output_tokens_total";
/// Histogram: time to first token, in seconds.
pub(crate) const TTFT: &str = "servegauge_ttft_seconds";
/// Histogram: time per output token, in seconds.
pub(crate) const TPOT: &str = "servegauge_tpot_seconds";
/// Histogram: gaps between output events, in seconds.
pub(crate) const ITL: &str = "servegauge_itl_seconds";
/// Histogram: end-to-end latency, in seconds.
pub(crate) const E2E: &str = "servegauge_e2e_seconds";
/// Histogram: send time − due time, in seconds.
pub(crate) const LAG: &str = "servegauge_lag_seconds";

/// The metrics of a run so far. Warm-up requests are excluded.
pub(crate) struct ClientMetrics {
    registry: Registry,
    /// All requests that ended. Not on the page, which has the completed, failed and abandoned ones.
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

impl Default for ClientMetrics {
    fn default() -> Self {
        let registry = Registry::new();
        let counter = |name, help| register(&registry, IntCounter::new(name, help));
        let histogram = |name, help| {
            register(
                &registry,
                Histogram::with_opts(HistogramOpts::new(name, help).buckets(histogram_bounds())),
            )
        };
        let failed = IntCounterVec::new(Opts::new(FAILED, "Requests that failed, by class."), &["class"]);
        Self {
            ended: IntCounter::new("ended", "-").expect("a constant name"),
            sent: counter(SENT, "Requests that were sent."),
            completed: counter(COMPLETED, "Requests that were answered."),
            failed: register(&registry, failed),
            abandoned: counter(ABANDONED, "Requests that were abandoned as scheduled."),
            in_flight: register(
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

impl ClientMetrics {
    /// Sets the number of requests sent so far.
    pub(crate) fn set_sent(&self, sent: u64) {
        self.sent.inc_by(sent.saturating_sub(self.sent.get()));
        self.update_in_flight();
    }

    /// Counts a request that ended.
    pub(crate) fn record_ended(&self, record: &Record) {
        self.ended.inc();
        match record.failure() {
            None => {
                self.completed.inc();
                self.prompt_tokens.inc_by(record.prompt_tokens.count.into());
                self.output_tokens.inc_by(record.output_tokens.count.into());
            }
            Some(_) if record.is_abandoned() => self.abandoned.inc(),
            Some(failure) => self.failed.with_label_values(&[&failure.class.key()]).inc(),
        }
        let times = [
            (&self.ttft, Latency::Ttft),
            (&self.tpot, Latency::Tpot),
            (&self.e2e, Latency::E2e),
            (&self.lag, Latency::Lag),
        ];
        for (histogram, latency) in times {
            let time = latency.counted_value(record);
            time.into_iter().for_each(|time| histogram.observe(time.as_secs_f64()));
        }
        let gaps = record.events.gaps.iter().flatten().filter(|_| Latency::Itl.applies_to(record));
        gaps.for_each(|gap| self.itl.observe(gap.as_secs_f64()));
        self.update_in_flight();
    }

    /// Counts of sent requests arrive at intervals, ends at once: every request that ended counts as sent.
    fn update_in_flight(&self) {
        let ended = self.ended.get();
        self.sent.inc_by(ended.saturating_sub(self.sent.get()));
        self.in_flight.set(self.sent.get().saturating_sub(ended) as i64);
    }

    /// Renders the page in Prometheus' text format.
    pub(crate) fn encode(&self) -> String {
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .expect("every family has a metric and a name")
    }
}

fn register<M: Collector + Clone + 'static>(registry: &Registry, metric: prometheus::Result<M>) -> M {
    let metric = metric.expect("names and bounds are constant");
    registry.register(Box::new(metric.clone())).expect("each name is there once");
    metric
}

/// Six bounds a decade from 0.1 ms to 1000 s. All histograms share them, so that panels can compare metrics.
fn histogram_bounds() -> Vec<f64> {
    let of_decade = |exponent: i32| {
        // Parsed from text, since a product would print with meaningless digits.
        ["1", "1.5", "2", "3", "5", "7.5"].map(|digits| format!("{digits}e{exponent}"))
    };
    let texts = (-4..3).flat_map(of_decade).chain(["1e3".to_owned()]);
    texts.map(|text| text.parse().expect("it is written as a number")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::record::{Failure, FailureClass};
    use crate::testing::sample_run;

    fn good() -> Record {
        sample_run::records().swap_remove(0)
    }

    #[test]
    fn the_page_has_what_ended_and_what_is_in_flight() {
        let exposition = ClientMetrics::default();
        exposition.set_sent(3);
        let record = good();
        exposition.record_ended(&record);
        let failure = Err(Failure::new(FailureClass::Status(503), "busy").into());
        exposition.record_ended(&Record { outcome: failure, ..record });
        let page = exposition.encode();
        for line in [
            "servegauge_requests_sent_total 3",
            "servegauge_requests_completed_total 1",
            "servegauge_requests_failed_total{class=\"status_503\"} 1",
            "servegauge_requests_in_flight 1",
            "servegauge_ttft_seconds_count 1",
            "servegauge_e2e_seconds_count 1",
            "# TYPE servegauge_itl_seconds histogram",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in:\n{page}");
        }
    }

    #[test]
    fn what_has_ended_was_sent() {
        let exposition = ClientMetrics::default();
        exposition.record_ended(&good());
        exposition.set_sent(0);
        let page = exposition.encode();
        assert!(page.contains("\nservegauge_requests_sent_total 1\n"), "{page}");
        assert!(page.contains("\nservegauge_requests_in_flight 0\n"), "{page}");
    }

    #[test]
    fn bounds_ascend_and_are_short_numbers() {
        let bounds = histogram_bounds();
        assert!(bounds.is_sorted() && bounds.len() == 43);
        assert_eq!((bounds[0], bounds[1], bounds[42]), (0.0001, 0.00015, 1000.0));
    }
}
