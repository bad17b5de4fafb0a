//! One flag with what it was given, from wherever that came.

use std::fmt;
use std::path::PathBuf;

use clap::Arg;
use serde_json::Value;

use super::flags::{Flags, Takes, takes};

/// A flag and what it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The flag's name, without dashes in front.
    pub flag: String,
    /// What it was given.
    pub given: Given,
    /// Where.
    pub origin: Origin,
}

/// What a flag was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    /// It is there.
    On,
    /// It is not there, whatever weightier reasons there are less weighty ones for.
    Off,
    /// Its value, or several.
    Values(Vec<String>),
}

/// Where a flag was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// In a file of flags.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// In an environment variable.
    Environment(String),
    /// In a saved run.
    Saved(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{} line {line}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Saved(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Setting {
    /// A flag set to a value as files hold it: text, number, `true` or `false`, a list, a table.
    ///
    /// # Errors
    /// When there is no such flag, or it does not take such a value; the message names the place.
    pub fn new(flags: &Flags, name: &str, value: &Value, origin: Origin) -> Result<Self, String> {
        let arg = flags.find(name).ok_or_else(|| {
            let nearest = flags.nearest(name).map(|flag| format!("; is it `{flag}`?"));
            let advice = nearest.unwrap_or_else(|| "; `servebench run --help` lists all flags".to_owned());
            format!("{origin}: there is no flag `{name}`{advice}")
        })?;
        let flag = arg.get_long().unwrap_or(name).to_owned();
        let given = given(arg, value).map_err(|why| format!("{origin}: `{name}` {why}"))?;
        let setting = Self { flag, given, origin };
        flags.check(&setting).map_err(|why| format!("{}: {why}", setting.origin))?;
        Ok(setting)
    }
}

fn given(arg: &Arg, value: &Value) -> Result<Given, String> {
    match (takes(arg), value) {
        (Takes::Nothing | Takes::Perhaps, Value::Bool(true)) => Ok(Given::On),
        (_, Value::Bool(false) | Value::Null) => Ok(Given::Off),
        (Takes::Nothing, Value::String(word)) => switch(word),
        (Takes::Nothing, _) => Err("is there or not: write true or false".into()),
        (Takes::Many, Value::Array(items)) => Ok(Given::Values(items.iter().map(text).collect())),
        (_, Value::Array(items)) if items.iter().all(is_plain) => {
            Ok(Given::Values(vec![items.iter().map(text).collect::<Vec<_>>().join(",")]))
        }
        (_, value) => Ok(Given::Values(vec![text(value)])),
    }
}

/// On and off as the environment has them.
fn switch(word: &str) -> Result<Given, String> {
    match word.to_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(Given::On),
        "false" | "0" | "no" | "off" | "" => Ok(Given::Off),
        _ => Err(format!("is there or not: write true or false instead of `{word}`")),
    }
}

fn is_plain(value: &Value) -> bool {
    !value.is_array() && !value.is_object()
}

/// A value as it is written on the command line: a table is JSON there.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
