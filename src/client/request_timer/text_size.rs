//! The size of an answer's text, which the server's token count is compared with.

use super::TextSize;
use crate::client::protocol::parsed_event::{EventOutput, OutputPart};
use crate::client::request_timer::output_modes::OutputEdits;
use crate::client::request_timer::stream_state::{HotState, StreamState};
use crate::client::request_timer::text_mode::TextEdit;

impl HotState {
    /// Counts the bytes of a text that changes the output like this. A text that repeats all of its part counts twice,
    /// because another part may be about as long.
    pub(super) fn count_text(&mut self, edit: &TextEdit, bytes: usize) {
        let bytes = bytes as u64;
        match edit {
            TextEdit::Nothing => {}
            TextEdit::Add | TextEdit::AddApart => {
                self.text_bytes += bytes;
                self.last_text_bytes += bytes;
            }
            TextEdit::Replace | TextEdit::Rewrite(_) => self.text_bytes = self.text_bytes.max(2 * bytes),
        }
    }
}

impl StreamState {
    /// Counts the length of an event's text, or the event if it has none.
    pub(super) fn count_text(&mut self, edits: &OutputEdits, output: &EventOutput<'_>) {
        let before = self.hot.text_bytes;
        let last = std::mem::take(&mut self.hot.last_text_bytes);
        match *output {
            EventOutput::New(ref pieces) => {
                for piece in pieces.iter() {
                    self.cold.has_other_output |= piece.part == OutputPart::Sound;
                    self.hot.count_text(edits.of(piece.part), piece.text.length());
                }
            }
            EventOutput::SoFar { text: Some(text), .. } if !text.is_empty() => {
                self.hot.count_text(edits.of(OutputPart::Message), text.length());
            }
            EventOutput::SoFar { .. } | EventOutput::Results(_) => {}
        }
        if self.hot.text_bytes == before {
            self.cold.silent_events += 1;
            self.hot.last_text_bytes = last;
        }
    }

    /// The size of the answer's text; `None` if the text is not all of the output.
    pub(super) fn text_size(&self) -> Option<TextSize> {
        let size = TextSize { bytes: self.hot.text_bytes, silent_events: self.cold.silent_events };
        Some(size).filter(|_| !self.cold.has_other_output)
    }
}
