//! Extracts text of any shape: a string, a list of parts, or an object with the text in one of its fields.
//!
//! The shapes are those of Mistral (`[{"type":"thinking","thinking":[{"type":"text",…}]}]`), Databricks
//! (`{"type":"reasoning", "summary":[…]}`), OpenRouter (`{"type":"reasoning.text","text":…}`) and OpenAI's own content
//! parts.

use super::object::object;
use super::text::Text;
use crate::client::protocol::parsed_event::{EventOutput, OutputDelta, OutputPart};
use crate::client::protocol::small_list::SmallList;

/// The deepest nesting of parts that is read.
const MAX_DEPTH: u32 = 8;

/// The pieces of one event, in order.
#[derive(Debug, Default)]
pub(crate) struct OutputDeltas<'a>(SmallList<OutputDelta<'a>>);

object! {
    /// A part of a content, or an object that holds a text.
    struct TextPart<'a> {
        kind: Option<Text<'a>> = "type",
        text: Option<Text<'a>> = "text",
        /// The text itself in OpenAI's assistants API, where `text` is an object with it.
        value: Option<Text<'a>> = "value",
        thinking: Option<Text<'a>> = "thinking",
        reasoning: Option<Text<'a>> = "reasoning",
        content: Option<Text<'a>> = "content",
        /// Gemini's list of parts.
        parts: Option<Text<'a>> = "parts",
        summary: Option<Text<'a>> = "summary",
        refusal: Option<Text<'a>> = "refusal",
        transcript: Option<Text<'a>> = "transcript",
    }
}

impl<'a> OutputDeltas<'a> {
    /// Adds the pieces of a text. Returns whether there were any.
    pub(crate) fn add(&mut self, text: Option<Text<'a>>, part: OutputPart) -> bool {
        text.is_some_and(|text| self.spread(text, part, MAX_DEPTH))
    }

    /// Adds the first text that has any pieces: the texts are the same under several names.
    pub(crate) fn add_first(
        &mut self,
        texts: impl IntoIterator<Item = Option<Text<'a>>>,
        part: OutputPart,
    ) -> bool {
        texts.into_iter().any(|text| self.add(text, part))
    }

    /// Adds the name or the arguments of a tool call. The value may be an object or any other JSON, which is kept as it
    /// is.
    pub(crate) fn add_raw(&mut self, text: Option<Text<'a>>, part: OutputPart) -> bool {
        let piece = text.filter(|text| !text.is_empty()).map(|text| OutputDelta { text, part });
        piece.map(|piece| self.0.push(piece)).is_some()
    }

    /// The number of pieces.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The output of the event.
    pub(crate) fn output(self) -> EventOutput<'a> {
        EventOutput::New(self.0)
    }

    fn spread(&mut self, text: Text<'a>, part: OutputPart, depth: u32) -> bool {
        match text.json().as_bytes().first() {
            Some(b'[' | b'{') if depth == 0 => false,
            Some(b'[') => {
                let parts: SmallList<Text<'a>> = serde_json::from_str(text.json()).unwrap_or_default();
                parts.iter().filter(|inner| self.spread(**inner, part, depth - 1)).count() > 0
            }
            Some(b'{') => {
                let inner: TextPart<'a> = serde_json::from_str(text.json()).unwrap_or_default();
                self.spread_part(&inner, part, depth - 1)
            }
            // Numbers and booleans are not texts.
            Some(b'"') if !text.is_empty() => {
                self.0.push(OutputDelta { text, part });
                true
            }
            _ => false,
        }
    }

    fn spread_part(&mut self, inner: &TextPart<'a>, part: OutputPart, depth: u32) -> bool {
        let kind = inner.kind.map(Text::decode).unwrap_or_default();
        let is_reasoning = ["reasoning", "thinking", "thought"].iter().any(|word| kind.starts_with(word));
        let part = if is_reasoning { OutputPart::Reasoning } else { part };
        let fields = [
            (inner.thinking, OutputPart::Reasoning),
            (inner.reasoning, OutputPart::Reasoning),
            (inner.text, part),
            (inner.value, part),
            (inner.content, part),
            (inner.parts, part),
            (inner.summary, part),
            (inner.refusal, part),
            (inner.transcript, part),
        ];
        let texts = fields.into_iter().filter_map(|(text, part)| Some((text?, part)));
        texts.filter(|(text, part)| self.spread(*text, *part, depth)).count() > 0
    }
}
