//! How a server is started: a command line with a place for the port.

use std::fmt;
use std::io;

use super::free_port;

/// What stands for the port.
const PORT: &str = "{port}";

/// Where a server listens if its command does not say: vLLM's port.
const USUAL_PORT: u16 = 8000;

/// A command line, split into words as a shell would, but run by none: no variables, no pipes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    words: Vec<String>,
}

/// Why a text is no command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A quote that is never closed.
    #[error("`{0}`: a quote is not closed")]
    Quotes(String),
    /// Nothing.
    #[error("the command is empty")]
    Empty,
    /// What only a shell understands.
    #[error(
        "`{word}` in `{text}` would need a shell, and there is none: write `sh -c '...'` if you want one"
    )]
    Shell {
        /// The whole.
        text: String,
        /// The word.
        word: String,
    },
}

impl Template {
    /// Reads a command line.
    pub fn new(text: &str) -> Result<Self, TemplateError> {
        let words = shlex::split(text).ok_or_else(|| TemplateError::Quotes(text.to_owned()))?;
        match words
            .iter()
            .find(|word| ["|", "||", "&", "&&", ";", ">", ">>", "<", "2>&1"].contains(&word.as_str()))
        {
            Some(word) => Err(TemplateError::Shell { text: text.to_owned(), word: word.clone() }),
            None => Self::of(words),
        }
    }

    /// Of words.
    pub fn of(words: Vec<String>) -> Result<Self, TemplateError> {
        if words.is_empty() { Err(TemplateError::Empty) } else { Ok(Self { words }) }
    }

    /// The words as they were given.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// The port that the server will listen on: a free one for `{port}`, else that of `--port` or `-p`, else 8000.
    pub fn port(&self) -> io::Result<u16> {
        match self.words.iter().any(|word| word.contains(PORT)) {
            true => free_port(),
            false => Ok(self.given_port().unwrap_or(USUAL_PORT)),
        }
    }

    /// The words with the port in its places.
    pub fn with_port(&self, port: u16) -> Vec<String> {
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

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self.words.iter().map(String::as_str);
        let line = shlex::try_join(words).unwrap_or_else(|_| self.words.join(" "));
        // A shell would need the quotes; whoever writes a template does not.
        f.write_str(&line.replace(&format!("'{PORT}'"), PORT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> Template {
        Template::new(text).unwrap()
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
        assert_eq!(Template::new(" "), Err(TemplateError::Empty));
        assert!(Template::new("vllm 'serve").unwrap_err().to_string().contains("quote"));
        assert!(Template::new("a | tee log").unwrap_err().to_string().contains("sh -c"));
    }
}
