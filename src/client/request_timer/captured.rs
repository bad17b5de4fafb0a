//! The output of an answer that is kept besides its times.

use std::borrow::Cow;
use std::ops::Range;
use std::time::Duration;

use super::{Capture, CaptureGaps, CaptureText};
use crate::client::protocol::parsed_event::{EventOutput, OutputDelta, OutputPart};
use crate::client::protocol::small_list::SmallList;
use crate::client::request_timer::output_modes::{OutputEdits, REPEATABLE_PARTS};
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
    /// Whether the stream's events are known to carry only new text, by part.
    are_plain: [bool; REPEATABLE_PARTS.len()],
    /// Where the text of each part is, as far as a repetition replaces it.
    spans: [Range<usize>; REPEATABLE_PARTS.len()],
}

/// The place of a part among those that may be repeated.
fn index_of(part: OutputPart) -> Option<usize> {
    REPEATABLE_PARTS.iter().position(|repeatable| *repeatable == part)
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
            are_plain: Default::default(),
            spans: Default::default(),
        }
    }

    /// Whether the events are known to carry only new text of a part.
    pub(super) fn is_plain(&self, part: OutputPart) -> bool {
        index_of(part).is_none_or(|index| self.are_plain[index])
    }

    /// Sets whether the events carry only new text of a part.
    pub(super) fn set_plain(&mut self, part: OutputPart, is_plain: bool) {
        if let Some(index) = index_of(part) {
            self.are_plain[index] = is_plain;
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
            TextEdit::AddApart => {
                index_of(part).into_iter().for_each(|index| self.spans[index] = 0..0);
                (false, text)
            }
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
        let start = kept.len();
        append_bounded(kept, text);
        let Some(index) = index_of(part) else { return };
        let span = &mut self.spans[index];
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
        let Some(index) = index_of(part) else { return };
        let mut span = self.spans[index].clone();
        if span.start == span.end {
            span = kept.len()..kept.len();
        }
        kept.replace_range(span.clone(), text);
        let end = span.start + text.len();
        for other in self.spans.iter_mut().filter(|other| other.start >= span.end) {
            *other = other.start - span.end + end..other.end - span.end + end;
        }
        self.spans[index] = span.start..end;
    }

    /// Keeps the output of an event.
    pub(super) fn apply(&mut self, edits: &OutputEdits, output: &EventOutput<'_>) {
        if self.text.is_none() && self.said.is_none() {
            return;
        }
        match *output {
            EventOutput::New(ref pieces) => {
                let is_other = |part| !matches!(part, OutputPart::ToolCall | OutputPart::Sound);
                for piece in pieces.iter().filter(|piece| is_other(piece.part)) {
                    self.edit_part(piece.part, edits.of(piece.part), &piece.text.decode());
                }
                if let Some(text) = part_text(pieces, OutputPart::ToolCall) {
                    self.edit_part(OutputPart::ToolCall, edits.of(OutputPart::ToolCall), &text);
                }
            }
            EventOutput::SoFar { text: Some(text), .. } => {
                self.edit_part(OutputPart::Message, edits.of(OutputPart::Message), &text.decode());
            }
            EventOutput::SoFar { text: None, .. } | EventOutput::Results(_) => {}
        }
    }
}

/// The text of all pieces of a part in one event; `None` without any.
pub(super) fn part_text<'a>(pieces: &SmallList<OutputDelta<'a>>, part: OutputPart) -> Option<Cow<'a, str>> {
    let texts = pieces.iter().filter(|piece| piece.part == part).map(|piece| piece.text.decode());
    texts.reduce(|all, text| all + text)
}

fn append_bounded(kept: &mut String, text: &str) {
    if kept.len() < MAX_CAPTURED_BYTES {
        kept.push_str(text);
    }
}
