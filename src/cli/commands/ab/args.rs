//! The flags of `servegauge ab`.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;

use crate::cli::args::values;
use crate::cli::commands::compare::TableArgs;
use crate::cli::defaults;
use crate::model::secrets;
use crate::server::launch::CommandTemplate;

/// Measure two servers alternately.
#[derive(Debug, Args)]
pub(crate) struct AbArgs {
    /// Baseline: the URL of a server, or a command that starts one
    ///
    /// For example 'vllm serve MODEL --port {port}'. A server whose command names no port is expected at port 8000.
    #[arg(long, value_name = "URL|CMD")]
    pub a: Source,
    /// Candidate: the URL of a server, or a command that starts one
    #[arg(long, value_name = "URL|CMD")]
    pub b: Source,
    /// Blocks per server, each with different requests
    #[arg(long, value_name = "N", default_value = "8", value_parser = values::count)]
    pub blocks: NonZeroUsize,
    /// Duration of a block (a bare number is seconds)
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = values::seconds)]
    pub block: Duration,
    /// Keep both servers running all the time; they must fit on the machine together
    ///
    /// The verdicts then apply to these two server starts only. Otherwise, if both are commands, one server runs at a
    /// time and is restarted for each of its blocks.
    #[arg(long)]
    pub keep: bool,
    /// Time limit until a server is healthy (a bare number is seconds)
    #[arg(long, value_name = "TIME", default_value = defaults::HEALTH_TIMEOUT_TEXT, value_parser = values::seconds)]
    pub health_timeout: Duration,
    /// Pass this secret environment variable to the servers
    ///
    /// Keys and tokens are withheld by default.
    #[arg(long, value_name = "NAME")]
    pub pass_env: Vec<String>,
    /// Save the run of every block into DIR/a and DIR/b, with the servers' logs
    #[arg(long = "out", aliases = ["output", "save"], value_name = "DIR")]
    pub save: Option<PathBuf>,
    /// Write the verdicts, with charts, as one HTML file that needs no network
    #[arg(long, value_name = "OUT")]
    pub html: Option<PathBuf>,
    #[command(flatten)]
    pub table: TableArgs,
    /// After `--`: `run` with its flags for a block, such as `-- run --request-rate 20`
    #[arg(last = true, value_name = "run RUN'S FLAGS")]
    pub run: Vec<String>,
}

/// A server that runs, or the command that starts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// The URL of a running server.
    Url(String),
    /// A command that starts the server.
    Command(CommandTemplate),
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
        let template = CommandTemplate::new(text).map_err(|error| error.to_string())?;
        match template.words() {
            [word] if word.contains(':') => {
                Err(format!("an address begins with http:// or https://, such as http://{word}"))
            }
            _ => Ok(Self::Command(template)),
        }
    }
}

/// The form that is printed and stored: keys in a command are masked.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => f.write_str(&secrets::mask_url(url)),
            Self::Command(template) => {
                match CommandTemplate::from_words(secrets::mask_args(template.words())) {
                    Ok(shown) => shown.fmt(f),
                    Err(_) => Ok(()),
                }
            }
        }
    }
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
