//! Counts the tokens of answers by the server's tokenizer, once the load has ended.
//!
//! Each of these counts is a separate request, which takes a share of the server that is measured. llama-cpp-python's
//! server even ends a running answer when any other request comes (`interrupt_requests` in `llama_cpp/server/app.py`).
//! So no count is asked while a request of the load may be in flight: the Records have the number of events until then.

use std::collections::HashMap;
use std::io;

use rayon::prelude::*;
use tracing::info;

use super::LoadResult;
use crate::model::record::{LateCounts, Record, TokenCount, TokenSource};
use crate::model::record_log::{PackedRecords, RecordPass};
use crate::model::run_spec::HistoryMode;
use crate::tokenizer::Tokenizer;

/// The largest size of all kept texts: over 100 million tokens. Answers beyond it stay counted by their events.
const MAX_KEPT_BYTES: usize = 512 << 20;

/// Answers whose tokens are to be counted by the server after the load.
#[derive(Debug, Default)]
pub(crate) struct UncountedAnswers {
    /// The ordinal and the text of each answer.
    answers: Vec<(usize, Box<str>)>,
    bytes: usize,
    /// Whether the prompts of later turns repeat the answers, so that their lengths depend on these counts.
    are_repeated: bool,
}

impl UncountedAnswers {
    /// Creates an empty list for a load whose sessions repeat this much.
    pub(super) fn new(history: HistoryMode) -> Self {
        Self { are_repeated: history == HistoryMode::Real, ..Self::default() }
    }

    /// Keeps the text of an answer, if there is room for it.
    pub(super) fn push(&mut self, ordinal: usize, text: Box<str>) {
        let size = size_of::<(usize, Box<str>)>() + text.len();
        if self.bytes + size <= MAX_KEPT_BYTES {
            self.bytes += size;
            self.answers.push((ordinal, text));
        }
    }

    /// Asks for the counts, by ordinal. An answer that cannot be counted is left out.
    fn count(self, tokenizer: &Tokenizer, goes_on: &(dyn Fn() -> bool + Sync)) -> HashMap<usize, u32> {
        let count = |(ordinal, text): (usize, Box<str>)| {
            let count = if goes_on() { tokenizer.count_plain(&text).ok() } else { None };
            Some((ordinal, count?))
        };
        self.answers.into_par_iter().filter_map(count).collect()
    }
}

impl LoadResult<PackedRecords> {
    /// Counts the answers that wait for the server's tokenizer, until `goes_on` says no, and returns the Records' new
    /// counts. `records` gives the Records in the order in which their requests ended, as they are in the record log.
    ///
    /// # Errors
    /// The record log cannot be read.
    pub(crate) fn count_answers(
        &mut self,
        tokenizer: &Tokenizer,
        goes_on: &(dyn Fn() -> bool + Sync),
        records: RecordPass<'_>,
    ) -> io::Result<Vec<LateCounts>> {
        let uncounted = std::mem::take(&mut self.uncounted);
        let (waiting, are_repeated) = (uncounted.answers.len(), uncounted.are_repeated);
        let mut late = Vec::new();
        if waiting == 0 {
            return Ok(late);
        }
        let mut recount =
            Recount { counts: uncounted.count(tokenizer, goes_on), are_repeated, longer: HashMap::new() };
        info!(waiting, counted = recount.counts.len(), "the server counted the answers");
        records(&mut |record| late.extend(recount.late_counts(record)))?;
        Ok(late)
    }
}

/// Corrects the Records of a load, in the order in which they ended.
struct Recount {
    counts: HashMap<usize, u32>,
    are_repeated: bool,
    /// By how many tokens the repeated answers of a session are longer than was assumed, by the session's number.
    longer: HashMap<u32, i64>,
}

impl Recount {
    /// The new counts of a Record; `None` if nothing changes.
    fn late_counts(&mut self, record: &Record) -> Option<LateCounts> {
        let session = record.facets.as_ref().and_then(|labels| labels.session).filter(|_| self.are_repeated);
        let longer = session.and_then(|session| self.longer.get(&session)).copied().unwrap_or_default();
        let is_ours = record.prompt_tokens.source != TokenSource::Usage;
        let prompt_tokens = match i32::try_from(longer) {
            Ok(longer) if is_ours => TokenCount {
                count: record.prompt_tokens.count.saturating_add_signed(longer),
                ..record.prompt_tokens
            },
            _ => record.prompt_tokens,
        };
        let counted = self.counts.get(&record.ordinal);
        let output_tokens = counted.map_or(record.output_tokens, |count| TokenCount {
            count: *count,
            source: TokenSource::Tokenizer,
        });
        if let Some(session) = session {
            let change = i64::from(output_tokens.count) - i64::from(record.output_tokens.count);
            *self.longer.entry(session).or_default() += change;
        }
        let is_changed = (prompt_tokens, output_tokens) != (record.prompt_tokens, record.output_tokens);
        is_changed.then_some(LateCounts { ordinal: record.ordinal, prompt_tokens, output_tokens })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::record::{Events, RequestLabels, Timestamps};

    /// The second turn of a session, whose answer came in 3 events.
    fn turn(ordinal: usize, session: u32, source: TokenSource) -> Record {
        let tokens = [TokenCount { count: 10, source }, TokenCount { count: 3, source: TokenSource::Events }];
        let labels = RequestLabels { session: Some(session), ..RequestLabels::default() };
        let times = Timestamps::new(std::time::Duration::ZERO);
        Record {
            facets: Some(labels.into()),
            ..Record::answered(ordinal, None, times, tokens, Events::default())
        }
    }

    #[test]
    fn later_turns_get_longer_by_what_the_answers_before_were_longer() {
        let counts = HashMap::from([(0, 8), (2, 1)]);
        let mut recount = Recount { counts, are_repeated: true, longer: HashMap::new() };
        let mut late = |ordinal, session, source| {
            let counts = recount.late_counts(&turn(ordinal, session, source))?;
            Some((counts.prompt_tokens.count, counts.output_tokens.count))
        };
        let ours = TokenSource::Tokenizer;
        assert_eq!(late(0, 0, ours), Some((10, 8)));
        assert_eq!(late(1, 1, ours), None, "another session, not counted");
        assert_eq!(late(2, 0, ours), Some((15, 1)));
        assert_eq!(late(3, 0, ours), Some((13, 3)), "the answer itself was not counted");
        assert_eq!(late(4, 0, TokenSource::Usage), None, "the server counted this prompt");
    }

    #[test]
    fn texts_beyond_the_limit_are_not_kept() {
        let mut uncounted = UncountedAnswers::new(HistoryMode::None);
        uncounted.bytes = MAX_KEPT_BYTES - size_of::<(usize, Box<str>)>() - 3;
        uncounted.push(0, "four".into());
        uncounted.push(1, "two".into());
        assert_eq!(uncounted.answers, [(1, "two".into())]);
    }
}
