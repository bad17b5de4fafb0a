//! The requests of a saved result, as a simulation needs them.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use super::offered_load::{OfferedLoad, Pace};
use crate::dataset::shapes::{RequestShape, TurnShape, session_contents};
use crate::model::record::{Record, TokenSource};
use crate::model::run::Run;
use crate::model::stated::{StatedRequest, StatedResult};
use crate::model::units::Rate;

/// The requests of a saved result, and what is not known of them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RecordedLoad {
    /// The answered requests, with their arrivals.
    pub load: OfferedLoad,
    /// What a reader must know about them.
    pub notes: Vec<String>,
}

/// Why a saved result has no requests to simulate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoRecordedLoad {
    /// The result was saved without its requests.
    #[error("it was saved without its requests: save it with `options.detail`")]
    NoRequests,
    /// No request was answered.
    #[error("none of its requests was answered")]
    NoAnswers,
    /// A request lacks a column.
    #[error("request {number} has no {what}, which a simulation needs")]
    Lacking {
        /// The number of the request, from 1.
        number: usize,
        /// What it lacks.
        what: &'static str,
    },
}

impl RecordedLoad {
    /// The requests of a Run. Blocks have `block_tokens` tokens.
    ///
    /// # Errors
    /// The Run has no requests, or none that was answered.
    pub(crate) fn from_run(run: &Run, block_tokens: u32) -> Result<Self, NoRecordedLoad> {
        let records = run.records.as_deref().ok_or(NoRecordedLoad::NoRequests)?;
        let answered: Vec<&Record> = records.iter().filter(|record| is_usable(record)).collect();
        if answered.is_empty() {
            return Err(NoRecordedLoad::NoAnswers);
        }
        let (requests, due) = in_sessions(&answered, block_tokens);
        let load = &run.spec.load;
        let pace = match load.closed_loop_size().filter(|_| load.is_closed_loop()) {
            Some(users) => Pace::Closed(users),
            None => Pace::Open(due),
        };
        Ok(Self { load: OfferedLoad { requests, pace }, notes: notes(records, &answered) })
    }

    /// The requests of a result of another tool.
    ///
    /// # Errors
    /// The result has no requests, none that was answered, or lacks their starts or lengths.
    pub(crate) fn from_stated(result: &StatedResult) -> Result<Self, NoRecordedLoad> {
        let all = result.requests.as_deref().ok_or(NoRecordedLoad::NoRequests)?;
        let requests = all.iter().zip(1..).filter(|(request, _)| !request.failed);
        let mut sent =
            requests.map(|(request, number)| shape(request, number)).collect::<Result<Vec<_>, _>>()?;
        if sent.is_empty() {
            return Err(NoRecordedLoad::NoAnswers);
        }
        sent.sort_by_key(|(at, _)| *at);
        let left_out = all.len() - sent.len();
        let (due, requests) = sent.into_iter().unzip();
        let is_paced = result.load.request_rate.is_some_and(Rate::is_finite);
        let users = result.load.max_concurrency.and_then(|users| NonZeroUsize::new(users as usize));
        let pace = match users.filter(|_| !is_paced) {
            Some(users) => Pace::Closed(users),
            None => Pace::Open(due),
        };
        let notes = (left_out > 0).then(|| left_out_note(left_out, all.len()));
        Ok(Self { load: OfferedLoad { requests, pace }, notes: notes.into_iter().collect() })
    }
}

fn is_usable(record: &Record) -> bool {
    record.is_success() && record.output_tokens.count > 0 && record.times.sent().is_some()
}

fn left_out_note(left_out: usize, all: usize) -> String {
    format!("{left_out} of {all} requests were not answered and are left out of the simulation")
}

fn notes(records: &[Record], answered: &[&Record]) -> Vec<String> {
    let mut notes = Vec::new();
    if answered.len() < records.len() {
        notes.push(left_out_note(records.len() - answered.len(), records.len()));
    }
    let uncounted = |record: &&&Record| {
        let sources = [record.prompt_tokens.source, record.output_tokens.source];
        sources.iter().any(|source| matches!(source, TokenSource::Events | TokenSource::Estimate))
    };
    let uncounted = answered.iter().filter(uncounted).count();
    if uncounted > 0 {
        notes.push(format!(
            "the lengths of {uncounted} requests are estimates, because the server did not count them"
        ));
    }
    let cached: u64 = answered.iter().filter_map(|record| record.cached_tokens).map(u64::from).sum();
    let prompts: u64 = answered.iter().map(|record| u64::from(record.prompt_tokens.count)).sum();
    let has_sessions = answered.iter().any(|record| session(record).is_some());
    if cached > 0 && !has_sessions {
        let percent = 100.0 * cached as f64 / prompts as f64;
        notes.push(format!(
            "{percent:.0} % of the prompt tokens were cached when the run was measured; a saved run has no texts, so that here \
             every prompt is computed whole"
        ));
    }
    notes
}

/// The session and the turn of a request.
fn session(record: &Record) -> Option<(u32, u32)> {
    let labels = record.facets.as_deref()?;
    Some((labels.session?, labels.turn?))
}

/// The requests with the turns of each session together, in the order in which the sessions began, and when they did.
fn in_sessions(answered: &[&Record], block_tokens: u32) -> (Vec<RequestShape>, Vec<Duration>) {
    let mut sessions: BTreeMap<(Duration, usize), Vec<&Record>> = BTreeMap::new();
    let mut begun: BTreeMap<u32, (Duration, usize)> = BTreeMap::new();
    let mut ordered = answered.to_vec();
    ordered.sort_by_key(|record| (record.times.sent(), record.ordinal));
    for record in ordered {
        let key = (record.times.sent().unwrap_or_default(), record.ordinal);
        let key = match session(record) {
            Some((session, _)) => *begun.entry(session).or_insert(key),
            None => key,
        };
        sessions.entry(key).or_default().push(record);
    }
    let mut requests = Vec::with_capacity(answered.len());
    let mut due = Vec::with_capacity(sessions.len());
    for ((at, _), turns) in sessions {
        let number = due.len() as u64;
        due.push(at);
        let mut before: Option<Duration> = None;
        for (record, index) in turns.iter().zip(0..) {
            let sent = record.times.sent().unwrap_or_default();
            let think = before.map_or(Duration::ZERO, |end| sent.saturating_sub(end));
            before = record.times.last_token();
            let turn = (turns.len() > 1).then_some(TurnShape { session: number, index, think });
            requests.push(recorded_shape(record, turn, block_tokens));
        }
    }
    (requests, due)
}

fn recorded_shape(record: &Record, turn: Option<TurnShape>, block_tokens: u32) -> RequestShape {
    let (prompt, output) = (record.prompt_tokens.count.max(1), record.output_tokens.count);
    let contents = match turn {
        Some(turn) => session_contents(turn.session, prompt.saturating_add(output), block_tokens),
        None => Arc::default(),
    };
    RequestShape { prompt, output, contents, turn }
}

fn shape(request: &StatedRequest, number: usize) -> Result<(Duration, RequestShape), NoRecordedLoad> {
    let tokens = |tokens: Option<u64>, what| {
        let tokens = tokens.and_then(|tokens| u32::try_from(tokens).ok());
        tokens.ok_or(NoRecordedLoad::Lacking { number, what })
    };
    let start = request.start_s.and_then(|start| Duration::try_from_secs_f64(start).ok());
    let start = start.ok_or(NoRecordedLoad::Lacking { number, what: "start" })?;
    let prompt = tokens(request.input_tokens, "prompt length")?.max(1);
    let output = tokens(request.output_tokens, "output length")?.max(1);
    Ok((start, RequestShape { prompt, output, contents: Arc::default(), turn: None }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::record::{Milestone, RequestLabels};
    use crate::model::stated::Tool;
    use crate::testing::{predictions, sample_run};

    #[test]
    fn answered_requests_come_when_they_were_sent() {
        let recorded = RecordedLoad::from_run(&sample_run::run(true), 16).unwrap();
        let shapes: Vec<_> =
            recorded.load.requests.iter().map(|shape| (shape.prompt, shape.output)).collect();
        assert_eq!(shapes, [(9, 3)]);
        assert_eq!(recorded.load.pace, Pace::Open(vec![Duration::from_millis(12)]));
        assert_eq!(recorded.notes, ["1 of 2 requests were not answered and are left out of the simulation"]);
        assert_eq!(RecordedLoad::from_run(&sample_run::run(false), 16), Err(NoRecordedLoad::NoRequests));
    }

    #[test]
    fn turns_wait_for_their_answers_as_their_users_did() {
        let mut run = predictions::run();
        run.spec.load.max_concurrency = None;
        let mut records = run.records.take().unwrap();
        records.truncate(3);
        let ms = Duration::from_millis;
        for (record, (session, turn, sent)) in records.iter_mut().zip([(0, 0, 0), (1, 0, 100), (0, 1, 2000)])
        {
            record.times.set(Milestone::Sent, ms(sent));
            record.facets = Some(Box::new(RequestLabels {
                session: Some(session),
                turn: Some(turn),
                ..RequestLabels::default()
            }));
        }
        let answered = records[0].times.last_token().unwrap();
        run.records = Some(records);
        let RecordedLoad { load, .. } = RecordedLoad::from_run(&run, 16).unwrap();
        let places: Vec<_> = load
            .requests
            .iter()
            .map(|shape| shape.turn.map(|turn| (turn.session, turn.index, turn.think)))
            .collect();
        assert_eq!(places, [Some((0, 0, Duration::ZERO)), Some((0, 1, ms(2000) - answered)), None]);
        assert_eq!(load.pace, Pace::Open(vec![ms(0), ms(100)]));
        let [first, second] = [&load.requests[0], &load.requests[1]];
        assert!(!first.contents.is_empty() && second.contents.starts_with(&first.contents));
    }

    #[test]
    fn a_result_of_another_tool_needs_starts_and_lengths() {
        let mut result = StatedResult::new(Tool::VllmBench);
        assert_eq!(RecordedLoad::from_stated(&result), Err(NoRecordedLoad::NoRequests));
        let request = |start_s, output_tokens| StatedRequest {
            start_s,
            input_tokens: Some(50),
            output_tokens,
            ..StatedRequest::default()
        };
        result.requests = Some(vec![request(Some(0.5), Some(7)), request(None, Some(7))]);
        let lacking = NoRecordedLoad::Lacking { number: 2, what: "start" };
        assert_eq!(RecordedLoad::from_stated(&result), Err(lacking));
        result.requests = Some(vec![request(Some(0.5), Some(7)), request(Some(0.0), Some(3))]);
        let load = RecordedLoad::from_stated(&result).unwrap().load;
        assert_eq!(load.requests.iter().map(|shape| shape.output).collect::<Vec<_>>(), [3, 7]);
        result.load.max_concurrency = Some(4);
        let closed = RecordedLoad::from_stated(&result).unwrap().load;
        assert_eq!(closed.pace, Pace::Closed(NonZeroUsize::new(4).unwrap()));
    }
}
