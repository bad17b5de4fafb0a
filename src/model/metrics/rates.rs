//! Intervals of the throughputs, from the counts in each second.

use std::collections::BTreeMap;
use std::time::Duration;

use super::measurement_window::MeasurementWindow;
use super::meets_slo;
use crate::model::record::Record;
use crate::model::run_spec::Slo;
use crate::stats::{FixedPointSum, RateInterval, rate_interval};

/// The largest number of seconds that are kept separately: the bootstrap sums longer series into batches anyway.
const MAX_SECONDS: usize = 1 << 20;

/// The sums of each second of a window, from Records in any order.
#[derive(Debug)]
pub(super) struct SecondSums {
    window: MeasurementWindow,
    seconds: Vec<OneSecond>,
    answered: usize,
    /// Whether any answer has output tokens. In generation, single answers may lack a token count, but not all do.
    has_tokens: bool,
}

/// What the answers of one second have.
#[derive(Debug, Clone, Copy, Default)]
struct OneSecond {
    requests: u32,
    good: u32,
    input: u64,
    sequences: u64,
    audio: Duration,
    /// Each request's tokens are spread over its events.
    output: FixedPointSum,
    has_output: bool,
}

impl SecondSums {
    /// No sums yet.
    pub(super) fn new(window: MeasurementWindow) -> Self {
        Self { window, seconds: Vec::new(), answered: 0, has_tokens: false }
    }

    /// Adds a Record.
    pub(super) fn add(&mut self, record: &Record, slo: &Slo) {
        if !record.is_success() {
            return;
        }
        if self.window.contains(record.times.done()) {
            self.answered += 1;
            self.has_tokens |= record.output_tokens.count > 0;
            let second = self.second(record.times.done().unwrap_or_default().as_secs());
            second.requests += 1;
            second.good += u32::from(meets_slo(record, slo));
            second.input += u64::from(record.prompt_tokens.count);
            let traits = record.traits();
            second.sequences += u64::from(traits.sequences);
            second.audio = second.audio.saturating_add(traits.audio.get().unwrap_or_default());
        }
        for (at, tokens) in record.tokens_by_second() {
            if self.window.contains_second(at) {
                let second = self.second(u64::from(at));
                second.output.add(tokens);
                second.has_output = true;
            }
        }
    }

    fn second(&mut self, second: u64) -> &mut OneSecond {
        let index = second.saturating_sub(self.window.start().as_secs());
        let index = usize::try_from(index).unwrap_or(usize::MAX).min(MAX_SECONDS - 1);
        if index >= self.seconds.len() {
            self.seconds.resize(index + 1, OneSecond::default());
        }
        &mut self.seconds[index]
    }

    /// Returns whether vectors or scores were requested: no answer then has a token.
    pub(super) fn is_pooled(&self) -> bool {
        self.answered > 0 && !self.has_tokens
    }

    /// All output tokens.
    pub(super) fn output_tokens(&self) -> f64 {
        let mut all = FixedPointSum::default();
        self.seconds.iter().for_each(|second| all.merge(second.output));
        all.value()
    }

    /// The largest number of output tokens in one second; `None` without any.
    pub(super) fn peak_output_tokens(&self) -> Option<f64> {
        let seconds = self.seconds.iter().filter(|second| second.has_output);
        seconds.map(|second| second.output.value()).reduce(f64::max)
    }

    /// The 95 % intervals of the rates, by their keys; none in windows shorter than ten seconds.
    pub(super) fn intervals(
        &self,
        length: Duration,
        slo: &Slo,
    ) -> impl Iterator<Item = (&'static str, RateInterval)> + use<> {
        let rates = self.by_second(length, slo).into_iter();
        rates.filter_map(|(key, pairs)| Some((key, rate_interval(pairs.into_iter())?)))
    }

    /// The data of each rate metric, by its key: a pair (events, duration in seconds) for each second of the window,
    /// which has this length. The last second may be partial.
    pub(super) fn by_second(&self, length: Duration, slo: &Slo) -> BTreeMap<&'static str, Vec<(f64, f64)>> {
        let length = length.as_secs_f64();
        let count = (length.ceil() as usize).clamp(1, MAX_SECONDS);
        let column = |value: &dyn Fn(&OneSecond) -> f64| {
            let mut pairs = vec![(0.0, 1.0); count];
            pairs[count - 1].1 = length - (count - 1) as f64;
            for (index, second) in self.seconds.iter().enumerate() {
                pairs[index.min(count - 1)].0 += value(second);
            }
            pairs
        };
        let is_pooled = self.is_pooled();
        let columns = [
            ("request_throughput", column(&|second| f64::from(second.requests))),
            ("input_throughput", column(&|second| second.input as f64)),
            ("output_throughput", column(&|second| second.output.value())),
            ("total_token_throughput", column(&|second| second.input as f64 + second.output.value())),
            (
                "input_sequence_throughput",
                column(&|second| if is_pooled { second.sequences as f64 } else { 0.0 }),
            ),
            ("rtfx", column(&|second| second.audio.as_secs_f64())),
            ("request_goodput", column(&|second| f64::from(second.good))),
        ];
        let applies = |key: &str, column: &[(f64, f64)]| match key {
            "request_goodput" => slo.is_set(),
            // A count that never occurred has no rate.
            "output_throughput" | "input_sequence_throughput" | "rtfx" => {
                column.iter().any(|&(count, _)| count > 0.0)
            }
            _ => true,
        };
        columns.into_iter().filter(|(key, column)| applies(key, column)).collect()
    }
}
