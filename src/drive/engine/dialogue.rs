//! What was said in a session so far, in the form in which the next request repeats it.

use serde_json::{Value, json};

use crate::core::spec::History;
use crate::drive::workload::{Content, Request};

/// Between what was said before and what the user says next, where all is one text.
const PAUSE: &str = "\n\n";

/// What was said in a session so far.
pub struct Dialogue {
    history: History,
    said: Said,
}

enum Said {
    /// For endpoints that take messages.
    Messages(Vec<Value>),
    /// For endpoints that take a text: user and assistant by turns, one after the other.
    Text(String),
}

impl Dialogue {
    /// Nothing was said yet.
    pub fn new(history: History, in_messages: bool) -> Self {
        let said = if in_messages { Said::Messages(Vec::new()) } else { Said::Text(String::new()) };
        Self { history, said }
    }

    /// Whether the server's answers are needed.
    pub fn listens(&self) -> bool {
        self.history == History::Real
    }

    /// The user takes a turn: the request with everything before it.
    pub fn ask(&mut self, turn: &Request) -> Request {
        if self.history == History::None || turn.turn().is_none() {
            return turn.clone();
        }
        Request { content: self.said.with(&turn.content), ..turn.clone() }
    }

    /// The server answers to a turn.
    pub fn answer(&mut self, turn: &Request, answer: Option<&str>) {
        let planned = turn.turn().and_then(|turn| turn.answer.as_deref());
        match self.history {
            History::Real => self.said.answer(answer.unwrap_or_default()),
            History::Fixed => self.said.answer(planned.unwrap_or_default()),
            History::None => {}
        }
    }
}

impl Said {
    /// Adds what the user says, and gives all of it.
    fn with(&mut self, content: &Content) -> Content {
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
                    said.push_str(PAUSE);
                }
                said.push_str(text);
                Content::Text(said.as_str().into())
            }
            // What has no history is sent as it is.
            (_, other) => other.clone(),
        }
    }

    fn answer(&mut self, text: &str) {
        match self {
            Self::Messages(said) => said.push(json!({ "role": "assistant", "content": text })),
            Self::Text(said) => said.push_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::workload::Turn;

    fn turn(index: u32, text: &str, answer: &str) -> Request {
        let turn = Turn { index, of: 2, answer: Some(answer.into()), ..Turn::default() };
        Request::text(text, 1, 1).with(|own| own.turn = Some(turn))
    }

    /// The second request of a session whose first answer really was ` Hello!`.
    fn second(history: History, in_messages: bool) -> Content {
        let mut dialogue = Dialogue::new(history, in_messages);
        let first = turn(0, "Hi", " Good day.");
        let asked = dialogue.ask(&first);
        let messages: Content = Content::Messages([json!({ "role": "user", "content": "Hi" })].into());
        let alone = if in_messages && history != History::None { messages } else { first.content.clone() };
        assert_eq!(asked.content, alone);
        dialogue.answer(&first, dialogue.listens().then_some(" Hello!"));
        dialogue.ask(&turn(1, "Bye", "")).content
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
        assert_eq!(text(&second(History::Real, true)), "user:Hi|assistant: Hello!|user:Bye");
        assert_eq!(text(&second(History::Real, false)), "Hi Hello!\n\nBye");
    }

    #[test]
    fn a_fixed_history_is_the_datasets() {
        assert_eq!(text(&second(History::Fixed, true)), "user:Hi|assistant: Good day.|user:Bye");
        assert_eq!(text(&second(History::Fixed, false)), "Hi Good day.\n\nBye");
    }

    #[test]
    fn without_a_history_each_turn_is_by_itself() {
        assert_eq!(text(&second(History::None, true)), "Bye");
        assert_eq!(text(&second(History::None, false)), "Bye");
    }

    #[test]
    fn a_system_prompt_goes_first_and_stays() {
        let mut dialogue = Dialogue::new(History::Real, true);
        let opening =
            [json!({"role": "system", "content": "Be brief."}), json!({"role": "user", "content": "Hi"})];
        let first =
            Request::of(Content::Messages(opening.into()), 1, 1).with(|own| own.turn = Some(Turn::default()));
        dialogue.ask(&first);
        dialogue.answer(&first, Some("Yo"));
        let asked = dialogue.ask(&turn(1, "Bye", ""));
        assert_eq!(text(&asked.content), "system:Be brief.|user:Hi|assistant:Yo|user:Bye");
    }
}
