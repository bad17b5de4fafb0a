//! The kernel's wall-clock stamps on the monotonic clock.

use std::cell::Cell;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::core::wall_time::WallTime;

/// How old a comparison of the two clocks may be.
const FRESH: Duration = Duration::from_millis(100);

/// A stamp this far back may come from before a step: compare the clocks before believing it.
const LONG_AGO: Duration = Duration::from_millis(5);

/// But not more often than this, for a reader that is always late.
const OFTEN: Duration = Duration::from_millis(1);

/// A smaller change than this is not told from an interruption between two looks at the clocks.
const LEAST_STEP: Duration = Duration::from_micros(100);

/// How often to look for a pair of readings with little between them.
const LOOKS: u32 = 4;

/// Turns the wall clock's stamps into instants, and notices when the wall clock is set.
///
/// The kernel stamps arriving segments by the wall clock (CLOCK_REALTIME). Slewing (NTP's small corrections) moves both
/// clocks alike, so their distance is constant until somebody sets the wall clock: one comparison of the two serves
/// until another shows a step.
#[derive(Debug)]
pub struct Wall {
    anchor: Cell<Pair>,
    compared: Cell<Instant>,
    largest_step: Cell<Duration>,
}

/// Both clocks at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair {
    instant: Instant,
    /// Since the Unix epoch.
    wall: Duration,
    /// How far apart the two may have been read.
    doubt: Duration,
}

impl Default for Wall {
    fn default() -> Self {
        let anchor = Pair::now();
        let compared = Cell::new(anchor.instant);
        Self { anchor: Cell::new(anchor), compared, largest_step: Cell::default() }
    }
}

impl Wall {
    /// The instant of a stamp (since the Unix epoch) that was read at an instant; never later than that.
    pub fn instant(&self, stamp: Duration, read: Instant) -> Instant {
        let convert = || self.anchor.get().instant_of(stamp);
        let believed = if is_plausible(convert(), read) { FRESH } else { OFTEN };
        if read.saturating_duration_since(self.compared.get()) > believed {
            self.compare(Pair::now());
        }
        convert().unwrap_or(read).min(read)
    }

    /// The largest step of the wall clock that was noticed; zero for none.
    ///
    /// Stamps taken just before a step and read just after it are wrong by it, unless they then lie in the future.
    pub fn largest_step(&self) -> Duration {
        self.largest_step.get()
    }

    fn compare(&self, fresh: Pair) {
        let anchor = self.anchor.get();
        let expected = anchor.wall + fresh.instant.saturating_duration_since(anchor.instant);
        let step = expected.abs_diff(fresh.wall);
        if step > LEAST_STEP + anchor.doubt + fresh.doubt {
            self.anchor.set(fresh);
            self.largest_step.set(self.largest_step.get().max(step));
        }
        self.compared.set(fresh.instant);
    }
}

/// Neither in the future nor so long ago that a step is the likelier reason.
fn is_plausible(at: Option<Instant>, read: Instant) -> bool {
    at.is_some_and(|at| at <= read && read - at < LONG_AGO)
}

impl Pair {
    /// The narrowest of a few looks: an interruption between the two clocks would shift one against the other.
    pub(super) fn now() -> Self {
        let looks = (0..LOOKS).map(|_| Self::look());
        looks.min_by_key(|pair| pair.doubt).expect("there is more than one look")
    }

    fn look() -> Self {
        let before = Instant::now();
        // A wall clock before 1970 has no stamps that could be believed; they all end up in the future.
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let doubt = before.elapsed();
        Self { instant: before + doubt / 2, wall, doubt }
    }

    /// An instant by the wall clock, if nobody sets that in between.
    pub(super) fn wall_time(&self, instant: Instant) -> WallTime {
        let wall = match instant.checked_duration_since(self.instant) {
            Some(later) => self.wall.saturating_add(later),
            None => self.wall.saturating_sub(self.instant - instant),
        };
        WallTime::new(wall, self.doubt)
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
        let wall = Wall::default();
        let before = Instant::now();
        let stamp = wall_now();
        let after = Instant::now();
        let at = wall.instant(stamp, Instant::now());
        assert!(at + MS > before && at < after + MS, "{:?} {:?}", at - before, after - before);
        assert_eq!(wall.largest_step(), Duration::ZERO);
    }

    #[test]
    fn stamps_keep_their_distances() {
        let wall = Wall::default();
        let (stamp, read) = (wall_now(), Instant::now() + SECOND);
        let at = [3, 2, 1].map(|back| wall.instant(stamp - MS * back, read));
        assert_eq!([at[1] - at[0], at[2] - at[1]], [MS, MS]);
    }

    #[test]
    fn no_stamp_lies_in_the_future() {
        let wall = Wall::default();
        let read = Instant::now();
        assert_eq!(wall.instant(wall_now() + SECOND, read), read);
        assert_eq!(wall.instant(Duration::MAX, read), read);
    }

    #[test]
    fn a_step_of_the_wall_clock_is_noticed_and_followed() {
        for ahead in [true, false] {
            let wall = Wall::default();
            let anchor = wall.anchor.get();
            let moved = if ahead { anchor.wall + SECOND } else { anchor.wall - SECOND };
            let stepped = Pair { instant: anchor.instant + MS, wall: moved + MS, doubt: anchor.doubt };
            wall.compare(stepped);
            assert_eq!(wall.largest_step(), SECOND);
            assert_eq!(wall.anchor.get().instant_of(moved + MS * 2), Some(anchor.instant + MS * 2));
        }
    }

    #[test]
    fn what_an_interruption_explains_is_no_step() {
        let wall = Wall::default();
        let anchor = wall.anchor.get();
        let doubtful = Pair { instant: anchor.instant, wall: anchor.wall + MS * 3, doubt: MS * 3 };
        wall.compare(doubtful);
        assert_eq!(wall.largest_step(), Duration::ZERO);
        assert_eq!(wall.anchor.get().wall, anchor.wall, "the better pair is kept");
    }
}
