//! The part of a run that is summed up: all of it, or a window.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{FailureCount, Judged, Latency, Metrics, SessionTotals, Spread, Tokens, meets, values};
use super::{facets, rates};
use crate::core::in_flight::InFlight;
use crate::core::record::{FailureClass, Record, TokenSource};
use crate::core::spec::Slo;
use crate::core::stats::{Clusters, Distribution, Percent, Tally};
use crate::core::steady::Window;

/// Records and the stretch of time that counts.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    records: &'a [Record],
    start: Duration,
    end: Duration,
    /// Whether requests may lie outside.
    cut: bool,
}

impl<'a> Scope<'a> {
    /// t0 to the end of the last request.
    pub fn run(records: &'a [Record]) -> Self {
        let end = records.iter().filter_map(|record| record.times.done).max().unwrap_or_default();
        Self { records, start: Duration::ZERO, end, cut: false }
    }

    /// A window of the run.
    pub fn window(records: &'a [Record], window: &Window) -> Self {
        Self { records, start: window.start, end: window.end, cut: true }
    }

    pub fn start(&self) -> Duration {
        self.start
    }

    pub fn length(&self) -> Duration {
        self.end - self.start
    }

    fn holds(&self, at: Option<Duration>) -> bool {
        !self.cut || at.is_some_and(|at| self.start <= at && at < self.end)
    }

    /// Requests sent within.
    pub fn started(self) -> impl Iterator<Item = &'a Record> + Clone {
        self.records.iter().filter(move |record| self.holds(record.times.sent))
    }

    /// Requests that ended within.
    pub fn ended(self) -> impl Iterator<Item = &'a Record> + Clone {
        self.records.iter().filter(move |record| self.holds(record.times.done))
    }

    /// Those that got their answer.
    pub fn answered(self) -> impl Iterator<Item = &'a Record> + Clone {
        self.ended().filter(|record| record.succeeded())
    }

    /// Output tokens of answered requests by whole second since t0, within. Windows are of whole seconds.
    pub fn tokens_by_second(self) -> impl Iterator<Item = (u32, f64)> {
        let within = self.start.as_secs()..self.end.as_secs();
        let answered = self.records.iter().filter(|record| record.succeeded());
        answered
            .flat_map(Record::tokens_by_second)
            .filter(move |(second, _)| !self.cut || within.contains(&u64::from(*second)))
    }

    /// Sums it up. `itl` holds the gaps of the requests that started within.
    pub fn metrics(self, itl: &Tally, slo: &Slo, percents: &[Percent]) -> Metrics {
        let mut metrics = Metrics {
            duration: self.length(),
            completed: self.answered().count(),
            failed: self.ended().filter(|record| record.failed()).count(),
            abandoned: self.ended().filter(|record| record.was_abandoned()).count(),
            answered_before_leaving: self.answered().filter(|record| record.was_to_leave()).count(),
            input_tokens: Tokens::default(),
            output_tokens: Tokens::default(),
            input_sequences: self.input_sequences(),
            input_audio: self.answered().filter_map(|record| record.input.audio).reduce(|a, b| a + b),
            tokens_per_event: self.tokens_per_event(),
            offered_rate: self.rate(|record| Some(record.times.due)),
            achieved_rate: self.rate(|record| record.times.sent),
            peak_output_tokens_per_s: self.peak_output_tokens(),
            peak_in_flight: self.peak_in_flight(),
            good: slo.is_set().then(|| self.answered().filter(|record| meets(record, slo)).count()),
            judged: slo
                .is_set()
                .then(|| Judged::of(self.ended().filter(|record| !record.was_abandoned()), slo)),
            rate_intervals: rates::intervals(self, slo),
            latencies: self.latencies(itl, percents),
            vllm_tpot: self.vllm_tpot(percents),
            first_event_by_source: self.first_event_by_source(),
            failures: failures(self.ended().filter(|record| record.failed())),
            rows: facets::rows(self.ended()),
            sessions: SessionTotals::of(self.ended()),
        };
        for record in self.answered() {
            metrics.input_tokens.add(record.prompt_tokens);
            if !is_pooled(record) {
                metrics.output_tokens.add(record.output_tokens);
            }
        }
        if self.cut {
            metrics.output_tokens.total =
                self.tokens_by_second().map(|(_, tokens)| tokens).sum::<f64>().round() as u64;
        }
        // The busiest whole second of a run that is shorter than one is no peak.
        let average = metrics.per_second(metrics.output_tokens.total as f64).unwrap_or_default();
        metrics.peak_output_tokens_per_s = metrics.peak_output_tokens_per_s.map(|peak| peak.max(average));
        metrics
    }

    fn latencies(self, itl: &Tally, percents: &[Percent]) -> BTreeMap<Latency, Distribution> {
        let distribution = |latency: Latency| match latency {
            Latency::Itl => itl.distribution(percents, &self.clusters()),
            _ => Distribution::of(values(self.started(), latency).collect(), percents),
        };
        Latency::ALL.into_iter().filter_map(|latency| Some((latency, distribution(latency)?))).collect()
    }

    fn vllm_tpot(self, percents: &[Percent]) -> Option<Distribution> {
        let counted = self.started().filter(|record| Latency::Tpot.counts(record));
        let differs = counted.clone().any(|record| record.tpot() != record.vllm_tpot());
        differs.then(|| Distribution::of(counted.filter_map(Record::vllm_tpot).collect(), percents)).flatten()
    }

    fn first_event_by_source(self) -> BTreeMap<TokenSource, usize> {
        let mut by_source = BTreeMap::new();
        let timed = self.started().filter(|record| Latency::Tpot.counted(record).is_some());
        for (_, source) in timed.filter_map(Record::tokens_after_first_event) {
            *by_source.entry(source).or_default() += 1;
        }
        by_source
    }

    /// The gaps of each request: their sum and number.
    fn clusters(self) -> Clusters {
        Clusters::of(&self.started().filter_map(gaps).collect::<Vec<_>>())
    }

    /// Arrivals per second of the sent requests: from t0 to the last of them, or within the window.
    fn rate(self, when: fn(&Record) -> Option<Duration>) -> Option<f64> {
        let sent = || self.records.iter().filter(|record| record.times.sent.is_some());
        let scheduled = sent().any(|record| record.times.due > Duration::ZERO);
        let within = sent().filter(|record| self.holds(when(record)));
        let span = if self.cut { self.length() } else { within.clone().filter_map(when).max()? };
        (scheduled && !span.is_zero()).then(|| within.count() as f64 / span.as_secs_f64())
    }

    fn input_sequences(self) -> Option<u64> {
        let pooled = self.answered().filter(|record| is_pooled(record));
        pooled.map(|record| u64::from(record.input.sequences)).reduce(|a, b| a + b)
    }

    /// Each request's tokens are spread over its events, so that the peak is never below the average. Of answers in one
    /// piece nobody knows when their tokens were made.
    fn peak_output_tokens(self) -> Option<f64> {
        self.answered().find(|record| record.events.count > 0)?;
        let mut by_second = BTreeMap::<u32, f64>::new();
        self.tokens_by_second().for_each(|(second, tokens)| *by_second.entry(second).or_default() += tokens);
        by_second.into_values().reduce(f64::max)
    }

    fn peak_in_flight(self) -> usize {
        let in_flight = InFlight::of(self.records);
        if !self.cut {
            return in_flight.peak() as usize;
        }
        in_flight.within(self.start, self.length(), 1).first().map_or(0, |level| level.max as usize)
    }

    fn tokens_per_event(self) -> Option<Spread> {
        let counted = self.answered().filter(|record| record.output_tokens.source != TokenSource::Events);
        Spread::of(counted.filter_map(Record::tokens_per_event))
    }
}

/// The sum and the number of a request's gaps; `None` without any that count.
pub fn gaps(record: &Record) -> Option<(Duration, u32)> {
    let counts = Latency::Itl.counts(record);
    let count = record.events.count.checked_sub(1).filter(|&count| counts && count > 0)?;
    Some((record.times.last_token?.saturating_sub(record.times.first_token?), count))
}

/// Whether a request was answered with vectors or scores: generating not even one token is a failure.
pub fn is_pooled(record: &Record) -> bool {
    record.succeeded() && record.output_tokens.count == 0
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
            })
            .count += 1;
    }
    let mut failures: Vec<_> = by_class.into_values().collect();
    failures.sort_by_key(|failure| std::cmp::Reverse(failure.count));
    failures
}
