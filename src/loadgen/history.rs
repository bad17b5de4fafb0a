//! The conversation of a session so far, in the form that the next request repeats.

use serde_json::{Value, json};

use crate::model::request::{Content, Request};
use crate::model::run_spec::HistoryMode;

/// Separates the earlier conversation from the next user message if all of it is one text.
const TURN_SEPARATOR: &str = "\n\n";

/// The conversation of a session so far.
pub(super) struct ConversationHistory {
    history: HistoryMode,
    content: HistoryContent,
}

enum HistoryContent {
    /// The conversation as messages, for endpoints that take messages.
    Messages(Vec<Value>),
    /// The conversation as one text, for endpoints that take text: the turns of user and assistant, concatenated in
    /// order.
    Text(String),
}

impl ConversationHistory {
    /// Creates an empty history.
    pub(super) fn new(history: HistoryMode, in_messages: bool) -> Self {
        let said = if in_messages {
            HistoryContent::Messages(Vec::new())
        } else {
            HistoryContent::Text(String::new())
        };
        Self { history, content: said }
    }

    /// Whether the history includes the server's answers.
    pub(super) fn needs_answers(&self) -> bool {
        self.history == HistoryMode::Real
    }

    /// Adds the user's turn and returns the request with everything before it.
    pub(super) fn next_request(&mut self, turn: &Request) -> Request {
        if self.history == HistoryMode::None || turn.turn().is_none() {
            return turn.clone();
        }
        Request { content: self.content.with_user_turn(&turn.content), ..turn.clone() }
    }

    /// Adds the server's answer to a turn.
    pub(super) fn record_answer(&mut self, turn: &Request, answer: Option<&str>) {
        let planned = turn.turn().and_then(|turn| turn.answer.as_deref());
        match self.history {
            HistoryMode::Real => self.content.push_answer(answer.unwrap_or_default()),
            HistoryMode::Fixed => self.content.push_answer(planned.unwrap_or_default()),
            HistoryMode::None => {}
        }
    }
}

impl HistoryContent {
    /// Adds the user's message and returns the whole conversation.
    fn with_user_turn(&mut self, content: &Content) -> Content {
        match (self, content) {
            (Self::Messages(said), Content::Text(text)) => {
                said.push(json!({ "role": "user", "content": **text }));
                Content::Messages(said.as_slice().into())
            }
            (Self::Messages(said), Content::Messages(messages)) => {
                said.extend(messages.iter().cloned());
                Content::Messages(said.as_slice().into())
            }
            (Self::Text(said), Content::Text(text)) => {
                if !said.is_empty() {
                    said.push_str(TURN_SEPARATOR);
                }
                said.push_str(text);
                Content::Text(said.as_str().into())
            }
            // Content that has no history is sent unchanged.
            (_, other) => other.clone(),
        }
    }

    fn push_answer(&mut self, text: &str) {
        match self {
            Self::Messages(said) => said.push(json!({ "role": "assistant", "content": text })),
            Self::Text(said) => said.push_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::request::Turn;

    fn turn(index: u32, text: &str, answer: &str) -> Request {
        let turn = Turn { index, of: 2, answer: Some(answer.into()), ..Turn::default() };
        Request::text(text, 1, 1).with(|own| own.turn = Some(turn))
    }

    /// The second request of a session whose first answer was ` Hello!`.
    fn second(history: HistoryMode, in_messages: bool) -> Content {
        let mut dialogue = ConversationHistory::new(history, in_messages);
        let first = turn(0, "Hi", " Good day.");
        let asked = dialogue.next_request(&first);
        let messages: Content = Content::Messages([json!({ "role": "user", "content": "Hi" })].into());
        let alone =
            if in_messages && history != HistoryMode::None { messages } else { first.content.clone() };
        assert_eq!(asked.content, alone);
        dialogue.record_answer(&first, dialogue.needs_answers().then_some(" Hello!"));
        dialogue.next_request(&turn(1, "Bye", "")).content
    }

    fn text(content: &Content) -> String {
        match content {
            Content::Messages(messages) => {
                let line = |message: &Value| {
                    format!("{}:{}", message["role"].as_str().unwrap(), message["content"].as_str().unwrap())
                };
                messages.iter().map(line).collect::<Vec<_>>().join("|")
            }
            other => other.as_text().unwrap().to_owned(),
        }
    }

    #[test]
    fn a_turn_repeats_what_was_really_answered() {
        assert_eq!(text(&second(HistoryMode::Real, true)), "user:Hi|assistant: Hello!|user:Bye");
        assert_eq!(text(&second(HistoryMode::Real, false)), "Hi Hello!\n\nBye");
    }

    #[test]
    fn a_fixed_history_is_the_datasets() {
        assert_eq!(text(&second(HistoryMode::Fixed, true)), "user:Hi|assistant: Good day.|user:Bye");
        assert_eq!(text(&second(HistoryMode::Fixed, false)), "Hi Good day.\n\nBye");
    }

    #[test]
    fn without_a_history_each_turn_is_by_itself() {
        assert_eq!(text(&second(HistoryMode::None, true)), "Bye");
        assert_eq!(text(&second(HistoryMode::None, false)), "Bye");
    }

    #[test]
    fn a_system_prompt_goes_first_and_stays() {
        let mut dialogue = ConversationHistory::new(HistoryMode::Real, true);
        let opening =
            [json!({"role": "system", "content": "Be brief."}), json!({"role": "user", "content": "Hi"})];
        let first =
            Request::of(Content::Messages(opening.into()), 1, 1).with(|own| own.turn = Some(Turn::default()));
        dialogue.next_request(&first);
        dialogue.record_answer(&first, Some("Yo"));
        let asked = dialogue.next_request(&turn(1, "Bye", ""));
        assert_eq!(text(&asked.content), "system:Be brief.|user:Hi|assistant:Yo|user:Bye");
    }
}
