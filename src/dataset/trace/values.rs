//! Parses the values in a trace: fields of a CSV file or values of a JSON line.

use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::dataset::DatasetFault;

/// The maximum length in tokens. It exceeds every context window, so a greater length is a mistake.
const MAX_LEN: f64 = (1 << 24) as f64;

/// Maximum number of characters of an invalid value that an error quotes.
const MAX_QUOTED_CHARS: usize = 40;

#[derive(Debug, Clone, Copy)]
pub(super) enum TraceValue<'a> {
    /// A field of a CSV file.
    Text(&'a str),
    /// A value of a JSON line.
    Json(&'a Value),
}

impl TraceValue<'_> {
    /// Parses a number of tokens.
    pub(super) fn tokens(self, name: &str) -> Result<u32, DatasetFault> {
        match self.number() {
            Some(number) if (0.0..=MAX_LEN).contains(&number) && number.fract() == 0.0 => Ok(number as u32),
            _ => Err(self.wrong(name, &format!("a number of tokens, 0 to {MAX_LEN}"))),
        }
    }

    /// Parses a time: a number of units, or a date and time. A date and time without a time zone is in UTC.
    pub(super) fn timestamp(self, name: &str, unit_s: f64) -> Result<SignedDuration, DatasetFault> {
        let moment = match self.number() {
            Some(number) => SignedDuration::try_from_secs_f64(number * unit_s).ok(),
            None => self.text().and_then(date),
        };
        moment.ok_or_else(|| self.wrong(name, "a time: a number, or as 2024-05-12 00:00:01.5+00:00"))
    }

    /// Parses block hashes: a JSON array, or numbers or words between brackets, commas, semicolons, bars or blanks.
    pub(super) fn hashes(self, name: &str) -> Result<Box<[u64]>, DatasetFault> {
        const NOT_HASHES: &str = "a list of hashes";
        match self {
            Self::Text(text) => {
                let parts = text.split(|c: char| "[](),;|\"'".contains(c) || c.is_whitespace());
                Ok(parts.filter(|part| !part.is_empty()).map(key).collect())
            }
            Self::Json(Value::Null) => Ok(Box::default()),
            Self::Json(Value::Array(values)) => {
                let hash = |value: &Value| match value {
                    Value::Number(_) | Value::String(_) => Ok(TraceValue::Json(value).identifier()),
                    _ => Err(TraceValue::Json(value).wrong(name, NOT_HASHES)),
                };
                values.iter().map(hash).collect()
            }
            Self::Json(_) => Err(self.wrong(name, NOT_HASHES)),
        }
    }

    /// Parses a duration: a number of units. An empty value is zero.
    pub(super) fn duration(self, name: &str, unit_s: f64) -> Result<Duration, DatasetFault> {
        let seconds = if self.is_empty() { Some(0.0) } else { self.number().map(|number| number * unit_s) };
        let span = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        span.ok_or_else(|| self.wrong(name, "a length of time: a number that is not below 0"))
    }

    /// Whether the value is empty.
    pub(super) fn is_empty(self) -> bool {
        matches!(self, Self::Json(Value::Null)) || self.text() == Some("")
    }

    /// Maps any value to an identifier. Different values give different identifiers, except for hash collisions.
    pub(super) fn identifier(self) -> u64 {
        match self {
            Self::Text(text) => key(text),
            Self::Json(Value::String(text)) => key(text),
            Self::Json(value) => key(&value.to_string()),
        }
    }

    fn number(self) -> Option<f64> {
        match self {
            Self::Text(text) => text.parse().ok(),
            Self::Json(Value::String(text)) => text.parse().ok(),
            Self::Json(value) => value.as_f64(),
        }
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Json(value) => value.as_str(),
        }
    }

    fn wrong(self, name: &str, expected: &str) -> DatasetFault {
        let text = match self {
            Self::Text(text) => text.to_owned(),
            Self::Json(value) => value.to_string(),
        };
        let mut shown: String = text.chars().take(MAX_QUOTED_CHARS).filter(|c| !c.is_control()).collect();
        if text.chars().nth(MAX_QUOTED_CHARS).is_some() {
            shown.push('…');
        }
        DatasetFault::Shape(format!("`{name}` must be {expected}, not `{shown}`"))
    }
}

fn date(text: &str) -> Option<SignedDuration> {
    let stamp = text.parse::<Timestamp>().ok().or_else(|| {
        let civil: DateTime = text.parse().ok()?;
        Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp())
    });
    stamp.map(Timestamp::as_duration)
}

/// Maps a number to itself, and a word to its SHA-256. Unlike Python's `hash`, the result is the same in every process.
fn key(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| {
        let digest = Sha256::digest(text.as_bytes());
        digest.iter().take(8).fold(0, |key, byte| key << 8 | u64::from(*byte))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_are_numbers_or_dates_of_every_azure_trace() {
        let at = |text: &str| TraceValue::Text(text).timestamp("t", 1.0).unwrap();
        assert_eq!(at("1.5"), SignedDuration::from_millis(1500));
        let base = at("2024-05-12 00:00:00+00:00");
        assert_eq!(at("2024-05-12 00:00:00.001163+00:00") - base, SignedDuration::from_micros(1163));
        assert_eq!(at("2024-05-12T00:00:00.269Z") - base, SignedDuration::from_millis(269));
        assert_eq!(at("2024-05-12 00:00:00.6805900") - base, SignedDuration::from_nanos(680_590_000));
        let milliseconds = TraceValue::Json(&json!(3000)).timestamp("t", 0.001).unwrap();
        assert_eq!(milliseconds, SignedDuration::from_secs(3));
        for wrong in ["", "soon", "nan", "inf", "1e300", "2024-13-01 00:00:00"] {
            assert!(TraceValue::Text(wrong).timestamp("t", 1.0).is_err(), "{wrong}");
        }
    }

    #[test]
    fn lengths_of_time_are_numbers_of_units_and_nothing_is_none() {
        let span = |cell: TraceValue<'_>| cell.duration("d", 0.001).ok();
        assert_eq!(span(TraceValue::Text("1500")), Some(Duration::from_millis(1500)));
        assert_eq!(span(TraceValue::Json(&json!(250))), Some(Duration::from_millis(250)));
        assert_eq!(
            (span(TraceValue::Text("")), span(TraceValue::Json(&json!(null)))),
            (Some(Duration::ZERO), Some(Duration::ZERO))
        );
        for wrong in ["-1", "soon", "nan", "inf"] {
            assert_eq!(span(TraceValue::Text(wrong)), None, "{wrong}");
        }
    }

    #[test]
    fn a_wrong_value_is_shown_with_its_name_and_no_more_of_it_than_helps() {
        let error = TraceValue::Text(&"x".repeat(1000)).tokens("ContextTokens").unwrap_err().to_string();
        assert!(
            error.starts_with("`ContextTokens` must be a number of tokens") && error.len() < 150,
            "{error}"
        );
        for wrong in [json!("x"), json!(-1), json!(1.5), json!(null), json!([1]), json!(1e12)] {
            assert!(TraceValue::Json(&wrong).tokens("n").is_err(), "{wrong}");
        }
    }

    #[test]
    fn hashes_are_the_same_however_they_are_written() {
        let expected: Box<[u64]> = [46, 47, 7].into();
        for text in ["[46, 47, 7]", "46;47;7", "46|47|7", "46 47 7"] {
            assert_eq!(TraceValue::Text(text).hashes("h").unwrap(), expected, "{text}");
        }
        assert_eq!(TraceValue::Json(&json!([46, "47", 7])).hashes("h").unwrap(), expected);
        let words = TraceValue::Json(&json!(["a", "b", "a", -1])).hashes("h").unwrap();
        assert!(words[0] == words[2] && words[0] != words[1] && words[3] != words[0]);
        assert!(TraceValue::Json(&json!("a")).hashes("h").is_err());
        assert!(TraceValue::Json(&json!([[1]])).hashes("h").is_err());
    }
}
