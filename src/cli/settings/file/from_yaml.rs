//! Flags in YAML.

use saphyr::{LoadableYamlNode as _, MarkedYaml, Scalar, ScanError, YamlData};
use serde_json::{Map, Number, Value};

use super::{Entry, Fault, IsGroup};

/// The flags, in the order of the file.
pub fn entries(text: &str, is_group: &IsGroup<'_>) -> Result<Vec<Entry>, Fault> {
    let documents = MarkedYaml::load_from_str(text).map_err(|error| not_yaml(&error))?;
    let mut entries = Vec::new();
    match documents.as_slice() {
        [] => {}
        [one] => collect(one, is_group, &mut entries)?,
        [_, other, ..] => {
            return Err(Fault { line: line(other), why: "a second document; put all flags into one".into() });
        }
    }
    Ok(entries)
}

fn collect(node: &MarkedYaml<'_>, is_group: &IsGroup<'_>, entries: &mut Vec<Entry>) -> Result<(), Fault> {
    let mapping = match &node.data {
        YamlData::Mapping(mapping) => mapping,
        // A file, or a group, in which everything is commented out.
        YamlData::Value(Scalar::Null) => return Ok(()),
        _ => {
            return Err(Fault { line: line(node), why: "no flag; write flags as `request-rate: 20`".into() });
        }
    };
    for (key, value) in mapping {
        let name = text(&json(key)?);
        if is_group(&name) {
            collect(value, is_group, entries)?;
        } else {
            entries.push(Entry { name, line: line(key), value: json(value)? });
        }
    }
    Ok(())
}

fn not_yaml(error: &ScanError) -> Fault {
    let what = error.info().split_whitespace().collect::<Vec<_>>().join(" ");
    let why = format!("not YAML ({what}); write flags as `request-rate: 20` or `model: name`");
    Fault { line: error.marker().line(), why }
}

/// The line in which a node begins, from 1.
fn line(node: &MarkedYaml<'_>) -> usize {
    node.span.start.line()
}

/// The value as JSON. What JSON has no number for is the text that flags have for it: `inf`.
fn json(node: &MarkedYaml<'_>) -> Result<Value, Fault> {
    Ok(match &node.data {
        YamlData::Value(Scalar::Null) => Value::Null,
        YamlData::Value(Scalar::Boolean(value)) => Value::Bool(*value),
        YamlData::Value(Scalar::Integer(number)) => Value::from(*number),
        YamlData::Value(Scalar::FloatingPoint(number)) => {
            Number::from_f64(**number).map_or_else(|| Value::String(number.to_string()), Value::Number)
        }
        YamlData::Value(Scalar::String(text)) => Value::String(text.to_string()),
        YamlData::Sequence(items) => Value::Array(items.iter().map(json).collect::<Result<_, _>>()?),
        YamlData::Mapping(mapping) => {
            let member = |(key, value)| Ok((text(&json(key)?), json(value)?));
            Value::Object(mapping.iter().map(member).collect::<Result<Map<_, _>, Fault>>()?)
        }
        YamlData::Tagged(_, inner) => json(inner)?,
        YamlData::Representation(..) | YamlData::Alias(_) | YamlData::BadValue => {
            return Err(Fault {
                line: line(node),
                why: "a value that is none: check its tag or anchor".into(),
            });
        }
    })
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}
