//! A flag with its value, from any source.

use std::fmt;
use std::path::PathBuf;

use clap::Arg;
use clap::error::ErrorKind;
use serde_json::Value;

use super::flags::{FlagArity, FlagSet, arity, first_paragraph, without_secrets};
use crate::model::units::Secret;

/// A flag and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FlagSetting {
    /// The flag's name, without leading dashes.
    pub flag: String,
    /// The flag's value.
    pub given: FlagValue,
    /// The source of the value.
    pub origin: SettingOrigin,
}

/// The value of a flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FlagValue {
    /// Enabled.
    On,
    /// Explicitly disabled; overrides sources of lower precedence.
    Off,
    /// One or more values.
    Values(Vec<String>),
}

/// The source of a flag's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SettingOrigin {
    /// A configuration file.
    File {
        /// The file's path.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// The name of an environment variable.
    Environment(String),
    /// The path of a saved run.
    Saved(PathBuf),
    /// The name of a preset.
    Preset(&'static str),
}

impl fmt::Display for SettingOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{} line {line}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Saved(path) => write!(f, "{}", path.display()),
            Self::Preset(name) => write!(f, "preset {name}"),
        }
    }
}

impl FlagSetting {
    /// Whether the value has a masked secret, so that it cannot be used again.
    pub(crate) fn is_masked(&self) -> bool {
        match &self.given {
            FlagValue::Values(values) => values.iter().any(|value| value.contains(Secret::MASK)),
            FlagValue::On | FlagValue::Off => false,
        }
    }

    /// Creates a setting from a value in a file: text, number, `true` or `false`, a list, a table.
    ///
    /// # Errors
    /// The flag does not exist, or does not take such a value; the message names the source.
    pub(crate) fn new(
        flags: &FlagSet,
        name: &str,
        value: &Value,
        origin: SettingOrigin,
    ) -> Result<Self, String> {
        let arg = flags.find(name).ok_or_else(|| {
            let nearest = flags.nearest(name).map(|flag| format!("; is it `{flag}`?"));
            let advice = nearest.unwrap_or_else(|| "; `servegauge run --help` lists all flags".to_owned());
            format!("{origin}: there is no flag `{name}`{advice}")
        })?;
        let flag = arg.get_long().unwrap_or(name).to_owned();
        let given = parse_value(arg, value).map_err(|why| format!("{origin}: `{name}` {why}"))?;
        let setting = Self { flag, given, origin };
        setting.check(flags).map_err(|why| format!("{}: {why}", setting.origin))?;
        Ok(setting)
    }

    /// Checks that the flag accepts this value on its own. Flags that it requires may come from other sources.
    pub(crate) fn check(&self, flags: &FlagSet) -> Result<(), String> {
        match flags.parse(&self.words(flags)) {
            Err(error) if error.kind() != ErrorKind::MissingRequiredArgument => {
                Err(first_paragraph(&without_secrets(error)))
            }
            _ => Ok(()),
        }
    }

    /// Formats the setting for the command line. `false` becomes the flag's opposite, if it has one.
    pub(crate) fn words(&self, flags: &FlagSet) -> Vec<String> {
        let flag = &self.flag;
        let opposite = format!("no-{flag}");
        match &self.given {
            FlagValue::On => vec![format!("--{flag}")],
            FlagValue::Off if flags.find(&opposite).is_some() => vec![format!("--{opposite}")],
            FlagValue::Off => Vec::new(),
            FlagValue::Values(values) => values.iter().map(|value| format!("--{flag}={value}")).collect(),
        }
    }
}

fn parse_value(arg: &Arg, value: &Value) -> Result<FlagValue, String> {
    match (arity(arg), value) {
        (FlagArity::Nothing | FlagArity::Perhaps, Value::Bool(true)) => Ok(FlagValue::On),
        (_, Value::Bool(false) | Value::Null) => Ok(FlagValue::Off),
        (FlagArity::Nothing, Value::String(word)) => parse_switch(word),
        (FlagArity::Nothing, _) => Err("is a switch: write true or false".into()),
        (FlagArity::Many, Value::Array(items)) => {
            Ok(FlagValue::Values(items.iter().map(value_text).collect()))
        }
        (_, Value::Array(items)) if items.iter().all(is_plain) => {
            Ok(FlagValue::Values(vec![items.iter().map(value_text).collect::<Vec<_>>().join(",")]))
        }
        (_, value) => Ok(FlagValue::Values(vec![value_text(value)])),
    }
}

/// Parses the words for on and off in the environment.
fn parse_switch(word: &str) -> Result<FlagValue, String> {
    match word.to_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(FlagValue::On),
        "false" | "0" | "no" | "off" | "" => Ok(FlagValue::Off),
        _ => Err(format!("is a switch: write true or false instead of `{word}`")),
    }
}

fn is_plain(value: &Value) -> bool {
    !value.is_array() && !value.is_object()
}

/// Formats a value for the command line, where a table is JSON.
fn value_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
