//! The sources of flags, in descending precedence: the command line, the environment, a file, a saved run, a preset,
//! the defaults.
//!
//! Values from the other sources are put on the command line before what the user typed, so that there is one parser,
//! and one set of errors.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};
use serde_json::{Map, Value};

use crate::cli::exit::{CliError, ExitReason};
use crate::cli::stdout;
use crate::model::secrets;

mod dump;
mod environment;
mod file;
mod flags;
mod preset;
mod saved;
mod setting;

pub(super) use dump::parse_plain_value;
pub(super) use flags::{FlagSet, first_line, without_secrets};
pub(super) use saved::SavedRun;

use flags::{FlagArity, arity};
use setting::FlagSetting;

/// A command line with the flags from all sources.
pub(super) struct ResolvedArgs {
    /// The words of the command line.
    pub words: Vec<OsString>,
    /// The saved run to repeat.
    pub like: Option<SavedRun>,
}

/// Adds the flags from the environment, `--config` and `--like` to the program's words, if they call `servegauge
/// run`.
///
/// # Errors
/// See [`added`].
pub(super) fn resolve(
    command: &Command,
    flags: &FlagSet,
    words: Vec<OsString>,
) -> Result<ResolvedArgs, String> {
    // Errors in the words are reported later, when all words are there.
    let typed = command.clone().ignore_errors(true).try_get_matches_from(&words);
    let Some(typed) = typed.as_ref().ok().and_then(|matches| matches.subcommand_matches("run")) else {
        return Ok(ResolvedArgs { words, like: None });
    };
    let ResolvedArgs { words: added, like } = added(flags, typed)?;
    let mut all = words;
    // The program itself may be called `run`; the command comes after it.
    let after_run = 2 + all.iter().skip(1).position(|word| word == "run").unwrap_or_default();
    all.splice(after_run..after_run, added);
    Ok(ResolvedArgs { words: all, like })
}

/// Returns the flags that the environment, `--config`, `--like` and `--preset` add to the command line of `run`. A flag
/// that the user typed takes precedence over the same flag from there, and drops flags that conflict with it.
///
/// # Errors
/// One of them is wrong; the message is one line that names the source.
pub(super) fn added(flags: &FlagSet, typed: &ArgMatches) -> Result<ResolvedArgs, String> {
    let path = |flag: &str| typed.get_one::<PathBuf>(flag);
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let mut layers = vec![environment::read(variables, flags)?];
    if let Some(path) = path("config") {
        layers.push(file::read(path, flags)?);
    }
    let like = path("like").map(|path| saved::read(path, flags)).transpose()?;
    layers.extend(like.iter().map(|saved| saved.settings.clone()));
    let in_layers = layers.iter().flatten().map(|setting| setting.flag.clone());
    let given: Vec<String> = given_flags(flags, typed).into_iter().chain(in_layers).collect();
    layers.push(preset::read(typed, flags, &given)?);
    let added = merge_layers(flags, given_flags(flags, typed), layers);
    if let Some(FlagSetting { flag, origin, .. }) = added.iter().find(|setting| setting.is_masked()) {
        return Err(format!(
            "{origin}: `{flag}` has *** in place of a secret, which is stored nowhere; give --{flag} again"
        ));
    }
    let words = added.iter().flat_map(|setting| setting.words(flags)).map(OsString::from).collect();
    Ok(ResolvedArgs { words, like })
}

/// Returns the flags that `--preset` adds to those of a measuring command, which has no other sources.
pub(super) fn preset_words(flags: &FlagSet, typed: &ArgMatches) -> Result<Vec<OsString>, String> {
    let given = given_flags(flags, typed);
    let layer = preset::read(typed, flags, &given)?;
    let added = merge_layers(flags, given, vec![layer]);
    Ok(added.iter().flat_map(|setting| setting.words(flags)).map(OsString::from).collect())
}

/// Merges layers in descending precedence. A setting is dropped if an earlier layer sets or excludes its flag.
fn merge_layers(
    flags: &FlagSet,
    mut decided: Vec<String>,
    layers: Vec<Vec<FlagSetting>>,
) -> Vec<FlagSetting> {
    let mut settled = Vec::new();
    for layer in layers {
        let stands = |setting: &FlagSetting| {
            !decided.iter().any(|flag| *flag == setting.flag || flags.are_exclusive(flag, &setting.flag))
        };
        let standing: Vec<FlagSetting> = layer.into_iter().filter(stands).collect();
        decided.extend(standing.iter().map(|setting| setting.flag.clone()));
        settled.extend(standing);
    }
    settled
}

/// Lists the flags on the command line.
fn given_flags(flags: &FlagSet, matches: &ArgMatches) -> Vec<String> {
    let given = flags.all().filter(|arg| is_given(arg, matches));
    given.filter_map(|arg| arg.get_long().map(ToOwned::to_owned)).collect()
}

fn is_given(arg: &Arg, matches: &ArgMatches) -> bool {
    matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine)
}

/// Performs `--dump-config`.
pub(super) fn print(settings: &Map<String, Value>, flags: &FlagSet) -> Result<ExitReason, CliError> {
    stdout::print(|out| dump::write(settings, flags, out))?;
    Ok(ExitReason::Success)
}

/// Returns all flags that were given, as a run stores them: without secrets.
pub(super) fn effective_settings(flags: &FlagSet, matches: &ArgMatches) -> Map<String, Value> {
    flags.all().filter(|arg| is_given(arg, matches)).filter_map(|arg| arg_value(arg, matches)).collect()
}

/// Formats the flags that a Run stores as words of a command line.
pub(super) fn as_words(settings: &Map<String, Value>) -> Vec<String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
    let words = |(flag, value): (&String, &Value)| {
        let values = match value {
            Value::Bool(true) => Vec::new(),
            Value::Array(values) => values.iter().map(text).collect(),
            value => vec![text(value)],
        };
        std::iter::once(format!("--{flag}")).chain(values)
    };
    settings.iter().flat_map(words).collect()
}

fn arg_value(arg: &Arg, matches: &ArgMatches) -> Option<(String, Value)> {
    let flag = arg.get_long()?.to_owned();
    let raw = matches.get_raw(arg.get_id().as_str()).into_iter().flatten();
    let texts: Vec<String> =
        raw.map(|value| secrets::mask_flag_value(&flag, &value.to_string_lossy())).collect();
    let value = match arity(arg) {
        FlagArity::Nothing => Value::Bool(true),
        FlagArity::Many => texts.into(),
        FlagArity::Perhaps | FlagArity::One => {
            texts.first().map_or(Value::Bool(true), |text| dump::parse_plain_value(text))
        }
    };
    Some((flag, value))
}

#[cfg(test)]
mod tests;
