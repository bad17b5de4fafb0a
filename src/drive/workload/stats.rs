//! What is in a ShareGPT file: turns, lengths, and how much of it a run could use.

use std::collections::BTreeMap;
use std::path::Path;

use rayon::prelude::*;
use serde::Serialize;

use super::conversations;
use super::sharegpt::{Lengths, Pair};
use super::source::Source;
use super::{Drops, OnProgress, WorkloadError};
use crate::core::digest::Digest;
use crate::core::record::TokenSource;
use crate::drive::tokenizer::{TokenizeError, Tokenizer};

/// How many conversations are kept in memory.
const BLOCK: usize = 1024;

/// The statistics of a ShareGPT file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DatasetStats {
    /// The file as shown to people.
    pub path: String,
    /// SHA-256 of the file as it lies on disk.
    pub sha256: Digest,
    /// Conversations in the file.
    pub conversations: usize,
    /// Conversations by their number of turns.
    pub turns: BTreeMap<usize, usize>,
    /// Tokens of the first turn, of conversations with at least two; `None` if there are none.
    pub prompt: Option<Lengthwise>,
    /// Tokens of the second turn.
    pub answer: Option<Lengthwise>,
    /// Conversations that a run could use.
    pub usable: usize,
    /// Those that it could not, and why: over the whole file.
    pub dropped: Drops,
    /// Who counted the tokens.
    pub counted_by: TokenSource,
}

/// A summary of lengths in tokens. Percentiles interpolate linearly between closest ranks, as everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Lengthwise {
    /// How many.
    pub n: usize,
    /// The shortest.
    pub min: u32,
    /// The 10th percentile.
    pub p10: f64,
    /// The median.
    pub p50: f64,
    /// The arithmetic mean.
    pub mean: f64,
    /// The 90th percentile.
    pub p90: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The longest.
    pub max: u32,
}

impl Lengthwise {
    /// Summarises lengths in any order; `None` without any.
    fn of(mut lengths: Vec<u32>) -> Option<Self> {
        lengths.sort_unstable();
        let (&min, &max) = (lengths.first()?, lengths.last()?);
        let at = |p: f64| {
            let rank = p / 100.0 * (lengths.len() - 1) as f64;
            let (low, high) = (lengths[rank.floor() as usize], lengths[rank.ceil() as usize]);
            f64::from(low) + f64::from(high - low) * rank.fract()
        };
        let sum: u64 = lengths.iter().map(|&length| u64::from(length)).sum();
        let n = lengths.len();
        let mean = sum as f64 / n as f64;
        Some(Self { n, min, p10: at(10.0), p50: at(50.0), mean, p90: at(90.0), p99: at(99.0), max })
    }
}

/// Reads and counts a whole ShareGPT file; without a path, the bundled conversations.
///
/// # Errors
/// As for preparing a run, except that a file without usable conversations is none.
pub fn stats(
    path: Option<&Path>,
    tokenizer: &Tokenizer,
    progress: &OnProgress<'_>,
) -> Result<DatasetStats, WorkloadError> {
    let source = Source::open(path, progress)?;
    let name = source.name.clone();
    let mut census = Census { tokenizer, block: Vec::new(), turns: BTreeMap::new(), lengths: Vec::new() };
    let sha256 = conversations::read(source, &mut |conversation| {
        *census.turns.entry(conversation.turns).or_default() += 1;
        if conversation.turns >= 2 {
            let (prompt, answer) = (conversation.prompt.into(), conversation.answer.into());
            census.block.push(Pair { prompt, answer });
        }
        if census.block.len() >= BLOCK { Ok(census.count()?) } else { Ok(()) }
    })?;
    census.count()?;
    Ok(census.finish(name, sha256))
}

struct Census<'a> {
    tokenizer: &'a Tokenizer,
    /// Not counted yet.
    block: Vec<Pair>,
    turns: BTreeMap<usize, usize>,
    lengths: Vec<Lengths>,
}

impl Census<'_> {
    fn count(&mut self) -> Result<(), TokenizeError> {
        let counted: Vec<Lengths> = self
            .block
            .par_iter()
            .map(|pair| Lengths::of(pair, None, self.tokenizer))
            .collect::<Result<_, _>>()?;
        self.lengths.extend(counted);
        self.block.clear();
        Ok(())
    }

    fn finish(self, path: String, sha256: Digest) -> DatasetStats {
        let few_turns = self.turns.range(..2).map(|(_, count)| count).sum();
        let mut dropped = Drops { few_turns, ..Drops::default() };
        let usable = self.lengths.iter().filter(|lengths| lengths.accept(false, &mut dropped)).count();
        DatasetStats {
            path,
            sha256,
            conversations: self.turns.values().sum(),
            turns: self.turns,
            prompt: Lengthwise::of(self.lengths.iter().map(|lengths| lengths.prompt).collect()),
            answer: Lengthwise::of(self.lengths.iter().map(|lengths| lengths.output).collect()),
            usable,
            dropped,
            counted_by: self.tokenizer.source(),
        }
    }
}
