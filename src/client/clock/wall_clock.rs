//! Converts the kernel's wall-clock timestamps to the monotonic clock.

use std::cell::Cell;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::model::wall_time::WallTime;

/// The longest time for which a comparison of the two clocks stays valid.
const MAX_SAMPLE_AGE: Duration = Duration::from_millis(100);

/// A timestamp this far in the past may precede a step of the wall clock, so the clocks are compared again before the
/// timestamp is used.
const SUSPECT_STAMP_AGE: Duration = Duration::from_millis(5);

/// The shortest time between two comparisons, for a reader that is always late.
const MIN_RESAMPLE_INTERVAL: Duration = Duration::from_millis(1);

/// A smaller change is indistinguishable from an interruption between the two clock readings.
const MIN_STEP: Duration = Duration::from_micros(100);

/// The number of attempts to read both clocks with little time between the readings.
const SAMPLE_ATTEMPTS: u32 = 4;

/// Converts wall-clock timestamps to instants, and detects when the wall clock is set.
///
/// The kernel stamps arriving segments with the wall clock (CLOCK_REALTIME). Slewing (NTP's small corrections) moves
/// both clocks alike, so their difference is constant until somebody sets the wall clock. One comparison of the two
/// clocks therefore stays valid until a later one shows a step.
#[derive(Debug)]
pub(crate) struct WallClockMapper {
    anchor: Cell<ClockSample>,
    compared: Cell<Instant>,
    largest_step: Cell<Duration>,
}

/// A reading of both clocks at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClockSample {
    instant: Instant,
    /// The time since the Unix epoch.
    wall: Duration,
    /// The longest time that may lie between the two readings.
    uncertainty: Duration,
}

impl Default for WallClockMapper {
    fn default() -> Self {
        let anchor = ClockSample::now();
        let compared = Cell::new(anchor.instant);
        Self { anchor: Cell::new(anchor), compared, largest_step: Cell::default() }
    }
}

impl WallClockMapper {
    /// The instant of a timestamp (since the Unix epoch) that was read at `read`. The result is never later than
    /// `read`.
    pub(crate) fn instant(&self, stamp: Duration, read: Instant) -> Instant {
        let stamp = wall_clock(stamp);
        let convert = || self.anchor.get().instant_of(stamp);
        let believed = if is_plausible(convert(), read) { MAX_SAMPLE_AGE } else { MIN_RESAMPLE_INTERVAL };
        if read.saturating_duration_since(self.compared.get()) > believed {
            self.compare(ClockSample::now());
        }
        convert().unwrap_or(read).min(read)
    }

    /// The largest step of the wall clock that was detected; zero if there was none.
    ///
    /// A timestamp taken just before a step and read just after it is wrong by the size of the step, unless it then
    /// lies in the future.
    pub(crate) fn largest_step(&self) -> Duration {
        self.largest_step.get()
    }

    fn compare(&self, fresh: ClockSample) {
        let anchor = self.anchor.get();
        let expected = anchor.wall + fresh.instant.saturating_duration_since(anchor.instant);
        let step = expected.abs_diff(fresh.wall);
        if step > MIN_STEP + anchor.uncertainty + fresh.uncertainty {
            self.anchor.set(fresh);
            self.largest_step.set(self.largest_step.get().max(step));
        }
        self.compared.set(fresh.instant);
    }
}

/// The time of the wall clock, which is the system's unless a test sets it.
fn wall_clock(system: Duration) -> Duration {
    #[cfg(debug_assertions)]
    let system = super::test_clock::adjust(system);
    system
}

/// Whether an instant is neither in the future nor far enough in the past that a clock step is the likelier
/// explanation.
fn is_plausible(at: Option<Instant>, read: Instant) -> bool {
    at.is_some_and(|at| at <= read && read - at < SUSPECT_STAMP_AGE)
}

impl ClockSample {
    /// The closest pair of a few readings: an interruption between the two clock readings would shift one clock against
    /// the other.
    pub(super) fn now() -> Self {
        let looks = (0..SAMPLE_ATTEMPTS).map(|_| Self::sample_once());
        looks.min_by_key(|pair| pair.uncertainty).expect("there is more than one look")
    }

    fn sample_once() -> Self {
        let before = Instant::now();
        // A wall clock before 1970 has no usable timestamps; they all map to the future.
        let wall = wall_clock(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
        let doubt = before.elapsed();
        Self { instant: before + doubt / 2, wall, uncertainty: doubt }
    }

    /// The wall-clock time of an instant, valid if nobody sets the wall clock in between.
    pub(super) fn wall_time(&self, instant: Instant) -> WallTime {
        let wall = match instant.checked_duration_since(self.instant) {
            Some(later) => self.wall.saturating_add(later),
            None => self.wall.saturating_sub(self.instant - instant),
        };
        WallTime::new(wall, self.uncertainty)
    }

    fn instant_of(&self, stamp: Duration) -> Option<Instant> {
        match stamp.checked_sub(self.wall) {
            Some(later) => self.instant.checked_add(later),
            None => self.instant.checked_sub(self.wall - stamp),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MS: Duration = Duration::from_millis(1);

    fn wall_now() -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
    }

    #[test]
    fn a_stamp_becomes_the_instant_it_was_taken() {
        let wall = WallClockMapper::default();
        let before = Instant::now();
        let stamp = wall_now();
        let after = Instant::now();
        let at = wall.instant(stamp, Instant::now());
        assert!(at + MS > before && at < after + MS, "{:?} {:?}", at - before, after - before);
        assert_eq!(wall.largest_step(), Duration::ZERO);
    }

    #[test]
    fn stamps_keep_their_distances() {
        let wall = WallClockMapper::default();
        let (stamp, read) = (wall_now(), Instant::now() + SECOND);
        let at = [3, 2, 1].map(|back| wall.instant(stamp - MS * back, read));
        assert_eq!([at[1] - at[0], at[2] - at[1]], [MS, MS]);
    }

    #[test]
    fn no_stamp_lies_in_the_future() {
        let wall = WallClockMapper::default();
        let read = Instant::now();
        assert_eq!(wall.instant(wall_now() + SECOND, read), read);
        assert_eq!(wall.instant(Duration::MAX, read), read);
    }

    #[test]
    fn a_step_of_the_wall_clock_is_noticed_and_followed() {
        for ahead in [true, false] {
            let wall = WallClockMapper::default();
            let anchor = wall.anchor.get();
            let moved = if ahead { anchor.wall + SECOND } else { anchor.wall - SECOND };
            let stepped = ClockSample {
                instant: anchor.instant + MS,
                wall: moved + MS,
                uncertainty: anchor.uncertainty,
            };
            wall.compare(stepped);
            assert_eq!(wall.largest_step(), SECOND);
            assert_eq!(wall.anchor.get().instant_of(moved + MS * 2), Some(anchor.instant + MS * 2));
        }
    }

    #[test]
    fn what_an_interruption_explains_is_no_step() {
        let wall = WallClockMapper::default();
        let anchor = wall.anchor.get();
        let doubtful =
            ClockSample { instant: anchor.instant, wall: anchor.wall + MS * 3, uncertainty: MS * 3 };
        wall.compare(doubtful);
        assert_eq!(wall.largest_step(), Duration::ZERO);
        assert_eq!(wall.anchor.get().wall, anchor.wall, "the better pair is kept");
    }
}
