//! The evidence of a diagnosis, from all sources.

use std::time::Duration;

use crate::analysis::diagnose::rule_evaluation::{EvidenceSource, FactTime, TimeRange};
use crate::analysis::diagnose::vllm_release::VllmRelease;
use crate::model::metrics::Latency;
use crate::model::run::Run;
use crate::model::server::{ServerMetrics, ServerSignal};
use crate::server::log_summary::{EngineLevels, LogAlert, LogIssue, LogSummary, ValueRange};
use crate::stats::DurationHistogram;

/// All evidence for a diagnosis; any part may be missing.
#[derive(Debug, Clone, Copy, Default)]
pub struct DiagnosisEvidence<'e> {
    /// A saved run.
    pub run: Option<&'e Run>,
    /// The server's log.
    pub log: Option<&'e LogSummary>,
    /// The live server's metrics over a period.
    pub live: Option<&'e ServerMetrics>,
    /// The version that the live server's `/version` reports.
    pub live_version: Option<&'e str>,
}

/// A setting of the server's start, according to its log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ServerSetting {
    /// The start sets this value.
    Is(EvidenceSource, String),
    /// The log contains the start, which does not set a value.
    Default,
    /// No source reports the setting.
    Unknown,
}

/// A level of the server, compared with a bound.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct LevelHistory {
    /// The highest level.
    pub peak: f64,
    /// The mean of the samples.
    pub mean: f64,
    /// The share of the samples above the bound.
    pub share: f64,
    /// The longest period above the bound; `None` if there is none.
    pub longest: Option<TimeRange>,
}

impl<'e> DiagnosisEvidence<'e> {
    /// The metrics of each server, with their source.
    pub(super) fn server_metrics(
        &self,
    ) -> impl Iterator<Item = (EvidenceSource, &'e ServerMetrics)> + use<'e> {
        let of_run = self.run.and_then(|run| run.server.as_ref()).map(|side| (EvidenceSource::Result, side));
        of_run.into_iter().chain(self.live.map(|side| (EvidenceSource::Live, side)))
    }

    /// The levels of each engine in the log.
    pub(super) fn engine_levels(&self) -> impl Iterator<Item = &'e EngineLevels> + use<'e> {
        self.log.into_iter().flat_map(|log| log.engines.values())
    }

    /// Whether the log reports a level, in at least one line.
    pub(super) fn log_reports(&self, level: impl Fn(&EngineLevels) -> &ValueRange) -> bool {
        self.engine_levels().any(|levels| level(levels).summarize().is_some())
    }

    /// The log's alerts of one kind.
    pub(super) fn alerts(&self, trouble: LogIssue) -> impl Iterator<Item = &'e LogAlert> + use<'e> {
        self.log.into_iter().flat_map(|log| &log.alerts).filter(move |alert| alert.rule == trouble)
    }

    /// The server's engine, recognized by the names of its metrics.
    pub(super) fn engine(&self) -> Option<&'e str> {
        self.server_metrics()
            .flat_map(|(_, side)| &side.replicas)
            .find_map(|replica| replica.engine.as_deref())
    }

    /// Returns vLLM's version from the live server, else from the log, else from the run.
    pub fn version(&self) -> Option<VllmRelease> {
        self.version_texts().find_map(|text| text.parse().ok())
    }

    /// The versions that the live server, the log and the run report, in this order.
    fn version_texts(&self) -> impl Iterator<Item = &'e str> + use<'e> {
        let log = self.log.and_then(|log| log.start_up.version.as_deref());
        let run = self.run.and_then(|run| run.environment.server_version.as_deref());
        [self.live_version, log, run].into_iter().flatten()
    }

    /// Whether the server computes on a CPU: its version ends with `+cpu`, as in vLLM's builds for CPUs, or its log
    /// names the CPU as its device.
    pub(super) fn is_on_cpu(&self) -> bool {
        let is_cpu_build = |version: &str| version.split(['+', '.']).any(|part| part == "cpu");
        let device = self.log.and_then(|log| log.start_up.settings.get("device_config"));
        self.version_texts().any(is_cpu_build) || device.is_some_and(|device| device == "cpu")
    }

    /// The value of a setting, by vLLM's name for it.
    pub(super) fn setting(&self, key: &str) -> ServerSetting {
        let start = self.log.map(|log| &log.start_up);
        for name in setting_names(&key) {
            let said =
                start.and_then(|start| start.arguments.get(*name).or_else(|| start.settings.get(*name)));
            if let Some(value) = said {
                return ServerSetting::Is(EvidenceSource::Log, value.clone());
            }
            if let Some((origin, value)) = self
                .server_metrics()
                .find_map(|(origin, side)| Some((origin, cache_config_label(side, name)?)))
            {
                return ServerSetting::Is(origin, value);
            }
        }
        match self.log {
            // The configuration line names the model. Without that line the log does not include the start.
            Some(log)
                if log.start_up.settings.contains_key("model") || !log.start_up.arguments.is_empty() =>
            {
                ServerSetting::Default
            }
            _ => ServerSetting::Unknown,
        }
    }

    /// The value of a numeric setting.
    pub(super) fn numeric_setting(&self, key: &str) -> Option<f64> {
        match self.setting(key) {
            ServerSetting::Is(_, value) => value.parse().ok(),
            ServerSetting::Default | ServerSetting::Unknown => None,
        }
    }

    /// The 95th percentile of TTFT from the client, else from the live server. The flag is true if the value is only a
    /// lower bound.
    pub(super) fn ttft_p95(&self) -> Option<(EvidenceSource, Duration, bool)> {
        let of_run = self.run.and_then(|run| run_percentile(run, Latency::Ttft, 95.0));
        let of_live = || {
            let p95 = self.live?.histogram_total(ServerSignal::Ttft)?.quantile(0.95)?;
            Some((EvidenceSource::Live, seconds(p95.value)?, p95.is_lower_bound))
        };
        of_run.map(|time| (EvidenceSource::Result, time, false)).or_else(of_live)
    }

    /// The mean TPOT from the client, else from the live server.
    pub(super) fn mean_tpot(&self) -> Option<(EvidenceSource, Duration)> {
        let of_run = self.run.and_then(|run| Some(run.metrics.latencies.get(&Latency::Tpot)?.mean));
        let of_live = || {
            let side = self.live?;
            side.histogram_total(ServerSignal::Tpot)
                .or_else(|| side.histogram_total(ServerSignal::Itl))?
                .mean_time()
        };
        of_run.map(|time| (EvidenceSource::Result, time)).or_else(|| Some((EvidenceSource::Live, of_live()?)))
    }
}

impl ServerSetting {
    /// Whether the setting is on; `None` if no source reports it.
    pub(super) fn is_enabled(&self) -> Option<bool> {
        match self {
            Self::Is(_, value) => Some(value.eq_ignore_ascii_case("true") || value == "1"),
            Self::Default => Some(false),
            Self::Unknown => None,
        }
    }
}

/// Any percentile of a run, from its histogram.
pub(super) fn run_percentile(run: &Run, latency: Latency, p: f64) -> Option<Duration> {
    DurationHistogram::decode(run.histograms.get(&latency)?)?.percentile(p)
}

/// The names of a setting in different lines of the log, and in `vllm:cache_config_info`.
fn setting_names<'k>(key: &'k &'k str) -> &'k [&'k str] {
    match *key {
        "max_model_len" => &["max_model_len", "max_seq_len"],
        "kv_cache_dtype" => &["kv_cache_dtype", "cache_dtype"],
        _ => std::slice::from_ref(key),
    }
}

/// A label of `vllm:cache_config_info`.
fn cache_config_label(side: &ServerMetrics, name: &str) -> Option<String> {
    let facts =
        side.replicas.iter().filter_map(|replica| replica.facts.get(&ServerSignal::CacheConfig)).flatten();
    facts.filter_map(|labels| labels.get(name)).find(|value| *value != "None").cloned()
}

/// The history of a server's level; `None` if the server does not report it.
pub(super) fn level_history(side: &ServerMetrics, signal: ServerSignal, bound: f64) -> Option<LevelHistory> {
    let gauged = side.gauge_summary(signal)?;
    let levels = || side.gauge_series(signal).into_iter().zip(&side.at_s);
    let known = levels().filter(|(level, _)| level.is_some()).count();
    let (mut above, mut longest, mut start) = (0_usize, None::<(f64, f64)>, None::<f64>);
    for (level, &at) in levels() {
        let is_above = level.is_some_and(|level| level > bound);
        above += usize::from(is_above);
        start = if is_above { start.or(Some(at)) } else { None };
        if let Some(start) = start
            && longest.is_none_or(|(from, to)| at - start >= to - from)
        {
            longest = Some((start, at));
        }
    }
    let longest = longest.and_then(|(from, to)| {
        Some(TimeRange {
            start: FactTime::Offset(in_the_run(from)?),
            lasted: in_the_run(to)?.checked_sub(in_the_run(from)?)?,
        })
    });
    Some(LevelHistory {
        peak: gauged.peak,
        mean: gauged.mean,
        share: above as f64 / known.max(1) as f64,
        longest,
    })
}

/// The time range in which a counter of the server grew, from its first increase.
pub(super) fn counter_growth(side: &ServerMetrics, signal: ServerSignal) -> Option<TimeRange> {
    let columns = || side.replicas.iter().filter_map(|replica| replica.counters.get(&signal));
    let grew = |sample: usize| columns().any(|column| column.get(sample).copied().flatten() > Some(0.0));
    let mut samples =
        (0..side.point_count()).filter(|&sample| grew(sample)).filter_map(|sample| side.at_s.get(sample));
    let first = *samples.next()?;
    let last = samples.next_back().copied().unwrap_or(first);
    Some(TimeRange { start: FactTime::Offset(in_the_run(first)?), lasted: seconds(last - first)? })
}

/// The time range of a log's alert.
pub(super) fn alert_range(alert: &LogAlert) -> Option<TimeRange> {
    Some(TimeRange { start: FactTime::Moment(alert.start?), lasted: alert.duration })
}

/// The time that the samples of a server cover.
pub(super) fn sampled_duration(side: &ServerMetrics) -> Option<Duration> {
    seconds(side.at_s.last()? - side.at_s.first()?)
}

/// The time of a sample; a sample from before the run counts as taken at its start.
fn in_the_run(at: f64) -> Option<Duration> {
    seconds(at.max(0.0))
}

fn seconds(value: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(value).ok()
}
