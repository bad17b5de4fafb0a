//! Writes JSON values as YAML.

use std::io;

use saphyr::{LoadableYamlNode as _, Yaml, YamlEmitter};
use serde_json::Value;

/// Writes a value as a YAML document.
pub(crate) fn write(value: &Value, to: &mut impl io::Write) -> io::Result<()> {
    let mut text = String::new();
    emit(value, false, &mut text)?;
    to.write_all(text.as_bytes())
}

/// Writes a value as a YAML document whose texts are all quoted. Some readers take words such as `y` and `1_000` for
/// other than text.
pub(crate) fn write_quoted(value: &Value, to: &mut String) -> io::Result<()> {
    emit(value, true, to)
}

fn emit(value: &Value, quotes: bool, to: &mut String) -> io::Result<()> {
    // JSON is YAML, so that the YAML library reads the one and writes the other.
    let text = value.to_string();
    let documents = Yaml::load_from_str(&text).map_err(io::Error::other)?;
    for document in &documents {
        let mut emitter = YamlEmitter::new(to);
        emitter.quoted_value(quotes);
        emitter.dump(document).map_err(io::Error::other)?;
        to.push('\n');
    }
    Ok(())
}
