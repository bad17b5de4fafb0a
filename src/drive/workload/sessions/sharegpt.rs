//! All turns of ShareGPT conversations: what people said, and what they were answered.

use std::collections::BTreeMap;
use std::path::Path;

use rand::Rng as _;
use rand::seq::IndexedRandom as _;
use rayon::prelude::*;
use serde::Deserialize;

use super::{Exchange, session, turn_count};
use crate::core::dataset::{Drops, Provenance};
use crate::core::spec::TurnCount;
use crate::drive::tokenizer::{TokenizeError, Tokenizer};
use crate::drive::workload::stream::Stream;
use crate::drive::workload::{
    Content, Job, Progress, Request, Workload, WorkloadError, conversations, entries,
};

/// Names of the user's side, as files have them.
const USERS: [&str; 2] = ["human", "user"];
/// Names of the model's side.
const MODELS: [&str; 5] = ["gpt", "chatgpt", "assistant", "bard", "bing"];

const RULE: &str = "two turns or more of `human` and `gpt`, one after the other, none of them empty";

/// An entry of the file.
#[derive(Deserialize)]
struct Entry {
    conversations: Vec<Message>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    from: String,
    value: String,
}

/// A question and its answer.
type Pair = (String, String);

/// Draws sessions from a file; without a path, from the bundled conversations.
pub fn prepare(
    path: Option<&Path>,
    output_len: Option<u32>,
    turns: Option<TurnCount>,
    job: &Job<'_>,
) -> Result<Workload, WorkloadError> {
    let source = conversations::open(path, job.progress)?;
    let name = source.name.clone();
    let mut order = Stream::Shuffle.rng(job.seed);
    let mut lengths = Stream::Turns.rng(job.seed);
    let mut kept = BTreeMap::<_, Vec<Pair>>::new();
    let (mut candidates, mut few_turns) = (0, 0);
    let digest = entries::read(source, &mut |entry: Entry| {
        candidates += 1;
        // Every conversation draws, so that the order does not depend on which are used.
        let place = (order.next_u64(), candidates);
        let most = turns.map_or(usize::MAX, |turns| turn_count(turns, &mut lengths));
        let mut pairs = pairs(entry.conversations);
        if pairs.len() < turns.map_or(2, |turns| turns.min.max(2) as usize) {
            few_turns += 1;
            return Ok(());
        }
        pairs.truncate(most);
        kept.insert(place, pairs);
        if kept.len() > job.num_prompts {
            kept.pop_last();
        }
        Ok(())
    })?;
    if kept.is_empty() && job.num_prompts > 0 {
        return Err(WorkloadError::NoSessions { path: name, candidates, rule: RULE });
    }
    let (requests, repeated) = sessions(kept.into_values().collect(), output_len, job)?;
    let provenance = Provenance {
        dataset: "sharegpt_turns".into(),
        path: Some(name),
        sha256: Some(digest),
        candidates,
        dropped: Drops { few_turns, ..Drops::default() },
        repeated,
        inexact: 0,
    };
    Ok(Workload { requests, arrivals: None, provenance })
}

/// Questions with their answers, from the first one on, until something else than the other side comes.
fn pairs(messages: Vec<Message>) -> Vec<Pair> {
    let is = |message: &Message, names: &[&str]| names.contains(&message.from.as_str());
    let mut messages = messages.into_iter().skip_while(|message| !is(message, &USERS));
    let mut pairs = Vec::new();
    while let (Some(question), Some(answer)) = (messages.next(), messages.next()) {
        let said = |text: &str| !text.trim().is_empty();
        if !is(&question, &USERS) || !is(&answer, &MODELS) || !said(&question.value) || !said(&answer.value) {
            break;
        }
        pairs.push((question.value, answer.value));
    }
    pairs
}

/// Counts, and repeats sessions where there are too few; the second number is how many requests that adds.
fn sessions(
    kept: Vec<Vec<Pair>>,
    output_len: Option<u32>,
    job: &Job<'_>,
) -> Result<(Vec<Request>, usize), WorkloadError> {
    let counted: Vec<Vec<Exchange>> = kept
        .into_par_iter()
        .map(|pairs| {
            pairs
                .into_iter()
                .zip(0..)
                .map(|(pair, turn)| count(pair, turn, output_len, job.tokenizer))
                .collect()
        })
        .collect::<Result<_, TokenizeError>>()?;
    (job.progress)(Progress::Tokenizing { done: counted.len(), of: job.num_prompts });
    let mut rng = Stream::Repeat.rng(job.seed);
    let missing = job.num_prompts.saturating_sub(counted.len());
    let again: Vec<Vec<Exchange>> = (0..missing).filter_map(|_| counted.choose(&mut rng).cloned()).collect();
    let repeated = again.iter().map(Vec::len).sum();
    Ok((counted.into_iter().chain(again).flat_map(session).collect(), repeated))
}

fn count(
    (question, answer): Pair,
    turn: u32,
    output_len: Option<u32>,
    tokenizer: &Tokenizer,
) -> Result<Exchange, TokenizeError> {
    // Only the beginning of a prompt gets what a tokenizer puts before it.
    let tokens = if turn == 0 { tokenizer.count(&question)? } else { tokenizer.count_plain(&question)? };
    let output = output_len.map_or_else(|| tokenizer.count_plain(&answer), Ok)?.max(1);
    Ok(Exchange { content: Content::Text(question.into()), tokens, output, answer: answer.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(turns: &[(&str, &str)]) -> Vec<(String, String)> {
        let message = |(from, value): &(&str, &str)| Message { from: (*from).into(), value: (*value).into() };
        pairs(turns.iter().map(message).collect())
    }

    #[test]
    fn questions_go_with_the_answers_that_follow_them() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        let whole =
            [("gpt", "before"), ("human", "a"), ("gpt", "b"), ("human", "c"), ("gpt", "d"), ("human", "e")];
        assert_eq!(said(&whole), [pair("a", "b"), pair("c", "d")]);
        assert_eq!(said(&[("human", "a"), ("gpt", "b"), ("human", "c"), ("human", "d")]), [pair("a", "b")]);
        assert_eq!(said(&[("human", "a"), ("gpt", "b"), ("human", " "), ("gpt", "d")]), [pair("a", "b")]);
        assert!(said(&[("system", "a"), ("gpt", "b")]).is_empty());
    }
}
