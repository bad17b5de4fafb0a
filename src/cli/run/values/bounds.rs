//! The largest values that flags take. Beyond them a number is a slip of the finger, and clocks and allocators overflow.

use std::num::NonZeroUsize;
use std::time::Duration;

use crate::core::units::Rate;

/// A hundred years.
pub const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// More requests, connections or runs than anybody counts.
const MOST: usize = 1_000_000_000;

/// More threads than a machine has cores.
const MOST_THREADS: usize = 1024;

/// Ten times the tokens of the longest context windows.
const MOST_TOKENS: u32 = 100_000_000;

/// A request in thirty years.
const SLOWEST: f64 = 1e-9;

/// A factor between times, and its inverse.
const LARGEST_FACTOR: f64 = 1e6;

/// A time that is no slip.
pub fn bounded(time: Duration) -> Result<Duration, String> {
    if time <= LONGEST { Ok(time) } else { Err("a time here is at most 100 years".into()) }
}

/// Reads a number from 1 to a billion.
pub fn count(text: &str) -> Result<NonZeroUsize, String> {
    whole(text, 1, MOST).and_then(|number| NonZeroUsize::new(number).ok_or_else(|| "it is above 0".into()))
}

/// Reads a number from 0 to a billion.
pub fn count_or_zero(text: &str) -> Result<usize, String> {
    whole(text, 0, MOST)
}

/// Reads a number of threads.
pub fn threads(text: &str) -> Result<NonZeroUsize, String> {
    whole(text, 1, MOST_THREADS)
        .and_then(|number| NonZeroUsize::new(number).ok_or_else(|| "it is above 0".into()))
}

/// Reads a number of tokens from 0 to a hundred million.
pub fn tokens(text: &str) -> Result<u32, String> {
    match text.trim().parse() {
        Ok(tokens) if tokens <= MOST_TOKENS => Ok(tokens),
        _ => Err(format!("it is a whole number of tokens, from 0 to {MOST_TOKENS}")),
    }
}

/// Reads a number of milliseconds up to a hundred years.
pub fn milliseconds(text: &str) -> Result<u64, String> {
    let most = LONGEST.as_millis() as u64;
    match text.trim().parse() {
        Ok(time) if time <= most => Ok(time),
        _ => Err("it is a whole number of milliseconds, at most 100 years of them".into()),
    }
}

/// Reads a rate in requests per second, or `inf`.
pub fn rate(text: &str) -> Result<Rate, String> {
    let rate: Rate = text.parse()?;
    if rate.get() >= SLOWEST {
        Ok(rate)
    } else {
        Err(format!("a rate is at least {SLOWEST} requests per second"))
    }
}

/// Reads how many times as fast or as long, from a millionth to a million.
pub fn factor(text: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(factor) if (1.0 / LARGEST_FACTOR..=LARGEST_FACTOR).contains(&factor) => Ok(factor),
        _ => Err(format!("it is a number from {} to {LARGEST_FACTOR}", 1.0 / LARGEST_FACTOR)),
    }
}

fn whole(text: &str, least: usize, most: usize) -> Result<usize, String> {
    match text.trim().parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("it is a whole number from {least} to {most}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_taken_and_what_is_beyond_them_is_not() {
        assert_eq!(bounded(LONGEST), Ok(LONGEST));
        assert!(bounded(LONGEST + Duration::from_nanos(1)).is_err());
        assert_eq!((count("1000000000").map(usize::from), count_or_zero("0")), (Ok(MOST), Ok(0)));
        assert_eq!((tokens("100000000"), threads("1024").map(usize::from)), (Ok(MOST_TOKENS), Ok(1024)));
        assert_eq!((factor("1e-6"), factor("1e6")), (Ok(1e-6), Ok(1e6)));
        assert_eq!((rate("inf"), rate("1e-9").map(Rate::get)), (Ok(Rate::INFINITE), Ok(1e-9)));
        for text in ["", "-1", "0", "1.5", "1000000001", "18446744073709551616", "x"] {
            assert!(count(text).is_err(), "{text}");
        }
        for text in ["1e-7", "1e7", "0", "nan", "inf"] {
            assert!(factor(text).is_err(), "{text}");
        }
        assert!(threads("1025").is_err() && tokens("4294967295").is_err() && rate("1e-30").is_err());
        assert!(milliseconds("18446744073709551615").is_err());
    }
}
