//! The values in a trace: a field of a CSV file or a value of a JSON line.

use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::drive::workload::Fault;

/// More tokens than any context window has; a length above it is a slip.
const LONGEST: f64 = (1 << 24) as f64;

/// How much of a wrong value an error shows, in characters.
const SHOWN: usize = 40;

/// A value of a trace.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cell<'a> {
    /// Of a CSV file.
    Text(&'a str),
    /// Of a JSON line.
    Json(&'a Value),
}

impl Cell<'_> {
    /// A number of tokens.
    pub fn tokens(self, name: &str) -> Result<u32, Fault> {
        match self.number() {
            Some(number) if (0.0..=LONGEST).contains(&number) && number.fract() == 0.0 => Ok(number as u32),
            _ => Err(self.wrong(name, &format!("a number of tokens, 0 to {LONGEST}"))),
        }
    }

    /// A time: a number of units, or a date with a time, of UTC if it names no zone.
    pub fn moment(self, name: &str, unit_s: f64) -> Result<SignedDuration, Fault> {
        let moment = match self.number() {
            Some(number) => SignedDuration::try_from_secs_f64(number * unit_s).ok(),
            None => self.text().and_then(date),
        };
        moment.ok_or_else(|| self.wrong(name, "a time: a number, or as 2024-05-12 00:00:01.5+00:00"))
    }

    /// Block hashes: a JSON array, or numbers or words between brackets, commas, semicolons, bars or blanks.
    pub fn hashes(self, name: &str) -> Result<Box<[u64]>, Fault> {
        const NOT_HASHES: &str = "a list of hashes";
        match self {
            Self::Text(text) => {
                let parts = text.split(|c: char| "[](),;|\"'".contains(c) || c.is_whitespace());
                Ok(parts.filter(|part| !part.is_empty()).map(key).collect())
            }
            Self::Json(Value::Null) => Ok(Box::default()),
            Self::Json(Value::Array(values)) => {
                let hash = |value: &Value| match value {
                    Value::Number(_) | Value::String(_) => Ok(Cell::Json(value).name()),
                    _ => Err(Cell::Json(value).wrong(name, NOT_HASHES)),
                };
                values.iter().map(hash).collect()
            }
            Self::Json(_) => Err(self.wrong(name, NOT_HASHES)),
        }
    }

    /// A length of time: a number of units. What is empty took none.
    pub fn span(self, name: &str, unit_s: f64) -> Result<Duration, Fault> {
        let seconds = if self.is_empty() { Some(0.0) } else { self.number().map(|number| number * unit_s) };
        let span = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        span.ok_or_else(|| self.wrong(name, "a length of time: a number that is not below 0"))
    }

    /// Whether nothing stands there.
    pub fn is_empty(self) -> bool {
        matches!(self, Self::Json(Value::Null)) || self.text() == Some("")
    }

    /// Anything, as far as it can be told from others.
    pub fn name(self) -> u64 {
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

    fn wrong(self, name: &str, expected: &str) -> Fault {
        let text = match self {
            Self::Text(text) => text.to_owned(),
            Self::Json(value) => value.to_string(),
        };
        let mut shown: String = text.chars().take(SHOWN).filter(|c| !c.is_control()).collect();
        if text.chars().nth(SHOWN).is_some() {
            shown.push('…');
        }
        Fault::Shape(format!("`{name}` must be {expected}, not `{shown}`"))
    }
}

fn date(text: &str) -> Option<SignedDuration> {
    let stamp = text.parse::<Timestamp>().ok().or_else(|| {
        let civil: DateTime = text.parse().ok()?;
        Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp())
    });
    stamp.map(Timestamp::as_duration)
}

/// A number as itself, a word by its SHA-256: the same in every process, unlike Python's `hash`.
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
        let at = |text: &str| Cell::Text(text).moment("t", 1.0).unwrap();
        assert_eq!(at("1.5"), SignedDuration::from_millis(1500));
        let base = at("2024-05-12 00:00:00+00:00");
        assert_eq!(at("2024-05-12 00:00:00.001163+00:00") - base, SignedDuration::from_micros(1163));
        assert_eq!(at("2024-05-12T00:00:00.269Z") - base, SignedDuration::from_millis(269));
        assert_eq!(at("2024-05-12 00:00:00.6805900") - base, SignedDuration::from_nanos(680_590_000));
        let milliseconds = Cell::Json(&json!(3000)).moment("t", 0.001).unwrap();
        assert_eq!(milliseconds, SignedDuration::from_secs(3));
        for wrong in ["", "soon", "nan", "inf", "1e300", "2024-13-01 00:00:00"] {
            assert!(Cell::Text(wrong).moment("t", 1.0).is_err(), "{wrong}");
        }
    }

    #[test]
    fn lengths_of_time_are_numbers_of_units_and_nothing_is_none() {
        let span = |cell: Cell<'_>| cell.span("d", 0.001).ok();
        assert_eq!(span(Cell::Text("1500")), Some(Duration::from_millis(1500)));
        assert_eq!(span(Cell::Json(&json!(250))), Some(Duration::from_millis(250)));
        assert_eq!(
            (span(Cell::Text("")), span(Cell::Json(&json!(null)))),
            (Some(Duration::ZERO), Some(Duration::ZERO))
        );
        for wrong in ["-1", "soon", "nan", "inf"] {
            assert_eq!(span(Cell::Text(wrong)), None, "{wrong}");
        }
    }

    #[test]
    fn a_wrong_value_is_shown_with_its_name_and_no_more_of_it_than_helps() {
        let error = Cell::Text(&"x".repeat(1000)).tokens("ContextTokens").unwrap_err().to_string();
        assert!(
            error.starts_with("`ContextTokens` must be a number of tokens") && error.len() < 150,
            "{error}"
        );
        for wrong in [json!("x"), json!(-1), json!(1.5), json!(null), json!([1]), json!(1e12)] {
            assert!(Cell::Json(&wrong).tokens("n").is_err(), "{wrong}");
        }
    }

    #[test]
    fn hashes_are_the_same_however_they_are_written() {
        let expected: Box<[u64]> = [46, 47, 7].into();
        for text in ["[46, 47, 7]", "46;47;7", "46|47|7", "46 47 7"] {
            assert_eq!(Cell::Text(text).hashes("h").unwrap(), expected, "{text}");
        }
        assert_eq!(Cell::Json(&json!([46, "47", 7])).hashes("h").unwrap(), expected);
        let words = Cell::Json(&json!(["a", "b", "a", -1])).hashes("h").unwrap();
        assert!(words[0] == words[2] && words[0] != words[1] && words[3] != words[0]);
        assert!(Cell::Json(&json!("a")).hashes("h").is_err());
        assert!(Cell::Json(&json!([[1]])).hashes("h").is_err());
    }
}
