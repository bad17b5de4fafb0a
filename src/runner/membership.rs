//! A client's membership in runs that several clients send together.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::event::LoadProgress;
use super::shared_workload::SharedWorkload;
use crate::loadgen::LoadEnd;
use crate::model::record::Record;
use crate::model::record_log::{ClockRelation, RunShare};
use crate::model::run::RunInputs;
use crate::model::run_spec::Spec;

/// One of the clients that send runs together, one run after the other. The first client names each run, decides when
/// it ends early, and makes the Run of all.
pub(crate) trait Membership: Sync {
    /// Begins the next run. The first client sends its Spec to the others, and the index of the server among those that
    /// they measure in turn: each client has its own address of it.
    fn begin_run(&self, spec: &Spec, server: usize);

    /// The client's share of the run that has begun.
    fn share(&self) -> RunShare;

    /// Offers the requests of the run to the processes that this one started, if there are any: they need not prepare
    /// them too. `None` tells them to prepare them.
    fn offer_workload(&self, workload: &dyn Fn() -> Option<SharedWorkload>);

    /// Waits for the requests of the run, if the process that started this one prepares them; `None` if this process is
    /// to prepare them.
    ///
    /// # Errors
    /// Why there will be none, in a sentence.
    fn shared_workload(&self) -> Result<Option<SharedWorkload>, String>;

    /// Waits until all clients have prepared the same run and are ready. Returns the instant of the common start, or
    /// why there is none. `log` is this client's record log. `notify` takes sentences for the user during the wait.
    fn wait_for_start(
        &self,
        inputs: &RunInputs,
        log: &Path,
        notify: &dyn Fn(String),
    ) -> Result<Instant, String>;

    /// Sentences for the user on the clients that have begun a run together.
    fn remarks(&self) -> Vec<String>;

    /// Exchanges the state of the load with the other clients: this client's own progress, and how its load is to end.
    fn exchange(&self, own: LoadProgress, end: LoadEnd) -> Exchange;

    /// Whether this client waits for the load of the others after its own has ended.
    fn awaits_others(&self) -> bool;

    /// How this client's clocks relate to the first client's, when the load has ended; `None` for the first one, and if
    /// the first one does not answer.
    fn clocks(&self) -> Option<ClockRelation>;

    /// Hands over the record log of a load that has ended. The first client receives those of the others; they receive
    /// `None`.
    ///
    /// # Errors
    /// Why the first client does not take the log, in a sentence.
    fn finish(&self) -> Result<Option<ReceivedLogs>, String>;
}

/// What a client learns of the load of the others. For all but the first client, only `end` says something.
#[derive(Debug, Default)]
pub(crate) struct Exchange {
    /// The requests that the others reported as ended since the last exchange.
    pub ended: Vec<Record>,
    /// The progress of the others, without the time.
    pub others: LoadProgress,
    /// How the load is to end.
    pub end: LoadEnd,
}

/// The record logs of the other clients.
#[derive(Debug, Default)]
pub(crate) struct ReceivedLogs {
    /// The files that arrived, as far as they arrived.
    pub files: Vec<PathBuf>,
    /// A sentence for each client whose log did not arrive whole.
    pub lost: Vec<String>,
}
