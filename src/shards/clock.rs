//! Relates the clocks of two clients by round trips.

use std::time::{Duration, Instant};

use super::messages::Clocks;
use crate::model::record_log::{ClockOffset, ClockRelation};

/// The number of round trips of a measurement.
pub(super) const ROUND_TRIPS: usize = 20;

/// One question for the first client's clocks: when it was sent and answered by our clocks, and the answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct RoundTrip {
    pub sent: Instant,
    pub answered: Instant,
    /// Our wall clock when the answer came, in nanoseconds since the Unix epoch.
    pub wall_ns: u64,
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
        let half = nanoseconds(self.uncertainty());
        let ours = i128::from(self.fastest.wall_ns) - i128::from(half);
        let ahead_ns = clamp(ours - i128::from(self.fastest.clocks.wall_ns));
        ClockOffset { ahead_ns, doubt_ns: half }
    }

    /// How the clocks relate from this measurement to a later one.
    pub(super) fn relation(&self, after: &Self) -> ClockRelation {
        let middle = |mapping: &Self| mapping.fastest.sent + mapping.uncertainty();
        let ours = nanoseconds(middle(after).saturating_duration_since(middle(self)));
        let [begin, end] = [self, after].map(|mapping| i128::from(mapping.fastest.clocks.monotonic_ns));
        let faster = (i128::from(ours) - (end - begin)) * 1_000_000_000;
        ClockRelation {
            before: self.wall_offset(),
            after: after.wall_offset(),
            apart_ns: ours,
            drift_ppb: clamp(faster.checked_div(end - begin).unwrap_or(0)),
        }
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn clamp(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A round trip that begins `at` and takes `to` there and `back`. The other clock began 7 s earlier than ours, and
    /// our wall clock is 30 ms ahead. Our clocks are too fast by `fast_ppm`.
    fn drifting_trip(base: Instant, at: Duration, to: Duration, back: Duration, fast_ppm: u64) -> RoundTrip {
        let ours = |time: Duration| time + time.mul_f64(fast_ppm as f64 / 1e6);
        let wall = Duration::from_secs(1_800_000_000);
        RoundTrip {
            sent: base + ours(at),
            answered: base + ours(at + to + back),
            wall_ns: nanoseconds(wall + ours(at + to + back) + 30 * MS),
            clocks: Clocks {
                monotonic_ns: nanoseconds(Duration::from_secs(7) + at + to),
                wall_ns: nanoseconds(wall + at + to),
            },
        }
    }

    fn trip(base: Instant, at: Duration, to: Duration, back: Duration) -> RoundTrip {
        drifting_trip(base, at, to, back, 0)
    }

    #[test]
    fn a_clock_that_is_too_fast_is_measured_from_before_to_after() {
        let (base, hour) = (Instant::now(), Duration::from_secs(3600));
        let mapping = |at| ClockMapping::from_round_trips([drifting_trip(base, at, MS, MS, 50)]).unwrap();
        let relation = mapping(Duration::ZERO).relation(&mapping(hour));
        assert!(relation.drift_ppb.abs_diff(50_000) < 100, "{relation:?}");
        assert!(relation.after.ahead_ns.abs_diff(30_000_000 + 180_000_000) < 1000, "{relation:?}");
        assert!(relation.apart_ns.abs_diff(3_600_180_000_000) < 1000, "{relation:?}");
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
