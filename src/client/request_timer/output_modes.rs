//! How the parts of an answer grow: the message and the reasoning may each repeat themselves, or not.

use crate::client::protocol::parsed_event::OutputPart;
use crate::client::request_timer::text_mode::{TextEdit, TextMode};

/// The parts whose text a server may repeat with every event.
pub(super) const REPEATABLE_PARTS: [OutputPart; 2] = [OutputPart::Message, OutputPart::Reasoning];

/// How the text of each part grows. MiniMax's documentation has each event repeat all of `reasoning_details` and all of
/// `content` (its example cuts off `reasoning_text[len(reasoning_buffer):]`); by MiniMax-M2 #95, its API sends only new
/// text. The events show which one a server does.
#[derive(Debug, Default)]
pub(super) struct OutputModes {
    pub(super) message: TextMode,
    reasoning: TextMode,
}

impl OutputModes {
    /// The mode of a part; `None` for a part that is never repeated.
    pub(super) fn of(&mut self, part: OutputPart) -> Option<&mut TextMode> {
        match part {
            OutputPart::Message => Some(&mut self.message),
            OutputPart::Reasoning => Some(&mut self.reasoning),
            OutputPart::ToolCall | OutputPart::Sound => None,
        }
    }

    /// Whether the events repeated the whole text of some part.
    pub(super) fn any_is_whole(&self) -> bool {
        self.message.is_whole() || self.reasoning.is_whole()
    }
}

/// How an event changes the text of each part.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OutputEdits {
    message: TextEdit,
    reasoning: TextEdit,
}

impl OutputEdits {
    /// All of the event's text is new.
    pub(super) const ADD: Self = Self { message: TextEdit::Add, reasoning: TextEdit::Add };

    /// Edits of the message alone.
    pub(super) fn of_message(message: TextEdit) -> Self {
        Self { message, ..Self::ADD }
    }

    /// The edit of a part. Tool calls and sound are always new.
    pub(super) fn of(&self, part: OutputPart) -> &TextEdit {
        match part {
            OutputPart::Message => &self.message,
            OutputPart::Reasoning => &self.reasoning,
            OutputPart::ToolCall | OutputPart::Sound => &TextEdit::Add,
        }
    }

    /// Sets the edit of a part that can be repeated.
    pub(super) fn set(&mut self, part: OutputPart, edit: TextEdit) {
        match part {
            OutputPart::Message => self.message = edit,
            OutputPart::Reasoning => self.reasoning = edit,
            OutputPart::ToolCall | OutputPart::Sound => {}
        }
    }
}
