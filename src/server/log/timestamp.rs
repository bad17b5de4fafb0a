//! The timestamp of a log line.

use std::fmt;
use std::time::Duration;

use jiff::civil::{Date, DateTime};
use serde::{Serialize, Serializer};

/// Bytes from a line's start in which its timestamp must begin: after the names of a container, a process, a level.
const MAX_TIMESTAMP_OFFSET: usize = 256;

/// Levels that may precede a time without a year.
const LEVELS: [&[u8]; 6] = [b"DEBUG", b"INFO", b"WARNING", b"ERROR", b"CRITICAL", b"FATAL"];

/// A line's timestamp: vLLM writes no year and no time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogTimestamp {
    /// The year, if a program other than vLLM put a complete date before the line.
    pub year: Option<i16>,
    /// The month, 1 to 12.
    pub month: i8,
    /// The day of the month, from 1.
    pub day: i8,
    /// Hour, minute, second.
    pub time: (i8, i8, i8),
}

/// Finds the timestamp: `INFO 07-28 06:42:09`, or a complete date and time at the start of the line, where containers
/// and CI systems put it. A date inside the message does not count.
pub(super) fn find_timestamp(line: &[u8]) -> Option<LogTimestamp> {
    let head = &line[..line.len().min(MAX_TIMESTAMP_OFFSET)];
    memchr::memchr_iter(b':', head).find_map(|colon| timestamp_at(head, colon))
}

/// The timestamp whose hour ends at this colon.
fn timestamp_at(head: &[u8], colon: usize) -> Option<LogTimestamp> {
    parse_american(head, colon).or_else(|| parse_iso(head, colon))
}

/// Parses `[07/22/2026-00:00:00]` at the start of the line, TensorRT-LLM's format.
fn parse_american(head: &[u8], colon: usize) -> Option<LogTimestamp> {
    let start = colon.checked_sub("MM/DD/YYYY-HH".len())?;
    let text = head.get(start..colon + ":MM:SS".len())?;
    if text[2] != b'/' || text[5] != b'/' || text[10] != b'-' || text[16] != b':' {
        return None;
    }
    let number = |at: usize| two_digits(text[at], text[at + 1]);
    let year = i16::from(number(6)?) * 100 + i16::from(number(8)?);
    let stamp = LogTimestamp {
        year: Some(year),
        month: number(0)?,
        day: number(3)?,
        time: (number(11)?, number(14)?, number(17)?),
    };
    (stamp.with_year(year).is_some() && is_heading(&head[..start], true)).then_some(stamp)
}

fn parse_iso(head: &[u8], colon: usize) -> Option<LogTimestamp> {
    let start = colon.checked_sub("MM-DD HH".len())?;
    let text = head.get(start..colon + ":MM:SS".len())?;
    if text[2] != b'-' || !matches!(text[5], b' ' | b'T') || text[11] != b':' {
        return None;
    }
    let number = |at: usize| two_digits(text[at], text[at + 1]);
    let (month, day) = (number(0)?, number(3)?);
    let time = (number(6)?, number(9)?, number(12)?);
    let before = &head[..start];
    let (year, before) = match before.strip_suffix(b"-") {
        Some(before) => {
            let (before, year) = before.split_last_chunk::<4>()?;
            (
                Some(
                    i16::from(two_digits(year[0], year[1])?) * 100 + i16::from(two_digits(year[2], year[3])?),
                ),
                before,
            )
        }
        None => (None, before),
    };
    let stamp = LogTimestamp { year, month, day, time };
    // 2024 is a leap year, so every day of a year exists in it.
    (stamp.with_year(year.unwrap_or(2024)).is_some() && is_heading(before, year.is_some())).then_some(stamp)
}

fn two_digits(tens: u8, ones: u8) -> Option<i8> {
    let digit = |byte: u8| byte.is_ascii_digit().then(|| (byte - b'0') as i8);
    Some(digit(tens)? * 10 + digit(ones)?)
}

/// Whether this text may precede a timestamp.
fn is_heading(before: &[u8], whole_date: bool) -> bool {
    let before = before.trim_ascii_end();
    // Nothing, a process, or the name that Docker Compose puts before a line.
    let place = before.strip_suffix(b"[").unwrap_or(before).trim_ascii_end();
    let starts_the_line = whole_date && (place.is_empty() || matches!(place.last(), Some(b')' | b'|')));
    starts_the_line || LEVELS.iter().any(|level| before.ends_with(level))
}

impl LogTimestamp {
    fn with_year(&self, year: i16) -> Option<DateTime> {
        let (hour, minute, second) = self.time;
        DateTime::new(year, self.month, self.day, hour, minute, second, 0).ok()
    }
}

/// A time in a log: the server's clock, in an unknown time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogTime {
    at: DateTime,
    year_is_told: bool,
}

impl LogTime {
    /// The earlier of two times.
    pub(crate) fn min(self, other: Self) -> Self {
        if other.at < self.at { other } else { self }
    }

    /// The later of two times.
    pub(crate) fn max(self, other: Self) -> Self {
        if other.at > self.at { other } else { self }
    }

    /// Returns the time since `earlier`; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        self.at.duration_since(earlier.at).try_into().unwrap_or_default()
    }
}

impl fmt::Display for LogTime {
    /// Formats the time as the log has it: without a year if the log has none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = if self.year_is_told { "%Y-%m-%d %H:%M:%S" } else { "%m-%d %H:%M:%S" };
        self.at.strftime(form).fmt(f)
    }
}

impl Serialize for LogTime {
    /// Writes the date and time without an offset, since the log has none. The year is inferred where the log has none,
    /// so that a program can read it.
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&self.at.strftime("%Y-%m-%dT%H:%M:%S"))
    }
}

/// Infers the year of each timestamp from the timestamps before it.
#[derive(Debug, Clone)]
pub(crate) struct YearInference {
    today: Date,
    last: Option<DateTime>,
}

/// In seconds. A timestamp farther than this from the previous line's belongs to another year.
const HALF_A_YEAR: i64 = 183 * 24 * 3600;

impl YearInference {
    /// Creates an inference for a log written up to `today`: its first line is not in the future.
    pub(crate) fn new(today: Date) -> Self {
        Self { today, last: None }
    }

    /// Returns the time of the next line. Lines of several processes may be slightly out of order.
    pub(crate) fn resolve(&mut self, stamp: &LogTimestamp) -> Option<LogTime> {
        let at = match (stamp.year, self.last) {
            (Some(year), _) => stamp.with_year(year),
            (None, Some(last)) => nearest_year(stamp, last),
            (None, None) => self.latest(stamp),
        }?;
        self.last = Some(at);
        Some(LogTime { at, year_is_told: stamp.year.is_some() })
    }

    /// The latest year in which the day exists and has ended, or has begun somewhere on earth.
    fn latest(&self, stamp: &LogTimestamp) -> Option<DateTime> {
        let tomorrow = self.today.tomorrow().unwrap_or(self.today);
        let mut years = (0..=8).filter_map(|back| stamp.with_year(self.today.year() + 1 - back));
        years.find(|at| at.date() <= tomorrow)
    }
}

/// The year that puts a timestamp closest to the previous one.
fn nearest_year(stamp: &LogTimestamp, last: DateTime) -> Option<DateTime> {
    let distance = |at: &DateTime| at.duration_since(last).as_secs().abs();
    let same_year = stamp.with_year(last.year());
    if same_year.is_some_and(|at| distance(&at) < HALF_A_YEAR) {
        return same_year;
    }
    (-8..=8).filter_map(|years| stamp.with_year(last.year() + years)).min_by_key(distance)
}
