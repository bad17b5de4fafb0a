//! Sessions of several turns: where they come from, and how their users behave.
//!
//! A session's turns are requests that follow one another, each with its [`Turn`]. What a turn repeats of the turns
//! before it is put together when it is sent, because the answers are not known before.

mod conversations;
mod distribution;
mod generate;
mod passages;
mod random;
mod sharegpt;

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use serde_json::json;

use super::stream::Stream;
use super::{Content, Job, Request, Turn, Workload};
use crate::core::spec::{Cancel, Dataset, TurnCount, Wait};

pub(super) use conversations::prepare as conversations;
pub(super) use random::prepare as random;
pub(super) use sharegpt::prepare as sharegpt;

/// One turn before it has its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Exchange {
    /// What the user says, and before the first turn what the system says.
    pub content: Content,
    /// Its length in tokens.
    pub tokens: u32,
    /// How many tokens to ask for.
    pub output: u32,
    /// What the dataset answers.
    pub answer: Arc<str>,
}

/// Gives the turns of a session their places.
pub(super) fn session(turns: Vec<Exchange>) -> impl Iterator<Item = Request> {
    let of = u32::try_from(turns.len()).unwrap_or(u32::MAX);
    turns.into_iter().zip(0..).map(move |(exchange, index)| {
        let Exchange { content, tokens, output, answer } = exchange;
        let turn = Turn { index, of, think: Duration::ZERO, answer: Some(answer) };
        Request::of(content, tokens, output).with(|own| own.turn = Some(turn))
    })
}

/// The sessions in their places, some of them again where there are too few; and how many requests that adds.
fn enough(sessions: Vec<Vec<Exchange>>, job: &Job<'_>) -> (Vec<Request>, usize) {
    let mut rng = Stream::Repeat.rng(job.seed);
    let missing = job.enough(sessions.len()).saturating_sub(sessions.len());
    let again: Vec<_> = (0..missing).filter_map(|_| sessions.choose(&mut rng).cloned()).collect();
    let repeated = again.iter().map(Vec::len).sum();
    (sessions.into_iter().chain(again).flat_map(session).collect(), repeated)
}

/// How many turns a session has.
fn turn_count(count: TurnCount, rng: &mut StdRng) -> usize {
    rng.random_range(count.min..=count.max.max(count.min)) as usize
}

/// Whether it is a turn of the session that the request before it belongs to.
pub fn is_later(request: &Request) -> bool {
    request.turn().is_some_and(|turn| turn.index > 0)
}

/// How many sessions there are; a request by itself is one.
pub fn count(requests: &[Request]) -> usize {
    requests.iter().filter(|request| !is_later(request)).count()
}

/// Splits off the last so many sessions.
pub fn split_last(requests: &[Request], sessions: usize) -> (&[Request], &[Request]) {
    let kept = count(requests).saturating_sub(sessions);
    let starts = |(_, request): &(usize, &Request)| !is_later(request);
    let cut = requests.iter().enumerate().filter(starts).nth(kept).map_or(requests.len(), |(index, _)| index);
    requests.split_at(cut)
}

/// How users behave, whatever they say.
#[derive(Debug, Clone, Copy)]
pub struct Manners {
    /// How long they think before each later turn; `None`: as the dataset has it.
    pub think: Option<Wait>,
    /// Who leaves early; `None`: nobody.
    pub cancel: Option<Cancel>,
    /// Whether the answers to turns are asked to be no shorter than planned (`min_tokens`, as vLLM's client does), so that
    /// histories have the lengths that were asked for.
    pub whole_answers: bool,
}

/// Gives a workload's users their manners. The same seed gives the same.
pub fn behave(workload: &mut Workload, manners: &Manners, seed: u64) {
    let mut thinking = Stream::Think.rng(seed);
    let mut leaving = Stream::Patience.rng(seed);
    for request in &mut workload.requests {
        let think = manners.think.map(|think| think.draw(&mut thinking));
        let patience = manners.cancel.and_then(|cancel| {
            // Both are drawn for everybody, so that who leaves does not depend on how long the others would stay.
            let (lot, after) = (leaving.random::<f64>(), cancel.after.draw(&mut leaving));
            (lot < cancel.share).then_some(after)
        });
        let later = is_later(request);
        let whole = manners.whole_answers && request.turn().is_some();
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

/// Whether answers to the turns of a dataset have no natural end: their texts are made, or their lengths are vLLM's.
pub fn asks_for_whole_answers(dataset: &Dataset) -> bool {
    matches!(dataset, Dataset::RandomTurns(_) | Dataset::SharegptTurns { .. })
}

#[cfg(test)]
mod tests;
