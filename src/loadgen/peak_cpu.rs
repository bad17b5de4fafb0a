//! The CPU usage of a worker's thread in its busiest seconds.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The length of a window: seconds at the CPU limit must show in a run of minutes. A shorter run counts as a whole.
const PEAK_WINDOW: Duration = Duration::from_secs(5);

/// The share of a core that a thread used over its busiest five seconds, computed from periodic readings.
#[derive(Debug, Default)]
pub(super) struct PeakCpuUsage {
    /// The readings of the current window: each is an instant and the processor time used until then.
    readings: VecDeque<(Instant, Duration)>,
    /// The share over the busiest whole window so far.
    share: Option<f64>,
}

impl PeakCpuUsage {
    /// Adds a reading: the thread's processor time, and the part of it that it spun while it waited, which does not
    /// count as usage. None of the three may decrease.
    pub(crate) fn record_usage(&mut self, at: Instant, cpu: Duration, spun: Duration) {
        self.readings.push_back((at, cpu.saturating_sub(spun)));
        while self.readings.get(1).is_some_and(|(second, _)| at - *second >= PEAK_WINDOW) {
            self.readings.pop_front();
        }
        if self.readings.front().is_some_and(|(first, _)| at - *first >= PEAK_WINDOW) {
            let most = |recent: f64| self.share.map_or(recent, |most| most.max(recent));
            self.share = self.recent_share().map(most);
        }
    }

    /// The share over the busiest window; zero if there are fewer than two readings.
    pub(super) fn peak_share(&self) -> f64 {
        self.share.or_else(|| self.recent_share()).unwrap_or_default()
    }

    /// The share over the readings of the current window.
    fn recent_share(&self) -> Option<f64> {
        let ((from, before), (to, used)) = (self.readings.front()?, self.readings.back()?);
        let span = (*to - *from).as_secs_f64();
        (span > 0.0).then(|| used.saturating_sub(*before).as_secs_f64() / span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The peak share after readings every 200 ms of a thread whose CPU usage changes at the given seconds.
    fn share(uses: &[(u64, f64)]) -> f64 {
        let (mut busiest, mut at, mut used) = (PeakCpuUsage::default(), Instant::now(), Duration::ZERO);
        let beat = Duration::from_millis(200);
        busiest.record_usage(at, used, Duration::ZERO);
        for (seconds, share) in uses {
            for _ in 0..seconds * 5 {
                (at, used) = (at + beat, used + beat.mul_f64(*share));
                busiest.record_usage(at, used, Duration::ZERO);
            }
        }
        busiest.peak_share()
    }

    #[test]
    fn ten_seconds_at_the_limit_show_in_ten_minutes() {
        assert!((share(&[(300, 0.2), (10, 0.97), (290, 0.2)]) - 0.97).abs() < 1e-9);
    }

    #[test]
    fn a_short_run_counts_as_a_whole_and_none_as_nothing() {
        assert!((share(&[(1, 0.2), (1, 0.6)]) - 0.4).abs() < 1e-9);
        assert!(share(&[]).abs() < 1e-9 && PeakCpuUsage::default().peak_share().abs() < 1e-9);
    }
}
