//! A server's command line with a placeholder for the port.

use std::fmt;
use std::io;

use super::free_port;

/// The placeholder for the port.
const PORT: &str = "{port}";

/// The port of a server whose command names none: vLLM's default.
const DEFAULT_PORT: u16 = 8000;

/// A command line, split into words as a shell would, but run without one: no variables, no pipes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommandTemplate {
    words: Vec<String>,
}

/// Why a text is not a valid command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CommandTemplateError {
    /// A quote is not closed.
    #[error("`{0}`: a quote is not closed")]
    Quotes(String),
    /// The command is empty.
    #[error("the command is empty")]
    Empty,
    /// A word needs a shell.
    #[error(
        "`{word}` in `{text}` would need a shell, and there is none: write `sh -c '...'` if you want one"
    )]
    Shell {
        /// The whole command.
        text: String,
        /// The word that needs a shell.
        word: String,
    },
}

impl CommandTemplate {
    /// Parses a command line.
    pub(crate) fn new(text: &str) -> Result<Self, CommandTemplateError> {
        let words = shlex::split(text).ok_or_else(|| CommandTemplateError::Quotes(text.to_owned()))?;
        match words
            .iter()
            .find(|word| ["|", "||", "&", "&&", ";", ">", ">>", "<", "2>&1"].contains(&word.as_str()))
        {
            Some(word) => Err(CommandTemplateError::Shell { text: text.to_owned(), word: word.clone() }),
            None => Self::from_words(words),
        }
    }

    /// Creates a template from words.
    pub(crate) fn from_words(words: Vec<String>) -> Result<Self, CommandTemplateError> {
        if words.is_empty() { Err(CommandTemplateError::Empty) } else { Ok(Self { words }) }
    }

    /// Returns the words as they were given.
    pub(crate) fn words(&self) -> &[String] {
        &self.words
    }

    /// Returns the port that the server will listen on: a free one for `{port}`, else that of `--port` or `-p`, else
    /// 8000.
    pub(crate) fn port(&self) -> io::Result<u16> {
        match self.words.iter().any(|word| word.contains(PORT)) {
            true => free_port(),
            false => Ok(self.given_port().unwrap_or(DEFAULT_PORT)),
        }
    }

    /// Returns the words with the port in place of each placeholder.
    pub(crate) fn with_port(&self, port: u16) -> Vec<String> {
        self.words.iter().map(|word| word.replace(PORT, &port.to_string())).collect()
    }

    fn given_port(&self) -> Option<u16> {
        let apart = |pair: &[String]| {
            matches!(pair[0].as_str(), "--port" | "-p").then(|| pair[1].parse().ok()).flatten()
        };
        let joined = |word: &String| word.strip_prefix("--port=")?.parse().ok();
        self.words.windows(2).find_map(apart).or_else(|| self.words.iter().find_map(joined))
    }
}

impl fmt::Display for CommandTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self.words.iter().map(String::as_str);
        let line = shlex::try_join(words).unwrap_or_else(|_| self.words.join(" "));
        // A shell would need the quotes around the placeholder; the template's author does not write them.
        f.write_str(&line.replace(&format!("'{PORT}'"), PORT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> CommandTemplate {
        CommandTemplate::new(text).unwrap()
    }

    #[test]
    fn words_are_split_as_a_shell_would() {
        let words = template("vllm serve 'my model' --port {port} --json '{\"a\": 1}'").with_port(81);
        assert_eq!(words, ["vllm", "serve", "my model", "--port", "81", "--json", "{\"a\": 1}"]);
        assert_eq!(template("a 'b c' {port}").to_string(), "a 'b c' {port}");
    }

    #[test]
    fn the_port_is_the_commands_or_vllms() {
        let port = |text: &str| template(text).port().unwrap();
        assert_eq!(port("vllm serve m --port 9000"), 9000);
        assert_eq!(port("vllm serve m --port=9001"), 9001);
        assert_eq!(port("vllm serve m -p 9002"), 9002);
        assert_eq!(port("vllm serve m"), 8000);
        assert_ne!(port("vllm serve m --port={port}"), 8000);
    }

    #[test]
    fn what_is_no_command_is_told() {
        assert_eq!(CommandTemplate::new(" "), Err(CommandTemplateError::Empty));
        assert!(CommandTemplate::new("vllm 'serve").unwrap_err().to_string().contains("quote"));
        assert!(CommandTemplate::new("a | tee log").unwrap_err().to_string().contains("sh -c"));
    }
}
