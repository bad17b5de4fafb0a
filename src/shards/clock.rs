//! Relates the clocks of two clients by round trips.

use std::time::{Duration, Instant, SystemTime};

use super::messages::Clocks;
use crate::model::record_log::ClockOffset;

/// The number of round trips of a measurement.
pub(super) const ROUND_TRIPS: usize = 20;

/// One question for the first client's clocks: when it was sent and answered by our clocks, and the answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct RoundTrip {
    pub sent: Instant,
    pub answered: Instant,
    /// Our wall clock when the answer came.
    pub wall: SystemTime,
    pub clocks: Clocks,
}

impl RoundTrip {
    fn length(&self) -> Duration {
        self.answered.saturating_duration_since(self.sent)
    }
}

/// How the first client's clocks relate to ours. The answer of the fastest round trip was written between its two ends,
/// so it is known to half of its length.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClockMapping {
    fastest: RoundTrip,
}

impl ClockMapping {
    /// The mapping by the fastest of some round trips; `None` without any.
    pub(super) fn from_round_trips(trips: impl IntoIterator<Item = RoundTrip>) -> Option<Self> {
        trips.into_iter().min_by_key(RoundTrip::length).map(|fastest| Self { fastest })
    }

    /// The largest error of the mapping.
    pub(super) fn uncertainty(&self) -> Duration {
        self.fastest.length() / 2
    }

    /// Our instant at a time of the first client's monotonic clock. A time that has passed long ago is the oldest
    /// representable instant.
    pub(super) fn instant(&self, monotonic_ns: u64) -> Instant {
        let RoundTrip { sent, clocks, .. } = self.fastest;
        let middle = sent + self.uncertainty();
        let ahead = Duration::from_nanos(monotonic_ns.saturating_sub(clocks.monotonic_ns));
        let behind = Duration::from_nanos(clocks.monotonic_ns.saturating_sub(monotonic_ns));
        (middle + ahead).checked_sub(behind).unwrap_or(sent)
    }

    /// How far our wall clock is ahead of the first client's.
    pub(super) fn wall_offset(&self) -> ClockOffset {
        let half = self.uncertainty();
        let ours = self.fastest.wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let ours = ours.saturating_sub(half).as_nanos();
        let difference = i128::try_from(ours).unwrap_or(i128::MAX) - i128::from(self.fastest.clocks.wall_ns);
        ClockOffset {
            ahead_ns: i64::try_from(difference).unwrap_or(if difference < 0 { i64::MIN } else { i64::MAX }),
            doubt_ns: u64::try_from(half.as_nanos()).unwrap_or(u64::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A round trip that begins `at` and takes `to` there and `back`. The other clock began 7 s earlier than ours, and
    /// our wall clock is 30 ms ahead.
    fn trip(base: Instant, at: Duration, to: Duration, back: Duration) -> RoundTrip {
        let elapsed = |time: Duration| u64::try_from(time.as_nanos()).unwrap();
        let wall = Duration::from_secs(1_800_000_000);
        RoundTrip {
            sent: base + at,
            answered: base + at + to + back,
            wall: SystemTime::UNIX_EPOCH + wall + at + to + back + 30 * MS,
            clocks: Clocks {
                monotonic_ns: elapsed(Duration::from_secs(7) + at + to),
                wall_ns: elapsed(wall + at + to),
            },
        }
    }

    #[test]
    fn the_fastest_round_trip_maps_a_start_to_within_half_of_it() {
        let base = Instant::now();
        let trips = [
            trip(base, MS, 40 * MS, MS),
            trip(base, 100 * MS, 2 * MS, MS),
            trip(base, 200 * MS, 5 * MS, 9 * MS),
        ];
        let mapping = ClockMapping::from_round_trips(trips).unwrap();
        assert_eq!(mapping.uncertainty(), 3 * MS / 2);
        let start = mapping.instant(7_000_000_000 + 1_000_000_000);
        let truth = base + Duration::from_secs(1);
        let error = start.max(truth) - start.min(truth);
        assert!(error <= mapping.uncertainty(), "{error:?}");
        let offset = mapping.wall_offset();
        let error = offset.ahead_ns.abs_diff(30_000_000);
        assert!(error <= offset.doubt_ns, "{offset:?}");
    }

    #[test]
    fn a_start_that_has_passed_is_in_the_past() {
        let base = Instant::now();
        let mapping = ClockMapping::from_round_trips([trip(base, MS, MS, MS)]).unwrap();
        assert!(mapping.instant(7_000_000_000) <= base + MS);
        assert!(mapping.instant(0) <= base + MS);
        assert!(ClockMapping::from_round_trips([]).is_none());
    }
}
