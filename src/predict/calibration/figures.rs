//! The figures of a run that a calibration compares.

use serde::{Deserialize, Serialize};

use super::measured::MeasuredRun;
use super::replay::Replay;

/// The figures of a run. Times are in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunFigures {
    pub ttft_mean: f64,
    pub ttft_p50: f64,
    pub ttft_p95: f64,
    pub tpot_mean: f64,
    pub e2e_mean: f64,
    /// Output tokens per second from the first request to the last answer.
    pub output_throughput: f64,
}

/// The times of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestTimes {
    pub start: f64,
    pub output: u32,
    pub ttft: f64,
    pub decode: f64,
}

impl RequestTimes {
    fn tpot(&self) -> Option<f64> {
        (self.output > 1).then(|| self.decode / f64::from(self.output - 1))
    }
}

/// The measured times of a run's requests.
pub(crate) fn measured_times(run: &MeasuredRun) -> Vec<RequestTimes> {
    let times = run.requests.iter().map(|request| RequestTimes {
        start: request.start,
        output: request.output,
        ttft: request.ttft,
        decode: request.decode,
    });
    times.collect()
}

/// The simulated times of a run's requests.
pub(crate) fn replayed_times(run: &MeasuredRun, replay: &Replay) -> Vec<RequestTimes> {
    let times = run.requests.iter().zip(&replay.requests).map(|(request, replayed)| RequestTimes {
        start: request.start,
        output: request.output,
        ttft: replayed.ttft,
        decode: replayed.decode,
    });
    times.collect()
}

impl RunFigures {
    /// The figures of these requests; `None` without any.
    pub(crate) fn new(times: &[RequestTimes]) -> Option<Self> {
        let ttft: Vec<f64> = times.iter().map(|request| request.ttft).collect();
        let tpot: Vec<f64> = times.iter().filter_map(RequestTimes::tpot).collect();
        let first = times.iter().map(|request| request.start).fold(f64::INFINITY, f64::min);
        let ends = times.iter().map(|request| request.start + request.ttft + request.decode);
        let tokens: f64 = times.iter().map(|request| f64::from(request.output)).sum();
        let e2e: Vec<f64> = times.iter().map(|request| request.ttft + request.decode).collect();
        (!times.is_empty()).then(|| Self {
            ttft_mean: mean(&ttft),
            ttft_p50: percentile(&ttft, 50.0),
            ttft_p95: percentile(&ttft, 95.0),
            tpot_mean: mean(&tpot),
            e2e_mean: mean(&e2e),
            output_throughput: tokens / (ends.fold(0.0, f64::max) - first).max(f64::MIN_POSITIVE),
        })
    }

    /// The mean of several draws of the same run.
    pub(super) fn mean_of(draws: &[Self]) -> Option<Self> {
        let mean = |figure: fn(&Self) -> f64| mean(&draws.iter().map(figure).collect::<Vec<_>>());
        (!draws.is_empty()).then(|| Self {
            ttft_mean: mean(|draw| draw.ttft_mean),
            ttft_p50: mean(|draw| draw.ttft_p50),
            ttft_p95: mean(|draw| draw.ttft_p95),
            tpot_mean: mean(|draw| draw.tpot_mean),
            e2e_mean: mean(|draw| draw.e2e_mean),
            output_throughput: mean(|draw| draw.output_throughput),
        })
    }

    /// The figures by name.
    pub(crate) fn by_name(&self) -> [(&'static str, f64); 6] {
        [
            ("mean TTFT", self.ttft_mean),
            ("median TTFT", self.ttft_p50),
            ("P95 TTFT", self.ttft_p95),
            ("mean TPOT", self.tpot_mean),
            ("mean E2E", self.e2e_mean),
            ("output throughput", self.output_throughput),
        ]
    }

    /// How far these figures are from measured ones, as shares of the measured ones.
    pub(crate) fn errors(&self, measured: &Self) -> [(&'static str, f64); 6] {
        let (own, truth) = (self.by_name(), measured.by_name());
        std::array::from_fn(|at| (own[at].0, own[at].1 / truth[at].1.max(f64::MIN_POSITIVE) - 1.0))
    }
}

pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// The percentile between the two nearest values, as numpy has it; 0 without values.
pub(crate) fn percentile(values: &[f64], percent: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let rank = percent / 100.0 * last as f64;
    let below = sorted[rank as usize];
    below + rank.fract() * (sorted[(rank as usize + 1).min(last)] - below)
}

/// The mean distance between the percentiles 5, 10 … 95 of two samples, as a difference of logarithms.
pub(crate) fn quantile_distance(a: &[f64], b: &[f64]) -> f64 {
    let distance = |step: u32| {
        let (a, b) = (percentile(a, f64::from(5 * step)), percentile(b, f64::from(5 * step)));
        (a.max(f64::MIN_POSITIVE) / b.max(f64::MIN_POSITIVE)).ln().abs()
    };
    (1..20).map(distance).sum::<f64>() / 19.0
}
