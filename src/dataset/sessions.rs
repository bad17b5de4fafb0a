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
use crate::dataset::rng_stream::RngStream;
use crate::model::request::{Content, Request, Turn};
use crate::model::run_spec::{Dataset, EarlyCancel, TurnCount, WaitTime};

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
fn repeat_to_count(sessions: Vec<Vec<PreparedTurn>>, job: &PrepareContext<'_>) -> (Vec<Request>, usize) {
    let mut rng = RngStream::Repeat.rng(job.seed);
    let missing = job.required_count(sessions.len()).saturating_sub(sessions.len());
    let again: Vec<_> = (0..missing).filter_map(|_| sessions.choose(&mut rng).cloned()).collect();
    let repeated = again.iter().map(Vec::len).sum();
    (sessions.into_iter().chain(again).flat_map(session_requests).collect(), repeated)
}

/// Draws the number of turns of a session.
fn turn_count(count: TurnCount, rng: &mut StdRng) -> usize {
    rng.random_range(count.min..=count.max.max(count.min)) as usize
}

/// Whether the request is a later turn of the session of the request before it.
pub(crate) fn is_later_turn(request: &Request) -> bool {
    request.turn().is_some_and(|turn| turn.index > 0)
}

/// The number of sessions. A request without a session counts as one.
pub(crate) fn session_count(requests: &[Request]) -> usize {
    requests.iter().filter(|request| !is_later_turn(request)).count()
}

/// Splits off the last `sessions` sessions.
pub(crate) fn split_last(requests: &[Request], sessions: usize) -> (&[Request], &[Request]) {
    let kept = session_count(requests).saturating_sub(sessions);
    let starts = |(_, request): &(usize, &Request)| !is_later_turn(request);
    let cut = requests.iter().enumerate().filter(starts).nth(kept).map_or(requests.len(), |(index, _)| index);
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
pub(crate) fn apply_behavior(workload: &mut PreparedWorkload, behavior: &UserBehavior, seed: u64) {
    let mut thinking = RngStream::Think.rng(seed);
    let mut leaving = RngStream::Patience.rng(seed);
    for request in &mut workload.requests {
        let think = behavior.think.map(|think| think.draw(&mut thinking));
        let patience = behavior.cancel.and_then(|cancel| {
            // Both numbers are drawn for every user, so that the choice of users who leave does not depend on the drawn
            // times.
            let (lot, after) = (leaving.random::<f64>(), cancel.after.draw(&mut leaving));
            (lot < cancel.share).then_some(after)
        });
        let later = is_later_turn(request);
        let whole = behavior.whole_answers && request.turn().is_some();
        if patience.is_none() && !whole && !(later && think.is_some()) {
            continue;
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
    }
}

/// Whether answers to the turns of a dataset have no natural end: either the texts are generated, or the lengths are
/// vLLM's.
pub(crate) fn asks_for_whole_answers(dataset: &Dataset) -> bool {
    matches!(dataset, Dataset::RandomTurns(_) | Dataset::SharegptTurns { .. })
}

#[cfg(test)]
mod tests;
