//! A trial: one run of a search, and what the search keeps of it.

use std::time::Duration;

use serde::Serialize;

use super::evidence::{
    Criterion, CriterionEvidence, CriterionOutcome, ReportedValue, TrialSample, waited_time,
};
use super::{LoadAxis, SearchConfig};
use crate::model::metric_id::{MetricId, Statistic};
use crate::model::metrics::{Latency, Metrics};
use crate::model::record::{FailureClass, Record};
use crate::model::run::Run;
use crate::model::run_spec::{Load, Slo};
use crate::model::steady_state::Drift;
use crate::model::validity::{self, CheckName};
use crate::seconds;
use crate::stats::{self, Percent};

/// The plan of the next trial.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct TrialPlan {
    /// The trial's number, counted from 1.
    pub number: usize,
    /// The load: requests per second, or requests in flight.
    pub load: f64,
    /// The measured time.
    pub length: Duration,
    /// The warm-up at the same load before the measurement.
    pub warmup: Duration,
    /// The trial's seed. Each trial has a different one, so that no prompt repeats.
    pub seed: u64,
    /// How long the trial may wait for its last answers if the outcome depends on them.
    pub patience: Duration,
    /// Whether the trial only brackets the boundary. It may then end as soon as its load is clearly good.
    pub bracketing: bool,
}

/// How a trial ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TrialEnd {
    /// The trial ran for its full time.
    Whole,
    /// All levels were clearly met early, and the last answers did not change that or were awaited.
    PlainlyUnder,
    /// A level was clearly violated early.
    PlainlyOver,
    /// Requests piled up early.
    PiledUp,
    /// The trial did not wait for its last answers.
    CutShort,
}

/// The measurement of a trial.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MeasuredTrial<'a> {
    /// How the trial ended.
    pub ending: TrialEnd,
    /// The load as it was sent.
    pub load: &'a Load,
    /// The SLO of a good request.
    pub slo: &'a Slo,
    /// Every request, including those that were cut off.
    pub records: &'a [Record],
}

impl MeasuredTrial<'_> {
    /// Evaluates each criterion on the trial; `stated` has the metrics that only a run reports.
    pub(crate) fn evidence(
        &self,
        question: &SearchConfig,
        stated: impl Fn(MetricId) -> Option<ReportedValue>,
    ) -> Vec<Option<CriterionEvidence>> {
        let answered = self.records.iter().any(Record::is_success);
        let sample = TrialSample { records: self.records, slo: self.slo, in_flight: 0 };
        let judge = |criterion: &Criterion| match criterion {
            Criterion::KeepsUp => {
                let drifts =
                    Drift::measure(self.load, self.records).is_some_and(|drift| drift.is_significant());
                let piles_up = self.ending == TrialEnd::PiledUp || question.over == LoadAxis::Rate && drifts;
                Some(CriterionEvidence::from_step(piles_up, None, self.records.len()))
            }
            Criterion::Rule(_) | Criterion::FewFailures(_) => {
                let stated = criterion.figure().and_then(&stated);
                let found = criterion.evidence(sample, stated, 1.0);
                // No request was answered, so no level is met.
                found.or_else(|| {
                    (!answered).then(|| CriterionEvidence::from_step(true, None, self.records.len()))
                })
            }
        };
        question.criteria.iter().map(judge).collect()
    }
}

/// How the server performed at a load.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct TrialMetrics {
    /// The number of requests that ended by themselves. It excludes requests that the client gave up on.
    pub requests: usize,
    /// The number of these requests that failed.
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
    /// P99 of the time in flight in milliseconds, including requests that were cut off: their answers take longer than
    /// that.
    pub in_flight_p99_ms: Option<f64>,
    /// Mean requests in flight, by Little's law.
    pub in_flight: Option<f64>,
    /// Peak number of requests in flight.
    pub peak_in_flight: usize,
}

/// What the search keeps of a trial.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Trial {
    /// The trial's number, counted from 1.
    pub number: usize,
    /// The load: requests per second, or requests in flight.
    pub load: f64,
    /// The time from the first request to the last request's end.
    #[serde(rename = "length_s", with = "seconds")]
    pub length: Duration,
    /// The time with warm-up and cool-down.
    #[serde(rename = "spent_s", with = "seconds")]
    pub spent: Duration,
    /// The trial's seed.
    pub seed: u64,
    /// How the trial ended.
    pub ending: TrialEnd,
    /// The evidence for each criterion, in their order; `None` where the trial shows nothing about it.
    pub evidence: Vec<Option<CriterionEvidence>>,
    /// How the server performed.
    pub service: TrialMetrics,
    /// Why the trial is doubtful; `None` if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doubt: Option<String>,
}

impl Trial {
    /// Judges a run with all of its Records. `spent` is the time of the run alone.
    pub(crate) fn from_run(
        question: &SearchConfig,
        next: TrialPlan,
        ending: TrialEnd,
        (run, records): (&Run, &[Record]),
    ) -> Self {
        let measured = MeasuredTrial { ending, load: &run.spec.load, slo: &run.spec.slo, records };
        let stated = |figure: MetricId| {
            figure.value(run).map(|value| ReportedValue { value, interval: figure.interval(run) })
        };
        Self {
            number: next.number,
            load: next.load,
            length: run.metrics.duration,
            spent: run.metrics.duration,
            seed: next.seed,
            ending,
            evidence: measured.evidence(question, stated),
            service: TrialMetrics::from_run(run, records),
            doubt: doubt_reason(run, &question.criteria),
        }
    }

    /// The first criterion about which the trial shows nothing although requests were answered: the answers do not have
    /// its metric, so that any load would meet it.
    pub(crate) fn unmeasured<'a>(&self, question: &'a SearchConfig, run: &Run) -> Option<&'a Criterion> {
        if run.interrupted || run.metrics.completed == 0 {
            return None;
        }
        let mut criteria = question.criteria.iter().zip(&self.evidence);
        criteria.find(|(_, evidence)| evidence.is_none()).map(|(criterion, _)| criterion)
    }

    /// Returns the side of the boundary that the trial alone shows for its load.
    pub(crate) fn outcome(&self) -> CriterionOutcome {
        let outcomes = || self.evidence.iter().flatten().map(CriterionEvidence::outcome);
        if outcomes().any(|outcome| outcome == CriterionOutcome::Missed) {
            CriterionOutcome::Missed
        } else if outcomes().all(|outcome| outcome == CriterionOutcome::Met) {
            CriterionOutcome::Met
        } else {
            CriterionOutcome::Unclear
        }
    }

    /// Returns the criterion with the largest share of requests that were cut off before they met or violated it, with
    /// that share, if the share exceeds the allowed share beyond the limit. The trial then shows nothing about this
    /// criterion, whatever the other requests did.
    pub(crate) fn most_censored(&self, criteria: &[Criterion]) -> Option<(usize, f64)> {
        let is_open = |(index, (criterion, found)): (usize, (&Criterion, &Option<CriterionEvidence>))| {
            let share = found.as_ref()?.censored_share();
            (share > criterion.allowed().unwrap_or(1.0)).then_some((index, share))
        };
        let open = criteria.iter().zip(&self.evidence).enumerate().filter_map(is_open);
        open.max_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// Whether no two requests overlapped: a lower load would not improve the server's performance.
    pub(crate) fn is_unloaded(&self) -> bool {
        self.service.peak_in_flight <= 1
    }
}

impl TrialMetrics {
    /// Computes the metrics from a run and its Records.
    pub(crate) fn from_run(run: &Run, records: &[Record]) -> Self {
        let scalar = |key| MetricId::scalar(key).and_then(|figure| figure.value(run));
        let percentile = |latency, p| MetricId::Latency(latency, Statistic::Percentile(p)).value(run);
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
            in_flight: mean_in_flight(metrics),
            peak_in_flight: metrics.peak_in_flight,
        }
    }
}

/// A percentile of the time that requests were in flight, to their end or until they were cut off, in milliseconds.
pub(crate) fn time_in_flight(records: &[Record], p: Percent) -> Option<f64> {
    let mut times: Vec<Duration> = records.iter().filter_map(waited_time).collect();
    times.sort_unstable();
    stats::percentile(&times, p).map(|time| time.as_secs_f64() * 1e3)
}

/// Answers per second times their mean E2E (Little 1961).
fn mean_in_flight(metrics: &Metrics) -> Option<f64> {
    let seconds = metrics.duration.as_secs_f64();
    let e2e = metrics.latencies.get(&Latency::E2e)?.mean.as_secs_f64();
    (seconds > 0.0).then(|| metrics.completed as f64 / seconds * e2e)
}

/// The checks whose failure means that a trial's load or its times differ from the plan. Requests that pile up are not
/// a reason for doubt here, because a search looks for them.
const DOUBTFUL_CHECKS: [CheckName; 10] = [
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

/// Why a run does not show how the server performs at the requested load, with respect to these criteria.
fn doubt_reason(run: &Run, criteria: &[Criterion]) -> Option<String> {
    let asks = |criterion: &Criterion, scope| match criterion {
        Criterion::Rule(rule) => rule.figure.is_covered_by(scope, &run.spec.slo),
        Criterion::KeepsUp | Criterion::FewFailures(_) => false,
    };
    let speaks = |check: &validity::Check| {
        check.scope.is_run() || criteria.iter().any(|criterion| asks(criterion, check.scope))
    };
    let mut invalid = run.validity.checks_with(validity::CheckOutcome::Invalid);
    invalid.find(|check| DOUBTFUL_CHECKS.contains(&check.name) && speaks(check)).map(validity::Check::finding)
}
