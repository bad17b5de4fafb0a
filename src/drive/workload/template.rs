//! Chat templates on our side, for endpoints that take a text and apply none.
//!
//! The language is Jinja as `transformers` sets it up for `apply_chat_template`: blocks take their line with them, loops
//! know `break` and `continue`, strings have Python's methods, and there are `tojson`, `raise_exception` and `strftime_now`.
//!
//! As in vLLM the rendered text is then a prompt like any other: a template that writes the token for the beginning gets a
//! second one from a tokenizer that adds it, on our side and on the server's.

use std::fmt;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde, Value as Jinja};
use minijinja::{Environment, Error, ErrorKind};
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter};
use serde_json::{Map, Value, json};

use super::WorkloadError;
use crate::drive::tokenizer::Chat;

/// The one template of the environment.
const NAME: &str = "chat";

/// A model's chat template, ready to be used from any thread.
pub struct Template {
    environment: Environment<'static>,
    /// What it may name besides the messages.
    variables: Map<String, Value>,
    origin: String,
}

impl Template {
    /// Compiles a template; `kwargs` are more variables for it.
    ///
    /// # Errors
    /// [`WorkloadError::Template`] when it is not Jinja.
    pub fn new(chat: &Chat, kwargs: &Map<String, Value>) -> Result<Self, WorkloadError> {
        let mut environment = environment();
        // A block that marks what a model is trained on. It changes nothing in what is written.
        let source = without_generation_marks(&chat.template);
        environment.add_template_owned(NAME, source).map_err(|error| refused(&chat.origin, &error))?;
        let mut variables = chat.tokens.clone();
        variables.insert("add_generation_prompt".into(), true.into());
        variables.extend(kwargs.clone());
        Ok(Self { environment, variables, origin: chat.origin.clone() })
    }

    /// The text of a chat, ready for the model's answer.
    ///
    /// # Errors
    /// [`WorkloadError::Template`] when the template refuses the messages or fails.
    pub fn render(&self, messages: &[Value]) -> Result<String, WorkloadError> {
        let failed = |error: Error| refused(&self.origin, &error);
        let template = self.environment.get_template(NAME).map_err(failed)?;
        let mut context = self.variables.clone();
        context.insert("messages".into(), messages.into());
        template.render(Serde(&context)).map_err(failed)
    }

    /// The text of a chat that begins with a user's message.
    ///
    /// # Errors
    /// As [`Template::render`].
    pub fn render_user(&self, text: &str) -> Result<String, WorkloadError> {
        self.render(&[json!({ "role": "user", "content": text })])
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Template({})", self.origin)
    }
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    let mut syntax = SyntaxConfig::builder();
    syntax.trim_blocks(true).lstrip_blocks(true);
    environment.set_syntax(syntax.build().expect("Jinja's own delimiters do not clash"));
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.add_filter("tojson", to_json);
    environment.add_function("raise_exception", raise);
    environment.add_function("strftime_now", now);
    environment
}

fn raise(message: String) -> Result<String, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

fn now(format: &str) -> Result<String, Error> {
    jiff::fmt::strtime::format(format, &jiff::Zoned::now())
        .map_err(|error| Error::new(ErrorKind::InvalidOperation, error.to_string()))
}

/// Python's `json.dumps`: a space behind commas and colons, or an indent. Nothing is escaped for HTML. Names in objects come
/// in alphabetical order, as our JSON values keep them.
fn to_json(value: &Jinja, options: Kwargs) -> Result<String, Error> {
    let failed = |error: serde_json::Error| Error::new(ErrorKind::BadSerialization, error.to_string());
    let indent: Option<usize> = options.get("indent")?;
    let mut text = Vec::new();
    match indent {
        Some(width) => {
            let indent = " ".repeat(width);
            let formatter = PrettyFormatter::with_indent(indent.as_bytes());
            value.serialize(&mut serde_json::Serializer::with_formatter(&mut text, formatter))
        }
        None => value.serialize(&mut serde_json::Serializer::with_formatter(&mut text, Spaced)),
    }
    .map_err(failed)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// JSON in one line, as Python writes it.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: std::io::Write + ?Sized>(
        &mut self,
        to: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        to.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_key<W: std::io::Write + ?Sized>(
        &mut self,
        to: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        to.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_value<W: std::io::Write + ?Sized>(&mut self, to: &mut W) -> std::io::Result<()> {
        to.write_all(b": ")
    }
}

/// The template without `{% generation %}` and `{% endgeneration %}`, which Jinja does not know; their whitespace control
/// stays, on a comment.
fn without_generation_marks(template: &str) -> String {
    let mut rest = template;
    let mut kept = String::with_capacity(template.len());
    while let Some(start) = rest.find("{%") {
        let Some(length) = rest[start..].find("%}") else { break };
        let end = start + length + 2;
        let inner = &rest[start + 2..end - 2];
        kept.push_str(&rest[..start]);
        match inner.trim_matches(['-', '+']).trim() {
            "generation" | "endgeneration" => {
                let (open, close) = (inner.starts_with('-'), inner.ends_with('-'));
                kept.push_str(if open { "{#-" } else { "{#" });
                kept.push_str(if close { "-#}" } else { "#}" });
            }
            _ => kept.push_str(&rest[start..end]),
        }
        rest = &rest[end..];
    }
    kept.push_str(rest);
    kept
}

fn refused(origin: &str, error: &Error) -> WorkloadError {
    let text = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    let cause = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let place = error.line().map(|line| format!("line {line}: ")).unwrap_or_default();
    WorkloadError::Template { origin: origin.to_owned(), cause: format!("{place}{cause}") }
}

#[cfg(test)]
mod tests;
