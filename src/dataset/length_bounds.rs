//! Length limits for generated requests. A request beyond the limits is not sent; another one is generated in its
//! place.

use std::borrow::Cow;

use super::sampler::is_admitted;
use super::{DatasetError, PrepareContext, PreparedWorkload, prepare_dataset, sessions};
use crate::dataset::requests::Requests;
use crate::model::dataset::DropCounts;
use crate::model::request::{Content, Request};
use crate::model::rng::RunRng;
use crate::model::run_spec::{Dataset, LengthBounds};

/// Maximum number of times that more requests are generated if too few are within the limits.
const MAX_ROUNDS: usize = 6;

/// Prepares requests of a dataset that are within the limits. Replacements come after the RNG's measured requests, so
/// that the limits do not change any measured request.
pub(super) fn within_bounds(
    dataset: &Dataset,
    job: &PrepareContext<'_>,
    dice: &mut RunRng,
) -> Result<PreparedWorkload, DatasetError> {
    let Some(rule) = job.bounds.describe().filter(|_| !filters_lengths(dataset)) else {
        return prepare_dataset(dataset, job, dice);
    };
    let (mut extra, mut wanted) = (0, None);
    for round in 1.. {
        let wider = PrepareContext { num_prompts: job.num_prompts.saturating_add(extra), ..*job };
        let mut workload = prepare_dataset(dataset, &wider, dice)?;
        let dropped = retain_fitting(&mut workload, dataset, job)?;
        workload.provenance.dropped.merge(dropped);
        let kept = sessions::session_count(workload.requests.all());
        let candidates = kept + workload.provenance.dropped.total();
        // The Python-compatible RNG may generate slightly fewer requests than requested.
        let wanted = *wanted.get_or_insert(candidates.min(job.num_prompts));
        if kept == 0 && candidates > 0 {
            let (path, dropped) = (workload.provenance.dataset, workload.provenance.dropped);
            return Err(DatasetError::Unusable { path, candidates, dropped: dropped.into(), rule });
        }
        if kept >= wanted || round == MAX_ROUNDS || !can_extend(dataset) {
            truncate(&mut workload, wanted);
            return Ok(workload);
        }
        // Generates enough requests for the observed share within the limits, plus a reserve.
        extra += (wanted - kept) * candidates.div_ceil(kept.max(1)) + wanted / 10 + 1;
    }
    unreachable!("the last round returns")
}

/// Whether a dataset applies the limits itself while it selects entries from a file.
fn filters_lengths(dataset: &Dataset) -> bool {
    match dataset {
        Dataset::Sharegpt { .. }
        | Dataset::SharegptTurns { .. }
        | Dataset::Custom { .. }
        | Dataset::CustomImage(_)
        | Dataset::CustomAudio(_)
        | Dataset::SpecBench(_)
        | Dataset::SpeedBench(_)
        | Dataset::Hf(_)
        | Dataset::Mix { .. } => true,
        Dataset::Random(_)
        | Dataset::Trace(_)
        | Dataset::PrefixRepetition(_)
        | Dataset::RandomBatch(_)
        | Dataset::RandomMm(_)
        | Dataset::RandomRerank(_)
        | Dataset::Sonnet(_)
        | Dataset::RandomTurns(_)
        | Dataset::Conversations { .. } => false,
    }
}

/// Whether the dataset can generate more requests. A trace cannot, because its number of rows is fixed.
fn can_extend(dataset: &Dataset) -> bool {
    !matches!(dataset, Dataset::Trace(_) | Dataset::Conversations { all: true, .. })
}

/// Whether each turn of a session is sent without the turns before it.
fn has_independent_turns(dataset: &Dataset) -> bool {
    match dataset {
        Dataset::Trace(trace) => trace.whole_turns,
        Dataset::RandomTurns(turns) => turns.has_common_prefixes(),
        _ => false,
    }
}

/// Keeps the sessions in which every turn is within the limits.
fn retain_fitting(
    workload: &mut PreparedWorkload,
    dataset: &Dataset,
    job: &PrepareContext<'_>,
) -> Result<DropCounts, DatasetError> {
    let mut dropped = DropCounts::default();
    let stand_alone = has_independent_turns(dataset);
    let mut fits = |party: &[Request]| is_within_bounds(party, stand_alone, job.bounds, &mut dropped);
    if whole_sessions(&workload.requests).filter(|party| !fits(party)).count() == 0 {
        return Ok(dropped);
    }
    dropped = DropCounts::default();
    let (mut kept, mut due) = (job.request_sink(), job.offset_sink());
    let mut arrivals = workload.arrivals.iter().flat_map(|arrivals| arrivals.iter());
    for party in whole_sessions(&workload.requests) {
        let arrival = arrivals.next();
        if is_within_bounds(&party, stand_alone, job.bounds, &mut dropped) {
            kept.extend(party)?;
            arrival.map_or(Ok(()), |arrival| due.push(arrival))?;
        }
    }
    drop(arrivals);
    workload.requests = kept.finish()?;
    if workload.arrivals.is_some() {
        workload.arrivals = Some(due.finish()?);
    }
    Ok(dropped)
}

/// The requests of each session, one session at a time.
fn whole_sessions(requests: &Requests) -> impl Iterator<Item = Vec<Request>> + '_ {
    let mut requests = requests.iter().map(Cow::into_owned).peekable();
    std::iter::from_fn(move || {
        let mut party = vec![requests.next()?];
        while let Some(turn) = requests.next_if(Request::is_later_turn) {
            party.push(turn);
        }
        Some(party)
    })
}

/// Whether all turns of a session are within the limits. The model's length limit applies to a turn together with the
/// whole history before it. The first turn beyond a limit determines the reason for dropping the session.
fn is_within_bounds(
    party: &[Request],
    stand_alone: bool,
    bounds: LengthBounds,
    dropped: &mut DropCounts,
) -> bool {
    let by_turn = LengthBounds { max_model_len: None, ..bounds };
    let whole = LengthBounds { max_model_len: bounds.max_model_len, ..LengthBounds::default() };
    let mut said = 0_u32;
    party.iter().all(|request| {
        let (prompt, output) = (sequence_tokens(request), request.max_tokens);
        let before = if stand_alone { 0 } else { said };
        said = said.saturating_add(prompt).saturating_add(output);
        is_admitted(by_turn, prompt, output, dropped)
            && is_admitted(whole, before.saturating_add(prompt), output, dropped)
    })
}

/// Number of tokens that the server processes as one sequence. For a request with several texts, this is approximately
/// the size of one text.
fn sequence_tokens(request: &Request) -> u32 {
    let texts = match &request.content {
        Content::Batch(texts) => texts.len(),
        Content::Rerank { documents, .. } => documents.len(),
        _ => 1,
    };
    request.prompt_tokens.div_ceil(u32::try_from(texts.max(1)).unwrap_or(u32::MAX))
}

/// Keeps at most this number of sessions, from the first.
fn truncate(workload: &mut PreparedWorkload, sessions: usize) {
    let surplus = sessions::session_count(workload.requests.all()).saturating_sub(sessions);
    let (kept, _) = sessions::split_last(workload.requests.all(), surplus);
    let kept = kept.len();
    workload.requests.truncate(kept);
    if let Some(arrivals) = &mut workload.arrivals {
        arrivals.truncate(sessions);
    }
}

#[cfg(test)]
mod tests;
