//! Parses flags in YAML.

use saphyr::{LoadableYamlNode as _, MarkedYaml, Scalar, ScanError, YamlData};
use serde_json::{Map, Number, Value};

use super::{ConfigEntry, ConfigSyntaxError, IsGroupFn};

/// Returns the flags in the order of the file.
pub(super) fn parse_entries(
    text: &str,
    is_group: &IsGroupFn<'_>,
) -> Result<Vec<ConfigEntry>, ConfigSyntaxError> {
    let documents = MarkedYaml::load_from_str(text).map_err(|error| syntax_error(&error))?;
    let mut entries = Vec::new();
    match documents.as_slice() {
        [] => {}
        [one] => collect(one, is_group, &mut entries)?,
        [_, other, ..] => {
            return Err(ConfigSyntaxError {
                line: node_line(other),
                why: "a second document; put all flags into one".into(),
            });
        }
    }
    Ok(entries)
}

fn collect(
    node: &MarkedYaml<'_>,
    is_group: &IsGroupFn<'_>,
    entries: &mut Vec<ConfigEntry>,
) -> Result<(), ConfigSyntaxError> {
    let mapping = match &node.data {
        YamlData::Mapping(mapping) => mapping,
        // Everything in this file, or group, is commented out.
        YamlData::Value(Scalar::Null) => return Ok(()),
        _ => {
            return Err(ConfigSyntaxError {
                line: node_line(node),
                why: "not a flag; write flags as `request-rate: 20`".into(),
            });
        }
    };
    for (key, value) in mapping {
        let name = value_text(&to_json(key)?);
        if is_group(&name) {
            collect(value, is_group, entries)?;
        } else {
            entries.push(ConfigEntry { name, line: node_line(key), value: to_json(value)? });
        }
    }
    Ok(())
}

fn syntax_error(error: &ScanError) -> ConfigSyntaxError {
    let what = error.info().split_whitespace().collect::<Vec<_>>().join(" ");
    let why = format!("not YAML ({what}); write flags as `request-rate: 20` or `model: name`");
    ConfigSyntaxError { line: error.marker().line(), why }
}

/// Returns the line in which a node begins, from 1.
fn node_line(node: &MarkedYaml<'_>) -> usize {
    node.span.start.line()
}

/// Converts a value to JSON. A number that JSON lacks, such as `inf`, becomes the text that flags accept.
fn to_json(node: &MarkedYaml<'_>) -> Result<Value, ConfigSyntaxError> {
    Ok(match &node.data {
        YamlData::Value(Scalar::Null) => Value::Null,
        YamlData::Value(Scalar::Boolean(value)) => Value::Bool(*value),
        YamlData::Value(Scalar::Integer(number)) => Value::from(*number),
        YamlData::Value(Scalar::FloatingPoint(number)) => {
            Number::from_f64(**number).map_or_else(|| Value::String(number.to_string()), Value::Number)
        }
        YamlData::Value(Scalar::String(text)) => Value::String(text.to_string()),
        YamlData::Sequence(items) => Value::Array(items.iter().map(to_json).collect::<Result<_, _>>()?),
        YamlData::Mapping(mapping) => {
            let member = |(key, value)| Ok((value_text(&to_json(key)?), to_json(value)?));
            Value::Object(mapping.iter().map(member).collect::<Result<Map<_, _>, ConfigSyntaxError>>()?)
        }
        YamlData::Tagged(_, inner) => to_json(inner)?,
        YamlData::Representation(..) | YamlData::Alias(_) | YamlData::BadValue => {
            return Err(ConfigSyntaxError {
                line: node_line(node),
                why: "unsupported YAML value (tag or anchor)".into(),
            });
        }
    })
}

fn value_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}
