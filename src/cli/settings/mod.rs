//! Where flags come from: the command line, else the environment, else a file, else a saved run, else their defaults.
//!
//! What comes from elsewhere is put on the command line in front of what the user typed, so that there is one way to read
//! flags and one way to be wrong about them.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};
use serde_json::{Map, Value};

use crate::cli::exit::{Exit, Halt};
use crate::cli::stdout;

mod dump;
mod environment;
mod file;
mod flags;
mod saved;
pub mod secret;
mod setting;

pub use flags::Flags;
pub use saved::Saved;

use flags::{Takes, takes};
use setting::Setting;

/// A command line with everything on it.
pub struct Gathered {
    /// The words.
    pub words: Vec<OsString>,
    /// The run that it is like.
    pub like: Option<Saved>,
}

/// Adds to the words what the environment, `--config` and `--like` have to say to `servebench run`. What the user typed
/// wins, also over what it excludes.
///
/// # Errors
/// When one of them is wrong, in one line that names the place.
pub fn gather(command: &Command, words: Vec<OsString>) -> Result<Gathered, String> {
    // What is wrong with the words is told when all of them are there.
    let typed = command.clone().ignore_errors(true).try_get_matches_from(&words);
    let Some(typed) = typed.as_ref().ok().and_then(|matches| matches.subcommand_matches("run")) else {
        return Ok(Gathered { words, like: None });
    };
    let flags = Flags::new(command.clone());
    let path = |flag: &str| typed.get_one::<PathBuf>(flag);
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let mut layers = vec![environment::read(variables, &flags)?];
    if let Some(path) = path("config") {
        layers.push(file::read(path, &flags)?);
    }
    let like = path("like").map(|path| saved::read(path, &flags)).transpose()?;
    layers.extend(like.iter().map(|saved| saved.settings.clone()));
    let added = settle(&flags, given(&flags, typed), layers);
    let added = added.iter().flat_map(|setting| flags.words(setting)).map(OsString::from);
    let mut all = words;
    // The program itself may be called `run`; the command comes after it.
    let after_run = 2 + all.iter().skip(1).position(|word| word == "run").unwrap_or_default();
    all.splice(after_run..after_run, added);
    Ok(Gathered { words: all, like })
}

/// Of each flag the weightiest setting, the layers being in the order of weight, and none that something weightier
/// excludes.
fn settle(flags: &Flags, mut decided: Vec<String>, layers: Vec<Vec<Setting>>) -> Vec<Setting> {
    let mut settled = Vec::new();
    for layer in layers {
        let stands = |setting: &Setting| {
            !decided.iter().any(|flag| *flag == setting.flag || flags.exclude(flag, &setting.flag))
        };
        let standing: Vec<Setting> = layer.into_iter().filter(stands).collect();
        decided.extend(standing.iter().map(|setting| setting.flag.clone()));
        settled.extend(standing);
    }
    settled
}

/// The flags that are on the command line.
fn given(flags: &Flags, matches: &ArgMatches) -> Vec<String> {
    let given = flags.all().filter(|arg| is_given(arg, matches));
    given.filter_map(|arg| arg.get_long().map(ToOwned::to_owned)).collect()
}

fn is_given(arg: &Arg, matches: &ArgMatches) -> bool {
    matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine)
}

/// `--dump-config`.
pub fn print(settings: &Map<String, Value>, flags: &Flags) -> Result<Exit, Halt> {
    stdout::print(|out| dump::write(settings, flags, out))?;
    Ok(Exit::Fine)
}

/// All flags that hold but for those that hold by default, as they are stored with a run: without secrets.
pub fn effective(flags: &Flags, matches: &ArgMatches) -> Map<String, Value> {
    flags.all().filter(|arg| is_given(arg, matches)).filter_map(|arg| value(arg, matches)).collect()
}

fn value(arg: &Arg, matches: &ArgMatches) -> Option<(String, Value)> {
    let flag = arg.get_long()?.to_owned();
    let raw = matches.get_raw(arg.get_id().as_str()).into_iter().flatten();
    let texts: Vec<String> = raw.map(|value| value.to_string_lossy().into_owned()).collect();
    let value = match takes(arg) {
        Takes::Nothing => Value::Bool(true),
        Takes::Many if secret::is_secret(&flag) => texts.iter().map(|pair| secret::masked(pair)).collect(),
        Takes::Many => texts.into(),
        Takes::Perhaps | Takes::One => texts.first().map_or(Value::Bool(true), |text| dump::plain(text)),
    };
    Some((flag, value))
}

#[cfg(test)]
mod tests;
