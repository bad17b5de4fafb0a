//! Ramps: vLLM's ramp by request index, and the times at which a ramp reaches each rate.

use std::time::Duration;

use super::{RateProfile, saturating_offset};
use crate::model::run_spec::{Load, Ramp, RampBy, RampStrategy, RateSchedule};

/// The largest number of rate changes that are reported.
const MAX_RATE_CHANGES: usize = 100_000;

/// vLLM's ramp (`vllm/benchmarks/serve.py`, `_get_current_request_rate`): gap i has the rate at the fraction i / (n −
/// 1) of the ramp. Takes gaps of rate 1, and returns the offsets of the first `n` arrivals in seconds.
pub(super) fn gaps_by_index(
    ramp: &Ramp,
    n: usize,
    gaps: impl Iterator<Item = f64>,
) -> impl Iterator<Item = f64> {
    let mut at = 0.0;
    gaps.take(n).enumerate().map(move |(index, gap)| {
        at += gap / rate_at(ramp, index as f64 / n.saturating_sub(1).max(1) as f64);
        at
    })
}

/// The rate at a fraction of the ramp.
fn rate_at(ramp: &Ramp, share: f64) -> f64 {
    match ramp.strategy {
        RampStrategy::Linear => ramp.start + (ramp.end - ramp.start) * share,
        RampStrategy::Exponential => ramp.start * (ramp.end / ramp.start).powf(share),
    }
}

/// The times at which a ramp of `n` requests is planned to reach each whole number of requests per second, including
/// its first rate; empty without a ramp.
pub(crate) fn rate_changes(load: &Load, n: usize) -> Vec<(u64, Duration)> {
    let RateSchedule::Ramp(ramp) = &load.pace else { return Vec::new() };
    let first = ramp.start.floor() as u64;
    let later = (first + 1..=ramp.end.floor() as u64).take(MAX_RATE_CHANGES);
    let reached: Vec<(u64, Duration)> = match ramp.by {
        RampBy::Time => {
            let intensity = RateProfile::from_ramp(*ramp, n, load.duration);
            later.filter_map(|rate| Some((rate, intensity.time_of_rate(rate as f64)?))).collect()
        }
        RampBy::Index => expected_by_index(ramp, n, later),
    };
    std::iter::once((first, Duration::ZERO)).chain(reached).collect()
}

/// The expected times for a ramp by index: every gap has its mean.
fn expected_by_index(ramp: &Ramp, n: usize, rates: impl Iterator<Item = u64>) -> Vec<(u64, Duration)> {
    let mut rates = rates.peekable();
    let mut reached = Vec::new();
    for (index, at) in gaps_by_index(ramp, n, std::iter::repeat(1.0)).enumerate() {
        let rate = rate_at(ramp, index as f64 / n.saturating_sub(1).max(1) as f64);
        while let Some(whole) = rates.next_if(|whole| *whole as f64 <= rate) {
            reached.push((whole, saturating_offset(at)));
        }
    }
    reached
}
