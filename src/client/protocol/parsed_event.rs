//! What an answer contains, in the same shape for every protocol. The parts borrow from the received bytes.
//!
//! Parsing an event allocates nothing.

use super::finish::FinishSignal;
use super::text::Text;
pub(crate) use super::usage::TokenUsage;
use crate::client::protocol::small_list::SmallList;
use crate::model::record::ServerTimes;

/// Parses an event, a line or a document of one protocol.
pub(crate) type ParseFn = for<'a> fn(&'a [u8]) -> serde_json::Result<ParsedEvent<'a>>;

/// The parts of an event, a line or a document that the client uses.
#[derive(Debug, Default)]
pub struct ParsedEvent<'a> {
    /// The output that the event carries.
    pub output: EventOutput<'a>,
    /// The number of token ids that the event carries, with or without their text.
    pub token_ids: u32,
    /// The server's token counts. Depending on the server, they are on the last event, on the one with the finish
    /// reason, or on all events.
    pub usage: Option<TokenUsage>,
    /// The server's own times for the request, usually on the last event.
    pub server_times: ServerTimes,
    /// How the answer ended, in the server's words.
    pub ending: Option<FinishSignal<'a>>,
    /// The error that the event reports, in words.
    pub error: Option<String>,
    /// Whether nothing relevant follows this event.
    pub is_end: bool,
    /// Whether the event has none of the protocol's usual fields.
    pub is_foreign: bool,
    /// Whether the output is a whole message, which repeats the deltas before it if there were any.
    pub is_message: bool,
    /// The name of a field that has text and is not read.
    pub unread: Option<&'a str>,
}

/// The output that an event carries.
#[derive(Debug)]
pub enum EventOutput<'a> {
    /// New pieces, none of them empty.
    New(SmallList<OutputDelta<'a>>),
    /// The whole output so far, from protocols whose events repeat it.
    SoFar {
        /// The whole text.
        text: Option<Text<'a>>,
        /// The number of its tokens, if the server counts them as it streams.
        tokens: Option<u32>,
    },
    /// The number of results that are not text, such as vectors and scores.
    Results(usize),
}

impl Default for EventOutput<'_> {
    fn default() -> Self {
        Self::New(SmallList::default())
    }
}

/// A piece of output.
#[derive(Debug, Clone, Copy)]
pub struct OutputDelta<'a> {
    /// The generated text.
    pub text: Text<'a>,
    /// The part of the answer that the text belongs to.
    pub part: OutputPart,
}

/// The parts of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputPart {
    /// The message to the user.
    Message,
    /// Reasoning, or a summary of it.
    Reasoning,
    /// The name or the arguments of a tool call.
    ToolCall,
    /// Sound, which is not text.
    Sound,
}

impl OutputDelta<'_> {
    /// Whether this part is visible to the user.
    pub fn is_visible(self) -> bool {
        self.part == OutputPart::Message
    }
}

impl<'a> ParsedEvent<'a> {
    /// An event that holds only an error.
    pub fn from_error(words: String) -> Self {
        Self { error: Some(words), ..Self::default() }
    }

    /// Whether the event has nothing that the client uses.
    pub fn is_blank(&self) -> bool {
        let has_output = match &self.output {
            EventOutput::New(pieces) => !pieces.is_empty(),
            EventOutput::SoFar { text, tokens } => text.is_some() || tokens.is_some(),
            EventOutput::Results(count) => *count > 0,
        };
        let Self { token_ids, usage, server_times, ending, error, is_end, .. } = self;
        let has_counts = *token_ids > 0 || usage.is_some() || !server_times.is_none();
        !has_output && !has_counts && ending.is_none() && error.is_none() && !is_end
    }

    /// Whether any piece of the output is reasoning.
    pub fn has_reasoning(&self) -> bool {
        matches!(&self.output, EventOutput::New(pieces) if pieces.iter().any(|piece| piece.part == OutputPart::Reasoning))
    }

    /// The characters between the quotes of the output and the part that they belong to, if the event carries only one
    /// new piece of text.
    pub fn sole_text(&self) -> Option<(&'a str, OutputPart)> {
        let Self {
            output: EventOutput::New(pieces),
            token_ids: 0,
            usage: None,
            server_times,
            ending: None,
            error: None,
            is_end: false,
            is_foreign: false,
            is_message: false,
            unread: None,
        } = self
        else {
            return None;
        };
        let piece =
            pieces.single().filter(|piece| server_times.is_none() && piece.part != OutputPart::Sound)?;
        let text = piece.text.json().strip_prefix('"')?.strip_suffix('"')?;
        Some((text, piece.part))
    }
}
