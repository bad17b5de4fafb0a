//! What an answer says, whatever the protocol: borrowed from the bytes that it came in.
//!
//! Texts stay raw JSON: whether one is empty can be seen without decoding it, and most runs need no more than that. So
//! reading an event allocates nothing, escapes included.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::few::Few;
use crate::core::record::Finish;

/// Reads an event, a line or a document in one protocol.
pub type Read = for<'a> fn(&'a [u8]) -> serde_json::Result<Meaning<'a>>;

/// The parts of an event, a line or a document that matter here.
#[derive(Debug, Default)]
pub struct Meaning<'a> {
    /// What it brings.
    pub output: Output<'a>,
    /// The server's count of tokens: on the last event, on the one that finishes, or on all.
    pub usage: Option<Usage>,
    /// How the answer ended.
    pub finish: Option<Finish>,
    /// The error that it reports, in words.
    pub error: Option<String>,
    /// Whether nothing that matters follows.
    pub is_end: bool,
}

/// What an event brings of the answer.
#[derive(Debug)]
pub enum Output<'a> {
    /// Pieces that are new, none of them empty.
    New(Few<Piece<'a>>),
    /// All that there is so far, from protocols that repeat themselves.
    SoFar {
        /// The whole text.
        text: Option<Text<'a>>,
        /// Its tokens, from a server that counts them along.
        tokens: Option<u32>,
    },
    /// So many results that are no text: vectors, scores.
    Results(usize),
}

impl Default for Output<'_> {
    fn default() -> Self {
        Self::New(Few::default())
    }
}

impl<'a> Output<'a> {
    /// Those of the pieces that are not empty.
    pub fn pieces(pieces: impl IntoIterator<Item = Piece<'a>>) -> Self {
        Self::New(pieces.into_iter().filter(|piece| !piece.text.is_empty()).collect())
    }
}

/// A piece of output.
#[derive(Debug, Clone, Copy)]
pub struct Piece<'a> {
    /// What was generated.
    pub text: Text<'a>,
    /// What of the answer it is a part of.
    pub part: Part,
}

/// The parts of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// What is said to the user.
    Message,
    /// Reasoning, or a summary of it.
    Reasoning,
    /// The name or the arguments of a tool call.
    ToolCall,
}

impl<'a> Piece<'a> {
    /// What is said to the user.
    pub fn said(text: Text<'a>) -> Self {
        Self { text, part: Part::Message }
    }

    /// Reasoning.
    pub fn reasoning(text: Text<'a>) -> Self {
        Self { text, part: Part::Reasoning }
    }

    /// A part of a tool call.
    pub fn tool_call(text: Text<'a>) -> Self {
        Self { text, part: Part::ToolCall }
    }

    /// Whether it is said to the user.
    pub fn is_said(self) -> bool {
        self.part == Part::Message
    }
}

/// The server's count of tokens, as far as it tells. A zero is no count: some servers send zeros until the last event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt, the chat template's included.
    pub prompt_tokens: Option<u32>,
    /// Tokens generated so far.
    pub completion_tokens: Option<u32>,
    /// Of the prompt's tokens, how many came from the prefix cache, which may be none.
    pub cached_tokens: Option<u32>,
    /// Of the generated tokens, how many are reasoning, streamed or not.
    pub reasoning_tokens: Option<u32>,
}

impl Usage {
    /// `None` if neither is told.
    pub fn of(prompt_tokens: Option<u32>, completion_tokens: Option<u32>) -> Option<Self> {
        let [prompt_tokens, completion_tokens] =
            [prompt_tokens, completion_tokens].map(|count| count.filter(|&count| count > 0));
        let is_told = prompt_tokens.is_some() || completion_tokens.is_some();
        is_told.then_some(Self { prompt_tokens, completion_tokens, ..Self::default() })
    }

    /// The same, and how much of the prompt came from the prefix cache.
    pub fn with_cached(self, cached_tokens: Option<u32>) -> Self {
        Self { cached_tokens, ..self }
    }

    /// The same, and how much of what was generated is reasoning.
    pub fn with_reasoning(self, reasoning_tokens: Option<u32>) -> Self {
        Self { reasoning_tokens, ..self }
    }

    /// This count, and what an earlier one told beyond it.
    pub fn or(self, earlier: Option<Self>) -> Self {
        let earlier = earlier.unwrap_or_default();
        Self {
            prompt_tokens: self.prompt_tokens.or(earlier.prompt_tokens),
            completion_tokens: self.completion_tokens.or(earlier.completion_tokens),
            cached_tokens: self.cached_tokens.or(earlier.cached_tokens),
            reasoning_tokens: self.reasoning_tokens.or(earlier.reasoning_tokens),
        }
    }
}

impl<'a> Meaning<'a> {
    /// An error and nothing else.
    pub fn error(words: String) -> Self {
        Self { error: Some(words), ..Self::default() }
    }

    /// Whether anything that it brings is said to the user.
    pub fn is_said(&self) -> bool {
        matches!(&self.output, Output::New(pieces) if pieces.iter().any(|piece| piece.is_said()))
    }

    /// Whether anything that it brings is reasoning.
    pub fn has_reasoning(&self) -> bool {
        matches!(&self.output, Output::New(pieces) if pieces.iter().any(|piece| piece.part == Part::Reasoning))
    }

    /// The characters between the quotes of the only thing that it says, if that is one new piece of text.
    pub fn only_text(&self) -> Option<&'a str> {
        let Self { output: Output::New(pieces), usage: None, finish: None, error: None, is_end: false } =
            self
        else {
            return None;
        };
        let mut pieces = pieces.iter();
        let (Some(piece), None) = (pieces.next(), pieces.next()) else { return None };
        piece.text.0.get().strip_prefix('"')?.strip_suffix('"')
    }
}

/// A piece of text, still JSON.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(transparent)]
pub struct Text<'a>(#[serde(borrow)] &'a RawValue);

impl<'a> Text<'a> {
    /// Whether there is nothing in it.
    pub fn is_empty(self) -> bool {
        matches!(self.0.get(), "\"\"" | "[]" | "{}")
    }

    /// Its length as JSON, in bytes: grows with the text.
    pub fn length(self) -> usize {
        self.0.get().len()
    }

    /// The text. What is no string (some servers send parts or objects) stays as it is written.
    pub fn decode(self) -> Cow<'a, str> {
        let json = self.0.get();
        match json.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
            Some(text) if !text.contains('\\') => text.into(),
            _ => serde_json::from_str::<String>(json).map_or(json.into(), Cow::from),
        }
    }
}

/// An error in words: its message and code where it has the usual shape, else as it is.
pub fn describe_error(json: &str) -> String {
    let error: Value = serde_json::from_str(json).unwrap_or_default();
    let message = error.as_str().or_else(|| error["message"].as_str()).unwrap_or(json);
    match &error["code"] {
        Value::Null => message.to_owned(),
        Value::String(code) => format!("{message} (code {code})"),
        code => format!("{message} (code {code})"),
    }
}
