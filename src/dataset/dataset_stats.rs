//! Statistics of a dataset file: its entries, their lengths, and the number that a run could use.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use rayon::prelude::*;

use super::sharegpt::{BOUNDS, PairLengths, SharegptPair};
use super::{
    DatasetError, LengthFn, PrepareContext, ProgressFn, conversations, sessions, sonnet, template_for, trace,
};
use crate::dataset::length_bounds;
use crate::dataset::read_options::{FileSummary, ReadOptions};
use crate::model::dataset::{DatasetStats, DropCounts};
use crate::model::digest::Digest;
use crate::model::length_counts::LengthCounts;
use crate::model::rng::RunRng;
use crate::model::run_spec::{Dataset, DatasetSampling, LengthBounds, PromptFormat, WorkloadSpec};
use crate::model::spool::KEPT_IN_MEMORY;
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
            let mut lengths = PairCounts::default();
            let kept = trace::count_rows(of, &job, &mut |input, output| lengths.add(input, output))?;
            let stats = summary(kept.name, Some(kept.digest), kept.dropped, &lengths, tokenizer);
            Ok(DatasetStats { conversations: kept.candidates, ..stats })
        }
        Dataset::Sonnet(poem) => {
            let form = PromptFormat::Text;
            let (name, text, digest) =
                sonnet::text(poem, &whole_file_context(&form, strict, tokenizer, progress))?;
            let lines: Vec<&str> = text.lines().collect();
            let mut lengths = PairCounts::default();
            tokenizer.count_batch(&lines)?.into_iter().for_each(|prompt| lengths.add(prompt, 0));
            Ok(summary(name, Some(digest), DropCounts::default(), &lengths, tokenizer))
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
        lengths: None,
        kept: KEPT_IN_MEMORY,
    }
}

/// Whether each entry of the file becomes one request, whose lengths can be counted without the others.
fn is_of_single_requests(dataset: &Dataset) -> bool {
    matches!(
        dataset,
        Dataset::Custom { .. }
            | Dataset::CustomImage(_)
            | Dataset::CustomAudio(_)
            | Dataset::SpecBench(_)
            | Dataset::SpeedBench(_)
            | Dataset::Hf(_)
    )
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
    let counted = Mutex::new(PairCounts::default());
    let count = |prompt, output| counted.lock().expect("counting does not panic").add(prompt, output);
    let job = PrepareContext {
        template: template.as_ref(),
        lengths: is_of_single_requests(dataset).then_some(&count as &LengthFn<'_>),
        ..whole_file_context(&form, strict, tokenizer, progress)
    };
    let made = length_bounds::within_bounds(dataset, &job, &mut RunRng::native(0))?;
    made.requests.all().outlines().for_each(|request| count(request.prompt_tokens, request.max_tokens));
    let lengths = counted.into_inner().expect("counting does not panic");
    let conversations = made.provenance.candidates;
    let usable = match is_of_single_requests(dataset) {
        true => lengths.prompt.len(),
        false => sessions::session_count(made.requests.all()),
    };
    let (origin, digest) = (made.provenance.path, made.provenance.sha256);
    let name = origin.unwrap_or(made.provenance.dataset);
    let stats = summary(name, digest, made.provenance.dropped, &lengths, tokenizer);
    Ok(DatasetStats { conversations, usable, ..stats })
}

/// The lengths of prompts and outputs, counted, so that memory does not grow with the entries.
#[derive(Default)]
struct PairCounts {
    prompt: LengthCounts,
    /// Without outputs of zero tokens.
    output: LengthCounts,
}

impl PairCounts {
    fn add(&mut self, prompt: u32, output: u32) {
        self.prompt.add(prompt);
        if output > 0 {
            self.output.add(output);
        }
    }
}

/// Computes the statistics where every entry that was not dropped is usable.
fn summary(
    path: String,
    sha256: Option<Digest>,
    dropped: DropCounts,
    lengths: &PairCounts,
    tokenizer: &Tokenizer,
) -> DatasetStats {
    DatasetStats {
        path,
        sha256: sha256.unwrap_or_else(|| Digest::from_bytes(b"")),
        conversations: lengths.prompt.len() + dropped.total(),
        turns: BTreeMap::new(),
        prompt: lengths.prompt.summary(),
        answer: lengths.output.summary(),
        usable: lengths.prompt.len(),
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
    let mut counts = ConversationCounter {
        tokenizer,
        block: Vec::new(),
        turns: BTreeMap::new(),
        prompt: LengthCounts::default(),
        answer: LengthCounts::default(),
        dropped: DropCounts::default(),
        usable: 0,
    };
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
    prompt: LengthCounts,
    answer: LengthCounts,
    dropped: DropCounts,
    usable: usize,
}

impl ConversationCounter<'_> {
    fn count(&mut self) -> Result<(), TokenizeError> {
        let counted: Vec<PairLengths> = self
            .block
            .par_iter()
            .map(|pair| PairLengths::count_pair(pair, None, self.tokenizer))
            .collect::<Result<_, _>>()?;
        for lengths in counted {
            self.prompt.add(lengths.prompt);
            self.answer.add(lengths.output);
            self.usable += usize::from(lengths.is_accepted(false, BOUNDS, &mut self.dropped));
        }
        self.block.clear();
        Ok(())
    }

    fn finish(self, path: String, read: FileSummary) -> DatasetStats {
        let FileSummary { digest: sha256, bad } = read;
        let few_turns = self.turns.range(..2).map(|(_, count)| count).sum();
        let conversations = self.turns.values().sum::<usize>() + bad.total();
        let dropped = DropCounts { few_turns, malformed: bad, ..self.dropped };
        DatasetStats {
            path,
            sha256,
            conversations,
            turns: self.turns,
            prompt: self.prompt.summary(),
            answer: self.answer.summary(),
            usable: self.usable,
            dropped,
            counted_by: self.tokenizer.token_source(),
        }
    }
}
