//! Sessions of several turns: their sources, and the behavior of their users.
//!
//! The turns of a session are consecutive requests, each with a [`Turn`]. The history that a turn repeats is assembled
//! when the turn is sent, because the answers are not known before.

mod conversations;
mod distribution;
mod generator;
mod passages;
mod random;
mod sharegpt;

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use serde_json::json;

use super::{DatasetFormat, PrepareContext, PreparedWorkload};
use crate::dataset::requests::{RequestRange, Requests};
use crate::dataset::rng_stream::RngStream;
use crate::model::request::{Content, Request, Turn};
use crate::model::run_spec::{Dataset, EarlyCancel, TurnCount, WaitTime};
use crate::model::shard::Shard;
use crate::model::spool::SpoolError;

pub(super) use conversations::prepare as conversations;
pub(super) use random::prepare as random;
pub(super) use sharegpt::prepare as sharegpt;

/// The expected format of a file of conversations, or of a description to generate them from.
const CONVERSATIONS: &DatasetFormat = &DatasetFormat {
    name: "file of conversations",
    shape: r#"[{"id": "…", "messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}, …], or {"filetype": "generate_conversations", …}"#,
    named_by: "`conversations.path`",
};

/// A turn without its position in a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PreparedTurn {
    /// The user's message. In the first turn, a system message can precede it.
    pub content: Content,
    /// The length of the content, in tokens.
    pub tokens: u32,
    /// The requested output length, in tokens.
    pub output: u32,
    /// The answer in the dataset.
    pub answer: Arc<str>,
}

/// Builds the requests of a session from its turns.
pub(super) fn session_requests(turns: Vec<PreparedTurn>) -> impl Iterator<Item = Request> {
    let of = u32::try_from(turns.len()).unwrap_or(u32::MAX);
    turns.into_iter().zip(0..).map(move |(exchange, index)| {
        let PreparedTurn { content, tokens, output, answer } = exchange;
        let turn = Turn { index, of, think: Duration::ZERO, answer: Some(answer) };
        Request::of(content, tokens, output).with(|own| own.turn = Some(turn))
    })
}

/// Builds the requests of sessions. Sessions repeat if there are too few. The second value is the number of requests
/// that this adds.
fn repeat_to_count(
    sessions: Vec<Vec<PreparedTurn>>,
    job: &PrepareContext<'_>,
) -> Result<(Requests, usize), SpoolError> {
    let mut requests = job.request_sink();
    let mut begins = Vec::with_capacity(sessions.len());
    let missing = job.required_count(sessions.len()).saturating_sub(sessions.len());
    for session in sessions {
        begins.push(requests.len()..requests.len() + session.len());
        requests.extend(session_requests(session))?;
    }
    let (mut rng, distinct) = (RngStream::Repeat.rng(job.seed), requests.len());
    for _ in 0..missing {
        let Some(session) = begins.choose(&mut rng) else { break };
        session.clone().try_for_each(|index| requests.push_copy(index))?;
    }
    let repeated = requests.len() - distinct;
    Ok((requests.finish()?, repeated))
}

/// Draws the number of turns of a session.
fn turn_count(count: TurnCount, rng: &mut StdRng) -> usize {
    rng.random_range(count.min..=count.max.max(count.min)) as usize
}

/// The number of sessions. A request without a session counts as one.
pub(crate) fn session_count(requests: RequestRange<'_>) -> usize {
    requests.outlines().filter(|request| !request.is_later_turn).count()
}

/// The number of requests of a client's share: those of every session whose number belongs to the share.
pub(crate) fn shared_count(requests: RequestRange<'_>, shard: Shard) -> usize {
    let sessions = requests.outlines().scan(0_usize, |begun, request| {
        *begun += usize::from(!request.is_later_turn);
        Some(begun.saturating_sub(1))
    });
    sessions.filter(|session| session % shard.count() == shard.index()).count()
}

/// Splits off the last `sessions` sessions.
pub(crate) fn split_last(
    requests: RequestRange<'_>,
    sessions: usize,
) -> (RequestRange<'_>, RequestRange<'_>) {
    if sessions == 0 {
        return requests.split_at(requests.len());
    }
    let kept = session_count(requests).saturating_sub(sessions);
    let starts = requests.outlines().enumerate().filter(|(_, request)| !request.is_later_turn);
    let cut = starts.map(|(index, _)| index).nth(kept).unwrap_or(requests.len());
    requests.split_at(cut)
}

/// The behavior of users, independent of the content of their messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UserBehavior {
    /// How long users think before each later turn. `None` keeps the dataset's think times.
    pub think: Option<WaitTime>,
    /// Which users cancel their requests early. `None` means that no user does.
    pub cancel: Option<EarlyCancel>,
    /// Whether turns set `min_tokens`, as vLLM's client does, so that answers and thus histories have the requested
    /// lengths.
    pub whole_answers: bool,
}

/// Applies the user behavior to a workload. The same seed gives the same result.
pub(crate) fn apply_behavior(
    workload: &mut PreparedWorkload,
    behavior: &UserBehavior,
    seed: u64,
) -> Result<(), SpoolError> {
    if behavior.think.is_none() && behavior.cancel.is_none() && !behavior.whole_answers {
        return Ok(());
    }
    let mut thinking = RngStream::Think.rng(seed);
    let mut leaving = RngStream::Patience.rng(seed);
    workload.requests.update(|request| {
        let think = behavior.think.map(|think| think.draw(&mut thinking));
        let patience = behavior.cancel.and_then(|cancel| {
            // Both numbers are drawn for every user, so that the choice of users who leave does not depend on the drawn
            // times.
            let (lot, after) = (leaving.random::<f64>(), cancel.after.draw(&mut leaving));
            (lot < cancel.share).then_some(after)
        });
        let later = request.is_later_turn();
        let whole = behavior.whole_answers && request.turn().is_some();
        if patience.is_none() && !whole && !(later && think.is_some()) {
            return Ok(());
        }
        let asked = request.max_tokens;
        *request = request.clone().with(|own| {
            own.patience = patience;
            if let (Some(turn), Some(think), true) = (&mut own.turn, think, later) {
                turn.think = think;
            }
            if whole {
                own.body.entry("min_tokens").or_insert(json!(asked));
            }
        });
        Ok(())
    })
}

/// Whether answers to the turns of a dataset have no natural end: either the texts are generated, or the lengths are
/// vLLM's.
pub(crate) fn asks_for_whole_answers(dataset: &Dataset) -> bool {
    matches!(dataset, Dataset::RandomTurns(_) | Dataset::SharegptTurns { .. })
}

#[cfg(test)]
mod tests;
