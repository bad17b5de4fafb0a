//! Which columns of a table hold prompts and answers: the names that datasets of prompts and chats usually have.

use std::fmt;

use serde_json::{Map, Value};

use super::hf::Exchange;

/// Columns of chats.
const CHATS: [&str; 3] = ["conversations", "conversation", "messages"];
/// A column of the texts of a user's turns.
const TURNS: &str = "turns";
/// Two columns that together are the prompt.
const CONTEXT: [&str; 2] = ["context", "input"];
/// Columns of prompts.
const PROMPTS: [&str; 7] = ["prompt", "question", "problem", "input", "text", "content", "instruction"];
/// Columns of answers.
const ANSWERS: [&str; 6] = ["completion", "response", "answer", "output", "solution", "answers"];
/// How many columns an error names.
const SHOWN: usize = 30;

/// Where prompts are looked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Columns<'a> {
    /// The one that the user names.
    pub text: Option<&'a str>,
}

/// No column holds prompts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    wanted: String,
    present: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} among the columns {}; --hf-text-column names the one with the prompts",
            self.wanted, self.present
        )
    }
}

impl Columns<'_> {
    /// Of all columns those that are of use.
    pub fn among(self, names: &[&str]) -> Result<Vec<String>, Missing> {
        let prompts: Vec<&str> = match self.text {
            Some(text) => vec![text],
            None => CHATS.into_iter().chain([TURNS, CONTEXT[0]]).chain(PROMPTS).collect(),
        };
        let present = |wanted: &[&str]| -> Vec<String> {
            names.iter().filter(|name| wanted.contains(name)).map(|name| (*name).to_owned()).collect()
        };
        let mut found = present(&prompts);
        if found.is_empty() || (self.text.is_none() && found == [CONTEXT[0]]) {
            return Err(self.missing(names.iter().copied()));
        }
        found.extend(present(&ANSWERS));
        Ok(found)
    }

    /// A row's prompt and answer; `None` where the column is there and holds no text.
    pub fn exchange(self, row: Map<String, Value>) -> Result<Option<Exchange>, Missing> {
        let answer = || ANSWERS.iter().find_map(|name| row.get(*name)).and_then(text);
        if let Some(name) = self.text {
            let cell = row.get(name).ok_or_else(|| self.missing(row.keys().map(String::as_str)))?;
            return Ok(chat(cell).or_else(|| plain(text(cell)?, answer())));
        }
        if let Some(cell) = CHATS.iter().find_map(|name| row.get(*name)) {
            return Ok(chat(cell));
        }
        if let Some(turns) = row.get(TURNS) {
            return Ok(text(turns).and_then(|first| plain(first, answer())));
        }
        if let [Some(context), Some(input)] = CONTEXT.map(|name| row.get(name)) {
            let together =
                text(context).zip(text(input)).map(|(context, input)| format!("{context}\n\n{input}"));
            return Ok(together.and_then(|prompt| plain(&prompt, answer())));
        }
        let cell = PROMPTS.iter().find_map(|name| row.get(*name));
        let cell = cell.ok_or_else(|| self.missing(row.keys().map(String::as_str)))?;
        Ok(text(cell).and_then(|prompt| plain(prompt, answer())))
    }

    fn missing<'n>(self, names: impl Iterator<Item = &'n str>) -> Missing {
        let wanted = match self.text {
            Some(text) => format!("no `{text}`"),
            None => "none of prompts".to_owned(),
        };
        Missing { wanted, present: names.take(SHOWN).collect::<Vec<_>>().join(", ") }
    }
}

fn plain(prompt: &str, answer: Option<&str>) -> Option<Exchange> {
    (!prompt.is_empty()).then(|| Exchange { prompt: prompt.into(), answer: answer.map(Into::into) })
}

/// A text, or the first of several: answers and turns often come as lists.
fn text(cell: &Value) -> Option<&str> {
    match cell {
        Value::String(text) => Some(text),
        Value::Array(several) => several.first()?.as_str(),
        _ => None,
    }
}

/// The first message of a user and the answer to it, in OpenAI's or in ShareGPT's words.
fn chat(cell: &Value) -> Option<Exchange> {
    let messages = cell.as_array()?;
    let said = |message: &Value, of: [&str; 3]| {
        let who = message.get("role").or_else(|| message.get("from"))?.as_str()?;
        of.contains(&who).then_some(())
    };
    let what = |message: &'_ Value| -> Option<String> {
        let content = message.get("content").or_else(|| message.get("value"))?;
        match content {
            Value::String(text) => Some(text.clone()),
            // Parts of a message: only its texts count here.
            Value::Array(parts) => Some(parts.iter().filter_map(|part| part.get("text")?.as_str()).collect()),
            _ => None,
        }
    };
    let asked = messages.iter().position(|message| said(message, ["user", "human", "prompter"]).is_some())?;
    let answer =
        messages[asked..].iter().find(|message| said(message, ["assistant", "gpt", "chatgpt"]).is_some());
    plain(&what(&messages[asked])?, answer.and_then(what).as_deref())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn exchange(text: Option<&str>, row: Value) -> Result<Option<(String, Option<String>)>, String> {
        let Value::Object(row) = row else { panic!("a row is an object") };
        let exchange = Columns { text }.exchange(row).map_err(|missing| missing.to_string())?;
        Ok(exchange.map(|it| (it.prompt.to_string(), it.answer.map(Into::into))))
    }

    fn found(row: Value) -> (String, Option<String>) {
        exchange(None, row.clone()).unwrap().unwrap_or_else(|| panic!("nothing in {row}"))
    }

    #[test]
    fn prompts_and_answers_are_found_under_the_usual_names() {
        let said = |prompt: &str, answer: Option<&str>| (prompt.to_owned(), answer.map(str::to_owned));
        for (row, expected) in [
            (json!({"id": 1, "prompt": "p", "completion": "c"}), said("p", Some("c"))),
            (json!({"question": "q", "answer": "a"}), said("q", Some("a"))),
            (json!({"instruction": "i", "output": "o"}), said("i", Some("o"))),
            (json!({"input": "i", "instruction": "x"}), said("i", None)),
            (json!({"context": "c", "input": "i", "answers": ["a", "b"]}), said("c\n\ni", Some("a"))),
            (json!({"turns": ["first", "second"]}), said("first", None)),
            (
                json!({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"},
                {"role": "assistant", "content": "a"}]}),
                said("u", Some("a")),
            ),
            (
                json!({"conversations": [{"from": "gpt", "value": "x"}, {"from": "human", "value": "h"},
                {"from": "gpt", "value": "g"}]}),
                said("h", Some("g")),
            ),
            (
                json!({"messages": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "u"}]}]}),
                said("u", None),
            ),
        ] {
            assert_eq!(found(row.clone()), expected, "{row}");
        }
    }

    #[test]
    fn a_named_column_wins() {
        let row = json!({"prompt": "p", "mine": "m", "answer": "a"});
        assert_eq!(exchange(Some("mine"), row).unwrap().unwrap().0, "m");
        let chat = json!({"mine": [{"role": "user", "content": "u"}]});
        assert_eq!(exchange(Some("mine"), chat).unwrap().unwrap().0, "u");
        assert_eq!(
            Columns { text: Some("mine") }.among(&["prompt", "mine", "answer"]).unwrap(),
            ["mine", "answer"]
        );
    }

    #[test]
    fn rows_without_a_text_are_none_and_tables_without_a_column_are_told() {
        for row in
            [json!({"prompt": null}), json!({"prompt": ""}), json!({"messages": []}), json!({"text": 5})]
        {
            assert_eq!(exchange(None, row.clone()), Ok(None), "{row}");
        }
        let error = exchange(None, json!({"a": 1, "b": 2})).unwrap_err();
        assert!(error.contains("columns a, b; --hf-text-column"), "{error}");
        let error = Columns { text: Some("x") }.among(&["a", "b"]).unwrap_err().to_string();
        assert!(error.contains("no `x` among the columns a, b"), "{error}");
    }
}
