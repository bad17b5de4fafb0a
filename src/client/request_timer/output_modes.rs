//! How the parts of an answer grow: the message, the reasoning and the tool calls may each repeat themselves, or not.

use crate::client::protocol::parsed_event::OutputPart;
use crate::client::request_timer::text_mode::{MAX_RESTARTS, TextEdit, TextMode};

/// The parts whose text a server may repeat with every event.
pub(super) const REPEATABLE_PARTS: [OutputPart; 3] =
    [OutputPart::Message, OutputPart::Reasoning, OutputPart::ToolCall];

/// How the text of each part grows. MiniMax's documentation has each event repeat all of `reasoning_details` and all of
/// `content` (its example cuts off `reasoning_text[len(reasoning_buffer):]`); by MiniMax-M2 #95, its API sends only new
/// text. The events show which one a server does.
#[derive(Debug)]
pub(super) struct OutputModes {
    pub(super) message: TextMode,
    reasoning: TextMode,
    tool_call: TextMode,
}

impl Default for OutputModes {
    fn default() -> Self {
        let (message, reasoning) = (TextMode::default(), TextMode::default());
        Self { message, reasoning, tool_call: TextMode::with_restarts(MAX_RESTARTS) }
    }
}

impl OutputModes {
    /// The mode of a part; `None` for a part that is never repeated.
    pub(super) fn of(&mut self, part: OutputPart) -> Option<&mut TextMode> {
        match part {
            OutputPart::Message => Some(&mut self.message),
            OutputPart::Reasoning => Some(&mut self.reasoning),
            OutputPart::ToolCall => Some(&mut self.tool_call),
            OutputPart::Sound => None,
        }
    }

    /// Whether the events repeated the whole text of some part.
    pub(super) fn any_is_whole(&self) -> bool {
        self.message.is_whole() || self.reasoning.is_whole() || self.tool_call.is_whole()
    }
}

/// How an event changes the text of each part.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OutputEdits {
    message: TextEdit,
    reasoning: TextEdit,
    tool_call: TextEdit,
}

impl OutputEdits {
    /// All of the event's text is new.
    pub(super) const ADD: Self =
        Self { message: TextEdit::Add, reasoning: TextEdit::Add, tool_call: TextEdit::Add };

    /// Edits of the message alone.
    pub(super) fn of_message(message: TextEdit) -> Self {
        Self { message, ..Self::ADD }
    }

    /// The edit of a part. Sound is always new.
    pub(super) fn of(&self, part: OutputPart) -> &TextEdit {
        match part {
            OutputPart::Message => &self.message,
            OutputPart::Reasoning => &self.reasoning,
            OutputPart::ToolCall => &self.tool_call,
            OutputPart::Sound => &TextEdit::Add,
        }
    }

    /// Sets the edit of a part that can be repeated.
    pub(super) fn set(&mut self, part: OutputPart, edit: TextEdit) {
        match part {
            OutputPart::Message => self.message = edit,
            OutputPart::Reasoning => self.reasoning = edit,
            OutputPart::ToolCall => self.tool_call = edit,
            OutputPart::Sound => {}
        }
    }
}
