//! The flags of `servebench ab`.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;

use crate::cli::compare::TableArgs;
use crate::cli::run::values;
use crate::core::units::Secret;
use crate::server::launch::Template;

/// Measure two servers by turns.
#[derive(Debug, Args)]
pub struct AbArgs {
    /// The baseline: the URL of a server, or a command that starts one, such as 'vllm serve MODEL --port {port}' (without a
    /// port it is looked for at 8000)
    #[arg(long, value_name = "URL|CMD")]
    pub a: Source,
    /// What is held against it: the same
    #[arg(long, value_name = "URL|CMD")]
    pub b: Source,
    /// How many blocks each server is measured for, each with requests of its own
    #[arg(long, value_name = "N", default_value = "8", value_parser = values::count)]
    pub blocks: NonZeroUsize,
    /// How long requests are sent in a block (a bare number is seconds)
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = values::seconds)]
    pub block: Duration,
    /// Let both servers run all the time, which must fit on the machine together: the calls are then about these two starts.
    /// Otherwise, where both are commands, one runs at a time, and is started anew for each of its blocks
    #[arg(long)]
    pub keep: bool,
    /// How long a server may take until it is healthy (a bare number is seconds)
    #[arg(long, value_name = "TIME", default_value = "20m", value_parser = values::seconds)]
    pub health_timeout: Duration,
    /// Save the run of every block into DIR/a and DIR/b, beside the servers' logs
    #[arg(long, value_name = "DIR")]
    pub save: Option<PathBuf>,
    #[command(flatten)]
    pub table: TableArgs,
    /// After `--`: `run`'s flags of a block, such as `-- --request-rate 20`
    #[arg(last = true, value_name = "RUN'S FLAGS")]
    pub run: Vec<String>,
}

/// Where a server comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// It runs.
    Url(String),
    /// It is started.
    Command(Template),
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.starts_with("http://") || text.starts_with("https://") {
            return match reqwest::Url::parse(text) {
                Ok(url) if url.has_host() => Ok(Self::Url(text.trim_end_matches('/').to_owned())),
                _ => Err("write a server's address as http://localhost:8000".into()),
            };
        }
        let template = Template::new(text).map_err(|error| error.to_string())?;
        match template.words() {
            [word] if word.contains(':') => {
                Err(format!("an address begins with http:// or https://, such as http://{word}"))
            }
            _ => Ok(Self::Command(template)),
        }
    }
}

/// As it is printed and stored: keys that a command has are not.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => f.write_str(url),
            Self::Command(template) => match Template::of(masked(template.words())) {
                Ok(shown) => shown.fmt(f),
                Err(_) => Ok(()),
            },
        }
    }
}

/// Without the values of flags such as `--api-key` and `--hf-token`.
fn masked(words: &[String]) -> Vec<String> {
    let is_secret = |flag: &str| flag.starts_with('-') && (flag.ends_with("key") || flag.ends_with("token"));
    let mut follows = false;
    let mask = |word: &String| {
        let shown = match word.split_once('=') {
            Some((flag, _)) if is_secret(flag) => format!("{flag}={}", Secret::MASK),
            _ if follows && !word.starts_with('-') => Secret::MASK.to_owned(),
            _ => word.clone(),
        };
        follows = is_secret(word) || (follows && shown == Secret::MASK);
        shown
    };
    words.iter().map(mask).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_in_a_command_are_not_shown() {
        let source: Source =
            "serve m --api-key s3cret k2 --hf-token=s3cret --max-num-batched-tokens 9".parse().unwrap();
        let shown = source.to_string();
        assert!(!shown.contains("s3cret") && !shown.contains("k2") && shown.ends_with("tokens 9"), "{shown}");
    }

    #[test]
    fn a_server_is_an_address_or_a_command() {
        assert_eq!("http://a:1/".parse(), Ok(Source::Url("http://a:1".into())));
        assert!(matches!("vllm serve m --port {port}".parse(), Ok(Source::Command(_))));
        for (text, cure) in
            [("localhost:8000", "http://localhost:8000"), ("http://", "http://localhost:8000"), ("", "empty")]
        {
            let error = text.parse::<Source>().unwrap_err();
            assert!(error.contains(cure), "{text}: {error}");
        }
    }
}
