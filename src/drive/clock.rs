//! The run's clock: one monotonic t0, and every instant as an offset from it.

mod wall;

use std::time::{Duration, Instant};

use wall::Pair;
pub use wall::Wall;

use crate::core::wall_time::WallTime;

/// Nothing is waited for so long, and no clock overflows there.
const FAR: Duration = Duration::from_secs(30 * 365 * 86_400);

/// Measures offsets from t0. Copies share the same t0.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    t0: Instant,
}

impl Clock {
    /// A clock whose t0 is now.
    pub fn start() -> Self {
        Self { t0: Instant::now() }
    }

    /// The clock whose t0 is an offset later.
    pub fn later(&self, offset: Duration) -> Self {
        Self { t0: self.instant(offset) }
    }

    /// t0 by the wall clock, from a comparison of the two clocks that is made now.
    pub fn wall_time(&self) -> WallTime {
        Pair::now().wall_time(self.t0)
    }

    /// The offset of this moment.
    pub fn now(&self) -> Duration {
        self.at(Instant::now())
    }

    /// The instant at an offset; one beyond [`FAR`] is as far as that.
    pub fn instant(&self, offset: Duration) -> Instant {
        self.t0 + offset.min(FAR)
    }

    /// The offset of an instant; zero for one before t0.
    pub fn at(&self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.t0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_count_from_t0_and_never_go_below_it() {
        let before = Instant::now();
        let clock = Clock::start();
        assert_eq!(clock.at(before), Duration::ZERO);
        assert_eq!(clock.at(clock.t0 + Duration::from_millis(5)), Duration::from_millis(5));
        assert!(clock.now() <= clock.now());
    }

    #[test]
    fn t0_has_one_wall_time_whenever_it_is_asked_for() {
        let clock = Clock::start();
        let later = clock.later(Duration::from_millis(250));
        let (first, of_later) = (clock.wall_time(), later.wall_time());
        let apart = of_later.unix_ns - first.unix_ns;
        let doubt = Duration::from_nanos(first.doubt_ns + of_later.doubt_ns) + Duration::from_micros(100);
        assert!(Duration::from_nanos(apart).abs_diff(Duration::from_millis(250)) <= doubt, "{apart} ns");
    }
}
