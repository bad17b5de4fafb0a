//! Rows of a session as its turns.
//!
//! A session comes when its first row does. How long its user thinks before a later turn is what the trace leaves of the
//! time between the two rows:
//!
//! think = max(0, this row's time − the time of the row before − how long the answer before took) ÷ speed,
//!
//! counted from the end of the answer that is really given. A trace that does not say how long answers took leaves all of
//! the time between the starts, so that a session lasts longer than it did by the time that its answers take.
//!
//! A row's length is that of its whole prompt, as servers count it. A turn therefore adds what is missing after what was
//! said before: the prompt before, and the answer to it. Where nothing is missing, it adds one word.

use std::collections::HashMap;
use std::time::Duration;

use jiff::SignedDuration;

use super::replayed;
use super::row::Row;

/// The rows, which are in the order of their times, by session; the sessions in the order of their first rows, at most so
/// many. A row without a session is one by itself.
pub(super) fn by_session(rows: Vec<Row>, most: usize) -> Vec<Vec<Row>> {
    let mut places = HashMap::new();
    let mut sessions: Vec<Vec<Row>> = Vec::new();
    for row in rows {
        let next = sessions.len();
        let place = row.session.map_or(next, |session| *places.entry(session).or_insert(next));
        match sessions.get_mut(place) {
            Some(session) => session.push(row),
            None => sessions.push(vec![row]),
        }
    }
    sessions.truncate(most);
    sessions
}

/// How long each turn's user thinks before it; nothing before the first.
pub(super) fn thinks(session: &[Row], speed: f64) -> impl Iterator<Item = Duration> {
    let think = move |pair: &[Row]| {
        let gap = pair[1].at.saturating_sub(pair[0].at);
        replayed(
            gap.saturating_sub(SignedDuration::try_from(pair[0].duration).unwrap_or(SignedDuration::MAX)),
            speed,
        )
    };
    std::iter::once(Duration::ZERO).chain(session.windows(2).map(think))
}

/// What a turn says, in words of its session's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Passage {
    /// How many words were said before.
    pub start: usize,
    /// How many it says.
    pub words: usize,
}

/// What each turn of a session adds: the prompts' lengths are without the special tokens, of which there are so many.
pub(super) fn passages(session: &[Row], specials: u32) -> Vec<Passage> {
    let mut said = 0;
    let add = |row: &Row| {
        let start = said;
        let words = (row.input.saturating_sub(specials) as usize).saturating_sub(start).max(1);
        said = start + words + row.output as usize;
        Passage { start, words }
    };
    session.iter().map(add).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(session: Option<u64>, at: i64, duration: u64, input: u32) -> Row {
        Row {
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
        let rows: Vec<Row> = rows.iter().map(|(session, at)| row(*session, *at, 0, 5)).collect();
        let times = |sessions: Vec<Vec<Row>>| -> Vec<Vec<i64>> {
            sessions.iter().map(|rows| rows.iter().map(|row| row.at.as_secs()).collect()).collect()
        };
        assert_eq!(times(by_session(rows.clone(), 9)), [vec![0, 3], vec![1], vec![2], vec![4]]);
        assert_eq!(times(by_session(rows, 2)), [vec![0, 3], vec![1]]);
    }

    #[test]
    fn users_think_what_the_answer_leaves_of_the_time_between_two_rows() {
        let session = [
            row(Some(1), 100, 4, 5),
            row(Some(1), 110, 30, 5),
            row(Some(1), 120, 0, 5),
            row(Some(1), 121, 0, 5),
        ];
        let seconds = |speed| thinks(&session, speed).map(|think| think.as_secs_f64()).collect::<Vec<_>>();
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
        let passages: Vec<_> = passages(&session, 1).iter().map(|it| (it.start, it.words)).collect();
        // 20 words and an answer of 10 are followed by 20 more; the third prompt is shorter than what was said.
        assert_eq!(passages, [(0, 20), (30, 20), (60, 1)]);
    }
}
