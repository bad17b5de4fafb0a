use std::borrow::Cow;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use super::blocks;
use super::row::TraceRow;
use super::rows::TraceRows;
use crate::dataset::requests::{RequestSink, Requests};
use crate::dataset::rng_stream::RngStream;
use crate::dataset::sessions::{PreparedTurn, session_requests};
use crate::dataset::single_token_words::SingleTokenWords;
use crate::dataset::trace::session_turns::{self, SessionRows, TurnPassage};
use crate::dataset::{DatasetError, PrepareContext, PrepareProgress};
use crate::model::dataset::larger_deviation;
use crate::model::request::{Content, Request};
use crate::model::run_spec::Trace;
use crate::model::spool::SpoolError;
use crate::tokenizer::TokenizeError;

/// Number of prompts whose tokens are counted, to check that each word is one token.
const COUNTED_SAMPLE: usize = 16;

/// Number of rows, or sessions, whose prompts are generated at a time, in parallel.
const ROWS_PER_BLOCK: usize = 4096;

/// Passes the items on in blocks.
fn in_blocks<T, E>(
    mut items: impl Iterator<Item = T>,
    mut take: impl FnMut(Vec<T>) -> Result<(), E>,
) -> Result<(), E> {
    loop {
        let block: Vec<T> = items.by_ref().take(ROWS_PER_BLOCK).collect();
        if block.is_empty() {
            return Ok(());
        }
        take(block)?;
    }
}

/// Generates the prompts of a trace.
pub(super) struct TracePromptGenerator<'a> {
    job: &'a PrepareContext<'a>,
    words: SingleTokenWords,
    block_tokens: usize,
    token_ids: bool,
    /// Number of special tokens that the tokenizer adds to a text.
    specials: u32,
}

impl<'a> TracePromptGenerator<'a> {
    /// Creates a generator for these rows of a trace.
    pub(super) fn new(
        trace: &Trace,
        rows: &TraceRows,
        job: &'a PrepareContext<'a>,
    ) -> Result<Self, DatasetError> {
        let words = SingleTokenWords::from_tokenizer(job.tokenizer)?;
        let block_tokens =
            trace.block_tokens.map_or_else(|| blocks::fitting_block_size(rows), u32::from) as usize;
        if trace.token_ids && !words.has_ids() {
            return Err(DatasetError::Unmakeable {
                dataset: trace.kind.name(),
                cause: format!(
                    "`dataset.token_ids` needs a local tokenizer, not {}; name one with `workload.tokenizer`",
                    job.tokenizer.describe().origin
                ),
            });
        }
        let specials = if trace.token_ids { 0 } else { job.tokenizer.special_token_count()? };
        Ok(Self { job, words, block_tokens, token_ids: trace.token_ids, specials })
    }

    /// Generates a request for each row, in parallel.
    pub(super) fn generate<'r>(
        &self,
        rows: impl Iterator<Item = Cow<'r, TraceRow>>,
        of: usize,
        requests: &mut RequestSink,
    ) -> Result<(), SpoolError> {
        let done = AtomicUsize::new(0);
        let generate = |row: &Cow<'_, TraceRow>| {
            let request = self.request(row);
            self.report_done(&done, of);
            request
        };
        in_blocks(rows, |block| requests.extend(block.par_iter().map(generate).collect::<Vec<_>>()))
    }

    /// Generates the turns of each session, in parallel.
    pub(super) fn generate_sessions(
        &self,
        sessions: &SessionRows,
        trace: &Trace,
        requests: &mut RequestSink,
    ) -> Result<(), SpoolError> {
        let done = AtomicUsize::new(0);
        let generate = |rows: &Vec<TraceRow>| {
            let requests = session_requests(self.prepare_turns(rows, trace));
            let thinking = requests.zip(session_turns::think_times(rows, trace.speed));
            let requests: Vec<Request> = thinking
                .map(|(request, think)| {
                    request.with(|own| own.turn.iter_mut().for_each(|turn| turn.think = think))
                })
                .collect();
            self.report_done(&done, sessions.len());
            requests
        };
        in_blocks(sessions.iter(), |block| {
            requests.extend(block.par_iter().flat_map_iter(generate).collect::<Vec<_>>())
        })
    }

    fn report_done(&self, done: &AtomicUsize, of: usize) {
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        (self.job.progress)(PrepareProgress::Tokenizing { done, of });
    }

    /// Generates the turns of a session. They are consecutive passages of one text: each prompt takes a passage, and
    /// its answer takes the next one.
    fn prepare_turns(&self, rows: &[TraceRow], trace: &Trace) -> Vec<PreparedTurn> {
        if trace.whole_turns {
            let exchange = |row: &TraceRow| {
                let Request { content, prompt_tokens, max_tokens, .. } = self.request(row);
                PreparedTurn { content, tokens: prompt_tokens, output: max_tokens, answer: "".into() }
            };
            return rows.iter().map(exchange).collect();
        }
        let exchange = |(row, passage): (&TraceRow, TurnPassage)| {
            let piece = |start, count| self.words.text(self.word_indices(row).skip(start).take(count));
            let specials = if passage.start == 0 { self.specials } else { 0 };
            let answer = piece(passage.start + passage.words, row.output as usize);
            PreparedTurn {
                content: Content::Text(piece(passage.start, passage.words).into()),
                tokens: passage.words as u32 + specials,
                output: row.output,
                answer: [self.words.separator(), &answer].concat().into(),
            }
        };
        rows.iter()
            .zip(session_turns::turn_passages(rows, self.specials, trace.lengths))
            .map(exchange)
            .collect()
    }

    /// The number of prompts whose length differs from the requested one, and the largest difference in tokens. All
    /// prompts are counted only if a small sample contains such a prompt.
    pub(super) fn count_inexact(
        &self,
        requests: &Requests,
        whole: bool,
    ) -> Result<(usize, i64), DatasetError> {
        let tokenizer = self.job.tokenizer;
        let off = |request: &Cow<'_, Request>| {
            let tokens = match request.content.as_text() {
                // The text that a later turn adds has no special tokens before it.
                Some(text) if request.is_later_turn() && !whole => tokenizer.count_plain(text)?,
                Some(text) => tokenizer.count(text)?,
                None => request.prompt_tokens,
            };
            let off = i64::from(tokens) - i64::from(request.prompt_tokens);
            Ok::<_, TokenizeError>((usize::from(off != 0), off))
        };
        let both =
            |one: (usize, i64), other: (usize, i64)| (one.0 + other.0, larger_deviation(one.1, other.1));
        let wrong = |count: usize| {
            let mut sum = (0, 0);
            in_blocks(requests.iter().take(count), |block| {
                let wrong =
                    block.par_iter().map(off).try_reduce(|| (0, 0), |one, other| Ok(both(one, other)))?;
                sum = both(sum, wrong);
                Ok::<_, DatasetError>(())
            })?;
            Ok(sum)
        };
        match wrong(COUNTED_SAMPLE)? {
            (0, _) => Ok((0, 0)),
            _ => wrong(requests.len()),
        }
    }

    fn request(&self, row: &TraceRow) -> Request {
        // A prompt has at least one word, even if the trace states fewer tokens than the tokenizer adds.
        let words = row.input.saturating_sub(self.specials).max(1);
        let drawn = self.word_indices(row).take(words as usize);
        let content = match self.token_ids {
            true => Content::TokenIds(self.words.ids(drawn).into()),
            false => Content::Text(self.words.text(drawn).into()),
        };
        Request::of(content, words + self.specials, row.output)
    }

    /// The endless words of a prompt: those of its blocks, then those of the text that it continues or of the row's own
    /// text.
    fn word_indices<'r>(&'r self, row: &'r TraceRow) -> impl Iterator<Item = usize> + 'r {
        let draw = |stream: RngStream, index: u64| {
            self.words.draw(stream.rng_for_index(self.job.seed, index as usize))
        };
        let block = move |hash: &u64| draw(RngStream::Block, *hash).take(self.block_tokens);
        let rest = match row.text.filter(|_| row.hashes.is_empty()) {
            Some(text) => draw(RngStream::Session, text),
            None => draw(RngStream::Tail, row.line as u64),
        };
        row.hashes.iter().flat_map(block).chain(rest)
    }
}
