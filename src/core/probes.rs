//! Probes: one-token requests beside the load, which tell what a small request feels meanwhile.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::record::{FailureClass, Record};
use super::stats::percentile;
use super::units::{Rate, seconds};

/// What became of the probes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Probes {
    /// How many were sent a second, at their times whatever the server did.
    pub request_rate: Rate,
    /// Those that got their answer.
    pub completed: usize,
    /// Those that did not. One that was in flight when the run was over is neither.
    pub failed: usize,
    /// Of E2E, from when they were due; `None` without an answer.
    #[serde(rename = "median_e2e_s", with = "seconds::option")]
    pub median: Option<Duration>,
    /// The 99th percentile of it.
    #[serde(rename = "p99_e2e_s", with = "seconds::option")]
    pub p99: Option<Duration>,
    /// The longest.
    #[serde(rename = "max_e2e_s", with = "seconds::option")]
    pub max: Option<Duration>,
}

impl Probes {
    /// Sums up the Records of probes.
    pub fn of(request_rate: Rate, records: &[Record]) -> Self {
        let cut_off = |record: &&Record| {
            record.outcome.as_ref().is_err_and(|failure| failure.class == FailureClass::Cancelled)
        };
        let mut times: Vec<Duration> =
            records.iter().filter(|record| record.succeeded()).filter_map(Record::e2e_from_due).collect();
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
    use crate::core::record::{Events, Failure, Finish, Times, TokenCount, TokenSource};

    fn probe(e2e: Result<u64, FailureClass>) -> Record {
        let tokens = TokenCount { count: 1, source: TokenSource::Usage };
        let at = e2e.as_ref().ok().map(|&ms| Duration::from_millis(ms));
        Record {
            ordinal: 0,
            id: String::new(),
            times: Times {
                sent: Some(Duration::ZERO),
                first_token: at,
                last_token: at,
                done: at,
                ..Times::default()
            },
            prompt_tokens: tokens,
            output_tokens: tokens,
            cached_tokens: None,
            hidden_tokens: 0,
            first_event_tokens: None,
            leaves_after: None,
            events: Events::default(),
            input: crate::core::record::Input::default(),
            outcome: e2e.map(|_| Finish::Length).map_err(|class| Failure::new(class, "x")),
            facets: None,
            text: None,
        }
    }

    #[test]
    fn what_the_end_of_the_run_cut_off_has_neither_completed_nor_failed() {
        let records = [Ok(10), Ok(30), Ok(20), Err(FailureClass::Status(503)), Err(FailureClass::Cancelled)];
        let probes = Probes::of(Rate::INFINITE, &records.map(probe));
        assert_eq!((probes.completed, probes.failed), (3, 1));
        let ms = |value| Some(Duration::from_millis(value));
        assert_eq!((probes.median, probes.max), (ms(20), ms(30)));
        assert_eq!(Probes::of(Rate::INFINITE, &[]).p99, None);
    }
}
