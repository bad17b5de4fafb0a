//! Turns the rows of a session into its turns.
//!
//! A session starts at the time of its first row. The think time before a later turn is the part of the time between
//! the two rows that the answer does not take:
//!
//! think = max(0, this row's time − the previous row's time − the previous answer's duration) ÷ speed
//!
//! The think time is counted from the end of the actual answer. If a trace does not state the durations of its answers,
//! the think time is the whole time between the starts. A session then takes longer than the recorded one, by the total
//! duration of its answers.
//!
//! A row's length is that of its whole prompt, as servers count it. A turn therefore adds the tokens that its prompt
//! has beyond the previous prompt and answer. If there are none, it adds one word. In other traces, a row's length is
//! what the turn adds. A row that is shorter than its history proves this, and then the user must state which meaning
//! applies.

use std::collections::HashMap;
use std::time::Duration;

use jiff::SignedDuration;

use super::replay_duration;
use super::row::TraceRow;
use super::rows::TraceRows;
use crate::model::run_spec::TraceLengths;
use crate::model::spool::{RecordSorter, SortedRecords, SpoolError};

/// The rows of each session, in the order of the sessions' first rows.
#[derive(Debug)]
pub(super) struct SessionRows {
    /// Rows by session and time. The key begins with the number of the session.
    records: SortedRecords,
    sessions: usize,
}

impl SessionRows {
    /// Groups rows by session. Rows must be sorted by time. At most `most` sessions are kept. A row without a session
    /// forms a separate session. At most `kept` rows are in memory, and the names of all sessions.
    pub(super) fn group(rows: &TraceRows, most: usize, kept: usize) -> Result<Self, SpoolError> {
        let (mut numbers, mut sessions) = (HashMap::new(), 0_u64);
        let mut sorter = RecordSorter::new(kept);
        for (row, place) in rows.iter().zip(0_u64..) {
            let next = sessions;
            let number = row.session.map_or(next, |session| *numbers.entry(session).or_insert(next));
            sessions += u64::from(number == next);
            if number < most as u64 {
                let key = [number.to_be_bytes(), place.to_be_bytes()].concat();
                sorter.push(&key, &row.encode())?;
            }
        }
        Ok(Self { records: sorter.finish()?, sessions: most.min(sessions as usize) })
    }

    /// The number of sessions.
    pub(super) fn len(&self) -> usize {
        self.sessions
    }

    /// The rows of one session after the other.
    pub(super) fn iter(&self) -> impl Iterator<Item = Vec<TraceRow>> {
        let mut records = self.records.iter().peekable();
        std::iter::from_fn(move || {
            let (first, row) = records.next()?;
            let mut rows = vec![TraceRow::decode(&row)];
            while let Some((_, row)) = records.next_if(|(key, _)| key[..8] == first[..8]) {
                rows.push(TraceRow::decode(&row));
            }
            Some(rows)
        })
    }
}

/// The think time before each turn; zero before the first turn.
pub(super) fn think_times(session: &[TraceRow], speed: f64) -> impl Iterator<Item = Duration> {
    let think = move |pair: &[TraceRow]| {
        let gap = pair[1].at.saturating_sub(pair[0].at);
        replay_duration(
            gap.saturating_sub(SignedDuration::try_from(pair[0].duration).unwrap_or(SignedDuration::MAX)),
            speed,
        )
    };
    std::iter::once(Duration::ZERO).chain(session.windows(2).map(think))
}

/// The passage of its session's text that a turn adds, in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TurnPassage {
    /// The number of words before the passage.
    pub start: usize,
    /// The number of words in the passage.
    pub words: usize,
}

/// The passage that each turn of a session adds. Passages exclude the special tokens; `specials` is their number.
pub(super) fn turn_passages(
    session: &[TraceRow],
    specials: u32,
    lengths: Option<TraceLengths>,
) -> Vec<TurnPassage> {
    let mut said = 0;
    let add = |row: &TraceRow| {
        let start = said;
        let words = match lengths {
            // The special tokens belong to the first turn.
            Some(TraceLengths::Turn) if start > 0 => row.input as usize,
            _ => (row.input.saturating_sub(specials) as usize).saturating_sub(start),
        };
        let words = words.max(1);
        said = start + words + row.output as usize;
        TurnPassage { start, words }
    };
    session.iter().map(add).collect()
}

/// The first row of a session that is shorter than its history, and the length of that history in tokens.
pub(super) fn find_contradiction(session: &[TraceRow]) -> Option<(&TraceRow, u64)> {
    let said = |rows: &[TraceRow]| {
        rows.iter().fold(0, |said, row| u64::from(row.input).max(said) + u64::from(row.output))
    };
    let mut places = (1..session.len()).map(|place| (&session[place], said(&session[..place])));
    places.find(|(row, said)| u64::from(row.input) < *said)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(session: Option<u64>, at: i64, duration: u64, input: u32) -> TraceRow {
        TraceRow {
            at: SignedDuration::from_secs(at),
            line: 1,
            input,
            output: 10,
            hashes: Box::default(),
            session,
            text: session,
            duration: Duration::from_secs(duration),
        }
    }

    #[test]
    fn rows_of_a_session_are_together_in_the_order_of_first_rows() {
        let rows = [(Some(7), 0), (Some(9), 1), (None, 2), (Some(7), 3), (None, 4)];
        let rows: Vec<TraceRow> = rows.iter().map(|(session, at)| row(*session, *at, 0, 5)).collect();
        let rows = TraceRows::from(rows);
        let times = |most, kept| -> Vec<Vec<i64>> {
            let sessions = SessionRows::group(&rows, most, kept).unwrap();
            assert_eq!(sessions.len(), most.min(4));
            sessions.iter().map(|rows| rows.iter().map(|row| row.at.as_secs()).collect()).collect()
        };
        for kept in [1, 100] {
            assert_eq!(times(9, kept), [vec![0, 3], vec![1], vec![2], vec![4]]);
            assert_eq!(times(2, kept), [vec![0, 3], vec![1]]);
        }
    }

    #[test]
    fn users_think_what_the_answer_leaves_of_the_time_between_two_rows() {
        let session = [
            row(Some(1), 100, 4, 5),
            row(Some(1), 110, 30, 5),
            row(Some(1), 120, 0, 5),
            row(Some(1), 121, 0, 5),
        ];
        let seconds =
            |speed| think_times(&session, speed).map(|think| think.as_secs_f64()).collect::<Vec<_>>();
        assert_eq!(
            seconds(1.0),
            [0.0, 6.0, 0.0, 1.0],
            "an answer that ends after the next row began leaves no time"
        );
        assert_eq!(seconds(2.0), [0.0, 3.0, 0.0, 0.5]);
    }

    #[test]
    fn a_turn_adds_what_is_missing_after_what_was_said() {
        let session = [row(None, 0, 0, 21), row(None, 1, 0, 51), row(None, 2, 0, 40)];
        let passages: Vec<_> = turn_passages(&session, 1, Some(TraceLengths::Prompt))
            .iter()
            .map(|it| (it.start, it.words))
            .collect();
        // The first turn has 20 words and an answer of 10. The second turn adds 20 words. The third prompt is shorter
        // than its history.
        assert_eq!(passages, [(0, 20), (30, 20), (60, 1)]);
    }

    #[test]
    fn lengths_of_turns_are_what_each_adds() {
        let session = [row(None, 0, 0, 21), row(None, 1, 0, 15), row(None, 2, 0, 8)];
        let passages = turn_passages(&session, 1, Some(TraceLengths::Turn));
        let passages: Vec<_> = passages.iter().map(|it| (it.start, it.words)).collect();
        assert_eq!(passages, [(0, 20), (30, 15), (55, 8)]);
    }

    /// If row lengths are those of whole prompts, each grows by at least the previous answer: Mooncake's tool and
    /// conversation traces, `agentic` traces of aiperf and Dynamo. If they are those of new turns, they do not: aiperf
    /// PR #299, Dynamo #14254, ServeGen's conversations, vLLM's multi-turn `num_tokens`, guidellm #1113.
    #[test]
    fn a_row_shorter_than_its_history_is_found() {
        let session = |inputs: &[u32]| -> Vec<TraceRow> {
            inputs.iter().map(|input| row(Some(1), 0, 0, *input)).collect()
        };
        for (inputs, expected) in [
            (&[300, 310, 320][..], None),
            (&[300, 350, 900], None),
            (&[300, 150], Some((150, 310))),
            (&[300, 309], Some((309, 310))),
            (&[20, 40, 45], Some((45, 50))),
            (&[300], None),
            (&[], None),
        ] {
            let found = find_contradiction(&session(inputs)).map(|(row, said)| (row.input, said));
            assert_eq!(found, expected, "{inputs:?}");
        }
    }
}
