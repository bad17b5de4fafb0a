//! What is known of a run beside its Records: what the drive saw of itself, and the server's prefix cache.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::trial::Trial;
use crate::core::profile::Capture;
use crate::core::record::{FailureClass, whole_second};
use crate::core::server::{ServerSide, Signal};
use crate::core::spec::{Backend, History, SaltScope, Spec};
use crate::core::validity::{EstimatedPrompts, Evidence, PrefixCache, Profiled, ServerTimes};
use crate::drive::client::stopwatch::Meters;
use crate::drive::engine::{Agreement, Outcome};
use crate::drive::workload::{Workload, sessions, sharing};
use crate::server::prefix_cache::Counters;

/// The prefix cache's counters before and after the run, from a server that has them.
#[derive(Debug, Clone, Copy, Default)]
pub struct CacheReadings {
    pub before: Option<Counters>,
    pub after: Option<Counters>,
}

/// Prompt tokens that were looked up in the prefix cache during the run, and those of them that were found.
struct CacheMoves {
    queries: u64,
    hits: u64,
}

impl CacheReadings {
    fn moves(&self) -> Option<CacheMoves> {
        let (before, after) = (self.before?, self.after?);
        Some(CacheMoves {
            queries: after.queries.checked_sub(before.queries)?,
            hits: after.hits.checked_sub(before.hits)?,
        })
    }
}

impl CacheMoves {
    /// By the `cached_tokens` in the usage of the measured requests; `None` if no answer has them. vLLM leaves them out of an
    /// answer that had none.
    fn by_usage(outcome: &Outcome) -> Option<Self> {
        let answered = || outcome.records.iter().filter(|record| record.succeeded());
        let hits =
            answered().filter_map(|record| record.cached_tokens).map(u64::from).reduce(|a, b| a + b)?;
        let queries = answered().map(|record| u64::from(record.prompt_tokens.count)).sum();
        Some(Self { queries, hits })
    }
}

/// Puts together what the verdict is made from.
pub fn gather(
    trial: &Trial,
    cache: CacheReadings,
    (server, profile): (Option<&ServerSide>, Option<&Capture>),
    outcome: &Outcome,
) -> Evidence {
    let Trial { spec, workload, .. } = trial;
    let planned = planned(spec, workload);
    let again = outcome.records.iter().filter(|record| record.ordinal >= planned).count();
    let starved = outcome.records.iter().filter_map(|record| record.outcome.as_ref().err());
    let starved =
        starved.filter(|failure| matches!(failure.class, FailureClass::Descriptors | FailureClass::Ports));
    let cpu = |effort: &crate::drive::engine::Effort| {
        effort.cpu.as_secs_f64() / effort.wall.as_secs_f64().max(f64::MIN_POSITIVE)
    };
    Evidence {
        stamps: Some(outcome.stamps),
        read_delay: outcome.meters.read_delay.percentile(99.0),
        merged_reads: merged_reads(outcome),
        burst_starts: burst_starts(&outcome.meters),
        profiled: profile.and_then(|profile| profiled(profile, outcome)),
        server_times: server.and_then(|server| server_times(server, outcome)),
        worker_cpu: outcome.efforts.iter().map(cpu).collect(),
        clock_step: Some(outcome.clock_step),
        starved: starved.count(),
        descriptor_limit: outcome.descriptors,
        prefix_cache: prefix_cache(spec, workload, cache, outcome),
        repeated_prompts: match are_unique(spec) {
            true => 0,
            false => workload.provenance.repeated + again + sharing_blocks(spec, workload),
        },
        client_errors: outcome.client_errors.clone(),
        token_disagreement: disagreement(spec, &outcome.agreement),
        estimated_prompts: estimated_prompts(&outcome.agreement),
    }
}

/// Whether each session began with words of its own.
fn are_unique(spec: &Spec) -> bool {
    spec.workload.unique.is_some_and(|unique| unique.scope == SaltScope::Session)
}

/// Generated prompts that share a block although they are made to differ.
fn sharing_blocks(spec: &Spec, workload: &Workload) -> usize {
    let prefix = spec.workload.dataset.shared_prefix();
    prefix.map_or(0, |prefix| sharing::sharing_blocks(&workload.requests, prefix > 0))
}

/// How many of the workload's requests are the measured ones: what has a later ordinal was sent again.
fn planned(spec: &Spec, workload: &Workload) -> usize {
    sessions::split_last(&workload.requests, spec.load.warmup_prompts()).0.len()
}

fn merged_reads(outcome: &Outcome) -> Option<f64> {
    let events: u64 = outcome.records.iter().map(|record| u64::from(record.events.count)).sum();
    (events > 0).then(|| outcome.meters.shared as f64 / events as f64)
}

fn burst_starts(meters: &Meters) -> Option<f64> {
    (meters.streams > 0).then(|| meters.burst_starts as f64 / meters.streams as f64)
}

/// The server's means, where it counted about as many requests as we sent: those of others would not be comparable.
fn server_times(server: &ServerSide, outcome: &Outcome) -> Option<ServerTimes> {
    let (ttft, tpot) = (server.times(Signal::Ttft)?, server.times(Signal::Tpot)?);
    let ours = outcome.records.iter().filter(|record| record.succeeded()).count() as f64;
    let alone = (ttft.count - ours).abs() <= ours / 10.0;
    Some(ServerTimes { ttft: ttft.mean_time()?, tpot: tpot.mean_time()? }).filter(|_| alone)
}

/// What the profiler did to the run: nothing, if it was never on during it.
fn profiled(profile: &Capture, outcome: &Outcome) -> Option<Profiled> {
    let began = outcome.t0.timestamp();
    let offset = |at: Timestamp| Duration::try_from(at.duration_since(began)).unwrap_or_default();
    let end = outcome.records.iter().filter_map(|record| record.times.done).max()?;
    let start = profile.start.as_ref().filter(|_| profile.started())?;
    let stop = profile.stop.as_ref();
    let from = offset(start.sent).min(end);
    let until = stop.map_or(end, |stop| (offset(stop.sent) + stop.took).min(end));
    let events: BTreeSet<u32> = outcome
        .records
        .iter()
        .flat_map(|record| &record.events.by_second)
        .filter(|(_, events)| *events > 0)
        .map(|(second, _)| *second)
        .collect();
    // The server writes the profile before it answers the order to stop.
    let writing = stop.map_or(until..until, |stop| offset(stop.sent).min(end)..until);
    let whole_seconds = whole_second(writing.start) + 1..whole_second(writing.end);
    let silent = whole_seconds.filter(|second| !events.contains(second)).count();
    (until > from).then(|| Profiled { on: until - from, standstill: Duration::from_secs(silent as u64) })
}

/// What the workload explains: the beginnings that its prompts share, whole prompts that it sends again, and what the
/// server's chat template adds to each, which is the same for all.
fn prefix_cache(
    spec: &Spec,
    workload: &Workload,
    cache: CacheReadings,
    outcome: &Outcome,
) -> Option<PrefixCache> {
    let CacheMoves { queries, hits } = cache.moves().or_else(|| CacheMoves::by_usage(outcome))?;
    let planned = planned(spec, workload);
    let again = outcome.records.iter().filter(|record| record.ordinal >= planned);
    let again: u64 = again.map(|record| u64::from(record.prompt_tokens.count)).sum();
    let has_history = spec.sessions.history != History::None || !spec.workload.dataset.has_sessions();
    let shared = match are_unique(spec) && has_history {
        true => 0,
        false => sharing::shared_tokens(&workload.requests) + again,
    };
    // An estimate does not tell a template's tokens from its own mistake.
    let Agreement { more, is_estimate, .. } = outcome.agreement;
    Some(PrefixCache {
        queries,
        hits,
        explained: shared + repeated_history(workload, outcome) + if is_estimate { 0 } else { more },
    })
}

/// What turns repeat of the turns before them.
fn repeated_history(workload: &Workload, outcome: &Outcome) -> u64 {
    let later = outcome.records.iter().filter_map(|record| {
        let request = workload.requests.get(record.ordinal)?;
        request.turn().filter(|turn| turn.index > 0)?;
        Some(u64::from(record.prompt_tokens.count.saturating_sub(request.prompt_tokens)))
    });
    later.sum()
}

/// What estimated prompts turned out to be.
fn estimated_prompts(agreement: &Agreement) -> Option<EstimatedPrompts> {
    let Agreement { is_estimate, ours, servers, .. } = *agreement;
    (is_estimate && ours > 0 && servers > 0).then_some(EstimatedPrompts { estimated: ours, counted: servers })
}

/// The share of prompt tokens that we count otherwise than the server, where it takes prompts as they are. A template adds
/// tokens that we cannot know.
fn disagreement(spec: &Spec, agreement: &Agreement) -> Option<f64> {
    let adds_nothing = matches!(
        spec.target.backend,
        Backend::Openai
            | Backend::Vllm
            | Backend::OpenaiEmbeddings
            | Backend::InfinityEmbeddings
            | Backend::Sglang
            | Backend::Tgi
            | Backend::LlamaCpp
    );
    (agreement.servers > 0 && adds_nothing && !agreement.is_estimate)
        .then(|| (agreement.more + agreement.less) as f64 / agreement.servers as f64)
}
