//! A trial: one Run made by a search, and what of it is remembered.

use std::time::Duration;

use serde::Serialize;

use super::evidence::{Criterion, Evidence, Outcome, Sample, Stated, waited};
use super::{Over, Question};
use crate::core::figure::{Figure, Statistic};
use crate::core::metrics::{Latency, Metrics};
use crate::core::record::{FailureClass, Record};
use crate::core::run::Run;
use crate::core::spec::{Load, Slo};
use crate::core::stats::{self, Percent};
use crate::core::steady::Drift;
use crate::core::units::seconds;
use crate::core::validity::{self, CheckName};

/// What is to be tried next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Next {
    /// From 1.
    pub number: usize,
    /// Requests per second, or requests in flight.
    pub load: f64,
    /// How long to measure.
    pub length: Duration,
    /// How long the same load goes before.
    pub warmup: Duration,
    /// Of its own, so that no prompt comes twice.
    pub seed: u64,
    /// How long its last answers are waited for, where much hangs on them.
    pub patience: Duration,
    /// Whether it only brackets the boundary: then it may end as soon as it is plainly under.
    pub bracketing: bool,
}

/// How a trial ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// After its time.
    Whole,
    /// All levels were plainly met before, and its last answers did not change that or were waited for.
    PlainlyUnder,
    /// A level was plainly missed before.
    PlainlyOver,
    /// Requests piled up before.
    PiledUp,
    /// Its last answers were not waited for.
    CutShort,
}

/// What was measured in a trial.
#[derive(Debug, Clone, Copy)]
pub struct Measured<'a> {
    /// What was to be tried.
    pub next: Next,
    /// How it ended.
    pub ending: Ending,
    /// The load, as it was sent.
    pub load: &'a Load,
    /// What a good request is.
    pub slo: &'a Slo,
    /// Every request, those too that were cut off.
    pub records: &'a [Record],
}

impl Measured<'_> {
    /// What the trial says about each criterion; `stated` has the figures that only a run tells.
    pub fn evidence(
        &self,
        question: &Question,
        stated: impl Fn(Figure) -> Option<Stated>,
    ) -> Vec<Option<Evidence>> {
        let answered = self.records.iter().any(Record::succeeded);
        let sample = Sample { records: self.records, slo: self.slo, in_flight: 0 };
        let judge = |criterion: &Criterion| match criterion {
            Criterion::KeepsUp => {
                let drifts = Drift::of(self.load, self.records).is_some_and(|drift| drift.is_real());
                let piles_up = self.ending == Ending::PiledUp || question.over == Over::Rate && drifts;
                Some(Evidence::step(piles_up, None, self.records.len()))
            }
            Criterion::Rule(_) | Criterion::FewFailures(_) => {
                let stated = criterion.figure().and_then(&stated);
                let found = criterion.evidence(sample, stated, 1.0);
                // Nothing was answered at all: no level is held.
                found.or_else(|| (!answered).then(|| Evidence::step(true, None, self.records.len())))
            }
        };
        question.criteria.iter().map(judge).collect()
    }
}

/// How the server did at a load.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Service {
    /// Requests that ended by themselves: what we gave up on is not there.
    pub requests: usize,
    /// Those of them that failed.
    pub failed: usize,
    /// Answers per second.
    pub request_throughput: Option<f64>,
    /// Output tokens per second.
    pub output_throughput: Option<f64>,
    /// Median TTFT in milliseconds.
    pub ttft_p50_ms: Option<f64>,
    /// P95 TTFT in milliseconds.
    pub ttft_p95_ms: Option<f64>,
    /// P95 TPOT in milliseconds.
    pub tpot_p95_ms: Option<f64>,
    /// P95 E2E in milliseconds.
    pub e2e_p95_ms: Option<f64>,
    /// P99 of the time in flight in milliseconds, of requests that were cut off too: their answers take longer than that.
    pub in_flight_p99_ms: Option<f64>,
    /// Mean requests in flight, by Little's law.
    pub in_flight: Option<f64>,
    /// Most requests in flight.
    pub peak_in_flight: usize,
}

/// What is remembered of a trial.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Trial {
    /// From 1.
    pub number: usize,
    /// Requests per second, or requests in flight.
    pub load: f64,
    /// From the first request to the last request's end.
    #[serde(rename = "length_s", with = "seconds")]
    pub length: Duration,
    /// With warm-up and cool-down.
    #[serde(rename = "spent_s", with = "seconds")]
    pub spent: Duration,
    /// What seeded it.
    pub seed: u64,
    /// How it ended.
    pub ending: Ending,
    /// What it says about each criterion, in their order; `None` where it says nothing.
    pub evidence: Vec<Option<Evidence>>,
    /// How the server did.
    pub service: Service,
    /// Why it is not to be believed, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doubt: Option<String>,
}

impl Trial {
    /// On which side of the boundary its load is, by itself.
    pub fn outcome(&self) -> Outcome {
        let outcomes = || self.evidence.iter().flatten().map(Evidence::outcome);
        if outcomes().any(|outcome| outcome == Outcome::Missed) {
            Outcome::Missed
        } else if outcomes().all(|outcome| outcome == Outcome::Met) {
            Outcome::Met
        } else {
            Outcome::Unclear
        }
    }

    /// The criterion most of whose requests were cut off before they met or missed it, with their share, where that share is more
    /// than may be beyond its limit: then the trial says nothing of it, whatever the others did.
    pub fn most_censored(&self, criteria: &[Criterion]) -> Option<(usize, f64)> {
        let is_open = |(index, (criterion, found)): (usize, (&Criterion, &Option<Evidence>))| {
            let share = found.as_ref()?.censored_share();
            (share > criterion.allowed().unwrap_or(1.0)).then_some((index, share))
        };
        let open = criteria.iter().zip(&self.evidence).enumerate().filter_map(is_open);
        open.max_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// Whether no request met another: with less load the server would do no better.
    pub fn was_alone(&self) -> bool {
        self.service.peak_in_flight <= 1
    }
}

impl Service {
    /// Of a run and its Records.
    pub fn of(run: &Run, records: &[Record]) -> Self {
        let scalar = |key| Figure::scalar(key).and_then(|figure| figure.value(run));
        let percentile = |latency, p| Figure::Latency(latency, Statistic::Percentile(p)).value(run);
        let metrics = &run.metrics;
        let given_up = metrics.failures.iter().find(|failure| failure.class == FailureClass::Cancelled);
        let failed = metrics.failed - given_up.map_or(0, |failure| failure.count);
        Self {
            requests: metrics.completed + failed,
            failed,
            request_throughput: scalar("request_throughput"),
            output_throughput: scalar("output_throughput"),
            ttft_p50_ms: percentile(Latency::Ttft, 50.0),
            ttft_p95_ms: percentile(Latency::Ttft, 95.0),
            tpot_p95_ms: percentile(Latency::Tpot, 95.0),
            e2e_p95_ms: percentile(Latency::E2e, 95.0),
            in_flight_p99_ms: time_in_flight(records, 99.0),
            in_flight: in_flight(metrics),
            peak_in_flight: metrics.peak_in_flight,
        }
    }
}

/// A percentile of the time that requests were in flight, to their end or until they were cut off, in milliseconds.
pub fn time_in_flight(records: &[Record], p: Percent) -> Option<f64> {
    let mut times: Vec<Duration> = records.iter().filter_map(waited).collect();
    times.sort_unstable();
    stats::percentile(&times, p).map(|time| time.as_secs_f64() * 1e3)
}

/// Answers per second times their mean E2E (Little 1961).
fn in_flight(metrics: &Metrics) -> Option<f64> {
    let seconds = metrics.duration.as_secs_f64();
    let e2e = metrics.latencies.get(&Latency::E2e)?.mean.as_secs_f64();
    (seconds > 0.0).then(|| metrics.completed as f64 / seconds * e2e)
}

/// What makes a trial's load or its times something else than was asked for. That work piles up is no doubt here, but what
/// a search looks for.
const DOUBTFUL: [CheckName; 10] = [
    CheckName::ScheduleLag,
    CheckName::ReadDelay,
    CheckName::MergedReads,
    CheckName::Bursts,
    CheckName::AchievedRate,
    CheckName::ClientCpu,
    CheckName::PrefixCache,
    CheckName::WallClock,
    CheckName::Descriptors,
    CheckName::ClientErrors,
];

/// Why a run does not tell how the server does at the load that was asked for, as far as these criteria go.
pub fn doubt(run: &Run, criteria: &[Criterion]) -> Option<String> {
    let asks = |criterion: &Criterion, scope| match criterion {
        Criterion::Rule(rule) => rule.figure.is_within(scope, &run.spec.slo),
        Criterion::KeepsUp | Criterion::FewFailures(_) => false,
    };
    let speaks = |check: &validity::Check| {
        check.scope.is_run() || criteria.iter().any(|criterion| asks(criterion, check.scope))
    };
    let mut invalid = run.validity.with(validity::Outcome::Invalid);
    invalid.find(|check| DOUBTFUL.contains(&check.name) && speaks(check)).map(validity::Check::finding)
}
