//! Collects what the client knows of a run's quality in addition to its Records: its own delays, and the server's
//! prefix cache.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::lengths;
use crate::client::request_timer::StreamStats;
use crate::dataset::{PreparedWorkload, sessions, shared_prefix};
use crate::loadgen::{LoadResult, TokenAgreement};
use crate::model::profile::ProfileReport;
use crate::model::record::{FailureClass, Record, whole_second};
use crate::model::record_log::PackedRecords;
use crate::model::run_spec::{Backend, BackendTask, Dataset, HistoryMode, SaltScope, Spec};
use crate::model::server::{ServerMetrics, ServerSignal};
use crate::model::validity::{
    EmptyAnswers, EstimatedPrompts, OutputLengths, PrefixCacheCounts, ProfilerEffect, RunDiagnostics,
    ServerMeanLatencies, TemplateTokens,
};
use crate::server::prefix_cache::PrefixCacheCounters;

/// The prefix cache's counters before and after the run, from a server that reports them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PrefixCacheReadings {
    pub before: Option<PrefixCacheCounters>,
    pub after: Option<PrefixCacheCounters>,
}

/// The number of prompt tokens that were looked up in the prefix cache during the run, and the number found.
struct CacheMoves {
    queries: u64,
    hits: u64,
}

impl PrefixCacheReadings {
    fn moves(&self) -> Option<CacheMoves> {
        let (before, after) = (self.before?, self.after?);
        Some(CacheMoves {
            queries: after.queries.checked_sub(before.queries)?,
            hits: after.hits.checked_sub(before.hits)?,
        })
    }
}

impl CacheMoves {
    /// The counts from the `cached_tokens` in the usage of the measured requests; `None` if no answer has them. vLLM
    /// omits the field from an answer without cached tokens.
    fn by_usage(outcome: &LoadResult) -> Option<Self> {
        let answered = || outcome.records.iter().filter(|record| record.is_success());
        let hits =
            answered().filter_map(|record| record.cached_tokens).map(u64::from).reduce(|a, b| a + b)?;
        let queries = answered().map(|record| u64::from(record.prompt_tokens.count)).sum();
        Some(Self { queries, hits })
    }
}

/// A run's Records compared with the workload.
pub(super) struct AgainstPlan<'a> {
    spec: &'a Spec,
    repeated_prompts: usize,
    lengths: Option<OutputLengths>,
    /// The number of tokens that the prompts share by design of the workload, and those that later turns repeat.
    shared: u64,
    history: u64,
}

impl<'a> AgainstPlan<'a> {
    /// Compares the Records of a run that has just ended with its workload, and unpacks them. A run may have millions
    /// of requests, and memory does not suffice for the workload beside the unpacked Records. So the workload is
    /// dropped first.
    pub(super) fn hold(
        spec: &'a Spec,
        workload: PreparedWorkload,
        outcome: LoadResult<PackedRecords>,
    ) -> (Self, LoadResult) {
        let planned = planned(spec, &workload);
        let mut sums = Sums { planned, again: 0, again_tokens: 0, history: 0 };
        let mut lengths = lengths::Comparison::new(spec, &workload.requests);
        for record in outcome.records.iter() {
            sums.note(&record, &workload);
            lengths.note(&record);
        }
        let is_generation = spec.target.backend.task() == BackendTask::Generation;
        let has_history = spec.sessions.history != HistoryMode::None || !spec.workload.dataset.has_sessions();
        let against_plan = Self {
            spec,
            repeated_prompts: match are_unique(spec) {
                true => 0,
                false => workload.provenance.repeated + sums.again + sharing_blocks(spec, &workload),
            },
            lengths: is_generation.then(|| lengths.lengths()),
            shared: match are_unique(spec) && has_history {
                true => 0,
                false => shared_prefix::shared_tokens(&workload.requests) + sums.again_tokens,
            },
            history: sums.history,
        };
        drop(workload);
        (against_plan, outcome.unpack())
    }

    /// Gathers the input of the verdict.
    pub(super) fn gather(
        self,
        cache: PrefixCacheReadings,
        (server, profile): (Option<&ServerMetrics>, Option<&ProfileReport>),
        outcome: &LoadResult,
    ) -> RunDiagnostics {
        let starved = outcome.records.iter().filter_map(|record| record.outcome.as_ref().err());
        let starved = starved
            .filter(|failure| matches!(failure.class, FailureClass::Descriptors | FailureClass::Ports));
        RunDiagnostics {
            timestamp_source: Some(outcome.timestamp_source),
            read_delay: outcome.stream_stats.read_delay.percentile(99.0),
            merged_reads: merged_reads(outcome),
            burst_starts: burst_starts(&outcome.stream_stats),
            profiler_effect: profile.and_then(|profile| profiled(profile, outcome)),
            server_times: server.and_then(|server| server_times(server, outcome)),
            worker_cpu: outcome.worker_cpu.clone(),
            clock_step: Some(outcome.clock_step),
            starved: starved.count(),
            descriptor_limit: outcome.descriptors,
            prefix_cache: self.prefix_cache(cache, outcome),
            repeated_prompts: self.repeated_prompts,
            client_errors: outcome.client_errors.clone(),
            token_disagreement: disagreement(self.spec, &outcome.agreement),
            template_tokens: template_tokens(self.spec, &outcome.agreement),
            estimated_prompts: estimated_prompts(&outcome.agreement),
            lengths: self.lengths.map(|lengths| lengths.resolve_by_text(&outcome.claims)),
            text_claims: outcome.claims,
            repeated_answers: EmptyAnswers {
                all: outcome.stream_stats.turns,
                silent: outcome.stream_stats.silent_turns,
            },
        }
    }

    /// The cache hits that the workload explains: prefixes that its prompts share, whole prompts that it repeats, and
    /// what the server's chat template adds to each prompt, which is the same for all.
    fn prefix_cache(&self, cache: PrefixCacheReadings, outcome: &LoadResult) -> Option<PrefixCacheCounts> {
        let CacheMoves { queries, hits } = cache.moves().or_else(|| CacheMoves::by_usage(outcome))?;
        // An estimate cannot distinguish a template's tokens from its own error.
        let TokenAgreement { more, is_estimate, .. } = outcome.agreement;
        let explained = self.shared + self.history + if is_estimate { 0 } else { more };
        Some(PrefixCacheCounts { queries, hits, explained })
    }
}

/// Sums over the Records of the tokens that they repeat.
struct Sums {
    /// The number of the workload's requests that are measured.
    planned: usize,
    /// The number of requests that were sent again, and their tokens.
    again: usize,
    again_tokens: u64,
    /// The number of tokens that turns repeat from earlier turns.
    history: u64,
}

impl Sums {
    fn note(&mut self, record: &Record, workload: &PreparedWorkload) {
        if record.ordinal >= self.planned {
            self.again += 1;
            self.again_tokens += u64::from(record.prompt_tokens.count);
        }
        let request = workload.requests.get(record.ordinal);
        if let Some(request) = request.filter(|request| request.turn().is_some_and(|turn| turn.index > 0)) {
            self.history += u64::from(record.prompt_tokens.count.saturating_sub(request.prompt_tokens));
        }
    }
}

/// Whether each session began with a unique prefix.
fn are_unique(spec: &Spec) -> bool {
    spec.workload.unique.is_some_and(|unique| unique.scope == SaltScope::Session)
}

/// The number of generated prompts that share a block although they are made to differ.
fn sharing_blocks(spec: &Spec, workload: &PreparedWorkload) -> usize {
    let prefix = spec.workload.dataset.shared_prefix();
    prefix.map_or(0, |prefix| shared_prefix::sharing_blocks(&workload.requests, prefix > 0))
}

/// The number of the workload's requests that are measured. A request with a later ordinal was sent again.
fn planned(spec: &Spec, workload: &PreparedWorkload) -> usize {
    sessions::split_last(&workload.requests, spec.load.warmup_prompts()).0.len()
}

fn merged_reads(outcome: &LoadResult) -> Option<f64> {
    let events: u64 = outcome.records.iter().map(|record| u64::from(record.events.count)).sum();
    (events > 0).then(|| outcome.stream_stats.shared as f64 / events as f64)
}

fn burst_starts(stream_stats: &StreamStats) -> Option<f64> {
    (stream_stats.streams > 0).then(|| stream_stats.burst_starts as f64 / stream_stats.streams as f64)
}

/// The server's mean latencies, if it counted about the number of requests that we sent. Otherwise other clients'
/// requests are included, and the means are not comparable.
fn server_times(server: &ServerMetrics, outcome: &LoadResult) -> Option<ServerMeanLatencies> {
    let (ttft, tpot) =
        (server.histogram_total(ServerSignal::Ttft)?, server.histogram_total(ServerSignal::Tpot)?);
    let ours = outcome.records.iter().filter(|record| record.is_success()).count() as f64;
    let alone = (ttft.count - ours).abs() <= ours / 10.0;
    Some(ServerMeanLatencies { ttft: ttft.mean_time()?, tpot: tpot.mean_time()? }).filter(|_| alone)
}

/// The effect of the profiler on the run; `None` if it was never on during the run.
fn profiled(profile: &ProfileReport, outcome: &LoadResult) -> Option<ProfilerEffect> {
    let began = outcome.t0.timestamp();
    let offset = |at: Timestamp| Duration::try_from(at.duration_since(began)).unwrap_or_default();
    let end = outcome.records.iter().filter_map(|record| record.times.done()).max()?;
    let start = profile.start.as_ref().filter(|_| profile.is_started())?;
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
    // The server writes the profile before it answers the stop request.
    let writing = stop.map_or(until..until, |stop| offset(stop.sent).min(end)..until);
    let whole_seconds = whole_second(writing.start) + 1..whole_second(writing.end);
    let silent = whole_seconds.filter(|second| !events.contains(second)).count();
    (until > from)
        .then(|| ProfilerEffect { on: until - from, standstill: Duration::from_secs(silent as u64) })
}

/// How the estimated prompt lengths compare with the server's counts.
fn estimated_prompts(agreement: &TokenAgreement) -> Option<EstimatedPrompts> {
    let TokenAgreement { is_estimate, ours, servers, .. } = *agreement;
    (is_estimate && ours > 0 && servers > 0).then_some(EstimatedPrompts { estimated: ours, counted: servers })
}

/// The share of prompt tokens that our count and the server's disagree on, if the server takes prompts unchanged. A
/// chat template adds an unknown number of tokens but removes none. With a template, this is therefore the share that
/// the server does not count.
fn disagreement(spec: &Spec, agreement: &TokenAgreement) -> Option<f64> {
    let TokenAgreement { servers, ours, more, less, is_estimate, .. } = *agreement;
    let backend = spec.target.backend;
    let (differ, of) = match backend {
        _ if backend.supports_raw_prompts() => (more + less, servers),
        Backend::OpenaiChat | Backend::OpenaiResponses => (less, ours),
        _ => return None,
    };
    (servers > 0 && of > 0 && !is_estimate).then(|| differ as f64 / of as f64)
}

/// The tokens that the server's chat template adds to a prompt, on average, with those of the prompt. Images count as
/// many tokens as the model makes of them, so they say nothing about the template.
fn template_tokens(spec: &Spec, agreement: &TokenAgreement) -> Option<TemplateTokens> {
    let TokenAgreement { prompts, ours, more, is_estimate, .. } = *agreement;
    let is_chat = matches!(spec.target.backend, Backend::OpenaiChat | Backend::OpenaiResponses);
    let is_known = is_chat && prompts > 0 && !is_estimate && !may_have_media(&spec.workload.dataset);
    is_known.then(|| TemplateTokens { prompt: ours / prompts, added: more / prompts })
}

fn may_have_media(dataset: &Dataset) -> bool {
    matches!(
        dataset,
        Dataset::RandomMm(_)
            | Dataset::CustomImage(_)
            | Dataset::CustomAudio(_)
            | Dataset::Hf(_)
            | Dataset::Mix { .. }
    )
}
