//! Probes: one-token requests beside the load, which measure the latency of a small request under load.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::record::{FailureClass, Record};
use super::units::Rate;
use crate::seconds;
use crate::stats::percentile;

/// The results of the probes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ProbeSummary {
    /// Probes sent per second, on schedule whatever the server does.
    pub request_rate: Rate,
    /// Probes that were answered.
    pub completed: usize,
    /// Probes that failed. A probe in flight at the end of the run is neither completed nor failed.
    pub failed: usize,
    /// The median E2E, measured from due; `None` without an answer.
    #[serde(rename = "median_e2e_s", with = "seconds::option")]
    pub median: Option<Duration>,
    /// The 99th percentile of E2E, measured from due.
    #[serde(rename = "p99_e2e_s", with = "seconds::option")]
    pub p99: Option<Duration>,
    /// The longest E2E, measured from due.
    #[serde(rename = "max_e2e_s", with = "seconds::option")]
    pub max: Option<Duration>,
}

impl ProbeSummary {
    /// Summarizes the Records of probes.
    pub(crate) fn from_records(request_rate: Rate, records: &[Record]) -> Self {
        let cut_off = |record: &&Record| {
            record.outcome.as_ref().is_err_and(|failure| failure.class == FailureClass::Cancelled)
        };
        let mut times: Vec<Duration> =
            records.iter().filter(|record| record.is_success()).filter_map(Record::e2e_from_due).collect();
        times.sort_unstable();
        Self {
            request_rate,
            completed: times.len(),
            failed: records.len() - times.len() - records.iter().filter(cut_off).count(),
            median: percentile(&times, 50.0),
            p99: percentile(&times, 99.0),
            max: times.last().copied(),
        }
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::model::record::{
        Events, Failure, FinishReason, Milestone, Timestamps, TokenCount, TokenSource,
    };

    fn probe(e2e: Result<u64, FailureClass>) -> Record {
        let tokens = TokenCount { count: 1, source: TokenSource::Usage };
        let at = e2e.as_ref().ok().map(|&ms| Duration::from_millis(ms));
        let mut times = Timestamps::new(Duration::ZERO).with_time(Milestone::Sent, Duration::ZERO);
        for milestone in [Milestone::FirstToken, Milestone::LastToken, Milestone::Done] {
            times.set(milestone, at);
        }
        Record {
            ordinal: 0,
            id: None,
            times,
            prompt_tokens: tokens,
            output_tokens: tokens,
            cached_tokens: None,
            hidden_tokens: 0,
            first_event_tokens: None,
            server_times: None,
            events: Events::default(),
            traits: None,
            outcome: e2e.map(|_| FinishReason::Length).map_err(|class| Failure::new(class, "x").into()),
            facets: None,
            text: None,
        }
    }

    #[test]
    fn what_the_end_of_the_run_cut_off_has_neither_completed_nor_failed() {
        let records = [Ok(10), Ok(30), Ok(20), Err(FailureClass::Status(503)), Err(FailureClass::Cancelled)];
        let probes = ProbeSummary::from_records(Rate::INFINITE, &records.map(probe));
        assert_eq!((probes.completed, probes.failed), (3, 1));
        let ms = |value| Some(Duration::from_millis(value));
        assert_eq!((probes.median, probes.max), (ms(20), ms(30)));
        assert_eq!(ProbeSummary::from_records(Rate::INFINITE, &[]).p99, None);
    }
}
