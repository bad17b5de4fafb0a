//! Selects the columns of a table that hold prompts and answers, by the names that prompt and chat datasets usually
//! use.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::error::Missing;

/// Names of columns that hold chats.
const CHATS: [&str; 3] = ["conversations", "conversation", "messages"];
/// Name of the column that holds the texts of a user's turns.
const TURNS: &str = "turns";
/// Names of two columns that together form the prompt.
const CONTEXT: [&str; 2] = ["context", "input"];
/// Names of columns that hold prompts.
const PROMPTS: [&str; 7] = ["prompt", "question", "problem", "input", "text", "content", "instruction"];
/// Names of columns that hold answers.
const ANSWERS: [&str; 6] = ["completion", "response", "answer", "output", "solution", "answers"];
/// Maximum number of columns that an error names.
const MAX_NAMED_COLUMNS: usize = 30;

/// Which columns to read prompts from.
#[derive(Debug, Clone, Copy)]
pub(super) struct PromptColumns<'a> {
    /// The column that the user names.
    pub text: Option<&'a str>,
}

/// A prompt, and its answer if there is one.
pub(super) struct Exchange {
    pub prompt: Arc<str>,
    pub answer: Option<Box<str>>,
}

impl PromptColumns<'_> {
    /// Selects the usable columns from the names of all columns.
    pub(super) fn select(self, names: &[&str]) -> Result<Vec<String>, Missing> {
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

    /// Extracts the prompt and answer of a row. Returns `None` if the column exists but holds no text.
    pub(super) fn prompt_answer(self, row: Map<String, Value>) -> Result<Option<Exchange>, Missing> {
        let answer = || ANSWERS.iter().find_map(|name| row.get(*name)).and_then(text);
        if let Some(name) = self.text {
            let cell = row.get(name).ok_or_else(|| self.missing(row.keys().map(String::as_str)))?;
            return Ok(from_chat(cell).or_else(|| from_texts(text(cell)?, answer())));
        }
        if let Some(cell) = CHATS.iter().find_map(|name| row.get(*name)) {
            return Ok(from_chat(cell));
        }
        if let Some(turns) = row.get(TURNS) {
            return Ok(text(turns).and_then(|first| from_texts(first, answer())));
        }
        if let [Some(context), Some(input)] = CONTEXT.map(|name| row.get(name)) {
            let together =
                text(context).zip(text(input)).map(|(context, input)| format!("{context}\n\n{input}"));
            return Ok(together.and_then(|prompt| from_texts(&prompt, answer())));
        }
        let cell = PROMPTS.iter().find_map(|name| row.get(*name));
        let cell = cell.ok_or_else(|| self.missing(row.keys().map(String::as_str)))?;
        Ok(text(cell).and_then(|prompt| from_texts(prompt, answer())))
    }

    fn missing<'n>(self, names: impl Iterator<Item = &'n str>) -> Missing {
        let wanted = match self.text {
            Some(text) => format!("no `{text}`"),
            None => "no column with prompts".to_owned(),
        };
        Missing { wanted, present: names.take(MAX_NAMED_COLUMNS).collect::<Vec<_>>().join(", ") }
    }
}

fn from_texts(prompt: &str, answer: Option<&str>) -> Option<Exchange> {
    (!prompt.is_empty()).then(|| Exchange { prompt: prompt.into(), answer: answer.map(Into::into) })
}

/// Returns a text, or the first text of a list. Answers and turns are often lists.
fn text(cell: &Value) -> Option<&str> {
    match cell {
        Value::String(text) => Some(text),
        Value::Array(several) => several.first()?.as_str(),
        _ => None,
    }
}

/// Returns the first user message and its answer, in OpenAI's or in ShareGPT's format.
fn from_chat(cell: &Value) -> Option<Exchange> {
    let messages = cell.as_array()?;
    let said = |message: &Value, of: [&str; 3]| {
        let who = message.get("role").or_else(|| message.get("from"))?.as_str()?;
        of.contains(&who).then_some(())
    };
    let what = |message: &'_ Value| -> Option<String> {
        let content = message.get("content").or_else(|| message.get("value"))?;
        match content {
            Value::String(text) => Some(text.clone()),
            // Only the text parts of a message count here.
            Value::Array(parts) => Some(parts.iter().filter_map(|part| part.get("text")?.as_str()).collect()),
            _ => None,
        }
    };
    let asked = messages.iter().position(|message| said(message, ["user", "human", "prompter"]).is_some())?;
    let answer =
        messages[asked..].iter().find(|message| said(message, ["assistant", "gpt", "chatgpt"]).is_some());
    from_texts(&what(&messages[asked])?, answer.and_then(what).as_deref())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn exchange(text: Option<&str>, row: Value) -> Result<Option<(String, Option<String>)>, String> {
        let Value::Object(row) = row else { panic!("a row is an object") };
        let exchange = PromptColumns { text }.prompt_answer(row).map_err(|missing| missing.to_string())?;
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
            PromptColumns { text: Some("mine") }.select(&["prompt", "mine", "answer"]).unwrap(),
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
        assert!(error.contains("columns a, b; `hf.text_column`"), "{error}");
        let error = PromptColumns { text: Some("x") }.select(&["a", "b"]).unwrap_err().to_string();
        assert!(error.contains("no `x` among the columns a, b"), "{error}");
    }
}
