//! BurstGPT as a source of lengths, sampled as vLLM's Python client does (`BurstGPTDataset`).
//!
//! pandas draws from the answered rows of one model, with its own generator that starts from the seed. The `i`-th
//! prompt is the text of consecutive ids from `i` on. The client assumes that this text has the row's length, which is
//! rarely true; here its tokens are counted.

use std::collections::HashSet;

use rayon::prelude::*;

use super::read;
use super::row::TraceRow;
use super::rows::TraceRows;
use crate::dataset::read_options::{FileSummary, describe_rule};
use crate::dataset::sampler::is_admitted;
use crate::dataset::trace::prompt_generator::TracePromptGenerator;
use crate::dataset::{DatasetError, PrepareContext, PreparedWorkload};
use crate::model::dataset::{DropCounts, Provenance};
use crate::model::request::{Content, Request};
use crate::model::rng::NumpyRandomState;
use crate::model::run_spec::Trace;
use crate::tokenizer::LocalTokenizer;

/// Number of requests that are made at a time, in parallel.
const ROWS_PER_BLOCK: usize = 4096;

/// Prepares the measured requests as vLLM's client does, followed by spare requests.
pub(super) fn prepare(
    trace: &Trace,
    job: &PrepareContext<'_>,
    local: &LocalTokenizer,
) -> Result<PreparedWorkload, DatasetError> {
    let (mut rows, mut dropped) = (Vec::new(), DropCounts::default());
    let (FileSummary { digest, bad }, name) = read::each_row(trace, job, &mut |row| match row.output {
        0 => dropped.empty += 1,
        _ => rows.push(row),
    })?;
    let candidates = rows.len() + dropped.empty + bad.total();
    dropped.malformed = bad;
    if rows.is_empty() && job.num_prompts > 0 {
        let why = describe_rule(format!("dropped: {dropped}"), &dropped, read::format(trace));
        return Err(DatasetError::NothingToSend { path: name, rows: candidates, why });
    }
    let enough = job.required_count(rows.len());
    let mut picks = HashSet::new();
    let measured = enough - job.spare_count();
    sample_rows(rows.len(), measured, job.seed).for_each(|row| {
        picks.insert(row);
    });
    let mut provenance =
        Provenance { repeated: measured - picks.len(), ..Provenance::from_generator(trace.kind.name()) };
    drop(picks);
    let mut requests = job.request_sink();
    let mut picked = sample_rows(rows.len(), measured, job.seed).map(|row| &rows[row]).enumerate();
    loop {
        let block: Vec<(usize, &TraceRow)> = picked.by_ref().take(ROWS_PER_BLOCK).collect();
        if block.is_empty() {
            break;
        }
        let made = block.into_par_iter().map(|(index, row)| request(index, row, trace, job, local));
        for (request, off) in made.collect::<Result<Vec<_>, DatasetError>>()? {
            if request.prompt_tokens == 0 {
                dropped.empty += 1;
            } else if is_admitted(job.bounds, request.prompt_tokens, request.max_tokens, &mut dropped) {
                provenance.record_length_error(off);
                requests.push(request)?;
            }
        }
    }
    let spare: Vec<TraceRow> =
        rows.iter().filter(|row| !row.is_empty()).cycle().take(job.spare_count()).cloned().collect();
    let (spare, count) = (TraceRows::from(spare), job.spare_count());
    TracePromptGenerator::new(trace, &spare, job)?.generate(spare.iter(), count, &mut requests)?;
    provenance = Provenance { path: Some(name), sha256: Some(digest), candidates, dropped, ..provenance };
    Ok(PreparedWorkload { requests: requests.finish()?, arrivals: None, provenance })
}

/// The row positions that `pandas.DataFrame.sample` draws. Rows repeat if there are too few.
fn sample_rows(rows: usize, wanted: usize, seed: u64) -> Box<dyn Iterator<Item = usize>> {
    let mut numpy = NumpyRandomState::new(seed);
    let last = u32::try_from(rows.saturating_sub(1)).unwrap_or(u32::MAX);
    if wanted > rows {
        return Box::new((0..wanted).map(move |_| numpy.integer(&(0..=last)) as usize));
    }
    let mut places: Vec<usize> = (0..rows).collect();
    for place in (1..=last).rev() {
        places.swap(place as usize, numpy.integer(&(0..=place)) as usize);
    }
    Box::new(places.into_iter().take(wanted))
}

/// The request at `index`, and the number of tokens by which it exceeds the row's length.
fn request(
    index: usize,
    row: &TraceRow,
    trace: &Trace,
    job: &PrepareContext<'_>,
    local: &LocalTokenizer,
) -> Result<(Request, i64), DatasetError> {
    let vocabulary = local.vocabulary_size().max(1) as usize;
    let ids: Vec<u32> = (0..row.input as usize).map(|place| ((index + place) % vocabulary) as u32).collect();
    if trace.token_ids {
        return Ok((Request::of(Content::TokenIds(ids.into()), row.input, row.output), 0));
    }
    let text = local.decode(&ids)?;
    let tokens = if text.is_empty() { 0 } else { job.tokenizer.count(&text)? };
    let off = i64::from(tokens) - i64::from(row.input);
    Ok((Request::text(text, tokens, row.output), off))
}
