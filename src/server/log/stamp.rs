//! When a line was written.

use std::fmt;
use std::time::Duration;

use jiff::civil::{Date, DateTime};
use serde::{Serialize, Serializer};

/// Bytes from a line's start in which its time stamp must begin: behind the names of a container, a process, a level.
const HEAD: usize = 256;

/// What may stand in front of a time without a year.
const LEVELS: [&[u8]; 6] = [b"DEBUG", b"INFO", b"WARNING", b"ERROR", b"CRITICAL", b"FATAL"];

/// A time stamp as a line has it: vLLM writes no year and no time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The year, where something else than vLLM put a whole date in front of the line.
    pub year: Option<i16>,
    /// 1 to 12.
    pub month: i8,
    /// 1 to 31, and in the month.
    pub day: i8,
    /// Hour, minute, second.
    pub time: (i8, i8, i8),
}

/// Finds the time stamp: `INFO 07-28 06:42:09`, or a whole date and time at the line's very start, as containers and
/// CI systems put there. A date in the middle of a text is none.
pub(super) fn find(line: &[u8]) -> Option<Stamp> {
    let head = &line[..line.len().min(HEAD)];
    memchr::memchr_iter(b':', head).find_map(|colon| around(head, colon))
}

/// The stamp whose hour ends at this colon.
fn around(head: &[u8], colon: usize) -> Option<Stamp> {
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
    let stamp = Stamp { year, month, day, time };
    // 2024 had every day that a year can have.
    (stamp.at(year.unwrap_or(2024)).is_some() && is_heading(before, year.is_some())).then_some(stamp)
}

fn two_digits(tens: u8, ones: u8) -> Option<i8> {
    let digit = |byte: u8| byte.is_ascii_digit().then(|| (byte - b'0') as i8);
    Some(digit(tens)? * 10 + digit(ones)?)
}

/// Whether a stamp may follow this.
fn is_heading(before: &[u8], whole_date: bool) -> bool {
    let before = before.trim_ascii_end();
    let starts_the_line = whole_date && (matches!(before, b"" | b"[") || before.ends_with(b") ["));
    starts_the_line || LEVELS.iter().any(|level| before.ends_with(level))
}

impl Stamp {
    fn at(&self, year: i16) -> Option<DateTime> {
        let (hour, minute, second) = self.time;
        DateTime::new(year, self.month, self.day, hour, minute, second, 0).ok()
    }
}

/// A point of a log's timeline. Its clock is the server's, in a time zone that nobody told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    at: DateTime,
    year_is_told: bool,
}

impl Moment {
    /// The time from an earlier moment to this; zero if it is a later one.
    pub fn since(self, earlier: Self) -> Duration {
        self.at.duration_since(earlier.at).try_into().unwrap_or_default()
    }
}

impl fmt::Display for Moment {
    /// As the log has it: without a year if it has none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = if self.year_is_told { "%Y-%m-%d %H:%M:%S" } else { "%m-%d %H:%M:%S" };
        self.at.strftime(form).fmt(f)
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// Finds the year of each stamp from the stamps before it.
#[derive(Debug, Clone)]
pub struct Calendar {
    today: Date,
    last: Option<DateTime>,
}

/// Farther than this from the line before, a stamp is in another year.
const HALF_A_YEAR: i64 = 183 * 24 * 3600;

impl Calendar {
    /// A log that was written up to today: its first line is not from the future.
    pub fn new(today: Date) -> Self {
        Self { today, last: None }
    }

    /// The next line's moment. Lines of several processes may come a little out of order.
    pub fn place(&mut self, stamp: &Stamp) -> Option<Moment> {
        let at = match (stamp.year, self.last) {
            (Some(year), _) => stamp.at(year),
            (None, Some(last)) => near(stamp, last),
            (None, None) => self.latest(stamp),
        }?;
        self.last = Some(at);
        Some(Moment { at, year_is_told: stamp.year.is_some() })
    }

    /// The latest year in which the day existed and is over, or begins somewhere on earth.
    fn latest(&self, stamp: &Stamp) -> Option<DateTime> {
        let tomorrow = self.today.tomorrow().unwrap_or(self.today);
        let mut years = (0..=8).filter_map(|back| stamp.at(self.today.year() + 1 - back));
        years.find(|at| at.date() <= tomorrow)
    }
}

/// The year that puts a stamp closest to the one before it.
fn near(stamp: &Stamp, last: DateTime) -> Option<DateTime> {
    let distance = |at: &DateTime| at.duration_since(last).as_secs().abs();
    let same_year = stamp.at(last.year());
    if same_year.is_some_and(|at| distance(&at) < HALF_A_YEAR) {
        return same_year;
    }
    (-8..=8).filter_map(|years| stamp.at(last.year() + years)).min_by_key(distance)
}
