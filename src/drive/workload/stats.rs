//! What is in a ShareGPT file: turns, lengths, and how much of it a run could use.

use std::collections::BTreeMap;
use std::path::Path;

use rayon::prelude::*;

use super::conversations;
use super::sharegpt::{BOUNDS, Lengths, Pair};
use super::{OnProgress, WorkloadError};
use crate::core::dataset::{DatasetStats, Drops, LengthSummary};
use crate::core::digest::Digest;
use crate::drive::tokenizer::{TokenizeError, Tokenizer};

/// How many conversations are kept in memory.
const BLOCK: usize = 1024;

/// Reads and counts a whole ShareGPT file; without a path, the bundled conversations.
///
/// # Errors
/// As for preparing a run, except that a file without usable conversations is none.
pub fn stats(
    path: Option<&Path>,
    tokenizer: &Tokenizer,
    progress: &OnProgress<'_>,
) -> Result<DatasetStats, WorkloadError> {
    let source = conversations::open(path, progress)?;
    let name = source.name.clone();
    let mut census = Census { tokenizer, block: Vec::new(), turns: BTreeMap::new(), lengths: Vec::new() };
    let sha256 = conversations::read(source, &mut |conversation| {
        *census.turns.entry(conversation.turns).or_default() += 1;
        if conversation.turns >= 2 {
            census.block.push(Pair::from(conversation));
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
        let usable =
            self.lengths.iter().filter(|lengths| lengths.accept(false, BOUNDS, &mut dropped)).count();
        DatasetStats {
            path,
            sha256,
            conversations: self.turns.values().sum(),
            turns: self.turns,
            prompt: LengthSummary::of(self.lengths.iter().map(|lengths| lengths.prompt)),
            answer: LengthSummary::of(self.lengths.iter().map(|lengths| lengths.output)),
            usable,
            dropped,
            counted_by: self.tokenizer.source(),
        }
    }
}
