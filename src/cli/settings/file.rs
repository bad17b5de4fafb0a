//! `--config`: a TOML file of flags, by their names, with dashes or underscores; tables named after the groups of `--help`
//! may hold them too.

use std::fs;
use std::path::Path;

use serde_json::{Map, Number, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::flags::Flags;
use super::setting::{Origin, Setting};

/// The flags in a file.
///
/// # Errors
/// In one line that names the place: a file that cannot be read or is no TOML, a flag that does not exist or does not take
/// its value, a flag that is there twice.
pub fn read(path: &Path, flags: &Flags) -> Result<Vec<Setting>, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("--config {}: {error}", path.display()))?;
    let place = Place { path, text: &text, flags };
    let table = DeTable::parse(&text).map_err(|error| place.not_toml(&error))?;
    let mut settings = Vec::new();
    place.collect(table.get_ref(), &mut settings)?;
    Ok(settings)
}

/// What a setting is read from.
struct Place<'a> {
    path: &'a Path,
    text: &'a str,
    flags: &'a Flags,
}

impl Place<'_> {
    fn collect(&self, table: &DeTable<'_>, settings: &mut Vec<Setting>) -> Result<(), String> {
        for (key, value) in table {
            let (name, line) = (key.get_ref().as_ref(), self.line(key.span().start));
            match value.get_ref() {
                DeValue::Table(group) if self.flags.has_group(name) => {
                    self.collect(group, settings)?;
                }
                _ => settings.push(self.setting(name, value, line, settings)?),
            }
        }
        Ok(())
    }

    fn setting(
        &self,
        name: &str,
        value: &Spanned<DeValue<'_>>,
        line: usize,
        before: &[Setting],
    ) -> Result<Setting, String> {
        let origin = Origin::File { path: self.path.to_owned(), line };
        let setting = Setting::new(self.flags, name, &json(value.get_ref()), origin)?;
        match before.iter().find(|other| other.flag == setting.flag) {
            Some(other) => Err(format!("{}: `{name}` is set already, in {}", setting.origin, other.origin)),
            None => Ok(setting),
        }
    }

    fn not_toml(&self, error: &toml::de::Error) -> String {
        let line = self.line(error.span().map_or(0, |span| span.start));
        let why = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
        let path = self.path.display();
        format!(
            "{path} line {line}: not TOML ({why}); write flags as `request-rate = 20` or `model = \"name\"`"
        )
    }

    /// The line of a byte, from 1.
    fn line(&self, at: usize) -> usize {
        1 + self.text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count()
    }
}

/// The value as JSON. What JSON has no number for is the text that flags have for it: `inf`.
pub(super) fn json(value: &DeValue<'_>) -> Value {
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
        DeValue::Array(items) => items.iter().map(|item| json(item.get_ref())).collect(),
        DeValue::Table(table) => Value::Object(
            table
                .iter()
                .map(|(key, value)| (key.get_ref().to_string(), json(value.get_ref())))
                .collect::<Map<_, _>>(),
        ),
    }
}
