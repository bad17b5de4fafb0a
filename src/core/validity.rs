//! Is this run to be believed? A pure verdict from what was asked, what happened, and what the drive saw of itself.
//!
//! A run is INVALID when its numbers are about something other than the server under the load that was asked for. A
//! warning means that the numbers hold, but less than a reader may think.
//!
//! | check | figure | warning | INVALID | why so |
//! |---|---|---|---|---|
//! | schedule lag | p99 of sent − max(due, released) | 10 ms or 5 % of the median TTFT | 50 ms or 25 % | the load was not the one that was asked for; all at once is no schedule and only warns |
//! | read delay | p99 of our read − the kernel's stamp | unknown without kernel stamps | 1 ms or 5 % of the median ITL, without kernel stamps | with kernel stamps a late read changes no number, as long as it takes one event |
//! | merged reads | output events read together with an earlier one | 1 %, if the reader was late | 10 %, the same | the kernel keeps the last stamp only: the earlier events' gaps are lost to zeros and one long gap |
//! | bursts | answers whose first output event came in one read with the next | | 50 %; 10 %, if the server says that its TPOT is longer: TTFT, TPOT and ITL | something buffers: the first token waits for the next ones, so TTFT is too long and TPOT too short |
//! | achieved rate | gap to the offered rate | 1 % or 1/√n, with a cap | the same, without | a cap holds requests back on purpose, a client must not; 1/√n is the noise of n arrivals |
//! | client CPU | busiest worker's share of a core | 80 % | 95 %, without kernel stamps | a busy client reads late: harmless with kernel stamps |
//! | failures | failed / all, cancelled aside | | `--max-failure-rate` | the latencies are those of the survivors |
//! | samples | independent answers that the sample is worth, for the asked percentiles | fewer than the percentile needs | | the value is an extreme; the intervals say so too |
//! | token source | requests counted by events or estimate | any | | times hold, rates in tokens do not compare |
//! | token agreement | usage against tokenizer; against estimated lengths | 2 %; 10 % | | the same; the workload is heavier or lighter than it was meant to be |
//! | stationarity | arrivals that pile up; TTFT's growth in a closed loop | 50 % (closed loop) | 5 % or 1.5·√(2/n) (open loop); behind a cap: latencies and goodput from due | offered load above capacity: every latency depends on how long the run was |
//! | latency trend | TTFT's and TPOT's change over the run, up or down | 20 %, if it is four standard errors | | the mean is of no one state of the server |
//! | prefix cache | prompt tokens found there beyond what the workload shares | 5 % | 20 % | TTFT is of another, shorter workload |
//! | repeated prompts | prompts that were sent before; of generated ones, those that begin with the same block | any | | they may be cached: the prefix cache check says whether they were |
//! | wall clock | largest step during the run | | 1 ms, with kernel stamps | kernel stamps are of that clock; others are not |
//! | profiler | seconds without any output while the server wrote a profile | the profiler was on during the run | 2 s | the latencies are of a server that is profiled, or that stands still for it |
//! | descriptors | requests without a descriptor or port | 90 % of the limit in flight | any | the load stopped at the client's limit |
//! | client errors | errors and panics of the client itself | | any | the run ended early, and what was in flight is missing |
//!
//! Client errors and the profiler are in a verdict only where there were any, or it was on.
//!
//! "10 ms or 5 %" is the larger of the two. What cannot be known is not judged and says so. Of n arrivals a pile-up of
//! 1.5·√(2/n) can be told from chance (34 % of 40, 11 % of 400, 5 % of 1,800 or more): a smaller one passes.
//!
//! Merged reads are no fault of the client where the server, a proxy or the network puts several events into one
//! segment. The read delay tells them apart: a reader that is there when the bytes come and finds several events saw what
//! was sent. "Late" is a p99 read delay above a quarter of the mean ITL, and above 0.1 ms, which waking a thread may take.
//! The mean, because merging leaves it alone, whereas it turns the median to zero; a quarter, because the delay that the
//! last stamp shows is never much longer than the gap to the next event, and is spread evenly below it where the reader
//! was later than that. The 99th percentile, because above it at least one gap in a hundred is the client's, and so is P99
//! ITL. Rare long pauses of the client stay below it, and a server that batches in front of a late reader may be
//! objected to: the stamps do not tell these cases apart.
//!
//! Bursts are what a buffer on the way makes of a stream (nginx and HAProxy buffer unless told not to): whatever the
//! reader does, events come in lumps. A server may send several events at once too, as one with speculative decoding
//! does with the tokens of a step, but its first token is the outcome of the prompt alone and comes by itself. With a
//! buffer it comes with the others that fill the first lump: too late by the time they took. Lumps less than 5 ms apart
//! hide less than that, and are not objected to. Where the server tells its own TTFT and TPOT, they help: a
//! TPOT that is shorter from outside than inside convicts. If it is not, and TTFT is above the server's by less than half
//! the time between lumps, nothing held the first token back.
//!
//! A check that fails may leave metrics untouched: its [`Scope`] says which ones are not to be believed.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::metrics::Metrics;
use super::record::Record;
use super::spec::Spec;
use super::units::seconds;
pub use evidence::{EstimatedPrompts, Evidence, PrefixCache, Profiled, ServerTimes, Stamps};
pub use scope::Scope;

mod checks;
mod evidence;
mod scope;

/// Whether a run is to be believed, and what was looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Whether no check says INVALID.
    pub valid: bool,
    /// Every check, in the order of the table.
    pub checks: Vec<Check>,
}

impl Verdict {
    /// Judges a run. Records are in the order of the schedule, `metrics` are theirs.
    pub fn of(evidence: &Evidence, spec: &Spec, records: &[Record], metrics: &Metrics) -> Self {
        let checks = checks::all(&checks::Case { evidence, spec, records, metrics });
        Self { valid: checks.iter().all(|check| check.outcome != Outcome::Invalid), checks }
    }

    /// The checks with this outcome.
    pub fn with(&self, outcome: Outcome) -> impl Iterator<Item = &Check> + Clone {
        self.checks.iter().filter(move |check| check.outcome == outcome)
    }

    /// Why the run is INVALID, or some of its metrics are, in one line; `None` if none is.
    pub fn reason(&self) -> Option<String> {
        self.first_and_count(|_| true)
    }

    /// Why no metric of the run is to be believed, in one line; `None` if some are.
    pub fn reason_for_all(&self) -> Option<String> {
        self.first_and_count(|check| check.scope.is_run())
    }

    /// The metrics that are INVALID where others hold: `TTFT, TPOT and ITL`; `None` if all are, or none is.
    pub fn invalid_metrics(&self) -> Option<String> {
        let mut labels: Vec<&str> = Vec::new();
        for check in self.with(Outcome::Invalid) {
            let label = check.scope.label()?;
            if !labels.contains(&label) {
                labels.push(label);
            }
        }
        (!labels.is_empty()).then(|| labels.join(", "))
    }

    fn first_and_count(&self, speaks: impl Fn(&Check) -> bool) -> Option<String> {
        let mut invalid = self.with(Outcome::Invalid).filter(|check| speaks(check));
        let first = invalid.next()?.reason();
        Some(match invalid.count() {
            0 => first,
            more => format!("{first} (and {more} more)"),
        })
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// What.
    pub name: CheckName,
    /// How it came out.
    pub outcome: Outcome,
    /// The metrics that it speaks about.
    #[serde(default, skip_serializing_if = "Scope::is_run")]
    pub scope: Scope,
    /// What was measured; `None` if it is not known.
    pub figure: Option<Figure>,
    /// What it is held against; `None` if any figure would do.
    pub bound: Option<Figure>,
    /// What it means and what to do; for a check that was not judged, why. Empty for one that passed.
    pub advice: String,
}

impl Check {
    /// Why it objects: its finding, or its advice where there is no figure.
    pub fn reason(&self) -> String {
        if self.figure.is_some() { self.finding() } else { self.advice.clone() }
    }

    /// Figure and bound in words: `P99 schedule lag: 80 ms, at most 50 ms would do`.
    pub fn finding(&self) -> String {
        let label = self.name.label();
        match (self.figure, self.bound) {
            (Some(figure), Some(Figure::Count(0))) => format!("{label}: {figure}"),
            (Some(figure), Some(bound)) if self.name == CheckName::Samples => {
                format!("{label}: {figure}, at least {bound} are needed")
            }
            (Some(figure), Some(bound)) => format!("{label}: {figure}, at most {bound} would do"),
            (Some(figure), None) => format!("{label}: {figure}"),
            (None, _) => label.to_owned(),
        }
    }
}

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Nothing to object to.
    Passed,
    /// What it needs is not known, or does not apply to this load.
    NotJudged,
    /// The numbers hold, but less than a reader may think.
    Warning,
    /// The numbers are about something else.
    Invalid,
}

/// The checks; the module's table says what each is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckName {
    /// sent − due, the cap's share aside.
    ScheduleLag,
    /// Our read − the kernel's stamp.
    ReadDelay,
    /// Output events that a late reader took together with an earlier one.
    MergedReads,
    /// Answers that begin with several output events at once.
    Bursts,
    /// Achieved against offered rate.
    AchievedRate,
    /// The busiest worker's share of a core.
    ClientCpu,
    /// Failed requests.
    Failures,
    /// Samples for the asked percentiles.
    Samples,
    /// Who counted tokens.
    TokenSource,
    /// Usage against tokenizer.
    TokenAgreement,
    /// Trend in the requests in flight or in TTFT.
    Stationarity,
    /// Trend in TTFT or TPOT, either way.
    LatencyTrend,
    /// Unexplained hits in the server's prefix cache.
    PrefixCache,
    /// Prompts that were sent before.
    RepeatedPrompts,
    /// Steps of the wall clock.
    WallClock,
    /// The server's profiler.
    Profiler,
    /// The client's descriptors and ports.
    Descriptors,
    /// Errors and panics of the client itself.
    ClientErrors,
}

impl CheckName {
    /// What the check is about.
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
            Self::Stationarity => "stationarity",
            Self::LatencyTrend => "latency trend",
            Self::PrefixCache => "prefix cache",
            Self::RepeatedPrompts => "repeated prompts",
            Self::WallClock => "wall clock",
            Self::Profiler => "profiler",
            Self::Descriptors => "descriptors",
            Self::ClientErrors => "client errors",
        }
    }

    /// The figure's name in reports.
    pub fn label(self) -> &'static str {
        match self {
            Self::ScheduleLag => "P99 schedule lag",
            Self::ReadDelay => "P99 read delay",
            Self::MergedReads => "output events read together with an earlier one",
            Self::Bursts => "answers that begin with several events at once",
            Self::AchievedRate => "achieved rate off the offered rate by",
            Self::ClientCpu => "CPU of the busiest worker",
            Self::Failures => "failed requests",
            Self::Samples => "independent samples for the percentiles",
            Self::TokenSource => "requests with guessed token counts",
            Self::TokenAgreement => "usage and tokenizer disagree by",
            Self::Stationarity => "drift over the run",
            Self::LatencyTrend => "change of TTFT or TPOT over the run",
            Self::PrefixCache => "prompt tokens from a warm prefix cache",
            Self::RepeatedPrompts => "prompts that were sent before",
            Self::WallClock => "step of the wall clock",
            Self::Profiler => "standstill of the server while it wrote a profile",
            Self::Descriptors => "requests at the client's descriptor or port limit",
            Self::ClientErrors => "errors of the client itself",
        }
    }
}

/// A quantity that a check looks at.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// A time, saved in seconds.
    #[serde(rename = "time_s", with = "seconds")]
    Time(Duration),
    /// A share: 1 is all.
    Share(f64),
    /// A number of things.
    Count(u64),
}

impl fmt::Display for Figure {
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
