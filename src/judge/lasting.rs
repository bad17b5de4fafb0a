//! How long something has been so, from look to look: the same for the lines of a log and the pages of a live server.

use std::time::Duration;

use crate::server::log::Moment;

/// Whoever looks is silent for so long at least before what was seen last counts for nothing.
const SHORTEST_HOLE: Duration = Duration::from_secs(60);

/// ... and for so long at most.
const LONGEST_HOLE: Duration = Duration::from_secs(600);

/// A point in time.
pub trait Point: Copy {
    /// The time from an earlier point to this; zero if it is a later one.
    fn since(self, earlier: Self) -> Duration;
}

impl Point for Moment {
    fn since(self, earlier: Self) -> Duration {
        Self::since(self, earlier)
    }
}

/// An offset from some start.
impl Point for Duration {
    fn since(self, earlier: Self) -> Duration {
        self.saturating_sub(earlier)
    }
}

/// A point that nobody may have told: then no time is known to have passed.
impl<P: Point> Point for Option<P> {
    fn since(self, earlier: Self) -> Duration {
        self.zip(earlier).map_or(Duration::ZERO, |(now, earlier)| now.since(earlier))
    }
}

/// Since when something has been so.
#[derive(Debug, Clone, Copy)]
pub struct Lasting<P> {
    since: Option<P>,
}

impl<P> Default for Lasting<P> {
    fn default() -> Self {
        Self { since: None }
    }
}

impl<P: Point> Lasting<P> {
    /// Looks once more: for how long it has been so; `None` if it is not.
    pub fn look(&mut self, so: bool, now: P) -> Option<Duration> {
        if !so {
            self.since = None;
            return None;
        }
        Some(now.since(*self.since.get_or_insert(now)))
    }

    /// It is so no more, or nobody knows.
    pub fn end(&mut self) {
        self.since = None;
    }

    /// The first look at which it was so.
    pub fn start(&self) -> Option<P> {
        self.since
    }
}

/// How often looks come, to know when some are missing.
#[derive(Debug, Clone)]
pub struct Rhythm<P> {
    last: Option<P>,
    shortest: Option<Duration>,
}

impl<P> Default for Rhythm<P> {
    fn default() -> Self {
        Self { last: None, shortest: None }
    }
}

impl<P: Point> Rhythm<P> {
    /// Whether there was a hole before this look: several times the usual interval.
    pub fn is_broken(&mut self, now: P) -> bool {
        let Some(last) = self.last.replace(now) else { return false };
        let gap = now.since(last);
        if gap.is_zero() {
            return false;
        }
        let shortest = self.shortest.map_or(gap, |shortest| shortest.min(gap));
        self.shortest = Some(shortest);
        gap > (shortest * 6).clamp(SHORTEST_HOLE, LONGEST_HOLE)
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
        let mut lasting = Lasting::default();
        let looks = [(1, true), (4, true), (6, false), (7, true)].map(|(now, so)| lasting.look(so, at(now)));
        assert_eq!(looks, [Some(at(0)), Some(at(3)), None, Some(at(0))]);
        assert_eq!(lasting.start(), Some(at(7)));
        lasting.end();
        assert_eq!(lasting.start(), None);
    }

    #[test]
    fn a_time_that_nobody_told_does_not_pass() {
        let mut lasting = Lasting::<Option<Duration>>::default();
        assert_eq!(lasting.look(true, None), Some(at(0)));
        assert_eq!(lasting.look(true, Some(at(9))), Some(at(0)));
    }

    #[test]
    fn a_hole_is_several_times_the_usual_interval_and_a_minute_at_least() {
        let broken = |times: &[u64]| {
            let mut rhythm = Rhythm::default();
            times.iter().map(|&time| rhythm.is_broken(at(time))).collect::<Vec<_>>()
        };
        assert_eq!(broken(&[0, 2, 4, 60, 121]), [false, false, false, false, true]);
        assert_eq!(broken(&[0, 30, 200, 381]), [false, false, false, true]);
    }
}
