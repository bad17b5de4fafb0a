//! Virtual time: integers, so that sums are exact in any order and alike on every machine.

use std::{
    ops::{Add, AddAssign, Sub},
    time::Duration,
};

/// The number of ticks in a nanosecond. A step time per token keeps three digits below the nanosecond, and 64 bits
/// reach over 417 days: longer than the longest public trace, the 213 days of BurstGPT.
const PER_NANOSECOND: u64 = 512;

const PER_SECOND: f64 = PER_NANOSECOND as f64 * 1e9;

/// A moment of virtual time, or a duration. Sums that do not fit end at [`Ticks::MAX`], 417 days.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ticks(pub u64);

impl Ticks {
    pub(crate) const ZERO: Self = Self(0);
    pub(crate) const MAX: Self = Self(u64::MAX);

    /// Rounds to the nearest tick. Negative numbers and NaN become zero, numbers beyond the range its end.
    pub(crate) fn from_seconds(seconds: f64) -> Self {
        // The cast saturates, and turns NaN into 0.
        Self((seconds * PER_SECOND).round() as u64)
    }

    pub(crate) const fn from_nanoseconds(nanoseconds: u64) -> Self {
        Self(nanoseconds.saturating_mul(PER_NANOSECOND))
    }

    pub(crate) fn as_seconds(self) -> f64 {
        self.0 as f64 / PER_SECOND
    }

    /// Rounds down to the nanosecond.
    pub(crate) fn as_duration(self) -> Duration {
        Duration::from_nanos(self.0 / PER_NANOSECOND)
    }

    pub(crate) fn from_u128(ticks: u128) -> Self {
        Self(u64::try_from(ticks).unwrap_or(u64::MAX))
    }
}

impl Add for Ticks {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Ticks {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Ticks {
    type Output = Self;

    /// Zero if `other` is later.
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nanoseconds_are_exact_and_fractions_of_them_are_rounded() {
        assert_eq!(Ticks::from_seconds(4.005e-3), Ticks::from_nanoseconds(4_005_000));
        assert_eq!(Ticks::from_seconds(0.25e-9), Ticks(PER_NANOSECOND / 4));
        assert_eq!(Ticks::from_nanoseconds(1_500_000_000).as_seconds(), 1.5);
        assert_eq!(Ticks::from_nanoseconds(7).as_duration(), Duration::from_nanos(7));
    }

    #[test]
    fn times_outside_the_range_become_its_ends() {
        assert_eq!(Ticks::from_seconds(-1.0), Ticks::ZERO);
        assert_eq!(Ticks::from_seconds(f64::NAN), Ticks::ZERO);
        assert_eq!(Ticks::from_seconds(1e300), Ticks::MAX);
        assert_eq!(Ticks::MAX + Ticks(1), Ticks::MAX);
        assert_eq!(Ticks(1) - Ticks(2), Ticks::ZERO);
    }
}
