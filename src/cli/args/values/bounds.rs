//! The largest values that flags accept. A number beyond them is a typing error, and clocks and allocators would
//! overflow.

use std::num::NonZeroUsize;
use std::str::FromStr;
use std::time::Duration;

use crate::model::units::Rate;

/// The longest time: a hundred years.
pub(super) const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// The largest count of requests, connections or runs.
const MOST: usize = 1_000_000_000;

/// The most threads: more than the cores of any machine.
const MOST_THREADS: usize = 1024;

/// The most tokens: ten times the longest context windows.
const MOST_TOKENS: u32 = 100_000_000;

/// The lowest rate: about one request in thirty years.
const SLOWEST: f64 = 1e-9;

/// The largest factor between times; its inverse is the smallest.
const LARGEST_FACTOR: f64 = 1e6;

/// Rejects a time above [`LONGEST`].
pub(crate) fn bounded(time: Duration) -> Result<Duration, String> {
    if time <= LONGEST { Ok(time) } else { Err("a time here is at most 100 years".into()) }
}

/// Reads a number from 1 to a billion.
pub(crate) fn count(text: &str) -> Result<NonZeroUsize, String> {
    whole(text, 1, MOST)
        .and_then(|number| NonZeroUsize::new(number).ok_or_else(|| "must be 1 or more".into()))
}

/// Reads a number from 0 to a billion.
pub(crate) fn count_or_zero(text: &str) -> Result<usize, String> {
    whole(text, 0, MOST)
}

/// Reads a number of texts in one request.
pub(crate) fn batch_size(text: &str) -> Result<u32, String> {
    whole(text, 1, MOST).map(|number| u32::try_from(number).unwrap_or(u32::MAX))
}

/// Reads a number of threads.
pub(crate) fn threads(text: &str) -> Result<NonZeroUsize, String> {
    whole(text, 1, MOST_THREADS)
        .and_then(|number| NonZeroUsize::new(number).ok_or_else(|| "must be 1 or more".into()))
}

/// Reads a number of tokens from 0 to a hundred million.
pub(crate) fn tokens(text: &str) -> Result<u32, String> {
    match text.trim().parse() {
        Ok(tokens) if tokens <= MOST_TOKENS => Ok(tokens),
        _ => Err(format!("must be a whole number of tokens, from 0 to {MOST_TOKENS}")),
    }
}

/// Reads a number of milliseconds up to a hundred years.
pub(crate) fn milliseconds(text: &str) -> Result<u64, String> {
    let most = LONGEST.as_millis() as u64;
    match text.trim().parse() {
        Ok(time) if time <= most => Ok(time),
        _ => Err("must be a whole number of milliseconds, at most 100 years of them".into()),
    }
}

/// Reads a rate in requests per second, or `inf`.
pub(crate) fn rate(text: &str) -> Result<Rate, String> {
    let rate: Rate = text.parse()?;
    if rate.get() >= SLOWEST {
        Ok(rate)
    } else {
        Err(format!("a rate is at least {SLOWEST} requests per second"))
    }
}

/// Reads a factor of speed or length, from a millionth to a million.
pub(crate) fn factor(text: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(factor) if (1.0 / LARGEST_FACTOR..=LARGEST_FACTOR).contains(&factor) => Ok(factor),
        _ => Err(format!("must be a number from {} to {LARGEST_FACTOR}", 1.0 / LARGEST_FACTOR)),
    }
}

/// Reads the seconds of a unit of time, from a nanosecond to a million seconds.
pub(crate) fn time_unit(text: &str) -> Result<f64, String> {
    const NANOSECOND: f64 = 1e-9;
    match text.trim().parse::<f64>() {
        Ok(unit) if (NANOSECOND..=LARGEST_FACTOR).contains(&unit) => Ok(unit),
        _ => Err(format!("must be a number from {NANOSECOND} to {LARGEST_FACTOR}")),
    }
}

/// Reads a number that has no narrower parser.
pub(crate) fn number<T: FromStr>(text: &str) -> Result<T, String> {
    let takes = |sample: &str| T::from_str(sample).is_ok();
    let what = match (takes("0.5"), takes("-1"), takes("0")) {
        (true, ..) => "a number",
        (false, true, _) => "a whole number",
        (false, false, true) => "a whole number, 0 or more",
        (false, false, false) => "a whole number, 1 or more",
    };
    text.trim().parse().map_err(|_| format!("must be {what}"))
}

/// Reads a port.
pub(crate) fn port(text: &str) -> Result<u16, String> {
    text.trim().parse().map_err(|_| "must be a port, from 0 to 65535".to_owned())
}

fn whole(text: &str, least: usize, most: usize) -> Result<usize, String> {
    match text.trim().parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("must be a whole number from {least} to {most}")),
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
