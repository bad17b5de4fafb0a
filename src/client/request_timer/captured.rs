//! The output of an answer that is kept besides its times.

use std::ops::Range;
use std::time::Duration;

use super::{Capture, CaptureGaps, CaptureText};
use crate::client::protocol::parsed_event::{EventOutput, OutputPart};
use crate::client::request_timer::output_modes::OutputEdits;
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
    /// The part of the answer that the text of a repeated event belongs to.
    pub(super) template_part: OutputPart,
    /// Whether the stream's events are known to carry only new text of the message.
    is_message_plain: bool,
    /// Whether the stream's events are known to carry only new text of the reasoning.
    is_reasoning_plain: bool,
    /// Where the message and the reasoning are in the text.
    message: Range<usize>,
    reasoning: Range<usize>,
}

impl CapturedOutput {
    /// Creates an empty capture that collects only the parts selected by `keep`.
    pub(super) fn new(keep: Capture) -> Self {
        Self {
            gaps: (keep.gaps != CaptureGaps::Never).then(Vec::new),
            text: (keep.text != CaptureText::Never).then(String::new),
            until_usage: keep.text == CaptureText::UntilUsage,
            said: None,
            template_part: OutputPart::Message,
            is_message_plain: false,
            is_reasoning_plain: false,
            message: 0..0,
            reasoning: 0..0,
        }
    }

    /// Whether the events are known to carry only new text of a part.
    pub(super) fn is_plain(&self, part: OutputPart) -> bool {
        match part {
            OutputPart::Message => self.is_message_plain,
            OutputPart::Reasoning => self.is_reasoning_plain,
            OutputPart::ToolCall | OutputPart::Sound => true,
        }
    }

    /// Sets whether the events carry only new text of a part.
    pub(super) fn set_plain(&mut self, part: OutputPart, is_plain: bool) {
        match part {
            OutputPart::Message => self.is_message_plain = is_plain,
            OutputPart::Reasoning => self.is_reasoning_plain = is_plain,
            OutputPart::ToolCall | OutputPart::Sound => {}
        }
    }

    /// Keeps the text of an event that matches the template.
    pub(super) fn push_repeated_text(&mut self, text: &str) {
        if let Some(whole) = &mut self.text {
            append_bounded(whole, text);
        }
        if let Some(said) = self.said.as_mut().filter(|_| self.template_part == OutputPart::Message) {
            append_bounded(said, text);
        }
    }

    /// Applies an edit to the text of the message or the reasoning.
    pub(super) fn edit_part(&mut self, part: OutputPart, edit: &TextEdit, text: &str) {
        let (replaces, text) = match edit {
            TextEdit::Nothing => return,
            TextEdit::Add => (false, text),
            TextEdit::Replace => (true, text),
            TextEdit::Rewrite(all) => (true, &**all),
        };
        if let Some(said) = self.said.as_mut().filter(|_| part == OutputPart::Message) {
            if replaces {
                said.clear();
            }
            append_bounded(said, text);
        }
        match replaces {
            true => self.replace_part(part, text),
            false => self.append_to_part(part, text),
        }
    }

    fn append_to_part(&mut self, part: OutputPart, text: &str) {
        let Some(kept) = &mut self.text else { return };
        let span = if part == OutputPart::Message { &mut self.message } else { &mut self.reasoning };
        let start = kept.len();
        append_bounded(kept, text);
        if span.start == span.end {
            *span = start..kept.len();
        } else if span.end == start {
            span.end = kept.len();
        } else {
            // Text of another part is in between, so that this part could not be replaced any more.
            self.set_plain(part, true);
        }
    }

    fn replace_part(&mut self, part: OutputPart, text: &str) {
        let Some(kept) = self.text.as_mut().filter(|kept| kept.len() < MAX_CAPTURED_BYTES) else { return };
        let (span, other) = match part {
            OutputPart::Message => (&mut self.message, &mut self.reasoning),
            _ => (&mut self.reasoning, &mut self.message),
        };
        if span.start == span.end {
            *span = kept.len()..kept.len();
        }
        kept.replace_range(span.clone(), text);
        let end = span.start + text.len();
        if other.start >= span.end {
            *other = other.start - span.end + end..other.end - span.end + end;
        }
        span.end = end;
    }

    /// Keeps the output of an event.
    pub(super) fn apply(&mut self, edits: &OutputEdits, output: &EventOutput<'_>) {
        if self.text.is_none() && self.said.is_none() {
            return;
        }
        match *output {
            EventOutput::New(ref pieces) => {
                for piece in pieces.iter().filter(|piece| piece.part != OutputPart::Sound) {
                    let decoded = piece.text.decode();
                    match piece.part {
                        OutputPart::ToolCall => {
                            self.text.iter_mut().for_each(|text| append_bounded(text, &decoded));
                        }
                        part => self.edit_part(part, edits.of(part), &decoded),
                    }
                }
            }
            EventOutput::SoFar { text: Some(text), .. } => {
                self.edit_part(OutputPart::Message, edits.of(OutputPart::Message), &text.decode());
            }
            EventOutput::SoFar { text: None, .. } | EventOutput::Results(_) => {}
        }
    }
}

fn append_bounded(kept: &mut String, text: &str) {
    if kept.len() < MAX_CAPTURED_BYTES {
        kept.push_str(text);
    }
}
