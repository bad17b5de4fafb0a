//! The steady state of a run.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::concurrency::{FlightStart, PeakSearch};
use crate::model::metrics::{Latency, Metrics, MetricsFold, MetricsInput};
use crate::model::record::Record;
use crate::model::record_log::details::LoggedDetails;
use crate::model::run_records::{RunRecords, RunView};
use crate::model::run_spec::Spec;
use crate::model::steady_state::{self, NoSteadyState, SteadyWindow};
use crate::seconds;
use crate::stats::{DurationSketch, Percent};

/// The part of a run without its start-up and its drain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SteadyState {
    /// The window of the steady state.
    pub window: SteadyWindow,
    /// The metrics of the window.
    pub metrics: Metrics,
    /// The requests before the window; empty in results from before they were counted.
    #[serde(default)]
    pub before: BeforeSteadyState,
}

/// The requests that were sent before the steady-state window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BeforeSteadyState {
    /// The number of requests.
    pub requests: usize,
    /// Their mean TTFT; `None` where no answer had a first token.
    #[serde(rename = "mean_ttft_s", with = "seconds::option")]
    pub ttft: Option<Duration>,
    /// Their mean E2E; `None` where none was answered.
    #[serde(rename = "mean_e2el_s", with = "seconds::option")]
    pub e2e: Option<Duration>,
}

impl SteadyState {
    /// Finds the steady-state window and computes its metrics, of Records that are all in memory in the order of the
    /// schedule. `details` has their gaps where the Records do not.
    #[cfg(test)]
    pub(crate) fn find(
        spec: &Spec,
        records: &[Record],
        details: Option<&LoggedDetails>,
        percents: &[Percent],
    ) -> Result<Self, NoSteadyState> {
        let run = RunRecords::from(records.to_vec());
        let mut fold = SteadyFold::new(spec, &run, records.into())?;
        records.iter().for_each(|record| fold.add(record));
        Ok(fold.finish(records.into(), details, percents))
    }
}

/// Adds up the metrics of the steady-state window, from Records in any order except that of the turns of a session.
pub(crate) struct SteadyFold<'a> {
    window: SteadyWindow,
    metrics: MetricsFold<'a>,
    peak: Option<PeakSearch>,
    before: BeforeSums,
}

impl<'a> SteadyFold<'a> {
    /// Finds the steady-state window of a run, all of whose Records are to be added.
    pub(crate) fn new(
        spec: &'a Spec,
        records: &RunRecords,
        kept: RunView<'_>,
    ) -> Result<Self, NoSteadyState> {
        let rules = spec.steadiness.ok_or(NoSteadyState::NotLookedFor)?;
        let window = steady_state::find_window(&spec.load, rules, kept)?;
        Ok(Self {
            window,
            metrics: MetricsFold::steady(&window, &spec.slo),
            peak: records.peak_search(&spec.load, Some(window.start..window.end)),
            before: BeforeSums::default(),
        })
    }

    /// Adds a Record.
    pub(crate) fn add(&mut self, record: &Record) {
        self.metrics.add(record);
        self.peak.iter_mut().for_each(|peak| peak.add_request(record));
        if record.times.sent().is_some_and(|at| at < self.window.start) {
            self.before.add(record);
        }
    }

    /// The steady state. `details` has the gaps of the Records where they are only there.
    pub(crate) fn finish(
        self,
        kept: RunView<'_>,
        details: Option<&LoggedDetails>,
        percents: &[Percent],
    ) -> SteadyState {
        let window = SteadyWindow { requests: self.metrics.sent_count(), ..self.window };
        let itl = details.map(|details| logged_gaps(&window, kept.records, details));
        let peak = match self.peak {
            Some(peak) => peak.finish(),
            None => window.peak(&kept.in_flight(FlightStart::Sent)),
        };
        let input = MetricsInput { kept, itl: itl.as_ref(), percents, peak };
        SteadyState { window, metrics: self.metrics.finish(&input), before: self.before.means() }
    }
}

/// The sums of the requests that were sent before the window.
#[derive(Default)]
struct BeforeSums {
    requests: usize,
    ttft: (Duration, u64),
    e2e: (Duration, u64),
}

impl BeforeSums {
    fn add(&mut self, record: &Record) {
        self.requests += 1;
        for (sum, value) in [(&mut self.ttft, record.ttft()), (&mut self.e2e, record.e2e())] {
            if let Some(value) = value.filter(|_| record.is_success()) {
                *sum = (sum.0.saturating_add(value), sum.1 + 1);
            }
        }
    }

    fn means(&self) -> BeforeSteadyState {
        let mean = |(sum, count): (Duration, u64)| (count > 0).then(|| sum.div_f64(count as f64));
        BeforeSteadyState { requests: self.requests, ttft: mean(self.ttft), e2e: mean(self.e2e) }
    }
}

/// The gaps that count of the requests that were sent in a window. Unreadable gaps are left out here: writing the
/// result, which uses the same log, then fails.
fn logged_gaps(window: &SteadyWindow, records: &[Record], details: &LoggedDetails) -> DurationSketch {
    let is_within = |record: &&Record| {
        record.times.sent().is_some_and(|at| window.start <= at && at < window.end)
            && Latency::Itl.applies_to(record)
    };
    let (mut itl, mut reader) = (DurationSketch::default(), details.reader());
    for record in records.iter().filter(is_within) {
        let gaps = reader.record(record.ordinal).ok().and_then(|record| record.events.gaps);
        gaps.iter().flatten().for_each(|gap| itl.record(gap));
    }
    itl
}
