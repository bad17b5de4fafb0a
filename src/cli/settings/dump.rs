//! `--dump-config`: all flags that hold, as a file that `--config` takes.

use std::io::{self, Write};

use clap::Arg;
use serde_json::{Map, Value};

use super::flags::{Flags, Takes, group, takes};
use super::secret;

/// Writes the settings in the groups of `--help`. What holds by default is there as a comment, so that the file shows what
/// can be changed, and says no more than was asked for; so is what is secret.
pub fn write(settings: &Map<String, Value>, flags: &Flags, to: &mut dyn Write) -> io::Result<()> {
    writeln!(to, "# servebench {}: the flags of a run, for --config", env!("CARGO_PKG_VERSION"))?;
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for arg in flags.all() {
        let name = arg.get_long().unwrap_or_default();
        let line = settings.get(name).map(|value| given(name, value)).or_else(|| default(name, arg));
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

fn given(name: &str, value: &Value) -> String {
    let line = format!("{name} = {}", toml(value));
    if secret::is_secret(name) { format!("# {line} # masked: a secret is not printed") } else { line }
}

fn default(name: &str, arg: &Arg) -> Option<String> {
    let values: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    let is_switch = takes(arg) == Takes::Nothing;
    (!is_switch && !values.is_empty()).then(|| format!("# {name} = {}", toml(&plain(&values.join(",")))))
}

/// A value of the command line as files hold it: a number where it is one.
pub fn plain(text: &str) -> Value {
    let number = serde_json::from_str::<serde_json::Number>(text).ok();
    match number.filter(|number| number.to_string() == text) {
        Some(number) => Value::Number(number),
        None => Value::String(text.to_owned()),
    }
}

fn toml(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(toml).collect::<Vec<_>>().join(", ")),
        Value::String(text) => toml::Value::String(text.clone()).to_string(),
        other => other.to_string(),
    }
}
