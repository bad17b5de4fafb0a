//! Serde support for a time as RFC 3339 with its offset, and without a time zone in brackets, which few programs read:
//! `#[serde(with = "rfc3339")]`.

use jiff::fmt::temporal::Pieces;
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, Zoned};
use serde::{Deserialize, Deserializer, Serializer};

/// The time as `2026-11-22T09:44:51+01:00`.
pub(crate) fn format(at: &Zoned) -> String {
    at.timestamp().display_with_offset(at.offset()).to_string()
}

/// Writes the [`format`] of a time.
pub(crate) fn serialize<S: Serializer>(at: &Zoned, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&format(at))
}

/// Reads a time with an offset. A time zone in brackets, which files had before schema 2, is left out.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Zoned, D::Error> {
    let text = String::deserialize(from)?;
    parse(text.split('[').next().unwrap_or_default()).map_err(serde::de::Error::custom)
}

fn parse(text: &str) -> Result<Zoned, jiff::Error> {
    let at: Timestamp = text.parse()?;
    let offset = Pieces::parse(text)?.to_numeric_offset().unwrap_or(Offset::UTC);
    Ok(at.to_zoned(TimeZone::fixed(offset)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Serialize, Deserialize)]
    #[serde(transparent)]
    struct Started(#[serde(with = "super")] Zoned);

    #[test]
    fn a_time_has_its_offset_and_no_brackets_and_is_read_in_both_forms() {
        let written = r#""2026-11-22T09:44:51.000000123+01:00""#;
        for text in [written, r#""2026-11-22T09:44:51.000000123+01:00[Europe/Berlin]""#] {
            let Started(read) = serde_json::from_str(text).unwrap();
            assert_eq!(read.strftime("%Y%m%d-%H%M%S").to_string(), "20261122-094451");
            assert_eq!(serde_json::to_string(&Started(read)).unwrap(), written);
        }
        let Started(utc) = serde_json::from_str(r#""2026-11-22T09:44:51Z""#).unwrap();
        assert_eq!(serde_json::to_string(&Started(utc)).unwrap(), r#""2026-11-22T09:44:51+00:00""#);
        for wrong in [r#""2026-11-22""#, r#""2026-11-22T09:44:51""#, r#""now""#, "\"\""] {
            assert!(serde_json::from_str::<Started>(wrong).is_err(), "{wrong}");
        }
    }
}
