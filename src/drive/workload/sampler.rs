//! Samples of files, as vLLM takes them: the records are shuffled; from the front those whose lengths are within bounds are
//! taken until there are enough; if there are too few, taken ones are drawn again.

use rayon::prelude::*;

use super::front::{Front, Order};
use super::repeat::repeat;
use super::{Format, Job, OnProgress, Progress, Request, Workload, WorkloadError};
use crate::core::dataset::{Drops, Provenance};
use crate::core::digest::Digest;
use crate::core::rng::Dice;
use crate::core::spec::Bounds;

/// How many records become requests at a time: enough to keep the cores busy, few enough not to work in vain.
const BLOCK: usize = 256;

/// Records of which each may become a request.
pub(super) trait Collection: Sync {
    /// What is kept of a record until it is its turn: little, where there are many.
    type Item: Send + Sync;

    /// vLLM's name of the dataset.
    fn name(&self) -> &'static str;

    /// What errors and reports call the file.
    fn path(&self) -> String;

    /// What the file should be.
    fn format(&self) -> &'static Format;

    /// Whether reading it again gives the same records; a pipe does not.
    fn is_rereadable(&self) -> bool;

    /// Whether vLLM has Python's `random` shuffle it, after it has been read whole.
    fn is_shuffled_whole(&self) -> bool {
        true
    }

    /// Its own bounds, where the user gives none.
    fn bounds(&self) -> Bounds {
        Bounds::default()
    }

    /// Reads the records in order and hands on those of use. It may stop when it has handed on `enough`.
    fn read(
        &self,
        enough: usize,
        progress: &OnProgress<'_>,
        sink: &mut dyn FnMut(Self::Item),
    ) -> Result<Contents, WorkloadError>;

    /// What is sent of a record.
    fn request(&self, item: Self::Item, job: &Job<'_>) -> Result<Request, WorkloadError>;
}

/// What was read.
pub(super) struct Contents {
    /// Of the file as it lies on disk.
    pub digest: Digest,
    /// Records without a text.
    pub textless: usize,
    /// Whether these are all.
    pub whole: bool,
}

/// Takes as many requests as the job wants.
pub(super) fn sample<C: Collection>(
    collection: &C,
    job: &Job<'_>,
    dice: &mut Dice,
) -> Result<Workload, WorkloadError> {
    let order = order(collection, job, dice)?;
    let bounds = job.bounds.or(collection.bounds());
    let mut keep = first_look(collection, bounds, job);
    loop {
        let mut front = Front::new(&order, keep);
        let contents = collection.read(keep, job.progress, &mut |item| front.offer(|| item))?;
        let (seen, whole) = (front.seen, front.is_whole() && contents.whole);
        let (mut requests, mut dropped) = pick(collection, front.into_items(dice), bounds, job)?;
        if requests.len() < job.num_prompts && !whole {
            keep = keep.saturating_mul(8);
            continue;
        }
        dropped.textless = contents.textless;
        let candidates = seen + contents.textless;
        if candidates == 0 {
            return Err(WorkloadError::Empty { path: collection.path(), format: collection.format() });
        }
        if requests.is_empty() && job.num_prompts > 0 {
            return Err(unusable(collection, bounds, candidates, dropped));
        }
        let repeated = repeat(&mut requests, job, dice);
        let provenance = Provenance {
            dataset: collection.name().into(),
            path: Some(collection.path()),
            sha256: Some(contents.digest),
            candidates,
            dropped,
            repeated,
            inexact: 0,
        };
        return Ok(Workload { requests, arrivals: None, provenance });
    }
}

fn order<C: Collection>(collection: &C, job: &Job<'_>, dice: &mut Dice) -> Result<Order, WorkloadError> {
    if !collection.is_shuffled_whole() {
        return Ok(if job.draw.shuffle { Order::Drawn(job.seed) } else { Order::AsWritten });
    }
    let count = || {
        let mut count = 0;
        collection.read(usize::MAX, job.progress, &mut |_| count += 1)?;
        Ok(count)
    };
    Order::of(job, dice, collection.is_rereadable().then_some(count))
}

/// How many records are kept at first. Where there are bounds, some will be in vain.
fn first_look<C: Collection>(collection: &C, bounds: Bounds, job: &Job<'_>) -> usize {
    match (collection.is_rereadable(), bounds.in_words()) {
        (false, _) => usize::MAX,
        (true, None) => job.num_prompts,
        (true, Some(_)) => job.num_prompts.saturating_mul(3).saturating_add(BLOCK),
    }
}

/// Takes requests from the front until there are enough. They are made in parallel blocks; what is beyond the last one
/// taken is not looked at, so the result is that of going one by one.
fn pick<C: Collection>(
    collection: &C,
    items: Vec<C::Item>,
    bounds: Bounds,
    job: &Job<'_>,
) -> Result<(Vec<Request>, Drops), WorkloadError> {
    let (mut requests, mut dropped) = (Vec::new(), Drops::default());
    let of = job.num_prompts.min(items.len());
    let mut items = items.into_iter();
    while requests.len() < job.num_prompts {
        let missing = job.num_prompts - requests.len();
        let block: Vec<C::Item> = items.by_ref().take(BLOCK.min(missing)).collect();
        if block.is_empty() {
            break;
        }
        let made: Vec<Request> =
            block.into_par_iter().map(|item| collection.request(item, job)).collect::<Result<_, _>>()?;
        requests.extend(
            made.into_iter()
                .filter(|request| admit(bounds, request.prompt_tokens, request.max_tokens, &mut dropped)),
        );
        (job.progress)(Progress::Tokenizing { done: requests.len(), of });
    }
    Ok((requests, dropped))
}

/// Whether lengths are within bounds; if not, the first reason is counted.
pub(super) fn admit(bounds: Bounds, prompt: u32, output: u32, dropped: &mut Drops) -> bool {
    let reason = if bounds.min_prompt_len.is_some_and(|least| prompt < least) {
        &mut dropped.short_prompt
    } else if bounds.max_prompt_len.is_some_and(|most| prompt > most) {
        &mut dropped.long_prompt
    } else if bounds.total().is_some_and(|most| prompt.saturating_add(output) > most) {
        &mut dropped.long_total
    } else {
        return true;
    };
    *reason += 1;
    false
}

fn unusable<C: Collection>(
    collection: &C,
    bounds: Bounds,
    candidates: usize,
    dropped: Drops,
) -> WorkloadError {
    let rule = ["a text".to_owned()].into_iter().chain(bounds.in_words()).collect::<Vec<_>>().join(" and ");
    WorkloadError::Unusable { path: collection.path(), candidates, dropped, rule }
}

#[cfg(test)]
mod tests;
