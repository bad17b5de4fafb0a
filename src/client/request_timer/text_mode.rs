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

/// The length, in bytes, from which a single repeated text is not a coincidence either in a stream of two events. A text
/// of several words is as good.
const MIN_REPEATED_BYTES: usize = 12;

/// How often the mode of tool calls starts again with an event that does not repeat the one before: the arguments come
/// after the name, and one call after the other.
pub(super) const MAX_RESTARTS: u32 = 3;

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
        /// The length of the text that the last of these events repeated, in bytes.
        repeated: usize,
        /// How often the mode may start again.
        restarts: u32,
    },
    /// Each event carries only new text.
    Deltas,
    /// Each event carries the whole text so far.
    Whole {
        /// The text at the time of the detection.
        head: String,
        /// The length of the latest text, in bytes.
        length: usize,
        /// How often the mode may start again.
        restarts: u32,
    },
}

/// How an event changes the text that is kept.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TextEdit {
    /// The event adds nothing: its text is already kept.
    Nothing,
    /// The event's text is new.
    Add,
    /// The event's text is new, and no later text replaces the text before it.
    AddApart,
    /// The event's text replaces all kept text.
    Replace,
    /// This text replaces all kept text.
    Rewrite(String),
}

impl Default for TextMode {
    fn default() -> Self {
        Self::with_restarts(0)
    }
}

impl TextMode {
    /// Creates a mode that is not known yet, and that may start again this often.
    pub(super) fn with_restarts(restarts: u32) -> Self {
        Self::Open { last: String::new(), joined: String::new(), extensions: 0, repeated: 0, restarts }
    }

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
            Self::Whole { head, length, restarts } => match compare_whole(head, *length, text) {
                Some(grown) => {
                    *length += grown;
                    if grown > 0 { TextEdit::Replace } else { TextEdit::Nothing }
                }
                None => {
                    let restarts = *restarts;
                    self.start_again(restarts, text)
                }
            },
            // The first characters may be incomplete, and a blank begins nothing.
            Self::Open { last, extensions: 0, .. } if comparable(last).is_empty() => {
                text.clone_into(last);
                TextEdit::Add
            }
            Self::Open { last, extensions, repeated, restarts, .. } if extends(last, text) => {
                *extensions += 1;
                *repeated = last.len();
                text.clone_into(last);
                if *extensions < MIN_REPEATED_EVENTS {
                    return TextEdit::Add;
                }
                let whole = Self::whole(text, *restarts);
                self.decide(whole, TextEdit::Replace)
            }
            Self::Open { last, extensions, .. }
                if *extensions >= MIN_REPEATED_EVENTS_AT_END && comparable(text) == comparable(last) =>
            {
                TextEdit::Nothing
            }
            Self::Open { restarts, .. } => {
                let restarts = *restarts;
                self.start_again(restarts.saturating_sub(1), text)
            }
        }
    }

    /// Handles a text that repeats nothing: a new text begins, or the events carry only new text.
    fn start_again(&mut self, restarts: u32, text: &str) -> TextEdit {
        if restarts == 0 {
            return self.decide(Self::Deltas, TextEdit::Add);
        }
        let (joined, last) = (String::new(), text.to_owned());
        let open = Self::Open { last, joined, extensions: 0, repeated: 0, restarts };
        self.decide(open, TextEdit::AddApart)
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
                let whole = Self::whole("", 0);
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
        let Self::Open { last, extensions, repeated, restarts, .. } = self else { return None };
        let once = &last[..*repeated];
        let is_long = once.len() >= MIN_REPEATED_BYTES || once.split_whitespace().count() > 1;
        let is_whole = *extensions >= MIN_REPEATED_EVENTS_AT_END || *extensions == 1 && is_long;
        let text = is_whole.then(|| std::mem::take(last))?;
        *self = Self::whole(&text, *restarts);
        Some(text)
    }

    fn whole(text: &str, restarts: u32) -> Self {
        Self::Whole { head: text.to_owned(), length: text.len(), restarts }
    }

    fn decide(&mut self, growth: Self, edit: TextEdit) -> TextEdit {
        *self = growth;
        edit
    }
}

/// The part of a text that a later event repeats: blanks at its end may be trimmed, and an incomplete character at its
/// end (`U+FFFD`) becomes a complete one.
fn comparable(text: &str) -> &str {
    text.trim_end_matches(|char: char| char == char::REPLACEMENT_CHARACTER || char.is_whitespace())
}

/// By how many bytes a text is longer than the text of `length` bytes that began with `head`; `None` if it is not a
/// repetition of that text. A repetition may be trimmed, or end before a stop sequence.
fn compare_whole(head: &str, length: usize, text: &str) -> Option<usize> {
    if text.len() >= length && text.starts_with(comparable(head)) {
        return Some(text.len() - length);
    }
    let shorter = comparable(text);
    let is_prefix = shorter.starts_with(comparable(head)) || head.starts_with(shorter);
    (is_prefix && shorter.len() * 2 >= length).then_some(0)
}

/// Whether `longer` begins with `text` and is more than blanks or a single repeated character, which any model may
/// generate.
fn extends(text: &str, longer: &str) -> bool {
    let is_monotone = longer.chars().all(|char| longer.starts_with(char));
    let repeated = comparable(text);
    let has_grown = longer.len() > text.len() || comparable(longer).len() > repeated.len();
    has_grown && longer.starts_with(repeated) && !repeated.is_empty() && !is_monotone
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
                TextEdit::Add | TextEdit::AddApart => text.push_str(event),
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
        let cases: [(&[&str], &str, usize); 18] = [
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
            // The last event is trimmed, ends before a stop sequence, or repeats itself.
            (&["one", "one two", "one two three", "one two three\n", "one two three"], "one two three\n", 4),
            (&["one", "one two", "one two\n", "one two"], "one two\n", 3),
            (&["a b", "a b c", "a b c d", "a b c d END", "a b c d"], "a b c d END", 4),
            // The answer begins with a part of a character, or with a blank.
            (&["\u{FFFD}", "你", "你好", "你好，", "你好，世"], "你好，世", 5),
            (&["你", "你\u{FFFD}", "你好", "你好，世", "你好，世界"], "你好，世界", 5),
            (&["\n", "\none", "\none two", "\none two three"], "\none two three", 4),
            // Two events suffice if the first is long, and prove nothing else.
            (&["one two", "one two three four"], "one two three four", 2),
            (&["你好，世界", "你好，世界。"], "你好，世界。", 2),
            // A blank may begin a stream of deltas, too.
            (&["\n", "ha", "ha", " ha"], "\nhaha ha", 4),
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
