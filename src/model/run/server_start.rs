//! The server start that a run was measured on.

use jiff::Timestamp;
use serde::Serialize;

use super::Run;

/// One start of a server. Two runs with equal values were measured on the same start.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub(crate) struct ServerStart {
    /// The start time of each of the server's processes, in milliseconds since 1970, ascending.
    processes_ms: Vec<i64>,
}

impl ServerStart {
    /// Builds the value from the start times that the processes report, in seconds since 1970.
    pub(crate) fn from_reports(seconds: impl IntoIterator<Item = f64>) -> Self {
        let mut processes_ms: Vec<i64> =
            seconds.into_iter().map(|seconds| (seconds * 1e3).round() as i64).collect();
        processes_ms.sort_unstable();
        Self { processes_ms }
    }

    /// Builds the value from the time at which this program launched the server.
    pub(crate) fn from_launch(at: Timestamp) -> Self {
        Self { processes_ms: vec![at.as_millisecond()] }
    }
}

impl Run {
    /// The server start that this run was measured on: from the server's own metrics page, else from the launch by a
    /// sweep or an A/B test. `None` if neither is known.
    pub(crate) fn server_start(&self) -> Option<ServerStart> {
        let reported = self.server.as_ref().and_then(|server| {
            let started: Option<Vec<f64>> = server.replicas.iter().map(|replica| replica.started).collect();
            started.filter(|started| !started.is_empty()).map(ServerStart::from_reports)
        });
        reported.or_else(|| self.environment.server_launched.map(ServerStart::from_launch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::server::{ReplicaMetrics, ServerMetrics};
    use crate::testing::sample_run;

    fn replicas(started: &[Option<f64>]) -> Run {
        let replica = |&started: &Option<f64>| ReplicaMetrics { started, ..ReplicaMetrics::default() };
        let replicas = started.iter().map(replica).collect();
        Run { server: Some(ServerMetrics { replicas, ..ServerMetrics::default() }), ..sample_run::run(false) }
    }

    #[test]
    fn a_start_is_the_same_in_whatever_order_the_replicas_are_listed() {
        let start = |started: &[f64]| {
            replicas(&started.iter().map(|at| Some(*at)).collect::<Vec<_>>()).server_start().unwrap()
        };
        assert_eq!(start(&[1.7e9, 1.7e9 + 5.25]), start(&[1.7e9 + 5.25, 1.7e9]));
        assert_ne!(start(&[1.7e9, 1.7e9 + 5.25]), start(&[1.7e9, 1.7e9 + 5.26]));
    }

    #[test]
    fn a_start_that_a_replica_does_not_report_is_unknown_unless_the_server_was_launched_here() {
        assert_eq!(sample_run::run(false).server_start(), None);
        let mut run = replicas(&[Some(1.7e9), None]);
        assert_eq!(run.server_start(), None);
        let at = "2026-11-22T09:44:51Z".parse().unwrap();
        run.environment.server_launched = Some(at);
        assert_eq!(run.server_start(), Some(ServerStart::from_launch(at)));
    }
}
