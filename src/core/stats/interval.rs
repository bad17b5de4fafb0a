//! Intervals at 95 %, and the samples they come from.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::bootstrap::Ratio;
use super::{Percent, Percentile, percentile, ranks};
use crate::core::units::seconds;

/// Where a duration lies with 95 % confidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interval {
    /// The lower end.
    #[serde(rename = "low_s", with = "seconds")]
    pub low: Duration,
    /// The upper end.
    #[serde(rename = "high_s", with = "seconds")]
    pub high: Duration,
}

/// Where a rate lies with 95 % confidence, in the rate's own unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RateInterval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Interval {
    /// Of a ratio of seconds to a count.
    pub(super) fn of(ratio: &Ratio) -> Option<Self> {
        let (low, high) = ratio.interval()?;
        let duration = |value: f64| Duration::try_from_secs_f64(value.max(0.0)).ok();
        // Rounding to nanoseconds must not push the mean out of its own interval.
        let (low, high) = (duration(low)?, duration(high)?);
        Some(Self { low: low.saturating_sub(NANOSECOND), high: high + NANOSECOND })
    }
}

const NANOSECOND: Duration = Duration::from_nanos(1);

/// The 95 % interval of a rate from pairs (events, seconds) in the order of time, by the moving-block bootstrap.
/// `None` with fewer than ten pairs.
pub fn rate_interval(series: impl ExactSizeIterator<Item = (f64, f64)>) -> Option<RateInterval> {
    let (low, high) = Ratio::of(series).interval()?;
    Some(RateInterval { low: low.max(0.0), high })
}

/// The percentile of values, given in the order of time and ascending.
pub fn of_values(series: &[Duration], sorted: &[Duration], p: Percent) -> Option<Percentile> {
    let value = percentile(sorted, p)?;
    let effective_n = effective_n(series, value);
    let n = sorted.len() as f64;
    let at = |rank: f64| sorted[(rank as usize).clamp(1, sorted.len()) - 1];
    let interval = ranks::enclosing(effective_n, p).map(|(low, high)| {
        let stretch = n / effective_n as f64;
        Interval { low: at((low as f64 * stretch).floor()), high: at((high as f64 * stretch).ceil()) }
    });
    Some(Percentile { p, value, interval, effective_n, needs: ranks::needed(p) })
}

/// How many independent values tell as much about the share at or below a limit as this series does.
fn effective_n(series: &[Duration], limit: Duration) -> u64 {
    Ratio::of(series.iter().map(|&value| (f64::from(u8::from(value <= limit)), 1.0))).effective_n() as u64
}
