//! Intervals of the throughputs, from what happened in each second.

use std::collections::BTreeMap;

use super::meets;
use super::scope::{Scope, is_pooled};
use crate::core::spec::Slo;
use crate::core::stats::{RateInterval, rate_interval};

/// More seconds than this are not kept apart: the bootstrap would only sum them up again.
const MOST_SECONDS: usize = 1 << 20;

/// 95 % intervals of the scalars that are rates, by the scalar's key; empty for less than ten seconds.
pub fn intervals(scope: Scope<'_>, slo: &Slo) -> BTreeMap<String, RateInterval> {
    let by_second = by_second(scope, slo).into_iter();
    by_second.filter_map(|(key, pairs)| Some((key.to_owned(), rate_interval(pairs.into_iter())?))).collect()
}

/// What makes the scalars that are rates, by the scalar's key: (what happened, seconds) in each second.
pub fn by_second(scope: Scope<'_>, slo: &Slo) -> BTreeMap<&'static str, Vec<(f64, f64)>> {
    let seconds = Seconds::of(scope);
    let mut requests = seconds.column();
    let (mut input, mut good) = (seconds.column(), seconds.column());
    let (mut sequences, mut audio) = (seconds.column(), seconds.column());
    for record in scope.answered() {
        let second = seconds.of_offset(record.times.done.unwrap_or_default().as_secs());
        requests[second] += 1.0;
        input[second] += f64::from(record.prompt_tokens.count);
        sequences[second] += if is_pooled(record) { f64::from(record.input.sequences) } else { 0.0 };
        audio[second] += record.input.audio.unwrap_or_default().as_secs_f64();
        good[second] += f64::from(u8::from(meets(record, slo)));
    }
    let mut output = seconds.column();
    for (second, tokens) in scope.tokens_by_second() {
        output[seconds.of_offset(u64::from(second))] += tokens;
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
        // What was never there.
        "output_throughput" | "input_sequence_throughput" | "rtfx" => column.iter().any(|&count| count > 0.0),
        _ => true,
    };
    let wanted = columns.into_iter().filter(|(key, column)| applies(key, column));
    wanted.map(|(key, column)| (key, seconds.pairs(column))).collect()
}

/// The seconds of a scope; the last may be a part of one.
struct Seconds {
    first: u64,
    lengths: Vec<f64>,
}

impl Seconds {
    fn of(scope: Scope<'_>) -> Self {
        let length = scope.length().as_secs_f64();
        let count = (length.ceil() as usize).clamp(1, MOST_SECONDS);
        let mut lengths = vec![1.0; count];
        lengths[count - 1] = length - (count - 1) as f64;
        Self { first: scope.start().as_secs(), lengths }
    }

    fn column(&self) -> Vec<f64> {
        vec![0.0; self.lengths.len()]
    }

    fn of_offset(&self, second: u64) -> usize {
        let second = usize::try_from(second.saturating_sub(self.first)).unwrap_or(usize::MAX);
        second.min(self.lengths.len() - 1)
    }

    fn pairs(&self, column: Vec<f64>) -> Vec<(f64, f64)> {
        column.into_iter().zip(self.lengths.iter().copied()).collect()
    }
}
