//! Writes the prompts of a trace.

use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use super::blocks;
use super::row::Row;
use crate::core::spec::Trace;
use crate::drive::tokenizer::TokenizeError;
use crate::drive::workload::lexicon::Lexicon;
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
    pub fn write(&self, rows: &[Row]) -> Result<Vec<Request>, WorkloadError> {
        let done = AtomicUsize::new(0);
        let write = |row: &Row| {
            let request = self.request(row);
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            (self.job.progress)(Progress::Tokenizing { done, of: rows.len() });
            request
        };
        Ok(rows.par_iter().map(write).collect())
    }

    /// How many prompts have another length than was asked for: looked for in a few, and counted if there is one.
    pub fn inexact(&self, requests: &[Request]) -> Result<usize, TokenizeError> {
        let wrong = |requests: &[Request]| {
            let count = |request: &Request| match request.content.as_text() {
                Some(text) => Ok(usize::from(self.job.tokenizer.count(text)? != request.prompt_tokens)),
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

    /// The words of the blocks, then of the session or of the row itself, without end.
    fn words<'r>(&'r self, row: &'r Row) -> impl Iterator<Item = usize> + 'r {
        let draw =
            |stream: Stream, index: u64| self.lexicon.draw(stream.rng_of(self.job.seed, index as usize));
        let block = move |hash: &u64| draw(Stream::Block, *hash).take(self.block_tokens);
        let rest = match row.session.filter(|_| row.hashes.is_empty()) {
            Some(session) => draw(Stream::Session, session),
            None => draw(Stream::Tail, row.line as u64),
        };
        row.hashes.iter().flat_map(block).chain(rest)
    }
}
