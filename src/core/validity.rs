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
//! | achieved rate | gap to the offered rate | 1 % or 1/√n, with a cap | the same, without | a cap holds requests back on purpose, a client must not; 1/√n is the noise of n arrivals |
//! | client CPU | busiest worker's share of a core | 80 % | 95 %, without kernel stamps | a busy client reads late: harmless with kernel stamps |
//! | failures | failed / all, cancelled aside | | `--max-failure-rate` | the latencies are those of the survivors |
//! | samples | requests, for the asked percentiles | fewer than the percentile needs | | the value is an extreme; the intervals say so too |
//! | token source | requests counted by events or estimate | any | | times hold, rates in tokens do not compare |
//! | token agreement | usage against tokenizer | 2 % | | the same |
//! | stationarity | arrivals that pile up; TTFT's growth in a closed loop | 50 % (closed loop) | 5 % (open loop) | offered load above capacity: every latency depends on how long the run was |
//! | prefix cache | prompt tokens found there beyond what the workload shares | 5 % | 20 % | TTFT is of another, shorter workload |
//! | repeated prompts | prompts that were sent before; of generated ones, those that begin with the same block | any | | they may be cached: the prefix cache check says whether they were |
//! | wall clock | largest step during the run | | 1 ms, with kernel stamps | kernel stamps are of that clock; others are not |
//! | descriptors | requests without a descriptor or port | 90 % of the limit in flight | any | the load stopped at the client's limit |
//! | client errors | errors and panics of the client itself | | any | the run ended early, and what was in flight is missing |
//!
//! Client errors are in a verdict only where there were any.
//!
//! "10 ms or 5 %" is the larger of the two. What cannot be known is not judged and says so.
//!
//! Merged reads are no fault of the client where the server, a proxy or the network puts several events into one
//! segment. The read delay tells them apart: a reader that is there when the bytes come and finds several events saw what
//! was sent. "Late" is a p99 read delay above a quarter of the mean ITL, and above 0.1 ms, which waking a thread may take.
//! The mean, because merging leaves it alone, whereas it turns the median to zero; a quarter, because the delay that the
//! last stamp shows is never much longer than the gap to the next event, and is spread evenly below it where the reader
//! was later than that. The 99th percentile, because above it at least one gap in a hundred is the client's, and so is P99
//! ITL. Rare long pauses of the client stay below it, and a server that batches in front of a late reader may be
//! objected to: the stamps do not tell these cases apart.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::metrics::Metrics;
use super::record::Record;
use super::spec::Spec;
use super::units::seconds;
pub use evidence::{Evidence, PrefixCache, Stamps};

mod checks;
mod evidence;

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

    /// Why the run is INVALID, in one line; `None` if it is not.
    pub fn reason(&self) -> Option<String> {
        let mut invalid = self.with(Outcome::Invalid);
        let first = invalid.next()?;
        // Without a figure the advice is all there is to say.
        let first = if first.figure.is_some() { first.finding() } else { first.advice.clone() };
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
    /// What was measured; `None` if it is not known.
    pub figure: Option<Figure>,
    /// What it is held against; `None` if any figure would do.
    pub bound: Option<Figure>,
    /// What it means and what to do; for a check that was not judged, why. Empty for one that passed.
    pub advice: String,
}

impl Check {
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
    /// Unexplained hits in the server's prefix cache.
    PrefixCache,
    /// Prompts that were sent before.
    RepeatedPrompts,
    /// Steps of the wall clock.
    WallClock,
    /// The client's descriptors and ports.
    Descriptors,
    /// Errors and panics of the client itself.
    ClientErrors,
}

impl CheckName {
    /// The figure's name in reports.
    pub fn label(self) -> &'static str {
        match self {
            Self::ScheduleLag => "P99 schedule lag",
            Self::ReadDelay => "P99 read delay",
            Self::MergedReads => "output events read together with an earlier one",
            Self::AchievedRate => "achieved rate off the offered rate by",
            Self::ClientCpu => "CPU of the busiest worker",
            Self::Failures => "failed requests",
            Self::Samples => "samples for the percentiles",
            Self::TokenSource => "requests with guessed token counts",
            Self::TokenAgreement => "usage and tokenizer disagree by",
            Self::Stationarity => "drift over the run",
            Self::PrefixCache => "prompt tokens from a warm prefix cache",
            Self::RepeatedPrompts => "prompts that were sent before",
            Self::WallClock => "step of the wall clock",
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
