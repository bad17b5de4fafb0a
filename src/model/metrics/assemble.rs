//! Computes the metrics of a [`MeasurementWindow`].

use std::collections::BTreeMap;
use std::time::Duration;

use super::measurement_window::{MeasurementWindow, gaps};
use super::rates;
use super::{
    FailureCount, Latency, Metrics, SessionTotals, SloCounts, TokenTotal, ValueSummary, latency_values,
    meets_slo, with_table_percents,
};
use crate::model::concurrency::ConcurrencyCurve;
use crate::model::metrics::groups;
use crate::model::record::{FailureClass, FinishReason, Record, TokenSource};
use crate::model::run_spec::Slo;
use crate::stats::{Distribution, DurationSketch, Percent, SampleClusters};

impl MeasurementWindow<'_> {
    /// Computes the metrics of the window. `itl` holds the gaps of the requests that started in it.
    pub(super) fn metrics(self, itl: &DurationSketch, slo: &Slo, percents: &[Percent]) -> Metrics {
        let mut metrics = Metrics {
            duration: self.length(),
            completed: self.answered().count(),
            failed: self.ended().filter(|record| record.is_failure()).count(),
            abandoned: self.ended().filter(|record| record.is_abandoned()).count(),
            answered_before_leaving: self.answered().filter(|record| record.has_early_cancel()).count(),
            input_tokens: TokenTotal::default(),
            output_tokens: TokenTotal::default(),
            input_sequences: self.input_sequences(),
            input_audio: self.answered().filter_map(|record| record.input.audio.get()).reduce(|a, b| a + b),
            tokens_per_event: self.tokens_per_event(),
            offered_rate: self.rate(|record| Some(record.times.due())),
            achieved_rate: self.rate(|record| record.times.sent()),
            peak_output_tokens_per_s: self.peak_output_tokens(),
            peak_in_flight: self.peak_in_flight(),
            good: slo.is_set().then(|| self.answered().filter(|record| meets_slo(record, slo)).count()),
            judged: slo
                .is_set()
                .then(|| SloCounts::from_records(self.ended().filter(|record| !record.is_abandoned()), slo)),
            rate_intervals: rates::intervals(self, slo),
            latencies: self.latencies(itl, &with_table_percents(percents)),
            vllm_tpot: self.vllm_tpot(percents),
            first_event_by_source: self.first_event_by_source(),
            finish_reasons: BTreeMap::new(),
            failures: failures(self.ended().filter(|record| record.is_failure())),
            rows: groups::group_metrics(self.ended()),
            sessions: SessionTotals::from_records(self.ended()),
        };
        let is_pooled = self.is_pooled();
        for record in self.answered() {
            metrics.input_tokens.add(record.prompt_tokens);
            if !is_pooled {
                metrics.output_tokens.add(record.output_tokens);
                let reason = record.outcome.as_ref().map_or("", FinishReason::name);
                *metrics.finish_reasons.entry(reason.to_owned()).or_default() += 1;
            }
        }
        if self.cut {
            metrics.output_tokens.total =
                self.tokens_by_second().map(|(_, tokens)| tokens).sum::<f64>().round() as u64;
        }
        // The busiest whole second of a run shorter than one second is not a meaningful peak.
        let average = metrics.per_second(metrics.output_tokens.total as f64).unwrap_or_default();
        metrics.peak_output_tokens_per_s = metrics.peak_output_tokens_per_s.map(|peak| peak.max(average));
        metrics
    }

    fn latencies(self, itl: &DurationSketch, percents: &[Percent]) -> BTreeMap<Latency, Distribution> {
        let distribution = |latency: Latency| match latency {
            Latency::Itl => itl.distribution(percents, &self.clusters()),
            _ => Distribution::from_values(latency_values(self.started(), latency).collect(), percents),
        };
        Latency::ALL.into_iter().filter_map(|latency| Some((latency, distribution(latency)?))).collect()
    }

    fn vllm_tpot(self, percents: &[Percent]) -> Option<Distribution> {
        let counted = self.started().filter(|record| Latency::Tpot.applies_to(record));
        let differs = counted.clone().any(|record| record.tpot() != record.vllm_tpot());
        differs
            .then(|| Distribution::from_values(counted.filter_map(Record::vllm_tpot).collect(), percents))
            .flatten()
    }

    fn first_event_by_source(self) -> BTreeMap<TokenSource, usize> {
        let mut by_source = BTreeMap::new();
        let timed = self.started().filter(|record| Latency::Tpot.counted_value(record).is_some());
        for (_, source) in timed.filter_map(Record::tokens_after_first_event) {
            *by_source.entry(source).or_default() += 1;
        }
        by_source
    }

    /// The sum and number of the gaps of each request.
    fn clusters(self) -> SampleClusters {
        SampleClusters::from_groups(&self.started().filter_map(gaps).collect::<Vec<_>>())
    }

    /// Arrivals per second of the sent requests: from t0 to the last of them, or within the window.
    fn rate(self, when: fn(&Record) -> Option<Duration>) -> Option<f64> {
        let sent = || self.records.iter().filter(|record| record.times.sent().is_some());
        let scheduled = sent().any(|record| record.times.due() > Duration::ZERO);
        let within = sent().filter(|record| self.holds(when(record)));
        let span = if self.cut { self.length() } else { within.clone().filter_map(when).max()? };
        (scheduled && !span.is_zero()).then(|| within.count() as f64 / span.as_secs_f64())
    }

    fn input_sequences(self) -> Option<u64> {
        let sequences = self.answered().map(|record| u64::from(record.input.sequences));
        sequences.reduce(|a, b| a + b).filter(|_| self.is_pooled())
    }

    /// Each request's tokens are spread over its events, so that the peak is never below the average. For answers in
    /// one piece the times of their tokens are unknown.
    fn peak_output_tokens(self) -> Option<f64> {
        self.answered().find(|record| record.events.count > 0)?;
        let mut by_second = BTreeMap::<u32, f64>::new();
        self.tokens_by_second().for_each(|(second, tokens)| *by_second.entry(second).or_default() += tokens);
        by_second.into_values().reduce(f64::max)
    }

    fn peak_in_flight(self) -> usize {
        let in_flight = ConcurrencyCurve::from_records(self.records);
        if !self.cut {
            return in_flight.peak() as usize;
        }
        in_flight.levels_within(self.start(), self.length(), 1).first().map_or(0, |level| level.max as usize)
    }

    fn tokens_per_event(self) -> Option<ValueSummary> {
        let counted = self.answered().filter(|record| record.output_tokens.source != TokenSource::Events);
        ValueSummary::from_values(counted.filter_map(Record::tokens_per_event))
    }
}

fn failures<'a>(records: impl Iterator<Item = &'a Record>) -> Vec<FailureCount> {
    let mut by_class = BTreeMap::<FailureClass, FailureCount>::new();
    for failure in records.filter_map(Record::failure) {
        by_class
            .entry(failure.class)
            .or_insert_with(|| FailureCount {
                class: failure.class,
                count: 0,
                example: failure.detail.clone(),
                advice: None,
            })
            .count += 1;
    }
    let mut failures: Vec<_> = by_class.into_values().collect();
    failures.sort_by_key(|failure| std::cmp::Reverse(failure.count));
    failures
}
