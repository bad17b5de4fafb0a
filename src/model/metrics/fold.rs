//! Computes metrics from Records that come one by one.

use std::collections::BTreeMap;
use std::time::Duration;

use super::groups::GroupTally;
use super::measurement_window::{MeasurementWindow, gaps};
use super::rates::SecondSums;
use super::sessions::SessionTally;
use super::tallies::{FailureTally, ValueTally};
use super::waterfall::Waterfall;
use super::{
    Latency, Metrics, SloCounts, TokenTotal, ValueSummary, failed, good, latency_values, meets_slo,
    recorded_gaps, with_table_percents,
};
use crate::model::concurrency::{ConcurrencyCurve, Peak};
use crate::model::record::{FinishReason, Record, TokenSource};
use crate::model::run_records::RunView;
use crate::model::run_spec::Slo;
use crate::model::steady_state::SteadyWindow;
use crate::stats::{
    ConfidenceDistribution, Distribution, DurationSketch, Percent, RateInterval, SampleClusters,
};

/// Adds up the metrics of a whole run, or of a window of it. It takes the Records in any order, except that the turns of
/// a session come one after the other, and its memory does not grow with their number.
///
/// Counts, sums and means are exact. Percentiles are exact where the run keeps all Records, else those of a
/// [`DurationSketch`], with intervals from the sample that the run keeps.
pub(crate) struct MetricsFold<'a> {
    window: MeasurementWindow,
    slo: &'a Slo,
    /// The end of the last request.
    end: Duration,
    arrivals: ArrivalSums,
    started: StartedSums,
    ended: EndedSums,
    seconds: SecondSums,
}

/// What metrics are made of besides the sums of all Records.
pub(crate) struct MetricsInput<'a> {
    /// The kept Records.
    pub kept: RunView<'a>,
    /// The gaps that count, since Records may not keep them; `None` for those of the Records.
    pub itl: Option<&'a DurationSketch>,
    /// The percentiles of latencies, besides those of the table.
    pub percents: &'a [Percent],
    /// The largest number of requests in flight.
    pub peak: Peak,
}

impl<'a> MetricsFold<'a> {
    /// The fold of a whole run.
    pub(crate) fn whole_run(slo: &'a Slo) -> Self {
        Self::new(MeasurementWindow::WHOLE_RUN, slo)
    }

    /// The fold of a window of the run: latencies over the requests that were sent in it, counts and request throughput
    /// over those that ended in it, output tokens over the events in it.
    pub(crate) fn steady(window: &SteadyWindow, slo: &'a Slo) -> Self {
        Self::new(MeasurementWindow::steady(window), slo)
    }

    fn new(window: MeasurementWindow, slo: &'a Slo) -> Self {
        Self {
            window,
            slo,
            end: Duration::ZERO,
            arrivals: ArrivalSums::default(),
            started: StartedSums::default(),
            ended: EndedSums::default(),
            seconds: SecondSums::new(window),
        }
    }

    /// Adds a Record.
    pub(crate) fn add(&mut self, record: &Record) {
        self.end = self.end.max(record.times.done().unwrap_or_default());
        self.arrivals.add(record, self.window);
        if self.window.contains(record.times.sent()) {
            // The gaps of a whole run are counted as they arrive.
            self.started.add(record, self.window.part().is_some());
        }
        if self.window.contains(record.times.done()) {
            self.ended.add(record, self.slo);
        }
        self.seconds.add(record, self.slo);
    }

    /// The values of a latency.
    pub(crate) fn latency(&self, latency: Latency) -> Option<&DurationSketch> {
        self.started.latencies.get(&latency)
    }

    /// The number of requests that were sent.
    pub(crate) fn sent_count(&self) -> usize {
        self.arrivals.achieved.count
    }

    /// The metrics.
    pub(crate) fn finish(self, input: &MetricsInput<'_>) -> Metrics {
        let Self { window, slo, arrivals, started, ended, seconds, .. } = self;
        let MetricsInput { kept, peak, .. } = *input;
        let part = window.part();
        let length = part.as_ref().map_or(self.end, |part| part.end - part.start);
        let is_pooled = seconds.is_pooled();
        let tokens_per_event = ended.tokens_per_event(kept, window);
        let mut metrics = Metrics {
            duration: length,
            completed: ended.completed,
            failed: ended.failed,
            abandoned: ended.abandoned,
            answered_before_leaving: ended.answered_before_leaving,
            input_tokens: ended.input_tokens,
            output_tokens: if is_pooled { TokenTotal::default() } else { ended.output_tokens },
            input_sequences: is_pooled.then_some(ended.sequences),
            input_audio: ended.audio,
            tokens_per_event,
            offered_rate: arrivals.offered.rate(&arrivals, part.is_some().then_some(length)),
            achieved_rate: arrivals.achieved.rate(&arrivals, part.is_some().then_some(length)),
            peak_output_tokens_per_s: seconds.peak_output_tokens().filter(|_| ended.has_events),
            peak_in_flight: peak.level as usize,
            peak_is_lower_bound: !peak.is_exact,
            good: slo.is_set().then_some(ended.judged_answers),
            judged: slo.is_set().then_some(ended.judged),
            rate_intervals: rate_intervals(&seconds, length, kept, (window, slo)),
            latencies: started.latencies(input, window),
            vllm_tpot: started.vllm_tpot(input, window),
            first_event_by_source: started.first_event_by_source,
            finish_reasons: if is_pooled { BTreeMap::new() } else { ended.finish_reasons },
            failures: ended.failures.finish(),
            rows: ended.groups.finish(window.ended(kept.records)),
            sessions: ended.sessions.finish(|| peak_active(kept, window)),
            waterfall: Waterfall::from_records(window.started(kept.records)),
        };
        if part.is_some() {
            metrics.output_tokens.total = seconds.output_tokens().round() as u64;
        }
        // The busiest whole second of a run shorter than one second is not a meaningful peak.
        let average = metrics.per_second(metrics.output_tokens.total as f64).unwrap_or_default();
        metrics.peak_output_tokens_per_s = metrics.peak_output_tokens_per_s.map(|peak| peak.max(average));
        metrics
    }
}

/// 95 % intervals of the scalars that are rates or shares, by the scalar's key.
fn rate_intervals(
    seconds: &SecondSums,
    length: Duration,
    kept: RunView<'_>,
    (window, slo): (MeasurementWindow, &Slo),
) -> BTreeMap<String, RateInterval> {
    let failure_rate = share_interval(failed(window.ended(kept.records)));
    let goodput_ratio = slo.is_set().then(|| share_interval(good(window.ended(kept.records), slo))).flatten();
    let shares = [("failure_rate", failure_rate), ("goodput_ratio", goodput_ratio)];
    let shares = shares.into_iter().filter_map(|(key, interval)| Some((key, interval?)));
    seconds.intervals(length, slo).chain(shares).map(|(key, interval)| (key.to_owned(), interval)).collect()
}

/// The 95 % interval of the share of requests whose flag is set; `None` without requests.
fn share_interval(happened: impl Iterator<Item = bool>) -> Option<RateInterval> {
    let pairs: Vec<(f64, f64)> = happened.map(|yes| (f64::from(u8::from(yes)), 1.0)).collect();
    Some(ConfidenceDistribution::from_share(pairs.into_iter())?.interval(0.05))
}

/// The largest number of active sessions. A window of a run that keeps all Records counts the sessions of the requests
/// that ended in it.
fn peak_active(kept: RunView<'_>, window: MeasurementWindow) -> u32 {
    match window.part() {
        _ if kept.is_whole() => ConcurrencyCurve::from_sessions(window.ended(kept.records)).peak(),
        None => kept.sessions().peak(),
        Some(part) => {
            let levels = kept.sessions().levels_within(part.start, part.end - part.start, 1);
            levels.first().map_or(0, |level| level.max)
        }
    }
}

/// Arrivals, of the requests that were sent.
#[derive(Default)]
struct ArrivalSums {
    /// Whether the requests were not all due at once.
    are_scheduled: bool,
    offered: ArrivalCount,
    achieved: ArrivalCount,
}

#[derive(Default)]
struct ArrivalCount {
    count: usize,
    last: Option<Duration>,
}

impl ArrivalSums {
    fn add(&mut self, record: &Record, window: MeasurementWindow) {
        let (due, sent) = (record.times.due(), record.times.sent());
        if sent.is_none() {
            return;
        }
        self.are_scheduled |= due > Duration::ZERO;
        for (arrivals, at) in [(&mut self.offered, Some(due)), (&mut self.achieved, sent)] {
            if window.contains(at) {
                arrivals.count += 1;
                arrivals.last = arrivals.last.max(at);
            }
        }
    }
}

impl ArrivalCount {
    /// Arrivals per second: from t0 to the last of them, or within a window of this length.
    fn rate(&self, all: &ArrivalSums, window: Option<Duration>) -> Option<f64> {
        let span = window.or(self.last)?;
        (all.are_scheduled && !span.is_zero()).then(|| self.count as f64 / span.as_secs_f64())
    }
}

/// The sums of the requests that were sent within the window.
#[derive(Default)]
struct StartedSums {
    gaps: DurationSketch,
    latencies: BTreeMap<Latency, DurationSketch>,
    vllm_tpot: DurationSketch,
    /// Whether vLLM's TPOT differs for any request.
    vllm_tpot_differs: bool,
    first_event_by_source: BTreeMap<TokenSource, usize>,
}

impl StartedSums {
    /// Adds a Record, and its gaps if they are needed.
    fn add(&mut self, record: &Record, keeps_gaps: bool) {
        for gap in recorded_gaps(std::iter::once(record)).filter(|_| keeps_gaps) {
            self.gaps.record(gap);
        }
        for latency in Latency::ALL {
            if let Some(value) = latency.counted_value(record) {
                self.latencies.entry(latency).or_default().record(value);
            }
        }
        if !Latency::Tpot.applies_to(record) {
            return;
        }
        let (tpot, vllm_tpot) = (record.tpot(), record.vllm_tpot());
        self.vllm_tpot_differs |= tpot != vllm_tpot;
        vllm_tpot.into_iter().for_each(|value| self.vllm_tpot.record(value));
        if let (Some(_), Some((_, source))) = (tpot, record.tokens_after_first_event()) {
            *self.first_event_by_source.entry(source).or_default() += 1;
        }
    }

    fn latencies(
        &self,
        input: &MetricsInput<'_>,
        window: MeasurementWindow,
    ) -> BTreeMap<Latency, Distribution> {
        let percents = &with_table_percents(input.percents);
        let started = || window.started(input.kept.records);
        let distribution = |latency: Latency| match latency {
            Latency::Itl => {
                let groups: Vec<_> = started().filter_map(gaps).collect();
                input.itl.unwrap_or(&self.gaps).distribution(percents, &SampleClusters::from_groups(&groups))
            }
            _ => summary(
                self.latencies.get(&latency)?,
                latency_values(started(), latency).collect(),
                (input.kept, percents),
            ),
        };
        Latency::ALL.into_iter().filter_map(|latency| Some((latency, distribution(latency)?))).collect()
    }

    fn vllm_tpot(&self, input: &MetricsInput<'_>, window: MeasurementWindow) -> Option<Distribution> {
        let counted = window.started(input.kept.records).filter(|record| Latency::Tpot.applies_to(record));
        let values = counted.filter_map(Record::vllm_tpot).collect();
        self.vllm_tpot_differs.then(|| summary(&self.vllm_tpot, values, (input.kept, input.percents)))?
    }
}

/// The summary of a latency over all requests, those that are kept in the order of time.
fn summary(
    all: &DurationSketch,
    kept: Vec<Duration>,
    (view, percents): (RunView<'_>, &[Percent]),
) -> Option<Distribution> {
    match view.is_whole() {
        true => Distribution::from_values(kept, percents),
        false => all.distribution_by_sample(percents, &kept),
    }
}

/// The sums of the requests that ended within the window.
#[derive(Default)]
struct EndedSums {
    completed: usize,
    failed: usize,
    abandoned: usize,
    answered_before_leaving: usize,
    /// Answers that met the SLO, those to users who were scheduled to leave included.
    judged_answers: usize,
    judged: SloCounts,
    input_tokens: TokenTotal,
    output_tokens: TokenTotal,
    sequences: u64,
    audio: Option<Duration>,
    has_events: bool,
    tokens_per_event: ValueTally,
    finish_reasons: BTreeMap<String, usize>,
    failures: FailureTally,
    groups: GroupTally,
    sessions: SessionTally,
}

impl EndedSums {
    fn add(&mut self, record: &Record, slo: &Slo) {
        self.groups.add(record);
        self.sessions.add(record);
        if slo.is_set() && !record.is_abandoned() {
            self.judged.add(record, slo);
        }
        if let Some(failure) = record.failure() {
            match record.is_abandoned() {
                true => self.abandoned += 1,
                false => {
                    self.failed += 1;
                    self.failures.add(record.ordinal, failure);
                }
            }
            return;
        }
        self.completed += 1;
        self.answered_before_leaving += usize::from(record.has_early_cancel());
        self.judged_answers += usize::from(slo.is_set() && meets_slo(record, slo));
        self.input_tokens.add(record.prompt_tokens);
        self.output_tokens.add(record.output_tokens);
        let traits = record.traits();
        self.sequences += u64::from(traits.sequences);
        self.audio = match (self.audio, traits.audio.get()) {
            (Some(all), Some(more)) => Some(all.saturating_add(more)),
            (all, more) => all.or(more),
        };
        self.has_events |= record.events.count > 0;
        counted_tokens_per_event(record).into_iter().for_each(|value| self.tokens_per_event.add(value));
        let reason = record.outcome.as_ref().map_or("", FinishReason::name);
        match self.finish_reasons.get_mut(reason) {
            Some(count) => *count += 1,
            None => _ = self.finish_reasons.insert(reason.to_owned(), 1),
        }
    }

    /// Tokens per event, of the kept answers if these are all.
    fn tokens_per_event(&self, kept: RunView<'_>, window: MeasurementWindow) -> Option<ValueSummary> {
        if !kept.is_whole() {
            return self.tokens_per_event.summary();
        }
        let answered = window.ended(kept.records).filter(|record| record.is_success());
        ValueSummary::from_values(answered.filter_map(counted_tokens_per_event))
    }
}

/// Tokens per event of an answer whose tokens were counted otherwise than by its events.
fn counted_tokens_per_event(record: &Record) -> Option<f64> {
    record.tokens_per_event().filter(|_| record.output_tokens.source != TokenSource::Events)
}
