//! Quantities with a fixed meaning and notation: rates and secrets.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Events per second; may be infinite ("all at once"). Never zero, negative or NaN.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Rate(f64);

impl Rate {
    /// No pacing: all requests are due at once.
    pub const INFINITE: Rate = Rate(f64::INFINITY);

    /// A rate in events per second; `None` unless it is above zero.
    pub fn per_second(value: f64) -> Option<Self> {
        (value > 0.0).then_some(Self(value))
    }

    /// Events per second; may be infinite.
    pub fn get(self) -> f64 {
        self.0
    }

    /// Returns whether the rate is finite, so that it limits the arrivals.
    pub fn is_finite(self) -> bool {
        self.0.is_finite()
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let value: f64 =
            text.trim().parse().map_err(|_| format!("`{text}` is not a number of requests per second"))?;
        Self::per_second(value).ok_or_else(|| format!("a rate must be above 0 (or `inf`), not {text}"))
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        number_or_inf::serialize(&self.0, to)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let value = number_or_inf::deserialize(from)?;
        Self::per_second(value).ok_or_else(|| serde::de::Error::custom("a rate must be above 0"))
    }
}

/// Text that must not leave the process: it is stored and printed as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text that is printed in place of a secret.
    pub const MASK: &'static str = "***";

    /// Wraps the text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::MASK)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(Self::MASK)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(Self)
    }
}

/// Serde support for a float that JSON cannot represent (`inf`): it is written as vLLM's string for it.
pub(crate) mod number_or_inf {
    use serde::{Deserialize, Deserializer, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum NumberOrText {
        Number(f64),
        Text(String),
    }

    /// Writes a finite number as a number and infinity as `"inf"`.
    pub(crate) fn serialize<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
        if value.is_finite() { to.serialize_f64(*value) } else { to.serialize_str("inf") }
    }

    /// Reads the output of [`serialize`].
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        match NumberOrText::deserialize(from)? {
            NumberOrText::Number(value) => Ok(value),
            NumberOrText::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_never_zero_negative_or_nan() {
        for text in ["0", "-1", "nan", "NaN", "fast", ""] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
        assert_eq!("inf".parse(), Ok(Rate::INFINITE));
        assert_eq!("0.25".parse::<Rate>().map(Rate::get), Ok(0.25));
    }

    #[test]
    fn an_infinite_rate_is_valid_json() {
        assert_eq!(serde_json::to_string(&Rate::INFINITE).unwrap(), "\"inf\"");
        assert_eq!(serde_json::from_str::<Rate>("\"inf\"").unwrap(), Rate::INFINITE);
        assert_eq!(serde_json::from_str::<Rate>("20.0").unwrap().get(), 20.0);
    }

    #[test]
    fn a_secret_is_never_written() {
        let secret = Secret::new("sk-12345");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"***\"");
        assert_eq!(format!("{secret:?}"), "***");
    }
}
