//! Writes the prompts of a trace.

use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use super::blocks;
use super::row::Row;
use super::turns::{self, Passage};
use crate::core::spec::Trace;
use crate::drive::tokenizer::TokenizeError;
use crate::drive::workload::lexicon::Lexicon;
use crate::drive::workload::sessions::{Exchange, is_later, session};
use crate::drive::workload::stream::Stream;
use crate::drive::workload::{Content, Job, Progress, Request, WorkloadError};

/// So many prompts are counted to see that the words keep their promise.
const SAMPLE: usize = 16;

/// Writes the prompts of a trace.
pub(super) struct Writer<'a> {
    job: &'a Job<'a>,
    lexicon: Lexicon,
    block_tokens: usize,
    token_ids: bool,
    /// What the tokenizer adds to a text by itself.
    specials: u32,
}

impl<'a> Writer<'a> {
    /// For these rows of a trace.
    pub fn new(trace: &Trace, rows: &[Row], job: &'a Job<'a>) -> Result<Self, WorkloadError> {
        let lexicon = Lexicon::of(job.tokenizer)?;
        let block_tokens =
            trace.block_tokens.map_or_else(|| blocks::tokens_that_fit(rows), u32::from) as usize;
        if trace.token_ids && !lexicon.has_ids() {
            return Err(WorkloadError::Unmakeable {
                dataset: trace.kind.name(),
                cause: format!(
                    "--prompt-token-ids needs a tokenizer here, not {}: give one with --tokenizer",
                    job.tokenizer.describe().origin
                ),
            });
        }
        let specials = if trace.token_ids { 0 } else { job.tokenizer.specials()? };
        Ok(Self { job, lexicon, block_tokens, token_ids: trace.token_ids, specials })
    }

    /// A request for each row, in parallel.
    pub fn write(&self, rows: &[Row]) -> Vec<Request> {
        let done = AtomicUsize::new(0);
        let write = |row: &Row| {
            let request = self.request(row);
            self.tell(&done, rows.len());
            request
        };
        rows.par_iter().map(write).collect()
    }

    /// The turns of each session, in parallel.
    pub fn converse(&self, sessions: &[Vec<Row>], trace: &Trace) -> Vec<Request> {
        let done = AtomicUsize::new(0);
        let write = |rows: &Vec<Row>| {
            let requests = session(self.exchanges(rows, trace.whole_turns));
            let thinking = requests.zip(turns::thinks(rows, trace.speed));
            let requests: Vec<Request> = thinking
                .map(|(request, think)| {
                    request.with(|own| own.turn.iter_mut().for_each(|turn| turn.think = think))
                })
                .collect();
            self.tell(&done, sessions.len());
            requests
        };
        sessions.par_iter().flat_map_iter(write).collect()
    }

    fn tell(&self, done: &AtomicUsize, of: usize) {
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        (self.job.progress)(Progress::Tokenizing { done, of });
    }

    /// What is said in a session: its text, of which each turn says a piece and its answer the next.
    fn exchanges(&self, rows: &[Row], whole: bool) -> Vec<Exchange> {
        if whole {
            let exchange = |row: &Row| {
                let Request { content, prompt_tokens, max_tokens, .. } = self.request(row);
                Exchange { content, tokens: prompt_tokens, output: max_tokens, answer: "".into() }
            };
            return rows.iter().map(exchange).collect();
        }
        let exchange = |(row, passage): (&Row, Passage)| {
            let piece = |start, count| self.lexicon.text(self.words(row).skip(start).take(count));
            let specials = if passage.start == 0 { self.specials } else { 0 };
            let answer = piece(passage.start + passage.words, row.output as usize);
            Exchange {
                content: Content::Text(piece(passage.start, passage.words).into()),
                tokens: passage.words as u32 + specials,
                output: row.output,
                answer: [self.lexicon.gap(), &answer].concat().into(),
            }
        };
        rows.iter().zip(turns::passages(rows, self.specials)).map(exchange).collect()
    }

    /// How many prompts have another length than was asked for: looked for in a few, and counted if there is one.
    pub fn inexact(&self, requests: &[Request], whole: bool) -> Result<usize, TokenizeError> {
        let tokenizer = self.job.tokenizer;
        let wrong = |requests: &[Request]| {
            let count = |request: &Request| match request.content.as_text() {
                // What a later turn adds has no special tokens before it.
                Some(text) if is_later(request) && !whole => {
                    Ok(usize::from(tokenizer.count_plain(text)? != request.prompt_tokens))
                }
                Some(text) => Ok(usize::from(tokenizer.count(text)? != request.prompt_tokens)),
                None => Ok(0),
            };
            requests.par_iter().map(count).sum::<Result<usize, TokenizeError>>()
        };
        match wrong(&requests[..requests.len().min(SAMPLE)])? {
            0 => Ok(0),
            _ => wrong(requests),
        }
    }

    fn request(&self, row: &Row) -> Request {
        // A prompt has a word, also where the trace says fewer tokens than the tokenizer adds.
        let words = row.input.saturating_sub(self.specials).max(1);
        let drawn = self.words(row).take(words as usize);
        let content = match self.token_ids {
            true => Content::TokenIds(self.lexicon.ids(drawn).into()),
            false => Content::Text(self.lexicon.text(drawn).into()),
        };
        Request::of(content, words + self.specials, row.output)
    }

    /// The words of the blocks, then of the text that it continues or of the row itself, without end.
    fn words<'r>(&'r self, row: &'r Row) -> impl Iterator<Item = usize> + 'r {
        let draw =
            |stream: Stream, index: u64| self.lexicon.draw(stream.rng_of(self.job.seed, index as usize));
        let block = move |hash: &u64| draw(Stream::Block, *hash).take(self.block_tokens);
        let rest = match row.text.filter(|_| row.hashes.is_empty()) {
            Some(text) => draw(Stream::Session, text),
            None => draw(Stream::Tail, row.line as u64),
        };
        row.hashes.iter().flat_map(block).chain(rest)
    }
}
