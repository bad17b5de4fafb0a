//! The flags of `servebench run`, looked up by the names that files and the environment use for them.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Command};

use super::setting::{Given, Setting};

/// The flags.
pub struct Flags {
    whole: Command,
    run: Command,
}

/// How a flag takes values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// It is there or not.
    Nothing,
    /// A value, or none.
    Perhaps,
    /// One value.
    One,
    /// One value or more.
    Many,
}

impl Flags {
    /// Those of the program's command line.
    pub fn new(mut whole: Command) -> Self {
        whole.build();
        let run = whole.find_subcommand("run").cloned().expect("the program has the command `run`");
        Self { whole, run }
    }

    /// The flag of this name, written with dashes or underscores.
    pub fn find(&self, name: &str) -> Option<&Arg> {
        let name = name.replace('_', "-");
        let is_its_name = |arg: &&Arg| {
            let aliases = arg.get_all_aliases().unwrap_or_default();
            arg.get_long() == Some(&name) || aliases.contains(&name.as_str())
        };
        self.all().find(is_its_name)
    }

    /// All flags that can be set from outside the command line: those that ask for help or name such a place cannot.
    pub fn all(&self) -> impl Iterator<Item = &Arg> {
        let is_settable = |arg: &&Arg| {
            let asks =
                matches!(arg.get_action(), ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong);
            arg.get_long().is_some() && !asks && group(arg) != "configuration"
        };
        self.run.get_arguments().filter(is_settable)
    }

    /// Whether there is a group of flags of this name: `load`.
    pub fn has_group(&self, name: &str) -> bool {
        self.all().any(|arg| group(arg) == name)
    }

    /// Whether two flags exclude each other.
    pub fn exclude(&self, one: &str, other: &str) -> bool {
        let excludes = |one: &Arg, other: &Arg| {
            self.run.get_arg_conflicts_with(one).iter().any(|arg| arg.get_id() == other.get_id())
        };
        match (self.find(one), self.find(other)) {
            (Some(one), Some(other)) => excludes(one, other) || excludes(other, one),
            _ => false,
        }
    }

    /// The flag that is most like this name, if one is.
    pub fn nearest(&self, name: &str) -> Option<String> {
        let error = self.parse(&[format!("--{}", name.replace('_', "-"))]).err()?;
        match error.get(ContextKind::SuggestedArg)? {
            ContextValue::String(flag) => Some(flag.trim_start_matches('-').to_owned()),
            _ => None,
        }
    }

    /// Whether the flag takes this by itself. What it needs beside it may come from elsewhere.
    pub fn check(&self, setting: &Setting) -> Result<(), String> {
        match self.parse(&self.words(setting)) {
            Err(error) if error.kind() != ErrorKind::MissingRequiredArgument => Err(first_paragraph(&error)),
            _ => Ok(()),
        }
    }

    /// The setting as it is written on the command line. `false` is said with the flag's opposite, if it has one.
    pub fn words(&self, setting: &Setting) -> Vec<String> {
        let flag = &setting.flag;
        let opposite = format!("no-{flag}");
        match &setting.given {
            Given::On => vec![format!("--{flag}")],
            Given::Off if self.find(&opposite).is_some() => vec![format!("--{opposite}")],
            Given::Off => Vec::new(),
            Given::Values(values) => values.iter().map(|value| format!("--{flag}={value}")).collect(),
        }
    }

    fn parse(&self, words: &[String]) -> Result<clap::ArgMatches, clap::Error> {
        let program = ["servebench", "run"].map(str::to_owned);
        self.whole.clone().try_get_matches_from(program.iter().chain(words))
    }
}

/// The group of a flag: the first word of its heading in the help.
pub fn group(arg: &Arg) -> String {
    let heading = arg.get_help_heading().unwrap_or_default();
    heading.split_whitespace().next().unwrap_or_default().to_lowercase()
}

/// How a flag takes values.
pub fn takes(arg: &Arg) -> Takes {
    let values = arg.get_num_args().unwrap_or_default();
    match arg.get_action() {
        ArgAction::Append => Takes::Many,
        ArgAction::Set if values.min_values() == 0 => Takes::Perhaps,
        ArgAction::Set if values.max_values() > 1 => Takes::Many,
        ArgAction::Set => Takes::One,
        _ => Takes::Nothing,
    }
}

/// Of a message of clap's only what is wrong, in one line.
fn first_paragraph(error: &clap::Error) -> String {
    let message = error.render().to_string();
    let paragraph = message.split("\n\n").next().unwrap_or_default();
    let line = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    line.trim_start_matches("error: ").to_owned()
}
