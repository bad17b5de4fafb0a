//! The run's clock: one monotonic t0. Every instant is an offset from t0.

#[cfg(debug_assertions)]
mod test_clock;
mod wall_clock;

use std::time::{Duration, Instant};

use crate::client::clock::wall_clock::ClockSample;
pub(crate) use crate::client::clock::wall_clock::WallClockMapper;

use crate::model::wall_time::WallTime;

/// The longest wait: every clock can represent an instant this far away without an overflow.
const MAX_WAIT: Duration = Duration::from_secs(30 * 365 * 86_400);

/// Measures offsets from t0. Copies share one t0.
#[derive(Debug, Clone, Copy)]
pub struct RunClock {
    t0: Instant,
}

/// The wall-clock time now.
pub(crate) fn wall_time() -> WallTime {
    ClockSample::now().wall_time(Instant::now())
}

impl RunClock {
    /// Creates a clock whose t0 is now.
    pub fn start() -> Self {
        Self { t0: Instant::now() }
    }

    /// Creates a clock whose t0 is this instant.
    pub(crate) fn from_instant(t0: Instant) -> Self {
        Self { t0 }
    }

    /// The clock whose t0 is later than this clock's t0 by `offset`.
    pub fn later(&self, offset: Duration) -> Self {
        Self { t0: self.instant(offset) }
    }

    /// The wall-clock time of t0. This method compares the two clocks when it is called.
    pub fn wall_time(&self) -> WallTime {
        ClockSample::now().wall_time(self.t0)
    }

    /// The offset of the current moment from t0.
    pub fn now(&self) -> Duration {
        self.offset_of(Instant::now())
    }

    /// The instant at an offset from t0. An offset above 30 years counts as 30 years.
    pub fn instant(&self, offset: Duration) -> Instant {
        self.t0 + offset.min(MAX_WAIT)
    }

    /// The offset of an instant from t0; zero for an instant before t0.
    pub fn offset_of(&self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.t0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_count_from_t0_and_never_go_below_it() {
        let before = Instant::now();
        let clock = RunClock::start();
        assert_eq!(clock.offset_of(before), Duration::ZERO);
        assert_eq!(clock.offset_of(clock.t0 + Duration::from_millis(5)), Duration::from_millis(5));
        let earlier = clock.now();
        std::thread::sleep(Duration::from_millis(2));
        assert!(clock.now() >= earlier + Duration::from_millis(2));
    }

    #[test]
    fn t0_has_one_wall_time_whenever_it_is_asked_for() {
        let clock = RunClock::start();
        let later = clock.later(Duration::from_millis(250));
        let (first, of_later) = (clock.wall_time(), later.wall_time());
        let apart = of_later.unix_ns - first.unix_ns;
        let doubt = Duration::from_nanos(first.doubt_ns + of_later.doubt_ns) + Duration::from_micros(100);
        assert!(Duration::from_nanos(apart).abs_diff(Duration::from_millis(250)) <= doubt, "{apart} ns");
    }
}
