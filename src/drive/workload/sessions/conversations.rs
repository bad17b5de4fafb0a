//! Files of vLLM's multi-turn script: a list of conversations, or a description to make them from.

use std::io::BufRead as _;
use std::path::Path;

use rayon::prelude::*;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Exchange, enough, generate};
use crate::core::dataset::{Drops, Provenance};
use crate::core::spec;
use crate::drive::tokenizer::{TokenizeError, Tokenizer};
use crate::drive::workload::source::Source;
use crate::drive::workload::{Content, Format, Job, Progress, Workload, WorkloadError, entries};

/// Either kind of file.
pub(super) const CONVERSATIONS: &Format = &Format {
    name: "file of conversations",
    shape: r#"[{"id": "…", "messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}, …], or {"filetype": "generate_conversations", …}"#,
    flag: "--input-file",
};

const RULE: &str =
    "messages of `user` and `assistant` by turns, `system` before the first one, none of them empty";

/// An entry of a list.
#[derive(Deserialize)]
struct Entry {
    messages: Vec<Map<String, Value>>,
}

/// Reads sessions from a file in their order, or makes them as it says.
pub fn prepare(path: &Path, all: bool, job: &Job<'_>) -> Result<Workload, WorkloadError> {
    let mut source = Source::open(path, CONVERSATIONS, job.progress)?;
    let name = source.name.clone();
    let start = source.text.fill_buf().map_err(|error| WorkloadError::unreadable(&name, error))?;
    let is_object = start.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    if is_object {
        return generate::prepare(source, path, all, job);
    }
    let job = if all {
        &Job { num_prompts: spec::Workload::ALL + job.spare(), measured: spec::Workload::ALL, ..*job }
    } else {
        job
    };
    let (mut kept, mut candidates, mut few_turns) = (Vec::new(), 0, 0);
    let digest = entries::read(source, &mut |entry: Entry| {
        candidates += 1;
        match turns(entry.messages) {
            Some(turns) if kept.len() < job.num_prompts => kept.push(turns),
            Some(_) => {}
            None => few_turns += 1,
        }
        Ok(())
    })?;
    if kept.is_empty() && job.num_prompts > 0 {
        return Err(WorkloadError::NoSessions { path: name, candidates, rule: RULE });
    }
    let (requests, repeated) = enough(count(kept, job)?, job);
    let provenance = Provenance {
        dataset: "conversations".into(),
        path: Some(name),
        sha256: Some(digest),
        candidates,
        dropped: Drops { few_turns, ..Drops::default() },
        repeated,
        inexact: 0,
    };
    Ok(Workload { requests, arrivals: None, provenance })
}

/// What the user's side says, and the assistant's answer.
struct Turn {
    user: Vec<Map<String, Value>>,
    answer: String,
}

/// The turns of a conversation, without what follows the last answer; `None` if it is not one.
fn turns(messages: Vec<Map<String, Value>>) -> Option<Vec<Turn>> {
    let mut turns = Vec::new();
    let mut user = Vec::new();
    for message in messages {
        let role = message.get("role")?.as_str()?;
        let asked = user.last().is_some_and(|last: &Map<String, Value>| last["role"] == "user");
        match role {
            "assistant" if asked => {
                let answer = message.get("content")?.as_str()?.to_owned();
                turns.push(Turn { user: std::mem::take(&mut user), answer });
            }
            "system" | "developer" if turns.is_empty() && user.is_empty() => user.push(message),
            "user" if !asked && is_said(message.get("content")?) => user.push(message),
            _ => return None,
        }
    }
    (!turns.is_empty()).then_some(turns)
}

fn is_said(content: &Value) -> bool {
    match content {
        Value::String(text) => !text.trim().is_empty(),
        Value::Array(parts) => !parts.is_empty(),
        _ => false,
    }
}

fn count(kept: Vec<Vec<Turn>>, job: &Job<'_>) -> Result<Vec<Vec<Exchange>>, WorkloadError> {
    let of = kept.len();
    let counted = kept
        .into_par_iter()
        .map(|turns| turns.into_iter().map(|turn| exchange(turn, job.tokenizer)).collect())
        .collect::<Result<_, TokenizeError>>()?;
    (job.progress)(Progress::Tokenizing { done: of, of });
    Ok(counted)
}

fn exchange(turn: Turn, tokenizer: &Tokenizer) -> Result<Exchange, TokenizeError> {
    let Turn { user, answer } = turn;
    let texts = user.iter().filter_map(|message| message["content"].as_str());
    let tokens = texts.map(|text| tokenizer.count_plain(text)).sum::<Result<u32, _>>()?;
    let content = match (user.as_slice(), user.first().and_then(|message| message["content"].as_str())) {
        // A text is what every endpoint takes.
        ([_], Some(text)) => Content::Text(text.into()),
        _ => Content::Messages(user.into_iter().map(Value::Object).collect()),
    };
    let output = tokenizer.count_plain(&answer)?.max(1);
    Ok(Exchange { content, tokens, output, answer: answer.into() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(roles: &[&str]) -> Option<Vec<(usize, String)>> {
        let message = |(index, role): (usize, &&str)| {
            let message = json!({ "role": role, "content": format!("m{index}") });
            message.as_object().unwrap().clone()
        };
        let turns = turns(roles.iter().enumerate().map(message).collect())?;
        Some(turns.into_iter().map(|turn| (turn.user.len(), turn.answer)).collect())
    }

    #[test]
    fn users_and_assistants_take_turns() {
        let turns = |turns: &[(usize, &str)]| {
            Some(turns.iter().map(|(count, answer)| (*count, (*answer).to_owned())).collect::<Vec<_>>())
        };
        assert_eq!(read(&["user", "assistant", "user", "assistant"]), turns(&[(1, "m1"), (1, "m3")]));
        assert_eq!(read(&["system", "user", "assistant", "user"]), turns(&[(2, "m2")]));
        for odd in [
            &["assistant"][..],
            &["user"],
            &["user", "user", "assistant"],
            &["user", "assistant", "assistant"],
            &["user", "assistant", "system", "user", "assistant"],
            &["tool", "user", "assistant"],
        ] {
            assert_eq!(read(odd), None, "{odd:?}");
        }
    }
}
