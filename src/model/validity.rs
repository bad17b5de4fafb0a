//! Whether a run is valid: a pure function of the request, the outcome, and the load generator's diagnostics.
//!
//! A run is INVALID when its numbers describe something other than the server under the requested load. A warning means
//! that the numbers are correct, but support weaker conclusions than they suggest.
//!
//! | check | quantity | warning | INVALID | reason |
//! |---|---|---|---|---|
//! | schedule lag | p99 of sent − max(due, released) | 10 ms or 5 % of the median TTFT | 50 ms or 25 % | the load was not the requested one; all at once is not a schedule and only warns |
//! | read delay | p99 of the client's read − the kernel's timestamp | unknown without kernel timestamps | 1 ms or 5 % of the median ITL, without kernel timestamps | with kernel timestamps a late read changes no number, as long as it takes one event |
//! | merged reads | output events read together with an earlier one | 1 %, if the reader was late | 10 %, if the reader was late | the kernel keeps the last timestamp only: the earlier events' gaps become zeros and one long gap |
//! | bursts | answers whose first output event arrived in one read with the next | | 50 %; 10 %, if the server reports a longer TPOT: TTFT, TPOT and ITL | something buffers: the first token waits for the next ones, so TTFT is too long and TPOT too short |
//! | achieved rate | gap to the offered rate | 1 % or 1/√n, with a cap | 1 % or 1/√n, without a cap | a cap holds requests back on purpose, a client must not; 1/√n is the noise of n arrivals |
//! | client CPU | busiest worker's share of a core | 80 % | 95 %, without kernel timestamps | a busy client reads late: harmless with kernel timestamps |
//! | failures | failed / all, except cancelled | | `--max-failure-rate` | the latencies are those of the survivors |
//! | samples | independent answers that the sample is worth, for the requested percentiles | fewer than the percentile needs | | the value is an extreme; the intervals show this too |
//! | token source | requests counted by events or estimate | any | | times are valid, rates in tokens are not comparable |
//! | token agreement | usage against tokenizer; against estimated lengths | 2 %; 10 % | | rates in tokens are not comparable; the workload is heavier or lighter than intended |
//! | output length | answers longer than requested, or shorter though `ignore_eos` or `min_tokens` was sent | any | | the workload was not the requested one |
//! | usage | answers whose usage is above their limit in no more events than that, above what their text can be, or below their events | any | one of the first two in 10 %: TPOT and output tok/s | the server's counts contradict the events and the text that it sent |
//! | stationarity | arrivals that pile up; TTFT's growth in a closed loop | 50 % (closed loop) | 5 % or 1.5·√(2/n) (open loop); behind a cap: latencies and goodput from due | offered load above capacity: every latency depends on the length of the run |
//! | latency trend | TTFT's and TPOT's change over the run, up or down | 20 %, if it is four standard errors | | the mean describes no single state of the server |
//! | prefix cache | cached prompt tokens beyond what the workload shares | 5 % | 20 % | TTFT is that of another, shorter workload |
//! | repeated prompts | prompts that were sent before; of generated ones, those that begin with the same block | any | | they may be cached: the prefix cache check shows whether they were |
//! | wall clock | largest step during the run | | 1 ms, with kernel timestamps | kernel timestamps use the wall clock; others do not |
//! | silent turns | answers without text, of those that the next turn repeats | any | | the next turn repeats an empty answer: this is not a conversation |
//! | profiler | seconds without any output while the server wrote a profile | the profiler was on during the run | 2 s | the latencies are those of a server that is profiled, or that stalls for the profile |
//! | descriptors | requests without a file descriptor or port | 90 % of the limit in flight | any | the load stopped at the client's limit |
//! | shard lag | the same as schedule lag, of the shard with the largest one | as schedule lag | as schedule lag | one slow client of several hides in the percentile of all |
//! | start skew | largest distance between the starts of two shards with a schedule, by their wall clocks | 10 ms or 5 % of the median TTFT | 50 ms or 25 % | the load is not one schedule, or the clocks were not related |
//! | clock uncertainty | half of the fastest round trip to shard 0, of the shard with the largest one | 10 ms or 5 % of the median TTFT | 50 ms or 25 % | so far the starts of the shards may be apart |
//! | client errors | errors and panics of the client itself | | any | the run ended early, and the requests in flight are missing |
//!
//! A verdict contains client errors and silent turns only where there were any, the profiler only where it was on, and
//! what concerns shards only where several clients sent the run.
//!
//! "10 ms or 5 %" is the larger of the two. A check without the data that it needs reports that it was not judged. For
//! n arrivals a pile-up of 1.5·√(2/n) is distinguishable from chance (34 % for 40, 11 % for 400, 5 % for 1,800 or
//! more): a smaller one passes.
//!
//! Merged reads are not the client's fault where the server, a proxy or the network puts several events into one
//! segment. The read delay distinguishes the cases: a reader that is ready when the bytes arrive and finds several
//! events saw what was sent. "Late" is a p99 read delay above a quarter of the mean ITL, and above 0.1 ms, which waking
//! a thread may take. The bound uses the mean because merging does not change it, whereas merging turns the median to
//! zero. It uses a quarter because the delay of the last timestamp is never much longer than the gap to the next event,
//! and is spread evenly below that gap where the reader was later than that. It uses the 99th percentile because above
//! it at least one gap in a hundred is the client's, and so is P99 ITL. Rare long pauses of the client stay below the
//! bound, and the check may object to a server that batches in front of a late reader: the timestamps do not
//! distinguish these cases.
//!
//! Bursts are the effect of a buffer between server and client (nginx and HAProxy buffer by default): events arrive in
//! bursts, whatever the reader does. A server may also send several events at once, as one with speculative decoding
//! does with the tokens of a step, but its first token depends on the prompt alone and is sent on its own. With a
//! buffer, the first token arrives with the others that fill the first burst, too late by the time they took. Bursts
//! less than 5 ms apart hide less than that, and the check does not object to them. The server's own TTFT and TPOT help
//! where it reports them: a TPOT that the client measures as shorter than the server does proves a buffer. If it is not
//! shorter, and TTFT exceeds the server's by less than half the time between bursts, nothing delayed the first token.
//!
//! A check that fails may leave metrics untouched: its [`CheckScope`] lists the invalid ones.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::metrics::Metrics;
use super::setting_names::{SettingNames, with_names};
use crate::model::run_spec::Spec;
pub(crate) use crate::model::validity::check_scope::CheckScope;
pub(crate) use crate::model::validity::checks::ChecksSoFar;
pub(crate) use crate::model::validity::diagnostics::{
    EmptyAnswers, EstimatedPrompts, LengthComparison, OutputLengths, PrefixCacheCounts, ProfilerEffect,
    RunDiagnostics, ServerMeanLatencies, ServerPartMeans, ShardDiagnostics, TemplateTokens, TextClaims,
    TimestampSource,
};
pub(crate) use crate::model::validity::sent_load::{ScheduleFold, SentLoad};
use crate::seconds;
use crate::stats::Percent;

mod check_scope;
mod checks;
mod diagnostics;
mod sent_load;

/// The verdict on a run's validity, and the checks behind it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Verdict {
    /// Whether no check is INVALID for the whole run or a part of its metrics.
    pub valid: bool,
    /// Every check, in the order of the table.
    pub checks: Vec<Check>,
}

impl Verdict {
    /// Judges a run. `metrics` are computed from its Records, and `asked` are the percentiles that the user requested.
    pub(crate) fn judge(
        evidence: &RunDiagnostics,
        spec: &Spec,
        load: &SentLoad<'_>,
        metrics: &Metrics,
        asked: &[Percent],
    ) -> Self {
        let checks = checks::run_checks(&checks::CheckInput { evidence, spec, load, metrics, asked });
        Self { valid: checks.iter().all(|check| check.outcome != CheckOutcome::Invalid), checks }
    }

    /// Replaces the names of settings in all advice by the user's names: texts of this module name settings by their
    /// path in the Spec.
    pub(crate) fn name_settings(&mut self, names: &SettingNames) {
        self.checks.iter_mut().for_each(|check| check.advice = with_names(&check.advice, names));
    }

    /// The checks with this outcome.
    pub fn checks_with(&self, outcome: CheckOutcome) -> impl Iterator<Item = &Check> + Clone {
        self.checks.iter().filter(move |check| check.outcome == outcome)
    }

    /// Why the run or some of its metrics are INVALID, in one line; `None` if everything is valid.
    pub fn reason(&self) -> Option<String> {
        self.first_and_count(|_| true)
    }

    /// Why the whole run is INVALID, in one line; `None` if some metrics are valid.
    pub fn run_invalid_reason(&self) -> Option<String> {
        self.first_and_count(|check| check.scope.is_run())
    }

    /// The metrics that are INVALID while others are valid: `TTFT, TPOT and ITL`; `None` if all are INVALID, or none
    /// is.
    pub fn invalid_metrics(&self) -> Option<String> {
        let mut labels: Vec<&str> = Vec::new();
        for check in self.checks_with(CheckOutcome::Invalid) {
            let label = check.scope.label()?;
            if !labels.contains(&label) {
                labels.push(label);
            }
        }
        (!labels.is_empty()).then(|| labels.join(", "))
    }

    fn first_and_count(&self, speaks: impl Fn(&Check) -> bool) -> Option<String> {
        let mut invalid = self.checks_with(CheckOutcome::Invalid).filter(|check| speaks(check));
        let first = invalid.next()?.reason();
        Some(match invalid.count() {
            0 => first,
            more => format!("{first} (and {more} more)"),
        })
    }
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Check {
    /// The name of the check.
    pub name: CheckName,
    /// The outcome of the check.
    pub outcome: CheckOutcome,
    /// The metrics that the check covers.
    #[serde(default, skip_serializing_if = "CheckScope::is_run")]
    pub(crate) scope: CheckScope,
    /// The measured quantity; `None` if it is unknown.
    pub(crate) figure: Option<Quantity>,
    /// The bound of the quantity; `None` if every value would pass.
    pub(crate) bound: Option<Quantity>,
    /// The meaning and the remedy; for a check that was not judged, the reason. Empty for a check that passed.
    pub advice: String,
}

impl Check {
    /// The reason of the objection: the finding, or the advice if there is no quantity.
    pub fn reason(&self) -> String {
        if self.figure.is_some() { self.finding() } else { self.advice.clone() }
    }

    /// The quantity and its bound as text: `P99 schedule lag: 80 ms (limit 50 ms)`.
    pub fn finding(&self) -> String {
        let label = self.name.label();
        match (self.figure, self.bound) {
            (Some(figure), Some(Quantity::Count(0))) => format!("{label}: {figure}"),
            (Some(figure), Some(bound)) if self.name == CheckName::Samples => {
                format!("{label}: {figure}, at least {bound} are needed")
            }
            (Some(figure), Some(bound)) => format!("{label}: {figure} (limit {bound})"),
            (Some(figure), None) => format!("{label}: {figure}"),
            (None, _) => label.to_owned(),
        }
    }
}

/// The outcome of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CheckOutcome {
    /// The check has no objection.
    Passed,
    /// The check lacks data, or does not apply to this load.
    NotJudged,
    /// The numbers are correct, but support weaker conclusions than they suggest.
    Warning,
    /// The numbers describe something other than the server under the requested load.
    Invalid,
}

/// The checks; the module's table describes each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CheckName {
    /// sent − due, without the cap's share.
    ScheduleLag,
    /// The client's read − the kernel's timestamp.
    ReadDelay,
    /// Output events that a late reader took together with an earlier one.
    MergedReads,
    /// Answers that begin with several output events at once.
    Bursts,
    /// The achieved rate compared to the offered rate.
    AchievedRate,
    /// The busiest worker's share of a core.
    ClientCpu,
    /// Failed requests.
    Failures,
    /// The sample size for the requested percentiles.
    Samples,
    /// The sources of token counts.
    TokenSource,
    /// Usage compared to the tokenizer.
    TokenAgreement,
    /// Answers' lengths compared to the requests.
    OutputLength,
    /// Usage compared to the received events.
    Usage,
    /// Answers without text in sessions.
    SilentTurns,
    /// The trend of the requests in flight or of TTFT.
    Stationarity,
    /// The trend of TTFT or TPOT in either direction.
    LatencyTrend,
    /// Unexplained hits in the server's prefix cache.
    PrefixCache,
    /// Prompts that were sent before in the run.
    RepeatedPrompts,
    /// Steps of the wall clock.
    WallClock,
    /// The server's profiler.
    Profiler,
    /// The server's own times in its answers compared with its histograms.
    ServerTimes,
    /// The client's file descriptors and ports.
    Descriptors,
    /// The schedule lag of the worst of several clients.
    ShardLag,
    /// How far the starts of several clients are apart.
    StartSkew,
    /// How exactly the clocks of several clients are related.
    ClockUncertainty,
    /// Errors and panics of the client itself.
    ClientErrors,
}

impl CheckName {
    /// The subject of the check.
    pub fn subject(self) -> &'static str {
        match self {
            Self::ScheduleLag => "schedule lag",
            Self::ReadDelay => "read delay",
            Self::MergedReads => "merged reads",
            Self::Bursts => "bursts",
            Self::AchievedRate => "achieved rate",
            Self::ClientCpu => "client CPU",
            Self::Failures => "failures",
            Self::Samples => "samples",
            Self::TokenSource => "token source",
            Self::TokenAgreement => "token agreement",
            Self::OutputLength => "output length",
            Self::Usage => "usage",
            Self::SilentTurns => "silent turns",
            Self::Stationarity => "stationarity",
            Self::LatencyTrend => "latency trend",
            Self::PrefixCache => "prefix cache",
            Self::RepeatedPrompts => "repeated prompts",
            Self::WallClock => "wall clock",
            Self::Profiler => "profiler",
            Self::ServerTimes => "server times",
            Self::Descriptors => "descriptors",
            Self::ShardLag => "shard lag",
            Self::StartSkew => "start skew",
            Self::ClockUncertainty => "clock uncertainty",
            Self::ClientErrors => "client errors",
        }
    }

    /// The display name of the quantity.
    pub fn label(self) -> &'static str {
        match self {
            Self::ScheduleLag => "P99 schedule lag",
            Self::ReadDelay => "P99 read delay",
            Self::MergedReads => "output events read together with an earlier one",
            Self::Bursts => "answers that begin with several events at once",
            Self::AchievedRate => "deviation of the achieved rate from the offered rate",
            Self::ClientCpu => "CPU of the busiest worker",
            Self::Failures => "failed requests",
            Self::Samples => "independent samples for the percentiles",
            Self::TokenSource => "requests with estimated token counts",
            Self::TokenAgreement => "difference between usage and tokenizer",
            Self::OutputLength => "answers longer or shorter than requested",
            Self::Usage => "answers whose usage contradicts their limit, text or events",
            Self::SilentTurns => "answers without text that the next turn repeats",
            Self::Stationarity => "drift over the run",
            Self::LatencyTrend => "change of TTFT or TPOT over the run",
            Self::PrefixCache => "prompt tokens from a warm prefix cache",
            Self::RepeatedPrompts => "prompts that were sent before",
            Self::WallClock => "step of the wall clock",
            Self::Profiler => "time without output while the server wrote a profile",
            Self::ServerTimes => "difference of the server's times in its answers from its histograms",
            Self::Descriptors => "requests at the client's descriptor or port limit",
            Self::ShardLag => "P99 schedule lag of the worst shard",
            Self::StartSkew => "distance between the starts of the shards",
            Self::ClockUncertainty => "uncertainty of a shard's clock",
            Self::ClientErrors => "errors of the client itself",
        }
    }
}

/// A quantity that a check measures.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    /// A time, saved in seconds.
    #[serde(rename = "time_s", with = "seconds")]
    Time(Duration),
    /// A share: 1 is the whole.
    Share(f64),
    /// A number of things.
    Count(u64),
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = |value: f64| if value >= 10.0 { 0 } else { 2 };
        match self {
            Self::Time(time) => {
                let ms = time.as_secs_f64() * 1e3;
                write!(f, "{ms:.*} ms", digits(ms))
            }
            Self::Share(share) => write!(f, "{:.1} %", share * 100.0),
            Self::Count(count) => count.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests;
