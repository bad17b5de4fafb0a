//! Statistics of a dataset file: its entries, their lengths, and the number that a run could use.

use std::collections::BTreeMap;
use std::path::Path;

use rayon::prelude::*;

use super::sharegpt::{BOUNDS, PairLengths, SharegptPair};
use super::{DatasetError, PrepareContext, ProgressFn, conversations, sessions, sonnet, template_for, trace};
use crate::dataset::length_bounds;
use crate::dataset::read_options::{FileSummary, ReadOptions};
use crate::model::dataset::{DatasetStats, DropCounts, LengthSummary};
use crate::model::digest::Digest;
use crate::model::rng::RunRng;
use crate::model::run_spec::{Dataset, DatasetSampling, LengthBounds, PromptFormat, WorkloadSpec};
use crate::tokenizer::{TokenizeError, Tokenizer};

/// Number of conversations that are counted at a time and kept in memory.
const BLOCK: usize = 1024;

/// Reads a whole file as a run of the dataset would, and counts its entries. If `strict` is true, the first bad row is
/// an error.
///
/// # Errors
/// Fails as preparing a run does, except that a file without usable conversations is not an error.
pub(crate) fn stats(
    dataset: &Dataset,
    strict: bool,
    tokenizer: &Tokenizer,
    progress: &ProgressFn<'_>,
) -> Result<DatasetStats, DatasetError> {
    let reading = ReadOptions { strict, ..ReadOptions::plain(progress) };
    match dataset {
        Dataset::Sharegpt { path, .. } => sharegpt(path.as_deref(), tokenizer, reading),
        Dataset::Trace(of) => {
            let form = PromptFormat::Text;
            let job = whole_file_context(&form, strict, tokenizer, progress);
            let kept = trace::rows(of, &job)?;
            let lengths =
                kept.rows.iter().map(|row| PairLengths { prompt: row.input, output: row.output }).collect();
            let stats = summary(kept.name, Some(kept.digest), kept.dropped, lengths, tokenizer);
            Ok(DatasetStats { conversations: kept.candidates, ..stats })
        }
        Dataset::Sonnet(poem) => {
            let form = PromptFormat::Text;
            let (name, text, digest) =
                sonnet::text(poem, &whole_file_context(&form, strict, tokenizer, progress))?;
            let lines: Vec<&str> = text.lines().collect();
            let lengths = tokenizer.count_batch(&lines)?;
            let lengths = lengths.into_iter().map(|prompt| PairLengths { prompt, output: 0 }).collect();
            Ok(summary(name, Some(digest), DropCounts::default(), lengths, tokenizer))
        }
        _ => requests(dataset, strict, tokenizer, progress),
    }
}

/// The context that prepares every entry of a file, in file order.
fn whole_file_context<'a>(
    form: &'a PromptFormat,
    strict: bool,
    tokenizer: &'a Tokenizer,
    progress: &'a ProgressFn<'a>,
) -> PrepareContext<'a> {
    PrepareContext {
        num_prompts: WorkloadSpec::ALL,
        measured: WorkloadSpec::ALL,
        draw: DatasetSampling { shuffle: false, oversample: false },
        bounds: LengthBounds::default(),
        strict,
        form,
        template: None,
        seed: 0,
        tokenizer,
        progress,
    }
}

/// Prepares the requests of a run that sends the whole file.
fn requests(
    dataset: &Dataset,
    strict: bool,
    tokenizer: &Tokenizer,
    progress: &ProgressFn<'_>,
) -> Result<DatasetStats, DatasetError> {
    let form = PromptFormat::Text;
    let template = template_for(&form, dataset, tokenizer)?;
    let job = PrepareContext {
        template: template.as_ref(),
        ..whole_file_context(&form, strict, tokenizer, progress)
    };
    let made = length_bounds::within_bounds(dataset, &job, &mut RunRng::native(0))?;
    let lengths = made.requests.iter();
    let lengths =
        lengths.map(|request| PairLengths { prompt: request.prompt_tokens, output: request.max_tokens });
    let (conversations, usable) = (made.provenance.candidates, sessions::session_count(&made.requests));
    let (origin, digest) = (made.provenance.path, made.provenance.sha256);
    let name = origin.unwrap_or(made.provenance.dataset);
    let stats = summary(name, digest, made.provenance.dropped, lengths.collect(), tokenizer);
    Ok(DatasetStats { conversations, usable, ..stats })
}

/// Computes the statistics where every entry that was not dropped is usable.
fn summary(
    path: String,
    sha256: Option<Digest>,
    dropped: DropCounts,
    lengths: Vec<PairLengths>,
    tokenizer: &Tokenizer,
) -> DatasetStats {
    DatasetStats {
        path,
        sha256: sha256.unwrap_or_else(|| Digest::from_bytes(b"")),
        conversations: lengths.len() + dropped.total(),
        turns: BTreeMap::new(),
        prompt: LengthSummary::from_lengths(lengths.iter().map(|lengths| lengths.prompt)),
        answer: LengthSummary::from_lengths(
            lengths.iter().map(|lengths| lengths.output).filter(|output| *output > 0),
        ),
        usable: lengths.len(),
        dropped,
        counted_by: tokenizer.token_source(),
    }
}

/// Computes the statistics of conversations from their first two turns. Without a path, the bundled conversations are
/// read.
fn sharegpt(
    path: Option<&Path>,
    tokenizer: &Tokenizer,
    reading: ReadOptions<'_>,
) -> Result<DatasetStats, DatasetError> {
    let source = conversations::open(path, reading)?;
    let name = source.name.clone();
    let mut counts =
        ConversationCounter { tokenizer, block: Vec::new(), turns: BTreeMap::new(), lengths: Vec::new() };
    let read = conversations::read(source, &mut |conversation| {
        *counts.turns.entry(conversation.turns).or_default() += 1;
        if conversation.turns >= 2 {
            counts.block.push(SharegptPair::from(conversation));
        }
        if counts.block.len() >= BLOCK {
            counts.count().map_err(DatasetError::from)?;
        }
        Ok(())
    })?;
    counts.count()?;
    let stats = counts.finish(name, read);
    match stats.dropped.malformed.total() {
        bad if bad > 0 && bad == stats.conversations => Err(DatasetError::Unusable {
            path: stats.path,
            candidates: bad,
            dropped: stats.dropped.into(),
            rule: conversations::SHAREGPT.shape.to_owned(),
        }),
        _ => Ok(stats),
    }
}

struct ConversationCounter<'a> {
    tokenizer: &'a Tokenizer,
    /// Conversations that are not counted yet.
    block: Vec<SharegptPair>,
    turns: BTreeMap<usize, usize>,
    lengths: Vec<PairLengths>,
}

impl ConversationCounter<'_> {
    fn count(&mut self) -> Result<(), TokenizeError> {
        let counted: Vec<PairLengths> = self
            .block
            .par_iter()
            .map(|pair| PairLengths::count_pair(pair, None, self.tokenizer))
            .collect::<Result<_, _>>()?;
        self.lengths.extend(counted);
        self.block.clear();
        Ok(())
    }

    fn finish(self, path: String, read: FileSummary) -> DatasetStats {
        let FileSummary { digest: sha256, bad } = read;
        let few_turns = self.turns.range(..2).map(|(_, count)| count).sum();
        let conversations = self.turns.values().sum::<usize>() + bad.total();
        let mut dropped = DropCounts { few_turns, malformed: bad, ..DropCounts::default() };
        let usable =
            self.lengths.iter().filter(|lengths| lengths.is_accepted(false, BOUNDS, &mut dropped)).count();
        DatasetStats {
            path,
            sha256,
            conversations,
            turns: self.turns,
            prompt: LengthSummary::from_lengths(self.lengths.iter().map(|lengths| lengths.prompt)),
            answer: LengthSummary::from_lengths(self.lengths.iter().map(|lengths| lengths.output)),
            usable,
            dropped,
            counted_by: self.tokenizer.token_source(),
        }
    }
}
