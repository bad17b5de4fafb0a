//! The output of an answer that is kept besides its times.

use std::time::Duration;

use super::{Capture, CaptureGaps, CaptureText};
use crate::client::protocol::parsed_event::{EventOutput, OutputPart};
use crate::client::request_timer::text_mode::TextEdit;

/// The length limit of an answer's kept text, in bytes: over a million tokens. A stream may not end, so text after the
/// limit is dropped.
pub(crate) const MAX_CAPTURED_BYTES: usize = 8 << 20;

/// The output of an answer that is kept besides its times.
#[derive(Debug)]
pub(super) struct CapturedOutput {
    pub(super) gaps: Option<Vec<Duration>>,
    pub(super) text: Option<String>,
    /// Whether the text only serves to count tokens, and is dropped once the server reports a count.
    pub(super) until_usage: bool,
    /// The text that is visible to the user; `None` if it is not needed.
    pub(super) said: Option<String>,
    /// Whether the text of a repeated event is visible to the user.
    pub(super) is_said: bool,
    /// Whether the stream's events are known to carry only new text.
    pub(super) is_plain: bool,
    /// The offset of the message in the text.
    message: Option<usize>,
}

impl CapturedOutput {
    /// Creates an empty state for the requested parts.
    pub(super) fn new(keep: Capture) -> Self {
        Self {
            gaps: (keep.gaps != CaptureGaps::Never).then(Vec::new),
            text: (keep.text != CaptureText::Never).then(String::new),
            until_usage: keep.text == CaptureText::UntilUsage,
            said: None,
            is_said: false,
            is_plain: false,
            message: None,
        }
    }

    /// Marks the start of the message, unless it is already marked.
    pub(super) fn mark_message(&mut self) {
        self.message.get_or_insert(self.text.as_ref().map_or(0, String::len));
    }

    /// Keeps the text of an event that matches the template.
    pub(super) fn push_repeated_text(&mut self, text: &str) {
        if let Some(whole) = &mut self.text {
            append_bounded(whole, text);
        }
        if let Some(said) = self.said.as_mut().filter(|_| self.is_said) {
            append_bounded(said, text);
        }
    }

    /// Applies an edit to the text of the message.
    pub(super) fn edit_message(&mut self, edit: TextEdit, text: &str) {
        let (keeps, text) = match &edit {
            TextEdit::Nothing => return,
            TextEdit::Add => (true, text),
            TextEdit::Replace => (false, text),
            TextEdit::Rewrite(all) => (false, &**all),
        };
        let starts = [(&mut self.text, self.message.unwrap_or_default()), (&mut self.said, 0)];
        for (kept, start) in starts {
            let Some(kept) = kept else { continue };
            if !keeps {
                kept.truncate(start);
            }
            append_bounded(kept, text);
        }
    }

    /// Keeps the output of an event.
    pub(super) fn apply(&mut self, edit: TextEdit, output: &EventOutput<'_>) {
        if edit == TextEdit::Nothing || (self.text.is_none() && self.said.is_none()) {
            return;
        }
        match *output {
            EventOutput::New(ref pieces) if edit != TextEdit::Add => {
                pieces.iter().for_each(|piece| self.edit_message(TextEdit::Replace, &piece.text.decode()));
            }
            EventOutput::New(ref pieces) => {
                for piece in pieces.iter().filter(|piece| piece.part != OutputPart::Sound) {
                    let decoded = piece.text.decode();
                    self.text.iter_mut().for_each(|text| append_bounded(text, &decoded));
                    self.said
                        .iter_mut()
                        .filter(|_| piece.is_visible())
                        .for_each(|said| append_bounded(said, &decoded));
                }
            }
            EventOutput::SoFar { text: Some(text), .. } => self.edit_message(edit, &text.decode()),
            EventOutput::SoFar { text: None, .. } | EventOutput::Results(_) => {}
        }
    }
}

fn append_bounded(kept: &mut String, text: &str) {
    if kept.len() < MAX_CAPTURED_BYTES {
        kept.push_str(text);
    }
}
