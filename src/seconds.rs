//! Serde support for a duration as fractional seconds: `#[serde(with = "seconds")]`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer};

/// Writes a duration as seconds.
pub(crate) fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(value.as_secs_f64())
}

/// Reads a duration from seconds; a negative, infinite or NaN number is an error.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    Duration::try_from_secs_f64(f64::deserialize(from)?).map_err(serde::de::Error::custom)
}

/// Serde support for an optional duration as fractional seconds: `#[serde(with = "seconds::option")]`.
pub(crate) mod option {
    use super::{Deserialize, Deserializer, Duration, Serializer};

    /// Writes a duration as seconds, or `null`.
    pub(crate) fn serialize<S: Serializer>(value: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => to.serialize_some(&value.as_secs_f64()),
            None => to.serialize_none(),
        }
    }

    /// Reads a duration from seconds, or `null`.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        Option::<f64>::deserialize(from)?
            .map(|value| Duration::try_from_secs_f64(value).map_err(serde::de::Error::custom))
            .transpose()
    }
}
