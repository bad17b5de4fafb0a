//! Sessions from all turns of ShareGPT conversations: the users' messages and the recorded answers.
//!
//! The length limits are those of plain ShareGPT. They apply to every turn: a conversation with a turn that is too
//! short or too long is not used.

use std::collections::BTreeMap;
use std::path::Path;

use rand::Rng as _;
use rayon::prelude::*;
use serde_json::Value;

use super::{PreparedTurn, repeat_to_count, turn_count};
use crate::dataset::conversations::{ConversationEntry, speaker, turn_text};
use crate::dataset::read_options::{FileSummary, describe_rule};
use crate::dataset::rng_stream::RngStream;
use crate::dataset::sampler::is_admitted;
use crate::dataset::sharegpt::{BLOCK, BOUNDS, PairLengths};
use crate::dataset::source::is_rereadable;
use crate::dataset::text_limit::TextLimit;
use crate::dataset::{
    DatasetError, DatasetFault, PrepareContext, PrepareProgress, PreparedWorkload, conversations,
    json_records,
};
use crate::model::dataset::{BadRows, DropCounts, Provenance};
use crate::model::digest::Digest;
use crate::model::request::Content;
use crate::model::run_spec::{LengthBounds, TurnCount};
use crate::tokenizer::{TokenizeError, Tokenizer};

/// Role names of the user in the files.
const USER_ROLES: [&str; 2] = ["human", "user"];
/// Role names of the model in the files.
const ASSISTANT_ROLES: [&str; 5] = ["gpt", "chatgpt", "assistant", "bard", "bing"];

const RULE: &str = "two user turns or more, each with its answer (`human` and `gpt` one after the other), none of them empty";

/// A user's message and its answer.
type QuestionAnswer = (String, String);

/// Draws sessions from a file; without a path, from the bundled conversations.
pub(crate) fn prepare(
    path: Option<&Path>,
    output_len: Option<u32>,
    turns: Option<TurnCount>,
    job: &PrepareContext<'_>,
) -> Result<PreparedWorkload, DatasetError> {
    // As for plain ShareGPT, the front of the file is almost always enough. If it is not, the file is read again.
    let few = job.num_prompts.saturating_mul(3).saturating_add(BLOCK);
    let mut keep = if path.is_none_or(is_rereadable) { few } else { usize::MAX };
    loop {
        let SharegptSample { name, digest, candidates, few_turns, bad, kept } = read(path, turns, keep, job)?;
        let whole = kept.len() == candidates - few_turns - bad.total();
        let (sessions, mut dropped) = pick(kept, output_len, job)?;
        if sessions.len() < job.num_prompts && !whole {
            keep = keep.saturating_mul(8);
            continue;
        }
        dropped.few_user_turns = few_turns;
        dropped.malformed = bad;
        if sessions.is_empty() && job.num_prompts > 0 {
            let bounds = job.bounds.or_default(BOUNDS).describe().unwrap_or_default();
            let rule = format!("{RULE}, and in each turn {bounds}");
            let rule = describe_rule(rule, &dropped, conversations::SHAREGPT);
            return Err(DatasetError::Unusable { path: name, candidates, dropped: dropped.into(), rule });
        }
        let (requests, repeated) = repeat_to_count(sessions, job)?;
        let provenance = Provenance {
            path: Some(name),
            sha256: Some(digest),
            candidates,
            dropped,
            repeated,
            ..Provenance::from_generator("sharegpt_turns")
        };
        return Ok(PreparedWorkload { requests, arrivals: None, provenance });
    }
}

/// The first conversations of a file in the seed's order.
struct SharegptSample {
    name: String,
    digest: Digest,
    candidates: usize,
    few_turns: usize,
    bad: BadRows,
    kept: Vec<Vec<QuestionAnswer>>,
}

fn read(
    path: Option<&Path>,
    turns: Option<TurnCount>,
    keep: usize,
    job: &PrepareContext<'_>,
) -> Result<SharegptSample, DatasetError> {
    let source = conversations::open(path, job.read_options())?;
    let (name, limit) = (source.name.clone(), source.text_limit);
    let mut order = RngStream::Shuffle.rng(job.seed);
    let mut lengths = RngStream::Turns.rng(job.seed);
    let mut kept = BTreeMap::<_, Vec<QuestionAnswer>>::new();
    let (mut candidates, mut few_turns) = (0, 0);
    let FileSummary { digest, bad } =
        json_records::read(source, &mut |entry: ConversationEntry<Vec<Value>>| {
            candidates += 1;
            // Every conversation draws a number, so that the order does not depend on which ones are usable.
            let place = (order.next_u64(), candidates);
            let most = turns.map_or(usize::MAX, |turns| turn_count(turns, &mut lengths));
            let (mut pairs, fault) = pairs(entry.turns, limit);
            if pairs.len() < turns.map_or(2, |turns| turns.min.max(2) as usize) {
                // A conversation with a faulty turn is counted only as a bad row, not also among those with too few
                // turns.
                return match fault {
                    Some(fault) => {
                        candidates -= 1;
                        Err(fault.into())
                    }
                    None => {
                        few_turns += 1;
                        Ok(())
                    }
                };
            }
            pairs.truncate(most);
            kept.insert(place, pairs);
            if kept.len() > keep {
                kept.pop_last();
            }
            Ok(())
        })?;
    candidates += bad.total();
    Ok(SharegptSample { name, digest, candidates, few_turns, bad, kept: kept.into_values().collect() })
}

/// The pairs of a message and its answer, from the first user message until the roles stop alternating. The fault is
/// set if a turn that is not valid ended the pairs.
fn pairs(turns: Vec<Value>, limit: TextLimit) -> (Vec<QuestionAnswer>, Option<DatasetFault>) {
    let is = |turn: &Value, names: &[&str]| speaker(turn).is_some_and(|name| names.contains(&name));
    // Before the first user message, a value that is not an object is a fault. All other turns are a preamble and are
    // skipped.
    let mut turns = turns.into_iter().skip_while(|turn| turn.is_object() && !is(turn, &USER_ROLES));
    let text = |turn: Value| {
        let text = turn_text(turn)?;
        limit.check(&text)?;
        Ok(text)
    };
    let mut pairs = Vec::new();
    while let Some(question) = turns.next() {
        let (is_question, answer) = (is(&question, &USER_ROLES), turns.next());
        let is_answer = answer.as_ref().is_some_and(|answer| is(answer, &ASSISTANT_ROLES));
        let texts = text(question).and_then(|question| Ok((question, answer.map(text).transpose()?)));
        match texts {
            Err(fault) => return (pairs, Some(fault)),
            Ok((question, Some(answer)))
                if is_question && is_answer && !question.trim().is_empty() && !answer.trim().is_empty() =>
            {
                pairs.push((question, answer));
            }
            Ok(_) => break,
        }
    }
    (pairs, None)
}

/// Takes sessions from the front until there are enough. Sessions are counted in parallel blocks. Sessions after the
/// last one taken have no effect.
fn pick(
    kept: Vec<Vec<QuestionAnswer>>,
    output_len: Option<u32>,
    job: &PrepareContext<'_>,
) -> Result<(Vec<Vec<PreparedTurn>>, DropCounts), DatasetError> {
    let (mut sessions, mut dropped) = (Vec::new(), DropCounts::default());
    let of = job.num_prompts.min(kept.len());
    let mut kept = kept.into_iter();
    while sessions.len() < job.num_prompts {
        let block: Vec<Vec<QuestionAnswer>> = kept.by_ref().take(BLOCK).collect();
        if block.is_empty() {
            break;
        }
        let counted: Vec<Vec<PreparedTurn>> = block
            .into_par_iter()
            .map(|pairs| {
                let turns = pairs.into_iter().zip(0..);
                turns.map(|(pair, turn)| count_turn(pair, turn, output_len, job.tokenizer)).collect()
            })
            .collect::<Result<_, TokenizeError>>()?;
        for session in counted {
            if sessions.len() < job.num_prompts
                && accept(&session, output_len.is_some(), job.bounds, &mut dropped)
            {
                sessions.push(session);
            }
        }
        (job.progress)(PrepareProgress::Tokenizing { done: sessions.len(), of });
    }
    Ok((sessions, dropped))
}

/// Whether a session is within bounds. The bounds apply to the message and the answer of each turn; the model's length
/// limit applies to the whole history. The first turn beyond a limit determines the reason for dropping the session.
fn accept(
    session: &[PreparedTurn],
    forced_output: bool,
    bounds: LengthBounds,
    dropped: &mut DropCounts,
) -> bool {
    let by_turn = LengthBounds { max_model_len: None, ..bounds.or_default(BOUNDS) };
    let whole = LengthBounds { max_model_len: bounds.max_model_len, ..LengthBounds::default() };
    let mut said = 0_u32;
    session.iter().all(|exchange| {
        let PreparedTurn { tokens: prompt, output, .. } = *exchange;
        let before = said;
        said = said.saturating_add(prompt).saturating_add(output);
        PairLengths { prompt, output }.is_accepted(forced_output, by_turn, dropped)
            && is_admitted(whole, before.saturating_add(prompt), output, dropped)
    })
}

fn count_turn(
    (question, answer): QuestionAnswer,
    turn: u32,
    output_len: Option<u32>,
    tokenizer: &Tokenizer,
) -> Result<PreparedTurn, TokenizeError> {
    // The tokenizer adds its leading special tokens only to the beginning of the whole prompt.
    let tokens = if turn == 0 { tokenizer.count(&question)? } else { tokenizer.count_plain(&question)? };
    let output = output_len.map_or_else(|| tokenizer.count_plain(&answer), Ok)?.max(1);
    Ok(PreparedTurn { content: Content::Text(question.into()), tokens, output, answer: answer.into() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(turns: &[(&str, &str)]) -> Vec<(String, String)> {
        let message = |(from, value): &(&str, &str)| json!({ "from": from, "value": value });
        pairs(turns.iter().map(message).collect(), TextLimit::default()).0
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
