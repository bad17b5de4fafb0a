//! Collects what the client knows of a run's quality in addition to its Records: its own delays, and the server's
//! prefix cache.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::common_prompts::{CommonPrompts, are_unique};
use super::lengths;
use crate::client::request_timer::StreamStats;
use crate::dataset::requests::RequestOutline;
use crate::dataset::{PreparedWorkload, sessions};
use crate::loadgen::{ClientObservations, TokenAgreement};
use crate::model::probes::ProbeSummary;
use crate::model::profile::ProfileReport;
use crate::model::record::{FailureClass, Record, whole_second};
use crate::model::record_log::{ClockRelation, RecordPass};
use crate::model::run_spec::{Backend, BackendTask, Dataset, HistoryMode, Spec};
use crate::model::server::{ServerMetrics, ServerSignal};
use crate::model::shard::Shard;
use crate::model::spool::SpoolError;
use crate::model::validity::{
    EmptyAnswers, EstimatedPrompts, OutputLengths, PrefixCacheCounts, ProfilerEffect, RunDiagnostics,
    ServerMeanLatencies, ServerPartMeans, ShardDiagnostics, TemplateTokens,
};
use crate::model::wall_time::WallTime;
use crate::server::prefix_cache::PrefixCacheCounters;

/// The prefix cache's counters before and after the run, from a server that reports them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PrefixCacheReadings {
    pub before: Option<PrefixCacheCounters>,
    pub after: Option<PrefixCacheCounters>,
}

/// The number of prompt tokens that were looked up in the prefix cache during the run, and the number found.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct CacheMoves {
    queries: u64,
    hits: u64,
}

impl PrefixCacheReadings {
    /// The increase of the counters; `None` if they were not read twice, or fell.
    pub(super) fn moves(&self) -> Option<CacheMoves> {
        let (before, after) = (self.before?, self.after?);
        Some(CacheMoves {
            queries: after.queries.checked_sub(before.queries)?,
            hits: after.hits.checked_sub(before.hits)?,
        })
    }
}

/// A run's Records compared with the workload.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct WorkloadComparison {
    /// What the prompts have in common; `None` if another client of the run has compared them.
    #[serde(flatten)]
    prompts: Option<CommonPrompts>,
    /// The number of requests that were sent again, and their tokens.
    again: usize,
    again_tokens: u64,
    /// The number of tokens that later turns repeat from earlier ones.
    history: u64,
    /// The lengths of the answers; `None` if the server does not generate.
    lengths: Option<OutputLengths>,
}

impl WorkloadComparison {
    /// Compares the prompts of a workload with each other. A run does this before its load, because a workload that is
    /// too large for memory may be too large for the disk. All clients of a run have the same prompts, so only the first
    /// compares them.
    pub(super) fn of_prompts(
        spec: &Spec,
        workload: &PreparedWorkload,
        shard: Shard,
    ) -> Result<Self, SpoolError> {
        let prompts = (shard.index() == 0).then(|| CommonPrompts::of(spec, workload)).transpose()?;
        Ok(Self { prompts, ..Self::default() })
    }

    /// Compares the Records of a run that has just ended with its workload.
    ///
    /// # Errors
    /// The Records are in a record log that cannot be read.
    pub(super) fn with_records(
        mut self,
        spec: &Spec,
        workload: &PreparedWorkload,
        records: RecordPass<'_>,
    ) -> io::Result<Self> {
        let is_generation = spec.target.backend.task() == BackendTask::Generation;
        let planned = planned(spec, workload);
        let mut requests = workload.requests.all().reader();
        let mut lengths = lengths::Comparison::new(spec, workload.requests.all());
        records(&mut |record| {
            self.note(record, requests.outline(record.ordinal), planned);
            lengths.note(record);
        })?;
        self.lengths = is_generation.then(|| lengths.lengths());
        Ok(self)
    }

    /// Adds the Record of a request. `planned` is the number of the workload's requests that are measured.
    fn note(&mut self, record: &Record, request: Option<RequestOutline>, planned: usize) {
        if record.ordinal >= planned {
            self.again += 1;
            self.again_tokens += u64::from(record.prompt_tokens.count);
        }
        if let Some(request) = request.filter(|request| request.is_later_turn) {
            self.history += u64::from(record.prompt_tokens.count.saturating_sub(request.prompt_tokens));
        }
    }

    /// Adds the comparison of other Records with the same workload.
    pub(super) fn merge(&mut self, other: Self) {
        self.prompts = self.prompts.or(other.prompts);
        self.again += other.again;
        self.again_tokens += other.again_tokens;
        self.history += other.history;
        match (&mut self.lengths, other.lengths) {
            (Some(lengths), Some(more)) => lengths.merge(more),
            (lengths, more) => *lengths = lengths.or(more),
        }
    }

    /// The number of prompts that were sent before.
    fn repeated_prompts(&self, spec: &Spec) -> usize {
        let repeated = self.prompts.map_or(0, |prompts| prompts.repeated);
        if are_unique(spec) { 0 } else { repeated + self.again }
    }

    /// The number of tokens that the prompts share by design of the workload, or because they were sent again; `None` if
    /// the client that compared the prompts did not report it.
    fn shared_tokens(&self, spec: &Spec) -> Option<u64> {
        let has_history = spec.sessions.history != HistoryMode::None || !spec.workload.dataset.has_sessions();
        let is_zero = are_unique(spec) && has_history;
        if is_zero { Some(0) } else { Some(self.prompts?.shared + self.again_tokens) }
    }

    /// The cache hits that the workload explains: prefixes that its prompts share, whole prompts that it repeats, and
    /// what the server's chat template adds to each prompt, which is the same for all.
    fn prefix_cache(
        &self,
        moves: CacheMoves,
        spec: &Spec,
        agreement: &TokenAgreement,
    ) -> Option<PrefixCacheCounts> {
        let CacheMoves { queries, hits } = moves;
        // An estimate cannot distinguish a template's tokens from its own error.
        let TokenAgreement { more, is_estimate, .. } = *agreement;
        let explained = self.shared_tokens(spec)? + self.history + if is_estimate { 0 } else { more };
        Some(PrefixCacheCounts { queries, hits, explained })
    }
}

/// What the clients of a run observed besides its Records.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct RunObservations {
    /// What the clients observed of themselves and of the answers.
    pub client: ClientObservations,
    /// The Records compared with the workload.
    pub workload: WorkloadComparison,
    /// The increase of the server's prefix-cache counters.
    pub cache: Option<CacheMoves>,
    /// The results of the probes.
    pub probes: Option<ProbeSummary>,
    /// The report on the server's profiler.
    pub profile: Option<ProfileReport>,
    /// The server's own metrics.
    pub server: Option<ServerMetrics>,
    /// Problems with the server's metrics pages.
    pub unread_metrics: Vec<String>,
    /// How this client's clocks relate to the first client's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clocks: Option<ClockRelation>,
    /// The clients, if several sent the run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shards: Vec<ShardDiagnostics>,
}

impl RunObservations {
    /// What one client observed of itself, with nothing of the workload or the server.
    pub(super) fn of_client(client: ClientObservations) -> Self {
        Self {
            client,
            workload: WorkloadComparison::default(),
            cache: None,
            probes: None,
            profile: None,
            server: None,
            unread_metrics: Vec::new(),
            clocks: None,
            shards: Vec::new(),
        }
    }

    /// Adds what another client of the same run observed. The server's own metrics, the probes and the profiler are
    /// those of the first client that has them.
    pub(super) fn merge(&mut self, other: Self) {
        self.client.merge(&other.client);
        self.workload.merge(other.workload);
        self.cache = self.cache.or(other.cache);
        self.probes = self.probes.take().or(other.probes);
        self.profile = self.profile.take().or(other.profile);
        self.server = self.server.take().or(other.server);
        self.unread_metrics.extend(other.unread_metrics);
        self.shards.extend(other.shards);
    }

    /// Adds up the Records for [`RunObservations::diagnostics`].
    pub(super) fn answer_sums(&self) -> AnswerSums {
        AnswerSums { event_seconds: self.profile.is_some().then(BTreeSet::new), ..AnswerSums::default() }
    }

    /// Gathers the input of the verdict.
    pub(super) fn diagnostics(&self, spec: &Spec, answers: &AnswerSums) -> RunDiagnostics {
        let Self { client, workload, profile, server, .. } = self;
        let cache = self.cache.or_else(|| answers.cache_moves());
        RunDiagnostics {
            timestamp_source: Some(client.timestamp_source),
            read_delay: client.stream_stats.read_delay.percentile(99.0),
            merged_reads: merged_reads(&client.stream_stats, answers),
            burst_starts: burst_starts(&client.stream_stats),
            profiler_effect: profile.as_ref().and_then(|profile| profiled(profile, client.t0, answers)),
            server_times: server.as_ref().and_then(|server| server_times(server, answers)),
            server_parts: server.as_ref().and_then(|server| server_parts(server, answers)),
            worker_cpu: client.worker_cpu.clone(),
            clock_step: Some(client.clock_step),
            starved: answers.starved,
            descriptor_limit: client.descriptors,
            prefix_cache: cache.and_then(|moves| workload.prefix_cache(moves, spec, &client.agreement)),
            repeated_prompts: workload.repeated_prompts(spec),
            client_errors: client.client_errors.clone(),
            token_disagreement: disagreement(spec, &client.agreement),
            template_tokens: template_tokens(spec, &client.agreement),
            estimated_prompts: estimated_prompts(&client.agreement),
            lengths: workload.lengths.map(|lengths| lengths.resolve_by_text(&client.claims)),
            text_claims: client.claims,
            repeated_answers: EmptyAnswers {
                all: client.stream_stats.turns,
                silent: client.stream_stats.silent_turns,
            },
            shards: self.shards.clone(),
        }
    }
}

/// What the diagnostics need of the Records of a run, in any order.
#[derive(Debug, Default)]
pub(super) struct AnswerSums {
    /// Requests for which the client had no descriptor or port.
    starved: usize,
    answered: u64,
    events: u64,
    /// The prompt tokens of the answered requests.
    prompt_tokens: u64,
    /// The cached prompt tokens of the answers; `None` if no answer has them.
    cached_tokens: Option<u64>,
    end: Option<Duration>,
    /// The seconds with output events, if a profiler was used.
    event_seconds: Option<BTreeSet<u32>>,
}

impl AnswerSums {
    /// Adds a Record.
    pub(super) fn add(&mut self, record: &Record) {
        let failure = record.outcome.as_ref().err();
        let is_starved = failure
            .is_some_and(|error| matches!(error.class, FailureClass::Descriptors | FailureClass::Ports));
        self.starved += usize::from(is_starved);
        self.events += u64::from(record.events.count);
        self.end = self.end.max(record.times.done());
        if let Some(seconds) = &mut self.event_seconds {
            let seen = record.events.by_second.iter().filter(|(_, events)| *events > 0);
            seconds.extend(seen.map(|(second, _)| *second));
        }
        if record.is_success() {
            self.answered += 1;
            self.prompt_tokens += u64::from(record.prompt_tokens.count);
            if let Some(cached) = record.cached_tokens {
                *self.cached_tokens.get_or_insert_default() += u64::from(cached);
            }
        }
    }

    /// The counts from the `cached_tokens` in the usage of the measured requests; `None` if no answer has them. vLLM
    /// omits the field from an answer without cached tokens.
    fn cache_moves(&self) -> Option<CacheMoves> {
        Some(CacheMoves { queries: self.prompt_tokens, hits: self.cached_tokens? })
    }
}

/// The number of the workload's requests that are measured. A request with a later ordinal was sent again.
fn planned(spec: &Spec, workload: &PreparedWorkload) -> usize {
    sessions::split_last(workload.requests.all(), spec.load.warmup_prompts()).0.len()
}

fn merged_reads(stream_stats: &StreamStats, answers: &AnswerSums) -> Option<f64> {
    let events = answers.events;
    (events > 0).then(|| stream_stats.shared as f64 / events as f64)
}

fn burst_starts(stream_stats: &StreamStats) -> Option<f64> {
    (stream_stats.streams > 0).then(|| stream_stats.burst_starts as f64 / stream_stats.streams as f64)
}

/// The server's mean latencies, if it counted about the number of requests that we sent. Otherwise other clients'
/// requests are included, and the means are not comparable.
fn server_times(server: &ServerMetrics, answers: &AnswerSums) -> Option<ServerMeanLatencies> {
    let (ttft, tpot) =
        (server.histogram_total(ServerSignal::Ttft)?, server.histogram_total(ServerSignal::Tpot)?);
    let ours = answers.answered as f64;
    let alone = (ttft.count - ours).abs() <= ours / 10.0;
    Some(ServerMeanLatencies { ttft: ttft.mean_time()?, tpot: tpot.mean_time()? }).filter(|_| alone)
}

/// The server's means of its own times, if its histograms counted the requests that were answered and hardly another.
fn server_parts(server: &ServerMetrics, answers: &AnswerSums) -> Option<ServerPartMeans> {
    let ours = answers.answered as f64;
    let mean = |signal| {
        let times = server.histogram_total(signal)?;
        times.mean_time().filter(|_| (times.count - ours).abs() <= ours / 100.0)
    };
    let [queue, prefill, decode] =
        [ServerSignal::QueueTime, ServerSignal::PrefillTime, ServerSignal::DecodeTime].map(mean);
    Some(ServerPartMeans { queue, prefill, decode }).filter(|means| *means != ServerPartMeans::default())
}

/// The effect of the profiler on the run; `None` if it was never on during the run.
fn profiled(profile: &ProfileReport, t0: WallTime, answers: &AnswerSums) -> Option<ProfilerEffect> {
    let began = t0.timestamp();
    let offset = |at: Timestamp| Duration::try_from(at.duration_since(began)).unwrap_or_default();
    let end = answers.end?;
    let start = profile.start.as_ref().filter(|_| profile.is_started())?;
    let stop = profile.stop.as_ref();
    let from = offset(start.sent).min(end);
    let until = stop.map_or(end, |stop| (offset(stop.sent) + stop.took).min(end));
    // The server writes the profile before it answers the stop request.
    let writing = stop.map_or(until..until, |stop| offset(stop.sent).min(end)..until);
    let whole_seconds = whole_second(writing.start) + 1..whole_second(writing.end);
    let had_events =
        |second: &u32| answers.event_seconds.as_ref().is_some_and(|seconds| seconds.contains(second));
    let silent = whole_seconds.filter(|second| !had_events(second)).count();
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
