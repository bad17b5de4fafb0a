//! Detects whether the events of a stream carry only new text or the whole text so far.
//!
//! Each protocol specifies one of the two, and servers deviate from it: Triton with `accumulate_tokens` and some
//! gateways repeat the whole text with every event; SGLang with `--incremental-streaming-output` does not. The first
//! events show which one a server does.

/// The number of consecutive events that must each begin with the whole text of the previous one before the stream
/// counts as repeating. This many are not a coincidence.
const MIN_REPEATED_EVENTS: u32 = 3;

/// The same threshold for a stream that ends at this point: it needs fewer events.
const MIN_REPEATED_EVENTS_AT_END: u32 = 2;

/// How the text of a stream grows.
#[derive(Debug)]
pub(super) enum TextMode {
    /// The mode is not known yet.
    Open {
        /// The text of the last event.
        last: String,
        /// The texts of all events, joined.
        joined: String,
        /// The number of consecutive events that began with the whole text of the previous one.
        extensions: u32,
    },
    /// Each event carries only new text.
    Deltas,
    /// Each event carries the whole text so far.
    Whole {
        /// The text at the time of the detection.
        head: String,
        /// The length of the latest text, in bytes.
        length: usize,
    },
}

/// How an event changes the text that is kept.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TextEdit {
    /// The event adds nothing: its text is already kept.
    Nothing,
    /// The event's text is new.
    Add,
    /// The event's text replaces all kept text.
    Replace,
    /// This text replaces all kept text.
    Rewrite(String),
}

impl Default for TextMode {
    fn default() -> Self {
        Self::Open { last: String::new(), joined: String::new(), extensions: 0 }
    }
}

impl TextMode {
    pub(super) fn is_deltas(&self) -> bool {
        matches!(self, Self::Deltas)
    }

    pub(super) fn is_whole(&self) -> bool {
        matches!(self, Self::Whole { .. })
    }

    /// Handles the next non-empty text of a protocol whose events carry only new text.
    pub(super) fn next_delta(&mut self, text: &str) -> TextEdit {
        match self {
            Self::Deltas => TextEdit::Add,
            Self::Whole { head, length } => {
                let repeats = text.len() >= *length && text.starts_with(&**head);
                match text.len() - (*length).min(text.len()) {
                    0 if repeats => TextEdit::Nothing,
                    _ if repeats => {
                        *length = text.len();
                        TextEdit::Replace
                    }
                    _ => self.decide(Self::Deltas, TextEdit::Add),
                }
            }
            Self::Open { last, .. } if last.is_empty() => {
                last.push_str(text);
                TextEdit::Add
            }
            Self::Open { last, extensions, .. }
                if text == last && *extensions >= MIN_REPEATED_EVENTS_AT_END =>
            {
                TextEdit::Nothing
            }
            Self::Open { last, extensions, .. } if extends(last, text) => {
                *extensions += 1;
                text.clone_into(last);
                if *extensions < MIN_REPEATED_EVENTS {
                    return TextEdit::Add;
                }
                let whole = Self::whole(text);
                self.decide(whole, TextEdit::Replace)
            }
            Self::Open { .. } => self.decide(Self::Deltas, TextEdit::Add),
        }
    }

    /// Handles the next non-empty text of a protocol whose events carry the whole text so far.
    pub(super) fn next_whole(&mut self, text: &str) -> TextEdit {
        match self {
            Self::Deltas => TextEdit::Add,
            Self::Whole { .. } => TextEdit::Replace,
            Self::Open { last, joined, .. } if last.is_empty() || text == last => {
                text.clone_into(last);
                joined.push_str(text);
                TextEdit::Replace
            }
            Self::Open { last, .. } if text.starts_with(&**last) => {
                let whole = Self::whole("");
                self.decide(whole, TextEdit::Replace)
            }
            Self::Open { joined, .. } => {
                let joined = std::mem::take(joined) + text;
                self.decide(Self::Deltas, TextEdit::Rewrite(joined))
            }
        }
    }

    /// Ends the stream of a protocol whose events carry only new text. Returns the whole text if the events repeated it
    /// instead.
    pub(super) fn close(&mut self) -> Option<String> {
        let Self::Open { last, extensions, .. } = self else { return None };
        let text = (*extensions >= MIN_REPEATED_EVENTS_AT_END).then(|| std::mem::take(last))?;
        *self = Self::whole(&text);
        Some(text)
    }

    fn whole(text: &str) -> Self {
        Self::Whole { head: text.to_owned(), length: text.len() }
    }

    fn decide(&mut self, growth: Self, edit: TextEdit) -> TextEdit {
        *self = growth;
        edit
    }
}

/// Whether `longer` begins with `text` and is more than blanks or a single repeated character, which any model may
/// generate.
fn extends(text: &str, longer: &str) -> bool {
    let is_monotone = longer.chars().all(|char| longer.starts_with(char));
    longer.len() > text.len() && longer.starts_with(text) && !text.trim().is_empty() && !is_monotone
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text that is kept of a stream, and the number of events that add to it.
    fn kept(next: fn(&mut TextMode, &str) -> TextEdit, events: &[&str]) -> (String, usize) {
        let mut growth = TextMode::default();
        let mut text = String::new();
        let mut count = 0;
        for event in events {
            let edit = next(&mut growth, event);
            count += usize::from(edit != TextEdit::Nothing);
            match edit {
                TextEdit::Nothing => {}
                TextEdit::Add => text.push_str(event),
                TextEdit::Replace => text = (*event).to_owned(),
                TextEdit::Rewrite(all) => text = all,
            }
        }
        let whole = growth.close().filter(|_| {
            std::ptr::fn_addr_eq(next, TextMode::next_delta as fn(&mut TextMode, &str) -> TextEdit)
        });
        (whole.unwrap_or(text), count)
    }

    #[test]
    fn a_stream_that_repeats_itself_is_known_by_its_first_events() {
        let cases: [(&[&str], &str, usize); 9] = [
            (&["one", "one two", "one two three", "one two three four"], "one two three four", 4),
            (&["one", "one two", "one two three"], "one two three", 3),
            (&["a", "ab", "abc", "abcd", "abcd", "abcde"], "abcde", 5),
            (&["a", "ab", "abc", "abc"], "abc", 3),
            // This stream ends too early for a decision.
            (&["one", "one two"], "oneone two", 2),
            (&["one", " two", " three"], "one two three", 3),
            (&["ha", "ha", "ha", "haha"], "hahahahaha", 4),
            (&["-", "--", "---", "----"], "----------", 4),
            (&["a", "ab", "abc", "abcd", " e", " f"], "abcd e f", 6),
        ];
        for (events, text, count) in cases {
            assert_eq!(kept(TextMode::next_delta, events), (text.to_owned(), count), "{events:?}");
        }
    }

    #[test]
    fn a_stream_that_ceases_to_repeat_itself_is_known_by_its_second_text() {
        let cases: [(&[&str], &str); 5] = [
            (&["I", " am", " Qwen", "."], "I am Qwen."),
            (&["ha", "ha", " ha"], "haha ha"),
            (&["I", "I am", "I am Qwen."], "I am Qwen."),
            (&["I", "I", "I am"], "I am"),
            (&["I"], "I"),
        ];
        for (events, text) in cases {
            assert_eq!(kept(TextMode::next_whole, events).0, text, "{events:?}");
        }
    }
}
