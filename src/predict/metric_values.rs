//! The metrics of simulated Records, without the intervals that a report of a measured run has.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::metric_id::{MetricId, Statistic};
use crate::model::metrics::{self, Latency, TABLE_PERCENTS};
use crate::model::record::Record;
use crate::model::run_spec::Slo;
use crate::stats::{self, DurationSketch, Percent};

/// The metrics of a simulation, by their names.
pub(crate) type MetricValues = BTreeMap<String, f64>;

/// Computes the metrics that a prediction states. `itl` has the gaps between tokens.
pub(crate) fn metric_values(
    records: &[Record],
    itl: &DurationSketch,
    slo: &Slo,
    percents: &[Percent],
) -> MetricValues {
    let mut values = MetricValues::new();
    for latency in [Latency::Ttft, Latency::Tpot, Latency::E2e] {
        let mut samples: Vec<Duration> = metrics::samples(records, latency).collect();
        samples.sort_unstable();
        add_statistics(latency, &samples, percents, &mut values);
    }
    add_gaps(itl, percents, &mut values);
    add_rates(records, slo, &mut values);
    values
}

fn all_percents(asked: &[Percent]) -> Vec<Percent> {
    let others = TABLE_PERCENTS.into_iter().filter(|p| !asked.contains(p));
    asked.iter().copied().chain(others).collect()
}

fn add_statistics(latency: Latency, sorted: &[Duration], percents: &[Percent], values: &mut MetricValues) {
    let name = |statistic| MetricId::Latency(latency, statistic).to_string();
    if sorted.is_empty() {
        return;
    }
    let sum: f64 = sorted.iter().map(Duration::as_secs_f64).sum();
    values.insert(name(Statistic::Mean), 1e3 * sum / sorted.len() as f64);
    for p in all_percents(percents) {
        let value = stats::percentile(sorted, p).unwrap_or_default();
        values.insert(name(Statistic::Percentile(p)), 1e3 * value.as_secs_f64());
    }
}

fn add_gaps(itl: &DurationSketch, percents: &[Percent], values: &mut MetricValues) {
    let name = |statistic| MetricId::Latency(Latency::Itl, statistic).to_string();
    let Some(mean) = itl.mean() else { return };
    values.insert(name(Statistic::Mean), 1e3 * mean.as_secs_f64());
    for p in all_percents(percents) {
        if let Some(value) = itl.percentile(p) {
            values.insert(name(Statistic::Percentile(p)), 1e3 * value.as_secs_f64());
        }
    }
}

fn add_rates(records: &[Record], slo: &Slo, values: &mut MetricValues) {
    let duration = records.iter().filter_map(|record| record.times.done()).max().unwrap_or_default();
    let seconds = duration.as_secs_f64();
    if seconds == 0.0 {
        return;
    }
    let sum =
        |tokens: fn(&Record) -> u32| records.iter().map(|record| u64::from(tokens(record))).sum::<u64>();
    let (input, output) =
        (sum(|record| record.prompt_tokens.count), sum(|record| record.output_tokens.count));
    let rates = [
        ("request_throughput", records.len() as f64),
        ("input_throughput", input as f64),
        ("output_throughput", output as f64),
        ("total_token_throughput", (input + output) as f64),
    ];
    values.extend(rates.map(|(name, count)| (name.to_owned(), count / seconds)));
    if slo.is_set() && !records.is_empty() {
        let good = metrics::successes(records, slo).filter(|is_good| *is_good).count() as f64;
        values.insert("request_goodput".to_owned(), good / seconds);
        values.insert("goodput_ratio".to_owned(), good / records.len() as f64);
    }
}
