//! Ramps: vLLM's way by the number of the request, and when a ramp reaches which rate.

use std::time::Duration;

use super::{Intensity, due};
use crate::core::spec::{Load, Pace, Ramp, RampBy, RampStrategy};

/// So many whole rates are told at most.
const MOST_CHANGES: usize = 100_000;

/// vLLM's ramp (`vllm/benchmarks/serve.py`, `_get_current_request_rate`): gap i is that of the rate at the share
/// i / (n − 1) of the way. Takes gaps of rate 1, gives offsets in seconds.
pub(super) fn by_index(ramp: &Ramp, gaps: Vec<f64>) -> impl Iterator<Item = f64> {
    let (mut at, n) = (0.0, gaps.len());
    gaps.into_iter().enumerate().map(move |(index, gap)| {
        at += gap / rate_at(ramp, index as f64 / n.saturating_sub(1).max(1) as f64);
        at
    })
}

/// The rate at a share of the way.
fn rate_at(ramp: &Ramp, share: f64) -> f64 {
    match ramp.strategy {
        RampStrategy::Linear => ramp.start + (ramp.end - ramp.start) * share,
        RampStrategy::Exponential => ramp.start * (ramp.end / ramp.start).powf(share),
    }
}

/// When a ramp of `n` requests is planned to reach each whole number of requests per second, its first rate included;
/// empty without a ramp.
pub fn rate_changes(load: &Load, n: usize) -> Vec<(u64, Duration)> {
    let Pace::Ramp(ramp) = &load.pace else { return Vec::new() };
    let first = ramp.start.floor() as u64;
    let later = (first + 1..=ramp.end.floor() as u64).take(MOST_CHANGES);
    let reached: Vec<(u64, Duration)> = match ramp.by {
        RampBy::Time => {
            let intensity = Intensity::of_ramp(*ramp, n, load.duration);
            later.filter_map(|rate| Some((rate, intensity.reaches(rate as f64)?))).collect()
        }
        RampBy::Index => expected_by_index(ramp, n, later),
    };
    std::iter::once((first, Duration::ZERO)).chain(reached).collect()
}

/// With every gap at its mean.
fn expected_by_index(ramp: &Ramp, n: usize, rates: impl Iterator<Item = u64>) -> Vec<(u64, Duration)> {
    let mut rates = rates.peekable();
    let mut reached = Vec::new();
    for (index, at) in by_index(ramp, vec![1.0; n]).enumerate() {
        let rate = rate_at(ramp, index as f64 / n.saturating_sub(1).max(1) as f64);
        while let Some(whole) = rates.next_if(|whole| *whole as f64 <= rate) {
            reached.push((whole, due(at)));
        }
    }
    reached
}
