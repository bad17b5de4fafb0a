//! An optional duration in six bytes, as a run may hold millions.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::seconds;

/// A duration or none, in six bytes: nanosecond precision for 39 hours, then microsecond precision for four years, where
/// it saturates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptionalDuration([u8; 6]);

impl OptionalDuration {
    /// No duration.
    pub const NONE: Self = Self([0xFF; 6]);

    /// The bit that marks microseconds; the bits below it are the number of nanoseconds or microseconds.
    const MICROSECONDS: u64 = 1 << 47;

    /// The duration, if there is one.
    pub fn get(self) -> Option<Duration> {
        let Self([a, b, c, d, e, f]) = self;
        let value = u64::from_le_bytes([a, b, c, d, e, f, 0, 0]);
        let duration = match value.checked_sub(Self::MICROSECONDS) {
            None => Duration::from_nanos(value),
            Some(micros) => Duration::from_micros(micros),
        };
        (self != Self::NONE).then_some(duration)
    }

    /// Returns whether there is no duration.
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }
}

impl From<Duration> for OptionalDuration {
    fn from(duration: Duration) -> Self {
        let fits = |units: u128| u64::try_from(units).ok().filter(|units| *units < Self::MICROSECONDS);
        // Durations beyond four years saturate just below the value for none.
        let micros =
            || fits(duration.as_micros()).unwrap_or(Self::MICROSECONDS - 1).min(Self::MICROSECONDS - 2);
        let value = fits(duration.as_nanos()).unwrap_or_else(|| Self::MICROSECONDS | micros());
        let [a, b, c, d, e, f, ..] = value.to_le_bytes();
        Self([a, b, c, d, e, f])
    }
}

impl From<Option<Duration>> for OptionalDuration {
    fn from(duration: Option<Duration>) -> Self {
        duration.map_or(Self::NONE, Self::from)
    }
}

impl Default for OptionalDuration {
    fn default() -> Self {
        Self::NONE
    }
}

impl Serialize for OptionalDuration {
    /// Writes seconds, or `null`.
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        seconds::option::serialize(&self.get(), to)
    }
}

impl<'de> Deserialize<'de> for OptionalDuration {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        seconds::option::deserialize(from).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_exact_for_a_day_and_last_for_years() {
        let hour = Duration::from_secs(3600);
        let odd = Duration::from_nanos(1_001);
        let kept = |at: Duration| OptionalDuration::from(at).get().unwrap();
        for exact in [Duration::ZERO, Duration::from_nanos(1), odd, hour * 39 + odd] {
            assert_eq!(kept(exact), exact);
        }
        for (late, kept_as) in [
            (hour * 40 + odd, hour * 40 + Duration::from_micros(1)),
            (hour * 24 * 365 * 4, hour * 24 * 365 * 4),
            (Duration::MAX, Duration::from_micros((1 << 47) - 2)),
        ] {
            assert_eq!((kept(late), kept(kept(late))), (kept_as, kept_as));
        }
    }

    #[test]
    fn a_duration_is_written_in_seconds_and_none_as_null() {
        for (duration, json) in [(Some(Duration::from_millis(1500)), "1.5"), (None, "null")] {
            let duration = OptionalDuration::from(duration);
            assert_eq!(serde_json::to_string(&duration).unwrap(), json);
            assert_eq!(serde_json::from_str::<OptionalDuration>(json).unwrap(), duration);
        }
    }
}
