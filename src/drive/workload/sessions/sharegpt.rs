//! All turns of ShareGPT conversations: what people said, and what they were answered.
//!
//! The length filters are those of plain ShareGPT, and hold for every turn: a conversation of which one is too short or too
//! long is not used.

use std::collections::BTreeMap;
use std::path::Path;

use rand::Rng as _;
use rayon::prelude::*;
use serde::Deserialize;

use super::{Exchange, enough, turn_count};
use crate::core::dataset::{Drops, Provenance};
use crate::core::digest::Digest;
use crate::core::spec::{Bounds, TurnCount};
use crate::drive::tokenizer::{TokenizeError, Tokenizer};
use crate::drive::workload::sampler::admit;
use crate::drive::workload::sharegpt::{BLOCK, BOUNDS, Lengths};
use crate::drive::workload::source::is_rereadable;
use crate::drive::workload::stream::Stream;
use crate::drive::workload::{Content, Job, Progress, Workload, WorkloadError, conversations, entries};

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
    // As of plain ones: the front is enough almost always, and where it is not, the file is read again.
    let few = job.num_prompts.saturating_mul(3).saturating_add(BLOCK);
    let mut keep = if path.is_none_or(is_rereadable) { few } else { usize::MAX };
    loop {
        let Front { name, digest, candidates, few_turns, kept } = read(path, turns, keep, job)?;
        let whole = kept.len() == candidates - few_turns;
        let (sessions, mut dropped) = pick(kept, output_len, job)?;
        if sessions.len() < job.num_prompts && !whole {
            keep = keep.saturating_mul(8);
            continue;
        }
        dropped.few_turns = few_turns;
        if sessions.is_empty() && job.num_prompts > 0 {
            let bounds = job.bounds.or(BOUNDS).in_words().unwrap_or_default();
            let rule = format!("{RULE}, and in each turn {bounds}");
            return Err(WorkloadError::Unusable { path: name, candidates, dropped, rule });
        }
        let (requests, repeated) = enough(sessions, job);
        let provenance = Provenance {
            dataset: "sharegpt_turns".into(),
            path: Some(name),
            sha256: Some(digest),
            candidates,
            dropped,
            repeated,
            inexact: 0,
        };
        return Ok(Workload { requests, arrivals: None, provenance });
    }
}

/// The front of a file in the order of the seed.
struct Front {
    name: String,
    digest: Digest,
    candidates: usize,
    few_turns: usize,
    kept: Vec<Vec<Pair>>,
}

fn read(
    path: Option<&Path>,
    turns: Option<TurnCount>,
    keep: usize,
    job: &Job<'_>,
) -> Result<Front, WorkloadError> {
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
        if kept.len() > keep {
            kept.pop_last();
        }
        Ok(())
    })?;
    Ok(Front { name, digest, candidates, few_turns, kept: kept.into_values().collect() })
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

/// Takes sessions from the front until there are enough. They are counted in parallel blocks; what is beyond the last one
/// taken is not looked at.
fn pick(
    kept: Vec<Vec<Pair>>,
    output_len: Option<u32>,
    job: &Job<'_>,
) -> Result<(Vec<Vec<Exchange>>, Drops), WorkloadError> {
    let (mut sessions, mut dropped) = (Vec::new(), Drops::default());
    let of = job.num_prompts.min(kept.len());
    let mut kept = kept.into_iter();
    while sessions.len() < job.num_prompts {
        let block: Vec<Vec<Pair>> = kept.by_ref().take(BLOCK).collect();
        if block.is_empty() {
            break;
        }
        let counted: Vec<Vec<Exchange>> = block
            .into_par_iter()
            .map(|pairs| {
                let turns = pairs.into_iter().zip(0..);
                turns.map(|(pair, turn)| count(pair, turn, output_len, job.tokenizer)).collect()
            })
            .collect::<Result<_, TokenizeError>>()?;
        for session in counted {
            if sessions.len() < job.num_prompts
                && accept(&session, output_len.is_some(), job.bounds, &mut dropped)
            {
                sessions.push(session);
            }
        }
        (job.progress)(Progress::Tokenizing { done: sessions.len(), of });
    }
    Ok((sessions, dropped))
}

/// Whether a session is within bounds, which hold for what each turn says and is answered; the model's length holds for
/// all that was said until then. The first turn that is not decides why the session is dropped.
fn accept(session: &[Exchange], forced_output: bool, bounds: Bounds, dropped: &mut Drops) -> bool {
    let by_turn = Bounds { max_model_len: None, ..bounds.or(BOUNDS) };
    let whole = Bounds { max_model_len: bounds.max_model_len, ..Bounds::default() };
    let mut said = 0_u32;
    session.iter().all(|exchange| {
        let Exchange { tokens: prompt, output, .. } = *exchange;
        let before = said;
        said = said.saturating_add(prompt).saturating_add(output);
        Lengths { prompt, output }.accept(forced_output, by_turn, dropped)
            && admit(whole, before.saturating_add(prompt), output, dropped)
    })
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
