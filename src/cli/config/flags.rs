//! The flags of `servegauge run`, indexed by the names that files and the environment use.

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, Command};

use crate::model::secrets;
use crate::model::units::Secret;

/// The flags of the command `run`.
pub(crate) struct FlagSet {
    run: Command,
}

/// How many values a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FlagArity {
    /// No value: a switch.
    Nothing,
    /// An optional value.
    Perhaps,
    /// Exactly one value.
    One,
    /// One or more values.
    Many,
}

impl FlagSet {
    /// Takes the flags of the command `run`, which is parsed without a program name.
    pub(crate) fn new(mut run: Command) -> Self {
        run.build();
        Self { run }
    }

    /// Finds a flag by its name, written with dashes or underscores.
    pub(crate) fn find(&self, name: &str) -> Option<&Arg> {
        let name = name.replace('_', "-");
        let is_its_name = |arg: &&Arg| {
            let aliases = arg.get_all_aliases().unwrap_or_default();
            arg.get_long() == Some(&name) || aliases.contains(&name.as_str())
        };
        self.all().find(is_its_name)
    }

    /// Returns the flags that other sources than the command line may set. Flags that ask for help or name such a
    /// source are excluded.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arg> {
        let is_settable = |arg: &&Arg| {
            let asks =
                matches!(arg.get_action(), ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong);
            arg.get_long().is_some() && !asks && group(arg) != "configuration"
        };
        self.run.get_arguments().filter(is_settable)
    }

    /// Whether a group of flags has this name, such as `load`.
    pub(crate) fn has_group(&self, name: &str) -> bool {
        self.all().any(|arg| group(arg) == name)
    }

    /// Whether two flags exclude each other.
    pub(crate) fn are_exclusive(&self, one: &str, other: &str) -> bool {
        let excludes = |one: &Arg, other: &Arg| {
            self.run.get_arg_conflicts_with(one).iter().any(|arg| arg.get_id() == other.get_id())
        };
        match (self.find(one), self.find(other)) {
            (Some(one), Some(other)) => excludes(one, other) || excludes(other, one),
            _ => false,
        }
    }

    /// Returns the flag with the most similar name, if one is similar.
    pub(crate) fn nearest(&self, name: &str) -> Option<String> {
        let error = self.parse(&[format!("--{}", name.replace('_', "-"))]).err()?;
        match error.get(ContextKind::SuggestedArg)? {
            ContextValue::String(flag) => Some(flag.trim_start_matches('-').to_owned()),
            _ => None,
        }
    }

    /// Parses these words as if they followed `run`.
    pub(crate) fn parse(&self, words: &[String]) -> Result<clap::ArgMatches, clap::Error> {
        self.run.clone().try_get_matches_from(words)
    }
}

/// Returns the group of a flag: the first word of its help heading.
pub(super) fn group(arg: &Arg) -> String {
    let heading = arg.get_help_heading().unwrap_or_default();
    heading.split_whitespace().next().unwrap_or_default().to_lowercase()
}

/// Returns how many values a flag takes.
pub(super) fn arity(arg: &Arg) -> FlagArity {
    let values = arg.get_num_args().unwrap_or_default();
    match arg.get_action() {
        ArgAction::Append => FlagArity::Many,
        ArgAction::Set if values.min_values() == 0 => FlagArity::Perhaps,
        ArgAction::Set if values.max_values() > 1 => FlagArity::Many,
        ArgAction::Set => FlagArity::One,
        _ => FlagArity::Nothing,
    }
}

/// Removes secrets from what an error of clap quotes.
pub(crate) fn without_secrets(mut error: clap::Error) -> clap::Error {
    let flag = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(arg)) => {
            let name = arg.trim_start_matches('-').split(|c: char| c != '-' && !c.is_alphanumeric());
            name.map(ToOwned::to_owned).next().unwrap_or_default()
        }
        _ => String::new(),
    };
    if let Some(ContextValue::String(value)) = error.get(ContextKind::InvalidValue) {
        let shown = shown_value(&flag, value);
        error.insert(ContextKind::InvalidValue, ContextValue::String(shown));
    } else if let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidArg) {
        // A word that belongs to no flag; a lost quote makes one of a header or of JSON.
        if !word.starts_with('-') {
            let shown = shown_value("", word);
            error.insert(ContextKind::InvalidArg, ContextValue::String(shown));
        }
    }
    error
}

/// A rejected value as an error quotes it. Malformed JSON is not quoted, because no part of it is known not to be a
/// key; neither is metadata without a name.
fn shown_value(flag: &str, value: &str) -> String {
    let is_json = value.trim_start().starts_with(['{', '[']);
    let is_malformed = is_json && serde_json::from_str::<serde_json::Value>(value).is_err();
    let is_nameless = flag == "metadata" && !value.contains('=');
    match is_malformed || is_nameless {
        true => Secret::MASK.to_owned(),
        false => secrets::mask_flag_value(flag, value),
    }
}

/// Returns what a clap error says, as a clause without secrets.
pub(crate) fn first_line(error: clap::Error) -> String {
    let text = without_secrets(error).to_string();
    text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

/// Returns the first paragraph of a clap error in one line.
pub(super) fn first_paragraph(error: &clap::Error) -> String {
    let message = error.render().to_string();
    let paragraph = message.split("\n\n").next().unwrap_or_default();
    let line = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    line.trim_start_matches("error: ").to_owned()
}
