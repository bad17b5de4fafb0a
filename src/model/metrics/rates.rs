//! Intervals of the throughputs, from the counts in each second.

use std::collections::BTreeMap;

use super::measurement_window::MeasurementWindow;
use super::{failed, good, meets_slo};
use crate::model::run_spec::Slo;
use crate::stats::{ConfidenceDistribution, RateInterval, rate_interval};

/// The largest number of seconds that are kept separately: the bootstrap sums longer series into batches anyway.
const MAX_SECONDS: usize = 1 << 20;

/// 95 % intervals of the scalars that are rates or shares, by the scalar's key. Rates have none in windows shorter than
/// ten seconds.
pub(super) fn intervals(window: MeasurementWindow<'_>, slo: &Slo) -> BTreeMap<String, RateInterval> {
    let rates = by_second(window, slo).into_iter();
    let rates = rates.filter_map(|(key, pairs)| Some((key, rate_interval(pairs.into_iter())?)));
    let failure_rate = share_interval(failed(window.ended()));
    let goodput_ratio = slo.is_set().then(|| share_interval(good(window.ended(), slo))).flatten();
    let shares = [("failure_rate", failure_rate), ("goodput_ratio", goodput_ratio)];
    let shares = shares.into_iter().filter_map(|(key, interval)| Some((key, interval?)));
    rates.chain(shares).map(|(key, interval)| (key.to_owned(), interval)).collect()
}

/// The 95 % interval of the share of requests whose flag is set; `None` without requests.
fn share_interval(happened: impl Iterator<Item = bool>) -> Option<RateInterval> {
    let pairs: Vec<(f64, f64)> = happened.map(|yes| (f64::from(u8::from(yes)), 1.0)).collect();
    Some(ConfidenceDistribution::from_share(pairs.into_iter())?.interval(0.05))
}

/// The data of each rate metric, by its key: a pair (events, duration in seconds) for each second.
pub(super) fn by_second(window: MeasurementWindow<'_>, slo: &Slo) -> BTreeMap<&'static str, Vec<(f64, f64)>> {
    let (seconds, is_pooled) = (SecondBuckets::from_window(window), window.is_pooled());
    let mut requests = seconds.zero_column();
    let (mut input, mut good) = (seconds.zero_column(), seconds.zero_column());
    let (mut sequences, mut audio) = (seconds.zero_column(), seconds.zero_column());
    for record in window.answered() {
        let second = seconds.index_of(record.times.done().unwrap_or_default().as_secs());
        requests[second] += 1.0;
        input[second] += f64::from(record.prompt_tokens.count);
        sequences[second] += if is_pooled { f64::from(record.input.sequences) } else { 0.0 };
        audio[second] += record.input.audio.get().unwrap_or_default().as_secs_f64();
        good[second] += f64::from(u8::from(meets_slo(record, slo)));
    }
    let mut output = seconds.zero_column();
    for (second, tokens) in window.tokens_by_second() {
        output[seconds.index_of(u64::from(second))] += tokens;
    }
    let total = input.iter().zip(&output).map(|(input, output)| input + output).collect();
    let columns = [
        ("request_throughput", requests),
        ("input_throughput", input),
        ("output_throughput", output),
        ("total_token_throughput", total),
        ("input_sequence_throughput", sequences),
        ("rtfx", audio),
        ("request_goodput", good),
    ];
    let applies = |key: &str, column: &[f64]| match key {
        "request_goodput" => slo.is_set(),
        // A count that never occurred has no rate.
        "output_throughput" | "input_sequence_throughput" | "rtfx" => column.iter().any(|&count| count > 0.0),
        _ => true,
    };
    let wanted = columns.into_iter().filter(|(key, column)| applies(key, column));
    wanted.map(|(key, column)| (key, seconds.pairs(column))).collect()
}

/// The seconds of a window; the last may be partial.
struct SecondBuckets {
    first: u64,
    lengths: Vec<f64>,
}

impl SecondBuckets {
    fn from_window(window: MeasurementWindow<'_>) -> Self {
        let length = window.length().as_secs_f64();
        let count = (length.ceil() as usize).clamp(1, MAX_SECONDS);
        let mut lengths = vec![1.0; count];
        lengths[count - 1] = length - (count - 1) as f64;
        Self { first: window.start().as_secs(), lengths }
    }

    fn zero_column(&self) -> Vec<f64> {
        vec![0.0; self.lengths.len()]
    }

    fn index_of(&self, second: u64) -> usize {
        let second = usize::try_from(second.saturating_sub(self.first)).unwrap_or(usize::MAX);
        second.min(self.lengths.len() - 1)
    }

    fn pairs(&self, column: Vec<f64>) -> Vec<(f64, f64)> {
        column.into_iter().zip(self.lengths.iter().copied()).collect()
    }
}
