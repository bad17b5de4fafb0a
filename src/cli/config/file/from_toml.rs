//! Parses flags in TOML.

use serde_json::{Map, Number, Value};
use toml::de::{DeTable, DeValue, Error};

use super::{ConfigEntry, ConfigSyntaxError, IsGroupFn};

/// Returns the flags in the order of the tables.
pub(super) fn parse_entries(
    text: &str,
    is_group: &IsGroupFn<'_>,
) -> Result<Vec<ConfigEntry>, ConfigSyntaxError> {
    let table = DeTable::parse(text).map_err(|error| syntax_error(text, &error))?;
    let mut entries = Vec::new();
    collect(table.get_ref(), text, is_group, &mut entries);
    Ok(entries)
}

fn collect(table: &DeTable<'_>, text: &str, is_group: &IsGroupFn<'_>, entries: &mut Vec<ConfigEntry>) {
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        match value.get_ref() {
            DeValue::Table(group) if is_group(name) => collect(group, text, is_group, entries),
            value => {
                let line = line_of_byte(text, key.span().start);
                entries.push(ConfigEntry { name: name.to_owned(), line, value: to_json(value) });
            }
        }
    }
}

fn syntax_error(text: &str, error: &Error) -> ConfigSyntaxError {
    let line = line_of_byte(text, error.span().map_or(0, |span| span.start));
    let what = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
    ConfigSyntaxError {
        line,
        why: format!("not TOML ({what}); write flags as `request-rate = 20` or `model = \"name\"`"),
    }
}

/// Returns the line of a byte offset, from 1.
fn line_of_byte(text: &str, at: usize) -> usize {
    1 + text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count()
}

/// Converts a value to JSON. A number that JSON lacks, such as `inf`, becomes the text that flags accept.
pub(crate) fn to_json(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| Value::String(number.to_string()), Value::from),
        DeValue::Float(number) => {
            number.as_str().parse().ok().and_then(Number::from_f64).map_or_else(
                || Value::String(number.as_str().trim_start_matches('+').to_owned()),
                Value::Number,
            )
        }
        DeValue::Boolean(value) => Value::Bool(*value),
        DeValue::Datetime(time) => Value::String(time.to_string()),
        DeValue::Array(items) => items.iter().map(|item| to_json(item.get_ref())).collect(),
        DeValue::Table(table) => Value::Object(
            table
                .iter()
                .map(|(key, value)| (key.get_ref().to_string(), to_json(value.get_ref())))
                .collect::<Map<_, _>>(),
        ),
    }
}
