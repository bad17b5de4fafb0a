//! What a Run states, in the form in which results of other tools are read.

use std::time::Duration;

use super::Run;
use crate::model::metrics::{Latency, SCALARS};
use crate::model::record::Record;
use crate::model::stated::{StatedLatency, StatedPercentile, StatedRequest, StatedResult, Tool};
use crate::model::units::Rate;
use crate::stats::Distribution;

impl Run {
    /// The Run's figures beside those of other tools. Requests whose user left are neither answered nor failed.
    pub(crate) fn to_stated(&self) -> StatedResult {
        let metrics = &self.metrics;
        let mut stated = StatedResult::new(Tool::Servegauge);
        stated.tool_version = Some(self.version.clone());
        stated.model = Some(self.spec.target.model.clone());
        stated.started = Some(self.started.timestamp().to_string());
        let load = &self.spec.load;
        stated.load.request_rate = match load.is_paced() {
            true => metrics.offered_rate.and_then(Rate::per_second),
            false => Some(Rate::INFINITE),
        };
        stated.load.burstiness = Some(load.burstiness);
        stated.load.max_concurrency = load.max_concurrency.map(|most| most.get() as u64);
        stated.completed = Some(metrics.completed as u64);
        stated.failed = Some(metrics.failed as u64);
        stated.unfinished = Some(metrics.abandoned as u64).filter(|abandoned| *abandoned > 0);
        stated.duration_s = Some(metrics.duration.as_secs_f64());
        stated.arrival_rate = metrics.achieved_rate;
        stated.input_tokens.total = Some(metrics.input_tokens.total);
        stated.output_tokens.total = Some(metrics.output_tokens.total);
        for scalar in SCALARS.iter().filter(|scalar| scalar.key != "failure_rate") {
            if let Some(value) = (scalar.value)(metrics) {
                stated.rates.insert(scalar.key, value);
            }
        }
        for latency in Latency::SELECTABLE {
            if let Some(found) = metrics.latencies.get(&latency) {
                stated.latencies.insert(latency, latency_figures(found));
            }
        }
        stated.requests = self
            .records
            .as_deref()
            .map(|records| records.iter().filter(|record| !record.is_abandoned()).map(request).collect());
        stated
    }
}

fn latency_figures(found: &Distribution) -> StatedLatency {
    let ms = |value: Duration| value.as_secs_f64() * 1e3;
    let listed =
        found.percentiles.iter().map(|listed| StatedPercentile { p: listed.p, value_ms: ms(listed.value) });
    let median = StatedPercentile { p: 50.0, value_ms: ms(found.median) };
    StatedLatency {
        n: Some(found.n),
        mean_ms: Some(ms(found.mean)),
        std_ms: Some(ms(found.std)),
        percentiles: std::iter::once(median).chain(listed).collect(),
        ..StatedLatency::default()
    }
    .sorted()
}

fn request(record: &Record) -> StatedRequest {
    let ms = |value: Option<Duration>| value.map(|value| value.as_secs_f64() * 1e3);
    StatedRequest {
        start_s: record.times.sent().map(|sent| sent.as_secs_f64()),
        failed: record.is_failure(),
        ttft_ms: ms(record.ttft()),
        tpot_ms: ms(record.tpot()),
        e2e_ms: ms(record.e2e()),
        itl_ms: record.events.gaps.iter().flatten().map(|gap| gap.as_secs_f64() * 1e3).collect(),
        input_tokens: Some(u64::from(record.prompt_tokens.count)),
        output_tokens: Some(u64::from(record.output_tokens.count)),
    }
}
