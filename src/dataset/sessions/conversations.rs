//! Files of vLLM's multi-turn script: a list of conversations, or a description to generate them from.

use std::io::BufRead as _;
use std::path::Path;

use rayon::prelude::*;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::{CONVERSATIONS, PreparedTurn, repeat_to_count};
use crate::dataset::read_options::{FileSummary, describe_rule};
use crate::dataset::sessions::generator;
use crate::dataset::source::DatasetSource;
use crate::dataset::{DatasetError, PrepareContext, PrepareProgress, PreparedWorkload, json_array};
use crate::model::dataset::{DropCounts, Provenance};
use crate::model::request::Content;
use crate::model::run_spec;
use crate::tokenizer::{TokenizeError, Tokenizer};

const RULE: &str =
    "messages of `user` and `assistant` by turns, `system` before the first one, none of them empty";

/// An entry of a list of conversations.
#[derive(Deserialize)]
#[serde(expecting = "an entry: an object with `messages`")]
struct ChatEntry {
    messages: Vec<Map<String, Value>>,
    /// Collects all other members. Without this field, serde would also accept an array in place of an object.
    #[serde(flatten)]
    _others: IgnoredAny,
}

/// Reads sessions from a file in file order, or generates them from a description.
pub(crate) fn prepare(
    path: &Path,
    all: bool,
    job: &PrepareContext<'_>,
) -> Result<PreparedWorkload, DatasetError> {
    let mut source = DatasetSource::open(path, CONVERSATIONS, job.read_options())?;
    let (name, limit) = (source.name.clone(), source.text_limit);
    let start = source.text.fill_buf().map_err(|error| DatasetError::unreadable(&name, error))?;
    let is_object = start.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    if is_object {
        return generator::prepare(source, path, all, job);
    }
    let job = if all {
        &PrepareContext {
            num_prompts: run_spec::WorkloadSpec::ALL + job.spare_count(),
            measured: run_spec::WorkloadSpec::ALL,
            ..*job
        }
    } else {
        job
    };
    let (mut kept, mut candidates, mut few_turns) = (Vec::new(), 0, 0);
    let FileSummary { digest, bad } = json_array::read(source, &mut |_, entry: ChatEntry| {
        let mut texts = entry.messages.iter().filter_map(|message| message.get("content")?.as_str());
        texts.try_for_each(|text| limit.check(text))?;
        candidates += 1;
        match turns(entry.messages) {
            Some(turns) if kept.len() < job.num_prompts => kept.push(turns),
            Some(_) => {}
            None => few_turns += 1,
        }
        Ok(())
    })?;
    candidates += bad.total();
    let dropped = DropCounts { few_user_turns: few_turns, malformed: bad, ..DropCounts::default() };
    if kept.is_empty() && job.num_prompts > 0 {
        let rule = describe_rule(RULE.into(), &dropped, CONVERSATIONS);
        return Err(DatasetError::Unusable { path: name, candidates, dropped: dropped.into(), rule });
    }
    let (requests, repeated) = repeat_to_count(count_tokens(kept, job)?, job)?;
    let provenance = Provenance {
        path: Some(name),
        sha256: Some(digest),
        candidates,
        dropped,
        repeated,
        ..Provenance::from_generator("conversations")
    };
    Ok(PreparedWorkload { requests, arrivals: None, provenance })
}

/// The user's message and the assistant's answer.
struct UserTurn {
    user: Vec<Map<String, Value>>,
    answer: String,
}

/// The turns of a conversation up to its last answer. Returns `None` if the messages are not a conversation.
fn turns(messages: Vec<Map<String, Value>>) -> Option<Vec<UserTurn>> {
    let mut turns = Vec::new();
    let mut user = Vec::new();
    for message in messages {
        let role = message.get("role")?.as_str()?;
        let asked = user.last().is_some_and(|last: &Map<String, Value>| last["role"] == "user");
        match role {
            "assistant" if asked => {
                let answer = message.get("content")?.as_str()?.to_owned();
                turns.push(UserTurn { user: std::mem::take(&mut user), answer });
            }
            "system" | "developer" if turns.is_empty() && user.is_empty() => user.push(message),
            "user" if !asked && has_content(message.get("content")?) => user.push(message),
            _ => return None,
        }
    }
    (!turns.is_empty()).then_some(turns)
}

fn has_content(content: &Value) -> bool {
    match content {
        Value::String(text) => !text.trim().is_empty(),
        Value::Array(parts) => !parts.is_empty(),
        _ => false,
    }
}

fn count_tokens(
    kept: Vec<Vec<UserTurn>>,
    job: &PrepareContext<'_>,
) -> Result<Vec<Vec<PreparedTurn>>, DatasetError> {
    let of = kept.len();
    let counted = kept
        .into_par_iter()
        .map(|turns| turns.into_iter().map(|turn| prepare_turn(turn, job.tokenizer)).collect())
        .collect::<Result<_, TokenizeError>>()?;
    (job.progress)(PrepareProgress::Tokenizing { done: of, of });
    Ok(counted)
}

fn prepare_turn(turn: UserTurn, tokenizer: &Tokenizer) -> Result<PreparedTurn, TokenizeError> {
    let UserTurn { user, answer } = turn;
    let texts = user.iter().filter_map(|message| message["content"].as_str());
    let tokens = texts.map(|text| tokenizer.count_plain(text)).sum::<Result<u32, _>>()?;
    let content = match (user.as_slice(), user.first().and_then(|message| message["content"].as_str())) {
        // Every endpoint accepts a plain text.
        ([_], Some(text)) => Content::Text(text.into()),
        _ => Content::Messages(user.into_iter().map(Value::Object).collect()),
    };
    let output = tokenizer.count_plain(&answer)?.max(1);
    Ok(PreparedTurn { content, tokens, output, answer: answer.into() })
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
