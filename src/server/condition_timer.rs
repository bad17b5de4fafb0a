//! How long a condition has held, over successive samples: log lines, or metrics of a live server.

use std::time::Duration;

use crate::server::log::LogTime;

/// A gap between samples up to this never resets the timer.
const MIN_HOLE: Duration = Duration::from_secs(60);

/// A gap between samples above this always resets the timer.
const MAX_HOLE: Duration = Duration::from_secs(600);

/// A point in time.
pub(crate) trait TimePoint: Copy {
    /// Returns the time since `earlier`; zero if `earlier` is later.
    fn since(self, earlier: Self) -> Duration;
}

impl TimePoint for LogTime {
    fn since(self, earlier: Self) -> Duration {
        Self::since(self, earlier)
    }
}

/// An offset from some start.
impl TimePoint for Duration {
    fn since(self, earlier: Self) -> Duration {
        self.saturating_sub(earlier)
    }
}

/// A timestamp that may be missing. Without a timestamp, no time has passed.
impl<P: TimePoint> TimePoint for Option<P> {
    fn since(self, earlier: Self) -> Duration {
        self.zip(earlier).map_or(Duration::ZERO, |(now, earlier)| now.since(earlier))
    }
}

/// Measures since when a condition has held.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConditionTimer<P> {
    since: Option<P>,
}

impl<P> Default for ConditionTimer<P> {
    fn default() -> Self {
        Self { since: None }
    }
}

impl<P: TimePoint> ConditionTimer<P> {
    /// Adds a sample. Returns how long the condition has held, or `None` if it does not hold.
    pub(crate) fn observe(&mut self, so: bool, now: P) -> Option<Duration> {
        if !so {
            self.since = None;
            return None;
        }
        Some(now.since(*self.since.get_or_insert(now)))
    }

    /// Resets the timer, since the condition ended or is unknown.
    pub(crate) fn reset(&mut self) {
        self.since = None;
    }

    /// Returns the time of the first sample at which the condition held.
    pub(crate) fn start(&self) -> Option<P> {
        self.since
    }
}

/// Measures the usual interval between samples, to detect gaps.
#[derive(Debug, Clone)]
pub(crate) struct SampleInterval<P> {
    last: Option<P>,
    shortest: Option<Duration>,
}

impl<P> Default for SampleInterval<P> {
    fn default() -> Self {
        Self { last: None, shortest: None }
    }
}

impl<P: TimePoint> SampleInterval<P> {
    /// Whether a gap of several usual intervals precedes this sample.
    pub(crate) fn has_hole(&mut self, now: P) -> bool {
        let Some(last) = self.last.replace(now) else { return false };
        let gap = now.since(last);
        if gap.is_zero() {
            return false;
        }
        let shortest = self.shortest.map_or(gap, |shortest| shortest.min(gap));
        self.shortest = Some(shortest);
        gap > (shortest * 6).clamp(MIN_HOLE, MAX_HOLE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn it_lasts_from_the_first_look_that_says_so() {
        let mut lasting = ConditionTimer::default();
        let looks =
            [(1, true), (4, true), (6, false), (7, true)].map(|(now, so)| lasting.observe(so, at(now)));
        assert_eq!(looks, [Some(at(0)), Some(at(3)), None, Some(at(0))]);
        assert_eq!(lasting.start(), Some(at(7)));
        lasting.reset();
        assert_eq!(lasting.start(), None);
    }

    #[test]
    fn a_time_that_nobody_told_does_not_pass() {
        let mut lasting = ConditionTimer::<Option<Duration>>::default();
        assert_eq!(lasting.observe(true, None), Some(at(0)));
        assert_eq!(lasting.observe(true, Some(at(9))), Some(at(0)));
    }

    #[test]
    fn a_hole_is_several_times_the_usual_interval_and_a_minute_at_least() {
        let broken = |times: &[u64]| {
            let mut interval = SampleInterval::default();
            times.iter().map(|&time| interval.has_hole(at(time))).collect::<Vec<_>>()
        };
        assert_eq!(broken(&[0, 2, 4, 60, 121]), [false, false, false, false, true]);
        assert_eq!(broken(&[0, 30, 200, 381]), [false, false, false, true]);
    }
}
