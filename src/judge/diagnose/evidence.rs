//! What is known, from whoever told.

use std::time::Duration;

use super::case::{Origin, Start, When};
use super::version::Version;
use crate::core::metrics::Latency;
use crate::core::run::Run;
use crate::core::server::{ServerSide, Signal};
use crate::core::stats::DurationHistogram;
use crate::judge::log::{Alert, Levels, Summary, Trouble};

/// All that there is to judge from; any part may be missing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Evidence<'e> {
    /// A saved run.
    pub run: Option<&'e Run>,
    /// The server's log.
    pub log: Option<&'e Summary>,
    /// What the live server said over a while.
    pub live: Option<&'e ServerSide>,
    /// What the live server's `/version` says.
    pub live_version: Option<&'e str>,
}

/// What a server was started with, as far as its log tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Setting {
    /// This was said.
    Is(Origin, String),
    /// The start is in the log, and nothing was said.
    Default,
    /// Nobody told.
    Unknown,
}

/// A level of the server held against a bound.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Course {
    /// The highest.
    pub peak: f64,
    /// Of the samples.
    pub mean: f64,
    /// The share of the samples above the bound.
    pub share: f64,
    /// The longest stretch above the bound; `None` if it never was.
    pub longest: Option<When>,
}

impl<'e> Evidence<'e> {
    /// The servers' own words, with who has them.
    pub(super) fn sides(&self) -> impl Iterator<Item = (Origin, &'e ServerSide)> + use<'e> {
        let of_run = self.run.and_then(|run| run.server.as_ref()).map(|side| (Origin::Result, side));
        of_run.into_iter().chain(self.live.map(|side| (Origin::Live, side)))
    }

    /// What the log's engines did.
    pub(super) fn engines(&self) -> impl Iterator<Item = &'e Levels> + use<'e> {
        self.log.into_iter().flat_map(|log| log.engines.values())
    }

    /// The log's alerts of a kind.
    pub(super) fn alerts(&self, trouble: Trouble) -> impl Iterator<Item = &'e Alert> + use<'e> {
        self.log.into_iter().flat_map(|log| &log.alerts).filter(move |alert| alert.rule == trouble)
    }

    /// Whose server it is, by the names of its metrics.
    pub(super) fn engine(&self) -> Option<&'e str> {
        self.sides().flat_map(|(_, side)| &side.replicas).find_map(|replica| replica.engine.as_deref())
    }

    /// vLLM's version: the live server's, else the log's, else the run's.
    pub fn version(&self) -> Option<Version> {
        let log = self.log.and_then(|log| log.start_up.version.as_deref());
        let run = self.run.and_then(|run| run.environment.server_version.as_deref());
        [self.live_version, log, run].into_iter().flatten().find_map(|text| text.parse().ok())
    }

    /// How something is set, under the name that vLLM has for it.
    pub(super) fn setting(&self, key: &str) -> Setting {
        let start = self.log.map(|log| &log.start_up);
        for name in names(&key) {
            let said =
                start.and_then(|start| start.arguments.get(*name).or_else(|| start.settings.get(*name)));
            if let Some(value) = said {
                return Setting::Is(Origin::Log, value.clone());
            }
            if let Some((origin, value)) =
                self.sides().find_map(|(origin, side)| Some((origin, label(side, name)?)))
            {
                return Setting::Is(origin, value);
            }
        }
        match self.log {
            // The configuration names the model; without that line the log begins later.
            Some(log)
                if log.start_up.settings.contains_key("model") || !log.start_up.arguments.is_empty() =>
            {
                Setting::Default
            }
            _ => Setting::Unknown,
        }
    }

    /// A setting that is a number.
    pub(super) fn number(&self, key: &str) -> Option<f64> {
        match self.setting(key) {
            Setting::Is(_, value) => value.parse().ok(),
            Setting::Default | Setting::Unknown => None,
        }
    }

    /// The 95th percentile of TTFT: the client's, else the live server's.
    pub(super) fn ttft_p95(&self) -> Option<(Origin, Duration)> {
        let of_run = self.run.and_then(|run| run_percentile(run, Latency::Ttft, 95.0));
        let of_live = || self.live?.times(Signal::Ttft)?.quantile(0.95).and_then(seconds);
        of_run.map(|time| (Origin::Result, time)).or_else(|| Some((Origin::Live, of_live()?)))
    }

    /// The mean TPOT: the client's, else the live server's.
    pub(super) fn mean_tpot(&self) -> Option<(Origin, Duration)> {
        let of_run = self.run.and_then(|run| Some(run.metrics.latencies.get(&Latency::Tpot)?.mean));
        let of_live = || {
            let side = self.live?;
            side.times(Signal::Tpot).or_else(|| side.times(Signal::Itl))?.mean_time()
        };
        of_run.map(|time| (Origin::Result, time)).or_else(|| Some((Origin::Live, of_live()?)))
    }
}

impl Setting {
    /// Whether it was said to be on; `None` if nobody told.
    pub fn is_on(&self) -> Option<bool> {
        match self {
            Self::Is(_, value) => Some(value.eq_ignore_ascii_case("true") || value == "1"),
            Self::Default => Some(false),
            Self::Unknown => None,
        }
    }
}

/// A percentile of a run, whichever its report has, from its histogram.
pub(super) fn run_percentile(run: &Run, latency: Latency, p: f64) -> Option<Duration> {
    DurationHistogram::decode(run.histograms.get(&latency)?)?.percentile(p)
}

/// What a setting is called by different lines of the log, and in `vllm:cache_config_info`.
fn names<'k>(key: &'k &'k str) -> &'k [&'k str] {
    match *key {
        "max_model_len" => &["max_model_len", "max_seq_len"],
        "kv_cache_dtype" => &["kv_cache_dtype", "cache_dtype"],
        _ => std::slice::from_ref(key),
    }
}

/// A label of `vllm:cache_config_info`.
fn label(side: &ServerSide, name: &str) -> Option<String> {
    let facts = side.replicas.iter().filter_map(|replica| replica.facts.get(&Signal::CacheConfig)).flatten();
    facts.filter_map(|labels| labels.get(name)).find(|value| *value != "None").cloned()
}

/// A level of a server over time; `None` if it does not tell of it.
pub(super) fn course(side: &ServerSide, signal: Signal, bound: f64) -> Option<Course> {
    let gauged = side.gauged(signal)?;
    let told = || side.levels(signal).into_iter().zip(&side.at_s);
    let known = told().filter(|(level, _)| level.is_some()).count();
    let (mut above, mut longest, mut start) = (0_usize, None::<(f64, f64)>, None::<f64>);
    for (level, &at) in told() {
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
        Some(When {
            start: Start::Offset(in_the_run(from)?),
            lasted: in_the_run(to)?.checked_sub(in_the_run(from)?)?,
        })
    });
    Some(Course { peak: gauged.peak, mean: gauged.mean, share: above as f64 / known.max(1) as f64, longest })
}

/// When a counter of the server first grew, and for how long it went on.
pub(super) fn growth(side: &ServerSide, signal: Signal) -> Option<When> {
    let columns = || side.replicas.iter().filter_map(|replica| replica.counters.get(&signal));
    let grew = |sample: usize| columns().any(|column| column.get(sample).copied().flatten() > Some(0.0));
    let mut samples =
        (0..side.points()).filter(|&sample| grew(sample)).filter_map(|sample| side.at_s.get(sample));
    let first = *samples.next()?;
    let last = samples.next_back().copied().unwrap_or(first);
    Some(When { start: Start::Offset(in_the_run(first)?), lasted: seconds(last - first)? })
}

/// When a log's alert was.
pub(super) fn alerted(alert: &Alert) -> Option<When> {
    Some(When { start: Start::Moment(alert.start?), lasted: alert.duration })
}

/// How long the samples of a server are.
pub(super) fn length(side: &ServerSide) -> Option<Duration> {
    seconds(side.at_s.last()? - side.at_s.first()?)
}

/// When a sample was taken; one from before the run is from its begin.
fn in_the_run(at: f64) -> Option<Duration> {
    seconds(at.max(0.0))
}

fn seconds(value: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(value).ok()
}
