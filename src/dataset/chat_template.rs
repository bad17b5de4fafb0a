//! Chat templates applied by the client, for endpoints that take plain text and apply no template.
//!
//! Templates are Jinja as `transformers` configures it for `apply_chat_template`: block tags remove the rest of their
//! line, loops support `break` and `continue`, strings have Python's methods, and `tojson`, `raise_exception` and
//! `strftime_now` are available.
//!
//! As in vLLM, the rendered text is an ordinary prompt. If the template writes the beginning-of-sequence token and the
//! tokenizer adds it too, the prompt has it twice, both here and on the server.

use std::fmt;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde, Value as Jinja};
use minijinja::{Environment, Error, ErrorKind};
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter};
use serde_json::{Map, Value, json};

use super::DatasetError;
use crate::tokenizer::ChatConfig;

/// The name of the only template in the environment.
const NAME: &str = "chat";

/// A compiled chat template. Any thread can use it.
pub(crate) struct ChatTemplate {
    environment: Environment<'static>,
    /// The variables that the template can use besides the messages.
    variables: Map<String, Value>,
    origin: String,
}

impl ChatTemplate {
    /// Compiles a template. `kwargs` are additional variables for the template.
    ///
    /// # Errors
    /// [`DatasetError::Template`] when the template is not valid Jinja.
    pub(crate) fn new(chat: &ChatConfig, kwargs: &Map<String, Value>) -> Result<Self, DatasetError> {
        let mut environment = environment();
        // `{% generation %}` marks the text that a model is trained on. It does not change the output.
        let source = without_generation_marks(&chat.template);
        environment.add_template_owned(NAME, source).map_err(|error| refused(&chat.origin, &error))?;
        let mut variables = chat.tokens.clone();
        variables.insert("add_generation_prompt".into(), true.into());
        variables.extend(kwargs.clone());
        Ok(Self { environment, variables, origin: chat.origin.clone() })
    }

    /// Renders a chat, up to the point where the model's answer begins.
    ///
    /// # Errors
    /// [`DatasetError::Template`] when the template rejects the messages or fails.
    pub(crate) fn render(&self, messages: &[Value]) -> Result<String, DatasetError> {
        let failed = |error: Error| refused(&self.origin, &error);
        let template = self.environment.get_template(NAME).map_err(failed)?;
        let mut context = self.variables.clone();
        context.insert("messages".into(), messages.into());
        template.render(Serde(&context)).map_err(failed)
    }

    /// Renders a chat that consists of one user message.
    ///
    /// # Errors
    /// Fails as [`ChatTemplate::render`] does.
    pub(crate) fn render_user(&self, text: &str) -> Result<String, DatasetError> {
        self.render(&[json!({ "role": "user", "content": text })])
    }
}

impl fmt::Debug for ChatTemplate {
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

/// Formats a value as Python's `json.dumps` does: a space after commas and colons, or an indent. Nothing is escaped for
/// HTML. Object keys are in alphabetical order, because our JSON values store them sorted.
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
        None => value.serialize(&mut serde_json::Serializer::with_formatter(&mut text, PythonJsonFormatter)),
    }
    .map_err(failed)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Formats JSON on one line, as Python does.
struct PythonJsonFormatter;

impl Formatter for PythonJsonFormatter {
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

/// Removes `{% generation %}` and `{% endgeneration %}`, which Jinja does not support. A comment tag keeps their
/// whitespace control.
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

fn refused(origin: &str, error: &Error) -> DatasetError {
    let text = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    let cause = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let place = error.line().map(|line| format!("line {line}: ")).unwrap_or_default();
    DatasetError::Template { origin: origin.to_owned(), cause: format!("{place}{cause}") }
}

#[cfg(test)]
mod tests;
