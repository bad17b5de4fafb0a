//! `--dump-config`: writes all flags in effect as a file that `--config` accepts.

use std::io::{self, Write};

use clap::Arg;
use serde_json::{Map, Value};

use super::flags::{FlagArity, FlagSet, arity, group};
use crate::model::units::Secret;

/// Writes the settings in the groups of `--help`. Defaults are comments, so that the file shows what can be changed
/// without fixing more than the user gave. Secrets are comments too.
pub(super) fn write(settings: &Map<String, Value>, flags: &FlagSet, to: &mut dyn Write) -> io::Result<()> {
    writeln!(to, "# servegauge {}: the flags of a run, for --config", env!("CARGO_PKG_VERSION"))?;
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for arg in flags.all() {
        let name = arg.get_long().unwrap_or_default();
        let line =
            settings.get(name).map(|value| given_line(name, value)).or_else(|| default_line(name, arg));
        let group = group(arg);
        match groups.iter_mut().find(|(known, _)| *known == group) {
            Some((_, lines)) => lines.extend(line),
            None => groups.push((group, line.into_iter().collect())),
        }
    }
    for (group, lines) in groups.iter().filter(|(_, lines)| !lines.is_empty()) {
        writeln!(to, "\n[{group}]\n{}", lines.join("\n"))?;
    }
    Ok(())
}

fn given_line(name: &str, value: &Value) -> String {
    let line = format!("{name} = {}", to_toml(value));
    if line.contains(Secret::MASK) { format!("# {line} # masked: a secret is not printed") } else { line }
}

fn default_line(name: &str, arg: &Arg) -> Option<String> {
    let values: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    let is_switch = arity(arg) == FlagArity::Nothing;
    (!is_switch && !values.is_empty())
        .then(|| format!("# {name} = {}", to_toml(&parse_plain_value(&values.join(",")))))
}

/// Converts a value of the command line to the form in files: a number if it is one.
pub(crate) fn parse_plain_value(text: &str) -> Value {
    let number = serde_json::from_str::<serde_json::Number>(text).ok();
    match number.filter(|number| number.to_string() == text) {
        Some(number) => Value::Number(number),
        None => Value::String(text.to_owned()),
    }
}

fn to_toml(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(to_toml).collect::<Vec<_>>().join(", ")),
        Value::String(text) => toml::Value::String(text.clone()).to_string(),
        other => other.to_string(),
    }
}
