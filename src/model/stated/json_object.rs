//! A JSON object whose fields are read by name, so that an error names the field.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

/// An object and its place in the file.
pub(super) struct JsonObject<'a> {
    place: String,
    fields: BTreeMap<String, &'a RawValue>,
}

/// A number, or one of the words that Python's JSON has for infinities; NaN became `null` before.
#[derive(Deserialize)]
#[serde(untagged)]
enum NumberOrWord {
    Number(f64),
    Word(String),
}

impl<'a> JsonObject<'a> {
    /// Reads an object at a place such as `benchmarks[0].metrics`, which is empty for the whole file.
    pub(super) fn parse(raw: &'a RawValue, place: &str) -> Result<Self, String> {
        let fields = serde_json::from_str(raw.get())
            .map_err(|_| format!("{} is not an object", if place.is_empty() { "it" } else { place }))?;
        Ok(Self { place: place.to_owned(), fields })
    }

    /// Whether a field is there and not `null`.
    pub(super) fn has(&self, key: &str) -> bool {
        self.fields.get(key).is_some_and(|raw| raw.get() != "null")
    }

    /// The names of the fields.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.fields.keys().map(String::as_str)
    }

    /// Reads a field; `None` if it is missing or `null`.
    pub(super) fn get<T: Deserialize<'a>>(&self, key: &str) -> Result<Option<T>, String> {
        let Some(raw) = self.fields.get(key) else { return Ok(None) };
        serde_json::from_str(raw.get()).map_err(|error| self.wrong(key, &error.to_string()))
    }

    /// Reads a number, which may be infinite.
    pub(super) fn number(&self, key: &str) -> Result<Option<f64>, String> {
        match self.get::<NumberOrWord>(key) {
            Ok(None) => Ok(None),
            Ok(Some(NumberOrWord::Number(number))) => Ok(Some(number)),
            Ok(Some(NumberOrWord::Word(word))) => match word.parse() {
                Ok(number) => Ok(Some(number)),
                Err(_) => Err(self.wrong(key, &format!("`{word}` is not a number"))),
            },
            Err(_) => Err(self.wrong(key, "it is not a number")),
        }
    }

    /// Reads a number that is not negative, rounded to a whole one.
    pub(super) fn count(&self, key: &str) -> Result<Option<u64>, String> {
        match self.number(key)? {
            Some(number) if number.is_finite() && number >= 0.0 => Ok(Some(number.round() as u64)),
            Some(number) => Err(self.wrong(key, &format!("{number} is not a count"))),
            None => Ok(None),
        }
    }

    /// Reads a text; `None` if it is missing or empty.
    pub(super) fn text(&self, key: &str) -> Result<Option<String>, String> {
        Ok(self.get::<String>(key)?.filter(|text| !text.is_empty()))
    }

    /// Reads an object within this one.
    pub(super) fn object(&self, key: &str) -> Result<Option<JsonObject<'a>>, String> {
        match self.fields.get(key).filter(|_| self.has(key)) {
            Some(raw) => JsonObject::parse(raw, &self.name(key)).map(Some),
            None => Ok(None),
        }
    }

    /// Reads a list of objects; empty if it is missing or `null`.
    pub(super) fn objects(&self, key: &str) -> Result<Vec<JsonObject<'a>>, String> {
        let items: Vec<&'a RawValue> = self.get(key)?.unwrap_or_default();
        let name = self.name(key);
        let item = |(at, raw): (usize, &'a RawValue)| JsonObject::parse(raw, &format!("{name}[{at}]"));
        items.into_iter().enumerate().map(item).collect()
    }

    /// The error that a field is wrong.
    pub(super) fn wrong(&self, key: &str, why: &str) -> String {
        format!("field `{}`: {why}", self.name(key))
    }

    fn name(&self, key: &str) -> String {
        if self.place.is_empty() { key.to_owned() } else { format!("{}.{key}", self.place) }
    }
}
