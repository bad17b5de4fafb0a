//! A wall-clock time with its uncertainty.

use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use serde::{Deserialize, Serialize};

/// A wall-clock time, and the uncertainty of the reading.
///
/// A run has one, at t0: its offsets are monotonic, and this value relates them to the times of servers and of other
/// clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WallTime {
    /// Nanoseconds since the Unix epoch.
    pub unix_ns: u64,
    /// The time between the readings of the monotonic and the wall clock, in nanoseconds.
    pub doubt_ns: u64,
}

impl WallTime {
    /// A time since the Unix epoch that is known to within `doubt`.
    pub fn new(since_epoch: Duration, doubt: Duration) -> Self {
        Self { unix_ns: nanoseconds(since_epoch), doubt_ns: nanoseconds(doubt) }
    }

    /// The time as a timestamp; saturates at the latest one for a clock that is set beyond it.
    pub fn timestamp(&self) -> Timestamp {
        Timestamp::from_nanosecond(i128::from(self.unix_ns)).unwrap_or(Timestamp::MAX)
    }

    /// The time in the system's time zone.
    pub fn zoned(&self) -> Zoned {
        self.timestamp().to_zoned(TimeZone::system())
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_keeps_its_nanoseconds() {
        let moment = WallTime::new(Duration::new(1_764_426_428, 123_456_789), Duration::from_nanos(70));
        assert_eq!(moment.timestamp().to_string(), "2025-11-29T14:27:08.123456789Z");
        assert_eq!(moment.zoned().timestamp(), moment.timestamp());
        let json = serde_json::to_string(&moment).unwrap();
        assert_eq!(json, r#"{"unix_ns":1764426428123456789,"doubt_ns":70}"#);
        assert_eq!(serde_json::from_str::<WallTime>(&json).unwrap(), moment);
    }

    #[test]
    fn a_clock_beyond_all_times_is_no_panic() {
        assert!(WallTime::new(Duration::MAX, Duration::ZERO).timestamp() > Timestamp::UNIX_EPOCH);
    }
}
