//! Samples files as vLLM does. The records are shuffled, and the first ones with lengths within bounds are taken. If
//! there are too few, taken records are drawn again.

use rayon::prelude::*;

use super::repeat::repeat;
use super::{DatasetError, DatasetFormat, LengthFn, PrepareContext, PrepareProgress, PreparedWorkload};
use crate::dataset::read_options::{ReadOptions, describe_rule};
use crate::dataset::requests::{RequestSink, Requests};
use crate::dataset::shuffle_prefix::{ReadOrder, ShufflePrefix};
use crate::model::dataset::{BadRows, DropCounts, Provenance};
use crate::model::digest::Digest;
use crate::model::request::Request;
use crate::model::rng::RunRng;
use crate::model::run_spec::LengthBounds;

/// Number of records that are turned into requests at a time: large enough to keep all cores busy, small enough to
/// waste little work.
const REQUESTS_PER_BLOCK: usize = 256;

/// A collection of records that can be turned into requests.
pub(super) trait RecordCollection: Sync {
    /// The data that is kept of a record until its request is made. It should be small, because many records are kept.
    type Item: Send + Sync;

    /// vLLM's name of the dataset.
    fn name(&self) -> &'static str;

    /// The name of the file in errors and reports.
    fn path(&self) -> String;

    /// The expected format of the file.
    fn format(&self) -> &'static DatasetFormat;

    /// Whether the file can be read again with the same result. A pipe cannot.
    fn is_rereadable(&self) -> bool;

    /// Whether vLLM reads the whole file and then shuffles it with Python's `random`.
    fn is_shuffled_whole(&self) -> bool {
        true
    }

    /// The dataset's default length limits.
    fn bounds(&self) -> LengthBounds {
        LengthBounds::default()
    }

    /// Reads the records in order and passes the usable ones to `sink`. It may stop once it has passed on `enough`
    /// records.
    fn read(
        &self,
        enough: usize,
        reading: ReadOptions<'_>,
        sink: &mut dyn FnMut(Self::Item),
    ) -> Result<CollectionSummary, DatasetError>;

    /// Builds the request for a record.
    fn request(&self, item: Self::Item, job: &PrepareContext<'_>) -> Result<Request, DatasetError>;
}

/// The result of reading a collection.
pub(super) struct CollectionSummary {
    /// The digest of the file as stored on disk.
    pub digest: Digest,
    /// Records without a text.
    pub textless: usize,
    /// Malformed records.
    pub bad: BadRows,
    /// Whether the whole file has been read.
    pub whole: bool,
}

/// Samples the requests that the job asks for.
pub(super) fn sample<C: RecordCollection>(
    collection: &C,
    job: &PrepareContext<'_>,
    dice: &mut RunRng,
) -> Result<PreparedWorkload, DatasetError> {
    let order = read_order(collection, job, dice)?;
    let bounds = job.bounds.or_default(collection.bounds());
    if let Some(count) = job.lengths {
        return count_lengths(collection, bounds, job, count);
    }
    let mut keep = initial_keep(collection, bounds, job);
    loop {
        let mut front = ShufflePrefix::new(&order, keep);
        let contents = collection.read(keep, job.read_options(), &mut |item| front.offer(|| item))?;
        let (seen, whole) = (front.seen, front.is_complete() && contents.whole);
        let (mut requests, mut dropped) = take_fitting(collection, front.into_items(dice), bounds, job)?;
        if requests.len() < job.num_prompts && !whole {
            keep = keep.saturating_mul(8);
            continue;
        }
        let candidates = seen + contents.textless + contents.bad.total();
        dropped.textless = contents.textless;
        dropped.malformed = contents.bad;
        if candidates == 0 {
            return Err(DatasetError::Empty { path: collection.path(), format: collection.format() });
        }
        if requests.len() == 0 && job.num_prompts > 0 {
            return Err(unusable(collection, bounds, candidates, dropped));
        }
        let repeated = repeat(&mut requests, job, dice)?;
        let provenance = Provenance {
            path: Some(collection.path()),
            sha256: Some(contents.digest),
            candidates,
            dropped,
            repeated,
            ..Provenance::from_generator(collection.name())
        };
        return Ok(PreparedWorkload { requests: requests.finish()?, arrivals: None, provenance });
    }
}

/// Makes the requests of the whole file block by block, and keeps only their lengths.
fn count_lengths<C: RecordCollection>(
    collection: &C,
    bounds: LengthBounds,
    job: &PrepareContext<'_>,
    count: &LengthFn<'_>,
) -> Result<PreparedWorkload, DatasetError> {
    let (mut block, mut seen, mut usable, mut dropped) = (Vec::new(), 0, 0_usize, DropCounts::default());
    let mut count_block = |block: Vec<C::Item>| {
        let job = PrepareContext { num_prompts: block.len(), ..*job };
        let (requests, others) = take_fitting(collection, block, bounds, &job)?;
        let requests = requests.finish()?;
        requests.iter().for_each(|request| count(request.prompt_tokens, request.max_tokens));
        usable += requests.len();
        dropped.merge(others);
        Ok(())
    };
    let mut result: Result<(), DatasetError> = Ok(());
    let contents = collection.read(usize::MAX, job.read_options(), &mut |item| {
        seen += 1;
        block.push(item);
        if block.len() >= REQUESTS_PER_BLOCK {
            let full = std::mem::take(&mut block);
            // The reader cannot be stopped; the rest of the file is read, and not kept.
            if result.is_ok() {
                result = count_block(full);
            }
        }
    })?;
    result.and_then(|()| count_block(block))?;
    let candidates = seen + contents.textless + contents.bad.total();
    dropped.textless = contents.textless;
    dropped.malformed = contents.bad;
    match (candidates, usable) {
        (0, _) => Err(DatasetError::Empty { path: collection.path(), format: collection.format() }),
        (_, 0) => Err(unusable(collection, bounds, candidates, dropped)),
        _ => {
            let provenance = Provenance {
                path: Some(collection.path()),
                sha256: Some(contents.digest),
                candidates,
                dropped,
                ..Provenance::from_generator(collection.name())
            };
            Ok(PreparedWorkload { requests: Requests::default(), arrivals: None, provenance })
        }
    }
}

fn read_order<C: RecordCollection>(
    collection: &C,
    job: &PrepareContext<'_>,
    dice: &mut RunRng,
) -> Result<ReadOrder, DatasetError> {
    if !collection.is_shuffled_whole() {
        return Ok(if job.draw.shuffle { ReadOrder::Drawn(job.seed) } else { ReadOrder::AsWritten });
    }
    let count = || {
        let mut count = 0;
        collection.read(usize::MAX, job.read_options(), &mut |_| count += 1)?;
        Ok(count)
    };
    ReadOrder::decide(job, dice, collection.is_rereadable().then_some(count))
}

/// Number of records to keep on the first pass. With length limits, more are kept, because some will be dropped.
fn initial_keep<C: RecordCollection>(
    collection: &C,
    bounds: LengthBounds,
    job: &PrepareContext<'_>,
) -> usize {
    match (collection.is_rereadable(), bounds.describe()) {
        (false, _) => usize::MAX,
        (true, None) => job.num_prompts,
        (true, Some(_)) => job.num_prompts.saturating_mul(3).saturating_add(REQUESTS_PER_BLOCK),
    }
}

/// Takes requests from the front until there are enough. Requests are made in parallel blocks. Requests after the last
/// one taken have no effect, so the result equals that of a sequential pass.
fn take_fitting<C: RecordCollection>(
    collection: &C,
    items: Vec<C::Item>,
    bounds: LengthBounds,
    job: &PrepareContext<'_>,
) -> Result<(RequestSink, DropCounts), DatasetError> {
    let (mut requests, mut dropped) = (job.request_sink(), DropCounts::default());
    let of = job.num_prompts.min(items.len());
    let mut items = items.into_iter();
    while requests.len() < job.num_prompts {
        let missing = job.num_prompts - requests.len();
        let block: Vec<C::Item> = items.by_ref().take(REQUESTS_PER_BLOCK.min(missing)).collect();
        if block.is_empty() {
            break;
        }
        let made: Vec<Request> =
            block.into_par_iter().map(|item| collection.request(item, job)).collect::<Result<_, _>>()?;
        requests.extend(made.into_iter().filter(|request| {
            is_admitted(bounds, request.prompt_tokens, request.max_tokens, &mut dropped)
        }))?;
        (job.progress)(PrepareProgress::Tokenizing { done: requests.len(), of });
    }
    Ok((requests, dropped))
}

/// Whether lengths are within bounds. If they are not, the first reason is counted.
pub(super) fn is_admitted(bounds: LengthBounds, prompt: u32, output: u32, dropped: &mut DropCounts) -> bool {
    let reason = if bounds.min_prompt_len.is_some_and(|least| prompt < least) {
        &mut dropped.short_prompt
    } else if bounds.max_prompt_len.is_some_and(|most| prompt > most) {
        &mut dropped.long_prompt
    } else if bounds.max_total().is_some_and(|most| prompt.saturating_add(output) > most) {
        &mut dropped.long_total
    } else {
        return true;
    };
    *reason += 1;
    false
}

fn unusable<C: RecordCollection>(
    collection: &C,
    bounds: LengthBounds,
    candidates: usize,
    dropped: DropCounts,
) -> DatasetError {
    let rule = ["a text".to_owned()].into_iter().chain(bounds.describe()).collect::<Vec<_>>().join(" and ");
    let rule = describe_rule(rule, &dropped, collection.format());
    DatasetError::Unusable { path: collection.path(), candidates, dropped: dropped.into(), rule }
}

#[cfg(test)]
mod tests;
